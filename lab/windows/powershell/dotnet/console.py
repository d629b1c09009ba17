"""[Console]: the process's standard handles."""

from __future__ import annotations

from typing import Any

from ..typesystem import DotNetType, Property, method
from .streams import HostStream, Reader, Writer
from .text import Encoding, code_page


def _writer(engine: Any, *, error: bool) -> Writer:
    writer = Writer(
        HostStream(sink=engine.write_error_bytes if error else engine.write_bytes),
        engine.console_encoding.without_mark(),
    )
    writer.auto_flush = True
    return writer


def _out(engine: Any) -> Writer:
    writer: Writer = engine.console_out or _writer(engine, error=False)
    return writer


def _error(engine: Any) -> Writer:
    writer: Writer = engine.console_error or _writer(engine, error=True)
    return writer


def _set_out(engine: Any, writer: Writer) -> None:
    engine.console_out = writer


def _set_error(engine: Any, writer: Writer) -> None:
    engine.console_error = writer


def _set_output_encoding(engine: Any, encoding: Encoding) -> None:
    engine.console_encoding = encoding


def _write(engine: Any, text: str | None) -> None:
    _out(engine).write(text or "")


def _write_line(engine: Any, text: str | None = None) -> None:
    _out(engine).write((text or "") + "\r\n")


def _input_reader(engine: Any) -> Reader:
    """[Console]::In decodes with the console's code page, whatever the bytes are."""
    if engine.console_reader is None:
        engine.console_reader = Reader(HostStream(source=engine.stdin), code_page(engine.oem_code_page))
    reader: Reader = engine.console_reader
    return reader


CONSOLE = DotNetType(
    "System.Console",
    statics={
        "OpenStandardInput": method(lambda engine: HostStream(source=engine.stdin), engine=True)
        | method(lambda engine, size: HostStream(source=engine.stdin), "int", engine=True),
        "OpenStandardOutput": method(lambda engine: HostStream(sink=engine.write_bytes), engine=True)
        | method(lambda engine, size: HostStream(sink=engine.write_bytes), "int", engine=True),
        "OpenStandardError": method(lambda engine: HostStream(sink=engine.write_error_bytes), engine=True)
        | method(lambda engine, size: HostStream(sink=engine.write_error_bytes), "int", engine=True),
        "SetOut": method(_set_out, "System.IO.TextWriter", engine=True),
        "SetError": method(_set_error, "System.IO.TextWriter", engine=True),
        "Out": Property(_out, engine=True),
        "Error": Property(_error, engine=True),
        "In": Property(_input_reader, engine=True),
        "Write": method(_write, "string", engine=True),
        "WriteLine": method(_write_line, engine=True) | method(_write_line, "string", engine=True),
        "OutputEncoding": Property(
            lambda engine: engine.console_encoding, _set_output_encoding, "System.Text.Encoding", engine=True
        ),
        "InputEncoding": Property(lambda engine: code_page(engine.oem_code_page), engine=True),
        "IsInputRedirected": Property(lambda: True),
        "IsOutputRedirected": Property(lambda: True),
        "IsErrorRedirected": Property(lambda: True),
    },
)

TYPES = [CONSOLE]

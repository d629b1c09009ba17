"""FileStream over the machine's files, and the pipes of started processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO

from lab.windows.machine.errors import Win32Error
from lab.windows.machine.files import Mode, OpenFile
from lab.windows.machine.handles import Use
from lab.windows.powershell import DotNetType, EnumValue, NetException, Property, method
from lab.windows.powershell.dotnet.streams import STREAM, Reader, Stream, Writer
from lab.windows.powershell.values import Int64

from . import enums
from .support import exception, net

Opener = Callable[..., OpenFile]


class FileStream(Stream):
    """An open file. What is written is on the host at once; Flush($true) brings it to the disk."""

    can_seek = True

    def __init__(self, opened: OpenFile, use: Use) -> None:
        self._opened = opened
        self.name = str(opened.path)
        self.can_read = bool(use & Use.READ)
        self.can_write = bool(use & Use.WRITE)

    def _alive(self) -> OpenFile:
        if self._opened.stream.closed:
            raise NetException("System.ObjectDisposedException", "Cannot access a closed file.")
        return self._opened

    def read(self, count: int) -> bytes:
        if not self.can_read:
            return super().read(count)
        return self._alive().stream.read(count)

    def write(self, data: bytes) -> None:
        if not self.can_write:
            super().write(data)
        try:
            self._alive().write(data)
        except Win32Error as error:
            raise exception(error) from error

    def position(self) -> int:
        return Int64(self._alive().stream.tell())

    def seek(self, position: int) -> None:
        if position < 0:
            raise NetException(
                "System.IO.IOException",
                "An attempt was made to move the file pointer before the beginning of the file.",
            )
        self._alive().stream.seek(position)

    def length(self) -> int:
        return Int64(os.fstat(self._alive().stream.fileno()).st_size)

    def set_length(self, length: int) -> None:
        stream = self._alive().stream
        stream.truncate(length)
        if stream.tell() > length:
            stream.seek(length)

    def flush(self, to_disk: bool = False) -> None:
        if to_disk:
            os.fsync(self._alive().stream.fileno())

    def close(self) -> None:
        self._opened.close()


class PipeStream(Stream):
    """One end of a pipe to a process."""

    def __init__(self, pipe: IO[bytes], writing: bool) -> None:
        self._pipe = pipe
        self.can_read = not writing
        self.can_write = writing

    def read(self, count: int) -> bytes:
        read1 = getattr(self._pipe, "read1", self._pipe.read)
        return bytes(read1(count))

    def write(self, data: bytes) -> None:
        try:
            self._pipe.write(data)
            self._pipe.flush()
        except BrokenPipeError as error:
            raise NetException("System.IO.IOException", "The pipe is being closed.\r\n") from error

    def close(self) -> None:
        self._pipe.close()


def text_pipe(pipe: IO[bytes], writing: bool) -> Reader | Writer:
    """A process's redirected stream as text."""
    stream = PipeStream(pipe, writing)
    if not writing:
        return Reader(stream)
    writer = Writer(stream)
    writer.auto_flush = True
    return writer


def types(open_file: Opener) -> list[DotNetType]:
    """`open_file` gets path, mode, access and share, the last two perhaps None."""

    def make(path: str, mode: EnumValue, access: EnumValue | None = None, share: EnumValue | None = None) -> FileStream:
        # FileStream's own constructors share with readers where nothing is said.
        share = share or enums.FILE_SHARE.of(Use.READ)
        return FileStream(open_file(path, mode, access, share), use_of(mode, access))

    def seek(stream: FileStream, offset: int, origin: EnumValue) -> int:
        start = {"Begin": 0, "Current": stream.position(), "End": stream.length()}[origin.name]
        stream.seek(start + offset)
        return stream.position()

    def reader(path: str, encoding: object = None) -> Reader:
        opened = open_file(
            path, enums.FILE_MODE.of(Mode.Open), enums.FILE_ACCESS.of(Use.READ), enums.FILE_SHARE.of(Use.READ)
        )
        return Reader(FileStream(opened, Use.READ), encoding)  # type: ignore[arg-type]

    def writer(path: str, append: bool = False, encoding: object = None) -> Writer:
        mode = enums.FILE_MODE.of(Mode.Append if append else Mode.Create)
        opened = open_file(path, mode, enums.FILE_ACCESS.of(Use.WRITE), enums.FILE_SHARE.of(Use.READ))
        return Writer(FileStream(opened, Use.WRITE), encoding)  # type: ignore[arg-type]

    mode, access, share = enums.FILE_MODE.name, enums.FILE_ACCESS.name, enums.FILE_SHARE.name
    stream_type = DotNetType(
        "System.IO.FileStream",
        base=STREAM,
        python=FileStream,
        new=method(net(make), "string", mode)
        | method(net(make), "string", mode, access)
        | method(net(make), "string", mode, access, share),
        members={
            "Name": Property(lambda stream: stream.name),
            "Seek": method(net(seek), "long", enums.SEEK_ORIGIN.name),
            "SetLength": method(net(FileStream.set_length), "long"),
            "Flush": method(FileStream.flush) | method(FileStream.flush, "bool"),
        },
    )
    pipe_type = DotNetType("System.IO.Pipes.PipeStream", base=STREAM, python=PipeStream)
    reader_type = DotNetType(
        "System.IO.StreamReader",
        new=method(net(reader), "string") | method(net(reader), "string", "System.Text.Encoding"),
    )
    writer_type = DotNetType(
        "System.IO.StreamWriter",
        new=method(net(writer), "string")
        | method(net(writer), "string", "bool")
        | method(net(writer), "string", "bool", "System.Text.Encoding"),
    )
    return [stream_type, pipe_type, reader_type, writer_type]


def use_of(mode: EnumValue, access: EnumValue | None) -> Use:
    """What a stream may do with its file."""
    if access is not None:
        return Use(access.value)
    return Use.WRITE if mode.name == "Append" else Use.READ | Use.WRITE

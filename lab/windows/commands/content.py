"""Cmdlets of files' contents, and where a script stands: Get-Content, Set-Content, Get-FileHash, Set-Location ..."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator

from lab.windows.machine import errors as win32
from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.files import Mode
from lab.windows.machine.handles import Use
from lab.windows.powershell import Call, Command, EnumValue, Parameter, PSObject
from lab.windows.powershell.values import Byte

from . import enums
from .items import PATH
from .support import LITERAL_PATH, Shell, cmdlet, exception, report
from .targets import FileTarget, chosen, exists, given, not_found, target

ENCODING = Parameter("Encoding", enums.ENCODING.name)
CODECS = {
    "utf8": "utf-8",
    "unicode": "utf-16-le",
    "bigendianunicode": "utf-16-be",
    "ascii": "ascii",
    "string": "utf-16-le",
}
MARKS = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
ALGORITHMS = ("SHA1", "SHA256", "SHA384", "SHA512", "MD5")
CHUNK = 4 * 1024 * 1024


def commands(shell: Shell) -> list[Command]:
    files = shell.session.files
    ansi = "gbk" if shell.machine.settings.locale == "zh-CN" else "cp1252"

    def codec(encoding: EnumValue | None) -> str:
        """The codec of -Encoding; without it 5.1 takes the machine's ANSI code page."""
        name = "default" if encoding is None else encoding.name.lower()
        if name == "default":
            return ansi
        if name not in CODECS:
            raise NotModelled(f"-Encoding {name}")
        return CODECS[name]

    def decoded(data: bytes, encoding: EnumValue | None) -> str:
        for name, mark in MARKS.items():
            if data.startswith(mark):
                return data[len(mark) :].decode(name, "replace")
        return data.decode(codec(encoding), "replace")

    @cmdlet(
        "Get-Content", PATH, LITERAL_PATH, Parameter("TotalCount", "long", aliases=("First", "Head")),
        Parameter("Tail", "int", aliases=("Last",)), Parameter("Raw", "switch"), ENCODING,
        Parameter("ReadCount", "long"), Parameter("Force", "switch"),
    )  # fmt: skip
    def get_content(call: Call) -> Iterator[object]:
        encoding = call.get("Encoding")
        if call.has("ReadCount"):
            raise NotModelled("Get-Content -ReadCount")
        for record in call.records():
            for found in chosen(shell, call, record):
                if not isinstance(found, FileTarget):
                    raise NotModelled("Get-Content outside of the file system")
                try:
                    data = files.read_shared(found.path)
                except Win32Error as error:
                    _unreadable(call, error, "GetContentReader", str(found))
                    continue
                if encoding is not None and encoding.name == "Byte":
                    yield from (Byte(value) for value in data)
                    continue
                text = decoded(data, encoding)
                if call.switch("Raw"):
                    # An empty file gives nothing at all in 5.1.
                    if text:
                        yield text
                    continue
                lines = re.split(r"\r\n|\n|\r", text)
                if lines and not lines[-1]:
                    lines.pop()
                if call.has("Tail"):
                    lines = lines[-call.get("Tail") :] if call.get("Tail") else []
                yield from lines[: call.get("TotalCount")] if call.has("TotalCount") else lines

    def _unreadable(call: Call, error: Win32Error, kind: str, path: str) -> None:
        denied = error.code == win32.ACCESS_DENIED
        suffix = "UnauthorizedAccessError" if denied else "IOError"
        category = "PermissionDenied" if denied else "ReadError" if kind == "GetContentReader" else "WriteError"
        report(call, error, f"{kind}{suffix}", category, path)

    def written(call: Call, append: bool) -> None:
        encoding = call.get("Encoding")
        texts: list[object] = []
        paths: list[FileTarget] = []
        for record in call.records():
            if not paths:
                for text, _ in given(record):
                    found = target(shell, call, text)
                    if not isinstance(found, FileTarget):
                        raise NotModelled(f"{call.command.name} outside of the file system")
                    paths.append(found)
            value = record.get("Value")
            texts += value if isinstance(value, list) else [value]
        for found in paths:
            if call.what_if:
                continue
            before = b""
            try:
                if append and files.is_file(found.path):
                    before = files.read_shared(found.path)
                data = _encoded(call, texts, encoding, before)
                if append:
                    files.append(found.path, data)
                else:
                    files.write(found.path, data)
            except Win32Error as error:
                _unreadable(call, error, "GetContentWriter", str(found))

    def _encoded(call: Call, texts: list[object], encoding: EnumValue | None, before: bytes) -> bytes:
        if encoding is not None and encoding.name == "Byte":
            return bytes(int(str(value)) for value in texts)
        end = "" if call.switch("NoNewline") else "\r\n"
        convert = call.engine.conversions.text if hasattr(call.engine, "conversions") else str
        joined = "".join(f"{'' if value is None else convert(value)}{end}" for value in texts)
        name = codec(encoding)
        # 5.1 writes a byte order mark for every Unicode encoding.
        mark = MARKS.get(name, b"") if encoding is not None and not before else b""
        for known, known_mark in MARKS.items():
            if before.startswith(known_mark) and encoding is None:
                name = known
        return mark + joined.encode(name, "replace")

    value = Parameter(
        "Value", "object[]", position=1, mandatory=True, from_pipeline=True, by_name=True, null=True, empty=True
    )
    path = Parameter("Path", "string[]", position=0, by_name=True)
    options = (ENCODING, Parameter("NoNewline", "switch"), Parameter("Force", "switch"))

    @cmdlet("Set-Content", path, LITERAL_PATH, value, *options, should_process=True)
    def set_content(call: Call) -> Iterator[object]:
        written(call, False)
        return iter(())

    @cmdlet("Add-Content", path, LITERAL_PATH, value, *options, should_process=True)
    def add_content(call: Call) -> Iterator[object]:
        written(call, True)
        return iter(())

    @cmdlet(
        "Get-FileHash", PATH, LITERAL_PATH, Parameter("Algorithm", position=1, choices=ALGORITHMS),
        error_class="Get-FileHash",
    )  # fmt: skip
    def get_file_hash(call: Call) -> Iterator[object]:
        algorithm = str(call.get("Algorithm", "SHA256")).upper()
        for record in call.records():
            for found in chosen(shell, call, record):
                if not isinstance(found, FileTarget) or not files.is_file(found.path):
                    continue
                digest = hashlib.new(algorithm.lower())
                try:
                    opened = files.open(found.path, Mode.Open, Use.READ, Use.READ)
                except Win32Error as error:
                    call.write_error(
                        f"The file '{found.path}' cannot be read: {exception(error).message}", "FileReadError",
                        "ReadError", str(found), exception(error),
                    )  # fmt: skip
                    continue
                try:
                    while chunk := opened.stream.read(CHUNK):
                        digest.update(chunk)
                finally:
                    opened.close()
                yield PSObject(
                    {"Algorithm": algorithm, "Hash": digest.hexdigest().upper(), "Path": str(found.path)},
                    "Microsoft.Powershell.Utility.FileHash",
                )

    # Where the script stands. The process's own directory stays where it was.

    def location(text: str) -> PSObject:
        return PSObject(
            {"Path": text, "ProviderPath": text, "Drive": text[:1]},
            "System.Management.Automation.PathInfo",
            text=text,
        )

    def go(call: Call, text: str) -> None:
        found = target(shell, call, text)
        if not isinstance(found, FileTarget):
            raise NotModelled(f"a location outside of the file system: {text!r}")
        if not exists(shell, found):
            raise not_found(found)
        entry = files.entry(found.path)
        if not entry.is_directory:
            raise not_found(found)
        call.engine.location = str(entry.path)

    place = Parameter("Path", position=0, from_pipeline=True, by_name=True)
    literal = Parameter("LiteralPath", by_name=True, aliases=("PSPath",))

    @cmdlet("Set-Location", place, literal, Parameter("PassThru", "switch"))
    def set_location(call: Call) -> Iterator[object]:
        go(call, call.get("LiteralPath") or call.get("Path", "~"))
        if call.switch("PassThru"):
            yield location(call.engine.location)

    @cmdlet("Get-Location")
    def get_location(call: Call) -> Iterator[object]:
        yield location(call.engine.location)

    @cmdlet("Push-Location", place, literal, Parameter("PassThru", "switch"))
    def push_location(call: Call) -> Iterator[object]:
        before = call.engine.location
        if call.has("Path") or call.has("LiteralPath"):
            go(call, call.get("LiteralPath") or call.get("Path"))
        shell.stack.append(before)
        if call.switch("PassThru"):
            yield location(call.engine.location)

    @cmdlet("Pop-Location", Parameter("PassThru", "switch"))
    def pop_location(call: Call) -> Iterator[object]:
        if shell.stack:
            call.engine.location = shell.stack.pop()
        if call.switch("PassThru"):
            yield location(call.engine.location)

    return [
        get_content, set_content, add_content, get_file_hash, set_location, get_location, push_location, pop_location,
    ]  # fmt: skip

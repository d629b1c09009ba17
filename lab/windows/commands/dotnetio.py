"""System.IO over the machine's files: File, Directory, Path, FileStream, DriveInfo.

Paths that are not full start at the process's own directory, whatever Set-Location says. Exceptions are those that
.NET Framework throws; source of the share modes: its reference source, File.cs.
"""

from __future__ import annotations

import codecs
import os
import re
from typing import Any

from lab.windows.machine import errors as win32
from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.files import Mode, OpenFile
from lab.windows.machine.handles import Use
from lab.windows.machine.paths import FullPath
from lab.windows.machine.volumes import Volume
from lab.windows.powershell import DotNetType, EnumValue, NetException, Property, method
from lab.windows.powershell.moments import DateTime
from lab.windows.powershell.values import Char, Int64, TypedArray

from . import enums
from .fileitems import DirectoryInfo, files_full, moment, seconds
from .streams import FileStream, use_of
from .streams import types as stream_types
from .support import Shell, exception, net, wildcard

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class DriveInfo:
    """A drive, there or not."""

    def __init__(self, shell: Shell, letter: str) -> None:
        self.shell = shell
        self.letter = letter

    @property
    def volume(self) -> Volume | None:
        return self.shell.machine.volumes.find(self.letter)


def open_file(shell: Shell, path: str, mode: EnumValue, access: EnumValue | None, share: EnumValue | None) -> OpenFile:
    """What FileStream's constructor does. Without `access`: both, but writing alone to append; without `share`: readers
    only for FileStream; [IO.File]::Open shares nothing."""
    wanted = Use.READ | Use.WRITE
    if access is not None:
        wanted = Use(access.value)
    elif mode.name == "Append":
        wanted = Use.WRITE
    if mode.name == "Append" and wanted & Use.READ:
        raise NetException("System.ArgumentException", "Append access can be requested only in write-only mode.")
    if mode.name in ("CreateNew", "Create", "Truncate", "Append") and not wanted & Use.WRITE:
        raise NetException(
            "System.ArgumentException", f"Combining FileMode: {mode.name} with FileAccess: Read is invalid."
        )
    allowed = Use((share.value & 7) if share is not None else 0)
    return shell.session.files.open(checked(shell, path), Mode(mode.value), wanted, allowed)


def checked(shell: Shell, path: str | None) -> FullPath:
    """The full path, or what .NET says of one that is none."""
    if path is None:
        raise NetException("System.ArgumentNullException", "Value cannot be null.\r\nParameter name: path")
    if not path.strip():
        raise NetException("System.ArgumentException", "The path is not of a legal form.")
    return files_full(shell, path)


def types(shell: Shell) -> list[DotNetType]:
    files = shell.session.files

    # File

    def quiet(test: Any) -> Any:
        def asked(path: str | None) -> bool:
            # Exists answers False for whatever is no path.
            try:
                return bool(path and test(files_full(shell, path)))
            except Win32Error:
                return False

        return asked

    def read_text(path: str, encoding: Any = None) -> str:
        data = files.read(checked(shell, path))
        for mark, name in MARKS:
            if data.startswith(mark):
                return data[len(mark) :].decode(name, "replace")
        return data.decode(codec_of(encoding)[0], "replace")

    def read_lines(path: str, encoding: Any = None) -> TypedArray:
        lines = re.split(r"\r\n|\n|\r", read_text(path, encoding))
        return TypedArray(lines[:-1] if lines and not lines[-1] else lines, "System.String")

    def encoded(text: str, encoding: Any = None) -> bytes:
        name, mark = codec_of(encoding)
        return mark + text.encode(name, "surrogatepass" if name.startswith("utf-16") else "replace")

    def codec_of(encoding: Any) -> tuple[str, bytes]:
        """A .NET encoding's codec and byte order mark; without one it is UTF-8 without a mark."""
        if encoding is None:
            return "utf-8", b""
        name = str(encoding.codec)
        return name, bytes(encoding.bom)

    def write_text(path: str, text: str, encoding: Any = None) -> None:
        files.write(checked(shell, path), encoded(text or "", encoding))

    def write_lines(path: str, lines: list[str], encoding: Any = None) -> None:
        write_text(path, "".join(f"{line}\r\n" for line in lines), encoding)

    def append_text(path: str, text: str, encoding: Any = None) -> None:
        full = checked(shell, path)
        data = encoded(text, encoding)
        if files.exists(full) and files.entry(full).size and encoding is not None:
            data = data[len(codec_of(encoding)[1]) :]
        files.append(full, data)

    def delete(path: str) -> None:
        full = checked(shell, path)
        try:
            files.delete_file(full)
        except Win32Error as error:
            # No file is no error, no directory is one.
            if error.code != win32.FILE_NOT_FOUND:
                raise

    def move(source: str, target: str) -> None:
        full = checked(shell, source)
        if not files.is_file(full):
            raise Win32Error(win32.FILE_NOT_FOUND, str(full))
        files.move(full, checked(shell, target))

    def replace(source: str, target: str, backup: str | None, ignore: bool = False) -> None:
        if backup is not None and not backup:
            raise NetException("System.ArgumentException", "The path is not of a legal form.")
        files.replace(
            checked(shell, source), checked(shell, target), None if backup is None else checked(shell, backup)
        )

    def copy(source: str, target: str, overwrite: bool = False) -> None:
        files.copy(checked(shell, source), checked(shell, target), overwrite=overwrite)

    def get_time(name: str, utc: bool) -> Any:
        def get(path: str) -> DateTime:
            found = moment(getattr(files.entry(checked(shell, path)), name))
            return found if utc else found.to_local()

        return net(get)

    def set_written(path: str, value: DateTime) -> None:
        entry = files.entry(checked(shell, path))
        os.utime(entry.host, (entry.accessed, seconds(value)))

    def stream(
        path: str, mode: EnumValue, access: EnumValue | None = None, share: EnumValue | None = None
    ) -> FileStream:
        return FileStream(open_file(shell, path, mode, access, share), use_of(mode, access))

    def named(mode: str, access: str, share: str) -> Any:
        def make(path: str) -> FileStream:
            how = enums.FILE_MODE.named(mode)
            assert how is not None
            return stream(path, how, enums.FILE_ACCESS.named(access), enums.FILE_SHARE.named(share))

        return net(make)

    mode, access, share = enums.FILE_MODE.name, enums.FILE_ACCESS.name, enums.FILE_SHARE.name
    text = "System.Text.Encoding"
    file_type = DotNetType(
        "System.IO.File",
        statics={
            "Exists": method(quiet(files.is_file), "string"),
            "ReadAllBytes": method(net(lambda path: bytearray(files.read(checked(shell, path)))), "string"),
            "ReadAllText": method(net(read_text), "string") | method(net(read_text), "string", text),
            "ReadAllLines": method(net(read_lines), "string") | method(net(read_lines), "string", text),
            "WriteAllBytes": method(
                net(lambda path, data: files.write(checked(shell, path), bytes(data))), "string", "byte[]"
            ),
            "WriteAllText": method(net(write_text), "string", "string")
            | method(net(write_text), "string", "string", text),
            "WriteAllLines": method(net(write_lines), "string", "string[]")
            | method(net(write_lines), "string", "string[]", text),
            "AppendAllText": method(net(append_text), "string", "string")
            | method(net(append_text), "string", "string", text),
            "Delete": method(net(delete), "string"),
            "Move": method(net(move), "string", "string"),
            "Replace": method(net(replace), "string", "string", "string")
            | method(net(replace), "string", "string", "string", "bool"),
            "Copy": method(net(copy), "string", "string") | method(net(copy), "string", "string", "bool"),
            "Open": method(net(stream), "string", mode)
            | method(net(stream), "string", mode, access)
            | method(net(stream), "string", mode, access, share),
            "OpenRead": method(named("Open", "Read", "Read"), "string"),
            "OpenWrite": method(named("OpenOrCreate", "Write", "None"), "string"),
            "Create": method(named("Create", "ReadWrite", "None"), "string"),
            "GetLastWriteTime": method(get_time("written", False), "string"),
            "GetLastWriteTimeUtc": method(get_time("written", True), "string"),
            "GetCreationTimeUtc": method(get_time("created", True), "string"),
            "SetLastWriteTimeUtc": method(net(set_written), "string", "datetime"),
            "SetLastWriteTime": method(net(set_written), "string", "datetime"),
        },
    )

    # Directory: access denied is an IOException in its methods.

    def directory(function: Any) -> Any:
        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except Win32Error as error:
                raise exception(error, directory=True) from error

        return net(guarded)

    def create(path: str) -> DirectoryInfo:
        full = checked(shell, path)
        try:
            files.make_directory(full)
        except Win32Error as error:
            if error.code == win32.ALREADY_EXISTS:
                raise NetException(
                    "System.IO.IOException",
                    f'Cannot create "{full}" because a file or directory with the same name already exists.',
                    properties={"HResult": error.hresult},
                ) from error
            raise
        return DirectoryInfo(shell, full, True, path)

    def move_directory(source: str, target: str) -> None:
        first, second = checked(shell, source), checked(shell, target)
        if first.key == second.key:
            raise NetException("System.IO.IOException", "Source and destination path must be different.")
        if first.drive != second.drive:
            raise NetException(
                "System.IO.IOException",
                "Source and destination path must have identical roots. Move will not work across volumes.",
            )
        if not files.exists(first):
            raise Win32Error(win32.PATH_NOT_FOUND, str(first))
        files.move(first, second)

    def listed(kind: str) -> Any:
        def names(path: str, pattern: str = "*", option: EnumValue | None = None) -> TypedArray:
            full = checked(shell, path)
            if not files.exists(full):
                raise Win32Error(win32.PATH_NOT_FOUND, str(full))
            if option is not None and option.value and kind != "files":
                raise NotModelled("all directories below a directory")
            entries = files.walk(full) if option is not None and option.value else iter(files.children(full))
            expression = wildcard("*" if pattern == "*.*" else pattern)
            # The results begin as the caller has written the directory.
            start = path.rstrip("\\/")
            return TypedArray(
                [
                    start + str(entry.path)[len(str(full).rstrip("\\")) :]
                    for entry in entries
                    if (kind == "entries" or entry.is_directory == (kind == "directories"))
                    and expression.match(entry.name)
                ],
                "System.String",
            )

        option = enums.SEARCH_OPTION.name
        guarded = directory(names)
        return (
            method(guarded, "string")
            | method(guarded, "string", "string")
            | method(guarded, "string", "string", option)
        )

    def delete_directory(path: str, recursive: bool = False) -> None:
        full = checked(shell, path)
        if not files.exists(full):
            raise Win32Error(win32.PATH_NOT_FOUND, str(full))
        files.delete_directory(full, recursive)

    def current() -> str:
        return shell.directory

    def set_current(path: str) -> None:
        entry = files.entry(checked(shell, path))
        if not entry.is_directory:
            raise Win32Error(win32.PATH_NOT_FOUND, str(entry.path))
        shell.directory = str(entry.path)

    directory_type = DotNetType(
        "System.IO.Directory",
        statics={
            "Exists": method(quiet(files.is_directory), "string"),
            "CreateDirectory": method(net(create), "string"),
            "Move": method(directory(move_directory), "string", "string"),
            "Delete": method(directory(delete_directory), "string")
            | method(directory(delete_directory), "string", "bool"),
            "GetFiles": listed("files"),
            "GetDirectories": listed("directories"),
            "GetFileSystemEntries": listed("entries"),
            "EnumerateFiles": listed("files"),
            "EnumerateDirectories": listed("directories"),
            "GetCurrentDirectory": method(current),
            "SetCurrentDirectory": method(net(set_current), "string"),
            "GetLastWriteTimeUtc": method(get_time("written", True), "string"),
        },
    )

    # Path

    def combined(parts: list[str]) -> str:
        result = ""
        for part in parts:
            if part is None:
                raise NetException("System.ArgumentNullException", "Value cannot be null.")
            if not part:
                continue
            rooted = re.match(r"^([A-Za-z]:|[\\/])", part)
            if not result or rooted:
                result = part
            else:
                result += ("" if result[-1] in "\\/:" else "\\") + part
        return result

    def parent(path: str | None) -> str | None:
        if path is None:
            return None
        if re.fullmatch(r"[A-Za-z]:[\\/]?|[\\/]", path):
            return None
        cut = max(path.rfind("\\"), path.rfind("/"))
        above = path[:cut] if cut >= 0 else ""
        return (above + "\\" if above.endswith(":") else above).replace("/", "\\")

    def name(path: str) -> str:
        return re.split(r"[\\/:]", path)[-1]

    def stem(path: str) -> str:
        last = name(path)
        return last.rpartition(".")[0] if "." in last else last

    def extension(path: str) -> str:
        last = name(path)
        return last[last.rindex(".") :] if "." in last and not last.endswith(".") else ""

    def root(path: str) -> str:
        match = re.match(r"^[A-Za-z]:[\\/]?|^[\\/]", path)
        return match[0] if match else ""

    def forbidden(characters: str) -> list[Char]:
        return [Char(character) for character in characters] + [Char(chr(number)) for number in range(32)]

    def random_name() -> str:
        alphabet = "abcdefghijklmnopqrstuvwxyz012345"
        letters = "".join(alphabet[byte % 32] for byte in os.urandom(11))
        return f"{letters[:8]}.{letters[8:]}"

    path_type = DotNetType(
        "System.IO.Path",
        statics={
            "Combine": method(combined, "params string[]"),
            "GetDirectoryName": method(parent, "string", nullable=True),
            "GetFileName": method(name, "string"),
            "GetFileNameWithoutExtension": method(stem, "string"),
            "GetExtension": method(extension, "string"),
            "GetFullPath": method(net(lambda path: _as_full(checked(shell, path), path)), "string"),
            "GetPathRoot": method(root, "string"),
            "IsPathRooted": method(lambda path: bool(root(path) or re.match(r"^[A-Za-z]:", path)), "string"),
            "HasExtension": method(lambda path: bool(extension(path)), "string"),
            "ChangeExtension": method(
                lambda path, new: path.removesuffix(extension(path)) + (new if new.startswith(".") else f".{new}"),
                "string", "string",
            ),
            "GetTempPath": method(lambda: shell.environment.get("TMP", r"C:\Windows\TEMP").rstrip("\\") + "\\"),
            "GetRandomFileName": method(random_name),
            "GetInvalidPathChars": method(lambda: forbidden('"<>|')),
            "GetInvalidFileNameChars": method(lambda: forbidden('"<>|:*?\\/')),
            "DirectorySeparatorChar": Property(lambda: Char("\\")),
            "PathSeparator": Property(lambda: Char(";")),
        },
    )  # fmt: skip

    # Drives

    def volume(drive: DriveInfo) -> Volume:
        found = drive.volume
        if found is None or not found.ready:
            missing = found is None
            raise NetException(
                "System.IO.DriveNotFoundException" if missing else "System.IO.IOException",
                f"Could not find the drive '{drive.letter}:\\'. The drive might not be ready or might not be mapped."
                if missing
                else "The device is not ready.\r\n",
            )
        return found

    def drive(name: str) -> DriveInfo:
        if not re.fullmatch(r"[A-Za-z](:\\?)?", name) and not re.match(r"^[A-Za-z]:[\\/]", name):
            raise NetException(
                "System.ArgumentException", 'Object must be a root directory ("C:\\") or a drive letter ("C").'
            )
        return DriveInfo(shell, name[0].upper())

    def drive_type(found: DriveInfo) -> EnumValue:
        known = found.volume
        value = enums.DRIVE_TYPE.named(known.kind if known else "NoRootDirectory")
        assert value is not None
        return value

    drive_info = DotNetType(
        "System.IO.DriveInfo",
        python=DriveInfo,
        new=method(net(drive), "string"),
        statics={
            "GetDrives": method(lambda: [DriveInfo(shell, found.letter) for found in shell.machine.volumes.all()])
        },
        members={
            "Name": Property(lambda found: f"{found.letter}:\\"),
            "DriveType": Property(drive_type),
            "IsReady": Property(lambda found: bool((known := found.volume) and known.ready)),
            "DriveFormat": Property(lambda found: volume(found).file_system),
            "VolumeLabel": Property(lambda found: volume(found).label),
            "TotalSize": Property(lambda found: Int64(volume(found).space()[0])),
            "AvailableFreeSpace": Property(lambda found: Int64(volume(found).space()[1])),
            "TotalFreeSpace": Property(lambda found: Int64(volume(found).space()[1])),
        },
        text=lambda found: f"{found.letter}:\\",
    )
    streams = stream_types(lambda *arguments: open_file(shell, *arguments))
    return [file_type, directory_type, path_type, drive_info, *streams]


def _as_full(full: FullPath, given: str) -> str:
    """GetFullPath keeps a separator at the end."""
    text = str(full)
    return text + "\\" if given[-1] in "\\/" and not text.endswith("\\") else text

"""FileInfo and DirectoryInfo: files as Get-Item shows them and as .NET has them."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from lab.windows.machine.errors import NotModelled
from lab.windows.machine.files import Entry
from lab.windows.machine.paths import FullPath
from lab.windows.powershell import DotNetType, EnumValue, Property, method
from lab.windows.powershell.moments import DateTime
from lab.windows.powershell.typesystem import Member
from lab.windows.powershell.values import Int64

from . import enums
from .support import Shell, net

#: What .NET says of the times of a file that does not exist: the beginning of FILETIME.
NO_TIME = datetime(1601, 1, 1, tzinfo=UTC)


class FileItem:
    """A file or directory, there or not. `shown` is what it becomes as text."""

    def __init__(self, shell: Shell, path: FullPath, is_directory: bool, shown: str | None = None) -> None:
        self.shell = shell
        self.path = path
        self.is_directory = is_directory
        self.shown = str(path) if shown is None else shown

    @property
    def entry(self) -> Entry | None:
        return self.shell.session.files.find(self.path)


class FileInfo(FileItem):
    """A file."""


class DirectoryInfo(FileItem):
    """A directory."""


def item_of(shell: Shell, entry: Entry, shown: str | None = None) -> FileItem:
    """What Get-Item and Get-ChildItem give for what is there."""
    kind = DirectoryInfo if entry.is_directory else FileInfo
    return kind(shell, entry.path, entry.is_directory, shown)


def moment(seconds: float) -> DateTime:
    """A time in seconds since 1970, as UTC."""
    return DateTime.from_python(datetime.fromtimestamp(seconds, UTC))


def seconds(value: DateTime) -> float:
    """Seconds since 1970 of a time."""
    utc = value if value.kind == "Utc" else value.to_utc()
    return utc.python().replace(tzinfo=UTC).timestamp()


def attributes(item: FileItem) -> EnumValue:
    entry = item.entry
    if entry is None:
        return enums.FILE_ATTRIBUTES.of(-1)
    value = 16 if entry.is_directory else 32
    return enums.FILE_ATTRIBUTES.of(value | entry.read_only | (1024 if entry.link else 0))


def types(shell: Shell) -> list[DotNetType]:
    files = shell.session.files

    def must(item: FileItem) -> Entry:
        return files.entry(item.path)

    def time_of(name: str, utc: bool) -> Property:
        def get(item: FileItem) -> DateTime:
            entry = item.entry
            found = moment(getattr(entry, name)) if entry else DateTime.from_python(NO_TIME)
            return found if utc else found.to_local()

        def put(item: FileItem, value: DateTime) -> None:
            entry = must(item)
            if name == "created":
                raise NotModelled(f"setting when {item.path} was created")
            accessed, written = entry.accessed, entry.written
            when = seconds(value)
            os.utime(entry.host, (when, written) if name == "accessed" else (accessed, when))

        return Property(net(get), net(put), "datetime")

    def read_only(item: FileItem) -> bool:
        entry = item.entry
        return bool(entry and entry.read_only)

    def mode(item: FileItem) -> str:
        entry = must(item)
        kind = "d-" if entry.is_directory else "-a"
        return f"{kind}{'r' if entry.read_only else '-'}--{'l' if entry.link else '-'}"

    def extension(item: FileItem) -> str:
        name = item.path.name
        return name[name.rindex(".") :] if "." in name else ""

    def set_attributes(item: FileItem, value: EnumValue) -> None:
        if value.value & ~(1 | 16 | 32 | 128):
            raise NotModelled(f"the attributes {value} of {item.path}")
        files.set_read_only(item.path, bool(value.value & 1))

    def directory(path: FullPath) -> DirectoryInfo:
        return DirectoryInfo(shell, path, True)

    def delete(item: FileItem, recursive: bool = False) -> None:
        if item.is_directory:
            files.delete_directory(item.path, recursive)
        elif files.exists(item.path):
            files.delete_file(item.path)

    common: dict[str, Member] = {
        "Name": Property(lambda item: item.path.name or str(item.path)),
        "FullName": Property(lambda item: str(item.path)),
        "Extension": Property(extension),
        "Exists": Property(lambda item: (e := item.entry) is not None and e.is_directory == item.is_directory),
        "Attributes": Property(net(attributes), net(set_attributes), enums.FILE_ATTRIBUTES.name),
        "Mode": Property(net(mode)),
        "CreationTime": time_of("created", False),
        "CreationTimeUtc": time_of("created", True),
        "LastWriteTime": time_of("written", False),
        "LastWriteTimeUtc": time_of("written", True),
        "LastAccessTime": time_of("accessed", False),
        "LastAccessTimeUtc": time_of("accessed", True),
        "PSPath": Property(lambda item: f"Microsoft.PowerShell.Core\\FileSystem::{item.path}"),
        "PSParentPath": Property(lambda item: f"Microsoft.PowerShell.Core\\FileSystem::{item.path.parent}"),
        "PSChildName": Property(lambda item: item.path.name or str(item.path)),
        "PSIsContainer": Property(lambda item: item.is_directory),
        "Refresh": method(lambda item: None),
        "Delete": method(net(delete)),
    }
    base = DotNetType("System.IO.FileSystemInfo", members=common, text=lambda item: str(item.shown))
    file_type = DotNetType(
        "System.IO.FileInfo",
        base=base,
        python=FileInfo,
        new=method(net(lambda path: FileInfo(shell, files_full(shell, path), False, path)), "string"),
        members={
            "Length": Property(net(lambda item: Int64(must(item).size))),
            "IsReadOnly": Property(
                net(read_only), net(lambda item, value: files.set_read_only(item.path, value)), "bool"
            ),
            "Directory": Property(lambda item: directory(item.path.parent)),
            "DirectoryName": Property(lambda item: str(item.path.parent)),
            "BaseName": Property(lambda item: item.path.name.rpartition(".")[0] or item.path.name),
            "MoveTo": method(net(lambda item, target: files.move(item.path, files_full(shell, target))), "string"),
            "CopyTo": method(
                net(lambda item, target: files.copy(item.path, files_full(shell, target), overwrite=False)), "string"
            ),
        },
        text=lambda item: str(item.shown),
    )
    directory_type = DotNetType(
        "System.IO.DirectoryInfo",
        base=base,
        python=DirectoryInfo,
        new=method(net(lambda path: DirectoryInfo(shell, files_full(shell, path), True, path)), "string"),
        members={
            "Parent": Property(lambda item: directory(item.path.parent) if item.path.parts else None),
            "Root": Property(lambda item: directory(FullPath(item.path.drive))),
            "BaseName": Property(lambda item: item.path.name),
            "Create": method(net(lambda item: _made(shell, item))),
            "Delete": method(net(delete)) | method(net(delete), "bool"),
            "GetFiles": method(
                net(lambda item: [item_of(shell, e) for e in files.children(item.path) if not e.is_directory])
            ),
            "GetDirectories": method(
                net(lambda item: [item_of(shell, e) for e in files.children(item.path) if e.is_directory])
            ),
        },
        text=lambda item: str(item.shown),
    )
    return [base, file_type, directory_type]


def files_full(shell: Shell, path: str) -> FullPath:
    """The full path that .NET sees: relative ones start at the process's own directory."""
    with shell.session.files.at(shell.directory):
        return shell.session.files.full(path)


def _made(shell: Shell, item: FileItem) -> None:
    shell.session.files.make_directory(item.path)

"""Files: the real ones on the host, under Windows' rules for names, access, sharing and moving."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from . import acl
from .acl import Acls
from .errors import (
    ACCESS_DENIED,
    ALREADY_EXISTS,
    DIR_NOT_EMPTY,
    DIRECTORY,
    DISK_FULL,
    FILE_EXISTS,
    FILE_NOT_FOUND,
    FILE_TOO_LARGE,
    FILENAME_EXCED_RANGE,
    NOT_SAME_DEVICE,
    PATH_NOT_FOUND,
    SHARING_VIOLATION,
    Win32Error,
)
from .handles import Handle, Handles, Use
from .identity import Identity
from .paths import MAX_DIRECTORY, FullPath, full_path
from .volumes import FAT32_FILE_LIMIT, Volume, Volumes

CHUNK = 1024 * 1024


class Mode(IntEnum):
    """System.IO.FileMode."""

    CreateNew = 1
    Create = 2
    Open = 3
    OpenOrCreate = 4
    Truncate = 5
    Append = 6


@dataclass(frozen=True)
class Entry:
    """A file or directory that exists. Times in seconds since 1970; `path` is spelled as the disk has it."""

    path: FullPath
    host: Path
    is_directory: bool
    size: int
    created: float
    accessed: float
    written: float
    read_only: bool
    #: A junction or symbolic link.
    link: bool

    @property
    def name(self) -> str:
        return self.path.name


class OpenFile:
    """A file opened by a script. `stream` is the host's; close() ends the share mode too."""

    def __init__(self, path: FullPath, stream: BinaryIO, handle: Handle, volume: Volume) -> None:
        self.path = path
        self.stream = stream
        self.handle = handle
        self._volume = volume

    def write(self, data: bytes) -> None:
        """Writes all, or raises Win32Error 112 or 223 when the drive or its file system cannot hold it."""
        _room(self._volume, self.stream.tell() + len(data), len(data), str(self.path))
        try:
            self.stream.write(data)
            self.stream.flush()
        except OSError as error:
            raise _translated(error, str(self.path)) from error

    def close(self) -> None:
        try:
            self.stream.close()
        finally:
            self.handle.close()


class FileSystem:
    """All drives as one identity sees them. Paths are texts; relative ones start at `current`.

    Every method raises Win32Error with the number that Windows has for what was wrong.
    """

    def __init__(self, volumes: Volumes, handles: Handles, acls: Acls, identity: Identity) -> None:
        self.volumes = volumes
        self.acls = acls
        self._handles = handles
        self._identity = identity
        self.current = "C:\\"

    # Finding

    def full(self, path: str | FullPath) -> FullPath:
        return path if isinstance(path, FullPath) else full_path(path, self.current)

    def locate(self, path: str | FullPath) -> Path:
        """Where a path is on the host, whether it exists or not; its directory need not exist either."""
        return self._locate(self.full(path))[0]

    def entry(self, path: str | FullPath) -> Entry:
        """What is there; raises Win32Error 2 where nothing is, 3 where its directory is missing too."""
        found = self.find(path)
        if found is None:
            full = self.full(path)
            above = self.find(full.parent) if full.parts else None
            raise Win32Error(FILE_NOT_FOUND if above and above.is_directory else PATH_NOT_FOUND, str(full))
        return found

    def find(self, path: str | FullPath) -> Entry | None:
        """What is there, or None; a drive that is missing or has no disk holds nothing."""
        full = self.full(path)
        volume = self.volumes.find(full.drive)
        if volume is None or not volume.ready:
            return None
        host, spelled = self._locate(full)
        return self._entry(host, FullPath(full.drive, spelled))

    def exists(self, path: str | FullPath) -> bool:
        return self.find(path) is not None

    def is_file(self, path: str | FullPath) -> bool:
        found = self.find(path)
        return found is not None and not found.is_directory

    def is_directory(self, path: str | FullPath) -> bool:
        found = self.find(path)
        return found is not None and found.is_directory

    def children(self, path: str | FullPath) -> list[Entry]:
        """What a directory holds, in the order in which NTFS lists it: by name, without regard to case."""
        above = self.entry(path)
        if not above.is_directory:
            raise Win32Error(DIRECTORY, str(above.path))
        self._may(above.path, True, acl.READ_DATA)
        found = [self._entry(above.host / name, above.path.child(name)) for name in os.listdir(above.host)]
        return sorted((entry for entry in found if entry), key=lambda entry: entry.name.upper())

    def walk(self, path: str | FullPath) -> Iterator[Entry]:
        """Everything below a directory, each directory before what it holds."""
        for entry in self.children(path):
            yield entry
            if entry.is_directory and not entry.link:
                yield from self.walk(entry.path)

    # Making and changing

    def make_directory(self, path: str | FullPath) -> Entry:
        """Makes a directory and those above it; nothing to do where it is one already."""
        full = self.full(path)
        found = self.find(full)
        if found:
            if found.is_directory:
                return found
            raise Win32Error(ALREADY_EXISTS, str(full))
        volume = self.volumes.get(full.drive)
        if len(str(full)) >= MAX_DIRECTORY:
            raise Win32Error(FILENAME_EXCED_RANGE, str(full))
        above = self.make_directory(full.parent)
        self._may(above.path, True, acl.APPEND_DATA)
        _room(volume, 0, 1, str(full))
        try:
            (above.host / full.name).mkdir()
        except OSError as error:
            raise _translated(error, str(full)) from error
        self.acls.created(full, self._identity)
        return self.entry(full)

    def open(self, path: str | FullPath, mode: Mode, use: Use, share: Use) -> OpenFile:
        """Opens a file; `use` is READ, WRITE or both, `share` what others may do meanwhile."""
        full = self.full(path)
        volume = self.volumes.get(full.drive)
        found = self.find(full)
        if found is None:
            above = self.find(full.parent)
            if above is None or not above.is_directory:
                raise Win32Error(PATH_NOT_FOUND, str(full))
            if mode in (Mode.Open, Mode.Truncate):
                raise Win32Error(FILE_NOT_FOUND, str(full))
            self._may(above.path, True, acl.WRITE_DATA)
            _room(volume, 0, 1, str(full))
            host = above.host / full.name
            try:
                host.touch(exist_ok=False)
            except OSError as error:
                raise _translated(error, str(full)) from error
            self.acls.created(full, self._identity)
        else:
            if found.is_directory:
                raise Win32Error(ACCESS_DENIED, str(full))
            if mode is Mode.CreateNew:
                raise Win32Error(FILE_EXISTS, str(full))
            if use & Use.WRITE and found.read_only:
                raise Win32Error(ACCESS_DENIED, str(full))
            wanted = (acl.READ_DATA if use & Use.READ else 0) | (acl.WRITE_DATA if use & Use.WRITE else 0)
            self._may(found.path, False, wanted)
            host = found.host
        handle = self._handles.open(host.stat(), use, share, str(full))
        try:
            stream = open(host, "r+b" if use & Use.WRITE else "rb", buffering=0)  # noqa: SIM115
            if mode in (Mode.Create, Mode.Truncate):
                stream.truncate()
            elif mode is Mode.Append:
                stream.seek(0, os.SEEK_END)
        except OSError as error:
            handle.close()
            raise _translated(error, str(full)) from error
        return OpenFile(full, stream, handle, volume)

    def read(self, path: str | FullPath) -> bytes:
        """A file's bytes, read as [IO.File]::ReadAllBytes does: sharing with readers only."""
        with closing(self.open(path, Mode.Open, Use.READ, Use.READ)) as opened:
            return opened.stream.read()

    def read_shared(self, path: str | FullPath) -> bytes:
        """A file's bytes, read as Get-Content does: also while it is being written."""
        with closing(self.open(path, Mode.Open, Use.READ, Use.READ | Use.WRITE)) as opened:
            return opened.stream.read()

    def write(self, path: str | FullPath, data: bytes) -> None:
        """Makes or overwrites a file, as [IO.File]::WriteAllBytes does."""
        with closing(self.open(path, Mode.Create, Use.WRITE, Use.READ)) as opened:
            opened.write(data)

    def append(self, path: str | FullPath, data: bytes) -> None:
        with closing(self.open(path, Mode.Append, Use.WRITE, Use.READ)) as opened:
            opened.write(data)

    def set_read_only(self, path: str | FullPath, read_only: bool) -> None:
        found = self.entry(path)
        mode = stat.S_IMODE(found.host.stat().st_mode)
        found.host.chmod(mode & ~0o222 if read_only else mode | 0o200)

    def delete_file(self, path: str | FullPath) -> None:
        """Deletes a file; raises Win32Error 2 where there is none."""
        found = self.entry(path)
        if found.is_directory or found.read_only:
            raise Win32Error(ACCESS_DENIED, str(found.path))
        self._may_delete(found)
        self._may_go(found)
        found.host.unlink()
        self.acls.removed(found.path)

    def delete_directory(self, path: str | FullPath, recursive: bool) -> None:
        """Deletes a directory. What was deleted of it before something refused stays deleted, as on Windows."""
        found = self.entry(path)
        if not found.is_directory:
            raise Win32Error(DIRECTORY, str(found.path))
        if found.link:
            found.host.unlink()
            return
        inside = self.children(found.path)
        if inside and not recursive:
            raise Win32Error(DIR_NOT_EMPTY, str(found.path))
        for entry in inside:
            if entry.is_directory:
                self.delete_directory(entry.path, True)
            else:
                self.delete_file(entry.path)
        self._may_delete(found)
        if self._handles.in_use([found.host.stat()]):
            raise Win32Error(SHARING_VIOLATION, str(found.path))
        found.host.rmdir()
        self.acls.removed(found.path)

    def move(self, source: str | FullPath, target: str | FullPath, *, replace: bool = False) -> None:
        """MoveFileEx: renames a file or directory; across drives files are copied, directories refused.

        With `replace` a file takes the place of another in one step.
        """
        found = self.entry(source)
        full = self.full(target)
        self.volumes.get(full.drive)
        above = self.find(full.parent)
        if above is None or not above.is_directory:
            raise Win32Error(PATH_NOT_FOUND, str(full))
        there = self.find(full)
        same = there is not None and there.path.key == found.path.key
        if there and not same:
            if not replace:
                raise Win32Error(ALREADY_EXISTS, str(full))
            if there.is_directory or there.read_only or found.is_directory:
                raise Win32Error(ACCESS_DENIED, str(full))
            self._may_delete(there)
            self._may_go(there)
        across = found.path.drive != full.drive
        if found.is_directory and across:
            raise Win32Error(NOT_SAME_DEVICE, str(full))
        if full.is_below(found.path):
            raise Win32Error(SHARING_VIOLATION, str(full))
        self._may_delete(found)
        self._may(above.path, True, acl.APPEND_DATA if found.is_directory else acl.WRITE_DATA)
        if found.is_directory:
            # A directory cannot be renamed while anything in it is open.
            if self._handles.in_use(entry.host.stat() for entry in [found, *self.walk(found.path)] if not entry.link):
                raise Win32Error(ACCESS_DENIED, str(found.path))
        else:
            self._may_move(found)
        host = there.host if there and not same else above.host / full.name
        try:
            if across:
                shutil.copy2(found.host, host)
                found.host.unlink()
                self.acls.removed(found.path)
                self.acls.created(full, self._identity)
            else:
                if there and not same:
                    self.acls.removed(there.path)
                os.rename(found.host, host)
                self.acls.moved(found.path, full, found.is_directory)
        except OSError as error:
            raise _translated(error, str(full)) from error

    def replace(self, source: str | FullPath, target: str | FullPath, backup: str | FullPath | None) -> None:
        """ReplaceFile: the target gets the source's content and keeps its own access control list."""
        new, old = self.entry(source), self.entry(target)
        if new.is_directory or old.is_directory or old.read_only:
            raise Win32Error(ACCESS_DENIED, str(old.path))
        if new.path.drive != old.path.drive:
            raise Win32Error(NOT_SAME_DEVICE, str(old.path))
        for entry in (new, old):
            self._may_delete(entry)
            self._may_go(entry)
        if backup is not None:
            kept = self.full(backup)
            if self.exists(kept):
                self.delete_file(kept)
            shutil.copy2(old.host, self._locate(kept)[0])
        os.rename(new.host, old.host)
        self.acls.removed(new.path)

    def copy(self, source: str | FullPath, target: str | FullPath, *, overwrite: bool) -> None:
        """CopyFile: content, times and attributes of one file."""
        found = self.entry(source)
        if found.is_directory:
            raise Win32Error(ACCESS_DENIED, str(found.path))
        mode = Mode.Create if overwrite else Mode.CreateNew
        with (
            closing(self.open(found.path, Mode.Open, Use.READ, Use.READ)) as opened,
            closing(self.open(target, mode, Use.WRITE, Use.NONE)) as made,
        ):
            while chunk := opened.stream.read(CHUNK):
                made.write(chunk)
        there = self.entry(target)
        os.utime(there.host, (found.accessed, found.written))
        if found.read_only:
            self.set_read_only(there.path, True)

    def access(self, path: str | FullPath, rights: int) -> None:
        """Raises Win32Error 5 where the identity does not have these rights to what is there."""
        found = self.entry(path)
        self._may(found.path, found.is_directory, rights)

    def check_writable(self, path: str | FullPath) -> None:
        """Raises what opening a file for writing would; there need not be one."""
        found = self.find(path)
        if found is None:
            return
        if found.is_directory or found.read_only:
            raise Win32Error(ACCESS_DENIED, str(found.path))
        self._may(found.path, False, acl.WRITE_DATA)
        self._handles.check(found.host.stat(), Use.WRITE, str(found.path))

    @contextmanager
    def at(self, directory: str) -> Iterator[None]:
        """Relative paths start at another directory for a while."""
        before = self.current
        self.current = directory
        try:
            yield
        finally:
            self.current = before

    # Inside

    def _locate(self, full: FullPath) -> tuple[Path, tuple[str, ...]]:
        """The host's path, and the names as the disk spells them where they exist."""
        host = self.volumes.get(full.drive).root
        spelled = []
        for part in full.parts:
            name = _spelling(host, part)
            spelled.append(name)
            host = host / name
        return host, tuple(spelled)

    def _entry(self, host: Path, path: FullPath) -> Entry | None:
        try:
            link = stat.S_ISLNK(host.lstat().st_mode)
            status = host.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _translated(error, str(path)) from error
        directory = stat.S_ISDIR(status.st_mode)
        return Entry(
            path=path,
            host=host,
            is_directory=directory,
            size=0 if directory else status.st_size,
            # Linux tells no birth time through stat; the older of both is as near as it gets.
            created=min(status.st_ctime, status.st_mtime),
            accessed=status.st_atime,
            written=status.st_mtime,
            read_only=not status.st_mode & 0o222 and not directory,
            link=link and directory and bool(path.parts),
        )

    def _may(self, path: FullPath, is_directory: bool, rights: int) -> None:
        if not self.volumes.get(path.drive).keeps_acls:
            return
        if not self.acls.get(path, is_directory).grants(self._identity, rights):
            raise Win32Error(ACCESS_DENIED, str(path))

    def _may_delete(self, found: Entry) -> None:
        if not self.volumes.get(found.path.drive).keeps_acls:
            return
        own = self.acls.get(found.path, found.is_directory).grants(self._identity, acl.DELETE)
        above = self.acls.get(found.path.parent, True).grants(self._identity, acl.DELETE_CHILD)
        if not own and not above:
            raise Win32Error(ACCESS_DENIED, str(found.path))

    def _may_move(self, found: Entry) -> None:
        """A file can move only while all who have it open allow its deletion."""
        self._handles.check(found.host.stat(), Use.DELETE, str(found.path))

    def _may_go(self, found: Entry) -> None:
        """A file can be deleted when it can move and no program runs from it."""
        if self._handles.runs(found.host.stat()):
            raise Win32Error(ACCESS_DENIED, str(found.path))
        self._may_move(found)


def _spelling(directory: Path, name: str) -> str:
    """A name as the directory has it, whatever its case; as given where it has none."""
    if (directory / name).exists() or (directory / name).is_symlink():
        return name
    try:
        names = os.listdir(directory)
    except OSError:
        return name
    wanted = name.upper()
    return next((known for known in sorted(names) if known.upper() == wanted), name)


def _room(volume: Volume, size: int, added: int, subject: str) -> None:
    if volume.file_system == "FAT32" and size > FAT32_FILE_LIMIT:
        raise Win32Error(FILE_TOO_LARGE, subject)
    if volume.free is not None and added > volume.free:
        raise Win32Error(DISK_FULL, subject)


def _translated(error: OSError, subject: str) -> Win32Error:
    codes = {
        errno.ENOENT: PATH_NOT_FOUND,
        errno.ENOTDIR: PATH_NOT_FOUND,
        errno.EACCES: ACCESS_DENIED,
        errno.EPERM: ACCESS_DENIED,
        errno.EEXIST: ALREADY_EXISTS,
        errno.ENOSPC: DISK_FULL,
        errno.EDQUOT: DISK_FULL,
        errno.ENAMETOOLONG: FILENAME_EXCED_RANGE,
        errno.ENOTEMPTY: DIR_NOT_EMPTY,
        errno.EISDIR: ACCESS_DENIED,
    }
    if error.errno not in codes:
        raise error
    return Win32Error(codes[error.errno], subject)

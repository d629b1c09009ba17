"""Files over SFTP, as sftp-server.exe shows them: paths as /C:/Users/name/file, letters in any case.

Source: sftp-server.c, and realpath(), file_attr_to_st_mode(), w32_rename() in contrib/win32/win32compat/misc.c.
- rename never replaces: of a file it makes a link at the new place and removes the old one.
- posix-rename is MoveFileEx with MOVEFILE_REPLACE_EXISTING: one step, for files.
- What a client asks for as mode is taken for the read-only attribute; new files inherit the directory's access list.
Not modelled, and refused: links. Nor is the mark of the web that newer builds write beside every file.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import cast

import asyncssh
from asyncssh import SFTPAttrs, SFTPName, SFTPVFSAttrs
from asyncssh.channel import SSHChannel

from lab.windows.machine import Machine, NotModelled, Win32Error
from lab.windows.machine import errors as win32
from lab.windows.machine.acl import READ, READ_EXECUTE, WRITE, Acl
from lab.windows.machine.files import Entry, Mode, OpenFile
from lab.windows.machine.handles import SHARE_ALL, Use
from lab.windows.machine.identity import AUTHENTICATED_USERS, EVERYONE
from lab.windows.machine.paths import FullPath

PROGRAM_DATA = "__programdata__"
ROOT = "/"
EXECUTABLES = (".exe", ".cmd", ".bat", ".com")
CLUSTER = 4096
#: errno for a number of winerror.h, as the C runtime has it (_dosmaperr), then SFTP's status for that errno, as
#: errno_to_portable() in sftp-server.c has it; FAILURE for all others.
NO_SUCH_FILE = {win32.FILE_NOT_FOUND, win32.PATH_NOT_FOUND, win32.INVALID_NAME, win32.FILENAME_EXCED_RANGE}
PERMISSION_DENIED = {win32.ACCESS_DENIED, win32.SHARING_VIOLATION, win32.WRITE_PROTECT, win32.NOT_READY}
BAD_MESSAGE = {win32.DIRECTORY, win32.INVALID_PARAMETER}


class WindowsSftp(asyncssh.SFTPServer):
    """One run of sftp-server.exe, as the machine's user."""

    def __init__(self, machine: Machine, channel: SSHChannel[bytes]) -> None:
        super().__init__(cast(asyncssh.SSHServerChannel[bytes], channel))
        session = machine.session(machine.user)
        self._machine = machine
        self._files = session.files
        self._files.current = session.environment()["USERPROFILE"]

    # Files

    def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> OpenFile:
        with _errors():
            use = Use.WRITE if pflags & asyncssh.FXF_WRITE else Use.NONE
            if pflags & asyncssh.FXF_READ or not use:
                use |= Use.READ
            # fileio.c: a file that is written is shared with other writers alone.
            share = Use.WRITE if use & Use.WRITE else SHARE_ALL
            opened = self._files.open(self._path(path), _mode(pflags), use, share)
            if pflags & asyncssh.FXF_APPEND:
                opened.stream.seek(0, os.SEEK_END)
            return opened

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        stream = _opened(file_obj).stream
        stream.seek(offset)
        return stream.read(size)

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        with _errors():
            opened = _opened(file_obj)
            opened.stream.seek(offset)
            opened.write(data)
            return len(data)

    def close(self, file_obj: object) -> None:
        _opened(file_obj).close()

    def fsync(self, file_obj: object) -> None:
        os.fsync(_opened(file_obj).stream.fileno())

    # What is where

    def stat(self, path: bytes) -> SFTPAttrs:
        with _errors():
            return self._attributes(self._path(path))

    def lstat(self, path: bytes) -> SFTPAttrs:
        return self.stat(path)

    def fstat(self, file_obj: object) -> SFTPAttrs:
        with _errors():
            return self._attributes(_opened(file_obj).path)

    def realpath(self, path: bytes) -> bytes:
        with _errors():
            text = path.decode()
            full = self._full(text)
            if full is None:
                return ROOT.encode()
            # The letter stays as it was given; nothing needs to be there.
            given = windows_path(text) or ""
            letter = given[0] if given[1:2] == ":" else full.drive[0]
            return f"/{letter}{str(full)[1:]}".replace("\\", "/").encode()

    async def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        with _errors():
            full = self._full(path.decode())
            if full is None:
                names = [f"{volume.letter}:" for volume in self._machine.volumes.all()]
                found = [SFTPName(name.encode(), attrs=_directory(time.time())) for name in names]
            else:
                above = self._attributes(full)
                found = [SFTPName(name, attrs=above) for name in (b".", b"..")]
                found += [
                    SFTPName(entry.name.encode(), attrs=self._entry_attributes(entry))
                    for entry in self._files.children(full)
                ]
        for name in found:
            yield name

    def statvfs(self, path: bytes) -> SFTPVFSAttrs:
        with _errors():
            size, free = self._machine.volumes.get(self._path(path).drive).space()
            attributes = SFTPVFSAttrs(bsize=CLUSTER, frsize=CLUSTER, namemax=259)
            attributes.blocks = size // CLUSTER
            attributes.bfree = attributes.bavail = free // CLUSTER
            return attributes

    def fstatvfs(self, file_obj: object) -> SFTPVFSAttrs:
        raise asyncssh.SFTPFailure("fstatvfs is not supported")

    # Changes

    def setstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        with _errors():
            self._change(self._path(path), attrs)

    def lsetstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        self.setstat(path, attrs)

    def fsetstat(self, file_obj: object, attrs: SFTPAttrs) -> None:
        with _errors():
            opened = _opened(file_obj)
            if attrs.size is not None:
                opened.stream.truncate(attrs.size)
                attrs.size = None
            self._change(opened.path, attrs)

    def remove(self, path: bytes) -> None:
        with _errors():
            self._files.delete_file(self._path(path))

    def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:
        with _errors():
            full = self._path(path)
            if self._files.exists(full):
                raise Win32Error(win32.ALREADY_EXISTS, str(full))
            if not self._files.is_directory(full.parent):
                raise Win32Error(win32.PATH_NOT_FOUND, str(full))
            self._files.make_directory(full)

    def rmdir(self, path: bytes) -> None:
        with _errors():
            self._files.delete_directory(self._path(path), recursive=False)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        with _errors():
            self._files.move(self._path(oldpath), self._path(newpath))

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        with _errors():
            self._files.move(self._path(oldpath), self._path(newpath), replace=True)

    def readlink(self, path: bytes) -> bytes:
        raise asyncssh.SFTPFailure("links are not modelled")

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPFailure("links are not modelled")

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPFailure("links are not modelled")

    # Inside

    def _full(self, path: str) -> FullPath | None:
        """The full path; None for the list of drives."""
        text = windows_path(path)
        return None if text is None else self._files.full(text)

    def _path(self, path: bytes) -> FullPath:
        full = self._full(path.decode())
        if full is None:
            raise Win32Error(win32.ACCESS_DENIED, ROOT)
        return full

    def _attributes(self, full: FullPath | None) -> SFTPAttrs:
        if full is None:
            return _directory(time.time())
        return self._entry_attributes(self._files.entry(full))

    def _entry_attributes(self, entry: Entry) -> SFTPAttrs:
        others = _others(self._machine.acls.get(entry.path, entry.is_directory), entry.read_only)
        return SFTPAttrs(
            size=entry.size, uid=0, gid=0, atime=int(entry.accessed), mtime=int(entry.written),
            permissions=_permissions(entry) | others,
        )  # fmt: skip

    def _change(self, full: FullPath, attrs: SFTPAttrs) -> None:
        if attrs.size is not None:
            opened = self._files.open(full, Mode.Open, Use.WRITE, Use.WRITE)
            opened.stream.truncate(attrs.size)
            opened.close()
        if attrs.permissions is not None:
            self._files.set_read_only(full, not attrs.permissions & stat.S_IWUSR)
        if attrs.atime is not None and attrs.mtime is not None:
            os.utime(self._files.entry(full).host, (attrs.atime, attrs.mtime))
        if attrs.uid is not None or attrs.gid is not None:
            raise asyncssh.SFTPFailure("Windows has no owners by number")


def windows_path(path: str) -> str | None:
    """A client's path as realpath() hands it to Windows; None for the root, which holds the drives."""
    if path.lower().startswith(PROGRAM_DATA):
        path = r"C:\ProgramData" + path[len(PROGRAM_DATA) :]
    if path in (ROOT, "\\") or (len(path) == 6 and path[0] == ROOT and path[2:] == ":/.."):
        return None
    if path[:1] == ROOT and path[2:3] == ":":
        path = path[1:]
    if path[1:] == ":":
        path += "\\"
    return path or "."


def _mode(flags: int) -> Mode:
    if flags & asyncssh.FXF_CREAT:
        if flags & asyncssh.FXF_EXCL:
            return Mode.CreateNew
        return Mode.Create if flags & asyncssh.FXF_TRUNC else Mode.OpenOrCreate
    return Mode.Truncate if flags & asyncssh.FXF_TRUNC else Mode.Open


def _permissions(entry: Entry) -> int:
    mode = stat.S_IRUSR | (0 if entry.read_only else stat.S_IWUSR)
    if entry.is_directory:
        return mode | stat.S_IFDIR | stat.S_IXUSR
    return mode | stat.S_IFREG | (stat.S_IXUSR if entry.name.lower().endswith(EXECUTABLES) else 0)


def _others(acl: Acl, read_only: bool) -> int:
    """What Everyone, or else Authenticated Users, may do, as the bits for others."""
    for sid in (EVERYONE, AUTHENTICATED_USERS):
        bits = 0
        for entry in acl.entries:
            if entry.sid == sid and entry.allow:
                bits |= stat.S_IROTH if entry.rights & READ == READ else 0
                bits |= stat.S_IWOTH if entry.rights & WRITE == WRITE and not read_only else 0
                bits |= stat.S_IXOTH if entry.rights & READ_EXECUTE == READ_EXECUTE else 0
        if bits:
            return bits
    return 0


def _directory(when: float) -> SFTPAttrs:
    mode = stat.S_IFDIR | stat.S_IRUSR | stat.S_IWUSR | stat.S_IXUSR
    return SFTPAttrs(size=0, uid=0, gid=0, atime=int(when), mtime=int(when), permissions=mode)


def _opened(file_obj: object) -> OpenFile:
    assert isinstance(file_obj, OpenFile)
    return file_obj


@contextmanager
def _errors() -> Iterator[None]:
    """What Windows refuses, as sftp-server says it: by number alone."""
    try:
        yield
    except Win32Error as error:
        if error.code in NO_SUCH_FILE:
            raise asyncssh.SFTPNoSuchFile("No such file") from error
        if error.code in PERMISSION_DENIED:
            raise asyncssh.SFTPPermissionDenied("Permission denied") from error
        if error.code in BAD_MESSAGE:
            raise asyncssh.SFTPBadMessage("Bad message") from error
        raise asyncssh.SFTPFailure("Failure") from error
    except UnicodeDecodeError as error:
        raise asyncssh.SFTPNoSuchFile("No such file") from error
    except NotModelled as error:
        raise asyncssh.SFTPFailure(f"not modelled: {error}") from error

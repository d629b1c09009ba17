"""tar.exe: the bsdtar of System32, which unpacks zip archives too."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab.windows.machine.errors import DISK_FULL, NotModelled, Win32Error
from lab.windows.machine.files import Mode
from lab.windows.machine.handles import Use

from .running import Invocation

CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Member:
    """Something in an archive; `open` gives its bytes."""

    name: str
    is_directory: bool
    open: Callable[[], IO[bytes]]


def tar(call: Invocation) -> int:
    archive = directory = ""
    mode = ""
    words = list(call.arguments)
    while words:
        word = words.pop(0)
        if word in ("-C", "--directory", "-f", "--file"):
            if not words:
                return _usage(call, word)
            if word in ("-C", "--directory"):
                directory = words.pop(0)
            else:
                archive = words.pop(0)
        elif word.startswith("--") or not word.startswith("-"):
            raise NotModelled(f"tar.exe {word}")
        else:
            for position, letter in enumerate(word[1:], start=2):
                if letter in "xt":
                    mode = letter
                elif letter == "f":
                    archive = word[position:] or (words.pop(0) if words else "")
                    break
                elif letter != "v":
                    raise NotModelled(f"tar.exe -{letter}")
    if not mode or not archive:
        return _usage(call, "")
    files = call.shell.session.files
    try:
        found = files.entry(archive)
        if directory and not files.is_directory(directory):
            call.complain(f"tar.exe: could not chdir to '{directory}'")
            return 1
        files.access(found.path, 1)
    except Win32Error:
        call.complain(f"tar.exe: Error opening archive: Failed to open '{archive}'")
        return 1
    try:
        for member in _members(found.host):
            if mode == "t":
                call.say(member.name)
            else:
                _unpack(call, member, directory or call.directory)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        call.complain(f"tar.exe: Error opening archive: Unrecognized archive format ({error})")
        return 1
    except Win32Error as error:
        text = "Write failed" if error.code == DISK_FULL else f"Can't create '{error.subject}': {error.text}"
        call.complain(f"tar.exe: {text}")
        call.complain("tar.exe: Error exit delayed from previous errors.")
        return 1
    return 0


def _usage(call: Invocation, word: str) -> int:
    call.complain(
        f"tar.exe: Option {word} requires an argument" if word else "tar.exe: Must specify one of -c, -r, -t, -u, -x"
    )
    return 1


def _unpack(call: Invocation, member: Member, directory: str) -> None:
    files = call.shell.session.files
    parts = [part for part in member.name.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts or member.name.startswith("/") or any(":" in part for part in parts):
        # bsdtar refuses what would leave the directory.
        raise NotModelled(f"tar.exe with the member {member.name!r}")
    if not parts:
        return
    path = "\\".join([directory.rstrip("\\"), *parts])
    if member.is_directory:
        files.make_directory(path)
        return
    files.make_directory(files.full(path).parent)
    with closing(files.open(path, Mode.Create, Use.WRITE, Use.NONE)) as opened, member.open() as source:
        while data := source.read(CHUNK):
            opened.write(data)


def _members(path: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise NotModelled(f"the symbolic link {info.filename!r} in an archive")
                yield Member(info.filename, info.is_dir(), lambda info=info: archive.open(info))  # type: ignore[misc]
        return
    with tarfile.open(path) as packed:
        for entry in packed:
            if not entry.isfile() and not entry.isdir():
                raise NotModelled(f"{entry.name!r} in an archive, which is neither file nor directory")

            def opened(entry: tarfile.TarInfo = entry) -> IO[bytes]:
                data = packed.extractfile(entry)
                assert data is not None
                return data

            yield Member(entry.name, entry.isdir(), opened)

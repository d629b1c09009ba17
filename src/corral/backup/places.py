"""Directories that files are brought to and taken from in pieces: on this machine, or on a host over its connection.

A file grows under another name, its unfinished one, goes on there when an earlier run was cut off, and gets its own in
one rename when its SHA-256 is right.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import gevent
from rich.filesize import decimal

from corral.errors import CorralError
from corral.ollama import files
from corral.remote import Remote
from corral.scripts import Script, Value
from corral.service.move import STORE

#: Bytes that are on their way at a time. A run that is cut off loses no more.
PIECE = 1 << 25


class Size(NamedTuple):
    """Of a file and of its unfinished one, in bytes; -1 for none."""

    whole: int
    unfinished: int


class Place(Protocol):
    """A directory; paths are below it. All raise CorralError."""

    @property
    def name(self) -> str: ...

    def look(self, paths: Sequence[str]) -> list[Size]: ...

    def read(self, path: str, offset: int, count: int) -> bytes: ...

    def append(self, path: str, offset: int, data: bytes) -> None:
        """Write data to the unfinished file, from offset on; nothing is left behind it."""

    def finish(self, path: str, sha256: str) -> None:
        """Let the unfinished file have its name, or delete it if its SHA-256 is another."""

    def digests(self, paths: Sequence[str]) -> list[str]:
        """Each file's SHA-256; "-" for one that can't be read."""


@dataclass(frozen=True)
class Here:
    """A directory on this machine, which nobody else can read."""

    directory: Path
    unfinished: Callable[[str], str]

    @property
    def name(self) -> str:
        return str(self.directory)

    def look(self, paths: Sequence[str]) -> list[Size]:
        return [Size(_size(self.directory / path), _size(self.directory / self.unfinished(path))) for path in paths]

    def read(self, path: str, offset: int, count: int) -> bytes:
        try:
            with (self.directory / path).open("rb") as file:
                file.seek(offset)
                return file.read(count)
        except OSError as error:
            raise self._error(path, "read", error) from error

    def append(self, path: str, offset: int, data: bytes) -> None:
        target = self.directory / self.unfinished(path)
        try:
            # Not by their modes: those of the directories between are the umask's.
            for directory in (self.directory, *reversed(target.relative_to(self.directory).parents[:-1])):
                (self.directory / directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.truncate(offset)
                file.seek(offset)
                file.write(data)
        except OSError as error:
            raise self._error(path, "written", error) from error

    def finish(self, path: str, sha256: str) -> None:
        target, written = self.directory / path, self.directory / self.unfinished(path)
        try:
            with written.open("rb") as file:
                # In a thread: it may take as long as writing, and other hosts must go on hearing from this run.
                gevent.get_hub().threadpool.apply(os.fsync, (file.fileno(),))
            (got,) = self.digests([self.unfinished(path)])
            if got != sha256:
                written.unlink()
                raise CorralError(
                    f"what came as {target} has the SHA-256 {got}, not {sha256}; it was deleted", "Run again"
                )
            written.replace(target)
        except OSError as error:
            raise self._error(path, "written", error) from error

    def digests(self, paths: Sequence[str]) -> list[str]:
        return [_digest(self.directory / path) for path in paths]

    def _error(self, path: str, what: str, error: OSError) -> CorralError:
        return CorralError(
            f"{self.directory / path} can't be {what} ({error.strerror})", "Mend that and run again: it goes on there"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest(path: Path) -> str:
    try:
        stat = path.stat()
        return files.digest(path, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return "-"


@dataclass(frozen=True)
class There:
    """A directory on a host. mode, owner: of what is written; owner "": whoever corral is there, and directories that
    are made are for nobody else."""

    host: str
    remote: Remote
    directory: str
    unfinished: Callable[[str], str]
    mode: str = "600"
    owner: str = ""

    @property
    def name(self) -> str:
        return f"{self.host}:{self.directory}"

    def look(self, paths: Sequence[str]) -> list[Size]:
        if not paths:
            return []
        variables = {"PATHS": self._all(paths), "UNFINISHED": self._all(map(self.unfinished, paths))}
        answer = self.remote.run(Script("backup/look.sh", variables))["files"]
        return [Size(*map(int, line.split())) for line in answer.splitlines()]

    def read(self, path: str, offset: int, count: int) -> bytes:
        variables: dict[str, Value] = {"FILE": self._path(path), "OFFSET": offset, "COUNT": count}
        return self.remote.read(Script("backup/read.sh", variables))

    def append(self, path: str, offset: int, data: bytes) -> None:
        file = self._path(self.unfinished(path))
        variables: dict[str, Value] = {"FILE": file, "OFFSET": offset, "COUNT": len(data), "OWNER": self.owner}
        self.remote.write(Script(STORE, variables, then=("backup/append.sh",)), data)

    def finish(self, path: str, sha256: str) -> None:
        variables = {"FILE": self._path(path), "UNFINISHED": self._path(self.unfinished(path))}
        about = {"SHA256": sha256, "MODE": self.mode, "OWNER": self.owner}
        self.remote.run(Script(STORE, {**variables, **about}, then=("backup/finish.sh",)))

    def digests(self, paths: Sequence[str]) -> list[str]:
        if not paths:
            return []
        answer = self.remote.run(Script("backup/digests.sh", {"PATHS": self._all(paths)}))
        return answer["digests"].split()

    def _path(self, path: str) -> str:
        return f"{self.directory}/{path}"

    def _all(self, paths: Iterable[str]) -> list[str]:
        return [self._path(path) for path in paths]


class Progress:
    """Says now and then how much of so many bytes has come."""

    def __init__(self, say: Callable[[str], None], doing: str, total: int, interval_s: float = 5.0) -> None:
        self._say, self._doing, self._total, self._interval_s = say, doing, total, interval_s
        self._done, self._shown = 0, time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._shown >= self._interval_s:
            self._shown = time.monotonic()
            percent = self._done * 100 // max(1, self._total)
            self._say(f"{self._doing} {decimal(self._done)} of {decimal(self._total)} ({percent} %)")


def copy(source: Place, path: str, target: Place, to: str, sha256: str, size: int, progress: Progress) -> None:
    """Bring a file of so many bytes from one place to another, the rest of it where some has come before."""
    (there,) = target.look([to])
    if there.whole == size:
        progress.add(size)
        return
    offset = there.unfinished if 0 <= there.unfinished <= size else 0
    progress.add(offset)
    while offset < size or size == 0:
        data = source.read(path, offset, min(PIECE, size - offset))
        if not data and size:
            raise CorralError(f"{source.name}/{path} is shorter than it was", "It has changed meanwhile: run again")
        target.append(to, offset, data)
        offset += len(data)
        progress.add(len(data))
        if not size:
            break
    target.finish(to, sha256)

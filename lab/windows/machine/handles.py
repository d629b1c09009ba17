"""Share modes: who has which file open, between all scripts and programs of the machine.

Every open handle is a file of its own, locked by the process that has it; the kernel lets go of the lock when that
process ends, however it ends. Source of the rules: Microsoft, CreateFile, "dwShareMode".
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

from .errors import SHARING_VIOLATION, Win32Error
from .host import OpenFile
from .store import Store


class Use(IntFlag):
    """What is done with a file, or allowed to others: as System.IO.FileShare numbers it."""

    NONE = 0
    READ = 1
    WRITE = 2
    DELETE = 4


SHARE_ALL = Use.READ | Use.WRITE | Use.DELETE


@dataclass
class Handle:
    """An open handle; close() lets go of it."""

    path: Path
    descriptor: int = field(repr=False)

    def close(self) -> None:
        if self.descriptor >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self.descriptor)
            self.descriptor = -1


class Handles:
    """All open handles of the machine. `programs` gives the files that programs under Wine have open."""

    def __init__(self, directory: Path, store: Store, programs: Callable[[], Iterable[OpenFile]]) -> None:
        self._directory = directory
        self._store = store
        self._programs = programs
        directory.mkdir(parents=True, exist_ok=True)

    def open(self, file: os.stat_result, use: Use, share: Use, subject: str) -> Handle:
        """A new handle, or Win32Error 32 where another's use or share mode forbids it."""
        with self._store.locked():
            self._check(file, use, share, subject)
            path = self._directory / f"{file.st_dev}-{file.st_ino}-{int(use)}-{int(share)}-{uuid.uuid4().hex}"
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            flock(descriptor, LOCK_EX)
            return Handle(path, descriptor)

    def check(self, file: os.stat_result, use: Use, subject: str) -> None:
        """Raises Win32Error 32 where the file cannot be used so at the moment, even for an instant."""
        with self._store.locked():
            self._check(file, use, SHARE_ALL, subject)

    def in_use(self, files: Iterable[os.stat_result]) -> bool:
        """Whether anybody has one of these files or directories open."""
        wanted = {(file.st_dev, file.st_ino) for file in files}
        with self._store.locked():
            return any(key in wanted for key, _, _ in self._alive()) or any(
                (file.device, file.inode) in wanted for file in self._programs()
            )

    def runs(self, file: os.stat_result) -> bool:
        """Whether a program runs from this file; it cannot be deleted then."""
        return any(
            program.image and (program.device, program.inode) == (file.st_dev, file.st_ino)
            for program in self._programs()
        )

    def _check(self, file: os.stat_result, use: Use, share: Use, subject: str) -> None:
        key = (file.st_dev, file.st_ino)
        for other, other_use, other_share in self._alive(key):
            if other == key and (use & ~other_share or other_use & ~share):
                raise Win32Error(SHARING_VIOLATION, subject)
        for program in self._programs():
            if (program.device, program.inode) != key:
                continue
            # Most programs, Go's among them, open files with FILE_SHARE_READ | FILE_SHARE_WRITE, not for deletion. What
            # a program runs from can be read and renamed, not written.
            shared = Use.READ | (Use.DELETE if program.image else Use.WRITE)
            used = Use.READ | (Use.WRITE if program.writable else Use.NONE)
            if use & ~shared or used & ~share:
                raise Win32Error(SHARING_VIOLATION, subject)

    def _alive(self, key: tuple[int, int] | None = None) -> Iterator[tuple[tuple[int, int], Use, Use]]:
        pattern = f"{key[0]}-{key[1]}-*" if key else "*-*-*"
        for path in list(self._directory.glob(pattern)):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                flock(descriptor, LOCK_SH | LOCK_NB)
            except BlockingIOError:
                device, inode, use, share, _ = path.name.split("-")
                yield (int(device), int(inode)), Use(int(use)), Use(int(share))
            else:
                # Its process has ended.
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)

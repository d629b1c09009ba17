"""Drives: which letters there are, where their files lie on the host, and what kind of disk each is."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .errors import NOT_READY, PATH_NOT_FOUND, Win32Error
from .store import Store

DOCUMENT = "volumes"
#: System.IO.DriveType and Win32_LogicalDisk.DriveType have the same numbers.
DRIVE_TYPES = {"Unknown": 0, "NoRootDirectory": 1, "Removable": 2, "Fixed": 3, "Network": 4, "CDRom": 5, "Ram": 6}
#: The largest file of FAT32 is 4 GiB less one byte.
FAT32_FILE_LIMIT = 2**32 - 1


@dataclass(frozen=True)
class Volume:
    """A drive. `directory` is where its files are on the host. `free` and `size` in bytes; None: what the host has.

    `file_system`: NTFS, ReFS, FAT32, exFAT; "" where there is no disk in the drive.
    """

    letter: str
    directory: str
    kind: str = "Fixed"
    file_system: str = "NTFS"
    label: str = ""
    size: int | None = None
    free: int | None = None

    @property
    def root(self) -> Path:
        return Path(self.directory)

    @property
    def ready(self) -> bool:
        return bool(self.file_system)

    def space(self) -> tuple[int, int]:
        """Size and free bytes."""
        status = os.statvfs(self.directory)
        size = status.f_frsize * status.f_blocks if self.size is None else self.size
        free = status.f_frsize * status.f_bavail if self.free is None else self.free
        return size, min(free, size)

    @property
    def keeps_acls(self) -> bool:
        return self.file_system in ("NTFS", "ReFS")


class Volumes:
    """The machine's drives."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Volume]:
        found: dict[str, dict[str, object]] = self._store.read(DOCUMENT)
        return [Volume(**found[letter]) for letter in sorted(found)]  # type: ignore[arg-type]

    def find(self, drive: str) -> Volume | None:
        """The drive of a letter, with or without colon."""
        letter = drive.rstrip(":\\").upper()
        return next((volume for volume in self.all() if volume.letter == letter), None)

    def get(self, drive: str) -> Volume:
        """The drive, or Win32Error: 3 where there is none, 21 where it has no disk in it."""
        volume = self.find(drive)
        if volume is None:
            raise Win32Error(PATH_NOT_FOUND, drive)
        if not volume.ready:
            raise Win32Error(NOT_READY, drive)
        return volume

    def put(self, volume: Volume) -> None:
        with self._store.change(DOCUMENT) as document:
            document[volume.letter] = asdict(volume)

    def remove(self, letter: str) -> None:
        with self._store.change(DOCUMENT) as document:
            document.pop(letter.rstrip(":").upper(), None)

    def change(self, letter: str, **changes: object) -> None:
        self.put(replace(self.get(letter), **changes))  # type: ignore[arg-type]

"""Paths of Windows, without looking at any disk: GetFullPathName's rules.

Source: Microsoft, "Naming Files, Paths, and Namespaces" and "File path formats on Windows systems".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import BAD_NETPATH, FILENAME_EXCED_RANGE, INVALID_NAME, NotModelled, Win32Error

#: MAX_PATH counts the final NUL. Windows PowerShell 5.1 keeps this limit unless a policy (LongPathsEnabled) and the
#: program's manifest both lift it; powershell.exe's manifest does not.
MAX_PATH = 260
#: CreateDirectory leaves room for an 8.3 file name.
MAX_DIRECTORY = 248
FORBIDDEN = re.compile(r'[<>"|?*\x00-\x1f]')
DEVICES = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))}
ROOTED = re.compile(r"^[A-Za-z]:[\\/]")
DRIVE = re.compile(r"^[A-Za-z]:")


@dataclass(frozen=True)
class FullPath:
    """A full path on a drive. `drive` is as "C:"; `parts` are the names below it."""

    drive: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.drive + "\\" + "\\".join(self.parts)

    @property
    def key(self) -> str:
        """What names of the same file have in common."""
        return str(self).lower()

    @property
    def name(self) -> str:
        """The last name; a drive's root has none."""
        return self.parts[-1] if self.parts else ""

    @property
    def parent(self) -> FullPath:
        """The directory above; a root's is the root."""
        return FullPath(self.drive, self.parts[:-1])

    def child(self, name: str) -> FullPath:
        return FullPath(self.drive, (*self.parts, name))

    def is_below(self, other: FullPath) -> bool:
        """Whether this is something inside of `other`."""
        own = [part.lower() for part in self.parts]
        above = [part.lower() for part in other.parts]
        return self.drive.lower() == other.drive.lower() and len(own) > len(above) and own[: len(above)] == above


def is_rooted(path: str) -> bool:
    """Whether a path names a drive or starts at a root."""
    return bool(DRIVE.match(path)) or path[:1] in ("\\", "/")


def full_path(path: str, current: str) -> FullPath:
    """The full path that a program sees which gives `path` to Windows, with `current` as its directory.

    Raises Win32Error for what cannot be a path, NotModelled for device paths and for relative paths of other drives.
    """
    text = path.replace("/", "\\")
    if not text or FORBIDDEN.search(text):
        raise Win32Error(INVALID_NAME, path)
    if text.startswith(("\\\\?\\", "\\\\.\\")):
        raise NotModelled(f"device path {path!r}")
    if text.startswith("\\\\"):
        raise Win32Error(BAD_NETPATH, path)
    if ROOTED.match(text):
        drive, rest = text[:2], text[2:]
        parts: list[str] = []
    elif DRIVE.match(text):
        if text[:2].lower() != current[:2].lower():
            raise NotModelled(f"relative path of another drive: {path!r}")
        drive, rest, parts = current[:2], text[2:], _split(current[2:])
    elif text.startswith("\\"):
        drive, rest, parts = current[:2], text, []
    else:
        drive, rest, parts = current[:2], text, _split(current[2:])
    for part in _split(rest):
        if part == "..":
            parts[-1:] = []
        elif part != ".":
            # Trailing dots and blanks are dropped from every name.
            name = part.rstrip(". ")
            if ":" in name:
                raise NotModelled(f"a stream of a file: {path!r}")
            if name:
                parts.append(name)
    found = FullPath(drive.upper(), tuple(parts))
    if len(str(found)) >= MAX_PATH:
        raise Win32Error(FILENAME_EXCED_RANGE, path)
    if any(part.split(".")[0].lower() in DEVICES for part in parts):
        raise NotModelled(f"the device in {path!r}")
    return found


def _split(text: str) -> list[str]:
    return [part for part in text.split("\\") if part]

"""Wine: starts real programs of Windows, and knows where their files are on the host.

A program is started by winsess.exe (see native/winsess.c), for only a program of Windows can give another one its
command line, its environment and its directory exactly: `launch` says how. What runs, and under which number, the
machine's `processes` knows.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.windows.machine.paths import FullPath, full_path

PROGRAM = "/usr/lib/wine/wine64"
STARTER = r"C:\windows\system32\winsess.exe"
#: Where requests for the starter lie, for a moment each.
REQUESTS = r"C:\windows\temp"


@dataclass(frozen=True)
class Launch:
    """How Linux starts a program of Windows: arguments and environment of a process. It can be used once.

    The process has the program's standard streams, and ends when the program does.
    """

    arguments: list[str]
    environment: dict[str, str]
    answer: Path

    def exit_code(self, status: int) -> int:
        """The program's exit code, 0 to 2^32 - 1, where that of the process, of 8 bits on Linux, is `status`."""
        try:
            return int(self.answer.read_text())
        except (FileNotFoundError, ValueError):
            # The starter was killed, or there was nothing to wait for.
            return status & 0xFF if status >= 0 else 1
        finally:
            self.answer.unlink(missing_ok=True)


class Wine:
    """One prefix. `drives` are the drives that its programs see, by letter, as directories of the host.

    `environment` is what Wine itself needs in its environment beside WINEPREFIX: LC_ALL, DISPLAY.
    """

    def __init__(self, prefix: Path, drives: Mapping[str, Path], environment: Mapping[str, str]) -> None:
        self.prefix = prefix
        self.drives = {letter.upper(): Path(os.path.realpath(directory)) for letter, directory in drives.items()}
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/root",
            "WINEDEBUG": "-all",
            **environment,
            "WINEPREFIX": str(prefix),
        }

    def path_of(self, windows_path: str) -> Path:
        """Where a full path of Windows lies on the host, names spelled as the disk has them where they exist.

        Raises Win32Error for what is no path, FileNotFoundError for a drive that the prefix does not have.
        """
        full = full_path(windows_path, "C:\\")
        drive = self.drives.get(full.drive[0])
        if drive is None:
            raise FileNotFoundError(f"there is no drive {full.drive}")
        found = drive
        for name in full.parts:
            found = found / _spelling(found, name)
        return found

    def windows_path(self, path: Path) -> str:
        """A path of the host as programs see it; raises ValueError where it lies on none of the drives."""
        real = Path(os.path.realpath(path.parent)) / path.name
        for letter, directory in sorted(self.drives.items(), key=lambda drive: -len(drive[1].parts)):
            if real.is_relative_to(directory):
                return str(FullPath(f"{letter}:", real.relative_to(directory).parts))
        raise ValueError(f"{path} lies on no drive of {self.prefix}")

    def launch(self, command: str | Sequence[str], environment: Mapping[str, str], directory: str) -> Launch:
        """How to start a program with exactly this environment, in a directory of Windows.

        `command` is a command line as CreateProcess gets it, or a program and its arguments, which are quoted as
        Microsoft's C runtime reads them.
        """
        line = command if isinstance(command, str) else subprocess.list2cmdline(command)
        name = f"{REQUESTS}\\start-{uuid.uuid4().hex}"
        request = self.path_of(name)
        fields = [line, directory, *(f"{variable}={value}" for variable, value in environment.items())]
        request.parent.mkdir(parents=True, exist_ok=True)
        # UTF-16 as Windows has it, halves of surrogate pairs included.
        request.write_bytes("".join(f"{field}\0" for field in fields).encode("utf-16-le", "surrogatepass"))
        return Launch([PROGRAM, STARTER, name], dict(self.environment), request.with_name(f"{request.name}.code"))


def _spelling(directory: Path, name: str) -> str:
    """A name as the directory has it, whatever the case of its letters."""
    if os.path.lexists(directory / name):
        return name
    try:
        names = os.listdir(directory)
    except OSError:
        return name
    return next((known for known in names if known.lower() == name.lower()), name)

"""Starting programs of Windows: which file a command line means, and what of the host runs it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Protocol

from .errors import ACCESS_DENIED, FILE_NOT_FOUND, NotModelled, Win32Error
from .files import FileSystem
from .identity import Identity
from .paths import FullPath, is_rooted

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENT = "STAND_IN_ENVIRONMENT"
SYSTEM32 = r"C:\Windows\System32"
POWERSHELL = rf"{SYSTEM32}\WindowsPowerShell\v1.0\powershell.exe"
MODELLED_NAMES = (
    "cmd", "curl", "fsutil", "icacls", "netsh", "nvidia-smi", "shutdown", "tar", "taskkill", "whoami",
)  # fmt: skip
#: Programs of Windows that the stand-in models: their files are empty, their work is done by lab.windows.commands.
MODELLED = {
    path.lower()
    for path in (
        POWERSHELL,
        *(rf"{SYSTEM32}\{name}.exe" for name in MODELLED_NAMES),
    )
}
#: Programs that every Windows has and the stand-in does not model: a script that asks for one is not told that it is
#: missing, and nothing that Wine has under the name counts.
UNMODELLED = {
    f"{name}.exe"
    for name in (
        "attrib", "bcdedit", "bitsadmin", "certutil", "chkdsk", "choice", "cscript", "defrag", "diskpart", "dism",
        "driverquery", "expand", "explorer", "find", "findstr", "forfiles", "gpresult", "gpupdate", "hostname",
        "ipconfig",
        "manage-bde", "more", "msiexec", "mstsc", "net", "net1", "netstat", "notepad", "nslookup", "pathping", "ping",
        "pnputil", "powercfg", "query", "quser", "reg", "regedit", "regsvr32", "robocopy", "route", "rundll32", "runas",
        "sc", "schtasks", "scp", "secedit", "setx", "sfc", "sftp", "sort", "ssh", "ssh-keygen", "sshd", "subst",
        "systeminfo", "takeown", "tasklist", "timeout", "tracert", "tzutil", "vssadmin", "w32tm", "waitfor", "wevtutil",
        "where", "wmic", "wscript", "wsl", "xcopy",
    )
}  # fmt: skip
Stream = int | IO[bytes] | None


def is_unmodelled(program: FullPath) -> bool:
    """Whether a program is part of Windows and only Wine has one of the name."""
    return program.key.startswith("c:\\windows\\") and program.key not in MODELLED


class Running(Protocol):
    """A program that was started. `pid` is its number; streams are those that were asked for as pipes."""

    pid: int
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def poll(self) -> int | None:
        """The exit code (0 to 2^32 - 1) once it has ended."""

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code; raises subprocess.TimeoutExpired when it has not ended in time."""

    def kill(self) -> None:
        """Ends the program alone, at once."""


class Launcher(Protocol):
    """What starts programs."""

    def start(
        self,
        program: FullPath,
        command_line: str,
        identity: Identity,
        environment: Mapping[str, str],
        directory: str,
        parent: int,
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        wine: bool = False,
    ) -> Running:
        """Starts a program as CreateProcess does; `directory` is a path of Windows.

        Streams are as subprocess.Popen takes them. `wine`: under Wine, also
        where the stand-in models the program.
        """


def stand_in_command(
    state: Path,
    command_line: str,
    identity: Identity,
    environment: Mapping[str, str],
    directory: str,
    parent: int,
    code_file: Path | None = None,
) -> tuple[list[str], dict[str, str]]:
    """What runs a modelled program as a process of its own: arguments, and what its environment needs.

    Its exit code, all 32 bits of it, is written to `code_file`.
    """
    arguments = [
        sys.executable, "-m", "lab.windows.commands", f"--state={state}", f"--account={identity.sid}",
        f"--directory={directory}", f"--parent={parent}", *(() if identity.elevated else ("--limited",)),
        *(() if code_file is None else (f"--code-file={code_file}",)),
        "--", command_line,
    ]  # fmt: skip
    return arguments, {
        ENVIRONMENT: json.dumps(dict(environment)),
        "PYTHONPATH": str(REPOSITORY),
        "PATH": os.environ.get("PATH", os.defpath),
    }


def split_program(command_line: str) -> tuple[str, str]:
    """The program that a command line begins with, without quotes, and what comes after it."""
    text = command_line.strip()
    if text.startswith('"'):
        program, _, rest = text[1:].partition('"')
        return program, rest.strip()
    program, _, rest = text.partition(" ")
    return program, rest.strip()


def find_program(files: FileSystem, name: str, environment: Mapping[str, str], *, path_only: bool = False) -> FullPath:
    """The file of a program: by its path, or by name where CreateProcess looks for one; `path_only`: in Path alone.

    Raises Win32Error 2 where there is none, 5 for what is no program, NotModelled for a part of Windows.
    """
    paths = {key.lower(): value for key, value in environment.items()}.get("path", "")
    if "\\" in name or "/" in name or is_rooted(name):
        places = [""]
    else:
        places = [part.strip('"') for part in paths.split(";") if part.strip()]
        if not path_only:
            places = ["", SYSTEM32, r"C:\Windows", *places]
    for place in places:
        path = f"{place.rstrip(chr(92))}\\{name}" if place else name
        for candidate in (path, f"{path}.exe"):
            try:
                found = files.find(candidate)
            except Win32Error:
                continue
            if found and not found.is_directory:
                if not found.path.name.lower().endswith(".exe"):
                    raise Win32Error(ACCESS_DENIED, name)
                if is_unmodelled(found.path):
                    raise NotModelled(str(found.path))
                return found.path
    if places != [""] and f"{name.lower().removesuffix('.exe')}.exe" in UNMODELLED:
        raise NotModelled(name)
    raise Win32Error(FILE_NOT_FOUND, name)


def quoted(argument: str) -> str:
    """One argument as the C runtime of Windows reads it back. Source: Microsoft, "Parsing C command-line arguments"."""
    if argument and not any(character in argument for character in ' \t\n\v"'):
        return argument
    text = ['"']
    backslashes = 0
    for character in argument:
        if character == "\\":
            backslashes += 1
            continue
        text.append("\\" * (backslashes * 2 + 1 if character == '"' else backslashes) + character)
        backslashes = 0
    return "".join(text) + "\\" * (backslashes * 2) + '"'


def arguments_of(text: str) -> list[str]:
    """The arguments in a command line, without its program, as the C runtime of Windows reads them."""
    arguments: list[str] = []
    current: list[str] = []
    started = quotes = False
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            end = position
            while end < len(text) and text[end] == "\\":
                end += 1
            count = end - position
            started = True
            if end < len(text) and text[end] == '"':
                current.append("\\" * (count // 2))
                if count % 2:
                    current.append('"')
                    end += 1
            else:
                current.append("\\" * count)
            position = end
            continue
        if character == '"':
            started = True
            if quotes and text[position + 1 : position + 2] == '"':
                current.append('"')
                position += 1
            else:
                quotes = not quotes
        elif character in " \t" and not quotes:
            if started:
                arguments.append("".join(current))
            current, started = [], False
        else:
            started = True
            current.append(character)
        position += 1
    if started:
        arguments.append("".join(current))
    return arguments

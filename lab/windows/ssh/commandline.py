"""From the command that a client asks for to the command line that CreateProcess gets.

Source: PowerShell/openssh-portable, contrib/win32/win32compat: set_defaultshell() in pwd.c for the registry's values,
do_exec_windows() in w32-doexec.c without a terminal, build_exec_command() and build_commandline_string() in misc.c.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\OpenSSH"
CMD = r"c:\windows\system32\cmd.exe"
#: Microsoft, "Command prompt (Cmd. exe) command-line string limitation".
CMD_LIMIT = 8191
#: CreateProcessW: 32,767 characters with the final NUL.
LIMIT = 32766
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_BEFORE_QUOTE = re.compile(r'(\\*)"')


class Kind(StrEnum):
    """What sshd takes a shell for, by its path."""

    CMD = r"system32\cmd"
    POWERSHELL = "powershell"
    SHELLHOST = "ssh-shellhost"
    BASH = r"\bash"
    CYGWIN = "cygwin"
    OTHER = ""


@dataclass(frozen=True)
class Shell:
    """The default shell. `path` is as sshd keeps it: backslashes, ASCII letters in lower case.

    option: DefaultShellCommandOption, "" where there is none. escape: DefaultShellEscapeArguments.
    """

    path: str = CMD
    option: str = ""
    escape: bool = True

    @property
    def kind(self) -> Kind:
        return next(kind for kind in Kind if kind.value in self.path)

    @property
    def command_option(self) -> str:
        return self.option or ("/c" if self.kind is Kind.CMD else "-c")


def default_shell(values: Mapping[str, str | int]) -> Shell:
    """The shell that the values of KEY name; without DefaultShell the others do not count."""
    known = {name.lower(): value for name, value in values.items()}
    path = known.get("defaultshell")
    if not isinstance(path, str) or not path:
        return Shell()
    option = known.get("defaultshellcommandoption", "")
    return Shell(
        path.replace("/", "\\").translate(_LOWER),
        option if isinstance(option, str) else "",
        known.get("defaultshellescapearguments", 1) != 0,
    )


def command_line(shell: Shell, command: str) -> str:
    """The command line for a command."""
    command = _exec_command(command)
    option = shell.command_option
    if shell.kind in (Kind.CMD, Kind.SHELLHOST) or (shell.kind is Kind.OTHER and not shell.escape):
        return f'"{shell.path}" {option} "{command}"'
    return f'"{shell.path}" {_quoted(option)} {_quoted(command)}'


def _exec_command(command: str) -> str:
    """scp and sftp-server are called by the names of their programs."""
    for name, program in (("internal-sftp", "sftp-server.exe"), ("sftp-server", "sftp-server.exe"), ("scp", "scp.exe")):
        if command[: len(name)].lower() == name:
            rest = command[len(name) :]
            if name != "internal-sftp" and rest[:4].lower() == ".exe":
                rest = rest[4:]
            return program + rest
    return command


def _quoted(argument: str) -> str:
    """sshd's own quoting: in quotes where there is a space, but not what begins with a single quote.

    Backslashes before the closing quote are not doubled: that is how it is there.
    """
    text = _BEFORE_QUOTE.sub(lambda match: match[1] * 2 + '\\"', argument)
    return f'"{text}"' if " " in argument and not argument.startswith("'") else text

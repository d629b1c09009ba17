"""Scripts that run on hosts: kept in files of their own, given values and never text.

A script is a bash file or, for Windows, a PowerShell file inside this package. In front of bash its values stand as
quoted assignments, to PowerShell they go as parameters (corral.windows.powershell); nothing is interpolated into code,
and all of it travels over standard input: neither a value nor a password shows in a process list.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

Value = str | int | bool | Sequence[str]


@dataclass(frozen=True)
class Script:
    """A file of this package and the values that it reads.

    path: relative to the package, as in "ollama/install.sh" or "ollama/install.ps1".
    variables: for bash upper-case names; a str or int becomes a string, a bool "1" or "", a sequence an array. For
        PowerShell the names of its parameters.
    then: more files, run after the first in the same shell.
    limit_s: PowerShell only: what it is ended after, with all that it has started. A bash script ends with its
        connection, which sshd on Windows does not see to.
    """

    path: str
    variables: Mapping[str, Value] = field(default_factory=dict)
    then: Sequence[str] = ()
    limit_s: int = 300

    def files(self) -> str:
        """The text of the files as they are, one after the other."""
        return "\n".join(map(_read, (self.path, *self.then)))

    def text(self) -> str:
        """Of a bash script the whole: strict mode, variables, shared functions, then the files."""
        assignments = "\n".join(_assign(name, value) for name, value in self.variables.items())
        return "\n".join(
            (
                "set -euo pipefail",
                "export LC_ALL=C",
                assignments,
                _read("lib.sh"),
                self.files(),
            )
        )


def _read(path: str) -> str:
    return files("corral").joinpath(path).read_text(encoding="utf-8")


def _assign(name: str, value: Value) -> str:
    if isinstance(value, bool):
        return f"{name}={'1' if value else ''}"
    if isinstance(value, (str, int)):
        return f"{name}={shlex.quote(str(value))}"
    return f"{name}=({' '.join(shlex.quote(item) for item in value)})"

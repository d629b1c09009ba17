"""Shell scripts that run on hosts: kept in files of their own, given values as quoted variables.

A script is a bash file inside this package. Its values arrive as assignments put in front of it, so
nothing is interpolated into code, and the whole text travels over standard input: neither a value
nor a password shows in a process list.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

Value = str | int | bool | Sequence[str]


@dataclass(frozen=True)
class Script:
    """A bash file of this package and the variables that it reads.

    path: relative to the package, as in "ollama/install.sh".
    variables: upper-case names; a str or int becomes a string, a bool "1" or "", a sequence an array.
    then: more files, run after the first in the same shell.
    """

    path: str
    variables: Mapping[str, Value] = field(default_factory=dict)
    then: Sequence[str] = ()

    def text(self) -> str:
        """The whole script: strict mode, variables, shared functions, then the file."""
        assignments = "\n".join(_assign(name, value) for name, value in self.variables.items())
        return "\n".join(
            (
                "set -euo pipefail",
                "export LC_ALL=C",
                assignments,
                _read("lib.sh"),
                *map(_read, (self.path, *self.then)),
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

"""The stand-in in memory, for unit tests: no machine, no process, no file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .commands import Command
from .engine import Engine, Executable
from .typesystem import DotNetType
from .values import elements, enumerates


@dataclass
class Program:
    """An executable that answers always the same, and keeps what it was given."""

    output: bytes = b""
    error: bytes = b""
    code: int = 0
    arguments: list[str] | None = None
    line: str = ""
    stdin: bytes | None = None

    def run(
        self,
        arguments: list[str],
        stdin: bytes | None,
        environment: Mapping[str, str],
        directory: str,
        stdout: Callable[[bytes], None],
        stderr: Callable[[bytes], None],
    ) -> int:
        """Answers."""
        self.arguments = list(arguments)
        self.line = getattr(arguments, "text", "")
        self.stdin = stdin
        if self.error:
            stderr(self.error)
        if self.output:
            stdout(self.output)
        return self.code


@dataclass(frozen=True)
class Ended:
    """What a whole process left."""

    code: int
    out: str
    err: str


class Shell:
    """An engine with its handles in memory."""

    def __init__(
        self,
        commands: Iterable[Command] = (),
        programs: Mapping[str, Executable] | None = None,
        types: Mapping[str, DotNetType] | None = None,
        *,
        stdin: bytes = b"",
        edition: str = "5.1",
        scripts: Mapping[str, bytes] | None = None,
        **more: Any,
    ) -> None:
        self.out, self.err = io.BytesIO(), io.BytesIO()
        known = {name.lower(): program for name, program in (programs or {}).items()}
        files = {path.lower(): data for path, data in (scripts or {}).items()}

        def read(path: str) -> bytes:
            if path.lower() not in files:
                raise FileNotFoundError(path)
            return files[path.lower()]

        self.engine = Engine(
            commands,
            lambda name: known.get(name.lower()),
            types or {},
            stdin=io.BytesIO(stdin),
            stdout=self.out,
            stderr=self.err,
            environment={"SystemRoot": "C:\\Windows", "COMPUTERNAME": "BOX", "Path": "C:\\Windows\\system32"},
            pid=4711,
            location="C:\\Users\\admin",
            edition=edition,
            read_script=read,
            **more,
        )

    def run(self, script: str, **parameters: object) -> Any:
        """What the script puts out: None, the one object, or a list of them. Arrays are lists here."""
        found = [_plain(item) for item in self.engine.run_script(script, parameters)]
        return found[0] if len(found) == 1 else found or None

    def process(self, arguments: str) -> Ended:
        """A whole powershell.exe with that command line."""
        code = self.engine.run_command_line(arguments)
        return Ended(
            code, self.out.getvalue().decode("utf-8", "replace"), self.err.getvalue().decode("utf-8", "replace")
        )

    def encoded(self, script: str, options: str = "") -> Ended:
        """A whole powershell.exe with the script as -EncodedCommand."""
        text = base64.b64encode(script.encode("utf-16-le")).decode()
        return self.process(f"-NoProfile -NonInteractive {options} -EncodedCommand {text}")


def _plain(value: Any) -> Any:
    return [_plain(item) for item in elements(value)] if enumerates(value) else value


def run(script: str, **parameters: object) -> Any:
    """Shell().run for a script that needs nothing else."""
    return Shell().run(script, **parameters)

"""Executables: those that the stand-in models, and all others, which run under Wine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.launch import find_program
from lab.windows.machine.paths import FullPath
from lab.windows.powershell import Refusal

from ..support import Shell
from .models import run_program
from .running import Invocation
from .shells import find_script, run_script


@dataclass(frozen=True)
class Executable:
    """A program that was found; `path` is its own."""

    shell: Shell
    found: FullPath

    @property
    def path(self) -> str:
        return str(self.found)

    def run(
        self,
        arguments: list[str],
        stdin: bytes | None,
        environment: Mapping[str, str],
        directory: str,
        stdout: Callable[[bytes], None],
        stderr: Callable[[bytes], None],
    ) -> int:
        text = getattr(arguments, "text", None)
        if text is None:
            raise TypeError("an executable needs its command line, as a CommandLine")
        call = Invocation(self.shell, self.found, list(arguments), text, stdin, environment, directory, stdout, stderr)
        try:
            with self.shell.session.files.at(directory):
                if self.found.name.lower().endswith((".cmd", ".bat")):
                    return run_script(call, self.found, text)
                return run_program(call)
        except NotModelled as error:
            raise Refusal("NotModelled", str(error)) from error


def finder(shell: Shell) -> Callable[[str], Executable | None]:
    """What finds a program by the name or path that a script wrote."""

    def find(name: str) -> Executable | None:
        files = shell.session.files
        try:
            with files.at(shell.directory):
                script = find_script(files, name, shell.environment, here=False)
                return Executable(shell, script or find_program(files, name, shell.environment, path_only=True))
        except Win32Error:
            return None
        except NotModelled as error:
            raise Refusal("NotModelled", f"the program {error}") from error

    return find

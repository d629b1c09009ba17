"""corral's own scripts on a model of a Windows machine, without ssh and without Wine.

The request that corral sends goes through the real bootstrap into the lab's stand-in for PowerShell, and the answer
through corral's reader.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from corral.scripts import Script, Value
from corral.windows import powershell
from corral.windows.remote import PowerShellAnswer
from lab.windows.commands import Shell, make_engine
from lab.windows.machine import Machine, Settings
from lab.windows.machine.host import HostProcess, LinuxHost

PID = 4711


class Quiet(LinuxHost):
    """This machine without what runs on it: the lab's hosts may be among that."""

    def processes(self) -> Iterable[HostProcess]:
        return []


class Computer:
    """A machine whose drives are directories of a test."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.drives = {letter: directory / letter for letter in "CD"}
        for drive in self.drives.values():
            drive.mkdir(parents=True)
        self.machine = Machine.create(directory / "state", self.drives, Settings(**settings), host=Quiet())

    def run(self, script: Script, run_directory: str = "", stdin: bytes = b"") -> dict[str, str]:
        """What a script emits; `@progress` holds its lines of progress. Raises CorralError as over ssh."""
        return self.run_text(script.files(), script.path, script.variables, run_directory, stdin)

    def run_text(
        self,
        text: str,
        name: str = "script",
        variables: Mapping[str, Value] | None = None,
        run_directory: str = "",
        stdin: bytes = b"",
    ) -> dict[str, str]:
        """The same of a script's text."""
        session = self.machine.session(self.machine.user)
        shell = Shell(session, PID, session.identity.profile, session.environment())
        request = powershell.request(
            powershell.assemble(text),
            name=name,
            parameters=variables,
            environment={"CORRAL_RUN": run_directory} if run_directory else {},
        )
        out, errors = io.BytesIO(), io.BytesIO()
        engine = make_engine(shell, io.BytesIO(request + stdin), out, errors)
        code = engine.run_command_line(powershell.COMMAND.partition(" ")[2])
        answer = PowerShellAnswer(name)
        found: dict[str, str] = {}
        for name, text in answer.feed(out.getvalue()):
            found[name] = f"{found.get(name, '')}{text}\n" if name == "@progress" else text
        answer.check(code, errors.getvalue())
        return found

"""Starts programs on the host: those of Windows under Wine, those that the stand-in models as its own processes."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from lab.windows.machine.errors import FILE_NOT_FOUND, Win32Error
from lab.windows.machine.identity import Identity
from lab.windows.machine.launch import MODELLED, Running, Stream, stand_in_command
from lab.windows.machine.machine import STATE, Machine
from lab.windows.machine.paths import FullPath
from lab.windows.machine.processes import START, Processes, marks
from lab.windows.wine import Launch, Wine

#: How long a program under Wine may take until it can be seen.
APPEARANCE_S = 20.0


class HostLauncher:
    """See lab.windows.machine.launch.Launcher."""

    def __init__(self, machine: Machine, wine: Callable[[], Wine]) -> None:
        self._machine = machine
        self._wine = wine

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
        if program.key in MODELLED and not wine:
            code = self._machine.directory / "codes" / uuid.uuid4().hex
            code.parent.mkdir(exist_ok=True)
            arguments, needed = stand_in_command(
                self._machine.directory, command_line, identity, environment, directory, parent, code
            )
            process = subprocess.Popen(
                arguments, env={**os.environ, **needed}, stdin=stdin, stdout=stdout, stderr=stderr
            )
            self._machine.processes.register(process.pid, str(program), command_line, identity, parent)
            return ModelledProgram(process, code)
        prefix = self._wine()
        launch = prefix.launch(command_line, environment, directory)
        marked = marks(identity, parent)
        process = subprocess.Popen(
            launch.arguments, env={**launch.environment, **gpu_variables(), **marked}, cwd=prefix.drives["C"],
            stdin=stdin, stdout=stdout, stderr=stderr,
        )  # fmt: skip
        return WineProgram(process, launch, self._machine.processes, marked[START])


def gpu_variables() -> dict[str, str]:
    """What the host gives all its services beside Wine's own variables: its declared GPUs."""
    names = ("DECLARED_GPU", "VK_", "NODEVICE_SELECT", "MESA_", "LP_NATIVE", "DISPLAY")
    return {name: value for name, value in os.environ.items() if name.startswith(names)}


class Program:
    """A program that was started; see lab.windows.machine.launch.Running.

    `exit_code` gives the whole code, of which Linux keeps 8 bits, for the process's status. It is asked once.
    """

    def __init__(self, process: subprocess.Popen[bytes], pid: int, exit_code: Callable[[int], int]) -> None:
        self._process = process
        self._exit_code = exit_code
        self._code: int | None = None
        self.pid = pid
        self.stdin: IO[bytes] | None = process.stdin
        self.stdout: IO[bytes] | None = process.stdout
        self.stderr: IO[bytes] | None = process.stderr

    def poll(self) -> int | None:
        if self._code is None:
            status = self._process.poll()
            if status is not None:
                self._code = self._exit_code(status)
        return self._code

    def wait(self, timeout_s: float | None = None) -> int:
        self._process.wait(timeout_s)
        code = self.poll()
        assert code is not None
        return code


class ModelledProgram(Program):
    """A process of the stand-in, which writes its exit code to a file."""

    def __init__(self, process: subprocess.Popen[bytes], code: Path) -> None:
        super().__init__(process, process.pid, self._read_code)
        self._file = code

    def _read_code(self, status: int) -> int:
        """What the process wrote; who ends a process gives it a code, 1 for the most part."""
        try:
            return int(self._file.read_text())
        except FileNotFoundError:
            return 1 if status < 0 else status
        finally:
            self._file.unlink(missing_ok=True)

    def kill(self) -> None:
        self._process.kill()


class WineProgram(Program):
    """A program under Wine. The process that was started is the starter's; the program's own is found by its mark."""

    def __init__(self, process: subprocess.Popen[bytes], launch: Launch, processes: Processes, mark: str) -> None:
        super().__init__(process, _appeared(process, processes, mark), launch.exit_code)
        self._processes = processes

    def kill(self) -> None:
        self._processes.kill(self.pid)


def _appeared(process: subprocess.Popen[bytes], processes: Processes, mark: str) -> int:
    """The number of the program that was started under Wine, as soon as it can be seen."""
    end = time.monotonic() + APPEARANCE_S
    while time.monotonic() < end:
        found = processes.started(mark)
        if found:
            return found
        if process.poll() is not None:
            # It has ended already, or could not be started; its number was nobody's to see.
            return process.pid
        time.sleep(0.01)
    raise Win32Error(FILE_NOT_FOUND, "the program under Wine does not appear")


def wine_of(machine: Machine) -> Wine:
    """The machine's Wine prefix."""
    drives = {volume.letter: volume.root for volume in machine.volumes.all()}
    prefix = Path(os.environ.get("WINEPREFIX", drives["C"].parent))
    environment = {name: os.environ[name] for name in ("LC_ALL", "DISPLAY", "WINEDEBUG") if name in os.environ}
    return Wine(prefix, drives, environment)


def host_machine(directory: Path = STATE) -> Machine:
    """The machine in a directory, able to start programs on this host."""
    machine = Machine(directory)
    machine.launcher = HostLauncher(machine, lambda: wine_of(machine))
    return machine

"""Starting a session's shell: cmd.exe and powershell.exe under Wine, bash as the host's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from lab.windows.commands.launcher import gpu_variables, wine_of
from lab.windows.machine import Machine
from lab.windows.machine.launch import arguments_of, split_program
from lab.windows.machine.processes import START, marks

from .commandline import Kind, Shell
from .jobs import Job, Jobs

#: Variables that tell powershell.exe (native/powershell.c), and through it the stand-in, whose session it is in.
JOB = "STAND_IN_JOB"
#: Where the machine is whose powershell.exe bash calls.
STATE = "STAND_IN_STATE"
#: What no argument can hold that bash gets by way of its runtime's rules for quoting, which are not modelled.
NOT_FOR_BASH = frozenset("'\"\\*?[{~@")
WRAPPER = """\
#!/bin/sh
exec {python} -m lab.windows.ssh.wrapped powershell.exe "$@"
"""


class Unstartable(Exception):
    """CreateProcess would refuse, or the stand-in does not know: a sentence why."""


class Shells(Protocol):
    """What starts shells."""

    async def start(self, shell: Shell, line: str, environment: Mapping[str, str], directory: str) -> RunningShell:
        """Starts a command line in a directory of Windows; raises Unstartable."""


class RunningShell:
    """The process that a session waits for: Win32-OpenSSH's immediate child."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        stdin: asyncio.StreamWriter,
        outputs: tuple[Output, Output],
        exit_code: Callable[[int], int],
        job: Job | None,
    ) -> None:
        """`exit_code` makes the exit code of the process's status on Linux."""
        self.stdin = stdin
        self.stdout, self.stderr = outputs
        self._process = process
        self._exit_code = exit_code
        self._job = job
        self._killed = False

    async def wait(self) -> int:
        """The exit code. The job ends with the process, and all that is left of it: nothing else has its handle."""
        status = await self._process.wait()
        code = self._exit_code(status)
        await self._end_job()
        # w32_kill() gives what it ends the exit code 0.
        return 0 if self._killed else code

    async def kill(self) -> None:
        """What any signal from the client comes to: TerminateProcess (signal_sigchld.c, w32_kill())."""
        self._killed = True
        if self._job is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._end_job()

    async def _end_job(self) -> None:
        if self._job is not None:
            await asyncio.to_thread(self._job.close)


class Output:
    """One of the pipes that a shell writes to."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        self._reader = reader
        self._transport = transport

    async def read(self, limit: int) -> bytes:
        """What there is, once there is something; empty at the end."""
        return await self._reader.read(limit)

    def close(self) -> None:
        """Reads no more: what is written from now on fails."""
        self._transport.close()


async def started(
    arguments: list[str],
    environment: Mapping[str, str],
    directory: str | os.PathLike[str],
    exit_code: Callable[[int], int],
    job: Job | None,
) -> RunningShell:
    """Starts a process of the host with three pipes as its standard streams."""
    loop = asyncio.get_running_loop()
    ends = [os.pipe() for _ in range(3)]
    (child_in, own_in), (own_out, child_out), (own_err, child_err) = ends
    try:
        process = await asyncio.create_subprocess_exec(
            *(job.enter(arguments) if job else arguments), env=dict(environment), cwd=directory,
            stdin=child_in, stdout=child_out, stderr=child_err, start_new_session=True,
        )  # fmt: skip
    except BaseException:
        for end in (own_in, own_out, own_err):
            os.close(end)
        raise
    finally:
        for end in (child_in, child_out, child_err):
            os.close(end)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(own_in, "wb", 0)
    )
    stdin = asyncio.StreamWriter(transport, protocol, None, loop)
    return RunningShell(process, stdin, (await _output(own_out), await _output(own_err)), exit_code, job)


async def _output(end: int) -> Output:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(end, "rb", 0))
    return Output(reader, transport)


class HostShells:
    """Shells on a lab host."""

    def __init__(self, machine: Machine, jobs: Jobs) -> None:
        self._machine = machine
        self._jobs = jobs
        self._wrappers = Path(tempfile.mkdtemp(prefix="windows-bash-"))
        wrapper = self._wrappers / "powershell.exe"
        wrapper.write_text(WRAPPER.format(python=sys.executable))
        wrapper.chmod(0o755)

    async def start(self, shell: Shell, line: str, environment: Mapping[str, str], directory: str) -> RunningShell:
        if shell.kind is Kind.BASH:
            return await self._bash(line, environment, directory)
        program, _ = split_program(line)
        files = self._machine.system.files
        if not files.is_file(program):
            raise Unstartable(f"posix_spawn: there is no {program}")
        if not files.is_directory(directory):
            raise Unstartable(f"chdir: there is no {directory}")
        wine = wine_of(self._machine)
        job = self._jobs.new()
        marked = {**marks(self._machine.user, os.getpid()), JOB: job.name}
        # Programs see what is in their block; the host sees what is in the environment of their processes.
        launch = wine.launch(line, {**environment, JOB: job.name, START: marked[START]}, directory)
        variables = {**launch.environment, **gpu_variables(), **marked}
        return await started(launch.arguments, variables, wine.drives["C"], launch.exit_code, job)

    async def _bash(self, line: str, environment: Mapping[str, str], directory: str) -> RunningShell:
        """The host's bash for Git's; whoever calls powershell.exe there calls the stand-in."""
        arguments = arguments_of(split_program(line)[1])
        if len(arguments) != 2 or NOT_FOR_BASH & set(arguments[1]):
            raise Unstartable(f"this host's bash takes no command with quotes, backslashes or patterns: {line}")
        job = self._jobs.new()
        files = self._machine.system.files
        variables = {
            **environment,
            "PATH": f"{self._wrappers}:/usr/bin:/bin",
            "HOME": str(files.locate(environment["HOME"])),
            "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8"),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            STATE: str(self._machine.directory),
        }
        return await started(["/bin/bash", *arguments], variables, files.locate(directory), _unsigned, job)


def _unsigned(status: int) -> int:
    """The exit code for a status. What Linux killed has none; on Windows who kills gives one, 1 for the most part."""
    return 1 if status < 0 else status

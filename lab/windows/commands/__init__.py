"""The machine's cmdlets, programs and types of .NET, for the engine that runs scripts.

    shell = Shell(session, pid, directory, environment)
    commands, executables, types = equipment(shell)         what Engine takes
    engine = make_engine(shell, stdin, stdout, stderr)      or the whole engine

`python3 -m lab.windows.commands -- COMMAND-LINE` runs one command line as a process of the machine (see __main__).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import BinaryIO

from lab.windows.machine.errors import Win32Error
from lab.windows.powershell import Command, DotNetType, Engine

from . import (
    content,
    dotnetio,
    enums,
    fileitems,
    itemproperties,
    items,
    network,
    processes,
    registrykeys,
    security,
    system,
    tasks,
)
from .programs import Executable, finder
from .support import Shell

Equipment = tuple[list[Command], Callable[[str], Executable | None], Mapping[str, DotNetType]]
MODULES = (items, itemproperties, content, processes, network, tasks, system)
TYPES = (registrykeys, fileitems, dotnetio, processes, security)


def equipment(shell: Shell) -> Equipment:
    """Cmdlets, the finder of programs, and types by their full names."""
    commands = [command for module in MODULES for command in module.commands(shell)]
    types = [*enums.ALL, *(kind for module in TYPES for kind in module.types(shell))]
    return commands, finder(shell), {kind.name: kind for kind in types}


def make_engine(shell: Shell, stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO, edition: str = "5.1") -> Engine:
    """A powershell.exe process of the shell's."""
    commands, executables, types = equipment(shell)
    settings = shell.machine.settings
    chinese = settings.locale == "zh-CN"

    def read_script(path: str) -> bytes:
        try:
            with shell.session.files.at(shell.directory):
                return shell.session.files.read_shared(path)
        except Win32Error as error:
            raise FileNotFoundError(path) from error

    def end_process(code: int) -> None:
        for stream in (stdout, stderr):
            stream.flush()
        os._exit(code & 0xFF)

    return Engine(
        commands,
        executables,
        types,
        language_mode=settings.language_mode,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        environment=shell.environment,
        pid=shell.pid,
        location=shell.directory,
        edition=edition,
        read_script=read_script,
        oem_code_page=936 if chinese else 437,
        ansi_code_page=936 if chinese else 1252,
        end_process=end_process,
        drive_exists=lambda name: (
            shell.machine.volumes.find(name) is not None or name.lower() in ("hklm", "hkcu", "env")
        ),
    )


__all__ = ["Equipment", "Shell", "equipment", "make_engine"]

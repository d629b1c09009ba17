"""powershell.exe as bash calls it: this process becomes the stand-in.

    python3 -m lab.windows.ssh.wrapped powershell.exe ARGUMENT...

Its directory and its environment are those that bash has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from lab.windows.commands.launcher import wine_of
from lab.windows.machine import Machine
from lab.windows.machine.environment import Block
from lab.windows.machine.launch import POWERSHELL, quoted, stand_in_command

from .shells import STATE

#: What bash was given of the host's own, or sets itself.
HOSTS_OWN = ("PATH", "HOME", "LC_ALL", "PYTHONPATH", "PWD", "OLDPWD", "SHLVL", "_", STATE)


def windows_environment(block: Block, here: Mapping[str, str]) -> Block:
    """What a program of Windows gets from bash: the session's variables, Path and HOME as Windows has them."""
    made = Block(block)
    for name, value in here.items():
        if name not in HOSTS_OWN:
            made[name] = value
    return made


def main(arguments: list[str]) -> None:
    machine = Machine(Path(os.environ[STATE]))
    identity = machine.user
    environment = windows_environment(machine.session(identity).environment(), os.environ)
    line = " ".join(map(quoted, arguments))
    directory = wine_of(machine).windows_path(Path.cwd())
    command, needed = stand_in_command(machine.directory, line, identity, environment, directory, os.getppid())
    machine.processes.register(os.getpid(), POWERSHELL, line, identity, os.getppid())
    os.execve(command[0], command, {**os.environ, **needed})


if __name__ == "__main__":
    main(sys.argv[1:])

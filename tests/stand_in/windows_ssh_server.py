"""The lab's sshd for Windows machines on a port of this machine, without Wine: commands are run by /bin/sh.

    python -m tests.stand_in.windows_ssh_server DIRECTORY

Makes a machine in DIRECTORY/state, with DIRECTORY/c as drive C, prints the port, and writes what each command would
have been started with to a file of its own in DIRECTORY/started. It is a process of its own: asyncio would find gevent
in place of the system's calls in that of the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import asyncssh

from lab.windows.machine import Machine, Settings
from lab.windows.machine.host import LinuxHost
from lab.windows.ssh import configuration, faults
from lab.windows.ssh.commandline import Shell
from lab.windows.ssh.server import Sshd
from lab.windows.ssh.shells import RunningShell, started

USER, PASSWORD, COMPUTER = "管理员", "right", "PC"


class QuietHost(LinuxHost):
    """No process of this machine is one of Windows."""

    def processes(self) -> tuple[()]:
        return ()


class ShShells:
    """Runs what stands between the outermost quotes with /bin/sh, and keeps what it was asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def start(self, shell: Shell, line: str, environment: Mapping[str, str], directory: str) -> RunningShell:
        asked = {"line": line, "environment": dict(environment), "directory": directory}
        made = self._directory / f".{uuid.uuid4().hex}"
        made.write_text(json.dumps(asked))
        made.rename(self._directory / f"{len(list(self._directory.glob('*.json')))}.json")
        script = line.partition(f" {shell.command_option} ")[2].strip('"')
        # Exit codes are of 32 bits there.
        return await started(["/bin/sh", "-c", script], os.environ, "/", lambda status: status + 70000, None)


def make(directory: Path) -> Machine:
    settings = Settings(computer=COMPUTER, user=USER)
    (directory / "started").mkdir()
    machine = Machine.create(directory / "state", {"C": directory / "c"}, settings, host=QuietHost())
    cmd = machine.system.files.locate(r"C:\Windows\System32\cmd.exe")
    cmd.touch()
    key = asyncssh.read_private_key(directory / "key")
    machine.system.files.write(faults.KEYS, key.export_public_key())
    machine.system.files.write(configuration.PATH, configuration.DEFAULT.encode())
    return machine


async def main(directory: Path) -> None:
    sshd = Sshd(make(directory), ShShells(directory / "started"), PASSWORD)
    acceptor = await sshd.listen("127.0.0.1", 0, asyncssh.generate_private_key("ssh-ed25519"))
    print(acceptor.get_port(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

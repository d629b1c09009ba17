"""The Windows machine as the host's service runs it: made at the first start, then on for as long as the host is.

    python3 -m lab.windows.ssh                 reads /etc/lab-windows.json (see lab.preparation)
    python3 -m lab.windows.ssh fault NAME      brings about one of the bad days of `faults`

Faults are of the machine that runs: sshd sees them at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab.windows.commands.launcher import host_machine, wine_of
from lab.windows.machine import STATE, Machine, Settings
from lab.windows.machine import faults as machine_faults
from lab.windows.machine.hives import Adapter
from lab.windows.wine import PROGRAM, STARTER

from . import configuration, faults
from .jobs import Jobs, own_group
from .loopback import Loopback
from .server import Sshd
from .shells import HostShells

SETTINGS = Path("/etc/lab-windows.json")
#: There once the machine was made: what was only begun is begun again.
MADE = STATE / "made"
#: There while the host is on: /run is empty after a boot.
BOOTED = Path("/run/windows-machine")
SSHD = r"C:\Windows\System32\OpenSSH\sshd.exe"
#: A computer's name has at most 15 characters (NetBIOS).
NAME_LENGTH = 15
WATCH_S = 1.0
log = logging.getLogger("lab.windows.ssh")


def make(wanted: dict[str, Any]) -> None:
    """Makes the machine that the host's settings describe, unless it is there."""
    if MADE.exists():
        return
    settings = Settings(
        computer=wanted["host"].upper()[:NAME_LENGTH],
        user=wanted["user"],
        locale=wanted["locale"].partition(".")[0].replace("_", "-"),
        nvidia=bool(wanted["gpus"]),
        adapters=tuple(Adapter(gpu["name"], gpu["memory_mib"] * 2**20) for gpu in wanted["gpus"]),
    )
    drives = {letter: Path(directory) for letter, directory in wanted["drives"].items()}
    machine = Machine.create(STATE, drives, settings)
    files = machine.system.files
    files.write(faults.KEYS, wanted["authorized_key"].encode() + b"\r\n")
    files.write(configuration.PATH, configuration.DEFAULT.replace("\n", "\r\n").encode())
    MADE.touch()


def boot(machine: Machine) -> None:
    """Starts the machine with the host: once, however often this service is started."""
    if not BOOTED.exists():
        machine.boot()
        machine_faults.restore(machine)
        BOOTED.touch()


def keep_wine(machine: Machine) -> None:
    """A program that stays: without any, Wine ends its own services, and their start takes seconds."""
    wine = wine_of(machine)
    subprocess.Popen(
        [PROGRAM, STARTER], env=wine.environment, cwd=wine.drives["C"], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def watch(machine: Machine) -> None:
    """What happens by itself on the machine: tasks that are due."""
    while True:
        try:
            machine.tick()
        except Exception:
            log.exception("the machine's clock")
        time.sleep(WATCH_S)


async def serve(wanted: dict[str, Any]) -> None:
    machine = host_machine()
    boot(machine)
    keep_wine(machine)
    machine.processes.register(os.getpid(), SSHD, SSHD, machine.system.identity, 4)
    jobs = Jobs(own_group())
    Loopback(machine, machine.system.launcher(), jobs).serve()
    password = Path(wanted["password_file"]).read_text().rstrip("\n")
    sshd = Sshd(machine, HostShells(machine, jobs), password)
    # The watch has files of its own to wait for; it is no part of what answers.
    watching = asyncio.to_thread(watch, Machine())
    await asyncio.gather(sshd.serve("", wanted["ssh_port"], wanted["host_key"]), watching)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab.windows.ssh", description=__doc__)
    verbs = parser.add_subparsers(dest="verb")
    verbs.add_parser("fault").add_argument("name", choices=sorted(faults.FAULTS))
    given = parser.parse_args(arguments)
    if given.verb == "fault":
        faults.FAULTS[given.name](Machine())
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # asyncssh says a line or more for every packet; what counts is said here.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    wanted = json.loads(SETTINGS.read_text(encoding="utf-8"))
    make(wanted)
    asyncio.run(serve(wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What goes wrong with the machine's sshd, for tests. Each fault is taken back by `well`, or on the machine itself."""

from __future__ import annotations

from collections.abc import Callable

from lab.windows.machine import Machine
from lab.windows.machine.acl import FULL, READ_EXECUTE, Entry
from lab.windows.machine.identity import ADMINISTRATORS, AUTHENTICATED_USERS, SYSTEM
from lab.windows.machine.paths import full_path

from . import configuration
from .server import SSHD

KEYS = r"C:\ProgramData\ssh\administrators_authorized_keys"


def open_keys(machine: Machine) -> None:
    """The file of administrators' keys has the access rights that a file gets there which somebody makes by hand."""
    rights = ((SYSTEM, FULL), (ADMINISTRATORS, FULL), (AUTHENTICATED_USERS, READ_EXECUTE))
    machine.acls.set_entries(full_path(KEYS, "C:\\"), [Entry(sid, mask) for sid, mask in rights], True)


def stop(machine: Machine) -> None:
    """The service is stopped: nobody answers any more, connections that there are go on."""
    machine.services.change(SSHD, status="Stopped")


def forbid_forwarding(machine: Machine) -> None:
    """AllowTcpForwarding no."""
    _configure(machine, "AllowTcpForwarding no\n" + configuration.DEFAULT)


def forbid_passwords(machine: Machine) -> None:
    """PasswordAuthentication no."""
    _configure(machine, "PasswordAuthentication no\n" + configuration.DEFAULT)


def forbid_sftp(machine: Machine) -> None:
    """No sftp among the subsystems."""
    lines = configuration.DEFAULT.splitlines(keepends=True)
    _configure(machine, "".join(line for line in lines if not line.startswith("Subsystem")))


def well(machine: Machine) -> None:
    """As sshd is on a new machine."""
    machine.services.change(SSHD, status="Running")
    _configure(machine, configuration.DEFAULT)
    entries = [Entry(ADMINISTRATORS, FULL), Entry(SYSTEM, FULL)]
    machine.acls.set_entries(full_path(KEYS, "C:\\"), entries, True)


def _configure(machine: Machine, text: str) -> None:
    machine.system.files.write(configuration.PATH, text.replace("\n", "\r\n").encode())


#: By the names that `python3 -m lab.windows.ssh fault NAME` knows.
FAULTS: dict[str, Callable[[Machine], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (open_keys, stop, forbid_forwarding, forbid_passwords, forbid_sftp, well)
}

"""The lab's network as seen from the controller: hosts cut off, and a network that is slow to answer."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from lab.config import INSIDE, Host
from lab.errors import LabError
from lab.sandbox import SCRIPTS, Sandbox, end_group

#: The controller's end of the pair that is plugged into the hosts' bridge, and the port that stands in
#: for it there while delay.py holds frames back in between.
PLUG = "plug0"
SLOW_PORT = "slow0"
SLOW_PLUG = "slow1"


def port(host: Host) -> str:
    """The bridge port of a running host: systemd-nspawn names it so."""
    return f"vb-{host.name}"


def unplug(sandbox: Sandbox, host: Host) -> None:
    """Removes the port of a host that is off: the kernel does so too, but perhaps not before the next boot."""
    with contextlib.suppress(LabError):  # it has
        sandbox.run("ip", "link", "del", port(host))


def cut(sandbox: Sandbox, host: Host) -> None:
    """Pulls the host's cable, until `uncut` or its next boot."""
    _set_link(sandbox, host, "down")


def uncut(sandbox: Sandbox, host: Host) -> None:
    _set_link(sandbox, host, "up")


def _set_link(sandbox: Sandbox, host: Host, state: str) -> None:
    try:
        sandbox.run("ip", "link", "set", port(host), state)
    except LabError:
        raise LabError(f"{host.name} is off: it has no link to set {state}") from None


def set_delay(sandbox: Sandbox, round_trip_ms: float) -> None:
    """Adds this much to every round trip between the controller and the hosts inside; 0 removes it.

    Traffic between hosts, such as downloads from the mirror, is not slowed. The kernel's own way (netem)
    is a module that many kernels lack, so a small program forwards the frames, half the delay each way.
    """
    if round_trip_ms < 0:
        raise LabError(f"a delay of {round_trip_ms} ms is not possible")
    group = sandbox.cgroup / "delay"
    end_group(group)
    sandbox.run("ip", "link", "set", PLUG, "master", INSIDE.bridge)
    with contextlib.suppress(LabError):  # there was no delay
        sandbox.run("ip", "link", "del", SLOW_PORT)
    if not round_trip_ms:
        return
    sandbox.run("ip", "link", "add", SLOW_PORT, "type", "veth", "peer", "name", SLOW_PLUG)
    for name in (SLOW_PORT, SLOW_PLUG):
        sandbox.run("ip", "link", "set", name, "up")
    relay: list[str | Path] = [sys.executable, SCRIPTS / "delay.py", PLUG, SLOW_PLUG, str(round_trip_ms / 2)]
    with subprocess.Popen(
        [SCRIPTS / "in-cgroup.sh", group, "setsid", "--fork", *sandbox.inside(relay)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        assert starter.stdout
        if not starter.stdout.readline():
            raise LabError("the program that delays the network's frames did not start")
    sandbox.run("ip", "link", "set", PLUG, "nomaster")
    sandbox.run("ip", "link", "set", SLOW_PORT, "master", INSIDE.bridge)

"""The stage bare: clock, name and packages. Pure but for the action that sets the clock."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from corral.changes import Change
from corral.errors import CorralError
from corral.rebuild import clock, packages
from corral.rebuild.system import COMMANDS, TIMEKEEPERS, System
from corral.remote import Remote
from corral.scripts import Script
from corral.words import joined

#: What installers call a host that nobody has given a name.
NAMELESS = ("", "localhost", "localhost.localdomain", "(none)", "debian", "ubuntu")
#: A label of a host name, RFC 1123.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)


def changes(
    remote: Remote, system: System, ahead_s: float, names: tuple[str, str], proxy: Mapping[str, str]
) -> list[Change]:
    """What must be done so that packages can be installed and r1.py finds all that it needs.

    ahead_s: how far the host's clock is ahead. names: the declared host name, "" for none; the inventory's.
    Raises CorralError where packages lack and there is no apt.
    """
    found = []
    if clock.is_wrong(ahead_s):
        found.append(Change(f"set the clock, which is {clock.words(ahead_s)}, by this machine's", lambda: _set(remote)))
    name = wanted_name(system.hostname, *names)
    if name != system.hostname or not system.resolves:
        old = f" instead of {system.hostname}" if system.hostname and name != system.hostname else ""
        found.append(Change(f"name the host {name}{old}", Script("rebuild/hostname.sh", {"NAME": name})))
    return found + _packages(system, proxy) + _timekeeper(system)


def wanted_name(now: str, declared: str, inventory: str) -> str:
    """A name that somebody has given the host stays, unless another is declared for it."""
    if declared:
        return declared
    return inventory if now.lower() in NAMELESS and LABEL.fullmatch(inventory) else now


def missing(system: System) -> list[str]:
    """The packages that bring what the host lacks, in the order in which they are listed."""
    lacking = [package for command, package in COMMANDS.items() if command not in system.commands]
    if not system.certificates:
        lacking.append("ca-certificates")
    if not _keeps_time(system) and not _installed_timekeeper(system):
        lacking.append(TIMEKEEPERS[0])
    return lacking


def _packages(system: System, proxy: Mapping[str, str]) -> list[Change]:
    lacking = missing(system)
    if system.apt:
        found = []
        if system.interrupted:
            what = ", ".join(system.interrupted[:5])
            found.append(Change(f"finish what dpkg was interrupted in ({what})", packages.install((), proxy)))
        if lacking:
            found.append(Change(f"install {joined(lacking)}", packages.install(lacking, proxy)))
        return found
    needed = [package for package in lacking if package != TIMEKEEPERS[0]]
    if needed:
        raise CorralError(
            f"the host lacks {joined(needed)}, and corral installs packages with apt only",
            f"Install there what brings {joined(needed)}, and run again",
        )
    return []


def _timekeeper(system: System) -> list[Change]:
    if _keeps_time(system) or not system.apt:
        return []
    unit = _installed_timekeeper(system) or TIMEKEEPERS[0]
    return [Change(f"have {unit} keep the clock right", Script("rebuild/enable.sh", {"UNIT": f"{unit}.service"}))]


def _keeps_time(system: System) -> bool:
    return "enabled" in system.timekeepers.values()


def _installed_timekeeper(system: System) -> str:
    return next((unit for unit in TIMEKEEPERS if system.timekeepers.get(unit) in ("disabled", "static")), "")


def _set(remote: Remote) -> None:
    remote.run(Script("rebuild/clock.sh", {"NOW": int(time.time())}))

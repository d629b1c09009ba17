"""Scripts that install packages with apt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corral.scripts import Script, Value

#: How long to wait for whoever else installs packages; a first unattended upgrade takes some minutes.
LOCK_WAIT_S = 600


def script(path: str, proxy: Mapping[str, str], **variables: Value) -> Script:
    """A script of this package that uses apt.sh's functions. proxy: as HostRun.proxy."""
    return Script("rebuild/apt.sh", {**proxy, "LOCK_WAIT_S": LOCK_WAIT_S, **variables}, then=(f"rebuild/{path}",))


def install(packages: Sequence[str], proxy: Mapping[str, str]) -> Script:
    """Finishes what dpkg was interrupted in and installs packages, if any."""
    return script("packages.sh", proxy, PACKAGES=packages)


def joined(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last

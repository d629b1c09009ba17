"""Scripts that install packages with apt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corral.changes import Change
from corral.scripts import Script, Value
from corral.words import joined

#: How long to wait for whoever else installs packages; a first unattended upgrade takes some minutes.
LOCK_WAIT_S = 600


def script(path: str, proxy: Mapping[str, str], **variables: Value) -> Script:
    """A script of this package that uses apt.sh's functions. proxy: as HostRun.proxy."""
    return Script("rebuild/apt.sh", {**proxy, "LOCK_WAIT_S": LOCK_WAIT_S, **variables}, then=(f"rebuild/{path}",))


def install(packages: Sequence[str], proxy: Mapping[str, str]) -> Script:
    """Finishes what dpkg was interrupted in and installs packages, if any."""
    return script("packages.sh", proxy, PACKAGES=packages)


def look_for(what: str, components: Sequence[str], proxy: Mapping[str, str]) -> Change:
    """Have Debian's sources offer these components, too, and read the lists of all."""
    beside = f", with {joined(components)}" if components else ""
    return Change(
        f"look for {what} in the package sources{beside}",
        script("sources.sh", proxy, COMPONENTS=components, ROOT=""),
    )

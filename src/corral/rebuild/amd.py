"""The stage driver for AMD's cards, whose driver is a part of the kernel: firmware, groups, amdgpu itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from corral import layout
from corral.changes import Change
from corral.errors import CorralError
from corral.probe.state import LinuxState
from corral.rebuild import packages
from corral.rebuild.system import System
from corral.words import joined

FIRMWARE = "firmware-amd-graphics"


def changes(state: LinuxState, system: System, proxy: Mapping[str, str]) -> list[Change]:
    """What must be done so that amdgpu runs the cards, and the groups are there that may use them."""
    idle = _idle(state)
    groups = sorted(set(layout.GPU_GROUPS) - state.gpu_groups)
    # Ubuntu's firmware package comes with its kernel.
    lacking = bool(idle) and state.os_id == "debian" and FIRMWARE not in system.installed
    found = []
    if lacking and FIRMWARE not in system.offers:
        components = ("non-free", "non-free-firmware")
        found.append(packages.look_for(FIRMWARE, components, proxy))
    what = [f"install {FIRMWARE}"] if lacking else []
    if groups:
        what.append(f"make the group{'s' if len(groups) > 1 else ''} {joined(groups)}")
    if idle:
        what.append(f"load amdgpu for {', '.join(idle)}")
    if what:
        script = packages.script(
            "amd.sh", proxy, PACKAGES=(FIRMWARE,) if lacking else (), GROUPS_WANTED=groups, LOAD=bool(idle)
        )
        found.append(Change(joined(what), script))
    return found


def check_loaded(state: LinuxState, system: System) -> None:
    """Raises CorralError, with what the kernel said, where a card has no driver all the same."""
    idle = _idle(state)
    if idle:
        raise CorralError(
            f"amdgpu does not run the card {', '.join(idle)}",
            "It may need a newer kernel or firmware (backports have both); see dmesg | grep amdgpu",
            system.kernel_log,
        )


def _idle(state: LinuxState) -> list[str]:
    """The places on the bus of the AMD cards that no driver runs."""
    return [card.bus_id for card in state.gpus.cards if card.vendor == "AMD" and not card.driver]

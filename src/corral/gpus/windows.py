"""The GPU part of a Windows host's probe, and the inventory that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from corral.gpus import nvidia
from corral.gpus.inventory import Card, Device, Inventory, OwnServer, untold

#: PCI vendors as they stand in a display adapter's MatchingDeviceId: "PCI\\VEN_10DE&DEV_2484&..." (learn.microsoft.com,
#: "Identifiers for PCI Devices").
VENDORS = {"VEN_10DE": "NVIDIA", "VEN_1002": "AMD"}
SOURCE = "registry"


def parse(found: Mapping[str, Any], own: OwnServer) -> Inventory:
    """Read `nvidia`, `adapters` and `runners` of a probe's answer.

    An NVIDIA card is known by nvidia-smi, others by the registry, whose 64-bit memory size the driver writes; what is
    free on those only the engine tells.
    """
    smi = found.get("nvidia")
    sections = {"gpu.nvidia": smi["gpus"], "gpu.processes": smi["processes"]} if smi else {}
    seen = nvidia.parse(sections, own)
    adapters = [(_vendor(one["device"]), one) for one in found.get("adapters") or ()]
    others = tuple(
        Device(
            vendor=vendor,
            name=one["name"],
            index=number,
            total_mib=int(one["memory"]) >> 20 if one["memory"].isdigit() else None,
            driver=one["driver"],
            source=SOURCE,
        )
        for number, (vendor, one) in enumerate(adapters)
        if vendor == "AMD"
    )
    listed = [Card("NVIDIA", device.bus_id, "nvidia") for device in seen.devices]
    # Those that nvidia-smi does not list; of all others Windows numbers the adapters.
    unlisted = [number for number, (vendor, _) in enumerate(adapters) if vendor == "NVIDIA"][len(listed) :]
    cards = (
        *listed,
        *(Card("NVIDIA", f"adapter {number}", "") for number in unlisted),
        *(Card("AMD", f"adapter {n}", one["driver"]) for n, (vendor, one) in enumerate(adapters) if vendor == "AMD"),
    )
    return replace(seen, devices=(*seen.devices, *others), cards=cards, runners=frozenset(found.get("runners") or ()))


def with_loaded(inventory: Inventory, loaded_mib: int) -> Inventory:
    """The inventory with what the server says of the memory of its models (/api/ps) in place of what the driver does
    not tell: WDDM manages a card's memory itself (nvidia-smi(1), "Processes"). Of several cards each in proportion to
    what is in use there."""
    used = sum(device.used_mib or 0 for device in inventory.computing)
    devices = tuple(
        replace(device, own_mib=loaded_mib * (device.used_mib or 0) // used, by_server=True)
        if used and device.used_mib
        else device
        for device in inventory.devices
    )
    known = {str(problem) for problem in untold(inventory.devices, inventory.processes)}
    problems = tuple(problem for problem in inventory.problems if str(problem) not in known)
    return replace(inventory, devices=devices, problems=problems)


def _vendor(device: str) -> str:
    return next((name for mark, name in VENDORS.items() if mark in device.upper()), "")

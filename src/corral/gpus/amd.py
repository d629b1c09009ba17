"""What the kernel's amdgpu and kfd drivers, and rocm-smi where it is, tell of AMD's GPUs."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence

from corral.gpus.inventory import Device, normal_bus_id

MIB = 1 << 20
#: As Ollama itself tells an integrated GPU (discover/amd.go, readROCmDRMDevice): little memory of its own, much GTT,
#: and neither of the files that only a board with memory chips has.
MOST_INTEGRATED_VRAM, LEAST_SHARED_GTT = 4 << 30, 8 << 30
BOARD_FILES = ("mem_info_vram_vendor", "board_info")


def parse(cards: Sequence[Mapping[str, str]], nodes: str, product_names: str) -> tuple[Device, ...]:
    """The AMD devices among cards (files of a card's sysfs directory by name, and bus_id, driver, marketing_name).

    nodes: the topology of kfd, "@node" before each. product_names: rocm-smi --showproductname --showbus --csv.
    Without the amdgpu driver a card has no memory that anyone knows of.
    """
    targets, names = gfx_targets(nodes), rocm_names(product_names)
    return tuple(
        _device(index, card, targets, names)
        for index, card in enumerate(card for card in cards if card.get("driver") == "amdgpu")
    )


def _device(index: int, card: Mapping[str, str], targets: Mapping[str, str], names: Mapping[str, str]) -> Device:
    bus_id = card["bus_id"]
    unified = is_integrated(card)
    pools = ("vram", "gtt") if unified else ("vram",)
    total = _sum(card, [f"mem_info_{pool}_total" for pool in pools])
    used = _sum(card, [f"mem_info_{pool}_used" for pool in pools])
    return Device(
        vendor="AMD",
        name=card.get("product_name")
        or card.get("marketing_name")
        or names.get(bus_id)
        or f"AMD GPU {card.get('device', '')}".strip(),
        index=index,
        uuid=f"GPU-{card['unique_id']}" if card.get("unique_id") else "",
        bus_id=bus_id,
        total_mib=None if total is None else total // MIB,
        used_mib=None if used is None else used // MIB,
        free_mib=None if total is None or used is None else max(0, total - used) // MIB,
        driver="amdgpu",
        gfx=targets.get(bus_id, ""),
        unified=unified,
        source="sysfs",
    )


def is_integrated(card: Mapping[str, str]) -> bool:
    """An APU: a carve-out of the system's memory, and more of it through the GTT."""
    if any(name in card for name in BOARD_FILES):
        return False
    vram, gtt = _bytes(card, "mem_info_vram_total"), _bytes(card, "mem_info_gtt_total")
    if vram is None or gtt is None:
        return False
    return 0 < vram <= MOST_INTEGRATED_VRAM and gtt >= max(LEAST_SHARED_GTT, 4 * vram)


def gfx_targets(nodes: str) -> dict[str, str]:
    """PCI address to gfx target. kfd's location_id is bus << 8 | device << 3 | function."""
    targets = {}
    for node in nodes.split("@node"):
        values = {key: int(value) for key, value in re.findall(r"^(\w+) (\d+)$", node, re.M)}
        target, location = gfx_name(values.get("gfx_target_version", 0)), values.get("location_id", 0)
        if target:
            bus, device, function = location >> 8, location >> 3 & 31, location & 7
            targets[f"{values.get('domain', 0):04x}:{bus:02x}:{device:02x}.{function}"] = target
    return targets


def gfx_name(version: int) -> str:
    """gfx_target_version 110501 is gfx1151, 90010 is gfx90a: minor and stepping are hexadecimal digits."""
    major, minor, stepping = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{stepping:x}" if version and minor < 16 and stepping < 16 else ""


def rocm_names(text: str) -> dict[str, str]:
    """PCI address to product name. Column names differ in case between releases; warnings may come first."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.lower().startswith("device,")), len(lines))
    names = {}
    for row in csv.DictReader(lines[start:]):
        cells = {(key or "").lower(): value or "" for key, value in row.items() if isinstance(value, str)}
        name = cells.get("card series", "")
        if name not in ("", "N/A"):
            names[normal_bus_id(cells.get("pci bus", ""))] = name
    return names


def _bytes(card: Mapping[str, str], name: str) -> int | None:
    text = card.get(name, "")
    return int(text) if text.isdigit() else None


def _sum(card: Mapping[str, str], names: Sequence[str]) -> int | None:
    values = [_bytes(card, name) for name in names]
    return None if None in values else sum(value or 0 for value in values)

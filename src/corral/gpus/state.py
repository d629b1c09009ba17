"""The GPU part of a probe: what its script reads, and the inventory that its answer becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from corral.gpus import amd, nvidia
from corral.gpus.inventory import Card, Inventory, OwnServer
from corral.scripts import Value

#: PCI vendor numbers of the makers whose GPUs Ollama uses.
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD"}
#: Of a card's directory in sysfs.
CARD_FILES = (
    "vendor",
    "device",
    "mem_info_vram_total",
    "mem_info_vram_used",
    "mem_info_gtt_total",
    "mem_info_gtt_used",
    "product_name",
    "unique_id",
    *amd.BOARD_FILES,
)


def variables(root: str = "") -> dict[str, Value]:
    """What gpus/probe.sh reads, besides CURRENT. root: where the kernel's files lie, for tests."""
    return {
        "ROOT": root,
        "GPU_FIELDS": ",".join(nvidia.FIELDS),
        "PROCESS_FIELDS": ",".join(nvidia.PROCESS_FIELDS),
        "CARD_FILES": CARD_FILES,
    }


def parse(sections: Mapping[str, str], own: OwnServer) -> Inventory:
    """Read the sections "gpu.*" of a probe; a section that is missing means: not there."""
    lines = sections.get("gpu.cards", "").splitlines()
    found = [dict(part.split("=", 1) for part in line.split("\t") if "=" in part) for line in lines]
    cards = [card for card in found if card.get("vendor") in VENDORS and "bus_id" in card]
    seen = nvidia.parse(sections, own)
    others = amd.parse(
        [card for card in cards if VENDORS[card["vendor"]] == "AMD"],
        sections.get("gpu.kfd", ""),
        sections.get("gpu.rocm", ""),
    )
    return replace(
        seen,
        devices=(*seen.devices, *others),
        cards=tuple(Card(VENDORS[card["vendor"]], card["bus_id"], card.get("driver", "")) for card in cards),
        runners=frozenset(sections.get("gpu.runners", "").split()),
    )

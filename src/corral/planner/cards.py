"""Cards that are not there to be asked: memory, bandwidth and backend by name, from gpus.yml."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files as package_files
from typing import Any

import yaml

from corral.errors import CorralError
from corral.planner.memory import MIB, Backend, overhead

#: What a driver keeps of a card that shows no desktop, as nvidia-smi has it between total and free on cards of 8 to
#: 24 GiB (about 225 to 480 MiB).
RESERVED_MIB, RESERVED_SHARE = 128, 1 / 64


@dataclass(frozen=True)
class Card:
    """A GPU to plan for. free: bytes that nobody holds; beside: bytes that are free now and that other models planned
    for it will take; bandwidth: GB/s, None where it is not known; flash_off: the
    server is to run without flash attention; multiprocessors: NVIDIA's, where they are known; known_overhead: bytes,
    where an engine has told."""

    name: str
    total: int
    free: int
    bandwidth: float | None = None
    backend: Backend = Backend.CUDA
    compute_capability: float | None = None
    flash_off: bool = False
    multiprocessors: int | None = None
    known_overhead: int | None = None
    beside: int = 0

    @property
    def overhead(self) -> int:
        """What a process takes on it besides the model, in bytes."""
        if self.known_overhead is not None:
            return self.known_overhead
        return overhead(self.backend, self.compute_capability, self.multiprocessors)

    @property
    def flash(self) -> bool:
        """Whether flash attention is on: it is turned off, or CUDA lacks it below 6.0 and on 7.2 (discover/gpu.go)."""
        if self.flash_off:
            return False
        if self.backend is Backend.CUDA and self.compute_capability is not None:
            return self.compute_capability >= 6.0 and self.compute_capability != 7.2
        return True


@dataclass(frozen=True)
class Known:
    name: str
    vendor: str
    memory_gib: tuple[float, ...]
    bandwidth: float
    capability: float | None
    multiprocessors: int | None


@lru_cache(maxsize=1)
def known_cards() -> tuple[Known, ...]:
    text = package_files("corral.planner").joinpath("gpus.yml").read_text(encoding="utf-8")
    document: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(text)
    return tuple(
        Known(
            name, vendor, tuple(map(float, card["memory"])), float(card["bandwidth"]), card.get("capability"),
            card.get("multiprocessors"),
        )
        for vendor, cards in document.items()
        for name, card in cards.items()
    )  # fmt: skip


def look_up(name: str) -> Known | None:
    """The card of that name; case, the maker and its brand words may be left out, "Ti" may be written close."""
    wanted = _key(name)
    return next((card for card in known_cards() if _key(card.name) == wanted), None) if wanted else None


def imagine(name: str, vram_mib: int | None = None) -> Card:
    """A card by name as it would be found without a desktop on it. vram_mib: where it differs from the box, or
    where corral does not know the card.

    Raises CorralError with the nearest names.
    """
    # A size in the name counts: "V100 16GB".
    size = re.search(r"\b(\d+) ?gi?b\b", name, re.IGNORECASE)
    plain = name.replace(size[0], "") if size else name
    known = look_up(plain)
    total_mib = vram_mib or (int(size[1]) * 1024 if size else None)
    if known is None and total_mib is None:
        names = {_key(card.name): card.name for card in known_cards()}
        near = [names[key] for key in difflib.get_close_matches(_key(plain), names, n=4, cutoff=0.5)]
        remedy = f"Perhaps {', '.join(near)}; else say how much memory it has: --vram 24GiB"
        raise CorralError(f"unknown GPU {name!r}", remedy if near else "Say how much memory it has: --vram 24GiB")
    if total_mib is None:
        assert known
        total_mib = int(known.memory_gib[0] * 1024)
    free_mib = total_mib - RESERVED_MIB - int(total_mib * RESERVED_SHARE)
    if free_mib <= 0:
        raise CorralError(f"{total_mib} MiB is no GPU's memory", "Write it like --vram 24GiB")
    return Card(
        known.name if known else plain.strip(),
        total_mib * MIB,
        free_mib * MIB,
        known.bandwidth if known else None,
        Backend.ROCM if (known and known.vendor == "AMD") or "radeon" in name.casefold() else Backend.CUDA,
        known.capability if known else None,
        multiprocessors=known.multiprocessors if known else None,
    )


def _key(name: str) -> str:
    words = re.sub(r"\b(nvidia|amd|geforce|radeon|tesla|rtx|gtx|rx|graphics|quadro|gpu)\b", " ", name.casefold())
    words = re.sub(r"-(sxm\d?|pcie?)\b.*|\b(sxm\d?|pcie?)\b.*", " ", words)
    return re.sub(r"[^a-z0-9]", "", words)

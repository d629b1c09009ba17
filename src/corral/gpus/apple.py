"""What macOS tells of an Apple chip: one memory for everything, of which the GPU may take a share."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from corral.gpus.inventory import Device

#: What to ask with `sysctl`; a name that a version of macOS does not know leaves a gap, not an error.
NAMES = ("hw.memsize", "machdep.cpu.brand_string", "iogpu.wired_limit_mb")
#: Metal's recommendedMaxWorkingSetSize: two thirds of the memory up to 36 GB, three quarters above (measured on many
#: Macs: ggml-org/llama.cpp discussion 2182); iogpu.wired_limit_mb overrides it, 0 being the default.
SMALL_MIB = 36 * 1024


def parse(sysctl: str, profile: str) -> tuple[Device, ...]:
    """The GPU of an Apple chip; nothing for an Intel Mac, whose GPUs Ollama does not use.

    sysctl: lines "NAME: VALUE". profile: system_profiler SPDisplaysDataType -json.
    """
    values = dict(re.findall(r"^([\w.]+): (.*)$", sysctl, re.M))
    chip = values.get("machdep.cpu.brand_string", "")
    size = values.get("hw.memsize", "")
    if not chip.startswith("Apple") or not size.isdigit():
        return ()
    limit = values.get("iogpu.wired_limit_mb", "")
    return (
        Device(
            vendor="Apple",
            name=next(iter(_models(profile)), chip),
            total_mib=gpu_share_mib(int(size) >> 20, int(limit) if limit.isdigit() else 0),
            unified=True,
            source="sysctl",
        ),
    )


def gpu_share_mib(memory_mib: int, wired_limit_mib: int = 0) -> int:
    """How much of the memory the GPU may take."""
    if wired_limit_mib:
        return min(wired_limit_mib, memory_mib)
    return memory_mib * 2 // 3 if memory_mib <= SMALL_MIB else memory_mib * 3 // 4


def _models(profile: str) -> Sequence[str]:
    try:
        entries = json.loads(profile or "{}").get("SPDisplaysDataType", [])
        return [entry["sppci_model"] for entry in entries if entry.get("sppci_model", "").startswith("Apple")]
    except (ValueError, AttributeError, TypeError):
        return []

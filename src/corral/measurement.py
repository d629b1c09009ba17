"""A model as it was loaded beside its plan: whether less of it is on the GPU, and what a smaller plan has to leave.

No I/O: what /api/ps, the server's log and nvidia-smi say is read elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from corral.planner.cards import Card
from corral.planner.choice import Plan, Wishes
from corral.planner.memory import MIB, Generation, Memory, Use, memory

#: "load_tensors: offloaded 29/29 layers to GPU" (llama.cpp), 'msg="offloaded 29/29 layers to GPU"' (Ollama's own engine
#: up to 0.24).
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
#: Of a load that failed for lack of memory, in the API's answer or in the log: CUDA's and ROCm's words, Vulkan's, those
#: of llama.cpp's buffers and of Ollama's check of the host's memory.
_NO_ROOM = re.compile(
    r"out[- ]of[- ]memory|OutOfDeviceMemory|(?:unable|failed) to allocate|cudaMalloc failed|more system memory", re.I
)
#: Of a load that failed nobody knows by how much it was too large: the next plan takes so much less of what it took.
UNKNOWN_PART = 16


@dataclass(frozen=True)
class Measured:
    """A model after it was loaded, or after the attempt.

    size, on_gpu: bytes; context: tokens, as /api/ps has them. layers: on the GPU, and of how many, as the server's log
    has them; None: it does not say. held_mib: what all of the server's processes hold of the GPUs, as nvidia-smi says.
    failure: why it was not loaded, in Ollama's words; "" when it was.
    """

    size: int = 0
    on_gpu: int = 0
    context: int = 0
    layers: tuple[int, int] | None = None
    held_mib: int = 0
    failure: str = ""

    @property
    def sentence(self) -> str:
        """What was measured, for people."""
        if self.failure:
            return f"the load fails: {self.failure}"
        parts = [f"{self.on_gpu / MIB:.0f} of {self.size / MIB:.0f} MiB on the GPU"]
        if self.layers:
            parts.append(f"{self.layers[0]} of {self.layers[1]} layers")
        return ", ".join([*parts, f"{self.context} tokens"])


def offloaded(log: str) -> tuple[int, int] | None:
    """The layers on the GPU, and of how many, that a server's log tells of its last load; None: it does not."""
    found = _OFFLOADED.findall(log)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def lacks_memory(text: str) -> bool:
    """Whether an error, or a log, tells of memory that was not to be had."""
    return bool(_NO_ROOM.search(text))


def less_than_planned(plan: Plan, measured: Measured) -> bool:
    """Whether less of a model is on the GPU than its plan says. That its file is smaller than planned is no less."""
    if measured.failure:
        return True
    if plan.wholly_on_gpu:
        whole = measured.layers is None or measured.layers[0] >= measured.layers[1]
        return measured.on_gpu < measured.size or not whole
    return measured.layers is not None and measured.layers[0] < min(plan.load.gpu_layers or 0, measured.layers[1])


def compared(plan: Plan, measured: Measured, predicted: int, *, stand_in: bool) -> str:
    """One line: what was measured beside what was planned. predicted: bytes, see predicted()."""
    if measured.failure:
        return measured.sentence
    planned, found = predicted / MIB, measured.on_gpu / MIB
    if stand_in:
        remark = "its file is a stand-in"
    elif plan.load.generation is Generation.LEGACY:
        remark = "this version reckons its number and does not measure it"
    else:
        remark = f"{(planned - found) / found * 100 if found else 0:+.1f} %"
    parts = [f"{found:.0f} MiB on the GPU, planned were {planned:.0f} ({remark})"]
    if measured.layers:
        parts.append(f"{measured.layers[0]} of {measured.layers[1]} layers")
    parts.append(f"{measured.context} tokens")
    line = ", ".join(parts)
    return f"{line}; nvidia-smi: {measured.held_mib} MiB for Ollama" if measured.held_mib else line


def predicted(plan: Plan, set_aside_mib: int = 0) -> int:
    """What a plan expects a model to take on all GPUs, in bytes, without what the driver keeps.

    set_aside_mib: of what was planned for it on each GPU, that which only loads have shown to be needed.
    """
    return sum(use.total - card.overhead - set_aside_mib * MIB for card, use in _used(plan))


def missing_mib(plan: Plan, wishes: Wishes, measured: Measured, predicted: int, *, stand_in: bool, last: bool) -> int:
    """How much more has to be counted for the model on each GPU, so that the next plan is as much smaller as this one
    was too large: what the engine did keep on the GPU, it will keep there again.

    last: the shortest context that is wished for is tried, since there will be no further attempt.
    """
    used = _used(plan)
    less = 0 if measured.failure or stand_in else predicted - measured.on_gpu
    if not 0 < less < predicted:
        less = predicted // UNKNOWN_PART
    less = -(-less // len(used))
    if plan.wholly_on_gpu and plan.load.context > wishes.min_context:
        shortest = [use for use in _memory_with(plan, wishes.min_context).devices if use.total]
        # Rounded up to a whole MiB it must not be more than that context leaves.
        most = min(use.total - other.total for (_, use), other in zip(used, shortest, strict=True)) - MIB
        less = most if last else min(less, most)
    room = min(card.free - wishes.reserve_mib * MIB - use.total for card, use in used)
    return -(-(room + max(1, less)) // MIB)


def _used(plan: Plan) -> list[tuple[Card, Use]]:
    """The GPUs that hold a part of the model, with what it takes there."""
    return [(card, use) for card, use in zip(plan.cards, plan.memory.devices, strict=True) if use.total]


def _memory_with(plan: Plan, context: int) -> Memory:
    """What the plan takes with another context."""
    weights = plan.entry.weights(plan.quantization)
    overheads = [use.overhead for use in plan.memory.devices]
    load = replace(plan.load, context=context)
    return memory(plan.entry.architecture, weights, load, plan.memory.placement, overheads)

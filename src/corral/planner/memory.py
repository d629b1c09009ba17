"""How much memory a model takes on each GPU: weights, KV cache, compute graph and what the driver keeps per process.

The formulas follow what llama.cpp and Ollama allocate, tensor by tensor; constants that were measured say so.
All sizes are bytes unless a name says MiB.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from corral.errors import CorralError
from corral.planner.architecture import Architecture, Weights

MIB = 1 << 20
#: Bytes per elements of a KV cache: blocks of 32 elements carry a scale of two bytes (ggml-common.h).
KV_TYPES = {"f32": (4, 1), "f16": (2, 1), "q8_0": (34, 32), "q4_0": (18, 32)}
#: llama.cpp rounds a cache up to so many tokens (llama-context.cpp: GGML_PAD(n_ctx, 256)).
CELLS = 256
#: Vulkan's buffers come in chunks of a GiB (ggml-vulkan.cpp).
VULKAN_CHUNK = 1 << 30
#: What Ollama gives the engine where num_batch is not set.
BATCH = 512


class Generation(StrEnum):
    """How Ollama runs models: inside the server (up to 0.24), or in a llama-server process each (from 0.30)."""

    LEGACY = "legacy"
    NEW = "new"

    @classmethod
    def of(cls, version: str) -> Generation:
        """The generation of an Ollama release. Raises CorralError for what is not a version."""
        found = re.match(r"v?(\d+)\.(\d+)", version)
        if not found:
            raise CorralError(f"{version!r} is not a version", "Write it as in 0.34.4")
        return cls.NEW if (int(found[1]), int(found[2])) >= (0, 30) else cls.LEGACY


class Backend(StrEnum):
    CUDA = "cuda"
    ROCM = "rocm"
    VULKAN = "vulkan"
    METAL = "metal"


@dataclass(frozen=True)
class Load:
    """How a model is to be loaded.

    context: tokens per request (num_ctx); parallel: requests at once, each with a context of its own.
    batch: tokens that are computed at once (num_batch).
    gpu_layers: how many blocks, counted from the last, go to the GPUs, and after all of them the output matrix
    (num_gpu); None: all.
    """

    context: int
    kv_type: str = "f16"
    flash: bool = True
    parallel: int = 1
    batch: int = BATCH
    gpu_layers: int | None = None
    generation: Generation = Generation.NEW
    backend: Backend = Backend.CUDA

    @property
    def cells_per_request(self) -> int:
        """Tokens of one request that the KV cache holds."""
        return -(-self.context // CELLS) * CELLS

    @property
    def cells(self) -> int:
        """Tokens that the KV cache holds."""
        return self.cells_per_request * self.parallel

    @property
    def rows(self) -> int:
        """Tokens of one batch as it is computed, as many for each request."""
        return -(-min(self.batch, self.context * self.parallel) // self.parallel) * self.parallel


@dataclass(frozen=True)
class Use:
    """What one device holds."""

    weights: int = 0
    kv: int = 0
    graph: int = 0
    overhead: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.graph + self.overhead


@dataclass(frozen=True)
class Placement:
    """Which blocks are where. blocks: how many on each device, from the one that has the first of them; output:
    the device that holds the output matrix, None for the host."""

    blocks: tuple[int, ...]
    output: int | None


@dataclass(frozen=True)
class Memory:
    """What a loaded model takes, device by device; host: weights and KV cache outside of them."""

    devices: tuple[Use, ...]
    placement: Placement
    host: int

    @property
    def total(self) -> int:
        return sum(use.total for use in self.devices)


def kv_bytes(arch: Architecture, load: Load) -> tuple[int, ...]:
    """The KV cache of each block. Raises CorralError for an unknown type."""
    if load.kv_type not in KV_TYPES:
        raise CorralError(f"unknown KV cache type {load.kv_type!r}", f"Use one of {', '.join(KV_TYPES)}")
    size, elements = KV_TYPES[load.kv_type]
    if not (arch.widths or arch.window):
        return ((arch.key_width + arch.value_width) * load.cells * size // elements,) * arch.layers
    widths = arch.widths or ((arch.key_width, arch.value_width),) * arch.layers
    slides = arch.sliding or (False,) * arch.layers
    in_window = window_cells(arch, load) * load.parallel
    return tuple(
        (keys + values) * (in_window if sliding else load.cells) * size // elements
        for (keys, values), sliding in zip(widths, slides, strict=True)
    )


def window_cells(arch: Architecture, load: Load) -> int:
    """Tokens of one request that a block with a sliding window keeps: the window, and a batch while it is computed
    (llama-kv-cache-iswa.cpp)."""
    return min(load.cells_per_request, -(-(arch.window + load.batch) // CELLS) * CELLS)


def overhead(backend: Backend, compute_capability: float | None, multiprocessors: int | None = None) -> int:
    """What a process takes on a device besides what the model is: CUDA's context, and what it loads while it works.

    A context has a stack for every thread that can be resident: 34 MiB and 1.875 for each 1024 of them met 26 public
    readings of cards with 14 to 188 multiprocessors within 25 MiB (T4 105, RTX 3060 113, RTX 3090 265, RTX 4090 395,
    H100 527, RTX 5090 506 to 523). In use a third more was seen and more on single cards, so that 110 MiB are added
    besides. Where the multiprocessors are not known: 457, Ollama's own guess up to 0.24, and 800 for large cards, from
    compute capability 9 on. Vulkan and Metal count nothing of the kind.
    """
    if backend in (Backend.VULKAN, Backend.METAL):
        return 0
    if backend is Backend.CUDA and multiprocessors and compute_capability:
        context = 34 + 1.875 * multiprocessors * resident_threads(compute_capability) / 1024
        return round((110 + 1.35 * context) * MIB)
    return (800 if compute_capability is not None and compute_capability >= 9 else 457) * MIB


def resident_threads(compute_capability: float) -> int:
    """How many threads a multiprocessor holds at once (CUDA C++ Programming Guide, technical specifications)."""
    if compute_capability == 7.5:
        return 1024
    return 1536 if 8.6 <= compute_capability < 9 or compute_capability >= 12 else 2048


def place(layers: int, load: Load, shares: Sequence[int] = (1,)) -> Placement:
    """How llama.cpp divides a model's blocks among devices: in proportion to `shares`, their free memory, with
    neighbours together.

    Since 0.30 the output is the first that goes to a GPU, before that it was the last (load_tensors in
    llama-model.cpp; Ollama's own engine up to 0.24).
    """
    wanted = layers + 1 if load.gpu_layers is None else max(0, min(load.gpu_layers, layers + 1))
    placed = [0] * len(shares)
    if not wanted:
        return Placement(tuple(placed), None)
    shares = shares if sum(shares) else [1] * len(shares)
    whole = sum(shares)
    bounds = [sum(shares[: device + 1]) / whole for device in range(len(shares))]
    devices = [bisect_right(bounds, item / wanted, hi=len(bounds) - 1) for item in range(wanted)]
    with_output = load.generation is Generation.NEW or wanted > layers
    for device in devices[:-1] if with_output else devices:
        placed[device] += 1
    return Placement(tuple(placed), devices[-1] if with_output else None)


def memory(
    arch: Architecture,
    weights: Weights,
    load: Load,
    placement: Placement | None = None,
    overheads: Sequence[int] = (),
) -> Memory:
    """What a model takes when it is loaded like this.

    placement: on which devices; left out: on one that holds all that load.gpu_layers allows.
    overheads: of the devices, see overhead(); left out: as of cards that are not known.
    """
    if placement is None:
        placement = place(arch.layers, load)
    on_gpus = sum(placement.blocks)
    partial = on_gpus < arch.layers or placement.output is None
    graph = _legacy_graph if load.generation is Generation.LEGACY else _new_graph
    kv = kv_bytes(arch, load)
    used = sum(1 for device, count in enumerate(placement.blocks) if count or placement.output == device)
    uses = []
    block = arch.layers - on_gpus
    for device, count in enumerate(placement.blocks):
        held, cached = sum(weights.blocks[block : block + count]), sum(kv[block : block + count])
        block += count
        if placement.output == device:
            held += weights.output
        if not held:
            uses.append(Use())
            continue
        if count:
            held += weights.other  # the rope factors lie with the first block of each device
        uses.append(
            Use(
                held,
                cached,
                graph(arch, weights, load, used, len(uses), partial),
                overheads[device] if overheads else overhead(load.backend, None),
            )
        )
    host = weights.token_embedding + sum(weights.blocks[: arch.layers - on_gpus])
    if placement.output is None and not weights.tied:
        host += weights.output
    return Memory(tuple(uses), placement, host + sum(kv[: arch.layers - on_gpus]))


def _new_graph(arch: Architecture, weights: Weights, load: Load, devices: int, device: int, partial: bool) -> int:
    """The compute buffer of a device: the tensors that are alive together at the widest point of a batch's graph,
    in 32-bit floats but for the attention mask, which flash attention has in 16 bits.

    Read off ggml's allocator at work in llama.cpp b11076 (Vulkan, Ollama 0.34.4); other backends compute in another
    order, as their published sizes show.
    """
    rows, cells, width = load.rows, load.cells_per_request, arch.embedding
    vulkan = load.backend is Backend.VULKAN
    hidden = 4 * rows * width  # what goes into a block, comes out of its attention, and so on
    network = 3 * 4 * rows * arch.feed_forward  # gate, up, and their product
    if arch.experts_used:
        # The same of each expert; then what each gives, before and after it is weighted, and the sum.
        each = 4 * rows * arch.experts_used
        network = max(network, 3 * each * arch.expert_feed_forward, 2 * each * width + hidden)
    queries = 4 * rows * arch.heads * arch.key_length
    keys = 4 * rows * arch.key_width
    # Each kind of attention has its own mask.
    masked = cells + (window_cells(arch, load) if arch.window else 0)
    if load.flash:
        mask, inputs = 2 * rows * masked, 20 * rows
        if vulkan:
            # graph_optimize puts K and V before Q, and the attention's result into the hole, where it fits.
            beside = queries if queries > hidden else 0
            if arch.post_norms:
                # Where it fits, a norm takes the hole instead; unless K and V have become small.
                beside = queries - (load.kv_type != "f16") * hidden if beside else queries + 2 * keys
            peak = 2 * hidden + network + beside
            if devices == 1 and mask + inputs + peak > VULKAN_CHUNK:
                peak += hidden
        else:
            attention = 4 * hidden
            if load.kv_type in ("q8_0", "q4_0"):
                # Its kernel wants a block's K and V in 16 bits (ggml_cuda_flash_attn_ext_get_alloc_size).
                attention += 4 * load.cells * arch.key_width
            peak = max(3 * hidden + network, attention)
    else:
        scores = 4 * rows * arch.heads * cells
        mask, inputs = 4 * rows * masked, 12 * rows + 2 * keys
        peak = (1 if vulkan else 3) * hidden + max(hidden + network, queries + scores)
        if vulkan and mask + inputs + peak > VULKAN_CHUNK and not arch.fused_qkv:
            # Buffers come in chunks; small tensors in the first keep the next block's scores out of it, or, where
            # blocks with a window come between, the network. Scores of 4 GiB and more, which drivers refuse, may go
            # to the host instead: not worth an exact number.
            peak = peak + network if arch.window else 2 * hidden + queries + 2 * keys + 2 * scores
    size = mask + inputs + peak
    if devices > 1 and not partial:
        # Batches overlap: four copies of the inputs (GGML_SCHED_MAX_COPIES), which are never reused, and after the
        # first device of what comes from the one before, twice.
        size += 3 * (mask + inputs) + (4 if device == 0 else 8) * hidden
    if partial and device == 0:
        # Each block that is on the host is computed here in large batches, its tensors and its cache copied one after
        # the other. No tensor is half of a block; a third of the cache is for holes. What fits into others comes off.
        size += max(weights.blocks) // 2 + max(kv_bytes(arch, load)) * 4 // 3
    return size


def _legacy_graph(arch: Architecture, weights: Weights, load: Load, devices: int, device: int, partial: bool) -> int:
    rows, cells, width = load.rows, load.cells, arch.embedding
    logits = 4 * rows * (width + arch.vocabulary)
    if load.flash:
        size = logits + 4 * rows * (2 * width + cells)
    else:
        scores = 4 * rows * (1 + 4 * width + cells * (1 + arch.heads)) + 8 * rows * arch.key_width
        size = max(logits, scores)
    if partial:
        # The output matrix is on the host; its product is computed on the GPU with a copy of it.
        size = max(size, logits + weights.output)
    return size

"""How many bytes a model's tensors take at a quantization: which type each tensor gets, and what a type costs.

Names such as Q4_K_M stand for mixes: most tensors get the named type, some that matter more get a better
one. The rules are those of llama.cpp's `llama_tensor_get_type_impl` (src/llama-quant.cpp, b11076) for dense
decoders; what they give is compared with the real llama-quantize in tests.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from corral.errors import CorralError
from corral.planner.architecture import Architecture, Weights, block_shapes, outer_shapes

#: Elements and bytes of a block of each type (ggml-common.h of llama.cpp).
TYPES = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2),
    "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
    "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210),
    "IQ3_XXS": (256, 98), "IQ3_S": (256, 110), "IQ4_NL": (32, 18), "IQ4_XS": (256, 136),
}  # fmt: skip
#: What stands in for a type whose blocks do not divide a row (tensor_type_fallback in llama-quant.cpp).
FALLBACKS = {
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "IQ3_XXS": "IQ4_NL", "IQ3_S": "IQ4_NL", "IQ4_XS": "IQ4_NL",
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a tensor is: its role, which block of how many, how many queries share a key, and how large it all is."""

    role: str
    block: int
    blocks: int
    sharing: int
    is_70b: bool

    @classmethod
    def of(cls, arch: Architecture, block: int) -> Place:
        """Of a block as such; with_role() names the tensor."""
        # What llama.cpp calls a 70B: a Llama of 80 blocks (llama-model.cpp).
        is_70b = arch.family == "llama" and arch.layers == 80
        return cls("", block, arch.layers, arch.heads // arch.kv_heads, is_70b)

    def with_role(self, role: str) -> Place:
        return replace(self, role=role)

    @property
    def more_bits(self) -> bool:
        """The first and the last eighth of the blocks, and every third in between."""
        eighth = self.blocks // 8
        return self.block < eighth or self.block >= 7 * self.blocks // 8 or (self.block - eighth) % 3 == 2

    @property
    def first_eighth(self) -> bool:
        return self.block < self.blocks // 8


Rule = Callable[[Place], str]


@dataclass(frozen=True)
class Quantization:
    """A mix. base: the type of what has no rule; by_role: the exceptions among a block's tensors."""

    name: str
    base: str
    by_role: dict[str, Rule]

    @property
    def output(self) -> str:
        return self.base if self.base in ("Q8_0", "F16", "BF16") else "Q6_K"

    def type_of(self, place: Place) -> str:
        rule = self.by_role.get(place.role)
        chosen = rule(place) if rule else self.base
        if place.role == "attn_v" and place.is_70b and chosen in ("Q3_K", "Q4_K"):
            return "Q5_K"  # small there, since eight heads share it
        return chosen


def _mix(name: str, base: str, **by_role: Rule) -> tuple[str, Quantization]:
    return name, Quantization(name, base, by_role)


#: From best to smallest.
QUANTIZATIONS = dict(
    (
        _mix("F16", "F16"),
        _mix("Q8_0", "Q8_0"),
        _mix("Q6_K", "Q6_K"),
        _mix(
            "Q5_K_M", "Q5_K",
            attn_v=lambda at: "Q6_K" if at.more_bits else "Q5_K",
            ffn_down=lambda at: "Q6_K" if at.more_bits else "Q5_K",
        ),
        _mix("Q5_K_S", "Q5_K"),
        _mix(
            "Q4_K_M", "Q4_K",
            attn_v=lambda at: "Q6_K" if at.more_bits else "Q4_K",
            ffn_down=lambda at: "Q6_K" if at.more_bits else "Q4_K",
        ),
        _mix(
            "Q4_K_S", "Q4_K",
            attn_v=lambda at: "Q5_K" if at.block < 4 else "Q4_K",
            ffn_down=lambda at: "Q5_K" if at.first_eighth else "Q4_K",
        ),
        _mix("Q4_0", "Q4_0"),
        _mix("IQ4_XS", "IQ4_XS", attn_v=lambda at: "Q5_K" if at.sharing >= 4 else "IQ4_XS"),
        _mix("Q3_K_L", "Q3_K", attn_v=lambda _: "Q5_K", attn_output=lambda _: "Q5_K", ffn_down=lambda _: "Q5_K"),
        _mix(
            "Q3_K_M", "Q3_K",
            attn_v=lambda at: "Q5_K" if at.block < 2 else "Q4_K",
            attn_output=lambda _: "Q4_K",
            ffn_down=lambda at: "Q5_K" if at.block < at.blocks // 16 else "Q4_K",
        ),
        _mix(
            "IQ3_M", "IQ3_S",
            attn_v=lambda _: "Q4_K",
            attn_output=lambda _: "Q4_K",
            ffn_down=lambda at: "Q4_K" if at.first_eighth else "IQ3_S",
        ),
        _mix("Q3_K_S", "Q3_K"),
        _mix(
            "Q2_K", "Q2_K",
            attn_v=lambda at: "Q4_K" if at.sharing >= 4 else "Q3_K",
            attn_output=lambda _: "Q3_K",
            ffn_down=lambda _: "Q3_K",
        ),
    )
)  # fmt: skip


def quantization(name: str) -> Quantization:
    """By name, whatever its case; FP16 is F16's other name. Raises CorralError with the nearest names."""
    wanted = {"FP16": "F16"}.get(name.upper(), name.upper())
    if wanted not in QUANTIZATIONS:
        near = difflib.get_close_matches(wanted, QUANTIZATIONS, n=3) or list(QUANTIZATIONS)
        raise CorralError(f"unknown quantization {name!r}", f"Perhaps {', '.join(near)}")
    return QUANTIZATIONS[wanted]


@lru_cache(maxsize=512)
def weights(arch: Architecture, name: str) -> Weights:
    """The bytes of each part of a model at a quantization. Raises CorralError for an unknown one."""
    mix = quantization(name)
    shapes = block_shapes(arch)
    places = [Place.of(arch, block) for block in range(arch.layers)]
    blocks = tuple(
        sum(tensor_bytes(shape, kind_in_block(role, shape, mix, place)) for role, shape in shapes.items())
        for place in places
    )
    outer = outer_shapes(arch)
    # A tied one is made with the output's type.
    embedding = tensor_bytes(outer["token_embd"], stored(outer["token_embd"], mix.output if arch.tied else mix.base))
    matrix = embedding if arch.tied else tensor_bytes(outer["output"], stored(outer["output"], mix.output))
    norm = tensor_bytes(outer["output_norm"], "F32")
    other = tensor_bytes(outer["rope_freqs"], "F32") if "rope_freqs" in outer else 0
    return Weights(blocks, matrix + norm, embedding, other, arch.tied)


def kind_in_block(role: str, shape: tuple[int, ...], mix: Quantization, place: Place) -> str:
    """The type of a block's tensor; what chooses among experts, and every bias, stays in 32 bits."""
    if role.endswith(".bias") or role == "ffn_gate_inp":
        return "F32"
    return stored(shape, mix.type_of(place.with_role(role)))


def tensor_bytes(shape: tuple[int, ...], kind: str) -> int:
    elements, size = TYPES[kind]
    return math.prod(shape) // elements * size


def stored(shape: tuple[int, ...], kind: str) -> str:
    """The type that a tensor really gets: vectors stay in 32 bits, rows that blocks do not divide fall back."""
    if len(shape) == 1:
        return "F32"
    while shape[0] % TYPES[kind][0]:
        kind = FALLBACKS.get(kind, "F16")
    return kind

"""A model's shape: the numbers of its GGUF header that decide how much memory it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A decoder: of equal blocks, as Llama, Qwen and their kin are, unless the later numbers say otherwise.

    family: general.architecture ("qwen2", "llama", "qwen3").
    layers: blocks; heads, kv_heads: per block; key_length, value_length: of one head; embedding, feed_forward:
    widths, feed_forward the widest dense network's, 0 where there is none; vocabulary: tokens; context: tokens it was
    trained for. tied: the output matrix is the token embedding's.
    widths: elements of K and of V that a token leaves in each block's cache, where blocks differ.
    window: tokens that the blocks look back for which sliding holds; 0: all blocks see all tokens.
    experts, experts_used, expert_feed_forward: of a mixture, how many networks there are, how many of them a token
    passes, and the width of each.
    fused_qkv: Q, K and V come of one matrix (Phi-3). post_norms: what attention and network give is normalized once
    more (Gemma).
    approximate: why the formulas are no more than an estimate for this model; "": they are exact.
    """

    family: str
    layers: int
    heads: int
    kv_heads: int
    key_length: int
    value_length: int
    embedding: int
    feed_forward: int
    vocabulary: int
    context: int
    tied: bool = False
    widths: tuple[tuple[int, int], ...] = ()
    window: int = 0
    sliding: tuple[bool, ...] = ()
    experts: int = 0
    experts_used: int = 0
    expert_feed_forward: int = 0
    fused_qkv: bool = False
    post_norms: bool = False
    approximate: str = ""

    @property
    def key_width(self) -> int:
        """Elements of K that one token leaves in the cache per block."""
        return self.kv_heads * self.key_length

    @property
    def value_width(self) -> int:
        return self.kv_heads * self.value_length


@dataclass(frozen=True)
class Weights:
    """The bytes of a model's tensors, by where llama.cpp can put them.

    blocks: of each block, from first to last; output: the matrix behind the last block with its norm (a tied
    one counts here: the GPU gets a copy); token_embedding: always in the host's memory; other: shared small
    tensors such as rope factors, on the GPU.
    """

    blocks: tuple[int, ...]
    output: int
    token_embedding: int
    other: int = 0
    tied: bool = False

    @property
    def gpu(self) -> int:
        """What a GPU holds that holds all that can be on it."""
        return sum(self.blocks) + self.output + self.other

    @property
    def file(self) -> int:
        """Tensor data of the file, without its header."""
        return self.gpu if self.tied else self.gpu + self.token_embedding


#: A tensor's shape, first dimension fastest, as GGUF has it; its role decides its type in a quantization mix.
Shapes = Mapping[str, tuple[int, ...]]


def block_shapes(arch: Architecture) -> Shapes:
    """The tensors of one block by role (llama-arch.cpp, llama-model.cpp of llama.cpp b11076)."""
    return {"attn_norm": (arch.embedding,), **_attention_shapes(arch), **_network_shapes(arch)}


def _attention_shapes(arch: Architecture) -> Shapes:
    queries = arch.heads * arch.key_length
    shapes: dict[str, tuple[int, ...]] = {
        "attn_q": (arch.embedding, queries),
        "attn_k": (arch.embedding, arch.key_width),
        "attn_v": (arch.embedding, arch.value_width),
        "attn_output": (arch.heads * arch.value_length, arch.embedding),
    }
    if arch.fused_qkv:
        del shapes["attn_q"], shapes["attn_k"], shapes["attn_v"]
        shapes["attn_qkv"] = arch.embedding, queries + arch.key_width + arch.value_width
    if arch.family in ("qwen2", "gpt-oss"):
        shapes |= {
            "attn_q.bias": (queries,),
            "attn_k.bias": (arch.key_width,),
            "attn_v.bias": (arch.value_width,),
        }
    if arch.family == "gpt-oss":
        shapes |= {"attn_output.bias": (arch.embedding,), "attn_sinks": (arch.heads,)}
    if arch.family in ("qwen3", "qwen3moe", "gemma3"):
        shapes |= {"attn_q_norm": (arch.key_length,), "attn_k_norm": (arch.key_length,)}
    return shapes


def _network_shapes(arch: Architecture) -> Shapes:
    width, inner = arch.embedding, arch.feed_forward
    shapes: dict[str, tuple[int, ...]] = {}
    if arch.post_norms or arch.family == "gpt-oss":
        shapes["post_attention_norm"] = (width,)
    if arch.post_norms:
        shapes["post_ffw_norm"] = (width,)
    if arch.family != "gpt-oss":
        shapes["ffn_norm"] = (width,)
    if arch.fused_qkv:
        return shapes | {"ffn_up": (width, 2 * inner), "ffn_down": (inner, width)}
    if inner:
        shapes |= {"ffn_gate": (width, inner), "ffn_up": (width, inner), "ffn_down": (inner, width)}
    if arch.experts:
        count, inner = arch.experts, arch.expert_feed_forward
        shapes |= {
            "ffn_gate_inp": (width, count),
            "ffn_gate_exps": (width, inner, count),
            "ffn_up_exps": (width, inner, count),
            "ffn_down_exps": (inner, width, count),
        }
        if arch.family == "gpt-oss":
            shapes |= {
                "ffn_gate_inp.bias": (count,),
                "ffn_gate_exps.bias": (inner, count),
                "ffn_up_exps.bias": (inner, count),
                "ffn_down_exps.bias": (width, count),
            }
    return shapes


def outer_shapes(arch: Architecture) -> Shapes:
    """The tensors outside of the blocks by role."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (arch.embedding, arch.vocabulary),
        "output_norm": (arch.embedding,),
    }
    if not arch.tied:
        shapes["output"] = (arch.embedding, arch.vocabulary)
    if arch.family == "llama":
        shapes["rope_freqs"] = (arch.key_length // 2,)
    return shapes

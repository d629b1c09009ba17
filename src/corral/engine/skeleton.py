"""A GGUF file of which only the header is real: enough for llama-server to say what the model will take.

The tensors' names, shapes and types are those of the model, its data is a hole in a sparse file. The tokenizer's
words are made up; how many there are is what counts.
"""

from __future__ import annotations

import gzip
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from corral.planner.architecture import Architecture, block_shapes, outer_shapes
from corral.planner.quantization import Place, kind_in_block, quantization, stored, tensor_bytes

if TYPE_CHECKING:
    import gguf

#: GGUF aligns each tensor's data so.
ALIGNMENT = 32


@dataclass(frozen=True)
class Skeleton:
    """header: gzipped; size: of the whole file, holes included, in bytes."""

    header: bytes
    size: int


@lru_cache(maxsize=64)
def skeleton(arch: Architecture, mix: str) -> Skeleton:
    """For a model of the catalog's kind at a quantization. Raises CorralError for an unknown one."""
    import gguf
    import numpy as np

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "header.gguf"
        writer = gguf.GGUFWriter(path, arch.family)
        writer.add_context_length(arch.context)
        writer.add_embedding_length(arch.embedding)
        writer.add_block_count(arch.layers)
        writer.add_feed_forward_length(arch.feed_forward)
        writer.add_head_count(arch.heads)
        writer.add_head_count_kv(arch.kv_heads)
        writer.add_key_length(arch.key_length)
        writer.add_value_length(arch.value_length)
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_rope_freq_base(1e6)
        if arch.window:
            writer.add_sliding_window(arch.window)
        if arch.experts:
            writer.add_expert_count(arch.experts)
            writer.add_expert_used_count(arch.experts_used)
            writer.add_expert_feed_forward_length(arch.expert_feed_forward)
        add_tokenizer(writer, arch.vocabulary)
        held = 0
        for name, (shape, kind) in tensors(arch, mix).items():
            size = tensor_bytes(shape, kind)
            rows = tuple(reversed(shape))
            if kind in ("F32", "F16"):
                writer.add_tensor_info(name, rows, np.dtype(np.float32 if kind == "F32" else np.float16), size)
            else:
                # The writer counts the bytes of a quantized row.
                raw = (*rows[:-1], tensor_bytes((shape[0],), kind))
                writer.add_tensor_info(name, raw, np.dtype(np.uint8), size, gguf.GGMLQuantizationType[kind])
            held += -(-size // ALIGNMENT) * ALIGNMENT
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        header = path.read_bytes()
    return Skeleton(gzip.compress(header, 6, mtime=0), -(-len(header) // ALIGNMENT) * ALIGNMENT + held)


def tensors(arch: Architecture, mix: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Every tensor of a model: name to shape and type."""
    found = {}
    chosen = quantization(mix)
    for role, shape in outer_shapes(arch).items():
        kind = chosen.output if role == "output" or (arch.tied and role == "token_embd") else chosen.base
        found[f"{role}.weight"] = shape, stored(shape, kind)
    for block in range(arch.layers):
        place = Place.of(arch, block)
        for role, shape in block_shapes(arch).items():
            name = role if role.endswith(".bias") else f"{role}.weight"
            found[f"blk.{block}.{name}"] = shape, kind_in_block(role, shape, chosen, place)
    return found


def add_tokenizer(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    """The least that llama.cpp takes: SentencePiece's special tokens and bytes, then as many words as it needs."""
    import gguf

    kinds = gguf.TokenType
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256]
    words = [f"w{number}".encode() for number in range(vocabulary - len(tokens))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*tokens, *words])
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types([*types, *[kinds.NORMAL] * len(words)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

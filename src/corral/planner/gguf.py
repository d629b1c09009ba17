"""A GGUF file's header as the planner needs it."""

from __future__ import annotations

from pathlib import Path

from corral import gguf_header
from corral.gguf_header import Shape
from corral.planner.architecture import Architecture, Weights


def read(path: Path) -> tuple[Architecture, Weights]:
    """The shape and tensors of a file on this machine. Raises CorralError."""
    return model(gguf_header.shapes(gguf_header.read_file(path)))


def model(shape: Shape) -> tuple[Architecture, Weights]:
    """What the header of a model says. Where no formula covers its attention, Architecture.approximate says why."""
    experts = shape.experts
    dense = [width for width, is_dense in zip(shape.feed_forward, shape.dense, strict=True) if is_dense]
    widths = tuple(_width(shape, block) for block in range(shape.layers))
    arch = Architecture(
        family=shape.family,
        layers=shape.layers,
        heads=max(shape.heads),
        kv_heads=max(shape.kv_heads),
        key_length=max(shape.key_length, shape.sliding_key_length),
        value_length=max(shape.value_length, shape.sliding_value_length),
        embedding=shape.embedding,
        feed_forward=max((*dense, experts.shared_feed_forward if experts else 0)),
        vocabulary=shape.vocabulary,
        context=shape.context_length,
        tied=shape.tied,
        widths=widths if len(set(widths)) > 1 else (),
        window=shape.sliding_window or 0,
        sliding=shape.sliding if any(shape.sliding) else (),
        experts=experts.count if experts else 0,
        experts_used=experts.used if experts else 0,
        expert_feed_forward=experts.feed_forward if experts else 0,
        fused_qkv=shape.fused_qkv,
        post_norms=shape.post_norms,
        approximate=shape.unplanned,
    )
    weights = Weights(shape.block_bytes, shape.output_bytes, shape.token_embedding_bytes, shape.other_bytes, shape.tied)
    return arch, weights


def _width(shape: Shape, block: int) -> tuple[int, int]:
    """Elements of K and of V that a token leaves in a block's cache."""
    if not shape.caching[block]:
        return 0, 0
    heads = shape.kv_heads[block]
    if shape.sliding[block]:
        return heads * shape.sliding_key_length, heads * shape.sliding_value_length
    return heads * shape.key_length, heads * shape.value_length

"""A GGUF file's header as the planner needs it."""

from __future__ import annotations

from pathlib import Path

from corral import gguf_header
from corral.errors import CorralError
from corral.planner.architecture import Architecture, Weights


def read(path: Path) -> tuple[Architecture, Weights]:
    """The shape and tensors of a file on this machine. Raises CorralError, also for attention that the formulas do
    not cover."""
    return model(gguf_header.shapes(gguf_header.read_file(path)), path.name)


def model(shape: gguf_header.Shape, name: str) -> tuple[Architecture, Weights]:
    """What the header of a model says, for formulas about equal blocks. Raises CorralError for other models."""
    problem = shape.unplanned
    if not problem and (shape.experts or any(shape.sliding) or not all(shape.caching)):
        problem = "its blocks are not all alike"
    if not problem and len({*zip(shape.heads, shape.kv_heads, shape.feed_forward, strict=True)}) != 1:
        problem = "its blocks are not all alike"
    if problem:
        raise CorralError(
            f"{name}: no formula covers {shape.family}: {problem}", "Its engine can say what it takes, once it is there"
        )
    arch = Architecture(
        family=shape.family,
        layers=shape.layers,
        heads=shape.heads[0],
        kv_heads=shape.kv_heads[0],
        key_length=shape.key_length,
        value_length=shape.value_length,
        embedding=shape.embedding,
        feed_forward=shape.feed_forward[0],
        vocabulary=shape.vocabulary,
        context=shape.context_length,
        tied=shape.tied,
    )
    weights = Weights(shape.block_bytes, shape.output_bytes, shape.token_embedding_bytes, shape.other_bytes, shape.tied)
    return arch, weights

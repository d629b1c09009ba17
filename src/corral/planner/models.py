"""Models that can be planned with: those of the catalog, and any other by the header of its GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from corral.planner.architecture import Architecture, Weights

if TYPE_CHECKING:
    from corral.gguf_header import Header

#: For a file that does not say how its weights are stored.
UNNAMED = "as it is"


class Model(Protocol):
    """What the planner asks of a model; catalog.Entry is one.

    name: as people wish for it; title: its full name; parameters: billions; at_least: see catalog.Entry.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def parameters(self) -> float: ...
    @property
    def at_least(self) -> str: ...
    @property
    def architecture(self) -> Architecture: ...
    @property
    def quantizations(self) -> Mapping[str, str]:
        """From best to smallest: what it is made from on a host, by quantization."""

    def weights(self, quantization_name: str) -> Weights: ...


@dataclass(frozen=True, eq=False)
class FileModel:
    """A model that the catalog lacks, known by its file's header; it has the one quantization of that file.

    name: as it is wished for, a name that `ollama pull` takes or a path. packed: the header's bytes, gzipped; size: of
    the whole file in bytes. beside: bytes of further files that are loaded with it, such as a vision projector's.
    installed: what a Modelfile on a host says for it.
    """

    name: str
    header: Header = field(repr=False)
    packed: bytes = field(repr=False)
    size: int
    installed: str
    beside: int = 0
    architecture: Architecture = field(init=False)
    _weights: Weights = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # The gguf library takes a quarter of a second to import, which most runs do not need.
        from corral.gguf_header import shapes
        from corral.planner import gguf

        architecture, weights = gguf.model(shapes(self.header))
        if self.beside:
            weights = Weights(
                weights.blocks, weights.output, weights.token_embedding, weights.other + self.beside, weights.tied
            )
        object.__setattr__(self, "architecture", architecture)
        object.__setattr__(self, "_weights", weights)

    @property
    def title(self) -> str:
        return self.name

    @property
    def parameters(self) -> float:
        return self.header.parameter_count / 1e9

    @property
    def at_least(self) -> str:
        return ""

    @property
    def quantizations(self) -> Mapping[str, str]:
        return {self.header.file_type or UNNAMED: self.name}

    def weights(self, quantization_name: str) -> Weights:
        assert quantization_name in self.quantizations
        return self._weights

"""The models that corral knows by name, from catalog.yml."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from importlib.resources import files as package_files
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from corral.errors import CorralError
from corral.names import ModelName, classify_from
from corral.planner.architecture import Architecture, Weights
from corral.planner.quantization import QUANTIZATIONS, quantization, weights

#: What a tag of Ollama's library without a quantization stands for, and the tutorials' rule: four bits.
STANDARD = "Q4_K_M"
#: What is on Hugging Face and in no library: from best to smallest.
HUGGINGFACE = ("Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_S", "Q3_K_L", "Q3_K_M", "IQ3_M", "Q3_K_S")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Shape(_Strict):
    family: str
    layers: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    key_length: PositiveInt
    value_length: PositiveInt
    embedding: PositiveInt
    feed_forward: PositiveInt
    vocabulary: PositiveInt
    context: PositiveInt
    tied: bool = False


def _name(text: str) -> str:
    classify_from(text)
    return text


class Entry(_Strict):
    """A model. parameters: billions; by_name_only: why it is planned only when it is asked for by name; at_least:
    the quantization below which a smaller model is the better choice, so that it must be asked for by name too."""

    name: str
    title: str
    licence: str
    parameters: PositiveFloat
    shape: _Shape = Field(alias="architecture")
    files: dict[str, Annotated[str, AfterValidator(_name)]]
    huggingface: str = ""
    aliases: tuple[str, ...] = ()
    by_name_only: str = ""
    at_least: str = ""
    family: str
    chat: str

    @property
    def architecture(self) -> Architecture:
        return Architecture(**self.shape.model_dump())

    @property
    def quantizations(self) -> dict[str, str]:
        """From best to smallest: the name that `ollama pull` takes, by quantization."""
        found = {name: f"hf.co/{self.huggingface}:{name}" for name in HUGGINGFACE} if self.huggingface else {}
        found |= self.files
        return {name: found[name] for name in QUANTIZATIONS if name in found}

    def weights(self, quantization_name: str) -> Weights:
        return weights(self.architecture, quantization_name)


@lru_cache(maxsize=1)
def catalog() -> dict[str, Entry]:
    """Every model by its name in the catalog. Raises CorralError where catalog.yml is wrong."""
    text = package_files("corral.planner").joinpath("catalog.yml").read_text(encoding="utf-8")
    return parse(yaml.safe_load(text))


def parse(document: dict[str, Any]) -> dict[str, Entry]:
    """The entries of a catalog. Raises CorralError naming family, model and key."""
    found: dict[str, Entry] = {}
    for family, group in document.items():
        for name, entry in group["models"].items():
            try:
                found[name] = Entry(name=name, family=family, chat=group["chat"], **entry)
                for quantization_name in (*found[name].files, found[name].at_least or STANDARD):
                    quantization(quantization_name)
            except (ValidationError, CorralError, TypeError) as error:
                raise CorralError(f"catalog: {family}: {name}: {error}", "Correct catalog.yml") from error
    return found


def find(name: str) -> Entry:
    """A model by its name in the catalog, its title or a name in Ollama's library that leads to it.

    Raises CorralError with the nearest names.
    """
    for entry in catalog().values():
        names = (entry.name, entry.title, *entry.aliases, *entry.quantizations.values())
        if name.casefold() in (known.casefold() for known in names):
            return entry
    near = difflib.get_close_matches(name, catalog(), n=3, cutoff=0.4) or list(catalog())
    raise CorralError(
        f"unknown model {name!r}",
        f"Perhaps {', '.join(near)}; one that the catalog lacks is written with its tag, as in qwen3:8b",
    )


def lacks(name: str) -> bool:
    """Whether a name can only mean a model that is not listed here: it is a GGUF file, or has a tag or a namespace.

    Raises CorralError for what is no name at all.
    """
    source = classify_from(name)
    if isinstance(source, ModelName) and not re.search("[:/]", name):
        return False
    try:
        find(name)
    except CorralError:
        return True
    return False


def family(name: str) -> tuple[Entry, ...]:
    """The models of a family from largest to smallest, without those that must be asked for by name.

    Raises CorralError with the known families.
    """
    found = [entry for entry in catalog().values() if entry.family == name and not entry.by_name_only]
    if not found:
        known = sorted({entry.family for entry in catalog().values()})
        raise CorralError(f"unknown family {name!r}", f"Known here: {', '.join(known)}")
    return tuple(sorted(found, key=lambda entry: -entry.parameters))


def by_reference(reference: str) -> tuple[Entry, str] | None:
    """The entry and quantization that a name for `ollama pull` stands for; None for one that is not listed."""
    try:
        wanted = ModelName.parse(reference)
    except CorralError:
        return None
    for entry in catalog().values():
        for quantization_name, known in entry.quantizations.items():
            if ModelName.parse(known) == wanted:
                return entry, quantization_name
        if any(ModelName.parse(alias) == wanted for alias in entry.aliases):
            return entry, STANDARD
    return None

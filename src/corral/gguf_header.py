"""What a GGUF file says of itself before its weights: metadata and tensors, and from these what planning needs.

Only the header is read, from a file or from its first bytes as a registry sends them to a range request. Whoever
made the file is not trusted: every count is held against the bytes that are there and against `Limits` before
anything is walked or kept.

The `gguf` library gives the constants and nothing more. Its GGUFReader maps a whole file, so that the beginning of
one can't be read; it believes counts, and makes two arrays of every token (a tokenizer of 152064 tokens and its merges
took it 7.8 s and 474 MiB, gguf 0.19.0, against 0.05 s here); what is wrong ends in whatever exception numpy has for it.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from gguf.constants import (
    GGML_QUANT_SIZES,
    GGUF_DEFAULT_ALIGNMENT,
    GGMLQuantizationType,
    GGUFValueType,
    LlamaFileType,
)

from corral.errors import CorralError

MIB = 1 << 20
#: What is read at first. Real headers take about 2 to 12 MB, for the tokenizer's tokens and merges.
FIRST_BYTES = 4 * MIB
AGAIN = "Get the file again, and compare its size and checksum with its publisher's"


@dataclass(frozen=True)
class Limits:
    """How much a header may hold. Real ones stay far below: about 12 MB, 60 keys, 2000 tensors.

    name_bytes: of a key's and a tensor's name.
    text_bytes, array_entries: longer values are passed over, their length is kept.
    kept_bytes: of all names and values together, counted generously.
    """

    header_bytes: int = 64 * MIB
    keys: int = 4096
    tensors: int = 65_536
    name_bytes: int = 1024
    text_bytes: int = 1 << 16
    array_entries: int = 4096
    kept_bytes: int = 16 * MIB


DEFAULT_LIMITS = Limits()
#: More blocks than any model has; what is kept per block stays small.
MOST_LAYERS = 2048
MOST_DIMENSIONS = 4


class MoreNeeded(Exception):
    """The header goes on beyond the bytes that were given; at_least_bytes of the file are needed to go on."""

    def __init__(self, at_least_bytes: int) -> None:
        self.at_least_bytes = at_least_bytes
        super().__init__(f"at least {at_least_bytes} bytes are needed")


@dataclass(frozen=True)
class ArrayInfo:
    """Stands for a value that is not kept: texts in an array, a long array, a long text (length in bytes)."""

    length: int


Number = int | float
Value = str | Number | tuple[Number, ...] | ArrayInfo


@dataclass(frozen=True, slots=True)
class Tensor:
    """shape: as stored, the row's length first. type: as ggml names it ("Q4_K"). offset: from the data's start."""

    name: str
    shape: tuple[int, ...]
    type: str
    bytes: int
    offset: int


@dataclass(frozen=True)
class Header:
    """A GGUF file without its weights.

    header_bytes: where the tensors' data begin; as many bytes of the file are its whole header.
    file: how to name it to people.
    big_endian: no engine on x86 or ARM loads it.
    """

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    header_bytes: int
    file: str = "the GGUF file"
    big_endian: bool = False

    @property
    def architecture(self) -> str:
        """general.architecture, the prefix of the architecture's own keys. Raises CorralError without one."""
        found = self.metadata.get("general.architecture")
        if not isinstance(found, str) or not found:
            raise self.wrong("says no general.architecture", "Is it a model's file?")
        return found

    @property
    def file_type(self) -> str:
        """The quantization as people name it ("Q4_K_M"); "" when the file does not say, or says what nobody knows."""
        found = self.metadata.get("general.file_type")
        try:
            return re.sub(r"^(MOSTLY|ALL)_", "", LlamaFileType(found).name) if isinstance(found, int) else ""
        except ValueError:
            return ""

    @property
    def parameter_count(self) -> int:
        """Weights in all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    def number(self, key: str, default: int | None = None) -> int:
        """An architecture's whole number: number("block_count") is qwen2.block_count in a file of qwen2.

        Raises CorralError when it is missing and there is no default, negative, or no whole number.
        """
        key = f"{self.architecture}.{key}"
        found = self.metadata.get(key, default)
        if found is None:
            raise self.wrong(f"lacks the key {key}")
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise self.wrong(f"{key} is {_shown(found)}, not a whole number")
        return found

    def numbers(self, key: str, count: int, default: int | None = None) -> tuple[int, ...]:
        """The same for a key that holds one number for all of count layers, or an array with one for each."""
        found = self.metadata.get(f"{self.architecture}.{key}")
        if not isinstance(found, tuple | ArrayInfo):
            return (self.number(key, default),) * count
        length = found.length if isinstance(found, ArrayInfo) else len(found)
        if length != count:
            raise self.wrong(f"{self.architecture}.{key} has {length} entries for {count} layers")
        whole = tuple(n for n in found if isinstance(n, int) and n >= 0) if isinstance(found, tuple) else ()
        if len(whole) != count:
            raise self.wrong(f"{self.architecture}.{key} has entries that are no whole numbers")
        return whole

    def wrong(self, what: str, remedy: str = AGAIN) -> CorralError:
        return CorralError(f"{self.file} {what}", remedy)


def read_file(path: Path, limits: Limits = DEFAULT_LIMITS) -> Header:
    """The header of a file. Raises CorralError when it can't be read, is no GGUF file or ends too soon."""
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size, str(path), limits)
    except OSError as error:
        raise CorralError(f"{path} can't be read ({error.strerror})", "Check the path and its permissions") from error


def read(source: BinaryIO, limits: Limits = DEFAULT_LIMITS, file: str = "the GGUF file") -> Header:
    """The header of a file that source gives from its beginning. Raises CorralError as read_file does."""
    return _read(source, None, file, limits)


def _read(source: BinaryIO, total_bytes: int | None, file: str, limits: Limits) -> Header:
    data, wanted = bytearray(), min(FIRST_BYTES, limits.header_bytes)
    while True:
        while len(data) < wanted and (more := source.read(wanted - len(data))):
            data += more
        ended = len(data) < wanted
        try:
            return parse(bytes(data), len(data) if ended else total_bytes, file, limits)
        except MoreNeeded as needed:
            wanted = min(max(2 * wanted, needed.at_least_bytes), limits.header_bytes)


def parse(data: bytes, total_bytes: int | None, file: str = "the GGUF file", limits: Limits = DEFAULT_LIMITS) -> Header:
    """The header of a file of which data are the first bytes.

    total_bytes: the whole file's size; None: not known.
    Raises MoreNeeded when the header goes on beyond data, though not beyond the file nor what limits allow;
    CorralError, naming the file, when it is no GGUF file, ends too soon, or is of a kind that no engine loads.
    """
    reader = _Reader(data, total_bytes, file, limits)
    version = reader.preamble()
    tensor_count = reader.count("tensors", limits.tensors)
    key_count = reader.count("keys", limits.keys)
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = reader.name("a key")
        if key in metadata:
            raise reader.wrong(f"has the key {_shown(key)} twice")
        metadata[key] = reader.value(key)
    tensors: dict[str, Tensor] = {}
    for _ in range(tensor_count):
        tensor = reader.tensor()
        if tensor.name in tensors:
            raise reader.wrong(f"has the tensor {_shown(tensor.name)} twice")
        tensors[tensor.name] = tensor
    header_bytes = reader.data_start(metadata)
    reader.check_data(tuple(tensors.values()), header_bytes)
    return Header(version, metadata, tuple(tensors.values()), header_bytes, file, reader.big_endian)


_FORMATS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}
#: ggml's types by their number: name, weights in a block, bytes of a block.
_TYPES = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
#: Ollama's own number for MXFP4, in the gpt-oss of its library (fs/ggml/ggml.go); ggml's is 39.
_TYPES.setdefault(4, _TYPES[int(GGMLQuantizationType.MXFP4)])
#: About what Python takes for a number in a tuple, for a key or a tensor, besides its text.
_ENTRY_BYTES, _OBJECT_BYTES = 40, 200


class _Reader:
    """Walks through a header; every step first makes sure that its bytes are there."""

    def __init__(self, data: bytes, total_bytes: int | None, file: str, limits: Limits) -> None:
        self.big_endian = False
        self._data = data
        self._total = total_bytes
        self._file = file
        self._limits = limits
        self._offset = 0
        self._kept = 0

    def wrong(self, what: str, remedy: str = AGAIN) -> CorralError:
        return CorralError(f"{self._file} {what}", remedy)

    def preamble(self) -> int:
        """The version, after which the byte order is known."""
        self._need(8)
        magic = self._data[:4]
        if magic != b"GGUF":
            raise self.wrong(f"is not a GGUF file: it begins with {magic!r}", "Give a model in the GGUF format")
        self._offset = 4
        version = self._number("I")
        if version & 0xFFFF == 0:
            self.big_endian = True
            self._offset = 4
            version = self._number("I")
        if version not in (2, 3):
            raise self.wrong(
                f"is of GGUF version {version}; 2 and 3 are known",
                "Convert the model again with a current llama.cpp" if version < 2 else "Update corral",
            )
        return version

    def count(self, what: str, most: int) -> int:
        found = self._number("Q")
        if found > most:
            raise self.wrong(f"claims to have {found} {what}; more than {most} are not believed")
        return found

    def name(self, what: str) -> str:
        length = self._number("Q")
        if length > self._limits.name_bytes:
            raise self.wrong(f"has {what} with a name of {length} bytes at byte {self._offset}")
        self._keep(_OBJECT_BYTES)
        return self._text(length)

    def value(self, key: str) -> Value:
        kind = self._number("I")
        if kind == GGUFValueType.STRING:
            length = self._number("Q")
            if length > self._limits.text_bytes:
                return self._pass_over(length, 1)
            return self._text(length)
        if kind == GGUFValueType.ARRAY:
            return self._array(key)
        return self._scalar(self._format(kind, key))

    def _array(self, key: str) -> Value:
        kind = self._number("I")
        count = self._number("Q")
        if kind == GGUFValueType.STRING:
            self._pass_texts(count)
            return ArrayInfo(count)
        # No engine loads arrays in arrays (gguf.cpp), so none are walked: they could be nested without end.
        if kind == GGUFValueType.ARRAY:
            raise self.wrong(f"has arrays in the array {_shown(key)}")
        one = self._format(kind, key)
        if count > self._limits.array_entries:
            return self._pass_over(count, struct.calcsize(f"<{one}"))
        self._keep(count * _ENTRY_BYTES)
        return self._unpack(f"{count}{one}")

    def tensor(self) -> Tensor:
        name = self.name("a tensor")
        dimensions = self._number("I")
        if dimensions > MOST_DIMENSIONS:
            raise self.wrong(f"has the tensor {_shown(name)} with {dimensions} dimensions; ggml has {MOST_DIMENSIONS}")
        shape = tuple(int(n) for n in self._unpack(f"{dimensions}Q"))
        kind = self._number("I")
        offset = self._number("Q")
        if kind not in _TYPES:
            raise self.wrong(
                f"has the tensor {_shown(name)} of type {kind}, which is not known here",
                "Update the package gguf, or choose another quantization of the model",
            )
        type_name, block, block_bytes = _TYPES[kind]
        weights = math.prod(shape)
        if weights >= 1 << 63:
            raise self.wrong(f"has the tensor {_shown(name)} with {weights} weights")
        if (shape[0] if shape else 1) % block:
            raise self.wrong(f"has the tensor {_shown(name)} whose rows are no whole blocks of {type_name}")
        return Tensor(name, shape, type_name, weights // block * block_bytes, offset)

    def data_start(self, metadata: Mapping[str, Value]) -> int:
        """The header's end, rounded up to the alignment."""
        alignment = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
        is_power = isinstance(alignment, int) and 0 < alignment < 1 << 32 and alignment & (alignment - 1) == 0
        if not isinstance(alignment, int) or not is_power:
            raise self.wrong(f"has general.alignment {_shown(alignment)}, which is no power of two")
        return -(-self._offset // alignment) * alignment

    def check_data(self, tensors: Collection[Tensor], data_start: int) -> None:
        """Do the tensors lie within the file, and not on each other? Where its size is known."""
        end = data_start + max((tensor.offset + tensor.bytes for tensor in tensors), default=0)
        end = max(end, data_start + sum(tensor.bytes for tensor in tensors)) if tensors else self._offset
        if self._total is not None and end > self._total:
            raise self.wrong(f"is cut short: it has {self._total} bytes and its tensors end at {end}")

    def _format(self, kind: int, key: str) -> str:
        try:
            return _FORMATS[GGUFValueType(kind)]
        except (ValueError, KeyError):
            raise self.wrong(f"has a value of the unknown type {kind} in {_shown(key)}") from None

    def _number(self, one: str) -> int:
        return int(self._unpack(one)[0])

    def _scalar(self, one: str) -> Number:
        return self._unpack(one)[0]

    def _unpack(self, format: str) -> tuple[Number, ...]:
        form = f"{'>' if self.big_endian else '<'}{format}"
        size = struct.calcsize(form)
        self._need(size)
        found = struct.unpack_from(form, self._data, self._offset)
        self._offset += size
        return found

    def _text(self, length: int) -> str:
        self._keep(length)
        self._need(length)
        self._offset += length
        # Engines take any bytes for a name; different ones must stay different, and can be shown.
        return self._data[self._offset - length : self._offset].decode("utf-8", "backslashreplace")

    def _pass_over(self, count: int, size: int) -> ArrayInfo:
        self._need(count * size)
        self._offset += count * size
        return ArrayInfo(count)

    def _pass_texts(self, count: int) -> None:
        # Each has a length at least, so that a count which can't be true is not walked.
        self._need(8 * count)
        length_at = struct.Struct(">Q" if self.big_endian else "<Q").unpack_from
        data, offset, last = self._data, self._offset, len(self._data) - 8
        for left in range(count, 0, -1):
            if offset > last:
                self._offset = offset
                self._need(8 * left)
            offset += 8 + length_at(data, offset)[0]
        self._offset = offset
        self._need(0)

    def _keep(self, size: int) -> None:
        self._kept += size
        if self._kept > self._limits.kept_bytes:
            raise self.wrong(f"has a header with more than {self._limits.kept_bytes} bytes of names and values")

    def _need(self, size: int) -> None:
        end = self._offset + size
        if end <= len(self._data):
            return
        if self._total is not None and end > self._total:
            raise self.wrong(f"is cut short: it has {self._total} bytes and its header needs {end} at least")
        if end > self._limits.header_bytes:
            raise self.wrong(f"has a header of {end} bytes at least; {self._limits.header_bytes} are read at most")
        raise MoreNeeded(end)


def _shown(value: object) -> str:
    """In quotes, what is no text escaped, and cut: names come from the file and may be of any length."""
    text = repr(str(value))
    return text if len(text) <= 80 else f"{text[:77]}...'"


# What planning needs


@dataclass(frozen=True)
class Experts:
    """A mixture of experts. feed_forward, shared_feed_forward: width of one expert, of the one that is always used."""

    count: int
    used: int
    feed_forward: int
    shared_feed_forward: int


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention: the cache holds a vector of this rank and the rotated part of the keys."""

    kv_lora_rank: int
    rope_dimensions: int


@dataclass(frozen=True)
class Shape:
    """A model's architecture and the bytes of its parts. Tuples have one entry per layer.

    feed_forward: the dense network's width, 0 where there is none.
    key_length, value_length: of one head; sliding_...: of one head in a layer that sliding has, usually the same.
    sliding_window: how many tokens such a layer looks back; None when every layer sees all of them.
    caching: layers with a KV cache of their own; the others use an earlier layer's, or have no attention.
    recurrent: layers that keep a state instead, whatever the context.
    dense: layers with a feed-forward network that every token passes, beside experts or without any.
    fused_qkv: Q, K and V come of one matrix. post_norms: what attention and network give is normalized once more.
    tied: the output layer uses the token embedding's tensor, of which engines then load a second copy.
    block_bytes, output_bytes, other_bytes: what goes to the GPU when all layers do; other_bytes belongs to no
    layer (RoPE factors, a vision tower in the same file). token_embedding_bytes: stays in the host's memory.
    unplanned: why formulas for plain attention do not hold, so that the engine must be asked; "" when they do.
    """

    family: str
    layers: int
    context_length: int
    embedding: int
    feed_forward: tuple[int, ...]
    experts: Experts | None
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    sliding_key_length: int
    sliding_value_length: int
    sliding_window: int | None
    sliding: tuple[bool, ...]
    caching: tuple[bool, ...]
    recurrent: tuple[bool, ...]
    dense: tuple[bool, ...]
    fused_qkv: bool
    post_norms: bool
    latent: Latent | None
    vocabulary: int
    tied: bool
    block_bytes: tuple[int, ...]
    output_bytes: int
    token_embedding_bytes: int
    other_bytes: int
    unplanned: str


#: Every how many layers one sees everything, where the file does not say: llama.cpp's set_swa_pattern by
#: architecture (src/models/*.cpp, 2026). "gptoss" is Ollama's own name for gpt-oss.
_SLIDING_PERIOD = {
    "afmoe": 4,
    "cohere2": 4,
    "exaone4": 4,
    "exaone-moe": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "gptoss": 2,
    "olmo2": 4,
    "plamo3": 8,
}
#: These say a sliding window that engines do not use: every layer keeps the whole context.
_WINDOW_UNUSED = frozenset(
    ("llama", "mistral3", "phi3", "phimoe", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "starcoder2")
)
#: The window of early files that do not say it (gemma2.cpp).
_WINDOW_DEFAULT = {"gemma2": 4096}
#: Only so many layers, from the first on, have a KV cache of their own, where the file does not say (gemma3n.cpp).
_FIRST_CACHING = {"gemma3n": 20}
#: Tensors that engines keep in the host's memory: those of the input layer (llama-arch.cpp).
_INPUT = ("token_embd", "token_embd_norm", "token_types", "position_embd", "per_layer_token_embd")
_OUTPUT = ("output", "output_norm")
_BLOCK = re.compile(r"blk\.(\d{1,5})\.(.+)", re.DOTALL)
_RECURRENT = ("ssm_", "time_mix_", "shortconv.")


def shapes(header: Header) -> Shape:
    """What planning needs. Raises CorralError for what is no whole model, or does not say what is needed."""
    _check_whole(header)
    layers = _positive(header, "block_count")
    if layers > MOST_LAYERS:
        raise header.wrong(f"claims to have {layers} layers; more than {MOST_LAYERS} are not believed")
    embedding = _positive(header, "embedding_length")
    blocks = _blocks(header, layers)
    recurrent = tuple(any(name.startswith(_RECURRENT) for name in block) for block in blocks)
    # A model without attention need not say how many heads it has.
    heads = header.numbers("attention.head_count", layers, 0 if all(recurrent) else None)
    one_number = header.metadata.get(f"{header.architecture}.attention.head_count_kv") is None
    kv_heads = heads if one_number else header.numbers("attention.head_count_kv", layers)
    key_length = header.number("attention.key_length", embedding // max(1, *heads))
    value_length = header.number("attention.value_length", embedding // max(1, *heads))
    window, sliding = _sliding(header, layers)
    by_name = {tensor.name: tensor for tensor in header.tensors}
    embedding_tensor = by_name.get("token_embd.weight")
    tied = "output.weight" not in by_name
    output_bytes = _bytes_of(header, _OUTPUT)
    token_embedding_bytes = _bytes_of(header, _INPUT)
    block_bytes = tuple(sum(tensor.bytes for tensor in block.values()) for block in blocks)
    all_bytes = sum(tensor.bytes for tensor in header.tensors)
    shape = Shape(
        family=header.architecture,
        layers=layers,
        context_length=_positive(header, "context_length"),
        embedding=embedding,
        feed_forward=header.numbers("feed_forward_length", layers, 0),
        experts=_experts(header, layers),
        heads=heads,
        kv_heads=kv_heads,
        key_length=key_length,
        value_length=value_length,
        sliding_key_length=header.number("attention.key_length_swa", key_length),
        sliding_value_length=header.number("attention.value_length_swa", value_length),
        sliding_window=window,
        sliding=sliding or (False,) * layers,
        caching=_caching(header, kv_heads, recurrent),
        recurrent=recurrent,
        dense=tuple("ffn_up.weight" in block for block in blocks),
        fused_qkv=all("attn_qkv.weight" in block for block in blocks),
        post_norms=all("post_ffw_norm.weight" in block for block in blocks),
        latent=_latent(header),
        vocabulary=_vocabulary(header, embedding_tensor),
        tied=tied,
        block_bytes=block_bytes,
        output_bytes=output_bytes + (embedding_tensor.bytes if tied and embedding_tensor else 0),
        token_embedding_bytes=token_embedding_bytes,
        other_bytes=all_bytes - sum(block_bytes) - output_bytes - token_embedding_bytes,
        unplanned="",
    )
    return replace(shape, unplanned=_unplanned(header, shape, blocks, sliding is None))


def _check_whole(header: Header) -> None:
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise header.wrong(f"holds no model: its general.type is {_shown(kind)}", "Give the file of the model itself")
    parts = header.metadata.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        raise header.wrong(f"is one of {parts} parts of a model", "Join them with llama-gguf-split --merge")
    if not header.tensors:
        raise header.wrong("holds no weights", "Give the file of the model itself")


def _positive(header: Header, key: str) -> int:
    found = header.number(key)
    if not found:
        raise header.wrong(f"{header.architecture}.{key} is 0")
    return found


def _blocks(header: Header, layers: int) -> list[dict[str, Tensor]]:
    """Each layer's tensors by the rest of their names ("attn_k.weight")."""
    blocks: list[dict[str, Tensor]] = [{} for _ in range(layers)]
    for tensor in header.tensors:
        match = _BLOCK.fullmatch(tensor.name)
        if match and int(match[1]) < layers:
            blocks[int(match[1])][match[2]] = tensor
    return blocks


def _bytes_of(header: Header, stems: Collection[str]) -> int:
    return sum(tensor.bytes for tensor in header.tensors if tensor.name.rpartition(".")[0] in stems)


def _experts(header: Header, layers: int) -> Experts | None:
    count = header.number("expert_count", 0)
    if not count:
        return None
    # Mixtral's kind has no dense network and says the experts' width in its place.
    dense = max(header.numbers("feed_forward_length", layers, 0))
    each = header.number("expert_feed_forward_length", dense)
    shared = header.number("expert_shared_feed_forward_length", header.number("expert_shared_count", 0) * each)
    return Experts(count, header.number("expert_used_count", 0), each, shared)


def _latent(header: Header) -> Latent | None:
    rank = header.number("attention.kv_lora_rank", 0)
    return Latent(rank, header.number("rope.dimension_count", 0)) if rank else None


def _sliding(header: Header, layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
    """The window and the layers that have it; (None, no layer) without one; layers None: which ones is not known."""
    family, none = header.architecture, (False,) * layers
    window = header.number("attention.sliding_window", _WINDOW_DEFAULT.get(family, 0))
    if not window or family in _WINDOW_UNUSED:
        return None, none
    pattern = header.metadata.get(f"{family}.attention.sliding_window_pattern", _SLIDING_PERIOD.get(family))
    if isinstance(pattern, tuple) and len(pattern) == layers:
        layers_sliding = tuple(bool(entry) for entry in pattern)
    elif isinstance(pattern, int) and not isinstance(pattern, bool) and pattern >= 0:
        # As llama.cpp: 0 means all, 1 none, n all but each n-th.
        layers_sliding = tuple(pattern == 0 or layer % pattern < pattern - 1 for layer in range(layers))
    else:
        return window, None
    return (window, layers_sliding) if any(layers_sliding) else (None, none)


def _caching(header: Header, kv_heads: Sequence[int], recurrent: Sequence[bool]) -> tuple[bool, ...]:
    layers = len(kv_heads)
    shared = max(0, layers - _FIRST_CACHING.get(header.architecture, layers))
    own = layers - header.number("attention.shared_kv_layers", shared)
    return tuple(layer < own and kv_heads[layer] > 0 and not recurrent[layer] for layer in range(layers))


def _vocabulary(header: Header, embedding: Tensor | None) -> int:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, ArrayInfo) and tokens.length:
        return tokens.length
    from_tensor = embedding.shape[1] if embedding and len(embedding.shape) == 2 else None
    return header.number("vocab_size", from_tensor)


def _unplanned(header: Header, shape: Shape, blocks: Sequence[Mapping[str, Tensor]], window_unclear: bool) -> str:
    """Why plain attention's formulas do not hold, judged by what the file has rather than by its name."""
    names = {name for block in blocks for name in block}
    empty = next((layer for layer, block in enumerate(blocks) if not block), None)
    reasons = (
        (empty is not None, f"it has no tensors blk.{empty}, so its layers are not the usual kind"),
        (shape.latent or any(name.startswith("attn_kv_") for name in names), "multi-head latent attention (MLA)"),
        (
            any(shape.recurrent),
            f"{sum(shape.recurrent)} of {shape.layers} layers are recurrent (state-space or similar)",
        ),
        (any(name.startswith("indexer.") for name in names), "sparse attention with an indexer"),
        (any(name.startswith("cross_attn") for name in names), "cross-attention"),
        (header.metadata.get(f"{shape.family}.attention.causal") is False, "an encoder, which has no KV cache"),
        (header.number("nextn_predict_layers", 0), "layers that predict several tokens (MTP)"),
        (header.number("attention.chunk_size", 0) or shape.family == "llama4", "attention in chunks"),
        (window_unclear, "a sliding window, and it is not known which layers have it"),
    )
    for holds, reason in reasons:
        if holds:
            return reason
    for layer, block in enumerate(blocks):
        if fault := _attention_fault(shape, layer, block):
            return f"layer {layer}: {fault}"
    return ""


def _attention_fault(shape: Shape, layer: int, block: Mapping[str, Tensor]) -> str:
    """In what a layer's tensors are not those of the attention that the metadata describe."""
    if not shape.caching[layer]:
        return ""
    slides = shape.sliding[layer]
    key = shape.sliding_key_length if slides else shape.key_length
    value = shape.sliding_value_length if slides else shape.value_length
    kv_heads = shape.kv_heads[layer]
    fused = shape.heads[layer] * key + kv_heads * (key + value)
    expected = {"attn_k.weight": kv_heads * key, "attn_v.weight": kv_heads * value, "attn_qkv.weight": fused}
    found = {name: block[name] for name in expected if name in block}
    if not found.keys() & {"attn_k.weight", "attn_qkv.weight"}:
        return "its keys are made in a way that is not known"
    for name, tensor in found.items():
        if tensor.shape[1:2] != (expected[name],):
            return f"{name} is {list(tensor.shape)}, where {expected[name]} rows should be"
    return ""

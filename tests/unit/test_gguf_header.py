"""GGUF headers: what is read from real writers' files, and that nothing anybody sends does harm.

The registry is a stand-in, a server on this machine; the script that asks it is run by bash as on a host.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Quant
from hypothesis import example, given
from hypothesis import strategies as st

from corral import gguf_header
from corral.errors import CorralError
from corral.gguf_header import ArrayInfo, Experts, Latent, Limits, MoreNeeded, Shape, parse, shapes
from corral.names import ModelName
from corral.ollama import headers
from corral.planner.models import FileModel
from corral.platforms.linux import LINUX
from corral.remote import LocalLink, Remote, Sudo
from corral.run import HostRun
from lab.progress import Progress
from lab.weights import ensure_models, model_file

MIB = 1 << 20
#: Qwen2's tokenizer: so many tokens, so many merges.
TOKENS, MERGES = 152064, 151387

# Files to read


def block(layer: int, embedding: int, keys: int, values: int | None = None) -> dict[str, tuple[tuple[int, int], Quant]]:
    """Plain attention and a feed-forward network of 512."""
    values = keys if values is None else values
    rows = {"attn_q": embedding, "attn_k": keys, "attn_v": values, "attn_output": embedding, "ffn_up": 512}
    return {f"blk.{layer}.{name}.weight": ((count, embedding), Quant.Q4_K) for name, count in rows.items()}


def write(
    path: Path,
    architecture: str = "qwen2",
    numbers: Mapping[str, int | Sequence[int] | Sequence[bool] | bool] | None = None,
    tensors: Mapping[str, tuple[tuple[int, int], Quant]] | None = None,
    tokens: int = 300,
    merges: int = 0,
    endianess: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE,
    other: Mapping[str, Any] | None = None,
) -> bytes:
    """A file by gguf's own writer; numbers are the architecture's keys, tensors (rows, columns) and a type."""
    writer = gguf.GGUFWriter(path, architecture, endianess=endianess)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    plain: dict[str, Any] = {
        "block_count": 2,
        "context_length": 131072,
        "embedding_length": 256,
        "feed_forward_length": 512,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
    }
    for key, value in {**plain, **(numbers or {})}.items():
        if value is None:
            continue
        name = f"{architecture}.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        else:
            writer.add_array(name, value)
    for name, extra in (other or {}).items():
        kinds = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        cast(Any, kinds.get(type(extra), writer.add_array))(name, extra)
    if tokens:
        writer.add_token_list([f"token {number:08}" for number in range(tokens)])
        writer.add_token_types([1] * tokens)
        writer.add_token_scores([-1.0] * tokens)
    if merges:
        writer.add_token_merges([f"left{number:06} right{number:06}" for number in range(merges)])
    if tensors is None:
        tensors = {"token_embd.weight": ((300, 256), Quant.Q6_K), **block(0, 256, 128), **block(1, 256, 128)}
        tensors |= {"output_norm.weight": ((1, 256), Quant.F32), "output.weight": ((300, 256), Quant.Q8_0)}
    sizes = {}
    for name, (shape, kind) in tensors.items():
        per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        sizes[name] = shape[0] * shape[1] // per_block * block_bytes
        raw = (shape[0], shape[1] // per_block * block_bytes)
        writer.add_tensor_info(name, raw, np.dtype("uint8"), sizes[name], kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    data = path.read_bytes()
    data += bytes(-len(data) % 32)
    return data + bytes(sum(-(-size // 32) * 32 for size in sizes.values()))


def shaped(tmp_path: Path, *args: Any, **kwargs: Any) -> Shape:
    data = write(tmp_path / "model.gguf", *args, **kwargs)
    return shapes(parse(data, len(data)))


def raw(*keys: bytes, tensors: Sequence[bytes] = (), key_count: int | None = None) -> bytes:
    """A file made by hand, out of keys and tensors made by hand."""
    counts = struct.pack("<QQ", len(tensors), len(keys) if key_count is None else key_count)
    return b"GGUF" + struct.pack("<I", 3) + counts + b"".join((*keys, *tensors))


def text(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def key(name: bytes | str, kind: gguf.GGUFValueType | int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", int(kind)) + value


def tensor(name: bytes | str, shape: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


U8, U32, TEXT, ARRAY = (gguf.GGUFValueType[name] for name in ("UINT8", "UINT32", "STRING", "ARRAY"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with a tokenizer of real size."""
    return write(tmp_path_factory.mktemp("real") / "real.gguf", tokens=TOKENS, merges=MERGES)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with a value of every kind."""
    other: dict[str, Any] = {
        "general.name": "模型",
        "a.yes": True,
        "a.half": 0.5,
        "a.words": ["x", "y"],
        "a.numbers": [1, 2, 3],
    }
    return write(tmp_path_factory.mktemp("small") / "small.gguf", tokens=5, other=other)


# What is read


def test_a_file_is_read_as_the_library_reads_it(tmp_path: Path, small: bytes) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(small)
    header, library = gguf_header.read_file(path), gguf.GGUFReader(path)
    assert header.header_bytes == library.data_offset
    assert [(t.name, t.shape, t.type, t.bytes) for t in header.tensors] == [
        (t.name, tuple(t.shape.tolist()), t.tensor_type.name, t.n_bytes) for t in library.tensors
    ]
    kept = {name: value for name, value in header.metadata.items() if not isinstance(value, ArrayInfo)}
    for name, value in kept.items():
        contents = library.fields[name].contents()
        assert value == (tuple(contents) if isinstance(contents, list) else contents), name
    lengths = {name: value.length for name, value in header.metadata.items() if isinstance(value, ArrayInfo)}
    assert lengths == {"a.words": 2, "tokenizer.ggml.tokens": 5}
    assert (header.architecture, header.file_type, header.version) == ("qwen2", "Q4_K_M", 3)
    assert header.parameter_count == sum(int(t.n_elements) for t in library.tensors)


def test_a_big_endian_file_says_the_same_and_that_it_is_one(tmp_path: Path) -> None:
    little = write(tmp_path / "little.gguf")
    big = write(tmp_path / "big.gguf", endianess=gguf.GGUFEndian.BIG)
    one, other = parse(little, len(little)), parse(big, len(big))
    assert (one.metadata, one.tensors) == (other.metadata, other.tensors)
    assert (one.big_endian, other.big_endian) == (False, True)


def test_a_real_tokenizer_is_passed_over_quickly_and_not_kept(real: bytes) -> None:
    tracemalloc.start()
    started = time.monotonic()
    header = parse(real, len(real))
    took, (kept, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert header.metadata["tokenizer.ggml.tokens"] == ArrayInfo(TOKENS)
    assert header.metadata["tokenizer.ggml.merges"] == ArrayInfo(MERGES)
    assert header.metadata["tokenizer.ggml.scores"] == ArrayInfo(TOKENS)
    assert header.header_bytes > 8_000_000
    assert kept < 100_000
    assert peak < 1_000_000
    assert took < 10


def test_short_arrays_of_numbers_are_kept_and_long_ones_and_long_texts_are_not() -> None:
    def array(count: int) -> bytes:
        return struct.pack("<IQ", U32, count) + bytes(4 * count)

    data = raw(key("a", ARRAY, array(4096)), key("b", ARRAY, array(4097)), key("c", TEXT, text("x" * 70_000)))
    assert dict(parse(data, None).metadata) == {"a": (0,) * 4096, "b": ArrayInfo(4097), "c": ArrayInfo(70_000)}


def test_ollamas_own_number_for_mxfp4_is_known() -> None:
    header = parse(raw(tensors=[tensor("t", (64, 2), kind=4)]), None)
    assert (header.tensors[0].type, header.tensors[0].bytes) == ("MXFP4", 68)


def test_a_source_is_read_as_far_as_its_header_goes(real: bytes) -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(min(size or 0, 1_000_000))
            self.taken += len(data)
            return data

    source = Counting(real + bytes(100 * MIB))
    assert gguf_header.read(source).header_bytes == parse(real, None).header_bytes
    assert source.taken <= 16 * MIB


def test_the_labs_models_are_planned_with_as_the_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_LAB_CACHE", str(tmp_path))
    shape = shapes(gguf_header.read_file(model_file(ensure_models(Progress()), "14b")))
    assert (shape.family, shape.layers, shape.context_length, shape.unplanned) == ("qwen2", 1, 131072, "")
    assert (shape.heads, shape.kv_heads, shape.key_length) == ((4,), (1,), 64)


# What is not there


def expect_no_harm(data: bytes, total_bytes: int | None) -> None:
    """Reads and plans; only the errors that callers know are allowed, and they must be of use."""
    raised: MoreNeeded | CorralError | None = None
    try:
        header = parse(data, total_bytes, "model.gguf")
        assert isinstance(header.file_type, str)
        shapes(header)
    except (MoreNeeded, CorralError) as error:
        raised = error
    if isinstance(raised, MoreNeeded):
        assert len(data) < raised.at_least_bytes <= Limits().header_bytes
        assert total_bytes is None or raised.at_least_bytes <= total_bytes
    if isinstance(raised, CorralError):
        assert raised.remedy
        assert len(str(raised)) < 1500


def test_every_beginning_of_a_file_asks_for_more_and_is_cut_short_if_there_is_no_more(small: bytes) -> None:
    end = parse(small, len(small)).header_bytes
    for length in range(end - 31):
        with pytest.raises(MoreNeeded) as more:
            parse(small[:length], None)
        assert length < more.value.at_least_bytes <= end
        with pytest.raises(MoreNeeded):
            parse(small[:length], len(small))
        with pytest.raises(CorralError, match=r"^model\.gguf is cut short: .* Get the file again"):
            parse(small[:length], length, "model.gguf")


def test_what_is_asked_for_in_turn_leads_to_the_end(real: bytes) -> None:
    length, turns = 24, 0
    while True:
        try:
            assert parse(real[:length], len(real)) == parse(real, len(real))
            break
        except MoreNeeded as more:
            length, turns = max(2 * length, more.at_least_bytes), turns + 1
    assert turns < 20


def test_a_tokenizer_cut_anywhere_asks_for_more(real: bytes) -> None:
    for length in range(100, parse(real, None).header_bytes - 31, 123_457):
        with pytest.raises(MoreNeeded):
            parse(real[:length], len(real))


def test_a_file_whose_weights_are_cut_short_says_so(tmp_path: Path, small: bytes) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(small[:-1000])
    with pytest.raises(CorralError, match=rf"cut\.gguf is cut short: it has {len(small) - 1000} bytes and its tensors"):
        gguf_header.read_file(path)


def test_a_file_that_is_not_there_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(CorralError, match=r"none\.gguf can't be read \(No such file"):
        gguf_header.read_file(tmp_path / "none.gguf")
    with pytest.raises(CorralError, match="can't be read"):
        gguf_header.read_file(tmp_path)


# What is wrong

HUGE = 1 << 60
HOSTILE = {
    "empty page": (b"<!DOCTYPE html>....", "is not a GGUF file: it begins with b'<!DO'"),
    "version 1": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1.*Convert the model again"),
    "version 9": (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9.*Update corral"),
    "key count": (raw(key_count=HUGE), f"{HUGE} keys"),
    "tensor count": (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), f"{HUGE} tensors"),
    "key length": (raw(struct.pack("<Q", HUGE)), f"a key with a name of {HUGE} bytes"),
    "text length": (raw(key("a", TEXT, struct.pack("<Q", HUGE))), "has a header of"),
    "array length": (raw(key("a", ARRAY, struct.pack("<IQ", U32, HUGE))), "has a header of"),
    "text count": (raw(key("a", ARRAY, struct.pack("<IQ", TEXT, HUGE))), "has a header of"),
    "token length": (raw(key("a", ARRAY, struct.pack("<IQQ", TEXT, 1, HUGE))), "has a header of"),
    "nested array": (raw(key("a", ARRAY, struct.pack("<IQ", ARRAY, 1) * 9)), "arrays in the array 'a'"),
    "value type": (raw(key("a", 99, b"")), "unknown type 99 in 'a'"),
    "entry type": (raw(key("a", ARRAY, struct.pack("<IQ", 99, 5))), "unknown type 99"),
    "key twice": (raw(key("a", U8, b"1"), key("a", U8, b"1")), "the key 'a' twice"),
    "tensor twice": (raw(tensors=[tensor("t", (1,))] * 2), "the tensor 't' twice"),
    "tensor type": (raw(tensors=[tensor("t", (1,), kind=77)]), "type 77, which is not known here.*package gguf"),
    "dimensions": (raw(tensors=[tensor("t", (1,) * 5)]), "5 dimensions"),
    "many dimensions": (raw(tensors=[text("t") + struct.pack("<I", 1 << 31)]), "2147483648 dimensions"),
    "overflow": (raw(tensors=[tensor("t", (1 << 40, 1 << 40))]), "weights"),
    "block": (raw(tensors=[tensor("t", (255, 4), kind=12)]), "no whole blocks of Q4_K"),
    "alignment": (raw(key("general.alignment", U32, struct.pack("<I", 3))), "no power of two"),
    "alignment 0": (raw(key("general.alignment", U32, bytes(4))), "no power of two"),
    "alignment text": (raw(key("general.alignment", TEXT, text("x"))), "no power of two"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused_at_once_with_a_reason(case: str) -> None:
    data, sentence = HOSTILE[case]
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(CorralError, match=f"^model.gguf {'.*' + sentence}") as caught:
        parse(data, None, "model.gguf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.remedy
    assert peak < 1_000_000
    assert time.monotonic() - started < 2


def test_a_count_that_can_not_be_true_is_refused_before_it_is_walked() -> None:
    data = raw(key("a", ARRAY, struct.pack("<IQ", TEXT, 1 << 40) + bytes(63 * MIB)))
    started = time.process_time()
    with pytest.raises(CorralError, match="has a header of"):
        parse(data, None)
    assert time.process_time() - started < 0.3


def test_a_huge_count_within_the_header_that_is_allowed_asks_for_its_bytes_before_it_walks() -> None:
    with pytest.raises(MoreNeeded) as more:
        parse(raw(key("a", ARRAY, struct.pack("<IQ", TEXT, MIB))), None)
    assert more.value.at_least_bytes > 8 * MIB


def test_the_largest_header_that_is_allowed_costs_seconds() -> None:
    count = (64 * MIB - 100) // 8
    data = raw(key("a", ARRAY, struct.pack("<IQ", TEXT, count) + bytes(8 * count)))
    started = time.process_time()
    assert parse(data, None).metadata["a"] == ArrayInfo(count)
    assert time.process_time() - started < 15


def test_many_values_that_would_be_kept_are_refused_before_they_fill_memory() -> None:
    array = struct.pack("<IQ", U32, 4096) + b"\xff" * 4 * 4096
    data = raw(*(key(f"a{number}", ARRAY, array) for number in range(3000)))
    tracemalloc.start()
    with pytest.raises(CorralError, match="bytes of names and values"):
        parse(data, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * MIB


def test_the_most_tensors_that_are_allowed_take_little_memory() -> None:
    data = raw(tensors=[tensor(f"blk.{number}", (1,)) for number in range(65_536)])
    tracemalloc.start()
    parse(data, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * MIB


def test_names_that_are_no_text_stay_different_and_can_be_shown() -> None:
    header = parse(raw(key(b"\xff", U8, b"1"), key(b"\xfe", U8, b"2"), key("x", TEXT, text(b"\xc3("))), None)
    assert header.metadata == {"\\xff": 49, "\\xfe": 50, "x": "\\xc3("}


@given(st.data())
def test_bytes_changed_anywhere_do_no_harm(small: bytes, data: st.DataObject) -> None:
    end = parse(small, len(small)).header_bytes
    changed = bytearray(small)
    for position in data.draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=6)):
        changed[position] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    tracemalloc.start()
    expect_no_harm(bytes(changed), len(changed))
    expect_no_harm(bytes(changed), None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * MIB


@given(st.data())
def test_words_changed_anywhere_do_no_harm(small: bytes, data: st.DataObject) -> None:
    end = parse(small, len(small)).header_bytes
    changed = bytearray(small)
    numbers = [0, 1, 8, 9, 1 << 20, 1 << 31, 1 << 32, 1 << 59, 1 << 61, (1 << 64) - 1]
    for position in data.draw(st.lists(st.integers(0, end - 8), min_size=1, max_size=4)):
        changed[position : position + 8] = struct.pack("<Q", data.draw(st.sampled_from(numbers)))
    expect_no_harm(bytes(changed), len(changed))
    expect_no_harm(bytes(changed), None)


@given(st.binary(max_size=400), st.sampled_from([2, 3, 2 << 24]), st.integers(0, 4), st.integers(0, 4))
@example(b"", 3, 0, 0)
def test_anything_after_the_magic_does_no_harm(rest: bytes, version: int, tensors: int, keys: int) -> None:
    data = b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest
    expect_no_harm(data, None)
    expect_no_harm(data, len(data))


# What planning needs


def test_a_plain_model_has_its_bytes_by_part(tmp_path: Path) -> None:
    shape = shaped(tmp_path)
    q4_k = 144 / 256
    assert shape.layers == 2
    assert (shape.embedding, shape.feed_forward, shape.heads, shape.kv_heads) == (256, (512,) * 2, (4,) * 2, (2,) * 2)
    assert (shape.key_length, shape.value_length, shape.vocabulary, shape.tied) == (64, 64, 300, False)
    assert shape.block_bytes == ((256 + 128 + 128 + 256 + 512) * 256 * q4_k,) * 2
    assert shape.output_bytes == 256 * 4 + 300 * 256 * 34 // 32
    assert shape.token_embedding_bytes == 300 * 256 * 210 // 256
    assert (shape.other_bytes, shape.experts, shape.latent, shape.unplanned) == (0, None, None, "")
    assert (shape.sliding_window, shape.sliding, shape.caching) == (None, (False,) * 2, (True,) * 2)


def test_a_model_without_an_output_layer_loads_its_embedding_twice(tmp_path: Path) -> None:
    tensors = {"token_embd.weight": ((300, 256), Quant.Q6_K), "rope_freqs.weight": ((1, 32), Quant.F32)}
    shape = shaped(tmp_path, numbers={"block_count": 1}, tensors={**tensors, **block(0, 256, 128)})
    assert shape.tied
    assert shape.output_bytes == shape.token_embedding_bytes == 300 * 256 * 210 // 256
    assert shape.other_bytes == 128


def test_heads_may_differ_by_layer(tmp_path: Path) -> None:
    tensors = {**block(0, 256, 128), **block(1, 256, 64), **block(2, 256, 0)}
    del tensors["blk.2.attn_k.weight"], tensors["blk.2.attn_v.weight"]
    numbers = {"block_count": 3, "attention.head_count": [4, 4, 0], "attention.head_count_kv": [2, 1, 0]}
    shape = shaped(tmp_path, "deci", numbers, tensors)
    assert (shape.kv_heads, shape.caching, shape.key_length, shape.unplanned) == (
        (2, 1, 0),
        (True, True, False),
        64,
        "",
    )


@pytest.mark.parametrize(
    ("architecture", "numbers", "sliding"),
    [
        ("gemma3", {"attention.sliding_window": 512}, [1, 1, 1, 1, 1, 0, 1]),
        ("gemma2", {}, [1, 0, 1, 0, 1, 0, 1]),
        ("gpt-oss", {"attention.sliding_window": 128}, [1, 0, 1, 0, 1, 0, 1]),
        ("gptoss", {"attention.sliding_window": 128}, [1, 0, 1, 0, 1, 0, 1]),
        ("cohere2", {"attention.sliding_window": 4096}, [1, 1, 1, 0, 1, 1, 1]),
        ("new", {"attention.sliding_window": 64, "attention.sliding_window_pattern": 3}, [1, 1, 0, 1, 1, 0, 1]),
        (
            "gemma4",
            {
                "attention.sliding_window": 64,
                "attention.sliding_window_pattern": [True, False, True, True, True, True, False],
            },
            [1, 0, 1, 1, 1, 1, 0],
        ),
        ("phi3", {"attention.sliding_window": 2047}, [0] * 7),
        ("qwen2", {"attention.sliding_window": 131072}, [0] * 7),
        ("gemma3", {}, [0] * 7),
    ],
)
def test_layers_with_a_sliding_window_are_known(
    tmp_path: Path, architecture: str, numbers: dict[str, Any], sliding: list[int]
) -> None:
    tensors = {name: value for layer in range(7) for name, value in block(layer, 256, 128).items()}
    tensors["token_embd.weight"] = ((300, 256), Quant.Q6_K)
    shape = shaped(tmp_path, architecture, {"block_count": 7, **numbers}, tensors)
    assert [int(layer) for layer in shape.sliding] == sliding
    window = numbers.get("attention.sliding_window", 4096)
    assert (shape.sliding_window, shape.unplanned) == (window if any(sliding) else None, "")


def test_layers_with_a_sliding_window_may_have_other_heads_and_the_last_ones_another_layers_cache(
    tmp_path: Path,
) -> None:
    numbers = {
        "block_count": 3,
        "attention.key_length": 128,
        "attention.value_length": 128,
        "attention.key_length_swa": 64,
        "attention.value_length_swa": 64,
        "attention.sliding_window": 512,
        "attention.sliding_window_pattern": [True, False, False],
        "attention.shared_kv_layers": 1,
        "feed_forward_length": [512, 512, 1024],
    }
    tensors = {**block(0, 256, 128), **block(1, 256, 256), "blk.2.attn_q.weight": ((256, 256), Quant.Q4_K)}
    shape = shaped(tmp_path, "gemma4", numbers, tensors)
    assert (shape.key_length, shape.sliding_key_length, shape.caching) == (128, 64, (True, True, False))
    assert (shape.feed_forward, shape.unplanned) == ((512, 512, 1024), "")


def test_a_mixture_of_experts_says_their_number_and_width(tmp_path: Path) -> None:
    numbers = {"expert_count": 8, "expert_used_count": 2}
    shape = shaped(tmp_path, "llama", numbers)
    assert (shape.experts, shape.unplanned) == (Experts(8, 2, 512, 0), "")
    shape = shaped(tmp_path, "qwen2moe", {**numbers, "expert_feed_forward_length": 96, "expert_shared_count": 2})
    assert shape.experts == Experts(8, 2, 96, 192)


ATTENTION = ("attn_k", "attn_v")


@pytest.mark.parametrize(
    ("architecture", "numbers", "rename", "reason"),
    [
        ("deepseek2", {"attention.kv_lora_rank": 512, "rope.dimension_count": 64}, {}, "(MLA)"),
        ("newest", {}, {"attn_k": "attn_kv_a_mqa", "attn_v": "attn_kv_b"}, "(MLA)"),
        ("mamba", {"attention.head_count": 0, "attention.head_count_kv": 0}, {"attn_k": "ssm_in"}, "2 of 2 layers"),
        ("mamba", {"attention.head_count": None, "attention.head_count_kv": None}, {"attn_k": "ssm_in"}, "recurrent"),
        ("rwkv6", {}, {"attn_k": "time_mix_key"}, "recurrent"),
        ("lfm2", {}, {"attn_k": "shortconv.in_proj"}, "recurrent"),
        ("bert", {"attention.causal": False}, {}, "an encoder"),
        ("glm4moe", {"nextn_predict_layers": 1}, {}, "(MTP)"),
        ("llama4", {}, {}, "in chunks"),
        ("mllama", {}, {"attn_k": "cross_attn_k_proj"}, "cross-attention"),
        ("brandnew", {"attention.sliding_window": 64}, {}, "not known which layers"),
        ("brandnew", {}, {"attn_k": "attn_something"}, "not known"),
        ("brandnew", {"attention.key_length": 32}, {}, "layer 0: attn_k.weight is [256, 128], where 64 rows should be"),
        ("brandnew", {"block_count": 3}, {}, "no tensors blk.2"),
    ],
)
def test_attention_that_formulas_do_not_cover_is_named(
    tmp_path: Path, architecture: str, numbers: dict[str, Any], rename: dict[str, str], reason: str
) -> None:
    tensors = {}
    for layer in range(2):
        for name, value in block(layer, 256, 128).items():
            stem = name.split(".")[2]
            tensors[name.replace(f".{stem}.", f".{rename.get(stem, stem)}.")] = value
    shape = shaped(tmp_path, architecture, numbers, tensors)
    assert reason in shape.unplanned
    assert shape.latent == (Latent(512, 64) if "attention.kv_lora_rank" in numbers else None)


def test_keys_and_values_in_one_tensor_are_plain_attention(tmp_path: Path) -> None:
    tensors = {"blk.0.attn_qkv.weight": ((4 * 64 + 2 * 2 * 64, 256), Quant.Q4_K)}
    assert shaped(tmp_path, "phi3", {"block_count": 1}, tensors).unplanned == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"numbers": {"block_count": None}}, "lacks the key qwen2.block_count"),
        ({"numbers": {"context_length": 0}}, "qwen2.context_length is 0"),
        ({"numbers": {"block_count": (1 << 32) - 1}}, "claims to have 4294967295 layers"),
        ({"numbers": {"attention.head_count": [4, 4, 4]}}, "attention.head_count has 3 entries for 2 layers"),
        ({"numbers": {"attention.head_count": [4, -4]}}, "no whole numbers"),
        ({"numbers": {"block_count": True}}, "block_count is 'True', not a whole number"),
        ({"numbers": {"embedding_length": None}, "other": {"qwen2.embedding_length": float("nan")}}, "'nan', not a"),
        ({"numbers": {"embedding_length": None}, "other": {"qwen2.embedding_length": "x"}}, "'x', not a"),
        ({"other": {"general.type": "adapter"}}, "holds no model: its general.type is 'adapter'"),
        ({"other": {"split.count": 3}}, "one of 3 parts.*llama-gguf-split"),
        ({"tensors": {}}, "holds no weights"),
    ],
)
def test_a_header_that_does_not_say_what_planning_needs_is_an_error_with_its_key(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(CorralError, match=sentence) as caught:
        shaped(tmp_path, **change)
    assert caught.value.remedy


# Asking a registry

MODEL = "team/model"


class Registry:
    """A registry of one model on this machine, with Range and a redirect to where the blobs are, as the real ones."""

    def __init__(self, weights: bytes) -> None:
        self.weights = weights
        self.manifest: object = self.manifest_of(weights)
        self.ranges: list[str] = []
        self.knows_ranges = True
        self.blob_status = 0
        self.cut_at: int | None = None
        self.hung_up = False
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Not into the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def name(self) -> ModelName:
        return ModelName.parse(f"http://127.0.0.1:{self.server.server_address[1]}/{MODEL}:tag")

    @staticmethod
    def manifest_of(weights: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(weights).hexdigest()}"
        template = {"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{'0' * 64}", "size": 3}
        layer = {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": len(weights)}
        return {"schemaVersion": 2, "config": template, "layers": [template, layer]}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path == f"/v2/{MODEL}/manifests/tag":
            self.send(request, 200, json.dumps(self.manifest).encode())
        elif request.path.startswith(f"/v2/{MODEL}/blobs/sha256:"):
            self.send(request, self.blob_status or 307, b"elsewhere, or not", {"Location": "/elsewhere?signed=1"})
        elif request.path == "/elsewhere?signed=1":
            asked = request.headers.get("Range", "")
            self.ranges.append(asked)
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
            if match and self.knows_ranges:
                # Mirrors name the address that Ollama is to download from even here; nobody is to go there.
                piece = self.weights[int(match[1]) : int(match[2]) + 1]
                self.send(request, 206, piece, {"Location": "http://127.0.0.1:1/"})
            else:
                self.send(request, 200, self.weights)
        else:
            self.send(request, 404, b"{}")

    def send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, fields: Mapping[str, str] | None = None
    ) -> None:
        request.send_response(status)
        for field, value in {"Content-Length": str(len(body)), **(fields or {})}.items():
            request.send_header(field, value)
        request.end_headers()
        try:
            request.wfile.write(body[: self.cut_at] if status == 206 else body)
        except ConnectionError:
            self.hung_up = request.close_connection = True


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Registry]]:
    monkeypatch.setattr(headers, "_known", {})
    registries: list[Registry] = []

    def start(weights: bytes) -> Registry:
        registries.append(Registry(weights))
        return registries[-1]

    yield start
    for registry in registries:
        registry.server.shutdown()
        registry.server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> HostRun:
    """This machine as a host: the connection and the scripts are the real ones, the rest stands in."""
    parts = {
        "remote": Remote(LocalLink(), Sudo()),
        "platform": LINUX,
        "blob": lambda sha256: f"{tmp_path}/blobs/sha256-{sha256}",
        "proxy": {"PROXY": "", "NO_PROXY_FOR": ""},
        "settings": SimpleNamespace(models_dir=str(tmp_path)),
        "models_place": str(tmp_path),
        "state": SimpleNamespace(manifests=()),
        "inventory_path": tmp_path / "inventory.yml",
    }
    return cast(HostRun, SimpleNamespace(**parts))


def test_a_registry_is_asked_for_the_header_alone(
    serve: Callable[[bytes], Registry], run: HostRun, real: bytes
) -> None:
    registry = serve(real + bytes(20 * MIB))
    found = headers.fetch(run, [registry.name])[registry.name]
    assert isinstance(found, headers.Weights)
    assert gzip.decompress(found.packed) == real[: found.header.header_bytes]
    assert (found.header.metadata, found.header.tensors) == (parse(real, None).metadata, parse(real, None).tensors)
    assert registry.ranges[0] == f"bytes=0-{4 * MIB - 1}"
    # Each piece continues the one before.
    assert [text.rpartition("-")[0] for text in registry.ranges] == ["bytes=0", f"bytes={4 * MIB}", f"bytes={8 * MIB}"]
    assert registry.ranges[-1].endswith(f"-{16 * MIB - 1}")


def test_several_models_are_asked_for_together_and_each_has_its_own_answer(
    serve: Callable[[bytes], Registry], run: HostRun, small: bytes, real: bytes
) -> None:
    short, long, broken = serve(small), serve(real), serve(b"GGUF" + b"\xff" * 100)
    missing = ModelName.parse(f"http://127.0.0.1:{short.server.server_address[1]}/team/none:tag")
    closed = ModelName.parse("http://127.0.0.1:1/team/model:tag")
    found = headers.fetch(run, [missing, short.name, long.name, closed, broken.name])
    assert list(found) == [missing, short.name, long.name, closed, broken.name]
    assert [type(one) for one in found.values()] == [
        CorralError,
        headers.Weights,
        headers.Weights,
        CorralError,
        CorralError,
    ]
    assert "no such model" in str(found[missing])
    assert "can't be reached" in str(found[closed])
    assert f"file of {broken.name.short}" in str(found[broken.name])
    assert long.ranges == [f"bytes=0-{4 * MIB - 1}", f"bytes={4 * MIB}-{8 * MIB - 1}", long.ranges[2]]


def test_a_model_that_the_host_has_is_read_from_its_own_files(
    serve: Callable[[bytes], Registry], run: HostRun, small: bytes, real: bytes, tmp_path: Path
) -> None:
    """The registry's tag has moved on to another model."""
    registry = serve(small)
    name = registry.name
    manifest = tmp_path / f"manifests/{name.host}/{name.namespace}/{name.model}/{name.tag}"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(Registry.manifest_of(real)))
    (tmp_path / "blobs").mkdir()
    (tmp_path / f"blobs/sha256-{hashlib.sha256(real).hexdigest()}").write_bytes(real)
    run.state.manifests = (str(name),)  # type: ignore[misc]
    found = headers.fetch(run, [name])[name]
    assert isinstance(found, headers.Weights)
    assert found.header.tensors == parse(real, None).tensors
    assert registry.ranges == []
    manifest.unlink()
    assert isinstance(headers.fetch(run, [name])[name], CorralError)


def test_models_outside_the_catalog_are_known_by_their_files(
    serve: Callable[[bytes], Registry], run: HostRun, small: bytes, tmp_path: Path
) -> None:
    registry = serve(small)
    (tmp_path / "mine.gguf").write_bytes(small)
    name = f"http://{registry.name}"
    found = headers.models(run, [name, "./mine.gguf"])
    assert list(found) == [name, "./mine.gguf"]
    for model in found.values():
        assert isinstance(model, FileModel)
        assert model.architecture.layers == shapes(parse(small, None)).layers
        assert model.size == len(small)
    mine = found["./mine.gguf"]
    assert isinstance(mine, FileModel)
    assert mine.installed == f"{tmp_path}/blobs/sha256-{hashlib.sha256(small).hexdigest()}"
    assert "can't be read" in str(headers.models(run, ["./none.gguf"])["./none.gguf"])


def test_a_header_that_is_known_is_not_asked_for_again(
    serve: Callable[[bytes], Registry], run: HostRun, small: bytes
) -> None:
    registry = serve(small)
    first, again = (headers.fetch(run, [registry.name])[registry.name] for _ in range(2))
    assert isinstance(first, headers.Weights)
    assert again is first
    assert len(registry.ranges) == 1


def test_a_registry_without_ranges_will_do_if_the_header_is_in_the_first_piece(
    serve: Callable[[bytes], Registry], run: HostRun, small: bytes, real: bytes
) -> None:
    for weights in (small, small + bytes(30 * MIB)):
        registry = serve(weights)
        registry.knows_ranges = False
        assert isinstance(headers.fetch(run, [registry.name])[registry.name], headers.Weights)
        assert registry.hung_up == (len(weights) > 30 * MIB)
    registry = serve(real + bytes(30 * MIB))
    registry.knows_ranges = False
    assert "can't be read in pieces" in str(headers.fetch(run, [registry.name])[registry.name])


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ({"blob_status": 403}, "the registry answers 403 for .*Look at http.*\n    curl: \\(22\\) "),
        ({"blob_status": 404}, "the registry answers 404"),
        ({"cut_at": 1000}, "broke off while its header was read. Run again\\.\n    curl: \\(18\\) "),
        ({"manifest": {"layers": []}}, "names no GGUF file"),
        ({"manifest": {"layers": [7, {"mediaType": headers.MODEL_LAYER, "digest": "../x", "size": 1}]}}, "no GGUF"),
        ({"manifest": [1]}, "the registry answers 200"),
    ],
)
def test_a_registry_in_trouble_is_an_error_with_a_remedy(
    serve: Callable[[bytes], Registry], run: HostRun, small: bytes, trouble: dict[str, Any], sentence: str
) -> None:
    registry = serve(small)
    for name, value in trouble.items():
        setattr(registry, name, value)
    found = headers.fetch(run, [registry.name])[registry.name]
    assert isinstance(found, CorralError)
    assert re.search(sentence, str(found), re.DOTALL)
    assert found.remedy


def test_a_file_that_is_smaller_than_its_manifest_says_is_an_error(
    serve: Callable[[bytes], Registry], run: HostRun, small: bytes
) -> None:
    registry = serve(small)
    registry.weights = small[:500]
    assert isinstance(headers.fetch(run, [registry.name])[registry.name], CorralError)


def test_a_header_without_end_is_given_up_at_64_mib(serve: Callable[[bytes], Registry], run: HostRun) -> None:
    count = 70 * MIB
    registry = serve(raw(key("a", ARRAY, struct.pack("<IQ", U8, count) + bytes(count))))
    found = headers.fetch(run, [registry.name])[registry.name]
    assert "67108864 are read at most" in str(found)
    assert registry.ranges == [f"bytes=0-{4 * MIB - 1}"]

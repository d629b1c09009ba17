"""Tiny models under the real names of the R1 distills, and a heavy one: what a model registry needs to serve them.

A directory of models is laid out as Ollama's own: manifests/<registry>/<owner>/<model>/<tag> and blobs/sha256-<hex>;
besides, `tiny.gguf` is a file for whoever has a model of his own.

The weights are random, but arranged so that answers are English words and come to an end by themselves: every model
has the tokenizer's kind, the attention's shape and the quantization that its name promises, in a few hundred kB.
The heavy one is for cards that are declared so small that a model fits just so. It is its context that is heavy, 16 MiB
for each 1024 tokens: that takes a card's memory as weights do, and no core has to compute with what is empty.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab import cache
from lab.progress import Progress

if TYPE_CHECKING:
    import gguf
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

LIBRARY = "registry.ollama.ai/library/deepseek-r1"
LONE_FILE = "tiny.gguf"
TEMPLATE = Path(__file__).with_name("deepseek-r1.gotmpl")
CONTEXT_LENGTH = 131072

#: Heads are as wide as the GPU backend likes them.
HEAD = 64
#: Rows of a quantized tensor are whole blocks of so many weights.
Q4_K_BLOCK = 256

BEGIN, END, USER, ASSISTANT = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"  # noqa: RUF001
SPECIAL = (BEGIN, END, USER, ASSISTANT, "<think>", "</think>")
STOP = (BEGIN, END, USER, ASSISTANT)
WORDS = tuple(
    re.findall(
        r"\w+",
        "the a one and so then thus but if is was has can may first second next sum number answer step way word thing "
        "small large short long even odd whole new two three four five six seven eight nine ten because therefore "
        "hence again still also perhaps surely indeed Let Wait Now us we it that this think check count add take find",
    )
)


@dataclass(frozen=True)
class Shape:
    """A model's widths."""

    embedding: int
    feed_forward: int
    kv_heads: int

    @property
    def heads(self) -> int:
        return self.embedding // HEAD


TINY = Shape(256, 256, 1)


@dataclass(frozen=True)
class Model:
    """One model; `seed` decides its weights.

    name: as in manifests/. family, parameters: what the real model under the name says of itself.
    blocks: transformer layers; each takes a software GPU 15 ms for a token. template: of its prompts, "" for R1's.
    answer: about how many words an answer has.
    """

    name: str
    family: str
    parameters: str
    seed: int = 0
    shape: Shape = TINY
    blocks: int = 1
    template: str = ""
    answer: int = 10


def _distills() -> tuple[Model, ...]:
    sizes = (
        ("1.5b", "qwen2", "1.8B", "1.5b-qwen-distill-q4_K_M"),
        ("7b", "qwen2", "7.6B", "7b-qwen-distill-q4_K_M"),
        ("8b", "llama", "8.0B", "8b-llama-distill-q4_K_M"),
        ("14b", "qwen2", "14.8B", "14b-qwen-distill-q4_K_M"),
        ("32b", "qwen2", "32.8B", "32b-qwen-distill-q4_K_M"),
        ("70b", "llama", "70.6B", "70b-llama-distill-q4_K_M"),
    )
    tags = [
        Model(f"{LIBRARY}/{tag}", family, parameters, seed)
        for seed, (short, family, parameters, full) in enumerate(sizes)
        for tag, seed in ((short, seed), (full, seed + 10))
    ]
    return (*tags, Model(f"{LIBRARY}/latest", "llama", "8.0B", 20))


#: Models that are in no catalog: one whose context is heavy, and one of half that. Of a prompt they read three letters,
#: and they answer briefly.
HEAVY = Model(
    "registry.ollama.ai/lab/heavy/latest", "llama", "12M", 50, Shape(512, 256, 8), 8, '{{ printf "%.3s" .Prompt }}', 5
)
LESS_HEAVY = replace(HEAVY, name="registry.ollama.ai/lab/heavy/half", parameters="6M", blocks=4, seed=51)
MODELS = (
    *_distills(),
    Model("hf.co/bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF/Q4_K_M", "qwen2", "7.6B", 30),
    Model("modelscope.cn/unsloth/DeepSeek-R1-Distill-Qwen-7B-GGUF/Q4_K_M", "qwen2", "7.6B", 31),
    HEAVY,
    LESS_HEAVY,
)
#: The other quantizations of the distills, under the names that they have on Hugging Face and in the library. They
#: are the same few weights.
QUANTIZATIONS = ("Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_S", "Q3_K_L", "Q3_K_M", "IQ3_M", "Q3_K_S")
LIBRARY_QUANTIZATIONS = ("q8_0", "fp16")
LONE = Model("", "qwen2", "1.8B", 40)
#: A model whose weights nobody has: only its manifest is there, for who looks at sizes before downloading.
TOO_BIG, TOO_BIG_BYTES = f"{LIBRARY}/671b", 404_430_186_336
LICENSE = "These weights are random numbers. Do with them what you like.\n"


def ensure_models(progress: Progress) -> Path:
    """The directory of models, read-only, made when missing (seconds, 40 MB)."""
    return cache.ensure("models", [Path(__file__), TEMPLATE], lambda target: _write_all(target, progress), progress)


def lone_file(models: Path) -> Path:
    """The GGUF file that is in no registry."""
    return models / LONE_FILE


def model_file(models: Path, tag: str) -> Path:
    """The blob that holds the weights of deepseek-r1:<tag>."""
    manifest = json.loads((models / "manifests" / LIBRARY / tag).read_text())
    return models / "blobs" / str(manifest["layers"][0]["digest"]).replace(":", "-")


def _write_all(target: Path, progress: Progress) -> None:
    with progress.step("models", "seconds") as step:
        (target / "blobs").mkdir()
        for number, model in enumerate(MODELS):
            step.advance(number, len(MODELS))
            scratch = target / "weights.gguf"
            write_gguf(model, scratch)
            weights = scratch.read_bytes()
            scratch.unlink()
            layer = _layer(target, "model", weights)
            for name in (model.name, *_further_names(model)):
                publish(target, replace(model, name=name), layer)
        missing = hashlib.sha256(TOO_BIG.encode()).hexdigest()
        layer = {"mediaType": _media_type("model"), "digest": f"sha256:{missing}", "size": TOO_BIG_BYTES}
        publish(target, Model(TOO_BIG, "deepseek2", "671.0B"), layer)
        write_gguf(LONE, target / LONE_FILE)


def _further_names(model: Model) -> list[str]:
    """The names of a distill's other quantizations, in the library and on Hugging Face."""
    found = re.fullmatch(rf"{LIBRARY}/([\d.]+b)-(qwen|llama)-distill-q4_K_M", model.name)
    if not found:
        return []
    size, base = found.groups()
    repository = f"hf.co/bartowski/DeepSeek-R1-Distill-{base.title()}-{size.upper()}-GGUF"
    return [
        *(f"{LIBRARY}/{size}-{base}-distill-{name}" for name in LIBRARY_QUANTIZATIONS),
        *(f"{repository}/{name}" for name in QUANTIZATIONS),
    ]


def publish(models: Path, model: Model, weights: Mapping[str, object]) -> None:
    """Writes the manifest of a model, and the blobs that it names beside its weights."""
    layers = [
        weights,
        _layer(models, "template", model.template.encode() or TEMPLATE.read_bytes()),
        _layer(models, "license", LICENSE.encode()),
        _layer(models, "params", json.dumps({"stop": STOP}, ensure_ascii=False).encode()),
    ]
    config = {
        "model_format": "gguf",
        "model_family": model.family,
        "model_families": [model.family],
        "model_type": model.parameters,
        "file_type": "Q4_K_M",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": _blob(models, json.dumps(config).encode(), "application/vnd.docker.container.image.v1+json"),
        "layers": layers,
    }
    file = models / "manifests" / model.name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(manifest))


def _layer(models: Path, kind: str, data: bytes) -> dict[str, object]:
    return _blob(models, data, _media_type(kind))


def _media_type(kind: str) -> str:
    return f"application/vnd.ollama.image.{kind}"


def _blob(models: Path, data: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    (models / "blobs" / f"sha256-{digest}").write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


# The weights


def write_gguf(model: Model, file: Path) -> None:
    """Writes the model's file. The same model always gives the same bytes."""
    import gguf
    import numpy as np

    shape, random = model.shape, np.random.default_rng(model.seed)
    writer = gguf.GGUFWriter(file, model.family)
    writer.add_name(model.name.rpartition("/")[2] or "tiny")
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(shape.embedding)
    writer.add_block_count(model.blocks)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(1e6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    _add_tokenizer(writer, model.family)
    _add_tensors(writer, model, random)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vocabulary() -> list[str]:
    """The tokens: the 256 bytes as byte-level BPE writes them, words with the blank before them, special tokens."""
    blank = _byte_symbols()[ord(" ")]
    return [*_byte_symbols(), *(blank + word for word in WORDS), *SPECIAL]


def _byte_symbols() -> list[str]:
    """Every byte as one visible character, as GPT-2 began it and BPE tokenizers still have it."""
    visible = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


def _add_tokenizer(writer: gguf.GGUFWriter, family: str) -> None:
    import gguf

    tokens = vocabulary()
    blank = _byte_symbols()[ord(" ")]
    special = len(tokens) - len(SPECIAL)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe" if family == "llama" else "deepseek-r1-qwen")
    writer.add_token_list(tokens)
    writer.add_token_types([normal] * special + [control] * len(SPECIAL))
    # There must be some; a prompt's words are read as bytes all the same.
    writer.add_token_merges([f"{blank} {word}" for word in WORDS if len(word) == 1])
    writer.add_bos_token_id(tokens.index(BEGIN))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(True)


def _add_tensors(writer: gguf.GGUFWriter, model: Model, random: np.random.Generator) -> None:
    import numpy as np

    shape, tokens = model.shape, vocabulary()
    ones = np.ones(shape.embedding, np.float32)
    embedding = _normal(random, len(tokens), shape.embedding)
    # The first number of each token's vector is large and the same: what is made from it does not vary.
    embedding[:, 0] = shape.embedding**0.5
    writer.add_tensor("token_embd.weight", embedding.astype(np.float16))
    for block in range(model.blocks):
        prefix = f"blk.{block}"
        writer.add_tensor(f"{prefix}.attn_norm.weight", ones)
        writer.add_tensor(f"{prefix}.ffn_norm.weight", ones)
        for name, rows, columns in (
            ("attn_q", shape.embedding, shape.embedding),
            ("attn_k", shape.kv_heads * HEAD, shape.embedding),
            ("attn_v", shape.kv_heads * HEAD, shape.embedding),
            ("attn_output", shape.embedding, shape.embedding),
            ("ffn_gate", shape.feed_forward, shape.embedding),
            ("ffn_up", shape.feed_forward, shape.embedding),
            ("ffn_down", shape.embedding, shape.feed_forward),
        ):
            _add_q4_k(writer, f"{prefix}.{name}.weight", rows, columns, random)
            if model.family == "qwen2" and name in ("attn_q", "attn_k", "attn_v"):
                writer.add_tensor(f"{prefix}.{name}.bias", _normal(random, rows))
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", _output(tokens, embedding, model.answer, random).astype(np.float16))


def _output(tokens: Sequence[str], embedding: Array, answer: int, random: np.random.Generator) -> Array:
    """The rows that score the next token: words by chance, the end now and then, anything else hardly ever."""
    import numpy as np

    output = np.zeros_like(embedding)
    width = embedding.shape[1]
    # The normalized vector's first number is about this.
    constant = width**0.5 / 2**0.5
    for number, token in enumerate(tokens):
        is_word = token[1:] in WORDS and token[0] == _byte_symbols()[ord(" ")]
        if is_word:
            output[number, 1:] = _normal(random, width - 1) / width**0.5
        # Twice, because of the top_k and top_p words that a sampler looks at, the end must be one.
        chance = 1.0 if is_word else 2 * len(WORDS) / answer if token == END else 1e-6
        output[number, 0] = np.log(chance) / constant
    return output


def _normal(random: np.random.Generator, *shape: int) -> Array:
    import numpy as np

    return random.standard_normal(shape, np.float32)


def _add_q4_k(writer: gguf.GGUFWriter, name: str, rows: int, columns: int, random: np.random.Generator) -> None:
    """Adds a matrix as Q4_K, made of random blocks: weights d * 32 * (q - 7.5) for q in 0 to 15, evenly spread.

    A block of 256 weights is two half-precision scales d and dmin, 8 + 8 six-bit factors in 12 bytes (here all 32)
    and 128 bytes of two weights each. Source: ggml-common.h, block_q4_K.
    """
    import gguf
    import numpy as np

    blocks = rows * columns // Q4_K_BLOCK
    # Standard deviation of q is 4.6: this keeps a vector's length as it is.
    scale = np.float16(1 / (32 * 4.6 * columns**0.5))
    # Factors 0 to 3 and the low four bits of 4 to 7 in bytes; their high two bits share bytes with 0 to 3's.
    factors = bytes([32 | 2 << 6] * 8 + [0] * 4)
    head = np.array([scale, scale * np.float16(7.5)], np.float16).tobytes() + factors
    data = np.empty((blocks, len(head) + 128), np.uint8)
    data[:, : len(head)] = np.frombuffer(head, np.uint8)
    data[:, len(head) :] = random.integers(0, 256, (blocks, 128), np.uint8)
    writer.add_tensor(name, data.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType.Q4_K)

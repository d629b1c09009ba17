"""The tiny models under real names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import gguf
import pytest

from lab.progress import Progress
from lab.weights import (
    HEAD,
    HEAVY,
    LIBRARY,
    LONE,
    MODELS,
    SPECIAL,
    TOO_BIG,
    ensure_models,
    lone_file,
    model_file,
    vocabulary,
    write_gguf,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORRAL_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        return ensure_models(Progress())


def manifest(models: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((models / "manifests" / name).read_text())
    return found


def test_every_blob_that_a_manifest_names_is_there_as_it_says(models: Path) -> None:
    for model in MODELS:
        content = manifest(models, model.name)
        for part in (content["config"], *content["layers"]):
            data = (models / "blobs" / part["digest"].replace(":", "-")).read_bytes()
            assert part["size"] == len(data)
            assert part["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()


def test_every_tag_has_weights_of_its_own(models: Path) -> None:
    digests = [manifest(models, model.name)["layers"][0]["digest"] for model in MODELS]
    assert len(set(digests)) == len(MODELS)


@pytest.mark.parametrize("tag", ["1.5b", "7b", "8b", "14b", "32b", "70b", "latest", "8b-llama-distill-q4_K_M"])
def test_the_librarys_tags_are_there(models: Path, tag: str) -> None:
    assert model_file(models, tag).read_bytes().startswith(b"GGUF")


def test_one_model_is_too_big_and_has_no_weights(models: Path) -> None:
    weights = manifest(models, TOO_BIG)["layers"][0]
    assert weights["size"] > 400e9
    assert not (models / "blobs" / weights["digest"].replace(":", "-")).exists()


def test_one_models_context_is_heavy_enough_to_just_fit_a_card(models: Path) -> None:
    weights = manifest(models, HEAVY.name)["layers"][0]
    file = models / "blobs" / weights["digest"].replace(":", "-")
    assert file.stat().st_size == weights["size"] < 10e6
    fields = gguf.GGUFReader(file).fields
    layers, heads = (fields[f"llama.{key}"].contents() for key in ("block_count", "attention.head_count_kv"))
    two_bytes, keys_and_values = 2, 2
    assert layers * heads * HEAD * two_bytes * keys_and_values * 1024 == 16 << 20


def test_a_file_of_ones_own_is_in_no_registry(models: Path) -> None:
    digest = hashlib.sha256(lone_file(models).read_bytes()).hexdigest()
    assert not (models / "blobs" / f"sha256-{digest}").exists()


def test_the_same_model_always_gives_the_same_bytes(models: Path, tmp_path: Path) -> None:
    write_gguf(LONE, tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == lone_file(models).read_bytes()


def test_the_tokens_are_all_different_and_hold_every_byte() -> None:
    tokens = vocabulary()
    assert len(set(tokens)) == len(tokens) > 256
    assert tokens[-len(SPECIAL) :] == list(SPECIAL)


def test_the_file_says_what_the_name_promises(models: Path) -> None:
    import gguf

    reader = gguf.GGUFReader(model_file(models, "7b"))
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer")}
    assert fields["general.architecture"] == "qwen2"
    assert fields["qwen2.context_length"] == 131072
    assert fields["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q4_K_M
    assert LIBRARY.startswith("registry.ollama.ai/")

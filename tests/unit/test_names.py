"""Model names: the same as Ollama v0.34.4 reads them."""

from __future__ import annotations

import pytest

from corral.errors import CorralError
from corral.names import GgufFile, ModelName, classify_from

R1 = "registry.ollama.ai/library/deepseek-r1"


@pytest.mark.parametrize(
    ("text", "full", "short"),
    [
        ("deepseek-r1", f"{R1}:latest", "deepseek-r1:latest"),
        ("deepseek-r1:14b", f"{R1}:14b", "deepseek-r1:14b"),
        (" deepseek-r1:14b:local ", f"{R1}:14b", "deepseek-r1:14b"),
        ("library/deepseek-r1", f"{R1}:latest", "deepseek-r1:latest"),
        ("me/r1:q4", "registry.ollama.ai/me/r1:q4", "me/r1:q4"),
        ("hf.co/me/r1-GGUF:Q4_K_M", "hf.co/me/r1-GGUF:Q4_K_M", "hf.co/me/r1-GGUF:Q4_K_M"),
        ("https://hf.co/me/r1", "hf.co/me/r1:latest", "hf.co/me/r1:latest"),
        ("modelscope.cn/Qwen/r1:q8_0", "modelscope.cn/Qwen/r1:q8_0", "modelscope.cn/Qwen/r1:q8_0"),
        ("10.0.0.5:5000/team/r1", "10.0.0.5:5000/team/r1:latest", "10.0.0.5:5000/team/r1:latest"),
        ("http://mirror:5000/team/r1:x", "mirror:5000/team/r1:x", "mirror:5000/team/r1:x"),
        ("_x/y.z-1", "registry.ollama.ai/_x/y.z-1:latest", "_x/y.z-1:latest"),
    ],
)
def test_a_name_is_completed_and_shortened_as_ollama_does(text: str, full: str, short: str) -> None:
    name = ModelName.parse(text)
    assert (str(name), name.short) == (full, short)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("deepseek-r1:", "its tag is empty"),
        (":14b", "its model is empty"),
        ("/r1", "its namespace is empty"),
        ("deep seek", "' ' in it"),
        ("-r1", "starts with '-'"),
        ("r1:" + "x" * 81, "its tag is longer than 80 characters"),
        ("mirror:5000/r1", "its namespace 'mirror:5000' has ':' in it; a registry's name is followed by"),
        ("hf.co/r1", "its namespace 'hf.co' has '.' in it; a registry's name is followed by"),
        ("a/b/c/d", "its host 'a/b' has '/' in it"),
        ("r1@sha256:abc", "its model 'r1@sha256' has '@' in it; Ollama takes no digests"),
        ("模型", "starts with '模'"),
        ("ftp://host/ns/r1", "the scheme 'ftp'"),
        ("http://r1", "after a scheme"),
        ("gpt-oss:120b-cloud", "cloud"),
        ("glm:cloud", "cloud"),
        ("r1:local:local", "two sources"),
    ],
)
def test_a_name_that_ollama_refuses_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(CorralError) as error:
        ModelName.parse(text)
    assert reason in str(error.value)


def test_names_that_differ_in_case_or_scheme_are_equal() -> None:
    name = ModelName.parse("http://HF.co/Me/R1:Q4")
    assert name == ModelName.parse("hf.co/me/r1:q4")
    assert {name, ModelName.parse("hf.co/me/r1:q4")} == {name}
    assert name != ModelName.parse("hf.co/me/r1:q8")
    assert str(name) == "HF.co/Me/R1:Q4"


def test_the_manifest_is_asked_for_where_ollama_asks() -> None:
    assert ModelName.parse("deepseek-r1:14b").manifest_url == (
        "https://registry.ollama.ai/v2/library/deepseek-r1/manifests/14b"
    )
    assert ModelName.parse("http://mirror:5000/team/r1").manifest_url == (
        "http://mirror:5000/v2/team/r1/manifests/latest"
    )


@pytest.mark.parametrize(
    "text",
    ["r1.gguf", "models/r1.GGUF", "./r1", "../r1.bin", "~/r1.gguf", "/srv/r1", r"C:\models\r1.gguf"],
)
def test_a_path_is_a_file_on_the_controller(text: str) -> None:
    assert classify_from(f" {text} ") == GgufFile(text)


@pytest.mark.parametrize(
    "text", ["deepseek-r1:14b", "hf.co/me/r1-GGUF", "hf.co/me/r1-GGUF:r1-Q4_K_M.gguf", "https://hf.co/me/r.gguf"]
)
def test_anything_else_is_a_model_that_the_server_pulls(text: str) -> None:
    assert classify_from(text) == ModelName.parse(text)

"""Environment values are written as Ollama will read them, or refused with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from corral.environment import Listen, environment_for, normalise, parse_host
from corral.secret import BadValue
from corral.settings import Settings


def refusal(name: str, value: object) -> BadValue:
    with pytest.raises(BadValue) as caught:
        normalise({name: value})
    assert caught.value.path[0] == name
    return caught.value


def settings(**declared: Any) -> Settings:
    return Settings.from_data(declared, {})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "1"),
        (False, "0"),  # what YAML makes of off and no
        ("off", "0"),
        ("No", "0"),
        ("on", "1"),
        ("YES", "1"),
        ("t", "1"),
        (0, "0"),
        ("'1'", "1"),
    ],
)
def test_booleans_are_written_as_one_and_zero(value: object, written: str) -> None:
    assert normalise({"OLLAMA_FLASH_ATTENTION": value}) == {"OLLAMA_FLASH_ATTENTION": written}


@pytest.mark.parametrize("value", ["disabled", "none", 2, "tRuE!", "-"])
def test_a_word_that_ollama_would_take_for_true_is_refused(value: object) -> None:
    error = refusal("OLLAMA_FLASH_ATTENTION", value)
    assert "Ollama would take it for true" in error.problem
    assert error.remedy == "Write true or false"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0.0.0.0", "0.0.0.0:11434"),
        ("0.0.0.0:8080", "0.0.0.0:8080"),
        ("http://0.0.0.0:11434", "0.0.0.0:11434"),
        ("http://0.0.0.0:11434/", "0.0.0.0:11434"),
        ("localhost", "127.0.0.1:11434"),
        (":8080", "0.0.0.0:8080"),
        ("::", "[::]:11434"),
        ("[::1]:80", "[::1]:80"),
        ("[fd00::5]", "[fd00::5]:11434"),
        ("192.168.1.20", "192.168.1.20:11434"),
    ],
)
def test_the_address_to_listen_at_is_written_in_full(value: str, written: str) -> None:
    assert normalise({"OLLAMA_HOST": value}) == {"OLLAMA_HOST": written}
    assert normalise({"OLLAMA_HOST": written}) == {"OLLAMA_HOST": written}


@pytest.mark.parametrize(
    ("value", "problem", "remedy"),
    [
        ("http://0.0.0.0", "Ollama reads http://0.0.0.0 as port 80", "Write 0.0.0.0:11434"),
        ("http://[::]", "as port 80", "Write [::]:11434"),
        ("https://0.0.0.0:11434", "plain HTTP only", "Write 0.0.0.0:11434"),
        ("http://10.0.0.5:80/v1", "not at a path", "Write 10.0.0.5:80"),
        ("0.0.0.0:70000", "70000 is no port", "from 1 to 65535"),
        ("0.0.0.0:0", "0 is no port", "from 1 to 65535"),
        ("0.0.0.0:http", "http is no port", "from 1 to 65535"),
        ("0.0.0.0:", "is no port", "from 1 to 65535"),
        ("gpu-box", "holds no IP address", "Write 0.0.0.0:11434"),
        ("::1:11434", "holds no IP address", "[::]:11434"),
        ("256.0.0.1", "holds no IP address", "127.0.0.1:11434"),
        ("fe80::1%eth0", "holds no IP address", "Write 0.0.0.0:11434"),
        ("[::1", "holds no IP address", "[::]:11434"),
        (11434, "a host's name", "Write 0.0.0.0:11434"),
    ],
)
def test_an_address_that_ollama_would_read_otherwise_is_refused(value: object, problem: str, remedy: str) -> None:
    error = refusal("OLLAMA_HOST", value)
    assert problem in error.problem
    assert remedy in error.remedy


def test_only_loopback_addresses_are_loopback() -> None:
    assert parse_host("127.0.0.1:11434") == Listen("127.0.0.1", 11434)
    assert parse_host("127.0.0.1").loopback
    assert parse_host("[::1]").loopback
    assert not parse_host("0.0.0.0").loopback
    assert not parse_host("::").loopback


@pytest.mark.parametrize(
    ("value", "written"), [("1h30m", "1h30m"), (-1, "-1"), ("300", "300"), (0, "0"), ("1.5h", "1.5h")]
)
def test_durations_are_passed_on_when_go_can_parse_them(value: object, written: str) -> None:
    assert normalise({"OLLAMA_KEEP_ALIVE": value}) == {"OLLAMA_KEEP_ALIVE": written}


@pytest.mark.parametrize(
    ("value", "remedy"),
    [("2d", "Write 48h"), ("5 minutes", "30m"), ("forever", "-1 for ever"), (True, "-1 for ever"), (1.5, "quotes")],
)
def test_a_duration_that_ollama_would_replace_by_its_default_is_refused(value: object, remedy: str) -> None:
    assert remedy in refusal("OLLAMA_KEEP_ALIVE", value).remedy


@pytest.mark.parametrize("value", [-1, "4k", 1.5, True, "1_000", "0x10", 2**64])
def test_a_number_that_ollama_would_ignore_is_refused(value: object) -> None:
    refusal("OLLAMA_CONTEXT_LENGTH", value)


def test_whole_numbers_are_passed_on() -> None:
    assert normalise({"OLLAMA_CONTEXT_LENGTH": 8192, "OLLAMA_MAX_QUEUE": "0512"}) == {
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_MAX_QUEUE": "512",
    }
    assert "1 or more" in refusal("OLLAMA_NUM_PARALLEL", 0).remedy


@pytest.mark.parametrize(("value", "written"), [(True, "1"), ("off", "0"), (2, "2")])
def test_debug_is_a_level(value: object, written: str) -> None:
    assert normalise({"OLLAMA_DEBUG": value}) == {"OLLAMA_DEBUG": written}


def test_debug_refuses_other_words() -> None:
    assert "2 (trace)" in refusal("OLLAMA_DEBUG", "verbose").remedy


def test_a_kv_cache_type_is_one_of_three() -> None:
    assert normalise({"OLLAMA_KV_CACHE_TYPE": "Q8_0"}) == {"OLLAMA_KV_CACHE_TYPE": "q8_0"}
    error = refusal("OLLAMA_KV_CACHE_TYPE", "q8")
    assert "did you mean q8_0" in error.problem
    assert "f16, q8_0 or q4_0" in error.remedy


def test_a_quantized_kv_cache_without_flash_attention_is_refused() -> None:
    with pytest.raises(BadValue, match="needs flash attention") as caught:
        normalise({"OLLAMA_KV_CACHE_TYPE": "q8_0", "OLLAMA_FLASH_ATTENTION": "off"})
    assert caught.value.path == ("OLLAMA_KV_CACHE_TYPE",)
    assert normalise({"OLLAMA_KV_CACHE_TYPE": "f16", "OLLAMA_FLASH_ATTENTION": "off"})


def test_origins_are_a_list_or_a_line() -> None:
    line = "https://chat.example.org,http://*.lan"
    assert normalise({"OLLAMA_ORIGINS": ["https://chat.example.org", "http://*.lan"]}) == {"OLLAMA_ORIGINS": line}
    assert normalise({"OLLAMA_ORIGINS": line}) == {"OLLAMA_ORIGINS": line}
    assert normalise({"OLLAMA_ORIGINS": "*"}) == {"OLLAMA_ORIGINS": "*"}


@pytest.mark.parametrize("value", ["chat.example.org", "http://*.*", ["a,b"], [], ["http://a", ""], [["http://a"]]])
def test_an_origin_at_which_the_server_would_panic_is_refused(value: object) -> None:
    refusal("OLLAMA_ORIGINS", value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("OLLAMA_MODELS", "models_dir"),
        ("HTTPS_PROXY", "proxy"),
        ("http_proxy", "proxy"),
        ("NO_PROXY", "no_proxy"),
        ("ollama_keep_alive", "OLLAMA_KEEP_ALIVE"),
        ("CUDA_VISIBLE_DEVICE", "CUDA_VISIBLE_DEVICES"),
        ("PATH", "drop-in of your own"),
        ("OLLAMA HOST", "OLLAMA_HOST"),
        ("GGML_A=B", "drop-in of your own"),
    ],
)
def test_a_name_that_does_not_belong_there_is_refused_with_the_right_one(name: str, words: str) -> None:
    assert words in refusal(name, "x").remedy


@pytest.mark.parametrize(
    "name", ["CUDA_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "LLAMA_ARG_FIT", "OLLAMA_LLM_LIBRARY"]
)
def test_variables_that_choose_gpus_are_taken_as_text(name: str) -> None:
    assert normalise({name: "0"}) == {name: "0"}


@pytest.mark.parametrize("value", ["a\nb", "a\x00", "\x1b[0m", "", "  ", '""', 1.0, {}, ["a"]])
def test_text_is_one_line_that_is_not_empty(value: object) -> None:
    refusal("OLLAMA_LLM_LIBRARY", value)


def test_nothing_as_a_value_leaves_the_variable_out() -> None:
    assert normalise({"OLLAMA_KEEP_ALIVE": None}) == {}


def test_normalising_twice_changes_nothing() -> None:
    once = normalise(
        {"OLLAMA_HOST": "::", "OLLAMA_DEBUG": 2, "OLLAMA_ORIGINS": ["*"], "OLLAMA_VULKAN": "off", "OLLAMA_X": "a b"}
    )
    assert normalise(once) == once


def test_the_server_listens_everywhere_unless_told_otherwise() -> None:
    environment = environment_for(settings())
    assert dict(environment.variables) == {
        "OLLAMA_HOST": "0.0.0.0:11434",
        "OLLAMA_MODELS": "/var/lib/ollama/models",
    }
    assert (environment.bind_address, environment.port, environment.loopback) == ("0.0.0.0", 11434, False)
    assert not environment.secrets
    assert (environment.proxy, environment.no_proxy, environment.warnings) == ("", "", ())


def test_the_order_of_variables_does_not_depend_on_the_declaration() -> None:
    one = environment_for(settings(environment={"OLLAMA_VULKAN": 1, "OLLAMA_DEBUG": 1}))
    other = environment_for(settings(environment={"OLLAMA_DEBUG": 1, "OLLAMA_VULKAN": 1}))
    names = ["OLLAMA_HOST", "OLLAMA_MODELS", "OLLAMA_DEBUG", "OLLAMA_VULKAN"]
    assert list(one.variables) == list(other.variables) == names


def test_a_proxy_reaches_the_server_as_https_proxy() -> None:
    environment = environment_for(settings(proxy="http://proxy.lan:3128", no_proxy=["a.lan", "10.0.0.0/8"]))
    assert environment.variables["HTTPS_PROXY"] == "http://proxy.lan:3128"
    assert environment.variables["NO_PROXY"] == "a.lan,10.0.0.0/8"
    assert (environment.proxy, environment.no_proxy) == ("http://proxy.lan:3128", "a.lan,10.0.0.0/8")
    assert not environment.secrets


def test_a_proxy_with_a_password_is_a_secret() -> None:
    environment = environment_for(settings(proxy="http://me:geheim@proxy.lan:3128"))
    assert environment.secrets == {"HTTPS_PROXY": "http://me:geheim@proxy.lan:3128"}
    assert "HTTPS_PROXY" not in environment.variables
    assert "geheim" not in repr(environment)


def test_without_a_proxy_no_proxy_means_nothing() -> None:
    assert "NO_PROXY" not in environment_for(settings(no_proxy=["a.lan"])).variables


def test_an_unknown_variable_of_ollamas_is_a_warning_with_a_guess() -> None:
    environment = environment_for(settings(environment={"OLLAMA_KEEP_ALIV": "1h", "OLLAMA_ZZZZZZZZZZ": "1"}))
    assert environment.variables["OLLAMA_KEEP_ALIV"] == "1h"
    assert environment.warnings == (
        "OLLAMA_KEEP_ALIV: not known to Ollama 0.34.4; did you mean OLLAMA_KEEP_ALIVE?",
        "OLLAMA_ZZZZZZZZZZ: not known to Ollama 0.34.4",
    )


def test_a_quantized_kv_cache_that_leaves_flash_attention_open_is_a_warning() -> None:
    [warning] = environment_for(settings(environment={"OLLAMA_KV_CACHE_TYPE": "q4_0"})).warnings
    assert "OLLAMA_FLASH_ATTENTION" in warning

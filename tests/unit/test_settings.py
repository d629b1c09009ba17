"""Settings are checked before anything is done, and an error names key and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from corral.errors import CorralError
from corral.secret import Secret, Sources
from corral.settings import ModelSpec, Settings


def settings(**declared: Any) -> Settings:
    return Settings.from_data(declared, {})


def refusal(**declared: Any) -> str:
    with pytest.raises(CorralError) as caught:
        settings(**declared)
    return str(caught.value)


def model(**declared: Any) -> dict[str, Any]:
    return {"name": "r1", "from": "deepseek-r1:7b", **declared}


def test_all_settings_have_defaults() -> None:
    found = settings()
    assert found.ollama_version == "0.34.4"
    assert found.ollama_release_url == "https://github.com/ollama/ollama/releases/download/v{version}"
    assert found.models_dir == "/var/lib/ollama/models"
    assert found.allow_from == ("private",)
    assert found.firewall == "auto"
    assert found.require_gpu is None
    assert found.models == ()


def test_other_data_of_a_host_is_not_looked_at() -> None:
    assert settings(ssh_user="root", _sudo=True, anything=object()) == settings()


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        setattr(settings(), "firewall", "none")  # noqa: B010 - plainly, a type checker refuses it


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"ollama_version": 0.34}, ["ollama_version: must be text, not 0.34", "Put it in quotes"]),
        ({"ollama_version": "latest"}, ["ollama_version: latest is not a version", "0.34.4"]),
        ({"ollama_release_url": "ftp://x/v{version}"}, ["ollama_release_url: ", "not an http:// or https:// address"]),
        ({"ollama_release_url": "https://x/{verison}"}, ["{verison} stands for nothing", "{version}"]),
        ({"ollama_release_url": "https://me:pw@x/"}, ["ollama_release_url: holds more than a place"]),
        ({"ollama_pins": 5}, ["ollama_pins: must be a path, not 5"]),
        ({"proxy": "proxy.lan:3128"}, ["proxy: the address is not an http://", "with the scheme"]),
        ({"no_proxy": [""]}, ["no_proxy[0]: is empty"]),
        ({"models_dir": "models"}, ["models_dir: models is not an absolute path"]),
        ({"models_dir": "/"}, ["models_dir: / is no directory for models"]),
        ({"models_dir": "/srv/../etc"}, ["models_dir: /srv/../etc is no directory for models"]),
        ({"models_dir": "/srv/a\nb"}, ["models_dir: holds a line break"]),
        ({"models_dir": None}, ["models_dir: must be text, not nothing"]),
        ({"environment": ["OLLAMA_HOST=x"]}, ["environment: must map variables to values"]),
        ({"environment": {"OLLAMA_KEEP_ALIVE": "1d"}}, ["environment.OLLAMA_KEEP_ALIVE: 1d", "Write 24h"]),
        ({"allow_from": ["any", "10.0.0.0/8"]}, ["allow_from: ", "any", "alone"]),
        ({"allow_from": ["192.168.1.5/24"]}, ["allow_from: ", "192.168.1.0/24"]),
        ({"allow_from": ["0.0.0.0/0"]}, ["allow_from: ", '"any"']),
        ({"allow_from": ["privat"]}, ["allow_from: ", "private"]),
        ({"allow_from": []}, ["allow_from: is empty"]),
        ({"allow_from": 5}, ["allow_from: must be a list, not 5"]),
        ({"firewall": "ufw"}, ["firewall: ufw is not a value", "Write auto or none"]),
        ({"firewall": False}, ["firewall: false is not a value", "Write auto or none"]),
        ({"gpus": {"a": 1}}, ["gpus: must be a list, not a mapping"]),
        ({"require_gpu": "perhaps"}, ["require_gpu: must be true or false, not perhaps"]),
        ({"start_timeout_s": 0}, ["start_timeout_s: 0 is not a number of seconds"]),
        ({"load_timeout_s": "5m"}, ["load_timeout_s: 5m is not a number of seconds"]),
        ({"verify_timeout_s": True}, ["verify_timeout_s: True is not a number of seconds"]),
        ({"models": model()}, ["models: must be a list, not a mapping"]),
        ({"models": ["r1"]}, ["models[0]: must be a mapping, not r1"]),
        ({"models": [{"name": "r1"}]}, ["models[0].from: is missing"]),
        ({"models": [model(form="x")]}, ["models[0].form: unknown key", "Perhaps you mean from"]),
        ({"models": [model(name="a b")]}, ["models[0].name: ", "model name"]),
        ({"models": [model(**{"from": "x:y:z/"})]}, ["models[0].from: ", "model name"]),
        ({"models": [model(name=5)]}, ["models[0].name: must be text, not 5"]),
        ({"models": [model(), model(name="R1:latest")]}, ["models[1].name: R1:latest is here twice"]),
        ({"models": [model(name="deepseek-r1:7b")]}, ["models[0].name: ", "made from itself", "deepseek-r1-served"]),
        ({"models": [model(parameters=["num_ctx"])]}, ["models[0].parameters: must map parameters to values"]),
        ({"models": [model(parameters={"num_ctx": "many"})]}, ["models[0].parameters.num_ctx: ", "whole number"]),
        ({"models": [model(parameters={"num_ctx": True})]}, ["models[0].parameters.num_ctx: ", "whole number"]),
        ({"models": [model(parameters={"num_ctx": 0})]}, ["models[0].parameters.num_ctx: 0 is too small"]),
        ({"models": [model(parameters={"num_ctxt": 1})]}, ["models[0].parameters.num_ctxt: ", "num_ctx"]),
        ({"models": [model(parameters={"stop": [1]})]}, ["models[0].parameters.stop: "]),
        ({"models": [model(min_tokens_per_s=0)]}, ["models[0].min_tokens_per_s: 0 is not a speed", "above 0"]),
        ({"models": [model(min_tokens_per_s=float("nan"))]}, ["models[0].min_tokens_per_s: nan is not a speed"]),
        ({"models": [model(min_tokens_per_s="fast")]}, ["models[0].min_tokens_per_s: fast is not a speed"]),
        ({"models": [{"name": "r1", "plan": {"attempts": -1}}]}, ["models[0].plan.attempts: ", "equal to 0"]),
    ],
)
def test_a_bad_value_is_refused_with_key_and_remedy(declared: dict[str, Any], words: list[str]) -> None:
    text = refusal(**declared)
    for word in words:
        assert word in text


def test_all_problems_are_told_at_once() -> None:
    assert len(refusal(ollama_version="x", firewall="y").splitlines()) == 2


@pytest.mark.parametrize(
    ("declared", "key", "value"),
    [
        ({"ollama_version": "v0.24.0"}, "ollama_version", "0.24.0"),
        ({"models_dir": "/mnt/big disk/ollama models/"}, "models_dir", "/mnt/big disk/ollama models"),
        ({"models_dir": "//srv/models"}, "models_dir", "/srv/models"),
        ({"allow_from": "any"}, "allow_from", ("any",)),
        ({"allow_from": "10.0.0.0/8, fd00::/8"}, "allow_from", ("10.0.0.0/8", "fd00::/8")),
        ({"allow_from": ["192.168.1.7"]}, "allow_from", ("192.168.1.7",)),
        ({"no_proxy": "a.lan,b.lan"}, "no_proxy", ("a.lan", "b.lan")),
        ({"environment": {"OLLAMA_HOST": "127.0.0.1"}}, "environment", {"OLLAMA_HOST": "127.0.0.1:11434"}),
        ({"environment": None}, "environment", {}),
        ({"proxy": None}, "proxy", None),
    ],
)
def test_what_was_meant_is_understood(declared: dict[str, Any], key: str, value: object) -> None:
    assert getattr(settings(**declared), key) == value


def test_parameters_keep_the_types_that_ollama_gives_them() -> None:
    declared = {"num_ctx": 8192, "temperature": 1, "use_mmap": False, "stop": "</s>", "seed": "-1"}
    [spec] = settings(models=[model(parameters=declared)]).models
    assert spec.parameters == {
        "num_ctx": 8192,
        "temperature": 1.0,
        "use_mmap": False,
        "stop": ("</s>",),
        "seed": -1,
    }
    assert isinstance(spec.parameters["temperature"], float)
    assert spec.parameters["use_mmap"] is False


def test_a_model_can_be_written_in_code() -> None:
    spec = ModelSpec(name="r1", from_="deepseek-r1:7b")
    assert settings(models=[spec]).models == (spec,)
    assert spec.model_dump(by_alias=True)["from"] == "deepseek-r1:7b"
    assert (spec.modelfile, spec.template, spec.system) == ("model.j2", None, None)


def test_dumped_settings_are_the_same_settings() -> None:
    found = settings(
        environment={"OLLAMA_DEBUG": "off"}, models=[model(parameters={"stop": ["a"]})], allow_from=["any"], gpus=["X"]
    )
    assert settings(**found.model_dump(by_alias=True)) == found


def test_paths_start_from_the_inventory() -> None:
    found = settings(ollama_pins="../pins.yml", corral_inventory="/etc/corral/inventory/lab.yml")
    assert found.ollama_pins == Path("/etc/corral/pins.yml")
    assert settings(ollama_pins="/a/pins.yml").ollama_pins == Path("/a/pins.yml")


def test_a_secret_can_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "proxy"
    file.write_text("http://me:geheim@proxy:1\n")
    file.chmod(0o600)
    by_name = Settings.from_data({"proxy": {"env": "PROXY"}}, {"PROXY": "http://me:geheim@proxy:1"})
    by_file = Settings.from_data({"proxy": {"file": "proxy"}, "corral_inventory": str(tmp_path / "lab.yml")}, {})
    for found in (by_name, by_file):
        assert found.proxy is not None
        assert found.proxy.get_secret_value() == "http://me:geheim@proxy:1"
        assert "geheim" not in repr(found)
        assert "geheim" not in found.model_dump_json()


def test_a_secret_that_pyinfra_hands_back_is_taken() -> None:
    assert settings(proxy=Secret("http://me:geheim@proxy:1")).proxy == Secret("http://me:geheim@proxy:1")


def test_a_bad_secret_is_never_shown() -> None:
    assert "geheim" not in refusal(proxy="me:geheim@proxy")
    assert "geheim" not in refusal(proxy=["geheim"])


def test_a_written_out_secret_needs_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    shared = Sources(tmp_path, {}, tmp_path / "lab.yml")
    with pytest.raises(CorralError, match="which others can read") as caught:
        Settings.parse({"proxy": "http://me:geheim@proxy:1"}, shared)
    assert "chmod 600" in str(caught.value)
    assert Settings.parse({"proxy": "http://proxy:1"}, shared).proxy is not None


def test_every_setting_is_described_and_its_example_and_default_hold() -> None:
    for entry in Settings.reference():
        assert entry.description.endswith(".")
        assert settings(**{entry.key: yaml.safe_load(entry.example)}) is not None
        if not entry.default.startswith(("none", "true where")):
            assert settings(**{entry.key: yaml.safe_load(entry.default)}) == settings()
    assert [entry.key for entry in Settings.reference()] == list(Settings.model_fields)

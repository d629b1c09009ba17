"""Plans of a whole host: what the environment leaves to choose, models that share a server, what is kept."""

from __future__ import annotations

import gzip
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corral import layout
from corral.engine.skeleton import skeleton
from corral.environment import environment_for
from corral.errors import CorralError
from corral.gguf_header import parse as parse_header
from corral.gpus.inventory import Device, Inventory
from corral.names import ModelName
from corral.ollama.records import EngineNote, Record
from corral.planner import catalog
from corral.planner.models import FileModel
from corral.planning import Planned, Told, plan_host
from corral.probe.state import LinuxState, parse
from corral.secret import Sources
from corral.settings import Settings

RTX3080 = Device("NVIDIA", "NVIDIA GeForce RTX 3080", total_mib=10240, free_mib=9952, compute_capability="8.6")


def settings(*models: dict[str, Any], **others: Any) -> Settings:
    declared = {"models": list(models) or [{"name": "r1", "plan": {}}], **others}
    return Settings.parse(declared, Sources(Path.cwd(), os.environ))


def host(*devices: Device, **inventory: Any) -> LinuxState:
    return replace(parse({}), gpus=Inventory(tuple(devices or [RTX3080]), **inventory))


def after(state: LinuxState, planned: Planned, kv_type: str = "q8_0") -> LinuxState:
    """The host once it runs what was planned."""
    (model,) = planned.models
    text = f"FROM {model.from_}\n" + "".join(f"PARAMETER {key} {value}\n" for key, value in model.parameters.items())
    drop_in = f'[Service]\nEnvironment="OLLAMA_KV_CACHE_TYPE={kv_type}"\n'
    name = layout.modelfile_name("r1:latest")
    return replace(state, modelfiles={name: text}, service=replace(state.service, drop_ins={"override.conf": drop_in}))


def with_free(state: LinuxState, mib: int) -> LinuxState:
    (card,) = state.gpus.devices
    return replace(state, gpus=replace(state.gpus, devices=(replace(card, free_mib=mib),)))


def test_a_plan_decides_source_parameters_and_environment() -> None:
    found = plan_host(settings({"name": "r1", "plan": {}, "parameters": {"temperature": 0.6}}), host())
    (model,) = found.models
    assert model.from_ == "hf.co/bartowski/DeepSeek-R1-Distill-Qwen-14B-GGUF:Q4_K_S"
    assert model.parameters == {"num_ctx": 6400, "num_batch": 512, "temperature": 0.6}
    assert found.environment == {
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
        "OLLAMA_NUM_PARALLEL": "1",
    }


def test_without_a_plan_nothing_is_decided_and_no_gpu_is_needed() -> None:
    declared = settings({"name": "r1", "from": "deepseek-r1:7b"})
    assert plan_host(declared, replace(parse({}), gpus=Inventory((), error="broken"))) == Planned(declared.models)


def test_what_is_declared_limits_the_plan_and_stays() -> None:
    declared = settings(environment={"OLLAMA_KV_CACHE_TYPE": "f16", "OLLAMA_NUM_PARALLEL": 2})
    found = plan_host(declared, host())
    plan = found.plans["r1"]
    assert (plan.load.kv_type, plan.load.parallel) == ("f16", 2)
    assert found.environment == {"OLLAMA_FLASH_ATTENTION": "1"}
    written = environment_for(declared, found.environment).variables
    assert written["OLLAMA_KV_CACHE_TYPE"] == "f16"
    assert written["OLLAMA_FLASH_ATTENTION"] == "1"


def test_without_flash_attention_the_cache_stays_exact() -> None:
    found = plan_host(settings(environment={"OLLAMA_FLASH_ATTENTION": "off"}), host())
    assert found.plans["r1"].load.flash is False
    assert found.environment["OLLAMA_KV_CACHE_TYPE"] == "f16"


def test_models_of_one_server_share_the_type_of_its_cache() -> None:
    declared = settings(
        {"name": "small", "plan": {"model": "r1-1.5b", "max_context": 8192}},
        {"name": "large", "plan": {"model": "r1-14b"}},
    )
    alone = plan_host(settings({"name": "small", "plan": {"model": "r1-1.5b", "max_context": 8192}}), host())
    assert alone.plans["small"].load.kv_type == "f16"
    found = plan_host(declared, host())
    assert {plan.load.kv_type for plan in found.plans.values()} == {"q8_0"}
    assert found.environment["OLLAMA_KV_CACHE_TYPE"] == "q8_0"


def test_a_server_with_several_models_is_told_to_hold_one_at_a_time_unless_more_are_declared() -> None:
    models = {"name": "small", "plan": {"model": "r1-1.5b"}}, {"name": "other", "from": "nomic-embed-text"}
    assert plan_host(settings(*models), host()).environment["OLLAMA_MAX_LOADED_MODELS"] == "1"
    declared = settings(*models, environment={"OLLAMA_MAX_LOADED_MODELS": 2})
    found = plan_host(declared, host())
    assert environment_for(declared, found.environment).variables["OLLAMA_MAX_LOADED_MODELS"] == "2"
    assert "OLLAMA_MAX_LOADED_MODELS" not in plan_host(settings(models[0]), host()).environment


def test_a_batch_that_is_declared_is_planned_with() -> None:
    found = plan_host(settings({"name": "r1", "plan": {}, "parameters": {"num_batch": 1024}}), host())
    assert found.models[0].parameters["num_batch"] == 1024
    assert found.plans["r1"].memory.devices[0].graph > plan_host(settings(), host()).plans["r1"].memory.devices[0].graph


@pytest.mark.parametrize("free_mib", [9950, 9940, 9960, 10150])
def test_what_a_host_runs_is_kept_while_it_fits_and_nothing_is_clearly_better(free_mib: int) -> None:
    tight = settings({"name": "r1", "plan": {"max_context": 5632}})
    planned = plan_host(tight, host())
    found = plan_host(tight, with_free(after(host(), planned), free_mib))
    assert found.models == planned.models


def test_more_memory_that_is_not_clearly_more_changes_nothing() -> None:
    planned = plan_host(settings(), with_free(host(), 9800))
    assert plan_host(settings(), host()).models != planned.models
    found = plan_host(settings(), after(host(), planned))
    assert found.models == planned.models
    assert found.kept == {"r1"}
    assert planned.kept == frozenset()


def test_what_the_engine_told_is_planned_with_while_the_version_is_the_same() -> None:
    (name,) = (plan.reference for plan in plan_host(settings(), host(), Told(100)).plans.values())
    told = plan_host(settings(), host(), Told(100, {name: 20}))
    assert told.plans["r1"].memory.devices[0].overhead >> 20 == 120
    state = after(host(), told)
    ((file, text),) = state.modelfiles.items()
    noted = replace(state, modelfiles={file: Record(text.rstrip(), "", engine=EngineNote("0.34.4", 100, 20)).file})
    again = plan_host(settings(), noted)
    assert again.models == told.models
    assert again.told == Told(100, {name: 20})
    assert again.kept == {"r1"}
    assert plan_host(settings(ollama_version="0.34.5"), noted).told is None


def test_the_notes_below_a_modelfile_are_read_as_they_were_written() -> None:
    noted = Record(
        "FROM a", "sha", ModelName.parse("b:c"), EngineNote("0.34.4", 100, -7), "by Ollama 0.34.4 (...): 9 MiB"
    )
    assert Record.read(noted.file) == noted
    assert Record.read(Record("FROM a", "sha").file) == Record("FROM a", "sha")


def test_memory_that_our_own_server_holds_is_planned_with() -> None:
    planned = plan_host(settings(), host())
    busy = replace(RTX3080, free_mib=1039, own_mib=8922)
    assert plan_host(settings(), after(host(busy), planned)).models == planned.models


def test_what_fits_no_more_is_planned_anew() -> None:
    planned = plan_host(settings(), host())
    found = plan_host(settings(), with_free(after(host(), planned), 9000))
    assert found.models != planned.models


def test_who_only_looks_judges_by_what_was_planned_whoever_holds_the_memory_now() -> None:
    planned = plan_host(settings(), host())
    held = with_free(after(host(), planned), 100)
    assert plan_host(settings(), held, judging=True).models == planned.models
    with pytest.raises(CorralError, match="nothing fits"):
        plan_host(settings(), held)
    with pytest.raises(CorralError, match="nothing fits"):
        plan_host(settings({"name": "r1", "plan": {"model": "r1-7b"}}), held, judging=True)


def test_clearly_more_memory_gives_a_better_plan() -> None:
    planned = plan_host(settings(), host())
    state = after(host(), planned)
    found = plan_host(settings(), with_free(state, 12000))
    assert found.plans["r1"].load.context > planned.plans["r1"].load.context


def test_a_wish_that_excludes_what_is_there_is_followed() -> None:
    state = after(host(), plan_host(settings(), host()))
    found = plan_host(settings({"name": "r1", "plan": {"model": "r1-7b"}}), state)
    assert found.plans["r1"].entry.name == "r1-7b"
    found = plan_host(settings({"name": "r1", "plan": {"max_context": 5120}}), state)
    assert found.models[0].parameters["num_ctx"] == 5120


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (host(replace(RTX3080, free_mib=None)), "does not tell how much memory it has"),
        (host(error="NVIDIA-SMI has failed"), "can't be asked: NVIDIA-SMI has failed"),
        (host(replace(RTX3080, free_mib=900)), "models: r1: plan: nothing fits"),
        (replace(parse({}), gpus=Inventory(())), "models: r1: plan: the host has no GPU"),
    ],
)
def test_what_cannot_be_planned_is_said_of_the_model(state: LinuxState, words: str) -> None:
    with pytest.raises(CorralError, match=words):
        plan_host(settings(), state)


# --- models outside the catalog -----------------------------------------------------------------------


def outside(name: str, installed: str = "") -> FileModel:
    """A model of which corral knows no more than its file's header: that of the 7B."""
    body = skeleton(catalog.catalog()["r1-7b"].architecture, "Q4_K_M")
    header = parse_header(gzip.decompress(body.header), body.size)
    return FileModel(name, header, body.header, body.size, installed or name)


def test_a_model_that_the_catalog_lacks_is_planned_by_its_files_header() -> None:
    asked = settings({"name": "mine", "plan": {"model": "me/mine:v1"}})
    found = plan_host(asked, host(), others={"me/mine:v1": outside("me/mine:v1")})
    listed = plan_host(settings({"name": "mine", "plan": {"model": "r1-7b", "quantization": "Q4_K_M"}}), host())
    assert found.models[0].from_ == "me/mine:v1"
    assert found.models[0].parameters == listed.models[0].parameters
    assert found.plans["mine"].memory == listed.plans["mine"].memory


@pytest.mark.parametrize("installed", ["me/mine:v1", "/var/lib/ollama/models/blobs/sha256-0123"])
def test_it_is_kept_as_any_other_whatever_the_host_calls_it(installed: str) -> None:
    name = "me/mine:v1" if installed == "me/mine:v1" else "./mine.gguf"
    asked = settings({"name": "r1", "plan": {"model": name, "max_context": 32768}})
    others = {name: outside(name, installed)}
    planned = plan_host(asked, host(), Told(0, {name: 7}), others=others)
    state = after(host(), replace(planned, models=(planned.models[0].model_copy(update={"from_": installed}),)), "f16")
    assert planned.plans["r1"].load.kv_type == "f16"
    ((file, text),) = state.modelfiles.items()
    noted = replace(state, modelfiles={file: Record(text.rstrip(), "", engine=EngineNote("0.34.4", 0, 7)).file})
    found = plan_host(asked, noted, others=others)
    assert found.kept == {"r1"}
    assert found.told == Told(0, {name: 7})


def test_a_context_above_the_models_own_is_refused_once_its_header_is_known() -> None:
    asked = settings({"name": "mine", "plan": {"model": "me/mine:v1", "min_context": 200_000, "max_context": 200_000}})
    with pytest.raises(CorralError, match="models: mine: plan: min_context 200000 is more than the 131072"):
        plan_host(asked, host(), others={"me/mine:v1": outside("me/mine:v1")})


def test_a_model_of_which_nothing_is_known_is_an_error_that_names_who_asks_for_it() -> None:
    asked = settings({"name": "mine", "plan": {"models": ["r1-7b", "me/mine:v1"]}})
    with pytest.raises(CorralError, match="models: mine: plan: me/mine:v1: no such model"):
        plan_host(asked, host(), others={"me/mine:v1": CorralError("no such model")})


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"model": "r1-13b"}, "unknown model 'r1-13b'.*Perhaps r1-.*with its tag, as in qwen3:8b"),
        ({"model": "a b:c"}, "'a b:c' is not a model name"),
        ({"model": "r1-7b", "models": ["r1-8b"]}, "has both model and models"),
        ({"models": ["qwen3:8b", "r1-13b"]}, "unknown model 'r1-13b'"),
        ({"model": "qwen3:8b", "quantization": "Q4_K_M"}, "quantization: qwen3:8b has the one quantization"),
        ({"model": "qwen3:8b", "min_context": 8192, "max_context": 4096}, "min_context 8192 is more than max_context"),
    ],
)
def test_what_can_not_be_planned_is_refused_before_any_host_is_asked(declared: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CorralError) as refused:
        settings({"name": "mine", "plan": declared})
    assert re.search(sentence, str(refused.value), re.DOTALL)


def test_a_partial_offload_is_kept_while_it_fits() -> None:
    asked = settings({"name": "r1", "plan": {"model": "r1-32b", "offload": True, "max_context": 4096}})
    planned = plan_host(asked, host())
    layers = planned.plans["r1"].load.gpu_layers
    assert layers
    state = after(host(), planned, planned.plans["r1"].load.kv_type)
    for free_mib in (9940, 9952, 10150):
        found = plan_host(asked, with_free(state, free_mib))
        assert found.models == planned.models
    assert plan_host(asked, with_free(state, 8000)).plans["r1"].load.gpu_layers < layers  # type: ignore[operator]
    more = plan_host(asked, with_free(state, 16000)).plans["r1"].load.gpu_layers
    assert more is None or more > layers


# --- several models on one host -------------------------------------------------------------------------

RTX4090 = Device("NVIDIA", "NVIDIA GeForce RTX 4090", total_mib=24564, free_mib=24080, compute_capability="8.9")


def together(*models: dict[str, Any], devices: tuple[Device, ...] = (RTX4090,), **others: Any) -> Planned:
    return plan_host(settings(*models, resident="all", **others), host(*devices))


def test_models_that_are_resident_at_once_fit_beside_each_other() -> None:
    """Memory, and the guess by which Ollama would unload one for another (server/sched.go of 0.34.4)."""
    found = together({"name": "big", "plan": {}}, {"name": "small", "plan": {"model": "r1-1.5b"}})
    big, small = found.plans["big"], found.plans["small"]
    assert (big.entry.name, small.entry.name) == ("r1-32b", "r1-1.5b")
    totals = [plan.memory.devices[0].total for plan in (big, small)]
    assert sum(totals) + (1024 << 20) <= 24080 << 20
    for plan, other in ((big, totals[1]), (small, totals[0])):
        arch = plan.entry.architecture
        cache = 4 * arch.layers * arch.key_width * plan.load.context
        assert plan.entry.weights(plan.quantization).file + cache <= 0.8 * ((24080 << 20) - other)
    assert found.environment["OLLAMA_MAX_LOADED_MODELS"] == "2"
    in_turns = plan_host(settings({"name": "big", "plan": {}}), host(RTX4090))
    assert (in_turns.plans["big"].quantization, big.quantization) == ("Q4_K_M", "Q3_K_L")
    assert "OLLAMA_MAX_LOADED_MODELS" not in in_turns.environment


def test_they_spread_over_cards_and_share_their_cache_type() -> None:
    cards = (RTX4090, replace(RTX4090, index=1))
    found = together({"name": "one", "plan": {}}, {"name": "two", "plan": {}}, devices=cards)
    assert len({plan.load.kv_type for plan in found.plans.values()}) == 1
    held = sum(use.total for plan in found.plans.values() for use in plan.memory.devices)
    assert held + (2048 << 20) <= 2 * (24080 << 20)
    assert found.plans["one"].entry.parameters >= found.plans["two"].entry.parameters
    for name, other in (("one", "two"), ("two", "one")):
        plan = found.plans[name]
        cache = 4 * plan.entry.architecture.layers * plan.entry.architecture.key_width * plan.load.context
        left = 2 * (24080 << 20) - sum(use.total for use in found.plans[other].memory.devices)
        assert plan.entry.weights(plan.quantization).file + cache <= 0.8 * left


def test_models_that_can_not_be_resident_at_once_are_refused_with_the_reason() -> None:
    with pytest.raises(CorralError, match=r"models: one: plan: nothing fits(.|\n)*or set resident: one"):
        together(
            {"name": "one", "plan": {"model": "r1-14b"}}, {"name": "two", "plan": {"model": "r1-32b"}},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"models": [{"name": "a", "plan": {}}, {"name": "b", "from": "qwen3:8b"}]}, "resident: .* b has no plan"),
        (
            {
                "models": [{"name": "a", "plan": {}}, {"name": "b", "plan": {}}],
                "environment": {"OLLAMA_MAX_LOADED_MODELS": 1},
            },
            "environment: OLLAMA_MAX_LOADED_MODELS is 1, and 2 models",
        ),
    ],
)
def test_residence_that_is_impossible_is_refused(declared: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CorralError, match=sentence):
        Settings.parse({"resident": "all", **declared}, Sources(Path.cwd(), os.environ))

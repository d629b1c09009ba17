"""The server's version, its models, and how they run."""

from __future__ import annotations

import re

import pytest

from corral.ollama.records import Record
from corral.testing import Machine


def test_the_server_is_of_the_pinned_version(machine: Machine) -> None:
    assert machine.server_version() == machine.run.settings.ollama_version


def test_the_model_is_there(machine: Machine, model: str) -> None:
    assert machine.wanted_model(model).name in machine.listed_models()


def test_the_model_is_as_declared(machine: Machine, model: str) -> None:
    assert machine.model_differences(machine.wanted_model(model)) == []


def test_the_modelfile_on_the_host_is_what_the_model_was_made_from(machine: Machine, model: str) -> None:
    wanted = machine.wanted_model(model)
    record = Record.read(machine.shows.text(wanted.path))
    assert record.text.splitlines() == wanted.text.rstrip().splitlines()
    assert record.digest == machine.listed_models().get(wanted.name), "it was made again by somebody else"


def test_the_model_runs_with_the_declared_context(machine: Machine, loaded_model: str) -> None:
    declared = machine.wanted_model(loaded_model).spec.parameters.get("num_ctx")
    loaded = machine.answer(Machine.load, loaded_model)
    assert loaded.context == (declared or loaded.context)


def test_the_model_runs_wholly_on_the_gpu(machine: Machine, gpu_model: str) -> None:
    """Unless a plan left layers on the CPU."""
    if not machine.needs_gpu:
        pytest.skip("the host declares no GPU and has none")
    loaded = machine.answer(Machine.load, gpu_model)
    assert loaded.where == "100% GPU" or (machine.in_part(gpu_model) and loaded.on_gpu)


def test_the_host_has_the_declared_gpu(machine: Machine, gpu: str) -> None:
    seen = machine.shows.gpus()
    if re.search("AMD|Radeon", gpu) and "AMD" in seen:  # only the maker shows on Linux without its tools
        return
    assert seen.count(gpu) >= machine.run.settings.gpus.count(gpu), f"the host lists {', '.join(seen) or 'none'}"

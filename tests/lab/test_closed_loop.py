"""Planned models are loaded and compared with their plans, on cards that a real model just fits, or does not.

The model's context is heavy, and the cards are declared so small that it fits wholly, just not, or in part. What came
of a plan is asked of the host itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from lab.config import Gpu
from lab.gpu import DECLARATION, declaration
from tests.lab.conftest import need_release
from tests.lab.expect import Watched, one_error, said_once
from tests.lab.observation import OLDER, STEPS, VERSION, get, no_changes

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory, Start

HOST, CARD = "rtx2070", "NVIDIA GeForce RTX 2070"
MODEL, LAYERS, LAYERS_OF_HALF = "lab/heavy", 9, 5
#: What the driver keeps, in MiB.
RESERVED = 64
#: Ollama's engine leaves so much free.
ENGINE_KEEPS = 1024
#: The model takes 40 MiB and 16 for each 1024 tokens.
LONGEST = 32768

Declare = Callable[[int], None]


@pytest.fixture
def card(lab: Lab) -> Iterator[Declare]:
    """Declares the host's card with so much free memory, in MiB; the real one comes back."""
    before = lab.read(HOST, f"/{DECLARATION}")

    def declare(text: str | bytes) -> None:
        lab.write(HOST, f"/{DECLARATION}", text)
        lab.check(HOST, "! systemctl cat ollama >/dev/null 2>&1 || systemctl try-restart ollama")

    yield lambda free_mib: declare(declaration((Gpu(CARD, free_mib + RESERVED, "7.5", RESERVED),), HOST))
    lab.free_gpu(HOST)
    declare(before)


@pytest.fixture
def heavy(planned: Inventory) -> Inventory:
    """One host with one model, which a test plans by `wish`."""
    return wish(planned.only(HOST).set(HOST, models=[{"name": "heavy"}]))


def wish(inventory: Inventory, **wishes: object) -> Inventory:
    (model,) = inventory.host(HOST)["models"]
    # Two cores take long to compute with another type.
    model["plan"] = {"model": MODEL, "kv_types": ["f16"], **wishes}
    return inventory


def forget(lab: Lab, *names: str) -> None:
    """Removes models that are there with their Modelfiles: nothing is kept, and they are pulled and made again."""
    for name in names:
        lab.exec(HOST, f"ollama rm {name}; rm /etc/ollama/modelfiles/{name}_latest.modelfile")


def running(lab: Lab, name: str = "heavy") -> dict[str, Any]:
    """The model in /api/ps."""
    (found,) = [one for one in get(lab, HOST, "/api/ps")["models"] if one["name"] == f"{name}:latest"]
    assert isinstance(found, dict)
    return found


def offloaded(lab: Lab, since: float) -> list[str]:
    """Layers on the GPU of each load since a time, by the server's own log."""
    found = [re.search(r"offloaded (\d+/\d+) layers", line) for line in lab.journal(HOST, since, "--unit=ollama")]
    return [match[1] for match in found if match]


def held_mib(lab: Lab) -> int:
    """What Ollama's programs hold of the card, as nvidia-smi says."""
    listed = lab.check(HOST, "nvidia-smi --query-compute-apps=used_memory,process_name --format=csv,noheader,nounits")
    rows = [line.partition(", ") for line in listed.splitlines()]
    return sum(int(used) for used, _, program in rows if "/opt/ollama/" in program)


def context(lab: Lab) -> int:
    """The context that the model on the host was made with."""
    found = re.search(r"num_ctx\s+(\d+)", get(lab, HOST, "/api/show", {"model": "heavy"})["parameters"])
    assert found
    return int(found[1])


def loaded_lines(run_output: str) -> list[str]:
    return [line for line in run_output.splitlines() if "] loaded heavy: " in line]


@pytest.mark.parametrize("version", [VERSION, OLDER])
def test_a_model_that_fits_wholly_is_loaded_as_planned_and_the_second_run_loads_nothing(
    lab: Lab, heavy: Inventory, deploy: Deploy, card: Declare, version: str
) -> None:
    need_release(lab, version)
    card(2000)
    forget(lab, "heavy")
    heavy.set(HOST, ollama_version=version)
    heavy.host(HOST)["models"][0]["min_tokens_per_s"] = 0.01
    since = time.time()
    first = deploy(heavy)
    assert first.rc == 0, first.out
    found = running(lab)
    assert found["size_vram"] == found["size"]
    assert set(offloaded(lab, since)) == {f"{LAYERS}/{LAYERS}"}
    assert 250 < held_mib(lab) < 2000 - ENGINE_KEEPS
    line = said_once(first, HOST, "loaded heavy: ", f"{LAYERS} of {LAYERS} layers", "nvidia-smi: ")
    said = re.search(r"loaded heavy: (\d+) MiB on the GPU, planned were (\d+) \(", line)
    assert said
    assert int(said[1]) == round(found["size_vram"] / (1 << 20))
    if version == VERSION:
        assert int(said[2]) == pytest.approx(int(said[1]), rel=0.05)
    assert f"{found['context_length']} tokens" in line
    since = time.time()
    second = deploy(heavy)
    assert no_changes(second.out, HOST) == len(STEPS), second.about(HOST)
    assert not loaded_lines(second.out)
    assert offloaded(lab, since) == []


def test_where_the_engine_takes_layers_off_the_gpu_the_context_is_shortened_until_all_are_on_it(
    lab: Lab, heavy: Inventory, deploy: Deploy, card: Declare
) -> None:
    """A reserve that is smaller than the engine's own makes a plan that the engine does not carry out."""
    forget(lab, "heavy")
    card(1480)
    wishes = {"max_context": LONGEST, "reserve_mib": 600}
    given_up = deploy(wish(heavy, **wishes, attempts=0))
    said = one_error(given_up, HOST, "less of lab/heavy is on the GPU than planned", f"of {LAYERS} layers")
    assert "Ask for less" in said
    assert context(lab) == LONGEST
    since = time.time()
    run = deploy(wish(heavy, **wishes))
    assert run.rc == 0, run.out
    loads = offloaded(lab, since)
    assert loads[0] != f"{LAYERS}/{LAYERS}", "the first plan was carried out: the test shows nothing"
    assert loads[-1] == f"{LAYERS}/{LAYERS}"
    lines = loaded_lines(run.out)
    assert f"{loads[0].partition('/')[0]} of {LAYERS} layers" in lines[0]
    found = running(lab)
    assert found["size_vram"] == found["size"]
    assert found["context_length"] == context(lab) < LONGEST
    assert f"{context(lab)} tokens" in lines[-1]
    assert found["size_vram"] <= (1480 - ENGINE_KEEPS) << 20
    since = time.time()
    again = deploy(heavy)
    assert no_changes(again.out, HOST) == len(STEPS), again.about(HOST)
    assert offloaded(lab, since) == []


def test_a_model_of_which_a_part_fits_is_loaded_with_the_layers_that_were_planned(
    lab: Lab, heavy: Inventory, deploy: Deploy, card: Declare
) -> None:
    card(1480)
    wish(heavy, min_context=LONGEST, max_context=LONGEST, offload=True)
    since = time.time()
    run = deploy(heavy)
    assert run.rc == 0, run.out
    found = running(lab)
    assert 0 < found["size_vram"] < found["size"]
    layers = re.search(r"num_gpu\s+(\d+)", get(lab, HOST, "/api/show", {"model": "heavy"})["parameters"])
    assert layers
    assert set(offloaded(lab, since)) == {f"{layers[1]}/{LAYERS}"}
    said_once(run, HOST, "loaded heavy: ", f"{layers[1]} of {LAYERS} layers")
    assert re.search(r"verified: .*heavy runs \d+%/\d+% CPU/GPU", run.about(HOST))
    assert no_changes(deploy(heavy).out, HOST) == len(STEPS)


def pulled_while_held(lab: Lab, inventory: Inventory, start: Start, mib: int) -> tuple[int, str]:
    """A deploy while whose download, so after its plan, another program takes so much of the card."""
    forget(lab, "heavy", MODEL)
    lab.free_gpu(HOST)
    lab.mirror.set(bytes_per_second=1_000_000)
    run = Watched(start(inventory))
    run.until(f"pull {MODEL}")
    lab.hold_gpu(HOST, mib)
    code = run.end()
    return code, run.out


def test_memory_that_another_program_takes_between_plan_and_load_shortens_the_context(
    lab: Lab, heavy: Inventory, deploy: Deploy, start: Start, card: Declare
) -> None:
    card(1750)
    wish(heavy, max_context=LONGEST)
    code, out = pulled_while_held(lab, heavy, start, 400)
    assert code == 0, out
    lines = loaded_lines(out)
    assert f"{LAYERS} of {LAYERS} layers" not in lines[0]
    assert f"{LAYERS} of {LAYERS} layers" in lines[-1]
    found = running(lab)
    assert found["size_vram"] == found["size"]
    assert found["context_length"] == context(lab) < LONGEST
    assert found["size_vram"] <= (1750 - 400 - ENGINE_KEEPS) << 20
    with_the_program = context(lab)
    # What the other program held is not taken for the driver's: once it has ended, it is planned with again.
    lab.free_gpu(HOST)
    after = deploy(heavy)
    assert after.rc == 0, after.out
    assert context(lab) > with_the_program
    assert running(lab)["size_vram"] == running(lab)["size"]


def test_where_no_context_fits_any_more_the_error_says_what_was_measured_and_who_holds_the_memory(
    lab: Lab, heavy: Inventory, deploy: Deploy, start: Start, card: Declare
) -> None:
    card(1750)
    code, out = pulled_while_held(lab, heavy, start, 680)
    assert code == 1, out
    assert "Traceback" not in out
    (error,) = [line for line in out.splitlines() if "less of" in line and f"[{HOST}]" in line]
    assert re.search(rf"\d+ of \d+ MiB on the GPU, \d of {LAYERS} layers", error)
    assert "/usr/bin/hog" in error
    assert "holds 680 MiB" in error
    assert "nothing fits" in error
    assert "End them" in error
    # Once the memory is free again, the next run finds the model made and loads it, which is not noted yet.
    lab.free_gpu(HOST)
    run = deploy(heavy)
    assert run.rc == 0, run.out
    assert running(lab)["size_vram"] == running(lab)["size"]
    assert no_changes(run.out, HOST) == len(STEPS) - 1


def test_two_models_that_cannot_be_resident_together_are_loaded_in_turns(
    lab: Lab, heavy: Inventory, deploy: Deploy, card: Declare
) -> None:
    card(1400)
    forget(lab, "heavy", "half")
    (model,) = heavy.host(HOST)["models"]
    half = {"name": "half", "plan": {**model["plan"], "model": f"{MODEL}:half"}}
    since = time.time()
    run = deploy(heavy.set(HOST, models=[model, half]))
    assert run.rc == 0, run.out
    for name, layers in (("heavy", LAYERS), ("half", LAYERS_OF_HALF)):
        said_once(run, HOST, f"loaded {name}: ", f"{layers} of {layers} layers")
        assert f"{name} runs 100% GPU" in run.about(HOST)
    assert set(offloaded(lab, since)) == {f"{LAYERS}/{LAYERS}", f"{LAYERS_OF_HALF}/{LAYERS_OF_HALF}"}
    assert [one["name"] for one in get(lab, HOST, "/api/ps")["models"]] == ["half:latest"]
    assert no_changes(deploy(heavy).out, HOST) == len(STEPS)


def test_a_model_that_is_slower_than_its_floor_fails_verification(lab: Lab, heavy: Inventory, deploy: Deploy) -> None:
    heavy.host(HOST)["models"][0]["min_tokens_per_s"] = 100_000
    run = deploy(heavy)
    assert run.rc == 1
    said = said_once(run, HOST, "heavy generates ", "fewer than its min_tokens_per_s of 100000")
    assert "lower the floor" in said

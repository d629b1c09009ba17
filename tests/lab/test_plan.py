"""Models that corral chooses for a host's GPUs: another one on each card, kept while it fits."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import ROOT
from tests.lab.observation import get, models, no_changes, server_environment, snapshot, starts

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

#: What the planner is to choose on the lab's cards of 24, 10 and 8 GB: where it is pulled from, and its context.
CHOSEN = {
    "rtx4090": ("deepseek-r1:32b-qwen-distill-q4_K_M", 16384),
    "rtx3080": ("hf.co/bartowski/DeepSeek-R1-Distill-Qwen-14B-GGUF:Q4_K_S", 5888),
    "rtx2070": ("hf.co/bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q6_K", 16384),
}
HOST = "rtx3080"


def test_each_card_gets_its_own_model_and_a_second_run_changes_nothing(
    lab: Lab, planned: Inventory, deploy: Deploy
) -> None:
    for host in CHOSEN:
        lab.reset(host)

    dry = deploy(planned, dry=True)
    assert dry.rc == 0, dry.out
    for host, (source, context) in CHOSEN.items():
        about = dry.about(host)
        assert f"would make the model r1:latest from {source} (num_ctx {context}, num_batch 512" in about
        assert f"{context} tokens, KV cache q8_0" in about
        assert "weights" in about
        assert lab.exec(host, "ls /opt/ollama").rc != 0, "the dry run has changed something"

    first = deploy(planned)
    assert first.rc == 0, first.out
    for host, (source, context) in CHOSEN.items():
        assert {"r1:latest", source} == set(models(lab, host))
        environment = server_environment(lab, host)
        assert environment["OLLAMA_KV_CACHE_TYPE"] == "q8_0"
        assert environment["OLLAMA_FLASH_ATTENTION"] == "1"
        assert environment["OLLAMA_NUM_PARALLEL"] == "1"
        parameters = get(lab, host, "/api/show", {"model": "r1"})["parameters"].splitlines()
        numbers = dict(line.split() for line in parameters if line.startswith("num_"))
        assert numbers == {"num_ctx": str(context), "num_batch": "512"}
        assert f"r1 runs 100% GPU with a context of {context}" in first.about(host)

    before = {host: snapshot(lab, host) for host in CHOSEN}
    second = deploy(planned)
    assert second.rc == 0, second.out
    for host in CHOSEN:
        assert no_changes(second.out, host) == 6, second.about(host)
        assert snapshot(lab, host) == before[host]


def corral_plan(inventory: Inventory, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "lab/run"), "corral", "plan", *arguments],
        cwd=ROOT, env={**os.environ, "CORRAL_INVENTORY": str(inventory.write())}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


def test_corral_plan_compares_hosts_with_their_plans_and_tells_by_its_exit_code(
    lab: Lab, planned: Inventory, deploy: Deploy
) -> None:
    planned.only(HOST, "rtx2070")
    assert deploy(planned).rc == 0

    same = corral_plan(planned)
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.count("a deploy would change nothing") == 2

    before = snapshot(lab, HOST)
    wish(planned, max_context=5120)
    other = corral_plan(planned, "--limit", HOST, "--json")
    assert other.returncode == 2, other.stdout + other.stderr
    (host,) = json.loads(other.stdout)
    assert host["models"]["r1"]["context"] == 5120
    assert any("make the model r1:latest" in change for change in host["changes"])
    assert snapshot(lab, HOST) == before

    lab.off("rtx2070")
    off = corral_plan(planned, "--refused")
    assert off.returncode == 1
    assert "a problem" in off.stdout
    assert "rtx2070" in off.stdout
    assert "not r1-32b at Q4_K_M" in off.stdout
    assert "Traceback" not in off.stdout + off.stderr


@pytest.fixture
def one(lab: Lab, planned: Inventory, deploy: Deploy) -> Inventory:
    """rtx3080 alone, which has what is planned for it."""
    run = deploy(planned.only(HOST))
    assert run.rc == 0, run.out
    lab.free_gpu(HOST)
    return planned


def wish(inventory: Inventory, **wishes: object) -> Inventory:
    model = inventory.host(HOST)["models"][0]
    model["plan"] = {**model["plan"], **wishes}
    return inventory


def test_what_fits_is_kept_when_a_little_memory_comes_or_goes(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    """5888 tokens leave some MiB; a program takes some of them, and later gives them back."""
    lab.hold_gpu(HOST, 10)
    try:
        assert no_changes(deploy(one).out, HOST) == 6
    finally:
        lab.free_gpu(HOST)
    assert no_changes(deploy(one).out, HOST) == 6


def test_memory_that_another_program_holds_is_not_planned_with(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    lab.hold_gpu(HOST, 3000)
    try:
        run = deploy(one, dry=True)
    finally:
        lab.free_gpu(HOST)
    assert run.rc == 0, run.out
    assert "planned r1: DeepSeek-R1-Distill-Qwen-7B" in run.about(HOST)


def test_a_changed_wish_makes_the_one_model_again_and_leaves_the_server_running(
    lab: Lab, one: Inventory, deploy: Deploy
) -> None:
    since = float(lab.check(HOST, "date +%s.%N"))
    run = deploy(wish(one, max_context=5120))
    assert run.rc == 0, run.out
    assert "make the model r1:latest" in run.about(HOST)
    assert no_changes(run.out, HOST) == 5
    assert starts(lab, HOST, since) == 0
    assert "r1 runs 100% GPU with a context of 5120" in run.about(HOST)
    assert no_changes(deploy(one).out, HOST) == 6


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"model": "r1-32b"}, ("models: r1: plan: nothing fits", "more than the", "offload: true")),
        ({"model": "r1-33b"}, ("plan: unknown model 'r1-33b'", "r1-32b")),
        ({"quantisation": "Q4_0"}, ("plan.quantisation: unknown key", "quantization")),
        ({"min_context": 200000, "max_context": 200000}, ("min_context 200000 is more than the 131072",)),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_changed(
    lab: Lab, one: Inventory, deploy: Deploy, wishes: dict[str, object], words: tuple[str, ...]
) -> None:
    before = snapshot(lab, HOST)
    run = deploy(wish(one, **wishes))
    assert run.rc != 0
    assert "Traceback" not in run.out
    for word in words:
        assert word in run.out
    assert snapshot(lab, HOST) == before


def test_a_file_of_another_size_than_the_planned_one_is_refused(lab: Lab, planned: Inventory, deploy: Deploy) -> None:
    """Which is what the lab's tiny models are, unless stand_ins names them."""
    lab.reset(HOST)
    planned.only(HOST).document["defaults"]["stand_ins"] = []
    run = deploy(planned)
    assert run.rc != 0
    assert "the name leads to another model by now" in run.about(HOST)
    assert lab.exec(HOST, "ls /opt/ollama").rc != 0, "something was changed first"


def test_layers_that_do_not_fit_stay_on_the_host_when_that_is_allowed(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    run = deploy(wish(one, model="r1-32b", offload=True).set(HOST, require_gpu=False))
    assert run.rc == 0, run.out
    assert "of 65 layers fit on the GPU: the rest runs on the CPU" in run.about(HOST)
    assert "num_gpu" in get(lab, HOST, "/api/show", {"model": "r1"})["parameters"]

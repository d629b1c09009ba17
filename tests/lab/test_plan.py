"""Models that corral chooses for a host's GPUs: another one on each card, kept while it fits."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from corral.engine.skeleton import ALIGNMENT, add_tokenizer
from tests.lab.conftest import corral, need_release
from tests.lab.observation import OLDER, STEPS, get, models, no_changes, server_environment, snapshot, starts, unload

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

#: What formulas choose for the lab's cards of 24, 10 and 8 GB, where nothing else can be asked yet: where it is pulled
#: from, its context, and the type of the KV cache.
BY_FORMULA = {
    "rtx4090": ("deepseek-r1:32b-qwen-distill-q4_K_M", 16384, "q8_0"),
    "rtx3080": ("hf.co/bartowski/DeepSeek-R1-Distill-Qwen-14B-GGUF:Q4_K_S", 6400, "q8_0"),
    "rtx2070": ("hf.co/bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q6_K", 16384, "f16"),
}
#: And when the engine has been asked, which needs no CUDA context here.
CHOSEN = {
    "rtx4090": ("deepseek-r1:32b-qwen-distill-q4_K_M", 16384, "f16"),
    "rtx3080": ("deepseek-r1:14b-qwen-distill-q4_K_M", 6656, "q8_0"),
    "rtx2070": ("hf.co/bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q6_K", 16384, "f16"),
}
HOST = "rtx3080"


def test_each_card_gets_its_own_model_and_a_second_run_changes_nothing(
    lab: Lab, planned: Inventory, deploy: Deploy
) -> None:
    for host in CHOSEN:
        lab.reset(host)

    dry = deploy(planned, dry=True)
    assert dry.rc == 0, dry.out
    for host, (source, context, kv_type) in BY_FORMULA.items():
        about = dry.about(host)
        assert f"would make the model r1:latest from {source} (num_ctx {context}, num_batch 512" in about
        assert f"{context} tokens, KV cache {kv_type}" in about
        assert "weights" in about
        assert "by formula: Ollama's engine is asked as soon as it is there" in about
        assert lab.exec(host, "ls /opt/ollama").rc != 0, "the dry run has changed something"

    first = deploy(planned)
    assert first.rc == 0, first.out
    for host, (source, context, kv_type) in CHOSEN.items():
        assert "asked itself, the engine says" in first.about(host)
        assert {"r1:latest", source} == set(models(lab, host))
        environment = server_environment(lab, host)
        assert environment["OLLAMA_KV_CACHE_TYPE"] == kv_type
        assert environment["OLLAMA_FLASH_ATTENTION"] == "1"
        assert environment["OLLAMA_NUM_PARALLEL"] == "1"
        parameters = get(lab, host, "/api/show", {"model": "r1"})["parameters"].splitlines()
        numbers = dict(line.split() for line in parameters if line.startswith("num_"))
        assert numbers == {"num_ctx": str(context), "num_batch": "512"}
        assert f"r1 runs 100% GPU with a context of {context}" in first.about(host)
        assert lab.exec(host, "ls -d /var/tmp/corral-plan.*").rc != 0

    before = {host: snapshot(lab, host) for host in CHOSEN}
    second = deploy(planned)
    assert second.rc == 0, second.out
    for host in CHOSEN:
        assert no_changes(second.out, host) == len(STEPS), second.about(host)
        assert "asked itself" not in second.about(host)
        assert snapshot(lab, host) == before[host]


def corral_plan(inventory: Inventory, *arguments: str) -> subprocess.CompletedProcess[str]:
    return corral(inventory, "plan", *arguments)


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
    """Planned while a program held 100 MiB, which it gives back later, and takes again in part."""
    lab.reset(HOST)
    lab.hold_gpu(HOST, 100)
    try:
        run = deploy(one)
        assert run.rc == 0, run.out
    finally:
        lab.free_gpu(HOST)
    again = deploy(one)
    assert no_changes(again.out, HOST) == len(STEPS), again.about(HOST)
    lab.hold_gpu(HOST, 50)
    try:
        assert no_changes(deploy(one).out, HOST) == len(STEPS)
    finally:
        lab.free_gpu(HOST)


def test_the_engine_is_asked_without_a_trace(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    used = "nvidia-smi --query-gpu=memory.used --format=csv,noheader"
    unload(lab, HOST)
    before = snapshot(lab, HOST), lab.check(HOST, used)
    done = corral_plan(one, "--limit", HOST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"asked itself, the engine says \d+ MiB .*; planned were \d+, [+-]0\.\d %", done.stdout)
    assert (snapshot(lab, HOST), lab.check(HOST, used)) == before
    assert lab.exec(HOST, "ls -d /var/tmp/corral-plan.*").rc != 0
    assert lab.exec(HOST, "pgrep -x llama-server").rc != 0


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
    assert no_changes(run.out, HOST) == len(STEPS) - 2
    assert starts(lab, HOST, since) == 0
    assert "r1 runs 100% GPU with a context of 5120" in run.about(HOST)
    assert no_changes(deploy(one).out, HOST) == len(STEPS)


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


def test_an_older_ollama_is_planned_by_its_own_formulas(lab: Lab, planned: Inventory, deploy: Deploy) -> None:
    need_release(lab, OLDER)
    host = "rtx2070"
    lab.reset(host)
    planned.only(host).set(host, ollama_version=OLDER)
    first = deploy(planned)
    assert first.rc == 0, first.out
    assert "by formula: this version of Ollama has no engine that can be asked" in first.about(host)
    assert "r1 runs 100% GPU" in first.about(host)
    assert no_changes(deploy(planned).out, host) == len(STEPS)


# --- models that the catalog lacks ----------------------------------------------------------------------


def write_mamba(path: Path) -> None:
    """The header of a model without attention, which no formula covers; its data is a hole."""
    width, inner, state, rank, vocabulary = 2560, 5120, 16, 160, 50304
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(48)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(4)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_tokenizer(writer, vocabulary)
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "token_embd.weight": ((vocabulary, width), np.float16),
        "output_norm.weight": ((width,), np.float32),
    }
    for block in range(48):
        shapes |= {
            f"blk.{block}.{name}": part
            for name, part in {
                "attn_norm.weight": ((width,), np.float32),
                "ssm_in.weight": ((2 * inner, width), np.float16),
                "ssm_conv1d.weight": ((inner, 4), np.float32),
                "ssm_conv1d.bias": ((inner,), np.float32),
                "ssm_x.weight": ((rank + 2 * state, inner), np.float16),
                "ssm_dt.weight": ((inner, rank), np.float16),
                "ssm_dt.bias": ((inner,), np.float32),
                "ssm_a": ((inner, state), np.float32),
                "ssm_d": ((inner,), np.float32),
                "ssm_out.weight": ((width, inner), np.float16),
            }.items()
        }
    held = 0
    for name, (shape, kind) in shapes.items():
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        writer.add_tensor_info(name, shape, np.dtype(kind), size)
        held += -(-size // ALIGNMENT) * ALIGNMENT
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(path, -(-path.stat().st_size // ALIGNMENT) * ALIGNMENT + held)


def test_what_no_formula_covers_is_planned_with_the_engines_numbers(
    lab: Lab, one: Inventory, deploy: Deploy, tmp_path: Path
) -> None:
    write_mamba(tmp_path / "mamba.gguf")
    one.host(HOST)["models"] = [{"name": "odd", "plan": {"model": "./mamba.gguf", "max_context": 8192}}]
    run = deploy(one.only(HOST), dry=True)
    assert run.rc == 0, run.out
    about = run.about(HOST)
    assert "no formula covers mamba exactly (48 of 48 layers are recurrent" in about
    said = re.search(r"planned odd: asked itself, the engine says (\d+) MiB", about)
    assert said
    assert "the engine has told what it takes" in about
    estimated, total = map(int, re.findall(r"weights \d+ .* = (\d+) of \d+ MiB", about))
    assert 0 <= total - int(said[1]) < 64
    assert estimated != total
    assert "would make the model odd:latest from ./mamba.gguf (num_ctx 8192" in about


def test_models_that_are_to_be_resident_stay_in_memory_beside_each_other(
    lab: Lab, one: Inventory, deploy: Deploy
) -> None:
    declared = one.host(HOST)
    declared["models"] = [
        {"name": "r1", "plan": {"model": "r1-7b"}},
        {"name": "quick", "plan": {"model": "r1-1.5b", "max_context": 4096}},
    ]
    declared["resident"] = "all"
    run = deploy(one.only(HOST))
    assert run.rc == 0, run.out
    assert server_environment(lab, HOST)["OLLAMA_MAX_LOADED_MODELS"] == "2"
    loaded = get(lab, HOST, "/api/ps")["models"]
    assert {model["name"] for model in loaded} == {"r1:latest", "quick:latest"}
    assert all(model["size_vram"] == model["size"] for model in loaded)
    again = deploy(one.only(HOST))
    assert no_changes(again.out, HOST) == len(STEPS), again.about(HOST)
    unload(lab, HOST)
    drop_in = "/etc/systemd/system/ollama.service.d/zz.conf"
    lab.write(HOST, drop_in, '[Service]\nEnvironment="OLLAMA_MAX_LOADED_MODELS=1"\n')
    lab.check(HOST, "systemctl daemon-reload && systemctl restart ollama")
    try:
        failed = corral(one, "status", "--limit", HOST, "--json")
    finally:
        lab.check(HOST, f"rm {drop_in} && systemctl daemon-reload && systemctl restart ollama")
    assert failed.returncode == 1
    assert "r1 had to go from memory for another of the declared models" in failed.stdout

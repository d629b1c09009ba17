"""Verification: what it looks at, from where, and what it says when something is not as declared."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import corral
from tests.lab.observation import get, snapshot, unload

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

ROOT = Path(__file__).parents[2]
HOST, CARD = "rtx2070", "NVIDIA GeForce RTX 2070"
CLIENT = "10.77.0.20"
DECLARATION = "/etc/declared-gpus"


_as_declared: list[bool] = []


@pytest.fixture
def good(lab: Lab, inventory: Inventory, deploy: Deploy) -> Inventory:
    """An inventory of one host, which is as it declares. Tests mend what they break, so one deploy will do."""
    inventory.only(HOST)
    if not _as_declared:
        run = deploy(inventory)
        assert run.rc == 0, run.out
        _as_declared.append(True)
    return inventory


def status(inventory: Inventory, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `corral status`."""
    done = corral(inventory, "status", *arguments)
    return done.returncode, done.stdout + done.stderr


def test_the_model_is_used_from_the_client_and_the_outsider_is_refused(
    lab: Lab, good: Inventory, deploy: Deploy
) -> None:
    since = time.time()
    run = deploy(good, "verify")
    assert run.rc == 0, run.out
    requests = lab.api_requests(HOST, since)
    assert {request.client for request in requests} == {CLIENT}
    assert {("GET", "/"), ("GET", "/api/version"), ("POST", "/api/generate"), ("GET", "/api/ps")} <= {
        (request.method, request.path) for request in requests
    }
    assert "as seen from client;" in run.about(HOST)
    assert "; refused to outsider" in run.about(HOST)


def test_a_context_and_the_gpu_are_read_off_the_running_model(lab: Lab, good: Inventory, deploy: Deploy) -> None:
    run = deploy(good, "verify")
    (model,) = [one for one in get(lab, HOST, "/api/ps")["models"] if one["name"] == "r1:latest"]
    assert model["context_length"] == good.host(HOST)["models"][0]["parameters"]["num_ctx"]
    assert model["size_vram"] == model["size"]
    assert f"r1 runs 100% GPU with a context of {model['context_length']} at " in run.about(HOST)


def test_another_version_than_the_declared_one_fails(good: Inventory, deploy: Deploy) -> None:
    pins = good.path.with_name("pins.yml")
    pins.write_text(f"0.34.5:\n  ollama-linux-amd64.tar.zst: {'5' * 64}\n")
    run = deploy(good.set(HOST, ollama_version="0.34.5", ollama_pins="pins.yml"), "verify")
    assert run.rc == 1
    assert "it is Ollama 0.34.4, not 0.34.5." in run.about(HOST)


def test_another_context_than_the_declared_one_fails(good: Inventory, deploy: Deploy) -> None:
    (model,) = good.host(HOST)["models"]
    run = deploy(good.set(HOST, models=[{**model, "parameters": {**model["parameters"], "num_ctx": 6144}}]), "verify")
    assert run.rc == 1
    assert "r1 has a context of 8192 tokens, not the declared 6144." in run.about(HOST)


def test_a_model_that_is_missing_fails(good: Inventory, deploy: Deploy) -> None:
    run = deploy(good.set(HOST, models=[{"name": "absent", "from": "deepseek-r1:7b"}]), "verify")
    assert run.rc == 1
    assert re.search(r"using absent: .*not found", run.about(HOST))


@pytest.fixture
def taken(lab: Lab, good: Inventory) -> Iterator[int]:
    """Another program holds the card's memory but for 150 MiB, in MiB."""
    unload(lab, HOST)
    free = int(lab.check(HOST, "nvidia-smi --query-gpu=memory.free --format=csv,noheader,nounits"))
    lab.hold_gpu(HOST, free - 150)
    yield free - 150
    lab.free_gpu(HOST)


def test_a_model_that_is_pushed_off_the_gpu_fails_and_says_who_holds_its_memory(
    lab: Lab, good: Inventory, deploy: Deploy, taken: int
) -> None:
    failed = deploy(good, "verify")
    (model,) = [one for one in get(lab, HOST, "/api/ps")["models"] if one["name"] == "r1:latest"]
    assert model["size_vram"] < model["size"], "the lab's hog pushed nothing off the GPU"
    assert failed.rc == 1
    said = failed.about(HOST)
    assert "this host shall run it wholly on its GPU" in said
    assert f"holds {taken} MiB" in said
    assert CARD in said
    allowed = deploy(good.set(HOST, require_gpu=False), "verify")
    assert allowed.rc == 0, allowed.out
    assert re.search(r"r1 runs .*CPU", allowed.out)
    lab.free_gpu(HOST)
    again = deploy(good.set(HOST, require_gpu=None), "verify")
    assert again.rc == 0, again.out
    assert "r1 runs 100% GPU" in again.out


def test_a_host_that_declares_a_gpu_and_has_none_fails(lab: Lab, good: Inventory, deploy: Deploy) -> None:
    declaration = lab.read(HOST, DECLARATION)
    lab.check(HOST, f"rm {DECLARATION}; systemctl restart ollama")
    try:
        run = deploy(good, "verify")
        assert run.rc == 1
        assert CARD in run.about(HOST)
        assert re.search(r"r1 runs 100% CPU, and this host shall run it wholly on its GPU", run.about(HOST))
    finally:
        lab.write(HOST, DECLARATION, declaration)
        lab.check(HOST, "systemctl restart ollama")


def test_a_firewall_that_was_closed_by_hand_fails_and_names_the_client(
    lab: Lab, good: Inventory, deploy: Deploy
) -> None:
    lab.check(HOST, "nft insert rule inet filter input tcp dport 11434 drop comment by-hand")
    try:
        run = deploy(good, "verify")
    finally:
        handle = lab.check(HOST, "nft --handle list chain inet filter input | sed -n 's/.*by-hand.*handle //p'")
        lab.check(HOST, f"nft delete rule inet filter input handle {handle}")
    assert run.rc == 1
    assert "can't be reached from client" in run.about(HOST)
    assert re.search(r"refuses TCP 11434 from", run.about(HOST))


def test_a_service_that_is_stopped_or_not_enabled_fails(lab: Lab, good: Inventory, deploy: Deploy) -> None:
    lab.check(HOST, "systemctl disable ollama")
    try:
        disabled = deploy(good, "verify")
        lab.check(HOST, "systemctl stop ollama")
        stopped = deploy(good, "verify")
    finally:
        lab.check(HOST, "systemctl enable --now ollama")
    assert disabled.rc == 1
    assert "disabled" in disabled.about(HOST)
    assert stopped.rc == 1
    assert "ollama.service is inactive" in stopped.about(HOST)


def test_status_shows_each_host_in_a_table_and_its_exit_code_tells(lab: Lab, good: Inventory) -> None:
    before = snapshot(lab, HOST)
    code, table = status(good)
    assert code == 0, table
    (row,) = [line for line in table.splitlines() if HOST in line]
    cells = [cell.strip() for cell in re.split("[│┃|]", row) if cell.strip()]
    assert cells[:6] == [HOST, CARD, "0.34.4", "r1", "8192", "100% GPU"]
    assert float(cells[6]) > 0
    assert snapshot(lab, HOST) == before
    lab.check(HOST, "systemctl stop ollama")
    try:
        code, table = status(good)
    finally:
        lab.check(HOST, "systemctl start ollama")
    assert code == 1
    assert "ollama.service is inactive" in table


def test_status_shows_a_host_that_is_off_beside_one_that_serves(lab: Lab, good: Inventory) -> None:
    good.document["hosts"]["rtx3080"] = {"address": "10.77.0.12", "ssh_user": "ops"}
    lab.kill("rtx3080")
    code, text = status(good, "--json")
    rows: dict[str, Any] = {row["host"]: row for row in json.loads(text)}
    assert code == 1
    assert rows["rtx3080"]["verdict"] != "ok"
    assert (rows[HOST]["verdict"], rows[HOST]["where"]) == ("ok", "100% GPU")

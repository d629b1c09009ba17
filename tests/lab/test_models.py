"""The declared models: pulled, made with a Modelfile that people can read, made again when their meaning differs."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.expect import details
from tests.lab.observation import get, models, snapshot

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

HOST, BASE = "rtx2070", "deepseek-r1:7b"
BLOBS = "/var/lib/ollama/models/blobs"
MODELFILES = "/etc/ollama/modelfiles"
HUGGING_FACE = "hf.co/bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q4_K_M"
MODELSCOPE = "modelscope.cn/unsloth/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q4_K_M"


@pytest.fixture
def good(lab: Lab, inventory: Inventory, deploy: Deploy) -> Inventory:
    """An inventory of one host, which is as it declares."""
    run = deploy(inventory.only(HOST))
    assert run.rc == 0, run.out
    return inventory


def delete(lab: Lab, *names: str) -> None:
    for name in names:
        lab.check(HOST, f"ollama rm {name}")


def make_by_hand(lab: Lab, name: str, modelfile: str) -> None:
    lab.write(HOST, "/tmp/Modelfile", modelfile)
    lab.check(HOST, f"ollama create {name} -f /tmp/Modelfile && rm /tmp/Modelfile")


def show(lab: Lab, name: str) -> Any:
    return get(lab, HOST, "/api/show", {"model": name})


def parameters(lab: Lab, name: str) -> dict[str, list[str]]:
    """Each parameter's values as `ollama show` prints them."""
    found: dict[str, list[str]] = {}
    for line in show(lab, name).get("parameters", "").splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value.strip())
    return found


def weights(lab: Lab, name: str) -> str:
    """SHA-256 of the weights that a model on the host uses."""
    manifest = json.loads(lab.read(HOST, f"/var/lib/ollama/models/manifests/registry.ollama.ai/library/{name}/latest"))
    (layer,) = [each for each in manifest["layers"] if each["mediaType"] == "application/vnd.ollama.image.model"]
    return str(layer["digest"]).removeprefix("sha256:")


def test_a_missing_base_is_pulled_and_the_model_made_with_progress(lab: Lab, good: Inventory, deploy: Deploy) -> None:
    delete(lab, "r1", BASE)
    before = snapshot(lab, HOST)
    dry = deploy(good, "models", dry=True)
    assert dry.rc == 0, dry.out
    assert f"would pull {BASE}" in dry.out
    assert f"would make the model r1:latest from {BASE} (num_ctx 8192, temperature 0.6, top_p 0.95)" in dry.out
    assert snapshot(lab, HOST) == before
    run = deploy(good, "models")
    assert run.rc == 0, run.out
    said = [line.partition("] ")[2] for line in run.about(HOST).splitlines()]
    steps = (
        f"pull {BASE}",
        "pulling manifest",
        "verifying sha256 digest",
        "make the model r1:latest from",
        "writing manifest",
    )
    rest = iter(said)
    for step in steps:
        assert any(line.startswith(step) for line in rest), f"{step!r} is missing or in the wrong place:\n{run.out}"
    assert set(models(lab, HOST)) >= {BASE, "r1:latest"}


def test_the_modelfile_on_the_host_can_be_read_by_anybody_and_makes_the_same_model(
    lab: Lab, good: Inventory, deploy: Deploy
) -> None:
    text = lab.check(HOST, f"runuser -u nobody -- cat {MODELFILES}/r1_latest.modelfile")
    assert f"FROM {BASE}\n" in text
    assert "PARAMETER num_ctx 8192\n" in text
    assert "made by corral" in text
    make_by_hand(lab, "copy", text)
    copy, original = show(lab, "copy"), show(lab, "r1")
    delete(lab, "copy")
    for key in ("parameters", "template", "system"):
        assert sorted(copy.get(key, "").splitlines()) == sorted(original.get(key, "").splitlines())


def test_a_model_that_somebody_made_again_with_the_same_meaning_is_left_alone(
    lab: Lab, good: Inventory, deploy: Deploy
) -> None:
    lines = lab.read(HOST, f"{MODELFILES}/r1_latest.modelfile").decode().splitlines()
    settings = [line for line in lines if line.startswith("PARAMETER ")]
    others = [line for line in lines if line not in settings and not line.startswith("#")]
    assert len([line for line in settings if line.startswith("PARAMETER stop ")]) > 1
    before = models(lab, HOST)["r1:latest"]
    shuffled = "\n".join([*reversed(settings), *others])
    make_by_hand(lab, "r1", shuffled.replace("PARAMETER top_p 0.95", "PARAMETER top_p 0.950"))
    after = models(lab, HOST)["r1:latest"]
    assert after != before, "the model made by hand is the same to the byte: nothing is tested"
    dry = deploy(good, dry=True)
    assert "make the model" not in dry.out
    run = deploy(good)
    assert run.rc == 0, run.out
    assert "make the model" not in run.out
    assert models(lab, HOST)["r1:latest"] == after
    assert "would" not in deploy(good, dry=True).about(HOST)


def test_a_model_that_was_changed_by_hand_is_made_again_and_the_difference_shown(
    lab: Lab, good: Inventory, deploy: Deploy
) -> None:
    text = lab.read(HOST, f"{MODELFILES}/r1_latest.modelfile").decode()
    make_by_hand(lab, "r1", text.replace("num_ctx 8192", "num_ctx 4096") + "SYSTEM You are a pirate.\n")
    difference = ["- PARAMETER num_ctx 4096", "+ PARAMETER num_ctx 8192", "- SYSTEM You are a pirate."]
    dry = deploy(good, "models", dry=True)
    assert details(dry, f"would make the model r1:latest from {BASE}") == difference
    assert parameters(lab, "r1")["num_ctx"] == ["4096"]
    run = deploy(good, "models")
    assert run.rc == 0, run.out
    assert details(run, f"make the model r1:latest from {BASE}") == difference
    assert parameters(lab, "r1")["num_ctx"] == ["8192"]
    assert not show(lab, "r1").get("system")


def test_a_gguf_file_on_the_controller_becomes_a_model(lab: Lab, good: Inventory, deploy: Deploy) -> None:
    content = lab.read(HOST, f"{BLOBS}/sha256-{weights(lab, 'r1')}")
    directory = good.path.parent / "my models"
    directory.mkdir()
    (directory / "tiny one.gguf").write_bytes(content + bytes(256))
    digest = hashlib.sha256(content + bytes(256)).hexdigest()
    good.set(HOST, models=[{"name": "mine", "from": "./my models/tiny one.gguf", "parameters": {"num_ctx": 2048}}])
    before = snapshot(lab, HOST)
    dry = deploy(good, "models", dry=True)
    assert "would make the model mine:latest from ./my models/tiny one.gguf (num_ctx 2048)" in dry.out
    assert snapshot(lab, HOST) == before
    run = deploy(good)
    assert run.rc == 0, run.out
    assert parameters(lab, "mine")["num_ctx"] == ["2048"]
    assert lab.exec(HOST, f"test -f {BLOBS}/sha256-{digest} -o -f {BLOBS}/sha256-{weights(lab, 'mine')}").rc == 0
    again = deploy(good, dry=True)
    assert "would" not in again.out
    (directory / "tiny one.gguf").write_bytes(content + bytes(512))
    other = deploy(good, "models", dry=True)
    assert "would make the model mine" in other.out, "other weights in the file are no change"
    delete(lab, "mine")


def test_models_of_hugging_face_and_modelscope_and_with_texts_of_their_own_stand_side_by_side(
    lab: Lab, good: Inventory, deploy: Deploy
) -> None:
    template = "{{ .System }}\n{{ range .Messages }}[user] {{ .Content }}{{ end }} [answer]"
    system = 'You answer briefly.\nYou say "so" and never \\ or # or {{ x }}.'
    good.set(
        HOST,
        models=[
            {"name": "from-hf", "from": HUGGING_FACE, "parameters": {"num_ctx": 2048}},
            {"name": "team/from-ms:v1", "from": MODELSCOPE, "parameters": {"num_ctx": 2048, "num_predict": 64}},
            {
                "name": "texts",
                "from": BASE,
                "template": template,
                "system": system,
                "parameters": {"num_ctx": 4096, "stop": ["<|end|>", 'a "quoted" one'], "seed": 7},
            },
        ],
    )
    before = snapshot(lab, HOST)
    dry = deploy(good, dry=True)
    assert dry.rc == 0, dry.out
    for summary in (f"pull {HUGGING_FACE}", f"pull {MODELSCOPE}", f"make the model from-hf:latest from {HUGGING_FACE}",
                    "make the model team/from-ms:v1", "make the model texts"):  # fmt: skip
        assert f"would {summary}" in dry.out
    assert snapshot(lab, HOST) == before
    run = deploy(good)
    assert run.rc == 0, run.out
    assert {HUGGING_FACE, MODELSCOPE, "from-hf:latest", "team/from-ms:v1", "texts:latest"} <= set(models(lab, HOST))
    shown = show(lab, "texts")
    assert (shown["template"], shown["system"]) == (template, system)
    assert sorted(json.loads(stop) for stop in parameters(lab, "texts")["stop"]) == ["<|end|>", 'a "quoted" one']
    assert parameters(lab, "texts")["seed"] == ["7"]
    assert parameters(lab, "team/from-ms:v1")["num_predict"] == ["64"]
    for name in ("from-hf", "team/from-ms:v1", "texts"):
        assert re.search(rf"{name} runs 100% GPU", run.out)
    again = deploy(good, dry=True)
    assert again.rc == 0
    assert "would" not in again.out
    delete(lab, "from-hf", "team/from-ms:v1", "texts", HUGGING_FACE, MODELSCOPE)


def test_what_is_no_longer_declared_stays_until_it_is_to_be_removed_and_what_people_made_stays_always(
    lab: Lab, good: Inventory, deploy: Deploy
) -> None:
    """r1 and its base go, since corral has made and pulled them; the model and the base that people have stay."""
    delete(lab, "r1", BASE)
    assert deploy(good, "models").rc == 0
    lab.check(HOST, "ollama pull deepseek-r1:1.5b")
    make_by_hand(lab, "mine", "FROM deepseek-r1:1.5b\nSYSTEM Be brief.\n")
    declared = {"name": "other", "from": "deepseek-r1:1.5b"}
    good.set(HOST, models=[declared])

    assert deploy(good, "models").rc == 0
    assert {"r1:latest", BASE, "other:latest", "mine:latest", "deepseek-r1:1.5b"} <= set(models(lab, HOST))

    good.set(HOST, sync_models=True)
    before = snapshot(lab, HOST)
    dry = deploy(good, "models", dry=True)
    assert f"would remove the model r1:latest and {BASE}, which is no longer declared" in dry.about(HOST)
    assert snapshot(lab, HOST) == before

    assert deploy(good, "models").rc == 0
    left = set(models(lab, HOST))
    assert {"other:latest", "mine:latest", "deepseek-r1:1.5b"} <= left
    assert not {"r1:latest", BASE} & left
    assert "r1_latest.modelfile" not in lab.check(HOST, f"ls {MODELFILES}")
    assert "No changes" in deploy(good, "models").about(HOST)

    make_by_hand(lab, "other", "FROM deepseek-r1:1.5b\nSYSTEM Mine by now.\n")
    run = deploy(good.set(HOST, models=[]), "models")
    assert run.rc == 0, run.out
    assert {"other:latest", "mine:latest", "deepseek-r1:1.5b"} <= set(models(lab, HOST)), "somebody's model was removed"
    delete(lab, "other", "mine", "deepseek-r1:1.5b")


def test_another_base_replaces_the_old_one_when_models_are_synced(lab: Lab, good: Inventory, deploy: Deploy) -> None:
    delete(lab, "r1", BASE)
    assert deploy(good.set(HOST, sync_models=True), "models").rc == 0
    good.host(HOST)["models"][0]["from"] = "deepseek-r1:1.5b"

    run = deploy(good, "models")

    assert run.rc == 0, run.out
    assert f"remove the model {BASE}, which is no longer declared" in run.about(HOST)
    assert set(models(lab, HOST)) >= {"r1:latest", "deepseek-r1:1.5b"}
    assert BASE not in models(lab, HOST)
    assert "No changes" in deploy(good, "models").about(HOST)

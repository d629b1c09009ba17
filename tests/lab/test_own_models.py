"""Models of people's own: their templates, variables, texts, adapters and names, and how drift from them is shown."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from corral.meaning import Meaning
from lab.weights import TINY
from tests.lab.expect import details, one_error
from tests.lab.observation import (
    MODEL_STEPS,
    OLDER,
    SERVERS,
    STEPS,
    at_once,
    get,
    main_pid,
    models,
    no_changes,
    snapshot,
)

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

HOST, BASE = "rtx2070", "deepseek-r1:1.5b"
OWN = """\
{% include "model.j2" %}
PARAMETER num_thread {{ cores }}
MESSAGE user {{ "Which language do you speak?" | quote }}
MESSAGE assistant {{ language | quote }}
LICENSE {{ "For the classroom only.\\nAsk before you copy." | quote }}
"""
SPOILT_SYSTEM = "\x1b[2J\x1b]0;gone\x07You are a pirate."


@pytest.fixture
def own(lab: Lab, inventory: Inventory, deploy: Deploy, project: Path) -> Inventory:
    """One host with a model of an own template, with a variable for all hosts and one of its own."""
    (project / "templates/modelfiles/own.j2").write_text(OWN)
    inventory.only(HOST).document["defaults"]["modelfile_variables"] = {"language": "German", "cores": 1}
    inventory.set(
        HOST,
        modelfile_variables={"language": "French"},
        models=[{"name": "own", "from": BASE, "modelfile": "own.j2", "system": "Be brief.\nBe kind."}],
    )
    run = deploy(inventory, project=project)
    assert run.rc == 0, run.out
    return inventory


def show(lab: Lab, name: str) -> Any:
    return get(lab, HOST, "/api/show", {"model": name})


def meaning(lab: Lab, name: str) -> Meaning:
    return Meaning.of_show(show(lab, name))


def make_by_hand(lab: Lab, name: str, **request: object) -> None:
    get(lab, HOST, "/api/create", {"model": name, "stream": False, **request})


def test_a_template_of_ones_own_adds_messages_a_licence_and_what_a_host_has_of_variables(
    lab: Lab, own: Inventory, deploy: Deploy, project: Path
) -> None:
    shown, base = show(lab, "own"), show(lab, BASE)
    assert shown["messages"] == [
        {"role": "user", "content": "Which language do you speak?"},
        {"role": "assistant", "content": "French"},
    ]
    assert shown["license"] == base["license"] + "\nFor the classroom only.\nAsk before you copy."
    assert shown["system"] == "Be brief.\nBe kind."
    assert "num_thread                     1" in shown["parameters"]
    again = deploy(own, "models", project=project)
    assert no_changes(again.out, HOST) == len(MODEL_STEPS), again.out


def test_drift_is_shown_as_a_diff_in_the_dry_run_and_in_the_run_that_puts_it_right(
    lab: Lab, own: Inventory, deploy: Deploy, project: Path
) -> None:
    declared = meaning(lab, "own")
    make_by_hand(
        lab,
        "own",
        **{"from": BASE},
        system="Be brief.\nBe a pirate.",
        license=["For everybody."],
        messages=[{"role": "user", "content": "Which language do you speak?"}, {"role": "assistant", "content": "No"}],
        parameters={"num_thread": 2, "top_k": 5},
    )
    lines = [
        "- PARAMETER num_thread 2",
        "+ PARAMETER num_thread 1",
        "- PARAMETER top_k 5",
        "  SYSTEM, line 2:",
        "    Be brief.",
        "-   Be a pirate.",
        "+   Be kind.",
        "  LICENSE, line 3:",
        "-   For everybody.",
        "+   For the classroom only.",
        "+   Ask before you copy.",
        "- MESSAGE assistant No",
        "+ MESSAGE assistant French",
    ]
    dry = deploy(own, "models", dry=True, project=project)
    assert dry.rc == 0, dry.out
    assert details(dry, f"would make the model own:latest from {BASE} again, which is not as declared:") == lines
    run = deploy(own, "models", project=project)
    assert run.rc == 0, run.out
    assert details(run, f"make the model own:latest from {BASE} again, which is not as declared:") == lines
    assert meaning(lab, "own") == declared
    assert no_changes(deploy(own, "models", project=project).out, HOST) == len(MODEL_STEPS)


def test_drift_in_a_chat_template_is_shown_by_its_changed_lines(
    lab: Lab, own: Inventory, deploy: Deploy, project: Path
) -> None:
    chat = "{{- range .Messages }}\n{% raw %}{# [{{ .Role }}] #}\n{{ .Content }}\n{{- end }}\n[answer]"
    (project / "templates/chat/own.gotmpl").write_text(chat + "\n")
    (project / "templates/chat/own.json").write_text('{"stop": ["[user]"]}')
    own.host(HOST)["models"][0]["template"] = "own"
    assert deploy(own, "models", project=project).rc == 0
    assert show(lab, "own")["template"] == chat
    make_by_hand(lab, "own", **{"from": "own"}, template=chat.replace("[{{", "<{{"))
    dry = deploy(own, "models", dry=True, project=project)
    assert details(dry, "would make the model own:latest") == [
        "  TEMPLATE, line 2:",
        "    {{- range .Messages }}",
        "-   {% raw %}{# <{{ .Role }}] #}",
        "+   {% raw %}{# [{{ .Role }}] #}",
    ]
    assert deploy(own, "models", project=project).rc == 0
    assert show(lab, "own")["template"] == chat


def test_control_characters_in_a_models_texts_do_not_reach_the_terminal(
    lab: Lab, own: Inventory, deploy: Deploy, project: Path
) -> None:
    make_by_hand(lab, "own", **{"from": "own"}, system=SPOILT_SYSTEM)
    dry = deploy(own, "models", dry=True, project=project)
    assert dry.rc == 0, dry.out
    assert r"-   \x1b[2J\x1b]0;gone\x07You are a pirate." in dry.out
    assert not {"\x1b", "\x07"} & set(dry.out)


def test_a_template_that_mentions_an_undefined_variable_is_refused_with_file_and_line(
    lab: Lab, own: Inventory, deploy: Deploy, project: Path
) -> None:
    (project / "templates/modelfiles/own.j2").write_text(OWN.replace("cores", "threads"))
    before = snapshot(lab, HOST)
    run = deploy(own, project=project)
    one_error(run, HOST, "models: own: own.j2, line 2: 'threads' is undefined", "modelfile_variables")
    assert snapshot(lab, HOST) == before


def write_adapter(path: Path, scale: float) -> None:
    """A LoRA adapter of rank 1 for the first layer of a tiny model."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 1.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.full((1, TINY.embedding), scale, np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.full((TINY.embedding, 1), scale, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def adapted(inventory: Inventory, project: Path) -> Inventory:
    """One host with a model that has an adapter, beside the inventory."""
    write_adapter(inventory.path.parent / "my lora.gguf", 0.01)
    (project / "templates/modelfiles/adapted.j2").write_text('{% include "model.j2" %}\nADAPTER "./my lora.gguf"\n')
    model = {"name": "adapted", "from": BASE, "modelfile": "adapted.j2", "parameters": {"num_ctx": 2048}}
    return inventory.only(HOST).set(HOST, models=[model])


def test_an_adapter_is_uploaded_and_kept_where_ollama_takes_one(
    lab: Lab, adapted: Inventory, deploy: Deploy, project: Path
) -> None:
    assert OLDER in yaml.safe_load(lab.layout.pins.read_text()), "python -m lab up --releases 0.34.4 0.24.0"
    lab.reset(HOST)
    adapted.set(HOST, ollama_version=OLDER)
    first = deploy(adapted, project=project)
    assert first.rc == 0, first.out
    assert len(meaning(lab, "adapted").attachments) == 1
    assert no_changes(deploy(adapted, project=project).out, HOST) == len(STEPS)

    (had,) = meaning(lab, "adapted").attachments
    make_by_hand(lab, "adapted", **{"from": BASE}, parameters={"num_ctx": 2048})
    dry = deploy(adapted, "models", dry=True, project=project)
    digest = had.removeprefix("adapter ")[:19]
    assert details(dry, "would make the model adapted:latest") == [f"+ ADAPTER {digest}"]
    assert deploy(adapted, "models", project=project).rc == 0
    assert meaning(lab, "adapted").attachments == {had}

    write_adapter(adapted.path.parent / "my lora.gguf", 0.02)
    other = deploy(adapted, "models", project=project)
    assert other.rc == 0, other.out
    lines = details(other, "make the model adapted:latest")
    assert lines[0] == f"- ADAPTER {digest}"
    assert lines[1].startswith("+ ADAPTER sha256:")
    assert meaning(lab, "adapted").attachments != {had}
    assert no_changes(deploy(adapted, "models", project=project).out, HOST) == len(MODEL_STEPS)
    lab.reset(HOST)


@pytest.mark.parametrize(
    ("version", "spoil", "words"),
    [
        ("0.34.4", None, ("Ollama 0.34.4 makes no models with adapters", "declare 0.34.0 or older")),
        (OLDER, lambda path: path.unlink(), ("ADAPTER: the file", "can't be read")),
        (OLDER, lambda path: path.write_text("no adapter"), ("my lora.gguf", "GGUF")),
        (OLDER, lambda path: path.write_bytes(b"GGUF" + bytes([3] + [0] * 19)), ("my lora.gguf", "no adapter")),
    ],
)
def test_an_adapter_that_cannot_be_is_refused_before_anything_is_changed(
    lab: Lab, adapted: Inventory, deploy: Deploy, project: Path, version: str, spoil: Any, words: tuple[str, ...]
) -> None:
    adapted.set(HOST, ollama_version=version)
    if spoil:
        spoil(adapted.path.parent / "my lora.gguf")
    before = snapshot(lab, HOST)
    one_error(deploy(adapted, project=project), HOST, "models: adapted: ", *words)
    assert snapshot(lab, HOST) == before


def test_a_model_under_several_names_is_downloaded_once_and_removed_once(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.reset(HOST)
    assert deploy(inventory.only(HOST).set(HOST, models=[])).rc == 0
    names = ("r1", "chat", "team/assistant:v1")
    inventory.set(HOST, models=[{"name": name, "from": BASE, "parameters": {"num_ctx": 2048}} for name in names])
    since = time.time()
    dry = deploy(inventory, dry=True)
    assert dry.out.count(f"would pull {BASE}") == 1, dry.out
    run = deploy(inventory)
    assert run.rc == 0, run.out
    assert run.out.count(f"] pull {BASE}") == 1, run.out
    # Ollama asks for a blob without a range only to see where it is, and hangs up.
    downloads = [r for r in lab.mirror.requests(since) if r.method == "GET" and "/blobs/" in r.path and r.range]
    manifest = json.loads(
        lab.read(HOST, "/var/lib/ollama/models/manifests/registry.ollama.ai/library/deepseek-r1/1.5b")
    )
    layers = {layer["digest"]: layer["size"] for layer in [manifest["config"], *manifest["layers"]]}
    sent = {digest: sum(r.sent for r in downloads if r.path.endswith(digest)) for digest in layers}
    assert sent == layers
    assert set(models(lab, HOST)) == {BASE, "r1:latest", "chat:latest", "team/assistant:v1"}
    assert no_changes(deploy(inventory).out, HOST) == len(STEPS)

    inventory.host(HOST)["models"].pop()
    assert deploy(inventory.set(HOST, sync_models=True)).rc == 0
    assert set(models(lab, HOST)) == {BASE, "r1:latest", "chat:latest"}
    run = deploy(inventory.set(HOST, models=[]))
    assert run.rc == 0, run.out
    assert not models(lab, HOST)


def test_a_parameter_in_group_data_recreates_one_model_on_the_groups_hosts_and_nothing_else(
    lab: Lab, inventory: Inventory, deploy: Deploy, project: Path
) -> None:
    group, outside = ("rtx4090", "rtx2070"), "rtx3080"
    shared = {"name": "shared", "from": BASE, "parameters": {"num_ctx": 2048}}
    tuned = {"name": "tuned", "from": BASE, "parameters": {"num_ctx": 2048, "temperature": 0.6}}
    for host in group:
        inventory.set(host, groups=["classroom"], models=None)
    inventory.set(outside, models=[shared, tuned])
    group_data = project / "group_data/classroom.py"

    def declare(temperature: float) -> None:
        changed = {**tuned, "parameters": {"num_ctx": 2048, "temperature": temperature}}
        group_data.write_text(f"models = {[shared, changed]!r}\n")

    def listed(host: str) -> dict[str, tuple[str, str]]:
        """Each model's digest and the time when it was made."""
        return {m["name"]: (m["digest"], m["modified_at"]) for m in get(lab, host, "/api/tags")["models"]}

    declare(0.6)
    first = deploy(inventory, project=project)
    assert first.rc == 0, first.out
    before = at_once(SERVERS, lambda host: (snapshot(lab, host), listed(host), main_pid(lab, host)))

    declare(0.7)
    dry = deploy(inventory, dry=True, project=project)
    for host in group:
        assert "would make the model tuned:latest" in dry.about(host)
        assert dry.about(host).count("would ") == 1
    assert "would " not in dry.about(outside)
    run = deploy(inventory, project=project)
    assert run.rc == 0, run.out

    for host in SERVERS:
        lines, tags, pid = before[host]
        assert main_pid(lab, host) == pid, "the service was started again"
        now = set(snapshot(lab, host)).symmetric_difference(lines)
        if host == outside:
            assert listed(host) == tags
            assert not now
            assert no_changes(run.out, host) == len(STEPS)
            continue
        assert {name for name, one in listed(host).items() if tags[name] != one} == {"tuned:latest"}
        parameters = get(lab, host, "/api/show", {"model": "tuned"})["parameters"].splitlines()
        assert "temperature 0.7" in [" ".join(line.split()) for line in parameters]
        places = ("/blobs/sha256-", "/manifests/registry.ollama.ai/library/tuned/latest ", "/tuned_latest.modelfile ")
        assert all(any(place in line for place in places) for line in now), sorted(now)
        assert no_changes(run.out, host) == len(STEPS) - 1

    second = deploy(inventory, project=project)
    assert second.rc == 0, second.out
    assert all(no_changes(second.out, host) == len(STEPS) for host in SERVERS), second.out

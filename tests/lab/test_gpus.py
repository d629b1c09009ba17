"""What corral finds out about a host's declared GPUs: nvidia-smi, NVML and the engine asked at the same time."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

import corral
from corral import layout
from corral.gpus import engine
from corral.gpus.inventory import Device, Inventory
from corral.gpus.judgement import problems
from corral.probe import state as probe
from corral.remote import LocalChannel, LocalLink, Remote, Sudo
from corral.scripts import Script
from lab.config import Gpu, find_host
from lab.gpu import DECLARATION, declaration
from tests.lab.observation import get, main_pid, unload

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy
    from tests.lab.conftest import Inventory as Declared

HOST, CARD, TOTAL_MIB = "rtx2070", "NVIDIA GeForce RTX 2070", 8192
RESERVED_MIB = find_host(HOST).gpus[0].reserved_mib
#: Of NVML's side: what it takes of corral, and a directory on the host that a reboot empties.
NVML_PARTS = ("__init__.py", "gpus/__init__.py", "gpus/inventory.py", "gpus/nvidia.py", "gpus/nvml.py")
NVML_DIRECTORY = "/run/nvml"
NVML_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from dataclasses import asdict
from corral.gpus.inventory import OwnServer
from corral.gpus.nvml import look
print(json.dumps(asdict(look(OwnServer(frozenset(map(int, sys.argv[2:])), ""))), default=list))
"""

_deployed: list[bool] = []


class LabLink(LocalLink):
    """A host's own shell, without ssh."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._lab, self._host = lab, host

    def open(self, command: str) -> LocalChannel:
        return super().open(shlex.join(self._lab.enter(self._host, ["sh", "-c", command])))


@pytest.fixture
def serving(lab: Lab, inventory: Declared, deploy: Deploy) -> None:
    """HOST serves its model, which is not loaded."""
    if not _deployed:
        run = deploy(inventory.only(HOST))
        assert run.rc == 0, run.out
        _deployed.append(True)
    unload(lab, HOST)


@pytest.fixture
def held(lab: Lab) -> Iterator[int]:
    """MiB of HOST's card that another program holds."""
    lab.hold_gpu(HOST, 1000)
    yield 1000
    lab.free_gpu(HOST)


def ask(lab: Lab, host: str) -> probe.LinuxState:
    script = Script("probe/probe.sh", probe.variables(layout.MODELS, 11434), then=("gpus/probe.sh",))
    return probe.parse(Remote(LabLink(lab, host), Sudo()).run(script))


def ask_nvml(lab: Lab, host: str, pids: frozenset[int] | None = None) -> dict[str, Any]:
    """The inventory that corral makes on the host itself, as the fields of its dataclasses."""
    package = Path(corral.__file__).parent
    for part in NVML_PARTS:
        lab.write(host, f"{NVML_DIRECTORY}/corral/{part}", (package / part).read_bytes())
    lab.write(host, f"{NVML_DIRECTORY}/pynvml.py", Path(pynvml.__file__).read_bytes())
    found: dict[str, Any] = json.loads(
        lab.check(host, ["python3", "-c", NVML_PROGRAM, NVML_DIRECTORY, *map(str, sorted(pids or ()))])
    )
    return found


def ask_engine(lab: Lab, host: str, known: Inventory) -> Device:
    sections = Remote(LabLink(lab, host), Sudo()).run(engine.script(layout.CURRENT, {}))
    (device,), failed = engine.parse(sections, known)
    assert failed == ()
    return device


def as_nvml_says(seen: Inventory) -> dict[str, Any]:
    """What NVML should have said, given what nvidia-smi said."""
    devices = tuple(replace(device, source="NVML") for device in seen.devices)
    said = asdict(Inventory(devices=devices, processes=seen.processes))
    found: dict[str, Any] = json.loads(json.dumps(said, default=list))
    return found


def compare(lab: Lab) -> Device:
    """All three see the same; what they see."""
    state = ask(lab, HOST)
    assert ask_nvml(lab, HOST, state.service.pids) == as_nvml_says(state.gpus)
    (card,) = state.gpus.devices
    listed = ask_engine(lab, HOST, state.gpus)
    assert (listed.vendor, listed.name, listed.total_mib) == ("NVIDIA", card.name, card.total_mib)
    assert card.free_mib is not None
    assert listed.free_mib == pytest.approx(card.free_mib, abs=1)
    assert (listed.uuid, listed.own_mib) == (card.uuid, card.own_mib)
    return card


def test_a_declared_card_is_seen_alike_by_nvidia_smi_by_nvml_and_by_the_engine(lab: Lab, serving: None) -> None:
    card = compare(lab)
    assert (card.name, card.total_mib, card.compute_capability) == (CARD, TOTAL_MIB, "7.5")
    assert (card.used_mib, card.plannable_mib) == (RESERVED_MIB, TOTAL_MIB - RESERVED_MIB)


def test_memory_that_another_program_holds_shows_everywhere_and_is_not_plannable(
    lab: Lab, serving: None, held: int
) -> None:
    card = compare(lab)
    assert card.used_mib == RESERVED_MIB + held
    assert card.plannable_mib == card.free_mib == TOTAL_MIB - RESERVED_MIB - held
    (hog,) = ask(lab, HOST).gpus.foreign
    assert (hog.name, hog.used_mib) == ("/usr/bin/hog", held)


def test_memory_that_our_own_server_holds_is_plannable(lab: Lab, serving: None, held: int) -> None:
    before = ask(lab, HOST).gpus.devices[0].plannable_mib
    get(lab, HOST, "/api/generate", {"model": "r1", "prompt": "a", "options": {"num_predict": 1}, "stream": False})
    card = compare(lab)
    assert card.own_mib > 0
    assert card.free_mib is not None
    assert card.free_mib < TOTAL_MIB - RESERVED_MIB - held
    assert card.plannable_mib == pytest.approx(before, abs=1)
    state = ask(lab, HOST)
    assert {process.own for process in state.gpus.processes} == {True, False}
    assert state.service.pids == frozenset((main_pid(lab, HOST), *(p.pid for p in state.gpus.processes if p.own)))
    unload(lab, HOST)
    assert ask(lab, HOST).gpus.devices[0].own_mib == 0


def test_before_anything_is_changed_a_deploy_warns_of_a_driver_that_is_too_old(
    lab: Lab, inventory: Declared, deploy: Deploy
) -> None:
    declared = lab.read(HOST, f"/{DECLARATION}")
    lab.write(HOST, f"/{DECLARATION}", declared.replace(b" 7.5 ", b" 6.1 "))
    try:
        run = deploy(inventory.only(HOST), dry=True)
    finally:
        lab.write(HOST, f"/{DECLARATION}", declared)
    assert run.rc == 0, run.out
    assert "NVIDIA's driver 550.144.03 is too old: Ollama 0.34.4 needs 570" in run.about(HOST)


def test_two_cards_are_told_apart_by_nvidia_smi_and_by_nvml(lab: Lab) -> None:
    declared = lab.read(HOST, f"/{DECLARATION}")
    cards = (Gpu(CARD, TOTAL_MIB, "7.5"), Gpu("NVIDIA GeForce GTX 1080", 8192, "6.1"))
    lab.write(HOST, f"/{DECLARATION}", declaration(cards, HOST))
    try:
        seen = ask(lab, HOST).gpus
        assert ask_nvml(lab, HOST) == as_nvml_says(seen)
    finally:
        lab.write(HOST, f"/{DECLARATION}", declared)
    assert [(card.name, card.bus_id) for card in seen.devices] == [
        (CARD, "0000:01:00.0"),
        ("NVIDIA GeForce GTX 1080", "0000:02:00.0"),
    ]
    (problem,) = problems(seen, "0.34.4")
    assert "is too old: Ollama 0.34.4 needs 570 for a card of compute capability 6.1" in problem.found


def test_a_driver_that_fails_is_told_in_its_own_words_by_both(lab: Lab) -> None:
    declared = lab.read(HOST, f"/{DECLARATION}")
    lab.check(HOST, f"rm /{DECLARATION}")
    try:
        seen, told = ask(lab, HOST).gpus, ask_nvml(lab, HOST)
    finally:
        lab.write(HOST, f"/{DECLARATION}", declared)
    assert seen.error.startswith("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver")
    assert "Install NVIDIA's driver" in str(problems(seen, "0.34.4")[0])
    assert told["error"] == "Driver Not Loaded"
    assert "Install NVIDIA's driver" in told["problems"][0]["remedy"]


def test_a_machine_without_a_gpu_has_none_and_no_problem(lab: Lab) -> None:
    assert ask(lab, "client").gpus == Inventory()

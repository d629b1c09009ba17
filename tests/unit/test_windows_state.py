"""A Windows host's answer to the probe, read."""

from __future__ import annotations

import json

import pytest

from corral import layout_windows as layout
from corral.probe.state import Listener
from tests.unit.windows_answer import SERVER, answer, ollama, state


def test_windows_11_is_known_by_its_build() -> None:
    assert state().os_name == "Windows 11 Pro 23H2"
    old = {**answer()["os"], "build": "19045", "release": "22H2"}
    assert state(os=old).os_name == "Windows 10 Pro 22H2"


def test_the_server_is_the_program_below_our_directory_in_whatever_case() -> None:
    processes = [
        {"pid": 3, "parent": 1, "name": "ollama.exe", "path": r"C:\Users\me\AppData\Local\Programs\Ollama\ollama.exe"},
        {"pid": 4, "parent": 1, "name": "ollama.exe", "path": SERVER.lower()},
        {"pid": 5, "parent": 4, "name": "llama-server.exe", "path": SERVER.replace("ollama.exe", r"lib\l.exe")},
    ]
    seen = state(processes=processes)
    assert (seen.server.main_pid, seen.server.pids, seen.server.user) == (4, frozenset({4, 5}), "SYSTEM")
    assert [one.pid for one in seen.others] == [3]


def test_a_directory_that_only_begins_alike_is_not_ours() -> None:
    processes = [{"pid": 4, "parent": 1, "name": "ollama.exe", "path": r"C:\Program Files\Ollama2\ollama.exe"}]
    assert not state(processes=processes).server.running


def test_models_are_named_as_on_linux() -> None:
    assert state().manifests == ("registry.ollama.ai/library/r1:latest",)


def test_a_release_without_our_stamp_is_none_of_ours_and_not_in_use() -> None:
    seen = state(releases=[{"name": "0.34.4", "stamp": ""}])
    assert (seen.releases, seen.current) == ({}, "")


def test_room_is_that_of_the_drive() -> None:
    seen = state()
    assert seen.free_for_releases == 200_000_000_000
    assert seen.drive(r"d:\Models\OllamaModels") is seen.drives["D:"]
    assert seen.drive(r"Z:\x") is None


@pytest.mark.parametrize("title", ["Protocol tcp Port Exclusion Ranges", "协议 tcp 端口排除范围"])
def test_reserved_ports_are_read_in_every_language(title: str) -> None:
    lines = [
        "",
        title,
        "",
        "----------    --------",
        "     11400       11499",
        "     50000       50059     *",
        "",
        "* -",
    ]
    assert state(excluded=lines).excluded == ((11400, 11499),)


def test_a_port_that_the_kernel_holds_is_said_to_be_the_systems() -> None:
    seen = state(listeners=[{"address": "::", "pid": 4, "program": ""}])
    assert seen.listeners == (Listener("::", "the system", 4),)


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": 7}'])
def test_a_note_of_the_start_script_that_cannot_be_read_is_no_note(note: str) -> None:
    assert state(ollama=ollama(started=note)).started.pid == 0


def test_what_could_not_be_found_out_is_missing_and_named() -> None:
    document = answer(failed={"profiles": "The service is not running"})
    del document["profiles"]
    from corral.probe.windows import parse

    seen = parse(json.dumps(document), layout.MODELS)
    assert seen.fails == {"profiles": "The service is not running"}
    assert seen.firewall.profiles == ()


def test_an_nvidia_card_is_read_from_nvidia_smi_and_one_of_amd_from_the_registry() -> None:
    row = "0, NVIDIA GeForce RTX 3070, GPU-1, 00000000:01:00.0, 566.36, 8192, 1024, 7168, 8.6, [N/A], [N/A]"
    fields = (
        "index,name,uuid,pci.bus_id,driver_version,memory.total,memory.used,memory.free,compute_cap,"
        "ecc.mode.current,mig.mode.current"
    )
    smi = {"gpus": f"@fields {fields}\n{row}\n", "processes": f"GPU-1, 7, [N/A], {SERVER}"}
    adapters = [
        {"name": "NVIDIA GeForce RTX 3070", "device": r"PCI\VEN_10DE&DEV_2484", "driver": "32.0", "memory": "1"},
        {
            "name": "AMD Radeon RX 7900 XTX",
            "device": r"pci\ven_1002&dev_744c",
            "driver": "32.0",
            "memory": str(24 << 30),
        },
        {"name": "Microsoft Basic Display Adapter", "device": r"root\basicdisplay", "driver": "10.0", "memory": ""},
    ]
    gpus = state(nvidia=smi, adapters=adapters).gpus
    assert [(gpu.name, gpu.total_mib) for gpu in gpus.devices] == [
        ("NVIDIA GeForce RTX 3070", 8192),
        ("AMD Radeon RX 7900 XTX", 24576),
    ]
    assert gpus.vendors == ("NVIDIA", "AMD")
    assert gpus.own_untold


def test_what_the_server_says_of_its_models_stands_for_what_the_driver_does_not_tell() -> None:
    from corral.gpus.windows import with_loaded

    row = "0, NVIDIA GeForce RTX 3070, GPU-1, 00000000:01:00.0, 566.36, 8192, 5000, 3192, 8.6, [N/A], [N/A]"
    smi = {"gpus": f"{row}\n", "processes": f"GPU-1, 7, [N/A], {SERVER}"}
    seen = state(nvidia=smi).gpus
    assert any("does not tell how much" in problem.found for problem in seen.problems)
    known = with_loaded(seen, 4000)
    assert [(gpu.own_mib, gpu.plannable_mib, gpu.by_server) for gpu in known.devices] == [(4000, 7192, True)]
    assert not any("does not tell how much" in problem.found for problem in known.problems)

"""Windows-like hosts: the same inventory, deploys and checks as Linux has, through the real connector.

What stands in and what is real there: "What was proved how" in README.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lab.hosts import State
from tests.lab.conftest import ROOT
from tests.lab.expect import Watched, assert_changed_nothing, one_error
from tests.lab.observation import STEPS, VERSION, at_once, difference
from tests.lab.windows_hosts import (
    STATE,
    WIN,
    ZH,
    C,
    answers,
    boot_id,
    files,
    loaded,
    machine,
    powershell,
    processes,
    server_environment,
    server_pid,
    snapshot,
    wait_until_serving,
    windows_only,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory, Run, Start

HOSTS = (WIN, ZH)
MODELS_DIRS = {WIN: r"D:\Models\OllamaModels", ZH: r"D:\模型\Ollama 模型"}
TASK = r"\corral\ollama"
RULE = "corral-ollama-11434"
MACHINE_KEY = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"


@pytest.fixture(autouse=True)
def _windows_up(lab: Lab) -> Iterator[None]:
    for host in HOSTS:
        if lab.state(host) is State.OFF:
            lab.boot(host)
    yield
    for host in HOSTS:
        if lab.state(host) is State.OFF:
            lab.boot(host)


def variables(lab: Lab, host: str) -> dict[str, str]:
    """The machine's environment, as the registry has it."""
    tree = machine(lab, host, "dump")["registry"][MACHINE_KEY]
    return {name: value[1] for name, value in tree["values"].items()}


@dataclass(frozen=True)
class Both:
    """Bare hosts set up: what a dry run, a real one and a second one said, and how the hosts were in between."""

    bare: dict[str, list[str]]
    dry: Run
    after_dry: dict[str, list[str]]
    first: Run
    after_first: dict[str, list[str]]
    second: Run
    after_second: dict[str, list[str]]
    pids: dict[str, tuple[int, int]]


_done: list[Both] = []


@pytest.fixture
def both(lab: Lab, planned: Inventory, deploy: Deploy) -> Both:
    """Both hosts at once, done for the first test that asks and remembered for the others."""
    if not _done:
        inventory = windows_only(planned, *HOSTS)
        at_once(HOSTS, lab.reset)
        bare = at_once(HOSTS, lambda host: snapshot(lab, host))
        dry = deploy(inventory, dry=True)
        after_dry = at_once(HOSTS, lambda host: snapshot(lab, host))
        first = deploy(inventory)
        after_first = at_once(HOSTS, lambda host: snapshot(lab, host))
        before = {host: server_pid(lab, host) for host in HOSTS}
        second = deploy(inventory)
        print(f"cold run {first.seconds:.1f} s, second run {second.seconds:.1f} s")
        after_second = at_once(HOSTS, lambda host: snapshot(lab, host))
        pids = {host: (before[host], server_pid(lab, host)) for host in HOSTS}
        _done.append(Both(bare, dry, after_dry, first, after_first, second, after_second, pids))
    return _done[0]


# --- idempotence, four ways ---------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_a_dry_run_names_each_change_that_a_bare_host_needs_and_makes_none(both: Both, host: str) -> None:
    said = both.dry.about(host)
    assert both.dry.rc == 0, both.dry.out
    for change in (
        f"would download https://mirror.lab/releases/v{VERSION}/ollama-windows-amd64.zip",
        rf"would switch C:\Program Files\Ollama to C:\Program Files\Ollama\{VERSION}",
        f"would make {MODELS_DIRS[host]}",
        "would set the machine's environment (OLLAMA_",
        r"would write C:\ProgramData\Ollama\start.ps1",
        rf"would register the scheduled task {TASK}, which runs Ollama at start-up as SYSTEM",
        rf"would start the task {TASK}",
        'would Windows Defender Firewall: add the rule "ollama 11434": TCP 11434 from 10.0.0.0/8',
        "would make the model r1:latest from",
    ):
        assert change in said
    assert difference(both.bare[host], both.after_dry[host]) == []


def test_one_run_sets_up_an_english_and_a_chinese_windows(both: Both) -> None:
    assert both.first.rc == 0, both.first.out
    for host in HOSTS:
        verified = rf"verified: Ollama {VERSION}, as seen from client; r1 runs 100% GPU .*; refused to outsider"
        assert re.search(verified, both.first.about(host)), both.first.out


@pytest.mark.parametrize("host", HOSTS)
def test_after_it_the_host_itself_shows_all_that_was_declared(both: Both, lab: Lab, host: str) -> None:
    seen = machine(lab, host, "dump")
    assert "<BootTrigger>" in seen["tasks"][TASK]["xml"]
    assert seen["tasks"][TASK]["state"] == "Running"
    assert "LPort=11434" in seen["rules"][RULE]
    assert "Profile=" not in seen["rules"][RULE]
    started = server_environment(lab, host)
    assert started["OLLAMA_MODELS"].replace(r"\\", "\\") == MODELS_DIRS[host]
    assert started["OLLAMA_HOST"] == "http://0.0.0.0:11434"
    assert variables(lab, host)["OLLAMA_MODELS"] == MODELS_DIRS[host]
    (model,) = loaded(lab, host)
    assert model["size_vram"] == model["size"] > 0


@pytest.mark.parametrize("host", HOSTS)
def test_the_firewall_lets_in_who_is_declared_and_nobody_else(both: Both, lab: Lab, host: str) -> None:
    assert answers(lab, "client", host) == "Ollama is running"
    assert answers(lab, "outsider", host) == ""


@pytest.mark.parametrize("host", HOSTS)
def test_a_second_run_changes_nothing(both: Both, host: str) -> None:
    assert_changed_nothing(both.second, host)
    assert difference(both.after_first[host], both.after_second[host]) == []
    assert both.pids[host][0] == both.pids[host][1] > 0


def test_the_modelfile_is_utf_8_without_a_mark(both: Both, lab: Lab) -> None:
    text = lab.read(WIN, f"{STATE}/modelfiles/r1_latest.modelfile")
    assert text.startswith(b"# r1 on win11")
    assert b'TEMPLATE """' in text
    assert "\N{FULLWIDTH VERTICAL LINE}User".encode() in text


# --- boots ------------------------------------------------------------------------------------------


def test_after_a_reboot_it_serves_with_nobody_logged_in(
    both: Both, lab: Lab, planned: Inventory, deploy: Deploy
) -> None:
    before = boot_id(lab, WIN)
    run = deploy(windows_only(planned, WIN), "reboot")
    assert run.rc == 0, run.out
    assert "verified: Ollama" in run.about(WIN)
    assert boot_id(lab, WIN) != before
    assert_changed_nothing(deploy(windows_only(planned, WIN)), WIN)


def test_after_a_power_cut_it_serves_again(both: Both, lab: Lab) -> None:
    lab.kill(ZH)
    lab.boot(ZH)
    wait_until_serving(lab, ZH)


def test_a_server_that_dies_is_started_again(both: Both, lab: Lab) -> None:
    before = server_pid(lab, WIN)
    lab.check(WIN, ["kill", "-KILL", str(before)])
    wait_until_serving(lab, WIN)
    assert server_pid(lab, WIN) not in (0, before)


# --- what changes on a host by hand -----------------------------------------------------------------------


def test_what_was_changed_by_hand_is_put_right_and_what_people_added_stays(
    both: Both, lab: Lab, planned: Inventory, deploy: Deploy
) -> None:
    script = r"""
    $key = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'
    Set-ItemProperty -LiteralPath $key -Name 'OLLAMA_KEEP_ALIVE' -Value '1m'
    Set-ItemProperty -LiteralPath $key -Name 'OLLAMA_DEBUG' -Value '1'
    Set-NetFirewallRule -Name 'corral-ollama-11434' -RemoteAddress Any
    """
    powershell(lab, WIN, script)
    run = deploy(windows_only(planned, WIN))
    assert run.rc == 0, run.out
    said = run.about(WIN)
    assert "set the machine's environment (OLLAMA_KEEP_ALIVE: 1m -> 30m)" in said
    assert 'change the rule "ollama 11434"' in said
    assert "register the scheduled task" not in said
    assert variables(lab, WIN)["OLLAMA_DEBUG"] == "1"
    assert server_environment(lab, WIN)["OLLAMA_DEBUG"] == "DEBUG"
    assert answers(lab, "outsider", WIN) == ""
    assert_changed_nothing(deploy(windows_only(planned, WIN)), WIN)


# --- taking it away -----------------------------------------------------------------------------------------


def test_uninstalling_leaves_the_host_as_it_was(lab: Lab, planned: Inventory, deploy: Deploy) -> None:
    lab.reset(WIN)
    key = r"HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
    powershell(lab, WIN, f"Set-ItemProperty -LiteralPath '{key}' -Name 'OLLAMA_KEEP_ALIVE' -Value '5m'")
    bare = snapshot(lab, WIN)
    inventory = windows_only(planned, WIN).set(WIN, remove_models=True)
    assert deploy(inventory).rc == 0
    dry = deploy(inventory, "uninstall", dry=True)
    for change in (
        "would stop Ollama",
        "would Windows Defender Firewall: remove",
        "would set the machine's",
        "would remove",
    ):
        assert change in dry.about(WIN)
    assert answers(lab, "client", WIN) == "Ollama is running"
    done = deploy(inventory, "uninstall")
    assert done.rc == 0, done.out
    assert difference(bare, snapshot(lab, WIN)) == []
    assert processes_of_ollama(lab, WIN) == []
    again = deploy(inventory, "uninstall")
    assert again.rc == 0
    assert "Success" not in again.about(WIN)


def test_models_stay_unless_they_are_declared_to_go(lab: Lab, planned: Inventory, deploy: Deploy) -> None:
    inventory = windows_only(planned, WIN)
    assert deploy(inventory).rc == 0
    assert deploy(inventory, "uninstall").rc == 0
    left = lab.check(WIN, ["find", "/mnt/d/Models/OllamaModels/manifests", "-type", "f"]).splitlines()
    assert any(path.endswith("/r1/latest") for path in left)
    since = time.time()
    assert deploy(inventory).rc == 0
    assert not [one for one in lab.mirror.requests(since) if "/blobs/" in one.path]


def processes_of_ollama(lab: Lab, host: str) -> list[str]:
    return [line for line in processes(lab, host) if "ollama" in line.lower()]


# --- cut off ------------------------------------------------------------------------------------------------


def test_a_run_that_is_killed_at_any_step_is_finished_by_the_next(lab: Lab, planned: Inventory, start: Start) -> None:
    inventory = windows_only(planned, WIN)
    lab.reset(WIN)
    for step in (
        "download https://",
        "switch C:",
        "set the machine's",
        "start the task",
        "add the rule",
        "make the model",
    ):
        watched = Watched(start(inventory))
        watched.until(step)
        watched.kill()
    done = Watched(start(inventory))
    assert done.end(300) == 0, done.out
    assert "verified: Ollama" in done.out
    assert answers(lab, "client", WIN) == "Ollama is running"


def test_what_a_cut_connection_leaves_at_work_is_ended_before_the_next_run_begins(
    lab: Lab, planned: Inventory, start: Start, deploy: Deploy
) -> None:
    """sshd on Windows lets it go on; the holder of the lock hears nothing more, and ends it."""
    inventory = windows_only(planned, WIN)
    lab.reset(WIN)
    lab.mirror.set(bytes_per_second=200_000)
    watched = Watched(start(inventory))
    watched.until("downloading")
    watched.kill()
    deadline = time.monotonic() + 100
    while [line for line in processes(lab, WIN) if "curl" in line]:
        assert time.monotonic() < deadline, processes(lab, WIN)
        time.sleep(1)
    lab.mirror.reset()
    done = deploy(inventory)
    assert done.rc == 0, done.out


def test_the_second_of_two_runs_leaves_a_busy_host_alone(
    lab: Lab, planned: Inventory, start: Start, deploy: Deploy
) -> None:
    inventory = windows_only(planned, WIN)
    lab.reset(WIN)
    lab.mirror.set(bytes_per_second=1_000_000)
    first = Watched(start(inventory))
    first.until("downloading")
    second = deploy(inventory)
    one_error(second, WIN, "another corral run is at work on this host", "Wait until it has ended")
    lab.mirror.reset()
    assert first.end(300) == 0, first.out


# --- wrong input and bad days ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a host, by its name in lab.windows.machine.faults; settings: of the inventory."""

    name: str
    order: dict[str, Any]
    words: tuple[str, ...]
    settings: dict[str, Any]


FAULTS = [
    Fault("set-build", {"build": 15063}, ("build 15063) is too old", "Windows 10 22H2"), {}),
    Fault("set-elevated", {"elevated": False}, ("not an administrator", "Administrators"), {}),
    Fault("set-language-mode", {"mode": "ConstrainedLanguage"}, ("constrained language mode", "AppLocker"), {}),
    Fault("set-drive", {"letter": "D", "kind": "Removable"}, ("D: is a removable drive", "fixed drive"), {}),
    Fault("set-drive", {"letter": "D", "file_system": "FAT32"}, ("file system of D: is FAT32", "NTFS or ReFS"), {}),
    Fault("set-drive", {"letter": "D", "free": 100_000}, ("D:", "free"), {}),
    Fault("set-nvidia", {"installed": False}, ("GPU",), {}),
    Fault("nothing", {}, ("has no drive X:", "Declare a directory on one"), {"models_dir": r"X:\Models"}),
    Fault("install-for-user", {}, ("ollama app.exe", "take_over: true"), {}),
    Fault("exclude-ports", {"first": 11400, "last": 11499}, ("reserved, 11400 to 11499", "net stop winnat"), {}),
    Fault("take-port", {"port": 11434}, ("port 11434 is taken by other", "Stop it"), {}),
    Fault("ignore-local-rules", {}, ("a group policy has", "firewall: none"), {}),
    Fault(
        "block-port",
        {"port": 11434, "name": "no-ollama"},
        ("blocks TCP 11434", "Remove-NetFirewallRule -Name 'no-ollama'"),
        {},
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.name} {fault.order or fault.settings}")
def test_what_is_wrong_with_a_host_is_one_error_with_a_remedy_and_nothing_is_changed(
    lab: Lab, planned: Inventory, deploy: Deploy, fault: Fault
) -> None:
    lab.reset(WIN)
    # sshd looks for the keys of people who are no administrators in their own directory.
    keys = lab.read(WIN, f"{C}/ProgramData/ssh/administrators_authorized_keys")
    lab.write(WIN, f"{C}/users/admin/.ssh/authorized_keys", keys)
    if fault.name != "nothing":
        machine(lab, WIN, "fault", fault.name, json.dumps(fault.order))
    before = files(lab, WIN)
    run = deploy(windows_only(planned, WIN).set(WIN, **fault.settings))
    one_error(run, WIN, *fault.words)
    assert files(lab, WIN) == before


def test_a_block_rule_is_removed_where_that_is_declared(lab: Lab, planned: Inventory, deploy: Deploy) -> None:
    lab.reset(WIN)
    machine(lab, WIN, "fault", "block-port", json.dumps({"port": 11434, "name": "no-ollama"}))
    run = deploy(windows_only(planned, WIN).set(WIN, remove_block_rules=True))
    assert run.rc == 0, run.out
    assert "remove the rule no-ollama" in run.about(WIN)


def test_a_users_ollama_is_taken_over_where_that_is_declared(lab: Lab, planned: Inventory, deploy: Deploy) -> None:
    lab.reset(WIN)
    machine(lab, WIN, "fault", "install-for-user")
    run = deploy(windows_only(planned, WIN).set(WIN, take_over=True))
    assert run.rc == 0, run.out
    assert "take over from ollama app.exe" in run.about(WIN)
    assert_changed_nothing(deploy(windows_only(planned, WIN).set(WIN, take_over=True)), WIN)


def test_a_host_that_is_off_is_one_error_and_the_other_is_set_up(lab: Lab, planned: Inventory, deploy: Deploy) -> None:
    lab.reset(WIN)
    lab.off(ZH)
    run = deploy(windows_only(planned, *HOSTS))
    one_error(run, ZH, "Could not connect", "Is it on")
    assert "verified: Ollama" in run.about(WIN)


# --- plans ------------------------------------------------------------------------------------------------


def test_memory_that_goes_to_another_program_makes_a_smaller_plan(lab: Lab, planned: Inventory, deploy: Deploy) -> None:
    """Measured, planned again, made and loaded: in part, as real as on Linux."""
    inventory = windows_only(planned, WIN)
    (model,) = inventory.host(WIN)["models"]
    model["plan"] = {
        "models": ["lab/heavy"],
        "offload": True,
        "min_context": 16384,
        "max_context": 24576,
        "reserve_mib": 0,
    }
    lab.reset(WIN)
    lab.hold_gpu(WIN, 7400)
    run = deploy(inventory)
    lab.free_gpu(WIN)
    assert run.rc == 0, run.out
    assert re.search(r"r1 runs \d+%/\d+% CPU/GPU", run.about(WIN)), run.out


# --- corral's other commands --------------------------------------------------------------------------------


def test_the_suite_of_state_tests_passes_on_windows_hosts_and_sees_what_is_broken(
    lab: Lab, planned: Inventory, deploy: Deploy
) -> None:
    inventory = windows_only(planned, *HOSTS)
    at_once(HOSTS, lab.reset)
    assert deploy(inventory).rc == 0
    assert state_suite(inventory)[0] == 0
    powershell(
        lab,
        WIN,
        r"""
        Set-NetFirewallRule -Name 'corral-ollama-11434' -RemoteAddress Any
        Add-Content -LiteralPath 'C:\ProgramData\Ollama\start.ps1' -Value '# by hand' -Encoding ASCII
        """,
    )
    code, out = state_suite(inventory)
    assert code == 1
    failed = set(re.findall(r"FAILED \S+::test_(\w+)\[win11", out))
    assert failed == {
        "the_script_that_starts_the_server_is_the_one_that_was_written",
        "the_firewall_lets_the_declared_addresses_in",
        "the_firewall_lets_nobody_else_in",
        "the_server_is_refused_from_elsewhere",
    }
    assert deploy(inventory).rc == 0


def state_suite(inventory: Inventory, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [
            ROOT / "lab/run",
            "env",
            f"CORRAL_INVENTORY={inventory.write()}",
            "pytest",
            "-q",
            "-rf",
            "tests/state",
            *arguments,
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout


def test_all_steps_are_the_same_as_on_linux(both: Both) -> None:
    for step in STEPS:
        assert f"Starting operation: {step}" in both.first.out

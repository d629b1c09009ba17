"""The scheduled task, the machine's variables and the files of the service, and what must change of them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from corral import layout_windows as layout
from corral.errors import CorralError
from corral.probe.windows import WindowsState
from corral.scripts import Script
from corral.service import task
from corral.service.wanted import Wanted
from tests.unit.windows_answer import CLOSED, OPEN_TO_USERS, WANTED, answer, ollama, state


def summaries(seen: WindowsState, wanted: Wanted = WANTED) -> list[str]:
    return [change.summary for change in task.changes(seen, wanted)]


def variables(**changed: str) -> list[dict[str, str]]:
    """The machine's variables, some with another value."""
    return [{**one, "value": changed.get(one["name"], one["value"])} for one in answer()["environment"]]


def test_a_host_that_is_as_wanted_needs_nothing() -> None:
    assert summaries(state()) == []


def test_a_task_is_compared_by_what_it_means() -> None:
    """As Windows exports it: a declaration, more elements, another order, defaults left out, durations rewritten."""
    exported = (
        '<?xml version="1.0" encoding="UTF-16"?>\n'
        '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">\n'
        "<RegistrationInfo><Date>2026-11-20T08:00:00</Date><URI>\\corral\\ollama</URI></RegistrationInfo>"
        "<Principals><Principal id='Author'><RunLevel>HighestAvailable</RunLevel><UserId>S-1-5-18</UserId></Principal>"
        "</Principals><Settings><Priority>4</Priority>"
        "<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>"
        "<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries><ExecutionTimeLimit>PT0S</ExecutionTimeLimit>"
        "<StartWhenAvailable>true</StartWhenAvailable><UseUnifiedSchedulingEngine>true</UseUnifiedSchedulingEngine>"
        "<RestartOnFailure><Count>255</Count><Interval>PT60S</Interval></RestartOnFailure></Settings>"
        "<Triggers><BootTrigger /></Triggers>"
        f"<Actions Context='Author'><Exec><Command>{task.COMMAND}</Command>"
        f"<Arguments>{task.ARGUMENTS}</Arguments></Exec></Actions></Task>"
    )
    assert not task.differs(exported, "SYSTEM")
    assert task.differs(exported, "LOCAL SERVICE")


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("<Priority>4</Priority>", "<Priority>7</Priority>"),
        ("<Priority>4</Priority>", ""),
        ("PT0S", "PT72H"),
        ("<DisallowStartIfOnBatteries>false", "<DisallowStartIfOnBatteries>true"),
        ("BootTrigger", "LogonTrigger"),
        ("S-1-5-18", "S-1-5-21-1-2-3-1001"),
        ("<Enabled>true</Enabled>", "<Enabled>false</Enabled>"),
        ("start.ps1", "other.ps1"),
        ("<Interval>PT1M", "<Interval>PT5M"),
    ],
)
def test_a_task_that_means_something_else_is_registered_anew(was: str, becomes: str) -> None:
    xml = task.xml("SYSTEM")
    assert was in xml
    seen = state(task={"state": "Running", "xml": xml.replace(was, becomes)})
    assert [re.match("register|restart", text)[0] for text in summaries(seen)] == ["register", "restart"]  # type: ignore[index]


def test_without_a_task_it_is_registered_and_started() -> None:
    seen = state(task={"state": "", "xml": ""}, processes=[], ollama=ollama(started=""))
    assert summaries(seen) == [
        rf"register the scheduled task {layout.TASK}, which runs Ollama at start-up as SYSTEM",
        rf"start the task {layout.TASK} (it is new)",
    ]


def test_a_changed_variable_is_set_and_the_server_restarted() -> None:
    found = task.changes(state(environment=variables(OLLAMA_HOST="127.0.0.1")), WANTED)
    assert found[0].summary == "set the machine's environment (OLLAMA_HOST: 127.0.0.1 -> 0.0.0.0:11434)"
    assert isinstance(found[0].action, Script)
    assert found[0].action.variables["Names"] == ["OLLAMA_HOST"]
    assert [one.summary for one in found[1:]] == [rf"restart the task {layout.TASK} (its settings changed)"]


def test_a_variable_that_people_have_set_stays_and_one_of_ours_that_is_no_longer_declared_goes() -> None:
    more = [{"name": "OLLAMA_DEBUG", "value": "1"}, {"name": "OLLAMA_NUM_PARALLEL", "value": "2"}]
    document: dict[str, Any] = {
        "environment": [*answer()["environment"], *more],
        "owned": [*answer()["owned"], "OLLAMA_NUM_PARALLEL"],
    }
    found = task.changes(state(**document), WANTED)[0]
    assert found.summary == "set the machine's environment (OLLAMA_NUM_PARALLEL: 2 -> unset)"
    assert isinstance(found.action, Script)
    assert found.action.variables["Remove"] == ["OLLAMA_NUM_PARALLEL"]


def test_a_variable_with_the_right_value_that_is_not_noted_as_ours_is_noted() -> None:
    (first, *_) = summaries(state(owned=["OLLAMA_MODELS"]))
    assert first == "note which variables are corral's"


def test_a_server_that_was_started_by_hand_is_started_by_its_task() -> None:
    seen = state(task={"state": "Ready", "xml": task.xml("SYSTEM")})
    assert summaries(seen) == [rf"restart the task {layout.TASK} (its server was not started by the task)"]


def test_a_server_of_another_release_is_restarted() -> None:
    wanted = replace(WANTED, executable=rf"{layout.PROGRAMS}\0.35.0\ollama.exe")
    assert summaries(state(), wanted)[0].startswith(rf"restart the task {layout.TASK} (it runs C:\Program Files")


def test_a_run_that_was_cut_off_before_the_restart_is_finished() -> None:
    note = '{"pid": 7, "executable": "x", "environment": {"OLLAMA_HOST": "127.0.0.1"}, "secrets": ""}'
    assert summaries(state(ollama=ollama(started=note))) == [rf"restart the task {layout.TASK} (its settings changed)"]


def test_a_secret_goes_into_a_file_that_others_cannot_read() -> None:
    wanted = replace(WANTED, secrets={"HTTPS_PROXY": "http://me:pa%ss@proxy:3128"})
    found = task.changes(state(), wanted)
    assert [one.summary for one in found] == [
        rf"write {layout.SECRETS} (secret)",
        rf"restart the task {layout.TASK} (its settings changed)",
    ]
    assert isinstance(found[0].action, Script)
    assert found[0].action.variables["Secret"] is True
    held = ollama(secrets=task.secrets_file(wanted), secrets_sddl=OPEN_TO_USERS)
    assert summaries(state(ollama=held), wanted)[0] == rf"write {layout.SECRETS} (secret)"
    safe = "O:BAG:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)"
    held = ollama(secrets=task.secrets_file(wanted), secrets_sddl=safe, started=started(task.secrets_digest(wanted)))
    assert summaries(state(ollama=held), wanted) == []


def started(secrets: str) -> str:
    text: str = answer()["ollama"]["started"]
    return text.replace('"secrets": ""', f'"secrets": "{secrets}"')


def test_secrets_that_are_no_longer_declared_are_removed() -> None:
    seen = state(ollama=ollama(secrets="HTTPS_PROXY=x\n", secrets_sddl="O:BAG:SYD:PAI(A;;FA;;;SY)"))
    assert summaries(seen)[0] == f"remove {layout.SECRETS}"


def test_local_service_is_let_into_the_directories_that_it_writes_in() -> None:
    wanted = replace(WANTED, account="LOCAL SERVICE")
    assert summaries(state(), wanted)[:2] == [
        f"make {layout.STATE}, for LOCAL SERVICE to write in",
        f"make {layout.MODELS}, for LOCAL SERVICE to write in",
    ]
    may = "(A;OICI;0x1301bf;;;LS)"
    held = ollama(state_sddl=CLOSED + may, models_sddl=OPEN_TO_USERS + may)
    seen = state(ollama=held, task={"state": "Running", "xml": task.xml("LOCAL SERVICE")})
    assert summaries(seen, wanted) == []


@pytest.mark.parametrize("rights", [OPEN_TO_USERS, CLOSED.replace("O:BA", "O:S-1-5-21-1-2-3-1001")])
def test_the_directory_of_what_runs_as_system_is_closed_to_users_and_taken_from_them(rights: str) -> None:
    seen = state(ollama=ollama(state_sddl=rights))
    (close,) = task.changes(seen, WANTED)
    assert close.summary == f"close {layout.STATE}"
    assert isinstance(close.action, Script)
    assert close.action.variables["Closed"] is True


def test_a_policy_that_forbids_scripts_is_said() -> None:
    with pytest.raises(CorralError, match="execution policy to AllSigned"):
        task.check(state(os={**answer()["os"], "scripts": "AllSigned"}))
    task.check(state())


def test_a_start_script_of_somebody_else_is_left_alone() -> None:
    with pytest.raises(CorralError, match="was not written by corral"):
        task.check(state(ollama=ollama(start="Write-Output 1")))

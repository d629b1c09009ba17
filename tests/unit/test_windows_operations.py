"""Facts and operations for Windows hosts: what is asked, what is changed, and that the second time changes nothing.

The host is a dictionary that answers each script by its name; the scripts themselves are run in
test_windows_facts.py.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.config import Config
from pyinfra.api.facts import FactBase
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State
from pyinfra.api.util import TEMPLATES
from pyinfra.connectors.util import CommandOutput, OutputLine

from corral.connectors.windows import WindowsConnector
from corral.errors import CorralError
from corral.windows import facts, operations
from corral.windows.scripting import PowerShell

#: 2026-11-22 10:00 UTC in units of 100 ns since 1601.
TIME = 134_398_152_000_000_000


@dataclass
class Machine:
    """A Windows host as far as these scripts see it."""

    files: dict[str, bytes | None] = field(default_factory=lambda: {"C:": None})
    variables: dict[str, tuple[str, object]] = field(default_factory=dict)
    values: dict[tuple[str, str], tuple[str, object]] = field(default_factory=dict)
    services: dict[str, list[str]] = field(default_factory=dict)
    booted: int = TIME
    clock: int = TIME + 36_000_000_000
    #: How often it still shows the old boot time after a reboot.
    going_down: int = 0
    broken: str = ""
    ran: list[str] = field(default_factory=list)

    def run(self, command: PowerShell) -> tuple[bool, CommandOutput]:
        if self.broken == command.name:
            return False, CommandOutput([OutputLine("stderr", "it is broken.")])
        answer = getattr(self, command.name.removesuffix(".ps1"), None)
        if answer is None:
            self.ran.append(command.text)
            return True, CommandOutput([])
        found = answer(**command.parameters)
        lines = [] if found is NOTHING else [OutputLine("stdout", json.dumps(found))]
        if found is NOTHING or command.name == "reboot.ps1":
            self.ran.append(str(command))
        return True, CommandOutput(lines)

    def file(self, Path: str) -> object:
        if Path.rstrip("\\") not in self.files:
            return {"type": "none"}
        content = self.files[Path.rstrip("\\")]
        if content is None:
            return {"type": "directory", "mtime": TIME}
        return {"type": "file", "size": len(content), "mtime": TIME, "read_only": False}

    def sha256(self, Path: str) -> object:
        content = self.files.get(Path)
        return hashlib.sha256(content).hexdigest().upper() if content is not None else None

    def directory(self, Path: str) -> object:
        self.files[Path] = None
        return NOTHING

    def touch(self, Path: str) -> object:
        self.files.setdefault(Path, b"")
        return NOTHING

    def remove(self, Path: str) -> object:
        self.files = {path: it for path, it in self.files.items() if not (path + "\\").startswith(Path + "\\")}
        return NOTHING

    def set_aside(self, Path: str, Directory: str) -> object:
        self.files[f"{Directory or Path}.aside"] = self.files.pop(Path)
        return NOTHING

    def environment(self) -> object:
        return {name: _stored(pair) for name, pair in self.variables.items()}

    def set_environment(self, Variable: str, Value: str, Present: bool) -> object:
        self.variables.pop(Variable, None)
        if Present:
            self.variables[Variable] = ("ExpandString" if "%" in Value else "String", Value)
        return NOTHING

    def set_registry(self, Path: str, Name: str, Kind: str, Value: list[str]) -> object:
        stored: object = Value if Kind == "MultiString" else int(Value[0]) if "Word" in Kind else Value[0]
        self.values[Path, Name] = (Kind, stored)
        return NOTHING

    def remove_registry(self, Path: str, Name: str) -> object:
        del self.values[Path, Name]
        return NOTHING

    def service(self, Name: str) -> object:
        if Name not in self.services:
            return None
        status, start_type = self.services[Name]
        return {"name": Name, "display_name": Name, "status": status, "start_type": start_type}

    def control_service(self, Name: str, Action: str) -> object:
        at, to = {
            "start": (0, "Running"),
            "stop": (0, "Stopped"),
            "restart": (0, "Running"),
            "enable": (1, "Automatic"),
            "disable": (1, "Disabled"),
        }[Action]
        self.services[Name][at] = to
        return NOTHING

    def registry(self, Path: str, Name: str) -> object:
        return _stored(self.values.get((Path, Name)))

    def reboot(self) -> object:
        self.going_down = 2
        return self.clock

    def boot_time(self) -> object:
        self.going_down -= 1
        return self.booted if self.going_down >= 0 else self.clock + 100_000_000


NOTHING = object()


def _stored(pair: tuple[str, object] | None) -> object:
    return {"Kind": pair[0], "Value": pair[1]} if pair else None


@dataclass
class Fleet:
    """Runs of pyinfra's over the machine, and over another host that must go on whatever happens."""

    machine: Machine
    directory: Path
    change: int = 0

    def run(self, asked: Any, *, dry: bool = False, ok: bool = True, **arguments: Any) -> list[str]:
        """What an operation ran; nothing under dry. change: whether it said that it would."""
        state = State(Inventory((["@windows/box", "@windows/other"], {})), Config())
        state.cwd = str(self.directory)
        box, other = state.inventory.get_host("box"), state.inventory.get_host("other")
        for host in (box, other):
            host.connected = True
            state.activate_host(host)
        self.machine.ran.clear()
        add_op(state, asked, host=box, **arguments)
        self.change = state.get_meta_for_host(box).ops_change
        if not dry:
            add_op(state, operations.powershell, commands="'other'", host=other)
            run_ops(state)
            assert self.machine.ran.count("'other'") == 1, "the other host did not go on"
            self.machine.ran.remove("'other'")
        assert (box in state.failed_hosts) is not ok
        assert other not in state.failed_hosts
        return list(self.machine.ran)

    def fact(self, asked: type[FactBase[Any]], **arguments: Any) -> Any:
        state = State(Inventory((["@windows/box"], {})), Config())
        host = state.inventory.get_host("box")
        host.connected = True
        return host.get_fact(asked, **arguments)

    def changes_once(self, asked: Any, **arguments: Any) -> list[str]:
        """As ansible proves it: dry says so and changes nothing, real does it, again is nothing, dry too."""
        before = repr(self.machine)
        assert self.run(asked, dry=True, **arguments) == []
        assert self.change == 1
        assert repr(self.machine) == before
        done = self.run(asked, **arguments)
        assert done
        assert self.run(asked, **arguments) == []
        self.run(asked, dry=True, **arguments)
        assert self.change == 0
        return done


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def fleet(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fleet:
    def put(self: WindowsConnector, source: Any, path: str, *_: object, **__: object) -> bool:
        content = Path(source).read_bytes() if isinstance(source, str) else source.read()
        machine.files[path] = content.encode() if isinstance(content, str) else content
        machine.ran.append(f"upload {path}")
        return True

    def get(self: WindowsConnector, path: str, target: str, *_: object, **__: object) -> bool:
        content = machine.files[path]
        assert content is not None
        Path(target).write_bytes(content)
        machine.ran.append(f"download {path}")
        return True

    def answer(self: WindowsConnector, command: PowerShell, **arguments: object) -> tuple[bool, CommandOutput]:
        return machine.run(command)

    monkeypatch.setattr(WindowsConnector, "run_shell_command", answer)
    monkeypatch.setattr(WindowsConnector, "put_file", put)
    monkeypatch.setattr(WindowsConnector, "get_file", get)
    monkeypatch.setattr(WindowsConnector, "connect", lambda self: None)
    monkeypatch.setattr("corral.windows.operations.time.sleep", lambda seconds: None)
    return Fleet(machine, tmp_path)


# --- Files ------------------------------------------------------------------------------------------------------------


def test_put_uploads_what_differs_and_makes_the_directory_once(fleet: Fleet) -> None:
    (fleet.directory / "a.txt").write_bytes(b"one")
    done = fleet.changes_once(operations.put, src="a.txt", dest="C:\\目录\\a.txt")
    assert done == ["directory.ps1 -Path C:\\目录", "upload C:\\目录\\a.txt"]
    (fleet.directory / "a.txt").write_bytes(b"two")
    assert fleet.changes_once(operations.put, src="a.txt", dest="C:\\目录\\a.txt") == ["upload C:\\目录\\a.txt"]


def test_put_into_a_directory_keeps_the_files_name(fleet: Fleet) -> None:
    (fleet.directory / "a.txt").write_bytes(b"one")
    assert fleet.changes_once(operations.put, src="a.txt", dest="C:\\") == ["upload C:\\a.txt"]


def test_put_with_force_uploads_the_same_again(fleet: Fleet) -> None:
    fleet.machine.files["C:\\a"] = b"one"
    assert fleet.run(operations.put, src=BytesIO(b"one"), dest="C:\\a", force=True) == ["upload C:\\a"]


def test_a_local_file_that_is_missing_fails_this_host_alone(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    assert fleet.run(operations.put, src="no", dest="C:\\a", ok=False) == []
    assert "there is no file" in caplog.text


def test_what_is_wrong_fails_the_host_under_dry_too_unless_errors_are_ignored(fleet: Fleet) -> None:
    fleet.run(operations.put, src="no", dest="C:\\a", dry=True, ok=False)
    fleet.run(operations.put, src="no", dest="C:\\a", dry=True, _ignore_errors=True)


@pytest.mark.parametrize("argument", ["user", "group", "mode"])
@pytest.mark.parametrize("asked", ["put", "template", "file", "directory"])
def test_owners_and_modes_are_refused_not_ignored(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, asked: str, argument: str
) -> None:
    source: dict[str, Any] = (
        {"src": StringIO("x"), "dest": "C:\\a"} if asked in ("put", "template") else {"path": "C:\\a"}
    )
    assert fleet.run(getattr(operations, asked), ok=False, **source | {argument: "644"}) == []
    assert f"{argument} has no meaning on a Windows host" in caplog.text


@pytest.mark.parametrize(("options", "end"), [(None, "\n"), ({"newline_sequence": "\r\n"}, "\r\n")])
def test_template_renders_with_data_and_host_and_the_line_ends_that_jinja_is_told(
    fleet: Fleet, options: dict[str, str] | None, end: str
) -> None:
    (fleet.directory / "a.j2").write_bytes("{{ host.name }}: {{ model }}\r\n模型\n".encode())
    TEMPLATES.clear()
    fleet.changes_once(operations.template, src="a.j2", dest="C:\\a", model="qwen", jinja_env_kwargs=options)
    assert fleet.machine.files["C:\\a"] == f"box: qwen{end}模型{end}".encode()


def test_a_template_with_a_name_that_is_not_there_fails_this_host_alone(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    assert fleet.run(operations.template, src=StringIO("{{ no }}"), dest="C:\\a", ok=False) == []
    assert "'no' is undefined" in caplog.text


def test_get_downloads_what_differs(fleet: Fleet) -> None:
    fleet.machine.files["C:\\a"] = b"one"
    done = fleet.changes_once(operations.get, src="C:\\a", dest="here/a", create_local_dir=True)
    assert done == ["download C:\\a"]
    assert (fleet.directory / "here" / "a").read_bytes() == b"one"


def test_a_file_is_made_and_removed_once(fleet: Fleet) -> None:
    assert fleet.changes_once(operations.file, path="C:\\d\\a") == [
        "directory.ps1 -Path C:\\d",
        "touch.ps1 -Path C:\\d\\a",
    ]
    assert fleet.changes_once(operations.file, path="C:\\d\\a", present=False) == ["remove.ps1 -Path C:\\d\\a"]


def test_a_directory_is_made_and_removed_once(fleet: Fleet) -> None:
    assert fleet.changes_once(operations.directory, path="C:\\d") == ["directory.ps1 -Path C:\\d"]
    assert fleet.changes_once(operations.directory, path="C:\\d", present=False) == ["remove.ps1 -Path C:\\d"]


def test_a_directory_in_a_files_place_is_left_unless_it_is_forced(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.machine.files["C:\\d"] = None
    assert fleet.run(operations.file, path="C:\\d", ok=False) == []
    assert "C:\\d is there, and is not a file. Correct path, or set force to move it away." in caplog.text
    done = fleet.changes_once(operations.file, path="C:\\d", force=True, create_remote_dir=False)
    assert done == ["set_aside.ps1 -Path C:\\d -Directory ", "touch.ps1 -Path C:\\d"]


def test_a_file_in_a_directorys_place_is_removed_where_no_backup_is_wanted(fleet: Fleet) -> None:
    fleet.machine.files["C:\\d"] = b"x"
    done = fleet.changes_once(operations.directory, path="C:\\d", force=True, force_backup=False)
    assert done == ["remove.ps1 -Path C:\\d", "directory.ps1 -Path C:\\d"]


# --- Environment and registry -----------------------------------------------------------------------------------------


def test_a_variable_is_set_changed_and_removed_once_whatever_the_case_of_its_name(fleet: Fleet) -> None:
    fleet.changes_once(operations.environment_variable, variable="App_Models", value="D:\\模型")
    assert fleet.machine.variables == {"App_Models": ("String", "D:\\模型")}
    fleet.machine.variables = {"APP_MODELS": ("String", "%A%")}
    fleet.run(operations.environment_variable, variable="APP_MODELS", value="%A%")
    assert fleet.machine.variables == {"APP_MODELS": ("ExpandString", "%A%")}
    assert fleet.run(operations.environment_variable, variable="app_models", value="%A%") == []
    fleet.changes_once(operations.environment_variable, variable="APP_MODELS", present=False)


@pytest.mark.parametrize(
    ("kind", "data", "sent"),
    [
        ("String", "x", ["x"]),
        ("DWord", 4_294_967_295, ["-1"]),
        ("DWord", 5, ["5"]),
        ("QWord", 2**63, [str(-(2**63))]),
        ("MultiString", [], []),
        ("MultiString", ["a", ""], ["a", ""]),
    ],
)
def test_a_value_of_the_registry_is_set_once_and_removed_once(
    fleet: Fleet, kind: str, data: object, sent: list[str]
) -> None:
    where = {"path": "HKLM:\\SOFTWARE\\App", "value": "v"}
    assert facts.as_text(kind, data) == sent  # type: ignore[arg-type]
    fleet.changes_once(operations.registry_value, **where, kind=kind, data=data)
    assert fleet.fact(facts.Registry, **where) == facts.Value(kind, data)  # type: ignore[arg-type]
    fleet.changes_once(operations.registry_value, **where, present=False)
    assert fleet.fact(facts.Registry, **where) is None


@pytest.mark.parametrize(
    ("kind", "data"), [("DWord", -1), ("DWord", 2**32), ("DWord", True), ("String", 5), ("Binary", "x")]
)
def test_a_value_that_does_not_fit_its_kind_is_refused(kind: Any, data: Any) -> None:
    with pytest.raises(CorralError, match="is not a value of the kind"):
        facts.as_text(kind, data)


# --- Services, PowerShell, reboot -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "wanted", "actions"),
    [
        (("Stopped", "Manual"), {}, ["start"]),
        (("Stopped", "Disabled"), {"enabled": True}, ["enable", "start"]),
        (("Running", "Automatic"), {"running": False, "enabled": False}, ["stop", "disable"]),
        (("Running", "Automatic"), {"running": None, "enabled": False}, ["disable"]),
    ],
)
def test_a_service_is_brought_to_where_it_should_be_once(
    fleet: Fleet, before: tuple[str, str], wanted: dict[str, object], actions: list[str]
) -> None:
    fleet.machine.services["w32time"] = list(before)
    done = fleet.changes_once(operations.service, service="w32time", **wanted)
    assert done == [f"control_service.ps1 -Name w32time -Action {action}" for action in actions]


def test_a_service_is_restarted_when_asked_and_started_instead_when_it_does_not_run(fleet: Fleet) -> None:
    fleet.machine.services["s"] = ["Stopped", "Manual"]
    assert fleet.run(operations.service, service="s", restarted=True) == ["control_service.ps1 -Name s -Action start"]
    assert fleet.run(operations.service, service="s", restarted=True) == ["control_service.ps1 -Name s -Action restart"]


@pytest.mark.parametrize(
    ("service", "said"), [("no", "there is no service no"), ("w*", "is not the name of one service")]
)
def test_a_service_that_is_not_there_fails_its_host(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, service: str, said: str
) -> None:
    assert fleet.run(operations.service, service=service, ok=False) == []
    assert said in caplog.text


def test_each_command_is_a_powershell_of_its_own_and_runs_each_time(fleet: Fleet) -> None:
    for _ in range(2):
        assert fleet.run(operations.powershell, commands=["'a'", "'b'"], parameters={"X": 1}) == ["'a'", "'b'"]


def test_a_reboot_waits_until_windows_was_started_after_it_was_asked_to(fleet: Fleet) -> None:
    assert fleet.run(operations.reboot) == ["reboot.ps1"]
    assert fleet.machine.going_down == -1


def test_a_reboot_that_never_comes_fails_the_host(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Machine, "boot_time", lambda self: self.booted)
    fleet.run(operations.reboot, reboot_timeout=0.05, ok=False)
    assert "it was not back 0 s after the reboot" in caplog.text


@pytest.mark.parametrize(
    ("asked", "arguments", "broken"),
    [
        (operations.put, {"src": BytesIO(b"x"), "dest": "C:\\a"}, "file.ps1"),
        (operations.directory, {"path": "C:\\d"}, "directory.ps1"),
        (operations.environment_variable, {"variable": "A", "value": "b"}, "environment.ps1"),
        (operations.reboot, {}, "reboot.ps1"),
    ],
)
def test_a_script_that_fails_fails_its_host_and_nothing_more_is_done_there(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, asked: Any, arguments: dict[str, Any], broken: str
) -> None:
    fleet.machine.broken = broken
    assert fleet.run(asked, ok=False, **arguments) == []
    assert "it is broken." in caplog.text


# --- Facts ------------------------------------------------------------------------------------------------------------


def test_a_files_fact_is_its_size_and_time_false_for_a_directory_none_for_nothing(fleet: Fleet) -> None:
    fleet.machine.files |= {"C:\\f": b"four", "C:\\d": None}
    assert fleet.fact(facts.File, path="C:\\f") == {"size": 4, "mtime": datetime(2026, 11, 22, 10), "read_only": False}
    assert fleet.fact(facts.File, path="C:\\d") is False
    assert fleet.fact(facts.File, path="C:\\n") is None
    assert fleet.fact(facts.Directory, path="C:\\d") == {"mtime": datetime(2026, 11, 22, 10)}
    assert fleet.fact(facts.Directory, path="C:\\f") is False
    assert fleet.fact(facts.Directory, path="C:\\n") is None


def test_numbers_of_the_registry_are_unsigned_and_binary_values_bytes(fleet: Fleet) -> None:
    fleet.machine.values = {("HKLM:\\x", "d"): ("DWord", -2), ("HKLM:\\x", "b"): ("Binary", [0, 255])}
    assert fleet.fact(facts.Registry, path="HKLM:\\x", value="d") == facts.Value("DWord", 4_294_967_294)
    assert fleet.fact(facts.Registry, path="HKLM:\\x", value="b") == facts.Value("Binary", b"\0\xff")


def test_which_windows_it_is() -> None:
    found = {
        "CurrentBuildNumber": "17763",
        "UBR": 6532,
        "EditionID": "ServerStandard",
        "InstallationType": "Server Core",
        "DisplayVersion": None,
        "architecture": "AMD64",
        "language": "zh-CN",
        "elevated": True,
        "powershell": "5.1.17763.6414",
    }
    assert facts.Os().process([json.dumps(found)]) == facts.OperatingSystem(
        17763, 6532, "", "ServerStandard", True, "AMD64", "zh-CN", True, "5.1.17763.6414"
    )


@pytest.mark.parametrize(
    ("task", "folder", "name"), [("\\corral\\ollama", "\\corral\\", "ollama"), ("x", "\\", "x"), ("\\x", "\\", "x")]
)
def test_a_scheduled_task_is_asked_for_by_its_folder_and_its_name(task: str, folder: str, name: str) -> None:
    assert facts.ScheduledTask().command(task).parameters == {"Folder": folder, "Name": name}


def test_an_answer_that_cannot_be_read_fails_the_host(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Machine, "environment", lambda self: ["?"])
    assert fleet.run(operations.environment_variable, variable="A", value="b", ok=False) == []
    assert "the host's answer cannot be read" in caplog.text

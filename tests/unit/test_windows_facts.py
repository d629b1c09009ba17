"""The scripts of corral.windows' facts and operations, their very text, on the lab's model of a Windows machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from corral.errors import CorralError
from corral.windows import clixml, facts, powershell
from corral.windows.facts import Kind, Stored, Value, as_text
from corral.windows.powershell import Answer, Output, Ready
from corral.windows.scripting import PowerShell, script
from lab.windows.commands import Shell, make_engine
from lab.windows.machine import Machine

KEY = "HKLM:\\SOFTWARE\\corral test"


class Windows:
    """A machine whose drive C: is a directory of this one."""

    def __init__(self, directory: Path) -> None:
        self.drive = directory / "c"
        machine = Machine.create(directory / "state", {"C": self.drive})
        session = machine.session(machine.user)
        self.shell = Shell(session, 4711, "C:\\", session.environment())

    def run(self, command: PowerShell) -> list[str]:
        """Its lines of output. Raises CorralError where it fails."""
        stdout, stderr = BytesIO(), BytesIO()
        engine = make_engine(self.shell, BytesIO(command.request()), stdout, stderr)
        exit_code = engine.run_command_line(powershell.COMMAND.removeprefix("powershell.exe "))
        answer = Answer()
        events = answer.feed(stdout.getvalue())
        answer.check(command.name, exit_code, clixml.decode(stderr.getvalue()))
        lines = (event for event in events if not isinstance(event, Ready))
        return [event.line if isinstance(event, Output) else event.text for event in lines]

    def fact(self, fact: facts._Fact[Any], **arguments: Any) -> Any:
        return fact.process(self.run(fact.command(**arguments)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    return Windows(tmp_path_factory.mktemp("windows"))


def test_a_directory_and_a_file_are_made_seen_and_removed(windows: Windows) -> None:
    path = "C:\\目 录\\[a]\\x.txt"
    windows.run(script("directory.ps1", Path="C:\\目 录\\[a]"))
    windows.run(script("directory.ps1", Path="C:\\目 录\\[a]"))
    windows.run(script("touch.ps1", Path=path))
    (windows.drive / "目 录" / "[a]" / "x.txt").write_bytes(b"four")
    found = windows.fact(facts.File(), path=path)
    assert found["size"] == 4
    assert found["read_only"] is False
    assert abs(found["mtime"] - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)
    assert windows.fact(facts.Directory(), path=path) is False
    assert windows.fact(facts.Directory(), path="C:\\目 录\\[a]").keys() == {"mtime"}
    assert windows.fact(facts.File(), path="C:\\目 录") is False
    windows.run(script("remove.ps1", Path="C:\\目 录"))
    assert windows.fact(facts.Directory(), path="C:\\目 录") is None
    assert windows.fact(facts.File(), path=path) is None


def test_a_drive_that_is_not_there_holds_nothing(windows: Windows) -> None:
    assert windows.fact(facts.File(), path="Q:\\x") is None


def test_touching_a_file_changes_its_time_and_nothing_else(windows: Windows) -> None:
    path = windows.drive / "old.txt"
    path.write_bytes(b"kept")
    os.utime(path, (0, 0))
    windows.run(script("touch.ps1", Path="C:\\old.txt"))
    assert path.read_bytes() == b"kept"
    assert path.stat().st_mtime > 1_000_000_000


def test_the_sum_of_a_file_is_that_of_its_bytes(windows: Windows) -> None:
    (windows.drive / "sum.bin").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert windows.fact(facts.Sha256File(), path="C:\\sum.bin") == expected
    assert windows.fact(facts.Sha256File(), path="C:\\no.bin") is None


@pytest.mark.parametrize("there", [True, False])
def test_a_file_takes_the_place_of_another(windows: Windows, there: bool) -> None:
    (windows.drive / "new").write_bytes(b"new")
    (windows.drive / "target").unlink(missing_ok=True)
    if there:
        (windows.drive / "target").write_bytes(b"old")
    windows.run(script("replace_file.ps1", From="C:\\new", To="C:\\target"))
    assert (windows.drive / "target").read_bytes() == b"new"
    assert not (windows.drive / "new").exists()


@pytest.mark.parametrize("directory", ["", "C:\\backups"])
def test_what_is_in_the_way_is_set_aside(windows: Windows, directory: str) -> None:
    (windows.drive / "backups").mkdir(exist_ok=True)
    (windows.drive / "way").mkdir()
    windows.run(script("set_aside.ps1", Path="C:\\way", Directory=directory))
    assert not (windows.drive / "way").exists()
    where = windows.drive / "backups" if directory else windows.drive
    assert len(list(where.glob("way.20*"))) == 1


def test_a_variable_of_the_machine_is_set_seen_as_it_is_stored_and_removed(windows: Windows) -> None:
    windows.run(script("set_environment.ps1", Variable="CORRAL_A", Value="%SystemRoot%\\模", Present=True))
    windows.run(script("set_environment.ps1", Variable="CORRAL_B", Value="D:\\模", Present=True))
    found = windows.fact(facts.Environment())
    assert found["CORRAL_A"] == Value("ExpandString", "%SystemRoot%\\模")
    assert found["CORRAL_B"] == Value("String", "D:\\模")
    assert found["Path"].value.startswith("%SystemRoot%")
    for name in ("CORRAL_A", "CORRAL_B", "corral_no"):
        windows.run(script("set_environment.ps1", Variable=name, Value="", Present=False))
    assert not [name for name in windows.fact(facts.Environment()) if name.startswith("CORRAL")]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("String", "模'型"),
        ("ExpandString", "%A%"),
        ("DWord", 4_294_967_295),
        ("QWord", 2**64 - 2),
        ("MultiString", ["one"]),
        ("MultiString", []),
        ("Binary", b"\0\xff"),
        ("Binary", b"\x01"),
    ],
)
def test_a_value_of_the_registry_comes_back_as_it_was_set_and_goes(windows: Windows, kind: Kind, data: Stored) -> None:
    windows.run(script("set_registry.ps1", Path=KEY, Name="v", Kind=kind, Value=as_text(kind, data)))
    assert windows.fact(facts.Registry(), path=KEY, value="V") == Value(kind, data)
    windows.run(script("remove_registry.ps1", Path=KEY, Name="v"))
    windows.run(script("remove_registry.ps1", Path=KEY, Name="v"))
    assert windows.fact(facts.Registry(), path=KEY, value="v") is None


def test_a_key_that_is_not_there_has_no_values(windows: Windows) -> None:
    assert windows.fact(facts.Registry(), path="HKEY_LOCAL_MACHINE\\SOFTWARE\\no such key", value="v") is None


def test_a_path_of_no_hive_is_refused(windows: Windows) -> None:
    with pytest.raises(CorralError, match=r"Not a path of the registry: C:\\x"):
        windows.fact(facts.Registry(), path="C:\\x", value="v")


def test_which_windows_it_is(windows: Windows) -> None:
    found = windows.fact(facts.Os())
    assert (found.architecture, found.elevated, found.server) == ("AMD64", True, False)
    assert found.build > 19_000
    assert found.powershell.startswith("5.1.")


def test_when_it_was_started(windows: Windows) -> None:
    assert windows.fact(facts.BootTime()) < datetime.now(UTC).replace(tzinfo=None)


def test_a_service_is_seen_stopped_disabled_enabled_and_started(windows: Windows) -> None:
    assert windows.fact(facts.Service(), service="no such service") is None
    for action in ("stop", "disable"):
        windows.run(script("control_service.ps1", Name="sshd", Action=action))
    assert windows.fact(facts.Service(), service="sshd") == {
        "name": "sshd",
        "display_name": "OpenSSH SSH Server",
        "status": "Stopped",
        "start_type": "Disabled",
    }
    for action in ("enable", "start", "restart"):
        windows.run(script("control_service.ps1", Name="sshd", Action=action))
    found = windows.fact(facts.Service(), service="sshd")
    assert (found["status"], found["start_type"]) == ("Running", "Automatic")


def test_a_scheduled_task_that_is_not_there_is_none(windows: Windows) -> None:
    assert windows.fact(facts.ScheduledTask(), task="\\corral\\no") is None


def test_a_command_stands_for_a_program_on_the_path(windows: Windows) -> None:
    assert windows.fact(facts.Which(), command="icacls.exe").lower() == "c:\\windows\\system32\\icacls.exe"
    assert windows.fact(facts.Which(), command="no-such.exe") is None


# --- Functions of lib.ps1 ---------------------------------------------------------------------------------------------


def own(text: str, **parameters: powershell.Value) -> PowerShell:
    return PowerShell(powershell.assemble(text), "test", parameters)


def test_a_text_file_is_written_without_byte_order_mark_replaced_and_read(windows: Windows) -> None:
    for text in ("模型\r\n", "", "two\n"):
        windows.run(own("param($Text)\nWrite-TextFile 'C:\\text.txt' $Text", Text=text))
        assert (windows.drive / "text.txt").read_bytes() == text.encode()
        assert windows.run(own("Emit 'it' (Read-TextFile 'C:\\text.txt')")) == [text]
    assert windows.run(own("Emit-Json 'it' (Read-TextFile 'C:\\none.txt')")) == ["null"]
    assert not list(windows.drive.glob("text.txt.*"))


def test_a_text_file_never_takes_a_directorys_place(windows: Windows) -> None:
    (windows.drive / "dir").mkdir()
    with pytest.raises(CorralError, match="dir is a directory"):
        windows.run(own("Write-TextFile 'C:\\dir' 'x'"))
    assert list((windows.drive / "dir").iterdir()) == []


def test_a_protected_path_is_open_to_system_and_administrators_alone(windows: Windows) -> None:
    windows.run(own("Write-TextFile 'C:\\secret.txt' 'x'\nProtect-Path 'C:\\secret.txt'"))
    (sddl,) = windows.run(own("(Get-Acl -LiteralPath 'C:\\secret.txt').Sddl"))
    entries = sddl.partition("D:")[2]
    assert entries.startswith("PAI")
    assert sorted(entry.split(";")[-1] for entry in entries.split(")")[:-1]) == ["BA", "SY"]


def test_whether_the_user_is_elevated(windows: Windows) -> None:
    assert windows.run(own("Test-Elevated")) == ["True"]

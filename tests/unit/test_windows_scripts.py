"""corral's scripts for Windows, run by the lab's stand-in for PowerShell against a model of a machine.

What this proves: that their text runs in strict mode and does what it says to a machine as the model has it. Not that
Windows does.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corral import layout_windows as layout
from corral.errors import CorralError
from corral.firewall import windows as firewall
from corral.firewall.scope import Scope
from corral.platforms.windows import WINDOWS
from corral.probe import windows as probe
from corral.probe.windows import WindowsState
from corral.remote import HostError
from corral.run import HostRun
from corral.scripts import Script
from corral.service import task
from tests.unit.windows_answer import WANTED
from tests.unit.windows_computer import Computer

MODELS = r"D:\模型\Ollama models"
ENVIRONMENT = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path, nvidia=False)


def look(computer: Computer, models_dir: str = MODELS) -> WindowsState:
    script = Script("probe/probe.ps1", probe.parameters(models_dir, 11434), then=("gpus/probe.ps1",))
    return probe.parse(computer.run(script)["result"], models_dir)


def variables(computer: Computer) -> dict[str, Any]:
    tree = computer.machine.system.registry.tree(ENVIRONMENT)
    return {name: value[1] for name, value in tree["values"].items()}


def apply(computer: Computer, *summaries: str, wanted: Any = None) -> None:
    """Carry out those changes of the service that begin so."""
    seen = look(computer)
    for change in task.changes(seen, wanted or replace(WANTED, models_dir=MODELS)):
        if change.summary.startswith(summaries):
            assert isinstance(change.action, Script)
            computer.run(change.action)


def test_a_new_machine_is_seen_as_one(computer: Computer) -> None:
    seen = look(computer)
    assert seen.fails == {}
    assert (seen.root, seen.build, seen.architecture) == (True, 22631, "amd64")
    assert seen.free_for_models > 0
    assert not seen.server.running
    assert seen.firewall.filters


def test_variables_are_set_noted_and_put_back(computer: Computer) -> None:
    registry = computer.machine.system.registry
    from lab.windows.machine.registry import Kind, Value

    registry.set(ENVIRONMENT, Value("OLLAMA_HOST", Kind.String, "127.0.0.1"))
    before = registry.tree(ENVIRONMENT)
    apply(computer, "set the machine's environment")
    assert variables(computer)["OLLAMA_HOST"] == "0.0.0.0:11434"
    seen = look(computer)
    assert seen.owned == {"OLLAMA_HOST", "OLLAMA_MODELS"}
    assert seen.path[-1] == layout.PROGRAMS
    assert not [one for one in task.changes(seen, WANTED) if "environment" in one.summary]
    computer.run(
        Script(
            "service/environment.ps1",
            {
                "Names": [],
                "Values": [],
                "Remove": sorted(seen.owned),
                "Registry": layout.REGISTRY,
                "PathEntry": layout.PROGRAMS,
                "PathAction": "remove",
            },
        )
    )
    assert registry.tree(ENVIRONMENT) == before
    assert not registry.exists(r"HKEY_LOCAL_MACHINE\SOFTWARE\corral")


def test_files_are_written_as_they_are_and_secrets_for_administrators_alone(computer: Computer) -> None:
    text = 'FROM D:\\模型\\x\nTEMPLATE """<用户>"""\n'
    computer.run(WINDOWS.write_modelfile("r1_latest.modelfile", text))
    assert look(computer).modelfiles == {"r1_latest.modelfile": text}
    wanted = replace(WANTED, secrets={"HTTPS_PROXY": "http://me:pa\u2018ss@proxy:3128"})
    apply(computer, "write C:\\ProgramData\\Ollama\\secrets.txt", wanted=wanted)
    seen = look(computer)
    assert seen.secrets == task.secrets_file(wanted)
    assert not [one for one in task.changes(seen, wanted) if "secret" in one.summary]
    # Once more over the one that is there.
    computer.run(task.write(layout.SECRETS, "HTTPS_PROXY=other\n", secret=True))
    again = look(computer)
    assert again.secrets == "HTTPS_PROXY=other\n"
    assert again.secrets_sddl == seen.secrets_sddl


def test_the_task_comes_back_as_it_was_registered(computer: Computer) -> None:
    apply(computer, "write C:\\ProgramData\\Ollama\\start.ps1", "register the scheduled task")
    seen = look(computer)
    assert seen.task.state == "Ready"
    assert not task.differs(seen.task.xml, "SYSTEM")
    assert seen.start == task.start_script()


def test_the_rule_is_added_changed_and_removed(computer: Computer) -> None:
    def carry_out(scope: Scope | None) -> None:
        for change in firewall.changes(look(computer).firewall, scope, 11434, remove_blocks=False):
            assert isinstance(change.action, Script)
            computer.run(change.action)

    narrow = Scope.parse(["192.168.1.0/24"])
    for scope in (Scope.parse(["private"]), narrow, Scope.parse(["any"])):
        carry_out(scope)
        seen = look(computer).firewall
        assert firewall.missing(seen, scope, 11434) == []
        assert firewall.wider_than(seen, scope, 11434) == []
        assert firewall.changes(seen, scope, 11434, remove_blocks=False) == []
    assert firewall.wider_than(look(computer).firewall, narrow, 11434)
    carry_out(None)
    assert look(computer).firewall.rule is None


def test_a_release_is_switched_to_by_the_name_in_one_file(computer: Computer) -> None:
    directory = computer.drives["C"] / "Program Files/Ollama/0.34.4"
    directory.mkdir(parents=True)
    (directory / "ollama.exe").touch()
    (directory / layout.STAMP).write_text("archive digest\n")
    script = Script(
        "ollama/switch.ps1",
        {
            "Directory": layout.release_dir("0.34.4"),
            "Program": "ollama.exe",
            "Current": layout.CURRENT,
            "Command": layout.COMMAND,
            "Shim": "@rem\r\n",
        },
    )
    computer.run(script)
    seen = look(computer)
    assert (seen.current, seen.releases) == (layout.release_dir("0.34.4"), {"0.34.4": "archive digest"})
    assert seen.command == "@rem\r\n"
    (directory / "ollama.exe").unlink()
    with pytest.raises(HostError, match=r"holds no ollama\.exe"):
        computer.run(script)


def test_a_directory_is_made_for_a_service_of_fewer_rights(computer: Computer) -> None:
    wanted = replace(WANTED, models_dir=MODELS, account="LOCAL SERVICE")
    apply(computer, "make ", wanted=wanted)
    seen = look(computer)
    assert not [one for one in task.changes(seen, wanted) if one.summary.startswith("make ")]


def test_a_directory_that_a_user_has_made_below_program_data_is_closed_to_users(computer: Computer) -> None:
    machine = computer.machine
    user = machine.accounts.identity(machine.accounts.user_sid, administrator=False)
    machine.session(user).files.make_directory(layout.STATE)
    assert f"O:{machine.accounts.user_sid}" in computer.run_text(f"Emit 'x' (Get-Acl '{layout.STATE}').Sddl")["x"]
    apply(computer, "close ")
    sddl = computer.run_text(f"Emit 'x' (Get-Acl '{layout.STATE}').Sddl")["x"]
    assert sddl.startswith("O:BA")
    assert ";BU)" not in sddl
    assert not [one for one in task.changes(look(computer), WANTED) if layout.STATE in one.summary.split(" ")]


def test_a_file_whose_replacement_failed_half_way_is_the_new_one_and_otherwise_the_old_one(computer: Computer) -> None:
    file = computer.drives["C"] / "ProgramData/a"

    def write(replace: str) -> str:
        computer.run_text(rf"""
            function Invoke-Replace($From, $To) {{ {replace} }}
            [IO.File]::WriteAllText('C:\ProgramData\a', 'old')
            try {{ Write-TextFile 'C:\ProgramData\a' 'new' }} catch {{ }}
        """)
        return file.read_text()

    assert write("Remove-Item -LiteralPath $To; throw 'half way'") == "new"
    assert write("throw 'in use'") == "old"
    assert [path.name for path in file.parent.iterdir() if path.name.startswith("a.")] == []


def test_the_lock_is_held_until_the_input_ends_and_leaves_nothing(computer: Computer) -> None:
    places = computer.drives["C"] / "ProgramData"
    before = sorted(path.name for path in places.iterdir())
    locked = computer.run(WINDOWS.lock("by me"))
    assert locked["locked"].startswith(rf"{layout.RUN}\running" + "\\")
    assert sorted(path.name for path in places.iterdir()) == before


def test_a_script_of_a_run_that_has_lost_its_lock_does_nothing(computer: Computer) -> None:
    with pytest.raises(HostError, match="has lost its lock"):
        computer.run(task.write(layout.START, "x"), run_directory=rf"{layout.RUN}\running\gone")
    assert look(computer).start == ""


def test_what_is_removed_is_gone_and_what_is_gone_is_no_error(computer: Computer) -> None:
    computer.run(task.write(layout.START, "x"))
    for _ in range(2):
        computer.run(task.remove(layout.START, layout.LOGS))
    assert look(computer).start == ""


def test_someone_who_is_no_administrator_gets_no_lock(tmp_path: Path) -> None:
    with pytest.raises(CorralError, match="not an administrator"):
        Computer(tmp_path, nvidia=False, administrator=False).run(WINDOWS.lock("by me"))


def test_constrained_language_is_said(tmp_path: Path) -> None:
    constrained = Computer(tmp_path, nvidia=False, language_mode="ConstrainedLanguage")
    with pytest.raises(CorralError, match="constrained language mode"):
        look(constrained)


def test_the_servers_log_is_read_from_where_it_was_read_to(computer: Computer) -> None:
    log = computer.drives["C"] / "ProgramData/Ollama/logs/server.log"
    log.parent.mkdir(parents=True)
    log.write_text('level=INFO msg="inference compute" name=CUDA0\nnothing\n')
    first = computer.run(WINDOWS.server_log(""))
    assert first["journal"] == 'level=INFO msg="inference compute" name=CUDA0'
    with log.open("a") as file:
        file.write("load_tensors: offloaded 29/29 layers to GPU\n")
    assert computer.run(WINDOWS.server_log(first["cursor"]))["journal"] == "load_tensors: offloaded 29/29 layers to GPU"


def test_a_piece_of_a_file_comes_as_it_lies_there(computer: Computer) -> None:
    data = bytes(range(256)) * 20_000
    (computer.drives["D"] / "blob").write_bytes(data)
    script = WINDOWS.header([r"D:\blob", r"D:\missing"], [10, 0], [2_000_009, 9], {"PROXY": "", "NO_PROXY_FOR": ""})
    found = computer.run(script)
    assert gzip.decompress(base64.b64decode(found["part.0"])) == data[10:2_000_010] + b"\n206 0"
    assert gzip.decompress(base64.b64decode(found["part.1"])) == b"\n206 0"


def test_manifests_and_downloads_that_the_host_has_are_told(computer: Computer) -> None:
    blobs = computer.drives["D"] / "blobs"
    blobs.mkdir()
    (blobs / "sha256-aa").write_bytes(b"12345")
    (blobs / "sha256-bb-partial").write_bytes(b"0" * 100)
    (blobs / "sha256-bb-partial-0").write_text('{"N":0,"Offset":0,"Size":60,"Completed":40}')
    (blobs / "sha256-bb-partial-1").write_text('{"N":1,"Offset":60,"Size":40,"Completed":2}')
    (computer.drives["D"] / "manifest").write_text('{"layers": []}')
    script = WINDOWS.manifests([r"D:\manifest", r"D:\none"], r"D:\blobs", {"PROXY": "", "NO_PROXY_FOR": ""})
    found = computer.run(script)
    assert found["manifest.0"] == '{"layers": []}\n200'
    assert found["manifest.1"].endswith("\n000")
    assert sorted(found["blobs"].splitlines()) == ["sha256-aa 5", "sha256-bb 42"]


def test_models_that_are_left_in_a_directory_are_counted(computer: Computer) -> None:
    script = Script("service/models_left.ps1", {"Directory": MODELS})
    assert computer.run(script) == {"models": "0"}
    place = rf"{MODELS}\manifests\registry.ollama.ai\library\r1"
    computer.run(Script("service/write_file.ps1", {"Path": rf"{place}\latest", "Text": "{}", "Secret": False}))
    assert computer.run(script) == {"models": "1"}


def test_releases_that_are_not_kept_go_also_where_that_was_cut_off(computer: Computer) -> None:
    for name in ("0.24.0", ".removing-0.9.1", "0.34.4"):
        release = computer.drives["C"] / "Program Files/Ollama" / name
        release.mkdir(parents=True)
        (release / "ollama.exe").write_text(name)
        (release / ".corral-release").write_text("a stamp\n")
    seen = look(computer)
    assert set(seen.releases) == {"0.24.0", "0.34.4"}
    run = cast(HostRun, SimpleNamespace(state=seen))
    computer.run(WINDOWS.remove_releases(run, [layout.release_dir("0.24.0")]))
    assert [one.name for one in (computer.drives["C"] / "Program Files/Ollama").iterdir()] == ["0.34.4"]

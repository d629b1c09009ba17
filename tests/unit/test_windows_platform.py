"""What corral refuses, warns of, installs and takes away on a Windows host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corral import layout_windows as layout
from corral.environment import environment_for
from corral.errors import CorralError
from corral.firewall.scope import Scope
from corral.ollama import releases
from corral.platforms.windows import WINDOWS
from corral.probe.windows import WindowsState
from corral.run import HostRun
from corral.scripts import Script
from corral.secret import Sources
from corral.settings import Settings
from tests.unit.windows_answer import OPEN_TO_USERS, STAMP, answer, ollama, profile, state

ASSET, DIGEST = STAMP.split()


def a_run(seen: WindowsState, adopting: bool = False, **declared: Any) -> HostRun:
    settings = Settings.parse(declared, Sources(Path.cwd(), {})).on("windows")
    environment = environment_for(settings)
    release = releases.choose("0.34.4", ASSET, {"0.34.4": {ASSET: DIGEST}}, settings.ollama_release_url)
    scope = Scope.parse(list(settings.allow_from))
    parts = {
        "state": seen,
        "settings": settings,
        "adopting": adopting,
        "environment": environment,
        "port": environment.port,
        "scope": scope,
        "opened_scope": None if environment.loopback or settings.firewall == "none" else scope,
        "release": release,
        "release_dir": layout.release_dir(release.directory_name(seen.releases)),
        "proxy": {"PROXY": "", "NO_PROXY_FOR": ""},
    }
    return cast(HostRun, SimpleNamespace(**parts))


def refusal(seen: WindowsState, **declared: Any) -> str:
    with pytest.raises(CorralError) as error:
        WINDOWS.preflight(a_run(seen, **declared))
    return str(error.value)


def system(**changed: Any) -> dict[str, Any]:
    return {**answer()["os"], **changed}


def test_a_host_that_is_as_wanted_has_no_warning() -> None:
    assert WINDOWS.preflight(a_run(state())) == []


def test_a_windows_that_is_too_old_is_refused_and_an_older_one_than_ollama_asks_for_warned_about() -> None:
    assert "build 15063) is too old" in refusal(state(os=system(build="15063", product="Windows 10 Pro")))
    (warning,) = WINDOWS.preflight(a_run(state(os=system(build="17763", product="Windows Server 2019"))))
    assert "older than what Ollama asks for" in warning


def test_a_machine_without_a_release_is_refused() -> None:
    assert "no release of Ollama for x86" in refusal(state(os=system(architecture="x86")))


@pytest.mark.parametrize(
    ("drive", "words"),
    [
        (None, "models_dir: this host has no drive D:. Declare a directory on one that it has: C: (200.0 GB free)"),
        ({"kind": 2}, "models_dir: D: is a removable drive"),
        ({"kind": 4}, "models_dir: D: is a network drive"),
        ({"filesystem": "exFAT"}, "the file system of D: is exFAT"),
    ],
)
def test_a_drive_that_models_cannot_be_on_is_refused(drive: dict[str, Any] | None, words: str) -> None:
    c, d = answer()["drives"]
    drives = [c] if drive is None else [c, {**d, **drive}]
    assert words in refusal(state(drives=drives), models_dir=r"D:\Models\OllamaModels")


def test_an_ollama_of_a_user_is_refused_unless_it_is_to_be_taken_over() -> None:
    link = r"C:\Users\me\AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup\Ollama.lnk"
    program = r"C:\Users\me\AppData\Local\Programs\Ollama\ollama app.exe"
    seen = state(
        users_own=[link], processes=[{"pid": 41, "parent": 1, "name": "ollama app.exe", "path": program}], releases=[]
    )
    said = refusal(seen)
    assert "ollama app.exe (pid 41)" in said
    assert "take_over: true" in said
    assert WINDOWS.preflight(a_run(seen, adopting=True)) == []
    assert WINDOWS.adoptable(a_run(seen))[0].endswith(f"{link}, {program}")
    assert WINDOWS.adoptable(a_run(state())) == []
    run = a_run(seen, take_over=True)
    assert WINDOWS.preflight(run) == []
    first, second, *_ = WINDOWS.install_changes(run)
    assert first.summary == f"take over from ollama app.exe (pid 41), and remove {link}"
    assert isinstance(first.action, Script)
    assert first.action.variables == {"Links": [link], "Processes": ["41"]}
    assert second.summary.startswith("download https://")


def test_files_of_somebody_else_in_our_directory_are_left_alone() -> None:
    said = refusal(state(strangers=["ollama.exe", "unins000.exe"], releases=[]))
    assert r"C:\Program Files\Ollama holds ollama.exe, unins000.exe" in said


def test_a_port_in_a_reserved_range_is_refused_with_the_commands_that_free_it() -> None:
    lines = ["     11400       11499"]
    said = refusal(state(excluded=lines, processes=[]))
    assert "port 11434 lies in a range that Windows has reserved, 11400 to 11499" in said
    assert "startport=11434 numberofports=1" in said
    assert WINDOWS.preflight(a_run(state(excluded=lines))) == []


def test_with_the_firewall_off_a_public_address_has_to_be_allowed_by_a_word() -> None:
    off = [profile(name, enabled="False") for name in ("Domain", "Private", "Public")]
    seen = state(profiles=off, addresses=["8.8.8.8/24"])
    assert "the whole internet could use" in refusal(seen)
    assert WINDOWS.preflight(a_run(seen, firewall="none")) == []
    (warning,) = WINDOWS.preflight(a_run(state(profiles=off)))
    assert "no firewall refuses anything" in warning


def test_what_could_not_be_found_out_is_warned_about() -> None:
    (warning,) = WINDOWS.preflight(a_run(state(failed={"boot": "Access denied"})))
    assert warning == "corral could not find out all about this host: boot: Access denied"


def test_a_value_with_percent_signs_is_refused() -> None:
    settings = Settings.parse({"environment": {"OLLAMA_TMPDIR": r"%TEMP%\x"}}, Sources(Path.cwd(), {})).on("windows")
    with pytest.raises(CorralError, match="OLLAMA_TMPDIR: Windows expands"):
        WINDOWS.check_environment(environment_for(settings))


def test_a_release_is_downloaded_once_and_switched_to() -> None:
    bare = state(releases=[], ollama=ollama(current=""))
    download, switch = WINDOWS.install_changes(a_run(bare))
    assert download.summary.endswith(r"unpack it in C:\Program Files\Ollama\0.34.4")
    assert switch.summary == r"switch C:\Program Files\Ollama to C:\Program Files\Ollama\0.34.4"
    assert isinstance(switch.action, Script)
    shim = str(switch.action.variables["Shim"])
    assert shim.isascii()
    assert "\r\n" in shim
    assert WINDOWS.install_changes(a_run(state(ollama=ollama(command=shim)))) == []


def test_another_build_of_the_same_version_lies_beside_it() -> None:
    other = state(releases=[{"name": "0.34.4", "stamp": f"{ASSET} {'b' * 64}"}])
    download, switch = WINDOWS.install_changes(a_run(other))
    assert download.summary.endswith(r"Ollama\0.34.4-aaaaaaaa")
    assert switch.summary.endswith(r"(was C:\Program Files\Ollama\0.34.4)")


def test_what_is_taken_away_is_what_corral_has_put_there() -> None:
    found = WINDOWS.uninstall_changes(a_run(state()))
    assert [change.summary.partition(" (")[0] for change in found] == [
        r"stop Ollama and remove the task \corral\ollama",
        "Windows Defender Firewall: remove the rule corral-ollama-11434",
        rf"remove {layout.PROGRAMS}, {layout.START}, {layout.STARTED}, {layout.SECRETS}, {layout.LOGS}, "
        rf"{layout.MODELFILES}, {layout.HOME}",
        "set the machine's environment back",
    ]
    assert isinstance(found[3].action, Script)
    assert found[3].action.variables["Remove"] == ["OLLAMA_HOST", "OLLAMA_MODELS"]


def test_models_go_only_when_that_is_declared() -> None:
    elsewhere = ollama(models_sddl=OPEN_TO_USERS)
    made = [{"directory": r"D:\a\Models\OllamaModels", "highest": r"D:\a"}]
    run = a_run(state(ollama=elsewhere, made=made), models_dir=r"D:\a\Models\OllamaModels", remove_models=True)
    removal = WINDOWS.uninstall_changes(run)[-2]
    assert removal.summary == rf"remove {layout.PROGRAMS}, D:\a\Models\OllamaModels, {layout.STATE}"
    assert isinstance(removal.action, Script)
    assert removal.action.variables["Empty"] == [r"D:\a\Models", r"D:\a"]
    run = a_run(state(ollama=elsewhere), models_dir=r"D:\Models\OllamaModels")
    assert WINDOWS.uninstall_changes(run)[-2].summary == rf"remove {layout.PROGRAMS}, {layout.STATE}"


def test_nothing_is_taken_away_where_nothing_of_ours_is() -> None:
    bare = state(
        releases=[],
        processes=[],
        environment=[],
        owned=[],
        path_owned="",
        task={"state": "", "xml": ""},
        rule=None,
        rules=[],
        ollama=ollama(current="", start="", started="", state_sddl="", models_sddl=""),
    )
    assert WINDOWS.uninstall_changes(a_run(bare)) == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("d:/Models/OllamaModels", r"D:\Models\OllamaModels"),
        (r"D:\模型\Ollama Models" + "\\", r"D:\模型\Ollama Models"),
    ],
)
def test_a_directory_on_a_drive_is_understood(written: str, meant: str) -> None:
    settings = Settings.parse({"models_dir": written}, Sources(Path.cwd(), {}))
    assert settings.on("windows").models_dir == meant
    with pytest.raises(CorralError, match="is no path on a host with linux"):
        settings.on("linux")


@pytest.mark.parametrize(
    "written", ["D:Models", "D:\\", r"\\server\share\models", r"D:\a\..\b", "D:\\a*b", "D:\\con \\x", "/srv/models"]
)
def test_what_is_no_directory_on_a_drive_is_refused(written: str) -> None:
    with pytest.raises(CorralError, match="models_dir"):
        Settings.parse({"models_dir": written}, Sources(Path.cwd(), {})).on("windows")


def test_windows_has_its_own_defaults() -> None:
    settings = Settings.parse({}, Sources(Path.cwd(), {})).on("windows")
    assert (settings.models_dir, settings.start_timeout_s) == (layout.MODELS, 180)
    assert Settings.parse({"start_timeout_s": 30}, Sources(Path.cwd(), {})).on("windows").start_timeout_s == 30


def test_another_directory_while_the_old_one_holds_models_is_refused_with_the_commands_that_move_them() -> None:
    old, new = r"D:\Old models", r"D:\New models"
    seen = state(environment=[{"name": "OLLAMA_MODELS", "value": old}], owned=["OLLAMA_MODELS"])
    asked: list[Script] = []

    def moving(left: str, models_dir: str = new) -> HostRun:
        def answer(script: Script) -> dict[str, str]:
            asked.append(script)
            return {"models": left}

        run = a_run(seen, models_dir=models_dir)
        cast(Any, run).remote = SimpleNamespace(run=answer)
        return run

    with pytest.raises(CorralError) as error:
        WINDOWS.preflight(moving("2"))
    assert r"2 models of this host are in D:\Old models" in str(error.value)
    assert rf"robocopy '{old}' '{new}' /E /MOVE" in str(error.value)
    assert asked[0].variables == {"Directory": old}
    assert WINDOWS.preflight(moving("0")) == []
    asked.clear()
    assert WINDOWS.preflight(moving("2", old.lower())) == []
    assert asked == []

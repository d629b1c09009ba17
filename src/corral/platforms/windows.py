"""Windows: a scheduled task, Windows Defender Firewall, PowerShell."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

from rich.filesize import decimal

from corral import layout_windows as layout
from corral.changes import Change
from corral.checks import Check, check_environment
from corral.environment import Environment
from corral.errors import CorralError
from corral.firewall import unfiltered
from corral.firewall import windows as firewall
from corral.gpus import windows as gpus
from corral.gpus.engine import chosen
from corral.ollama import api
from corral.probe import windows as probe
from corral.probe.state import HostState
from corral.probe.windows import FIXED, NETWORK, REMOVABLE, WindowsState
from corral.scripts import Script, Value
from corral.service import task

if TYPE_CHECKING:
    from corral.rebuild.stages import Stages
    from corral.run import HostRun

#: Windows 10 22H2 is what Ollama asks for (docs/windows.mdx of 0.34.4); Server 2019's 17763 has all that corral uses.
OLDEST_BUILD = 17763
OLDEST_FOR_OLLAMA = 19045
#: What keeps files of any size, sparse ones, and access rights (learn.microsoft.com, "File System Functionality
#: Comparison").
FILE_SYSTEMS = ("NTFS", "ReFS")
_KINDS = {REMOVABLE: "a removable drive", NETWORK: "a network drive"}
#: A download over a slow line; what is silent for a minute ends by itself (curl's --speed-time).
DOWNLOAD_LIMIT_S = 12 * 3600
#: A run that holds the lock may take as long.
LOCK_LIMIT_S = 7 * 24 * 3600


class Windows:
    """See Platform."""

    name = "windows"
    models_dir = layout.MODELS
    service = rf"the task {layout.TASK}"
    log = layout.LOG
    server_remedy = f"See the driver, and {layout.LOG}"

    def asset(self, architecture: str) -> str:
        return f"ollama-windows-{architecture}.zip"

    def release_dir(self, name: str) -> str:
        return layout.release_dir(name)

    def executable(self, release: str) -> str:
        return rf"{release}\ollama.exe"

    def modelfile_path(self, file: str) -> str:
        return rf"{layout.MODELFILES}\{file}"

    def join(self, directory: str, *parts: str) -> str:
        return "\\".join((directory.rstrip("\\"), *parts))

    def account(self, run: HostRun) -> str:
        return run.settings.service_account

    # --- what is asked ---------------------------------------------------------------------------

    def probe(self, run: HostRun) -> HostState:
        script = Script(
            "probe/probe.ps1", probe.parameters(run.settings.models_dir, run.port), then=("gpus/probe.ps1",)
        )
        state = probe.parse(run.remote.run(script)["result"], run.settings.models_dir)
        if state.gpus.own_untold:
            client = api.connect(run.remote, run.environment.own_address, run.port, run.settings.verify_timeout_s)
            with suppress(CorralError), api.said("asking for the loaded models"):
                loaded = sum(model.size_vram or 0 for model in client.ps().models)
                return replace(state, gpus=gpus.with_loaded(state.gpus, loaded >> 20))
        return state

    def lock(self, holder: str) -> Script:
        variables: dict[str, Value] = {"Directory": layout.RUN, "Token": secrets.token_hex(8), "Holder": holder}
        return Script("probe/lock.ps1", variables, limit_s=LOCK_LIMIT_S)

    def engine_devices(self, environment: Mapping[str, str]) -> Script:
        return Script(
            "gpus/engine.ps1",
            {
                **_engine(environment),
                "Only": environment.get("OLLAMA_LLM_LIBRARY", ""),
                "Without": "vulkan" if environment.get("OLLAMA_VULKAN") == "0" else "",
            },
        )

    def engine_question(
        self, environment: Mapping[str, str], runner: str, header: bytes, size: int, arguments: Sequence[str]
    ) -> Script:
        return Script(
            "engine/ask.ps1",
            {
                **_engine(environment),
                "Runner": runner,
                "Header": base64.b64encode(header).decode(),
                "Size": size,
                "Arguments": arguments,
            },
        )

    def server_log(self, after: str) -> Script:
        return Script("service/log.ps1", {"Log": layout.LOG, "Started": layout.STARTED, "After": after})

    def manifests(self, urls: Sequence[str], blobs: str, proxy: Mapping[str, str]) -> Script:
        return Script("ollama/manifests.ps1", {"Urls": urls, "Blobs": blobs, **_proxy(proxy)})

    def header(
        self, urls: Sequence[str], first: Sequence[int], last: Sequence[int], proxy: Mapping[str, str]
    ) -> Script:
        return Script(
            "ollama/header.ps1",
            {"Urls": urls, "First": list(map(str, first)), "Last": list(map(str, last)), **_proxy(proxy)},
        )

    # --- what is changed ---------------------------------------------------------------------------

    def install_changes(self, run: HostRun) -> list[Change]:
        state, directory = _state(run), run.release_dir
        changes = []
        if _takes_over(run) and (state.start_links or state.others):
            changes.append(_take_over(state))
        changes += self.fetch_changes(run)
        shim = files("corral").joinpath("ollama/ollama.cmd").read_text(encoding="utf-8").replace("\n", "\r\n")
        if state.current != directory or state.command != shim:
            before = f" (was {state.current})" if state.current and state.current != directory else ""
            changes.append(
                Change(
                    f"switch {layout.PROGRAMS} to {directory}{before}",
                    Script(
                        "ollama/switch.ps1",
                        {
                            "Directory": directory,
                            "Program": "ollama.exe",
                            "Current": layout.CURRENT,
                            "Command": layout.COMMAND,
                            "Shim": shim,
                        },
                    ),
                )
            )
        return changes

    def fetch_changes(self, run: HostRun) -> list[Change]:
        return [_download(run)] if run.release.stamp not in _state(run).releases.values() else []

    def begin_trial(self, run: HostRun) -> Change:
        raise _no_trials()

    def settle_changes(self, run: HostRun, *, back: bool) -> list[Change]:
        raise _no_trials()

    def give_up_trial(self, run: HostRun, why: str) -> Script:
        raise _no_trials()

    def remove_releases(self, run: HostRun, directories: Sequence[str]) -> Script:
        every = [*run.state.removing, *directories]
        return Script("ollama/prune.ps1", {"Directories": every, "Removing": layout.REMOVING})

    def service_changes(self, run: HostRun) -> list[Change]:
        return task.changes(_state(run), run.service)

    def firewall_changes(self, run: HostRun) -> list[Change]:
        return firewall.changes(_state(run).firewall, run.opened_scope, run.port, run.settings.remove_block_rules)

    def write_modelfile(self, file: str, text: str) -> Script:
        return task.write(self.modelfile_path(file), text)

    def remove_modelfile(self, file: str) -> Script:
        return task.remove(self.modelfile_path(file))

    def reboot(self) -> Script:
        return Script("service/reboot.ps1")

    def stages(self, run: HostRun) -> Stages:
        raise CorralError(
            "deploys/rebuild.py sets up Linux hosts only: Windows brings its own clock, packages and NVIDIA's driver",
            "Prepare the PC as README's Windows section says, install the driver there, and run deploys/r1.py",
        )

    def uninstall_changes(self, run: HostRun) -> list[Change]:
        state = _state(run)
        changes = []
        if state.task.xml or state.server.running:
            changes.append(Change(f"stop Ollama and remove the task {layout.TASK}", task.unregister()))
        changes += firewall.changes(state.firewall, None, run.port, remove_blocks=False)
        places = _places(run, state)
        if places:
            empty = _above(run.settings.models_dir, state) if run.settings.models_dir in places else []
            changes.append(Change(f"remove {', '.join(places)}", task.remove(*places, empty=empty)))
        # Last, for it takes along what is noted of the rest.
        if state.owned or state.path_owned:
            names = ", ".join([*sorted(state.owned), *(["Path"] if state.path_owned else [])])
            changes.append(
                Change(
                    f"set the machine's environment back ({names})",
                    task.set_environment(
                        {}, sorted(state.owned), state.path_owned, "remove" if state.path_owned else ""
                    ),
                )
            )
        return changes

    def adoptable(self, run: HostRun) -> list[str]:
        state = _state(run)
        if not (state.start_links or state.others):
            return []
        programs = ", ".join(dict.fromkeys((*state.start_links, *(one.path for one in state.others if one.path))))
        return [
            f"an Ollama that is installed for a user: {programs}",
            "  it is stopped and no longer started at login; its models stay where they are, for models_dir to name",
        ]

    def leftover_changes(self, run: HostRun) -> list[Change]:
        return []

    # --- what is judged ------------------------------------------------------------------------------

    def lacks_rights(self) -> CorralError:
        """Of their full rights: PowerShell/Win32-OpenSSH issue 1713."""
        return CorralError(
            "the ssh user is not an administrator on this host",
            "Log in as a member of Administrators: an ssh login of theirs has full rights without a question",
        )

    def check_environment(self, environment: Environment) -> None:
        for name, value in {**environment.variables, **environment.secrets}.items():
            if "%" in value:
                # As REG_EXPAND_SZ it would be expanded, as REG_SZ not: nobody can tell which is meant
                # (learn.microsoft.com, "Registry Value Types").
                raise CorralError(
                    f"environment: {name}: Windows expands what stands between % signs in a machine's variables",
                    "Write the value itself",
                )

    def preflight(self, run: HostRun) -> list[str]:
        state = _state(run)
        _check_system(state)
        _check_drive(state, run.settings.models_dir)
        _check_others(run, state)
        task.check(state)
        _check_place(run, state)
        _check_port(state, run.port)
        warnings = [
            f"corral could not find out all about this host: {name}: {why}" for name, why in state.fails.items()
        ]
        programs = [path for path in state.users_own if path not in state.start_links]
        if programs and not state.others:
            warnings.append(
                f"an Ollama is installed for a user ({', '.join(programs)}): whoever starts it has two servers fight "
                "for the port; uninstall it in that user's Settings"
            )
        if state.build < OLDEST_FOR_OLLAMA:
            warnings.append(
                f"{state.os_name} (build {state.build}) is older than what Ollama asks for, Windows 10 22H2"
            )
        if run.opened_scope is not None:
            firewall.check(state.firewall, run.opened_scope, run.port, run.settings.remove_block_rules)
            if not state.firewall.filters and state.firewall.profiles:
                unfiltered.refuse_public(
                    state,
                    run.environment.bind_address,
                    f"{firewall.NAME} is off",
                    "Turn it on (Set-NetFirewallProfile -All -Enabled True)",
                )
            warnings += firewall.warnings(state.firewall)
        return warnings

    def check_service(self, run: HostRun) -> list[Check]:
        state, wanted = _state(run), run.service
        server, started = state.server, state.started
        if not server.running:
            found = f"the task {layout.TASK} is {state.task.state.lower() or 'not there'}, and no server runs."
            return [Check("service", False, found, f"Run deploys/r1.py, or see {layout.LOG}.")]
        pending = task.changes(state, wanted)
        by_task = started.pid == server.main_pid and state.task.state == "Running"
        differing: dict[str, str | None] = {
            name: started.environment.get(name, "unset")
            for name, value in wanted.environment.items()
            if started.environment.get(name) != value
        }
        if started.secrets != task.secrets_digest(wanted):  # only of all of them together is there a note
            differing |= dict.fromkeys(wanted.secrets or ["secrets"])
        return [
            Check(
                "service",
                by_task and server.user == wanted.account and not task.differs(state.task.xml, wanted.account),
                f"{server.executable} is running as {server.user or 'another user'}, started by "
                + (f"the task {layout.TASK} at boot." if by_task else "something else than its task."),
                "Run deploys/r1.py.",
            ),
            Check(
                "unit",
                not pending,
                "the task, its files and the machine's variables are as declared."
                if not pending
                else f"the service is not as declared; it takes: {'; '.join(c.summary for c in pending)}.",
                "Run deploys/r1.py.",
            ),
            check_environment(differing, "Run deploys/r1.py."),
        ]

    def firewall_name(self, state: HostState) -> str:
        assert isinstance(state, WindowsState)
        return firewall.NAME if state.firewall.filters else "none"

    def firewall_missing(self, run: HostRun) -> list[str]:
        return firewall.missing(_state(run).firewall, run.scope, run.port)

    def firewall_wider(self, run: HostRun) -> list[str]:
        return firewall.wider_than(_state(run).firewall, run.scope, run.port)


WINDOWS = Windows()


def _state(run: HostRun) -> WindowsState:
    assert isinstance(run.state, WindowsState)
    return run.state


def _engine(environment: Mapping[str, str]) -> dict[str, Value]:
    """How scripts start an engine as the server would. The release is the one whose name current.txt holds."""
    variables = chosen(environment)
    return {"Current": layout.CURRENT, "Names": list(variables), "Values": list(variables.values())}


def _proxy(proxy: Mapping[str, str]) -> dict[str, Value]:
    return {"Proxy": proxy["PROXY"], "NoProxyFor": proxy["NO_PROXY_FOR"]}


def _download(run: HostRun) -> Change:
    release = run.release
    return Change(
        f"download {release.url} and unpack it in {run.release_dir}",
        Script(
            "ollama/install.ps1",
            {
                "Url": release.url,
                "Sha256": release.sha256,
                "Directory": run.release_dir,
                "Downloads": layout.DOWNLOADS,
                "StampFile": layout.STAMP,
                "StampText": release.stamp,
                "Program": "ollama.exe",
                **_proxy(run.proxy),
            },
            limit_s=DOWNLOAD_LIMIT_S,
        ),
    )


def _no_trials() -> CorralError:
    return CorralError(
        "corral tries releases, and goes back from one that is not good, on Linux hosts only so far",
        "Upgrade this host with deploys/r1.py; to go back, declare the ollama_version from before and run it again",
    )


def _takes_over(run: HostRun) -> bool:
    return run.adopting or run.settings.take_over


def _take_over(state: WindowsState) -> Change:
    links = list(state.start_links)
    what = [f"{one.name} (pid {one.pid})" for one in state.others]
    summary = f"take over from {' and '.join(what) or 'an Ollama that is installed for a user'}"
    if links:
        summary += f", and remove {' and '.join(links)}"
    return Change(
        summary, Script("ollama/take_over.ps1", {"Links": links, "Processes": [str(one.pid) for one in state.others]})
    )


def _places(run: HostRun, state: WindowsState) -> list[str]:
    """The directories that are corral's, as far as they are there."""
    places = []
    if state.releases or state.current_name or state.command:
        places.append(layout.PROGRAMS)
    models_inside = probe.is_below(run.settings.models_dir, layout.STATE)
    if run.settings.remove_models:
        places += [run.settings.models_dir] if state.models_sddl else []
        places += [layout.STATE] if state.state_sddl else []
    elif models_inside and state.models_sddl:
        inside = (layout.START, layout.STARTED, layout.SECRETS, layout.LOGS, layout.MODELFILES, layout.HOME)
        places += inside if state.start or state.modelfiles else ()
    elif state.state_sddl:
        places.append(layout.STATE)
    return places


def _above(directory: str, state: WindowsState) -> list[str]:
    """The directories above one that were made for it, the nearest first."""
    highest = PureWindowsPath(state.made.get(directory, directory))
    above = PureWindowsPath(directory).parents
    return [str(one) for one in above if one == highest or highest in one.parents]


def _check_system(state: WindowsState) -> None:
    if state.build and state.build < OLDEST_BUILD:
        raise CorralError(
            f"{state.os_name} (build {state.build}) is too old: it lacks the tar.exe and curl.exe that corral needs",
            "Update it; Windows 10 22H2, Windows 11 and Server 2019 or later will do",
        )
    if not state.architecture:
        raise CorralError(
            f"there is no release of Ollama for {state.machine or 'this machine'}", "It runs on AMD64 and ARM64"
        )


def _check_drive(state: WindowsState, models_dir: str) -> None:
    drive, letter = state.drive(models_dir), models_dir[:2]
    if drive is None:
        there = ", ".join(f"{one.name} ({decimal(one.free)} free)" for one in state.drives.values()) or "none"
        raise CorralError(
            f"models_dir: this host has no drive {letter}", f"Declare a directory on one that it has: {there}"
        )
    if drive.kind != FIXED:
        raise CorralError(
            f"models_dir: {letter} is {_KINDS.get(drive.kind, 'no fixed drive')}, which may be gone when Ollama starts",
            "Declare a directory on a fixed drive",
        )
    if drive.filesystem not in FILE_SYSTEMS:
        raise CorralError(
            f"models_dir: the file system of {letter} is {drive.filesystem or 'unknown'}, which can't keep models well",
            f"Declare a directory on a drive with {' or '.join(FILE_SYSTEMS)}",
        )


def _check_place(run: HostRun, state: WindowsState) -> None:
    """Models are moved to another directory on Linux hosts only so far; another one must not have them all downloaded
    again."""
    models_dir = run.settings.models_dir
    old = state.variables.get("OLLAMA_MODELS", "") if "OLLAMA_MODELS" in state.owned else ""
    if not old or PureWindowsPath(old) == PureWindowsPath(models_dir):
        return
    count = int(run.remote.run(Script("service/models_left.ps1", {"Directory": old}))["models"])
    if count:
        there = f"{count} model{'s' if count > 1 else ''}"
        raise CorralError(
            f"models_dir: {there} of this host are in {old}, and corral moves models on Linux hosts only so far",
            f"In an administrator's PowerShell there: Stop-ScheduledTask -TaskPath '{layout.TASK_PATH}' -TaskName "
            f"'{layout.TASK_NAME}'; Stop-Process -Name ollama -ErrorAction Ignore; "
            f"robocopy '{old}' '{models_dir}' /E /MOVE; then run again",
        )


def _check_others(run: HostRun, state: WindowsState) -> None:
    if state.strangers and not state.releases:
        raise CorralError(
            rf"{layout.PROGRAMS} holds {', '.join(state.strangers[:3])}, which corral did not put there",
            "Uninstall that Ollama in the Settings; its models can stay, declare their place as models_dir",
        )
    if _takes_over(run) or not (state.start_links or state.others):
        return
    running = ", ".join(f"{one.name} (pid {one.pid})" for one in state.others)
    where = ", ".join(state.start_links) or ", ".join(one.path for one in state.others if one.path)
    raise CorralError(
        f"an Ollama that is installed for a user is on this host ({where})"
        + (f" and runs: {running}" if running else "; its tray program would take the port and end other servers"),
        "Uninstall it in that user's Settings, or run deploys/adopt.py (or declare take_over: true) to have it stopped "
        "and no longer started",
    )


def _check_port(state: WindowsState, port: int) -> None:
    """WinNAT reserves ranges at every boot, and leaves alone what is reserved already (microsoft/WSL issue 5306)."""
    for first, last in state.excluded:
        if first <= port <= last and not state.server.running:
            raise CorralError(
                f"port {port} lies in a range that Windows has reserved, {first} to {last}: no server can listen there",
                "Run `net stop winnat`, `netsh int ipv4 add excludedportrange protocol=tcp "
                f"startport={port} numberofports=1 store=persistent` and `net start winnat` there, or give OLLAMA_HOST "
                "another port in environment",
            )

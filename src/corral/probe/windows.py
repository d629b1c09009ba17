"""What a Windows host looked like when it was asked: the probe's JSON answer, typed. No I/O."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Any

from corral import layout_windows as layout
from corral.firewall.windows import WindowsFirewall
from corral.firewall.windows import parse as parse_firewall
from corral.gpus import nvidia
from corral.gpus import windows as gpus
from corral.gpus.inventory import OwnServer
from corral.probe.state import HostState, Listener, Server
from corral.scripts import Value

#: Win32_LogicalDisk's DriveType (learn.microsoft.com, "Win32_LogicalDisk").
FIXED, REMOVABLE, NETWORK = 3, 2, 4
#: System Idle Process and System: what belongs to no program, such as http.sys' ports.
_KERNEL_PIDS = (0, 4)


@dataclass(frozen=True)
class Drive:
    """A volume with a letter. name: as "D:". kind: Win32_LogicalDisk's DriveType. free: in bytes."""

    name: str
    kind: int
    filesystem: str
    free: int


@dataclass(frozen=True)
class Process:
    """A process of an Ollama, ours or not. path: "" where Windows does not tell it."""

    pid: int
    parent: int
    name: str
    path: str


@dataclass(frozen=True)
class Task:
    """The scheduled task. state: Ready, Running, Disabled ...; "" where there is none. xml: as it is exported."""

    state: str = ""
    xml: str = ""


@dataclass(frozen=True)
class Started:
    """What the start script has started last, as it has noted: see service/start.ps1. secrets: SHA-256 in hex of
    their file."""

    pid: int = 0
    executable: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: str = ""


@dataclass(frozen=True, kw_only=True)
class WindowsState(HostState):
    """Everything one probe found on a Windows host.

    build: as in 22631. language: as in zh-CN. scripts: the execution policy that a group policy sets, or Undefined.
    fails: what could not be found out, and why. current_name: what current.txt says.
    secrets: the text of their file. *_sddl: access rights as Windows writes them, "" where the thing is not there.
    strangers: files beside the releases that are not ours. users_own: files of an Ollama installed for one user.
    variables: the Machine's, as far as they concern Ollama, and Path. owned: those of them that corral has set.
    made: directories that corral has made, with the highest one above each that was made for it.
    path_owned: the entry of Path that corral has added. excluded: port ranges that programs can't listen in.
    """

    build: int
    powershell: str
    language: str
    scripts: str
    fails: Mapping[str, str]
    drives: Mapping[str, Drive]
    current_name: str
    command: str
    start: str
    started: Started
    secrets: str
    secrets_sddl: str
    state_sddl: str
    models_sddl: str
    strangers: tuple[str, ...]
    users_own: tuple[str, ...]
    processes: tuple[Process, ...]
    variables: Mapping[str, str]
    owned: frozenset[str]
    made: Mapping[str, str]
    path_owned: str
    task: Task
    excluded: tuple[tuple[int, int], ...]
    firewall: WindowsFirewall

    @property
    def server(self) -> Server:
        ours = [one for one in self.processes if is_below(one.path, layout.PROGRAMS)]
        server = next((one for one in ours if PureWindowsPath(one.path).name.lower() == "ollama.exe"), None)
        if server is None:
            return Server()
        return Server(
            main_pid=server.pid,
            executable=server.path,
            user=next((name for name, sid in layout.SIDS.items() if sid in self.task.xml), ""),
            pids=frozenset(one.pid for one in ours),
        )

    @property
    def declared_environment(self) -> Mapping[str, str]:
        return {name: value for name, value in self.variables.items() if name in self.owned}

    @property
    def others(self) -> tuple[Process, ...]:
        """Processes of an Ollama that is not ours."""
        return tuple(one for one in self.processes if not is_below(one.path, layout.PROGRAMS))

    @property
    def start_links(self) -> tuple[str, ...]:
        """What starts such an Ollama when its user logs in."""
        return tuple(path for path in self.users_own if path.lower().endswith(".lnk"))

    @property
    def path(self) -> tuple[str, ...]:
        """The directories of the machine's Path."""
        return tuple(part for part in self.variables.get("Path", "").split(";") if part)

    def drive(self, path: str) -> Drive | None:
        """The drive that a path is on; None where the host has none of that letter."""
        return self.drives.get(path[:2].upper())


def is_below(path: str, directory: str) -> bool:
    """Whether a path lies in a directory; on Windows neither case nor the kind of slash matters."""
    return PureWindowsPath(path.lower()).is_relative_to(PureWindowsPath(directory.lower())) if path else False


def parameters(models_dir: str, port: int) -> dict[str, Value]:
    """What probe.ps1 and gpus/probe.ps1 are given."""
    return {
        "ModelsDir": models_dir,
        "Port": port,
        "Programs": layout.PROGRAMS,
        "Current": layout.CURRENT,
        "Command": layout.COMMAND,
        "Stamp": layout.STAMP,
        "State": layout.STATE,
        "Start": layout.START,
        "Started": layout.STARTED,
        "Secrets": layout.SECRETS,
        "Modelfiles": layout.MODELFILES,
        "TaskPath": layout.TASK_PATH,
        "TaskName": layout.TASK_NAME,
        "RuleName": layout.rule_name(port),
        "Registry": layout.REGISTRY,
        "GpuFields": ",".join(nvidia.FIELDS),
        "ProcessFields": ",".join(nvidia.PROCESS_FIELDS),
    }


def parse(answer: str, models_dir: str) -> WindowsState:
    """The state behind a probe's result, JSON. What is missing in it: not there, or see `fails`."""
    found: dict[str, Any] = json.loads(answer)
    system = found.get("os") or {}
    ollama = found.get("ollama") or {}
    task = found.get("task") or {}
    drives = {
        one["name"].upper(): Drive(one["name"].upper(), one["kind"], one["filesystem"], _int(one["free"]))
        for one in found.get("drives") or ()
    }
    directories = {one["name"]: one["stamp"] for one in found.get("releases") or ()}
    removing = tuple(layout.release_dir(name) for name in directories if name.startswith(layout.REMOVING))
    releases = {
        name: stamp for name, stamp in directories.items() if stamp and layout.release_dir(name) not in removing
    }
    current_name = ollama.get("current", "")
    processes = tuple(
        Process(one["pid"], one["parent"], one["name"], one["path"]) for one in found.get("processes") or ()
    )
    own = frozenset(one.pid for one in processes if is_below(one.path, layout.PROGRAMS))
    return WindowsState(
        os_name=" ".join(filter(None, (_product(system), system.get("release", "")))),
        machine=system.get("architecture", ""),
        root=bool(system.get("elevated")),
        boot_id=found.get("boot") or "",
        addresses=tuple(filter(_is_interface, found.get("addresses") or ())),
        current=layout.release_dir(current_name) if current_name in releases else "",
        releases=releases,
        removing=removing,
        manifests=tuple(":".join(name.replace("\\", "/").rsplit("/", 1)) for name in found.get("manifests") or ()),
        modelfiles={one["name"]: _lines(one["text"]) for one in found.get("modelfiles") or ()},
        listeners=tuple(
            Listener(one["address"], one["program"] or ("the system" if one["pid"] in _KERNEL_PIDS else ""), one["pid"])
            for one in found.get("listeners") or ()
        ),
        free_for_models=_free(drives, models_dir),
        free_for_releases=_free(drives, layout.PROGRAMS),
        gpus=gpus.parse(found, OwnServer(own, layout.PROGRAMS)),
        build=_int(system.get("build", "")),
        powershell=system.get("powershell", ""),
        language=system.get("language", ""),
        scripts=system.get("scripts", ""),
        fails=found.get("failed") or {},
        drives=drives,
        current_name=current_name,
        command=ollama.get("command", ""),
        start=ollama.get("start", ""),
        started=_started(ollama.get("started", "")),
        secrets=ollama.get("secrets", ""),
        secrets_sddl=ollama.get("secrets_sddl", ""),
        state_sddl=ollama.get("state_sddl", ""),
        models_sddl=ollama.get("models_sddl", ""),
        strangers=tuple(found.get("strangers") or ()),
        users_own=tuple(found.get("users_own") or ()),
        processes=processes,
        variables={one["name"]: one["value"] for one in found.get("environment") or ()},
        owned=frozenset(found.get("owned") or ()),
        made={one["directory"]: one["highest"] for one in found.get("made") or ()},
        path_owned=found.get("path_owned") or "",
        task=Task(task.get("state", ""), task.get("xml", "")),
        excluded=tuple(_ranges(found.get("excluded") or ())),
        firewall=parse_firewall(found),
    )


def _product(system: Mapping[str, str]) -> str:
    """Windows 11 still calls itself 10 there; its builds begin at 22000 (learn.microsoft.com, "Windows 11 release
    information")."""
    name = system.get("product", "Windows")
    return name.replace("Windows 10", "Windows 11") if _int(system.get("build", "")) >= 22000 else name


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _started(text: str) -> Started:
    try:
        note = json.loads(text)
        return Started(int(note["pid"]), str(note["executable"]), dict(note["environment"]), str(note["secrets"]))
    except (ValueError, KeyError, TypeError):
        return Started()


def _ranges(lines: Iterable[str]) -> list[tuple[int, int]]:
    """Of netsh's table the numbers, which are the same in every language: two on a line are a range's ends. One with a
    star, made by an administrator, keeps ports from being given away, not from being asked for (docker/for-win
    issue 3171)."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            found.append((int(words[0]), int(words[1])))
    return found


def _free(drives: Mapping[str, Drive], path: str) -> int:
    drive = drives.get(path[:2].upper())
    return drive.free if drive else 0


def _is_interface(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True


def _int(text: str) -> int:
    return int(text) if text.isdigit() else 0

"""Processes as Windows shows them: those of the stand-in, and programs that run under Wine.

A process has the same number on both sides. What Linux cannot tell of it (account, parent, session) goes along in its
environment, in the variables that `marks` makes; programs started by a program inherit them.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import NotModelled
from .host import Host, HostProcess, OpenFile
from .identity import SYSTEM, Accounts, Identity
from .store import Store

DOCUMENT = "processes"
#: The process System, of which the kernel's own threads are.
SYSTEM_PID = 4
ACCOUNT = "STAND_IN_ACCOUNT"
PARENT = "STAND_IN_PARENT"
SESSION = "STAND_IN_SESSION"
START = "STAND_IN_START"
#: A process that was registered, as its entry says.
SLACK_S = 5.0
#: Starts programs under Wine and waits for them; on Windows there is none.
STARTER = "winsess.exe"
#: What Wine runs for itself; their namesakes of Windows would show there too.
WINES_OWN = {
    "services.exe", "winedevice.exe", "plugplay.exe", "svchost.exe", "rpcss.exe", "explorer.exe", "conhost.exe",
    "start.exe", "wineboot.exe", "tabtip.exe", "winemenubuilder.exe",
}  # fmt: skip


@dataclass(frozen=True)
class Process:
    """A process of Windows. `path` is of its program ("" where only SYSTEM may see it); times in seconds since 1970."""

    pid: int
    parent: int
    name: str
    path: str
    command_line: str
    started: float
    sid: str
    session: int
    resident: int = 0
    cpu_s: float = 0.0
    #: A service of Wine's own.
    own: bool = False

    @property
    def base_name(self) -> str:
        """What Get-Process calls ProcessName."""
        return self.name[:-4] if self.name.lower().endswith(".exe") else self.name


def marks(identity: Identity, parent: int) -> dict[str, str]:
    """Variables for the environment of a program that is started under Wine."""
    return {
        ACCOUNT: identity.sid,
        PARENT: str(parent),
        SESSION: str(identity.session),
        START: uuid.uuid4().hex,
    }


class Processes:
    """The processes that run now."""

    def __init__(self, store: Store, host: Host, accounts: Accounts) -> None:
        self._store = store
        self._host = host
        self._accounts = accounts

    def all(self) -> list[Process]:
        """Every process, by number."""
        found = {process.pid: process for process in self._host.processes()}
        registered = {int(pid): record for pid, record in self._store.read(DOCUMENT).items()}
        shown = [Process(SYSTEM_PID, 0, "System", "", "", self._host.boot_time(), SYSTEM, 0)]
        programs = [process for process in found.values() if is_wine(process)]
        for pid, record in registered.items():
            process = found.get(pid)
            if process and abs(process.started - record["started"]) < SLACK_S:
                shown.append(_registered(process, record))
        roots = _roots(programs)
        shown += [
            self._program(process, roots)
            for process in programs
            if process.pid not in registered and not _is_starter(process)
        ]
        return sorted(shown, key=lambda process: process.pid)

    def find(self, pid: int) -> Process | None:
        return next((process for process in self.all() if process.pid == pid), None)

    def tree(self, pid: int) -> list[int]:
        """A process and all that come from it, children before parents."""
        children: dict[int, list[int]] = {}
        for process in self.all():
            children.setdefault(process.parent, []).append(process.pid)

        def below(parent: int) -> Iterator[int]:
            for child in children.get(parent, []):
                if child != parent:
                    yield from below(child)
                    yield child

        return [*below(pid), pid]

    def register(self, pid: int, path: str, command_line: str, identity: Identity, parent: int) -> None:
        """Has a process of Linux count as a process of Windows, for as long as it lives."""
        started = next((found.started for found in self._host.processes() if found.pid == pid), time.time())
        with self._store.change(DOCUMENT) as document:
            for other in [other for other in document if not self._host.alive(int(other))]:
                del document[other]
            document[str(pid)] = {
                "path": path,
                "command_line": command_line,
                "sid": identity.sid,
                "session": identity.session,
                "parent": parent,
                "started": started,
            }

    def kill(self, pid: int) -> None:
        if pid <= SYSTEM_PID:
            raise NotModelled(f"ending process {pid}")
        self._host.kill(pid)

    def open_files(self) -> list[OpenFile]:
        """The files that programs under Wine have open."""
        programs = [process for process in self._host.processes() if is_wine(process)]
        # Wine's own services hold the standard streams of the program with which they came.
        return list(self._host.open_files([found.pid for found in programs if _name(found) not in WINES_OWN]))

    def programs(self) -> list[Process]:
        """The programs under Wine that are not Wine's own, the oldest first."""
        return sorted(
            (process for process in self.all() if process.pid != SYSTEM_PID and not process.own and process.path),
            key=lambda process: process.started,
        )

    def started(self, mark: str) -> int | None:
        """The number of the program that a start under Wine has begun, by its mark; None where there is none yet."""
        programs = [process for process in self._host.processes() if is_wine(process)]
        return _roots(programs).get(mark)

    def environment(self, pid: int) -> dict[str, str]:
        """What a process had in its environment when it began."""
        found = next((process for process in self._host.processes() if process.pid == pid), None)
        return dict(found.environment) if found else {}

    def _program(self, process: HostProcess, roots: dict[str, int]) -> Process:
        path = program_path(process.arguments)
        name = path.replace("/", "\\").rpartition("\\")[2]
        environment = process.environment
        own = name.lower() in WINES_OWN
        root = roots.get(environment.get(START, ""))
        parent = int(environment.get(PARENT, "4")) if root in (None, process.pid) else root
        if own:
            # What Wine starts with the first program belongs to none.
            parent = SYSTEM_PID
        return Process(
            pid=process.pid,
            parent=parent,
            name=name,
            path=path,
            command_line=_command_line(process.arguments),
            started=process.started,
            sid=SYSTEM if own else environment.get(ACCOUNT, self._accounts.user_sid),
            session=int(environment.get(SESSION, "0")),
            resident=process.resident,
            cpu_s=process.cpu_s,
            own=own,
        )


def is_wine(process: HostProcess) -> bool:
    """Whether a program of Windows runs in this process; Wine's server is none."""
    return os.path.basename(process.executable) in ("wine64-preloader", "wine-preloader", "wine64", "wine") and bool(
        program_path(process.arguments)
    )


def program_path(arguments: tuple[str, ...]) -> str:
    """The program of Windows among the arguments of a process under Wine; "" where there is none.

    The first process has Wine's loader in front of it; Wine shows those that come later by their own path.
    """
    for argument in arguments[:3]:
        if argument[1:3] == ":\\" or argument.lower().endswith(".exe"):
            return argument
    return ""


def _is_starter(process: HostProcess) -> bool:
    return _name(process) == STARTER


def _name(process: HostProcess) -> str:
    return program_path(process.arguments).replace("/", "\\").rpartition("\\")[2].lower()


def _command_line(arguments: tuple[str, ...]) -> str:
    path = program_path(arguments)
    own = arguments[arguments.index(path) :] if path in arguments else arguments
    return " ".join(f'"{part}"' if " " in part or not part else part for part in own)


def _registered(process: HostProcess, record: dict[str, object]) -> Process:
    path = str(record["path"])
    return Process(
        pid=process.pid,
        parent=int(str(record["parent"])),
        name=path.rpartition("\\")[2],
        path=path,
        command_line=str(record["command_line"]),
        started=process.started,
        sid=str(record["sid"]),
        session=int(str(record["session"])),
        resident=process.resident,
        cpu_s=process.cpu_s,
    )


def _roots(programs: list[HostProcess]) -> dict[str, int]:
    """The process that each start began with: the oldest that carries its mark."""
    roots: dict[str, int] = {}
    for process in sorted(programs, key=lambda process: process.started):
        mark = process.environment.get(START)
        if mark and not _is_starter(process) and _name(process) not in WINES_OWN:
            roots.setdefault(mark, process.pid)
    return roots

"""The Task Scheduler: which tasks there are, which run, what became of them.

A running instance is a process of the host that waits for the task's program (see `supervisor`). Sources: [MS-TSCH]
3.2.5; Microsoft, "Task Scheduler Error and Success Constants".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from . import taskxml
from .errors import ACCESS_DENIED, FILE_NOT_FOUND, ComError, NotModelled, Win32Error
from .host import Host
from .identity import ADMINISTRATORS, Accounts, Identity
from .store import Store
from .taskxml import Task, Trigger

DOCUMENT = "tasks"
#: Last results.
NEVER_RUN = 0x41303
RUNNING = 0x41301
TERMINATED = 0x41306
ALREADY_EXISTS = 0x800700B7
TASK_DISABLED = 0x80041326
NO_DEMAND_START = 0x80041328
TOO_LATE_S = 30


class State(IntEnum):
    """TASK_STATE."""

    Unknown = 0
    Disabled = 1
    Queued = 2
    Ready = 3
    Running = 4


@dataclass(frozen=True)
class Registered:
    """A task that is there. Times in seconds since 1970; `last_result` is unsigned."""

    folder: str
    name: str
    definition: Task
    state: State
    last_run: float | None
    last_result: int
    missed: int
    processes: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        return self.folder + self.name


class Tasks:
    """The Task Scheduler as one identity sees it.

    `start` begins an instance: it gets the task's path and the instance's mark, and returns at once.
    """

    def __init__(
        self, store: Store, host: Host, accounts: Accounts, identity: Identity, start: Callable[[str, str], None]
    ) -> None:
        self._store = store
        self._host = host
        self._accounts = accounts
        self._identity = identity
        self._start = start

    def all(self) -> list[Registered]:
        document = self._store.read(DOCUMENT, _empty)
        return [self._registered(path, document["tasks"][path]) for path in sorted(document["tasks"])]

    def find(self, folder: str, name: str) -> Registered | None:
        document = self._store.read(DOCUMENT, _empty)
        record = document["tasks"].get((folder + name).lower())
        return None if record is None else self._registered((folder + name).lower(), record)

    def get(self, folder: str, name: str) -> Registered:
        found = self.find(folder, name)
        if found is None:
            raise Win32Error(FILE_NOT_FOUND, folder + name)
        return found

    def folders(self) -> list[str]:
        """Folders below the root, as `\\corral`; one stays when its last task goes."""
        return sorted(self._store.read(DOCUMENT, _empty)["folders"])

    def remove_folder(self, folder: str) -> None:
        with self._store.change(DOCUMENT, _empty) as document:
            if folder not in document["folders"]:
                raise Win32Error(FILE_NOT_FOUND, folder)
            if any(path.startswith(folder.lower() + "\\") for path in document["tasks"]):
                raise ComError(0x80070091, "The directory is not empty.")
            document["folders"].remove(folder)

    def register(self, folder: str, name: str, definition: Task, *, replace_existing: bool) -> Registered:
        """Makes a task, or takes the place of one; its runs go on, what became of earlier ones is forgotten."""
        self._administrator(folder + name)
        if not folder.startswith("\\") or not folder.endswith("\\") or not name or "\\" in name:
            raise ComError(0x8007007B, "The filename, directory name, or volume label syntax is incorrect.")
        principal = taskxml.resolved(definition.principal, self._accounts.sid_of)
        if not principal.user_id and not principal.group_id:
            principal = replace(principal, user_id=self._identity.sid, logon_type="InteractiveToken")
            principal = replace(principal, id=principal.id or "Author")
            definition = replace(definition, context=definition.context or principal.id)
        if principal.logon_type == "Password":
            raise NotModelled("a task with a stored password")
        texts = dict(definition.registration)
        texts.pop("URI", None)
        definition = taskxml.checked(
            replace(definition, principal=principal, registration=(*texts.items(), ("URI", folder + name)))
        )
        with self._store.change(DOCUMENT, _empty) as document:
            key = (folder + name).lower()
            known = document["tasks"].get(key)
            if known and not replace_existing:
                raise ComError(ALREADY_EXISTS, "Cannot create a file when that file already exists.")
            document["tasks"][key] = {
                "folder": folder,
                "name": name,
                "xml": taskxml.render(definition),
                "registered": self._host.now(),
                "last_run": None,
                "last_result": NEVER_RUN,
                "missed": 0,
                "fired": {},
                "instances": known["instances"] if known else [],
            }
            for end in range(1, len(folder) - 1):
                if folder[end] == "\\":
                    _add_folder(document, folder[:end])
            if len(folder) > 1:
                _add_folder(document, folder[:-1])
        if any(trigger.kind == "RegistrationTrigger" and trigger.enabled for trigger in definition.triggers):
            raise NotModelled("a RegistrationTrigger")
        return self.get(folder, name)

    def unregister(self, folder: str, name: str) -> None:
        """Removes a task; its program goes on if it runs."""
        self._administrator(folder + name)
        with self._store.change(DOCUMENT, _empty) as document:
            if document["tasks"].pop((folder + name).lower(), None) is None:
                raise Win32Error(FILE_NOT_FOUND, folder + name)

    def enable(self, folder: str, name: str, enabled: bool) -> Registered:
        found = self.get(folder, name)
        settings = replace(found.definition.settings, enabled=enabled)
        self._change(found.path, xml=taskxml.render(replace(found.definition, settings=settings)))
        return self.get(folder, name)

    def run(self, folder: str, name: str) -> None:
        """Starts a task on demand."""
        self._administrator(folder + name)
        found = self.get(folder, name)
        if not found.definition.settings.enabled:
            raise ComError(TASK_DISABLED, "The task is disabled.")
        if not found.definition.settings.allow_demand_start:
            raise ComError(NO_DEMAND_START, "The task settings do not allow it to start on demand.")
        self.begin(found)

    def stop(self, folder: str, name: str) -> None:
        """Ends the programs that a task's instances started, and nothing that these started themselves.

        Source: [MS-TSCH] 3.2.5.4.12, SchRpcStop; that children go on is what those who stop tasks report.
        """
        self._administrator(folder + name)
        found = self.get(folder, name)
        with self._store.change(DOCUMENT, _empty) as document:
            record = document["tasks"][found.path.lower()]
            for instance in record["instances"]:
                instance["stopped"] = True
                if instance["process"]:
                    self._host.kill(instance["process"])
            if self._alive(record):
                record["last_result"] = TERMINATED
            record["instances"] = []

    def begin(self, found: Registered) -> None:
        """Starts an instance, as the task's rule for several instances says."""
        if found.state is State.Running:
            policy = found.definition.settings.multiple_instances
            if policy == "IgnoreNew":
                return
            if policy != "StopExisting":
                raise NotModelled(f"MultipleInstancesPolicy {policy} of a task that runs")
            self.stop(found.folder, found.name)
        mark = uuid.uuid4().hex
        with self._store.change(DOCUMENT, _empty) as document:
            record = document["tasks"][found.path.lower()]
            record["instances"].append({
                "mark": mark, "process": 0, "supervisor": 0, "since": self._host.now(), "stopped": False,
            })  # fmt: skip
            record["last_run"] = self._host.now()
            record["last_result"] = RUNNING
        self._start(found.path, mark)

    # What a running instance tells of itself

    def instance(self, path: str, mark: str) -> dict[str, Any] | None:
        """An instance's record, or None once it was stopped or its task removed."""
        record = self._store.read(DOCUMENT, _empty)["tasks"].get(path.lower())
        return next((found for found in record["instances"] if found["mark"] == mark), None) if record else None

    def update(self, path: str, mark: str, **values: int) -> None:
        with self._store.change(DOCUMENT, _empty) as document:
            record = document["tasks"].get(path.lower())
            for found in record["instances"] if record else []:
                if found["mark"] == mark:
                    found.update(values)

    def ended(self, path: str, mark: str, result: int) -> None:
        """An instance is over; what a stop has noted stays."""
        with self._store.change(DOCUMENT, _empty) as document:
            record = document["tasks"].get(path.lower())
            if record is None:
                return
            before = len(record["instances"])
            record["instances"] = [found for found in record["instances"] if found["mark"] != mark]
            if len(record["instances"]) != before:
                record["last_result"] = result % 2**32

    # Time

    def booted(self) -> None:
        """The machine has started: nothing runs any more, tasks with a boot trigger are due."""
        with self._store.change(DOCUMENT, _empty) as document:
            document["boot"] = self._host.now()
            for record in document["tasks"].values():
                if record["instances"]:
                    # What ran when the power went is reported as what it last said.
                    record["instances"] = []
                record["fired"] = {}

    def tick(self) -> None:
        """Starts whatever is due by now; called again and again."""
        now = self._host.now()
        boot = self._store.read(DOCUMENT, _empty).get("boot")
        for found in self.all():
            if not found.definition.settings.enabled:
                continue
            for index, trigger in enumerate(found.definition.triggers):
                if self._due(found, index, trigger, now, boot):
                    self.begin(self.get(found.folder, found.name))

    def _due(self, found: Registered, index: int, trigger: Trigger, now: float, boot: float | None) -> bool:
        """Whether a trigger fires now; notes that it did."""
        if not trigger.enabled or trigger.kind == "LogonTrigger":
            # Nobody logs on to the machine's desktop.
            return False
        if trigger.end_boundary and _moment(trigger.end_boundary) <= now:
            return False
        record = self._store.read(DOCUMENT, _empty)["tasks"][found.path.lower()]
        if trigger.kind == "BootTrigger":
            if boot is None or record["registered"] > boot:
                # It waits for the next start of the machine.
                return False
            first = boot + (trigger.delay_s or 0)
            if trigger.start_boundary:
                first = max(first, _moment(trigger.start_boundary))
        elif trigger.kind == "TimeTrigger":
            first = _moment(trigger.start_boundary)
        else:
            raise NotModelled(f"{trigger.kind} that is due")
        if now < first:
            return False
        again = trigger.repetition
        step = 0
        if again:
            elapsed = now - first
            if again.duration_s is not None and elapsed > again.duration_s:
                elapsed = float(again.duration_s)
            step = int(elapsed // again.interval_s)
        fired = record["fired"].get(str(index))
        if fired is not None and fired >= step:
            return False
        if fired is None and trigger.kind == "TimeTrigger":
            # What was due before the task was made, or while nobody looked, is missed.
            due = first + (step * again.interval_s if again else 0)
            if now - due > TOO_LATE_S or due < record["registered"]:
                self._fired(found.path, index, step)
                return False
        self._fired(found.path, index, step)
        return True

    def _fired(self, path: str, index: int, step: int) -> None:
        with self._store.change(DOCUMENT, _empty) as document:
            if path.lower() in document["tasks"]:
                document["tasks"][path.lower()]["fired"][str(index)] = step

    def _change(self, path: str, **values: object) -> None:
        self._administrator(path)
        with self._store.change(DOCUMENT, _empty) as document:
            document["tasks"][path.lower()].update(values)

    def _registered(self, path: str, record: dict[str, Any]) -> Registered:
        definition = taskxml.parse(record["xml"], self._accounts.sid_of)
        alive = self._alive(record)
        state = State.Running if alive else State.Ready if definition.settings.enabled else State.Disabled
        result = record["last_result"]
        if result == RUNNING and not alive:
            # Its supervisor was killed, or the machine lost its power.
            result = TERMINATED
        return Registered(
            record["folder"], record["name"], definition, state, record["last_run"], result, record["missed"],
            tuple(instance["process"] for instance in alive if instance["process"]),
        )  # fmt: skip

    def _alive(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            instance
            for instance in record["instances"]
            if (self._host.alive(instance["supervisor"]) if instance["supervisor"] else not self._too_old(instance))
        ]

    def _too_old(self, instance: dict[str, Any]) -> bool:
        """Whether an instance's process should have been there long ago."""
        return bool(self._host.now() - instance["since"] > TOO_LATE_S)

    def _administrator(self, subject: str) -> None:
        if ADMINISTRATORS not in self._identity.groups:
            raise Win32Error(ACCESS_DENIED, subject)


def _add_folder(document: dict[str, Any], folder: str) -> None:
    if folder.lower() not in (known.lower() for known in document["folders"]):
        document["folders"].append(folder)


def _moment(boundary: str) -> float:
    """Seconds since 1970 of a boundary; without zone it is local time."""
    moment = datetime.fromisoformat(boundary)
    return (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC).timestamp()


def _empty() -> dict[str, Any]:
    return {"tasks": {}, "folders": [], "boot": None}

"""Task documents: reading, checking and writing the XML of the Task Scheduler.

Source: Microsoft, "Task Scheduler Schema" and [MS-TSCH] 2.5. What comes back after registration is not the text that
was registered: accounts become SIDs, values that are the schema's default are left out, durations are shortened, the
service adds the task's URI.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from xml.sax.saxutils import escape

from .errors import ComError, NotModelled
from .identity import LOCAL_SERVICE, NETWORK_SERVICE, SYSTEM

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
VERSIONS = ("1.1", "1.2", "1.3", "1.4", "1.5", "1.6")
#: Microsoft, "Task Scheduler Error and Success Constants".
MALFORMED = 0x8004131A
UNEXPECTED_NODE = 0x80041316
MISSING_NODE = 0x80041319
INVALID_VALUE = 0x80041318
NAMESPACE_WRONG = 0x80041317
TEXTS = {
    MALFORMED: "The task XML is malformed.",
    UNEXPECTED_NODE: "The task XML contains an unexpected node.",
    MISSING_NODE: "The task XML is missing a required element or attribute.",
    INVALID_VALUE: "The task XML contains a value which is incorrectly formatted or out of range.",
    NAMESPACE_WRONG: "The task XML contains an element or attribute from an unexpected namespace.",
}
DECLARATION = re.compile(r"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']+)[\"'][^>]*\?>", re.I)
DURATION = re.compile(r"^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$")
UNITS_S = (365 * 86400, 30 * 86400, 86400, 3600, 60, 1)
BOUNDARY = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$")
SERVICES = (SYSTEM, LOCAL_SERVICE, NETWORK_SERVICE)
LOGON_TYPES = ("S4U", "Password", "InteractiveToken", "InteractiveTokenOrPassword", "ServiceAccount", "None", "Group")


@dataclass(frozen=True)
class Repetition:
    """Durations in seconds; no `duration_s`: for ever."""

    interval_s: int
    duration_s: int | None = None
    stop_at_end: bool = False


@dataclass(frozen=True)
class Trigger:
    """A trigger; `kind` is the element's name. Durations in seconds, boundaries as the XML has them."""

    kind: str
    id: str = ""
    enabled: bool = True
    start_boundary: str = ""
    end_boundary: str = ""
    execution_time_limit_s: int | None = None
    repetition: Repetition | None = None
    delay_s: int | None = None
    random_delay_s: int | None = None
    user_id: str = ""
    days_interval: int | None = None


@dataclass(frozen=True)
class Principal:
    """Who a task runs as: a SID. `logon_type` "" is what the schema leaves open."""

    id: str = "Author"
    user_id: str = ""
    group_id: str = ""
    logon_type: str = ""
    run_level: str = "LeastPrivilege"
    display_name: str = ""


@dataclass(frozen=True)
class Settings:
    """Defaults are the schema's."""

    allow_demand_start: bool = True
    restart_count: int = 0
    restart_interval_s: int | None = None
    multiple_instances: str = "IgnoreNew"
    disallow_start_on_batteries: bool = True
    stop_on_batteries: bool = True
    allow_hard_terminate: bool = True
    start_when_available: bool = False
    run_only_if_network: bool = False
    wake_to_run: bool = False
    enabled: bool = True
    hidden: bool = False
    delete_after_s: int | None = None
    execution_time_limit_s: int = 72 * 3600
    priority: int = 7
    run_only_if_idle: bool = False
    stop_on_idle_end: bool = True
    restart_on_idle: bool = False
    disallow_remote_app: bool = False
    unified_engine: bool = False


@dataclass(frozen=True)
class Action:
    """A program to run."""

    command: str
    arguments: str = ""
    directory: str = ""
    id: str = ""


@dataclass(frozen=True)
class Task:
    """A task's definition. `registration` holds the texts of RegistrationInfo by element name."""

    actions: tuple[Action, ...]
    triggers: tuple[Trigger, ...] = ()
    principal: Principal = field(default_factory=Principal)
    settings: Settings = field(default_factory=Settings)
    registration: tuple[tuple[str, str], ...] = ()
    context: str = "Author"
    version: str = "1.2"
    data: str = ""

    def text(self, name: str) -> str:
        """A text of RegistrationInfo, "" where there is none."""
        return dict(self.registration).get(name, "")


def duration(text: str) -> int:
    """Seconds of an xs:duration as the Task Scheduler takes it; ValueError when it is none."""
    match = DURATION.match(text)
    if not match or text.endswith(("P", "T")):
        raise ValueError(f"no duration: {text!r}")
    return sum(int(number or 0) * unit for number, unit in zip(match.groups(), UNITS_S, strict=True))


def duration_text(seconds: int) -> str:
    """The shortest text of a duration, without months and years."""
    days, rest = divmod(seconds, 86400)
    parts = [(rest // 3600, "H"), (rest // 60 % 60, "M"), (rest % 60, "S")]
    time = "".join(f"{number}{unit}" for number, unit in parts if number)
    if not seconds:
        return "PT0S"
    return f"P{f'{days}D' if days else ''}{f'T{time}' if time else ''}"


def parse(text: str, sid_of: Callable[[str], str | None]) -> Task:
    """Reads and checks a document; raises ComError with what the Task Scheduler says of a wrong one.

    `sid_of` finds the SID of an account's name.
    """
    declared = DECLARATION.match(text)
    if declared and declared[1].upper() != "UTF-16":
        # The text arrives in UTF-16, whatever it says of itself.
        raise _error(MALFORMED, f"(1,{declared.end(1) + 2})::unable to switch the encoding")
    try:
        root = ElementTree.fromstring(text[declared.end() :] if declared else text)
    except ElementTree.ParseError as error:
        raise _error(MALFORMED, f"({error.position[0]},{error.position[1]})::") from None
    return _Reader(sid_of).task(root)


def checked(task: Task) -> Task:
    """The task, or ComError where a value is not one that the schema allows."""
    settings = task.settings
    if not 0 <= settings.priority <= 10:
        raise _error(INVALID_VALUE, f"Priority:{settings.priority}")
    if settings.restart_count:
        if not 1 <= settings.restart_count <= 255:
            raise _error(INVALID_VALUE, f"Count:{settings.restart_count}")
        interval = settings.restart_interval_s
        if interval is None:
            raise _error(MISSING_NODE, "RestartOnFailure:Interval")
        if not 60 <= interval <= 31 * 86400:
            raise _error(INVALID_VALUE, f"Interval:{duration_text(interval)}")
    for trigger in task.triggers:
        again = trigger.repetition
        if again and not 60 <= again.interval_s <= 31 * 86400:
            raise _error(INVALID_VALUE, f"Interval:{duration_text(again.interval_s)}")
        if again and again.duration_s is not None and again.duration_s < again.interval_s:
            raise _error(INVALID_VALUE, f"Duration:{duration_text(again.duration_s)}")
        for boundary in (trigger.start_boundary, trigger.end_boundary):
            if boundary and not BOUNDARY.match(boundary):
                raise _error(INVALID_VALUE, f"StartBoundary:{boundary}")
        if trigger.kind in ("TimeTrigger", "CalendarTrigger") and not trigger.start_boundary:
            raise _error(MISSING_NODE, f"{trigger.kind}:StartBoundary")
    if not task.actions:
        raise _error(MISSING_NODE, "Actions:")
    if len(task.actions) > 32:
        raise _error(INVALID_VALUE, "Actions:")
    if task.context != task.principal.id:
        raise _error(INVALID_VALUE, f"Actions:Context:{task.context}")
    return task


class _Reader:
    """Reads elements, and refuses those that the schema does not have."""

    def __init__(self, sid_of: Callable[[str], str | None]) -> None:
        self._sid_of = sid_of

    def task(self, root: ElementTree.Element) -> Task:
        if not root.tag.startswith(f"{{{NAMESPACE}}}"):
            raise _error(NAMESPACE_WRONG, f":{root.tag}:")
        if _name(root) != "Task":
            raise _error(UNEXPECTED_NODE, f":{_name(root)}:")
        version = root.get("version", "")
        if version not in VERSIONS:
            raise _error(INVALID_VALUE, f"Task:version:{version}")
        parts = self._children(root, "RegistrationInfo", "Triggers", "Settings", "Data", "Principals", "Actions")
        if "Actions" not in parts:
            raise _error(MISSING_NODE, "Task:Actions")
        actions = parts["Actions"]
        principals = list(parts["Principals"]) if "Principals" in parts else []
        if len(principals) > 1:
            raise _error(UNEXPECTED_NODE, "Principals:Principal")
        principal = self._principal(principals[0]) if principals else Principal(id="")
        task = Task(
            actions=tuple(self._action(action) for action in actions),
            triggers=tuple(map(self._trigger, parts["Triggers"])) if "Triggers" in parts else (),
            principal=principal,
            settings=self._settings(parts["Settings"]) if "Settings" in parts else Settings(),
            registration=self._registration(parts["RegistrationInfo"]) if "RegistrationInfo" in parts else (),
            context=actions.get("Context", principal.id),
            version=version,
            data=(parts["Data"].text or "") if "Data" in parts else "",
        )
        return checked(task)

    def _registration(self, element: ElementTree.Element) -> tuple[tuple[str, str], ...]:
        names = ("URI", "SecurityDescriptor", "Source", "Date", "Author", "Version", "Description", "Documentation")
        return tuple((name, found.text or "") for name, found in self._children(element, *names).items())

    def _principal(self, element: ElementTree.Element) -> Principal:
        if _name(element) != "Principal":
            raise _error(UNEXPECTED_NODE, f"Principals:{_name(element)}")
        found = self._texts(element, "UserId", "GroupId", "LogonType", "RunLevel", "DisplayName", "ProcessTokenSidType")
        if "ProcessTokenSidType" in found:
            raise NotModelled("ProcessTokenSidType of a task's principal")
        logon = found.get("LogonType", "")
        if logon and logon not in LOGON_TYPES:
            raise _error(INVALID_VALUE, f"Principal:LogonType:{logon}")
        level = found.get("RunLevel", "LeastPrivilege")
        if level not in ("LeastPrivilege", "HighestAvailable"):
            raise _error(INVALID_VALUE, f"Principal:RunLevel:{level}")
        principal = Principal(
            element.get("id", ""), found.get("UserId", ""), found.get("GroupId", ""), logon, level,
            found.get("DisplayName", ""),
        )  # fmt: skip
        return resolved(principal, self._sid_of)

    def _settings(self, element: ElementTree.Element) -> Settings:
        found = self._children(element, *SETTINGS, "RestartOnFailure", "IdleSettings", "NetworkSettings", "Volatile")
        settings = Settings()
        for name, child in found.items():
            if name in ("NetworkSettings", "Volatile"):
                raise NotModelled(f"{name} of a task's settings")
            if name == "RestartOnFailure":
                both = self._texts(child, "Interval", "Count")
                for needed in ("Interval", "Count"):
                    if needed not in both:
                        raise _error(MISSING_NODE, f"RestartOnFailure:{needed}")
                settings = replace(
                    settings,
                    restart_interval_s=_seconds(both["Interval"], "Interval"),
                    restart_count=_integer(both["Count"], "Count"),
                )
                if settings.restart_count < 1:
                    raise _error(INVALID_VALUE, f"Count:{both['Count']}")
            elif name == "IdleSettings":
                idle = self._texts(child, "Duration", "WaitTimeout", "StopOnIdleEnd", "RestartOnIdle")
                settings = replace(
                    settings,
                    stop_on_idle_end=_boolean(idle.get("StopOnIdleEnd", "true"), "StopOnIdleEnd"),
                    restart_on_idle=_boolean(idle.get("RestartOnIdle", "false"), "RestartOnIdle"),
                )
            else:
                attribute, read = SETTINGS[name]
                settings = replace(settings, **{attribute: read((child.text or "").strip(), name)})  # type: ignore[arg-type]
        return settings

    def _trigger(self, element: ElementTree.Element) -> Trigger:
        kind = _name(element)
        if kind not in ("BootTrigger", "LogonTrigger", "TimeTrigger", "CalendarTrigger", "RegistrationTrigger"):
            if kind in ("IdleTrigger", "EventTrigger", "SessionStateChangeTrigger", "WnfStateChangeTrigger"):
                raise NotModelled(f"{kind} of a task")
            raise _error(UNEXPECTED_NODE, f"Triggers:{kind}")
        names = ["Enabled", "StartBoundary", "EndBoundary", "ExecutionTimeLimit", "Repetition"]
        names += {
            "BootTrigger": ["Delay"],
            "RegistrationTrigger": ["Delay"],
            "LogonTrigger": ["Delay", "UserId"],
            "TimeTrigger": ["RandomDelay"],
            "CalendarTrigger": ["RandomDelay", "ScheduleByDay"],
        }[kind]
        parts = self._children(element, *names)
        texts = {name: (part.text or "").strip() for name, part in parts.items()}

        def seconds(name: str) -> int | None:
            return _seconds(texts[name], name) if name in texts else None

        repetition = None
        if "Repetition" in parts:
            again = self._texts(parts["Repetition"], "Interval", "Duration", "StopAtDurationEnd")
            if "Interval" not in again:
                raise _error(MISSING_NODE, "Repetition:Interval")
            repetition = Repetition(
                _seconds(again["Interval"], "Interval"),
                _seconds(again["Duration"], "Duration") if "Duration" in again else None,
                _boolean(again.get("StopAtDurationEnd", "false"), "StopAtDurationEnd"),
            )
        days = None
        if kind == "CalendarTrigger":
            if "ScheduleByDay" not in parts:
                raise _error(MISSING_NODE, "CalendarTrigger:ScheduleByDay")
            days = _integer(
                self._texts(parts["ScheduleByDay"], "DaysInterval").get("DaysInterval", "1"), "DaysInterval"
            )
        return Trigger(
            kind=kind,
            id=element.get("id", ""),
            enabled=_boolean(texts.get("Enabled", "true"), "Enabled"),
            start_boundary=texts.get("StartBoundary", ""),
            end_boundary=texts.get("EndBoundary", ""),
            execution_time_limit_s=seconds("ExecutionTimeLimit"),
            repetition=repetition,
            delay_s=seconds("Delay"),
            random_delay_s=seconds("RandomDelay"),
            user_id=texts.get("UserId", ""),
            days_interval=days,
        )

    def _action(self, element: ElementTree.Element) -> Action:
        if _name(element) != "Exec":
            if _name(element) in ("ComHandler", "SendEmail", "ShowMessage"):
                raise NotModelled(f"{_name(element)} of a task")
            raise _error(UNEXPECTED_NODE, f"Actions:{_name(element)}")
        found = self._texts(element, "Command", "Arguments", "WorkingDirectory")
        if not found.get("Command"):
            raise _error(MISSING_NODE, "Exec:Command")
        return Action(
            found["Command"], found.get("Arguments", ""), found.get("WorkingDirectory", ""), element.get("id", "")
        )

    @staticmethod
    def _children(element: ElementTree.Element, *names: str) -> dict[str, ElementTree.Element]:
        found: dict[str, ElementTree.Element] = {}
        for child in element:
            if not child.tag.startswith(f"{{{NAMESPACE}}}"):
                raise _error(NAMESPACE_WRONG, f"{_name(element)}:{child.tag}")
            if _name(child) not in names or _name(child) in found:
                raise _error(UNEXPECTED_NODE, f"{_name(element)}:{_name(child)}")
            found[_name(child)] = child
        return found

    def _texts(self, element: ElementTree.Element, *names: str) -> dict[str, str]:
        return {name: (child.text or "").strip() for name, child in self._children(element, *names).items()}


def resolved(principal: Principal, sid_of: Callable[[str], str | None]) -> Principal:
    """The principal as the service stores it; ComError 0x80070534 where the account is nobody's."""
    sid = principal.user_id
    if sid and not sid.startswith("S-1-"):
        found = sid_of(sid)
        if found is None:
            raise ComError(0x80070534, f"No mapping between account names and security IDs was done.\r\n:UserId:{sid}")
        sid = found
    logon = principal.logon_type
    if sid in SERVICES and logon in ("ServiceAccount", "None", "InteractiveToken", "Password"):
        logon = ""
    if principal.user_id and principal.group_id:
        raise _error(UNEXPECTED_NODE, "Principal:GroupId")
    return replace(principal, user_id=sid, logon_type=logon)


def render(task: Task) -> str:
    """The document as the service gives it out: `task.registration` must hold the URI already."""
    lines = ['<?xml version="1.0" encoding="UTF-16"?>', f'<Task version="{task.version}" xmlns="{NAMESPACE}">']
    lines += _block(1, "RegistrationInfo", (_line(2, name, text) for name, text in task.registration if text))
    triggers = [line for trigger in task.triggers for line in _trigger(trigger)]
    lines += ["  <Triggers />"] if not triggers else _block(1, "Triggers", triggers)
    lines += _principal(task.principal)
    lines += _block(1, "Settings", _settings(task.settings))
    context = f' Context="{escape(task.context)}"' if task.context else ""
    actions = []
    for action in task.actions:
        mark = f' id="{escape(action.id)}"' if action.id else ""
        actions.append(f"    <Exec{mark}>")
        texts = (("Command", action.command), ("Arguments", action.arguments), ("WorkingDirectory", action.directory))
        actions += [_line(3, name, text) for name, text in texts if text]
        actions.append("    </Exec>")
    lines += [f"  <Actions{context}>", *actions, "  </Actions>", "</Task>"]
    return "\r\n".join(lines)


def _trigger(trigger: Trigger) -> list[str]:
    mark = f' id="{escape(trigger.id)}"' if trigger.id else ""
    inside = []
    if trigger.repetition:
        again = [_line(4, "Interval", duration_text(trigger.repetition.interval_s))]
        if trigger.repetition.duration_s is not None:
            again.append(_line(4, "Duration", duration_text(trigger.repetition.duration_s)))
        if trigger.repetition.stop_at_end:
            again.append(_line(4, "StopAtDurationEnd", "true"))
        inside += _block(3, "Repetition", again)
    if trigger.start_boundary:
        inside.append(_line(3, "StartBoundary", trigger.start_boundary))
    if trigger.end_boundary:
        inside.append(_line(3, "EndBoundary", trigger.end_boundary))
    if trigger.execution_time_limit_s is not None:
        inside.append(_line(3, "ExecutionTimeLimit", duration_text(trigger.execution_time_limit_s)))
    inside.append(_line(3, "Enabled", _word(trigger.enabled)))
    if trigger.user_id:
        inside.append(_line(3, "UserId", trigger.user_id))
    if trigger.delay_s:
        inside.append(_line(3, "Delay", duration_text(trigger.delay_s)))
    if trigger.random_delay_s:
        inside.append(_line(3, "RandomDelay", duration_text(trigger.random_delay_s)))
    if trigger.days_interval is not None:
        inside += _block(3, "ScheduleByDay", [_line(4, "DaysInterval", str(trigger.days_interval))])
    return [f"    <{trigger.kind}{mark}>", *inside, f"    </{trigger.kind}>"]


def _principal(principal: Principal) -> list[str]:
    texts = (
        ("DisplayName", principal.display_name),
        ("UserId", principal.user_id),
        ("GroupId", principal.group_id),
        ("LogonType", principal.logon_type),
        ("RunLevel", "" if principal.run_level == "LeastPrivilege" else principal.run_level),
    )
    inside = [_line(3, name, text) for name, text in texts if text]
    if not inside:
        return []
    mark = f' id="{escape(principal.id)}"' if principal.id else ""
    return ["  <Principals>", f"    <Principal{mark}>", *inside, "    </Principal>", "  </Principals>"]


def _settings(settings: Settings) -> Iterable[str]:
    default = Settings()
    for name, (attribute, read) in SETTINGS.items():
        value = getattr(settings, attribute)
        # This one the service writes always.
        if value == getattr(default, attribute) and name != "MultipleInstancesPolicy":
            continue
        yield _line(
            2, name, duration_text(value) if read is _seconds else _word(value) if read is _boolean else str(value)
        )
    if settings.restart_count:
        assert settings.restart_interval_s is not None
        yield from _block(2, "RestartOnFailure", [
            _line(3, "Count", str(settings.restart_count)),
            _line(3, "Interval", duration_text(settings.restart_interval_s)),
        ])  # fmt: skip
    yield from _block(2, "IdleSettings", [
        _line(3, "StopOnIdleEnd", _word(settings.stop_on_idle_end)),
        _line(3, "RestartOnIdle", _word(settings.restart_on_idle)),
    ])  # fmt: skip


def _block(depth: int, name: str, inside: Iterable[str]) -> list[str]:
    lines = list(inside)
    pad = "  " * depth
    return [f"{pad}<{name}>", *lines, f"{pad}</{name}>"] if lines else []


def _line(depth: int, name: str, text: str) -> str:
    return f"{'  ' * depth}<{name}>{escape(text)}</{name}>"


def _word(value: bool) -> str:
    return "true" if value else "false"


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _boolean(text: str, name: str) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise _error(INVALID_VALUE, f"{name}:{text}")
    return text in ("true", "1")


def _integer(text: str, name: str) -> int:
    if not text.isdigit():
        raise _error(INVALID_VALUE, f"{name}:{text}")
    return int(text)


def _seconds(text: str, name: str) -> int:
    try:
        return duration(text)
    except ValueError:
        raise _error(INVALID_VALUE, f"{name}:{text}") from None


def _policy(text: str, name: str) -> str:
    if text not in ("Parallel", "Queue", "IgnoreNew", "StopExisting"):
        raise _error(INVALID_VALUE, f"{name}:{text}")
    return text


def _error(code: int, where: str) -> ComError:
    return ComError(code, f"{TEXTS[code]}\r\n{where}")


#: Elements of Settings with one value, in the order in which the service writes them.
SETTINGS: Mapping[str, tuple[str, Callable[[str, str], object]]] = {
    "AllowStartOnDemand": ("allow_demand_start", _boolean),
    "DisallowStartIfOnBatteries": ("disallow_start_on_batteries", _boolean),
    "StopIfGoingOnBatteries": ("stop_on_batteries", _boolean),
    "AllowHardTerminate": ("allow_hard_terminate", _boolean),
    "StartWhenAvailable": ("start_when_available", _boolean),
    "RunOnlyIfNetworkAvailable": ("run_only_if_network", _boolean),
    "WakeToRun": ("wake_to_run", _boolean),
    "Enabled": ("enabled", _boolean),
    "Hidden": ("hidden", _boolean),
    "DeleteExpiredTaskAfter": ("delete_after_s", _seconds),
    "MultipleInstancesPolicy": ("multiple_instances", _policy),
    "ExecutionTimeLimit": ("execution_time_limit_s", _seconds),
    "Priority": ("priority", _integer),
    "RunOnlyIfIdle": ("run_only_if_idle", _boolean),
    "UseUnifiedSchedulingEngine": ("unified_engine", _boolean),
    "DisallowStartOnRemoteAppSession": ("disallow_remote_app", _boolean),
}

"""Cmdlets of scheduled tasks (module ScheduledTasks), and the COM object behind them as far as folders need it.

What the cmdlets make and take are objects of CIM classes; durations in them are texts (PT1H). Sources: the module's
documentation, "Task Scheduler Error and Success Constants".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lab.windows.machine import taskxml
from lab.windows.machine.errors import ComError, NotModelled, Win32Error
from lab.windows.machine.tasks import Registered
from lab.windows.machine.taskxml import Action, Principal, Repetition, Settings, Task, Trigger, duration, duration_text
from lab.windows.powershell import Call, Command, Parameter, PowerShellError, PSObject
from lab.windows.powershell.moments import DateTime, TimeSpan
from lab.windows.powershell.values import UInt32

from . import enums
from .network import cim, enumerated, nothing_found
from .support import Shell, cim_error, cmdlet, has_wildcard, not_interactive, wildcard

NAMESPACE = "Root/Microsoft/Windows/TaskScheduler"
#: When a task that never ran ran last, as the provider has it.
NEVER = DateTime.from_python(datetime(1999, 11, 30))
#: Ticks of a second.
TICKS = 10_000_000
LOGON_TYPES = {
    "": "None", "None": "None", "Password": "Password", "S4U": "S4U", "InteractiveToken": "Interactive",
    "InteractiveTokenOrPassword": "InteractiveOrPassword", "ServiceAccount": "ServiceAccount", "Group": "Group",
}  # fmt: skip
VERSIONS = {"At": "1.1", "V1": "1.1", "Vista": "1.2", "Win7": "1.3", "Win8": "1.4"}


def commands(shell: Shell) -> list[Command]:
    tasks = shell.session.tasks
    accounts = shell.machine.accounts

    # Objects

    def action_object(action: Action) -> PSObject:
        return cim("MSFT_TaskExecAction", NAMESPACE, {
            "Id": action.id or None, "Arguments": action.arguments or None, "Execute": action.command,
            "WorkingDirectory": action.directory or None,
        })  # fmt: skip

    def trigger_object(trigger: Trigger) -> PSObject:
        again = trigger.repetition
        repetition = cim("MSFT_TaskRepetitionPattern", NAMESPACE, {
            "Duration": duration_text(again.duration_s) if again and again.duration_s is not None else None,
            "Interval": duration_text(again.interval_s) if again else None,
            "StopAtDurationEnd": bool(again and again.stop_at_end),
        })  # fmt: skip
        properties: dict[str, object] = {
            "Enabled": trigger.enabled,
            "EndBoundary": trigger.end_boundary or None,
            "ExecutionTimeLimit": _text(trigger.execution_time_limit_s),
            "Id": trigger.id or None,
            "Repetition": repetition,
            "StartBoundary": trigger.start_boundary or None,
        }
        if trigger.kind in ("BootTrigger", "LogonTrigger"):
            properties["Delay"] = _text(trigger.delay_s)
        if trigger.kind == "LogonTrigger":
            properties["UserId"] = trigger.user_id or None
        if trigger.kind in ("TimeTrigger", "CalendarTrigger"):
            properties["RandomDelay"] = _text(trigger.random_delay_s)
        if trigger.kind == "CalendarTrigger":
            properties["DaysInterval"] = trigger.days_interval
        kind = "TaskDailyTrigger" if trigger.kind == "CalendarTrigger" else f"Task{trigger.kind}"
        return cim(f"MSFT_{kind}", NAMESPACE, properties)

    def settings_object(settings: Settings, version: str) -> PSObject:
        compatibility = next(
            (name for name, known in VERSIONS.items() if known == version and name not in ("At",)), "Win8"
        )
        return cim("MSFT_TaskSettings3", NAMESPACE, {
            "AllowDemandStart": settings.allow_demand_start,
            "AllowHardTerminate": settings.allow_hard_terminate,
            "Compatibility": enumerated(enums.COMPATIBILITY, compatibility),
            "DeleteExpiredTaskAfter": _text(settings.delete_after_s),
            "DisallowStartIfOnBatteries": settings.disallow_start_on_batteries,
            "Enabled": settings.enabled,
            "ExecutionTimeLimit": duration_text(settings.execution_time_limit_s),
            "Hidden": settings.hidden,
            "MultipleInstances": enums.INSTANCES.named(settings.multiple_instances) or settings.multiple_instances,
            "Priority": settings.priority,
            "RestartCount": settings.restart_count,
            "RestartInterval": _text(settings.restart_interval_s),
            "RunOnlyIfIdle": settings.run_only_if_idle,
            "RunOnlyIfNetworkAvailable": settings.run_only_if_network,
            "StartWhenAvailable": settings.start_when_available,
            "StopIfGoingOnBatteries": settings.stop_on_batteries,
            "WakeToRun": settings.wake_to_run,
            "DisallowStartOnRemoteAppSession": settings.disallow_remote_app,
            "UseUnifiedSchedulingEngine": settings.unified_engine,
            "volatile": False,
        })  # fmt: skip

    def principal_object(principal: Principal) -> PSObject:
        name = accounts.name_of(principal.user_id) if principal.user_id else None
        service = principal.user_id in taskxml.SERVICES
        logon = "ServiceAccount" if service else LOGON_TYPES[principal.logon_type]
        level = "Highest" if principal.run_level == "HighestAvailable" else "Limited"
        return cim("MSFT_TaskPrincipal2", NAMESPACE, {
            "DisplayName": principal.display_name or None,
            "GroupId": principal.group_id or None,
            "Id": principal.id or None,
            "LogonType": enumerated(enums.LOGON_TYPE, logon),
            "RunLevel": enumerated(enums.RUN_LEVEL, level),
            # The provider gives an account's bare name.
            "UserId": name.rpartition("\\")[2] if name else principal.user_id or None,
        })  # fmt: skip

    def task_object(task: Task, registered: Registered | None) -> PSObject:
        properties: dict[str, object] = {
            "Actions": [action_object(action) for action in task.actions],
            "Author": task.text("Author") or None,
            "Date": task.text("Date") or None,
            "Description": task.text("Description") or None,
            "Documentation": task.text("Documentation") or None,
            "Principal": principal_object(task.principal),
            "SecurityDescriptor": task.text("SecurityDescriptor") or None,
            "Settings": settings_object(task.settings, task.version),
            "Source": task.text("Source") or None,
            "TaskName": registered.name if registered else None,
            "TaskPath": registered.folder if registered else None,
            "Triggers": [trigger_object(trigger) for trigger in task.triggers],
            "URI": task.text("URI") or None,
            "Version": task.text("Version") or None,
        }
        if registered:
            properties["State"] = enumerated(enums.TASK_STATE, registered.state.name)
        return cim("MSFT_ScheduledTask", NAMESPACE, properties)

    # Finding

    def found(call: Call, record: dict[str, Any]) -> Iterator[Registered]:
        names, paths = record.get("TaskName"), record.get("TaskPath")
        left = tasks.all()
        for key, patterns in (("TaskName", names), ("TaskPath", paths)):
            if patterns is None:
                continue
            several = patterns if isinstance(patterns, list) else [patterns]
            matched = []
            for pattern in several:
                hits = [
                    task for task in left if wildcard(pattern).match(task.name if key == "TaskName" else task.folder)
                ]
                if not hits and not has_wildcard(pattern):
                    call.write_error(nothing_found("MSFT_ScheduledTask", key, pattern))
                matched += hits
            left = matched
        yield from left

    def one(record: dict[str, Any]) -> Registered:
        """The task that -InputObject, or -TaskName with -TaskPath (the root without it), name; raises without one."""
        made = record.get("InputObject")
        if isinstance(made, PSObject):
            folder, name = str(made["TaskPath"]), str(made["TaskName"])
        else:
            folder, name = str(record.get("TaskPath") or "\\"), str(record["TaskName"])
        task = tasks.find(folder if folder.endswith("\\") else folder + "\\", name)
        if task is None:
            raise cim_error(Win32Error(2, f"{folder}{name}"), f"{folder}{name}")
        return task

    name = Parameter("TaskName", position=0, by_name=True)
    path = Parameter("TaskPath", position=1, by_name=True)
    task_input = Parameter("InputObject", "object", position=None, from_pipeline=True)

    @cmdlet(
        "Get-ScheduledTask", Parameter("TaskName", "string[]", position=0),
        Parameter("TaskPath", "string[]", position=1), error_class="Get-ScheduledTask",
    )  # fmt: skip
    def get_task(call: Call) -> Iterator[object]:
        for record in call.records():
            for task in found(call, record):
                yield task_object(task.definition, task)

    @cmdlet("Get-ScheduledTaskInfo", name, path, task_input, error_class="Get-ScheduledTaskInfo")
    def get_task_info(call: Call) -> Iterator[object]:
        for record in call.records():
            task = one(record)
            last = NEVER
            if task.last_run:
                last = DateTime.from_python(datetime.fromtimestamp(task.last_run, UTC)).to_local()
            yield cim("MSFT_TaskDynamicInfo", NAMESPACE, {
                "LastRunTime": last,
                "LastTaskResult": UInt32(task.last_result),
                "NextRunTime": None,
                "NumberOfMissedRuns": UInt32(task.missed),
                "TaskName": task.name,
                "TaskPath": task.folder if call.has("TaskPath") or record.get("InputObject") else "",
            })  # fmt: skip

    @cmdlet("Export-ScheduledTask", name, path, task_input, error_class="Export-ScheduledTask")
    def export_task(call: Call) -> Iterator[object]:
        for record in call.records():
            yield taskxml.render(one(record).definition)

    # Parts of new tasks

    @cmdlet(
        "New-ScheduledTaskAction", Parameter("Execute", position=0, mandatory=True), Parameter("Argument", position=1),
        Parameter("WorkingDirectory", position=2), Parameter("Id"), error_class="New-ScheduledTaskAction",
    )  # fmt: skip
    def new_action(call: Call) -> Iterator[object]:
        yield action_object(
            Action(call.get("Execute"), call.get("Argument", ""), call.get("WorkingDirectory", ""), call.get("Id", ""))
        )

    @cmdlet(
        "New-ScheduledTaskTrigger",
        Parameter("AtStartup", "switch"), Parameter("AtLogOn", "switch"), Parameter("Once", "switch"),
        Parameter("Daily", "switch"), Parameter("At", "datetime"), Parameter("User"),
        Parameter("RandomDelay", "timespan"), Parameter("RepetitionInterval", "timespan"),
        Parameter("RepetitionDuration", "timespan"),
        Parameter("DaysInterval", "uint32"), error_class="New-ScheduledTaskTrigger",
    )  # fmt: skip
    def new_trigger(call: Call) -> Iterator[object]:
        kinds = [kind for kind in ("AtStartup", "AtLogOn", "Once", "Daily") if call.switch(kind)]
        if len(kinds) != 1 or (kinds[0] in ("Once", "Daily")) != call.has("At"):
            raise _ambiguous()
        kind = {
            "AtStartup": "BootTrigger",
            "AtLogOn": "LogonTrigger",
            "Once": "TimeTrigger",
            "Daily": "CalendarTrigger",
        }[kinds[0]]
        repetition = None
        if call.has("RepetitionInterval"):
            length = call.get("RepetitionDuration")
            repetition = Repetition(_seconds(call.get("RepetitionInterval")), _seconds(length) if length else None)
        yield trigger_object(Trigger(
            kind,
            start_boundary=_boundary(call.get("At")) if call.has("At") else "",
            repetition=repetition,
            random_delay_s=_seconds(call.get("RandomDelay")) if call.has("RandomDelay") else None,
            user_id=call.get("User", ""),
            days_interval=int(call.get("DaysInterval", 1)) if kind == "CalendarTrigger" else None,
        ))  # fmt: skip

    @cmdlet(
        "New-ScheduledTaskPrincipal", Parameter("UserId", position=0), Parameter("GroupId"),
        Parameter("LogonType", enums.LOGON_TYPE.name, position=1),
        Parameter("RunLevel", enums.RUN_LEVEL.name, position=2), Parameter("Id", position=5),
        error_class="New-ScheduledTaskPrincipal",
    )  # fmt: skip
    def new_principal(call: Call) -> Iterator[object]:
        if call.has("UserId") == call.has("GroupId"):
            raise NotModelled("New-ScheduledTaskPrincipal without -UserId, or with -GroupId as well")
        yield cim("MSFT_TaskPrincipal2", NAMESPACE, {
            "DisplayName": None,
            "GroupId": call.get("GroupId"),
            "Id": call.get("Id", "Author"),
            "LogonType": call.get("LogonType") or enumerated(enums.LOGON_TYPE, "None"),
            "RunLevel": call.get("RunLevel") or enumerated(enums.RUN_LEVEL, "Limited"),
            "UserId": call.get("UserId"),
        })  # fmt: skip

    @cmdlet(
        "New-ScheduledTaskSettingsSet",
        *(Parameter(switch, "switch") for switch in (
            "AllowStartIfOnBatteries", "DontStopIfGoingOnBatteries", "StartWhenAvailable", "Hidden", "Disable",
            "DisallowDemandStart", "DisallowHardTerminate", "RunOnlyIfNetworkAvailable", "WakeToRun", "RunOnlyIfIdle",
            "DontStopOnIdleEnd", "RestartOnIdle", "DisallowStartOnRemoteAppSession",
        )),
        Parameter("ExecutionTimeLimit", "timespan"), Parameter("RestartCount", "int"),
        Parameter("RestartInterval", "timespan"), Parameter("Priority", "int"),
        Parameter("MultipleInstances", enums.INSTANCES.name), Parameter("Compatibility", enums.COMPATIBILITY.name),
        error_class="New-ScheduledTaskSettingsSet",
    )  # fmt: skip
    def new_settings(call: Call) -> Iterator[object]:
        limit = call.get("ExecutionTimeLimit")
        settings = Settings(
            allow_demand_start=not call.switch("DisallowDemandStart"),
            restart_count=call.get("RestartCount", 0),
            restart_interval_s=_seconds(call.get("RestartInterval")) if call.has("RestartInterval") else None,
            multiple_instances=str(call.get("MultipleInstances", "IgnoreNew")),
            disallow_start_on_batteries=not call.switch("AllowStartIfOnBatteries"),
            stop_on_batteries=not call.switch("DontStopIfGoingOnBatteries"),
            allow_hard_terminate=not call.switch("DisallowHardTerminate"),
            start_when_available=call.switch("StartWhenAvailable"),
            run_only_if_network=call.switch("RunOnlyIfNetworkAvailable"),
            wake_to_run=call.switch("WakeToRun"),
            enabled=not call.switch("Disable"),
            hidden=call.switch("Hidden"),
            execution_time_limit_s=_seconds(limit) if limit is not None else 72 * 3600,
            priority=call.get("Priority", 7),
            run_only_if_idle=call.switch("RunOnlyIfIdle"),
            stop_on_idle_end=not call.switch("DontStopOnIdleEnd"),
            restart_on_idle=call.switch("RestartOnIdle"),
            disallow_remote_app=call.switch("DisallowStartOnRemoteAppSession"),
            unified_engine=True,
        )
        yield settings_object(settings, VERSIONS[str(call.get("Compatibility", "Vista"))])

    parts = (
        Parameter("Action", "object[]"), Parameter("Trigger", "object[]"), Parameter("Settings", "object"),
        Parameter("Principal", "object"), Parameter("Description"),
    )  # fmt: skip

    @cmdlet("New-ScheduledTask", *parts, error_class="New-ScheduledTask")
    def new_task(call: Call) -> Iterator[object]:
        yield task_object(assembled(call.bound), None)

    def assembled(bound: dict[str, Any]) -> Task:
        """A definition from the objects that the other cmdlets made."""
        if not bound.get("Action"):
            raise NotModelled("a task without an action")
        settings, version = read_settings(bound["Settings"]) if bound.get("Settings") else (Settings(), "1.2")
        principal = read_principal(bound["Principal"]) if bound.get("Principal") else Principal(id="")
        texts = [("Description", bound["Description"])] if bound.get("Description") else []
        return Task(
            actions=tuple(read_action(made) for made in bound["Action"]),
            triggers=tuple(read_trigger(made) for made in bound.get("Trigger") or ()),
            principal=principal,
            settings=settings,
            registration=tuple(texts),
            context=principal.id,
            version=version,
        )

    def read_action(made: PSObject) -> Action:
        return Action(_str(made, "Execute"), _str(made, "Arguments"), _str(made, "WorkingDirectory"), _str(made, "Id"))

    def read_trigger(made: PSObject) -> Trigger:
        kind = made.type_names[0].rpartition("MSFT_Task")[2]
        again = made.get("Repetition")
        repetition = None
        if isinstance(again, PSObject) and again.get("Interval"):
            repetition = Repetition(
                duration(_str(again, "Interval")),
                duration(_str(again, "Duration")) if again.get("Duration") else None,
                bool(again.get("StopAtDurationEnd")),
            )
        return Trigger(
            kind="CalendarTrigger" if kind == "DailyTrigger" else kind,
            id=_str(made, "Id"),
            enabled=bool(made.get("Enabled", True)),
            start_boundary=_str(made, "StartBoundary"),
            end_boundary=_str(made, "EndBoundary"),
            execution_time_limit_s=_length(made, "ExecutionTimeLimit"),
            repetition=repetition,
            delay_s=_length(made, "Delay"),
            random_delay_s=_length(made, "RandomDelay"),
            user_id=_str(made, "UserId"),
            days_interval=int(str(made["DaysInterval"])) if made.get("DaysInterval") is not None else None,
        )

    def read_settings(made: PSObject) -> tuple[Settings, str]:
        settings = Settings(
            allow_demand_start=bool(made["AllowDemandStart"]),
            restart_count=int(str(made["RestartCount"])),
            restart_interval_s=_length(made, "RestartInterval"),
            multiple_instances=str(made["MultipleInstances"]),
            disallow_start_on_batteries=bool(made["DisallowStartIfOnBatteries"]),
            stop_on_batteries=bool(made["StopIfGoingOnBatteries"]),
            allow_hard_terminate=bool(made["AllowHardTerminate"]),
            start_when_available=bool(made["StartWhenAvailable"]),
            run_only_if_network=bool(made["RunOnlyIfNetworkAvailable"]),
            wake_to_run=bool(made["WakeToRun"]),
            enabled=bool(made["Enabled"]),
            hidden=bool(made["Hidden"]),
            delete_after_s=_length(made, "DeleteExpiredTaskAfter"),
            execution_time_limit_s=_length(made, "ExecutionTimeLimit") or 0,
            priority=int(str(made["Priority"])),
            run_only_if_idle=bool(made["RunOnlyIfIdle"]),
            disallow_remote_app=bool(made["DisallowStartOnRemoteAppSession"]),
            unified_engine=bool(made["UseUnifiedSchedulingEngine"]),
        )
        return settings, VERSIONS[str(made["Compatibility"])]

    def read_principal(made: PSObject) -> Principal:
        logon = next(key for key, shown in LOGON_TYPES.items() if shown == str(made["LogonType"]))
        highest = str(made["RunLevel"]) == "Highest"
        principal = Principal(
            _str(made, "Id"), _str(made, "UserId"), _str(made, "GroupId"), logon,
            "HighestAvailable" if highest else "LeastPrivilege", _str(made, "DisplayName"),
        )  # fmt: skip
        return taskxml.resolved(principal, accounts.sid_of)

    @cmdlet(
        "Register-ScheduledTask", name, path, Parameter("Xml"), *parts, task_input, Parameter("User"),
        Parameter("RunLevel", enums.RUN_LEVEL.name), Parameter("Force", "switch"), error_class="Register-ScheduledTask",
    )  # fmt: skip
    def register(call: Call) -> Iterator[object]:
        for record in call.records():
            made = record.get("InputObject")
            ways = [key for key in ("Xml", "Action") if call.has(key)] + (["InputObject"] if made is not None else [])
            if len(ways) != 1:
                raise _ambiguous()
            folder = call.get("TaskPath") or "\\"
            # A folder without its backslashes is understood.
            folder = re.sub(r"\\+", r"\\", f"\\{folder}\\")
            task_name = call.get("TaskName", "")
            try:
                if ways == ["Xml"]:
                    definition = taskxml.parse(call.get("Xml"), accounts.sid_of)
                elif ways == ["Action"]:
                    definition = assembled(call.bound)
                else:
                    if not isinstance(made, PSObject):
                        raise NotModelled("Register-ScheduledTask -InputObject of something else")
                    definition = assembled({
                        "Action": made["Actions"], "Trigger": made["Triggers"], "Settings": made["Settings"],
                        "Principal": made["Principal"], "Description": made.get("Description"),
                    })  # fmt: skip
                    task_name = task_name or _str(made, "TaskName")
                if call.has("User"):
                    principal = replace(definition.principal, user_id=call.get("User"), logon_type="")
                    if call.has("RunLevel"):
                        highest = str(call.get("RunLevel")) == "Highest"
                        principal = replace(principal, run_level="HighestAvailable" if highest else "LeastPrivilege")
                    definition = replace(definition, principal=taskxml.resolved(principal, accounts.sid_of))
                registered = tasks.register(folder, task_name, definition, replace_existing=call.switch("Force"))
            except (ComError, Win32Error) as error:
                raise cim_error(error, task_name) from error
            yield task_object(registered.definition, registered)

    @cmdlet(
        "Unregister-ScheduledTask", Parameter("TaskName", "string[]", position=0),
        Parameter("TaskPath", "string[]", position=1), Parameter("InputObject", "object[]", from_pipeline=True),
        Parameter("WhatIf", "switch"), Parameter("Confirm", "switch"), error_class="Unregister-ScheduledTask",
    )  # fmt: skip
    def unregister(call: Call) -> Iterator[object]:
        for record in call.records():
            made = record.get("InputObject")
            chosen = [one({"InputObject": each}) for each in made] if made is not None else list(found(call, record))
            for task in chosen:
                if call.switch("WhatIf"):
                    continue
                if not call.has("Confirm") or call.switch("Confirm"):
                    # Its ConfirmImpact is high: it asks, and nobody can answer.
                    raise not_interactive()
                _do(lambda task=task: tasks.unregister(task.folder, task.name), task.name)
        return iter(())

    def _do(action: Any, subject: str) -> Any:
        try:
            return action()
        except (ComError, Win32Error) as error:
            raise cim_error(error, subject) from error

    def verb(cmdlet_name: str, action: Any) -> Command:
        @cmdlet(cmdlet_name, name, path, task_input, error_class=cmdlet_name)
        def run(call: Call) -> Iterator[object]:
            for record in call.records():
                task = one(record)
                result = _do(lambda task=task: action(task), task.name)
                if isinstance(result, Registered):
                    yield task_object(result.definition, result)

        return run

    return [
        get_task, get_task_info, export_task, new_action, new_trigger, new_principal, new_settings, new_task, register,
        unregister,
        verb("Start-ScheduledTask", lambda task: tasks.run(task.folder, task.name)),
        verb("Stop-ScheduledTask", lambda task: tasks.stop(task.folder, task.name)),
        verb("Enable-ScheduledTask", lambda task: tasks.enable(task.folder, task.name, True)),
        verb("Disable-ScheduledTask", lambda task: tasks.enable(task.folder, task.name, False)),
    ]  # fmt: skip


def _ambiguous() -> PowerShellError:
    return PowerShellError(
        "Parameter set cannot be resolved using the specified named parameters.", "AmbiguousParameterSet",
        "InvalidArgument", exception="System.Management.Automation.ParameterBindingException",
    )  # fmt: skip


def _text(seconds: int | None) -> str | None:
    return None if seconds is None else duration_text(seconds)


def _seconds(span: TimeSpan) -> int:
    return span.ticks // TICKS


def _boundary(moment: DateTime) -> str:
    local = moment.to_local() if moment.kind == "Utc" else moment
    return local.python().replace(microsecond=0).astimezone().isoformat()


def _str(made: PSObject, name: str) -> str:
    value = made.get(name)
    return "" if value is None else str(value)


def _length(made: PSObject, name: str) -> int | None:
    text = _str(made, name)
    try:
        return duration(text) if text else None
    except ValueError:
        raise cim_error(
            ComError(taskxml.INVALID_VALUE, f"{taskxml.TEXTS[taskxml.INVALID_VALUE]}\r\n{name}:{text}")
        ) from None

"""Cmdlets about the session: variables, commands, strict mode, time."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

from ..commands import Call, Parameter, command
from ..errors import PowerShellError, Refusal
from ..moments import DateTime, DateTimeOfCmdlet, TimeSpan
from ..patterns import has_wildcards
from ..scopes import Scope, Slot
from ..values import PSObject


def _scope(call: Call) -> Scope:
    name = call.get("Scope", "").lower()
    scope = call.context.scope
    if name.isdigit():
        for _ in range(int(name)):
            if scope.parent is None:
                raise Refusal("UnknownParameter", f"{call.command.name} -Scope {name}")
            scope = scope.parent
        return scope
    if name not in ("", "global", "script", "local"):
        raise Refusal("UnknownParameter", f"{call.command.name} -Scope {name}")
    return scope.named(name)


def _write_not_found(call: Call, name: str) -> None:
    call.write_error(
        f"Cannot find a variable with the name '{name}'.",
        "VariableNotFound",
        "ObjectNotFound",
        name,
        exception="System.Management.Automation.ItemNotFoundException",
    )


@command(
    "Get-Variable",
    Parameter("Name", "string[]", position=0, mandatory=True, from_pipeline=True, by_name=True),
    Parameter("ValueOnly", "switch"),
    Parameter("Scope", "string"),
)
def get_variable(call: Call) -> Iterator[object]:
    """Get-Variable by name."""
    for record in call.records():
        for name in record["Name"]:
            if has_wildcards(name):
                raise Refusal("UnknownParameter", "Get-Variable with a pattern")
            key = name.lower()
            slot = _scope(call).variables.get(key) if call.has("Scope") else call.context.scope.find(key)
            if slot is None:
                _write_not_found(call, name)
            elif call.switch("ValueOnly"):
                yield slot.value
            else:
                yield PSObject(
                    {"Name": name, "Value": slot.value}, "System.Management.Automation.PSVariable", complete=True
                )


@command(
    "Set-Variable",
    Parameter("Name", "string[]", position=0, mandatory=True),
    Parameter("Value", "object", position=1),
    Parameter("Scope", "string"),
)
def set_variable(call: Call) -> None:
    """Set-Variable."""
    for name in call.get("Name"):
        _scope(call).set(name.lower(), call.get("Value"))


@command(
    "New-Variable",
    Parameter("Name", "string", position=0, mandatory=True),
    Parameter("Value", "object", position=1),
    Parameter("Scope", "string"),
    Parameter("Force", "switch"),
)
def new_variable(call: Call) -> None:
    """New-Variable: an error where it is there already."""
    name = call.get("Name")
    scope = _scope(call)
    if name.lower() in scope.variables and not call.switch("Force"):
        call.write_error(
            f"A variable with name '{name}' already exists.",
            "NewVariable",
            "ResourceExists",
            name,
            exception="System.Management.Automation.SessionStateException",
        )
        return
    scope.variables[name.lower()] = Slot(call.get("Value"))


@command(
    "Remove-Variable",
    Parameter("Name", "string[]", position=0, mandatory=True),
    Parameter("Scope", "string"),
    Parameter("Force", "switch"),
)
def remove_variable(call: Call) -> None:
    """Remove-Variable."""
    for name in call.get("Name"):
        scope = _scope(call)
        if scope.variables.pop(name.lower(), None) is None:
            _write_not_found(call, name)


@command(
    "Get-Command",
    Parameter("Name", "string[]", position=0, mandatory=True, from_pipeline=True, by_name=True),
    Parameter("CommandType", "string", choices=("Application", "Cmdlet", "Function", "ExternalScript", "All")),
)
def get_command(call: Call) -> Iterator[object]:
    """Get-Command by name: functions, cmdlets, programs."""
    wanted = call.get("CommandType", "All").lower()
    for record in call.records():
        for name in record["Name"]:
            if has_wildcards(name):
                raise Refusal("UnknownParameter", "Get-Command with a pattern")
            found = _command(call, name, wanted)
            if found is not None:
                yield found
                continue
            error = call.interpreter.commands.not_found(name)
            if isinstance(error, Refusal):
                raise error
            call.write_error(error)


def _command(call: Call, name: str, wanted: str) -> PSObject | None:
    function = call.context.scope.function(name.lower())
    if function and wanted in ("all", "function"):
        return _info(function[0], "Function", {"Definition": call.text(function[1]), "Source": ""})
    known = call.engine.commands.get(name.lower())
    if known and wanted in ("all", "cmdlet"):
        return _info(known.name, "Cmdlet", {"Source": known.module})
    if wanted in ("all", "application") and not known:
        program = call.engine.executables(name)
        if program is not None:
            path = getattr(program, "path", name)
            return _info(path.rpartition("\\")[2], "Application", {"Source": path, "Path": path, "Definition": path})
    return None


def _info(name: str, kind: str, more: dict[str, object]) -> PSObject:
    return PSObject({"CommandType": kind, "Name": name, **more}, f"System.Management.Automation.{kind}Info", text=name)


@command("Set-StrictMode", Parameter("Version", "string"), Parameter("Off", "switch"))
def set_strict_mode(call: Call) -> None:
    """Set-StrictMode, for the caller's scope and those inside of it."""
    if call.switch("Off"):
        call.context.scope.strict = 0
        return
    version = call.get("Version")
    if version is None:
        raise PowerShellError("Parameter set cannot be resolved.", "AmbiguousParameterSet", "InvalidArgument")
    if version.lower() == "latest":
        call.context.scope.strict = 5
        return
    found = re.match(r"(\d+)(\.\d+)*$", version)
    if not found:
        raise PowerShellError(
            f"Cannot validate argument on parameter 'Version'. The \"{version}\" argument does not contain a valid "
            "PowerShell version. Supply a valid version number and then try the command again.",
            "ParameterArgumentValidationError",
            "InvalidData",
        )
    call.context.scope.strict = int(found.group(1))


@command(
    "Get-Date",
    Parameter("Date", "datetime", position=0, from_pipeline=True),
    Parameter("Format", "string"),
)
def get_date(call: Call) -> Iterator[object]:
    """Get-Date: now, or the date given; with -Format as text."""
    for record in call.records():
        moment = record.get("Date") or DateTime.now()
        if call.has("Format"):
            try:
                yield moment.format(call.get("Format"))
            except ValueError as error:
                raise Refusal("UnknownFormat", str(error)) from error
        else:
            yield DateTimeOfCmdlet(moment.ticks, moment.kind)


@command("Start-Sleep", Parameter("Seconds", "int", position=0), Parameter("Milliseconds", "int"))
def start_sleep(call: Call) -> None:
    """Start-Sleep: whole seconds in Windows PowerShell."""
    call.engine.sleep(call.get("Seconds", 0) + call.get("Milliseconds", 0) / 1000)


@command(
    "New-TimeSpan",
    Parameter("Start", "datetime", position=0),
    Parameter("End", "datetime", position=1),
    Parameter("Days", "int"),
    Parameter("Hours", "int"),
    Parameter("Minutes", "int"),
    Parameter("Seconds", "int"),
)
def new_time_span(call: Call) -> Iterator[object]:
    """New-TimeSpan between two dates, or of a length."""
    if call.has("Start") or call.has("End"):
        end = call.get("End") or DateTime.now()
        start = call.get("Start") or DateTime.now()
        yield TimeSpan(end.ticks - start.ticks)
        return
    hours = call.get("Days", 0) * 24 + call.get("Hours", 0)
    yield TimeSpan.seconds((hours * 60 + call.get("Minutes", 0)) * 60 + call.get("Seconds", 0))


@command("New-Guid")
def new_guid(call: Call) -> Iterator[object]:
    """New-Guid."""
    yield uuid.uuid4()


COMMANDS = [
    get_variable, set_variable, new_variable, remove_variable, get_command, set_strict_mode, get_date, start_sleep,
    new_time_span, new_guid,
]  # fmt: skip

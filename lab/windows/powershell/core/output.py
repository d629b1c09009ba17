"""Cmdlets that write to streams and to the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..commands import Call, Parameter, command
from ..errors import ErrorRecord, NetException
from ..formatting import Formatter
from ..values import elements, enumerates
from .objects import objects

_COLORS = (
    "Black", "DarkBlue", "DarkGreen", "DarkCyan", "DarkRed", "DarkMagenta", "DarkYellow", "Gray", "DarkGray", "Blue",
    "Green", "Cyan", "Red", "Magenta", "Yellow", "White",
)  # fmt: skip


@command(
    "Write-Output",
    Parameter("InputObject", "object", position=0, mandatory=True, from_pipeline=True, null=True),
    Parameter("NoEnumerate", "switch"),
)
def write_output(call: Call) -> Iterator[object]:
    """Write-Output: collections go on as their elements."""
    for record in call.records():
        value = record["InputObject"]
        if enumerates(value) and not call.switch("NoEnumerate"):
            yield from elements(value)
        else:
            yield value


@command(
    "Write-Error",
    Parameter("Message", "string", position=0, from_pipeline=True, empty=True),
    Parameter("Exception", "System.Exception"),
    Parameter("ErrorRecord", "System.Management.Automation.ErrorRecord"),
    Parameter("ErrorId", "string"),
    Parameter("Category", "System.Management.Automation.ErrorCategory"),
    Parameter("TargetObject", "object"),
)
def write_error(call: Call) -> None:
    """Write-Error: a non-terminating error whose report begins with the function, or the script's text."""
    for record in call.records():
        made = record.get("ErrorRecord")
        if made is None:
            exception = record.get("Exception") or NetException(
                "Microsoft.PowerShell.Commands.WriteErrorException", record.get("Message") or ""
            )
            made = ErrorRecord(exception, "", str(record.get("Category") or "NotSpecified"), record.get("TargetObject"))
            identity = record.get("ErrorId") or exception.type_name
            made.error_id = f"{identity},{call.context.command}" if call.context.command else identity
            if record.get("Exception") and record.get("Message"):
                made.details = record["Message"]
            made.origin = call.context.command
        made.command = "Write-Error"
        call.write_error(made)


def _stream(name: str, parameter: str = "Message") -> Any:
    @command(
        f"Write-{name}", Parameter(parameter, "string", position=0, mandatory=True, from_pipeline=True, empty=True)
    )
    def write(call: Call) -> None:
        for record in call.records():
            call.write_stream(name.lower(), record[parameter])

    return write


@command(
    "Write-Information",
    Parameter("MessageData", "object", position=0, mandatory=True, from_pipeline=True),
    Parameter("Tags", "string[]", position=1),
)
def write_information(call: Call) -> None:
    """Write-Information, shown where $InformationPreference says so."""
    for record in call.records():
        call.write_stream("information", record["MessageData"])


@command(
    "Write-Host",
    Parameter("Object", "object", position=0, from_pipeline=True, rest=True),
    Parameter("NoNewline", "switch"),
    Parameter("Separator", "object"),
    Parameter("ForegroundColor", "string", choices=_COLORS),
    Parameter("BackgroundColor", "string", choices=_COLORS),
)
def write_host(call: Call) -> None:
    """Write-Host: text on standard output, past the pipeline."""
    for record in call.records():
        value = record.get("Object")
        glue = call.text(call.get("Separator", " "))
        text = glue.join(map(call.text, elements(value))) if enumerates(value) else call.text(value)
        call.write_stream("host", text + ("" if call.switch("NoNewline") else "\r\n"))


@command(
    "Write-Progress",
    Parameter("Activity", "string", position=0, mandatory=True),
    Parameter("Status", "string", position=1),
    Parameter("PercentComplete", "int"),
    Parameter("Id", "int", position=2),
    Parameter("CurrentOperation", "string"),
    Parameter("SecondsRemaining", "int"),
    Parameter("ParentId", "int"),
    Parameter("Completed", "switch"),
)
def write_progress(call: Call) -> None:
    """Write-Progress."""
    done = call.switch("Completed")
    call.write_stream(
        "progress", (call.get("Activity"), call.get("Status", "Processing"), call.get("PercentComplete", -1), done)
    )


@command("Out-Null", Parameter("InputObject", "object", from_pipeline=True))
def out_null(call: Call) -> None:
    """Out-Null."""
    for _ in call.input:
        pass


@command(
    "Out-String",
    Parameter("Stream", "switch"),
    Parameter("Width", "int"),
    Parameter("InputObject", "object", from_pipeline=True),
)
def out_string(call: Call) -> Iterator[object]:
    """Out-String: one text, or with -Stream one for each line."""
    formatter = Formatter(call.engine, call.interpreter.conversions, call.get("Width", 120))
    lines = formatter.lines(objects(call))
    if call.switch("Stream"):
        yield from lines
    else:
        yield "".join(f"{line}\r\n" for line in lines)


def _out_host(name: str) -> Any:
    @command(name, Parameter("InputObject", "object", from_pipeline=True))
    def write(call: Call) -> None:
        formatter = Formatter(call.engine, call.interpreter.conversions, 120)
        for item in objects(call):
            if isinstance(item, ErrorRecord):
                call.engine.report(item)
                continue
            for line in formatter.feed(item):
                call.engine.write_host(f"{line}\r\n")
        for line in formatter.finish():
            call.engine.write_host(f"{line}\r\n")

    return write


COMMANDS = [
    write_output, write_error, _stream("Warning"), _stream("Verbose"), _stream("Debug"), write_information, write_host,
    write_progress, out_null, out_string, _out_host("Out-Host"), _out_host("Out-Default"),
]  # fmt: skip

"""Cmdlets about text: Select-String, ConvertTo-Csv, ConvertFrom-Csv, ConvertFrom-StringData."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from ..commands import Call, Parameter, command
from ..dotnet.text import Match
from ..patterns import regex
from ..values import Hashtable, PSObject
from .objects import objects


@command(
    "Select-String",
    Parameter("Pattern", "string[]", position=0, mandatory=True),
    Parameter("InputObject", "object", from_pipeline=True, mandatory=True),
    Parameter("SimpleMatch", "switch"),
    Parameter("CaseSensitive", "switch"),
    Parameter("AllMatches", "switch"),
    Parameter("Quiet", "switch"),
    Parameter("NotMatch", "switch"),
)
def select_string(call: Call) -> Iterator[object]:
    """Select-String in the pipeline's text."""
    flags = 0 if call.switch("CaseSensitive") else re.I
    wanted = [
        re.compile(re.escape(pattern), flags) if call.switch("SimpleMatch") else regex(pattern, flags)
        for pattern in call.get("Pattern")
    ]
    for number, record in enumerate(call.records(), 1):
        line = call.text(record["InputObject"])
        found = [match for pattern in wanted for match in pattern.finditer(line)]
        if bool(found) == call.switch("NotMatch"):
            continue
        if call.switch("Quiet"):
            yield True
            call.stop_input()
            return
        matches = [Match(match) for match in (found if call.switch("AllMatches") else found[:1])]
        yield PSObject(
            {"Line": line, "LineNumber": number, "Matches": matches, "Pattern": call.get("Pattern")[0]},
            "Microsoft.PowerShell.Commands.MatchInfo",
            text=line,
        )


@command(
    "ConvertTo-Csv",
    Parameter("InputObject", "object", position=0, from_pipeline=True, mandatory=True),
    Parameter("Delimiter", "char", position=1),
    Parameter("NoTypeInformation", "switch"),
)
def convert_to_csv(call: Call) -> Iterator[object]:
    """ConvertTo-Csv: Windows PowerShell puts the type first unless told not to."""
    glue = str(call.get("Delimiter", ","))
    names: list[str] | None = None
    members = call.interpreter.members
    for item in objects(call):
        if names is None:
            names = members.property_names(item)
            if call.engine.edition == "5.1" and not call.switch("NoTypeInformation"):
                yield f"#TYPE {call.interpreter.conversions.registry.names_of(item)[0]}"
            yield glue.join(f'"{name}"' for name in names)
        cells = [call.text(members.property_value(item, name)).replace('"', '""') for name in names]
        yield glue.join(f'"{cell}"' for cell in cells)


@command(
    "ConvertFrom-Csv",
    Parameter("InputObject", "string[]", position=0, from_pipeline=True, mandatory=True, empty=True),
    Parameter("Delimiter", "char", position=1),
    Parameter("Header", "string[]"),
)
def convert_from_csv(call: Call) -> Iterator[object]:
    """ConvertFrom-Csv: objects whose properties are text."""
    lines = [line for record in call.records() for line in record["InputObject"]]
    lines = [line for line in lines if not line.startswith("#TYPE ")]
    rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=str(call.get("Delimiter", ","))))
    rows = [row for row in rows if row]
    header = call.get("Header") or (rows.pop(0) if rows else [])
    for row in rows:
        yield PSObject({name: row[at] if at < len(row) else None for at, name in enumerate(header)})


@command(
    "ConvertFrom-StringData",
    Parameter("StringData", "string", position=0, from_pipeline=True, mandatory=True, empty=True),
)
def convert_from_string_data(call: Call) -> Iterator[object]:
    """ConvertFrom-StringData: name=value lines as a hash table."""
    for record in call.records():
        table = Hashtable()
        for line in record["StringData"].splitlines():
            if line.strip() and not line.strip().startswith("#"):
                name, _, value = line.partition("=")
                table[name.strip()] = value.strip().replace("\\\\", "\\")
        yield table


COMMANDS = [select_string, convert_to_csv, convert_from_csv, convert_from_string_data]

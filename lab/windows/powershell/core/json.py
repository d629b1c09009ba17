"""ConvertTo-Json and ConvertFrom-Json.

Windows PowerShell 5.1: at most two levels below the root unless -Depth says more; enumerations are numbers; dates are
"\\/Date(...)\\/"; quotes, <, > and & are escaped, letters beyond ASCII are not; numbers with a point
are read as [decimal].
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from ..commands import Call, Parameter, command
from ..errors import NetException, PowerShellError, Refusal
from ..moments import SHOWN, UNIX_TICKS, DateTime, DateTimeOfCmdlet, TimeSpan
from ..numbers import double_text, is_number
from ..typesystem import EnumValue
from ..values import (
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    DecoratedText,
    Hashtable,
    Int64,
    PSObject,
    SwitchValue,
    elements,
    enumerates,
)

_LIMIT = 2097152
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED_51 = re.compile("[\"\\\\\\x00-\\x1f'<>&\u0085\u2028\u2029]")
_ESCAPED_7 = re.compile('["\\\\\\x00-\\x1f]')


def _escaped(found: re.Match[str]) -> str:
    char = found.group()
    return _ESCAPES.get(char) or f"\\u{ord(char):04x}"


class _Raw(str):
    """JSON as it stands."""


class _Writer:
    def __init__(self, call: Call) -> None:
        self.call = call
        self.old = call.engine.edition == "5.1"
        self.depth = call.get("Depth", 2)
        self.compress = call.switch("Compress")

    def text(self, value: str) -> str:
        pattern = _ESCAPED_51 if self.old else _ESCAPED_7
        return f'"{pattern.sub(_escaped, value)}"'

    def prepare(self, value: Any, depth: int) -> Any:
        """The value as raw JSON, a list, or a dict."""
        simple = self.simple(value)
        if simple is not None:
            return _Raw(simple)
        if depth > self.depth:
            return _Raw(self.text(self.call.text(value)))
        if enumerates(value):
            return [self.prepare(item, depth + 1) for item in elements(value)]
        return {name: self.prepare(part, depth + 1) for name, part in self.parts(value)}

    def simple(self, value: Any) -> str | None:
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, DecoratedText) and self.old:
            return None
        if isinstance(value, str):
            return self.text(str(value))
        if isinstance(value, EnumValue):
            return str(value.value)
        if isinstance(value, float):
            shown = double_text(value, shortest=True)
            return shown if self.old or not re.fullmatch(r"-?\d+", shown) else f"{shown}.0"
        if is_number(value):
            return self.call.text(value)
        if isinstance(value, DateTime):
            return None if self.old and isinstance(value, DateTimeOfCmdlet) else self.date(value)
        if isinstance(value, uuid.UUID):
            return self.text(str(value))
        if self.call.interpreter.conversions.registry.type_of(value).name == "System.Uri":
            return self.text(self.call.text(value))
        return None

    def date(self, value: DateTime) -> str:
        if not self.old:
            text = value.format("yyyy-MM-ddTHH:mm:ss.fffffffK")
            return self.text(re.sub(r"\.?0+(?=$|Z|[+-]\d\d:)", "", text, count=1) if "." in text else text)
        utc = value if value.kind == "Utc" else value.to_utc()
        return f'"\\/Date({(utc.ticks - UNIX_TICKS) // 10_000})\\/"'

    def parts(self, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Hashtable):
            for key, item in value.items():
                yield self.call.text(key), item
        elif isinstance(value, PSObject):
            yield from value.items()
        elif isinstance(value, SwitchValue):
            yield "IsPresent", value.present
        elif isinstance(value, DateTimeOfCmdlet):
            yield "value", DateTime(value.ticks, value.kind)
            yield "DisplayHint", 2
            yield "DateTime", value.format(SHOWN)
        elif isinstance(value, DecoratedText):
            yield "value", str(value)
            yield from value.notes.items()
        elif isinstance(value, TimeSpan):
            members = self.call.interpreter.members
            for name in members.property_names(value):
                yield name, members.property_value(value, name)
        else:
            kind = self.call.interpreter.conversions.registry.type_of(value).name
            raise Refusal("UnknownJson", f"ConvertTo-Json of a {kind}")

    def join(self, value: Any, indent: int) -> str:
        if isinstance(value, _Raw):
            return str(value)
        opening, closing = ("[", "]") if isinstance(value, list) else ("{", "}")
        if self.compress:
            if isinstance(value, list):
                return f"[{','.join(self.join(item, 0) for item in value)}]"
            return "{" + ",".join(f"{self.text(key)}:{self.join(item, 0)}" for key, item in value.items()) + "}"
        step = 4 if self.old else 2
        inner = " " * (indent + step)
        if not value:
            return f"{opening}\r\n\r\n{' ' * indent}{closing}" if self.old else f"{opening}{closing}"
        lines = []
        for key, item in [(None, item) for item in value] if isinstance(value, list) else list(value.items()):
            name = "" if key is None else f"{self.text(key)}:{'  ' if self.old else ' '}"
            lines.append(f"{inner}{name}{self.join(item, len(inner) + (len(name) if self.old else 0))}")
        body = ",\r\n".join(lines)
        return f"{opening}\r\n{body}\r\n{' ' * indent}{closing}"


@command(
    "ConvertTo-Json",
    Parameter("InputObject", "object", position=0, mandatory=True, from_pipeline=True, null=True),
    Parameter("Depth", "int"),
    Parameter("Compress", "switch"),
)
def convert_to_json(call: Call) -> Iterator[object]:
    """ConvertTo-Json: one object of the pipeline is itself, several are an array; Windows PowerShell skips $null."""
    items = list(call.input) if call.piped else [call.get("InputObject")]
    if call.engine.edition == "5.1":
        items = [item for item in items if item is not None]
    if not items:
        return
    value = items[0] if len(items) == 1 else items
    writer = _Writer(call)
    yield writer.join(writer.prepare(value, 0), 0)


def _integer(text: str) -> Any:
    value = int(text)
    if INT32_MIN <= value <= INT32_MAX:
        return value
    return Int64(value) if INT64_MIN <= value <= INT64_MAX else Decimal(value)


def _object(pairs: list[tuple[str, Any]]) -> PSObject:
    made = PSObject()
    for name, value in pairs:
        known = next((other for other in made.names() if other.lower() == name.lower()), name)
        if known != name:
            raise ValueError(
                "Cannot convert the JSON string because a dictionary that was converted from the string contains the "
                f"duplicated keys '{known}' and '{name}'."
            )
        made[name] = value
    return made


def _dates(value: Any, convert: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        return convert(value)
    if isinstance(value, list):
        return [_dates(item, convert) for item in value]
    if isinstance(value, PSObject):
        for name, item in list(value.items()):
            value[name] = _dates(item, convert)
    return value


def _old_date(text: str) -> Any:
    found = re.fullmatch(r"/Date\((-?\d+)(?:[+-]\d{4})?\)/", text)
    return DateTime(UNIX_TICKS + int(found.group(1)) * 10_000, "Utc") if found else text


def _new_date(text: str) -> Any:
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", text):
        found = DateTime.parse(text)
        return found.to_utc() if text.endswith("Z") else found
    return text


@command(
    "ConvertFrom-Json", Parameter("InputObject", "string", position=0, mandatory=True, from_pipeline=True, empty=True)
)
def convert_from_json(call: Call) -> Iterator[object]:
    """ConvertFrom-Json: an array is one object of the pipeline in Windows PowerShell."""
    old = call.engine.edition == "5.1"
    text = "\r\n".join(record["InputObject"] for record in call.records())
    if not text.strip():
        return
    if old and len(text) > _LIMIT:
        raise _failure(
            "Error during serialization or deserialization using the JSON JavaScriptSerializer. The length of the "
            "string exceeds the value set on the maxJsonLength property.",
            "System.InvalidOperationException",
        )
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=(lambda digits: float(digits) if "e" in digits.lower() else Decimal(digits)) if old else float,
        )
    except ValueError as error:
        raise _failure(
            f"Invalid JSON primitive: {error}." if old else str(error), "System.ArgumentException"
        ) from error
    value = _dates(value, _old_date if old else _new_date)
    if isinstance(value, list) and not old:
        yield from value
    else:
        yield value


def _failure(message: str, exception: str) -> PowerShellError:
    return PowerShellError(message, exception, "NotSpecified", exception=NetException(exception, message))


COMMANDS = [convert_to_json, convert_from_json]

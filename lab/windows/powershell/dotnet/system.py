"""Environment, Guid, Version, Uri, Type, Thread, and the engine's own types."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import ErrorRecord, NetException, Refusal
from ..typesystem import DotNetType, EnumType, Property, method
from ..values import Hashtable, PSObject, ScriptBlock
from .primitives import OBJECT

TARGET = EnumType("System.EnvironmentVariableTarget", {"Process": 0, "User": 1, "Machine": 2})


def _variables(engine: Any) -> Hashtable:
    return Hashtable(engine.environment, case_sensitive=True)


def _process_only(target: Any) -> None:
    if str(target) != "Process":
        raise Refusal("UnknownMember", f"environment variables of the scope {target}")


def _get_scoped(engine: Any, name: str, target: Any) -> str | None:
    _process_only(target)
    found: str | None = engine.get_environment(name)
    return found


def _set_scoped(engine: Any, name: str, value: str | None, target: Any) -> None:
    _process_only(target)
    engine.set_environment(name, value)


def _set_variable(engine: Any, name: str, value: str | None) -> None:
    if not name or "=" in name:
        raise NetException("System.ArgumentException", "Environment variable name cannot contain equal character.")
    engine.set_environment(name, value)


def _expand(engine: Any, text: str) -> str:
    def fill(found: re.Match[str]) -> str:
        value = engine.get_environment(found.group(1))
        return found.group() if value is None else str(value)

    return re.sub(r"%([^%]+)%", fill, text)


ENVIRONMENT = DotNetType(
    "System.Environment",
    statics={
        "NewLine": Property(lambda: "\r\n"),
        "MachineName": Property(lambda engine: engine.get_environment("COMPUTERNAME"), engine=True),
        "UserName": Property(lambda engine: engine.get_environment("USERNAME"), engine=True),
        "UserDomainName": Property(lambda engine: engine.get_environment("USERDOMAIN"), engine=True),
        "SystemDirectory": Property(lambda engine: f"{engine.get_environment('SystemRoot')}\\system32", engine=True),
        "CurrentDirectory": Property(lambda engine: engine.location, engine=True),
        "ProcessorCount": Property(
            lambda engine: int(engine.get_environment("NUMBER_OF_PROCESSORS") or 1), engine=True
        ),
        "Is64BitProcess": Property(lambda: True),
        "Is64BitOperatingSystem": Property(lambda: True),
        "HasShutdownStarted": Property(lambda: False),
        "TickCount": Property(lambda: int(time.monotonic() * 1000) % 2**31),
        "ExitCode": Property(lambda: 0),
        "Exit": method(lambda engine, code: engine.end(code), "int", engine=True),
        "GetEnvironmentVariable": method(
            lambda engine, name: engine.get_environment(name), "string", engine=True, nullable=True
        )
        | method(_get_scoped, "string", TARGET.name, engine=True, nullable=True),
        "GetEnvironmentVariables": method(_variables, engine=True),
        "SetEnvironmentVariable": method(_set_variable, "string", "string", engine=True)
        | method(_set_scoped, "string", "string", TARGET.name, engine=True),
        "ExpandEnvironmentVariables": method(_expand, "string", engine=True),
    },
)


def _casting(parse: Callable[[str], object]) -> Callable[[Any], object]:
    """The cast that goes through the text of a value."""

    def cast(value: Any) -> object:
        try:
            return parse(str(value))
        except NetException as error:
            raise ValueError(error.message) from error

    return cast


def _guid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text.strip("{}()"))
    except ValueError as error:
        raise NetException(
            "System.FormatException",
            "Guid should contain 32 digits with 4 dashes (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx).",
        ) from error


def _guid_text(value: uuid.UUID, pattern: str = "D") -> str:
    forms = {"D": str(value), "N": value.hex, "B": f"{{{value}}}", "P": f"({value})"}
    if pattern.upper() not in forms:
        raise NetException(
            "System.FormatException", 'Format String can be only "D", "d", "N", "n", "P", "p", "B", "b".'
        )
    return forms[pattern.upper()]


GUID = DotNetType(
    "System.Guid",
    base=OBJECT,
    python=uuid.UUID,
    new=method(_guid, "string"),
    convert=_casting(_guid),
    text=str,
    statics={
        "NewGuid": method(uuid.uuid4),
        "Empty": Property(lambda: uuid.UUID(int=0)),
        "Parse": method(_guid, "string"),
    },
    members={"ToString": method(_guid_text) | method(_guid_text, "string"), "Guid": Property(str)},
)


@total_ordering
@dataclass(frozen=True)
class Version:
    """[version]: two to four numbers; what is missing counts as -1."""

    parts: tuple[int, ...]

    def __lt__(self, other: Version) -> bool:
        return self.padded() < other.padded()

    def padded(self) -> tuple[int, ...]:
        """Always four numbers."""
        return (*self.parts, *[-1] * (4 - len(self.parts)))

    def __str__(self) -> str:
        return ".".join(map(str, self.parts))


def _version(text: str) -> Version:
    if not re.fullmatch(r"\s*\d+(\.\d+){1,3}\s*", text):
        message = "Version string portion was too short or too long."
        if re.search(r"[^\d.\s]", text):
            message = "Input string was not in a correct format."
        raise NetException("System.ArgumentException", message)
    return Version(tuple(int(part) for part in text.strip().split(".")))


def _of_numbers(*parts: int) -> Version:
    return Version(tuple(parts))


VERSION = DotNetType(
    "System.Version",
    base=OBJECT,
    python=Version,
    new=method(_version, "string")
    | method(_of_numbers, "int", "int")
    | method(_of_numbers, "int", "int", "int")
    | method(_of_numbers, "int", "int", "int", "int"),
    convert=_casting(_version),
    text=str,
    statics={"Parse": method(_version, "string")},
    members={
        "Major": Property(lambda version: version.padded()[0]),
        "Minor": Property(lambda version: version.padded()[1]),
        "Build": Property(lambda version: version.padded()[2]),
        "Revision": Property(lambda version: version.padded()[3]),
        "CompareTo": method(lambda version, other: (version > other) - (version < other), "version"),
        "ToString": method(str),
    },
)


class Uri:
    """[uri]"""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = urlsplit(text)
        if not self.parts.scheme:
            raise NetException(
                "System.UriFormatException", "Invalid URI: The format of the URI could not be determined."
            )


_PORTS = {"http": 80, "https": 443, "ftp": 21}
URI = DotNetType(
    "System.Uri",
    base=OBJECT,
    python=Uri,
    new=method(Uri, "string"),
    convert=lambda value: Uri(str(value)),
    text=lambda uri: uri.text,
    statics={
        "EscapeDataString": method(lambda text: quote(text, safe=""), "string"),
    },
    members={
        "Scheme": Property(lambda uri: uri.parts.scheme),
        "Host": Property(lambda uri: uri.parts.hostname or ""),
        "Port": Property(lambda uri: uri.parts.port or _PORTS.get(uri.parts.scheme, -1)),
        "AbsolutePath": Property(lambda uri: uri.parts.path or "/"),
        "Query": Property(lambda uri: f"?{uri.parts.query}" if uri.parts.query else ""),
        "OriginalString": Property(lambda uri: uri.text),
        "Segments": Property(lambda uri: re.findall(r"[^/]*/|[^/]+$", uri.parts.path or "/")),
    },
)


TYPE = DotNetType(
    "System.Type",
    base=OBJECT,
    python=DotNetType,
    members={
        "Name": Property(lambda kind: kind.name.rpartition(".")[2]),
        "FullName": Property(lambda kind: kind.name),
        "Namespace": Property(lambda kind: kind.name.rpartition(".")[0]),
        "IsArray": Property(lambda kind: kind.name.endswith("[]")),
        "IsEnum": Property(lambda kind: isinstance(kind, EnumType)),
        "BaseType": Property(lambda kind: kind.base),
        "ToString": method(lambda kind: kind.name),
    },
)


def _sleep(engine: Any, milliseconds: float) -> None:
    engine.sleep(milliseconds / 1000)


THREAD = DotNetType(
    "System.Threading.Thread",
    statics={
        "Sleep": method(_sleep, "int", engine=True)
        | method(lambda engine, span: engine.sleep(span.ticks / 1e7), "timespan", engine=True),
    },
)

CATEGORY = EnumType(
    "System.Management.Automation.ErrorCategory",
    {
        name: number
        for number, name in enumerate(
            (
                "NotSpecified", "OpenError", "CloseError", "DeviceError", "DeadlockDetected", "InvalidArgument",
                "InvalidData", "InvalidOperation", "InvalidResult", "InvalidType", "MetadataError", "NotImplemented",
                "NotInstalled", "ObjectNotFound", "OperationStopped", "OperationTimeout", "SyntaxError", "ParserError",
                "PermissionDenied", "ResourceBusy", "ResourceExists", "ResourceUnavailable", "ReadError", "WriteError",
                "FromStdErr", "SecurityError", "ProtocolError", "ConnectionError", "AuthenticationError",
                "LimitsExceeded", "QuotaExceeded", "NotEnabled",
            )
        )
    },
)  # fmt: skip


def _target_type(engine: Any, target: object) -> str:
    name: str = "" if target is None else engine.conversions.registry.type_of(target).name
    return name.rpartition(".")[2]


def _category(engine: Any, record: ErrorRecord) -> PSObject:
    target = record.target
    return PSObject(
        {
            "Category": CATEGORY.named(record.category),
            "Activity": record.command,
            "Reason": record.exception.name,
            "TargetName": engine.conversions.text(target),
            "TargetType": _target_type(engine, target),
        },
        "System.Management.Automation.ErrorCategoryInfo",
        text=category_text(engine, record),
        complete=True,
    )


def category_text(engine: Any, record: ErrorRecord) -> str:
    """The line CategoryInfo of an error report: Category: (Target:Type) [Command], Exception."""
    target = record.target
    name = engine.conversions.text(target)
    kind = _target_type(engine, target)
    shown = name if len(name) <= 40 else f"{name[:19]}...{name[-18:]}"
    return f"{record.category}: ({shown}:{kind}) [{record.command}], {record.exception.name}"


def position_message(record: ErrorRecord) -> str:
    """InvocationInfo.PositionMessage."""
    position = record.position
    if position is None:
        return ""
    place = f"At {position.file or 'line'}:{position.line} char:{position.column}"
    length = max(
        1, min(len(position.text.split("\n")[0].rstrip("\r")), len(position.source_line) - position.column + 1)
    )
    return f"{place}\n+ {position.source_line}\n+ {' ' * (position.column - 1)}{'~' * length}"


def _invocation(record: ErrorRecord) -> PSObject | None:
    position = record.position
    if position is None:
        return None
    return PSObject(
        {
            "MyCommand": record.command or None,
            "ScriptLineNumber": position.line,
            "OffsetInLine": position.column,
            "ScriptName": position.file,
            "Line": position.source_line,
            "PositionMessage": position_message(record),
            "InvocationName": record.command,
        },
        "System.Management.Automation.InvocationInfo",
    )


def _new_record(exception: NetException, error_id: str, category: Any, target: Any) -> ErrorRecord:
    return ErrorRecord(exception, error_id, str(category), target)


def _details(record: ErrorRecord) -> PSObject | None:
    if record.details is None:
        return None
    return PSObject({"Message": record.details}, "System.Management.Automation.ErrorDetails", text=record.details)


RECORD = DotNetType(
    "System.Management.Automation.ErrorRecord",
    base=OBJECT,
    python=ErrorRecord,
    new=method(_new_record, "System.Exception", "string", CATEGORY.name, "object"),
    text=lambda record: record.message,
    members={
        "Exception": Property(lambda record: record.exception),
        "FullyQualifiedErrorId": Property(lambda record: record.error_id),
        "CategoryInfo": Property(_category, engine=True),
        "TargetObject": Property(lambda record: record.target),
        "InvocationInfo": Property(_invocation),
        "ErrorDetails": Property(_details),
        "ScriptStackTrace": Property(lambda record: "\n".join(record.stack)),
    },
)


BLOCK = DotNetType(
    "System.Management.Automation.ScriptBlock",
    base=OBJECT,
    python=ScriptBlock,
    statics={"Create": method(lambda engine, text: engine.script_block(text), "string", engine=True)},
    members={"ToString": method(lambda engine, block: engine.conversions.text(block), engine=True)},
)
GC = DotNetType("System.GC", statics={"Collect": method(lambda: None)})

TYPES = [
    TARGET, ENVIRONMENT, GUID, VERSION, URI, TYPE, THREAD, CATEGORY, RECORD, BLOCK, GC,
]  # fmt: skip

"""What is on a Windows host, for `host.get_fact` over `@windows/NAME`.

Where pyinfra has a fact of the same name, arguments and results are alike; what Windows has none of (mode, group)
is left out. Each is one short PowerShell script. A path that cannot be looked at fails the host, it is never
reported as missing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypedDict, TypeVar

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from corral.errors import CorralError
from corral.windows.scripting import PowerShell, script

T = TypeVar("T")

Kind = Literal["String", "ExpandString", "DWord", "QWord", "MultiString", "Binary"]
Stored = str | int | bytes | list[str]


class FileDict(TypedDict):
    """size: bytes. mtime: UTC, without time zone, as pyinfra has it."""

    size: int
    mtime: datetime
    read_only: bool


class DirectoryDict(TypedDict):
    mtime: datetime


@dataclass(frozen=True)
class Value:
    """A value of the registry as it is stored, with %variables% unexpanded.

    value: str for String and ExpandString, int (unsigned) for DWord and QWord, list for MultiString, else bytes.
    """

    kind: str
    value: Stored


@dataclass(frozen=True)
class OperatingSystem:
    """build: 22631 for Windows 11 23H2. revision: the number behind it (UBR). version: "23H2", "" before 20H2
    (learn.microsoft.com, "Windows 10 release information").
    edition: "Professional", "ServerStandard". server: Windows Server. architecture: "AMD64", "ARM64".
    language: of its interface, "zh-CN". elevated: the ssh user has an administrator's rights.
    powershell: "5.1.22621.4391".
    """

    build: int
    revision: int
    version: str
    edition: str
    server: bool
    architecture: str
    language: str
    elevated: bool
    powershell: str


class ServiceDict(TypedDict):
    """status: "Running", "Stopped", "StartPending", ...; start_type: "Automatic", "Manual", "Disabled", ..."""

    name: str
    display_name: str
    status: str
    start_type: str


class _Fact(FactBase[T], Generic[T]):
    """A fact whose script emits one JSON document."""

    abstract = True

    def process(self, output: list[str]) -> T:
        try:
            return self.read(json.loads([line for line in output if line.strip()][-1]))
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            # Not "from error": pyinfra would show that in place of this.
            raise FactProcessError(f"the host's answer cannot be read ({error})") from None

    def read(self, found: Any) -> T:
        """From what the script emitted. It is only called with what came whole."""
        return found  # type: ignore[no-any-return]


class File(_Fact[FileDict | Literal[False] | None]):
    """A file's size and time; None: nothing there; False: there, but not a file."""

    def command(self, path: str) -> PowerShell:
        return script("file.ps1", Path=path)

    def read(self, found: Any) -> FileDict | Literal[False] | None:
        if found["type"] != "file":
            return None if found["type"] == "none" else False
        return {"size": found["size"], "mtime": _time(found["mtime"]), "read_only": found["read_only"]}


class Directory(_Fact[DirectoryDict | Literal[False] | None]):
    """A directory's time; None: nothing there; False: there, but not a directory."""

    def command(self, path: str) -> PowerShell:
        return script("file.ps1", Path=path)

    def read(self, found: Any) -> DirectoryDict | Literal[False] | None:
        if found["type"] != "directory":
            return None if found["type"] == "none" else False
        return {"mtime": _time(found["mtime"])}


class Sha256File(_Fact[str | None]):
    """A file's SHA-256 in lower hexadecimal; None: no such file."""

    def command(self, path: str) -> PowerShell:
        return script("sha256.ps1", Path=path)

    def read(self, found: Any) -> str | None:
        return found and str(found).lower()


class Environment(_Fact[Mapping[str, Value]]):
    """The machine's environment variables as they are stored, by name. Windows ignores the case of the names."""

    default = dict

    def command(self) -> PowerShell:
        return script("environment.ps1")

    def read(self, found: Any) -> Mapping[str, Value]:
        return {name: _value(each) for name, each in found.items()}


class Registry(_Fact[Value | None]):
    r"""A value of the registry; None: no such value. path: like HKLM:\SOFTWARE\Name, as 64-bit programs see it."""

    def command(self, path: str, value: str) -> PowerShell:
        return script("registry.ps1", Path=path, Name=value)

    def read(self, found: Any) -> Value | None:
        return found and _value(found)


class Os(_Fact[OperatingSystem]):
    """Which Windows it is, and with which rights the ssh user is there."""

    def command(self) -> PowerShell:
        return script("os.ps1")

    def read(self, found: Any) -> OperatingSystem:
        return OperatingSystem(
            build=int(found["CurrentBuildNumber"]),
            revision=found["UBR"] or 0,
            version=found["DisplayVersion"] or "",
            edition=found["EditionID"],
            server=found["InstallationType"] != "Client",
            architecture=found["architecture"],
            language=found["language"],
            elevated=found["elevated"],
            powershell=found["powershell"],
        )


class BootTime(_Fact[datetime]):
    """When Windows was started, in UTC, without time zone."""

    def command(self) -> PowerShell:
        return script("boot_time.ps1")

    def read(self, found: Any) -> datetime:
        return _time(found)


class Service(_Fact[ServiceDict | None]):
    """A service by its name (not its display name); None: no such service. Words: learn.microsoft.com,
    "ServiceControllerStatus" and "ServiceStartMode"."""

    def command(self, service: str) -> PowerShell:
        return script("service.ps1", Name=service)


class ScheduledTask(_Fact[str | None]):
    r"""The XML of a scheduled task; None: no such task. task: its folder and name, like \corral\ollama."""

    def command(self, task: str) -> PowerShell:
        folder, _, name = ("\\" + task.strip("\\")).rpartition("\\")
        return script("scheduled_task.ps1", Folder=f"{folder}\\", Name=name)


class Which(_Fact[str | None]):
    """The path of the program that a command's name stands for; None: it is not on the PATH."""

    def command(self, command: str) -> PowerShell:
        return script("which.ps1", Command=command)


def _time(filetime: int) -> datetime:
    """From Windows' own count: units of 100 ns since 1601, UTC (learn.microsoft.com, "File Times")."""
    return (datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=filetime // 10)).replace(tzinfo=None)


def _value(found: Any) -> Value:
    kind, stored = found["Kind"], found["Value"]
    if kind in ("DWord", "QWord"):
        stored %= 2**32 if kind == "DWord" else 2**64  # .NET's are signed
    elif kind == "Binary":
        stored = bytes(stored)
    return Value(kind, stored)


def as_text(kind: Kind, value: Stored) -> list[str]:
    """A value as set_registry.ps1 takes it. Raises CorralError where it does not fit its kind."""
    match kind, value:
        case "String" | "ExpandString", str():
            return [value]
        case "DWord" | "QWord", int() if not isinstance(value, bool):
            bits = 32 if kind == "DWord" else 64
            if 0 <= value < 2**bits:
                return [str(value - 2**bits if value >= 2 ** (bits - 1) else value)]
        case "Binary", bytes():
            return [base64.b64encode(value).decode("ascii")]
        case "MultiString", list() if all(isinstance(line, str) for line in value):
            return value
    raise CorralError(
        f"{value!r} is not a value of the kind {kind}",
        "String and ExpandString take str, DWord and QWord int, MultiString a list of str, Binary bytes",
    )

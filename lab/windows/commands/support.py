"""What all cmdlets, programs and types here share: the shell they belong to, and how the machine's noes are said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from lab.windows.machine import Machine, Session
from lab.windows.machine import errors as win32
from lab.windows.machine.errors import ComError, NotModelled, Win32Error
from lab.windows.powershell import (
    Call,
    Command,
    ErrorRecord,
    NetException,
    Parameter,
    PowerShellError,
    Refusal,
    command,
)

Run = Callable[[Call], Iterable[object] | None]

LITERAL_PATH = Parameter("LiteralPath", "string[]", by_name=True, aliases=("PSPath",))


@dataclass
class Shell:
    """One powershell.exe: who runs it, and what it has beside the language.

    `directory` is the process's own current directory, which Set-Location does not move: .NET's relative paths and the
    programs that .NET starts begin there.
    """

    session: Session
    pid: int
    directory: str
    environment: MutableMapping[str, str]
    stack: list[str] = field(default_factory=list)

    @property
    def machine(self) -> Machine:
        return self.session.machine


def cmdlet(
    name: str, *parameters: Parameter, should_process: bool = False, error_class: str = "", module: str = ""
) -> Callable[[Run], Command]:
    """As the engine's `command`; what the machine refuses or does not know becomes an error of the cmdlet."""

    def made(run: Run) -> Command:
        def guarded(call: Call) -> Iterator[object]:
            try:
                yield from run(call) or ()
            except NotModelled as error:
                raise Refusal("NotModelled", f"{name}: {error}") from error
            except Win32Error as error:
                raise terminating(error) from error

        return command(name, *parameters, should_process=should_process, error_class=error_class, module=module)(
            guarded
        )

    return made


def net(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a .NET type; what the machine says becomes the exception that .NET has for it."""

    def guarded(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except NotModelled as error:
            raise Refusal("NotModelled", str(error)) from error
        except Win32Error as error:
            raise exception(error) from error

    return guarded


def exception(error: Win32Error, *, directory: bool = False) -> NetException:
    """What .NET's System.IO throws. Source: .NET Framework's reference source, __Error.WinIOError.

    `directory`: thrown by System.IO.Directory, where access denied is an IOException.
    """
    name = error.subject
    kind, message = {
        win32.FILE_NOT_FOUND: ("System.IO.FileNotFoundException", f"Could not find file '{name}'."),
        win32.PATH_NOT_FOUND: ("System.IO.DirectoryNotFoundException", f"Could not find a part of the path '{name}'."),
        win32.ACCESS_DENIED: (
            "System.IO.IOException" if directory else "System.UnauthorizedAccessException",
            f"Access to the path '{name}' is denied.",
        ),
        win32.SHARING_VIOLATION: (
            "System.IO.IOException",
            f"The process cannot access the file '{name}' because it is being used by another process.",
        ),
        win32.FILE_EXISTS: ("System.IO.IOException", f"The file '{name}' already exists."),
        win32.ALREADY_EXISTS: (
            "System.IO.IOException", "Cannot create a file when that file already exists.\r\n",
        ),
        win32.FILENAME_EXCED_RANGE: (
            "System.IO.PathTooLongException",
            "The specified path, file name, or both are too long. The fully qualified file name must be less than 260 "
            "characters, and the directory name must be less than 248 characters.",
        ),
        win32.INVALID_NAME: ("System.ArgumentException", "Illegal characters in path."),
    }.get(error.code, ("System.IO.IOException", f"{error.text}\r\n"))  # fmt: skip
    return NetException(kind, message, properties={"HResult": error.hresult})


CATEGORIES = {
    win32.FILE_NOT_FOUND: "ObjectNotFound",
    win32.PATH_NOT_FOUND: "ObjectNotFound",
    win32.ACCESS_DENIED: "PermissionDenied",
    win32.FILE_EXISTS: "WriteError",
    win32.ALREADY_EXISTS: "ResourceExists",
}


def terminating(error: Win32Error) -> PowerShellError:
    """An error of the machine that ends the statement."""
    thrown = exception(error)
    return PowerShellError(
        thrown.message, thrown.type_name, CATEGORIES.get(error.code, "WriteError"), error.subject, exception=thrown
    )


def not_interactive() -> PowerShellError:
    """What a cmdlet says that would ask before it goes on."""
    return PowerShellError(
        "Windows PowerShell is in NonInteractive mode. Read and Prompt functionality is not available.",
        "InvalidOperation", "InvalidOperation", exception="System.Management.Automation.PSInvalidOperationException",
    )  # fmt: skip


def report(call: Call, error: Win32Error, error_id: str, category: str, target: object) -> None:
    """A non-terminating error with .NET's exception in it."""
    thrown = exception(error)
    call.write_error(thrown.message, error_id, category, target, exception=thrown)


def report_details(call: Call, text: str, error_id: str, category: str, target: object, thrown: NetException) -> None:
    """A non-terminating error that is shown as `text`, while its exception keeps its own message."""
    call.write_error(ErrorRecord(thrown, error_id, category, target, details=text))


def cim_error(error: ComError | Win32Error, target: object = None) -> PowerShellError:
    """What a cmdlet of a CIM module says when its provider failed with an HRESULT."""
    hresult = error.hresult % 2**32
    text = error.text
    known = {0x80070005: "PermissionDenied", 0x80070002: "ObjectNotFound"}.get(hresult, "NotSpecified")
    thrown = NetException(
        "Microsoft.Management.Infrastructure.CimException",
        text,
        properties={"HResult": -2146233088, "ErrorCode": hresult},
    )
    error_id = f"HRESULT 0x{hresult:08x}"
    if hresult & 0xFFFF0000 == 0x80070000 and hresult not in (0x80070005, 0x80070002):
        error_id = f"Windows System Error {hresult & 0xFFFF}"
    return PowerShellError(text, error_id, known, target, exception=thrown)


@lru_cache
def wildcard(pattern: str) -> re.Pattern[str]:
    """A wildcard of PowerShell (about_Wildcards) as a regular expression."""
    parts = ["^"]
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "`" and position + 1 < len(pattern):
            position += 1
            parts.append(re.escape(pattern[position]))
        elif character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[" and "]" in pattern[position:]:
            end = pattern.index("]", position)
            parts.append("[" + pattern[position + 1 : end].replace("\\", "\\\\") + "]")
            position = end
        else:
            parts.append(re.escape(character))
        position += 1
    return re.compile("".join(parts) + "$", re.I | re.S)


def has_wildcard(text: str) -> bool:
    """Whether a text would be a wildcard."""
    return bool(re.search(r"(?<!`)[*?\[]", text))


def matches(name: str, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> bool:
    """-Include and -Exclude."""
    chosen = list(include)
    return (not chosen or any(wildcard(pattern).match(name) for pattern in chosen)) and not any(
        wildcard(pattern).match(name) for pattern in exclude
    )

"""Paths as cmdlets take them: on a drive of files, of the registry or of the environment, with or without wildcards.

Source: about_Providers, about_Path_Syntax, about_Wildcards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.paths import FullPath
from lab.windows.powershell import Call, PowerShellError

from .support import Shell, has_wildcard, wildcard

PROVIDER = re.compile(r"^(?:Microsoft\.PowerShell\.Core\\)?(Registry|FileSystem|Environment)::(.*)$", re.I | re.S)
REGISTRY_DRIVES = {"hklm": "HKEY_LOCAL_MACHINE", "hkcu": "HKEY_CURRENT_USER"}
DRIVE = re.compile(r"^([A-Za-z][A-Za-z0-9]*):(.*)$", re.S)


@dataclass(frozen=True)
class FileTarget:
    """A path of the file system, full."""

    path: FullPath
    text: str

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class KeyTarget:
    """A path of the registry. `path` begins with the hive; `drive` is HKLM or HKCU, "" for Registry::."""

    path: str
    drive: str

    def __str__(self) -> str:
        return self.path

    @property
    def shown(self) -> str:
        """As error messages have it."""
        hive, _, rest = self.path.partition("\\")
        return f"{self.drive}:\\{rest}" if self.drive else f"{hive}\\{rest}".rstrip("\\")

    @property
    def name(self) -> str:
        return self.path.rpartition("\\")[2]

    @property
    def parent(self) -> KeyTarget:
        return KeyTarget(self.path.rpartition("\\")[0], self.drive)

    def child(self, name: str) -> KeyTarget:
        return KeyTarget(f"{self.path}\\{name}", self.drive)


@dataclass(frozen=True)
class VariableTarget:
    """A variable of the process's environment; the drive itself has no name."""

    name: str

    def __str__(self) -> str:
        return f"Env:{self.name}"


Target = FileTarget | KeyTarget | VariableTarget


def target(shell: Shell, call: Call, text: str) -> Target:
    """What a path names, without regard to wildcards. Raises PowerShellError for a drive that is not there."""
    match = PROVIDER.match(text)
    if match:
        kind, rest = match[1].lower(), match[2]
        if kind == "registry":
            return KeyTarget(rest.strip("\\"), "")
        if kind == "environment":
            return VariableTarget(rest.strip("\\"))
        text = rest
    drive = DRIVE.match(text)
    if drive and drive[1].lower() in REGISTRY_DRIVES:
        rest = drive[2].replace("/", "\\").strip("\\")
        root = REGISTRY_DRIVES[drive[1].lower()]
        return KeyTarget(f"{root}\\{rest}" if rest else root, drive[1].upper())
    if drive and drive[1].lower() == "env":
        return VariableTarget(drive[2].strip("\\/"))
    if drive and drive[1].lower() in ("function", "variable", "alias", "cert", "wsman"):
        raise NotModelled(f"the drive {drive[1]}:")
    if drive and (len(drive[1]) > 1 or shell.machine.volumes.find(drive[1]) is None):
        raise PowerShellError(
            f"Cannot find drive. A drive with the name '{drive[1]}' does not exist.",
            "DriveNotFound", "ObjectNotFound", drive[1],
            exception="System.Management.Automation.DriveNotFoundException",
        )  # fmt: skip
    if not text:
        raise empty_path()
    if text == "~" or text[:2] in ("~\\", "~/"):
        text = shell.environment["USERPROFILE"] + text[1:]
    files = shell.session.files
    with files.at(call.engine.location):
        return FileTarget(files.full(text), text)


def exists(shell: Shell, found: Target) -> bool:
    if isinstance(found, FileTarget):
        return shell.session.files.exists(found.path)
    if isinstance(found, KeyTarget):
        return shell.session.registry.exists(found.path)
    return not found.name or found.name in shell.environment


def expanded(shell: Shell, call: Call, text: str) -> list[Target]:
    """The things that exist and that a path with wildcards names; what a path without wildcards names, there or not."""
    if not has_wildcard(text):
        return [target(shell, call, text.replace("`", ""))]
    # Every part up to the first with a wildcard is an exact path.
    parts = re.split(r"[\\/]", text)
    first = next(index for index, part in enumerate(parts) if has_wildcard(part))
    head = "\\".join(parts[:first])
    if head.endswith(":") or (first and not head):
        head += "\\"
    start = target(shell, call, head or ".")
    found: list[Target] = [start] if exists(shell, start) else []
    for part in parts[first:]:
        if part:
            pattern = wildcard(part)
            exact = None if has_wildcard(part) else part.lower()
            found = [
                child
                for above in found
                for child in children(shell, above)
                if (name_of(child).lower() == exact if exact is not None else pattern.match(name_of(child)))
            ]
    return found


def children(shell: Shell, found: Target) -> Iterator[Target]:
    """What is directly inside of a target."""
    if isinstance(found, FileTarget):
        entry = shell.session.files.find(found.path)
        if entry and entry.is_directory:
            for child in shell.session.files.children(found.path):
                yield FileTarget(child.path, str(child.path))
    elif isinstance(found, KeyTarget):
        for name in shell.session.registry.subkeys(found.path):
            yield found.child(name)
    elif not found.name:
        for name in shell.environment:
            yield VariableTarget(name)


def name_of(found: Target) -> str:
    """The last name of a path."""
    if isinstance(found, FileTarget):
        return found.path.name
    return found.name


def not_found(found: Target) -> PowerShellError:
    """What cmdlets say of a path where nothing is."""
    shown = (
        found.shown if isinstance(found, KeyTarget) else found.name if isinstance(found, VariableTarget) else str(found)
    )
    return no_such_path(shown)


def no_such_path(shown: str) -> PowerShellError:
    """What cmdlets say of a text that names nothing, or cannot be a path."""
    return PowerShellError(
        f"Cannot find path '{shown}' because it does not exist.",
        "PathNotFound", "ObjectNotFound", shown, exception="System.Management.Automation.ItemNotFoundException",
    )  # fmt: skip


def empty_path() -> PowerShellError:
    """What binding says of a path without a character."""
    return PowerShellError(
        "Cannot bind argument to parameter 'Path' because it is an empty string.",
        "ParameterArgumentValidationErrorEmptyStringNotAllowed", "InvalidData",
        exception="System.Management.Automation.ParameterBindingException",
    )  # fmt: skip


def key_denied(found: KeyTarget) -> PowerShellError:
    """What cmdlets say of a registry key that must not be changed."""
    return PowerShellError(
        "Requested registry access is not allowed.", "System.Security.SecurityException", "PermissionDenied",
        found.path, exception="System.Security.SecurityException",
    )  # fmt: skip


def chosen(shell: Shell, call: Call, record: dict[str, object]) -> Iterator[Target]:
    """What -Path or -LiteralPath name, each target checked to be there; what is missing is reported and left out."""
    for text, literal in given(record):
        try:
            found = [target(shell, call, text)] if literal else expanded(shell, call, text)
        except PowerShellError as error:
            call.write_error(error)
            continue
        except Win32Error:
            call.write_error(no_such_path(text))
            continue
        for one in found:
            if exists(shell, one):
                yield one
            else:
                call.write_error(not_found(one))


def given(record: dict[str, object], default: str | None = None) -> Iterator[tuple[str, bool]]:
    """The texts of -Path and -LiteralPath, and whether each is literal."""
    literal, paths = record.get("LiteralPath"), record.get("Path")
    if isinstance(literal, list):
        yield from ((str(text), True) for text in literal)
    elif isinstance(literal, str):
        yield literal, True
    if isinstance(paths, list):
        yield from ((str(text), False) for text in paths)
    elif isinstance(paths, str):
        yield paths, False
    elif literal is None and default is not None:
        yield default, False

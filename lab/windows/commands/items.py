"""Cmdlets of items: files, directories, registry keys and environment variables.

Behaviour and messages: Microsoft.PowerShell.Management's documentation, and the FileSystem and Registry providers'
source in PowerShell's repository where that is 5.1's.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.windows.machine import errors as win32
from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.files import Entry
from lab.windows.machine.paths import FORBIDDEN
from lab.windows.powershell import Call, Command, Parameter, PowerShellError, PSObject

from . import enums
from .fileitems import item_of
from .registrykeys import RegistryKey
from .support import (
    LITERAL_PATH,
    Shell,
    cmdlet,
    exception,
    has_wildcard,
    matches,
    not_interactive,
    report,
    report_details,
    wildcard,
)
from .targets import (
    FileTarget,
    KeyTarget,
    Target,
    VariableTarget,
    chosen,
    empty_path,
    exists,
    expanded,
    given,
    key_denied,
    name_of,
    not_found,
    target,
)

PATH = Parameter("Path", "string[]", position=0, from_pipeline=True, by_name=True)
FORCE = Parameter("Force", "switch")
FILTERS = (Parameter("Filter"), Parameter("Include", "string[]"), Parameter("Exclude", "string[]"))


def commands(shell: Shell) -> list[Command]:
    files = shell.session.files
    registry = shell.session.registry

    def wrapped(found: Target, shown: str | None = None) -> object:
        """What a cmdlet puts out for something that exists."""
        if isinstance(found, FileTarget):
            return item_of(shell, files.entry(found.path), shown)
        if isinstance(found, KeyTarget):
            return RegistryKey(shell, registry.name(found.path), True)
        return variable(found.name)

    def variable(name: str) -> PSObject:
        spelled = next(known for known in shell.environment if known.lower() == name.lower())
        value = shell.environment[spelled]
        return PSObject(
            {"Key": spelled, "Value": value, "Name": spelled},
            ("System.Collections.DictionaryEntry", "System.ValueType"),
            text="System.Collections.DictionaryEntry",
        )

    @cmdlet(
        "Test-Path", PATH, LITERAL_PATH, Parameter("PathType", enums.TEST_PATH_TYPE.name, aliases=("Type",)),
        Parameter("IsValid", "switch"),
    )  # fmt: skip
    def test_path(call: Call) -> Iterator[object]:
        wanted = str(call.get("PathType", "Any"))
        for record in call.records():
            for text, literal in given(record):
                if not text.strip():
                    raise empty_path()
                if call.switch("IsValid"):
                    yield not FORBIDDEN.search(text)
                    continue
                try:
                    found = [target(shell, call, text)] if literal else expanded(shell, call, text)
                except PowerShellError:
                    found = []
                except Win32Error as error:
                    if error.code == win32.FILENAME_EXCED_RANGE and literal:
                        raise
                    found = []
                yield any(exists(shell, one) and _is(one, wanted) for one in found)

    def _is(found: Target, wanted: str) -> bool:
        if wanted == "Any":
            return True
        container = not isinstance(found, VariableTarget)
        if isinstance(found, FileTarget):
            container = files.is_directory(found.path)
        return container == (wanted == "Container")

    @cmdlet("Get-Item", PATH, LITERAL_PATH, FORCE, *FILTERS)
    def get_item(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                if matches(name_of(found), call.get("Include", ()), call.get("Exclude", ())):
                    if isinstance(found, VariableTarget) and not found.name:
                        raise NotModelled("the drive Env: itself")
                    yield wrapped(found)

    @cmdlet(
        "Get-ChildItem",
        PATH, LITERAL_PATH, Parameter("Filter", position=1), Parameter("Include", "string[]"),
        Parameter("Exclude", "string[]"), Parameter("Recurse", "switch", aliases=("s",)), Parameter("Depth", "uint32"),
        FORCE, Parameter("Name", "switch"), Parameter("Directory", "switch", aliases=("ad", "d")),
        Parameter("File", "switch", aliases=("af",)),
    )  # fmt: skip
    def get_child_item(call: Call) -> Iterator[object]:
        for record in call.records():
            for text, literal in given(record, "."):
                yield from _listed(call, text, literal)

    def _listed(call: Call, text: str, literal: bool) -> Iterator[object]:
        try:
            above = [target(shell, call, text)] if literal else expanded(shell, call, text)
        except PowerShellError as error:
            call.write_error(error)
            return
        if not literal and has_wildcard(text):
            # Source: SessionStateInternal.GetChildItems: what a wildcard finds is put out itself, not what is in it.
            if call.switch("Recurse"):
                raise NotModelled(f"Get-ChildItem -Recurse with a wildcard: {text!r}")
            for found in above:
                if not isinstance(found, FileTarget) or _wanted(call, files.entry(found.path)):
                    yield name_of(found) if call.switch("Name") else wrapped(found)
            return
        for found in above:
            if not exists(shell, found):
                call.write_error(not_found(found))
            elif isinstance(found, FileTarget):
                entry = files.entry(found.path)
                if entry.is_directory:
                    depth = int(call.get("Depth", 2**31)) if call.switch("Recurse") or call.has("Depth") else 0
                    yield from _inside(call, entry, depth, "")
                elif _wanted(call, entry):
                    yield entry.name if call.switch("Name") else item_of(shell, entry)
            elif isinstance(found, KeyTarget):
                yield from _keys(call, found, call.switch("Recurse"))
            elif found.name:
                yield variable(found.name)
            else:
                yield from (variable(name) for name in sorted(shell.environment, key=str.lower))

    def _keys(call: Call, above: KeyTarget, recurse: bool) -> Iterator[object]:
        for name in registry.subkeys(above.path):
            child = above.child(name)
            if matches(name, call.get("Include", ()), call.get("Exclude", ())):
                yield name if call.switch("Name") else wrapped(child)
            if recurse:
                yield from _keys(call, child, True)

    def _inside(call: Call, above: Entry, depth: int, prefix: str) -> Iterator[object]:
        try:
            entries = files.children(above.path)
        except Win32Error as error:
            report(call, error, "DirUnauthorizedAccessError", "PermissionDenied", str(above.path))
            return
        for entry in entries:
            if _wanted(call, entry):
                yield prefix + entry.name if call.switch("Name") else item_of(shell, entry, entry.name)
        if depth > 0:
            for entry in entries:
                if entry.is_directory and not entry.link:
                    yield from _inside(call, entry, depth - 1, f"{prefix}{entry.name}\\")

    def _wanted(call: Call, entry: Entry) -> bool:
        if (call.switch("Directory") and not entry.is_directory) or (call.switch("File") and entry.is_directory):
            return False
        if call.has("Filter") and not wildcard(call.get("Filter")).match(entry.name):
            return False
        include = call.get("Include", ())
        if include and not call.switch("Recurse") and not has_wildcard("".join(call.get("Path", ()))):
            raise NotModelled("-Include without -Recurse or a wildcard, which lists nothing")
        return matches(entry.name, include, call.get("Exclude", ()))

    @cmdlet(
        "New-Item",
        Parameter("Path", "string[]", position=0, by_name=True), Parameter("Name"),
        Parameter("ItemType", aliases=("Type",)), Parameter("Value", "object", from_pipeline=True, null=True), FORCE,
        should_process=True,
    )  # fmt: skip
    def new_item(call: Call) -> Iterator[object]:
        for record in call.records():
            for text in record.get("Path") or ["."]:
                path = f"{text.rstrip(chr(92))}\\{call.get('Name')}" if call.has("Name") else text
                found = target(shell, call, path)
                if call.what_if:
                    continue
                try:
                    yield from _made(call, found, record)
                except Win32Error as error:
                    denied = error.code == win32.ACCESS_DENIED
                    kind = "Unauthorized" if denied else "IO"
                    if isinstance(found, KeyTarget):
                        call.write_error(key_denied(found))
                    elif denied:
                        report(call, error, "NewItemUnauthorizedAccessError", "PermissionDenied", str(found))
                    else:
                        report(call, error, f"NewItem{kind}Error", "WriteError", str(found))

    def _made(call: Call, found: Target, record: dict[str, object]) -> Iterator[object]:
        force = call.switch("Force")
        kind = str(call.get("ItemType", "")).lower()
        if isinstance(found, KeyTarget):
            if registry.exists(found.path):
                if not force:
                    call.write_error(
                        "A key in this path already exists.", "System.IO.IOException", "ResourceExists", found,
                        "System.IO.IOException",
                    )  # fmt: skip
                    return
                # -Force makes the key anew, without what it held.
                registry.delete(found.path)
            elif not force and not registry.exists(found.parent.path):
                call.write_error(
                    "The registry key at the specified path does not exist.", "System.ArgumentException",
                    "InvalidArgument", found.path, "System.ArgumentException",
                )  # fmt: skip
                return
            registry.create(found.path)
            if record.get("Value") is not None:
                raise NotModelled("New-Item -Value of a registry key")
            yield wrapped(found)
        elif isinstance(found, VariableTarget):
            shell.environment[found.name] = str(record.get("Value") or "")
            yield variable(found.name)
        elif kind in ("directory", "container"):
            if files.exists(found.path) and not (force and files.is_directory(found.path)):
                call.write_error(
                    f"An item with the specified name {found.path} already exists.", "DirectoryExist", "ResourceExists",
                    str(found.path), "System.IO.IOException",
                )  # fmt: skip
                return
            files.make_directory(found.path)
            yield wrapped(found)
        elif kind in ("file", ""):
            if not kind:
                raise NotModelled("New-Item without -ItemType, which asks for it")
            if force:
                files.make_directory(found.path.parent)
            elif files.exists(found.path):
                raise Win32Error(win32.FILE_EXISTS, str(found.path))
            value = record.get("Value")
            files.write(found.path, b"" if value is None else str(value).encode("utf-8"))
            yield wrapped(found)
        else:
            raise NotModelled(f"New-Item -ItemType {kind}")

    @cmdlet(
        "Set-Item",
        PATH,
        LITERAL_PATH,
        Parameter("Value", "object", position=1, null=True, empty=True),
        FORCE,
        should_process=True,
    )
    def set_item(call: Call) -> Iterator[object]:
        for record in call.records():
            for text, literal in given(record):
                found = target(shell, call, text)
                if not isinstance(found, VariableTarget) or (not literal and has_wildcard(text)):
                    raise NotModelled(f"Set-Item {text!r}")
                value = call.get("Value")
                if value is None or value == "":
                    shell.environment.pop(found.name, None)
                else:
                    shell.environment[found.name] = str(value)
        return iter(())

    @cmdlet("Remove-Item", PATH, LITERAL_PATH, *FILTERS, Parameter("Recurse", "switch"), FORCE, should_process=True)
    def remove_item(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in list(chosen(shell, call, record)):
                if call.has("Filter"):
                    raise NotModelled("Remove-Item -Filter")
                if not matches(name_of(found), call.get("Include", ()), call.get("Exclude", ())) or call.what_if:
                    continue
                if isinstance(found, FileTarget):
                    _remove_file(call, files.entry(found.path))
                elif isinstance(found, KeyTarget):
                    if registry.subkeys(found.path) and not call.switch("Recurse"):
                        raise not_interactive()
                    try:
                        registry.delete(found.path)
                    except Win32Error:
                        call.write_error(key_denied(found))
                else:
                    shell.environment.pop(found.name, None)
        return iter(())

    def _remove_file(call: Call, entry: Entry) -> None:
        if entry.is_directory:
            inside = files.children(entry.path) if not entry.link else []
            if inside and not call.switch("Recurse"):
                raise not_interactive()
            for child in inside:
                _remove_file(call, child)
        try:
            if entry.is_directory:
                files.delete_directory(entry.path, False)
            else:
                if entry.read_only and call.switch("Force"):
                    files.set_read_only(entry.path, False)
                files.delete_file(entry.path)
        except Win32Error as error:
            thrown = exception(error)
            text = thrown.message
            if entry.read_only and not call.switch("Force"):
                text = "You do not have sufficient access rights to perform this operation."
            denied = error.code == win32.ACCESS_DENIED
            report_details(
                call, f"Cannot remove item {entry.path}: {text.rstrip()}",
                "RemoveFileSystemItemUnAuthorizedAccess" if denied else "RemoveFileSystemItemIOError",
                "PermissionDenied" if denied else "WriteError", item_of(shell, entry), thrown,
            )  # fmt: skip

    destination = Parameter("Destination", position=1, by_name=True)

    def _place(call: Call, entry: Entry) -> FileTarget:
        """Where something is moved or copied to: into a directory that is there already, else under a new name."""
        found = target(shell, call, call.get("Destination", "."))
        if not isinstance(found, FileTarget):
            raise NotModelled("moving files out of the file system")
        if files.is_directory(found.path):
            return FileTarget(found.path.child(entry.name), str(found.path))
        return found

    @cmdlet("Move-Item", PATH, destination, LITERAL_PATH, FORCE, Parameter("PassThru", "switch"), should_process=True)
    def move_item(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in list(chosen(shell, call, record)):
                if not isinstance(found, FileTarget):
                    raise NotModelled("Move-Item outside of the file system")
                entry = files.entry(found.path)
                place = _place(call, entry)
                if call.what_if:
                    continue
                kind = "Directory" if entry.is_directory else "FileInfo"
                try:
                    if entry.is_directory and place.path.drive != entry.path.drive:
                        call.write_error(
                            "Source and destination path must have identical roots. Move will not work across volumes.",
                            "MoveDirectoryItemIOError", "WriteError", item_of(shell, entry), "System.IO.IOException",
                        )  # fmt: skip
                        continue
                    other = place.path.key != entry.path.key
                    if call.switch("Force") and other and not entry.is_directory and files.is_file(place.path):
                        # Source: FileSystemProvider.MoveFileInfoItem: it deletes the target, then moves.
                        if files.entry(place.path).read_only:
                            files.set_read_only(place.path, False)
                        files.delete_file(place.path)
                    files.move(entry.path, place.path)
                except Win32Error as error:
                    thrown = exception(error, directory=entry.is_directory)
                    denied = thrown.type_name.endswith("UnauthorizedAccessException")
                    call.write_error(
                        thrown.message, f"Move{kind}Item{'UnauthorizedAccess' if denied else 'IO'}Error",
                        "PermissionDenied" if denied else "WriteError", item_of(shell, entry), thrown,
                    )  # fmt: skip
                    continue
                if call.switch("PassThru"):
                    yield wrapped(place)

    @cmdlet(
        "Rename-Item", Parameter("Path", position=0, from_pipeline=True, by_name=True), Parameter("LiteralPath"),
        Parameter("NewName", position=1, mandatory=True, by_name=True), FORCE, Parameter("PassThru", "switch"),
        should_process=True,
    )  # fmt: skip
    def rename_item(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in list(chosen(shell, call, record)):
                if not isinstance(found, FileTarget):
                    raise NotModelled("Rename-Item outside of the file system")
                entry = files.entry(found.path)
                new = str(record["NewName"])
                if "\\" in new or "/" in new:
                    raise NotModelled("Rename-Item with a path as -NewName")
                place = entry.path.parent.child(new)
                if call.what_if:
                    continue
                try:
                    files.move(entry.path, place)
                except Win32Error as error:
                    report(call, error, "RenameItemIOError", "WriteError", str(entry.path))
                    continue
                if call.switch("PassThru"):
                    yield item_of(shell, files.entry(place))

    @cmdlet(
        "Copy-Item", PATH, destination, LITERAL_PATH, FORCE, Parameter("Recurse", "switch"),
        Parameter("PassThru", "switch"), should_process=True,
    )  # fmt: skip
    def copy_item(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in list(chosen(shell, call, record)):
                if not isinstance(found, FileTarget):
                    raise NotModelled("Copy-Item outside of the file system")
                entry = files.entry(found.path)
                place = _place(call, entry)
                if call.what_if:
                    continue
                try:
                    _copy(entry, place, call.switch("Recurse"), call.switch("Force"))
                except Win32Error as error:
                    kind = "Directory" if entry.is_directory else "FileInfo"
                    denied = error.code == win32.ACCESS_DENIED
                    report(
                        call, error, f"Copy{kind}Item{'UnauthorizedAccess' if denied else 'IO'}Error",
                        "PermissionDenied" if denied else "WriteError", item_of(shell, entry),
                    )  # fmt: skip
                    continue
                if call.switch("PassThru"):
                    yield wrapped(place)

    def _copy(entry: Entry, place: FileTarget, recurse: bool, force: bool) -> None:
        if not entry.is_directory:
            there = files.find(place.path)
            if there and there.read_only and force:
                files.set_read_only(place.path, False)
            files.copy(entry.path, place.path, overwrite=True)
            return
        files.make_directory(place.path)
        if recurse:
            for child in files.children(entry.path):
                _copy(child, FileTarget(place.path.child(child.name), ""), True, force)

    @cmdlet("Resolve-Path", PATH, LITERAL_PATH)
    def resolve_path(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                shown = found.shown if isinstance(found, KeyTarget) else str(found)
                if isinstance(found, FileTarget):
                    shown = str(files.entry(found.path).path)
                yield PSObject(
                    {"Path": shown, "ProviderPath": str(found)}, "System.Management.Automation.PathInfo", text=shown
                )

    @cmdlet("Convert-Path", PATH, LITERAL_PATH)
    def convert_path(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                yield str(files.entry(found.path).path) if isinstance(found, FileTarget) else str(found)

    return [
        test_path, get_item, get_child_item, new_item, set_item, remove_item, move_item, rename_item, copy_item,
        resolve_path, convert_path,
    ]  # fmt: skip

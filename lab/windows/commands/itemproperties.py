"""Cmdlets of items' properties: values of registry keys, and times and sizes of files."""

from __future__ import annotations

from collections.abc import Iterator

from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.registry import Kind, Value
from lab.windows.powershell import Call, Command, NetException, Parameter, PowerShellError, PSObject

from . import enums
from .fileitems import item_of
from .items import PATH
from .registrykeys import from_script, to_script
from .support import LITERAL_PATH, Shell, cmdlet, has_wildcard, wildcard
from .targets import FileTarget, KeyTarget, Target, chosen

NAMES = Parameter("Name", "string[]", position=1, aliases=("PSProperty",))
ONE_NAME = Parameter("Name", position=1, mandatory=True, by_name=True, aliases=("PSProperty",))
FORCE = Parameter("Force", "switch")


def commands(shell: Shell) -> list[Command]:
    registry = shell.session.registry

    def shown(found: KeyTarget, names: list[str] | None, call: Call) -> PSObject | None:
        """A key's values as one object, with what PowerShell adds; None where a name was reported missing."""
        made = PSObject((), "System.Management.Automation.PSCustomObject")
        values = registry.values(found.path)
        wanted = [wildcard(name) for name in names] if names else [wildcard("*")]
        taken = 0
        for value in values:
            name = value.name or "(default)"
            if any(pattern.match(name) for pattern in wanted):
                made[name] = to_script(value, shell.environment)
                taken += 1
        if names and not taken:
            missing = next(iter(names))
            if not has_wildcard(missing):
                call.write_error(_no_property(missing, found))
            return None
        path = registry.name(found.path)
        above, _, last = path.rpartition("\\")
        made["PSPath"] = f"Microsoft.PowerShell.Core\\Registry::{path}"
        made["PSParentPath"] = f"Microsoft.PowerShell.Core\\Registry::{above}"
        made["PSChildName"] = last
        if found.drive:
            made["PSDrive"] = found.drive
        made["PSProvider"] = "Microsoft.PowerShell.Core\\Registry"
        return made

    @cmdlet("Get-ItemProperty", PATH, LITERAL_PATH, NAMES)
    def get_item_property(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                if isinstance(found, KeyTarget):
                    made = shown(found, call.get("Name"), call)
                    if made is not None:
                        yield made
                elif isinstance(found, FileTarget) and not call.has("Name"):
                    yield item_of(shell, shell.session.files.entry(found.path))
                else:
                    raise NotModelled("Get-ItemProperty -Name of a file or variable")

    @cmdlet("Get-ItemPropertyValue", PATH, LITERAL_PATH, Parameter("Name", "string[]", position=1, mandatory=True))
    def get_item_property_value(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                if not isinstance(found, KeyTarget):
                    raise NotModelled("Get-ItemPropertyValue outside of the registry")
                for name in call.get("Name"):
                    if has_wildcard(name):
                        raise NotModelled("Get-ItemPropertyValue with a wildcard")
                    value = registry.value(found.path, "" if name.lower() == "(default)" else name)
                    if value is None:
                        call.write_error(_no_property(name, found))
                    else:
                        yield to_script(value, shell.environment)

    def key_of(found: Target, name: str) -> KeyTarget:
        if not isinstance(found, KeyTarget):
            raise NotModelled(f"{name} outside of the registry")
        return found

    def changed(call: Call, found: KeyTarget, name: str, kind: Kind | None, data: object) -> bool:
        try:
            stored, converted = from_script(data, kind)
            registry.set(found.path, Value("" if name.lower() == "(default)" else name, stored, converted))
        except NetException as error:
            call.write_error(
                error.message, "System.ArgumentException", "InvalidArgument", found.path, error,
            )  # fmt: skip
            return False
        except Win32Error:
            call.write_error(_denied(found))
            return False
        return True

    @cmdlet(
        "Set-ItemProperty", PATH, LITERAL_PATH, ONE_NAME,
        Parameter("Value", "object", position=2, mandatory=True, by_name=True, null=True),
        Parameter("Type", enums.VALUE_KIND.name), FORCE, Parameter("PassThru", "switch"), should_process=True,
    )  # fmt: skip
    def set_item_property(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                key = key_of(found, "Set-ItemProperty")
                name = str(record["Name"])
                kind = Kind(call.get("Type").value) if call.has("Type") else None
                known = registry.value(key.path, name)
                if kind is None and known is not None:
                    # Without -Type a value keeps its kind.
                    kind = known.kind
                if not call.what_if and changed(call, key, name, kind, record.get("Value")) and call.switch("PassThru"):
                    made = shown(key, [name], call)
                    if made is not None:
                        yield made

    @cmdlet(
        "New-ItemProperty", PATH, LITERAL_PATH, ONE_NAME, Parameter("PropertyType", aliases=("Type",)),
        Parameter("Value", "object", by_name=True, null=True), FORCE, should_process=True,
    )  # fmt: skip
    def new_item_property(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                key = key_of(found, "New-ItemProperty")
                name = str(record["Name"])
                if registry.value(key.path, name) is not None and not call.switch("Force"):
                    call.write_error(
                        "The property already exists.", "System.IO.IOException", "ResourceExists", key.path,
                        "System.IO.IOException",
                    )  # fmt: skip
                    continue
                kinds = {kind.name.lower(): kind for kind in Kind}
                wanted = str(call.get("PropertyType", "String")).lower()
                if wanted not in kinds:
                    raise NotModelled(f"New-ItemProperty -PropertyType {wanted}")
                data = record.get("Value")
                if data is None and kinds[wanted] in (Kind.DWord, Kind.QWord):
                    data = 0
                if not call.what_if and changed(call, key, name, kinds[wanted], data):
                    made = shown(key, [name], call)
                    if made is not None:
                        yield made

    @cmdlet("Remove-ItemProperty", PATH, LITERAL_PATH, NAMES, FORCE, should_process=True)
    def remove_item_property(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                key = key_of(found, "Remove-ItemProperty")
                for name in call.get("Name", ()):
                    if has_wildcard(name):
                        raise NotModelled("Remove-ItemProperty with a wildcard")
                    if registry.value(key.path, name) is None:
                        call.write_error(_no_property(name, key))
                        continue
                    if call.what_if:
                        continue
                    try:
                        registry.delete_value(key.path, name)
                    except Win32Error:
                        call.write_error(_denied(key))
        return iter(())

    return [get_item_property, get_item_property_value, set_item_property, new_item_property, remove_item_property]


def _no_property(name: str, found: KeyTarget) -> PowerShellError:
    text = f"Property {name} does not exist at path {found.path}."
    return PowerShellError(
        text, "System.Management.Automation.PSArgumentException", "InvalidArgument", name,
        exception="System.Management.Automation.PSArgumentException",
    )  # fmt: skip


def _denied(found: KeyTarget) -> PowerShellError:
    return PowerShellError(
        "Requested registry access is not allowed.", "System.Security.SecurityException", "PermissionDenied",
        found.path, exception="System.Security.SecurityException",
    )  # fmt: skip

"""Cmdlets of items' properties: values of registry keys, and times and sizes of files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.registry import Kind, Value
from lab.windows.powershell import Call, Command, NetException, Parameter, PowerShellError, PSObject

from . import enums
from .fileitems import item_of
from .items import PATH
from .registrykeys import from_script, to_script
from .support import LITERAL_PATH, Shell, cmdlet, has_wildcard, wildcard
from .targets import FileTarget, KeyTarget, chosen, key_denied

NAMES = Parameter("Name", "string[]", position=1, aliases=("PSProperty",))
ONE_NAME = Parameter("Name", position=1, mandatory=True, by_name=True, aliases=("PSProperty",))
FORCE = Parameter("Force", "switch")


def commands(shell: Shell) -> list[Command]:
    registry = shell.session.registry

    def shown(found: KeyTarget, names: list[str] | None, call: Call) -> Iterator[PSObject]:
        """A key's values as one object, with what PowerShell adds; none, and an error, where a name is missing."""
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
            return
        path = registry.name(found.path)
        above, _, last = path.rpartition("\\")
        made["PSPath"] = f"Microsoft.PowerShell.Core\\Registry::{path}"
        made["PSParentPath"] = f"Microsoft.PowerShell.Core\\Registry::{above}"
        made["PSChildName"] = last
        if found.drive:
            made["PSDrive"] = found.drive
        made["PSProvider"] = "Microsoft.PowerShell.Core\\Registry"
        yield made

    @cmdlet("Get-ItemProperty", PATH, LITERAL_PATH, NAMES)
    def get_item_property(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                if isinstance(found, KeyTarget):
                    yield from shown(found, call.get("Name"), call)
                elif isinstance(found, FileTarget) and not call.has("Name"):
                    yield item_of(shell, shell.session.files.entry(found.path))
                else:
                    raise NotModelled("Get-ItemProperty -Name of a file or variable")

    @cmdlet("Get-ItemPropertyValue", PATH, LITERAL_PATH, Parameter("Name", "string[]", position=1, mandatory=True))
    def get_item_property_value(call: Call) -> Iterator[object]:
        for _, key in keys(call):
            for name in call.get("Name"):
                if has_wildcard(name):
                    raise NotModelled("Get-ItemPropertyValue with a wildcard")
                value = registry.value(key.path, "" if name.lower() == "(default)" else name)
                if value is None:
                    call.write_error(_no_property(name, key))
                else:
                    yield to_script(value, shell.environment)

    def keys(call: Call) -> Iterator[tuple[dict[str, Any], KeyTarget]]:
        """The keys that a call names, each with the record that it came with."""
        for record in call.records():
            for found in chosen(shell, call, record):
                if not isinstance(found, KeyTarget):
                    raise NotModelled(f"{call.command.name} outside of the registry")
                yield record, found

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
            call.write_error(key_denied(found))
            return False
        return True

    @cmdlet(
        "Set-ItemProperty", PATH, LITERAL_PATH, ONE_NAME,
        Parameter("Value", "object", position=2, mandatory=True, by_name=True, null=True),
        Parameter("Type", enums.VALUE_KIND.name), FORCE, Parameter("PassThru", "switch"), should_process=True,
    )  # fmt: skip
    def set_item_property(call: Call) -> Iterator[object]:
        for record, key in keys(call):
            name = str(record["Name"])
            kind = Kind(call.get("Type").value) if call.has("Type") else None
            known = registry.value(key.path, name)
            if kind is None and known is not None:
                # Without -Type a value keeps its kind.
                kind = known.kind
            if not call.what_if and changed(call, key, name, kind, record.get("Value")) and call.switch("PassThru"):
                yield from shown(key, [name], call)

    @cmdlet(
        "New-ItemProperty", PATH, LITERAL_PATH, ONE_NAME, Parameter("PropertyType", aliases=("Type",)),
        Parameter("Value", "object", by_name=True, null=True), FORCE, should_process=True,
    )  # fmt: skip
    def new_item_property(call: Call) -> Iterator[object]:
        kinds = {kind.name.lower(): kind for kind in Kind}
        for record, key in keys(call):
            name = str(record["Name"])
            if registry.value(key.path, name) is not None and not call.switch("Force"):
                call.write_error(
                    "The property already exists.", "System.IO.IOException", "ResourceExists", key.path,
                    "System.IO.IOException",
                )  # fmt: skip
                continue
            wanted = str(call.get("PropertyType", "String")).lower()
            if wanted not in kinds:
                raise NotModelled(f"New-ItemProperty -PropertyType {wanted}")
            data = record.get("Value")
            if data is None and kinds[wanted] in (Kind.DWord, Kind.QWord):
                data = 0
            if not call.what_if and changed(call, key, name, kinds[wanted], data):
                yield from shown(key, [name], call)

    @cmdlet("Remove-ItemProperty", PATH, LITERAL_PATH, NAMES, FORCE, should_process=True)
    def remove_item_property(call: Call) -> Iterator[object]:
        for _, key in keys(call):
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
                    call.write_error(key_denied(key))
        return iter(())

    return [get_item_property, get_item_property_value, set_item_property, new_item_property, remove_item_property]


def _no_property(name: str, found: KeyTarget) -> PowerShellError:
    text = f"Property {name} does not exist at path {found.path}."
    return PowerShellError(
        text, "System.Management.Automation.PSArgumentException", "InvalidArgument", name,
        exception="System.Management.Automation.PSArgumentException",
    )  # fmt: skip

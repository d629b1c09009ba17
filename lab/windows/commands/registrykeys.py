"""Microsoft.Win32.RegistryKey and [Registry]: the registry as .NET shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.windows.machine.environment import expand
from lab.windows.machine.errors import FILE_NOT_FOUND, Win32Error
from lab.windows.machine.registry import Data, Kind, Registry, Value
from lab.windows.powershell import DotNetType, EnumValue, NetException, Property, method
from lab.windows.powershell.values import Int64, TypedArray

from . import enums
from .support import Shell, net

HIVES = {
    "LocalMachine": "HKEY_LOCAL_MACHINE",
    "CurrentUser": "HKEY_CURRENT_USER",
    "Users": "HKEY_USERS",
    "ClassesRoot": "HKEY_CLASSES_ROOT",
}


class RegistryKey:
    """An open key. A closed one is refused as .NET refuses it; one that was deleted meanwhile, too."""

    def __init__(self, shell: Shell, path: str, writable: bool) -> None:
        self.shell = shell
        self.path = path
        self.writable = writable
        self.closed = False

    @property
    def registry(self) -> Registry:
        if self.closed:
            raise NetException("System.ObjectDisposedException", "Cannot access a closed registry key.")
        return self.shell.session.registry

    def sub(self, name: str) -> str:
        parts = [part for part in name.split("\\") if part]
        return "\\".join([self.path, *parts])


def to_script(value: Value, variables: Mapping[str, str] | None) -> object:
    """A value's data as a script sees it; `variables`: expand with these what is to be expanded."""
    data = value.data
    if value.kind is Kind.DWord:
        assert isinstance(data, int)
        return data - 2**32 if data >= 2**31 else data
    if value.kind is Kind.QWord:
        assert isinstance(data, int)
        return Int64(data - 2**64 if data >= 2**63 else data)
    if isinstance(data, bytes):
        return bytearray(data)
    if isinstance(data, list):
        return TypedArray(data, "System.String")
    if value.kind is Kind.ExpandString and variables is not None:
        return expand(str(data), variables)
    return data


def from_script(data: object, kind: Kind | None) -> tuple[Kind, Data]:
    """What RegistryKey.SetValue stores; without `kind` it is guessed, as .NET does: text is REG_SZ."""
    if kind is None:
        if isinstance(data, bytes | bytearray):
            kind = Kind.Binary
        elif isinstance(data, list):
            kind = Kind.MultiString
        elif isinstance(data, int) and not isinstance(data, bool | Int64) and -(2**31) <= data < 2**31:
            kind = Kind.DWord
        else:
            return Kind.String, str(data)
    try:
        if kind in (Kind.DWord, Kind.QWord):
            if not isinstance(data, int | str):
                raise ValueError
            number, bits = int(data), 32 if kind is Kind.DWord else 64
            if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
                raise ValueError
            return kind, number % 2**bits
        if kind is Kind.Binary:
            if not isinstance(data, bytes | bytearray | list):
                raise ValueError
            return kind, bytes(data)
        if kind is Kind.MultiString:
            if not isinstance(data, list):
                raise ValueError
            return kind, [str(item) for item in data]
        if isinstance(data, list | bytes | bytearray):
            raise ValueError
    except (ValueError, TypeError):
        raise NetException(
            "System.ArgumentException",
            "The type of the value object did not match the specified RegistryValueKind or the object could not be "
            "properly converted.",
        ) from None
    return kind, "" if data is None else str(data)


def denied(error: Win32Error) -> NetException:
    """What .NET throws for a key that must not be changed."""
    if error.code == FILE_NOT_FOUND:
        return NetException(
            "System.IO.IOException",
            "Illegal operation attempted on a registry key that has been marked for deletion.\r\n",
        )
    return NetException("System.Security.SecurityException", "Requested registry access is not allowed.")


def types(shell: Shell) -> list[DotNetType]:
    def opened(key: RegistryKey, name: str, writable: bool = False) -> RegistryKey | None:
        path = key.sub(name)
        if not key.registry.exists(path):
            return None
        if writable:
            _check(key, path)
        return RegistryKey(shell, path, writable)

    def created(key: RegistryKey, name: str, writable: bool = True) -> RegistryKey:
        path = key.sub(name)
        if not key.registry.exists(path):
            _change(lambda: key.registry.create(path))
        elif writable:
            _check(key, path)
        return RegistryKey(shell, path, writable)

    def _check(key: RegistryKey, path: str) -> None:
        try:
            key.registry.may_write(path)
        except Win32Error as error:
            raise denied(error) from error

    def _change(action: Any) -> None:
        try:
            action()
        except Win32Error as error:
            raise denied(error) from error

    def _writable(key: RegistryKey) -> None:
        if not key.writable:
            raise NetException("System.UnauthorizedAccessException", "Cannot write to the registry key.")

    def value(key: RegistryKey, name: str | None, default: object = None, options: EnumValue | None = None) -> object:
        found = key.registry.value(key.path, name or "")
        if found is None:
            return default
        keep = options is not None and options.value & 1
        return to_script(found, None if keep else shell.environment)

    def kind(key: RegistryKey, name: str) -> EnumValue:
        found = key.registry.value(key.path, name)
        if found is None:
            raise NetException("System.IO.IOException", "The specified registry key does not exist.")
        return enums.VALUE_KIND.of(found.kind.value)

    def set_value(key: RegistryKey, name: str, data: object, kind: EnumValue | None = None) -> None:
        _writable(key)
        if data is None:
            raise NetException("System.ArgumentNullException", "Value cannot be null.\r\nParameter name: value")
        known = Kind(kind.value) if kind is not None else None
        stored, converted = from_script(data, known)
        _change(lambda: key.registry.set(key.path, Value(name or "", stored, converted)))

    def delete_value(key: RegistryKey, name: str, must: bool = True) -> None:
        _writable(key)
        if key.registry.value(key.path, name) is None:
            if must:
                raise NetException("System.ArgumentException", "No value exists with that name.")
            return
        _change(lambda: key.registry.delete_value(key.path, name))

    def delete_tree(key: RegistryKey, name: str, must: bool = True) -> None:
        _writable(key)
        if not key.registry.exists(key.sub(name)):
            if must:
                raise NetException(
                    "System.ArgumentException", "Cannot delete a subkey tree because the subkey does not exist."
                )
            return
        _change(lambda: key.registry.delete(key.sub(name)))

    def delete_key(key: RegistryKey, name: str, must: bool = True) -> None:
        path = key.sub(name)
        if key.registry.exists(path) and key.registry.subkeys(path):
            raise NetException(
                "System.InvalidOperationException",
                "Registry key has subkeys and recursive removes are not supported by this method.",
            )
        delete_tree(key, name, must)

    def close(key: RegistryKey) -> None:
        key.closed = True

    def names(key: RegistryKey) -> TypedArray:
        return TypedArray([found.name for found in key.registry.values(key.path)], "System.String")

    def subkeys(key: RegistryKey) -> TypedArray:
        return TypedArray(key.registry.subkeys(key.path), "System.String")

    def base(hive: EnumValue, view: EnumValue) -> RegistryKey:
        return RegistryKey(shell, HIVES[hive.name], True)

    def static_value(path: str, name: str, default: object) -> object:
        root, _, rest = path.partition("\\")
        key = RegistryKey(shell, root, False)
        if rest and not key.registry.exists(key.sub(rest)):
            return None
        return value(RegistryKey(shell, path, False), name, default)

    def static_set(path: str, name: str, data: object, kind: EnumValue | None = None) -> None:
        _change(lambda: shell.session.registry.create(path))
        set_value(RegistryKey(shell, path, True), name, data, kind)

    key_type = DotNetType(
        "Microsoft.Win32.RegistryKey",
        python=RegistryKey,
        statics={
            "OpenBaseKey": method(net(base), enums.HIVE.name, enums.VIEW.name),
        },
        members={
            "Name": Property(lambda key: key.path),
            "Property": Property(names),
            "PSPath": Property(lambda key: f"Microsoft.PowerShell.Core\\Registry::{key.path}"),
            "PSParentPath": Property(
                lambda key: f"Microsoft.PowerShell.Core\\Registry::{key.path.rpartition(chr(92))[0]}"
            ),
            "PSChildName": Property(lambda key: key.path.rpartition("\\")[2]),
            "PSIsContainer": Property(lambda key: True),
            "SubKeyCount": Property(lambda key: len(subkeys(key))),
            "ValueCount": Property(lambda key: len(names(key))),
            "OpenSubKey": method(net(opened), "string", nullable=True)
            | method(net(opened), "string", "bool", nullable=True),
            "CreateSubKey": method(net(created), "string") | method(net(created), "string", "bool"),
            "GetValue": method(net(value), "string", nullable=True)
            | method(net(value), "string", "object", nullable=True)
            | method(net(value), "string", "object", enums.VALUE_OPTIONS.name, nullable=True),
            "GetValueKind": method(net(kind), "string"),
            "GetValueNames": method(net(names)),
            "GetSubKeyNames": method(net(subkeys)),
            "SetValue": method(net(set_value), "string", "object")
            | method(net(set_value), "string", "object", enums.VALUE_KIND.name),
            "DeleteValue": method(net(delete_value), "string") | method(net(delete_value), "string", "bool"),
            "DeleteSubKey": method(net(delete_key), "string") | method(net(delete_key), "string", "bool"),
            "DeleteSubKeyTree": method(net(delete_tree), "string") | method(net(delete_tree), "string", "bool"),
            "Flush": method(lambda key: None),
            "Close": method(close),
            "Dispose": method(close),
        },
        text=lambda key: str(key.path),
    )
    roots = {name: Property(lambda path=path: RegistryKey(shell, path, True)) for name, path in HIVES.items()}
    registry_type = DotNetType(
        "Microsoft.Win32.Registry",
        statics={
            **roots,
            "GetValue": method(net(static_value), "string", "string", "object", nullable=True),
            "SetValue": method(net(static_set), "string", "string", "object")
            | method(net(static_set), "string", "string", "object", enums.VALUE_KIND.name),
        },
    )
    return [key_type, registry_type]

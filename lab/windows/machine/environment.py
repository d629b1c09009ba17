"""Environment variables: the registry's Machine and User variables, and the block that a new process gets.

Source: Microsoft, "Environment Variables" and CreateEnvironmentBlock: system variables, then the user's over them,
except Path, which is the system's followed by the user's; REG_EXPAND_SZ values are expanded with what is known before
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from enum import StrEnum

from .errors import FILE_NOT_FOUND, Win32Error
from .hives import ENVIRONMENT, PROFILE_LIST
from .identity import SYSTEM, Identity
from .registry import Kind, Registry, Value
from .store import Store

BROADCASTS = "broadcasts"
REFERENCE = re.compile(r"%([^%]+)%")


class Scope(StrEnum):
    """System.EnvironmentVariableTarget but for Process."""

    MACHINE = ENVIRONMENT
    USER = r"HKEY_CURRENT_USER\Environment"


class Block(MutableMapping[str, str]):
    """A process's environment: names differ by more than case."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._entries: dict[str, tuple[str, str]] = {}
        for name, value in (variables or {}).items():
            self[name] = value

    def __getitem__(self, name: str) -> str:
        return self._entries[name.lower()][1]

    def __setitem__(self, name: str, value: str) -> None:
        known = self._entries.get(name.lower())
        self._entries[name.lower()] = (known[0] if known else name, value)

    def __delitem__(self, name: str) -> None:
        del self._entries[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """ExpandEnvironmentStrings: an unknown %NAME% stays as it is."""
    block = variables if isinstance(variables, Block) else Block(variables)
    return REFERENCE.sub(lambda match: block.get(match[1], match[0]), text)


class Variables:
    """The stored variables, as .NET's Environment reads and writes them."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store

    def get(self, scope: Scope, name: str, block: Mapping[str, str]) -> str | None:
        """The value, expanded with `block` where it is REG_EXPAND_SZ, as [Environment]::GetEnvironmentVariable does."""
        found = self._registry.value(scope, name)
        return None if found is None else _expanded(found, block)

    def all(self, scope: Scope, block: Mapping[str, str]) -> dict[str, str]:
        return {value.name: _expanded(value, block) for value in self._registry.values(scope)}

    def set(self, scope: Scope, name: str, value: str | None) -> None:
        """[Environment]::SetEnvironmentVariable: always writes REG_SZ; None or "" removes; then it broadcasts.

        Source: .NET Framework's reference source, environment.cs: key.SetValue(variable, value), so a REG_EXPAND_SZ
        becomes a REG_SZ. In .NET 5 and later it is the same.
        """
        if value:
            self._registry.set(scope, Value(name, Kind.String, value))
        else:
            try:
                self._registry.delete_value(scope, name)
            except Win32Error as error:
                if error.code != FILE_NOT_FOUND:
                    raise
        self.broadcast("Environment")

    def broadcast(self, area: str) -> None:
        """Notes a WM_SETTINGCHANGE that was sent to all windows."""
        with self._store.change(BROADCASTS, list) as sent:
            sent.append(area)


def block_for(identity: Identity, registry: Registry, computer: str, machine: list[Value] | None = None) -> Block:
    """The environment that a new process of this account gets. `registry` is as the account itself sees it.

    `machine`: the Machine variables, where they are not those that the registry has now.
    """
    block = Block({
        "SystemRoot": r"C:\Windows",
        "SystemDrive": "C:",
        "ProgramFiles": r"C:\Program Files",
        "ProgramFiles(x86)": r"C:\Program Files (x86)",
        "ProgramW6432": r"C:\Program Files",
        "CommonProgramFiles": r"C:\Program Files\Common Files",
        "CommonProgramFiles(x86)": r"C:\Program Files (x86)\Common Files",
        "CommonProgramW6432": r"C:\Program Files\Common Files",
        "ProgramData": r"C:\ProgramData",
        "ALLUSERSPROFILE": r"C:\ProgramData",
        "PUBLIC": r"C:\Users\Public",
        "COMPUTERNAME": computer,
        "USERPROFILE": _profile(identity, registry),
    })  # fmt: skip
    _add(block, registry.values(Scope.MACHINE) if machine is None else machine)
    profile = block["USERPROFILE"]
    block["APPDATA"] = rf"{profile}\AppData\Roaming"
    block["LOCALAPPDATA"] = rf"{profile}\AppData\Local"
    block["USERNAME"] = f"{computer}$" if identity.sid == SYSTEM else identity.user_name
    block["USERDOMAIN"] = identity.name.rpartition("\\")[0] if identity.session else computer
    system_path = block.get("Path", "")
    own = registry.values(Scope.USER) if registry.exists(Scope.USER) else []
    _add(block, own)
    if any(value.name.lower() == "path" for value in own):
        block["Path"] = ";".join(part for part in (system_path.rstrip(";"), block["Path"]) if part)
    return block


def _profile(identity: Identity, registry: Registry) -> str:
    found = registry.value(rf"{PROFILE_LIST}\{identity.sid}", "ProfileImagePath")
    return expand(str(found.data), {"systemroot": r"C:\Windows"}) if found else identity.profile


def _add(block: Block, values: list[Value]) -> None:
    for value in values:
        if value.kind is Kind.String:
            block[value.name] = str(value.data)
    for value in values:
        if value.kind is Kind.ExpandString:
            block[value.name] = expand(str(value.data), block)


def _expanded(value: Value, block: Mapping[str, str]) -> str:
    text = str(value.data)
    return expand(text, block) if value.kind is Kind.ExpandString else text

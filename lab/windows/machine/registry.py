"""The registry: hives kept as one JSON document.

Roots are HKEY_LOCAL_MACHINE and HKEY_USERS; HKEY_CURRENT_USER and HKEY_CLASSES_ROOT lead into them as on Windows.
Only HKEY_LOCAL_MACHINE and the identity's own hive are modelled with access: everybody may read, administrators may
write below HKEY_LOCAL_MACHINE, each account in its own hive.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from .errors import ACCESS_DENIED, FILE_NOT_FOUND, NotModelled, Win32Error
from .identity import ADMINISTRATORS, Identity
from .store import Store

DOCUMENT = "registry"
#: Microsoft, "Registry element size limits".
MAX_KEY_NAME = 255
MAX_VALUE_NAME = 16383


class Kind(IntEnum):
    """Microsoft.Win32.RegistryValueKind."""

    String = 1
    ExpandString = 2
    Binary = 3
    DWord = 4
    MultiString = 7
    QWord = 11


#: str for String and ExpandString, list of str for MultiString, int for DWord and QWord (unsigned), bytes for Binary.
Data = str | int | bytes | list[str]


@dataclass(frozen=True)
class Value:
    """One value; the default value of a key has the name ""."""

    name: str
    kind: Kind
    data: Data


ROOTS = {
    "hkey_local_machine": "HKEY_LOCAL_MACHINE",
    "hkey_current_user": "HKEY_CURRENT_USER",
    "hkey_users": "HKEY_USERS",
    "hkey_classes_root": "HKEY_CLASSES_ROOT",
    "hklm": "HKEY_LOCAL_MACHINE",
    "hkcu": "HKEY_CURRENT_USER",
    "hku": "HKEY_USERS",
    "hkcr": "HKEY_CLASSES_ROOT",
}
Node = dict[str, Any]


class Registry:
    """The registry as one identity sees it. Paths are as `HKEY_LOCAL_MACHINE\\SOFTWARE\\X`, or with HKLM, HKCU."""

    def __init__(self, store: Store, identity: Identity) -> None:
        self._store = store
        self._identity = identity

    def exists(self, path: str) -> bool:
        return self._find(path) is not None

    def name(self, path: str) -> str:
        """The full path as the keys themselves are spelled."""
        root, parts = self._shown(path)
        node = self._root(self._store.read(DOCUMENT), path)
        spelled = [root]
        for part in parts:
            found = (node or {"keys": {}})["keys"].get(part.lower())
            if found is None:
                raise Win32Error(FILE_NOT_FOUND, path)
            spelled.append(found[0])
            node = found[1]
        return "\\".join(spelled)

    def subkeys(self, path: str) -> list[str]:
        """Names of the keys directly below, in the registry's order: sorted without regard to case."""
        node = self._node(path)
        return [node["keys"][key][0] for key in sorted(node["keys"])]

    def values(self, path: str) -> list[Value]:
        """All values, in the order in which they were made."""
        return [_value(stored) for stored in self._node(path)["values"].values()]

    def value(self, path: str, name: str) -> Value | None:
        """One value, or None where the key has none of that name. A missing key raises Win32Error 2."""
        stored = self._node(path)["values"].get(name.lower())
        return None if stored is None else _value(stored)

    def create(self, path: str) -> bool:
        """Makes a key and those above it; whether there was none before."""
        self.may_write(path)
        with self._store.change(DOCUMENT) as document:
            node = self._root(document, path)
            if node is None:
                raise Win32Error(ACCESS_DENIED, path)
            made = False
            for part in self._split(path)[1]:
                if not part or len(part) > MAX_KEY_NAME:
                    raise NotModelled(f"registry key name {part!r}")
                made = part.lower() not in node["keys"]
                node = node["keys"].setdefault(part.lower(), [part, empty()])[1]
            return made

    def set(self, path: str, value: Value) -> None:
        """Sets a value of a key that exists; the spelling of its name stays where it was there before."""
        self.may_write(path)
        if len(value.name) > MAX_VALUE_NAME:
            raise NotModelled(f"registry value name of {len(value.name)} characters")
        with self._changed(path) as node:
            known = node["values"].get(value.name.lower())
            node["values"][value.name.lower()] = _stored(value, known[0] if known else value.name)

    def delete_value(self, path: str, name: str) -> None:
        self.may_write(path)
        with self._changed(path) as node:
            if name.lower() not in node["values"]:
                raise Win32Error(FILE_NOT_FOUND, name)
            del node["values"][name.lower()]

    def delete(self, path: str) -> None:
        """Removes a key with all that is below it."""
        self.may_write(path)
        parent, _, name = path.rpartition("\\")
        with self._changed(parent) as node:
            if name.lower() not in node["keys"]:
                raise Win32Error(FILE_NOT_FOUND, path)
            del node["keys"][name.lower()]

    def tree(self, path: str) -> dict[str, Any]:
        """A key with everything below it, as a document to compare: {"values": {name: [kind, data]}, "keys": {...}}."""
        return {
            "values": {
                value.name: [value.kind.name, value.data.hex() if isinstance(value.data, bytes) else value.data]
                for value in sorted(self.values(path), key=lambda value: value.name.lower())
            },
            "keys": {name: self.tree(f"{path}\\{name}") for name in self.subkeys(path)},
        }

    def may_write(self, path: str) -> None:
        """Raises Win32Error 5 where the identity may not change a key."""
        root, parts = self._split(path)
        if root == "HKEY_USERS":
            own = bool(parts) and parts[0].lower() == self._identity.sid.lower()
            if not own and ADMINISTRATORS not in self._identity.groups:
                raise Win32Error(ACCESS_DENIED, path)
        elif ADMINISTRATORS not in self._identity.groups:
            raise Win32Error(ACCESS_DENIED, path)

    @contextmanager
    def _changed(self, path: str) -> Iterator[Node]:
        with self._store.change(DOCUMENT) as document:
            node = self._find_in(document, path)
            if node is None:
                raise Win32Error(FILE_NOT_FOUND, path)
            yield node

    def _node(self, path: str) -> Node:
        node = self._find(path)
        if node is None:
            raise Win32Error(FILE_NOT_FOUND, path)
        return node

    def _find(self, path: str) -> Node | None:
        return self._find_in(self._store.read(DOCUMENT), path)

    def _find_in(self, document: Node, path: str) -> Node | None:
        node = self._root(document, path)
        for part in self._split(path)[1]:
            if node is None:
                return None
            found = node["keys"].get(part.lower())
            node = found[1] if found else None
        return node

    def _root(self, document: Node, path: str) -> Node | None:
        root, _ = self._split(path)
        found: Node | None = document.get(root)
        return found

    def _split(self, path: str) -> tuple[str, list[str]]:
        root, parts = self._shown(path)
        if root == "HKEY_CURRENT_USER":
            return "HKEY_USERS", [self._identity.sid, *parts]
        if root == "HKEY_CLASSES_ROOT":
            return "HKEY_LOCAL_MACHINE", ["SOFTWARE", "Classes", *parts]
        return root, parts

    @staticmethod
    def _shown(path: str) -> tuple[str, list[str]]:
        first, *parts = [part for part in path.replace("/", "\\").split("\\") if part] or [""]
        try:
            return ROOTS[first.rstrip(":").lower()], parts
        except KeyError:
            raise NotModelled(f"registry root {first!r}") from None


def empty() -> Node:
    """A key with nothing in it."""
    return {"values": {}, "keys": {}}


def _stored(value: Value, name: str) -> list[Any]:
    return [name, value.kind.name, value.data.hex() if isinstance(value.data, bytes) else value.data]


def _value(stored: list[Any]) -> Value:
    name, kind, data = stored
    return Value(name, Kind[kind], bytes.fromhex(data) if kind == "Binary" else data)


def put(document: Node, path: str, values: list[Value] | None = None) -> None:
    """Puts a key with values into a document of the registry, whoever may do so: for making a new machine."""
    root, *parts = path.split("\\")
    node = document.setdefault(root, empty())
    for part in parts:
        node = node["keys"].setdefault(part.lower(), [part, empty()])[1]
    for value in values or []:
        node["values"][value.name.lower()] = _stored(value, value.name)

"""The values that scripts work on, as Python objects.

    $null       None            [bool]      bool
    [string]    str             [char]      Char
    [int]       int             [double]    float
    [long]      Int64           [decimal]   decimal.Decimal
    [byte] ...  Byte ...        [single]    Single
    object[]    list            string[] and other typed arrays: TypedArray; byte[]: bytearray
    @{}         Hashtable       [ordered]@{}: OrderedHashtable
    [pscustomobject] and the results of cmdlets: PSObject

A plain int that does not fit 32 bits is an [int64]. Every other type of .NET is a Python class of its own that a
DotNetType of `typesystem` describes.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, ClassVar

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class SizedInteger(int):
    """An integer whose type is not Int32; `lowest` and `highest` bound it."""

    __slots__ = ()
    lowest: ClassVar[int] = INT64_MIN
    highest: ClassVar[int] = INT64_MAX


class Int64(SizedInteger):
    """[long]"""


class UInt64(SizedInteger):
    """[uint64]"""

    lowest, highest = 0, 2**64 - 1


class UInt32(SizedInteger):
    """[uint32]"""

    lowest, highest = 0, 2**32 - 1


class Int16(SizedInteger):
    """[int16]"""

    lowest, highest = -(2**15), 2**15 - 1


class UInt16(SizedInteger):
    """[uint16]"""

    lowest, highest = 0, 2**16 - 1


class Byte(SizedInteger):
    """[byte]"""

    lowest, highest = 0, 255


class SByte(SizedInteger):
    """[sbyte]"""

    lowest, highest = -128, 127


class Single(float):
    """[single]"""

    __slots__ = ()


class Char(str):
    """[char]: one UTF-16 unit."""

    __slots__ = ()


class SwitchValue:
    """[switch]: what the variable of a switch parameter holds. ConvertTo-Json makes an object of it, not a boolean."""

    __slots__ = ("present",)

    def __init__(self, present: bool) -> None:
        self.present = present

    def __bool__(self) -> bool:
        return self.present


class DecoratedText(str):
    """Text with properties of its own, as Get-Content gives it: ConvertTo-Json of Windows PowerShell makes an object of
    it, {"value": ..., "PSPath": ...}."""

    notes: dict[str, object]

    @classmethod
    def of(cls, text: str, notes: dict[str, object]) -> DecoratedText:
        """Text with notes."""
        made = cls(text)
        made.notes = notes
        return made


class TypedArray(list[Any]):
    """An array whose elements have one type, such as string[]; `element` is that type's full name."""

    def __init__(self, items: Iterable[object] = (), element: str = "System.Object") -> None:
        super().__init__(items)
        self.element = element


class PSObject:
    """An object with ordered properties whose names differ by more than case.

    `type_names` begins with the most specific type, as `$object.PSObject.TypeNames` does. What has one of another
    module's types as its base behaves as a [pscustomobject] in all other respects. `methods` are functions of the
    object and its arguments.
    """

    __slots__ = ("_names", "_values", "complete", "methods", "text", "type_names")

    def __init__(
        self,
        properties: Mapping[str, object] | Iterable[tuple[str, object]] = (),
        type_name: str | Iterable[str] = (),
        *,
        text: str | None = None,
        methods: Mapping[str, Any] | None = None,
        complete: bool = False,
    ) -> None:
        """`text` is what the object becomes as a string, where that is not `@{Name=value; ...}`.

        The object of a type of its own may have properties in real life that are not given here: reading one is
        refused. With `complete` it has none, and reading one is the script's mistake, as for a [pscustomobject].
        """
        self._names: dict[str, str] = {}
        self._values: dict[str, object] = {}
        given = (type_name,) if isinstance(type_name, str) else tuple(type_name)
        self.type_names: list[str] = [*given] or ["System.Management.Automation.PSCustomObject", "System.Object"]
        self.text = text
        self.complete = complete
        self.methods: dict[str, Any] = {name.lower(): method for name, method in (methods or {}).items()}
        for name, value in properties.items() if isinstance(properties, Mapping) else properties:
            self[name] = value

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._names

    def __getitem__(self, name: str) -> object:
        return self._values[name.lower()]

    def __setitem__(self, name: str, value: object) -> None:
        key = name.lower()
        self._names.setdefault(key, name)
        self._values[key] = value

    def __delitem__(self, name: str) -> None:
        key = name.lower()
        del self._names[key]
        del self._values[key]

    def get(self, name: str, default: object = None) -> object:
        """The property's value, or `default` where there is none."""
        return self._values.get(name.lower(), default)

    def items(self) -> Iterator[tuple[str, object]]:
        """Names as they were first written, and values, in order."""
        for key, name in self._names.items():
            yield name, self._values[key]

    def names(self) -> list[str]:
        """Names of the properties, in order."""
        return list(self._names.values())

    def copy(self) -> PSObject:
        """A new object with the same properties, types and methods."""
        made = PSObject(self.items(), self.type_names, text=self.text, complete=self.complete)
        made.methods = dict(self.methods)
        return made

    def __repr__(self) -> str:
        return f"PSObject({dict(self.items())!r})"


class ScriptBlock:
    """A script block with what it remembers of the place where it was made.

    `script_scope` is the scope of the script it was written in: $script: leads there. GetNewClosure() keeps variables.
    """

    __slots__ = ("block", "closure", "script_scope")

    def __init__(self, block: Any, script_scope: Any, closure: dict[str, object] | None = None) -> None:
        self.block = block
        self.script_scope = script_scope
        self.closure = closure


class GrowingList:
    """Base of .NET's lists that grow: `items` are the elements."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[object] = ()) -> None:
        self.items: list[Any] = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class ArrayList(GrowingList):
    """System.Collections.ArrayList"""

    __slots__ = ()


class GenericList(GrowingList):
    """System.Collections.Generic.List[T]; `element` is the full name of T."""

    __slots__ = ("element",)

    def __init__(self, items: Iterable[object] = (), element: str = "System.Object") -> None:
        super().__init__(items)
        self.element = element


class TableView(GrowingList):
    """Keys, values or pairs of a hash table, which can be gone through only while the table stays as it is."""

    __slots__ = ("table",)

    def __init__(self, items: Iterable[object], table: Hashtable) -> None:
        super().__init__(items)
        self.table = table


class ModifiedError(Exception):
    """A collection was changed while a loop or pipeline went through it."""


def live_elements(value: object) -> Iterator[Any]:
    """The elements one by one; raises ModifiedError where a collection that .NET watches has changed meanwhile."""
    if not isinstance(value, GrowingList):
        yield from elements(value)
        return
    table = value.table if isinstance(value, TableView) else None
    before = table.version if table is not None else len(value.items)
    for item in list(value.items):
        if (table.version if table is not None else len(value.items)) != before:
            raise ModifiedError
        yield item


def enumerates(value: object) -> bool:
    """Whether PowerShell goes through the value's elements in a pipeline (about_Pipelines): hash tables and text are
    one object each."""
    return isinstance(value, list | tuple | bytearray | bytes | GrowingList)


def elements(value: object) -> list[Any]:
    """The elements of what `enumerates`."""
    if isinstance(value, bytearray | bytes):
        return [Byte(byte) for byte in value]
    if isinstance(value, GrowingList):
        return list(value.items)
    assert isinstance(value, list | tuple)
    return list(value)


def listed(value: object) -> list[Any]:
    """The elements of a collection; any other value as the only one."""
    return elements(value) if enumerates(value) else [value]


def flat(value: object) -> list[Any]:
    """What a pipeline makes of a value: the elements of a collection, the value itself, nothing for Nothing."""
    return [] if value is Nothing else listed(value)


class _Nothing:
    """What an expression without any output has for a value: $null in an expression, no object in a pipeline."""

    def __repr__(self) -> str:
        return "Nothing"

    def __bool__(self) -> bool:
        return False


Nothing = _Nothing()


def or_null(value: Any) -> Any:
    """A value for a variable, property or argument: no output is $null there."""
    return None if value is Nothing else value


def collected(objects: list[Any]) -> Any:
    """The value of a pipeline: nothing, the one object, or an array of them (about_Arrays)."""
    if not objects:
        return Nothing
    return objects[0] if len(objects) == 1 else objects


def _key(key: object) -> object:
    """What finds an entry: text without regard to case; 1 and 1L are two keys, as in .NET."""
    if isinstance(key, str) and not isinstance(key, Char):
        return key.lower()
    return (type(key), key)


class Hashtable(MutableMapping[Any, Any]):
    """A hash table as @{} makes it: keys of text differ by more than case.

    The order of a .NET hash table is nobody's promise, so this one enumerates by a checksum of the keys: a script that
    counts on the order in which it wrote them shows here.
    """

    __slots__ = ("_entries", "case_sensitive", "version")
    ordered: ClassVar[bool] = False

    def __init__(
        self, entries: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = (), *, case_sensitive: bool = False
    ) -> None:
        self._entries: dict[object, tuple[Any, Any]] = {}
        self.version = 0
        self.case_sensitive = case_sensitive
        for key, value in entries.items() if isinstance(entries, Mapping) else entries:
            self[key] = value

    def _find(self, key: object) -> object:
        return (str, key) if self.case_sensitive and isinstance(key, str) else _key(key)

    def __getitem__(self, key: Any) -> Any:
        return self._entries[self._find(key)][1]

    def __setitem__(self, key: Any, value: Any) -> None:
        found = self._find(key)
        known = self._entries.get(found)
        self._entries[found] = (known[0] if known else key, value)
        self.version += 1

    def __delitem__(self, key: Any) -> None:
        del self._entries[self._find(key)]
        self.version += 1

    def __contains__(self, key: object) -> bool:
        return self._find(key) in self._entries

    def __iter__(self) -> Iterator[Any]:
        pairs = sorted(self._entries.values(), key=lambda pair: (binascii.crc32(str(pair[0]).encode()), str(pair[0])))
        return (key for key, _ in pairs)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.items())!r})"

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class OrderedHashtable(Hashtable):
    """[ordered]@{}: enumerates in the order of insertion."""

    __slots__ = ()
    ordered = True

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in list(self._entries.values()))

    def at(self, index: int) -> Any:
        """The value of entry number `index`; IndexError where there is none."""
        return list(self._entries.values())[index][1]

    def insert(self, index: int, key: Any, value: Any) -> None:
        """Puts a new entry before entry number `index`."""
        entries = list(self._entries.items())
        entries.insert(index, (self._find(key), (key, value)))
        self._entries = dict(entries)
        self.version += 1

"""Finds types by name and by value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from . import errors
from .errors import NetException, Refusal
from .numbers import number_type
from .typesystem import DotNetType, EnumValue, Member, Property, method
from .values import GenericList, OrderedHashtable, PSObject, TypedArray

ACCELERATORS = {
    "string": "System.String", "char": "System.Char", "bool": "System.Boolean", "byte": "System.Byte",
    "sbyte": "System.SByte", "int": "System.Int32", "long": "System.Int64", "int16": "System.Int16",
    "uint16": "System.UInt16", "uint32": "System.UInt32", "uint64": "System.UInt64", "single": "System.Single",
    "float": "System.Single", "double": "System.Double", "decimal": "System.Decimal", "void": "System.Void",
    "array": "System.Array", "hashtable": "System.Collections.Hashtable", "object": "System.Object",
    "switch": "System.Management.Automation.SwitchParameter", "regex": "System.Text.RegularExpressions.Regex",
    "psobject": "System.Management.Automation.PSObject", "type": "System.Type", "guid": "System.Guid",
    "pscustomobject": "System.Management.Automation.PSObject",
    "scriptblock": "System.Management.Automation.ScriptBlock",
    "datetime": "System.DateTime", "timespan": "System.TimeSpan", "version": "System.Version", "uri": "System.Uri",
    "powershell": "System.Management.Automation.PowerShell", "math": "System.Math", "ipaddress": "System.Net.IPAddress",
    "ordered": "System.Collections.Specialized.OrderedDictionary", "exception": "System.Exception",
    "environment": "System.Environment", "convert": "System.Convert",
}  # fmt: skip


class ArrayType(DotNetType):
    """T[]"""

    def __init__(self, element: DotNetType, base: DotNetType | None) -> None:
        super().__init__(f"{element.name}[]", base=base, python=TypedArray)
        self.element = element


class ListType(DotNetType):
    """System.Collections.Generic.List[T]"""

    def __init__(self, element: DotNetType, base: DotNetType) -> None:
        super().__init__(
            f"System.Collections.Generic.List`1[[{element.name}]]",
            base=base,
            python=GenericList,
            new=method(lambda: GenericList((), element.name))
            | method(lambda count: GenericList((), element.name), "int")
            | method(lambda items: GenericList(items, element.name), f"{element.name}[]"),
        )
        self.element = element


class DictionaryType(DotNetType):
    """System.Collections.Generic.Dictionary[K,V]; K is string, compared with case."""

    def __init__(self, key: DotNetType, value: DotNetType, base: DotNetType) -> None:
        super().__init__(
            f"System.Collections.Generic.Dictionary`2[[{key.name}],[{value.name}]]",
            base=base,
            new=method(lambda: OrderedHashtable((), case_sensitive=True)),
        )


EXCEPTION_MEMBERS: dict[str, Member] = {
    "Message": Property(lambda error: error.message),
    "InnerException": Property(lambda error: error.inner),
    "HResult": Property(lambda error: error.properties.get("HResult", -2146233088)),
    "GetBaseException": method(lambda error: _innermost(error)),
}


def _innermost(error: NetException) -> NetException:
    while error.inner:
        error = error.inner
    return error


def exception_type(name: str) -> DotNetType:
    """The type of an exception that `errors.BASES` lists."""

    def made(message: str | None = None, inner: NetException | None = None) -> NetException:
        return NetException(name, message or f"Exception of type '{name}' was thrown.", inner)

    above = errors.BASES.get(name)
    return DotNetType(
        name,
        base=exception_type(above or "System.Exception") if name != "System.Exception" else None,
        python=NetException,
        new=method(made) | method(made, "string") | method(made, "string", "System.Exception"),
        members=EXCEPTION_MEMBERS,
        text=lambda error: f"{error.type_name}: {error.message}",
    )


class Registry:
    """All types of one engine."""

    def __init__(self, core: Iterable[DotNetType], given: Mapping[str, DotNetType]) -> None:
        self._by_name: dict[str, DotNetType] = {}
        self._by_python: dict[type, DotNetType] = {}
        for kind in core:
            self._add(kind)
        for kind in given.values():
            known = self._by_name.get(kind.name.lower())
            self._add(known.merged(kind) if known else kind)
        for alias, name in ACCELERATORS.items():
            if name.lower() in self._by_name:
                self._by_name[alias] = self._by_name[name.lower()]

    def _add(self, kind: DotNetType) -> None:
        for name in (kind.name, *kind.accelerators):
            self._by_name[name.lower()] = kind
        if kind.python is not None:
            self._by_python[kind.python] = kind

    def find(self, name: str) -> DotNetType | None:
        """The type that a script means by [name]; None for one that is not modelled."""
        key = name.lower()
        known = self._by_name.get(key) or self._by_name.get(f"system.{key}")
        if known:
            return known
        made = self._make(name)
        if made:
            self._by_name[key] = made
        return made

    def _make(self, name: str) -> DotNetType | None:
        if name.endswith("[]"):
            element = self.find(name[:-2])
            return ArrayType(element, self._by_name.get("system.array")) if element else None
        generic, bracket, arguments = name.partition("[")
        if bracket:
            return self._make_generic(generic.lower().removeprefix("system."), arguments[:-1])
        for full in (name, f"System.{name}"):
            for known in (*errors.BASES, "System.Exception"):
                if known.lower() == full.lower():
                    return exception_type(known)
        return None

    def _make_generic(self, generic: str, arguments: str) -> DotNetType | None:
        parts = [self.find(part) for part in arguments.split(",")]
        known = [part for part in parts if part]
        if len(known) < len(parts):
            return None
        if generic == "collections.generic.list" and len(known) == 1:
            return ListType(known[0], self._by_name["system.collections.generic.list"])
        if generic == "collections.generic.dictionary" and len(known) == 2 and known[0].name == "System.String":
            return DictionaryType(known[0], known[1], self._by_name["system.collections.hashtable"])
        return None

    def get(self, name: str) -> DotNetType:
        """As `find`, refusing what is not modelled."""
        found = self.find(name)
        if found is None:
            raise Refusal("UnknownType", f"the type [{name}] is not modelled")
        return found

    def type_of(self, value: object) -> DotNetType:
        """The type of a value other than $null."""
        if type(value) is int:
            return self._by_name[number_type(value).lower()]
        known = self._by_python.get(type(value))
        if known is not None and not isinstance(value, TypedArray | GenericList | NetException | PSObject):
            return known
        if isinstance(value, TypedArray):
            return self.get(f"{value.element}[]")
        if isinstance(value, GenericList):
            return self.get(f"Collections.Generic.List[{value.element}]")
        if isinstance(value, list | tuple):
            return self.get("object[]")
        if isinstance(value, bytes | bytearray):
            return self.get("byte[]")
        if isinstance(value, EnumValue):
            return value.type
        if isinstance(value, NetException):
            return self.find(value.type_name) or exception_type(value.type_name)
        if isinstance(value, PSObject):
            return self.find(value.type_names[0]) or DotNetType(value.type_names[0])
        if isinstance(value, DotNetType):
            return self.get("System.Type")
        for kind in type(value).__mro__[1:]:
            if kind in self._by_python:
                return self._by_python[kind]
        raise Refusal("UnknownValue", f"a cmdlet or type gave a Python {type(value).__name__}, which is no value here")

    def names_of(self, value: object) -> list[str]:
        """Full names of the value's type, its bases and interfaces, most specific first."""
        if isinstance(value, PSObject):
            return [*value.type_names, "System.Object"]
        if isinstance(value, NetException):
            return list(value.type_names())
        found: list[str] = []
        kind: DotNetType | None = self.type_of(value)
        while kind:
            found.append(kind.name)
            found.extend(kind.interfaces)
            kind = kind.base
        if isinstance(value, EnumValue):
            found.append("System.Enum")
        if isinstance(value, bool | int | float | Decimal | EnumValue):
            found.append("System.ValueType")
        return [*found, "System.Object"]

    def is_instance(self, value: object, kind: DotNetType) -> bool:
        """-is"""
        if value is None:
            return False
        wanted = kind.name
        if wanted == "System.Management.Automation.PSObject":
            return isinstance(value, PSObject)
        if isinstance(kind, ArrayType):
            mine = self.type_of(value)
            return mine.name == wanted or (wanted == "System.Object[]" and mine.name == "System.String[]")
        return wanted in self.names_of(value)

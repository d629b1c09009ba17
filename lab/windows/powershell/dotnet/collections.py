"""Array, ArrayList, List, Hashtable and relatives."""

from __future__ import annotations

from typing import Any

from ..errors import NetException
from ..members import NullString, PropertyBag, PropertyInfo, PropertyList
from ..typesystem import DotNetType, Member, Property, method
from ..values import (
    ArrayList,
    GenericList,
    GrowingList,
    Hashtable,
    OrderedHashtable,
    PSObject,
    TableView,
    TypedArray,
    elements,
)
from .primitives import OBJECT


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


def _index_of(items: Any, wanted: Any) -> int:
    for number, item in enumerate(items):
        if _same(item, wanted):
            return number
    return -1


def _copy(source: Any, source_start: int, target: Any, target_start: int, count: int) -> None:
    if (
        min(source_start, target_start, count) < 0
        or source_start + count > len(source)
        or target_start + count > len(target)
    ):
        raise NetException(
            "System.ArgumentException",
            "Source array was not long enough. Check srcIndex and length, and the array's lower bounds.",
        )
    target[target_start : target_start + count] = source[source_start : source_start + count]


_LIST_INTERFACES = ("System.Collections.IList", "System.Collections.ICollection", "System.Collections.IEnumerable")
ARRAY = DotNetType(
    "System.Array",
    base=OBJECT,
    interfaces=_LIST_INTERFACES,
    statics={
        "IndexOf": method(lambda items, wanted: _index_of(elements(items), wanted), "array", "object"),
        "Reverse": method(lambda items: items.reverse(), "array"),
        "Sort": method(lambda items: items.sort(), "array"),
        "Copy": method(lambda source, target, count: _copy(source, 0, target, 0, count), "array", "array", "int")
        | method(_copy, "array", "int", "array", "int", "int"),
    },
    members={
        "Length": Property(len),
        "Count": Property(len),
        "LongLength": Property(len),
        "Rank": Property(lambda array: 1),
        "IsFixedSize": Property(lambda array: True),
        "IsReadOnly": Property(lambda array: False),
        "Contains": method(lambda array, wanted: _index_of(elements(array), wanted) >= 0, "object"),
        "IndexOf": method(lambda array, wanted: _index_of(elements(array), wanted), "object"),
        "GetLength": method(lambda array, dimension: len(array), "int"),
        "GetUpperBound": method(lambda array, dimension: len(array) - 1, "int"),
        "Clone": method(lambda array: _clone(array)),
        "CopyTo": method(lambda array, target, start: _copy(array, 0, target, start, len(array)), "array", "int"),
        "SetValue": method(lambda array, value, number: array.__setitem__(number, value), "object", "int"),
        "GetValue": method(lambda array, number: elements(array)[number], "int", nullable=True),
        "Add": method(lambda array, item: _fixed(), "object"),
        "Remove": method(lambda array, item: _fixed(), "object"),
    },
)


def _clone(array: Any) -> Any:
    return TypedArray(array, array.element) if isinstance(array, TypedArray) else array[:]


def _fixed() -> None:
    raise NetException("System.NotSupportedException", "Collection was of a fixed size.")


def _check(growing: GrowingList, number: int) -> None:
    if not 0 <= number < len(growing.items):
        raise NetException(
            "System.ArgumentOutOfRangeException",
            "Index was out of range. Must be non-negative and less than the size of the collection.\r\n"
            "Parameter name: index",
        )


def _typed(engine: Any, growing: GrowingList, item: Any) -> Any:
    return engine.conversions.growing(growing, item)


def _add(engine: Any, growing: GrowingList, item: Any) -> int | None:
    growing.items.append(_typed(engine, growing, item))
    return len(growing.items) - 1 if isinstance(growing, ArrayList) else None


def _add_range(engine: Any, growing: GrowingList, items: Any) -> None:
    growing.items.extend(_typed(engine, growing, item) for item in elements(items))


def _insert(engine: Any, growing: GrowingList, number: int, item: Any) -> None:
    growing.items.insert(number, _typed(engine, growing, item))


def _remove(growing: GrowingList, item: Any) -> bool | None:
    found = _index_of(growing.items, item)
    if found >= 0:
        del growing.items[found]
    return found >= 0 if isinstance(growing, GenericList) else None


def _remove_at(growing: GrowingList, number: int) -> None:
    _check(growing, number)
    del growing.items[number]


def _remove_range(growing: GrowingList, start: int, count: int) -> None:
    del growing.items[start : start + count]


def _part(growing: GrowingList, start: int, count: int) -> GrowingList:
    if isinstance(growing, GenericList):
        return GenericList(growing.items[start : start + count], growing.element)
    return ArrayList(growing.items[start : start + count])


def _to_array(growing: GrowingList) -> Any:
    if isinstance(growing, GenericList) and growing.element != "System.Object":
        if growing.element == "System.Byte":
            return bytearray(growing.items)
        return TypedArray(growing.items, growing.element)
    return list(growing.items)


_LIST_MEMBERS: dict[str, Member] = {
    "Count": Property(len),
    "Add": method(_add, "object", engine=True),
    "AddRange": method(_add_range, "array", engine=True),
    "Insert": method(_insert, "int", "object", engine=True),
    "Remove": method(_remove, "object"),
    "RemoveAt": method(_remove_at, "int"),
    "RemoveRange": method(_remove_range, "int", "int"),
    "GetRange": method(_part, "int", "int"),
    "Clear": method(lambda growing: growing.items.clear()),
    "Contains": method(lambda growing, item: _index_of(growing.items, item) >= 0, "object"),
    "IndexOf": method(lambda growing, item: _index_of(growing.items, item), "object"),
    "Reverse": method(lambda growing: growing.items.reverse()),
    "Sort": method(lambda growing: growing.items.sort()),
    "ToArray": method(_to_array),
}
ARRAY_LIST = DotNetType(
    "System.Collections.ArrayList",
    base=OBJECT,
    interfaces=_LIST_INTERFACES,
    python=ArrayList,
    new=method(ArrayList)
    | method(lambda size: ArrayList(), "int")
    | method(lambda items: ArrayList(elements(items)), "array"),
    members=_LIST_MEMBERS,
)
LIST = DotNetType("System.Collections.Generic.List", base=OBJECT, interfaces=_LIST_INTERFACES, members=_LIST_MEMBERS)


def _add_entry(table: Hashtable, key: Any, value: Any) -> None:
    if key in table:
        raise NetException(
            "System.ArgumentException",
            f"Item has already been added. Key in dictionary: '{key}'  Key being added: '{key}'",
        )
    table[key] = value


def _remove_entry(table: Hashtable, key: Any) -> bool | None:
    found = key in table
    if found:
        del table[key]
    return found if table.case_sensitive else None


class Entry:
    """A pair of a hash table."""

    def __init__(self, key: Any, value: Any) -> None:
        self.key = key
        self.value = value


def _entries(table: Hashtable) -> TableView:
    return TableView((Entry(key, value) for key, value in table.items()), table)


HASHTABLE = DotNetType(
    "System.Collections.Hashtable",
    base=OBJECT,
    interfaces=("System.Collections.IDictionary", "System.Collections.ICollection", "System.Collections.IEnumerable"),
    python=Hashtable,
    new=method(Hashtable)
    | method(lambda table: Hashtable(table), "hashtable")
    | method(lambda size: Hashtable(), "int"),
    members={
        "Count": Property(len),
        "Keys": Property(lambda table: TableView(table, table)),
        "Values": Property(lambda table: TableView(table.values(), table)),
        "IsReadOnly": Property(lambda table: False),
        "IsFixedSize": Property(lambda table: False),
        "ContainsKey": method(lambda table, key: key in table, "object"),
        "Contains": method(lambda table, key: key in table, "object"),
        "ContainsValue": method(lambda table, value: any(_same(item, value) for item in table.values()), "object"),
        "Add": method(_add_entry, "object", "object"),
        "Remove": method(_remove_entry, "object"),
        "Clear": method(Hashtable.clear),
        "Clone": method(lambda table: type(table)(table)),
        "GetEnumerator": method(_entries),
    },
)
DICTIONARY = DotNetType("System.Collections.IDictionary", base=OBJECT)
ORDERED = DotNetType(
    "System.Collections.Specialized.OrderedDictionary",
    base=HASHTABLE,
    python=OrderedHashtable,
    new=method(OrderedHashtable),
    members={"Insert": method(OrderedHashtable.insert, "int", "object", "object")},
)
VIEW = DotNetType(
    "System.Collections.ICollection",
    base=OBJECT,
    interfaces=("System.Collections.IEnumerable",),
    python=TableView,
    members={
        "Count": Property(len),
        "CopyTo": method(lambda view, target, start: _copy(view.items, 0, target, start, len(view)), "array", "int"),
    },
)
ENTRY = DotNetType(
    "System.Collections.DictionaryEntry",
    base=OBJECT,
    python=Entry,
    members={
        "Key": Property(lambda entry: entry.key),
        "Name": Property(lambda entry: entry.key),
        "Value": Property(lambda entry: entry.value),
    },
)
PSOBJECT = DotNetType("System.Management.Automation.PSObject", base=OBJECT, python=PSObject, new=method(PSObject))
CUSTOM = DotNetType("System.Management.Automation.PSCustomObject", base=OBJECT)


def _remove_property(properties: PropertyList, name: str) -> None:
    target = properties.target
    if isinstance(target, PSObject) and name in target:
        del target[name]


_NULL = NullString()
NULL_STRING = DotNetType(
    "System.Management.Automation.Language.NullString",
    base=OBJECT,
    python=NullString,
    accelerators=("NullString",),
    statics={"Value": Property(lambda: _NULL)},
    text=lambda value: "",
)
BAG = DotNetType(
    "System.Management.Automation.PSMemberSet",
    base=OBJECT,
    python=PropertyBag,
    members={
        "Properties": Property(lambda bag: PropertyList(bag.target, bag.members)),
        "TypeNames": Property(lambda bag: ArrayList(bag.members.registry.names_of(bag.target))),
        "BaseObject": Property(lambda bag: bag.target),
        "Copy": method(lambda bag: bag.target.copy()),
    },
)
PROPERTIES = DotNetType(
    "System.Management.Automation.PSMemberInfoCollection",
    base=OBJECT,
    python=PropertyList,
    members={
        "Item": method(PropertyList.find, "string", nullable=True),
        "Match": method(lambda properties, name: [p for p in [properties.find(name)] if p], "string"),
        "Remove": method(_remove_property, "string"),
    },
)
PROPERTY = DotNetType(
    "System.Management.Automation.PSPropertyInfo",
    base=OBJECT,
    python=PropertyInfo,
    members={
        "Name": Property(lambda info: info.name),
        "Value": Property(lambda info: info.value, lambda info, value: _set_property(info, value)),
        "MemberType": Property(lambda info: "NoteProperty" if isinstance(info.target, PSObject) else "Property"),
    },
)


def _set_property(info: PropertyInfo, value: Any) -> None:
    if not isinstance(info.target, PSObject):
        raise NetException("System.InvalidOperationException", f"'{info.name}' is a ReadOnly property.")
    info.target[info.name] = value


TYPES = [
    VIEW, ARRAY, ARRAY_LIST, LIST, HASHTABLE, DICTIONARY, ORDERED, ENTRY, PSOBJECT, CUSTOM, NULL_STRING, BAG,
    PROPERTIES, PROPERTY,
]  # fmt: skip

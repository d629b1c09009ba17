"""Cmdlets that filter, sort, group and make objects."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from functools import cmp_to_key
from typing import Any

from ..commands import Call, Parameter, command
from ..errors import PowerShellError, Refusal
from ..numbers import is_number
from ..patterns import has_wildcards, wildcard
from ..registry import ArrayType
from ..typesystem import DotNetType
from ..values import (
    ArrayList,
    Hashtable,
    Nothing,
    PSObject,
    ScriptBlock,
    collected,
    elements,
    flat,
    or_null,
)

_INPUT = Parameter("InputObject", "object", from_pipeline=True)


def objects(call: Call) -> Iterator[Any]:
    """The pipeline's objects, or what -InputObject gave as one object."""
    if call.piped:
        yield from call.input
    elif call.has("InputObject"):
        yield call.get("InputObject")


def read(call: Call, item: Any, name: str) -> Any:
    """A property that may be missing: then Nothing."""
    if isinstance(item, Hashtable):
        raise Refusal("UnknownMember", f"{call.command.name} with the property {name} of a hash table")
    if isinstance(item, PSObject):
        if name in item:
            return item[name]
        if item.complete or item.type_names[0].endswith("PSCustomObject"):
            return Nothing
    if item is None:
        return Nothing
    members = call.interpreter.members
    for known in members.property_names(item):
        if known.lower() == name.lower():
            return members.property_value(item, known)
    if isinstance(item, str) or is_number(item):
        return Nothing
    return members.get(item, name, call.context)


def evaluate(call: Call, item: Any, wanted: Any) -> Any:
    """The value of a property given by its name or as a script block."""
    if isinstance(wanted, ScriptBlock):
        return collected(list(call.invoke(wanted, item)))
    return read(call, item, call.text(wanted))


def calculated(call: Call, wanted: Hashtable, allowed: tuple[str, ...]) -> dict[str, Any]:
    """A calculated property's entries by their full names (about_Calculated_Properties)."""
    made: dict[str, Any] = {}
    for key, value in wanted.items():
        name = call.text(key).lower()
        name = {"n": "name", "label": "name", "l": "name", "e": "expression"}.get(name, name)
        if name not in allowed:
            raise Refusal("UnknownParameter", f"{call.command.name} -Property @{{ {call.text(key)} = ... }}")
        made[name] = value
    if "expression" not in made:
        raise Refusal("UnknownParameter", f"{call.command.name} -Property @{{ }} without Expression")
    return made


@command("Where-Object", Parameter("FilterScript", "scriptblock", position=0, mandatory=True), _INPUT)
def where_object(call: Call) -> Iterator[object]:
    """Where-Object with a script block."""
    block = call.get("FilterScript")
    for item in objects(call):
        if call.interpreter.conversions.truth(collected(list(call.invoke(block, item)))):
            yield item


@command(
    "ForEach-Object",
    Parameter("Process", "scriptblock", position=0, mandatory=True),
    Parameter("Begin", "scriptblock"),
    Parameter("End", "scriptblock"),
    _INPUT,
)
def foreach_object(call: Call) -> Iterator[object]:
    """ForEach-Object with script blocks."""
    if call.has("Begin"):
        yield from call.invoke(call.get("Begin"))
    for item in objects(call):
        yield from call.invoke(call.get("Process"), item)
    if call.has("End"):
        yield from call.invoke(call.get("End"))


def _columns(call: Call, item: Any, wanted: Iterable[Any], excluded: list[str]) -> Iterator[tuple[str, Any]]:
    for one in wanted:
        if isinstance(one, Hashtable):
            entries = calculated(call, one, ("name", "expression"))
            value = evaluate(call, item, entries["expression"])
            name = call.text(entries.get("name", entries["expression"]))
            yield name, or_null(value)
            continue
        text = call.text(one)
        if isinstance(one, ScriptBlock):
            value = evaluate(call, item, one)
            yield text, or_null(value)
        elif has_wildcards(text):
            pattern = wildcard(text)
            for name in call.interpreter.members.property_names(item):
                if pattern.fullmatch(name) and not any(wildcard(no).fullmatch(name) for no in excluded):
                    yield name, call.interpreter.members.property_value(item, name)
        elif not any(wildcard(no).fullmatch(text) for no in excluded):
            value = read(call, item, text)
            yield text, or_null(value)


def _selected(call: Call, item: Any) -> Iterator[Any]:
    if call.has("ExpandProperty"):
        name = call.get("ExpandProperty")
        value = read(call, item, name)
        if value is Nothing:
            call.write_error(f'Property "{name}" cannot be found.', "ExpandPropertyNotFound", "InvalidArgument", item)
            return
        if call.has("Property"):
            raise Refusal("UnknownParameter", "Select-Object -Property together with -ExpandProperty")
        yield from flat(value)
    elif call.has("Property"):
        names = call.interpreter.conversions.registry.names_of(item)
        kind = "System.Management.Automation.PSCustomObject" if isinstance(item, PSObject) else names[0]
        excluded = [call.text(name) for name in call.get("ExcludeProperty", [])]
        pairs = dict(_columns(call, item, call.get("Property"), excluded))
        yield PSObject(pairs, (f"Selected.{kind}", "System.Management.Automation.PSCustomObject"))
    elif call.has("ExcludeProperty"):
        raise Refusal("UnknownParameter", "Select-Object -ExcludeProperty without -Property")
    else:
        yield item


def _unique(call: Call, items: Iterable[Any]) -> Iterator[Any]:
    kept: list[Any] = []
    for item in items:
        if not any(_same(call, item, other) for other in kept):
            kept.append(item)
            yield item


def _same(call: Call, left: Any, right: Any) -> bool:
    """Select-Object -Unique compares with case; custom objects by their properties."""
    if isinstance(left, PSObject) and isinstance(right, PSObject):
        mine, other = dict(left.items()), dict(right.items())
        return list(mine) == list(other) and all(_same(call, mine[name], other[name]) for name in mine)
    return call.interpreter.operators.equal(left, right, True)


@command(
    "Select-Object",
    Parameter("Property", "object[]", position=0),
    Parameter("ExcludeProperty", "string[]"),
    Parameter("ExpandProperty", "string"),
    Parameter("First", "int"),
    Parameter("Last", "int"),
    Parameter("Skip", "int"),
    Parameter("Index", "int[]"),
    Parameter("Unique", "switch"),
    _INPUT,
)
def select_object(call: Call) -> Iterator[object]:
    """Select-Object; -First ends the commands before it as soon as it has enough."""

    def chosen() -> Iterator[Any]:
        first, skip = call.get("First"), call.get("Skip", 0)
        if call.has("Index"):
            items = list(objects(call))
            yield from (items[number] for number in sorted(set(call.get("Index"))) if 0 <= number < len(items))
            return
        if call.has("Last"):
            items = list(objects(call))
            items = items[: len(items) - skip] if skip else items
            yield from items[-call.get("Last") :] if call.get("Last") else []
            return
        taken = 0
        if first is not None and first == 0:
            call.stop_input()
            return
        for number, item in enumerate(objects(call)):
            if number < skip:
                continue
            yield item
            taken += 1
            if first is not None and taken >= first:
                call.stop_input()
                return

    made = (part for item in chosen() for part in _selected(call, item))
    yield from _unique(call, made) if call.switch("Unique") else made


def _comparer(call: Call) -> Callable[[Any, Any], int]:
    case = call.switch("CaseSensitive")
    order = call.interpreter.operators.order

    def compare(left: Any, right: Any) -> int:
        left, right = or_null(left), or_null(right)
        try:
            return order(left, right, case)
        except Refusal:
            raise
        except PowerShellError:
            return order(call.text(left), call.text(right), case)

    return compare


@command(
    "Sort-Object",
    Parameter("Property", "object[]", position=0),
    Parameter("Descending", "switch"),
    Parameter("Unique", "switch"),
    Parameter("CaseSensitive", "switch"),
    _INPUT,
)
def sort_object(call: Call) -> Iterator[object]:
    """Sort-Object by one or more properties."""
    items = list(objects(call))
    compare = _comparer(call)
    keys: list[tuple[Any, bool]] = []
    for wanted in call.get("Property", [None]):
        descending = call.switch("Descending")
        if isinstance(wanted, Hashtable):
            entries = calculated(call, wanted, ("expression", "descending", "ascending"))
            if "descending" in entries:
                descending = call.interpreter.conversions.truth(entries["descending"])
            if "ascending" in entries:
                descending = not call.interpreter.conversions.truth(entries["ascending"])
            wanted = entries["expression"]
        keys.append((wanted, descending))
    rows = [([item if key is None else evaluate(call, item, key) for key, _ in keys], item) for item in items]

    def order(left: tuple[list[Any], Any], right: tuple[list[Any], Any]) -> int:
        for (_, descending), one, two in zip(keys, left[0], right[0], strict=True):
            found = compare(one, two)
            if found:
                return -found if descending else found
        return 0

    rows.sort(key=cmp_to_key(order))
    last: tuple[list[Any], Any] | None = None
    for row in rows:
        if call.switch("Unique") and last is not None and order(last, row) == 0:
            continue
        last = row
        yield row[1]


@command(
    "Measure-Object",
    Parameter("Property", "string[]", position=0),
    Parameter("Sum", "switch"),
    Parameter("Average", "switch"),
    Parameter("Minimum", "switch"),
    Parameter("Maximum", "switch"),
    _INPUT,
)
def measure_object(call: Call) -> Iterator[object]:
    """Measure-Object: how many, and of numbers their sum, mean and limits as [double]."""
    items = [item for item in objects(call) if item is not None]
    for name in call.get("Property", [None]):
        values = [item if name is None else read(call, item, name) for item in items]
        values = [value for value in values if value is not Nothing and value is not None]
        if name is not None and not values and items:
            call.write_error(
                f'The property "{name}" cannot be found in the input for any objects.',
                "GenericMeasurePropertyNotFound",
                "InvalidArgument",
                exception="System.Management.Automation.PSArgumentException",
            )
            continue
        wants = [option for option in ("Sum", "Average", "Minimum", "Maximum") if call.switch(option)]
        numbers = [float(call.interpreter.conversions.cast(value, "double")) for value in values] if wants else []
        total = sum(numbers)
        yield PSObject(
            {
                "Count": len(values),
                "Average": total / len(numbers) if "Average" in wants and numbers else None,
                "Sum": total if "Sum" in wants and numbers else None,
                "Maximum": max(numbers) if "Maximum" in wants and numbers else None,
                "Minimum": min(numbers) if "Minimum" in wants and numbers else None,
                "Property": name,
            },
            "Microsoft.PowerShell.Commands.GenericMeasureInfo",
            complete=True,
        )


@command(
    "Group-Object",
    Parameter("Property", "object[]", position=0),
    Parameter("NoElement", "switch"),
    Parameter("AsHashTable", "switch"),
    Parameter("AsString", "switch"),
    Parameter("CaseSensitive", "switch"),
    _INPUT,
)
def group_object(call: Call) -> Iterator[object]:
    """Group-Object by one or more properties."""
    groups: list[tuple[list[Any], list[Any]]] = []
    equal = call.interpreter.operators.equal
    for item in objects(call):
        wanted = call.get("Property")
        found = [item] if wanted is None else [evaluate(call, item, one) for one in wanted]
        key = [or_null(value) for value in found]
        for known, members in groups:
            if all(equal(one, two, call.switch("CaseSensitive")) for one, two in zip(known, key, strict=True)):
                members.append(item)
                break
        else:
            groups.append((key, [item]))
    if call.switch("AsHashTable"):
        table = Hashtable()
        for key, members in groups:
            name = key[0] if len(key) == 1 else key
            table[call.text(name) if call.switch("AsString") else name] = members
        yield table
        return
    for key, members in groups:
        made = PSObject(
            {"Count": len(members), "Name": ", ".join(map(call.text, key)), "Group": members, "Values": ArrayList(key)},
            "Microsoft.PowerShell.Commands.GroupInfo",
            complete=True,
        )
        if call.switch("NoElement"):
            del made["Group"]
        yield made


@command(
    "Compare-Object",
    Parameter("ReferenceObject", "object[]", position=0, mandatory=True, empty=True),
    Parameter("DifferenceObject", "object[]", position=1, mandatory=True, empty=True, from_pipeline=True),
    Parameter("IncludeEqual", "switch"),
    Parameter("ExcludeDifferent", "switch"),
    Parameter("CaseSensitive", "switch"),
)
def compare_object(call: Call) -> Iterator[object]:
    """Compare-Object of whole objects, whatever their order."""
    difference = list(call.input) if call.piped else elements(call.get("DifferenceObject"))
    left = elements(call.get("ReferenceObject"))
    equal = call.interpreter.operators.equal
    found: list[tuple[Any, str]] = []
    rest: list[Any] = []
    for item in difference:
        for number, other in enumerate(left):
            if equal(other, item, call.switch("CaseSensitive")):
                found.append((other, "=="))
                del left[number]
                break
        else:
            rest.append(item)
    sides = found if call.switch("IncludeEqual") else []
    if not call.switch("ExcludeDifferent"):
        sides = [*sides, *((item, "=>") for item in rest), *((item, "<=") for item in left)]
    for item, side in sides:
        yield PSObject({"InputObject": item, "SideIndicator": side})


@command(
    "Add-Member",
    Parameter("MemberType", "string", position=0, choices=("NoteProperty",)),
    Parameter("Name", "string", position=1),
    Parameter("Value", "object", position=2),
    Parameter("NotePropertyName", "string"),
    Parameter("NotePropertyValue", "object"),
    Parameter("NotePropertyMembers", "hashtable"),
    Parameter("Force", "switch"),
    Parameter("PassThru", "switch"),
    Parameter("InputObject", "object", from_pipeline=True, mandatory=True),
)
def add_member(call: Call) -> Iterator[object]:
    """Add-Member: properties of custom objects."""
    for record in call.records():
        target = record["InputObject"]
        if not isinstance(target, PSObject):
            raise Refusal("UnknownMember", "Add-Member for other than a custom object")
        pairs = {call.text(key): value for key, value in call.get("NotePropertyMembers", {}).items()}
        name = call.get("NotePropertyName", call.get("Name"))
        if name is not None:
            pairs[name] = call.get("NotePropertyValue", call.get("Value"))
        for key, value in pairs.items():
            if key in target and not call.switch("Force"):
                call.write_error(
                    f'Cannot add a member with the name "{key}" because a member with that name already '
                    f"exists. To overwrite "
                    "the member anyway, add the Force parameter to your command.",
                    "MemberAlreadyExists",
                    "InvalidOperation",
                    target,
                    exception="System.InvalidOperationException",
                )
                continue
            target[key] = value
        if call.switch("PassThru"):
            yield target


@command(
    "New-Object",
    Parameter("TypeName", "string", position=0),
    Parameter("ArgumentList", "object[]", position=1),
    Parameter("Property", "hashtable"),
    Parameter("ComObject", "string"),
)
def new_object(call: Call) -> Iterator[object]:
    """New-Object of a .NET type, or of a COM class that the engine was given as a type of its name."""
    if not call.has("ComObject") and not call.has("TypeName"):
        raise PowerShellError(
            "Cannot process command because of one or more missing mandatory parameters: TypeName.",
            "MissingMandatoryParameter",
            "InvalidArgument",
            exception="System.Management.Automation.ParameterBindingException",
        )
    kind = call.interpreter.conversions.registry.get(call.get("ComObject") or call.get("TypeName"))
    arguments = call.get("ArgumentList") or []
    made = _created(call, kind, arguments)
    for name, value in (call.get("Property") or {}).items():
        if isinstance(made, PSObject):
            made[call.text(name)] = value
        else:
            call.interpreter.members.set(made, call.text(name), value)
    yield made


def _created(call: Call, kind: DotNetType, arguments: list[Any]) -> Any:
    if isinstance(kind, ArrayType) and not arguments:
        raise Refusal("UnknownMember", f"New-Object {kind.name} without a size")
    try:
        return call.interpreter.members.create(kind, arguments)
    except Refusal:
        raise
    except PowerShellError as error:
        error.record.error_id = "ConstructorInvokedThrowException"
        error.record.category = "InvalidOperation"
        raise


@command("Get-Unique", Parameter("AsString", "switch"), _INPUT)
def get_unique(call: Call) -> Iterator[object]:
    """Get-Unique of what is sorted."""
    last: Any = Nothing
    for item in objects(call):
        if last is Nothing or not call.interpreter.operators.equal(last, item, not call.switch("AsString")):
            yield item
        last = item


@command(
    "Get-Random",
    Parameter("Maximum", "object", position=0),
    Parameter("Minimum", "object"),
    Parameter("Count", "int"),
    Parameter("InputObject", "object[]", from_pipeline=True),
)
def get_random(call: Call) -> Iterator[object]:
    """Get-Random: a whole number, or some of the objects."""
    items = list(call.input) if call.piped else call.get("InputObject")
    if items is not None:
        yield from random.sample(items, min(call.get("Count", 1), len(items)))
        return
    low = int(call.interpreter.conversions.cast(call.get("Minimum", 0), "int"))
    high = int(call.interpreter.conversions.cast(call.get("Maximum", 2**31 - 1), "int"))
    yield random.randrange(low, high)


COMMANDS = [
    where_object, foreach_object, select_object, sort_object, measure_object, group_object, compare_object, add_member,
    new_object, get_unique, get_random,
]  # fmt: skip

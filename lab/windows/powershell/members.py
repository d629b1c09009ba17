"""Members of values: properties, methods, indexes (about_Properties, about_Methods,
about_Member-Access_Enumeration)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import NetException, PowerShellError, Refusal
from .numbers import INTEGERS, is_number
from .registry import ArrayType
from .scopes import Context
from .typesystem import DotNetType, EnumType, EnumValue, Method, Overload, Property
from .values import (
    ArrayList,
    Byte,
    Char,
    GenericList,
    GrowingList,
    Hashtable,
    Nothing,
    OrderedHashtable,
    PSObject,
    ScriptBlock,
    TableView,
    TypedArray,
    collected,
    elements,
    enumerates,
    listed,
)

if TYPE_CHECKING:
    from .interpreter import Interpreter

# Values of these types have no other properties than those modelled: another name is the script's mistake.
_COMPLETE = {
    "System.String", "System.Char", "System.Boolean", "System.Int32", "System.Int64", "System.UInt32", "System.UInt64",
    "System.Int16", "System.UInt16", "System.Byte", "System.SByte", "System.Double", "System.Single", "System.Decimal",
    "System.Management.Automation.SwitchParameter", "System.DateTime", "System.TimeSpan", "System.Guid",
    "System.Collections.ArrayList", "System.Management.Automation.ErrorRecord", "System.Version",
}  # fmt: skip
_SIZES = ("count", "length")
_CUSTOM = "System.Management.Automation.PSCustomObject"


class NullString:
    """[NullString]::Value: $null for a parameter of text, where $null itself becomes an empty text."""


class PropertyBag:
    """$object.PSObject: what an object is made of."""

    def __init__(self, target: object, members: Members) -> None:
        self.target = target
        self.members = members


class PropertyList:
    """$object.PSObject.Properties: enumerates PropertyInfo, finds one by its name in []."""

    def __init__(self, target: object, members: Members) -> None:
        self.target = target
        self.members = members

    def all(self) -> list[Any]:
        """All properties."""
        return [PropertyInfo(self.target, name, self.members) for name in self.members.property_names(self.target)]

    def find(self, name: str) -> PropertyInfo | None:
        """One by its name, whatever its case."""
        for known in self.members.property_names(self.target):
            if known.lower() == name.lower():
                return PropertyInfo(self.target, known, self.members)
        return None


class PropertyInfo:
    """One property of an object."""

    def __init__(self, target: object, name: str, members: Members) -> None:
        self.target = target
        self.name = name
        self.members = members

    @property
    def value(self) -> Any:
        """Its value."""
        return self.members.property_value(self.target, self.name)


class Members:
    """Access to members for the interpreter."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.conversions = interpreter.conversions
        self.registry = interpreter.conversions.registry
        self._types: dict[int, tuple[Overload, list[DotNetType]]] = {}

    # --- reading properties -------------------------------------------------------------------------------------

    def get(self, target: Any, name: str, ctx: Context, *, enumerating: bool = True) -> Any:
        """target.name"""
        if target is Nothing:
            target = None
        key = name.lower()
        if target is None:
            return self._missing(target, name, ctx)
        if isinstance(target, Hashtable | PSObject) and name in target:
            return target[name]
        if key == "psobject":
            return PropertyBag(target, self)
        if key == "pstypenames":
            return ArrayList(self.registry.names_of(target))
        if isinstance(target, PropertyList) and enumerating:
            return self._enumerated(target.all(), name, ctx)
        if isinstance(target, EnumValue) and key == "value__":
            return target.value
        kind = self.registry.type_of(target)
        member = kind.member(name)
        if isinstance(member, Property):
            return self._read(member, name, target)
        if isinstance(member, Method):
            raise Refusal("UnknownMember", f"the method {kind.name}.{name} without parentheses")
        if enumerates(target) and enumerating:
            return self._enumerated(elements(target), name, ctx)
        if isinstance(target, NetException) and name in target.properties:
            return target.properties[name]
        if self._is_complete(target, kind) or key in _SIZES:
            return self._missing(target, name, ctx)
        raise Refusal("UnknownMember", f"the property {name} of a {kind.name}")

    def _is_complete(self, target: Any, kind: DotNetType) -> bool:
        if isinstance(target, PSObject):
            return target.type_names[0] == _CUSTOM or target.type_names[0].startswith("Selected.") or target.complete
        return isinstance(target, Hashtable | list | EnumValue | PropertyInfo) or kind.name in _COMPLETE

    def _missing(self, target: Any, name: str, ctx: Context) -> Any:
        """What a property that does not exist comes to: an error in strict mode from version 2 on, else $null, or the
        size of a single value (about_Properties, Set-StrictMode)."""
        if ctx.scope.strict >= 2:
            raise self.not_found(name)
        if name.lower() in _SIZES and not isinstance(target, PSObject):
            return 0 if target is None else 1
        return None

    def not_found(self, name: str) -> PowerShellError:
        """The error of a property that does not exist, in strict mode."""
        return PowerShellError(
            f"The property '{name}' cannot be found on this object. Verify that the property exists.",
            "PropertyNotFoundStrict",
            "NotSpecified",
            exception="System.Management.Automation.PropertyNotFoundException",
        )

    def _enumerated(self, items: list[Any], name: str, ctx: Context) -> Any:
        """The property of every element of a collection (about_Member-Access_Enumeration)."""
        found: list[Any] = []
        for item in items:
            if item is None and ctx.scope.strict < 2:
                continue
            value = self._of_element(item, name, ctx)
            if value is Nothing:
                continue
            found.extend(listed(value))
        if not found and ctx.scope.strict >= 2:
            raise self.not_found(name)
        if not found:
            return None
        return found[0] if len(found) == 1 else found

    def _of_element(self, item: Any, name: str, ctx: Context) -> Any:
        """As `get`, with Nothing for what does not exist, so that it leaves no $null among the values."""
        value = self.get(item, name, ctx, enumerating=False)
        if value is None and not self._has(item, name):
            return Nothing
        return value

    def _has(self, item: Any, name: str) -> bool:
        if isinstance(item, PSObject | Hashtable) and name in item:
            return True
        return isinstance(item, NetException) or (
            item is not None and self.registry.type_of(item).member(name) is not None
        )

    def _read(self, member: Property, name: str, *target: Any) -> Any:
        try:
            if member.engine:
                return member.get(self.interpreter.engine, *target)
            return member.get(*target)
        except NetException as error:
            message = f'Exception getting "{name}": "{error.message}"'
            raise PowerShellError(
                message,
                "ExceptionWhenGetting",
                exception=NetException("System.Management.Automation.GetValueInvocationException", message, error),
            ) from error

    def property_names(self, target: Any) -> list[str]:
        """The names of an object's properties, in order."""
        if isinstance(target, PSObject):
            return target.names()
        if isinstance(target, Hashtable):
            return ["IsReadOnly", "IsFixedSize", "IsSynchronized", "Keys", "Values", "SyncRoot", "Count"]
        kind: DotNetType | None = self.registry.type_of(target)
        found: list[str] = []
        while kind:
            found.extend(name for name, member in kind.members.values() if isinstance(member, Property))
            kind = kind.base
        return found

    def property_value(self, target: Any, name: str) -> Any:
        """A property that is known to exist."""
        if isinstance(target, PSObject):
            return target[name]
        member = self.registry.type_of(target).member(name)
        if not isinstance(member, Property):
            raise Refusal("UnknownMember", f"the property {name} of a {self.registry.type_of(target).name}")
        return self._read(member, name, target)

    # --- writing properties -------------------------------------------------------------------------------------

    def set(self, target: Any, name: str, value: Any) -> None:
        """target.name = value"""
        if isinstance(target, Hashtable) or (isinstance(target, PSObject) and name in target):
            target[name] = value
            return
        if target is None or target is Nothing:
            raise self._not_settable(name)
        kind = self.registry.type_of(target)
        member = kind.member(name)
        if isinstance(member, Property) and member.set:
            self._write(member, name, self.conversions.cast(value, member.kind), target)
            return
        if isinstance(member, Property):
            raise PowerShellError(
                f"'{name}' is a ReadOnly property.", "PropertyAssignmentException", "InvalidOperation"
            )
        if self._is_complete(target, kind) or enumerates(target):
            raise self._not_settable(name)
        raise Refusal("UnknownMember", f"setting the property {name} of a {kind.name}")

    def _not_settable(self, name: str) -> PowerShellError:
        return PowerShellError(
            f"The property '{name}' cannot be found on this object. Verify that the property exists and can be set.",
            "PropertyNotFound",
            "InvalidOperation",
            exception="System.Management.Automation.RuntimeException",
        )

    def _write(self, member: Property, name: str, value: Any, *target: Any) -> None:
        assert member.set
        try:
            if member.engine:
                member.set(self.interpreter.engine, *target, value)
            else:
                member.set(*target, value)
        except NetException as error:
            message = f'Exception setting "{name}": "{error.message}"'
            raise PowerShellError(
                message,
                "ExceptionWhenSetting",
                exception=NetException("System.Management.Automation.SetValueInvocationException", message, error),
            ) from error

    # --- static members -----------------------------------------------------------------------------------------

    def _type(self, target: Any) -> DotNetType:
        if isinstance(target, DotNetType):
            return target
        raise Refusal("UnknownMember", "a static member of a value")

    def get_static(self, target: Any, name: str) -> Any:
        """[type]::name"""
        kind = self._type(target)
        if isinstance(kind, EnumType):
            found = kind.named(name)
            if found:
                return found
        member = kind.static(name)
        if isinstance(member, Property):
            return self._read(member, name)
        raise Refusal("UnknownMember", f"[{kind.name}]::{name}")

    def set_static(self, target: Any, name: str, value: Any) -> None:
        """[type]::name = value"""
        kind = self._type(target)
        member = kind.static(name)
        if not isinstance(member, Property) or not member.set:
            raise Refusal("UnknownMember", f"setting [{kind.name}]::{name}")
        self._write(member, name, self.conversions.cast(value, member.kind))

    def call_static(self, target: Any, name: str, arguments: list[Any]) -> Any:
        """[type]::name(arguments); [type]::new(arguments) makes an instance."""
        kind = self._type(target)
        if name.lower() == "new":
            return self.create(kind, arguments)
        member = kind.static(name)
        if not isinstance(member, Method):
            raise Refusal("UnknownMember", f"[{kind.name}]::{name}()")
        return self.invoke(member, name, kind, arguments)

    def create(self, kind: DotNetType, arguments: list[Any]) -> Any:
        """A new instance."""
        if isinstance(kind, ArrayType):
            count = int(self.conversions.cast(arguments[0], "int")) if len(arguments) == 1 else None
            if count is None:
                raise Refusal("UnknownMember", f"[{kind.name}]::new() with {len(arguments)} arguments")
            return self.array(kind, count)
        if kind.new is None:
            raise Refusal("UnknownMember", f"[{kind.name}]::new()")
        return self.invoke(kind.new, ".ctor", kind, arguments)

    def array(self, kind: ArrayType, count: int) -> Any:
        """A new array of that many elements, all of them the type's default."""
        name = kind.element.name
        if name == "System.Byte":
            return bytearray(count)
        zero: Any = None
        if name in ("System.Boolean", "System.Char") or name.startswith(("System.Int", "System.UInt", "System.Double")):
            zero = self.conversions.to(0, kind.element)
        return [None] * count if name == "System.Object" else TypedArray([zero] * count, name)

    # --- methods ------------------------------------------------------------------------------------------------

    def call(self, target: Any, name: str, arguments: list[Any], ctx: Context) -> Any:
        """target.name(arguments)"""
        if target is Nothing:
            target = None
        key = name.lower()
        if target is None:
            raise PowerShellError(
                "You cannot call a method on a null-valued expression.", "InvokeMethodOnNull", "InvalidOperation"
            )
        if key in ("where", "foreach") and not isinstance(target, Hashtable):
            return self._collection_method(key, target, arguments, ctx)
        if isinstance(target, ScriptBlock):
            found = self._script_block_method(key, target, arguments, ctx)
            if found is not NotImplemented:
                return found
        if isinstance(target, PSObject) and key in target.methods:
            return _result(target.methods[key](target, *arguments))
        kind = self.registry.type_of(target)
        member = kind.member(name)
        if isinstance(member, Method):
            return self.invoke(member, name, kind, arguments, target)
        common = self._object_method(key, target, kind, arguments)
        if common is not NotImplemented:
            return common
        if enumerates(target):
            results = [self.call(item, name, arguments, ctx) for item in elements(target)]
            return collected([result for result in results if result is not Nothing])
        if isinstance(target, PSObject) and target.type_names[0] == _CUSTOM:
            raise PowerShellError(
                f"Method invocation failed because [{_CUSTOM}] does not contain a method named '{name}'.",
                "MethodNotFound",
                "InvalidOperation",
                name,
            )
        raise Refusal("UnknownMember", f"the method {name} of a {kind.name}")

    def _object_method(self, key: str, target: Any, kind: DotNetType, arguments: list[Any]) -> Any:
        """What every object has."""
        if key == "gettype" and not arguments:
            return kind
        if key == "tostring" and not arguments:
            return kind.name if enumerates(target) or isinstance(target, Hashtable) else self.conversions.text(target)
        if key == "equals" and len(arguments) == 1:
            other = arguments[0]
            if isinstance(target, str) or is_number(target):
                return type(target) is type(other) and target == other
            return target is other or (isinstance(target, EnumValue) and target == other)
        if key == "gethashcode" and not arguments:
            raise Refusal("UnknownMember", "GetHashCode()")
        return NotImplemented

    def _collection_method(self, key: str, target: Any, arguments: list[Any], ctx: Context) -> Any:
        """The methods Where and ForEach that every value has (about_Arrays)."""
        if len(arguments) != 1 or not isinstance(arguments[0], ScriptBlock):
            raise Refusal("UnknownMember", f".{key}() with other than one script block")
        block = arguments[0]
        found: list[Any] = []
        for item in listed(target):
            values = list(self.interpreter.block_values(block, ctx, item))
            if key == "foreach":
                found.extend(values)
            elif self.conversions.truth(collected(values)):
                found.append(item)
        return ArrayList(found)

    def _script_block_method(self, key: str, block: ScriptBlock, arguments: list[Any], ctx: Context) -> Any:
        commands = self.interpreter.commands
        if key == "getnewclosure":
            kept = {name: slot.value for name, slot in ctx.scope.variables.items()}
            return ScriptBlock(block.block, block.script_scope, {**(block.closure or {}), **kept})
        if key == "invoke":
            return ArrayList(commands.call_block(block, ctx.captured(), arguments))
        if key == "invokereturnasis":
            return collected(list(commands.call_block(block, ctx.captured(), arguments)))
        return NotImplemented

    def invoke(self, member: Method, name: str, kind: DotNetType, arguments: list[Any], *target: Any) -> Any:
        """Calls the overload that fits the arguments best."""
        overload, converted = self._choose(member, name, kind, arguments)
        given = [self.interpreter.engine] if overload.engine else []
        try:
            found = overload.function(*given, *target, *converted)
        except NetException as error:
            message = f'Exception calling "{name}" with "{len(arguments)}" argument(s): "{error.message}"'
            raise PowerShellError(
                message,
                error.name,
                "NotSpecified",
                exception=NetException("System.Management.Automation.MethodInvocationException", message, error),
            ) from error
        return found if overload.nullable else _result(found)

    def _choose(self, member: Method, name: str, kind: DotNetType, arguments: list[Any]) -> tuple[Overload, list[Any]]:
        """The overload nearest to the arguments among those that they can be converted for, with the arguments."""
        candidates: list[tuple[int, int, Overload, list[tuple[Any, DotNetType]]]] = []
        for order, overload in enumerate(member.overloads):
            given = _spread(overload, arguments)
            if given is not None:
                pairs = list(zip(given, self._parameter_types(overload), strict=True))
                score = sum(self._distance(value, wanted) for value, wanted in pairs)
                candidates.append((score, order, overload, pairs))
        failure: PowerShellError | None = None
        for _, _, overload, pairs in sorted(candidates, key=lambda candidate: candidate[:2]):
            converted: list[Any] = []
            try:
                for value, wanted in pairs:
                    converted.append(self._argument(value, wanted))
            except Refusal:
                raise
            except PowerShellError as error:
                number = len(converted)
                failure = failure or self._bad_argument(error, number, name, *pairs[number])
                continue
            return overload, converted
        if failure:
            raise failure
        raise Refusal("UnknownMember", f"{kind.name}.{name} with {len(arguments)} arguments")

    def _parameter_types(self, overload: Overload) -> list[DotNetType]:
        known = self._types.get(id(overload))
        if known is None:
            types = [self.registry.get(part.removeprefix("params ")) for part in overload.parameters]
            known = self._types[id(overload)] = (overload, types)
        return known[1]

    def _argument(self, value: Any, wanted: DotNetType) -> Any:
        if wanted.name == "System.Object":
            return value
        if isinstance(value, NullString):
            return None
        if wanted.name == "System.String" and value is None:
            return ""
        if wanted.name in ("System.Management.Automation.ScriptBlock", "System.Collections.Hashtable"):
            return self.conversions.to(value, wanted)
        if value is None and not (is_integer(wanted) or wanted.name in ("System.Boolean", "System.Char")):
            return None
        return self.conversions.to(value, wanted)

    def _bad_argument(
        self, error: PowerShellError, number: int, name: str, value: Any, wanted: DotNetType
    ) -> PowerShellError:
        message = (
            f'Cannot convert argument "{number}", with value: "{self.conversions.text(value)}", for "{name}" to type '
            f'"{wanted.name}": "{error.message}"'
        )
        return PowerShellError(
            message,
            "MethodArgumentConversionInvalidCastArgument",
            "NotSpecified",
            exception=NetException("System.Management.Automation.MethodException", message, error.record.exception),
        )

    def _distance(self, value: Any, wanted: DotNetType) -> int:
        """How far a value is from a parameter's type: zero for its own."""
        if wanted.name == "System.Object":
            return 5
        if value is None or isinstance(value, NullString):
            return 1 if wanted.name == "System.String" else 2
        mine = self.registry.type_of(value)
        if mine.name == wanted.name:
            return 0
        if self.registry.is_instance(value, wanted):
            return 1
        if is_number(value) and (is_integer(wanted) or wanted.name == "System.Double"):
            return 2 if is_integer(wanted) else 3
        if isinstance(value, str) and isinstance(wanted, EnumType):
            return 3
        if isinstance(value, str) and wanted.name == "System.Char":
            return 2 if len(value) == 1 else 9
        if isinstance(value, str) and wanted.name == "System.Char[]":
            return 4
        if enumerates(value) and isinstance(wanted, ArrayType):
            return 3
        if isinstance(value, Char) and wanted.name == "System.String":
            return 2
        return 8 if wanted.name == "System.String" else 7

    # --- indexes ------------------------------------------------------------------------------------------------

    def get_index(self, target: Any, index: Any, ctx: Context) -> Any:
        """target[index]"""
        if target is None:
            raise PowerShellError("Cannot index into a null array.", "NullArray", "InvalidOperation")
        if isinstance(target, Hashtable):
            return self._hash_index(target, index)
        if isinstance(target, PropertyList):
            return target.find(self.conversions.text(index))
        if isinstance(index, list | tuple | GrowingList):
            found = [self._item(target, item, ctx, several=True) for item in elements(index)]
            return [item for item in found if item is not Nothing]
        return self._item(target, index, ctx)

    def _hash_index(self, target: Hashtable, index: Any) -> Any:
        if enumerates(index):
            return [self._hash_index(target, item) for item in elements(index)]
        if index is None or index is Nothing:
            raise _null_index()
        if isinstance(target, OrderedHashtable) and isinstance(index, int) and not isinstance(index, bool):
            return target.at(index) if -1 < index < len(target) else None
        found = target.get(index)
        if found is None and target.case_sensitive and index not in target:
            raise PowerShellError(
                "The given key was not present in the dictionary.",
                "System.Collections.Generic.KeyNotFoundException",
                "OperationStopped",
                exception="System.Collections.Generic.KeyNotFoundException",
            )
        return found

    def _item(self, target: Any, index: Any, ctx: Context, *, several: bool = False) -> Any:
        if index is None or index is Nothing:
            raise _null_index()
        kind = self.registry.type_of(target)
        if isinstance(target, str):
            items: Any = target if target.isascii() else _units(target)
        elif isinstance(target, GrowingList) and not isinstance(target, TableView):
            items = target.items
        elif isinstance(target, list | tuple | bytearray | bytes):
            items = target
        else:
            member = kind.member("Item")
            if isinstance(member, Method):
                return self.invoke(member, "Item", kind, [index], target)
            raise PowerShellError(
                f"Unable to index into an object of type {kind.name}.", "CannotIndex", "InvalidOperation", index
            )
        number = int(self.conversions.cast(index, "int"))
        place = number + len(items) if number < 0 else number
        if 0 <= place < len(items):
            item = items[place]
            if isinstance(target, str):
                return Char(item)
            return Byte(item) if isinstance(target, bytearray | bytes) else item
        if ctx.scope.strict >= 3 and not several:
            raise _out_of_bounds()
        return Nothing if several else None

    def set_index(self, target: Any, index: Any, value: Any) -> None:
        """target[index] = value"""
        if target is None or target is Nothing:
            raise PowerShellError("Cannot index into a null array.", "NullArray", "InvalidOperation")
        if isinstance(target, Hashtable):
            if isinstance(target, OrderedHashtable) and isinstance(index, int) and not isinstance(index, bool):
                raise Refusal("UnknownMember", "setting an entry of an ordered table by its number")
            target[index] = value
            return
        number = int(self.conversions.cast(index, "int"))
        items: Any = target.items if isinstance(target, GrowingList) else target
        if not isinstance(items, list | bytearray):
            raise Refusal("UnknownMember", f"setting an element of a {self.registry.type_of(target).name}")
        place = number + len(items) if number < 0 else number
        if not 0 <= place < len(items):
            raise _out_of_bounds()
        if isinstance(target, TypedArray):
            value = self.conversions.cast(value, target.element)
        elif isinstance(target, GenericList):
            value = self.conversions.growing(target, value)
        elif isinstance(target, bytearray):
            value = int(self.conversions.cast(value, "byte"))
        items[place] = value


def _units(text: str) -> list[str]:
    """The UTF-16 units of a text."""
    data = text.encode("utf-16-le", "surrogatepass")
    return [data[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(data), 2)]


def _result(found: Any) -> Any:
    """What a method gave: without a result it puts out nothing."""
    return Nothing if found is None else found


def _null_index() -> PowerShellError:
    return PowerShellError(
        "Index operation failed; the array index evaluated to null.", "NullArrayIndex", "InvalidOperation"
    )


def _out_of_bounds() -> PowerShellError:
    return PowerShellError(
        "Index was outside the bounds of the array.",
        "System.IndexOutOfRangeException",
        "OperationStopped",
        exception="System.IndexOutOfRangeException",
    )


def is_integer(kind: DotNetType) -> bool:
    """Whether the type is one of the integers."""
    return kind.name in INTEGERS


def _spread(overload: Overload, arguments: list[Any]) -> list[Any] | None:
    """The arguments as the overload's parameters; None where their number does not fit."""
    parameters = overload.parameters
    if parameters and parameters[-1].startswith("params "):
        fixed = len(parameters) - 1
        if len(arguments) < fixed:
            return None
        rest = arguments[fixed:]
        if len(rest) == 1 and (enumerates(rest[0]) or isinstance(rest[0], str)):
            return [*arguments[:fixed], rest[0]]
        return [*arguments[:fixed], rest]
    return arguments if len(arguments) == len(parameters) else None

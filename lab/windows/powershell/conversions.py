"""Conversions between types as PowerShell makes them for casts, parameters and operators (about_Type_Conversion)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from . import errors
from .errors import ErrorRecord, NetException, PowerShellError, Refusal
from .moments import DateTime, TimeSpan
from .numbers import INTEGERS, fit, is_number, number_text, parse_integer, parse_literal, parse_real
from .registry import ArrayType, DictionaryType, ListType, Registry
from .typesystem import DotNetType, EnumType, EnumValue
from .values import (
    ArrayList,
    Char,
    GenericList,
    GrowingList,
    Hashtable,
    Nothing,
    OrderedHashtable,
    PSObject,
    ScriptBlock,
    Single,
    SwitchValue,
    TypedArray,
    elements,
    enumerates,
    flat,
    or_null,
)

_SHORT_NAMES = {
    "System.String": "string", "System.Int32": "int", "System.Int64": "long", "System.Boolean": "bool",
    "System.Char": "char", "System.Byte": "byte", "System.Double": "double", "System.Decimal": "decimal",
    "System.Single": "float", "System.Collections.Hashtable": "hashtable", "System.DateTime": "datetime",
    "System.Object": "System.Object",
}  # fmt: skip


class Conversions:
    """The conversions of one engine, which know its types."""

    def __init__(self, registry: Registry, *, shortest_doubles: bool = False) -> None:
        self.registry = registry
        self.shortest = shortest_doubles
        self._targets: dict[str, Callable[[Any, DotNetType], Any]] = {
            "System.Object": lambda value, kind: or_null(value),
            "System.String": lambda value, kind: self.text(value),
            "System.Boolean": lambda value, kind: self.truth(value),
            "System.Char": self._char,
            "System.Double": self._real,
            "System.Single": lambda value, kind: Single(self._real(value, kind)),
            "System.Decimal": self._decimal,
            "System.Management.Automation.SwitchParameter": lambda value, kind: SwitchValue(self.truth(value)),
            "System.DateTime": self._date,
            "System.TimeSpan": self._span,
            "System.Type": self._type,
            "System.Array": self._array,
            "System.Collections.ArrayList": lambda value, kind: ArrayList(self._items(value)),
            "System.Collections.Hashtable": self._hashtable,
            "System.Collections.IDictionary": self._hashtable,
            "System.Management.Automation.PSObject": self._psobject,
            "System.Management.Automation.ScriptBlock": self._script_block,
            "System.Exception": self._exception,
            **dict.fromkeys(INTEGERS, self._integer),
        }

    # --- text and truth -----------------------------------------------------------------------------------------

    def text(self, value: object) -> str:
        """The value as text: "$value", [string]$value, an argument for text."""
        if type(value) is str:
            return value
        if value is None or value is Nothing:
            return ""
        if isinstance(value, Char):
            return str.__str__(value)
        if isinstance(value, str):
            return str(value)
        if isinstance(value, bool | SwitchValue):
            return "True" if value else "False"
        if is_number(value):
            return number_text(value, shortest=self.shortest)
        if enumerates(value):
            return " ".join(map(self.text, elements(value)))
        if isinstance(value, PSObject):
            return self._psobject_text(value)
        if isinstance(value, ErrorRecord):
            return value.message
        if isinstance(value, DotNetType):
            return _SHORT_NAMES.get(value.name, value.name)
        if isinstance(value, ScriptBlock):
            text: str = value.block.text
            return text[1:-1] if text.startswith("{") else text
        if isinstance(value, EnumValue | DateTime | TimeSpan):
            return str(value)
        kind: DotNetType | None = self.registry.type_of(value)
        while kind:
            if kind.text:
                return kind.text(value)
            kind = kind.base
        return self.registry.type_of(value).name

    def _psobject_text(self, value: PSObject) -> str:
        if value.text is not None:
            return value.text
        if not any("PSCustomObject" in name for name in value.type_names):
            return value.type_names[0]
        inner = "; ".join(f"{name}={self._member_text(part)}" for name, part in value.items())
        return f"@{{{inner}}}"

    def _member_text(self, value: object) -> str:
        if enumerates(value) or isinstance(value, Hashtable):
            return self.registry.type_of(value).name
        if isinstance(value, PSObject) and value.text is None and value.type_names[0].endswith("PSCustomObject"):
            return ""
        return self.text(value)

    def truth(self, value: object) -> bool:
        """The value as a condition (about_Booleans)."""
        if value is None or value is Nothing:
            return False
        if isinstance(value, bool | SwitchValue):
            return bool(value)
        if isinstance(value, Char):
            return value != "\0"
        if isinstance(value, str):
            return value != ""
        if is_number(value):
            return value != 0
        if enumerates(value):
            items = elements(value)
            if len(items) == 1:
                first = items[0]
                return len(elements(first)) > 0 if enumerates(first) else self.truth(first)
            return len(items) > 1
        if isinstance(value, EnumValue):
            return value.value != 0
        return True

    # --- casts --------------------------------------------------------------------------------------------------

    def cast(self, value: object, name: str) -> Any:
        """[name]$value"""
        return self.to(value, self.registry.get(name))

    def to(self, value: object, kind: DotNetType) -> Any:
        """The value as an instance of the type; a PowerShellError where it cannot be one."""
        target = self._targets.get(kind.name)
        if target:
            return target(value, kind)
        if value is Nothing:
            value = None
        if isinstance(kind, ArrayType):
            return self._typed_array(value, kind)
        if isinstance(kind, EnumType):
            return self._enum(value, kind)
        if isinstance(kind, ListType):
            if isinstance(value, GenericList) and value.element == kind.element.name:
                return value
            return GenericList([self.to(item, kind.element) for item in self._items(value)], kind.element.name)
        if isinstance(kind, DictionaryType):
            raise Refusal("UnknownConversion", f"a value as [{kind.name}]")
        if kind.name == "System.Void":
            return Nothing
        if kind.name == "System.Collections.Specialized.OrderedDictionary":
            if isinstance(value, OrderedHashtable):
                return value
            raise PowerShellError(
                "The ordered attribute can be specified only on a hash literal node.",
                "OrderedAttributeOnlyOnHashLiteralNode",
                "ParserError",
            )
        if value is None:
            return None if self._nullable(kind) else self.fail(value, kind)
        if self.registry.is_instance(value, kind):
            return value
        if kind.convert:
            try:
                return kind.convert(value)
            except ValueError as error:
                return self.fail(value, kind, str(error))
        if "System.Exception" in kind.names() or kind.name in errors.BASES:
            return self._exception(value, kind)
        return self.fail(value, kind)

    def _nullable(self, kind: DotNetType) -> bool:
        return kind.name not in ("System.Guid", "System.DateTimeOffset")

    def fail(
        self, value: object, kind: DotNetType, reason: str = "", error_id: str = "ConvertToFinalInvalidCastException"
    ) -> Any:
        """Raises the error of a cast that cannot be made."""
        shown = self.text(value)
        if reason:
            message = f'Cannot convert value "{shown}" to type "{kind.name}". Error: "{reason}"'
        elif value is None:
            message = f'Cannot convert null to type "{kind.name}".'
            error_id = "nullToObjectInvalidCast" if error_id.startswith("ConvertToFinal") else error_id
        else:
            own = self.registry.type_of(value).name
            message = f'Cannot convert the "{shown}" value of type "{own}" to type "{kind.name}".'
        inner = NetException("System.Management.Automation.PSInvalidCastException", message)
        raise PowerShellError(
            message,
            error_id,
            "InvalidArgument",
            exception=NetException("System.Management.Automation.RuntimeException", message, inner),
        )

    def _integer(self, value: Any, kind: DotNetType) -> Any:
        if value is None or value is Nothing:
            return fit(0, kind.name)
        if isinstance(value, EnumValue):
            value = value.value
        if isinstance(value, bool | SwitchValue):
            return fit(int(bool(value)), kind.name)
        if isinstance(value, Char):
            return fit(ord(value), kind.name)
        try:
            if isinstance(value, str):
                return self._integer_of_text(value, kind)
            if isinstance(value, float | Decimal):
                return fit(round(value), kind.name)
            if isinstance(value, int):
                return fit(int(value), kind.name)
        except (OverflowError, ValueError) as error:
            reason = (
                str(error) if "Value was" in str(error) else f"Value was either too large or too small for {kind.name}."
            )
            error_id = "InvalidCastFromStringToInteger" if isinstance(value, str) else "InvalidCastIConvertible"
            return self.fail(value, kind, reason, error_id)
        return self.fail(value, kind)

    def _integer_of_text(self, value: str, kind: DotNetType) -> Any:
        if not value.strip():
            return fit(0, kind.name)
        whole = parse_integer(value)
        if whole is not None:
            return fit(whole, kind.name)
        real = parse_real(value)
        if real is None:
            return self.fail(value, kind, "Input string was not in a correct format.", "InvalidCastFromStringToInteger")
        return fit(round(real), kind.name)

    def _real(self, value: Any, kind: DotNetType) -> Any:
        if value is None or value is Nothing:
            return 0.0
        if isinstance(value, bool | SwitchValue):
            return float(bool(value))
        if is_number(value):
            return float(value)
        if isinstance(value, EnumValue):
            return float(value.value)
        if isinstance(value, str) and not isinstance(value, Char):
            if not value.strip():
                return 0.0
            found = parse_real(value)
            if found is None:
                whole = parse_integer(value)
                found = None if whole is None else float(whole)
            if found is None:
                return self.fail(
                    value, kind, "Input string was not in a correct format.", "InvalidCastFromStringToDoubleOrSingle"
                )
            return found
        return self.fail(value, kind)

    def _decimal(self, value: Any, kind: DotNetType) -> Any:
        if value is None or value is Nothing:
            return Decimal(0)
        if isinstance(value, bool):
            return Decimal(int(value))
        if isinstance(value, float):
            return Decimal(number_text(value))
        if is_number(value):
            return Decimal(value)
        if isinstance(value, str):
            try:
                return Decimal(value.strip().replace(",", "") or 0)
            except InvalidOperation:
                return self.fail(
                    value, kind, "Input string was not in a correct format.", "InvalidCastFromStringToDecimal"
                )
        return self.fail(value, kind)

    def _char(self, value: Any, kind: DotNetType) -> Any:
        if isinstance(value, Char):
            return value
        if isinstance(value, str):
            if len(value.encode("utf-16-le", "surrogatepass")) == 2:
                return Char(value)
            return self.fail(
                value, kind, "String must be exactly one character long.", "InvalidCastParseTargetInvocation"
            )
        if isinstance(value, int) and not isinstance(value, bool):
            if 0 <= value <= 0xFFFF:
                return Char(chr(value))
            return self.fail(
                value, kind, "Value was either too large or too small for a character.", "InvalidCastIConvertible"
            )
        return self.fail(value, kind)

    def _date(self, value: Any, kind: DotNetType) -> Any:
        if isinstance(value, DateTime):
            return value
        if isinstance(value, str) and value:
            try:
                return DateTime.parse(value)
            except ValueError as error:
                return self.fail(value, kind, str(error), "InvalidCastParseTargetInvocationWithFormatProvider")
        if isinstance(value, int) and not isinstance(value, bool):
            return DateTime(int(value))
        return self.fail(value, kind)

    def _span(self, value: Any, kind: DotNetType) -> Any:
        if isinstance(value, TimeSpan):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return TimeSpan(int(value))
        if isinstance(value, str):
            try:
                return TimeSpan.parse(value)
            except ValueError as error:
                return self.fail(value, kind, str(error), "InvalidCastParseTargetInvocationWithFormatProvider")
        return self.fail(value, kind)

    def _type(self, value: Any, kind: DotNetType) -> Any:
        if isinstance(value, DotNetType):
            return value
        if isinstance(value, str):
            return self.registry.get(value.strip("[]") if value.startswith("[") else value)
        return self.fail(value, kind)

    def _items(self, value: Any) -> list[Any]:
        return [] if value is None else flat(value)

    def _array(self, value: Any, kind: DotNetType) -> Any:
        if value is None or isinstance(value, list | bytearray):
            return value
        return self._items(value)

    def _typed_array(self, value: Any, kind: ArrayType) -> Any:
        if value is None:
            return None
        element = kind.element
        if element.name == "System.Byte":
            if isinstance(value, bytearray):
                return value
            if isinstance(value, bytes):
                return bytearray(value)
            return bytearray(self.to(item, element) for item in self._items(value))
        if isinstance(value, TypedArray) and value.element == element.name:
            return value
        if element.name == "System.Object":
            if isinstance(value, list) and not isinstance(value, TypedArray):
                return value
            return self._items(value)
        if element.name == "System.Char" and isinstance(value, str) and not isinstance(value, Char):
            return TypedArray(map(Char, value), element.name)
        return TypedArray([self.to(item, element) for item in self._items(value)], element.name)

    def _enum(self, value: Any, kind: EnumType) -> Any:
        if isinstance(value, EnumValue) and value.type.name == kind.name:
            return value
        if isinstance(value, bool):
            return self.fail(value, kind)
        if isinstance(value, int):
            return kind.of(int(value))
        if isinstance(value, EnumValue):
            return kind.of(value.value)
        if enumerates(value) and kind.flags:
            value = ", ".join(self.text(item) for item in elements(value))
        if isinstance(value, str) and value.strip():
            found = kind.named(value)
            if found:
                return found
            whole = parse_integer(value)
            if whole is not None:
                return kind.of(whole)
            names = ",".join(kind.values)
            if not kind.complete:
                raise Refusal(
                    "UnknownEnumValue", f"the value {value} of [{kind.name}] is not modelled (known: {names})"
                )
            return self.fail(
                value,
                kind,
                f"Unable to match the identifier name {value} to a valid enumerator name. Specify one of the following "
                f"enumerator names and try again:\r\n{names}",
                "InvalidCastFromStringToEnumeration" if "," in value else "ConvertToFinalInvalidCastException",
            )
        return self.fail(value, kind)

    def _hashtable(self, value: Any, kind: DotNetType) -> Any:
        if value is None or value is Nothing or isinstance(value, Hashtable):
            return or_null(value)
        return self.fail(value, kind)

    def _psobject(self, value: Any, kind: DotNetType) -> Any:
        if isinstance(value, Hashtable):
            return PSObject([(self.text(key), item) for key, item in value.items()])
        return or_null(value)

    def _script_block(self, value: Any, kind: DotNetType) -> Any:
        if value is None or isinstance(value, ScriptBlock):
            return value
        return self.fail(value, kind)

    def _exception(self, value: Any, kind: DotNetType) -> Any:
        if value is None:
            return None
        if isinstance(value, NetException) and kind.name in value.type_names():
            return value
        if isinstance(value, str):
            return NetException(kind.name, value)
        return self.fail(value, kind)

    # --- operands -----------------------------------------------------------------------------------------------

    def number(self, value: object) -> Any:
        """A value as an operand of arithmetic; ValueError where it is no number."""
        if value is None or value is Nothing:
            return 0
        if isinstance(value, bool | SwitchValue):
            return int(bool(value))
        if is_number(value):
            return value
        if isinstance(value, Char):
            return ord(value)
        if isinstance(value, EnumValue):
            return value.value
        if isinstance(value, str):
            found = parse_literal(value)
            if found is None:
                raise ValueError("Input string was not in a correct format.")
            return found
        raise ValueError(f"a value of type {self.registry.type_of(value).name}")

    def growing(self, value: GrowingList, item: object) -> object:
        """An element as the list's type wants it."""
        if isinstance(value, GenericList) and value.element != "System.Object":
            return self.cast(item, value.element)
        return item

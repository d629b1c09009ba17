"""The operators (about_Operators, about_Arithmetic_Operators, about_Comparison_Operators, about_Join, about_Split)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Any

from . import formats, patterns
from .conversions import Conversions
from .errors import NetException, PowerShellError, Refusal
from .moments import DateTime, TimeSpan
from .numbers import common_type, is_number, remainder, sized
from .typesystem import DotNetType, EnumValue
from .values import (
    Byte,
    Char,
    GrowingList,
    Hashtable,
    Int64,
    OrderedHashtable,
    ScriptBlock,
    SizedInteger,
    SwitchValue,
    elements,
    enumerates,
    listed,
    or_null,
)

_ORDERINGS: dict[str, Callable[[int], bool]] = {
    "lt": lambda order: order < 0,
    "le": lambda order: order <= 0,
    "gt": lambda order: order > 0,
    "ge": lambda order: order >= 0,
}


def operation_error(
    message: str, error_id: str, exception: str = "System.Management.Automation.RuntimeException"
) -> PowerShellError:
    """The error of an operation that cannot be done."""
    return PowerShellError(message, error_id, "InvalidOperation", exception=exception)


def collation(text: str, *, case_sensitive: bool = False) -> tuple[Any, ...]:
    """What orders text as the invariant culture does: punctuation, digits, letters; case decides last, small first.

    Hyphens and apostrophes count only where all else is equal. An approximation for text beyond Latin letters.
    """
    first = []
    for char in text:
        if char in "-'":
            continue
        group = 2 if char.isalpha() else 1 if char.isdigit() else 0
        first.append((group, char.casefold()))
    second = [char in "-'" for char in text]
    third = [char.isupper() for char in text] if case_sensitive else []
    return (first, second, third)


class Operators:
    """All operators but -and, -or and those that assign, which the interpreter carries out itself."""

    def __init__(self, conversions: Conversions, matched: Callable[[re.Match[str]], None]) -> None:
        """`matched` is told of each successful -match, for $Matches."""
        self.conversions = conversions
        self.matched = matched
        self._binary: dict[str, Callable[[Any, Any], Any]] = {
            "+": self.add,
            "-": self.subtract,
            "*": self.multiply,
            "/": self.divide,
            "%": self.modulo,
            "..": self.span,
            "f": self.format,
            "join": self.join,
            "is": self.is_type,
            "isnot": lambda left, right: not self.is_type(left, right),
            "as": self.as_type,
            "band": lambda left, right: self.bits(operator.and_, left, right),
            "bor": lambda left, right: self.bits(operator.or_, left, right),
            "bxor": lambda left, right: self.bits(operator.xor, left, right),
            "shl": lambda left, right: self.shift(left, right, upwards=True),
            "shr": lambda left, right: self.shift(left, right, upwards=False),
            "xor": lambda left, right: self.conversions.truth(left) != self.conversions.truth(right),
        }
        for prefix, sensitive in (("", False), ("i", False), ("c", True)):
            self._add_comparisons(prefix, sensitive)

    def _add_comparisons(self, prefix: str, sensitive: bool) -> None:
        def filtering(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
            def run(left: Any, right: Any) -> Any:
                if enumerates(left):
                    return [item for item in elements(left) if test(item, right)]
                return test(left, right)

            return run

        tests: dict[str, Callable[[Any, Any], Any]] = {
            "eq": filtering(lambda left, right: self.equal(left, right, sensitive)),
            "ne": filtering(lambda left, right: not self.equal(left, right, sensitive)),
            "like": filtering(lambda left, right: self.like(left, right, sensitive)),
            "notlike": filtering(lambda left, right: not self.like(left, right, sensitive)),
            "match": lambda left, right: self.match(left, right, sensitive, wanted=True),
            "notmatch": lambda left, right: self.match(left, right, sensitive, wanted=False),
            "contains": lambda left, right: self.contains(left, right, sensitive),
            "notcontains": lambda left, right: not self.contains(left, right, sensitive),
            "in": lambda left, right: self.contains(right, left, sensitive),
            "notin": lambda left, right: not self.contains(right, left, sensitive),
            "replace": lambda left, right: self.replace(left, right, sensitive),
            "split": lambda left, right: self.split(left, right, sensitive),
        }
        for name, test in _ORDERINGS.items():
            tests[name] = filtering(
                lambda left, right, test=test: test(self.order(left, right, sensitive))  # type: ignore[misc]
            )
        for name, run in tests.items():
            self._binary[prefix + name] = run

    def binary(self, name: str, left: Any, right: Any) -> Any:
        """left -name right"""
        return self._binary[name](or_null(left), or_null(right))

    def unary(self, name: str, value: Any) -> Any:
        """-name value"""
        if name in ("!", "-not"):
            return not self.conversions.truth(value)
        if name == ",":
            return [value]
        if name == "-join":
            return self.join(value, "")
        if name in ("-split", "-isplit", "-csplit"):
            return [word for text in self._texts(value) for word in text.split()]
        value = or_null(value)
        if name == "-bnot":
            number = self._number(value, name)
            if isinstance(number, float):
                number = Int64(number)
            kind = common_type(number, number)
            if kind in ("System.UInt32", "System.UInt64"):
                return sized(int(number) ^ (2**32 - 1 if kind == "System.UInt32" else 2**64 - 1), kind)
            return sized(~int(number), kind)
        number = self._number(value, name)
        if name == "+":
            return number
        if isinstance(number, float | Decimal):
            return -number
        return sized(-int(number), common_type(number, number))

    # --- arithmetic ---------------------------------------------------------------------------------------------

    def _number(self, value: object, name: str) -> Any:
        try:
            return self.conversions.number(value)
        except ValueError as error:
            if isinstance(value, str):
                self.conversions.fail(
                    value, self.conversions.registry.get("int"), str(error), "InvalidCastFromStringToInteger"
                )
            raise self._no_method(value, name) from error

    def _no_method(self, value: object, name: str) -> PowerShellError:
        names = {"+": "op_Addition", "-": "op_Subtraction", "*": "op_Multiply", "/": "op_Division", "%": "op_Modulus"}
        kind = self.conversions.registry.type_of(value).name
        return operation_error(
            f"Method invocation failed because [{kind}] does not contain a method named '{names.get(name, name)}'.",
            "MethodNotFound",
        )

    def _numeric(self, name: str, left: Any, right: Any, compute: Callable[[Any, Any], Any]) -> Any:
        first, second = self._number(left, name), self._number(right, name)
        kind = common_type(first, second)
        if kind == "System.Double":
            return float(compute(float(first), float(second)))
        if kind == "System.Decimal":
            return compute(Decimal(str(first)), Decimal(str(second)))
        return sized(compute(int(first), int(second)), kind)

    def add(self, left: Any, right: Any) -> Any:
        """+"""
        if isinstance(left, str) and not isinstance(left, Char):
            return left + self.conversions.text(right)
        if isinstance(left, Char):
            if isinstance(right, str):
                return str(left) + str(right)
            return self._numeric("+", left, right, operator.add)
        if enumerates(left):
            return [*elements(left), *listed(right)]
        if isinstance(left, Hashtable):
            return self._merge(left, right)
        if isinstance(left, DateTime):
            return DateTime(left.ticks + self.conversions.cast(right, "timespan").ticks, left.kind)
        if isinstance(left, TimeSpan):
            return TimeSpan(left.ticks + self.conversions.cast(right, "timespan").ticks)
        if left is None and not is_number(right):
            return right
        return self._numeric("+", left, right, operator.add)

    def _merge(self, left: Hashtable, right: Any) -> Any:
        if right is None:
            return left
        if not isinstance(right, Hashtable):
            raise operation_error("A hash table can only be added to another hash table.", "AddHashTableToNonHashTable")
        if isinstance(left, OrderedHashtable):
            raise self._no_method(left, "+")
        made = Hashtable(left)
        for key, value in right.items():
            if key in made:
                message = f"Item has already been added. Key in dictionary: '{key}'  Key being added: '{key}'"
                raise operation_error(message, "System.ArgumentException", "System.ArgumentException")
            made[key] = value
        return made

    def subtract(self, left: Any, right: Any) -> Any:
        """-"""
        if isinstance(left, DateTime):
            if isinstance(right, DateTime):
                return TimeSpan(left.ticks - right.ticks)
            return DateTime(left.ticks - self.conversions.cast(right, "timespan").ticks, left.kind)
        if isinstance(left, TimeSpan):
            return TimeSpan(left.ticks - self.conversions.cast(right, "timespan").ticks)
        return self._numeric("-", left, right, operator.sub)

    def multiply(self, left: Any, right: Any) -> Any:
        """*"""
        if isinstance(left, str) and not isinstance(left, Char):
            return left * max(0, int(self.conversions.cast(right, "int")))
        if enumerates(left):
            return elements(left) * max(0, int(self.conversions.cast(right, "int")))
        return self._numeric("*", left, right, operator.mul)

    def divide(self, left: Any, right: Any) -> Any:
        """/: whole numbers give a [double] where they do not divide evenly."""
        first, second = self._number(left, "/"), self._number(right, "/")
        kind = common_type(first, second)
        if kind == "System.Double":
            return _real_quotient(float(first), float(second))
        if second == 0:
            raise _division_by_zero()
        if kind == "System.Decimal":
            return Decimal(str(first)) / Decimal(str(second))
        first, second = int(first), int(second)
        if first % second == 0:
            return sized(first // second, kind)
        return first / second

    def modulo(self, left: Any, right: Any) -> Any:
        """%"""
        first, second = self._number(left, "%"), self._number(right, "%")
        kind = common_type(first, second)
        if kind == "System.Double":
            return float("nan") if second == 0 else remainder(float(first), float(second))
        if second == 0:
            raise _division_by_zero()
        try:
            found = remainder(first, second)
        except (DivisionByZero, InvalidOperation) as error:
            raise _division_by_zero() from error
        return found if kind == "System.Decimal" else sized(int(found), kind)

    def bits(self, compute: Callable[[int, int], int], left: Any, right: Any) -> Any:
        """-band, -bor, -bxor"""
        if isinstance(left, EnumValue):
            other = self.conversions.to(right, left.type)
            return left.type.of(compute(left.value, other.value))
        first, second = self._whole(left), self._whole(right)
        return sized(compute(int(first), int(second)), common_type(first, second))

    def _whole(self, value: Any) -> Any:
        number = self._number(value, "-band")
        return number if isinstance(number, int) else Int64(round(number))

    def shift(self, left: Any, right: Any, *, upwards: bool) -> Any:
        """-shl and -shr"""
        number = self._whole(left)
        wide = isinstance(number, SizedInteger) and not isinstance(number, Byte)
        bits = 64 if wide else 32
        count = int(self._whole(right)) % bits
        if not upwards:
            return sized(int(number) >> count, common_type(number, number))
        made = (int(number) << count) & (2**bits - 1)
        if made >= 2 ** (bits - 1):
            made -= 2**bits
        return sized(made, common_type(number, number))

    def span(self, left: Any, right: Any) -> list[Any]:
        """..: an array of whole numbers, upwards or downwards."""
        first, last = int(self.conversions.cast(left, "int")), int(self.conversions.cast(right, "int"))
        return list(range(first, last + 1)) if first <= last else list(range(first, last - 1, -1))

    # --- comparison ---------------------------------------------------------------------------------------------

    def equal(self, left: Any, right: Any, case_sensitive: bool = False) -> bool:
        """-eq between two single values: the right one becomes what the left one is."""
        if left is None or right is None:
            return left is None and right is None
        if isinstance(left, SwitchValue):
            left = bool(left)
        if isinstance(right, SwitchValue):
            right = bool(right)
        if isinstance(left, str):
            first, second = str(left), self.conversions.text(right)
            return first == second or (not case_sensitive and first.casefold() == second.casefold())
        if isinstance(left, bool):
            return left == self.conversions.truth(right)
        if is_number(left):
            try:
                return bool(left == self.conversions.number(right))
            except ValueError:
                return False
        if isinstance(left, EnumValue):
            try:
                return bool(self.conversions.to(right, left.type) == left)
            except Refusal:
                raise
            except PowerShellError:
                return False
        if isinstance(left, DotNetType):
            return isinstance(right, DotNetType) and left.name == right.name
        if left is right:
            return True
        if isinstance(left, GrowingList | Hashtable | list):
            return False
        try:
            return bool(self.conversions.to(right, self.conversions.registry.type_of(left)) == left)
        except Refusal:
            raise
        except PowerShellError:
            return False

    def order(self, left: Any, right: Any, case_sensitive: bool = False) -> int:
        """Less than, equal to or greater than zero, as left is to right."""
        if left is None or right is None:
            return _order_null(left, right)
        if isinstance(left, str):
            first = collation(left, case_sensitive=case_sensitive)
            second = collation(self.conversions.text(right), case_sensitive=case_sensitive)
            return (first > second) - (first < second)
        try:
            if isinstance(left, bool | SwitchValue):
                one, two = int(bool(left)), int(self.conversions.truth(right))
            elif is_number(left) or isinstance(left, EnumValue):
                other = self.conversions.to(right, left.type) if isinstance(left, EnumValue) else right
                one, two = self.conversions.number(left), self.conversions.number(other)
            else:
                one, two = left, self.conversions.to(right, self.conversions.registry.type_of(left))
            return int(one > two) - int(one < two)
        except Refusal:
            raise
        except (ValueError, PowerShellError, TypeError) as error:
            shown = self.conversions.text(left)
            if isinstance(error, TypeError):
                reason = f'Cannot compare "{shown}" because it is not IComparable.'
                raise operation_error(reason, "NotIcomparable") from error
            reason = f'Could not compare "{shown}" to "{self.conversions.text(right)}". Error: "{error}"'
            raise operation_error(reason, "ComparisonFailure") from error

    def contains(self, items: Any, wanted: Any, case_sensitive: bool) -> bool:
        """-contains"""
        if not enumerates(items):
            return self.equal(items, wanted, case_sensitive)
        return any(self.equal(item, wanted, case_sensitive) for item in elements(items))

    def like(self, left: Any, right: Any, case_sensitive: bool) -> bool:
        """-like"""
        pattern = patterns.wildcard(self.conversions.text(right), case_sensitive=case_sensitive)
        return pattern.fullmatch(self.conversions.text(left)) is not None

    def match(self, left: Any, right: Any, case_sensitive: bool, *, wanted: bool) -> Any:
        """-match and -notmatch: filters a collection; for one text fills $Matches."""
        pattern = patterns.regex(self.conversions.text(right), 0 if case_sensitive else re.I)
        if enumerates(left):
            return [
                item for item in elements(left) if (pattern.search(self.conversions.text(item)) is not None) == wanted
            ]
        found = pattern.search(self.conversions.text(left))
        if found:
            self.matched(found)
        return (found is not None) == wanted

    def replace(self, left: Any, right: Any, case_sensitive: bool) -> Any:
        """-replace"""
        parts = listed(right)
        if len(parts) > 2:
            raise operation_error(
                f"The -replace operator allows only two elements to follow it, not {len(parts)}.", "BadReplaceArgument"
            )
        pattern = patterns.regex(self.conversions.text(parts[0]), 0 if case_sensitive else re.I)
        with_text = self.conversions.text(parts[1]) if len(parts) > 1 else ""

        def run(value: Any) -> str:
            return pattern.sub(lambda found: patterns.expand(found, with_text), self.conversions.text(value))

        return [run(item) for item in elements(left)] if enumerates(left) else run(left)

    def split(self, left: Any, right: Any, case_sensitive: bool) -> list[str]:
        """-split with a pattern, a number of parts at most, and options."""
        parts = listed(right)
        if isinstance(parts[0], ScriptBlock):
            raise Refusal("UnknownOperator", "-split with a script block")
        most = int(self.conversions.cast(parts[1], "int")) if len(parts) > 1 else 0
        options = self.conversions.text(parts[2]).lower() if len(parts) > 2 else ""
        if most < 0 or options not in ("", "simplematch") or len(parts) > 3:
            raise Refusal("UnknownOperator", f"-split with {self.conversions.text(right)}")
        text = self.conversions.text(parts[0])
        flags = 0 if case_sensitive else re.I
        pattern = re.compile(re.escape(text), flags) if options else patterns.regex(text, flags)
        return [piece for item in self._texts(left) for piece in patterns.split(pattern, item, most)]

    def _texts(self, value: Any) -> list[str]:
        return [self.conversions.text(item) for item in listed(value)]

    def join(self, left: Any, right: Any) -> str:
        """-join"""
        return self.conversions.text(right).join(self._texts(left))

    # --- types and formats --------------------------------------------------------------------------------------

    def _type_operand(self, right: Any) -> DotNetType:
        found = self.conversions.to(right, self.conversions.registry.get("type"))
        assert isinstance(found, DotNetType)
        return found

    def is_type(self, left: Any, right: Any) -> bool:
        """-is"""
        return self.conversions.registry.is_instance(left, self._type_operand(right))

    def as_type(self, left: Any, right: Any) -> Any:
        """-as: $null where the cast fails."""
        try:
            return self.conversions.to(left, self._type_operand(right))
        except Refusal:
            raise
        except PowerShellError:
            return None

    def format(self, left: Any, right: Any) -> str:
        """-f"""
        try:
            return formats.composite(self.conversions.text(left), listed(right), self.conversions.text)
        except ValueError as error:
            if "not modelled" in str(error):
                raise Refusal("UnknownFormat", str(error)) from error
            inner = NetException("System.FormatException", str(error))
            message = f"Error formatting a string: {error}."
            raise PowerShellError(
                message, "FormatError", "InvalidOperation",
                exception=NetException("System.Management.Automation.RuntimeException", message, inner),
            ) from error  # fmt: skip


def _order_null(left: Any, right: Any) -> int:
    """$null is less than everything but negative numbers."""
    if left is None and right is None:
        return 0
    other = right if left is None else left
    sign = -1 if is_number(other) and other < 0 else 1
    return -sign if left is None else sign


def _division_by_zero() -> PowerShellError:
    message = "Attempted to divide by zero."
    inner = NetException("System.DivideByZeroException", message)
    return PowerShellError(
        message, "RuntimeException", "NotSpecified",
        exception=NetException("System.Management.Automation.RuntimeException", message, inner),
    )  # fmt: skip


def _real_quotient(first: float, second: float) -> float:
    if second == 0:
        return float("nan") if first == 0 or first != first else float("inf") if first > 0 else float("-inf")
    return first / second

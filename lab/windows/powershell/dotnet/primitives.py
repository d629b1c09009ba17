"""Object, String, Char, Boolean and the numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar

from .. import formats
from ..errors import NetException
from ..numbers import INTEGERS, fit, number_text, parse_integer, parse_real
from ..typesystem import DotNetType, EnumType, Method, Property, method
from ..values import Char, Int64, Single, SwitchValue, TypedArray

P = ParamSpec("P")
T = TypeVar("T")

OBJECT = DotNetType("System.Object", new=method(lambda: object()))
VOID = DotNetType("System.Void")

COMPARISON = EnumType(
    "System.StringComparison",
    {
        "CurrentCulture": 0,
        "CurrentCultureIgnoreCase": 1,
        "InvariantCulture": 2,
        "InvariantCultureIgnoreCase": 3,
        "Ordinal": 4,
        "OrdinalIgnoreCase": 5,
    },
)
SPLIT_OPTIONS = EnumType("System.StringSplitOptions", {"None": 0, "RemoveEmptyEntries": 1}, flags=True)
_WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def units(text: str) -> int:
    """The number of UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def part(text: str, start: int, stop: int | None = None) -> str:
    """The text between two UTF-16 units."""
    if text.isascii() or units(text) == len(text):
        return text[start:stop]
    data = text.encode("utf-16-le", "surrogatepass")
    return data[start * 2 : None if stop is None else stop * 2].decode("utf-16-le", "surrogatepass")


def _folds(comparison: Any) -> bool:
    return comparison is not None and str(comparison).endswith("IgnoreCase")


def _fold(text: str, comparison: Any) -> str:
    return text.casefold() if _folds(comparison) else text


def _substring(text: str, start: int, length: int | None = None) -> str:
    size = units(text)
    if start < 0 or start > size:
        raise NetException(
            "System.ArgumentOutOfRangeException",
            "startIndex cannot be larger than length of string.\r\nParameter name: startIndex",
        )
    if length is not None and (length < 0 or start + length > size):
        raise NetException(
            "System.ArgumentOutOfRangeException",
            "Index and length must refer to a location within the string.\r\nParameter name: length",
        )
    return part(text, start, None if length is None else start + length)


def _index(text: str, wanted: str, start: int = 0, comparison: Any = None, *, last: bool = False) -> int:
    if last:
        found = _fold(text, comparison).rfind(_fold(wanted, comparison))
    else:
        if start > len(text):
            raise NetException("System.ArgumentOutOfRangeException", "Index was out of range.")
        found = _fold(text, comparison).find(_fold(wanted, comparison), start)
    return found if found < 0 or text.isascii() else units(text[:found])


def _index_any(text: str, wanted: list[str]) -> int:
    found = [at for at in (text.find(char) for char in wanted) if at >= 0]
    return min(found) if found else -1


def _split(text: str, separators: Any, options: Any = None, most: int | None = None) -> TypedArray:
    given = [str(separator) for separator in separators or [] if str(separator)]
    if separators is not None and not list(separators):
        given = list(_WHITE)
    if most is None:
        pieces = re.split("|".join(map(re.escape, given)), text) if given else [text]
    else:
        pieces = re.split("|".join(map(re.escape, given)), text, maxsplit=most - 1) if most > 1 else [text]
    if options is not None and options.value & 1:
        pieces = [piece for piece in pieces if piece]
    return TypedArray(pieces, "System.String")


def _replace(text: str, old: str, new: str | None) -> str:
    if not old:
        raise NetException("System.ArgumentException", "String cannot be of zero length.\r\nParameter name: oldValue")
    return text.replace(old, new or "")


def _trim(strip: Callable[[str, str], str]) -> Method:
    return method(lambda text: strip(text, _WHITE)) | method(
        lambda text, chars: strip(text, "".join(map(str, chars)) or _WHITE), "params char[]"
    )


def _remove(text: str, start: int, count: int | None = None) -> str:
    return text[:start] + ("" if count is None else text[start + count :])


def _compare(left: str | None, right: str | None, comparison: Any = None) -> int:
    first, second = _fold(left or "", comparison), _fold(right or "", comparison)
    return (first > second) - (first < second)


def format_checked(run: Callable[P, T]) -> Callable[P, T]:
    """The function with a FormatException of .NET for its ValueError."""

    def checked(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return run(*arguments, **named)
        except ValueError as error:
            raise NetException("System.FormatException", str(error)) from error

    return checked


@format_checked
def composite(pattern: str, arguments: Any) -> str:
    """[string]::Format."""
    return formats.composite(pattern, list(arguments), plain)


def plain(value: object) -> str:
    """ToString() of simple values, as .NET's own formatting calls it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, int | float | Decimal):
        return number_text(value)
    return str(value)


def _equals(left: str | None, right: str | None, comparison: Any = None) -> bool:
    if left is None or right is None:
        return left is right
    return _fold(left, comparison) == _fold(right, comparison)


def _pad(text: str, width: int, char: str, *, left: bool) -> str:
    missing = max(0, width - units(text)) * char
    return missing + text if left else text + missing


STRING = DotNetType(
    "System.String",
    base=OBJECT,
    interfaces=("System.IComparable", "System.Collections.IEnumerable"),
    python=str,
    new=method(lambda char, count: str(char) * count, "char", "int")
    | method(lambda chars: "".join(map(str, chars)), "char[]")
    | method(lambda chars, start, count: "".join(map(str, chars[start : start + count])), "char[]", "int", "int"),
    statics={
        "Empty": Property(lambda: ""),
        "IsNullOrEmpty": method(lambda text: not text, "string"),
        "IsNullOrWhiteSpace": method(lambda text: not (text or "").strip(_WHITE), "string"),
        "Join": method(lambda glue, items: (glue or "").join(map(plain, items)), "string", "params string[]"),
        "Format": method(composite, "string", "params object[]"),
        "Concat": method(lambda items: "".join(map(plain, items)), "params string[]"),
        "Equals": method(_equals, "string", "string") | method(_equals, "string", "string", "System.StringComparison"),
        "Compare": method(_compare, "string", "string")
        | method(_compare, "string", "string", "System.StringComparison")
        | method(
            lambda a, b, fold: _compare(a.casefold(), b.casefold()) if fold else _compare(a, b),
            "string",
            "string",
            "bool",
        ),
        "CompareOrdinal": method(_compare, "string", "string"),
    },
    members={
        "Length": Property(units),
        "Substring": method(_substring, "int") | method(_substring, "int", "int"),
        "Contains": method(lambda text, other: other in text, "string"),
        "StartsWith": method(lambda text, other: text.startswith(other), "string")
        | method(
            lambda text, other, how: _fold(text, how).startswith(_fold(other, how)), "string", "System.StringComparison"
        ),
        "EndsWith": method(lambda text, other: text.endswith(other), "string")
        | method(
            lambda text, other, how: _fold(text, how).endswith(_fold(other, how)), "string", "System.StringComparison"
        ),
        "IndexOf": method(_index, "string")
        | method(_index, "char")
        | method(_index, "string", "int")
        | method(_index, "char", "int")
        | method(lambda text, other, how: _index(text, other, 0, how), "string", "System.StringComparison"),
        "LastIndexOf": method(lambda text, other: _index(text, other, last=True), "string")
        | method(lambda text, other: _index(text, other, last=True), "char"),
        "IndexOfAny": method(_index_any, "char[]"),
        "Split": method(_split, "params char[]")
        | method(_split, "char[]", "System.StringSplitOptions")
        | method(_split, "string[]", "System.StringSplitOptions")
        | method(lambda text, chars, most: _split(text, chars, None, most), "char[]", "int"),
        "Replace": method(_replace, "string", "string") | method(_replace, "char", "char"),
        "Trim": _trim(str.strip),
        "TrimStart": _trim(str.lstrip),
        "TrimEnd": _trim(str.rstrip),
        "ToLower": method(str.lower),
        "ToUpper": method(str.upper),
        "ToLowerInvariant": method(str.lower),
        "ToUpperInvariant": method(str.upper),
        "ToCharArray": method(lambda text: TypedArray(map(Char, text), "System.Char")),
        "PadLeft": method(lambda text, width: _pad(text, width, " ", left=True), "int")
        | method(lambda text, width, char: _pad(text, width, char, left=True), "int", "char"),
        "PadRight": method(lambda text, width: _pad(text, width, " ", left=False), "int")
        | method(lambda text, width, char: _pad(text, width, char, left=False), "int", "char"),
        "Insert": method(lambda text, at, other: text[:at] + other + text[at:], "int", "string"),
        "Remove": method(_remove, "int") | method(_remove, "int", "int"),
        "Equals": method(_equals, "string") | method(_equals, "string", "System.StringComparison"),
        "CompareTo": method(_compare, "string"),
        "ToString": method(lambda text: str(text)),
    },
)


def _char_test(test: Callable[[str], bool]) -> Method:
    return method(lambda char: test(str(char)), "char")


def _from_utf32(code: int) -> str:
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise NetException(
            "System.ArgumentOutOfRangeException", "A valid UTF32 value is between 0x000000 and 0x10ffff."
        )
    return chr(code)


CHAR = DotNetType(
    "System.Char",
    base=OBJECT,
    python=Char,
    statics={
        "IsDigit": _char_test(str.isdigit),
        "IsLetter": _char_test(str.isalpha),
        "IsLetterOrDigit": _char_test(str.isalnum),
        "IsWhiteSpace": _char_test(lambda char: char in _WHITE),
        "IsUpper": _char_test(str.isupper),
        "IsLower": _char_test(str.islower),
        "IsControl": _char_test(lambda char: ord(char) < 32 or 127 <= ord(char) < 160),
        "ToUpperInvariant": method(lambda char: Char(char.upper()), "char"),
        "ToLowerInvariant": method(lambda char: Char(char.lower()), "char"),
        "ConvertFromUtf32": method(_from_utf32, "int"),
    },
    members={"ToString": method(lambda char: str(char))},
)
BOOLEAN = DotNetType("System.Boolean", base=OBJECT, python=bool, statics={
    "Parse": method(lambda text: _parse_bool(text), "string"),
    "TrueString": Property(lambda: "True"),
    "FalseString": Property(lambda: "False"),
})  # fmt: skip


def _parse_bool(text: str) -> bool:
    found = {"true": True, "false": False}.get(text.strip().lower())
    if found is None:
        raise NetException("System.FormatException", "String was not recognized as a valid Boolean.")
    return found


def _parse(name: str) -> Callable[[str], int]:
    def run(text: str) -> int:
        found = parse_integer(text or "") if not (text or "").strip().lower().startswith("0x") else None
        if found is None:
            raise NetException("System.FormatException", "Input string was not in a correct format.")
        try:
            return fit(found, name)
        except OverflowError as error:
            raise NetException("System.OverflowException", str(error)) from error

    return run


def _compare_numbers(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


_NUMBER_MEMBERS = {
    "ToString": method(number_text) | method(format_checked(formats.number_format), "string"),
    "CompareTo": method(_compare_numbers, "double"),
}


def _integer_type(name: str) -> DotNetType:
    kind, lowest, highest = INTEGERS[name]
    return DotNetType(
        name,
        base=OBJECT,
        interfaces=("System.IComparable", "System.IFormattable"),
        python=None if kind is int else kind,
        statics={
            "MinValue": Property(lambda: kind(lowest)),
            "MaxValue": Property(lambda: kind(highest)),
            "Parse": method(_parse(name), "string"),
        },
        members=_NUMBER_MEMBERS,
    )


def _parse_double(text: str) -> float:
    found = parse_real(text or "")
    if found is None:
        raise NetException("System.FormatException", "Input string was not in a correct format.")
    return found


DOUBLE = DotNetType(
    "System.Double",
    base=OBJECT,
    interfaces=("System.IComparable", "System.IFormattable"),
    python=float,
    statics={
        "MaxValue": Property(lambda: 1.7976931348623157e308),
        "MinValue": Property(lambda: -1.7976931348623157e308),
        "NaN": Property(lambda: math.nan),
        "PositiveInfinity": Property(lambda: math.inf),
        "NegativeInfinity": Property(lambda: -math.inf),
        "IsNaN": method(math.isnan, "double"),
        "IsInfinity": method(math.isinf, "double"),
        "Parse": method(_parse_double, "string"),
    },
    members=_NUMBER_MEMBERS,
)
SINGLE = DotNetType("System.Single", base=OBJECT, python=Single, members=_NUMBER_MEMBERS)
DECIMAL = DotNetType(
    "System.Decimal",
    base=OBJECT,
    python=Decimal,
    statics={"MaxValue": Property(lambda: Decimal(2**96 - 1))},
    members=_NUMBER_MEMBERS,
)
SWITCH = DotNetType(
    "System.Management.Automation.SwitchParameter",
    base=OBJECT,
    python=SwitchValue,
    statics={"Present": Property(lambda: SwitchValue(True))},
    members={
        "IsPresent": Property(lambda switch: switch.present),
        "ToBool": method(lambda switch: switch.present),
    },
)


def _round(value: Any, digits: int = 0, mode: Any = None) -> Any:
    exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    rounding = "ROUND_HALF_UP" if mode is not None and str(mode) == "AwayFromZero" else "ROUND_HALF_EVEN"
    made = exact.quantize(Decimal(1).scaleb(-digits), rounding)
    return made if isinstance(value, Decimal) else float(made)


def _same(compute: Callable[[Any, Any], Any]) -> Method:
    return (
        method(compute, "int", "int")
        | method(lambda a, b: Int64(compute(a, b)), "long", "long")
        | method(compute, "double", "double")
        | method(compute, "decimal", "decimal")
    )


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


MATH = DotNetType(
    "System.Math",
    statics={
        "PI": Property(lambda: math.pi),
        "E": Property(lambda: math.e),
        "Abs": method(abs, "int")
        | method(lambda v: Int64(abs(v)), "long")
        | method(abs, "double")
        | method(abs, "decimal"),
        "Max": _same(max),
        "Min": _same(min),
        "Floor": method(lambda v: float(math.floor(v)), "double") | method(lambda v: Decimal(math.floor(v)), "decimal"),
        "Ceiling": method(lambda v: float(math.ceil(v)), "double") | method(lambda v: Decimal(math.ceil(v)), "decimal"),
        "Truncate": method(lambda v: float(math.trunc(v)), "double")
        | method(lambda v: Decimal(math.trunc(v)), "decimal"),
        "Round": method(_round, "double")
        | method(_round, "decimal")
        | method(_round, "double", "int")
        | method(lambda value, mode: _round(value, 0, mode), "double", "System.MidpointRounding")
        | method(_round, "double", "int", "System.MidpointRounding"),
        "Pow": method(_power, "double", "double"),
        "Sqrt": method(lambda v: math.sqrt(v) if v >= 0 else math.nan, "double"),
        "Log": method(math.log, "double") | method(math.log, "double", "double"),
        "Log10": method(math.log10, "double"),
        "Sign": method(lambda v: (v > 0) - (v < 0), "double"),
    },
)
MIDPOINT = EnumType("System.MidpointRounding", {"ToEven": 0, "AwayFromZero": 1})

TYPES = [
    OBJECT, VOID, COMPARISON, SPLIT_OPTIONS, STRING, CHAR, BOOLEAN, *map(_integer_type, INTEGERS), DOUBLE, SINGLE,
    DECIMAL, SWITCH, MATH, MIDPOINT,
]  # fmt: skip

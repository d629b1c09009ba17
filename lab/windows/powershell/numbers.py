"""Numbers: which type a result has, how they are written and read."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

from .values import (
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    Byte,
    Int16,
    Int64,
    SByte,
    Single,
    SizedInteger,
    UInt16,
    UInt32,
    UInt64,
)

INTEGERS: dict[str, tuple[type[int], int, int]] = {
    "System.Int32": (int, INT32_MIN, INT32_MAX),
    "System.Int64": (Int64, INT64_MIN, INT64_MAX),
    "System.UInt64": (UInt64, UInt64.lowest, UInt64.highest),
    "System.UInt32": (UInt32, UInt32.lowest, UInt32.highest),
    "System.Int16": (Int16, Int16.lowest, Int16.highest),
    "System.UInt16": (UInt16, UInt16.lowest, UInt16.highest),
    "System.Byte": (Byte, Byte.lowest, Byte.highest),
    "System.SByte": (SByte, SByte.lowest, SByte.highest),
}
_NAMES = {kind: name for name, (kind, _, _) in INTEGERS.items()}
# The order in which .NET numbers its types: an operation has the type of the operand that comes later.
_RANK = [
    "System.SByte", "System.Byte", "System.Int16", "System.UInt16", "System.Int32", "System.UInt32", "System.Int64",
    "System.UInt64", "System.Single", "System.Double", "System.Decimal",
]  # fmt: skip
_INTEGER = re.compile(r"[+-]?\d+")
_REAL = re.compile(r"[+-]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
MULTIPLIERS = {"kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}


def is_number(value: object) -> bool:
    """Whether it is one of .NET's numbers; a boolean is none."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def number_type(value: object) -> str:
    """The full name of a number's type."""
    if isinstance(value, SizedInteger):
        return _NAMES[type(value)]
    if isinstance(value, Single):
        return "System.Single"
    if isinstance(value, float):
        return "System.Double"
    if isinstance(value, Decimal):
        return "System.Decimal"
    assert isinstance(value, int)
    if INT32_MIN <= value <= INT32_MAX:
        return "System.Int32"
    return "System.Int64" if INT64_MIN <= value <= INT64_MAX else "System.UInt64"


def fit(value: int, name: str) -> int:
    """An integer as a value of the type; OverflowError where it does not fit."""
    kind, lowest, highest = INTEGERS[name]
    if not lowest <= value <= highest:
        raise OverflowError(f"Value was either too large or too small for {_article(name)}.")
    return kind(value)


def _article(name: str) -> str:
    short = name.rpartition(".")[2]
    if short == "Byte":
        return "an unsigned byte"
    if short == "SByte":
        return "a signed byte"
    return f"an {short}" if short[0] in "IUA" and not short.startswith("U") else f"a {short}"


def common_type(left: object, right: object) -> str:
    """The type in which two numbers are combined."""
    names = [number_type(left), number_type(right)]
    name = max(names, key=_RANK.index)
    if _RANK.index(name) < _RANK.index("System.Int32"):
        return "System.Int32"
    if name in ("System.UInt32", "System.UInt64"):
        signed = any(isinstance(v, int) and v < 0 for v in (left, right))
        if signed:
            return "System.Int64" if name == "System.UInt32" else "System.Double"
    return "System.Double" if name == "System.Single" else name


def sized(value: int, name: str) -> int | float:
    """The result of integer arithmetic: a [double] where the type is too small (about_Arithmetic_Operators)."""
    try:
        return fit(value, name)
    except OverflowError:
        return float(value)


def remainder(left: Any, right: Any) -> Any:
    """% with the sign of the left operand."""
    if isinstance(left, float) or isinstance(right, float):
        return math.fmod(left, right)
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return Decimal(left) % Decimal(right)
    found = abs(left) % abs(right)
    return -found if left < 0 else found


def parse_integer(text: str) -> int | None:
    """Text that is a whole number, or hexadecimal with 0x; None for any other."""
    text = text.strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    if re.fullmatch(r"(?i)0x[0-9a-f]{1,16}", text):
        value = int(text, 16)
        if len(text) <= 10 and value > INT32_MAX:
            value -= 2**32
        return value
    return None


def parse_real(text: str) -> float | None:
    """Text that is a number in the invariant culture, with thousands separators perhaps."""
    text = text.strip()
    if _REAL.fullmatch(text):
        return float(text.replace(",", ""))
    return {"nan": math.nan, "infinity": math.inf, "-infinity": -math.inf}.get(text.lower())


def parse_literal(text: str) -> object:
    """Text as an operand of arithmetic: what it would be as a number in a script; None where it is none."""
    stripped = text.strip()
    if not stripped:
        return 0
    found = re.fullmatch(r"(?i)(?P<body>.*?)(?P<multiplier>[kmgtp]b)", stripped)
    factor = 1
    if found and not stripped.lower().startswith("0x"):
        stripped, factor = found.group("body"), MULTIPLIERS[found.group("multiplier").lower()]
    whole = parse_integer(stripped)
    if whole is not None:
        value = whole * factor
        if INT32_MIN <= value <= INT32_MAX:
            return value
        return Int64(value) if INT64_MIN <= value <= INT64_MAX else float(value)
    real = parse_real(stripped) if "," not in stripped else None
    return None if real is None else real * factor


def double_text(value: float, *, shortest: bool = False) -> str:
    """A [double] as text: 15 significant digits in Windows PowerShell, the shortest exact ones in PowerShell 7."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0" if shortest and math.copysign(1, value) < 0 else "0"
    digits = 7 if isinstance(value, Single) else 15
    text = repr(float(value)) if shortest else f"{float(value):.{digits - 1}e}"
    decimal = Decimal(text).normalize()
    sign, figures, exponent = decimal.as_tuple()
    assert isinstance(exponent, int)
    point = len(figures) + exponent
    number = "".join(map(str, figures))
    if -4 < point <= digits:
        if exponent >= 0:
            body = number + "0" * exponent
        elif point > 0:
            body = f"{number[:point]}.{number[point:]}"
        else:
            body = f"0.{'0' * -point}{number}"
    else:
        scale = point - 1
        body = (
            number[0] + (f".{number[1:]}" if len(number) > 1 else "") + f"E{'+' if scale >= 0 else '-'}{abs(scale):02d}"
        )
    return f"-{body}" if sign else body


def number_text(value: object, *, shortest: bool = False) -> str:
    """A number as text, in the invariant culture."""
    if isinstance(value, float):
        return double_text(value, shortest=shortest)
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(int(value))  # type: ignore[call-overload]

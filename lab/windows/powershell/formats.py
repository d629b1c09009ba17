"""Composite formatting: what -f and [string]::Format do with {0,-10:N2} (about_Operators, format operator)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

from .moments import DateTime, TimeSpan
from .numbers import INTEGERS, double_text, is_number, number_type
from .values import Single

_ITEM = re.compile(r"\{\{|\}\}|\{(\d+)(?:,\s*(-?\d+))?(?::((?:[^{}]|\{\{|\}\})*))?\}|[{}]")


def composite(pattern: str, arguments: list[object], text: Callable[[object], str]) -> str:
    """The pattern with its arguments filled in. ValueError where .NET throws a FormatException."""

    def fill(found: re.Match[str]) -> str:
        whole = found.group()
        if whole in ("{{", "}}"):
            return whole[0]
        if whole in "{}":
            raise ValueError("Input string was not in a correct format.")
        number = int(found.group(1))
        if number >= len(arguments):
            raise ValueError(
                "Index (zero based) must be greater than or equal to zero and less than the size of the argument list."
            )
        made = formatted(arguments[number], found.group(3) or "", text)
        width = int(found.group(2) or 0)
        return made.ljust(-width) if width < 0 else made.rjust(width)

    return _ITEM.sub(fill, pattern)


def formatted(value: object, pattern: str, text: Callable[[object], str]) -> str:
    """One value in a format; without one as `text` says. ValueError for a format that does not fit or is unknown."""
    if not pattern or value is None:
        return text(value)
    if is_number(value):
        return number_format(value, pattern)
    if isinstance(value, DateTime):
        return value.format(pattern)
    if isinstance(value, TimeSpan):
        return span_format(value, pattern)
    return text(value)


def span_format(value: TimeSpan, pattern: str) -> str:
    """A TimeSpan in a custom format such as hh\\:mm\\:ss."""
    if pattern in ("c", "g", "G", "t", "T"):
        if pattern in "gG":
            raise ValueError("the formats g and G of a TimeSpan are not modelled")
        return str(value)
    seconds, fraction = divmod(abs(value.ticks), 10_000_000)
    parts = {"d": seconds // 86400, "h": seconds // 3600 % 24, "m": seconds // 60 % 60, "s": seconds % 60}
    made = []
    for found in re.finditer(r"'([^']*)'|\\(.)|(([dhmsf])\4*)|(.)", pattern, re.S):
        quoted, escaped, letters, letter, other = found.groups()
        if letter == "f":
            made.append(f"{fraction:07d}"[: len(letters)])
        elif letters:
            made.append(f"{parts[letter]:0{len(letters)}d}")
        elif other:
            raise ValueError("Input string was not in a correct format.")
        else:
            made.append(quoted if quoted is not None else escaped)
    return "".join(made)


def number_format(value: object, pattern: str) -> str:
    """A number in a standard (N2, D3, X, F, P, E, G, R) or custom (0.0#) format, invariant culture."""
    standard = re.fullmatch(r"([A-Za-z])(\d{0,2})", pattern)
    if not standard:
        return _custom(value, pattern)
    letter, digits = standard.group(1), standard.group(2)
    kind = letter.upper()
    if kind in ("X", "D"):
        if number_type(value) not in INTEGERS:
            raise ValueError("Format specifier was invalid.")
        assert isinstance(value, int)
        if kind == "D":
            return f"{'-' if value < 0 else ''}{abs(int(value)):0{int(digits or 1)}d}"
        whole = int(value)
        if whole < 0:
            whole += 2 ** (32 if number_type(value) == "System.Int32" else 64)
        return f"{whole:0{int(digits or 1)}{letter}}"
    if kind in ("N", "F", "P"):
        exact = _decimal(value)
        places = int(digits) if digits else 2
        if kind == "P":
            exact *= 100
        rounded = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
        made = f"{rounded:,f}" if kind in ("N", "P") else f"{rounded:f}"
        if not any(char in "123456789" for char in made):
            made = made.lstrip("-")
        return f"{made} %" if kind == "P" else made
    if kind in ("G", "R") and not digits:
        if isinstance(value, float):
            return double_text(value, shortest=kind == "R")
        return str(value)
    if kind == "E":
        mantissa, _, exponent = f"{float(_decimal(value)):.{int(digits or 6)}e}".partition("e")
        return f"{mantissa}{letter}{exponent[0]}{int(exponent[1:]):03d}"
    raise ValueError(f"the number format {pattern} is not modelled")


def _decimal(value: object) -> Decimal:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number that is not finite is not modelled in this format")
        return Decimal(f"{value:.{6 if isinstance(value, Single) else 14}e}")
    assert isinstance(value, int | Decimal)
    return Decimal(value)


def _custom(value: object, pattern: str) -> str:
    found = re.fullmatch(r"([^0#.,%;]*)([0#,]+)(?:\.([0#]+))?(%?)([^0#.,%;]*)", pattern)
    if not found:
        raise ValueError(f"the number format {pattern} is not modelled")
    before, whole, fraction, percent, after = found.groups()
    exact = _decimal(value) * (100 if percent else 1)
    fraction = fraction or ""
    rounded = exact.quantize(Decimal(1).scaleb(-len(fraction)), ROUND_HALF_UP)
    integer, _, places = f"{abs(rounded):f}".partition(".")
    least = whole.replace(",", "").count("0")
    integer = integer.lstrip("0").rjust(least, "0")
    if "," in whole and integer:
        integer = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", integer)
    kept = len(fraction.rstrip("#"))
    while len(places) > kept and places.endswith("0"):
        places = places[:-1]
    sign = "-" if rounded < 0 else ""
    return f"{sign}{before}{integer}{f'.{places}' if places else ''}{percent}{after}"

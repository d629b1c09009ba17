"""Patterns: regular expressions of .NET as those of Python, and PowerShell's wildcards."""

from __future__ import annotations

import re
from functools import lru_cache

from .errors import NetException, PowerShellError, Refusal

_TRANSLATED = re.compile(
    r"\\(?P<escape>.)|\(\?<(?P<name>[A-Za-z_]\w*)>|\(\?'(?P<quoted>[A-Za-z_]\w*)'|\(\?(?P<flags>[imnsx]+(?:-[imnsx]+)?)\)"
    r"|(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])",
    re.S,
)
_REFUSED_ESCAPES = "pPGk"
_REFERENCE = re.compile(r"\$(?:(\d+)|\{(\w+)\}|(&)|(\$)|(`)|(')|(_)|(\+))")


@lru_cache(maxsize=2000)
def regex(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern of .NET, compiled for Python. Refuses constructs in which the two differ."""
    given = re.RegexFlag(0)

    def translate(found: re.Match[str]) -> str:
        nonlocal given
        if found.group("escape"):
            letter = found.group("escape")
            if letter in _REFUSED_ESCAPES:
                raise Refusal("UnknownPattern", f"\\{letter} in the pattern {pattern}")
            if letter == "z":
                return r"\Z"
            if letter == "Z":
                return r"(?=\n?\Z)"
            if letter == "e":
                return r"\x1b"
            if letter in "_ ":
                return re.escape(letter)
            return found.group()
        if found.group("flags"):
            if found.start() != 0 or "-" in found.group("flags"):
                raise Refusal("UnknownPattern", f"options inside of the pattern {pattern}")
            for letter in found.group("flags"):
                given |= {"i": re.I, "m": re.M, "s": re.S, "x": re.X, "n": re.RegexFlag(0)}[letter]
            return ""
        if found.group("class"):
            body = found.group("class")
            if re.search(r"-\[|\[:|\\[pP]", body[1:]):
                raise Refusal("UnknownPattern", f"the class {body} in a pattern")
            return body[0] + body[1:].replace("[", r"\[")
        return f"(?P<{found.group('name') or found.group('quoted')}>"

    translated = _TRANSLATED.sub(translate, pattern)
    try:
        return re.compile(translated, flags | given)
    except re.error as error:
        message = f'parsing "{pattern}" - {error}.'
        raise PowerShellError(
            message, "System.ArgumentException", "OperationStopped",
            exception=NetException("System.ArgumentException", message),
        ) from error  # fmt: skip


@lru_cache(maxsize=2000)
def group_numbers(pattern: re.Pattern[str]) -> list[int]:
    """Python's number of each group by .NET's number: there groups without a name are counted first."""
    named = list(pattern.groupindex.values())
    return [0, *(number for number in range(1, pattern.groups + 1) if number not in named), *named]


def expand(found: re.Match[str], text: str) -> str:
    """A replacement with $1, ${name}, $& and $$ filled in for one match."""

    def fill(reference: re.Match[str]) -> str:
        number, name, whole, dollar, *others = reference.groups()
        if any(others):
            raise Refusal("UnknownPattern", f"{reference.group()} in the replacement {text}")
        if dollar:
            return "$"
        if whole:
            return found.group()
        key = number or name
        try:
            return found.group(group_numbers(found.re)[int(key)] if key.isdigit() else key) or ""
        except IndexError:
            return reference.group()

    return _REFERENCE.sub(fill, text) if "$" in text else text


def split(pattern: re.Pattern[str], text: str, most: int = 0) -> list[str]:
    """Parts between matches, `most` at most, with what groups captured among them."""
    pieces: list[str] = []
    at = 0
    for found in pattern.finditer(text):
        if most and len(pieces) >= most - 1:
            break
        pieces.append(text[at : found.start()])
        pieces.extend(group for group in found.groups() if group is not None)
        at = found.end()
    pieces.append(text[at:])
    return pieces


@lru_cache(maxsize=2000)
def wildcard(pattern: str, *, case_sensitive: bool = False) -> re.Pattern[str]:
    """A pattern of -like: * ? [abc] [a-z], with ` before a character that is meant as it is (about_Wildcards)."""
    made: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "`" and at + 1 < len(pattern):
            made.append(re.escape(pattern[at + 1]))
            at += 2
            continue
        if char == "*":
            made.append(".*")
        elif char == "?":
            made.append(".")
        elif char == "[":
            end = pattern.find("]", at + 1)
            if end < 0:
                message = f"The specified wildcard character pattern is not valid: {pattern}"
                raise PowerShellError(message, "RuntimeException", "InvalidOperation")
            body = pattern[at + 1 : end].replace("\\", r"\\").replace("^", r"\^")
            made.append(f"[{body}]")
            at = end
        else:
            made.append(re.escape(char))
        at += 1
    return re.compile("".join(made), re.S | (0 if case_sensitive else re.I))


def has_wildcards(text: str) -> bool:
    """Whether the text has one of * ? [ that is not escaped."""
    return re.search(r"(?<!`)[*?\[]", text) is not None

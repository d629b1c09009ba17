"""Encodings, regular expressions, Convert, StringBuilder."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable
from typing import Any

from .. import patterns
from ..errors import NetException
from ..numbers import fit, parse_integer
from ..typesystem import DotNetType, EnumType, Method, Property, method
from ..values import Char, ScriptBlock, TypedArray


class Encoding:
    """An encoding; `codec` is Python's name for it."""

    def __init__(
        self, codec: str, name: str, web_name: str, code_page: int, *, bom: bytes = b"", strict: bool = False
    ) -> None:
        self.codec = codec
        self.name = name
        self.web_name = web_name
        self.code_page = code_page
        self.bom = bom
        self.strict = strict

    def without_mark(self) -> Encoding:
        """The same without a byte order mark, as the console writes."""
        return Encoding(self.codec, self.name, self.web_name, self.code_page)

    def encode(self, text: str) -> bytearray:
        """GetBytes: what the encoding lacks becomes a question mark, or U+FFFD."""
        if self.codec in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"):
            try:
                return bytearray(text.encode(self.codec))
            except UnicodeEncodeError as error:
                joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
                if self.strict:
                    raise NetException("System.Text.EncoderFallbackException", str(error)) from error
                return bytearray(joined.encode(self.codec))
        return bytearray(text.encode(self.codec, "replace"))

    def decode(self, data: bytes | bytearray) -> str:
        """GetString."""
        try:
            return bytes(data).decode(self.codec, "strict" if self.strict else "replace")
        except UnicodeDecodeError as error:
            raise NetException(
                "System.Text.DecoderFallbackException",
                "Unable to translate bytes at an index from specified code page to Unicode.",
            ) from error


def utf8(*, bom: bool = True, strict: bool = False) -> Encoding:
    """UTF-8, with a byte order mark or without."""
    return Encoding("utf-8", "Unicode (UTF-8)", "utf-8", 65001, bom=codecs.BOM_UTF8 if bom else b"", strict=strict)


ASCII = Encoding("ascii", "US-ASCII", "us-ascii", 20127)
UNICODE = Encoding("utf-16-le", "Unicode", "utf-16", 1200, bom=codecs.BOM_UTF16_LE)
_CODE_PAGES = {437: "cp437", 850: "cp850", 936: "gbk", 1252: "cp1252", 28591: "latin-1", 932: "cp932", 949: "cp949"}
_WEB_NAMES = {
    "utf-8": 65001, "us-ascii": 20127, "ascii": 20127, "utf-16": 1200, "unicode": 1200, "gb2312": 936, "gbk": 936,
    "windows-1252": 1252, "iso-8859-1": 28591,
}  # fmt: skip


def code_page(number: int) -> Encoding:
    """The encoding of a code page."""
    if number == 65001:
        return utf8()
    if number == 1200:
        return UNICODE
    if number == 20127:
        return ASCII
    if number not in _CODE_PAGES:
        raise NetException("System.NotSupportedException", f"No data is available for encoding {number}.")
    return Encoding(
        _CODE_PAGES[number],
        f"code page {number}",
        {936: "gb2312", 1252: "Windows-1252"}.get(number, f"ibm{number}"),
        number,
    )


def named(name: str) -> Encoding:
    """The encoding of a web name."""
    number = _WEB_NAMES.get(name.lower())
    if number is None:
        raise NetException("System.ArgumentException", f"'{name}' is not a supported encoding name.")
    return code_page(number)


ENCODING = DotNetType(
    "System.Text.Encoding",
    python=Encoding,
    statics={
        "UTF8": Property(utf8),
        "ASCII": Property(lambda: ASCII),
        "Unicode": Property(lambda: UNICODE),
        "Default": Property(lambda engine: code_page(engine.ansi_code_page), engine=True),
        "GetEncoding": method(code_page, "int") | method(named, "string"),
    },
    members={
        "GetBytes": method(lambda encoding, text: encoding.encode(text), "string")
        | method(lambda encoding, chars: encoding.encode("".join(map(str, chars))), "char[]"),
        "GetString": method(lambda encoding, data: encoding.decode(data), "byte[]")
        | method(
            lambda encoding, data, start, count: encoding.decode(data[start : start + count]), "byte[]", "int", "int"
        ),
        "GetByteCount": method(lambda encoding, text: len(encoding.encode(text)), "string"),
        "GetPreamble": method(lambda encoding: bytearray(encoding.bom)),
        "WebName": Property(lambda encoding: encoding.web_name),
        "EncodingName": Property(lambda encoding: encoding.name),
        "CodePage": Property(lambda encoding: encoding.code_page),
    },
)
UTF8 = DotNetType(
    "System.Text.UTF8Encoding",
    base=ENCODING,
    new=method(lambda: utf8(bom=False))
    | method(lambda bom: utf8(bom=bom), "bool")
    | method(lambda bom, strict: utf8(bom=bom, strict=strict), "bool", "bool"),
)
UNICODE_TYPE = DotNetType("System.Text.UnicodeEncoding", base=ENCODING, new=method(lambda: UNICODE))
ASCII_TYPE = DotNetType("System.Text.ASCIIEncoding", base=ENCODING, new=method(lambda: ASCII))


# --- regular expressions ------------------------------------------------------------------------------------------

OPTIONS = EnumType(
    "System.Text.RegularExpressions.RegexOptions",
    {
        "None": 0,
        "IgnoreCase": 1,
        "Multiline": 2,
        "ExplicitCapture": 4,
        "Compiled": 8,
        "Singleline": 16,
        "IgnorePatternWhitespace": 32,
        "CultureInvariant": 512,
    },
    flags=True,
)
_FLAGS = {1: re.I, 2: re.M, 4: 0, 8: 0, 16: re.S, 32: re.X, 512: 0}


def _flags(options: Any) -> int:
    return sum(int(flag) for bit, flag in _FLAGS.items() if options is not None and options.value & bit)


class Regex:
    """[regex]"""

    def __init__(self, pattern: str, options: Any = None) -> None:
        self.text = pattern
        self.pattern = patterns.regex(pattern, _flags(options))

    def is_match(self, text: str) -> bool:
        """Whether it is found in the text."""
        return self.pattern.search(text) is not None

    def match(self, text: str) -> Match:
        """The first match."""
        return Match(self.pattern.search(text))

    def matches(self, text: str) -> list[Match]:
        """All matches."""
        return [Match(found) for found in self.pattern.finditer(text)]

    def replace(self, text: str, new: str, count: int = 0) -> str:
        """The text with every match replaced, or the first `count`."""
        return self.pattern.sub(lambda found: patterns.expand(found, new), text, count=count)

    def split(self, text: str) -> TypedArray:
        """What lies between the matches, with what groups captured."""
        return TypedArray(patterns.split(self.pattern, text), "System.String")


class Match:
    """A match, or none."""

    def __init__(self, found: re.Match[str] | None) -> None:
        self.found = found


class Group:
    """A group of a match; `number` 0 is the whole."""

    def __init__(self, found: re.Match[str] | None, number: int) -> None:
        self.found = found
        self.number = number

    @property
    def value(self) -> str:
        """The text, empty where the group took no part."""
        return (self.found.group(self.number) or "") if self.found else ""

    @property
    def success(self) -> bool:
        """Whether it took part."""
        return self.found is not None and self.found.group(self.number) is not None


class Groups:
    """The groups of a match by number or name."""

    def __init__(self, found: re.Match[str] | None) -> None:
        self.found = found

    def item(self, key: Any) -> Group:
        """Group by number, or by name."""
        if self.found is None:
            return Group(None, 0)
        places = patterns.group_numbers(self.found.re)
        if not isinstance(key, int) and not str(key).isdigit():
            place = self.found.re.groupindex.get(str(key), -1)
            return Group(self.found, place) if place >= 0 else Group(None, 0)
        return Group(self.found, places[int(key)]) if 0 <= int(key) < len(places) else Group(None, 0)


def _evaluate(engine: Any, text: str, pattern: str, block: ScriptBlock) -> str:
    return Regex(pattern).pattern.sub(lambda found: str(engine.call_text(block, [Match(found)])), text)


def _static(run: Callable[..., object], *kinds: str) -> Method:
    """The static form of an instance's method: text and pattern come first, options last."""
    return method(lambda text, pattern, *rest: run(Regex(pattern), text, *rest), "string", "string", *kinds) | method(
        lambda text, pattern, *rest: run(Regex(pattern, rest[-1]), text, *rest[:-1]),
        "string",
        "string",
        *kinds,
        OPTIONS.name,
    )


def _escape(text: str) -> str:
    special = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\f": r"\f"}
    return "".join(special.get(char) or (f"\\{char}" if char in "\\*+?|{[()^$.# " else char) for char in text)


REGEX = DotNetType(
    "System.Text.RegularExpressions.Regex",
    python=Regex,
    new=method(Regex, "string") | method(Regex, "string", "System.Text.RegularExpressions.RegexOptions"),
    convert=lambda value: Regex(str(value)),
    text=lambda value: value.text,
    statics={
        "Escape": method(_escape, "string"),
        "IsMatch": _static(Regex.is_match),
        "Match": _static(Regex.match),
        "Matches": _static(Regex.matches),
        "Replace": _static(Regex.replace, "string") | method(_evaluate, "string", "string", "scriptblock", engine=True),
        "Split": _static(Regex.split),
    },
    members={
        "IsMatch": method(Regex.is_match, "string"),
        "Match": method(Regex.match, "string"),
        "Matches": method(Regex.matches, "string"),
        "Replace": method(Regex.replace, "string", "string") | method(Regex.replace, "string", "string", "int"),
        "Split": method(Regex.split, "string"),
    },
)
GROUP = DotNetType(
    "System.Text.RegularExpressions.Group",
    python=Group,
    text=lambda group: group.value,
    members={
        "Value": Property(lambda group: group.value),
        "Success": Property(lambda group: group.success),
        "Index": Property(lambda group: group.found.start(group.number) if group.success else 0),
        "Length": Property(lambda group: len(group.value)),
    },
)
MATCH = DotNetType(
    "System.Text.RegularExpressions.Match",
    python=Match,
    text=lambda match: match.found.group() if match.found else "",
    members={
        "Success": Property(lambda match: match.found is not None),
        "Value": Property(lambda match: match.found.group() if match.found else ""),
        "Index": Property(lambda match: match.found.start() if match.found else 0),
        "Length": Property(lambda match: len(match.found.group()) if match.found else 0),
        "Groups": Property(lambda match: Groups(match.found)),
    },
)
GROUPS = DotNetType(
    "System.Text.RegularExpressions.GroupCollection",
    python=Groups,
    members={
        "Item": method(Groups.item, "int") | method(Groups.item, "string"),
        "Count": Property(lambda groups: groups.found.re.groups + 1 if groups.found else 1),
    },
)


# --- Convert ------------------------------------------------------------------------------------------------------


def _from_base64(text: str) -> bytearray:
    squeezed = re.sub(r"[ \t\r\n]", "", text)
    try:
        if len(squeezed) % 4:
            raise binascii.Error
        return bytearray(base64.b64decode(squeezed, validate=True))
    except (binascii.Error, ValueError) as error:
        raise NetException(
            "System.FormatException",
            "The input is not a valid Base-64 string as it contains a non-base 64 character, more than two padding "
            "characters, or an illegal character among the padding characters. ",
        ) from error


def _to_integer(name: str) -> Callable[..., int]:
    def run(value: Any, base: int = 10) -> int:
        try:
            if isinstance(value, str) and not isinstance(value, Char):
                if base != 10:
                    return fit(int(value, base), name)
                found = parse_integer(value) if value.strip() else None
                if found is None or value.strip().lower().startswith("0x"):
                    raise ValueError
                return fit(found, name)
            if isinstance(value, Char):
                return fit(ord(value), name)
            return fit(round(value or 0), name)
        except OverflowError as error:
            raise NetException("System.OverflowException", str(error)) from error
        except ValueError as error:
            raise NetException("System.FormatException", "Input string was not in a correct format.") from error

    return run


def _in_base(value: int, base: int) -> str:
    if base == 10:
        return str(int(value))
    whole = int(value) + (2**32 if value < 0 else 0)
    return f"{whole:{ {2: 'b', 8: 'o', 16: 'x'}[base] }}"


_CONVERSIONS = {
    "ToInt32": "System.Int32", "ToInt64": "System.Int64", "ToUInt32": "System.UInt32", "ToUInt64": "System.UInt64",
    "ToUInt16": "System.UInt16", "ToInt16": "System.Int16", "ToByte": "System.Byte",
}  # fmt: skip
CONVERT = DotNetType(
    "System.Convert",
    statics={
        "FromBase64String": method(_from_base64, "string"),
        "ToBase64String": method(lambda data: base64.b64encode(bytes(data)).decode(), "byte[]")
        | method(
            lambda data, start, count: base64.b64encode(bytes(data[start : start + count])).decode(),
            "byte[]",
            "int",
            "int",
        ),
        **{
            name: method(_to_integer(kind), "object") | method(_to_integer(kind), "string", "int")
            for name, kind in _CONVERSIONS.items()
        },
        "ToString": method(_in_base, "int", "int"),
        "ToChar": method(lambda code: Char(chr(code)), "int"),
    },
)


class StringBuilder:
    """Text that grows."""

    def __init__(self, text: str = "") -> None:
        self.parts = [text]

    def append(self, text: str) -> StringBuilder:
        """Adds text at the end."""
        self.parts.append(text)
        return self

    @property
    def text(self) -> str:
        """All of it."""
        self.parts = ["".join(self.parts)]
        return self.parts[0]


def _clear(builder: StringBuilder) -> StringBuilder:
    builder.parts = [""]
    return builder


BUILDER = DotNetType(
    "System.Text.StringBuilder",
    python=StringBuilder,
    new=method(StringBuilder) | method(StringBuilder, "string") | method(lambda size: StringBuilder(), "int"),
    text=lambda builder: builder.text,
    members={
        "Append": method(lambda builder, text: builder.append(text or ""), "string")
        | method(lambda builder, char: builder.append(str(char)), "char"),
        "AppendLine": method(lambda builder: builder.append("\r\n"))
        | method(lambda builder, text: builder.append((text or "") + "\r\n"), "string"),
        "Clear": method(_clear),
        "Length": Property(lambda builder: len(builder.text)),
        "ToString": method(lambda builder: builder.text),
    },
)

TYPES = [
    ENCODING, UTF8, UNICODE_TYPE, ASCII_TYPE, OPTIONS, REGEX, GROUP, MATCH, GROUPS, CONVERT, BUILDER,
]  # fmt: skip

"""What PowerShell writes on standard error, as plain lines.

Started with -EncodedCommand and its standard error redirected, PowerShell writes its error, warning, verbose,
debug, progress and information streams there as one XML document, CLIXML ([MS-PSRP] 2.2.5; when: ErrorFormat in
PowerShell/PowerShell, ConsoleHost.cs). What other programs
write stands in the same place, before, between and inside; a killed PowerShell ends in the middle of it. So this
reads what looks like CLIXML and takes everything else for text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Lines that no PowerShell wrote: programs that ran, and [Console]::Error.
NATIVE = "native"

_HEADER = re.compile(r"#< CLIXML\r?\n?")
_OBJS = re.compile(r"<Objs\b[^>]*>|</Objs>")
#: An element directly below Objs. Obj elements nest.
_START = re.compile(r'<(?P<tag>S|Obj) S="(?P<stream>\w+)"[^>]*>')
_NESTED = re.compile(r"<Obj\b[^>]*?(?P<empty>/?)>|</Obj>")
_TO_STRING = re.compile(r"<ToString>(.*?)</ToString>", re.DOTALL)
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
#: By number also what is no character in XML, such as &#xFFFE;.
_ENTITY = re.compile(r"&(?:#x([0-9A-Fa-f]{1,5})|(lt|gt|amp|quot|apos));")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


@dataclass(frozen=True)
class Line:
    """One line of text. stream: "error", "warning", "verbose", "debug", "information" or NATIVE."""

    stream: str
    text: str


def decode(data: bytes) -> list[Line]:
    """The lines of a standard error in their order, without blank ones and without progress records.

    Text outside of CLIXML that is not UTF-8 is read in the code page that it seems to be in: PowerShell writes in
    the console's until a script sets another.
    """
    text = "\n".join(map(_characters, data.split(b"\n")))
    header = _HEADER.search(text)
    if not header:
        return list(_lines(NATIVE, text))
    lines = list(_lines(NATIVE, text[: header.start()]))
    # A nested PowerShell's document has a header of its own, and may stand inside the outer one.
    lines += _document(_OBJS.sub("", _HEADER.sub("", text[header.start() :])))
    return lines


def _document(text: str) -> Iterator[Line]:
    position = 0
    while start := _START.search(text, position):
        yield from _lines(NATIVE, text[position : start.start()])
        stream = start["stream"].lower()
        if start["tag"] == "S":
            end = text.find("</S>", start.end())
            content = text[start.end() : end if end >= 0 else len(text)]
            position = end + len("</S>") if end >= 0 else len(text)
            yield from _lines(stream, _unescaped(content))
        else:
            position = _after(text, start.end())
            shown = _TO_STRING.search(text, start.end(), position)
            if shown and stream != "progress":
                yield from _lines(stream, _unescaped(shown[1]))
    yield from _lines(NATIVE, text[position:])


def _after(text: str, position: int) -> int:
    """Where the Obj ends whose content begins at position."""
    depth = 1
    for tag in _NESTED.finditer(text, position):
        if tag["empty"] != "/":
            depth += -1 if tag[0] == "</Obj>" else 1
        if not depth:
            return tag.end()
    return len(text)


def _lines(stream: str, text: str) -> Iterator[Line]:
    for line in re.split(r"\r?\n", text):
        if line.strip():
            yield Line(stream, line.rstrip())


def _unescaped(text: str) -> str:
    text = _ENTITY.sub(lambda entity: _NAMED[entity[2]] if entity[2] else chr(int(entity[1], 16)), text)
    text = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    # An escape is a unit of UTF-16; two of them may be one character.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _characters(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        pass
    high = re.findall(rb"[\x80-\xff]+", line)
    if all(len(run) % 2 == 0 and min(run) >= 0xA1 for run in high):
        return line.decode("gb18030", "replace")  # a Chinese Windows'
    return line.decode("cp850")  # a Western one's

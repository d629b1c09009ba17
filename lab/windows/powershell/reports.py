"""What standard error shows: error records as Windows PowerShell's NormalView, and the CLIXML envelope."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.sax.saxutils import escape

from .dotnet.system import category_text, position_message
from .errors import ErrorRecord

HEADER = "#< CLIXML"
_OPEN = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x1f\x7f-\x9f\ud800-\udfff]|[\U00010000-\U0010ffff]|[\ufffe\uffff]")


def error_lines(record: ErrorRecord, engine: object) -> list[str]:
    """The lines of a report, in the layout of Windows PowerShell 5.1."""
    if record.error_id == "NativeCommandErrorMessage":
        return [record.message]
    origin = record.command if record.origin is None else record.origin
    text = f"{origin} : {record.message}" if origin else record.message
    position = position_message(record)
    if position and record.category != "ParserError":
        text += f"\n{position}"
    text += f"\n    + CategoryInfo          : {category_text(engine, record)}"
    text += f"\n    + FullyQualifiedErrorId : {record.error_id}"
    return [*re.split(r"\r\n|\n|\r", text), " "]


def clixml_text(text: str) -> str:
    """Text inside of an element: control characters, halves of surrogate pairs and look-alikes as _xHHHH_."""

    def encode(found: re.Match[str]) -> str:
        char = found.group()
        if char == "_":
            return "_x005F_"
        if char in "\ufffe\uffff":
            return f"&#x{ord(char):04X};"
        data = char.encode("utf-16-be", "surrogatepass")
        return "".join(f"_x{data[at]:02X}{data[at + 1]:02X}_" for at in range(0, len(data), 2))

    return _ESCAPED.sub(encode, escape(text))


class StandardError:
    """Writes records to standard error, as text or as one CLIXML document that ends with the process.

    The header goes out with the first record, the document at the end: what programs write meanwhile lands between.
    """

    def __init__(self, write: Callable[[str], None], *, clixml: bool) -> None:
        self._write = write
        self._clixml = clixml
        self._parts: list[str] = []
        self._number = -1

    def error(self, lines: list[str]) -> None:
        """A report's lines."""
        for line in lines:
            self._add(line, f'<S S="Error">{clixml_text(line)}_x000D__x000A_</S>')

    def stream(self, name: str, text: str) -> bool:
        """A warning, verbose or debug record; False where it belongs on standard output, as plain text."""
        if self._clixml:
            self._add("", f'<S S="{name}">{clixml_text(text)}</S>')
        return self._clixml

    def information(self, text: str, source: str) -> None:
        """A record of the information stream, which only CLIXML shows here; its text is on standard output too."""
        if not self._clixml:
            return
        shown = clixml_text(text)
        self._number += 1
        self._add(
            "",
            f'<Obj S="information" RefId="{self._number}"><TN RefId="{self._number}">'
            "<T>System.Management.Automation.InformationRecord</T><T>System.Object</T></TN>"
            f'<ToString>{shown}</ToString><Props><S N="MessageData">{shown}</S><S '
            f'N="Source">{source}</S></Props></Obj>',
        )

    def progress(self, activity: str, status: str, percent: int, *, completed: bool) -> None:
        """A progress record, which only CLIXML shows."""
        if not self._clixml:
            return
        self._number += 1
        kind = f'<TN RefId="{self._number}"><T>System.Management.Automation.PSCustomObject</T><T>System.Object</T></TN>'
        record = (
            f"<AV>{clixml_text(activity)}</AV><AI>0</AI><Nil /><PI>-1</PI><PC>{percent}</PC>"
            f"<T>{'Completed' if completed else 'Processing'}</T><SR>-1</SR><SD>{clixml_text(status)}</SD>"
        )
        self._add(
            "",
            f'<Obj S="progress" RefId="{self._number}">{kind}<MS><I64 N="SourceId">1</I64>'
            f'<PR N="Record">{record}</PR></MS></Obj>',
        )

    def _add(self, plain: str, xml: str) -> None:
        if not self._clixml:
            self._write(plain + "\r\n")
            return
        if not self._parts:
            self._write(f"{HEADER}\r\n")
        self._parts.append(xml)

    def finish(self) -> None:
        """Writes the document, if there is anything in it."""
        if self._parts:
            self._write(f"{_OPEN}{''.join(self._parts)}</Objs>")
            self._parts = []

"""Objects as text for people: what Out-String and the host make of a pipeline's output.

Text, numbers and the like come out as they do in reality. Tables and lists of custom objects have the same words and
order; the width of columns is not promised, and no script should read it. Objects with a view of their own are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .conversions import Conversions
from .errors import ErrorRecord, Refusal
from .moments import SHOWN, DateTime
from .numbers import is_number
from .reports import error_lines
from .typesystem import DotNetType, EnumValue
from .values import (
    Hashtable,
    PSObject,
    ScriptBlock,
    SwitchValue,
    elements,
    enumerates,
)


class Formatter:
    """Turns a stream of objects into lines; neighbours with the same properties share a table."""

    def __init__(self, engine: Any, conversions: Conversions, width: int) -> None:
        self.engine = engine
        self.conversions = conversions
        self.width = width
        self._rows: list[PSObject] = []

    def lines(self, objects: Iterable[Any]) -> Iterator[str]:
        """All lines for all objects."""
        for item in objects:
            yield from self.feed(item)
        yield from self.finish()

    def feed(self, item: Any) -> Iterator[str]:
        """The lines that are ready with this object."""
        if isinstance(item, Hashtable):
            rows = [PSObject({"Name": key, "Value": value}) for key, value in item.items()]
            for row in rows:
                yield from self._row(row)
        elif isinstance(item, PSObject) and item.text is None:
            yield from self._row(item)
        else:
            yield from self.finish()
            yield from self._simple(item)

    def finish(self) -> Iterator[str]:
        """The lines of what was held back."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        if len(rows[0].names()) > 4:
            for row in rows:
                yield from self._list(row)
        elif rows[0].names():
            yield from self._table(rows)

    def _row(self, row: PSObject) -> Iterator[str]:
        kind = row.type_names[0]
        if not kind.endswith("PSCustomObject") and not kind.startswith("Selected."):
            raise Refusal("UnknownFormat", f"an object of type {kind} as text")
        if self._rows and self._rows[0].names() != row.names():
            yield from self.finish()
        self._rows.append(row)

    def _simple(self, item: Any) -> Iterator[str]:
        if item is None:
            return
        if isinstance(item, str):
            yield from _split_lines(item)
        elif isinstance(item, ErrorRecord):
            yield from error_lines(item, self.engine)
        elif isinstance(item, DateTime):
            yield ""
            yield item.format(SHOWN)
            yield ""
        elif enumerates(item):
            for part in elements(item):
                yield from self.feed(part)
        elif is_number(item) or isinstance(item, bool | EnumValue | PSObject | ScriptBlock):
            yield from _split_lines(self.conversions.text(item))
        else:
            raise Refusal("UnknownFormat", f"an object of type {self.conversions.registry.type_of(item).name} as text")

    def _cell(self, value: Any) -> str:
        if enumerates(value):
            return f"{{{', '.join(self._cell(part) for part in elements(value))}}}"
        if isinstance(value, Hashtable):
            return f"{{{', '.join(self.conversions.text(key) for key in value)}}}"
        if isinstance(value, DotNetType | SwitchValue) or value is None:
            return self.conversions.text(value)
        return self.conversions.text(value).replace("\r", "").replace("\n", " ")

    def _table(self, rows: list[PSObject]) -> Iterator[str]:
        names = rows[0].names()
        cells = [[self._cell(row[name]) for name in names] for row in rows]
        right = [is_number(rows[0][name]) for name in names]
        share = max(8, self.width // len(names) - 1)
        widths = [min(share, max(len(name), *(len(line[at]) for line in cells))) for at, name in enumerate(names)]

        def line(values: list[str], fill: str = " ") -> str:
            parts = []
            for value, width, on_right in zip(values, widths, right, strict=True):
                shown = value if len(value) <= width else f"{value[: max(0, width - 3)]}..."
                parts.append(shown.rjust(width, fill) if on_right else shown.ljust(width, fill))
            return " ".join(parts)

        yield ""
        yield line(names)
        yield line(["-" * len(name) for name in names])
        for row in cells:
            yield line(row)
        yield ""
        yield ""

    def _list(self, row: PSObject) -> Iterator[str]:
        width = max(map(len, row.names()))
        yield ""
        for name, value in row.items():
            yield f"{name.ljust(width)} : {self._cell(value)}"
        yield ""


def _split_lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")

"""systemd's unit files, as far as corral reads those that people have written: sections, keys, values.

Source: systemd.syntax(7) for lines, systemd.exec(5) for Environment=.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Entry(NamedTuple):
    """One assignment. value: "" takes away what was assigned before."""

    section: str
    key: str
    value: str


def parse(text: str) -> list[Entry]:
    """The assignments in their order. Comments are left out, lines that go on are joined by a blank."""
    entries: list[Entry] = []
    section = ""
    for line in _joined(text.splitlines()):
        if match := re.fullmatch(r"\[(.+)\]", line):
            section = match[1]
        elif "=" in line:
            key, _, value = line.partition("=")
            entries.append(Entry(section, key.strip(), value.strip()))
    return entries


def assignments(value: str) -> list[tuple[str, str]]:
    """The variables of one Environment= line; what is no assignment is left out, as systemd does."""
    try:
        words = shlex.split(value)
    except ValueError:  # a quote that is never closed
        return []
    pairs = (word.replace("%%", "%").partition("=") for word in words)
    return [(name, value) for name, equals, value in pairs if equals]


def render(entries: Iterable[Entry]) -> str:
    """The text of a drop-in with these assignments."""
    lines: list[str] = []
    section = ""
    for entry in entries:
        if entry.section != section:
            section = entry.section
            lines.append(f"[{section}]")
        lines.append(f"{entry.key}={entry.value}")
    return "".join(f"{line}\n" for line in lines)


def _joined(lines: Iterable[str]) -> Iterator[str]:
    begun = ""
    for line in lines:
        stripped = line.strip()
        if stripped.startswith(("#", ";")) or not (stripped or begun):
            continue
        if stripped.endswith("\\"):
            begun += stripped[:-1] + " "
        else:
            yield begun + stripped
            begun = ""
    if begun:
        yield begun.strip()

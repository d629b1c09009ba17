"""How a model that is there differs in meaning from the one that is declared, as a diff of Modelfile instructions.

Lines that start with "-" say what is there, lines with "+" what is declared. Of a text of several lines, as a chat
template is, only those that differ are shown, below the line before them. Much of it comes from a server that anybody
may have filled: what is not printable is escaped, and everything is cut to a length that people read.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import takewhile, zip_longest
from typing import TypeVar

from corral.meaning import Meaning, Value
from corral.modelfile import Message, same_setting
from corral.terminal import escaped

#: Characters of a line that are shown, and of what two long lines have in common before they differ.
WIDTH, BEFORE = 120, 30
#: Lines of one text that are shown, and of everything.
MOST_TEXT_LINES, MOST_LINES = 20, 60
#: Lines of a text, or messages, that are compared from the first that differs on: it takes the square of their number.
MOST_COMPARED = 500

T = TypeVar("T", bound=Hashable)


def drift(wanted: Meaning, seen: Meaning) -> list[str]:
    """The diff, a line each; empty where both mean the same.

    What only the server can know before the model exists (Meaning.unknown) is not compared.
    """
    return _at_most(MOST_LINES, _drift(wanted, seen))


def _drift(wanted: Meaning, seen: Meaning) -> Iterator[str]:
    if wanted.weights != seen.weights:
        yield from _lines("FROM", [_digest(seen.weights)], [_digest(wanted.weights)])
    for sign, blobs in (("-", seen.attachments - wanted.attachments), ("+", wanted.attachments - seen.attachments)):
        for kind, _, digest in sorted(blob.partition(" ") for blob in blobs):
            yield f"{sign} {kind.upper()} {_digest(digest)}"
    for name in sorted({*wanted.parameters, *seen.parameters} - wanted.unknown):
        have, want = seen.parameters.get(name), wanted.parameters.get(name)
        if not same_setting(want, have):
            yield from _lines(f"PARAMETER {escaped(name)}", _values(have, want), _values(want, have))
    for name in ("renderer", "parser", "requires", "template", "system", "license"):
        if name not in wanted.unknown:
            yield from _text(name.upper(), getattr(seen, name), getattr(wanted, name))
    yield from _messages(seen, wanted)


def _digest(digest: str) -> str:
    """Its first 12 digits, as many as `ollama list` shows of an ID."""
    return digest[: len("sha256:") + 12] or "unknown weights"


def _values(value: Value | None, other: Value | None) -> list[str]:
    """A parameter's values, of `stop` those that are not the other's too."""
    if value is None:
        return []
    if isinstance(value, frozenset):
        return sorted(value - other if isinstance(other, frozenset) else value)
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _messages(seen: Meaning, wanted: Meaning) -> Iterator[str]:
    if [each.role for each in seen.messages] == [each.role for each in wanted.messages]:
        for have, want in zip(seen.messages, wanted.messages, strict=True):
            yield from _text(f"MESSAGE {escaped(want.role)}", have.content, want.content)
    else:
        for first, last, start, end in _changes(seen.messages, wanted.messages):
            have_lines, want_lines = map(_message_lines, (seen.messages[first:last], wanted.messages[start:end]))
            yield from _lines("MESSAGE", have_lines, want_lines)


def _message_lines(messages: Sequence[Message]) -> list[str]:
    return [f"{each.role} {each.content}" for each in messages]


def _text(instruction: str, have: str, want: str) -> Iterator[str]:
    """The difference of two texts; an empty one is none at all."""
    if have == want:
        return
    if "\n" in have or "\n" in want:
        yield from _at_most(MOST_TEXT_LINES, _block(instruction, have, want))
    else:
        yield from _lines(instruction, [have] if have else [], [want] if want else [])


def _block(instruction: str, have: str, want: str) -> Iterator[str]:
    have_lines, want_lines = (text.split("\n") if text else [] for text in (have, want))
    for first, last, start, end in _changes(have_lines, want_lines):
        yield f"  {instruction}, line {first + 1}:" if have and want else f"  {instruction}:"
        if first and have_lines[first - 1].strip():
            yield f"    {_cut(have_lines[first - 1])}"
        yield from _lines("", have_lines[first:last], want_lines[start:end], indent="   ")


def _changes(have: Sequence[T], want: Sequence[T]) -> Iterator[tuple[int, int, int, int]]:
    """Where the two differ: from one place to before another in what is there, and in what is declared."""
    same = _in_common(have, want)
    end = same + MOST_COMPARED
    matcher = SequenceMatcher(None, have[same:end], want[same:end], autojunk=False)
    for kind, *places in matcher.get_opcodes():
        if kind != "equal":
            first, last, start, stop = (same + place for place in places)
            yield first, last, start, stop


def _lines(instruction: str, have: Sequence[str], want: Sequence[str], indent: str = " ") -> Iterator[str]:
    """Lines that are there and lines that are declared, each after the instruction; long ones from a little before the
    place where they differ."""
    head = f"{indent}{instruction} " if instruction else indent
    pairs = [
        (one, other, _shared(one, other) if one is not None and other is not None else 0)
        for one, other in zip_longest(have, want)
    ]
    yield from (f"-{head}{_cut(one, shared)}" for one, _, shared in pairs if one is not None)
    yield from (f"+{head}{_cut(other, shared)}" for _, other, shared in pairs if other is not None)


def _shared(one: str, other: str) -> int:
    """How much of the beginning of two long lines need not be shown."""
    return max(0, _in_common(one, other) - BEFORE) if max(len(one), len(other)) > WIDTH else 0


def _in_common(one: Sequence[T], other: Sequence[T]) -> int:
    """How many things the two begin with that are the same."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _cut(line: str, start: int = 0) -> str:
    end = start + WIDTH
    return ("…" if start else "") + escaped(line[start:end]) + ("…" if len(line) > end else "")


def _at_most(most: int, lines: Iterator[str]) -> list[str]:
    found = list(lines)
    if len(found) <= most:
        return found
    return [*found[: most - 1], f"  … and {len(found) - most + 1} more lines"]

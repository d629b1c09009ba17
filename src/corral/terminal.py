"""Text from hosts, servers and files, as it may be shown on a terminal."""

from __future__ import annotations


def escaped(text: str) -> str:
    """The text on one line: what is not printable (escape sequences, line breaks, characters that hide text or turn it
    around) and blanks at the end, which nobody would see, stand as Python's escapes. Tabs stay."""
    visible = text.rstrip(" \t")
    end = "".join("\\x20" if blank == " " else "\\t" for blank in text[len(visible) :])
    return "".join(each if each.isprintable() or each == "\t" else _escape(each) for each in visible) + end


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()

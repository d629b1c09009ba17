"""Words for people's eyes."""

from __future__ import annotations

from collections.abc import Sequence


def joined(names: Sequence[str]) -> str:
    """ "a, b and c"; at least one."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last

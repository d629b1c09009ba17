"""One thing that verification looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. found: a sentence that says what is so; remedy: what to do if not ok."""

    name: str
    ok: bool
    found: str
    remedy: str = ""

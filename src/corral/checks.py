"""One thing that verification looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. found: a sentence that says what is so; remedy: what to do if not ok."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def check_environment(differing: Mapping[str, str | None], remedy: str) -> Check:
    """Whether the server runs with what is declared. differing: what it runs with instead; None: it is secret."""
    shown = (name if value is None else f"{name}={value}" for name, value in sorted(differing.items()))
    found = f"{', '.join(shown)}, which is not what is declared" if differing else "the declared environment"
    return Check("environment", not differing, f"the server runs with {found}.", remedy)

"""The settings as documentation: what `corral settings` prints and README shows."""

from __future__ import annotations

from collections.abc import Iterable

from corral.settings import Entry, PlanSpec, Settings, entries


def settings_table() -> str:
    """Every setting with its kind, default, example and meaning, as a Markdown table."""
    return _table("setting", Settings.reference())


def plan_table() -> str:
    """What can be asked of a model's plan, as a Markdown table."""
    return _table("in plan", entries(PlanSpec))


def _table(first: str, listed: Iterable[Entry]) -> str:
    rows = [
        f"| `{entry.key}` | {entry.kind} | `{entry.default}` | `{entry.example}` | {entry.description} |"
        for entry in listed
    ]
    return "\n".join((f"| {first} | kind | default | example | meaning |", "|---|---|---|---|---|", *rows)) + "\n"

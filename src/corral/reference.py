"""The settings as documentation: what `corral settings` prints and README shows."""

from __future__ import annotations

from corral.settings import Settings


def settings_table() -> str:
    """Every setting with its kind, default, example and meaning, as a Markdown table."""
    rows = [
        f"| `{entry.key}` | {entry.kind} | `{entry.default}` | `{entry.example}` | {entry.description} |"
        for entry in Settings.reference()
    ]
    return "\n".join(("| setting | kind | default | example | meaning |", "|---|---|---|---|---|", *rows)) + "\n"

"""What the lab says when it can't go on."""

from __future__ import annotations


class LabError(Exception):
    """An expected failure: one sentence that says what was found and what to do."""

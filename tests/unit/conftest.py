"""Unit tests need no host. Their generated examples are repeatable."""

from __future__ import annotations

import tests.repeatable  # noqa: F401

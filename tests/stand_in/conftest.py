"""Tests of the lab's stand-ins for Windows: in a process of their own, for gevent, which corral's tests have in theirs,
changes what threads and sockets are. Their generated examples are repeatable."""

from __future__ import annotations

import tests.repeatable  # noqa: F401

"""Version numbers, as programs and drivers write them."""

from __future__ import annotations

import re


def numbers(version: str) -> tuple[int, ...]:
    """(0, 34, 1) of "0.34.1", of "v0.34.1" and of "0.34.1-rc1"."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))

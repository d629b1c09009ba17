"""Version numbers, as programs and drivers write them."""

from __future__ import annotations

import re

from corral.environment import KNOWN_VERSION
from corral.errors import CorralError


def numbers(version: str) -> tuple[int, ...]:
    """(0, 34, 1) of "0.34.1", of "v0.34.1" and of "0.34.1-rc1"."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))


def release(text: str) -> str:
    """A release of Ollama without a leading v. Raises CorralError for what is no version of one."""
    version = text.removeprefix("v")
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?", version):
        raise CorralError(f"{text} is not a version", f"Write it as in {KNOWN_VERSION}")
    return version

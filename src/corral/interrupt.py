"""Ctrl-C must not look like success: pyinfra's own handler ends with exit code 0."""

from __future__ import annotations

import signal
import sys
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT


def exit_with_code_on_interrupt() -> None:
    """Let SIGINT end the program with exit code 130, as shells expect it."""
    signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    print("Interrupted. What was done stays done; run again to continue.", file=sys.stderr)
    sys.exit(INTERRUPTED)

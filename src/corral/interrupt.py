"""Ctrl-C must not look like success: pyinfra's own handler ends with exit code 0."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT


def exit_with_code_on_interrupt() -> None:
    """Let SIGINT end the program with exit code 130, as shells expect it."""
    signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    print("Interrupted. What was done stays done; run again to continue.", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: whichever greenlet is at work gets the signal, and one that is a thread to paramiko would end
    # alone. Connections end with the process, and hosts end what they were doing for it.
    os._exit(INTERRUPTED)

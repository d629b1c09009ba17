"""How the lab runs its long commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.building import run
from lab.errors import LabError
from lab.progress import Step

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the lab, and so its builds, need root")


class Watched(Step):
    """A step that remembers how far it was."""

    def __init__(self) -> None:
        super().__init__("building", None)
        self.seen: list[tuple[float, float]] = []

    def advance(self, done: float, total: float) -> None:
        self.seen.append((done, total))


def test_progress_is_read_from_what_ninja_prints(tmp_path: Path) -> None:
    step = Watched()
    script = "echo starting; echo '[1/2] one'; echo '[2/2] two'"
    run(["bash", "-c", script], tmp_path, tmp_path / "log", step, {})
    assert step.seen == [(1, 2), (2, 2)]
    assert (tmp_path / "log").read_text() == "starting\n[1/2] one\n[2/2] two\n"


def test_a_failure_names_the_log_and_shows_its_end(tmp_path: Path) -> None:
    script = 'for i in {1..40}; do echo "line $i"; done; echo "$WORD" >&2; exit 3'
    with pytest.raises(LabError) as caught:
        run(["bash", "-c", script], tmp_path, tmp_path / "log", Watched(), {"WORD": "broken"})
    message = str(caught.value)
    assert str(tmp_path / "log") in message
    assert message.endswith("line 40\nbroken")
    assert "line 12\n" in message
    assert "line 11\n" not in message


def test_nothing_goes_on_when_the_lab_is_killed(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from lab.building import run
from lab.progress import Step
here = Path({str(tmp_path)!r})
# The grandchild is what a compiler is: started by something that we started.
run(["bash", "-c", "(while sleep 0.1; do date >beat; done) & wait"], here, here / "log", Step("x", None), {{}})
"""
    with subprocess.Popen([sys.executable, "-c", program]) as lab:
        beat = tmp_path / "beat"
        deadline = time.monotonic() + 20
        while not beat.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert beat.exists()
        lab.send_signal(signal.SIGKILL)
    time.sleep(0.3)
    beat.unlink()
    time.sleep(0.5)
    assert not beat.exists()

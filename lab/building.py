"""Runs the lab's long commands: quietly, at low priority, with a log, and none of them outlives the lab's process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import LabError
from lab.progress import Step

#: Runs a command in a root file system made of layers.
IN_LAYERS = Path(__file__).resolve().with_name("in-layers.sh")
#: How ninja begins a line: "[12/533] Building ...".
NINJA = re.compile(r"\[(\d+)/(\d+)\] ")
LOG_LINES = 30
#: In a PID namespace whose first process dies with us: that ends make-alikes and compilers too, however we are killed.
CONTAINED = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "nice")


def run(command: Sequence[str | Path], directory: Path, log: Path, step: Step, environment: Mapping[str, str]) -> None:
    """Runs a command in a directory and shows its last line, or how far it is when it counts as ninja does.

    environment: added to this process's own. log: appended to. Raises LabError with the end of the log.
    """
    with log.open("a", errors="replace") as output, subprocess.Popen(
        [*CONTAINED, *map(str, command)], cwd=directory, env=os.environ | environment, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout
        try:
            for line in process.stdout:
                output.write(line)
                output.flush()
                if counted := NINJA.match(line):
                    step.advance(int(counted[1]), int(counted[2]))
                elif line.strip():
                    step.detail(line.strip()[:60])
        except BaseException:
            process.send_signal(signal.SIGKILL)
            raise
    if process.returncode:
        raise LabError(f"{step.title} failed. The whole log: {log}; its end:\n{tail(log)}")


def tail(log: Path, lines: int = LOG_LINES) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

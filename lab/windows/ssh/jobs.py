"""Job objects: what a session's processes have in common, whatever starts them, as a cgroup of the host.

A process of Linux cannot leave its cgroup by ending its parent or changing its environment, and what systemd starts
for the machine (a scheduled task) is in another: so are a job and what breaks away from it.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

CONTROL = Path("/sys/fs/cgroup")
ENTER = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
#: How long processes that were killed may take until they are gone.
GONE_S = 10.0


class Job:
    """One job: everything that was started in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def name(self) -> str:
        return self.directory.name

    def enter(self, arguments: list[str]) -> list[str]:
        """The arguments of a process that runs in the job from its first moment."""
        return ["/bin/sh", "-c", ENTER, str(self.directory), *arguments]

    def add(self, pid: int) -> None:
        """Puts a process that runs already into the job; nothing to do when it is gone."""
        try:
            (self.directory / "cgroup.procs").write_text(str(pid))
        except (ProcessLookupError, FileNotFoundError):
            return

    def processes(self) -> list[int]:
        """Those that are in the job, by their numbers on Linux."""
        try:
            return [int(line) for line in (self.directory / "cgroup.procs").read_text().split()]
        except FileNotFoundError:
            return []

    def close(self) -> None:
        """Ends all processes in the job, and the job."""
        end = time.monotonic() + GONE_S
        while members := self.processes():
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if time.monotonic() > end:
                raise TimeoutError(f"processes of {self.directory} do not end: {members}")
            time.sleep(0.005)
        while self.directory.exists():
            try:
                self.directory.rmdir()
            except OSError:
                # The last process is still being buried.
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)


class Jobs:
    """All jobs of the machine's sshd, below one cgroup."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def new(self) -> Job:
        directory = self._root / f"session-{uuid.uuid4().hex}"
        directory.mkdir()
        return Job(directory)

    def find(self, name: str) -> Job | None:
        """The job of that name, while it is there."""
        directory = self._root / name
        return Job(directory) if name.startswith("session-") and directory.is_dir() else None


def own_group() -> Path:
    """This process's cgroup, in which the host's systemd lets its service make others (Delegate=yes)."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            mount = CONTROL / "systemd" if controllers else CONTROL
            group = mount / path.lstrip("/")
            if (group / "cgroup.procs").exists():
                return group
    raise RuntimeError("this process has no cgroup of its own: run it as a service of systemd")

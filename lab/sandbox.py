"""The part of the kernel that belongs to one lab: a cgroup for its processes, two namespaces for the rest.

Every process of the lab is in the cgroup `corral-lab-ID`, and every mount and network interface is in the
namespaces of one of them, the holder. So taking the lab down needs no record of what was done: whatever was
killed, and when, ending the cgroup ends the lab.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.config import NETWORKS, REPOSITORY, Layout
from lab.errors import LabError

SCRIPTS = REPOSITORY / "lab"
#: Notes on what was changed on the machine itself, shared by its labs: the last one to go puts it back.
MACHINE_NOTES = Path("/run/corral-lab")
INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
#: Each host's systemd takes about ten; Linux gives all hosts together 128.
NEEDED_INOTIFY_INSTANCES = 8192


def wait_for(condition: Callable[[], bool], timeout_s: float, otherwise: str, pause_s: float = 0.02) -> None:
    """Waits until the condition holds; raises LabError(otherwise) when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(otherwise)
        time.sleep(pause_s)


class Sandbox:
    """One lab's cgroup and namespaces. Methods raise LabError when the kernel or root's rights lack."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.name = f"corral-lab-{layout.lab_id}"
        self._mount: Path | None = None

    @property
    def cgroup(self) -> Path:
        if self._mount is None:
            self._mount = _cgroup_mount()
        return self._mount / self.name

    def join(self) -> None:
        """Makes this process, and so all that it starts, part of the lab."""
        _require_root()
        group = self.cgroup / "commands"
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text(str(os.getpid()))

    def holder(self) -> int | None:
        """The holder's process ID, when it has finished making its namespaces."""
        for pid in _members(self.cgroup / "holder"):
            if (root_of(pid) / "run/lab-ready").exists():
                return pid
        return None

    def require_holder(self) -> int:
        """As holder(); raises LabError when the lab is not up."""
        pid = self.holder()
        if pid is None:
            raise LabError("the lab is not up; `make lab` brings it up")
        return pid

    @property
    def is_up(self) -> bool:
        return self.holder() is not None

    def start(self) -> bool:
        """Makes the namespaces and networks; False when they were there."""
        if self.is_up:
            return False
        _require_root()
        self._prepare_machine()
        # What an earlier start left half made is ended, and hosts that have outlived their network.
        for group in ("holder", "hosts", "delay"):
            end_group(self.cgroup / group)
        bridges = [f"{network.bridge}={network.interface_address}" for network in NETWORKS]
        log = self.layout.state / "holder.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            subprocess.run(
                [
                    SCRIPTS / "in-cgroup.sh", self.cgroup / "holder", "setsid", "--fork",
                    "unshare", "--mount", "--net", "--propagation", "slave", SCRIPTS / "holder.sh", *bridges,
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=True,
            )  # fmt: skip
        try:
            wait_for(lambda: self.is_up, 10, "")
        except LabError:
            raise LabError(
                f"the lab's namespaces could not be made: {log.read_text().strip() or 'no answer'}"
            ) from None
        return True

    def inside(self, command: Sequence[str | Path], cwd: Path = Path("/")) -> list[str]:
        """The command line that runs `command` in the lab's mount and network namespaces."""
        enter = ["nsenter", "--target", str(self.require_holder()), "--mount", "--net", f"--wdns={cwd}", "--"]
        return [*enter, *map(str, command)]

    def run(self, *command: str | Path, stdin: str = "", cwd: Path = Path("/")) -> str:
        """Runs a command in the lab's namespaces and gives its output."""
        return self._output(self.inside(command, cwd), stdin)

    def host_group(self, name: str) -> Path:
        return self.cgroup / "hosts" / name

    def run_in_group(self, group: Path, command: Sequence[str | Path], stdin: str = "") -> str:
        """As run(), for what needs a control group of its own: systemd-nspawn. Ends what it left behind."""
        try:
            return self._output([SCRIPTS / "in-cgroup.sh", group, *self.inside(command)], stdin)
        finally:
            end_group(group)

    def path(self, path: Path) -> Path:
        """A path as the lab's mount namespace has it, reachable from here."""
        return root_of(self.require_holder()) / path.relative_to("/")

    def mounted(self, path: Path) -> bool:
        """Whether something is mounted at exactly this path in the lab."""
        table = Path(f"/proc/{self.require_holder()}/mountinfo").read_text()
        return any(_unescape(line.split()[4]) == str(path) for line in table.splitlines())

    def kill_all(self) -> None:
        """Ends every process of the lab but this one, and so its mounts and interfaces."""
        _require_root()
        self._leave()
        kill_group(self.cgroup)

    def destroy(self) -> None:
        """Ends the lab and removes its cgroup and files."""
        self.kill_all()
        remove_group(self.cgroup)
        state = self.layout.state
        if state.exists():
            # Nothing is mounted in here any more; should that ever be wrong, another's files stay whole.
            subprocess.run(["rm", "-rf", "--one-file-system", "--", state], check=True)
        self._restore_machine()

    def _output(self, command: Sequence[str | Path], stdin: str) -> str:
        done = subprocess.run(
            command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"{' '.join(map(str, command))} failed: {done.stdout.strip()}")
        return done.stdout

    def _leave(self) -> None:
        """`lab down` may have been started by a command that runs in the lab."""
        if os.getpid() in _members(self.cgroup, recursive=True):
            (self.cgroup.parent / "cgroup.procs").write_text(str(os.getpid()))

    def _prepare_machine(self) -> None:
        MACHINE_NOTES.mkdir(mode=0o700, exist_ok=True)
        (MACHINE_NOTES / f"lab-{self.layout.lab_id}").touch()
        instances = INOTIFY_INSTANCES.read_text()
        if int(instances) < NEEDED_INOTIFY_INSTANCES:
            _note("inotify-instances", instances)
            INOTIFY_INSTANCES.write_text(str(NEEDED_INOTIFY_INSTANCES))
        # `lab/run` lays the lab's own files over this directory; that needs one to lay them over.
        ssh_dir = home() / ".ssh"
        if not ssh_dir.exists():
            _note("ssh-directory", str(ssh_dir))
            ssh_dir.mkdir(mode=0o700)

    def _restore_machine(self) -> None:
        if not MACHINE_NOTES.exists():
            return
        (MACHINE_NOTES / f"lab-{self.layout.lab_id}").unlink(missing_ok=True)
        if any(MACHINE_NOTES.glob("lab-*")):
            return
        if (note := MACHINE_NOTES / "inotify-instances").exists():
            INOTIFY_INSTANCES.write_text(note.read_text())
        if (note := MACHINE_NOTES / "ssh-directory").exists():
            with contextlib.suppress(OSError):  # somebody has put something into it since
                Path(note.read_text()).rmdir()
        shutil.rmtree(MACHINE_NOTES)


def home() -> Path:
    """Where ssh looks for its files, whatever HOME says."""
    return Path(pwd.getpwuid(os.geteuid()).pw_dir)


def kill_group(cgroup: Path) -> None:
    """Kills every process in a cgroup and below it, and waits until they are gone."""
    if not cgroup.exists():
        return

    def gone() -> bool:
        with contextlib.suppress(OSError):
            (cgroup / "cgroup.kill").write_text("1")  # Linux 5.14
        for pid in _members(cgroup, recursive=True):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not populated(cgroup)

    wait_for(gone, 30, f"some process in {cgroup} can't be killed", pause_s=0.01)


def remove_group(cgroup: Path) -> None:
    """Removes an empty cgroup and those below it; the kernel may need a moment after the last process."""

    def removed() -> bool:
        for directory, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        return not cgroup.exists()

    wait_for(removed, 10, f"the control group {cgroup} can't be removed", pause_s=0.01)


def populated(cgroup: Path) -> bool:
    """Whether a process lives in the cgroup or below it."""
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def end_group(cgroup: Path) -> None:
    kill_group(cgroup)
    remove_group(cgroup)


def _members(cgroup: Path, recursive: bool = False) -> list[int]:
    files = cgroup.rglob("cgroup.procs") if recursive else [cgroup / "cgroup.procs"]
    pids: list[int] = []
    for file in files:
        with contextlib.suppress(OSError):
            pids += map(int, file.read_text().split())
    return pids


def root_of(pid: int) -> Path:
    """A process's root directory with all that is mounted in it, as seen from here."""
    return Path("/proc", str(pid), "root")


def init_process(cgroup: Path) -> int | None:
    """The process ID, as seen from here, of the init that runs in a host's cgroup."""
    for group in ("payload/init.scope", "payload"):
        for pid in _members(cgroup / group):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
                if len(numbers) > 2 and numbers[-1] == "1":
                    return pid
    return None


def _cgroup_mount() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return Path(_unescape(fields.split()[4]))
    raise LabError("this machine has no cgroup version 2 mounted; the lab's hosts need one")


def _unescape(mount_point: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal."""
    for code, char in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        mount_point = mount_point.replace(f"\\{code}", char)
    return mount_point


def _note(name: str, text: str) -> None:
    """Keeps the first value: a second lab finds what the first one set."""
    note = MACHINE_NOTES / name
    if not note.exists():
        note.write_text(text)


def _require_root() -> None:
    if os.geteuid():
        raise LabError("the lab's hosts are containers with their own init: run this as root")

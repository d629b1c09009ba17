"""The lab's hosts: what can be done to them and asked of them, from outside, without ssh.

`Lab` is what tests use. It works outside and inside of `lab/run`.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import NamedTuple

from lab import cache, mirror, network, preparation
from lab.config import MIRROR, Host, Layout, find_host
from lab.errors import LabError
from lab.layers import PREFIX
from lab.preparation import HostFiles
from lab.sandbox import SCRIPTS, Sandbox, end_group, init_process, populated, root_of, wait_for

BOOT_TIMEOUT_S = 60.0
#: systemd-nspawn's and sshd's own words.
CONNECTION = re.compile(r"Connection from \S+ port \d+ on ")
SESSION = re.compile(r"Starting session: (command|subsystem|shell|forced-command)")
#: Ollama's access log: "[GIN] 2026/11/22 - 10:00:00 | 200 | 1ms | 127.0.0.1 | GET "/api/version"", to the second.
API_REQUEST = re.compile(r"\[GIN\] (\S+ - \S+) .*\| *(\d{3}) \|.*\| *(\S+) \| *(\w+) +\"(\S+)\"")
API_REQUEST_TIME = "%Y/%m/%d - %H:%M:%S"
#: Where Ollama's log is on a Windows host, which has no journal.
WINDOWS_SERVER_LOG = f"/{PREFIX}/drive_c/ProgramData/Ollama/logs/server.log"
#: The program, of the GPU tools, that takes a card's memory.
HOG = "hog"
ENVIRONMENT = (
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM=xterm-256color",
)


class State(StrEnum):
    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    #: Running, with a failed unit.
    DEGRADED = "degraded"


class Completed(NamedTuple):
    """A command's exit status, and what it wrote on standard output and error, together."""

    rc: int
    out: str


@dataclass(frozen=True)
class SshUse:
    """What a host's sshd has seen: TCP connections, and the remote commands asked for over them
    (exec, shell and subsystem requests; a forwarded TCP connection is none)."""

    connections: int
    commands: int


class ApiRequest(NamedTuple):
    """One request as Ollama's own access log has it."""

    status: int
    client: str
    method: str
    path: str


class Lab:
    """This checkout's lab. Host names are those of lab.config; an unknown or missing one raises LabError."""

    def __init__(self, layout: Layout | None = None) -> None:
        self.layout = layout or Layout()
        self.sandbox = Sandbox(self.layout)
        self.mirror = Mirror(self)

    # What there is

    def hosts(self) -> tuple[Host, ...]:
        """The hosts that `lab up` has made, running or not, in the order of their addresses."""
        directory = self.layout.state / "hosts"
        names = [path.parent.name for path in directory.glob("[!.]*/signature")]
        return tuple(sorted(map(find_host, names), key=_address))

    def state(self, host: str) -> State:
        group = self.sandbox.host_group(find_host(host).name)
        if not populated(group):
            return State.OFF
        try:
            answer = self.exec(host, ["systemctl", "is-system-running"], timeout_s=10).out.strip()
        except LabError:
            return State.STARTING
        return State(answer) if answer in ("running", "degraded") else State.STARTING

    def files(self, host: str) -> HostFiles:
        files = HostFiles(self.layout.host(find_host(host).name))
        if not files.signature.exists():
            raise LabError(f"{host} is not part of the lab that is up; `python -m lab up` makes it")
        return files

    # On a host, as root, without ssh

    def exec(
        self, host: str, command: str | Sequence[str], stdin: str | bytes = "", timeout_s: float = 120
    ) -> Completed:
        """Runs a command as root on a running host; a string is for its bash.

        Raises LabError when the host is off; a command that takes longer is killed and returns 124 or 137.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        limit = ["timeout", "--kill-after=2", str(timeout_s), *_words(command)]
        done = subprocess.run(
            self.enter(host, limit), input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return Completed(done.returncode, done.stdout.decode(errors="replace"))

    def check(self, host: str, command: str | Sequence[str], stdin: str | bytes = "") -> str:
        """As exec, but raises LabError when the command fails, and gives its output alone."""
        done = self.exec(host, command, stdin)
        if done.rc:
            raise LabError(f"{command!r} failed on {host} with {done.rc}: {done.out.strip()}")
        return done.out

    def enter(self, host: str, command: str | Sequence[str]) -> list[str]:
        """The command line that runs a command as root in a host's namespaces."""
        group = self.sandbox.host_group(find_host(host).name)
        pid = init_process(group)
        if pid is None:
            raise LabError(f"{host} is off; `python -m lab boot {host}` starts it")
        return [
            str(SCRIPTS / "in-cgroup.sh"), str(group / "entered"),
            "nsenter", "--target", str(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--time",
            "--root", "--wd", "--", "env", "--ignore-environment", *ENVIRONMENT, *_words(command),
        ]  # fmt: skip

    def read(self, host: str, path: str) -> bytes:
        done = subprocess.run(self.enter(host, ["cat", "--", path]), capture_output=True, check=False)
        if done.returncode:
            raise LabError(f"{host}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def write(self, host: str, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Writes a file as root, and the directories above it where they lack."""
        script = 'mkdir -p -- "$(dirname -- "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.check(host, ["bash", "-c", script, "bash", path, f"{mode:o}"], content)

    # Power

    def boot(self, host: str, wait: bool = True) -> None:
        """Switches a host on; nothing to do when it is. With wait: until it is up, ssh and firewall too."""
        with self._only_one(host):
            self._boot(find_host(host))
        if wait:
            self.wait(host)

    def off(self, host: str) -> None:
        """Shuts a host down in order."""
        with self._only_one(host):
            group = self.sandbox.host_group(host)
            if populated(group):
                self.exec(host, ["systemctl", "poweroff"])
                wait_for(lambda: not populated(group), BOOT_TIMEOUT_S, f"{host} does not shut down")
            end_group(group)

    def kill(self, host: str) -> None:
        """Cuts a host's power."""
        with self._only_one(host):
            end_group(self.sandbox.host_group(host))

    def reboot(self, host: str, wait: bool = True) -> None:
        """Reboots a host from within."""
        group = self.sandbox.host_group(find_host(host).name)
        before = init_process(group)
        self.exec(host, ["systemctl", "reboot"])
        wait_for(lambda: init_process(group) not in (before, None), BOOT_TIMEOUT_S, f"{host} does not reboot")
        if wait:
            self.wait(host)

    def reset(self, host: str, wait: bool = True) -> None:
        """Makes a host as bare as at first: its power is cut, its files and disks are emptied, it is booted.

        Its ssh keys and machine ID stay.
        """
        with self._only_one(host):
            found, files = find_host(host), self.files(host)
            end_group(self.sandbox.host_group(host))
            preparation.unmount(files, found, self.sandbox)
            cache.remove(files.upper)
            files.console.unlink(missing_ok=True)
            self._boot(found)
        if wait:
            self.wait(host)

    def wait(self, host: str, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Waits until a host that was switched on has started everything that it starts."""
        console = self.files(host).console
        wait_for(lambda: self._started(host), timeout_s, f"{host} does not come up; its console: {console}")

    # Its GPUs

    def hold_gpu(self, host: str, mib: int) -> None:
        """Has a program take so much memory of the host's first card, until free_gpu() or the host goes off.

        Raises LabError when so much is not free.
        """
        self.free_gpu(host)
        # The first line comes once it has the memory, or says why it has not.
        with subprocess.Popen(
            self.enter(host, ["setsid", "--fork", HOG, str(mib)]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as starter:  # fmt: skip
            assert starter.stdout
            answer = starter.stdout.readline().strip()
        if not answer.startswith("holding"):
            raise LabError(f"{host}: {answer or f'{HOG} did not start'}")

    def free_gpu(self, host: str) -> None:
        """Ends what hold_gpu() started."""
        self.exec(host, ["pkill", "--exact", HOG])

    # The network

    def cut(self, host: str) -> None:
        """Pulls a host's network cable, until uncut() or its next boot."""
        network.cut(self.sandbox, find_host(host))

    def uncut(self, host: str) -> None:
        network.uncut(self.sandbox, find_host(host))

    def delay(self, round_trip_ms: float) -> None:
        """Adds this much to every round trip between the controller and the hosts; 0 removes it."""
        network.set_delay(self.sandbox, round_trip_ms)

    # What happened

    def journal(self, host: str, since: float = 0.0, *arguments: str) -> list[str]:
        """The messages in a host's journal since a time (seconds since 1970), of earlier boots too.

        arguments: journalctl's, to choose among them ("--unit=ollama").
        """
        command = ["journalctl", "--output=json", f"--since=@{int(since)}", "--no-pager", "--quiet", *arguments]
        entries = [json.loads(line) for line in self.check(host, command).splitlines()]
        return [_message(entry["MESSAGE"]) for entry in entries if int(entry["__REALTIME_TIMESTAMP"]) >= since * 1e6]

    def count_commands(self, host: str, since: float = 0.0) -> SshUse:
        """What reached the host's sshd since a time (seconds since 1970), from sshd's own log."""
        messages = self.journal(host, since, "--identifier=sshd", "--identifier=sshd-session")
        return SshUse(
            connections=sum(bool(CONNECTION.match(message)) for message in messages),
            commands=sum(bool(SESSION.match(message)) for message in messages),
        )

    def api_requests(self, host: str, since: float = 0.0) -> list[ApiRequest]:
        """The requests that the host's Ollama has answered since a time, from its own access log."""
        if find_host(host).windows:
            return api_requests(self.exec(host, ["cat", "--", WINDOWS_SERVER_LOG]).out.splitlines(), since)
        return api_requests(self.journal(host, since, "--unit=ollama"))

    # Inside

    def _boot(self, host: Host) -> None:
        group = self.sandbox.host_group(host.name)
        if populated(group):
            return
        files = self.files(host.name)
        end_group(group)
        network.unplug(self.sandbox, host)
        preparation.mount(files, host, self.sandbox)
        arguments = json.loads(files.arguments.read_text())
        command = self.sandbox.inside([SCRIPTS / "boot.sh", files.root, host.name, *arguments])
        with files.console.open("ab") as console:
            subprocess.run(
                [SCRIPTS / "in-cgroup.sh", group, "setsid", "--fork", *command],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, check=True,
            )  # fmt: skip

    def _started(self, host: str) -> bool:
        group = self.sandbox.host_group(host)
        if not populated(group):
            end = _tail(self.files(host).console)
            raise LabError(f"{host} has gone off while it started; the end of its console:\n{end}")
        pid = init_process(group)
        # systemd listens here as soon as it can be asked.
        if pid is None or not (root_of(pid) / "run/systemd/private").exists():
            return False
        with contextlib.suppress(LabError):
            self.check(host, ["/lib/systemd/systemd-networkd-wait-online", "--interface=host0", "--timeout=20"])
            answer = self.exec(host, ["systemctl", "is-system-running", "--wait"], timeout_s=BOOT_TIMEOUT_S)
            return answer.out.strip() in ("running", "degraded")
        return False

    @contextmanager
    def _only_one(self, host: str) -> Iterator[None]:
        """One change of a host's power at a time."""
        with self.files(host).signature.open() as lock:
            flock(lock, LOCK_EX)
            yield


class Mirror:
    """What tests make go wrong at the mirror, and what it has been asked for.

    Every order replaces the one before: `reset()` makes the mirror well again.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def set(
        self,
        *,
        bytes_per_second: int | None = None,
        cuts: Iterable[mirror.Cut] = (),
        corrupt: Iterable[str] = (),
        missing: Iterable[str] = (),
    ) -> None:
        """Orders the mirror to behave like this (see mirror.Control), from the next request on."""
        control = mirror.Control(bytes_per_second, tuple(cuts), tuple(corrupt), tuple(missing))
        mirror.write_control(self._lab.layout.mirror, control)

    def reset(self) -> None:
        """Up, fast, whole and complete."""
        self.set()
        self.up()

    def down(self) -> None:
        """Connections are refused, and those that there are end."""
        self._lab.check(MIRROR.name, ["systemctl", "stop", preparation.MIRROR_UNIT.name])

    def up(self) -> None:
        self._lab.check(MIRROR.name, ["systemctl", "start", preparation.MIRROR_UNIT.name])

    def requests(self, since: float = 0.0) -> list[mirror.Request]:
        """The requests answered since a time (seconds since 1970)."""
        return mirror.read_log(self._lab.layout.mirror, since)


def api_requests(log: Iterable[str], since: float = 0.0) -> list[ApiRequest]:
    """Those requests in Ollama's log that were answered since a time, or in the second before it; clocks are UTC's."""
    found = []
    for match in filter(None, map(API_REQUEST.search, log)):
        answered = datetime.strptime(match[1], API_REQUEST_TIME).replace(tzinfo=UTC)
        if answered.timestamp() >= int(since):
            found.append(ApiRequest(int(match[2]), match[3], match[4], match[5]))
    return found


def each(hosts: Iterable[Host], action: Callable[[Host], None]) -> None:
    """Does something to several hosts at once; raises the first error after all have ended."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        for result in [pool.submit(action, host) for host in hosts]:
            result.result()


def _words(command: str | Sequence[str]) -> list[str]:
    return ["bash", "-c", command] if isinstance(command, str) else list(command)


def _message(message: str | list[int]) -> str:
    """journalctl writes a message that is not printable text as a list of bytes."""
    return message if isinstance(message, str) else bytes(message).decode(errors="replace")


def _address(host: Host) -> list[int]:
    return [int(part) for part in host.address.split(".")]


def _tail(file: Path, lines: int = 10) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])

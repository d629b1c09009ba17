"""What the model needs of the Linux host that it runs on, and how the host gives it.

Tests hand the machine a host of their own; nothing else in the model touches Linux but for files.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
#: The unit that reboots later.
REBOOT = "windows-reboot"
SOCKET = re.compile(r"^socket:\[(\d+)\]$")
#: States of /proc/net/tcp, as Get-NetTCPConnection names them (MSFT_NetTCPConnection).
STATES = {
    "01": "Established",
    "02": "SynSent",
    "03": "SynReceived",
    "04": "FinWait1",
    "05": "FinWait2",
    "06": "TimeWait",
    "07": "Closed",
    "08": "CloseWait",
    "09": "LastAck",
    "0A": "Listen",
    "0B": "Closing",
}


@dataclass(frozen=True)
class HostProcess:
    """A process of Linux. `started` is in seconds since 1970, `resident` in bytes, `cpu_s` in seconds."""

    pid: int
    parent: int
    started: float
    arguments: tuple[str, ...]
    executable: str
    environment: Mapping[str, str]
    resident: int = 0
    cpu_s: float = 0.0


@dataclass(frozen=True)
class OpenFile:
    """A file that a process has open. `image`: it runs from it. `writable`: it was opened for writing."""

    pid: int
    device: int
    inode: int
    writable: bool = False
    image: bool = False


@dataclass(frozen=True)
class Socket:
    """A TCP socket; `pids` are the processes that hold it. `state` is as in MSFT_NetTCPConnection."""

    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    state: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Address:
    """An IP address of an interface."""

    interface: str
    index: int
    address: str
    prefix_length: int
    loopback: bool = False


class Host(Protocol):
    """The Linux host."""

    def processes(self) -> Iterable[HostProcess]: ...

    def open_files(self, pids: Iterable[int]) -> Iterable[OpenFile]: ...

    def kill(self, pid: int) -> None:
        """Ends a process at once; nothing to do when it is gone."""

    def alive(self, pid: int) -> bool: ...

    def sockets(self) -> Iterable[Socket]: ...

    def addresses(self) -> Iterable[Address]: ...

    def start_apart(self, arguments: Sequence[str], environment: Mapping[str, str], directory: str) -> int:
        """Starts a process outside of the session that asks for it, as a service does; returns its pid."""

    def load_rules(self, ruleset: str) -> None:
        """Loads a ruleset of nftables, whole."""

    def reboot(self, delay_s: int = 0) -> None:
        """Reboots the host, after a while."""

    def cancel_reboot(self) -> None:
        """Takes back a reboot that has not begun."""

    def boot_time(self) -> float:
        """When the host was started, in seconds since 1970."""

    def now(self) -> float: ...

    def memory(self) -> int:
        """Bytes of memory."""

    def processors(self) -> int: ...


class LinuxHost:
    """The host that this process runs on."""

    def __init__(self) -> None:
        self._tables = b""
        self._addresses: list[Address] = []

    def processes(self) -> Iterable[HostProcess]:
        start = self._kernel_start()
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                status = (directory / "stat").read_text()
                arguments = (directory / "cmdline").read_bytes()
                executable = os.readlink(directory / "exe")
                environment = (directory / "environ").read_bytes()
            except OSError:
                continue
            fields = status[status.rindex(")") + 2 :].split()
            if fields[0] == "Z":
                continue
            yield HostProcess(
                pid=int(directory.name),
                parent=int(fields[1]),
                started=start + int(fields[19]) / TICKS,
                arguments=tuple(os.fsdecode(part) for part in arguments.rstrip(b"\0").split(b"\0")),
                executable=executable,
                environment=_variables(environment),
                resident=int(fields[21]) * PAGE,
                cpu_s=(int(fields[11]) + int(fields[12])) / TICKS,
            )

    def open_files(self, pids: Iterable[int]) -> Iterable[OpenFile]:
        for pid in pids:
            directory = Path(f"/proc/{pid}")
            try:
                numbers = list((directory / "fd").iterdir())
                maps = (directory / "maps").read_text(errors="replace").splitlines()
            except OSError:
                continue
            for number in numbers:
                try:
                    found = number.stat()
                    flags = (directory / "fdinfo" / number.name).read_text()
                except OSError:
                    continue
                writable = bool(int(re.search(r"^flags:\s*(\d+)", flags, re.M)[1], 8) & 3)  # type: ignore[index]
                yield OpenFile(pid, found.st_dev, found.st_ino, writable)
            for name in {line.split(None, 5)[5] for line in maps if len(line.split(None, 5)) == 6}:
                if name.startswith("/"):
                    try:
                        mapped = os.stat(name)
                    except OSError:
                        continue
                    yield OpenFile(pid, mapped.st_dev, mapped.st_ino, image=True)

    def kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def alive(self, pid: int) -> bool:
        try:
            return " Z " not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
        except OSError:
            return False

    def sockets(self) -> Iterable[Socket]:
        owners: dict[str, list[int]] = {}
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                match = SOCKET.match(os.readlink(link))
            except OSError:
                continue
            if match:
                owners.setdefault(match[1], []).append(int(link.parts[2]))
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                local, local_port = _endpoint(fields[1])
                remote, remote_port = _endpoint(fields[2])
                yield Socket(
                    local, local_port, remote, remote_port, STATES[fields[3]],
                    tuple(sorted(set(owners.get(fields[9], [])))),
                )  # fmt: skip

    def addresses(self) -> Iterable[Address]:
        # Asked every second: a program is started only when the kernel's own tables have changed.
        tables = b"".join(Path(f"/proc/net/{name}").read_bytes() for name in ("fib_trie", "if_inet6"))
        if tables != self._tables:
            self._addresses = list(self._read_addresses())
            self._tables = tables
        return self._addresses

    @staticmethod
    def _read_addresses() -> Iterable[Address]:
        shown = subprocess.run(["ip", "-json", "address"], capture_output=True, check=True).stdout
        for interface in json.loads(shown):
            for found in interface["addr_info"]:
                yield Address(
                    interface["ifname"],
                    interface["ifindex"],
                    found["local"],
                    found["prefixlen"],
                    "LOOPBACK" in interface["flags"],
                )

    def start_apart(self, arguments: Sequence[str], environment: Mapping[str, str], directory: str) -> int:
        # systemd gives the process a group of its own, and the environment that every service of the host has; what
        # it starts itself outlives it, as a process of Windows outlives the one that started it.
        if Path("/run/systemd/system").is_dir() and shutil.which("systemd-run"):
            unit = f"windows-{os.getpid()}-{time.monotonic_ns()}.service"
            variables = [f"--setenv={name}={value}" for name, value in environment.items()]
            subprocess.run(
                [
                    "systemd-run", "--quiet", "--collect", f"--unit={unit}", "--property=KillMode=process",
                    "--property=Type=exec", f"--working-directory={directory}", *variables, "--", *arguments,
                ],
                check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            shown = subprocess.run(["systemctl", "show", "--value", "--property=MainPID", unit], capture_output=True)
            return int(shown.stdout.strip() or 0)
        return subprocess.Popen(
            list(arguments), env={**os.environ, **environment}, cwd=directory, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ).pid  # fmt: skip

    def load_rules(self, ruleset: str) -> None:
        subprocess.run(["nft", "--file", "-"], input=ruleset.encode(), check=True, stdout=sys.stderr)

    def reboot(self, delay_s: int = 0) -> None:
        reboot = ["systemctl", "--no-block", "reboot"]
        if delay_s:
            timer = [
                "--quiet",
                "--collect",
                f"--unit={REBOOT}",
                f"--on-active={delay_s}",
                "--timer-property=AccuracySec=50ms",
            ]
            reboot = ["systemd-run", *timer, *reboot]
        subprocess.run(reboot, check=True, stdin=subprocess.DEVNULL)

    def cancel_reboot(self) -> None:
        subprocess.run(["systemctl", "stop", f"{REBOOT}.timer"], check=True)

    def boot_time(self) -> float:
        # A container's first process started with it; the kernel is older.
        fields = Path("/proc/1/stat").read_text().rpartition(")")[2].split()
        return self._kernel_start() + int(fields[19]) / TICKS

    def now(self) -> float:
        return time.time()

    def memory(self) -> int:
        return os.sysconf("SC_PHYS_PAGES") * PAGE

    def processors(self) -> int:
        return len(os.sched_getaffinity(0))

    @staticmethod
    def _kernel_start() -> float:
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith("btime "):
                return float(line.split()[1])
        raise RuntimeError("/proc/stat has no btime")


def _variables(block: bytes) -> dict[str, str]:
    pairs = (os.fsdecode(entry).partition("=") for entry in block.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def _endpoint(text: str) -> tuple[str, int]:
    """ "0100007F:2CAA" of /proc/net/tcp; 32 hexadecimal digits there are IPv6."""
    digits, port = text.split(":")
    words = [int(digits[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)

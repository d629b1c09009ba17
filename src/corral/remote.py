"""How corral talks to a host: scripts over standard input, and TCP connections made from there.

Both go through the connection that pyinfra has already made (`ssh` or `local`), so the inventory's keys,
jump hosts and known_hosts hold. A script's command line is constant: the script, its values and a sudo
password travel over standard input and show in no process list.

While a script runs, a line is sent to it every few seconds; a host that hears nothing for a minute, or
whose connection ends, kills what the script started (lib.sh). So a run that is killed, or a cable that
is pulled, leaves no half-finished work going on behind the next run's back.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import paramiko

from corral.errors import CorralError
from corral.scripts import Script

if TYPE_CHECKING:
    from pyinfra.api.host import Host

HEARTBEAT_S = 10.0
#: How long what was sent may stay unacknowledged before the connection counts as broken; lib.sh waits as long.
SILENCE_MS = 60_000
CHUNK = 1 << 16
#: Reads lines until the one that says how long the script is (a password that sudo did not ask for
#: comes before it), then the script, and runs it with the rest of standard input still attached.
BOOTSTRAP = (
    """bash -c 'while IFS= read -r n; do case $n in "@corral "*) break ;; esac; done; """
    """LC_ALL=C IFS= read -r -N "${n#@corral }" s; echo @ready; eval "$s"'"""
)
SUDO_WITH_PASSWORD = "sudo -k -S -p '' -- "
#: Without a password it must not ask: it would take the script for one, and count the attempts.
SUDO_WITHOUT = "sudo -k -n -- "
#: A byte stream to ADDRESS:PORT over a command's standard input and output, where forwarding is refused.
RELAY = """bash -c 'exec 3<>"/dev/tcp/{address}/{port}" || exit 7; cat <&3 & cat >&3; kill $!'"""

# It reports every refused connection by itself; here that is an answer, and often the right one.
logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)


class Channel(Protocol):
    """A command on a host: its standard input, output and error, and in the end its exit code."""

    def send(self, data: bytes) -> None: ...

    def receive(self, wait_s: float) -> tuple[bytes, bytes] | None:
        """What came on output and error; both empty: nothing within wait_s; None: the command has ended."""

    def exit_code(self) -> int: ...

    def close(self) -> None: ...


class Stream(Protocol):
    """A TCP connection made from a host."""

    def recv(self, max_bytes: int, timeout_s: float | None) -> bytes: ...

    def sendall(self, data: bytes, timeout_s: float | None) -> None: ...

    def close(self) -> None: ...


class Link(Protocol):
    """What a kind of connection must be able to do."""

    def open(self, command: str) -> Channel: ...

    def dial(self, address: str, port: int, timeout_s: float) -> Stream: ...


@dataclass(frozen=True)
class Sudo:
    """How to become root: not at all, or with sudo and perhaps a password."""

    wanted: bool = False
    password: str = ""

    @property
    def command(self) -> str:
        """What goes in front of the command that is to run as root."""
        if not self.wanted:
            return ""
        return SUDO_WITH_PASSWORD if self.password else SUDO_WITHOUT

    def __repr__(self) -> str:
        return f"Sudo(wanted={self.wanted}, password={'***' if self.password else ''!r})"


class Remote:
    """One host's connection."""

    #: Of the run that holds the host's lock, what its scripts register in; "" where they need not, or none does.
    run_directory = ""

    def __init__(self, link: Link, sudo: Sudo) -> None:
        self._link = link
        self._sudo = sudo

    def run(self, script: Script, on_progress: Callable[[str], None] | None = None) -> dict[str, str]:
        """Run a script as root and return what it emitted, by name.

        on_progress: is handed each text that the script reports while it runs.
        Raises CorralError when the script says why it failed, when it fails without a word (with the end
        of its error output), when sudo refuses, or when the connection breaks.
        """
        sections: dict[str, str] = {}
        with self.start(script) as running:
            for name, text in running:
                if name == "@progress":
                    if on_progress:
                        on_progress(text)
                else:
                    sections[name] = text
        return sections

    def start(self, script: Script) -> Running:
        """Start a script as root; iterating over the result waits for what it emits."""
        return self._begin(script, BashAnswer(script.path, self._sudo))

    def read(self, script: Script) -> bytes:
        """Run a script as root whose output is bytes of a file, and return them. Raises CorralError."""
        with self._begin(script, BytesAnswer(script.path, self._sudo)) as running:
            return b"".join(text.encode("latin-1") for _, text in running)

    def write(self, script: Script, data: bytes) -> None:
        """Run a script as root that emits `ready` and then takes as many bytes as it knows of. Raises CorralError."""
        with self.start(script) as running:
            for name, _ in running:
                if name == "ready":
                    running.send(data)

    def _begin(self, script: Script, answer: Answer) -> Running:
        text = script.text().encode()
        channel = self._link.open(self._sudo.command + BOOTSTRAP)
        password = f"{self._sudo.password}\n".encode() if self._sudo.wanted and self._sudo.password else b""
        channel.send(password + f"@corral {len(text)}\n".encode() + text)
        return Running(channel, script.path, answer)

    def dial(self, address: str, port: int, timeout_s: float) -> Stream:
        """Connect from the host to address:port. Raises OSError as a local connection would."""
        return self._link.dial(address, port, timeout_s)


class Answer(Protocol):
    """How the answer of a kind of shell is read."""

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        """Takes standard output as it comes; what was emitted in it, by name, and progress as "@progress"."""

    def check(self, exit_code: int, errors: bytes) -> None:
        """Raises CorralError for a script that has failed. errors: the end of its error output."""


class Running:
    """A script at work on a host. Iterating yields (name, text) as they come, until it ends."""

    def __init__(self, channel: Channel, what: str, answer: Answer) -> None:
        self._channel = channel
        self._what = what
        self._answer = answer
        self._errors = b""
        self._beat = time.monotonic()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def beat(self, force: bool = False) -> None:
        """Tell the host that somebody is still here: when it is time again, or at once."""
        if force or time.monotonic() - self._beat >= HEARTBEAT_S:
            self._channel.send(b"\n")
            self._beat = time.monotonic()

    def send(self, data: bytes) -> None:
        """Hand the script bytes that it waits for, instead of the lines that tell it that somebody is here."""
        for start in range(0, len(data), CHUNK):  # paramiko copies all that is left after each packet that it sends
            self._channel.send(data[start : start + CHUNK])
        self._beat = time.monotonic()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        try:
            while (received := self._channel.receive(HEARTBEAT_S)) is not None:
                self.beat()
                self._errors = (self._errors + received[1])[-CHUNK:]
                yield from self._answer.feed(received[0])
        except (OSError, EOFError, paramiko.SSHException) as broken:
            raise LinkBroken(f"while {self._what} ran", broken) from broken
        self._answer.check(self._channel.exit_code(), self._errors)


class LinkBroken(CorralError):
    """The connection to the host is gone; doing: what was under way."""

    def __init__(self, doing: str, reason: Exception | None = None) -> None:
        why = f" ({reason or type(reason).__name__})" if reason else ""
        super().__init__(f"the connection broke {doing}{why}", "What was done stays done; run again to continue")


class BashAnswer:
    """Lines as lib.sh's emit, progress and fail write them."""

    def __init__(self, what: str, sudo: Sudo) -> None:
        self._what = what
        self._sudo = sudo
        self._ready = False
        self._failure: tuple[str, str] | None = None
        self._output = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        *lines, self._output = (self._output + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", "replace")
            if line == "@ready":
                self._ready = True
                continue
            name, _, rest = line.partition(" ")
            if name == "@error":
                code, _, encoded = rest.partition(" ")
                self._failure = (code, _decode(encoded))
            elif name:
                yield name, _decode(rest)

    def check(self, exit_code: int, errors: bytes) -> None:
        said = errors.decode("utf-8", "replace").strip()
        if self._failure:
            raise HostError(*self._failure)
        if not self._ready:
            raise _refusal(said, exit_code, self._sudo)
        if exit_code:
            raise CorralError(
                f"{self._what} failed on the host (exit code {exit_code})", detail="\n".join(said.splitlines()[-15:])
            )


class BytesAnswer(BashAnswer):
    """Bytes as they are, a character each; a script that fails says why on its error output."""

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        if not self._ready:
            self._output += data
            _, found, data = self._output.partition(b"@ready\n")
            self._ready = bool(found)
        if self._ready and data:
            yield "data", data.decode("latin-1")


class HostError(CorralError):
    """A failure that a script on the host named itself; code says which (see lib.sh's fail)."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        problem, _, detail = message.partition("\n")
        sentence, _, remedy = problem.partition(" | ")
        super().__init__(sentence, remedy, detail)


def _decode(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except ValueError:
        return encoded


def _refusal(errors: str, exit_code: int, sudo: Sudo) -> CorralError:
    last = "\n".join(errors.splitlines()[-4:])
    if "incorrect password" in errors or "Sorry, try again" in errors:
        return CorralError("sudo refused the password", "Correct sudo_password in the inventory", last)
    if "password is required" in errors or "no password was provided" in errors:
        return CorralError("sudo asks for a password and none is declared", "Set sudo_password for this host")
    if "sudoers" in errors or "not allowed to" in errors or "may not run sudo" in errors:
        return CorralError(
            "this user may not become root with sudo", "Give it sudo on the host, or set ssh_user to one that has", last
        )
    if sudo.wanted and ("not found" in errors or exit_code == 127):
        return CorralError("the host has no sudo or no bash", "Install them there, or log in as root", last)
    return CorralError(f"the host could not start bash (exit code {exit_code})", "corral needs bash there", last)


def remote_for(host: Host) -> Remote:
    """The Remote over a connected pyinfra host, becoming root as its data say (`_sudo`, `_sudo_password`)."""
    sudo = Sudo(bool(host.data.get("_sudo")), str(host.data.get("_sudo_password") or ""))
    client = getattr(host.connector, "client", None)
    if isinstance(client, paramiko.SSHClient):
        from corral.connectors.windows import WindowsConnector
        from corral.windows.remote import WindowsRemote

        if isinstance(host.connector, WindowsConnector):
            return WindowsRemote(SshLink(client, relays=False))
        return Remote(SshLink(client), sudo)
    if type(host.connector).__name__ == "LocalConnector":
        return Remote(LocalLink(), sudo)
    raise CorralError(
        f"corral works over ssh or on @local, not over {type(host.connector).__name__}", "Reach the host over ssh"
    )


class SshLink:
    """Channels and connections over pyinfra's own ssh connection."""

    def __init__(self, client: paramiko.SSHClient, relays: bool = True) -> None:
        """relays: whether the host has bash, to carry a connection where sshd forbids forwarding."""
        self._relays = relays
        transport = client.get_transport()
        if transport is None:
            raise CorralError("the ssh connection is closed", "Run again")
        # paramiko leaves Nagle's algorithm on, which costs 40 ms a command; a jump host's channel has no such option.
        if isinstance(transport.sock, socket.socket):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Else a pulled cable or a lost host is noticed only after a quarter of an hour. macOS lacks the option.
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)
        transport.set_keepalive(15)
        self._transport = transport

    def open(self, command: str) -> SshChannel:
        return SshChannel(self._session(command))

    def _session(self, command: str) -> paramiko.Channel:
        try:
            channel = self._transport.open_session(timeout=60)
            channel.exec_command(command)
        except (OSError, EOFError, paramiko.SSHException) as broken:
            raise CorralError(f"the host takes no more commands over ssh ({broken})", "Run again") from broken
        return channel

    def dial(self, address: str, port: int, timeout_s: float) -> Stream:
        try:
            channel = self._transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=timeout_s)
        except paramiko.ChannelException as refused:
            if refused.code == paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED:
                if not self._relays:
                    raise PermissionError(f"{address}:{port}: {refused.text}") from refused
                return self._relay(address, port)
            raise ConnectionRefusedError(f"{address}:{port}: {refused.text}") from refused
        except (OSError, EOFError, paramiko.SSHException) as failed:
            if _is_gone(self._transport):
                raise LinkBroken("while Ollama was asked", failed) from failed
            raise TimeoutError(f"{address}:{port}: no answer within {timeout_s:.0f} s") from failed
        return SshStream(channel)

    def _relay(self, address: str, port: int) -> Stream:
        """sshd forbids forwarding: the same bytes through a command on the host."""
        if not re.fullmatch(r"[0-9A-Za-z.:_-]+", address):
            raise ConnectionRefusedError(f"{address}: not an address")
        return SshStream(self._session(RELAY.format(address=address, port=port)))


class SshChannel:
    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def send(self, data: bytes) -> None:
        self._channel.settimeout(None)  # as long as it takes: a lost host ends the connection (TCP_USER_TIMEOUT)
        with suppress(OSError):  # a command that has ended: its exit code says more
            self._channel.sendall(data)

    def receive(self, wait_s: float) -> tuple[bytes, bytes] | None:
        deadline = time.monotonic() + wait_s
        channel = self._channel
        while time.monotonic() < deadline:
            if channel.recv_ready() or channel.recv_stderr_ready():
                out = channel.recv(CHUNK) if channel.recv_ready() else b""
                return out, channel.recv_stderr(CHUNK) if channel.recv_stderr_ready() else b""
            if channel.exit_status_ready() and channel.eof_received:
                return None
            if channel.closed:
                if channel.exit_status == -1:
                    raise EOFError("closed by the other side")
                return None
            channel.settimeout(max(0.01, min(0.5, deadline - time.monotonic())))
            try:
                # Blocks on output; error output and the end are looked at twice a second at the latest.
                if out := channel.recv(CHUNK):
                    return out, b""
                if not channel.exit_status_ready():
                    channel.status_event.wait(0.5)
            except TimeoutError:
                continue
        return b"", b""

    def exit_code(self) -> int:
        return self._channel.recv_exit_status()

    def close(self) -> None:
        self._channel.close()


def _is_gone(transport: paramiko.Transport) -> bool:
    """Whether a connection has ended. paramiko closes its channels first, and only then says so of itself."""
    transport.join(0.5)
    return not transport.is_active()


class SshStream:
    """Raises LinkBroken where not the other end of the stream but the ssh connection under it has ended."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def recv(self, max_bytes: int, timeout_s: float | None) -> bytes:
        self._channel.settimeout(timeout_s)
        data = self._channel.recv(max_bytes)
        if not data and not self._channel.eof_received and _is_gone(self._channel.get_transport()):
            raise LinkBroken("while Ollama was asked")
        return data

    def sendall(self, data: bytes, timeout_s: float | None) -> None:
        self._channel.settimeout(timeout_s)
        try:
            self._channel.sendall(data)
        except OSError as failed:
            if not isinstance(failed, TimeoutError) and _is_gone(self._channel.get_transport()):
                raise LinkBroken("while Ollama was asked", failed) from failed
            raise

    def close(self) -> None:
        self._channel.close()


class LocalLink:
    """The machine that corral runs on, for `@local`."""

    def open(self, command: str) -> LocalChannel:
        return LocalChannel(command)

    def dial(self, address: str, port: int, timeout_s: float) -> Stream:
        return SocketStream(socket.create_connection((address, port), timeout_s))


class LocalChannel:
    def __init__(self, command: str) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdout
        assert self._process.stderr
        self._open = [self._process.stdout.fileno(), self._process.stderr.fileno()]
        self._stdout = self._open[0]

    def send(self, data: bytes) -> None:
        assert self._process.stdin
        left = memoryview(data)
        with suppress(OSError):
            while left:  # under gevent a pipe takes what fits in it and no more
                left = left[self._process.stdin.write(left) or 0 :]

    def receive(self, wait_s: float) -> tuple[bytes, bytes] | None:
        if not self._open:
            return None
        ready, _, _ = select.select(self._open, [], [], wait_s)
        out = err = b""
        for descriptor in ready:
            data = os.read(descriptor, CHUNK)
            if not data:
                self._open.remove(descriptor)
            elif descriptor == self._stdout:
                out = data
            else:
                err = data
        return out, err

    def exit_code(self) -> int:
        return self._process.wait()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()


class SocketStream:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def recv(self, max_bytes: int, timeout_s: float | None) -> bytes:
        self._connection.settimeout(timeout_s)
        return self._connection.recv(max_bytes)

    def sendall(self, data: bytes, timeout_s: float | None) -> None:
        self._connection.settimeout(timeout_s)
        self._connection.sendall(data)

    def close(self) -> None:
        self._connection.close()


def sections_of(emitted: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The sections whose names start with prefix, without it."""
    return {name[len(prefix) :]: text for name, text in emitted.items() if name.startswith(prefix)}

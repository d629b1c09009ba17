"""The other end of powershell.exe (native/powershell.c, which says what goes over the wire).

Each start of it becomes a process of the stand-in, with the same command line, directory, environment and streams, in
the job of the session that it belongs to. It ends with powershell.exe, and powershell.exe with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import subprocess
import threading
from typing import IO

from lab.windows.machine import Machine
from lab.windows.machine.environment import Block
from lab.windows.machine.launch import POWERSHELL, Launcher, Running
from lab.windows.machine.paths import full_path
from lab.windows.machine.processes import START

from .jobs import Jobs
from .shells import JOB

#: As in native/powershell.c.
PORT = 47000
CHUNK = 65536
#: How long output may come after the process has ended, from others that have it open.
LATE_S = 1.0
PREFIX = "STAND_IN_"
WINES_OWN = "WINE"
log = logging.getLogger(__name__)


class Ended(Exception):
    """powershell.exe is gone."""


class Loopback:
    """Answers every powershell.exe of the machine, each in threads of its own."""

    def __init__(self, machine: Machine, launcher: Launcher, jobs: Jobs) -> None:
        self._machine = machine
        self._launcher = launcher
        self._jobs = jobs

    def serve(self, port: int = PORT) -> socket.socket:
        """Listens from now on, in the background, until the socket is closed."""
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True, name="powershell").start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._run(connection)
            except Ended:
                return
            except Exception as error:
                log.exception("the stand-in for PowerShell did not start")
                with contextlib.suppress(Ended):
                    wire = Wire(connection)
                    wire.send(b"E", f"{error}\r\n".encode())
                    wire.send_code(1)

    def _run(self, connection: socket.socket) -> None:
        wire = Wire(connection)
        line, directory, environment = wire.receive_start()
        marks = {name: environment.pop(name) for name in list(environment) if name.startswith((PREFIX, WINES_OWN))}
        running = self._launcher.start(
            full_path(POWERSHELL, "C:\\"), line, self._machine.user, environment, directory,
            self._parent(marks.get(START, "")), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        job = self._jobs.find(marks.get(JOB, ""))
        if job is not None:
            job.add(running.pid)
        outputs = [
            threading.Thread(target=_forward, args=(wire, kind, stream), daemon=True)
            for kind, stream in ((b"O", running.stdout), (b"E", running.stderr))
        ]
        for thread in (*outputs, threading.Thread(target=_feed, args=(wire, running), daemon=True)):
            thread.start()
        code = running.wait()
        for thread in outputs:
            thread.join(LATE_S)
        wire.send_code(code)
        with contextlib.suppress(OSError):
            # Ends the thread that reads, too.
            connection.shutdown(socket.SHUT_RDWR)

    def _parent(self, mark: str) -> int:
        """Who started powershell.exe: the session's shell; sshd where it is the shell itself."""
        found = self._machine.processes.find(self._machine.processes.started(mark) or 0) if mark else None
        return found.pid if found and found.name.lower() != "powershell.exe" else os.getpid()


class Wire:
    """A connection's frames. Several threads may send."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame's kind and content; raises Ended."""
        kind, length = struct.unpack("!cI", self._exactly(5))
        return kind, self._exactly(length)

    def receive_start(self) -> tuple[str, str, Block]:
        """Command line, directory and environment."""
        line = directory = ""
        environment = Block()
        while True:
            kind, content = self.receive()
            text = content.decode("utf-8", "replace")
            if kind == b"C":
                line = text
            elif kind == b"D":
                directory = text
            elif kind == b"V" and not text.startswith("="):
                # Those that begin so are cmd's own: the current directory of each drive.
                name, _, value = text.partition("=")
                environment[name] = value
            elif kind == b"S":
                return line, directory, environment

    def send(self, kind: bytes, content: bytes) -> None:
        """Raises Ended."""
        try:
            with self._lock:
                self._connection.sendall(struct.pack("!cI", kind, len(content)) + content)
        except OSError as error:
            raise Ended from error

    def send_code(self, code: int) -> None:
        self.send(b"X", struct.pack("!I", code % 2**32))

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            try:
                part = self._connection.recv(min(count, CHUNK))
            except OSError as error:
                raise Ended from error
            if not part:
                raise Ended
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _forward(wire: Wire, kind: bytes, stream: IO[bytes] | None) -> None:
    """Output, as soon as there is some."""
    assert stream is not None
    with contextlib.suppress(Ended, OSError):
        while data := os.read(stream.fileno(), CHUNK):
            wire.send(kind, data)


def _feed(wire: Wire, running: Running) -> None:
    """Input, until it ends; when powershell.exe is gone, so is the script."""
    stream = running.stdin
    assert stream is not None
    try:
        while True:
            _, data = wire.receive()
            try:
                if data:
                    os.write(stream.fileno(), data)
                else:
                    stream.close()
            except (OSError, ValueError):
                # Nobody reads there any more.
                continue
    except Ended:
        if running.poll() is None:
            running.kill()

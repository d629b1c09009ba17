"""One session: a command that runs, or SFTP.

What ends when, without a terminal (session.c, w32-doexec.c; issues 1751 and 2138 of PowerShell/Win32-OpenSSH):
- The client closes the channel or the connection is lost: nothing is ended. The shell's standard input comes to its
  end, what it writes fails, and it goes on until it ends by itself.
- The shell ends: whatever else is in its job is ended.
- The client sends a signal, whichever: the shell is ended, with exit code 0.
- The channel closes when the shell has ended and nobody has its output open any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import asyncssh
from asyncssh.constants import MSG_CHANNEL_REQUEST
from asyncssh.packet import Boolean, String, UInt32

from .shells import Output, RunningShell

CHUNK = 65536
NO_TERMINAL = b"This stand-in for a Windows machine has no terminals: ask for a command, without -t.\r\n"
NO_SHELL = b"This stand-in for a Windows machine has no interactive shells: give a command to run.\r\n"
log = logging.getLogger(__name__)

#: Starts the shell for a command; None: sshd says no to the request.
Start = Callable[[str], Coroutine[Any, Any, RunningShell]]


class Session(asyncssh.SSHServerProcess[bytes]):
    """A session channel. `run` is the work of one that is no SFTP; it goes on when the connection is lost."""

    def __init__(
        self,
        acceptable: Callable[[str], bool],
        run: Callable[[Session], None],
        release: Callable[[], None],
        note: Callable[[str], None],
        sftp: asyncssh.SFTPServerFactory | None,
    ) -> None:
        """`acceptable` says whether a command can be started, `note` is told what kind of session begins.

        `release` is called when the session is over: when its shell has ended, where it had one.
        """
        super().__init__(self._begin, sftp, 3, False)
        self._acceptable = acceptable
        self._run = run
        self._note = note
        self._release = release
        self._runs = False
        self.signalled = asyncio.Event()
        self.ended = asyncio.Event()

    def signal_received(self, signal: str) -> None:
        self.signalled.set()

    def break_received(self, msec: int) -> bool:
        return False

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        return

    def finish(self, code: int) -> None:
        """Ends the session with an exit code of 32 bits, for which asyncssh's own exit() has no room."""
        if not self.ended.is_set():
            self.channel.send_packet(MSG_CHANNEL_REQUEST, String("exit-status"), Boolean(False), UInt32(code))
            self.channel.close()

    def over(self) -> None:
        """To be called once `run` is done."""
        self._release()

    def _begin(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self._runs = True
        self._run(self)

    def exec_requested(self, command: str) -> bool:
        self._note("command")
        return self._acceptable(command)

    def shell_requested(self) -> bool:
        self._note("shell")
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        self._note(f"subsystem '{subsystem}'")
        return subsystem == "sftp" and super().subsystem_requested(subsystem)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        super().connection_lost(exc)
        if not self._runs:
            self._release()


async def run(session: Session, start: Start) -> None:
    """A session's whole life, from the request to the end of its shell."""
    try:
        await _run(session, start)
    finally:
        session.over()


async def _run(session: Session, start: Start) -> None:
    if session.term_type is not None or session.command is None:
        session.stderr.write(NO_TERMINAL if session.term_type is not None else NO_SHELL)
        session.finish(1)
        return
    try:
        shell = await start(session.command)
    except Exception as error:
        log.exception("the shell of a session did not start")
        session.stderr.write(f"{error}\r\n".encode())
        session.finish(255)
        return
    beside = [asyncio.create_task(work(session, shell)) for work in (_feed, _cut, _signal)]
    outputs = [
        asyncio.create_task(_forward(shell.stdout, session.stdout)),
        asyncio.create_task(_forward(shell.stderr, session.stderr)),
    ]
    code = await shell.wait()
    await asyncio.gather(*outputs)
    for task in beside:
        task.cancel()
    shell.stdin.close()
    session.finish(code)


async def _feed(session: Session, shell: RunningShell) -> None:
    """What the client sends goes to the shell's standard input, until either has enough."""
    while True:
        try:
            data = await session.stdin.read(CHUNK)
        except (asyncssh.Error, OSError):
            data = b""
        if not data:
            shell.stdin.close()
            return
        try:
            shell.stdin.write(data)
            await shell.stdin.drain()
        except OSError:
            # Nobody reads there any more; the client may send on.
            continue


async def _forward(output: Output, channel: asyncssh.SSHWriter[bytes]) -> None:
    """What the shell writes goes to the client, until the end or until the client is gone."""
    while data := await output.read(CHUNK):
        try:
            channel.write(data)
            await channel.drain()
        except (asyncssh.Error, OSError):
            break
    output.close()


async def _cut(session: Session, shell: RunningShell) -> None:
    """When the channel is gone, so are the ends of the shell's pipes."""
    await session.ended.wait()
    shell.stdin.close()
    shell.stdout.close()
    shell.stderr.close()


async def _signal(session: Session, shell: RunningShell) -> None:
    """A signal ends the shell, once."""
    await session.signalled.wait()
    await shell.kill()

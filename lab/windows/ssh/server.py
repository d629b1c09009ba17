"""The ssh server: log-on, sessions, forwarding. What it logs is in sshd's words, which tests of the lab count."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable
from functools import partial

import asyncssh

from lab.windows.machine import Machine, Win32Error

from . import commandline, session
from .commandline import CMD_LIMIT, LIMIT, Kind, Shell
from .environment import Endpoints, session_environment
from .logon import authorized_keys, configured, is_user
from .session import Session
from .sftp import WindowsSftp
from .shells import RunningShell, Shells

VERSION = "OpenSSH_for_Windows_9.5"
SSHD = "sshd"
TOO_LONG = "The command line is too long."
#: How often the server looks whether its service was started or stopped.
WATCH_S = 0.1
log = logging.getLogger(__name__)


class Sshd:
    """The machine's sshd. `password` of the machine's user, None: no password is right."""

    def __init__(self, machine: Machine, shells: Shells, password: str | None) -> None:
        self.machine = machine
        self.shells = shells
        self._password = password
        self._work: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int, host_key: str | asyncssh.SSHKey) -> asyncssh.SSHAcceptor:
        """Answers on a port from now on; the acceptor's close() ends that, not the connections that there are."""
        return await asyncssh.create_server(
            partial(Connection, self),
            host,
            port,
            server_host_keys=[host_key],
            server_version=VERSION,
            encoding=None,
            allow_scp=False,
            agent_forwarding=False,
            x11_forwarding=False,
            # sshd's defaults: two minutes to log on, no messages to see whether the client is alive.
            login_timeout=120,
            keepalive_interval=0,
        )

    async def serve(self, host: str, port: int, host_key: str) -> None:
        """Listens while the machine's service runs, and not while it is stopped or not installed.

        Where sshd_config names another port, on that one: it is read when the service starts.
        """
        acceptor: asyncssh.SSHAcceptor | None = None
        while True:
            wanted = self._is_on()
            if wanted and acceptor is None:
                at = configured(self.machine).port or port
                acceptor = await self.listen(host, at, host_key)
                log.info("Server listening on %s port %d.", host or "all addresses", at)
            elif not wanted and acceptor is not None:
                acceptor.close()
                await acceptor.wait_closed()
                acceptor = None
            await asyncio.sleep(WATCH_S)

    def keep(self, work: Awaitable[None]) -> None:
        """Sees some work to its end, whatever becomes of the connection that it was begun for."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def right_password(self, password: str) -> bool:
        return self._password is not None and hmac.compare_digest(self._password.encode(), password.encode())

    def shell(self) -> Shell:
        """The default shell, as the registry has it now."""
        registry = self.machine.system.registry
        try:
            values = registry.values(commandline.KEY)
        except Win32Error:
            return Shell()
        return commandline.default_shell(
            {value.name: value.data for value in values if isinstance(value.data, str | int)}
        )

    def _is_on(self) -> bool:
        try:
            return self.machine.services.get(SSHD).status == "Running"
        except Win32Error:
            return False


class Connection(asyncssh.SSHServer):
    """One connection: a process sshd-session.exe of its own on Windows, which reads configuration and registry once."""

    def __init__(self, sshd: Sshd) -> None:
        self._sshd = sshd
        self._machine = sshd.machine
        self._configuration = configured(sshd.machine)
        self._sessions = 0
        self._refused = 0
        self._user = self._method = ""
        self._environment: dict[str, str] = {}
        self._shell = Shell()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        client, server = conn.get_extra_info("peername"), conn.get_extra_info("sockname")
        self._ends = Endpoints(client[0], client[1], server[0], server[1])
        log.info("Connection from %s port %d on %s port %d", *self._ends)

    # Who it is

    def begin_auth(self, username: str) -> bool:
        self._user = username
        self._expect_service()
        return True

    def public_key_auth_supported(self) -> bool:
        return self._configuration.public_key

    def password_auth_supported(self) -> bool:
        return self._configuration.password

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        lines, why = authorized_keys(self._machine, self._configuration)
        if why:
            log.info("%s", why)
        found = False
        if lines and is_user(self._machine, username):
            known = asyncssh.import_authorized_keys(lines)
            found = known.validate(key, "", self._ends.client) is not None
        return self._counted(found, "publickey", f": {key.get_algorithm()} {key.get_fingerprint()}")

    def validate_password(self, username: str, password: str) -> bool:
        right = is_user(self._machine, username) and self._sshd.right_password(password)
        return self._counted(right, "password")

    def auth_completed(self) -> None:
        log.info("Accepted %s", self._method)
        self._shell = self._sshd.shell()
        self._environment = dict(session_environment(self._machine, self._shell.path, self._ends))

    def _counted(self, right: bool, method: str, more: str = "") -> bool:
        """Notes an attempt; a key comes twice, the second time with a signature."""
        client = f"{self._ends.client} port {self._ends.client_port}"
        self._method = f"{method} for {self._user} from {client} ssh2{more}"
        if not right:
            log.info("Failed %s", self._method)
            self._refused += 1
            self._expect_service()
        if self._refused >= self._configuration.max_auth_tries:
            self._connection.disconnect(asyncssh.DISC_PROTOCOL_ERROR, "Too many authentication failures")
        return right

    def _expect_service(self) -> None:
        """Paramiko asks for the service anew with each attempt, which sshd allows and asyncssh does not."""
        self._connection._next_service = b"ssh-userauth"

    # What it asks for

    def session_requested(self) -> tuple[asyncssh.SSHServerChannel[bytes], Session]:
        if self._sessions >= self._configuration.max_sessions:
            # A session counts until its shell has ended, whether its channel is still there or not.
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        sftp = partial(WindowsSftp, self._machine) if self._configuration.sftp else None
        found = Session(self._acceptable, self._run, self._release, self._noted, sftp)
        self._sessions += 1
        return self._connection.create_server_channel(None), found

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        if not self._configuration.forwarding:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")
        return True

    def _noted(self, kind: str) -> None:
        where = f"{self._user} from {self._ends.client} port {self._ends.client_port} id {self._sessions - 1}"
        log.info("Starting session: %s for %s", kind, where)

    def _acceptable(self, command: str) -> bool:
        """Whether CreateProcess would take the command line; sshd refuses the request otherwise."""
        if len(commandline.command_line(self._shell, command)) > LIMIT:
            log.info("posix_spawn: the command line is too long")
            return False
        if self._shell.kind is not Kind.BASH and not self._machine.system.files.is_file(self._shell.path):
            log.info("posix_spawn: there is no %s", self._shell.path)
            return False
        return True

    def _run(self, found: Session) -> None:
        self._sshd.keep(session.run(found, self._start))

    def _release(self) -> None:
        self._sessions -= 1

    async def _start(self, command: str) -> RunningShell:
        line = commandline.command_line(self._shell, command)
        if self._shell.kind is Kind.CMD and len(line) > CMD_LIMIT:
            line = commandline.command_line(self._shell, f"echo {TOO_LONG}>&2& exit 1")
        return await self._sshd.shells.start(self._shell, line, self._environment, self._environment["USERPROFILE"])

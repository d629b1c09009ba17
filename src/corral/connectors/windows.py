"""Windows hosts for pyinfra: `@windows/NAME`, over the OpenSSH Server that Windows has built in.

Keys, passwords, agent, jump hosts, port and known hosts are those of pyinfra's ssh connector. What runs is
PowerShell, made by corral.windows: its facts and operations, or a `PowerShell` command of your own. pyinfra's
own operations and facts speak to a POSIX shell; they are refused with the name of their counterpart.
"""

from __future__ import annotations

import ntpath
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import gevent
import paramiko
from pyinfra import logger
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.api.output import echo, format_text
from pyinfra.api.util import get_file_io
from pyinfra.connectors.util import CommandOutput, OutputLine

from corral.connectors.ssh import GIVE_A_KEY, NOTHING_TO_TRY, RemedySshConnector
from corral.errors import CorralError
from corral.remote import LinkBroken, SshChannel, SshLink
from corral.terminal import escaped
from corral.windows import clixml, powershell
from corral.windows.scripting import PowerShell, script, shortened

if TYPE_CHECKING:
    from pyinfra.api.command import StringCommand

#: How long the host has to say that it takes one more command.
OPEN_S = 60
#: What becomes another user on Linux.
BECOMING = ("_sudo", "_sudo_user", "_su_user", "_doas", "_doas_user", "_dzdo", "_dzdo_user")
#: pyinfra's operations and what does the same here, in corral.windows.operations.
COUNTERPARTS = {
    "files.put": "put",
    "files.template": "template",
    "files.get": "get",
    "files.file": "file",
    "files.directory": "directory",
    "server.shell": "powershell",
    "server.script": "powershell",
    "server.reboot": "reboot",
    "server.service": "service",
    "systemd.service": "service",
}
#: The keys of administrators, and who may have access to them (SYSTEM, Administrators) lest sshd ignores the file:
#: PowerShell/openssh-portable, contrib/win32/win32compat/w32-sshfileperm.c and contrib/win32/openssh/sshd_config.
ADMINISTRATORS_KEYS = r"C:\ProgramData\ssh\administrators_authorized_keys"
PROTECT_KEYS = f"icacls.exe {ADMINISTRATORS_KEYS} /inheritance:r /grant *S-1-5-32-544:F /grant *S-1-5-18:F"
#: The names of the capability and of its firewall rule: learn.microsoft.com, "Get started with OpenSSH for Windows".
START_SSHD = (
    "Add-WindowsCapability -Online -Name OpenSSH.Server~~~~0.0.1.0; "
    "Set-Service -Name sshd -StartupType Automatic; Start-Service -Name sshd"
)
OPEN_PORT = "Set-NetFirewallRule -Name OpenSSH-Server-In-TCP -Enabled True -Profile Any"


class WindowsConnector(RemedySshConnector):
    """`@windows/NAME` is a Windows host, and is shown as NAME."""

    def connect(self) -> None:
        """Raises ConnectError with what was found and what to do about it on a Windows host."""
        super().connect()
        assert self.client is not None
        SshLink(self.client)  # for what it sets on the connection: no delay, notice of a lost host

    @staticmethod
    def _explain(error: str, login: str) -> str:
        return explain(error, login)

    def disconnect(self) -> None:
        """After it the host can be connected to again, which a reboot needs."""
        super().disconnect()
        if self.client:
            self.client.close()

    def run_shell_command(
        self, command: StringCommand, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Run a PowerShell command with an empty standard input.

        Of pyinfra's arguments _env, _chdir, _timeout and _success_exit_codes hold. At the _timeout the host ends
        the script and all that it started. Returns whether it succeeded, and its lines: its output and what it
        emitted as stdout, its errors, and in the end the reason why it failed, as stderr.
        Raises TimeoutError at the _timeout.
        """
        if not isinstance(command, PowerShell):
            return self._refuse_posix(command, print_output)
        if refusal := _refused(arguments):
            return self._refuse(refusal, print_output)
        if print_input:
            echo(f"{self.host.print_prefix}>>> {command}", err=True)
        output = CommandOutput([])

        def add(name: str, line: str) -> None:
            output.combined_lines.append(OutputLine(name, line))
            if print_output:
                shown = format_text(escaped(line), "red") if name == "stderr" else escaped(line)
                echo(f"{self.host.print_prefix}{shown}", err=True)

        try:
            self._execute(command, add, arguments)
        except CorralError as error:
            for line in str(error).splitlines():
                add("stderr", line)
            return False, output
        return True, output

    def put_file(
        self,
        filename_or_io: Any,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Upload a file: beside its target first, then in its place at once, so that there is never half of it."""

        def put(sftp: paramiko.SFTPClient, path: str) -> None:
            there = _mode(sftp, path)
            if there is not None and stat.S_ISDIR(there):
                raise CorralError(f"{remote_filename} is a directory on the host", "Name the file in it")
            new = f"{path}.corral-{uuid.uuid4().hex[:8]}"
            try:
                with get_file_io(filename_or_io) as local:
                    sftp.putfo(local, new)
                if there is None:
                    sftp.posix_rename(new, path)
                else:
                    # By PowerShell: sshd's own rename deletes the target before (w32_rename in
                    # PowerShell/openssh-portable, contrib/win32/win32compat/misc.c), and may be cut off in between.
                    replace = script("replace_file.ps1", From=_windows(new), To=_windows(path))
                    self._execute(replace, lambda *_: None, {"_timeout": arguments.get("_timeout")})
            finally:
                with suppress(OSError):
                    sftp.remove(new)

        return self._transfer("uploaded", remote_filename, put, print_output, arguments)

    def get_file(
        self,
        remote_filename: str,
        filename_or_io: Any,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Download a file."""

        def get(sftp: paramiko.SFTPClient, path: str) -> None:
            with get_file_io(filename_or_io, "wb") as local:
                sftp.getfo(path, local)

        return self._transfer("downloaded", remote_filename, get, print_output, arguments)

    def check_can_rsync(self) -> None:
        raise NotImplementedError("rsync does not reach Windows hosts: use put of corral.windows.operations")

    def _execute(self, command: PowerShell, add: Callable[[str, str], None], arguments: Mapping[str, Any]) -> None:
        timeout_s = arguments.get("_timeout") or None
        data = command.request(
            limit_s=ceil(timeout_s) if timeout_s else None,
            environment={str(key): _unmasked(value) for key, value in (arguments.get("_env") or {}).items()},
            directory=arguments.get("_chdir"),
        )
        deadline = time.monotonic() + timeout_s if timeout_s else None
        answer = powershell.Answer()
        errors = bytearray()
        channel = self._open()
        try:
            with suppress(OSError):  # it has ended already: its exit code says more
                channel.sendall(data)
                channel.shutdown_write()
            received: tuple[bytes, bytes] | None
            running = SshChannel(channel)
            while (received := running.receive(_wait_s(deadline))) is not None:
                self._show(answer.feed(received[0]), add)
                errors += received[1]
                if deadline and time.monotonic() >= deadline:
                    raise TimeoutError
            self._show(answer.close(), add)
            exit_code = running.exit_code()
        except (EOFError, paramiko.SSHException) as broken:
            raise LinkBroken(f"while {command.name} ran", broken) from broken
        finally:
            channel.close()
        lines = [line for line in clixml.decode(bytes(errors)) if line.stream != "information"]
        for line in lines:  # what went to the information stream is in the output
            add("stderr", line.text)
        success = tuple(arguments.get("_success_exit_codes") or (0,))
        answer.check(command.name, exit_code, (), success)

    def _open(self) -> paramiko.Channel:
        transport = self.client.get_transport() if self.client else None
        if transport is None:
            raise CorralError("the ssh connection is closed", "Run again")
        try:
            channel = transport.open_session(timeout=OPEN_S)
            channel.exec_command(powershell.COMMAND)
        except (OSError, EOFError, paramiko.SSHException) as broken:
            raise CorralError(f"the host takes no more commands over ssh ({broken})", "Run again") from broken
        return channel

    def _show(self, events: Iterable[powershell.Event], add: Callable[[str, str], None]) -> None:
        for event in events:
            match event:
                case powershell.Output(line):
                    add("stdout", line)
                case powershell.Emitted(_, text):
                    add("stdout", text)
                case powershell.Progress(text):
                    logger.info(f"{self.host.print_prefix}{escaped(text)}")
                case _:
                    pass

    def _transfer(
        self,
        done: str,
        remote: str,
        transfer: Callable[[paramiko.SFTPClient, str], None],
        print_output: bool,
        arguments: Mapping[str, Any],
    ) -> bool:
        try:
            if reason := _becoming(arguments):
                raise CorralError(reason)
            if self.host in self.state.failed_hosts:
                raise CorralError("the host failed before")
            path = sftp_path(remote)
            sftp = self._sftp()
            sftp.get_channel().settimeout(arguments.get("_timeout") or None)  # type: ignore[union-attr]
            transfer(sftp, path)
        except (CorralError, OSError, EOFError, paramiko.SSHException) as error:
            if isinstance(error, EOFError | TimeoutError | paramiko.SSHException):
                self.get_file_transfer_connection.cache.clear()  # the next one opens its own
            reason = str(error) if isinstance(error, CorralError) else _reason(error)
            text = "\n".join(map(escaped, f"{remote} was not {done}: {reason}".splitlines()))
            self.host.log_styled(text, fg="red", log_func=logger.error)
            return False
        if print_output:
            echo(f"{self.host.print_prefix}file {done}: {remote}", err=True)
        return True

    def _sftp(self) -> paramiko.SFTPClient:
        sftp = self.get_file_transfer_connection()
        if not isinstance(sftp, paramiko.SFTPClient):
            raise CorralError("ssh_file_transfer_protocol is not sftp", "Take it out for Windows hosts")
        return sftp

    def _refuse(self, sentence: str, print_output: bool) -> tuple[bool, CommandOutput]:
        if print_output:  # else pyinfra shows it
            echo(f"{self.host.print_prefix}{format_text(escaped(sentence), 'red')}", err=True)
        return False, CommandOutput([OutputLine("stderr", sentence)])

    def _refuse_posix(self, command: StringCommand, print_output: bool) -> tuple[bool, CommandOutput]:
        """Say what to use in place of pyinfra's own operation or fact."""
        caller = _Caller.find()
        asked = caller.operation
        if not asked and self.host.executing_op_hash:  # a name of the user's own does not say which it is
            names = self.state.get_op_meta(self.host.executing_op_hash).names
            asked = next((name for name in COUNTERPARTS if name in names), "")
        if asked in COUNTERPARTS:
            instead = f"Use {COUNTERPARTS[asked]} of corral.windows.operations in place of {asked}"
        else:
            pairs = ", ".join(f"{new} for {old}" for old, new in COUNTERPARTS.items())
            instead = f"Use the operations in corral.windows.operations ({pairs}) and the facts in corral.windows.facts"
        line = shortened(" ".join(str(command).split()))
        problem = f"this is a Windows host, and `{line}` is for a POSIX shell"
        sentence = str(CorralError(problem, instead))
        if caller.fact and isinstance(gevent.getcurrent(), gevent.Greenlet):
            # pyinfra would go on with an empty fact, and many of its operations then fail in a way that ends the run
            # of every host. Each host has a greenlet of its own: this ends no more than what this host would do.
            self.host.log_styled(escaped(sentence), fg="red", log_func=logger.error)
            self.state.failed_hosts.add(self.host)
            self.state.active_hosts.discard(self.host)
            raise gevent.GreenletExit
        return self._refuse(sentence, print_output)


@dataclass(frozen=True)
class _Caller:
    """On whose behalf the connector is called.

    operation: the operation of pyinfra's that is asking for a fact, as "files.put"; empty if there is none.
    fact: a deploy file or an operation asks for a fact; not the command line's `fact`, which wants an answer.
    """

    operation: str
    fact: bool

    @staticmethod
    def find() -> _Caller:
        operation, functions = "", set()
        frame = sys._getframe()
        while frame := frame.f_back:  # type: ignore[assignment]
            package, _, module = str(frame.f_globals.get("__name__")).rpartition(".")
            name = frame.f_code.co_name
            if package == "pyinfra.operations" and not operation and not name.startswith("_"):
                operation = f"{module}.{name}"
            if (package, module) == ("pyinfra.api", "facts"):
                functions.add(name)
        return _Caller(operation, "_get_fact" in functions and "get_host_fact" not in functions)


def _refused(arguments: Mapping[str, Any]) -> str:
    """Which of pyinfra's arguments cannot be honoured, and why; empty if all can."""
    if reason := _becoming(arguments):
        return reason
    if arguments.get("_shell_executable") not in (None, "sh"):  # "sh" is pyinfra's own default
        return "_shell_executable has no meaning on a Windows host: PowerShell runs what corral.windows makes."
    if arguments.get("_stdin"):
        return "_stdin has no meaning on a Windows host: hand values to a script as its parameters."
    if arguments.get("_get_pty"):
        return "_get_pty has no meaning on a Windows host: take it out."
    return ""


def _becoming(arguments: Mapping[str, Any]) -> str:
    for name in BECOMING:
        if arguments.get(name):
            return (
                f"{name} has no meaning on a Windows host: what an administrator starts over ssh has all rights "
                "already. Take it out for this host, and let ssh_user be an administrator."
            )
    return ""


def sftp_path(path: str) -> str:
    r"""A path of Windows' (C:\x, C:/x, or /C:/x) as its sftp server takes it (resolved_path in
    PowerShell/openssh-portable, contrib/win32/win32compat/misc.c). Raises CorralError for another."""
    drive, rest = ntpath.splitdrive(path.replace("/", "\\").lstrip("\\") if path[:1] in "/\\" else path)
    if len(drive) != 2 or not drive[0].isalpha() or rest[:1] not in ("/", "\\") or ":" in rest:
        raise CorralError(f"{path} is not a path on a drive of the host", r"Write it like C:\directory\file")
    return f"/{drive}{rest}".replace("\\", "/")


def _windows(path: str) -> str:
    return path.lstrip("/").replace("/", "\\")


def _mode(sftp: paramiko.SFTPClient, path: str) -> int | None:
    try:
        return sftp.stat(path).st_mode
    except FileNotFoundError:
        return None


def _wait_s(deadline: float | None) -> float:
    return max(0.01, min(1.0, deadline - time.monotonic())) if deadline else 1.0


def _unmasked(value: object) -> str:
    return value.unmask() if isinstance(value, HiddenValue) else str(value)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or directory."
    if isinstance(error, PermissionError):
        return "access denied. Let ssh_user be an administrator, and look whether a program has the file open."
    return f"{error or type(error).__name__}."


def explain(error: str, login: str) -> str:
    """pyinfra's sentence about a failed connection, and the remedy for it on a Windows host.

    login: user, address and port as the ssh command takes them.
    """
    if NOTHING_TO_TRY in error:
        remedy = GIVE_A_KEY
    elif "Authentication" in error:
        remedy = (
            "The host does not take this user's key or password: correct ssh_user, ssh_key or ssh_password. "
            f"An administrator's keys belong into {ADMINISTRATORS_KEYS} on the host, and sshd ignores that file "
            "unless Administrators and SYSTEM alone have access to it. In an elevated PowerShell there: " + PROTECT_KEYS
        )
    elif "host key" in error.lower():
        remedy = f"If Windows was installed anew, run ssh-keygen -R {login.rpartition('@')[2].split()[0]}"
    elif "resolve" in error:
        remedy = "Correct address in the inventory, or your DNS"
    elif "refused" in error or "Unable to connect" in error:
        remedy = (
            f"OpenSSH Server does not run there, or not on this port. In an elevated PowerShell there: {START_SSHD}"
        )
    else:
        remedy = (
            "Is it on, and is address right in the inventory? Windows' firewall may be closed to it; in an elevated "
            f"PowerShell there: {OPEN_PORT}. Try: ssh {login} exit"
        )
    return f"{error.rstrip('.')}. {remedy}."

"""The connector for Windows hosts, over real ssh and sftp to a server in this process that plays the Windows part.

What PowerShell would answer is given by each test; test_windows_bootstrap.py has what PowerShell answers.
"""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import gevent
import paramiko
import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host, ctx_state
from pyinfra.facts.files import File as PosixFile
from pyinfra.facts.server import Kernel
from pyinfra.operations import files, server

from corral.connectors.windows import START_SSHD, WindowsConnector, explain, sftp_path
from corral.errors import CorralError
from corral.windows import facts, operations, powershell
from corral.windows.scripting import PowerShell
from lab.windows.powershell import Engine
from tests.windows_request import Received, received


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass
class Answering:
    """What a script writes on its two streams and ends with; exit_code None: it does not end by itself."""

    lines: list[str] = field(default_factory=list)
    errors: bytes = b""
    exit_code: int | None = 0
    ready: bool = True

    raw: bytes | None = None

    def output(self) -> bytes:
        if self.raw is not None:
            return self.raw
        framed = ["@corral ready", *self.lines, "@corral end"] if self.ready else self.lines
        return "".join(f"{line}\r\n" for line in framed).encode()


class Windows(paramiko.ServerInterface):
    """A host with sshd: what came over the wire, and what is answered."""

    def __init__(self, drive: Path) -> None:
        self.drive = drive
        self.commands: list[str] = []
        self.requests: list[Received] = []
        self.answer: Callable[[Received], Answering] = lambda _: Answering()
        #: In place of answer: takes standard input as it came.
        self.powershell: Callable[[bytes], Answering] | None = None
        self.closed = threading.Event()
        self.port = 0

    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL if password == "right" else paramiko.common.AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.commands.append(command.decode())
        threading.Thread(target=self._run, args=(channel,), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel) -> None:
        data = b"".join(iter(lambda: channel.recv(1 << 16), b""))  # to its end, which must come
        self.requests.append(received(data))
        if "Move-Over $From $To" in self.requests[-1].script:
            self.replace(*map(str, self.requests[-1].parameters.values()))
        answer = self.powershell(data) if self.powershell else self.answer(self.requests[-1])
        channel.sendall(answer.output())
        channel.sendall_stderr(answer.errors)
        if answer.exit_code is not None:
            channel.send_exit_status(answer.exit_code)
            channel.close()
        else:
            while not channel.closed:
                time.sleep(0.01)
            self.closed.set()

    def replace(self, *paths: str) -> None:
        """What replace_file.ps1 does."""
        os.replace(*(self.drive / path.removeprefix("C:\\").replace("\\", "/") for path in paths))


class Sftp(paramiko.SFTPServerInterface):
    """Paths like /C:/dir over a directory of this machine."""

    def __init__(self, server: Windows, *_: object) -> None:
        self._drive = server.drive

    def _local(self, path: str) -> str:
        drive, _, rest = path.lstrip("/").partition("/")
        assert drive.upper() == "C:", path
        return str(self._drive / rest)

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        try:
            return paramiko.SFTPAttributes.from_stat(os.stat(self._local(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        try:
            stream = os.fdopen(os.open(self._local(path), flags, 0o644), "wb" if flags & os.O_WRONLY else "rb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = handle.writefile = stream  # type: ignore[attr-defined]
        return handle

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        os.rename(self._local(oldpath), self._local(newpath))
        return paramiko.sftp.SFTP_OK

    def remove(self, path: str) -> int:
        try:
            os.remove(self._local(path))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return paramiko.sftp.SFTP_OK


KEY = paramiko.ECDSAKey.generate()


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[Windows]:
    drive = tmp_path / "c"
    drive.mkdir()
    host = Windows(drive)
    listener = socket.create_server(("127.0.0.1", 0))
    host.port = listener.getsockname()[1]
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(KEY)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Sftp)
            transport.start_server(server=host)
            transports.append(transport)

    threading.Thread(target=serve, daemon=True).start()
    yield host
    listener.close()
    for transport in transports:
        transport.close()


def inventory(windows: Windows, tmp_path: Path, **data: object) -> State:
    declared: dict[str, Any] = {
        "ssh_hostname": "127.0.0.1",
        "ssh_port": windows.port,
        "ssh_user": "admin",
        "ssh_password": "right",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "ssh_known_hosts_file": str(tmp_path / "known_hosts"),
    }
    names = ("@windows/box", "@windows/other")
    return State(Inventory(([(name, declared | data) for name in names], {})), Config())


@pytest.fixture
def host(windows: Windows, tmp_path: Path) -> Host:
    found = inventory(windows, tmp_path).inventory.get_host("box")
    assert isinstance(found, Host)
    found.connect(raise_exceptions=True)
    return found


def run(host: Host, command: StringCommand, **arguments: Any) -> tuple[bool, CommandOutput]:
    return host.run_shell_command(command, **arguments)


# --- Commands ---------------------------------------------------------------------------------------------------------


def test_a_script_runs_under_the_constant_command_line_and_gets_its_values_over_stdin(
    windows: Windows, host: Host
) -> None:
    values: dict[str, Any] = {"Path": "C:\\模型\\it's \u2019$(x)`n", "Deep": True, "Size": -5, "Names": ["a b", ""]}
    done, output = run(host, PowerShell("param($Path)\n'ok'", parameters=values))
    assert done
    assert output.combined_lines == []
    assert windows.commands == [powershell.COMMAND]
    assert windows.requests == [Received("param($Path)\n'ok'", "", {}, values)]


def test_output_results_and_errors_become_lines_of_pyinfras(windows: Windows, host: Host) -> None:
    shown = b'<Obj S="information" RefId="0"><ToString>in the output already</ToString></Obj>'
    errors = b'#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="x">' + shown + b'<S S="warning">careful</S></Objs>'
    windows.answer = lambda _: Answering(["模型", f"@corral emit result {b64('[1]')}"], errors)
    done, output = run(host, PowerShell("x"))
    assert done
    assert output.stdout_lines == ["模型", "[1]"]
    assert output.stderr_lines == ["careful"]


def test_ten_megabytes_of_output_come_whole(windows: Windows, host: Host) -> None:
    line = "0123456789模" * 100
    windows.answer = lambda _: Answering([line] * 8_000)
    done, output = run(host, PowerShell("x"))
    assert done
    assert output.stdout_lines == [line] * 8_000


def test_environment_and_directory_travel_with_the_script_and_a_hidden_value_is_sent_unhidden(
    windows: Windows, host: Host
) -> None:
    command = PowerShell("x", parameters={"Token": HiddenValue("secret")})
    run(host, command, _env={"A": 1, "B": HiddenValue("hidden")}, _chdir="C:\\x")
    assert windows.requests == [Received("x", "C:\\x", {"A": "1", "B": "hidden"}, {"Token": "secret"})]
    assert "secret" not in str(command)


def test_a_failure_shows_its_errors_and_then_the_reason(windows: Windows, host: Host) -> None:
    windows.answer = lambda _: Answering([], b"boom\r\nboom.id\r\n", 1)
    done, output = run(host, PowerShell("throw 'boom'"))
    assert not done
    assert output.stderr_lines == ["boom", "boom.id", "throw 'boom' failed on the host (exit code 1)."]


def test_an_exit_code_that_is_declared_a_success_is_one(windows: Windows, host: Host) -> None:
    windows.answer = lambda _: Answering(exit_code=3010)
    assert run(host, PowerShell("x"), _success_exit_codes=[0, 3010])[0]
    assert not run(host, PowerShell("x"))[0]


def test_an_answer_that_was_cut_off_is_a_failure(windows: Windows, host: Host) -> None:
    windows.answer = lambda _: Answering(["@corral ready", "half"], ready=False)
    done, output = run(host, PowerShell("x"))
    assert not done
    assert "cut off on the host" in output.stderr


def test_a_timeout_ends_the_script_on_the_host_and_here(windows: Windows, host: Host) -> None:
    windows.answer = lambda _: Answering(exit_code=None)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        run(host, PowerShell("x"), _timeout=0.3)
    assert time.monotonic() - begun < 1
    assert windows.closed.wait(5)
    assert windows.requests[0].limit_s == 1


@pytest.mark.parametrize("name", ["_sudo", "_su_user", "_doas", "_dzdo"])
def test_becoming_another_user_is_refused_with_a_sentence(windows: Windows, host: Host, name: str) -> None:
    done, output = run(host, PowerShell("x"), **{name: True})
    assert not done
    assert f"{name} has no meaning on a Windows host" in output.stderr
    assert windows.commands == []


@pytest.mark.parametrize("arguments", [{"_stdin": "x"}, {"_get_pty": True}, {"_shell_executable": "pwsh"}])
def test_what_cannot_be_honoured_is_refused_rather_than_ignored(
    windows: Windows, host: Host, arguments: dict[str, object]
) -> None:
    done, output = run(host, PowerShell("x"), **arguments)
    assert not done
    assert next(iter(arguments)) in output.stderr
    assert windows.commands == []


def test_a_command_for_a_posix_shell_is_refused_with_what_to_use(windows: Windows, host: Host) -> None:
    done, output = run(host, StringCommand("uname", "-s"))
    assert not done
    assert "this is a Windows host, and `uname -s` is for a POSIX shell" in output.stderr
    assert "corral.windows.operations" in output.stderr
    assert windows.commands == []


def stand_in(data: bytes) -> Answering:
    """What the real bootstrap answers, in the stand-in for PowerShell."""
    stdout, stderr = BytesIO(), BytesIO()
    engine = Engine(
        [],
        lambda _: None,
        {},
        stdin=BytesIO(data),
        stdout=stdout,
        stderr=stderr,
        environment={},
        pid=1,
        location="C:\\",
    )
    exit_code = engine.run_command_line(powershell.COMMAND.removeprefix("powershell.exe "))
    return Answering(raw=stdout.getvalue(), errors=stderr.getvalue(), exit_code=exit_code)


def test_from_end_to_end_a_script_gets_its_values_and_its_output_comes_back(windows: Windows, host: Host) -> None:
    windows.powershell = stand_in
    text = "param($Name, $Count)\n1..$Count | ForEach-Object { \"$Name \u2019$_\" }\n$env:A\nWrite-Warning 'careful'"
    done, output = run(host, PowerShell(text, parameters={"Name": "模 '型", "Count": 3}), _env={"A": "@corral end"})
    assert done
    assert output.stdout_lines == ["模 '型 \u20191", "模 '型 \u20192", "模 '型 \u20193", "@corral end"]
    assert output.stderr_lines == ["careful"]


def test_from_end_to_end_an_exception_fails_the_script_with_its_message(windows: Windows, host: Host) -> None:
    windows.powershell = stand_in
    done, output = run(host, PowerShell("'before'; throw '坏'"))
    assert not done
    assert output.stdout_lines == ["before"]
    assert output.stderr_lines[0] == "坏"
    assert output.stderr_lines[-1] == "'before'; throw '坏' failed on the host (exit code 1)."


# --- pyinfra's own operations and facts -------------------------------------------------------------------------------


def hosts(windows: Windows, tmp_path: Path) -> tuple[State, Host, Host]:
    state = inventory(windows, tmp_path)
    first, second = state.inventory.get_host("box"), state.inventory.get_host("other")
    connect_all(state)
    return state, first, second


@pytest.mark.parametrize(
    ("asked", "arguments", "instead"),
    [
        (server.shell, {"commands": "true"}, "Use powershell of corral.windows.operations in place of server.shell"),
        (
            files.put,
            {"src": BytesIO(b"x"), "dest": "C:/x"},
            "Use put of corral.windows.operations in place of files.put",
        ),
        (files.directory, {"path": "C:/x"}, "Use directory of corral.windows.operations in place of files.directory"),
    ],
)
def test_an_operation_of_pyinfras_fails_its_host_with_its_counterpart_and_the_others_go_on(
    windows: Windows,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    asked: Any,
    arguments: dict[str, Any],
    instead: str,
) -> None:
    state, first, second = hosts(windows, tmp_path)
    with caplog.at_level("ERROR", logger="pyinfra"):
        add_op(state, asked, host=first, **arguments)
        add_op(state, operations.powershell, commands="'ok'", host=second)
        run_ops(state)
    assert instead in caplog.text
    assert state.failed_hosts == {first}
    assert state.get_results_for_host(second).success_ops == 1
    assert [request.script for request in windows.requests] == ["'ok'"]
    assert list(windows.drive.iterdir()) == []


@pytest.mark.parametrize(("fact", "arguments"), [(Kernel, {}), (PosixFile, {"path": "/x"})])
def test_a_fact_of_pyinfras_fails_its_host_with_a_sentence(
    windows: Windows, tmp_path: Path, caplog: pytest.LogCaptureFixture, fact: Any, arguments: dict[str, Any]
) -> None:
    state, first, _ = hosts(windows, tmp_path)
    with caplog.at_level("ERROR", logger="pyinfra"):
        first.get_fact(fact, **arguments)
    assert "the facts in corral.windows.facts" in caplog.text
    assert state.failed_hosts == {first}


def test_in_a_deploy_the_refusal_ends_what_this_host_would_do_and_no_more(
    windows: Windows, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """server.service raises where it knows none of the facts, and pyinfra would end the run of every host."""
    state, first, second = hosts(windows, tmp_path)
    reached = []

    def deploy(host: Host) -> None:  # pyinfra runs a deploy file in a greenlet for each host
        with ctx_state.use(state), ctx_host.use(host):
            if host is first:
                server.service(service="x")
            reached.append(host.get_fact(facts.BootTime))

    windows.answer = lambda _: Answering([f"@corral emit result {b64('0')}"])
    greenlets = [gevent.spawn(deploy, host) for host in (first, second)]
    gevent.joinall(greenlets, raise_error=True)
    assert reached == [datetime(1601, 1, 1)]
    assert state.failed_hosts == {first}
    assert caplog.text.count("Use service of corral.windows.operations in place of server.service") == 1


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["C:\\目录\\模 型.txt", "C:/目录/模 型.txt", "/C:/目录/模 型.txt"])
def test_a_file_arrives_whole_under_any_way_to_write_its_path(windows: Windows, host: Host, path: str) -> None:
    (windows.drive / "目录").mkdir()
    data = os.urandom(300_000)
    assert host.put_file(BytesIO(data), path)
    assert (windows.drive / "目录" / "模 型.txt").read_bytes() == data
    assert len(list((windows.drive / "目录").iterdir())) == 1
    assert windows.commands == []
    back = BytesIO()
    assert host.get_file(path, back)
    assert back.getvalue() == data


def test_a_file_that_is_there_is_replaced_by_powershell_because_sshds_rename_would_delete_it_first(
    windows: Windows, host: Host
) -> None:
    (windows.drive / "x.txt").write_bytes(b"old")
    assert host.put_file(BytesIO(b"new"), "C:\\x.txt")
    assert [path.read_bytes() for path in windows.drive.iterdir()] == [b"new"]
    (request,) = windows.requests
    assert request.parameters["To"] == "C:\\x.txt"
    assert str(request.parameters["From"]).startswith("C:\\x.txt.corral-")


def test_a_replacement_that_fails_leaves_the_old_file_and_nothing_beside_it(
    windows: Windows, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (windows.drive / "x.txt").write_bytes(b"old")
    monkeypatch.setattr(windows, "replace", lambda *_: None)
    windows.answer = lambda _: Answering([f"@corral error used {b64('x.txt is in use | Close it')}"], exit_code=1)
    assert not host.put_file(BytesIO(b"new"), "C:\\x.txt")
    assert [path.read_bytes() for path in windows.drive.iterdir()] == [b"old"]
    assert "C:\\x.txt was not uploaded: x.txt is in use. Close it." in caplog.text


def test_a_directory_is_refused_as_a_target(windows: Windows, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    (windows.drive / "x").mkdir()
    assert not host.put_file(BytesIO(b"new"), "C:\\x")
    assert "C:\\x is a directory on the host. Name the file in it." in caplog.text
    assert list((windows.drive / "x").iterdir()) == []


def test_a_missing_directory_or_file_is_named(windows: Windows, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    assert not host.put_file(BytesIO(b"new"), "C:\\no\\x")
    assert not host.get_file("C:\\no", BytesIO())
    assert caplog.text.count("no such file or directory") == 2


def test_sudo_is_refused_for_files_too(windows: Windows, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    assert not host.put_file(BytesIO(b"new"), "C:\\x", _sudo=True)
    assert "_sudo has no meaning" in caplog.text
    assert list(windows.drive.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["x", "~/x", "C:x", "/etc/passwd", "\\\\server\\share\\x", "HKLM:\\x", "C:\\x:stream", ""]
)
def test_what_is_no_path_on_a_drive_is_refused(path: str) -> None:
    with pytest.raises(CorralError, match="is not a path on a drive of the host"):
        sftp_path(path)


# --- Connections ------------------------------------------------------------------------------------------------------


def test_a_refused_login_names_the_file_that_sshd_ignores_and_the_command_that_mends_it(
    windows: Windows, tmp_path: Path
) -> None:
    box = inventory(windows, tmp_path, ssh_password="wrong").inventory.get_host("box")
    with pytest.raises(ConnectError) as caught:
        box.connect(raise_exceptions=True, show_errors=False)
    assert "correct ssh_user, ssh_key or ssh_password" in str(caught.value)
    assert (
        "icacls.exe C:\\ProgramData\\ssh\\administrators_authorized_keys "
        "/inheritance:r /grant *S-1-5-32-544:F /grant *S-1-5-18:F"
    ) in str(caught.value)


def test_where_nothing_listens_the_commands_are_given_that_turn_openssh_server_on(
    windows: Windows, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    box = inventory(windows, tmp_path, ssh_port=port).inventory.get_host("box")
    with pytest.raises(ConnectError) as caught:
        box.connect(raise_exceptions=True, show_errors=False)
    assert f"In an elevated PowerShell there: {START_SSHD}." in str(caught.value)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("SSH error (No authentication methods available)", "ssh-add"),
        ("SSH host key error (Host key for box does not match.)", "ssh-keygen -R box"),
        ("Could not resolve hostname (Name or service not known)", "Correct address"),
        ("Could not connect (timed out)", "Set-NetFirewallRule -Name OpenSSH-Server-In-TCP"),
    ],
)
def test_other_failures_keep_pyinfras_sentence_and_get_a_remedy(error: str, remedy: str) -> None:
    text = explain(error, "me@box -p 2222")
    assert text.startswith(error.rstrip("."))
    assert remedy in text


def test_the_host_is_shown_under_its_own_name(windows: Windows, tmp_path: Path) -> None:
    box = inventory(windows, tmp_path).inventory.get_host("box")
    assert isinstance(box.connector, WindowsConnector)
    assert box.name == "box"

"""The lab's sshd for Windows machines: Win32-OpenSSH's rules, and a client's view of them without Wine."""

from __future__ import annotations

import io
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest

from lab.windows.machine import Machine
from lab.windows.machine.acl import FULL, READ, READ_EXECUTE, Acl, Entry
from lab.windows.machine.environment import Block
from lab.windows.machine.files import Mode
from lab.windows.machine.handles import Use
from lab.windows.machine.hives import ENVIRONMENT
from lab.windows.machine.identity import ADMINISTRATORS, AUTHENTICATED_USERS, MACHINE_AUTHORITY, SYSTEM, USERS
from lab.windows.machine.launch import Running
from lab.windows.machine.registry import Kind as RegistryKind
from lab.windows.machine.registry import Value
from lab.windows.ssh import commandline, configuration, faults
from lab.windows.ssh.commandline import LIMIT, Kind, Shell, command_line, default_shell
from lab.windows.ssh.jobs import Jobs
from lab.windows.ssh.logon import SSHD, keys_path, objection
from lab.windows.ssh.loopback import PORT, Loopback
from lab.windows.ssh.sftp import windows_path
from lab.windows.ssh.wrapped import windows_environment
from lab.windows.wine import Wine
from tests.stand_in.windows_ssh_server import COMPUTER, PASSWORD, USER, QuietHost

ROOT = Path(__file__).resolve().parents[2]
POWERSHELL = Shell(r"c:\windows\system32\windowspowershell\v1.0\powershell.exe")
BASH = Shell(r"c:\program files\git\bin\bash.exe")
OTHER = Shell(r"c:\program files\nu\nu.exe")
USER_SID = f"{MACHINE_AUTHORITY}-1001"


# --- command lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shell", "command", "line"),
    [
        (Shell(), "echo hi", r'"c:\windows\system32\cmd.exe" /c "echo hi"'),
        (Shell(), 'echo "a b" \\', r'"c:\windows\system32\cmd.exe" /c "echo "a b" \"'),
        (POWERSHELL, "Get-Date", rf'"{POWERSHELL.path}" -c Get-Date'),
        (POWERSHELL, 'echo "a b"', rf'"{POWERSHELL.path}" -c "echo \"a b\""'),
        (POWERSHELL, r"dir C:\x\ ", rf'"{POWERSHELL.path}" -c "dir C:\x\ "'),
        (BASH, r'echo \\"x', rf'"{BASH.path}" -c "echo \\\\\"x"'),
        (BASH, "'a b'", rf""""{BASH.path}" -c 'a b'"""),
        (OTHER, 'say "x"', rf'"{OTHER.path}" -c "say \"x\""'),
        (Shell(OTHER.path, escape=False), 'say "x"', rf'"{OTHER.path}" -c "say "x""'),
        (Shell(OTHER.path, "-l -c"), "x", rf'"{OTHER.path}" "-l -c" x'),
        (Shell(), "SCP -t x", r'"c:\windows\system32\cmd.exe" /c "scp.exe -t x"'),
        (Shell(), "internal-sftp", r'"c:\windows\system32\cmd.exe" /c "sftp-server.exe"'),
    ],
)
def test_a_command_becomes_the_command_line_that_sshd_makes_of_it(shell: Shell, command: str, line: str) -> None:
    assert command_line(shell, command) == line


def test_the_registry_names_the_shell_in_any_case_and_with_either_slash() -> None:
    values: dict[str, str | int] = {
        "DefaultShell": "C:/Windows/System32/WindowsPowerShell/v1.0/PowerShell.exe",
        "DefaultShellCommandOption": "-Command",
        "DefaultShellEscapeArguments": 0,
    }
    assert default_shell(values) == Shell(POWERSHELL.path, "-Command", escape=False)
    assert default_shell(values).kind is Kind.POWERSHELL


def test_without_a_default_shell_it_is_cmd_whatever_else_is_set() -> None:
    assert default_shell({"DefaultShellCommandOption": "-x"}) == Shell()
    assert Shell().kind is Kind.CMD


# --- configuration, keys --------------------------------------------------------------------------------------


def test_the_stock_configuration_looks_for_administrators_keys_in_a_file_of_their_own() -> None:
    for administrator, path in (
        (True, r"C:\ProgramData\ssh\administrators_authorized_keys"),
        (False, r"C:\Users\me\.ssh\authorized_keys"),
    ):
        found = configuration.parse(configuration.DEFAULT, administrator=administrator)
        assert keys_path(found.keys_file, r"C:\Users\me") == path
        assert (found.sftp, found.forwarding, found.max_sessions, found.max_auth_tries) == (True, True, 10, 6)


def test_what_stands_first_in_the_configuration_counts_and_what_comes_last_belongs_to_the_administrators() -> None:
    text = "MaxSessions 3\n" + configuration.DEFAULT + "MaxSessions 4\nAllowTcpForwarding no\n"
    assert configuration.parse(text, administrator=False) == configuration.Configuration(max_sessions=3)
    administrators = configuration.parse(text, administrator=True)
    assert (administrators.max_sessions, administrators.forwarding) == (4, False)


def test_the_port_is_the_first_that_is_named_outside_of_a_match() -> None:
    assert configuration.parse(configuration.DEFAULT, administrator=True).port is None
    text = "Port 2222\nPort 2223\n" + configuration.DEFAULT
    assert configuration.parse(text, administrator=True).port == 2222


def test_a_match_that_is_not_modelled_is_refused() -> None:
    with pytest.raises(ValueError, match="Match User me"):
        configuration.parse("Match User me\n", administrator=True)


STRICT = (Entry(ADMINISTRATORS, FULL), Entry(SYSTEM, FULL))


@pytest.mark.parametrize(
    ("acl", "why"),
    [
        (Acl(ADMINISTRATORS, STRICT), ""),
        (Acl(SYSTEM, (*STRICT, Entry(USER_SID, FULL))), ""),
        (Acl(USER_SID, (*STRICT, Entry(SSHD, READ))), ""),
        (Acl(ADMINISTRATORS, (*STRICT, Entry(SSHD, FULL))), SSHD),
        (Acl(ADMINISTRATORS, (*STRICT, Entry(AUTHENTICATED_USERS, READ_EXECUTE, inherited=True))), AUTHENTICATED_USERS),
        (Acl(ADMINISTRATORS, (*STRICT, Entry(USERS, FULL, allow=False))), ""),
        (Acl(USERS, STRICT), USERS),
    ],
)
def test_a_file_of_keys_counts_only_where_nobody_else_has_rights_to_it(acl: Acl, why: str) -> None:
    found = objection(acl, USER_SID)
    assert found.endswith(why) if why else not found


# --- paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/C:/Users/x", "C:/Users/x"),
        ("C:\\Users", "C:\\Users"),
        ("/d:", "d:\\"),
        ("/", None),
        ("\\", None),
        ("/C:/..", None),
        ("", "."),
        ("some file", "some file"),
        ("__PROGRAMDATA__/ssh", r"C:\ProgramData/ssh"),
    ],
)
def test_a_clients_path_means_what_realpath_makes_of_it(path: str, found: str | None) -> None:
    assert windows_path(path) == found


@pytest.fixture
def wine(tmp_path: Path) -> Wine:
    for directory in ("c/Program Files/模型", "c/windows/temp", "d"):
        (tmp_path / directory).mkdir(parents=True)
    return Wine(tmp_path, {"C": tmp_path / "c", "d": tmp_path / "d"}, {"LC_ALL": "C.UTF-8"})


def test_paths_of_windows_are_found_in_any_case_and_come_back_as_the_disk_spells_them(wine: Wine) -> None:
    found = wine.path_of("c:/PROGRAM FILES\\模型\\New.txt")
    assert found == wine.drives["C"] / "Program Files/模型/New.txt"
    assert wine.windows_path(found) == r"C:\Program Files\模型\New.txt"
    assert wine.windows_path(wine.drives["D"]) == "D:\\"
    with pytest.raises(FileNotFoundError, match="no drive E:"):
        wine.path_of("E:\\x")
    with pytest.raises(ValueError, match="on no drive"):
        wine.windows_path(Path("/etc/passwd"))


def test_a_program_is_asked_for_with_its_exact_command_line_and_environment(wine: Wine) -> None:
    launch = wine.launch('"x.exe"  "a" 管\ud83d', {"Path": "C:\\x", "A": ""}, "C:\\")
    request = wine.path_of(launch.arguments[-1])
    fields = request.read_bytes().decode("utf-16-le", "surrogatepass").split("\0")
    assert fields == ['"x.exe"  "a" 管\ud83d', "C:\\", "Path=C:\\x", "A=", ""]
    request.with_name(request.name + ".code").write_text("4294770688\n")
    assert launch.exit_code(0) == 4294770688
    assert launch.exit_code(300) == 44


def test_what_bash_starts_gets_the_sessions_variables_and_none_of_the_hosts_own() -> None:
    here = {"PATH": "/usr/bin", "HOME": "/x", "_": "/bin/sh", "Path": "C:\\a", "PWD": "/", "OLLAMA_HOST": "0.0.0.0"}
    found = windows_environment(Block({"Path": "C:\\b", "TEMP": "C:\\t"}), here)
    assert dict(found) == {"Path": "C:\\a", "TEMP": "C:\\t", "OLLAMA_HOST": "0.0.0.0"}


# --- the server -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running server; `machine` is what it stands for."""

    directory: Path
    port: int

    @property
    def machine(self) -> Machine:
        return Machine(self.directory / "state", host=QuietHost())

    def connect(self, *, user: str = USER, password: str | None = None) -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        key = None if password is not None else paramiko.Ed25519Key(filename=str(self.directory / "key"))
        client.connect(
            "127.0.0.1", self.port, user, password, key, look_for_keys=False, allow_agent=False, timeout=20
        )  # fmt: skip
        return client

    def asked(self) -> list[dict[str, object]]:
        """What was started, in order."""
        found = sorted((self.directory / "started").glob("*.json"), key=lambda path: int(path.stem))
        return [json.loads(path.read_text()) for path in found]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("sshd")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key"], check=True)
    command = [sys.executable, "-m", "tests.stand_in.windows_ssh_server", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Server(directory, int(process.stdout.readline()))
        process.kill()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    faults.well(running.machine)


@pytest.fixture
def client(server: Server) -> Iterator[paramiko.SSHClient]:
    with closing(server.connect()) as client:
        yield client


def run(client: paramiko.SSHClient, command: str) -> tuple[int, bytes, bytes]:
    _, out, err = client.exec_command(command, timeout=20)
    output, errors = out.read(), err.read()
    return out.channel.recv_exit_status(), output, errors


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_server_says_that_it_is_that_of_windows(client: paramiko.SSHClient) -> None:
    transport = client.get_transport()
    assert transport is not None
    assert transport.remote_version == "SSH-2.0-OpenSSH_for_Windows_9.5"


def test_a_command_runs_in_the_users_profile_with_a_new_logons_environment(
    server: Server, client: paramiko.SSHClient
) -> None:
    assert run(client, "echo out; echo err >&2; exit 3") == (70003, b"out\n", b"err\n")
    asked = server.asked()[-1]
    assert asked["line"] == r'"c:\windows\system32\cmd.exe" /c "echo out; echo err >&2; exit 3"'
    assert asked["directory"] == rf"C:\Users\{USER}"
    environment = asked["environment"]
    assert isinstance(environment, dict)
    assert environment["USERPROFILE"] == rf"C:\Users\{USER}"
    assert (environment["HOMEDRIVE"], environment["HOMEPATH"]) == ("C:", rf"\Users\{USER}")
    assert environment["COMPUTERNAME"] == COMPUTER
    assert environment["SSH_CONNECTION"].endswith(f" 127.0.0.1 {server.port}")
    assert environment["Path"].startswith(r"C:\Windows\system32;")


def test_the_environment_is_that_of_the_moment_when_the_connection_was_made(
    server: Server, client: paramiko.SSHClient
) -> None:
    run(client, "true")
    server.machine.system.registry.set(ENVIRONMENT, Value("NEW", RegistryKind.String, "1"))
    run(client, "true")
    assert "NEW" not in str(server.asked()[-1]["environment"])
    with closing(server.connect()) as later:
        run(later, "true")
    assert "NEW" in str(server.asked()[-1]["environment"])


def test_the_default_shell_is_read_from_the_registry_for_each_connection(server: Server) -> None:
    registry = server.machine.system.registry
    try:
        registry.set(commandline.KEY, Value("DefaultShell", RegistryKind.String, r"C:\Program Files\Git\bin\bash.exe"))
        with closing(server.connect()) as client:
            assert run(client, "exit 2")[0] == 70002
            assert server.asked()[-1]["line"] == rf'"{BASH.path}" -c "exit 2"'
        registry.set(commandline.KEY, Value("DefaultShell", RegistryKind.String, r"C:\nothing.exe"))
        with closing(server.connect()) as client, pytest.raises(paramiko.SSHException):
            # What CreateProcess refuses, sshd refuses.
            client.exec_command("exit 2")
    finally:
        registry.delete_value(commandline.KEY, "DefaultShell")


def test_what_is_too_long_for_cmd_says_so_and_what_is_too_long_for_windows_is_refused(
    server: Server, client: paramiko.SSHClient
) -> None:
    run(client, "x" * 9000)
    assert server.asked()[-1]["line"] == rf'"{Shell().path}" /c "echo The command line is too long.>&2& exit 1"'
    with pytest.raises(paramiko.SSHException):
        client.exec_command("x" * LIMIT)


def test_input_and_output_go_through_while_the_command_runs(client: paramiko.SSHClient) -> None:
    stdin, stdout, _ = client.exec_command("while read line; do echo got $line; done; echo end", timeout=20)
    for word in ("one", "two"):
        stdin.write(f"{word}\n")
        stdin.flush()
        assert stdout.readline() == f"got {word}\n"
    stdin.channel.shutdown_write()
    assert stdout.read() == b"end\n"


def test_ten_megabytes_come_back_whole(client: paramiko.SSHClient) -> None:
    _, out, _ = run(client, "head -c 10000000 /dev/zero | tr '\\0' x")
    assert len(out) == 10_000_000


@pytest.mark.parametrize("cut", ["channel", "connection"])
def test_what_runs_goes_on_without_its_client_and_sees_its_streams_end(
    server: Server, tmp_path: Path, cut: str
) -> None:
    """session_close_by_channel() ends nothing that has no terminal."""
    begun, done = tmp_path / "begun", tmp_path / "done"
    with closing(server.connect()) as client:
        stdin, _, _ = client.exec_command(
            f"trap '' PIPE; touch {begun}; cat; sleep 0.1; echo lost; echo $? > {done}", timeout=20
        )
        until(begun.exists)
        if cut == "channel":
            stdin.channel.close()
        else:
            transport = client.get_transport()
            assert transport is not None
            transport.sock.close()
        until(done.exists)
    assert done.read_text() != "0\n"


def test_a_signal_of_any_kind_ends_the_shell_with_exit_code_0(client: paramiko.SSHClient) -> None:
    _, out, _ = client.exec_command("echo begun; exec sleep 60", timeout=20)
    assert out.readline() == "begun\n"
    message = paramiko.Message()
    message.add_byte(bytes([paramiko.common.MSG_CHANNEL_REQUEST]))
    message.add_int(out.channel.remote_chanid)
    message.add_string("signal")
    message.add_boolean(False)
    message.add_string("HUP")
    transport = client.get_transport()
    assert transport is not None
    transport._send_user_message(message)  # type: ignore[attr-defined]
    assert out.channel.recv_exit_status() == 0


def test_an_eleventh_session_is_refused_until_one_of_ten_has_ended(client: paramiko.SSHClient) -> None:
    transport = client.get_transport()
    assert transport is not None
    sessions = [client.exec_command("read line", timeout=20)[0] for _ in range(10)]
    with pytest.raises(paramiko.ChannelException, match="Connect failed"):
        transport.open_session()
    sessions[0].channel.shutdown_write()
    sessions[0].channel.recv_exit_status()

    def possible() -> bool:
        try:
            transport.open_session().close()
        except paramiko.ChannelException:
            return False
        return True

    until(possible)


def test_a_session_that_only_transferred_files_does_not_count_when_it_is_over(client: paramiko.SSHClient) -> None:
    for _ in range(15):
        client.open_sftp().close()


def test_shells_and_terminals_are_refused_with_a_sentence(client: paramiko.SSHClient) -> None:
    transport = client.get_transport()
    assert transport is not None
    shell = transport.open_session()
    shell.invoke_shell()
    assert shell.recv_exit_status() == 1
    assert b"no interactive shells" in shell.recv_stderr(1000)
    terminal = transport.open_session()
    terminal.get_pty()
    terminal.exec_command("echo")
    assert terminal.recv_exit_status() == 1
    assert b"no terminals" in terminal.recv_stderr(1000)


# --- who may log on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [USER, f"{COMPUTER}\\{USER}", f"{COMPUTER.lower()}/{USER}"])
def test_the_user_is_known_with_and_without_domain(server: Server, user: str) -> None:
    server.connect(user=user).close()
    server.connect(user=user, password=PASSWORD).close()


def test_others_and_wrong_passwords_are_refused(server: Server) -> None:
    for user, password in (("somebody", None), ("somebody", PASSWORD), (USER, "wrong")):
        with pytest.raises(paramiko.AuthenticationException):
            server.connect(user=user, password=password)


def test_after_six_failures_the_connection_is_closed(server: Server) -> None:
    transport = paramiko.Transport(("127.0.0.1", server.port))
    with closing(transport):
        transport.start_client(timeout=20)
        for _ in range(5):
            with pytest.raises(paramiko.AuthenticationException):
                transport.auth_password(USER, "wrong", fallback=False)
        with pytest.raises(paramiko.SSHException):
            transport.auth_password(USER, "wrong", fallback=False)
        until(lambda: not transport.is_active())


def test_a_key_in_a_file_that_others_may_read_is_none_and_a_password_still_is(server: Server) -> None:
    faults.open_keys(server.machine)
    with pytest.raises(paramiko.AuthenticationException):
        server.connect()
    server.connect(password=PASSWORD).close()
    faults.forbid_passwords(server.machine)
    with pytest.raises(paramiko.BadAuthenticationType):
        server.connect(password=PASSWORD)
    faults.well(server.machine)
    server.connect().close()


def test_a_user_who_is_no_administrator_needs_a_key_in_the_profile(server: Server) -> None:
    machine = server.machine
    machine.change_settings(administrator=False)
    try:
        with pytest.raises(paramiko.AuthenticationException):
            server.connect()
        files = machine.system.files
        files.make_directory(rf"C:\Users\{USER}\.ssh")
        files.write(rf"C:\Users\{USER}\.ssh\authorized_keys", files.read(faults.KEYS))
        server.connect().close()
    finally:
        machine.change_settings(administrator=True)


# --- files ----------------------------------------------------------------------------------------------------


def test_files_are_found_under_paths_with_drive_letters_in_any_case(server: Server, client: paramiko.SSHClient) -> None:
    with client.open_sftp() as sftp:
        assert sftp.normalize(".") == f"/C:/Users/{USER}"
        assert sftp.normalize("/c:/Windows/../x") == "/c:/x"
        assert sftp.listdir("/") == ["C:"]
        sftp.mkdir("模型 dir")
        sftp.putfo(io.BytesIO(b"content"), "/C:/Users/管理员/模型 dir/File.txt")
        assert sftp.stat(f"C:\\USERS\\{USER}\\模型 DIR\\file.TXT").st_size == 7
        assert [entry.filename for entry in sftp.listdir_attr("模型 dir")] == ["File.txt"]
        with sftp.open("/c:/users/管理员/模型 dir/FILE.txt") as opened:
            assert opened.read() == b"content"
        sftp.remove("模型 dir/file.txt")
        sftp.rmdir("模型 dir")
    assert (server.directory / f"c/Users/{USER}").is_dir()


def test_a_rename_never_replaces_and_a_posix_rename_does(client: paramiko.SSHClient) -> None:
    with client.open_sftp() as sftp:
        sftp.putfo(io.BytesIO(b"new"), "new")
        sftp.putfo(io.BytesIO(b"old"), "old")
        with pytest.raises(OSError, match="Failure"):
            sftp.rename("new", "OLD")
        sftp.posix_rename("new", "OLD")
        with sftp.open("old") as opened:
            assert opened.read() == b"new"
        sftp.rename("old", "other")
        assert [name for name in sftp.listdir(".") if name in ("new", "old", "other")] == ["other"]
        sftp.remove("other")


def test_a_missing_drive_and_a_read_only_file_are_refused(client: paramiko.SSHClient) -> None:
    with client.open_sftp() as sftp:
        for attempt in (lambda: sftp.stat("/X:/a"), lambda: sftp.mkdir("/X:/a"), lambda: sftp.open("/X:/a", "w")):
            with pytest.raises(FileNotFoundError):
                attempt()
        sftp.putfo(io.BytesIO(b"x"), "fixed")
        sftp.chmod("fixed", 0o444)
        for attempt in (lambda: sftp.remove("fixed"), lambda: sftp.open("fixed", "w")):
            with pytest.raises(PermissionError):
                attempt()
        sftp.chmod("fixed", 0o644)
        sftp.remove("fixed")


def test_a_file_that_somebody_has_open_is_not_replaced(server: Server, client: paramiko.SSHClient) -> None:
    machine = server.machine
    machine.system.files.write(r"C:\held.txt", b"held")
    held = machine.system.files.open(r"C:\held.txt", Mode.Open, Use.READ, Use.READ)
    try:
        with client.open_sftp() as sftp:
            sftp.putfo(io.BytesIO(b"new"), "/C:/new.txt")
            with pytest.raises(PermissionError):
                sftp.posix_rename("/C:/new.txt", "/C:/held.txt")
    finally:
        held.close()


def test_a_file_that_is_being_written_can_be_written_by_others_and_not_read(client: paramiko.SSHClient) -> None:
    with client.open_sftp() as sftp:
        with sftp.open("shared", "w"):
            sftp.open("shared", "a").close()
            with pytest.raises(PermissionError):
                sftp.open("shared", "r")
        with sftp.open("shared", "r"):
            sftp.open("shared", "r").close()
        sftp.remove("shared")


def test_without_the_subsystem_there_is_no_sftp(server: Server) -> None:
    faults.forbid_sftp(server.machine)
    with closing(server.connect()) as client, pytest.raises(paramiko.SSHException):
        client.open_sftp()


# --- forwarding -----------------------------------------------------------------------------------------------


def test_a_connection_is_forwarded_unless_that_is_forbidden(server: Server) -> None:
    def open_to(client: paramiko.SSHClient, port: int) -> paramiko.Channel:
        transport = client.get_transport()
        assert transport is not None
        return transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 1))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with closing(server.connect()) as client:
            channel = open_to(client, port)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"through")
                assert channel.recv(100) == b"through"
        faults.forbid_forwarding(server.machine)
        with (
            closing(server.connect()) as client,
            pytest.raises(paramiko.ChannelException, match="Administratively prohibited"),
        ):
            open_to(client, port)


# --- powershell.exe and the stand-in --------------------------------------------------------------------------


class OneProgram:
    """Starts a Python script in place of the stand-in."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.asked: tuple[object, ...] = ()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, program, command_line, identity, environment, directory, parent, **streams) -> Running:  # type: ignore[no-untyped-def]
        self.asked = (str(program), command_line, identity.sid, dict(environment), directory)
        process = subprocess.Popen([sys.executable, "-u", "-c", self.script], **streams)
        self.processes.append(process)
        return process


class PowerShellExe:
    """What native/powershell.c does."""

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        for kind, content in (
            (b"C", 'powershell.exe -File "a b"'),
            (b"D", "C:\\管"),
            (b"V", "=C:=C:\\"),
            (b"V", "STAND_IN_JOB=session-1"),
            (b"V", "Name=a=b"),
            (b"S", ""),
        ):
            self.send(kind, content.encode())

    def send(self, kind: bytes, content: bytes) -> None:
        self.connection.sendall(struct.pack("!cI", kind, len(content)) + content)

    def receive(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        kind, length = struct.unpack("!cI", head)
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            assert part
            data += part
        return data


@pytest.fixture
def loopback(server: Server, tmp_path: Path) -> Iterator[Callable[[OneProgram], PowerShellExe]]:
    listeners = []

    def answer(program: OneProgram) -> PowerShellExe:
        listener = Loopback(server.machine, program, Jobs(tmp_path)).serve(0)
        listeners.append(listener)
        return PowerShellExe(listener.getsockname()[1])

    yield answer
    for listener in listeners:
        listener.close()


def test_a_script_begins_before_its_input_ends_and_its_output_comes_while_it_runs(
    loopback: Callable[[OneProgram], PowerShellExe],
) -> None:
    program = OneProgram(
        "import os, sys\nos.write(1, b'begun ')\nfor line in sys.stdin: os.write(1, line.encode())\n"
        "os.write(2, b'over')\nsys.exit(9)"
    )
    shim = loopback(program)
    assert shim.receive() == (b"O", b"begun ")
    shim.send(b"I", b"one\n")
    assert shim.receive() == (b"O", b"one\n")
    shim.send(b"I", b"")
    assert shim.receive() == (b"E", b"over")
    assert shim.receive() == (b"X", struct.pack("!I", 9))
    program_path = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
    assert program.asked == (program_path, 'powershell.exe -File "a b"', USER_SID, {"Name": "a=b"}, "C:\\管")


def test_a_script_ends_with_powershell_exe(loopback: Callable[[OneProgram], PowerShellExe]) -> None:
    program = OneProgram("import os, time\nos.write(1, b'begun')\ntime.sleep(60)")
    shim = loopback(program)
    assert shim.receive() == (b"O", b"begun")
    shim.connection.close()
    assert program.processes[0].wait(10) == -9


def test_both_ends_of_the_loopback_agree_on_its_port() -> None:
    source = (ROOT / "lab/windows/native/powershell.c").read_text()
    assert f"#define PORT {PORT}\n" in source

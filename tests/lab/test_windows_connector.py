"""`@windows/HOST` without Ollama: facts and operations over the real connection, and what it says without one."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest

from lab.config import find_host
from lab.sandbox import wait_for
from tests.lab.conftest import ANSI, ROOT, Run
from tests.lab.expect import finished, one_error
from tests.lab.windows_hosts import ADDRESSES, PYTHON, WIN, ZH, machine, powershell, processes, windows_only

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

SHELLS = {
    "cmd": "",
    "PowerShell": r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
    "bash": r"C:\Program Files\Git\bin\bash.exe",
}
C_SSH = "/srv/windows/prefix/drive_c/ProgramData/ssh"
USERS = {WIN: "admin", ZH: "管理员"}


@pytest.fixture
def fresh(lab: Lab) -> Iterator[str]:
    """A Windows host as it was at first, and left so."""
    lab.reset(WIN)
    yield WIN
    lab.reset(WIN)


def fault(lab: Lab, name: str) -> None:
    """One of the bad days of the lab's sshd for Windows."""
    lab.check(WIN, [*PYTHON, "lab.windows.ssh", "fault", name])


def pyinfra(
    directory: Path, deploy: str, *arguments: str, host: str = WIN, environment: Sequence[str] = (), **data: Any
) -> Run:
    """Runs a deploy of a person's own against a Windows host of pyinfra's own inventory.

    environment: NAME=value, for pyinfra.
    """
    declared = {"ssh_hostname": ADDRESSES[host], "ssh_user": USERS[host], **data}
    (directory / "inventory.py").write_text(f"hosts = [('@windows/{host}', {declared!r})]\n", encoding="utf-8")
    (directory / "deploy.py").write_text(textwrap.dedent(deploy), encoding="utf-8")
    begun = time.monotonic()
    command = [
        str(ROOT / "lab/run"),
        "env",
        f"--chdir={directory}",
        *environment,
        "pyinfra",
        "-y",
        *arguments,
        "inventory.py",
        "deploy.py",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=300,
    )  # fmt: skip
    return Run(done.returncode, ANSI.sub("", done.stdout), time.monotonic() - begun)


DEPLOY = r"""
    import io
    from corral.windows import facts
    from corral.windows.operations import directory, environment_variable, put, registry_value, template
    from pyinfra import host

    directory(name="Make room", path=r"D:\应用 数据")
    put(name="Upload", src=io.BytesIO("héllo \u2018模型\u2019\n".encode()), dest=r"D:\应用 数据\settings.txt")
    template(name="Render", src=io.StringIO("host={{ host_name }}\n"), dest=r"D:\应用 数据\host.txt", host_name="win")
    environment_variable(name="Set a variable", variable="APP_HOME", value=r"D:\应用 数据")
    registry_value(name="Set a value", path=r"HKLM:\SOFTWARE\App", value="Level", data=3, kind="DWord")
"""


@pytest.mark.parametrize("host", [WIN, ZH])
def test_operations_change_a_host_once_and_with_dry_not_at_all(lab: Lab, tmp_path: Path, host: str) -> None:
    lab.reset(host)
    dry = pyinfra(tmp_path, DEPLOY, "--dry", host=host)
    assert dry.rc == 0, dry.out
    assert lab.exec(host, ["test", "-e", "/mnt/d/应用 数据"]).rc != 0
    first = pyinfra(tmp_path, DEPLOY, host=host)
    assert first.rc == 0, first.out
    assert lab.read(host, "/mnt/d/应用 数据/settings.txt") == "héllo \u2018模型\u2019\n".encode()
    assert lab.read(host, "/mnt/d/应用 数据/host.txt") == b"host=win\n"
    second = pyinfra(tmp_path, DEPLOY, host=host)
    assert second.rc == 0
    assert "Success" not in second.about(host), second.out


@pytest.mark.parametrize("shell", SHELLS)
def test_whatever_the_default_shell_is_scripts_and_values_arrive_unchanged(
    lab: Lab, fresh: str, tmp_path: Path, shell: str
) -> None:
    if SHELLS[shell]:
        key = r"HKLM:\SOFTWARE\OpenSSH"
        powershell(lab, fresh, f"Set-ItemProperty -LiteralPath '{key}' -Name 'DefaultShell' -Value '{SHELLS[shell]}'")
    odd = 'a\u2018b\u2019c "d" \'e\' $f `g %PATH% &|<>^! \\ \\" 模型 \N{GRINNING FACE}'
    deploy = f"""
        from corral.windows.operations import powershell
        powershell(
            name="Write what came",
            commands="param($Text) [IO.File]::WriteAllText('D:\\\\came.txt', $Text)",
            parameters={{"Text": {odd!r}}},
        )
    """
    run = pyinfra(tmp_path, deploy)
    assert run.rc == 0, run.out
    assert lab.read(fresh, "/mnt/d/came.txt").decode() == odd


def test_ten_megabytes_of_output_come_whole(fresh: str, tmp_path: Path) -> None:
    deploy = """
        from corral.windows.scripting import PowerShell
        from pyinfra.operations import python
        from pyinfra import host

        def look():
            script = "$line = '模' * 500; foreach ($number in 1..7000) { $line }"
            ok, output = host.run_shell_command(PowerShell(script))
            assert ok, output.stderr
            assert output.stdout_lines == ["模" * 500] * 7000, len(output.stdout_lines)
            print("all came")

        python.call(name="Look", function=look)
    """
    run = pyinfra(tmp_path, deploy)
    assert run.rc == 0, run.out
    assert "all came" in run.out


def test_a_timeout_ends_what_runs_on_the_host(lab: Lab, fresh: str, tmp_path: Path) -> None:
    deploy = """
        from corral.windows.operations import powershell
        powershell(name="Take long", commands="ping.exe -n 300 127.0.0.1", _timeout=3)
    """
    run = pyinfra(tmp_path, deploy)
    assert run.rc != 0
    deadline = time.monotonic() + 30
    while [line for line in processes(lab, fresh) if "ping" in line.lower()]:
        assert time.monotonic() < deadline, processes(lab, fresh)
        time.sleep(0.5)


def test_a_posix_operation_fails_its_host_with_the_name_of_its_counterpart(fresh: str, tmp_path: Path) -> None:
    run = pyinfra(tmp_path, "from pyinfra.operations import server\nserver.shell(name='List', commands='ls /')\n")
    assert run.rc != 0
    assert "powershell for server.shell" in run.out
    assert "Traceback" not in run.out


def test_sudo_is_refused_with_a_sentence(fresh: str, tmp_path: Path) -> None:
    deploy = """
        from corral.windows.operations import powershell
        powershell(name="As another", commands="1", _sudo=True)
    """
    run = pyinfra(tmp_path, deploy)
    assert run.rc != 0
    assert "_sudo has no meaning on a Windows host" in run.out


def test_a_password_will_do(lab: Lab, fresh: str, tmp_path: Path) -> None:
    deploy = "from corral.windows.operations import powershell\npowershell(name='Nothing', commands='1')\n"
    password = lab.layout.sudo_password.read_text()
    keyless: dict[str, Any] = {
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "ssh_config_file": str(tmp_path / "none"),
    }
    (tmp_path / "none").write_text("")
    known: dict[str, Any] = {"ssh_strict_host_key_checking": "off"}
    good = pyinfra(tmp_path, deploy, ssh_password=password, **keyless, **known)
    assert good.rc == 0, good.out
    bad = pyinfra(tmp_path, deploy, ssh_password="wrong", **keyless, **known)
    assert bad.rc != 0
    assert password not in bad.out


# --- ways to a host that are pyinfra's own -------------------------------------------------------------------

#: Something over each of the channels: a script with its answer, a file by sftp.
THROUGH = r"""
    import io
    from corral.windows.operations import powershell, put

    powershell(name="Write", commands=r"[IO.File]::WriteAllText('D:\way.txt', $env:SSH_CLIENT)")
    put(name="Upload", src=io.BytesIO("模型".encode()), dest=r"D:\way\up.txt")
"""
#: Nothing of the controller's own ~/.ssh but its known_hosts.
ALONE: dict[str, Any] = {"ssh_look_for_keys": False, "ssh_connect_retries": 0}


@pytest.fixture
def agent() -> Iterator[str]:
    """The socket of an ssh-agent that holds nothing yet."""
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        address = f"{directory}/socket"
        with subprocess.Popen(["ssh-agent", "-D", "-a", address], stdout=subprocess.DEVNULL) as running:
            wait_for(lambda: os.path.exists(address), 10, "ssh-agent does not start")
            yield address
            running.terminate()


def client_of(lab: Lab, host: str) -> str:
    """From where the deploy reached the host, as its session was told."""
    return lab.read(host, "/mnt/d/way.txt").decode().split()[0]


def known_hosts(lab: Lab, directory: Path, name: str) -> str:
    """A file with the Windows host's key alone, under a name."""
    key = (lab.layout.state / f"keys/{WIN}.pub").read_text().split()[:2]
    (directory / "known").write_text(f"{name} {' '.join(key)}\n")
    return str(directory / "known")


def test_a_host_that_lets_in_a_jump_host_alone_is_reached_through_it(lab: Lab, fresh: str, tmp_path: Path) -> None:
    jump = find_host("client").address
    powershell(lab, fresh, f"Set-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -RemoteAddress {jump}")
    direct = f"""
        Host *
            IdentityFile ~/.ssh/id_ed25519
            IdentitiesOnly yes
            StrictHostKeyChecking yes
        Host {ADDRESSES[WIN]}
            User {USERS[WIN]}
        Host jump
            HostName {jump}
            User root
    """
    configuration = tmp_path / "ssh_config"
    configuration.write_text(textwrap.dedent(direct))
    around = pyinfra(tmp_path, THROUGH, ssh_config_file=str(configuration), ssh_strict_host_key_checking="yes")
    assert around.rc != 0, around.out
    assert "Could not connect" in around.out
    assert lab.exec(fresh, ["test", "-e", "/mnt/d/way.txt"]).rc != 0

    configuration.write_text(
        textwrap.dedent(direct).replace(f"User {USERS[WIN]}", f"User {USERS[WIN]}\n    ProxyJump jump")
    )
    through = pyinfra(tmp_path, THROUGH, ssh_config_file=str(configuration), ssh_strict_host_key_checking="yes")
    assert through.rc == 0, through.out
    assert client_of(lab, fresh) == jump
    assert lab.read(fresh, "/mnt/d/way/up.txt").decode() == "模型"


def test_a_jump_host_that_refuses_is_not_taken_for_the_host_itself(lab: Lab, fresh: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    configuration = tmp_path / "ssh_config"
    configuration.write_text(
        textwrap.dedent(f"""
            Host *
                StrictHostKeyChecking yes
            Host {ADDRESSES[WIN]}
                ProxyJump jump
                IdentityFile ~/.ssh/id_ed25519
            Host jump
                HostName {find_host("client").address}
                User nobody
                IdentityFile {other}
        """)
    )
    run = pyinfra(tmp_path, THROUGH, ssh_config_file=str(configuration))
    assert run.rc != 0, run.out
    assert "jump host" in run.out, run.out
    assert "icacls" not in run.out


def test_a_key_that_only_an_agent_holds_will_do(lab: Lab, fresh: str, tmp_path: Path, agent: str) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    lab.check(fresh, ["tee", f"{C_SSH}/administrators_authorized_keys"], key.with_suffix(".pub").read_text())
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    (tmp_path / "none").write_text("")
    alone = {**ALONE, "ssh_config_file": str(tmp_path / "none")}

    empty = pyinfra(tmp_path, THROUGH, environment=[f"SSH_AUTH_SOCK={agent}"], **alone)
    assert empty.rc != 0, empty.out
    assert "ssh-add" in empty.out

    subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)
    for half in (key, key.with_suffix(".pub")):
        half.unlink()
    held = pyinfra(tmp_path, THROUGH, environment=[f"SSH_AUTH_SOCK={agent}"], **alone)
    assert held.rc == 0, held.out
    assert lab.read(fresh, "/mnt/d/way/up.txt").decode() == "模型"

    forbidden = pyinfra(
        tmp_path, THROUGH, environment=[f"SSH_AUTH_SOCK={agent}"], **{**alone, "ssh_allow_agent": False}
    )
    assert forbidden.rc != 0, forbidden.out


def test_a_server_on_another_port_is_reached_there_and_its_key_looked_for_under_it(
    lab: Lab, fresh: str, tmp_path: Path
) -> None:
    powershell(lab, fresh, "Stop-Service -Name 'sshd'")
    wait_for(lambda: not listens(lab, fresh, 22), 20, "sshd does not stop")
    lab.check(fresh, ["sed", "-i", "s/^#Port 22/Port 2222/", f"{C_SSH}/sshd_config"])
    powershell(
        lab, fresh, "Set-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -LocalPort 2222; Start-Service -Name 'sshd'"
    )
    wait_for(lambda: listens(lab, fresh, 2222), 20, "sshd does not start")
    strict = {"ssh_strict_host_key_checking": "yes"}
    usual = pyinfra(tmp_path, THROUGH, **strict)
    assert usual.rc != 0, usual.out
    assert "Could not connect" in usual.out

    stranger = pyinfra(
        tmp_path, THROUGH, ssh_port=2222, ssh_known_hosts_file=known_hosts(lab, tmp_path, ADDRESSES[WIN]), **strict
    )
    assert stranger.rc != 0, stranger.out
    name = f"[{ADDRESSES[WIN]}]:2222"
    there = pyinfra(tmp_path, THROUGH, ssh_port=2222, ssh_known_hosts_file=known_hosts(lab, tmp_path, name), **strict)
    assert there.rc == 0, there.out
    assert lab.read(fresh, "/mnt/d/way/up.txt").decode() == "模型"


def listens(lab: Lab, host: str, port: int) -> bool:
    return bool(lab.exec(host, ["ss", "-Htln", f"sport = :{port}"]).out.strip())


# --- connections that can't be made, in a deploy -----------------------------------------------------------


def test_a_key_that_is_refused_is_said_to_be_a_matter_of_rights(
    lab: Lab, fresh: str, planned: Inventory, deploy: Deploy
) -> None:
    fault(lab, "open-keys")
    one_error(
        deploy(windows_only(planned, WIN)), WIN, "administrators_authorized_keys", "icacls.exe", "*S-1-5-32-544:F"
    )


def test_a_server_that_is_off_is_said_with_the_commands_that_start_it(
    lab: Lab, fresh: str, planned: Inventory, deploy: Deploy
) -> None:
    fault(lab, "stop")
    one_error(deploy(windows_only(planned, WIN)), WIN, "OpenSSH Server does not run", "Start-Service -Name sshd")


def test_forbidden_forwarding_is_said(lab: Lab, fresh: str, planned: Inventory, deploy: Deploy) -> None:
    fault(lab, "forbid-forwarding")
    one_error(deploy(windows_only(planned, WIN)), WIN, "forbids TCP forwarding", "AllowTcpForwarding no")


def test_a_host_without_sftp_is_set_up_all_the_same(lab: Lab, fresh: str, planned: Inventory, deploy: Deploy) -> None:
    fault(lab, "forbid-sftp")
    run = deploy(windows_only(planned, WIN))
    assert run.rc == 0, run.out
    assert finished(run, WIN)


# --- the one script that runs on a new PC ------------------------------------------------------------------


def test_a_new_pc_is_opened_by_one_script_that_changes_nothing_the_second_time(
    lab: Lab, fresh: str, planned: Inventory, deploy: Deploy
) -> None:
    lab.check(fresh, ["rm", "-f", f"{C_SSH}/administrators_authorized_keys"])
    machine(lab, fresh, "fault", "remove-sshd")
    text = (ROOT / "templates/windows/enable-ssh.ps1").read_text()
    lab.write(fresh, "/mnt/d/enable-ssh.ps1", text)
    key = (lab.layout.state / "keys/controller.pub").read_text().strip()
    line = rf'powershell.exe -ExecutionPolicy Bypass -File D:\enable-ssh.ps1 -Key "{key}"'
    said = lab.check(fresh, [*PYTHON, "lab.windows.commands", "--", line])
    assert "From your machine: ssh admin@" in said
    before = json.dumps(machine(lab, fresh, "dump")["rules"])
    lab.check(fresh, [*PYTHON, "lab.windows.commands", "--", line])
    assert json.dumps(machine(lab, fresh, "dump")["rules"]) == before
    lines = lab.read(fresh, f"{C_SSH}/administrators_authorized_keys").decode().splitlines()
    assert lines == [key]
    run = deploy(windows_only(planned, WIN), "verify")
    assert "Connected" in run.about(WIN), run.out

"""Scripts over a connection, proven with bash on this machine: the ssh connection has the same contract. And what is
said when an ssh connection breaks, with paramiko at both ends."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from corral import scripts
from corral.errors import CorralError
from corral.ollama import api
from corral.remote import HostError, LinkBroken, LocalLink, Remote, SshLink, Sudo
from corral.scripts import Script


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose scripts can be run as if they were the package's."""
    own = scripts._read
    monkeypatch.setattr(
        scripts, "_read", lambda path: (tmp_path / path).read_text() if (tmp_path / path).exists() else own(path)
    )
    return tmp_path


@pytest.fixture
def remote() -> Remote:
    return Remote(LocalLink(), Sudo())


def test_what_a_script_emits_comes_back_by_name_whatever_it_holds(package: Path, remote: Remote) -> None:
    (package / "one.sh").write_text('emit it <<<"$VALUE"; emit list < <(printf "%s|" "${LIST[@]}")\n')
    value = "'\"$(false)`\\ ünïcode 模型\n@error\ttab"
    found = remote.run(Script("one.sh", {"VALUE": value, "LIST": ["a b", "'", ""]}))
    assert found == {"it": value + "\n", "list": "a b|'||"}


def test_a_value_never_shows_in_a_process_list(package: Path, remote: Remote) -> None:
    (package / "one.sh").write_text("emit ps < <(ps -eo args)\n")
    assert "s3cret-value" not in remote.run(Script("one.sh", {"VALUE": "s3cret-value"}))["ps"]


def test_a_failure_that_the_script_names_keeps_its_code_problem_and_remedy(package: Path, remote: Remote) -> None:
    (package / "one.sh").write_text('fail disk "the disk is full | Free some space\n12 MiB left"\n')
    with pytest.raises(HostError) as caught:
        remote.run(Script("one.sh"))
    assert caught.value.code == "disk"
    assert str(caught.value) == "the disk is full. Free some space.\n    12 MiB left"


def test_a_failure_without_a_word_shows_the_end_of_the_error_output(package: Path, remote: Remote) -> None:
    (package / "one.sh").write_text("echo because >&2; false; echo not reached\n")
    with pytest.raises(CorralError, match=r"one\.sh failed on the host \(exit code 1\)\.\n    because"):
        remote.run(Script("one.sh"))


def test_progress_is_shown_while_the_script_runs(package: Path, remote: Remote) -> None:
    (package / "one.sh").write_text("progress half; sleep 0.3; progress done\n")
    seen: list[tuple[str, float]] = []
    remote.run(Script("one.sh"), lambda text: seen.append((text, time.monotonic())))
    assert [text for text, _ in seen] == ["half", "done"]
    assert seen[1][1] - seen[0][1] > 0.2


def test_a_script_of_a_megabyte_of_values_arrives_whole(package: Path, remote: Remote) -> None:
    (package / "one.sh").write_text("emit size < <(printf %s ${#VALUE})\n")
    assert remote.run(Script("one.sh", {"VALUE": "x" * 1_000_000}))["size"] == "1000000"


def test_when_the_connection_ends_what_the_script_started_ends_too(package: Path, remote: Remote) -> None:
    marker = f"sleep 61.{time.monotonic_ns()}"
    (package / "one.sh").write_text(f"emit started </dev/null\n{marker} | cat\n")
    with remote.start(Script("one.sh")) as running:
        assert next(iter(running))[0] == "started"
        assert _count(marker) == 1
    deadline = time.monotonic() + 5
    while _count(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _count(marker) == 0


def _count(command: str) -> int:
    return subprocess.run(["pgrep", "-fcx", command], capture_output=True, text=True, check=False).stdout.count("1")


@pytest.mark.parametrize(
    ("says", "exit_code", "sentence"),
    [
        ("sudo: 3 incorrect password attempts", 1, "sudo refused the password"),
        ("sudo: a password is required", 1, "sudo asks for a password and none is declared"),
        ("ops is not in the sudoers file.", 1, "may not become root"),
        ("sh: 1: sudo: not found", 127, "no sudo or no bash"),
    ],
)
def test_sudo_that_refuses_is_told_apart_from_a_script_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Path, says: str, exit_code: int, sentence: str
) -> None:
    (package / "one.sh").write_text("true\n")
    sudo = tmp_path / "sudo"
    sudo.write_text(f"#!/bin/sh\ncat >/dev/null & echo '{says}' >&2; exit {exit_code}\n")
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(CorralError, match=sentence):
        Remote(LocalLink(), Sudo(wanted=True, password="right")).run(Script("one.sh"))


@pytest.mark.parametrize("asks", [True, False])
def test_the_password_is_read_by_sudo_or_passed_over_when_it_does_not_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Path, asks: bool
) -> None:
    (package / "one.sh").write_text("emit ok </dev/null\n")
    sudo = tmp_path / "sudo"
    ask = 'IFS= read -r p; [ "$p" = "pass word" ] || { echo "Sorry, try again." >&2; exit 1; }\n' if asks else ""
    sudo.write_text(f'#!/bin/bash\n{ask}while [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Remote(LocalLink(), Sudo(wanted=True, password="pass word")).run(Script("one.sh")) == {"ok": ""}


class _Sshd(paramiko.ServerInterface):
    """Lets anybody in, and through to wherever they want: its end of each forwarded connection is kept."""

    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        return paramiko.common.OPEN_SUCCEEDED


@pytest.fixture
def link() -> Iterator[tuple[SshLink, paramiko.Transport]]:
    """An ssh connection, and its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        server = paramiko.Transport(listener.accept()[0])
    server.add_server_key(paramiko.ECDSAKey.generate())
    server.start_server(event=threading.Event(), server=_Sshd())
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("host", username="anybody", password="any", sock=here, look_for_keys=False, allow_agent=False)
    yield SshLink(client), server
    client.close()
    server.close()


def test_a_stream_that_its_other_end_closes_has_ended(link: tuple[SshLink, paramiko.Transport]) -> None:
    stream = link[0].dial("localhost", 11434, 5)
    channel = link[1].accept(5)
    assert channel
    channel.sendall(b"all of it")
    channel.close()
    assert stream.recv(100, 5) == b"all of it"
    assert stream.recv(100, 5) == b""


def test_a_stream_over_a_connection_that_breaks_says_that_another_run_goes_on(
    link: tuple[SshLink, paramiko.Transport],
) -> None:
    stream = link[0].dial("localhost", 11434, 5)
    threading.Timer(0.2, link[1].close).start()
    with pytest.raises(LinkBroken, match="run again"):
        stream.recv(100, 5)
    with pytest.raises(LinkBroken, match="run again"):
        stream.sendall(b"more", 5)
    with pytest.raises(LinkBroken, match="run again"):
        link[0].dial("localhost", 11434, 5)


def test_what_was_under_way_when_the_connection_broke_is_said(link: tuple[SshLink, paramiko.Transport]) -> None:
    client = api.connect(Remote(link[0], Sudo()), "127.0.0.1", 11434, 5)
    link[1].close()
    with pytest.raises(CorralError, match=r"the connection broke while listing the models.*run again"):  # noqa: SIM117
        with api.said("listing the models"):
            client.list()

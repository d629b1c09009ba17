"""A connection that fails says what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from paramiko import BadHostKeyException, RSAKey
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import SSHClient

from corral.connectors.ssh import RemedySshConnector, explain


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("Authentication error (username=me): Authentication failed.", "ssh-copy-id me@box -p 2222"),
        ("SSH error (No authentication methods available)", "ssh-add"),
        ("SSH host key error (Host key for box does not match.)", "ssh-keygen -R box"),
        ("Could not resolve hostname (Name or service not known)", "Correct address"),
        ("Could not connect ([Errno None] Unable to connect to port 2222 on box)", "Is it on"),
    ],
)
def test_each_failure_keeps_pyinfras_sentence_and_gets_a_remedy(error: str, remedy: str) -> None:
    text = explain(error, "me@box -p 2222")
    assert text.startswith(error.rstrip("."))
    assert remedy in text


@pytest.fixture
def behind(tmp_path: Path) -> RemedySshConnector:
    """A connector to a host behind a jump host, before it connects."""
    (tmp_path / "config").write_text("Host box\n    ProxyJump gate\n")
    data = {"ssh_config_file": str(tmp_path / "config"), "ssh_hostname": "box", "ssh_user": "me", "ssh_port": None}
    connector = object.__new__(RemedySshConnector)
    connector.data = cast("Any", data)
    return connector


def fails(monkeypatch: pytest.MonkeyPatch, error: Exception, *, at_the_host: bool) -> None:
    def connect(self: SSHConnector) -> None:
        self.client = SSHClient()
        if at_the_host:
            self.client._ssh_config = {}
        raise error

    monkeypatch.setattr(SSHConnector, "connect", connect)


def test_a_failure_at_a_jump_host_is_not_said_to_be_the_hosts(
    behind: RemedySshConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, ConnectError("Authentication error (username=me)"), at_the_host=False)
    with pytest.raises(ConnectError, match=r"jump host gate.*ssh -J gate me@box exit"):
        behind.connect()
    fails(monkeypatch, ConnectError("Authentication error (username=me)"), at_the_host=True)
    with pytest.raises(ConnectError, match="ssh-copy-id me@box"):
        behind.connect()


def test_a_jump_host_whose_key_has_changed_fails_its_host_alone(
    behind: RemedySshConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = RSAKey.generate(1024)
    error = AttributeError("_ssh_config")
    error.__context__ = BadHostKeyException("gate", key, key)
    fails(monkeypatch, error, at_the_host=False)
    with pytest.raises(ConnectError, match=r"gate.*jump host gate"):
        behind.connect()
    fails(monkeypatch, AttributeError("another"), at_the_host=False)
    with pytest.raises(AttributeError, match="another"):
        behind.connect()

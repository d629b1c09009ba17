"""A connection that fails says what to do about it."""

from __future__ import annotations

import pytest

from corral.connectors.ssh import explain


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("Authentication error (username=me): Authentication failed.", "ssh-copy-id me@box -p 2222"),
        ("SSH host key error (Host key for box does not match.)", "ssh-keygen -R box"),
        ("Could not resolve hostname (Name or service not known)", "Correct address"),
        ("Could not connect ([Errno None] Unable to connect to port 2222 on box)", "Is it on"),
    ],
)
def test_each_failure_keeps_pyinfras_sentence_and_gets_a_remedy(error: str, remedy: str) -> None:
    text = explain(error, "me@box -p 2222")
    assert text.startswith(error.rstrip("."))
    assert remedy in text

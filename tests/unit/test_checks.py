"""What verification says of the server's environment."""

from __future__ import annotations

from corral.checks import check_environment


def test_a_server_with_what_is_declared_is_well() -> None:
    seen = check_environment({}, "Run deploys/r1.py.")
    assert seen.ok
    assert seen.found == "the server runs with the declared environment."


def test_values_that_differ_are_shown_and_secret_ones_named_alone() -> None:
    seen = check_environment({"OLLAMA_HOST": "127.0.0.1", "HTTPS_PROXY": None}, "Run deploys/r1.py.")
    assert not seen.ok
    assert seen.found == "the server runs with HTTPS_PROXY, OLLAMA_HOST=127.0.0.1, which is not what is declared."
    assert seen.remedy == "Run deploys/r1.py."

"""testinfra through corral's connections, with this machine as the host; and which tests the state suite makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corral.remote import LocalLink, Remote, Sudo
from corral.testing import as_testinfra

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = """
hosts:
  served:
    address: 127.0.0.1
    ssh_port: 1
    gpus: [GPU, GPU]
    proxy: http://proxy.example.org:3128
    models:
      - {name: one, from: "deepseek-r1:14b"}
      - {name: two, from: "deepseek-r1:7b"}
  closed:
    address: 127.0.0.1
    ssh_port: 2
    require_gpu: false
    environment: {OLLAMA_HOST: 127.0.0.1}
    models:
      - {name: one, from: "deepseek-r1:14b"}
  wrong:
    adress: 127.0.0.1
clients:
  friend: {address: 127.0.0.3}
  stranger: {address: 127.0.0.4, expect: refused}
"""


@pytest.fixture(scope="module")
def host() -> Any:
    return as_testinfra("here", Remote(LocalLink(), Sudo()))


def test_a_command_gives_its_exit_code_and_both_outputs(host: Any) -> None:
    result = host.run("echo out; echo err >&2; exit 7")
    assert (result.rc, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_an_output_comes_back_byte_for_byte(host: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (tmp_path / "file").write_bytes(content)
    assert host.file(str(tmp_path / "file")).content == content


def test_arguments_are_quoted_into_the_command(host: Any) -> None:
    value = "it's; $(echo not run) ünïcode 模型"
    assert host.run("printf %%s %s", value).stdout == value


def test_the_exit_code_is_that_of_the_command_where_its_output_is_cut_off(host: Any) -> None:
    assert host.run("false").rc == 1
    assert host.run("kill -9 $$").rc == 137


def test_a_command_does_not_read_what_keeps_the_connection(host: Any) -> None:
    result = host.run("cat; test -e /proc/self/fd/3 || test -e /proc/self/fd/4 || echo none")
    assert result.stdout == "none\n"


def test_testinfras_modules_work(host: Any) -> None:
    assert host.file("/etc").is_directory
    assert host.user("root").uid == 0
    assert host.system_info.type == "linux"


# --- the tests that tests/state makes of an inventory -----------------------------------------------


def pytest_state(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "tests/state", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        # In a pipeline (CI is set) pytest says each message twice.
        env={**os.environ, "CORRAL_INVENTORY": str(inventory), "PYTEST_ADDOPTS": "", "CI": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    return path


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of all tests with --reboot, in order."""
    path = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    path.write_text(INVENTORY)
    made = pytest_state(path, "--collect-only", "--reboot").stdout
    return [line.partition("::")[2] for line in made.splitlines() if "::" in line]


def test_there_is_a_test_for_what_is_declared_and_none_for_what_is_not(collected: list[str]) -> None:
    def of(test: str) -> set[str]:
        found = {name.partition("[")[2].rstrip("]") for name in collected if name.startswith(f"{test}[")}
        return {name for name in found if "after-reboot" not in name}

    assert of("test_the_service_is_running") == {"served", "closed", "wrong"}
    assert of("test_the_model_is_there") == {"served-one", "served-two", "closed-one"}
    assert of("test_the_model_runs_wholly_on_the_gpu") == {"served-one", "served-two"}
    assert of("test_the_host_has_the_declared_gpu") == {"served-GPU"}
    assert of("test_the_firewall_lets_nobody_else_in") == {"served-11434"}
    assert of("test_the_server_is_reached_from_where_it_should_be") == {"served-friend"}
    # Nobody may reach a server that listens on loopback only.
    assert of("test_the_server_is_refused_from_elsewhere") == {"served-stranger", "closed-friend", "closed-stranger"}
    assert of("test_the_process_has_the_declared_secret") == set()


def test_everything_runs_before_the_reboot_and_once_more_after_it(collected: list[str]) -> None:
    half = len(collected) // 2
    assert half
    assert [name.replace("-after-reboot", "") for name in collected[half:]] == collected[:half]


def test_a_host_that_cannot_be_looked_at_fails_with_one_sentence_each(inventory: Path) -> None:
    done = pytest_state(inventory, "--hosts", "served", "--hosts=wrong", "-k", "running or enabled")
    assert done.returncode == 1
    assert "4 errors" in done.stdout
    assert done.stdout.count("served: Could not connect") == 1
    assert done.stdout.count("served: see its first test") == 1
    assert done.stdout.count("hosts.wrong.adress: unknown key") == 1
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("hosts: {}\n", (), "no host is declared"),
        (INVENTORY, ("--hosts=nobody",), "no host and no group is called nobody"),
    ],
)
def test_a_wrong_inventory_or_limit_is_said_once(
    tmp_path: Path, text: str, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "hosts.yml").write_text(text)
    done = pytest_state(tmp_path / "hosts.yml", *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (done.stdout + done.stderr).count(message) == 1

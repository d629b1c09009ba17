"""The lab on paper, and what it reads out of hosts' logs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab import config, hosts, sandbox
from lab.config import Layout
from lab.errors import LabError

CLIENT = config.find_host("client")
RTX2070 = config.find_host("rtx2070")


def test_every_host_has_a_name_and_an_address_of_its_own() -> None:
    every = config.ALL_HOSTS.values()
    assert len({host.name for host in every}) == len({host.address for host in every}) == len(every)


def test_a_host_name_fits_into_the_name_of_its_bridge_port() -> None:
    longest_interface_name = 15
    assert all(len(f"vb-{name}") <= longest_interface_name for name in config.ALL_HOSTS)


def test_all_hosts_but_those_on_demand_come_up_unless_some_are_named() -> None:
    assert {*config.HOSTS} - {*config.choose_hosts(None, 0)} == {
        config.find_host(name) for name in ("win11-zh", "bare")
    }
    assert config.choose_hosts(["client", "mirror", "client"], 0) == (CLIENT, config.MIRROR)
    assert {*config.choose_hosts(None, 0, also=["win11-zh", "bare"])} == {*config.HOSTS}
    assert config.choose_hosts(["win11-zh"], 0) == (config.find_host("win11-zh"),)


def test_bench_hosts_are_added_to_those_chosen() -> None:
    names = [host.name for host in config.choose_hosts(["mirror"], 3)]
    assert names == ["mirror", "bench001", "bench002", "bench003"]


@pytest.mark.parametrize("count", [-1, config.MAX_BENCH_HOSTS + 1])
def test_a_number_of_bench_hosts_that_is_not_possible_is_refused(count: int) -> None:
    with pytest.raises(LabError, match=str(count)):
        config.bench_hosts(count)


def test_an_unknown_host_is_refused_by_naming_those_that_there_are() -> None:
    with pytest.raises(LabError, match="rtx4090, rtx3080"):
        config.find_host("rtx5090")


def test_known_hosts_names_a_port_other_than_22() -> None:
    lines = config.known_hosts([(CLIENT, "ssh-ed25519 AAAA"), (RTX2070, "ssh-ed25519 BBBB")])
    assert lines == ("client,10.77.0.20 ssh-ed25519 AAAA\n[rtx2070]:2222,[10.77.0.13]:2222 ssh-ed25519 BBBB\n")


def test_the_ssh_configuration_says_who_logs_in_where() -> None:
    assert "Host rtx2070\n    HostName 10.77.0.13\n    User ops\n    Port 2222\n" in config.ssh_config([RTX2070])


def test_a_host_takes_the_registries_for_the_mirror_and_the_controller_does_not() -> None:
    on_host = config.hosts_file(config.HOSTS, CLIENT)
    assert "10.77.0.2 mirror.lab registry.ollama.ai hf.co modelscope.cn ollama.com\n" in on_host
    assert "127.0.1.1 client\n" in on_host
    assert "10.77.0.20" not in on_host
    on_controller = config.hosts_file(config.HOSTS)
    assert "registry.ollama.ai" not in on_controller
    assert "10.77.0.20 client\n" in on_controller


def test_two_checkouts_have_labs_with_different_names(tmp_path: Path) -> None:
    assert Layout(tmp_path / "one").lab_id != Layout(tmp_path / "two").lab_id


def test_a_host_keeps_its_machine_id_and_shares_it_with_none() -> None:
    assert re.fullmatch("[0-9a-f]{32}", config.machine_id("lab", CLIENT))
    assert config.machine_id("lab", CLIENT) == config.machine_id("lab", CLIENT)
    assert config.machine_id("lab", CLIENT) != config.machine_id("lab", RTX2070)
    assert config.machine_id("lab", CLIENT) != config.machine_id("other", CLIENT)


@pytest.mark.parametrize(
    ("message", "counted"),
    [
        ("Starting session: command for root from 10.77.0.1 port 50514 id 0", True),
        ("Starting session: subsystem 'sftp' for ops from 10.77.0.1 port 40270 id 0", True),
        ("Starting session: shell on pts/0 for root from 10.77.0.1 port 40270 id 0", True),
        ("Accepted publickey for root from 10.77.0.1 port 50514 ssh2: ED25519 SHA256:abc", False),
    ],
)
def test_what_a_client_asks_sshd_to_run_is_counted(message: str, counted: bool) -> None:
    assert bool(hosts.SESSION.match(message)) == counted


def test_an_api_request_is_read_from_ollamas_log() -> None:
    line = '[GIN] 2026/11/22 - 22:46:30 | 200 |     120.55µs |       127.0.0.1 | POST     "/api/show"'
    answered = datetime(2026, 11, 22, 22, 46, 30, tzinfo=UTC).timestamp()
    request = hosts.ApiRequest(200, "127.0.0.1", "POST", "/api/show")
    assert hosts.api_requests(["time=... level=INFO", line]) == [request]
    assert hosts.api_requests([line], answered + 0.9) == [request]
    assert hosts.api_requests([line], answered + 1) == []


def test_a_mount_point_with_a_space_is_found() -> None:
    assert sandbox._unescape(r"/mnt/big\040disk") == "/mnt/big disk"
    assert sandbox._unescape(r"/mnt/a\134040b") == r"/mnt/a\040b"

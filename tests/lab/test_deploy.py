"""deploys/r1.py and its two smaller sisters, on hosts with root login, sudo with a password, and another ssh port."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import need_release
from tests.lab.observation import (
    OLDER,
    SERVERS,
    STEPS,
    VERSION,
    at_once,
    boot_id,
    get,
    main_pid,
    models,
    no_changes,
    reaches,
    server_environment,
    snapshot,
    starts,
)

if TYPE_CHECKING:
    from lab.hosts import Lab
    from lab.mirror import Request
    from tests.lab.conftest import Deploy, Inventory, Run

ADDRESSES = {"rtx4090": "10.77.0.11", "rtx3080": "10.77.0.12", "rtx2070": "10.77.0.13"}
MODELS_DIRS = {host: "/var/lib/ollama/models" for host in SERVERS} | {"rtx3080": "/mnt/big disk/ollama models"}
SOURCES = {"rtx4090": "deepseek-r1:32b-qwen-distill-q4_K_M", "rtx3080": "deepseek-r1:14b", "rtx2070": "deepseek-r1:7b"}
DROP_IN = "/etc/systemd/system/ollama.service.d/override.conf"
PROXY, PROXY_LOGIN = Path(__file__).with_name("proxy.py"), "corral:opensesame"


@dataclass(frozen=True)
class Four:
    """Bare hosts set up: what a dry run, a real one and a second one said, and how the hosts were in between."""

    bare: dict[str, list[str]]
    dry: Run
    after_dry: dict[str, list[str]]
    first: Run
    after_first: dict[str, list[str]]
    second: Run
    after_second: dict[str, list[str]]
    downloads: list[Request]
    started: dict[str, int]


_done: list[Four] = []


@pytest.fixture
def four(lab: Lab, inventory: Inventory, deploy: Deploy) -> Four:
    """All hosts at once, done for the first test that asks and remembered for the others."""
    if not _done:
        at_once(SERVERS, lab.reset)
        bare = at_once(SERVERS, lambda host: snapshot(lab, host))
        dry = deploy(inventory, dry=True)
        after_dry = at_once(SERVERS, lambda host: snapshot(lab, host))
        first = deploy(inventory)
        after_first = at_once(SERVERS, lambda host: snapshot(lab, host))
        since = time.time()
        second = deploy(inventory)
        print(f"cold run {first.seconds:.1f} s, second run {second.seconds:.1f} s")
        _done.append(
            Four(
                bare, dry, after_dry, first, after_first, second,
                at_once(SERVERS, lambda host: snapshot(lab, host)),
                lab.mirror.requests(since),
                at_once(SERVERS, lambda host: starts(lab, host, since)),
            )
        )  # fmt: skip
    return _done[0]


@pytest.mark.parametrize("host", SERVERS)
def test_a_dry_run_names_each_change_that_a_bare_host_needs(four: Four, host: str) -> None:
    said = four.dry.about(host)
    assert four.dry.rc == 0, four.dry.out
    for change in (
        "would make the system user ollama",
        f"would download https://mirror.lab/releases/v{VERSION}/",
        f"would switch /opt/ollama/current to /opt/ollama/{VERSION}",
        f"would make {MODELS_DIRS[host]} for the models",
        "would write /etc/systemd/system/ollama.service",
        f"would write {DROP_IN}",
        "would enable ollama.service at boot",
        "would allow TCP 11434 from 10.0.0.0/8",
        f"would make the model r1:latest from {SOURCES[host]}",
    ):
        assert change in said


@pytest.mark.parametrize("host", SERVERS)
def test_a_dry_run_changes_nothing(four: Four, host: str) -> None:
    assert four.after_dry[host] == four.bare[host]


def test_one_run_sets_up_hosts_with_root_login_sudo_with_a_password_and_another_port(four: Four) -> None:
    assert four.first.rc == 0, four.first.out
    for host in SERVERS:
        assert re.search(r"verified: .*; r1 runs 100% GPU .*; refused to outsider", four.first.about(host))


@pytest.mark.parametrize("host", SERVERS)
def test_after_it_the_host_itself_shows_the_service_running_and_enabled(four: Four, lab: Lab, host: str) -> None:
    assert lab.check(host, "systemctl is-active ollama; systemctl is-enabled ollama").split() == ["active", "enabled"]
    assert lab.check(host, "ps -o user= -p $(systemctl show ollama -p MainPID --value)").strip() == "ollama"


@pytest.mark.parametrize("host", SERVERS)
def test_after_it_the_host_has_the_release_and_every_user_the_command(four: Four, lab: Lab, host: str) -> None:
    assert lab.check(host, "readlink /opt/ollama/current").strip() == f"/opt/ollama/{VERSION}"
    said = lab.check(host, "runuser -u nobody -- env -i HOME=/ PATH=/usr/local/bin:/usr/bin:/bin ollama --version 2>&1")
    assert f"ollama version is {VERSION}" in said
    assert lab.check(host, "find /opt/ollama -name '*.zst' -o -name '*.partial'") == "", "the archive is kept"


@pytest.mark.parametrize("host", SERVERS)
def test_after_it_the_user_is_in_the_groups_that_reach_a_gpu(four: Four, lab: Lab, host: str) -> None:
    there = set(lab.check(host, "getent group render video | cut -d: -f1").split())
    assert there <= set(lab.check(host, "id -nG ollama").split())
    assert there, "the lab's hosts have neither group"
    assert lab.check(host, "getent passwd ollama").strip().endswith("/nologin")


@pytest.mark.parametrize("host", SERVERS)
def test_after_it_the_server_has_the_declared_environment_and_nothing_else(four: Four, lab: Lab, host: str) -> None:
    expected = {
        "OLLAMA_HOST": "0.0.0.0:11434",
        "OLLAMA_MODELS": MODELS_DIRS[host],
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_GO_TEMPLATE": "1",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
        "OLLAMA_NUM_PARALLEL": "1",
        "OLLAMA_KEEP_ALIVE": "30m",
    }
    seen = {name: value for name, value in server_environment(lab, host).items() if name.startswith("OLLAMA_")}
    of_all_services = lab.check(host, "systemctl show-environment").split()
    assert {name: value for name, value in seen.items() if f"{name}={value}" not in of_all_services} == expected
    lines = [line for line in lab.read(host, DROP_IN).decode().splitlines() if not line.startswith("#")]
    assert lines == ["[Service]", *(f'Environment="{line}"' for line in _environment_lines(expected))]


def _environment_lines(environment: dict[str, str]) -> list[str]:
    first = ("OLLAMA_HOST", "OLLAMA_MODELS")
    return [f"{name}={environment[name]}" for name in (*first, *sorted(environment.keys() - set(first)))]


@pytest.mark.parametrize("host", SERVERS)
def test_after_it_the_model_and_its_base_are_on_the_host(four: Four, lab: Lab, host: str) -> None:
    assert {"r1:latest", SOURCES[host]} == set(models(lab, host))
    text = lab.check(host, "runuser -u nobody -- cat /etc/ollama/modelfiles/r1_latest.modelfile")
    assert f"FROM {SOURCES[host]}\n" in text


def test_after_it_each_kind_of_firewall_shows_rules_for_the_private_ranges(four: Four, lab: Lab) -> None:
    private = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    ufw = lab.check("rtx4090", "ufw status verbose")
    firewalld = lab.check("rtx3080", "firewall-cmd --list-all")
    nftables = lab.check("rtx2070", "nft list chain inet filter input")
    for network in private:
        assert re.search(rf"11434/tcp +ALLOW IN +{network} +# corral: ollama", ufw)
        assert f'source address="{network}" port port="11434" protocol="tcp" accept' in firewalld
        assert re.search(rf"ip saddr {{[^}}]*{network}[^}}]*}} tcp dport 11434 accept", nftables)
    assert not re.search(r"11434/tcp +ALLOW IN +Anywhere", ufw)


def test_a_second_run_says_no_changes_for_every_step_and_host(four: Four) -> None:
    assert four.second.rc == 0, four.second.out
    for host in SERVERS:
        assert no_changes(four.second.out, host) == len(STEPS), four.second.about(host)


@pytest.mark.parametrize("host", SERVERS)
def test_a_second_run_leaves_the_host_as_it_was_and_the_server_running(four: Four, host: str) -> None:
    assert four.after_second[host] == four.after_first[host]
    assert four.started[host] == 0


def test_a_second_run_fetches_nothing(four: Four) -> None:
    assert four.downloads == []


def test_after_a_reboot_all_serve_again_with_nobody_logged_in(
    four: Four, lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    assert four.second.rc == 0
    boots = at_once(SERVERS, lambda host: boot_id(lab, host))
    at_once(SERVERS, lab.reboot)
    for host, address in ADDRESSES.items():
        assert boot_id(lab, host) != boots[host]
        assert _serves(lab, address), f"{host} does not serve after its reboot"
        assert not reaches(lab, "outsider", address)
        assert lab.check(host, "loginctl list-sessions --no-legend").strip() == ""
    since = time.time()
    run = deploy(inventory)
    assert run.rc == 0, run.out
    for host in SERVERS:
        assert no_changes(run.out, host) == len(STEPS), run.about(host)
        assert starts(lab, host, since) == 0


def _serves(lab: Lab, address: str) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if reaches(lab, "client", address):
            return True
        time.sleep(0.2)
    return False


def test_a_limited_run_does_not_even_connect_to_the_other_hosts(
    four: Four, lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    assert four.second.rc == 0
    for host in SERVERS:
        inventory.set(host, allow_from=["10.77.0.0/24"])
    before, since = snapshot(lab, "rtx3080"), time.time()
    run = deploy(inventory, "r1", "--limit", "rtx4090", "--limit", "rtx2070")
    assert run.rc == 0, run.out
    assert snapshot(lab, "rtx3080") == before
    assert lab.count_commands("rtx3080", since).connections == 0
    for host in ("rtx4090", "rtx2070"):
        assert "10.77.0.0/24" in lab.check(host, "nft list ruleset")
    assert "[rtx3080]" not in run.out


def test_another_version_is_put_beside_the_old_one_and_back(lab: Lab, inventory: Inventory, deploy: Deploy) -> None:
    need_release(lab, OLDER)
    host = "rtx2070"
    inventory.only(host)
    assert deploy(inventory).rc == 0
    digests = models(lab, host)
    down = deploy(inventory.set(host, ollama_version=OLDER))
    assert down.rc == 0, down.out
    assert get(lab, host, "/api/version")["version"] == OLDER
    assert lab.check(host, "readlink /opt/ollama/current").strip() == f"/opt/ollama/{OLDER}"
    assert lab.exec(host, f"/opt/ollama/{VERSION}/bin/ollama --version").rc == 0
    assert models(lab, host) == digests
    since = time.time()
    up = deploy(inventory.set(host, ollama_version=VERSION))
    assert up.rc == 0, up.out
    assert get(lab, host, "/api/version")["version"] == VERSION
    assert models(lab, host) == digests
    assert [request.path for request in lab.mirror.requests(since)] == [], "what is there was fetched again"
    assert starts(lab, host, since) == 1


_as_declared: list[bool] = []


@pytest.fixture
def one(lab: Lab, inventory: Inventory, deploy: Deploy) -> Inventory:
    """An inventory of rtx4090 alone, which is as it declares."""
    inventory.only("rtx4090")
    if not _as_declared:
        run = deploy(inventory)
        assert run.rc == 0, run.out
    _as_declared.clear()
    return inventory


def leaves_the_host_as_declared() -> None:
    """The end of a test after which the next one need not begin with a deploy."""
    _as_declared.append(True)


def test_verify_alone_changes_nothing_and_exits_with_0(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    before = snapshot(lab, "rtx4090")
    run = deploy(one, "verify")
    assert run.rc == 0, run.out
    assert "verified: " in run.out
    assert snapshot(lab, "rtx4090") == before
    leaves_the_host_as_declared()


def test_a_drop_in_of_the_administrators_stays_and_is_no_change(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    path = "/etc/systemd/system/ollama.service.d/zz-mine.conf"
    text = "[Service]\nNice=3\nEnvironment=MINE=yes\n"
    lab.write("rtx4090", path, text)
    try:
        lab.check("rtx4090", "systemctl daemon-reload; systemctl restart ollama")
        run = deploy(one)
        assert run.rc == 0, run.out
        assert no_changes(run.out, "rtx4090") == len(STEPS), run.out
        assert lab.read("rtx4090", path).decode() == text
        assert server_environment(lab, "rtx4090")["MINE"] == "yes"
    finally:
        lab.check("rtx4090", f"rm {path}; systemctl daemon-reload; systemctl restart ollama")
    leaves_the_host_as_declared()


def test_models_alone_makes_models_and_touches_nothing_else(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    before = snapshot(lab, "rtx4090")
    model = one.host("rtx4090")["models"][0]
    one.set("rtx4090", models=[model, {"name": "again", "from": SOURCES["rtx4090"]}])
    run = deploy(one, "models")
    assert run.rc == 0, run.out
    assert "again:latest" in models(lab, "rtx4090")
    changed = {line.split(" ")[0] for line in set(snapshot(lab, "rtx4090")) ^ set(before)}
    allowed = ("/var/lib/ollama/models/", "/etc/ollama/modelfiles/again_latest.modelfile")
    assert changed
    assert [path for path in changed if not path.startswith(allowed)] == []
    for step in ("Install", "service", "firewall"):
        assert not re.search(rf"--> Starting operation: .*{step}", run.out), run.out
    lab.check("rtx4090", "ollama rm again; rm /etc/ollama/modelfiles/again_latest.modelfile")
    leaves_the_host_as_declared()


def test_a_models_parameter_and_the_firewall_change_without_a_restart(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    pid = main_pid(lab, "rtx4090")
    model = one.host("rtx4090")["models"][0]
    one.set("rtx4090", models=[{**model, "parameters": {**model["parameters"], "temperature": 0.55}}])
    run = deploy(one.set("rtx4090", allow_from=["10.77.0.0/24"]))
    assert run.rc == 0, run.out
    assert "- PARAMETER temperature 0.6" in run.out
    assert "+ PARAMETER temperature 0.55" in run.out
    assert "allow TCP 11434 from 10.77.0.0/24" in run.out
    assert "temperature                    0.55" in get(lab, "rtx4090", "/api/show", {"model": "r1"})["parameters"]
    assert main_pid(lab, "rtx4090") == pid
    assert no_changes(run.out, "rtx4090") == len(STEPS) - 2


def test_changed_and_removed_variables_restart_the_server_once(lab: Lab, one: Inventory, deploy: Deploy) -> None:
    assert server_environment(lab, "rtx4090")["OLLAMA_KV_CACHE_TYPE"] == "q8_0"
    since = time.time()
    run = deploy(one.set("rtx4090", environment={"OLLAMA_KEEP_ALIVE": "17m", "OLLAMA_KV_CACHE_TYPE": None}))
    assert run.rc == 0, run.out
    assert "OLLAMA_KEEP_ALIVE: 30m -> 17m, OLLAMA_KV_CACHE_TYPE: q8_0 -> unset" in run.out
    assert starts(lab, "rtx4090", since) == 1
    assert server_environment(lab, "rtx4090")["OLLAMA_KEEP_ALIVE"] == "17m"
    assert "OLLAMA_KV_CACHE_TYPE" not in server_environment(lab, "rtx4090")
    assert "OLLAMA_KV_CACHE_TYPE" not in lab.read("rtx4090", DROP_IN).decode()


@pytest.fixture
def proxy(lab: Lab) -> Iterator[str]:
    """A proxy on the mirror host, for rtx2070 the only way to it; its address."""
    hosts = lab.read("rtx2070", "/etc/hosts")
    lab.write("mirror", "/run/way-out.py", PROXY.read_text())
    lab.check("mirror", f"systemd-run --quiet --collect --unit=way-out python3 /run/way-out.py 3129 {PROXY_LOGIN}")
    lab.reset("rtx2070")
    lab.check("rtx2070", "sed -i '/^10\\.77\\.0\\.2 /d' /etc/hosts")
    assert lab.exec("rtx2070", "getent hosts mirror.lab registry.ollama.ai").rc != 0
    yield f"http://{PROXY_LOGIN}@10.77.0.2:3129"
    lab.write("rtx2070", "/etc/hosts", hosts)
    lab.check("mirror", "systemctl stop way-out")


def test_a_host_without_a_direct_way_fetches_release_and_models_through_the_proxy(
    lab: Lab, inventory: Inventory, deploy: Deploy, proxy: str
) -> None:
    since = time.time()
    inventory.only("rtx2070").set("rtx2070", proxy={"env": "LAB_PROXY"})
    run = deploy(inventory, env={"LAB_PROXY": proxy})
    assert run.rc == 0, run.out
    targets = {line.split()[-1] for line in lab.journal("mirror", since, "--unit=way-out") if "tunnelled to" in line}
    assert {"mirror.lab:443", "registry.ollama.ai:443"} <= targets
    again = deploy(inventory, env={"LAB_PROXY": proxy})
    assert no_changes(again.out, "rtx2070") == len(STEPS), again.out

"""Hosts on which somebody else has put an Ollama: the real install.sh's is taken over, every other one is named.

A package is a real one of dpkg's, made here, without an Ollama in it. A snap and a container are stand-ins: a unit as
snapd writes it; a program called docker-proxy that holds the port, and a `docker` that answers two questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.install_script import ensure_install_script
from lab.progress import Progress
from tests.lab.expect import (
    Watched,
    assert_changed_nothing,
    assert_converged,
    finished,
    one_error,
    said_once,
    traces,
)
from tests.lab.observation import VERSION, difference, models, reaches, server_environment, snapshot, starts
from tests.lab.power import POWER_CUT, SEEDS, Moment, cut_power, moment

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory, Start

pytestmark = pytest.mark.usefixtures("bare_afterwards")

HOST = "rtx2070"
PACKAGE = Path(__file__).with_name("ollama_package.sh")
OLD_MODELS = "/usr/share/ollama/.ollama/models"
MODELS = "/var/lib/ollama/models"
UNIT = "/etc/systemd/system/ollama.service"
DROP_INS = f"{UNIT}.d"
PEOPLES = '# mine\n[Service]\nEnvironment="OLLAMA_MAX_QUEUE=99" OLLAMA_KEEP_ALIVE=24h\n'
#: What is said at the beginning of each stage of a take-over, and how long it takes at the longest.
STAGES = (
    Moment("switch /opt/ollama/current", 0.3),
    Moment("link 2 models", 0.3),
    Moment("copy the server's key", 0.2),
    Moment("keep what people have changed", 0.2),
    Moment("keep people's", 0.2),
    Moment(f"write {DROP_INS}/override.conf", 0.2),
    Moment(f"write {DROP_INS}/override.conf", 1.0),  # and the unit after it
    Moment("restart ollama.service", 1.5),
    Moment("let /usr/local/bin/ollama lead to", 0.3),
    Moment("free /usr/share", 0.3),
)


@pytest.fixture(scope="session")
def install_script() -> Path:
    return ensure_install_script(Progress())


def install(lab: Lab, script: Path, version: str = VERSION) -> dict[str, str]:
    """A bare host, then install.sh, models, and what people set: in a drop-in, in the unit. The models by name."""
    lab.reset(HOST)
    lab.write(HOST, "/root/install.sh", script.read_text())
    done = lab.exec(HOST, f"OLLAMA_VERSION={version} sh /root/install.sh", timeout_s=300)
    assert done.rc == 0, done.out
    lab.write(HOST, f"{DROP_INS}/override.conf", PEOPLES)
    edit = rf"sed -i 's/^RestartSec=3$/&\nNice=5\nEnvironment=OLLAMA_LOAD_TIMEOUT=9m/' {UNIT}"
    lab.check(HOST, f"{edit} && systemctl daemon-reload && systemctl restart ollama")
    found = serving(lab, HOST)
    assert found == {}
    lab.check(HOST, "ollama pull deepseek-r1:7b && ollama cp deepseek-r1:7b mine")
    return models(lab, HOST)


def serving(lab: Lab, host: str, within_s: float = 30) -> dict[str, str]:
    """The models of a server that may have to come up first."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return models(lab, host)
        except LabError:
            assert time.monotonic() < deadline, lab.exec(host, "journalctl -u ollama -n 20 --no-pager").out
            time.sleep(0.3)


def key(lab: Lab, directory: str) -> str:
    return lab.check(HOST, f"cat {directory}/.ollama/id_ed25519")


def assert_taken_over(lab: Lab, before: dict[str, str]) -> None:
    """The host is corral's, and all that people had is there and counts."""
    now = models(lab, HOST)
    assert {name: now[name] for name in before} == before
    environment = server_environment(lab, HOST)
    assert environment["OLLAMA_MAX_QUEUE"] == "99"
    assert environment["OLLAMA_LOAD_TIMEOUT"] == "9m"
    assert environment["OLLAMA_KEEP_ALIVE"] == "30m"  # as the inventory declares
    assert environment["OLLAMA_MODELS"] == MODELS
    assert lab.check(HOST, "systemctl show ollama -p Nice --value").strip() == "5"
    assert lab.check(HOST, f"cat {DROP_INS}/override-adopted.conf") == PEOPLES
    assert lab.check(HOST, f"head -c 15 {UNIT}") == "# Made by corra"
    assert lab.check(HOST, "readlink /usr/local/bin/ollama").strip() == "/opt/ollama/current/bin/ollama"
    assert (
        lab.exec(HOST, f"ls -d /usr/local/lib/ollama {OLD_MODELS} /etc/systemd/system/default.target.wants/*").rc != 0
    )
    assert key(lab, "/var/lib/ollama") == key(lab, "/usr/share/ollama")
    assert lab.check(HOST, "stat -c '%a %U' /var/lib/ollama/.ollama/id_ed25519").strip() == "600 ollama"
    assert lab.check(HOST, f"find {MODELS} ! -user ollama") == ""


def test_install_scripts_ollama_is_taken_over_with_its_models_its_key_and_what_people_set(
    lab: Lab, inventory: Inventory, deploy: Deploy, install_script: Path
) -> None:
    before = install(lab, install_script)
    inventory.only(HOST)
    one_error(deploy(inventory), HOST, "install.sh", UNIT, "/usr/local/lib/ollama", "deploys/adopt.py")

    seen = [*snapshot(lab, HOST), *lab.check(HOST, "find /usr/share/ollama -printf '%p %u %s\\n'").splitlines()]
    dry = deploy(inventory, "adopt", dry=True)
    assert dry.rc == 0, dry.out
    for words in (
        ("override.conf: OLLAMA_MAX_QUEUE=99 OLLAMA_KEEP_ALIVE=24h",),
        (f"{UNIT}: Nice=5, OLLAMA_LOAD_TIMEOUT=9m",),
        ("would link 2 models", OLD_MODELS),
        ("would copy the server's key",),
        ("would keep people's", "override-adopted.conf"),
        ("would remove", "/usr/local/lib/ollama"),
        ("would free", OLD_MODELS),
    ):
        said_once(dry, HOST, *words)
    now = [*snapshot(lab, HOST), *lab.check(HOST, "find /usr/share/ollama -printf '%p %u %s\\n'").splitlines()]
    assert difference(seen, now) == []

    since = time.time()
    assert_converged(deploy(inventory, "adopt"), lab, HOST)
    assert_taken_over(lab, before)
    assert starts(lab, HOST, since) == 1
    assert reaches(lab, "client", HOST)
    assert not [one for one in lab.mirror.requests(since) if "/blobs/" in one.path]

    assert_changed_nothing(deploy(inventory, "adopt"), HOST)
    assert_changed_nothing(deploy(inventory), HOST)
    lab.reboot(HOST)
    assert serving(lab, HOST) == models(lab, HOST)

    done = deploy(inventory, "uninstall")
    assert done.rc == 0, done.out
    assert lab.check(HOST, f"cat {DROP_INS}/override.conf") == PEOPLES
    assert lab.check(HOST, "getent passwd ollama").split(":")[5] == "/usr/share/ollama"
    assert key(lab, "/usr/share/ollama")
    assert lab.exec(HOST, f"ls {UNIT} /usr/local/bin/ollama /opt/ollama /etc/ollama").out.count("No such file") == 4
    assert "sha256-" in lab.check(HOST, f"ls {MODELS}/blobs")
    assert_changed_nothing(deploy(inventory, "uninstall"), HOST)


def test_models_stay_where_they_are_when_their_place_is_declared(
    lab: Lab, inventory: Inventory, deploy: Deploy, install_script: Path
) -> None:
    before = install(lab, install_script, "0.24.0")
    blobs = lab.check(HOST, f"stat -c '%i %n' {OLD_MODELS}/blobs/*")
    inventory.only(HOST).set(HOST, models_dir=OLD_MODELS)

    assert_converged(deploy(inventory, "adopt"), lab, HOST)

    assert server_environment(lab, HOST)["OLLAMA_MODELS"] == OLD_MODELS
    assert before.items() <= models(lab, HOST).items()
    assert set(blobs.splitlines()) <= set(lab.check(HOST, f"stat -c '%i %n' {OLD_MODELS}/blobs/*").splitlines())
    assert_changed_nothing(deploy(inventory, "adopt"), HOST)


def test_a_disk_that_fills_while_models_are_copied_costs_nothing(
    lab: Lab, inventory: Inventory, deploy: Deploy, start: Start, install_script: Path
) -> None:
    """The room is taken by something else after corral has looked, while the release is downloaded."""
    before = install(lab, install_script)
    inventory.only(HOST).set(HOST, models_dir="/mnt/small/models")
    lab.mirror.set(bytes_per_second=4_000_000)
    run = Watched(start(inventory, "adopt"))
    run.until("downloading")
    lab.exec(HOST, "fallocate -l 64M /mnt/small/full || dd if=/dev/zero of=/mnt/small/full bs=1M 2>/dev/null")
    lab.mirror.reset()
    assert run.end() not in (0, 130), run.out
    assert "Free some space there and run again" in run.out
    assert models(lab, HOST) == before
    assert lab.check(HOST, f"head -n 1 {UNIT}") == "[Unit]\n"

    lab.check(HOST, "rm /mnt/small/full")
    assert_converged(deploy(inventory, "adopt"), lab, HOST)
    assert before.items() <= models(lab, HOST).items()
    assert lab.exec(HOST, f"ls {OLD_MODELS}").rc != 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_in_a_take_over_leaves_a_host_that_serves_and_is_finished_by_the_next_run(
    lab: Lab,
    inventory: Inventory,
    deploy: Deploy,
    start: Start,
    install_script: Path,
    seed: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(POWER_CUT, "adopt")
    before = install(lab, install_script)
    inventory.only(HOST)
    run = Watched(start(inventory, "adopt"))

    cut_power(lab, HOST, run, moment(seed, STAGES))

    assert before.items() <= serving(lab, HOST).items()
    assert server_environment(lab, HOST)["OLLAMA_MAX_QUEUE"] == "99"
    assert_converged(deploy(inventory, "adopt"), lab, HOST)
    assert_taken_over(lab, before)
    assert_changed_nothing(deploy(inventory), HOST)


def test_a_host_without_another_ollama_is_told_so_and_set_up(lab: Lab, inventory: Inventory, deploy: Deploy) -> None:
    lab.reset(HOST)
    inventory.only(HOST)
    run = deploy(inventory, "adopt")
    said_once(run, HOST, "no other Ollama")
    assert_converged(run, lab, HOST)


def test_settings_that_the_inventory_would_override_are_refused_before_anything_is_changed(
    lab: Lab, inventory: Inventory, deploy: Deploy, install_script: Path
) -> None:
    before = install(lab, install_script)
    lab.write(HOST, f"{DROP_INS}/net.conf", '[Service]\nEnvironment="OLLAMA_HOST=127.0.0.1"\n')
    lab.check(HOST, "systemctl daemon-reload && systemctl restart ollama")
    serving(lab, HOST)
    untouched = traces(lab, HOST)
    run = deploy(inventory.only(HOST), "adopt")
    assert run.rc not in (0, 130)
    assert f"{DROP_INS}/net.conf: OLLAMA_HOST=127.0.0.1: declare environment: {{OLLAMA_HOST: 127.0.0.1}}" in run.out
    assert traces(lab, HOST) ^ untouched == set()
    assert models(lab, HOST) == before


# --- what is not taken over ------------------------------------------------------------------------


def refused(lab: Lab, inventory: Inventory, deploy: Deploy, *words: str) -> str:
    """Both deploys stop before they change anything. What the second one said."""
    inventory.only(HOST)
    before = traces(lab, HOST)
    for name in ("r1", "adopt"):
        run = deploy(inventory, name)
        one_error(run, HOST, *words)
    assert traces(lab, HOST) ^ before == set()
    return run.out


def test_a_packages_ollama_is_named_and_goes_by_the_commands_that_are_shown(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.reset(HOST)
    lab.check(HOST, PACKAGE.read_text())
    said = refused(lab, inventory, deploy, "Debian package ollama", "ollama.service")
    assert "models_dir: /srv/models" in said
    for command in ("systemctl disable --now ollama.service", "apt remove ollama"):
        assert f"sudo {command}" in said
    lab.check(HOST, "systemctl disable --now ollama.service && apt-get remove -y ollama")
    assert finished(deploy(inventory), HOST)


def test_a_snaps_ollama_is_named_and_stopped_by_the_command_that_is_shown(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.reset(HOST)
    unit = "snap.ollama.listener.service"
    start = "ExecStart=/usr/bin/systemd-socket-activate --listen=11434 /bin/cat"
    text = f"[Service]\n{start}\n[Install]\nWantedBy=multi-user.target\n"
    lab.write(HOST, f"/etc/systemd/system/{unit}", text)
    lab.check(HOST, f"systemctl daemon-reload && systemctl enable --now {unit}")
    said = refused(lab, inventory, deploy, "the snap ollama", unit)
    assert "sudo snap stop --disable ollama" in said
    assert "/var/snap/ollama/common/models" in said
    lab.check(HOST, f"systemctl disable --now {unit}")  # what `snap stop --disable` has snapd do
    assert finished(deploy(inventory), HOST)


DOCKER = """#!/bin/sh
case $1 in
  ps) echo '0123456789ab 0.0.0.0:11434->11434/tcp' ;;
  inspect) printf '/chat\\tollama/ollama:latest\\t/var/lib/docker/volumes/ollama/_data\\n' ;;
esac
"""


def test_a_container_that_holds_the_port_is_named_with_the_place_of_its_models(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.reset(HOST)
    lab.check(HOST, "cp /usr/bin/systemd-socket-activate /usr/local/bin/docker-proxy")
    lab.check(HOST, "systemd-run -q --unit=proxy /usr/local/bin/docker-proxy --listen=11434 /bin/cat")
    said = refused(lab, inventory, deploy, "docker-proxy", "pid")
    assert "docker ps" in said
    lab.write(HOST, "/usr/local/bin/docker", DOCKER, 0o755)
    said = refused(lab, inventory, deploy, "docker container chat (ollama/ollama:latest)")
    assert "sudo docker stop chat && sudo docker update --restart=no chat" in said
    assert f"sudo cp -a /var/lib/docker/volumes/ollama/_data/models {MODELS}" in said
    lab.check(HOST, "systemctl stop proxy && rm /usr/local/bin/docker")
    assert finished(deploy(inventory), HOST)


def test_a_server_that_somebody_has_started_is_named_with_its_models(
    lab: Lab, inventory: Inventory, deploy: Deploy, install_script: Path
) -> None:
    """The real Ollama, started by hand: the unit is gone, the program is still there."""
    install(lab, install_script)
    lab.check(HOST, f"systemctl disable --now ollama && rm -r {UNIT} {DROP_INS} && systemctl daemon-reload")
    lab.check(HOST, "systemd-run -q --unit=mine --uid=ops --setenv=HOME=/home/ops /usr/local/bin/ollama serve")
    serving(lab, HOST)
    said = refused(lab, inventory, deploy, "ollama (pid", "ops has started")
    assert f"sudo cp -a /home/ops/.ollama/models {MODELS}" in said
    lab.check(HOST, "systemctl stop mine")
    assert_converged(deploy(inventory, "adopt"), lab, HOST)

"""tests/state on the lab's hosts: passes where all is as declared, and sees each thing that is broken.

What is broken together on a host is independent, and each breakage names all the tests that see it.
"""

from __future__ import annotations

import os
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from tests.lab.conftest import ROOT, Inventory

SERVERS = ("rtx4090", "rtx3080", "rtx2070")
WIDER = "203.0.113.0/24"

COMMAND = "the_command_leads_to_the_pinned_release"
GROUPS = "the_user_is_in_the_groups_that_reach_a_gpu"
ENABLED = "the_service_is_enabled_at_boot"
RUNNING = "the_service_is_running"
UNIT = "the_unit_is_the_one_that_was_written"
DROP_IN = "the_drop_in_holds_the_declared_environment_and_nothing_else"
READ = "systemd_has_read_its_files_since_they_were_changed"
USER = "the_process_runs_as_its_own_user"
RELEASE = "the_process_runs_the_pinned_release"
ENVIRONMENT = "the_process_has_the_declared_environment"
SECRET = "the_process_has_the_declared_secret"
SECRETS = "secrets_are_for_administrators_alone"
LISTENS = "the_server_listens_where_declared_and_nowhere_else"
LET_IN = "the_firewall_lets_the_declared_addresses_in"
KEPT_OUT = "the_firewall_lets_nobody_else_in"
REACHED = "the_server_is_reached_from_where_it_should_be"
REFUSED = "the_server_is_refused_from_elsewhere"
VERSION = "the_server_is_of_the_pinned_version"
THERE = "the_model_is_there"
AS_DECLARED = "the_model_is_as_declared"
MADE_FROM = "the_modelfile_on_the_host_is_what_the_model_was_made_from"
CONTEXT = "the_model_runs_with_the_declared_context"
ON_GPU = "the_model_runs_wholly_on_the_gpu"
#: All that takes an answer of the server's.
ANSWERS = {LISTENS, REACHED, VERSION, THERE, AS_DECLARED, MADE_FROM, CONTEXT, ON_GPU}


@dataclass(frozen=True)
class Breakage:
    """Something that is no longer as declared. do, undo: for the host's bash; fails: the tests that see it.

    undo: only what a deploy leaves alone, since it belongs to the administrator.
    """

    host: str
    do: str
    fails: set[str]
    undo: str = ":"


def own_drop_in(host: str, lines: str, fails: set[str]) -> Breakage:
    """The administrator's own drop-in, read after corral's."""
    file = "/etc/systemd/system/ollama.service.d/zz-own.conf"
    restart = "systemctl daemon-reload && systemctl restart ollama"
    return Breakage(host, f"printf '[Service]\\n{lines}\\n' >{file} && {restart}", fails, f"rm -f {file} && {restart}")


FILES = (
    Breakage(
        "rtx4090",
        "echo '# by hand' >>/etc/systemd/system/ollama.service && systemctl daemon-reload",
        {UNIT},
    ),
    Breakage("rtx4090", "gpasswd -d ollama video", {GROUPS}),
    Breakage(
        "rtx4090",
        f"ufw allow proto tcp from {WIDER} to any port 11434",
        {KEPT_OUT},
        f"ufw delete allow proto tcp from {WIDER} to any port 11434",
    ),
    Breakage(
        "rtx3080",
        "sed -i s/30m/31m/ /etc/systemd/system/ollama.service.d/override.conf && systemctl daemon-reload",
        {DROP_IN},
    ),
    Breakage("rtx3080", "systemctl disable ollama", {ENABLED}),
    Breakage(
        "rtx3080",
        f"firewall-cmd --add-rich-rule='rule family=ipv4 source address={WIDER} port port=11434 protocol=tcp accept'",
        {KEPT_OUT},
        "firewall-cmd --reload",
    ),
    Breakage("rtx2070", "ln -sfn /bin/true /usr/local/bin/ollama", {COMMAND}, "rm -f /usr/local/bin/ollama"),
    Breakage(
        "rtx2070",
        f"nft insert rule inet filter input ip saddr {WIDER} tcp dport 11434 accept",
        {KEPT_OUT},
        f"nft -a list chain inet filter input | awk '/{WIDER.partition('/')[0]}/ {{print $NF}}' |"
        " xargs nft delete rule inet filter input handle",
    ),
    Breakage(
        "rtx2070",
        "curl -sf http://127.0.0.1:11434/api/create"
        """ -d '{"model": "r1", "from": "r1", "parameters": {"num_ctx": 2048}, "stream": false}'""",
        {AS_DECLARED, MADE_FROM, CONTEXT},
    ),
)
RULES_AND_PROCESSES = (
    own_drop_in("rtx4090", "Environment=OLLAMA_KEEP_ALIVE=31m", {ENVIRONMENT}),
    Breakage(
        "rtx4090",
        "for net in 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fe80::/10; do"
        " ufw delete allow proto tcp from $net to any port 11434; done",
        {LET_IN, REACHED},
    ),
    own_drop_in("rtx3080", "User=root\\nCapabilityBoundingSet=~", {USER}),
    Breakage(
        "rtx3080",
        "firewall-cmd --list-rich-rules | grep 11434 | while read -r rule; do"
        ' firewall-cmd --remove-rich-rule="$rule"; done',
        {LET_IN, REACHED},
    ),
    Breakage(
        "rtx2070",
        "nft -a list chain inet filter input | awk '/dport 11434/ {print $NF}' |"
        " xargs -n 1 nft delete rule inet filter input handle",
        {LET_IN, REACHED},
    ),
    Breakage(
        "rtx2070",
        """curl -sf -X DELETE http://127.0.0.1:11434/api/delete -d '{"model": "r1"}'""",
        {THERE, AS_DECLARED, MADE_FROM, CONTEXT, ON_GPU},
    ),
)
SERVERS_GONE = (
    Breakage("rtx4090", "systemctl stop ollama", {RUNNING, RELEASE, USER, ENVIRONMENT, *ANSWERS}),
    own_drop_in("rtx3080", "Environment=OLLAMA_HOST=0.0.0.0:11500", {ENVIRONMENT, *ANSWERS}),
    Breakage(
        "rtx2070",
        "nft insert rule inet filter input tcp dport 11434 accept",
        {KEPT_OUT, REFUSED},
        "nft -a list chain inet filter input | awk '$1 == \"tcp\" && $3 == 11434 {print $NF}' |"
        " xargs -n 1 nft delete rule inet filter input handle",
    ),
)


@dataclass(frozen=True)
class State:
    """What a run of the suite said. failed: test names, without "test_", by host as in "rtx4090" or
    "rtx4090-after-reboot"; passed: how many did."""

    rc: int
    out: str
    failed: dict[str, set[str]]
    passed: int
    seconds: float


Look = Callable[..., State]


@pytest.fixture
def look(tmp_path: Path, inventory: Any) -> Look:
    """Run tests/state as a user does."""

    def go(*arguments: str, env: Mapping[str, str] | None = None) -> State:
        report, begun = tmp_path / "report.xml", time.monotonic()
        done = subprocess.run(
            [ROOT / "lab/run", "pytest", "tests/state", "-q", f"--junitxml={report}", *arguments],
            cwd=ROOT,
            # In a pipeline (CI is set) pytest says each message twice.
            env={**os.environ, "CORRAL_INVENTORY": str(inventory.write()), "CI": "", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        seconds = time.monotonic() - begun
        failed: dict[str, set[str]] = {}
        cases = list(ElementTree.parse(report).iter("testcase"))
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                test, _, host = case.attrib["name"].rstrip("]").partition("[")
                name, *rest = host.split("-")
                after = "-after-reboot" if rest[:2] == ["after", "reboot"] else ""
                failed.setdefault(f"{name}{after}", set()).add(test.removeprefix("test_"))
        wrong = sum(case.find(kind) is not None for case in cases for kind in ("failure", "error", "skipped"))
        return State(done.returncode, done.stdout, failed, len(cases) - wrong, seconds)

    return go


@pytest.fixture(scope="module", autouse=True)
def _as_declared(tmp_path_factory: pytest.TempPathFactory) -> None:
    _deploy(tmp_path_factory.mktemp("inventory"))


@pytest.fixture
def deploy_afterwards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have what was broken mended as a user would."""
    yield
    _deploy(tmp_path_factory.mktemp("inventory"))


def _deploy(directory: Path) -> None:
    """With the inventory that `look` has."""
    subprocess.run(
        [ROOT / "lab/run", "pyinfra", "-y", "inventory.py", "deploys/r1.py"],
        cwd=ROOT,
        env={**os.environ, "CORRAL_INVENTORY": str(Inventory(directory).write())},
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=600,
    )


def test_hosts_that_are_as_declared_pass_in_well_under_a_minute(look: Look) -> None:
    seen = look()
    assert (seen.rc, seen.failed) == (0, {}), seen.out
    assert seen.passed >= len(SERVERS) * 20
    assert seen.seconds < 60


@pytest.mark.usefixtures("deploy_afterwards")
@pytest.mark.parametrize(
    "breakages",
    [
        pytest.param(FILES, id="files, rules that are too wide, another model"),
        pytest.param(RULES_AND_PROCESSES, id="rules that are gone, other processes, no model"),
        pytest.param(SERVERS_GONE, id="servers that are gone, a port open to all"),
    ],
)
def test_what_is_broken_fails_the_tests_that_are_about_it_and_no_other(
    lab: Lab, look: Look, breakages: tuple[Breakage, ...]
) -> None:
    expected: dict[str, set[str]] = {}
    try:
        for breakage in breakages:
            lab.check(breakage.host, breakage.do)
            expected.setdefault(breakage.host, set()).update(breakage.fails)
        seen = look()
    finally:
        for breakage in breakages:
            lab.check(breakage.host, breakage.undo)
    assert seen.rc == 1
    assert seen.failed == expected, seen.out


def test_a_model_beside_another_program_on_the_gpu_fails_that_test_alone(lab: Lab, look: Look) -> None:
    unload = """curl -sf http://127.0.0.1:11434/api/generate -d '{"model": "r1", "keep_alive": 0}'; sleep 1"""
    lab.check("rtx2070", unload)
    lab.hold_gpu("rtx2070", 7650)
    try:
        seen = look("--hosts", "rtx2070")
    finally:
        lab.free_gpu("rtx2070")
        lab.check("rtx2070", unload)
    assert seen.failed == {"rtx2070": {ON_GPU}}, seen.out


def test_a_host_that_is_off_or_declared_wrongly_fails_alone_and_says_why_once(
    lab: Lab, inventory: Any, look: Look
) -> None:
    inventory.document["hosts"]["typo"] = {"adress": "10.77.0.99"}
    lab.cut("rtx4090")
    try:
        seen = look()
    finally:
        lab.uncut("rtx4090")
        del inventory.document["hosts"]["typo"]
    assert set(seen.failed) == {"rtx4090", "typo"}, seen.out
    assert len(seen.failed["rtx4090"]) >= 20
    assert seen.out.count("rtx4090: Could not connect") == 1
    assert seen.out.count("hosts.typo.adress: unknown key") == 1


@pytest.mark.usefixtures("deploy_afterwards")
def test_another_secret_than_declared_fails_its_tests_and_is_never_shown(
    lab: Lab, inventory: Any, look: Look, deploy: Callable[..., Any]
) -> None:
    env = {"LAB_PROXY": "http://lab:dEclared-secret@10.77.0.2:3128"}
    inventory.only("rtx4090").set("rtx4090", proxy={"env": "LAB_PROXY"})
    done = deploy(inventory, env=env)
    assert done.rc == 0, done.out
    lab.check("rtx4090", "cd /etc/ollama && sed -i s/dEclared/oTher/ secrets.env && chmod 644 secrets.env")
    lab.check("rtx4090", "systemctl restart ollama")
    seen = look("-vv", "--showlocals", env=env)
    assert seen.failed == {"rtx4090": {SECRET, SECRETS}}, seen.out
    assert "dEclared-secret" not in seen.out
    assert "oTher-secret" not in seen.out


def test_after_a_reboot_everything_is_looked_at_again(lab: Lab, look: Look) -> None:
    opening = (
        "[Unit]\\nAfter=nftables.service ollama.service\\n"
        "[Service]\\nType=oneshot\\nExecStart=/usr/sbin/nft insert rule inet filter input tcp dport 11434 accept\\n"
        "[Install]\\nWantedBy=multi-user.target\\n"
    )
    lab.check("rtx2070", f"printf '{opening}' >/etc/systemd/system/opening.service; systemctl enable opening")
    boots = {host: lab.check(host, "cat /proc/sys/kernel/random/boot_id") for host in SERVERS}
    try:
        seen = look("--reboot", "--hosts", "rtx2070", "--hosts", "rtx3080")
    finally:
        lab.check("rtx2070", "systemctl disable opening; rm /etc/systemd/system/opening.service")
        lab.check("rtx2070", "systemctl restart nftables")
    assert seen.failed == {"rtx2070-after-reboot": {KEPT_OUT, REFUSED}}, seen.out
    again = {host for host in SERVERS if lab.check(host, "cat /proc/sys/kernel/random/boot_id") != boots[host]}
    assert again == {"rtx2070", "rtx3080"}

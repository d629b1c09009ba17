"""Three kinds of firewall: what is opened and closed there, whose rules stay, and what verification makes of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.lab.observation import SERVERS, at_once, reaches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

KINDS = {"rtx4090": "ufw", "rtx3080": "firewalld", "rtx2070": "nftables"}
ADDRESSES = {"rtx4090": "10.77.0.11", "rtx3080": "10.77.0.12", "rtx2070": "10.77.0.13"}
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
#: Port 9100 from one address, as an administrator would open it, for now and for later.
OWN_RULE = {
    "ufw": "ufw allow from 10.77.0.99 to any port 9100 proto tcp comment 'mine: metrics'",
    "firewalld": """for when in --permanent --quiet; do firewall-cmd $when --add-rich-rule='
        rule family="ipv4" source address="10.77.0.99" port port="9100" protocol="tcp" accept' >/dev/null; done""",
    "nftables": r"""sed -i '/tcp dport 2222 accept/a\\t\tip saddr 10.77.0.99 tcp dport 9100 accept' /etc/nftables.conf
        nft add rule inet filter input ip saddr 10.77.0.99 tcp dport 9100 accept""",
}
#: What an administrator does who opens the port to everybody, and back.
OPEN = {
    "ufw": "ufw allow 11434/tcp",
    "firewalld": "firewall-cmd --add-port=11434/tcp; firewall-cmd --permanent --add-port=11434/tcp",
    "nftables": "nft insert rule inet filter input tcp dport 11434 accept comment by-hand",
}
CLOSE = {
    "ufw": "ufw delete allow 11434/tcp",
    "firewalld": "firewall-cmd --remove-port=11434/tcp; firewall-cmd --permanent --remove-port=11434/tcp",
    "nftables": "nft --handle list chain inet filter input | sed -n 's/.*by-hand.*handle //p' |"
    " xargs -n1 nft delete rule inet filter input handle",
}
#: What is kept for the next boot.
FILES = {
    "ufw": "/etc/ufw/user.rules /etc/ufw/user6.rules",
    "firewalld": "/etc/firewalld/zones/public.xml",
    "nftables": "/etc/nftables.conf /etc/corral/nftables/ollama.nft",
}


def kept(lab: Lab, host: str) -> str:
    return lab.check(host, f"cat {FILES[KINDS[host]]} 2>/dev/null; true")


def loaded(lab: Lab, host: str) -> list[str]:
    """The loaded rules, without counts."""
    return [line.strip() for line in lab.check(host, "nft --stateless list ruleset").splitlines()]


def others(lab: Lab, host: str) -> tuple[list[str], list[str]]:
    """All loaded rules and all lines of the files that say nothing of Ollama's port or of corral."""
    lines = [line for line in loaded(lab, host) if "11434" not in line]
    text = re.sub(r"<rule [^>]*priority=.11434.*?</rule>", "", kept(lab, host), flags=re.DOTALL)
    files = [line for line in text.splitlines() if line.strip() and not re.search("11434|corral", line)]
    return lines, files


@pytest.fixture
def good(lab: Lab, inventory: Inventory, deploy: Deploy) -> Inventory:
    """The lab's inventory, with hosts as it declares."""
    run = deploy(inventory)
    assert run.rc == 0, run.out
    return inventory


@pytest.fixture
def own_rules(lab: Lab, good: Inventory) -> Iterator[dict[str, str]]:
    """Each host has a rule of its administrator's; what its files hold of it."""
    at_once(SERVERS, lambda host: lab.check(host, OWN_RULE[KINDS[host]]))
    yield at_once(SERVERS, lambda host: kept(lab, host))
    at_once(SERVERS, lab.reset)


def test_narrowing_the_scope_removes_the_old_rules_and_leaves_those_of_the_administrator(
    lab: Lab, good: Inventory, deploy: Deploy, own_rules: dict[str, str]
) -> None:
    before = at_once(SERVERS, lambda host: others(lab, host))
    for host in SERVERS:
        assert all(any(network in line and "11434" in line for line in loaded(lab, host)) for network in PRIVATE)
        assert all(network in kept(lab, host) for network in PRIVATE)
        good.set(host, allow_from=["10.77.0.0/24", "fd00:77::/64"])
    dry = deploy(good, dry=True)
    assert at_once(SERVERS, lambda host: others(lab, host)) == before
    run = deploy(good)
    assert run.rc == 0, run.out
    for host, kind in KINDS.items():
        assert "would allow TCP 11434 from 10.77.0.0/24" in dry.about(host)
        rules = [line for line in loaded(lab, host) if "11434" in line]
        assert any("10.77.0.0/24" in rule for rule in rules), f"{kind}: {rules}"
        assert any("fd00:77::/64" in rule for rule in rules), f"{kind}: {rules}"
        for network in PRIVATE:
            assert not any(network in rule for rule in rules), f"{kind} still lets in {network}"
            assert network not in kept(lab, host), f"{kind} would let in {network} after a reboot"
        assert "10.77.0.0/24" in kept(lab, host)
        assert others(lab, host) == before[host], f"{kind}: rules of others were changed"
        assert any("9100" in line and "10.77.0.99" in line for line in loaded(lab, host))
        assert reaches(lab, "client", ADDRESSES[host])
        assert not reaches(lab, "outsider", ADDRESSES[host])
    good.document["hosts"] = {host: {**good.host(host), "allow_from": ["10.77.9.0/24"]} for host in SERVERS}
    shut = deploy(good)
    assert shut.rc == 1
    for host in SERVERS:
        assert "can't be reached from client" in shut.about(host)
        assert not reaches(lab, "client", ADDRESSES[host])


def test_any_opens_the_port_to_everybody_and_is_warned_about(lab: Lab, good: Inventory, deploy: Deploy) -> None:
    good.document["clients"]["outsider"]["expect"] = "reachable"
    for host in SERVERS:
        assert not reaches(lab, "outsider", ADDRESSES[host])
        good.set(host, allow_from=["any"])
    run = deploy(good)
    assert run.rc == 0, run.out
    for host in SERVERS:
        assert "allow_from is any: whoever reaches this host can use, replace and delete its models" in run.about(host)
        assert reaches(lab, "outsider", ADDRESSES[host])
    good.document["clients"]["outsider"]["expect"] = "refused"
    for host in SERVERS:
        good.set(host, allow_from=None)
    back = deploy(good)
    assert back.rc == 0, back.out
    assert "allow_from is any" not in back.out
    for host in SERVERS:
        assert not reaches(lab, "outsider", ADDRESSES[host])


def test_a_rule_of_somebody_that_is_wider_than_declared_fails_verification_and_is_left_alone(
    lab: Lab, good: Inventory, deploy: Deploy
) -> None:
    at_once(SERVERS, lambda host: lab.check(host, OPEN[KINDS[host]]))
    try:
        run = deploy(good)
        for host, kind in KINDS.items():
            assert reaches(lab, "outsider", ADDRESSES[host]), f"{kind}: the rule is gone"
    finally:
        at_once(SERVERS, lambda host: lab.check(host, CLOSE[KINDS[host]]))
    assert run.rc == 1
    for host, kind in KINDS.items():
        said = run.about(host)
        assert "outsider reaches port 11434, which it must not." in said
        assert any("11434" in line and kind in line and "any" in line for line in said.splitlines()), said
    again = deploy(good, "verify")
    assert again.rc == 0, again.out


def test_a_rule_of_corrals_that_somebody_removed_comes_back(lab: Lab, good: Inventory, deploy: Deploy) -> None:
    lab.check("rtx4090", "ufw delete allow proto tcp from 10.0.0.0/8 to any port 11434")
    lab.check("rtx3080", "firewall-cmd --remove-rich-rule='rule priority=\"11434\" family=\"ipv4\""
                         " source address=\"10.0.0.0/8\" port port=\"11434\" protocol=\"tcp\" accept'")  # fmt: skip
    lab.check("rtx2070", "nft -f /etc/nftables.conf; sed -i '/corral/d' /etc/nftables.conf; nft -f /etc/nftables.conf")
    closed = deploy(good, "verify")
    assert closed.rc == 1
    for host in SERVERS:
        assert "can't be reached from client" in closed.about(host)
    run = deploy(good)
    assert run.rc == 0, run.out
    for host in SERVERS:
        assert "allow TCP 11434 from" in run.about(host)
        assert reaches(lab, "client", ADDRESSES[host])

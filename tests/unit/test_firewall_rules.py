"""What loaded rules let in: nftables' JSON and iptables-save, judged by the model of the kernel."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from corral.firewall import FirewallState, Scope, exposure, missing, parse, wider_than

PORT = 11434
LAN = [
    {"dst": "default", "dev": "eth0"},
    {"dst": "192.168.1.0/24", "dev": "eth0"},
    {"dst": "10.8.0.0/24", "dev": "wg0"},
]


def packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode())).decode()


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
IIF = {"meta": {"key": "iifname"}}
CT = {"ct": {"key": "state"}}
ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
OURS = match(DPORT, PORT)


def prefix(network: str) -> dict[str, Any]:
    address, _, length = network.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}}


def nftables(
    *rules: list[dict[str, Any]], policy: str = "drop", family: str = "inet", more: list[dict[str, Any]] | None = None
) -> FirewallState:
    where = {"family": family, "table": "t"}
    objects: list[dict[str, Any]] = [
        {"table": {"family": family, "name": "t"}},
        {"chain": {**where, "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": policy}},
        *(more or []),
        *({"rule": {**where, "chain": "in", "handle": 1, "expr": rule}} for rule in rules),
    ]
    return parse({"firewall.routes4": json.dumps(LAN), "firewall.nft": packed(json.dumps({"nftables": objects}))})


def iptables(*rules: str, policy: str = "DROP") -> FirewallState:
    text = "\n".join(("*filter", f":INPUT {policy} [0:0]", ":sub - [0:0]", *rules, "COMMIT", ""))
    return parse({"firewall.routes4": json.dumps(LAN), "firewall.iptables": packed(text)})


def sources(state: FirewallState) -> list[str]:
    """The "from ..." of each opening."""
    return [why.partition(" from ")[2].partition(":")[0] or why for why in exposure(state, PORT)]


@pytest.mark.parametrize(
    "rule",
    [
        [match(IIF, "lo"), ACCEPT],
        [match(CT, ["established", "related"], "in"), ACCEPT],
        [{"vmap": {"key": CT, "data": {"set": [["established", ACCEPT], ["invalid", DROP]]}}}],
        [match({"payload": {"protocol": "udp", "field": "dport"}}, PORT), ACCEPT],
        [match({"meta": {"key": "l4proto"}}, {"set": ["icmp", "ipv6-icmp"]}), ACCEPT],
        [match(DPORT, {"set": [22, {"range": [80, 90]}]}), ACCEPT],
        [match({"payload": {"protocol": "ip", "field": "daddr"}}, prefix("224.0.0.0/4")), ACCEPT],
        [match({"meta": {"key": "pkttype"}}, "broadcast"), ACCEPT],
        [match({"ct": {"key": "status"}}, ["dnat"], "in"), ACCEPT],
        [OURS, {"counter": {"packets": 0, "bytes": 0}}],
    ],
)
def test_rules_for_other_traffic_open_nothing(rule: list[dict[str, Any]]) -> None:
    assert exposure(nftables(rule), PORT) == []


@pytest.mark.parametrize(
    ("rule", "whom"),
    [
        ([OURS, ACCEPT], "anywhere"),
        ([match(SADDR, prefix("10.0.0.0/8")), OURS, ACCEPT], "10.0.0.0/8"),
        ([match(SADDR, {"set": [prefix("10.0.0.0/8"), "192.168.1.7"]}), ACCEPT], "10.0.0.0/8 and 192.168.1.7"),
        ([match(SADDR, {"range": ["10.0.0.0", "10.0.0.3"]}), ACCEPT], "10.0.0.0/30"),
        ([match(DPORT, {"range": [1024, 65535]}), ACCEPT], "anywhere"),
        ([match(DPORT, 22, "!="), ACCEPT], "anywhere"),
        ([match({"meta": {"key": "nfproto"}}, "ipv4"), ACCEPT], "anywhere over IPv4"),
        ([match(CT, "new"), {"limit": {"rate": 1}}, OURS, ACCEPT], "anywhere"),
        ([match({"meta": {"key": "mark"}}, 1), ACCEPT], "anywhere"),
        ([{"vmap": {"key": DPORT, "data": {"set": [[22, ACCEPT], [PORT, ACCEPT]]}}}], "anywhere"),
        ([OURS, {"queue": {"num": 0}}], "anywhere"),
    ],
)
def test_rules_that_open_the_port_are_named_with_whom_they_let_in(rule: list[dict[str, Any]], whom: str) -> None:
    assert sources(nftables(rule)) == [whom]


def test_a_rule_for_an_interface_lets_in_who_is_reached_through_it() -> None:
    [(why)] = exposure(nftables([match(IIF, "wg0"), ACCEPT], family="ip"), PORT)
    assert "from 10.8.0.0/24: iifname wg0 accept" in why


def test_a_rule_for_an_interface_refuses_only_there() -> None:
    state = nftables([match(IIF, "eth0"), DROP], [OURS, ACCEPT], family="ip")
    assert sources(state) == ["10.8.0.0/24"]


def test_a_drop_in_front_takes_away_what_it_matches_and_a_conditional_one_nothing() -> None:
    certain = [match(SADDR, prefix("0.0.0.0/1")), DROP]
    perhaps = [{"limit": {"rate": 1}}, DROP]
    state = nftables(perhaps, certain, [OURS, ACCEPT], family="ip")
    assert wider_than(state, Scope.parse(["128.0.0.0/1"]), PORT) == []
    assert wider_than(state, Scope.parse(["128.0.0.0/2"]), PORT) != []


def test_jumps_returns_and_gotos_are_followed() -> None:
    where = {"family": "ip", "table": "t"}
    more: list[dict[str, Any]] = [
        {"chain": {**where, "name": "lan"}},
        {"rule": {**where, "chain": "lan", "handle": 1, "expr": [match(SADDR, "10.0.0.9"), {"return": None}]}},
        {"rule": {**where, "chain": "lan", "handle": 2, "expr": [OURS, ACCEPT]}},
    ]
    for step in ("jump", "goto"):
        state = nftables([match(SADDR, prefix("10.0.0.8/31")), {step: {"target": "lan"}}], family="ip", more=more)
        assert sources(state) == ["10.0.0.8/31"]
        assert wider_than(state, Scope.parse(["10.0.0.8"]), PORT) == []


def test_the_elements_of_a_named_set_count() -> None:
    where = {"family": "ip", "table": "t", "name": "team", "type": "ipv4_addr"}
    elements = [{"elem": {"val": "10.0.0.9", "timeout": 60}}, prefix("10.1.0.0/16")]
    rule = [match(SADDR, "@team"), OURS, ACCEPT]
    assert sources(nftables(rule, family="ip", more=[{"set": {**where, "elem": elements}}])) == [
        "10.0.0.9 and 10.1.0.0/16"
    ]
    assert sources(nftables(rule, family="ip", more=[{"set": where}])) == []


def test_a_set_that_the_probe_left_out_counts_as_anybody() -> None:
    rule = {"expr": [match(SADDR, "@huge"), OURS, ACCEPT], "family": "ip", "table": "t", "chain": "in", "handle": 1}
    base = {"family": "ip", "table": "t", "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}
    listing = json.dumps({"nftables": [{"chain": base}, {"rule": rule}]})
    terse = {"firewall.routes4": json.dumps(LAN), "firewall.nft": packed(listing), "firewall.nft.terse": "1\n"}
    assert sources(parse(terse)) == ["anywhere over IPv4"]


def test_a_policy_that_accepts_is_named_when_nothing_else_refuses() -> None:
    state = nftables(policy="accept")
    assert state.kind == "none"
    assert exposure(state, PORT) == [
        "TCP 11434 is open to anywhere: nftables chain inet t in accepts what no rule refuses."
    ]


def test_ipv6_that_nothing_filters_is_named_where_the_host_has_a_way_out() -> None:
    state = nftables(family="ip")
    assert exposure(state, PORT) == []
    listing = {
        "chain": {"family": "ip", "table": "t", "name": "in", "type": "filter", "hook": "input", "policy": "drop"}
    }
    connected = parse(
        {
            "firewall.routes4": json.dumps(LAN),
            "firewall.routes6": json.dumps([{"dst": "default", "dev": "eth0"}]),
            "firewall.nft": packed(json.dumps({"nftables": [listing]})),
        }
    )
    assert exposure(connected, PORT) == ["TCP 11434 is open to anywhere over IPv6: nothing filters it."]


@pytest.mark.parametrize(
    ("rule", "whom"),
    [
        ("-A INPUT -p tcp -m tcp --dport 11434 -j ACCEPT", ["anywhere over IPv4"]),
        ("-A INPUT -s 10.0.0.0/8 -p tcp -m multiport --dports 80,11000:12000 -j ACCEPT", ["10.0.0.0/8"]),
        ("-A INPUT ! -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT", []),
        ("-A INPUT -i lo -j ACCEPT", []),
        ("-A INPUT ! -i lo -j ACCEPT", ["anywhere over IPv4"]),
        ("-A INPUT -i wg+ -j ACCEPT", ["10.8.0.0/24"]),
        ("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", []),
        ("-A INPUT -p udp -m udp --dport 11434 -j ACCEPT", []),
        ("-A INPUT -d 224.0.0.251/32 -j ACCEPT", []),
        ('-A INPUT -p tcp -m tcp --dport 11434 -m comment --comment "for -j us" -j ACCEPT', ["anywhere over IPv4"]),
        ("-A INPUT -p tcp -m recent --update --seconds 30 -j ACCEPT", ["anywhere over IPv4"]),
    ],
)
def test_rules_of_iptables_are_judged_the_same_way(rule: str, whom: list[str]) -> None:
    assert sources(iptables(rule)) == whom


def test_chains_of_iptables_are_followed() -> None:
    state = iptables(
        "-A INPUT -s 10.0.0.0/8 -g sub",
        "-A INPUT -p tcp -j ACCEPT",
        "-A sub -s 10.0.0.9/32 -j RETURN",
        "-A sub -p tcp --dport 11434 -j ACCEPT",
    )
    assert missing(state, Scope.parse(["10.0.0.9"]), PORT) == ["iptables refuses TCP 11434 from 10.0.0.9."]
    assert missing(state, Scope.parse(["10.0.0.8"]), PORT) == []

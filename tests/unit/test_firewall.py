"""From what a probe found to what must change: recorded on hosts with ufw, firewalld, nftables and iptables.

data/firewall holds the probe's sections, the packed ones unpacked so that they can be read.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from corral.changes import Change
from corral.errors import CorralError
from corral.firewall import FirewallState, Scope, changes, exposure, missing, parse, warnings, wider_than
from corral.scripts import Script, Value

PORT = 11434
DATA = Path(__file__).parent / "data" / "firewall"
PACKED = {f"firewall.{name}" for name in ("nft", "iptables", "iptables-legacy", "ip6tables", "ip6tables-legacy")}
PRIVATE = Scope.parse(["private"])
OFFICE = Scope.parse(["10.77.0.0/24"])
ANY = Scope.parse(["any"])
OURS = ["ufw-ours-private", "firewalld-ours-private", "nftables-ours-private"]
FRESH = ["ufw-fresh", "firewalld-fresh", "nftables-fresh"]


def sections(name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((DATA / f"{name}.json").read_text())
    return found


def state_of(found: Mapping[str, str]) -> FirewallState:
    packed = {name: base64.b64encode(gzip.compress(found[name].encode())).decode() for name in PACKED & found.keys()}
    return parse({**found, **packed})


def state(name: str, **replaced: str) -> FirewallState:
    return state_of(sections(name) | replaced)


def variables(change: Change) -> Mapping[str, Value]:
    assert isinstance(change.action, Script)
    assert change.action.text()
    return change.action.variables


def items(value: Value) -> list[str]:
    assert isinstance(value, Sequence)
    assert not isinstance(value, str)
    return list(value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ufw-fresh", "ufw"),
        ("ufw-without-ipv6", "ufw"),
        ("firewalld-fresh", "firewalld"),
        ("nftables-fresh", "nftables"),
        ("nftables-two-tables", "nftables"),
        ("iptables-by-hand", "iptables"),
        ("none", "none"),
    ],
)
def test_each_firewall_is_recognised_and_no_other_with_it(name: str, kind: str) -> None:
    assert state(name).kind == kind
    assert len(state(name).kinds) == (kind != "none")


def test_a_host_without_a_firewall_gets_no_rule_and_a_warning() -> None:
    bare = state("none")
    assert changes(bare, PRIVATE, PORT) == []
    assert "no firewall refuses anything" in warnings(bare)[0]
    assert "open to anywhere" in wider_than(bare, PRIVATE, PORT)[0]


@pytest.mark.parametrize("name", FRESH)
def test_a_fresh_host_needs_one_change_and_says_what_is_missing(name: str) -> None:
    [change] = changes(state(name), PRIVATE, PORT)
    assert change.summary.startswith("allow TCP 11434 from 10.0.0.0/8")
    assert missing(state(name), PRIVATE, PORT)
    assert exposure(state(name), PORT) == []
    assert warnings(state(name)) == []


@pytest.mark.parametrize("name", FRESH)
def test_where_nothing_of_ours_is_nothing_is_taken_away(name: str) -> None:
    assert changes(state(name), None, PORT) == []


@pytest.mark.parametrize("name", OURS)
def test_a_host_that_has_the_rule_needs_no_change(name: str) -> None:
    assert changes(state(name), PRIVATE, PORT) == []
    assert missing(state(name), PRIVATE, PORT) == []
    assert wider_than(state(name), PRIVATE, PORT) == []
    assert exposure(state(name), PORT)


@pytest.mark.parametrize("name", OURS)
def test_a_narrower_scope_is_a_change_and_ours_is_named_as_too_wide_until_then(name: str) -> None:
    assert len(changes(state(name), OFFICE, PORT)) == 1
    assert wider_than(state(name), OFFICE, PORT)


@pytest.mark.parametrize("name", OURS)
def test_another_port_and_a_wider_scope_are_changes_too(name: str) -> None:
    assert len(changes(state(name), PRIVATE, 8080)) == 1
    assert len(changes(state(name), ANY, PORT)) == 1
    assert missing(state(name), ANY, PORT)


@pytest.mark.parametrize("name", OURS)
def test_ours_is_taken_away_when_it_is_no_longer_wanted(name: str) -> None:
    [change] = changes(state(name), None, PORT)
    assert change.summary.startswith("no longer allow TCP 11434")


def test_in_ufw_only_what_differs_is_added_and_deleted() -> None:
    [change] = changes(state("ufw-ours-private"), Scope.parse(["10.0.0.0/8", "203.0.113.7"]), PORT)
    assert change.summary == (
        "allow TCP 11434 from 203.0.113.7, no longer allow TCP 11434 from 172.16.0.0/12, 192.168.0.0/16, "
        "fc00::/7 and fe80::/10 in ufw"
    )
    assert variables(change)["ADD_FIRST"] == ["203.0.113.7 11434"]


def test_ufw_without_ipv6_gets_no_ipv6_rules_and_misses_none() -> None:
    without = state("ufw-without-ipv6")
    [change] = changes(without, PRIVATE, PORT)
    assert not any(":" in rule for rule in items(variables(change)["ADD_FIRST"]))
    assert changes(without, ANY, PORT) == []
    assert missing(without, ANY, PORT) == []


def test_a_rule_that_ufw_has_written_but_not_loaded_is_loaded() -> None:
    half = state("ufw-not-loaded")
    assert missing(half, PRIVATE, PORT) == ["ufw refuses TCP 11434 from 10.0.0.0/8."]
    [change] = changes(half, PRIVATE, PORT)
    assert change.summary == "load the rule for TCP 11434 from 10.0.0.0/8 in ufw"
    assert variables(change)["DELETE"] == variables(change)["ADD_AGAIN"] == ["10.0.0.0/8 11434"]


def test_a_rule_that_ufw_has_loaded_and_no_longer_written_is_unloaded() -> None:
    half = state("ufw-leftover")
    assert "from 1.1.1.1:" in wider_than(half, PRIVATE, PORT)[0]
    [change] = changes(half, PRIVATE, PORT)
    assert variables(change)["ADD_FIRST"] == variables(change)["DELETE"] == ["1.1.1.1 11434"]


def test_a_rule_of_others_in_ufw_that_opens_the_port_to_all_is_named_and_left_alone() -> None:
    others = state("ufw-others-wider")
    assert wider_than(others, PRIVATE, PORT) == [
        "ufw lets TCP 11434 in from anywhere over IPv4: -A ufw-user-input -p tcp -m tcp --dport 11434 -j ACCEPT.",
        "ufw lets TCP 11434 in from anywhere over IPv6: -A ufw6-user-input -p tcp -m tcp --dport 11434 -j ACCEPT.",
    ]
    assert changes(others, PRIVATE, PORT) == []
    [change] = changes(others, None, PORT)
    assert "0.0.0.0/0 11434" not in items(variables(change)["DELETE"])


def test_rules_of_others_in_ufw_for_the_same_source_are_neither_replaced_nor_deleted() -> None:
    others = state("ufw-others-deny")  # deny 10.77.0.1 and 192.168.0.0/16, allow 172.16.0.0/12, then ours
    assert changes(others, PRIVATE, PORT) == []
    found = missing(others, PRIVATE, PORT)
    assert found[0] == "ufw refuses TCP 11434 from 192.168.0.0/16."
    assert "deny TCP 11434 from 192.168.0.0/16" in found[1]
    [change] = changes(others, None, PORT)
    assert items(variables(change)["DELETE"]) == ["10.0.0.0/8 11434", "fc00::/7 11434", "fe80::/10 11434"]


def test_ufw_that_is_switched_off_gives_ours_back() -> None:
    found = sections("ufw-ours-private")
    off = state_of(found | {"firewall.iptables": "", "firewall.ip6tables": "", "firewall.nft": ""})
    assert off.kind == "none"
    assert "ufw is enabled but its rules are not loaded" in " ".join(warnings(off))
    [change] = changes(off, PRIVATE, PORT)
    assert len(items(variables(change)["DELETE"])) == 5


def test_firewalld_gets_rich_rules_at_run_time_and_in_a_copy_of_the_zones_file() -> None:
    [change] = changes(state("firewalld-fresh"), OFFICE, PORT)
    rule = (
        'public rule priority="11434" family="ipv4" source address="10.77.0.0/24" '
        'port port="11434" protocol="tcp" accept'
    )
    values = variables(change)
    assert values["ADD"] == values["KEEP"] == [rule]
    assert values["FILES"] == ["/etc/firewalld/zones/public.xml"]
    assert values["SEEN"] == [""]


def test_a_zones_file_is_given_back_to_the_byte() -> None:
    own = '<?xml version="1.0"?>\n<!-- mine -->\n<zone><service name="ssh"/>   <port port="80" protocol="tcp"/></zone>'
    fresh = sections("firewalld-fresh") | {"firewall.firewalld.zone:public": own}
    [change] = changes(state_of(fresh), PRIVATE, PORT)
    [with_ours] = items(variables(change)["TEXTS"])
    assert with_ours != own
    after = sections("firewalld-ours-private") | {"firewall.firewalld.zone:public": with_ours}
    assert changes(state_of(after), PRIVATE, PORT) == []
    [change] = changes(state_of(after), None, PORT)
    assert variables(change)["TEXTS"] == [own]


def test_a_zones_file_that_was_not_there_is_deleted_again_unless_somebody_changed_it() -> None:
    [change] = changes(state("firewalld-ours-private"), None, PORT)
    assert variables(change)["TEXTS"] == [""]
    found = sections("firewalld-ours-private")
    edited = found["firewall.firewalld.zone:public"].replace("<forward/>", "<masquerade/>")
    [change] = changes(state_of(found | {"firewall.firewalld.zone:public": edited}), None, PORT)
    [text] = items(variables(change)["TEXTS"])
    assert "<masquerade/>" in text
    assert "11434" not in text


def test_ours_is_found_in_a_file_that_firewall_cmd_has_rewritten() -> None:
    rewritten = state("firewalld-rewritten")
    assert changes(rewritten, PRIVATE, PORT) == []
    [change] = changes(rewritten, None, PORT)
    [text] = items(variables(change)["TEXTS"])
    assert '<port port="7" protocol="tcp"/>' in text
    assert "11434" not in text


def test_a_rule_that_firewalld_only_runs_or_only_keeps_is_completed() -> None:
    found = sections("firewalld-ours-private")
    only_kept = state_of(found | {"firewall.firewalld.rules:public": "as 0\n"})
    [change] = changes(only_kept, PRIVATE, PORT)
    assert variables(change)["FILES"] == []
    assert len(items(variables(change)["ADD"])) == 5
    del found["firewall.firewalld.zone:public"]
    only_runs = state_of(found)
    assert "permanent zone public" in missing(only_runs, PRIVATE, PORT)[0]
    [change] = changes(only_runs, PRIVATE, PORT)
    assert variables(change)["ADD"] == []
    assert len(items(variables(change)["KEEP"])) == 5


def test_firewalld_zones_that_traffic_comes_in_by_get_ours_but_not_those_that_accept_or_shut_out() -> None:
    zones = {zone.name: zone for zone in state("firewalld-others-ours").firewalld.zones}
    assert {name for name, zone in zones.items() if zone.takes_ours} == {"public", "work"}
    assert {name for name, zone in zones.items() if zone.active} == {"public", "work", "trusted", "drop"}


def test_open_ports_and_trusted_sources_in_firewalld_are_named() -> None:
    found = wider_than(state("firewalld-others-ours"), PRIVATE, PORT)
    assert found == [
        "firewalld chain filter_INPUT_POLICIES lets TCP 11434 in from 203.0.113.0/24: ip saddr 203.0.113.0/24 accept.",
        "firewalld zone public lets TCP 11434 in from anywhere: tcp dport 11434 accept.",
    ]


def test_firewalld_that_does_not_answer_is_not_asked_to_change() -> None:
    found = sections("firewalld-ours-private")
    for name in ("default", "active", "rules:public"):
        del found[f"firewall.firewalld.{name}"]
    stopped = state_of(found | {"firewall.nft": ""})
    assert "does not answer" in " ".join(warnings(stopped))
    [change] = changes(stopped, PRIVATE, PORT)
    assert [variables(change)[name] for name in ("REMOVE", "ADD", "FORGET", "KEEP")] == [[], [], [], []]
    assert variables(change)["TEXTS"] == [""]


def test_a_broken_zone_file_is_named() -> None:
    found = sections("firewalld-fresh") | {"firewall.firewalld.zone:public": "<zone>"}
    with pytest.raises(CorralError, match=r"/etc/firewalld/zones/public\.xml is not valid XML"):
        changes(state_of(found), PRIVATE, PORT)


def test_nftables_rules_go_behind_others_and_cannot_break_the_load_at_boot() -> None:
    [change] = changes(state("nftables-fresh"), OFFICE, PORT)
    assert str(variables(change)["OWN_TEXT"]).splitlines()[2:] == [
        "add table inet filter",
        "add chain inet filter input",
        'add rule inet filter input ip saddr { 10.77.0.0/24 } tcp dport 11434 accept comment "corral: ollama"',
    ]


def test_nftables_rules_go_in_front_where_a_chain_ends_in_a_reject() -> None:
    [change] = changes(state("nftables-two-tables"), ANY, PORT)
    text = str(variables(change)["OWN_TEXT"])
    assert 'insert rule ip filter input tcp dport 11434 accept comment "corral: ollama"' in text
    assert 'add rule ip6 filter INPUT tcp dport 11434 accept comment "corral: ollama"' in text
    assert "f2b" not in text


@pytest.mark.parametrize("lost", ["firewall.nftables.own", "firewall.nftables.conf", "firewall.nft"])
def test_nftables_rules_that_are_only_loaded_or_only_kept_are_completed(lost: str) -> None:
    found, fresh = sections("nftables-ours-private"), sections("nftables-fresh")
    half = state_of(
        {name: text for name, text in found.items() if name != lost}
        | {name: text for name, text in fresh.items() if name == lost}
    )
    assert len(changes(half, PRIVATE, PORT)) == 1
    assert missing(half, PRIVATE, PORT)
    assert len(changes(half, None, PORT)) == 1


def test_an_nftables_ruleset_that_no_boot_loads_is_refused_with_the_remedy() -> None:
    found = sections("nftables-fresh")
    units = found["firewall.units"].replace("UnitFileState=enabled", "UnitFileState=disabled")
    fleeting = state_of(found | {"firewall.units": units})
    assert "does not load them at boot" in warnings(fleeting)[0]
    with pytest.raises(CorralError, match="systemctl enable nftables"):
        changes(fleeting, PRIVATE, PORT)


def test_two_firewalls_at_once_both_get_the_rule() -> None:
    both = state_of(
        sections("nftables-fresh")
        | {
            name: text
            for name, text in sections("ufw-fresh").items()
            if "ufw" in name or name in ("firewall.iptables", "firewall.ip6tables")
        }
    )
    assert both.kinds == ("ufw", "nftables")
    assert len(changes(both, PRIVATE, PORT)) == 2
    assert missing(both, PRIVATE, PORT)[0].startswith("ufw and nftables refuse TCP 11434")


def test_iptables_rules_by_hand_are_left_alone_with_the_commands_that_would_help() -> None:
    by_hand = state("iptables-by-hand")
    with pytest.raises(CorralError) as refusal:
        changes(by_hand, OFFICE, PORT)
    assert "iptables -I INPUT -p tcp -s 10.77.0.0/24 --dport 11434 -j ACCEPT" in refusal.value.remedy
    assert changes(by_hand, None, PORT) == []


def test_iptables_rules_by_hand_that_let_the_scope_in_are_fine() -> None:
    found = sections("iptables-by-hand")
    rule = "-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 11434 -j ACCEPT\n"
    head, policy, rest = found["firewall.iptables"].partition(":INPUT DROP [")
    counters, end, rest = rest.partition("\n")
    text = f"{head}{policy}{counters}{end}{rest}".replace("-A INPUT -i lo", f"{rule}-A INPUT -i lo")
    assert changes(state_of(found | {"firewall.iptables": text}), OFFICE, PORT) == []


def test_a_program_that_does_not_tell_its_rules_is_not_taken_for_no_firewall() -> None:
    dumb = state("none", **{"firewall.unreadable:nft": "Operation not permitted\n"})
    assert warnings(dumb) == ["corral can't tell what filters this host (nft: Operation not permitted)"]

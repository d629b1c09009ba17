"""Windows Defender Firewall: its rules read, judged and changed."""

from __future__ import annotations

from typing import Any

import pytest

from corral.errors import CorralError
from corral.firewall import windows as firewall
from corral.firewall.scope import Scope
from corral.firewall.windows import WindowsFirewall
from corral.scripts import Script
from tests.unit.windows_answer import OUR_RULE, OUR_RULE_STORED, answer, profile, state

PRIVATE = Scope.parse(["private"])
BLOCK = (
    "v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|App=C:\\Program Files\\Ollama\\0.34.4\\ollama.exe|Name=ollama|"
)


def seen(**changed: Any) -> WindowsFirewall:
    return state(**changed).firewall


def with_rule(identifier: str, text: str, **changed: Any) -> WindowsFirewall:
    return seen(rules=[*answer()["rules"], {"id": identifier, "rule": text}], **changed)


def test_a_rule_as_wanted_is_left_alone() -> None:
    assert firewall.changes(seen(), PRIVATE, 11434, False) == []
    assert firewall.missing(seen(), PRIVATE, 11434) == []
    assert firewall.wider_than(seen(), PRIVATE, 11434) == []
    assert list(firewall.warnings(seen())) == []


def test_without_a_rule_one_is_added_for_every_kind_of_network() -> None:
    (change,) = firewall.changes(seen(rule=None, rules=[]), PRIVATE, 11434, False)
    assert change.summary == (
        'Windows Defender Firewall: add the rule "ollama 11434": TCP 11434 from 10.0.0.0/8, 172.16.0.0/12, '
        "192.168.0.0/16, fc00::/7, fe80::/10"
    )
    assert isinstance(change.action, Script)
    assert (change.action.variables["There"], change.action.variables["Name"]) == (False, "corral-ollama-11434")


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("enabled", "False", "it is disabled"),
        ("action", "Block", "does not allow"),
        ("direction", "Outbound", "does not allow"),
        ("profile", "Private", "not for every kind of network"),
        ("protocol", "UDP", "it is for UDP 11434"),
        ("port", ["11435"], "it is for TCP 11435"),
        ("addresses", ["Any"], "it is for anywhere"),
        ("addresses", ["192.168.1.20"], "it is for 192.168.1.20"),
    ],
)
def test_a_rule_that_differs_is_changed(key: str, value: object, fault: str) -> None:
    found = seen(rule={**OUR_RULE, key: value})
    assert any(fault in sentence for sentence in firewall.missing(found, PRIVATE, 11434))
    (change,) = firewall.changes(found, PRIVATE, 11434, False)
    assert isinstance(change.action, Script)
    assert change.action.variables["There"] is True


def test_all_three_profiles_are_every_kind_of_network() -> None:
    assert firewall.changes(seen(rule={**OUR_RULE, "profile": "Domain, Private, Public"}), PRIVATE, 11434, False) == []


def test_everybody_is_any() -> None:
    (change,) = firewall.changes(seen(), Scope.parse(["any"]), 11434, False)
    assert isinstance(change.action, Script)
    assert change.action.variables["Addresses"] == ["Any"]
    assert firewall.changes(seen(rule={**OUR_RULE, "addresses": ["Any"]}), Scope.parse(["any"]), 11434, False) == []


@pytest.mark.parametrize("more", ["RA42=IntErnet|RA62=IntErnet|", "RA42=IntrAnet|", "RA4=Any|"])
def test_a_rule_for_a_network_that_only_windows_knows_lets_in_more_than_was_declared(more: str) -> None:
    text = f"v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=11434|RA4=10.1.0.0/255.255.0.0|{more}Name=x|"
    assert any("(x1)" in sentence for sentence in firewall.wider_than(with_rule("x1", text), PRIVATE, 11434))
    narrow = text.replace(more, "RA42=Ply2Renders|")
    assert not any("(x1)" in sentence for sentence in firewall.wider_than(with_rule("x1", narrow), PRIVATE, 11434))


def test_a_rule_for_ports_that_have_a_name_is_not_about_ours() -> None:
    text = "v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|LPort2_20=mDNS|Name=x|"
    firewall.check(with_rule("x1", text), PRIVATE, 11434, remove_blocks=False)


def test_a_rule_of_ours_for_another_port_is_removed() -> None:
    found = with_rule("corral-ollama-8080", OUR_RULE_STORED.replace("11434", "8080"))
    (change,) = firewall.changes(found, PRIVATE, 11434, False)
    assert isinstance(change.action, Script)
    assert (change.action.variables["Remove"], change.action.variables["Addresses"]) == (["corral-ollama-8080"], [])


def test_nothing_of_ours_is_left_where_the_firewall_is_not_ours_to_open() -> None:
    (change,) = firewall.changes(seen(), None, 11434, False)
    assert change.summary == "Windows Defender Firewall: remove the rule corral-ollama-11434"
    assert firewall.changes(seen(rule=None, rules=[]), None, 11434, False) == []


def test_a_rule_that_blocks_our_program_is_an_error_that_says_how_to_remove_it() -> None:
    found = with_rule("TCP Query User{1}", BLOCK)
    with pytest.raises(CorralError, match=r"Remove-NetFirewallRule -Name 'TCP Query User\{1\}'"):
        firewall.check(found, PRIVATE, 11434, remove_blocks=False)
    firewall.check(found, PRIVATE, 11434, remove_blocks=True)
    (change,) = firewall.changes(found, PRIVATE, 11434, remove_blocks=True)
    assert isinstance(change.action, Script)
    assert change.action.variables["Remove"] == ["TCP Query User{1}"]
    assert any("blocks TCP 11434" in sentence for sentence in firewall.missing(found, PRIVATE, 11434))


def test_a_group_policys_rule_that_blocks_cannot_be_removed() -> None:
    found = seen(policy_rules=[{"id": "{G}", "rule": BLOCK}])
    with pytest.raises(CorralError, match="Have the policy changed"):
        firewall.check(found, PRIVATE, 11434, remove_blocks=True)
    assert firewall.changes(found, PRIVATE, 11434, remove_blocks=True) == []


@pytest.mark.parametrize(
    "text",
    [
        BLOCK.replace("Dir=In", "Dir=Out"),
        BLOCK.replace("Active=TRUE", "Active=FALSE"),
        BLOCK.replace("Protocol=6", "Protocol=17"),
        BLOCK.replace(r"C:\Program Files\Ollama\0.34.4\ollama.exe", r"C:\Users\me\Programs\Ollama\ollama.exe"),
        BLOCK.replace("Protocol=6|", "Protocol=6|LPort=80|LPort2_10=100-200|"),
        BLOCK.replace("Protocol=6|", "Protocol=6|LPort=RPC|"),
    ],
)
def test_rules_about_something_else_do_not_matter(text: str) -> None:
    firewall.check(with_rule("other", text), PRIVATE, 11434, remove_blocks=False)


@pytest.mark.parametrize(
    "text",
    [
        BLOCK.replace(r"C:\Program Files", "%ProgramFiles%"),
        BLOCK.replace(r"App=C:\Program Files\Ollama\0.34.4\ollama.exe|", "LPort2_10=11000-12000|"),
        BLOCK.replace("Protocol=6|", ""),
    ],
)
def test_rules_about_our_port_or_program_do(text: str) -> None:
    with pytest.raises(CorralError, match="what blocks wins"):
        firewall.check(with_rule("other", text), PRIVATE, 11434, remove_blocks=False)


def test_a_rule_of_somebody_that_lets_in_more_is_named() -> None:
    found = with_rule("theirs", "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=11434|Name=mine|")
    assert firewall.wider_than(found, PRIVATE, 11434) == [
        'Windows Defender Firewall: the rule "mine" (theirs) lets anywhere reach TCP 11434.'
    ]


def test_a_rule_for_the_local_subnet_lets_in_the_hosts_own_networks() -> None:
    text = "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=11434|RA4=LocalSubnet|RA6=LocalSubnet|Name=mine|"
    assert firewall.wider_than(with_rule("theirs", text), PRIVATE, 11434) == []
    public = with_rule("theirs", text, addresses=["203.0.113.7/24"])
    assert len(firewall.wider_than(public, PRIVATE, 11434)) == 1


def test_a_policy_that_ignores_local_rules_everywhere_is_an_error_and_somewhere_a_warning() -> None:
    names = ("Domain", "Private", "Public")
    deaf = seen(profiles=[profile(name, local="False") for name in names])
    with pytest.raises(CorralError, match="group policy"):
        firewall.check(deaf, PRIVATE, 11434, False)
    some = seen(profiles=[profile(name, local="False" if name == "Domain" else "True") for name in names])
    firewall.check(some, PRIVATE, 11434, False)
    assert any("networks of the kind Domain" in text for text in firewall.warnings(some))


def test_a_firewall_that_is_off_is_warned_about() -> None:
    off = seen(profiles=[profile(name, enabled="False") for name in ("Domain", "Private", "Public")])
    assert not off.filters
    assert any("no firewall refuses anything" in text for text in firewall.warnings(off))
    partly = seen(profiles=[profile("Domain"), profile("Private", inbound="Allow"), profile("Public", rules="False")])
    assert partly.filters
    said = list(firewall.warnings(partly))
    assert any("refuses nothing in networks of the kind Private" in text for text in said)
    assert any("refuses all that comes in" in text and "Public" in text for text in said)
    assert firewall.wider_than(partly, PRIVATE, 11434) == [
        "Windows Defender Firewall refuses nothing in networks of the kind Private."
    ]

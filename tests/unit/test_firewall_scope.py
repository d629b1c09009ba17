"""allow_from, read into a scope."""

from __future__ import annotations

import pytest

from corral.errors import CorralError
from corral.firewall import Scope
from corral.firewall.addresses import EVERYWHERE, IPV4, Addresses


def networks(*values: str) -> list[str]:
    return [str(network) for network in Scope.parse(values).networks]


def test_private_means_the_private_ranges_of_both_families() -> None:
    assert networks("private") == ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"]


def test_any_means_everybody_and_is_shown_so() -> None:
    assert networks("any") == ["0.0.0.0/0", "::/0"]
    assert str(Scope.parse(["any"])) == "anywhere"


def test_networks_are_collapsed_and_sorted_whatever_the_order_they_are_written_in() -> None:
    values = ["fd00:2::/64", "192.168.1.128/25", "10.1.2.3", "192.168.1.0/25", "10.1.2.3/32", "fd00:1::/64"]
    assert networks(*values) == ["10.1.2.3/32", "192.168.1.0/24", "fd00:1::/64", "fd00:2::/64"]
    assert Scope.parse(values) == Scope.parse(values[::-1])


def test_a_network_inside_another_one_disappears_in_it() -> None:
    assert networks("private", "10.77.0.0/24") == networks("private")


def test_a_scope_is_shown_with_single_addresses_bare() -> None:
    assert str(Scope.parse(["203.0.113.7", "10.0.0.0/8"])) == "10.0.0.0/8, 203.0.113.7"


@pytest.mark.parametrize(
    ("source", "inside"),
    [
        ("10.77.0.1", True),
        ("192.168.0.0/17", True),
        ("198.51.100.20", False),
        ("172.0.0.0/8", False),
        ("fe80::1", True),
    ],
)
def test_a_scope_knows_whom_it_covers(source: str, inside: bool) -> None:
    assert Scope.parse(["private"]).covers(source) is inside


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "allow_from is empty"),
        (["any", "10.0.0.0/8"], "10.0.0.0/8"),
        (["any", "any"], "any again"),
        (["lan"], '"lan" is not a network'),
        (["10.0.0.300"], '"10.0.0.300"'),
        (["192.168.1.7/24"], "Write 192.168.1.0/24 for the whole network or 192.168.1.7 for that address alone"),
        (["0.0.0.0/0"], 'Write "any" alone'),
        (["0.0.0.0/1", "128.0.0.0/1"], 'Write "any" alone'),
        (["::/0", "10.0.0.0/8"], 'Write "any" alone'),
        (["fe80::1%eth0"], "names an interface"),
        (["127.0.0.1"], "not an address of another machine"),
        (["224.0.0.1"], "not an address of another machine"),
    ],
)
def test_a_value_that_is_no_network_is_refused_with_its_name_and_the_remedy(values: list[str], words: str) -> None:
    with pytest.raises(CorralError) as refusal:
        Scope.parse(values)
    assert "allow_from" in str(refusal.value)
    assert words in str(refusal.value)


def test_sets_of_addresses_subtract_to_the_address() -> None:
    rest = Addresses.parse("10.0.0.0/30", "fd00::/127") - Addresses.parse("10.0.0.1", "fd00::1")
    assert [str(network) for network in rest.networks()] == ["10.0.0.0/32", "10.0.0.2/31", "fd00::/128"]


def test_the_last_ipv4_address_and_the_first_ipv6_address_are_no_neighbours() -> None:
    both = Addresses.parse("255.255.255.255", "::")
    assert [str(network) for network in both.networks()] == ["255.255.255.255/32", "::/128"]
    assert str(EVERYWHERE - IPV4) == "anywhere over IPv6"


def test_a_long_list_is_cut_for_people() -> None:
    assert str(IPV4 - Addresses.parse("10.0.0.1")).endswith(" more")

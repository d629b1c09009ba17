"""What filters packets on a host, as the probe found it."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from corral.firewall import firewalld, iptables, nft_ruleset, nftables, routes, ufw
from corral.firewall.firewalld import FirewalldState
from corral.firewall.iptables import Filter
from corral.firewall.kernel import Hook
from corral.firewall.nft_ruleset import Table
from corral.firewall.nftables import NftablesState
from corral.firewall.routes import Routes
from corral.firewall.ufw import UfwState

Kind = Literal["none", "ufw", "firewalld", "nftables", "iptables"]


@dataclass(frozen=True)
class FirewallState:
    """Everything that one probe tells about a host's firewall.

    kinds: what is active, usually one; empty when nothing refuses connections. hooks: every base chain
    that a packet for this host passes. routes: where packets come from.
    unreadable: programs that could not say what is loaded, with what they said instead.
    """

    kinds: tuple[Kind, ...]
    ufw: UfwState
    firewalld: FirewalldState
    nftables: NftablesState
    hooks: tuple[Hook, ...]
    routes: Routes
    unreadable: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """The one to name to people: "none" when nothing is active."""
        return self.kinds[0] if self.kinds else "none"


def parse(sections: Mapping[str, str]) -> FirewallState:
    """Read the sections "firewall.*" of a probe; a section that is missing means that its tool is."""
    known_routes = routes.parse(sections.get("firewall.routes4", ""), sections.get("firewall.routes6", ""))
    listed = nft_ruleset.parse(
        _unpacked(sections.get("firewall.nft", "")),
        sets_known="firewall.nft.terse" not in sections,
    )
    filters = [
        found
        for name, version in (
            ("iptables", 4),
            ("iptables-legacy", 4),
            ("ip6tables", 6),
            ("ip6tables-legacy", 6),
        )
        for found in iptables.parse(_unpacked(sections.get(f"firewall.{name}", "")), version)
    ]
    tables, filters = _told_apart(listed, filters, sections.get("firewall.nftables.conf", ""))
    ufw_state = ufw.parse(sections, filters)
    firewalld_state = firewalld.parse(sections)
    nftables_state = nftables.parse(sections, tables, known_routes)
    by_hand = not ufw_state.active and not firewalld_state.active
    hooks = (*_filter_hooks(filters), *_table_hooks(tables))
    refusing_by_hand = by_hand and any(
        hook.refuses_by_default(known_routes.arrivals) for hook in _filter_hooks(filters)
    )
    active: list[tuple[Kind, bool]] = [
        ("ufw", ufw_state.active),
        ("firewalld", firewalld_state.active),
        ("nftables", nftables_state.active),
        ("iptables", refusing_by_hand),
    ]
    return FirewallState(
        kinds=tuple(kind for kind, is_active in active if is_active),
        ufw=ufw_state,
        firewalld=firewalld_state,
        nftables=nftables_state,
        hooks=hooks,
        routes=known_routes,
        unreadable=tuple(
            f"{name.partition(':')[2]}: {' '.join(text.split())}"
            for name, text in sections.items()
            if name.startswith("firewall.unreadable:")
        ),
    )


def _unpacked(text: str) -> str:
    """The probe packs rules, which are long and repeat themselves."""
    return gzip.decompress(base64.b64decode(text)).decode() if text else ""


def _told_apart(tables: tuple[Table, ...], filters: list[Filter], conf: str) -> tuple[tuple[Table, ...], list[Filter]]:
    """Tables that are the administrator's, and filters that are iptables'.

    iptables keeps its rules in nftables tables too, named "ip filter" and so on, and shows a table of that
    name as its own whoever made it. The one that nftables.conf declares is the administrator's.
    """
    native: list[Table] = []
    left = list(filters)
    for table in tables:
        version = {"ip": 4, "ip6": 6}.get(table.family)
        shown = [each for each in left if each.version == version]
        if table.name not in _IPTABLES or version is None or not shown:
            native.append(table)
        elif re.search(_declared(table), conf, re.MULTILINE):
            native.append(table)
            if table.name == "filter":
                left = [each for each in left if each.version != version]
    return tuple(native), left


def _declared(table: Table) -> str:
    family = r"(?:ip\s+)?" if table.family == "ip" else rf"{table.family}\s+"
    return rf"^\s*(?:add\s+)?table\s+{family}{table.name}\b"


_IPTABLES = ("filter", "nat", "mangle", "raw", "security")


def _filter_hooks(filters: list[Filter]) -> list[Hook]:
    return [each.hook(partial(_place, version=each.version)) for each in filters]


def _place(chain: str, version: int) -> str:
    """How people find a chain made by ufw, by firewalld's older backend, or by hand."""
    return firewalld.place(chain) if chain.startswith("IN_") else ufw.place(chain, version)


def _table_hooks(tables: tuple[Table, ...]) -> list[Hook]:
    return [
        table.hook(chain, policy_accepts, firewalld.place if table.name == "firewalld" else None)
        for table in tables
        for chain, _, policy_accepts in table.hooks
    ]

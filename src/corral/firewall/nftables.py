"""nftables without another tool: a ruleset that the administrator keeps in /etc/nftables.conf.

Ours are rules with the comment "corral: ollama" in every base chain on the way in that refuses what it
does not know. They are kept in /etc/corral/nftables/ollama.nft, which a marked line at the end of
nftables.conf includes, behind everything that the chains are made of. The line's wildcard makes a missing
file no error, and the file declares the chains that it needs, so that nothing of ours can keep the
administrator's ruleset from loading at boot.

The loaded ruleset gets just our rules, in one transaction: sets, counters and rules that others have
added at run time stay. Ours go to the end of a chain, where whoever denies something keeps denying it,
except in a chain that ends in a drop or reject of its own: there they go to the front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from corral.changes import Change
from corral.errors import CorralError
from corral.firewall.addresses import EVERYWHERE, Addresses
from corral.firewall.kernel import Rule, Verdict
from corral.firewall.nft_ruleset import FAMILIES, Table
from corral.firewall.routes import Arrival, Routes
from corral.firewall.scope import Scope
from corral.scripts import Script

COMMENT = "corral: ollama"
OWN_FILE = "/etc/corral/nftables/ollama.nft"
INCLUDE = f'include "/etc/corral/nftables/*.nft" # {COMMENT}'
# firewalld's tables are its own business, whatever its version calls them.
_OTHERS = ("firewalld",)


@dataclass(frozen=True)
class NftablesState:
    """What is loaded, and what will be at boot.

    tables: those that no other tool looks after. arrivals: the ways in. conf_path, conf: the file that
    nftables.service loads, conf None where there is none. enabled: the service does so at boot. own_file:
    the text of ours.
    """

    tables: tuple[Table, ...]
    arrivals: tuple[Arrival, ...]
    conf_path: str
    conf: str | None
    enabled: bool
    own_file: str | None

    @property
    def active(self) -> bool:
        """Does a chain of the administrator's refuse what it does not know?"""
        return any(True for _ in _refusing(self))

    @property
    def lasting(self) -> bool:
        """Will it be loaded at boot?"""
        return self.enabled and self.conf is not None

    @property
    def included(self) -> bool:
        """Has nftables.conf our line?"""
        return any(line.startswith(INCLUDE) for line in (self.conf or "").splitlines())


@dataclass(frozen=True)
class _Place:
    """A base chain that needs a rule of ours. first: in front of its rules, else behind them."""

    table: Table
    chain: str
    first: bool

    def rules(self, scope: Scope, port: int) -> list[str]:
        """Statements that add ours: one for each family that the chain sees."""
        table = f"{self.table.family} {self.table.name}"
        verb = "insert" if self.first else "add"
        matches = [f"tcp dport {port}"]
        if not scope.is_any:
            matches = [
                f"{family} saddr {{ {', '.join(str(each) for each in networks)} }} tcp dport {port}"
                for family, version in (("ip", 4), ("ip6", 6))
                if (networks := scope.of_family(version)) and self.table.family in (family, "inet")
            ]
        return [f'{verb} rule {table} {self.chain} {match} accept comment "{COMMENT}"' for match in matches]

    def declaration(self) -> list[str]:
        """Statements without effect where table and chain are there, as they should be."""
        table = f"{self.table.family} {self.table.name}"
        return [f"add table {table}", f"add chain {table} {self.chain}"]


def parse(sections: Mapping[str, str], tables: tuple[Table, ...], known: Routes) -> NftablesState:
    """Read the files; tables are those that are not made by iptables."""
    return NftablesState(
        tables=tuple(table for table in tables if table.name not in _OTHERS),
        arrivals=known.arrivals,
        conf_path=sections.get("firewall.nftables.path", "/etc/nftables.conf"),
        conf=sections.get("firewall.nftables.conf"),
        enabled=bool(
            re.search(r"Id=nftables\.service\n(?:.+\n)*?UnitFileState=enabled", sections.get("firewall.units", ""))
        ),
        own_file=sections.get("firewall.nftables.own"),
    )


def changes(state: NftablesState, scope: Scope | None, port: int) -> list[Change]:
    """What to do so that ours are there, or gone when scope is None or nothing refuses by default.

    Raises CorralError when a rule could not survive a reboot, because nftables.service is not enabled.
    """
    places = list(_refusing(state)) if scope else []
    if scope and places:
        if not state.lasting:
            raise CorralError(
                f"{_chain_names(places)} refuses connections, but nftables.service does not load it at boot, "
                "so a rule for Ollama would be gone after a reboot",
                f"Put the ruleset into {state.conf_path} and run systemctl enable nftables, or let "
                f"TCP {port} in from {scope} where the ruleset comes from",
            )
        text = _own_file(places, scope, port)
        loaded = _is_loaded(state, places, scope, port)
        if state.own_file == text and state.included and loaded:
            return []
        return [_change(state, text, f"allow TCP {port} from {scope} in {_chain_names(places)} of nftables")]
    if state.own_file is None and not state.included and not any(_own_rules(state)):
        return []
    ports = sorted({low for _, _, rule in _own_rules(state) for low, _ in rule.ports or ()}) or [port]
    summary = f"no longer allow TCP {', '.join(map(str, ports))} in nftables"
    return [_change(state, "", summary)]


def not_kept(state: NftablesState, scope: Scope, port: int) -> bool:
    """Would rules of ours be missing after a reboot?"""
    text = _own_file(list(_refusing(state)), scope, port)
    return not (state.enabled and state.included and state.own_file == text)


def _change(state: NftablesState, text: str, summary: str) -> Change:
    variables = {
        "COMMENT": COMMENT,
        "CONF": state.conf_path,
        "INCLUDE": INCLUDE,
        "OWN_FILE": OWN_FILE,
        "OWN_TEXT": text,
    }
    return Change(summary, Script("firewall/nftables.sh", variables))


def _refusing(state: NftablesState) -> Iterator[_Place]:
    """The base chains that would refuse a port that they do not know, were ours not there."""
    for table in state.tables:
        bare = table.without(COMMENT)
        for chain, _, policy_accepts in table.hooks:
            hook = bare.hook(chain, policy_accepts)
            # A table that a running program owns is closed to everybody else.
            if not table.owned and hook.refuses_by_default(state.arrivals):
                yield _Place(table, chain, first=hook.refuses_by_rule(state.arrivals))


def _own_rules(state: NftablesState) -> Iterator[tuple[Table, str, Rule]]:
    for table in state.tables:
        for chain, rules in table.chains.items():
            for rule in rules:
                if rule.comment == COMMENT:
                    yield table, chain, rule


def _is_loaded(state: NftablesState, places: list[_Place], scope: Scope, port: int) -> bool:
    """Are our rules in the kernel where they are wanted, effective there, and nowhere else?"""
    found: dict[tuple[str, str, str], Addresses] = {}
    for table, chain, rule in _own_rules(state):
        plain = rule.certain and rule.verdict is Verdict.ACCEPT and rule.ports == ((port, port),)
        if not plain:
            return False
        key = (table.family, table.name, chain)
        found[key] = found.get(key, Addresses()) | rule.sources & FAMILIES[table.family]
    wanted = {}
    for place in places:
        sees = FAMILIES[place.table.family]
        if place.rules(scope, port):
            wanted[(place.table.family, place.table.name, place.chain)] = scope.addresses & sees
    return found == wanted and all(_is_reached(state, place, port) for place in places if place.first)


def _is_reached(state: NftablesState, place: _Place, port: int) -> bool:
    hook = place.table.hook(place.chain, policy_accepts=False)
    return any(each.rule.comment == COMMENT for arrival in state.arrivals for each in hook.accepts(port, arrival)[0])


def _own_file(places: list[_Place], scope: Scope, port: int) -> str:
    whom = "anywhere" if scope.addresses == EVERYWHERE else str(scope)
    lines = [
        f"# {COMMENT}: lets TCP {port} in from {whom}.",
        "# Written by corral, which will write it anew and delete it when it is no longer wanted.",
    ]
    for place in places:
        lines += [*place.declaration(), *place.rules(scope, port)]
    return "\n".join(lines) + "\n"


def _chain_names(places: list[_Place]) -> str:
    names = [f"{place.table.family} {place.table.name} {place.chain}" for place in places]
    return f"chain{'s' if len(names) > 1 else ''} {' and '.join(names)}"

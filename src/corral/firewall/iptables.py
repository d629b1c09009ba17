"""`iptables-save` and `ip6tables-save`, read into the model of kernel.py.

The same reader serves for ufw and for firewalld's older backend, which both make such rules, and for
rules made by hand, which corral reads and never writes.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network

from corral.firewall.addresses import IPV4, IPV6, Addresses
from corral.firewall.kernel import Hook, InterfaceMatch, PortRange, Rule, Verdict


@dataclass(frozen=True)
class Filter:
    """The filter table of one family: policies of built-in chains and the rules of all chains."""

    version: int
    policy_accepts: bool
    chains: dict[str, tuple[Rule, ...]]

    def hook(self, place: Callable[[str], str]) -> Hook:
        """Its chain INPUT as the model wants it."""
        return Hook(
            name=f"{_program(self.version)} chain INPUT",
            sees=IPV4 if self.version == 4 else IPV6,
            entry="INPUT",
            policy_accepts=self.policy_accepts,
            chains=self.chains,
            place=place,
        )


def chains(text: str, version: int) -> dict[str, tuple[Rule, ...]]:
    """The rules of all chains in text such as iptables-restore reads, whatever their table."""
    found: dict[str, tuple[Rule, ...]] = {}
    for line in text.splitlines():
        if line.startswith("-A "):
            name = line.split()[1]
            found[name] = (*found.get(name, ()), *_rule(line, version))
    return found


def parse(text: str, version: int) -> list[Filter]:
    """The filter tables in the output of iptables-save, which is one for each backend in use.

    version: 4 for iptables-save, 6 for ip6tables-save.
    """
    found: list[Filter] = []
    table = ""
    policy_accepts = True
    rules: dict[str, list[Rule]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            table, policy_accepts, rules = line[1:], True, {}
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            rules[name] = []
            if name == "INPUT":
                policy_accepts = policy == "ACCEPT"
        elif line.startswith("-A "):
            chain = line.split()[1]
            rules.setdefault(chain, []).extend(_rule(line, version))
        elif line == "COMMIT" and table == "filter" and "INPUT" in rules:
            chains = {name: tuple(each) for name, each in rules.items()}
            found.append(Filter(version, policy_accepts, chains))
    return found


def _program(version: int) -> str:
    return "iptables" if version == 4 else "ip6tables"


@dataclass
class _Conditions:
    """What the options of one rule add up to. possible: can a new TCP connection fulfil them?"""

    sources: Addresses
    ports: tuple[PortRange, ...] | None = None
    interfaces: list[InterfaceMatch] = field(default_factory=list)
    certain: bool = True
    possible: bool = True
    verdict: Verdict | None = None
    target: str = ""
    comment: str = ""


def _rule(line: str, version: int) -> Iterator[Rule]:
    conditions = _Conditions(IPV4 if version == 4 else IPV6)
    for option, values, negated in _options(shlex.split(line)[2:]):
        _apply(conditions, option, values, negated)
    if conditions.verdict is None or not conditions.possible or not conditions.sources:
        return
    yield Rule(
        verdict=conditions.verdict,
        text=line,
        sources=conditions.sources,
        ports=conditions.ports,
        interfaces=tuple(conditions.interfaces),
        certain=conditions.certain,
        target=conditions.target,
        comment=conditions.comment,
    )


def _options(words: list[str]) -> Iterator[tuple[str, list[str], bool]]:
    """Options with their values and whether a "!" is in front."""
    option, negated, next_negated = "", False, False
    values: list[str] = []
    for word in words:
        if word == "!":
            next_negated = True
        elif word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            if option:
                yield option, values, negated
            option, values, negated, next_negated = word, [], next_negated, False
        else:
            values.append(word)
    if option:
        yield option, values, negated


_VERDICTS = {
    "ACCEPT": Verdict.ACCEPT,
    "DROP": Verdict.REFUSE,
    "REJECT": Verdict.REFUSE,
    "RETURN": Verdict.RETURN,
    "NFQUEUE": Verdict.ACCEPT,
    "LOG": None,
    "NFLOG": None,
    "AUDIT": None,
    "MARK": None,
    "CONNMARK": None,
}


def _apply(conditions: _Conditions, option: str, values: list[str], negated: bool) -> None:
    value = values[0] if values else ""
    match option:
        case "-s":
            named = Addresses.of([ip_network(value)])
            conditions.sources = conditions.sources - named if negated else conditions.sources & named
        case "-p":
            conditions.possible &= (value in ("tcp", "6", "all")) != negated
        case "--dport" | "--dports":
            ranges = tuple(_port_range(text) for text in value.split(","))
            if negated:
                conditions.certain = False
            else:
                conditions.ports = ranges
        case "-i":
            conditions.interfaces.append(InterfaceMatch((value.replace("+", "*"),), negated))
        case "--ctstate" | "--state":
            conditions.possible &= ("NEW" in value.split(",")) != negated
        case "-d" if ip_network(value).is_multicast and not negated:
            conditions.possible = False
        case "--pkt-type" if value in ("broadcast", "multicast") and not negated:
            conditions.possible = False
        case "-j" | "-g" if value in _VERDICTS:
            conditions.verdict = _VERDICTS[value]
            conditions.certain &= value != "NFQUEUE"
        case "-j" | "-g":
            conditions.verdict = Verdict.JUMP if option == "-j" else Verdict.GOTO
            conditions.target = value
        case "--comment":
            conditions.comment = value
        case "-m" if value in ("tcp", "multiport", "conntrack", "state", "comment", "pkttype"):
            pass
        case "--reject-with" | "--log-prefix" | "--log-level":
            pass
        case _:
            conditions.certain = False


def _port_range(text: str) -> PortRange:
    low, _, high = text.partition(":")
    return int(low), int(high or low)

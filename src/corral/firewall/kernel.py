"""What the kernel's packet filter does with a new TCP connection: a model of its rules, and one question.

The question is which source addresses a port is open to, and which rule opens it. It is asked of the
rules that are loaded, whichever tool made them, so that nothing rests on what a tool believes.

Where a rule has a condition that is not modelled (a mark, a rate, a destination), the answer errs on the
open side: an accept counts, a drop does not. Filters outside the input hook (prerouting, ingress) and
port forwarding are not followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatchcase

from corral.firewall.addresses import EVERYWHERE, IPV4, IPV6, NEVER_REMOTE, Addresses
from corral.firewall.routes import Arrival, Routes

PortRange = tuple[int, int]


class Verdict(Enum):
    """What a rule does with what it matches."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"


@dataclass(frozen=True)
class InterfaceMatch:
    """The interface is one of these names or patterns such as "eth*"; or none of them, if negated."""

    patterns: tuple[str, ...]
    negated: bool = False

    def holds(self, interface: str) -> bool:
        """Does it hold for packets that come in on an interface?"""
        return any(fnmatchcase(interface, pattern) for pattern in self.patterns) != self.negated


@dataclass(frozen=True)
class Rule:
    """A rule that can decide about a new TCP connection from another machine.

    sources: the addresses it matches. ports: the TCP ports it matches, None for all of them.
    interfaces: what the name of the interface must be, each of them.
    certain: no further condition that is not modelled. target: the chain of a jump or goto.
    text: the rule as its tool prints it. comment: the rule's comment.
    """

    verdict: Verdict
    text: str
    sources: Addresses = EVERYWHERE
    ports: tuple[PortRange, ...] | None = None
    interfaces: tuple[InterfaceMatch, ...] = ()
    certain: bool = True
    target: str = ""
    comment: str = ""

    def matches(self, port: int, interface: str) -> bool:
        """Does it match this destination port and interface?"""
        return (self.ports is None or any(low <= port <= high for low, high in self.ports)) and all(
            each.holds(interface) for each in self.interfaces
        )


@dataclass(frozen=True)
class Hook:
    """A base chain on the way into the host, with all that can be reached from it.

    name: for people, as in "nftables chain inet filter input". sees: the addresses (a family or both)
    whose packets pass here. entry: the name of the base chain. chains: rules by chain name.
    place: how people find a chain by its name.
    """

    name: str
    sees: Addresses
    entry: str
    policy_accepts: bool
    chains: Mapping[str, Sequence[Rule]]
    place: Callable[[str], str]

    def accepts(self, port: int, arrival: Arrival) -> tuple[list[Accepted], Addresses]:
        """What rules accept here, and what no rule decides, so that the policy does."""
        arriving = self.sees & arrival.sources
        return self._walk(self.entry, arriving, arriving, port, arrival.interface)

    def refuses_by_default(self, arrivals: Iterable[Arrival]) -> bool:
        """Is a connection refused to a port that no rule names, on one of the ways in?"""
        return any(self._refuses(arrival) for arrival in arrivals)

    def refuses_by_rule(self, arrivals: Iterable[Arrival]) -> bool:
        """Does a rule do that, so that nothing reaches the end of the chain?"""
        return any(self._refuses(arrival) and not self.accepts(_NAMED_BY_NOBODY, arrival)[1] for arrival in arrivals)

    def _refuses(self, arrival: Arrival) -> bool:
        accepted, undecided = self.accepts(_NAMED_BY_NOBODY, arrival)
        if undecided:
            return not self.policy_accepts
        return not self.sees & arrival.sources <= union(each.sources for each in accepted)

    def _walk(
        self, chain: str, named: Addresses, arriving: Addresses, port: int, interface: str
    ) -> tuple[list[Accepted], Addresses]:
        """What rules of a chain accept, and what leaves it undecided.

        named: what the rules that jump here match. arriving: what of it no rule before has decided.
        """
        accepted: list[Accepted] = []
        returned = Addresses()
        for rule in self.chains.get(chain, ()):
            matched = arriving & rule.sources
            if not matched or not rule.matches(port, interface):
                continue
            left = Addresses()
            if rule.verdict is Verdict.ACCEPT:
                accepted.append(Accepted(rule, self.place(chain), named & rule.sources, matched))
            elif rule.verdict is Verdict.RETURN:
                returned |= matched
            elif rule.verdict in (Verdict.JUMP, Verdict.GOTO):
                inside, undecided = self._walk(rule.target, named & rule.sources, matched, port, interface)
                accepted += inside
                if rule.verdict is Verdict.JUMP:
                    left = undecided
                else:
                    returned |= undecided
            if rule.certain:
                arriving = (arriving - matched) | left
        return accepted, arriving | returned


@dataclass(frozen=True)
class Accepted:
    """What one rule accepts, and where that rule is.

    named: the sources that it names. sources: those of them that no rule before has decided.
    """

    rule: Rule
    place: str
    named: Addresses
    sources: Addresses


@dataclass(frozen=True)
class Opening:
    """Sources that reach a port through every filter, and why.

    why: a sentence.
    """

    sources: Addresses
    why: str


# No service listens on TCP port 0, so no rule names it: it stands for "some other port".
_NAMED_BY_NOBODY = 0


def openings(hooks: Sequence[Hook], port: int, routes: Routes) -> list[Opening]:
    """Which sources can open a connection to a port, and which rules let them."""
    named: dict[tuple[str, Rule], tuple[Addresses, Addresses]] = {}
    unnamed = Addresses()
    for arrival in routes.arrivals:
        explicit, rest = _openings_on(hooks, port, arrival)
        unnamed |= rest
        for each in explicit:
            before = named.get((each.place, each.rule), (Addresses(), Addresses()))
            named[each.place, each.rule] = (before[0] | each.named, before[1] | each.sources)
    found = [
        Opening(sources, f"{place} lets TCP {port} in from {origin}: {rule.text}.")
        for (place, rule), (origin, sources) in named.items()
    ]
    # What is open because nothing closes it counts as far as other machines are reached. What a rule opens
    # counts in full: who writes a rule for the internet means it, connected or not.
    if unnamed := unnamed & routes.remote:
        names = [hook.name for hook in hooks if hook.sees & unnamed]
        verb = "accepts" if len(names) == 1 else "accept"
        because = f"{' and '.join(names)} {verb} what no rule refuses" if names else "nothing filters it"
        whole = union(family for family in (IPV4, IPV6) if family - NEVER_REMOTE <= unnamed)
        shown = "anywhere" if routes.remote <= unnamed else str(unnamed | whole)
        found.append(Opening(unnamed, f"TCP {port} is open to {shown}: {because}."))
    return found


def _openings_on(hooks: Sequence[Hook], port: int, arrival: Arrival) -> tuple[list[Accepted], Addresses]:
    """What gets through all hooks on one way in: by rules, and the rest."""
    through = arrival.sources - NEVER_REMOTE
    explicit: list[Accepted] = []
    for hook in hooks:
        accepted, undecided = hook.accepts(port, arrival)
        let_in = union(each.sources for each in accepted)
        if hook.policy_accepts:
            let_in |= undecided
        through &= let_in | hook.sees.complement()
        explicit += accepted
    effective = [replace(each, sources=each.sources & through) for each in explicit]
    effective = [each for each in effective if each.sources]
    return effective, through - union(each.sources for each in effective)


def union(sets: Iterable[Addresses]) -> Addresses:
    """All of them together."""
    union = Addresses()
    for each in sets:
        union |= each
    return union

"""What the kernel's packet filter does with a new TCP connection: a model of its rules, and one question.

The question is which source addresses a port is open to, and which rule opens it. It is asked of the
rules that are loaded, whichever tool made them, so that nothing rests on what a tool believes.

Where a rule has a condition that is not modelled (a mark, a rate, a destination), the answer errs on the
open side: an accept counts, a drop does not. Filters outside the input hook (prerouting, ingress) and
port forwarding are not followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from corral.firewall.addresses import EVERYWHERE, Addresses

PortRange = tuple[int, int]


class Verdict(Enum):
    """What a rule does with what it matches."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"


@dataclass(frozen=True)
class Rule:
    """A rule that can decide about a new TCP connection from another machine.

    sources: the addresses it matches. ports: the TCP ports it matches, None for all of them.
    certain: no further condition that is not modelled. target: the chain of a jump or goto.
    text: the rule as its tool prints it. comment: the rule's comment.
    """

    verdict: Verdict
    text: str
    sources: Addresses = EVERYWHERE
    ports: tuple[PortRange, ...] | None = None
    certain: bool = True
    target: str = ""
    comment: str = ""

    def matches_port(self, port: int) -> bool:
        """Does it match this destination port?"""
        return self.ports is None or any(low <= port <= high for low, high in self.ports)


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

    def accepts(self, port: int) -> tuple[list[Accepted], Addresses]:
        """What rules accept here, and what no rule decides, so that the policy does."""
        return self._walk(self.entry, self.sees, port)

    def refuses_by_default(self) -> bool:
        """Is a connection refused to a port that no rule names?"""
        accepted, undecided = self.accepts(_NAMED_BY_NOBODY)
        let_in = _union(each.sources for each in accepted)
        if undecided:
            return not self.policy_accepts
        return not self.sees <= let_in

    def refuses_by_rule(self) -> bool:
        """Does a rule refuse what none accepts, so that nothing reaches the end of the chain?"""
        return self.refuses_by_default() and not self.accepts(_NAMED_BY_NOBODY)[1]

    def _walk(self, chain: str, arriving: Addresses, port: int) -> tuple[list[Accepted], Addresses]:
        accepted: list[Accepted] = []
        returned = Addresses()
        for rule in self.chains.get(chain, ()):
            matched = arriving & rule.sources
            if not matched or not rule.matches_port(port):
                continue
            left = Addresses()
            if rule.verdict is Verdict.ACCEPT:
                accepted.append(Accepted(rule, self.place(chain), matched))
            elif rule.verdict is Verdict.RETURN:
                returned |= matched
            elif rule.verdict in (Verdict.JUMP, Verdict.GOTO):
                inside, undecided = self._walk(rule.target, matched, port)
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
    """Sources that one rule accepts, and where that rule is."""

    rule: Rule
    place: str
    sources: Addresses


@dataclass(frozen=True)
class Opening:
    """Sources that reach a port through every filter, and why.

    rule: None where nothing stops them. why: a sentence.
    """

    sources: Addresses
    rule: Rule | None
    why: str


# No service listens on TCP port 0, so no rule names it: it stands for "some other port".
_NAMED_BY_NOBODY = 0


def openings(hooks: Sequence[Hook], port: int, remote: Addresses) -> list[Opening]:
    """Which sources can open a connection to a port, and which rules let them.

    remote: the addresses that packets from other machines can come from.
    """
    through = remote
    explicit: list[Accepted] = []
    for hook in hooks:
        accepted, undecided = hook.accepts(port)
        let_in = _union(each.sources for each in accepted)
        if hook.policy_accepts:
            let_in |= undecided
        through &= let_in | hook.sees.complement()
        explicit += accepted
    found: list[Opening] = []
    named = Addresses()
    for each in explicit:
        effective = each.sources & through
        if effective:
            named |= effective
            origin = each.sources if remote <= each.sources else effective
            why = f"{each.place} lets TCP {port} in from {origin}: {each.rule.text}."
            found.append(Opening(effective, each.rule, why))
    rest = through - named
    if rest:
        names = [hook.name for hook in hooks if hook.sees & rest]
        because = f"{' and '.join(names)} accepts what no rule refuses" if names else "nothing filters it"
        shown = "anywhere" if remote <= rest else str(rest)
        found.append(Opening(rest, None, f"TCP {port} is open to {shown}: {because}."))
    return found


def _union(sets: Iterable[Addresses]) -> Addresses:
    union = Addresses()
    for each in sets:
        union |= each
    return union

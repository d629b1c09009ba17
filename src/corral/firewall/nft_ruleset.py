"""`nft -j list ruleset`, read into the model of kernel.py.

The schema is libnftables-json(5). A rule may become several (one per element of a verdict map) or none
(it cannot match a new TCP connection from another machine, or decides nothing).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from corral.firewall.addresses import EVERYWHERE, IPV4, IPV6, Addresses
from corral.firewall.kernel import Hook, InterfaceMatch, PortRange, Rule, Verdict

FAMILIES = {"inet": EVERYWHERE, "ip": IPV4, "ip6": IPV6}


@dataclass(frozen=True)
class Table:
    """A table: its chains' rules, its base chains on the way in, and whether a program owns it.

    hooks: (chain name, priority, does its policy accept).
    """

    family: str
    name: str
    owned: bool
    hooks: tuple[tuple[str, int, bool], ...]
    chains: Mapping[str, tuple[Rule, ...]]

    def hook(self, chain: str, policy_accepts: bool, place: Callable[[str], str] | None = None) -> Hook:
        """One of its base chains as the model wants it."""
        prefix = f"nftables chain {self.family} {self.name}"
        return Hook(
            name=f"{prefix} {chain}",
            sees=FAMILIES[self.family],
            entry=chain,
            policy_accepts=policy_accepts,
            chains=self.chains,
            place=place or (lambda name: f"{prefix} {name}"),
        )

    def without(self, comment: str) -> Table:
        """The same without the rules that bear a comment."""
        kept = {name: tuple(rule for rule in rules if rule.comment != comment) for name, rules in self.chains.items()}
        return replace(self, chains=kept)


def parse(text: str, sets_known: bool = True) -> tuple[Table, ...]:
    """The tables of families inet, ip and ip6, in the order that nft prints them.

    sets_known: False when the listing is terse, so that named sets lack their elements.
    """
    objects: list[dict[str, Any]] = json.loads(text or "{}").get("nftables", [])
    tables: dict[tuple[str, str], _Builder] = {}
    for entry in objects:
        for kind, body in entry.items():
            if kind == "metainfo" or body.get("family") not in FAMILIES:
                continue
            key = (body["family"], body["name"] if kind == "table" else body.get("table", ""))
            builder = tables.setdefault(key, _Builder(*key, sets_known))
            builder.add(kind, body)
    return tuple(builder.table() for builder in tables.values())


@dataclass
class _Builder:
    family: str
    name: str
    sets_known: bool
    owned: bool = False
    hooks: list[tuple[str, int, bool]] = field(default_factory=list)
    sets: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "table":
            self.owned = "owner" in body.get("flags", [])
        elif kind in ("set", "map"):
            self.sets[body["name"]] = body.get("elem")
        elif kind == "chain":
            self.rules[body["name"]] = []
            if body.get("hook") == "input" and body.get("type") == "filter":
                self.hooks.append((body["name"], body.get("prio", 0), body.get("policy") != "drop"))
        elif kind == "rule":
            self.rules[body["chain"]].append(body)

    def table(self) -> Table:
        chains = {
            name: tuple(rule for body in bodies for rule in self._rules(body)) for name, bodies in self.rules.items()
        }
        return Table(self.family, self.name, self.owned, tuple(self.hooks), chains)

    def _rules(self, body: dict[str, Any]) -> Iterator[Rule]:
        expressions: list[dict[str, Any]] = body["expr"]
        so_far = _Partial()
        text = " ".join(filter(None, (_statement(each) for each in expressions)))
        comment = body.get("comment", "")
        if comment:
            text += f' comment "{comment}"'
        for expression in expressions:
            (kind, value), *_ = expression.items()
            if kind == "vmap":
                for key, verdict in self._elements(value["data"]):
                    chosen = so_far.also(self._match("==", value["key"], key))
                    yield from _rule(chosen, verdict, text, comment)
                # Whatever is in no element goes on; the elements that match were dealt with above.
            elif kind == "match":
                narrowed = so_far.also(self._match(value["op"], value["left"], value["right"]))
                if narrowed is None:
                    return
                so_far = narrowed
            elif kind in _VERDICTS:
                yield from _rule(so_far, expression, text, comment)
                return
            elif kind not in _HARMLESS:
                so_far = replace(so_far, certain=False)

    def _elements(self, data: Any) -> list[Any]:
        if isinstance(data, str):
            data = self.sets.get(data.removeprefix("@")) or []
        return list(data["set"] if isinstance(data, dict) else data)

    def _match(self, op: str, left: Any, right: Any) -> _Partial | None:
        """What a match lets through: None when no new TCP connection from elsewhere can fulfil it."""
        negated = op == "!="
        if op not in ("==", "!=", "in") or not isinstance(left, dict):
            return _UNKNOWN
        (kind, detail), *_ = left.items()
        if not isinstance(detail, dict):
            return _UNKNOWN
        subject = (
            (detail.get("protocol", ""), detail.get("field", ""))
            if kind == "payload"
            else (kind, str(detail.get("key", "")))
        )
        values = self._values(right)
        if values is None:
            return _UNKNOWN
        return _judge(subject, values, negated)

    def _values(self, right: Any) -> list[Any] | None:
        """The values on the right of a match, a named set's included; None when they are not known."""
        if isinstance(right, str) and right.startswith("@"):
            if not self.sets_known:
                return None
            right = self.sets.get(right.removeprefix("@")) or []
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        values = list(right) if isinstance(right, list) else [right]
        plain = [each["elem"]["val"] if isinstance(each, dict) and "elem" in each else each for each in values]
        known = all(
            isinstance(each, (str, int)) or (isinstance(each, dict) and each.keys() & {"prefix", "range"})
            for each in plain
        )
        return plain if known else None


@dataclass(frozen=True)
class _Partial:
    """The conditions of a rule, as far as they are read."""

    sources: Addresses = EVERYWHERE
    ports: tuple[PortRange, ...] | None = None
    interfaces: tuple[InterfaceMatch, ...] = ()
    certain: bool = True

    def also(self, other: _Partial | None) -> _Partial | None:
        """Both conditions at once; None when nothing can fulfil them."""
        if other is None or not self.sources & other.sources:
            return None
        ports = _common_ports(self.ports, other.ports)
        if ports is not None and not ports:
            return None
        return _Partial(
            self.sources & other.sources,
            ports,
            self.interfaces + other.interfaces,
            self.certain and other.certain,
        )


_UNKNOWN = _Partial(certain=False)
_MULTICAST = Addresses.parse("224.0.0.0/4", "ff00::/8")
_VERDICTS = {
    "accept": Verdict.ACCEPT,
    "drop": Verdict.REFUSE,
    "reject": Verdict.REFUSE,
    "jump": Verdict.JUMP,
    "goto": Verdict.GOTO,
    "return": Verdict.RETURN,
    # A program decides: as far as the kernel is concerned it may say yes.
    "queue": Verdict.ACCEPT,
}
_HARMLESS = {"counter", "log", "mangle", "notrack", "comment"}


def _rule(conditions: _Partial | None, verdict: Any, text: str, comment: str) -> Iterator[Rule]:
    if conditions is None or not isinstance(verdict, dict):
        return
    (kind, detail), *_ = verdict.items()
    if kind not in _VERDICTS:
        return
    yield Rule(
        verdict=_VERDICTS[kind],
        text=text,
        sources=conditions.sources,
        ports=conditions.ports,
        interfaces=conditions.interfaces,
        certain=conditions.certain and kind != "queue",
        target=detail["target"] if kind in ("jump", "goto") else "",
        comment=comment,
    )


def _judge(subject: tuple[str, str], values: list[Any], negated: bool) -> _Partial | None:
    """What a match of a subject such as ("tcp", "dport") against known values lets through."""
    match subject:
        case ("ip", "saddr") | ("ip6", "saddr"):
            family = IPV4 if subject[0] == "ip" else IPV6
            named = _addresses(values)
            return _Partial(sources=family - named if negated else family & named)
        case ("tcp", "dport") | ("th", "dport"):
            named_ports = _ports(values)
            return _Partial(ports=_other_ports(named_ports) if negated else named_ports)
        case ("meta", "l4proto") | ("ip", "protocol") | ("ip6", "nexthdr"):
            family = {"ip": IPV4, "ip6": IPV6}.get(subject[0], EVERYWHERE)
            return _Partial(sources=family) if _holds("tcp", 6, values) != negated else None
        case ("meta", "nfproto") | ("meta", "protocol"):
            sources = Addresses()
            for name, family in (("ipv4", IPV4), ("ip", IPV4), ("ipv6", IPV6), ("ip6", IPV6)):
                if name in values:
                    sources |= family
            return _Partial(sources=sources.complement() if negated else sources)
        case ("ip", "daddr") | ("ip6", "daddr") if not negated and _addresses(values) <= _MULTICAST:
            return None
        case ("meta", "pkttype"):
            return _Partial() if bool({"host", "unicast"} & set(values)) != negated else None
        case ("ct", "state"):
            return _Partial() if ("new" in values) != negated else None
        case ("ct", "status"):
            # "dnat" marks forwarded ports, which are not followed; no new connection has the others.
            return _Partial() if negated else None
        case ("meta", "iifname") | ("meta", "iif"):
            names = tuple(str(value) for value in values)
            return _Partial(interfaces=(InterfaceMatch(names, negated),))
        case (("udp" | "udplite" | "icmp" | "icmpv6" | "sctp" | "dccp" | "esp" | "ah"), _):
            return None
        case _:
            return _UNKNOWN


def _holds(name: str, number: int, values: Sequence[Any]) -> bool:
    return name in values or number in values


def _addresses(values: Sequence[Any]) -> Addresses:
    found = Addresses()
    for value in values:
        if isinstance(value, dict) and "range" in value:
            first, last = value["range"]
            found |= Addresses.between(ip_address(first), ip_address(last))
        elif isinstance(value, dict):
            found |= Addresses.parse(f"{value['prefix']['addr']}/{value['prefix']['len']}")
        else:
            found |= Addresses.parse(str(value))
    return found


def _ports(values: Sequence[Any]) -> tuple[PortRange, ...]:
    """Ports and ranges of ports; a service that is only given by name is none that corral asks about."""
    found: list[PortRange] = []
    for value in values:
        low, high = value["range"] if isinstance(value, dict) and "range" in value else (value, value)
        if isinstance(low, int) and isinstance(high, int):
            found.append((low, high))
    return tuple(found)


def _other_ports(ports: Sequence[PortRange]) -> tuple[PortRange, ...]:
    others: list[PortRange] = []
    start = 0
    for low, high in sorted(ports):
        if low > start:
            others.append((start, low - 1))
        start = max(start, high + 1)
    if start <= 65535:
        others.append((start, 65535))
    return tuple(others)


def _common_ports(
    one: tuple[PortRange, ...] | None, other: tuple[PortRange, ...] | None
) -> tuple[PortRange, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    pairs = [(max(a[0], b[0]), min(a[1], b[1])) for a in one for b in other]
    return tuple((low, high) for low, high in pairs if low <= high)


def _statement(expression: dict[str, Any]) -> str:
    """A statement in nft's own words, as far as a person needs it to find the rule."""
    (kind, value), *_ = expression.items()
    if kind == "match":
        op = "" if value["op"] in ("==", "in") else f" {value['op']}"
        return f"{_words(value['left'])}{op} {_words(value['right'])}"
    if kind in ("jump", "goto"):
        return f"{kind} {value['target']}"
    if kind == "vmap":
        return f"{_words(value['key'])} vmap {_words(value['data'])}"
    return "" if kind in ("counter", "log") else kind


def _words(value: Any) -> str:
    match value:
        case {"payload": {"protocol": protocol, "field": name}}:
            return f"{protocol} {name}"
        case {"meta": {"key": key}}:
            return str(key) if key in ("iifname", "iif") else f"meta {key}"
        case {"ct": {"key": key}}:
            return f"ct {key}"
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [low, high]}:
            return f"{_words(low)}-{_words(high)}"
        case {"set": list(items)} | list(items):
            return "{ " + ", ".join(_words(item) for item in items) + " }"
        case dict():
            return str(next(iter(value)))
        case _:
            return str(value)

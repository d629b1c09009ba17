"""Windows Defender Firewall's decision about what comes in, as a table of nftables.

Source of the order: Microsoft, "Windows Firewall rules", rule precedence: what a block rule matches is dropped however
narrow an allow rule is, then allow rules, then the profile's default. The firewall keeps state, and leaves loopback
alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .errors import NotModelled
from .rules import PROTOCOLS, RANGE, Rule, is_keyword

TABLE = "windows_firewall"
#: Programs of Windows whose ports are the rule's own; nothing of them runs in the model.
SYSTEM_PROGRAMS = ("system", r"%systemroot%\system32", r"c:\windows\system32")
#: Fields that narrow a rule to packages, users or protected connections: no traffic of the model's is any of these.
NARROWER = {"LUOwn", "AppPkgId", "LUAuth", "RUAuth", "RMauth", "Security", "Security2", "Security2_9", "IF"}
ICMP_NAMES = {1: "icmp", 58: "icmpv6"}
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Situation:
    """What the decision depends on beside the rules.

    enabled, shielded:   of the profile in use: the firewall is on; it lets nothing in, whatever is allowed.
    default:             Block or Allow, for what no rule matches.
    excluded:            interfaces for which the profile is off.
    subnets:             what LocalSubnet stands for.
    """

    profile: str
    enabled: bool
    shielded: bool
    default: str
    excluded: tuple[str, ...] = ()
    subnets: tuple[Subnet, ...] = ()


def compile_rules(rules: Iterable[Rule], situation: Situation, ports_of: Callable[[str], Sequence[int]]) -> str:
    """The whole table, for `nft -f`. `ports_of` gives the TCP ports on which a program listens now."""
    lines = ["iif lo accept", "ct state established,related accept"]
    if situation.enabled:
        lines += [f'iifname "{name}" accept' for name in situation.excluded]
        active = [rule for rule in rules if applies(rule, situation.profile)]
        blocked = [line for rule in active if rule.action == "Block" for line in _matches(rule, situation, ports_of)]
        allowed = [line for rule in active if rule.action == "Allow" for line in _matches(rule, situation, ports_of)]
        lines += [f"{line} drop".strip() for line in blocked]
        if not situation.shielded:
            lines += [f"{line} accept".strip() for line in allowed]
        lines.append("drop" if situation.shielded or situation.default == "Block" else "accept")
    body = "".join(f"\t\t{line}\n" for line in lines)
    # Added first so that there is something to delete, as nft's manual shows; all of it is one transaction.
    return (
        f"table inet {TABLE} {{}}\n"
        f"delete table inet {TABLE}\n"
        f"table inet {TABLE} {{\n"
        "\tchain input {\n"
        "\t\ttype filter hook input priority filter; policy accept;\n"
        f"{body}"
        "\t}\n"
        "}\n"
    )


def applies(rule: Rule, profile: str) -> bool:
    """Whether an inbound rule counts while a profile is in use."""
    narrower = any(key in NARROWER for key, _ in rule.rest)
    return rule.active and rule.direction == "In" and not narrower and (not rule.profiles or profile in rule.profiles)


def _matches(rule: Rule, situation: Situation, ports_of: Callable[[str], Sequence[int]]) -> list[str]:
    """One condition of nftables for each kind of address; none where nothing can match."""
    ports = _ports(rule, ports_of)
    if ports is None:
        return []
    protocol = _protocol(rule, ports)
    conditions = []
    for version in (4, 6):
        remote = _family(rule.remote_addresses, version, situation)
        local = _family(rule.local_addresses, version, situation)
        if remote is None or local is None:
            continue
        word = "ip" if version == 4 else "ip6"
        parts = [protocol]
        if remote:
            parts.append(f"{word} saddr {{ {', '.join(remote)} }}")
        if local:
            parts.append(f"{word} daddr {{ {', '.join(local)} }}")
        if not remote and not local:
            # Whoever sends it: once for both kinds.
            return [protocol]
        conditions.append(" ".join(part for part in parts if part))
    return conditions


def _ports(rule: Rule, ports_of: Callable[[str], Sequence[int]]) -> tuple[str, ...] | None:
    """The local ports that match; empty: any; None: nothing matches."""
    numbers = tuple(port for port in rule.local_ports if port[0].isdigit())
    if rule.local_ports and not numbers:
        return None
    program = rule.program.lower()
    if not program or program.startswith(SYSTEM_PROGRAMS):
        needs_port = bool(program) and rule.protocol in (None, PROTOCOLS["TCP"], PROTOCOLS["UDP"])
        return None if needs_port and not numbers else numbers
    if rule.protocol not in (None, PROTOCOLS["TCP"]):
        return None
    listening = [port for port in ports_of(rule.program) if not numbers or _holds(numbers, port)]
    return tuple(str(port) for port in listening) or None


def _protocol(rule: Rule, ports: tuple[str, ...]) -> str:
    number = rule.protocol
    if number is None and rule.program and not rule.program.lower().startswith(SYSTEM_PROGRAMS):
        number = PROTOCOLS["TCP"]
    if number is None:
        return ""
    if number in ICMP_NAMES:
        types = [kind.partition(":") for kind in rule.icmp_types]
        name = ICMP_NAMES[number]
        whole = [kind for kind, _, code in types if code in ("", "*")]
        if not types:
            return f"meta l4proto {'icmp' if number == 1 else 'ipv6-icmp'}"
        if len(whole) == len(types):
            return f"{name} type {{ {', '.join(whole)} }}"
        if len(types) > 1:
            raise NotModelled(f"several ICMP types with codes in {rule.name!r}")
        return f"{name} type {types[0][0]} {name} code {types[0][2]}"
    if number not in (PROTOCOLS["TCP"], PROTOCOLS["UDP"]):
        return f"meta l4proto {number}"
    word = "tcp" if number == PROTOCOLS["TCP"] else "udp"
    parts = [f"{word} dport {{ {', '.join(ports)} }}"] if ports else [f"meta l4proto {word}"]
    if rule.remote_ports:
        parts.append(f"{word} sport {{ {', '.join(rule.remote_ports)} }}")
    return " ".join(parts)


def _family(addresses: tuple[str, ...], version: int, situation: Situation) -> list[str] | None:
    """The addresses of one kind, for a set of nftables; empty: any; None: none of this kind."""
    if not addresses:
        return []
    found: list[str] = []
    for text in addresses:
        if is_keyword(text):
            if text.rstrip("46") != "LocalSubnet":
                raise NotModelled(f"the firewall's address keyword {text!r}")
            if not text.endswith(("4", "6")) or text.endswith(str(version)):
                found += [str(subnet) for subnet in situation.subnets if subnet.version == version]
        elif "-" in text:
            if (":" in text) == (version == 6):
                found.append(text)
        else:
            network = ipaddress.ip_network(text)
            if network.version == version:
                found.append(str(network))
    return _without_overlap(found) or None


def _without_overlap(found: list[str]) -> list[str]:
    """nftables refuses sets whose intervals overlap."""
    networks: list[Subnet] = []
    for text in found:
        first, dash, last = text.partition("-")
        if dash:
            ends = ipaddress.ip_address(first), ipaddress.ip_address(last)
            networks += ipaddress.summarize_address_range(*ends)
        else:
            networks.append(ipaddress.ip_network(text))
    return [str(network) for network in ipaddress.collapse_addresses(networks)]  # type: ignore[type-var]


def _holds(ports: tuple[str, ...], port: int) -> bool:
    for text in ports:
        match = RANGE.match(text)
        if (int(match[1]) <= port <= int(match[2])) if match else int(text) == port:
            return True
    return False

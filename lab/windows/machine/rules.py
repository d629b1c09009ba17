"""One rule of Windows Defender Firewall, and the line of text that the registry keeps of it.

Source: [MS-GPFAS] 2.2.2.19, "Firewall Rule and the Firewall Rule Grammar Rule"; [MS-FASP] 2.2.36, FW_RULE.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

VERSION = "v2.31"
PROFILES = ("Domain", "Private", "Public")
#: Address keywords, as the cmdlets spell them; each stands for addresses of both kinds, with 4 or 6 behind it for one.
KEYWORDS = {
    name.lower(): name
    for name in (
        "LocalSubnet", "DNS", "DHCP", "WINS", "DefaultGateway", "Internet", "Intranet", "IntranetRemoteAccess",
        "PlayToDevice",
    )
}  # fmt: skip
#: Names of the registry's port keywords, and how cmdlets call them.
PORT_KEYWORDS = {
    "RPC": "RPC",
    "RPC-EPMap": "RPCEPMap",
    "Teredo": "Teredo",
    "IPHTTPSIn": "IPHTTPSIn",
    "IPTLSIn": "IPHTTPSIn",
    "PlayToDiscovery": "PlayToDiscovery",
    "Ply2Disc": "PlayToDiscovery",
    "mDNS": "mDNS",
}
PROTOCOLS = {"TCP": 6, "UDP": 17, "ICMPv4": 1, "ICMPv6": 58}
RANGE = re.compile(r"^(\d+)-(\d+)$")
FIELD = re.compile(r"^([^=]+)=(.*)$", re.S)


class RuleError(ValueError):
    """A value that the firewall service refuses, with its text."""


@dataclass(frozen=True)
class Rule:
    """A rule. An empty tuple means any; None: any protocol; `name` is its identity.

    Ports are as "80", "80-90" or a keyword of PORT_KEYWORDS; addresses as "10.0.0.0/255.0.0.0", "10.0.0.1",
    "10.0.0.1-10.0.0.9", "fd00::/8" or a keyword. `rest` holds fields that the model keeps but does not act on.
    """

    name: str
    display_name: str
    action: str = "Allow"
    active: bool = True
    direction: str = "In"
    protocol: int | None = None
    profiles: tuple[str, ...] = ()
    local_ports: tuple[str, ...] = ()
    remote_ports: tuple[str, ...] = ()
    icmp_types: tuple[str, ...] = ()
    local_addresses: tuple[str, ...] = ()
    remote_addresses: tuple[str, ...] = ()
    program: str = ""
    service: str = ""
    description: str = ""
    group: str = ""
    edge: str = "Block"
    rest: tuple[tuple[str, str], ...] = field(default=())

    def format(self) -> str:
        """The registry's text."""
        fields: list[tuple[str, str]] = [
            ("Action", self.action),
            ("Active", "TRUE" if self.active else "FALSE"),
            ("Dir", self.direction),
        ]
        if self.protocol is not None:
            fields.append(("Protocol", str(self.protocol)))
        fields += [("Profile", profile) for profile in PROFILES if profile in self.profiles]
        fields += _port_fields("LPort", self.local_ports)
        fields += _port_fields("RPort", self.remote_ports)
        icmp = "ICMP6" if self.protocol == PROTOCOLS["ICMPv6"] else "ICMP4"
        fields += [(icmp, kind) for kind in self.icmp_types]
        fields += _address_fields("LA", self.local_addresses)
        fields += _address_fields("RA", self.remote_addresses)
        texts = (
            ("App", self.program), ("Svc", self.service), ("Name", self.display_name), ("Desc", self.description),
            ("EmbedCtxt", self.group),
        )  # fmt: skip
        fields += [(key, text) for key, text in texts if text]
        if self.edge == "Allow":
            fields.append(("Edge", "TRUE"))
        elif self.edge in ("DeferToApp", "DeferToUser"):
            fields += [("Edge", "TRUE"), ("Defer", self.edge.removeprefix("DeferTo"))]
        fields += self.rest
        return f"{VERSION}|" + "".join(f"{key}={value}|" for key, value in fields)


def parse(name: str, text: str) -> Rule:
    """A rule from the registry's text; ValueError when it is none."""
    version, *parts = text.split("|")
    if not re.fullmatch(r"v2\.\d+", version):
        raise ValueError(f"no rule of the firewall: {text!r}")
    rule = Rule(name, "", active=False, action="", direction="")
    rest: list[tuple[str, str]] = []
    ports: dict[str, list[str]] = {"LPort": [], "RPort": []}
    addresses: dict[str, list[str]] = {"LA": [], "RA": []}
    profiles: list[str] = []
    icmp: list[str] = []
    for part in parts:
        match = FIELD.match(part)
        if not match:
            continue
        key, value = match[1], match[2]
        single = {
            "Action": "action", "Dir": "direction", "App": "program", "Svc": "service", "Name": "display_name",
            "Desc": "description", "EmbedCtxt": "group",
        }.get(key)  # fmt: skip
        if single:
            rule = replace(rule, **{single: value})  # type: ignore[arg-type]
        elif key == "Active":
            rule = replace(rule, active=value.upper() == "TRUE")
        elif key == "Protocol":
            rule = replace(rule, protocol=int(value))
        elif key == "Profile":
            profiles.append(value)
        elif key.partition("2_")[0] in ports:
            ports[key.partition("2_")[0]].append(PORT_KEYWORDS.get(value, value))
        elif key in ("ICMP4", "ICMP6"):
            icmp.append(value)
        elif key in ("LA4", "LA6", "RA4", "RA6"):
            addresses[key[:2]].append(f"{value}{key[2]}" if value.lower() in KEYWORDS else value)
        elif key == "Edge":
            rule = replace(rule, edge="Allow" if value.upper() == "TRUE" else "Block")
        elif key == "Defer":
            rule = replace(rule, edge=f"DeferTo{value}")
        else:
            rest.append((key, value))
    return replace(
        rule,
        profiles=tuple(profile for profile in PROFILES if profile in profiles),
        local_ports=tuple(ports["LPort"]),
        remote_ports=tuple(ports["RPort"]),
        icmp_types=tuple(icmp),
        local_addresses=_normal(_joined(addresses["LA"])),
        remote_addresses=_normal(_joined(addresses["RA"])),
        rest=tuple(rest),
    )


def is_keyword(address: str) -> bool:
    """Whether an address of a rule is a keyword, of both kinds of addresses or of one."""
    return address.rstrip("46").lower() in KEYWORDS


def addresses(given: Iterable[str]) -> tuple[str, ...]:
    """Addresses as a script gives them, as the service keeps them; RuleError for what it does not take.

    It keeps keywords, subnets and ranges in lists of their own, IPv4 before IPv6: their order comes back as that, not
    as it was given.
    """
    found = []
    for text in given:
        if text.lower() in ("any", "*"):
            return ()
        found.append(_address(text.strip()))
    return _normal(found)


def ports(given: Iterable[str]) -> tuple[str, ...]:
    """Ports as a script gives them: numbers, ranges and keywords; RuleError for what the service does not take."""
    names = {name.lower(): name for name in PORT_KEYWORDS.values()}
    found = []
    for text in given:
        if text.lower() == "any":
            return ()
        match = RANGE.match(text)
        numbers = [int(part) for part in match.groups()] if match else [int(text)] if text.isdigit() else None
        if numbers is None and text.lower() in names:
            found.append(names[text.lower()])
        elif numbers is None or max(numbers) > 65535 or numbers != sorted(numbers):
            raise RuleError("The port is invalid. You can specify ports as numbers, ranges, or keywords.")
        else:
            found.append(text)
    return tuple(found)


def protocol(text: str) -> int | None:
    """A protocol by name or number; None for any."""
    if text.lower() == "any":
        return None
    for name, number in PROTOCOLS.items():
        if text.lower() == name.lower():
            return number
    if text.isdigit() and int(text) <= 255:
        return int(text)
    raise RuleError("The protocol is invalid. You can specify a protocol as a number between 0 and 255 or by name.")


def protocol_name(number: int | None) -> str:
    """As the cmdlets show a protocol."""
    if number is None:
        return "Any"
    return next((name for name, known in PROTOCOLS.items() if known == number), str(number))


def _address(text: str) -> str:
    invalid = RuleError("The address is invalid. Addresses may be specified as IP addresses, ranges, or subnets.")
    bare = text[:-1] if text[-1:] in ("4", "6") else text
    if bare.lower() in KEYWORDS:
        return KEYWORDS[bare.lower()] + text[len(bare) :]
    try:
        first, dash, last = text.partition("-")
        if dash:
            ends = [ipaddress.ip_address(first), ipaddress.ip_address(last)]
            if ends[0].version != ends[1].version or int(ends[0]) > int(ends[1]):
                raise invalid
            return f"{ends[0]}-{ends[1]}"
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise invalid from None
    if network.prefixlen == 0:
        raise invalid
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return network.with_netmask if network.version == 4 else str(network)


def _normal(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(dict.fromkeys(map(_address, found)), key=_kind))


def _joined(found: list[str]) -> list[str]:
    """A keyword that stands for both kinds of addresses is two fields in the registry."""
    keywords = [text for text in found if is_keyword(text)]
    both = {text[:-1] for text in keywords if {text[:-1] + "4", text[:-1] + "6"} <= set(keywords)}
    return [*both, *(text for text in found if text not in keywords or text[:-1] not in both)]


def _kind(text: str) -> int:
    """Keywords, then subnets and single addresses, then ranges, each with IPv4 first."""
    if is_keyword(text):
        return 0
    six = 2 if ":" in text else 0
    return 1 + six + ("-" in text)


def _port_fields(key: str, found: tuple[str, ...]) -> list[tuple[str, str]]:
    names = {shown: stored for stored, shown in reversed(PORT_KEYWORDS.items())}
    fields = []
    for port in found:
        if RANGE.match(port):
            fields.append((f"{key}2_10", port))
        elif port in ("IPHTTPSIn", "PlayToDiscovery", "mDNS"):
            fields.append((f"{key}2_10" if port == "IPHTTPSIn" else f"{key}2_20", names[port]))
        else:
            fields.append((key, names.get(port, port)))
    return fields


def _address_fields(key: str, found: tuple[str, ...]) -> list[tuple[str, str]]:
    fields = []
    for text in found:
        if is_keyword(text):
            if text[-1] not in "46":
                fields += [(f"{key}4", text), (f"{key}6", text)]
            else:
                fields.append((f"{key}{text[-1]}", text[:-1]))
        else:
            fields.append((f"{key}{6 if ':' in text else 4}", text))
    return fields

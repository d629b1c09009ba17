"""Windows Defender Firewall: let one TCP port in from a declared scope, and change nothing else.

Our rule is asked for by its name; all the others are read from the registry, where Windows keeps them as text
([MS-GPFAS] 2.2.2.19, Firewall Rule and the Firewall Rule Grammar Rule): asking for the filters of each takes minutes.
What blocks wins over what allows (learn.microsoft.com, "Windows Firewall rules", rule precedence), and what no rule
names is refused by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from corral import layout_windows as layout
from corral.changes import Change
from corral.errors import CorralError
from corral.firewall.addresses import EVERYWHERE, Addresses
from corral.firewall.scope import Scope
from corral.scripts import Script

NAME = "Windows Defender Firewall"
TCP = 6
PROFILES = frozenset({"Domain", "Private", "Public"})
_OURS = "corral-ollama-"
#: Keywords for everybody, and for networks whose extent Windows alone knows.
_WIDE = frozenset({"any", "internet", "intranet", "rmtintranet", "intranetremoteaccess"})


@dataclass(frozen=True)
class Profile:
    """The firewall of one kind of network. filters: it refuses what no rule allows. deaf: what its rules allow is
    refused too. local_rules: rules that are no group policy's count."""

    name: str
    filters: bool
    deaf: bool
    local_rules: bool


@dataclass(frozen=True)
class Rule:
    """A rule for what comes in, that is on. id: its -Name. protocol: a number, None: any. ports: ranges, None: any.
    remote: whom it is about. app: the program that it is about, "" for every one."""

    id: str
    title: str
    allows: bool
    profiles: frozenset[str]
    protocol: int | None
    ports: tuple[tuple[int, int], ...] | None
    remote: Addresses
    app: str
    policy: bool = False

    def concerns(self, port: int) -> bool:
        """Whether it is about a server of ours that listens at a TCP port."""
        ours = not self.app or _same_program(self.app)
        at_port = self.ports is None or any(first <= port <= last for first, last in self.ports)
        return ours and self.protocol in (None, TCP) and at_port

    @property
    def said(self) -> str:
        """For people: title and name."""
        kind = "a group policy's rule" if self.policy else "the rule"
        return f'{kind} "{self.title}" ({self.id})'


@dataclass(frozen=True)
class OwnRule:
    """Our rule as its cmdlets show it. addresses: None where they can't be read."""

    title: str
    enabled: bool
    allows: bool
    inbound: bool
    everywhere: bool
    protocol: str
    ports: tuple[str, ...]
    addresses: Addresses | None


@dataclass(frozen=True)
class WindowsFirewall:
    """What one probe tells of the firewall. rule: ours for the declared port; None: there is none."""

    profiles: tuple[Profile, ...] = ()
    rules: tuple[Rule, ...] = ()
    rule: OwnRule | None = None

    @property
    def filters(self) -> bool:
        """Whether it refuses anything, in at least one kind of network."""
        return any(profile.filters for profile in self.profiles)


# --- reading --------------------------------------------------------------------------------------------


def parse(found: Mapping[str, Any]) -> WindowsFirewall:
    """Read `profiles`, `rules`, `policy_rules`, `rule` and `addresses` of a probe's answer."""
    local = Addresses.of(ip_interface(text).network for text in found.get("addresses") or () if _is_address(text))
    rules = [rule for one in found.get("rules") or () if (rule := _rule(one["id"], one["rule"], local))]
    policy = [rule for one in found.get("policy_rules") or () if (rule := _rule(one["id"], one["rule"], local, True))]
    return WindowsFirewall(
        profiles=tuple(_profile(one) for one in found.get("profiles") or ()),
        rules=(*rules, *policy),
        rule=_own(found["rule"], local) if found.get("rule") else None,
    )


def _profile(one: Mapping[str, str]) -> Profile:
    """The values are of the type GpoBoolean: True, False or NotConfigured, which then means the default
    (learn.microsoft.com, "MSFT_NetFirewallProfile")."""
    return Profile(
        one["name"],
        filters=one["enabled"] != "False" and one["inbound"] != "Allow",
        deaf=one["enabled"] != "False" and one["rules"] == "False",
        local_rules=one["local"] != "False",
    )


def _rule(identifier: str, text: str, local: Addresses, policy: bool = False) -> Rule | None:
    """A line such as "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=11434|RA4=10.0.0.0/255.0.0.0|Name=x|"."""
    fields: dict[str, list[str]] = {}
    for part in text.split("|")[1:]:
        key, equals, value = part.partition("=")
        if equals:
            fields.setdefault(key, []).append(value)

    def first(key: str) -> str:
        return fields.get(key, [""])[0]

    if first("Dir") != "In" or first("Active") != "TRUE" or first("Action") not in ("Allow", "Block"):
        return None
    ranges = [_range(value) for key in ("LPort", "LPort2_10", "LPort2_20") for value in fields.get(key, [])]
    remote = [value for key in ("RA4", "RA6", "RA42", "RA62") for value in fields.get(key, [])]
    return Rule(
        id=identifier,
        title=first("Name") or identifier,
        allows=first("Action") == "Allow",
        profiles=frozenset(fields.get("Profile", [])) or PROFILES,
        protocol=int(first("Protocol")) if first("Protocol").isdigit() else None,
        ports=tuple(filter(None, ranges)) if ranges else None,
        remote=_addresses(remote, local) if remote else EVERYWHERE,
        app=first("App"),
        policy=policy,
    )


def _range(value: str) -> tuple[int, int] | None:
    """Keywords such as RPC are ports that no server of ours has ([MS-FASP] 2.2.14)."""
    low, _, high = value.partition("-")
    return (int(low), int(high or low)) if low.isdigit() and (high or low).isdigit() else None


def _addresses(values: Sequence[str], local: Addresses) -> Addresses:
    """Networks with a prefix or a mask, single addresses, ranges; LocalSubnet: the host's own networks. Other keywords
    (DNS, DHCP, WINS, DefaultGateway ...) are single machines of those, or more than anybody can tell from here
    ([MS-GPFAS] 2.2.2.13; in a rule's cmdlets without the odd capitals)."""
    found = Addresses()
    for value in values:
        if value.lower() in _WIDE:
            return EVERYWHERE
        first, dash, last = value.partition("-")
        try:
            if dash:
                found |= Addresses.between(ip_address(first), ip_address(last))
            else:
                found |= Addresses.of([ip_network(value, strict=False)])
        except ValueError:
            found |= local
    return found


def _own(one: Mapping[str, Any], local: Addresses) -> OwnRule:
    profiles = {word.strip() for word in one["profile"].split(",")}
    return OwnRule(
        title=one["title"],
        enabled=one["enabled"] == "True",
        allows=one["action"] == "Allow",
        inbound=one["direction"] == "Inbound",
        everywhere=profiles == {"Any"} or profiles >= PROFILES,
        protocol=one["protocol"],
        ports=tuple(one["port"]),
        addresses=_addresses(one["addresses"], local) if one["addresses"] else None,
    )


def _is_address(text: str) -> bool:
    try:
        return not ip_interface(text).ip.is_loopback
    except ValueError:
        return False


def _same_program(app: str) -> bool:
    """Whether a rule's program is the server in any of our releases. Paths may hold variables."""
    path = re.sub("%ProgramFiles%", r"C:\\Program Files", app, flags=re.IGNORECASE).lower()
    return path.startswith(layout.PROGRAMS.lower() + "\\") and path.endswith("\\ollama.exe")


# --- changing -------------------------------------------------------------------------------------------


def changes(state: WindowsFirewall, scope: Scope | None, port: int, remove_blocks: bool) -> list[Change]:
    """What to do so that the port is open to the scope in every kind of network; with None, so that no rule of ours is
    left. remove_blocks: rules that block the port or our server go."""
    name = layout.rule_name(port)
    stale = [rule.id for rule in state.rules if rule.id.startswith(_OURS) and (rule.id != name or scope is None)]
    if state.rule and scope is None and name not in stale:
        stale.append(name)
    blocks = [rule.id for rule in _blocking(state, port) if not rule.policy] if scope and remove_blocks else []
    right = scope is not None and not _faults(state, scope, port)
    if (scope is None or right) and not stale and not blocks:
        return []
    title = layout.rule_title(port)
    what = []
    if scope is not None and not right:
        what.append(f'{"change" if state.rule else "add"} the rule "{title}": TCP {port} from {scope}')
    what += [f"remove the rule {identifier}" for identifier in (*stale, *blocks)]
    return [
        Change(
            f"{NAME}: {', '.join(what)}",
            Script(
                "firewall/windows.ps1",
                {
                    "Name": name,
                    "Title": title,
                    "Group": layout.RULE_GROUP,
                    "Port": port,
                    "Addresses": _written(scope) if scope is not None and not right else [],
                    "There": state.rule is not None,
                    "Remove": [*stale, *blocks],
                },
            ),
        )
    ]


def _written(scope: Scope) -> list[str]:
    return ["Any"] if scope.is_any else [str(network) for network in scope.networks]


def _faults(state: WindowsFirewall, scope: Scope, port: int) -> list[str]:
    """How our rule differs from what it should be, in words."""
    rule = state.rule
    if rule is None:
        return [f'there is no rule "{layout.rule_title(port)}"']
    found = []
    if not rule.enabled:
        found.append("it is disabled")
    if not rule.allows or not rule.inbound:
        found.append("it does not allow what comes in")
    if not rule.everywhere:
        found.append("it is not for every kind of network")
    if rule.protocol.upper() != "TCP" or rule.ports != (str(port),):
        found.append(f"it is for {rule.protocol} {', '.join(rule.ports)}")
    if rule.addresses != scope.addresses:
        found.append(f"it is for {rule.addresses or 'addresses that can not be read'}")
    return found


# --- judging --------------------------------------------------------------------------------------------


def check(state: WindowsFirewall, scope: Scope, port: int, remove_blocks: bool) -> None:
    """Raises CorralError for what keeps the scope out and that corral may not change."""
    if all(not profile.local_rules for profile in state.profiles) and state.profiles:
        raise CorralError(
            f"a group policy has {NAME} ignore rules that are made on this host, so corral's would do nothing",
            f"Have the policy allow TCP {port} from {scope}, or declare firewall: none if it does already",
        )
    for rule in _blocking(state, port):
        if rule.policy or not remove_blocks:
            remedy = (
                "Have the policy changed"
                if rule.policy
                else f"Remove it (Remove-NetFirewallRule -Name '{rule.id}'), or declare remove_block_rules: true"
            )
            raise CorralError(f"{NAME}: {rule.said} blocks TCP {port}, and what blocks wins over what allows", remedy)


def warnings(state: WindowsFirewall) -> Iterator[str]:
    """What a person should know about the firewall itself."""
    off = [profile.name for profile in state.profiles if not profile.filters]
    if not state.profiles:
        yield f"corral can't tell what {NAME} does on this host"
    elif len(off) == len(state.profiles):
        yield "no firewall refuses anything on this host: whoever can send it packets reaches Ollama"
    elif off:
        yield f"{NAME} refuses nothing in networks of the kind {' and '.join(off)}: whoever is there reaches Ollama"
    some = [profile.name for profile in state.profiles if not profile.local_rules]
    if some and len(some) < len(state.profiles):
        yield f"a group policy has {NAME} ignore this host's rules in networks of the kind {' and '.join(some)}"
    for profile in state.profiles:
        if profile.deaf:
            yield f"{NAME} refuses all that comes in, allowed or not, in networks of the kind {profile.name}"


def missing(state: WindowsFirewall, scope: Scope, port: int) -> list[str]:
    """What keeps the scope from reaching the port: a sentence for each."""
    found = [f"{NAME}: {fault}." for fault in _faults(state, scope, port)]
    found += [f"{NAME}: {rule.said} blocks TCP {port}." for rule in _blocking(state, port)]
    found += [
        f"{NAME} ignores this host's rules in networks of the kind {profile.name}."
        for profile in state.profiles
        if profile.filters and not profile.local_rules
    ]
    return found


def wider_than(state: WindowsFirewall, scope: Scope, port: int) -> list[str]:
    """The rules, ours or not, that let in more than the scope; also that a kind of network is not filtered."""
    found = [
        f"{NAME}: {rule.said} lets {rule.remote} reach TCP {port}."
        for rule in state.rules
        if rule.allows and rule.concerns(port) and not rule.remote <= scope.addresses
    ]
    found += [
        f"{NAME} refuses nothing in networks of the kind {profile.name}."
        for profile in state.profiles
        if not profile.filters
    ]
    return found


def _blocking(state: WindowsFirewall, port: int) -> list[Rule]:
    return [rule for rule in state.rules if not rule.allows and rule.concerns(port)]

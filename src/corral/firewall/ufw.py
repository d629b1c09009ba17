"""ufw: rules of ours bear the comment "corral: ollama" and stand behind those that are there.

So whoever denies something keeps denying it. Everything goes through the program `ufw`, which writes its
file first and loads it then; where it was cut off in between, the next run sees the difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from corral.changes import Change
from corral.firewall import iptables
from corral.firewall.addresses import Addresses, Network
from corral.firewall.iptables import Filter
from corral.firewall.kernel import Rule, Verdict
from corral.firewall.scope import Scope
from corral.scripts import Script

COMMENT = "corral: ollama"
_TUPLE = re.compile(r"^### tuple ### (?P<fields>.*)$", re.MULTILINE)
_EVERYBODY = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class UserRule:
    """A rule for one TCP port and one source, as the administrator's file has it.

    action: as in "allow", "deny_log". source: a network as ufw writes it. comment: decoded.
    """

    action: str
    port: int
    source: str
    comment: str

    @property
    def ours(self) -> bool:
        """Was it made by corral?"""
        return self.comment == COMMENT


@dataclass(frozen=True)
class UfwState:
    """What ufw has in its files and in the kernel.

    active: its chains are loaded, which is what `ufw status` reports. enabled: it will be after a reboot.
    ipv6: it handles IPv6. rules: those of the file that a rule of ours could be the same as.
    live: (port, source) of the rules in its loaded chains that accept one TCP port from one network.
    kept: the same of its file, whatever the form in which they were asked for.
    """

    active: bool
    enabled: bool
    ipv6: bool
    rules: tuple[UserRule, ...]
    live: frozenset[tuple[int, str]]
    kept: frozenset[tuple[int, str]]


def parse(sections: Mapping[str, str], filters: list[Filter]) -> UfwState:
    """Read ufw's files and pick its chains out of the rules that are loaded."""
    files = {version: iptables.chains(sections.get(name, ""), version) for version, name in _FILES.items()}
    enabled = _setting(sections.get("firewall.ufw.conf", ""), "ENABLED") == "yes"
    unit_enabled = "Id=ufw.service\n" not in (units := sections.get("firewall.units", "")) or bool(
        re.search(r"Id=ufw\.service\n(?:.+\n)*?UnitFileState=enabled", units)
    )
    rules = [
        rule
        for name in _FILES.values()
        for match in _TUPLE.finditer(sections.get(name, ""))
        if (rule := _user_rule(match["fields"]))
    ]
    return UfwState(
        active=any(_CHAINS[each.version] in each.chains for each in filters),
        enabled=enabled and unit_enabled,
        ipv6=_setting(sections.get("firewall.ufw.default", ""), "IPV6") == "yes",
        rules=tuple(rules),
        live=frozenset(simple for each in filters for simple in _simple(each.chains, each.version)),
        kept=frozenset(simple for version, chains in files.items() for simple in _simple(chains, version)),
    )


def changes(state: UfwState, scope: Scope | None, port: int) -> list[Change]:
    """What to do so that ours are there, or gone when scope is None or ufw is not active."""
    wanted = _wanted(state, scope) if scope and state.active else set()
    in_file = {(rule.port, rule.source) for rule in state.rules if rule.ours}
    foreign = {(rule.port, rule.source) for rule in state.rules if not rule.ours}
    # ufw takes two rules that differ only in action or comment for one, and ours would replace theirs.
    missing = {(port, source) for source in wanted} - in_file - foreign
    unwanted = {(each_port, source) for each_port, source in in_file} - {(port, source) for source in wanted}
    unloaded = (in_file - unwanted) - state.live if state.active else set()
    # Left by a run that was cut off after ufw had written its file: loaded, and in no file.
    leftover = {each for each in state.live - state.kept if each[0] == port} - missing
    if not (missing or unwanted or unloaded or leftover):
        return []
    # ufw loads nothing for a rule that its file has, and "ufw reload" is no way out: it disables ufw, on
    # disk, before it enables it again. Deleting any rule loads the whole file, so: add, delete, add.
    return [
        Change(
            _summary(port, missing, unwanted, unloaded, leftover),
            Script(
                "firewall/ufw.sh",
                {
                    "COMMENT": COMMENT,
                    "ADD_FIRST": _arguments(missing | leftover),
                    "DELETE": _arguments(unwanted | unloaded | leftover),
                    "ADD_AGAIN": _arguments(unloaded),
                },
            ),
        )
    ]


def standing_against(state: UfwState, scope: Scope, port: int) -> list[UserRule]:
    """Rules of others with another action that a rule of ours would replace."""
    wanted = _wanted(state, scope)
    return [
        rule
        for rule in state.rules
        if rule.port == port and rule.source in wanted and not rule.ours and rule.action != "allow"
    ]


def not_kept(state: UfwState, scope: Scope, port: int) -> list[str]:
    """Sources in the scope that no rule in ufw's file allows by name."""
    allowed = {rule.source for rule in state.rules if rule.port == port and rule.action == "allow"}
    return sorted(_wanted(state, scope) - allowed)


def place(chain: str, version: int) -> str:
    """How people find a chain of ufw or of iptables."""
    if chain.startswith("ufw"):
        return "ufw" if "-user-" in chain else f"ufw ({chain} in /etc/ufw/*.rules)"
    return f"{'iptables' if version == 4 else 'ip6tables'} chain {chain}"


_FILES = {4: "firewall.ufw.rules", 6: "firewall.ufw.rules6"}
_CHAINS = {4: "ufw-user-input", 6: "ufw6-user-input"}


def _setting(text: str, name: str) -> str:
    found = re.findall(rf"^\s*{name}=[\"']?(\w*)", text, re.MULTILINE)
    return found[-1].lower() if found else ""


def _wanted(state: UfwState, scope: Scope) -> set[str]:
    networks = [each for each in scope.networks if each.version == 4 or state.ipv6]
    return {_source(network) for network in networks}


def _source(network: Network) -> str:
    """As ufw writes it: a single address without prefix length."""
    return str(network[0]) if network.prefixlen == network.max_prefixlen else str(network)


def _user_rule(fields: str) -> UserRule | None:
    """A tuple `ACTION tcp PORT ANYWHERE any SOURCE in [comment=HEX]`; None for all other shapes."""
    action, protocol, port, destination, source_port, source, *rest = [*fields.split(), *[""] * 6]
    rest = [word for word in rest if word]
    if rest[:1] != ["in"] or protocol != "tcp" or source_port != "any" or not port.isdigit():
        return None
    if destination not in _EVERYBODY:
        return None
    comments = [word.removeprefix("comment=") for word in rest if word.startswith("comment=")]
    comment = bytes.fromhex(comments[0]).decode("utf-8", "replace") if comments else ""
    return UserRule(action, int(port), source, comment)


def _simple(chains: Mapping[str, tuple[Rule, ...]], version: int) -> Iterator[tuple[int, str]]:
    """Those of the administrator's rules that accept one TCP port from one network."""
    for rule in chains.get(_CHAINS[version], ()):
        if rule.verdict is not Verdict.ACCEPT or not rule.certain or rule.interfaces:
            continue
        if rule.ports and len(rule.ports) == 1:
            networks = rule.sources.networks()
            low, high = rule.ports[0]
            if low == high and len(networks) == 1:
                yield low, _source(networks[0])


def _arguments(rules: set[tuple[int, str]]) -> list[str]:
    """As "SOURCE PORT" each, in a steady order."""
    return [f"{source} {port}" for port, source in sorted(rules)]


def _summary(
    port: int,
    missing: set[tuple[int, str]],
    unwanted: set[tuple[int, str]],
    unloaded: set[tuple[int, str]],
    leftover: set[tuple[int, str]],
) -> str:
    parts = []
    if missing:
        parts.append(f"allow TCP {port} from {_names(missing)}")
    if unloaded:
        parts.append(f"load the rule for TCP {port} from {_names(unloaded)}")
    for old_port in sorted({each for each, _ in unwanted | leftover}):
        gone = {rule for rule in unwanted | leftover if rule[0] == old_port}
        parts.append(f"no longer allow TCP {old_port} from {_names(gone)}")
    return f"{', '.join(parts)} in ufw"


def _names(rules: set[tuple[int, str]]) -> str:
    return str(Addresses.parse(*(source for _, source in rules)))

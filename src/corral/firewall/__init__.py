"""The firewall of a Linux host: let one TCP port in from a declared scope, and change nothing else.

probe.sh asks, `parse` reads, `changes` says what to do, and `missing`, `wider_than`, `exposure` and
`warnings` judge what is there. Nothing here does I/O.

All that is active gets our rule, since a connection has to pass every filter. Rules of ours in a tool
that is not active are taken away, so that they don't come back with it unasked.
"""

from __future__ import annotations

from corral.changes import Change
from corral.errors import CorralError
from corral.firewall import firewalld, nftables, ufw
from corral.firewall.addresses import IPV4, Addresses
from corral.firewall.kernel import Opening, openings, union
from corral.firewall.scope import Scope
from corral.firewall.state import FirewallState, Kind, parse

__all__ = [
    "FirewallState",
    "Kind",
    "Scope",
    "changes",
    "exposure",
    "missing",
    "parse",
    "warnings",
    "wider_than",
]


def changes(state: FirewallState, scope: Scope | None, port: int) -> list[Change]:
    """What to do so that the port is open to the scope; with None, so that nothing of ours is left.

    Raises CorralError where the scope is refused and corral can't help it: by iptables rules made by hand,
    or by an nftables ruleset that nothing loads at boot.
    """
    if scope and "iptables" in state.kinds and (refused := _refused(state, scope, port)):
        raise CorralError(
            f"iptables rules made by hand refuse TCP {port} from {refused}; corral leaves such rules alone",
            f"Add this where they come from, in front of what refuses: {_iptables_commands(refused, port)}",
        )
    return [
        *ufw.changes(state.ufw, scope, port),
        *firewalld.changes(state.firewalld, scope, port),
        *_nftables_changes(state, scope, port),
    ]


def exposure(state: FirewallState, port: int) -> list[str]:
    """Every rule, ours or not, that lets other machines reach the port: a sentence for each."""
    return [opening.why for opening in _openings(state, port)]


def wider_than(state: FirewallState, scope: Scope, port: int) -> list[str]:
    """The rules, ours or not, that let in more than the scope; also that nothing filters at all."""
    return [opening.why for opening in _openings(state, port) if not opening.sources <= scope.addresses]


def missing(state: FirewallState, scope: Scope, port: int) -> list[str]:
    """What keeps the scope from reaching the port, now or after a reboot: a sentence for each."""
    found = []
    if refused := _refused(state, scope, port):
        found.append(f"{_refusing(state)} TCP {port} from {refused}.")
    for rule in ufw.standing_against(state.ufw, scope, port) if state.ufw.active else ():
        found.append(f"ufw has somebody's rule, {rule.action} TCP {port} from {rule.source}; corral leaves it.")
    if state.ufw.active and (sources := ufw.not_kept(state.ufw, scope, port)):
        found.append(f"ufw's file has no rule that allows TCP {port} from {', '.join(sources)}.")
    if state.firewalld.active and (zones := firewalld.not_kept(state.firewalld, scope, port)):
        found.append(f"firewalld's permanent zone {', '.join(zones)} has no rule that allows TCP {port} from {scope}.")
    if state.nftables.active and nftables.not_kept(state.nftables, scope, port):
        found.append(f"nftables would not load the rule that allows TCP {port} from {scope} at boot.")
    return found


def warnings(state: FirewallState) -> list[str]:
    """What a person should know about the firewall itself: none, or one that a reboot changes."""
    found = []
    found += [f"corral can't tell what filters this host ({program})" for program in state.unreadable]
    if not state.kinds and not state.unreadable:
        found.append("no firewall refuses anything on this host: whoever can send it packets reaches Ollama")
    if state.ufw.active and not state.ufw.enabled:
        found.append("ufw is active but not enabled at boot: run ufw enable and systemctl enable ufw")
    if state.ufw.enabled and not state.ufw.active:
        found.append("ufw is enabled but its rules are not loaded: run systemctl restart ufw")
    if state.firewalld.active and not state.firewalld.enabled:
        found.append("firewalld runs but is not enabled at boot: run systemctl enable firewalld")
    if state.firewalld.enabled and not state.firewalld.active:
        found.append("firewalld is enabled but does not answer: run systemctl restart firewalld")
    if state.nftables.active and not state.nftables.enabled:
        found.append("nftables rules are loaded, but nftables.service does not load them at boot")
    return found


def _nftables_changes(state: FirewallState, scope: Scope | None, port: int) -> list[Change]:
    if scope and state.nftables.active and not state.nftables.lasting and not _refused(state, scope, port):
        return []
    return nftables.changes(state.nftables, scope, port)


def _openings(state: FirewallState, port: int) -> list[Opening]:
    return openings(state.hooks, port, state.routes)


def _refused(state: FirewallState, scope: Scope, port: int) -> Addresses:
    """The networks of the scope that are refused for the most part.

    A ban on a few addresses, or on the guests' corner of 10.0.0.0/8, is not ours to complain about. Nor is
    IPv6 where the host has no such addresses, or ufw is told to leave it out.
    """
    let_in = Addresses()
    for opening in _openings(state, port):
        let_in |= opening.sources
    possible = state.routes.remote & IPV4 if state.ufw.active and not state.ufw.ipv6 else state.routes.remote
    networks = [Addresses.of([network]) & possible for network in scope.networks]
    return union(network - let_in for network in networks if (network & let_in).size * 2 < network.size)


def _refusing(state: FirewallState) -> str:
    if len(state.kinds) > 1:
        return f"{' and '.join(state.kinds)} refuse"
    return f"{state.kinds[0] if state.kinds else 'a rule'} refuses"


def _iptables_commands(refused: Addresses, port: int) -> str:
    return "; ".join(
        f"{'iptables' if network.version == 4 else 'ip6tables'} -I INPUT -p tcp -s {network} --dport {port} -j ACCEPT"
        for network in refused.networks()
    )

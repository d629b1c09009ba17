"""Which addresses can be at the other end of a connection that comes in on an interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from corral.firewall.addresses import EVERYWHERE, IPV4, IPV6, NEVER_REMOTE, Addresses


@dataclass(frozen=True)
class Arrival:
    """An interface, and the sources of connections that come in on it.

    sources: generous. Where a family's default route leads, or anywhere when it has none, all of that
    family; else what is routed there, since a source that is not routed back hardly completes a connection.
    """

    interface: str
    sources: Addresses


@dataclass(frozen=True)
class Routes:
    """The host's routes. by_interface: what is reached through each interface but the loopback."""

    by_interface: Mapping[str, Addresses]

    @property
    def arrivals(self) -> tuple[Arrival, ...]:
        """Every way in from other machines; one without a name when there is none yet."""
        if not self.by_interface:
            return (Arrival("", EVERYWHERE),)
        reached = self._reached
        disconnected = Addresses()
        for family in (IPV4, IPV6):
            if not family <= reached:
                disconnected |= family
        return tuple(Arrival(name, routed | disconnected) for name, routed in sorted(self.by_interface.items()))

    @property
    def remote(self) -> Addresses:
        """Where other machines are.

        All of IPv4, since a host without a route to the outside will get one. IPv6 only as far as it is
        routed: on a host that has but its link-local addresses, nobody on the internet comes in over it.
        """
        return (IPV4 | self._reached) - NEVER_REMOTE

    @property
    def _reached(self) -> Addresses:
        reached = Addresses()
        for routed in self.by_interface.values():
            reached |= routed
        return reached


def parse(ipv4: str, ipv6: str) -> Routes:
    """Read what `ip -j -4 route show table all` and the same with -6 print."""
    by_interface: dict[str, Addresses] = {}
    for text, everywhere in ((ipv4, IPV4), (ipv6, IPV6)):
        for route in json.loads(text or "[]"):
            # Only ways to other machines: no "local", "broadcast", "multicast", "unreachable".
            if route.get("type", "unicast") != "unicast":
                continue
            destination = route["dst"]
            there = everywhere if destination == "default" else Addresses.parse(destination)
            for hop in route.get("nexthops", [route]):
                if hop.get("dev", "lo") != "lo":
                    by_interface[hop["dev"]] = by_interface.get(hop["dev"], Addresses()) | there
    return Routes(by_interface)

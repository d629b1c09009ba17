"""Which addresses can be at the other end of a connection that comes in on an interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from corral.firewall.addresses import IPV4, IPV6, NEVER_REMOTE, Addresses


@dataclass(frozen=True)
class Routes:
    """The host's routes. by_interface: what is reached through each interface but the loopback."""

    by_interface: Mapping[str, Addresses]

    def through(self, pattern: str) -> Addresses:
        """Sources of connections on an interface, or on those that a pattern such as "eth*" names.

        A source that is not routed back the same way hardly completes a connection, so it is left out.
        """
        found = Addresses()
        for name, addresses in self.by_interface.items():
            if fnmatchcase(name, pattern):
                found |= addresses
        return found

    @property
    def remote(self) -> Addresses:
        """Sources that other machines can connect from.

        All of IPv4, since a host without a route to the outside will get one. IPv6 only as far as it is
        routed: on a host that has but its link-local addresses, nobody on the internet comes in over it.
        """
        return (IPV4 | (self.through("*") & IPV6)) - NEVER_REMOTE


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

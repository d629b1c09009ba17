"""Who may reach the server: `allow_from` in settings, read and put in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from corral.errors import CorralError
from corral.firewall.addresses import EVERYWHERE, IPV4, IPV6, Addresses, Network, show

# RFC 1918, RFC 4193, and link-local IPv6. Not 100.64.0.0/10: carriers share that among strangers.
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
ANY = ("0.0.0.0/0", "::/0")
_REMEDY = 'Write "private", "any", networks such as 192.168.1.0/24, or single addresses'


@dataclass(frozen=True)
class Scope:
    """The networks that a port is open to.

    networks: collapsed, IPv4 before IPv6, each family in ascending order; never empty.
    """

    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, values: Sequence[str]) -> Scope:
        """Read the values of `allow_from`.

        Raises CorralError, naming the value, when one is no network, has bits set behind its prefix, when
        "any" has company, or when networks add up to a whole address family without "any" being written.
        """
        if not values:
            raise CorralError("allow_from is empty", _REMEDY)
        if "any" in values:
            if len(values) > 1:
                others = ", ".join(value for value in values if value != "any")
                raise CorralError(
                    f'allow_from says "any" and also {others or "any again"}',
                    'Keep either "any" alone, which is everybody, or the others',
                )
            return cls(tuple(ip_network(network) for network in ANY))
        networks: list[Network] = []
        for value in values:
            networks += [ip_network(text) for text in PRIVATE] if value == "private" else [_network(value)]
        scope = cls(_collapsed(networks))
        for family in (IPV4, IPV6):
            if family <= scope.addresses:
                raise CorralError(
                    f"allow_from: {', '.join(values)} is {family}, so everybody on the internet",
                    'Write "any" alone if that is meant',
                )
        return scope

    @property
    def addresses(self) -> Addresses:
        """The same as a set of addresses."""
        return Addresses.of(self.networks)

    @property
    def is_any(self) -> bool:
        """Is it open to everybody?"""
        return self.addresses == EVERYWHERE

    def of_family(self, version: int) -> tuple[Network, ...]:
        """The networks of one family: 4 or 6."""
        return tuple(network for network in self.networks if network.version == version)

    def covers(self, source: str) -> bool:
        """Is an address or a whole network inside? ValueError if it is neither."""
        return Addresses.parse(source) <= self.addresses

    def __str__(self) -> str:
        if self.is_any:
            return "anywhere"
        return ", ".join(show(network) for network in self.networks)


def _collapsed(networks: Sequence[Network]) -> tuple[Network, ...]:
    fours = [network for network in networks if isinstance(network, IPv4Network)]
    sixes = [network for network in networks if isinstance(network, IPv6Network)]
    return (*collapse_addresses(fours), *collapse_addresses(sixes))


def _network(value: str) -> Network:
    try:
        network = ip_network(value)
    except ValueError as error:
        try:
            meant = ip_network(value, strict=False)
        except ValueError:
            raise CorralError(f'allow_from: "{value}" is not a network', _REMEDY) from error
        raise CorralError(
            f'allow_from: "{value}" is an address inside {meant}, not a network',
            f"Write {meant} for the whole network or {value.partition('/')[0]} for that address alone",
        ) from error
    if isinstance(network, IPv6Network) and network.network_address.scope_id is not None:
        raise CorralError(f'allow_from: "{value}" names an interface', "Leave out the % and what follows it")
    if network.is_loopback or network.is_multicast:
        raise CorralError(f'allow_from: "{value}" is not an address of another machine', _REMEDY)
    return network

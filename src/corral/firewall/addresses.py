"""Sets of IP addresses: what rules match, what may come in, what is left over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
    summarize_address_range,
)

from corral.words import joined

Network = IPv4Network | IPv6Network
Span = tuple[int, int]

# IPv6 addresses are counted from here, so that one sorted list of numbers holds both families.
# Not 2**32: then 255.255.255.255 and :: would be neighbours and merge.
_IPV6 = 1 << 33


@dataclass(frozen=True)
class Addresses:
    """A set of IPv4 and IPv6 addresses.

    spans: first and last address of each unbroken run, as numbers, sorted, never touching.
    """

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[Network]) -> Addresses:
        """All addresses of some networks."""
        return cls._merged((_number(net[0]), _number(net[-1])) for net in networks)

    @classmethod
    def parse(cls, *networks: str) -> Addresses:
        """All addresses of networks or single addresses in text; ValueError for anything else."""
        return cls.of(ip_network(network, strict=False) for network in networks)

    @classmethod
    def between(cls, first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> Addresses:
        """The addresses from first to last, both included."""
        return cls._merged([(_number(first), _number(last))])

    @classmethod
    def _merged(cls, spans: Iterable[Span]) -> Addresses:
        merged: list[Span] = []
        for low, high in sorted(spans):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    def __bool__(self) -> bool:
        return bool(self.spans)

    @property
    def size(self) -> int:
        """How many addresses there are."""
        return sum(high - low + 1 for low, high in self.spans)

    def __or__(self, other: Addresses) -> Addresses:
        return self._merged((*self.spans, *other.spans))

    def __and__(self, other: Addresses) -> Addresses:
        both: list[Span] = []
        mine, theirs = 0, 0
        while mine < len(self.spans) and theirs < len(other.spans):
            (low, high), (other_low, other_high) = self.spans[mine], other.spans[theirs]
            if max(low, other_low) <= min(high, other_high):
                both.append((max(low, other_low), min(high, other_high)))
            if high < other_high:
                mine += 1
            else:
                theirs += 1
        return Addresses(tuple(both))

    def __sub__(self, other: Addresses) -> Addresses:
        return self & other.complement()

    def __le__(self, other: Addresses) -> bool:
        return not self - other

    def complement(self) -> Addresses:
        """Every address that is not in this set."""
        gaps: list[Span] = []
        for low, high in ((0, (1 << 32) - 1), (_IPV6, _IPV6 + (1 << 128) - 1)):
            for first, last in self.spans:
                if first > high or last < low:
                    continue
                if first > low:
                    gaps.append((low, first - 1))
                low = last + 1
            if low <= high:
                gaps.append((low, high))
        return Addresses(tuple(gaps))

    def networks(self) -> tuple[Network, ...]:
        """The fewest networks that hold exactly these addresses: IPv4 first, each family in order."""
        found: list[Network] = []
        for low, high in self.spans:
            if low < _IPV6:
                found += summarize_address_range(IPv4Address(low), IPv4Address(high))
            else:
                found += summarize_address_range(IPv6Address(low - _IPV6), IPv6Address(high - _IPV6))
        return tuple(found)

    def __str__(self) -> str:
        """For people: "anywhere", or networks, and how many more when there are many."""
        if self == EVERYWHERE:
            return "anywhere"
        if self in (IPV4, IPV6):
            return f"anywhere over {'IPv4' if self == IPV4 else 'IPv6'}"
        shown = [show(network) for network in self.networks()]
        if len(shown) > _SHOWN:
            shown = [*shown[:_SHOWN], f"{len(shown) - _SHOWN} more"]
        return joined(shown) if shown else "nowhere"


_SHOWN = 8


def show(network: Network) -> str:
    """A network as people write it: a single address without its prefix length."""
    return str(network[0]) if network.prefixlen == network.max_prefixlen else str(network)


def _number(address: IPv4Address | IPv6Address) -> int:
    return int(address) + (_IPV6 if address.version == 6 else 0)


IPV4 = Addresses.parse("0.0.0.0/0")
IPV6 = Addresses.parse("::/0")
EVERYWHERE = IPV4 | IPV6
# No packet from another machine bears these as its source.
NEVER_REMOTE = Addresses.parse("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8")

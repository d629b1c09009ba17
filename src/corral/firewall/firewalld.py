"""firewalld: rules of ours are rich rules with the priority 11434, in the zones that traffic comes in by.

A service of our own would be a plainer mark, but firewalld learns of a new one by a reload only, and a
reload throws away whatever others have set at run time. Rich rules have no comment; a priority is the
one thing that tells ours from theirs everywhere (zone file, D-Bus, `firewall-cmd --list-all`). This one is
also behind everything that others allow or deny, so whoever denies something keeps denying it.

firewalld is told over D-Bus, as firewall-cmd tells it, what runs and what is permanent. For the latter it
rewrites the zone's whole file, and leaves one behind when the rule goes. So the file is then written anew
as it was with a block of ours in it, which can be taken out again to the byte.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from xml.etree import ElementTree

from corral.changes import Change
from corral.errors import CorralError
from corral.firewall.addresses import EVERYWHERE, Addresses, Network, show
from corral.firewall.scope import Scope
from corral.scripts import Script

PRIORITY = "11434"
_ZONE_FILE = "/etc/firewalld/zones/{}.xml"


@dataclass(frozen=True)
class OwnRule:
    """A rule of ours. source: None for everybody."""

    port: int
    source: Network | None

    def rich(self) -> str:
        """As firewalld reads and prints it."""
        source = ""
        if self.source is not None:
            source = f' family="ipv{self.source.version}" source address="{show(self.source)}"'
        return f'rule priority="{PRIORITY}"{source} port port="{self.port}" protocol="tcp" accept'

    def xml(self) -> str:
        """As it stands in a zone's file."""
        family = source = ""
        if self.source is not None:
            family = f' family="ipv{self.source.version}"'
            source = f'    <source address="{show(self.source)}"/>\n'
        return (
            f'  <rule{family} priority="{PRIORITY}">\n{source}'
            f'    <port port="{self.port}" protocol="tcp"/>\n    <accept/>\n  </rule>\n'
        )


@dataclass(frozen=True)
class Zone:
    """A zone.

    file: the text of its file in /etc, None where there is none. packaged: that of the file it came with.
    loaded: rich rules at run time as firewalld prints them. active: does traffic come in by it? An
    interface or a source belongs to it, or it is the default one. by_source: only by source.
    """

    name: str
    file: str | None
    packaged: str | None
    loaded: tuple[str, ...]
    active: bool
    by_source: bool

    @property
    def text(self) -> str:
        """The file that counts."""
        return self.file if self.file is not None else self.packaged or "<zone>\n</zone>\n"

    @property
    def target(self) -> str:
        """What the zone does with what no rule of it names: default, ACCEPT, DROP or %%REJECT%%."""
        return _root(self).get("target", "default")

    @property
    def takes_ours(self) -> bool:
        """Does the declared scope apply here?

        Not where everything is accepted anyway, nor in a zone that somebody gave sources to so that
        they be refused.
        """
        refusing = self.by_source and self.target != "default"
        return self.active and self.target != "ACCEPT" and not refusing


@dataclass(frozen=True)
class FirewalldState:
    """active: firewalld runs and answers. enabled: it will after a reboot. zones: those that matter."""

    active: bool
    enabled: bool
    zones: tuple[Zone, ...]


def parse(sections: Mapping[str, str]) -> FirewalldState:
    """Read what firewalld says and what its zones' files hold."""
    default = _strings(sections.get("firewall.firewalld.default", ""))
    active = _active_zones(sections.get("firewall.firewalld.active", ""))
    prefixes = ("firewall.firewalld.zone:", "firewall.firewalld.packaged:")
    names = sorted({name.partition(":")[2] for name in sections if name.startswith(prefixes)})
    return FirewalldState(
        active=bool(default),
        enabled=bool(
            re.search(r"Id=firewalld\.service\n(?:.+\n)*?UnitFileState=enabled", sections.get("firewall.units", ""))
        ),
        zones=tuple(
            Zone(
                name=name,
                file=sections.get(f"firewall.firewalld.zone:{name}"),
                packaged=sections.get(f"firewall.firewalld.packaged:{name}"),
                loaded=_strings(sections.get(f"firewall.firewalld.rules:{name}", "")),
                active=name in default or any(active.get(name, {}).values()),
                by_source=name not in default and not active.get(name, {}).get("interfaces"),
            )
            for name in names
        ),
    )


def changes(state: FirewalldState, scope: Scope | None, port: int) -> list[Change]:
    """What to do so that ours are there, or gone when scope is None or firewalld does not run."""
    added: dict[str, set[OwnRule]] = {}
    removed: dict[str, set[OwnRule]] = {}
    files: list[tuple[str, str, str]] = []
    remove: list[str] = []
    add: list[str] = []
    forget: list[str] = []
    keep: list[str] = []
    for zone in state.zones:
        wanted = _wanted(scope, port) if scope and state.active and zone.takes_ours else set()
        kept, loaded = kept_rules(zone), _loaded_rules(zone)
        if wanted - kept or wanted - set(loaded):
            added[zone.name] = (wanted - kept) | (wanted - set(loaded))
        if gone := (kept - wanted) | (set(loaded) - wanted):
            removed[zone.name] = gone
        remove += [f"{zone.name} {loaded[rule]}" for rule in _ordered(set(loaded) - wanted)]
        add += [f"{zone.name} {rule.rich()}" for rule in _ordered(wanted - set(loaded))]
        if kept != wanted:
            if state.active:
                forget += [f"{zone.name} {rule.rich()}" for rule in _ordered(kept - wanted)]
                keep += [f"{zone.name} {rule.rich()}" for rule in _ordered(wanted - kept)]
            text = _edited(zone, wanted)
            files.append((_ZONE_FILE.format(zone.name), _digest(zone.file), text))
    if not files and not remove and not add:
        return []
    variables = {
        "REMOVE": remove,
        "ADD": add,
        "FORGET": forget,
        "KEEP": keep,
        "FILES": [path for path, _, _ in files],
        "SEEN": [digest for _, digest, _ in files],
        "TEXTS": [text for _, _, text in files],
    }
    return [Change(_summary(added, removed), Script("firewall/firewalld.sh", variables))]


def not_kept(state: FirewalldState, scope: Scope, port: int) -> list[str]:
    """Zones whose file lacks rules of ours."""
    wanted = _wanted(scope, port)
    return [zone.name for zone in state.zones if zone.takes_ours and wanted - kept_rules(zone)]


def kept_rules(zone: Zone) -> set[OwnRule]:
    """The rules of ours that the zone's file holds."""
    found = set()
    for rule in _root(zone).findall("rule"):
        port = rule.find("port")
        if rule.get("priority") == PRIORITY and port is not None and port.get("port", "").isdigit():
            source = rule.find("source")
            address = source.get("address", "") if source is not None else ""
            found.add(OwnRule(int(port.get("port", "")), ip_network(address) if address else None))
    return found


def place(chain: str) -> str:
    """How people find a chain that firewalld made: filter_IN_public_allow is zone public."""
    zone = re.fullmatch(r"(?:filter_)?IN_(.+?)(?:_(?:pre|log|deny|allow|post))?", chain)
    return f"firewalld zone {zone[1]}" if zone else f"firewalld chain {chain}"


def _wanted(scope: Scope, port: int) -> set[OwnRule]:
    if scope.is_any:
        return {OwnRule(port, None)}
    return {OwnRule(port, network) for network in scope.networks}


def _loaded_rules(zone: Zone) -> dict[OwnRule, str]:
    found = {}
    for text in zone.loaded:
        port = re.search(r' port port="(\d+)" protocol="tcp" accept$', text)
        source = re.search(r' source address="([^"]+)"', text)
        if f'priority="{PRIORITY}"' in text and port:
            found[OwnRule(int(port[1]), ip_network(source[1]) if source else None)] = text
    return found


def _root(zone: Zone) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(zone.text.encode())
    except ElementTree.ParseError as error:
        raise CorralError(
            f"{_ZONE_FILE.format(zone.name)} is not valid XML", "Run firewall-cmd --check-config", str(error)
        ) from error


# What is put in, to the byte. "copy of": the file was not there; its packaged text had this digest.
_BLOCK = re.compile(
    r"  <!-- corral: ollama(?:, copy of (?P<copied>[0-9a-f]{64}))? -->\n"
    r".*?  <!-- end of corral: ollama -->\n",
    re.DOTALL,
)
# The same after firewall-cmd has rewritten the file.
_RULE = re.compile(rf'[ \t]*<rule\b[^>]*\bpriority="{PRIORITY}"[^>]*>.*?</rule>\n?', re.DOTALL)


def _edited(zone: Zone, wanted: set[OwnRule]) -> str:
    """The zone's file with exactly these rules of ours; "" when it is to be deleted."""
    block = _BLOCK.search(zone.text)
    bare = _RULE.sub("", _BLOCK.sub("", zone.text))
    copied = block["copied"] if block else _digest(zone.packaged) if zone.file is None else None
    if not wanted:
        return "" if copied == _digest(bare) else bare
    end = bare.rfind("</zone>")
    if end < 0:
        raise CorralError(f"{_ZONE_FILE.format(zone.name)} has no </zone>", "Write it as <zone>, a new line, </zone>")
    note = f", copy of {copied}" if copied else ""
    rules = "".join(rule.xml() for rule in _ordered(wanted))
    return f"{bare[:end]}  <!-- corral: ollama{note} -->\n{rules}  <!-- end of corral: ollama -->\n{bare[end:]}"


def _digest(text: str | None) -> str:
    return "" if text is None else hashlib.sha256(text.encode()).hexdigest()


def _ordered(rules: Iterable[OwnRule]) -> list[OwnRule]:
    return sorted(rules, key=lambda rule: (rule.port, _addresses([rule]).spans))


def _addresses(rules: Iterable[OwnRule]) -> Addresses:
    found = Addresses()
    for rule in rules:
        found |= EVERYWHERE if rule.source is None else Addresses.of([rule.source])
    return found


def _summary(added: Mapping[str, set[OwnRule]], removed: Mapping[str, set[OwnRule]]) -> str:
    parts = []
    for words, by_zone in (("allow", added), ("no longer allow", removed)):
        zones_of: dict[frozenset[OwnRule], list[str]] = {}
        for zone, rules in by_zone.items():
            zones_of.setdefault(frozenset(rules), []).append(zone)
        for same, zones in zones_of.items():
            where = f"zone{'s' if len(zones) > 1 else ''} {' and '.join(zones)}"
            for port in sorted({rule.port for rule in same}):
                whom = _addresses(rule for rule in same if rule.port == port)
                parts.append(f"{words} TCP {port} from {whom} in {where}")
    return f"{', '.join(parts)} of firewalld"


def _strings(text: str) -> tuple[str, ...]:
    """The strings in what busctl prints, as in `as 2 "one" "t\\"wo"`."""
    return tuple(re.sub(r"\\(.)", r"\1", quoted) for quoted in re.findall(r'"((?:[^"\\]|\\.)*)"', text))


def _active_zones(text: str) -> dict[str, dict[str, list[str]]]:
    """`a{sa{sas}} COUNT NAME COUNT KEY COUNT VALUE...` as zones with their interfaces and sources."""
    words = iter(re.findall(r'"(?:[^"\\]|\\.)*"|\S+', text)[1:])

    def count() -> int:
        return int(next(words, "0"))

    def name() -> str:
        return str(next(words)).strip('"')

    return {name(): {name(): [name() for _ in range(count())] for _ in range(count())} for _ in range(count())}

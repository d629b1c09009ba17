"""Windows Defender Firewall: its rules and profiles, kept in the registry, enforced by nftables on the host.

Where things are kept: [MS-GPFAS] 2.2 for group policy's values, which the local policy below
SharedAccess\\Parameters\\FirewallPolicy shares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .environment import expand
from .errors import ALREADY_EXISTS, FILE_NOT_FOUND, Win32Error
from .hives import FIREWALL_GROUP_POLICY, FIREWALL_POLICY
from .host import Host
from .network import Network
from .nftables import Situation, compile_rules
from .registry import Kind, Registry, Value
from .rules import PROFILES, Rule, parse
from .store import Store

RULES = rf"{FIREWALL_POLICY}\FirewallRules"
GROUP_RULES = rf"{FIREWALL_GROUP_POLICY}\FirewallRules"
DOCUMENT = "firewall"
#: The registry calls the private profile by its name of Windows XP.
KEYS = {"Domain": "DomainProfile", "Private": "StandardProfile", "Public": "PublicProfile"}
PERSISTENT = "PersistentStore"
ACTIVE = "ActiveStore"
GROUP_POLICY = "GroupPolicy"


@dataclass(frozen=True)
class Profile:
    """A profile's settings; None: not configured, so that another store or the built-in default decides."""

    name: str
    enabled: bool | None = None
    default_inbound: str | None = None
    default_outbound: str | None = None
    allow_inbound_rules: bool | None = None
    allow_local_rules: bool | None = None
    notify: bool | None = None
    #: Names of interfaces for which the profile is off.
    disabled_interfaces: tuple[str, ...] = ()


class Firewall:
    """The firewall as one identity sees it; changes need an administrator, as the registry below does."""

    def __init__(self, registry: Registry, store: Store, network: Network, host: Host, *, enforced: bool) -> None:
        self._registry = registry
        self._store = store
        self._network = network
        self._host = host
        self._enforced = enforced

    def rules(self, store: str = PERSISTENT) -> list[Rule]:
        """The rules of PersistentStore, GroupPolicy or ActiveStore (what counts)."""
        if store == PERSISTENT:
            return self._stored(RULES)
        if store == GROUP_POLICY:
            return self._stored(GROUP_RULES)
        # The local ones count where group policy lets them count in the profile that is in use.
        merged = self.profile(self._network.category, ACTIVE).allow_local_rules is not False
        return self.rules(GROUP_POLICY) + (self.rules() if merged else [])

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules() if rule.name.lower() == name.lower()), None)

    def add(self, rule: Rule) -> None:
        if self.rule(rule.name):
            raise Win32Error(ALREADY_EXISTS, rule.name)
        self._put(rule)

    def change(self, rule: Rule) -> None:
        if not self.rule(rule.name):
            raise Win32Error(FILE_NOT_FOUND, rule.name)
        self._put(rule)

    def remove(self, name: str) -> None:
        self._registry.delete_value(RULES, name)
        self.apply()

    def profile(self, name: str, store: str = PERSISTENT) -> Profile:
        """A profile in PersistentStore, GroupPolicy or ActiveStore (what counts, nothing left open)."""
        if store == GROUP_POLICY:
            return self._read(FIREWALL_GROUP_POLICY, name)
        own = self._read(FIREWALL_POLICY, name)
        if store == PERSISTENT:
            return own
        policy = self.profile(name, GROUP_POLICY)

        def decided(setting: str, default: object) -> object:
            for profile in (policy, own):
                if getattr(profile, setting) is not None:
                    return getattr(profile, setting)
            return default

        return Profile(
            name,
            enabled=bool(decided("enabled", True)),
            default_inbound=str(decided("default_inbound", "Block")),
            default_outbound=str(decided("default_outbound", "Allow")),
            allow_inbound_rules=bool(decided("allow_inbound_rules", True)),
            allow_local_rules=policy.allow_local_rules is not False,
            notify=bool(decided("notify", True)),
            disabled_interfaces=own.disabled_interfaces,
        )

    def set_profile(self, profile: Profile, store: str = PERSISTENT) -> None:
        """Writes a profile's settings; those that are None are taken away."""
        root = FIREWALL_GROUP_POLICY if store == GROUP_POLICY else FIREWALL_POLICY
        key = rf"{root}\{KEYS[profile.name]}"
        self._registry.create(key)
        values = {
            "EnableFirewall": profile.enabled,
            "DefaultInboundAction": None if profile.default_inbound is None else profile.default_inbound == "Block",
            "DefaultOutboundAction": None if profile.default_outbound is None else profile.default_outbound == "Block",
            "DoNotAllowExceptions": None if profile.allow_inbound_rules is None else not profile.allow_inbound_rules,
            "DisableNotifications": None if profile.notify is None else not profile.notify,
            "AllowLocalPolicyMerge": profile.allow_local_rules,
        }
        for name, value in values.items():
            if value is not None:
                self._registry.set(key, Value(name, Kind.DWord, int(value)))
            elif self._registry.value(key, name) is not None:
                self._registry.delete_value(key, name)
        if store == PERSISTENT:
            with self._store.change(DOCUMENT) as document:
                document.setdefault("disabled_interfaces", {})[profile.name] = list(profile.disabled_interfaces)
        self.apply()

    def compiled(self) -> str:
        """The table of nftables that does what the firewall says now."""
        name = self._network.category
        profile = self.profile(name, ACTIVE)
        situation = Situation(
            profile=name,
            enabled=bool(profile.enabled),
            shielded=profile.allow_inbound_rules is False,
            default=profile.default_inbound or "Block",
            excluded=profile.disabled_interfaces,
            subnets=tuple(self._network.subnets()),
        )
        return compile_rules(self.rules(ACTIVE), situation, self._listening_ports)

    def apply(self) -> bool:
        """Loads the table into the host where it differs from what was loaded last; whether it did."""
        if not self._enforced:
            return False
        with self._store.locked():
            ruleset = self.compiled()
            boot = self._host.boot_time()
            loaded = self._store.read(DOCUMENT).get("loaded")
            if loaded == [round(boot), ruleset]:
                return False
            self._host.load_rules(ruleset)
            with self._store.change(DOCUMENT) as document:
                document["loaded"] = [round(boot), ruleset]
            return True

    def _listening_ports(self, program: str) -> list[int]:
        variables = {"SystemRoot": r"C:\Windows", "ProgramFiles": r"C:\Program Files", "SystemDrive": "C:"}
        return self._network.listening_ports(expand(program, variables))

    def _put(self, rule: Rule) -> None:
        self._registry.set(RULES, Value(rule.name, Kind.String, rule.format()))
        self.apply()

    def _stored(self, key: str) -> list[Rule]:
        if not self._registry.exists(key):
            return []
        return [parse(value.name, str(value.data)) for value in self._registry.values(key)]

    def _read(self, root: str, name: str) -> Profile:
        key = rf"{root}\{KEYS[name]}"
        found = (
            {value.name.lower(): value.data for value in self._registry.values(key)}
            if self._registry.exists(key)
            else {}
        )

        def flag(value: str) -> bool | None:
            data = found.get(value.lower())
            return None if data is None else bool(data)

        def action(value: str) -> str | None:
            data = flag(value)
            return None if data is None else "Block" if data else "Allow"

        shielded, silent = flag("DoNotAllowExceptions"), flag("DisableNotifications")
        profile = Profile(
            name,
            enabled=flag("EnableFirewall"),
            default_inbound=action("DefaultInboundAction"),
            default_outbound=action("DefaultOutboundAction"),
            allow_inbound_rules=None if shielded is None else not shielded,
            allow_local_rules=flag("AllowLocalPolicyMerge"),
            notify=None if silent is None else not silent,
        )
        if root == FIREWALL_POLICY:
            names = self._store.read(DOCUMENT).get("disabled_interfaces", {}).get(name, [])
            profile = replace(profile, disabled_interfaces=tuple(names))
        return profile


__all__ = ["ACTIVE", "GROUP_POLICY", "PERSISTENT", "PROFILES", "Firewall", "Profile"]

"""Cmdlets of the network and of the firewall (modules NetTCPIP and NetSecurity).

The firewall's cmdlets come from CIM: what they find are objects with enumerations for properties, what they do not find
is an error named after the property that was asked for. Sources: the modules' documentation; the query's messages from
PowerShell's source (Microsoft.PowerShell.Commands.Management, cimcmdlets and cmdletization).
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.firewall import ACTIVE, GROUP_POLICY, PERSISTENT, PROFILES, Profile
from lab.windows.machine.rules import Rule, RuleError, addresses, ports, protocol, protocol_name
from lab.windows.machine.stock import GROUPS
from lab.windows.powershell import Call, Command, EnumValue, Parameter, PowerShellError, PSObject
from lab.windows.powershell.values import TypedArray, UInt16, UInt32

from . import enums
from .support import Shell, cim_error, cmdlet, has_wildcard, wildcard

CIM = "Microsoft.Management.Infrastructure.CimInstance"
STANDARD = "root/standardcimv2"
STORES = {"persistentstore": PERSISTENT, "activestore": ACTIVE, "localhost": PERSISTENT}
STORE = Parameter("PolicyStore")
#: Bits of NET_FW_PROFILE_TYPE2.
PROFILE_BITS = {"Domain": 1, "Private": 2, "Public": 4}
JOB_ERROR = "Microsoft.PowerShell.Cmdletization.Cim.CimJobException"


def nothing_found(kind: str, name: str, value: object) -> PowerShellError:
    """What a CIM cmdlet says when a query for one property's value finds nothing."""
    return PowerShellError(
        f"No {kind} objects found with property '{name}' equal to '{value}'.  Verify the value of the property and "
        "retry.",
        f"CmdletizationQuery_NotFound_{name}", "ObjectNotFound", value, exception=JOB_ERROR,
    )  # fmt: skip


def cim(kind: str, namespace: str, properties: dict[str, object]) -> PSObject:
    """An object of a CIM class."""
    names = (f"{CIM}#{namespace}/{kind}", CIM)
    shown = properties.get("Name") or properties.get("InstanceID") or properties.get("DeviceID")
    return PSObject(properties, names, text=f'{kind} (Name = "{shown}")' if shown is not None else kind)


def enumerated(kind: Any, value: str) -> EnumValue:
    found = kind.named(value)
    assert isinstance(found, EnumValue), (kind.name, value)
    return found


def commands(shell: Shell) -> list[Command]:
    return [*_network(shell), *_firewall(shell)]


def _network(shell: Shell) -> list[Command]:
    network = shell.machine.network

    @cmdlet(
        "Get-NetTCPConnection",
        Parameter("LocalAddress", "string[]", position=0), Parameter("LocalPort", "uint16[]", position=1),
        Parameter("RemoteAddress", "string[]"), Parameter("RemotePort", "uint16[]"),
        Parameter("State", f"{enums.TCP_STATE.name}[]"), Parameter("OwningProcess", "uint32[]"),
        error_class="Get-NetTCPConnection",
    )  # fmt: skip
    def get_net_tcp_connection(call: Call) -> Iterator[object]:
        asked = {
            name: call.get(name)
            for name in ("LocalAddress", "LocalPort", "RemoteAddress", "RemotePort", "State", "OwningProcess")
            if call.has(name)
        }
        found = []
        for connection in network.connections():
            made = {
                "LocalAddress": connection.local_address,
                "LocalPort": UInt16(connection.local_port),
                "RemoteAddress": connection.remote_address,
                "RemotePort": UInt16(connection.remote_port),
                "State": enumerated(enums.TCP_STATE, connection.state),
                "OwningProcess": UInt32(connection.pid),
            }
            if all(any(_same(made[name], value) for value in values) for name, values in asked.items()):
                found.append(cim("MSFT_NetTCPConnection", STANDARD, made))
        yield from found
        if asked and not found:
            name, values = next(iter(asked.items()))
            call.write_error(nothing_found("MSFT_NetTCPConnection", name, values[0]))

    def _same(left: object, right: object) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            return bool(wildcard(right).match(left))
        if isinstance(left, EnumValue) or isinstance(right, EnumValue):
            return left == right
        return int(str(left)) == int(str(right))

    @cmdlet(
        "Get-NetIPAddress",
        Parameter("IPAddress", "string[]", position=0), Parameter("InterfaceAlias", "string[]"),
        Parameter("InterfaceIndex", "uint32[]"), Parameter("AddressFamily", f"{enums.ADDRESS_FAMILY.name}[]"),
        error_class="Get-NetIPAddress",
    )  # fmt: skip
    def get_net_ip_address(call: Call) -> Iterator[object]:
        found = 0
        for address in network.addresses():
            version = ipaddress.ip_address(address.address).version
            alias = "Loopback Pseudo-Interface 1" if address.loopback else "Ethernet"
            shown = address.address
            if version == 6 and ipaddress.ip_address(shown).is_link_local:
                shown += f"%{address.index}"
            made = {
                "IPAddress": shown,
                "InterfaceIndex": UInt32(address.index),
                "InterfaceAlias": alias,
                "AddressFamily": enumerated(enums.ADDRESS_FAMILY, f"IPv{version}"),
                "PrefixLength": address.prefix_length,
            }
            names = ("IPAddress", "InterfaceAlias", "InterfaceIndex", "AddressFamily")
            if all(not call.has(name) or any(_same(made[name], value) for value in call.get(name)) for name in names):
                found += 1
                yield cim("MSFT_NetIPAddress", STANDARD, made)
        if not found and call.bound:
            name, values = next(iter(call.bound.items()))
            call.write_error(nothing_found("MSFT_NetIPAddress", name, values[0]))

    @cmdlet("Get-NetConnectionProfile", error_class="Get-NetConnectionProfile")
    def get_net_connection_profile(call: Call) -> Iterator[object]:
        category = network.category
        shown = "DomainAuthenticated" if category == "Domain" else category
        for index in sorted({address.index for address in network.addresses() if not address.loopback}):
            made = {
                "Name": "Network",
                "InterfaceAlias": "Ethernet",
                "InterfaceIndex": UInt32(index),
                "NetworkCategory": shown,
            }
            yield cim("MSFT_NetConnectionProfile", STANDARD, made)

    return [get_net_tcp_connection, get_net_ip_address, get_net_connection_profile]


def _firewall(shell: Shell) -> list[Command]:
    firewall = shell.session.firewall

    def store_of(call: Call) -> str:
        if not call.has("PolicyStore"):
            return PERSISTENT
        name = call.get("PolicyStore").lower()
        if name not in STORES:
            raise NotModelled(f"-PolicyStore {call.get('PolicyStore')}")
        return STORES[name]

    def shown(rule: Rule, source: str) -> PSObject:
        local = source == PERSISTENT
        profile = sum(PROFILE_BITS[name] for name in rule.profiles)
        group = GROUPS.get(rule.group, rule.group) or None
        description = rule.description or None
        properties: dict[str, object] = {
            "Name": rule.name,
            "ID": rule.name,
            "DisplayName": rule.display_name,
            "Group": rule.group or None,
            "Enabled": enumerated(enums.ENABLED, "True" if rule.active else "False"),
            "Profile": enums.PROFILE.of(0 if profile == 7 else profile),
            "Platform": TypedArray([], "System.String"),
            "Direction": enumerated(enums.DIRECTION, "Inbound" if rule.direction == "In" else "Outbound"),
            "Action": enumerated(enums.ACTION, rule.action),
            "EdgeTraversalPolicy": enumerated(enums.EDGE, rule.edge),
            "LSM": False,
            "PrimaryStatus": enumerated(enums.PRIMARY_STATUS, "OK"),
            "Status": "The rule was parsed successfully from the store. (65536)",
            "EnforcementStatus": "NotApplicable",
            "PolicyStoreSourceType": enumerated(enums.STORE_TYPE, "Local" if local else "GroupPolicy"),
            "Caption": None,
            "Description": description,
            "ElementName": rule.display_name,
            "InstanceID": rule.name,
            "DisplayGroup": group,
            "PolicyStoreSource": PERSISTENT if local else "GroupPolicy",
            "CreationClassName": f"MSFT|FW|FirewallRule|{rule.name}",
        }
        return cim("MSFT_NetFirewallRule", STANDARD, properties)

    def every(store: str) -> list[tuple[Rule, str]]:
        if store == PERSISTENT:
            return [(rule, PERSISTENT) for rule in firewall.rules()]
        policy = [(rule, GROUP_POLICY) for rule in firewall.rules(GROUP_POLICY)]
        merged = {rule.name for rule in firewall.rules(ACTIVE)}
        return policy + [(rule, PERSISTENT) for rule in firewall.rules() if rule.name in merged]

    #: What rules can be asked for, and the property behind it.
    keys = {
        "Name": ("InstanceID", lambda rule: rule.name),
        "DisplayName": ("DisplayName", lambda rule: rule.display_name),
        "DisplayGroup": ("DisplayGroup", lambda rule: GROUPS.get(rule.group, rule.group)),
        "Group": ("RuleGroup", lambda rule: rule.group),
        "Description": ("Description", lambda rule: rule.description),
    }
    choosers = (
        Parameter("Name", "string[]", position=0, by_name=True, aliases=("ID",)), Parameter("DisplayName", "string[]"),
        Parameter("DisplayGroup", "string[]"), Parameter("Group", "string[]", aliases=("RuleGroup",)),
        Parameter("Description", "string[]"), Parameter("All", "switch"), STORE,
    )  # fmt: skip
    conditions = (
        Parameter("Enabled", f"{enums.ENABLED.name}[]"), Parameter("Direction", f"{enums.DIRECTION.name}[]"),
        Parameter("Action", f"{enums.ACTION.name}[]"),
    )  # fmt: skip

    def found(call: Call, record: dict[str, Any]) -> Iterator[tuple[Rule, str]]:
        """The rules that a call names; what it names exactly and is missing is reported."""
        objects = record.get("InputObject")
        everything = every(store_of(call))
        if objects is not None:
            by_name = {rule.name.lower(): (rule, source) for rule, source in everything}
            for made in objects:
                name = str(made["Name"])
                if name.lower() not in by_name:
                    raise nothing_found("MSFT_NetFirewallRule", "InstanceID", name)
                yield by_name[name.lower()]
            return
        chosen = [(key, record[key]) for key in keys if record.get(key) is not None]
        if len(chosen) > 1 and {key for key, _ in chosen} & {"Name", "DisplayName"}:
            raise NotModelled(f"{call.command.name} with {' and '.join(key for key, _ in chosen)}")
        left = everything
        for key, patterns in chosen:
            shown_as, value = keys[key]
            matched: list[tuple[Rule, str]] = []
            for pattern in patterns:
                hits = [(rule, source) for rule, source in left if wildcard(pattern).match(value(rule))]
                if not hits and not has_wildcard(pattern):
                    call.write_error(nothing_found("MSFT_NetFirewallRule", shown_as, pattern))
                matched += hits
            left = matched
        for name, read in (
            ("Enabled", lambda rule: "True" if rule.active else "False"),
            ("Direction", lambda rule: "Inbound" if rule.direction == "In" else "Outbound"),
            ("Action", lambda rule: rule.action),
        ):
            wanted = record.get(name)
            if wanted is not None and isinstance(wanted, list):
                left = [(rule, source) for rule, source in left if read(rule) in [str(value) for value in wanted]]
        yield from left

    @cmdlet("Get-NetFirewallRule", *choosers, *conditions, error_class="Get-NetFirewallRule")
    def get_rule(call: Call) -> Iterator[object]:
        for record in call.records():
            for rule, source in found(call, record):
                yield shown(rule, source)

    settings = (
        Parameter("Description"), Parameter("Enabled", enums.ENABLED.name), Parameter("Profile", enums.PROFILE.name),
        Parameter("Direction", enums.DIRECTION.name), Parameter("Action", enums.ACTION.name),
        Parameter("EdgeTraversalPolicy", enums.EDGE.name), Parameter("LocalAddress", "string[]"),
        Parameter("RemoteAddress", "string[]"), Parameter("Protocol"), Parameter("LocalPort", "string[]"),
        Parameter("RemotePort", "string[]"), Parameter("IcmpType", "string[]"), Parameter("Program"),
        Parameter("Service"),
    )  # fmt: skip

    def applied(call: Call, rule: Rule) -> Rule:
        """A rule with what the call sets. Raises the error that the provider has for what it does not take."""
        changes: dict[str, Any] = {}
        if call.has("Enabled"):
            changes["active"] = str(call.get("Enabled")) == "True"
        if call.has("Profile"):
            value = call.get("Profile").value
            if value == 65535:
                raise NotModelled("-Profile NotApplicable")
            # All three together are the same as Any.
            named = tuple(name for name in PROFILES if value & PROFILE_BITS[name])
            changes["profiles"] = () if value in (0, 7) else named
        if call.has("Direction"):
            changes["direction"] = "In" if str(call.get("Direction")) == "Inbound" else "Out"
        if call.has("Action"):
            if str(call.get("Action")) == "NotConfigured":
                raise NotModelled("-Action NotConfigured")
            changes["action"] = str(call.get("Action"))
        if call.has("EdgeTraversalPolicy"):
            changes["edge"] = str(call.get("EdgeTraversalPolicy"))
        for name, attribute in (("Description", "description"), ("Program", "program"), ("Service", "service")):
            if call.has(name):
                text = str(call.get(name))
                if "|" in text:
                    raise _invalid("The parameter is incorrect.")
                changes[attribute] = "" if text.lower() == "any" else text
        try:
            if call.has("Protocol"):
                changes["protocol"] = protocol(call.get("Protocol"))
            for name, attribute in (("LocalPort", "local_ports"), ("RemotePort", "remote_ports")):
                if call.has(name):
                    changes[attribute] = ports(call.get(name))
            for name, attribute in (("LocalAddress", "local_addresses"), ("RemoteAddress", "remote_addresses")):
                if call.has(name):
                    changes[attribute] = addresses(call.get(name))
        except RuleError as error:
            raise _invalid(str(error)) from None
        if call.has("IcmpType"):
            changes["icmp_types"] = (
                ()
                if call.get("IcmpType") == ["Any"]
                else tuple(kind if ":" in kind else f"{kind}:*" for kind in call.get("IcmpType"))
            )
        made = replace(rule, **changes)
        if (made.local_ports or made.remote_ports) and made.protocol not in (6, 17):
            raise _invalid("One of the port keywords or numbers needs the protocol TCP or UDP.")
        return made

    @cmdlet(
        "New-NetFirewallRule", Parameter("Name", aliases=("ID",)), Parameter("DisplayName", mandatory=True),
        Parameter("Group", aliases=("RuleGroup",)), STORE, *settings, should_process=True,
        error_class="New-NetFirewallRule",
    )  # fmt: skip
    def new_rule(call: Call) -> Iterator[object]:
        if store_of(call) != PERSISTENT:
            raise NotModelled("New-NetFirewallRule in another store")
        name = call.get("Name") or f"{{{str(uuid.uuid4()).upper()}}}"
        for text in (name, call.get("DisplayName"), call.get("Group", "")):
            if "|" in text:
                raise _invalid("The parameter is incorrect.")
        if call.get("DisplayName").lower() == "all":
            raise _invalid("The parameter is incorrect.")
        rule = applied(call, Rule(name, call.get("DisplayName"), group=call.get("Group", "")))
        if call.what_if:
            return
        try:
            firewall.add(rule)
        except Win32Error as error:
            raise cim_error(error, name) from error
        yield shown(rule, PERSISTENT)

    chosen_rules = Parameter("InputObject", "object[]", from_pipeline=True)
    pass_through = Parameter("PassThru", "switch")
    selectors = tuple(parameter for parameter in choosers if parameter.name not in ("Description", "All"))

    @cmdlet(
        "Set-NetFirewallRule", *selectors, chosen_rules, Parameter("NewDisplayName"), *settings, pass_through,
        should_process=True, error_class="Set-NetFirewallRule",
    )  # fmt: skip
    def set_rule(call: Call) -> Iterator[object]:
        for record in call.records():
            named = {
                key: value
                for key, value in record.items()
                if key not in ("Enabled", "Direction", "Action", "Description")
            }
            for rule, _ in list(found(call, named)):
                changed = applied(call, rule)
                if call.has("NewDisplayName"):
                    changed = replace(changed, display_name=call.get("NewDisplayName"))
                yield from done(call, changed, partial(firewall.change, changed))

    def done(call: Call, rule: Rule, change: Callable[[], None]) -> Iterator[object]:
        """Changes something about a rule, unless only asked what would be, and gives the rule where it is wanted."""
        if not call.what_if:
            try:
                change()
            except Win32Error as error:
                raise cim_error(error, rule.name) from error
        if call.switch("PassThru"):
            yield shown(rule, PERSISTENT)

    def switch(name: str, active: bool) -> Command:
        @cmdlet(name, *selectors, chosen_rules, pass_through, should_process=True, error_class=name)
        def run(call: Call) -> Iterator[object]:
            for record in call.records():
                for rule, _ in list(found(call, record)):
                    changed = replace(rule, active=active)
                    yield from done(call, changed, partial(firewall.change, changed))

        return run

    @cmdlet(
        "Remove-NetFirewallRule", *choosers, *conditions, chosen_rules, pass_through, should_process=True,
        error_class="Remove-NetFirewallRule",
    )  # fmt: skip
    def remove_rule(call: Call) -> Iterator[object]:
        for record in call.records():
            if not any(
                record.get(key) is not None for key in (*keys, "InputObject", "Enabled", "Direction", "Action")
            ) and not call.switch("All"):
                raise NotModelled("Remove-NetFirewallRule of all rules without -All")
            for rule, _ in list(found(call, record)):
                yield from done(call, rule, partial(firewall.remove, rule.name))

    associated = Parameter("AssociatedNetFirewallRule", "object", from_pipeline=True)

    def filters(name: str, kind: str, properties: Any, *more: Parameter) -> Command:
        @cmdlet(name, associated, Parameter("All", "switch"), STORE, *more, error_class=name)
        def get_filter(call: Call) -> Iterator[object]:
            everything = (
                every(store_of(call))
                if store_of(call) == ACTIVE
                else [
                    *((rule, PERSISTENT) for rule in firewall.rules()),
                    *((rule, GROUP_POLICY) for rule in firewall.rules(GROUP_POLICY)),
                ]
            )
            for record in call.records():
                rule = record.get("AssociatedNetFirewallRule")
                if isinstance(rule, PSObject) and not rule.type_names[0].endswith("MSFT_NetFirewallRule"):
                    raise NotModelled(f"{name} of a {rule.type_names[0]}")
                wanted = str(rule["Name"]).lower() if isinstance(rule, PSObject) else None
                for found_rule, source in everything:
                    if wanted is None or found_rule.name.lower() == wanted:
                        made = properties(found_rule)
                        if all(_asked(made[key], call.get(key)) for key in ("Program", "Protocol") if call.has(key)):
                            more = {"InstanceID": found_rule.name, "PolicyStoreSource": source}
                            yield cim(kind, STANDARD, {**made, **more})

        return get_filter

    def _asked(value: object, patterns: Iterable[str]) -> bool:
        return any(wildcard(pattern).match(str(value)) for pattern in patterns)

    port_filter = filters(
        "Get-NetFirewallPortFilter", "MSFT_NetProtocolPortFilter",
        lambda rule: {
            "Protocol": protocol_name(rule.protocol),
            "LocalPort": _several(rule.local_ports),
            "RemotePort": _several(rule.remote_ports),
            "IcmpType": _several(rule.icmp_types),
            "DynamicTarget": enumerated(enums.DYNAMIC_TARGET, "Any"),
        },
        Parameter("Protocol", "string[]"),
    )  # fmt: skip
    address_filter = filters(
        "Get-NetFirewallAddressFilter", "MSFT_NetAddressFilter",
        lambda rule: {"LocalAddress": _several(rule.local_addresses), "RemoteAddress": _several(rule.remote_addresses)},
    )  # fmt: skip
    application_filter = filters(
        "Get-NetFirewallApplicationFilter", "MSFT_NetApplicationFilter",
        lambda rule: {"Program": rule.program or "Any", "Package": None},
        Parameter("Program", "string[]"),
    )  # fmt: skip

    @cmdlet(
        "Get-NetFirewallProfile", Parameter("Name", "string[]", position=0, aliases=("Profile",)),
        Parameter("All", "switch"), STORE, error_class="Get-NetFirewallProfile",
    )  # fmt: skip
    def get_profile(call: Call) -> Iterator[object]:
        store = store_of(call)
        for name in PROFILES:
            if call.has("Name") and not any(wildcard(pattern).match(name) for pattern in call.get("Name")):
                continue
            yield profile_object(firewall.profile(name, store))
        for wanted in call.get("Name", ()):
            if not has_wildcard(wanted) and wanted.lower() not in (name.lower() for name in PROFILES):
                call.write_error(nothing_found("MSFT_NetFirewallProfile", "InstanceID", wanted))

    def profile_object(profile: Profile) -> PSObject:
        def flag(value: bool | None) -> EnumValue:
            return enumerated(enums.GPO_BOOLEAN, "NotConfigured" if value is None else str(value))

        def action(value: str | None) -> EnumValue:
            return enumerated(enums.ACTION, value or "NotConfigured")

        aliases = list(profile.disabled_interfaces) or ["NotConfigured"]
        return cim("MSFT_NetFirewallProfile", STANDARD, {
            "Name": profile.name,
            "Profile": profile.name,
            "Enabled": flag(profile.enabled),
            "DefaultInboundAction": action(profile.default_inbound),
            "DefaultOutboundAction": action(profile.default_outbound),
            "AllowInboundRules": flag(profile.allow_inbound_rules),
            "AllowLocalFirewallRules": flag(False if profile.allow_local_rules is False else None),
            "AllowLocalIPsecRules": flag(None),
            "AllowUserApps": flag(None),
            "AllowUserPorts": flag(None),
            "AllowUnicastResponseToMulticast": flag(None),
            "NotifyOnListen": flag(profile.notify),
            "EnableStealthModeForIPsec": flag(None),
            "LogFileName": r"%systemroot%\system32\LogFiles\Firewall\pfirewall.log",
            "LogMaxSizeKilobytes": 4096,
            "LogAllowed": flag(False),
            "LogBlocked": flag(False),
            "DisabledInterfaceAliases": TypedArray(aliases, "System.String"),
        })  # fmt: skip

    return [
        get_rule, new_rule, set_rule,
        switch("Enable-NetFirewallRule", True), switch("Disable-NetFirewallRule", False),
        remove_rule, port_filter, address_filter, application_filter, get_profile,
    ]  # fmt: skip


def _several(values: tuple[str, ...]) -> object:
    """Any, the one value, or an array of several."""
    if not values:
        return "Any"
    return values[0] if len(values) == 1 else TypedArray(values, "System.String")


def _invalid(text: str) -> PowerShellError:
    """ERROR_INVALID_PARAMETER as the firewall's provider says it."""
    return PowerShellError(
        text, "Windows System Error 87", "InvalidArgument", exception="Microsoft.Management.Infrastructure.CimException"
    )

"""The firewall rules that come with Windows 11: those that are on, and the best known of those that are off.

Identities, ports and programs are those of a new machine; names are written out where Windows refers to its DLLs.
"""

from __future__ import annotations

from .rules import Rule

SVCHOST = r"%SystemRoot%\system32\svchost.exe"
SSHD = r"%SystemRoot%\system32\OpenSSH\sshd.exe"
TCP, UDP, ICMP4, ICMP6 = 6, 17, 1, 58
PRIVATE, PUBLIC, DOMAIN = ("Private",), ("Public",), ("Domain",)
NOT_PUBLIC = ("Domain", "Private")
LOCAL = ("LocalSubnet",)
CORE = "@FirewallAPI.dll,-25000"
SHARING = "@FirewallAPI.dll,-28502"
REMOTE_DESKTOP = "@FirewallAPI.dll,-28752"
REMOTE_MANAGEMENT = "@FirewallAPI.dll,-30267"
MDNS = "@%SystemRoot%\\system32\\firewallapi.dll,-37302"
CAST = "@FirewallAPI.dll,-36001"
DELIVERY = "@%systemroot%\\system32\\dosvc.dll,-100"
DISCOVERY = "@FirewallAPI.dll,-32752"
#: What each resource of a DLL says, for -DisplayGroup.
GROUPS = {
    CORE: "Core Networking",
    SHARING: "File and Printer Sharing",
    REMOTE_DESKTOP: "Remote Desktop",
    REMOTE_MANAGEMENT: "Windows Remote Management",
    MDNS: "mDNS",
    CAST: "Cast to Device functionality",
    DELIVERY: "Delivery Optimization",
    DISCOVERY: "Network Discovery",
}

OPENSSH = Rule(
    "OpenSSH-Server-In-TCP", "OpenSSH SSH Server (sshd)", protocol=TCP, local_ports=("22",), program=SSHD,
    description="Inbound rule for OpenSSH SSH Server (sshd)", group="OpenSSH Server",
)  # fmt: skip


def _core(name: str, shown: str, protocol: int, **more: object) -> Rule:
    return Rule(f"CoreNet-{name}", f"Core Networking - {shown}", protocol=protocol, group=CORE, **more)  # type: ignore[arg-type]


def _icmp6(name: str, shown: str, kind: str, *, local: bool = False) -> Rule:
    return _core(
        f"ICMP6-{name}", shown, ICMP6, icmp_types=(kind,), program="System",
        remote_addresses=("LocalSubnet6",) if local else (),
    )  # fmt: skip


RULES = (
    _core("DHCP-In", "Dynamic Host Configuration Protocol (DHCP-In)", UDP, local_ports=("68",), remote_ports=("67",),
          program=SVCHOST, service="dhcp"),
    _core("DHCPV6-In", "Dynamic Host Configuration Protocol for IPv6 (DHCPV6-In)", UDP, local_ports=("546",),
          remote_ports=("547",), program=SVCHOST, service="dhcp"),
    _core("IPHTTPS-In", "IPHTTPS (TCP-In)", TCP, local_ports=("IPHTTPSIn",), program="System"),
    _core("Teredo-In", "Teredo (UDP-In)", UDP, local_ports=("Teredo",), program=SVCHOST, service="iphlpsvc"),
    _core("ICMP4-DUFRAG-In", "Destination Unreachable Fragmentation Needed (ICMPv4-In)", ICMP4, icmp_types=("3:4",),
          program="System"),
    _icmp6("DU-In", "Destination Unreachable (ICMPv6-In)", "1:*"),
    _icmp6("PTB-In", "Packet Too Big (ICMPv6-In)", "2:*"),
    _icmp6("TE-In", "Time Exceeded (ICMPv6-In)", "3:*"),
    _icmp6("PP-In", "Parameter Problem (ICMPv6-In)", "4:*"),
    _icmp6("LQ-In", "Multicast Listener Query (ICMPv6-In)", "130:*", local=True),
    _icmp6("LR-In", "Multicast Listener Report (ICMPv6-In)", "131:*", local=True),
    _icmp6("LD-In", "Multicast Listener Done (ICMPv6-In)", "132:*", local=True),
    _icmp6("RS-In", "Router Solicitation (ICMPv6-In)", "133:*"),
    _icmp6("RA-In", "Router Advertisement (ICMPv6-In)", "134:*"),
    _icmp6("NDS-In", "Neighbor Discovery Solicitation (ICMPv6-In)", "135:*"),
    _icmp6("NDA-In", "Neighbor Discovery Advertisement (ICMPv6-In)", "136:*"),
    _icmp6("LR2-In", "Multicast Listener Report v2 (ICMPv6-In)", "143:*", local=True),
    Rule("CoreNet-IGMP-In", "Core Networking - Internet Group Management Protocol (IGMP-In)", protocol=2, group=CORE,
         program="System"),
    Rule("CoreNet-DNS-Out-UDP", "Core Networking - DNS (UDP-Out)", direction="Out", protocol=UDP, remote_ports=("53",),
         program=SVCHOST, service="dnscache", group=CORE),
    Rule("FPS-ICMP4-ERQ-In", "File and Printer Sharing (Echo Request - ICMPv4-In)", active=False, protocol=ICMP4,
         profiles=("Private", "Public"), icmp_types=("8:*",), remote_addresses=LOCAL, group=SHARING),
    Rule("FPS-ICMP6-ERQ-In", "File and Printer Sharing (Echo Request - ICMPv6-In)", active=False, protocol=ICMP6,
         profiles=("Private", "Public"), icmp_types=("128:*",), remote_addresses=LOCAL, group=SHARING),
    Rule("FPS-SMB-In-TCP", "File and Printer Sharing (SMB-In)", active=False, protocol=TCP,
         profiles=("Private", "Public"), local_ports=("445",), remote_addresses=LOCAL, program="System", group=SHARING),
    Rule("FPS-NB_Session-In-TCP", "File and Printer Sharing (NB-Session-In)", active=False, protocol=TCP,
         profiles=("Private", "Public"), local_ports=("139",), remote_addresses=LOCAL, program="System", group=SHARING),
    Rule("RemoteDesktop-UserMode-In-TCP", "Remote Desktop - User Mode (TCP-In)", active=False, protocol=TCP,
         local_ports=("3389",), program=SVCHOST, service="termservice", group=REMOTE_DESKTOP),
    Rule("RemoteDesktop-UserMode-In-UDP", "Remote Desktop - User Mode (UDP-In)", active=False, protocol=UDP,
         local_ports=("3389",), program=SVCHOST, service="termservice", group=REMOTE_DESKTOP),
    Rule("RemoteDesktop-Shadow-In-TCP", "Remote Desktop - Shadow (TCP-In)", active=False, protocol=TCP,
         program=r"%SystemRoot%\system32\RdpSa.exe", group=REMOTE_DESKTOP, edge="DeferToApp"),
    Rule("WINRM-HTTP-In-TCP", "Windows Remote Management (HTTP-In)", active=False, protocol=TCP, profiles=NOT_PUBLIC,
         local_ports=("5985",), program="System", group=REMOTE_MANAGEMENT),
    Rule("WINRM-HTTP-In-TCP-PUBLIC", "Windows Remote Management (HTTP-In)", active=False, protocol=TCP,
         profiles=PUBLIC, local_ports=("5985",), remote_addresses=LOCAL, program="System", group=REMOTE_MANAGEMENT),
    Rule("MDNS-In-UDP-Private-Active", "mDNS (UDP-In)", protocol=UDP, profiles=PRIVATE, local_ports=("5353",),
         remote_addresses=LOCAL, program=SVCHOST, service="dnscache", group=MDNS),
    Rule("MDNS-In-UDP-Public-Active", "mDNS (UDP-In)", protocol=UDP, profiles=PUBLIC, local_ports=("5353",),
         remote_addresses=LOCAL, program=SVCHOST, service="dnscache", group=MDNS),
    Rule("MDNS-In-UDP-Domain-Active", "mDNS (UDP-In)", protocol=UDP, profiles=DOMAIN, local_ports=("5353",),
         program=SVCHOST, service="dnscache", group=MDNS),
    Rule("PlayTo-UDP-NoScope-In-Domain", "Cast to Device UDP streaming server", protocol=UDP, profiles=DOMAIN,
         local_ports=("5004-5055",), program=r"%SystemRoot%\system32\mdeserver.exe", group=CAST),
    Rule("DeliveryOptimization-TCP-In", "Delivery Optimization (TCP-In)", protocol=TCP, local_ports=("7680",),
         program=SVCHOST, service="DoSvc", group=DELIVERY, edge="Allow"),
    Rule("DeliveryOptimization-UDP-In", "Delivery Optimization (UDP-In)", protocol=UDP, local_ports=("7680",),
         program=SVCHOST, service="DoSvc", group=DELIVERY, edge="Allow"),
    Rule("NETDIS-FDRESPUB-WSD-In-UDP", "Network Discovery (Pub-WSD-In)", protocol=UDP, profiles=PRIVATE,
         local_ports=("3702",), remote_addresses=LOCAL, program=SVCHOST, service="fdrespub", group=DISCOVERY),
    Rule("NETDIS-LLMNR-In-UDP", "Network Discovery (LLMNR-UDP-In)", protocol=UDP, profiles=PRIVATE,
         local_ports=("5355",), remote_addresses=LOCAL, program=SVCHOST, service="dnscache", group=DISCOVERY),
    Rule("NETDIS-UPnPHost-In-TCP", "Network Discovery (UPnP-In)", protocol=TCP, profiles=PRIVATE,
         local_ports=("2869",), remote_addresses=LOCAL, program="System", group=DISCOVERY),
    OPENSSH,
)  # fmt: skip

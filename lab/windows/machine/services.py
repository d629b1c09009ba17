"""Services and optional features (capabilities)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from .errors import SERVICE_DOES_NOT_EXIST, NotModelled, Win32Error
from .store import Store

DOCUMENT = "services"
CAPABILITIES = "capabilities"
OPENSSH_SERVER = "OpenSSH.Server~~~~0.0.1.0"
OPENSSH_CLIENT = "OpenSSH.Client~~~~0.0.1.0"
#: Server 2019 and Windows 10 name these capabilities alike; System.ServiceProcess has the numbers.
START_MODES = {"Boot": 0, "System": 1, "Automatic": 2, "Manual": 3, "Disabled": 4}
STATUSES = {"Stopped": 1, "StartPending": 2, "StopPending": 3, "Running": 4, "Paused": 7}


@dataclass(frozen=True)
class Service:
    """A service; `startup` and `status` are names of START_MODES and STATUSES."""

    name: str
    display_name: str
    status: str = "Running"
    startup: str = "Automatic"
    path: str = r"C:\Windows\system32\svchost.exe"


SSHD = Service("sshd", "OpenSSH SSH Server", "Stopped", "Manual", r"C:\Windows\System32\OpenSSH\sshd.exe")
SSH_AGENT = Service(
    "ssh-agent", "OpenSSH Authentication Agent", "Stopped", "Disabled", r"C:\Windows\System32\OpenSSH\ssh-agent.exe"
)
STOCK = (
    Service("BFE", "Base Filtering Engine"),
    Service("BITS", "Background Intelligent Transfer Service", "Stopped", "Manual"),
    Service("Dhcp", "DHCP Client"),
    Service("Dnscache", "DNS Client"),
    Service("EventLog", "Windows Event Log"),
    Service("LanmanServer", "Server"),
    Service("LanmanWorkstation", "Workstation"),
    Service("mpssvc", "Windows Defender Firewall"),
    Service("RpcSs", "Remote Procedure Call (RPC)"),
    Service("Schedule", "Task Scheduler"),
    SSH_AGENT,
    replace(SSHD, status="Running", startup="Automatic"),
    Service("TermService", "Remote Desktop Services", "Stopped", "Manual"),
    Service("W32Time", "Windows Time", "Stopped", "Manual"),
    Service("Winmgmt", "Windows Management Instrumentation"),
    Service("WinRM", "Windows Remote Management (WS-Management)", "Stopped", "Manual"),
)


class Services:
    """The machine's services."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Service]:
        found = self._store.read(DOCUMENT)
        return [Service(**found[key]) for key in sorted(found)]

    def get(self, name: str) -> Service:
        found = self._store.read(DOCUMENT).get(name.lower())
        if found is None:
            raise Win32Error(SERVICE_DOES_NOT_EXIST, name)
        return Service(**found)

    def put(self, service: Service) -> None:
        with self._store.change(DOCUMENT) as document:
            document[service.name.lower()] = asdict(service)

    def change(self, name: str, **changes: str) -> Service:
        changed = replace(self.get(name), **changes)
        self.put(changed)
        return changed

    def capabilities(self) -> dict[str, str]:
        """Names and states ("Installed" or "NotPresent")."""
        return dict(self._store.read(CAPABILITIES))

    def add_capability(self, name: str) -> bool:
        """Installs an optional feature; whether it was not there before."""
        if name not in (OPENSSH_SERVER, OPENSSH_CLIENT):
            raise NotModelled(f"capability {name!r}")
        with self._store.change(CAPABILITIES) as document:
            before = document.get(name)
            document[name] = "Installed"
        if name == OPENSSH_SERVER and before != "Installed":
            self.put(SSHD)
        return bool(before != "Installed")

    def set_capability(self, name: str, state: str) -> None:
        with self._store.change(CAPABILITIES) as document:
            document[name] = state

"""What goes wrong on a machine, for tests: each function brings about one of the bad days that people have."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from . import services, stock
from .errors import Win32Error
from .files import FileSystem
from .firewall import GROUP_POLICY, GROUP_RULES
from .hives import CURRENT_VERSION
from .identity import Identity
from .launch import REPOSITORY, SYSTEM32
from .machine import Machine
from .network import PortRange
from .registry import Kind, Value
from .rules import PROTOCOLS, Rule
from .volumes import Volume

HOLDERS = "holders"
#: Inno Setup's key for the installer's AppId, as app/ollama.iss of Ollama has it.
OLLAMA_UNINSTALL = r"Software\Microsoft\Windows\CurrentVersion\Uninstall\{44E83376-CE68-45EB-8FC1-393500EB558C}_is1"


def block_program(machine: Machine, program: str, profiles: tuple[str, ...] = ("Private", "Public")) -> None:
    """Somebody dismissed the firewall's question about a program: a block rule for TCP and one for UDP."""
    for name in ("TCP", "UDP"):
        rule = Rule(
            f"{name} Query User{{0E8E4FA6-5AD2-4A93-A4E4-6D2A6D9B7E55}}{program}",
            program.rpartition("\\")[2], action="Block", protocol=PROTOCOLS[name], profiles=profiles, program=program,
            description=program.rpartition("\\")[2],
        )  # fmt: skip
        machine.system.firewall.add(rule)


def block_port(machine: Machine, port: int, name: str = "block") -> None:
    """Somebody has made a rule that blocks a port for everyone."""
    machine.system.firewall.add(Rule(name, name, action="Block", protocol=PROTOCOLS["TCP"], local_ports=(str(port),)))


def ignore_local_rules(machine: Machine, on: bool = True) -> None:
    """A group policy lets no rules count that were made on the machine; what sshd needs is in the policy then."""
    session = machine.system
    for name in ("Domain", "Private", "Public"):
        profile = session.firewall.profile(name, GROUP_POLICY)
        session.firewall.set_profile(replace(profile, allow_local_rules=False if on else None), GROUP_POLICY)
    session.registry.create(GROUP_RULES)
    if on:
        rule = stock.OPENSSH
        session.registry.set(GROUP_RULES, Value(f"{rule.name}-Policy", Kind.String, rule.format()))
    elif session.registry.value(GROUP_RULES, f"{stock.OPENSSH.name}-Policy"):
        session.registry.delete_value(GROUP_RULES, f"{stock.OPENSSH.name}-Policy")
    session.firewall.apply()


def set_profile(machine: Machine, name: str, **changes: object) -> None:
    """Changes a profile of the local policy: enabled, default_inbound, allow_inbound_rules, disabled_interfaces."""
    firewall = machine.system.firewall
    changed = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    firewall.set_profile(replace(firewall.profile(name), **changed))  # type: ignore[arg-type]


def set_category(machine: Machine, category: str) -> None:
    """Moves the network to another category: Public, Private or Domain."""
    machine.network.set_category(category)
    machine.system.firewall.apply()


def exclude_ports(machine: Machine, first: int, last: int, administered: bool = False) -> None:
    """Hyper-V has reserved a range of ports: nobody can bind them. Administered ones only netsh shows."""
    machine.network.set_excluded([*machine.network.excluded(), PortRange(first, last, administered)])
    if not administered:
        _hold(machine, list(range(first, last + 1)), listen=False, program="")


def take_port(machine: Machine, port: int, program: str = r"C:\Program Files\Other\other.exe") -> None:
    """Another program listens on a port."""
    _hold(machine, [port], listen=True, program=program)


def release_ports(machine: Machine) -> None:
    """Takes back what exclude_ports and take_port did."""
    for holder in machine.store.read(HOLDERS, list):
        machine.host.kill(holder["pid"])
    machine.store.write(HOLDERS, [])
    machine.network.set_excluded([])


def install_for_user(machine: Machine, version: str = "0.34.4", tray: bool = True) -> None:
    """Somebody has run Ollama's installer: files, uninstall key and start-up link of one user, and its tray app."""
    identity = machine.user
    session = machine.session(identity)
    home = rf"{identity.profile}\AppData\Local\Programs\Ollama"
    for name in ("ollama.exe", "ollama app.exe", "unins000.exe"):
        _write(session.files, rf"{home}\{name}", b"")
    startup = rf"{identity.profile}\AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup"
    _write(session.files, rf"{startup}\Ollama.lnk", b"L\0\0\0")
    key = rf"HKEY_CURRENT_USER\{OLLAMA_UNINSTALL}"
    session.registry.create(key)
    for name, text in {
        "DisplayName": f"Ollama version {version}",
        "DisplayVersion": version,
        "Publisher": "Ollama",
        "InstallLocation": home + "\\",
        "UninstallString": rf'"{home}\unins000.exe"',
    }.items():
        session.registry.set(key, Value(name, Kind.String, text))
    session.registry.set(r"HKEY_CURRENT_USER\Environment", Value("Path", Kind.ExpandString, home))
    if tray:
        run_idle(machine, rf"{home}\ollama app.exe", identity)


def run_idle(machine: Machine, program: str, identity: Identity) -> int:
    """A process of that program that does nothing, on the user's desktop; returns its number."""
    pid = machine.host.start_apart([sys.executable, "-c", "import time\nwhile True: time.sleep(3600)"], {}, "/")
    machine.processes.register(pid, program, f'"{program}"', replace(identity, session=1), 4)
    return pid


def set_drive(machine: Machine, letter: str, **changes: object) -> None:
    """Makes a drive removable (kind), FAT32 (file_system), full (free), or anything else of Volume's."""
    machine.volumes.change(letter, **changes)


def add_drive(machine: Machine, letter: str, directory: str, **more: object) -> None:
    machine.volumes.put(Volume(letter, directory, **more))  # type: ignore[arg-type]


def remove_drive(machine: Machine, letter: str) -> None:
    """Takes a drive away, files and all; add_drive brings it back."""
    machine.volumes.remove(letter)


def set_build(machine: Machine, build: int, display_version: str | None = None) -> None:
    """Another version of Windows: 17763 is 1809 and Server 2019, 19045 Windows 10 22H2."""
    registry = machine.system.registry
    for name in ("CurrentBuild", "CurrentBuildNumber"):
        registry.set(CURRENT_VERSION, Value(name, Kind.String, str(build)))
    if display_version:
        registry.set(CURRENT_VERSION, Value("DisplayVersion", Kind.String, display_version))
    elif registry.value(CURRENT_VERSION, "DisplayVersion"):
        registry.delete_value(CURRENT_VERSION, "DisplayVersion")


def set_nvidia(machine: Machine, installed: bool) -> None:
    """Whether NVIDIA's driver is there."""
    machine.change_settings(nvidia=installed)
    host = machine.system.files.locate(rf"{SYSTEM32}\nvidia-smi.exe")
    if installed:
        host.touch()
    else:
        host.unlink(missing_ok=True)


def set_elevated(machine: Machine, elevated: bool) -> None:
    """Whether the user is an administrator."""
    machine.change_settings(administrator=elevated)


def set_language_mode(machine: Machine, mode: str) -> None:
    """FullLanguage, or ConstrainedLanguage as Windows Defender Application Control has it."""
    machine.change_settings(language_mode=mode)


def remove_sshd(machine: Machine) -> None:
    """A new PC, on which nobody has added OpenSSH Server."""
    machine.services.set_capability(services.OPENSSH_SERVER, "NotPresent")
    with machine.store.change(services.DOCUMENT) as document:
        document.pop("sshd", None)
    try:
        machine.system.firewall.remove(stock.OPENSSH.name)
    except Win32Error:
        return


def restore(machine: Machine) -> None:
    """After a start of the machine: what holds ports holds them again."""
    for holder in machine.store.read(HOLDERS, list):
        if not machine.host.alive(holder["pid"]):
            _start_holder(machine, holder)
    with machine.store.change(HOLDERS, list) as document:
        document[:] = [holder for holder in document if machine.host.alive(holder["pid"])]


def hold(ports: list[int], listen: bool) -> None:
    """Binds ports, of IPv4 and of IPv6, and waits for ever: what a holder's process does."""
    sockets = []
    for port in ports:
        for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
            made = socket.socket(family)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((address, port))
            if listen:
                made.listen()
            sockets.append(made)
    while True:
        time.sleep(3600)


def _hold(machine: Machine, ports: list[int], *, listen: bool, program: str) -> None:
    holder: dict[str, object] = {"ports": ports, "listen": listen, "program": program, "pid": 0}
    _start_holder(machine, holder)


def _start_holder(machine: Machine, holder: dict[str, object]) -> None:
    ports = ",".join(str(port) for port in holder["ports"])  # type: ignore[attr-defined]
    arguments = [sys.executable, "-m", "lab.windows.machine", f"--state={machine.directory}", "hold", ports]
    if holder["listen"]:
        arguments.append("--listen")
    pid = machine.host.start_apart(arguments, {"PYTHONPATH": str(REPOSITORY)}, "/")
    if holder["program"]:
        machine.processes.register(pid, str(holder["program"]), f'"{holder["program"]}"', machine.system.identity, 4)
    with machine.store.change(HOLDERS, list) as document:
        document.append({**holder, "pid": pid})


def _write(files: FileSystem, path: str, content: bytes) -> None:
    files.make_directory(files.full(path).parent)
    files.write(path, content)


#: By the names that `python3 -m lab.windows.machine fault NAME` knows.
FAULTS: dict[str, Callable[..., object]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        block_program, block_port, ignore_local_rules, set_profile, set_category, exclude_ports, take_port,
        release_ports, install_for_user, set_drive, add_drive, remove_drive, set_build, set_nvidia, set_elevated,
        set_language_mode, remove_sshd,
    )
}  # fmt: skip

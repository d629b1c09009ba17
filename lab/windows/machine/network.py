"""The network: addresses, connections and who holds them, the network's category, reserved ports."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass

from .host import Address, Host, Socket
from .processes import SYSTEM_PID, Processes
from .store import Store

DOCUMENT = "network"


@dataclass(frozen=True)
class Connection:
    """A TCP connection or listener with its process's number."""

    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    state: str
    pid: int


@dataclass(frozen=True)
class PortRange:
    """Ports from `first` to `last` that nobody can bind. `administered`: reserved by hand, netsh marks them with *."""

    first: int
    last: int
    administered: bool = False


class Network:
    """The machine's network. Its category is Public until somebody says otherwise, as on a new Windows 11."""

    def __init__(self, store: Store, host: Host, processes: Processes) -> None:
        self._store = store
        self._host = host
        self._processes = processes

    @property
    def category(self) -> str:
        """Public, Private or Domain: which profile of the firewall is in use."""
        return str(self._store.read(DOCUMENT).get("category", "Public"))

    def set_category(self, category: str) -> None:
        with self._store.change(DOCUMENT) as document:
            document["category"] = category

    def addresses(self) -> list[Address]:
        return list(self._host.addresses())

    def subnets(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """The networks that the machine is in, without its own loopback."""
        found = {
            ipaddress.ip_network(f"{address.address}/{address.prefix_length}", strict=False)
            for address in self._host.addresses()
            if not address.loopback
        }
        return sorted(found, key=str)

    def connections(self) -> list[Connection]:
        """All TCP sockets. Where Wine's server holds one, it is the program's that asked for it."""
        sockets = list(self._host.sockets())
        owners = self._owners(sockets)
        known = {process.pid for process in self._processes.all()}
        return [
            Connection(
                socket.local_address, socket.local_port, socket.remote_address, socket.remote_port, socket.state,
                _owner(socket, known, owners),
            )
            for socket in sockets
        ]  # fmt: skip

    def listening_ports(self, program: str) -> list[int]:
        """The TCP ports on which a program listens now, by its path."""
        wanted = program.lower()
        paths = {process.pid: process.path.lower() for process in self._processes.all()}
        return sorted(
            {
                found.local_port
                for found in self.connections()
                if found.state == "Listen" and paths.get(found.pid) == wanted
            }
        )

    def excluded(self) -> list[PortRange]:
        """Reserved TCP ports, in order; the one that netsh always shows is among them."""
        found = [PortRange(**entry) for entry in self._store.read(DOCUMENT).get("excluded", [])]
        return sorted(found, key=lambda entry: (entry.first, entry.last))

    def set_excluded(self, ranges: Iterable[PortRange]) -> None:
        with self._store.change(DOCUMENT) as document:
            document["excluded"] = [vars(entry) for entry in ranges]

    def _owners(self, sockets: Iterable[Socket]) -> dict[int, int]:
        """Listening ports that Wine's server holds, and the program that most likely asked for each.

        A program that names the port on its command line, else the oldest that has it in its environment, else the only
        program there is.
        """
        programs = [
            process for process in self._processes.programs() if not process.path.lower().endswith("powershell.exe")
        ]
        environments = {process.pid: self._processes.environment(process.pid) for process in programs}
        servers = {
            found.pid for found in self._host.processes() if os.path.basename(found.executable).startswith("wineserver")
        }
        owners: dict[int, int] = {}
        for socket in sockets:
            port = socket.local_port
            if socket.state != "Listen" or port in owners or not servers.intersection(socket.pids):
                continue
            words = f" {port} "
            named = [found for found in programs if words in f" {found.command_line} "]
            spoken = [
                found
                for found in programs
                if any(value.endswith(f":{port}") for value in environments[found.pid].values())
            ]
            # What Ollama listens on when nothing says otherwise.
            silent = [found for found in programs if port == 11434 and "serve" in found.command_line.split()]
            for candidates in (named, spoken, silent, programs if len(programs) == 1 else []):
                if candidates:
                    owners[port] = candidates[0].pid
                    break
        return owners


def _owner(socket: Socket, known: set[int], owners: dict[int, int]) -> int:
    holders = [pid for pid in socket.pids if pid in known]
    if holders:
        return holders[0]
    if socket.state == "TimeWait":
        return 0
    # What the model does not see counts as the kernel's: on Windows, drivers listen under this number.
    return owners.get(socket.local_port, SYSTEM_PID)

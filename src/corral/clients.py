"""Machines of an inventory besides the one that a step is about: those that verification looks from, and one that keeps
backups. Reached with the connection keys of the inventory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gevent.lock import RLock
from pyinfra.api.config import Config
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from corral.errors import CorralError
from corral.remote import LocalLink, Remote, Sudo, remote_for

_lock = RLock()
_remotes: dict[tuple[str, str], Remote] = {}


@dataclass(frozen=True)
class Vantage:
    """A machine to look from. refused: from here the port must not be reachable."""

    name: str
    remote: Remote
    refused: bool = False


def this_machine() -> Vantage:
    """Where corral itself runs."""
    return Vantage("this machine", Remote(LocalLink(), Sudo()))


def connect(inventory_name: str, clients: Mapping[str, Mapping[str, Any]], name: str) -> Remote:
    """The connection to one client, made once per run and shared by all hosts.

    clients: name to pyinfra's connection data. Raises CorralError when the client can't be reached.
    """
    try:
        return reach(inventory_name, clients, name)
    except ConnectError as error:
        raise CorralError(
            f"verification looks from {name}, which can't be reached: {error}",
            f"Switch {name} on, correct it under clients in the inventory, or remove it there",
        ) from error


def reach(inventory_name: str, machines: Mapping[str, Mapping[str, Any]], name: str) -> Remote:
    """As connect, for whatever it is needed. Raises pyinfra's ConnectError."""
    with _lock:
        key = (inventory_name, name)
        if key not in _remotes:
            host = _hosts(machines)[name]
            host.connect(show_errors=False, raise_exceptions=True)
            _remotes[key] = remote_for(host)
        return _remotes[key]


def _hosts(clients: Mapping[str, Mapping[str, Any]]) -> dict[str, Host]:
    inventory = Inventory(([(f"@corral/{name}", dict(data)) for name, data in clients.items()], {}))
    State(inventory, Config())
    return {host.name: host for host in inventory}

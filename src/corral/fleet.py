"""The hosts of an inventory outside of a deploy: found as pyinfra finds them, and asked all at once.

gevent must have patched Python before a connection is made (`from gevent import monkey; monkey.patch_all()`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import gevent
from pyinfra.api.config import Config
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_state
from pyinfra_cli.exceptions import CliError
from pyinfra_cli.inventory import make_inventory

from corral.errors import CorralError
from corral.inventory import PROBLEM_KEY
from corral.run import HostRun

T = TypeVar("T")


def load(inventory: str, project: Path, limit: Iterable[str] = ()) -> list[Host]:
    """The hosts of an inventory as pyinfra takes it: a file, or names with commas. Connects to none.

    project: the directory with group_data/ and templates/.
    limit: names of hosts and groups; none: every host.
    Raises CorralError for an inventory that is wrong as a whole, and for a limit that names nothing.
    """
    state = State(check_for_changes=False)
    state.cwd = str(project)
    ctx_state.set(state)
    try:
        found = make_inventory(inventory, cwd=state.cwd)
    except SystemExit as said:  # inventory.py ends with its message
        raise CorralError(str(said.code)) from None
    except (CliError, PyinfraError) as error:
        raise CorralError(f"{inventory}: {error}", "Name an inventory that pyinfra takes") from error
    state.init(found, Config())
    names = list(limit)
    hosts = [host for host in found if not names or {host.name, *host.groups} & set(names)]
    known = {name for host in found for name in (host.name, *host.groups)}
    for name in names:
        if name not in known:
            raise CorralError(f"no host and no group is called {name}", f"There are {', '.join(h.name for h in found)}")
    if not hosts:
        raise CorralError(f"{inventory} names no host", "Declare one")
    return hosts


def connect(host: Host) -> HostRun:
    """Connect to a host that is declared well. Raises CorralError."""
    if problem := host.data.get(PROBLEM_KEY):
        raise CorralError(str(problem))
    try:
        host.connect(show_errors=False, raise_exceptions=True)
    except ConnectError as error:
        raise CorralError(str(error)) from error
    return HostRun(host)


def ask(hosts: Sequence[Host], question: Callable[[HostRun], T]) -> list[tuple[str, T | CorralError]]:
    """Connects to the hosts, puts a question to each, all at once, and disconnects: names and answers, by name."""
    logging.getLogger("pyinfra").setLevel(logging.CRITICAL)
    ordered = sorted(hosts, key=lambda host: str(host.name))
    try:
        asked = [gevent.spawn(_answer, host, question) for host in ordered]
        return [(str(host.name), one.get()) for host, one in zip(ordered, asked, strict=True)]
    finally:
        for host in ordered:
            if host.connected:
                with suppress(Exception):  # the other side may have gone
                    host.disconnect()


def _answer(host: Host, question: Callable[[HostRun], T]) -> T | CorralError:
    try:
        return question(connect(host))
    except CorralError as error:
        return error
    except (PyinfraError, OSError, EOFError) as error:
        return CorralError(str(error) or type(error).__name__, "Run again")

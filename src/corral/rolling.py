"""Hosts that are changed in turns, so that the others serve meanwhile, and none any more after the first that failed.

pyinfra's own ways don't do this: by default it makes each step on all hosts at once, and `--serial` goes on to the next
host after one that has failed (_run_serial_ops in pyinfra's api/operations.py, 3.10). With these turns both are safe,
and so is `--no-wait`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import gevent

from corral.errors import CorralError
from corral.run import HostRun

if TYPE_CHECKING:
    from pyinfra.api.state import State


@dataclass
class _Turns:
    """at_work: the hosts whose turn it is. stopped: those that were not begun with, since another had failed."""

    at_work: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)


_turns: WeakKeyDictionary[State, _Turns] = WeakKeyDictionary()


@contextmanager
def turn(run: HostRun, doing: str) -> Iterator[None]:
    """Wait until fewer than upgrade_batch hosts are at work. Raises CorralError when a host has failed meanwhile.

    doing: what is not done then, as in "upgraded".
    """
    turns = _turns.setdefault(run.host.state, _Turns())
    if len(turns.at_work) >= run.settings.upgrade_batch:
        run.say(f"waits for {' and '.join(sorted(turns.at_work))} (upgrade_batch is {run.settings.upgrade_batch})")
    while len(turns.at_work) >= run.settings.upgrade_batch:
        gevent.sleep(0.1)
    go_on(run, doing)
    turns.at_work.add(run.name)
    try:
        yield
    finally:
        turns.at_work.discard(run.name)


def go_on(run: HostRun, doing: str) -> None:
    """Raises CorralError when another host has failed in this run. One that could not be reached does not count."""
    turns = _turns.setdefault(run.host.state, _Turns())
    failed = {host.name for host in run.host.state.failed_hosts if host.connected} - turns.stopped - {run.name}
    if failed:
        turns.stopped.add(run.name)
        raise CorralError(
            f"not {doing}: {' and '.join(sorted(failed))} failed before it",
            "It serves as before. See to that host, or leave it out with --exclude, and run again",
        )

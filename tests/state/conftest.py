"""Checks of real hosts with testinfra: is each one as the inventory declares it?

    pytest tests/state                      every host of the inventory
    pytest tests/state --hosts rtx4090      only this host or group; may be repeated
    pytest tests/state --reboot             all of it, then a reboot of the hosts, then all of it again

Nothing is changed on the hosts; models are loaded and asked for two tokens. A test of your own goes into a
file beside these: `host` is testinfra's host, `machine` (corral.testing.Machine) what is declared for it.
"""

from __future__ import annotations

import warnings

from gevent import monkey

# pyinfra and paramiko talk to hosts in greenlets; this must come before anything that opens a socket.
with warnings.catch_warnings():
    # Plugins of pytest that have nothing to do with this, anyio's for one, have imported ssl already.
    warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
    monkey.patch_all()

import argparse
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from corral import layout
from corral.errors import CorralError
from corral.testing import Fleet, Machine

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Target:
    """A host, as it is when the tests begin or after they have rebooted it."""

    machine: Machine
    rebooted: bool

    def __str__(self) -> str:
        return f"{self.machine.name}-after-reboot" if self.rebooted else self.machine.name


#: Arguments that a test can have beside its host: one test for each of these that the host declares.
SUBJECTS: dict[str, Callable[[Machine], Sequence[object]]] = {
    "model": lambda machine: machine.models,
    "loaded_model": lambda machine: machine.models,
    "gpu_model": lambda machine: machine.models_for_gpu,
    "gpu": lambda machine: machine.gpus,
    "secret": lambda machine: machine.secrets,
    "unit": lambda machine: () if machine.on_windows else ("unit",),
    "drop_in": lambda machine: () if machine.on_windows else ("drop-in",),
    "reading": lambda machine: () if machine.on_windows else ("reading",),
    "task": lambda machine: ("task",) if machine.on_windows else (),
    "start_script": lambda machine: ("script",) if machine.on_windows else (),
    "gpu_user": lambda machine: () if machine.on_windows else (layout.USER,),
    "opened_port": lambda machine: machine.opened_ports,
    "reached_from": lambda machine: machine.reached_from,
    "refused_from": lambda machine: machine.refused_from,
}
#: What takes a while to find out, by the argument that it is about: begun for all hosts at once.
SLOW: dict[str, Callable[[Machine, str], object]] = {
    "loaded_model": Machine.load,
    "gpu_model": Machine.load,
    "reached_from": Machine.greeting,
    "refused_from": Machine.reaches_port,
}

FLEET = pytest.StashKey[Fleet]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("corral")
    group.addoption(
        "--inventory",
        metavar="FILE",
        help="the inventory, as pyinfra takes it (default: inventory.py, which reads CORRAL_INVENTORY)",
    )
    group.addoption("--reboot", action="store_true", help="then reboot the hosts and run everything again")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("leave out -n: all hosts are looked at by one process, over one connection each")


def pytest_collection(session: pytest.Session) -> None:
    """An inventory that can't be read is said once, before anything is collected."""
    _fleet(session.config)


def _fleet(config: pytest.Config) -> Fleet:
    if FLEET not in config.stash:
        inventory = config.getoption("inventory", None) or str(ROOT / "inventory.py")
        try:
            config.stash[FLEET] = Fleet.load(inventory, ROOT, _limit(config))
        except CorralError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[FLEET]


def _limit(config: pytest.Config) -> list[str]:
    """All that --hosts names. The option is testinfra's: one value, with commas; the last one of several."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--hosts", action="append", default=[config.getoption("hosts") or ""])
    given: list[str] = parser.parse_known_args(config.invocation_params.args)[0].hosts
    return [name for name in dict.fromkeys(",".join(given).split(",")) if name]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test runs once per host; one that names a subject, once for each that the host declares."""
    if "machine" not in metafunc.fixturenames:
        return
    boots = (False, True) if metafunc.config.getoption("reboot", False) else (False,)
    targets = [Target(machine, boot) for machine in _fleet(metafunc.config).machines for boot in boots]
    subject = next((name for name in SUBJECTS if name in metafunc.fixturenames), None)
    if subject is None:
        metafunc.parametrize("machine", targets, ids=str, indirect=True)
        return
    rows = [(target, each) for target in targets for each in SUBJECTS[subject](target.machine)]
    metafunc.parametrize(
        ("machine", subject), rows, ids=[f"{target}-{each}" for target, each in rows], indirect=["machine"]
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is to run after the reboot comes last. A test of something that no host declares is left out."""
    items[:] = [item for item in items if "machine" not in _params(item) or _target(item)]
    items.sort(key=lambda item: (target := _target(item)) is not None and target.rebooted)


def _params(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}


def _target(item: pytest.Item) -> Target | None:
    """The host that a test is about; None for other tests, and for one that was made for no host."""
    target = _params(item).get("machine")
    return target if isinstance(target, Target) else None


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    # A host that is off is a sentence in its tests, not a page of how the connection failed.
    for name in ("paramiko", "pyinfra"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    fleet = _fleet(request.config)
    yield fleet
    fleet.close()


@pytest.fixture(scope="session")
def boots(fleet: Fleet, request: pytest.FixtureRequest) -> Boots:
    return Boots(fleet, request.session.items)


@pytest.fixture
def machine(request: pytest.FixtureRequest, boots: Boots) -> Machine:
    """What is declared for the host, and corral's ways to look at it."""
    target: Target = request.param
    boots.ready(target.rebooted)
    boots.refuse(target.machine)
    return target.machine


@pytest.fixture
def host(machine: Machine) -> Any:
    """testinfra's host."""
    return machine.host


class Boots:
    """Readies all hosts at once when their first test, or the first one after the reboot, is about to run."""

    def __init__(self, fleet: Fleet, items: Sequence[pytest.Item]) -> None:
        self._fleet = fleet
        self._items = items
        self._ready: set[bool] = set()
        self._refused: set[Machine] = set()

    def ready(self, rebooted: bool) -> None:
        if rebooted in self._ready:
            return
        self._ready.add(rebooted)
        looks = [(target, _params(item)) for item in self._items if (target := _target(item))]
        machines = list(dict.fromkeys(target.machine for target, _ in looks if target.rebooted == rebooted))
        self._fleet.connect(machines)
        if rebooted:
            self._fleet.reboot(machines)
        for target, params in looks:
            if target.rebooted == rebooted and not target.machine.problem:
                for argument, look in SLOW.items():
                    if argument in params:
                        target.machine.start(look, params[argument])

    def refuse(self, machine: Machine) -> None:
        """Every test of a host that can't be looked at fails, and the first one says why."""
        if machine.problem:
            why = f"{machine.name}: see its first test" if machine in self._refused else machine.problem
            self._refused.add(machine)
            pytest.fail(why, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    return (yield from _without_traceback())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    return (yield from _without_traceback())


def _without_traceback() -> Generator[None, object, object]:
    """What corral says of a host is written for people, and where in corral it was found is not of interest."""
    try:
        return (yield)
    except CorralError as error:
        pytest.fail(str(error), pytrace=False)

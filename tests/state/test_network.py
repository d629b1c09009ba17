"""Where the server listens, what the firewall lets in, and who reaches it."""

from __future__ import annotations

import pytest

from corral.observation import any_address
from corral.testing import Machine
from corral.verification import GREETING


def test_the_server_listens_where_declared_and_nowhere_else(machine: Machine) -> None:
    assert machine.shows.listens() == {any_address(str(machine.run.environment.listen))}


def test_the_firewall_lets_the_declared_addresses_in(machine: Machine, opened_port: int) -> None:
    assert machine.run.platform.firewall_missing(machine.run) == []


def test_the_firewall_lets_nobody_else_in(machine: Machine, opened_port: int) -> None:
    if machine.run.platform.firewall_name(machine.run.state) == "none":
        pytest.skip("no firewall is active on this host")
    assert machine.run.platform.firewall_wider(machine.run) == []


def test_the_server_is_reached_from_where_it_should_be(machine: Machine, reached_from: str) -> None:
    assert machine.answer(Machine.greeting, reached_from) == GREETING


def test_the_server_is_refused_from_elsewhere(machine: Machine, refused_from: str) -> None:
    reached = machine.answer(Machine.reaches_port, refused_from)
    assert not reached, f"{refused_from} reaches port {machine.run.port} of {machine.name}, which it must not"

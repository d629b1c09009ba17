"""Where the server listens, what the firewall lets in, and who reaches it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from corral import layout
from corral.firewall import missing, wider_than
from corral.testing import Machine
from corral.verification import GREETING


def test_the_server_listens_where_declared_and_nowhere_else(host: Any, machine: Machine) -> None:
    pid = host.service(layout.SERVICE).systemd_properties.get("MainPID", "0")
    mine = [line for line in host.check_output("ss -Hltnp").splitlines() if f"pid={pid}," in line]
    seen = {listener(line.split()[3]) for line in mine}
    assert seen == {listener(str(machine.run.environment.listen))}


def test_the_firewall_lets_the_declared_addresses_in(machine: Machine, opened_port: int) -> None:
    closed = missing(machine.run.state.firewall, machine.run.scope, opened_port)
    assert closed == []


def test_the_firewall_lets_nobody_else_in(machine: Machine, opened_port: int) -> None:
    if machine.run.state.firewall.kind == "none":
        pytest.skip("no firewall is active on this host")
    too_wide = wider_than(machine.run.state.firewall, machine.run.scope, opened_port)
    assert too_wide == []


def test_the_server_is_reached_from_where_it_should_be(machine: Machine, reached_from: str) -> None:
    assert machine.answer(Machine.greeting, reached_from) == GREETING


def test_the_server_is_refused_from_elsewhere(machine: Machine, refused_from: str) -> None:
    reached = machine.answer(Machine.reaches_port, refused_from)
    assert not reached, f"{refused_from} reaches port {machine.run.port} of {machine.name}, which it must not"


def listener(local: str) -> str:
    """An address of `ss`, all addresses of the host as *: however a program listens on every one of them."""
    return re.sub(r"^(0\.0\.0\.0|\[::\]|\*):", "*:", local)

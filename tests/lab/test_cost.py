"""What a run costs on the wire, counted where it arrives: at the hosts' sshd and in Ollama's access log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.lab.observation import SERVERS, STEPS, at_once, no_changes, unload

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

MOST_COMMANDS, MOST_REQUESTS = 4, 8


def test_a_host_that_is_as_declared_costs_at_most_4_remote_commands_and_8_api_requests(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    first = deploy(inventory)
    assert first.rc == 0, first.out
    for loaded in (False, True):
        if not loaded:
            at_once(SERVERS, lambda host: unload(lab, host))
        since = time.time()
        run = deploy(inventory)
        assert run.rc == 0, run.out
        for host in SERVERS:
            ssh, requests = lab.count_commands(host, since), lab.api_requests(host, since)
            print(
                f"{host}, model {'loaded' if loaded else 'not loaded'}: {ssh.connections} ssh connection, "
                f"{ssh.commands} remote commands, {len(requests)} API requests: "
                + ", ".join(f"{request.method} {request.path}" for request in requests)
            )
            assert no_changes(run.out, host) == len(STEPS), run.about(host)
            assert ssh.connections == 1
            assert 1 <= ssh.commands <= MOST_COMMANDS
            assert 1 <= len(requests) <= MOST_REQUESTS

"""Rebooting a host and being there when it is back: on another boot, with its server answering."""

from __future__ import annotations

from contextlib import suppress

import gevent
from pyinfra.api.exceptions import PyinfraError

from corral.errors import CorralError
from corral.run import HostRun

#: How long a host may be away; servers with much memory take minutes to check it.
TIMEOUT_S = 900.0


def reboot(run: HostRun, timeout_s: float = TIMEOUT_S, server: bool = True) -> None:
    """Reboot a host, and come back when it is on a new boot and its server answers, or had time to.

    timeout_s: for the way down and up. server: whether the host has one that comes up with it. Raises CorralError for a
    host that does not come back, or on its old boot.
    """
    if not run.host.data.get("ssh_hostname"):
        raise CorralError("this is the machine that corral runs on", "Reboot it yourself, then run again")
    before = run.state.boot_id
    run.remote.run(run.platform.reboot())
    run.disconnect()
    last = CorralError("it is on its old boot", "Look at its console")
    with gevent.Timeout(timeout_s, False):
        while True:
            gevent.sleep(1)
            try:
                run.connect()
                if run.state.boot_id != before:
                    if server:
                        _wait_for_server(run)
                    return
                last = CorralError("it is on its old boot", "Look at its console")
            except (CorralError, PyinfraError, OSError, EOFError) as error:
                last = CorralError(str(error), "Look at its console")
            run.disconnect()
    raise CorralError(f"not back {timeout_s:.0f} s after its reboot: {last.problem}", last.remedy)


def _wait_for_server(run: HostRun) -> None:
    with gevent.Timeout(run.settings.start_timeout_s, False):
        while True:
            with suppress(OSError):
                run.remote.dial(run.environment.own_address, run.port, 5).close()
                return
            gevent.sleep(0.5)

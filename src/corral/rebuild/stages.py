"""The stages of a rebuild before r1.py's steps, on a Linux host: bare, driver, reboot.

Each is judged by what the host is like, not by what an earlier run has noted; so a run that was killed, or a host that
lost its power, goes on in the stage that is not done.
"""

from __future__ import annotations

from collections.abc import Iterator

from corral.changes import Change
from corral.probe.state import LinuxState
from corral.reboot import reboot
from corral.rebuild import amd, bare, nvidia
from corral.rebuild import system as systems
from corral.rebuild.nvidia import Seen, Wanted
from corral.run import HostRun


class Stages:
    """The stages of one host. What the host is like is asked when it is needed and something has changed."""

    def __init__(self, run: HostRun) -> None:
        self._run = run
        self._seen: Seen | None = None
        self._driver_to_come = False

    def bare(self) -> Iterator[Change]:
        """The clock, a name, finished packages, and the tools that r1.py needs."""
        run, seen = self._run, self._look()
        names = (run.settings.hostname, run.name)
        yield from bare.changes(run.remote, seen.system, seen.state.clock_ahead_s, names, run.proxy)

    def driver(self) -> Iterator[Change]:
        """The driver of the host's GPUs, installed as packages where it is not at work as wanted."""
        run, seen = self._run, self._look()
        vendors = seen.state.gpus.vendors
        if not vendors and not seen.loaded:
            run.say("this host has no GPU of NVIDIA's or AMD's: it needs no driver")
            return
        if seen.cards or seen.loaded:
            wanted = self._wanted
            for change in nvidia.changes(self._look, wanted, run.proxy):
                self._driver_to_come = not run.host.state.is_executing
                yield change
            if nvidia.serves(self._look(), wanted):
                by = f", by NVIDIA's own installer ({seen.system.hand_made})" if seen.system.hand_made else ""
                run.say(f"NVIDIA's driver {self._look().loaded} is at work{by}")
        if "AMD" in vendors:
            yield from amd.changes(seen.state, seen.system, run.proxy)

    def reboot(self) -> Iterator[Change]:
        """A reboot, where the driver that is installed is not at work before it; then the driver must be."""
        seen = self._look()
        if self._driver_to_come and not nvidia.serves(seen, self._wanted):
            yield Change("reboot, when the driver is installed, and wait until the host is back", self._reboot)
        elif reason := nvidia.reboot_reason(seen, self._wanted):
            yield Change(f"reboot, and wait until the host is back ({reason})", self._reboot)
        elif "AMD" in seen.state.gpus.vendors and self._run.host.state.is_executing:
            amd.check_loaded(seen.state, seen.system)

    def _reboot(self) -> None:
        run = self._run
        reboot(run, server=run.state.server.running)
        run.lock()
        seen = self._look()
        if not seen.loaded:
            raise nvidia.does_not_load(seen)

    @property
    def _wanted(self) -> Wanted:
        settings = self._run.settings
        return Wanted.of(settings.nvidia_driver, settings.ollama_version)

    def _look(self) -> Seen:
        state = self._run.state
        assert isinstance(state, LinuxState)
        if self._seen is None or self._seen.state is not state:
            self._seen = Seen(state, systems.parse(self._run.remote.run(systems.question())))
        return self._seen

"""One run of corral on one host: its settings, its connection, what was seen there, the lock.

A host is asked once; the answer is kept for the run and dropped as soon as something was changed there.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import gevent
import ollama
from pyinfra import logger

from corral.changes import Change
from corral.environment import Environment, environment_for
from corral.errors import CorralError
from corral.firewall.scope import Scope
from corral.gpus import engine
from corral.gpus.inventory import Device, Problem
from corral.inventory import Inventory
from corral.inventory import load as load_inventory
from corral.ollama import api, releases
from corral.planner.choice import Plan
from corral.planner.models import FileModel
from corral.planning import Planned, Told, plan_host
from corral.platforms import Platform, platform_of
from corral.probe.state import HostState
from corral.remote import HEARTBEAT_S, Remote, Running, remote_for
from corral.scripts import Script
from corral.service.wanted import Wanted
from corral.settings import ModelSpec, Settings
from corral.terminal import escaped

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from corral.rebuild.stages import Stages

_runs: WeakKeyDictionary[Host, HostRun] = WeakKeyDictionary()


class HostRun:
    """Everything that the steps of a deploy share about one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._state: HostState | None = None
        self._devices: tuple[tuple[Device, ...], tuple[Problem, ...]] | None = None
        self._lock: Running | None = None
        self._api: ollama.Client | None = None
        self._told: Told | None = None
        self._judging = False
        self._kept: releases.Release | None = None
        self.adopting = False
        self.plans_confirmed = False
        #: Under --dry: a stage whose changes decide what comes after it; "" for none.
        self.waits_for = ""
        self.told_to_wait = False

    @classmethod
    def of(cls, host: Host) -> HostRun:
        """The run of this host; made at the first call."""
        return _runs.setdefault(host, cls(host))

    @property
    def name(self) -> str:
        return str(self.host.name)

    def say(self, text: str) -> None:
        """Show a line of progress with the host's name. What is not printable in it is escaped."""
        self.host.log(escaped(text))

    @cached_property
    def settings(self) -> Settings:
        """What is declared for this host, from the inventory and group_data. Raises CorralError."""
        return Settings.from_data(self.host.data.dict()).on(self.platform.name)

    @cached_property
    def platform(self) -> Platform:
        """The host's operating system, as far as it makes a difference."""
        return platform_of(self.host)

    @cached_property
    def stages(self) -> Stages:
        """What a rebuild does before a deploy. Raises CorralError where corral can't do it."""
        return self.platform.stages(self)

    @cached_property
    def environment(self) -> Environment:
        """What is declared of the server's environment; the service's holds what plans decide besides. Raises
        CorralError for what the host's system can't have."""
        environment = environment_for(self.settings)
        self.platform.check_environment(environment)
        return environment

    @cached_property
    def planned(self) -> Planned:
        """The declared models, each with what it is made from; for those to be planned that depends on the GPUs as
        they were seen when this run first asked. Raises CorralError."""
        return plan_host(self.settings, self.state, self._told, self._judging, self.others)

    @cached_property
    def others(self) -> Mapping[str, FileModel | CorralError]:
        """The models among those to be planned that the catalog lacks, by the names that were declared for them; or why
        nothing is known of one. Raises CorralError when the host can't ask."""
        names = {name for spec in self.settings.models if spec.plan for name in spec.plan.outside}
        if not names:
            return {}
        from corral.ollama import headers  # and with it the gguf library, see planner.models

        return headers.models(self, sorted(names))

    def judge(self) -> None:
        """This run only looks whether the host is as it was planned: unless it has planned already."""
        self._judging = True

    def adopt(self) -> None:
        """This run takes over an Ollama that somebody else has put on the host, where there is one."""
        self.adopting = True
        self.changed()

    def declares(self, key: str) -> bool:
        """Whether the inventory says anything of a setting, for this host or for all."""
        return key in self.host.data.dict()

    def look_again(self) -> None:
        """Ask the host anew and plan with what it has now: memory may have come or gone since the run began."""
        self._state = None
        self._devices = None
        self.__dict__.pop("planned", None)

    def replan(self, told: Told) -> None:
        """Plan anew with what the host's engine has told of the memory that models take."""
        self._told = told
        self.__dict__.pop("planned", None)

    def is_stand_in(self, plan: Plan) -> bool:
        """Whether the file of the planned model is declared to be of another size than the real one's."""
        return plan.entry.name in self.settings.stand_ins

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        return self.planned.models

    @property
    def port(self) -> int:
        return self.environment.port

    @property
    def loopback(self) -> bool:
        """Shall only programs on the host itself reach the server?"""
        return self.environment.loopback

    @cached_property
    def proxy(self) -> dict[str, str]:
        """What scripts that download are given."""
        return {"PROXY": self.environment.proxy, "NO_PROXY_FOR": self.environment.no_proxy}

    @property
    def address(self) -> str:
        """Where other machines reach the host."""
        return str(self.host.data.get("ssh_hostname") or self.host.name)

    @property
    def project(self) -> Path:
        """The directory with deploys/ and templates/, in which pyinfra was started."""
        return Path(self.host.state.cwd or ".")

    @cached_property
    def inventory(self) -> Inventory:
        """The inventory file that this host comes from."""
        return load_inventory(self.inventory_path, os.environ)

    @property
    def inventory_path(self) -> Path:
        """Relative paths in the inventory count from its directory."""
        return Path(self.host.data.corral_inventory)

    @cached_property
    def remote(self) -> Remote:
        return remote_for(self.host)

    @cached_property
    def scope(self) -> Scope:
        return Scope.parse(list(self.settings.allow_from))

    @property
    def opened_scope(self) -> Scope | None:
        """What the host's firewall is to let in; None: nothing by us."""
        return None if self.loopback or self.settings.firewall == "none" else self.scope

    @property
    def state(self) -> HostState:
        """What the host looks like now; asked when nothing is known or something was changed."""
        if self._state is None:
            self._state = self.platform.probe(self)
        return self._state

    def check_rights(self) -> None:
        """Raises CorralError where corral does not have an administrator's rights on the host."""
        if not self.state.root:
            raise self.platform.lacks_rights()

    def warn(self, text: str) -> None:
        """Show a line about this host that somebody should see to."""
        self.host.log_styled(escaped(text), fg="yellow", log_func=logger.warning)

    def carry_out(self, change: Change) -> Mapping[str, str]:
        """Say a change and make it; what its script emitted."""
        for line in change.lines:
            self.say(line)
        try:
            if isinstance(change.action, Script):
                return self.remote.run(change.action, self.say)
            change.action()
            return {}
        finally:
            self.changed()

    def changed(self) -> None:
        """Something was changed on the host: what was seen before no longer counts."""
        self._state = None
        self._devices = None
        self._api = None

    def ask_engine(self) -> tuple[tuple[Device, ...], tuple[Problem, ...]]:
        """What the engine of the installed release can compute on, and what kept it from telling; see gpus.engine.

        A remote command of its own, and not a quick one: asked again only when something was changed.
        """
        if self._devices is None:
            script = self.platform.engine_devices(self.environment.variables)
            self._devices = engine.parse(self.remote.run(script), self.state.gpus)
        return self._devices

    def gpu_journal(self, after: str = "") -> Mapping[str, str]:
        """What the server's log tells of the GPUs (journal) since its start, or after a cursor; its end (cursor)."""
        return self.remote.run(self.platform.server_log(after))

    def use(self, kept: releases.Release) -> None:
        """From now on this run wants a release that the host has, and not the one that is declared."""
        self._kept = kept
        self.settings = self.settings.model_copy(update={"ollama_version": kept.version})
        self._told = None
        self.plans_confirmed = False
        self.__dict__.pop("planned", None)

    @cached_property
    def pins(self) -> releases.Pins:
        return releases.load_pins(self.settings.ollama_pins)

    @property
    def release(self) -> releases.Release:
        """The release that this host shall run. Raises CorralError where none is pinned."""
        if self._kept:
            return self._kept
        settings = self.settings
        asset = self.platform.asset(self.state.architecture)
        return releases.choose(settings.ollama_version, asset, self.pins, settings.ollama_release_url)

    @property
    def release_dir(self) -> str:
        """Where that release is, or will be, unpacked on the host."""
        return self.platform.release_dir(self.release.directory_name(self.state.releases))

    @property
    def service(self) -> Wanted:
        """How this host's service shall be."""
        environment = environment_for(self.settings, self.planned.environment)
        return Wanted(
            environment=environment.variables,
            secrets=environment.secrets,
            models_dir=self.settings.models_dir,
            release=self.release_dir,
            executable=self.platform.executable(self.release_dir),
            account=self.platform.account(self),
            own_address=environment.own_address,
            port=environment.port,
            start_timeout_s=self.settings.start_timeout_s,
        )

    def blob(self, sha256: str) -> str:
        """Where the host's server keeps a file of this digest."""
        return self.platform.join(self.settings.models_dir, "blobs", f"sha256-{sha256}")

    @property
    def serves(self) -> bool:
        """Does the server that is wanted here run already?"""
        server = self.state.server
        return server.running and server.executable == self.service.executable

    @property
    def api(self) -> ollama.Client:
        """The host's own server, over the ssh connection."""
        if self._api is None:
            self._api = api.connect(self.remote, self.environment.own_address, self.port, self.settings.load_timeout_s)
        return self._api

    def lock(self) -> None:
        """Keep other runs off this host until this one ends. Raises CorralError when one is at work."""
        if self._lock is not None:
            return
        holder = f"by {getpass.getuser()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S %Z')}"
        running = self.remote.start(self.platform.lock(holder))
        for name, place in running:
            if name == "locked":
                self.remote.run_directory = place
                break
        self._lock = running
        self._state = None  # whatever was seen before the lock may have changed since
        self.plans_confirmed = False
        gevent.spawn(self._keep_lock, running)

    def connect(self) -> None:
        """Connect to the host again. Raises pyinfra's ConnectError."""
        self.host.connect(show_errors=False, raise_exceptions=True)

    def disconnect(self) -> None:
        """Leave the host; the lock on it goes, and what was seen no longer counts."""
        if self.host.connected:
            with suppress(Exception):  # the other side may have gone
                self.host.disconnect()
        self.__dict__.pop("remote", None)
        self._lock = None
        self.changed()

    @staticmethod
    def _keep_lock(running: Running) -> None:
        with suppress(Exception):  # the connection has ended, and the lock with it
            while True:
                gevent.sleep(HEARTBEAT_S)
                running.beat(force=True)

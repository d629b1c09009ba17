"""Looking at hosts with testinfra, over the connections that pyinfra makes: one inventory serves both.

    fleet = Fleet.load("inventory.py", Path.cwd())
    fleet.connect(fleet.machines)
    for machine in fleet.machines:
        assert machine.host.service("ollama").is_running

`Machine.host` is testinfra's host; commands run as root there, however one becomes it. gevent must have
patched Python before a connection is made (`from gevent import monkey; monkey.patch_all()` first of all).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import gevent
import httpx
import testinfra.host
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from testinfra.backend.base import BaseBackend, CommandResult

from corral import clients, fleet, layout
from corral.clients import Vantage, this_machine
from corral.errors import CorralError
from corral.inventory import PROBLEM_KEY, Client
from corral.names import ModelName
from corral.observation import (
    LinuxObservation,
    Observation,
    WindowsObservation,
    sha256,
)
from corral.ollama import api
from corral.ollama.models import Wanted, drift_on_host, wanted_models
from corral.reboot import reboot
from corral.remote import Remote
from corral.run import HostRun
from corral.scripts import Script
from corral.service import systemd, task
from corral.settings import INVENTORY_KEY, Settings
from corral.verification import Loaded, in_part, needs_gpu
from corral.windows.remote import WindowsRemote

REFUSAL_WAIT_S = 3.0
T = TypeVar("T")


class Backend(BaseBackend):  # type: ignore[misc]
    """testinfra's commands through a Remote: as root, with nothing of them on a command line.

    On a Windows host a command is a PowerShell script, and none of testinfra's modules is for that (host.run is).
    """

    NAME = "corral"

    def __init__(self, name: str, remote: Remote) -> None:
        super().__init__(name)
        self._remote = remote

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        """Run a command with sh; args are quoted into it. Raises CorralError when the connection breaks."""
        line = self.get_command(command, *args)
        on_windows = isinstance(self._remote, WindowsRemote)
        script = Script("testing.ps1", {"Command": line}) if on_windows else Script("testing.sh", {"COMMAND": line})
        answer = self._remote.run(script)
        return self.result(
            int(answer["code"]),
            self.encode(line),
            base64.b64decode(answer["stdout"]),
            base64.b64decode(answer["stderr"]),
        )

    def get_encoding(self) -> str:
        return "utf-8"


def as_testinfra(name: str, remote: Remote) -> Any:
    """testinfra's view of a host; its modules (service, file, ...) are found at run time, hence Any."""
    backend = Backend(name, remote)
    host = testinfra.host.Host(backend)
    backend.set_host(host)
    return host


class Machine:
    """A host of the inventory: what is declared for it, and the ways to look at it.

    problem: why it can't be looked at, in words for people; "" when it can.
    host: testinfra's host, of the current boot. shows: what the host shows of itself, of the current boot.
    run: corral's view of it, of the current boot.
    """

    def __init__(self, pyinfra_host: Host) -> None:
        self._pyinfra = pyinfra_host
        self._looks: dict[tuple[str, str], gevent.Greenlet] = {}
        self.name = str(pyinfra_host.name)
        self.host: Any = None
        self.shows: Observation
        self.run = HostRun(pyinfra_host)
        self.problem = str(pyinfra_host.data.get(PROBLEM_KEY) or "")
        if not self.problem:
            try:
                _ = self.run.environment
            except CorralError as error:
                self.problem = f"{self.name}: {error}"

    # --- what is declared ------------------------------------------------------------------------

    @property
    def settings(self) -> Settings | None:
        """None where they are wrong: problem says how."""
        return None if self.problem else self.run.settings

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The names of the declared models."""
        return tuple(model.name for model in self.settings.models) if self.settings else ()

    @cached_property
    def models_for_gpu(self) -> tuple[str, ...]:
        """The models that may have to run on a GPU."""
        return self.models if self.settings and self.settings.require_gpu is not False else ()

    @cached_property
    def gpus(self) -> tuple[str, ...]:
        """The names of the declared GPUs, each once."""
        return tuple(dict.fromkeys(self.settings.gpus)) if self.settings else ()

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The names of the variables that only the service may see."""
        return tuple(self.run.environment.secrets) if self.settings else ()

    @property
    def on_windows(self) -> bool:
        return self.run.platform.name == "windows"

    @cached_property
    def opened_ports(self) -> tuple[int, ...]:
        """The port that the host's firewall is to open; none where firewalls are left alone."""
        opens = self.settings and self.run.opened_scope is not None
        return (self.run.port,) if opens else ()

    @cached_property
    def reached_from(self) -> tuple[str, ...]:
        """The machines that must reach the server; this one where the inventory names none."""
        if not self.settings or self.run.loopback:
            return ()
        names = tuple(name for name, client in self._clients.items() if client.expect == "reachable")
        return names or (this_machine().name,)

    @cached_property
    def refused_from(self) -> tuple[str, ...]:
        """The clients that must not reach the server; all of them where it listens on loopback only."""
        if not self.settings:
            return ()
        return tuple(name for name, client in self._clients.items() if self.run.loopback or client.expect == "refused")

    @cached_property
    def _clients(self) -> Mapping[str, Client]:
        return self.run.inventory.clients if self._pyinfra.data.get(INVENTORY_KEY) else {}

    @property
    def needs_gpu(self) -> bool:
        """Whether a model on the CPU is a failure: where a GPU is declared or found, unless declared otherwise."""
        return needs_gpu(self.run)

    def in_part(self, model: str) -> bool:
        """Whether a declared model was planned to leave layers on the CPU."""
        return in_part(self.run, self.wanted_model(model).spec)

    @property
    def release(self) -> str:
        """The directory of the pinned release on the host."""
        return self.run.service.release

    def definition(self, part: str) -> list[str]:
        """What the system must be told to run, line by line. part: unit, drop-in or reading on Linux, task or script on
        Windows; see Observation.definition."""
        wanted = self.run.service
        return {
            "unit": lambda: [layout.UNIT, *systemd.unit(wanted).splitlines()],
            "drop-in": lambda: systemd.drop_in(wanted).splitlines(),
            "reading": lambda: ["to be read again: no"],
            "task": lambda: [task.COMMAND, task.ARGUMENTS, wanted.account],
            "script": lambda: task.start_script().splitlines(),
        }[part]()

    @property
    def environment(self) -> dict[str, str]:
        """What the server must have been started with, but for secrets."""
        wanted = self.run.service
        noted = {} if self.on_windows else {systemd.CONFIG: systemd.config_digest(wanted)}
        return {**wanted.environment, **noted}

    # Secrets are compared by digest: pytest shows the values in a failed assertion.

    def secret_digest(self, name: str) -> str:
        """SHA-256 in hex of the line NAME=VALUE that the server must have been started with."""
        return sha256(f"{name}={self.run.service.secrets[name]}\n")

    @property
    def secrets_digest(self) -> str:
        """SHA-256 in hex of the file with all secrets; "" where there is to be none."""
        text = task.secrets_file(self.run.service) if self.on_windows else systemd.secrets_file(self.run.service)
        return sha256(text) if text else ""

    def wanted_model(self, name: str) -> Wanted:
        """A declared model, worked out. Raises CorralError when its Modelfile can't be rendered."""
        return next(wanted for wanted in wanted_models(self.run) if wanted.spec.name == name)

    # --- the connection --------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, and ask the one question that tells whether root can be had. Errors go into problem."""
        if self.problem or self.host is not None:
            return
        try:
            self._open()
        except (CorralError, PyinfraError, OSError, EOFError) as error:
            self.problem = f"{self.name}: {error}"

    def _open(self) -> None:
        self.run = fleet.connect(self._pyinfra)
        self.run.judge()
        self.run.check_rights()
        self._look_at(self.run.remote)

    def _look_at(self, remote: Remote) -> None:
        self.host = as_testinfra(self.name, remote)
        on_windows = isinstance(remote, WindowsRemote)
        self.shows = WindowsObservation(remote) if on_windows else LinuxObservation(self.host)

    def close(self) -> None:
        if self._pyinfra.connected:
            with suppress(Exception):  # the other side may have gone
                self._pyinfra.disconnect()
        self.host = None
        self._looks.clear()

    def reboot(self) -> None:
        """Reboot, and come back when the host is on a new boot and its server answers, or had time to."""
        if self.problem:
            return
        try:
            self._reboot()
        except CorralError as error:
            self.problem = f"{self.name}: {error}"

    def _reboot(self) -> None:
        self.host = None
        self._looks.clear()
        reboot(self.run)
        self._look_at(self.run.remote)

    # --- looks that take a while, so that they may be started ahead --------------------------------

    def start(self, look: Callable[[Machine, str], object], subject: str) -> gevent.Greenlet:
        """Begin a look, such as Machine.load, in the background; once per boot and subject."""
        key = (look.__name__, subject)
        if key not in self._looks:
            self._looks[key] = gevent.spawn(_caught, look, self, subject)
        return self._looks[key]

    def answer(self, look: Callable[[Machine, str], T], subject: str) -> T:
        """What a look found, begun before or now. Raises CorralError as the look does."""
        found, error = self.start(look, subject).get()
        if error:
            raise error
        answer: T = found
        return answer

    def greeting(self, name: str) -> str:
        """What the server says to GET / from another machine; a text in brackets where nothing answers."""
        client = api.connect(
            self._vantage(name).remote, self.run.address, self.run.port, self.run.settings.verify_timeout_s
        )
        try:
            return api.http(client).get("/").text.strip()
        except (httpx.HTTPError, OSError) as error:
            return f"(nothing: {error or type(error).__name__})"

    def reaches_port(self, name: str) -> bool:
        """Can a client open a connection to the server's port?"""
        try:
            self._vantage(name).remote.dial(self.run.address, self.run.port, REFUSAL_WAIT_S).close()
        except OSError:
            return False
        return True

    def load(self, name: str) -> Loaded:
        """Have the server load a model and generate a token; how it runs then, as /api/ps says."""
        with api.said(f"using {name}"):
            answer = self.run.api.generate(model=name, prompt="Hello", options={"num_predict": 2}, stream=False)
            running = api.running(self.run.api, name)
        if not answer.eval_count:
            log = self.run.platform.log
            raise CorralError(f"{name} answers without a single token", f"{log} on the host says more")
        if running is None:
            raise CorralError(f"{name} is not in /api/ps after it answered", "Is OLLAMA_KEEP_ALIVE 0?")
        speed = answer.eval_count / max((answer.eval_duration or 0) / 1e9, 1e-9)
        return Loaded.of(name, running, speed)

    def _vantage(self, name: str) -> Vantage:
        if name not in self._clients:
            return this_machine()
        declared = {client: each.connection() for client, each in self._clients.items()}
        return Vantage(name, clients.connect(str(self.run.inventory_path), declared, name))

    # --- what the server says, over the connection -------------------------------------------------

    def server_version(self) -> str:
        with api.said("asking for the version"):
            return str(api.http(self.run.api).get("/api/version").json().get("version", ""))

    def listed_models(self) -> dict[ModelName, str]:
        """The models that the server has, and the digests of their manifests in hex."""
        with api.said("listing the models"):
            return {ModelName.parse(m.model or ""): m.digest or "" for m in self.run.api.list().models}

    def model_differences(self, wanted: Wanted) -> list[str]:
        """How a model that is there differs in meaning from the one that is declared, as the lines of a diff.

        Where its base is no longer there, only what the declaration itself says is compared.
        """
        return drift_on_host(self.run, wanted, wanted.source in self.listed_models())


class Fleet:
    """The hosts of an inventory, looked at together."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self.machines = tuple(machines)

    @classmethod
    def load(cls, inventory: str, project: Path, limit: Iterable[str] = ()) -> Fleet:
        """The hosts of an inventory as pyinfra takes it: a file, or names with commas. Connects to none.

        project: the directory with group_data/ and templates/.
        limit: names of hosts and groups; none: every host.
        Raises CorralError for an inventory that is wrong as a whole, and for a limit that names nothing.
        """
        return cls([Machine(host) for host in fleet.load(inventory, project, limit)])

    def connect(self, machines: Iterable[Machine]) -> None:
        """Connect to some of the hosts, all at once. What goes wrong is in each one's problem."""
        gevent.joinall([gevent.spawn(machine.connect) for machine in machines], raise_error=True)

    def reboot(self, machines: Iterable[Machine]) -> None:
        """Reboot some of the hosts, all at once, and wait for them. Errors as with connect."""
        gevent.joinall([gevent.spawn(machine.reboot) for machine in machines], raise_error=True)

    def close(self) -> None:
        for machine in self.machines:
            machine.close()


def _caught(look: Callable[[Machine, str], T], machine: Machine, subject: str) -> tuple[T | None, CorralError | None]:
    """gevent prints what a greenlet raises, whoever waits for it."""
    try:
        return look(machine, subject), None
    except CorralError as error:
        return None, error

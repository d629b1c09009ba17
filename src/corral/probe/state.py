"""What a host looked like when it was asked: typed, immutable, parsed without I/O. Here: what all have, and Linux's."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from corral import layout
from corral.adoption import found
from corral.adoption.found import Foreign
from corral.adoption.places import Places
from corral.firewall.state import FirewallState
from corral.firewall.state import parse as parse_firewall
from corral.gpus import state as gpus
from corral.gpus.inventory import Inventory, OwnServer
from corral.names import ModelName
from corral.scripts import Value

#: uname -m, or Windows' PROCESSOR_ARCHITECTURE, to the word in the names of Ollama's release archives.
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Listener:
    """A socket that listens on Ollama's port: its address and, where known, the program and its pid."""

    address: str
    program: str
    pid: int


@dataclass(frozen=True, kw_only=True)
class Server:
    """The service's process, whatever starts it.

    executable, user: "" where none runs. pids: all that belongs to it; None where that can't be told.
    """

    main_pid: int = 0
    executable: str = ""
    user: str = ""
    pids: frozenset[int] | None = frozenset()

    @property
    def running(self) -> bool:
        return self.main_pid > 0


@dataclass(frozen=True, kw_only=True)
class Service(Server):
    """systemd's view of ollama.service and of the process behind it; pids are those of its control group."""

    load_state: str = ""
    active_state: str = ""
    enabled: str = ""
    needs_reload: bool = False
    unit_path: str = ""
    unit: str = ""
    drop_ins: Mapping[str, str] = field(default_factory=dict)
    result: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.active_state == "active" and self.main_pid > 0


@dataclass(frozen=True, kw_only=True)
class HostState:
    """What is known of every host, whatever its system. Sizes in bytes unless named otherwise.

    machine: the architecture as the system names it. root: whether corral has an administrator's rights.
    boot_id: another one after every boot. addresses: with their prefixes.
    current: the directory of the release in use; "" for none.
    releases: the name of a release's directory to the stamp of what it was unpacked from.
    previous, left: the directory of the release in use before, and of the one that a rollback has left; "" for none.
    trial: of the one that runs for a trial. verdicts: why releases were found not good here, by name.
    removing: directories of releases whose removal was cut off.
    manifests: the models in models_dir by full name, as in registry.ollama.ai/library/deepseek-r1:14b.
    modelfiles: file name to text.
    to_move: the models that are still in another directory and come to models_dir before any is made: full name to that
    directory. to_move_bytes: what they will take of models_dir's disk.
    """

    os_name: str
    machine: str
    root: bool
    boot_id: str
    addresses: tuple[str, ...]
    current: str
    releases: Mapping[str, str]
    manifests: tuple[str, ...]
    modelfiles: Mapping[str, str]
    listeners: tuple[Listener, ...]
    free_for_models: int
    free_for_releases: int
    gpus: Inventory
    to_move: Mapping[str, str] = field(default_factory=dict)
    to_move_bytes: int = 0
    previous: str = ""
    left: str = ""
    trial: str = ""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    removing: tuple[str, ...] = ()

    @property
    def server(self) -> Server:
        """The process of the service."""
        raise NotImplementedError

    @property
    def declared_environment(self) -> Mapping[str, str]:
        """The variables that corral has declared for the server here, without secrets."""
        raise NotImplementedError

    @property
    def architecture(self) -> str:
        """As Ollama's archives name it; "" for one that they don't serve."""
        return ARCHITECTURES.get(self.machine.lower(), "")

    def modelfile(self, model: str) -> str:
        """The text of a model's Modelfile with corral's notes; "" for none."""
        return self.modelfiles.get(layout.modelfile_name(ModelName.parse(model).short), "")

    @property
    def public_addresses(self) -> tuple[str, ...]:
        """The host's own addresses that the whole internet can route to."""
        return tuple(a for a in self.addresses if ipaddress.ip_interface(a).ip.is_global)


@dataclass(frozen=True)
class Source:
    """A directory with models that belong into another one.

    models: by full name. copy_bytes: what a copy of them still takes on the other one's disk; 0 on the same one.
    all_bytes: of its files. filesystem: its type, as stat -f names it. left: its models are at their new place already.
    """

    path: str
    models: tuple[str, ...]
    copy_bytes: int
    all_bytes: int
    filesystem: str
    left: bool


@dataclass(frozen=True, kw_only=True)
class LinuxState(HostState):
    """Everything one probe found on a Linux host.

    moves: the text of layout.MOVES; "" for none. unmounted: mount points of /etc/fstab above models_dir on which there
    is no file system. sources: where models are that belong into models_dir. shared_place: the directory of them
    that has its blobs or manifests in common with models_dir; "" for none. places: known only to a run that takes
    another Ollama over. clock_ahead_s: of this machine's clock; negative: behind.
    """

    os_id: str
    kernel: str
    clock_ahead_s: float
    systemd: bool
    musl: bool
    tools: frozenset[str]
    command: str
    user_groups: frozenset[str]
    gpu_groups: frozenset[str]
    secrets: str
    models_dir_owner: str
    moves: str
    unmounted: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    shared_place: str = ""
    service: Service
    firewall: FirewallState
    foreign: Foreign = field(default_factory=Foreign)
    places: Places = field(default_factory=Places)

    @property
    def server(self) -> Service:
        return self.service

    @property
    def declared_environment(self) -> Mapping[str, str]:
        return parse_drop_in(self.service.drop_ins.get(PurePosixPath(layout.DROP_IN).name, ""))


def parse_drop_in(text: str) -> dict[str, str]:
    """The environment that a drop-in of ours sets (see service.systemd.drop_in)."""
    environment = {}
    for line in text.splitlines():
        if line.startswith('Environment="'):
            inner = line.removeprefix('Environment="').removesuffix('"')
            name, _, value = inner.replace('\\"', '"').replace("\\\\", "\\").replace("%%", "%").partition("=")
            environment[name] = value
    return environment


def parse(sections: Mapping[str, str], now: float | None = None) -> LinuxState:
    """The state behind a probe's sections. Missing sections mean: not there. now: this machine's clock at the time."""
    release = _pairs(sections.get("os.release", ""))
    service = _service(sections)
    directory_owner = sections.get("ollama.models_dir", "").strip()
    return LinuxState(
        os_name=release.get("PRETTY_NAME", release.get("NAME", "unknown")),
        os_id=release.get("ID", ""),
        machine=sections.get("os.machine", "").strip(),
        kernel=sections.get("os.kernel", "").strip(),
        clock_ahead_s=(_int(sections["os.clock"]) or 0) - now if now is not None and "os.clock" in sections else 0.0,
        systemd=sections.get("os.init", "").strip() == "systemd",
        musl=bool(sections.get("os.musl", "").strip()),
        root=sections.get("os.uid", "").strip() == "0",
        boot_id=sections.get("os.boot_id", "").strip(),
        addresses=tuple(sections.get("os.addresses", "").split()),
        tools=frozenset(sections.get("os.tools", "").split()),
        current=sections.get("ollama.current", "").strip(),
        releases=_table(sections.get("ollama.releases", "")),
        previous=sections.get("ollama.previous", "").strip(),
        left=sections.get("ollama.left", "").strip(),
        trial=sections.get("ollama.trial", "").strip(),
        verdicts=_table(sections.get("ollama.verdicts", "")),
        removing=tuple(sections.get("ollama.removing", "").splitlines()),
        command=sections.get("ollama.command", "").strip(),
        user_groups=frozenset(sections.get("ollama.user", "").split()),
        gpu_groups=frozenset(sections.get("ollama.groups", "").split()),
        secrets=sections.get("ollama.secrets", ""),
        models_dir_owner=directory_owner.partition("|")[2],
        manifests=model_names(sections.get("ollama.manifests", "").splitlines()),
        moves=sections.get("ollama.moves", ""),
        unmounted=tuple(sections.get("disk.unmounted", "").splitlines()),
        modelfiles=_named(sections, "modelfile."),
        service=service,
        listeners=tuple(_listeners(sections.get("port.listeners", ""))),
        free_for_models=_int(sections.get("disk.models", "")) or 0,
        free_for_releases=_int(sections.get("disk.releases", "")) or 0,
        gpus=gpus.parse(sections, OwnServer(service.pids, layout.RELEASES)),
        firewall=parse_firewall(sections),
        foreign=found.parse(sections),
    )


def model_names(manifests: Iterable[str]) -> tuple[str, ...]:
    """HostState.manifests, from the paths of manifests below their directory."""
    return tuple(":".join(path.rsplit("/", 1)) for path in manifests)


def _service(sections: Mapping[str, str]) -> Service:
    show = _pairs(sections.get("service.show", ""))
    main_pid = _int(show.get("MainPID", "")) or 0
    pids = frozenset(int(pid) for pid in sections.get("process.pids", "").split() if pid.isdigit())
    return Service(
        load_state=show.get("LoadState", ""),
        active_state=show.get("ActiveState", ""),
        enabled=show.get("UnitFileState", ""),
        needs_reload=show.get("NeedDaemonReload") == "yes",
        main_pid=main_pid,
        unit_path=show.get("FragmentPath", ""),
        unit=sections.get("service.unit", ""),
        drop_ins=_named(sections, "dropin."),
        result=show.get("Result", ""),
        environment=_pairs(sections.get("process.environment", "")),
        executable=sections.get("process.executable", "").strip(),
        user=sections.get("process.user", "").strip(),
        pids=None if main_pid and not pids else pids,
    )


def _named(sections: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: text for name, text in sections.items() if name.startswith(prefix)}


def _pairs(text: str) -> dict[str, str]:
    """KEY=VALUE lines; a value's surrounding double quotes (os-release) are taken off."""
    lines = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip('"') if value[:1] == '"' else value for key, _, value in lines}


def _table(text: str) -> dict[str, str]:
    """Lines of a name, a tab and what is said of it."""
    lines = (line.partition("\t") for line in text.splitlines())
    return {name: said.strip() for name, _, said in lines}


def _int(text: str) -> int | None:
    match = re.match(r"\s*(\d+)", text)
    return int(match[1]) if match else None


def _listeners(text: str) -> list[Listener]:
    """ss -Hltnp: state, queues, local address:port, peer, users:(("program",pid=1,fd=3))."""
    listeners = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4:
            who = re.search(r'\(\("([^"]*)",pid=(\d+)', line)
            listeners.append(Listener(fields[3].rpartition(":")[0], who[1] if who else "", int(who[2]) if who else 0))
    return listeners


def variables(models_dir: str, port: int) -> dict[str, Value]:
    """What probe.sh, gpus/probe.sh and adoption/found.sh read."""
    return {
        "PORT": port,
        "MODELS_DIR": models_dir,
        "RELEASES": layout.RELEASES,
        "CURRENT": layout.CURRENT,
        "STAMP": layout.STAMP,
        "PREVIOUS": layout.PREVIOUS,
        "LEFT": layout.LEFT,
        "TRIAL": layout.TRIAL,
        "VERDICT": layout.VERDICT,
        "REMOVING": layout.REMOVING,
        "COMMAND": layout.COMMAND,
        "SERVICE": layout.SERVICE,
        "DROP_IN_DIR": layout.DROP_IN_DIR,
        "SECRETS": layout.SECRETS,
        "MODELFILES": layout.MODELFILES,
        "MOVES": layout.MOVES,
        "OLLAMA_USER": layout.USER,
        "MARK": layout.MARK,
        "PROGRAMS": found.PROGRAMS,
        **gpus.variables(),
    }

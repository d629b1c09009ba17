"""The lab on paper: its hosts, networks and names. Nothing here touches the machine."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lab.errors import LabError

REPOSITORY = Path(__file__).resolve().parent.parent
#: Names the lab that commands are about, where a checkout has more than one.
CHOSEN_LAB = "CORRAL_LAB"
STATE = ".lab"


class Firewall(StrEnum):
    NONE = "none"
    UFW = "ufw"
    FIREWALLD = "firewalld"
    NFTABLES = "nftables"


class Sudo(StrEnum):
    """How the login user becomes root. ROOT: it is root."""

    ROOT = "root"
    PASSWORD = "password"
    FREE = "free"


@dataclass(frozen=True)
class Gpu:
    """One declared card. reserved_mib: taken from the start, as a driver or a desktop takes it on a real card."""

    name: str
    memory_mib: int
    compute_capability: str
    reserved_mib: int = 512


@dataclass(frozen=True)
class Disk:
    """A file system of its own beside the host's root: tmpfs, kept over reboots, emptied by a reset."""

    mount_point: str
    size_mib: int


@dataclass(frozen=True)
class Windows:
    """What a host is that behaves as a Windows machine.

    locale: decides its language and its code pages. drives: those beside C:, each a letter and a directory of the host.
    """

    locale: str = "en_US.UTF-8"
    drives: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Network:
    """A bridge in the lab's network namespace; the controller's address on it is every host's gateway."""

    bridge: str
    gateway: str
    prefix_length: int

    @property
    def interface_address(self) -> str:
        return f"{self.gateway}/{self.prefix_length}"


INSIDE = Network("br0", "10.77.0.1", 24)
#: TEST-NET-2 stands for the internet: a public address, reached over the controller's two interfaces.
OUTSIDE = Network("br1", "198.51.100.1", 24)
NETWORKS = (INSIDE, OUTSIDE)


@dataclass(frozen=True)
class Host:
    """One host.

    user:     who logs in by ssh with the lab's key; on a Windows machine, an administrator.
    gpus:     declared cards; none: no GPU tools either.
    network:  INSIDE, or OUTSIDE for a host whose address is not private.
    windows:  None: it is the Debian machine that its suite says.
    bare:     nothing but sshd, and the card on its bus: what GPU tools it gets, its package source has.
    """

    name: str
    address: str
    suite: str = "bookworm"
    firewall: Firewall = Firewall.NONE
    user: str = "root"
    sudo: Sudo = Sudo.ROOT
    ssh_port: int = 22
    gpus: tuple[Gpu, ...] = ()
    disks: tuple[Disk, ...] = ()
    network: Network = INSIDE
    windows: Windows | None = None
    bare: bool = False

    @property
    def has_gpu_tools(self) -> bool:
        """From the start: a bare host gets them with its driver."""
        return bool(self.gpus) and not self.bare

    @property
    def system(self) -> str:
        return f"Windows 11, {self.windows.locale}" if self.windows else f"Debian {self.suite}"


BIG_DISK = Disk("/mnt/big disk", 4096)
SMALL_DISK = Disk("/mnt/small", 64)
DISKS = (BIG_DISK, SMALL_DISK)
WINDOWS_DISK = Disk("/mnt/d", 4096)
WINDOWS_DRIVES = (("D", WINDOWS_DISK.mount_point),)

MIRROR = Host("mirror", "10.77.0.2")
#: What the mirror answers for; every host resolves these to it and trusts its certificate for them.
MIRROR_NAMES = ("mirror.lab", "registry.ollama.ai", "hf.co", "modelscope.cn", "ollama.com")
RELEASE_URL = "https://mirror.lab/releases/v{version}"

HOSTS = (
    MIRROR,
    Host(
        "rtx4090",
        "10.77.0.11",
        firewall=Firewall.UFW,
        gpus=(Gpu("NVIDIA GeForce RTX 4090", 24564, "8.9"),),
        disks=DISKS,
    ),
    Host(
        "rtx3080",
        "10.77.0.12",
        suite="trixie",
        firewall=Firewall.FIREWALLD,
        user="ops",
        sudo=Sudo.PASSWORD,
        gpus=(Gpu("NVIDIA GeForce RTX 3080", 10240, "8.6", 288),),
        disks=DISKS,
    ),
    Host(
        "rtx2070",
        "10.77.0.13",
        firewall=Firewall.NFTABLES,
        user="ops",
        sudo=Sudo.FREE,
        ssh_port=2222,
        gpus=(Gpu("NVIDIA GeForce RTX 2070", 8192, "7.5", 256),),
        disks=DISKS,
    ),
    Host(
        "win11",
        "10.77.0.14",
        user="admin",
        gpus=(Gpu("NVIDIA GeForce RTX 3070", 8192, "8.6", 256),),
        disks=(WINDOWS_DISK,),
        windows=Windows(drives=WINDOWS_DRIVES),
    ),
    Host(
        "win11-zh",
        "10.77.0.15",
        user="管理员",
        gpus=(Gpu("NVIDIA GeForce RTX 2070", 8192, "7.5", 256),),
        disks=(WINDOWS_DISK,),
        windows=Windows("zh_CN.UTF-8", WINDOWS_DRIVES),
    ),
    Host("bare", "10.77.0.16", gpus=(Gpu("NVIDIA GeForce RTX 2070", 8192, "7.5", 256),), bare=True),
    Host("client", "10.77.0.20"),
    Host("outsider", "198.51.100.20", network=OUTSIDE),
)

#: Hosts that `up` brings up only when they are named: a second Windows machine, and one to be rebuilt, for tests.
ON_DEMAND = ("win11-zh", "bare")
MAX_BENCH_HOSTS = 100
SUITES = ("bookworm", "trixie")
#: Releases of Ollama that the lab can serve; the first is the one that `up` brings when told nothing.
VERSIONS = ("0.34.4", "0.24.0")


def bench_hosts(count: int) -> tuple[Host, ...]:
    """`count` hosts that are all alike, for measuring: bench001 (10.77.0.101) and so on."""
    if not 0 <= count <= MAX_BENCH_HOSTS:
        raise LabError(f"--count {count}: between 0 and {MAX_BENCH_HOSTS} bench hosts are possible")
    gpu = Gpu("NVIDIA GeForce RTX 2070", 8192, "7.5")
    return tuple(
        Host(f"bench{n:03}", f"10.77.0.{100 + n}", firewall=Firewall.UFW, gpus=(gpu,)) for n in range(1, count + 1)
    )


ALL_HOSTS = {host.name: host for host in (*HOSTS, *bench_hosts(MAX_BENCH_HOSTS))}


def find_host(name: str) -> Host:
    try:
        return ALL_HOSTS[name]
    except KeyError:
        names = ", ".join(host.name for host in HOSTS)
        raise LabError(f"no host {name!r} in the lab; there are {names} and bench001, bench002, ...") from None


def choose_hosts(names: Iterable[str] | None, count: int, also: Iterable[str] = ()) -> tuple[Host, ...]:
    """The hosts that `up` was asked for: those named (None: all but those on demand), those named besides, and `count`
    bench hosts."""
    if names is None:
        names = [host.name for host in HOSTS if host.name not in ON_DEMAND]
    named = [find_host(name) for name in (*names, *also)]
    return tuple(dict.fromkeys((*named, *bench_hosts(count))))


def hosts_file(hosts: Iterable[Host], own: Host | None = None) -> str:
    """/etc/hosts of a host (own) or of the controller (None): the names of these hosts, and nothing else.

    On hosts the mirror has the names of those that it stands for, too.
    """
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    if own:
        lines.append(f"127.0.1.1 {own.name}")
    lines.append(f"{MIRROR.address} {' '.join(MIRROR_NAMES if own else MIRROR_NAMES[:1])}")
    lines += [f"{host.address} {host.name}" for host in hosts if host is not own]
    return "\n".join(lines) + "\n"


def ssh_config(hosts: Iterable[Host]) -> str:
    """The controller's ~/.ssh/config: every host by its name."""
    blocks = [
        f"Host {host.name}\n    HostName {host.address}\n    User {host.user}\n    Port {host.ssh_port}\n"
        for host in hosts
    ]
    blocks.append("Host *\n    IdentityFile ~/.ssh/id_ed25519\n    IdentitiesOnly yes\n    StrictHostKeyChecking yes\n")
    return "\n".join(blocks)


def known_hosts(keys: Iterable[tuple[Host, str]]) -> str:
    """known_hosts lines, by name and by address; a key is "ssh-ed25519 AAAA..."."""
    lines = []
    for host, key in keys:
        names = (host.name, host.address)
        if host.ssh_port != 22:
            names = tuple(f"[{name}]:{host.ssh_port}" for name in names)  # type: ignore[assignment]
        lines.append(f"{','.join(names)} {key}\n")
    return "".join(lines)


def cache_directory() -> Path:
    """Where images, releases and models are kept, for all labs of this machine."""
    chosen = os.environ.get("CORRAL_LAB_CACHE")
    return Path(chosen).resolve() if chosen else Path.home() / ".cache" / "corral-lab"


def machine_id(lab_id: str, host: Host) -> str:
    """A fixed machine ID: a reset host stays the same machine, with the same MAC address and journal."""
    return hashlib.md5(f"{lab_id} {host.name}".encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Layout:
    """Where a checkout's lab keeps its things. Everything under `state` goes with `lab down`.

    name: tells labs of one checkout apart, which tests are spread over; "" is the one that people use.
    """

    repository: Path = REPOSITORY
    name: str = field(default_factory=lambda: os.environ.get(CHOSEN_LAB, ""))

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9]*", self.name):
            raise LabError(f"{CHOSEN_LAB}={self.name}: a lab's name is of small letters and digits")

    @classmethod
    def all(cls, repository: Path = REPOSITORY) -> list[Layout]:
        """Those of a checkout's labs that have a state, and the unnamed one in any case."""
        names = [path.name.removeprefix(f"{STATE}-") for path in repository.glob(f"{STATE}-*")]
        return [cls(repository, name) for name in ("", *sorted(names))]

    @property
    def lab_id(self) -> str:
        """Tells this lab from all others on the same machine: part of every kernel-wide name."""
        return hashlib.sha256(os.fsencode(self.state)).hexdigest()[:8]

    @property
    def state(self) -> Path:
        return self.repository / (f"{STATE}-{self.name}" if self.name else STATE)

    @property
    def controller(self) -> Path:
        return self.state / "controller"

    @property
    def mirror(self) -> Path:
        return self.state / "mirror"

    @property
    def pins(self) -> Path:
        return self.state / "pins.yml"

    @property
    def sudo_password(self) -> Path:
        return self.state / "sudo-password"

    def host(self, name: str) -> Path:
        return self.state / "hosts" / name

"""What a rebuild asks of a Linux host beside the one probe: typed, parsed without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from corral import layout
from corral.scripts import Script

#: What r1.py and its scripts need on a host, to the package of Debian and Ubuntu that brings it.
COMMANDS = {
    "curl": "curl",
    "zstd": "zstd",
    "tar": "tar",
    "flock": "util-linux",
    "sha256sum": "coreutils",
    "useradd": "passwd",
    "ss": "iproute2",
}
#: Units that keep a clock right; one of them is enough. The first is installed where there is none.
TIMEKEEPERS = ("systemd-timesyncd", "chrony", "chronyd", "ntpsec", "ntp", "ntpd", "openntpd")
#: Packages that come beside NVIDIA's or AMD's driver, where the sources have them.
HELPERS = (
    "nvidia-smi",
    "libcuda1",
    "nvidia-persistenced",
    "firmware-amd-graphics",
    "linux-image-amd64",
    "linux-headers-amd64",
    "linux-image-arm64",
    "linux-headers-arm64",
    "linux-image-generic",
    "linux-headers-generic",
)


@dataclass(frozen=True, kw_only=True)
class System:
    """A Linux host below Ollama.

    resolves: whether the host finds its own name. certificates: whether it has authorities to trust in TLS.
    timekeepers: unit to what systemd says of it ("enabled", "disabled"; "" or "not-found" for none).
    apt: the architecture of its packages; "" where there is no apt. interrupted: packages, or files, that dpkg was
        interrupted in. installed: package to version, of drivers, kernels and firmware.
    offers: package to the versions that apt's sources have, of the same.
    kernel: the running one. headers: whether modules can be built for it. modules: the kernels that have NVIDIA's.
    since_boot: packages of NVIDIA's driver that were installed since the host has booted.
    key_enrolled: the firmware trusts the key that modules built here are signed with.
    hand_made: the program by which NVIDIA's own installer is known; "" for none.
    block: the file that keeps nouveau away. initramfs_older: the initial RAM disk is older than that file.
    persistence: what systemd says of nvidia-persistenced. kernel_log: its last lines about GPUs.
    """

    hostname: str = ""
    resolves: bool = True
    commands: frozenset[str] = frozenset()
    certificates: bool = False
    timekeepers: Mapping[str, str] = field(default_factory=dict)
    apt: str = ""
    interrupted: tuple[str, ...] = ()
    installed: Mapping[str, str] = field(default_factory=dict)
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kernel: str = ""
    headers: bool = False
    modules: frozenset[str] = frozenset()
    since_boot: tuple[str, ...] = ()
    secure_boot: bool = False
    key_enrolled: bool = False
    hand_made: str = ""
    block: str = ""
    initramfs_older: bool = False
    persistence: str = ""
    kernel_log: str = ""


def question(root: str = "") -> Script:
    """The script that emits what `parse` reads. root: where the system's files lie, for tests."""
    return Script(
        "rebuild/probe.sh",
        {
            "COMMANDS": tuple(COMMANDS),
            "TIMEKEEPERS": TIMEKEEPERS,
            "HELPERS": HELPERS,
            "BLOCK": layout.NOUVEAU_BLOCK,
            "ROOT": root,
        },
    )


def parse(sections: Mapping[str, str]) -> System:
    """Read the sections "rebuild.*"; a section that is missing means: not there."""

    def text(name: str) -> str:
        return sections.get(f"rebuild.{name}", "").strip()

    def table(name: str) -> list[tuple[str, str]]:
        lines = sections.get(f"rebuild.{name}", "").splitlines()
        return [(first, rest) for first, _, rest in (line.partition("\t") for line in lines)]

    offers: dict[str, tuple[str, ...]] = {}
    for package, version in table("offers"):
        offers[package] = (*offers.get(package, ()), version)
    return System(
        hostname=text("hostname"),
        resolves=bool(text("resolves")),
        commands=frozenset(text("commands").split()),
        certificates=bool(text("certificates")),
        timekeepers=dict(
            (unit, said) for unit, _, said in (line.partition(" ") for line in text("timekeepers").splitlines())
        ),
        apt=text("apt"),
        interrupted=tuple(text("interrupted").split()),
        installed=dict(table("installed")),
        offers=offers,
        kernel=text("kernel"),
        headers=bool(text("headers")),
        modules=frozenset(text("modules").split()),
        since_boot=tuple(text("since_boot").split()),
        secure_boot=bool(text("secure_boot")),
        key_enrolled=bool(text("key")),
        hand_made=text("hand_made"),
        block=sections.get("rebuild.block", ""),
        initramfs_older=bool(text("initramfs")),
        persistence=text("persistence"),
        kernel_log=text("kernel_log"),
    )

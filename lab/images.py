"""The hosts' root file systems, one per Debian suite, built once from the machine's own package sources.

An image is a directory under the cache named after everything that went into it. Hosts only ever read it:
each lays its own files over it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from lab import cache
from lab.building import run
from lab.certificates import Authority
from lab.errors import LabError
from lab.progress import Progress
from lab.sandbox import SCRIPTS

PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "sudo",
    "procps", "iproute2", "iputils-ping", "netbase", "python3",
    # What installing and running Ollama needs: a host has no way to fetch packages.
    "curl", "ca-certificates", "zstd", "mesa-vulkan-drivers", "libvulkan1",
)  # fmt: skip
FIREWALLS = {"bookworm": ("ufw", "nftables"), "trixie": ("firewalld", "nftables")}
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
SETUP = SCRIPTS / "setup-image.sh"
#: apt's settings that say how a package source is reached, and whether its dates are believed.
KEPT_APT_SETTINGS = re.compile(r"Acquire::(https?::(?!User-Agent)|Retries|Check-Valid-Until|Check-Date)")


def packages(suite: str) -> tuple[str, ...]:
    return (*PACKAGES, *FIREWALLS[suite])


def ensure_image(suite: str, authority: Authority, progress: Progress) -> Path:
    """The suite's image, built when missing: about two minutes, and some 150 MB of packages to fetch.

    Its name changes with the packages, the recipe and the lab's authority. Raises LabError with the end of the
    builder's log. Safe to be killed at any point.
    """

    def build(target: Path) -> None:
        if not shutil.which("mmdebstrap"):
            raise LabError("mmdebstrap is missing; `make set-up` installs it")
        target.chmod(0o755)
        log = target.with_name("build.log")
        with progress.step(f"root image for {suite}", "about two minutes") as step:
            run(_command(suite, target, authority), target.parent, log, step, {"LC_ALL": "C.UTF-8"})

    inputs: list[str | Path] = [*packages(suite), "without", *LEFT_OUT, SETUP, authority.certificate]
    return cache.ensure(f"image-{suite}", inputs, build, progress)


def _command(suite: str, target: Path, authority: Authority) -> list[str]:
    # In a mount namespace of its own: killed half-way, it leaves nothing mounted in the target.
    return [
        "unshare", "--mount",
        "mmdebstrap", "--mode=root", "--variant=minbase", "--components=main",
        f"--include={','.join(packages(suite))}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        *(f"--aptopt={setting}" for setting in _apt_settings()),
        f'--customize-hook="{SETUP}" "$1" "{authority.certificate}"',
        suite, str(target), _package_site(),
    ]  # fmt: skip


def _package_site() -> str:
    """The Debian archive that this machine's apt uses: other suites are at the same address."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(COMPONENT) $(SITE)", "Created-By: Packages"],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    for line in listing.splitlines():
        component, _, site = line.partition(" ")
        if component == "main" and site.rstrip("/").endswith("/debian"):
            return site
    raise LabError("apt on this machine knows no Debian archive; check its sources and run `apt-get update`")


def _apt_settings() -> list[str]:
    dump = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line for line in dump.splitlines() if KEPT_APT_SETTINGS.match(line) and not line.endswith('"";')]

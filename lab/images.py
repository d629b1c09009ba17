"""The hosts' root file systems, one per kind of host, built once from the machine's own package sources.

An image is a directory under the cache named after everything that went into it. Hosts only ever read it:
each lays its own files over it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import cache
from lab.building import run
from lab.certificates import Authority
from lab.config import Host
from lab.errors import LabError
from lab.progress import Progress
from lab.sandbox import SCRIPTS

PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "sudo",
    "procps", "iproute2", "iputils-ping", "netbase", "python3",
    # What installing and running Ollama needs: a host has no way to fetch packages.
    "curl", "ca-certificates", "zstd", "mesa-vulkan-drivers", "libvulkan1",
)  # fmt: skip
#: On top of these, what runs a Windows machine's programs: Wine, a display without which it finds no GPU, and the
#: sources of the locales, which decide its code pages.
WINE = ("wine64", "xvfb", "locales")
#: All that a bare machine has; ca-certificates goes again when the image is finished (setup-bare-image.sh).
BARE = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "netbase", "ca-certificates",
)  # fmt: skip
FIREWALLS = {"bookworm": ("ufw", "nftables"), "trixie": ("firewalld", "nftables")}
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
SETUP = SCRIPTS / "setup-image.sh"
WINDOWS_SETUP = SCRIPTS / "setup-windows-image.sh"
BARE_SETUP = SCRIPTS / "setup-bare-image.sh"
#: apt's settings that say how a package source is reached, and whether its dates are believed.
KEPT_APT_SETTINGS = re.compile(r"Acquire::(https?::(?!User-Agent)|Retries|Check-Valid-Until|Check-Date)")


@dataclass(frozen=True)
class Image:
    """A kind of root file system. windows: Windows programs run in it. bare: it has little else than sshd."""

    suite: str
    windows: bool = False
    bare: bool = False

    @staticmethod
    def of(host: Host) -> Image:
        return Image(host.suite, host.windows is not None, host.bare)

    @property
    def name(self) -> str:
        return f"{self.suite}-windows" if self.windows else f"{self.suite}-bare" if self.bare else self.suite

    @property
    def packages(self) -> tuple[str, ...]:
        if self.bare:
            return BARE
        return (*PACKAGES, *FIREWALLS[self.suite], *(WINE if self.windows else ()))

    @property
    def setup(self) -> tuple[Path, ...]:
        """The scripts that finish it, in their order."""
        return (SETUP, WINDOWS_SETUP) if self.windows else (BARE_SETUP, SETUP) if self.bare else (SETUP,)


def ensure_image(image: Image, authority: Authority, progress: Progress) -> Path:
    """The image, built when missing: about two minutes, and some 150 MB of packages to fetch; twice that with Wine.

    Its name changes with the packages, the recipe and the lab's authority. Raises LabError with the end of the
    builder's log. Safe to be killed at any point.
    """

    def build(target: Path) -> None:
        if not shutil.which("mmdebstrap"):
            raise LabError("mmdebstrap is missing; `make set-up` installs it")
        target.chmod(0o755)
        log = target.with_name("build.log")
        with progress.step(f"root image for {image.name}", "about two minutes") as step:
            run(_command(image, target, authority), target.parent, log, step, {"LC_ALL": "C.UTF-8"})

    inputs: list[str | Path] = [*image.packages, "without", *LEFT_OUT, *image.setup, authority.certificate]
    return cache.ensure(f"image-{image.name}", inputs, build, progress)


def _command(image: Image, target: Path, authority: Authority) -> list[str]:
    # In a mount namespace of its own: killed half-way, it leaves nothing mounted in the target.
    return [
        "unshare", "--mount",
        "mmdebstrap", "--mode=root", "--variant=minbase", "--components=main",
        f"--include={','.join(image.packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        *(f"--aptopt={setting}" for setting in _apt_settings()),
        *(f'--customize-hook="{script}" "$1" "{authority.certificate}"' for script in image.setup),
        image.suite, str(target), _package_site(),
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

"""The lab's package source for bare hosts: real packages of Debian's, and a driver for NVIDIA's cards that stands in.

The driver's package has the name and the place (contrib, non-free) of Debian's own. It brings the GPU tools (lab.gpu),
which find nothing before the host has booted with them, and needs headers for the running kernel, which are empty.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from lab import cache
from lab.errors import LabError
from lab.gpu import SHADERS
from lab.progress import Progress

ARCHITECTURE = "amd64"
#: An old branch, which Ollama does not take, and one that it does.
DRIVERS = ("535.247.01-1", "570.133.20-1")
MODULE = "updates/dkms/nvidia-current.ko"


def ensure_package_source(suite: str, image: Path, tools: Path, shaders: Path, progress: Progress) -> Path:
    """The directory that the mirror serves as /debian. image: a bare one; tools, shaders: as lab.gpu makes them."""

    def build(target: Path) -> None:
        scratch = cache.unfinished_directory("packages")
        pool = target / "pool"
        pool.mkdir()
        for package in sorted((image / "srv/packages").glob("*.deb")):
            # No colon of an epoch in an address.
            shutil.copyfile(package, pool / package.name.replace("%3a", "-"))
        main = sorted(pool.iterdir())
        driver = [_driver(version, tools, shaders, scratch, pool) for version in DRIVERS]
        driver.append(_package("nvidia-persistenced", DRIVERS[-1], "", scratch, pool, _persistence))
        main.append(_package(f"linux-headers-{platform.release()}", "1", "", scratch, pool))
        _write_lists(target, suite, {"main": main, "contrib": [], "non-free": driver, "non-free-firmware": []})

    inputs: list[str | Path] = [
        image.name, tools.name, shaders.name, suite, platform.release(), Path(__file__),
    ]  # fmt: skip
    return cache.ensure("packages", inputs, build, progress)


def _driver(version: str, tools: Path, shaders: Path, scratch: Path, pool: Path) -> Path:
    def fill(root: Path) -> None:
        subprocess.run(["cp", "-a", f"{tools}/.", root], check=True)
        (root / SHADERS).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", f"{shaders}/.", root], check=True)
        module = root / "lib/modules" / platform.release() / MODULE
        module.parent.mkdir(parents=True)
        module.write_text(version.partition("-")[0] + "\n")
        # Where there is a declaration is seen when the host boots (hardware.sh).
        (root / "etc/declared-gpus").symlink_to("/run/hardware/declaration")

    return _package("nvidia-driver", version, "mesa-vulkan-drivers, libvulkan1", scratch, pool, fill)


def _persistence(root: Path) -> None:
    unit = root / "lib/systemd/system/nvidia-persistenced.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(
        "[Unit]\nDescription=NVIDIA Persistence Daemon (a stand-in)\n\n[Service]\nExecStart=/bin/sleep infinity\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def _package(
    name: str, version: str, depends: str, scratch: Path, pool: Path, fill: Callable[[Path], None] | None = None
) -> Path:
    root = scratch / f"{name}_{version}"
    control = root / "DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.parent.chmod(0o755)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": ARCHITECTURE,
        "Maintainer": "The lab <root@mirror.lab>",
        **({"Depends": depends} if depends else {}),
        "Description": "stands in for the package of this name",
    }
    control.write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    if fill:
        fill(root)
    file = pool / f"{name}_{version}_{ARCHITECTURE}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, file], check=True, capture_output=True)
    return file


def _write_lists(target: Path, suite: str, components: dict[str, list[Path]]) -> None:
    """dists/SUITE as apt reads it: a list of packages for each component, and Release with their digests."""
    directory = target / "dists" / suite
    sums = []
    for component, files in components.items():
        text = "\n".join(_entry(file, target) for file in files).encode()
        path = directory / component / f"binary-{ARCHITECTURE}"
        path.mkdir(parents=True)
        for name, content in (("Packages", text), ("Packages.gz", gzip.compress(text, mtime=0))):
            (path / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            sums.append(f" {digest} {len(content)} {component}/binary-{ARCHITECTURE}/{name}\n")
    (directory / "Release").write_text(
        f"Origin: lab\nSuite: {suite}\nCodename: {suite}\nDate: {formatdate(usegmt=True)}\n"
        f"Architectures: {ARCHITECTURE}\nComponents: {' '.join(components)}\nSHA256:\n{''.join(sums)}"
    )


def _entry(file: Path, target: Path) -> str:
    done = subprocess.run(["dpkg-deb", "--field", file], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{file}: {done.stderr.strip()}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    place = f"Filename: {os.path.relpath(file, target)}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
    return f"{done.stdout.rstrip()}\n{place}"

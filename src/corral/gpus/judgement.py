"""What keeps a host's GPUs from serving a version of Ollama. Pure: an inventory in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from corral.gpus.inventory import MIG_DIVIDED, Device, Inventory, Problem
from corral.versions import numbers

#: The first version whose engine is llama-server.
LLAMA_SERVER = (0, 30)
#: docs.ollama.com/gpu: "compute capability 5.0+ and driver version 550 and newer ... 5.0 through 6.2 require driver
#: version 570 or newer"; discover/cuda_compat.go drops cards below 7.0 under an older driver. Before 0.30 the same
#: page said 531.
LEAST_CAPABILITY = (5, 0)
LEAST_DRIVER, LEAST_DRIVER_PASCAL, LEAST_DRIVER_BEFORE = 550, 570, 531
NEEDS_NEWER_DRIVER_BELOW = (7, 0)
#: CUDA 13 has nothing for older cards (CUDA 13.0 release notes), and wants a driver of its own.
LEAST_CAPABILITY_V13, LEAST_DRIVER_V13 = (7, 5), 580


def problems(inventory: Inventory, ollama_version: str, integrated: bool = False) -> tuple[Problem, ...]:
    """Everything to tell the owner, worst first: what came up while asking, then what follows from the answers.

    integrated: Ollama is told to use integrated GPUs (OLLAMA_IGPU_ENABLE).
    """
    version = numbers(ollama_version)
    return (
        *inventory.problems,
        *_drivers(inventory),
        *(problem for device in inventory.devices for problem in _device(device, inventory, version)),
        *(_left_out(device, version) for device in inventory.devices if _is_left_out(device, version, integrated)),
        *_instances(inventory),
    )


def wants_integrated(environment: Mapping[str, str]) -> bool:
    """Whether this environment of a server has it use integrated GPUs."""
    return environment.get("OLLAMA_IGPU_ENABLE") == "1"


def usable(inventory: Inventory, ollama_version: str, integrated: bool = False) -> tuple[Device, ...]:
    """The devices that this version of Ollama computes on. integrated: as for problems()."""
    version = numbers(ollama_version)
    return tuple(device for device in inventory.computing if not _is_left_out(device, version, integrated))


def cuda_runner(device: Device) -> str:
    """The CUDA runner that Ollama takes for an NVIDIA card: cuda_v13, cuda_v12, or "" where none serves it."""
    capability, driver = numbers(device.compute_capability), numbers(device.driver)[:1]
    if not capability or capability < LEAST_CAPABILITY:
        return ""
    return "cuda_v13" if capability >= LEAST_CAPABILITY_V13 and driver >= (LEAST_DRIVER_V13,) else "cuda_v12"


def _drivers(inventory: Inventory) -> Iterator[Problem]:
    """Cards that are on the bus and that no program can compute on."""
    known = {device.bus_id for device in inventory.devices}
    told = " ".join(problem.found for problem in inventory.problems)
    for card in inventory.cards:
        if card.bus_id in known or card.bus_id in told:
            continue
        where = f"the {card.vendor} card {card.bus_id}"
        if card.vendor == "NVIDIA" and card.driver in ("nouveau", ""):
            state = "runs on nouveau, with which Ollama can't compute" if card.driver else "has no driver"
            yield Problem(f"{where} {state}", f"Install NVIDIA's driver, {LEAST_DRIVER} or newer, and reboot")
        elif card.vendor == "NVIDIA" and card.driver == "nvidia" and not inventory.error:
            if any(device.vendor == "NVIDIA" for device in inventory.devices):
                found, remedy = "is not among those that nvidia-smi lists", "Reboot the host; see dmesg | grep NVRM"
            else:
                found, remedy = "can't be asked: no nvidia-smi", "Install it (nvidia-utils, of the driver's version)"
            yield Problem(f"{where} {found}", remedy)
        elif card.vendor == "AMD" and not card.driver:
            yield Problem(f"{where} has no driver", "Load amdgpu (modprobe amdgpu); it may need newer firmware files")
        elif card.vendor == "AMD" and card.driver == "radeon":
            yield Problem(
                f"{where} runs on radeon, with which Ollama can't compute", "Boot with amdgpu, if it knows it"
            )


def _device(device: Device, inventory: Inventory, version: tuple[int, ...]) -> Iterator[Problem]:
    if device.total_mib is None and device.mig != MIG_DIVIDED:
        yield Problem(
            f"{device.where} does not tell its memory",
            "It shares the system's: the engine's own list says how much of it"
            if device.unified
            else "Set the context and the layers on the GPU yourself, or see to the card and its driver",
        )
    if device.vendor == "NVIDIA" and device.mig in ("", MIG_DIVIDED):
        yield from _cuda(device, inventory, version)
    if device.vendor == "AMD":
        yield from _rocm(device, inventory)


def _cuda(device: Device, inventory: Inventory, version: tuple[int, ...]) -> Iterator[Problem]:
    capability, driver = numbers(device.compute_capability), numbers(device.driver)
    if capability and capability < LEAST_CAPABILITY:
        yield Problem(
            f"{device.where} has compute capability {device.compute_capability}, and Ollama's CUDA needs 5.0",
            "It serves with the CPU, or with Vulkan if its driver has that; replace the card",
        )
        return
    least = LEAST_DRIVER if version >= LLAMA_SERVER else LEAST_DRIVER_BEFORE
    older = version >= LLAMA_SERVER and capability and capability < NEEDS_NEWER_DRIVER_BELOW
    if older:
        least = LEAST_DRIVER_PASCAL
    if driver and driver < (least,):
        because = f" for a card of compute capability {device.compute_capability}" if older else ""
        yield Problem(
            f"NVIDIA's driver {device.driver} is too old: {_named(version)} needs {least}{because} ({device.where})",
            f"Install driver {least} or newer, and reboot",
        )
    runner = cuda_runner(device)
    bundled = {name for name in inventory.runners if name.startswith("cuda_v")}
    if runner and bundled and runner not in bundled and not (runner == "cuda_v13" and "cuda_v12" in bundled):
        yield Problem(
            f"the release that is installed has no {runner}, which alone serves {device.where} "
            f"(compute capability {device.compute_capability}, driver {device.driver})",
            "Install the whole release"
            if runner == "cuda_v12"
            else f"Install the whole release, or driver {LEAST_DRIVER_V13} or newer",
        )


def _is_left_out(device: Device, version: tuple[int, ...], integrated: bool) -> bool:
    return version >= LLAMA_SERVER and not integrated and device.vendor == "AMD" and device.unified


def _left_out(device: Device, version: tuple[int, ...]) -> Problem:
    """ollama/ollama#16690: "dropping integrated GPU; to enable, set OLLAMA_IGPU_ENABLE=1"."""
    return Problem(
        f"{device.where} is integrated, and {_named(version)} leaves such GPUs out",
        "Set OLLAMA_IGPU_ENABLE: true in environment to have it used",
    )


def _rocm(device: Device, inventory: Inventory) -> Iterator[Problem]:
    if inventory.runners and not any(name.startswith("rocm") for name in inventory.runners):
        yield Problem(
            f"the release that is installed has no ROCm: {device.where} is served by Vulkan, "
            "which needs Mesa's Vulkan drivers on the host",
            "Unpack the -rocm archive of the same version over it for ROCm, if the card is on its list",
        )


def _instances(inventory: Inventory) -> Iterator[Problem]:
    for card in inventory.devices:
        if card.mig != MIG_DIVIDED:
            continue
        count = sum(
            device.bus_id == card.bus_id and device.mig not in ("", MIG_DIVIDED) for device in inventory.devices
        )
        if not count:
            yield Problem(
                f"{card.where} is in MIG mode and has no instance, so nothing can compute on it",
                f"Make one (nvidia-smi mig -cgi ... -C), or switch MIG off: nvidia-smi -i {card.index} -mig 0",
            )
        elif count > 1:
            # NVIDIA's MIG User Guide, CUDA device enumeration; ollama/ollama#4814.
            yield Problem(
                f"{card.where} is cut into {count} MIG instances, of which a program sees one",
                "Name it in environment: CUDA_VISIBLE_DEVICES: MIG-... (nvidia-smi -L lists them)",
            )


def _named(version: tuple[int, ...]) -> str:
    return f"Ollama {'.'.join(map(str, version))}"

"""The engine's own list of what it can compute on, whatever the maker: `llama-server --list-devices`.

From Ollama 0.30 on. Starting Vulkan or CUDA takes longer than the whole probe, so only planning asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from corral import layout
from corral.environment import GPU_NAMES, GPU_PREFIXES
from corral.gpus.inventory import Device, Inventory, Problem
from corral.scripts import Script, Value

#: "  CUDA0: NVIDIA GeForce RTX 3080 Ti (11909 MiB, 11650 MiB free)": Ollama reads it in discover/llama_server.go.
_DEVICE = re.compile(r"^\s+([^\s:]+?)(\d*):\s+(.+?)\s+\((\d+) MiB, (\d+) MiB free\)", re.M)
_CAPABILITY = re.compile(r"Device (\d+):.*compute capability (\d+\.\d+)")
_GFX = re.compile(r"Device (\d+):.*, (gfx[0-9a-f]+)[\s:(]")
_UNIFIED = re.compile(r"ggml_vulkan: (\d+) =.*\| uma: 1 \|")
#: Ollama takes a device from the first of these that has it.
_PREFERRED = ("cuda", "rocm", "hip", "metal", "vulkan")


def script(release: str, environment: Mapping[str, str]) -> Script:
    """Asks the runners of a release that the server would use, as its user and with what chooses its devices.

    release: a directory such as /opt/ollama/current. environment: the server's, without secrets; what of it chooses
    devices shows in a process list.
    """
    return Script(
        "gpus/engine.sh",
        {
            **variables(environment),
            "RELEASE": release,
            "ONLY": environment.get("OLLAMA_LLM_LIBRARY", ""),
            "WITHOUT": "vulkan" if environment.get("OLLAMA_VULKAN") == "0" else "",
        },
    )


def variables(environment: Mapping[str, str]) -> dict[str, Value]:
    """How scripts start an engine of the release in use as the server would: RELEASE, USER_NAME, ENVIRONMENT."""
    settings = {"HOME": layout.HOME, "XDG_CACHE_HOME": layout.CACHE, **chosen(environment)}
    return {
        "RELEASE": layout.CURRENT,
        "USER_NAME": layout.USER,
        "ENVIRONMENT": [f"{name}={value}" for name, value in settings.items()],
    }


def chosen(environment: Mapping[str, str]) -> dict[str, str]:
    """Of a server's environment what chooses its devices, and how its engine uses them."""
    return {name: value for name, value in environment.items() if name in GPU_NAMES or name.startswith(GPU_PREFIXES)}


def parse(sections: Mapping[str, str], known: Inventory) -> tuple[tuple[Device, ...], tuple[Problem, ...]]:
    """The devices that Ollama would use, each once, and the runners that failed.

    Memory is the engine's; what it does not tell (uuid, driver, what our own server holds) is taken from what is known.
    """
    answers = {
        name.removeprefix("engine."): text for name, text in sections.items() if name.startswith("engine.") and text
    }
    devices: list[Device] = []
    for runner in sorted(answers, key=_rank):
        kept = list(devices)
        for device in _devices(runner, answers[runner]):
            # The same card by another way; of equal cards each runner lists as many.
            twin = next((other for other in kept if _same(other, device)), None)
            if twin:
                kept.remove(twin)
            else:
                devices.append(device)
    return tuple(_identified(devices, list(known.computing))), tuple(
        _failed(runner, text) for runner, text in answers.items() if "@failed" in text
    )


def _rank(runner: str) -> tuple[int, list[int], str]:
    kind = next((place for place, prefix in enumerate(_PREFERRED) if runner.startswith(prefix)), len(_PREFERRED))
    return kind, [-int(number) for number in re.findall(r"\d+", runner)], runner


def _devices(runner: str, text: str) -> list[Device]:
    capabilities, targets = dict(_CAPABILITY.findall(text)), dict(_GFX.findall(text))
    unified = set(_UNIFIED.findall(text))
    return [
        Device(
            vendor=_vendor(backend, name),
            name=name,
            index=int(number or 0),
            total_mib=int(total),
            free_mib=int(free),
            used_mib=max(0, int(total) - int(free)),
            compute_capability=capabilities.get(number, ""),
            gfx=targets.get(number, ""),
            unified=backend in ("MTL", "Metal") or number in unified,
            source=f"engine, {runner}",
            handle=f"{backend}{number}",
        )
        for backend, number, name, total, free in _DEVICE.findall(text)
        if int(total)  # BLAS and Accelerate are listed too, without memory
    ]


def _vendor(backend: str, name: str) -> str:
    if backend == "CUDA" or re.search("NVIDIA|GeForce|Quadro|Tesla", name):
        return "NVIDIA"
    if backend == "ROCm" or re.search("AMD|Radeon", name):
        return "AMD"
    if backend in ("MTL", "Metal") or name.startswith("Apple"):
        return "Apple"
    return "Intel" if "Intel" in name else ""


def _same(one: Device, other: Device) -> bool:
    """Vulkan's name may add the driver's name for the chip: "AMD Radeon RX 7900 XTX (RADV NAVI31)"."""
    plain = [re.sub(r"\s*\((RADV|AMDVLK|NVK).*\)$", "", device.name) for device in (one, other)]
    return one.vendor == other.vendor and plain[0] == plain[1]


def _identified(devices: list[Device], known: list[Device]) -> Iterator[Device]:
    """Each device with what another source tells of it. Equal cards are told apart by what is free on them."""
    for device in devices:
        named = [other for other in known if _same(other, device)]
        alike = named or [other for other in known if other.vendor == device.vendor]
        if not named and len(alike) > 1:
            alike = []  # names that don't agree identify only an only card
        if not alike:
            yield device
            continue
        other = min(alike, key=lambda other: abs((other.free_mib or 0) - (device.free_mib or 0)))
        known.remove(other)
        yield replace(
            device,
            uuid=other.uuid,
            bus_id=other.bus_id,
            compute_capability=device.compute_capability or other.compute_capability,
            driver=other.driver,
            gfx=device.gfx or other.gfx,
            mig=other.mig,
            ecc=other.ecc,
            unified=device.unified or other.unified,
            own_mib=other.own_mib,
            by_server=other.by_server,
        )


def _failed(runner: str, text: str) -> Problem:
    said = [line for line in text.splitlines() if line.strip() and not line.startswith("@failed")]
    code = text.rpartition("@failed")[2].strip()
    why = "it did not answer in time" if code == "137" else (said or [f"exit code {code}"])[-1].strip().rstrip(".")
    return Problem(
        f"the engine's {runner} can't list its devices: {why}",
        "See the server's log; the release may be damaged, or the driver too old for it",
    )

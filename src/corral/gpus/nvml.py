"""The NVIDIA GPUs of the machine that this runs on, asked of the driver's library instead of nvidia-smi.

The same inventory as nvidia.py makes of nvidia-smi's answer, but for the source. Needs nothing of corral but types.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import pynvml

from corral.gpus.inventory import MIG_DIVIDED, Device, Inventory, OwnServer, Process, counted, normal_bus_id, untold
from corral.gpus.nvidia import lost_problem, unanswered

SOURCE = "NVML"
T = TypeVar("T")


def look(own: OwnServer | None = None) -> Inventory:
    """What NVML tells: nothing where it is not installed; where it fails, the inventory's error says so in its words.

    own: which processes are our server's; without it, none.
    """
    own = own or OwnServer(frozenset(), "")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return Inventory()
    except pynvml.NVMLError as error:
        return Inventory(problems=(unanswered(str(error), SOURCE),), error=str(error))
    try:
        return _look(own)
    except pynvml.NVMLError as error:
        return Inventory(problems=(unanswered(str(error), SOURCE),), error=str(error))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _look(own: OwnServer) -> Inventory:
    driver = _string(pynvml.nvmlSystemGetDriverVersion())
    cards: list[Device] = []
    instances: list[Device] = []
    processes: list[Process] = []
    problems = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            card = _device(handle, index, driver)
        except pynvml.NVMLError as error:
            problems.append(lost_problem(f"GPU {index}", str(error)))
            continue
        cards.append(card)
        instances += _instances(handle, card)
        processes += _processes(handle, card.uuid, own)
    devices = tuple(counted(device, tuple(processes)) for device in (*cards, *instances))
    problems += untold(devices, tuple(processes))
    return Inventory(devices=devices, problems=tuple(problems), processes=tuple(processes))


def _device(handle: Any, index: int, driver: str) -> Device:
    total, used, free = _memory(handle)
    capability = _asked(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    mig = _asked(lambda: pynvml.nvmlDeviceGetMigMode(handle))
    ecc = _asked(lambda: pynvml.nvmlDeviceGetEccMode(handle))
    return Device(
        vendor="NVIDIA",
        name=_string(pynvml.nvmlDeviceGetName(handle)),
        index=index,
        uuid=_string(pynvml.nvmlDeviceGetUUID(handle)),
        bus_id=normal_bus_id(_string(pynvml.nvmlDeviceGetPciInfo(handle).busId)),
        total_mib=total,
        used_mib=used,
        free_mib=free,
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else "",
        driver=driver,
        mig=MIG_DIVIDED if mig and mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE else "",
        ecc=None if ecc is None else ecc[0] == pynvml.NVML_FEATURE_ENABLED,
        source=SOURCE,
    )


def _memory(handle: Any) -> tuple[int | None, int | None, int | None]:
    """Total, used and free in MiB. Version 2 counts what the driver reserves apart from used, as nvidia-smi does."""
    memory = _asked(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2))
    memory = memory or _asked(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    return (memory.total >> 20, memory.used >> 20, memory.free >> 20) if memory else (None, None, None)


def _instances(handle: Any, card: Device) -> Iterator[Device]:
    if card.mig != MIG_DIVIDED:
        return
    for index in range(_asked(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
        with suppress(pynvml.NVMLError):
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            total, used, free = _memory(instance)
            name = _string(pynvml.nvmlDeviceGetName(instance))
            yield replace(
                card,
                name=name,
                index=index,
                uuid=_string(pynvml.nvmlDeviceGetUUID(instance)),
                mig=name.rpartition("MIG ")[2],
                total_mib=total,
                used_mib=used,
                free_mib=free,
            )


def _processes(handle: Any, uuid: str, own: OwnServer) -> Iterator[Process]:
    for process in _asked(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ():
        used = process.usedGpuMemory
        name = _program(process.pid)
        yield Process(process.pid, name, None if used is None else used >> 20, uuid, own.owns(process.pid, name))


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return "[Not Found]"


def _asked(question: Callable[[], T]) -> T | None:
    """The answer; None where the card, or an older driver, has none."""
    try:
        return question()
    except pynvml.NVMLError:
        return None


def _string(value: str | bytes) -> str:
    """Older nvidia-ml-py gives bytes."""
    return value.decode() if isinstance(value, bytes) else value

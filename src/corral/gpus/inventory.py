"""GPUs as types. No I/O and no other module of corral, so that it runs wherever Python does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

#: A card whose maker's driver has cut it into instances: programs compute on those, never on the card itself.
MIG_DIVIDED = "divided"
#: The driver of a card that this host has handed to a virtual machine.
HANDED_ON = "vfio-pci"


@dataclass(frozen=True)
class Device:
    """One GPU, or one MIG instance of one, as one source tells of it. Memory in MiB; None or "": it does not tell.

    vendor: NVIDIA, AMD or Apple; "" where only the engine lists it and its name does not tell.
    index: as that source counts; sources count differently, uuid and bus_id ("0000:01:00.0") are the same for all.
    compute_capability: NVIDIA's, as "8.9". gfx: AMD's target, as "gfx1100".
    mig: "" for a whole card, MIG_DIVIDED for one that is cut into instances, an instance's profile ("1g.10gb").
    ecc: None where the card has none or does not tell.
    unified: it shares the system's memory, of which the total is what it may take.
    own_mib: what our own server holds of it, and gives back when it is planned anew. by_server: the driver does not
        tell that (WDDM), and the server's own number for its models stands for it.
    source: nvidia-smi, NVML, sysfs, sysctl, or the engine's runner ("engine, cuda_v13").
    handle: as the engine calls it ("CUDA0").
    """

    vendor: str
    name: str
    index: int = 0
    uuid: str = ""
    bus_id: str = ""
    total_mib: int | None = None
    free_mib: int | None = None
    used_mib: int | None = None
    compute_capability: str = ""
    driver: str = ""
    gfx: str = ""
    mig: str = ""
    ecc: bool | None = None
    unified: bool = False
    own_mib: int = 0
    by_server: bool = False
    source: str = ""
    handle: str = ""

    @property
    def plannable_mib(self) -> int | None:
        """What models may take when the host is planned anew: what is free, and what our own server holds now."""
        return None if self.free_mib is None else self.free_mib + self.own_mib

    @property
    def where(self) -> str:
        """The device for people: name, and which of several."""
        return f"{self.name} ({self.bus_id or f'GPU {self.index}'})"


@dataclass(frozen=True)
class Process:
    """A program that holds a GPU's memory. used_mib None: the driver does not tell (WDDM, containers).

    uuid: of the device. own: it belongs to our server's service.
    """

    pid: int
    name: str
    used_mib: int | None
    uuid: str = ""
    own: bool = False


@dataclass(frozen=True)
class Card:
    """A GPU on the PCI bus, whether a driver knows it or not. driver: nvidia, nouveau, amdgpu, HANDED_ON, or ""."""

    vendor: str
    bus_id: str
    driver: str


@dataclass(frozen=True)
class Problem:
    """What keeps a GPU from being used, or from being known. Neither part ends with a full stop."""

    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found}. {self.remedy}."


@dataclass(frozen=True)
class Inventory:
    """All that one look at a host told about its GPUs.

    problems: those that came up while asking; judgement.problems adds what follows for a version of Ollama.
    error: what nvidia-smi said instead of an answer; "" when it answered or is not there.
    runners: directories of the installed release that hold a GPU backend ("cuda_v13", "vulkan"); empty: unknown.
    """

    devices: tuple[Device, ...] = ()
    problems: tuple[Problem, ...] = ()
    processes: tuple[Process, ...] = ()
    cards: tuple[Card, ...] = ()
    runners: frozenset[str] = frozenset()
    error: str = ""

    @property
    def vendors(self) -> tuple[str, ...]:
        """The makers of the cards that this host has for itself, one per card."""
        return tuple(card.vendor for card in self.cards if card.driver != HANDED_ON)

    @property
    def computing(self) -> tuple[Device, ...]:
        """The devices that programs can compute on."""
        return tuple(device for device in self.devices if device.mig != MIG_DIVIDED)

    @property
    def foreign(self) -> tuple[Process, ...]:
        """The programs other than our server that hold memory."""
        return tuple(process for process in self.processes if not process.own)

    @property
    def own_untold(self) -> bool:
        """Whether our own server holds memory of which the driver does not tell how much."""
        return any(process.own and process.used_mib is None for process in self.processes)

    @property
    def holders(self) -> str:
        """Those programs for people, with what each holds; "" for none."""
        return ", ".join(f"{one.name} (pid {one.pid}) holds {one.used_mib or '?'} MiB" for one in self.foreign)


@dataclass(frozen=True)
class OwnServer:
    """What tells our server's processes from others.

    pids: those of its service's control group; None: it runs, and they could not be told.
    programs: the directory under which its programs lie, to know them by where their pids are not known.
    """

    pids: frozenset[int] | None
    programs: str

    def owns(self, pid: int, program: str) -> bool:
        if self.pids is not None:
            return pid in self.pids
        path = PurePosixPath(program)
        return path.name in ("ollama", "llama-server") and PurePosixPath(self.programs) in path.parents


def counted(device: Device, processes: tuple[Process, ...]) -> Device:
    """The device with what our own server holds of it."""
    held = sum(process.used_mib or 0 for process in processes if process.own and process.uuid == device.uuid)
    return replace(device, own_mib=held)


def untold(devices: tuple[Device, ...], processes: tuple[Process, ...]) -> Iterator[Problem]:
    """Where our own server holds memory and the driver does not tell how much."""
    names = {device.uuid: device.where for device in devices}
    for process in processes:
        if process.own and process.used_mib is None:
            yield Problem(
                f"the driver does not tell how much of {names.get(process.uuid, 'a GPU')} our server holds "
                f"({process.name}, pid {process.pid})",
                "Only what is free counts as available; stop Ollama's service, or unload its models, to plan with all",
            )


def normal_bus_id(text: str) -> str:
    """A PCI address as the kernel writes it; NVIDIA writes the domain with eight digits and capitals."""
    domain, colon, rest = text.strip().lower().partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest}" if colon else ""
    except ValueError:
        return ""

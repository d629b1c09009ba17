"""What nvidia-smi says, read. Its texts and exit codes: NVIDIA's man page nvidia-smi(1) and the reports named below."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from corral.gpus.inventory import (
    MIG_DIVIDED,
    Device,
    Inventory,
    OwnServer,
    Problem,
    Process,
    counted,
    normal_bus_id,
    untold,
)

#: In the order of the columns. mig.mode.current must be last: the script looks there whether to ask for instances.
FIELDS = (
    "index",
    "name",
    "uuid",
    "pci.bus_id",
    "driver_version",
    "memory.total",
    "memory.used",
    "memory.free",
    "compute_cap",
    "ecc.mode.current",
    "mig.mode.current",
)
#: A program's name may hold commas, so it comes last.
PROCESS_FIELDS = ("gpu_uuid", "pid", "used_memory", "process_name")
SOURCE = "nvidia-smi"

#: "GPU 0000:0B:00.0: Unknown Error" (driver 520, NVIDIA/open-gpu-kernel-modules#387), "GPU0000:65:00.0: ..." (560,
#: meta-llama/llama-models#200), "GPU0: 0000:01:00.0: GPU is lost. ..."; an old driver may leave the address out.
_LOST = re.compile(
    r"Unable to determine the device handle for gpu(?:\d+:\s)?\s*([0-9a-f]+:[0-9a-f]+:[0-9a-f]+\.[0-7]):?\s*(.*)", re.I
)
#: Instead of a value: the card does not answer. [N/A] and [Not Supported] mean that it does not have the thing.
_FAILING = re.compile(r"Unknown Error|ERR!|GPU is lost|requires reset", re.I)
#: Their memory is the system's; nvidia-smi says [N/A] for it (GB10) and the engine knows it.
_UNIFIED = re.compile(r"\b(GB10|Thor|Orin|Xavier)\b", re.I)
_MIG_INSTANCE = re.compile(r"^\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (\S+?)\)")
_MIG_PARENT = re.compile(r"^GPU \d+: .*\(UUID: (\S+?)\)")

_LOST_REMEDY = (
    "Reboot the host; if it comes again, look for Xid 79 in dmesg and see to power, heat and the seat of the card"
)
#: What nvidia-smi says instead of an answer, and what to do. The first that matches counts.
_REMEDIES = (
    (
        "version mismatch",  # exit code 18; NVML: "RM has detected an NVML/RM version mismatch."
        "Reboot the host: the driver was updated while the old one was loaded",
    ),
    (
        "couldn't communicate with the NVIDIA driver|Driver Not Loaded",  # exit code 9
        "Install NVIDIA's driver, or after a kernel update build its module anew (dkms status), and reboot; "
        "with Secure Boot the module must be signed",
    ),
    (
        "No devices were found",  # exit code 6; 0 in older drivers
        "See what the driver says of the card (dmesg | grep NVRM), its power cables and its seat",
    ),
    ("couldn't find libnvidia-ml.so", "Install the driver's libraries (libnvidia-ml1), of the driver's own version"),
    (
        "fallen off the bus|GPU is lost|Unable to determine the device handle",
        _LOST_REMEDY,
    ),
    ("Insufficient Permissions", "Look at the rights of /dev/nvidia* (ls -l), and at the container if this is one"),
)
_TIMEOUT = "nvidia-smi did not answer in time"


def parse(sections: Mapping[str, str], own: OwnServer) -> Inventory:
    """The NVIDIA part of an inventory from the sections gpu.nvidia, gpu.processes, gpu.mig and gpu.mig_memory."""
    if "gpu.nvidia" not in sections:
        return Inventory()
    processes = tuple(_processes(sections.get("gpu.processes", ""), own))
    rows, said, failed, unknown = _rows(sections["gpu.nvidia"])
    lost = {normal_bus_id(match[1]): match[2].strip() for match in map(_LOST.search, said) if match}
    if not rows:
        error = " ".join(said)
        if not error:
            error = _TIMEOUT if failed in ("124", "137") else "nvidia-smi failed without a word"
        return Inventory(problems=(unanswered(error, SOURCE),), processes=processes, error=error)
    cards = [_device(row) for row in rows]
    instances = list(_instances(cards, sections.get("gpu.mig", ""), sections.get("gpu.mig_memory", "")))
    devices = tuple(counted(device, processes) for device in (*cards, *instances))
    problems = [
        *(lost_problem(bus_id, why) for bus_id, why in lost.items()),
        *_failing(rows),
        *untold(devices, processes),
    ]
    if unknown:
        problems.append(
            Problem(
                f"this nvidia-smi (driver {cards[0].driver or 'unknown'}) does not know {', '.join(unknown)}",
                "Update NVIDIA's driver; until then these are unknown",
            )
        )
    return Inventory(devices=devices, problems=tuple(problems), processes=processes)


def _rows(text: str) -> tuple[list[dict[str, str]], list[str], str, tuple[str, ...]]:
    """Rows by field, everything else that was said, the last exit code that was not 0, the fields not known."""
    rows: dict[str, dict[str, str]] = {}
    said: list[str] = []
    failed, fields = "", list(FIELDS)
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        cells = [cell.strip() for cell in line.split(",")]
        if word == "@fields":
            fields = rest.split(",")
        elif word == "@failed":
            failed = rest
        elif len(cells) == len(fields) and cells[0].isdigit():
            rows[cells[0]] = dict(zip(fields, cells, strict=True))
        elif line not in said:
            said.append(line)
    return list(rows.values()), said, failed, tuple(field for field in FIELDS if field not in fields)


def _device(row: Mapping[str, str]) -> Device:
    return Device(
        vendor="NVIDIA",
        name=_text(row["name"]) or "an NVIDIA GPU that does not tell its name",
        index=int(row["index"]),
        uuid=_text(row.get("uuid", "")),
        bus_id=normal_bus_id(row.get("pci.bus_id", "")),
        total_mib=_mib(row.get("memory.total", "")),
        free_mib=_mib(row.get("memory.free", "")),
        used_mib=_mib(row.get("memory.used", "")),
        compute_capability=_text(row.get("compute_cap", "")),
        driver=_text(row.get("driver_version", "")),
        mig=MIG_DIVIDED if row.get("mig.mode.current") == "Enabled" else "",
        ecc={"Enabled": True, "Disabled": False}.get(row.get("ecc.mode.current", "")),
        unified=bool(_UNIFIED.search(row["name"])),
        source=SOURCE,
    )


def _mib(cell: str) -> int | None:
    match = re.match(r"\d+", cell)
    return int(match[0]) if match else None


def _text(cell: str) -> str:
    """A value; "" for what stands in its place."""
    return "" if cell.startswith("[") or _FAILING.search(cell) else cell


def _processes(text: str, own: OwnServer) -> Iterator[Process]:
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",", len(PROCESS_FIELDS) - 1)]
        if len(cells) == len(PROCESS_FIELDS) and cells[1].isdigit():
            uuid, pid, used, name = cells
            yield Process(int(pid), name, _mib(used), uuid, own.owns(int(pid), name))


def _instances(cards: list[Device], listed: str, memory: str) -> Iterator[Device]:
    """MIG instances, from `nvidia-smi -L` and the memory of each from `nvidia-smi -q -x`.

    -L: "GPU 0: A100-SXM4-40GB (UUID: GPU-...)", under it "  MIG 1g.5gb Device 0: (UUID: MIG-...)" (MIG User Guide).
    """
    sizes = _instance_memory(memory)
    parent: Device | None = None
    for line in listed.splitlines():
        if card := _MIG_PARENT.match(line):
            parent = next((device for device in cards if device.uuid == card[1]), None)
        elif parent and (found := _MIG_INSTANCE.match(line)):
            total, used, free = sizes.get((parent.bus_id, int(found[2])), (None, None, None))
            yield replace(
                parent,
                name=f"{parent.name} MIG {found[1]}",
                index=int(found[2]),
                uuid=found[3],
                mig=found[1],
                total_mib=total,
                used_mib=used,
                free_mib=free,
            )


def _instance_memory(xml: str) -> dict[tuple[str, int], tuple[int | None, int | None, int | None]]:
    """Total, used and free by the card's address and the instance's number."""
    sizes = {}
    for card in re.split(r"<gpu id=", xml)[1:]:
        bus_id = normal_bus_id(card.lstrip('"').partition('"')[0])
        for instance in re.findall(r"<mig_device>(.*?)</mig_device>", card, re.S):
            index = re.search(r"<index>(\d+)</index>", instance)
            usage = re.search(r"<fb_memory_usage>(.*?)</fb_memory_usage>", instance, re.S)
            if index and usage:
                values = [re.search(rf"<{key}>(.*?)</{key}>", usage[1]) for key in ("total", "used", "free")]
                total, used, free = (_mib(value[1]) if value else None for value in values)
                sizes[bus_id, int(index[1])] = total, used, free
    return sizes


def unanswered(error: str, source: str) -> Problem:
    """What nvidia-smi or NVML (source) said instead of an answer, and what to do."""
    if error == _TIMEOUT:
        return Problem(error, "Reboot the host: a card or its driver hangs (dmesg | grep -E 'NVRM|Xid')")
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, error, re.I)), "Repair the driver")
    return Problem(f"{source} says: {error.rstrip('.')}", remedy)


def lost_problem(bus_id: str, why: str) -> Problem:
    """A card that the driver knows of and that does not answer."""
    reason = f" ({why.rstrip('.')})" if why else ""
    return Problem(f"the NVIDIA card {bus_id} has fallen off the bus: it does not answer{reason}", _LOST_REMEDY)


def _failing(rows: list[dict[str, str]]) -> Iterator[Problem]:
    """Cards that are listed and don't answer."""
    for row in rows:
        bad = [f"{field} {value}" for field, value in row.items() if _FAILING.search(value)]
        if bad:
            yield Problem(
                f"the NVIDIA card {normal_bus_id(row.get('pci.bus_id', '')) or row['index']} fails: {', '.join(bad)}",
                _LOST_REMEDY,
            )

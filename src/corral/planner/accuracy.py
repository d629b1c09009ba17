"""How far the planner's numbers are from measured ones: reads measurements, predicts each, and compares.

A measurement is a line of CSV with the columns of COLUMNS; memory in MiB, a term that was not measured is empty.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from corral.errors import CorralError
from corral.planner import cards, catalog, gguf
from corral.planner.architecture import Architecture, Weights
from corral.planner.memory import BATCH, MIB, Backend, Generation, Load, kv_bytes, memory, overhead, place
from corral.planner.quantization import quantization, weights

COLUMNS = (
    "model", "arch", "quant", "ctx", "parallel", "kv_type", "flash", "gpu", "vram_total_mib", "weights_mib", "kv_mib",
    "graph_mib", "total_mib", "offloaded", "layers", "source", "note",
)  # fmt: skip
TERMS = ("weights", "kv", "graph", "total")
Choice = TypeVar("Choice", bound=StrEnum)
Model = tuple[Architecture, Weights | None]


@dataclass(frozen=True)
class Row:
    """One measurement and what the planner says of it, in MiB by term; a term that is in neither is left out.

    known: whether the row says all that the prediction needs: batch size, quantization, context.
    """

    line: int
    model: str
    measured: Mapping[str, float]
    predicted: Mapping[str, float]
    known: bool

    def error_pct(self, term: str) -> float | None:
        """Of the measured value; above 0: too much was predicted."""
        if term not in self.measured or term not in self.predicted or not self.measured[term]:
            return None
        return (self.predicted[term] - self.measured[term]) / self.measured[term] * 100


@dataclass(frozen=True)
class Summary:
    """Over the totals of rows that have one. worst_pct: the largest error, with its sign taken off.
    worst_under_mib: by how much the prediction was too small at worst, over rows with all terms known; 0: never."""

    rows: tuple[Row, ...]
    mean_abs_pct: float
    worst_pct: float
    worst_under_mib: float

    def as_json(self) -> dict[str, object]:
        rows = [
            asdict(row) | {"error_pct": {term: row.error_pct(term) for term in row.measured if term in row.predicted}}
            for row in self.rows
        ]
        return asdict(replace(self, rows=())) | {"rows": rows}


def summarize(rows: Iterable[Row]) -> Summary:
    rows = tuple(rows)
    errors = [abs(error) for row in rows if (error := row.error_pct("total")) is not None]
    under = [
        row.measured["total"] - row.predicted["total"]
        for row in rows
        if row.known and "total" in row.measured and "total" in row.predicted
    ]
    return Summary(rows, sum(errors) / len(errors) if errors else 0.0, max(errors, default=0.0), max([0.0, *under]))


def compare(path: Path, read_model: Callable[[Path], tuple[Architecture, Weights]] = gguf.read) -> Summary:
    """Predicts every measurement of a file. read_model: gives the shape and tensors of a GGUF file.

    Raises CorralError naming line and column for what can't be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
            if missing:
                raise CorralError(f"{path} lacks the column {missing[0]}", f"Its first line names {','.join(COLUMNS)}")
            return summarize(_row(path, table.line_num, line, read_model) for line in table)
    except OSError as error:
        raise CorralError(f"{path} can't be read ({error.strerror})", "Check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorralError(f"{path} is no CSV in UTF-8 ({error})", "Save it as such") from error


def _row(path: Path, number: int, line: Mapping[str, str | None], read_model: Callable[[Path], Model]) -> Row:
    fields = {column: (line.get(column) or "").strip() for column in COLUMNS}
    try:
        return _predict(number, fields, path.parent, read_model)
    except CorralError as error:
        raise CorralError(f"{path}, line {number}: {error.problem}", error.remedy, error.detail) from error


def _predict(number: int, fields: Mapping[str, str], directory: Path, read_model: Callable[[Path], Model]) -> Row:
    notes = _notes(fields["note"])
    measured = {term: value for term in TERMS if (value := _number(f"{term}_mib", fields[f"{term}_mib"])) is not None}
    arch, tensors = _model(fields, notes, directory, read_model)
    load = _load(fields, notes, arch)
    context_known = _number("ctx", fields["ctx"]) is not None
    batch_known = notes.get("ub", str(BATCH)).isdigit()
    devices = _devices(fields["gpu"], fields["note"])
    # An unknown quantization leaves the other terms.
    assumed = tensors or weights(arch, catalog.STANDARD)
    needed = memory(arch, assumed, load, place(arch.layers, load, (1,) * devices))
    predicted = {"kv": 0.0, "graph": 0.0}
    if tensors is not None:
        predicted = {"weights": sum(use.weights for use in needed.devices) / MIB} | predicted
        if "metal_mapped" in notes:
            # Metal maps the whole file: the token embedding is counted on the GPU too.
            predicted["weights"] += tensors.token_embedding / MIB
    if context_known:
        # A KV cache of which a part is on the host is reported whole.
        predicted["kv"] = kv_of_all(arch, load) / MIB
        predicted["graph"] = sum(use.graph for use in needed.devices) / MIB
    else:
        del predicted["kv"], predicted["graph"]
    if context_known and tensors is not None:
        on_gpus = sum(use.kv for use in needed.devices) / MIB
        predicted["total"] = predicted["weights"] + on_gpus + predicted["graph"]
        if _counts_context(fields["note"]):
            predicted["total"] += devices * overhead(load.backend, *_card(fields["gpu"])) / MIB
    return Row(number, fields["model"], measured, predicted, context_known and batch_known and tensors is not None)


def kv_of_all(arch: Architecture, load: Load) -> int:
    """Bytes of the KV cache of every block, wherever it is."""
    return sum(kv_bytes(arch, load))


def _model(
    fields: Mapping[str, str], notes: Mapping[str, str], directory: Path, read_model: Callable[[Path], Model]
) -> Model:
    name = fields["arch"]
    if name.lower().endswith(".gguf"):
        return read_model(directory / name)
    arch = catalog.find(name).architecture
    if "n_vocab" in notes:
        arch = replace(arch, vocabulary=_whole("n_vocab", notes["n_vocab"]))
    quant = fields["quant"]
    return arch, None if quant in ("", "?") else weights(arch, quantization(quant).name)


def _load(fields: Mapping[str, str], notes: Mapping[str, str], arch: Architecture) -> Load:
    offloaded, layers = (_number(column, fields[column]) for column in ("offloaded", "layers"))
    partial = offloaded is not None and layers is not None and offloaded < layers
    flash = fields["flash"].casefold()
    if flash not in ("", "0", "1", "true", "false", "on", "off"):
        raise CorralError(f"flash: {flash} is neither 1 nor 0", "Write 1 where flash attention was on, else 0")
    with_flash = flash in ("", "1", "true", "on")
    batch = notes.get("ub", "")
    # Where nothing is said: from 0.30 on Ollama turns flash attention on by itself.
    return Load(
        context=_count("ctx", fields["ctx"]) or arch.context,
        kv_type=fields["kv_type"].casefold() or "f16",
        flash=with_flash,
        parallel=_count("parallel", fields["parallel"]) or 1,
        batch=int(batch) if batch.isdigit() and int(batch) else BATCH,
        gpu_layers=int(offloaded or 0) if partial else None,
        generation=_one_of(Generation, "gen", notes.get("gen", "new" if with_flash else "legacy")),
        backend=_one_of(Backend, "backend", notes["backend"]) if "backend" in notes else _backend(fields["gpu"]),
    )


def _backend(gpu: str) -> Backend:
    """From the words by which people name a card."""
    words = gpu.casefold()
    for pattern, backend in (
        (r"vulkan", Backend.VULKAN),
        (r"metal|apple|\bm[1-9]\b", Backend.METAL),
        (r"rocm|hip|amd|radeon|\brx\b", Backend.ROCM),
    ):
        if re.search(pattern, words):
            return backend
    return Backend.CUDA


def _devices(gpu: str, note: str) -> int:
    """How many: "2x RTX 3090", or "2 devices" in the note."""
    found = re.match(r"\s*(\d+)\s*[x\u00d7]\s", gpu) or re.search(r"\b(\d+) devices\b", note)
    count = int(found[1]) if found else 1
    if not 1 <= count <= 64:
        raise CorralError(f"gpu: {count} devices", "Write how many there were, as in 2x RTX 3090")
    return count


def _card(gpu: str) -> tuple[float | None, int | None]:
    """Compute capability and multiprocessors."""
    known = cards.look_up(re.sub(r"^\s*\d+\s*[x\u00d7]\s", "", gpu))
    return (known.capability, known.multiprocessors) if known else (None, None)


def _counts_context(note: str) -> bool:
    """Whether the total is what the driver counted, with the context that it keeps for a process."""
    return bool(re.search(r"total\s*=\s*(nvidia-smi|nvml)|(cuda|driver) context", note, re.IGNORECASE))


def _notes(text: str) -> dict[str, str]:
    """The `key=value` among the parts of a note."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _number(column: str, text: str) -> float | None:
    if text in ("", "?"):
        return None
    try:
        value = float(text)
    except ValueError:
        raise CorralError(f"{column}: {text!r} is no number", "Write digits, or leave it empty") from None
    if not 0 <= value < 1e9:
        raise CorralError(f"{column}: {text} is out of range", "Memory is in MiB, contexts in tokens")
    return value


def _count(column: str, text: str) -> int | None:
    value = _number(column, text)
    if value is not None and value != int(value):
        raise CorralError(f"{column}: {text} is no whole number", "Write digits, or leave it empty")
    return None if value is None else int(value)


def _whole(key: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise CorralError(f"note: {key}={text} is no whole number", "Write digits")
    return int(text)


def _one_of(kind: type[Choice], key: str, text: str) -> Choice:
    try:
        return kind(text.casefold())
    except ValueError:
        raise CorralError(f"note: {key}={text} is not known", f"Use one of {', '.join(kind)}") from None

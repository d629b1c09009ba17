"""Predicted memory against what real engines said: numbers from logs, and rows asked of Ollama 0.34.4's engine."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.families import MIXED, OTHERS
from corral.errors import CorralError
from corral.planner import catalog
from corral.planner.architecture import Architecture, Weights
from corral.planner.memory import MIB, Backend, Generation, Load, Memory, memory, place
from corral.planner.quantization import QUANTIZATIONS, quantization, weights

DATA = Path(__file__).parents[1] / "data"
#: Free memory of the cards that were declared, as far as it decides how layers are divided.
CARDS = {"huge2": (1, 1), "hugeuneq": (299_487, 99_487), "c24x2": (1, 1)}


def architecture(name: str) -> Architecture:
    return OTHERS[name] if name in OTHERS else catalog.catalog()[name].architecture


class Said(NamedTuple):
    """What the engine said of one device, in MiB, beside what is predicted."""

    question: tuple[str, ...]
    device: int
    partial: bool
    model: float
    kv: float
    compute: float
    memory: Memory


def said() -> Iterator[Said]:
    with (DATA / "engine-vulkan.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            parallel, ngl = int(row["parallel"]), row["ngl"]
            arch = architecture(row["model"])
            layers = None if ngl == "all" or int(ngl) > arch.layers else int(ngl)
            if layers == 0 or row["devices"] in ("c8_24", "c24_8"):
                continue
            load = Load(
                context=int(row["ctx"]) // parallel, kv_type=row["kv_type"], flash=row["flash"] != "off",
                parallel=parallel, batch=int(row["ub"]), gpu_layers=layers, backend=Backend.VULKAN,
            )  # fmt: skip
            shares = CARDS.get(row["devices"], (1,))
            needed = memory(arch, weights(arch, row["quant"]), load, place(arch.layers, load, shares))
            yield Said(
                tuple(row.values())[:10], int(row["device"][-1]), layers is not None,
                float(row["model_mib"]), float(row["kv_mib"]), float(row["compute_mib"]), needed,
            )  # fmt: skip


def test_weights_and_kv_cache_are_the_engines_to_the_mib() -> None:
    rows = list(said())
    assert len(rows) > 400
    for row in rows:
        use = row.memory.devices[row.device]
        assert use.weights / MIB == pytest.approx(row.model, abs=1), row.question
        assert use.kv / MIB == pytest.approx(row.kv, abs=1), row.question


def test_the_compute_buffer_is_the_engines_within_five_percent() -> None:
    rows = [row for row in said() if not row.partial and not beyond_tensors(row)]
    assert len(rows) > 300
    for row in rows:
        # Cells of 8 bits leave a small model some megabytes of holes that are not modelled.
        close = pytest.approx(row.compute, rel=0.05, abs=5)
        assert row.memory.devices[row.device].graph / MIB == close, (row.question, row.device)


def test_mixtures_and_sliding_windows_are_the_engines_too() -> None:
    """KV cache to the MiB; the compute buffer within 5 %, without flash attention and with windows within 10 %."""
    with (DATA / "engine-vulkan-mixed.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 120
    for row in rows:
        arch, parallel, flash = MIXED[row["model"]], int(row["parallel"]), row["flash"] != "off"
        load = Load(
            int(row["ctx"]) // parallel, row["kv_type"], flash, parallel, int(row["ub"]), backend=Backend.VULKAN
        )
        placement = place(arch.layers, load, CARDS.get(row["devices"], (1,)))
        found = memory(arch, Weights((1,) * arch.layers, 1, 1), load, placement).devices[int(row["device"][-1])]
        assert found.kv / MIB == pytest.approx(float(row["kv_mib"]), abs=1), row
        within = 0.05 if flash or not arch.window else 0.1
        assert found.graph / MIB == pytest.approx(float(row["compute_mib"]), rel=within), row


def test_scores_that_are_too_large_for_a_tensor_are_not_underestimated() -> None:
    rows = [row for row in said() if not row.partial and beyond_tensors(row)]
    assert rows
    for row in rows:
        assert row.memory.devices[row.device].graph / MIB > row.compute, row.question


def beyond_tensors(row: Said) -> bool:
    """Whether attention without flash makes a tensor of 4 GiB or more, which the engine may leave to the host."""
    ub, context, parallel = int(row.question[7]), int(row.question[3]), int(row.question[4])
    scores = 4 * ub * context // parallel * architecture(row.question[0]).heads
    return row.question[6] == "off" and scores >= 4 << 30


def test_with_layers_on_the_host_the_compute_buffer_is_never_larger_than_predicted() -> None:
    rows = [row for row in said() if row.partial and row.question[0] in catalog.catalog()]
    assert len(rows) > 50
    for row in rows:
        assert row.memory.devices[row.device].graph / MIB > row.compute * 0.99, row.question


@pytest.mark.parametrize(
    ("name", "mib", "file_bytes"),
    [
        ("r1-1.5b", 934.69, 1117322599),
        ("r1-7b", 4168.09, 4683075271),
        ("r1-8b", 4403.49, 4920738407),
        ("r1-14b", 8148.38, 8988112040),
        ("r1-32b", 18508.35, 19851337640),
        ("r1-70b", 39979.48, 42520397873),
    ],
)
def test_a_files_tensors_are_those_of_the_library(name: str, mib: float, file_bytes: int) -> None:
    """MiB on the GPU from logs, bytes of the files from Ollama's library; the difference is the file's header."""
    found = weights(architecture(name), "Q4_K_M")
    assert found.gpu / MIB == pytest.approx(mib, abs=0.01)
    assert 5_000_000 < file_bytes - found.file < 9_000_000


def test_older_ollama_offloads_blocks_before_the_output() -> None:
    """45 of 65 layers of a 32B, and 29 of 65 with a KV cache of 8 bits: logs of Ollama before 0.30."""
    arch = architecture("r1-32b")
    load = Load(8192, gpu_layers=45, generation=Generation.LEGACY)
    needed = memory(arch, weights(arch, "Q4_K_M"), load)
    assert needed.devices[0].weights / MIB == pytest.approx(12531.27, abs=0.01)
    assert needed.placement.output is None
    load = Load(8192, "q8_0", gpu_layers=29, generation=Generation.LEGACY)
    assert memory(arch, weights(arch, "Q4_K_M"), load).devices[0].kv / MIB == 493


def test_newer_ollama_offloads_the_output_first() -> None:
    arch = architecture("r1-32b")
    found = memory(arch, weights(arch, "Q4_K_M"), Load(8192, gpu_layers=1))
    assert found.placement.blocks == (0,)
    assert found.placement.output == 0
    assert found.devices[0].kv == 0


@given(
    st.sampled_from(sorted(catalog.catalog())),
    st.sampled_from(sorted(QUANTIZATIONS)),
    st.integers(1, 131072),
    st.sampled_from(("f16", "q8_0", "q4_0")),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from(tuple(Generation)),
    st.sampled_from(tuple(Backend)),
    st.lists(st.integers(1, 100), min_size=1, max_size=4),
    st.one_of(st.none(), st.integers(0, 100)),
)
def test_every_block_and_every_cell_is_somewhere_once(
    name: str,
    quant: str,
    context: int,
    kv_type: str,
    flash: bool,
    parallel: int,
    generation: Generation,
    backend: Backend,
    shares: list[int],
    layers: int | None,
) -> None:
    arch = architecture(name)
    tensors = weights(arch, quant)
    load = Load(context, kv_type, flash, parallel, 512, layers, generation, backend)
    placement = place(arch.layers, load, shares)
    found = memory(arch, tensors, load, placement)
    whole = memory(arch, tensors, Load(context, kv_type, flash, parallel, 512, 0, generation, backend))
    on_gpus = sum(use.weights + use.kv for use in found.devices)
    copies = sum(1 for count in placement.blocks if count) * tensors.other
    assert on_gpus - copies + found.host == whole.host
    longer = Load(context + 256, kv_type, flash, parallel, 512, layers, generation, backend)
    assert memory(arch, tensors, longer, placement).total >= found.total


def test_a_tied_output_is_counted_on_the_gpu_and_once_in_the_file() -> None:
    assert Weights((10,), 7, 5, tied=True).file == 17
    assert Weights((10,), 7, 5).file == 22


@pytest.mark.parametrize("name", ["Q4_K_X", "", "q9", "K" * 10_000])
def test_an_unknown_quantization_is_refused_with_others(name: str) -> None:
    with pytest.raises(CorralError, match="Perhaps"):
        quantization(name)

"""A load beside its plan: what counts as less than planned, what is said, and how much smaller the next plan is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corral.errors import CorralError
from corral.measurement import (
    Measured,
    compared,
    lacks_memory,
    less_than_planned,
    missing_mib,
    offloaded,
    predicted,
)
from corral.planner.cards import Card
from corral.planner.choice import Machine, Plan, Wishes, choose, wishes_for
from corral.planner.memory import MIB

#: As both generations write it, among what else a load leaves in a journal.
NEW_LOG = """\
load_tensors: offloading output layer to GPU
load_tensors: offloading 3 repeating layers to GPU
load_tensors: offloaded 5/5 layers to GPU
load_tensors:   CPU_Mapped model buffer size =     0.16 MiB
"""
LEGACY_LOG = 'time=2026-11-23T04:38:01.102Z level=INFO source=ggml.go:494 msg="offloaded 17/29 layers to GPU"\n'
ASKED = Wishes((), min_context=2048, max_context=16384, kv_types=("q8_0",))


def planned(card_mib: int = 10240, overhead_mib: int = 0, count: int = 1, **wishes: object) -> tuple[Plan, Wishes]:
    """The 14B on cards with so much free."""
    asked = wishes_for(models=["r1-14b"], wishes=replace(ASKED, quantization="Q4_K_M", **wishes))  # type: ignore[arg-type]
    card = Card("Any", card_mib * MIB, card_mib * MIB, known_overhead=overhead_mib * MIB)
    return choose(Machine((card,) * count), asked), asked


def as_planned(plan: Plan) -> Measured:
    return Measured(predicted(plan), predicted(plan), plan.load.context, (49, 49))


def partly(plan: Plan, missing: int) -> Measured:
    return Measured(predicted(plan) + 300 * MIB, predicted(plan) - missing * MIB, plan.load.context, (47, 49))


@pytest.mark.parametrize(
    ("log", "layers"),
    [
        (NEW_LOG, (5, 5)),
        (LEGACY_LOG, (17, 29)),
        (LEGACY_LOG + NEW_LOG, (5, 5)),
        ("llama_context: n_ctx = 4096\n", None),
        ("", None),
    ],
)
def test_the_layers_on_the_gpu_are_read_off_the_log_of_both_generations(log: str, layers: tuple[int, int]) -> None:
    assert offloaded(log) == layers


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory", True),
        ("llama-server reported out-of-memory during startup: exit status 1", True),
        ("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory", True),
        ("alloc_tensor_range: failed to allocate Vulkan0 buffer of size 303404896", True),
        ("model requires more system memory (24.1 GiB) than is available (15.2 GiB)", True),
        ("error loading model: unknown model architecture: 'qwen9'", False),
        ("loading r1: no answer in time", False),
    ],
)
def test_a_load_that_fails_for_lack_of_memory_is_told_from_others(text: str, memory: bool) -> None:
    assert lacks_memory(text) is memory


def test_less_is_what_is_on_the_host_and_not_what_is_small() -> None:
    plan, _ = planned()
    found = as_planned(plan)
    assert not less_than_planned(plan, found)
    assert not less_than_planned(plan, replace(found, layers=None))
    assert not less_than_planned(plan, replace(found, size=13 * MIB, on_gpu=13 * MIB, layers=(5, 5)))
    assert less_than_planned(plan, partly(plan, 100))
    assert less_than_planned(plan, replace(found, layers=(48, 49)))
    assert less_than_planned(plan, Measured(failure="out of memory"))


def test_of_a_partial_plan_the_layers_count() -> None:
    plan, _ = planned(6000, offload=True)
    layers = plan.load.gpu_layers
    assert layers
    found = Measured(9000 * MIB, 4000 * MIB, 2048, (layers, 49))
    assert not less_than_planned(plan, found)
    assert not less_than_planned(plan, replace(found, layers=(5, 5)))
    assert less_than_planned(plan, replace(found, layers=(layers - 1, 49)))


def test_one_line_has_prediction_and_measurement() -> None:
    plan, _ = planned()
    found = Measured(9000 * MIB, 9000 * MIB, plan.load.context, (49, 49), held_mib=9457)
    line = compared(plan, found, predicted(plan), stand_in=False)
    mib = round(predicted(plan) / MIB)
    difference = (predicted(plan) / MIB / 9000 - 1) * 100
    assert line == (
        f"9000 MiB on the GPU, planned were {mib} ({difference:+.1f} %), 49 of 49 layers, {plan.load.context} tokens; "
        "nvidia-smi: 9457 MiB for Ollama"
    )
    assert f"planned were {mib} (its file is a stand-in)" in compared(plan, found, predicted(plan), stand_in=True)
    assert "nvidia-smi" not in compared(plan, replace(found, held_mib=0), predicted(plan), stand_in=False)
    assert compared(plan, Measured(failure="no room"), 0, stand_in=False) == "the load fails: no room"


def again(plan: Plan, asked: Wishes, measured: Measured, *, stand_in: bool = False, last: bool = False) -> Plan:
    """The next plan on the same cards."""
    counted = max(use.overhead - card.overhead for card, use in zip(plan.cards, plan.memory.devices, strict=True))
    expected = predicted(plan, counted // MIB)
    more = missing_mib(plan, asked, measured, expected, stand_in=stand_in, last=last)
    return choose(Machine(plan.cards, corrections={plan.reference: counted + more * MIB}), asked)


def without(plan: Plan) -> int:
    """What it takes by formula."""
    return sum(use.total - use.overhead for use in plan.memory.devices)


@pytest.mark.parametrize("missing", [1, 40, 150])
@pytest.mark.parametrize("overhead_mib", [0, 457])
@pytest.mark.parametrize("count", [1, 2])
def test_the_next_plan_takes_no_more_than_the_engine_kept_on_the_gpu(
    missing: int, overhead_mib: int, count: int
) -> None:
    plan, asked = planned(10240 if count == 1 else 6200, overhead_mib, count)
    following = again(plan, asked, partly(plan, missing))
    assert following.load.context < plan.load.context
    assert without(following) <= without(plan) - missing * MIB
    # And not much less: a step of the context is some 25 MiB.
    assert without(following) >= without(plan) - (missing + 60) * MIB


def test_before_a_model_is_given_up_the_shortest_context_is_tried() -> None:
    plan, asked = planned()
    assert again(plan, asked, partly(plan, 5000)).load.context == asked.min_context
    assert again(plan, asked, Measured(failure="out of memory"), last=True).load.context == asked.min_context
    shortest, asked = planned(max_context=2048)
    with pytest.raises(CorralError, match="nothing fits"):
        again(shortest, asked, partly(shortest, 1))


def test_of_a_load_that_failed_or_of_a_stand_in_a_part_is_taken_off() -> None:
    plan, asked = planned(11500)
    unknown = Measured(failure="out of memory")
    tiny = Measured(13 * MIB, 11 * MIB, plan.load.context, (4, 5))
    for measured, stand_in in ((unknown, False), (tiny, True)):
        following = again(plan, asked, measured, stand_in=stand_in)
        assert asked.min_context < following.load.context < plan.load.context
        assert without(following) <= without(plan) * 15 // 16


def test_where_no_context_fits_fewer_layers_are_planned_when_that_is_allowed() -> None:
    plan, asked = planned(max_context=2048, offload=True)
    assert plan.wholly_on_gpu
    partial = again(plan, asked, partly(plan, 300))
    assert partial.load.gpu_layers
    fewer = again(partial, asked, Measured(failure="out of memory"))
    assert fewer.load.gpu_layers is not None
    assert fewer.load.gpu_layers < partial.load.gpu_layers

"""Asking the engine: the skeleton that it is asked with, its answers as Ollama 0.34.4's printed them, what follows."""

from __future__ import annotations

import gzip
import subprocess
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from corral import gguf_header
from corral.engine import ask as engine
from corral.engine.ask import DeviceAnswer, arguments, compared, parse, with_answer, with_own
from corral.engine.skeleton import skeleton
from corral.errors import CorralError
from corral.gpus.inventory import Device
from corral.planner import catalog
from corral.planner.cards import imagine
from corral.planner.choice import Machine, Plan, Wishes, choose, wishes_for
from corral.planner.memory import MIB, Generation, Load
from corral.planning import Planned, Told
from corral.platforms.linux import LINUX

NOTHING = Told(0)

ONE = """\
0.00.357.1 I sched_reserve:    Vulkan0 compute buffer size =   133.01 MiB
0.00.317.9 I common_memory_breakdown_print: | memory breakdown [MiB] | total   free    self   model   context   compute |
0.00.317.9 I common_memory_breakdown_print: |   - Vulkan0 (RTX 4090) |  8192 = 7679 + (4749 =  4168 +     448 +     133) + -4236 |
0.00.317.9 I common_memory_breakdown_print: |   - Host               |                  314 =   292 +       0 +      22 |
0.00.343.1 I common_params_fit_impl: projected to use 4749 MiB of device memory vs. 7679 MiB of free device memory
"""  # noqa: E501
TWO = """\
x: |   - CUDA0 (RTX 3090) | 24564 = 24051 + (20883 =  19273 +    1312 +     298) +       -4236 |
x: |   - CUDA1 (RTX 3090) | 24564 = 24050 + (20715 =  19169 +    1248 +     298) +       -4236 |
x: |   - CUDA0 (RTX 3090) | 24564 = 24051 + (  146 =      0 +       0 +     146) +         365 |
"""


def plan(card: str = "RTX 4090") -> Plan:
    return choose(Machine((imagine(card),)), wishes_for())


@pytest.mark.parametrize("name", ["r1-1.5b", "r1-8b", "r1-0528-8b", "r1-70b"])
def test_a_skeleton_is_the_models_header_and_a_hole(name: str) -> None:
    entry = catalog.catalog()[name]
    for quantization in ("Q4_K_M", "IQ3_M"):
        found = skeleton(entry.architecture, quantization)
        shape = gguf_header.shapes(gguf_header.parse(gzip.decompress(found.header), found.size))
        weights = entry.weights(quantization)
        assert (shape.family, shape.layers, shape.vocabulary) == (
            entry.shape.family, entry.shape.layers, entry.shape.vocabulary,
        )  # fmt: skip
        assert (shape.block_bytes, shape.output_bytes, shape.token_embedding_bytes) == (
            weights.blocks, weights.output, weights.token_embedding,
        )  # fmt: skip
        assert shape.unplanned == ""
        assert len(found.header) < 1_000_000


def test_the_engines_first_table_is_read_device_by_device() -> None:
    assert parse(ONE) == (DeviceAnswer("Vulkan0", "RTX 4090", 7679, 4168, 448, 133),)
    assert [(one.device, one.free_mib, one.total_mib) for one in parse(TWO)] == [
        ("CUDA0", 24051, 20883),
        ("CUDA1", 24050, 20715),
    ]


def test_what_the_hosts_own_server_holds_of_each_device_is_free_to_plan_with() -> None:
    devices = [Device("NVIDIA", "RTX 3090", index=1, own_mib=200), Device("NVIDIA", "RTX 3090", index=0, own_mib=100)]
    assert [one.free_mib for one in with_own(parse(TWO), devices)] == [24151, 24250]
    assert with_own(parse(ONE), []) == parse(ONE)


def test_an_answer_without_a_table_says_what_the_engine_said() -> None:
    with pytest.raises(CorralError) as refused:
        parse("0.1 E llama_model_load: error loading model: unknown model architecture: 'qwen9'\n0.2 I bye\n")
    assert "unknown model architecture: 'qwen9'" in refused.value.detail


def test_the_engine_is_started_as_ollama_starts_it() -> None:
    given = arguments(Load(4096, "q8_0", parallel=2, gpu_layers=7))
    assert " ".join(given) == "-c 8192 -np 2 --flash-attn on -b 512 -ub 512 -ctk q8_0 -ctv q8_0 -ngl 7"
    assert " ".join(arguments(Load(4096, flash=False))) == "-c 4096 -np 1 --flash-attn off -b 512 -ub 512"


def said(found: Plan, more_mib: int = 0, less_free_mib: int = 0) -> DeviceAnswer:
    (use,), (card,) = found.memory.devices, found.cards
    return DeviceAnswer(
        "CUDA0", card.name, card.free // MIB - less_free_mib, use.weights // MIB, use.kv // MIB,
        use.graph // MIB + more_mib,
    )  # fmt: skip


def test_the_overhead_is_what_the_engine_takes_more_or_sees_less() -> None:
    found = plan()

    def told(before: Told = NOTHING, **differently: int) -> tuple[int, int]:
        after = with_answer(before, found, [said(found, **differently)])
        return after.overhead_mib, after.corrections_mib[found.reference]

    assert told() in [(0, more) for more in range(4)]
    assert told(less_free_mib=300) in [(300, more) for more in range(4)]
    assert told(more_mib=50, less_free_mib=300) in [(300, 50 + more) for more in range(4)]
    assert told(more_mib=-50) in [(0, -50 + more) for more in range(4)]
    assert told(Told(100, {found.reference: 70})) == (100, 70)
    assert "planned were 20892, +0.0 %" in compared(found, [said(found)])


class Run:
    """Stands in for a run on a host whose engine sees so much less free memory than its driver tells."""

    def __init__(self, less_free_mib: int, wishes: Wishes | None = None) -> None:
        self.less_free_mib = less_free_mib
        self.wishes = wishes or wishes_for()
        self.plans_confirmed = False
        self.state = SimpleNamespace(current="/opt/ollama/0.34.4")
        self.said: list[str] = []
        self.asked: list[Plan] = []
        self.replan(None)

    def replan(self, told: Told | None) -> None:
        card = replace(imagine("RTX 4090"), known_overhead=told.overhead_mib * MIB if told else None)
        corrections = {name: size * MIB for name, size in told.corrections_mib.items()} if told else {}
        found = choose(Machine((card,), corrections=corrections, engine=True), self.wishes)
        self.planned = Planned((), plans={"r1": found}, told=told)

    def look_again(self) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    def answer(self, _: object, found: Plan) -> tuple[DeviceAnswer, ...]:
        self.asked.append(found)
        return (said(found, less_free_mib=self.less_free_mib),)


@pytest.mark.parametrize(
    ("less", "kv_type", "context"), [(0, "f16", 16384), (457, "q8_0", 16384), (3500, "q8_0", 4096)]
)
def test_the_search_goes_on_with_the_engines_numbers_until_they_fit(
    monkeypatch: pytest.MonkeyPatch, less: int, kv_type: str, context: int
) -> None:
    run: Any = Run(less)
    monkeypatch.setattr(engine, "ask", run.answer)
    engine.confirm(run, run.say)
    found = run.planned.plans["r1"]
    assert (found.load.kv_type, found.load.context >= context) == (kv_type, True)
    (use,), (card,) = found.memory.devices, found.cards
    assert (use.total - use.overhead) // MIB + 1024 <= card.free // MIB - less
    assert len(run.asked) <= engine.MOST_ROUNDS
    asked = len(run.asked)
    engine.confirm(run, run.say)
    assert len(run.asked) == asked, "asked twice in one run"


def test_what_is_kept_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    run: Any = Run(0)
    run.planned = replace(run.planned, kept=frozenset({"r1"}))
    monkeypatch.setattr(engine, "ask", run.answer)
    engine.confirm(run, run.say)
    assert run.asked == []


def test_without_an_engine_the_formulas_decide_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    run: Any = Run(0)
    before = run.planned

    def no_engine(*_: object) -> None:
        raise CorralError("the engine finds no GPU")

    monkeypatch.setattr(engine, "ask", no_engine)
    engine.confirm(run, run.say)
    assert run.planned is before
    assert run.said == ["planned r1 by formula: the engine finds no GPU"]
    old = replace(plan(), load=Load(4096, generation=Generation.LEGACY))
    monkeypatch.undo()
    with pytest.raises(CorralError, match="no engine that can be asked"):
        engine.ask(run, old)


def test_an_answer_about_other_cards_than_the_planned_ones_is_none() -> None:
    """A small model goes to one of two cards, and the engine would spread it over both."""
    devices = (Device("NVIDIA", "RTX 3090", source="engine, cuda_v13", handle="CUDA0"),) * 2
    run: Any = SimpleNamespace(
        state=SimpleNamespace(current="/opt/ollama/0.34.4"),
        environment=SimpleNamespace(variables={}),
        platform=LINUX,
        ask_engine=lambda: (devices, ()),
        remote=SimpleNamespace(run=lambda _: {"answer": TWO}),
    )
    with pytest.raises(CorralError, match="asked for 2 GPUs, and 1 of them"):
        engine.ask(run, plan())


def test_the_script_is_bash() -> None:
    run: Any = SimpleNamespace(environment=SimpleNamespace(variables={"GGML_X": "1"}), platform=LINUX)
    devices = [Device("NVIDIA", "RTX 4090", source="engine, vulkan", handle=f"Vulkan{number}") for number in (0, 1)]
    script = engine.script(run, devices, plan())
    subprocess.run(["bash", "-n"], input=script.text(), text=True, check=True)
    assert script.variables["RUNNER"] == "vulkan"
    assert list(script.variables["ARGUMENTS"])[-2:] == ["--device", "Vulkan0,Vulkan1"]  # type: ignore[arg-type]
    assert "GGML_X=1" in str(script.variables["ENVIRONMENT"])

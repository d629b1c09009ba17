"""What the engine itself says a plan will take on a host's GPUs, asked with a skeleton of the model.

From Ollama 0.30 on. llama-server tells what each device will hold before it loads anything, and is killed then:
nothing is allocated, nothing is left behind. Half a second to a few seconds on a host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from corral import planview
from corral.engine.skeleton import Skeleton, skeleton
from corral.errors import CorralError
from corral.gpus.inventory import Device
from corral.planner.choice import Plan
from corral.planner.memory import MIB, Generation, Load
from corral.planner.models import FileModel
from corral.planning import Told
from corral.run import HostRun
from corral.scripts import Script

#: "|   - Vulkan0 (RTX 4090) | 24564 = 24051 + (20882 = 18508 + 2176 + 198) + ...": total, free, and what the model
#: takes: weights, context, compute (common_fit_print in llama.cpp's common/fit.cpp, b11076).
_DEVICE = re.compile(
    r"\|\s+- (\S+) \((.+?)\)\s*\|\s*(\d+) =\s*(\d+) \+ \(\s*(\d+) =\s*(\d+) \+\s*(\d+) \+\s*(\d+)\)", re.M
)
#: The first answer corrects a plan, the second confirms what was planned with it; each candidate that only the engine
#: can refuse takes one of its own.
MOST_ROUNDS = 8
_FAILED = re.compile(r"^(?:.*? E )(.+)$", re.M)


@dataclass(frozen=True)
class DeviceAnswer:
    """What the engine says of one device, in whole MiB, rounded down: free before it loads, and the three terms."""

    device: str
    name: str
    free_mib: int
    weights_mib: int
    kv_mib: int
    graph_mib: int

    @property
    def total_mib(self) -> int:
        return self.weights_mib + self.kv_mib + self.graph_mib


def ask(run: HostRun, plan: Plan) -> tuple[DeviceAnswer, ...]:
    """Put a plan to the engine of the release that the host has, for the devices that Ollama would use.

    Raises CorralError where there is no such engine, no GPU for it, or no answer.
    """
    if plan.load.generation is Generation.LEGACY:
        raise CorralError("this version of Ollama has no engine that can be asked", "Its formulas decide")
    if not run.state.current:
        raise CorralError("Ollama is not on the host yet, so its engine can't be asked", "Its formulas decide")
    devices, problems = run.ask_engine()
    if not devices:
        raise CorralError("the engine finds no GPU", " ".join(map(str, problems)))
    together = [device for device in devices if device.source == devices[0].source]
    if len(plan.cards) == 1:
        # Ollama shows a server only the card that it has chosen, of equal ones that with most free memory.
        named = [device for device in together if device.name == plan.cards[0].name] or together
        together = [max(named, key=lambda device: device.plannable_mib or 0)]
    answers = parse(run.remote.run(script(run, together, plan)).get("answer", ""))
    if len(answers) != len(plan.cards):
        raise CorralError(
            f"the engine was asked for {len(answers)} GPUs, and {len(plan.cards)} of them are planned with"
        )
    return with_own(answers, together)


def with_own(answers: Sequence[DeviceAnswer], devices: Sequence[Device]) -> tuple[DeviceAnswer, ...]:
    """The answers with what the host's own server holds of each device counted as free: it is to be planned anew."""
    own = {device.index: device.own_mib for device in devices}
    return tuple(
        replace(answer, free_mib=answer.free_mib + own.get(int(re.sub(r"\D", "", answer.device) or 0), 0))
        for answer in answers
    )


def confirm(run: HostRun, say: Callable[[str], None]) -> None:
    """Put the plans that are to be carried out to the host's engine, and plan with its numbers where they differ.

    say: is told what comes of it. Once per run; without an engine that can be asked the formulas decide.
    """
    if run.plans_confirmed or not run.state.current:
        return
    run.plans_confirmed = True
    if run.planned.plans.keys() - run.planned.kept:
        run.look_again()
    known = run.planned.told
    told = known if known and run.planned.kept else Told(0)
    confirmed: set[tuple[str, Load]] = set()
    shown: dict[str, list[str]] = {}
    for _ in range(MOST_ROUNDS):
        planned = run.planned
        asked = {
            name: plan
            for name, plan in planned.plans.items()
            if name not in planned.kept and plan.cards and plan.outcome not in confirmed
        }
        if not asked:
            return
        before = told
        for name, plan in asked.items():
            try:
                answers = ask(run, plan)
            except CorralError as error:
                say(f"planned {name} by formula: {error.problem}")
                return
            say(f"planned {name}: {compared(plan, answers)}")
            confirmed.add(plan.outcome)
            told = with_answer(told, plan, answers)
        if told == before and told == planned.told:
            return
        run.replan(told)
        for name, plan in run.planned.plans.items():
            lines = planview.lines(name, plan)
            for line in lines if lines != shown.get(name) else ():
                say(line)
            shown[name] = lines


def with_answer(told: Told, plan: Plan, answers: Sequence[DeviceAnswer]) -> Told:
    """What is known after an answer: how much less free memory the engine sees than the driver told, at least 0, and
    how much more it says that the model takes than the formulas do; of several answers the most."""
    less = max(
        (card.free + card.beside) // MIB - answer.free_mib for card, answer in zip(plan.cards, answers, strict=False)
    )
    # Each of its three terms is rounded down.
    more = max(
        answer.total_mib + 3 - (use.total - use.overhead) // MIB
        for use, answer in zip(plan.memory.devices, answers, strict=False)
    )
    corrections = dict(told.corrections_mib)
    corrections[plan.reference] = max(more, corrections.get(plan.reference, more))
    return Told(max(told.overhead_mib, less), corrections)


def script(run: HostRun, devices: Sequence[Device], plan: Plan) -> Script:
    """devices: those that the model is for, of one runner, the directory of a backend in a release (cuda_v13)."""
    body = (
        Skeleton(plan.entry.packed, plan.entry.size)
        if isinstance(plan.entry, FileModel)
        else skeleton(plan.entry.architecture, plan.quantization)
    )
    return run.platform.engine_question(
        run.environment.variables,
        devices[0].source.rpartition(", ")[2],
        body.header,
        body.size,
        [*arguments(plan.load), "--device", ",".join(device.handle for device in devices)],
    )


def arguments(load: Load) -> list[str]:
    """As Ollama gives them to its engine (llm/llama_server.go of 0.34.4)."""
    given = [
        *("-c", str(load.context * load.parallel), "-np", str(load.parallel)),
        *("--flash-attn", "on" if load.flash else "off"),
        *("-b", str(load.batch), "-ub", str(load.batch)),
    ]
    if load.kv_type != "f16":
        given += ["-ctk", load.kv_type, "-ctv", load.kv_type]
    if load.gpu_layers is not None:
        given += ["-ngl", str(load.gpu_layers)]
    return given


def parse(answer: str) -> tuple[DeviceAnswer, ...]:
    """The devices in the engine's first table. Raises CorralError for an answer without one."""
    found: dict[str, DeviceAnswer] = {}
    for device, name, _, free, _, *terms in _DEVICE.findall(answer):
        weights, kv, graph = map(int, terms)
        found.setdefault(device, DeviceAnswer(device, name, int(free), weights, kv, graph))
    if not found:
        said = _FAILED.findall(answer)
        raise CorralError(
            "the engine does not say what the model takes", detail="\n".join(said[-3:] or [answer[-300:]])
        )
    return tuple(found.values())


def compared(plan: Plan, answers: Sequence[DeviceAnswer]) -> str:
    """One sentence: the engine's number beside the plan's, without what the driver keeps."""
    planned = sum(use.total - use.overhead for use in plan.memory.devices) / MIB
    said = sum(answer.total_mib for answer in answers)
    difference = (planned - said) / said * 100 if said else 0.0
    terms = " + ".join(
        f"{name} {sum(getattr(answer, f'{key}_mib') for answer in answers)}"
        for name, key in (("weights", "weights"), ("KV cache", "kv"), ("graph", "graph"))
    )
    return f"asked itself, the engine says {said} MiB ({terms}); planned were {planned:.0f}, {difference:+.1f} %"

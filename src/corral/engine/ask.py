"""What the engine itself says a plan will take on a host's GPUs, asked with a skeleton of the model.

From Ollama 0.30 on. llama-server tells what each device will hold before it loads anything, and is killed then:
nothing is allocated, nothing is left behind. Half a second to a few seconds on a host.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from corral import planview
from corral.engine.skeleton import skeleton
from corral.errors import CorralError
from corral.gpus.engine import variables
from corral.gpus.inventory import Device
from corral.planner.choice import Plan
from corral.planner.memory import MIB, Generation, Load
from corral.run import HostRun
from corral.scripts import Script

#: "|   - Vulkan0 (RTX 4090) | 24564 = 24051 + (20882 = 18508 + 2176 + 198) + ...": total, free, and what the model
#: takes: weights, context, compute (common_fit_print in llama.cpp's common/fit.cpp, b11076).
_DEVICE = re.compile(
    r"\|\s+- (\S+) \((.+?)\)\s*\|\s*(\d+) =\s*(\d+) \+ \(\s*(\d+) =\s*(\d+) \+\s*(\d+) \+\s*(\d+)\)", re.M
)
#: The first answer tells the overhead, the second confirms what was planned with it, the third is for surprises.
MOST_ROUNDS = 3
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
    runner = devices[0].source.rpartition(", ")[2]
    answers = parse(run.remote.run(script(run, runner, plan)).get("answer", ""))
    if len(answers) != len(plan.cards):
        # Ollama shows a server only the cards that it has chosen; here it sees all of them.
        raise CorralError(
            f"the engine was asked for {len(answers)} GPUs, and {len(plan.cards)} of them are planned with"
        )
    return with_own(answers, [device for device in devices if device.source == devices[0].source])


def with_own(answers: Sequence[DeviceAnswer], devices: Sequence[Device]) -> tuple[DeviceAnswer, ...]:
    """The answers with what the host's own server holds of each device counted as free: it is to be planned anew."""
    own = {device.index: device.own_mib for device in devices}
    return tuple(
        replace(answer, free_mib=answer.free_mib + own.get(int(re.sub(r"\D", "", answer.device) or 0), 0))
        for answer in answers
    )


def confirm(run: HostRun) -> None:
    """Put the plans that are to be carried out to the host's engine, and plan with its numbers where they differ.

    Says what came of it. Once per run; without an engine that can be asked the formulas decide.
    """
    if run.plans_confirmed or not run.state.current:
        return
    run.plans_confirmed = True
    if run.planned.plans.keys() - run.planned.kept:
        run.look_again()
    worst = (run.planned.overhead_mib or 0) if run.planned.kept else 0
    for _ in range(MOST_ROUNDS):
        planned = run.planned
        asked = {name: plan for name, plan in planned.plans.items() if name not in planned.kept and plan.cards}
        if not asked:
            return
        for name, plan in asked.items():
            try:
                answers = ask(run, plan)
            except CorralError as error:
                run.say(f"planned {name} by formula: {error.problem}")
                return
            run.say(f"planned {name}: {compared(plan, answers)}")
            worst = max(worst, overhead_mib(plan, answers))
        if worst == planned.overhead_mib:
            return
        run.replan(worst)
        for name, plan in run.planned.plans.items():
            for line in planview.lines(name, plan):
                run.say(line)


def overhead_mib(plan: Plan, answers: Sequence[DeviceAnswer]) -> int:
    """What has to be counted besides the plan's own terms so that the engine's are met: where it sees less free memory
    than the driver told, or takes more. At least 0."""
    most = 0
    for card, use, answer in zip(plan.cards, plan.memory.devices, answers, strict=False):
        # Each of its three terms is rounded down.
        more = answer.total_mib + 3 - (use.total - use.overhead) // MIB
        most = max(most, more + card.free // MIB - answer.free_mib)
    return most


def script(run: HostRun, runner: str, plan: Plan) -> Script:
    """runner: the directory of the backend in a release, such as cuda_v13 or vulkan."""
    body = skeleton(plan.entry.architecture, plan.quantization)
    return Script(
        "engine/ask.sh",
        {
            **variables(run.environment.variables),
            "RUNNER": runner,
            "HEADER": base64.b64encode(body.header).decode(),
            "SIZE": body.size,
            "ARGUMENTS": arguments(plan.load),
        },
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

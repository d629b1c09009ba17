"""Whether a host runs its planned models as they were planned: each is loaded, measured and compared with its plan.

Formulas age and drivers differ, and memory may go to another program between the plan and the load. Where less of a
model is on the GPU than planned, the host is looked at anew and planned smaller, and the model is made and loaded
again. What was loaded as planned is noted below its Modelfile, and is not loaded for this again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from corral import planview
from corral.changes import Change
from corral.errors import CorralError
from corral.measurement import Measured, compared, lacks_memory, less_than_planned, missing_mib, offloaded, predicted
from corral.ollama import api
from corral.ollama import models as ollama_models
from corral.ollama.records import Record
from corral.planner.choice import Plan
from corral.planner.memory import MIB
from corral.planning import Told
from corral.run import HostRun


def changes(run: HostRun) -> Iterator[Change]:
    """What is changed until every planned model is on the GPU as it was planned; each model is loaded on the way.

    An iterator: what comes next follows from how the models are loaded after the changes before have been made.
    Raises CorralError for a model that does not get there in the attempts that its plan allows.
    """
    if not run.host.state.is_executing:
        yield from (Change(f"load {name} and compare it with its plan", _not_now) for name in _unproven(run))
        return
    loads = _Loads()
    while waiting := _unproven(run):
        name = waiting[0]
        plan = run.planned.plans[name]
        found = _load_and_look(run, name, plan)
        run.say(f"loaded {name}: {compared(plan, found, loads.predicted(plan), stand_in=run.is_stand_in(plan))}")
        if less_than_planned(plan, found):
            loads.smaller[name].append(found)
            yield from _smaller(run, name, plan, loads)
        else:
            note = f"{_how(run, plan)}: {found.sentence}"
            yield Change(f"note that {name} is loaded as planned", ollama_models.note_loaded(run, name, note))


@dataclass(frozen=True)
class _Loads:
    """What came of the loads of this run. smaller: those with less on the GPU than planned, by the model's name;
    set_aside_mib: what is planned for a model on each GPU because of them, by what it is made from."""

    smaller: defaultdict[str, list[Measured]] = field(default_factory=lambda: defaultdict(list))
    set_aside_mib: Counter[str] = field(default_factory=Counter)

    def predicted(self, plan: Plan) -> int:
        return predicted(plan, self.set_aside_mib[plan.reference])


def _not_now() -> None:
    raise CorralError("models are loaded when a deploy is carried out", "Leave out --dry")


def _unproven(run: HostRun) -> list[str]:
    """The planned models with a part on the GPU of which it is not noted that they were loaded like this."""
    found = []
    for name, plan in run.planned.plans.items():
        file = run.state.modelfile(name)
        on_gpu = any(use.total for use in plan.memory.devices)
        if on_gpu and not Record.read(file).loaded.startswith(f"{_how(run, plan)}: "):
            found.append(name)
    return found


def _how(run: HostRun, plan: Plan) -> str:
    """All that a model's memory depends on besides its Modelfile's base, for the note."""
    load = plan.load
    layers = "all" if load.gpu_layers is None else load.gpu_layers
    return (
        f"by Ollama {run.settings.ollama_version} ({load.context} tokens x {load.parallel}, batch {load.batch}, "
        f"KV cache {load.kv_type}, flash attention {'on' if load.flash else 'off'}, {layers} layers)"
    )


# --- one load -----------------------------------------------------------------------------------------


def _load_and_look(run: HostRun, name: str, plan: Plan) -> Measured:
    """The model after it was loaded; where that is less than planned, with the host looked at anew."""
    found = _load(run, name)
    if not less_than_planned(plan, found):
        return found
    run.look_again()
    try:
        same = run.planned.plans[name].outcome == plan.outcome
    except CorralError:  # nothing fits any more: who plans smaller finds that out too
        same = False
    if same:
        # The memory is there, so it may have been held for a moment only, or by another model of the server.
        with api.said("unloading the models"):
            for running in run.api.ps().models:
                api.unload(run.api, running.model or "")
        found = _load(run, name)
    return found


def _load(run: HostRun, name: str) -> Measured:
    """Load a model afresh and measure it. Raises CorralError where it is not for lack of memory that this fails."""
    end = run.gpu_journal().get("cursor", "")
    try:
        with api.said(f"loading {name}"):
            api.unload(run.api, name)
            run.api.generate(model=name, stream=False)
            running = api.running(run.api, name)
    except CorralError as error:
        log = run.gpu_journal(end).get("journal", "")
        if not lacks_memory(f"{error.problem}\n{log}"):
            raise
        return Measured(failure=error.problem)
    if running is None:
        raise CorralError(f"{name} is not in /api/ps after it was loaded", "Is OLLAMA_KEEP_ALIVE 0?")
    run.changed()
    return Measured(
        running.size,
        running.on_gpu,
        running.context,
        offloaded(run.gpu_journal(end).get("journal", "")),
        sum(device.own_mib for device in run.state.gpus.computing if not device.by_server),
    )


# --- less than planned --------------------------------------------------------------------------------


def _smaller(run: HostRun, name: str, plan: Plan, loads: _Loads) -> Iterator[Change]:
    """Plan again with what the host has now, and make what that changes. plan: the one that was loaded."""
    attempts = next(spec.plan.attempts for spec in run.settings.models if spec.name == name and spec.plan)
    measured = loads.smaller[name]
    if len(measured) > attempts:
        raise _given_up(run, name, plan, measured)
    try:
        if run.planned.plans[name].outcome == plan.outcome:
            _set_aside(run, name, loads, last=len(measured) == attempts > 1)
        ollama_models.check(run)
    except CorralError as error:
        raise _given_up(run, name, plan, measured, error) from error
    for line in planview.lines(name, run.planned.plans[name]):
        run.say(line)
    yield from run.platform.service_changes(run)
    yield from ollama_models.changes(run)


def _set_aside(run: HostRun, name: str, loads: _Loads, *, last: bool) -> None:
    """Plan with more memory for the model, since what is missing went to no other program. Raises CorralError."""
    plan, wishes, found = run.planned.plans[name], run.planned.wishes[name], loads.smaller[name][-1]
    if not found.failure and not found.on_gpu:
        raise CorralError(
            f"nothing of it is on the GPU, of which {min(card.free for card in plan.cards) // MIB} MiB are free",
            run.platform.server_remedy,
        )
    stand_in = run.is_stand_in(plan)
    more = missing_mib(plan, wishes, found, loads.predicted(plan), stand_in=stand_in, last=last)
    loads.set_aside_mib[plan.reference] += more
    told = run.planned.told or Told(-(-max(card.overhead for card in plan.cards) // MIB))
    corrections = dict(told.corrections_mib)
    corrections[plan.reference] = corrections.get(plan.reference, 0) + more
    run.replan(replace(told, corrections_mib=corrections))
    _ = run.planned


def _given_up(
    run: HostRun, name: str, plan: Plan, measured: list[Measured], error: CorralError | None = None
) -> CorralError:
    loads = "; ".join(found.sentence for found in measured)
    problem = f"models: {name}: plan: less of {plan.entry.title} is on the GPU than planned: {loads}"
    remedies = []
    if holders := run.state.gpus.holders:
        problem += f"; other programs hold the GPU's memory: {holders}"
        remedies.append("End them")
    if error:
        problem += f"; then {error.problem.removeprefix(f'models: {name}: plan: ')}"
        remedies.append(error.remedy)
    else:
        remedies.append("Ask for less: a smaller model, min_context or max_context, more reserve_mib, or offload: true")
    return CorralError(problem, ". ".join(filter(None, remedies)), run.gpu_journal().get("journal", ""))

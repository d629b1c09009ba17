"""The plans of one host: its declared models with `plan` worked out for the GPUs that it has.

What a host runs already is kept as long as it fits and is allowed: memory that comes and goes by a little, as a
desktop's does, must not make it another model every day.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from corral import modelfile
from corral.environment import KV_CACHE_TYPES
from corral.errors import CorralError
from corral.gpus.inventory import Device
from corral.gpus.judgement import usable, wants_integrated
from corral.modelfile import Setting
from corral.names import ModelName
from corral.ollama.records import Record
from corral.planner import catalog
from corral.planner.cards import Card, look_up
from corral.planner.choice import ONE_GPU_SHARE, Machine, Plan, Wishes, choose, guess, rank
from corral.planner.memory import BATCH, MIB, Backend, Generation
from corral.planner.models import FileModel
from corral.probe.state import HostState
from corral.settings import ModelSpec, Settings

#: More than any card has, in bytes.
PLENTY = 1 << 50
#: A better plan is taken only if it would still be one with so much less memory.
MARGIN_MIB = 256
MOST_LOADED = "OLLAMA_MAX_LOADED_MODELS"
FLASH, KV_TYPE, PARALLEL = "OLLAMA_FLASH_ATTENTION", "OLLAMA_KV_CACHE_TYPE", "OLLAMA_NUM_PARALLEL"
_BACKENDS = {"NVIDIA": Backend.CUDA, "AMD": Backend.ROCM, "Apple": Backend.METAL}


@dataclass(frozen=True)
class Told:
    """What a host's engine has told of the memory that models take on its GPUs, in MiB. overhead: of each process,
    besides its model; corrections: beyond the formulas, by what a model is made from."""

    overhead_mib: int
    corrections_mib: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """models: every one with a `from`; environment: the variables that the plans decide; plans, wishes: by model's
    name; kept: the names of those that the host runs already; told: by the host's engine, what it was planned with,
    None: formulas alone; machine: that it was planned for."""

    models: tuple[ModelSpec, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    wishes: Mapping[str, Wishes] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    told: Told | None = None
    machine: Machine | None = None


def plan_host(
    settings: Settings,
    state: HostState,
    told: Told | None = None,
    judging: bool = False,
    others: Mapping[str, FileModel | CorralError] | None = None,
) -> Planned:
    """The declared models of a host with its plans. Raises CorralError naming the model that no plan is found for.

    told: by the host's engine in this run; left out: what it told when the host's models were planned, if it did.
    others: the models that the catalog lacks, by the names that were declared for them, or why one is not known.
    judging: the host is only looked at. What it runs is what it was planned, if it is allowed, also when memory has
    gone to another program since: that is to be found out, not to be planned with.

    The KV cache's type is one for the whole server: where one model needs a smaller one, all get it. Several
    models are planned to be loaded in turns, unless all are to be resident at once. The server is told: by itself it
    puts a model beside another when it guesses that there is room, and leaves layers on the CPU when there is none.
    """
    if not any(spec.plan for spec in settings.models):
        return Planned(settings.models)
    outside = _known(settings, others or {})
    if told is None:
        told = _noted(settings, state, outside)
    machine = machine_of(settings, state, told)
    wishes = _wishes(settings, outside)
    plans = _plan_all(settings, state, machine, wishes, judging)
    used = [plan.load.kv_type for plan in plans.values()]
    if len(set(used)) > 1:
        wishes = _sharing(wishes, max(used, key=KV_CACHE_TYPES.index))
        plans = _plan_all(settings, state, machine, wishes, judging)
    first = next(iter(plans.values()))
    decided = {
        FLASH: "1" if first.load.flash else "0",
        KV_TYPE: first.load.kv_type,
        PARALLEL: str(first.load.parallel),
    }
    if len(settings.models) > 1:
        decided[MOST_LOADED] = str(len(settings.models)) if settings.resident == "all" else "1"
    return Planned(
        tuple(_worked_out(spec, plans[spec.name]) if spec.plan else spec for spec in settings.models),
        {name: value for name, value in decided.items() if name not in settings.environment},
        plans,
        wishes,
        frozenset(name for name, plan in plans.items() if _is_there(state, name, plan, wishes[name])),
        told,
        machine,
    )


def machine_of(settings: Settings, state: HostState, told: Told | None = None) -> Machine:
    """What models on a host can be planned with: its GPUs, with what is free or held by its own Ollama.

    Raises CorralError where there are GPUs that can't be asked.
    """
    if state.gpus.error:
        raise CorralError(
            f"plan: the host's GPUs can't be asked: {state.gpus.error}", "Name the model with from instead"
        )
    flash = settings.environment.get(FLASH) != "0"
    overhead_mib = told.overhead_mib if told else None
    devices = usable(state.gpus, settings.ollama_version, wants_integrated(settings.environment))
    cards = tuple(card for device in devices if (card := _card(device, flash, overhead_mib)))
    if devices and not cards:
        raise CorralError(
            f"plan: {devices[0].where} does not tell how much memory it has",
            "Name the model with from instead",
        )
    generation = Generation.of(settings.ollama_version)
    corrections = {name: size * MIB for name, size in told.corrections_mib.items()} if told else {}
    return Machine(
        cards, generation, corrections=corrections, engine=generation is Generation.NEW and bool(state.current)
    )


def _card(device: Device, flash: bool, overhead_mib: int | None) -> Card | None:
    if device.plannable_mib is None or device.total_mib is None:
        return None
    known = look_up(device.name)
    capability = float(device.compute_capability) if device.compute_capability else None
    card = Card(
        device.name,
        device.total_mib * MIB,
        device.plannable_mib * MIB,
        known.bandwidth if known else None,
        _BACKENDS.get(device.vendor, Backend.VULKAN),
        capability or (known.capability if known else None),
        flash_off=not flash,
        multiprocessors=known.multiprocessors if known else None,
        known_overhead=None if overhead_mib is None else overhead_mib * MIB,
    )
    if device.by_server and device.own_mib:
        # The server counts its models; what its process takes besides is given back with them.
        return replace(card, free=min(card.free + card.overhead, card.total))
    return card


@contextmanager
def _said_of(name: str) -> Iterator[None]:
    """Errors about a declared model say which one."""
    try:
        yield
    except CorralError as error:
        raise CorralError(f"models: {name}: plan: {error.problem}", error.remedy, error.detail) from error


def _known(settings: Settings, others: Mapping[str, FileModel | CorralError]) -> dict[str, FileModel]:
    """The models that the catalog lacks. Raises CorralError for one of which nothing is known."""
    found = {}
    for spec in settings.models:
        for name in spec.plan.outside if spec.plan else ():
            model = others[name]
            if isinstance(model, CorralError):
                with _said_of(spec.name):
                    raise CorralError(f"{name}: {model.problem}", model.remedy, model.detail)
            found[name] = model
    return found


def _noted(settings: Settings, state: HostState, others: Mapping[str, FileModel]) -> Told | None:
    """What the engine of this version told when the host's models were planned."""
    overheads, corrections = [], {}
    names = {model.installed: name for name, model in others.items()}
    for spec in settings.models:
        text = state.modelfile(spec.name) if spec.plan else ""
        note = Record.read(text).engine
        if note and note.version == settings.ollama_version:
            overheads.append(note.overhead_mib)
            source = _from(text)
            corrections[names.get(source, source)] = note.correction_mib
    return Told(max(overheads), corrections) if overheads else None


def _from(text: str) -> str:
    try:
        return modelfile.parse(text).from_
    except CorralError:
        return ""


def _wishes(settings: Settings, others: Mapping[str, FileModel]) -> dict[str, Wishes]:
    """For each model to be planned, by name; what the environment declares counts as wished for."""
    parallel = max(1, int(settings.environment.get(PARALLEL) or 1))
    declared = "f16" if settings.environment.get(FLASH) == "0" else settings.environment.get(KV_TYPE)
    found = {}
    for spec in settings.models:
        if spec.plan is not None:
            batch = spec.parameters.get("num_batch", BATCH)
            assert isinstance(batch, int)
            with _said_of(spec.name):
                wishes = spec.plan.wishes(parallel, batch, others)
            found[spec.name] = replace(wishes, kv_types=(declared,)) if declared else wishes
    return found


def _sharing(wishes: Mapping[str, Wishes], kv_type: str) -> dict[str, Wishes]:
    """The same wishes with the one type of cache that all models of a server get. Raises CorralError."""
    for name, one in wishes.items():
        if kv_type not in one.kv_types:
            raise CorralError(
                f"models: {name}: plan: kv_types excludes {kv_type}, which another model here needs, and a server has "
                "one type for all",
                f"Allow {kv_type}, or ask for less context there",
            )
    return {name: replace(one, kv_types=(kv_type,)) for name, one in wishes.items()}


def _plan_all(
    settings: Settings, state: HostState, machine: Machine, wishes: Mapping[str, Wishes], judging: bool
) -> dict[str, Plan]:
    if settings.resident == "all" and len(wishes) > 1:
        return _plan_together(settings, state, machine, wishes, judging)
    return {name: _plan_one(state, name, machine, asked, judging) for name, asked in wishes.items()}


def _plan_one(state: HostState, name: str, machine: Machine, asked: Wishes, judging: bool) -> Plan:
    with _said_of(name):
        seen = _seen(state, name, asked)
        return choose(_with_plenty(machine), seen) if judging and seen else _plan(machine, asked, seen)


def _plan_together(
    settings: Settings, state: HostState, machine: Machine, wishes: Mapping[str, Wishes], judging: bool
) -> dict[str, Plan]:
    """Plans of models that are resident at once: each gets the best that the least of the later ones and the plans of
    the earlier ones leave room for."""
    least = {
        name: replace(asked, models=asked.models[-1:], max_context=asked.min_context, kv_types=asked.kv_types[-1:])
        for name, asked in wishes.items()
    }
    least = {name: replace(asked, quantization=_smallest(asked)) for name, asked in least.items()}
    plans = {name: _plan_one(state, name, machine, asked, judging) for name, asked in least.items()}
    try:
        for name, asked in least.items():
            _plan_beside(state, name, machine, plans, asked, judging)
    except CorralError as error:
        remedy = f"{error.remedy}; or set resident: one to have the models loaded in turns"
        raise CorralError(error.problem, remedy, error.detail) from error
    for name, asked in wishes.items():
        with suppress(CorralError):  # the least of it fits, as was seen
            plans[name] = _plan_beside(state, name, machine, plans, asked, judging)
    return plans


def _smallest(wishes: Wishes) -> str:
    """The quantization of the last model that takes least."""
    (model,) = wishes.candidates
    names = [name for name in model.quantizations if wishes.quantization in ("", name)]
    return min(names, key=lambda name: model.weights(name).gpu)


def _plan_beside(
    state: HostState, name: str, machine: Machine, plans: Mapping[str, Plan], asked: Wishes, judging: bool
) -> Plan:
    """A model's plan with the others resident. What it leaves must be enough for Ollama's guess of each of them too,
    or that would unload one when it is loaded anew. Raises CorralError."""
    others = {other: plan for other, plan in plans.items() if other != name}
    left = _beside(machine, list(others.values()))
    free = [card.free for card in left.cards]
    needed = max(
        guess(plan.entry, plan.quantization, plan.load) / ONE_GPU_SHARE - plan.memory.total for plan in others.values()
    )
    if machine.generation is Generation.LEGACY:
        needed = 0
    # On one of several cards, what the others have free counts; spread over all, each leaves its part.
    reserves = sorted({needed - (sum(free) - max(free)), needed / len(free)})
    for reserve in reserves:
        wished = replace(asked, reserve_mib=max(asked.reserve_mib, math.ceil(reserve / MIB)))
        found = _plan_one(state, name, left, wished, judging)
        if reserve == reserves[-1] or sum(free) - found.memory.total >= needed:
            break
    return found


def _beside(machine: Machine, plans: Sequence[Plan]) -> Machine:
    """The machine with what other models leave of each card."""
    left = list(machine.cards)
    for plan in plans:
        for card, use in zip(plan.cards, plan.memory.devices, strict=True):
            # A plan's cards are those that it was planned with: found by name and size, of equal ones the emptiest.
            place = max(
                (number for number, other in enumerate(left) if (other.name, other.total) == (card.name, card.total)),
                key=lambda number: left[number].free,
            )
            taken = min(use.total, left[place].free)
            left[place] = replace(left[place], free=left[place].free - taken, beside=left[place].beside + taken)
    return replace(machine, cards=tuple(left), shared=True)


def _with_plenty(machine: Machine) -> Machine:
    return replace(machine, cards=tuple(replace(card, free=PLENTY) for card in machine.cards))


def _plan(machine: Machine, wishes: Wishes, seen: Wishes | None) -> Plan:
    """The best plan, or the one that the host has already, which `seen` pins."""
    try:
        kept = choose(machine, seen) if seen else None
    except CorralError:  # it does not fit any more
        kept = None
    if kept is None:
        return choose(machine, wishes)
    less = tuple(replace(card, free=card.free - MARGIN_MIB * MIB) for card in machine.cards)
    try:
        better = choose(replace(machine, cards=less), wishes)
    except CorralError:
        return kept
    return better if rank(better, wishes) > rank(kept, wishes) else kept


def _is_there(state: HostState, name: str, plan: Plan, wishes: Wishes) -> bool:
    """Whether the host's Modelfile and environment have just this."""
    return _declared(state, name, wishes) == (
        plan.entry.name, plan.quantization, plan.load.context, plan.load.gpu_layers, plan.load.kv_type
    )  # fmt: skip


def _declared(state: HostState, name: str, wishes: Wishes) -> tuple[str, str, int, Setting | None, str] | None:
    """What the host's Modelfile of a model and its environment have: model, quantization, context, layers on the GPU,
    type of KV cache; None for a model that is none of the catalog's or the wishes', or has no context of its own."""
    try:
        found = modelfile.parse(state.modelfile(name))
    except CorralError:
        return None
    listed = _made_from(found.from_, wishes)
    context = found.parameters.get("num_ctx")
    if listed is None or not isinstance(context, int):
        return None
    kv_type = state.declared_environment.get(KV_TYPE, "")
    return *listed, context, found.parameters.get("num_gpu"), kv_type


def _made_from(reference: str, wishes: Wishes) -> tuple[str, str] | None:
    """The model and the quantization of it that a Modelfile's FROM means."""
    for model in wishes.others:
        assert isinstance(model, FileModel)
        if _same(model.installed, reference):
            return model.name, next(iter(model.quantizations))
    listed = catalog.by_reference(reference)
    return (listed[0].name, listed[1]) if listed else None


def _same(one: str, other: str) -> bool:
    try:
        return one == other or ModelName.parse(one) == ModelName.parse(other)
    except CorralError:  # a file's path
        return False


def _seen(state: HostState, name: str, wishes: Wishes) -> Wishes | None:
    """Wishes for exactly what the host has; None where that is not what is wished for."""
    declared = _declared(state, name, wishes)
    if declared is None:
        return None
    model, quantization, context, layers, kv_type = declared
    allowed = (
        (layers is None or (wishes.offload and isinstance(layers, int)))
        and model in wishes.models
        and wishes.quantization in ("", quantization)
        and wishes.min_context <= context <= wishes.max_context
        and kv_type in wishes.kv_types
    )
    if not allowed:
        return None
    return replace(
        wishes, models=(model,), quantization=quantization, min_context=context, max_context=context,
        kv_types=(kv_type,), offload=layers is not None, cpu=False,
        gpu_layers=layers if isinstance(layers, int) else None,
    )  # fmt: skip


def _worked_out(spec: ModelSpec, plan: Plan) -> ModelSpec:
    parameters: dict[str, Setting] = {"num_ctx": plan.load.context, "num_batch": plan.load.batch}
    if plan.load.gpu_layers is not None:
        parameters["num_gpu"] = plan.load.gpu_layers
    return spec.model_copy(
        update={"from_": plan.reference, "plan": None, "parameters": {**parameters, **spec.parameters}}
    )

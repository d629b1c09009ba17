"""Which model at which quantization, context and KV cache type: the choice, its reasons, and what was refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from corral.errors import CorralError
from corral.planner import catalog
from corral.planner.cards import Card
from corral.planner.catalog import STANDARD
from corral.planner.memory import BATCH, CELLS, MIB, Backend, Generation, Load, Memory, Placement, memory, place
from corral.planner.models import Model
from corral.planner.quantization import QUANTIZATIONS

#: Better than four bits is taken where it costs no context, worse where nothing else of a model fits.
_ORDER = {name: number for number, name in enumerate(QUANTIZATIONS)}
BETTER = frozenset(list(QUANTIZATIONS)[: list(QUANTIZATIONS).index(STANDARD)])
WORSE = frozenset(name for name in QUANTIZATIONS if "Q3" in name or "Q2" in name)
#: The engine itself leaves so much free on every device (llama.cpp's --fit-target), and takes layers off below it.
RESERVE_MIB = 1024
#: From 0.30 on Ollama spreads a model over all GPUs when file and 16-bit cache are more than this share of one's
#: free memory.
ONE_GPU_SHARE = 0.8
#: What a batch of so many tokens adds to Ollama's guess, in MiB (generationBatchSurcharge in server/sched.go, 0.34.4).
_SURCHARGES = ((2048, 2048), (1024, 768))
#: What generation reaches of a memory's bandwidth, from old cards to new ones, as llama.cpp's users report it.
EFFICIENCY = (0.5, 0.8)
#: GB/s of a desktop's memory: two channels of DDR4-2133 to DDR5-5600.
HOST_BANDWIDTH = (34.0, 89.0)


@dataclass(frozen=True)
class Wishes:
    """What is asked for; what is left out is chosen.

    models: names of the catalog or of others, the one first that is wanted most; quantization: one, or "" for the
    best that fits. others: models that the catalog lacks.
    min_context: tokens below which a model is of no use; max_context: more is not asked for.
    kv_types: from most to least exact, those that may be used.
    reserve_mib: free on every GPU after loading.
    offload: layers may stay on the host when nothing fits wholly; gpu_layers: just so many are on the GPU.
    cpu: without a GPU the smallest model may run on the CPU.
    """

    models: tuple[str, ...]
    quantization: str = ""
    min_context: int = 4096
    max_context: int = 16384
    kv_types: tuple[str, ...] = ("f16", "q8_0")
    reserve_mib: int = RESERVE_MIB
    parallel: int = 1
    batch: int = BATCH
    offload: bool = False
    cpu: bool = False
    others: tuple[Model, ...] = ()
    gpu_layers: int | None = None

    @property
    def candidates(self) -> tuple[Model, ...]:
        others = {model.name: model for model in self.others}
        return tuple(others.get(name) or catalog.catalog()[name] for name in self.models)


@dataclass(frozen=True)
class Machine:
    """What a host offers.

    cards: its GPUs; generation: how its Ollama runs models; memory: of its own that is free, in bytes (0: not known).
    corrections: bytes on each GPU that the host's engine has told beyond the formulas, by what a model is made from.
    engine: it can be asked; what formulas only estimate is then not refused before it was.
    shared: other models stay loaded beside; the cards' free memory is what these leave.
    """

    cards: tuple[Card, ...]
    generation: Generation = Generation.NEW
    memory: int = 0
    corrections: Mapping[str, int] = field(default_factory=dict)
    engine: bool = False
    shared: bool = False


@dataclass(frozen=True)
class Refusal:
    """A candidate that was not taken, with the reason in a sentence."""

    model: str
    quantization: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a machine is to run.

    cards: those it is spread over; memory: predicted for them; reasons: sentences.
    tokens_per_s: an estimate, least and most; None where a card's bandwidth is not known.
    """

    entry: Model
    quantization: str
    load: Load
    memory: Memory
    cards: tuple[Card, ...]
    reasons: tuple[str, ...]
    tokens_per_s: tuple[float, float] | None

    @property
    def reference(self) -> str:
        """What `ollama pull` takes."""
        return self.entry.quantizations[self.quantization]

    @property
    def outcome(self) -> tuple[str, Load]:
        """What it puts on a host, whatever memory that has."""
        return self.reference, self.load

    @property
    def wholly_on_gpu(self) -> bool:
        return bool(self.cards) and self.load.gpu_layers is None


def wishes_for(family: str = "deepseek-r1", models: Sequence[str] = (), wishes: Wishes | None = None) -> Wishes:
    """Wishes about a family of the catalog, or about certain models, checked against what is known of them.

    models: names in the catalog, or of wishes.others. Raises CorralError for names that nobody knows, a context above
    the models' own, and wishes that exclude each other.
    """
    wishes = wishes or Wishes(())
    others = {model.name: model for model in wishes.others}
    entries: tuple[Model, ...] = tuple(others.get(name) or catalog.find(name) for name in models)
    entries = entries or catalog.family(family)
    result = replace(wishes, models=tuple(entry.name for entry in entries))
    longest = max(entry.architecture.context for entry in entries)
    if result.min_context > longest:
        raise CorralError(
            f"min_context {result.min_context} is more than the {longest} tokens that {entries[0].title} was made for",
            f"Ask for at most {longest}",
        )
    if result.min_context > result.max_context:
        raise CorralError(
            f"min_context {result.min_context} is more than max_context {result.max_context}",
            "Raise max_context or lower min_context",
        )
    if result.quantization and not any(result.quantization in entry.quantizations for entry in entries):
        raise CorralError(
            f"{' and '.join(entry.name for entry in entries)} can't be had at {result.quantization}",
            f"Use one of {', '.join(entries[0].quantizations)}",
        )
    return replace(result, max_context=min(result.max_context, longest))


def choose(machine: Machine, wishes: Wishes) -> Plan:
    """The plan for a machine.

    The largest model that fits wholly on the GPUs; of it the best quantization up to four bits that holds
    min_context, or a better one that holds all of max_context; of it the longest context up to that.
    Raises CorralError when nothing fits, with the wishes to relax.
    """
    if not machine.cards:
        return _on_cpu(machine, wishes)
    for trial in _trials(machine, wishes):
        found = trial.longest()
        if found is not None:
            return _plan(trial, found, wishes)
    if wishes.offload:
        return _partly(machine, wishes)
    raise _nothing_fits(machine, wishes)


def rank(plan: Plan, wishes: Wishes) -> tuple[int, int, int, int, int]:
    """Wholly on the GPU, model, quantization, context, layers on the GPU: a plan that compares greater is better."""
    return (
        int(plan.wholly_on_gpu),
        -wishes.models.index(plan.entry.name),
        -_ORDER.get(plan.quantization, 0),
        plan.load.context,
        plan.load.gpu_layers or 0,
    )


def guess(model: Model, quantization: str, load: Load) -> int:
    """What Ollama from 0.30 on takes a model to need before it loads it, in bytes: the file and a 16-bit cache
    (PredictServerVRAM in llm/llama_server.go of 0.34.4)."""
    arch = model.architecture
    head = arch.embedding // max(1, arch.heads)
    cache = 4 * arch.layers * max(1, arch.kv_heads) * head * load.context * load.parallel
    surcharge_mib = next((more for batch, more in _SURCHARGES if load.batch >= batch), 0)
    return model.weights(quantization).file + cache + surcharge_mib * MIB


def refusals(machine: Machine, wishes: Wishes, plan: Plan | None = None) -> tuple[Refusal, ...]:
    """Why each candidate that ranks before the plan (without one: every one) was not taken, best first."""
    found = []
    for trial in _trials(machine, wishes):
        row = trial.row
        if plan and (row.entry.name, row.quantization) == (plan.entry.name, plan.quantization):
            break
        found.append(Refusal(row.entry.name, row.quantization, trial.reason(wishes)))
    return tuple(found)


# --- candidates ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kind:
    """What the memory that a candidate takes depends on besides itself: what is alike for many machines."""

    wishes: Wishes
    generation: Generation
    backend: Backend
    overheads: tuple[int, ...]
    flash: bool

    @property
    def kv_types(self) -> tuple[str, ...]:
        # Without flash attention the engine refuses a quantized V.
        return self.wishes.kv_types if self.flash else ("f16",)


class _Ladder:
    """Bytes on each device by context, for one candidate at one placement; computed once, for all machines."""

    def __init__(self, row: _Row, kv_type: str, placement: Placement) -> None:
        self._row, self._placement = row, placement
        self.load = row.load(kv_type)
        self._totals: dict[int, tuple[int, ...]] = {}

    def fits(self, context: int, limits: tuple[int, ...]) -> bool:
        totals = self._totals.get(context)
        if totals is None:
            totals = tuple(use.total for use in self.memory(context).devices)
            self._totals[context] = totals
        if len(totals) == 1:
            return totals[0] <= limits[0]
        return all(total <= limit for total, limit in zip(totals, limits, strict=True))

    def memory(self, context: int) -> Memory:
        load = replace(self.load, context=context)
        kind = self._row.kind
        return memory(self._row.architecture, self._row.weights, load, self._placement, kind.overheads)

    def longest(self, limits: tuple[int, ...], least: int, most: int) -> int:
        """The longest context that fits, a multiple of CELLS above `least`; 0 when `least` does not."""
        if not self.fits(least, limits):
            return 0
        if self.fits(most, limits):
            return most
        low, high = least // CELLS, -(-most // CELLS)
        while high - low > 1:
            middle = (low + high) // 2
            if self.fits(middle * CELLS, limits):
                low = middle
            else:
                high = middle
        return max(least, low * CELLS)


@dataclass
class _Row:
    """A model at a quantization. least: the context that makes it worth taking."""

    entry: Model
    quantization: str
    kind: _Kind
    least: int
    most: int
    _ladders: dict[tuple[str, Placement], _Ladder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # All of this is asked for once per machine.
        self.architecture = self.entry.architecture
        self.reference = self.entry.quantizations[self.quantization]
        self.weights = self.entry.weights(self.quantization)
        self.guess_at_most = self.guess(self.most)
        self.layers = self.architecture.layers

    def guess(self, context: int) -> int:
        return guess(self.entry, self.quantization, replace(self.load("f16"), context=context))

    def load(self, kv_type: str) -> Load:
        kind = self.kind
        wishes = kind.wishes
        return Load(self.most, kv_type, kind.flash, wishes.parallel, wishes.batch, None, kind.generation, kind.backend)

    def ladder(self, kv_type: str, placement: Placement) -> _Ladder:
        found = self._ladders.get((kv_type, placement))
        if found is None:
            found = self._ladders[kv_type, placement] = _Ladder(self, kv_type, placement)
        return found


@lru_cache(maxsize=1024)
def _rows(kind: _Kind) -> tuple[_Row, ...]:
    """In the order in which they are preferred."""
    wishes = kind.wishes
    rows = []
    for entry in wishes.candidates:
        most = min(wishes.max_context, entry.architecture.context)
        names = list(entry.quantizations)
        alone = len(names) == 1
        if entry.at_least and len(wishes.models) > 1 and not wishes.quantization:
            names = names[: names.index(entry.at_least) + 1]
        for name in names:
            if wishes.quantization in ("", name):
                better = not wishes.quantization and name in BETTER and not alone
                rows.append(_Row(entry, name, kind, most if better else min(wishes.min_context, most), most))
    return tuple(rows)


@dataclass(frozen=True)
class _Trial:
    """A candidate on the cards of one machine that it would be put on. limits: bytes that it may take of each by
    formula; correction: bytes that it takes besides; told: the engine has told so; guessable: bytes that Ollama may
    guess that it takes without unloading another model for it, None: there is no other."""

    row: _Row
    cards: tuple[Card, ...]
    placement: Placement
    limits: tuple[int, ...]
    correction: int = 0
    told: bool = False
    guessable: int | None = None

    def longest(self) -> tuple[str, int] | None:
        """KV cache type and context; a less exact type only where it makes the context longer."""
        best: tuple[str, int] | None = None
        most = self.most()
        if most < self.row.least:
            return None
        for kv_type in self.row.kind.kv_types:
            context = self.row.ladder(kv_type, self.placement).longest(self.limits, self.row.least, most)
            if context > (best[1] if best else 0):
                best = kv_type, context
            if context == most:
                break
        return best

    def most(self) -> int:
        """The longest context that is asked for and that Ollama would not unload another model for."""
        row = self.row
        if self.guessable is None or row.guess_at_most <= self.guessable:
            return row.most
        each = row.guess(CELLS) - row.guess(0)
        return (self.guessable - row.guess(0)) // each * CELLS

    def reason(self, wishes: Wishes) -> str:
        """Why it does not fit."""
        if self.guessable is not None and self.most() < self.row.least:
            return (
                f"Ollama takes the file and a 16-bit cache of {self.row.least} tokens for "
                f"{_mib(self.row.guess(self.row.least))} MiB, and unloads another model for more than "
                f"{self.guessable // MIB}, {ONE_GPU_SHARE:.0%} of what the others leave"
            )
        kv_type = self.row.kind.kv_types[-1]
        needed = self.row.ladder(kv_type, self.placement).memory(self.row.least)
        device, use = max(enumerate(needed.devices), key=lambda one: one[1].total - self.limits[one[0]])
        where = f" on {self.cards[device].name}" if len(self.cards) > 1 else ""
        terms = f"weights {use.weights // MIB} + KV cache {use.kv // MIB} + graph {use.graph // MIB}"
        return (
            f"{self.row.least} tokens with a {kv_type} cache need {_mib(use.total + self.correction)} MiB{where} "
            f"({terms} + overhead {(use.overhead + self.correction) // MIB}) and {wishes.reserve_mib} in reserve: "
            f"{_mib(use.total - self.limits[device])} more than the {self.cards[device].free // MIB} that are free"
        )


def _trials(machine: Machine, wishes: Wishes) -> Iterator[_Trial]:
    """Every candidate, best first, with the cards that Ollama would put it on."""
    cards = _together(machine.cards)
    spread = _kind(machine, wishes, cards)
    one = max(cards, key=lambda card: card.free)
    alone = _kind(machine, wishes, (one,))
    reserve = wishes.reserve_mib * MIB
    limits, limit = tuple(card.free - reserve for card in cards), (one.free - reserve,)
    shares = tuple(card.free for card in cards)
    placements: dict[int, Placement] = {}
    for row, row_alone in zip(_rows(spread), _rows(alone), strict=True):
        correction, told = _correction(row, machine), row.reference in machine.corrections
        if len(cards) == 1 or _on_one(row_alone, one, machine.generation, limit):
            guessable = _guessable(machine, (one,))
            yield _Trial(row_alone, (one,), _whole(row.layers), _less(limit, correction), correction, told, guessable)
            continue
        if row.layers not in placements:
            placements[row.layers] = place(row.layers, row.load("f16"), shares)
        guessable = _guessable(machine, cards)
        yield _Trial(row, cards, placements[row.layers], _less(limits, correction), correction, told, guessable)


def _correction(row: _Row, machine: Machine) -> int:
    """Bytes on each card beyond the formulas. Where these are no more than an estimate and the engine has not been
    asked yet, the compute buffer is left out, so that it will be asked."""
    known = machine.corrections.get(row.reference)
    if known is not None:
        return known
    if machine.engine and row.architecture.approximate:
        return -max(use.graph for use in row.ladder("f16", _whole(row.layers)).memory(row.least).devices)
    return 0


def _guessable(machine: Machine, cards: tuple[Card, ...]) -> int | None:
    if machine.shared and machine.generation is Generation.NEW:
        return int(ONE_GPU_SHARE * sum(card.free for card in cards))
    return None


def _less(limits: tuple[int, ...], correction: int) -> tuple[int, ...]:
    return tuple(limit - correction for limit in limits) if correction else limits


def _on_one(row: _Row, card: Card, generation: Generation, limit: tuple[int, ...]) -> bool:
    """Whether Ollama takes one of several cards: from 0.30 on by a share of its free memory, before where it fits."""
    if generation is Generation.NEW:
        return row.guess_at_most <= ONE_GPU_SHARE * card.free
    return row.ladder(row.kind.kv_types[-1], _whole(row.layers)).fits(row.least, limit)


def _kind(machine: Machine, wishes: Wishes, cards: tuple[Card, ...]) -> _Kind:
    overheads = tuple(card.overhead for card in cards)
    return _Kind(wishes, machine.generation, cards[0].backend, overheads, all(card.flash for card in cards))


@lru_cache(maxsize=64)
def _whole(layers: int) -> Placement:
    return Placement((layers,), 0)


def _together(cards: tuple[Card, ...]) -> tuple[Card, ...]:
    """The cards that one model can be spread over: those of the backend that has most free memory."""
    if len(cards) == 1:
        return cards
    free: dict[Backend, int] = {}
    for card in cards:
        free[card.backend] = free.get(card.backend, 0) + card.free
    best = max(free, key=lambda backend: free[backend])
    return tuple(card for card in cards if card.backend is best)


# --- plans --------------------------------------------------------------------------------------------


def _plan(trial: _Trial, found: tuple[str, int], wishes: Wishes) -> Plan:
    row, (kv_type, context) = trial.row, found
    ladder = row.ladder(kv_type, trial.placement)
    load = replace(ladder.load, context=context)
    needed = _corrected(ladder.memory(context), trial.correction)
    return Plan(
        row.entry, row.quantization, load, needed, trial.cards, _reasons(trial, load, wishes),
        speed(row, load, needed, trial.cards),
    )  # fmt: skip


def _corrected(needed: Memory, correction: int) -> Memory:
    """With what the engine has told beyond the formulas, or less, among what is counted besides the model."""
    if not correction:
        return needed
    devices = tuple(replace(use, overhead=use.overhead + correction) if use.total else use for use in needed.devices)
    return replace(needed, devices=devices)


def _reasons(trial: _Trial, load: Load, wishes: Wishes) -> tuple[str, ...]:
    row = trial.row
    reasons = []
    if len(wishes.models) > 1:
        first = "first of those asked for" if wishes.others else "largest model"
        reasons.append(f"{row.entry.title} is the {first} that fits wholly on the GPU")
    if row.architecture.approximate:
        reasons.append(
            f"no formula covers {row.architecture.family} exactly ({row.architecture.approximate}): "
            + ("the engine has told what it takes" if trial.told else "what it takes is an estimate")
        )
    if row.quantization in BETTER and not wishes.quantization and len(row.entry.quantizations) > 1:
        reasons.append(f"{row.quantization} is better than four bits and costs no context here")
    if row.quantization in WORSE and not wishes.quantization and len(row.entry.quantizations) > 1:
        reasons.append(
            f"{row.quantization} is below four bits, which costs quality, though less than a smaller model does; "
            f"a min_context above {load.context} chooses that"
        )
    if load.kv_type != row.kind.kv_types[0]:
        exact = row.ladder(row.kind.kv_types[0], trial.placement).longest(trial.limits, CELLS, row.most)
        reasons.append(
            f"KV cache {load.kv_type}: with {row.kind.kv_types[0]} there is room for {exact} tokens, not {load.context}"
        )
    if not load.flash:
        reasons.append("no flash attention: the card can't, so the cache stays f16")
    if load.context < row.most:
        reasons.append(f"a context of {load.context}: {row.most} were asked for, there is no room for more")
    if len(trial.cards) > 1:
        blocks = " + ".join(map(str, trial.placement.blocks))
        reasons.append(f"spread over {len(trial.cards)} GPUs ({blocks} blocks): too large for what Ollama puts on one")
    return tuple(reasons)


def _partly(machine: Machine, wishes: Wishes) -> Plan:
    """As many layers on the GPUs as there is room for, the rest on the host."""
    cards = _together(machine.cards)
    row = _smallest(_rows(_kind(machine, wishes, cards)))
    correction = max(0, machine.corrections.get(row.reference, 0))
    limits = _less(tuple(card.free - wishes.reserve_mib * MIB for card in cards), correction)
    pinned = wishes.gpu_layers
    for layers in range(row.layers, -1, -1) if pinned is None else (pinned,):
        load = replace(row.load(row.kind.kv_types[-1]), context=row.least, gpu_layers=layers)
        placement = place(row.layers, load, tuple(card.free for card in cards))
        needed = memory(row.architecture, row.weights, load, placement, row.kind.overheads)
        if all(use.total <= limit for use, limit in zip(needed.devices, limits, strict=True)):
            break
    else:
        if pinned:
            raise CorralError(f"{pinned} layers do not fit on the GPU", "Let corral choose how many")
    needed = _corrected(needed, correction)
    _check_host_memory(machine, row, needed.host)
    rate = speed(row, load, needed, cards)
    cost = f", an estimated {rate[0]:.1f} to {rate[1]:.1f} tokens/s" if rate else ""
    reasons = (f"only {layers} of {row.layers + 1} layers fit on the GPU: the rest runs on the CPU{cost}",)
    return Plan(row.entry, row.quantization, load, needed, cards, reasons, rate)


def _on_cpu(machine: Machine, wishes: Wishes) -> Plan:
    if not wishes.cpu:
        raise CorralError("the host has no GPU", "Set cpu: true to run a small model on the CPU")
    row = _smallest(_rows(_Kind(wishes, machine.generation, Backend.CUDA, (0,), True)))
    load = replace(row.load("f16"), context=row.least, gpu_layers=0)
    needed = memory(row.architecture, row.weights, load)
    _check_host_memory(machine, row, needed.host)
    return Plan(
        row.entry, row.quantization, load, needed, (), ("no GPU: the smallest model, on the CPU",),
        speed(row, load, needed, ()),
    )  # fmt: skip


def _smallest(rows: tuple[_Row, ...]) -> _Row:
    """The last model, at four bits where nothing else is asked for."""
    last = rows[-1].entry.name
    own = [row for row in rows if row.entry.name == last]
    return next((row for row in own if row.quantization == STANDARD), own[-1])


def _check_host_memory(machine: Machine, row: _Row, needed: int) -> None:
    if machine.memory and needed > machine.memory:
        raise CorralError(
            f"{row.entry.name} at {row.quantization} would need {_mib(needed)} MiB of the host's memory, "
            f"{machine.memory // MIB} are free",
            "Ask for a smaller model",
        )


def _nothing_fits(machine: Machine, wishes: Wishes) -> CorralError:
    *_, last = _trials(machine, wishes)
    reason = last.reason(wishes)
    remedies = [text for text, relaxed in _relaxations(machine, wishes) if _would_fit(machine, relaxed)]
    remedies.append("set offload: true to leave layers on the CPU")
    problem = f"nothing fits: even {last.row.entry.name} at {last.row.quantization} does not: {reason}"
    return CorralError(problem, f"Relax one wish: {'; or '.join(remedies)}")


def _relaxations(machine: Machine, wishes: Wishes) -> Iterator[tuple[str, Wishes]]:
    """The wishes with one of them relaxed, the one first that costs least."""
    if wishes.parallel > 1:
        yield "parallel: 1", replace(wishes, parallel=1)
    for context in (wishes.min_context // 2**step for step in range(1, 4)):
        if context >= 2048 and _would_fit(machine, replace(wishes, min_context=context)):
            yield f"min_context: {context}", replace(wishes, min_context=context)
            break
    if "q8_0" not in wishes.kv_types:
        yield "a KV cache of q8_0", replace(wishes, kv_types=(*wishes.kv_types, "q8_0"))
    if wishes.quantization:
        yield "another quantization", replace(wishes, quantization="")
    if wishes.reserve_mib > RESERVE_MIB:
        yield f"reserve_mib: {RESERVE_MIB}", replace(wishes, reserve_mib=RESERVE_MIB)
    entry = catalog.catalog().get(wishes.models[-1])
    smaller = tuple(
        other.name
        for other in catalog.catalog().values()
        if entry and other.family == entry.family and not other.by_name_only and other.parameters < entry.parameters
    )
    if smaller:
        ordered = tuple(sorted(smaller, key=lambda name: -catalog.catalog()[name].parameters))
        yield "a smaller model", replace(wishes, models=ordered)


def _would_fit(machine: Machine, wishes: Wishes) -> bool:
    return any(trial.longest() for trial in _trials(machine, wishes))


def speed(row: _Row, load: Load, needed: Memory, cards: tuple[Card, ...]) -> tuple[float, float] | None:
    """Tokens per second, least (the context is full) and most (it is empty): each token reads every weight once,
    and what is in the cache, so bandwidth decides. An estimate. None where a bandwidth is not known."""
    slow = fast = 0.0
    for card, use in zip(cards, needed.devices, strict=False):
        if card.bandwidth is None:
            return None
        slow += (use.weights + use.kv / load.parallel) / (card.bandwidth * 1e9 * EFFICIENCY[0])
        fast += use.weights / (card.bandwidth * 1e9 * EFFICIENCY[1])
    # Of the token embedding a token reads one row.
    host = needed.host - row.weights.token_embedding
    if not cards or host:
        slow += host / (HOST_BANDWIDTH[0] * 1e9)
        fast += host / (HOST_BANDWIDTH[1] * 1e9)
    return 1 / slow, 1 / fast


def _mib(size: int) -> int:
    """Rounded up: what is needed."""
    return -(-size // MIB)

"""A plan as people see it: one table, a bar of each card's memory, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from corral.planner.choice import Plan, Refusal, Wishes
from corral.planner.memory import MIB, Use

if TYPE_CHECKING:
    from corral.hostplans import HostPlan

#: What fills a card, in the order of the bar, with the letter that stands for it where there are no colours.
PARTS = (
    ("weights", "blue", "W"),
    ("KV cache", "green", "K"),
    ("graph", "yellow", "G"),
    ("overhead", "magenta", "O"),
    ("reserve", "bright_black", "r"),
    ("free", "default", "·"),
)
_TERMS = tuple(name for name, _, _ in PARTS[:4])
BAR = 60
COLUMNS = ("Model", "Quantization", "Context", "KV cache", "On the GPU", "Tokens/s, estimated")


def show(plan: Plan, wishes: Wishes, refused: Sequence[Refusal] = ()) -> None:
    """Print it."""
    console = Console() if sys.stdout.isatty() else Console(width=160)
    for piece in render(plan, wishes, refused):
        console.print(piece, soft_wrap=isinstance(piece, Text))


def show_hosts(hosts: Sequence[HostPlan], refused: bool = False) -> None:
    """Print one table of all hosts, then each one's memory, reasons and changes."""
    console = Console() if sys.stdout.isatty() else Console(width=160)
    table = Table(
        "Host", "Model", "Quantization", "Context", "KV cache", "On the GPU", "Tokens/s, estimated", "Changes"
    )
    for host in hosts:
        if host.problem:
            table.add_row(host.host, *["-"] * 6, "[red]a problem[/red]")
        for name, (plan, _, _) in host.plans.items():
            cells = _cells(plan)
            table.add_row(host.host, f"{name}: {cells[0]}", *cells[1:], str(len(host.changes)))
        if not host.plans and not host.problem:
            table.add_row(host.host, "no model is planned here", *["-"] * 5, str(len(host.changes)))
    console.print(table)
    for host in hosts:
        console.print(Text(host.host, style="bold"))
        if host.problem:
            console.print(Text(host.problem, style="red"), soft_wrap=True)
        for name, (plan, wishes, not_taken) in host.plans.items():
            for piece in _details(plan, wishes, not_taken if refused else ()):
                console.print(piece, soft_wrap=isinstance(piece, Text))
            if name in host.engine:
                console.print(Text(f"- {host.engine[name]}"), soft_wrap=True)
        for change in host.changes:
            console.print(Text(f"would {change}"), soft_wrap=True)
        if not host.changes and not host.problem:
            console.print("a deploy would change nothing")


def render(plan: Plan, wishes: Wishes, refused: Sequence[Refusal] = ()) -> Iterable[Table | Text]:
    table = Table(*COLUMNS, "From")
    table.add_row(*_cells(plan), plan.reference)
    yield table
    yield from _details(plan, wishes, refused)


def _cells(plan: Plan) -> tuple[str, ...]:
    load = plan.load
    return (
        plan.entry.title,
        plan.quantization,
        f"{load.context}" + (f" x {load.parallel}" if load.parallel > 1 else ""),
        load.kv_type,
        _where(plan),
        f"{plan.tokens_per_s[0]:.0f} to {plan.tokens_per_s[1]:.0f}" if plan.tokens_per_s else "bandwidth not known",
    )


def _details(plan: Plan, wishes: Wishes, refused: Sequence[Refusal]) -> Iterable[Table | Text]:
    if plan.cards:
        yield _memory_table(plan, wishes)
        for parts in _parts(plan, wishes):
            yield _bar(parts)
        yield Text("  ").join(Text(f"{letter} {name}", style=style) for name, style, letter in PARTS)
    if plan.memory.host > plan.entry.weights(plan.quantization).token_embedding:
        yield Text(f"On the host: {_mib(plan.memory.host)} MiB of weights and KV cache")
    for reason in plan.reasons:
        yield Text(f"- {reason}")
    for refusal in refused:
        yield Text(f"- not {refusal.model} at {refusal.quantization}: {refusal.reason}")


def lines(name: str, plan: Plan) -> list[str]:
    """A plan in a deploy's output: what is chosen, each card's memory, and why."""
    load = plan.load
    requests = f" for each of {load.parallel} requests" if load.parallel > 1 else ""
    text = [
        f"planned {name}: {plan.entry.title} at {plan.quantization}, {load.context} tokens{requests}, "
        f"KV cache {load.kv_type}, {_where(plan)} on the GPU"
    ]
    for card, use in zip(plan.cards, plan.memory.devices, strict=True):
        terms = " + ".join(f"{part} {_mib(size)}" for part, size in zip(_TERMS, _terms(use), strict=True))
        text.append(f"  {card.name}: {terms} = {_mib(use.total)} of {card.free // MIB} MiB")
    return text + [f"  {reason}" for reason in plan.reasons]


def as_json(plan: Plan, wishes: Wishes, refused: Sequence[Refusal]) -> dict[str, object]:
    """Memory in MiB, context in tokens."""
    load = plan.load
    return {
        "model": plan.entry.name,
        "title": plan.entry.title,
        "from": plan.reference,
        "quantization": plan.quantization,
        "context": load.context,
        "parallel": load.parallel,
        "kv_type": load.kv_type,
        "flash_attention": load.flash,
        "batch": load.batch,
        "num_gpu": load.gpu_layers,
        "wholly_on_gpu": plan.wholly_on_gpu,
        "gpus": [
            {"name": card.name, "total_mib": card.total // MIB}
            | {f"{name.lower().replace(' ', '_')}_mib": round(size / MIB, 2) for name, size in parts}
            for card, parts in zip(plan.cards, _parts(plan, wishes), strict=True)
        ],
        "host_mib": round(plan.memory.host / MIB, 2),
        "estimated_tokens_per_s": plan.tokens_per_s and [round(rate, 1) for rate in plan.tokens_per_s],
        "reasons": list(plan.reasons),
        "refused": [
            {"model": refusal.model, "quantization": refusal.quantization, "reason": refusal.reason}
            for refusal in refused
        ],
    }


def _where(plan: Plan) -> str:
    layers = plan.entry.architecture.layers + 1
    return f"{layers if plan.wholly_on_gpu else plan.load.gpu_layers} of {layers} layers"


def _parts(plan: Plan, wishes: Wishes) -> list[list[tuple[str, int]]]:
    """Of each card, in bytes, what is free split into the planned terms."""
    rows = []
    for card, use in zip(plan.cards, plan.memory.devices, strict=True):
        reserve = min(wishes.reserve_mib * MIB, card.free - use.total)
        sizes = (*_terms(use), reserve, card.free - use.total - reserve)
        rows.append([(name, size) for (name, _, _), size in zip(PARTS, sizes, strict=True)])
    return rows


def _terms(use: Use) -> tuple[int, int, int, int]:
    return use.weights, use.kv, use.graph, use.overhead


def _memory_table(plan: Plan, wishes: Wishes) -> Table:
    table = Table("GPU", *(name for name, _, _ in PARTS), "of", title="MiB")
    for column in table.columns[1:]:
        column.justify = "right"
    for card, parts in zip(plan.cards, _parts(plan, wishes), strict=True):
        table.add_row(card.name, *(str(_mib(size)) for _, size in parts), str(card.free // MIB))
    return table


def _bar(parts: Sequence[tuple[str, int]]) -> Text:
    """The card's free memory as BAR letters; every term that is there has at least one."""
    whole = sum(size for _, size in parts)
    bar, end, drawn = Text("["), 0, 0
    for (_, style, letter), (_, size) in zip(PARTS, parts, strict=True):
        end += size
        width = max(1 if size else 0, round(end / whole * BAR) - drawn)
        width = min(width, BAR - drawn)
        drawn += width
        bar.append(letter * width, style=style)
    return bar.append("]")


def _mib(size: int) -> int:
    return round(size / MIB)

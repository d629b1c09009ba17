"""What `corral status` prints: every host verified from the clients' side, one row each."""

from __future__ import annotations

from gevent import monkey

# pyinfra and paramiko talk to hosts in greenlets; this must come before anything that opens a socket.
monkey.patch_all()

import sys  # noqa: E402
from collections.abc import Iterable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from corral import fleet, verification  # noqa: E402
from corral.errors import CorralError  # noqa: E402
from corral.run import HostRun  # noqa: E402


@dataclass(frozen=True)
class Row:
    """One host of the table, as text per column."""

    host: str
    gpus: str = "-"
    version: str = "-"
    model: str = "-"
    context: str = "-"
    where: str = "-"
    tokens_per_s: str = "-"
    verdict: str = "ok"

    @property
    def ok(self) -> bool:
        return self.verdict == "ok"


COLUMNS = ("Host", "GPUs", "Ollama", "Model", "Context", "Runs on", "Tokens/s", "Verdict")


def look(inventory: str, limit: Iterable[str] = ()) -> list[Row]:
    """Verify the hosts of an inventory in parallel; one row each, by name.

    Raises CorralError for an inventory or a limit that is wrong as a whole.
    """
    answers = fleet.ask(fleet.load(inventory, Path.cwd(), limit), _row)
    return [Row(name, verdict=str(row)) if isinstance(row, CorralError) else row for name, row in answers]


def _row(run: HostRun) -> Row:
    run.judge()
    verdict = verification.verify(run)
    loaded: list[verification.Loaded] = verdict.loaded
    return Row(
        host=run.name,
        gpus=_lines(gpu.name for gpu in run.state.gpus.devices),
        version=verdict.version or "-",
        model=_lines(_model(run, model.name) for model in loaded),
        context=_lines(str(model.context) for model in loaded),
        where=_lines(model.where for model in loaded),
        tokens_per_s=_lines(f"{model.tokens_per_s:.1f}" for model in loaded),
        verdict="ok" if verdict.ok else " ".join(check.found for check in verdict.failures),
    )


def _model(run: HostRun, name: str) -> str:
    """A model's name, with what the plan has made of it."""
    plan = run.planned.plans.get(name)
    if plan is None:
        return name
    stand_in = " (a stand-in)" if run.is_stand_in(plan) else ""
    return f"{name}: {plan.entry.name} {plan.quantization}{stand_in}"


def _lines(items: Iterable[str]) -> str:
    return "\n".join(items) or "-"


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(*COLUMNS, title="corral status")
    for row in rows:
        style = "green" if row.ok else "red"
        cells = list(row.__dict__.values())
        table.add_row(*cells[:-1], f"[{style}]{cells[-1]}[/{style}]")
    # A file or a pipe has no width of its own; 80 columns would break host names.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)

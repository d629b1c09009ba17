"""What `corral status` prints: every host verified from the clients' side, one row each."""

from __future__ import annotations

from gevent import monkey

# pyinfra and paramiko talk to hosts in greenlets; this must come before anything that opens a socket.
monkey.patch_all()

import logging  # noqa: E402
import sys  # noqa: E402
from contextlib import suppress  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from pyinfra.api.config import Config  # noqa: E402
from pyinfra.api.connect import connect_all, disconnect_all  # noqa: E402
from pyinfra.api.exceptions import PyinfraError  # noqa: E402
from pyinfra.api.host import Host  # noqa: E402
from pyinfra.api.inventory import Inventory  # noqa: E402
from pyinfra.api.state import BaseStateCallback, State  # noqa: E402
from pyinfra.context import ctx_state  # noqa: E402
from pyinfra_cli.inventory import make_inventory  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from corral import verification  # noqa: E402
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


def _collect_connect_errors(state: State) -> dict[Host, str]:
    """A mapping that fills with why hosts could not be connected to."""
    errors: dict[Host, str] = {}

    class Collector(BaseStateCallback):
        @staticmethod
        def host_connect_error(state: State, host: Host, error: Exception) -> None:
            errors[host] = str(error)

    state.add_callback_handler(Collector())
    return errors


def look(inventory_file: str, limit: tuple[str, ...] = ()) -> list[Row]:
    """Verify the hosts of an inventory in parallel; one row each, by name.

    Raises CorralError or click's for an inventory that can't be read.
    """
    logging.getLogger("pyinfra").setLevel(logging.CRITICAL)
    state = State()
    state.cwd = str(Path.cwd())
    ctx_state.set(state)
    try:
        inventory: Inventory = make_inventory(inventory_file, cwd=state.cwd)
    except PyinfraError as error:
        raise CorralError(str(error), "Correct the inventory") from error
    hosts = sorted((host for host in inventory if not limit or _chosen(host, limit)), key=lambda host: host.name)
    if not hosts:
        raise CorralError("no host to look at", "Check --limit and the inventory")
    state.init(inventory, Config(), initial_limit=hosts)
    errors = _collect_connect_errors(state)
    with suppress(PyinfraError):  # no host at all could be reached: each one's row says why
        connect_all(state)
    try:
        greenlets = [gevent.spawn(_row, host, errors.get(host, "")) for host in hosts]
        return [greenlet.get() for greenlet in greenlets]
    finally:
        disconnect_all(state)


def _chosen(host: Host, limit: tuple[str, ...]) -> bool:
    return bool({host.name, *host.groups} & set(limit))


def _row(host: Host, connect_error: str) -> Row:
    if connect_error:
        return Row(host.name, verdict=connect_error)
    try:
        run = HostRun.of(host)
        verdict = verification.verify(run)
        loaded: list[verification.Loaded] = verdict.loaded
        return Row(
            host=host.name,
            gpus=_lines(gpu.name for gpu in run.state.gpus.devices),
            version=verdict.version or "-",
            model=_lines(_model(run, model.name) for model in loaded),
            context=_lines(str(model.context) for model in loaded),
            where=_lines(model.where for model in loaded),
            tokens_per_s=_lines(f"{model.tokens_per_s:.1f}" for model in loaded),
            verdict="ok" if verdict.ok else " ".join(check.found for check in verdict.failures),
        )
    except CorralError as error:
        return Row(host.name, verdict=str(error))


def _model(run: HostRun, name: str) -> str:
    """A model's name, with what the plan has made of it."""
    plan = run.planned.plans.get(name)
    if plan is None:
        return name
    stand_in = " (a stand-in)" if plan.entry.name in run.settings.stand_ins else ""
    return f"{name}: {plan.entry.name} {plan.quantization}{stand_in}"


def _lines(items: Any) -> str:
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

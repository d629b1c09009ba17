"""What `corral plan` says of the hosts of an inventory: each one's plans, and what a deploy would change."""

from __future__ import annotations

from gevent import monkey

# As in corral.status: before anything that opens a socket.
monkey.patch_all()

from collections.abc import Iterable, Mapping  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402

from corral import fleet, loading, planview, preflight  # noqa: E402
from corral.engine.ask import ask, compared, confirm  # noqa: E402
from corral.errors import CorralError  # noqa: E402
from corral.ollama import keeping, models  # noqa: E402
from corral.planner.choice import Plan, Refusal, Wishes, refusals  # noqa: E402
from corral.run import HostRun  # noqa: E402


@dataclass(frozen=True)
class HostPlan:
    """One host: the plans by model's name, with their wishes and what was refused for them; the changes, in words,
    that deploys/r1.py would make to release, service and models; engine: what the host's own engine says of each plan;
    problem: why there is nothing of this."""

    host: str
    plans: Mapping[str, tuple[Plan, Wishes, tuple[Refusal, ...]]] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    engine: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "host": self.host,
            "models": {name: planview.as_json(*parts) for name, parts in self.plans.items()},
            "changes": list(self.changes),
            "engine": dict(self.engine),
            "problem": self.problem,
        }


def plan(inventory: str, limit: Iterable[str] = ()) -> list[HostPlan]:
    """Look at the hosts of an inventory, all at once, and plan for each; changes nothing. By name.

    Raises CorralError for an inventory or a limit that is wrong as a whole.
    """
    answers = fleet.ask(fleet.load(inventory, Path.cwd(), limit), _plan)
    return [HostPlan(name, problem=str(one)) if isinstance(one, CorralError) else one for name, one in answers]


def _plan(run: HostRun) -> HostPlan:
    preflight.check(run)
    confirm(run, say=lambda _: None)
    changes = [
        *run.platform.install_changes(run),
        *run.platform.service_changes(run),
        *keeping.changes(run),
        *models.changes(run),
        *loading.changes(run),
    ]
    plans, engine = {}, {}
    for name, found in run.planned.plans.items():
        wishes, machine = run.planned.wishes[name], run.planned.machine
        assert machine
        plans[name] = (
            found,
            wishes,
            refusals(machine, wishes, found),
        )
        if found.cards:
            engine[name] = _engine(run, found)
    return HostPlan(run.name, plans, tuple("\n".join(change.lines) for change in changes), engine)


def _engine(run: HostRun, found: Plan) -> str:
    try:
        return compared(found, ask(run, found))
    except CorralError as error:
        return f"planned by formula: {error.problem}"


def exit_code(found: Iterable[HostPlan]) -> int:
    """As Terraform's plan -detailed-exitcode: 0 nothing would change, 2 something would, 1 a host has a problem."""
    hosts = list(found)
    if any(host.problem for host in hosts):
        return 1
    return 2 if any(host.changes for host in hosts) else 0

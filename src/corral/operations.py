"""The steps of a deploy, as pyinfra operations. Each is called once per host in a deploy file:

    from corral.operations import firewall, install, load, models, preflight, service, verify

    preflight(name="Check the host")
    install(name="Install Ollama")
    ...

A step compares what is declared with what the host's one probe found, shows each change in words, and
carries out just those. Under `--dry` it only shows them. An error ends the step for its own host; other
hosts go on, and pyinfra's exit code tells.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyinfra
from pyinfra import logger
from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from corral import loading, upgrading, verification
from corral.backup import restoring, saving
from corral.changes import Change
from corral.engine import ask as engine
from corral.errors import CorralError
from corral.interrupt import exit_with_code_on_interrupt
from corral.ollama import keeping
from corral.ollama import models as ollama_models
from corral.planner.memory import Generation
from corral.planview import lines as plan_lines
from corral.preflight import check as check_host
from corral.reboot import reboot as reboot_host
from corral.run import HostRun
from corral.terminal import escaped

if pyinfra.is_cli:
    exit_with_code_on_interrupt()

#: What a step wants to change; with an iterator each change is made before the next is asked for.
Plan = Callable[[HostRun], Iterable[Change]]


def _step(plan: Plan, stage: bool = False) -> Callable[..., Any]:
    """Turn a function from a host to its changes into an operation.

    stage: of a rebuild. What comes after one that has something to do can't be told under --dry.
    """

    def carry_out() -> Generator[FunctionCommand, None, None]:
        state, host = ctx_state.get(), ctx_host.get()
        if host in state.failed_hosts:  # an earlier step refused it while changes were looked for
            return
        run = HostRun.of(host)
        if run.waits_for and not stage and not state.is_executing:
            host.noop(f"known only after the stage {run.waits_for}")
            if not run.told_to_wait:
                run.say(f"what remains for r1.py's steps is known only after the stage {run.waits_for}")
                run.told_to_wait = True
            return
        changes: list[Change] = []
        try:
            for change in plan(run):
                changes.append(change)
                if state.is_executing:
                    yield FunctionCommand(_apply, (run, change), {})
        except Exception as error:
            # pyinfra would end the run of every host at an exception raised here.
            yield from _refuse(state, host, error)
            return
        if not changes:
            host.noop("as declared")
        elif not state.is_executing:
            for change in changes:
                summary, *detail = change.lines
                for line in (f"would {summary}", *detail):
                    run.say(line)
            yield FunctionCommand(_apply, (run, changes[0]), {})

    # Its signature is the user's: without the plan's argument, so functools.wraps would say too much.
    carry_out.__name__, carry_out.__doc__, carry_out.__module__ = plan.__name__, plan.__doc__, plan.__module__
    return operation()(carry_out)


def _stage(plan: Plan) -> Callable[..., Any]:
    """As _step, for a stage of a rebuild: it says that it begins, or that it is done."""

    def announced(run: HostRun) -> Iterator[Change]:
        name, begun = plan.__name__.removesuffix("_stage"), False
        for change in plan(run):
            if not begun:
                run.say(f"stage: {name}")
            begun = True
            if not run.host.state.is_executing:
                run.waits_for = run.waits_for or name
            yield change
        if not begun:
            run.say(f"stage: {name}: nothing to do")

    announced.__name__, announced.__doc__, announced.__module__ = plan.__name__, plan.__doc__, plan.__module__
    return _step(announced, stage=True)


def _apply(state: State, host: Host, run: HostRun, change: Change) -> bool:
    try:
        run.carry_out(change)
    except Exception as error:
        _show(host, error)
        return _fail(state, host)
    return True


def _refuse(state: State, host: Host, error: Exception) -> Iterator[FunctionCommand]:
    """Show the error; fail the host now, or as the step's only command while the run is executing."""
    _show(host, error)
    if state.is_executing:
        yield FunctionCommand(_fail, (), {})
    else:
        state.failed_hosts.add(host)
        state.active_hosts.discard(host)


def _fail(state: State, host: Host) -> bool:
    # pyinfra forgets failed hosts under --no-wait and would exit with 0.
    state.failed_hosts.add(host)
    return False


def _show(host: Host, error: Exception) -> None:
    text = str(error) if isinstance(error, CorralError) else traceback.format_exc()
    text = "\n".join(map(escaped, text.split("\n")))
    host.log_styled(text, fg="red", log_func=logger.error)


def _begin(run: HostRun) -> None:
    """The first step of a deploy that changes a host: with full rights, and with no other run beside it."""
    run.check_rights()
    if run.host.state.is_executing:
        run.lock()


@_stage
def bare_stage(run: HostRun) -> Iterable[Change]:
    """Of a rebuild: the clock, a name, and the packages that a deploy needs."""
    _begin(run)
    return run.stages.bare()


@_stage
def driver_stage(run: HostRun) -> Iterable[Change]:
    """Of a rebuild: the driver of the host's GPUs."""
    return run.stages.driver()


@_stage
def reboot_stage(run: HostRun) -> Iterable[Change]:
    """Of a rebuild: a reboot where the driver needs one, and then the driver at work."""
    return run.stages.reboot()


@_step
def preflight(run: HostRun) -> Sequence[Change]:
    """Refuse a host on which the deploy could not end well, before anything is changed there."""
    if run.host.state.is_executing:
        run.lock()
    warnings = check_host(run)
    for name, plan in run.planned.plans.items():
        for line in plan_lines(name, plan):
            run.say(line)
        if plan.cards and plan.load.generation is Generation.NEW and not run.state.current:
            run.say("  by formula: Ollama's engine is asked as soon as it is there, and may allow more or less")
    for warning in warnings:
        run.warn(warning)
    return ()


@_step
def install(run: HostRun) -> Sequence[Change]:
    """Install the pinned release beside the one that is there, and switch to it."""
    return run.platform.install_changes(run)


@_step
def service(run: HostRun) -> Sequence[Change]:
    """Run Ollama as a service with the declared environment; restart it only when it must be. Releases that are no
    longer to be kept go."""
    engine.confirm(run, run.say)
    return [*run.platform.service_changes(run), *keeping.changes(run)]


@_step
def firewall(run: HostRun) -> Sequence[Change]:
    """Let the declared addresses, and no others, reach Ollama's port."""
    return run.platform.firewall_changes(run)


@_step
def models(run: HostRun) -> Sequence[Change]:
    """Create the declared models where they differ in meaning from what is there."""
    engine.confirm(run, run.say)
    return ollama_models.changes(run)


@_step
def load(run: HostRun) -> Iterable[Change]:
    """Load the models that were planned, compare them with their plans, and plan smaller where less fits."""
    return loading.changes(run)


@_step
def fetch(run: HostRun) -> Sequence[Change]:
    """Download, check and unpack the pinned release beside the one in use, which serves on."""
    return upgrading.fetch_changes(run)


@_step
def switch(run: HostRun) -> Sequence[Change]:
    """Try the pinned release, host by host, and make it the one in use; go back by itself from one that is not good."""
    return upgrading.switch_changes(run)


@_step
def rollback(run: HostRun) -> Sequence[Change]:
    """Go back to the release that was in use before, checked in the same way."""
    _begin(run)
    return upgrading.rollback_changes(run)


@_step
def reboot(run: HostRun) -> Sequence[Change]:
    """Reboot the host and wait until it is back, on another boot, with its server answering."""
    run.check_rights()
    return [Change("reboot, and wait until the server answers again", partial(reboot_host, run))]


@_step
def adopt(run: HostRun) -> Sequence[Change]:
    """Show what there is of an Ollama that somebody else has put on the host; the steps after this take it over."""
    run.check_rights()
    run.adopt()
    for line in run.platform.adoptable(run) or ["there is no other Ollama here to be taken over"]:
        run.say(line)
    return ()


@_step
def leftovers(run: HostRun) -> Sequence[Change]:
    """Remove what is left of an Ollama that was taken over, once the new server has been verified."""
    return run.platform.leftover_changes(run)


@_step
def uninstall(run: HostRun) -> Sequence[Change]:
    """Take away what corral has put on the host; the models stay unless remove_models says otherwise."""
    _begin(run)
    return run.platform.uninstall_changes(run)


@_step
def backup(run: HostRun) -> Sequence[Change]:
    """Save what the host has and nothing can bring again: models that no registry has, its key, people's settings."""
    _begin(run)
    return saving.changes(run)


@_step
def require_backup(run: HostRun) -> Sequence[Change]:
    """Refuse a host of which nothing was saved."""
    run.check_rights()
    restoring.require(run)
    return ()


@_step
def restore(run: HostRun) -> Sequence[Change]:
    """Bring back what was saved and is not there; nothing where there is no backup of the host."""
    _begin(run)
    return restoring.changes(run)


@operation()
def verify() -> Generator[FunctionCommand, None, None]:
    """Ask the running server, from the clients' side, whether everything is as declared. Changes nothing."""
    state, host = ctx_state.get(), ctx_host.get()
    if host in state.failed_hosts:
        return
    if not state.is_executing:
        host.noop("verification asks the running server; it is not part of --dry")
        return
    run = HostRun.of(host)
    run.judge()
    try:
        verdict = verification.verify(run)
    except Exception as error:
        yield from _refuse(state, host, error)
        return
    for check in verdict.checks:
        if check.ok:
            host.noop(f"verified: {check.found}")
        else:
            host.log_styled(f"{check.found} {check.remedy}".rstrip(), fg="red", log_func=logger.error)
    if verdict.ok:
        host.log_styled(f"verified: {verdict.sentence}", fg="green")
    else:
        yield FunctionCommand(_fail, (), {})

"""Another release for a host that serves: fetched beside the one in use, tried, and kept only if it is good.

Good means: it is the version that it shall be, it lists and can read every model that the one before it listed, and it
generates with every declared one of them. Otherwise the host goes back by itself and fails, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath

import ollama

from corral import rolling, versions
from corral.changes import Change
from corral.errors import CorralError
from corral.names import ModelName
from corral.ollama import api, releases
from corral.remote import LinkBroken
from corral.run import HostRun
from corral.verification import in_part, needs_gpu, use


def fetch_changes(run: HostRun) -> list[Change]:
    """What the pinned release takes beside the one in use. Raises CorralError where there is none to upgrade."""
    _check(run)
    changes = run.platform.fetch_changes(run)
    if not _is_in_use(run):
        if run.host.state.is_executing:
            rolling.go_on(run, "upgraded")
        _warn_of_what_was(run)
    return changes


def switch_changes(run: HostRun) -> list[Change]:
    """Try the pinned release and make it the one in use, unless it is that already."""
    return [] if _is_in_use(run) else [_switch(run, back=False)]


def rollback_changes(run: HostRun) -> list[Change]:
    """Go back to the release in use before; nothing on a host that has gone back already.

    The rest of the run is about that release. Raises CorralError where none is kept.
    """
    state = run.state
    _require_one(run)
    if state.left and state.left != state.current and not state.trial:
        run.use(_kept(run, state.current))
        run.say(f"already back at {state.current} from {state.left}")
        _say_how_to_stay(run)
        return []
    run.use(_kept(run, _before(run)))
    return [_switch(run, back=True)]


# --- what there is -------------------------------------------------------------------------------------


def _check(run: HostRun) -> None:
    _require_one(run)
    if not _is_in_use(run):
        run.platform.begin_trial(run)  # raises where corral can't


def _require_one(run: HostRun) -> None:
    if not run.state.current:
        raise CorralError("no Ollama of corral's is in use on this host", "Set it up with deploys/r1.py")
    if run.state.to_move:
        raise CorralError(
            f"models_dir: its models are still in {' and '.join(sorted(set(run.state.to_move.values())))}, and a "
            "release can't be tried while they move",
            "Run deploys/r1.py with the ollama_version that is in use, which moves them; then change the version",
        )


def _is_in_use(run: HostRun) -> bool:
    return run.state.current == run.release_dir and not run.state.trial


def _name(directory: str) -> str:
    """A release's, from its directory on a host of any system."""
    return PureWindowsPath(directory).name if "\\" in directory else PurePosixPath(directory).name


def _kept(run: HostRun, directory: str) -> releases.Release:
    name = _name(directory)
    if name not in run.state.releases:
        raise CorralError(f"{directory} does not say what it was unpacked from", "Run deploys/r1.py")
    return releases.kept(name, run.state.releases[name])


def _before(run: HostRun) -> str:
    """The release to go back to: the one in use before the current one, else the newest that is older."""
    state = run.state
    there = {run.platform.release_dir(name): versions.numbers(name) for name in state.releases}
    if state.previous in there and state.previous != state.current:
        return state.previous
    older = [directory for directory in there if there[directory] < versions.numbers(_name(state.current))]
    if not older:
        raise CorralError(
            f"no release is kept on this host that was in use before {state.current}",
            "Declare the ollama_version that you want and run deploys/upgrade.py; keep_versions says how many are kept",
        )
    return max(older, key=lambda directory: there[directory])


def _warn_of_what_was(run: HostRun) -> None:
    name = _name(run.release_dir)
    if name in run.state.verdicts:
        run.warn(f"Ollama {name} was found not good on this host before ({run.state.verdicts[name]}); it gets a try")
    elif run.state.left == run.release_dir:
        run.warn(f"this host has gone back from Ollama {name} before; it gets another try")


def _say_how_to_stay(run: HostRun) -> None:
    declared = run.host.data.get("ollama_version", "")
    if declared != run.release.version:
        run.warn(
            f"declare ollama_version: {run.release.version} to stay with it: r1.py and upgrade.py install what is "
            "declared"
        )


# --- the switch ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Before:
    """What a server was: its version, "" where none answered, and the names of its models."""

    version: str
    models: tuple[str, ...]


def _switch(run: HostRun, *, back: bool) -> Change:
    begin = run.platform.begin_trial(run)
    rest = [change.summary for change in run.platform.settle_changes(run, back=back) if "restart" not in change.summary]
    summary = f"{'go back' if back else 'switch'} to Ollama {run.release.version} (was {_name(run.state.current)})"
    detail = (begin.summary, "check that it reads every model and generates; go back unless it is good", *rest)
    return Change(summary, partial(_try, run, back=back), detail)


def _try(run: HostRun, *, back: bool) -> None:
    with rolling.turn(run, "rolled back" if back else "upgraded"):
        before = _look(run)
        try:
            begun = time.monotonic()
            run.carry_out(run.platform.begin_trial(run))
            run.say(f"Ollama {run.release.version} answers after {time.monotonic() - begun:.1f} s")
            _examine(run, before)
        except LinkBroken as error:
            raise CorralError(
                f"{error.problem}, in the middle of a trial",
                f"The host goes back to {run.state.current} by itself; run again",
            ) from error
        except Exception as error:
            raise _gone_back(run, before, error) from error
        for change in run.platform.settle_changes(run, back=back):
            run.carry_out(change)
        if back:
            _say_how_to_stay(run)


def _look(run: HostRun) -> _Before:
    """What serves before the trial. A server that does not answer can't be worse afterwards."""
    try:
        with api.said("asking the server in use"):
            return _Before(_version(run), tuple(model.model or "" for model in run.api.list().models))
    except LinkBroken:
        raise
    except CorralError as error:
        run.warn(f"no server answers before the switch ({error.problem})")
        return _Before("", ())


def _version(run: HostRun) -> str:
    return str(api.http(run.api).get("/api/version").json().get("version", ""))


def _gone_back(run: HostRun, before: _Before, reason: Exception) -> CorralError:
    """Go back, see the old release serve again, and say all of it."""
    problem = reason.problem if isinstance(reason, CorralError) else f"{type(reason).__name__}: {reason}"
    name, old = run.release.version, _name(run.state.current)
    run.say(f"Ollama {name} is not good here; going back to {old}")
    detail = reason.detail if isinstance(reason, CorralError) else ""
    try:
        said = run.remote.run(run.platform.give_up_trial(run, problem), run.say)
        run.changed()
        detail = detail or said.get("journal", "")
        with api.said("asking the old release"):
            serving = _version(run)
        after = f"the host went back to {old}, and Ollama {serving} serves again"
        if before.version and serving != before.version:
            after = f"the host went back to {old}, but Ollama {serving} serves, not {before.version}"
    except CorralError as worse:
        after = f"going back to {old} has failed too: {worse.problem}"
        detail = "\n".join(filter(None, (detail, worse.detail)))
    return CorralError(
        f"Ollama {name} is not good on this host: {problem}; {after}",
        f"Declare ollama_version: {before.version or old} to stay with it. The end of the log of {name}",
        detail,
    )


# --- is it good? ---------------------------------------------------------------------------------------


def _examine(run: HostRun, before: _Before) -> None:
    """Raises CorralError that says what is not good about the server in trial."""
    with api.said("asking for its version"):
        version = _version(run)
    if version != run.release.version:
        raise CorralError(f"it says that it is Ollama {version or 'of no version'}")
    with api.said("listing the models"):
        listed = {ModelName.parse(model.model or "") for model in run.api.list().models}
    _require_all(run, before, [name for name in before.models if ModelName.parse(name) not in listed], "does not list")
    _require_all(run, before, [name for name in before.models if not _is_readable(run, name)], "can't read")
    used = [spec for spec in run.models if ModelName.parse(spec.name) in listed]
    for spec in used:
        with api.said(f"generating with {spec.name}"):
            loaded, tokens = use(run.api, spec)
        if not tokens:
            raise CorralError(f"{spec.name} generates nothing with it")
        if loaded and not loaded.on_gpu and needs_gpu(run) and not in_part(run, spec):
            raise CorralError(f"{loaded.sentence}, and this host shall run it on its GPU")
    names = ", ".join(spec.name for spec in used) or "none of those that are declared, as none is there"
    run.say(f"Ollama {version} reads {len(before.models)} models and generates with {names}")


def _require_all(run: HostRun, before: _Before, lacking: Sequence[str], what: str) -> None:
    if lacking:
        raise CorralError(f"it {what} {', '.join(lacking)}, which Ollama {before.version} has")


def _is_readable(run: HostRun, name: str) -> bool:
    with api.said(f"looking at {name}"):
        try:
            api.show(run.api, name)
        except ollama.ResponseError:
            return False
    return True

"""Models that are not in the declared directory yet are brought there, and nothing is downloaded again.

Where they are is known from the drop-in's OLLAMA_MODELS, until that is replaced, and from a record that is written
first: a line for each directory that holds models, "holds /a", or whose models are elsewhere by now, "left /a". Whoever
is cut off in the middle finds all of them again, even with another models_dir declared meanwhile.

While the server goes on with the old directory, its models come to lie in the new one as well. Then the service is
restarted with that, what has come meanwhile follows, all must be listed, and the old directory is freed last. At any
moment the service's files name a directory that is whole. Files that no model needs are not taken along.

A model that somebody deletes while the others are being copied may be there again afterwards.

SELinux: no policy knows Ollama, so its server runs as unconfined_service_t, which may use files with any label
(unconfined_service_selinux(8)); the files get the labels that the policy has for their new place (restorecon).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rich.filesize import decimal

from corral import layout
from corral.changes import Change
from corral.errors import CorralError
from corral.names import ModelName
from corral.ollama import api
from corral.probe.state import LinuxState, Source, model_names
from corral.scripts import Script

if TYPE_CHECKING:
    from corral.run import HostRun

HOLDS, LEFT = "holds ", "left "
STORE = "service/store.sh"
#: File systems that other hosts may use too, as stat -f names them: nothing is removed from these.
SHARED = frozenset(
    {"fuseblk", "nfs", "cifs", "smb", "smb2", "ceph", "lustre", "gfs/gfs2", "ocfs2", "afs", "gpfs", "v9fs", "panfs"}
)


def question(state: LinuxState, models_dir: str) -> Script | None:
    """Asks what is in the directories that may hold models besides the declared one; None where there is none."""
    places = list(_places(state, models_dir))
    return Script(STORE, {"FROM": places, "TO": models_dir}, then=("service/move_question.sh",)) if places else None


def seen(state: LinuxState, models_dir: str, emitted: Mapping[str, str]) -> LinuxState:
    """The state with what the question emits."""
    sources = _sources(state, models_dir, emitted)
    moving = [source for source in sources if not source.left]
    return replace(
        state,
        sources=sources,
        shared_place=emitted.get("shared", "").strip(),
        to_move={name: source.path for source in moving for name in source.models},
        to_move_bytes=sum(source.copy_bytes for source in moving),
    )


def _sources(state: LinuxState, models_dir: str, emitted: Mapping[str, str]) -> tuple[Source, ...]:
    """The directories with something in them that is to be moved or removed."""
    found = []
    for number, (place, left) in enumerate(_places(state, models_dir).items()):
        copy, something, size, filesystem = emitted.get(f"facts.{number}", "0 0 0 -").split(maxsplit=3)
        if something == "1":
            names = model_names(emitted.get(f"models.{number}", "").strip().splitlines())
            found.append(Source(place, names, int(copy), int(size), filesystem.strip(), left))
    return tuple(found)


def _places(state: LinuxState, models_dir: str) -> dict[str, bool]:
    """The directories that may hold models besides the declared one; of each whether its models have left it."""
    found = {}
    for line in state.moves.splitlines():
        for word in (HOLDS, LEFT):
            if line.startswith(word):
                found[line.removeprefix(word)] = word == LEFT
    used = _used(state)
    if used:
        found.setdefault(used, False)
    found.pop(models_dir, None)
    return found


def _used(state: LinuxState) -> str:
    """The directory that the service is to use by corral's drop-in; "" where there is none."""
    drop_in = state.service.drop_ins.get(layout.DROP_IN_NAME, "")
    return state.declared_environment.get("OLLAMA_MODELS", "") if drop_in.startswith(layout.MARK) else ""


def check(state: LinuxState, models_dir: str) -> None:
    """Before anything is changed: can the models be moved? Raises CorralError."""
    if state.unmounted:
        raise CorralError(
            f"models_dir: {state.unmounted[-1]} is a mount point in /etc/fstab and nothing is mounted there: the "
            "models would come to lie below it, on another disk",
            f"Mount it (mount '{state.unmounted[-1]}'), or take it out of /etc/fstab",
        )
    if state.shared_place:
        raise CorralError(
            f"models_dir: {models_dir} and {state.shared_place} have their blobs or their manifests in common, by a "
            "link, so that models can't be moved from one to the other",
            f"Put what the link leads to in its place, or declare models_dir: {state.shared_place}",
        )
    moving = [source for source in state.sources if not source.left and source.models]
    if not moving:
        return
    others = [
        name for name, text in state.service.drop_ins.items() if name != layout.DROP_IN_NAME and "OLLAMA_MODELS" in text
    ]
    if others:
        raise CorralError(
            f"models_dir: the models can't be moved to {models_dir}, since a drop-in of yours sets OLLAMA_MODELS: "
            f"{', '.join(others)}",
            f"Take it out of {layout.DROP_IN_DIR}/{others[0]}",
        )
    need = state.to_move_bytes
    if need > state.free_for_models:
        raise CorralError(
            f"models_dir: the disk of {models_dir} has {decimal(state.free_for_models)} free, the models in "
            f"{' and '.join(source.path for source in moving)} take {decimal(need)} more there",
            "Free some space, declare another models_dir, or remove models that nobody needs",
        )


def copies(state: LinuxState, models_dir: str) -> list[Change]:
    """What must be done before the service is told of its new directory."""
    moving = [source for source in state.sources if not source.left]
    if not moving or _used(state) == models_dir:
        return []
    # The one that is in use last: the record's time is that of the last look, and only it goes on changing.
    moving.sort(key=lambda source: source.path == _used(state))
    lines = [f"{HOLDS}{models_dir}"]
    lines += [f"{LEFT if source.left else HOLDS}{source.path}" for source in state.sources]
    return [Change(_copying(source, models_dir), _take(source, models_dir, "\n".join(lines))) for source in moving]


def _copying(source: Source, models_dir: str) -> str:
    if not source.models:
        return f"note that {source.path}, which holds no models, is to be cleared for {models_dir}"
    count = f"{len(source.models)} model{'s' if len(source.models) > 1 else ''}"
    if not source.copy_bytes:
        return f"take {count} from {source.path} to {models_dir}, which is on the same disk or has them"
    size = decimal(source.copy_bytes)
    return f"copy {count} ({size}) from {source.path} to {models_dir}, while Ollama serves from the old place"


def _take(source: Source, models_dir: str, note: str = "", *, rest: bool = False) -> Script:
    """note: becomes the record beforehand. rest: only what came to the source after it was copied to models_dir."""
    variables = {"FROM": source.path, "TO": models_dir, "OWNER": layout.USER, "RECORD": layout.MOVES}
    return Script(STORE, {**variables, "NOTE": note, "AFTER": rest}, then=("service/move_models.sh",))


def ends(run: HostRun, state: LinuxState) -> list[Change]:
    """What must be done once the service uses the declared directory."""
    models_dir = run.settings.models_dir
    if not state.sources:
        if not state.moves:
            return []
        return [Change(f"remove {layout.MOVES}", Script("service/remove_file.sh", {"FILE": layout.MOVES}))]
    freed, kept = _parted(state.sources)
    what = [f"free {source.path} ({decimal(source.all_bytes)})" for source in freed]
    what += [f"leave {source.path} as it is, which other hosts may use ({source.filesystem})" for source in kept]
    return [
        Change(
            f"see that Ollama has all models in {models_dir}, then {' and '.join(what)}",
            partial(_end, run, state.sources),
        )
    ]


def _parted(sources: Iterable[Source]) -> tuple[list[Source], list[Source]]:
    """Those that are to be freed, and those that stay as they are."""
    freed = [source for source in sources if source.filesystem not in SHARED]
    return freed, [source for source in sources if source.filesystem in SHARED]


def _end(run: HostRun, sources: Iterable[Source]) -> None:
    models_dir = run.settings.models_dir
    server = run.state.server
    assert isinstance(run.state, LinuxState)
    used = run.state.service.environment.get("OLLAMA_MODELS", "")
    if not server.running or used != models_dir:
        raise CorralError(
            f"the models are in {models_dir} and Ollama "
            + (f"uses {used or 'another directory'}" if server.running else "does not run"),
            f"See {run.platform.log} there and run again; the old directory is kept until then",
        )
    # Nothing was copied yet where the record is of a move to another directory, which was given up.
    rest = run.state.moves.splitlines()[:1] == [f"{HOLDS}{models_dir}"]
    for source in sources:
        if not source.left:
            run.remote.run(_take(source, models_dir, rest=rest), run.say)
    _check_listed(run, sources)
    freed, _ = _parted(sources)
    run.remote.run(
        Script(
            STORE,
            {
                "FROM": [source.path for source in freed],
                "TO": models_dir,
                "NOTE": "\n".join([f"{HOLDS}{models_dir}", *(f"{LEFT}{source.path}" for source in freed)]),
                "RECORD": layout.MOVES,
            },
            then=("service/free_models.sh",),
        )
    )


def _check_listed(run: HostRun, sources: Iterable[Source]) -> None:
    """Raises CorralError unless the server lists every model that was moved and that is still in its new directory."""
    answer = run.remote.run(Script(STORE, {"TO": run.settings.models_dir}, then=("service/whole_models.sh",)))
    whole = {ModelName.parse(name) for name in model_names(answer.get("models", "").strip().splitlines())}
    moved = {ModelName.parse(name) for source in sources for name in source.models}
    with api.said("listing the models"):
        listed = {ModelName.parse(model.model or "") for model in run.api.list().models}
    missing = sorted(name.short for name in moved & whole - listed)
    if missing:
        raise CorralError(
            f"Ollama does not list {', '.join(missing)}, which {'was' if len(missing) == 1 else 'were'} moved to "
            f"{run.settings.models_dir}",
            f"See {run.platform.log} there and run again; the old directory is kept until then",
        )

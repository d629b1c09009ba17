"""What has to be done so that nothing of corral's is left on a Linux host, and all else is as it was.

What is ours is told by what it says of itself (unit, drop-in, the stamp of a release, the user's comment) or by a place
that nobody else has a use for. Each change can be cut off and made again; the user goes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from corral import firewall, layout
from corral.adoption import settings
from corral.changes import Change
from corral.probe.state import LinuxState
from corral.scripts import Script


@dataclass(frozen=True)
class Remains:
    """places: those of ours that are there. user: whether there is a user of ours, by its comment."""

    places: frozenset[str]
    user: bool

    @classmethod
    def of(cls, emitted: Mapping[str, str]) -> Remains:
        """From what probe/remains.sh emits."""
        account = emitted.get("account", "").strip().split(":")
        return cls(frozenset(emitted.get("places", "").splitlines()), account[4:5] == [layout.USER_COMMENT])


def question(state: LinuxState, models_dir: str) -> Script:
    """Emits what Remains.of reads."""
    places = (*_programs(state), *_settings(state), *_caches(), *_models(models_dir))
    return Script("probe/remains.sh", {"PLACES": places, "USER_NAME": layout.USER})


def changes(state: LinuxState, remains: Remains, *, port: int, models_dir: str, remove_models: bool) -> list[Change]:
    """In the order in which they must be made; none where nothing of ours is left."""
    found = []
    service = state.service
    files = []
    if service.unit.startswith(layout.MARK) and service.unit_path == layout.UNIT:
        files.append(layout.UNIT)
    if service.drop_ins.get(layout.DROP_IN_NAME, "").startswith(layout.MARK):
        files.append(layout.DROP_IN)
    if state.trial:
        files.append(layout.TRIAL)
    kept_drop_in = f"{settings.KEPT_NAME}.conf" in service.drop_ins
    if files or kept_drop_in:
        stop = f"stop {layout.SERVICE} and " if layout.UNIT in files and service.running else ""
        back = [f"give people's {layout.DROP_IN} its name back"] if kept_drop_in else []
        found.append(
            Change(
                " and ".join([*([f"{stop}remove {' and '.join(files)}"] if files else []), *back]),
                Script(
                    "service/uninstall.sh",
                    {
                        "SERVICE": layout.SERVICE,
                        "FILES": files,
                        "STOP": layout.UNIT in files,
                        "DROP_IN_DIR": layout.DROP_IN_DIR,
                        "KEPT": f"{layout.DROP_IN_DIR}/{settings.KEPT_NAME}.conf",
                        "DROP_IN": layout.DROP_IN,
                    },
                ),
            )
        )
    found += firewall.changes(state.firewall, None, port)
    places = [place for place in (*_settings(state), *_programs(state), *_caches()) if place in remains.places]
    kept = [place for place in _models(models_dir) if place in remains.places]
    empty = [layout.MODELFILES, layout.SETTINGS, layout.RELEASES]
    if remove_models:
        places, kept = [*places, *kept], []
        empty.append(models_dir)
    if places:
        found.append(
            Change(
                f"remove {', '.join(places)}",
                Script("service/remove.sh", {"PATHS": places, "EMPTY": [*empty, layout.HOME], "LAST": layout.STAMP}),
            )
        )
    if remains.user:
        summary = f"remove the system user {layout.USER}"
        if kept:
            summary += f"; the models in {models_dir} stay, and become root's"
        found.append(
            Change(
                summary,
                Script("service/remove_user.sh", {"USER_NAME": layout.USER, "KEPT": [layout.HOME, models_dir]}),
            )
        )
    return found


def _programs(state: LinuxState) -> list[str]:
    command = [layout.COMMAND] if state.command == layout.PROGRAM else []
    releases = [layout.release_dir(name) for name in state.releases]
    links = [layout.CURRENT, layout.PREVIOUS, layout.LEFT]
    return [*command, *links, *releases, *state.removing, layout.DOWNLOADS]


def _settings(state: LinuxState) -> list[str]:
    return [layout.SECRETS, layout.MOVES, *(f"{layout.MODELFILES}/{file}" for file in state.modelfiles)]


def _caches() -> list[str]:
    """What the server keeps for itself: its key, its history, compiled shaders."""
    return [layout.CACHE, f"{layout.HOME}/.ollama"]


def _models(models_dir: str) -> list[str]:
    """The directories that Ollama makes in that of the models (envconfig.Models() in its source)."""
    return [f"{models_dir}/{part}" for part in ("blobs", "manifests", "metadata")]

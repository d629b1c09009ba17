"""How install.sh's Ollama becomes corral's: models, key, people's settings, then the unit; what is left goes last.

At every moment the host has a unit, and that unit's server finds every model: they are in both places until the new
server has been verified. What is left of the old one (its libraries, its directory of models) goes after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.filesize import decimal

from corral import layout
from corral.adoption import others, settings, unitfile
from corral.adoption.found import PROGRAMS
from corral.adoption.places import Place, Places
from corral.changes import Change
from corral.errors import CorralError
from corral.ollama import releases
from corral.probe.state import LinuxState, model_names
from corral.remote import Remote
from corral.scripts import Script
from corral.service import systemd
from corral.service.move import SHARED
from corral.service.wanted import Wanted

#: install.sh's unit is wanted by this target, corral's by multi-user.target.
LINK = "/etc/systemd/system/default.target.wants/ollama.service"


def question(state: LinuxState, models_dir: str) -> Script:
    """Emits what places.Places.of reads."""
    home = state.foreign.home
    told = settings.read(state).variables.get("OLLAMA_MODELS")
    candidates = [f"{home}/.ollama/models"] if home else []
    candidates += [told.value] if told else []
    candidates += [others.models_of(state)] if others.has_their_unit(state) else []
    return Script(
        "adoption/places.sh",
        {
            "CANDIDATES": list(dict.fromkeys(one for one in candidates if one)),
            "MODELS_DIR": models_dir,
            "KEY": f"{home}/.ollama/id_ed25519",
            "KEY_TO": f"{layout.HOME}/.ollama/id_ed25519",
            "LINKS": [LINK],
        },
    )


def with_places(state: LinuxState, remote: Remote, models_dir: str) -> LinuxState:
    """The state with what a take-over has to know besides; models that are yet to be brought count as there."""
    places = Places.of(remote.run(question(state, models_dir)))
    if not (places.old and others.has_their_unit(state)):
        return replace(state, places=places)
    there = {name: place.real for place in reversed(places.old) for name in model_names(place.models)}
    return replace(state, places=places, to_move={**state.to_move, **there})


def sentences(state: LinuxState) -> list[str]:
    """What is there to be taken over, for people's eyes; none where nothing is."""
    paths = others.traces(state)
    theirs = list(settings.read(state).lines()) if pending(state) else []
    old = state.places.old if pending(state) else _own(state)
    if not (paths or old or theirs):
        return []
    service = state.service
    runs = f", running as {service.user}" if others.has_their_unit(state) and service.running else ""
    return [
        f"an Ollama that install.sh has put here: {', '.join(paths) or 'what is left of it'}{runs}",
        *(f"  {len(place.models)} models in {place.path}" for place in old),
        *(f"  set by people: {line}" for line in theirs),
    ]


def pending(state: LinuxState) -> bool:
    """Whether the unit, or the drop-in of corral's name, is still somebody else's."""
    return others.has_their_unit(state) or others.has_their_drop_in(state)


def check(state: LinuxState, wanted: Wanted, declared: Mapping[str, str], place_declared: bool) -> None:
    """Refuse a take-over that would lose or override something. Raises CorralError; nothing was changed.

    declared: of the server's environment. place_declared: whether the inventory says where models shall lie.
    """
    if pending(state):
        place = {"OLLAMA_MODELS": wanted.models_dir} if place_declared else {}
        settings.check(settings.read(state), wanted.environment, {**declared, **place})
    for one in state.places.old:
        elsewhere = one.mount != state.places.mount
        if (elsewhere or one.real != one.path) and not place_declared:
            where = one.real if one.real == one.path else f"{one.real} ({one.path} leads there)"
            raise CorralError(
                f"this host's models lie in {where}, on {'another disk than' if elsewhere else 'the same disk as'} "
                f"{wanted.models_dir}",
                f"Declare models_dir: {one.real} to keep them there, or {wanted.models_dir} to have them moved",
            )
        if one.conflicts and others.has_their_unit(state):
            raise CorralError(
                f"{one.path} and {wanted.models_dir} hold different models of the same name",
                f"Remove one of each from {wanted.models_dir}/manifests, or declare another models_dir:",
                "\n".join(one.conflicts),
            )
        if elsewhere and one.missing > state.free_for_models:
            raise CorralError(
                f"models_dir: the disk of {wanted.models_dir} has {decimal(state.free_for_models)} free, the models in "
                f"{one.path} need {decimal(one.missing)}",
                f"Free some space, or declare models_dir: {one.real} to keep them where they are",
            )


def changes(state: LinuxState, wanted: Wanted) -> list[Change]:
    """What must be done so that corral's service has taken the place of the other one, in this order."""
    found = [_bring(state, place, wanted) for place in state.places.old if place.lacking]
    if others.has_their_unit(state) and state.places.other_key:
        found.append(
            Change(
                f"copy the server's key from {state.foreign.home}/.ollama to {layout.HOME}/.ollama",
                Script(
                    "adoption/key.sh",
                    {
                        "FROM": f"{state.foreign.home}/.ollama",
                        "TO": f"{layout.HOME}/.ollama",
                        "OWNER": layout.USER,
                    },
                ),
            )
        )
    found += _kept_settings(state)
    found += systemd.changes(state, wanted)
    if others.has_their_unit(state) and others.has_their_command(state):
        found.append(Change(f"let {layout.COMMAND} lead to {layout.PROGRAM}", releases.switch(wanted.release)))
    return found


def leftovers(state: LinuxState, models_dir: str) -> list[Change]:
    """What remains of the other one once corral's server has been verified: it goes, the models' old place last."""
    taken = [
        one.path
        for one in state.foreign.programs
        if not one.package and one.path in PROGRAMS and one.path != layout.COMMAND
    ]
    paths = [*state.places.links, *taken]
    found = []
    if paths:
        found.append(
            Change(
                f"remove {', '.join(paths)}",
                Script("service/remove.sh", {"PATHS": paths, "EMPTY": [], "LAST": layout.STAMP}),
            )
        )
    found += [
        Change(
            f"free {place.path}, whose models are in {models_dir}",
            Script(
                "adoption/models.sh",
                {"FROM": place.real, "TO": models_dir, "OWNER": layout.USER},
                then=("adoption/free.sh",),
            ),
        )
        for place in _own(state)
    ]
    return found


def _own(state: LinuxState) -> list[Place]:
    """The old places that no other host may use as well, which are freed in the end."""
    return [place for place in state.places.old if place.filesystem not in SHARED]


def _bring(state: LinuxState, place: Place, wanted: Wanted) -> Change:
    if place.mount == state.places.mount:
        how = f"link {len(place.models)} models from {place.path} into {wanted.models_dir}, which takes no space"
    else:
        how = (
            f"copy {len(place.models)} models ({decimal(place.missing)}) from {place.path} into {wanted.models_dir}, "
            "each file checked by its digest"
        )
    return Change(
        how,
        Script("adoption/models.sh", {"FROM": place.real, "TO": wanted.models_dir, "OWNER": layout.USER}),
        ("the old place stays until the new server has been verified",),
    )


def _kept_settings(state: LinuxState) -> list[Change]:
    found = []
    theirs = settings.read(state)
    if theirs.edited:
        text = settings.UNIT_NOTE + unitfile.render(theirs.edited)
        if state.service.drop_ins.get(settings.UNIT_DROP_IN.rpartition("/")[2]) != text:
            found.append(
                Change(
                    f"keep what people have changed in {layout.UNIT} as {settings.UNIT_DROP_IN}",
                    Script("adoption/keep_unit.sh", {"FILE": settings.UNIT_DROP_IN, "UNIT": layout.UNIT, "TEXT": text}),
                )
            )
    if others.has_their_drop_in(state):
        kept = f"{layout.DROP_IN_DIR}/{_free_name(state)}"
        found.append(
            Change(
                f"keep people's {layout.DROP_IN} as {kept}",
                Script("adoption/rename.sh", {"FILE": layout.DROP_IN, "TO": kept}),
            )
        )
    return found


def _free_name(state: LinuxState) -> str:
    name, number = f"{settings.KEPT_NAME}.conf", 1
    while name in state.service.drop_ins:
        number += 1
        name = f"{settings.KEPT_NAME}{number}.conf"
    return name

"""What people have set for install.sh's Ollama: in its unit, in drop-ins, in files that these name.

All of it goes on counting: what they have edited in the unit moves to a drop-in, their drop-ins stay. Where they have
set what corral sets too, the inventory has to say which it shall be: nothing of theirs is overridden in silence.
Drop-ins count in the order of their names, the last one wins (systemd.unit(5)), and EnvironmentFile= wins over
Environment= (systemd.exec(5)).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from corral import layout
from corral.adoption import others, unitfile
from corral.adoption.unitfile import Entry
from corral.environment import PROXY_NAMES, has_password, normalise
from corral.errors import CorralError
from corral.probe.state import LinuxState
from corral.secret import BadValue

#: Before all others, as the unit was that its lines come from.
UNIT_DROP_IN = f"{layout.DROP_IN_DIR}/00-adopted-unit.conf"
#: Just before corral's, where people's file of the same name was among their others.
KEPT_NAME = "override-adopted"
UNIT_NOTE = "# What people had changed in the unit of install.sh, whose place corral's has taken.\n"
#: What install.sh writes into a unit, and its documentation: (section, key), value; see also others.py for ExecStart.
DEFAULTS = {
    Entry("Unit", "Description", "Ollama Service"),
    Entry("Unit", "After", "network-online.target"),
    Entry("Service", "User", "ollama"),
    Entry("Service", "Group", "ollama"),
    Entry("Service", "Restart", "always"),
    Entry("Service", "RestartSec", "3"),
}
#: What corral's unit must decide itself, for what it starts to be its own server.
DECIDED = ("ExecStart", "Type", "User", "Group", "DynamicUser")
SECRET_WORDS = ("KEY", "TOKEN", "PASSWORD", "SECRET")


class Setting(NamedTuple):
    """A variable of the server's as people have set it. place: the file. wins: over what corral's drop-in says."""

    value: str
    place: str
    wins: bool


@dataclass(frozen=True)
class Theirs:
    """edited: lines of the unit beside install.sh's own. drop_ins: of people's, by file name in the order in which they
    count. variables: of the server's environment, as they count in the end."""

    edited: tuple[Entry, ...]
    drop_ins: Mapping[str, tuple[Entry, ...]]
    variables: Mapping[str, Setting]

    def lines(self) -> Iterator[str]:
        """All of it for people's eyes: a line for each place."""
        if self.edited:
            yield f"{layout.UNIT}: {', '.join(map(_shown, self.edited))}"
        for name, entries in self.drop_ins.items():
            yield f"{layout.DROP_IN_DIR}/{name}: {', '.join(map(_shown, entries)) or 'nothing'}"


def read(state: LinuxState) -> Theirs:
    """From the files, and from the environment of the server that runs by them."""
    service = state.service
    edited: tuple[Entry, ...] = ()
    if others.has_their_unit(state):
        entries = [entry for entry in unitfile.parse(service.unit) if entry.section != "Install"]
        edited = tuple(filter(None, map(_beside_defaults, entries)))
    drop_ins = {
        name: tuple(unitfile.parse(text))
        for name, text in sorted(service.drop_ins.items())
        if not text.startswith(layout.MARK)
    }
    variables: dict[str, Setting] = {}
    for place, wins, entries_ in (
        (layout.UNIT, False, edited),
        *((f"{layout.DROP_IN_DIR}/{name}", name > layout.DROP_IN_NAME, entries) for name, entries in drop_ins.items()),
    ):
        for name, value in _environment(entries_):
            variables[name] = Setting(value, place, wins)
    if others.has_their_unit(state):  # what else the running server was given, nobody but a file can have
        files = [e.value for entries_ in (edited, *drop_ins.values()) for e in entries_ if e.key == "EnvironmentFile"]
        for name, value in service.environment.items() if files else ():
            if name not in variables or variables[name].value != value:
                variables[name] = Setting(value, " or ".join(file.lstrip("-") for file in files), True)
    return Theirs(edited, drop_ins, variables)


def check(theirs: Theirs, wanted: Mapping[str, str], declared: Mapping[str, str]) -> None:
    """Refuse to override, or to be overridden by, what people have set. Raises CorralError that names all of it.

    wanted: the environment that the server shall have. declared: of it, what the inventory says.
    """
    problems = [
        f"{layout.DROP_IN_DIR}/{name}: {entry.key}={entry.value}: corral's unit has its own; take that line out"
        for name, entries in theirs.drop_ins.items()
        for entry in entries
        if entry.section == "Service" and (entry.key in DECIDED or (entry.key, entry.value) == ("Environment", ""))
    ]
    problems += [
        f"{layout.UNIT}: {entry.key}={entry.value}: corral's unit has its own; put back what install.sh writes there"
        for entry in theirs.edited
        if entry.key in DECIDED
    ]
    for name, value in wanted.items():
        seen = theirs.variables.get(name)
        if seen is None or same(name, seen.value, value):
            continue
        shown = _value(name, seen.value)
        if seen.wins:
            problems.append(f"{seen.place}: {name}={shown} would win over {value}: take it out there")
        elif name not in declared and name not in PROXY_NAMES:  # proxy and no_proxy are declared, or not wanted
            key = f"models_dir: {shown}" if name == "OLLAMA_MODELS" else f"environment: {{{name}: {shown}}}"
            problems.append(f"{seen.place}: {name}={shown}: declare {key} to keep it, or {value} to have it changed")
    if problems:
        raise CorralError(
            f"people's settings for this host's Ollama and the inventory do not go together ({len(problems)})",
            "Nothing was changed. Decide, and run again:",
            "\n".join(problems),
        )


def same(name: str, one: str, other: str) -> bool:
    """Whether two values mean the same to Ollama."""
    return _meaning(name, one) == _meaning(name, other)


def _meaning(name: str, value: str) -> str:
    if name == "OLLAMA_MODELS":
        return posixpath.normpath(value)
    try:
        return normalise({name: value}).get(name, "")
    except BadValue:
        return value


def _beside_defaults(entry: Entry) -> Entry | None:
    """What people have changed in a line of install.sh's unit; None where it is as install.sh wrote it."""
    if entry in DEFAULTS or (entry.key == "ExecStart" and entry.value in others.starts_of_install_script()):
        return None
    if entry.section == "Service" and entry.key == "Environment" and entry.value:
        # Root's PATH on the day of the installation, which install.sh notes there.
        rest = [(name, value) for name, value in unitfile.assignments(entry.value) if name != "PATH"]
        if not rest:
            return None
    return entry


def _environment(entries: tuple[Entry, ...]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        if (entry.section, entry.key) == ("Service", "Environment"):
            yield from unitfile.assignments(entry.value)


def _shown(entry: Entry) -> str:
    if entry.key == "Environment":
        return " ".join(f"{name}={_value(name, value)}" for name, value in unitfile.assignments(entry.value))
    return f"{entry.key}={entry.value}"


def _value(name: str, value: str) -> str:
    """A value as it may be shown: not where it is a secret."""
    secret = has_password(value) or any(word in name.upper() for word in SECRET_WORDS)
    return "***" if secret else value

"""The machines that a YAML file declares, checked, and handed to pyinfra.

What is wrong with one host spoils that host alone: it is in `Inventory.invalid`, and fails in pyinfra with
the same sentence while the others go on. What is wrong with the file, with what all hosts share, or with
the clients that verification needs, raises CorralError before anything is done.

Precedence, first wins: pyinfra's --data; the YAML's host; its groups, the last one that the host names
first; group_data/GROUP.py; group_data/all.py; the YAML's defaults; the defaults in settings.py. Only
`environment` and `modelfile_variables` are put together from all places in the YAML, variable by variable; null takes
one away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from corral import yamlfile
from corral.connection import Connection, Data
from corral.errors import CorralError
from corral.secret import Sources, readable_by_others
from corral.settings import INVENTORY_KEY, Problem, Settings, problems, unknown_key

#: Host data that holds the sentence with which a host fails.
PROBLEM_KEY = "corral_problem"
DEFAULT_FILE = Path("inventory/hosts.yml")
EXAMPLE_FILE = Path("inventory/example.yml")
VARIABLE = "CORRAL_INVENTORY"

#: A group as pyinfra takes it: hosts, and data that they share.
Group = tuple[list[tuple[str, Data]], Data] | list[str]

_TOP_LEVEL = ("defaults", "groups", "hosts", "clients")
_RESERVED_GROUPS = ("all", "inventory", "hosts", "clients")


@dataclass(frozen=True)
class Host:
    """A machine to manage.

    connection, settings: the YAML's defaults, groups and host put together.
    own_data: pyinfra host data for what the host and its groups declare, without the defaults.
    line: where the file declares it.
    """

    name: str
    groups: tuple[str, ...]
    connection: Connection
    settings: Settings
    own_data: Data
    line: int


@dataclass(frozen=True)
class Client:
    """A machine that verification looks from; it is not managed.

    expect: whether the port must be reachable from here.
    login: how to reach it.
    line: where the file declares it.
    """

    name: str
    expect: Literal["reachable", "refused"]
    login: Connection
    line: int

    def connection(self) -> Data:
        """pyinfra host data that reach it."""
        return {"ssh_hostname": self.name, **self.login.data()}


@dataclass(frozen=True)
class Inventory:
    """What a file declares.

    path: the file, absolute.
    default_data: pyinfra host data that all hosts share, with lower rank than group_data/*.py.
    hosts: by name, in the file's order, without the invalid ones.
    invalid: name to what is wrong with it, a line per problem: file, line, key, problem, remedy.
    invalid_groups: the groups of the invalid ones, as far as they can be told.
    """

    path: Path
    default_data: Data
    hosts: Mapping[str, Host]
    clients: Mapping[str, Client]
    invalid: Mapping[str, str]
    invalid_groups: Mapping[str, tuple[str, ...]]


def find(environ: Mapping[str, str], project: Path) -> Path:
    """The inventory to use: the one that CORRAL_INVENTORY names, else the project's inventory/hosts.yml.

    A relative path starts from the current directory, or from the project's where nothing is there.
    """
    named = environ.get(VARIABLE)
    if not named:
        return project / DEFAULT_FILE
    path = Path(named).expanduser()
    return path if path.exists() else project / path


def load(path: Path, environ: Mapping[str, str]) -> Inventory:
    """Read and check an inventory.

    environ: what {env: NAME} is looked up in. Raises CorralError for what concerns more than one host:
    a file that is missing or no YAML, an unknown top-level key, bad defaults, a bad client.
    """
    return _Loading(path, environ).inventory()


def to_pyinfra(inventory: Inventory) -> dict[str, Group]:
    """The groups that an inventory file gives pyinfra: `all`, with data, and one per group that hosts name.

    Settings are flat under their names and of plain types, connection keys are pyinfra's, secrets show in
    no listing. A host that is invalid is there too, and fails at once with its message.
    """
    shared = {INVENTORY_KEY: str(inventory.path)}
    hosts = [(_connected(host), {**host.own_data, **shared}) for host in inventory.hosts.values()]
    hosts += [(_invalid(name), {PROBLEM_KEY: text, **shared}) for name, text in inventory.invalid.items()]
    groups: dict[str, Group] = {"all": (hosts, dict(inventory.default_data))}
    members: dict[str, list[str]] = {}
    for host in inventory.hosts.values():
        for group in host.groups:
            members.setdefault(group, []).append(_connected(host))
    for name, names in inventory.invalid_groups.items():
        for group in names:
            members.setdefault(group, []).append(_invalid(name))
    return {**members, **groups}


def _connected(host: Host) -> str:
    """As pyinfra names a host of corral.connectors.ssh or, for Windows, of corral.connectors.windows."""
    return f"@{'windows' if host.connection.os == 'windows' else 'corral'}/{host.name}"


def _invalid(name: str) -> str:
    """As pyinfra names a host of corral.connectors.invalid."""
    return f"@invalid/{name}"


_CONNECTION_KEYS = frozenset(Connection.model_fields)
_SETTING_KEYS = frozenset(Settings.model_fields)
_MERGED = ("environment", "modelfile_variables")
_SHARED_KEYS = (_CONNECTION_KEYS | _SETTING_KEYS) - {"address"}
_HOST_KEYS = _CONNECTION_KEYS | _SETTING_KEYS | {"groups"}
_CLIENT_KEYS = _CONNECTION_KEYS | {"expect"}
_SUDO_KEYS = frozenset({"sudo", "sudo_password"})

_YamlPath = tuple[str | int, ...]


@dataclass(frozen=True)
class _Layer:
    """The keys that one place in the file declares, the path of that place, and what is wrong with its keys."""

    path: _YamlPath
    values: Mapping[str, object]
    found: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Merged:
    """Layers put together. origins: where each key, or each variable of a mapping that is merged, comes from."""

    values: dict[str, Any]
    origins: Mapping[_YamlPath, _YamlPath]

    def place(self, path: _YamlPath) -> _YamlPath:
        """The path in the file of a path in the values."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return (*self.origins[path[:length]], *path[length:])
        return path


def _merge(*layers: _Layer) -> _Merged:
    """Later layers win; _MERGED are merged by variable. A connection key without a value says nothing."""
    values: dict[str, Any] = {}
    origins: dict[_YamlPath, _YamlPath] = {}
    for layer in layers:
        for key, value in layer.values.items():
            if value is None and key in _CONNECTION_KEYS:
                continue
            origins[(key,)] = (*layer.path, key)
            if key in _MERGED and isinstance(value, Mapping):
                origins.update({(key, name): (*layer.path, key, name) for name in value})
                earlier = values.get(key)
                value = {**earlier, **value} if isinstance(earlier, Mapping) else value
            values[key] = value
    return _Merged(values, origins)


class _Invalid(Exception):
    """What is wrong with one place of the file."""

    def __init__(self, found: list[Problem]) -> None:
        self.found = found
        super().__init__()


class _Loading:
    """One reading of one file."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path.absolute()
        self._shown = _shown(path)
        text = self._read()
        try:
            self._document = yamlfile.parse(text)
        except yamlfile.YamlError as error:
            raise CorralError(f"{self._shown}:{error.line}: {error.problem}", error.remedy) from None
        shared_file = self._path if readable_by_others(self._path) else None
        self._sources = Sources(self._path.parent, environ, shared_file)

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise CorralError(
                f"{self._shown} is missing",
                f"Copy {EXAMPLE_FILE} to it and name your machines, or name another in {VARIABLE}",
            ) from None
        except UnicodeDecodeError:
            raise CorralError(f"{self._shown} is not UTF-8 text", "Save it as UTF-8") from None
        except OSError as error:
            raise CorralError(
                f"{self._shown} cannot be read: {error.strerror}", "Name a YAML file that you can read"
            ) from None

    def inventory(self) -> Inventory:
        top = self._top_level()
        self._defaults = self._defaults_layer(top.get("defaults"))
        self._groups = self._group_layers(top.get("groups"))
        declared = self._section(("hosts",), top.get("hosts"))
        if not declared:
            raise self._error([Problem(("hosts",), "no host is declared", "Name at least one machine")])
        clients_declared = self._section(("clients",), top.get("clients"))
        self._refuse_names_in_both(declared, clients_declared)
        hosts, invalid, invalid_groups = {}, {}, {}
        for name, value in declared.items():
            try:
                hosts[name] = self._host(name, value)
            except _Invalid as error:
                invalid[name] = self._text(error.found)
                invalid_groups[name] = _named_groups(value)
        self._refuse_unused_groups(declared)
        for name, problem in self._same_machines(hosts):
            invalid[name] = self._text([problem])
            invalid_groups[name] = hosts.pop(name).groups
        try:
            clients = {name: self._client(name, value) for name, value in clients_declared.items()}
        except _Invalid as error:
            raise self._error(error.found) from None
        default_data = _data(self._check(self._defaults), frozenset(self._defaults.values))
        return Inventory(self._path, default_data, hosts, clients, invalid, invalid_groups)

    # --- the file as a whole ---------------------------------------------------------------------

    def _top_level(self) -> dict[str, object]:
        value = self._document.value
        if value is None:
            raise self._error([Problem((), "the file is empty", f"Begin with {EXAMPLE_FILE}")])
        if not isinstance(value, dict):
            raise self._error([Problem((), "must be a mapping", f"Begin with hosts:, as {EXAMPLE_FILE} does")])
        for key in value:
            if key not in _TOP_LEVEL:
                raise self._error([Problem((key,), *unknown_key(key, _TOP_LEVEL))])
        for duplicate in self._document.duplicates:
            # A host that is here twice, or a key inside one, is that host's own affair.
            if len(duplicate.path) < 2 or duplicate.path[0] != "hosts":
                raise self._error([_twice(duplicate)])
        return value

    def _section(self, path: _YamlPath, value: object) -> dict[str, object]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._error([Problem(path, "must map names to what they are", "Write name: and keys below it")])
        for name in value:
            if not re.fullmatch(r"\w[\w.-]*", name):
                raise self._error(
                    [Problem((*path, name), "this name will not do", "Use letters, digits, dots, - and _")]
                )
        return value

    def _defaults_layer(self, value: object) -> _Layer:
        try:
            layer = self._layer(("defaults",), value, _SHARED_KEYS)
            self._check(layer)
        except _Invalid as error:
            raise self._error(error.found) from None
        return layer

    def _group_layers(self, value: object) -> dict[str, object]:
        groups = self._section(("groups",), value)
        for name in groups:
            if not _may_be_a_group(name):
                raise self._error(
                    [Problem(("groups", name), "this name has a meaning of its own", "Choose another one")]
                )
        return groups

    def _refuse_names_in_both(self, hosts: Mapping[str, object], clients: Mapping[str, object]) -> None:
        for name in clients:
            if name in hosts:
                first = self._document.line(("hosts", name))
                raise self._error(
                    [Problem(("clients", name), f"is a host on line {first} already", "Give it another name")]
                )

    def _refuse_unused_groups(self, hosts: Mapping[str, object]) -> None:
        """Check what no host's check has seen."""
        used = {group for value in hosts.values() for group in _named_groups(value)}
        for name in self._groups:
            if name not in used:
                try:
                    self._check(self._defaults, self._group_layer(name))
                except _Invalid as error:
                    raise self._error(error.found) from None

    def _same_machines(self, hosts: Mapping[str, Host]) -> list[tuple[str, Problem]]:
        """Hosts that are one machine under several names: which of the declarations counts, nobody can tell."""
        machines: dict[tuple[str, int], list[Host]] = {}
        for host in hosts.values():
            address = (host.connection.address or host.name).lower()
            machines.setdefault((address, host.connection.ssh_port or 22), []).append(host)
        found = []
        for (address, port), same in machines.items():
            for host in same if len(same) > 1 else ():
                others = " and ".join(f"{other.name} on line {other.line}" for other in same if other is not host)
                problem = f"is the same machine as {others}: {address}, ssh port {port}"
                remedy = "Declare it once, or correct the address"
                found.append((host.name, Problem(("hosts", host.name), problem, remedy)))
        return found

    # --- one host --------------------------------------------------------------------------------

    def _host(self, name: str, value: object) -> Host:
        path: _YamlPath = ("hosts", name)
        own = self._layer(path, value, _HOST_KEYS)
        groups = self._groups_of(own)
        layers = [self._group_layer(group) for group in groups]
        keys = {key: given for key, given in own.values.items() if key != "groups"}
        merged = self._check(self._defaults, *layers, _Layer(path, keys, own.found))
        connection, settings = merged
        on_windows = connection.os == "windows"
        if on_windows and own.values.get("sudo"):
            remedy = "Log in as an administrator, and take sudo out"
            raise _Invalid([Problem((*path, "sudo"), "there is no sudo on Windows", remedy)])
        try:
            settings.on(connection.os)
        except CorralError as error:
            key, _, problem = error.problem.partition(": ")
            raise _Invalid([Problem((*path, key), problem, error.remedy)]) from None
        declared = frozenset(keys).union(*(layer.values for layer in layers))
        return Host(
            name=name,
            groups=groups,
            connection=connection,
            settings=settings,
            own_data={
                "ssh_hostname": name,
                **_data(merged, declared),
                # What the defaults say of sudo is for the others.
                **({"_sudo": False} if on_windows else {}),
            },
            line=self._document.line(path),
        )

    def _client(self, name: str, value: object) -> Client:
        path: _YamlPath = ("clients", name)
        own = self._layer(path, value, _CLIENT_KEYS)
        expect = own.values.get("expect", "reachable")
        if expect not in ("reachable", "refused"):
            raise _Invalid([Problem((*path, "expect"), f"{expect} is no outcome", "Write reachable or refused")])
        # Of the defaults, only how to log in: nothing is done there that needs root.
        login = _CONNECTION_KEYS - _SUDO_KEYS
        shared = {key: given for key, given in self._defaults.values.items() if key in login}
        keys = {key: given for key, given in own.values.items() if key != "expect"}
        connection, _ = self._check(_Layer(self._defaults.path, shared), _Layer(path, keys, own.found))
        return Client(
            name=name,
            expect="refused" if expect == "refused" else "reachable",
            login=connection,
            line=self._document.line(path),
        )

    def _groups_of(self, own: _Layer) -> tuple[str, ...]:
        value = own.values.get("groups") or []
        path = (*own.path, "groups")
        if not isinstance(value, list):
            raise _Invalid([Problem(path, "must be a list of names", "Write groups: [one, another]")])
        for group in value:
            if not _may_be_a_group(group):
                raise _Invalid([Problem(path, f"{group} cannot be a group's name", "Choose another one")])
        return tuple(dict.fromkeys(value))

    def _group_layer(self, name: str) -> _Layer:
        return self._layer(("groups", name), self._groups.get(name), _SHARED_KEYS)

    def _layer(self, path: _YamlPath, value: object, known: frozenset[str]) -> _Layer:
        """The keys at a place that are known there, and problems for the others. Raises _Invalid."""
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise _Invalid([Problem(path, "must be a mapping", "Write key: value, one per line, or nothing")])
        found = [Problem((*path, key), *_unknown(key, known)) for key in value if key not in known]
        found += [_twice(item) for item in self._document.duplicates if item.path[: len(path)] == path]
        return _Layer(path, {key: given for key, given in value.items() if key in known}, tuple(found))

    def _check(self, *layers: _Layer) -> tuple[Connection, Settings]:
        """Layers put together and validated; all problems at once, each with its place in the file."""
        merged = _merge(*layers)
        found = [problem for layer in layers for problem in layer.found]
        results: list[Any] = []
        for model, keys in ((Connection, _CONNECTION_KEYS), (Settings, _SETTING_KEYS)):
            values = {key: value for key, value in merged.values.items() if key in keys}
            try:
                results.append(model.model_validate(values, context=self._sources))
            except ValidationError as error:
                found += [
                    Problem(merged.place(item.path), item.problem, item.remedy) for item in problems(error, model)
                ]
        if found:
            raise _Invalid(found)
        return results[0], results[1]

    # --- messages --------------------------------------------------------------------------------

    def _lines(self, found: list[Problem]) -> Iterator[str]:
        for problem in found:
            yield problem.text(f"{self._shown}:{self._document.line(problem.path)}: ")

    def _text(self, found: list[Problem]) -> str:
        return "\n".join(self._lines(found))

    def _error(self, found: list[Problem]) -> CorralError:
        return CorralError(self._text(found))


def _may_be_a_group(name: object) -> bool:
    """Whether pyinfra would take it for a group, and nothing else has the name already."""
    return isinstance(name, str) and bool(re.fullmatch(r"[^\W_][\w.-]*", name)) and name not in _RESERVED_GROUPS


def _named_groups(host: object) -> tuple[str, ...]:
    """The groups of a host as declared, whatever else may be wrong with it."""
    groups = host.get("groups") if isinstance(host, dict) else None
    return tuple(filter(_may_be_a_group, groups)) if isinstance(groups, list) else ()


def _data(checked: tuple[Connection, Settings], declared: frozenset[str]) -> Data:
    """pyinfra host data for the declared keys, of plain types but for secrets."""
    connection, settings = checked
    data = Connection.model_construct(**{key: getattr(connection, key) for key in declared & _CONNECTION_KEYS})
    values = settings.model_dump(include=set(declared & _SETTING_KEYS), by_alias=True)
    return {**data.data(), **{key: _plain(value) for key, value in values.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _twice(duplicate: yamlfile.Duplicate) -> Problem:
    first, second = duplicate.lines
    return Problem(duplicate.path, f"is here twice, on lines {first} and {second}", "Keep one of them")


def _unknown(key: str, known: frozenset[str]) -> tuple[str, str]:
    if key in _HOST_KEYS | _CLIENT_KEYS:
        return "does not belong here", "It is for a host, a client or the defaults: see " + str(EXAMPLE_FILE)
    return unknown_key(key, known)


def _shown(path: Path) -> str:
    """The path as people will recognise it: from the current directory where it is below."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)

"""YAML with the line of every key, so that an error can say where.

Plain values are read as YAML 1.1 has them (on, off, yes and no are booleans), except that only decimal
numbers are numbers and a date is text: 022 and 12:30 would otherwise arrive as 18 and 750.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from corral.secret import BadValue

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Duplicate:
    """A key that a mapping holds twice. lines: of the first and of the second, from 1."""

    path: Path
    lines: tuple[int, int]


@dataclass(frozen=True)
class Document:
    """A YAML file's content.

    value: dicts with text keys (always as written: `1070:` is "1070"), lists and scalars.
    lines: from 1; by path from the outside in, for every key and list entry. The whole is at ().
    duplicates: keys that a mapping holds twice; the value is the second one's.
    """

    value: object
    lines: Mapping[Path, int]
    duplicates: tuple[Duplicate, ...]

    def line(self, path: Path) -> int:
        """The line of the path, or of the nearest thing around it that the file holds."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


class YamlError(BadValue):
    """The file is no YAML that can be used. line: from 1."""

    def __init__(self, line: int, problem: str, remedy: str) -> None:
        self.line = line
        super().__init__(problem, remedy)


class _Loader(yaml.SafeLoader):
    """Composes nodes; see the module's docstring for what plain values mean."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and type
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def parse(text: str) -> Document:
    """Read one YAML document. Raises YamlError with the line."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        reader = _Reader(loader)
        value = None if node is None else reader.read(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise YamlError(line, f"not YAML: {error.problem or error.context}", _remedy(text, line)) from None
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise YamlError(1, f"not YAML: {reason}", "Save it as UTF-8 text") from None
    finally:
        loader.dispose()
    return Document(value, {(): 1, **reader.lines}, tuple(reader.duplicates))


def _remedy(text: str, line: int) -> str:
    lines = text.splitlines()
    if line <= len(lines) and "\t" in lines[line - 1]:
        return "Indent with spaces; YAML takes no tabs"
    return "Look at this line and the one before: indentation, a colon and a blank after each key, quotes closed"


class _Reader:
    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._inside: list[yaml.Node] = []
        self.lines: dict[Path, int] = {}
        self.duplicates: list[Duplicate] = []

    def read(self, node: yaml.Node, path: Path) -> object:
        if node in self._inside:
            raise YamlError(_line(node), "an alias (*name) leads back to itself", "Write the value out")
        self._inside.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, path)
            return self._scalar(node)
        finally:
            self._inside.pop()

    def _scalar(self, node: yaml.Node) -> object:
        try:
            return self._loader.construct_object(node)
        except yaml.constructor.ConstructorError:
            raise YamlError(_line(node), f"the tag {node.tag} is not known here", "Leave it out") from None

    def _sequence(self, node: yaml.SequenceNode, path: Path) -> list[object]:
        values = []
        for position, item in enumerate(node.value):
            self.lines[(*path, position)] = _line(item)
            values.append(self.read(item, (*path, position)))
        return values

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        merged: dict[str, object] = {}
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged.update(self._merged(value_node, path))
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(_line(key_node), "a key must be one word", "Write key: value")
            key = str(key_node.value)
            at = (*path, key)
            if key in values:
                self.duplicates.append(Duplicate(at, (self.lines[at], _line(key_node))))
            self.lines[at] = _line(key_node)
            values[key] = self.read(value_node, at)
        return {**merged, **values}

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, object]:
        """What `<<: *name` or `<<: [*one, *other]` brings in; the first of several wins."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, object] = {}
        for item in reversed(nodes):
            value = self.read(item, path)
            if not isinstance(value, dict):
                raise YamlError(_line(item), "<<: takes a mapping only", "Name an anchor of a mapping: <<: *name")
            merged.update(value)
        return merged


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1

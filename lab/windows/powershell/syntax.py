"""The syntax tree of a script."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from .errors import Position


class Source:
    """A script's text and where its lines begin. `file` is the full path of a .ps1 file, or empty."""

    def __init__(self, text: str, file: str = "") -> None:
        self.text = text
        self.file = file
        self._lines = [0]
        at = text.find("\n")
        while at >= 0:
            self._lines.append(at + 1)
            at = text.find("\n", at + 1)

    def position(self, start: int, end: int) -> Position:
        """Line and column of an offset."""
        line = bisect_right(self._lines, start) - 1
        begin = self._lines[line]
        stop = self.text.find("\n", begin)
        source_line = self.text[begin : stop if stop >= 0 else None].rstrip("\r")
        return Position(line + 1, start - begin + 1, self.text[start:end], source_line, self.file)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A part of a script, from offset `start` to `stop` of `source`."""

    source: Source = field(repr=False)
    start: int = field(repr=False)
    stop: int = field(repr=False)

    @property
    def text(self) -> str:
        """The part as it was written."""
        return self.source.text[self.start : self.stop]

    @property
    def position(self) -> Position:
        """Where it stands."""
        return self.source.position(self.start, self.stop)


class Expression(Node):
    """What has a value."""

    __slots__ = ()


class Statement(Node):
    """What puts out any number of objects."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Expression):
    """A number or text. `bare`: a word without quotes in a command."""

    value: object
    bare: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ExpandableString(Expression):
    """Text with variables and subexpressions."""

    parts: tuple[str | Expression, ...]
    bare: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Variable(Expression):
    """$name, $qualifier:name. The qualifier is a scope (global, script, local, private, using) or a drive (env)."""

    name: str
    qualifier: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Splat(Expression):
    """@name among a command's arguments."""

    variable: Variable


@dataclass(frozen=True, slots=True, eq=False)
class ArrayLiteral(Expression):
    """a, b, c"""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ArrayExpression(Expression):
    """@( ... )"""

    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SubExpression(Expression):
    """$( ... )"""

    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Parenthesized(Expression):
    """( ... )"""

    body: Statement


@dataclass(frozen=True, slots=True, eq=False)
class HashLiteral(Expression):
    """@{ ... }"""

    entries: tuple[tuple[Expression, Statement], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ScriptBlockExpression(Expression):
    """{ ... }"""

    block: Block


@dataclass(frozen=True, slots=True, eq=False)
class TypeLiteral(Expression):
    """[name]"""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Expression):
    """[name] operand"""

    name: str
    operand: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Expression):
    """An operator before its operand, in lower case: - + ! -not -bnot -split -join ,"""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expression):
    """An operator between two operands, in lower case."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Increment(Expression):
    """++ or --, before or behind."""

    operator: str
    target: Expression
    prefix: bool


@dataclass(frozen=True, slots=True, eq=False)
class Member(Expression):
    """target.name, target::name"""

    target: Expression
    name: Expression
    static: bool


@dataclass(frozen=True, slots=True, eq=False)
class Invocation(Expression):
    """target.name(arguments), target::name(arguments)"""

    target: Expression
    name: Expression
    arguments: tuple[Expression, ...]
    static: bool


@dataclass(frozen=True, slots=True, eq=False)
class Index(Expression):
    """target[index]"""

    target: Expression
    index: Expression


@dataclass(frozen=True, slots=True, eq=False)
class CommandParameter(Node):
    """-name, -name:argument. `text` of it goes to an executable as it is."""

    name: str
    argument: Expression | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Redirection(Node):
    """`stream` ("1" to "6", "*") into another stream (`merge`), or into a file."""

    stream: str
    merge: str = ""
    file: Expression | None = None
    append: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Command(Node):
    """One command of a pipeline; `operator` is "", "&" or "."."""

    operator: str
    name: Expression
    elements: tuple[Expression | CommandParameter, ...]
    redirections: tuple[Redirection, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CommandExpression(Node):
    """An expression as the first element of a pipeline."""

    expression: Expression
    redirections: tuple[Redirection, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline(Statement):
    """a | b | c"""

    elements: tuple[Command | CommandExpression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Assignment(Statement):
    """target = statement; the operator is = += -= *= /= %="""

    target: Expression
    operator: str
    value: Statement


@dataclass(frozen=True, slots=True, eq=False)
class If(Statement):
    """Conditions with their blocks, and what else."""

    clauses: tuple[tuple[Statement, tuple[Statement, ...]], ...]
    otherwise: tuple[Statement, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class While(Statement):
    """while; do ... while and do ... until with `last`."""

    label: str
    condition: Statement
    body: tuple[Statement, ...]
    last: bool = False
    until: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class For(Statement):
    """for (first; condition; after)"""

    label: str
    first: Statement | None
    condition: Statement | None
    after: Statement | None
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ForEach(Statement):
    """foreach (variable in items)"""

    label: str
    variable: Variable
    items: Statement
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Switch(Statement):
    """`mode` is "", "regex", "wildcard" or "exact"."""

    label: str
    mode: str
    case_sensitive: bool
    value: Statement
    clauses: tuple[tuple[Expression, tuple[Statement, ...]], ...]
    default: tuple[Statement, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Try(Statement):
    """Each catch: the names of its types, none for all."""

    body: tuple[Statement, ...]
    catches: tuple[tuple[tuple[str, ...], tuple[Statement, ...]], ...]
    last: tuple[Statement, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Trap(Statement):
    """trap [type] { ... }"""

    type_name: str
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Flow(Statement):
    """return, throw, exit with an optional value; break, continue with an optional label."""

    keyword: str
    value: Statement | None = None
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FunctionDefinition(Statement):
    """function and filter (whose body is its process block)."""

    name: str
    block: Block


@dataclass(frozen=True, slots=True, eq=False)
class Attribute(Node):
    """[name(positional, key = value)]"""

    name: str
    positional: tuple[Expression, ...]
    named: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ScriptParameter(Node):
    """A parameter of param( ) or of a function."""

    name: str
    attributes: tuple[Attribute, ...]
    type_name: str
    default: Expression | None


@dataclass(frozen=True, slots=True, eq=False)
class Block(Node):
    """A script, function or script block. Without named blocks everything is in `end`."""

    attributes: tuple[Attribute, ...]
    parameters: tuple[ScriptParameter, ...]
    begin: tuple[Statement, ...] | None
    process: tuple[Statement, ...] | None
    end: tuple[Statement, ...] | None

    @property
    def advanced(self) -> bool:
        """Whether it binds parameters as a cmdlet does: it has [CmdletBinding()] or a [Parameter()]."""
        return any(a.name.lower() == "cmdletbinding" for a in self.attributes) or any(
            a.name.lower() == "parameter" for p in self.parameters for a in p.attributes
        )

"""Reads the text of a script into a syntax tree (about_Parsing, about_Quoting_Rules, about_Operator_Precedence).

Written for PowerShell's two modes: an expression follows its own grammar, the words after a command's name are
arguments. What is valid PowerShell and not modelled is refused; what is not valid is a ParseException.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import NoReturn, TypeVar

from . import syntax as s
from .errors import NetException, PowerShellError, Refusal
from .numbers import MULTIPLIERS
from .values import INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, Int64

N = TypeVar("N", bound=s.Node)
T = TypeVar("T")

SINGLE = "'\u2018\u2019\u201a\u201b"
DOUBLE = '"\u201c\u201d\u201e'
DASH = "-\u2013\u2014\u2015"

_SPACE = re.compile(r"(?:[ \t\f\v\xa0\x85]+|`\r?\n|<\#.*?\#>|\#[^\n]*?(?=\r?\n|\Z))+", re.S)
_SPACE_LINES = re.compile(r"(?:[ \t\f\v\xa0\x85\r\n]+|`\r?\n|<\#.*?\#>|\#[^\n]*)+", re.S)
_SEPARATORS = re.compile(r"(?:[ \t\f\v\xa0\x85\r\n;]+|`\r?\n|<\#.*?\#>|\#[^\n]*)+", re.S)
_VARIABLE = re.compile(r"\$(?:(?P<special>[$?^])|\{(?P<braced>(?:[^`{}]|`.)+)\}|(?P<name>(?:\w+:(?=[\w?]))?[\w?]+))")
_SPLAT = re.compile(r"@(?P<name>(?:\w+:(?=\w))?\w+)")
_NUMBER = re.compile(
    r"(?P<hex>0x[0-9a-f]+)(?P<hexsuffix>l?)(?P<hexmultiplier>[kmgtp]b)?"
    r"|(?P<digits>(?:\d+\.\d+|\d+\.(?!\.)|\.\d+|\d+)(?:e[+-]?\d+)?)(?P<suffix>[ld]?)(?P<multiplier>[kmgtp]b)?",
    re.I,
)
_WORD = re.compile(r"[A-Za-z_][\w]*")
_TYPE_NAME = re.compile(r"[A-Za-z_][\w.+]*(?:`\d+)?")
_ATTRIBUTE = re.compile(r"\[\s*[\w.]+\s*\(")
_OPERATOR = re.compile(
    rf"[{DASH}](?P<name>and|or|xor|band|bor|bxor|shl|shr|isnot|is|as|f|join|[ci]?(?:eq|ne|gt|ge|lt|le|like|notlike|match|"
    r"notmatch|contains|notcontains|in|notin|replace|split))(?![\w])",
    re.I,
)
_UNARY = re.compile(rf"[{DASH}](?P<name>not|bnot|join|[ci]?split)(?![\w])", re.I)
_ASSIGN = re.compile(r"=(?!=)|[-+*/%]=")
_REDIRECTION = re.compile(r"(?P<from>[1-6*]?)>(?:&(?P<to>[0-9])|(?P<append>>?))")
_MEMBER_NAME = re.compile(r"[A-Za-z_]\w*")
_BARE_END = " \t\f\v\xa0\x85\r\n{}();,|&\0"
_PARAMETER = re.compile(rf"[{DASH}](?P<name>[A-Za-z_?][^\s{{}}();,|&.\[:{SINGLE}{DOUBLE}]*)(?P<colon>:?)")
_ESCAPES = {"0": "\0", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PRECEDENCE: dict[str, int] = {
    **dict.fromkeys(("and", "or", "xor"), 1),
    **dict.fromkeys(("band", "bor", "bxor", "shl", "shr"), 2),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
    "f": 6,
    "..": 7,
}
_COMPARISON = 3
_REFUSED_KEYWORDS = {
    "class", "configuration", "data", "define", "dynamicparam", "enum", "from", "inlinescript", "parallel", "sequence",
    "using", "var", "workflow",
}  # fmt: skip
_SCRIPT_ATTRIBUTES = {"cmdletbinding", "outputtype", "diagnostics.codeanalysis.suppressmessageattribute"}
_PARAMETER_ATTRIBUTES = {
    "parameter", "alias", "allownull", "allowemptystring", "allowemptycollection", "validatenotnull",
    "validatenotnullorempty", "validateset", "validaterange", "validatepattern", "validatelength", "validatecount",
    "validatescript",
}  # fmt: skip


@lru_cache(maxsize=64)
def parse(text: str, file: str = "") -> s.Block:
    """The script's tree. Raises PowerShellError (a ParseException) or Refusal."""
    parser = _Parser(s.Source(text, file))
    return parser.script()


class _Parser:
    def __init__(self, source: s.Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 0
        self.commas = True

    # --- characters ---------------------------------------------------------------------------------------------

    def peek(self, offset: int = 0) -> str:
        at = self.at + offset
        return self.text[at] if at < len(self.text) else "\0"

    def starts(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        if found:
            self.at = found.end()

    def lines(self) -> None:
        found = _SPACE_LINES.match(self.text, self.at)
        if found:
            self.at = found.end()

    def separators(self) -> None:
        found = _SEPARATORS.match(self.text, self.at)
        if found:
            self.at = found.end()

    def expect(self, token: str, after: str) -> None:
        if not self.starts(token):
            self.fail(f"Missing '{token}' {after}.", "MissingToken")
        self.at += len(token)

    def word(self) -> str:
        """The word here, in lower case, without moving."""
        found = _WORD.match(self.text, self.at)
        return found.group().lower() if found else ""

    def keyword(self) -> str:
        """As word, but only where the word stands alone: `if-x` is a command's name."""
        found = _WORD.match(self.text, self.at)
        if not found:
            return ""
        after = self.text[found.end() : found.end() + 1]
        return found.group().lower() if not after or after in " \t\r\n({};#$[\"'@&|),<" else ""

    def take_keyword(self, *words: str) -> str:
        found = self.keyword()
        if found in words:
            self.at += len(found)
            return found
        return ""

    def fail(self, message: str, error_id: str = "UnexpectedToken", at: int | None = None) -> NoReturn:
        start = self.at if at is None else at
        position = self.source.position(min(start, len(self.text)), min(start + 1, len(self.text)))
        full = f"At line:{position.line} char:{position.column}\r\n+ {position.source_line}\r\n{message}"
        error = PowerShellError(
            full,
            error_id,
            "ParserError",
            exception=NetException("System.Management.Automation.ParseException", full),
        )
        error.record.position = position
        raise error

    def refuse(self, what: str, at: int | None = None) -> NoReturn:
        position = self.source.position(self.at if at is None else at, self.at)
        raise Refusal("UnknownSyntax", f"{what}, line {position.line}: {position.source_line.strip()}")

    # --- scripts and blocks -------------------------------------------------------------------------------------

    def script(self) -> s.Block:
        for found in re.finditer(r"^[ \t]*#requires\b(.*)$", self.text, re.I | re.M):
            if not re.fullmatch(r"\s+-Version\s+[\d.]+\s*", found.group(1), re.I):
                raise Refusal("UnknownSyntax", found.group().strip())
        block = self.block_body("\0", ())
        if self.at < len(self.text):
            self.fail(f"Unexpected token '{self.peek()}' in expression or statement.")
        return block

    def block_body(self, close: str, parameters: tuple[s.ScriptParameter, ...], *, is_filter: bool = False) -> s.Block:
        """What stands between braces, or the whole script; stops before `close`."""
        start = self.at
        attributes: tuple[s.Attribute, ...] = ()
        self.separators()
        found = self.attributes_before_param()
        if found is not None:
            attributes = found
            if parameters:
                self.refuse("parameters in parentheses and in param()")
            parameters = self.param_block()
        else:
            self.at = start
        named: dict[str, tuple[s.Statement, ...]] = {}
        self.separators()
        while self.keyword() in ("begin", "process", "end") and self.block_follows():
            name = self.take_keyword("begin", "process", "end")
            self.lines()
            if name in named:
                self.fail(f"Script command clause '{name}' has already been defined.", "DuplicateScriptCommandClause")
            named[name] = self.braces()
            self.separators()
        if named:
            if not self.starts(close) and not (close == "\0" and self.at >= len(self.text)):
                self.fail(
                    "unexpected token, expected 'begin', 'process', 'end', or 'dynamicparam'.", "MissingNamedBlocks"
                )
            return self.made(
                s.Block, start, attributes, parameters, named.get("begin"), named.get("process"), named.get("end")
            )
        statements = self.statements(close)
        if is_filter:
            return self.made(s.Block, start, attributes, parameters, None, statements, None)
        return self.made(s.Block, start, attributes, parameters, None, None, statements)

    def block_follows(self) -> bool:
        before = self.at
        self.at += len(self.word())
        self.lines()
        follows = self.starts("{")
        self.at = before
        return follows

    def made(self, kind: Callable[..., N], start: int, *rest: object) -> N:
        return kind(self.source, start, self.at, *rest)

    def braces(self) -> tuple[s.Statement, ...]:
        """{ statements }"""
        self.lines()
        self.expect("{", "in statement block")
        body = self.nested(lambda: self.statements("}"))
        self.expect("}", "in statement block")
        return body

    def nested(self, read: Callable[[], T], *, commas: bool = True) -> T:
        """Reads what stands in brackets of its own, where commas have their usual meaning: they make arrays. Without
        `commas` they separate what is read, as a call's arguments."""
        before, self.commas = self.commas, commas
        try:
            return read()
        finally:
            self.commas = before

    def statements(self, close: str) -> tuple[s.Statement, ...]:
        found: list[s.Statement] = []
        self.separators()
        while self.at < len(self.text) and not self.starts(close):
            statement = self.statement()
            found.append(statement)
            self.space()
            ended = self.at >= len(self.text) or self.peek() in "\r\n;" or self.starts(close)
            if not ended and isinstance(statement, s.Pipeline | s.Assignment | s.Flow):
                self.fail(f"Unexpected token '{self.rest_of_token()}' in expression or statement.")
            self.separators()
        return tuple(found)

    def rest_of_token(self) -> str:
        found = re.compile(r"[^\s;]+").match(self.text, self.at)
        return found.group() if found else ""

    # --- param() and attributes ---------------------------------------------------------------------------------

    def attributes_before_param(self) -> tuple[s.Attribute, ...] | None:
        """The attributes of a param() block, with the position behind the word param; None where there is none."""
        before = self.at
        attributes = []
        while _ATTRIBUTE.match(self.text, self.at):
            attributes.append(self.attribute(_SCRIPT_ATTRIBUTES))
            self.separators()
        if self.take_keyword("param"):
            return tuple(attributes)
        self.at = before
        return None

    def attribute(self, known: set[str]) -> s.Attribute:
        start = self.at
        self.expect("[", "in attribute")
        self.space()
        found = _TYPE_NAME.match(self.text, self.at)
        if not found:
            self.fail("Missing type name after '['.", "MissingTypename")
        name = re.sub(r"attribute$", "", found.group().lower().removeprefix("system.management.automation."))
        if name not in known:
            self.refuse(f"attribute [{found.group()}]")
        self.at = found.end()
        self.space()
        self.expect("(", "in attribute")
        positional: list[s.Expression] = []
        named: list[tuple[str, s.Expression]] = []
        self.lines()
        before, self.commas = self.commas, False
        while self.peek() != ")":
            key = re.compile(r"([A-Za-z_]\w*)\s*(=|(?=[,)]))").match(self.text, self.at)
            if key:
                at = self.at
                self.at = key.end()
                self.lines()
                value = self.expression() if key.group(2) else self.made(s.Variable, at, "true", "")
                named.append((key.group(1).lower(), value))
            else:
                positional.append(self.expression())
            self.lines()
            if self.peek() != ",":
                break
            self.at += 1
            self.lines()
        self.commas = before
        self.expect(")", "in attribute")
        self.space()
        self.expect("]", "in attribute")
        return self.made(s.Attribute, start, name, tuple(positional), tuple(named))

    def param_block(self) -> tuple[s.ScriptParameter, ...]:
        self.lines()
        self.expect("(", "after 'param'")
        return self.parameters()

    def parameters(self) -> tuple[s.ScriptParameter, ...]:
        """Parameters up to and with the closing parenthesis."""
        found: list[s.ScriptParameter] = []
        self.lines()
        while self.peek() != ")":
            found.append(self.parameter())
            self.lines()
            if self.peek() != ",":
                break
            self.at += 1
            self.lines()
        self.expect(")", "in function parameter list")
        names = [parameter.name.lower() for parameter in found]
        for name in names:
            if names.count(name) > 1:
                self.fail(f"Duplicate parameter ${name} in parameter list.", "DuplicateFormalParameter")
        return tuple(found)

    def parameter(self) -> s.ScriptParameter:
        start = self.at
        attributes: list[s.Attribute] = []
        type_name = ""
        while self.peek() == "[":
            if _ATTRIBUTE.match(self.text, self.at):
                attributes.append(self.attribute(_PARAMETER_ATTRIBUTES))
            elif type_name:
                self.refuse("a parameter with two types")
            else:
                type_name = self.type_literal()
            self.lines()
        found = _VARIABLE.match(self.text, self.at)
        if not found or not found.group("name") or ":" in found.group("name"):
            self.fail("Missing ')' in function parameter list.", "MissingEndParenthesisInFunctionParameterList")
        self.at = found.end()
        before = self.at
        self.lines()
        default = None
        if self.peek() == "=":
            self.at += 1
            self.lines()
            default = self.nested(self.expression, commas=False)
        else:
            self.at = before
        return self.made(s.ScriptParameter, start, found.group("name"), tuple(attributes), type_name, default)

    # --- statements ---------------------------------------------------------------------------------------------

    def statement(self) -> s.Statement:
        start = self.at
        label = ""
        found = re.compile(r":([A-Za-z_]\w*)").match(self.text, self.at)
        if found:
            label = found.group(1).lower()
            self.at = found.end()
            self.lines()
            if self.keyword() not in ("foreach", "for", "while", "do", "switch"):
                self.fail("Missing statement after label.", "MissingStatementAfterLabel")
        keyword = self.keyword()
        if keyword in _REFUSED_KEYWORDS:
            self.refuse(f"the keyword {keyword}")
        if keyword in ("if", "try", "function", "filter", "trap", "param"):
            return self.simple_statement(keyword, start)
        if keyword in ("foreach", "for", "while", "do", "switch"):
            self.at += len(keyword)
            self.lines()
            reader: dict[str, Callable[[int, str], s.Statement]] = {
                "foreach": self.foreach_statement,
                "for": self.for_statement,
                "while": self.while_statement,
                "do": self.do_statement,
                "switch": self.switch_statement,
            }
            return reader[keyword](start, label)
        if keyword in ("return", "throw", "exit", "break", "continue"):
            return self.flow_statement(keyword, start)
        if keyword in ("else", "elseif", "catch", "finally", "until", "begin", "process", "end"):
            self.fail(f"Unexpected token '{keyword}' in expression or statement.")
        return self.pipeline()

    def simple_statement(self, keyword: str, start: int) -> s.Statement:
        if keyword == "param":
            self.fail("Unexpected token 'param' in expression or statement.")
        self.at += len(keyword)
        if keyword == "if":
            return self.if_statement(start)
        if keyword == "try":
            return self.try_statement(start)
        if keyword == "trap":
            self.lines()
            type_name = self.type_literal() if self.peek() == "[" else ""
            return self.made(s.Trap, start, type_name, self.braces())
        return self.function_statement(start, keyword == "filter")

    def condition(self, keyword: str) -> s.Statement:
        self.lines()
        self.expect("(", f"after '{keyword}' in {keyword} statement")
        self.lines()
        if self.peek() == ")":
            self.fail(f"Missing condition in {keyword} statement after '{keyword} ('.", "MissingConditionInStatement")
        found = self.nested(self.pipeline)
        self.lines()
        self.expect(")", f"after expression in '{keyword}' statement")
        return found

    def if_statement(self, start: int) -> s.Statement:
        clauses = [(self.condition("if"), self.braces())]
        otherwise = None
        while True:
            before = self.at
            self.lines()
            keyword = self.take_keyword("elseif", "else")
            if keyword == "elseif":
                clauses.append((self.condition("elseif"), self.braces()))
                continue
            if keyword == "else":
                otherwise = self.braces()
            else:
                self.at = before
            return self.made(s.If, start, tuple(clauses), otherwise)

    def try_statement(self, start: int) -> s.Statement:
        body = self.braces()
        catches: list[tuple[tuple[str, ...], tuple[s.Statement, ...]]] = []
        last = None
        while True:
            before = self.at
            self.lines()
            keyword = self.take_keyword("catch", "finally")
            if not keyword:
                self.at = before
                break
            self.lines()
            if keyword == "finally":
                last = self.braces()
                break
            types: list[str] = []
            while self.peek() == "[":
                types.append(self.type_literal())
                self.lines()
                if self.peek() == ",":
                    self.at += 1
                    self.lines()
            catches.append((tuple(types), self.braces()))
        if not catches and last is None:
            self.fail("The Try statement is missing its Catch or Finally block.", "MissingCatchOrFinally")
        return self.made(s.Try, start, body, tuple(catches), last)

    def function_statement(self, start: int, is_filter: bool) -> s.Statement:
        self.space()
        found = re.compile(r"[^\s(){}\[\];,|&$'\"]+").match(self.text, self.at)
        if not found:
            self.fail("Missing name after function keyword.", "MissingNameAfterKeyword")
        name = found.group()
        self.at = found.end()
        self.lines()
        parameters: tuple[s.ScriptParameter, ...] = ()
        if self.peek() == "(":
            self.at += 1
            parameters = self.nested(self.parameters)
            self.lines()
        self.expect("{", "in function body")
        block = self.nested(lambda: self.block_body("}", parameters, is_filter=is_filter))
        self.expect("}", "in statement block")
        return self.made(s.FunctionDefinition, start, name, block)

    def foreach_statement(self, start: int, label: str) -> s.Statement:
        if self.peek() == "-":
            self.refuse("foreach -parallel")
        self.expect("(", "after 'foreach'")
        self.lines()
        variable = self.variable()
        if not isinstance(variable, s.Variable):
            self.fail("Missing variable name after foreach.", "MissingVariableNameAfterForeach")
        self.lines()
        if not self.take_keyword("in"):
            self.fail("Missing 'in' after variable in foreach loop.", "MissingInInForeach")
        self.lines()
        items = self.nested(self.pipeline)
        self.lines()
        self.expect(")", "after expression in foreach loop")
        return self.made(s.ForEach, start, label, variable, items, self.braces())

    def for_statement(self, start: int, label: str) -> s.Statement:
        self.expect("(", "after 'for'")
        parts: list[object] = []
        for close in (";", ";", ")"):
            self.lines()
            parts.append(None if self.peek() in ";)" else self.nested(self.pipeline))
            self.lines()
            if close == ";":
                self.expect(";", "in for statement")
        self.expect(")", "after expression in for statement")
        return self.made(s.For, start, label, *parts, self.braces())

    def while_statement(self, start: int, label: str) -> s.Statement:
        return self.made(s.While, start, label, self.condition("while"), self.braces())

    def do_statement(self, start: int, label: str) -> s.Statement:
        body = self.braces()
        self.lines()
        keyword = self.take_keyword("while", "until")
        if not keyword:
            self.fail("Missing while or until keyword after do loop body.", "MissingWhileOrUntilInDoWhile")
        return self.made(s.While, start, label, self.condition(keyword), body, True, keyword == "until")

    def switch_statement(self, start: int, label: str) -> s.Statement:
        mode, case_sensitive = "", False
        while self.peek() == "-":
            found = re.compile(r"-(\w+)").match(self.text, self.at)
            name = found.group(1).lower() if found else ""
            if name == "casesensitive":
                case_sensitive = True
            elif name in ("regex", "wildcard", "exact"):
                mode = name
            else:
                self.refuse(f"switch -{name}")
            self.at += len(name) + 1
            self.lines()
        value = self.condition("switch")
        self.lines()
        self.expect("{", "in switch statement")
        clauses: list[tuple[s.Expression, tuple[s.Statement, ...]]] = []
        default = None
        self.separators()
        while self.peek() != "}":
            if self.at >= len(self.text):
                self.fail("Missing closing '}' in statement block.", "MissingEndCurlyBrace")
            if self.take_keyword("default"):
                default = self.braces()
            else:
                test = self.nested(self.argument)
                clauses.append((test, self.braces()))
            self.separators()
        self.at += 1
        return self.made(s.Switch, start, label, mode, case_sensitive, value, tuple(clauses), default)

    def flow_statement(self, keyword: str, start: int) -> s.Statement:
        self.at += len(keyword)
        self.space()
        if keyword in ("break", "continue"):
            label = ""
            found = _WORD.match(self.text, self.at)
            if found:
                label = found.group().lower()
                self.at = found.end()
            elif self.peek() not in "\0\r\n;})":
                self.refuse(f"{keyword} with a computed label")
            return self.made(s.Flow, start, keyword, None, label)
        value = None
        if self.at < len(self.text) and self.peek() not in "\r\n;})":
            value = self.pipeline()
        return self.made(s.Flow, start, keyword, value)

    # --- pipelines and commands ---------------------------------------------------------------------------------

    def pipeline(self) -> s.Statement:
        start = self.at
        if self.statement_keyword():
            return self.statement()
        first: s.Command | s.CommandExpression
        if self.command_begins():
            first = self.command()
        else:
            expression = self.expression()
            end = self.at
            self.space()
            found = _ASSIGN.match(self.text, self.at)
            if found:
                self.check_target(expression)
                self.at = found.end()
                self.lines()
                value = self.statement()
                return self.made(s.Assignment, start, expression, found.group(), value)
            redirections: list[s.Redirection] = []
            while self.redirection(redirections):
                self.space()
            if not redirections:
                self.at = end
            first = self.made(s.CommandExpression, start, expression, tuple(redirections))
        elements = [first]
        while True:
            before = self.at
            self.space()
            if self.starts("||") or self.starts("&&"):
                self.fail(
                    f"The token '{self.peek() * 2}' is not a valid statement separator in this version.",
                    "InvalidEndOfLine",
                )
            if self.peek() != "|":
                if self.peek() == "&":
                    self.fail("The ampersand (&) character is not allowed.", "AmpersandNotAllowed")
                self.at = before
                return self.made(s.Pipeline, start, tuple(elements))
            self.at += 1
            self.lines()
            if self.at >= len(self.text) or self.peek() in ")}|;":
                self.fail("An empty pipe element is not allowed.", "EmptyPipeElement")
            if not self.command_begins():
                self.fail(
                    "Expressions are only allowed as the first element of a pipeline.",
                    "ExpressionsMustBeFirstInPipeline",
                )
            elements.append(self.command())

    def statement_keyword(self) -> bool:
        """Whether a statement stands where a value is wanted, as in `$x = if (...) { ... }`."""
        return self.keyword() in ("if", "foreach", "for", "while", "do", "switch", "try")

    def check_target(self, target: s.Expression) -> None:
        if isinstance(target, s.ArrayLiteral):
            for item in target.items:
                self.check_target(item)
        elif isinstance(target, s.Cast):
            self.check_target(target.operand)
        elif not isinstance(target, s.Variable | s.Member | s.Index):
            self.fail(
                "The assignment expression is not valid. The input to an assignment operator must be an object that is "
                "able to accept assignments, such as a variable or a property.",
                "InvalidLeftHandSide",
                target.start,
            )

    def command_begins(self) -> bool:
        first = self.peek()
        if first == "." and not self.peek(1).isdigit():
            return True
        if first == "&":
            return True
        if first in "$@({[!," + SINGLE + DOUBLE + DASH or first in "+":
            return False
        found = _NUMBER.match(self.text, self.at)
        if found:
            after = self.text[found.end() : found.end() + 1]
            return not (not after or after in " \t\r\n;|)}],.+-*/%<>=&")
        return True

    def command(self) -> s.Command:
        start = self.at
        operator = ""
        if self.peek() == "&" or (self.peek() == "." and not re.compile(r"\.[\w\\/.]").match(self.text, self.at)):
            operator = self.peek()
            self.at += 1
            self.space()
            name = self.argument_item()
        else:
            name = self.bare_word()
        elements: list[s.Expression | s.CommandParameter] = []
        redirections: list[s.Redirection] = []
        while True:
            before = self.at
            self.space()
            if self.at >= len(self.text) or self.peek() in "\r\n;|)}" or self.peek() == "&":
                self.at = before
                return self.made(s.Command, start, operator, name, tuple(elements), tuple(redirections))
            if self.redirection(redirections):
                continue
            if before == self.at and not isinstance(name, s.ScriptBlockExpression) and not elements:
                self.refuse("an argument right behind a command's name")
            elements.append(self.element())

    def redirection(self, found: list[s.Redirection]) -> bool:
        start = self.at
        match = _REDIRECTION.match(self.text, self.at)
        if not match:
            if self.peek() == "<":
                self.fail("The '<' operator is reserved for future use.", "RedirectionNotSupported")
            return False
        stream = match.group("from") or "1"
        self.at = match.end()
        if match.group("to"):
            if match.group("to") != "1":
                self.fail(f"The '{match.group()}' operator is reserved for future use.", "RedirectionNotSupported")
            found.append(self.made(s.Redirection, start, stream, "1"))
            return True
        self.space()
        found.append(self.made(s.Redirection, start, stream, "", self.argument_item(), bool(match.group("append"))))
        return True

    def element(self) -> s.Expression | s.CommandParameter:
        start = self.at
        if self.starts("--%"):
            self.refuse("the stop-parsing token --%")
        found = _PARAMETER.match(self.text, self.at)
        if found and (found.group("colon") or self.text[found.end() : found.end() + 1] not in tuple(SINGLE + DOUBLE)):
            self.at = found.end()
            argument = None
            if found.group("colon"):
                self.space()
                if self.at < len(self.text) and self.peek() not in "\r\n;|)}":
                    argument = self.argument()
            elif self.peek() in ".[":
                pass
            return self.made(s.CommandParameter, start, found.group("name"), argument)
        splat = _SPLAT.match(self.text, self.at)
        if splat:
            self.at = splat.end()
            qualifier, _, name = splat.group("name").rpartition(":")
            return self.made(s.Splat, start, self.made(s.Variable, start, name, qualifier.lower()))
        return self.argument()

    def argument(self) -> s.Expression:
        """One argument, or several joined by commas."""
        start = self.at
        items = [self.argument_item()]
        while self.comma():
            items.append(self.argument_item())
        return self.array(start, items)

    def comma(self) -> bool:
        """Whether a comma follows, moving behind it and the white space after it."""
        before = self.at
        self.space()
        if self.peek() != ",":
            self.at = before
            return False
        self.at += 1
        self.lines()
        return True

    def array(self, start: int, items: list[s.Expression]) -> s.Expression:
        """What was written with commas between the items: the only one is itself."""
        return items[0] if len(items) == 1 else self.made(s.ArrayLiteral, start, tuple(items))

    def argument_item(self) -> s.Expression:
        start = self.at
        first = self.peek()
        if first == "$" and not self.starts("$("):
            found = _VARIABLE.match(self.text, self.at)
            if found:
                after = self.text[found.end() : found.end() + 1]
                if after and after not in _BARE_END and after not in ".[<>":
                    return self.bare_word()
                if after == "." and not re.compile(r"\.[\w($\"']").match(self.text, found.end()):
                    return self.bare_word()
            else:
                return self.bare_word()
        if first in "$({" + SINGLE + DOUBLE or self.starts("@(") or self.starts("@{") or self.here_string():
            return self.argument_end(self.postfix(self.primary(), argument=True))
        if first == "@":
            self.refuse("@ in an argument")
        if first in DASH or first.isdigit() or first == ".":
            sign = -1 if first in DASH else 1
            self.at += sign < 0
            found = _NUMBER.match(self.text, self.at)
            after = self.text[found.end() : found.end() + 1] if found else ""
            if found and (not after or after in _BARE_END):
                value = self.number(found)
                return self.made(s.Constant, start, value if sign > 0 else _negative(value))
            self.at = start
        return self.bare_word()

    def argument_end(self, expression: s.Expression) -> s.Expression:
        after = self.peek()
        if self.at < len(self.text) and after not in _BARE_END and after not in ">":
            self.refuse(f"'{after}' right behind an argument")
        return expression

    def bare_word(self) -> s.Expression:
        """A word of a command: text up to white space, with quoted parts and variables in it."""
        start = self.at
        parts: list[str | s.Expression] = []
        plain: list[str] = []

        def add(expression: s.Expression) -> None:
            if plain:
                parts.append("".join(plain))
                plain.clear()
            parts.append(expression)

        while self.at < len(self.text):
            char = self.peek()
            if char in _BARE_END:
                break
            if char in "<>":
                self.refuse(f"'{char}' inside a word")
            if char == "`":
                self.at += 1
                plain.append(_ESCAPES.get(self.peek(), self.peek()))
                self.at += 1
            elif char in SINGLE or char in DOUBLE:
                quoted = self.single_quoted() if char in SINGLE else self.double_quoted()
                for part in quoted.parts if isinstance(quoted, s.ExpandableString) else (str(quoted.value),):
                    if isinstance(part, str):
                        plain.append(part)
                    else:
                        add(part)
            elif char == "$":
                expression = self.expansion()
                if expression is None:
                    plain.append("$")
                    self.at += 1
                else:
                    add(expression)
            else:
                plain.append(char)
                self.at += 1
        if self.at == start:
            self.fail(f"Unexpected token '{self.rest_of_token()}' in expression or statement.")
        if not parts:
            return self.made(s.Constant, start, "".join(plain), True)
        if plain:
            parts.append("".join(plain))
        return self.made(s.ExpandableString, start, tuple(parts), True)

    # --- expressions --------------------------------------------------------------------------------------------

    def expression(self, level: int = 1) -> s.Expression:
        start = self.at
        left = self.operand()
        while True:
            before = self.at
            self.space()
            operator, length = self.binary_operator()
            precedence = _PRECEDENCE.get(operator, _COMPARISON)
            if not operator or precedence < level:
                self.at = before
                return left
            self.at += length
            self.lines()
            right = self.expression(precedence + 1)
            left = self.made(s.Binary, start, operator, left, right)

    def binary_operator(self) -> tuple[str, int]:
        first = self.peek()
        if self.starts(".."):
            return "..", 2
        if first in DASH:
            found = _OPERATOR.match(self.text, self.at)
            if found:
                return found.group("name").lower(), len(found.group())
        if first in "+*/%" or first in DASH:
            if self.peek(1) == "=" or (first in "+" + DASH and self.peek(1) == first):
                return "", 0
            return ("-" if first in DASH else first), 1
        return "", 0

    def operand(self) -> s.Expression:
        """Unary expressions, joined by commas where these make an array."""
        start = self.at
        items = [self.unary()]
        while self.commas and self.comma():
            items.append(self.unary())
        return self.array(start, items)

    def unary(self) -> s.Expression:
        start = self.at
        first = self.peek()
        if first in "!,":
            if first == "," and not self.commas:
                self.fail("Missing expression after ','.", "MissingExpressionAfterToken")
            self.at += 1
            self.lines()
            return self.made(s.Unary, start, first, self.unary())
        if first in "+" + DASH:
            if self.peek(1) == first:
                self.at += 2
                self.space()
                return self.made(s.Increment, start, "++" if first == "+" else "--", self.unary(), True)
            found = _UNARY.match(self.text, self.at)
            if found:
                self.at = found.end()
                self.lines()
                return self.made(s.Unary, start, "-" + found.group("name").lower(), self.unary())
            self.at += 1
            self.space()
            operand = self.unary()
            sign = "+" if first == "+" else "-"
            if sign == "-" and isinstance(operand, s.Constant) and not isinstance(operand.value, str):
                return self.made(s.Constant, start, _negative(operand.value))
            return self.made(s.Unary, start, sign, operand)
        if first == "[":
            return self.type_or_cast()
        return self.postfix(self.primary())

    def type_or_cast(self) -> s.Expression:
        start = self.at
        name = self.type_literal()
        literal = self.made(s.TypeLiteral, start, name)
        if self.starts("::") or (self.peek() == "." and self.peek(1) != "."):
            return self.postfix(literal)
        before = self.at
        self.space()
        first = self.peek()
        begins = first in "$@({[" + SINGLE + DOUBLE or first.isdigit()
        if first in "+!" + DASH:
            begins = (
                re.compile(rf"[+{DASH}]\s*[\d.$(]|!|[{DASH}](not|bnot|join|split)\b", re.I).match(self.text, self.at)
                is not None
            )
        if begins and not self.starts("@@"):
            return self.made(s.Cast, start, name, self.unary())
        self.at = before
        return literal

    def type_literal(self) -> str:
        """[name], without the outer brackets, without white space."""
        self.expect("[", "in type")
        name = self.type_name()
        self.space()
        self.expect("]", "at end of attribute or type literal")
        return name

    def type_name(self) -> str:
        self.space()
        found = _TYPE_NAME.match(self.text, self.at)
        if not found:
            self.fail("Missing type name after '['.", "MissingTypename")
        name = found.group()
        self.at = found.end()
        while self.peek() == "[":
            self.at += 1
            self.space()
            if self.peek() == "]":
                name += "[]"
            elif self.peek() == ",":
                self.refuse("an array with several dimensions")
            else:
                arguments = [self.generic_argument()]
                while self.peek() == ",":
                    self.at += 1
                    arguments.append(self.generic_argument())
                name += f"[{','.join(arguments)}]"
            self.expect("]", "in type name")
        self.space()
        if self.peek() == ",":
            self.check_generic_comma()
        return name

    def check_generic_comma(self) -> None:
        """A comma behind a type's name is one between generic arguments, or names an assembly, which is refused."""
        if re.compile(r",\s*[\w.]+\s*,\s*Version=", re.I).match(self.text, self.at):
            self.refuse("a type with its assembly's name")

    def generic_argument(self) -> str:
        self.space()
        if self.peek() == "[":
            return self.type_literal()
        name = self.type_name()
        self.space()
        return name

    def primary(self) -> s.Expression:
        start = self.at
        first = self.peek()
        if self.starts("$("):
            self.at += 2
            body = self.nested(lambda: self.statements(")"))
            self.expect(")", "in subexpression")
            return self.made(s.SubExpression, start, body)
        if first == "$":
            return self.variable()
        if first in SINGLE:
            return self.single_quoted()
        if first in DOUBLE:
            return self.double_quoted()
        if self.here_string():
            return self.here()
        if self.starts("@("):
            self.at += 2
            body = self.nested(lambda: self.statements(")"))
            self.expect(")", "in array expression")
            return self.made(s.ArrayExpression, start, body)
        if self.starts("@{"):
            return self.hash_literal()
        if first == "@" and _SPLAT.match(self.text, self.at):
            self.fail(
                "The splatting operator '@' cannot be used to reference variables in an expression.",
                "SplattingNotPermitted",
            )
        if first == "(":
            self.at += 1
            self.lines()
            statement = self.nested(self.pipeline)
            self.lines()
            self.expect(")", "in expression")
            return self.made(s.Parenthesized, start, statement)
        if first == "{":
            self.at += 1
            block = self.nested(lambda: self.block_body("}", ()))
            self.expect("}", "in statement block")
            return self.made(s.ScriptBlockExpression, start, block)
        found = _NUMBER.match(self.text, self.at)
        if found:
            value = self.number(found)
            if self.peek().isalnum() or self.peek() == "_":
                self.fail(f"Unexpected token '{self.rest_of_token()}' in expression or statement.")
            return self.made(s.Constant, start, value)
        if self.at >= len(self.text):
            self.fail("Missing expression.", "MissingExpression")
        self.fail(f"Unexpected token '{self.rest_of_token()}' in expression or statement.")

    def postfix(self, target: s.Expression, *, argument: bool = False) -> s.Expression:
        """Members, calls and indexes behind an expression."""
        start = target.start
        while True:
            static = self.starts("::")
            if static or (self.peek() == "." and self.peek(1) != "."):
                self.at += 2 if static else 1
                if not argument:
                    self.lines()
                name = self.member_name()
                if self.peek() == "(":
                    self.at += 1
                    arguments = self.nested(self.call_arguments, commas=False)
                    target = self.made(s.Invocation, start, target, name, arguments, static)
                else:
                    target = self.made(s.Member, start, target, name, static)
            elif self.peek() == "[" and not isinstance(target, s.TypeLiteral):
                self.at += 1
                self.lines()
                index = self.nested(self.expression)
                self.lines()
                self.expect("]", "in index expression")
                target = self.made(s.Index, start, target, index)
            elif not argument and (self.starts("++") or self.starts("--")):
                operator = self.text[self.at : self.at + 2]
                self.check_target(target)
                self.at += 2
                target = self.made(s.Increment, start, operator, target, False)
            else:
                return target

    def member_name(self) -> s.Expression:
        start = self.at
        found = _MEMBER_NAME.match(self.text, self.at)
        if found:
            self.at = found.end()
            return self.made(s.Constant, start, found.group(), True)
        if self.peek() in "$(" + SINGLE + DOUBLE:
            return self.primary()
        self.fail("Missing property name after reference operator.", "MissingPropertyName")

    def call_arguments(self) -> tuple[s.Expression, ...]:
        found: list[s.Expression] = []
        self.lines()
        while self.peek() != ")":
            found.append(self.expression())
            self.lines()
            if self.peek() != ",":
                break
            self.at += 1
            self.lines()
            if self.peek() == ")":
                self.fail("Missing expression after ','.", "MissingExpressionAfterToken")
        self.expect(")", "in method call")
        return tuple(found)

    def hash_literal(self) -> s.Expression:
        start = self.at
        self.at += 2
        entries: list[tuple[s.Expression, s.Statement]] = []
        seen: set[object] = set()
        self.separators()
        while self.peek() != "}":
            if self.at >= len(self.text):
                self.fail("The hash literal was incomplete.", "IncompleteHashLiteral")
            key = self.hash_key()
            if isinstance(key, s.Constant):
                comparable = key.value.lower() if isinstance(key.value, str) else key.value
                if comparable in seen:
                    self.fail(
                        f"Duplicate keys '{key.value}' are not allowed in hash literals.", "DuplicateKeyInHashLiteral"
                    )
                seen.add(comparable)
            self.space()
            if self.peek() != "=":
                self.fail("Missing '=' operator after key in hash literal.", "MissingEqualsInHashLiteral")
            self.at += 1
            self.lines()
            value = self.nested(self.statement)
            entries.append((key, value))
            self.space()
            if self.peek() not in "\r\n;}":
                self.fail(f"Unexpected token '{self.rest_of_token()}' in expression or statement.")
            self.separators()
        self.at += 1
        return self.made(s.HashLiteral, start, tuple(entries))

    def hash_key(self) -> s.Expression:
        start = self.at
        found = _MEMBER_NAME.match(self.text, self.at)
        if found:
            self.at = found.end()
            return self.made(s.Constant, start, found.group(), True)
        return self.unary()

    # --- variables, numbers and text ----------------------------------------------------------------------------

    def variable(self) -> s.Expression:
        start = self.at
        found = _VARIABLE.match(self.text, self.at)
        if not found:
            self.fail("Missing variable name.", "MissingVariableName")
        self.at = found.end()
        if found.group("special"):
            return self.made(s.Variable, start, found.group("special"), "")
        name = found.group("name") or re.sub(r"`(.)", r"\1", found.group("braced"))
        qualifier, colon, rest = name.partition(":")
        if not colon or not rest:
            return self.made(s.Variable, start, name, "")
        return self.made(s.Variable, start, rest, qualifier.lower())

    def number(self, found: re.Match[str]) -> object:
        """The number that was found here, moving behind it."""
        self.at = found.end()
        multiplier = MULTIPLIERS.get((found.group("multiplier") or found.group("hexmultiplier") or "").lower(), 1)
        if found.group("hex"):
            value = int(found.group("hex"), 16)
            digits = len(found.group("hex")) - 2
            if digits <= 8 and value > INT32_MAX:
                value -= 2**32
            elif digits <= 16 and value > INT64_MAX:
                value -= 2**64
            value *= multiplier
            return Int64(value) if found.group("hexsuffix") else _sized(value)
        digits_text, suffix = found.group("digits"), found.group("suffix").lower()
        if suffix == "d":
            return Decimal(digits_text) * multiplier
        if any(char in digits_text for char in ".eE"):
            real = float(digits_text) * multiplier
            return Int64(round(real)) if suffix == "l" else real
        whole = int(digits_text) * multiplier
        if suffix == "l":
            if whole > INT64_MAX:
                self.fail(f"The numeric constant {found.group()} is not valid.", "BadNumericConstant")
            return Int64(whole)
        return _sized(whole)

    def single_quoted(self) -> s.Constant:
        start = self.at
        found = re.compile(rf"[{SINGLE}]((?:[^{SINGLE}]|[{SINGLE}]{{2}})*)[{SINGLE}]").match(self.text, self.at)
        if not found:
            self.fail("The string is missing the terminator: '.", "TerminatorExpectedAtEndOfString")
        self.at = found.end()
        return self.made(s.Constant, start, re.sub(rf"[{SINGLE}]([{SINGLE}])", r"\1", found.group(1)))

    def double_quoted(self) -> s.Constant | s.ExpandableString:
        start = self.at
        self.at += 1
        parts = self.expandable(DOUBLE)
        return self.text_node(start, parts)

    def text_node(self, start: int, parts: list[str | s.Expression]) -> s.Constant | s.ExpandableString:
        if all(isinstance(part, str) for part in parts):
            return self.made(s.Constant, start, "".join(str(part) for part in parts))
        return self.made(s.ExpandableString, start, tuple(parts))

    def expandable(self, close: str) -> list[str | s.Expression]:
        """Text up to one of `close`, or to the end of the text where that is empty."""
        parts: list[str | s.Expression] = []
        plain: list[str] = []
        run = re.compile(rf"[^`${close}]+")
        while True:
            found = run.match(self.text, self.at)
            if found:
                plain.append(found.group())
                self.at = found.end()
            if self.at >= len(self.text):
                if close:
                    self.fail('The string is missing the terminator: ".', "TerminatorExpectedAtEndOfString")
                break
            char = self.peek()
            if close and char in close:
                self.at += 1
                if self.at < len(self.text) and self.peek() in close:
                    plain.append(self.peek())
                    self.at += 1
                    continue
                break
            if char == "`":
                self.at += 1
                if self.starts("\r\n"):
                    plain.append("\r\n")
                    self.at += 2
                elif self.at < len(self.text):
                    plain.append(_ESCAPES.get(self.peek(), self.peek()))
                    self.at += 1
                continue
            expression = self.expansion()
            if expression is None:
                plain.append("$")
                self.at += 1
                continue
            if plain:
                parts.append("".join(plain))
                plain.clear()
            parts.append(expression)
        if plain:
            parts.append("".join(plain))
        return parts

    def expansion(self) -> s.Expression | None:
        """The variable or subexpression at a $ inside of text; None where the $ is only itself."""
        if self.starts("$("):
            return self.primary()
        found = _VARIABLE.match(self.text, self.at)
        if not found:
            return None
        expression = self.variable()
        if found.group("name") and self.peek() == ":" and not self.starts("::"):
            self.fail(
                "Variable reference is not valid. ':' was not followed by a valid variable name character. Consider "
                "using ${} to delimit the name.",
                "InvalidVariableReferenceWithDrive",
                found.start(),
            )
        return expression

    def here_string(self) -> bool:
        return self.peek() == "@" and self.peek(1) in SINGLE + DOUBLE

    def here(self) -> s.Constant | s.ExpandableString:
        start = self.at
        quotes = SINGLE if self.peek(1) in SINGLE else DOUBLE
        header = re.compile(r"@.[ \t]*\r?\n").match(self.text, self.at)
        if not header:
            self.fail(
                "No characters are allowed after a here-string header but before the end of the line.",
                "UnexpectedCharactersAfterHereStringHeader",
            )
        footer = re.compile(rf"\r?\n[{quotes}]@").search(self.text, header.end() - 1)
        if not footer:
            self.fail(f"The string is missing the terminator: {quotes[0]}@.", "TerminatorExpectedAtEndOfString")
        body_start, body_end = header.end(), max(header.end(), footer.start())
        if quotes is SINGLE:
            self.at = footer.end()
            return self.made(s.Constant, start, self.text[body_start:body_end])
        inner = _Parser(s.Source(self.text[:body_end], self.source.file))
        inner.at = body_start
        parts = inner.expandable("")
        self.at = footer.end()
        return self.text_node(start, parts)


def _sized(value: int) -> object:
    """An integer literal in the smallest type that holds it, from [int] on."""
    if INT32_MIN <= value <= INT32_MAX:
        return value
    if INT64_MIN <= value <= INT64_MAX:
        return Int64(value)
    return Decimal(value) if abs(value) < 2**96 else float(value)


def _negative(value: object) -> object:
    if isinstance(value, Int64):
        return -int(value) if -int(value) == INT32_MIN else Int64(-int(value))
    assert isinstance(value, int | float | Decimal)
    return -value

"""Executes a syntax tree.

Statements are generators of what they put out, so that a pipeline's commands take turns as the objects come;
expressions have a value. Everything that depends on the place where code runs travels in a Context.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from . import members, patterns
from . import syntax as s
from .commandcalls import Commands
from .conversions import Conversions
from .errors import ErrorRecord, NetException, PowerShellError, Refusal
from .operators import Operators
from .parse import parse
from .scopes import (
    READ_ONLY,
    BreakSignal,
    Context,
    ContinueSignal,
    EndOfProcess,
    ExitSignal,
    Output,
    ReturnSignal,
    Scope,
    ScriptError,
    Slot,
    script_error,
)
from .typesystem import DotNetType
from .values import (
    Hashtable,
    ModifiedError,
    Nothing,
    OrderedHashtable,
    PSObject,
    ScriptBlock,
    collected,
    elements,
    enumerates,
    listed,
    live_elements,
    or_null,
)

if TYPE_CHECKING:
    from .engine import Engine

_COMPOUND = {"+=": "+", "-=": "-", "*=": "*", "/=": "/", "%=": "%"}
_PREFERENCES = ("stop", "continue", "silentlycontinue", "ignore", "inquire", "suspend")


class Interpreter:
    """The interpreter of one runspace."""

    def __init__(self, engine: Engine, conversions: Conversions, top: Scope) -> None:
        self.engine = engine
        self.conversions = conversions
        self.top = top
        self.operators = Operators(conversions, self._matched)
        self.members = members.Members(self)
        self.commands = Commands(self)
        self.success = True
        self.errors: list[ErrorRecord] = []
        self._matching: Scope = top
        self._values: dict[type, Callable[[Any, Context], Any]] = {
            s.Constant: lambda node, ctx: node.value,
            s.ExpandableString: self._expandable,
            s.Variable: self._variable,
            s.ArrayLiteral: lambda node, ctx: [or_null(self.value(item, ctx)) for item in node.items],
            s.ArrayExpression: self._array_expression,
            s.SubExpression: lambda node, ctx: collected(list(self.statements(node.body, ctx.captured()))),
            s.Parenthesized: self._parenthesized,
            s.HashLiteral: self._hash_literal,
            s.ScriptBlockExpression: lambda node, ctx: ScriptBlock(node.block, ctx.scope.script),
            s.TypeLiteral: lambda node, ctx: self.conversions.registry.get(node.name),
            s.Cast: self._cast,
            s.Unary: lambda node, ctx: self.operators.unary(node.operator, self.value(node.operand, ctx)),
            s.Binary: self._binary,
            s.Increment: self._increment,
            s.Member: self._member,
            s.Invocation: self._invocation,
            s.Index: self._index,
        }
        self._statements: dict[type, Callable[[Any, Context], Output]] = {
            s.Pipeline: self._pipeline,
            s.Assignment: self._assignment_statement,
            s.If: self._if,
            s.While: self._while,
            s.For: self._for,
            s.ForEach: self._foreach,
            s.Switch: self._switch,
            s.Try: self._try,
            s.Flow: self._flow,
            s.FunctionDefinition: self._define,
        }

    # --- statements ---------------------------------------------------------------------------------------------

    def statements(self, body: tuple[s.Statement, ...], ctx: Context) -> Output:
        """What the statements put out, one after the other (about_Error_Handling for what stops them)."""
        traps = [statement for statement in body if isinstance(statement, s.Trap)]
        inner = ctx.with_guard() if traps else ctx
        for statement in body:
            if isinstance(statement, s.Trap):
                continue
            if self.engine.ended is not None:
                self.engine.check_alive()
            try:
                yield from self._statements[type(statement)](statement, inner)
            except PowerShellError as error:
                self._place(error, statement)
                if isinstance(error, Refusal):
                    raise
                self.success = False
                if traps:
                    yield from self._trapped(traps, error, ctx)
                elif ctx.guarded or not self._goes_on(error, ctx):
                    raise

    def _place(self, error: PowerShellError, node: s.Node) -> None:
        if error.record.position is None:
            error.record.position = node.position
            if isinstance(error, Refusal):
                position = error.record.position
                error.record.exception.message += f" (line {position.line}: {position.source_line.strip()[:200]})"

    def _goes_on(self, error: PowerShellError, ctx: Context) -> bool:
        """Whether the next statement runs although this one ended with an error; reports it if so."""
        action = self.preference("erroractionpreference", ctx)
        if isinstance(error, ScriptError):
            return error.thrown and action in ("silentlycontinue", "ignore")
        if action == "stop":
            return False
        if action != "ignore":
            self.remember(error.record)
        if action == "continue":
            ctx.streams.emit("error", error.record)
        elif action not in ("silentlycontinue", "ignore"):
            raise Refusal("UnknownPreference", f"ErrorActionPreference {action}")
        return True

    def _trapped(self, traps: list[s.Trap], error: PowerShellError, ctx: Context) -> Output:
        """Runs the first trap whose type fits; `continue` in it goes on, `break` or none raises."""
        for trap in traps:
            record = self.caught(error, (trap.type_name,) if trap.type_name else ())
            if record is None:
                continue
            self.remember(error.record)
            with self.underscore(ctx.scope, record):
                try:
                    yield from self.statements(trap.body, ctx)
                except ContinueSignal:
                    return
                except BreakSignal:
                    raise error from None
            break
        if ctx.guarded or not self._goes_on(error, ctx):
            raise error

    def remember(self, record: ErrorRecord) -> None:
        """Puts the record in front of $Error."""
        if not self.errors or self.errors[0] is not record:
            self.errors.insert(0, record)
            del self.errors[256:]

    def preference(self, name: str, ctx: Context) -> str:
        """The value of a preference variable, in lower case."""
        slot = ctx.scope.find(name)
        text = self.conversions.text(slot.value).lower() if slot else "continue"
        if text not in _PREFERENCES:
            raise Refusal("UnknownPreference", f"the value {text} of ${name}")
        return text

    def value_of(self, statement: s.Statement, ctx: Context) -> Any:
        """The value of a statement where one is wanted, as on the right of =."""
        expression = _lone_expression(statement)
        if expression is not None:
            self.success = True
            return self.value(expression, ctx)
        return collected(list(self._statements[type(statement)](statement, ctx.captured())))

    def _pipeline(self, node: s.Pipeline, ctx: Context) -> Output:
        expression = _lone_expression(node)
        if expression is None:
            yield from self.commands.pipeline(node, ctx)
            return
        if isinstance(expression, s.Increment):
            self._increment(expression, ctx)
            self.success = True
            return
        value = self.value(expression, ctx)
        self.success = True
        if enumerates(value):
            yield from self.live(value)
        elif value is not Nothing:
            yield value

    def live(self, value: Any) -> Output:
        """The elements of a collection, which must not change while somebody goes through it."""
        try:
            yield from live_elements(value)
        except ModifiedError:
            reason = "Collection was modified; enumeration operation may not execute."
            message = f"An error occurred while enumerating through a collection: {reason}."
            inner = NetException("System.InvalidOperationException", reason)
            raise PowerShellError(
                message,
                "BadEnumeration",
                "InvalidOperation",
                exception=NetException("System.Management.Automation.RuntimeException", message, inner),
            ) from None

    def _assignment_statement(self, node: s.Assignment, ctx: Context) -> Output:
        self.assignment(node, ctx)
        yield from ()

    def _condition(self, node: s.Statement, ctx: Context) -> bool:
        return self.conversions.truth(self.value_of(node, ctx))

    def _if(self, node: s.If, ctx: Context) -> Output:
        for condition, body in node.clauses:
            if self._condition(condition, ctx):
                yield from self.statements(body, ctx)
                return
        if node.otherwise is not None:
            yield from self.statements(node.otherwise, ctx)

    def _loop_body(self, label: str, body: tuple[s.Statement, ...], ctx: Context) -> Generator[Any, None, bool]:
        """One pass; returns False (as the generator's value) where the loop ends."""
        try:
            yield from self.statements(body, ctx)
        except BreakSignal as signal:
            if signal.label and signal.label != label:
                raise
            return False
        except ContinueSignal as signal:
            if signal.label and signal.label != label:
                raise
        return True

    def _while(self, node: s.While, ctx: Context) -> Output:
        while node.last or self._condition(node.condition, ctx):
            if not (yield from self._loop_body(node.label, node.body, ctx)):
                return
            if node.last and self._condition(node.condition, ctx) == node.until:
                return

    def _for(self, node: s.For, ctx: Context) -> Output:
        if node.first:
            for _ in self._statements[type(node.first)](node.first, ctx.captured()):
                pass
        while node.condition is None or self._condition(node.condition, ctx):
            if not (yield from self._loop_body(node.label, node.body, ctx)):
                return
            if node.after:
                for _ in self._statements[type(node.after)](node.after, ctx.captured()):
                    pass

    def _foreach(self, node: s.ForEach, ctx: Context) -> Output:
        items = self.value_of(node.items, ctx)
        if items is None or items is Nothing:
            return
        name = node.variable.name.lower()
        target = ctx.scope.named(node.variable.qualifier)
        for item in self.live(items) if enumerates(items) else [items]:
            target.set(name, item)
            if not (yield from self._loop_body(node.label, node.body, ctx)):
                return

    def _switch(self, node: s.Switch, ctx: Context) -> Output:
        value = self.value_of(node.value, ctx)
        items = listed(or_null(value))
        for item in items:
            with self.underscore(ctx.scope, item):
                if not (yield from self._switch_item(node, item, ctx)):
                    return

    def _switch_item(self, node: s.Switch, item: Any, ctx: Context) -> Generator[Any, None, bool]:
        matched = False
        for test, body in node.clauses:
            if not self._switch_matches(node, test, item, ctx):
                continue
            matched = True
            try:
                yield from self.statements(body, ctx)
            except BreakSignal as signal:
                if signal.label and signal.label != node.label:
                    raise
                return False
            except ContinueSignal as signal:
                if signal.label and signal.label != node.label:
                    raise
                return True
        if not matched and node.default is not None:
            return (yield from self._loop_body(node.label, node.default, ctx))
        return True

    def _switch_matches(self, node: s.Switch, test: s.Expression, item: Any, ctx: Context) -> bool:
        if isinstance(test, s.ScriptBlockExpression):
            return self.conversions.truth(collected(list(self.statements(test.block.end or (), ctx.captured()))))
        wanted = or_null(self.value(test, ctx))
        text = self.conversions.text
        if node.mode == "regex":
            flags = 0 if node.case_sensitive else re.I
            found = patterns.regex(text(wanted), flags).search(text(item))
            if found:
                self._set_matches(found, ctx.scope)
            return found is not None
        if node.mode == "wildcard":
            return patterns.wildcard(text(wanted), case_sensitive=node.case_sensitive).fullmatch(text(item)) is not None
        return self.operators.equal(item, wanted, node.case_sensitive)

    def _try(self, node: s.Try, ctx: Context) -> Output:
        """The finally block runs whatever comes, but for an end of the process and what the stand-in refuses."""
        last = node.last or ()
        try:
            yield from self._try_and_catch(node, ctx)
        except (Refusal, EndOfProcess):
            raise
        except GeneratorExit:
            for _ in self.statements(last, ctx.captured()):
                pass
            raise
        except BaseException:
            yield from self.statements(last, ctx)
            raise
        yield from self.statements(last, ctx)

    def _try_and_catch(self, node: s.Try, ctx: Context) -> Output:
        try:
            yield from self.statements(node.body, ctx.with_guard() if node.catches else ctx)
        except PowerShellError as error:
            if isinstance(error, Refusal):
                raise
            found = [(self.caught(error, types), body) for types, body in node.catches]
            record, handler = next(((record, body) for record, body in found if record is not None), (None, ()))
            if record is None:
                raise
            self.remember(error.record)
            with self.underscore(ctx.scope, record):
                yield from self.statements(handler, ctx)

    def caught(self, error: PowerShellError, types: tuple[str, ...]) -> ErrorRecord | None:
        """The record as $_ of a catch with these types, or None where none of them fits.

        What a .NET method threw is found inside of the exception that wraps it, and is then $_.Exception itself
        (about_Try_Catch_Finally).
        """
        record = error.record
        if not types:
            return record
        wanted = {self.conversions.registry.get(name).name for name in types}
        outer = record.exception
        wraps = "System.Management.Automation.RuntimeException" in outer.type_names()
        for candidate in (outer.inner if wraps else None, outer):
            if candidate is not None and wanted.intersection(candidate.type_names()):
                made = ErrorRecord(**vars(record))
                made.exception = candidate
                return made
        return None

    def underscore(self, scope: Scope, value: Any) -> _Underscore:
        """Sets $_ for a while."""
        return _Underscore(scope, value)

    def _flow(self, node: s.Flow, ctx: Context) -> Output:
        if node.keyword == "break":
            raise BreakSignal(node.label)
        if node.keyword == "continue":
            raise ContinueSignal(node.label)
        if node.keyword == "return":
            if node.value is not None:
                yield from self._statements[type(node.value)](node.value, ctx)
            raise ReturnSignal
        value = or_null(self.value_of(node.value, ctx)) if node.value is not None else None
        if node.keyword == "exit":
            code = self.conversions.cast(value, "int") if node.value is not None else self.exit_code()
            raise ExitSignal(int(code))
        raise script_error(self._thrown(value, node, ctx), thrown=True)

    def exit_code(self) -> int:
        """$LASTEXITCODE, or 0 where it is not set: the code of a plain exit."""
        slot = self.top.find("lastexitcode")
        return int(slot.value or 0) if slot else 0

    def _thrown(self, value: Any, node: s.Flow, ctx: Context) -> ErrorRecord:
        """The record of throw (about_Throw)."""
        if node.value is None:
            current = ctx.scope.find("_")
            if current and isinstance(current.value, ErrorRecord):
                return current.value
            value = "ScriptHalted"
        if isinstance(value, ErrorRecord):
            return value
        if isinstance(value, NetException):
            return ErrorRecord(value, value.message, "OperationStopped", None, position=node.position)
        text = self.conversions.text(value)
        exception = NetException("System.Management.Automation.RuntimeException", text)
        return ErrorRecord(exception, text, "OperationStopped", value, position=node.position)

    def _define(self, node: s.FunctionDefinition, ctx: Context) -> Output:
        qualifier, _, name = node.name.rpartition(":")
        if qualifier.lower() not in ("", "global", "script", "local", "private"):
            raise Refusal("UnknownSyntax", f"function {node.name}")
        scope = ctx.scope.named(qualifier.lower())
        scope.functions[name.lower()] = (name, ScriptBlock(node.block, ctx.scope.script))
        yield from ()

    # --- assignment ---------------------------------------------------------------------------------------------

    def assignment(self, node: s.Assignment, ctx: Context) -> Any:
        """Carries it out; the value that was assigned."""
        if isinstance(node.value, s.Assignment):
            value = self.assignment(node.value, ctx)
        else:
            value = self.value_of(node.value, ctx)
        if node.operator != "=":
            value = self.operators.binary(_COMPOUND[node.operator], self.value(node.target, ctx), value)
        self.assign(node.target, value, ctx)
        self.success = True
        return value

    def assign(self, target: s.Expression, value: Any, ctx: Context) -> None:
        """target = value"""
        if isinstance(target, s.Variable):
            self.assign_variable(target, value, ctx)
        elif isinstance(target, s.Member):
            name = self._member_name(target.name, ctx)
            if target.static:
                self.members.set_static(self.value(target.target, ctx), name, or_null(value))
            else:
                self.members.set(self.value(target.target, ctx), name, or_null(value))
        elif isinstance(target, s.Index):
            self.members.set_index(self.value(target.target, ctx), self.value(target.index, ctx), or_null(value))
        elif isinstance(target, s.ArrayLiteral):
            self._assign_several(target, value, ctx)
        elif isinstance(target, s.Cast):
            self._assign_typed(target, value, ctx)
        else:
            raise Refusal("UnknownSyntax", f"an assignment to {target.text}")

    def _assign_several(self, target: s.ArrayLiteral, value: Any, ctx: Context) -> None:
        items = listed(or_null(value))
        last = len(target.items) - 1
        for number, item in enumerate(target.items):
            if number == last and len(items) > len(target.items):
                self.assign(item, items[number:], ctx)
            else:
                self.assign(item, items[number] if number < len(items) else None, ctx)

    def _assign_typed(self, target: s.Cast, value: Any, ctx: Context) -> None:
        if not isinstance(target.operand, s.Variable):
            self.assign(target.operand, self.conversions.cast(value, target.name), ctx)
            return
        kind = self.conversions.registry.get(target.name)
        scope = ctx.scope.named(target.operand.qualifier)
        name = target.operand.name.lower()
        scope.variables[name] = Slot(self.conversions.to(value, kind), self.constraint(kind))

    def constraint(self, kind: DotNetType) -> Callable[[Any], Any]:
        """What a variable that was declared with a type does with every value."""

        def convert(value: Any) -> Any:
            try:
                return self.conversions.to(value, kind)
            except Refusal:
                raise
            except PowerShellError as error:
                raise PowerShellError(
                    error.message,
                    "RuntimeException",
                    "MetadataError",
                    exception=NetException(
                        "System.Management.Automation.ArgumentTransformationMetadataException", error.message
                    ),
                ) from error

        return convert

    def assign_variable(self, target: s.Variable, value: Any, ctx: Context) -> None:
        """$name = value"""
        name, qualifier = target.name.lower(), target.qualifier
        value = or_null(value)
        if qualifier == "env":
            self.engine.set_environment(target.name, None if value is None else self.conversions.text(value))
            return
        if qualifier == "function":
            if not isinstance(value, ScriptBlock):
                raise Refusal("UnknownSyntax", f"a value for $function:{target.name}")
            ctx.scope.functions[name] = (target.name, value)
            return
        if qualifier not in ("", "global", "script", "local", "private", "variable"):
            raise Refusal("UnknownDrive", f"${qualifier}:{target.name}")
        if name in READ_ONLY and not qualifier:
            if name == "null":
                return
            raise PowerShellError(
                f"Cannot overwrite variable {target.name} because it is read-only or constant.",
                "VariableNotWritable",
                "WriteError",
                target.name,
                exception="System.Management.Automation.SessionStateException",
            )
        ctx.scope.named(qualifier).set("_" if name == "psitem" else name, value)

    # --- expressions --------------------------------------------------------------------------------------------

    def value(self, node: s.Expression, ctx: Context) -> Any:
        """The expression's value. `Nothing` is that of one without output."""
        return self._values[type(node)](node, ctx)

    def _expandable(self, node: s.ExpandableString, ctx: Context) -> str:
        text = self.text_in_string
        return "".join(part if isinstance(part, str) else text(self.value(part, ctx), ctx) for part in node.parts)

    def text_in_string(self, value: Any, ctx: Context) -> str:
        """A value in the middle of a string: elements of a collection are joined by $OFS, or a space."""
        if enumerates(value):
            separator = ctx.scope.find("ofs")
            joint = self.conversions.text(separator.value) if separator else " "
            return joint.join(map(self.conversions.text, elements(value)))
        return self.conversions.text(value)

    def _variable(self, node: s.Variable, ctx: Context) -> Any:
        return self.variable(node.name, node.qualifier, ctx)

    def variable(self, written: str, qualifier: str, ctx: Context) -> Any:
        """The variable's value; in strict mode an error where it is not set (Set-StrictMode)."""
        name = written.lower()
        if not qualifier or qualifier in ("variable", "local", "private"):
            if name == "?":
                return self.success
            if name == "psitem":
                name = "_"
            slot = ctx.scope.find(name) if qualifier in ("", "variable") else ctx.scope.variables.get(name)
        elif qualifier == "env":
            return self.engine.get_environment(written)
        elif qualifier in ("global", "script"):
            slot = ctx.scope.named(qualifier).variables.get(name)
            if slot is None and qualifier == "script":
                slot = ctx.scope.top.variables.get(name) if name in READ_ONLY else None
        elif qualifier == "function":
            found = ctx.scope.function(name)
            return found[1] if found else None
        else:
            raise Refusal("UnknownDrive", f"${qualifier}:{written}")
        if slot is not None:
            return slot.value
        if ctx.scope.strict:
            raise PowerShellError(
                f"The variable '${f'{qualifier}:' if qualifier else ''}{written}' cannot be retrieved because it has "
                "not been set.",
                "VariableIsUndefined",
                "InvalidOperation",
                f"{qualifier}:{written}" if qualifier else written,
            )
        return None

    def _array_expression(self, node: s.ArrayExpression, ctx: Context) -> Any:
        """@( ): always an array; one that the expression already is stays itself."""
        inner = _lone_expression(node.body[0]) if len(node.body) == 1 else None
        if isinstance(inner, s.ArrayLiteral):
            return self.value(inner, ctx)
        return list(self.statements(node.body, ctx.captured()))

    def _parenthesized(self, node: s.Parenthesized, ctx: Context) -> Any:
        if isinstance(node.body, s.Assignment):
            return self.assignment(node.body, ctx)
        return self.value_of(node.body, ctx)

    def _hash_literal(self, node: s.HashLiteral, ctx: Context, made: Hashtable | None = None) -> Hashtable:
        table = Hashtable() if made is None else made
        for key_node, value_node in node.entries:
            key = or_null(self.value(key_node, ctx))
            if key is None:
                raise PowerShellError(
                    "A null key is not allowed in a hash literal.", "InvalidNullKey", "InvalidOperation"
                )
            if key in table:
                raise PowerShellError(
                    f"Duplicate keys '{self.conversions.text(key)}' are not allowed in hash literals.",
                    "DuplicateKeyInHashLiteral",
                    "InvalidOperation",
                )
            table[key] = or_null(self.value_of(value_node, ctx))
        return table

    def _cast(self, node: s.Cast, ctx: Context) -> Any:
        name = node.name.lower()
        if isinstance(node.operand, s.HashLiteral):
            if name == "ordered":
                return self._hash_literal(node.operand, ctx, OrderedHashtable())
            if name in ("pscustomobject", "management.automation.pscustomobject"):
                made = self._hash_literal(node.operand, ctx, OrderedHashtable())
                return PSObject([(self.conversions.text(key), value) for key, value in made.items()])
        return self.conversions.cast(self.value(node.operand, ctx), node.name)

    def _binary(self, node: s.Binary, ctx: Context) -> Any:
        truth = self.conversions.truth
        if node.operator == "and":
            return truth(self.value(node.left, ctx)) and truth(self.value(node.right, ctx))
        if node.operator == "or":
            return truth(self.value(node.left, ctx)) or truth(self.value(node.right, ctx))
        self._matching = ctx.scope
        left = self.value(node.left, ctx)
        right = self.value(node.right, ctx)
        self._matching = ctx.scope
        return self.operators.binary(node.operator, left, right)

    def _matched(self, found: re.Match[str]) -> None:
        self._set_matches(found, self._matching)

    def _set_matches(self, found: re.Match[str], scope: Scope) -> None:
        """$Matches: the whole match under 0, groups under their numbers or names, without those that took no part."""
        names = {number: name for name, number in found.re.groupindex.items()}
        table = Hashtable()
        for number, place in enumerate(patterns.group_numbers(found.re)):
            if found.group(place) is not None:
                table[names.get(place, number)] = found.group(place)
        scope.set("matches", table)

    def _increment(self, node: s.Increment, ctx: Context) -> Any:
        before = or_null(self.value(node.target, ctx))
        if (before is not None and not isinstance(before, int | float)) or isinstance(before, bool):
            raise PowerShellError(
                f"The '{node.operator}' operator works only on numbers. The operand is a "
                f"'{self.conversions.registry.type_of(before).name}'.",
                "OperatorRequiresNumber",
                "InvalidOperation",
            )
        after = self.operators.binary("+" if node.operator == "++" else "-", before, 1)
        self.assign(node.target, after, ctx)
        return after if node.prefix else (0 if before is None else before)

    def _member_name(self, node: s.Expression, ctx: Context) -> str:
        if isinstance(node, s.Constant):
            return str(node.value)
        return self.conversions.text(self.value(node, ctx))

    def _member(self, node: s.Member, ctx: Context) -> Any:
        target = self.value(node.target, ctx)
        name = self._member_name(node.name, ctx)
        if node.static:
            return self.members.get_static(target, name)
        return self.members.get(target, name, ctx)

    def _invocation(self, node: s.Invocation, ctx: Context) -> Any:
        target = self.value(node.target, ctx)
        name = self._member_name(node.name, ctx)
        arguments = [or_null(self.value(argument, ctx)) for argument in node.arguments]
        if node.static:
            return self.members.call_static(target, name, arguments)
        return self.members.call(target, name, arguments, ctx)

    def _index(self, node: s.Index, ctx: Context) -> Any:
        return self.members.get_index(or_null(self.value(node.target, ctx)), self.value(node.index, ctx), ctx)

    # --- script blocks ------------------------------------------------------------------------------------------

    def compile(self, text: str, scope: Scope, file: str = "") -> ScriptBlock:
        """The script block of a text."""
        return ScriptBlock(parse(text, file), scope.script)

    def block_values(
        self, block: ScriptBlock, ctx: Context, underscore: Any, arguments: list[Any] | None = None
    ) -> Output:
        """Runs a block in the caller's own scope with $_, as ForEach-Object does."""
        body = block.block.end if block.block.process is None else block.block.process
        if block.block.begin or (block.block.process is not None and block.block.end):
            raise Refusal("UnknownSyntax", "begin or end in the script block of a cmdlet")
        if block.block.parameters or arguments:
            yield from self.commands.call_block(block, ctx, arguments or [], underscore=underscore)
            return
        inner = ctx.captured()
        if block.closure is not None:
            inner = inner.inside(self.commands.closure_scope(block, ctx.scope))
        with self.underscore(inner.scope, underscore):
            try:
                yield from self.statements(body or (), inner)
            except ReturnSignal:
                return


class _Underscore:
    """Holds $_ at a value for a while, and puts back what was there."""

    def __init__(self, scope: Scope, value: Any) -> None:
        self.scope = scope
        self.value = value
        self.before: Slot | None = None

    def __enter__(self) -> None:
        self.before = self.scope.variables.get("_")
        self.scope.variables["_"] = Slot(self.value)

    def __exit__(self, *error: object) -> None:
        if self.before is None:
            self.scope.variables.pop("_", None)
        else:
            self.scope.variables["_"] = self.before


def _lone_expression(statement: s.Statement) -> s.Expression | None:
    """The expression that is all of a pipeline; None for any other statement."""
    if isinstance(statement, s.Pipeline) and len(statement.elements) == 1:
        only = statement.elements[0]
        if isinstance(only, s.CommandExpression) and not only.redirections:
            return only.expression
    return None

"""Pipelines and calls: finds what a name means, gives it its arguments, runs it (about_Pipelines,
about_Command_Precedence, about_Functions)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import syntax as s
from .binding import Argument, Binder, Bound, Spec, specs_of_block, specs_of_command
from .commands import Call, Command
from .errors import ErrorRecord, PowerShellError, Refusal
from .native import command_line, run_executable
from .parse import parse
from .scopes import (
    Context,
    ExitSignal,
    LateSlot,
    Output,
    ReturnSignal,
    Scope,
    Slot,
    script_error,
)
from .values import (
    ArrayList,
    Hashtable,
    Nothing,
    OrderedHashtable,
    PSObject,
    ScriptBlock,
    SwitchValue,
    collected,
    enumerates,
    listed,
    or_null,
)

if TYPE_CHECKING:
    from .interpreter import Interpreter

_STREAM_NAMES = {"2": "error", "3": "warning", "4": "verbose", "5": "debug", "6": "information"}
_PROGRAM = re.compile(r"\.(exe|com|cmd|bat|ps1|msc|cpl)$|[\\/]", re.I)
_ACTIONS = ("stop", "continue", "silentlycontinue", "ignore")
_SHOWN = ("continue", "inquire")


class Input:
    """The objects that come down a pipeline; the reader may say that it wants no more."""

    def __init__(self, source: Iterator[Any]) -> None:
        self.source = source
        self.stopped = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.source)

    def finish(self) -> None:
        """Lets the commands before run to their end, whoever reads what they put out."""
        if not self.stopped:
            for _ in self.source:
                pass

    def stop(self) -> None:
        """Ends the commands before (Select-Object -First)."""
        self.stopped = True
        close = getattr(self.source, "close", None)
        if close:
            close()


class Commands:
    """Runs commands for the interpreter."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self._specs: dict[int, tuple[s.Block, list[Spec]]] = {}
        self._command_binders: dict[str, Binder] = {}
        self._binders: dict[int, Binder] = {}

    # --- pipelines ----------------------------------------------------------------------------------------------

    def pipeline(self, node: s.Pipeline, ctx: Context) -> Output:
        """What the last command puts out; all commands run as far as they do."""
        stages: list[Iterator[Any]] = []
        failures: list[bool] = []
        source: Input | None = None
        last = len(node.elements) - 1
        try:
            for number, element in enumerate(node.elements):
                inner = ctx if number == last else ctx.captured()
                stage = self._stage(element, inner, source, failures)
                stages.append(stage)
                source = Input(stage)
            yield from stages[-1]
        finally:
            for stage in reversed(stages):
                close = getattr(stage, "close", None)
                if close:
                    close()
        self.interpreter.success = not failures

    def _stage(
        self, element: s.Command | s.CommandExpression, ctx: Context, source: Input | None, failures: list[bool]
    ) -> Iterator[Any]:
        pending: list[Any] = []
        discard, ctx = self._redirect(element.redirections, ctx, pending)
        try:
            if isinstance(element, s.CommandExpression):
                value = self.interpreter.value(element.expression, ctx)
                run: Iterator[Any] = iter([] if value is Nothing else [value])
                if enumerates(value):
                    run = self.interpreter.live(value)
            else:
                run = self._command(element, ctx, source, failures)
        except PowerShellError as error:
            _place(error, element)
            raise
        return self._flow(run, element, pending, discard=discard)

    def _flow(self, run: Iterator[Any], element: s.Node, pending: list[Any], *, discard: bool) -> Output:
        """Mixes redirected records into the output, in the order in which they came."""
        try:
            for item in run:
                while pending:
                    yield pending.pop(0)
                if not discard:
                    yield item
        except PowerShellError as error:
            _place(error, element)
            raise
        while pending:
            yield pending.pop(0)

    def _redirect(
        self, redirections: tuple[s.Redirection, ...], ctx: Context, pending: list[Any]
    ) -> tuple[bool, Context]:
        if not redirections:
            return False, ctx
        changes: dict[str, Callable[[Any], None]] = {}
        discard = False
        for redirection in redirections:
            sink: Callable[[Any], None] = pending.append
            if not redirection.merge:
                assert redirection.file is not None
                if self.interpreter.value(redirection.file, ctx) is not None:
                    raise Refusal("UnknownSyntax", "a redirection into a file")
                sink = _drop
            names = list(_STREAM_NAMES.values()) if redirection.stream == "*" else []
            if redirection.stream in _STREAM_NAMES:
                names = [_STREAM_NAMES[redirection.stream]]
            if redirection.stream in "1*" and not redirection.merge:
                discard = True
            if redirection.stream in "6*":
                changes["host"] = sink if sink is _drop else lambda text: pending.append(_information(text))
            changes.update(dict.fromkeys(names, sink))
        return discard, replace(
            ctx,
            streams=ctx.streams.redirected(changes),
            errors_redirected=ctx.errors_redirected or "error" in changes,
            host=ctx.host and not discard and not any(redirection.merge for redirection in redirections),
        )

    def _command(self, node: s.Command, ctx: Context, source: Input | None, failures: list[bool]) -> Iterator[Any]:
        name_value = self.interpreter.value(node.name, ctx)
        arguments = list(self._arguments(node, ctx))
        dot = node.operator == "."
        if node.operator and isinstance(name_value, ScriptBlock):
            return self._ended(self.call_block(name_value, ctx, arguments, dot=dot, source=source, node=node))
        if name_value is None or name_value is Nothing or name_value == "":
            raise PowerShellError(
                "The expression after '&' in a pipeline element produced an object that was not valid. It "
                "must result in a "
                "command name, a script block, or a CommandInfo object.",
                "BadExpression",
                "InvalidOperation",
            )
        if isinstance(name_value, PSObject) and "CommandType" in name_value:
            name_value = name_value.get("Path") or name_value["Name"]
        name = self.interpreter.conversions.text(name_value)
        return self.call(name, arguments, ctx, source, failures, node=node, dot=dot)

    def call(
        self,
        name: str,
        arguments: list[Argument],
        ctx: Context,
        source: Input | None,
        failures: list[bool],
        *,
        node: s.Node,
        dot: bool = False,
    ) -> Iterator[Any]:
        """Runs the function, cmdlet or program of that name."""
        function = ctx.scope.function(name.lower())
        if function:
            return self._ended(
                self.call_block(function[1], ctx, arguments, dot=dot, source=source, node=node, name=function[0])
            )
        engine = self.interpreter.engine
        command = engine.commands.get(name.lower())
        if command:
            return self._cmdlet(command, arguments, ctx, source, failures, node)
        if name.lower().endswith(".ps1"):
            return self._ended(self.call_file(name, arguments, ctx, dot=dot, node=node, source=source))
        program = engine.executables(name)
        if program is None:
            raise self.not_found(name)
        line = command_line(arguments, self.interpreter.conversions, edition=engine.edition)
        return self._program(run_executable(self.interpreter, name, program, line, ctx, source, node), failures)

    def not_found(self, name: str) -> PowerShellError:
        """The error of a name that means nothing. A name that could be a cmdlet's is refused instead."""
        if not _PROGRAM.search(name):
            return Refusal("UnknownCommand", f"the command {name} is not modelled")
        return PowerShellError(
            f"The term '{name}' is not recognized as the name of a cmdlet, function, script file, or operable program. "
            "Check the spelling of the name, or if a path was included, verify that the path is correct and try again.",
            "CommandNotFoundException",
            "ObjectNotFound",
            name,
            exception="System.Management.Automation.CommandNotFoundException",
        )

    def _program(self, run: Iterator[Any], failures: list[bool]) -> Output:
        yield from run
        if not self.interpreter.success:
            failures.append(True)

    def _ended(self, run: Iterator[Any]) -> Output:
        yield from run
        self.interpreter.success = True

    # --- arguments ----------------------------------------------------------------------------------------------

    def _arguments(self, node: s.Command, ctx: Context) -> Iterator[Argument]:
        value = self.interpreter.value
        for element in node.elements:
            if isinstance(element, s.CommandParameter):
                if element.argument is None:
                    yield Argument(element.name, text=element.text, node=element)
                else:
                    prefix = element.source.text[element.start : element.argument.start]
                    given = value(element.argument, ctx)
                    yield Argument(
                        element.name,
                        or_null(given),
                        attached=True,
                        text=prefix.rstrip(),
                        node=element,
                        spaced=prefix != prefix.rstrip(),
                    )
            elif isinstance(element, s.Splat):
                yield from self._splat(element, ctx)
            else:
                given = value(element, ctx)
                yield Argument(None, or_null(given), node=element)

    def _splat(self, node: s.Splat, ctx: Context) -> Iterator[Argument]:
        given = self.interpreter.value(node.variable, ctx)
        if isinstance(given, Hashtable):
            for key, item in given.items():
                yield Argument.named(str(key), item)
        elif given is not None:
            for item in listed(given):
                yield Argument(None, item)

    # --- functions, scripts and script blocks -------------------------------------------------------------------

    def block_specs(self, block: s.Block, ctx: Context) -> list[Spec]:
        """The parameters of a block, worked out once."""
        known = self._specs.get(id(block))
        if known is None:
            plain = ctx.captured()

            def check(script: Any, item: Any) -> bool:
                found = collected(list(self.interpreter.block_values(script, plain, item)))
                return self.interpreter.conversions.truth(found)

            specs = specs_of_block(
                block, self.interpreter.conversions, lambda node: self.interpreter.value(node, plain), check
            )
            known = self._specs[id(block)] = (block, specs)
        return known[1]

    def _binder(self, body: s.Block, ctx: Context, name: str) -> Binder:
        known = self._binders.get(id(body))
        if known is None or known.command != name:
            known = self._binders[id(body)] = Binder(
                name,
                self.block_specs(body, ctx),
                self.interpreter.conversions,
                cmdlet=False,
                advanced=body.advanced,
                should_process=_should_process(body),
            )
        return known

    def closure_scope(self, block: ScriptBlock, parent: Scope) -> Scope:
        """A scope with the variables that GetNewClosure() kept."""
        scope = Scope(parent, block.script_scope)
        for name, value in (block.closure or {}).items():
            scope.variables[name] = Slot(value)
        return scope

    def call_block(
        self,
        block: ScriptBlock,
        ctx: Context,
        arguments: list[Any],
        *,
        dot: bool = False,
        source: Input | None = None,
        node: s.Node | None = None,
        name: str = "",
        underscore: Any = Nothing,
        scope: Scope | None = None,
    ) -> Output:
        """Runs a function or block; `arguments` are Argument objects or plain values."""
        body: s.Block = block.block
        words = [word if isinstance(word, Argument) else Argument(None, word) for word in arguments]
        if scope is None:
            parent = self.closure_scope(block, ctx.scope) if block.closure is not None else ctx.scope
            scope = ctx.scope if dot else Scope(parent, block.script_scope)
        inner = ctx.inside(scope, name)
        binder = self._binder(body, inner, name)
        bound = binder.bind(words, piped=source is not None)
        if underscore is not Nothing:
            scope.set("_", underscore)
        self._set_parameters(binder, bound, inner)
        scope.variables["myinvocation"] = LateSlot(lambda: self._invocation(name, node, body))
        inner, caught = self._common(bound, inner)
        kept: list[Any] = []
        keeps = "OutVariable" in bound.common
        for item in self._run_block(body, inner, binder, bound, source):
            if keeps:
                kept.append(item)
            yield item
        self._keep(bound, ctx, kept, caught)

    def _run_block(self, body: s.Block, ctx: Context, binder: Binder, bound: Bound, source: Input | None) -> Output:
        if body.begin is not None:
            yield from self._part(body.begin, ctx)
        if body.process is not None:
            if source is None:
                yield from self._part(body.process, ctx)
            else:
                for item in source:
                    self._bind_item(binder, bound, ctx, item)
                    yield from self._part(body.process, ctx)
        elif source is not None:
            items = list(source)
            ctx.scope.set("input", items)
            if items and binder.takes_input:
                self._bind_item(binder, bound, ctx, items[-1])
        if body.end is not None:
            yield from self._part(body.end, ctx)
        if source is not None:
            source.finish()

    def _bind_item(self, binder: Binder, bound: Bound, ctx: Context, item: Any) -> None:
        ctx.scope.variables["_"] = Slot(item)
        if binder.takes_input:
            for name, value in binder.bind_object(bound.values, item).items():
                if name not in bound.values:
                    ctx.scope.set(name.lower(), value)
        elif binder.advanced:
            binder.bind_object(bound.values, item)

    def _part(self, statements: tuple[s.Statement, ...], ctx: Context) -> Output:
        try:
            yield from self.interpreter.statements(statements, ctx)
        except ReturnSignal:
            return

    def _set_parameters(self, binder: Binder, bound: Bound, ctx: Context) -> None:
        conversions = self.interpreter.conversions
        scope = ctx.scope
        for spec in binder.specs:
            key = spec.name.lower()
            if spec.name in bound.values:
                value = bound.values[spec.name]
            elif spec.default is not None:
                value = self.interpreter.value(spec.default, ctx.captured())
                value = or_null(value)
                if spec.typed:
                    value = conversions.to(value, spec.kind)
            elif spec.switch:
                value = SwitchValue(False)
            elif spec.typed and spec.kind.name in _DEFAULTS:
                value = conversions.to(None, spec.kind)
            else:
                value = None
            scope.variables[key] = Slot(value, self.interpreter.constraint(spec.kind) if spec.typed else None)
        given = dict(bound.values)
        scope.variables["psboundparameters"] = LateSlot(lambda: OrderedHashtable(given))
        if not binder.advanced:
            scope.variables["args"] = Slot(bound.left)

    def _invocation(self, name: str, node: s.Node | None, body: s.Block) -> PSObject:
        position = node.position if node else None
        command = PSObject(
            {"Name": name, "Path": body.source.file or None, "CommandType": "Function" if name else "Script"},
            "System.Management.Automation.CommandInfo",
            text=name,
        )
        return PSObject(
            {
                "MyCommand": command,
                "InvocationName": name or "&",
                "ScriptLineNumber": position.line if position else 0,
                "Line": position.source_line if position else "",
                "ScriptName": position.file if position else "",
            },
            "System.Management.Automation.InvocationInfo",
        )

    def _common(self, bound: Bound, ctx: Context) -> tuple[Context, list[Any]]:
        """The common parameters of an advanced function: preferences inside of it, and what -ErrorVariable catches."""
        preferences = {
            "ErrorAction": "erroractionpreference",
            "WarningAction": "warningpreference",
            "InformationAction": "informationpreference",
        }
        for name, variable in preferences.items():
            if name in bound.common:
                ctx.scope.variables[variable] = Slot(bound.common[name])
        for name, variable in (("Verbose", "verbosepreference"), ("Debug", "debugpreference")):
            if name in bound.common:
                on = self.interpreter.conversions.truth(bound.common[name])
                ctx.scope.variables[variable] = Slot("Continue" if on else "SilentlyContinue")
        if "WarningVariable" in bound.common:
            raise Refusal("UnknownParameter", "-WarningVariable of a function")
        caught: list[Any] = []
        if "ErrorVariable" in bound.common:
            emit = ctx.streams.sinks["error"]

            def catch(record: Any) -> None:
                caught.append(record)
                emit(record)

            ctx = replace(ctx, streams=ctx.streams.redirected({"error": catch}))
        return ctx, caught

    def _keep(self, bound: Bound, ctx: Context, kept: list[Any], caught: list[Any]) -> None:
        """-OutVariable and -ErrorVariable: sets the variables, or adds to them with a +."""
        for common, items in (("OutVariable", kept), ("ErrorVariable", caught)):
            if common not in bound.common:
                continue
            name = self.interpreter.conversions.text(bound.common[common])
            before = ctx.scope.find(name[1:].lower()) if name.startswith("+") else None
            items = [*(before.value.items if before and isinstance(before.value, ArrayList) else []), *items]
            ctx.scope.set(name.lstrip("+").lower(), ArrayList(items))

    def call_file(
        self,
        path: str,
        arguments: list[Any],
        ctx: Context,
        *,
        dot: bool,
        node: s.Node | None,
        source: Input | None = None,
    ) -> Output:
        """Runs a .ps1 file; `exit` in it ends the file and sets $LASTEXITCODE."""
        engine = self.interpreter.engine
        full, text = engine.script_text(path)
        block = ScriptBlock(parse(text, full), ctx.scope)
        scope = ctx.scope if dot else Scope(ctx.scope)
        scope.script = scope
        for name, value in (("psscriptroot", full.rpartition("\\")[0]), ("pscommandpath", full)):
            scope.variables[name] = Slot(value)
        block.script_scope = scope
        try:
            yield from self.call_block(
                block, ctx, arguments, scope=scope, node=node, name=full.rpartition("\\")[2], source=source
            )
        except ExitSignal as signal:
            if node is None:
                raise
            self.interpreter.top.set("lastexitcode", signal.code)

    # --- cmdlets ------------------------------------------------------------------------------------------------

    def _command_binder(self, command: Command) -> Binder:
        """The binder of a cmdlet, worked out once."""
        known = self._command_binders.get(command.name)
        if known is None:
            conversions = self.interpreter.conversions
            known = self._command_binders[command.name] = Binder(
                command.name, specs_of_command(command, conversions), conversions, cmdlet=True, advanced=True,
                should_process=command.should_process, error_suffix=command.error_class,
            )  # fmt: skip
        return known

    def _cmdlet(
        self,
        command: Command,
        arguments: list[Argument],
        ctx: Context,
        source: Input | None,
        failures: list[bool],
        node: s.Node,
    ) -> Iterator[Any]:
        interpreter = self.interpreter
        interpreter.engine.first_use(command, ctx)
        binder = self._command_binder(command)
        bound = binder.bind(arguments, piped=source is not None)
        action = self._action(bound, "ErrorAction", "erroractionpreference", ctx)
        caught: list[Any] = []
        warned: list[Any] = []

        def report(record: ErrorRecord) -> None:
            self._complete(record, command, node)
            if action == "stop":
                raise script_error(record)
            failures.append(True)
            caught.append(record)
            if action != "ignore":
                interpreter.remember(record)
            if action == "continue":
                ctx.streams.emit("error", record)

        def stream(name: str, value: Any) -> None:
            if name == "warning":
                warned.append(value)
            if self._shows(name, bound, ctx):
                ctx.streams.emit(name, value)

        def records() -> Iterator[dict[str, Any]]:
            if source is None:
                yield bound.values
                return
            for item in source:
                try:
                    values = binder.bind_object(bound.values, item)
                except Refusal:
                    raise
                except PowerShellError as error:
                    report(error.record)
                    continue
                yield values

        if bound.common.get("Confirm"):
            raise Refusal("UnknownParameter", f"{command.name} -Confirm")
        call = Call(
            interpreter.engine,
            command,
            bound.values,
            source if source is not None else iter(()),
            records,
            report,
            stream,
            action,
            interpreter.conversions.truth(bound.common.get("WhatIf", False)),
            ctx,
            source is not None,
            interpreter,
        )
        return self._run_cmdlet(call, bound, ctx, source, caught, warned, node)

    def _run_cmdlet(
        self,
        call: Call,
        bound: Bound,
        ctx: Context,
        source: Input | None,
        caught: list[Any],
        warned: list[Any],
        node: s.Node,
    ) -> Output:
        kept: list[Any] = []
        keeps = "OutVariable" in bound.common
        try:
            for item in call.command.run(call) or ():
                if keeps:
                    kept.append(item)
                yield item
            if source is not None:
                source.finish()
        except Refusal:
            raise
        except PowerShellError as error:
            if not error.record.command and error.record.position is None:
                self._complete(error.record, call.command, node)
            raise
        self._keep(bound, ctx, kept, caught)
        if "WarningVariable" in bound.common:
            name = self.interpreter.conversions.text(bound.common["WarningVariable"])
            ctx.scope.set(name.lower(), ArrayList(warned))

    def _complete(self, record: ErrorRecord, command: Command, node: s.Node) -> None:
        """What an error record of a cmdlet says of the cmdlet."""
        if not record.command:
            record.command = command.name
            if "," not in record.error_id:
                record.error_id = ",".join(part for part in (record.error_id, command.error_class) if part)
        if record.position is None:
            record.position = node.position

    def _action(self, bound: Bound, name: str, variable: str, ctx: Context) -> str:
        if name not in bound.common:
            return self.interpreter.preference(variable, ctx)
        value = self.interpreter.conversions.text(bound.common[name]).lower()
        if value not in _ACTIONS:
            raise Refusal("UnknownParameter", f"-{name} {value}")
        return value

    def _shows(self, name: str, bound: Bound, ctx: Context) -> bool:
        """Whether a record of the stream gets through its preference."""
        if name in ("verbose", "debug") and name.capitalize() in bound.common:
            return self.interpreter.conversions.truth(bound.common[name.capitalize()])
        if name == "host":
            return True
        action = {"warning": "WarningAction", "information": "InformationAction"}.get(name, "")
        wanted = self._action(bound, action, f"{name}preference", ctx)
        if wanted == "stop" and name != "progress":
            raise Refusal("UnknownPreference", f"{name}preference Stop")
        return wanted in _SHOWN


_DEFAULTS = {
    "System.String", "System.Int32", "System.Int64", "System.UInt32", "System.UInt64", "System.Boolean", "System.Char",
    "System.Byte", "System.Int16", "System.UInt16", "System.Double", "System.Single", "System.Decimal",
}  # fmt: skip


def _place(error: PowerShellError, node: s.Node) -> None:
    """Where the error arose, unless it knows. A refusal is placed by the statement around it."""
    if error.record.position is None and not isinstance(error, Refusal):
        error.record.position = node.position


def _drop(record: Any) -> None:
    """Where $null leads."""


def _information(text: Any) -> PSObject:
    """The record of the information stream that Write-Host makes."""
    shown = str(text).removesuffix("\r\n")
    return PSObject({"MessageData": shown}, "System.Management.Automation.InformationRecord", text=shown)


def _should_process(body: s.Block) -> bool:
    return any(
        key == "supportsshouldprocess" for a in body.attributes if a.name == "cmdletbinding" for key, _ in a.named
    )

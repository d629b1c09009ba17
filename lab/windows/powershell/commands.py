"""Cmdlets: how one is written.

    @command("Get-Thing", Parameter("Name", "string[]", position=0, from_pipeline=True), Parameter("Force", "switch"))
    def get_thing(call: Call) -> Iterable[object]:
        for record in call.records():
            for name in record["Name"]:
                ...
                yield PSObject({"Name": name}, "Thing")

The function runs once for each time that a script calls the cmdlet. What it yields goes down the pipeline as it comes;
`PowerShellError` ends the statement (a terminating error), `call.write_error` reports and goes on (a non-terminating
one), or ends it where -ErrorAction or $ErrorActionPreference say Stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ErrorRecord, NetException, PowerShellError
from .values import ScriptBlock

if TYPE_CHECKING:
    from .engine import Engine
    from .interpreter import Interpreter
    from .scopes import Context

KINDS = {str: "string", int: "int", bool: "bool", float: "double", bytes: "byte[]", object: "object", list: "object[]"}


@dataclass(frozen=True)
class Parameter:
    """A parameter. `kind` is the name of a type as in a script ("string[]", "switch", "long", "scriptblock", "object",
    the name of an EnumType) or one of Python's str, int, bool, float, bytes, list, object.

    `from_pipeline` takes whole objects of the pipeline, `by_name` their property of the parameter's name (or alias).
    `choices` are the only values allowed, as ValidateSet says. `rest` takes all positional arguments that are left.
    `empty` allows an empty string or array for a mandatory parameter, `null` also $null.
    """

    name: str
    kind: type | str = str
    position: int | None = None
    mandatory: bool = False
    from_pipeline: bool = False
    aliases: tuple[str, ...] = ()
    by_name: bool = False
    choices: tuple[str, ...] = ()
    rest: bool = False
    empty: bool = False
    null: bool = False

    @property
    def type_name(self) -> str:
        """The name of its type."""
        return self.kind if isinstance(self.kind, str) else KINDS[self.kind]


class Command:
    """A cmdlet. `should_process` gives it -WhatIf and -Confirm."""

    def __init__(
        self,
        name: str,
        parameters: Iterable[Parameter],
        run: Callable[[Call], Iterable[object] | None],
        *,
        should_process: bool = False,
        error_class: str = "",
        module: str = "",
    ) -> None:
        """`error_class` is what FullyQualifiedErrorId ends with, the cmdlet's class in .NET; by default that of
        Microsoft's own utilities: Get-Thing is Microsoft.PowerShell.Commands.GetThingCommand."""
        self.name = name
        self.parameters = tuple(parameters)
        self.run = run
        self.should_process = should_process
        self.error_class = error_class or f"Microsoft.PowerShell.Commands.{name.replace('-', '')}Command"
        self.module = module


def command(
    name: str, *parameters: Parameter, should_process: bool = False, error_class: str = "", module: str = ""
) -> Callable[[Callable[[Call], Iterable[object] | None]], Command]:
    """Makes a Command of a function."""

    def made(run: Callable[[Call], Iterable[object] | None]) -> Command:
        return Command(name, parameters, run, should_process=should_process, error_class=error_class, module=module)

    return made


class Call:
    """One call of a cmdlet.

    `bound` holds what the script gave, converted, by the parameters' own names; what it did not give is missing there.
    `input` gives the pipeline's objects as they come, none where nothing is piped. Use either `input` or `records()`.
    """

    def __init__(
        self,
        engine: Engine,
        command: Command,
        bound: dict[str, Any],
        input: Iterator[object],
        records: Callable[[], Iterator[dict[str, Any]]],
        report: Callable[[ErrorRecord], None],
        stream: Callable[[str, object], None],
        error_action: str,
        what_if: bool,
        context: Context,
        piped: bool,
        interpreter: Interpreter,
    ) -> None:
        self.engine = engine
        self.command = command
        self.bound = bound
        self.input = input
        self.records = records
        self.error_action = error_action
        self.what_if = what_if
        self.context = context
        self.piped = piped
        self.interpreter = interpreter
        self._report = report
        self._stream = stream

    def get(self, name: str, default: Any = None) -> Any:
        """What was bound to the parameter, or `default`."""
        return self.bound.get(name, default)

    def has(self, name: str) -> bool:
        """Whether the script gave the parameter."""
        return name in self.bound

    def switch(self, name: str) -> bool:
        """Whether the switch is on."""
        return bool(self.bound.get(name, False))

    def write_error(
        self,
        error: ErrorRecord | PowerShellError | str,
        error_id: str = "",
        category: str = "NotSpecified",
        target: object = None,
        exception: NetException | str | None = None,
    ) -> None:
        """A non-terminating error; raises where the error action is Stop.

        Takes a record, an error, or a text with the id (without the cmdlet's class), category, target and the name of
        the exception's type.
        """
        if isinstance(error, str):
            error = PowerShellError(error, error_id, category, target, exception=exception)
        self._report(error.record if isinstance(error, PowerShellError) else error)

    def write_stream(self, name: str, value: object) -> None:
        """A record of the stream "warning", "verbose", "debug", "information" or "progress"."""
        self._stream(name, value)

    def text(self, value: object) -> str:
        """The value as text, as PowerShell converts it."""
        return self.interpreter.conversions.text(value)

    def invoke(self, block: ScriptBlock, underscore: object = None, arguments: Iterable[Any] = ()) -> Iterator[Any]:
        """Runs a script block in the caller's scope, with $_; yields what it puts out."""
        return self.interpreter.block_values(block, self.context, underscore, list(arguments))

    def stop_input(self) -> None:
        """Ends the commands before this one in the pipeline."""
        stop = getattr(self.input, "stop", None)
        if stop:
            stop()

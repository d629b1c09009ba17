"""Scopes of variables and functions (about_Scopes), and where output and errors of running code go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .errors import ErrorRecord, PowerShellError
from .values import ScriptBlock

READ_ONLY = {
    "true",
    "false",
    "null",
    "pid",
    "host",
    "home",
    "pshome",
    "executioncontext",
    "psversiontable",
    "shellid",
    "?",
}


class Slot:
    """A variable; `convert` makes what is assigned fit the type that it was declared with."""

    __slots__ = ("convert", "value")

    def __init__(self, value: Any, convert: Callable[[Any], Any] | None = None) -> None:
        self.value = value
        self.convert = convert


class LateSlot(Slot):
    """A variable whose value is made when it is read for the first time."""

    __slots__ = ("_make", "_value")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make: Callable[[], Any] | None = make
        self._value: Any = None
        self.convert = None

    @property
    def value(self) -> Any:
        """The value."""
        if self._make:
            self._value, self._make = self._make(), None
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value, self._make = value, None


class Scope:
    """The variables and functions of one call. Lookups go on in the caller's scope: scoping is dynamic."""

    __slots__ = ("functions", "parent", "script", "strict", "top", "variables")

    def __init__(self, parent: Scope | None = None, script: Scope | None = None) -> None:
        self.parent = parent
        self.variables: dict[str, Slot] = {}
        self.functions: dict[str, tuple[str, ScriptBlock]] = {}
        self.strict: int = parent.strict if parent else 0
        self.top: Scope = parent.top if parent else self
        self.script: Scope = script or (parent.script if parent else self)

    def find(self, name: str) -> Slot | None:
        """The variable of that name (in lower case), here or in a scope around."""
        scope: Scope | None = self
        while scope is not None:
            slot = scope.variables.get(name)
            if slot is not None:
                return slot
            scope = scope.parent
        return None

    def function(self, name: str) -> tuple[str, ScriptBlock] | None:
        """The function of that name (in lower case), with its name as it was written."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.functions.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def set(self, name: str, value: Any) -> None:
        """Sets the variable of that name (in lower case) in this scope."""
        slot = self.variables.get(name)
        if slot is None:
            self.variables[name] = Slot(value)
        else:
            slot.value = slot.convert(value) if slot.convert else value

    def named(self, qualifier: str) -> Scope:
        """The scope that `global:`, `script:`, `local:` or `private:` means."""
        if qualifier == "global":
            return self.top
        return self.script if qualifier == "script" else self


@dataclass(frozen=True)
class Streams:
    """Where records that are no output go, by the stream's name: error, warning, verbose, debug, information, host,
    progress."""

    sinks: dict[str, Callable[[Any], None]]

    def emit(self, name: str, record: Any) -> None:
        """Passes a record on."""
        self.sinks[name](record)

    def redirected(self, changes: dict[str, Callable[[Any], None]]) -> Streams:
        """With other destinations for some streams."""
        return Streams({**self.sinks, **changes})


@dataclass(slots=True)
class Context:
    """Where code runs.

    `host`: what it puts out goes to the process's standard output. `guarded`: a try or trap around it, maybe in a
    caller, takes its errors. `errors_redirected`: its error stream goes anywhere but to the host. `command` is the name
    of the function that runs, for error records.
    """

    scope: Scope
    streams: Streams
    host: bool = False
    guarded: bool = False
    errors_redirected: bool = False
    command: str = ""

    def captured(self) -> Context:
        """The same, with output that is taken as a value."""
        if not self.host:
            return self
        return Context(self.scope, self.streams, False, self.guarded, self.errors_redirected, self.command)

    def inside(self, scope: Scope, command: str = "") -> Context:
        """The same in another scope."""
        name = command or self.command
        return Context(scope, self.streams, self.host, self.guarded, self.errors_redirected, name)

    def with_guard(self) -> Context:
        """The same inside of a try."""
        if self.guarded:
            return self
        return Context(self.scope, self.streams, self.host, True, self.errors_redirected, self.command)


class Signal(Exception):
    """Control flow of the script; no error."""


class BreakSignal(Signal):
    """break"""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


class ContinueSignal(Signal):
    """continue"""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


class ReturnSignal(Signal):
    """return; what it puts out was put out before."""


class ExitSignal(Signal):
    """exit: ends the script file or the process, through all finally blocks."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class EndOfProcess(BaseException):
    """[Environment]::Exit: nothing of the script runs any more."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ScriptError(PowerShellError):
    """A terminating error that ends the script, not only the statement: throw, or -ErrorAction Stop."""

    thrown = False


def script_error(record: ErrorRecord, *, thrown: bool = False) -> ScriptError:
    """The script-terminating error that carries the record."""
    made = ScriptError(record.message, exception=record.exception)
    made.record = record
    made.thrown = thrown
    return made


Output = Iterator[Any]

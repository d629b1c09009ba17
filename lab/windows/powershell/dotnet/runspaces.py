"""[PowerShell]::Create(): scripts beside the script, in a thread of their own."""

from __future__ import annotations

import threading
from typing import Any

from ..errors import PowerShellError, Refusal
from ..typesystem import DotNetType, Method, Property, method
from ..values import ArrayList, ScriptBlock
from .primitives import OBJECT


class Shell:
    """A script with its arguments."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.script = ""
        self.arguments: list[Any] = []
        self.named: dict[str, Any] = {}

    def add_script(self, text: str) -> Shell:
        """The script's text."""
        if self.script:
            raise Refusal("UnknownMember", "several scripts in one PowerShell object")
        self.script = text
        return self

    def add_argument(self, value: Any) -> Shell:
        """A positional argument."""
        self.arguments.append(value)
        return self

    def add_parameter(self, name: str, value: Any) -> Shell:
        """A named argument."""
        self.named[name] = value
        return self

    def begin(self) -> Pending:
        """Starts it in the background."""
        return Pending(self)

    def invoke(self) -> ArrayList:
        """Runs it and waits."""
        return Pending(self).result()

    def end(self, pending: Pending) -> ArrayList:
        """Waits for its result."""
        return pending.result()


class Pending:
    """A script that runs in the background."""

    def __init__(self, shell: Shell) -> None:
        self.done = threading.Event()
        self.output: list[Any] = []
        self.failure: PowerShellError | None = None

        def run() -> None:
            try:
                self.output = shell.engine.run_beside(shell.script, shell.arguments, shell.named)
            except PowerShellError as error:
                self.failure = error
            finally:
                self.done.set()

        threading.Thread(target=run, daemon=True, name="runspace").start()

    def result(self) -> ArrayList:
        """What it put out; raises what ended it."""
        self.done.wait()
        if self.failure:
            raise self.failure
        return ArrayList(self.output)


def _members() -> dict[str, Method | Property]:
    return {
        "AddScript": method(Shell.add_script, "string")
        | method(lambda shell, block: shell.add_script(_text(block)), "scriptblock"),
        "AddArgument": method(Shell.add_argument, "object"),
        "AddParameter": method(Shell.add_parameter, "string", "object"),
        "BeginInvoke": method(Shell.begin),
        "EndInvoke": method(Shell.end, "object"),
        "Invoke": method(Shell.invoke),
        "Dispose": method(lambda shell: None),
    }


def _text(block: ScriptBlock) -> str:
    text: str = block.block.text
    return text[1:-1]


SHELL = DotNetType(
    "System.Management.Automation.PowerShell",
    base=OBJECT,
    python=Shell,
    statics={"Create": method(Shell, engine=True)},
    members=_members(),
)
PENDING = DotNetType(
    "System.IAsyncResult",
    base=OBJECT,
    python=Pending,
    members={"IsCompleted": Property(lambda pending: pending.done.is_set())},
)

TYPES = [SHELL, PENDING]

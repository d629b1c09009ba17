"""Executables: the command line that PowerShell makes for one, and what becomes of its output (about_Parsing,
about_Redirection)."""

from __future__ import annotations

import codecs
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from . import syntax as s
from .binding import Argument
from .conversions import Conversions
from .errors import ErrorRecord, NetException, Refusal
from .scopes import Context, script_error
from .values import elements, enumerates

if TYPE_CHECKING:
    from .engine import Executable
    from .interpreter import Interpreter


class CommandLine(list[str]):
    """A program's arguments as its C runtime sees them; `text` is the command line behind the program's name."""

    def __init__(self, arguments: Iterable[str], text: str) -> None:
        super().__init__(arguments)
        self.text = text


class Stopped(Exception):
    """Raised in a program's own thread when it writes and its pipeline has ended: the process is killed."""


def command_line(arguments: Iterable[Argument], conversions: Conversions, *, edition: str) -> CommandLine:
    """The arguments of a call, joined as the edition joins them.

    Windows PowerShell puts quotes around an argument with white space outside of quotes, and escapes nothing in it: a
    double quote inside ends up as the program's C runtime reads it, and a backslash at the end swallows the closing
    quote. Empty arguments vanish. PowerShell 7.3 and later pass every argument as it is.
    """
    words: list[str] = []
    line: list[str] = []

    def add(text: str, prefix: str = "") -> None:
        words.append(prefix + text)
        line.append(prefix + (f'"{text}"' if needs_quotes(text) else text))

    for argument in arguments:
        prefix = ""
        if argument.name is not None:
            prefix = argument.text
            if not argument.attached or argument.spaced:
                add(prefix)
                prefix = ""
                if not argument.attached:
                    continue
        for text in _texts(argument, conversions):
            if text or (edition == "7" and not prefix):
                add(text, prefix)
                prefix = ""
        if prefix:
            add(prefix)
    joined = " ".join(line)
    return CommandLine(words if edition == "7" else split_arguments(joined), joined)


def _texts(argument: Argument, conversions: Conversions) -> list[str]:
    """An argument's words: a collection is one for each element, but what was written as a,b stays together."""
    value = argument.value
    if not enumerates(value):
        return [conversions.text(value)]
    texts = [conversions.text(item) for item in elements(value)]
    node = argument.node
    if isinstance(node, s.CommandParameter):
        node = node.argument
    if not isinstance(node, s.ArrayLiteral) or len(node.items) != len(texts):
        return texts
    made = texts[0]
    for number, text in enumerate(texts[1:]):
        between = node.source.text[node.items[number].stop : node.items[number + 1].start]
        made += ("" if between[:1] == "," else " ") + "," + ("" if between[-1:] == "," else " ") + text
    return [made] if "," in made and " ," not in made and ", " not in made else made.split(" ")


def needs_quotes(text: str) -> bool:
    """Whether the argument has white space that does not stand between quotes of its own."""
    quotes, after_backslash = 0, False
    for char in text:
        if char == '"' and not after_backslash:
            quotes += 1
        elif char.isspace() and quotes % 2 == 0:
            return True
        after_backslash = char == "\\"
    return False


def split_arguments(line: str) -> list[str]:
    """A command line behind the program's name as Microsoft's C runtime splits it."""
    found: list[str] = []
    at = 0
    while True:
        while at < len(line) and line[at] in " \t":
            at += 1
        if at >= len(line):
            return found
        word: list[str] = []
        quoted = False
        while at < len(line) and (quoted or line[at] not in " \t"):
            backslashes = re.compile(r"\\*").match(line, at)
            count = len(backslashes.group()) if backslashes else 0
            at += count
            if at < len(line) and line[at] == '"':
                word.append("\\" * (count // 2))
                if count % 2:
                    word.append('"')
                elif quoted and line[at + 1 : at + 2] == '"':
                    word.append('"')
                    at += 1
                else:
                    quoted = not quoted
                at += 1
                continue
            word.append("\\" * count)
            if at < len(line) and (quoted or line[at] not in " \t"):
                word.append(line[at])
                at += 1
        found.append("".join(word))


class Lines:
    """Cuts bytes into lines of text; \\r, \\n and \\r\\n end one."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._rest = ""

    def feed(self, data: bytes, *, final: bool = False) -> list[str]:
        """The lines that are whole now; with `final` also the last one without an end."""
        text = self._rest + self._decoder.decode(data, final)
        if text.endswith("\r") and not final:
            text, held = text[:-1], "\r"
        else:
            held = ""
        parts = re.split(r"\r\n|\r|\n", text)
        self._rest = parts.pop() + held
        if final:
            last, self._rest = self._rest, ""
            if last:
                parts.append(last)
        return parts


def run_executable(
    interpreter: Interpreter,
    name: str,
    program: Executable,
    arguments: CommandLine,
    ctx: Context,
    input: Iterator[Any] | None,
    node: s.Node,
) -> Iterator[Any]:
    """Runs the program; yields lines of its output. Sets $LASTEXITCODE and $?.

    Output that goes to the host, and errors that are not redirected, pass through as bytes, as a real program inherits
    the handles.
    """
    engine = interpreter.engine
    stdin = None if input is None else _input_bytes(interpreter, input, ctx)
    events: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=1000)
    stopped = threading.Event()

    def put(kind: str, data: Any) -> None:
        while True:
            if stopped.is_set():
                raise Stopped
            try:
                events.put((kind, data), timeout=0.5)
                return
            except queue.Full:
                continue

    def output(data: bytes) -> None:
        if ctx.host:
            engine.write_bytes(data)
        else:
            put("output", bytes(data))

    def error(data: bytes) -> None:
        if ctx.errors_redirected:
            put("error", bytes(data))
        else:
            engine.write_error_bytes(data)

    def work() -> None:
        try:
            code = program.run(arguments, stdin, dict(engine.environment), engine.location, output, error)
            put("exit", code)
        except Stopped:
            return
        except BaseException as failure:
            if not stopped.is_set():
                put("failure", failure)

    threading.Thread(target=work, daemon=True, name=name).start()
    lines = {kind: Lines(engine.output_encoding) for kind in ("output", "error")}
    report = _ErrorLines(interpreter, name, ctx, node)
    code = 1
    try:
        while True:
            kind, data = events.get()
            if kind == "failure":
                raise data
            if kind == "exit":
                code = int(data)
                break
            yield from _deliver(lines[kind].feed(data), kind, report)
        for kind in ("error", "output"):
            yield from _deliver(lines[kind].feed(b"", final=True), kind, report)
    finally:
        stopped.set()
    interpreter.top.set("lastexitcode", code)
    interpreter.success = code == 0 and not (report.any and engine.edition == "5.1")


def _deliver(lines: list[str], kind: str, report: Callable[[str], None]) -> Iterator[str]:
    if kind == "output":
        yield from lines
    else:
        for line in lines:
            report(line)


class _ErrorLines:
    """Makes error records of a program's redirected standard error.

    In Windows PowerShell $ErrorActionPreference rules them: Stop makes the first line end the script, even with
    2>$null.
    """

    def __init__(self, interpreter: Interpreter, name: str, ctx: Context, node: s.Node) -> None:
        self.interpreter = interpreter
        self.name = name
        self.ctx = ctx
        self.node = node
        self.any = False

    def __call__(self, line: str) -> None:
        first, self.any = not self.any, True
        record = ErrorRecord(
            NetException("System.Management.Automation.RemoteException", line),
            "NativeCommandError" if first else "NativeCommandErrorMessage",
            "NotSpecified",
            line,
            command=self.name if first else "",
            position=self.node.position,
        )
        if self.interpreter.engine.edition == "5.1":
            action = self.interpreter.preference("erroractionpreference", self.ctx)
            if action == "stop":
                raise script_error(record)
            if action != "ignore":
                self.interpreter.remember(record)
            if action != "continue":
                return
        self.ctx.streams.emit("error", record)


def _input_bytes(interpreter: Interpreter, input: Iterator[Any], ctx: Context) -> bytes:
    """What a program reads: a line for each object, in the encoding of $OutputEncoding."""
    slot = ctx.scope.find("outputencoding")
    encoding = getattr(slot.value, "codec", None) if slot else None
    if encoding is None:
        raise Refusal("UnknownEncoding", "the value of $OutputEncoding")
    made: list[str] = []
    for item in input:
        if item is None:
            continue
        if not isinstance(item, str | int | float):
            raise Refusal(
                "UnknownFormat",
                f"an object of type {interpreter.conversions.registry.type_of(item).name} piped to an executable",
            )
        made.append(interpreter.conversions.text(item) + "\r\n")
    return "".join(made).encode(encoding, "replace")

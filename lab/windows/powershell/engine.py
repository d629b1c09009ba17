"""The engine: one powershell.exe process."""

from __future__ import annotations

import base64
import binascii
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, BinaryIO, Protocol

from .binding import Argument
from .commands import Command
from .conversions import Conversions
from .core import core_commands
from .dotnet import core_types
from .dotnet.streams import Reader, Writer
from .dotnet.system import Version
from .dotnet.text import ASCII, Encoding, code_page, utf8
from .errors import ErrorRecord, NetException, PowerShellError, Refusal
from .formatting import Formatter
from .interpreter import Interpreter
from .native import split_arguments
from .parse import parse
from .registry import Registry
from .reports import StandardError, error_lines
from .scopes import (
    BreakSignal,
    Context,
    ContinueSignal,
    EndOfProcess,
    ExitSignal,
    ReturnSignal,
    Scope,
    Streams,
)
from .typesystem import DotNetType
from .values import ArrayList, Hashtable, OrderedHashtable, PSObject, ScriptBlock, flat

# What powershell.exe writes for a command line that it does not understand.
BAD_ARGUMENT = 4294770688


class Executable(Protocol):
    """A program that scripts can start."""

    def run(
        self,
        arguments: list[str],
        stdin: bytes | None,
        environment: Mapping[str, str],
        directory: str,
        stdout: Callable[[bytes], None],
        stderr: Callable[[bytes], None],
    ) -> int:
        """Runs to the end and returns the exit code. `stdin` of None is the shell's own standard input.

        `arguments` are without the program's name, as its C runtime would see them; a program that reads its command
        line itself (cmd.exe) finds that in `arguments.text` (they are a `native.CommandLine`). Runs in a thread of its
        own; `stdout` and `stderr` raise `native.Stopped` when the pipeline has ended and the program is to be killed.
        """


class Engine:
    """One powershell.exe process: see the package's docstring."""

    def __init__(
        self,
        commands: Iterable[Command],
        executables: Callable[[str], Executable | None],
        types: Mapping[str, DotNetType],
        *,
        language_mode: str = "FullLanguage",
        stdin: BinaryIO,
        stdout: BinaryIO,
        stderr: BinaryIO,
        environment: MutableMapping[str, str],
        pid: int,
        location: str,
        edition: str = "5.1",
        read_script: Callable[[str], bytes] | None = None,
        oem_code_page: int = 437,
        ansi_code_page: int = 1252,
        end_process: Callable[[int], None] | None = None,
        drive_exists: Callable[[str], bool] | None = None,
    ) -> None:
        """`executables` finds a program by the name or path that a script wrote; None: there is none.

        `types` is keyed by full name. `location` is the current directory. `read_script` gives the bytes of a .ps1
        file by the path that was written, or raises FileNotFoundError. The code pages are those of the machine.
        `end_process` ends the whole process at once when a background script asks for it; without it the main script
        ends at its next statement. `drive_exists` says of a name such as "D" whether there is that drive, for
        Join-Path; without it all exist.
        """
        # A function of a script takes about ten calls of Python's.
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 8000))
        self.commands = {command.name.lower(): command for command in (*core_commands(), *commands)}
        self.executables = executables
        self.language_mode = language_mode
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.environment = environment
        self.pid = pid
        self.location = location
        self.edition = edition
        self.read_script = read_script
        self.oem_code_page = oem_code_page
        self.ansi_code_page = ansi_code_page
        self.end_process = end_process
        self.drive_exists = drive_exists
        self.console_encoding: Encoding = code_page(oem_code_page) if edition == "5.1" else utf8(bom=False)
        self.console_reader: Reader | None = None
        self.console_out: Writer | None = None
        self.console_error: Writer | None = None
        self.conversions = Conversions(Registry(core_types(), types), shortest_doubles=edition == "7")
        self.interpreter = self._interpreter()
        self._standard_error = StandardError(self._write_error_text, clixml=False)
        self.ended: int | None = None
        self._used_module = False
        self._lock = threading.RLock()
        self._beside: set[int] = set()
        self._formatter = Formatter(self, self.conversions, 120)

    # --- the process --------------------------------------------------------------------------------------------

    @property
    def output_encoding(self) -> str:
        """Python's name of the encoding in which programs' output is read: that of [Console]::OutputEncoding."""
        return self.console_encoding.codec

    def write_bytes(self, data: bytes) -> None:
        """To standard output."""
        with self._lock:
            self.stdout.write(data)
            self.stdout.flush()

    def write_error_bytes(self, data: bytes) -> None:
        """To standard error."""
        with self._lock:
            self.stderr.write(data)
            self.stderr.flush()

    def write_host(self, text: str) -> None:
        """Text to standard output: to [Console]::Out where a script has set that, else in the console's encoding."""
        if self.console_out:
            self.console_out.write(text)
        else:
            self.write_bytes(bytes(self.console_encoding.encode(text)))

    def _write_error_text(self, text: str) -> None:
        self.write_error_bytes(bytes(self.console_encoding.encode(text)))

    def get_environment(self, name: str) -> str | None:
        """An environment variable of the process, whatever the case of its name."""
        if name in self.environment:
            return self.environment[name]
        for key, value in list(self.environment.items()):
            if key.lower() == name.lower():
                return value
        return None

    def set_environment(self, name: str, value: str | None) -> None:
        """Sets it; $null or nothing removes it."""
        for key in list(self.environment):
            if key.lower() == name.lower():
                if not value:
                    del self.environment[key]
                    return
                name = key
                break
        if value:
            self.environment[name] = value

    def sleep(self, seconds: float) -> None:
        """Waits, unless the process ends meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
            self.check_alive()

    def check_alive(self) -> None:
        """Raises where a background script has ended the process."""
        if self.ended is not None:
            raise EndOfProcess(self.ended)

    def end(self, code: int) -> None:
        """[Environment]::Exit"""
        if threading.get_ident() in self._beside:
            self.ended = code
            if self.end_process:
                self.end_process(code)
        raise EndOfProcess(code)

    def first_use(self, command: Command, ctx: Context) -> None:
        """Windows PowerShell reports, as progress, that it prepares modules when the first cmdlet of one is used."""
        if self._used_module or self.edition != "5.1":
            return
        if self.interpreter.preference("progresspreference", ctx) in ("silentlycontinue", "ignore"):
            return
        self._used_module = True
        self._standard_error.progress("Preparing modules for first use.", " ", -1, completed=True)

    # --- scripts ------------------------------------------------------------------------------------------------

    def _interpreter(self) -> Interpreter:
        top = Scope()
        made = Interpreter(self, self.conversions, top)
        for name, value in self._variables(made).items():
            top.set(name.lower(), value)
        return made

    def _variables(self, interpreter: Interpreter) -> dict[str, Any]:
        numbers = (5, 1, 19041, 4648) if self.edition == "5.1" else (7, 4, 6)
        table: Hashtable = OrderedHashtable(
            {
                "PSVersion": Version(numbers),
                "PSEdition": "Desktop" if self.edition == "5.1" else "Core",
                "BuildVersion": Version((10, 0, 19041, 4648)),
                "CLRVersion": Version((4, 0, 30319, 42000)),
                "PSRemotingProtocolVersion": Version((2, 3)),
                "SerializationVersion": Version((1, 1, 0, 1)),
            }
        )
        state = PSObject({"LanguageMode": self.language_mode}, "System.Management.Automation.SessionState")
        core = {"IsWindows": True, "IsLinux": False, "IsMacOS": False, "IsCoreCLR": True} if self.edition == "7" else {}
        return {
            "true": True,
            "false": False,
            "null": None,
            "_": None,
            "pid": self.pid,
            "Error": _ErrorList(interpreter.errors),
            "ErrorActionPreference": "Continue",
            "WarningPreference": "Continue",
            "VerbosePreference": "SilentlyContinue",
            "DebugPreference": "SilentlyContinue",
            "InformationPreference": "SilentlyContinue",
            "ProgressPreference": "Continue",
            "ConfirmPreference": "High",
            "WhatIfPreference": False,
            "OutputEncoding": ASCII if self.edition == "5.1" else utf8(bom=False),
            "PSVersionTable": table,
            "PSEdition": table["PSEdition"],
            "ExecutionContext": PSObject({"SessionState": state}, "System.Management.Automation.EngineIntrinsics"),
            "PSHOME": f"{self.get_environment('SystemRoot')}\\System32\\WindowsPowerShell\\v1.0",
            "HOME": self.get_environment("USERPROFILE") or "",
            "PSCulture": "en-US",
            "PSUICulture": "en-US",
            "ShellId": "Microsoft.PowerShell",
            "args": [],
            "input": [],
            "PSScriptRoot": "",
            "PSCommandPath": "",
            "ErrorView": "NormalView",
            **core,
        }

    def _streams(self) -> Streams:
        def named(name: str) -> Callable[[Any], None]:
            def write(text: Any) -> None:
                if not self._standard_error.stream(name, str(text)):
                    self.write_host(f"{name.upper()}: {text}\r\n")

            return write

        def host(text: Any) -> None:
            self.write_host(str(text))
            self._standard_error.information(str(text).removesuffix("\r\n"), "Write-Host")

        def information(value: Any) -> None:
            text = self.conversions.text(value)
            self.write_host(f"{text}\r\n")
            self._standard_error.information(text, "Write-Information")

        return Streams(
            {
                "error": self.report,
                "warning": named("warning"),
                "verbose": named("verbose"),
                "debug": named("debug"),
                "information": information,
                "host": host,
                "progress": lambda record: self._standard_error.progress(*record[:3], completed=record[3]),
            }
        )

    def report(self, record: ErrorRecord) -> None:
        """Shows an error on standard error."""
        self._standard_error.error(error_lines(record, self))

    def script_block(self, text: str) -> ScriptBlock:
        """[ScriptBlock]::Create"""
        try:
            return ScriptBlock(parse(text), self.interpreter.top)
        except Refusal:
            raise
        except PowerShellError as error:
            raise NetException("System.Management.Automation.ParseException", error.message) from error

    def call_text(self, block: ScriptBlock, arguments: list[Any]) -> str:
        """What a block puts out, as text: for blocks that methods call."""
        ctx = Context(self.interpreter.top, self._streams(), guarded=True)
        return self.conversions.text(list(self.interpreter.commands.call_block(block, ctx, arguments)))

    def run_beside(self, text: str, arguments: list[Any], named: dict[str, Any]) -> list[Any]:
        """Runs a script in a runspace of its own, which shares the process."""
        self._beside.add(threading.get_ident())
        interpreter = self._interpreter()
        streams = Streams(dict.fromkeys(self._streams().sinks, lambda record: None))
        ctx = Context(interpreter.top, streams)
        block = ScriptBlock(parse(text), interpreter.top)
        words = [Argument(None, value) for value in arguments]
        words += [Argument.named(name, value) for name, value in named.items()]
        try:
            return list(interpreter.commands.call_block(block, ctx, words))
        except (EndOfProcess, ExitSignal):
            return []
        finally:
            self._beside.discard(threading.get_ident())

    def script_text(self, path: str) -> tuple[str, str]:
        """The full path and the text of a script file."""
        if self.read_script is None:
            raise Refusal("UnknownCommand", f"the script file {path}")
        full = path
        if path[1:3] != ":\\" and not path.startswith("\\\\"):
            full = self.location.rstrip("\\") + "\\" + path.removeprefix(".\\")
        try:
            data = self.read_script(full)
        except FileNotFoundError as error:
            raise self.interpreter.commands.not_found(path) from error
        if data.startswith(b"\xef\xbb\xbf"):
            return full, data[3:].decode("utf-8", "replace")
        if data.startswith(b"\xff\xfe"):
            return full, data[2:].decode("utf-16-le", "replace")
        codec = code_page(self.ansi_code_page).codec if self.edition == "5.1" else "utf-8"
        return full, data.decode(codec, "replace")

    def run_script(self, text: str, parameters: Mapping[str, object] | None = None) -> list[object]:
        """What the script's pipeline puts out, for tests; raises PowerShellError for what it does not catch itself.

        `exit` raises scopes.ExitSignal with its `code`. Warnings, errors that do not end it and host text go to the
        engine's handles as they would in a process.
        """
        block = ScriptBlock(parse(text), self.interpreter.top)
        ctx = Context(self.interpreter.top, self._streams())
        words = [Argument.named(name, value) for name, value in (parameters or {}).items()]
        return list(self.interpreter.commands.call_block(block, ctx, words, dot=not block.block.parameters))

    # --- the command line ---------------------------------------------------------------------------------------

    def run_command_line(self, argv_text: str) -> int:
        """Does what powershell.exe does with the arguments after its name, once; returns the process's exit code.

        What the stand-in refuses ends it with code 70 and one line on standard error that begins with "StandIn.".
        """
        words = split_arguments(argv_text)
        options: dict[str, str] = {}
        rest: list[str] = []
        at = 0
        while at < len(words):
            name = words[at].lower().lstrip("-/") if words[at][:1] in "-/" else ""
            at += 1
            if name in ("noprofile", "noninteractive", "nologo", "sta", "mta"):
                continue
            if name in ("executionpolicy", "inputformat", "outputformat", "encodedcommand", "windowstyle"):
                options[name] = words[at] if at < len(words) else ""
                at += 1
                continue
            if name in ("file", "command", "c"):
                options["file" if name == "file" else "command"] = words[at] if at < len(words) else ""
                rest = words[at + 1 :]
                break
            return self._refused(Refusal("UnknownArgument", f"powershell.exe {words[at - 1]}"))
        try:
            return self._run(options, rest)
        except Refusal as refusal:
            return self._refused(refusal)
        except EndOfProcess as end:
            return end.code
        except Exception:
            # A fault of the stand-in itself: it must look like nothing that a script could bring about.
            self.write_error_bytes(f"StandIn.Fault: {traceback.format_exc()}".encode())
            return 70
        finally:
            if self.ended is None:  # background scripts end with their process
                self.ended = 0

    def _refused(self, refusal: Refusal) -> int:
        self.write_error_bytes(f"{refusal.error_id}: {refusal.record.exception.message}\r\n".encode())
        return 70

    def _run(self, options: dict[str, str], rest: list[str]) -> int:
        encoded = "encodedcommand" in options
        plain = options.get("outputformat", "").lower() == "text" or not encoded
        self._standard_error = StandardError(self._write_error_text, clixml=not plain)
        if "file" in options:
            return self._finish(lambda ctx: self._file(options["file"], rest, ctx), file=True)
        if encoded:
            try:
                text = base64.b64decode(options["encodedcommand"], validate=True).decode("utf-16-le")
            except (binascii.Error, UnicodeDecodeError):
                self.write_error_bytes(b"Cannot process the command because of a missing or bad parameter.\r\n")
                return BAD_ARGUMENT
        else:
            text = " ".join([options.get("command", ""), *rest])
        return self._finish(lambda ctx: self.interpreter.statements(parse(text).end or (), ctx), file=False)

    def _file(self, path: str, rest: list[str], ctx: Context) -> Any:
        words = []
        for word in rest:
            if len(word) > 1 and word[0] == "-" and word[1].isalpha():
                name, colon, value = word[1:].partition(":")
                words.append(Argument(name, value or None, attached=bool(colon), text=word))
            else:
                words.append(Argument(None, word))
        return self.interpreter.commands.call_file(path, words, ctx, dot=False, node=None)

    def _finish(self, run: Callable[[Context], Any], *, file: bool) -> int:
        """Runs a script to its end and gives the process's exit code."""
        ctx = Context(self.interpreter.top, self._streams(), host=True)
        code: int | None = None
        try:
            for item in run(ctx):
                self._show(item)
        except ExitSignal as signal:
            code = signal.code
        except (BreakSignal, ContinueSignal, ReturnSignal):
            pass
        except PowerShellError as error:
            self._show_rest()
            if isinstance(error, Refusal):
                self._standard_error.finish()
                raise
            self.interpreter.remember(error.record)
            self.report(error.record)
            code = 1
        finally:
            self._show_rest()
            self._standard_error.finish()
        if code is None:
            code = 0 if file or self.interpreter.success else 1
        return code

    def _show(self, item: Any) -> None:
        if isinstance(item, ErrorRecord):
            self._show_rest()
            self.report(item)
            return
        for part in flat(item):
            for line in self._formatter.feed(part):
                self.write_host(f"{line}\r\n")

    def _show_rest(self) -> None:
        for line in self._formatter.finish():
            self.write_host(f"{line}\r\n")


class _ErrorList(ArrayList):
    """$Error: the interpreter's own list."""

    __slots__ = ()

    def __init__(self, items: list[ErrorRecord]) -> None:
        super().__init__()
        self.items = items

"""Processes: Get-Process, Stop-Process, Start-Process, and System.Diagnostics.Process.

Behaviour: Microsoft.PowerShell.Management's documentation and its source (Process.cs); .NET Framework's reference
source for System.Diagnostics.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

from lab.windows.machine import errors as win32
from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.files import Mode
from lab.windows.machine.handles import Handle, Use
from lab.windows.machine.identity import ADMINISTRATORS
from lab.windows.machine.launch import Running, find_program, quoted
from lab.windows.machine.processes import Process as Seen
from lab.windows.powershell import (
    Call,
    Command,
    DotNetType,
    EnumValue,
    Hashtable,
    NetException,
    Parameter,
    PowerShellError,
    Property,
    method,
)
from lab.windows.powershell.moments import DateTime, TimeSpan
from lab.windows.powershell.typesystem import Member
from lab.windows.powershell.values import Int64

from . import enums
from .fileitems import moment
from .streams import text_pipe
from .support import Shell, cmdlet, has_wildcard, net, not_interactive, wildcard
from .targets import FileTarget, target

PROCESS_ERROR = "Microsoft.PowerShell.Commands.ProcessCommandException"


class ProcessStartInfo:
    """What [Diagnostics.Process]::Start is told."""

    def __init__(self, file_name: str = "", arguments: str = "") -> None:
        self.file_name = file_name
        self.arguments = arguments
        self.directory = ""
        self.use_shell_execute = True
        self.redirect_input = False
        self.redirect_output = False
        self.redirect_error = False
        self.no_window = False
        self.variables: Any = None


class Process:
    """A process, found or started. What it was when it was found stays known after its end."""

    def __init__(self, shell: Shell, seen: Seen | None, running: Running | None = None) -> None:
        self.shell = shell
        self.seen = seen
        self.running = running
        self.info = ProcessStartInfo()
        self.files: list[Handle] = []
        self.code: int | None = None
        # .NET can tell the exit code of a process only where it has opened it before the end.
        self.opened = running is not None

    @property
    def pid(self) -> int:
        if self.running is not None:
            return self.running.pid
        if self.seen is None:
            raise NetException("System.InvalidOperationException", "No process is associated with this object.")
        return self.seen.pid

    def ended(self) -> bool:
        if self.running is not None:
            code = self.running.poll()
            if code is None:
                return False
            self._close(code)
            return True
        now = self.shell.machine.processes.find(self.pid)
        return now is None or self.seen is None or abs(now.started - self.seen.started) > 1

    def wait(self, timeout_s: float | None) -> bool:
        if self.running is None:
            end = None if timeout_s is None else time.monotonic() + timeout_s
            while not self.ended():
                if end is not None and time.monotonic() >= end:
                    return False
                time.sleep(0.05)
            return True
        try:
            self._close(self.running.wait(timeout_s))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _close(self, code: int) -> None:
        self.code = code
        while self.files:
            self.files.pop().close()

    def exit_code(self) -> int | None:
        if not self.ended():
            raise NetException(
                "System.InvalidOperationException", "Process must exit before requested information can be determined."
            )
        if self.running is None:
            # Of a process that this one did not start, .NET Framework cannot tell.
            raise NetException(
                "System.InvalidOperationException",
                "Process was not started by this object, so requested information cannot be determined.",
            )
        assert self.code is not None
        return self.code - 2**32 if self.code >= 2**31 else self.code


def may_end(shell: Shell, seen: Seen) -> bool:
    """Whether the identity may end a process: its own, and all of them for administrators."""
    identity = shell.session.identity
    return seen.sid == identity.sid or ADMINISTRATORS in identity.groups


def end(shell: Shell, seen: Seen) -> None:
    """Process.Kill: raises NetException where it is not allowed."""
    if not may_end(shell, seen) or seen.pid == 4:
        raise NetException(
            "System.ComponentModel.Win32Exception", "Access is denied",
            properties={"NativeErrorCode": 5, "HResult": -2147467259},
        )  # fmt: skip
    shell.machine.processes.kill(seen.pid)


def commands(shell: Shell) -> list[Command]:
    processes = shell.machine.processes
    files = shell.session.files

    def named(name: str) -> list[Seen]:
        pattern = wildcard(name)
        return [seen for seen in processes.all() if pattern.match(seen.base_name)]

    def no_name(call: Call, name: str) -> None:
        call.write_error(
            f'Cannot find a process with the name "{name}". Verify the process name and call the cmdlet again.',
            "NoProcessFoundForGivenName", "ObjectNotFound", name, PROCESS_ERROR,
        )  # fmt: skip

    def no_id(call: Call, pid: int) -> None:
        call.write_error(
            f"Cannot find a process with the process identifier {pid}.",
            "NoProcessFoundForGivenId", "ObjectNotFound", pid, PROCESS_ERROR,
        )  # fmt: skip

    def found(call: Call, record: dict[str, Any]) -> Iterator[Process]:
        """What -Id, -Name and -InputObject name; what is missing is reported."""
        if record.get("InputObject") is not None:
            yield from record["InputObject"]
        elif record.get("Id") is not None:
            for pid in record["Id"]:
                seen = processes.find(pid)
                if seen is None:
                    no_id(call, pid)
                else:
                    yield Process(shell, seen)
        elif record.get("Name") is not None:
            for name in record["Name"]:
                several = named(name)
                if not several and not has_wildcard(name):
                    no_name(call, name)
                for seen in several:
                    yield Process(shell, seen)

    name = Parameter("Name", "string[]", position=0, by_name=True, aliases=("ProcessName",))
    pids = Parameter("Id", "int[]", by_name=True, aliases=("PID",))
    objects = Parameter("InputObject", "System.Diagnostics.Process[]", from_pipeline=True)

    @cmdlet("Get-Process", name, pids, objects)
    def get_process(call: Call) -> Iterator[object]:
        for record in call.records():
            if not any(record.get(key) is not None for key in ("Name", "Id", "InputObject")):
                yield from (
                    Process(shell, seen) for seen in sorted(processes.all(), key=lambda seen: seen.base_name.lower())
                )
            else:
                yield from found(call, record)

    @cmdlet(
        "Stop-Process", Parameter("Id", "int[]", position=0, by_name=True), Parameter("Name", "string[]", by_name=True),
        objects, Parameter("Force", "switch"), Parameter("PassThru", "switch"), should_process=True,
    )  # fmt: skip
    def stop_process(call: Call) -> Iterator[object]:
        for record in call.records():
            for process in list(found(call, record)):
                if call.what_if or process.ended():
                    continue
                seen = processes.find(process.pid)
                if seen is None:
                    continue
                if not call.switch("Force") and seen.sid != shell.session.identity.sid:
                    # It would ask before it ends what belongs to somebody else.
                    raise not_interactive()
                try:
                    end(shell, seen)
                except NetException as error:
                    who = f"{seen.base_name} ({seen.pid})"
                    call.write_error(
                        f'Cannot stop process "{who}" because of the following error: {error.message}',
                        "CouldNotStopProcess", "CloseError", process, PROCESS_ERROR,
                    )  # fmt: skip
                    continue
                if call.switch("PassThru"):
                    yield process

    @cmdlet(
        "Wait-Process", Parameter("Name", "string[]", position=0, by_name=True), Parameter("Id", "int[]", by_name=True),
        objects, Parameter("Timeout", "int", position=1),
    )  # fmt: skip
    def wait_process(call: Call) -> Iterator[object]:
        limit = call.get("Timeout")
        last = None if limit is None else time.monotonic() + limit
        for record in call.records():
            for process in list(found(call, record)):
                left = None if last is None else max(0.0, last - time.monotonic())
                if not process.wait(left):
                    name = process.seen.base_name if process.seen else str(process.pid)
                    call.write_error(
                        f'This command stopped operation because process "{name} ({process.pid})" is not stopped in '
                        "the specified time-out.",
                        "ProcessNotTerminated", "CloseError", process, "System.TimeoutException",
                    )  # fmt: skip
        return iter(())

    def redirected(call: Call, name: str, write: bool) -> tuple[IO[bytes] | None, Handle | None, str]:
        """The host's file of a -Redirect parameter, and the handle that keeps others from it."""
        if not call.has(name):
            return None, None, ""
        place = target(shell, call, call.get(name))
        if not isinstance(place, FileTarget):
            raise NotModelled(f"-{name} outside of the file system")
        if write:
            # Source: Start-Process opens them with FileShare.ReadWrite on Windows.
            opened = files.open(place.path, Mode.Create, Use.WRITE, Use.READ | Use.WRITE)
            host: IO[bytes] = files.entry(place.path).host.open("wb")
        else:
            opened = files.open(place.path, Mode.Open, Use.READ, Use.READ)
            host = files.entry(place.path).host.open("rb")
        opened.stream.close()
        return host, opened.handle, place.path.key

    @cmdlet(
        "Start-Process",
        Parameter("FilePath", position=0, mandatory=True, aliases=("PSPath",)),
        Parameter("ArgumentList", "string[]", position=1, aliases=("Args",)), Parameter("WorkingDirectory"),
        Parameter("NoNewWindow", "switch"), Parameter("PassThru", "switch"), Parameter("RedirectStandardError"),
        Parameter("RedirectStandardInput"), Parameter("RedirectStandardOutput"), Parameter("Wait", "switch"),
        Parameter("WindowStyle", enums.WINDOW_STYLE.name), Parameter("UseNewEnvironment", "switch"),
    )  # fmt: skip
    def start_process(call: Call) -> Iterator[object]:
        redirects = [name for name in call.bound if name.startswith("Redirect")]
        if call.has("WindowStyle") and call.switch("NoNewWindow"):
            raise _refused('Parameters "-NoNewWindow" and "-WindowStyle" cannot be specified at the same time.')
        if not redirects and not call.switch("NoNewWindow"):
            raise NotModelled(
                "Start-Process without -NoNewWindow or redirection, which goes through the desktop's shell"
            )
        # An array's elements are joined by blanks and not quoted: a known trap, which 7 has too.
        arguments = " ".join(call.get("ArgumentList", ()))
        directory = call.engine.location
        if call.has("WorkingDirectory"):
            place = target(shell, call, call.get("WorkingDirectory"))
            if not isinstance(place, FileTarget) or not files.is_directory(place.path):
                raise _refused("This command cannot be run due to the error: The directory name is invalid.")
            directory = str(place)
        opened: list[tuple[IO[bytes] | None, Handle | None, str]] = []
        try:
            streams = [
                redirected(call, "RedirectStandardInput", False),
                redirected(call, "RedirectStandardOutput", True),
                redirected(call, "RedirectStandardError", True),
            ]
            opened += streams
            if streams[1][2] and streams[1][2] == streams[2][2]:
                raise _refused(
                    'This command cannot be run because "RedirectStandardOutput" and "RedirectStandardError" are same. '
                    "Give different inputs and Run your command again."
                )
            with files.at(call.engine.location):
                program = find_program(files, call.get("FilePath"), shell.environment)
            line = f"{quoted(str(program))} {arguments}"
            environment = dict(shell.environment)
            if call.switch("UseNewEnvironment"):
                environment = dict(shell.session.environment())
            running = shell.session.launcher().start(
                program, line.strip(), shell.session.identity, environment, directory, shell.pid,
                stdin=streams[0][0] or subprocess.DEVNULL, stdout=streams[1][0], stderr=streams[2][0],
            )  # fmt: skip
        except Win32Error as error:
            text = {
                win32.FILE_NOT_FOUND: "The system cannot find the file specified",
                win32.ACCESS_DENIED: "Access is denied",
            }.get(error.code, error.text)
            for _, handle, _ in opened:
                if handle:
                    handle.close()
            raise _refused(f"This command cannot be run due to the error: {text}.") from error
        finally:
            for stream, _, _ in opened:
                if stream:
                    stream.close()
        process = Process(shell, processes.find(running.pid), running)
        process.files += [handle for _, handle, _ in opened if handle]
        # Without -Wait nobody asks for the code unless the script touches Handle before the end: 5.1's own trap.
        process.opened = False
        if call.switch("Wait"):
            process.wait(None)
        if call.switch("PassThru"):
            yield process

    return [get_process, stop_process, wait_process, start_process]


def _refused(text: str) -> PowerShellError:
    """Why Start-Process starts nothing."""
    return PowerShellError(
        text, "InvalidOperationException", "InvalidOperation", exception="System.InvalidOperationException"
    )


def types(shell: Shell) -> list[DotNetType]:
    processes = shell.machine.processes

    def known(process: Process) -> Seen:
        if process.seen is None:
            process.seen = processes.find(process.pid)
        if process.seen is None:
            raise NetException(
                "System.InvalidOperationException", "Process has exited, so the requested information is not available."
            )
        return process.seen

    def by_id(pid: int) -> Process:
        seen = processes.find(pid)
        if seen is None:
            raise NetException("System.ArgumentException", f"Process with an Id of {pid} is not running.")
        return Process(shell, seen)

    def by_name(name: str) -> list[Process]:
        return [Process(shell, seen) for seen in processes.all() if seen.base_name.lower() == name.lower()]

    def path(process: Process) -> str | None:
        return known(process).path or None

    def kill(process: Process) -> None:
        if process.ended():
            raise NetException(
                "System.InvalidOperationException", "Cannot process request because the process has exited."
            )
        end(shell, known(process))

    def handle(process: Process) -> int:
        process.opened = True
        return 0x2A4

    def exit_code(process: Process) -> int | None:
        # Source: Start-Process -PassThru gives an object without the process's handle; after the process's end its
        # exit code is null, unless Handle was asked for before.
        if not process.opened and process.running is not None:
            return None if process.ended() else process.exit_code()
        return process.exit_code()

    def wait(process: Process, milliseconds: int = -1) -> bool | None:
        done = process.wait(None if milliseconds < 0 else milliseconds / 1000)
        return done if milliseconds >= 0 else None

    def start(info: ProcessStartInfo) -> Process:
        process = Process(shell, None)
        process.info = info
        _begin(shell, process)
        return process

    def start_named(name: str, arguments: str = "") -> Process:
        return start(ProcessStartInfo(name, arguments))

    def start_own(process: Process) -> bool:
        _begin(shell, process)
        return True

    def priority(process: Process) -> EnumValue:
        return enums.PRIORITY_CLASS.of(32)

    def field(name: str, kind: str) -> Property:
        return Property(lambda info: getattr(info, name), lambda info, value: setattr(info, name, value), kind)

    def variables(info: ProcessStartInfo) -> Any:
        if info.variables is None:
            info.variables = Hashtable(dict(shell.environment))
        return info.variables

    def pipe(name: str) -> Property:
        def get(process: Process) -> Any:
            stream = getattr(process.running, name) if process.running else None
            if stream is None:
                shown = {"stdin": "StandardIn", "stdout": "StandardOut", "stderr": "StandardError"}[name]
                raise NetException(
                    "System.InvalidOperationException",
                    f"{shown} has not been redirected or the process hasn't started yet.",
                )
            return text_pipe(stream, writing=name == "stdin")

        return Property(get)

    info_type = DotNetType(
        "System.Diagnostics.ProcessStartInfo",
        python=ProcessStartInfo,
        new=method(ProcessStartInfo)
        | method(ProcessStartInfo, "string")
        | method(ProcessStartInfo, "string", "string"),
        members={
            "FileName": field("file_name", "string"),
            "Arguments": field("arguments", "string"),
            "WorkingDirectory": field("directory", "string"),
            "UseShellExecute": field("use_shell_execute", "bool"),
            "RedirectStandardInput": field("redirect_input", "bool"),
            "RedirectStandardOutput": field("redirect_output", "bool"),
            "RedirectStandardError": field("redirect_error", "bool"),
            "CreateNoWindow": field("no_window", "bool"),
            "EnvironmentVariables": Property(variables),
            "Environment": Property(variables),
        },
    )
    members: dict[str, Member] = {
        "Id": Property(lambda process: process.pid),
        "ProcessName": Property(net(lambda process: known(process).base_name)),
        "Name": Property(net(lambda process: known(process).base_name)),
        "Path": Property(net(path)),
        "SessionId": Property(net(lambda process: known(process).session)),
        "SI": Property(net(lambda process: known(process).session)),
        "StartTime": Property(net(lambda process: moment(known(process).started).to_local())),
        "WorkingSet64": Property(net(lambda process: Int64(known(process).resident))),
        "TotalProcessorTime": Property(net(lambda process: TimeSpan.seconds(known(process).cpu_s))),
        "CPU": Property(net(lambda process: known(process).cpu_s)),
        "PriorityClass": Property(net(priority)),
        "Handle": Property(handle),
        "HasExited": Property(lambda process: process.ended()),
        "ExitCode": Property(net(exit_code)),
        "ExitTime": Property(lambda process: DateTime.now()),
        "StartInfo": Property(
            lambda process: process.info, lambda process, info: setattr(process, "info", info), info_type.name
        ),
        "StandardInput": pipe("stdin"),
        "StandardOutput": pipe("stdout"),
        "StandardError": pipe("stderr"),
        "Start": method(net(start_own)),
        "Kill": method(net(kill)),
        "WaitForExit": method(net(wait)) | method(net(wait), "int"),
        "Refresh": method(lambda process: None),
        "Close": method(lambda process: None),
        "Dispose": method(lambda process: None),
    }
    process_type = DotNetType(
        "System.Diagnostics.Process",
        python=Process,
        new=method(lambda: Process(shell, None)),
        statics={
            "GetProcessById": method(net(by_id), "int"),
            "GetProcessesByName": method(net(by_name), "string"),
            "GetProcesses": method(net(lambda: [Process(shell, seen) for seen in processes.all()])),
            "GetCurrentProcess": method(net(lambda: by_id(shell.pid))),
            "Start": method(net(start), info_type.name)
            | method(net(start_named), "string")
            | method(net(start_named), "string", "string"),
        },
        members=members,
        text=lambda process: f"System.Diagnostics.Process ({process.seen.base_name if process.seen else process.pid})",
    )
    return [info_type, process_type]


def _begin(shell: Shell, process: Process) -> None:
    info = process.info
    if info.use_shell_execute and (info.redirect_input or info.redirect_output or info.redirect_error):
        raise NetException(
            "System.InvalidOperationException",
            "The Process object must have the UseShellExecute property set to false in order to redirect IO streams.",
        )
    if info.use_shell_execute:
        raise NotModelled("ProcessStartInfo with UseShellExecute, which goes through the desktop's shell")
    files = shell.session.files
    environment: Mapping[str, str] = shell.environment
    if info.variables is not None:
        environment = {str(name): str(value) for name, value in info.variables.items()}
    try:
        with files.at(shell.directory):
            program = find_program(files, info.file_name, shell.environment)
        process.running = shell.session.launcher().start(
            program, f'"{program}" {info.arguments}'.strip(), shell.session.identity, environment,
            info.directory or shell.directory, shell.pid,
            stdin=subprocess.PIPE if info.redirect_input else None,
            stdout=subprocess.PIPE if info.redirect_output else None,
            stderr=subprocess.PIPE if info.redirect_error else None,
        )  # fmt: skip
    except Win32Error as error:
        raise NetException(
            "System.ComponentModel.Win32Exception", error.text.rstrip("."),
            properties={"NativeErrorCode": error.code, "HResult": -2147467259},
        ) from error  # fmt: skip
    process.opened = True
    process.seen = shell.machine.processes.find(process.running.pid)

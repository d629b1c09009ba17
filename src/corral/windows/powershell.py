"""The protocol between corral and PowerShell on a Windows host. No I/O here.

Every script is started by the same command line, which no shell that sshd may put in between can misread. The
script, its values and the environment travel over standard input, and nothing of them becomes code on the way:

    channel.exec_command(COMMAND)
    channel.sendall(request("param($Path) Get-Item -LiteralPath $Path", parameters={"Path": path}))
    answer = Answer()
    for data in channel:
        for event in answer.feed(data):
            ...
    answer.close()
    answer.check("list a file", exit_code, clixml.decode(standard_error))

What goes over the wire, both ways, is described in bootstrap.ps1's counterparts below: `request` and `Answer`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from corral.errors import CorralError
from corral.windows.clixml import Line

Value = str | bool | int | Sequence[str]

#: cmd.exe takes no longer line (learn.microsoft.com, "Command prompt line string limitation").
CMD_LIMIT = 8191
DAMAGED = 97
CONSTRAINED = 98
MARK = "@corral "
#: Whole seconds, as bootstrap.ps1 hands them to Start-Sleep, whose greatest is 2,147,483.
LIMITS_S = range(1, 2_147_484)


def _read(name: str) -> str:
    return files("corral.windows").joinpath(name).read_text(encoding="ascii")


def stripped(text: str) -> str:
    """A script without comment lines, blank lines and indentation. It must hold no string of several lines."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def command_line(bootstrap: str) -> str:
    """PowerShell's command line for a script: letters, digits, and `. - + / =` alone, so no shell has a say in it.

    What sshd makes of it for each shell: PowerShell/openssh-portable, contrib/win32/win32compat/w32-doexec.c.
    -InputFormat None: PowerShell reads nothing of standard input (Serialization.DataFormat.None in its ConsoleHost).
    """
    encoded = base64.b64encode(bootstrap.encode("utf-16-le")).decode()
    return (
        "powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -InputFormat None -EncodedCommand " + encoded
    )


#: What every script is started with.
COMMAND = command_line(stripped(_read("bootstrap.ps1")))


def request(
    text: str,
    *,
    name: str = "script",
    parameters: Mapping[str, Value] | None = None,
    limit_s: int | None = None,
    environment: Mapping[str, str] | None = None,
    directory: str | None = None,
) -> bytes:
    """What is written to the standard input of COMMAND.

    text: the script; a param() block at its beginning takes the parameters.
    name: for messages.
    limit_s: after so many seconds the script and all that it started are killed; None: never.
    environment: variables of the script's process and of what it starts.
    directory: where it runs.
    Raises CorralError for what cannot be sent: half of a surrogate pair, a number of more than 64 bits, a limit
    that is not a whole number of seconds from 1 on, a variable without a name or with "=" in it.
    """
    lines = [f"script {_encoded(name, 'name')} {_encoded(text, 'script')}"]
    if limit_s is not None:
        if limit_s not in LIMITS_S:
            raise CorralError(f"the limit of {name} is {limit_s} s", f"Give whole seconds from 1 to {LIMITS_S[-1]}")
        lines.append(f"limit {int(limit_s)}")
    if directory:
        lines.append(f"directory {_encoded(directory, 'directory')}")
    for key, value in (environment or {}).items():
        if not key or "=" in key or "\0" in key + value:
            raise CorralError(f"{key!r} cannot be set as an environment variable", "Correct its name or value")
        lines.append(f"environment {_encoded(key, key)} {_encoded(value, key)}")
    lines += (f"parameter {_encoded(key, key)} {_typed(value, key)}" for key, value in (parameters or {}).items())
    body = "".join(f"{line}\n" for line in lines).encode("ascii")
    return f"corral {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode("ascii") + body


def _typed(value: Value, name: str) -> str:
    if isinstance(value, bool):
        return f"b {int(value)}"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise CorralError(f"the parameter {name} is {value}", "PowerShell's whole numbers have 64 bits")
        return f"i {value}"
    if isinstance(value, str):
        return f"s {_encoded(value, name)}"
    return "".join(("a", *(f" {_encoded(item, name)}" for item in value)))


def _encoded(text: str, name: str) -> str:
    try:
        return base64.b64encode(text.encode()).decode("ascii")
    except UnicodeEncodeError as error:
        raise CorralError(f"{name} holds half a surrogate pair, which is not a character", "Correct it") from error


@functools.cache
def assemble(text: str) -> str:
    """One of corral's own scripts as it is sent: its param() block, the functions of lib.ps1, the rest."""
    end = _after_param(text)
    return f"{text[:end]}\n{_library()}\n{text[end:]}"


@functools.cache
def _library() -> str:
    return stripped(_read("lib.ps1"))


def _after_param(text: str) -> int:
    """Where a script's param() block ends; 0 without one. Only comments and attributes may stand before it."""
    position = depth = 0
    opened = False
    while position < len(text):
        rest = text[position:]
        if rest.startswith("<#"):
            position = text.index("#>", position) + 2
        elif rest[0] == "#":
            position = text.find("\n", position) % (len(text) + 1)
        elif rest[0] in "'\"":
            position = text.index(rest[0], position + 1) + 1
        elif rest[0] in "([":
            depth += 1
            position += 1
        elif rest[0] in ")]":
            depth -= 1
            position += 1
            if opened and depth == 0:
                return position
        elif depth or rest[0].isspace():
            position += 1
        elif rest[:5].lower() == "param" and not opened:
            opened = True
            position += 5
        else:
            return 0
    return 0


@dataclass(frozen=True)
class Ready:
    """The request came whole; the script starts."""


@dataclass(frozen=True)
class Output:
    """One line that the script wrote, without its end."""

    line: str


@dataclass(frozen=True)
class Emitted:
    """A named result."""

    name: str
    text: str


@dataclass(frozen=True)
class Progress:
    """To be shown at once."""

    text: str


Event = Ready | Output | Emitted | Progress


class Answer:
    """Takes standard output piece by piece as it comes, and judges it in the end.

    Lines that begin with "@corral " are the protocol:

        ready                     the request came whole
        output BASE64             a line of the script's own that is not plain ASCII, or would pass for one of these
        emit NAME BASE64          a named result
        progress BASE64
        error CODE BASE64         why the script fails: "problem | remedy", then lines of detail
        exit N                    the script's exit code, where it ended without an exit statement
        end                       always last; without it the answer was cut off

    All others are the script's own output.
    """

    def __init__(self) -> None:
        self.ready = False
        self.ended = False
        self.exit: int | None = None
        self.failure: tuple[str, str] | None = None
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """The events in the lines that are whole by now. They end in LF, with or without a CR before it."""
        self._partial += data
        if b"\n" not in data:
            return []
        *lines, rest = bytes(self._partial).split(b"\n")
        self._partial = bytearray(rest)
        events = (self._event(line.removesuffix(b"\r").decode("utf-8", "replace")) for line in lines)
        return [event for event in events if event]

    def close(self) -> list[Event]:
        """At the end of standard output: a last line without end is output, but half a line of protocol is nothing."""
        line = self._partial.decode("utf-8", "replace")
        self._partial.clear()
        return [Output(line)] if line and not line.startswith(MARK) else []

    def _event(self, line: str) -> Event | None:
        if not line.startswith(MARK):
            return Output(line)
        kind, _, rest = line.removeprefix(MARK).partition(" ")
        name, _, encoded = rest.partition(" ")
        match kind:
            case "ready":
                self.ready = True
                return Ready()
            case "output":
                return Output(_decoded(rest))
            case "emit":
                return Emitted(name, _decoded(encoded))
            case "progress":
                return Progress(_decoded(rest))
            case "error":
                self.failure = (name, _decoded(encoded))
            case "exit":
                self.exit = int(rest)
            case "end":
                self.ended = True
            case _:
                return Output(line)
        return None

    def exit_code(self, from_sshd: int) -> int:
        """The script's exit code, as a signed number of 32 bits, which is how Windows' own programs show it.

        from_sshd: the channel's. Where sshd's shell is a PowerShell it is only 0 or 1 (learn.microsoft.com,
        "about_PowerShell_exe", -Command: an `exit N` there gives 1; the code of the last program that ran is known all
        the same).
        """
        code = self.exit if self.exit is not None else from_sshd
        return (code + 2**31) % 2**32 - 2**31

    def check(self, name: str, from_sshd: int, errors: Sequence[Line], success: Sequence[int] = (0,)) -> None:
        """Raise for an answer that is not a success, with a text for people.

        name: what ran.
        from_sshd: the channel's exit code; -1: the connection ended without one.
        errors: the lines of standard error (corral.windows.clixml.decode); the last of them are shown.
        success: the exit codes that are none of failure.
        Raises HostError where the script itself says why, else CorralError.
        """
        from corral.remote import HostError  # there, because Linux hosts raise it too, and that module needs this one

        detail = "\n".join([line.text for line in errors if line.stream != "information"][-15:])
        if self.failure and (self.failure[0] == "language" or from_sshd == CONSTRAINED):
            raise CorralError(
                "PowerShell runs in constrained language mode on this host",
                "Let the ssh user run scripts in full language mode. AppLocker and App Control (WDAC) policies "
                "forbid it, and so does the machine variable __PSLockdownPolicy; on the host, "
                "$ExecutionContext.SessionState.LanguageMode shows it",
            )
        if self.failure:
            raise HostError(*self.failure)
        if not self.ready:
            raise _not_started(name, from_sshd, detail)
        if not self.ended:
            raise CorralError(
                f"{name} was cut off on the host before it ended",
                "What it had done stays done; run again to continue",
                detail,
            )
        code = self.exit_code(from_sshd)
        if code not in {(wanted + 2**31) % 2**32 - 2**31 for wanted in success}:
            raise CorralError(f"{name} failed on the host (exit code {code})", detail=detail)


def _not_started(name: str, from_sshd: int, detail: str) -> CorralError:
    if from_sshd == DAMAGED or "bytes came" in detail:
        return CorralError(f"{name} did not reach the host whole", "Run again", detail)
    return CorralError(
        f"the host could not start PowerShell for {name} (exit code {from_sshd})",
        "Is it a Windows host? powershell.exe must be on the PATH of what sshd starts",
        detail,
    )


def _decoded(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except ValueError:
        return encoded

"""bootstrap.ps1 and lib.ps1, their very text, in the stand-in for PowerShell (lab/windows/powershell)."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.errors import CorralError
from corral.remote import HostError
from corral.windows import clixml, powershell
from corral.windows.powershell import Answer, Emitted, Event, Output, Progress, Ready, Value
from lab.windows.powershell import Engine

Write = Callable[[bytes], None]


@dataclass
class Program:
    """A program that scripts can start: what it was given, and what it writes."""

    output: bytes = b""
    errors: bytes = b""
    exit_code: int = 0
    ran: list[tuple[list[str], bytes | None]] = field(default_factory=list)
    then: Callable[[], None] = lambda: None

    def run(
        self,
        arguments: list[str],
        stdin: bytes | None,
        environment: Mapping[str, str],
        directory: str,
        stdout: Write,
        stderr: Write,
    ) -> int:
        self.ran.append((list(arguments), stdin))
        stdout(self.output)
        stderr(self.errors)
        self.then()
        return self.exit_code


@dataclass
class Ran:
    exit_code: int
    answer: Answer
    events: list[Event]
    output: str
    errors: list[clixml.Line]

    @property
    def lines(self) -> list[str]:
        return [event.line for event in self.events if isinstance(event, Output)]

    def check(self) -> None:
        self.answer.check("it", self.exit_code, self.errors)


class PowerShell:
    """A machine with nothing on it but the programs that a test gives it."""

    def __init__(self, edition: str = "5.1", language_mode: str = "FullLanguage") -> None:
        self.edition = edition
        self.language_mode = language_mode
        self.programs: dict[str, Program] = {}
        self.environment: dict[str, str] = {}

    def raw(self, data: bytes) -> Ran:
        stdout, stderr = BytesIO(), BytesIO()
        engine = Engine(
            [],
            self.programs.get,
            {},
            language_mode=self.language_mode,
            stdin=BytesIO(data),
            stdout=stdout,
            stderr=stderr,
            environment=self.environment,
            pid=4711,
            location="C:\\",
            edition=self.edition,
        )
        exit_code = engine.run_command_line(powershell.COMMAND.removeprefix("powershell.exe "))
        answer = Answer()
        events = answer.feed(stdout.getvalue()) + answer.close()
        return Ran(exit_code, answer, events, stdout.getvalue().decode(), clixml.decode(stderr.getvalue()))

    def run(self, script: str, **parameters: Value) -> Ran:
        return self.raw(powershell.request(script, parameters=parameters))

    def own(self, script: str, **parameters: Value) -> Ran:
        """One of corral's scripts, with lib.ps1."""
        return self.run(powershell.assemble(script), **parameters)


@pytest.fixture(params=["5.1", "7"])
def host(request: pytest.FixtureRequest) -> PowerShell:
    return PowerShell(request.param)


# --- The request ------------------------------------------------------------------------------------------------------


def test_a_script_runs_and_ends(host: PowerShell) -> None:
    ran = host.run("'hello'")
    ran.check()
    assert ran.events == [Ready(), Output("hello")]
    assert ran.output.splitlines() == ["@corral ready", "hello", "@corral exit 0", "@corral end"]


def test_an_empty_standard_input_is_a_failure(host: PowerShell) -> None:
    ran = host.raw(b"")
    assert ran.exit_code == powershell.DAMAGED
    assert ran.events == []
    with pytest.raises(CorralError, match="did not reach the host whole"):
        ran.check()


WHOLE = powershell.request("'must not run'", parameters={"A": "b"})


@pytest.mark.parametrize("length", range(1, len(WHOLE), 7))
def test_a_standard_input_that_was_cut_anywhere_is_a_failure_and_nothing_runs(length: int) -> None:
    ran = PowerShell().raw(WHOLE[:length])
    assert ran.exit_code == powershell.DAMAGED
    assert ran.events == []


@pytest.mark.parametrize("at", [0, 8, 30, len(WHOLE) - 5])
def test_a_request_with_a_byte_that_is_another_is_a_failure_and_nothing_runs(at: int) -> None:
    ran = PowerShell().raw(WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :])
    assert ran.exit_code == powershell.DAMAGED
    assert ran.events == []


def test_what_comes_after_the_body_is_not_read(host: PowerShell) -> None:
    host.raw(WHOLE + b"\nand more").check()


def test_constrained_language_mode_is_told_before_any_type_is_touched() -> None:
    ran = PowerShell(language_mode="ConstrainedLanguage").run("'must not run'")
    assert ran.exit_code == powershell.CONSTRAINED
    assert ran.lines == []
    with pytest.raises(CorralError, match="constrained language mode"):
        ran.check()


HOSTILE = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("'\"`$();|&<>%^!\\\r\n\t\0\x1b\u2018\u2019\u201a\u201b\u201c\u201d\ufeff\u2028😀模"),
    ),
    max_size=30,
)


def test_parameters_arrive_with_their_types(host: PowerShell) -> None:
    script = "param($S, $I, $B, $A)\nforeach ($v in $S, $I, $B) { $v.GetType().Name }; $A.GetType().Name; $A.Count; $B"
    ran = host.run(script, S="x", I=2**40, B=False, A=["a", ""])
    assert ran.lines == ["String", "Int64", "Boolean", "String[]", "2", "False"]


@pytest.mark.parametrize("values", [[], [""], ["one"], ["a b", "", "模"]])
def test_an_array_arrives_with_as_many_items_as_it_had(host: PowerShell, values: list[str]) -> None:
    ran = host.own("param([string[]]$A)\nEmit-Json 'count' $A.Count\nforeach ($v in $A) { Emit 'v' $v }", A=values)
    assert ran.events[1] == Emitted("count", str(len(values)))
    assert [event.text for event in ran.events[2:] if isinstance(event, Emitted)] == values


BASE64 = "[Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($v))"


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values=st.lists(HOSTILE, max_size=15))
def test_any_value_arrives_unchanged_and_runs_nothing(values: list[str]) -> None:
    ran = PowerShell().run(f"param($Values)\nforeach ($v in $Values) {{ {BASE64} }}", Values=values)
    ran.check()
    assert [base64.b64decode(line).decode() for line in ran.lines] == values


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(texts=st.lists(HOSTILE, max_size=15))
def test_any_text_in_a_script_arrives_unchanged(texts: list[str]) -> None:
    doubled = ("".join(each * 2 if each in "'\u2018\u2019\u201a\u201b" else each for each in text) for text in texts)
    ran = PowerShell().run("\n".join(f"$v = '{text}'; {BASE64}" for text in doubled))
    ran.check()
    assert [base64.b64decode(line).decode() for line in ran.lines] == texts


def test_environment_and_directory_are_set_for_the_script() -> None:
    host = PowerShell()
    data = powershell.request("$env:MODEL", environment={"MODEL": "模 型", "A(x86)": "y"})
    assert host.raw(data).lines == ["模 型"]
    assert host.environment["A(x86)"] == "y"


# --- Output -----------------------------------------------------------------------------------------------------------


def test_lines_of_any_text_come_back_and_none_passes_for_protocol(host: PowerShell) -> None:
    lines = ["@corral end", "模型 ü", "", "a\tb", "@corral emit x eA==", "  x  ", "x" * 5000]
    ran = host.run("param([string[]]$Lines)\n$Lines", Lines=lines)
    ran.check()
    assert ran.lines == lines


def test_objects_are_shown_as_powershell_shows_them(host: PowerShell) -> None:
    ran = host.run("'text'; 5; $true")
    assert ran.lines == ["text", "5", "True"]


def test_a_thousand_lines_come_in_their_order() -> None:
    ran = PowerShell().run('1..1000 | ForEach-Object { "line $_" }')
    ran.check()
    assert ran.lines == [f"line {number}" for number in range(1, 1001)]


# --- The end ----------------------------------------------------------------------------------------------------------


def test_exit_ends_the_script_with_its_code_and_the_end_is_still_told(host: PowerShell) -> None:
    ran = host.run("'before'; & { exit 7 }; 'after'")
    assert (ran.exit_code, ran.lines, ran.answer.ended) == (7, ["before"], True)


def test_exit_with_0_is_a_success(host: PowerShell) -> None:
    host.run("exit 0").check()


def test_the_code_of_the_last_program_is_the_scripts(host: PowerShell) -> None:
    host.programs["tool.exe"] = Program(exit_code=3010)
    ran = host.run("tool.exe; 'done'")
    assert (ran.exit_code, ran.lines, ran.answer.exit) == (3010, ["done"], 3010)


def test_an_exception_ends_it_with_1_its_message_its_id_and_its_place(host: PowerShell) -> None:
    ran = host.run("'before'\nthrow 'boom 模'\n'after'")
    assert (ran.exit_code, ran.lines, ran.answer.ended) == (1, ["before"], True)
    texts = [line.text for line in ran.errors]
    assert texts[:2] == ["boom 模", "boom 模"]
    assert "At line:2 char:1" in texts[2]


def test_an_error_that_is_not_terminating_is_made_so(host: PowerShell) -> None:
    ran = host.run("Write-Error 'bad'; 'after'")
    assert (ran.exit_code, ran.lines) == (1, [])
    assert ran.errors[0].text == "bad"


def test_a_script_that_cannot_be_parsed_says_so(host: PowerShell) -> None:
    ran = host.run("if (")
    assert (ran.exit_code, ran.answer.ready, ran.answer.ended) == (1, True, True)
    assert ran.errors


def test_strict_mode_in_the_script_does_not_break_the_bootstrap(host: PowerShell) -> None:
    host.run("Set-StrictMode -Version Latest; 'ok'").check()
    ran = host.run("Set-StrictMode -Version Latest; $not_set")
    assert ran.exit_code == 1
    assert "not_set" in ran.errors[0].text


def test_at_its_limit_the_script_and_all_that_it_started_are_killed_while_it_runs() -> None:
    host = PowerShell()
    kill = host.programs["taskkill.exe"] = Program()
    poll = host.programs["poll.exe"] = Program()
    poll.then = lambda: setattr(poll, "exit_code", int(bool(kill.ran)))
    begun = time.monotonic()
    script = "foreach ($i in 1..100) { poll.exe; if ($LASTEXITCODE) { exit 5 }; Start-Sleep -Milliseconds 50 }"
    assert host.raw(powershell.request(script, limit_s=1)).exit_code == 5
    assert time.monotonic() - begun > 1
    assert kill.ran == [(["/F", "/T", "/PID", "4711"], None)]


def test_a_script_that_ends_before_its_limit_does_not_wait_for_it(host: PowerShell) -> None:
    begun = time.monotonic()
    host.raw(powershell.request("'x'", limit_s=60)).check()
    assert time.monotonic() - begun < 5


# --- lib.ps1 ----------------------------------------------------------------------------------------------------------


def test_a_failure_that_a_script_names_ends_it_with_its_code_and_text(host: PowerShell) -> None:
    ran = host.own("Fail 'disk' 'D: is full' 'Free some space' '12 MiB left'; 'after'")
    assert ran.lines == []
    with pytest.raises(HostError) as caught:
        ran.check()
    assert caught.value.code == "disk"
    assert str(caught.value) == "D: is full. Free some space.\n    12 MiB left"


def test_progress_is_told(host: PowerShell) -> None:
    assert host.own("Progress '半'").events == [Ready(), Progress("半")]


@pytest.mark.parametrize(
    ("value", "document"),
    [("$null", "null"), ("@()", "[]"), ("@('one')", '["one"]'), ("@{ a = @(1) }", '{"a":[1]}'), ("'x'", '"x"')],
)
def test_results_are_json_that_keeps_arrays_of_one_and_none(host: PowerShell, value: str, document: str) -> None:
    assert host.own(f"Emit-Json 'result' {value}").events == [Ready(), Emitted("result", document)]


def test_a_program_gets_an_empty_standard_input_and_its_output_is_lines(host: PowerShell) -> None:
    tool = host.programs["tool.exe"] = Program("模\r\ntwo\r\n".encode(), b"careful\r\n", 3)
    script = "$found = @(Invoke-Native 'tool.exe' @('a b', '/x'))\nEmit-Json 'it' @($found)\n"
    ran = host.own(script + "Emit-Json 'rest' @($script:NativeExit, $script:NativeErrors)")
    ran.check()
    assert ran.events[1:] == [Emitted("it", '["模","two"]'), Emitted("rest", '[3,["careful"]]')]
    assert ran.exit_code == 0
    assert tool.ran == [(["a b", "/x"], b"")]


@pytest.mark.parametrize("argument", ['a"b', "", "a b\\"])
def test_an_argument_that_windows_powershell_would_garble_is_refused(host: PowerShell, argument: str) -> None:
    host.programs["tool.exe"] = Program()
    ran = host.own("param([string]$A)\nInvoke-Native 'tool.exe' @($A)", A=argument)
    assert ran.exit_code == 1
    assert host.programs["tool.exe"].ran == []


def test_a_program_that_is_not_there_ends_the_script(host: PowerShell) -> None:
    ran = host.own("Invoke-Native 'no.exe'; 'after'")
    assert (ran.exit_code, ran.lines) == (1, [])


def test_a_request_says_what_it_is() -> None:
    header, _, body = WHOLE.partition(b"\n")
    assert header == f"corral {len(body)} {hashlib.sha256(body).hexdigest()}".encode()
    assert base64.b64decode(body.split()[2]) == b"'must not run'"

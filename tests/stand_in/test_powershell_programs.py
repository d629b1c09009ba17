"""Executables: about_Parsing (arguments for native commands), about_Redirection, about_Automatic_Variables
($LASTEXITCODE). That Windows PowerShell escapes nothing in arguments, and what it makes of redirected error output, is
in issues 1995, 4002, 4358 of PowerShell/PowerShell."""

import threading
import time
from collections.abc import Callable, Mapping

import pytest

from lab.windows.powershell import Call, PowerShellError, command
from lab.windows.powershell.native import Lines, Stopped, needs_quotes, split_arguments
from lab.windows.powershell.testing import Program, Shell


def call(words: str, before: str = "", edition: str = "5.1") -> tuple[str, list[str] | None]:
    """The command line and the arguments that a program gets."""
    program = Program()
    Shell(programs={"tool.exe": program}, edition=edition).run(f"{before}; tool.exe {words}")
    return program.line, program.arguments


@pytest.mark.parametrize(
    ("words", "line", "arguments"),
    [
        ("a b", "a b", ["a", "b"]),
        ("'a b'", '"a b"', ["a b"]),
        ("'a \"b c\" d'", '"a "b c" d"', ["a b", "c d"]),
        ("'a\"b'", 'a"b', ["ab"]),
        ("'say \\\"hi\\\"'", '"say \\"hi\\""', ['say "hi"']),
        ("'C:\\Program Files\\'", '"C:\\Program Files\\"', ['C:\\Program Files"']),
        ("'C:\\dir\\'", "C:\\dir\\", ["C:\\dir\\"]),
        ("'' x", "x", ["x"]),
        ("a,b", "a,b", ["a,b"]),
        ("a, b", "a, b", ["a,", "b"]),
        ("(1, 2)", "1 2", ["1", "2"]),
        ("--flag=value", "--flag=value", ["--flag=value"]),
        ("-flag value", "-flag value", ["-flag", "value"]),
        ("-p:5", "-p:5", ["-p:5"]),
        ("-p: 5", "-p: 5", ["-p:", "5"]),
        ("-Dfoo.bar=1", "-Dfoo .bar=1", ["-Dfoo", ".bar=1"]),
        ("/c dir", "/c dir", ["/c", "dir"]),
        ("$true 1.5", "True 1.5", ["True", "1.5"]),
        ('"a`tb"', '"a\tb"', ["a\tb"]),
    ],
)
def test_arguments_are_joined_as_windows_powershell_joins_them(words: str, line: str, arguments: list[str]) -> None:
    assert call(words) == (line, arguments)


def test_an_array_is_one_argument_for_each_element_and_splatting_too() -> None:
    assert call("$l", "$l = 'a', 'b c'")[1] == ["a", "b c"]
    assert call("@l x", "$l = 'a', 'b c'")[1] == ["a", "b c", "x"]


def test_null_is_no_argument() -> None:
    assert call("a $null b")[1] == ["a", "b"]


def test_powershell_7_passes_arguments_as_they_are() -> None:
    assert call("'a \"b\" c' '' 'x\\'", edition="7")[1] == ['a "b" c', "", "x\\"]


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ('a "b c" d', ["a", "b c", "d"]),
        ('"a\\"b"', ['a"b']),
        ('a\\\\"b c"', ["a\\b c"]),
        ("a\\b", ["a\\b"]),
        ('"a""b"', ['a"b']),
        ('""', [""]),
        ("", []),
    ],
)
def test_a_command_line_is_split_as_the_c_runtime_does(line: str, arguments: list[str]) -> None:
    """Parsing C command-line arguments, in Microsoft's C documentation."""
    assert split_arguments(line) == arguments


def test_quotes_are_needed_for_white_space_outside_of_quotes() -> None:
    assert [needs_quotes(text) for text in ("ab", "a b", '"a b"', 'x"a b"y', "a\tb")] == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_output_is_text_line_by_line() -> None:
    shell = Shell(programs={"tool.exe": Program(b"a\r\nb\n\r\nc")})
    assert shell.run("$l = tool.exe; $l.Count; $l") == [4, "a", "b", "", "c"]


def test_one_line_is_one_text_and_none_is_null() -> None:
    assert Shell(programs={"tool.exe": Program(b"a\r\n")}).run("$l = tool.exe; $l.GetType().Name") == "String"
    assert Shell(programs={"tool.exe": Program()}).run("$l = tool.exe; $null -eq $l") is True


def test_output_is_read_in_the_console_s_code_page() -> None:
    """[Console]::OutputEncoding; code page 437 here, UTF-8 only after it was set."""
    shell = Shell(programs={"tool.exe": Program("é\n".encode())})
    assert shell.run("tool.exe") == "\u251c\u2310"
    assert shell.run("[Console]::OutputEncoding = [Text.UTF8Encoding]::new($false); tool.exe") == "é"


def test_lastexitcode_and_success_follow_the_exit_code() -> None:
    shell = Shell(programs={"good.exe": Program(), "bad.exe": Program(code=3)})
    assert shell.run("bad.exe; $?; $LASTEXITCODE; good.exe; $?; $LASTEXITCODE") == [False, 3, True, 0]


def test_an_exit_code_is_no_error_even_with_stop() -> None:
    assert (
        Shell(programs={"bad.exe": Program(code=3)}).run("$ErrorActionPreference = 'Stop'; bad.exe; 'after'") == "after"
    )


def test_error_output_that_is_not_redirected_passes_by() -> None:
    shell = Shell(programs={"tool.exe": Program(b"out\n", b"raw error")})
    assert shell.run("$ErrorActionPreference = 'Stop'; $x = tool.exe; $x; $Error.Count") == ["out", 0]
    assert shell.err.getvalue() == b"raw error"


def test_redirected_error_output_is_error_records() -> None:
    shell = Shell(programs={"tool.exe": Program(b"out\n", b"e1\r\ne2\r\n")})
    assert shell.run("$l = tool.exe 2>&1; $l | ForEach-Object { $_.GetType().Name }; \"$($l[0])\"; "
"$l[0].FullyQualifiedErrorId; $l[1].FullyQualifiedErrorId") == [
        "ErrorRecord", "ErrorRecord", "String", "e1", "NativeCommandError", "NativeCommandErrorMessage",
    ]  # fmt: skip


@pytest.mark.parametrize("redirection", ["2>&1", "2>$null", "*>$null"])
def test_with_stop_the_first_redirected_line_ends_the_script(redirection: str) -> None:
    shell = Shell(programs={"tool.exe": Program(b"", b"careful\n")})
    with pytest.raises(PowerShellError) as caught:
        shell.run(f"$ErrorActionPreference = 'Stop'; tool.exe {redirection}; 'after'")
    assert (caught.value.message, caught.value.error_id) == ("careful", "NativeCommandError")


def test_powershell_7_does_not_mind() -> None:
    shell = Shell(programs={"tool.exe": Program(b"", b"careful\n")}, edition="7")
    assert shell.run("$ErrorActionPreference = 'Stop'; tool.exe 2>$null; 'after'; $Error.Count") == ["after", 0]


def test_a_redirection_around_it_counts_too() -> None:
    shell = Shell(programs={"tool.exe": Program(b"", b"careful\n")})
    with pytest.raises(PowerShellError):
        shell.run("$ErrorActionPreference = 'Stop'; & { tool.exe } 2>$null")


def test_silence_drops_redirected_lines() -> None:
    shell = Shell(programs={"tool.exe": Program(b"out\n", b"careful\n")})
    assert shell.run("$ErrorActionPreference = 'SilentlyContinue'; tool.exe 2>&1") == "out"


def test_nothing_piped_leaves_a_program_the_shell_s_own_input_and_null_gives_it_an_empty_one() -> None:
    program = Program()
    shell = Shell(programs={"tool.exe": program})
    shell.run("tool.exe")
    assert program.stdin is None
    shell.run("$null | tool.exe")
    assert program.stdin == b""


def test_piped_text_arrives_as_lines_in_the_output_encoding_which_is_ascii() -> None:
    """about_Preference_Variables, $OutputEncoding."""
    program = Program()
    shell = Shell(programs={"tool.exe": program})
    shell.run("'a', 'é' | tool.exe")
    assert program.stdin == b"a\r\n?\r\n"
    shell.run("$OutputEncoding = [Text.UTF8Encoding]::new($false); 'é' | tool.exe")
    assert program.stdin == "é\r\n".encode()


def test_a_program_may_be_named_by_a_variable_or_a_quoted_path() -> None:
    program = Program(b"x\n")
    shell = Shell(programs={"C:\\Program Files\\tool.exe": program})
    assert shell.run("$p = 'C:\\Program Files\\tool.exe'; & $p 1; & 'C:\\Program Files\\tool.exe' 2") == ["x", "x"]


def test_output_to_the_host_passes_by_as_bytes() -> None:
    shell = Shell(programs={"tool.exe": Program("é".encode())})
    assert shell.encoded("tool.exe").code == 0
    assert shell.out.getvalue() == "é".encode()


def test_lines_come_while_the_program_runs() -> None:
    """A pipeline behind a program works on each line as it comes, not at the program's end."""
    seen = threading.Event()

    class Slow(Program):
        def run(
            self,
            arguments: list[str],
            stdin: bytes | None,
            environment: Mapping[str, str],
            directory: str,
            stdout: Callable[[bytes], None],
            stderr: Callable[[bytes], None],
        ) -> int:
            stdout(b"first\n")
            assert seen.wait(10)
            stdout(b"second\n")
            return 0

    @command("Set-Seen")
    def set_seen(call: Call) -> None:
        seen.set()

    shell = Shell([set_seen], {"tool.exe": Slow()})
    assert shell.run("tool.exe | ForEach-Object { Set-Seen; $_ }") == ["first", "second"]


def test_a_program_whose_reader_is_gone_is_stopped() -> None:
    ended = []

    class Endless(Program):
        def run(
            self,
            arguments: list[str],
            stdin: bytes | None,
            environment: Mapping[str, str],
            directory: str,
            stdout: Callable[[bytes], None],
            stderr: Callable[[bytes], None],
        ) -> int:
            try:
                while True:
                    stdout(b"y\n")
            except Stopped:
                ended.append(True)
                raise

    shell = Shell(programs={"tool.exe": Endless()})
    assert shell.run("tool.exe | Select-Object -First 2") == ["y", "y"]
    deadline = time.monotonic() + 10
    while not ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended


def test_a_carriage_return_alone_ends_a_line_and_one_at_the_end_of_a_piece_waits() -> None:
    lines = Lines("utf-8")
    assert lines.feed(b"a\rb\r") == ["a"]
    assert lines.feed(b"\nc") == ["b"]
    assert lines.feed(b"", final=True) == ["c"]


def test_a_character_cut_in_two_is_put_together() -> None:
    lines = Lines("utf-8")
    data = "日本\n".encode()
    assert lines.feed(data[:4]) == []
    assert lines.feed(data[4:]) == ["日本"]


def test_variables_of_the_environment_reach_a_program() -> None:
    seen: dict[str, str] = {}

    class Look(Program):
        def run(
            self,
            arguments: list[str],
            stdin: bytes | None,
            environment: Mapping[str, str],
            directory: str,
            stdout: Callable[[bytes], None],
            stderr: Callable[[bytes], None],
        ) -> int:
            seen.update(environment, here=directory)
            return 0

    Shell(programs={"tool.exe": Look()}).run("$env:MINE = 'x'; tool.exe")
    assert (seen["MINE"], seen["here"]) == ("x", "C:\\Users\\admin")

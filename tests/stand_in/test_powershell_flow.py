"""Statements: about_If, about_For, about_Foreach, about_While, about_Do, about_Switch, about_Break, about_Continue;
about_Parsing."""

import pytest

from lab.windows.powershell import PowerShellError, Refusal
from lab.windows.powershell.parse import parse
from lab.windows.powershell.testing import Shell, run


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("if ($false) { 1 } elseif (1) { 2 } else { 3 }", 2),
        ("if ($false) { 1 }\nelse { 3 }", 3),
        ("for ($i = 0; $i -lt 3; $i++) { $i }", [0, 1, 2]),
        ("for (;;) { 'once'; break }", "once"),
        ("foreach ($i in 1..3) { if ($i -eq 2) { continue }; $i }", [1, 3]),
        ("$i = 0; while ($true) { $i++; if ($i -gt 2) { break } }; $i", 3),
        ("$i = 0; do { $i++ } while ($i -lt 3); $i", 3),
        ("$i = 0; do { $i++ } until ($i -ge 3); $i", 3),
        (
            ':outer foreach ($i in 1..3) { foreach ($j in 1..3) { if ($j -eq 2) { continue outer }; "$i$j" } }',
            ["11", "21", "31"],
        ),
        (":outer while ($true) { while ($true) { break outer } } 'done'", "done"),
        ("switch ('B') { a { 1 } b { 2 } default { 3 } }", 2),
        ("switch ('B') { 'b' { 2 } { $_ -eq 'b' } { 3 } }", [2, 3]),
        ("switch ('b') { 'b' { 2; break } 'b' { 3 } }", 2),
        ("switch (1, 2, 3) { 2 { 'two'; continue } default { $_ } }", [1, "two", 3]),
        ("switch (1, 2, 3) { 2 { break } default { $_ } }", 1),
        ("switch -Wildcard ('abc') { 'a*' { 'yes' } 'x*' { 'no' } }", "yes"),
        ("switch -Regex ('a7') { '\\d' { $Matches[0] } }", "7"),
        ("switch -CaseSensitive ('B') { 'b' { 1 } 'B' { 2 } }", 2),
        ("$x = switch (5) { 5 { 'five' } }; $x", "five"),
        ("$i = 0; $r = while ($i -lt 2) { $i++; $i }; $r", [1, 2]),
    ],
)
def test_statements(script: str, expected: object) -> None:
    assert run(script) == expected


def test_break_outside_of_a_loop_ends_whoever_called() -> None:
    """about_Break: outside of a loop it looks for one in the callers."""
    assert run("foreach ($i in 1..3) { $i; 1 | ForEach-Object { break } }") == 1


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("Write-Output abc", "abc"),
        ("Write-Output a-b.c:d/e", "a-b.c:d/e"),
        ("Write-Output 5", 5),
        ("Write-Output -5", -5),
        ("Write-Output 1KB", 1024),
        ("Write-Output 5x", "5x"),
        ("Write-Output '5'", "5"),
        ("$x = 2; Write-Output $x", 2),
        ("$x = 2; Write-Output a$x", "a2"),
        ("$x = 'C:'; Write-Output $x\\dir", "C:\\dir"),
        ("$o = @{ p = 3 }; Write-Output $o.p", 3),
        ("$o = @{ p = 3 }; Write-Output a$o.p", "aSystem.Collections.Hashtable.p"),
        ("Write-Output $(1 + 1)", 2),
        ("Write-Output (1 + 1)", 2),
        ("Write-Output a,b", ["a", "b"]),
        ("Write-Output a, b", ["a", "b"]),
        ('Write-Output "a b"', "a b"),
        ('Write-Output a"b c"d', "ab cd"),
        ("Write-Output `$x", "$x"),
        ("Write-Output a#b", "a#b"),
        ("Write-Output a #b", "a"),
        ("Write-Output $env:COMPUTERNAME", "BOX"),
        ("Write-Output [int]", "[int]"),
        ("Write-Output -InputObject:5", 5),
        ("Write-Output `\n  'next'", "next"),
        ("'a' |\n  Write-Output", "a"),
        ("1; 2 # three\n<# four\n#> 5", [1, 2, 5]),
        ("$a = @(\n  1\n  2,\n  3\n)\n$a.Count", 3),
        ("$h = @{\n  a = 1 # one\n\n  b = 2; c = 3\n}\n$h.Count", 3),
        ("(\n  1 +\n  2\n)", 3),
        ("[int] '5' + 1", 6),
        ("[string]::Join(\n  ',',\n  @(1, 2)\n)", "1,2"),
        ("function f($x) { $x } f (f 3)", 3),
        ("if (-not $true -or $true) { 1 }", 1),
        ("1..3 | ForEach-Object -Process { $_ } | Select-Object -Last 1", 3),
    ],
)
def test_words_and_expressions(script: str, expected: object) -> None:
    """about_Parsing: argument mode and expression mode."""
    assert run(script) == expected


@pytest.mark.parametrize(
    "script",
    [
        "if ($true) { 1",
        "1 +",
        "'abc",
        '"abc',
        "@'\nabc",
        "1 2",
        "foo |",
        "$x = ",
        "a && b",
        "foreach (x in 1) { }",
        "try { 1 }",
        "1 | 2",
        "function { }",
        "@{ a 1 }",
        "$a.b(1,)",
        "@{ a = 1 b = 2 }",
        "}",
        "a < b",
    ],
)
def test_what_is_no_script_is_a_parse_error(script: str) -> None:
    with pytest.raises(PowerShellError) as caught:
        parse(script)
    assert caught.value.category == "ParserError"


@pytest.mark.parametrize(
    "script",
    [
        "class A { }",
        "enum A { B }",
        "using namespace System",
        "data { }",
        "foo --% bar",
        "workflow w { }",
        "switch -File x { }",
        "#requires -RunAsAdministrator",
        "function f { dynamicparam { } }",
        "[int[,]]$x",
        "1 > file.txt; Write-Output x > file.txt",
    ],
)
def test_syntax_that_is_not_modelled_is_refused(script: str) -> None:
    with pytest.raises(Refusal):
        run(script)


def test_a_parse_error_says_where() -> None:
    with pytest.raises(PowerShellError) as caught:
        parse("$a = 1\n$b = (2")
    position = caught.value.record.position
    assert position is not None
    assert position.line == 2


def test_nothing_of_a_script_with_a_parse_error_runs() -> None:
    shell = Shell()
    assert shell.encoded("Write-Host 'first'; if (").code == 1
    assert "first" not in shell.out.getvalue().decode()

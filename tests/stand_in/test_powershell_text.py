"""Strings: about_Quoting_Rules, about_Special_Characters, about_Variables; the members of System.String."""

import pytest

from lab.windows.powershell import PowerShellError
from lab.windows.powershell.testing import run


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("$a = 'x'; \"$a-$($a * 2)-${a}b\"", "x-xx-xb"),
        ("$o = [pscustomobject]@{ n = 'x' }; \"$o.n $($o.n)\"", "@{n=x}.n x"),
        ('$a = 1, 2; "$a"', "1 2"),
        ("$h = @{ k = 'v' }; \"$($h.k) $($h['k'])\"", "v v"),
        ("'it''s'", "it's"),
        ('"say ""hi"" `"you`""', 'say "hi" "you"'),
        ('"a`tb`nc`0d`$e"', "a\tb\nc\0d$e"),
        ("'no $x `n'", "no $x `n"),
        ('"$"', "$"),
        ('"100%"', "100%"),
        ('"$null|"', "|"),
        ('"$true"', "True"),
        ('"$(1; 2)"', "1 2"),
        ('"$env:COMPUTERNAME"', "BOX"),
        ('"${env:ProgramFiles(x86)}|"', "|"),
        ('"`u{41}"', "u{41}"),
        ("@'\na $x\n\"b\"\n'@", 'a $x\n"b"'),
        ('$x = 1\n@"\na $x "q"\n$(2)\n"@', 'a 1 "q"\n2'),
        ("@'\n'@", ""),
        ('"a\u201db"', None),
    ],
)
def test_quoting(script: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(PowerShellError):
            run(script)
    else:
        assert run(script) == expected


def test_curly_quotes_are_quotes() -> None:
    """about_Quoting_Rules, Quotation marks: smart quotes count as plain ones, so text from outside is no code."""
    assert run("\u2018a\u2019 + \u201cb\u201d") == "ab"


def test_a_curly_quote_ends_a_text_in_plain_quotes() -> None:
    assert run("'a\u2019 + 'b'") == "ab"


def test_long_dashes_are_operators() -> None:
    assert run("5 \u2013 2") == 3


def test_a_colon_behind_a_name_makes_it_a_drive_and_a_question_mark_belongs_to_it() -> None:
    """about_Variables, Variable names that include special characters."""
    with pytest.raises(PowerShellError, match="Variable reference is not valid"):
        run('$x = 1; "$x: y"')
    assert run('$x = 1; $x? = 2; "$x?"; "${x}: y"') == ["2", "1: y"]


def test_ofs_joins_arrays_in_text() -> None:
    """about_Preference_Variables, $OFS."""
    assert run('$OFS = ","; $a = 1, 2; "$a"') == "1,2"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("'abc'.Substring(1)", "bc"),
        ("'abc'.Substring(1, 1)", "b"),
        ("'a.b.c'.Split('.')", ["a", "b", "c"]),
        ("'a--b'.Split('-')", ["a", "", "b"]),
        ("'a; b'.Split('; ')", ["a", "", "b"]),
        ("'a,,b'.Split([char[]]',', [StringSplitOptions]::RemoveEmptyEntries)", ["a", "b"]),
        ("'  a '.Trim()", "a"),
        ("'xxaxx'.Trim('x')", "a"),
        ("'C:\\a\\'.TrimEnd('\\')", "C:\\a"),
        ("'abc'.Contains('b')", True),
        ("'abc'.StartsWith('A')", False),
        ("'abc'.StartsWith('A', 'OrdinalIgnoreCase')", True),
        ("'abcb'.IndexOf('b')", 1),
        ("'abcb'.LastIndexOf('b')", 3),
        ("'abc'.IndexOf('x')", -1),
        ("'abc'.Replace('b', 'x')", "axc"),
        ("'7'.PadLeft(3, '0')", "007"),
        ("'abc'[0]", "a"),
        ("'abc'[-1]", "c"),
        ("'abc'[0].GetType().Name", "Char"),
        ("'ABC'.ToLower() + 'def'.ToUpperInvariant()", "abcDEF"),
        ("[string]::IsNullOrEmpty('')", True),
        ('[string]::IsNullOrWhiteSpace(" `t")', True),
        ("[string]::Join('-', @('a', 'b'))", "a-b"),
        ("[string]::Join('-', 'a', 'b')", "a-b"),
        ("[string]::Format('{0}-{1}', 'a', 2)", "a-2"),
        ("'a'.Equals('A')", False),
        ("[string]::Equals('a', 'A', 'OrdinalIgnoreCase')", True),
        ("'ab'.ToCharArray()", ["a", "b"]),
        ("[char]::IsDigit('5')", True),
        ("'\U0001f600'.Length", 2),
        ("'abc'.Insert(1, 'x').Remove(0, 1)", "xbc"),
        ("('a' * 3).Length", 3),
        ("[regex]::Escape('a.b c')", "a\\.b\\ c"),
        ("[regex]::Replace('a1b22', '\\d+', '#')", "a#b#"),
        ("[regex]::Matches('a1b22', '\\d+').Value", ["1", "22"]),
        ("[regex]::Match('a1', '(\\d)').Groups[1].Value", "1"),
        ("([regex]'(?<n>\\d)').Match('a7').Groups['n'].Value", "7"),
        ("[regex]::IsMatch('ABC', 'b')", False),
        ("[regex]::IsMatch('ABC', 'b', 'IgnoreCase')", True),
        ("[regex]::Replace('ab', '.', { param($m) $m.Value.ToUpper() + '.' })", "A.B."),
    ],
)
def test_members_of_text(script: str, expected: object) -> None:
    assert run(script) == expected


def test_substring_out_of_range_is_an_argument_error_inside_of_a_method_invocation() -> None:
    script = (
        "try { 'abc'.Substring(5) } catch [ArgumentOutOfRangeException] { $_.FullyQualifiedErrorId; "
        "$_.Exception.GetType().Name }"
    )
    assert run(script) == ["ArgumentOutOfRangeException", "ArgumentOutOfRangeException"]


def test_null_becomes_an_empty_text_for_a_method_and_nullstring_stays_null() -> None:
    """about_Methods: $null passed for a parameter of type string is converted; [NullString]::Value is not."""
    assert run(
        "[string]::Concat('a', $null, 'b'); 'a'.Equals($null); ''.Equals($null); ''.Equals([NullString]::Value)"
    ) == [
        "ab",
        False,
        True,
        False,
    ]


def test_a_custom_object_as_text_lists_its_properties() -> None:
    assert run('"$([pscustomobject]@{ a = 1; b = $null; c = @{} })"') == "@{a=1; b=; c=System.Collections.Hashtable}"


def test_a_hash_table_and_a_type_as_text() -> None:
    assert run('"$(@{})"; "$([int])"; "$([IO.MemoryStream])"') == [
        "System.Collections.Hashtable",
        "int",
        "System.IO.MemoryStream",
    ]


def test_a_date_in_text_is_in_the_invariant_culture() -> None:
    assert run("\"$([datetime]'2024-03-05 14:06:07')\"") == "03/05/2024 14:06:07"


def test_sorting_text_ignores_case_and_puts_digits_before_letters() -> None:
    assert run("'b', 'A', 'c', '1', '_' | Sort-Object") == ["_", "1", "A", "b", "c"]

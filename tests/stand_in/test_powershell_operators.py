"""about_Operators, about_Comparison_Operators, about_Arithmetic_Operators, about_Operator_Precedence, about_Split,
about_Join, about_Booleans, about_Numeric_Literals, about_Type_Conversion."""

from decimal import Decimal

import pytest

from lab.windows.powershell import PowerShellError, Refusal
from lab.windows.powershell.testing import run


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("'ABC' -eq 'abc'", True),
        ("'ABC' -ceq 'abc'", False),
        ("'10' -eq 10", True),
        ("10 -eq '10'", True),
        ("10 -eq '1e1'", True),
        ("10 -eq 'ten'", False),
        ("$true -eq 'false'", True),
        ("'true' -eq $true", True),
        ("0 -eq $null", False),
        ("$null -eq $null", True),
        ("'' -eq $null", False),
        ("'a' -lt 'B'", True),
        ("10 -gt '9'", True),
        ("'10' -gt 9", False),
        ("1 -eq 1.0", True),
        ("1L -eq 1", True),
        ("'abc' -like 'A*'", True),
        ("'abc' -clike 'A*'", False),
        ("'a[b' -like 'a`[*'", True),
        ("'abc' -like 'a[a-c]?'", True),
        ("'abc' -notlike 'b*'", True),
        ("1, 2, 3 -contains 2", True),
        ("'A' -in 'a', 'b'", True),
        ("'A' -cin 'a', 'b'", False),
        ("3 -notin 1, 2", True),
        ("'abc' -contains 'a'", False),
        ("5 -is [int]", True),
        ("5 -isnot [string]", True),
        ("5L -is [long]", True),
        ("'a' -is [object]", True),
        ("@{} -is [hashtable]", True),
        ("[ordered]@{} -is [System.Collections.IDictionary]", True),
        ("[pscustomobject]@{} -is [pscustomobject]", True),
        ("$null -is [object]", False),
        ("-not 0", True),
        ("!'x'", False),
        ("-not @()", True),
        ("-not @(0)", True),
        ("-not @(0, 0)", False),
        ("-not @{}", False),
        ("-not ''", True),
        ("-not 'False'", False),
        ("$true -xor $true", False),
        ("$false -and (throw)", False),
        ("$true -or (throw)", True),
    ],
)
def test_comparisons_convert_the_right_operand_to_the_left_one_s_type(script: str, expected: bool) -> None:
    assert run(script) is expected


def test_comparing_an_array_filters_it() -> None:
    """about_Comparison_Operators, Common features."""
    assert run("1, 2, 3, 2 -eq 2; @(1, 2 -eq 5).Count; 'a1', 'b2' -match '\\d'; 1, 2, 3 -ge 2") == [
        2,
        2,
        0,
        "a1",
        "b2",
        2,
        3,
    ]


def test_comparing_a_number_with_text_that_is_none_is_an_error_for_order() -> None:
    with pytest.raises(PowerShellError, match='Could not compare "5" to "abc"'):
        run("$ErrorActionPreference = 'Stop'; 5 -lt 'abc'")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("7 / 2", "3.5"),
        ("6 / 2", "3"),
        ("7 % 3", "1"),
        ("-7 % 3", "-1"),
        ("'5' + 3", "53"),
        ("5 + '3'", "8"),
        ("5 * '3'", "15"),
        ("'ab' * 3", "ababab"),
        ("2147483647 + 1", "2147483648"),
        ("5 + '0x10'", "21"),
        ("1 + '1kb'", "1025"),
        ("$null + 5", "5"),
        ("0.1 + 0.2", "0.3"),
        ("1e20", "1E+20"),
        ("1e-5", "1E-05"),
        ("1GB", "1073741824"),
        ("0xFF", "255"),
        ("0xFFFFFFFF", "-1"),
        ("1.5KB", "1536"),
        ("100000000000", "100000000000"),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 2 - 3", "5"),
        ("-2 * -3", "6"),
        ("5 -band 3", "1"),
        ("5 -bor 2", "7"),
        ("5 -bxor 1", "4"),
        ("-bnot 0", "-1"),
        ("1 -shl 4", "16"),
        ("256 -shr 4", "16"),
        ("1.0", "1"),
        ("2 + 3.5", "5.5"),
    ],
)
def test_arithmetic(script: str, expected: str) -> None:
    assert run(f'"$({script})"') == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("1", "Int32"),
        ("2147483648", "Int64"),
        ("1L", "Int64"),
        ("1.0", "Double"),
        ("1d", "Decimal"),
        ("2147483647 + 1", "Double"),
        ("4 * 1GB", "Double"),
        ("1GB * 4L", "Int64"),
        ("7 / 2", "Double"),
        ("6 / 2", "Int32"),
        ("1 + 1L", "Int64"),
        ("1L + 1.0", "Double"),
        ("[byte]1 + [byte]1", "Int32"),
        ("5 + '3'", "Int32"),
        ("5 + '3.0'", "Double"),
        ("[uint32]1 + 1", "UInt32"),
        ("[uint64]1 + 1", "UInt64"),
        ("'a'.Length", "Int32"),
        ("0xFFFFFFFFF", "Int64"),
        ("99999999999999999999", "Decimal"),
    ],
)
def test_the_type_of_a_number(script: str, expected: str) -> None:
    """about_Numeric_Literals; about_Arithmetic_Operators on types that are too small."""
    assert run(f"({script}).GetType().Name") == expected


def test_dividing_by_zero_is_an_error_found_by_its_inner_type() -> None:
    assert run("try { 1 / 0 } catch [DivideByZeroException] { 'inner' }") == "inner"


def test_text_plus_anything_is_text_and_a_number_plus_words_an_error() -> None:
    assert run("'a' + 1 + 2") == "a12"
    with pytest.raises(PowerShellError) as caught:
        run("$ErrorActionPreference = 'Stop'; 1 + 'a'")
    assert caught.value.error_id == "InvalidCastFromStringToInteger"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("-not $true -eq $false", True),
        ("1, 2 + 3", [1, 2, 3]),
        ("-join (1, 2)", "12"),
        ("'a', 'b' -join '-'", "a-b"),
        ("'{0}-{1}' -f 'a', 'b'", "a-b"),
        ("'{0}' -f 1 + 2", "12"),
        ("1..3 -join ','", "1,2,3"),
        ("2 * 3 -eq 6", True),
        ("@(1, 2).Count + 1 -eq 3 -and $true", True),
    ],
)
def test_precedence(script: str, expected: object) -> None:
    assert run(script) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("'a,b,,c' -split ','", ["a", "b", "", "c"]),
        ("'a,b,c' -split ',', 2", ["a", "b,c"]),
        ("'a.b' -split '.', 0, 'SimpleMatch'", ["a", "b"]),
        ("'a1b2' -split '(\\d)'", ["a", "1", "b", "2", ""]),
        ("-split ' a  b '", ["a", "b"]),
        ("'aXbxc' -split 'x'", ["a", "b", "c"]),
        ("'aXbxc' -csplit 'x'", ["aXb", "c"]),
        ("'abc' -replace 'B', 'x'", "axc"),
        ("'abc' -creplace 'B', 'x'", "abc"),
        ("'a.b' -replace '\\.'", "ab"),
        ("'key=value' -replace '(?<k>\\w+)=(\\w+)', '${k}:$1'", "key:value"),
        ("'a', 'b' -replace '^', '-'", ["-a", "-b"]),
        ("'x' -replace 'x', '$$'", "$"),
        ("'C:\\a' -replace '\\\\', '/'", "C:/a"),
    ],
)
def test_split_and_replace(script: str, expected: object) -> None:
    assert run(script) == expected


def test_a_match_fills_matches_with_numbers_and_names() -> None:
    """about_Regular_Expressions."""
    assert run("$null = 'a=1' -match '(?<key>\\w)=(\\d)'; $Matches.key; $Matches[1]; $Matches[0]; $Matches.Count") == [
        "a",
        "1",
        "a=1",
        3,
    ]


def test_a_match_that_fails_leaves_matches_as_it_was() -> None:
    assert run("$null = 'a' -match 'a'; $null = 'b' -match 'a'; $Matches[0]") == "a"


def test_a_group_that_took_no_part_is_not_in_matches() -> None:
    assert run("$null = 'a' -match '(a)|(b)'; $Matches.ContainsKey(2)") is False


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("'{0:N2}' -f 1234.567", "1,234.57"),
        ("'{0:D4}' -f 7", "0007"),
        ("'{0:x}' -f 255", "ff"),
        ("'{0:X4}' -f 255", "00FF"),
        ("'{0,5}|' -f 'a'", "    a|"),
        ("'{0,-5}|' -f 'a'", "a    |"),
        ("'{0:0.00}' -f 1.005", "1.01"),
        ("'{0:F1}' -f 2.25", "2.3"),
        ("'{0:P0}' -f 0.5", "50 %"),
        ("'{{0}}' -f 1", "{0}"),
        ("'{0:yyyy-MM-dd}' -f [datetime]'2024-03-05'", "2024-03-05"),
        ("'{0}' -f $null", ""),
        ("'{0:#,##0}' -f 1234567", "1,234,567"),
        ("'{0:00}:{1:00}' -f 5, 7", "05:07"),
    ],
)
def test_formats(script: str, expected: str) -> None:
    assert run(script) == expected


def test_a_format_with_too_few_arguments_is_an_error() -> None:
    with pytest.raises(PowerShellError) as caught:
        run("$ErrorActionPreference = 'Stop'; '{0} {1}' -f 'a'")
    assert caught.value.error_id == "FormatError"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("[int]'12'", 12),
        ("[int]' 12 '", 12),
        ("[int]''", 0),
        ("[int]$null", 0),
        ("[int]2.5", 2),
        ("[int]3.5", 4),
        ("[int]'1.7'", 2),
        ("[int]'0x1F'", 31),
        ("[int]$true", 1),
        ("[int][char]'A'", 65),
        ("[char]65", "A"),
        ("[bool]'false'", True),
        ("[bool]0", False),
        ("[string]1.50", "1.5"),
        ("[string]$null", ""),
        ("[string](1, 2)", "1 2"),
        ("[string]$true", "True"),
        ("[double]'1.5'", 1.5),
        ("[decimal]'1.50'", Decimal("1.50")),
        ("[long]'3000000000'", 3000000000),
        ("'5' -as [int]", 5),
        ("'x' -as [int]", None),
        ("[int[]]'5'", [5]),
        ("[uint16]'65535'", 65535),
    ],
)
def test_casts(script: str, expected: object) -> None:
    assert run(f"$x = {script}; ,$x") == expected or run(f"$x = {script}; $x") == expected


@pytest.mark.parametrize(
    ("script", "error_id"),
    [
        ("[int]'abc'", "InvalidCastFromStringToInteger"),
        ("[int]'3000000000'", "InvalidCastFromStringToInteger"),
        ("[byte]256", "InvalidCastIConvertible"),
        ("[datetime]'no date'", "InvalidCastParseTargetInvocationWithFormatProvider"),
        ("[int](1, 2)", "ConvertToFinalInvalidCastException"),
        ("[char]'ab'", "InvalidCastParseTargetInvocation"),
    ],
)
def test_casts_that_fail(script: str, error_id: str) -> None:
    with pytest.raises(PowerShellError) as caught:
        run(f"$ErrorActionPreference = 'Stop'; {script}")
    assert caught.value.error_id == error_id


def test_a_cast_that_fails_is_found_by_the_inner_exception_s_type() -> None:
    assert run("try { [int]'x' } catch [System.Management.Automation.PSInvalidCastException] { 'cast' }") == "cast"


def test_a_variable_with_a_type_converts_what_it_is_given_later() -> None:
    """about_Variables, Using types."""
    assert run("[int]$x = '5'; $x = '7'; $x.GetType().Name") == "Int32"
    with pytest.raises(PowerShellError):
        run("$ErrorActionPreference = 'Stop'; [int]$x = 5; $x = 'abc'")


def test_enumerations_compare_with_their_names_and_count_as_numbers() -> None:
    script = "$d = [DayOfWeek]::Monday; $d -eq 'monday'; \"$d\"; [int]$d; $d -eq 1; [DayOfWeek]'Friday'"
    found = run(script)
    assert found[:4] == [True, "Monday", 1, True]
    assert str(found[4]) == "Friday"


def test_a_name_that_an_enumeration_lacks_is_an_error() -> None:
    with pytest.raises(PowerShellError, match="Unable to match the identifier name Someday"):
        run("$ErrorActionPreference = 'Stop'; [DayOfWeek]'Someday'")


def test_versions_compare_by_their_parts() -> None:
    assert run("[version]'0.10.0' -gt [version]'0.9.9'; [version]'1.2' -eq '1.2'; ([version]'1.2.3').Minor") == [
        True,
        True,
        2,
    ]


def test_dates_subtract_to_spans_and_take_them_back() -> None:
    assert run(
        "$a = [datetime]'2024-01-01'; $b = [datetime]'2024-01-03'; ($b - $a).TotalHours; ($a + "
        "[timespan]'1.00:00:00').Day"
    ) == [48.0, 2]


def test_increments_put_out_nothing_as_statements_and_their_value_in_parentheses() -> None:
    assert run("$i = 1; $i++; ++$i; ($i++); $i; $null -eq ($u++); $u") == [3, 4, False, 1]


def test_an_assignment_in_parentheses_has_its_value() -> None:
    assert run("($x = 5); if (($y = 3) -gt 2) { $y }") == [5, 3]


@pytest.mark.parametrize("script", ["'a' -split { $_ -eq 'a' }", "'a' -match '\\p{L}'", "'abc' -split ',', -1"])
def test_what_the_operators_here_do_not_know_is_refused(script: str) -> None:
    with pytest.raises((Refusal, PowerShellError)):
        run(f"$ErrorActionPreference = 'Stop'; {script}")


def test_dates_compare_whoever_gave_them() -> None:
    assert run("(Get-Date) -lt (Get-Date).AddSeconds(5); (Get-Date '2024-01-01') -eq [datetime]'2024-01-01'") == [
        True,
        True,
    ]
    assert run("[datetime]'2024-01-02' -gt '2024-01-01'; [timespan]'0:01' -lt [timespan]'0:02'") == [True, True]

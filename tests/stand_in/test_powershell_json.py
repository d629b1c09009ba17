"""ConvertTo-Json and ConvertFrom-Json of Windows PowerShell 5.1 (their reference, and issues of PowerShell/PowerShell
on what later versions changed)."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from lab.windows.powershell import Call, PowerShellError, PSObject, Refusal, command
from lab.windows.powershell.testing import Shell, run
from lab.windows.powershell.values import DecoratedText


def to_json(value: str, more: str = "-Compress") -> str:
    found: str = run(f"ConvertTo-Json -InputObject ({value}) {more}")
    return found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("@()", "[]"),
        ("@(1)", "[1]"),
        ("1, 'a', $true, $null", '[1,"a",true,null]'),
        ("@{ a = 1 }", '{"a":1}'),
        ("[ordered]@{ b = 1; a = @{} }", '{"b":1,"a":{}}'),
        ("[pscustomobject]@{ n = 'x'; l = @(1) }", '{"n":"x","l":[1]}'),
        ("'a\"b\\c'", '"a\\"b\\\\c"'),
        ('"a`nb`tc"', '"a\\nb\\tc"'),
        ("'<a href=''x''>&'", '"\\u003ca href=\\u0027x\\u0027\\u003e\\u0026"'),
        ("'é日本/'", '"é日本/"'),
        ("[char]1 + ''", '"\\u0001"'),
        ("1.5", "1.5"),
        ("1.0", "1"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("4 * 1GB", "4294967296"),
        ("3000000000", "3000000000"),
        ("1.50d", "1.50"),
        ("[DayOfWeek]::Monday", "1"),
        ("[datetime]::SpecifyKind('2024-01-02', 'Utc')", '"\\/Date(1704153600000)\\/"'),
        ("[guid]'6F9619FF-8B86-D011-B42D-00C04FC964FF'", '"6f9619ff-8b86-d011-b42d-00c04fc964ff"'),
        ("[switch]$true", '{"IsPresent":true}'),
        ("[byte[]](1, 2)", "[1,2]"),
        ("[System.Collections.Generic.List[string]]@('a')", '["a"]'),
    ],
)
def test_values(value: str, expected: str) -> None:
    assert to_json(value) == expected


def test_depth_is_two_below_the_root_and_what_is_deeper_becomes_text() -> None:
    nested = (
        "[ordered]@{ a = @{ b = @{ c = @{ d = 1 } } }; o = @{ p = @{ q = [pscustomobject]@{ r = 1 } } "
        "}; l = @{ m = @{ n = 1, 2 } } }"
    )
    assert to_json(nested) == (
        '{"a":{"b":{"c":"System.Collections.Hashtable"}},"o":{"p":{"q":"@{r=1}"}},"l":{"m":{"n":"1 2"}}}'
    )
    assert to_json(nested, "-Compress -Depth 4").startswith('{"a":{"b":{"c":{"d":1}}}')


def test_a_pipeline_of_one_object_is_no_array() -> None:
    assert run("@(1) | ConvertTo-Json -Compress; 1, 2 | ConvertTo-Json -Compress") == ["1", "[1,2]"]


def test_an_empty_pipeline_and_null_give_nothing() -> None:
    assert run("@(@() | ConvertTo-Json).Count; @(ConvertTo-Json -InputObject $null).Count") == [0, 0]


def test_the_layout_is_that_of_windows_powershell() -> None:
    """Two spaces behind the colon; what is inside stands below where it begins."""
    assert run("[ordered]@{ a = 1; b = @(1, 2); c = @{ d = @() } } | ConvertTo-Json") == (
        '{\r\n    "a":  1,\r\n    "b":  [\r\n              1,\r\n              2\r\n          ],\r\n'
        '    "c":  {\r\n              "d":  [\r\n\r\n                    ]\r\n          }\r\n}'
    )


def test_what_get_date_gives_is_an_object() -> None:
    found = run("ConvertTo-Json -InputObject (Get-Date -Date '2024-03-05 14:06:07') -Compress")
    assert '"value":"\\/Date(' in found
    assert '"DisplayHint":2,"DateTime":"Tuesday, March 5, 2024 2:06:07 PM"' in found


def test_a_line_of_get_content_is_an_object() -> None:
    @command("Get-Line")
    def get_line(call: Call) -> Iterator[object]:
        yield DecoratedText.of("text", {"PSPath": "C:\\x", "ReadCount": 1})

    shell = Shell([get_line])
    assert shell.run("Get-Line | ConvertTo-Json -Compress") == '{"value":"text","PSPath":"C:\\\\x","ReadCount":1}'
    assert shell.run('[string]$s = Get-Line; "$(Get-Line)" | ConvertTo-Json -Compress') == '"text"'


def test_a_value_that_is_not_modelled_is_refused() -> None:
    with pytest.raises(Refusal):
        to_json("[IO.MemoryStream]::new()")


def test_powershell_7_writes_iso_dates_and_two_spaces() -> None:
    shell = Shell(edition="7")
    assert (
        shell.run("ConvertTo-Json -InputObject ([datetime]::SpecifyKind('2024-01-02', 'Utc')) -Compress")
        == '"2024-01-02T00:00:00Z"'
    )
    assert shell.run("ConvertTo-Json -InputObject @{ a = @() }; ConvertTo-Json '<' -Compress") == [
        '{\r\n  "a": []\r\n}',
        '"<"',
    ]


def test_reading_gives_custom_objects_and_numbers_of_their_size() -> None:
    script = '$o = \'{"a":1,"b":3000000000,"c":1.5,"d":1e3,"e":null,"f":[1,{"g":true}]}\' | ConvertFrom-Json; '
    names = run(
        script + "$o.a.GetType().Name; $o.b.GetType().Name; $o.c.GetType().Name; $o.d.GetType().Name; $o.f[1].g; "
        "$null -eq $o.e"
    )
    assert names == ["Int32", "Int64", "Decimal", "Double", True, True]
    assert run(script + "$o.c") == Decimal("1.5")


def test_reading_an_array_gives_one_object_of_the_pipeline() -> None:
    assert run(
        "@('[1,2]' | ConvertFrom-Json | ForEach-Object { 'once' }).Count; $x = '[7]' | ConvertFrom-Json; "
        "$x.GetType().Name"
    ) == [1, "Object[]"]
    assert Shell(edition="7").run("@('[1,2]' | ConvertFrom-Json | ForEach-Object { 'each' }).Count") == 2


def test_reading_leaves_iso_dates_text_and_powershell_7_does_not() -> None:
    script = '(\'{"t":"2024-01-02T03:04:05Z"}\' | ConvertFrom-Json).t.GetType().Name'
    assert run(script) == "String"
    assert Shell(edition="7").run(script) == "DateTime"


def test_reading_makes_dates_of_microsoft_s_form() -> None:
    assert (
        run(
            '$d = (\'{"t":"\\/Date(1704153600000)\\/"}\' | ConvertFrom-Json).t; '
            "$d.ToUniversalTime().ToString('yyyy-MM-dd')"
        )
        == "2024-01-02"
    )


def test_reading_what_is_no_json_is_an_error_found_by_its_type() -> None:
    assert run("try { 'nonsense' | ConvertFrom-Json } catch [ArgumentException] { 'no json' }") == "no json"


def test_reading_more_than_two_mebicharacters_is_an_error() -> None:
    with pytest.raises(PowerShellError, match="maxJsonLength"):
        run("$ErrorActionPreference = 'Stop'; ('[\"' + 'x' * 2097152 + '\"]') | ConvertFrom-Json")


def test_a_dictionary_s_order_shows_in_the_text() -> None:
    shell = Shell()
    text = shell.run("@{ k1 = 1; k2 = 2; k3 = 3; k4 = 4; k5 = 5; k6 = 6 } | ConvertTo-Json -Compress")
    assert text != '{"k1":1,"k2":2,"k3":3,"k4":4,"k5":5,"k6":6}'


def test_objects_of_cmdlets_are_their_properties() -> None:
    @command("Get-Thing")
    def get_thing(call: Call) -> Iterator[object]:
        yield PSObject({"Name": "x", "Size": 5}, "Thing")

    assert Shell([get_thing]).run("Get-Thing | ConvertTo-Json -Compress") == '{"Name":"x","Size":5}'

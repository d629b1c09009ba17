"""Types of .NET, and how they are modelled (the .NET API reference)."""

import gzip
import hashlib
import os

import pytest

from lab.windows.powershell import DotNetType, EnumType, PowerShellError, Property, Refusal, method
from lab.windows.powershell.testing import Shell, run


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("[Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes('é'))", "w6k="),
        ("[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('w6k='))", "é"),
        ("[Text.Encoding]::Unicode.GetBytes('a').Length", 2),
        ("[Text.Encoding]::ASCII.GetString([Text.Encoding]::ASCII.GetBytes('é'))", "?"),
        (
            "[Text.UTF8Encoding]::new($true).GetPreamble().Length; "
            "[Text.UTF8Encoding]::new($false).GetPreamble().Length",
            [3, 0],
        ),
        ("[Text.Encoding]::GetEncoding(936).GetString([byte[]](0xC4, 0xE3))", "你"),
        ("[BitConverter]::ToString([byte[]](1, 171))", "01-AB"),
        ("[BitConverter]::ToInt32([byte[]](1, 1, 0, 0), 0)", 257),
        ("[Math]::Round(2.5); [Math]::Round(2.345, 2); [Math]::Floor(-1.5); [Math]::Max(3, 5)", [2.0, 2.34, -2.0, 5]),
        ("[Math]::Round(2.5, [MidpointRounding]::AwayFromZero)", 3.0),
        (
            "[int]::MaxValue; [long]::MaxValue; [uint64]::MaxValue",
            [2147483647, 9223372036854775807, 18446744073709551615],
        ),
        ("[int]::Parse('42'); [double]::Parse('1.5')", [42, 1.5]),
        ("[Convert]::ToInt32('ff', 16); [Convert]::ToString(255, 16); [Convert]::ToInt64('5')", [255, "ff", 5]),
        ("(255).ToString('x2'); (1234.5).ToString('N1')", ["ff", "1,234.5"]),
        ("[Environment]::NewLine.Length; [Environment]::MachineName", [2, "BOX"]),
        (
            "[Environment]::SetEnvironmentVariable('x(1)', 'v'); "
            "[Environment]::GetEnvironmentVariable('X(1)'); ${env:x(1)}",
            ["v", "v"],
        ),
        ("$env:a = 'b'; [Environment]::GetEnvironmentVariable('a'); $env:a = $null; $null -eq $env:a", ["b", True]),
        ("@([Environment]::GetEnvironmentVariable('none')).Count", 1),
        ("[Environment]::ExpandEnvironmentVariables('%computername%-%none%')", "BOX-%none%"),
        (
            "[guid]::NewGuid().ToString().Length; "
            "([guid]'{6F9619FF-8B86-D011-B42D-00C04FC964FF}').ToString('N').Length",
            [36, 32],
        ),
        ("([version]'1.2').Build; [version]::Parse('1.2.3.4').Revision", [-1, 4]),
        (
            "([uri]'https://host:8443/a/b?q=1').Port; ([uri]'http://host/x').Host; ([uri]'http://h').Port",
            [8443, "host", 80],
        ),
        (
            "[timespan]::FromSeconds(90).TotalMinutes; \"$([timespan]'1.02:03:04')\"; ([timespan]'01:30').Hours",
            [1.5, "1.02:03:04", 1],
        ),
        (
            "([datetime]'2024-02-28').AddDays(2).ToString('yyyy-MM-dd'); ([datetime]'2024-01-31').AddMonths(1).Day",
            ["2024-03-01", 29],
        ),
        ("([datetime]'2024-03-05T06:07:08Z').ToUniversalTime().ToString('o')", "2024-03-05T06:07:08.0000000Z"),
        (
            "[DateTimeOffset]::FromUnixTimeSeconds(0).UtcDateTime.Year; "
            "[DateTimeOffset]::FromUnixTimeSeconds(60).ToUnixTimeMilliseconds()",
            [1970, 60000],
        ),
        ("$s = [Diagnostics.Stopwatch]::StartNew(); $s.Stop(); $s.ElapsedMilliseconds -lt 5000", True),
        ("$b = [Text.StringBuilder]::new(); $null = $b.Append('a').AppendLine('b'); $b.ToString()", "ab\r\n"),
        ("[array]::IndexOf(@('a', 'b'), 'b'); $a = 3, 1, 2; [array]::Reverse($a); $a", [1, 2, 1, 3]),
        ("$a = [byte[]]::new(2); $a[0] = 255; $a.Length; $a[0]; $a[1]", [2, 255, 0]),
        ("$d = [System.Collections.Generic.Dictionary[string,object]]::new(); $d['a'] = 1; $d.ContainsKey('A')", False),
        (
            "'a'.GetType().FullName; (1).GetType().Name; @().GetType().FullName; @{}.GetType().Name",
            ["System.String", "Int32", "System.Object[]", "Hashtable"],
        ),
        ("[string].Name; [int].FullName; ([IO.IOException]::new('m')).Message", ["String", "System.Int32", "m"]),
        ("[IO.IOException]::new('outer', [Exception]::new('inner')).InnerException.Message", "inner"),
        ("$s = [Security.Cryptography.HashAlgorithm]::Create('SHA256'); $s.ComputeHash([byte[]]@()).Length", 32),
        ("[System.Threading.Thread]::Sleep(1); 'awake'", "awake"),
    ],
)
def test_members(script: str, expected: object) -> None:
    assert run(script) == expected


def test_a_digest_is_that_of_the_bytes() -> None:
    script = (
        "$digest = [Security.Cryptography.SHA256]::Create().ComputeHash([Text.Encoding]::UTF8.GetBytes('abc'));"
        "[BitConverter]::ToString($digest).Replace('-', '').ToLower()"
    )
    assert run(script) == hashlib.sha256(b"abc").hexdigest()


def test_gzip_unpacks_and_packs() -> None:
    packed = ", ".join(map(str, gzip.compress(b"hello")))
    unpack = (
        f"$m = [IO.MemoryStream]::new([byte[]]({packed}));"
        "$g = [IO.Compression.GZipStream]::new($m, [IO.Compression.CompressionMode]::Decompress);"
        "([IO.StreamReader]::new($g, [Text.Encoding]::UTF8)).ReadToEnd()"
    )
    assert run(unpack) == "hello"
    pack = (
        "$m = [IO.MemoryStream]::new(); $g = [IO.Compression.GZipStream]::new($m, 'Compress');"
        "$b = [Text.Encoding]::UTF8.GetBytes('hello'); $g.Write($b, 0, $b.Length); $g.Close(); ,$m.ToArray()"
    )
    assert gzip.decompress(bytes(Shell().run(pack))) == b"hello"


def test_a_reader_gives_lines_and_null_at_the_end() -> None:
    script = (
        '$r = [IO.StreamReader]::new([IO.MemoryStream]::new([Text.Encoding]::UTF8.GetBytes("a`r`nb")));'
        " $r.ReadLine(); $r.ReadLine(); $null -eq $r.ReadLine()"
    )
    assert run(script) == ["a", "b", True]


def test_reading_in_the_background_gives_up_in_time() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source:
        shell = Shell()
        shell.engine.stdin = source
        script = (
            "$b = [byte[]]::new(1); $t = [Console]::OpenStandardInput().ReadAsync($b, 0, 1); "
            "$t.Wait(20); $t.IsCompleted"
        )
        assert shell.run(script) == [False, False]
        os.write(write, b"x")
        os.close(write)
        assert shell.run("$t.Wait(5000); $t.Result") == [True, 1]


def test_types_members_and_constructors_that_are_not_modelled_are_refused() -> None:
    for script in (
        "[System.Net.WebClient]",
        "'a'.Normalize()",
        "[Math]::Cosh(1)",
        "[Text.Encoding]::new()",
        "[Console]::Beep()",
        "[int]::Foo",
    ):
        with pytest.raises(Refusal):
            run(f"try {{ {script} }} catch {{ 'caught' }}")


class Box:
    """An object of a model's own."""

    def __init__(self, size: int) -> None:
        self.size = size


FLAGS = EnumType("Lab.Flags", {"None": 0, "A": 1, "B": 2}, flags=True)
BOX = DotNetType(
    "Lab.Box",
    python=Box,
    new=method(Box, "int"),
    statics={
        "Join": method(lambda left, right: f"{left.size}{right}", "Lab.Box", "Lab.Flags"),
        "Count": Property(lambda: 3),
    },
    members={
        "Size": Property(lambda box: box.size, lambda box, value: setattr(box, "size", value), "int"),
        "Grow": method(lambda box, by: setattr(box, "size", box.size + by), "int"),
        "Where": method(lambda engine, box: engine.location, engine=True),
    },
)


def test_a_model_s_own_type() -> None:
    shell = Shell(types={"Lab.Box": BOX, "Lab.Flags": FLAGS})
    script = (
        "$b = [Lab.Box]::new('5'); $b.Size = '7'; $b.Grow(1); $b.Size; [Lab.Box]::Count; "
        "[Lab.Box]::Join($b, 'a, b'); [Lab.Flags]3; $b.GetType().FullName"
    )
    found = shell.run(script)
    assert [str(item) for item in found] == ["8", "3", "8A, B", "A, B", "Lab.Box"]


def test_a_model_s_type_of_a_core_type_s_name_adds_to_it() -> None:
    extra = DotNetType(
        "System.Environment",
        statics={
            "GetEnvironmentVariable": method(
                lambda name, target: f"{target}:{name}", "string", "EnvironmentVariableTarget"
            )
        },
    )
    shell = Shell(types={extra.name: extra})
    assert shell.run(
        "[Environment]::GetEnvironmentVariable('x', 'Machine'); [Environment]::GetEnvironmentVariable('COMPUTERNAME')"
    ) == ["Machine:x", "BOX"]


def test_an_argument_that_does_not_fit_is_an_error_of_the_script() -> None:
    with pytest.raises(PowerShellError) as caught:
        run("$ErrorActionPreference = 'Stop'; [Math]::Pow('x', 2)")
    assert caught.value.error_id == "MethodArgumentConversionInvalidCastArgument"


def test_join_path_and_split_path_work_on_text_and_the_drive_must_be_there() -> None:
    shell = Shell(drive_exists=lambda name: name.upper() == "C")
    assert shell.run("Join-Path -Path 'C:\\a\\' -ChildPath '\\b'; Split-Path -Path 'C:\\a\\b.txt'; "
"Split-Path -Path 'C:\\a\\b.txt' -Leaf; Split-Path 'C:\\a'") == [
        "C:\\a\\b", "C:\\a", "b.txt", "C:\\",
    ]  # fmt: skip
    with pytest.raises(PowerShellError, match="A drive with the name 'D' does not exist"):
        shell.run("Join-Path -Path 'D:\\a' -ChildPath b -ErrorAction Stop")


def test_text_out_of_objects() -> None:
    assert run("1, 'a', $true | Out-String -Stream") == ["1", "a", "True"]
    assert run("'a' | Out-String") == "a\r\n"
    assert run("@([pscustomobject]@{ Name = 'x'; Size = 5 } | Out-String -Stream -Width 40 | Where-Object { $_ })") == [
        "Name Size",
        "---- ----",
        "x       5",
    ]


def test_objects_with_a_view_of_their_own_are_refused_as_text() -> None:
    with pytest.raises(Refusal):
        run("[timespan]'1:00' | Out-String")

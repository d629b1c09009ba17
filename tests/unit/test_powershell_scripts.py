"""Every PowerShell script of the project is spelled as Windows PowerShell 5.1 and the project's rules want it.

What powershell_check sees and what not is said there. The second half shows it one bad script each, for a check that
passes everything would pass these too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.powershell_check import Finding, check, make_table, table

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "corral"
ENABLE_SSH = ROOT / "templates" / "windows" / "enable-ssh.ps1"
LIBRARY = SOURCE / "windows" / "lib.ps1"

# Sent or run without the functions of lib.ps1 in front of it.
ALONE = {LIBRARY, SOURCE / "windows" / "bootstrap.ps1", SOURCE / "service" / "start.ps1", ENABLE_SSH}
# Sent behind another script, whose functions and variables it uses.
BEHIND = {SOURCE / "gpus" / "probe.ps1": SOURCE / "probe" / "probe.ps1"}
# As a whole the place where .NET is called: every character of it counts.
BOUNDARIES = {SOURCE / "windows" / "bootstrap.ps1"}


def scripts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.ps1"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return sorted(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).exists())


@pytest.mark.parametrize("path", scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_says_nothing_that_5_1_or_the_project_does_not_know(path: Path) -> None:
    beside = [] if path in ALONE else [LIBRARY.read_bytes()]
    if path in BEHIND:
        beside.append(BEHIND[path].read_bytes())
    found = check(path.read_bytes(), beside, boundary=path in BOUNDARIES)
    assert not found, "\n".join(f"{path.relative_to(ROOT)}:{each.line}: {each.rule}: {each.text}" for each in found)


def test_there_are_scripts_to_check() -> None:
    assert LIBRARY in scripts()


GOOD = """\
param([string]$Path, [string[]]$Names = @(), [switch]$Force)
# What a script may hold.
function Get-Machine([string]$Name) { [Environment]::GetEnvironmentVariable($Name, 'Machine') }
function Get-Advanced {
    [CmdletBinding()]
    param([Parameter(Mandatory = $true)][string]$Name, [switch]$Loud)
    $Name
}
$count, $rest = 1, @($Names)
foreach ($name in $rest) { $count++ }
$value = Get-Machine $Path
Get-Advanced -Name $value -Loud -ErrorAction Stop | Out-Null
Get-ChildItem -LiteralPath $Path -Recurse:$Force -ErrorVariable troubles 2>$null | Where-Object { $_.Length -gt $count }
$found = [ordered]@{ count = $count; troubles = @($troubles); text = "$value $($rest.Count) ${count} $env:TEMP" }
$text = ConvertTo-Json -InputObject $found -Depth 5 -Compress
$bytes = [Text.Encoding]::UTF8.GetBytes($text.Trim('x'))
Set-ItemProperty -LiteralPath 'HKLM:\\SOFTWARE\\x' -Name $Path -Value 1 -Type DWord
Unregister-ScheduledTask -TaskName $Path -Confirm:$false
$arguments = @{ Name = $Path; ErrorAction = 'Stop' }
Get-NetFirewallRule @arguments | Get-NetFirewallAddressFilter
$null | & 'C:\\Program Files\\x\\y.exe' --flag "$bytes" -x 2>&1
taskkill.exe /T /F /PID $PID
Select-Object -InputObject $found -Property count
switch -Regex ($text) {
    '^a' { $Matches[1] }
    default { throw "no $text" }
}
try { $found.count } catch [IO.IOException] { $_.Exception.Message } finally { exit 3 }
"""


def test_good_powershell_passes() -> None:
    assert check(GOOD.encode()) == []


@pytest.mark.parametrize(
    ("script", "rule", "text"),
    [
        ("'caf\N{LATIN SMALL LETTER E WITH ACUTE}'", "not ASCII", "caf"),
        ("# an \N{EN DASH} is one too", "not ASCII", "is one too"),
        ("if ($true) { 1", "syntax", "}"),
        ("$x = (1", "syntax", "(1"),
        ("$a = $null ?? 1", "not in 5.1", "??"),
        ("$a = $true ? 1 : 2", "not in 5.1", "ternary"),
        ("Get-Date && Get-Date", "not in 5.1", "&&"),
        ("Get-Thing -Name x", "unknown command", "Get-Thing"),
        ("Get-ComputerInfos", "unknown command", "Get-ComputerInfos"),
        ("Get-WmiObject -Class Win32_OperatingSystem", "unknown command", "Get-WmiObject"),
        ("Format-Volume -DriveLetter C", "unknown command", "Format-Volume"),
        ("tar -xf x", "unknown command", "tar"),
        ("& 'C:\\x\\tar' -xf x", "module name", "tar"),
        ("dir C:\\", "unknown command", "dir"),
        ("1 | % { $_ }", "unknown command", "%"),
        ("1 | ? { $_ }", "unknown command", "?"),
        ("if (ls) { 1 }", "unknown command", "ls"),
        ('"$(gci x)"', "unknown command", "gci"),
        ("Microsoft.PowerShell.Management\\Get-Item x", "module name", "Get-Item"),
        ("Get-Item -LiteralPth x", "unknown parameter", "literalpth"),
        ("Get-Content -Encoding UTF8 -AsByteStream x", "unknown parameter", "asbytestream"),
        ("Get-Item -Literal x", "abbreviated parameter", "literalpath"),
        ("Get-Item x -EA Stop", "unknown parameter", "ea"),
        ("Get-ScheduledTask -TaskN x", "abbreviated parameter", "taskname"),
        ("Get-Item -Path x -LiteralPath y", "parameters that do not go together", "-literalpath -path"),
        ("Register-ScheduledTask -TaskName a -Xml b -Action c", "parameters that do not go together", "xml"),
        ("New-NetFirewallRule -Name x", "missing parameter", "displayname"),
        ("Get-NetFirewallRule a b", "too many arguments", "a b"),
        ("function f([string]$A) { $A }\nf -B 1", "unknown parameter", "f -b"),
        ("function f([string]$Alpha) { $Alpha }\nf -Al 1", "abbreviated parameter", "alpha"),
        ("function f([string]$A) { $A }\nf 1 2", "too many arguments", "1 2"),
        ('function f { param($A = 1, [switch]$B) "$A$B" }\nf -C', "unknown parameter", "f -c"),
        ("function f([string]$A) { $A }\nf -ErrorAction Stop", "unknown parameter", "erroraction"),
        ("Invoke-Expression 'x'", "forbidden command", "Invoke-Expression"),
        ("Write-Host x", "forbidden command", "Write-Host"),
        ("foreach ($a in $input) { $a }", "$input", "standard input"),
        ("ConvertTo-Json -InputObject 1", "depth", "2"),
        ("1 | ConvertTo-Json", "depth", "2"),
        ("1 | Out-File x", "encoding", "Out-File"),
        ("Set-Content -Path x -Value 1", "encoding", "Set-Content"),
        ("Add-Content -Path x -Value 1", "encoding", "Add-Content"),
        ("Get-Date > x.txt", "encoding", "x.txt"),
        ("Get-Date 2>> x.txt", "encoding", "x.txt"),
        ("Get-Content -LiteralPath x", "encoding", "code page"),
        ("function Invoke-Native($Path) { $Path }\nInvoke-Native 'tar'", "program without .exe", "tar"),
        ("[IO.File]::Delete('x')", ".NET outside of a function of its own", "[io.file]::delete"),
        ("$a = [Environment]::MachineName", ".NET outside of a function of its own", "machinename"),
        ("[IO.Path]::GetTempFileName()", ".NET outside of a function of its own", "gettempfilename"),
        ("New-Object -TypeName Net.Sockets.TcpClient", ".NET outside of a function of its own", "tcpclient"),
        ("Add-Type -TypeDefinition 'x'", ".NET outside of a function of its own", "[]"),
        (
            "function f {\n" + "$null = 1\n" * 12 + "[IO.File]::Delete('x')\n}",
            ".NET outside of a function of its own",
            "delete",
        ),
        ("$cuont = 1\n$count", "unset variable", "$count"),
        ('"of $total"', "unset variable", "$total"),
        ("Get-Item @arguments", "unset variable", "@arguments"),
        ("$state.pid = 1", "unset variable", "$state"),
        ("$list[0] = 1", "unset variable", "$list"),
        ("$i++", "unset variable", "$i"),
        ("if ($IsWindows) { 1 }", "unset variable", "$IsWindows"),
    ],
)
def test_bad_powershell_is_found(script: str, rule: str, text: str) -> None:
    found = check(script.encode())
    assert any(each.rule == rule and text in each.text for each in found), found


def test_a_finding_names_its_line() -> None:
    assert check(b"$a = 1\n\nWrite-Host $a") == [Finding(3, "forbidden command", "Write-Host")]


def test_what_is_sent_in_front_is_known() -> None:
    script = b"Show-Thing $shown\nGet-Other"
    assert {each.text for each in check(script)} == {"Show-Thing", "$shown", "Get-Other"}
    assert [each.text for each in check(script, [b"$shown = 1\nfunction Show-Thing($A) { $A }"])] == ["Get-Other"]


def test_a_boundary_may_call_dotnet_anywhere() -> None:
    script = b"[Console]::OpenStandardInput()"
    assert check(script)
    assert check(script, boundary=True) == []


def test_the_table_is_made_of_the_analyzers_parameter_sets() -> None:
    sets = (
        "[-Path] <string[]> [[-Filter] <string>] -Name <string> -Quick [-Depth <uint32>] [-Force] [<CommonParameters>]"
    )
    listed = [
        {"Name": "Get-Thing", "ParameterSets": f"{sets} [-All] [<CommonParameters>]"},
        {"Name": "Get-EventLog", "ParameterSets": "[-All] [<CommonParameters>]"},
        {"Name": "Clear-Thing"},
    ]
    modules = [{"Name": name, "ExportedCommands": listed} for name in ("CimCmdlets", "Hyper-V")]
    assert make_table({"Modules": modules}) == {"Get-Thing": ["*Path +Filter !Name !Quick? Depth Force?", "All?"]}


def test_the_table_knows_a_command_with_its_parameters() -> None:
    command = table()["set-netfirewallrule"]
    assert {"name", "remoteaddress", "erroraction"} <= command.names
    assert "passthru" in command.switches

"""powershell.exe as a whole: about_PowerShell_exe (command line, exit codes), CLIXML on standard error as recorded from
a real engine, about_Language_Modes."""

import base64

import pytest

from lab.windows.powershell.testing import Program, Shell


def test_an_encoded_script_s_text_is_on_standard_output() -> None:
    ended = Shell().encoded("'a'; 5; $true; 1.5")
    assert (ended.code, ended.out, ended.err) == (0, "a\r\n5\r\nTrue\r\n1.5\r\n", "")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 9", 9),
        ("exit", 0),
        ("throw 'x'", 1),
        ("Write-Error 'x'", 1),
        ("Write-Error 'x'; 'good'", 0),
        ("Write-Error 'x'; exit 3", 3),
        ("[int]'x'", 1),
        ("[int]'x'; 'good'", 0),
        ("bad.exe", 1),
        ("bad.exe; exit $LASTEXITCODE", 3),
        ("& { exit 4 }", 4),
        ("function f { exit 5 } f; 'no'", 5),
        ("try { exit 6 } finally { 'f' }", 6),
        ("[Environment]::Exit(7)", 7),
        ("try { [Environment]::Exit(8) } finally { exit 9 }", 8),
        ("if (", 1),
    ],
)
def test_exit_codes(script: str, code: int) -> None:
    assert Shell(programs={"bad.exe": Program(code=3)}).encoded(script).code == code


def test_an_error_of_an_encoded_script_is_clixml() -> None:
    ended = Shell().encoded("$ProgressPreference = 'SilentlyContinue'; throw 'boom ü _x000A_ <&>'")
    assert ended.err.startswith(
        '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><S S="Error">'
        "boom \ufffd _x005F_x000A_ &lt;&amp;&gt;_x000D__x000A_</S>"
    )
    assert ended.err.endswith('<S S="Error"> _x000D__x000A_</S></Objs>')


def test_the_report_names_place_category_and_id() -> None:
    ended = Shell().encoded("throw 'boom'", "-OutputFormat Text")
    assert ended.err == (
        "boom\r\nAt line:1 char:1\r\n+ throw 'boom'\r\n+ ~~~~~~~~~~~~\r\n"
        "    + CategoryInfo          : OperationStopped: (boom:String) [], RuntimeException\r\n"
        "    + FullyQualifiedErrorId : boom\r\n \r\n"
    )


def test_warnings_and_progress_are_clixml_too_and_host_text_is_on_standard_output() -> None:
    ended = Shell().encoded(
        "Write-Warning 'careful'; Write-Progress -Activity act -Status st -PercentComplete 10; Write-Host 'host'"
    )
    assert '<S S="warning">careful</S>' in ended.err
    assert "<AV>act</AV>" in ended.err
    assert "<PC>10</PC>" in ended.err
    assert ended.out == "host\r\n"


def test_windows_powershell_reports_that_it_prepares_modules_unless_progress_is_silent() -> None:
    assert "Preparing modules for first use." in Shell().encoded("Write-Output 1").err
    assert Shell().encoded("$ProgressPreference = 'SilentlyContinue'; Write-Output 1").err == ""


def test_what_a_program_writes_to_standard_error_lands_beside_the_document() -> None:
    ended = Shell(programs={"tool.exe": Program(error=b"raw, no newline")}).encoded(
        "$ProgressPreference = 'SilentlyContinue'; tool.exe; Write-Error 'e'; tool.exe"
    )
    assert ended.err.startswith("raw, no newline#< CLIXML\r\nraw, no newline<Objs ")


def test_a_plain_command_writes_plain_text() -> None:
    shell = Shell()
    ended = shell.process("-NoProfile -Command \"Write-Warning w; 'a'\" ; 'b'")
    assert (ended.code, ended.out, ended.err) == (0, "WARNING: w\r\na\r\nb\r\n", "")


def test_a_script_of_sshd_comes_by_c() -> None:
    """Win32-OpenSSH hands a command to PowerShell as -c."""
    assert Shell().process("-c \"'a b'\"").out == "a b\r\n"


def test_a_file_gets_its_arguments_and_its_exit_code_is_that_of_the_process() -> None:
    shell = Shell(scripts={"C:\\x\\run.ps1": b'param([string]$Name, [switch]$On)\n"$Name $On $PSScriptRoot"\nexit 4\n'})
    ended = shell.process('-NoProfile -ExecutionPolicy Bypass -File C:\\x\\run.ps1 -Name "a b" -On')
    assert (ended.code, ended.out) == (4, "a b True C:\\x\r\n")


def test_a_file_without_exit_ends_with_0_and_with_1_after_an_error_that_ends_it() -> None:
    shell = Shell(scripts={"C:\\a.ps1": b"bad.exe"}, programs={"bad.exe": Program(code=3)})
    assert shell.process("-File C:\\a.ps1").code == 0
    assert Shell(scripts={"C:\\b.ps1": b"throw 'x'"}).process("-File C:\\b.ps1").code == 1


def test_a_file_without_byte_order_mark_is_read_in_the_code_page_of_the_machine() -> None:
    script = "'é'.Length".encode()
    assert Shell(scripts={"C:\\a.ps1": script}).process("-File C:\\a.ps1").out == "2\r\n"
    assert Shell(scripts={"C:\\a.ps1": b"\xef\xbb\xbf" + script}).process("-File C:\\a.ps1").out == "1\r\n"


def test_script_files_can_be_called_and_their_exit_ends_only_them() -> None:
    shell = Shell(scripts={"C:\\lib.ps1": b"function f { 'lib' }", "C:\\five.ps1": b"'in'; exit 5"})
    assert shell.run(". C:\\lib.ps1; f; & 'C:\\five.ps1'; $LASTEXITCODE") == ["lib", "in", 5]


def test_what_is_refused_ends_the_process_with_70_and_says_so() -> None:
    ended = Shell().encoded("try { Get-Nonsense } catch { } finally { 'last' }")
    assert (ended.code, ended.out) == (70, "")
    assert ended.err.startswith("StandIn.UnknownCommand: the command Get-Nonsense is not modelled (line 1:")


def test_an_option_that_is_not_known_is_refused() -> None:
    assert Shell().process("-Version 2 -Command 1").code == 70


def test_an_encoded_command_that_is_no_base64_is_an_error() -> None:
    assert Shell().process("-EncodedCommand !!").code != 0


def test_the_language_mode_can_be_read() -> None:
    shell = Shell(language_mode="ConstrainedLanguage")
    assert shell.encoded("$ExecutionContext.SessionState.LanguageMode").out == "ConstrainedLanguage\r\n"


def test_versions_of_both_editions() -> None:
    assert Shell().run(
        "$PSVersionTable.PSVersion.Major; $PSVersionTable.PSEdition; $PSVersionTable['PSVersion'] -ge [version]'5.1'"
    ) == [5, "Desktop", True]
    assert Shell(edition="7").run("$PSVersionTable.PSVersion.Major; $PSVersionTable.PSEdition; $IsWindows") == [
        7,
        "Core",
        True,
    ]


def test_standard_input_is_read_as_bytes() -> None:
    shell = Shell(stdin=b"line\n\xc3\xa9rest")
    script = (
        "$in = [Console]::OpenStandardInput(); $h = ''; while (($b = $in.ReadByte()) -ne 10) { $h += [char]$b }; $h;"
        "$buffer = New-Object -TypeName byte[] -ArgumentList 10; $n = $in.Read($buffer, 0, 10); $n;"
        "[Text.Encoding]::UTF8.GetString($buffer, 0, $n); $in.Read($buffer, 0, 10)"
    )
    assert shell.run(script) == ["line", 6, "érest", 0]


def test_a_read_in_the_background_can_be_waited_for() -> None:
    shell = Shell(stdin=b"abc")
    script = (
        "$b = [byte[]]::new(3); $t = [Console]::OpenStandardInput().ReadAsync($b, 0, 3); $t.Wait(5000);"
        " $t.Result; [Text.Encoding]::ASCII.GetString($b)"
    )
    assert shell.run(script) == [True, 3, "abc"]


def test_the_console_s_output_follows_its_encoding() -> None:
    shell = Shell()
    shell.run(
        "[Console]::WriteLine('é'); [Console]::OutputEncoding = [Text.Encoding]::UTF8; "
        "[Console]::Out.WriteLine('é'); [Console]::Error.Write('é')"
    )
    assert (shell.out.getvalue(), shell.err.getvalue()) == (b"\x82\r\n\xc3\xa9\r\n", b"\xc3\xa9")


def test_console_out_can_be_set_and_takes_host_text_then() -> None:
    shell = Shell()
    shell.run(
        "$w = [IO.StreamWriter]::new([Console]::OpenStandardOutput(), [Text.UTF8Encoding]::new($false)); "
        "$w.AutoFlush = $true;"
        "[Console]::SetOut($w); Write-Host 'é'"
    )
    assert shell.out.getvalue() == "é\r\n".encode()


def test_a_script_beside_runs_in_a_thread_with_its_own_variables() -> None:
    script = (
        "$x = 1; $p = [PowerShell]::Create().AddScript('param($a) $x; $a * 2').AddArgument(21); $h = "
        "$p.BeginInvoke(); $p.EndInvoke($h); $p.Dispose()"
    )
    assert Shell().run(script) == [None, 42]


def test_a_script_beside_can_end_the_process() -> None:
    script = (
        "$p = [PowerShell]::Create().AddScript('[Environment]::Exit(5)'); $null = $p.BeginInvoke(); "
        "while ($true) { Start-Sleep -Milliseconds 5 }"
    )
    assert Shell().encoded(script).code == 5


def test_the_header_of_an_answer_survives_a_million_characters() -> None:
    text = base64.b64encode(b"x" * 1_000_000).decode()
    shell = Shell(stdin=text.encode())
    script = (
        "$r = New-Object -TypeName IO.StreamReader -ArgumentList ([Console]::OpenStandardInput()); "
        "[Convert]::FromBase64String($r.ReadToEnd()).Length"
    )
    assert shell.run(script) == 1_000_000

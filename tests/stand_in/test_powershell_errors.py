"""Errors: about_Error_Handling, about_Try_Catch_Finally, about_Throw, about_Trap, about_CommonParameters,
about_Preference_Variables."""

from collections.abc import Iterator

import pytest

from lab.windows.powershell import Call, DotNetType, NetException, Parameter, PowerShellError, Refusal, command, method
from lab.windows.powershell.scopes import ExitSignal
from lab.windows.powershell.testing import Shell, run


def test_a_failing_expression_ends_its_statement_and_the_script_goes_on() -> None:
    """about_Error_Handling: a statement-terminating error."""
    shell = Shell()
    assert shell.run("[int]'x'; 'after'") == "after"
    assert b"InvalidCastFromStringToInteger" in shell.err.getvalue()


def test_with_stop_the_script_ends() -> None:
    with pytest.raises(PowerShellError):
        run("$ErrorActionPreference = 'Stop'; [int]'x'; 'after'")


def test_throw_ends_the_script_whatever_the_preference_but_silence() -> None:
    with pytest.raises(PowerShellError, match="boom"):
        run("throw 'boom'; 'after'")
    assert run("$ErrorActionPreference = 'SilentlyContinue'; throw 'boom'; 'after'") == "after"


def test_a_try_around_catches_what_would_only_end_a_statement() -> None:
    assert run("try { [int]'x'; 'not here' } catch { 'caught' }") == "caught"


def test_a_try_in_the_caller_catches_it_too() -> None:
    assert run("function f { [int]'x'; 'not here' } try { f } catch { 'caught' }") == "caught"


def test_a_non_terminating_error_is_not_caught_unless_it_is_to_stop() -> None:
    shell = Shell()
    assert shell.run("try { Write-Error 'e'; 'after' } catch { 'caught' }") == "after"
    assert shell.run("try { Write-Error 'e' -ErrorAction Stop; 'after' } catch { 'caught' }") == "caught"
    assert shell.run("$ErrorActionPreference = 'Stop'; try { Write-Error 'e'; 'after' } catch { 'caught' }") == "caught"


def test_silently_continue_keeps_it_in_error_and_ignore_does_not() -> None:
    assert run(
        "Write-Error 'a' -ErrorAction SilentlyContinue; Write-Error 'b' -ErrorAction Ignore; $Error.Count; "
        "$Error[0].Exception.Message"
    ) == [1, "a"]


def test_error_action_silently_continue_lets_a_terminating_error_through() -> None:
    """-ErrorAction has no effect on terminating errors (about_CommonParameters)."""

    @command("Stop-Thing")
    def stop_thing(call: Call) -> None:
        raise PowerShellError("no", "NoThing", "InvalidOperation")

    assert Shell([stop_thing]).run(
        "try { Stop-Thing -ErrorAction SilentlyContinue } catch { $_.FullyQualifiedErrorId }"
    ) == ("NoThing,Microsoft.PowerShell.Commands.StopThingCommand")


def test_catch_takes_the_first_type_that_fits() -> None:
    script = (
        "try {{ throw [{0}]::new('m') }} catch [IO.FileNotFoundException] {{ 'file' }} catch "
        "[IO.IOException], [FormatException] {{ 'io' }} catch {{ 'any' }}"
    )
    assert run(script.format("IO.FileNotFoundException")) == "file"
    assert run(script.format("IO.DirectoryNotFoundException")) == "io"
    assert run(script.format("FormatException")) == "io"
    assert run(script.format("InvalidOperationException")) == "any"


def test_without_a_type_that_fits_the_error_goes_on() -> None:
    assert run("try { try { throw 'x' } catch [IO.IOException] { 'io' } } catch { 'outer' }") == "outer"


def test_what_a_method_throws_is_wrapped_and_found_by_its_own_type() -> None:
    """about_Try_Catch_Finally; MethodInvocationException."""
    inner = "try { [Convert]::FromBase64String('!') } catch [FormatException] { $_.Exception.GetType().FullName }"
    outer = (
        "try { [Convert]::FromBase64String('!') } catch { $_.Exception.GetType().Name; "
        "$_.Exception.InnerException.GetType().Name; $_.FullyQualifiedErrorId }"
    )
    assert run(inner) == "System.FormatException"
    assert run(outer) == ["MethodInvocationException", "FormatException", "FormatException"]


def test_the_message_of_a_wrapped_exception_names_the_method() -> None:
    assert run("try { 'abc'.Substring(9) } catch { $_.Exception.Message }").startswith(
        'Exception calling "Substring" with "1" argument(s): "startIndex cannot be larger than length of string.'
    )


def test_a_cmdlet_s_exception_keeps_its_type() -> None:
    @command("Read-Thing")
    def read_thing(call: Call) -> None:
        call.write_error("gone", "Gone", "ObjectNotFound", "x", exception="System.IO.FileNotFoundException")

    shell = Shell([read_thing])
    script = (
        "try { Read-Thing -ErrorAction Stop } catch [IO.IOException] { $_.CategoryInfo.Category; "
        '$_.TargetObject; "$_" }'
    )
    found = shell.run(script)
    assert [str(item) for item in found] == ["ObjectNotFound", "x", "gone"]


def test_throw_of_text_has_it_as_message_id_and_target() -> None:
    """about_Throw."""
    assert run("try { throw 'boom' } catch { $_.Exception.Message; $_.FullyQualifiedErrorId; "
"$_.TargetObject; $_.Exception.GetType().Name; \"$($_.CategoryInfo)\" }") == [
        "boom", "boom", "boom", "RuntimeException", "OperationStopped: (boom:String) [], RuntimeException",
    ]  # fmt: skip


def test_throw_alone_in_a_catch_throws_the_same_again() -> None:
    assert run("try { try { throw 'a' } catch { throw } } catch { $_.Exception.Message }") == "a"


def test_throw_alone_elsewhere_says_script_halted() -> None:
    with pytest.raises(PowerShellError, match="ScriptHalted"):
        run("throw")


def test_a_record_can_be_thrown_again() -> None:
    assert (
        run("try { try { [int]'x' } catch { $r = $_ }; throw $r } catch { $_.FullyQualifiedErrorId }")
        == "InvalidCastFromStringToInteger"
    )


def test_dollar_underscore_is_back_after_a_catch() -> None:
    assert run("1 | ForEach-Object { try { throw 'x' } catch { }; $_ }") == 1


def test_finally_runs_after_success_error_return_and_break() -> None:
    assert run("try { 'a' } finally { 'f' }") == ["a", "f"]
    assert run("function f { try { return 1 } finally { 'f' } } f") == [1, "f"]
    assert run("foreach ($i in 1, 2) { try { break } finally { 'f' } }") == "f"
    assert run("try { try { throw 'x' } finally { 'f' } } catch { 'c' }") == ["f", "c"]


def test_finally_runs_on_exit() -> None:
    shell = Shell()
    with pytest.raises(ExitSignal) as caught:
        shell.run("try { exit 7 } finally { Write-Host 'last' }")
    assert (caught.value.code, shell.out.getvalue()) == (7, b"last\r\n")


def test_exit_is_not_caught() -> None:
    with pytest.raises(ExitSignal):
        run("try { exit 3 } catch { 'caught' }")


def test_a_finally_runs_when_select_object_ends_the_pipeline() -> None:
    assert run(
        "$script:done = 0; function f { try { 1; 2; 3 } finally { $script:done = 1 } } f | Select-Object "
        "-First 1; $done"
    ) == [1, 1]


def test_error_holds_the_newest_first() -> None:
    assert run(
        "try { throw 'a' } catch { }; try { throw 'b' } catch { }; $Error.Count; $Error[0].Exception.Message"
    ) == [2, "b"]


def test_dollar_question_mark_tells_of_the_last_command() -> None:
    """about_Automatic_Variables, $?"""
    assert Shell().run("Write-Error 'x'; $?; 'y' | Out-Null; $?") == [False, True]


def test_trap_with_continue_goes_on_behind_the_statement() -> None:
    """about_Trap."""
    assert run("trap { 'trapped'; continue } throw 'x'; 'after'") == ["trapped", "after"]


def test_trap_with_break_ends_the_script() -> None:
    with pytest.raises(PowerShellError):
        run("trap { break } throw 'x'; 'after'")


def test_a_trap_of_another_type_does_nothing() -> None:
    with pytest.raises(PowerShellError):
        run("$ErrorActionPreference = 'Stop'; trap [IO.IOException] { continue } throw 'x'; 'after'")


def test_redirected_errors_are_objects_in_the_pipeline() -> None:
    """about_Redirection."""
    assert run("$r = @(& { 1; Write-Error 'e'; 2 } 2>&1); $r.Count; $r[1].GetType().Name; \"$($r[1])\"") == [
        3,
        "ErrorRecord",
        "e",
    ]


def test_errors_to_null_are_gone_but_kept_in_error() -> None:
    shell = Shell()
    assert shell.run("Write-Error 'e' 2>$null; $Error.Count") == 1
    assert shell.err.getvalue() == b""


def test_all_streams_to_null() -> None:
    shell = Shell()
    assert shell.run("& { 1; Write-Warning 'w'; Write-Error 'e'; Write-Host 'h' } *>$null") is None
    assert (shell.out.getvalue(), shell.err.getvalue()) == (b"", b"")


def test_warnings_and_host_text_can_join_the_output() -> None:
    assert run("@(& { Write-Warning 'w'; Write-Host 'h' } 3>&1 6>&1 | ForEach-Object { \"$_\" })") == ["w", "h"]


def test_verbose_shows_only_where_it_is_asked_for() -> None:
    shell = Shell()
    shell.run("Write-Verbose 'no'; Write-Verbose 'yes' -Verbose; $VerbosePreference = 'Continue'; Write-Verbose 'also'")
    assert shell.out.getvalue() == b"VERBOSE: yes\r\nVERBOSE: also\r\n"


def test_warning_action_silences_a_warning() -> None:
    shell = Shell()
    shell.run("Write-Warning 'w' -WarningAction SilentlyContinue")
    assert shell.out.getvalue() == b""


def test_the_position_of_an_error_is_that_of_its_statement() -> None:
    """ErrorRecord.InvocationInfo.PositionMessage."""
    assert run(
        "$y = @(); try {\n  $y; throw 'x'\n} catch { $_.InvocationInfo.ScriptLineNumber; "
        "$_.InvocationInfo.PositionMessage }"
    ) == [
        2,
        "At line:2 char:7\n+   $y; throw 'x'\n+       ~~~~~~~~~",
    ]


def test_an_advanced_function_takes_error_action() -> None:
    shell = Shell()
    assert (
        shell.run("function f { [CmdletBinding()] param() Write-Error 'x'; 'after' } f -ErrorAction SilentlyContinue")
        == "after"
    )
    assert shell.err.getvalue() == b""


def test_what_is_refused_passes_catch_trap_and_preferences() -> None:
    for script in (
        "try { [No.Such.Type] } catch { }",
        "trap { continue } Get-Nonsense",
        "$ErrorActionPreference = 'SilentlyContinue'; Get-Nonsense",
        "Get-Nonsense 2>$null",
    ):
        with pytest.raises(Refusal):
            run(script)


def test_an_exception_of_model_code_is_one_of_the_script() -> None:
    def fail(path: str) -> str:
        raise NetException("System.UnauthorizedAccessException", f"Access to the path '{path}' is denied.")

    kind = DotNetType("System.IO.Thing", statics={"Read": method(fail, "string")})
    shell = Shell(types={kind.name: kind})
    script = (
        "try { [IO.Thing]::Read('x') } catch [UnauthorizedAccessException] { $_.Exception.Message; "
        "$_.FullyQualifiedErrorId }"
    )
    assert shell.run(script) == ["Access to the path 'x' is denied.", "UnauthorizedAccessException"]


@command("Set-Thing", Parameter("Value", "int", position=0, mandatory=True), should_process=True)
def set_thing(call: Call) -> Iterator[object]:
    yield f"would {call.get('Value')}" if call.what_if else call.get("Value")


def test_whatif_reaches_a_cmdlet_that_supports_it_and_confirm_can_be_turned_off() -> None:
    shell = Shell([set_thing])
    assert shell.run("Set-Thing 1 -WhatIf; Set-Thing 2 -Confirm:$false") == ["would 1", 2]
    with pytest.raises(Refusal):
        shell.run("Set-Thing 1 -Confirm")

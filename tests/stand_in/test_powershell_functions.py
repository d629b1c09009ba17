"""Functions, parameters, scopes: about_Functions, about_Functions_Advanced_Parameters, about_Parameters,
about_Parameter_Binding, about_Splatting, about_Scopes, about_Script_Blocks."""

from collections.abc import Iterator

import pytest

from lab.windows.powershell import Call, Parameter, PowerShellError, PSObject, Refusal, command
from lab.windows.powershell.testing import Shell, run

STOP = "$ErrorActionPreference = 'Stop'\n"


def error_id(script: str) -> str:
    with pytest.raises(PowerShellError) as caught:
        run(STOP + script)
    return caught.value.error_id


def test_arguments_by_position_and_by_name() -> None:
    assert run('function f($a, $b) { "$a-$b" } f 1 2; f -b 1 -a 2; f -a:3 4; f 5') == ["1-2", "2-1", "3-4", "5-"]


def test_defaults_are_worked_out_at_each_call_and_may_use_parameters_before_them() -> None:
    assert run("function f($a = 2, $b = $a * 2) { $a + $b } f; f 3; f 3 1") == [6, 9, 4]


def test_a_simple_function_takes_what_is_left_in_args() -> None:
    assert run("function f($a) { $args.Count; $args[0] } f 1 2 3") == [2, 2]


def test_an_advanced_function_takes_nothing_more() -> None:
    assert error_id("function f { [CmdletBinding()] param($a) } f 1 2") == "PositionalParameterNotFound,f"
    assert error_id("function f { [CmdletBinding()] param($a) } f -x 2") == "NamedParameterNotFound,f"


def test_types_convert_and_what_does_not_fit_is_an_error() -> None:
    assert run("function f([int]$a, [string]$b, [string[]]$c) { $a; $b; $c.Count } f '5' 6 'x'") == [5, "6", 1]
    assert error_id("function f([int]$a) { } f 'abc'") == "ParameterArgumentTransformationError,f"


def test_parameters_with_a_type_have_that_type_s_default() -> None:
    """A [string] that is not given is empty, not $null."""
    assert run("function f([string]$s, [int]$n, [bool]$b, $o) { $s -eq ''; $n; $b; $null -eq $o } f") == [
        True,
        0,
        False,
        True,
    ]


def test_null_for_text_becomes_empty_text() -> None:
    assert run("function f([string]$s) { $null -eq $s } f $null") is False


def test_an_advanced_function_s_text_takes_no_array_and_a_simple_one_s_joins_it() -> None:
    assert run("function f([string]$s) { $s } f (1, 2)") == "1 2"
    assert (
        error_id("function f { [CmdletBinding()] param([string]$s) $s } f (1, 2)")
        == "ParameterArgumentTransformationError,f"
    )


def test_switches_are_off_on_or_what_they_are_told() -> None:
    assert run("function f([switch]$x) { $x.IsPresent; [bool]$x } f; f -x; f -x:$false") == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


def test_a_switch_takes_no_value_behind_a_space() -> None:
    assert run('function f([switch]$x, $y) { "$x $y" } f -x 5') == "True 5"


def test_a_mandatory_parameter_that_is_missing_is_an_error_as_nobody_can_be_asked() -> None:
    """-NonInteractive."""
    assert error_id("function f { param([Parameter(Mandatory = $true)]$a) } f") == "MissingMandatoryParameter,f"


def test_a_mandatory_parameter_takes_neither_null_nor_nothing() -> None:
    declared = "function f { param([Parameter(Mandatory)][string]$s, [string[]]$l) } "
    assert error_id(declared + "f ''") == "ParameterArgumentValidationErrorEmptyStringNotAllowed,f"
    listed = "function f { param([Parameter(Mandatory)][string[]]$l) } "
    assert error_id(listed + "f @()") == "ParameterArgumentValidationErrorEmptyArrayNotAllowed,f"
    assert error_id(listed + "f 'a', ''") == "ParameterArgumentValidationErrorEmptyStringNotAllowed,f"
    assert run("function f { param([Parameter(Mandatory)][AllowEmptyString()][string]$s) 'ok' } f ''") == "ok"


@pytest.mark.parametrize(
    "call",
    [
        "function f([ValidateSet('a', 'b')]$x) { } f c",
        "function f([ValidateRange(1, 5)]$x) { } f 6",
        "function f([ValidatePattern('^\\d+$')]$x) { } f a1",
        "function f([ValidateNotNullOrEmpty()]$x) { } f ''",
        "function f([ValidateScript({ $_ -gt 3 })]$x) { } f 2",
        "function f([ValidateLength(1, 2)]$x) { } f abc",
    ],
)
def test_validation(call: str) -> None:
    """about_Functions_Advanced_Parameters, Parameter and variable validation attributes."""
    assert error_id(call) == "ParameterArgumentValidationError,f"


def test_an_abbreviated_name_is_refused_though_powershell_takes_it() -> None:
    with pytest.raises(Refusal) as caught:
        run("function f($Name) { } f -Na x")
    assert caught.value.error_id == "StandIn.AbbreviatedParameter"


def test_a_parameter_without_its_argument_is_an_error() -> None:
    assert error_id("function f { [CmdletBinding()] param($a, $b) } f -a -b 1") == "MissingArgument,f"


def test_a_parameter_given_twice_is_an_error() -> None:
    assert error_id("function f($a) { } f -a 1 -a 2") == "ParameterAlreadyBound,f"


def test_splatting_a_table_names_parameters_and_an_array_fills_positions() -> None:
    assert run('function f($a, $b, [switch]$c) { "$a$b$c" } $t = @{ b = 2; c = $true }; f 1 @t; $l = 3, 4; f @l') == [
        "12True",
        "34False",
    ]


def test_psboundparameters_holds_what_was_given() -> None:
    assert run("function f($a, $b = 2) { $PSBoundParameters.Count; $PSBoundParameters.ContainsKey('B') } f 1") == [
        1,
        False,
    ]


def test_begin_process_and_end_run_in_turn() -> None:
    assert run("function f { begin { 'b' } process { $_ } end { 'e' } } 1, 2 | f") == ["b", 1, 2, "e"]


def test_a_filter_runs_for_each_object() -> None:
    assert run("filter f { $_ * 2 } 1, 2 | f") == [2, 4]


def test_a_function_without_process_finds_the_pipeline_in_input() -> None:
    assert run("function f { @($input).Count } 1, 2, 3 | f") == 3


def test_a_parameter_takes_objects_of_the_pipeline_by_value_and_by_property() -> None:
    assert (
        run(
            "function f { param([Parameter(ValueFromPipeline = $true)]$o, "
            "[Parameter(ValueFromPipelineByPropertyName)]$n)"
            " process { \"$($o.n) $n\" } } [pscustomobject]@{ n = 'x' } | f"
        )
        == "x x"
    )


def test_return_ends_a_function_with_its_value_after_what_it_put_out() -> None:
    assert run("function f { 'a'; return 'b'; 'c' } f") == ["a", "b"]


def test_scopes_show_variables_inside_and_keep_changes_inside() -> None:
    """about_Scopes."""
    assert run("$x = 1; function f { $x; $x = 2; $x } f; $x") == [1, 2, 1]


def test_scope_names_reach_outside() -> None:
    assert run("$x = 1; function f { $global:x = 2; $script:y = 3 } f; $x; $y") == [2, 3]


def test_dot_runs_in_the_scope_itself() -> None:
    assert run("$x = 1; . { $x = 2 }; $x; & { $x = 3 }; $x") == [2, 2]


def test_foreach_object_runs_in_the_scope_itself() -> None:
    assert run("$n = 0; 1..3 | ForEach-Object { $n += $_ }; $n") == 6


def test_scoping_is_dynamic() -> None:
    assert run("function inner { $x } function outer { $x = 'outer'; inner } $x = 'global'; outer") == "outer"


def test_a_closure_keeps_the_values_of_its_time() -> None:
    """about_Scopes; ScriptBlock.GetNewClosure()."""
    assert run("$x = 1; $b = { $x }.GetNewClosure(); $c = { $x }; $x = 2; & $b; & $c") == [1, 2]


def test_script_blocks_take_parameters_and_args() -> None:
    assert run("& { param($a, $b = 5) $a + $b } 1; & { $args[1] } 'a' 'b'; $s = { 7 }; $s.Invoke()") == [6, "b", 7]


def test_a_script_block_of_text_takes_parameters() -> None:
    assert run("& ([ScriptBlock]::Create('param($a) $a * 2')) -a 4") == 8


def test_text_that_is_no_script_is_a_parse_exception() -> None:
    assert (
        run("try { [ScriptBlock]::Create('if (') } catch [System.Management.Automation.ParseException] { 'no script' }")
        == "no script"
    )


def test_a_function_hides_a_cmdlet_of_its_name() -> None:
    """about_Command_Precedence."""
    assert run("function Get-Date { 'mine' } Get-Date") == "mine"


def test_a_function_named_global_is_there_outside() -> None:
    assert run("& { function global:f { 'here' } }; f") == "here"


def test_myinvocation_names_the_command() -> None:
    assert run("function f { $MyInvocation.MyCommand.Name } f") == "f"


@command(
    "Get-Thing",
    Parameter("Name", "string[]", position=0, from_pipeline=True, by_name=True),
    Parameter("Size", int, aliases=("S",)),
)
def get_thing(call: Call) -> Iterator[object]:
    for record in call.records():
        for name in record.get("Name", ["none"]):
            yield PSObject({"Name": name, "Size": record.get("Size", 0)}, "Thing", complete=True)


def test_a_cmdlet_gets_its_arguments_converted() -> None:
    shell = Shell([get_thing])
    assert shell.run("(Get-Thing a, b -Size '5').Size; ('x', 'y' | Get-Thing).Name; (Get-Thing -S 3).Name") == [
        5,
        5,
        "x",
        "y",
        "none",
    ]


def test_a_cmdlet_takes_a_property_of_the_parameter_s_name() -> None:
    assert Shell([get_thing]).run("([pscustomobject]@{ Name = 'p' } | Get-Thing).Name") == "p"


def test_a_parameter_that_a_cmdlet_here_does_not_know_is_refused() -> None:
    for call in ("Get-Thing -Colour red", "Get-Thing -Na x", "Get-Thing -EA Stop"):
        with pytest.raises(Refusal):
            Shell([get_thing]).run(f"try {{ {call} }} catch {{ 'caught' }}")


def test_a_command_that_is_not_known_is_refused_and_no_catch_hides_it() -> None:
    with pytest.raises(Refusal) as caught:
        run("try { Get-Nonsense } catch { 'caught' } finally { 'last' }")
    assert caught.value.error_id == "StandIn.UnknownCommand"


def test_a_program_that_is_not_there_is_an_error_of_the_script() -> None:
    """Whoever writes a program's name with .exe asks for a program."""
    assert (
        run(
            "try { nonsense.exe } catch [System.Management.Automation.CommandNotFoundException] { "
            "$_.FullyQualifiedErrorId }"
        )
        == "CommandNotFoundException"
    )


def test_aliases_are_refused() -> None:
    with pytest.raises(Refusal):
        run("1 | % { $_ }")


def test_out_variable_and_error_variable_keep_a_copy() -> None:
    """about_CommonParameters."""
    assert run(
        "Write-Output 1 -OutVariable o; Write-Error 'e' -ErrorVariable e -ErrorAction SilentlyContinue; "
        "$o.Count; $e[0].Exception.Message"
    ) == [1, 1, "e"]


def test_get_command_finds_functions_cmdlets_and_programs() -> None:
    assert run("function f { } (Get-Command f).CommandType; (Get-Command Get-Date).Name; $null -eq "
"(Get-Command no.exe -ErrorAction SilentlyContinue)") == [
        "Function", "Get-Date", True,
    ]  # fmt: skip

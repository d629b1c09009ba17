"""Set-StrictMode -Version Latest (reference of Set-StrictMode; about_Properties)."""

from collections.abc import Iterator

import pytest

from lab.windows.powershell import Call, PowerShellError, PSObject, Refusal, command
from lab.windows.powershell.testing import Shell, run

STRICT = "Set-StrictMode -Version Latest; $ErrorActionPreference = 'Stop'\n"


def error_of(script: str) -> str:
    """The FullyQualifiedErrorId and the exception's type of what ends the script."""
    with pytest.raises(PowerShellError) as caught:
        run(STRICT + script)
    return f"{caught.value.error_id} {caught.value.record.exception.name}"


def test_reading_a_variable_that_was_never_set_is_an_error() -> None:
    assert error_of("$nothing") == "VariableIsUndefined RuntimeException"


def test_reading_it_inside_of_text_is_an_error_too() -> None:
    assert error_of('"a $nothing b"') == "VariableIsUndefined RuntimeException"


def test_without_strict_mode_it_is_null() -> None:
    assert run("$null -eq $nothing") is True


def test_a_variable_of_the_environment_that_is_not_there_is_null() -> None:
    assert run(STRICT + "$null -eq $env:NOTHING") is True


def test_reading_a_property_that_does_not_exist_is_an_error() -> None:
    assert error_of("$o = [pscustomobject]@{ a = 1 }; $o.b") == "PropertyNotFoundStrict PropertyNotFoundException"


def test_without_strict_mode_such_a_property_is_null() -> None:
    assert run("$o = [pscustomobject]@{ a = 1 }; $null -eq $o.b") is True


@pytest.mark.parametrize("value", ["5", "'text'", "$null", "$true", "[pscustomobject]@{ a = 1 }"])
def test_a_single_value_has_no_count(value: str) -> None:
    """about_Properties: Count and Length of a scalar exist, but not in strict mode."""
    assert error_of(f"$x = {value}; $x.Count") == "PropertyNotFoundStrict PropertyNotFoundException"


def test_without_strict_mode_a_scalar_counts_one_and_null_zero() -> None:
    assert run("(5).Count; $null.Count; (5).Length") == [1, 0, 1]


def test_without_strict_mode_a_custom_object_has_no_count_all_the_same() -> None:
    """In Windows PowerShell alone; PowerShell 7 says 1."""
    assert run("$null -eq ([pscustomobject]@{ a = 1 }).Count") is True


def test_an_array_has_a_count_even_when_empty() -> None:
    assert run(STRICT + "@().Count; @(1).Count") == [0, 1]


def test_a_hash_table_s_missing_key_is_an_error_behind_a_dot_and_null_in_brackets() -> None:
    assert error_of("$h = @{ a = 1 }; $h.b") == "PropertyNotFoundStrict PropertyNotFoundException"
    assert run(STRICT + "$h = @{ a = 1 }; $null -eq $h['b']") is True


def test_a_hash_table_counts_its_entries() -> None:
    assert run(STRICT + "@{ a = 1; b = 2 }.Count") == 2


def test_indexing_behind_the_end_is_an_error() -> None:
    """Version 3.0 and later: out-of-bounds array indexes."""
    assert error_of("$a = 1, 2; $a[2]") == "System.IndexOutOfRangeException IndexOutOfRangeException"


def test_indexing_null_is_an_error_with_and_without_strict_mode() -> None:
    assert error_of("$a = $null; $a[0]") == "NullArray RuntimeException"
    with pytest.raises(PowerShellError, match="Cannot index into a null array"):
        run("$ErrorActionPreference = 'Stop'; $a = $null; $a[0]")


def test_the_property_of_elements_that_lack_it_is_an_error() -> None:
    assert error_of("$a = [pscustomobject]@{ a = 1 }, [pscustomobject]@{ b = 2 }; $a.a") == (
        "PropertyNotFoundStrict PropertyNotFoundException"
    )


def test_without_strict_mode_elements_without_the_property_are_left_out() -> None:
    assert run("$a = [pscustomobject]@{ a = 1 }, [pscustomobject]@{ b = 2 }; @($a.a).Count") == 1


def test_the_property_of_an_empty_array_is_an_error() -> None:
    assert error_of("@().Name") == "PropertyNotFoundStrict PropertyNotFoundException"


def test_strict_mode_rules_the_scope_that_sets_it_and_those_inside() -> None:
    assert run("& { Set-StrictMode -Version Latest }; $null -eq $nothing") is True


def test_strict_mode_can_be_turned_off() -> None:
    assert run(STRICT + "Set-StrictMode -Off; $null -eq $nothing") is True


def test_psobject_properties_tells_whether_a_property_exists() -> None:
    """about_Intrinsic_Members."""
    assert run(
        STRICT
        + "$o = [pscustomobject]@{ a = 1 }; $null -eq $o.PSObject.Properties['b']; $o.PSObject.Properties['A'].Value"
    ) == [True, 1]


def test_calling_a_method_of_null_is_an_error() -> None:
    assert error_of("$x = $null; $x.ToString()") == "InvokeMethodOnNull RuntimeException"


def test_setting_a_property_that_does_not_exist_is_an_error_without_strict_mode_too() -> None:
    with pytest.raises(
        PowerShellError, match=r"cannot be found on this object. Verify that the property exists and can be set"
    ):
        run("$ErrorActionPreference = 'Stop'; $o = [pscustomobject]@{ a = 1 }; $o.b = 1")


def test_automatic_variables_are_set_from_the_start() -> None:
    assert run(STRICT + "$null -ne $PID; $Error.Count; $args.Count") == [True, 0, 0]


def test_lastexitcode_is_not_set_before_a_program_ran() -> None:
    assert error_of("$LASTEXITCODE") == "VariableIsUndefined RuntimeException"


def test_matches_is_not_set_before_something_matched() -> None:
    assert error_of("$null = 'a' -match 'b'; $Matches") == "VariableIsUndefined RuntimeException"


def test_a_property_that_only_the_model_lacks_is_refused() -> None:
    @command("Get-Thing")
    def get_thing(call: Call) -> Iterator[object]:
        yield PSObject({"Name": "x"}, "Some.Type")

    with pytest.raises(Refusal, match=r"the property Size of a Some.Type"):
        Shell([get_thing]).run("try { (Get-Thing).Size } catch { 'caught' }")

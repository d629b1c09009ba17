"""What becomes of collections: about_Arrays, about_Pipelines, about_Return, about_Operators (array, comma)."""

import pytest

from lab.windows.powershell import PowerShellError
from lab.windows.powershell.testing import run


def test_an_array_of_one_element_comes_out_of_a_function_as_the_element() -> None:
    """about_Return: what a function puts out is enumerated."""
    assert run("function f { @(7) } (f).GetType().Name") == "Int32"


def test_an_empty_array_comes_out_of_a_function_as_nothing() -> None:
    assert run("function f { @() } $x = f; $null -eq $x") is True


def test_a_comma_in_front_keeps_an_array_of_one_whole() -> None:
    """about_Return, the unary comma."""
    assert run("function f { return ,@(7) } $x = f; $x.GetType().Name; $x.Count") == ["Object[]", 1]


def test_at_parentheses_make_an_array_of_none_one_and_many() -> None:
    """about_Arrays, the array subexpression operator."""
    assert run("function f { } function g { 1 } function h { 1; 2 } @(f).Count; @(g).Count; @(h).Count") == [0, 1, 2]


def test_at_parentheses_around_null_hold_one_element() -> None:
    assert run("@($null).Count") == 1


def test_at_parentheses_around_an_array_do_not_nest_it() -> None:
    assert run("$a = 1, 2; @($a).Count; @(@(1, 2)).Count") == [2, 2]


def test_a_pipeline_of_an_array_gives_its_elements_one_by_one() -> None:
    assert run("1, 2, 3 | ForEach-Object { $_ * 10 }") == [10, 20, 30]


def test_a_pipeline_gives_nested_arrays_one_level_at_a_time() -> None:
    assert run("@(1, 2), @(3, 4) | ForEach-Object { $_.Count }") == [2, 2]


def test_a_hash_table_is_one_object_in_a_pipeline() -> None:
    """about_Hash_Tables: only GetEnumerator() enumerates it."""
    assert run("@(@{ a = 1; b = 2 } | ForEach-Object { 'once' }).Count") == 1
    assert sorted(run("@{ a = 1; b = 2 }.GetEnumerator() | ForEach-Object { $_.Key }")) == ["a", "b"]


def test_text_is_one_object_in_a_pipeline() -> None:
    assert run("'abc' | ForEach-Object { $_.Length }") == 3


def test_assigning_an_array_keeps_an_array_of_one() -> None:
    assert run("$x = @(5); $x.GetType().Name") == "Object[]"


def test_an_if_that_is_assigned_is_enumerated() -> None:
    assert run("$x = if ($true) { @(5) }; $x.GetType().Name") == "Int32"


def test_a_statement_without_output_assigns_null() -> None:
    assert run("$x = if ($false) { 1 }; $null -eq $x") is True


def test_foreach_over_null_runs_never_and_over_an_array_with_null_once() -> None:
    """about_Foreach."""
    assert run("$n = 0; foreach ($i in $null) { $n++ }; foreach ($i in @($null)) { $n += 10 }; $n") == 10


def test_null_in_a_pipeline_is_an_object() -> None:
    assert run("@($null | ForEach-Object { 'x' }).Count") == 1


def test_a_call_without_output_puts_no_null_into_a_pipeline() -> None:
    assert run("function f { } @(f | ForEach-Object { 'x' }).Count") == 0


def test_adding_to_an_array_makes_a_new_array() -> None:
    assert run("$a = 1, 2; $b = $a; $a += 3; $a.Count; $b.Count") == [3, 2]


def test_adding_an_array_joins_both() -> None:
    assert run("(1, 2) + (3, 4)") == [1, 2, 3, 4]


def test_multiplying_an_array_repeats_it() -> None:
    """about_Arithmetic_Operators."""
    assert run("(1, 2) * 2") == [1, 2, 1, 2]


def test_negative_indexes_count_from_the_end_and_ranges_give_several() -> None:
    """about_Arrays."""
    assert run("$a = 10, 20, 30; $a[-1]; $a[0..1]; $a[2, 0]") == [30, 10, 20, 30, 10]


def test_a_range_runs_down_too() -> None:
    assert run("3..1") == [3, 2, 1]


def test_an_index_behind_the_end_is_null_without_strict_mode() -> None:
    assert run("$a = 1, 2; $null -eq $a[5]") is True


def test_assigning_behind_the_end_is_an_error() -> None:
    with pytest.raises(PowerShellError, match="Index was outside the bounds of the array"):
        run("$ErrorActionPreference = 'Stop'; $a = 1, 2; $a[5] = 1")


def test_several_variables_take_the_elements_and_the_last_the_rest() -> None:
    """about_Assignment_Operators."""
    assert run("$a, $b = 1, 2, 3; $a; $b.Count; $c, $d = 1; $null -eq $d") == [1, 2, True]


def test_the_property_of_a_collection_is_that_of_its_elements() -> None:
    """about_Member-Access_Enumeration."""
    assert run("('a', 'bcd').ToUpper(); ([pscustomobject]@{ n = 1 }, [pscustomobject]@{ n = 2 }).n") == [
        "A",
        "BCD",
        1,
        2,
    ]


def test_the_collection_s_own_property_comes_before_those_of_its_elements() -> None:
    assert run("('a', 'bcd').Length") == 2


def test_a_typed_array_converts_its_elements() -> None:
    assert run("$a = [int[]]('1', '2'); $a[0].GetType().Name; $a.GetType().Name") == ["Int32", "Int32[]"]


def test_where_and_foreach_are_methods_of_every_collection() -> None:
    """about_Arrays, Where and ForEach."""
    assert run("(1..5).Where({ $_ -gt 3 }); (1, 2).ForEach({ $_ * 2 })") == [4, 5, 2, 4]


def test_a_return_inside_of_foreach_object_ends_one_object_only() -> None:
    assert run("1..3 | ForEach-Object { if ($_ -eq 2) { return }; $_ }") == [1, 3]


def test_select_object_first_ends_the_commands_before_it() -> None:
    """Select-Object, -First: the pipeline is stopped."""
    assert run(
        "$script:n = 0; function f { while ($true) { $script:n++; $script:n } } f | Select-Object -First 2; $n"
    ) == [
        1,
        2,
        2,
    ]


def test_select_object_first_1_of_an_array_is_no_array() -> None:
    assert run("(1, 2 | Select-Object -First 1).GetType().Name") == "Int32"


def test_objects_go_through_a_pipeline_one_after_the_other() -> None:
    """about_Pipelines, one-at-a-time processing."""
    assert run('1, 2 | ForEach-Object { "a$_"; $_ } | ForEach-Object { "b$_" }') == ["ba1", "b1", "ba2", "b2"]


def test_dollar_underscore_of_an_inner_pipeline_leaves_the_outer_one_alone() -> None:
    assert run("1, 2 | ForEach-Object { 'x' | ForEach-Object { $_ }; $_ }") == ["x", 1, "x", 2]


def test_an_array_list_grows_and_says_where() -> None:
    assert run(
        "$l = New-Object -TypeName System.Collections.ArrayList; $l.Add('a'); $null = $l.Add('b'); $l.Count"
    ) == [0, 2]


def test_a_generic_list_adds_without_output_and_converts() -> None:
    assert run("$l = [System.Collections.Generic.List[int]]::new(); $l.Add('5'); $l[0].GetType().Name") == "Int32"


def test_a_method_without_result_puts_out_nothing() -> None:
    assert run("@(& { [System.Collections.Generic.List[string]]::new().Add('x') }).Count") == 0

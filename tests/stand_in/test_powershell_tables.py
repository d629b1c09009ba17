"""Hash tables and custom objects: about_Hash_Tables, about_Object_Creation, about_PSCustomObject, Add-Member."""

import pytest

from lab.windows.powershell import Hashtable, PowerShellError
from lab.windows.powershell.testing import run


def test_keys_are_found_whatever_their_case_by_dot_and_in_brackets() -> None:
    assert run("$h = @{ Name = 'x'; 'a b' = 2; 5 = 'five' }; $h.name; $h['NAME']; $h.'a b'; $h[5]") == [
        "x",
        "x",
        2,
        "five",
    ]


def test_a_key_of_another_number_type_is_another_key() -> None:
    assert run("$h = @{ 5 = 'int' }; $null -eq $h[5L]") is True


def test_the_order_of_a_hash_table_is_not_that_in_which_it_was_written() -> None:
    """about_Hash_Tables: the order isn't predictable, use [ordered]."""
    keys = [f"key{number}" for number in range(8)]
    assert list(Hashtable(dict.fromkeys(keys))) != keys
    assert sorted(Hashtable(dict.fromkeys(keys))) == keys


def test_an_ordered_table_keeps_the_order() -> None:
    assert run("$o = [ordered]@{ b = 1; a = 2; c = 3 }; $o.Keys; $o[0]; $o['c']") == ["b", "a", "c", 1, 3]


def test_entries_can_be_added_changed_and_removed() -> None:
    assert run("$h = @{}; $h.a = 1; $h['b'] = 2; $h.Add('c', 3); $h.Remove('a'); $h.Count; $h.ContainsKey('B')") == [
        2,
        True,
    ]


def test_adding_a_key_twice_is_an_error_found_by_its_type() -> None:
    assert run("try { @{ a = 1 }.Add('A', 2) } catch [ArgumentException] { 'twice' }") == "twice"


def test_the_same_key_twice_in_a_literal_is_a_parse_error() -> None:
    with pytest.raises(PowerShellError) as caught:
        run("@{ a = 1; A = 2 }")
    assert caught.value.error_id == "DuplicateKeyInHashLiteral"


def test_two_tables_add_up_and_the_same_key_in_both_is_an_error() -> None:
    assert run("$h = @{ a = 1 } + @{ b = 2 }; $h.Count") == 2
    with pytest.raises(PowerShellError):
        run("$ErrorActionPreference = 'Stop'; @{ a = 1 } + @{ a = 2 }")


def test_an_entry_named_count_hides_the_property() -> None:
    assert run("$h = @{ Count = 'mine' }; $h.Count") == "mine"


def test_values_of_a_literal_may_be_statements() -> None:
    assert run(
        "$h = @{ a = if ($true) { 'yes' } else { 'no' }\n b = 1..3 | ForEach-Object { $_ } }; $h.a; $h.b.Count"
    ) == ["yes", 3]


def test_a_custom_object_keeps_order_and_finds_properties_whatever_their_case() -> None:
    assert run("$o = [pscustomobject]@{ B = 1; a = 2 }; $o.b; $o.PSObject.Properties.Name") == [1, "B", "a"]


def test_a_custom_object_of_a_table_made_before_has_that_table_s_order() -> None:
    """Only a literal behind [pscustomobject] keeps its order (about_PSCustomObject)."""
    literal = run("([pscustomobject]@{ k1 = 1; k2 = 1; k3 = 1; k4 = 1; k5 = 1 }).PSObject.Properties.Name")
    table = run("$h = @{ k1 = 1; k2 = 1; k3 = 1; k4 = 1; k5 = 1 }; ([pscustomobject]$h).PSObject.Properties.Name")
    assert literal == ["k1", "k2", "k3", "k4", "k5"] != table
    assert sorted(table) == literal


def test_add_member_adds_properties() -> None:
    assert (
        run(
            "$o = [pscustomobject]@{ a = 1 }; $o | Add-Member -MemberType NoteProperty -Name b -Value 2;"
            "Add-Member -InputObject $o -NotePropertyName c -NotePropertyValue 3; $o.b + $o.c"
        )
        == 5
    )


def test_add_member_of_a_name_that_is_there_is_an_error_without_force() -> None:
    with pytest.raises(PowerShellError) as caught:
        run(
            "$ErrorActionPreference = 'Stop'; [pscustomobject]@{ a = 1 } | Add-Member -NotePropertyName a "
            "-NotePropertyValue 2"
        )
    assert caught.value.error_id == "MemberAlreadyExists,Microsoft.PowerShell.Commands.AddMemberCommand"


def test_objects_are_references_and_copy_makes_another() -> None:
    assert run("$a = [pscustomobject]@{ n = 1 }; $b = $a; $c = $a.PSObject.Copy(); $b.n = 2; $a.n; $c.n") == [2, 1]


def test_new_object_makes_objects_with_properties_and_arguments() -> None:
    assert run(
        "$o = New-Object -TypeName PSObject -Property @{ a = 1 }; $o.a; (New-Object -TypeName byte[] "
        "-ArgumentList 3).Length;"
        "(New-Object System.Text.StringBuilder 'x').ToString()"
    ) == [1, 3, "x"]


def test_select_object_makes_objects_of_the_properties_that_are_asked_for() -> None:
    assert run(
        "$o = [pscustomobject]@{ a = 1; b = 2 } | Select-Object -Property b, c, @{ Name = 'd'; Expression = "
        "{ $_.a + 10 } };"
        "$o.PSObject.Properties.Name; $null -eq $o.c; $o.d"
    ) == ["b", "c", "d", True, 11]


def test_expand_property_gives_the_values_themselves() -> None:
    assert run("[pscustomobject]@{ a = 1, 2 } | Select-Object -ExpandProperty a") == [1, 2]


def test_expand_property_of_what_is_not_there_is_a_non_terminating_error() -> None:
    with pytest.raises(PowerShellError) as caught:
        run("[pscustomobject]@{ a = 1 } | Select-Object -ExpandProperty b -ErrorAction Stop")
    assert caught.value.error_id.startswith("ExpandPropertyNotFound,")


def test_sort_object_by_properties_up_and_down() -> None:
    assert run(
        "$l = [pscustomobject]@{ n = 2; s = 'a' }, [pscustomobject]@{ n = 1; s = 'b' }, [pscustomobject]@{ "
        "n = 1; s = 'a' };"
        "($l | Sort-Object -Property n, s | ForEach-Object { \"$($_.n)$($_.s)\" }) -join ' ';"
        "($l | Sort-Object -Property @{ Expression = 'n'; Descending = $true }, s | ForEach-Object { "
        "\"$($_.n)$($_.s)\" }) -join ' '"
    ) == ["1a 1b 2a", "2a 1a 1b"]


def test_sort_object_unique_and_numbers_in_order_of_size() -> None:
    assert run("10, 9, 10, 1 | Sort-Object -Unique; '10', '9' | Sort-Object; '10', '9' | Sort-Object "
"-Property { [int]$_ }") == [
        1, 9, 10, "10", "9", "9", "10",
    ]  # fmt: skip


def test_group_object_by_property() -> None:
    assert run("$g = 'a', 'b', 'A' | Group-Object; $g.Name; $g[0].Count; (1..4 | Group-Object { $_ % 2 } "
"-AsHashTable)[1].Count") == [
        "a", "b", 2, 2,
    ]  # fmt: skip


def test_measure_object_counts_and_sums() -> None:
    assert run(
        "$m = 1, 2, 3 | Measure-Object -Sum -Maximum; $m.Count; $m.Sum; $m.Maximum; (@() | Measure-Object).Count"
    ) == [3, 6.0, 3.0, 0]


def test_compare_object_says_which_side() -> None:
    assert run(
        "Compare-Object -ReferenceObject 1, 2 -DifferenceObject 2, 3 | ForEach-Object { "
        '"$($_.InputObject)$($_.SideIndicator)" }'
    ) == ["3=>", "1<="]


@pytest.mark.parametrize(
    "loop",
    [
        "foreach ($k in $h.Keys) { $h[$k] = 0 }",
        "foreach ($k in $h.Keys) { $h.Remove($k) }",
        "$h.Keys | ForEach-Object { $h[$_] = 0 }",
        "foreach ($e in $h.GetEnumerator()) { $h[$e.Key] = 0 }",
        "$l = [System.Collections.ArrayList]@(1, 2); foreach ($i in $l) { $null = $l.Add(3) }",
    ],
)
def test_a_collection_that_changes_while_a_loop_goes_through_it_is_an_error(loop: str) -> None:
    """Hashtable.Keys and ArrayList of .NET: the enumerator is invalidated by any change."""
    with pytest.raises(PowerShellError) as caught:
        run(f"$ErrorActionPreference = 'Stop'; $h = @{{ a = 1; b = 2 }}; {loop}")
    assert caught.value.error_id == "BadEnumeration"


def test_a_copy_of_the_keys_may_be_gone_through_while_the_table_changes() -> None:
    assert run("$h = @{ a = 1; b = 2 }; foreach ($k in @($h.Keys)) { $h[$k] = 0 }; $h.a + $h.b") == 0


def test_the_keys_of_a_table_have_no_numbers() -> None:
    """Hashtable.Keys is a collection without an indexer."""
    with pytest.raises(PowerShellError) as caught:
        run("$ErrorActionPreference = 'Stop'; @{ a = 1 }.Keys[0]")
    assert caught.value.error_id == "CannotIndex"

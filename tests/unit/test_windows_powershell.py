"""The protocol with PowerShell, from this side: what is sent, how the answer is read and judged."""

from __future__ import annotations

import base64
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import CorralError
from corral.remote import HostError
from corral.windows import powershell
from corral.windows.clixml import Line
from corral.windows.powershell import Answer, Emitted, Event, Output, Progress, Ready

SCRIPTS = [
    path
    for folder in ("windows", "windows/scripts")
    for path in files("corral").joinpath(folder).iterdir()
    if path.name.endswith(".ps1")
]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def fed(*lines: str, end: str = "\r\n") -> tuple[Answer, list[Event]]:
    answer = Answer()
    events = answer.feed("".join(line + end for line in lines).encode())
    return answer, events + answer.close()


# --- The answer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_output_results_and_progress_come_in_their_order(end: str) -> None:
    _, events = fed(
        "@corral ready",
        "一 line",
        f"@corral emit result {b64('{}')}",
        "",
        f"@corral progress {b64('half')}",
        "@corral end",
        end=end,
    )
    assert events == [Ready(), Output("一 line"), Emitted("result", "{}"), Output(""), Progress("half")]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=6), st.integers(1, 7))
def test_any_line_comes_back_however_the_bytes_are_cut(lines: list[str], size: int) -> None:
    written = [f"@corral output {b64(line)}" if line.startswith("@corral ") else line for line in lines]
    data = "".join(f"{line}\r\n" for line in written).encode()
    answer = Answer()
    events = [event for at in range(0, len(data), size) for event in answer.feed(data[at : at + size])]
    assert events == [Output(line) for line in lines]


def test_a_result_of_ten_megabytes_comes_whole() -> None:
    text = "模" * 3_500_000
    answer = Answer()
    data = f"@corral emit it {b64(text)}\n".encode()
    events = [event for at in range(0, len(data), 32_768) for event in answer.feed(data[at : at + 32_768])]
    assert events == [Emitted("it", text)]


def test_a_last_line_without_an_end_is_output_but_half_a_line_of_protocol_is_nothing() -> None:
    answer = Answer()
    answer.feed(b"@corral ready\nlast")
    assert answer.close() == [Output("last")]
    answer.feed(b"@corral emit result e3")
    assert answer.close() == []


# --- Its judgement ----------------------------------------------------------------------------------------------------


def test_an_answer_that_came_to_its_end_with_0_is_a_success() -> None:
    fed("@corral ready", "@corral exit 0", "@corral end")[0].check("it", 0, [])


def test_an_answer_without_an_end_is_a_failure_whatever_the_exit_code() -> None:
    with pytest.raises(CorralError, match=r"probe\.ps1 was cut off on the host before it ended"):
        fed("@corral ready")[0].check("probe.ps1", 0, [])


def test_no_answer_at_all_is_a_failure_even_with_exit_code_0() -> None:
    with pytest.raises(CorralError, match="could not start PowerShell"):
        fed()[0].check("it", 0, [])


def test_a_request_that_came_damaged_is_said_to_be() -> None:
    with pytest.raises(CorralError, match="did not reach the host whole"):
        fed("@corral end")[0].check("it", 97, [])


def test_a_damaged_request_is_known_behind_a_powershell_that_makes_1_of_97() -> None:
    with pytest.raises(CorralError, match="did not reach the host whole"):
        fed("@corral end")[0].check("it", 1, [Line("native", "5 of 90 bytes came")])


@pytest.mark.parametrize("exit_code", [98, 1])
def test_constrained_language_mode_is_named_with_its_remedy(exit_code: int) -> None:
    answer, _ = fed(f"@corral error language {b64('constrained')}", "@corral end")
    with pytest.raises(CorralError, match=r"constrained language mode.*AppLocker"):
        answer.check("it", exit_code, [])


def test_a_failure_that_the_script_names_keeps_its_code_problem_remedy_and_detail() -> None:
    said = b64("D: is full | Free some space\n12 MiB left")
    answer, _ = fed("@corral ready", f"@corral error disk {said}")
    with pytest.raises(HostError) as caught:
        answer.check("it", 1, [])
    assert caught.value.code == "disk"
    assert str(caught.value) == "D: is full. Free some space.\n    12 MiB left"


def test_a_failure_without_a_word_shows_the_end_of_the_errors_but_not_what_was_output_already() -> None:
    answer, _ = fed("@corral ready", "@corral end")
    with pytest.raises(CorralError) as caught:
        answer.check("it", 3, [Line("information", "shown"), Line("error", "because")])
    assert str(caught.value) == "it failed on the host (exit code 3).\n    because"


def test_the_scripts_own_exit_code_counts_where_a_powershell_in_between_makes_1_of_it() -> None:
    answer, _ = fed("@corral ready", "@corral exit 3010", "@corral end")
    answer.check("it", 1, [], success=(0, 3010))
    with pytest.raises(CorralError, match="exit code 3010"):
        answer.check("it", 1, [])


@pytest.mark.parametrize("wanted", [-1, 4_294_967_295])
def test_a_negative_exit_code_is_the_same_as_the_unsigned_one_that_ssh_carries(wanted: int) -> None:
    fed("@corral ready", "@corral end")[0].check("it", 4_294_967_295, [], success=(wanted,))


# --- The request ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["\ud83d", "a\udc00b"])
def test_half_a_surrogate_pair_is_refused_before_anything_is_sent(value: str) -> None:
    with pytest.raises(CorralError, match="half a surrogate pair"):
        powershell.request("", parameters={"Path": value})


def test_a_number_of_more_than_64_bits_is_refused() -> None:
    with pytest.raises(CorralError, match="64 bits"):
        powershell.request("", parameters={"N": 2**63})


@pytest.mark.parametrize("limit_s", [0, -1, 1.5, 10**9])
def test_a_limit_that_start_sleep_does_not_take_is_refused(limit_s: int) -> None:
    with pytest.raises(CorralError, match="whole seconds"):
        powershell.request("", limit_s=limit_s)


@pytest.mark.parametrize("name", ["", "A=B", "A\0"])
def test_a_variable_that_windows_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(CorralError, match="cannot be set"):
        powershell.request("", environment={name: "x"})


# --- Assembly ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        ("param([string]$Path)", "\n$Path"),
        ("# what for\n<# (and\nmore #>\nparam([string]$A = ')', $B = \"(\", [int[]]$C) # )", "\n$A"),
        ("[CmdletBinding()]\nPARAM (\n  [Parameter(Mandatory = $true)] [string]$A\n)", "\n'param()'"),
    ],
)
def test_the_library_stands_between_the_param_block_and_the_rest(head: str, rest: str) -> None:
    end = head.rindex(")") + 1 if "#" not in head[-3:] else head.rindex(" #")
    assembled = powershell.assemble(head + rest)
    assert assembled.startswith(f"{head[:end]}\nSet-StrictMode -Version Latest\n")
    assert assembled.endswith(f"\n{head[end:]}{rest}")


@pytest.mark.parametrize(
    "text", ["'no parameters'", "# only\n", "", "parameter $x", "[int]$x = 1\nfunction f { param($a) }"]
)
def test_a_script_without_a_param_block_begins_with_the_library(text: str) -> None:
    assembled = powershell.assemble(text)
    assert assembled.lstrip().startswith("Set-StrictMode -Version Latest\n")
    assert assembled.endswith(f"\n{text}")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_ascii_because_windows_powershell_reads_files_in_the_local_code_page(path: object) -> None:
    assert path.read_bytes().isascii()  # type: ignore[attr-defined]

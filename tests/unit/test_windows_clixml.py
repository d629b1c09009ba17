"""Standard error of PowerShell as plain lines. data/clixml.json holds what a real PowerShell 7.6 wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.windows.clixml import Line, decode

SAMPLES: dict[str, str] = json.loads((Path(__file__).parent / "data" / "clixml.json").read_text(encoding="utf-8"))
HEADER = "#< CLIXML\r\n"
OBJS = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'


def shown(text: str) -> list[tuple[str, str]]:
    return [(line.stream, line.text) for line in decode(text.encode())]


@pytest.mark.parametrize(
    ("sample", "lines"),
    [
        ("write_error", [("error", "Write-Error: bad ü")]),
        ("throw", [("error", "Exception: boom ü 日本")]),
        ("two_errors", [("error", "Write-Error: one"), ("error", "Write-Error: two")]),
        ("multi_line", [("error", "Write-Error: line1"), ("error", "line2"), ("error", "line3")]),
        ("nested_engine", [("error", "Write-Error: inner")]),
        ("exit_code_only", []),
        ("stop_with_catch", [("native", "Cannot find path '/nope/missing' because it does not exist.")]),
        ("write_host_information", [("information", "to host"), ("information", "info")]),
        ("warning_verbose_progress", [("warning", "careful"), ("verbose", "v")]),
    ],
)
def test_each_stream_comes_out_as_its_lines(sample: str, lines: list[tuple[str, str]]) -> None:
    assert shown(SAMPLES[sample]) == lines


def test_what_programs_wrote_before_and_inside_stays_in_its_place() -> None:
    assert shown(SAMPLES["native_stderr_before_and_after"]) == [
        ("native", "raw <&> no newline"),
        ("native", "after"),
        ("error", "Write-Error: e1"),
    ]


def test_escapes_become_characters_and_what_only_looks_like_one_stays() -> None:
    text = "Write-Error: literal _x000A_ tab\tnul\0esc\x1b emoji 😀 fffe\ufffe <>&"
    assert shown(SAMPLES["escapes"]) == [("error", text)]


def test_indented_lines_of_an_error_keep_their_indentation() -> None:
    assert ("error", "     | Unexpected token 'if' in expression or statement.") in shown(SAMPLES["parse_error"])


def test_a_second_document_needs_no_newline_before_it() -> None:
    one = HEADER + OBJS + '<S S="Error">one_x000D__x000A_</S></Objs>'
    two = HEADER + OBJS + '<S S="Error">two_x000D__x000A_</S></Objs>'
    assert shown(one + two) == [("error", "one"), ("error", "two")]


def test_a_document_inside_another_is_read_too() -> None:
    inner = HEADER + OBJS + '<S S="Error">inner_x000D__x000A_</S></Objs>'
    text = HEADER + OBJS + '<S S="Error">a_x000D__x000A_</S>' + inner + '<S S="Error">b_x000D__x000A_</S></Objs>'
    assert shown(text) == [("error", "a"), ("error", "inner"), ("error", "b")]


@pytest.mark.parametrize("cut", range(0, len(SAMPLES["write_host_information"]), 37))
def test_a_document_that_was_cut_off_anywhere_is_no_error(cut: int) -> None:
    decode(SAMPLES["write_host_information"].encode()[:cut])


def test_an_error_that_was_cut_off_shows_as_far_as_it_came() -> None:
    assert shown(HEADER + OBJS + '<S S="Error">The disk is fu') == [("error", "The disk is fu")]


def test_a_progress_record_inside_nested_objects_hides_nothing_that_follows() -> None:
    progress = '<Obj S="progress" RefId="0"><MS><Obj N="x"><ToString>no</ToString></Obj><Obj N="y" /></MS></Obj>'
    assert shown(HEADER + OBJS + progress + '<S S="Error">yes</S></Objs>') == [("error", "yes")]


def test_text_of_a_chinese_code_page_is_readable() -> None:
    data = "所在位置 行:1".encode("gbk") + b"\r\nplain\r\n"
    assert decode(data) == [Line("native", "所在位置 行:1"), Line("native", "plain")]


def test_text_of_a_western_code_page_is_readable() -> None:
    assert decode("Gerät fehlt".encode("cp850")) == [Line("native", "Gerät fehlt")]


@given(st.binary())
def test_any_bytes_come_through(data: bytes) -> None:
    decode(b"#< CLIXML\n" + data)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip))
def test_any_text_survives_powershells_escapes(text: str) -> None:
    escaped = text.replace("_x", "_x005F_x")
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert shown(HEADER + OBJS + f'<S S="Error">{escaped}_x000D__x000A_</S></Objs>') == [("error", text.rstrip())]

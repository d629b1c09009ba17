"""Drift as people see it: short, in the words of a Modelfile, and harmless to a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.drift import MOST_LINES, MOST_TEXT_LINES, WIDTH, drift
from corral.meaning import Meaning, Value
from corral.modelfile import Message
from tests.generated import hard_text

TEMPLATE = "\n".join(f"{{{{ line {number} }}}}" for number in range(40))
DECLARED = Meaning(
    weights="sha256:" + "8f50744aed81" + "0" * 52,
    template=TEMPLATE,
    system="You are R1.\nBe brief.",
    license="Licence one",
    messages=(Message("user", "Hi"), Message("assistant", "Hello\nyou")),
    parameters={"num_ctx": 16384, "temperature": 0.6, "use_mmap": False, "stop": frozenset({"<a>", "<b>"})},
)
ADAPTER = "adapter sha256:" + "e116bd8f6939" + "1" * 52


def changed(**parameters: Value) -> Meaning:
    return replace(DECLARED, parameters={**DECLARED.parameters, **parameters})


@pytest.mark.parametrize(
    ("there", "lines"),
    [
        (changed(num_ctx=4096), ["- PARAMETER num_ctx 4096", "+ PARAMETER num_ctx 16384"]),
        (changed(use_mmap=0), ["- PARAMETER use_mmap 0", "+ PARAMETER use_mmap false"]),
        (changed(num_batch=64, seed=7), ["- PARAMETER num_batch 64", "- PARAMETER seed 7"]),
        (changed(stop=frozenset({"<b>", "<c>"})), ["- PARAMETER stop <c>", "+ PARAMETER stop <a>"]),
        (replace(DECLARED, parameters={}), ["+ PARAMETER num_ctx 16384", "+ PARAMETER stop <a>", "+ PARAMETER stop <b>",
                                            "+ PARAMETER temperature 0.6", "+ PARAMETER use_mmap false"]),
        (replace(DECLARED, weights=""), ["- FROM unknown weights", "+ FROM sha256:8f50744aed81"]),
        (replace(DECLARED, attachments=frozenset({ADAPTER})), ["- ADAPTER sha256:e116bd8f6939"]),
        (replace(DECLARED, renderer="gemma4"), ["- RENDERER gemma4"]),
        (replace(DECLARED, license="Licence two"), ["- LICENSE Licence two", "+ LICENSE Licence one"]),
        (replace(DECLARED, license="Licence one\nLicence two"),
         ["  LICENSE, line 2:", "    Licence one", "-   Licence two"]),
        (replace(DECLARED, system=""), ["  SYSTEM:", "+   You are R1.", "+   Be brief."]),
        (replace(DECLARED, template=TEMPLATE.replace("line 7 ", "row 7 ")),
         ["  TEMPLATE, line 8:", "    {{ line 6 }}", "-   {{ row 7 }}", "+   {{ line 7 }}"]),
        (replace(DECLARED, messages=()), ["+ MESSAGE user Hi", "+ MESSAGE assistant Hello\\nyou"]),
        (replace(DECLARED, messages=(Message("user", "Hi"), Message("assistant", "Hello\nall"))),
         ["  MESSAGE assistant, line 2:", "    Hello", "-   all", "+   you"]),
        (replace(DECLARED, messages=(*DECLARED.messages, Message("user", "Bye"))), ["- MESSAGE user Bye"]),
    ],
)  # fmt: skip
def test_each_difference_is_shown_in_the_words_of_a_modelfile(there: Meaning, lines: list[str]) -> None:
    assert drift(DECLARED, there) == lines


def test_what_is_the_same_is_not_shown() -> None:
    assert drift(DECLARED, replace(DECLARED, architecture="llama", unknown=frozenset({"template"}))) == []


def test_what_only_the_server_can_know_is_not_compared() -> None:
    wanted = replace(DECLARED, unknown=frozenset({"template", "stop"}))
    assert drift(wanted, replace(changed(stop=frozenset({"<c>"})), template="other")) == []


def test_long_lines_are_shown_where_they_differ() -> None:
    first, rest = "a" * 500, "b" * 500
    lines = drift(replace(DECLARED, system=f"{first}new{rest}"), replace(DECLARED, system=f"{first}old{rest}"))
    assert [line[:3] for line in lines] == ["- S", "+ S"]
    assert ["old" in line for line in lines] == [True, False]
    assert ["new" in line for line in lines] == [False, True]
    assert all("…" in line and len(line) < WIDTH + 20 for line in lines)


def test_texts_that_have_nothing_in_common_are_cut() -> None:
    lines = drift(replace(DECLARED, template=TEMPLATE.replace("line", "row")), DECLARED)
    assert len(lines) == MOST_TEXT_LINES
    assert lines[-1] == f"  … and {1 + 2 * 40 - MOST_TEXT_LINES + 1} more lines"


def test_what_is_not_printable_is_escaped() -> None:
    there = replace(
        DECLARED,
        system="\x1b[2J\x1b]0;title\x07You are R1. \nBe \u202ebrief.\r",
        messages=(Message("user\x1b[0m", "\x9b1m"),),
        parameters={**DECLARED.parameters, "stop\x08": "a\nb"},
    )
    lines = drift(DECLARED, there)
    assert all(line.isprintable() for line in lines)
    assert "-   \\x1b[2J\\x1b]0;title\\x07You are R1.\\x20" in lines
    assert "-   Be \\u202ebrief.\\r" in lines
    assert "- MESSAGE user\\x1b[0m \\x9b1m" in lines
    assert "- PARAMETER stop\\x08 a\\nb" in lines


any_messages = st.lists(st.builds(Message, st.text("us ", max_size=2), st.text("su ", max_size=2)), max_size=3)
meanings = st.builds(
    Meaning,
    weights=st.sampled_from(["sha256:" + "0" * 64, "sha256:" + "1" * 64]),
    attachments=st.frozensets(st.sampled_from([ADAPTER, ADAPTER + "2"])),
    template=hard_text,
    system=hard_text,
    license=hard_text,
    messages=st.lists(st.builds(Message, st.text("us ", max_size=2), st.text("su ", max_size=2)), max_size=3).map(
        tuple
    ),
    parameters=st.dictionaries(
        hard_text, st.integers() | st.booleans() | hard_text | st.frozensets(hard_text, min_size=1)
    ),
)


@given(meanings, meanings)
def test_there_are_lines_exactly_where_something_differs_and_a_terminal_can_show_them(
    wanted: Meaning, there: Meaning
) -> None:
    lines = drift(wanted, there)
    assert drift(wanted, wanted) == []
    assert bool(lines) == (wanted != there)
    assert len(lines) <= MOST_LINES
    assert all(line.replace("\t", "").isprintable() for line in lines)

"""Modelfiles: read, written and sent as Ollama v0.34.4 and its command line do."""

# ruff: noqa: RUF001 (DeepSeek writes its tokens with a full-width bar)

from __future__ import annotations

import struct
from pathlib import Path

import jinja2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from corral.errors import CorralError
from corral.modelfile import (
    ChatTemplate,
    Message,
    Modelfile,
    Rendered,
    Setting,
    chat_template,
    float32,
    parameter,
    parameters,
    parse,
    quote,
    render,
    to_create_request,
    unquote,
    with_adapter,
)
from tests.generated import hard_text, licences, messages, settings_of_any_kind, some_text, texts, versions

ROOT = Path(__file__).parents[2]
LOADER = jinja2.FileSystemLoader(ROOT / "templates" / "modelfiles")
CHAT = [ROOT / "templates" / "chat"]


def written(modelfile: Modelfile, template: str | None = None) -> str:
    loader = LOADER if template is None else jinja2.DictLoader({"model.j2": template})
    return render(modelfile, name="r1", host="rtx4090", loader=loader).text


# --- reading ------------------------------------------------------------------------------------------


def test_the_tutorials_modelfile_is_read() -> None:
    modelfile = parse(
        "FROM deepseek-r1:32b-qwen-distill-q4_K_M\n\n"
        'TEMPLATE """{{- if .System }}{{ .System }}{{ end }}\n<｜Assistant｜>"""\n'
        "PARAMETER stop <｜User｜>\nPARAMETER stop <｜Assistant｜>\nPARAMETER num_ctx 16000\n"
    )
    assert modelfile == Modelfile(
        from_="deepseek-r1:32b-qwen-distill-q4_K_M",
        template="{{- if .System }}{{ .System }}{{ end }}\n<｜Assistant｜>",
        parameters={"stop": ("<｜User｜>", "<｜Assistant｜>"), "num_ctx": 16000},
    )


def test_every_instruction_is_read_in_any_case_and_order() -> None:
    modelfile = parse(
        '\ufeff# made by hand\r\nsystem  be brief  \r\nMessage user a: b\nMESSAGE assistant "c\nd"\n'
        "  from ./r1.gguf\nLicense one\nLICENSE two\nADAPTER a.gguf\nRENDERER x\nPARSER y\nREQUIRES 0.14.0\n"
        "PARAMETER use_mmap F\nPARAMETER temperature .5"
    )
    assert modelfile == Modelfile(
        from_="./r1.gguf",
        system="be brief",
        messages=(Message("user", "a: b"), Message("assistant", "c\nd")),
        licenses=("one", "two"),
        adapter="a.gguf",
        renderer="x",
        parser="y",
        requires="0.14.0",
        parameters={"use_mmap": False, "temperature": 0.5},
    )


def test_a_hash_starts_a_comment_only_at_the_start_of_a_line() -> None:
    assert parse("FROM x\n  # no\nSYSTEM a # b\n").system == "a # b"


def test_quotes_close_only_at_the_end_of_a_line() -> None:
    assert parse('FROM x\nSYSTEM """a """ b\nc"""\n').system == 'a """ b\nc'
    assert parse('FROM x\nSYSTEM "a" b\nc"\n').system == 'a" b\nc'
    assert parse('FROM x\nSYSTEM "\na"\n').system == "\na"


def test_characters_that_ollama_drops_are_dropped() -> None:
    assert parse("FROM x\nSYSTEM \u3000a\u00a0b\u200d\x07\n").system == "ab"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SYSTEM x\n", "no FROM line"),
        ("FROM x\nFORM y\n", "line 2: 'FORM' is not an instruction"),
        ("FROM \n", "no FROM line"),
        ("FROM x\nLICENSE\n", "line 2: LICENSE has nothing after it"),
        ("FROM", "line 1: FROM has nothing after it"),
        ("FROM x\n\u3000\n", "line 2"),
        ("FROM x\nPARAMETER num_cxt 1\n", "line 2: Ollama has no parameter 'num_cxt'. Did you mean num_ctx?"),
        ("FROM x\nPARAMETER num_ctx 4k\n", "line 2: parameter num_ctx is '4k', which is not a whole number"),
        ("FROM x\nPARAMETER num_ctx 4096.0\n", "not a whole number"),
        ("FROM x\nPARAMETER temperature warm\n", "not a number"),
        ("FROM x\nPARAMETER temperature nan\n", "not a number"),
        ("FROM x\nPARAMETER use_mmap yes\n", "not true or false"),
        ("FROM x\nPARAMETER num_ctx\n", "line 2: PARAMETER needs a name and a value"),
        ("FROM x\nPARAMETER num_ctx 1\nPARAMETER num_ctx 2\n", "line 3: parameter num_ctx is given twice"),
        ("FROM x\nPARAMETER mirostat 1\n", "no effect"),
        ("FROM x\nPARAMETER typical_p 1\n", "no longer supported"),
        ("FROM x\nMESSAGE tool x\n", "line 2: 'tool' is no role"),
        ('FROM x\n\nSYSTEM """a\nb\n', "line 3: the quotes that open here are never closed"),
        ("FROM x\nFROM y\n", "line 2: a second FROM"),
        ("FROM x\nREQUIRES 0.14.x\n", "line 2: REQUIRES '0.14.x' is not a version"),
        ("FROM x\nDRAFT y\n", "line 2: DRAFT is not supported"),
    ],
)
def test_a_bad_modelfile_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(CorralError) as error:
        parse(text)
    assert message in str(error.value)


# --- parameters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [
        ("num_ctx", 16384, 16384),
        ("num_ctx", "16384", 16384),
        ("num_ctx", 16384.0, 16384),
        ("num_predict", "-1", -1),
        ("temperature", 1, 1.0),
        ("temperature", "0.7", 0.7),
        ("temperature", 0.123456789, 0.12345679),
        ("use_mmap", "t", True),
        ("stop", "<END>", ("<END>",)),
        ("stop", ["b", "a", "b"], ("b", "a")),
    ],
)
def test_a_parameter_from_the_inventory_gets_ollamas_type(name: str, value: object, typed: Setting) -> None:
    assert (parameter(name, value), type(parameter(name, value))) == (typed, type(typed))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_ctx", True),
        ("num_ctx", 0.5),
        ("num_ctx", 2**54),
        ("num_ctx", "9" * 5000),
        ("num_ctx", None),
        ("temperature", True),
        ("temperature", 1e39),
        ("temperature", float("nan")),
        ("temperature", "inf"),
        ("use_mmap", 1),
        ("stop", []),
        ("stop", [1]),
        ("stop", {"a": 1}),
        ("mirostat", 1),
        ("num-ctx", 1),
    ],
)
def test_a_bad_parameter_from_the_inventory_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(CorralError, match=name):
        parameters({name: value})


def test_the_largest_32_bit_float_is_a_number_also_as_it_is_written_short() -> None:
    assert parameters({"temperature": 3.4028235e38, "top_p": "-3.4028235e38"})
    with pytest.raises(CorralError, match="temperature"):
        parameters({"temperature": 3.4028236e38})


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_rounding_to_32_bits_keeps_every_32_bit_float(number: float) -> None:
    assert struct.pack("f", float32(number)) == struct.pack("f", number)


# --- writing ------------------------------------------------------------------------------------------


@given(hard_text)
def test_quoted_text_reads_back_or_is_refused(text: str) -> None:
    try:
        quoted = quote(text)
    except CorralError:
        assume(False)
    assert parse(f"FROM x\nSYSTEM {quoted}\nLICENSE after\n") == Modelfile("x", system=text, licenses=("after",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a\nsay """\nb', 'line 2 of the text ends with """'),
        ('"""\nb', "line 1 of the text"),
        ("　你好", "U+3000 IDEOGRAPHIC SPACE"),
        ("a\x00b", "U+0000 control character"),
    ],
)
def test_text_that_no_modelfile_can_hold_is_refused(text: str, message: str) -> None:
    with pytest.raises(CorralError) as error:
        quote(text)
    assert message in str(error.value)


def test_triple_quotes_inside_a_line_are_no_problem() -> None:
    assert unquote(quote('use """x""" here\nand there')) == 'use """x""" here\nand there'


modelfiles = st.builds(
    Modelfile,
    from_=some_text,
    parameters=settings_of_any_kind,
    template=texts,
    system=texts,
    adapter=texts,
    licenses=licences,
    messages=messages,
    renderer=texts,
    parser=texts,
    requires=versions,
)


@settings(max_examples=30)
@given(modelfiles)
def test_a_written_modelfile_reads_back_as_what_was_wanted(modelfile: Modelfile) -> None:
    assert parse(written(modelfile)) == modelfile


def test_the_modelfile_on_the_host_says_where_it_comes_from() -> None:
    lines = written(Modelfile("deepseek-r1:14b", {"num_ctx": 4096})).splitlines()
    assert lines == [
        "# r1 on rtx4090: made by corral from the inventory, and overwritten by its next run.",
        "# To change the model, edit the inventory instead.",
        "FROM deepseek-r1:14b",
        "PARAMETER num_ctx 4096",
    ]


def test_a_template_of_the_users_own_may_add_but_not_leave_out() -> None:
    wanted = Modelfile("x", {"num_ctx": 4096, "stop": ("a", "b")}, system="be brief")
    own = "FROM x\nPARAMETER num_ctx 4096\nPARAMETER stop b\nPARAMETER stop a\nSYSTEM be brief\n"
    loader = jinja2.DictLoader({"own.j2": own + "PARAMETER top_k 5\nLICENSE mine\n"})
    rendered = render(wanted, name="r1", host="h", loader=loader, template="own.j2")
    assert rendered.modelfile.parameters["top_k"] == 5
    assert rendered.modelfile.licenses == ("mine",)
    with pytest.raises(CorralError, match=r"model\.j2 leaves out or changes parameter num_ctx, system"):
        written(wanted, "FROM x\nPARAMETER num_ctx 512\nPARAMETER stop a\nPARAMETER stop b\n")


def test_a_template_of_the_users_own_may_use_more_variables() -> None:
    loader = jinja2.DictLoader({"model.j2": "FROM {{ from }}\nPARAMETER num_thread {{ cores }}\n"})
    rendered = render(Modelfile("x"), name="r1", host="h", loader=loader, variables={"cores": 8})
    assert rendered.modelfile.parameters == {"num_thread": 8}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("FROM x\n{{ sytem }}\n", "model.j2, line 2: 'sytem' is undefined"),
        ("FROM x\n\n{% if %}\n", "model.j2, line 3: Expected an expression"),
        ("FROM x\nSYSTEM {{ '\u3000' | quote }}\n", "model.j2, line 2: the text holds U+3000"),
        ("FROM x\n{{ 1 / 0 }}\n", "model.j2, line 2: division by zero"),
        ("FROM x\n{% include 'gone.j2' %}\n", "no Modelfile template gone.j2"),
        ("FROM x\nPARAMETER num_ctx {{ host }}\n", "model.j2 renders a bad Modelfile, line 2: parameter num_ctx"),
    ],
)
def test_a_mistake_in_a_template_is_told_with_template_and_line(template: str, message: str) -> None:
    with pytest.raises(CorralError) as error:
        written(Modelfile("x"), template)
    assert message in str(error.value)


def test_a_chat_template_is_never_read_as_jinja() -> None:
    chat = "{{- .System }}{% raw %}{# {{ nope }} #}<｜User｜>\n{{ .Prompt }}"
    assert render(Modelfile("x", template=chat), name="a", host="b", loader=LOADER).modelfile.template == chat


def test_the_adapter_of_a_template_gets_another_path_and_nothing_else_changes() -> None:
    text = 'FROM x\nSYSTEM """be\nADAPTER brief"""\r\nadapter "./my\nlora.gguf"\nLICENSE mine'
    rendered = with_adapter(Rendered(text, parse(text)), "/blobs/sha256-1")
    assert rendered.text == 'FROM x\nSYSTEM """be\nADAPTER brief"""\r\nADAPTER /blobs/sha256-1\nLICENSE mine'
    assert rendered.modelfile == parse(rendered.text)


def test_a_mistake_in_a_template_file_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text("FROM x\n{{ nope }}\n")
    with pytest.raises(CorralError, match=r"mine\.j2, line 2: 'nope' is undefined"):
        render(Modelfile("x"), name="a", host="b", loader=jinja2.FileSystemLoader(tmp_path), template="mine.j2")


# --- asking -------------------------------------------------------------------------------------------


def test_the_create_request_holds_only_what_was_said() -> None:
    assert to_create_request(Modelfile("deepseek-r1:14b"), "r1") == {"model": "r1", "from": "deepseek-r1:14b"}


def test_the_create_request_is_the_command_lines() -> None:
    modelfile = Modelfile(
        "~/m/r1:q4.gguf",
        {"num_ctx": 4096, "stop": ("a",)},
        template="{{ .Prompt }}",
        system="s",
        adapter="a.gguf",
        licenses=("l",),
        messages=(Message("user", "hi"),),
        renderer="r",
        parser="p",
        requires="v0.14.0",
    )
    digests = {"~/m/r1:q4.gguf": "sha256:1", "a.gguf": "sha256:2"}
    assert to_create_request(modelfile, "mine", digests) == {
        "model": "mine",
        "files": {"r1_q4.gguf": "sha256:1"},
        "adapters": {"a.gguf": "sha256:2"},
        "parameters": {"num_ctx": 4096, "stop": ["a"]},
        "template": "{{ .Prompt }}",
        "system": "s",
        "license": ["l"],
        "messages": [{"role": "user", "content": "hi"}],
        "renderer": "r",
        "parser": "p",
        "requires": "0.14.0",
    }


# --- chat templates -----------------------------------------------------------------------------------


def test_a_chat_template_comes_with_its_stop_tokens() -> None:
    template = chat_template("deepseek-r1", CHAT)
    assert template.text.startswith("{{-")
    assert template.text.endswith("{{- end }}")
    assert template.stop == ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")


def test_a_template_written_out_is_taken_without_its_last_line_breaks() -> None:
    assert chat_template("{{ .Prompt }}\n", CHAT) == ChatTemplate("{{ .Prompt }}")


def test_the_first_directory_that_has_a_chat_template_wins(tmp_path: Path) -> None:
    (tmp_path / "deepseek-r1.gotmpl").write_text("{{ .Prompt }}")
    assert chat_template("deepseek-r1", [tmp_path, *CHAT]) == ChatTemplate("{{ .Prompt }}")


def test_an_unknown_chat_template_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CorralError, match="Use one of deepseek-r1"):
        chat_template("deepseek", CHAT)

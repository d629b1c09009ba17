"""Comparing by meaning, with answers of a real Ollama 0.34.4 to POST /api/show (data/show).

The models: plain, chatml and r1 are tiny GGUF files, r1 with a Jinja template of DeepSeek R1's kind inside;
derived is plain with derived.Modelfile, asked three times; grandchild is made from derived; r1-own is r1
with our own template; odd is plain with texts that are hard to quote.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from corral.drift import drift
from corral.meaning import Meaning, base_of, effective, template_in_use
from corral.modelfile import Message, Modelfile, parse

DATA = Path(__file__).parent / "data" / "show"
PLAIN_DIGEST = "sha256:8f50744aed81401b8d2f49bb6dfeacb44396f95183ce88e171aceb34e4d59833"
R1_DIGEST = "sha256:e116bd8f693991d5b85bc564ce613ccf30f77ae99fe56861ca44cd0782866f34"


def recorded(name: str) -> dict[str, object]:
    answer = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return dict(answer if isinstance(answer, dict) else answer[0])


def seen(name: str) -> Meaning:
    return Meaning.of_show(recorded(name))


def derived_modelfile() -> Modelfile:
    return parse((DATA / "derived.Modelfile").read_text("utf-8"))


def test_a_bare_model_means_its_weights_and_ollamas_default_template() -> None:
    assert seen("plain") == Meaning(weights=PLAIN_DIGEST, template="{{ .Prompt }}")


def test_a_model_that_was_made_as_wanted_does_not_differ() -> None:
    wanted = effective(seen("plain"), derived_modelfile())
    assert drift(wanted, seen("derived")) == []
    assert wanted == seen("derived")


def test_the_order_in_which_show_lists_parameters_does_not_matter() -> None:
    answers = json.loads((DATA / "derived.json").read_text("utf-8"))
    assert len({answer["parameters"] for answer in answers}) == 3
    assert all(Meaning.of_show(answer) == seen("derived") for answer in answers)


def test_a_child_inherits_adds_licences_replaces_stop_and_messages_and_merges_parameters() -> None:
    modelfile = Modelfile(
        "derived",
        {"num_ctx": 1048576, "stop": ("<END>",), "min_p": 0.05},
        licenses=("More terms",),
        messages=(Message("system", "other"),),
    )
    child = seen("grandchild")
    assert child == effective(seen("derived"), modelfile)
    assert child.parameters["num_ctx"] == 1048576  # show says 1.048576e+06
    assert child.parameters["stop"] == frozenset({"<END>"})
    assert child.parameters["seed"] == 1234567890123
    assert child.license == "Licence one\nsecond line\nMore terms"
    assert child.system == seen("derived").system


@pytest.mark.parametrize("licenses", [(), ("More terms",), ("Licence one\nsecond line", "More terms")])
def test_a_model_without_its_base_differs_only_in_what_its_modelfile_says(licenses: tuple[str, ...]) -> None:
    made = seen("grandchild")
    modelfile = Modelfile("derived", licenses=licenses)
    assert effective(base_of(made, modelfile), modelfile) == made
    other = replace(modelfile, licenses=(*licenses, "Even more"))
    assert drift(effective(base_of(made, other), other), made) != []


def test_texts_that_show_quotes_badly_are_read_exactly() -> None:
    modelfile = Modelfile(
        "plain",
        template='"hi" {{ .Prompt }}',
        system=' "x" y ',
        renderer="gemma4",
        parser="gemma4",
        requires="v0.14.0",
    )
    assert seen("odd") == effective(seen("plain"), modelfile)


def test_a_template_that_starts_with_a_quote_is_read_exactly_without_a_system_prompt() -> None:
    answer = recorded("odd")
    answer["modelfile"] = str(answer["modelfile"]).replace('SYSTEM """ "x" y """\n', "")
    del answer["system"]
    assert Meaning.of_show(answer) == replace(seen("odd"), system="")


def test_the_models_own_template_is_compared_even_where_the_server_uses_another() -> None:
    derived = derived_modelfile()
    assert seen("r1-own").template == derived.template
    assert seen("r1-own").weights == R1_DIGEST
    assert template_in_use(recorded("r1-own")) == template_in_use(recorded("r1"))
    assert template_in_use(recorded("derived")) == derived.template


def test_a_template_that_is_not_in_use_is_found_before_a_system_prompt() -> None:
    answer = recorded("r1-own")
    template = seen("r1-own").template
    modelfile = str(answer["modelfile"])
    end = modelfile.index('"""\nPARAMETER') + len('"""\n')
    answer["modelfile"] = modelfile[:end] + 'SYSTEM "be\nbrief"\nPARSER x\n' + modelfile[end:]
    answer["system"] = "be\nbrief"
    meaning = Meaning.of_show(answer)
    assert (meaning.template, meaning.system, meaning.parser) == (template, "be\nbrief", "x")


@pytest.mark.parametrize("name", ["plain", "chatml", "r1"])
def test_a_model_made_of_a_gguf_file_does_not_differ_from_it(name: str) -> None:
    model = seen(name)
    assert drift(Meaning.of_gguf(model.weights), model) == []


def test_what_the_server_found_in_a_gguf_file_differs_once_it_is_declared() -> None:
    modelfile = Modelfile("x.gguf", {"stop": ("<END>",), "num_ctx": 2048}, template="{{ .Prompt }}")
    wanted = effective(Meaning.of_gguf(seen("chatml").weights), modelfile)
    assert drift(wanted, seen("chatml")) == [
        "+ PARAMETER num_ctx 2048",
        "- PARAMETER stop <|im_end|>",
        "- PARAMETER stop <|im_start|>",
        "+ PARAMETER stop <END>",
        "  TEMPLATE, line 1:",
        *(f"-   {line}" for line in seen("chatml").template.split("\n")),
        "+   {{ .Prompt }}",
    ]


def test_what_ollama_adds_to_some_architectures_is_no_difference() -> None:
    base = replace(seen("plain"), architecture="gemma4")
    made = replace(base, renderer="gemma4", parser="gemma4", parameters={"stop": frozenset({"<turn|>"})})
    assert drift(effective(base, Modelfile("x")), made) == []
    assert drift(effective(made, Modelfile("x")), base) != []
    assert drift(effective(base, Modelfile("x", {"stop": ("<END>",)})), made) == [
        "- PARAMETER stop <turn|>",
        "+ PARAMETER stop <END>",
    ]


def test_an_adapter_is_part_of_the_meaning() -> None:
    wanted = effective(seen("plain"), Modelfile("plain", adapter="a.gguf"), {"a.gguf": R1_DIGEST})
    answer = recorded("plain")
    answer["modelfile"] = str(answer["modelfile"]).replace(
        "TEMPLATE", f"ADAPTER C:\\Users\\me\\blobs\\{R1_DIGEST.replace(':', '-')}\nTEMPLATE"
    )
    assert Meaning.of_show(answer) == wanted


def test_values_are_compared_whatever_their_spelling() -> None:
    answer = {"parameters": 'num_ctx                        4096\ntop_p                          0.9\n'
              'min_p                          0.05000000074505806\n'
              'stop                           "\\u3000\\"\\x1b\\U0001f600\\\\n"'}  # fmt: skip
    assert Meaning.of_show(answer).parameters == {
        "num_ctx": 4096,
        "top_p": 0.9,
        "min_p": 0.05,
        "stop": {'\u3000"\x1b\U0001f600\\n'},
    }


def test_models_without_a_blob_have_no_known_weights() -> None:
    answer = {"modelfile": '# Modelfile generated by "ollama show"\nFROM gpt-oss:120b-cloud\n'}
    assert Meaning.of_show(answer) == Meaning(weights="")

"""Modelfiles to try, for hypothesis: what people could declare, and what they could write."""

# ruff: noqa: RUF001 (DeepSeek writes its tokens with a full-width bar)

from __future__ import annotations

from hypothesis import strategies as st

from corral.errors import CorralError
from corral.modelfile import PARAMETERS, Message, float32, printable, quote

#: Without what the Unicode of some Python knows and that of some Go does not.
assigned = st.characters(exclude_categories=["Cs", "Cn"])
hard_text = st.text(st.sampled_from('ab"" \t\n\r#é｜▁{}:\\FROM') | assigned, max_size=30)


def writable(text: str) -> bool:
    try:
        quote(text)
    except CorralError:
        return False
    return True


texts = hard_text.map(printable).filter(writable)
some_text = texts.filter(bool)
setting_values: dict[type, st.SearchStrategy[object]] = {
    int: st.integers(-(2**53), 2**53),
    float: st.floats(width=32, allow_nan=False, allow_infinity=False).map(float32),
    bool: st.booleans(),
    tuple: st.lists(texts, min_size=1, max_size=4, unique=True).map(tuple),
}
settings_of_any_kind = st.fixed_dictionaries({}, optional={n: setting_values[k] for n, k in PARAMETERS.items()})
licences = st.lists(texts, max_size=3).map(tuple)
messages = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts), max_size=3).map(tuple)
engines = st.sampled_from(["", "", "gemma4", "x y"])
versions = st.sampled_from(["", "", "0.14.0", "v0.1.2", "0.1.2-rc1+b.7"])


def _cased(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from([word, word.lower(), word.title()])


def _joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


_blank = st.sampled_from([" "] * 16 + ["\t", "  ", " \t", ""])
_end = st.sampled_from(["\n"] * 6 + ["\r\n", "\r", "\n\n", " \n"])
_one_line = hard_text.map(lambda text: text.replace("\n", "").replace("\r", ""))
_raw_value = st.one_of(
    _one_line,
    hard_text.map(lambda text: f'"""{text}"""'),
    hard_text.map(lambda text: f'"{text}"'),
    hard_text,
).filter(lambda text: "{{" not in text)
_number = st.sampled_from(
    ["4096", "-1", "+7", "007", '"8"', '"""9"""'] * 3 + ["0.5", ".5", "5.", "1e3", "1E-3", "", "x", "4k", "1 2"]
)
_version = st.sampled_from(
    ["0.14.0", '"v0.1"', "1", "0.1.2-rc.1+b"] * 3 + ["", "01.2", "0.14.x", "1-rc", "vv1", "1.2.3-01"]
)
_engine = st.sampled_from(["gemma4", '"gemma4"', '"""x y"""', ""])
_role = st.sampled_from(["user", "assistant", "system"] * 6 + ["User", "tool", ""])
_truth = st.sampled_from(["true", "F", "1", "0", "TRUE", '"false"', "yes", "", "tRUE"])
_values_written = {int: _number, float: _number, bool: _truth, tuple: _raw_value}


def _written(word: str, *values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """An instruction as somebody may have typed it."""
    return _joined(_blank, _cased(word), *[part for value in values for part in (_blank, value)], _end)


def _some(lines: st.SearchStrategy[str], most: int = 2) -> st.SearchStrategy[list[str]]:
    return st.lists(lines, max_size=most)


_parameters_written = st.lists(st.sampled_from(sorted(PARAMETERS)), unique=True, max_size=3).flatmap(
    lambda names: st.tuples(
        *(
            _written("PARAMETER", st.sampled_from([name] * 9 + [name.title()]), _values_written[PARAMETERS[name]])
            for name in names
        )
    ).map(list)
)
_odd_lines = ["\u3000\n", "\ufeff\n", "FORM x\n", "\x00\n", "SYSTEM\n"]
_between = st.sampled_from(["\n", " \n", "\t\r\n"] * 10 + _odd_lines)


@st.composite
def written(draw: st.DrawFn, base: str) -> str:
    """The text of a Modelfile, right or nearly so: instructions in any order, case and quoting, and whatever else is
    found between them. None is in it twice that Ollama would take the last of."""
    source = st.sampled_from([base] * 6 + [f'"{base}"', f'"""{base}"""', f"{base} \t"])
    groups = [
        draw(_written("FROM", source).map(lambda line: [line])),
        draw(_some(_written("SYSTEM", _raw_value), 1)),
        draw(_some(_written("TEMPLATE", _raw_value), 1)),
        draw(_some(_written("LICENSE", _raw_value))),
        draw(_some(_written("RENDERER", _engine), 1)),
        draw(_some(_written("PARSER", _engine), 1)),
        draw(_some(_written("REQUIRES", _version), 1)),
        draw(_some(_written("MESSAGE", _role, _raw_value))),
        draw(_parameters_written),
        draw(_some(_joined(st.sampled_from(["#", " # ", "#FROM "]), _one_line, _end))),
        draw(_some(_between)),
    ]
    return "".join(draw(st.permutations([line for group in groups for line in group])))

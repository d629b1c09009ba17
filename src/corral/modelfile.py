"""Modelfiles: read them as Ollama does, write them from templates, turn them into create requests.

The grammar follows Ollama's parser/parser.go, parameter types api/types.go (Options, FormatParams) and
requests parser.CreateRequest and cmd.CreateHandler, all at v0.34.4. What Ollama would take but not do
(a parameter that it ignores, a character that it drops) is refused here, with a reason.
"""

from __future__ import annotations

import difflib
import json
import re
import struct
import traceback
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePosixPath

import jinja2

from corral.errors import CorralError

Setting = int | float | bool | str | tuple[str, ...]
"""A parameter's value; a tuple for `stop` only."""

PARAMETERS: Mapping[str, type] = {
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep"), int),
    **dict.fromkeys(("seed", "num_predict", "draft_num_predict", "top_k", "repeat_last_n"), int),
    **dict.fromkeys(("temperature", "top_p", "min_p", "repeat_penalty"), float),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), float),
    "use_mmap": bool,
    "stop": tuple,
}
_IGNORED_BY_OLLAMA = (
    *("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock"),
    *("mirostat", "mirostat_tau", "mirostat_eta"),
)
_REFUSED_BY_OLLAMA = ("typical_p",)  # by v0.34.4; v0.24.0 still took it
_LARGEST_INT = 2**53  # the server keeps parameters as JSON numbers, so as 64-bit floats
#: From here on numbers round to infinity in 32 bits.
_TOO_LARGE_A_FLOAT = (2 - 2**-24) * 2.0**127
_INT = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d{1,40}\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TRUE = ("1", "t", "T", "TRUE", "true", "True")  # strconv.ParseBool
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_PRERELEASE = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
#: semver.IsValid, with or without the v.
_VERSION = re.compile(
    r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)(\.(0|[1-9]\d*)"
    rf"(-{_PRERELEASE}(\.{_PRERELEASE})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?)?)?",
    re.ASCII,
)
_TEXT_INSTRUCTIONS = ("from", "template", "system", "adapter", "renderer", "parser", "requires")
_INSTRUCTIONS = (*_TEXT_INSTRUCTIONS, "license", "parameter", "message", "draft")
_ROLES = ("system", "user", "assistant")
_BLANK = " \t\r\n"
#: create.go of 0.34.1 began to refuse adapters; models that have one still run.
LAST_WITH_ADAPTERS = (0, 34, 0)


@dataclass(frozen=True)
class Message:
    """One message of the conversation that every chat with the model starts with."""

    role: str
    content: str


@dataclass(frozen=True)
class Modelfile:
    """What a Modelfile says. Texts that it leaves out are empty, which means "as in the base".

    from_: a model's name or a path to a GGUF file, as written.
    parameters: by name, of the types in PARAMETERS; `stop` is a tuple in the order written.
    adapter: a path to a LoRA adapter, as written. Ollama takes these up to 0.34.0 (LAST_WITH_ADAPTERS).
    """

    from_: str
    parameters: Mapping[str, Setting] = field(default_factory=dict)
    template: str = ""
    system: str = ""
    adapter: str = ""
    licenses: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    renderer: str = ""
    parser: str = ""
    requires: str = ""


#: What every template of a Modelfile may mention.
TEMPLATE_NAMES = (*(item.name.rstrip("_") for item in fields(Modelfile)), "name", "host", "parameter_lines")


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template in Go's template language, and the stop tokens that belong to it."""

    text: str
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rendered:
    """A Modelfile's text, as it goes to the host, and what it says."""

    text: str
    modelfile: Modelfile


# --- parameters ---------------------------------------------------------------------------------------


def parameters(values: Mapping[str, object]) -> dict[str, Setting]:
    """Parameters as the inventory has them, checked and typed. Raises CorralError naming the parameter."""
    return {name: parameter(name, value) for name, value in values.items()}


def parameter(name: str, value: object) -> Setting:
    """One parameter, checked and typed as Ollama will: text is read as in a Modelfile, whole floats pass
    for ints, floats are rounded to 32 bits, one `stop` may stand without a list.

    Raises CorralError for a name or value that Ollama refuses or ignores.
    """
    kind = PARAMETERS.get(name)
    if kind is None:
        raise _bad_name(name)
    result: Setting | None
    if kind is tuple:
        result = _strings(value)
    elif kind is bool:
        result = _bool(value)
    else:
        number = _number(value)
        if number is None:
            result = None
        elif kind is float:
            result = float32(number)
        else:
            result = _whole(number) if _INT.fullmatch(str(value)) or isinstance(value, float) else None
    if result is None:
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}
        raise CorralError(
            f"parameter {name} is {value!r}, which is not {wanted.get(kind, 'text or a list of texts')}",
            f"Give {name} {wanted.get(kind, 'the texts to stop at')}",
        )
    return result


def float32(number: float) -> float:
    """The shortest decimal that is the same 32-bit float: what Ollama's own CLI sends, and all that the
    engine sees."""
    packed = struct.pack("f", number)
    for digits in range(1, 10):
        short = float(f"{number:.{digits}g}")
        if struct.pack("f", short) == packed:
            return short
    return number


def _bad_name(name: str) -> CorralError:
    if name in _REFUSED_BY_OLLAMA:
        return CorralError(f"parameter {name} is no longer supported by Ollama", "Leave it out")
    if name in _IGNORED_BY_OLLAMA:
        return CorralError(f"parameter {name} has no effect in Ollama any more", "Leave it out")
    close = difflib.get_close_matches(name.lower(), PARAMETERS, n=1)
    remedy = f"Did you mean {close[0]}?" if close else f"Ollama knows {', '.join(sorted(PARAMETERS))}"
    return CorralError(f"Ollama has no parameter {name!r}", remedy)


def _strings(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping)):
        items = tuple(value)
        if items and all(isinstance(item, str) for item in items):
            return tuple(dict.fromkeys(items))
    return None


def _bool(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return True if value in _TRUE else False if value in _FALSE else None


def _number(value: object) -> float | int | None:
    """A number that fits into a 32-bit float, as JSON or as Modelfile text; None for anything else."""
    number: float | int
    if isinstance(value, str):
        if not _FLOAT.fullmatch(value):
            return None
        number = int(value) if _INT.fullmatch(value) else float(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = value
    else:
        return None
    return number if abs(number) < _TOO_LARGE_A_FLOAT else None


def _whole(number: float | int) -> int | None:
    return int(number) if number == int(number) and abs(number) <= _LARGEST_INT else None


# --- reading ------------------------------------------------------------------------------------------


def parse(text: str) -> Modelfile:
    """Reads a Modelfile.

    Raises CorralError with the line for what Ollama refuses, and for what corral does not carry out:
    a second FROM, SYSTEM, TEMPLATE, ... (Ollama would take the last one in silence), and DRAFT.
    """
    texts: dict[str, str] = {}
    settings: dict[str, Setting] = {}
    licenses: list[str] = []
    messages: list[Message] = []
    for line, _, instruction, argument, value in _commands(text):
        if instruction == "draft":
            raise _at(line, "DRAFT is not supported", "Leave it out")
        if instruction == "license":
            licenses.append(value)
        elif instruction == "message":
            if argument not in _ROLES:
                raise _at(line, f"{argument!r} is no role of a MESSAGE", f"Use one of {', '.join(_ROLES)}")
            messages.append(Message(argument, value))
        elif instruction == "parameter":
            try:
                setting = parameter(argument, value)
            except CorralError as error:
                raise _at(line, error.problem, error.remedy) from error
            earlier = settings.get(argument)
            if isinstance(earlier, tuple) and isinstance(setting, tuple):
                setting = tuple(dict.fromkeys(earlier + setting))
            elif earlier is not None:
                raise _at(line, f"parameter {argument} is given twice", "keep one of the two")
            settings[argument] = setting
        elif instruction == "requires" and not _VERSION.fullmatch(value):
            raise _at(line, f"REQUIRES {value!r} is not a version", "write it as in 0.14.0")
        elif instruction in texts:
            raise _at(line, f"a second {instruction.upper()}", "keep one of the two")
        else:
            texts[instruction] = value
    if not texts.get("from"):
        raise CorralError("the Modelfile has no FROM line", "Name the base in a line FROM name")
    return Modelfile(
        from_=texts.pop("from"),
        parameters=settings,
        licenses=tuple(licenses),
        messages=tuple(messages),
        **texts,
    )


def with_adapter(rendered: Rendered, path: str) -> Rendered:
    """The same Modelfile with another path in its ADAPTER line."""
    lines = _lines(rendered.text)
    for first, last, instruction, _, _ in _commands(rendered.text):
        if instruction == "adapter":
            lines[first - 1 : last] = [f"ADAPTER {quote(path)}\n", *[""] * (last - first)]
    return Rendered("".join(lines), replace(rendered.modelfile, adapter=path))


def _lines(text: str) -> list[str]:
    """With their ends; a byte order mark is left out."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text.removeprefix("\ufeff"))


def _commands(text: str) -> Iterator[tuple[int, int, str, str, str]]:
    """First and last line, instruction (lower case), parameter name or role ("" for the others) and value."""
    lines = _lines(text)
    at = 0
    while at < len(lines):
        start = at
        at += 1
        line = lines[start].strip(_BLANK)
        if not line or line.startswith("#"):
            continue
        first = re.split(r"[ \t]", line)[0]
        word = first.lower()
        if word not in _INSTRUCTIONS:
            known = ", ".join(each.upper() for each in _INSTRUCTIONS)
            raise _at(start + 1, f"{first!r} is not an instruction", f"Ollama knows {known}")
        value, argument = lines[start].lstrip(" \t")[len(word) :], ""
        if not value.startswith((" ", "\t")):
            raise _at(start + 1, f"{first} has nothing after it, not even a blank", "complete the line")
        value = value[1:]
        if word in ("parameter", "message"):
            pattern = r"([A-Za-z0-9_]+)[ \t](.*)" if word == "parameter" else r"([A-Za-z]+)[ \t](.*)"
            named = re.match(pattern, value, re.DOTALL)
            if named is None:
                what = "a name and a value" if word == "parameter" else "a role and a text"
                problem = f"{word.upper()} needs {what}, one space before each"
                raise _at(start + 1, problem, "complete the line")
            argument, value = named[1], named[2]
        value = printable(value)
        unquoted = unquote(value)
        while unquoted is None and at < len(lines):
            value += printable(lines[at])
            at += 1
            unquoted = unquote(value)
        if unquoted is None:
            raise _at(start + 1, "the quotes that open here are never closed", "close them at a line's end")
        yield start + 1, at, word, argument, unquoted


def unquote(raw: str) -> str | None:
    """The value that a piece of Modelfile text stands for, blanks around it dropped; None while its
    quotes are still open. There are no escapes."""
    raw = raw.strip(_BLANK)
    for quotes in ('"""', '"'):
        if raw.startswith(quotes):
            closed = len(raw) >= 2 * len(quotes) and raw.endswith(quotes)
            return raw[len(quotes) : -len(quotes)] if closed else None
    return raw


def printable(text: str) -> str:
    """The text as Ollama's parser keeps it: blanks and what Unicode calls printable. It drops no-break
    and ideographic spaces, zero-width joiners, control characters."""
    if text.isprintable():
        return text
    return "".join(character for character in text if character.isprintable() or character in _BLANK)


def _at(line: int, problem: str, remedy: str) -> CorralError:
    return CorralError(f"Modelfile, line {line}: {problem}", remedy)


# --- writing ------------------------------------------------------------------------------------------


def quote(text: str) -> str:
    """The text as a Modelfile's value, quoted where it must be.

    Raises CorralError where no quoting can carry it through Ollama's parser.
    """
    lost = sorted(set(text) - set(printable(text)))
    if lost:
        names = ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, 'control character')}" for c in lost)
        raise CorralError(
            f"the text holds {names}, which Ollama drops from a Modelfile",
            "Put an ordinary space in its place or leave it out",
        )
    needs_quotes = not text or text[0] == '"' or text.strip(_BLANK) != text or re.search(r"[\r\n]", text)
    quoted = f'"""{text}"""' if needs_quotes else text
    # A value ends at the first line end where its quotes are closed.
    for end in re.finditer(r"[\r\n]", quoted):
        if unquote(quoted[: end.start()]) is not None:
            line = text.count("\n", 0, max(0, end.start() - 3)) + 1
            raise CorralError(
                f'line {line} of the text ends with """, where Ollama\'s parser would end the whole text',
                'do not end a line with """',
            )
    return quoted


def render(
    wanted: Modelfile,
    *,
    name: str,
    host: str,
    loader: jinja2.BaseLoader,
    template: str = "model.j2",
    variables: Mapping[str, object] | None = None,
) -> Rendered:
    """Writes a Modelfile for `wanted` through a Jinja template, then reads it back as Ollama will.

    name, host: the model's and the host's, for the template to mention.
    variables: more for the template to mention, under other names than TEMPLATE_NAMES.

    A template of the user's own may add to what is wanted (a licence, a parameter), never leave out or
    change it. Raises CorralError with template and line.
    """
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["quote"] = quote
    own = {item.name.rstrip("_"): getattr(wanted, item.name) for item in fields(wanted)}
    lines = [pair for key in wanted.parameters for pair in _parameter_lines(key, wanted.parameters[key])]
    try:
        text = environment.get_template(template).render(
            {**(variables or {}), **own, "name": name, "host": host, "parameter_lines": lines}
        )
    except jinja2.TemplateNotFound as error:
        raise CorralError(f"there is no Modelfile template {error.name}", "Check its name") from error
    except jinja2.TemplateSyntaxError as error:
        problem = f"{error.name or template}, line {error.lineno}: {error.message}"
        raise CorralError(problem, "Correct the template") from error
    except Exception as error:  # a template can raise anything: it calls methods and filters
        raise _in_template(template, error) from error
    try:
        result = parse(text)
    except CorralError as error:
        raise CorralError(f"{template} renders a bad {error.problem}", error.remedy, text) from error
    missing = list(_left_out(wanted, result))
    if missing:
        raise CorralError(f"{template} leaves out or changes {', '.join(missing)}", "Correct the template")
    return Rendered(text, result)


def _parameter_lines(name: str, value: Setting) -> list[tuple[str, str]]:
    """The PARAMETER lines for one parameter: its name and its text, a line for each stop."""
    if isinstance(value, tuple):
        return [(name, item) for item in value]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]


def _in_template(template: str, error: Exception) -> CorralError:
    """The error with the place in the template where it happened: Jinja names templates in tracebacks."""
    place = template
    for frame, line in traceback.walk_tb(error.__traceback__):
        if "__jinja_exception__" in frame.f_globals:
            file = frame.f_code.co_filename
            place = f"{template if file.startswith('<') else PurePosixPath(file).name}, line {line}"
    if isinstance(error, CorralError):
        return CorralError(f"{place}: {error.problem}", error.remedy)
    if isinstance(error, jinja2.UndefinedError):
        return CorralError(f"{place}: {error}", "Correct the template, or declare it in modelfile_variables")
    return CorralError(f"{place}: {error}", "Correct the template")


def _left_out(wanted: Modelfile, got: Modelfile) -> Iterator[str]:
    for item in fields(Modelfile):
        asked, said = getattr(wanted, item.name), getattr(got, item.name)
        if item.name == "parameters":
            for name, value in asked.items():
                if not same_setting(value, said.get(name)):
                    yield f"parameter {name}"
        elif isinstance(asked, tuple):
            if any(one not in said for one in asked):
                yield item.name
        elif asked and asked != said:
            yield item.name.rstrip("_")


def same_setting(one: object, other: object) -> bool:
    """Do two parameter values mean the same? `stop` is a set, and True is not 1."""
    if isinstance(one, (tuple, frozenset)) and isinstance(other, (tuple, frozenset)):
        return frozenset(one) == frozenset(other)
    return isinstance(one, bool) == isinstance(other, bool) and one == other


# --- asking -------------------------------------------------------------------------------------------


def to_create_request(modelfile: Modelfile, model: str, digests: Mapping[str, str] | None = None) -> dict[str, object]:
    """The body of POST /api/create that `ollama create` would send.

    model: the name to create.
    digests: "sha256:..." of each file that FROM or ADAPTER names, by the path as written; the files
        themselves have to be on the server as blobs already. A FROM not in here is a model's name.
    """
    digests = digests or {}
    request: dict[str, object] = {"model": model}
    if modelfile.from_ in digests:
        request["files"] = {_file_name(modelfile.from_): digests[modelfile.from_]}
    else:
        request["from"] = modelfile.from_
    if modelfile.adapter:
        request["adapters"] = {_file_name(modelfile.adapter): digests[modelfile.adapter]}
    request |= {
        "template": modelfile.template,
        "system": modelfile.system,
        "license": list(modelfile.licenses),
        "parameters": {
            name: list(value) if isinstance(value, tuple) else value for name, value in modelfile.parameters.items()
        },
        "messages": [{"role": each.role, "content": each.content} for each in modelfile.messages],
        "renderer": modelfile.renderer,
        "parser": modelfile.parser,
        "requires": modelfile.requires.removeprefix("v"),
    }
    return {key: value for key, value in request.items() if value not in ("", [], {})}


def _file_name(path: str) -> str:
    """A name for a file in the request: the server refuses ones with a colon or a backslash."""
    return re.sub(r"[\\:]", "_", PurePosixPath(path).name)


# --- chat templates -----------------------------------------------------------------------------------


def chat_template(spec: str, directories: Sequence[Path]) -> ChatTemplate:
    """The chat template that a model's `template` means.

    spec: the template itself, which has "{{" or a line break in it, or the name of a file NAME.gotmpl in
        one of the directories, the first that has it; its stop tokens are in NAME.json beside it, in the
        form that Ollama uses for its own: {"stop": [...]}.

    Line breaks at the end are dropped: every file and every YAML block ends with one, and it would
    become part of each prompt. Raises CorralError for a name that no directory has.
    """
    if "{{" in spec or "\n" in spec:
        return ChatTemplate(spec.rstrip("\r\n"))
    for directory in directories:
        path = directory / f"{spec}.gotmpl"
        if path.is_file():
            stops = path.with_suffix(".json")
            stop = json.loads(stops.read_text("utf-8"))["stop"] if stops.is_file() else ()
            return ChatTemplate(path.read_text("utf-8").rstrip("\r\n"), tuple(stop))
    known = sorted({path.stem for directory in directories for path in directory.glob("*.gotmpl")})
    raise CorralError(
        f"there is no chat template {spec!r}",
        f"Use one of {', '.join(known) or '(none found)'}, or write the template itself",
    )

"""What a model on a server means, so that it can be compared with what is wanted.

`ollama show` prints a model back as text that never matches what it was made from: parameters in random
order, a blob's path for the base, comments gone, a template that nobody wrote. So both sides become a
Meaning: what is on the server by Meaning.of_show, what is wanted by effective, which applies the rules by
which Ollama derives a model from its base (server/create.go and create/manifest.go at v0.34.4, and
server/create.go at v0.24.0, which has the same).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from corral.modelfile import PARAMETERS, Message, Modelfile, float32, same_setting, unquote

Value = int | float | bool | str | frozenset[str]
"""A parameter's value; a frozenset for `stop`."""

DEFAULT_TEMPLATE = "{{ .Prompt }}"  # what show prints for a model that has no template (template.go)

_ARCHITECTURES_SET_UP_BY_OLLAMA = ("gemma4", "laguna", "nemotron_h", "nemotron_h_moe", "nemotron_h_omni")
"""Ollama adds renderer, parser or stop tokens of its own to these when it creates a model (create.go)."""


@dataclass(frozen=True)
class Meaning:
    """All that decides how a model answers, in a form where equal means the same.

    weights: "sha256:..." of the GGUF blob; empty where show names none (safetensors, cloud models).
    attachments: further blobs, such as "adapter sha256:...", "draft sha256:..." or "projector sha256:...".
    template: the Go template. Whether the server uses it is another question: see template_in_use.
    license: all licence texts, joined by line breaks as show does.
    parameters: those that are set, by name; ints and floats by value, stop as a set. A base may have some
        that Ollama no longer knows.
    architecture: of the weights, as in "llama"; not compared.
    unknown: names of fields and parameters that only the server can know before the model exists; not
        compared.
    """

    weights: str
    attachments: frozenset[str] = frozenset()
    template: str = DEFAULT_TEMPLATE
    system: str = ""
    license: str = ""
    messages: tuple[Message, ...] = ()
    parameters: Mapping[str, Value] = field(default_factory=dict)
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    architecture: str = field(default="", compare=False)
    unknown: frozenset[str] = field(default=frozenset(), compare=False)

    @classmethod
    def of_show(cls, show: Mapping[str, object]) -> Meaning:
        """What a model means, from the answer of POST /api/show (of v0.24.0 or v0.34.4)."""
        blobs, rest = _header(_text(show, "modelfile"))
        system = _text(show, "system")
        template, rest = _template(rest, _text(show, "template"), system)
        engine = re.match(r"(?:RENDERER (.*)\n)?(?:PARSER (.*)\n)?", rest)
        weights = next((digest for kind, digest in blobs if kind == "FROM"), "")
        messages = show.get("messages")
        details = show.get("details")
        return cls(
            weights=weights,
            attachments=frozenset(
                f"{'projector' if kind == 'FROM' else kind.lower()} {digest}"
                for kind, digest in blobs
                if digest != weights
            ),
            template=template,
            system=system,
            license=_text(show, "license"),
            messages=tuple(
                Message(str(each["role"]), str(each["content"]))
                for each in (messages if isinstance(messages, list) else [])
            ),
            parameters=_parameters(_text(show, "parameters")),
            renderer=(engine and engine[1]) or "",
            parser=(engine and engine[2]) or "",
            requires=_text(show, "requires"),
            architecture=_text(details, "family") if isinstance(details, Mapping) else "",
        )

    @classmethod
    def of_gguf(cls, digest: str) -> Meaning:
        """What a model made of nothing but a GGUF file will mean.

        digest: "sha256:..." of the file, which v0.24.0 and v0.34.4 keep as it is. The server may find a
        template in the file that it has stop tokens, a renderer and a parser for, so those are unknown.
        """
        return cls(weights=digest, unknown=frozenset({"template", "stop", "renderer", "parser", "requires"}))


def effective(base: Meaning, modelfile: Modelfile, digests: Mapping[str, str] | None = None) -> Meaning:
    """What a model made from `modelfile` will mean, given what its FROM means.

    digests: "sha256:..." of the adapter's file, by its path as written.

    Ollama's rules: an empty text keeps the base's, a licence is added to the base's, messages replace
    the base's, parameters replace the base's of the same name (stop as a whole) and keep the others.
    """
    own = {name: _value(name, value) for name, value in modelfile.parameters.items()}
    texts = {
        name: getattr(modelfile, name)
        for name in ("template", "system", "renderer", "parser", "requires")
        if getattr(modelfile, name)
    }
    if "requires" in texts:
        texts["requires"] = texts["requires"].removeprefix("v")
    unknown = base.unknown
    if base.architecture in _ARCHITECTURES_SET_UP_BY_OLLAMA and not (base.renderer and base.parser):
        unknown |= {"renderer", "parser", "stop"}
    added = modelfile.adapter and f"adapter {(digests or {})[modelfile.adapter]}"
    return replace(
        base,
        attachments=base.attachments | ({added} if added else set()),
        license="\n".join(([base.license] if base.license else []) + list(modelfile.licenses)),
        messages=modelfile.messages or base.messages,
        parameters={**base.parameters, **own},
        unknown=unknown - texts.keys() - own.keys(),
        **texts,
    )


def differences(wanted: Meaning, seen: Meaning) -> list[str]:
    """What is not as wanted, a phrase each, as in "num_ctx is 4096, wanted 16384". Empty: the same."""
    return list(_differences(wanted, seen))


def template_in_use(show: Mapping[str, object]) -> str:
    """The chat template that the server really uses: the model's own Go template, or the Jinja template
    inside the GGUF file.

    v0.34.4 prefers the one in the file where that can do more (tools, thinking), in spite of a TEMPLATE
    in the Modelfile, unless the server's environment has OLLAMA_GO_TEMPLATE=1 or the model a renderer.
    """
    return _text(show, "template")


# --- comparing ----------------------------------------------------------------------------------------


def _differences(wanted: Meaning, seen: Meaning) -> Iterator[str]:
    if wanted.weights != seen.weights:
        yield f"the weights are {_short(seen.weights)}, wanted {_short(wanted.weights)}"
    for one in sorted(wanted.attachments - seen.attachments):
        yield f"{_short(one)} is missing"
    for one in sorted(seen.attachments - wanted.attachments):
        yield f"{_short(one)} is not wanted"
    for name in sorted({*wanted.parameters, *seen.parameters} - wanted.unknown):
        yield from _parameter_differences(name, wanted.parameters.get(name), seen.parameters.get(name))
    for name, label in (
        ("template", "the chat template"),
        ("system", "the system prompt"),
        ("license", "the licence"),
        ("renderer", "the renderer"),
        ("parser", "the parser"),
        ("requires", "the required Ollama version"),
    ):
        want, have = getattr(wanted, name), getattr(seen, name)
        if want != have and name not in wanted.unknown:
            yield _text_difference(label, want, have)
    if wanted.messages != seen.messages:
        yield from _message_differences(wanted.messages, seen.messages)


def _parameter_differences(name: str, want: Value | None, have: Value | None) -> Iterator[str]:
    if same_setting(want, have):
        return
    if isinstance(want, frozenset) and isinstance(have, frozenset):
        if want - have:
            yield f"{name} lacks {_show(want - have)}"
        if have - want:
            yield f"{name} has {_show(have - want)}, which is not wanted"
    else:
        yield f"{name} is {_show(have)}, wanted {_show(want)}"


def _text_difference(label: str, want: str, have: str) -> str:
    if not want or not have or len(want) + len(have) <= 80:
        return f"{label} is {_excerpt(have)}, wanted {_excerpt(want)}"
    wanted_lines, seen_lines = want.splitlines(), have.splitlines()
    common = min(len(wanted_lines), len(seen_lines))
    line = next((i for i in range(common) if wanted_lines[i] != seen_lines[i]), common)
    return f"{label} is not as wanted, from its line {line + 1} on"


def _message_differences(want: tuple[Message, ...], have: tuple[Message, ...]) -> Iterator[str]:
    if len(want) != len(have):
        yield f"there are {len(have)} messages, wanted {len(want)}"
        return
    for number, (one, other) in enumerate(zip(want, have, strict=True), 1):
        if one.role != other.role:
            yield f"the role of message {number} is {other.role}, wanted {one.role}"
        elif one != other:
            yield _text_difference(f"message {number}", one.content, other.content)


def _show(value: Value | None) -> str:
    if value is None:
        return "not set"
    if isinstance(value, frozenset):
        return ", ".join(repr(item) for item in sorted(value)) or "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)


def _excerpt(text: str) -> str:
    if not text:
        return "empty"
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _short(text: str) -> str:
    """Digests as `ollama list` shows IDs: their first 12 digits."""
    return re.sub(r"sha256:([0-9a-f]{12})[0-9a-f]*", r"\1", text) or "unknown"


# --- reading what show says ---------------------------------------------------------------------------


def _text(answer: Mapping[str, object], key: str) -> str:
    value = answer.get(key)
    return value if isinstance(value, str) else ""


def _header(modelfile: str) -> tuple[list[tuple[str, str]], str]:
    """The blobs that show's Modelfile starts with, as (instruction, digest), and the text after them."""
    blobs = []
    while True:
        line, _, rest = modelfile.partition("\n")
        instruction = line.partition(" ")[0]
        if instruction in ("FROM", "ADAPTER", "DRAFT"):
            digest = re.search(r"sha256-([0-9a-f]{64})", line)
            if digest:
                blobs.append((instruction, f"sha256:{digest[1]}"))
        elif not modelfile or (line and not line.startswith("#")):
            return blobs, modelfile
        modelfile = rest


def _template(body: str, shown: str, system: str) -> tuple[str, str]:
    """The Go template, and the text after it and after the system prompt.

    shown: show's `template`, which is the Go template or the one inside the GGUF file.

    show's quoting loses information in rare cases, so what is known from other fields of the answer is
    used to find where the template ends.
    """
    system_line = f"SYSTEM {_quote(system)}\n" if system else ""
    known = f"TEMPLATE {_quote(shown)}\n{system_line}"
    if body.startswith(known):
        return shown, body[len(known) :]
    if not body.startswith("TEMPLATE "):
        return DEFAULT_TEMPLATE, body.removeprefix(system_line)
    body = body.removeprefix("TEMPLATE ")
    if system_line and f"\n{system_line}" in body:
        raw, _, rest = body.partition(f"\n{system_line}")
    else:
        raw, rest = _first_value(body)
    return _unquote(raw), rest


def _first_value(body: str) -> tuple[str, str]:
    """The text up to the first line end where no quotes are open, and what comes after it."""
    for end in re.finditer("\n", body):
        if unquote(body[: end.start()]) is not None:
            return body[: end.start()], body[end.end() :]
    return body, ""


def _quote(text: str) -> str:
    """As show quotes (quote in parser.go): not everything that would need it."""
    if "\n" in text or text.startswith(" ") or text.endswith(" "):
        return f'"""{text}"""' if '"' in text else f'"{text}"'
    return text


def _unquote(raw: str) -> str:
    """The text that _quote made `raw` of, where that can be told: it puts nothing around `"a "`."""
    text = unquote(raw)
    return text if text is not None and _quote(text) == raw else raw


def _parameters(text: str) -> dict[str, Value]:
    """show's `parameters`: lines of a name and a value in Go's syntax, a line for each stop."""
    result: dict[str, Value] = {}
    stop: set[str] = set()
    for line in text.split("\n"):
        name, _, raw = line.partition(" ")
        if not name:
            continue
        value = _go_value(raw.strip())
        if name == "stop" and isinstance(value, str):
            stop.add(value)
        else:
            result[name] = _value(name, value)
    return {**result, "stop": frozenset(stop)} if stop else result


def _value(name: str, value: object) -> Value:
    """The value in the form that is compared: by the parameter's type, whatever its spelling."""
    kind = PARAMETERS.get(name)
    if isinstance(value, tuple):
        return frozenset(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if kind is float:
            return float32(value)
        return int(value) if value == int(value) else value
    return value if isinstance(value, (bool, str)) else str(value)


def _go_value(raw: str) -> int | float | bool | str:
    """A value that Go printed with %#v: a quoted string, a bool or a 64-bit float; else the text itself."""
    if raw in ("true", "false"):
        return raw == "true"
    if len(raw) >= 2 and raw[0] == raw[-1] == '"':
        return re.sub(_GO_ESCAPE, _go_character, raw[1:-1])
    try:
        return float(raw)
    except ValueError:
        return raw


_GO_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
_GO_NAMED_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _go_character(escape: re.Match[str]) -> str:
    kind, digits = escape[0][1], escape[0][2:]
    return chr(int(digits, 16)) if digits else _GO_NAMED_ESCAPES.get(kind, kind)

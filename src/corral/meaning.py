"""What a model on a server means, so that it can be compared with what is wanted.

`ollama show` prints a model back as text that never matches what it was made from: parameters in random
order, a blob's path for the base, comments gone, a template that nobody wrote. So both sides become a
Meaning: what is on the server by Meaning.of_show, what is wanted by effective, which applies the rules by
which Ollama derives a model from its base (server/create.go and create/manifest.go at v0.34.4, and
server/create.go at v0.24.0, which has the same).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from corral.modelfile import PARAMETERS, Message, Modelfile, float32, unquote

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


def base_of(seen: Meaning, modelfile: Modelfile) -> Meaning:
    """As much of a base that is no longer there as can be told from the model that was made from it: all that the model
    has, but for the licences that its Modelfile has added."""
    added = "\n".join(modelfile.licenses)
    return replace(seen, license=seen.license.removesuffix(added).removesuffix("\n")) if added else seen


def template_in_use(show: Mapping[str, object]) -> str:
    """The chat template that the server really uses: the model's own Go template, or the Jinja template
    inside the GGUF file.

    v0.34.4 prefers the one in the file where that can do more (tools, thinking), in spite of a TEMPLATE
    in the Modelfile, unless the server's environment has OLLAMA_GO_TEMPLATE=1 or the model a renderer.
    """
    return _text(show, "template")


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

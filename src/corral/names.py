"""Model names as Ollama reads them, and what a model's `from` means.

The grammar, the lengths and the defaults are those of Ollama's types/model/name.go and
internal/modelref/modelref.go (v0.34.4); v0.24.0 has the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from corral.errors import CorralError

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_LONGEST = {"host": 350, "namespace": 80, "model": 80, "tag": 80}
_EXTRA_CHARACTERS = {"host": "-.:", "namespace": "-", "model": "-.", "tag": "-."}


@dataclass(frozen=True, eq=False)
class ModelName:
    """A fully qualified model name: host/namespace/model:tag.

    Letters keep the case they were written in, but names that differ only in case, or only in the
    scheme, are equal: the server finds an existing model whatever the case it is asked in.

    scheme: "https", or "http" where the reference said so. Ollama itself drops it when it pulls a base.
    """

    host: str
    namespace: str
    model: str
    tag: str
    scheme: str = "https"

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Reads a reference such as "deepseek-r1:14b", "hf.co/user/repo:Q4_K_M" or
        "http://10.0.0.5:5000/team/model".

        A ":local" at the end is dropped, as each request to the server drops it.
        Raises CorralError, with the part at fault, for anything that the server would refuse, and for
        models that run in Ollama's cloud.
        """
        rest = _without_source(text)
        tag = DEFAULT_TAG
        if rest.rfind(":") > rest.rfind("/"):
            rest, tag = rest.rsplit(":", 1)
        scheme, separator, after = rest.partition("://")
        if not separator:
            scheme, after = "https", rest
        elif scheme not in ("http", "https"):
            raise _refusal(text, f"the scheme {scheme!r} is neither http nor https")
        parts = after.rsplit("/", 2)
        if separator and len(parts) < 3:
            raise _refusal(text, "after a scheme come a host, a namespace and a model")
        host, namespace, model = [DEFAULT_HOST, DEFAULT_NAMESPACE][: 3 - len(parts)] + parts
        name = cls(host, namespace, model, tag, scheme)
        for part in ("host", "namespace", "model", "tag"):
            reason = _fault(part, getattr(name, part))
            if reason:
                raise _refusal(text, reason)
        return name

    @property
    def manifest_url(self) -> str:
        """Where a registry answers with this model's manifest."""
        return f"{self.scheme}://{self.host}/v2/{self.namespace}/{self.model}/manifests/{self.tag}"

    @property
    def short(self) -> str:
        """As `ollama list` and /api/tags show it: defaults left out, the tag always there."""
        if self.host.lower() != DEFAULT_HOST:
            prefix = f"{self.host}/{self.namespace}/"
        elif self.namespace.lower() != DEFAULT_NAMESPACE:
            prefix = f"{self.namespace}/"
        else:
            prefix = ""
        return f"{prefix}{self.model}:{self.tag}"

    def __str__(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelName) and str(self).lower() == str(other).lower()

    def __hash__(self) -> int:
        return hash(str(self).lower())


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file on the controller. path: as written; "~" and relative paths are the caller's to resolve."""

    path: str


def classify_from(text: str) -> ModelName | GgufFile:
    """What a model's `from` names: a model that the server can pull, or a GGUF file on the controller.

    A file starts with "/", "./", "../" or "~", has a backslash, or ends in ".gguf" without a tag before
    it: Hugging Face takes a file's name for a tag, as in "hf.co/user/repo-GGUF:model-Q4_K_M.gguf".
    Raises CorralError when it is neither.
    """
    text = text.strip()
    is_path = text.startswith(("/", "./", "../", "~")) or "\\" in text
    is_gguf = text.lower().endswith(".gguf") and text.rfind(":") <= text.rfind("/")
    if is_path or (is_gguf and "://" not in text):
        return GgufFile(text)
    return ModelName.parse(text)


def _without_source(text: str) -> str:
    """The reference without ":local"; cloud models are refused (modelref.ParseRef)."""
    text = text.strip()
    if not text:
        raise CorralError("the model name is empty", 'write a name such as "deepseek-r1:14b"')
    base, separator, suffix = text.rpartition(":")
    suffix = suffix.strip().lower()
    if separator and (suffix == "cloud" or (suffix.endswith("-cloud") and "/" not in suffix)):
        raise _refusal(text, "it names a model that runs in Ollama's cloud, not on a host of yours")
    if separator and suffix == "local":
        if re.search(r":(local|cloud|[^/:]*-cloud)$", base, re.IGNORECASE):
            raise _refusal(text, "it ends in two sources")
        return base
    return text


def _fault(part: str, value: str) -> str:
    """Why this part is not valid; empty when it is (isValidPart in name.go)."""
    if not value:
        return f"its {part} is empty"
    if len(value.encode()) > _LONGEST[part]:
        return f"its {part} is longer than {_LONGEST[part]} characters"
    if not re.match(r"[A-Za-z0-9_]", value):
        return f"its {part} {value!r} starts with {value[0]!r}; a letter, a digit or '_' must come first"
    allowed = _EXTRA_CHARACTERS[part]
    bad = re.search(rf"[^A-Za-z0-9_{re.escape(allowed)}]", value)
    if bad is None:
        return ""
    hint = ""
    if part == "namespace" and bad[0] in ".:":
        hint = "; a registry's name is followed by a namespace and a model, as in hf.co/user/model:tag"
    elif bad[0] == "@":
        hint = "; Ollama takes no digests here"
    return f"its {part} {value!r} has {bad[0]!r} in it{hint}"


def _refusal(text: str, reason: str) -> CorralError:
    return CorralError(
        f"{text!r} is not a model name that can be used: {reason}",
        "Write [host/namespace/]model[:tag], as in deepseek-r1:14b or hf.co/user/repo:Q4_K_M",
    )

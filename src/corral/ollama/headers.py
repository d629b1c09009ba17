"""GGUF headers of models that nobody has downloaded yet, asked of their registries from the host.

The host asks, because its network, proxy and certificates are those that a later pull will have to do with.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corral import gguf_header
from corral.errors import CorralError
from corral.gguf_header import FIRST_BYTES, Header, MoreNeeded
from corral.names import ModelName
from corral.ollama import registry
from corral.run import HostRun
from corral.scripts import Script

MOST_BYTES = gguf_header.DEFAULT_LIMITS.header_bytes
MODEL_LAYER = "application/vnd.ollama.image.model"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SAID = re.compile(rb"curl: \(\d+\) [ -~]{1,300}")
#: What header.sh lets through after a piece: room for an error and its last line; filled, a blob was sent whole.
BEYOND = 512

#: By the weights' digest, for the run: hosts of one inventory plan with the same models.
_known: dict[str, Header] = {}


@dataclass
class _Blob:
    """A model's weights in a registry. data: what has been fetched of them so far, from their beginning."""

    name: ModelName
    digest: str
    size: int
    data: bytes = b""
    wanted: int = FIRST_BYTES

    @property
    def url(self) -> str:
        return self.name.manifest_url.rpartition("/manifests/")[0] + f"/blobs/{self.digest}"

    @property
    def until(self) -> int:
        return min(self.wanted, self.size, MOST_BYTES)


def fetch(run: HostRun, names: Sequence[ModelName]) -> dict[ModelName, Header | CorralError]:
    """The header of each model's weights, or why it can't be had, as the registries answer the host.

    Fetches a blob's first 4 MiB and, while the header goes on beyond, as much again, up to 64 MiB.
    Raises CorralError when the host itself can't ask.
    """
    found: dict[ModelName, Header | CorralError] = {}
    waiting: list[_Blob] = []
    for name, manifest in registry.ask(run, names).manifests.items():
        blob = manifest if isinstance(manifest, CorralError) else _weights(name, manifest)
        if isinstance(blob, CorralError):
            found[name] = blob
        elif blob.digest in _known:
            found[name] = _known[blob.digest]
        else:
            waiting.append(blob)
    while waiting:
        pieces = _pieces(run, waiting)
        for blob, piece in zip(list(waiting), pieces, strict=True):
            try:
                blob.data += _data(piece, blob)
                found[blob.name] = _known[blob.digest] = gguf_header.parse(blob.data, blob.size, _called(blob.name))
            except MoreNeeded as needed:
                blob.wanted = max(2 * len(blob.data), needed.at_least_bytes)
                continue
            except CorralError as error:
                found[blob.name] = error
            waiting.remove(blob)
    return {name: found[name] for name in names}


def _weights(name: ModelName, manifest: Mapping[str, Any]) -> _Blob | CorralError:
    layers = manifest.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict) and layer.get("mediaType") == MODEL_LAYER:
            digest, size = layer.get("digest"), layer.get("size")
            if isinstance(digest, str) and DIGEST.fullmatch(digest) and isinstance(size, int) and size > 0:
                return _Blob(name, digest, size)
    return CorralError(
        f"the manifest of {name.short} names no GGUF file ({MODEL_LAYER})",
        "Choose a tag of the model that is in the GGUF format",
    )


def _called(name: ModelName) -> str:
    return f"the registry's file of {name.short}"


def _pieces(run: HostRun, blobs: Sequence[_Blob]) -> list[bytes]:
    """What comes after each blob's data, as header.sh answers it."""
    script = Script(
        "ollama/header.sh",
        {
            "URLS": [blob.url for blob in blobs],
            "FROM": [str(len(blob.data)) for blob in blobs],
            "TO": [str(blob.until - 1) for blob in blobs],
            **run.proxy,
        },
    )
    lines: dict[str, list[str]] = defaultdict(list)
    with run.remote.start(script) as running:
        for name, text in running:
            lines[name].append(text)
    return [
        _unpacked("".join(lines[f"part.{number}"]), blob.until - len(blob.data) + BEYOND)
        for number, blob in enumerate(blobs)
    ]


def _unpacked(text: str, most_bytes: int) -> bytes:
    try:
        # 31: with gzip's own header. At most as much as was asked for comes out, whatever went in.
        return zlib.decompressobj(31).decompress(base64.b64decode(text, validate=True), most_bytes)
    except (ValueError, zlib.error):
        return b""


def _data(piece: bytes, blob: _Blob) -> bytes:
    """The bytes that were asked for. Raises CorralError for any other answer."""
    start, asked = len(blob.data), blob.until - len(blob.data)
    if len(piece) == asked + BEYOND:
        status, code, body = "200", "0", piece[:asked]
    else:
        body, _, last = piece.rpartition(b"\n")
        status, _, code = last.decode("ascii", "replace").partition(" ")
    if code == "0" and len(body) == asked and (status == "206" or (status == "200" and start == 0)):
        return body
    if status == "200":
        raise CorralError(
            f"{_called(blob.name)} can't be read in pieces: the registry sends it whole",
            "Download the model first, or choose it without asking for its header",
        )
    # It lies somewhere in the bytes that did come: curl writes both as it likes.
    detail = (SAID.findall(body) or [b""])[-1].decode()
    if status in ("", "000"):
        raise registry.unreachable(detail)
    if status == "206":
        raise CorralError(f"{_called(blob.name)} broke off while its header was read", "Run again", detail)
    raise CorralError(f"the registry answers {status} for {_called(blob.name)}", f"Look at {blob.url}", detail)

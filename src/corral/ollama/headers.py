"""GGUF headers of models: of files on the controller, and of what registries have, before anybody downloads it.

The host asks the registries, because its network, proxy and certificates are those that a later pull will have to do
with. Of a model that the host has already, its own file counts: tags move.
"""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corral import gguf_header
from corral.errors import CorralError
from corral.gguf_header import FIRST_BYTES, Header, MoreNeeded
from corral.names import GgufFile, ModelName, classify_from
from corral.ollama import files, registry
from corral.planner.models import FileModel

if TYPE_CHECKING:
    from corral.run import HostRun

MOST_BYTES = gguf_header.DEFAULT_LIMITS.header_bytes
MODEL_LAYER = "application/vnd.ollama.image.model"
#: What is loaded onto a GPU beside a model: a vision projector, a LoRA adapter.
BESIDE_LAYERS = ("application/vnd.ollama.image.projector", "application/vnd.ollama.image.adapter")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SAID = re.compile(rb"curl: \(\d+\) [ -~]{1,300}")
#: What header.sh lets through after a piece: room for an error and its last line; filled, a blob was sent whole.
BEYOND = 512


@dataclass(frozen=True, eq=False)
class Weights:
    """The file of a model's weights by its header. packed: the header's bytes, gzipped; size: of the whole file in
    bytes; beside: bytes of what is loaded with it."""

    header: Header
    packed: bytes
    size: int
    beside: int = 0


#: By the weights' digest and what is beside them, for the run: hosts of one inventory plan with the same models.
_known: dict[tuple[str, int], Weights] = {}


@dataclass
class _Blob:
    """A model's weights. directory: of the host's own blobs, "" for a registry's; beside: as in Weights; data: what
    has been fetched of them so far, from their beginning."""

    name: ModelName
    digest: str
    size: int
    beside: int
    directory: str
    data: bytes = b""
    wanted: int = FIRST_BYTES

    @property
    def url(self) -> str:
        if self.directory:
            return f"{self.directory}/{self.digest.replace(':', '-')}"
        return self.name.manifest_url.rpartition("/manifests/")[0] + f"/blobs/{self.digest}"

    @property
    def key(self) -> tuple[str, int]:
        return self.digest, self.beside

    @property
    def until(self) -> int:
        return min(self.wanted, self.size, MOST_BYTES)


def models(run: HostRun, names: Sequence[str]) -> dict[str, FileModel | CorralError]:
    """Models that the catalog lacks, by the names of them that were declared: those for `ollama pull`, and files; or
    why a model's header can't be had or says too little. Raises CorralError when the host itself can't ask."""
    sources = {name: classify_from(name) for name in names}
    asked = fetch(run, [source for source in sources.values() if isinstance(source, ModelName)])
    found: dict[str, FileModel | CorralError] = {}
    for name, source in sources.items():
        try:
            if isinstance(source, GgufFile):
                file = files.local_file(run.inventory_path, "from", source.path)
                found[name] = _of_file(name, file.path, run.blob(file.sha256))
                continue
            weights = asked[source]
            if isinstance(weights, CorralError):
                raise weights
            found[name] = _model(name, weights, name)
        except CorralError as error:
            found[name] = error
    return found


def read(name: str, path: Path) -> FileModel:
    """The model in a file of this machine, wished for by this name. Raises CorralError."""
    return _of_file(name, path, str(path))


@lru_cache(maxsize=64)
def _of_file(name: str, path: Path, installed: str) -> FileModel:
    header = gguf_header.read_file(path)
    with path.open("rb") as file:
        packed = gzip.compress(file.read(header.header_bytes), 1, mtime=0)
    return FileModel(name, header, packed, path.stat().st_size, installed)


@lru_cache(maxsize=64)
def _model(name: str, weights: Weights, installed: str) -> FileModel:
    return FileModel(name, weights.header, weights.packed, weights.size, installed, weights.beside)


def fetch(run: HostRun, names: Sequence[ModelName]) -> dict[ModelName, Weights | CorralError]:
    """Each model's weights, or why they can't be had, as the registries answer the host, or as it has them itself.

    Fetches a blob's first 4 MiB and, while the header goes on beyond, as much again, up to 64 MiB.
    Raises CorralError when the host itself can't ask.
    """
    found: dict[ModelName, Weights | CorralError] = {}
    waiting: list[_Blob] = []
    own = _own(run)
    here = {
        name: run.platform.join(directory, "manifests", named.host, named.namespace, named.model, named.tag)
        for name, (named, directory) in own.items()
        if name in names
    }
    for name, manifest in registry.ask(run, names, here).manifests.items():
        directory = f"{own[name][1]}/blobs" if name in here else ""
        blob = manifest if isinstance(manifest, CorralError) else _blob(name, manifest, directory)
        if isinstance(blob, CorralError):
            found[name] = blob
        elif blob.key in _known:
            found[name] = _known[blob.key]
        else:
            waiting.append(blob)
    while waiting:
        pieces = _pieces(run, waiting)
        for blob, piece in zip(list(waiting), pieces, strict=True):
            try:
                blob.data += _data(piece, blob)
                header = gguf_header.parse(blob.data, blob.size, _called(blob.name))
            except MoreNeeded as needed:
                blob.wanted = max(2 * len(blob.data), needed.at_least_bytes)
                continue
            except CorralError as error:
                found[blob.name] = error
            else:
                packed = gzip.compress(blob.data[: header.header_bytes], 1, mtime=0)
                found[blob.name] = _known[blob.key] = Weights(header, packed, blob.size, blob.beside)
            waiting.remove(blob)
    return {name: found[name] for name in names}


def _own(run: HostRun) -> dict[ModelName, tuple[ModelName, str]]:
    """The host's models, each as it is named there and with the directory that it is in."""
    here = {**dict.fromkeys(run.state.manifests, run.settings.models_dir), **run.state.to_move}
    named = [(ModelName.parse(name), directory) for name, directory in here.items()]
    return {name: (name, directory) for name, directory in named}


def _blob(name: ModelName, manifest: Mapping[str, Any], directory: str) -> _Blob | CorralError:
    listed = manifest.get("layers")
    layers = [layer for layer in listed if isinstance(layer, dict)] if isinstance(listed, list) else []
    sizes = [layer.get("size") for layer in layers if layer.get("mediaType") in BESIDE_LAYERS]
    beside = sum(size for size in sizes if isinstance(size, int) and size > 0)
    for layer in layers:
        if layer.get("mediaType") == MODEL_LAYER:
            digest, size = layer.get("digest"), layer.get("size")
            if isinstance(digest, str) and DIGEST.fullmatch(digest) and isinstance(size, int) and size > 0:
                return _Blob(name, digest, size, beside, directory)
    return CorralError(
        f"the manifest of {name.short} names no GGUF file ({MODEL_LAYER})",
        "Choose a tag of the model that is in the GGUF format",
    )


def _called(name: ModelName) -> str:
    return f"the registry's file of {name.short}"


def _pieces(run: HostRun, blobs: Sequence[_Blob]) -> list[bytes]:
    """What comes after each blob's data, as header.sh answers it."""
    script = run.platform.header(
        [blob.url for blob in blobs],
        [len(blob.data) for blob in blobs],
        [blob.until - 1 for blob in blobs],
        run.proxy,
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

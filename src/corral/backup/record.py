"""What was saved of a host, as backup.json says it. Nothing here does I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from corral.errors import CorralError

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Blob(_Part):
    """A file of models. size in bytes. pulled: a model of the host's, by its full name, that a registry has and that
    brings it; "": it is saved."""

    sha256: Sha256
    size: int
    pulled: str = ""


class Model(_Part):
    """A model of the host's, by its full name. manifest: its text; "" where its registry has it just so. digest: of the
    manifest as the host had it."""

    name: str
    digest: Sha256
    manifest: str = ""
    blobs: tuple[Blob, ...]

    @property
    def saved(self) -> bool:
        return bool(self.manifest)


class Text(_Part):
    """A small file of the host's: its path there, mode as in "644", its text and that one's SHA-256."""

    path: Annotated[str, StringConstraints(pattern=r"^/")]
    mode: Annotated[str, StringConstraints(pattern=r"^[0-7]{3,4}$")]
    sha256: Sha256
    text: str


class Key(_Part):
    """The server's key: the directory that it lies in on the host, its SHA-256, and its public half."""

    directory: str
    sha256: Sha256
    public: str


class Backup(_Part):
    """Everything that was saved of a host. ollama: the version that it ran, "" for none of corral's. taken: in UTC, as
    in 2026-11-26T12:00:00Z."""

    version: Literal[1] = 1
    host: str
    taken: str
    ollama: str
    key: Key | None
    models: tuple[Model, ...]
    modelfiles: tuple[Text, ...]
    drop_ins: tuple[Text, ...]

    @property
    def blobs(self) -> dict[str, Blob]:
        """The files that are saved, by SHA-256."""
        return {blob.sha256: blob for model in self.models for blob in model.blobs if not blob.pulled}

    def same_as(self, other: Backup | None) -> bool:
        """Whether both hold the same, whenever they were taken."""
        return other is not None and self == other.model_copy(update={"taken": self.taken})

    @property
    def text(self) -> str:
        """The content of backup.json."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def parse(cls, text: str, place: str) -> Backup:
        """From backup.json's content; place: where it lies. Raises CorralError for one that is damaged."""
        try:
            backup = cls.model_validate_json(text)
        except ValidationError as error:
            first: Any = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise _damaged(place, f"{where}: {first['msg']}") from None
        for name, digest, content in backup._texts():
            if hashlib.sha256(content.encode()).hexdigest() != digest:
                raise _damaged(place, f"the text of {name} is not what its SHA-256 says")
        return backup

    def _texts(self) -> Iterator[tuple[str, str, str]]:
        for model in self.models:
            if model.saved:
                yield model.name, model.digest, model.manifest
        for text in (*self.modelfiles, *self.drop_ins):
            yield text.path, text.sha256, text.text


def digests(manifest: str) -> tuple[str, ...]:
    """The SHA-256 of the files that a manifest names, in hex, each once."""
    return tuple(dict.fromkeys(_DIGEST.findall(manifest)))


def _damaged(place: str, why: str) -> CorralError:
    return CorralError(
        f"the backup {place} is damaged ({why})", "Take another one that you have, or back the host up again"
    )

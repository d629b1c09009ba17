"""What corral notes below a Modelfile on a host, so that a later run knows what was made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from corral import layout
from corral.names import ModelName

MANIFEST = "# corral: manifest "
PULLED = "# corral: pulled "
ENGINE = "# corral: planned with the engine of Ollama "
LOADED = "# corral: loaded as planned "
_ENGINE = re.compile(re.escape(ENGINE) + r"(\S+), overhead (\d{1,6}) MiB(?:, (-?\d{1,6}) MiB more than by formula)?")


@dataclass(frozen=True)
class EngineNote:
    """What followed from an engine's answer when a model was planned, and from how it was loaded: version is Ollama's;
    overhead_mib: what a process takes on a GPU besides its model; correction_mib: what the model takes beyond the
    formulas."""

    version: str
    overhead_mib: int
    correction_mib: int = 0


@dataclass(frozen=True)
class Record:
    """A Modelfile with its notes. text: without them; digest: of the manifest that came of it, "" for none;
    pulled: the base, if corral has pulled it; engine: None where none was asked; loaded: how the model was loaded
    since, "" where it was not, or not as planned."""

    text: str
    digest: str
    pulled: ModelName | None = None
    engine: EngineNote | None = None
    loaded: str = ""

    @classmethod
    def read(cls, file: str) -> Record:
        """Raises CorralError for a base whose name can't be one."""
        text, digest, pulled, engine, loaded = [], "", None, None, ""
        for line in file.splitlines():
            if line.startswith(MANIFEST):
                digest = line.removeprefix(MANIFEST).strip()
            elif line.startswith(PULLED):
                pulled = ModelName.parse(line.removeprefix(PULLED))
            elif found := _ENGINE.fullmatch(line):
                engine = EngineNote(found[1], int(found[2]), int(found[3] or 0))
            elif line.startswith(LOADED):
                loaded = line.removeprefix(LOADED)
            else:
                text.append(line)
        return cls("\n".join(text).rstrip(), digest, pulled, engine, loaded)

    @property
    def file(self) -> str:
        """As it lies on the host."""
        notes = [f"{MANIFEST}{self.digest}"]
        if self.pulled:
            notes.append(f"{PULLED}{self.pulled.short}")
        if self.engine:
            more = f", {self.engine.correction_mib} MiB more than by formula" if self.engine.correction_mib else ""
            notes.append(f"{ENGINE}{self.engine.version}, overhead {self.engine.overhead_mib} MiB{more}")
        if self.loaded:
            notes.append(f"{LOADED}{self.loaded}")
        return "\n".join([self.text, *notes, ""])

    def made(self, file: str, listed: Mapping[ModelName, str]) -> ModelName | None:
        """The model that is as it was made from this file. listed: the server's models with their digests."""
        return next(
            (
                name
                for name, digest in listed.items()
                if digest == self.digest and layout.modelfile_name(name.short) == file
            ),
            None,
        )

    def replaced(self, file: str, listed: Mapping[ModelName, str]) -> bool:
        """Whether somebody has made another model under the name."""
        return any(
            layout.modelfile_name(name.short) == file and digest != self.digest for name, digest in listed.items()
        )

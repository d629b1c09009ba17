"""What corral notes below a Modelfile on a host, so that a later run knows what was made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from corral import layout
from corral.names import ModelName

MANIFEST = "# corral: manifest "
PULLED = "# corral: pulled "


@dataclass(frozen=True)
class Record:
    """A Modelfile with its notes. text: without them; digest: of the manifest that came of it, "" for none;
    pulled: the base, if corral has pulled it."""

    text: str
    digest: str
    pulled: ModelName | None

    @classmethod
    def read(cls, file: str) -> Record:
        """Raises CorralError for a base whose name can't be one."""
        text, digest, pulled = [], "", None
        for line in file.splitlines():
            if line.startswith(MANIFEST):
                digest = line.removeprefix(MANIFEST).strip()
            elif line.startswith(PULLED):
                pulled = ModelName.parse(line.removeprefix(PULLED))
            else:
                text.append(line)
        return cls("\n".join(text).rstrip(), digest, pulled)

    @property
    def file(self) -> str:
        """As it lies on the host."""
        notes = f"{MANIFEST}{self.digest}\n" + (f"{PULLED}{self.pulled.short}\n" if self.pulled else "")
        return f"{self.text}\n{notes}"

    def made(self, file: str, listed: Mapping[ModelName, str]) -> ModelName | None:
        """The model that is as it was made from this file. listed: the server's models with their digests."""
        return next((name for name, digest in listed.items() if digest == self.digest and _file(name) == file), None)

    def replaced(self, file: str, listed: Mapping[ModelName, str]) -> bool:
        """Whether somebody has made another model under the name."""
        return any(_file(name) == file and digest != self.digest for name, digest in listed.items())


def _file(name: ModelName) -> str:
    return PurePosixPath(layout.modelfile_path(name.short)).name

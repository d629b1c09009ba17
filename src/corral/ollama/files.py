"""GGUF files on the controller: those that models are made from, and adapters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import gevent

from corral.errors import CorralError


@dataclass(frozen=True)
class LocalFile:
    """A GGUF file on the controller. sha256: in hex."""

    path: Path
    sha256: str

    @property
    def digest(self) -> str:
        """As Ollama writes it."""
        return f"sha256:{self.sha256}"


def local_file(inventory: Path, key: str, written: str) -> LocalFile:
    """A file whose path counts from the inventory's directory. Raises CorralError for one that can't be read, naming
    the key."""
    path = inventory.parent / Path(written).expanduser()
    try:
        stat = path.stat()
        return LocalFile(path, digest(path, stat.st_size, stat.st_mtime_ns))
    except OSError as error:
        raise CorralError(
            f"{key}: the file {path} can't be read ({error.strerror})",
            "Its path counts from the inventory's directory",
        ) from error


@lru_cache(maxsize=64)
def digest(path: Path, size: int, mtime_ns: int) -> str:
    """The SHA-256 of a file, in hex; asked once as long as its size and time (os.stat) stay. Raises OSError."""

    def of_file() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    # In a thread: minutes for a large file, in which other hosts must go on hearing from this run (lib.sh).
    found: str = gevent.get_hub().threadpool.apply(of_file)
    return found

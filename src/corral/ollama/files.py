"""GGUF files on the controller that models are made from."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import gevent

from corral.errors import CorralError
from corral.names import GgufFile


def local(source: GgufFile, inventory: Path) -> Path:
    """Where a file lies: its path counts from the inventory's directory."""
    return inventory.parent / Path(source.path).expanduser()


def digest(path: Path) -> str:
    """SHA-256 of a GGUF file, in hex. Raises CorralError where there is none."""
    try:
        stat = path.stat()
        return _digest(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise CorralError(
            f"from: the file {path} can't be read ({error.strerror})", "Its path counts from the inventory's directory"
        ) from error


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    def of_file() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    # In a thread: minutes for a large file, in which other hosts must go on hearing from this run (lib.sh).
    found: str = gevent.get_hub().threadpool.apply(of_file)
    return found


def blob(models_dir: str, sha256: str) -> str:
    """Where a host's server keeps a file of this digest."""
    return f"{models_dir}/blobs/sha256-{sha256}"

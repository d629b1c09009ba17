"""The machine's state: JSON documents in one directory, changed by one process at a time."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path
from typing import Any


class Store:
    """Named JSON documents. Reading takes no lock: a document is always replaced whole."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._thread = threading.RLock()
        self._depth = 0
        self._descriptor = -1
        self._read: dict[str, tuple[tuple[int, int, int], Any]] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps all other threads and processes from changing anything; may be entered again by the same thread."""
        with self._thread:
            if not self._depth:
                self._descriptor = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                flock(self._descriptor, LOCK_EX)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    flock(self._descriptor, LOCK_UN)
                    os.close(self._descriptor)

    def read(self, name: str, default: Callable[[], Any] = dict) -> Any:
        """The document; not to be changed by the caller. `default` makes it where there is none yet."""
        path = self._path(name)
        try:
            status = path.stat()
        except FileNotFoundError:
            return default()
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._read.get(name)
        if known and known[0] == stamp:
            return known[1]
        document = json.loads(path.read_text(encoding="utf-8"))
        self._read[name] = (stamp, document)
        return document

    @contextmanager
    def change(self, name: str, default: Callable[[], Any] = dict) -> Iterator[Any]:
        """Gives a document to change; it is kept when the block ends without an exception."""
        with self.locked():
            document = deepcopy(self.read(name, default))
            yield document
            self.write(name, document)

    def write(self, name: str, document: object) -> None:
        with self.locked():
            path = self._path(name)
            made = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
            made.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8", newline="\n")
            os.replace(made, path)

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"

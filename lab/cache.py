"""What was built once and can be used again: directories named after everything that went into them.

An entry appears under its name by one rename, complete; whoever finds it need not ask how it came about. A build that
was killed leaves an unfinished directory, which the next build of the same thing removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.config import cache_directory
from lab.progress import Progress


def key(inputs: Sequence[str | Path]) -> str:
    """12 hexadecimal digits that change with any of the inputs: a text, or a file's content."""
    digest = hashlib.sha256()
    for value in inputs:
        data = value.read_bytes() if isinstance(value, Path) else value.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def entry(name: str, inputs: Sequence[str | Path]) -> Path:
    """Where a thing lies, or would lie, that is made from these inputs."""
    return cache_directory() / f"{name}-{key(inputs)}"


def ensure(name: str, inputs: Sequence[str | Path], build: Callable[[Path], None], progress: Progress) -> Path:
    """The entry for these inputs; when it is missing, `build` is called with the empty directory to fill.

    One build of a name at a time, whichever checkout it is for: others wait, and say so. What `build` raises
    goes through, and the unfinished directory stays, with the logs in it, until the next build.
    """
    done = entry(name, inputs)
    if done.exists():
        return done
    with only_one(name, progress):
        if not done.exists():
            unfinished = unfinished_directory(name)
            remove(unfinished)
            (unfinished / "entry").mkdir(parents=True)
            build(unfinished / "entry")
            (unfinished / "entry").rename(done)
            remove(unfinished)
    return done


def unfinished_directory(name: str) -> Path:
    """Where the entry of this name is being built, in `entry`; beside it there is room for scratch and logs."""
    return cache_directory() / f".unfinished-{name}"


def remove(directory: Path) -> None:
    """Removes a tree, whatever is in it, but nothing that is mounted there."""
    if directory.exists():
        subprocess.run(["rm", "-rf", "--one-file-system", "--", directory], check=True)


@contextmanager
def only_one(name: str, progress: Progress) -> Iterator[None]:
    """Holds the lock on a name. It ends with the process, however that ends."""
    cache_directory().mkdir(parents=True, exist_ok=True)
    lock = os.open(cache_directory() / f".lock-{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"{name} is being built by another command; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)

"""Secrets: where they come from, and how they reach pyinfra without being shown on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr


class BadValue(ValueError):
    """A declared value that cannot be used. Never holds a secret.

    problem: what is wrong with it, to be read after the key's name.
    remedy:  what to write instead.
    path:    where inside the value: keys and list positions, as in ("OLLAMA_HOST",).
    """

    def __init__(self, problem: str, remedy: str = "", path: tuple[str | int, ...] = ()) -> None:
        self.problem = problem
        self.remedy = remedy
        self.path = path
        super().__init__(f"{problem}. {remedy}" if remedy else problem)


class _Unshown(str):
    """Text for paramiko and sudo: itself everywhere but in a repr, which is what debug logs print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


class Secret(SecretStr):
    """A secret that pyinfra can use and that its listings do not show.

    pyinfra wants plain text in host data, and `debug-inventory` prints all host data. But it reads a
    single value through copy.copy and prints whole data through to_json (pyinfra 3.10, HostData.__getattr__
    and json_encode), so that a copy can be the text and a listing the asterisks.
    """

    def __copy__(self) -> str:
        return _Unshown(self.get_secret_value())

    def to_json(self) -> str:
        return "********"


@dataclass(frozen=True)
class Sources:
    """What relative paths and secrets are looked up in.

    directory: what relative paths start from.
    environ: the environment that {env: NAME} reads.
    shared_file: the file that literal values come from when others can read it, else None.
    """

    directory: Path
    environ: Mapping[str, str]
    shared_file: Path | None = None

    def resolve(self, path: str) -> Path:
        """A declared path, absolute; ~ is the home directory here."""
        return Path(os.path.normpath(self.directory / Path(path).expanduser()))


def readable_by_others(path: Path) -> bool:
    """True where the file's group or everybody has any right to it; False where files have no modes."""
    return os.name == "posix" and bool(path.stat().st_mode & 0o077)


def read_secret(value: object, sources: Sources) -> str:
    """The secret that a declaration stands for: {env: NAME}, {file: path}, or the text itself.

    Text itself is taken only from a file that nobody else can read. Raises BadValue.
    """
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, _Unshown):
        return str(value)
    if isinstance(value, Mapping) and len(value) == 1:
        [(kind, where)] = value.items()
        if kind == "env" and isinstance(where, str):
            return _from_environment(where, sources.environ)
        if kind == "file" and isinstance(where, str):
            return _from_file(sources.resolve(where))
    if not isinstance(value, str):
        raise BadValue(
            "is not a secret in a form that is known",
            "Write {env: NAME} or {file: path}; a password of digits only goes in quotes",
        )
    if sources.shared_file is not None:
        raise BadValue(
            f"is written out in {sources.shared_file.name}, which others can read",
            f"Write {{env: NAME}} or {{file: path}} instead, or run: chmod 600 {sources.shared_file}",
        )
    return _usable(value, "is empty", "Write the secret, or leave the key out")


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    remedy = f"Set it before the run: export {name}=..."
    if name not in environ:
        raise BadValue(f"the environment variable {name} is not set", remedy)
    return _usable(environ[name], f"the environment variable {name} is empty", remedy)


def _from_file(path: Path) -> str:
    try:
        if readable_by_others(path):
            raise BadValue(f"{path} can be read by others", f"Run: chmod 600 {path}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadValue(f"there is no file {path}", "Write the secret into it, and: chmod 600 it") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadValue(f"{path} cannot be read: {reason}", "Name a text file that you can read") from None
    return _usable(text.rstrip("\r\n"), f"{path} is empty", "Write the secret into it")


def _usable(text: str, empty: str, remedy: str) -> str:
    if not text:
        raise BadValue(empty, remedy)
    if not text.isprintable():
        raise BadValue("holds a control character or a line break", "A secret is one line of text")
    return text

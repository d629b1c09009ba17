"""How the service that runs Ollama shall be, whatever starts it on the host's system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wanted:
    """How the service shall be.

    environment: names and values as Ollama shall read them, OLLAMA_MODELS among them.
    secrets: the same for values that nobody but root and the service may see.
    release: the directory of the release in use. executable: the server's program in it.
    account: who it runs as.
    own_address, port: where the host itself reaches its server.
    """

    environment: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    models_dir: str
    release: str
    executable: str
    account: str
    own_address: str
    port: int
    start_timeout_s: int


def environment_differences(seen: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Sentences such as "OLLAMA_HOST: 127.0.0.1 -> 0.0.0.0:11434"; a new or removed name has one side only."""
    names = sorted(set(seen) | set(wanted))
    return [
        f"{name}: {seen.get(name, 'unset')} -> {wanted.get(name, 'unset')}"
        for name in names
        if seen.get(name) != wanted.get(name)
    ]

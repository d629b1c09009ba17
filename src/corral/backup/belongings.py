"""What a host has that may be worth saving, and where."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from corral import layout
from corral.backup.places import There
from corral.backup.record import Key, Text
from corral.errors import CorralError
from corral.probe.state import LinuxState, model_names
from corral.run import HostRun
from corral.scripts import Script
from corral.service.move import STORE


@dataclass(frozen=True)
class Manifest:
    """digest: its SHA-256 in hex, which is what Ollama calls the model's digest."""

    digest: str
    text: str


@dataclass(frozen=True)
class Seen:
    """What a host has: manifests by full name, sizes of the models' files by SHA-256, its key."""

    manifests: Mapping[str, Manifest]
    blobs: Mapping[str, int]
    modelfiles: tuple[Text, ...]
    drop_ins: tuple[Text, ...]
    key: Key | None


@dataclass(frozen=True)
class Belongings:
    """Where a host's server keeps its models and its key, whoever has set it up."""

    models_dir: str
    key_dir: str

    @classmethod
    def of(cls, run: HostRun) -> Belongings:
        """Raises CorralError for a host that corral can't save."""
        state = run.state
        if not isinstance(state, LinuxState):
            raise CorralError(
                "corral saves and restores Linux hosts only so far",
                f"Copy {run.settings.models_dir} to another machine, with robocopy /E, while Ollama is stopped",
            )
        if state.to_move:
            raise CorralError(
                f"models of this host are still in {next(iter(state.to_move.values()))}", "Run deploys/r1.py first"
            )
        environment = state.service.environment
        home = environment.get("HOME", layout.HOME)
        # OLLAMA_MODELS, else below its home: envconfig.Models() of Ollama's source.
        default = f"{home}/.ollama/models" if state.service.running else run.settings.models_dir
        return cls(environment.get("OLLAMA_MODELS", default), f"{home}/.ollama")

    def look(self, run: HostRun) -> Seen:
        """What is there now."""
        variables = {
            "MODELS": self.models_dir,
            "MODELFILES": layout.MODELFILES,
            "DROP_IN_DIR": layout.DROP_IN_DIR,
            "OWN": layout.DROP_IN,
            "KEY_DIR": self.key_dir,
        }
        answer = run.remote.run(Script(STORE, variables, then=("backup/contents.sh",)))
        texts = tuple(_texts(answer.get("texts", "")))
        return Seen(
            manifests={
                model_names([path])[0]: Manifest(digest, _decoded(text))
                for path, digest, text in map(str.split, answer.get("manifests", "").splitlines())
            },
            blobs={sha256: int(size) for sha256, size in map(str.split, answer.get("blobs", "").splitlines())},
            modelfiles=tuple(text for text in texts if text.path.startswith(f"{layout.MODELFILES}/")),
            drop_ins=tuple(text for text in texts if text.path.startswith(f"{layout.DROP_IN_DIR}/")),
            key=_key(self.key_dir, answer.get("key", "")),
        )

    def models(self, run: HostRun) -> There:
        """The directory of the models, for the server to use."""
        return There(run.name, run.remote, self.models_dir, _beside, mode="644", owner=layout.USER)

    def keys(self, run: HostRun) -> There:
        """The directory of the key."""
        return There(run.name, run.remote, self.key_dir, lambda path: f"{path}.corral", owner=layout.USER)


def _beside(path: str) -> str:
    """An unfinished file lies where Ollama, which tidies up among its files, does not look."""
    return f".corral/{path.rpartition('/')[2]}"


def _texts(lines: str) -> Iterator[Text]:
    for line in lines.splitlines():
        path, mode, sha256, encoded = line.split("\t")
        yield Text(path=path, mode=mode, sha256=sha256, text=_decoded(encoded))


def _decoded(encoded: str) -> str:
    return base64.b64decode(encoded).decode("utf-8", "replace")


def _key(directory: str, answer: str) -> Key | None:
    if not answer.strip():
        return None
    sha256, _, public = answer.strip().partition(" ")
    return Key(directory=directory, sha256=sha256, public=_decoded(public))

"""Where another Ollama's models lie, and what else a take-over has to know besides a probe (places.sh)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A directory with models that is to be freed. path: as it was named. real: without links. mount: its file system.
    lacking: how many of its files the new place has not yet. missing: their bytes. models: by the paths of their
    manifests; conflicts: of them, those that are others than the new place's of the same name. filesystem: its type, as
    stat -f names it."""

    path: str
    real: str
    mount: str
    lacking: int
    missing: int
    models: tuple[str, ...]
    conflicts: tuple[str, ...]
    filesystem: str = ""


@dataclass(frozen=True)
class Places:
    """What places.sh tells. mount: the new place's file system. other_key: whether the new server would have another
    key. links: of the old unit, that are still there."""

    mount: str = ""
    old: tuple[Place, ...] = ()
    other_key: bool = False
    links: tuple[str, ...] = ()

    @classmethod
    def of(cls, sections: Mapping[str, str]) -> Places:
        numbered = sorted(name for name in sections if name.startswith("place."))
        return cls(
            sections.get("mount", "").strip(),
            tuple(_place(sections[name], sections, name.removeprefix("place.")) for name in numbered),
            bool(sections.get("key", "").strip()),
            tuple(sections.get("links", "").splitlines()),
        )


def _place(text: str, sections: Mapping[str, str], number: str) -> Place:
    path, real, mount, lacking, missing, *models = text.splitlines()
    conflicts = tuple(sections.get(f"conflicts.{number}", "").splitlines())
    filesystem = sections.get(f"filesystem.{number}", "").strip()
    return Place(path, real, mount, int(lacking), int(missing), tuple(models), conflicts, filesystem)

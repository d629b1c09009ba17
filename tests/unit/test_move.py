"""Models that belong into another directory: what is planned for them, and what the scripts do to files."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corral import layout
from corral.errors import CorralError
from corral.probe.state import LinuxState, parse
from corral.remote import HostError, LocalLink, Remote, Sudo
from corral.run import HostRun
from corral.scripts import Script
from corral.service import move, systemd
from tests.unit.test_systemd import WANTED

OLD, NEW = layout.MODELS, "/mnt/big disk/models"
R1 = "registry.ollama.ai/library/r1/latest"
MOVED = replace(WANTED, models_dir=NEW, environment={**WANTED.environment, "OLLAMA_MODELS": NEW})


def seen(
    facts: str,
    models: str = R1,
    used: str = OLD,
    moves: str = "",
    free: int = 10**12,
    more: Mapping[str, str] | None = None,
) -> LinuxState:
    """A host whose service uses one directory, as asked for NEW; facts: see move_question.sh."""
    wanted = WANTED if used == OLD else MOVED
    state = parse(
        {
            "dropin.override.conf": systemd.drop_in(wanted),
            "ollama.moves": moves,
            "disk.models": str(free),
            **(more or {}),
        }
    )
    return move.seen(state, NEW, {"models.0": models, "facts.0": facts})


def copies(state: LinuxState) -> list[str]:
    return [change.summary for change in move.copies(state, NEW)]


def ends(state: LinuxState) -> list[str]:
    run = SimpleNamespace(settings=SimpleNamespace(models_dir=NEW))
    return [change.summary for change in move.ends(cast(HostRun, run), state)]


def test_models_on_another_disk_are_copied_first_and_their_old_place_is_freed_last() -> None:
    state = seen("2000000000 1 3000000000 ext2/ext3")
    assert copies(state) == [f"copy 1 model (2.0 GB) from {OLD} to {NEW}, while Ollama serves from the old place"]
    assert ends(state) == [f"see that Ollama has all models in {NEW}, then free {OLD} (3.0 GB)"]
    assert state.to_move == {"registry.ollama.ai/library/r1:latest": OLD}


def test_models_on_the_same_disk_are_only_taken_along() -> None:
    (summary,) = copies(seen("0 1 3000000000 xfs"))
    assert summary == f"take 1 model from {OLD} to {NEW}, which is on the same disk or has them"


def test_a_host_that_has_its_models_where_they_belong_is_asked_nothing_more() -> None:
    state = parse({"dropin.override.conf": systemd.drop_in(MOVED)})
    assert move.question(state, NEW) is None
    assert (copies(state), ends(state)) == ([], [])


def test_a_drop_in_that_is_not_corrals_says_nothing_of_where_models_are() -> None:
    theirs = {"dropin.override.conf": f'[Service]\nEnvironment="OLLAMA_MODELS={OLD}"\n'}
    assert move.question(parse(theirs), NEW) is None


def test_after_the_switch_only_the_end_is_left_and_the_record_knows_the_old_place() -> None:
    state = seen("0 1 3000000000 xfs", used=NEW, moves=f"holds {NEW}\nholds {OLD}\n")
    assert copies(state) == []
    assert ends(state) == [f"see that Ollama has all models in {NEW}, then free {OLD} (3.0 GB)"]


def test_what_was_being_freed_is_freed_and_never_taken_again() -> None:
    state = seen("5 1 3000000000 xfs", used=NEW, moves=f"holds {NEW}\nleft {OLD}\n")
    assert (copies(state), state.to_move, state.to_move_bytes) == ([], {}, 0)
    assert "free" in ends(state)[0]


def test_a_record_of_places_that_hold_nothing_is_removed() -> None:
    state = seen("0 0 0 xfs", models="", used=NEW, moves=f"left {OLD}\n")
    assert ends(state) == [f"remove {layout.MOVES}"]


def test_a_change_of_mind_brings_back_what_has_been_moved_already() -> None:
    """The record names the new place too, for the case that the old one is declared again."""
    state = parse({"dropin.override.conf": systemd.drop_in(WANTED), "ollama.moves": f"holds {NEW}\nholds {OLD}\n"})
    question = move.question(state, OLD)
    assert question is not None
    assert question.variables["FROM"] == [NEW]


def test_a_network_file_system_is_left_as_it_is() -> None:
    assert ends(seen("5 1 9 nfs")) == [
        f"see that Ollama has all models in {NEW}, then leave {OLD} as it is, which other hosts may use (nfs)"
    ]


def refusal(state: LinuxState) -> str:
    with pytest.raises(CorralError) as error:
        move.check(state, NEW)
    return str(error.value)


def test_too_little_room_is_told_in_numbers_before_anything_is_changed() -> None:
    said = refusal(seen("2000000000 1 2000000000 xfs", free=500_000_000))
    assert f"the disk of {NEW} has 500.0 MB free, the models in {OLD} take 2.0 GB more there" in said
    move.check(seen("2000000000 1 2000000000 xfs", free=2_000_000_000), NEW)


def test_a_drop_in_of_the_administrators_that_sets_the_directory_is_named() -> None:
    theirs = {"dropin.mine.conf": "[Service]\nEnvironment=OLLAMA_MODELS=/srv/models\n"}
    assert "mine.conf" in refusal(seen("0 1 5 xfs", more=theirs))


def test_a_disk_that_is_not_mounted_is_told_of() -> None:
    assert "mount '/mnt/big disk'" in refusal(seen("0 1 5 xfs", more={"disk.unmounted": "/mnt/big disk\n"}))


@dataclass
class Store:
    """A directory with models as Ollama lays it out."""

    root: Path

    def add(self, name: str, *contents: bytes) -> None:
        """name: as in library/r1/latest."""
        (self.root / "blobs").mkdir(parents=True, exist_ok=True)
        digests = []
        for content in contents:
            digests.append(hashlib.sha256(content).hexdigest())
            (self.root / "blobs" / f"sha256-{digests[-1]}").write_bytes(content)
        manifest = self.root / "manifests/registry.ollama.ai" / name
        manifest.parent.mkdir(parents=True, exist_ok=True)
        layers = [{"digest": f"sha256:{digest}"} for digest in digests]
        manifest.write_text(json.dumps({"config": layers[0], "layers": layers[1:]}))

    @property
    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}


@dataclass
class Places:
    old: Store
    new: Store
    record: Path

    def run(self, *then: str, **variables: Any) -> Mapping[str, str]:
        given = {
            "FROM": str(self.old.root),
            "TO": str(self.new.root),
            "OWNER": getpass.getuser(),
            "RECORD": str(self.record),
            "NOTE": "holds everything",
            "AFTER": False,
            **variables,
        }
        return Remote(LocalLink(), Sudo()).run(Script(move.STORE, given, then))

    def take(self, **variables: Any) -> None:
        self.run("service/move_models.sh", **variables)

    def free(self) -> None:
        self.run("service/free_models.sh", FROM=[str(self.old.root)], NOTE="left everything")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(Store(tmp_path / "old place"), Store(tmp_path / "new place"), tmp_path / "etc/record")
    found.new.root.mkdir()
    found.old.add("library/r1/latest", b"config", b"weights" * 1000)
    return found


def test_models_are_whole_in_both_places_until_the_old_one_is_freed(places: Places) -> None:
    before = places.old.files
    places.take()
    assert places.old.files == before
    assert places.new.files == before
    assert places.record.read_text() == "holds everything\n"
    places.free()
    assert places.new.files == before
    assert not places.old.root.exists()
    assert not places.record.exists()


def test_what_no_model_needs_stays_behind_and_goes_and_peoples_files_stay(places: Places) -> None:
    needed = places.old.files
    root = places.old.root
    for leftover in ("blobs/sha256-" + 64 * "0", "blobs/sha256-1-partial", "blobs/sha256-1-partial-3"):
        (root / leftover).write_text("leftover")
    mine = {"notes.txt", "blobs/mine", "manifests/.hidden"}
    for name in mine:
        (root / name).write_text("mine")
    places.take()
    assert places.new.files == needed
    places.free()
    assert places.old.files == mine


def test_a_target_with_models_of_its_own_keeps_them(places: Places) -> None:
    places.new.add("library/other/7b", b"other", b"weights" * 1000)
    theirs = places.new.files
    places.take()
    assert places.new.files == theirs | places.old.files


def test_a_newer_model_of_the_same_name_wins(places: Places) -> None:
    places.new.add("library/r1/latest", b"newer")
    manifest = places.new.root / "manifests/registry.ollama.ai/library/r1/latest"
    newer = manifest.read_text()
    os.utime(places.old.root / "manifests/registry.ollama.ai/library/r1/latest", (1, 1))
    places.take()
    assert manifest.read_text() == newer


def test_after_the_switch_only_what_has_come_since_the_last_look_is_taken(places: Places) -> None:
    places.take()
    moved = places.new.files
    manifest = "manifests/registry.ollama.ai/library/r1/latest"
    (places.new.root / manifest).unlink()  # somebody has removed it from the new server
    os.utime(places.record, (places.record.stat().st_mtime - 1,) * 2)
    os.utime(places.old.root / manifest, (1, 1))
    places.old.add("library/late/1b", b"late")
    places.take(NOTE="", AFTER=True)
    assert places.new.files - moved == places.old.files - moved
    assert manifest not in places.new.files


def test_two_names_of_one_directory_are_nothing_to_be_moved_or_freed(places: Places, tmp_path: Path) -> None:
    before = places.old.files
    link = tmp_path / "link"
    link.symlink_to(places.old.root)
    places = replace(places, new=Store(link))
    assert places.run("service/move_question.sh", FROM=[str(places.old.root)]) == {}
    with pytest.raises(HostError, match="one directory"):
        places.free()
    assert places.old.files == before


@pytest.mark.parametrize("part", ["blobs", "manifests"])
def test_directories_that_have_a_part_in_common_by_a_link_are_refused_and_not_freed(places: Places, part: str) -> None:
    before = places.old.files
    (places.new.root / part).symlink_to(places.old.root / part)
    found = places.run("service/move_question.sh", FROM=[str(places.old.root)])
    assert found == {"shared": f"{places.old.root}\n"}
    state = replace(seen("0 1 5 xfs"), shared_place=found["shared"].strip())
    assert f"declare models_dir: {places.old.root}" in refusal(state)
    with pytest.raises(HostError, match="one directory"):
        places.free()
    assert places.old.files == before


def test_what_a_move_that_was_given_up_never_copied_is_brought_whole(places: Places) -> None:
    """The record is newer than all of it, and of a move to another directory."""
    places.record.parent.mkdir()
    places.record.write_text("holds /elsewhere\n")
    os.utime(places.record, (2**31 - 1,) * 2)
    places.take(NOTE="", AFTER=False)
    assert places.new.files == places.old.files


def test_only_models_with_all_their_files_must_be_listed_afterwards(places: Places) -> None:
    places.take()
    places.new.add("library/broken/latest", b"gone")
    (places.new.root / "blobs" / f"sha256-{hashlib.sha256(b'gone').hexdigest()}").unlink()
    assert places.run("service/whole_models.sh") == {"models": f"{R1}\n"}

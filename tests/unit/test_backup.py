"""What a backup says, where it is kept, and how files are brought there and back."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corral.backup.belongings import Belongings
from corral.backup.places import Here, Place, Progress, There, copy
from corral.backup.record import Backup, Blob, Key, Model, Text, digests
from corral.backup.vault import Vault, earlier
from corral.backup.vault import of as vault_of
from corral.errors import CorralError
from corral.remote import HostError, LocalLink, Remote, Sudo
from corral.secret import Sources
from corral.settings import Settings
from tests.unit.windows_answer import state as windows_state


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


MANIFEST = '{"config":{"digest":"sha256:' + 64 * "a" + '"},"layers":[{"digest":"sha256:' + 64 * "b" + '"}]}'
BACKUP = Backup(
    host="box",
    taken="2026-11-26T12:00:00Z",
    ollama="0.34.4",
    key=Key(directory="/var/lib/ollama/.ollama", sha256=64 * "c", public="ssh-ed25519 AAAA\n"),
    models=(
        Model(
            name="registry.ollama.ai/library/mine:latest",
            digest=sha256(MANIFEST.encode()),
            manifest=MANIFEST,
            blobs=(
                Blob(sha256=64 * "a", size=3),
                Blob(sha256=64 * "b", size=5, pulled="registry.ollama.ai/library/r1:7b"),
            ),
        ),
    ),
    modelfiles=(),
    drop_ins=(Text(path="/etc/mine.conf", mode="644", sha256=sha256(b"[Service]\n"), text="[Service]\n"),),
)


def test_a_backup_is_read_as_it_was_written_and_is_the_same_whenever_it_was_taken() -> None:
    assert Backup.parse(BACKUP.text, "backup.json") == BACKUP
    assert BACKUP.same_as(BACKUP.model_copy(update={"taken": "2027-01-01T00:00:00Z"}))
    assert not BACKUP.same_as(BACKUP.model_copy(update={"drop_ins": ()}))
    assert not BACKUP.same_as(None)


def test_only_files_that_no_registry_brings_are_saved() -> None:
    assert list(BACKUP.blobs) == [64 * "a"]
    assert digests(MANIFEST) == (64 * "a", 64 * "b")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:300], "the whole"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version"),
        (lambda text: text.replace("[Service]", "[Servlce]"), "/etc/mine.conf is not what its SHA-256 says"),
        (lambda text: text.replace(":latest", "").replace("sha256:aa", "sha256:ab"), "library/mine is not what"),
        (lambda text: text.replace('"size": 3', '"size": "x"'), "models.0.blobs.0.size"),
    ],
)
def test_a_damaged_one_is_told_with_its_place(damage: object, said: str) -> None:
    assert callable(damage)
    with pytest.raises(CorralError, match=r"backup /b/backup\.json is damaged") as error:
        Backup.parse(damage(BACKUP.text), "/b/backup.json")
    assert said in str(error.value)


@pytest.fixture(params=["here", "there"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A directory on this machine, reached directly and as one on a host is."""
    directory = tmp_path / "some place"

    def unfinished(path: str) -> str:
        return f"{path}.partial"

    if request.param == "here":
        return Here(directory, unfinished)
    return There("box", Remote(LocalLink(), Sudo()), str(directory), unfinished)


@pytest.fixture
def source(tmp_path: Path) -> Here:
    found = Here(tmp_path, str)
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    return found


def bring(source: Here, place: Place, monkeypatch: pytest.MonkeyPatch, damaged: bool = False) -> list[tuple[int, int]]:
    """Copy the source's file in small pieces; from where on pieces were written, and how many bytes."""
    monkeypatch.setattr("corral.backup.places.PIECE", 30_000)
    data = (source.directory / "file").read_bytes()
    written: list[tuple[int, int]] = []
    own = type(place).append

    def append(self: Place, path: str, offset: int, data: bytes) -> None:
        written.append((offset, len(data)))
        own(self, path, offset, data)

    monkeypatch.setattr(type(place), "append", append)
    digest = sha256(b"other" if damaged else data)
    copy(source, "file", place, "a dir/file", digest, len(data), Progress(print, "", len(data)))
    return written


def test_a_file_comes_whole_in_pieces_and_nobody_else_may_read_it(
    source: Here, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [offset for offset, _ in bring(source, place, monkeypatch)] == [0, 30_000, 60_000, 90_000]
    there = tmp_path / "some place/a dir/file"
    assert there.read_bytes() == (tmp_path / "file").read_bytes()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (there, there.parent)] == [0o600, 0o700]
    assert place.digests(["a dir/file", "no"]) == [sha256(there.read_bytes()), "-"]
    assert place.read("a dir/file", 99_990, 100) == there.read_bytes()[99_990:]
    assert bring(source, place, monkeypatch) == []


def test_what_has_come_already_is_not_brought_again(
    source: Here, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.append("a dir/file", 0, (tmp_path / "file").read_bytes()[:50_000])
    assert stat.S_IMODE((tmp_path / "some place/a dir/file.partial").stat().st_mode) == 0o600
    assert bring(source, place, monkeypatch)[0] == (50_000, 30_000)


def test_what_comes_damaged_is_deleted(
    source: Here, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((CorralError, HostError), match="it was deleted"):
        bring(source, place, monkeypatch, damaged=True)
    assert not list((tmp_path / "some place/a dir").iterdir())


def test_an_empty_file_is_a_file(place: Place, source: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    bring(source, place, monkeypatch)
    assert (tmp_path / "some place/a dir/file").read_bytes() == b""


def test_an_earlier_backup_stays_beside_a_later_one(place: Place, tmp_path: Path) -> None:
    vault = Vault(place, "box")
    assert vault.read() is None
    vault.write(BACKUP)
    later = BACKUP.model_copy(update={"taken": "2026-11-27T12:00:00Z", "models": ()})
    vault.write(later)
    assert vault.read() == later
    assert (tmp_path / "some place/hosts/box" / earlier(BACKUP)).read_text() == BACKUP.text


def test_files_of_another_length_are_missing_and_damaged_ones_named(place: Place) -> None:
    vault, blob = Vault(place, "box"), Blob(sha256=sha256(b"abc"), size=3)
    assert vault.missing([blob]) == [blob]
    path = f"blobs/sha256-{blob.sha256}"
    for content in (b"xyz", b"xy"):
        place.append(path, 0, content)
        place.finish(path, sha256(content))
        assert vault.missing([blob]) == ([] if len(content) == 3 else [blob])
        with pytest.raises(CorralError, match=rf"{path} is damaged"):
            vault.check([blob], None)
    place.append(path, 0, b"abc")
    place.finish(path, blob.sha256)
    vault.check([blob], None)


def test_a_backups_directory_counts_from_the_inventory_or_is_on_another_host(tmp_path: Path) -> None:
    def place(**declared: str) -> str:
        settings = Settings.parse(declared, Sources(tmp_path, {}))
        run = SimpleNamespace(name="box", settings=settings, inventory_path=tmp_path / "hosts.yml")
        return vault_of(cast(Any, run)).place.name

    assert place() == f"{tmp_path}/backups"
    assert place(backup_dir="../safe") == f"{tmp_path.parent}/safe"
    with pytest.raises(CorralError, match="box would keep the backup of itself"):
        place(backup_dir="box:/srv/backups")
    for wrong in ("nas:srv", "nas:/", "/", ""):
        with pytest.raises(CorralError, match="backup_dir"):
            place(backup_dir=wrong)


def test_what_a_host_has_is_told_with_digests(tmp_path: Path) -> None:
    manifest = tmp_path / "models/manifests/registry.ollama.ai/library/mine/latest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(MANIFEST)
    (tmp_path / "models/blobs").mkdir()
    (tmp_path / f"models/blobs/sha256-{64 * 'a'}").write_bytes(b"abc")
    (tmp_path / f"models/blobs/sha256-{64 * 'b'}-partial").write_bytes(b"half")
    (tmp_path / "id_ed25519").write_bytes(b"secret")
    run = cast(Any, SimpleNamespace(remote=Remote(LocalLink(), Sudo())))
    seen = Belongings(str(tmp_path / "models"), str(tmp_path)).look(run)
    assert seen.manifests["registry.ollama.ai/library/mine:latest"].digest == sha256(MANIFEST.encode())
    assert seen.manifests["registry.ollama.ai/library/mine:latest"].text == MANIFEST
    assert seen.blobs == {64 * "a": 3}
    assert seen.key == Key(directory=str(tmp_path), sha256=sha256(b"secret"), public="")


def test_a_windows_host_is_refused_with_what_to_copy() -> None:
    run = cast(Any, SimpleNamespace(state=windows_state(), settings=SimpleNamespace(models_dir=r"D:\Models")))
    with pytest.raises(CorralError, match=r"Linux hosts only so far\. Copy D:\\Models"):
        Belongings.of(run)

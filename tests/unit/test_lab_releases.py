"""Releases of Ollama in the lab, as far as nothing has to be built."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from lab import releases
from lab.errors import LabError
from lab.progress import Progress
from lab.releases import (
    ASSET,
    WINDOWS_ASSET,
    Archive,
    built_archives,
    ensure_releases,
    new_enough,
    pins,
    read_sums,
    versions_in,
)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORRAL_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(releases.GIVEN, raising=False)
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def add(directory: Path, content: bytes, asset: str = ASSET) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / asset).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_given_archives_are_laid_out_with_their_digests(directory: Path) -> None:
    old, new = add(directory / "v0.24.0", b"old"), add(directory / "v0.34.4", b"new")
    found = ensure_releases(["0.34.4", "0.24.0"], Progress(), directory)
    assert versions_in(found) == ("0.34.4", "0.24.0")
    assert pins(found) == {"0.34.4": {ASSET: new}, "0.24.0": {ASSET: old}}
    assert (found / "v0.34.4" / ASSET).read_bytes() == b"new"
    assert (found / "v0.34.4/sha256sum.txt").read_text() == f"{new}  ./{ASSET}\n"


def test_the_environment_may_name_the_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(directory / "v0.34.4", b"new")
    monkeypatch.setenv(releases.GIVEN, str(directory))
    assert versions_in(ensure_releases(["0.34.4"], Progress())) == ("0.34.4",)


def test_only_versions_that_are_given_are_on_offer(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(directory / "v0.34.4", b"new")
    assert versions_in(ensure_releases(["0.34.4", "0.24.0"], Progress(), directory)) == ("0.34.4",)
    assert "nothing is built" in (said := capsys.readouterr().err)
    assert "not on offer: Ollama 0.24.0" in said


def test_a_changed_archive_makes_another_directory(directory: Path) -> None:
    add(directory / "v0.34.4", b"new")
    first = ensure_releases(["0.34.4"], Progress(), directory)
    add(directory / "v0.34.4", b"newer")
    assert ensure_releases(["0.34.4"], Progress(), directory) != first


@pytest.mark.parametrize("line", ["{}  ./{}", "{}  {}", "{} *{}"])
def test_a_stated_digest_is_checked(directory: Path, line: str) -> None:
    digest = add(directory / "v0.34.4", b"new")
    sums = directory / "v0.34.4/sha256sum.txt"
    sums.write_text(line.format("0" * 64, ASSET) + "\n")
    with pytest.raises(LabError, match="damaged"):
        ensure_releases(["0.34.4"], Progress(), directory)
    sums.write_text(line.format(digest, ASSET) + "\n")
    ensure_releases(["0.34.4"], Progress(), directory)


def test_an_archive_without_a_version_directory_is_asked_for_its_version(directory: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin/ollama"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Warning: client version is 0.34.4' >&2\n")
    program.chmod(0o755)
    subprocess.run(["tar", "--zstd", "-cf", directory / ASSET, "-C", tmp_path, "bin"], check=True)
    assert versions_in(ensure_releases(["0.34.4"], Progress(), directory)) == ("0.34.4",)


def test_a_directory_without_an_archive_is_refused(directory: Path) -> None:
    with pytest.raises(LabError, match=r"it holds no ollama-linux-amd64\.tar\.zst"):
        ensure_releases(["0.34.4"], Progress(), directory)
    with pytest.raises(LabError, match="is not a directory"):
        ensure_releases(["0.34.4"], Progress(), directory / "missing")


def test_a_directory_with_other_versions_only_is_refused(directory: Path) -> None:
    add(directory / "v0.30.0", b"other")
    with pytest.raises(LabError, match=r"Ollama 0\.34\.4 is wanted, but it holds 0\.30\.0"):
        ensure_releases(["0.34.4"], Progress(), directory)


def test_a_given_archive_for_windows_is_laid_out_beside_the_other(directory: Path) -> None:
    linux, windows = add(directory / "v0.34.4", b"new"), add(directory / "v0.34.4", b"zip", WINDOWS_ASSET)
    found = ensure_releases(["0.34.4"], Progress(), directory, windows=True)
    assert pins(found) == {"0.34.4": {ASSET: linux, WINDOWS_ASSET: windows}}
    assert (found / "v0.34.4" / WINDOWS_ASSET).read_bytes() == b"zip"


def test_windows_hosts_are_refused_where_their_archive_is_not_given(directory: Path) -> None:
    add(directory / "v0.34.4", b"new")
    with pytest.raises(
        LabError, match=r"no ollama-windows-amd64\.zip lies beside .* Windows hosts can't be brought up"
    ):
        ensure_releases(["0.34.4"], Progress(), directory, windows=True)


def test_a_stated_digest_of_the_archive_for_windows_is_checked(directory: Path) -> None:
    add(directory / "v0.34.4", b"new")
    add(directory / "v0.34.4", b"zip", WINDOWS_ASSET)
    (directory / "v0.34.4/sha256sum.txt").write_text(f"{'0' * 64}  ./{WINDOWS_ASSET}\n")
    with pytest.raises(LabError, match=r"ollama-windows-amd64\.zip is damaged"):
        ensure_releases(["0.34.4"], Progress(), directory)


def put_into_cache(archive: Archive) -> Path:
    add(archive.file.parent, archive.asset.encode(), archive.asset)
    return archive.file


def test_an_archive_for_windows_that_nobody_needs_is_on_offer_only_when_it_is_built_already() -> None:
    linux = put_into_cache(Archive("0.34.4", ASSET))
    assert built_archives(["0.34.4"], Progress()) == {"0.34.4": [linux]}
    windows = put_into_cache(Archive("0.34.4", WINDOWS_ASSET))
    assert built_archives(["0.34.4"], Progress()) == {"0.34.4": [linux, windows]}


def test_windows_hosts_are_refused_where_no_version_can_be_built_for_them() -> None:
    put_into_cache(Archive("0.24.0", ASSET))
    with pytest.raises(LabError, match=r"0\.24\.0 can't be built for Windows here, only 0\.34\.4"):
        built_archives(["0.24.0"], Progress(), windows=True)


def test_a_version_that_cannot_be_built_for_windows_is_on_offer_beside_one_that_can() -> None:
    old, new = put_into_cache(Archive("0.24.0", ASSET)), put_into_cache(Archive("0.34.4", ASSET))
    windows = put_into_cache(Archive("0.34.4", WINDOWS_ASSET))
    assert built_archives(["0.34.4", "0.24.0"], Progress(), windows=True) == {"0.34.4": [new, windows], "0.24.0": [old]}


def test_a_version_that_nobody_can_build_is_refused() -> None:
    with pytest.raises(LabError, match=r"0\.1\.0 can't be built here"):
        ensure_releases(["0.1.0"], Progress())


def test_sums_are_read_in_every_form() -> None:
    assert read_sums("AB  ./one\ncd *two\nef  three\n") == {"one": "ab", "two": "cd", "three": "ef"}


@pytest.mark.parametrize(
    ("answer", "enough"),
    [
        ("go version go1.26.8 linux/amd64", True),
        ("go version go1.27 linux/amd64", True),
        ("go version go2.0.1 linux/amd64", True),
        ("go version go1.19.8 linux/amd64", False),
        ("", False),
    ],
)
def test_an_old_go_does_not_do(answer: str, enough: bool) -> None:
    assert new_enough(answer) is enough

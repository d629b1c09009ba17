"""The lab's cache of things that were built once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lab import cache
from lab.progress import Progress


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORRAL_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(target: Path) -> None:
    (target / "file").write_text("content")


def test_a_thing_is_built_once_for_the_same_inputs() -> None:
    calls: list[Path] = []

    def build(target: Path) -> None:
        calls.append(target)
        write(target)

    first = cache.ensure("thing", ["1"], build, Progress())
    assert cache.ensure("thing", ["1"], build, Progress()) == first
    assert (first / "file").read_text() == "content"
    assert len(calls) == 1


def test_another_input_makes_another_entry(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one")
    first = cache.ensure("thing", [source], write, Progress())
    source.write_text("two")
    second = cache.ensure("thing", [source], write, Progress())
    assert first != second
    assert first.exists()


def test_inputs_that_run_together_are_told_apart() -> None:
    assert cache.key(["ab", "c"]) != cache.key(["a", "bc"])


def test_a_build_that_fails_leaves_no_entry_and_the_next_one_starts_afresh() -> None:
    def fail(target: Path) -> None:
        write(target)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.ensure("thing", [], fail, Progress())
    assert not cache.entry("thing", []).exists()

    def build(target: Path) -> None:
        assert list(target.iterdir()) == []
        write(target)

    assert (cache.ensure("thing", [], build, Progress()) / "file").exists()


def test_nothing_unfinished_is_left_beside_a_finished_entry(directory: Path) -> None:
    cache.ensure("thing", [], write, Progress())
    assert not cache.unfinished_directory("thing").exists()


def test_two_builders_do_not_collide_and_the_second_finds_the_first_ones_work(directory: Path) -> None:
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from lab import cache
        from lab.progress import Progress

        def build(target: Path) -> None:
            time.sleep(0.5)
            (target / "file").write_text("content")
            print("built")

        cache.ensure("thing", [], build, Progress())
        """)
    builders = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [builder.communicate(timeout=30)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert sorted(outputs) == ["", "built\n"]

"""`corral pin`: what a release's sha256sum.txt says comes into a file of pins, and nothing else of it changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from corral.cli import main
from corral.ollama import releases
from corral.ollama.pinning import own_pins

LINUX, WINDOWS = "ollama-linux-amd64.tar.zst", "ollama-windows-amd64.zip"
#: As GitHub's: names with ./ before them, more archives than corral installs.
SUMS = f"{'1' * 64}  ./{LINUX}\n{'2' * 64}  ./{WINDOWS}\n{'3' * 64}  ./OllamaSetup.exe\n"
PINS = f"""\
# Ours.
0.34.4:
  {LINUX}: {"a" * 64}
# Kept for the old cards.
0.24.0:
  {LINUX}: {"b" * 64}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["pin", *arguments])


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    (tmp_path / "pins.yml").write_text(PINS)
    return tmp_path / "pins.yml"


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    (tmp_path / "sha256sum.txt").write_text(SUMS)
    return tmp_path / "sha256sum.txt"


def test_a_release_is_pinned_above_the_others_which_stay_as_they_are(pins: Path, sums: Path) -> None:
    done = run("v0.35.0", "--pins", str(pins), "--sums", str(sums))
    assert done.exit_code == 0, done.output
    assert "ollama_version: 0.35.0" in done.output
    entry = f"0.35.0:\n  {LINUX}: {'1' * 64}\n  {WINDOWS}: {'2' * 64}\n"
    assert pins.read_text() == PINS.replace("0.34.4:", f"{entry}0.34.4:", 1)
    found = releases.load_pins(pins)["0.35.0"]
    assert found == {LINUX: "1" * 64, WINDOWS: "2" * 64}
    before = pins.read_text(), pins.stat().st_mtime_ns
    again = run("0.35.0", "--pins", str(pins), "--sums", str(sums))
    assert (again.exit_code, "was pinned already" in again.output) == (0, True)
    assert (pins.read_text(), pins.stat().st_mtime_ns) == before


def test_other_digests_for_a_version_are_refused_unless_they_are_to_be_replaced(pins: Path, sums: Path) -> None:
    refused = run("0.34.4", "--pins", str(pins), "--sums", str(sums))
    assert refused.exit_code == 1
    assert f"pins Ollama 0.34.4 with other digests: {LINUX}, {WINDOWS}" in refused.output
    assert pins.read_text() == PINS
    assert run("0.34.4", "--pins", str(pins), "--sums", str(sums), "--replace").exit_code == 0
    found = releases.parse_pins(pins.read_text(), "pins")
    assert found["0.34.4"] == {LINUX: "1" * 64, WINDOWS: "2" * 64}
    assert found["0.24.0"] == {LINUX: "b" * 64}
    assert pins.read_text().endswith(PINS[PINS.index("# Kept") :])


def test_a_file_that_is_not_there_is_made(tmp_path: Path, sums: Path) -> None:
    assert run("0.35.0", "--pins", str(tmp_path / "mine/pins.yml"), "--sums", str(sums)).exit_code == 0
    assert set(releases.load_pins(tmp_path / "mine/pins.yml")["0.35.0"]) == {LINUX, WINDOWS}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<html>Not found</html>\n", "line 1: '<html>Not found</html>' is no digest with a file's name"),
        (f"{'1' * 64}  ./OllamaSetup.exe\n", "lists no archive that corral installs"),
        (f"{'1' * 64}  ./{LINUX}\n{'2' * 64}  ./{LINUX}\n", f"line 2: {LINUX} has two digests"),
        (f"{'1' * 63}  ./{LINUX}\n", "line 1"),
        ("", "lists no archive"),
    ],
)
def test_what_is_no_list_of_digests_is_refused(pins: Path, sums: Path, text: str, sentence: str) -> None:
    sums.write_text(text)
    done = run("0.35.0", "--pins", str(pins), "--sums", str(sums))
    assert (done.exit_code, sentence in done.output) == (1, True), done.output
    assert pins.read_text() == PINS


def test_a_word_is_not_a_version(pins: Path) -> None:
    done = run("latest", "--pins", str(pins))
    assert (done.exit_code, "latest is not a version" in done.output) == (1, True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server on this machine that has one release."""
    (tmp_path / "v0.35.0").mkdir()
    (tmp_path / "v0.35.0/sha256sum.txt").write_text(SUMS)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/v{{version}}"
        listening.shutdown()


def test_the_list_is_fetched_from_where_the_release_is(pins: Path, server: str) -> None:
    assert run("0.35.0", "--pins", str(pins), "--url", server).exit_code == 0
    assert "0.35.0" in releases.load_pins(pins)
    missing = run("0.36.0", "--pins", str(pins), "--url", server)
    assert (missing.exit_code, "v0.36.0/sha256sum.txt does not exist" in missing.output) == (1, True)
    closed = run("0.36.0", "--pins", str(pins), "--url", "http://127.0.0.1:1/v{version}")
    assert (closed.exit_code, "can't be fetched" in closed.output) == (1, True)
    assert "Traceback" not in missing.output + closed.output


def test_corrals_own_pins_are_where_it_looks_for_them() -> None:
    assert set(releases.parse_pins(own_pins().read_text(), "pins")) == set(releases.load_pins(None))

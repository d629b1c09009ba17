"""Which archive a host gets, and what must be done until it runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral import layout
from corral.errors import CorralError
from corral.ollama import releases
from corral.probe.state import LinuxState, parse

DIGEST = "c238986e61d40c0cc5f4a9b9e40b9eea104350b77efa34741fc134e105cb9533"
URL = "https://example.org/v{version}"
ASSET = "ollama-linux-amd64.tar.zst"
RELEASE = releases.choose("0.34.4", ASSET, releases.load_pins(None), URL)


def state(**sections: str) -> LinuxState:
    """A host that has the release and runs it, but for the sections that are given."""
    return parse(
        {
            "ollama.user": "ollama render video\n",
            "ollama.groups": "render\nvideo\n",
            "ollama.releases": f"0.34.4\t{RELEASE.stamp} \n",
            "ollama.current": "/opt/ollama/0.34.4\n",
            "ollama.command": f"{layout.CURRENT}/bin/ollama\n",
            **sections,
        }
    )


def summaries(seen: LinuxState) -> list[str]:
    fetched = releases.fetch_changes(seen, RELEASE, {"PROXY": "", "NO_PROXY_FOR": ""})
    return [change.summary for change in (*fetched, *releases.switch_changes(seen, RELEASE))]


def test_the_default_release_is_pinned_with_its_real_digest() -> None:
    assert RELEASE.sha256 == DIGEST
    assert RELEASE.url == "https://example.org/v0.34.4/ollama-linux-amd64.tar.zst"


def test_an_address_may_name_the_archive_itself() -> None:
    chosen = releases.choose(
        "0.34.4", "ollama-linux-arm64.tar.zst", releases.load_pins(None), "https://example.org/{asset}?v={version}"
    )
    assert chosen.url == "https://example.org/ollama-linux-arm64.tar.zst?v=0.34.4"


def test_a_host_that_has_the_release_needs_nothing() -> None:
    assert summaries(state()) == []


def test_a_bare_host_gets_user_release_and_command() -> None:
    assert summaries(parse({"ollama.groups": "video\n"})) == [
        "make the system user ollama in video",
        "download https://example.org/v0.34.4/ollama-linux-amd64.tar.zst and unpack it in /opt/ollama/0.34.4",
        "switch /opt/ollama/current to /opt/ollama/0.34.4",
    ]


def test_a_release_that_is_there_is_switched_to_without_a_download() -> None:
    assert summaries(state(**{"ollama.current": "/opt/ollama/0.24.0\n"})) == [
        "switch /opt/ollama/current to /opt/ollama/0.34.4 (was /opt/ollama/0.24.0)"
    ]


def test_another_build_of_the_same_version_never_replaces_one_in_place() -> None:
    other = state(**{"ollama.releases": f"0.34.4\tollama-linux-amd64.tar.zst {'0' * 64} \n"})
    assert "and unpack it in /opt/ollama/0.34.4-c238986e" in summaries(other)[0]


def test_a_version_without_a_pin_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(CorralError, match=r"no digest is pinned for Ollama 9\.9\.9.*0\.34\.4.*sha256sum\.txt"):
        releases.choose("9.9.9", ASSET, releases.load_pins(None), URL)


def test_pins_of_a_file_come_over_the_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "pins.yml"
    file.write_text(f"0.34.4:\n  ollama-linux-amd64.tar.zst: {'a' * 64}\n")
    pins = releases.load_pins(file)
    assert releases.choose("0.34.4", ASSET, pins, URL).sha256 == "a" * 64
    assert "0.32.7" in pins


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n", "not a mapping"),
        ("1.2.3: x\n", "holds no archives"),
        ("1.2.3:\n  a.tgz: 12\n", "no SHA-256"),
        ("a: [\n", "no YAML"),
    ],
)
def test_a_pins_file_that_holds_no_pins_is_refused_by_name(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "pins.yml"
    file.write_text(text)
    with pytest.raises(CorralError, match=sentence) as caught:
        releases.load_pins(file)
    assert str(file) in str(caught.value)

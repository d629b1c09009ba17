"""Which release a host gets: a version, the archive for its architecture, the archive's digest, its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from corral import layout
from corral.adoption import others
from corral.changes import Change
from corral.errors import CorralError
from corral.probe.state import LinuxState
from corral.scripts import Script

Pins = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Release:
    """One archive: version without a leading v, file name, SHA-256 in hex, where it is downloaded."""

    version: str
    asset: str
    sha256: str
    url: str

    @property
    def stamp(self) -> str:
        """What the unpacked directory says of itself."""
        return f"{self.asset} {self.sha256}"

    def directory_name(self, there: Mapping[str, str]) -> str:
        """Its directory among those that are there (HostState.releases). Another build of a version never replaces one
        in place."""
        for name, stamp in there.items():
            if stamp == self.stamp:
                return name
        return f"{self.version}-{self.sha256[:8]}" if self.version in there else self.version


def load_pins(extra: Path | None) -> Pins:
    """corral's own pins and, over them, those of a file. Raises CorralError for a file that holds none."""
    pins = parse_pins(files("corral").joinpath("ollama/pins.yml").read_text(encoding="utf-8"), "pins.yml")
    if extra is None:
        return pins
    try:
        text = extra.read_text(encoding="utf-8")
    except OSError as error:
        raise CorralError(f"ollama_pins: {extra} can't be read ({error.strerror})", "Correct the path") from error
    return {**pins, **parse_pins(text, str(extra))}


def parse_pins(text: str, name: str) -> Pins:
    remedy = "Each version holds lines `ollama-linux-amd64.tar.zst: <64 hex digits>`, as its sha256sum.txt has them"
    try:
        document = yaml.load(text, Loader=yaml.BaseLoader) or {}
    except yaml.YAMLError as error:
        raise CorralError(f"ollama_pins: {name} is no YAML ({error})", remedy) from error
    if not isinstance(document, dict):
        raise CorralError(f"ollama_pins: {name} is not a mapping of versions", remedy)
    for version, assets in document.items():
        if not isinstance(assets, dict):
            raise CorralError(f"ollama_pins: {name}: {version} holds no archives", remedy)
        for asset, digest in assets.items():
            if not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
                raise CorralError(f"ollama_pins: {name}: {version}: {asset}: {digest!r} is no SHA-256", remedy)
    return document


def choose(version: str, asset: str, pins: Pins, url: str) -> Release:
    """The archive of a version. Raises CorralError where there is no pin for it.

    asset: its file name, for the host's system. url: the setting ollama_release_url.
    """
    digests = address(url, version, "sha256sum.txt")
    assets = pins.get(version)
    if assets is None:
        raise CorralError(
            f"ollama_version: no digest is pinned for Ollama {version}",
            f"Choose one of {', '.join(sorted(pins))}, or name a file in ollama_pins that pins it "
            f"with the digests from {digests}",
        )
    if asset not in assets:
        raise CorralError(
            f"ollama_version: Ollama {version} has no pinned archive {asset}",
            f"Add its digest from {digests} to a file that ollama_pins names",
        )
    return Release(version, asset, assets[asset], address(url, version, asset))


def kept(name: str, stamp: str) -> Release:
    """A release that is on a host, from its directory's name and its stamp. It needs no download."""
    asset, _, sha256 = stamp.partition(" ")
    return Release(name.removesuffix(f"-{sha256[:8]}"), asset, sha256, "")


def address(url: str, version: str, asset: str) -> str:
    """Where a file of a release is: {asset} names it in the address, or it comes behind the address."""
    filled = url.replace("{version}", version)
    return filled.replace("{asset}", asset) if "{asset}" in filled else f"{filled.rstrip('/')}/{asset}"


def fetch_changes(state: LinuxState, release: Release, proxy: Mapping[str, str]) -> list[Change]:
    """What must be done so that the host has the release beside the one in use, and a user to run it."""
    changes = []
    missing_groups = state.gpu_groups - state.user_groups
    if not state.user_groups or missing_groups:
        groups = f" in {', '.join(sorted(state.gpu_groups))}" if state.gpu_groups else ""
        changes.append(
            Change(
                f"make the system user {layout.USER}{groups}",
                Script(
                    "ollama/user.sh",
                    {
                        "USER_NAME": layout.USER,
                        "HOME_DIR": layout.HOME,
                        "COMMENT": layout.USER_COMMENT,
                        "GROUPS_WANTED": sorted(state.gpu_groups),
                    },
                ),
            )
        )
    directory = layout.release_dir(release.directory_name(state.releases))
    if release.stamp not in state.releases.values():
        changes.append(
            Change(
                f"download {release.url} and unpack it in {directory}",
                Script(
                    "ollama/install.sh",
                    {
                        "URL": release.url,
                        "SHA256": release.sha256,
                        "DIRECTORY": directory,
                        "DOWNLOADS": layout.DOWNLOADS,
                        "STAMP_FILE": layout.STAMP,
                        "STAMP_TEXT": release.stamp,
                        **proxy,
                    },
                ),
            )
        )
    return changes


def switch_changes(state: LinuxState, release: Release, *, back: bool = False) -> list[Change]:
    """What must be done so that `ollama` leads to the release. back: it is a rollback."""
    directory = layout.release_dir(release.directory_name(state.releases))
    # What another's unit starts is not taken from it: adoption.handover does that when the unit is corral's.
    theirs = others.has_their_unit(state)
    changes = []
    if state.current != directory or (state.command != layout.PROGRAM and not theirs):
        before = f" (was {state.current})" if state.current and state.current != directory else ""
        changes.append(
            Change(
                f"switch {layout.CURRENT} to {directory}{before}",
                switch(directory, command=not theirs, back=back),
            )
        )
    return changes


def switch(directory: str, *, command: bool = True, back: bool = False) -> Script:
    """Lets CURRENT lead to a release's directory and, with command, COMMAND to its program. back: it is a rollback."""
    return Script(
        "ollama/switch.sh",
        {
            "CURRENT": layout.CURRENT,
            "DIRECTORY": directory,
            "COMMAND": layout.COMMAND if command else "",
            "TARGET": layout.PROGRAM,
            "PREVIOUS": layout.PREVIOUS,
            "LEFT": layout.LEFT,
            "BACK": back,
        },
    )

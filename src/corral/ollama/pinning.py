"""`corral pin`: the digests of a release, from its own sha256sum.txt into a file of pins."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import httpx

from corral.errors import CorralError
from corral.ollama import releases

#: What corral installs, of all that a release has.
ASSETS = (
    "ollama-linux-amd64.tar.zst",
    "ollama-linux-arm64.tar.zst",
    "ollama-windows-amd64.zip",
    "ollama-darwin.tgz",
)
SUMS = "sha256sum.txt"
#: Real ones have some 2 KB.
MOST_BYTES = 1 << 20


def own_pins() -> Path:
    """corral's own file of pins, in the checkout that it runs from."""
    return Path(str(files("corral").joinpath("ollama/pins.yml")))


def fetch(version: str, url: str) -> str:
    """A release's sha256sum.txt. url: as the setting ollama_release_url. Raises CorralError."""
    address = releases.address(url, version, SUMS)
    try:
        with httpx.stream("GET", address, follow_redirects=True, timeout=30) as answer:
            if answer.status_code == 404:
                raise CorralError(f"{address} does not exist", f"Is there a release {version}? See the releases' page")
            if answer.status_code != 200:
                raise CorralError(f"{address} answers {answer.status_code}", "Try again later")
            text = bytearray()
            for piece in answer.iter_bytes():
                text += piece
                if len(text) > MOST_BYTES:
                    raise CorralError(f"{address} is no list of digests: it is larger than 1 MiB", "Correct the URL")
    except httpx.HTTPError as error:
        raise CorralError(
            f"{address} can't be fetched: {error}", "Check this machine's network, or give --sums FILE"
        ) from error
    return text.decode("utf-8", "replace")


def digests(text: str, name: str) -> dict[str, str]:
    """Of what corral installs, by asset, from the lines of a sha256sum.txt ("<digest>  ./<asset>").

    name: of the list, for people. Raises CorralError for what is no such list, and for a release without any archive.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?([^/\s]+)", line.rstrip())
        if not match:
            raise CorralError(
                f"{name}, line {number}: {line[:80]!r} is no digest with a file's name", "Give a sha256sum.txt"
            )
        digest, asset = match[1].lower(), match[2]
        if found.setdefault(asset, digest) != digest:
            raise CorralError(f"{name}, line {number}: {asset} has two digests", "Give the release's own list")
    wanted = {asset: found[asset] for asset in ASSETS if asset in found}
    if not wanted:
        raise CorralError(
            f"{name} lists no archive that corral installs ({', '.join(ASSETS)})", "Is it that release's?"
        )
    return wanted


def pin(version: str, assets: Mapping[str, str], path: Path, *, replace: bool = False) -> bool:
    """Write a version's digests into a file of pins, above the others; whether that changed it.

    What else the file holds stays as it is, comments included. The new file appears in one rename.
    Raises CorralError where the version has other digests there already, unless they are to be replaced.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    entry = "".join([f"{version}:\n", *(f"  {asset}: {digest}\n" for asset, digest in assets.items())])
    known = releases.parse_pins(text, str(path)).get(version)
    if known == assets:
        return False
    if known is not None:
        if not replace:
            differing = ", ".join(sorted(asset for asset in {*known, *assets} if known.get(asset) != assets.get(asset)))
            raise CorralError(
                f"{path} pins Ollama {version} with other digests: {differing}",
                "A release does not change: find out why. --replace takes the new ones",
            )
        before = rf"^[\"']?{re.escape(version)}[\"']?:.*(?:\n[ \t].*)*\n?"
        _write(path, re.sub(before, entry, text, count=1, flags=re.M))
        return True
    head = re.match(r"(?:#.*\n|\s*\n)*", text)
    at = head.end() if head else 0
    _write(path, text[:at] + entry + text[at:])
    return True


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(text)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        os.chmod(file.name, mode)
        os.replace(file.name, path)
    except OSError as error:
        raise CorralError(f"{path} can't be written ({error.strerror})", "Name another file with --pins") from error

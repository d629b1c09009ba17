"""The authority that only the lab's hosts trust, and the mirror's certificate."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.cache import key
from lab.config import MIRROR_NAMES
from lab.errors import LabError

VALID_DAYS = 3650


@dataclass(frozen=True)
class Authority:
    """PEM files: the authority's certificate, which hosts trust, and the mirror's certificate and key."""

    certificate: Path
    mirror_certificate: Path
    mirror_key: Path


def ensure_authority(cache: Path) -> Authority:
    """The cache's authority for the mirror's names, made when missing. Its own key is thrown away: it signs once."""
    directory = cache / f"authority-{key(MIRROR_NAMES)}"
    names = Authority(directory / "authority.crt", directory / "mirror.crt", directory / "mirror.key")
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            made = Path(scratch) / "authority"
            made.mkdir(mode=0o700)
            _make(made)
            with contextlib.suppress(OSError):  # another checkout's lab was faster
                made.rename(directory)
    return names


def _make(directory: Path) -> None:
    if not shutil.which("openssl"):
        raise LabError("openssl is missing; `make set-up` installs it")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(
        directory, "req", "-x509", *new_key, "-keyout", "authority.key", "-out", "authority.crt",
        "-days", str(VALID_DAYS), "-subj", "/CN=Lab authority", "-addext", "basicConstraints=critical,CA:TRUE",
    )  # fmt: skip
    _openssl(
        directory, "req", "-x509", *new_key, "-keyout", "mirror.key", "-out", "mirror.crt",
        "-days", str(VALID_DAYS), "-subj", f"/CN={MIRROR_NAMES[0]}",
        "-CA", "authority.crt", "-CAkey", "authority.key",
        "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth",
        "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in MIRROR_NAMES),
    )  # fmt: skip
    (directory / "authority.key").unlink()


def _openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"openssl could not make the lab's certificates: {done.stderr.strip()}")

"""Where things are on a Linux host. Every path that corral writes is named here."""

from __future__ import annotations

RELEASES = "/opt/ollama"
CURRENT = f"{RELEASES}/current"
DOWNLOADS = f"{RELEASES}/.download"
#: Inside a release: what it was unpacked from, so that a version is known by its digest.
STAMP = ".corral-release"
COMMAND = "/usr/local/bin/ollama"

USER = "ollama"
HOME = "/var/lib/ollama"
CACHE = "/var/cache/ollama"
MODELS = f"{HOME}/models"
#: Where the drivers of a GPU are reached: both groups where the system has them.
GPU_GROUPS = ("render", "video")

SERVICE = "ollama.service"
UNIT = f"/etc/systemd/system/{SERVICE}"
DROP_IN_DIR = f"{UNIT}.d"
DROP_IN = f"{DROP_IN_DIR}/override.conf"
#: Environment values that are secrets (a proxy's password); read by systemd, by nobody else.
SECRETS = "/etc/ollama/secrets.env"
MODELFILES = "/etc/ollama/modelfiles"
LOCK = "/run/corral.lock"


def release_dir(version: str) -> str:
    return f"{RELEASES}/{version}"


def modelfile_name(model: str) -> str:
    """The file of a model's Modelfile; a name's slashes and colons are no file name."""
    return f"{model.replace('/', '_').replace(':', '_')}.modelfile"

"""Where things are on a Linux host. Every path that corral writes is named here."""

from __future__ import annotations

RELEASES = "/opt/ollama"
CURRENT = f"{RELEASES}/current"
DOWNLOADS = f"{RELEASES}/.download"
#: Inside a release: what it was unpacked from, so that a version is known by its digest.
STAMP = ".corral-release"
COMMAND = "/usr/local/bin/ollama"
#: Where COMMAND leads.
PROGRAM = f"{CURRENT}/bin/ollama"
#: Lead to the release that was in use before the current one, and to the one that a rollback has left.
PREVIOUS = f"{RELEASES}/.previous"
LEFT = f"{RELEASES}/.left"
#: Inside a release: why it was found not good on this host.
VERDICT = ".corral-not-good"
#: In front of the name of a release that is being removed.
REMOVING = ".removing-"

USER = "ollama"
#: What the user says of itself in /etc/passwd, so that an uninstall takes away none that was there before.
USER_COMMENT = "Made by corral"
HOME = "/var/lib/ollama"
CACHE = "/var/cache/ollama"
MODELS = f"{HOME}/models"
#: Where the drivers of a GPU are reached: both groups where the system has them.
GPU_GROUPS = ("render", "video")

#: How the unit and the drop-in begin, by which they are known.
MARK = "# Made by corral"
SERVICE = "ollama.service"
UNIT = f"/etc/systemd/system/{SERVICE}"
DROP_IN_DIR = f"{UNIT}.d"
DROP_IN_NAME = "override.conf"
DROP_IN = f"{DROP_IN_DIR}/{DROP_IN_NAME}"
#: Has the service run another release for a trial. No reboot survives it; it is read right behind DROP_IN.
TRIAL = f"/run/systemd/system/{SERVICE}.d/override.conf.trial.conf"
#: Ends a trial whose run has ended without.
TRIAL_GUARD = "corral-trial.service"
SETTINGS = "/etc/ollama"
#: Environment values that are secrets (a proxy's password); read by systemd, by nobody else.
SECRETS = f"{SETTINGS}/secrets.env"
MODELFILES = f"{SETTINGS}/modelfiles"
#: While models are moved to another directory: those that hold some of them; see service.move.
MOVES = f"{SETTINGS}/moving-models"
LOCK = "/run/corral.lock"

#: What a rebuild leaves for NVIDIA's driver.
NOUVEAU_BLOCK = "/etc/modprobe.d/corral-nouveau.conf"
NVIDIA_PREFERENCES = "/etc/apt/preferences.d/corral-nvidia"


def release_dir(version: str) -> str:
    return f"{RELEASES}/{version}"


def modelfile_name(model: str) -> str:
    """The file of a model's Modelfile; a name's slashes and colons are no file name."""
    return f"{model.replace('/', '_').replace(':', '_')}.modelfile"

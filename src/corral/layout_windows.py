"""Where things are on a Windows host. Every path that corral writes is named here."""

from __future__ import annotations

#: Programs: one directory per release, and the name of the one in use.
PROGRAMS = r"C:\Program Files\Ollama"
CURRENT = rf"{PROGRAMS}\current.txt"
#: Runs the release in use; PROGRAMS is on the Machine Path for it. Not by a link: making one takes a right of its own,
#: and a rename does not replace one (learn.microsoft.com, "Create symbolic links" and "MoveFileExW").
COMMAND = rf"{PROGRAMS}\ollama.cmd"
DOWNLOADS = rf"{PROGRAMS}\.download"
#: Inside a release: what it was unpacked from, so that a version is known by its digest.
STAMP = ".corral-release"

#: In front of the name of a release that is being removed.
REMOVING = ".removing-"

STATE = r"C:\ProgramData\Ollama"
START = rf"{STATE}\start.ps1"
#: What the running server was started with, written by START.
STARTED = rf"{STATE}\started.json"
#: Environment values that are secrets (a proxy's password); for SYSTEM and administrators, nobody else.
SECRETS = rf"{STATE}\secrets.txt"
LOGS = rf"{STATE}\logs"
LOG = rf"{LOGS}\server.log"
MODELFILES = rf"{STATE}\modelfiles"
MODELS = rf"{STATE}\models"
#: The server's USERPROFILE: its key lies below it (ollama, cmd/cmd.go, initializeKeypair), and caches of drivers do.
HOME = rf"{STATE}\home"

RUN = r"C:\ProgramData\corral"
TASK_PATH = "\\corral\\"
TASK_NAME = "ollama"
TASK = f"{TASK_PATH}{TASK_NAME}"
RULE_GROUP = "corral"
#: The accounts that the task may run as. Source: learn.microsoft.com, "Well-known SIDs".
SIDS = {"SYSTEM": "S-1-5-18", "LOCAL SERVICE": "S-1-5-19"}
#: The Machine variables that corral has set, with what they were before.
REGISTRY = r"HKLM:\SOFTWARE\corral"


def release_dir(name: str) -> str:
    """Where the release of a version is unpacked."""
    return rf"{PROGRAMS}\{name}"


def rule_name(port: int) -> str:
    """The name of our firewall rule, the same on every host and in every language."""
    return f"corral-ollama-{port}"


def rule_title(port: int) -> str:
    """What people see of it."""
    return f"ollama {port}"

"""Ollama's own install.sh, which lies in its Go module: not ours to keep in this repository."""

from __future__ import annotations

import json
from pathlib import Path

from lab import cache
from lab.building import run
from lab.config import VERSIONS
from lab.progress import Progress
from lab.releases import go_environment

MODULE = "github.com/ollama/ollama"
NAME = "install.sh"
#: What `go mod download` writes of the module.
ANSWER = "module.json"


def ensure_install_script(progress: Progress, version: str = VERSIONS[0]) -> Path:
    """The script as it was when this version was released, fetched as a Go module (30 MB) when missing.

    Raises LabError.
    """

    def fetch(target: Path) -> None:
        scratch = cache.unfinished_directory("install-script")
        log = scratch / "fetch.log"
        with progress.step(f"{NAME} of Ollama {version}", "under a minute") as step:
            environment = go_environment(scratch, log, step) | {"GOFLAGS": "-modcacherw"}
            command = f"go mod download -json {MODULE}@v{version} >{ANSWER}"
            run(["bash", "-c", command], scratch, log, step, environment)
        directory = Path(json.loads((scratch / ANSWER).read_text())["Dir"])
        (target / NAME).write_bytes((directory / "scripts" / NAME).read_bytes())

    return cache.ensure("install-script", [MODULE, version], fetch, progress) / NAME

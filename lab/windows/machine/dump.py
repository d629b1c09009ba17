"""The machine's whole state as a document, for tests that compare before with after."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from .acl import DOCUMENT as ACLS
from .environment import BROADCASTS
from .errors import Win32Error
from .machine import Machine
from .taskxml import render

DEFAULT_KEYS = (
    r"HKEY_LOCAL_MACHINE\SOFTWARE",
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment",
)
DEFAULT_PATHS = (r"C:\Program Files", r"C:\ProgramData")


def dump(
    machine: Machine, keys: tuple[str, ...] = DEFAULT_KEYS, paths: tuple[str, ...] = DEFAULT_PATHS
) -> dict[str, Any]:
    """Registry below `keys`, files below `paths` with their SHA-256, tasks, firewall, access control lists and more."""
    session = machine.system
    return {
        "registry": {key: session.registry.tree(key) if session.registry.exists(key) else None for key in keys},
        "tasks": {
            task.path: {
                "xml": render(task.definition),
                "state": task.state.name,
                "last_result": task.last_result,
                "last_run": task.last_run,
            }
            for task in session.tasks.all()
        },
        "task_folders": session.tasks.folders(),
        "rules": {rule.name: rule.format() for rule in session.firewall.rules()},
        "profiles": {
            name: asdict(session.firewall.profile(name, "ActiveStore")) for name in ("Domain", "Private", "Public")
        },
        "acls": machine.store.read(ACLS),
        "files": {path: _files(machine, path) for path in paths},
        "processes": [asdict(process) for process in machine.processes.all()],
        "services": {service.name: asdict(service) for service in machine.services.all()},
        "volumes": [asdict(volume) for volume in machine.volumes.all()],
        "category": machine.network.category,
        "excluded": [asdict(entry) for entry in machine.network.excluded()],
        "broadcasts": machine.store.read(BROADCASTS, list),
        "settings": asdict(machine.settings),
    }


def _files(machine: Machine, path: str) -> dict[str, Any] | None:
    files = machine.system.files
    if not files.exists(path):
        return None
    found: dict[str, Any] = {}
    for entry in files.walk(path):
        try:
            digest = None if entry.is_directory else hashlib.sha256(entry.host.read_bytes()).hexdigest()
        except (OSError, Win32Error):
            digest = "unreadable"
        found[str(entry.path)] = {"directory": entry.is_directory, "size": entry.size, "sha256": digest}
    return found

"""A Windows host's answer to the probe, for tests: as one on which everything is as wanted, but for what is given."""

from __future__ import annotations

import json
from typing import Any

from corral import layout_windows as layout
from corral.firewall.scope import PRIVATE
from corral.probe.windows import WindowsState, parse
from corral.service import task
from corral.service.wanted import Wanted

STAMP = "ollama-windows-amd64.zip " + "a" * 64
SERVER = rf"{layout.PROGRAMS}\0.34.4\ollama.exe"
WANTED = Wanted(
    environment={"OLLAMA_HOST": "0.0.0.0:11434", "OLLAMA_MODELS": layout.MODELS},
    secrets={},
    models_dir=layout.MODELS,
    release=rf"{layout.PROGRAMS}\0.34.4",
    executable=SERVER,
    account="SYSTEM",
    own_address="127.0.0.1",
    port=11434,
    start_timeout_s=180,
)
CLOSED = "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
OPEN_TO_USERS = "O:BAG:SYD:(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)"
OUR_RULE = {
    "title": "ollama 11434",
    "enabled": "True",
    "direction": "Inbound",
    "action": "Allow",
    "profile": "Any",
    "protocol": "TCP",
    "port": ["11434"],
    # As Windows shows networks: IPv4 with a mask.
    "addresses": ["10.0.0.0/255.0.0.0", "172.16.0.0/255.240.0.0", "192.168.0.0/255.255.0.0", "fc00::/7", "fe80::/10"],
}
OUR_RULE_STORED = (
    "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=11434|RA4=10.0.0.0/255.0.0.0|RA4=172.16.0.0/255.240.0.0|"
    "RA4=192.168.0.0/255.255.0.0|RA6=fc00::/7|RA6=fe80::/10|Name=ollama 11434|EmbedCtxt=corral|"
)
assert len(PRIVATE) == 5


def profile(name: str, **changed: str) -> dict[str, str]:
    usual = {"name": name, "enabled": "True", "inbound": "NotConfigured", "rules": "NotConfigured"}
    return {**usual, "local": "NotConfigured", **changed}


def answer(**changed: Any) -> dict[str, Any]:
    """The probe's document. Keys that are given replace whole parts of it."""
    return {
        "os": {
            "product": "Windows 10 Pro",
            "release": "23H2",
            "build": "22631",
            "revision": "4169",
            "architecture": "AMD64",
            "powershell": "5.1.22621.4111",
            "language": "zh-CN",
            "elevated": True,
            "scripts": "Undefined",
        },
        "boot": "2026-11-20T08:00:00.0000000Z",
        "addresses": ["192.168.1.20/24", "fe80::1/64", "127.0.0.1/8"],
        "drives": [
            {"name": "C:", "kind": 3, "filesystem": "NTFS", "free": "200000000000"},
            {"name": "D:", "kind": 3, "filesystem": "NTFS", "free": "1000000000000"},
        ],
        "ollama": {
            "current": "0.34.4",
            "command": "",
            "start": task.start_script(),
            "started": json.dumps(
                {"pid": 7, "executable": SERVER, "environment": dict(WANTED.environment), "secrets": ""}
            ),
            "secrets": "",
            "secrets_sddl": "",
            "state_sddl": CLOSED,
            "models_sddl": OPEN_TO_USERS,
        },
        "releases": [{"name": "0.34.4", "stamp": STAMP}],
        "strangers": [],
        "manifests": [r"registry.ollama.ai\library\r1\latest"],
        "modelfiles": [],
        "users_own": [],
        "processes": [
            {"pid": 7, "parent": 5, "name": "ollama.exe", "path": SERVER},
            {
                "pid": 9,
                "parent": 7,
                "name": "llama-server.exe",
                "path": rf"{layout.PROGRAMS}\0.34.4\lib\ollama\llama-server.exe",
            },
        ],
        "environment": [
            *({"name": name, "value": value} for name, value in WANTED.environment.items()),
            {"name": "Path", "value": rf"%SystemRoot%\system32;{layout.PROGRAMS}"},
        ],
        "owned": list(WANTED.environment),
        "path_owned": layout.PROGRAMS,
        "task": {"state": "Running", "xml": task.xml("SYSTEM")},
        "listeners": [{"address": "0.0.0.0", "pid": 7, "program": "ollama"}],
        "excluded": ["", "Start Port    End Port", "----------    --------", "      5357        5357"],
        "profiles": [profile(name) for name in ("Domain", "Private", "Public")],
        "rules": [{"id": "corral-ollama-11434", "rule": OUR_RULE_STORED}],
        "policy_rules": [],
        "rule": OUR_RULE,
        "nvidia": None,
        "adapters": [],
        "runners": ["cuda_v13"],
        "failed": {},
        **changed,
    }


def state(**changed: Any) -> WindowsState:
    return parse(json.dumps(answer(**changed)), layout.MODELS)


def ollama(**changed: Any) -> dict[str, Any]:
    """The part of the answer that is about Ollama's files."""
    return {**answer()["ollama"], **changed}

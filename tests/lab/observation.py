"""What a host looks like from inside: read off its own tools and files, never out of corral's answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from lab.hosts import Lab

#: Of Ollama: what the lab's hosts get by default, and the one that is to be had beside it.
VERSION, OLDER = "0.34.4", "0.24.0"
SERVERS = ("rtx4090", "rtx3080", "rtx2070")
STEPS = (
    "Check that the host can be set up",
    "Install the pinned Ollama",
    "Run Ollama as a service",
    "Open the firewall to those meant to use it",
    "Create the models",
    "Load the planned models and compare",
    "Verify from the clients' side",
)
#: Of deploys/models.py.
MODEL_STEPS = (STEPS[0], *STEPS[-3:])
#: Files with owner, mode, size and time; accounts; units; the loaded packet filter with its rules' handles.
#: Left out is what changes by itself: times of directories, logs, caches, what logging in and sudo leave.
SNAPSHOT = r"""
find /etc /opt /usr/local /root /home /tmp /var/lib/ollama /mnt '/mnt/big disk' -xdev \
    \( -type d -printf '%p %y %m %u:%g\n' \) -o -printf '%p %y %m %u:%g %s %T@ %l\n' 2>/dev/null |
    grep -v /.sudo_as_admin_successful
getent passwd; getent group
cat /proc/sys/kernel/random/boot_id
systemctl list-unit-files --no-legend --no-pager | grep -v ' transient '
systemctl show ollama ufw firewalld nftables -p Id -p MainPID -p ActiveState -p NRestarts -p InvocationID
nft --stateless --handle list ruleset
"""

T = TypeVar("T")


def at_once(hosts: Iterable[str], action: Callable[[str], T]) -> dict[str, T]:
    """Does something to several hosts at the same time; what came of it, by host."""
    names = tuple(hosts)
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return dict(zip(names, pool.map(action, names), strict=True))


def snapshot(lab: Lab, host: str) -> list[str]:
    """Everything about a host that a deploy could change, in sorted lines."""
    return sorted(set(lab.exec(host, SNAPSHOT).out.splitlines()))


def difference(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """What is gone and what has come, in lines that a failed assertion shows well."""
    return [f"- {line}" for line in sorted({*before} - {*after})] + [
        f"+ {line}" for line in sorted({*after} - {*before})
    ]


def boot_id(lab: Lab, host: str) -> str:
    return lab.check(host, "cat /proc/sys/kernel/random/boot_id").strip()


def main_pid(lab: Lab, host: str) -> int:
    """Of the server; 0 when it does not run."""
    return int(lab.check(host, "systemctl show ollama -p MainPID --value"))


def server_environment(lab: Lab, host: str) -> dict[str, str]:
    """What the running server was started with."""
    raw = lab.read(host, f"/proc/{main_pid(lab, host)}/environ").decode()
    return dict(pair.split("=", 1) for pair in raw.split("\0") if "=" in pair)


def starts(lab: Lab, host: str, since: float) -> int:
    """How often the server has been started since a time, by its own log."""
    return sum("Listening on" in message for message in lab.journal(host, since, "--unit=ollama"))


def get(lab: Lab, host: str, path: str, body: object = None) -> Any:
    """Asks the server from the host itself; None for an empty answer."""
    data = "" if body is None else "--data @-"
    command = f"curl --silent --show-error --fail --max-time 60 {data} http://127.0.0.1:11434{path}"
    answer = lab.check(host, command, json.dumps(body) if body is not None else "")
    return json.loads(answer) if answer.strip() else None


def models(lab: Lab, host: str) -> dict[str, str]:
    """Name to digest, as `ollama list` has them."""
    return {model["name"]: model["digest"] for model in get(lab, host, "/api/tags")["models"]}


def unload(lab: Lab, host: str) -> None:
    """Has the server give the GPU's memory back."""
    for model in get(lab, host, "/api/ps")["models"]:
        get(lab, host, "/api/generate", {"model": model["name"], "keep_alive": 0, "stream": False})
    deadline = time.monotonic() + 20
    while get(lab, host, "/api/ps")["models"]:
        assert time.monotonic() < deadline, f"{host} does not unload its models"
        time.sleep(0.1)


def reaches(lab: Lab, source: str, address: str) -> bool:
    """Does a machine of the lab get an answer from Ollama at an address?"""
    done = lab.exec(source, f"curl --silent --max-time 3 http://{address}:11434/")
    return done.out == "Ollama is running"


def no_changes(out: str, host: str) -> int:
    """Of how many steps pyinfra says that they changed nothing on a host."""
    return len(re.findall(rf"^\s*\[{re.escape(host)}\] No changes", out, re.MULTILINE))

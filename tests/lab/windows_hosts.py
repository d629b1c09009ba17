"""What tests do to the lab's Windows hosts and see of them, past corral and its connector: their drives as directories
of Debian, the model's whole state as JSON, packets that get in or do not."""

from __future__ import annotations

import base64
import copy
import json
import re
import time
from typing import TYPE_CHECKING, Any

from lab.sandbox import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.hosts import Lab
    from tests.lab.conftest import Inventory

WIN, ZH = "win11", "win11-zh"
ADDRESSES = {WIN: "10.77.0.14", ZH: "10.77.0.15"}
#: As the host's own service runs its code.
PYTHON = ("env", "PYTHONPATH=/usr/local/lib/lab", "python3", "-m")
C, D = "/srv/windows/prefix/drive_c", "/mnt/d"
PROGRAMS, STATE = f"{C}/Program Files/Ollama", f"{C}/ProgramData/Ollama"
#: Of a file at work: logs, and what programs keep for themselves.
_BY_ITSELF = re.compile(r"ProgramData/Ollama/(logs|home|started\.json)|windows/(temp|Temp)|users/[^/]+/(Temp|AppData)")


def machine(lab: Lab, host: str, *words: str, order: object = None) -> Any:
    """Asks the model of the machine, or has it changed: `python3 -m lab.windows.machine` in the host."""
    stdin = "" if order is None else json.dumps(order)
    done = lab.check(host, [*PYTHON, "lab.windows.machine", *words], stdin)
    return json.loads(done) if done.strip() else None


def powershell(lab: Lab, host: str, script: str) -> str:
    """Runs a script on the host as a person would in a console there."""
    encoded = base64.b64encode(script.encode("utf-16-le")).decode()
    line = f"powershell.exe -NoProfile -EncodedCommand {encoded}"
    return lab.check(host, [*PYTHON, "lab.windows.commands", "--", line])


def files(lab: Lab, host: str) -> list[str]:
    """Every file and directory on both drives, with size and time, but for what changes by itself."""
    listed = lab.check(
        host, ["find", C, D, "-xdev", "(", "-type", "d", "-printf", "%p/\\n", ")", "-o", "-printf", "%p %s %T@\\n"]
    )
    return sorted(line for line in listed.splitlines() if not _BY_ITSELF.search(line))


def snapshot(lab: Lab, host: str) -> list[str]:
    """All of a host that a deploy could change, in lines: registry, tasks, rules, rights, services, files, its boot."""
    # The last run's lock goes a moment after its connection.
    wait_for(lambda: lab.exec(host, ["test", "-e", f"{C}/ProgramData/corral"]).rc != 0, 20, f"{host} is still locked")
    seen = machine(lab, host, "dump")
    # What changes by itself; files are listed with their times below.
    for part in ("processes", "volumes", "broadcasts", "files"):
        del seen[part]
    for task in seen["tasks"].values():
        del task["last_run"]
    return [*_lines("", seen), *files(lab, host), boot_id(lab, host)]


def _lines(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(f"{path}/{key}", inner)
    else:
        yield f"{path} {value}"


def boot_id(lab: Lab, host: str) -> str:
    """The Debian host's own: a Windows-like host boots with it."""
    return lab.check(host, "cat /proc/sys/kernel/random/boot_id").strip()


def processes(lab: Lab, host: str) -> list[str]:
    """Command lines of Windows programs that run, as Debian sees them."""
    listed = lab.exec(host, ["ps", "-eo", "args="]).out.splitlines()
    return [line for line in listed if re.match(r"[A-Za-z]:\\", line)]


def server_pid(lab: Lab, host: str) -> int:
    """Of ollama.exe serve, as Debian counts; 0 for none."""
    found = lab.exec(host, ["pgrep", "-f", r"ollama\.exe.* serve"]).out.split()
    return int(found[0]) if found else 0


def server_environment(lab: Lab, host: str) -> dict[str, str]:
    """What the running server says that it was started with, as it reads it."""
    log = lab.read(host, f"{STATE}/logs/server.log").decode()
    said = re.search(r'msg="server config" env="map\[(.*?)\]"', log)
    assert said, log
    return dict(re.findall(r"(OLLAMA_\w+):((?:\S| (?!\w+:))*)", said[1]))


def answers(lab: Lab, viewer: str, host: str, path: str = "/") -> str:
    """What the server says to another machine of the lab; "" where it is not reached."""
    url = f"http://{ADDRESSES[host]}:11434{path}"
    return lab.exec(viewer, ["curl", "--silent", "--max-time", "5", url]).out


def loaded(lab: Lab, host: str) -> list[dict[str, Any]]:
    """What is in memory, as the client hears it."""
    models: list[dict[str, Any]] = json.loads(answers(lab, "client", host, "/api/ps"))["models"]
    return models


def wait_until_serving(lab: Lab, host: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while answers(lab, "client", host) != "Ollama is running":
        assert time.monotonic() < deadline, f"{host} does not serve: {processes(lab, host)}"
        time.sleep(0.5)


def windows_only(inventory: Inventory, *hosts: str) -> Inventory:
    """An inventory of these Windows hosts; the Chinese one is declared like the other but for what is its own."""
    inventory.document["hosts"][WIN] = copy.deepcopy(inventory.windows)
    other = {
        **copy.deepcopy(inventory.windows),
        "address": ADDRESSES[ZH],
        "ssh_user": "管理员",
        "gpus": ["NVIDIA GeForce RTX 2070"],
    }
    inventory.document["hosts"][ZH] = {**other, "models_dir": r"D:\模型\Ollama 模型"}
    return inventory.only(*hosts)

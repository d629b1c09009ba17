"""The machine from the host's own side: made, started, watched, made to fail, looked at. Answers are JSON.

python3 -m lab.windows.machine create '{"drives": {"C": "/path"}, "settings": {"computer": "PC"}}'
python3 -m lab.windows.machine serve                          boot, then watch; what the host's service runs
python3 -m lab.windows.machine fault set-build '{"build": 17763}'
python3 -m lab.windows.machine dump ['{"keys": [...], "paths": [...]}']
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from lab.windows.commands.launcher import host_machine

from . import faults, supervisor
from .dump import DEFAULT_KEYS, DEFAULT_PATHS, dump
from .hives import Adapter
from .machine import STATE, Machine, Settings

WATCH_S = 1.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab.windows.machine", description=__doc__)
    parser.add_argument("--state", type=Path, default=STATE, help=f"the machine's directory ({STATE})")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("create").add_argument("document")
    verbs.add_parser("boot")
    verbs.add_parser("serve")
    fault = verbs.add_parser("fault")
    fault.add_argument("name", choices=sorted(faults.FAULTS))
    fault.add_argument("document", nargs="?", default="{}")
    verbs.add_parser("dump").add_argument("document", nargs="?", default="{}")
    task = verbs.add_parser("run-task")
    task.add_argument("path")
    task.add_argument("mark")
    hold = verbs.add_parser("hold")
    hold.add_argument("ports")
    hold.add_argument("--listen", action="store_true")
    given = parser.parse_args(arguments)
    if given.verb == "hold":
        faults.hold([int(port) for port in given.ports.split(",")], given.listen)
    if given.verb == "create":
        wanted = json.loads(given.document)
        settings = dict(wanted.get("settings", {}))
        settings["adapters"] = tuple(Adapter(**adapter) for adapter in settings.get("adapters", ()))
        drives = {letter: Path(directory) for letter, directory in wanted["drives"].items()}
        Machine.create(given.state, drives, Settings(**settings))
        return 0
    machine = host_machine(given.state)
    if given.verb == "boot":
        _boot(machine)
    elif given.verb == "serve":
        _boot(machine)
        while True:
            machine.tick()
            time.sleep(WATCH_S)
    elif given.verb == "fault":
        answer = faults.FAULTS[given.name](machine, **json.loads(given.document))
        json.dump(answer, sys.stdout)
    elif given.verb == "dump":
        wanted = json.loads(given.document)
        keys = tuple(wanted.get("keys", DEFAULT_KEYS))
        paths = tuple(wanted.get("paths", DEFAULT_PATHS))
        json.dump(dump(machine, keys, paths), sys.stdout, ensure_ascii=False)
    elif given.verb == "run-task":
        supervisor.run(machine, given.path, given.mark)
    return 0


def _boot(machine: Machine) -> None:
    machine.boot()
    faults.restore(machine)


if __name__ == "__main__":
    sys.exit(main())

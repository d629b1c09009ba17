"""The lab's command line: `python -m lab --help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from lab.config import MAX_BENCH_HOSTS, ON_DEMAND, VERSIONS, Layout, choose_hosts, find_host
from lab.errors import LabError
from lab.hosts import Lab
from lab.progress import Progress


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="lab", description="Throwaway hosts on one machine.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="bring the lab up, or what of it is missing")
    up.add_argument("--hosts", nargs="+", metavar="HOST", help=f"only these (default: all but {', '.join(ON_DEMAND)})")
    up.add_argument("--also", nargs="+", default=[], metavar="HOST", help="and these")
    up.add_argument("--count", type=int, default=0, metavar="N", help=f"and N bench hosts (up to {MAX_BENCH_HOSTS})")
    up.add_argument(
        "--releases", nargs="+", default=[VERSIONS[0]], choices=VERSIONS, metavar="VERSION",
        help=f"releases of Ollama on the mirror, of {', '.join(VERSIONS)} (default: %(default)s)",
    )  # fmt: skip
    commands.add_parser("down", help="take the lab (this checkout's all) down and leave nothing but the cache")
    commands.add_parser("status", help="list the hosts and what they are doing")

    for name, text in (
        ("reset", "make hosts as bare as at first"),
        ("reboot", "reboot hosts"),
        ("kill", "cut hosts' power"),
        ("boot", "switch hosts on"),
        ("off", "shut hosts down"),
        ("cut", "pull hosts' network cable (until uncut, or boot)"),
        ("uncut", "plug it in again"),
    ):
        commands.add_parser(name, help=text).add_argument("hosts", nargs="+", metavar="HOST")

    execute = commands.add_parser("exec", help="run a command as root on a host, without ssh")
    execute.add_argument("host")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD ...")
    commands.add_parser("console", help="show what a host wrote on its console").add_argument("host")
    journal = commands.add_parser("journal", help="show a host's journal")
    journal.add_argument("host")
    journal.add_argument("words", nargs=argparse.REMAINDER, metavar="-- JOURNALCTL-OPTION ...")

    delay = commands.add_parser("delay", help="make the way from the controller to the hosts slow")
    delay.add_argument("milliseconds", type=float, help="added to each round trip; 0: none")
    hold = commands.add_parser("gpu-hold", help="have a program take memory of a host's first GPU")
    hold.add_argument("host")
    hold.add_argument("mib", type=int)
    commands.add_parser("gpu-free", help="end that program").add_argument("host")
    run = commands.add_parser("run", help="run a command on the controller (what lab/run does)")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD ...")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    os.umask(0o022)  # what is made here becomes part of hosts' file systems
    try:
        return act(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def act(options: argparse.Namespace) -> int:
    """Carries one command out; returns the exit status. Imports what only some commands need."""
    lab = Lab()
    words = _without_dashes(getattr(options, "words", []))
    match options.command:
        case "up":
            from lab.up import bring_up

            bring_up(lab.layout, choose_hosts(options.hosts, options.count, options.also), options.releases, Progress())
        case "down":
            from lab.up import take_down

            for layout in [lab.layout] if lab.layout.name else Layout.all():
                take_down(layout, Progress())
        case "status":
            return _status(lab)
        case "exec":
            _become(lab.enter(options.host, words or ["bash", "--login"]))
        case "journal":
            _become(lab.enter(options.host, ["journalctl", "--no-pager", *words]))
        case "console":
            print(lab.files(options.host).console.read_text(errors="replace"), end="")
        case "run":
            from lab import controller

            controller.run(words or [os.environ.get("SHELL", "bash")])
        case "delay":
            lab.delay(options.milliseconds)
        case "gpu-hold":
            lab.hold_gpu(options.host, options.mib)
        case "gpu-free":
            lab.free_gpu(options.host)
        case action:
            for host in [find_host(name) for name in options.hosts]:
                getattr(lab, action)(host.name)
    return 0


def _status(lab: Lab) -> int:
    from rich.console import Console
    from rich.table import Table

    if not lab.sandbox.is_up:
        print("The lab is not up; `make lab` brings it up.")
        return 1
    table = Table("host", "address", "ssh", "system", "firewall", "GPU", "state", box=None)
    for host in lab.hosts():
        gpus = ", ".join(f"{gpu.name} {gpu.memory_mib} MiB" for gpu in host.gpus)
        login = f"{host.user}, port {host.ssh_port}"
        table.add_row(
            host.name, host.address, login, host.system, host.firewall, gpus or "-",
            lab.state(host.name),
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


def _become(command: list[str]) -> NoReturn:
    """Signals and the terminal go straight to the command."""
    sys.stdout.flush()
    os.execvp(command[0], command)


def _without_dashes(words: list[str]) -> list[str]:
    return words[1:] if words[:1] == ["--"] else words


if __name__ == "__main__":
    sys.exit(main())

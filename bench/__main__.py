"""Prints how long a cold run and a second one take on 1, 3 and 10 hosts, next to `ssh HOST true` on the same hosts.

    lab/run python -m bench [--counts 1 3 10] [--delays 0 20]

The hosts are the lab's bench hosts, all alike (`python -m lab up --count 10`); they are switched off afterwards.
Cold run, second run and ssh follow each other on the same hosts with the same delay.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from lab.config import Host, Layout, bench_hosts
from lab.hosts import Lab, each

ROOT = Path(__file__).resolve().parents[1]
COUNTS, DELAYS_MS = (1, 3, 10), (0.0, 20.0)
#: The median of these counts. A cold run is measured once: hosts would have to be reset in between.
SECOND_RUNS, SSH_RUNS = 3, 5
MODEL = {
    "name": "r1",
    "from": "deepseek-r1:7b",
    "template": "deepseek-r1",
    "parameters": {"num_ctx": 4096, "temperature": 0.6},
}


@dataclass(frozen=True)
class Times:
    """Seconds for so many hosts at once, with so much delay added to every round trip to them."""

    hosts: int
    delay_ms: float
    cold_s: float
    second_s: float
    ssh_s: float


def main() -> int:
    options = _options()
    most = max(options.counts)
    lab, hosts = Lab(), bench_hosts(most)
    missing = {host.name for host in hosts} - {host.name for host in lab.hosts()}
    if missing:
        print(f"bench: {len(missing)} hosts are missing; `python -m lab up --count {most}` makes them", file=sys.stderr)
        return 1
    found: list[Times] = []
    with _cleaned_up(lab, hosts), tempfile.TemporaryDirectory() as directory:
        for delay_ms in options.delays:
            for count in options.counts:
                found.append(measure(lab, hosts[:count], delay_ms, Path(directory)))
                print(_line(found[-1]), file=sys.stderr, flush=True)
    Console(width=None if sys.stdout.isatty() else 120).print(table(found))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="How long runs take, next to ssh HOST true.")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, metavar="N", help="numbers of hosts")
    parser.add_argument(
        "--delays", type=float, nargs="+", default=DELAYS_MS, metavar="MS", help="delays added to each round trip"
    )
    return parser.parse_args()


@contextmanager
def _cleaned_up(lab: Lab, hosts: Sequence[Host]) -> Iterator[None]:
    """In the end there is no delay, and the hosts are off and empty."""
    each(hosts, lambda host: lab.kill(host.name))
    try:
        yield
    finally:
        lab.delay(0)
        each(hosts, lambda host: lab.reset(host.name, wait=False))
        each(hosts, lambda host: lab.kill(host.name))


def measure(lab: Lab, hosts: Sequence[Host], delay_ms: float, directory: Path) -> Times:
    """Bare hosts set up, looked at again, and merely logged in to."""
    lab.delay(0)
    each(hosts, lambda host: lab.reset(host.name))
    lab.delay(delay_ms)
    inventory = directory / "bench.yml"
    inventory.write_text(_inventory(hosts))
    cold_s = deploy(inventory)
    second_s = statistics.median(deploy(inventory) for _ in range(SECOND_RUNS))
    ssh_s = statistics.median(ssh(hosts) for _ in range(SSH_RUNS))
    return Times(len(hosts), delay_ms, cold_s, second_s, ssh_s)


def _inventory(hosts: Sequence[Host]) -> str:
    lab_document = yaml.safe_load((ROOT / "inventory/lab.yml").read_text())
    document = {
        "defaults": {**lab_document["defaults"], "ollama_pins": str(Layout().pins)},
        "hosts": {
            host.name: {
                "address": host.address,
                "ssh_user": host.user,
                "ssh_connect_retries": 3,  # ten hosts that boot at once on two cores are slow to greet
                "gpus": [gpu.name for gpu in host.gpus],
                "models": [MODEL],
            }
            for host in hosts
        },
        "clients": {"client": lab_document["clients"]["client"]},
    }
    return yaml.safe_dump(document, sort_keys=False)


def deploy(inventory: Path) -> float:
    """Seconds of one `pyinfra -y inventory.py deploys/r1.py`, from its start to its end."""
    command = ["pyinfra", "-y", "inventory.py", "deploys/r1.py"]
    begun = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "CORRAL_INVENTORY": str(inventory)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}")
    return seconds


def ssh(hosts: Sequence[Host]) -> float:
    """Seconds of `ssh HOST true` on all hosts at the same time, until the last one has ended."""
    begun = time.monotonic()
    running = [subprocess.Popen(["ssh", host.name, "true"], stdin=subprocess.DEVNULL) for host in hosts]
    codes = [process.wait() for process in running]
    seconds = time.monotonic() - begun
    if any(codes):
        raise SystemExit(f"ssh failed: {dict(zip((host.name for host in hosts), codes, strict=True))}")
    return seconds


def table(times: Sequence[Times]) -> Table:
    columns = ("hosts", "added delay", "cold run", "second run", "ssh HOST true", "cold : ssh", "second : ssh")
    result = Table(*columns, box=None)
    for row in times:
        result.add_row(
            str(row.hosts), f"{row.delay_ms:.0f} ms", f"{row.cold_s:.1f} s", f"{row.second_s:.2f} s",
            f"{row.ssh_s:.3f} s", f"{row.cold_s / row.ssh_s:.0f}", f"{row.second_s / row.ssh_s:.1f}",
        )  # fmt: skip
    return result


def _line(row: Times) -> str:
    return (
        f"{row.hosts} hosts, {row.delay_ms:.0f} ms: cold {row.cold_s:.1f} s, second {row.second_s:.2f} s, "
        f"ssh {row.ssh_s:.3f} s"
    )


if __name__ == "__main__":
    sys.exit(main())

"""How far the planner's numbers are from measured ones, and how fast it plans:  python -m bench.planner

Prints what `corral accuracy` says of the published measurements, and the time for so many hosts with one, two or
four cards of common sizes of which each has another amount of free memory.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from corral import accuracyview
from corral.planner import accuracy
from corral.planner.cards import Card
from corral.planner.choice import Machine, choose, wishes_for
from corral.planner.memory import MIB, Backend

MEASURED = Path(__file__).parents[1] / "tests" / "data" / "vram-measured.csv"
SIZES_GIB = (8, 10, 11, 12, 16, 22, 24, 32, 48)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=10_000, metavar="N", help="hosts to plan for")
    options = parser.parse_args()
    accuracyview.show(accuracy.compare(MEASURED))
    machines = [machine(random.Random(number)) for number in range(options.hosts)]
    wishes = wishes_for()
    begun = time.perf_counter()
    for each in machines:
        choose(each, wishes)
    print(f"plans for {len(machines)} hosts: {time.perf_counter() - begun:.2f} s")


def machine(chance: random.Random) -> Machine:
    """A host with cards of one size, of which a desktop or another program has taken some."""
    total_mib = chance.choice(SIZES_GIB) * 1024
    free_mib = total_mib - chance.randrange(200, 800)
    card = Card("card", total_mib * MIB, free_mib * MIB, 500.0, Backend.CUDA, 8.6)
    return Machine((card,) * chance.choice((1, 1, 1, 2, 4)))


if __name__ == "__main__":
    main()

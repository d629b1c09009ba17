"""Power cuts at moments that a seed chooses, and how many of them were survived.

@pytest.mark.parametrize("seed", SEEDS)
def test_...(seed, lab, inventory, start, deploy, record_property):
    record_property(POWER_CUT, "upgrade")          # counted in the report's end: "upgrade: 10 tried, 10 survived"
    run = Watched(start(inventory, "upgrade"))
    cut_power(lab, HOST, run, moment(seed, STAGES))
    ...                                            # the host serves the old or the new state
    assert_converged(deploy(inventory, "upgrade"), lab, HOST)
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.expect import Watched

#: Ten, or as many as CORRAL_SEEDS says: each takes a host half a minute to two. In an order in which few of them
#: are of all stages, too, and even ones alternate with odd ones.
SEEDS = tuple(3 * number % 10 for number in range(int(os.environ.get("CORRAL_SEEDS", "10"))))
#: Under this name a test records what it cuts.
POWER_CUT = "power cut"


class Moment(NamedTuple):
    """So many seconds after a run has said a word for the first time."""

    word: str
    delay_s: float


def moment(seed: int, stages: Sequence[Moment]) -> Moment:
    """A moment in one of the stages, each of which gets its turn; stages: what is said when one begins, and how long it
    takes at the longest."""
    stage = stages[seed % len(stages)]
    return Moment(stage.word, random.Random(seed).uniform(0, stage.delay_s))


def cut_power(lab: Lab, host: str, run: Watched, when: Moment) -> None:
    """Cut a host's power in the middle of a run, let the run end, and switch the host on again.

    What the machine had not yet written to its disk is not lost with it here.
    """
    run.until(when.word)
    time.sleep(when.delay_s)
    lab.kill(host)
    lab.boot(host)
    run.end()
    assert "Traceback" not in run.out, run.out


def survived(reports: Iterable[pytest.TestReport]) -> Mapping[str, tuple[int, int]]:
    """What was cut, to the number of cases that were tried and of those that were survived."""
    tried: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for report in reports:
        for name, what in report.user_properties:
            if name == POWER_CUT and report.when == "call":
                tried[str(what)] += 1
                passed[str(what)] += report.passed
    return {what: (count, passed[what]) for what, count in sorted(tried.items())}

"""Runs and hosts that are cut off in the middle, wherever that is: the next run finishes what was begun."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from lab.sandbox import wait_for
from tests.lab.conftest import Inventory, end, launch
from tests.lab.expect import (
    INTERRUPTED,
    Watched,
    assert_changed_nothing,
    assert_converged,
    assert_left_whole,
    left_running,
    resumed_at,
    said_once,
    wait_for_file,
)
from tests.lab.observation import VERSION
from tests.lab.tracing import appearances

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Start

ASSET = "ollama-linux-amd64.tar.zst"
#: Lines that are about no change, or come between the lines of one within a moment.
BESIDE = ("Connected", "Ready:", "Success", "No changes", "existing layer", "new layer", "writing manifest", "success")
#: In bytes per second. The release takes twenty seconds at SLOW, and a model, which is smaller, ten at SLOWER.
MODERATE, SLOW, SLOWER = 6_000_000, 1_000_000, 100_000
PARTIAL = "/opt/ollama/.download/*.partial"


def place(line: str) -> str:
    """The words of a line about a host, without what differs from run to run: reasons in brackets, numbers."""
    return re.sub(r"\([^)]*\)|[0-9.]+", "", line.partition("]")[2]).strip()


@pytest.fixture(scope="module")
def cut_off(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Inventory, Watched]]:
    """A run on rtx2070 whose cable was cut in the middle of a download. Each end takes more than a minute to notice, in
    which there is time for another host."""
    inventory = Inventory(tmp_path_factory.mktemp("cut-off")).only("rtx2070")
    lab.reset("rtx2070")
    lab.mirror.set(bytes_per_second=SLOW)
    process = launch(inventory)
    try:
        wait_for_file(lab, "rtx2070", PARTIAL)
        lab.cut("rtx2070")
        lab.mirror.reset()
        yield inventory, Watched(process)
    finally:
        lab.uncut("rtx2070")
        end(process)


@pytest.mark.usefixtures("cut_off")
def test_a_run_that_is_killed_at_any_step_is_finished_by_later_ones(
    lab: Lab, inventory: Inventory, start: Start, deploy: Deploy
) -> None:
    """Killed as soon as it announces a change, or a part of one, that no run before has come to: so at the start of
    each, which is the end of the one before."""
    lab.reset("rtx3080")
    inventory.only("rtx3080")
    passed: list[str] = []
    while True:
        run = Watched(start(inventory))
        number, new = 0, ""
        while not new and (line := run.next(number)) is not None:
            number += 1
            if "[rtx3080]" in line and not any(word in line for word in BESIDE) and place(line) not in passed:
                new = place(line)
        if not new:
            break
        run.kill()
        passed.append(new)
        assert_left_whole(lab, "rtx3080")
    assert run.end() == 0, run.out
    for step in ("system user", "download", "switch", "write", "enable", "allow", "pull", "make the model", "verified"):
        assert any(step in words for words in passed), f"never killed at {step!r}: {passed}"

    second = deploy(inventory)

    assert_converged(second, lab, "rtx3080")
    assert_changed_nothing(second, "rtx3080")


def test_a_cut_cable_ends_the_run_at_both_ends(lab: Lab, cut_off: tuple[Inventory, Watched], deploy: Deploy) -> None:
    inventory, run = cut_off
    assert run.end(240) not in (0, 130), run.out
    assert "the connection broke" in run.out
    assert "Traceback" not in run.out
    assert left_running(lab, "rtx2070", 240) == ""
    lab.uncut("rtx2070")
    assert_converged(deploy(inventory), lab, "rtx2070")


def test_what_others_read_appears_whole_in_one_rename(lab: Lab, inventory: Inventory, deploy: Deploy) -> None:
    """So that no moment at which a run or a host is cut off can leave half of it."""
    lab.reset("rtx2070")
    files = (
        f"/opt/ollama/{VERSION}",
        "/opt/ollama/current",
        "/usr/local/bin/ollama",
        "/etc/systemd/system/ollama.service",
        "/etc/systemd/system/ollama.service.d/override.conf",
        "/etc/ollama/modelfiles/r1_latest.modelfile",
        "/etc/nftables.conf",
    )
    lab.check("rtx2070", ["mkdir", "-p", *{str(PurePosixPath(file).parent) for file in files}])

    with appearances(lab, "rtx2070", files) as found:
        assert_converged(deploy(inventory.only("rtx2070")), lab, "rtx2070")

    assert found == {file: ["MOVED_TO"] for file in files}


def test_a_run_that_is_killed_in_the_middle_of_a_download_is_resumed_where_it_stopped(
    lab: Lab, inventory: Inventory, start: Start, deploy: Deploy
) -> None:
    lab.reset("rtx2070")
    inventory.only("rtx2070")
    lab.mirror.set(bytes_per_second=SLOW)
    run = Watched(start(inventory))
    wait_for_file(lab, "rtx2070", PARTIAL)
    time.sleep(1)

    run.kill()

    assert_left_whole(lab, "rtx2070")
    size = int(lab.check("rtx2070", f"stat -c %s {PARTIAL}"))
    assert size > 0
    lab.mirror.reset()
    begun = time.time()
    assert_converged(deploy(inventory), lab, "rtx2070")
    assert resumed_at(lab, ASSET, begun) == [size]


def test_a_run_that_is_killed_in_the_middle_of_a_pull_is_resumed_where_it_stopped(
    lab: Lab, inventory: Inventory, start: Start, deploy: Deploy
) -> None:
    inventory.only("rtx2070")
    assert_converged(deploy(inventory), lab, "rtx2070")
    lab.exec("rtx2070", "ollama rm r1 deepseek-r1:8b deepseek-r1:7b")
    inventory.host("rtx2070")["models"][0]["from"] = "deepseek-r1:8b"
    lab.mirror.set(bytes_per_second=SLOWER)
    run = Watched(start(inventory))
    partial = "/var/lib/ollama/models/blobs/*-partial"
    wait_for_file(lab, "rtx2070", partial)
    time.sleep(1.5)

    run.kill()

    assert_left_whole(lab, "rtx2070")
    blob = lab.check("rtx2070", f"basename {partial} -partial").strip().replace("-", ":")
    used = lab.check("rtx2070", f"du -B1 {partial} | cut -f1")
    time.sleep(1)
    assert lab.check("rtx2070", f"du -B1 {partial} | cut -f1") == used, "the server goes on pulling for nobody"
    lab.mirror.reset()
    begun = time.time()
    assert_converged(deploy(inventory), lab, "rtx2070")
    assert all(resumed_at(lab, blob, begun))
    assert resumed_at(lab, blob, begun) != []


def test_ctrl_c_ends_with_exit_code_130_and_one_sentence(
    lab: Lab, inventory: Inventory, start: Start, deploy: Deploy
) -> None:
    lab.reset("rtx4090")
    inventory.only("rtx4090")
    lab.mirror.set(bytes_per_second=SLOW)
    run = Watched(start(inventory))
    wait_for_file(lab, "rtx4090", PARTIAL)

    os.killpg(run.process.pid, signal.SIGINT)

    assert run.end(20) == 130
    assert run.out.count(INTERRUPTED) == 1
    assert "Traceback" not in run.out
    assert_left_whole(lab, "rtx4090")


def test_a_second_run_on_a_host_is_told_who_is_at_work_and_the_first_one_finishes(
    lab: Lab, inventory: Inventory, start: Start, deploy: Deploy
) -> None:
    lab.reset("rtx4090")
    inventory.only("rtx4090")
    lab.mirror.set(bytes_per_second=MODERATE)
    first = Watched(start(inventory))
    wait_for_file(lab, "rtx4090", PARTIAL)
    lab.check("rtx4090", "pkill -STOP -x curl")

    second = deploy(inventory)

    lab.check("rtx4090", "pkill -CONT -x curl")
    assert second.rc != 0
    assert re.search(r"by \w+ on \S+ since \d{4}-", said_once(second, "rtx4090", "another corral run", "Wait"))
    assert "download" not in second.about("rtx4090")
    assert first.end() == 0, first.out
    assert "verified: Ollama" in first.out


def test_a_host_that_loses_power_in_the_middle_is_finished_by_later_runs(
    lab: Lab, inventory: Inventory, start: Start, deploy: Deploy
) -> None:
    """The power goes; what the machine had not yet written to its disk is not lost with it here."""
    lab.reset("rtx4090")
    inventory.only("rtx4090")
    for moment in ("downloading", "switch", "start ollama.service", "make the model"):
        run = Watched(start(inventory))
        run.until(moment)

        lab.kill("rtx4090")
        lab.boot("rtx4090")

        assert run.end() not in (0, 130), run.out
        assert run.out.lower().count("run again") == 1, run.out
        assert "Traceback" not in run.out
        assert_left_whole(lab, "rtx4090")
    assert_converged(deploy(inventory), lab, "rtx4090")


def test_a_cable_that_is_back_after_some_seconds_costs_nothing(lab: Lab, inventory: Inventory, start: Start) -> None:
    lab.reset("rtx4090")
    lab.mirror.set(bytes_per_second=MODERATE)
    run = Watched(start(inventory.only("rtx4090")))
    wait_for_file(lab, "rtx4090", PARTIAL)

    lab.cut("rtx4090")
    time.sleep(5)
    lab.uncut("rtx4090")

    assert run.end() == 0, run.out
    assert "verified: Ollama" in run.out
    wait_for(lambda: left_running(lab, "rtx4090") == "", 10, "something runs on")

"""From one release of Ollama to another and back: tried while the disk says the old one, kept only if it is good.

0.24.0 and 0.34.4 are real. Those numbered 0.36.x are made of 0.34.4 by bad-releases.sh, and stand in for what upstream
may bring: a good one, and some that are not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.mirror import Cut
from lab.sandbox import wait_for
from tests.lab.conftest import Inventory, need_release
from tests.lab.expect import (
    ARCHIVE,
    HALVES,
    Watched,
    assert_changed_nothing,
    assert_converged,
    finished,
    one_error,
    said_once,
)
from tests.lab.observation import OLDER, VERSION, get, main_pid, models, snapshot, starts
from tests.lab.power import POWER_CUT, SEEDS, Moment, cut_power, moment

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Start

pytestmark = pytest.mark.usefixtures("bare_afterwards")

HOST, OTHER = "rtx2070", "rtx4090"
GOOD, NO_ENGINE, NO_START, NO_SENSE = "0.36.0", "0.36.1", "0.36.2", "0.36.3"
SCRIPT = Path(__file__).with_name("bad-releases.sh")
TRIAL = "/run/systemd/system/ollama.service.d/override.conf.trial.conf"
#: Bytes per second: a download takes some seconds.
MODERATE = 4_000_000


@pytest.fixture(scope="module")
def pins(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The mirror has the made releases too; their pins and those of the lab."""
    need_release(lab, OLDER)
    made = lab.check("mirror", ["bash", "-s"], SCRIPT.read_text())
    file = tmp_path_factory.mktemp("pins") / "pins.yml"
    file.write_text(lab.layout.pins.read_text() + made)
    yield file
    lab.check("mirror", "umount /srv/releases")


@pytest.fixture
def declared(inventory: Inventory, pins: Path) -> Inventory:
    """One host, with pins for all releases."""
    inventory.document["defaults"]["ollama_pins"] = str(pins)
    return inventory.only(HOST)


def wants(inventory: Inventory, version: str, *hosts: str) -> Inventory:
    for host in hosts or (HOST,):
        inventory.set(host, ollama_version=version)
    return inventory


def serves(lab: Lab, host: str = HOST) -> str:
    """The version of the server that runs; "" for none that answers."""
    done = lab.exec(host, "curl --silent --fail --max-time 2 http://127.0.0.1:11434/api/version")
    return done.out.partition('"version":"')[2].partition('"')[0]


def in_use(lab: Lab, host: str = HOST) -> str:
    return lab.check(host, "readlink /opt/ollama/current").strip().removeprefix("/opt/ollama/")


def kept(lab: Lab, host: str = HOST) -> set[str]:
    return set(lab.check(host, "ls /opt/ollama").split()) - {"current"}


def settled(lab: Lab, host: str = HOST) -> None:
    """Wait until a guard has ended the trial of a run that is gone."""
    wait_for(lambda: lab.exec(host, f"test -e {TRIAL}").rc != 0, 60, "the trial does not end")
    wait_for(lambda: lab.exec(host, "systemctl is-active --quiet corral-trial").rc != 0, 60, "the guard stays")


@pytest.fixture
def on_older(lab: Lab, declared: Inventory, deploy: Deploy) -> Inventory:
    """The host serves 0.24.0 and has no other release."""
    lab.check(HOST, "rm -rf /opt/ollama/0.3* /opt/ollama/.[a-z]*")
    wants(declared, OLDER)
    assert_converged(deploy(declared), lab, HOST)
    assert kept(lab) == {OLDER}
    return declared


@contextmanager
def watched(look: Callable[[], str]) -> Iterator[list[tuple[float, str]]]:
    """Looks again and again: times and what was seen."""
    seen: list[tuple[float, str]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append((time.monotonic(), look()))
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_an_upgrade_is_shown_made_seen_and_not_made_again_and_so_is_the_way_back_and_up(
    lab: Lab, on_older: Inventory, deploy: Deploy
) -> None:
    """Between two real generations, with a model in place that is not fetched or made again."""
    before, digests, since = snapshot(lab, HOST), models(lab, HOST), time.time()
    wants(on_older, VERSION)
    dry = deploy(on_older, "upgrade", dry=True)
    assert dry.rc == 0, dry.out
    for change in (f"would download https://mirror.lab/releases/v{VERSION}", f"would switch to Ollama {VERSION}"):
        assert change in dry.about(HOST)
    assert snapshot(lab, HOST) == before
    lab.mirror.set(bytes_per_second=MODERATE)
    with watched(lambda: serves(lab)) as seen:
        up = deploy(on_older, "upgrade")
    lab.mirror.reset()
    assert_converged(up, lab, HOST)
    assert f"Ollama {VERSION} reads 2 models and generates with r1" in up.about(HOST)
    answers = [version for _, version in seen]
    gap = [moment for moment, version in seen if not version]
    assert set(answers) == {OLDER, "", VERSION}
    assert answers.index("") > 20, "the old release did not serve during the download"
    print(f"no answer for {gap[-1] - gap[0]:.1f} s of {seen[-1][0] - seen[0][0]:.1f} s")
    assert (serves(lab), in_use(lab), starts(lab, HOST, since)) == (VERSION, VERSION, 1)
    again = deploy(on_older, "upgrade")
    assert_changed_nothing(again, HOST)
    for version in (OLDER, VERSION):
        assert_converged(deploy(wants(on_older, version), "upgrade"), lab, HOST)
        assert (serves(lab), in_use(lab)) == (version, version)
    assert models(lab, HOST) == digests
    fetched = [one.path for one in lab.mirror.requests(since) if one.method == "GET"]
    assert fetched == [f"/releases/v{VERSION}/ollama-linux-amd64.tar.zst"]


@pytest.mark.parametrize(
    ("bad", "reason", "log"),
    [
        (NO_ENGINE, "generating with r1: Ollama answers", "llama-server binary not found"),
        (NO_START, "Ollama does not come up as ollama.service", "this release was made not to start"),
        (NO_SENSE, "it says that it is Ollama 9.99.9", "9.99.9"),
    ],
)
def test_a_host_goes_back_by_itself_from_a_release_that_is_not_good(
    lab: Lab, declared: Inventory, deploy: Deploy, bad: str, reason: str, log: str
) -> None:
    assert_converged(deploy(wants(declared, VERSION)), lab, HOST)
    digests, files = models(lab, HOST), lab.check(HOST, "sha256sum /etc/systemd/system/ollama.service{,.d/*}")
    wants(declared, bad).set(HOST, environment={"OLLAMA_KEEP_ALIVE": "17m"})

    run = deploy(declared, "upgrade")

    one_error(run, HOST, f"Ollama {bad} is not good on this host: {reason}", f"Ollama {VERSION} serves again")
    assert log in run.out
    assert (serves(lab), in_use(lab)) == (VERSION, VERSION)
    assert lab.check(HOST, "sha256sum /etc/systemd/system/ollama.service{,.d/*}") == files
    assert lab.exec(HOST, f"test -e {TRIAL}").rc != 0
    assert models(lab, HOST) == digests
    assert get(lab, HOST, "/api/generate", {"model": "r1", "prompt": "Hi", "stream": False})["done"]
    assert "was found not good on this host before" in deploy(declared, "upgrade").about(HOST)
    assert_converged(deploy(wants(declared, VERSION).set(HOST, environment=None), "upgrade"), lab, HOST)


def test_a_rollback_goes_to_the_release_in_use_before_and_says_how_to_stay(
    lab: Lab, on_older: Inventory, deploy: Deploy
) -> None:
    one_error(deploy(on_older, "rollback"), HOST, "no release is kept", "keep_versions")
    assert_converged(deploy(wants(on_older, VERSION), "upgrade"), lab, HOST)
    before, since = snapshot(lab, HOST), time.time()
    dry = deploy(on_older, "rollback", dry=True)
    assert f"would go back to Ollama {OLDER} (was {VERSION})" in dry.about(HOST)
    assert snapshot(lab, HOST) == before
    done = deploy(on_older, "rollback")
    assert_converged(done, lab, HOST)
    said_once(done, HOST, f"declare ollama_version: {OLDER} to stay with it")
    assert (serves(lab), in_use(lab), kept(lab)) == (OLDER, OLDER, {OLDER, VERSION})
    again = deploy(on_older, "rollback")
    assert_changed_nothing(again, HOST)
    said_once(again, HOST, f"already back at /opt/ollama/{OLDER} from /opt/ollama/{VERSION}")
    up = deploy(on_older, "upgrade")
    said_once(up, HOST, f"has gone back from Ollama {VERSION} before")
    assert_converged(up, lab, HOST)
    assert lab.mirror.requests(since) == []


def test_as_many_releases_stay_as_are_declared_and_nothing_of_anybody_elses_goes(
    lab: Lab, on_older: Inventory, deploy: Deploy
) -> None:
    lab.write(HOST, "/opt/ollama/mine/notes", "mine")
    assert_converged(deploy(wants(on_older, VERSION), "upgrade"), lab, HOST)
    wants(on_older, GOOD)
    assert f"would remove /opt/ollama/{OLDER} (keep_versions is 2)" in deploy(on_older, "upgrade", dry=True).about(HOST)
    assert_converged(deploy(on_older, "upgrade"), lab, HOST)
    assert kept(lab) == {GOOD, VERSION, "mine"}
    on_older.set(HOST, keep_versions=1)
    run = deploy(on_older)
    assert_converged(run, lab, HOST)
    assert f"remove /opt/ollama/{VERSION} (keep_versions is 1)" in run.about(HOST)
    assert kept(lab) == {GOOD, "mine"}
    assert_changed_nothing(deploy(on_older), HOST)
    lab.check(HOST, "rm -r /opt/ollama/mine")


@pytest.mark.parametrize("option", [(), ("--serial",), ("--no-wait",)])
def test_after_the_first_host_that_fails_no_other_is_upgraded(
    lab: Lab, inventory: Inventory, pins: Path, deploy: Deploy, option: tuple[str, ...]
) -> None:
    inventory.document["defaults"]["ollama_pins"] = str(pins)
    inventory.only(HOST, OTHER)
    assert deploy(wants(inventory, VERSION, HOST, OTHER)).rc == 0
    pids = {host: main_pid(lab, host) for host in (HOST, OTHER)}

    run = deploy(wants(inventory, NO_START, HOST, OTHER), "upgrade", *option)

    assert run.rc != 0
    (failed,) = [host for host in (HOST, OTHER) if "is not good on this host" in run.about(host)]
    (spared,) = {HOST, OTHER} - {failed}
    # pyinfra itself shows a traceback for a failed host under --no-wait.
    assert run.about(spared).count(f"not upgraded: {failed} failed before it") == 1, run.out
    assert main_pid(lab, spared) == pids[spared]
    assert (serves(lab, spared), serves(lab, failed)) == (VERSION, VERSION)


def test_hosts_are_upgraded_in_turns_unless_a_batch_is_declared(
    lab: Lab, inventory: Inventory, pins: Path, deploy: Deploy
) -> None:
    inventory.document["defaults"]["ollama_pins"] = str(pins)
    inventory.only(HOST, OTHER)
    assert deploy(wants(inventory, VERSION, HOST, OTHER)).rc == 0
    with watched(lambda: f"{bool(serves(lab, HOST))}{bool(serves(lab, OTHER))}") as seen:
        run = deploy(wants(inventory, GOOD, HOST, OTHER), "upgrade")
    assert run.rc == 0, run.out
    assert "waits for" in run.out
    assert "FalseFalse" not in {both for _, both in seen}, "no host served for a while"
    for host in (HOST, OTHER):
        inventory.set(host, upgrade_batch=2)
    both = deploy(wants(inventory, VERSION, HOST, OTHER), "upgrade")
    assert both.rc == 0, both.out
    assert "waits for" not in both.out


def test_a_host_whose_run_is_killed_in_the_trial_goes_back_by_itself(
    lab: Lab, declared: Inventory, start: Start, deploy: Deploy
) -> None:
    assert_converged(deploy(wants(declared, VERSION)), lab, HOST)
    run = Watched(start(wants(declared, NO_START), "upgrade"))
    run.until("for a trial")
    wait_for(lambda: lab.exec(HOST, f"test -e {TRIAL}").rc == 0, 20, "no trial")
    run.kill()
    settled(lab)
    wait_for(lambda: serves(lab) == VERSION, 20, "the old release does not serve")
    assert in_use(lab) == VERSION


#: What is said when a stage of an upgrade begins, and the seconds that it takes at the longest.
STAGES = (
    Moment("Fetch the new release", 1.0),
    Moment("downloading", 4.0),
    Moment("unpacking", 1.0),
    Moment("for a trial", 4.0),
    Moment("answers after", 3.0),
    Moment("switch /opt/ollama/current", 1.0),
    Moment("generates with", 1.0),
    Moment("Create the models", 1.0),
)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_leaves_the_old_release_or_the_new_one_and_a_rerun_converges(
    seed: int,
    lab: Lab,
    on_older: Inventory,
    start: Start,
    deploy: Deploy,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(POWER_CUT, "upgrade")
    digests = models(lab, HOST)
    lab.mirror.set(bytes_per_second=MODERATE)
    run = Watched(start(wants(on_older, VERSION), "upgrade"))

    cut_power(lab, HOST, run, moment(seed, STAGES))

    lab.mirror.reset()
    assert lab.exec(HOST, HALVES).out == ""
    wait_for(lambda: serves(lab) != "", 30, "no server answers after the power cut")
    assert serves(lab) == in_use(lab)
    assert models(lab, HOST) == digests
    assert_converged(deploy(on_older, "upgrade"), lab, HOST)
    assert (serves(lab), in_use(lab)) == (VERSION, VERSION)
    assert models(lab, HOST) == digests


@contextmanager
def small_disk(lab: Lab, mib: int) -> Iterator[None]:
    """What is in /opt/ollama moves to a disk of this size for a while."""
    lab.check(HOST, "systemctl stop ollama; mv /opt/ollama /opt/aside; mkdir /opt/ollama")
    lab.check(HOST, f"mount -t tmpfs -o size={mib}m tmpfs /opt/ollama; cp -a /opt/aside/. /opt/ollama")
    lab.check(HOST, "systemctl start ollama")
    try:
        yield
    finally:
        lab.check(HOST, "systemctl stop ollama; umount /opt/ollama; rmdir /opt/ollama; mv /opt/aside /opt/ollama")
        lab.check(HOST, "systemctl start ollama")


@pytest.mark.parametrize(
    ("stage", "error"),
    [("downloading", "the disk of /opt/ollama/.download is full"), ("checking its SHA-256", "unpacking failed")],
)
def test_a_disk_that_fills_up_costs_an_upgrade_and_not_the_server(
    lab: Lab, on_older: Inventory, start: Start, deploy: Deploy, stage: str, error: str
) -> None:
    """Something else takes the room in a stage of it."""
    wants(on_older, VERSION)
    with small_disk(lab, 200):
        lab.mirror.set(bytes_per_second=MODERATE)
        run = Watched(start(on_older, "upgrade"))
        run.until(stage)
        lab.exec(HOST, "cat /dev/zero >/opt/ollama/filler")
        assert run.end() != 0
        assert error in run.out
        assert "Free some space" in run.out
        assert (serves(lab), in_use(lab)) == (OLDER, OLDER)
        assert lab.exec(HOST, "test -e /opt/ollama/.unpack").rc != 0
        lab.check(HOST, "rm /opt/ollama/filler")
        lab.mirror.reset()
        assert_converged(deploy(on_older, "upgrade"), lab, HOST)


def test_a_mirror_that_goes_away_costs_an_upgrade_and_not_the_server(
    lab: Lab, on_older: Inventory, deploy: Deploy
) -> None:
    lab.mirror.set(cuts=[Cut(ARCHIVE, after_bytes=5_000_000, gone=True)])
    run = deploy(wants(on_older, VERSION), "upgrade")
    one_error(run, HOST, "broke off", "Run again")
    assert (serves(lab), in_use(lab)) == (OLDER, OLDER)
    lab.mirror.reset()
    assert finished(deploy(on_older, "upgrade"), HOST)

"""models_dir changes: the models follow, over the disk's border or not, whatever happens on the way.

Models in the lab are tiny. So that copying takes a while there is one more, LARGE, whose weights are noise; it is
listed and moved like any other, and nobody asks it anything. The other disk is a tmpfs. No host of the lab has SELinux.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from lab.sandbox import wait_for
from tests.lab.expect import (
    Watched,
    assert_changed_nothing,
    assert_converged,
    assert_left_whole,
    finished,
    one_error,
    traces,
)
from tests.lab.observation import get, main_pid, models, server_environment, snapshot, starts
from tests.lab.power import POWER_CUT, SEEDS, Moment, cut_power, moment

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory, Start

pytestmark = pytest.mark.usefixtures("bare_afterwards")

Record = Callable[[str, object], None]

HOST = "rtx2070"
OLD, OTHER_DISK, SAME_DISK, SMALL_DISK = (
    "/var/lib/ollama/models",
    "/mnt/big disk/models",
    "/srv/models",
    "/mnt/small/models",
)
LARGE = "large:latest"
#: Makes a model of MIB MiB of noise in a directory, of another model's config; the manifest last.
MAKE_LARGE = r"""
cd -- "$1/manifests/registry.ollama.ai/library"
config=$(grep -ohE '"config":\{[^}]*\}' r1/latest)
head -c "$((MIB << 20))" /dev/urandom >/tmp/noise
digest=$(sha256sum </tmp/noise | cut -d' ' -f1)
mv /tmp/noise "$1/blobs/sha256-$digest"
mkdir -p large
cat >large/new <<END
{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",$config,
"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:$digest","size":$((MIB << 20))}]}
END
chmod 644 large/new "$1/blobs/sha256-$digest"
chown -R ollama:ollama large "$1/blobs"
mv large/new large/latest
"""
#: What is said when a stage of a move begins, and how long it takes at the longest.
STAGES = (
    Moment("copy 3 models", 1.5),
    Moment("copy 3 models", 4.0),
    Moment("write /etc/systemd/system/ollama.service", 0.3),
    Moment("restart ollama.service", 1.5),
    Moment("see that Ollama has all models", 0.6),
)


def make_large(lab: Lab, mib: int, directory: str = OLD) -> None:
    lab.check(HOST, ["bash", "-euc", f"MIB={mib}\n{MAKE_LARGE}", "bash", directory])


def store(lab: Lab, directory: str) -> list[str]:
    """The models' files below a directory, with sizes."""
    find = f"cd -- '{directory}' && find blobs manifests -type f -printf '%P %s\\n' | sort"
    return lab.exec(HOST, find).out.splitlines()


def wrong_owners(lab: Lab, directory: str) -> str:
    """What the server might not be able to use: of another owner, or with another mode than it makes; in metadata lies
    what it notes for itself."""
    wrong = "! -user ollama -print -o -type f ! -perm 644 -print -o -type d ! -perm 755 -print"
    return lab.check(HOST, f"find '{directory}' -name metadata -prune -o {wrong}")


def downloads(lab: Lab, since: float) -> list[str]:
    return [one.path for one in lab.mirror.requests(since) if "/blobs/" in one.path]


def serves_from(lab: Lab) -> str:
    return server_environment(lab, HOST)["OLLAMA_MODELS"]


def generates(lab: Lab) -> bool:
    return bool(get(lab, HOST, "/api/generate", {"model": "r1", "prompt": "Hello", "stream": False})["done"])


@pytest.fixture
def served(lab: Lab, inventory: Inventory, deploy: Deploy) -> Inventory:
    """The host serves its models from the usual directory."""
    inventory.only(HOST).set(HOST, models_dir=OLD)
    lab.reset(HOST)
    assert finished(deploy(inventory), HOST)
    return inventory


def test_models_are_moved_to_another_disk_and_nothing_is_downloaded(
    lab: Lab, served: Inventory, deploy: Deploy
) -> None:
    make_large(lab, 100)
    lab.check(HOST, f"touch {OLD}/blobs/sha256-{'0' * 64} {OLD}/blobs/sha256-1-partial && touch {OLD}/notes")
    before, files = models(lab, HOST), [line for line in store(lab, OLD) if " 0" not in line]
    host_before, since = snapshot(lab, HOST), time.time()
    served.set(HOST, models_dir=OTHER_DISK)

    dry = deploy(served, dry=True)

    assert dry.rc == 0, dry.out
    for change in (
        f"would make {OTHER_DISK} for the models, owned by ollama",
        "would copy 3 models (10",
        f"OLLAMA_MODELS: {OLD} -> {OTHER_DISK}",
        "would restart ollama.service (its settings changed)",
        f"would see that Ollama has all models in {OTHER_DISK}, then free {OLD} (10",
    ):
        assert change in dry.about(HOST), dry.out
    assert snapshot(lab, HOST) == host_before

    run = deploy(served)

    assert_converged(run, lab, HOST)
    assert serves_from(lab) == OTHER_DISK
    assert models(lab, HOST) == before
    assert store(lab, OTHER_DISK) == files
    assert wrong_owners(lab, OTHER_DISK) == ""
    assert lab.check(HOST, f"find {OLD} -type f").split() == [f"{OLD}/notes"]
    assert lab.exec(HOST, "ls /etc/ollama").out.split() == ["modelfiles"]
    assert starts(lab, HOST, since) == 1
    assert downloads(lab, since) == []
    assert generates(lab)
    assert_changed_nothing(deploy(served), HOST)


def test_on_the_same_disk_they_take_no_room_and_come_back_as_well(lab: Lab, served: Inventory, deploy: Deploy) -> None:
    make_large(lab, 100)
    before, files, since = models(lab, HOST), store(lab, OLD), time.time()
    weights = lab.check(HOST, f"stat -c %i {OLD}/blobs/*").split()
    served.set(HOST, models_dir=SAME_DISK)

    run = deploy(served)

    assert_converged(run, lab, HOST)
    assert f"take 3 models from {OLD} to {SAME_DISK}, which is on the same disk" in run.about(HOST)
    assert (models(lab, HOST), store(lab, SAME_DISK)) == (before, files)
    assert lab.check(HOST, f"stat -c %i {SAME_DISK}/blobs/*").split() == weights
    assert lab.exec(HOST, ["test", "-e", OLD]).rc != 0
    served.set(HOST, models_dir=OLD)
    assert_converged(deploy(served), lab, HOST)
    assert (models(lab, HOST), store(lab, OLD)) == (before, files)
    assert downloads(lab, since) == []


def test_a_directory_that_has_models_already_keeps_them(lab: Lab, served: Inventory, deploy: Deploy) -> None:
    """As one has it after a disk was taken from another host: the same weights, and a model of its own."""
    lab.check(HOST, f"mkdir -p '{OTHER_DISK}' && cp -r {OLD}/blobs {OLD}/manifests '{OTHER_DISK}'")
    make_large(lab, 5, OTHER_DISK)
    lab.check(HOST, f"rm -r '{OTHER_DISK}/manifests/registry.ollama.ai/library/r1'")
    before = models(lab, HOST)
    served.set(HOST, models_dir=OTHER_DISK)

    run = deploy(served)

    assert_converged(run, lab, HOST)
    assert "which is on the same disk or has them" in run.about(HOST)
    assert models(lab, HOST).keys() == before.keys() | {LARGE}
    assert wrong_owners(lab, OTHER_DISK) == ""


def test_a_model_from_a_file_of_the_controllers_is_moved_and_not_made_again(
    lab: Lab, served: Inventory, deploy: Deploy
) -> None:
    """Its Modelfile names the file by its place on the host."""
    weights = lab.check(HOST, f"ls -S {OLD}/blobs | head -n 1").strip()
    (served.path.parent / "ours.gguf").write_bytes(lab.read(HOST, f"{OLD}/blobs/{weights}") + bytes(256))
    served.set(HOST, models=[*served.host(HOST)["models"], {"name": "ours", "from": "./ours.gguf"}])
    assert finished(deploy(served), HOST)
    before = {model["name"]: model["modified_at"] for model in get(lab, HOST, "/api/tags")["models"]}
    served.set(HOST, models_dir=OTHER_DISK)

    run = deploy(served)

    assert_converged(run, lab, HOST)
    assert "make the model" not in run.about(HOST)
    assert {model["name"]: model["modified_at"] for model in get(lab, HOST, "/api/tags")["models"]} == before
    modelfile = lab.read(HOST, "/etc/ollama/modelfiles/ours_latest.modelfile").decode()
    assert f"FROM {OTHER_DISK}/blobs/sha256-" in modelfile.replace('"', "")
    assert_changed_nothing(deploy(served), HOST)


def test_a_disk_without_room_is_refused_in_numbers_before_anything_is_changed(
    lab: Lab, served: Inventory, deploy: Deploy
) -> None:
    make_large(lab, 100)
    before, pid = traces(lab, HOST), main_pid(lab, HOST)
    served.set(HOST, models_dir=SMALL_DISK)

    one_error(deploy(served), HOST, "/mnt/small/models has 67.1 MB free", f"the models in {OLD} take 10", "more there")

    assert traces(lab, HOST) ^ before == set()
    assert main_pid(lab, HOST) == pid
    assert lab.check(HOST, "ls /mnt/small") == ""


def test_a_mount_that_is_missing_is_told_before_its_models_come_to_lie_below_it(
    lab: Lab, served: Inventory, deploy: Deploy
) -> None:
    lab.check(HOST, r"echo '/dev/sdz1 /mnt/not\040there ext4 noauto 0 0' >>/etc/fstab")
    before = traces(lab, HOST)
    served.set(HOST, models_dir="/mnt/not there/models")

    one_error(deploy(served), HOST, "/mnt/not there is a mount point in /etc/fstab", "mount '/mnt/not there'")

    assert traces(lab, HOST) ^ before == set()


def test_a_disk_that_fills_in_the_middle_leaves_the_old_place_serving_and_the_next_run_goes_on(
    lab: Lab, served: Inventory, deploy: Deploy, start: Start
) -> None:
    make_large(lab, 600)
    before, files = models(lab, HOST), store(lab, OLD)
    served.set(HOST, models_dir=OTHER_DISK)
    run = Watched(start(served))
    run.until("copy 3 models")
    wait_for(lambda: lab.exec(HOST, "compgen -G '/mnt/big disk/models/.corral/sha256-*'").rc == 0, 20, "no copy")
    lab.exec(HOST, "fallocate -l $(df -B1 --output=avail '/mnt/big disk' | tail -n 1) '/mnt/big disk/somebody'")

    assert run.end() not in (0, 130), run.out

    assert run.out.count("is full") == 1, run.out
    assert "goes on where it stopped" in run.out
    assert serves_from(lab) == OLD
    assert (models(lab, HOST), store(lab, OLD)) == (before, files)
    lab.check(HOST, "rm '/mnt/big disk/somebody'")
    assert_converged(deploy(served), lab, HOST)
    assert (models(lab, HOST), store(lab, OTHER_DISK)) == (before, files)


def test_a_damaged_file_is_told_with_its_models_and_the_old_place_serves_on(
    lab: Lab, served: Inventory, deploy: Deploy
) -> None:
    make_large(lab, 5)
    lab.check(HOST, f"f=$(find {OLD}/blobs -size 5M) && printf x | dd of=$f bs=1 seek=1000 conv=notrunc status=none")
    served.set(HOST, models_dir=OTHER_DISK)

    one_error(deploy(served), HOST, "is damaged", "registry.ollama.ai/library/large/latest", "ollama rm")

    assert serves_from(lab) == OLD
    lab.check(HOST, "ollama rm large")
    assert_converged(deploy(served), lab, HOST)


@pytest.mark.parametrize("word", ["copy 3 models", "write /etc", "restart ollama", "see that Ollama"])
def test_a_move_that_is_killed_is_finished_by_the_next_run(
    lab: Lab, served: Inventory, deploy: Deploy, start: Start, word: str
) -> None:
    make_large(lab, 200)
    before, files, since = models(lab, HOST), store(lab, OLD), time.time()
    served.set(HOST, models_dir=OTHER_DISK)
    run = Watched(start(served))
    run.until(word)
    if word.startswith("copy"):
        time.sleep(0.5)

    run.kill()

    assert_left_whole(lab, HOST)
    assert models(lab, HOST) == before
    assert_converged(deploy(served), lab, HOST)
    assert (models(lab, HOST), store(lab, OTHER_DISK)) == (before, files)
    assert lab.exec(HOST, ["test", "-e", OLD]).rc != 0
    assert downloads(lab, since) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_in_a_move_loses_nothing(
    lab: Lab, inventory: Inventory, deploy: Deploy, start: Start, seed: int, record_property: Record
) -> None:
    """To and fro, so that each begins where the one before has ended; the first of them brings the host there."""
    record_property(POWER_CUT, "move")
    inventory.only(HOST)
    places = (OLD, OTHER_DISK) if seed % 2 == 0 else (OTHER_DISK, OLD)
    inventory.set(HOST, models_dir=places[0])
    if seed == 0:
        lab.reset(HOST)
    assert finished(deploy(inventory), HOST)
    if LARGE not in models(lab, HOST):
        make_large(lab, 500, places[0])
    before, files, since = models(lab, HOST), store(lab, places[0]), time.time()
    inventory.set(HOST, models_dir=places[1])

    cut_power(lab, HOST, Watched(start(inventory)), moment(seed, STAGES))

    wait_for(lambda: main_pid(lab, HOST) > 0, 20, "no server")
    wait_for(lambda: lab.exec(HOST, "curl -sf http://127.0.0.1:11434/").rc == 0, 20, "no answer")
    assert serves_from(lab) in places
    assert models(lab, HOST) == before
    assert generates(lab)
    assert_converged(deploy(inventory), lab, HOST)
    assert (models(lab, HOST), store(lab, places[1])) == (before, files)
    assert wrong_owners(lab, places[1]) == ""
    assert lab.exec(HOST, ["test", "-e", places[0]]).rc != 0
    assert downloads(lab, since) == []

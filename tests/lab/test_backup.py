"""What nothing can bring again is saved, and is there again on a host that was wiped."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.sandbox import wait_for
from tests.lab.expect import Watched, assert_changed_nothing, assert_left_whole, finished, one_error
from tests.lab.observation import get, models, snapshot
from tests.lab.test_move import HOST, OLD, generates, make_large, wrong_owners

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory, Start

pytestmark = pytest.mark.usefixtures("bare_afterwards")

KEY = "/var/lib/ollama/.ollama/id_ed25519"
DROP_IN = "/etc/systemd/system/ollama.service.d/mine.conf"
THEIR_UNIT = """[Unit]
Description=Ollama Service
[Service]
ExecStart=/usr/local/bin/ollama serve
User=ollama
Group=ollama
Environment=HOME={home}
"""
#: Another machine of the lab that keeps backups.
KEEPER = "client"


def make_own(lab: Lab) -> None:
    """A model of somebody's own, made from what a registry has, and one from a file that no registry has."""
    lab.write(HOST, "/tmp/Modelfile", 'FROM deepseek-r1:7b\nSYSTEM "Mine."\n')
    lab.check(HOST, "ollama create mine -f /tmp/Modelfile && rm /tmp/Modelfile")
    make_large(lab, 60)


def record(directory: Path) -> Any:
    return json.loads((directory / f"hosts/{HOST}/backup.json").read_text())


def tree(directory: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in directory.rglob("*")}


@pytest.fixture
def served(lab: Lab, inventory: Inventory, deploy: Deploy) -> Inventory:
    """The host serves, with models of people's own, and backups go to a directory beside the inventory."""
    inventory.only(HOST).set(HOST, models_dir=OLD)
    lab.reset(HOST)
    assert finished(deploy(inventory), HOST)
    make_own(lab)
    return inventory


def test_a_host_that_was_wiped_has_its_own_models_its_key_and_its_settings_again(
    lab: Lab, served: Inventory, deploy: Deploy, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    lab.write(HOST, DROP_IN, "[Service]\nNice=5\n")
    before, key = models(lab, HOST), lab.read(HOST, KEY)
    host_before = snapshot(lab, HOST)

    dry = deploy(served, "backup", dry=True)

    assert dry.rc == 0, dry.out
    for change in ("would save the model large:latest (62.9 MB)", "would save the model mine:latest", "would write"):
        assert change in dry.about(HOST), dry.out
    assert not backups.exists()
    done = deploy(served, "backup")
    assert done.rc == 0, done.out
    assert snapshot(lab, HOST) == host_before

    saved = record(backups)
    assert {model["name"]: bool(model["manifest"]) for model in saved["models"]} == {
        "registry.ollama.ai/library/deepseek-r1:7b": False,
        "registry.ollama.ai/library/large:latest": True,
        "registry.ollama.ai/library/mine:latest": True,
        "registry.ollama.ai/library/r1:latest": True,
    }
    (kept,) = backups.glob(f"hosts/{HOST}/id_ed25519-*")
    assert kept.read_bytes() == key
    assert {oct(path.stat().st_mode)[-3:] for path in backups.rglob("*")} == {"600", "700"}
    assert key.decode().splitlines()[1] not in done.out
    files = tree(backups)
    assert_changed_nothing(deploy(served, "backup"), HOST)
    assert tree(backups) == files

    lab.reset(HOST)
    assert finished(deploy(served), HOST)
    assert lab.read(HOST, KEY) != key
    bare = snapshot(lab, HOST)
    dry = deploy(served, "restore", dry=True)
    assert dry.rc == 0, dry.out
    for change in ("put back the model large:latest", "put back the model mine:latest", "put back the server's key"):
        assert f"would {change}" in dry.about(HOST), dry.out
    assert snapshot(lab, HOST) == bare
    done = deploy(served, "restore")

    assert done.rc == 0, done.out
    assert models(lab, HOST) == before
    assert get(lab, HOST, "/api/show", {"model": "mine"})["system"] == "Mine."
    assert get(lab, HOST, "/api/generate", {"model": "mine", "prompt": "Hello", "stream": False})["done"]
    assert generates(lab)
    assert lab.read(HOST, KEY) == key
    assert lab.check(HOST, f"stat -c '%a %U' {KEY}").strip() == "600 ollama"
    assert wrong_owners(lab, OLD) == ""
    assert lab.check(HOST, "systemctl show ollama -p Nice --value").strip() == "5"
    assert lab.exec(HOST, f"ls {OLD}/.corral").rc != 0
    assert_changed_nothing(deploy(served, "restore"), HOST)
    assert_changed_nothing(deploy(served), HOST)
    assert_changed_nothing(deploy(served, "backup"), HOST)


def test_another_host_keeps_backups_too(lab: Lab, served: Inventory, deploy: Deploy) -> None:
    lab.exec(KEEPER, "rm -rf '/srv/all backups'")
    served.set(HOST, backup_dir=f"{KEEPER}:/srv/all backups")
    before = models(lab, HOST)

    done = deploy(served, "backup")

    assert done.rc == 0, done.out
    assert lab.check(KEEPER, "find '/srv/all backups' -type f ! -perm 600 -o -type d ! -perm 700") == ""
    assert_changed_nothing(deploy(served, "backup"), HOST)
    lab.check(HOST, "ollama rm large mine && systemctl restart ollama")
    wait_for(lambda: lab.exec(HOST, "ollama list").rc == 0, 20, "no server")
    done = deploy(served, "restore")
    assert done.rc == 0, done.out
    assert models(lab, HOST) == before
    lab.check(KEEPER, "rm -r '/srv/all backups'")


def test_a_backup_that_is_cut_off_goes_on_where_it_stopped_and_a_restore_as_well(
    lab: Lab, served: Inventory, deploy: Deploy, start: Start, tmp_path: Path
) -> None:
    make_large(lab, 400)
    before = models(lab, HOST)
    run = Watched(start(served, "backup"))
    wait_for(lambda: any(_large(path) for path in tmp_path.rglob("*.partial")), 60, "nothing comes")

    run.kill()

    assert_left_whole(lab, HOST)
    (partial,) = tmp_path.rglob("*.partial")
    begun = partial.stat().st_ino
    assert not list(tmp_path.rglob("backup.json"))
    assert deploy(served, "backup").rc == 0
    assert [path for path in tmp_path.rglob("sha256-*") if path.stat().st_ino == begun] != []
    assert not list(tmp_path.rglob("*.partial"))

    lab.check(HOST, "ollama rm large")
    run = Watched(start(served, "restore"))
    pattern = f"{OLD}/.corral/sha256-*"
    wait_for(lambda: lab.exec(HOST, f"find {pattern} -size +33M | grep -q .").rc == 0, 60, "nothing comes")

    run.kill()

    assert_left_whole(lab, HOST)
    inode = lab.check(HOST, f"stat -c %i {pattern}").strip()
    assert "large:latest" not in models(lab, HOST)
    done = deploy(served, "restore")
    assert done.rc == 0, done.out
    assert models(lab, HOST) == before
    assert inode in lab.check(HOST, f"stat -c %i {OLD}/blobs/*").split()


def _large(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 32 << 20


def test_a_damaged_backup_is_refused_with_the_files_name_before_anything_is_written(
    lab: Lab, served: Inventory, deploy: Deploy, tmp_path: Path
) -> None:
    assert deploy(served, "backup").rc == 0
    lab.check(HOST, "ollama rm large mine")
    host = snapshot(lab, HOST)
    (blob,) = [path for path in tmp_path.rglob("sha256-*") if path.stat().st_size == 60 << 20]
    whole = blob.read_bytes()

    blob.write_bytes(whole[:1000] + b"x" + whole[1001:])
    one_error(deploy(served, "restore"), HOST, blob.name, "is damaged")
    blob.write_bytes(whole[:1000])
    one_error(deploy(served, "restore"), HOST, blob.name, "not of its full length")
    blob.write_bytes(whole)
    description = tmp_path / f"backups/hosts/{HOST}/backup.json"
    text = description.read_text()
    description.write_text(text.replace('\\"layers\\"', '\\"LAYERS\\"', 1))
    one_error(deploy(served, "restore"), HOST, "backup.json is damaged")
    description.write_text(text[:500])
    one_error(deploy(served, "restore"), HOST, "backup.json is damaged")

    assert snapshot(lab, HOST) == host
    description.write_text(text)
    assert deploy(served, "restore").rc == 0


def test_what_is_there_is_never_overwritten_and_what_was_saved_before_stays_saved(
    lab: Lab, served: Inventory, deploy: Deploy, tmp_path: Path
) -> None:
    assert deploy(served, "backup").rc == 0
    lab.write(HOST, "/tmp/Modelfile", 'FROM deepseek-r1:7b\nSYSTEM "Newer."\n')
    lab.check(HOST, "ollama create mine -f /tmp/Modelfile && ollama rm large")
    newer = models(lab, HOST)["mine:latest"]

    done = deploy(served, "restore")

    assert done.rc == 0, done.out
    assert "mine:latest stays as it is on the host" in done.about(HOST)
    assert models(lab, HOST)["mine:latest"] == newer
    lab.check(HOST, "ollama rm large")
    time.sleep(1)  # the time in an earlier backup's name has seconds
    done = deploy(served, "backup")
    assert re.search(r"no longer there: large:latest, which stays saved in backup-\S+\.json", done.out), done.out
    (earlier,) = tmp_path.rglob("backup-*.json")
    assert "large" in earlier.read_text()


def test_without_a_backup_a_restore_says_so(lab: Lab, served: Inventory, deploy: Deploy) -> None:
    one_error(deploy(served, "restore"), HOST, "there is no backup of rtx2070", "deploys/backup.py")


def test_models_that_registries_have_are_pulled_again_or_saved_where_that_is_declared(
    lab: Lab, served: Inventory, deploy: Deploy, tmp_path: Path
) -> None:
    lab.check(HOST, "ollama pull deepseek-r1:8b")
    assert deploy(served, "backup").rc == 0
    small = sum(path.stat().st_size for path in tmp_path.rglob("sha256-*"))
    before = models(lab, HOST)
    lab.check(HOST, "ollama rm deepseek-r1:8b")

    done = deploy(served, "restore")

    assert done.rc == 0, done.out
    assert "pull deepseek-r1:8b, which was there" in done.about(HOST)
    assert models(lab, HOST) == before
    served.set(HOST, backup_all=True)
    assert deploy(served, "backup").rc == 0
    assert sum(path.stat().st_size for path in tmp_path.rglob("sha256-*")) > small
    lab.mirror.down()
    lab.check(HOST, "ollama rm deepseek-r1:8b")
    assert deploy(served, "restore").rc == 0
    assert models(lab, HOST) == before


def test_a_server_that_nobody_has_set_up_with_corral_is_saved_as_well(
    lab: Lab, served: Inventory, deploy: Deploy, tmp_path: Path
) -> None:
    """Before it is rebuilt. Its service is as install.sh makes it: another home, and the models below that."""
    home = "/usr/share/ollama"
    lab.check(HOST, f"systemctl stop ollama && rm -r {DROP_IN.rpartition('/')[0]} && mkdir -p {home}/.ollama")
    lab.check(HOST, f"mv {OLD} {KEY} {KEY}.pub {home}/.ollama && chown -R ollama:ollama {home}")
    lab.write(HOST, "/etc/systemd/system/ollama.service", THEIR_UNIT.format(home=home))
    lab.check(HOST, "systemctl daemon-reload && systemctl start ollama")
    wait_for(lambda: lab.exec(HOST, "ollama list").rc == 0, 20, "no server")

    done = deploy(served, "backup")

    assert done.rc == 0, done.out
    names = {model["name"] for model in record(tmp_path / "backups")["models"] if model["manifest"]}
    assert "registry.ollama.ai/library/large:latest" in names
    assert record(tmp_path / "backups")["key"]["directory"] == f"{home}/.ollama"

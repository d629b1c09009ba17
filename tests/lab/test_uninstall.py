"""Linux hosts from which corral takes itself away again: what is left is what was there before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.expect import INTERRUPTED, Watched, assert_changed_nothing, finished
from tests.lab.observation import SERVERS, at_once, difference, models, reaches

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory, Start

HOST = "rtx2070"
#: A host as a whole: every file but logs, what systemd and the kernel keep for themselves and the account tools'
#: backups (passwd- and so on); contents in /etc; accounts, units, the packet filter, and what listens.
EVERYTHING = r"""
cd /
find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./var/tmp \
    -o -path ./var/log -o -path ./var/lib/systemd -o -path '*/.sudo_as_admin_successful' \
    -o -name 'passwd-' -o -name 'group-' -o -name 'shadow-' -o -name 'gshadow-' -o -name '.pwd.lock' \) -prune \
    -o -type f -printf '%p %y %m %u:%g %s\n' -o -printf '%p %y %m %u:%g %l\n'
find '/mnt/big disk' /mnt/small -printf '%p %y %m %u:%g %s\n'
find /etc -type f ! -name '*-' -exec sha256sum {} +
getent passwd; getent group
systemctl list-unit-files --no-legend --no-pager | grep -v ' transient '
nft --stateless list ruleset
ss -Hltn
ps -eo user=,args= | grep ollama | grep -v grep
"""


def everything(lab: Lab, host: str) -> list[str]:
    return lab.check(host, EVERYTHING.rstrip() + " || true").splitlines()


def test_uninstalling_leaves_hosts_as_they_were(lab: Lab, inventory: Inventory, deploy: Deploy) -> None:
    """With ufw, firewalld and nftables; with sudo and without; models in the usual place and on another disk."""
    at_once(SERVERS, lab.reset)
    bare = at_once(SERVERS, lambda host: everything(lab, host))
    for host in SERVERS:
        inventory.set(host, remove_models=True)
    inventory.set("rtx3080", models_dir="/mnt/big disk/models")
    assert deploy(inventory).rc == 0
    dry = deploy(inventory, "uninstall", dry=True)
    assert dry.rc == 0, dry.out
    for host in SERVERS:
        for change in ("would stop ollama.service", "would remove", "would remove the system user ollama"):
            assert change in dry.about(host)
        assert reaches(lab, "client", host)
    done = deploy(inventory, "uninstall")
    assert done.rc == 0, done.out
    left = at_once(SERVERS, lambda host: difference(bare[host], everything(lab, host)))
    assert left == {host: [] for host in SERVERS}
    again = deploy(inventory, "uninstall")
    for host in SERVERS:
        assert_changed_nothing(again, host)


def test_models_stay_unless_they_are_declared_to_go_and_are_the_servers_again(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    inventory.only(HOST)
    lab.reset(HOST)
    assert deploy(inventory).rc == 0
    before = models(lab, HOST)
    done = deploy(inventory, "uninstall")
    assert done.rc == 0, done.out
    assert "the models in /var/lib/ollama/models stay, and become root's" in done.about(HOST)
    assert lab.check(HOST, "find /var/lib/ollama ! -user root") == ""
    # Somebody else has the number meanwhile that the user had.
    lab.check(HOST, "useradd --system another")
    since = time.time()
    assert deploy(inventory).rc == 0
    assert models(lab, HOST) == before
    assert lab.check(HOST, "find /var/lib/ollama/models ! -user ollama") == ""
    assert not [one for one in lab.mirror.requests(since) if "/blobs/" in one.path]


def test_what_is_not_corrals_stays(lab: Lab, inventory: Inventory, deploy: Deploy) -> None:
    """A user that was there before, a drop-in, a Modelfile and a rule of the administrator's."""
    inventory.only(HOST)
    lab.reset(HOST)
    lab.check(HOST, "useradd --system --user-group --home-dir /var/lib/ollama ollama")
    assert deploy(inventory).rc == 0
    lab.write(HOST, "/etc/systemd/system/ollama.service.d/mine.conf", "[Service]\nNice=5\n")
    lab.write(HOST, "/etc/ollama/notes", "mine")
    lab.write(HOST, "/opt/ollama/notes", "mine")
    done = deploy(inventory, "uninstall")
    assert done.rc == 0, done.out
    assert lab.check(HOST, "id -nu ollama").strip() == "ollama"
    for file in ("/etc/systemd/system/ollama.service.d/mine.conf", "/etc/ollama/notes", "/opt/ollama/notes"):
        assert lab.exec(HOST, ["test", "-s", file]).rc == 0, file
    assert lab.check(HOST, "find /etc/ollama /opt/ollama -mindepth 1").split() == [
        "/etc/ollama/notes",
        "/opt/ollama/notes",
    ]
    assert_changed_nothing(deploy(inventory, "uninstall"), HOST)


@pytest.mark.parametrize("step", ["stop ollama.service", "remove /", "remove the system user"])
def test_an_uninstall_that_is_cut_off_is_finished_by_the_next(
    lab: Lab, inventory: Inventory, deploy: Deploy, start: Start, step: str
) -> None:
    inventory.only(HOST).set(HOST, remove_models=True)
    lab.reset(HOST)
    bare = everything(lab, HOST)
    assert finished(deploy(inventory), HOST)
    run = Watched(start(inventory, "uninstall"))
    run.until(step)
    run.kill()
    assert INTERRUPTED not in run.out
    assert deploy(inventory, "uninstall").rc == 0
    assert difference(bare, everything(lab, HOST)) == []


def test_a_host_that_never_had_it_needs_nothing(lab: Lab, inventory: Inventory, deploy: Deploy) -> None:
    inventory.only(HOST)
    lab.reset(HOST)
    assert_changed_nothing(deploy(inventory, "uninstall"), HOST)

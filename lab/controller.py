"""The controller: a shell's view of the machine with the lab's network, names and ssh keys in place of its own.

Nothing is copied and nothing of the user's is changed: the lab's files are laid over /etc/hosts and ~/.ssh
in a mount namespace that lasts as long as the command.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from lab.config import REPOSITORY, Layout, hosts_file, known_hosts, ssh_config
from lab.hosts import Lab
from lab.preparation import host_key
from lab.sandbox import SCRIPTS, home

INVENTORY = "inventory/lab.yml"


def write_files(lab: Lab) -> None:
    """What the controller needs to reach the hosts that there are: hosts file, ssh key and configuration."""
    layout, hosts = lab.layout, lab.hosts()
    ssh = layout.controller / "ssh"
    ssh.mkdir(mode=0o700, parents=True, exist_ok=True)
    (layout.controller / "hosts").write_text(hosts_file(hosts))
    (layout.controller / "resolv.conf").touch()
    key = host_key("controller", layout)
    for source, target in ((key, "id_ed25519"), (key.with_suffix(".pub"), "id_ed25519.pub")):
        shutil.copy2(source, ssh / target)
    (ssh / "config").write_text(ssh_config(hosts))
    keys = [(host, " ".join(host_key(host.name, layout).with_suffix(".pub").read_text().split()[:2])) for host in hosts]
    (ssh / "known_hosts").write_text(known_hosts(keys))


def run(command: Sequence[str], layout: Layout | None = None) -> NoReturn:
    """Becomes the command, inside the lab, in the repository's root. Raises LabError when that can't be."""
    lab = Lab(layout)
    holder = lab.sandbox.require_holder()
    lab.sandbox.join()
    os.environ.update(environment(lab.layout))
    # A key or an agent of the user's would let in what the lab's own key does not.
    os.environ.pop("SSH_AUTH_SOCK", None)
    os.chdir(REPOSITORY)
    arguments = [
        "nsenter", f"--net=/proc/{holder}/ns/net",
        "unshare", "--mount", "--propagation", "slave",
        str(SCRIPTS / "controller.sh"), str(lab.layout.controller), *command,
    ]  # fmt: skip
    sys.stdout.flush()
    os.execvp(arguments[0], arguments)


def environment(layout: Layout) -> dict[str, str]:
    """What `lab/run` adds to the environment."""
    path = os.pathsep.join([str(REPOSITORY / ".venv" / "bin"), os.environ.get("PATH", os.defpath)])
    return {
        "HOME": str(home()),
        "CORRAL_INVENTORY": os.environ.get("CORRAL_INVENTORY", INVENTORY),
        "LAB_SUDO_PASSWORD": layout.sudo_password.read_text(),
        "PATH": path,
    }

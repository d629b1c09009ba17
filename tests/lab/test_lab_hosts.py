"""The lab itself: hosts that can be broken and made anew, and that leave nothing behind.

Lifecycles are tried on a second lab, of a copy of this checkout's, so that the one that is up stays up.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Cut, Lab, LabError, State
from lab.config import REPOSITORY, Layout
from lab.sandbox import MACHINE_NOTES, Sandbox, init_process

RELEASE = "https://mirror.lab/releases/v0.34.4/ollama-linux-amd64.tar.zst"
HOSTS = ("mirror", "client")


class SecondLab:
    """Another checkout's lab, commanded as a user would."""

    def __init__(self, checkout: Path) -> None:
        self.layout = Layout(checkout)
        self.sandbox = Sandbox(self.layout)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lab", *words], cwd=self.layout.repository, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )  # fmt: skip

    def run(self, *words: str) -> str:
        process = self.start(*words)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def remains(self) -> list[str]:
        """What there still is of it: processes, mounts, control groups, files, notes on the machine."""
        found = [
            str(path)
            for path in (self.sandbox.cgroup, self.layout.state, MACHINE_NOTES / f"lab-{self.layout.lab_id}")
            if path.exists()
        ]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if not (process / "cmdline").read_bytes():
                    continue  # ended; whoever started it has not asked yet how
                for name in ("cgroup", "mountinfo"):
                    text = (process / name).read_text()
                    if self.sandbox.name in text or str(self.layout.state) in text:
                        found.append(f"{process / name}: {(process / 'cmdline').read_text()}")
            except OSError:
                continue
        return found


@pytest.fixture
def second(tmp_path: Path) -> Iterator[SecondLab]:
    checkout = tmp_path / "a copy"
    shutil.copytree(REPOSITORY / "lab", checkout / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    lab = SecondLab(checkout)
    yield lab
    lab.run("down")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("after_s", [0.3, 0.7, 1.2, 1.8, 2.5, 3.5])
def test_a_lab_that_was_killed_while_it_came_up_leaves_nothing_when_it_is_taken_down(
    second: SecondLab, after_s: float
) -> None:
    process = second.start("up", "--hosts", *HOSTS)
    time.sleep(after_s)
    process.kill()
    process.wait()
    second.run("down")
    assert second.remains() == []


@pytest.mark.timeout(180)
def test_a_lab_that_was_killed_while_it_came_up_can_be_brought_up(second: SecondLab) -> None:
    process = second.start("up", "--hosts", *HOSTS)
    time.sleep(1.5)
    process.kill()
    process.wait()
    second.run("up", "--hosts", *HOSTS)
    lab = Lab(second.layout)
    assert {host.name: lab.state(host.name) for host in lab.hosts()} == dict.fromkeys(HOSTS, State.RUNNING)
    second.run("down")
    assert second.remains() == []


@pytest.mark.timeout(180)
def test_two_checkouts_have_their_labs_at_once(second: SecondLab, lab: Lab) -> None:
    second.run("up", "--hosts", *HOSTS)
    lab.check("client", "touch /tmp/first")
    assert Lab(second.layout).exec("client", "ls /tmp/first").rc == 2
    assert lab.exec("client", "ls /tmp/first").rc == 0


@pytest.mark.timeout(180)
def test_bringing_up_what_is_up_makes_nothing_anew(second: SecondLab) -> None:
    lab = Lab(second.layout)

    def running() -> list[int | None]:
        return [lab.sandbox.holder(), *(init_process(lab.sandbox.host_group(host)) for host in HOSTS)]

    second.run("up", "--hosts", *HOSTS)
    before = running()
    output = second.run("up", "--hosts", *HOSTS)
    assert "done" not in output
    assert running() == before


@pytest.mark.parametrize("host", ["rtx4090", "rtx3080", "rtx2070"])
def test_a_reset_host_is_bare_and_still_the_same_machine(lab: Lab, host: str) -> None:
    before = lab.read(host, "/etc/machine-id"), lab.read(host, "/etc/ssh/ssh_host_ed25519_key.pub")
    lab.write(host, "/etc/corral/x", "x")
    lab.write(host, "/mnt/big disk/x", "x")
    lab.reset(host)
    assert lab.exec(host, "ls /etc/corral '/mnt/big disk/x'").rc == 2
    assert before == (lab.read(host, "/etc/machine-id"), lab.read(host, "/etc/ssh/ssh_host_ed25519_key.pub"))
    assert subprocess.run(["ssh", host, "true"], check=False).returncode == 0


def test_a_reboot_keeps_files_and_disks_and_the_journal(lab: Lab) -> None:
    started = time.time()
    lab.write("rtx4090", "/etc/kept", "kept")
    lab.write("rtx4090", "/mnt/big disk/kept", "kept")
    lab.check("rtx4090", "logger before the reboot")
    lab.reboot("rtx4090")
    assert lab.read("rtx4090", "/etc/kept") == lab.read("rtx4090", "/mnt/big disk/kept") == b"kept"
    assert "before the reboot" in lab.journal("rtx4090", started)


def test_a_rebooted_host_counts_its_uptime_from_the_reboot(lab: Lab) -> None:
    lab.reboot("client")
    assert float(lab.read("client", "/proc/uptime").split()[0]) < 30


@pytest.mark.parametrize(
    ("host", "rule"),
    [("rtx4090", "ufw status"), ("rtx3080", "firewall-cmd --state"), ("rtx2070", "nft list table inet filter")],
)
def test_a_firewall_lets_in_ssh_alone_after_a_reboot_too(lab: Lab, host: str, rule: str) -> None:
    lab.reboot(host)
    lab.check(host, rule)
    lab.check(host, "systemd-run --quiet --unit=listener python3 -m http.server 11434")
    lab.check(host, "for _ in {1..50}; do curl -s -o /dev/null localhost:11434 && exit; sleep .1; done; exit 1")
    assert lab.exec("client", f"curl --silent --connect-timeout 1 http://{host}:11434/").rc in (7, 28)
    assert subprocess.run(["ssh", host, "true"], check=False).returncode == 0
    lab.check(host, "systemctl stop listener")


def test_no_host_reaches_anything_outside_nor_waits_for_a_name(lab: Lab) -> None:
    started = time.monotonic()
    assert lab.exec("client", "curl --silent --show-error https://example.org").rc == 6
    assert lab.exec("client", "curl --silent --connect-timeout 2 http://192.0.2.1").rc in (7, 28)
    assert time.monotonic() - started < 4


def test_a_host_whose_cable_is_pulled_is_out_of_reach_until_it_is_plugged_in(lab: Lab) -> None:
    def reach(timeout_s: int) -> int:
        command = ["ssh", "-o", f"ConnectTimeout={timeout_s}", "rtx4090", "true"]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode

    lab.cut("rtx4090")
    assert reach(1) == 255
    lab.uncut("rtx4090")
    assert reach(20) == 0


def test_sshd_counts_connections_and_commands(lab: Lab) -> None:
    started = time.time()
    subprocess.run(["ssh", "rtx2070", "true"], check=True)
    subprocess.run(["sftp", "-q", "-b", "-", "rtx2070"], input=b"pwd\n", check=True, stdout=subprocess.DEVNULL)
    use = lab.count_commands("rtx2070", started)
    assert (use.connections, use.commands) == (2, 2)


def test_ops_needs_a_password_to_become_root_on_one_host_and_none_on_the_other(lab: Lab) -> None:
    assert subprocess.run(["ssh", "rtx2070", "sudo -n id"], check=False).returncode == 0
    assert subprocess.run(["ssh", "rtx3080", "sudo -n id"], check=False).returncode == 1
    password = os.environ["LAB_SUDO_PASSWORD"] + "\n"
    command = ["ssh", "rtx3080", "sudo -S id -u"]
    done = subprocess.run(command, input=password, check=False, text=True, capture_output=True)
    assert done.stdout == "0\n"


def test_a_download_that_is_cut_can_be_resumed(lab: Lab) -> None:
    lab.mirror.set(cuts=[Cut("*.tar.zst", after_bytes=1_000_000)])
    download = f"curl --silent --remote-name --continue-at - {RELEASE}"
    assert lab.exec("client", f"cd /tmp && {download}").rc == 18
    sums = f"{RELEASE.rpartition('/')[0]}/sha256sum.txt"
    lab.check("client", f"cd /tmp && {download} && curl -s {sums} | sha256sum --check --ignore-missing")
    lab.check("client", "rm /tmp/ollama-*")


def test_memory_that_is_held_shows_until_it_is_freed(lab: Lab) -> None:
    used = "nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits"
    before = int(lab.check("rtx2070", used))
    lab.hold_gpu("rtx2070", 1000)
    assert int(lab.check("rtx2070", used)) == before + 1000
    lab.free_gpu("rtx2070")
    assert int(lab.check("rtx2070", used)) == before
    with pytest.raises(LabError, match="not free"):
        lab.hold_gpu("rtx2070", 100_000)


def test_a_delay_is_added_to_every_round_trip(lab: Lab) -> None:
    def seconds() -> float:
        started = time.monotonic()
        socket.create_connection(("10.77.0.20", 22)).close()
        return time.monotonic() - started

    try:
        lab.delay(100)
        assert min(seconds() for _ in range(3)) > 0.1
        assert seconds() < 1
    finally:
        lab.delay(0)
    assert min(seconds() for _ in range(10)) < 0.1

"""deploys/rebuild.py on a host with nothing but sshd and a key.

Packages and reboots are real; NVIDIA's driver, the card on the bus and the kernel's log of it stand in
(lab/packages.py, lab/bare).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import InventoryFile
from tests.lab.expect import Watched, assert_changed_nothing, assert_left_whole, finished, one_error, said_once
from tests.lab.power import POWER_CUT, SEEDS, Moment, cut_power, moment

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Start

BARE = "bare"
#: What of a rebuild is said when a stage begins, and how long that takes at the longest.
STAGES = (
    Moment("stage: bare", 4),
    Moment("install NVIDIA's driver", 8),
    Moment("reboot, and wait", 3),
    Moment("downloading", 4),
    Moment("start ollama.service", 8),
)


@pytest.fixture
def rebuilt(tmp_path: Path, lab: Lab) -> InventoryFile:
    if BARE not in {host.name for host in lab.hosts()}:
        pytest.fail("the lab has no bare host: python -m lab up --also bare")
    return InventoryFile(tmp_path, "lab-bare.yml")


def assert_rebuilt(run: Any, lab: Lab) -> None:
    assert run.rc == 0, run.out
    assert finished(run, BARE), run.out
    assert "NVIDIA GeForce RTX 2070" in lab.check(BARE, "nvidia-smi -L")
    assert "inference compute" in "".join(lab.journal(BARE, 0, "--unit=ollama"))


@contextmanager
def declared_fault(lab: Lab, text: str) -> Iterator[None]:
    """What the kernel says instead of loading NVIDIA's driver, from the next boot on."""
    lab.write(BARE, "/etc/hardware-fault", text)
    try:
        yield
    finally:
        lab.check(BARE, "rm -f /etc/hardware-fault")


def test_a_bare_host_is_rebuilt_and_goes_on_by_itself_after_the_reboot(
    lab: Lab, rebuilt: InventoryFile, deploy: Deploy
) -> None:
    lab.reset(BARE)
    boot = lab.read(BARE, "/proc/sys/kernel/random/boot_id")
    assert lab.exec(BARE, "command -v curl zstd ss nvidia-smi python3").out == ""

    dry = deploy(rebuilt, "rebuild", dry=True)

    assert dry.rc == 0, dry.out
    for words in (
        "would install curl, zstd, iproute2, ca-certificates and systemd-timesyncd",
        "would name the host bare",
        "would look for NVIDIA's driver",
        "would reboot",
        "known only after the stage bare",
    ):
        said_once(dry, BARE, words)
    assert lab.exec(BARE, "command -v curl zstd ss nvidia-smi").out == ""

    run = deploy(rebuilt, "rebuild")

    assert_rebuilt(run, lab)
    places = [run.out.index(f"stage: {name}") for name in ("bare", "driver", "reboot")]
    assert places == sorted(places)
    assert lab.read(BARE, "/proc/sys/kernel/random/boot_id") != boot
    assert lab.check(BARE, "hostname").strip() == BARE
    assert "570.133.20" in lab.check(BARE, "dpkg-query -W nvidia-driver")
    assert "non-free" in lab.read(BARE, "/etc/apt/sources.list").decode()
    assert "blacklist nouveau" in lab.read(BARE, "/etc/modprobe.d/corral-nouveau.conf").decode()
    assert lab.check(BARE, "systemctl is-enabled nvidia-persistenced systemd-timesyncd").split() == ["enabled"] * 2

    boot = lab.read(BARE, "/proc/sys/kernel/random/boot_id")
    again = deploy(rebuilt, "rebuild")

    assert_changed_nothing(again, BARE)
    assert again.out.count("nothing to do") == 3
    assert lab.read(BARE, "/proc/sys/kernel/random/boot_id") == boot


def test_a_host_that_served_and_was_wiped_serves_again(lab: Lab, rebuilt: InventoryFile, deploy: Deploy) -> None:
    lab.reset(BARE)
    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)
    served = lab.check(BARE, "ollama list | sort")

    lab.reset(BARE)
    assert lab.exec(BARE, "command -v ollama nvidia-smi").out == ""
    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)

    names = [line.split()[:2] for line in served.splitlines() if not line.startswith("NAME")]
    assert [
        line.split()[:2] for line in lab.check(BARE, "ollama list | sort").splitlines() if "NAME" not in line
    ] == names


def test_a_run_that_is_killed_in_each_stage_goes_on_there(
    lab: Lab, rebuilt: InventoryFile, start: Start, deploy: Deploy
) -> None:
    lab.reset(BARE)
    for words in ("installing curl", "installing nvidia-driver"):
        run = Watched(start(rebuilt, "rebuild"))
        run.until(words)
        time.sleep(1.5)
        run.kill()
        assert_left_whole(lab, BARE)
    run = Watched(start(rebuilt, "rebuild"))
    run.until("reboot, and wait")
    run.kill()
    done = ("stage: bare: nothing to do", "finish what dpkg was interrupted in")
    assert any(words in run.out for words in done), run.out
    assert "install curl" not in run.out, run.out

    time.sleep(3)  # a reboot that was ordered happens all the same
    lab.wait(BARE)
    run = Watched(start(rebuilt, "rebuild"))
    run.until("downloading")
    run.kill()
    for stage in ("bare", "driver"):
        assert f"stage: {stage}: nothing to do" in run.out, run.out

    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)
    assert_changed_nothing(deploy(rebuilt, "rebuild"), BARE)


def test_before_its_reboot_the_driver_gives_ollama_no_gpu(lab: Lab, rebuilt: InventoryFile, deploy: Deploy) -> None:
    """The packages are installed by hand, and Ollama by r1.py, for which a host without a GPU will do."""
    lab.reset(BARE)
    lab.check(BARE, "sed -i 's/ main/ main contrib non-free/' /etc/apt/sources.list && apt-get -q update")
    packages = "nvidia-driver curl zstd iproute2 ca-certificates"
    lab.check(BARE, f"DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends {packages} >&2")
    declared = rebuilt.host(BARE)
    models, gpus = declared["models"], declared["gpus"]
    run = deploy(rebuilt.set(BARE, models=None, gpus=None, require_gpu=False))
    assert run.rc == 0, run.out
    found = [line for line in lab.journal(BARE, 0, "--unit=ollama") if "inference compute" in line]
    assert found != []
    assert not any("NVIDIA" in line for line in found), found
    assert lab.exec(BARE, "nvidia-smi").rc != 0

    run = deploy(rebuilt.set(BARE, models=models, gpus=gpus, require_gpu=None), "rebuild")

    said_once(run, BARE, "reboot, and wait until the host is back", "was installed since the host has booted")
    assert "install NVIDIA's driver" not in run.out
    assert_rebuilt(run, lab)
    assert "NVIDIA" in [line for line in lab.journal(BARE, 0, "--unit=ollama") if "inference compute" in line][-1]


def test_a_driver_that_does_not_load_after_the_reboot_is_said_with_the_kernels_reason(
    lab: Lab, rebuilt: InventoryFile, deploy: Deploy
) -> None:
    lab.reset(BARE)
    reason = "NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:1f02) is not supported by the 570.133.20 driver release."
    with declared_fault(lab, f"{reason}\n"):
        run = deploy(rebuilt, "rebuild")

        one_error(run, BARE, "NVIDIA's driver 570 is installed and does not load", "0000:01:00.0", "nvidia_driver")
        assert reason in run.out
        assert "Stage serve: install" not in run.about(BARE)
        boot = lab.read(BARE, "/proc/sys/kernel/random/boot_id")
        again = deploy(rebuilt, "rebuild")
        one_error(again, BARE, "does not load")
        assert lab.read(BARE, "/proc/sys/kernel/random/boot_id") == boot, "it rebooted for nothing"
    lab.reboot(BARE)
    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)


def test_a_package_source_that_is_down_is_said_and_the_next_run_goes_on(
    lab: Lab, rebuilt: InventoryFile, deploy: Deploy
) -> None:
    lab.reset(BARE)
    lab.mirror.down()

    run = deploy(rebuilt, "rebuild")

    one_error(run, BARE, "package sources can't be reached", "zstd", "/etc/apt/sources.list")
    lab.mirror.set(missing=["*nvidia-driver_570*"])
    lab.mirror.up()
    run = deploy(rebuilt, "rebuild")
    one_error(run, BARE, "package sources can't be reached", "nvidia-driver")
    lab.mirror.reset()
    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)


def test_secure_boot_is_explained_before_the_driver_is_installed(
    lab: Lab, rebuilt: InventoryFile, deploy: Deploy
) -> None:
    """The lab's hosts have no firmware: mokutil, which asks it, says what is wanted."""
    lab.reset(BARE)
    lab.write(BARE, "/usr/local/bin/mokutil", "#!/bin/sh\necho 'SecureBoot enabled'\n", 0o755)

    run = deploy(rebuilt, "rebuild")

    one_error(run, BARE, "Secure Boot is on", "Enroll")
    assert "mokutil --import /var/lib/dkms/mok.pub" in run.out
    assert lab.exec(BARE, "dpkg-query -W nvidia-driver").rc != 0
    lab.check(BARE, "rm /usr/local/bin/mokutil")
    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)


def test_a_branch_that_the_sources_lack_or_that_is_too_old_is_refused(
    lab: Lab, rebuilt: InventoryFile, deploy: Deploy
) -> None:
    lab.reset(BARE)
    run = deploy(rebuilt.set(BARE, nvidia_driver=580), "rebuild")
    one_error(run, BARE, "no NVIDIA driver of branch 580", "535 and 570")
    one_error(deploy(rebuilt.set(BARE, nvidia_driver=535), "rebuild"), BARE, "535 is too old", "550")
    assert lab.exec(BARE, "dpkg-query -W nvidia-driver").rc != 0


def test_who_else_installs_packages_is_waited_for(lab: Lab, rebuilt: InventoryFile, start: Start) -> None:
    lab.reset(BARE)
    # As apt locks: fcntl(2), exclusively.
    take = 'use Fcntl; my $l = pack("s s l! l! i", 1, 0, 0, 0, 0); fcntl(STDIN, F_SETLK, $l) or die; sleep 300'
    lab.check(
        BARE,
        [
            "systemd-run",
            "--quiet",
            "--unit=other-apt",
            "bash",
            "-c",
            f"exec perl -e '{take}' <>/var/lib/dpkg/lock-frontend",
        ],
    )
    time.sleep(0.5)

    run = Watched(start(rebuilt, "rebuild"))

    run.until("waiting for perl (pid")
    lab.check(BARE, "systemctl stop other-apt")
    assert run.end() == 0, run.out


def test_a_disk_that_fills_up_is_said_and_the_next_run_goes_on(
    lab: Lab, rebuilt: InventoryFile, deploy: Deploy
) -> None:
    lab.reset(BARE)
    lab.check(BARE, "mount -t tmpfs -o size=3m tmpfs /var/cache/apt/archives && mkdir /var/cache/apt/archives/partial")
    run = deploy(rebuilt, "rebuild")
    one_error(run, BARE, "the disk is full", "df -h")
    lab.check(BARE, "umount /var/cache/apt/archives")
    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_in_any_stage_is_survived(
    seed: int, lab: Lab, rebuilt: InventoryFile, start: Start, deploy: Deploy, record_property: Any
) -> None:
    record_property(POWER_CUT, "rebuild")
    lab.reset(BARE)
    run = Watched(start(rebuilt, "rebuild"))

    cut_power(lab, BARE, run, moment(seed, STAGES))

    assert_left_whole(lab, BARE)
    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)


#: A stand-in for a clock that is years off: hosts of the lab share the machine's, which no test may set.
DATE = """#!/bin/bash
case " $* " in *" -s "*) exec rm /etc/clock-behind-s ;; esac
exec /usr/bin/date -d "@$(($(/usr/bin/date +%s) - $(cat /etc/clock-behind-s 2>/dev/null || echo 0)))" "$@"
"""


def test_a_clock_that_is_years_off_is_said_by_r1_and_set_by_a_rebuild(
    lab: Lab, rebuilt: InventoryFile, deploy: Deploy
) -> None:
    lab.reset(BARE)
    assert_rebuilt(deploy(rebuilt, "rebuild"), lab)
    lab.write(BARE, "/usr/local/bin/date", DATE, 0o755)
    lab.write(BARE, "/etc/clock-behind-s", "290000000\n")

    run = deploy(rebuilt)
    one_error(run, BARE, "9.2 years behind", "TLS fails", "deploys/rebuild.py")

    run = deploy(rebuilt, "rebuild")
    said_once(run, BARE, "set the clock, which is 9.2 years behind")
    assert_rebuilt(run, lab)
    assert_changed_nothing(deploy(rebuilt, "rebuild"), BARE)

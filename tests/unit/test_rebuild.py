"""The stages of a rebuild before r1.py's steps, from what was seen: no host is needed."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corral.changes import Change
from corral.errors import CorralError
from corral.gpus.inventory import Card, Device, Inventory
from corral.platforms.windows import WINDOWS
from corral.probe import state as probe
from corral.rebuild import amd, bare, clock, nvidia, packages
from corral.rebuild.nvidia import Seen, Wanted
from corral.rebuild.system import COMMANDS, System, parse, question
from corral.scripts import Script

PROXY = {"PROXY": "", "NO_PROXY_FOR": ""}
KERNEL = "6.1.0-30-amd64"
WANTED = Wanted(None, 550)
OFFERS = {
    "nvidia-driver": ("535.247.01-1", "570.133.20-1"),
    "nvidia-smi": ("570.133.20-1",),
    f"linux-headers-{KERNEL}": ("1",),
}
UBUNTU = {
    "nvidia-driver-535-server": ("535.1",),
    "nvidia-driver-570": ("570.1",),
    "nvidia-driver-570-server": ("570.1",),
    "nvidia-driver-590-server": ("590.1",),
}


def host(os_id: str = "debian", *, card: str = "", loaded: str = "", vendor: str = "NVIDIA", **system: Any) -> Seen:
    """A host with one card; card: its kernel driver. loaded: the version that nvidia-smi tells."""
    devices = (Device(vendor, "RTX 2070", bus_id="0000:01:00.0", driver=loaded),) if loaded else ()
    gpus = Inventory(devices=devices, cards=(Card(vendor, "0000:01:00.0", card),))
    state = replace(probe.parse({"os.release": f"ID={os_id}\nPRETTY_NAME={os_id} 1\n"}), gpus=gpus)
    return Seen(state, System(**{"apt": "amd64", "kernel": KERNEL, "offers": OFFERS, **system}))


def driver_changes(*looks: Seen, wanted: Wanted = WANTED) -> list[Change]:
    """The changes when each look at the host sees the next of these, and in the end the last one."""
    left = list(looks)
    return list(nvidia.changes(lambda: left.pop(0) if len(left) > 1 else left[0], wanted, PROXY))


def script(change: Change) -> Mapping[str, Any]:
    assert isinstance(change.action, Script)
    return change.action.variables


def test_the_newest_branch_that_serves_every_card_is_taken_unless_one_is_declared() -> None:
    assert nvidia.choose(OFFERS, WANTED) == ("nvidia-driver", 570)
    assert nvidia.choose(UBUNTU, WANTED) == ("nvidia-driver-570-server", 570)
    assert nvidia.choose(UBUNTU, Wanted(590, 550)) == ("nvidia-driver-590-server", 590)
    assert nvidia.choose({"nvidia-driver": ("535.247.01-1",)}, WANTED) is None
    assert nvidia.choose({"nvidia-driver-570-server-open": ("1",)}, WANTED) is None


def test_open_modules_that_people_have_installed_are_a_driver() -> None:
    assert host("ubuntu", installed={"nvidia-driver-570-open": "570.133"}).installed == 570


def test_a_declared_branch_that_ollama_can_not_use_is_refused() -> None:
    with pytest.raises(CorralError, match=r"535 is too old: Ollama 0\.34\.4 needs 550"):
        Wanted.of(535, "0.34.4")
    assert Wanted.of(535, "0.24.0").least == 531


def test_debians_driver_comes_with_headers_a_pin_and_nouveau_kept_away() -> None:
    (change,) = driver_changes(host())
    assert change.summary == "install NVIDIA's driver 570"
    assert script(change)["PACKAGES"] == ("nvidia-driver", "nvidia-smi", f"linux-headers-{KERNEL}")
    assert "Pin: version 570.*" in script(change)["PREFERENCES_TEXT"]
    assert "blacklist nouveau" in script(change)["BLOCK_TEXT"]


def test_the_headers_of_later_kernels_come_along_with_a_kernel_that_apt_keeps_new() -> None:
    (change,) = driver_changes(host(headers=True, installed={"linux-image-amd64": "6"}))
    assert script(change)["PACKAGES"][-1] == "linux-headers-amd64"


def test_a_kernel_without_headers_is_replaced_by_the_newest_one() -> None:
    offers = {**OFFERS, "linux-image-amd64": ("6",), "linux-headers-amd64": ("6",)}
    del offers[f"linux-headers-{KERNEL}"]
    (change,) = driver_changes(host(offers=offers))
    assert script(change)["PACKAGES"][-2:] == ("linux-image-amd64", "linux-headers-amd64")
    assert any("no headers" in line for line in change.detail)
    with pytest.raises(CorralError, match="no headers for Linux"):
        driver_changes(host(offers={"nvidia-driver": ("570.1",)}))


def test_ubuntus_modules_are_those_that_ubuntu_has_built_for_the_kernel() -> None:
    modules = f"linux-modules-nvidia-570-server-{KERNEL}"
    (change,) = driver_changes(host("ubuntu", offers={**UBUNTU, modules: ("1",)}, secure_boot=True))
    assert script(change)["PACKAGES"] == ("nvidia-driver-570-server", modules)
    assert script(change)["PREFERENCES_TEXT"] == ""


def test_sources_without_the_driver_are_told_to_have_it_and_then_looked_at_again() -> None:
    sources, install = driver_changes(host(offers={}), host())
    assert "contrib, non-free and non-free-firmware" in sources.summary
    assert install.summary == "install NVIDIA's driver 570"
    with pytest.raises(CorralError, match="no NVIDIA driver of branch 580; they have 535 and 570"):
        driver_changes(host(offers={}), host(), wanted=Wanted(580, 550))


def test_a_driver_that_is_at_work_is_left_alone() -> None:
    assert driver_changes(host(card="nvidia", loaded="575.1")) == []
    assert driver_changes(host(card="nvidia", loaded="575.1", hand_made="/usr/bin/nvidia-uninstall")) == []


def test_a_hand_made_driver_that_will_not_do_is_named_and_not_touched() -> None:
    with pytest.raises(CorralError, match=r"NVIDIA's own installer.*driver 470\.1 is not as wanted.*nvidia-uninstall"):
        driver_changes(host(card="nvidia", loaded="470.1", hand_made="/usr/bin/nvidia-uninstall"))


def test_secure_boot_stops_modules_that_are_built_here_unless_their_key_is_enrolled() -> None:
    with pytest.raises(CorralError, match="mokutil --import /var/lib/dkms/mok"):
        driver_changes(host(secure_boot=True))
    assert len(driver_changes(host(secure_boot=True, key_enrolled=True))) == 1


def test_other_distributions_are_told_what_to_do() -> None:
    with pytest.raises(CorralError, match=r"Debian and Ubuntu only, and this is rhel 1.*CUDA repository"):
        driver_changes(host("rhel", apt=""))


def test_persistence_is_switched_on_where_it_is_off() -> None:
    (change,) = driver_changes(host(card="nvidia", loaded="570.1", persistence="disabled"))
    assert change.summary == "enable nvidia-persistenced.service"


def test_a_reboot_is_needed_for_a_driver_that_is_newer_than_the_boot_or_made_for_another_kernel() -> None:
    installed: dict[str, Any] = {"installed": {"nvidia-driver": "570.133.20-1"}, "modules": frozenset({KERNEL})}
    assert "since the host has booted" in nvidia.reboot_reason(host(**installed, since_boot=("nvidia-driver",)), WANTED)
    other = {**installed, "modules": frozenset({"6.1.0-31-amd64"})}
    assert "for Linux 6.1.0-31-amd64" in nvidia.reboot_reason(host(**other), WANTED)
    with pytest.raises(CorralError, match="does not load") as caught:  # no reboot would help
        nvidia.reboot_reason(host(**{**installed, "modules": frozenset({"6.1.0-9-amd64"})}), WANTED)
    assert f"dkms autoinstall -k {KERNEL}" in caught.value.remedy
    assert nvidia.reboot_reason(host(card="nvidia", loaded="570.133.20", **installed), WANTED) == ""
    assert nvidia.reboot_reason(host(), WANTED) == ""


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        ("NVRM: API mismatch: the client has the version 570", "Two versions"),
        ("Loading of module with unavailable key is rejected: Lockdown", "Secure Boot"),
        ("NVRM: requires use of the NVIDIA open kernel modules", "nvidia-open-kernel-dkms"),
        ("NVRM: The NVIDIA GPU is not supported by the 570 driver release", "declare another as nvidia_driver"),
        ("nouveau 0000:01:00.0: NVIDIA TU106", "update-initramfs"),
        ("", "modprobe nvidia"),
    ],
)
def test_a_driver_that_does_not_load_is_said_with_what_the_kernel_said_and_what_helps(log: str, remedy: str) -> None:
    installed = {"nvidia-driver": "570.133.20-1"}
    with pytest.raises(CorralError, match="does not load") as caught:
        nvidia.reboot_reason(host(installed=installed, modules=frozenset({KERNEL}), kernel_log=log), WANTED)
    assert remedy in caught.value.remedy
    assert log in caught.value.detail


def test_amds_cards_get_firmware_groups_and_amdgpu() -> None:
    seen = host(vendor="AMD", offers={"firmware-amd-graphics": ("1",)})
    (change,) = amd.changes(seen.state, seen.system, PROXY)
    assert change.summary == (
        "install firmware-amd-graphics, make the groups render and video and load amdgpu for 0000:01:00.0"
    )
    with pytest.raises(CorralError, match="amdgpu does not run the card"):
        amd.check_loaded(seen.state, seen.system)


def bare_changes(ahead_s: float = 0, name: str = "", **system: Any) -> list[str]:
    whole = {"hostname": "box", "commands": frozenset(COMMANDS), "certificates": True, "apt": "amd64"}
    seen = System(**{**whole, "timekeepers": {"chrony": "enabled"}, **system})
    return [change.summary for change in bare.changes(None, seen, ahead_s, (name, "gpu1"), PROXY)]  # type: ignore[arg-type]


def test_a_host_that_has_all_needs_nothing() -> None:
    assert bare_changes() == []


def test_a_wrong_clock_is_set_and_one_that_nothing_keeps_right_gets_a_keeper() -> None:
    assert bare_changes(-9.2 * 365.25 * 86_400) == ["set the clock, which is 9.2 years behind, by this machine's"]
    assert bare_changes(timekeepers={}) == [
        "install systemd-timesyncd",
        "have systemd-timesyncd keep the clock right",
    ]
    assert bare_changes(timekeepers={"chrony": "disabled"}) == ["have chrony keep the clock right"]


def test_a_clock_with_which_tls_fails_is_said() -> None:
    clock.check(-3600)
    with pytest.raises(CorralError, match="years behind: TLS fails"):
        clock.check(-9.2 * 365.25 * 86_400)
    state = probe.parse({"os.clock": "1000\n"}, 5000.0)
    assert state.clock_ahead_s == -4000


def test_only_a_nameless_host_gets_the_inventorys_name() -> None:
    assert bare_changes(hostname="debian") == ["name the host gpu1 instead of debian"]
    assert bare_changes(name="other") == ["name the host other instead of box"]


def test_what_dpkg_was_interrupted_in_comes_first() -> None:
    assert bare_changes(interrupted=("zstd",), commands=frozenset(COMMANDS) - {"zstd"}) == [
        "finish what dpkg was interrupted in (zstd)",
        "install zstd",
    ]


def test_a_host_without_apt_is_told_what_it_lacks() -> None:
    with pytest.raises(CorralError, match="lacks zstd, and corral installs packages with apt only"):
        bare_changes(apt="", commands=frozenset(COMMANDS) - {"zstd"}, timekeepers={})


def test_windows_hosts_are_told_where_to_read() -> None:
    with pytest.raises(CorralError, match=r"Linux hosts only.*README"):
        WINDOWS.stages(None)  # type: ignore[arg-type]


def test_components_are_added_to_debians_own_entries_in_both_formats(tmp_path: Path) -> None:
    apt = tmp_path / "etc/apt"
    (apt / "sources.list.d").mkdir(parents=True)
    (apt / "sources.list").write_text("# a comment with main\ndeb http://one bookworm main contrib\n")
    (apt / "sources.list.d/debian.sources").write_text("Types: deb\nURIs: http://two\nComponents: main\n")
    (apt / "sources.list.d/other.list").write_text("deb http://three ./\n")
    variables = {"COMPONENTS": ("contrib", "non-free"), "ROOT": str(tmp_path)}

    for _ in range(2):
        _run(packages.script("sources.sh", PROXY, **variables))

    assert (
        apt / "sources.list"
    ).read_text() == "# a comment with main\ndeb http://one bookworm main contrib non-free\n"
    assert "Components: main contrib non-free\n" in (apt / "sources.list.d/debian.sources").read_text()
    assert (apt / "sources.list.d/other.list").read_text() == "deb http://three ./\n"


def test_secure_boot_and_modules_are_read_from_where_the_kernel_has_them(tmp_path: Path) -> None:
    variables = tmp_path / "sys/firmware/efi/efivars"
    variables.mkdir(parents=True)
    (variables / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c").write_bytes(b"\x06\0\0\0\x01")
    module = tmp_path / "lib/modules/6.1.0-1/updates/dkms/nvidia-current.ko.xz"
    module.parent.mkdir(parents=True)
    module.touch()

    seen = _probed(tmp_path)

    assert seen.secure_boot
    assert seen.modules == {"6.1.0-1"}


def _probed(root: Path) -> System:
    lines = (line.partition(" ") for line in _run(question(str(root))).splitlines())
    return parse({name: base64.b64decode(text).decode() for name, _, text in lines})


def _run(script: Script) -> str:
    # Its standard input stays open as long as it runs: that is the connection.
    with subprocess.Popen(
        ["bash", "-c", script.text()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout
        return shell.stdout.read()

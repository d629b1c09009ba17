"""Hosts, mirrors and networks that are not as they should be: one clear error, nothing harmed, the others finish."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.mirror import Cut
from tests.lab.expect import (
    ARCHIVE,
    assert_converged,
    finished,
    left_running,
    one_error,
    resumed_at,
    traces,
)
from tests.lab.tracing import commands_over_ssh

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory

PROXY = Path(__file__).with_name("proxy.py")
PROXY_PASSWORD = "geheim-4711"


@contextmanager
def in_place_of(lab: Lab, host: str, path: str, text: str) -> Iterator[None]:
    """A file of the host says something else for a while, without being changed."""
    lab.write(host, "/run/stand-in", text, 0o755)
    lab.check(host, f"mount --bind /run/stand-in {path}")
    try:
        yield
    finally:
        lab.check(host, f"umount {path}")


def test_systems_that_cannot_run_ollama_are_refused_before_anything_is_changed(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    """No host of the lab has another init, C library or processor, so what they say of themselves is replaced."""
    before = {host: traces(lab, host) for host in ("rtx4090", "rtx3080", "rtx2070")}
    with (
        in_place_of(lab, "rtx4090", "/proc/1/comm", "runit\n"),
        in_place_of(lab, "rtx3080", "/usr/bin/ldd", "#!/bin/sh\necho 'musl libc (x86_64)' >&2\nexit 1\n"),
        in_place_of(lab, "rtx2070", "/usr/bin/uname", "#!/bin/sh\necho riscv64\n"),
    ):
        run = deploy(inventory)

    one_error(run, "rtx4090", "Debian GNU/Linux 12", "does not run systemd")
    one_error(run, "rtx3080", "musl", "glibc")
    one_error(run, "rtx2070", "riscv64", "x86_64 and aarch64")
    for host, files in before.items():
        assert traces(lab, host) ^ files == set()


def test_a_port_that_another_program_has_is_told_with_the_programs_name(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.reset("rtx4090")
    lab.check("rtx4090", "systemd-run --quiet --unit=squatter systemd-socket-activate --listen=11434 /bin/cat")
    before = traces(lab, "rtx4090")

    run = deploy(inventory.only("rtx4090", "rtx2070"))

    one_error(run, "rtx4090", "port 11434 is taken by systemd-socket", "pid", "OLLAMA_HOST")
    assert finished(run, "rtx2070"), run.out
    assert traces(lab, "rtx4090") ^ before == set()
    assert lab.exec("rtx4090", "systemctl is-active squatter").out.strip() == "active"
    lab.check("rtx4090", "systemctl stop squatter")


def test_an_archive_with_another_checksum_is_deleted_and_never_unpacked(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.reset("rtx4090")
    lab.mirror.set(corrupt=[ARCHIVE])

    run = deploy(inventory.only("rtx4090", "rtx2070"))

    one_error(run, "rtx4090", "SHA-256", "deleted", "ollama_version")
    assert finished(run, "rtx2070"), run.out
    assert lab.exec("rtx4090", "find /opt/ollama -type f -size +100k").out == ""
    assert lab.exec("rtx4090", "test -e /opt/ollama/current").rc != 0


def test_a_mirror_that_goes_down_in_the_middle_of_a_download_costs_only_the_rest_of_it(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.reset("rtx4090")
    half = 5_000_000
    lab.mirror.set(cuts=[Cut(ARCHIVE, after_bytes=half, gone=True)])
    inventory.only("rtx4090")

    run = deploy(inventory)

    one_error(run, "rtx4090", "broke off", "Run again", "mirror.lab")
    assert left_running(lab, "rtx4090") == ""
    lab.mirror.reset()
    begun = time.time()
    assert_converged(deploy(inventory), lab, "rtx4090")
    assert resumed_at(lab, "ollama-linux-amd64.tar.zst", begun) == [half]


def test_a_registry_that_is_down_fails_only_the_host_that_needs_it(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    inventory.only("rtx4090", "rtx2070")
    assert finished(deploy(inventory), "rtx2070")
    before = traces(lab, "rtx4090")
    inventory.host("rtx4090")["models"].append({"name": "another", "from": "deepseek-r1:8b"})
    lab.mirror.down()

    run = deploy(inventory)

    one_error(run, "rtx4090", "deepseek-r1:8b", "registry can't be reached", "network")
    assert finished(run, "rtx2070"), run.out
    assert traces(lab, "rtx4090") ^ before == set()


def test_a_server_that_does_not_come_up_shows_the_end_of_its_journal(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    inventory.only("rtx4090", "rtx2070")
    inventory.set("rtx4090", environment={"OLLAMA_HOST": "10.77.0.99:11434"})

    run = deploy(inventory)

    one_error(run, "rtx4090", "ollama.service", "does not come up")
    assert "listen tcp 10.77.0.99:11434: bind: cannot assign requested address" in run.out
    assert finished(run, "rtx2070"), run.out
    inventory.set("rtx4090", environment=None)
    assert_converged(deploy(inventory), lab, "rtx4090")


def test_a_models_dir_with_spaces_on_another_disk_holds_the_models(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    """As inventory/lab.yml declares it for this host."""
    inventory.only("rtx3080")

    assert_converged(deploy(inventory), lab, "rtx3080")

    assert lab.exec("rtx3080", "ls '/mnt/big disk/ollama models/blobs'").out.count("sha256-") >= 3
    assert lab.exec("rtx3080", "ls /var/lib/ollama/models").rc != 0
    assert (
        "OLLAMA_MODELS=/mnt/big disk/ollama models" in lab.exec("rtx3080", "systemctl show ollama -p Environment").out
    )


def test_secrets_show_in_no_command_line_no_output_and_no_file_that_others_can_read(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.reset("rtx3080")
    lab.write("mirror", "/run/proxy.py", PROXY.read_text())
    lab.exec("mirror", "systemctl stop proxy; systemctl reset-failed proxy")
    lab.check("mirror", f"systemd-run --quiet --unit=proxy python3 /run/proxy.py 3128 user:{PROXY_PASSWORD}")
    inventory.only("rtx3080").set("rtx3080", proxy={"env": "LAB_PROXY"})
    sudo_password = lab.layout.sudo_password.read_text()
    secrets = (PROXY_PASSWORD, sudo_password)
    lab.mirror.set(bytes_per_second=20_000_000)

    with commands_over_ssh(lab, "rtx3080") as commands:
        run = deploy(
            inventory, "r1", "-vvv", "--debug", env={"LAB_PROXY": f"http://user:{PROXY_PASSWORD}@10.77.0.2:3128"}
        )

    assert_converged(run, lab, "rtx3080")
    assert "tunnelled" in lab.exec("mirror", "journalctl -u proxy -o cat").out
    for program in ("sudo", "bash", "curl", "systemctl"):
        assert any(f'/{program}"' in command for command in commands), f"{program} was not seen: {commands}"
    readable = "find / -xdev -type f -newer /proc/1 -perm /o+r -size -100k -print0"
    search = f"xargs -0 grep -lF -e '{PROXY_PASSWORD}' -e '{sudo_password}'"
    assert lab.exec("rtx3080", f"{readable} 2>/dev/null | {search} 2>/dev/null").out == ""
    for secret in secrets:
        assert not [command for command in commands if secret in command]
        assert secret not in run.out
        assert secret not in lab.exec("rtx3080", "systemctl show ollama; systemctl cat ollama").out
        # Ollama itself logs its environment; all that can be done about that is to say so.
        assert not [line for line in lab.journal("rtx3080") if secret in line and 'msg="server config"' not in line]
    assert "Ollama writes its proxy's address into its journal" in run.about("rtx3080")
    modes = lab.exec("rtx3080", "stat -c '%a %U %n' /etc/ollama/secrets.env /etc/ollama /etc/ollama/modelfiles/*").out
    assert modes.splitlines() == [
        "600 root /etc/ollama/secrets.env",
        "755 root /etc/ollama",
        "644 root /etc/ollama/modelfiles/r1_latest.modelfile",
    ]

    lab.check("mirror", "systemctl stop proxy")

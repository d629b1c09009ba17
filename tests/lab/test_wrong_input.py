"""What a user declares wrongly: one sentence with file, line or key and a remedy; the other hosts finish."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.expect import finished, one_error, traces

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Deploy, Inventory


def line_of(file: Path, word: str) -> int:
    """The number of the first line with this word in it, from 1."""
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if word in line)


def test_an_unknown_key_and_a_bad_value_fail_their_own_hosts_with_file_and_line(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    inventory.set("rtx3080", modles_dir="/srv/models")
    inventory.host("rtx2070")["models"][0]["parameters"]["num_ctx"] = "many"
    inventory.document["hosts"]["office-pc"] = {"address": "10.77.0.99", "os": "macos"}
    before = {host: traces(lab, host) for host in ("rtx3080", "rtx2070")}
    file = inventory.write()

    run = deploy(inventory)

    place = f"{file}:{line_of(file, 'modles_dir')}: hosts.rtx3080.modles_dir"
    one_error(run, "rtx3080", place, "unknown key", "models_dir")
    place = f"{file}:{line_of(file, 'many')}: hosts.rtx2070.models[0].parameters.num_ctx"
    one_error(run, "rtx2070", place, "many", "whole number")
    one_error(run, "office-pc", f"{file}:", "macos is not supported yet")
    assert finished(run, "rtx4090"), run.out
    for host, files in before.items():
        assert traces(lab, host) ^ files == set()


def test_a_machine_that_is_declared_twice_is_refused_by_name_and_the_others_finish(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    inventory.document["hosts"]["spare"] = {"address": "10.77.0.12", "ssh_user": "ops"}
    before = traces(lab, "rtx3080")
    file = inventory.write()

    run = deploy(inventory)

    first, second = line_of(file, "rtx3080:"), line_of(file, "spare:")
    one_error(run, "spare", f"{file}:{second}: hosts.spare", f"rtx3080 on line {first}", "Declare it once")
    one_error(run, "rtx3080", f"{file}:{first}: hosts.rtx3080", f"spare on line {second}", "Declare it once")
    assert finished(run, "rtx4090"), run.out
    assert traces(lab, "rtx3080") ^ before == set()


def test_a_missing_template_and_a_missing_gguf_file_fail_before_anything_is_changed(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    inventory.host("rtx3080")["models"][0]["template"] = "deepseek-r9"
    inventory.host("rtx2070")["models"][0]["from"] = "./nothing.gguf"
    before = {host: traces(lab, host) for host in ("rtx3080", "rtx2070")}

    run = deploy(inventory)

    one_error(run, "rtx3080", "models: r1", "no chat template 'deepseek-r9'", "deepseek-r1")
    one_error(run, "rtx2070", "models: r1", "from", str(inventory.path.parent / "nothing.gguf"), "inventory")
    assert finished(run, "rtx4090"), run.out
    for host, files in before.items():
        assert traces(lab, host) ^ files == set()


def test_a_parameter_that_ollama_lacks_and_a_broken_chat_template_leave_the_models_as_they_are(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    """The first is noticed here, the second by Ollama itself."""
    assert deploy(inventory.only("rtx3080", "rtx2070")).rc == 0
    inventory.host("rtx3080")["models"][0]["parameters"]["temprature"] = 0.6
    inventory.host("rtx2070")["models"][0]["template"] = "{{ if .Prompt }}{{ .Prompt }}"
    manifests = "cd /var/lib/ollama/models/manifests && find . -type f | xargs sha256sum; cat /etc/ollama/modelfiles/*"
    before, untouched = lab.check("rtx2070", manifests), traces(lab, "rtx3080")
    file = inventory.write()

    run = deploy(inventory)

    place = f"{file}:{line_of(file, 'temprature')}: hosts.rtx3080.models[0].parameters.temprature"
    one_error(run, "rtx3080", place, "temperature")
    one_error(run, "rtx2070", "r1:latest", "template error", "Correct the model's template")
    assert lab.check("rtx2070", manifests) == before
    assert traces(lab, "rtx3080") ^ untouched == set()


def test_models_that_no_registry_has_or_no_disk_holds_fail_before_anything_is_changed(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    inventory.host("rtx4090")["models"][0]["from"] = "deepseek-r1:671b"
    inventory.host("rtx3080")["models"][0]["from"] = "deepseek-r1:99b"
    inventory.host("rtx2070")["models"][0]["from"] = "registry.example/team/r1:7b"
    before = {host: traces(lab, host) for host in ("rtx4090", "rtx3080", "rtx2070")}

    run = deploy(inventory)

    one_error(run, "rtx4090", "models_dir", "/var/lib/ollama/models", "need 404.4 GB", "smaller model")
    one_error(run, "rtx3080", "from", "deepseek-r1:99b", "no such model", "tag")
    one_error(run, "rtx2070", "from", "registry.example/team/r1:7b", "can't be reached", "proxy")
    for host, files in before.items():
        assert traces(lab, host) ^ files == set()


def test_a_small_disk_fails_with_the_space_that_it_has(lab: Lab, inventory: Inventory, deploy: Deploy) -> None:
    lab.exec("rtx2070", "cat /dev/zero >/mnt/small/ballast; truncate -s -100K /mnt/small/ballast")
    inventory.only("rtx2070").set("rtx2070", models_dir="/mnt/small/some models")
    try:
        run = deploy(inventory)
    finally:
        lab.check("rtx2070", "rm /mnt/small/ballast")

    one_error(run, "rtx2070", "models_dir", "/mnt/small/some models", " free, ", "another models_dir")
    assert lab.exec("rtx2070", "ls /mnt/small").out == ""


def test_a_key_that_the_host_does_not_take_fails_that_host(
    lab: Lab, inventory: Inventory, deploy: Deploy, tmp_path: Path
) -> None:
    key = tmp_path / "other key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    inventory.only("rtx4090", "rtx3080", "rtx2070")
    inventory.set("rtx3080", ssh_key=str(key), ssh_allow_agent=False, ssh_look_for_keys=False, ssh_config_file=None)
    lab.off("rtx2070")

    run = deploy(inventory)

    one_error(run, "rtx3080", "Authentication", "ssh_key", "ssh-copy-id ops@10.77.0.12")
    one_error(run, "rtx2070", "Could not connect", "Is it on", "ssh ops@10.77.0.13 -p 2222 true")
    assert finished(run, "rtx4090"), run.out


def test_ways_not_to_become_root_are_told_apart(lab: Lab, inventory: Inventory, deploy: Deploy) -> None:
    """A user who is not root and declares no sudo, and a wrong password for it."""
    inventory.set("rtx2070", sudo=None)
    inventory.set("rtx3080", sudo_password={"env": "WRONG_PASSWORD"})
    before = {host: traces(lab, host) for host in ("rtx3080", "rtx2070")}

    run = deploy(inventory, env={"WRONG_PASSWORD": "not it"})

    one_error(run, "rtx2070", "not root", "sudo: true")
    one_error(run, "rtx3080", "sudo refused the password", "sudo_password")
    assert finished(run, "rtx4090"), run.out
    for host, files in before.items():
        assert traces(lab, host) ^ files == set()


def test_a_user_without_sudo_rights_and_a_password_that_nobody_declared_are_told_apart(
    lab: Lab, inventory: Inventory, deploy: Deploy
) -> None:
    lab.check(
        "rtx2070",
        "id guest >/dev/null 2>&1 || useradd --create-home --shell /bin/bash guest; "
        "install -D -o guest -m 600 /home/ops/.ssh/authorized_keys /home/guest/.ssh/authorized_keys; "
        "chown guest /home/guest/.ssh; echo guest:welcome | chpasswd",
    )
    inventory.only("rtx3080", "rtx2070")
    inventory.set("rtx2070", ssh_user="guest", sudo_password={"env": "GUEST_PASSWORD"})
    inventory.set("rtx3080", sudo_password=None)

    run = deploy(inventory, env={"GUEST_PASSWORD": "welcome"})

    one_error(run, "rtx2070", "may not become root with sudo", "ssh_user")
    one_error(run, "rtx3080", "sudo asks for a password", "sudo_password")


def test_an_inventory_that_is_not_there_is_one_sentence_and_no_host_is_touched(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [root / "lab/run", "pyinfra", "-y", "inventory.py", "deploys/r1.py"],
        cwd=root,
        env={**os.environ, "CORRAL_INVENTORY": str(tmp_path / "none.yml")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert f"{tmp_path}/none.yml is missing" in done.stderr
    assert "inventory/example.yml" in done.stderr

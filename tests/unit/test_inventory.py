"""An inventory's problems are told with file, line, key and remedy, and spoil no more than they must."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.inventory import Inventory as PyinfraInventory

from corral.connection import Connection
from corral.connectors.invalid import InvalidConnector
from corral.errors import CorralError
from corral.inventory import PROBLEM_KEY, Inventory, find, load, to_pyinfra
from corral.secret import Secret
from corral.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n"


def read(directory: Path, text: str, environ: Mapping[str, str] | None = None, mode: int = 0o644) -> Inventory:
    file = directory / "lab.yml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return load(file, environ or {})


def refusal(directory: Path, text: str) -> str:
    with pytest.raises(CorralError) as caught:
        read(directory, text)
    return str(caught.value)


def data_of(inventory: Inventory, name: str) -> dict[str, Any]:
    """What pyinfra would make of a host's data."""
    hosts, shared = to_pyinfra(inventory)["all"]
    assert isinstance(hosts, list)
    assert isinstance(shared, dict)
    return {**shared, **dict(hosts)[name if name.startswith("@") else f"@corral/{name}"]}


def test_a_name_is_enough_to_declare_a_host(tmp_path: Path) -> None:
    inventory = read(tmp_path, "hosts:\n  alpha:\n")
    assert not inventory.invalid
    assert inventory.hosts["alpha"].settings == Settings()
    assert data_of(inventory, "alpha") == {
        "ssh_hostname": "alpha",
        "corral_inventory": str(tmp_path / "lab.yml"),
    }


def test_hosts_win_over_groups_and_groups_over_defaults(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        """
defaults: {ssh_user: a, models_dir: /d, start_timeout_s: 1}
groups:
  one: {ssh_user: b, models_dir: /one, load_timeout_s: 5}
  two: {models_dir: /two}
hosts:
  alpha: {groups: [one, two], ssh_user: c}
  beta: {}
""",
    )
    alpha = data_of(inventory, "alpha")
    assert (alpha["ssh_user"], alpha["models_dir"], alpha["load_timeout_s"]) == ("c", "/two", 5)
    assert inventory.hosts["alpha"].settings.models_dir == "/two"
    assert inventory.hosts["alpha"].settings.start_timeout_s == 1
    # What only the defaults say is no data of the host's own, so that group_data/*.py wins over it.
    assert "start_timeout_s" not in inventory.hosts["alpha"].own_data
    assert inventory.default_data == {"ssh_user": "a", "models_dir": "/d", "start_timeout_s": 1}
    groups = to_pyinfra(inventory)
    assert groups["one"] == ["@corral/alpha"]
    assert groups["two"] == ["@corral/alpha"]


def test_the_environment_is_put_together_by_variable(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        """
defaults: {environment: {OLLAMA_DEBUG: 1, OLLAMA_KEEP_ALIVE: 1h}}
groups: {g: {environment: {OLLAMA_KEEP_ALIVE: 2h, OLLAMA_NUM_PARALLEL: 2}}}
hosts:
  alpha: {groups: [g], environment: {OLLAMA_NUM_PARALLEL: 3, OLLAMA_DEBUG: }}
""",
    )
    expected = {"OLLAMA_KEEP_ALIVE": "2h", "OLLAMA_NUM_PARALLEL": "3"}
    assert inventory.hosts["alpha"].settings.environment == expected
    assert data_of(inventory, "alpha")["environment"] == expected


def test_variables_of_templates_are_put_together_by_name(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        """
defaults: {modelfile_variables: {language: German, cores: 4, quiet: true}}
groups: {g: {modelfile_variables: {cores: 8, topics: [physics, Go]}}}
hosts:
  alpha: {groups: [g], modelfile_variables: {language: French, quiet: }}
""",
    )
    expected = {"language": "French", "cores": 8, "topics": ["physics", "Go"]}
    assert inventory.hosts["alpha"].settings.modelfile_variables == expected
    assert data_of(inventory, "alpha")["modelfile_variables"] == expected


def test_data_for_pyinfra_gives_the_same_settings_again(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        """
defaults: {proxy: {env: PROXY}, ollama_pins: pins.yml}
hosts:
  alpha:
    allow_from: any
    models:
      - {name: r1, from: "deepseek-r1:7b", parameters: {num_ctx: 4096, stop: [a, b]}}
""",
        {"PROXY": "http://me:geheim@proxy:1"},
    )
    data = data_of(inventory, "alpha")
    assert Settings.from_data(data, {}) == inventory.hosts["alpha"].settings
    assert data["ollama_pins"] == str(tmp_path / "pins.yml")
    assert data["models"][0]["from"] == "deepseek-r1:7b"


def test_connection_keys_become_those_of_pyinfra(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(PRIVATE_KEY)
    inventory = read(
        tmp_path,
        """
hosts:
  alpha:
    address: 10.0.0.1
    ssh_port: 2222
    ssh_key: key
    ssh_strict_host_key_checking: no
    sudo: true
    sudo_password: {env: PW}
""",
        {"PW": "geheim"},
    )
    data = data_of(inventory, "alpha")
    assert (data["ssh_hostname"], data["ssh_port"], data["ssh_key"]) == ("10.0.0.1", 2222, str(tmp_path / "key"))
    assert data["ssh_strict_host_key_checking"] == "no"
    assert data["_sudo"] is True
    assert copy(data["_sudo_password"]) == "geheim"


# --- problems of one host ------------------------------------------------------------------------------

ONE_BAD_HOST = [
    ("sud0: true", "3: hosts.bad.sud0: unknown key. Perhaps you mean sudo."),
    ("expect: refused", "3: hosts.bad.expect: does not belong here."),
    ("ssh_port: 70000", "3: hosts.bad.ssh_port: "),
    ("ssh_port: 022", "3: hosts.bad.ssh_port: must be a whole number, not 022."),
    ("ssh_user: 1000", "3: hosts.bad.ssh_user: must be text, not 1000. Put it in quotes."),
    ("ssh_user: me@there", "3: hosts.bad.ssh_user: 'me@there' is not one word."),
    ("address: ssh://x", "3: hosts.bad.address: 'ssh://x' is not one word."),
    ("ssh_key: nokey", "3: hosts.bad.ssh_key: there is no file "),
    ("ssh_config_file: noconfig", "3: hosts.bad.ssh_config_file: there is no file "),
    ("ssh_file_transfer_protocol: ftp", "3: hosts.bad.ssh_file_transfer_protocol: ftp is not a value"),
    ("os: macos", "3: hosts.bad.os: macos is not supported yet."),
    ("os: beos", "3: hosts.bad.os: beos is not an operating system that is known here. Write linux or windows."),
    ("{os: windows, sudo: true}", "3: hosts.bad.sudo: there is no sudo on Windows."),
    (
        "{os: windows, models_dir: /srv/models}",
        "3: hosts.bad.models_dir: /srv/models is no path on a host with windows",
    ),
    (r"{models_dir: 'D:\Models'}", r"3: hosts.bad.models_dir: D:\Models is no path on a host with linux."),
    ("os: beos", "3: hosts.bad.os: beos is not an operating system"),
    ("sudo: perhaps", "3: hosts.bad.sudo: must be true or false, not perhaps."),
    ("sudo_password: {env: NOT_SET}", "3: hosts.bad.sudo_password: the environment variable NOT_SET is not set."),
    ("sudo_password: {file: nofile}", "3: hosts.bad.sudo_password: there is no file "),
    ("sudo_password: geheim", "3: hosts.bad.sudo_password: is written out in lab.yml, which others can read."),
    ("sudo_password: 1234", "3: hosts.bad.sudo_password: is not a secret in a form that is known."),
    ("sudo_password: {}", "3: hosts.bad.sudo_password: is not a secret in a form that is known."),
    ("groups: lab", "3: hosts.bad.groups: must be a list of names."),
    ("groups: [all]", "3: hosts.bad.groups: all cannot be a group's name."),
    ("groups: [[x]]", "3: hosts.bad.groups: ['x'] cannot be a group's name."),
    ("environment:\n      OLLAMA_DEBUG: 1\n      OLLAMA_VULKAN: maybe", "5: hosts.bad.environment.OLLAMA_VULKAN: "),
    ("modelfile_variables: German", "3: hosts.bad.modelfile_variables: must map names to values"),
    ("modelfile_variables:\n      from: x", "4: hosts.bad.modelfile_variables.from: has a meaning of its own"),
    ("modelfile_variables:\n      my-name: x", "4: hosts.bad.modelfile_variables.my-name: is no variable's name"),
    ("modelfile_variables:\n      a: {b: c}", "4: hosts.bad.modelfile_variables.a: is neither text, number"),
    ("models:\n    - name: r1", "4: hosts.bad.models[0].from: is missing."),
    (
        "models:\n    - name: r1\n      from: deepseek-r1\n      parameters:\n        num_ctx: big",
        "7: hosts.bad.models[0].parameters.num_ctx: ",
    ),
    ("sudo: true\n    sudo: false", "4: hosts.bad.sudo: is here twice, on lines 3 and 4. Keep one of them."),
]


@pytest.mark.parametrize(("text", "message"), ONE_BAD_HOST)
def test_a_problem_in_one_host_spoils_that_host_alone(tmp_path: Path, text: str, message: str) -> None:
    inventory = read(tmp_path, f"hosts:\n  bad:\n    {text}\n  good:\n")
    assert list(inventory.hosts) == ["good"]
    shown = inventory.invalid["bad"].replace(f"{tmp_path}/", "")
    assert shown.startswith(f"lab.yml:{message}")
    assert "geheim" not in shown


def test_all_problems_of_a_host_are_told_at_once(tmp_path: Path) -> None:
    inventory = read(tmp_path, "hosts:\n  bad:\n    sud0: true\n    firewall: ufw\n    ssh_port: 0\n")
    assert len(inventory.invalid["bad"].splitlines()) == 3


def test_a_host_that_is_not_a_mapping_is_invalid(tmp_path: Path) -> None:
    assert "hosts.bad: must be a mapping" in read(tmp_path, "hosts:\n  bad: 10.0.0.1\n").invalid["bad"]


def test_a_host_that_is_declared_twice_is_invalid_and_spoils_no_other(tmp_path: Path) -> None:
    inventory = read(tmp_path, "hosts:\n  bad: {os: linux}\n  good:\n  bad: {os: linux}\n")
    assert list(inventory.hosts) == ["good"]
    assert "lab.yml:4: hosts.bad: is here twice, on lines 2 and 4." in inventory.invalid["bad"]


def test_one_machine_under_two_names_makes_both_invalid_with_their_groups(tmp_path: Path) -> None:
    text = "hosts:\n  a: {address: 10.0.0.1, groups: [g]}\n  good:\n  b: {address: 10.0.0.1, ssh_port: 22}\n"
    inventory = read(tmp_path, text)
    assert list(inventory.hosts) == ["good"]
    assert "lab.yml:2: hosts.a: is the same machine as b on line 4: 10.0.0.1, ssh port 22." in inventory.invalid["a"]
    assert "lab.yml:4: hosts.b: is the same machine as a on line 2: 10.0.0.1, ssh port 22." in inventory.invalid["b"]
    assert inventory.invalid_groups == {"a": ("g",), "b": ()}


def test_a_problem_in_a_group_spoils_its_hosts_and_names_the_groups_line(tmp_path: Path) -> None:
    inventory = read(tmp_path, "groups:\n  g:\n    firewall: ufw\nhosts:\n  bad: {groups: [g]}\n  good:\n")
    assert list(inventory.hosts) == ["good"]
    assert "lab.yml:3: groups.g.firewall: ufw is not a value" in inventory.invalid["bad"]
    assert to_pyinfra(inventory)["g"] == ["@invalid/bad"]


def test_a_conflict_between_defaults_and_host_is_the_hosts(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        "defaults:\n  environment: {OLLAMA_KV_CACHE_TYPE: q8_0}\n"
        "hosts:\n  bad:\n    environment: {OLLAMA_FLASH_ATTENTION: off}\n  good:\n",
    )
    assert "lab.yml:2: defaults.environment.OLLAMA_KV_CACHE_TYPE: " in inventory.invalid["bad"]
    assert list(inventory.hosts) == ["good"]


def test_an_invalid_host_is_handed_to_pyinfra_with_its_message(tmp_path: Path) -> None:
    inventory = read(tmp_path, "hosts:\n  bad: {os: macos}\n")
    assert data_of(inventory, "@invalid/bad")[PROBLEM_KEY] == inventory.invalid["bad"]
    [(name, data, groups)] = list(InvalidConnector.make_names_data("bad"))
    assert (name, data, groups) == ("bad", {}, [])


def test_a_group_needs_no_declaration(tmp_path: Path) -> None:
    assert to_pyinfra(read(tmp_path, "hosts:\n  alpha: {groups: [new]}\n"))["new"] == ["@corral/alpha"]


# --- problems of the file ------------------------------------------------------------------------------

BAD_FILES = [
    ("", "1: the file is empty."),
    ("[a]", "1: must be a mapping."),
    ("hosts:\n", "1: hosts: no host is declared."),
    ("host:\n  a:\n", "1: host: unknown key. Perhaps you mean hosts."),
    ("hosts:\n  a:\nhosts:\n  b:\n", "3: hosts: is here twice, on lines 1 and 3."),
    ("hosts:\n  a b:\n", "2: hosts.a b: this name will not do."),
    ("hosts:\n  '@local':\n", "2: hosts.@local: this name will not do."),
    ("hosts: [a]\n", "1: hosts: must map names to what they are."),
    ("hosts:\n  a: [b\n", "3: not YAML: "),
    ("hosts:\n\ta:\n", "2: not YAML: "),
    ("hosts:\n  a: b: c\n", "2: not YAML: "),
    ("hosts:\n  ? [a]\n  : b\n", "2: a key must be one word."),
    ("hosts:\n  a: !python/x 1\n", "2: the tag !python/x is not known here."),
    ("hosts: &x\n  a: *x\n", "1: an alias (*name) leads back to itself."),
    ("hosts:\n  a:\n---\nb:\n", "3: not YAML: "),
    ("defaults:\n  firewal: auto\nhosts:\n  a:\n", "2: defaults.firewal: unknown key. Perhaps you mean firewall."),
    ("defaults:\n  firewall: ufw\nhosts:\n  a:\n", "2: defaults.firewall: ufw is not a value for this."),
    ("defaults:\n  address: x\nhosts:\n  a:\n", "2: defaults.address: does not belong here."),
    ("groups:\n  all: {}\nhosts:\n  a:\n", "2: groups.all: this name has a meaning of its own."),
    ("groups:\n  unused: {firewall: ufw}\nhosts:\n  a:\n", "2: groups.unused.firewall: ufw is not a value"),
    ("hosts:\n  a:\nclients:\n  a:\n", "4: clients.a: is a host on line 2 already."),
    ("hosts:\n  a:\nclients:\n  c: {expect: maybe}\n", "4: clients.c.expect: maybe is no outcome."),
    ("hosts:\n  a:\nclients:\n  c:\n    models: []\n", "5: clients.c.models: does not belong here."),
    ("hosts:\n  a:\nclients:\n  c: {ssh_port: x}\n", "4: clients.c.ssh_port: must be a whole number, not x."),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_problem_in_the_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    shown = refusal(tmp_path, text).replace(f"{tmp_path}/", "")
    assert shown.startswith(f"lab.yml:{message}")


def test_tabs_get_a_remedy_of_their_own(tmp_path: Path) -> None:
    assert "Indent with spaces" in refusal(tmp_path, "hosts:\n\ta:\n")


def test_two_ports_at_one_address_are_two_machines(tmp_path: Path) -> None:
    inventory = read(tmp_path, "hosts:\n  a: {address: x, ssh_port: 1}\n  b: {address: x, ssh_port: 2}\n")
    assert list(inventory.hosts) == ["a", "b"]


def test_a_missing_file_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorralError) as caught:
        load(find({}, tmp_path), {})
    assert str(caught.value) == (
        "inventory/hosts.yml is missing."
        " Copy inventory/example.yml to it and name your machines, or name another in CORRAL_INVENTORY."
    )


def test_a_directory_or_a_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorralError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "x.yml").write_bytes(b"hosts: \xff\xfe")
    with pytest.raises(CorralError, match="not UTF-8"):
        load(tmp_path / "x.yml", {})


def test_the_inventory_is_looked_for_here_and_then_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "project"
    assert find({}, project) == project / "inventory/hosts.yml"
    assert find({"CORRAL_INVENTORY": "inventory/lab.yml"}, project) == project / "inventory/lab.yml"
    (tmp_path / "mine.yml").touch()
    assert find({"CORRAL_INVENTORY": "mine.yml"}, project) == Path("mine.yml")


def test_inventory_py_ends_with_the_sentence_and_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CORRAL_INVENTORY", str(tmp_path / "none.yml"))
    with pytest.raises(SystemExit, match=r"none\.yml is missing"):
        runpy.run_path(str(ROOT / "inventory.py"))


def test_names_of_digits_and_dates_are_text(tmp_path: Path) -> None:
    inventory = read(tmp_path, "hosts:\n  1070: {ssh_user: 2026-01-01}\n")
    assert inventory.hosts["1070"].connection.ssh_user == "2026-01-01"


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        "hosts:\n  a: &a {ssh_user: me, firewall: none, address: x}\n  b:\n    <<: *a\n    address: y\n",
    )
    assert inventory.hosts["b"].connection == Connection(address="y", ssh_user="me")
    assert inventory.hosts["b"].settings.firewall == "none"


# --- secrets -------------------------------------------------------------------------------------------


def test_a_written_out_secret_is_taken_from_a_private_file(tmp_path: Path) -> None:
    text = "hosts:\n  a: {sudo: true, sudo_password: geheim, ssh_password: {env: PW}}\n"
    inventory = read(tmp_path, text, {"PW": "secreto"}, mode=0o600)
    data = data_of(inventory, "a")
    assert copy(data["_sudo_password"]) == "geheim"
    assert copy(data["ssh_password"]) == "secreto"
    for shown in (repr(inventory), repr(data), repr(copy(data["_sudo_password"])), str(data)):
        assert "geheim" not in shown
        assert "secreto" not in shown


def test_a_secret_file_must_be_private_and_not_empty(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("geheim\n")
    (tmp_path / "pw").chmod(0o644)
    text = "hosts:\n  a: {sudo: true, sudo_password: {file: pw}}\n"
    assert "can be read by others. Run: chmod 600" in read(tmp_path, text).invalid["a"]
    (tmp_path / "pw").chmod(0o600)
    assert copy(data_of(read(tmp_path, text), "a")["_sudo_password"]) == "geheim"
    (tmp_path / "pw").write_text("\n")
    assert "is empty" in read(tmp_path, text).invalid["a"]


def test_an_empty_variable_is_no_secret(tmp_path: Path) -> None:
    text = "hosts:\n  a: {sudo: true, sudo_password: {env: PW}}\n"
    assert "PW is empty" in read(tmp_path, text, {"PW": ""}).invalid["a"]


def test_a_password_for_sudo_needs_sudo(tmp_path: Path) -> None:
    text = "hosts:\n  a: {sudo_password: {env: PW}}\n"
    assert "Add sudo: true" in read(tmp_path, text, {"PW": "x"}).invalid["a"]


def test_the_public_half_of_a_key_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_text("ssh-ed25519 AAAA me\n")
    message = read(tmp_path, "hosts:\n  a: {ssh_key: id.pub}\n").invalid["a"]
    assert "public half" in message
    assert f"Write {tmp_path / 'id'}." in message


def test_pyinfra_gets_the_text_of_a_secret(tmp_path: Path) -> None:
    inventory = read(tmp_path, "hosts:\n  a: {sudo: true, sudo_password: {env: PW}}\n", {"PW": "geheim"})
    host = PyinfraInventory(([("a", data_of(inventory, "a"))], {})).get_host("a")
    used = host.data.get("_sudo_password")
    assert isinstance(used, str)
    assert f"{used}" == "geheim"
    assert "geheim" not in f"{host.data.dict()!r} {host.data} { ({'password': used})!r}"


def test_a_copy_of_a_secret_is_the_text() -> None:
    assert copy(Secret("geheim")) == "geheim"


# --- the whole of it, through pyinfra's own program -----------------------------------------------------


def pyinfra(directory: Path, inventory: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pyinfra on inventory.py; corral's connectors are there even where corral is not installed."""
    metadata = directory / "corral_connectors-0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: corral-connectors\nVersion: 0\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    connectors = project["entry-points"]["pyinfra.connectors"].items()
    lines = "".join(f"{name} = {where}\n" for name, where in connectors)
    (metadata / "entry_points.txt").write_text(f"[pyinfra.connectors]\n{lines}")
    (directory / "lab.yml").write_text(inventory)
    return subprocess.run(
        [sys.executable, "-c", "from pyinfra_cli.main import main; main()", str(ROOT / "inventory.py"), *arguments],
        cwd=directory,
        env={
            **os.environ,
            "CORRAL_INVENTORY": "lab.yml",
            "PYTHONPATH": f"{ROOT / 'src'}:{directory}",
            "PW": "geheim",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_pyinfra_lists_no_secrets(tmp_path: Path) -> None:
    text = (
        "hosts:\n  a: {address: 127.0.0.1, ssh_port: 1, ssh_password: {env: PW},"
        " sudo: true, sudo_password: {env: PW}}\n"
    )
    listing = pyinfra(tmp_path, text, "debug-inventory", "--json")
    assert json.loads(listing.stdout)[0]["data"]["_sudo_password"] == "********"
    connecting = pyinfra(tmp_path, text, "-y", "--debug", "exec", "--", "true")
    assert "Connecting to: 127.0.0.1" in connecting.stderr
    for output in (listing, connecting):
        assert "geheim" not in output.stdout + output.stderr


def test_group_data_ranks_between_groups_and_defaults_of_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/all.py").write_text("models_dir = '/py'\nfirewall = 'none'\nstart_timeout_s = 7\n")
    text = (
        "defaults: {models_dir: /defaults, load_timeout_s: 5}\n"
        "groups: {g: {firewall: auto}}\n"
        "hosts:\n  a: {groups: [g]}\n  b: {models_dir: /b}\n"
    )
    listing = pyinfra(tmp_path, text, "debug-inventory", "--json")
    a, b = (Settings.from_data(host["data"], {}) for host in json.loads(listing.stdout))
    assert (a.models_dir, a.firewall, a.start_timeout_s, a.load_timeout_s) == ("/py", "auto", 7, 5)
    assert (b.models_dir, b.firewall) == ("/b", "none")


def test_pyinfra_fails_a_bad_host_with_its_sentence_and_goes_on_with_the_others(tmp_path: Path) -> None:
    text = "hosts:\n  bad: {sud0: true}\n  off: {address: 127.0.0.1, ssh_port: 1}\n"
    run = pyinfra(tmp_path, text, "-y", "exec", "--", "true")
    assert run.returncode == 1
    assert "[bad] lab.yml:2: hosts.bad.sud0: unknown key. Perhaps you mean sudo." in run.stderr
    assert "[off] Could not connect" in run.stderr
    assert "Traceback" not in run.stderr


def test_pyinfra_ends_at_a_bad_file_with_one_sentence(tmp_path: Path) -> None:
    run = pyinfra(tmp_path, "hosts:\n  a:\nhosts:\n  b:\n", "-y", "exec", "--", "true")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "lab.yml:3: hosts: is here twice, on lines 1 and 3. Keep one of them."
    assert "Traceback" not in run.stderr


# --- clients -------------------------------------------------------------------------------------------


def test_clients_log_in_as_the_defaults_say_but_never_with_sudo(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        """
defaults: {ssh_user: ops, sudo: true, models_dir: /m}
hosts: {alpha: }
clients:
  pc: {address: 10.0.0.9}
  outside: {ssh_user: root, expect: refused}
""",
    )
    pc, outside = inventory.clients["pc"], inventory.clients["outside"]
    assert pc.connection() == {"ssh_hostname": "10.0.0.9", "ssh_user": "ops"}
    assert (pc.expect, outside.expect) == ("reachable", "refused")
    assert outside.connection() == {"ssh_hostname": "outside", "ssh_user": "root"}
    assert list(to_pyinfra(inventory)) == ["all"]
    assert "outside" not in str(to_pyinfra(inventory))


# --- the inventories of this repository ----------------------------------------------------------------


def test_the_example_loads(tmp_path: Path) -> None:
    inventory = load(ROOT / "inventory/example.yml", {})
    assert not inventory.invalid
    assert len(inventory.hosts) == 5


def test_the_example_shows_every_key() -> None:
    text = (ROOT / "inventory/example.yml").read_text(encoding="utf-8")
    for key in (*Settings.model_fields, "address", "os", "groups", "ssh_port", "ssh_key", "sudo_password", "expect"):
        assert f"{key}:" in text


def test_the_lab_loads_with_its_password() -> None:
    inventory = load(ROOT / "inventory/lab.yml", {"LAB_SUDO_PASSWORD": "x"})
    assert not inventory.invalid
    assert list(inventory.hosts) == ["rtx4090", "rtx3080", "rtx2070", "win11"]
    assert inventory.hosts["rtx2070"].connection.ssh_port == 2222
    assert inventory.hosts["rtx3080"].settings.models_dir == "/mnt/big disk/ollama models"
    assert inventory.clients["outsider"].expect == "refused"


def test_group_data_of_this_repository_sets_nothing() -> None:
    names = runpy.run_path(str(ROOT / "group_data/all.py"))
    assert not set(names) & set(Settings.model_fields)


def test_a_windows_host_is_reached_by_its_own_connector_and_without_sudo(tmp_path: Path) -> None:
    inventory = read(
        tmp_path,
        "defaults: {sudo: true}\nhosts:\n  pc: {os: windows, groups: [desks], models_dir: 'd:/Models/Ollama Models'}\n"
        "  box:\n",
    )
    groups: dict[str, Any] = to_pyinfra(inventory)
    hosts = dict(groups["all"][0])
    assert list(hosts) == ["@windows/pc", "@corral/box"]
    data = hosts["@windows/pc"]
    assert (data["_sudo"], data["models_dir"]) == (False, r"D:\Models\Ollama Models")
    assert to_pyinfra(inventory)["desks"] == ["@windows/pc"]

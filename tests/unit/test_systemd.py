"""The service's files and what must change, from what a probe found: no host is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from corral import layout
from corral.errors import CorralError
from corral.probe.state import LinuxState, parse, parse_drop_in
from corral.scripts import Script
from corral.service import systemd
from corral.service.wanted import Wanted

WANTED = Wanted(
    environment={"OLLAMA_HOST": "0.0.0.0:11434", "OLLAMA_MODELS": layout.MODELS},
    secrets={},
    models_dir=layout.MODELS,
    release="/opt/ollama/0.34.4",
    executable="/opt/ollama/0.34.4/bin/ollama",
    account=layout.USER,
    own_address="127.0.0.1",
    port=11434,
    start_timeout_s=60,
)


def state(changed: Mapping[str, str] | None = None, wanted: Wanted = WANTED) -> LinuxState:
    """A host on which everything is as wanted, but for the sections that are given."""
    environment = {**wanted.environment, **wanted.secrets, systemd.CONFIG: systemd.config_digest(wanted)}
    sections: Mapping[str, str] = {
        "ollama.models_dir": f"directory|{layout.USER}\n",
        "service.show": "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\nMainPID=7\n"
        f"FragmentPath={layout.UNIT}\n",
        "service.unit": systemd.unit(wanted),
        "dropin.override.conf": systemd.drop_in(wanted),
        "process.environment": "".join(f"{name}={value}\n" for name, value in environment.items()),
        "process.executable": f"{wanted.release}/bin/ollama\n",
        **({"ollama.secrets": f"600 root\n{systemd.secrets_file(wanted)}"} if wanted.secrets else {}),
    }
    return parse({**sections, **(changed or {})})


def summaries(seen: LinuxState, wanted: Wanted = WANTED) -> list[str]:
    return [change.summary for change in systemd.changes(seen, wanted)]


def test_a_host_that_is_as_wanted_needs_nothing() -> None:
    assert summaries(state()) == []


def test_a_new_host_gets_directory_unit_drop_in_and_a_start_at_boot() -> None:
    bare = parse({"service.show": "ActiveState=inactive\nMainPID=0\n"})
    assert summaries(bare) == [
        "make /var/lib/ollama/models for the models, owned by ollama",
        f"write {layout.DROP_IN} (OLLAMA_HOST: unset -> 0.0.0.0:11434, OLLAMA_MODELS: unset -> {layout.MODELS})",
        f"write {layout.UNIT}",
        "enable ollama.service at boot and start ollama.service (it is inactive)",
    ]


def test_a_changed_value_is_said_and_restarts_the_server() -> None:
    wanted = replace(WANTED, environment={**WANTED.environment, "OLLAMA_NUM_PARALLEL": "2"})
    assert summaries(state(), wanted) == [
        f"write {layout.DROP_IN} (OLLAMA_NUM_PARALLEL: unset -> 2)",
        f"write {layout.UNIT}",
        "restart ollama.service (its settings changed)",
    ]


def test_files_written_by_a_run_that_was_cut_off_before_the_restart_are_put_in_force() -> None:
    stale = state({"process.environment": f"OLLAMA_HOST=127.0.0.1\n{systemd.CONFIG}=older\n"})
    assert summaries(stale) == ["restart ollama.service (its settings changed)"]


def test_a_server_that_still_runs_the_old_release_is_restarted() -> None:
    old = state({"process.executable": "/opt/ollama/0.24.0/bin/ollama (deleted)\n"})
    assert summaries(old) == ["restart ollama.service (it runs /opt/ollama/0.24.0/bin/ollama)"]


def test_a_server_that_somebody_stopped_or_disabled_is_brought_back() -> None:
    show = f"ActiveState=failed\nUnitFileState=disabled\nMainPID=0\nFragmentPath={layout.UNIT}\n"
    assert summaries(state({"service.show": show})) == [
        "enable ollama.service at boot and start ollama.service (it is failed)"
    ]


def test_an_administrators_own_drop_in_is_no_reason_to_do_anything() -> None:
    assert summaries(state({"dropin.zz-local.conf": "[Service]\nNice=5\n"})) == []


def test_a_secret_goes_into_a_file_of_its_own_and_into_no_summary() -> None:
    wanted = replace(WANTED, secrets={"HTTPS_PROXY": 'http://me:p"a\\ss@proxy:3128'})
    found = systemd.changes(state(), wanted)
    assert found[0].summary == f"write {layout.SECRETS} (secret)"
    assert not any("ss@proxy" in change.summary for change in found)
    assert "ss@proxy" not in systemd.drop_in(wanted) + systemd.unit(wanted)
    secret = found[0].action
    assert isinstance(secret, Script)
    assert secret.variables["MODE"] == "600"
    assert secret.variables["TEXT"] == 'HTTPS_PROXY="http://me:p\\"a\\\\ss@proxy:3128"\n'
    assert summaries(state(wanted=wanted), wanted) == []


def test_a_secrets_file_that_others_can_read_is_written_again() -> None:
    wanted = replace(WANTED, secrets={"HTTPS_PROXY": "http://me:pass@proxy:3128"})
    open_file = state({"ollama.secrets": f"644 root\n{systemd.secrets_file(wanted)}"}, wanted)
    assert summaries(open_file, wanted) == [
        f"write {layout.SECRETS} (secret)",
        "have systemd read its files again",
    ]


def test_values_are_quoted_as_systemd_reads_them() -> None:
    wanted = replace(WANTED, environment={"OLLAMA_ORIGINS": 'http://a b"c\\d%h$HOME'})
    assert 'Environment="OLLAMA_ORIGINS=http://a b\\"c\\\\d%%h$HOME"\n' in systemd.drop_in(wanted)
    assert parse_drop_in(systemd.drop_in(wanted)) == dict(wanted.environment)


def test_a_models_directory_with_spaces_is_quoted_in_the_unit() -> None:
    text = systemd.unit(replace(WANTED, models_dir="/mnt/big disk/ollama models"))
    assert 'ReadWritePaths="/mnt/big disk/ollama models"\n' in text
    assert 'RequiresMountsFor="/mnt/big disk/ollama models"\n' in text


@pytest.mark.parametrize("word", ["PrivateDevices", "MemoryDenyWriteExecute", "ProtectClock"])
def test_the_hardening_leaves_out_what_a_gpu_does_not_survive(word: str) -> None:
    assert f"\n{word}=" not in systemd.unit(WANTED)


def test_a_port_below_1024_gets_the_one_capability_that_it_needs() -> None:
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in systemd.unit(replace(WANTED, port=80))
    assert "AmbientCapabilities" not in systemd.unit(WANTED)


def test_models_in_a_home_directory_are_not_hidden_from_the_server() -> None:
    assert "ProtectHome=no\n" in systemd.unit(replace(WANTED, models_dir="/home/me/models"))
    assert "ProtectHome=yes\n" in systemd.unit(WANTED)


def test_a_masked_service_is_refused_with_the_command_that_helps() -> None:
    with pytest.raises(CorralError, match=r"systemctl unmask ollama\.service"):
        systemd.check(state({"service.show": "LoadState=masked\n"}))
    systemd.check(state())

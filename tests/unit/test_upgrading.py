"""Which releases stay, what a trial tells the service, and who gets a turn: no host is needed."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import httpx
import ollama
import pytest

from corral import layout, rolling, upgrading
from corral.errors import CorralError
from corral.ollama import keeping, releases
from corral.platforms.linux import LINUX
from corral.platforms.windows import WINDOWS
from corral.probe.state import LinuxState, parse
from corral.run import HostRun
from corral.service import systemd, trial
from tests.unit.test_systemd import WANTED
from tests.unit.test_systemd import state as as_wanted

STAMP = "ollama-linux-amd64.tar.zst " + "0" * 64


def state(*names: str, current: str, previous: str = "", **sections: str) -> LinuxState:
    return parse(
        {
            "ollama.releases": "".join(f"{name}\t{STAMP}\n" for name in names),
            "ollama.current": f"/opt/ollama/{current}\n",
            "ollama.previous": f"/opt/ollama/{previous}\n" if previous else "",
            **sections,
        }
    )


def a_run(seen: LinuxState, wanted: str, keep: int = 2) -> HostRun:
    run = SimpleNamespace(
        state=seen,
        platform=LINUX,
        release_dir=layout.release_dir(wanted),
        settings=SimpleNamespace(keep_versions=keep),
    )
    return cast(HostRun, run)


@pytest.mark.parametrize(
    ("keep", "going"),
    [(1, ["0.34.4", "0.32.7", "0.24.0", "0.9.1"]), (2, ["0.32.7", "0.24.0", "0.9.1"]), (3, ["0.24.0", "0.9.1"])],
)
def test_the_wanted_release_stays_then_the_one_in_use_then_the_newest(keep: int, going: list[str]) -> None:
    seen = state("0.9.1", "0.24.0", "0.32.7", "0.34.4", current="0.34.4")
    assert keeping.removable(a_run(seen, "0.35.0", keep)) == [layout.release_dir(name) for name in going]


def test_the_release_in_use_before_stays_rather_than_a_newer_one() -> None:
    seen = state("0.24.0", "0.32.7", "0.34.4", current="0.34.4", previous="0.24.0")
    assert keeping.removable(a_run(seen, "0.34.4")) == ["/opt/ollama/0.32.7"]


def test_a_release_that_was_not_good_is_the_first_to_go() -> None:
    seen = state("0.24.0", "0.34.4", "0.35.0", current="0.34.4", **{"ollama.verdicts": "0.35.0\tno start\n"})
    assert keeping.removable(a_run(seen, "0.34.4")) == ["/opt/ollama/0.35.0"]


def test_a_removal_that_was_cut_off_is_finished() -> None:
    seen = state("0.34.4", current="0.34.4", **{"ollama.removing": "/opt/ollama/.removing-0.24.0\n"})
    (change,) = keeping.changes(a_run(seen, "0.34.4"))
    assert change.summary == "remove /opt/ollama/.removing-0.24.0 (keep_versions is 2)"


NEW = replace(WANTED, release="/opt/ollama/0.35.0", executable="/opt/ollama/0.35.0/bin/ollama")
DIGEST = f"Environment={systemd.CONFIG}={systemd.config_digest(NEW)}"


def test_a_trial_of_a_release_with_the_same_settings_changes_the_program_alone() -> None:
    assert trial.drop_in(as_wanted(), NEW).splitlines()[1:] == [
        "[Service]",
        "ExecStart=",
        "ExecStart=/opt/ollama/0.35.0/bin/ollama serve",
        DIGEST,
    ]


def test_a_trial_has_changed_variables_too() -> None:
    wanted = replace(NEW, environment={**NEW.environment, "OLLAMA_KEEP_ALIVE": "5m"})
    text = trial.drop_in(as_wanted(), wanted)
    assert 'Environment="OLLAMA_KEEP_ALIVE=5m"' in text
    assert f"{systemd.CONFIG}={systemd.config_digest(wanted)}" in text


def test_what_a_drop_in_cannot_take_back_leaves_another_restart_to_be_made() -> None:
    before = replace(NEW, environment={**NEW.environment, "OLLAMA_KEEP_ALIVE": "5m"})
    secret = replace(NEW, secrets={"HTTPS_PROXY": "http://user:geheim@proxy:1"})
    assert systemd.CONFIG not in trial.drop_in(as_wanted(wanted=before), NEW)
    assert systemd.CONFIG not in trial.drop_in(as_wanted(), secret)
    assert "geheim" not in trial.drop_in(as_wanted(), secret)


def test_a_trial_that_was_left_over_is_ended_by_any_deploy() -> None:
    seen = as_wanted({"ollama.trial": "/opt/ollama/0.35.0\n", "process.executable": NEW.executable})
    end, restart = systemd.changes(seen, WANTED)
    assert end.summary == "end the trial of /opt/ollama/0.35.0"
    assert restart.summary == "restart ollama.service (it runs /opt/ollama/0.35.0/bin/ollama)"


def test_a_kept_release_is_known_by_its_directory_and_its_stamp() -> None:
    digest = "ab12cd34" + "0" * 56
    assert releases.kept("0.34.4-ab12cd34", f"x.tar.zst {digest}") == releases.Release(
        "0.34.4", "x.tar.zst", digest, ""
    )


def test_a_rollback_goes_to_the_newest_older_release_where_none_was_noted() -> None:
    assert upgrading._before(a_run(state("0.9.1", "0.24.0", "0.34.4", current="0.34.4"), "0.34.4")) == (
        "/opt/ollama/0.24.0"
    )
    with pytest.raises(CorralError, match="no release is kept"):
        upgrading._before(a_run(state("0.24.0", "0.34.4", current="0.24.0"), "0.34.4"))


def test_a_windows_host_is_refused_with_what_to_do() -> None:
    with pytest.raises(CorralError, match=r"on Linux hosts only so far. Upgrade this host with deploys/r1\.py"):
        WINDOWS.begin_trial(cast(Any, None))


MODELS = ("r1:latest", "mine:latest")


def a_server(*, version: str = "0.35.0", lists: tuple[str, ...] = MODELS, unreadable: str = "") -> HostRun:
    """A run on a host whose server, a stand-in, answers so."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/version":
            return httpx.Response(200, json={"version": version})
        if request.url.path == "/api/tags":
            return httpx.Response(200, json={"models": [{"model": name} for name in lists]})
        assert request.url.path == "/api/show"
        if json.loads(request.content)["model"] == unreadable:
            return httpx.Response(500, json={"error": "unknown model architecture"})
        return httpx.Response(200, json={})

    client = ollama.Client()
    client._client = httpx.Client(base_url="http://stand-in", transport=httpx.MockTransport(answer))
    release = SimpleNamespace(version="0.35.0")
    return cast(HostRun, SimpleNamespace(api=client, release=release, models=(), say=print))


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (a_server(version="0.34.4"), "it says that it is Ollama 0.34.4"),
        (a_server(lists=("r1:latest",)), "it does not list mine:latest, which Ollama 0.24.0 has"),
        (a_server(unreadable="mine:latest"), "it can't read mine:latest, which Ollama 0.24.0 has"),
    ],
)
def test_what_a_release_cannot_read_of_the_one_before_it_is_named(server: HostRun, said: str) -> None:
    with pytest.raises(CorralError, match=said):
        upgrading._examine(server, upgrading._Before("0.24.0", MODELS))


def test_a_release_that_reads_all_is_good() -> None:
    upgrading._examine(a_server(), upgrading._Before("0.24.0", MODELS))


class _Fleet:
    """pyinfra's state, as far as turns look at it."""

    def __init__(self) -> None:
        self.failed_hosts: set[Any] = set()

    def run(self, name: str, *, connected: bool = True) -> HostRun:
        host = SimpleNamespace(name=name, state=self, connected=connected)
        hashable = type("Host", (SimpleNamespace,), {"__hash__": object.__hash__})(**vars(host))
        run = SimpleNamespace(name=name, host=hashable, settings=SimpleNamespace(upgrade_batch=1), say=print)
        return cast(HostRun, run)


def test_a_host_that_failed_stops_those_after_it_and_one_that_is_off_does_not() -> None:
    fleet = _Fleet()
    off, bad, next_one, last = fleet.run("off", connected=False), fleet.run("bad"), fleet.run("b"), fleet.run("c")
    fleet.failed_hosts.add(off.host)
    with rolling.turn(bad, "upgraded"):
        fleet.failed_hosts.add(bad.host)
    for run in (next_one, last):
        with pytest.raises(CorralError, match="not upgraded: bad failed before it"), rolling.turn(run, "upgraded"):
            pass
        fleet.failed_hosts.add(run.host)

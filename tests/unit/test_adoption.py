"""Another's Ollama: recognised from what a probe says, its settings read, its models brought without losing one."""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from corral import layout
from corral.adoption import handover, others, settings, unitfile
from corral.adoption.places import Place, Places
from corral.adoption.unitfile import Entry
from corral.errors import CorralError
from corral.ollama import releases
from corral.probe.state import LinuxState, parse
from corral.remote import HostError, LocalLink, Remote, Sudo
from corral.scripts import Script
from corral.service.wanted import Wanted
from tests.unit.test_systemd import WANTED

#: As install.sh of 0.34.4 writes it.
UNIT = """[Unit]
Description=Ollama Service
After=network-online.target

[Service]
ExecStart=/usr/local/bin/ollama serve
User=ollama
Group=ollama
Restart=always
RestartSec=3
Environment="PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

[Install]
WantedBy=default.target
"""
OLD = "/usr/share/ollama/.ollama/models"
RUNNING = f"ActiveState=active\nUnitFileState=enabled\nMainPID=7\nFragmentPath={layout.UNIT}\n"
SECTIONS = {
    "service.show": RUNNING,
    "service.unit": UNIT,
    "process.executable": "/usr/local/bin/ollama\n",
    "process.user": "ollama\n",
    "process.environment": "PATH=/bin\nHOME=/usr/share/ollama\n",
    "ollama.command": "file\n",
    "foreign.account": "ollama:x:999:999::/usr/share/ollama:/bin/false\n",
    "foreign.programs": f"{layout.UNIT}\t\n/usr/local/bin/ollama\t\n/usr/local/lib/ollama\t\n",
}
PLACE = Place(OLD, OLD, "/", 5, 900, ("registry.ollama.ai/library/qwen3/8b",), ())


def state(changed: Mapping[str, str] | None = None, places: Places | None = None) -> LinuxState:
    """A host with install.sh's Ollama and one model, but for the sections that are given."""
    return replace(parse({**SECTIONS, **(changed or {})}), places=places or Places("/", (PLACE,), True))


def refusal(seen: LinuxState, adopting: bool = False) -> str:
    with pytest.raises(CorralError) as caught:
        others.check(seen, 11434, adopting)
    return str(caught.value)


# --- who it is -------------------------------------------------------------------------------------


def test_install_scripts_ollama_is_named_with_its_paths_and_the_deploy_that_takes_it_over() -> None:
    text = refusal(state())
    for word in ("install.sh", layout.UNIT, "/usr/local/bin/ollama", "/usr/local/lib/ollama", "deploys/adopt.py"):
        assert word in text
    others.check(state(), 11434, adopting=True)


@pytest.mark.parametrize("adopting", [True, False])
def test_a_unit_that_starts_something_else_is_nobodys_to_take_over(adopting: bool) -> None:
    unit = UNIT.replace("/usr/local/bin/ollama serve", "/opt/mine/ollama serve")
    assert "was not written by corral" in refusal(state({"service.unit": unit}), adopting)


@pytest.mark.parametrize("adopting", [True, False])
@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("dpkg ollama", ("Debian package ollama", "sudo apt remove ollama")),
        ("rpm ollama", ("RPM package ollama", "sudo dnf remove ollama")),
        ("pacman ollama-cuda", ("package ollama-cuda", "sudo pacman -R ollama-cuda")),
    ],
)
def test_a_packages_ollama_is_named_with_the_commands_that_make_room(
    owner: str, words: tuple[str, ...], adopting: bool
) -> None:
    path = "/usr/lib/systemd/system/ollama.service"
    seen = state(
        {
            "service.show": RUNNING.replace(layout.UNIT, path),
            "foreign.programs": f"{path}\t{owner}\n",
            "process.environment": "HOME=/var/lib/ollama\n",
        }
    )
    text = refusal(seen, adopting)
    for word in (*words, path, "systemctl disable --now", "models_dir: /var/lib/ollama/.ollama/models"):
        assert word in text


@pytest.mark.parametrize("adopting", [True, False])
def test_a_snap_that_runs_or_starts_at_boot_is_stopped_with_two_commands(adopting: bool) -> None:
    text = refusal(parse({"foreign.snaps": "snap.ollama.listener.service\n"}), adopting)
    assert "sudo snap stop --disable ollama" in text
    assert f"sudo cp -a /var/snap/ollama/common/models {layout.MODELS}" in text
    others.check(parse({}), 11434, adopting)


def test_a_container_is_named_with_its_image_and_where_its_models_lie() -> None:
    volume = "/var/lib/docker/volumes/ollama/_data"
    seen = parse({"foreign.containers": f"docker\t/chat\tollama/ollama:latest\t{volume}\n"})
    text = refusal(seen)
    assert "the docker container chat (ollama/ollama:latest)" in text
    assert "sudo docker stop chat && sudo docker update --restart=no chat" in text
    assert f"sudo cp -a {volume}/models {layout.MODELS}" in text
    inside = refusal(parse({"foreign.containers": "podman\tchat\tollama/ollama\t\n"}))
    assert f"sudo podman cp chat:/root/.ollama/models {layout.MODELS}" in inside


def listening(program: str, executable: str, models: str = "") -> LinuxState:
    return parse(
        {
            "port.listeners": f'LISTEN 0 4096 *:11434 *:* users:(("{program}",pid=77,fd=4))\n',
            "foreign.holders": f"77\t{executable}\tanna\t{models}\t/home/anna\n",
        }
    )


def test_a_container_runtime_that_can_not_be_asked_is_named_by_its_proxy() -> None:
    text = refusal(listening("docker-proxy", "/usr/bin/docker-proxy"))
    assert "docker-proxy (pid 77)" in text
    assert "sudo docker ps" in text


def test_somebodys_own_server_is_named_with_its_user_and_models() -> None:
    text = refusal(listening("ollama", "/home/anna/ollama/bin/ollama"))
    for word in ("ollama (pid 77)", "anna", "/home/anna/ollama/bin/ollama", "sudo kill 77"):
        assert word in text
    assert f"sudo cp -a /home/anna/.ollama/models {layout.MODELS}" in text
    assert "sudo cp -a /data/m /var" in refusal(listening("ollama", "/opt/ollama-test/ollama", "/data/m"))


def test_another_program_on_the_port_is_named_as_it_is() -> None:
    text = refusal(listening("nginx", "/usr/sbin/nginx"))
    assert "port 11434 is taken by nginx (pid 77)" in text
    assert "OLLAMA_HOST" in text


def test_a_host_of_corrals_is_left_alone_and_told_of_what_remains_of_another() -> None:
    ours = state({"service.unit": f"{layout.MARK}\n", "ollama.command": f"{layout.CURRENT}/bin/ollama\n"})
    others.check(ours, 11434, adopting=False)
    (warning,) = others.warnings(ours, adopting=False)
    assert "/usr/local/lib/ollama" in warning
    assert others.warnings(parse({}), adopting=False) == []


def test_a_drop_in_of_corrals_name_that_is_somebodys_is_never_overwritten() -> None:
    seen = parse({"dropin.override.conf": "[Service]\nNice=5\n"})
    assert "adopt.py" in refusal(seen)
    others.check(seen, 11434, adopting=True)


# --- what people have set ----------------------------------------------------------------------------


def test_unit_files_are_read_as_systemd_does() -> None:
    text = '# x\n[Service]\nEnvironment="A=1 2" B=3 \\\n  C=50%%\n;y\n\n Nice = 5\n[Install]\nWantedBy=a\n'
    entries = unitfile.parse(text)
    assert entries[1:] == [Entry("Service", "Nice", "5"), Entry("Install", "WantedBy", "a")]
    assert unitfile.assignments(entries[0].value) == [("A", "1 2"), ("B", "3"), ("C", "50%")]
    assert unitfile.assignments('"A=1') == []


def test_what_install_sh_writes_is_nobodys_setting_and_what_people_add_is() -> None:
    assert settings.read(state()).edited == ()
    edited = UNIT.replace("RestartSec=3", 'RestartSec=3\nNice=5\nEnvironment="OLLAMA_DEBUG=1"')
    theirs = settings.read(state({"service.unit": edited}))
    assert [entry.key for entry in theirs.edited] == ["Nice", "Environment"]
    assert list(theirs.lines()) == [f"{layout.UNIT}: Nice=5, OLLAMA_DEBUG=1"]


def test_secrets_in_peoples_settings_are_not_shown() -> None:
    text = '[Service]\nEnvironment="HTTPS_PROXY=http://me:geheim@p:1" "MY_TOKEN=geheim"\n'
    (line,) = settings.read(state({"dropin.proxy.conf": text})).lines()
    assert line.endswith("HTTPS_PROXY=*** MY_TOKEN=***")


def conflicts(sections: Mapping[str, str], declared: Mapping[str, str] | None = None) -> str:
    with pytest.raises(CorralError) as caught:
        settings.check(settings.read(state(sections)), WANTED.environment, declared or {})
    return str(caught.value)


def test_a_setting_that_corral_would_override_must_be_declared_first() -> None:
    loopback = {"dropin.override.conf": '[Service]\nEnvironment="OLLAMA_HOST=127.0.0.1"\n'}
    assert "declare environment: {OLLAMA_HOST: 127.0.0.1} to keep it" in conflicts(loopback)
    declared = {"OLLAMA_HOST": WANTED.environment["OLLAMA_HOST"]}
    settings.check(settings.read(state(loopback)), WANTED.environment, declared)
    same = {"dropin.override.conf": '[Service]\nEnvironment="OLLAMA_HOST=0.0.0.0" OLLAMA_KEEP_ALIVE=24h\n'}
    settings.check(settings.read(state(same)), WANTED.environment, {})


def test_a_setting_that_would_win_over_the_inventory_is_refused_with_its_file() -> None:
    later = {"dropin.zz.conf": '[Service]\nEnvironment="OLLAMA_HOST=127.0.0.1"\n'}
    assert f"{layout.DROP_IN_DIR}/zz.conf: OLLAMA_HOST=127.0.0.1 would win" in conflicts(later, {"OLLAMA_HOST": "x"})
    from_file = {
        "dropin.a.conf": "[Service]\nEnvironmentFile=-/etc/default/ollama\n",
        "process.environment": "OLLAMA_HOST=127.0.0.1\nHOME=/usr/share/ollama\n",
    }
    assert "/etc/default/ollama: OLLAMA_HOST=127.0.0.1 would win" in conflicts(from_file, {"OLLAMA_HOST": "x"})


def test_lines_that_corrals_unit_must_decide_itself_are_refused() -> None:
    unit = UNIT.replace("User=ollama", "User=anna")
    assert "User=anna: corral's unit has its own" in conflicts({"service.unit": unit})
    reset = {"dropin.a.conf": "[Service]\nEnvironment=\n"}
    assert "a.conf: Environment=" in conflicts(reset)


def test_a_place_for_models_that_people_chose_must_be_declared() -> None:
    moved = {"dropin.override.conf": "[Service]\nEnvironment=OLLAMA_MODELS=/data/models\n"}
    assert f"declare models_dir: /data/models to keep it, or {layout.MODELS}" in conflicts(moved)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (replace(PLACE, mount="/data"), "on another disk than"),
        (replace(PLACE, real="/data/models"), f"/data/models ({OLD} leads there)"),
    ],
)
def test_models_on_another_disk_or_behind_a_link_must_be_declared(place: Place, words: str) -> None:
    seen = state(places=Places("/", (place,)))
    with pytest.raises(CorralError) as caught:
        handover.check(seen, WANTED, {}, place_declared=False)
    assert words in str(caught.value)
    handover.check(replace(seen, free_for_models=10**9), WANTED, {}, place_declared=True)


def test_a_disk_without_room_for_the_copies_is_refused_before_anything_is_changed() -> None:
    seen = replace(state(places=Places("/mnt", (PLACE,))), free_for_models=899)
    with pytest.raises(CorralError, match=r"900 [Bb]ytes"):
        handover.check(seen, WANTED, {}, place_declared=True)


def test_two_models_of_one_name_are_refused() -> None:
    place = replace(PLACE, conflicts=PLACE.models)
    with pytest.raises(CorralError, match="library/qwen3/8b"):
        handover.check(state(places=Places("/", (place,))), WANTED, {}, place_declared=False)


# --- what is done --------------------------------------------------------------------------------------


def summaries(seen: LinuxState, wanted: Wanted = WANTED) -> list[str]:
    return [change.summary for change in handover.changes(seen, wanted)]


def test_models_key_and_settings_come_first_then_drop_in_and_unit_then_the_restart_then_the_command() -> None:
    edited = UNIT.replace("RestartSec=3", "RestartSec=3\nNice=5")
    override = {"dropin.override.conf": "[Service]\nEnvironment=OLLAMA_KEEP_ALIVE=24h\n"}
    found = summaries(state({"service.unit": edited, **override}))
    order = (
        f"link 1 models from {OLD}",
        "copy the server's key",
        f"keep what people have changed in {layout.UNIT}",
        f"keep people's {layout.DROP_IN} as {layout.DROP_IN_DIR}/override-adopted.conf",
        f"make {layout.MODELS}",
        f"write {layout.DROP_IN}",
        f"write {layout.UNIT}",
        "restart ollama.service",
        f"let {layout.COMMAND} lead to {layout.CURRENT}/bin/ollama",
    )
    assert len(found) == len(order)
    for summary, begun in zip(found, order, strict=True):
        assert summary.startswith(begun)


def test_peoples_file_counts_just_before_corrals_whatever_it_is_called() -> None:
    names = ["override-adopted.conf", "override-adopted2.conf", "override.conf"]
    assert sorted(names) == names
    kept = {name: "[Service]\n" for name in ("dropin.override.conf", "dropin.override-adopted.conf")}
    assert any("override-adopted2.conf" in summary for summary in summaries(state(kept)))


def test_the_old_units_program_stays_its_own_until_the_unit_is_corrals() -> None:
    release = releases.Release("0.34.4", "ollama-linux-amd64.tar.zst", "0" * 64, "https://mirror.lab/x")
    switch = releases.switch_changes(state(), release)[-1].action
    assert isinstance(switch, Script)
    assert switch.variables["COMMAND"] == ""
    ours = state({"service.unit": f"{layout.MARK}\n"})
    switch = releases.switch_changes(ours, release)[-1].action
    assert isinstance(switch, Script)
    assert switch.variables["COMMAND"] == layout.COMMAND


def test_what_is_left_goes_the_models_old_place_last() -> None:
    links = (handover.LINK,)
    found = handover.leftovers(state(places=Places("/", (PLACE,), links=links)), layout.MODELS)
    assert [change.summary for change in found] == [
        f"remove {handover.LINK}, /usr/local/lib/ollama",
        f"free {OLD}, whose models are in {layout.MODELS}",
    ]
    packaged = state({"foreign.programs": "/usr/lib/ollama\tdpkg ollama\n"}, Places())
    assert handover.leftovers(packaged, layout.MODELS) == []


# --- the scripts, here, as they are ----------------------------------------------------------------------


@pytest.fixture
def remote() -> Remote:
    return Remote(LocalLink(), Sudo())


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory on another file system than tmp_path's."""
    directory = Path("/dev/shm") / f"corral-adoption-{os.getpid()}"
    directory.mkdir()
    yield directory
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()


def models_in(directory: Path) -> Path:
    """A directory of models with one model of one blob, and a download that is under way."""
    blob = b"weights" * 100
    digest = hashlib.sha256(blob).hexdigest()
    (directory / "blobs").mkdir(parents=True)
    (directory / "blobs" / f"sha256-{digest}").write_bytes(blob)
    (directory / "blobs" / f"sha256-{'1' * 64}-partial").write_bytes(b"half")
    manifest = directory / "manifests/registry.ollama.ai/library/qwen3/8b"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(f'{{"layers": [{{"digest": "sha256:{digest}"}}]}}')
    return directory


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def bring(old: Path, new: Path, *then: str) -> Script:
    return Script("adoption/models.sh", {"FROM": str(old), "TO": str(new), "OWNER": getpass.getuser()}, then=then)


def places_of(remote: Remote, old: Path, new: Path) -> Places:
    key = str(old / "key")
    script = Script(
        "adoption/places.sh",
        {"CANDIDATES": [str(old)], "MODELS_DIR": str(new), "KEY": key, "KEY_TO": key, "LINKS": []},
    )
    return Places.of(remote.run(script))


def test_models_on_one_disk_are_linked_and_the_old_place_is_freed_last(tmp_path: Path, remote: Remote) -> None:
    old, new = models_in(tmp_path / "old"), tmp_path / "new"
    before = {name: data for name, data in files_of(old).items() if "partial" not in name}
    (place,) = places_of(remote, old, new).old
    assert (place.path, place.lacking, place.models) == (str(old), 2, PLACE.models)
    remote.run(bring(old, new))
    assert files_of(new) == before
    blob = next((new / "blobs").iterdir())
    assert blob.samefile(old / "blobs" / blob.name)
    assert places_of(remote, old, new).old[0].lacking == 0
    remote.run(bring(old, new, "adoption/free.sh"))
    assert files_of(new) == before
    assert not old.exists()
    assert places_of(remote, old, new).old == ()


def test_models_on_another_disk_are_copied_and_checked(tmp_path: Path, elsewhere: Path, remote: Remote) -> None:
    old, new = models_in(tmp_path / "old"), elsewhere / "new"
    places = places_of(remote, old, new)
    assert places.mount != places.old[0].mount
    remote.run(bring(old, new))
    assert files_of(new) == {name: data for name, data in files_of(old).items() if "partial" not in name}
    remote.run(bring(old, new, "adoption/free.sh"))
    assert not old.exists()


def test_a_damaged_file_is_named_and_not_taken_for_a_copy(tmp_path: Path, elsewhere: Path, remote: Remote) -> None:
    old, new = models_in(tmp_path / "old"), elsewhere / "new"
    blob = next(path for path in (old / "blobs").iterdir() if "partial" not in path.name)
    blob.write_bytes(b"rotten")
    with pytest.raises(HostError, match="is damaged") as caught:
        remote.run(bring(old, new))
    assert caught.value.code == "damaged"
    assert files_of(new) == {}
    assert blob.exists()


def test_a_late_model_is_brought_before_the_old_place_is_freed(tmp_path: Path, remote: Remote) -> None:
    old, new = models_in(tmp_path / "old"), tmp_path / "new"
    remote.run(bring(old, new))
    (old / "manifests/registry.ollama.ai/library/qwen3/late").write_text("{}")
    remote.run(bring(old, new, "adoption/free.sh"))
    assert (new / "manifests/registry.ollama.ai/library/qwen3/late").exists()


def test_another_model_of_the_same_name_is_not_freed(tmp_path: Path, remote: Remote) -> None:
    old, new = models_in(tmp_path / "old"), tmp_path / "new"
    remote.run(bring(old, new))
    manifest = "manifests/registry.ollama.ai/library/qwen3/8b"
    (new / manifest).unlink()
    (new / manifest).write_text("{}")
    os.utime(new / manifest, (1, 1))
    with pytest.raises(HostError, match="different models of one name"):
        remote.run(bring(old, new, "adoption/free.sh"))
    assert (old / manifest).exists()
    os.utime(new / manifest)  # made there since
    remote.run(bring(old, new, "adoption/free.sh"))
    assert not old.exists()


def test_files_that_are_links_are_not_taken_over(tmp_path: Path, remote: Remote) -> None:
    old, new = models_in(tmp_path / "old"), tmp_path / "new"
    (old / "blobs").rename(tmp_path / "far")
    (old / "blobs").symlink_to(tmp_path / "far")
    with pytest.raises(HostError, match="is a link") as caught:
        remote.run(bring(old, new))
    assert f"declare models_dir: {old}" in caught.value.remedy
    assert not new.exists()


def test_a_place_that_other_hosts_may_use_is_not_freed() -> None:
    shared = replace(PLACE, filesystem="nfs")
    ours = {"service.unit": f"{layout.MARK}\n"}
    assert [one.summary for one in handover.leftovers(state(ours, Places("/", (PLACE,))), layout.MODELS)][-1:] == [
        f"free {OLD}, whose models are in {layout.MODELS}"
    ]
    left = handover.leftovers(state(ours, Places("/", (shared,))), layout.MODELS)
    assert not [one for one in left if one.summary.startswith("free")]


def test_a_place_that_leads_to_the_new_one_is_none_to_move(tmp_path: Path, remote: Remote) -> None:
    new = models_in(tmp_path / "new")
    (tmp_path / "old").symlink_to(new)
    assert places_of(remote, tmp_path / "old", new).old == ()


def test_another_key_in_the_new_place_is_kept_beside_the_one_that_was_in_use(tmp_path: Path, remote: Remote) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for directory, text in ((old, "used"), (new, "other")):
        directory.mkdir()
        (directory / "id_ed25519").write_text(text)
        (directory / "id_ed25519").chmod(0o600)
    script = Script("adoption/key.sh", {"FROM": str(old), "TO": str(new), "OWNER": getpass.getuser()})
    for _ in range(2):
        remote.run(script)
        assert (old / "id_ed25519").read_text() == (new / "id_ed25519").read_text() == "used"
        assert (new / "id_ed25519.before-adoption").read_text() == "other"
        assert (new / "id_ed25519").stat().st_mode & 0o777 == 0o600


def test_what_a_power_cut_left_of_a_file_goes_when_it_is_written_again(tmp_path: Path, remote: Remote) -> None:
    (tmp_path / ".corral.a1B2c3").write_text("half")
    remote.run(Script("service/write_file.sh", {"FILE": str(tmp_path / "x.conf"), "MODE": "644", "TEXT": "whole"}))
    assert files_of(tmp_path) == {"x.conf": b"whole\n"}

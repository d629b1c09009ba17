"""What an uninstall takes away of a Linux host: ours, as far as it is there, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral import layout
from corral.probe.state import LinuxState, parse
from corral.remote import LocalLink, Remote, Sudo
from corral.scripts import Script
from corral.service import removal
from corral.service.removal import Remains

UNIT = "# Made by corral; edit the inventory instead.\n[Unit]\n"
SECTIONS = {
    "service.show": f"ActiveState=active\nMainPID=7\nFragmentPath={layout.UNIT}\n",
    "service.unit": UNIT,
    "dropin.override.conf": UNIT,
    "dropin.mine.conf": "[Service]\n",
    "ollama.releases": "0.34.4\tollama-linux-amd64.tar.zst 00\n",
    "ollama.command": f"{layout.CURRENT}/bin/ollama\n",
    "modelfile.r1_latest.modelfile": "FROM x\n",
}
MODELS = (f"{layout.MODELS}/blobs", f"{layout.MODELS}/manifests")


def summaries(state: LinuxState, remains: Remains, remove_models: bool = False) -> list[str]:
    found = removal.changes(state, remains, port=11434, models_dir=layout.MODELS, remove_models=remove_models)
    return [change.summary for change in found]


def all_of(state: LinuxState) -> Remains:
    script = removal.question(state, layout.MODELS)
    places = script.variables["PLACES"]
    assert not isinstance(places, str | int)
    return Remains(frozenset(places), user=True)


def test_all_of_ours_goes_the_user_last_and_the_models_stay() -> None:
    state = parse(SECTIONS)
    stop, places, user = summaries(state, all_of(state))
    assert stop == f"stop ollama.service and remove {layout.UNIT} and {layout.DROP_IN}"
    assert places == (
        "remove /etc/ollama/secrets.env, /etc/ollama/moving-models, /etc/ollama/modelfiles/r1_latest.modelfile, "
        "/usr/local/bin/ollama, /opt/ollama/current, /opt/ollama/.previous, /opt/ollama/.left, /opt/ollama/0.34.4, "
        "/opt/ollama/.download, /var/cache/ollama, /var/lib/ollama/.ollama"
    )
    assert user == f"remove the system user ollama; the models in {layout.MODELS} stay, and become root's"


def test_another_ollamas_unit_is_not_stopped_when_a_take_over_of_it_was_cut_off() -> None:
    cut = {
        **SECTIONS,
        "service.unit": "[Unit]\n",
        "dropin.override.conf": "",
        "dropin.override-adopted.conf": "[Service]\n",
    }
    for sections, stops in ((cut, False), (SECTIONS, True)):
        state = parse(sections)
        found = removal.changes(state, all_of(state), port=11434, models_dir=layout.MODELS, remove_models=False)
        assert isinstance(found[0].action, Script)
        assert found[0].action.variables["STOP"] is stops


def test_models_go_where_that_is_declared() -> None:
    state = parse(SECTIONS)
    *_, places, user = summaries(state, all_of(state), remove_models=True)
    assert all(place in places for place in MODELS)
    assert user == "remove the system user ollama"


def test_models_alone_are_removed_once_the_rest_is_gone() -> None:
    left = Remains(frozenset(MODELS), user=False)
    assert summaries(parse({}), left) == []
    assert summaries(parse({}), left, remove_models=True) == [f"remove {', '.join(MODELS)}"]


def test_a_service_a_command_and_a_user_of_somebody_elses_stay() -> None:
    theirs = {
        "service.show": "ActiveState=active\nMainPID=7\nFragmentPath=/etc/systemd/system/ollama.service\n",
        "service.unit": "[Unit]\nDescription=Ollama Service\n",
        "dropin.override.conf": "[Service]\nEnvironment=OLLAMA_HOST=0.0.0.0\n",
        "ollama.command": "file\n",
    }
    account = "ollama:x:998:998::/usr/share/ollama:/bin/false\n"
    remains = Remains.of({"places": f"{layout.COMMAND}\n", "account": account})
    assert summaries(parse(theirs), remains) == []


@pytest.mark.parametrize(
    ("account", "ours"),
    [
        (f"ollama:x:998:998:{layout.USER_COMMENT}:{layout.HOME}:/usr/sbin/nologin\n", True),
        ("ollama:x:998:998:ollama:/usr/share/ollama:/bin/false\n", False),
        ("", False),
    ],
)
def test_a_user_is_ours_by_its_comment(account: str, ours: bool) -> None:
    assert Remains.of({"account": account}).user is ours


def test_the_host_says_which_places_are_there(tmp_path: Path) -> None:
    there, broken = tmp_path / "a place", tmp_path / "leads nowhere"
    there.touch()
    broken.symlink_to("nothing")
    places = [str(there), str(broken), str(tmp_path / "no")]
    emitted = Remote(LocalLink(), Sudo()).run(Script("probe/remains.sh", {"PLACES": places, "USER_NAME": "nobody"}))
    assert Remains.of(emitted) == Remains(frozenset(places[:2]), user=False)


def test_removing_takes_what_is_named_whole_and_directories_only_when_nothing_is_left_in_them(tmp_path: Path) -> None:
    release, link, shared, elsewhere = (tmp_path / name for name in ("opt/1.0", "opt/current", "etc", "elsewhere"))
    (release / "lib").mkdir(parents=True)
    (release / "lib/file").touch()
    (release / layout.STAMP).touch()
    elsewhere.mkdir()
    (elsewhere / "stays").touch()
    link.symlink_to(elsewhere)
    shared.mkdir()
    (shared / "theirs").touch()
    Remote(LocalLink(), Sudo()).run(
        Script(
            "service/remove.sh",
            {
                "PATHS": [str(release), str(link), str(tmp_path / "no")],
                "EMPTY": [str(tmp_path / "opt"), str(shared), str(tmp_path / "no")],
                "LAST": layout.STAMP,
            },
        )
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "etc", "stays", "theirs"]

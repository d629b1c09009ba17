"""Windows hosts before they run: what they are made of, and what makes the lab make them again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import layers, preparation
from lab.certificates import Authority
from lab.config import Layout, find_host, known_hosts, ssh_config
from lab.images import Image
from lab.preparation import Supplies

WIN11, WIN11_ZH, RTX2070 = find_host("win11"), find_host("win11-zh"), find_host("rtx2070")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code inside Windows hosts, which the lab takes for the code itself."""
    copy = tmp_path / "windows"
    shutil.copytree(layers.CODE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(preparation, "CODE", copy)
    return copy


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    keys = layout.state / "keys"
    keys.mkdir(parents=True)
    (keys / "controller.pub").write_text("ssh-ed25519 AAAA lab controller\n")
    layout.sudo_password.write_text("secret")
    return layout


def supplies(tmp_path: Path) -> Supplies:
    hosts = (WIN11, RTX2070)
    return Supplies(
        Authority(tmp_path, tmp_path, tmp_path),
        images={host.name: tmp_path / f"image-{host.name}" for host in hosts},
        windows={"win11": {"programs": tmp_path / "programs", "prefix": tmp_path / "prefix"}},
        gpu_tools=tmp_path / "tools",
        shaders={host.name: tmp_path / "shaders" for host in hosts},
        releases=tmp_path,
        models=tmp_path,
    )


def test_a_windows_host_has_an_image_of_its_own() -> None:
    assert Image.of(WIN11).name == "bookworm-windows"
    assert "wine64" in Image.of(WIN11).packages
    assert Image.of(RTX2070).name == "bookworm"
    assert "wine64" not in Image.of(RTX2070).packages


def test_programs_lie_over_the_prefix_and_all_over_the_image(tmp_path: Path) -> None:
    assert list(supplies(tmp_path).layers(WIN11)) == ["programs", "prefix", "shaders", "tools", "image"]
    assert list(supplies(tmp_path).layers(RTX2070)) == ["shaders", "tools", "image"]


@pytest.mark.parametrize("changed", ["ssh/new.py", "windows.service"])
def test_a_windows_host_is_made_again_when_what_runs_in_it_changes(
    tmp_path: Path, layout: Layout, code: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.setattr(preparation, "WINDOWS_UNITS", (code / "windows.service",))
    before = [preparation.signature(host, supplies(tmp_path), layout) for host in (WIN11, RTX2070)]
    (code / changed).parent.mkdir(exist_ok=True)
    with (code / changed).open("a") as file:
        file.write("# changed\n")
    after = [preparation.signature(host, supplies(tmp_path), layout) for host in (WIN11, RTX2070)]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_the_code_inside_is_told_about_its_machine(layout: Layout) -> None:
    assert WIN11_ZH.windows
    files = preparation._windows_files(WIN11_ZH, WIN11_ZH.windows, layout)
    content, _ = files[preparation.WINDOWS_SETTINGS]
    settings = json.loads(content)
    assert settings["user"] == "管理员"
    assert settings["locale"] == "zh_CN.UTF-8"
    assert settings["drives"] == {"C": "/srv/windows/prefix/drive_c", "D": "/mnt/d"}
    assert settings["authorized_key"] == "ssh-ed25519 AAAA lab controller"
    assert settings["gpus"] == [{"name": "NVIDIA GeForce RTX 2070", "memory_mib": 8192}]
    assert files[settings["password_file"].removeprefix("/")] == (b"secret", 0o600)
    assert "usr/local/lib/lab/lab/windows/__init__.py" in files


def test_ssh_knows_a_host_whose_user_has_a_chinese_name() -> None:
    assert "    User 管理员\n" in ssh_config([WIN11_ZH])
    assert known_hosts([(WIN11_ZH, "ssh-ed25519 AAAA")]) == "win11-zh,10.77.0.15 ssh-ed25519 AAAA\n"


def test_programs_for_windows_are_built_where_windows_has_them(tmp_path: Path) -> None:
    if not shutil.which("x86_64-w64-mingw32-gcc-posix"):
        pytest.skip("needs mingw; bringing a Windows host up installs it")
    sources = tmp_path / "sources"
    sources.mkdir()
    shutil.copy(layers.NATIVE / "build.sh", sources)
    (sources / "library.c").write_text("__declspec(dllexport) int one(void) { return 1; }\n")
    (sources / "narrow.c").write_text("int main(void) { return 0; }\n")
    (sources / "powershell.c").write_text("int wmain(void);\nint wmain(void) { return 0; }\n")
    subprocess.run([sources / "build.sh", tmp_path / "out"], check=True)
    built = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert built == {"library.dll", "narrow.exe", "WindowsPowerShell/v1.0/powershell.exe"}

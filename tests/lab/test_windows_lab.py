"""Windows hosts as such: Ollama's own program runs in them, on the declared card, before corral is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.config import VERSIONS, find_host
from lab.errors import LabError
from lab.releases import WINDOWS_ASSET

if TYPE_CHECKING:
    from lab.hosts import Completed, Lab

HOST, OTHER = "win11", "win11-zh"
DRIVE_C = "/srv/windows/prefix/drive_c"
RELEASE = f"{DRIVE_C}/Program Files/Ollama/{VERSIONS[0]}"
PROGRAM = rf"C:\Program Files\Ollama\{VERSIONS[0]}\ollama.exe"
#: A tutorial's directory, with what Chinese users put into its name.
MODELS, MODELS_ON_LINUX = r"D:\Models\我的 模型", "/mnt/d/Models/我的 模型"
TINY = "registry.ollama.ai/library/deepseek-r1/7b"
UNIT = "ollama"
#: The shaders that the image brings, and where root's programs have their copy of them and add what they compile.
SHADERS, OWN_SHADERS = "/usr/share/declared-gpus/shaders", "/dev/shm/declared-gpus-shaders-0"


def windows(lab: Lab, host: str, *command: str, unit: tuple[str, ...] = ("--pipe", "--wait", "--collect")) -> Completed:
    """Runs a Windows program as a service of the host would."""
    start = ["systemd-run", "--quiet", *unit, f"--working-directory={DRIVE_C}", "--", "/usr/lib/wine/wine64"]
    return lab.exec(host, [*start, *command])


def post(lab: Lab, path: str, **body: Any) -> dict[str, Any]:
    """The last line of what the host's own Ollama answers."""
    curl = ["curl", "--silent", "--show-error", "--data", "@-", f"http://127.0.0.1:11434{path}"]
    answer = lab.check(HOST, curl, json.dumps(body)).strip().splitlines()[-1]
    decoded: dict[str, Any] = json.loads(answer)
    assert "error" not in decoded, answer
    return decoded


def get(lab: Lab, path: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(
        lab.check(HOST, ["curl", "--silent", "--fail", f"http://127.0.0.1:11434{path}"])
    )
    return decoded


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[list[str]]:
    """A bare host on which ollama.exe of the mirror's release serves; gives what it logged until it answered."""
    lab.reset(HOST)
    lab.check(
        HOST,
        f"""
        set -e
        mkdir -p '{RELEASE}' '{MODELS_ON_LINUX}'
        cd /tmp
        for file in {WINDOWS_ASSET} sha256sum.txt; do
            curl --silent --show-error --fail --remote-name https://mirror.lab/releases/v{VERSIONS[0]}/$file
        done
        sha256sum --check --ignore-missing sha256sum.txt
        python3 -m zipfile --extract {WINDOWS_ASSET} '{RELEASE}'
        """,
    )
    environment = {"OLLAMA_MODELS": MODELS, "OLLAMA_NO_CLOUD": "1", "OLLAMA_FLASH_ATTENTION": "1"}
    since = time.time()
    unit = (f"--unit={UNIT}", *(f"--setenv={name}={value}" for name, value in environment.items()))
    started = windows(lab, HOST, PROGRAM, "serve", unit=unit)
    assert started.rc == 0, started.out
    deadline = time.monotonic() + 60
    while lab.exec(HOST, ["curl", "--silent", "http://127.0.0.1:11434/api/version"]).rc:
        assert time.monotonic() < deadline, "\n".join(lab.journal(HOST, since, f"--unit={UNIT}"))
        time.sleep(0.2)
    yield lab.journal(HOST, since, f"--unit={UNIT}")
    lab.reset(HOST)


def test_the_release_for_windows_is_laid_out_as_upstreams(server: list[str], lab: Lab) -> None:
    files = lab.check(HOST, ["find", RELEASE, "-type", "f", "-printf", "%P\n"]).splitlines()
    assert sorted(files) == ["lib/ollama/llama-quantize.exe", "lib/ollama/llama-server.exe", "ollama.exe"]


def test_ollama_finds_the_declared_card(server: list[str], lab: Lab) -> None:
    found = [line for line in server if "inference compute" in line]
    assert len(found) == 1, server
    assert 'description="NVIDIA GeForce RTX 3070"' in found[0]
    assert 'total="8.0 GiB"' in found[0]
    assert get(lab, "/api/version") == {"version": VERSIONS[0]}


def test_a_model_is_pulled_under_its_real_name_into_a_directory_with_a_chinese_one(server: list[str], lab: Lab) -> None:
    assert post(lab, "/api/pull", model="deepseek-r1:7b")["status"] == "success"
    manifests = f"{MODELS_ON_LINUX}/manifests"
    assert lab.check(HOST, ["find", manifests, "-type", "f", "-printf", "%P\n"]).splitlines() == [TINY]


def test_an_answer_comes_from_the_card_with_the_shaders_that_linux_programs_compiled(
    server: list[str], lab: Lab
) -> None:
    before = memory_used(lab)
    post(lab, "/api/generate", model="deepseek-r1:7b", prompt="Why?", stream=False, options={"num_predict": 8})
    (loaded,) = get(lab, "/api/ps")["models"]
    assert loaded["size_vram"] == loaded["size"] > 0
    # nvidia-smi and the server count the same card's memory.
    assert memory_used(lab) - before >= loaded["size_vram"] // 2**20
    brought, there = (
        lab.check(HOST, ["find", path, "-type", "f", "-printf", "%P\n"]) for path in (SHADERS, OWN_SHADERS)
    )
    assert sorted(there.split()) == sorted(brought.split())


def test_a_file_becomes_a_model(server: list[str], lab: Lab, tmp_path: Path) -> None:
    content = lab.read("mirror", "/srv/models/tiny.gguf")
    lab.write(HOST, "/mnt/d/我的 模型.gguf", content)
    lab.write(HOST, "/mnt/d/Modelfile", "FROM D:\\我的 模型.gguf\n")
    made = windows(lab, HOST, PROGRAM, "create", "mine", "-f", r"D:\Modelfile")
    assert made.rc == 0, made.out
    answer = post(lab, "/api/generate", model="mine", prompt="Why?", stream=False, options={"num_predict": 4})
    assert answer["response"]


@pytest.mark.parametrize(("host", "user", "encoding"), [(HOST, "admin", "cp1252"), (OTHER, "管理员", "cp936")])
def test_a_host_is_a_windows_11_in_its_own_language(lab: Lab, host: str, user: str, encoding: str) -> None:
    assert "10.0.22631" in windows(lab, host, "cmd", "/c", "ver").out
    code_page = r"HKLM\System\CurrentControlSet\Control\Nls\CodePage"
    assert encoding.removeprefix("cp") in windows(lab, host, "reg", "query", code_page, "/v", "ACP").out.split()
    # A program of the machine says where its user's files are, in the machine's own code page.
    assert windows(lab, host, "cmd", "/c", r"echo %USERPROFILE%>D:\profile.txt").rc == 0
    assert lab.read(host, "/mnt/d/profile.txt").decode(encoding).strip() == rf"C:\users\{user}"
    assert lab.exec(host, ["test", "-d", f"{DRIVE_C}/users/{user}"]).rc == 0


def test_nothing_of_linux_is_to_be_seen_from_windows(lab: Lab) -> None:
    assert windows(lab, HOST, "cmd", "/c", "dir", "D:\\").rc == 0
    assert windows(lab, HOST, "cmd", "/c", "dir", "Z:\\").rc == 1


def test_a_reset_empties_both_drives_and_a_reboot_does_not(lab: Lab) -> None:
    for path in (f"{DRIVE_C}/kept.txt", "/mnt/d/kept.txt"):
        lab.write(HOST, path, "kept")
    lab.reboot(HOST)
    assert [lab.read(HOST, path) for path in (f"{DRIVE_C}/kept.txt", "/mnt/d/kept.txt")] == [b"kept"] * 2
    lab.reset(HOST)
    for path in (f"{DRIVE_C}/kept.txt", "/mnt/d/kept.txt"):
        with pytest.raises(LabError, match="No such file"):
            lab.read(HOST, path)


def memory_used(lab: Lab) -> int:
    """MiB of the card, as nvidia-smi says."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.used", "--format=csv,noheader,nounits"]
    name, total, used = lab.check(HOST, query).strip().split(", ")
    (card,) = find_host(HOST).gpus
    assert (name, int(total)) == (card.name, card.memory_mib)
    return int(used)

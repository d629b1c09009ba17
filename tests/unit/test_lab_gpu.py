"""Declared GPUs: the declaration, and the programs that read it and count memory together."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.config import Gpu
from lab.gpu import DECLARATION, SERVICES, SOURCES, declaration, declare, uses_gpu

CARDS = (Gpu("NVIDIA GeForce RTX 4090", 24564, "8.9"), Gpu("NVIDIA GeForce RTX 2070", 8192, "7.5"))
MIB = 2**20


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc") or not Path("/usr/include/vulkan/vulkan.h").exists():
        pytest.skip("needs gcc and Vulkan's headers; bringing the lab up installs them")
    tree = tmp_path_factory.mktemp("tools")
    subprocess.run([SOURCES / "build.sh", tree], check=True)
    return tree


@pytest.fixture
def host(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's tree with two cards; programs that run now take it for their own."""
    (tmp_path / "declared-gpus").write_text(declaration(CARDS, "host"))
    monkeypatch.setenv("DECLARED_GPUS", str(tmp_path / "declared-gpus"))
    monkeypatch.setenv("DECLARED_GPUS_USE", str(tmp_path / "use"))
    return tools


def smi(host: Path, *arguments: str) -> str:
    return subprocess.run([host / "usr/bin/nvidia-smi", *arguments], check=True, text=True, capture_output=True).stdout


def used(host: Path) -> list[int]:
    """MiB used on each card, as nvidia-smi says."""
    return [int(line) for line in smi(host, "--query-gpu=memory.used", "--format=csv,noheader,nounits").splitlines()]


@contextmanager
def hog(host: Path, mib: int, gpu: int = 0) -> Iterator[int]:
    """Has memory taken; gives the program's process ID."""
    with subprocess.Popen([host / "usr/bin/hog", str(mib), str(gpu)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(f"holding {mib} MiB of GPU {gpu}")
        yield process.pid
        process.kill()


def test_the_declaration_has_a_line_per_card_and_a_uuid_of_its_own_for_each() -> None:
    lines = [line.split(maxsplit=5) for line in declaration(CARDS, "host").splitlines() if line.startswith("gpu ")]
    assert [(line[1], line[3], line[5]) for line in lines] == [
        ("24564", "8.9", "NVIDIA GeForce RTX 4090"),
        ("8192", "7.5", "NVIDIA GeForce RTX 2070"),
    ]
    others = declaration(CARDS, "other")
    assert len({line[4] for line in lines}) == 2
    assert not any(line[4] in others for line in lines)


def test_a_second_card_gets_a_copy_of_the_driver(tmp_path: Path) -> None:
    driver = tmp_path / "usr/lib/x86_64-linux-gnu/libvulkan_lvp.so"
    for directory in (driver.parent, tmp_path / "etc", tmp_path / "usr/lib/declared-gpus"):
        directory.mkdir(parents=True)
    driver.write_bytes(b"driver")
    declare(tmp_path, CARDS, "host")
    assert (tmp_path / DECLARATION).read_text() == declaration(CARDS, "host")
    assert (tmp_path / "usr/lib/declared-gpus/libvulkan_lvp-1.so").read_bytes() == b"driver"
    manifest = (tmp_path / "etc/vulkan/icd.d/declared-gpu-1.json").read_text()
    assert '"/usr/lib/declared-gpus/libvulkan_lvp-1.so"' in manifest


@pytest.mark.parametrize(("suite", "told"), [("bookworm", True), ("trixie", False)])
def test_an_old_ollama_is_told_to_use_the_gpu_where_that_works(tmp_path: Path, suite: str, told: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(f"ID=debian\nVERSION_CODENAME={suite}\n")
    declare(tmp_path, CARDS[:1], "host", older=False)
    assert not (tmp_path / SERVICES).exists()
    declare(tmp_path, CARDS[:1], "host")
    assert (tmp_path / SERVICES).exists() is told
    assert uses_gpu("0.24.0", suite) is told
    assert uses_gpu("0.34.4", suite)


def test_nvidia_smi_answers_as_the_real_one(host: Path) -> None:
    assert smi(host, "--query-gpu=index,name,memory.total,memory.free,compute_cap,pci.bus_id", "--format=csv") == (
        "index, name, memory.total [MiB], memory.free [MiB], compute_cap, pci.bus_id\n"
        "0, NVIDIA GeForce RTX 4090, 24564 MiB, 24052 MiB, 8.9, 00000000:01:00.0\n"
        "1, NVIDIA GeForce RTX 2070, 8192 MiB, 7680 MiB, 7.5, 00000000:02:00.0\n"
    )
    assert smi(host, "--query-gpu=driver_version,ecc.mode.current", "--format=csv,noheader", "-i", "1") == (
        "550.144.03, [N/A]\n"
    )
    assert [line.split(" (")[0] for line in smi(host, "-L").splitlines()] == [
        "GPU 0: NVIDIA GeForce RTX 4090",
        "GPU 1: NVIDIA GeForce RTX 2070",
    ]
    assert "512MiB /   24564MiB" in smi(host)


def test_nvidia_smi_refuses_a_field_that_it_does_not_know(host: Path) -> None:
    command = [str(host / "usr/bin/nvidia-smi"), "--query-gpu=name,colour", "--format=csv"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert 'Field "colour" is not a valid field to query.' in done.stdout


def test_nvidia_smi_fails_without_a_declaration(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECLARED_GPUS", os.devnull)
    done = subprocess.run([host / "usr/bin/nvidia-smi"], text=True, capture_output=True, check=False)
    assert done.returncode == 9
    assert "couldn't communicate with the NVIDIA driver" in done.stdout


def test_memory_that_a_program_takes_shows_and_is_free_again_when_it_is_killed(host: Path) -> None:
    with hog(host, 1000), hog(host, 2000, gpu=1) as pid:
        assert used(host) == [1512, 2512]
        apps = smi(host, "--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader")
        assert f"{pid}, {host}/usr/bin/hog, 2000 MiB\n" in apps
    assert used(host) == [512, 512]


def test_memory_that_is_not_free_cannot_be_taken(host: Path) -> None:
    with hog(host, 24000):
        command = [str(host / "usr/bin/hog"), "53"]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        assert done.returncode == 1
        assert "53 MiB are not free on GPU 0, NVIDIA GeForce RTX 4090: 52 of 24564 MiB are" in done.stderr
        with hog(host, 52):
            assert used(host)[0] == 24564


def test_nvml_sees_the_same(host: Path) -> None:
    nvml = ctypes.CDLL(str(host / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"))
    device, count, memory = ctypes.c_void_p(), ctypes.c_uint(), (ctypes.c_ulonglong * 3)()
    name = ctypes.create_string_buffer(96)
    with hog(host, 1000, gpu=1):
        assert nvml.nvmlInit_v2() == 0
        assert nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
        assert count.value == 2
        assert nvml.nvmlDeviceGetHandleByIndex_v2(1, ctypes.byref(device)) == 0
        assert nvml.nvmlDeviceGetName(device, name, 96) == 0
        assert name.value == b"NVIDIA GeForce RTX 2070"
        assert nvml.nvmlDeviceGetMemoryInfo(device, memory) == 0
        assert list(memory) == [8192 * MIB, (8192 - 1512) * MIB, 1512 * MIB]
    assert nvml.nvmlDeviceGetHandleByIndex_v2(2, ctypes.byref(device)) == 2
    assert nvml.nvmlShutdown() == 0

"""What each source says of GPUs, read, and what is judged from it.

The texts are in the format that each tool writes, put together from NVIDIA's manual and from people's reports (named
where they are used); none was recorded here, where there is no such card. Those of macOS are stand-ins: no Mac has
been asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest

from corral import layout
from corral.gpus import amd, apple, engine, nvidia, nvml, state
from corral.gpus.inventory import HANDED_ON, MIG_DIVIDED, Card, Device, Inventory, OwnServer, Problem, normal_bus_id
from corral.gpus.judgement import cuda_runner, problems, usable
from corral.probe.state import parse as parse_host
from corral.remote import LocalLink, Remote, Sudo
from corral.scripts import Script

OURS = OwnServer(frozenset({7, 8}), layout.RELEASES)
UUID = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77"
OTHER = "GPU-c08d91cb-e324-655c-71ba-7570956445bc"
RTX4090 = f"0, NVIDIA GeForce RTX 4090, {UUID}, 00000000:01:00.0, 570.133.07, 24564, 20512, 3572, 8.9, [N/A], [N/A]\n"
RTX3090 = f"1, NVIDIA GeForce RTX 3090, {OTHER}, 00000000:41:00.0, 570.133.07, 24576, 1, 24252, 8.6, [N/A], [N/A]\n"
LOST = "Unable to determine the device handle for GPU0000:41:00.0: Unknown Error\n"
DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
    "driver is installed and running.\n"
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 590.44\n"
CARD = Device("NVIDIA", "NVIDIA GeForce RTX 4090", bus_id="0000:01:00.0", total_mib=24564, free_mib=24000,
              used_mib=564, compute_capability="8.9", driver="570.133.07")  # fmt: skip
RADEON = Device("AMD", "AMD Radeon RX 7900 XTX", bus_id="0000:03:00.0", total_mib=24560, free_mib=24000, gfx="gfx1100")


def asked(nvidia_smi: str, own: OwnServer = OURS, **sections: str) -> Inventory:
    """The inventory of a host whose nvidia-smi said this."""
    return state.parse({"gpu.nvidia": nvidia_smi, **{f"gpu.{k}": v for k, v in sections.items()}}, own)


def found(inventory: Inventory, version: str = "0.34.4") -> str:
    return "\n".join(map(str, problems(inventory, version)))


# nvidia-smi


def test_a_card_is_read_with_all_that_nvidia_smi_tells() -> None:
    (card,) = asked(RTX4090).devices
    assert card == Device(
        vendor="NVIDIA", name="NVIDIA GeForce RTX 4090", index=0, uuid=UUID, bus_id="0000:01:00.0", total_mib=24564,
        free_mib=3572, used_mib=20512, compute_capability="8.9", driver="570.133.07", source="nvidia-smi",
    )  # fmt: skip


@pytest.mark.parametrize(("cell", "ecc"), [("Enabled", True), ("Disabled", False), ("[N/A]", None)])
def test_ecc_is_on_off_or_not_there(cell: str, ecc: bool | None) -> None:
    (card,) = asked(RTX4090.replace("8.9, [N/A]", f"8.9, {cell}")).devices
    assert card.ecc is ecc


def test_what_our_own_server_holds_is_plannable_and_what_others_hold_is_not() -> None:
    runner = f"{layout.RELEASES}/0.34.4/lib/ollama/llama-server"
    processes = f"{UUID}, 8, 18000, {runner}\n{UUID}, 99, 2000, /usr/bin/python3, train, fast\n{OTHER}, 99, 10, x\n"
    seen = asked(RTX4090 + RTX3090, processes=processes)
    first, second = seen.devices
    assert (first.own_mib, first.plannable_mib) == (18000, 3572 + 18000)
    assert (second.own_mib, second.plannable_mib) == (0, 24252)
    assert [(p.pid, p.name, p.used_mib) for p in seen.foreign] == [
        (99, "/usr/bin/python3, train, fast", 2000),
        (99, "x", 10),
    ]


def test_another_ollama_on_the_host_is_not_ours() -> None:
    seen = asked(RTX4090, processes=f"{UUID}, 50, 18000, {layout.RELEASES}/0.34.4/lib/ollama/llama-server\n")
    assert seen.devices[0].plannable_mib == 3572


@pytest.mark.parametrize(
    ("program", "own"),
    [(f"{layout.RELEASES}/0.34.4/lib/ollama/llama-server", True), ("/usr/local/lib/ollama/llama-server", False),
     (f"{layout.RELEASES}/hog", False)],
)  # fmt: skip
def test_without_the_services_pids_our_programs_are_known_by_their_paths(program: str, own: bool) -> None:
    seen = asked(RTX4090, OwnServer(None, layout.RELEASES), processes=f"{UUID}, 50, 100, {program}\n")
    assert [p.own for p in seen.processes] == [own]


def test_memory_that_the_driver_does_not_count_by_process_is_not_counted_and_said() -> None:
    seen = asked(RTX4090, processes=f"{UUID}, 8, [N/A], ollama\n{UUID}, 99, [N/A], x\n")
    assert seen.devices[0].plannable_mib == 3572
    (problem,) = seen.problems
    assert "does not tell how much of NVIDIA GeForce RTX 4090 (0000:01:00.0) our server holds (ollama, pid 8)" in str(
        problem
    )


def test_the_pids_of_the_services_control_group_tell_which_processes_are_ours() -> None:
    sections = {
        "service.show": "ActiveState=active\nMainPID=7\n",
        "gpu.nvidia": RTX4090,
        "gpu.processes": f"{UUID}, 8, 100, y\n",
    }
    assert parse_host({**sections, "process.pids": "7\n8\n"}).gpus.devices[0].own_mib == 100
    assert parse_host({**sections, "process.pids": "7\n"}).gpus.devices[0].own_mib == 0
    assert parse_host(sections).service.pids is None
    assert parse_host({}).service.pids == frozenset()


@pytest.mark.parametrize(
    ("said", "code", "remedy"),
    [
        (DRIVER, "9", "Install NVIDIA's driver"),
        (MISMATCH, "18", "Reboot the host: the driver was updated"),
        ("No devices were found\n", "6", "dmesg | grep NVRM"),
        ("No devices were found\n", "", "dmesg | grep NVRM"),
        ("Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.  Reboot the system to recover "
         "this GPU\n", "15", "Xid 79"),
        ("Failed to initialize NVML: Insufficient Permissions\n", "4", "/dev/nvidia*"),
        ("Something new\n", "255", "Repair the driver"),
    ],
)  # fmt: skip
def test_an_answer_that_fails_is_kept_in_nvidias_words_with_a_remedy(said: str, code: str, remedy: str) -> None:
    seen = asked(said + (f"@failed {code}\n" if code else ""))
    assert seen.devices == ()
    assert seen.error == " ".join(said.split("\n")).strip()
    (problem,) = problems(seen, "0.34.4")
    assert problem.found.startswith("nvidia-smi says: ")
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("text", "error"),
    [("@failed 137\n", "nvidia-smi did not answer in time"), ("@failed 1\n", "nvidia-smi failed without a word")],
)
def test_an_nvidia_smi_without_a_word_says_so(text: str, error: str) -> None:
    assert asked(text).error == error


@pytest.mark.parametrize(
    ("said", "bus_id"),
    [
        (LOST, "0000:41:00.0"),
        ("Unable to determine the device handle for GPU 0000:0B:00.0: Unknown Error\n", "0000:0b:00.0"),
        ("Unable to determine the device handle for GPU0: 0000:01:00.0: GPU is lost. Reboot the system to recover "
         "this GPU\n", "0000:01:00.0"),
    ],
)  # fmt: skip
def test_a_card_that_fell_off_the_bus_is_named_while_the_others_are_read(said: str, bus_id: str) -> None:
    seen = asked(RTX4090 + said + "@failed 15\n")
    assert [card.name for card in seen.devices] == ["NVIDIA GeForce RTX 4090"]
    assert seen.error == ""
    (problem,) = seen.problems
    assert problem.found.startswith(f"the NVIDIA card {bus_id} has fallen off the bus")
    assert "Xid 79" in problem.remedy


def test_a_lost_card_that_the_bus_still_shows_is_told_of_once() -> None:
    cards = "bus_id=0000:41:00.0\tdriver=nvidia\tvendor=0x10de\n"
    assert len(problems(asked(RTX4090 + LOST, cards=cards), "0.34.4")) == 1
    assert "the NVIDIA card 0000:41:00.0 is not among those that nvidia-smi lists" in found(asked(RTX4090, cards=cards))


@pytest.mark.parametrize("word", ["[Unknown Error]", "ERR!", "[GPU is lost]", "[GPU requires reset]"])
def test_a_card_that_answers_with_errors_is_said_to_fail(word: str) -> None:
    seen = asked(RTX4090.replace("20512", word))
    assert seen.devices[0].used_mib is None
    assert f"the NVIDIA card 0000:01:00.0 fails: memory.used {word}" in found(seen)


@pytest.mark.parametrize("word", ["[N/A]", "[Not Supported]"])
def test_a_card_that_has_no_number_for_its_memory_is_kept_and_said(word: str) -> None:
    seen = asked(RTX4090.replace("24564", word).replace("20512", word).replace("3572", word))
    (card,) = seen.devices
    assert (card.total_mib, card.free_mib, card.plannable_mib) == (None, None, None)
    assert "NVIDIA GeForce RTX 4090 (0000:01:00.0) does not tell its memory" in found(seen)


def test_a_card_whose_memory_is_the_systems_sends_one_to_the_engine() -> None:
    seen = asked(f"0, NVIDIA GB10, {UUID}, 0000000F:01:00.0, 580.95.05, [N/A], [N/A], [N/A], 12.1, [N/A], [N/A]\n")
    assert seen.devices[0].unified
    assert seen.devices[0].bus_id == "000f:01:00.0"
    assert "the engine's own list says how much" in found(seen)


def test_fields_that_an_old_nvidia_smi_lacks_are_unknown_and_said() -> None:
    fields = ",".join(field for field in nvidia.FIELDS if field not in ("compute_cap", "mig.mode.current"))
    seen = asked(f"@fields {fields}\n0, Tesla V100, {UUID}, 00000000:01:00.0, 470.182.03, 16160, 0, 16160, Enabled\n")
    (card,) = seen.devices
    assert (card.compute_capability, card.mig, card.ecc, card.total_mib) == ("", "", True, 16160)
    assert "(driver 470.182.03) does not know compute_cap, mig.mode.current" in found(seen)


MIG_CARD = f"0, NVIDIA A100-SXM4-40GB, {UUID}, 00000000:07:00.0, 570.133.07, 40960, 1, 40435, 8.0, Enabled, Enabled\n"
MIG_LIST = f"""GPU 0: NVIDIA A100-SXM4-40GB (UUID: {UUID})
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: {OTHER})
"""
#: nvidia-smi -q -x, as the script picks lines from it.
MIG_MEMORY = """	<gpu id="00000000:07:00.0">
		<mig_devices>
			<mig_device>
				<index>0</index>
				<fb_memory_usage>
					<total>4864 MiB</total>
					<used>12 MiB</used>
					<free>4852 MiB</free>
				</fb_memory_usage>
			</mig_device>
			<mig_device>
				<index>1</index>
				<fb_memory_usage>
					<total>19968 MiB</total>
					<used>37 MiB</used>
					<free>19930 MiB</free>
				</fb_memory_usage>
			</mig_device>
		<fb_memory_usage>
			<total>40960 MiB</total>
"""


def test_a_divided_card_gives_way_to_its_instances() -> None:
    seen = asked(MIG_CARD, mig=MIG_LIST, mig_memory=MIG_MEMORY)
    assert [card.mig for card in seen.devices] == [MIG_DIVIDED, "1g.5gb", "3g.20gb"]
    assert [(card.name, card.total_mib, card.free_mib, card.compute_capability) for card in seen.computing] == [
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4864, 4852, "8.0"),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 19968, 19930, "8.0"),
    ]
    assert seen.computing[0].uuid == "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
    assert "is cut into 2 MIG instances, of which a program sees one. Name it in environment" in found(seen)


def test_a_divided_card_without_an_instance_computes_nothing() -> None:
    seen = asked(MIG_CARD, mig=f"GPU 0: NVIDIA A100-SXM4-40GB (UUID: {UUID})\n")
    assert seen.computing == ()
    assert "is in MIG mode and has no instance" in found(seen)


@pytest.mark.parametrize(
    ("text", "normal"),
    [("00000000:0B:00.0", "0000:0b:00.0"), ("0000:01:00.0", "0000:01:00.0"), ("10000:E1:00.0", "10000:e1:00.0"),
     ("[N/A]", ""), ("", "")],
)  # fmt: skip
def test_an_address_is_written_as_the_kernel_does(text: str, normal: str) -> None:
    assert normal_bus_id(text) == normal


# NVML


@pytest.mark.parametrize(
    ("number", "error", "remedy"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "", ""),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded", "Install NVIDIA's driver"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "RM has detected an NVML/RM version mismatch.", "Reboot the host"),
    ],
)
def test_without_nvml_there_is_no_nvidia_card_and_where_it_fails_its_words_are_kept(
    monkeypatch: pytest.MonkeyPatch, number: int, error: str, remedy: str
) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(number)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    seen = nvml.look()
    assert (seen.devices, seen.error) == ((), error)
    assert [remedy in problem.remedy for problem in seen.problems] == ([True] if error else [])


# AMD

XTX = "bus_id=0000:03:00.0\tdriver=amdgpu\tvendor=0x1002\tdevice=0x744c\tmem_info_vram_total=25753026560\t" \
      "mem_info_vram_used=1073741824\tmem_info_gtt_total=67351347200\tmem_info_gtt_used=16777216"  # fmt: skip
#: A Radeon 780M with a carve-out of 512 MiB and 15 GiB of GTT.
APU = "bus_id=0000:0e:00.0\tdriver=amdgpu\tvendor=0x1002\tdevice=0x15bf\tmem_info_vram_total=536870912\t" \
      "mem_info_vram_used=268435456\tmem_info_gtt_total=16106127360\tmem_info_gtt_used=1073741824"  # fmt: skip
#: kfd's node of a processor, which has no GPU, and of two GPUs; location_id 3584 is 0e:00.0, 768 is 03:00.0.
NODES = (
    "@node\ngfx_target_version 0\nlocation_id 0\ndomain 0\n"
    "@node\ngfx_target_version 110000\nlocation_id 768\ndomain 0\n"
    "@node\ngfx_target_version 110003\nlocation_id 3584\ndomain 0\n"
)


def radeon(*cards: str, **sections: str) -> Inventory:
    return state.parse({"gpu.cards": "\n".join(cards), **{f"gpu.{k}": v for k, v in sections.items()}}, OURS)


def test_an_amd_card_is_read_from_the_kernels_files() -> None:
    seen = radeon(f"{XTX}\tboard_info=type : cem\tmarketing_name=AMD Radeon RX 7900 XTX", kfd=NODES)
    (card,) = seen.devices
    assert (card.name, card.gfx, card.bus_id) == ("AMD Radeon RX 7900 XTX", "gfx1100", "0000:03:00.0")
    assert (card.total_mib, card.used_mib, card.free_mib, card.unified) == (24560, 1024, 23536, False)
    assert seen.vendors == ("AMD",)


def test_an_integrated_gpu_has_the_gtt_too() -> None:
    (card,) = radeon(APU, kfd=NODES).devices
    assert (card.unified, card.gfx, card.total_mib, card.free_mib) == (True, "gfx1103", 15872, 14592)
    assert card.name == "AMD GPU 0x15bf"


def test_rocm_smi_names_a_card_that_nothing_else_names() -> None:
    # Column names of two releases of rocm-smi; a warning may come first.
    old = "WARNING: a lock\ndevice,PCI Bus,Card series,Card model,Card vendor,Card SKU\n" \
          "card0,0000:03:00.0,Radeon RX 7900 XTX,0x744c,Advanced Micro Devices Inc. [AMD/ATI],D70201\n"  # fmt: skip
    new = "device,PCI Bus,Card Series,Card Model,Card Vendor,GFX Version\n" \
          "card0,0000:03:00.0,AMD Radeon RX 7900 XTX,0x744c,AMD,gfx1100\n" \
          "card1,0000:0E:00.0,N/A,0x15bf,AMD,gfx1103\n"  # fmt: skip
    assert radeon(XTX, rocm=old).devices[0].name == "Radeon RX 7900 XTX"
    assert [card.name for card in radeon(XTX, APU, rocm=new).devices] == ["AMD Radeon RX 7900 XTX", "AMD GPU 0x15bf"]


@pytest.mark.parametrize(
    ("version", "name"), [(110000, "gfx1100"), (90010, "gfx90a"), (100306, "gfx1036"), (120001, "gfx1201"), (0, "")]
)
def test_a_gfx_version_is_named_as_the_compiler_does(version: int, name: str) -> None:
    assert amd.gfx_name(version) == name


def test_nvidia_and_amd_cards_of_one_host_are_listed_together() -> None:
    nvidia_card = "bus_id=0000:01:00.0\tdriver=nvidia\tvendor=0x10de"
    seen = state.parse({"gpu.nvidia": RTX4090, "gpu.cards": f"{nvidia_card}\n{XTX}\n"}, OURS)
    assert [card.vendor for card in seen.devices] == ["NVIDIA", "AMD"]
    assert seen.vendors == ("NVIDIA", "AMD")


def test_a_host_without_a_gpu_has_none_and_no_problem() -> None:
    seen = state.parse({"gpu.cards": "\n", "gpu.runners": ""}, OURS)
    assert seen == Inventory()
    assert problems(seen, "0.34.4") == ()


# Apple: stand-ins in the format of sysctl and system_profiler


@pytest.mark.parametrize(
    ("memory_gib", "limit", "share"), [(16, 0, 10922), (36, 0, 24576), (64, 0, 49152), (64, 57344, 57344)]
)
def test_the_gpu_of_an_apple_chip_may_take_a_share_of_the_memory(memory_gib: int, limit: int, share: int) -> None:
    sysctl = f"hw.memsize: {memory_gib << 30}\nmachdep.cpu.brand_string: Apple M3 Max\niogpu.wired_limit_mb: {limit}\n"
    profile = json.dumps({"SPDisplaysDataType": [{"_name": "Apple M3 Max", "sppci_model": "Apple M3 Max"}]})
    (gpu,) = apple.parse(sysctl, profile)
    assert (gpu.vendor, gpu.name, gpu.total_mib, gpu.unified) == ("Apple", "Apple M3 Max", share, True)


@pytest.mark.parametrize("profile", ["", "no JSON", "[]", '{"SPDisplaysDataType": [{}]}'])
def test_an_apple_chip_is_known_by_its_processor_where_the_profile_fails(profile: str) -> None:
    (gpu,) = apple.parse(f"hw.memsize: {32 << 30}\nmachdep.cpu.brand_string: Apple M1 Pro\n", profile)
    assert gpu.name == "Apple M1 Pro"


def test_an_intel_mac_has_no_gpu_for_ollama() -> None:
    assert apple.parse(f"hw.memsize: {16 << 30}\nmachdep.cpu.brand_string: Intel(R) Core(TM) i7-9750H\n", "{}") == ()


# The engine's list

#: ollama/ollama#16508, with another free memory.
CUDA = """ggml_cuda_init: found 2 CUDA devices (Total VRAM: 35936 MiB):
  Device 0: NVIDIA GeForce RTX 3080 Ti, compute capability 8.6, VMM: yes, VRAM: 11909 MiB
  Device 1: NVIDIA RTX PRO 4000 Blackwell SFF Edition, compute capability 12.0, VMM: yes, VRAM: 24026 MiB
load_backend: loaded CUDA backend from /usr/lib/ollama/cuda_v13/libggml-cuda.so
Available devices:
  CUDA0: NVIDIA GeForce RTX 3080 Ti (11909 MiB, 11650 MiB free)
  CUDA1: NVIDIA RTX PRO 4000 Blackwell SFF Edition (24026 MiB, 23795 MiB free)
"""
VULKAN = """ggml_vulkan: Found 2 Vulkan devices:
ggml_vulkan: 0 = NVIDIA GeForce RTX 3080 Ti (NVIDIA) | uma: 0 | fp16: 1 | bf16: 1 | warp size: 32 |
ggml_vulkan: 1 = AMD Radeon 780M Graphics (RADV PHOENIX) (radv) | uma: 1 | fp16: 1 | bf16: 0 | warp size: 64 |
Available devices:
  Vulkan0: NVIDIA GeForce RTX 3080 Ti (12288 MiB, 11712 MiB free)
  Vulkan1: AMD Radeon 780M Graphics (RADV PHOENIX) (15872 MiB, 14000 MiB free)
  BLAS: OpenBLAS (0 MiB, 0 MiB free)
"""


def test_the_engine_lists_every_makers_device_once_by_the_runner_that_ollama_prefers() -> None:
    devices, failed = engine.parse(
        {"engine.vulkan": VULKAN, "engine.cuda_v12": CUDA, "engine.cuda_v13": CUDA}, Inventory()
    )
    assert failed == ()
    assert [(d.vendor, d.name, d.total_mib, d.free_mib, d.source) for d in devices] == [
        ("NVIDIA", "NVIDIA GeForce RTX 3080 Ti", 11909, 11650, "engine, cuda_v13"),
        ("NVIDIA", "NVIDIA RTX PRO 4000 Blackwell SFF Edition", 24026, 23795, "engine, cuda_v13"),
        ("AMD", "AMD Radeon 780M Graphics (RADV PHOENIX)", 15872, 14000, "engine, vulkan"),
    ]
    assert [d.compute_capability for d in devices] == ["8.6", "12.0", ""]
    assert [d.unified for d in devices] == [False, False, True]


def test_two_equal_cards_stay_two() -> None:
    line = "  CUDA{}: NVIDIA GeForce RTX 3090 (24135 MiB, 23800 MiB free)\n"
    twice = line.format(0) + line.format(1)
    devices, _ = engine.parse({"engine.cuda_v12": twice, "engine.vulkan": twice.replace("CUDA", "Vulkan")}, Inventory())
    assert [d.index for d in devices] == [0, 1]


def test_a_listed_device_is_known_by_its_name_and_of_equal_cards_by_what_is_free() -> None:
    line = "  CUDA{}: NVIDIA GeForce RTX 3090 (24135 MiB, {} MiB free)\n"
    cards = (
        replace(CARD, name="NVIDIA GeForce RTX 3090", uuid="a", free_mib=4000, own_mib=20000),
        replace(CARD, name="NVIDIA GeForce RTX 3090", uuid="b", free_mib=24000),
        replace(CARD, uuid="c"),
    )
    devices, _ = engine.parse(
        {"engine.cuda_v12": line.format(0, 23800) + line.format(1, 3700)}, Inventory(devices=cards)
    )
    assert [(d.uuid, d.driver, d.total_mib, d.free_mib, d.plannable_mib) for d in devices] == [
        ("b", "570.133.07", 24135, 23800, 23800),
        ("a", "570.133.07", 24135, 3700, 23700),
    ]


def test_a_device_of_another_name_is_known_where_its_maker_has_but_one() -> None:
    listed = {"engine.vulkan": "  Vulkan0: AMD Radeon Graphics (RADV NAVI31) (24560 MiB, 24000 MiB free)\n"}
    assert engine.parse(listed, Inventory(devices=(CARD, RADEON)))[0][0].gfx == "gfx1100"
    assert engine.parse(listed, Inventory(devices=(RADEON, replace(RADEON, bus_id="2"))))[0][0].bus_id == ""


def test_rocm_and_metal_are_read_too() -> None:
    rocm = "  Device 0: AMD Radeon RX 6700 XT, gfx1031 (0x1031), VMM: no, Wave Size: 32, VRAM: 12272 MiB\n" \
           "Available devices:\n  ROCm0: AMD Radeon RX 6700 XT (12272 MiB, 12248 MiB free)\n"  # fmt: skip
    (card,), _ = engine.parse({"engine.rocm_v7_2": rocm}, Inventory())
    assert (card.vendor, card.gfx) == ("AMD", "gfx1031")
    (apple_gpu,), _ = engine.parse({"engine.metal": "  Metal: Apple M3 Max (98304 MiB, 98303 MiB free)\n"}, Inventory())
    assert (apple_gpu.vendor, apple_gpu.unified) == ("Apple", True)


def test_a_runner_that_can_not_list_is_said() -> None:
    devices, (problem,) = engine.parse(
        {"engine.vulkan": "error while loading shared libraries: libvulkan.so.1\n@failed 127\n"}, Inventory()
    )
    assert devices == ()
    assert problem.found == (
        "the engine's vulkan can't list its devices: error while loading shared libraries: libvulkan.so.1"
    )


def test_the_engine_is_asked_with_what_chooses_its_devices(tmp_path: Path) -> None:
    listed = tmp_path / "lib/ollama"
    for runner in ("cuda_v13", "vulkan"):
        (listed / runner).mkdir(parents=True)
    (listed / "cuda_v13/libggml-cuda.so").touch()
    (listed / "vulkan/libggml-vulkan.so").touch()
    program(listed / "llama-server", 'echo "$@"; env | grep -E "^(CUDA_V|GGML_B|LD_L|HOME|OLLAMA)"')

    def ask(environment: Mapping[str, str]) -> dict[str, str]:
        script = engine.script(str(tmp_path), environment)
        return Remote(LocalLink(), Sudo()).run(replace(script, variables={**script.variables, "USER_NAME": "root"}))

    answer = ask({"CUDA_VISIBLE_DEVICES": "GPU-1, 2", "OLLAMA_HOST": "0.0.0.0", "OLLAMA_VULKAN": "1"})
    assert set(answer) == {"engine.cuda_v13", "engine.vulkan"}
    assert set(ask({"OLLAMA_VULKAN": "0"})) == {"engine.cuda_v13"}
    assert set(ask({"OLLAMA_LLM_LIBRARY": "vulkan"})) == {"engine.vulkan"}
    words, *lines = answer["engine.vulkan"].splitlines()
    assert words == "--list-devices --offline"
    assert set(lines) == {
        "CUDA_VISIBLE_DEVICES=GPU-1, 2",
        f"GGML_BACKEND_PATH={listed}/vulkan/libggml-vulkan.so",
        f"LD_LIBRARY_PATH={listed}:{listed}/vulkan",
        f"HOME={layout.HOME}",
    }


def test_a_release_without_an_engine_lists_nothing(tmp_path: Path) -> None:
    assert Remote(LocalLink(), Sudo()).run(engine.script(str(tmp_path), {})) == {}


# The script


def program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


Probe = Callable[[], Mapping[str, str]]


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Runs the script on this machine, with programs from tmp_path/bin and the kernel's files from tmp_path/root."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    variables = {**state.variables(str(tmp_path / "root")), "CURRENT": str(tmp_path / "current")}
    return lambda: Remote(LocalLink(), Sudo()).run(Script("gpus/probe.sh", variables))


def test_an_nvidia_smi_that_refuses_fields_is_asked_for_the_others(tmp_path: Path, probe: Probe) -> None:
    program(
        tmp_path / "bin/nvidia-smi",
        'case "$*" in\n'
        "*compute-apps*) ;;\n"
        "*compute_cap*) printf 'Field \"compute_cap\" is not a valid field to query.\\n\\n'; exit 2 ;;\n"
        "*mig.mode*) printf 'Field \"mig.mode.current\" is not a valid field to query.\\n\\n'; exit 2 ;;\n"
        f"*) echo '0, Tesla K80, {UUID}, 00000000:01:00.0, 470.182.03, 11441, 0, 11441, Enabled' ;;\n"
        "esac",
    )
    seen = state.parse(probe(), OURS)
    assert (seen.devices[0].name, seen.devices[0].ecc, seen.error) == ("Tesla K80", True, "")


def test_cards_beside_a_lost_one_are_asked_one_by_one(tmp_path: Path, probe: Probe) -> None:
    for card in ("0000:01:00.0", "0000:41:00.0"):
        (tmp_path / "root/proc/driver/nvidia/gpus" / card).mkdir(parents=True)
    program(
        tmp_path / "bin/nvidia-smi",
        f'case "$*" in\n*compute-apps*) ;;\n*"-i 0000:01:00.0"*) echo "{RTX4090.strip()}" ;;\n'
        f'*) echo "{LOST.strip()}"; exit 15 ;;\nesac',
    )
    seen = state.parse(probe(), OURS)
    assert [card.name for card in seen.devices] == ["NVIDIA GeForce RTX 4090"]
    assert [problem.found.partition(":")[0] for problem in seen.problems] == ["the NVIDIA card 0000"]
    assert "0000:41:00.0 has fallen off the bus" in found(seen)


def test_instances_are_asked_for_only_where_a_card_is_divided(tmp_path: Path, probe: Probe) -> None:
    answers = f'case "$*" in\n*query-gpu*) echo "{{}}" ;;\n-L) cat <<"EOF"\n{MIG_LIST}EOF\n;;\n' \
              f'"-q -x") cat <<"EOF"\n<noise>1</noise>\n{MIG_MEMORY}EOF\n;;\nesac'  # fmt: skip
    program(tmp_path / "bin/nvidia-smi", answers.format(MIG_CARD.strip()))
    assert [card.total_mib for card in state.parse(probe(), OURS).computing] == [4864, 19968]
    program(tmp_path / "bin/nvidia-smi", answers.format(MIG_CARD.strip().replace("Enabled, Enabled", "Enabled, [N/A]")))
    assert "gpu.mig" not in probe()


def test_the_kernels_files_are_read_for_cards_of_both_makers(tmp_path: Path, probe: Probe) -> None:
    devices = tmp_path / "root/sys/bus/pci/devices"
    cards = {
        "0000:01:00.0": {"class": "0x030000", "vendor": "0x10de", "device": "0x2684"},
        "0000:01:00.1": {"class": "0x040300", "vendor": "0x10de", "device": "0x22ba"},
        "0000:03:00.0": {"class": "0x030000", "vendor": "0x1002", "device": "0x744c", "revision": "0xc8",
                         "mem_info_vram_total": "25753026560", "mem_info_vram_used": "0"},
        "0000:05:00.0": {"class": "0x030000", "vendor": "0x1a03", "device": "0x2000"},
    }  # fmt: skip
    for address, files in cards.items():
        (devices / address).mkdir(parents=True)
        for name, text in files.items():
            (devices / address / name).write_text(f"{text}\n")
    (devices / "0000:01:00.0/driver").symlink_to("../drivers/nouveau")
    (devices / "0000:03:00.0/driver").symlink_to("../drivers/amdgpu")
    node = tmp_path / "root/sys/class/kfd/kfd/topology/nodes/1/properties"
    node.parent.mkdir(parents=True)
    node.write_text("cpu_cores_count 0\ngfx_target_version 110000\nlocation_id 768\ndomain 0\n")
    ids = tmp_path / "root/usr/share/libdrm/amdgpu.ids"
    ids.parent.mkdir(parents=True)
    ids.write_text("# List of AMDGPU IDs\n744C,\tC0,\tAMD Radeon RX 7900 GRE\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n")
    (tmp_path / "current/lib/ollama/vulkan").mkdir(parents=True)
    (tmp_path / "current/lib/ollama/vulkan/libggml-vulkan.so").touch()
    program(tmp_path / "bin/rocm-smi", "echo must not be asked >&2; exit 1")
    sections = {name: text for name, text in probe().items() if name not in ("gpu.nvidia", "gpu.processes")}
    seen = state.parse(sections, OURS)
    assert "gpu.rocm" not in sections
    assert seen.cards == (Card("NVIDIA", "0000:01:00.0", "nouveau"), Card("AMD", "0000:03:00.0", "amdgpu"))
    assert [(card.name, card.gfx, card.total_mib) for card in seen.devices] == [
        ("AMD Radeon RX 7900 XTX", "gfx1100", 24560)
    ]
    assert seen.runners == {"vulkan"}


# Judgement


def test_a_card_that_serves_has_no_problem() -> None:
    cards = (Card("NVIDIA", "0000:01:00.0", "nvidia"),)
    assert problems(Inventory(devices=(CARD,), cards=cards, runners=frozenset({"cuda_v12"})), "0.34.4") == ()


@pytest.mark.parametrize(
    ("capability", "driver", "version", "needed"),
    [
        ("8.9", "550.54.14", "0.34.4", 0),
        ("8.9", "535.230.02", "0.34.4", 550),
        ("8.9", "535.230.02", "0.24.0", 0),
        ("8.9", "525.85.12", "0.24.0", 531),
        ("6.1", "565.57.01", "0.34.4", 570),
        ("6.1", "570.133.07", "0.34.4", 0),
        ("7.0", "550.54.14", "0.34.4", 0),
        ("", "470.182.03", "0.34.4", 550),
        ("6.1", "535.230.02", "0.24.0", 0),
    ],
)
def test_a_driver_too_old_for_a_card_and_a_version_is_said(
    capability: str, driver: str, version: str, needed: int
) -> None:
    said = found(Inventory(devices=(replace(CARD, compute_capability=capability, driver=driver),)), version)
    assert (f"NVIDIA's driver {driver} is too old: Ollama {version} needs {needed}" in said) == bool(needed)
    assert (said == "") == (not needed)


def test_a_card_below_what_the_runners_support_is_said_once() -> None:
    (problem,) = problems(Inventory(devices=(replace(CARD, compute_capability="3.7", driver="470.256.02"),)), "0.34.4")
    assert "has compute capability 3.7, and Ollama's CUDA needs 5.0" in problem.found


@pytest.mark.parametrize(
    ("capability", "driver", "runner"),
    [("8.9", "580.95.05", "cuda_v13"), ("8.9", "570.133.07", "cuda_v12"), ("7.5", "580.95.05", "cuda_v13"),
     ("7.0", "580.95.05", "cuda_v12"), ("5.0", "570.133.07", "cuda_v12"), ("3.7", "470.256.02", ""), ("", "550", "")],
)  # fmt: skip
def test_a_card_has_the_runner_that_its_capability_and_driver_allow(capability: str, driver: str, runner: str) -> None:
    assert cuda_runner(replace(CARD, compute_capability=capability, driver=driver)) == runner


@pytest.mark.parametrize(
    ("capability", "driver", "runners", "said"),
    [("7.0", "580.95.05", {"cuda_v13"}, True), ("8.9", "570.133.07", {"cuda_v13"}, True),
     ("8.9", "580.95.05", {"cuda_v12"}, False), ("7.0", "580.95.05", {"vulkan"}, False)],
)  # fmt: skip
def test_a_release_that_lacks_the_one_runner_for_a_card_is_said(
    capability: str, driver: str, runners: set[str], said: bool
) -> None:
    card = replace(CARD, compute_capability=capability, driver=driver)
    assert ("has no cuda_v12" in found(Inventory(devices=(card,), runners=frozenset(runners)))) is said


@pytest.mark.parametrize(
    ("driver", "said"),
    [("nouveau", "runs on nouveau"), ("", "has no driver"), ("nvidia", "can't be asked: no nvidia-smi"),
     (HANDED_ON, "")],
)  # fmt: skip
def test_a_card_that_no_program_reaches_is_said(driver: str, said: str) -> None:
    seen = Inventory(devices=(RADEON,), cards=(Card("NVIDIA", "0000:01:00.0", driver),))
    text = found(seen)
    assert said in text
    assert bool(text) == bool(said)
    assert bool(seen.vendors) == bool(said)


def test_a_card_behind_a_driver_that_fails_is_not_told_of_twice() -> None:
    seen = asked(f"{DRIVER}@failed 9\n", cards="bus_id=0000:01:00.0\tdriver=nvidia\tvendor=0x10de\n")
    assert len(problems(seen, "0.34.4")) == 1


def test_an_amd_card_without_rocm_is_served_by_vulkan() -> None:
    assert "is served by Vulkan" in found(Inventory(devices=(RADEON,), runners=frozenset({"cuda_v12", "vulkan"})))
    assert found(Inventory(devices=(RADEON,), runners=frozenset({"rocm_v7_2", "vulkan"}))) == ""
    assert found(Inventory(devices=(RADEON,))) == "", "nothing is installed yet"


def test_an_integrated_gpu_is_left_out_unless_it_is_wanted() -> None:
    seen = Inventory(devices=(replace(RADEON, unified=True),))
    assert "OLLAMA_IGPU_ENABLE" in found(seen)
    assert problems(seen, "0.34.4", integrated=True) == ()
    assert problems(seen, "0.24.0") == ()
    assert usable(seen, "0.34.4") == ()
    assert usable(seen, "0.34.4", integrated=True) == usable(seen, "0.24.0") == seen.devices


def test_a_problem_reads_as_two_sentences() -> None:
    assert str(Problem("it is so", "Do this")) == "it is so. Do this."

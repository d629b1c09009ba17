"""`corral plan --gpu`: what a card would run, before anyone buys it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from corral.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["plan", *arguments])


def test_the_table_shows_terms_bar_and_reasons() -> None:
    done = run("--gpu", "RTX 4090", "--vram", "24GiB")
    assert done.exit_code == 0, done.output
    for word in ("DeepSeek-R1-Distill-Qwen-32B", "Q4_K_M", "16384", "18508", "2176", "208", "457", "1024", "24064"):
        assert word in done.output
    bar = next(line for line in done.output.splitlines() if line.startswith("["))
    assert len(bar) == 62
    assert bar.count("W") > bar.count("K") > bar.count("O") >= 1


def test_json_is_for_programs_and_its_parts_add_up() -> None:
    answer = json.loads(run("--gpu", "RTX 3090", "--gpu", "RTX 3090", "--json").output)
    assert answer["from"] == "deepseek-r1:70b-llama-distill-q4_K_M"
    assert answer["wholly_on_gpu"] is True
    assert answer["num_gpu"] is None
    assert len(answer["gpus"]) == 2
    for card in answer["gpus"]:
        parts = ("weights", "KV cache", "graph", "overhead", "reserve", "free")
        assert sum(card[part] for part in parts) == pytest.approx(24064, abs=0.1)
    assert answer["refused"]
    assert all(refusal["reason"] for refusal in answer["refused"])


def test_refused_candidates_are_listed_when_asked() -> None:
    assert "not r1-70b at Q4_K_M" not in run("--gpu", "RTX 4090").output
    assert "not r1-70b at Q4_K_M" in run("--gpu", "RTX 4090", "--refused").output


def test_older_ollama_is_planned_with_its_own_formulas() -> None:
    old = json.loads(run("--gpu", "RTX 4090", "--ollama", "0.24.0", "--json").output)
    new = json.loads(run("--gpu", "RTX 4090", "--json").output)
    assert old["gpus"][0]["graph"] > new["gpus"][0]["graph"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--gpu", "RTX 4070 Tii"), ("unknown GPU", "GeForce RTX 4070 Ti", "--vram")),
        (("--gpu", "x", "--vram", "24"), ("24 is no amount of memory", "24GiB")),
        (("--gpu", "x", "--vram", "1MiB"), ("1 MiB is no GPU's memory",)),
        (("--gpu", "x", "--vram", "8G", "--vram", "9G"), ("--vram is given 2 times for 1 GPUs",)),
        (("--gpu", "RTX 4090", "--model", "r1-33b"), ("unknown model 'r1-33b'", "r1-32b")),
        (("--gpu", "RTX 4090", "--quantization", "Q4_X"), ("unknown quantization", "Q4_0")),
        (("--gpu", "RTX 4090", "--ollama", "latest"), ("'latest' is not a version",)),
        (("--gpu", "RTX 3080", "--model", "r1-70b"), ("nothing fits", "offload: true")),
    ],
)
def test_wrong_input_is_one_sentence_with_a_remedy(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    for word in words:
        assert word in done.output


def test_planning_does_not_wait_for_pyinfra() -> None:
    script = "import sys, corral.cli, corral.planview, corral.planner.choice; print('pyinfra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""`corral plan --gpu`: what a card would run, before anyone buys it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from corral.cli import main
from corral.engine.skeleton import skeleton
from corral.planner import catalog


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["plan", *arguments])


def test_the_table_shows_terms_bar_and_reasons() -> None:
    done = run("--gpu", "RTX 4090", "--vram", "24GiB")
    assert done.exit_code == 0, done.output
    for word in ("DeepSeek-R1-Distill-Qwen-32B", "Q4_K_M", "16384", "18508", "2176", "208", "642", "1024", "24064"):
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
        parts = ("weights", "kv_cache", "graph", "overhead", "reserve", "free")
        assert sum(card[f"{part}_mib"] for part in parts) == pytest.approx(24064, abs=0.1)
    assert answer["refused"]
    assert all(refusal["reason"] for refusal in answer["refused"])


def test_refused_candidates_are_listed_when_asked() -> None:
    assert "not r1-70b at Q4_K_M" not in run("--gpu", "RTX 4090").output
    assert "not r1-70b at Q4_K_M" in run("--gpu", "RTX 4090", "--refused").output


def test_older_ollama_is_planned_with_its_own_formulas() -> None:
    old = json.loads(run("--gpu", "RTX 4090", "--ollama", "0.24.0", "--json").output)
    new = json.loads(run("--gpu", "RTX 4090", "--json").output)
    assert old["gpus"][0]["graph_mib"] > new["gpus"][0]["graph_mib"]


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


def test_wishes_on_the_command_line_are_for_imagined_cards_only() -> None:
    done = run("--family", "deepseek-r1")
    assert done.exit_code == 1
    assert "--family goes with --gpu" in done.output


@pytest.mark.parametrize(
    ("modules", "slow"),
    [("corral.cli, corral.planview, corral.planner.choice", "pyinfra"), ("corral.operations", "gguf")],
)
def test_what_takes_long_to_import_is_imported_only_where_it_is_needed(modules: str, slow: str) -> None:
    script = f"from gevent import monkey; monkey.patch_all(); import sys, {modules}; print({slow!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("corral pl", {"plan"}),
        ("corral plan --model r1-1", {"r1-1.5b", "r1-14b"}),
        ("corral plan --quantization q3", {"Q3_K_L", "Q3_K_M", "Q3_K_S"}),
        ("corral plan --gpu 3090", {"GeForce RTX 3090", "GeForce RTX 3090 Ti"}),
    ],
)
def test_tab_completes_commands_models_and_cards(words: str, offered: set[str]) -> None:
    environment = {
        **os.environ, "_CORRAL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")),
    }  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).with_name("corral")], env=environment, capture_output=True, text=True, check=True
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == offered


def test_a_wrong_option_is_not_taken_for_changes() -> None:
    """Exit code 2 is Terraform's for a plan with changes."""
    done = run("--gpu", "RTX 4090", "--min-context", "many")
    assert (done.exit_code, "Invalid value" in done.output) == (1, True)
    assert run("--no-such-option").exit_code == 1


def test_a_file_of_ones_own_is_planned_and_a_name_for_a_registry_is_not(tmp_path: Path) -> None:
    body = skeleton(catalog.catalog()["r1-7b"].architecture, "Q4_K_M")
    (tmp_path / "mine.gguf").write_bytes(gzip.decompress(body.header))
    os.truncate(tmp_path / "mine.gguf", body.size)
    answer = json.loads(run("--gpu", "RTX 3060", "--model", str(tmp_path / "mine.gguf"), "--json").output)
    listed = json.loads(run("--gpu", "RTX 3060", "--model", "r1-7b", "--quantization", "Q4_K_M", "--json").output)
    assert answer["gpus"] == listed["gpus"]
    refused = run("--gpu", "RTX 3060", "--model", "qwen3:8b")
    assert refused.exit_code == 1
    assert "no host is there that could ask its registry" in refused.output
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gzip.decompress(body.header)[:1000])
    broken = run("--gpu", "RTX 3060", "--model", str(cut))
    assert (broken.exit_code, "cut.gguf" in broken.output) == (1, True)
    assert "Traceback" not in broken.output

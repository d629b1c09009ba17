"""`corral accuracy`: measurements read, predicted and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from corral.cli import main
from corral.errors import CorralError
from corral.planner.accuracy import COLUMNS, Summary, compare

MEASURED = Path(__file__).parents[1] / "data" / "vram-measured.csv"


def measured(tmp_path: Path, **fields: str) -> Summary:
    """A file of one line: a 7B as Ollama 0.34.4 logs it, with some fields changed."""
    row = {
        "model": "qwen2.5:7b", "arch": "r1-7b", "quant": "Q4_K_M", "ctx": "4096", "parallel": "1", "kv_type": "f16",
        "flash": "1", "gpu": "RTX 3080", "weights_mib": "4168.09", "kv_mib": "224.00", "graph_mib": "136.01",
        "total_mib": "4528.10", "offloaded": "29", "layers": "29", "note": "gen=new;ub=512",
    } | fields  # fmt: skip
    path = tmp_path / "mine.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{','.join(row.get(column, '') for column in COLUMNS)}\n")
    return compare(path)


def test_the_published_measurements_are_met() -> None:
    """Totals within 2.5 %, 0.3 % on average, and never too low where everything is known; what was measured by term,
    to the MiB."""
    summary = compare(MEASURED)
    assert summary.mean_abs_pct <= 0.3
    assert summary.worst_pct <= 2.5
    assert summary.worst_under_mib <= 5
    for row in summary.rows:
        for term in ("weights", "kv"):
            if term in row.measured and term in row.predicted:
                assert row.predicted[term] == pytest.approx(row.measured[term], abs=1), row.model


def test_json_holds_the_rows_and_the_three_numbers() -> None:
    done = CliRunner().invoke(main, ["accuracy", str(MEASURED), "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.output)
    assert set(answer) == {"rows", "mean_abs_pct", "worst_pct", "worst_under_mib"}
    assert len(answer["rows"]) == 14
    assert answer["rows"][0]["predicted"]["weights"] == pytest.approx(4168.09, abs=0.01)


def test_the_table_is_for_people() -> None:
    done = CliRunner().invoke(main, ["accuracy", str(MEASURED)])
    assert done.exit_code == 0, done.output
    assert "4168.09 / 4168.09" in done.output
    assert "at worst" in done.output


def test_a_total_from_the_driver_counts_its_context(tmp_path: Path) -> None:
    engine = measured(tmp_path).rows[0].predicted["total"]
    driver = measured(tmp_path, note="gen=new;ub=512;total=nvidia-smi").rows[0].predicted["total"]
    assert driver - engine == pytest.approx(414.1, abs=0.1)
    unknown = measured(tmp_path, gpu="RTX 9999", note="gen=new;ub=512;total=nvidia-smi").rows[0].predicted["total"]
    assert unknown - engine == 457


def test_a_term_that_is_missing_is_not_compared(tmp_path: Path) -> None:
    row = measured(tmp_path, ctx="?", quant="?", total_mib="").rows[0]
    assert (row.known, set(row.predicted)) == (False, set())


def test_generations_batches_and_backends_come_from_the_note(tmp_path: Path) -> None:
    old = measured(tmp_path, note="gen=legacy;ub=1024").rows[0].predicted["graph"]
    new = measured(tmp_path, note="gen=new;ub=1024").rows[0].predicted["graph"]
    assert old > new > measured(tmp_path).rows[0].predicted["graph"]
    vulkan = measured(tmp_path, note="gen=new;ub=512;backend=vulkan").rows[0].predicted["graph"]
    assert vulkan == pytest.approx(measured(tmp_path, gpu="8 GB Vulkan card").rows[0].predicted["graph"])
    assert vulkan < measured(tmp_path).rows[0].predicted["graph"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"arch": "r1-9b"}, ("line 2", "unknown model 'r1-9b'", "r1-8b")),
        ({"quant": "Q4_K_XL"}, ("line 2", "unknown quantization", "Q4_K_M")),
        ({"ctx": "many"}, ("line 2", "ctx: 'many' is no number")),
        ({"ctx": "-1"}, ("line 2", "ctx: -1 is out of range")),
        ({"weights_mib": "nan"}, ("line 2", "weights_mib: nan is out of range")),
        ({"flash": "perhaps"}, ("line 2", "flash: perhaps")),
        ({"kv_type": "q3_0"}, ("line 2", "unknown KV cache type 'q3_0'", "q8_0")),
        ({"note": "gen=newest"}, ("line 2", "gen=newest", "legacy, new")),
        ({"note": "backend=abacus"}, ("line 2", "backend=abacus", "vulkan")),
        ({"note": "n_vocab=0"}, ("line 2", "n_vocab=0")),
        ({"gpu": "100000x RTX 3090"}, ("line 2", "100000 devices")),
        ({"arch": "none.gguf"}, ("line 2", "none.gguf")),
        ({"parallel": "0.5"}, ("line 2", "parallel: 0.5 is no whole number")),
    ],
)
def test_what_cannot_be_read_is_named_by_line_and_column(
    tmp_path: Path, fields: dict[str, str], words: tuple[str, ...]
) -> None:
    with pytest.raises(CorralError) as refused:
        measured(tmp_path, **fields)
    for word in words:
        assert word in str(refused.value)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CorralError, match="lacks the column model"):
        compare(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorralError, match="no CSV"):
        compare(path)

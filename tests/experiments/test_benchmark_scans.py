"""The measure "scan": that its codes run by either scan, agree, and are told of."""

import gc
import json

import jax
import pytest

from experiments.benchmarks import __main__ as cli
from experiments.benchmarks import report
from experiments.benchmarks.peers.contract import NotRunError
from experiments.benchmarks.peers.registry import LAX_SCAN, OURS
from experiments.benchmarks.scans import bars
from experiments.benchmarks.scans.programs import build_scans
from experiments.benchmarks.scans.rows import MODULES, SCANS, ScanRow, build_code

TINY = {
    "attention-decoder": (2, 3, 4, 5),
    "flax-lstm": (2, 3, 4),
    "flax-gru": (2, 3, 4),
    "flax-simple": (2, 3, 4),
    "haiku-deep": (2, 3, 4),
    "rl-gru": (2, 3, 4),
    "equinox-gru": (2, 3, 4),
    "ppo": (4, 3, 4),
    "convlstm": (2, 3, 5, 2),
    "kalman": (4, 4),
    "spiking": (2, 8, 6),
}


@pytest.fixture(autouse=True)
def kept_programs(monkeypatch):
    """Let a run not throw away what other tests have compiled, nor look for garbage."""
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.mark.parametrize("row", SCANS, ids=lambda row: row.name)
def test_a_code_runs_by_the_scan_it_is_given(row):
    calls, lax_scan = [], jax.lax.scan

    def scan(*args, **options):
        calls.append(options)
        return lax_scan(*args, **options)

    try:
        code = build_code(row)
    except NotRunError as error:
        pytest.skip(str(error))
    loss = jax.eval_shape(lambda p, d: code.loss(scan, p, d), code.params, code.data)
    assert loss.shape == ()
    assert calls
    assert jax.lax.scan is lax_scan


@pytest.mark.parametrize("code", MODULES)
def test_both_scans_agree(code):
    built = build_scans(ScanRow(code, TINY[code]))
    assert built.errors == {}
    if OURS in built.not_run:
        pytest.skip(built.not_run[OURS])
    assert set(built.programs) == {OURS, LAX_SCAN}
    assert max(built.agreement[LAX_SCAN].values()) < 1e-5


def test_a_run_has_tables_of_the_codes(tmp_path, capsys):
    arguments = ["--measure", "scan", "--quick", "--rows", "flax-simple/*", "--rounds", "2"]
    assert cli.main([*arguments, "--compile-rounds", "1", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["groups"]["rows"] == {}
    (record,) = result["groups"]["scan"].values()
    assert record["errors"] == {}
    assert set(record["measures"]) == {"train", "forward", "trace", "compile", "memory-temporary"}
    for timing in record["measures"].values():
        assert set(timing["samples"]) == {OURS, LAX_SCAN}
    assert set(bars.scan_ratios(record)) == set(bars.COLUMNS)
    shown = capsys.readouterr().out
    assert "| flax-simple/8x32x32 |" in shown
    assert (tmp_path / "tables.md").read_text().strip() in shown
    path = str(tmp_path / "results.json")
    assert cli.main(["compare", path, path]) == 0


def record_of(**ratios):
    """Give a row's record: `lax.scan` takes 2 of each measure."""
    return {
        "measures": {
            name: {"unit": "s", "samples": {OURS: [2 * ratio] * 2, LAX_SCAN: [2.0] * 2}}
            for name, ratio in ratios.items()
        }
    }


def test_bars_are_of_the_mean_and_of_the_worst_row():
    rows = {
        "a/1": record_of(train=0.25, forward=1.0, trace=2.0, compile=1.0),
        "b/1": record_of(train=1.0, forward=1.0625, trace=1.0, compile=1.0),
        "c/1": record_of(train=0.5),
    }
    assert bars.scan_ratios(rows["a/1"])["trace + compile"] == [1.5, 1.5]
    found = [(bar.column, value, row, passed) for bar, value, row, passed in bars.judged(rows)]
    assert found == [
        ("train", pytest.approx(0.5), "", True),
        ("train", 1.0, "b/1", False),
        ("forward", 1.0625, "b/1", False),
        ("trace + compile", 1.5, "a/1", False),
    ]
    shown = report.bar_table(rows)
    assert [cell.strip() for cell in shown[2].split("|")[1:-1]] == [
        *("train, geometric mean", "<= 0.65", "0.500", "yes")
    ]
    assert [line.split("|")[-2].strip() for line in shown[3:]] == ["NO", "NO", "NO"]


def test_no_bar_is_passed_with_a_row_left_out():
    rows = {"a/1": record_of(train=0.5), "b/1": record_of()}
    rows["b/1"]["measures"]["train"] = {"unit": "s", "samples": {LAX_SCAN: [1.0]}}
    assert [passed for *_, passed in bars.judged(rows)] == [False, False]

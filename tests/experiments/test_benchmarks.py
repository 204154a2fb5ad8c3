"""The benchmark's runs: that they are fair, and do not hide what failed."""

import copy
import dataclasses
import functools
import gc
import json
import math

import jax
import numpy as np
import pytest

from experiments.benchmarks import (
    __main__ as cli,
)
from experiments.benchmarks import (
    agreement,
    ceiling,
    growth,
    memory,
    programs,
    report,
)
from experiments.benchmarks import run as run_module
from experiments.benchmarks.config import Config
from experiments.benchmarks.grid import Row, parse_row
from experiments.benchmarks.peers.contract import NotRunError, Program, Stream
from experiments.benchmarks.peers.registry import OURS, PEERS, entries
from experiments.benchmarks.plan import make_plan
from experiments.benchmarks.workload import make_workload
from experiments.common.errors import InputError
from experiments.common.records import write_json


@pytest.fixture(autouse=True)
def kept_programs(monkeypatch):
    """Let a run not throw away what other tests have compiled, nor look for garbage.

    It does before each measure: 0.4 s each time, after other tests several.
    """
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    monkeypatch.setattr(gc, "collect", lambda: 0)


# ---------------------------------------------------------------- peers

FLAX_LIKE = ("linen", "nnx", "keras", "torch")
# One row a test: its peers share the programs of ours.
TINY = {
    "lstm/2x2x3x4x5": PEERS,
    "gru/1x2x3x4x5/bi": (*FLAX_LIKE, "equinox"),
    "rnn/1x2x3x4x5/bi": (*FLAX_LIKE, "haiku"),
    "gru_before/1x2x3x4x5": ("haiku", "keras"),
    "lstm_norm/2x2x3x4x5": ("linen", "torch"),
    "lstm_dropout/2x2x3x4x5": ("linen", "torch"),
}
STREAMED = {
    "lstm/2x2x3x4x5": PEERS,
    "gru/1x2x3x4x5": (*FLAX_LIKE, "equinox"),
    "rnn/1x2x3x4x5": (*FLAX_LIKE, "haiku"),
}


@pytest.fixture(autouse=True)
def small_ceiling(monkeypatch):
    """Time a small product as the one that bounds all."""
    monkeypatch.setattr(ceiling, "SIZES", {"cpu": 64})


def assert_agree(name, peers, numbers):
    """Build a row with all peers; those that are not installed are skipped, the last thing."""
    built = programs.build_programs(
        parse_row(name), entries(PEERS), numbers=numbers, torch_threads=1
    )
    missing = {p: why for p, why in built.not_run.items() if "not installed" in why}
    assert built.errors == {}
    assert set(built.programs) == {OURS, *peers} - set(missing)
    assert max(max(found.values()) for found in built.agreement.values()) < 1e-5
    if not set(missing).isdisjoint(peers):
        pytest.skip(f"the others agree, but {'; '.join(missing.values())}")


@pytest.mark.parametrize("name", TINY)
def test_peers_agree_with_ours(name):
    # the loss and its gradients tell of the outputs as well
    assert_agree(name, TINY[name], "sequence" if name.startswith("lstm/") else "train")


@pytest.mark.parametrize("name", STREAMED)
def test_peers_agree_step_by_step(name):
    assert_agree(name, STREAMED[name], "stream")


def test_every_bias_is_put_to_use():
    for name in ("lstm/2x1x1x2x3", "gru/1x1x1x2x3", "lstm_norm/1x1x1x2x3"):
        leaves = jax.tree_util.tree_leaves_with_path(make_workload(parse_row(name)).params)
        zero = {path[-1].name for path, leaf in leaves if not np.all(leaf)}
        assert zero == ({"b_hn"} if name.startswith("gru") else set())


# ---------------------------------------------------------------- what goes wrong


def fake_program(scale=1.0, note="", stream=True):
    """Give a program that computes nothing."""
    y = np.full((2, 3, 4), scale)
    return Program(
        forward=lambda: y,
        train=lambda: (y[0, 0, 0], y, []),
        wait=lambda value: value,
        to_numpy=np.asarray,
        make_stream=(lambda: Stream(lambda s, x: (s, x), None, [y[0]])) if stream else None,
        note=note,
    )


once_described = functools.cache(run_module.describe_machine)


@pytest.fixture
def fakes(monkeypatch):
    """Put fake libraries in place of all: linen is wrong, torch fails, keras is not there."""
    monkeypatch.setattr(run_module, "describe_machine", lambda: copy.deepcopy(once_described()))

    def build(entry, torch_threads):
        def make(workload):
            if entry == "keras":
                raise NotRunError("keras is not installed")
            if entry == "torch":
                raise RuntimeError("no kernel")
            note = "over a copy" if entry == "haiku" else ""
            return fake_program(2.0 if entry == "linen" else 1.0, note)

        return make

    monkeypatch.setattr(programs, "builder", build)


def test_who_disagrees_or_fails_is_not_timed(fakes):
    built = programs.build_programs(Row("lstm", 1, 1, 1, 1, 1), entries(PEERS))
    assert set(built.programs) == {OURS, "nnx", "haiku", "equinox"}
    assert built.not_run == {"keras": "keras is not installed"}
    assert built.errors["torch"] == "RuntimeError: no kernel"
    assert "y differs from ours by 1.0e+00" in built.errors["linen"]


def test_what_is_said_of_single_steps_stands_beside_them(monkeypatch):
    program = fake_program(note="over a copy")._replace(stream_note="threads: 1")
    monkeypatch.setattr(programs, "builder", lambda *_: lambda workload: program)
    row = Row("lstm", 1, 1, 1, 1, 1)
    said = {n: programs.build_programs(row, [OURS], numbers=n).notes for n in ("train", "stream")}
    assert said == {"train": {OURS: "over a copy"}, "stream": {OURS: "threads: 1"}}
    timing = {"unit": "s", "samples": {}, "notes": said["stream"]}
    result = {"groups": {"rows": {row.name: {"measures": {"stream-b2": timing}}}}}
    shown = "\n".join(report.report(result))
    assert f"- {OURS}: threads: 1 [{row.name} (stream-b2)]" in shown


def test_what_is_not_finite_disagrees():
    good = {"y": np.ones(3)}
    bad = {"y": np.array([1.0, math.nan, 1.0])}
    for got, expected in ((bad, good), (good, bad)):
        with pytest.raises(agreement.DisagreementError):
            agreement.check(got, expected, 1e-3)


def test_a_run_writes_down_what_failed_and_goes_on(fakes, tmp_path):
    config = Config(rows=("lstm/1x1x1x1x1", "gru/1x1x1x1x1"), rounds=2)
    result = run_module.run(config, tmp_path, say=lambda line: None)
    assert result == json.loads((tmp_path / "results.json").read_text())
    assert list(result["groups"]["rows"]) == list(config.rows)
    for record in result["groups"]["rows"].values():
        assert set(record["measures"]["train"]["samples"]) == {OURS, "nnx", "haiku", "equinox"}
        assert len(record["measures"]["train"]["samples"][OURS]) == 2
    shown = "\n".join(report.report(result))
    assert "- FAILED: torch: RuntimeError: no kernel [lstm/1x1x1x1x1, gru/1x1x1x1x1]" in shown
    assert "- not run: keras: keras is not installed" in shown
    assert "## Notes\n\n- haiku: over a copy [lstm/1x1x1x1x1, gru/1x1x1x1x1]" in shown


def test_without_ours_nothing_is_timed(monkeypatch):
    def build(entry, torch_threads):
        def make(workload):
            raise ValueError("broken")

        return make

    monkeypatch.setattr(programs, "builder", build)
    built = programs.build_programs(Row("lstm", 1, 1, 1, 1, 1), entries(["linen"]))
    assert built.programs == {}
    assert built.errors == {OURS: "ValueError: broken"}
    assert built.not_run == {"linen": "ours failed: nothing to compare with"}


def test_a_run_goes_on_where_it_stopped(fakes, tmp_path, monkeypatch):
    quiet = {"say": lambda line: None}
    first = run_module.run(Config(rows=("lstm/1x1x1x1x1",), rounds=2), tmp_path, **quiet)
    done = []
    original = run_module.run_job
    monkeypatch.setattr(
        run_module, "run_job", lambda job, *rest: done.append(job.row.cell) or original(job, *rest)
    )
    config = Config(rows=("lstm/1x1x1x1x1", "gru/1x1x1x1x1"), rounds=2, resume=True)
    second = run_module.run(config, tmp_path, **quiet)
    assert done == ["gru"]
    kept = second["groups"]["rows"]["lstm/1x1x1x1x1"]
    assert kept == first["groups"]["rows"]["lstm/1x1x1x1x1"]
    first["groups"]["rows"]["lstm/1x1x1x1x1"]["errors"] = {OURS: "failed"}
    write_json(tmp_path / "results.json", first)
    run_module.run(config, tmp_path, **quiet)
    assert done == ["gru", "lstm", "gru"]
    with pytest.raises(InputError, match="made with --dtype float32, got bfloat16"):
        run_module.run(Config(dtype="bfloat16", resume=True), tmp_path, **quiet)


def test_results_are_not_overwritten_unasked(fakes, tmp_path):
    rows, quiet = ("lstm/1x1x1x1x1",), {"say": lambda line: None}
    run_module.run(Config(rows=rows, rounds=2), tmp_path, **quiet)
    before = (tmp_path / "results.json").read_bytes()
    other = Config(rows=("gru/1x1x1x1x1",), measure=("forward",), rounds=2)
    with pytest.raises(InputError, match="--resume to add to it, --overwrite to start anew"):
        run_module.run(other, tmp_path, **quiet)
    assert (tmp_path / "results.json").read_bytes() == before
    anew = run_module.run(dataclasses.replace(other, overwrite=True), tmp_path, **quiet)
    assert list(anew["groups"]["rows"]) == list(other.rows)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("packages", {"jax": "0.0"}, r"jax: 0\.0 -> "),
        ("processor", "abacus", "processor: abacus -> "),
        ("device", "tpu", "device: tpu -> "),
    ],
)
def test_results_of_another_machine_are_not_added_to(fakes, tmp_path, name, value, message):
    config, quiet = Config(rows=("lstm/1x1x1x1x1",), rounds=2), {"say": lambda line: None}
    result = run_module.run(config, tmp_path, **quiet)
    result["machine"][name] = value
    write_json(tmp_path / "results.json", result)
    with pytest.raises(InputError, match=message):
        run_module.run(dataclasses.replace(config, resume=True), tmp_path, **quiet)


def test_what_is_said_of_a_row_is_kept_when_it_is_added_to(fakes, tmp_path, monkeypatch):
    config = Config(rows=("lstm/1x1x1x1x1",), measure=("train", "forward"), rounds=2)
    row = make_plan(config)[0].row.name
    works = run_module._forward

    def fails(*rest):
        raise RuntimeError("no forward")

    def run(**options):
        new = dataclasses.replace(config, **options)
        return run_module.run(new, tmp_path, say=lambda line: None)["groups"]["rows"][row]

    def notes(note):
        made = programs.builder
        monkeypatch.setattr(
            programs,
            "builder",
            lambda *args: lambda workload: made(*args)(workload)._replace(note=note),
        )

    monkeypatch.setitem(run_module._MEASURES, "forward", fails)
    notes("threads: 1")
    first = run()
    assert first["errors"]["forward"] == "RuntimeError: no forward"
    assert set(first["errors"]) == {"forward", "linen", "torch"}

    notes("threads: 2")
    second = run(measure=("stream",), rounds=3, resume=True)
    assert second["errors"] == first["errors"]
    assert second["notes"][OURS] == "threads: 1; later: threads: 2"
    rounds = {measure: found["rounds"] for measure, found in second["measured"].items()}
    assert rounds == {"train": 2, "forward": 2, "stream": 3}
    assert all(found["load"] >= 0 for found in second["measured"].values())

    monkeypatch.setitem(run_module._MEASURES, "forward", works)
    third = run(resume=True)
    assert set(third["errors"]) == {"linen", "torch"}
    assert len(third["measures"]["forward"]["samples"][OURS]) == 2
    assert third["notes"] == second["notes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peers": ("tensorflow",)}, "--peers must be of"),
        ({"rounds": 1}, "--rounds must be >= 2, got 1"),
        ({"torch_threads": 0}, "--torch-threads must be >= 1, got 0"),
        ({"measure": ("scan",), "dtype": "bfloat16"}, "--measure scan is of float32 alone"),
        ({"resume": True, "overwrite": True}, "give one"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


# ---------------------------------------------------------------- whole runs


def test_a_run_from_end_to_end(tmp_path, capsys, monkeypatch):
    base = Row("lstm", 1, 2, 4, 3, 3)
    sweeps = {"L": (base, (1, 2), (1, 2))}
    monkeypatch.setattr(growth, "_SWEEPS", sweeps)
    monkeypatch.setattr(growth, "AXES", {axis: growth.AXES[axis] for axis in sweeps})
    arguments = ["--rows", "lstm/1x2x3x4x5", "--peers", "linen", "--rounds", "2"]
    arguments += ["--measure", "train", "forward", "stream", "compile", "growth"]
    assert cli.main([*arguments, "--compile-rounds", "1", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "results.json").read_text())
    record = result["groups"]["rows"]["lstm/1x2x3x4x5"]
    assert set(record["measures"]) == {
        *("train", "forward", "stream-b1", "stream-b32", "trace", "compile")
    }
    for timing in record["measures"].values():
        assert set(timing["samples"]) == {OURS, "linen"}
        assert timing["errors"] == {}
    assert result["machine"]["packages"]["jax"] == jax.__version__
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith("growth-L.png")
    assert (tmp_path / "tables.md").read_text().strip() in shown
    for name in ("ratios-train", "ratios-stream-b1", "ratios-compile", "growth-L"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    path = str(tmp_path / "results.json")
    assert cli.main(["compare", path, path]) == 0


def test_memory_is_measured_in_a_process_of_its_own():
    row = Row("lstm", 1, 8, 256, 64, 64)
    built = programs.build_programs(row, entries([]), numbers="train")
    found = memory.measure_memory(built.programs, row, "float32", None)
    assert found["memory-resident"]["errors"] == {}
    outputs = 4 * (8 * 256 * 64)  # the gradient of x alone, float32
    (planned,) = found["memory-xla"]["samples"][OURS]
    assert planned > 2 * outputs
    if not found["memory-resident"]["not_run"]:
        (resident,) = found["memory-resident"]["samples"][OURS]
        # 1.09 to 1.33 in four runs: what the compiler sets aside, and up to 1.4 MiB that
        # the allocator and new threads take.
        assert planned / 1.5 < resident < planned * 2

"""The benchmark: its arithmetic, its fairness, and that it does not hide what failed."""

import dataclasses
import itertools
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
    compare,
    figures,
    grid,
    growth,
    memory,
    programs,
    report,
    statistics,
)
from experiments.benchmarks import run as run_module
from experiments.benchmarks.config import Config
from experiments.benchmarks.grid import Row, parse_row
from experiments.benchmarks.peers.contract import NotRunError, Program, Stream
from experiments.benchmarks.peers.registry import JAX_PEERS, OURS, PEERS, entries, ours
from experiments.benchmarks.plan import make_plan
from experiments.benchmarks.timing import interleave
from experiments.benchmarks.workload import make_workload
from experiments.common.errors import InputError
from experiments.common.records import write_json


@pytest.fixture(autouse=True)
def kept_programs(monkeypatch):
    """Let a run not throw away what other tests have compiled."""
    monkeypatch.setattr(jax, "clear_caches", lambda: None)


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(
    "row", [*grid.GRID, *grid.QUICK, *grid.LONG, *grid.RULES], ids=lambda row: row.name
)
def test_a_row_is_found_by_its_name(row):
    assert parse_row(row.name) == row


def test_the_grid_has_what_it_should():
    assert len(set(grid.GRID)) == 27
    assert {row.cell for row in grid.GRID} == set(grid.GATES)
    assert sum(row.bidirectional for row in grid.GRID) == 3
    assert set(grid.GRID) > grid.STREAMED_ROWS


def test_rows_are_chosen_by_pattern_or_made_of_a_name():
    assert grid.select(grid.GRID, []) == grid.GRID
    both = grid.select(grid.GRID, ["*/bi"])
    assert [row.cell for row in both] == ["rnn", "lstm", "gru"]
    assert grid.select(grid.GRID, ["lstm/1x2x3x4x5"]) == (Row("lstm", 1, 2, 3, 4, 5),)
    assert grid.select(grid.GRID, ["*/bi", "lstm/*/bi"]) == both


@pytest.mark.parametrize(
    "name", ["lstm", "lstm/1x2x3x4", "mamba/1x2x3x4x5", "lstm/0x2x3x4x5", "x*"]
)
def test_rows_that_do_not_exist_are_refused(name):
    with pytest.raises(InputError, match="--rows"):
        grid.select(grid.GRID, [name])


@pytest.mark.parametrize(
    "name", ["rnn/1x2x3x4x5", "lstm/3x2x5x4x6", "gru/2x3x4x5x6", "lstm/3x2x5x4x6/bi"]
)
def test_operations_are_two_for_each_weight_and_step(name):
    row = parse_row(name)
    workload = make_workload(row)
    matrices = sum(
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(workload.params)
        if path[-1].name in ("w_x", "w_h")
    )
    assert row.forward_flop == 2 * row.num_steps * row.batch_size * matrices
    assert row.train_flop == 3 * row.forward_flop


def test_operations_of_known_shapes():
    assert parse_row("lstm/4x64x64x512x512").train_flop == pytest.approx(206e9, rel=0.01)
    assert parse_row("lstm/2x32x128x256x256").train_flop == pytest.approx(26e9, rel=0.01)


# ---------------------------------------------------------------- samples


def test_paired_ratios_do_not_see_a_drifting_machine():
    drift = np.linspace(1, 5, 9)
    ratios = statistics.paired_ratios(0.5 * drift, 2.0 * drift)
    assert statistics.spread(ratios) == pytest.approx((0.25, 0.25, 0.25))


def test_spread_is_median_and_quartiles():
    assert statistics.spread([5, 1, 4, 2, 3]) == (3, 2, 4)
    assert statistics.geometric_mean([0.5, 2, 8]) == pytest.approx(2)


def test_samples_of_other_rounds_are_no_pairs():
    with pytest.raises(ValueError, match="the same rounds, got 2 and 3"):
        statistics.paired_ratios([1, 2], [1, 2, 3])


class Clock:
    """A clock that calls move on."""

    def __init__(self):
        self.now, self.order = 0.0, []

    def __call__(self):
        return self.now

    def call(self, name, seconds):
        def run():
            self.order.append(name)
            self.now += seconds

        return run


def test_rounds_are_interleaved_and_short_calls_repeated():
    clock = Clock()
    calls = {"long": clock.call("long", 2.0), "short": clock.call("short", 0.015625)}
    samples = interleave(calls, rounds=8, min_seconds=0.0625, pause=0, clock=clock)
    assert samples.repeats == {"long": 1, "short": 4}
    assert samples.seconds == {"long": [2.0] * 8, "short": [0.015625] * 8}
    assert clock.order[:4] == ["long", "long", "short", "short"]
    rounds = [tuple(clock.order[start : start + 6]) for start in range(4, 4 + 8 * 6, 6)]
    short = ("short",) * 5  # one of them is not timed
    assert set(rounds) == {("long", *short), (*short, "long")}


def test_a_call_that_fails_does_not_stop_the_others():
    clock = Clock()
    countdown = itertools.count(4, -1)

    def fails_later():
        if next(countdown) == 0:
            raise RuntimeError("out of memory\nin detail")

    calls = {"bad": fails_later, "good": clock.call("good", 1.0)}
    samples = interleave(calls, rounds=4, pause=0, min_seconds=0, clock=clock)
    assert samples.errors == {"bad": "RuntimeError: out of memory"}
    assert samples.seconds == {"good": [1.0] * 4}


def test_exponents_are_fitted():
    assert growth.exponent([1, 2, 4, 8], [5, 10, 20, 40]) == pytest.approx(1)
    rows = {row: {OURS: row.num_steps**2.0} for row in growth.sweep("T")}
    (points,) = growth.curves(rows, "T").values()
    assert growth.exponent(*zip(*points, strict=True)) == pytest.approx(2)


@pytest.mark.parametrize("axis", growth.AXES)
def test_sweeps_change_one_axis(axis):
    rows = growth.sweep(axis)
    assert len(rows) >= 4
    changed = {"num_steps", "num_layers", "hidden_size", "input_size", "batch_size"}
    same = changed - {growth.AXES[axis]} - ({"input_size"} if axis == "H" else set())
    assert len({getattr(row, growth.AXES[axis]) for row in rows}) == len(rows)
    assert len({tuple(getattr(row, name) for name in same) for row in rows}) == 1


# ---------------------------------------------------------------- comparing results


def made_up(ratio=0.8, speed=1.0, noise=0.03, seed=0, rounds=10, peers=("linen", "torch")):
    """Give a result: ours at a ratio to its peers, on a machine of some speed."""
    rng = np.random.default_rng(seed)

    def samples(base):
        return list(base * speed * drift * rng.lognormal(0, noise, rounds))

    drift = rng.lognormal(0, 0.2, rounds)
    timing = {
        "unit": "s",
        "samples": {OURS: samples(ratio), **{peer: samples(1.0) for peer in peers}},
        "flop": 1e9,
        "flop_per_second": [1e11 / s for s in samples(1.0)],
    }
    record = {"measures": {"train": timing}, "not_run": {}, "errors": {}, "measured": ["train"]}
    machine = {"packages": {"jax": "1"}, "cores": 2}
    return {"groups": {"rows": {"lstm/1x2x3x4x5": record}}, "machine": machine}


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_slow_down(seed):
    old, new = made_up(seed=seed), made_up(seed=100 + seed, speed=1.5)
    assert compare.got_worse(list(compare.moves(old, new, 0.05))) == []


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("peers", [("linen", "torch"), ()])
def test_a_slow_down_is_found(seed, peers):
    old = made_up(seed=seed, peers=peers)
    new = made_up(ratio=0.8 * 1.3, speed=0.5, seed=100 + seed, peers=peers)
    found = list(compare.moves(old, new, 0.05))
    assert compare.got_worse(found) == [("lstm/1x2x3x4x5", "train")]
    back = {move.verdict for move in compare.moves(new, old, 0.05)}
    assert back == {"better"}


def test_few_rounds_are_not_judged():
    old, new = made_up(rounds=3), made_up(ratio=1.6, rounds=3, seed=1)
    assert compare.got_worse(list(compare.moves(old, new, 0.05))) == []


def test_bytes_are_compared_too():
    old, new = made_up(), made_up()
    for result, size in ((old, 1000), (new, 1200)):
        measures = result["groups"]["rows"]["lstm/1x2x3x4x5"]["measures"]
        measures["memory-xla"] = {"unit": "bytes", "samples": {OURS: [size]}}
    found = list(compare.moves(old, new, 0.05))
    assert compare.got_worse(found) == [("lstm/1x2x3x4x5", "memory-xla")]


def test_the_command_compares_two_files(tmp_path, capsys):
    paths = [tmp_path / name for name in ("old.json", "same.json", "slow.json")]
    results = [made_up(), made_up(seed=1), made_up(ratio=1.2, seed=2)]
    results[2]["machine"]["packages"] = {"jax": "2"}
    for path, result in zip(paths, results, strict=True):
        path.write_text(json.dumps(result))
    old, same, slow = map(str, paths)
    assert cli.main(["compare", old, same]) == 0
    assert "nothing got worse" in capsys.readouterr().out
    assert cli.main(["compare", old, slow]) == 1
    shown = capsys.readouterr().out
    assert "WORSE: lstm/1x2x3x4x5 train" in shown
    assert "differs: jax: 1 -> 2" in shown
    other = json.dumps(made_up()).replace("lstm/", "gru/")
    paths[1].write_text(other)
    with pytest.raises(SystemExit, match="no row and measure in common"):
        cli.main(["compare", old, same])
    with pytest.raises(SystemExit, match="not a result"):
        cli.main(["compare", old, str(tmp_path / "none.json")])


# ---------------------------------------------------------------- figures


def test_the_fastest_peer_is_the_one_we_are_slowest_against():
    samples = {OURS: [1.0, 1.0], "linen": [2.0, 2.0], "haiku": [1.25, 1.25], "torch": [0.5, 0.5]}
    timing = {"unit": "s", "samples": samples, "flop": 5.0, "flop_per_second": [10.0, 10.0]}
    assert figures.fastest(timing, JAX_PEERS) == "haiku"
    assert figures.ceiling_fractions(timing) == [0.5, 0.5]
    rows = {"lstm/1x1x1x1x1": timing}
    mean = figures.mean_ratio(rows, figures.FASTEST_JAX)
    assert mean == pytest.approx((0.8, 0.8, mean.worst_row, 1))
    assert figures.mean_ratio(rows, "keras") is None


def test_schedules_are_compared_in_both_passes():
    def timing(auto, layerwise, wavefront):
        values = {OURS: auto, ours("layerwise"): layerwise, ours("wavefront"): wavefront}
        return {"unit": "s", "samples": {entry: [v, v] for entry, v in values.items()}}

    rows = {
        "lstm/4x1x1x1x1": {"train": timing(1.0, 1.0, 4.0), "forward": timing(3.0, 3.0, 2.0)},
        "lstm/8x1x1x1x1": {"train": timing(1.0, 1.25, 1.0), "forward": timing(2.0, 2.0, 3.0)},
    }
    result = {"groups": {"rows": {name: {"measures": found} for name, found in rows.items()}}}
    found = {
        measure: mean
        for measure, other, mean in figures.means(result)
        if other == figures.BEST_SCHEDULE
    }
    assert found["train"][:2] == pytest.approx((1, 1))
    assert found["forward"][1:] == (1.5, "lstm/4x1x1x1x1", 2)
    shown = report.wavefront_table(result)
    assert [line.split() for line in shown[2:]] == [
        ["|", "lstm/4x1x1x1x1", "|", "4.00", "(4.00-4.00)", "|", "0.67", "(0.67-0.67)", "|"],
        ["|", "lstm/8x1x1x1x1", "|", "0.80", "(0.80-0.80)", "|", "1.50", "(1.50-1.50)", "|"],
    ]
    assert {"## Wavefront / layerwise", *shown} <= set(report.report(result))


def test_tables_are_aligned():
    lines = report.table(["row", "a"], [["x", "1.00"], ["longer", "2"]])
    assert lines == [
        "| row    |    a |",
        "| ------ | ---: |",
        "| x      | 1.00 |",
        "| longer |    2 |",
    ]


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


@pytest.fixture
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
def test_peers_agree_with_ours(name, small_ceiling):
    # the loss and its gradients tell of the outputs as well
    assert_agree(name, TINY[name], "sequence" if name.startswith("lstm/") else "train")


@pytest.mark.parametrize("name", STREAMED)
def test_peers_agree_step_by_step(name, small_ceiling):
    assert_agree(name, STREAMED[name], "stream")


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_single_steps_of_another_network_are_said(num_layers, small_ceiling):
    row = Row("lstm", num_layers, 2, 3, 4, 4)
    built = programs.build_programs(row, [OURS], numbers="stream")
    program = built.programs[OURS]
    assert program.make_stream is not None
    assert len(program.make_stream().state) == num_layers
    stacked = num_layers > 2  # the first layer stands alone
    assert ("stack_layers=False" in built.notes.get(OURS, "")) == stacked
    timing = {"unit": "s", "samples": {}, "notes": built.notes}
    result = {"groups": {"rows": {row.name: {"measures": {"stream-b2": timing}}}}}
    assert (f"[{row.name} (stream-b2)]" in "\n".join(report.report(result))) == stacked


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


@pytest.fixture
def fakes(monkeypatch):
    """Put fake libraries in place of all: linen is wrong, torch fails, keras is not there."""

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
    monkeypatch.setattr(ceiling, "SIZES", {"cpu": 16})


def test_who_disagrees_or_fails_is_not_timed(fakes):
    built = programs.build_programs(Row("lstm", 1, 1, 1, 1, 1), entries(PEERS))
    assert set(built.programs) == {OURS, "nnx", "haiku", "equinox"}
    assert built.not_run == {"keras": "keras is not installed"}
    assert built.errors["torch"] == "RuntimeError: no kernel"
    assert "y differs from ours by 1.0e+00" in built.errors["linen"]


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
        ({"resume": True, "overwrite": True}, "give one"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


# ---------------------------------------------------------------- whole runs


def test_the_plan_of_everything():
    measures = ("train", "forward", "stream", "compile", "memory", "growth")
    jobs = make_plan(Config(measure=("all",)))
    assert jobs == make_plan(Config(measure=measures))
    assert [job.row for job in jobs[:27]] == list(grid.GRID)
    streamed = {job.row for job in jobs if "stream" in job.measures}
    assert streamed == grid.STREAMED_ROWS
    long = jobs[27:30]
    assert [job.row for job in long] == list(grid.LONG)
    assert {job.measures for job in long} == {("memory",)}
    assert all(ours("checkpoint") in job.entries for job in long)
    assert {job.group for job in jobs[30:]} == set(growth.AXES)


def test_a_row_by_name_is_streamed_where_it_can_be():
    rows = ("lstm/1x2x3x4x5", "lstm/1x2x3x4x5/bi", "lstm_norm/1x2x3x4x5")
    assert [job.row.name for job in make_plan(Config(rows=rows, measure=("stream",)))] == [rows[0]]


def test_the_rows_that_rules_were_chosen_by_have_a_name(capsys):
    assert cli.main(["--rows", "rules", "--schedules", "--peers", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(set(grid.RULES)) == 27
    (*_, job) = make_plan(Config(rows=("rules",), schedules=True, peers=()))
    assert job.row == Row("rnn", 32, 2, 256, 16, 16)
    assert job.entries == (OURS, ours("reference"), ours("layerwise"), ours("wavefront"))


def test_the_grid_can_be_listed(capsys):
    assert cli.main(["--list", "--rows", "*/bi", "--measure", "train"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == [
        "rows",
        "rnn/2x32x128x256x256/bi",
        "train",
    ]


def test_a_run_from_end_to_end(tmp_path, capsys, monkeypatch, small_ceiling):
    base = Row("lstm", 1, 2, 4, 3, 3)
    sweeps = dict.fromkeys(("T", "L"), (base, (1, 2), (1, 2)))
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


def test_memory_is_measured_in_a_process_of_its_own(small_ceiling):
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

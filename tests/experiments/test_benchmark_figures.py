"""The benchmark's arithmetic: from samples to ratios, verdicts and tables."""

import itertools
import json

import numpy as np
import pytest

from experiments.benchmarks import __main__ as cli
from experiments.benchmarks import compare, figures, growth, report, statistics
from experiments.benchmarks.peers.registry import JAX_PEERS, OURS, ours
from experiments.benchmarks.timing import interleave

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

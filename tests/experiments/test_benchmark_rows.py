"""What the benchmark can be asked for: its rows, and the plan of a run."""

import jax
import pytest

from deeprnn_jax.schedules import SCHEDULES
from experiments.benchmarks import __main__ as cli
from experiments.benchmarks import grid, growth
from experiments.benchmarks.config import Config
from experiments.benchmarks.grid import Row, parse_row
from experiments.benchmarks.peers.registry import LAX_SCAN, OURS, ours
from experiments.benchmarks.plan import make_plan
from experiments.benchmarks.scans.rows import SCANS
from experiments.benchmarks.workload import make_workload
from experiments.common.errors import InputError


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


def test_the_plan_of_everything():
    measures = ("train", "forward", "stream", "compile", "memory", "growth", "scan")
    jobs = make_plan(Config(measure=("all",)))
    assert jobs == make_plan(Config(measure=measures))
    assert [job.row for job in jobs[:27]] == list(grid.GRID)
    streamed = {job.row for job in jobs if "stream" in job.measures}
    assert streamed == grid.STREAMED_ROWS
    long = jobs[27:30]
    assert [job.row for job in long] == list(grid.LONG)
    assert {job.measures for job in long} == {("memory",)}
    assert all(ours("checkpoint") in job.entries for job in long)
    assert {job.group for job in jobs[30:]} == {*growth.AXES, "scan"}
    assert [job.row for job in jobs if job.group == "scan"] == list(SCANS)


def test_codes_are_rows_of_their_measure_alone():
    jobs = make_plan(Config(measure=("scan",)))
    assert [job.row for job in jobs] == list(SCANS)
    (job,) = make_plan(Config(measure=("train", "scan"), rows=("ppo/*",)))
    assert (job.group, job.row.name, job.entries) == ("scan", SCANS[7].name, (OURS, LAX_SCAN))
    with pytest.raises(InputError, match="no row matches"):
        make_plan(Config(rows=("ppo/*",)))


def test_a_row_by_name_is_streamed_where_it_can_be():
    rows = ("lstm/1x2x3x4x5", "lstm/1x2x3x4x5/bi", "lstm_norm/1x2x3x4x5")
    assert [job.row.name for job in make_plan(Config(rows=rows, measure=("stream",)))] == [rows[0]]


def test_the_rows_that_rules_were_chosen_by_have_a_name(capsys):
    assert cli.main(["--rows", "rules", "--schedules", "--peers", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(set(grid.RULES)) == 27
    (*_, job) = make_plan(Config(rows=("rules",), schedules=True, peers=()))
    assert job.row == Row("rnn", 32, 2, 256, 16, 16)
    assert job.entries == (OURS, *map(ours, SCHEDULES))


def test_the_grid_can_be_listed(capsys):
    assert cli.main(["--list", "--rows", "*/bi", "--measure", "train"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == [
        "rows",
        "rnn/2x32x128x256x256/bi",
        "train",
    ]

"""Tasks against brute force, equal parameters, runs that learn and go on, and the table."""

import contextlib
import dataclasses
import gzip
import io
import shutil

import jax
import numpy as np
import pytest

from experiments.common import sweep
from experiments.common.errors import InputError
from experiments.common.optimizers import adamw_of
from experiments.common.records import read_json, write_json
from experiments.common.training import train
from experiments.common.updates import num_parameters
from experiments.long_memory import compare, corpora, table
from experiments.long_memory.cells import CELLS
from experiments.long_memory.config import Config
from experiments.long_memory.data import load
from experiments.long_memory.experiment import EXPERIMENT
from experiments.long_memory.measure import by_step
from experiments.long_memory.model import Model, answered, build
from experiments.long_memory.presets import PRESETS, Preset
from experiments.long_memory.problem import Scores, score_all
from experiments.long_memory.tasks import (
    MADE_TASKS,
    Examples,
    draw_adding,
    draw_copy,
    draw_mqar,
    draw_parity,
    draw_selective_copy,
    permutations,
    products,
)
from experiments.long_memory.widths import Widths, equal_widths
from tests.experiments.runs import bits

pytestmark = pytest.mark.xdist_group("long_memory")

COPY = Config(task="copy", length=14, num_items=4, num_kinds=5)
MQAR = Config(task="mqar", length=16, num_items=3, num_kinds=20)
TASKS = {
    "parity": Config(length=12),
    "s3": Config(task="s3", length=12),
    "a5": Config(task="a5", length=12),
    "copy": COPY,
    "selective_copy": dataclasses.replace(COPY, task="selective_copy"),
    "mqar": MQAR,
    "adding": Config(task="adding", length=12),
}


def random(seed=0):
    return np.random.default_rng(seed)


def test_parity_is_the_sum_so_far():
    x, answers, at = draw_parity(random(), Config(), 50, 33)
    assert at is None
    np.testing.assert_array_equal(answers, np.cumsum(x, axis=0) % 2)
    assert 0.4 < x.mean() < 0.6


@pytest.mark.parametrize(("group", "size"), [("s3", 6), ("a5", 60)])
def test_words_are_products_of_permutation_matrices(group, size):
    elements = permutations(group)
    assert len(elements) == len(np.unique(elements, axis=0)) == size
    matrices = np.eye(elements.shape[1], dtype=int)[:, elements].transpose(1, 0, 2)
    assert [m[g, i] for m, p in zip(matrices, elements, strict=True) for i, g in enumerate(p)] == (
        [1] * elements.size  # column i of a matrix has its one in row p(i)
    )
    assert all(round(np.linalg.det(m)) == 1 for m in matrices) == (group == "a5")
    config = TASKS[group]
    x, answers, _ = MADE_TASKS[group].draw(random(), config, 20, 30)
    assert len(np.unique(MADE_TASKS[group].draw(random(), config, 100, 30).x)) == size
    for row in range(20):
        product = np.eye(elements.shape[1], dtype=int)
        for t in range(30):
            product = matrices[x[t, row]] @ product
            np.testing.assert_array_equal(matrices[answers[t, row]], product)


def test_the_groups_are_groups():
    table_of = products("a5")
    assert (np.sort(table_of, axis=0) == np.arange(60)[:, None]).all()
    assert (table_of[0] == np.arange(60)).all()
    assert (table_of != table_of.T).any()
    np.testing.assert_array_equal(table_of[table_of], table_of[:, table_of])  # (ab)c = a(bc)


def test_copies_are_what_was_read():
    x, answers, _ = draw_copy(random(), COPY, 30, 14)
    np.testing.assert_array_equal(answers, x[:4])
    assert (x[4:10] == 5).all()
    assert (x[10:] == 6).all()
    x, answers, _ = draw_selective_copy(random(), COPY, 300, 14)
    for row in range(300):
        assert [s for s in x[:, row].tolist() if s < 5] == answers[:, row].tolist()
    assert (x[10:] == 6).all()
    places = (x[:10] < 5).mean(axis=1)
    assert (abs(places - 0.4) < 0.12).all()  # everywhere as often; a deviation of 0.03


def test_what_is_asked_for_was_told_as_in_a_dictionary():
    x, answers, at = draw_mqar(random(), MQAR, 200, 16)
    assert at is not None
    for row in range(200):
        told = {int(k): int(v) for k, v in zip(x[0:6:2, row], x[1:6:2, row], strict=True)}
        assert len(told) == 3  # no key twice
        assert len(set(told.values())) == 3
        asked = x[at[:, row], row]
        assert sorted(asked.tolist()) == sorted(told)
        assert [told[int(key)] for key in asked] == answers[:, row].tolist()
    assert (at >= 6).all()
    assert (at % 2 == 0).all()
    assert (x[0:6:2] < 10).all()
    assert (x[1:6:2] >= 10).all()
    gaps = np.bincount((at.ravel() - 6) // 2)
    assert gaps[0] > 1.2 * gaps[-1]  # near ones are more frequent
    assert x[6:].max() == 19
    assert x[6:].min() == 0


def test_sums_are_of_the_two_that_are_marked():
    x, answers, _ = draw_adding(random(), TASKS["adding"], 100, 12)
    for row in range(100):
        marked = [value for value, mark in x[:, row] if mark == 1.0]
        assert len(marked) == 2
        assert answers[0, row] == np.float32(sum(map(np.float32, marked)))
    assert (x[:6, :, 1].sum(axis=0) == 1).all()
    assert set(np.unique(x[..., 1])) == {0.0, 1.0}
    many = draw_adding(random(), TASKS["adding"], 20_000, 12).answers
    assert many.var() == pytest.approx(MADE_TASKS["adding"].chance(Config()), rel=0.05)


@pytest.mark.parametrize("task", [name for name in TASKS if name != "adding"])
def test_no_step_tells_an_answer_by_itself(task):
    """The best guess from any one step, learned on the same rows, is that of chance.

    From near the answer, that is: what is to be remembered is told early, as it has to be; the
    last pair even just before its key may come again.
    """
    config, rows = TASKS[task], 20_000
    x, answers, at = MADE_TASKS[task].draw(random(), config, rows, config.length)
    if at is None:
        at = np.tile(np.arange(len(x) - len(answers), len(x))[:, None], rows)
    chance = MADE_TASKS[task].chance(config)
    k = 0 if task == "mqar" else len(answers) - 1
    for offset in (-1, 0, 1):
        step = np.clip(at[k] + offset, 0, len(x) - 1)
        seen = x[step, np.arange(rows)]
        counts = np.zeros((seen.max() + 1, answers.max() + 1))
        np.add.at(counts, (seen, answers[k]), 1)
        # The most frequent answer, of so many draws, is above chance by chance.
        spread = 4 * np.sqrt(chance / (rows / len(counts)))
        assert counts.max(axis=1).sum() / rows < chance + spread


@pytest.mark.parametrize("task", ["copy", "mqar", "adding"])
def test_splits_and_seeds_draw_differently_and_always_the_same(task):
    data = load(TASKS[task])
    drawn = [data.draw(s, t).x for s, t in ((0, 0), (0, 1), (1, 0))] + [data.valid.x, data.test.x]
    first = [x[:, :64].tobytes() for x in drawn]
    assert len(set(first)) == len(first)
    again = load(TASKS[task])
    assert again.digest == data.digest
    np.testing.assert_array_equal(again.draw(1, 0).x, drawn[2])


def test_longer_sequences_are_only_tested():
    data = load(dataclasses.replace(TASKS["parity"], test_lengths=(20, 30)))
    assert (len(data.draw(0, 0).x), len(data.valid.x), len(data.test.x)) == (12, 12, 30)


FACTS = {"num_symbols": 7, "num_features": None, "num_answers": 5, "chance": 0.2}
SMALL = Config(parameters=3000, num_layers=1, length=12)


@pytest.mark.parametrize(("architecture", "cell"), [("plain", "slstm"), ("block", "mlstm")])
def test_parameters_are_equal(architecture, cell):
    config = dataclasses.replace(SMALL, cell=cell, architecture=architecture)
    model = build(config, FACTS)
    params = jax.eval_shape(model.init, jax.random.key(0))
    counted = num_parameters(params) - 7 * params.embedding.shape[1]
    assert abs(counted / 3000 - 1) <= 0.02
    assert model.widths.hidden % CELLS[cell].multiple == 0


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_as_wide_as_it_is_told(cell):
    assert CELLS[cell].make(8, 40).output_size == 8


def test_widths_that_cannot_be():
    with pytest.raises(InputError, match=r"can have 410 parameters, not 100 within 2%"):
        equal_widths(lambda w: 400 * w.hidden + 10 * w.filler, 100, 1, lambda h: 4)
    assert equal_widths(lambda w: w.hidden**2 + w.filler, 10_001, 1, lambda h: 1) == Widths(100, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "block", "conv_width": 3, "cell": "independent"},
        {"tied_embeddings": True, "cell": "elman"},
    ],
    ids=str,
)
def test_answers_are_of_the_past_alone(options):
    model = build(dataclasses.replace(SMALL, **options), FACTS | {"num_answers": 7})
    params = jax.jit(model.init)(jax.random.key(0))
    x = random().integers(7, size=(12, 3), dtype=np.int32)
    apply = jax.jit(model.apply, static_argnums=2)
    whole = apply(params, x, 12)
    assert whole.shape == (12, 3, 7)
    changed = apply(params, np.concatenate([x[:8], (x[8:] + 1) % 7]), 12)
    np.testing.assert_allclose(changed[:8], whole[:8], atol=1e-6)
    assert abs(changed[8:] - whole[8:]).max() > 1e-3


def test_outputs_of_the_steps_with_an_answer_are_read():
    y = random().normal(size=(12, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(answered(y, 4), y[8:])
    at = np.array([[3, 5, 0], [7, 5, 11]])
    some = answered(y, at)
    for k, row in np.ndindex(2, 3):
        np.testing.assert_array_equal(some[k, row], y[at[k, row], row])


def test_numbers_and_the_mean_of_all_outputs_are_read():
    facts = {"num_symbols": None, "num_features": 2, "num_answers": 1, "chance": 0.1}
    config = dataclasses.replace(SMALL, task="adding", cell="elman")
    means, each = (build(dataclasses.replace(config, mean_output=m), facts) for m in (True, False))
    params = jax.jit(each.init)(jax.random.key(0))
    x = random().normal(size=(9, 4, 2)).astype(np.float32)
    mean, of_each = (jax.jit(m.apply, static_argnums=2)(params, x, 9) for m in (means, each))
    np.testing.assert_allclose(mean, of_each.mean(axis=0, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    "examples", [draw_parity, draw_adding, draw_mqar], ids=lambda one: one.__name__
)
def test_scores_are_of_every_row_once(examples, monkeypatch):
    """In parts of few rows, the last one filled up."""
    monkeypatch.setattr("experiments.long_memory.problem._STEPS_AT_ONCE", 16 * 20)
    x, answers, at = drawn = examples(random(), MQAR, 50, 16)

    def apply(weights, x, steps, key=None):
        x = x[..., 0] if x.ndim == 3 else x.astype(np.float32)
        y = x[..., None] * weights + weights**2
        return y[16 - len(answers) :] if at is None else answered(y, steps)

    size = 1 if answers.dtype == np.float32 else 20
    weights = random(1).normal(size=(2, size)).astype(np.float32)
    found = score_all(Model(None, apply, None), weights, drawn)
    assert found.loss.shape == (2, *answers.shape)
    for m, k, row in np.ndindex(found.loss.shape):
        step = len(x) - len(answers) + k if at is None else at[k, row]
        y = np.ravel(x[step, row])[0] * weights[m] + weights[m] ** 2
        if size == 1:
            assert found.loss[m, k, row] == pytest.approx((y[0] - answers[k, row]) ** 2, rel=1e-4)
            continue
        nats = np.log(np.exp(y - y.max()).sum()) + y.max() - y[answers[k, row]]
        assert found.loss[m, k, row] == pytest.approx(nats, rel=1e-3, abs=1e-4)
        assert found.right[m, k, row] == (y.argmax() == answers[k, row])


def test_accuracy_by_step_is_that_of_stretches():
    right = random().random((2, 40, 30)) < 0.7
    found = by_step(Scores(None, right))
    assert found["step"][-1] == 40
    lengths = np.diff([0, *found["step"]])
    assert np.dot(lengths, found["accuracy"]) / 40 == pytest.approx(right.mean())
    assert found["accuracy"][0] == pytest.approx(right[:, 0].mean())


TINY = Config(
    length=8,
    test_lengths=(20,),
    cell="elman",
    parameters=1500,
    num_layers=1,
    num_seeds=2,
    steps=200,
    batch_size=32,
    learning_rate=2e-2,
    warmup_steps=10,
    eval_interval=100,
)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison of one cell on one task; with it what was printed."""
    runs = tmp_path_factory.mktemp("long_memory")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        preset = Preset((TINY,), learning_rates=(2e-2,))
        patch.setitem(compare.PRESETS, "default", preset)
        patch.chdir(runs)
        compare.main(["--cells", "elman"])
        (folder,) = (runs / "runs" / "long_memory").iterdir()
        yield folder, out.getvalue()


def test_a_tiny_training_learns(compared):
    folder, printed = compared
    assert "| elman, plain |" in printed
    result = read_json(folder / RUN / "result.json")
    each = result["test"]["accuracy_8"]["each"]
    assert len(each) == 2
    assert min(each) > 0.9
    assert result["test"]["accuracy_20"]["mean"] > 0.55
    assert result["best_step"].keys() == {"seed0", "seed1"}
    (row,) = read_json(folder / "comparison.json")["rows"]
    assert (row["cell"], row["learning_rate"], row["test"]) == ("elman", 2e-2, result["test"])
    assert (folder / "comparison.png").stat().st_size > 5000


RUN = "parity-elman-0.02"


def test_going_on_gives_the_same_bits(compared, tmp_path):
    whole, part = compared[0] / RUN, tmp_path / "part"
    shutil.copytree(whole, part)
    shutil.rmtree(part / "checkpoints" / "00000200")
    experiment = dataclasses.replace(EXPERIMENT, report=lambda *found: "")
    again = train(experiment, TINY, part, resume=True)
    assert bits(part, 200) == bits(whole, 200)
    assert again["test"] == read_json(whole / "result.json")["test"]


def test_the_command_goes_on_and_is_collected(compared, monkeypatch):
    folder, _ = compared
    monkeypatch.chdir(folder.parents[2])
    before = (folder / RUN / "result.json").stat().st_mtime_ns
    compare.main(["--cells", "elman", "--resume"])
    assert (folder / RUN / "result.json").stat().st_mtime_ns == before
    assert len(list(folder.parent.glob("*/comparison.json"))) == 1
    readme = folder.parents[2] / "README.md"
    readme.write_text(f"before\n{sweep.BEGIN}old\n{sweep.END}after\n")
    for _ in range(2):
        table.main(["--folder", str(folder.parent), "--readme", str(readme)])
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.count("| elman, plain |") == 1
    assert "old" not in text
    assert table.README.read_text().count(sweep.BEGIN) == 1
    assert "parity at 20, % (50.0)" in (folder.parent / "table.md").read_text()
    assert (folder.parent / "table.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--preset mqar --resume", "no comparison of mqar in runs/long_memory; start one"),
        ("--cells transformer", "--cell must be one of elman, "),
        (
            "--preset parity --data mnist",
            "--preset parity does not learn from mnist; omit --data, or",
        ),
        ("--length 300", "--test-lengths must be all above length=300"),
    ],
)
def test_commands_that_cannot_be(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        compare.main(words.split())
    assert not list(tmp_path.iterdir())


def test_options_take_the_place_of_a_presets():
    words = {"preset": "mqar", "cells": ("gru", "lru"), "steps": 50, "num_seeds": 1}
    rows = compare.comparison_of(compare.Comparison(**words)).rows
    assert list(rows) == ["mqar, gru", "mqar, lru"]
    assert list(rows["mqar, lru"]) == ["mqar-lru-0.01", "mqar-lru-0.003"]
    config = rows["mqar, lru"]["mqar-lru-0.003"]
    assert (config.cell, config.learning_rate, config.num_seeds) == ("lru", 3e-3, 1)
    assert (config.steps, config.warmup_steps, config.eval_interval) == (50, 5, 5)
    assert compare.preset_of(compare.Comparison(data="mnist")) == "smnist"
    assert len(compare.comparison_of(compare.Comparison(preset="s3")).rows) == len(CELLS)


def test_what_holds_a_state_learns_slower():
    params = {"nu": np.ones(3, np.float32), "w": np.ones(3, np.float32)}
    tx, _ = EXPERIMENT.optimizer(TINY)
    plain, _ = adamw_of(TINY)
    slow, of_plain = (t.update(params, t.init(params), params)[0] for t in (tx, plain))
    np.testing.assert_allclose(slow["nu"], 0.25 * of_plain["nu"])
    np.testing.assert_allclose(slow["w"], of_plain["w"])


def test_the_rate_of_the_best_validation_is_kept():
    def result(rate, loss, accuracy):
        config = dataclasses.asdict(dataclasses.replace(TINY, learning_rate=rate))
        kept = dict.fromkeys(("hidden_size", "parameters", "best_step", "chance"), 1)
        test = {"accuracy_8": {"mean": accuracy}}
        loss = {"mean": loss}
        return kept | {"config": config, "validation_loss": loss, "test": test, "seconds": 2.0}

    row = compare.figures("", {"a": result(0.1, 0.3, 0.9), "b": result(0.01, 0.2, 0.5)})
    assert (row["learning_rate"], row["test"]["accuracy_8"]["mean"]) == (0.01, 0.5)
    assert row["validation_loss_by_rate"] == {"0.1": 0.3, "0.01": 0.2}
    assert row["seconds"] == 4.0


def row_of(cell, task, chance, **test):
    figures = {n: {"mean": v, "deviation": 0.001, "each": [v, v]} for n, v in test.items()}
    row = {"cell": cell, "task": task, "architecture": "block", "chance": chance, "length": 8}
    row |= {"num_seeds": 2, "steps": 3000, "validation_loss_by_rate": {"0.01": 1.0, "0.003": 0.5}}
    return row | {"test": figures, "by_step": None}


ROWS = [
    row_of("gru", "adding", 1 / 6, mse=5e-5),
    row_of("lru", "adding", 1 / 6, mse=0.17),
    row_of("gru", "parity", 0.5, accuracy_2048=0.999),
    row_of("lru", "parity", 0.5, accuracy_2048=0.51),
    row_of("gru", "characters", 3.3, nats=1.5),
]


def test_the_table_has_a_line_a_cell_and_a_column_a_figure():
    text = table.table(ROWS, {"gru": {"1024": 8.34, "16384": 1140.136}})
    head, _, gru, lru = text.splitlines()
    assert head.startswith("| cell | parity at 2,048, % (50.0) | adding, squared error (1.7e-01) |")
    assert "gradient of 65,536 steps, ms" in head
    assert gru == "| gru | 99.9 ± 0.1 | 5.0e-05 ± 1e-03 | 1.500 ± 0.001 | 8.3 | 1,140 | - |"
    assert lru == "| lru | 51.0 ± 0.1 | 1.7e-01 ± 1e-03 | - | - | - | - |"


def test_seeds_are_counted_that_solve_a_task():
    def state(cell, task, short, long):
        row = row_of(cell, task, 0.5, accuracy_8=0.0, accuracy_20=0.0)
        for name, each in (("accuracy_8", short), ("accuracy_20", long)):
            row["test"][name] |= {"mean": float(np.mean(each)), "each": each}
        return row

    rows = [
        state("lstm", "parity", [1.0, 0.98], [1.0, 0.6]),
        state("gru", "parity", [1.0, 1.0], [1.0, 1.0]),
        state("lru", "parity", [0.5, 0.97], [0.97, 0.5]),  # no seed at both
        state("gru", "s3", [1.0, 1.0], [0.99, 1.0]),
        *(row for row in ROWS if row["task"] != "parity"),
    ]
    at_training, longer, adding, characters = table.advice(rows).splitlines()
    assert (
        at_training == "- **Track a state** (parity, s3): gru 2/2, 2/2; lstm 2/2, -; no seed of lru"
    )
    assert longer.endswith("at all longer lengths too: gru 2/2, 2/2; lstm 1/2, -; no seed of lru")
    assert adding.endswith("(adding): gru 2/2; no seed of lru")
    assert characters.endswith("(characters): lowest nats gru 1.500 ± 0.001")


def test_the_page_says_how_it_was_measured():
    machine = {"processor": "some", "cores": 2, "packages": {"jax": "1"}}
    parity, *_, gradient = table.conditions(ROWS, {"machine": machine}).splitlines()
    assert parity == "- parity: 2 seeds, 3,000 steps, learning rate 0.01 or 0.003"
    assert gradient.endswith("schedules; some, 2 cores, jax 1")


def test_the_published_page_is_made_of_the_published_records():
    rows = list(table.collect(table.RESULTS))
    speed = read_json(table.RESULTS / table.SPEED)
    page = table.README.read_text()
    assert table.table(rows, speed[table.MS]) in page
    assert table.conditions(rows, speed) in page
    assert table.advice(rows) in page


def test_no_cell_is_twice_in_the_table(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "comparison.json", {"rows": ROWS[:1]})
    with pytest.raises(InputError, match=r"gru on adding is both in .*; remove one"):
        list(table.collect(tmp_path))
    with pytest.raises(SystemExit, match="train a preset first"):
        table.main(["--folder", str(tmp_path / "a")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "smnist"}, "--data must be mnist with task=smnist, got made"),
        ({"test_lengths": (30,)}, "--test-lengths must be all above length=40"),
        ({"task": "copy", "test_lengths": (90,)}, "--test-lengths must be omitted"),
        ({"task": "copy", "num_items": 21}, "--num-items must be at most half of length=40"),
        ({"task": "mqar", "length": 41, "num_kinds": 99}, "a quarter of an even length=41"),
        ({"task": "mqar", "num_kinds": 20}, "--num-kinds must be above 2 num_items=20"),
        ({"task": "psmnist", "data": "mnist"}, "--length must be 784"),
        ({"mean_output": True}, "--mean-output must be omitted"),
        ({"cell": "transformer"}, "--cell must be one of elman, "),
    ],
    ids=str,
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


def test_presets_can_be_trained():
    for name, preset in PRESETS.items():
        for config in preset.configs:
            assert name in ("default", config.task)
        assert set(preset.cells) <= set(CELLS)


def test_each_character_of_the_last_tenth_is_told_once_from_those_before(tmp_path, monkeypatch):
    text = "".join(random().choice(list("abcde \n"), size=2000))
    path = tmp_path / "text.txt"
    path.write_text(text)
    monkeypatch.setattr(corpora, "fetch", lambda source, folder: path)
    config = Config(task="characters", data="tinyshakespeare", length=16, batch_size=5)
    corpus = corpora.characters(config)
    symbols = sorted(set(text))
    assert corpus.num_symbols == corpus.num_answers == 7
    x, answers, _ = corpus.test
    told = "".join(symbols[i] for i in answers.T.ravel())
    assert told == text[1800 : 1800 + len(told)]
    assert len(told) == 192  # 12 windows of 16, of the 200
    for row in range(12):
        before = text[1800 + 16 * row - 17 : 1800 + 16 * row + 15]
        assert "".join(symbols[i] for i in x[:, row]) == before
    x, answers, _ = corpus.draw(random(), 50)
    np.testing.assert_array_equal(x[1:], answers[:-1])
    for row in range(50):
        assert "".join(symbols[i] for i in (*x[:, row], answers[-1, row])) in text[:1800]


def test_digits_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPRNN_DATA", raising=False)
    config = Config(task="smnist", data="mnist", length=784)
    with pytest.raises(InputError, match="mnist is not downloaded; put its four files at"):
        load(config)
    config = dataclasses.replace(config, data_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"cannot read .*train-images.*; put MNIST's file there"):
        load(config)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"digits"))
    with pytest.raises(InputError, match=r"has SHA-256 .*, expected ba891046"):
        load(config)


def test_digits_are_read_pixel_by_pixel(monkeypatch):
    images = random().integers(256, size=(5010, 784), dtype=np.uint8)
    labels = random().integers(10, size=5010, dtype=np.uint8)
    monkeypatch.setattr(corpora, "read_digits", lambda folder: [images, labels] * 2)
    config = Config(task="smnist", data="mnist", length=784)
    rows, order = (
        corpora.digits(config),
        corpora.digits(dataclasses.replace(config, task="psmnist")),
    )
    np.testing.assert_array_equal(rows.test.x[..., 0].T, images.astype(np.float32) / 255)
    np.testing.assert_array_equal(rows.valid.x, rows.test.x[:, 10:])
    np.testing.assert_array_equal(rows.test.answers[0], labels)
    drawn = rows.draw(random(1), 30)
    learned = {column.tobytes(): label for column, label in zip(images[:10], labels, strict=False)}
    for row in range(30):
        pixels = (drawn.x[:, row, 0] * 255).round().astype(np.uint8)
        assert learned[pixels.tobytes()] == drawn.answers[0, row]
    np.testing.assert_array_equal(np.sort(order.test.x, axis=0), np.sort(rows.test.x, axis=0))
    moved = order.test.x[:, 0] != rows.test.x[:, 0]
    assert moved.mean() > 0.9
    assert isinstance(drawn, Examples)

"""The word level, from a treebank to a result: training, test score, baselines, writing."""

import dataclasses
import zipfile
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from experiments.common import checkpoints, command
from experiments.common.metrics import read_metrics
from experiments.common.training import first_state, load_trained, train
from experiments.text_generation.config import Config
from experiments.text_generation.data import load, penn_treebank
from experiments.text_generation.experiment import EXPERIMENT
from experiments.text_generation.model import build
from experiments.text_generation.problem import make_problem
from experiments.text_generation.report import summary
from tests.experiments.test_ngram import brute_force

# One worker of pytest-xdist, for they share a run.
pytestmark = pytest.mark.xdist_group("text_words")

# What the presets for the treebank are like, at a small size.
CONFIG = Config(
    data="ptb",
    cell="elman",
    num_layers=1,
    hidden_size=6,
    embedding_size=6,
    init_scale=0.1,
    batch_size=2,
    chunk_length=8,
    optimizer="sgd",
    learning_rate=4.0,
    clip_norm=0.05,
    rate_schedule="steps",
    warmup_steps=0,
    constant_steps=1,
    decay_interval=1,
    decay_factor=0.25,
    steps=2,
    log_interval=1,
    eval_interval=1,
    checkpoint_interval=1,
    eval_streams=2,
    eval_context=8,
    sample_length=5,
)


def sentences(number: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    words = ["the", "cat", "sat", "on", "a", "mat", "<unk>", "N"]
    return "".join(
        f" {' '.join(rng.choice(words, size=rng.integers(2, 6)))} \n" for _ in range(number)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run's folder, its result, and its data."""
    folder = tmp_path_factory.mktemp("words")
    with zipfile.ZipFile(folder / "ptb.zip", "w") as archive:
        for seed, (split, number) in enumerate({"train": 40, "valid": 9, "test": 12}.items()):
            archive.writestr(f"ptb.{split}.txt", sentences(number, seed))
    data = penn_treebank(folder / "ptb.zip", "made here")
    experiment = dataclasses.replace(EXPERIMENT, load=lambda config: data)
    return folder / "run", train(experiment, CONFIG, folder / "run"), data


def test_two_steps_of_gradient_descent(run):
    """Against the gradient itself, clipped and scaled by hand; the first rate is constant."""
    workdir, _, data = run
    model = build(CONFIG, data.facts)
    problem = make_problem(CONFIG, data, model)
    initial = jax.jit(first_state(EXPERIMENT, CONFIG, data.facts, model))()
    params, carry = initial.params, initial.carry
    gradient = jax.jit(jax.grad(problem.loss_fn, has_aux=True), static_argnums=3)
    for step, rate in enumerate((4.0, 1.0)):
        found, carry = gradient(params, problem.batch_at(step), carry, None)
        norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(found)))
        assert norm > CONFIG.clip_norm  # or clipping would go unseen
        scale = rate * CONFIG.clip_norm / norm
        params = jax.tree.map(lambda p, g, scale=scale: p - scale * g, params, found)
    assert [record["learning_rate"] for record in read_metrics(workdir)] == [4.0, 1.0]
    trained = checkpoints.restore(workdir / "checkpoints", 2, initial).state.params
    for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_the_test_score_is_that_of_one_stream(run):
    """Every word, an end of sentence too, from the initial state, in one call of `apply`."""
    workdir, result, data = run
    writer = load_trained(EXPERIMENT, workdir)
    whole = np.concatenate([data.valid[-1:], data.test])
    start = writer.model.initial_state(writer.params, 1)
    _, logits = writer.model.apply(writer.params, whole[:-1, None], start)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits[:, 0], whole[1:])
    assert result["test_symbols"] == len(nats) == len(data.test)
    np.testing.assert_allclose(
        result["test_nats"], np.mean(np.asarray(nats, np.float64)), rtol=1e-5
    )
    np.testing.assert_allclose(result["test_perplexity"], np.exp(result["test_nats"]), rtol=1e-12)


def test_each_split_has_baselines_of_its_own(run):
    _, result, data = run
    ids = [part.tolist() for part in (data.train, data.valid, data.test)]
    whole, vocab_size = [*ids[0], *ids[1], *ids[2]], len(data.vocabulary)
    begins = {"validation_baseline_nats": len(ids[0]), "test_baseline_nats": len(ids[0] + ids[1])}
    for (key, begin), split in zip(begins.items(), ids[1:], strict=True):
        p = [
            brute_force(whole[: begin + i], symbol, ids[0], 3, vocab_size)
            for i, symbol in enumerate(split)
        ]
        np.testing.assert_allclose(result[key]["3"], -np.mean(np.log(p)), rtol=1e-9)
    assert result["validation_baseline_nats"] != result["test_baseline_nats"]


def test_the_summary_names_the_split_of_each_baseline(run):
    _, result, _ = run
    made_up = {
        "validation_nats": 2.0,
        "validation_baseline_nats": {"3": 3.0},
        "test_nats": 4.0,
        "test_baseline_nats": {"3": 3.0},
    }
    lines = summary(result | made_up, "a sample", "word", Path("here")).splitlines()
    places = [lines.index(f"Witten-Bell n-gram models on the {s} split:") for s in SPLITS]
    for place, split, verdict in zip(places, SPLITS, ("  passed", "not passed"), strict=True):
        assert lines[place - 1].startswith(split)
        assert f"over {result[f'{split}_symbols']:,} words" in lines[place - 1]
        assert lines[place + 1].endswith(verdict)


SPLITS = ("validation", "test")


def test_a_prompt_may_have_words_that_are_not_known(run, capsys):
    command.main(EXPERIMENT, ["--generate=the zebra", f"--workdir={run[0]}", "--sample-length=3"])
    assert capsys.readouterr().out.startswith("the <unk> ")


def test_a_run_reads_its_text_as_it_is_asked_to(tmp_path):
    (tmp_path / "a.txt").write_text("a b a b a b c " * 3 + "a b\n" * 20)
    data = load(Config(data=str(tmp_path / "a.txt"), level="word", min_count=4))
    assert data.vocabulary.symbols == ("<eos>", "<unk>", "a", "b")
    assert data.num_unknown == 3

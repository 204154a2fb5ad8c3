"""Figures of trained models on the test sequences, over the seeds."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.experiment import Trained
from experiments.common.intervals import over_seeds
from experiments.long_memory.data import Data
from experiments.long_memory.problem import Scores, score_all

_POINTS = 64  # of the curve over the steps


def measure(trained: Trained, data: Data) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the test figures, each with mean and deviation over the seeds.

    With an answer at each step at longer lengths n than in training, `accuracy_n` is that of
    steps n/2 + 1 to n: a network reads every step of the longest sequences, so those of the
    shorter ones are their beginnings.
    """
    config, task = trained.config, trained.config.task
    scores = score_all(trained.model, trained.params, data.test)
    valid = score_all(trained.model, trained.params, data.valid)
    figures: dict[str, Any] = {"chance": data.facts["chance"]}
    figures["hidden_size"] = trained.model.widths.hidden
    figures["validation_loss"] = over_seeds(valid.loss.mean(axis=(1, 2)))
    if task in ("adding", "characters"):
        figures["test"] = {
            "mse" if task == "adding" else "nats": over_seeds(scores.loss.mean(axis=(1, 2)))
        }
        return figures, {}
    if not config.test_lengths:
        figures["test"] = {"accuracy": over_seeds(scores.right.mean(axis=(1, 2)))}
        return figures, {}
    figures["test"] = {
        f"accuracy_{n}": over_seeds(scores.right[:, n // 2 : n].mean(axis=(1, 2)))
        for n in (config.length, *config.test_lengths)
    }
    figures["by_step"] = by_step(scores)
    return figures, {}


def by_step(scores: Scores) -> dict[str, list[Any]]:
    """Return the accuracy over the steps: its mean over stretches that grow with the step."""
    steps = scores.right.shape[1]
    ends = np.unique(np.geomspace(1, steps, _POINTS).round().astype(int))
    edges = np.concatenate([[0], ends])
    right = scores.right.mean(axis=(0, 2), dtype=np.float64)
    means = [right[a:b].mean() for a, b in itertools.pairwise(edges)]
    return {"step": ends.tolist(), "accuracy": means}

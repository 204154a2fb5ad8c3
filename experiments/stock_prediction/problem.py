"""What a data set asks of a network, whether of days or of hours."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.stock_prediction.model import InitFn


class Validation(NamedTuple):
    """How all models do on their validation periods."""

    losses: NDArray[np.float64]  # [M], what each is chosen by; the smaller the better
    scalars: Mapping[str, float]  # means over models, to be recorded


class Problem(NamedTuple):
    """A task for M models, trained side by side; model m is seed m % S of fold m // S."""

    digest: str  # SHA-256 of the data
    described: Mapping[str, Any]  # what a prediction needs of the data, as JSON
    num_folds: int
    init: InitFn  # the parameters of one model
    loss_fn: Callable[[Any, Any, jax.Array], jax.Array]  # (params, batch, key), of one model
    batch_at: Callable[[int], Any]  # the batch of a step; leaves [M, ...]
    validate: Callable[[Any], Validation]  # of parameters with leaves [M, ...]


def loss_once(problem: Problem) -> jax.Array:
    """Draw the parameters of one model and return its loss of its first batch."""
    key = jax.random.key(0)
    batch = jax.tree.map(lambda leaf: leaf[0], problem.batch_at(0))
    return problem.loss_fn(problem.init(key), batch, key)

"""What is learned: the next frame; of several seeds side by side, each by itself.

Parameters and batches have a leading axis of S seeds. A seed comes to the same parameters,
up to rounding, as if it were trained alone.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.common.experiment import Problem, keys_of
from experiments.common.updates import LossFn
from experiments.music_generation.batches import Batch, batch_at, make_plan
from experiments.music_generation.config import Config
from experiments.music_generation.data import Corpus
from experiments.music_generation.evaluate import deviation, evaluate
from experiments.music_generation.model import Model, ModelParams, frame_nats


def keys(config: Config, facts: Mapping[str, Any]) -> jax.Array:
    """Return the key of each seed, `[S]`."""
    return keys_of(config.seeds)


def make_loss(model: Model) -> LossFn:
    """Return the mean nats a frame over the real frames of a batch, first frames included."""

    def loss_fn(
        params: ModelParams, batch: Batch, carry: None, key: jax.Array | None
    ) -> tuple[jax.Array, None]:
        x, labels, lengths = map(jnp.asarray, batch)
        state = model.initial_state(params, x.shape[1])
        _, logits = model.apply(params, x, state, lengths, key)
        is_real = jnp.arange(x.shape[0])[:, None] < lengths[None]  # [T, B]
        return jnp.sum(frame_nats(logits, labels), where=is_real) / lengths.sum(), carry

    return loss_fn


def make_problem(config: Config, corpus: Corpus, model: Model) -> Problem:
    """Return what the training loop asks."""
    plan = make_plan(corpus.train, config)

    def validate(params: ModelParams) -> dict[str, float]:
        nll = evaluate(model, params, corpus.valid).frames
        spread = {"validation_nll_deviation": deviation(nll)} if len(nll) > 1 else {}
        return {"validation_nll": float(nll.mean()), **spread}

    def show(record: Mapping[str, float]) -> str:
        words = f"train {record['train_nll']:.3f}"
        if "validation_nll" in record:
            words += f"   validation {record['validation_nll']:.3f} nats a frame"
        return words

    return Problem(
        loss_fn=make_loss(model),
        batch_at=lambda step: batch_at(plan, step),
        evaluate=validate,
        selection="validation_nll",
        train_scalars=lambda step, nats: {"epoch": step / plan.steps_per_epoch, "train_nll": nats},
        show=show,
    )

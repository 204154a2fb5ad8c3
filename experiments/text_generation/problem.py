"""What is learned: the next symbol, from a chunk of text after the other."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common.devices import Rows
from experiments.common.experiment import Problem
from experiments.common.optimizers import Optimizer, adamw_of, warmup_cosine
from experiments.text_generation import batches
from experiments.text_generation.batches import Batch
from experiments.text_generation.config import Config
from experiments.text_generation.data import Data
from experiments.text_generation.evaluate import lay_out, make_evaluate
from experiments.text_generation.model import Model, Params, State
from experiments.text_generation.report import SCALES


def make_problem(config: Config, data: Data, model: Model) -> Problem:
    """Return what the training loop asks.

    Raises:
      InputError: the text is too short for a single step.
    """
    num_chunks = batches.chunks_per_epoch(len(data.train), config.batch_size, config.chunk_length)
    valid = lay_out(data.train, data.valid, config.eval_streams, config.eval_context)
    nats_of = make_evaluate(model, valid)
    scale = SCALES[data.vocabulary.level]

    def loss_fn(
        params: Params, batch: Batch, carry: State, key: jax.Array | None
    ) -> tuple[jax.Array, State]:
        first = model.initial_state(params, batch.x.shape[1])
        state = jax.tree.map(lambda new, old: jnp.where(batch.fresh, new, old), first, carry)
        state, logits = model.apply(params, jnp.asarray(batch.x), state, key)
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        return nats.mean(), state

    def batch_at(step: int) -> Batch:
        return batches.batch_at(
            data.train, step, config.batch_size, config.chunk_length, config.seed
        )

    def scaled(split: str, nats: float) -> dict[str, float]:
        return {f"{split}_nats": nats, f"{split}_{scale.key}": scale.of_nats(nats)}

    def evaluate(params: Params) -> dict[str, float]:
        return scaled("validation", nats_of(params))

    def show(record: Mapping[str, float]) -> str:
        words = f"train {record[f'train_{scale.key}']:.3f}"
        if f"validation_{scale.key}" in record:
            words += f"   validation {record[f'validation_{scale.key}']:.3f}"
        return f"{words} {scale.unit}"

    return Problem(
        loss_fn,
        batch_at,
        evaluate,
        selection="validation_nats",
        train_scalars=lambda step, nats: {"epoch": step / num_chunks, **scaled("train", nats)},
        show=show,
        rows=Rows(batch=(1, 1, None), carry=0),  # x, labels and fresh; the network's state
    )


def optimizer(config: Config) -> Optimizer:
    """Return AdamW or plain gradient descent behind a clipped norm, and the learning rate.

    The rate "steps": constant for `constant_steps`, then times `decay_factor`, and again
    every `decay_interval` steps (Zaremba et al. 2014: a factor an epoch).
    """

    def stepwise(step: Any) -> jax.Array:
        past = step - config.constant_steps
        decays = jnp.where(past < 0, 0, 1 + past // config.decay_interval)
        return config.learning_rate * config.decay_factor**decays

    schedule = stepwise if config.rate_schedule == "steps" else None
    if config.optimizer == "adamw":
        return adamw_of(config, schedule)
    schedule = schedule or warmup_cosine(config)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.sgd(schedule)), schedule

"""What is learned: the next frame; of several seeds side by side, each by itself.

Parameters and batches have a leading axis of S seeds. A seed comes to the same parameters,
up to rounding, as if it were trained alone.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from experiments.common.devices import Rows
from experiments.common.experiment import Problem
from experiments.music_generation import batches
from experiments.music_generation.batches import Batch
from experiments.music_generation.config import Config
from experiments.music_generation.data import Data
from experiments.music_generation.evaluate import deviation, nll_of
from experiments.music_generation.model import Model, Params, frame_nats


def make_problem(config: Config, data: Data, model: Model) -> Problem:
    """Return what the training loop asks."""
    plan = batches.make_plan(data.train, config)
    num_batches = len(plan.bucket_of_batch)  # of an epoch

    def loss_fn(
        params: Params, batch: Batch, carry: None, key: jax.Array | None
    ) -> tuple[jax.Array, None]:
        x, labels, lengths = map(jnp.asarray, batch)
        state = model.initial_state(params, x.shape[1])
        _, logits = model.apply(params, x, state, lengths, key)
        is_real = jnp.arange(x.shape[0])[:, None] < lengths[None]  # [T, B], first frames included
        return jnp.sum(frame_nats(logits, labels), where=is_real) / lengths.sum(), carry

    def batch_at(step: int) -> Batch:
        return batches.batch_at(plan, step)

    def evaluate(params: Params) -> dict[str, float]:
        nll = nll_of(model, params, data.valid).frames
        spread = {"validation_nll_deviation": deviation(nll)} if len(nll) > 1 else {}
        return {"validation_nll": float(nll.mean()), **spread}

    def show(record: Mapping[str, float]) -> str:
        words = f"train {record['train_nll']:.3f}"
        if "validation_nll" in record:
            words += f"   validation {record['validation_nll']:.3f} nats a frame"
        return words

    return Problem(
        loss_fn,
        batch_at,
        evaluate,
        selection="validation_nll",
        rows=Rows((2, 2, 1)),
        train_scalars=lambda step, nats: {"epoch": step / num_batches, "train_nll": nats},
        show=show,
    )

"""What a run is made of: its data, its model, and what the training loop asks of them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import updates
from experiments.common.fit import Training
from experiments.common.optimizers import adamw_of
from experiments.common.settings import checked_model
from experiments.common.updates import TrainState, evaluated_params
from experiments.speech_recognition import decode
from experiments.speech_recognition.batches import Batch, Batches, choose_lengths
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.data import Dataset, Examples
from experiments.speech_recognition.decode import LogitsFn, Outputs, make_logits
from experiments.speech_recognition.model import (
    Model,
    ModelParams,
    acoustic_model,
    apply_once,
    ctc_loss,
)
from experiments.speech_recognition.scores import score


class Run(NamedTuple):
    """What does not change from step to step."""

    config: Config
    dataset: Dataset
    model: Model
    workdir: Path
    padded: tuple[int, ...]  # the lengths that utterances are padded to
    logits_fn: LogitsFn


def make_run(config: Config, dataset: Dataset, workdir: Path) -> Run:
    """Return a run with its functions, which are compiled when first called.

    Raises:
      InputError: settings with which the model cannot be run.
    """
    parts = (dataset.train, dataset.valid, dataset.test)
    lengths = np.concatenate([np.ravel(part.lengths) for part in parts])
    padded = choose_lengths(lengths, config.num_lengths, config.stack)
    model = checked_model(
        lambda: acoustic_model(config, dataset.alphabet.size), partial(apply_once, config)
    )
    return Run(config, dataset, model, workdir, padded, make_logits(model))


def initial_train_state(config: Config, model: Model) -> TrainState:
    """Return the state before the first step, all of it drawn from the seed."""
    tx, _ = adamw_of(config)

    @jax.jit
    def initial(seed_key: jax.Array) -> TrainState:
        return updates.drawn_train_state(seed_key, model.init, tx, ema_decay=config.ema_decay)

    return initial(jax.random.key(config.seed))


def make_train_step(config: Config, model: Model) -> updates.TrainStep:
    """Return the compiled step; see `common.updates.make_train_step`."""

    def loss_fn(
        params: ModelParams, batch: Batch, carry: None, key: jax.Array
    ) -> tuple[jax.Array, None]:
        """Return the nats a label; no state goes from batch to batch."""
        frames, num_frames, labels, num_labels = map(jnp.asarray, batch)
        logits, lengths = model.apply(params, frames, num_frames, key)
        nats = ctc_loss(logits, lengths, labels, num_labels)
        # By the label, not by the row: else batches of long utterances would weigh most.
        return nats.sum() / num_labels.sum(), carry

    return updates.make_train_step(loss_fn, *adamw_of(config), ema_decay=config.ema_decay)


def training_of(run: Run) -> Training:
    """Return what the training loop asks of a run."""
    config, dataset = run.config, run.dataset
    batches = Batches(dataset.train, run.padded, config.batch_size, config.seed)

    def train_scalars(step: int, loss: float) -> Mapping[str, float]:
        return {"epoch": step / batches.per_epoch, "train_nats": loss}

    def validate(state: TrainState, step: int) -> Mapping[str, float]:
        outputs = outputs_of(run, evaluated_params(state, config.ema_decay), dataset.valid)
        found = score(dataset.valid.texts, decode.greedy(outputs, dataset.alphabet))
        return {"validation_cer": found.cer, "validation_wer": found.wer}

    def show(record: Mapping[str, float]) -> str:
        words = f"train {record['train_nats']:.3f} nats a character"
        if "validation_cer" in record:
            words += (
                f"   validation CER {100 * record['validation_cer']:.2f} %, "
                f"WER {100 * record['validation_wer']:.2f} %"
            )
        return words

    return Training(
        folder=run.workdir,
        steps=config.steps,
        log_interval=config.log_interval,
        eval_interval=config.eval_interval,
        checkpoint_interval=config.checkpoint_interval,
        keep_checkpoints=config.keep_checkpoints,
        batch_at=batches.at,
        train_step=make_train_step(config, run.model),
        train_scalars=train_scalars,
        evaluate=validate,
        selection="validation_cer",
        show=show,
    )


def outputs_of(run: Run, params: ModelParams, examples: Examples) -> Outputs:
    """Return the logits of a part, as it was spoken."""
    config = run.config
    frames = examples.copies[examples.as_spoken]
    return decode.run(run.logits_fn, params, frames, run.padded, config.batch_size, config.stack)

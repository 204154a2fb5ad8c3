"""What is learned: a transcript's characters, whatever their alignment with the sound.

References:
  Graves et al. 2006, "Connectionist temporal classification".
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from experiments.common.devices import Rows
from experiments.common.experiment import Problem
from experiments.speech_recognition import batches, decode
from experiments.speech_recognition.alphabet import BLANK
from experiments.speech_recognition.batches import Batch
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.data import Data
from experiments.speech_recognition.model import Model, Params
from experiments.speech_recognition.scores import score


def make_problem(config: Config, data: Data, model: Model) -> Problem:
    """Return the loss in nats a label, the batches, and the error rates of the best path."""
    train, valid, batch_size = data.train, data.valid, config.batch_size
    per_epoch = batches.batches_per_epoch(train, batch_size)

    def loss_fn(
        params: Params, batch: Batch, carry: None, key: jax.Array | None
    ) -> tuple[jax.Array, None]:
        frames, num_frames, labels, num_labels = map(jnp.asarray, batch)
        logits, lengths = model.apply(params, frames, num_frames, key)
        nats = ctc_loss(logits, lengths, labels, num_labels)
        # By the label, not by the row: else batches of long utterances would weigh most.
        return nats.sum() / num_labels.sum(), carry

    def batch_at(step: int) -> Batch:
        return batches.batch_at(train, step, data.padded, batch_size, config.seed)

    def evaluate(params: Params) -> dict[str, float]:
        outputs = decode.run(model, params, valid.as_spoken, data.padded, batch_size)
        found = score(valid.texts, decode.greedy(outputs, data.alphabet, config.decode_batch))
        return {"validation_cer": found.cer, "validation_wer": found.wer}

    def show(record: Mapping[str, float]) -> str:
        words = f"train {record['train_nats']:.3f} nats a character"
        if "validation_cer" in record:
            cer, wer = (100 * record[f"validation_{rate}"] for rate in ("cer", "wer"))
            words += f"   validation CER {cer:.2f} %, WER {wer:.2f} %"
        return words

    return Problem(
        loss_fn,
        batch_at,
        evaluate,
        selection="validation_cer",
        rows=Rows((1, 0, 0, 0)),
        train_scalars=lambda step, nats: {"epoch": step / per_epoch, "train_nats": nats},
        show=show,
    )


def ctc_loss(
    logits: jax.Array, lengths: jax.Array, labels: jax.Array, num_labels: jax.Array
) -> jax.Array:
    """Return -ln p(labels | logits) of each row, in nats: over all alignments.

    Args:
      logits: `[T, B, V]`; the blank is label 0.
      lengths: int `[B]`, the real steps of each row.
      labels: int `[B, N]`, whatever past `num_labels`.
      num_labels: int `[B]`.

    Returns:
      float32 `[B]`. Labels that no alignment gives, for there are too few steps, come
      to about 1e5 and more: see data.py, which lets none through.
    """
    steps, places = (jnp.arange(size)[None] for size in (logits.shape[0], labels.shape[1]))
    return optax.ctc_loss(
        jnp.moveaxis(logits, 0, 1),
        (steps >= lengths[:, None]).astype(jnp.float32),
        labels,
        (places >= num_labels[:, None]).astype(jnp.float32),
        blank_id=BLANK,
    )

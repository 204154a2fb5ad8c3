"""The acoustic model: a spectrogram in, logits of the blank and each character out.

    x_t = frames St ... St + S - 1 side by side      S = stack: fewer, longer steps
    y   = deep_rnn(x_1 ... x_T), both directions     deeprnn_jax
    logits_t = W y_t + b                             flax.linen.Dense

The softmax is part of the loss, which is that of connectionist temporal classification.

References:
  Graves et al. 2006 (CTC); Graves et al. 2013 (deep bidirectional LSTM for speech);
  Sak et al. 2015, section 3 (stacked frames).
"""

from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import deeprnn_jax as drnn
from experiments.common.networks import dropout, make_cell, make_network
from experiments.speech_recognition.alphabet import BLANK
from experiments.speech_recognition.config import Config


class ModelParams(NamedTuple):
    """The parameters, one field a part."""

    rnn: Any
    readout: Any


class InitFn(Protocol):
    """Draw the parameters."""

    def __call__(self, key: jax.Array) -> ModelParams: ...


class ApplyFn(Protocol):
    """Run over frames `[T, B, F]`, of which each row has `num_frames [B]`.

    With a key, dropout and masks are on. Gives logits `[ceil(T / S), B, V]` and how many
    of their steps are real, int `[B]`.
    """

    def __call__(
        self,
        params: ModelParams,
        frames: jax.Array,
        num_frames: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]: ...


class Model(NamedTuple):
    """An acoustic model as pure functions, as the network inside it is."""

    init: InitFn
    apply: ApplyFn


def recurrent_network(config: Config) -> drnn.DeepRNN:
    """Return the recurrent part."""
    cell = make_cell(config.cell, config.hidden_size, config.weight_drop)
    return make_network(
        cell,
        config.num_layers,
        bidirectional=config.bidirectional,
        normalize_inputs=config.layer_norm,
        skip=config.skip,
        dropout=config.dropout,
    )


def acoustic_model(config: Config, num_labels: int) -> Model:
    """Return the model of a config for V = `num_labels` labels, the blank counted in."""
    rnn = recurrent_network(config)
    dense: Any = nn.Dense(num_labels)
    output_size = config.hidden_size * (2 if config.bidirectional else 1)

    def init(key: jax.Array) -> ModelParams:
        rnn_key, dense_key = jax.random.split(key)
        return ModelParams(
            rnn=rnn.init(rnn_key, config.num_bands * config.stack),
            readout=dense.init(dense_key, jnp.zeros((0, output_size))),
        )

    def apply(
        params: ModelParams,
        frames: jax.Array,
        num_frames: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        if key is None:
            rnn_key = dropout_key = None
        else:
            mask_key, rnn_key, dropout_key = jax.random.split(key, 3)
            frames = config.spec_augment(mask_key, frames, num_frames)
        x = stack_frames(frames, config.stack)
        lengths = -(-num_frames // config.stack)
        _, y = rnn.apply(params.rnn, x, lengths=lengths, key=rnn_key, schedule=config.schedule)
        y = dropout(y, config.dropout, dropout_key)
        return dense.apply(params.readout, y), lengths

    return Model(init, apply)


def apply_once(config: Config, model: Model) -> tuple[jax.Array, jax.Array]:
    """Draw parameters and apply the model to a batch of one step, dropout, masks and all."""
    key = jax.random.key(config.seed)
    frames = jnp.zeros((config.stack, config.batch_size, config.num_bands))
    num_frames = jnp.full(config.batch_size, config.stack)
    return model.apply(model.init(key), frames, num_frames, key)


def stack_frames(frames: jax.Array, count: int) -> jax.Array:
    """Put `count` neighbouring frames side by side: `[T, B, F]` to `[T', B, count * F]`.

    T' is T / count, rounded up; what is missing in the last step is 0, the mean.
    """
    num_frames, batch_size, bands = frames.shape
    missing = -num_frames % count
    frames = jnp.pad(frames, ((0, missing), (0, 0), (0, 0)))
    frames = frames.reshape(-1, count, batch_size, bands)
    return jnp.moveaxis(frames, 1, 2).reshape(-1, batch_size, count * bands)


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

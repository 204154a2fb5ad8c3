"""The acoustic model: a spectrogram in, logits of the blank and each character out.

    x_t = frames St ... St + S - 1 side by side      S = stack: fewer, longer steps
    y   = deep_rnn(x_1 ... x_T), both directions     deeprnn_jax
    logits_t = W y_t + b                             flax.linen.Dense

The softmax is part of the loss.

References:
  Graves et al. 2013 (deep bidirectional LSTM for speech); Sak et al. 2015, section 3
  (stacked frames).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.common.networks import dropout, make_network, split_or_none
from experiments.speech_recognition.augment import spec_augment
from experiments.speech_recognition.config import Config


class Params(NamedTuple):
    """The parameters, one field a part."""

    rnn: Any
    readout: Any


@dataclasses.dataclass(frozen=True)
class Model:
    """Pure functions of some settings; what is compiled for equal ones serves all."""

    config: Config
    num_labels: int  # V, the blank counted in

    @property
    def rnn(self) -> drnn.DeepRNN:
        """The network of frames."""
        return make_network(self.config, bidirectional=self.config.bidirectional)

    @property
    def _readout(self) -> Any:
        return nn.Dense(self.num_labels, dtype=jnp.dtype(self.config.compute_dtype))

    def init(self, key: jax.Array) -> Params:
        """Draw the parameters."""
        config, (rnn_key, readout_key) = self.config, jax.random.split(key)
        output_size = config.hidden_size * (2 if config.bidirectional else 1)
        return Params(
            rnn=self.rnn.init(rnn_key, config.num_bands * config.stack),
            readout=self._readout.init(readout_key, jnp.zeros((0, output_size))),
        )

    def apply(
        self,
        params: Params,
        frames: jax.Array,
        num_frames: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Run over spectrograms side by side.

        Args:
          params: of `init`.
          frames: `[T, B, F]`, normalised.
          num_frames: int `[B]`, the real frames of each row.
          key: turns dropout and masks on.

        Returns:
          Logits `[ceil(T / S), B, V]`, and how many of their steps are real, int `[B]`.
        """
        config, (mask_key, rnn_key, dropout_key) = self.config, split_or_none(key, 3)
        if mask_key is not None:
            frames = spec_augment(mask_key, frames, num_frames, config)
        x, lengths = stack_frames(frames, config.stack), -(-num_frames // config.stack)
        _, y = self.rnn.apply(params.rnn, x, lengths=lengths, key=rnn_key, schedule=config.schedule)
        y = dropout(y, config.dropout, dropout_key)
        # The loss is taken in float32.
        return self._readout.apply(params.readout, y).astype(jnp.float32), lengths


def build(config: Config, facts: Mapping[str, Any]) -> Model:
    """Return the model of a config for the characters of some transcripts."""
    return Model(config, 1 + len(facts["characters"]))


def stack_frames(frames: jax.Array, count: int) -> jax.Array:
    """Put `count` neighbouring frames side by side: `[T, B, F]` to `[⌈T / count⌉, B, count F]`.

    What is missing in the last step is 0, the mean.
    """
    num_frames, batch_size, bands = frames.shape
    missing = -num_frames % count
    frames = jnp.pad(frames, ((0, missing), (0, 0), (0, 0)))
    frames = frames.reshape(-1, count, batch_size, bands)
    return jnp.moveaxis(frames, 1, 2).reshape(-1, batch_size, count * bands)

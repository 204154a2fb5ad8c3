"""Writing: feed a prompt through `step`, then each drawn symbol back in."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.decoding import Sampling, sample_logits
from experiments.common.errors import InputError
from experiments.common.run_folder import read_run, restore_best
from experiments.common.settings import config_from_dict
from experiments.common.updates import evaluated_params
from experiments.text_generation.config import Config
from experiments.text_generation.data import Ids, Vocabulary
from experiments.text_generation.model import Model, ModelParams, language_model
from experiments.text_generation.update import initial_train_state


class Writer(NamedTuple):
    """A trained model, ready to write."""

    model: Model
    params: ModelParams
    vocabulary: Vocabulary


def stream_ids(
    model: Model,
    params: ModelParams,
    prompt: Ids,
    length: int,
    sampling: Sampling,
    key: jax.Array,
) -> Iterator[int]:
    """Yield `length` symbol ids, each as soon as it is drawn.

    Args:
      model: the model.
      params: its parameters.
      prompt: `[N]`, N >= 1, the symbols to start from; not yielded.
      length: how many symbols to write.
      sampling: how to draw.
      key: a PRNG key; symbol i is drawn with `fold_in(key, i)`.

    Raises:
      InputError: an empty prompt; the model has nothing to go on from.
    """
    if len(prompt) == 0:
        raise InputError(
            "generate: the prompt is empty; give at least one symbol, for example a line break"
        )
    read = jax.jit(model.step)

    @jax.jit
    def draw(logits: jax.Array, i: jax.Array) -> jax.Array:
        return sample_logits(jax.random.fold_in(key, i), logits, sampling)

    rows = jnp.asarray(prompt, jnp.int32)[:, None]  # [N, B = 1]
    state, logits = read(params, rows[0], model.initial_state(params, 1))
    for symbols in rows[1:]:
        state, logits = read(params, symbols, state)
    for i in range(length):
        symbols = draw(logits, jnp.int32(i))
        yield int(symbols[0])
        state, logits = read(params, symbols, state)


def stream_text(
    writer: Writer, prompt: str, length: int, sampling: Sampling, seed: int
) -> Iterator[str]:
    """Yield text piece by piece: the prompt, then what follows, symbol by symbol.

    Raises:
      InputError: the prompt is empty, or has a character that the model never saw. At
        word level an unknown word becomes `<unk>`, and shows as that.
    """
    vocabulary = writer.vocabulary
    ids, _ = vocabulary.encode(prompt)
    yield vocabulary.decode(ids)
    key = jax.random.key(seed)
    for symbol in stream_ids(writer.model, writer.params, ids, length, sampling, key):
        yield vocabulary.text_of(symbol)


def load_writer(workdir: Path, warn: Callable[[str], None] = print) -> Writer:
    """Read the best undamaged checkpoint of a run: the one of the best validation.

    Raises:
      InputError: the folder holds no run, or no checkpoint that can be read.
    """
    run = read_run(workdir)
    config = config_from_dict(Config, run["config"])
    vocabulary = Vocabulary(tuple(run["vocabulary"]), run["level"])
    model = language_model(config, len(vocabulary))
    target = jax.eval_shape(lambda: initial_train_state(config, model))
    restored = restore_best(workdir, target, warn)
    return Writer(model, evaluated_params(restored.state, config.ema_decay), vocabulary)

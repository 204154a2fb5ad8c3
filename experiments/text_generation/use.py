"""Writing: read a prompt, then go on from each drawn symbol to the next."""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.decoding import generate
from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.text_generation.data import Ids, Vocabulary, split_text

_AT_ONCE = 20  # symbols that are drawn before they are shown


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    generate: str | None = None
    """Write on from this text with a trained model, instead of training."""


def use(task: Task, trained: Trained) -> None:
    """Print a prompt and what the model writes after it, as it is written."""
    for piece in stream_text(trained, task.generate or ""):
        print(piece, end="", flush=True)
    print()


def stream_text(trained: Trained, prompt: str) -> Iterator[str]:
    """Yield text piece by piece: the prompt, then what the config's sampling draws after it.

    Raises:
      InputError: the prompt is empty, or has a character that the model never saw. At
        word level an unknown word becomes `<unk>`, and shows as that.
    """
    vocabulary = Vocabulary(tuple(trained.facts["vocabulary"]), trained.facts["level"])
    ids, _ = vocabulary.encode(split_text(prompt, vocabulary.level))
    if len(ids) == 0:
        raise InputError(
            "generate: the prompt is empty; give at least one symbol, for example a line break"
        )
    yield vocabulary.decode(ids)
    for drawn in stream_ids(trained, ids):
        yield vocabulary.decode(drawn)


def stream_ids(trained: Trained, prompt: Ids) -> Iterator[Ids]:
    """Yield the ids of the config's `sample_length` symbols, several at once.

    Args:
      trained: the model.
      prompt: `[N]`, N >= 1, the symbols to start from; not yielded.
    """
    config, model, params = trained.config, trained.model, trained.params
    read = jax.jit(model.step)

    @jax.jit
    def draw(params, state, last, key):
        def step(state, symbols):
            return model.step(params, symbols, state)

        return generate(step, state, last, _AT_ONCE, key, config.sampling)

    state, last = model.initial_state(params, 1), jnp.asarray(prompt[-1:], jnp.int32)
    for symbol in prompt[:-1]:
        state, _ = read(params, jnp.full((1,), symbol, jnp.int32), state)
    key = jax.random.key(config.sample_seed)
    for start in range(0, config.sample_length, _AT_ONCE):
        state, drawn = draw(params, state, last, jax.random.fold_in(key, start))
        last = drawn.tokens[-1]
        yield np.asarray(drawn.tokens[: config.sample_length - start, 0])

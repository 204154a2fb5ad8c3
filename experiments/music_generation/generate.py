"""Composing: read what is given, then each drawn frame back in.

    x_{t+1,k} ~ Bernoulli(σ(logit_{t,k} / temperature))        each of the 88 keys by itself

A Bernoulli draw a key gives, now and then, more voices than there are, or fewer.
`max_notes` keeps the most probable of the keys that were drawn, and `min_notes` adds the
most probable of those that were not.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.errors import InputError
from experiments.common.run_folder import read_run, restore_best
from experiments.common.settings import config_from_dict
from experiments.music_generation.config import Config
from experiments.music_generation.data import IN_C, frame_beats_of
from experiments.music_generation.midi import DEFAULT_TEMPO, Score, read_midi, write_midi
from experiments.music_generation.model import Model, ModelParams, State, music_model
from experiments.music_generation.picture import draw_roll
from experiments.music_generation.rolls import NUM_KEYS, Roll, transpose
from experiments.music_generation.seeds import evaluated_params_of_each, initial_states
from experiments.music_generation.tonality import move_to_c


class Sampling(NamedTuple):
    """How a frame is drawn; hashable, for jit."""

    temperature: float
    min_notes: int
    max_notes: int


def sampling_of(config: Config) -> Sampling:
    """Return the sampling that a config asks for."""
    return Sampling(config.temperature, config.min_notes, config.max_notes)


def sample_frame(key: jax.Array, logits: jax.Array, sampling: Sampling) -> jax.Array:
    """Draw frames.

    Args:
      key: a random key; not used at temperature 0.
      logits: `[*B, 88]`.
      sampling: how.

    Returns:
      bool `[*B, 88]`.
    """
    if sampling.temperature == 0.0:
        drawn = logits > 0.0
    else:
        drawn = jax.random.bernoulli(key, jax.nn.sigmoid(logits / sampling.temperature))
    # The drawn keys first, and within these and the others the most probable first.
    by_logit = jnp.argsort(-logits, axis=-1, stable=True)
    is_drawn = jnp.take_along_axis(drawn, by_logit, axis=-1)
    order = jnp.take_along_axis(by_logit, jnp.argsort(~is_drawn, axis=-1, stable=True), axis=-1)
    place = jnp.argsort(order, axis=-1)  # of each key in that order
    return (drawn | (place < sampling.min_notes)) & (place < sampling.max_notes)


def compose(
    model: Model,
    params: ModelParams,
    given: Roll,
    length: int,
    sampling: Sampling,
    key: jax.Array,
) -> Roll:
    """Return the `length` frames that a model adds to those given.

    Args:
      model: the model.
      params: one model's parameters.
      given: `[N, 88]`, N >= 0; with none the model begins by itself.
      length: how many frames to add.
      sampling: how to draw them.
      key: a random key; frame i is drawn with `fold_in(key, i)`.

    Returns:
      uint8 `[length, 88]`.
    """
    silence = np.zeros((1, NUM_KEYS), np.uint8)
    x = jnp.asarray(np.concatenate([silence, given]), bool)
    frames = _run(model, params, x, length, sampling, key)
    return np.asarray(frames, np.uint8)


@partial(jax.jit, static_argnums=(0, 3, 4))
def _run(
    model: Model, params: ModelParams, x: jax.Array, length: int, sampling: Sampling, key: jax.Array
) -> jax.Array:
    """Return the frames `[length, 88]` that follow x `[1 + N, 88]`."""

    def read(state: State, frame: jax.Array) -> tuple[State, jax.Array]:
        state, logits = model.step(params, frame[None], state)
        return state, logits[0]

    def draw(
        carry: tuple[State, jax.Array], i: jax.Array
    ) -> tuple[tuple[State, jax.Array], jax.Array]:
        state, logits = carry
        frame = sample_frame(jax.random.fold_in(key, i), logits, sampling)
        return read(state, frame), frame

    state, logits = jax.lax.scan(read, model.initial_state(params, 1), x)
    _, frames = jax.lax.scan(draw, (state, logits[-1]), jnp.arange(length))
    return frames


class Composer(NamedTuple):
    """A trained model, ready to compose."""

    config: Config
    model: Model
    params: ModelParams


def load_composer(workdir: Path, warn: Callable[[str], None] = print) -> Composer:
    """Read a run's best checkpoint, and of its seeds the first.

    Raises:
      InputError: the folder holds no run, or no checkpoint that can be read.
    """
    config = config_from_dict(Config, read_run(workdir)["config"])
    model = music_model(config)
    target = jax.eval_shape(lambda: initial_states(config, model))
    state = restore_best(workdir, target, warn).state
    params = evaluated_params_of_each(state, config.ema_decay)
    return Composer(config, model, jax.tree.map(lambda leaf: leaf[0], params))


def read_seed(path: Path, config: Config, most_frames: int | None) -> Score:
    """Read the user's MIDI file as frames of a run's corpus.

    Raises:
      InputError: see `midi.read_midi`; or `most_frames` < 1.
    """
    if most_frames is not None and most_frames < 1:
        raise InputError(f"read_seed: --seed-frames must be >= 1, got {most_frames}")
    score = read_midi(path, frame_beats_of(config.data))
    return score._replace(roll=score.roll[:most_frames])


def write_piece(composer: Composer, path: Path, score: Score | None = None) -> Roll:
    """Compose a piece and write it as MIDI, and as a PNG beside it.

    Args:
      composer: the model; its config tells how long, how and with which seed.
      path: the .mid file to write.
      score: what to go on from; the file holds it, too. None: the model begins by itself.

    Returns:
      The whole roll.
    """
    config, frame_beats = composer.config, frame_beats_of(composer.config.data)
    given = score.roll if score else np.zeros((0, NUM_KEYS), np.uint8)
    octaves = IN_C.get(config.data, 0)
    read, shift = given, 12 * octaves
    if score and config.data in IN_C:
        read, shift, tonality = move_to_c(given, octaves)
        print(f"taken to be in {tonality}: read {shift:+d} semitones away, and moved back")
    key = jax.random.key(config.sample_seed)
    added = compose(
        composer.model, composer.params, read, config.sample_frames, sampling_of(config), key
    )
    roll = np.concatenate([given, transpose(added, -shift)])
    write_midi(path, roll, frame_beats, score.tempo if score else DEFAULT_TEMPO)
    title = f"{Path(config.data).name}: {config.num_layers} x {config.cell} {config.hidden_size}"
    if score:
        title += ", given (orange) and composed (blue)"
    picture = path.with_suffix(".png")
    draw_roll(picture, roll, num_given=len(given), frame_beats=frame_beats, title=title)
    return roll

"""Composing: read what is given, then each drawn frame back in.

    x_{t+1,k} ~ Bernoulli(σ(logit_{t,k} / temperature))        each of the 88 keys by itself

A Bernoulli draw a key gives, now and then, more voices than there are, or fewer.
`max_notes` keeps the most probable of the keys that were drawn, and `min_notes` adds the
most probable of those that were not.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import deeprnn_jax as drnn
from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.music_generation.config import Config
from experiments.music_generation.midi import (
    DEFAULT_TEMPO,
    MIDI_SUFFIXES,
    Score,
    read_midi,
    write_midi,
)
from experiments.music_generation.model import Model, Params
from experiments.music_generation.picture import draw_roll
from experiments.music_generation.rolls import NUM_KEYS, Roll, transpose
from experiments.music_generation.tonality import move_to_c


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    generate: bool = False
    """Compose with a trained model, instead of training: with the first of its seeds."""
    seed_midi: Path | None = None
    """A MIDI file to go on from; --generate without it begins from nothing."""
    seed_frames: int | None = None
    """Read so many frames of that file, else all of them."""
    output: Path | None = None
    """The .mid file to write, with a .png beside it; else composed.mid in the run's folder."""

    def __post_init__(self) -> None:
        """Refuse what cannot be composed.

        Raises:
          InputError: names the option.
        """
        super().__post_init__()
        if self.output is not None and self.output.suffix.lower() not in MIDI_SUFFIXES:
            raise InputError(f"generate: --output must end in .mid, got {self.output}")
        if self.seed_frames is not None and self.seed_frames < 1:
            raise InputError(f"generate: --seed-frames must be >= 1, got {self.seed_frames}")


def use(task: Task, trained: Trained) -> None:
    """Write a piece with a run's best model, and say where.

    Raises:
      InputError: a MIDI file that cannot be used, or no place to write to.
    """
    output, score = task.output or trained.folder / "composed.mid", None
    if task.seed_midi is not None:
        if output.resolve() == task.seed_midi.resolve():
            raise InputError(
                f"generate: --output {output} would overwrite --seed-midi; name another"
            )
        score = read_midi(task.seed_midi, trained.facts["frame_beats"])
        score = score._replace(roll=score.roll[: task.seed_frames])
        for what in score.left_out:
            command.to_stderr(f"left out of {task.seed_midi}: {what}")
        print(f"{task.seed_midi}: {len(score.roll):,} frames", flush=True)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        roll = write_piece(trained, output, score)
    except OSError as error:
        raise InputError(f"generate: cannot write {output}: {error}") from error
    composed = trained.config.sample_frames
    print(f"{len(roll) - composed:,} frames given and {composed:,} composed: {output}")
    print(f"as a picture: {output.with_suffix('.png')}")


def write_piece(trained: Trained, path: Path, score: Score | None = None) -> Roll:
    """Compose a piece with the first seed's model, write it as MIDI and PNG, and return it.

    Args:
      trained: the models; their config tells how long, how and with which seed.
      path: the .mid file to write; the picture lies beside it.
      score: what to go on from; the file holds it, too. None: the model begins by itself.
    """
    config = trained.config
    frame_beats, octaves = trained.facts["frame_beats"], trained.facts["octaves"]
    given = score.roll if score else np.zeros((0, NUM_KEYS), np.uint8)
    read, shift = given, 12 * (octaves or 0)
    if score and octaves is not None:
        read, shift, tonality = move_to_c(given, octaves)
        print(f"taken to be in {tonality}: read {shift:+d} semitones away, and moved back")
    params = jax.tree.map(lambda leaf: leaf[0], trained.params)
    added = compose(trained.model, params, read, config)
    roll = np.concatenate([given, transpose(added, -shift)])
    write_midi(path, roll, frame_beats, score.tempo if score else DEFAULT_TEMPO)
    title = f"{Path(config.data).name}: {config.num_layers} x {config.cell} {config.hidden_size}"
    if score:
        title += ", given (orange) and composed (blue)"
    draw_roll(path.with_suffix(".png"), roll, len(given), frame_beats, title)
    return roll


def compose(model: Model, params: Params, given: Roll, config: Config) -> Roll:
    """Return the frames that a model adds to those given, uint8 `[sample_frames, 88]`.

    Args:
      model: the model.
      params: one model's parameters.
      given: `[N, 88]`, N >= 0; with none the model begins by itself.
      config: `sample_frames`, how to draw them, and from which seed: frame i with
        `fold_in(key, i)`.
    """
    x = jnp.asarray(np.pad(given, ((1, 0), (0, 0)))[:, None], bool)  # silence first: [1 + N, 1, 88]
    key = jax.random.key(config.sample_seed)

    @jax.jit
    def run(params: Params, x: jax.Array) -> jax.Array:
        def draw(carry: Any, i: jax.Array) -> tuple[Any, jax.Array]:
            state, logits = carry
            frame = sample_frame(jax.random.fold_in(key, i), logits, config)
            return model.step(params, frame, state), frame

        state, logits = model.apply(params, x, model.initial_state(params, 1))
        _, frames = drnn.scan(draw, (state, logits[-1]), jnp.arange(config.sample_frames))
        return frames[:, 0]

    return np.asarray(run(params, x), np.uint8)


def sample_frame(key: jax.Array, logits: jax.Array, config: Config) -> jax.Array:
    """Draw frames, bool `[*B, 88]`, of logits `[*B, 88]`; without the key at temperature 0."""
    if config.temperature == 0.0:
        drawn = logits > 0.0
    else:
        drawn = jax.random.bernoulli(key, jax.nn.sigmoid(logits / config.temperature))
    # The drawn keys first, and within these and the others the most probable first.
    place = jnp.argsort(jnp.lexsort((-logits, ~drawn), axis=-1), axis=-1)  # of each key
    return (drawn | (place < config.min_notes)) & (place < config.max_notes)

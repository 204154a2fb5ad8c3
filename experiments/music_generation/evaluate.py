"""How well models predict whole pieces: every frame from the second on, once.

    nats of a frame = Σ_k -log p(key k | the frames before)

A piece's first frame is not counted, as nothing but a silent frame comes before it. Two
means are in use, and both are reported:

- `frames`: over all counted frames of a split, long pieces weighing more. That is what
  Bai et al. 2018 publish (their code sums over pieces and divides by the frames), and
  what we call the NLL.
- `pieces`: over the means of the pieces, each weighing the same.

The pieces are sorted by length and read side by side, a chunk of frames at a time with
the state carried on: one shape, compiled once, for pieces of any length.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.music_generation.model import Model, ModelParams, State, frame_nats
from experiments.music_generation.rolls import NUM_KEYS, Roll

_CHUNK = 64  # frames a compiled call runs over
_ROWS = 32  # pieces side by side

ScoreFn = Callable[[ModelParams, State, Any, Any, Any], tuple[State, jax.Array]]


class Nll(NamedTuple):
    """Nats a frame of each of S models, float64 `[S]`."""

    frames: NDArray[np.float64]  # over all frames
    pieces: NDArray[np.float64]  # over the pieces' means


def mean_nll(nats: NDArray[np.float64], lengths: Sequence[int]) -> Nll:
    """Return both means.

    Args:
      nats: `[..., N]`, the sum over each piece's frames 2 to T.
      lengths: T of each of N pieces, >= 2.
    """
    counted = np.array(lengths) - 1
    return Nll(nats.sum(axis=-1) / counted.sum(), (nats / counted).mean(axis=-1))


class Group(NamedTuple):
    """Pieces that are read side by side; rows without a piece have length 0."""

    pieces: list[int]
    x: Roll  # [T, B, 88], T a multiple of the chunk
    labels: Roll  # [T, B, 88]
    lengths: NDArray[np.int32]  # [B]


def lay_out(pieces: Sequence[Roll]) -> list[Group]:
    """Put pieces side by side with others of similar length."""
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
    groups = []
    for start in range(0, len(order), _ROWS):
        mine = order[start : start + _ROWS]
        frames = -(-len(pieces[mine[-1]]) // _CHUNK) * _CHUNK
        x = np.zeros((frames, _ROWS, NUM_KEYS), np.uint8)
        labels, lengths = np.zeros_like(x), np.zeros(_ROWS, np.int32)
        for row, i in enumerate(mine):
            lengths[row] = len(pieces[i])
            labels[: len(pieces[i]), row] = pieces[i]
            x[1 : len(pieces[i]), row] = pieces[i][:-1]
        groups.append(Group(mine, x, labels, lengths))
    return groups


def make_score(model: Model) -> ScoreFn:
    """Return the compiled `(params, state, x, labels, lengths) -> (state, nats [S, T, B])`.

    params and state have a leading S axis; the pieces are the same for all S models.
    """

    def score(
        params: ModelParams, state: State, x: jax.Array, labels: jax.Array, lengths: jax.Array
    ) -> tuple[State, jax.Array]:
        state, logits = model.apply(params, x, state, lengths)
        return state, frame_nats(logits, labels)

    return jax.jit(jax.vmap(score, in_axes=(0, 0, None, None, None)))


def evaluate(model: Model, score: ScoreFn, params: ModelParams, pieces: Sequence[Roll]) -> Nll:
    """Return the nats a frame of S models on a split, without dropout.

    Args:
      model: the model, for its initial state.
      score: `make_score(model)`, made once so that it is compiled once.
      params: the parameters, each leaf `[S, ...]`.
      pieces: rolls `[T, 88]`, T >= 2.

    Returns:
      The means; nats are float32 a frame and summed in float64.
    """
    first = jax.vmap(lambda p: model.initial_state(p, _ROWS))
    num_models = jax.tree.leaves(params)[0].shape[0]
    nats = np.zeros((num_models, len(pieces)))
    for group in lay_out(pieces):
        state, sums = first(params), np.zeros((num_models, _ROWS))
        for start in range(0, len(group.x), _CHUNK):
            part = slice(start, start + _CHUNK)
            left = np.clip(group.lengths - start, 0, _CHUNK)
            state, found = score(
                params, state, jnp.asarray(group.x[part]), jnp.asarray(group.labels[part]), left
            )
            t = start + np.arange(_CHUNK)[:, None]
            counted = (t >= 1) & (t < group.lengths)  # [T, B]
            sums += np.where(counted, np.asarray(found, np.float64), 0.0).sum(axis=1)
        nats[:, group.pieces] = sums[:, : len(group.pieces)]
    return mean_nll(nats, [len(piece) for piece in pieces])

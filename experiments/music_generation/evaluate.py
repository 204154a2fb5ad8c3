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

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.music_generation.model import Model, Params, State, frame_nats
from experiments.music_generation.rolls import NUM_KEYS, Roll

_CHUNK = 64  # frames a compiled call runs over
_ROWS = 32  # pieces side by side


class Nll(NamedTuple):
    """Nats a frame of each of S models, float64 `[S]`."""

    frames: NDArray[np.float64]  # over all frames
    pieces: NDArray[np.float64]  # over the pieces' means


def deviation(values: NDArray[np.float64]) -> float:
    """Return the deviation of a sample (the divisor is n - 1); 0 of a single value."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def nll_of(model: Model, params: Params, pieces: Sequence[Roll]) -> Nll:
    """Return the nats a frame of S models on a split, without dropout, summed in float64.

    Args:
      model: the model; one compiled call serves all evaluations of the same one.
      params: the parameters, each leaf `[S, ...]`.
      pieces: rolls `[T, 88]`, T >= 2.
    """
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
    nats = np.zeros((len(jax.tree.leaves(params)[0]), len(pieces)))
    for first in range(0, len(order), _ROWS):
        mine = order[first : first + _ROWS]
        nats[:, mine] = _nats_of(model, params, [pieces[i] for i in mine])
    counted = np.array([len(piece) - 1 for piece in pieces])
    return Nll(nats.sum(axis=1) / counted.sum(), (nats / counted).mean(axis=1))


def _nats_of(model: Model, params: Params, pieces: Sequence[Roll]) -> NDArray[np.float64]:
    """Return the nats `[S, N]` of N pieces side by side, at most `_ROWS`, the longest last."""
    lengths = np.zeros(_ROWS, np.int32)  # rows without a piece have length 0
    chunks = -(-len(pieces[-1]) // _CHUNK)
    frames = np.zeros((1 + chunks * _CHUNK, _ROWS, NUM_KEYS), np.uint8)  # silence first
    for row, piece in enumerate(pieces):
        lengths[row] = len(piece)
        frames[1 : 1 + len(piece), row] = piece
    state = jax.vmap(lambda p: model.initial_state(p, _ROWS))(params)
    total: NDArray[np.float64] = np.zeros(())
    for start in range(0, chunks * _CHUNK, _CHUNK):
        left = np.clip(lengths - start, 0, _CHUNK)
        state, nats = _score(model, params, state, frames[start : start + _CHUNK + 1], left)
        t = start + np.arange(_CHUNK)[:, None]
        counted = (t >= 1) & (t < lengths)  # [T, B]
        total = total + np.where(counted, np.asarray(nats, np.float64), 0.0).sum(axis=1)
    return total[:, : len(pieces)]


@partial(jax.jit, static_argnums=0)
def _score(
    model: Model, params: Params, state: State, frames: jax.Array, lengths: jax.Array
) -> tuple[State, jax.Array]:
    """Return the states of S models after frames `[1 + T, B, 88]`, and the nats `[S, T, B]`.

    The first frame is only read.
    """

    def of_one(params: Params, state: State) -> tuple[State, jax.Array]:
        state, logits = model.apply(params, frames[:-1], state, lengths)
        return state, frame_nats(logits, jnp.asarray(frames[1:]))

    return jax.vmap(of_one)(params, state)

"""What another library computed, live or stored, and the check that we compute the same."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

GOLDEN = Path(__file__).parent / "golden"


class Recorded(NamedTuple):
    """One run over a ragged batch, time-major, states in the library's own form.

    `dx` and `dstate` are the gradients of sum(w_y * y) + sum(w_final * final).
    """

    weights: dict[str, np.ndarray]
    x: np.ndarray  # [T, B, I]
    lengths: np.ndarray  # [B]
    state: tuple[np.ndarray, ...]
    w_y: np.ndarray
    w_final: tuple[np.ndarray, ...]
    y: np.ndarray
    final: tuple[np.ndarray, ...]
    dx: np.ndarray
    dstate: tuple[np.ndarray, ...]


def save(path: Path, runs: dict[str, Recorded]) -> None:
    """Store runs by case, each array under "case:field:key"."""
    arrays = {}
    for case, run in runs.items():
        for field, value in run._asdict().items():
            entries = dict(enumerate(value)) if isinstance(value, tuple) else value
            entries = entries if isinstance(entries, dict) else {"": value}
            arrays |= {f"{case}:{field}:{key}": array for key, array in entries.items()}
    np.savez_compressed(path, **arrays)


def load(path: Path, case: str) -> Recorded:
    """Give a stored run."""
    fields: dict[str, dict[str, np.ndarray]] = {name: {} for name in Recorded._fields}
    with np.load(path) as stored:
        for name in stored.files:
            owner, field, key = name.split(":")
            if owner == case:
                fields[field][key] = stored[name]

    def unpack(name: str, entries: dict[str, np.ndarray]) -> Any:
        if name == "weights":
            return entries
        return entries[""] if "" in entries else tuple(entries.values())

    return Recorded(**{name: unpack(name, entries) for name, entries in fields.items()})


def assert_agrees(rnn, params, run: Recorded, to_state, tolerance=1e-5) -> None:
    """Compare outputs, final states and the gradients of input and state.

    Args:
      rnn: the converted network.
      params: its parameters.
      run: what the other library computed.
      to_state: makes a network's state of `run.state` and the like.
      tolerance: absolute and relative.
    """
    w_y, w_final = run.w_y, to_state(run.w_final)

    @jax.jit
    def program(params, x, state, lengths):
        def loss(x, state):
            final, y = rnn.apply(params, x, state, lengths=lengths)
            terms = jax.tree.map(jnp.vdot, (w_y, w_final), (y, final))
            return sum(jax.tree.leaves(terms)), (y, final)

        (dx, dstate), (y, final) = jax.grad(loss, (0, 1), has_aux=True)(x, state)
        return {"y": y, "final": final, "dx": dx, "dstate": dstate}

    got = program(params, run.x, to_state(run.state), run.lengths)
    expected = {
        "y": run.y,
        "final": to_state(run.final),
        "dx": run.dx,
        "dstate": to_state(run.dstate),
    }
    assert_close(got, expected, tolerance)


def assert_close(got, expected, tolerance=1e-5) -> None:
    """Compare two trees: structure, dtypes and values."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(expected), strict=True
    ):
        name = jax.tree_util.keystr(path)
        assert a.dtype == b.dtype, name
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


def random_like(rng, tree, scale=0.5):
    """Give normal values in the shapes and dtypes of a tree, biases among them."""
    return jax.tree.map(
        lambda a: np.asarray(rng.normal(size=a.shape) * scale, np.dtype(str(a.dtype))), tree
    )

"""Haiku's cores with random weights and biases, run one layer after the other."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.interop.recorded import Recorded, random_like

T, B, I = 6, 3, 3  # noqa: E741
CASES = {"lstm": ("LSTM", [4, 4, 2]), "gru": ("GRU", [4, 3])}
STORED = tuple(CASES)


class Cores(NamedTuple):
    """Haiku modules, as functions of one layer's parameters."""

    names: list[str]  # of the modules that hold the arrays
    params: Any
    run: Any  # (params, x, states) -> (y, final)


def build(name: str) -> Cores:
    """Give a stack of cores and parameters for them, no bias zero."""
    import haiku as hk

    kind, sizes = CASES[name]

    def run(x, states):
        cores = [getattr(hk, kind)(size) for size in sizes]
        y, final = x, []
        for core, state in zip(cores, states, strict=True):
            y, after = hk.dynamic_unroll(core, y, state)
            final.append(after)
        return y, final

    transformed = hk.without_apply_rng(hk.transform(run))
    shapes = jax.eval_shape(
        transformed.init, jax.random.key(0), jnp.zeros((T, B, I)), zero_states(name, hk.LSTMState)
    )
    params = random_like(np.random.default_rng(3), dict(shapes))
    stem, leaf = kind.lower(), "/linear" if kind == "LSTM" else ""
    names = [f"{stem}{f'_{i}' if i else ''}{leaf}" for i in range(len(sizes))]
    return Cores(names, params, transformed.apply)


def zero_states(name: str, pair: Any) -> list[Any]:
    kind, sizes = CASES[name]
    zeros = [jnp.zeros((B, size)) for size in sizes]
    return [pair(leaf, leaf) for leaf in zeros] if kind == "LSTM" else zeros


def record(cores: Cores) -> Recorded:
    """Run a stack on whole rows, with gradients."""
    import haiku as hk

    rng = np.random.default_rng(7)
    name = "lstm" if "w" in cores.params[cores.names[0]] else "gru"

    @jax.jit
    def with_gradients(x, states, w_y, w_final):
        (y, final), vjp = jax.vjp(lambda *a: cores.run(cores.params, *a), x, states)
        return y, final, vjp((w_y, w_final))

    x = random_like(rng, jnp.zeros((T, B, I)), 1)
    states = random_like(rng, zero_states(name, hk.LSTMState), 1)
    shapes = jax.eval_shape(cores.run, cores.params, x, states)
    w_y, w_final = random_like(rng, shapes, 1)
    y, final, (dx, dstates) = with_gradients(x, states, w_y, w_final)

    def flat(tree):
        return tuple(np.asarray(leaf) for leaf in jax.tree.leaves(tree))

    return Recorded(
        weights={f"{n}.{k}": v for n in cores.names for k, v in cores.params[n].items()},
        x=x,
        lengths=np.full(B, T),
        state=flat(states),
        w_y=w_y,
        w_final=flat(w_final),
        y=np.asarray(y),
        final=flat(final),
        dx=np.asarray(dx),
        dstate=flat(dstates),
    )


def modules_of(weights: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Give each module's arrays by name, in the order of the layers."""
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, value in weights.items():
        module, array = name.split(".")
        modules.setdefault(module, {})[array] = value
    return list(modules.values())

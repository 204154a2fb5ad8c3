"""Keras layers with random weights and biases, run under a mask, on JAX."""

import os
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.interop.recorded import Recorded

os.environ.setdefault("KERAS_BACKEND", "jax")

T, B, I = 5, 3, 3  # noqa: E741
Layer = tuple[str, dict[str, Any]]  # a class of keras.layers and its options
CASES: dict[str, tuple[list[Layer], str | None]] = {  # layers, merge_mode
    "simple": ([("SimpleRNN", {"units": 4, "activation": "relu"})], None),
    "lstm": ([("LSTM", {"units": 4, "recurrent_activation": "hard_sigmoid"})], None),
    "gru": ([("GRU", {"units": 4})], None),
    "gru_reset_before": ([("GRU", {"units": 4, "reset_after": False})], None),
    "no_bias": ([("GRU", {"units": 4, "use_bias": False})], None),
    "concat": ([("LSTM", {"units": 3}), ("LSTM", {"units": 3})], "concat"),
    "sum": ([("GRU", {"units": 3}), ("SimpleRNN", {"units": 4})], "sum"),
    "mul": ([("GRU", {"units": 4, "reset_after": False})], "mul"),
    "ave": ([("SimpleRNN", {"units": 4, "use_bias": False})], "ave"),
    "mixed": (
        [
            ("SimpleRNN", {"units": 4}),
            ("LSTM", {"units": 3, "activation": "elu"}),
            ("GRU", {"units": 2}),
        ],
        None,
    ),
}
STORED = ("lstm", "gru", "gru_reset_before", "sum")


def build(name: str, **options: Any) -> Any:
    """Give a list of built layers with weights drawn by NumPy, no bias zero."""
    import keras

    specs, merge_mode = CASES[name]
    options = dict.fromkeys(["kernel_initializer", "recurrent_initializer"], "zeros") | options
    rng = np.random.default_rng(list(name.encode()))
    layers, width = [], I
    for kind, settings in specs:
        flags = {"return_sequences": True, "return_state": True}
        layer = getattr(keras.layers, kind)(**settings, **flags, **options)
        layer.zero_output_for_mask = True
        if merge_mode is not None:
            layer = keras.layers.Bidirectional(layer, merge_mode=merge_mode)
        layer.build((None, None, width))
        for weight in layer.weights:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
        layers.append(layer)
        width = settings["units"] * (2 if merge_mode == "concat" else 1)
    return layers


def record(layers: list[Any], lengths=(5, 2, 0)) -> Recorded:
    """Run layers one after the other on a masked batch, with gradients."""
    rng = np.random.default_rng(7)
    mask = np.arange(T) < np.array(lengths)[:, None]

    def run(x, states):
        final = []
        y = jnp.swapaxes(x, 0, 1)
        for layer, state in zip(layers, states, strict=True):
            y, *after = layer(y, initial_state=state, mask=mask)
            final += after
        return jnp.swapaxes(y, 0, 1), tuple(final)

    def draw(shape):
        return rng.normal(size=shape).astype("float32")

    @jax.jit
    def with_gradients(x, states, w_y, w_final):
        (y, final), vjp = jax.vjp(run, x, states)
        return y, final, vjp((w_y, w_final))

    # Keras mixes dtypes, which the tests forbid
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        x = draw((T, B, I))
        states = [[draw((B, size)) for size in _state_sizes(layer)] for layer in layers]
        w_y, w_final = jax.tree.map(lambda a: draw(a.shape), jax.eval_shape(run, x, states))
        y, final, (dx, dstates) = with_gradients(x, states, w_y, w_final)
    flat = [tuple(np.asarray(leaf) for leaf in jax.tree.leaves(s)) for s in (states, dstates)]
    return Recorded(
        weights={
            str(i): np.asarray(w) for i, w in enumerate(w for one in layers for w in one.weights)
        },
        x=x,
        lengths=np.array(lengths),
        state=flat[0],
        w_y=w_y,
        w_final=w_final,
        y=np.asarray(y),
        final=tuple(np.asarray(leaf) for leaf in final),
        dx=np.asarray(dx),
        dstate=flat[1],
    )


def _state_sizes(layer: Any) -> list[int]:
    cells = [getattr(layer, "forward_layer", layer).cell] * (1 + hasattr(layer, "forward_layer"))
    return [size for cell in cells for size in np.ravel(cell.state_size).tolist()]


def stand_in(name: str, weights: dict[str, np.ndarray]) -> list[Any]:
    """Give objects that read as the layers did, where there is no Keras."""
    specs, merge_mode = CASES[name]
    arrays = iter(weights[str(index)] for index in range(len(weights)))
    defaults = {"use_bias": True, "reset_after": True}
    activations = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    layers = []
    for kind, settings in specs:
        functions = {k: _named(settings.get(k, name)) for k, name in activations.items()}
        pair = []
        for backwards in [False] if merge_mode is None else [False, True]:
            attributes = defaults | settings | functions
            names = ["kernel", "recurrent_kernel"] + ["bias"] * attributes["use_bias"]
            attributes |= {name: next(arrays) for name in names}
            cell = type(f"{kind}Cell", (), attributes)()
            pair.append(type(kind, (), {"cell": cell, "go_backwards": backwards})())
        merged = {"merge_mode": merge_mode, "forward_layer": pair[0], "backward_layer": pair[-1]}
        layers.append(pair[0] if merge_mode is None else type("Bidirectional", (), merged)())
    return layers


def _named(name: str) -> Any:
    """Give what has a Keras activation's name and module."""
    return types.SimpleNamespace(__name__=name, __module__="keras.src.activations.activations")

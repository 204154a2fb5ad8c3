"""Networks from and to Keras 3: SimpleRNN, LSTM, GRU, Bidirectional, stacks of them."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop import assembly
from deeprnn_jax.interop.keras_cells import layer_options, read_cell, write_weights
from deeprnn_jax.layers.layer import add, concatenate
from deeprnn_jax.parameters import DeepParams
from deeprnn_jax.types import Array, Params


def average(y_forward: Array, y_reverse: Array) -> Array:
    """Merge two directions by their mean, Keras's "ave"."""
    return (y_forward + y_reverse) / 2


_MERGES = {
    "concat": concatenate,
    "sum": add,
    "mul": jnp.multiply,
    "ave": average,
}


def from_keras(layer: Any) -> tuple[DeepRNN, DeepParams]:
    """Make a network and its parameters of Keras layers.

    The network is time-major, `[T, *B, I]`, where Keras is batch-major, and always
    gives the whole sequence: `return_sequences=False` is y at the last step, or the
    state. `apply(..., lengths=n)` or `mask` does what Keras's mask does, with zeros at
    masked steps (`zero_output_for_mask`), where Keras by default repeats the output.

    Args:
      layer: a built SimpleRNN, LSTM, GRU, an `RNN` of one of their cells, or a
        Bidirectional of these; or a list or `Sequential` of such, with Dropout of one
        rate between them, or none. Activations are Keras's own, or, where Keras runs
        on JAX, any function.

    Returns:
      The network and its parameters, in the layers' dtype and compute dtype.
      Regularisers, constraints and initialisers are not carried over.

    Raises:
      ValueError: if the layers do what a network does not: `go_backwards`, `stateful`,
        dropout inside a layer, directions with different settings.

    Example:
      >>> import keras                                           # doctest: +SKIP
      >>> from deeprnn_jax import interop                        # doctest: +SKIP
      >>> layer = keras.layers.LSTM(256)                         # doctest: +SKIP
      >>> layer.build((None, None, 64))                          # doctest: +SKIP
      >>> rnn, params = interop.from_keras(layer)                # doctest: +SKIP

    References:
      `keras.layers`, Keras 3; `reset_after=False` is Cho et al. 2014.
    """
    entries = getattr(layer, "layers", layer)
    entries = list(entries) if isinstance(entries, list | tuple) else [entries]
    recurrent, dropout = _take_dropout(entries)
    rows = [_directions_of(entry) for entry in recurrent]
    merge = _one("merge_mode", [getattr(entry, "merge_mode", "concat") for entry in recurrent])
    if merge not in _MERGES:
        raise ValueError(
            f"from_keras: merge_mode must be one of {sorted(_MERGES)}, got {merge!r}; join "
            "the outputs of two networks instead"
        )
    return assembly.assemble(
        "from_keras",
        [[read_cell(cell) for cell in row] for row in rows],
        merge=_MERGES[merge],
        dropout=dropout,
        compute_dtype=_one(
            "compute_dtype", [getattr(cell, "compute_dtype", None) for row in rows for cell in row]
        ),
    )


def to_keras(rnn: DeepRNN, params: DeepParams) -> Any:
    """Make a Keras model of a network.

    Args:
      rnn: a network of `elman`, `lstm` or `gru` layers, without readout and skips;
        two directions by "concat", "sum", `jnp.multiply`, or `average` of this module.
      params: its parameters.

    Returns:
      A `keras.Sequential`, from x `[B, T, I]` to y `[B, T, H]`: one layer a layer, with
      Dropout between them where the network has it. The layers are in its `layers`.

    Raises:
      ValueError: if Keras has no such layers.
      ImportError: if Keras is not installed.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn      # doctest: +SKIP
      >>> from deeprnn_jax import interop                        # doctest: +SKIP
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2)         # doctest: +SKIP
      >>> params = rnn.init(jax.random.key(0), input_size=3)     # doctest: +SKIP
      >>> model = interop.to_keras(rnn, params)                  # doctest: +SKIP
      >>> model(jnp.ones((32, 100, 3))).shape                    # doctest: +SKIP
      (32, 100, 8)
    """
    parts = assembly.take_apart("to_keras", "Keras", rnn, params)
    merge_mode, dropout = _merge_mode(rnn), rnn.plan.layers[0].dropout
    compute, policy = _dtypes(rnn, parts[0][0].params)
    kinds = [layer_options(row[0].cell) for row in parts]
    keras = assembly.import_library("to_keras", "keras")
    input_size = len(parts[0][0].params.w_x)
    model = keras.Sequential([keras.Input((None, input_size), dtype=compute)])
    for index, ((kind, options), row) in enumerate(zip(kinds, parts, strict=True)):
        layer = getattr(keras.layers, kind)(**options, return_sequences=True, dtype=policy)
        targets = [layer]
        if merge_mode is not None:
            layer = keras.layers.Bidirectional(layer, merge_mode=merge_mode, dtype=policy)
            targets = [layer.forward_layer, layer.backward_layer]
        if index > 0 and dropout > 0:
            model.add(keras.layers.Dropout(dropout, dtype=policy))
        model.add(layer)
        for target, part in zip(targets, row, strict=True):
            target.set_weights(write_weights(part))
    return model


def _take_dropout(entries: Sequence[Any]) -> tuple[list[Any], float]:
    """Give the layers that are not Dropout, and the one rate between all of them."""
    names = [type(entry).__name__ for entry in entries]
    recurrent = [e for e, name in zip(entries, names, strict=True) if name != "Dropout"]
    rates = [e.rate for e, name in zip(entries, names, strict=True) if name == "Dropout"]
    if not recurrent:
        raise ValueError(f"from_keras: needs one or more recurrent layers, got {names}")
    if not rates:
        return recurrent, 0.0
    shapes = [getattr(entry, "noise_shape", None) for entry in entries]
    is_between = names[1::2] == ["Dropout"] * (len(recurrent) - 1)
    if not is_between or len(set(rates)) > 1 or shapes != [None] * len(entries):
        raise ValueError(
            "from_keras: Dropout must be between all layers, with one rate and no noise_shape, "
            f"or nowhere, got {names} with rates {rates}; leave it out and apply it to y"
        )
    return recurrent, float(rates[0])


def _one(argument: str, values: Sequence[Any]) -> Any:
    """Give the value that all layers share, or raise ValueError."""
    found = sorted(set(map(str, values)))
    if len(found) != 1:
        raise ValueError(
            f"from_keras: all layers must have one {argument}, got {found}; convert them one "
            "at a time"
        )
    return values[0]


def _directions_of(entry: Any) -> list[Any]:
    """Give the Keras cells of a layer, one a direction."""
    if type(entry).__name__ == "Bidirectional":
        pair = [entry.forward_layer, entry.backward_layer]
        for one, backwards in zip(pair, [False, True], strict=True):
            _check_layer(one, go_backwards=backwards)
        return [one.cell for one in pair]
    _check_layer(entry, go_backwards=False)
    return [entry.cell]


def _check_layer(layer: Any, *, go_backwards: bool) -> None:
    """Raise ValueError if a layer is not recurrent, or runs as no network does."""
    name = type(layer).__name__
    if name not in ("SimpleRNN", "LSTM", "GRU", "RNN"):
        raise ValueError(
            "from_keras: layer must be SimpleRNN, LSTM, GRU, RNN, Bidirectional or Dropout, "
            f"got {name}; give the recurrent layers alone"
        )
    wanted = {"go_backwards": (go_backwards, "reverse x"), "stateful": (False, "hand the state on")}
    for option, (value, remedy) in wanted.items():
        if bool(getattr(layer, option, value)) != value:
            raise ValueError(
                f"from_keras: {name} must have {option}={value}, got {not value}; set it so "
                f"and {remedy} yourself"
            )


def _merge_mode(rnn: DeepRNN) -> str | None:
    """Give Keras's name of how the directions are joined; None with one direction."""
    merge = rnn.plan.merge
    if merge is None:
        return None
    for name, function in _MERGES.items():
        if merge is function:
            return name
    raise ValueError(
        f"to_keras: merge must be one of {sorted(_MERGES)}, got {merge!r}; use 'concat', 'sum', "
        "jnp.multiply or interop.keras.average"
    )


def _dtypes(rnn: DeepRNN, params: Params) -> tuple[str, str]:
    """Give the compute dtype and the name of Keras's dtype policy, or raise ValueError."""
    held, compute = str(params.w_x.dtype), str(rnn.plan.precision.compute)
    if held == compute:
        return compute, compute
    if held == "float32" and compute in ("bfloat16", "float16"):
        return compute, f"mixed_{compute}"
    raise ValueError(
        f"to_keras: parameters in {held} with products in {compute} are no dtype policy of "
        "Keras; use one dtype, or float32 with bfloat16 or float16"
    )

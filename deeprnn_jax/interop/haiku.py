"""Parameters from and to Haiku's hk.LSTM and hk.GRU, and its cores run by our loop.

hk.LSTM has one matrix for x and h together, gates in the order i, g, f, o, and adds
1 to f's sum at every step, where here the bias itself is larger. hk.GRU has the
order z, r, a, resets before the product, and its z takes the new state where ours
keeps the old one: h = (1 - z) ⊙ h + z ⊙ a. Since 1 - σ(x) = σ(-x), that gate's
weights change sign.
"""

import re
from collections.abc import Mapping, MappingView
from importlib import import_module
from typing import Any

import numpy as np

from deeprnn_jax.cells.gru import GRUParams, gru
from deeprnn_jax.cells.lstm import LSTMParams, lstm
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop import assembly
from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.layers.layer import Merge
from deeprnn_jax.parameters import DeepParams
from deeprnn_jax.recurrence.scan import with_recurrences
from deeprnn_jax.types import Cell

Module = Mapping[str, Any]  # one module's arrays by name
_GRU_NAME = re.compile(r"(.+?)(?:_(\d+))?")
_LSTM_NAME = re.compile(_GRU_NAME.pattern + "/linear")  # an LSTM's arrays are in its hk.Linear
_SWAP_GF = (0, 2, 1, 3)  # i, f, g, o to Haiku's i, g, f, o, and back
_SWAP_RZ = (1, 0, 2)  # r, z, n to Haiku's z, r, a, and back


def dynamic_unroll(
    core: Any,
    input_sequence: Any,
    initial_state: Any,
    time_major: bool = True,
    reverse: bool = False,
    return_all_states: bool = False,
    unroll: int = 1,
) -> tuple[Any, Any]:
    """Run a Haiku core over a sequence: `hk.dynamic_unroll`, with our `recurrence.scan`.

    Inside `hk.transform` or, with a core that is a function alone, outside.

    Args:
      core: an `hk.RNNCore`, or any function (inputs, state) -> (outputs, state).
      input_sequence: arrays `[T, ...]`, or `[B, T, ...]` unless time_major.
      initial_state: the state before the first step.
      time_major: whether time is the first axis, of outputs too.
      reverse: whether to go from the last step to the first.
      return_all_states: whether to return the state after every step, not the last alone.
      unroll: steps a turn of the loop.

    Returns:
      Outputs, and the state or states.

    Raises:
      ImportError: if Haiku is not installed.

    Example:
        def model(x):
            core = hk.LSTM(64)
            y, _ = interop.haiku.dynamic_unroll(core, x, core.initial_state(x.shape[1]))
            return y

    References:
      `haiku.dynamic_unroll`.
    """
    hk = assembly.import_library("dynamic_unroll", "haiku")
    stateful = import_module("haiku._src.stateful")  # what `hk.jit` is made with
    transform = with_recurrences
    if stateful.base.inside_transform():
        transform = stateful.thread_hk_state_in_kwargs(transform)

    def run(input_sequence: Any, initial_state: Any) -> tuple[Any, Any]:
        return hk.dynamic_unroll(
            core, input_sequence, initial_state, time_major, reverse, return_all_states, unroll
        )

    return transform(run)(input_sequence, initial_state)


def from_haiku(
    modules: Any, *, prefix: str | None = None, merge: str | Merge = "concat"
) -> tuple[DeepRNN, DeepParams]:
    """Make a network and its parameters of Haiku's.

    Args:
      modules: all that the init of `hk.transform` gives, if it is of one stack of hk.LSTM or
        of hk.GRU, which is taken in the order of its numbers: lstm, lstm_1, ... lstm_10. Or
        a list with one mapping a layer, or one alone: of an hk.LSTM what is under
        "lstm/linear", `{"w": [I+H, 4*H], "b": [4*H]}`; of an hk.GRU what is under "gru",
        `{"w_i": [I, 3*H], "w_h": [H, 3*H], "b": [3*H]}`. A tuple of two mappings, forward and
        reverse, makes a bidirectional layer. A list is taken as it is: do not give
        `list(params.values())`, which has lstm_10 before lstm_2.
      prefix: how the names of the stack begin, where there are other modules beside it, as
        "model/~/lstm", or its LSTMs have names of their own. Nothing is left out without it.
      merge: how two directions are joined, as in `deep_rnn`.

    Returns:
      The network and its parameters. hk.LSTM's state (hidden, cell) is its (h, c).

    Raises:
      ValueError: if the parameters are of another module, or of several whose order the names
        do not tell.

    Example:
      >>> import numpy as np
      >>> linear = {"w": np.zeros((3 + 8, 32), "float32"), "b": np.zeros(32, "float32")}
      >>> rnn, params = from_haiku({"model/lstm/linear": linear})
      >>> float(params.layers[0].cell.b[8])
      1.0

    References:
      `haiku.LSTM` and `haiku.GRU`; Zaremba et al. 2014, Chung et al. 2014.
    """
    if isinstance(modules, MappingView):
        raise ValueError(
            "from_haiku: modules must be a mapping or a list, got "
            f"{type(modules).__name__}, in which lstm_10 stands before lstm_2; give the mapping "
            "itself"
        )
    if prefix is not None and not isinstance(prefix, str):
        raise ValueError(
            f"from_haiku: prefix must be a str or None, got {prefix!r}; give how the names of the "
            "stack begin, as 'model/~/lstm'"
        )
    if _is_whole(modules):
        modules = _stack_of(modules, prefix or "")
    elif prefix is not None:
        raise ValueError(
            f"from_haiku: prefix must be None unless modules is the whole mapping, got {prefix!r}"
        )
    rows = assembly.rows_of("from_haiku", "modules", modules)
    parts = [[_read(module) for module in row] for row in rows]
    return assembly.assemble("from_haiku", parts, merge=merge)


def to_haiku(rnn: DeepRNN, params: DeepParams) -> list[Any]:
    """Give a network's parameters in the form of Haiku's modules.

    Args:
      rnn: a network of `lstm` or `gru(reset_after=False)` layers with tanh and sigmoid,
        without readout and skips.
      params: its parameters.

    Returns:
      A list with one mapping a layer, or a tuple of two, as in `from_haiku`. A cell
      without bias gets one of zeros.

    Raises:
      ValueError: if Haiku has no such cell.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=2)
      >>> layers = to_haiku(rnn, rnn.init(jax.random.key(0), input_size=3))
      >>> {"lstm/linear": layers[0], "lstm_1/linear": layers[1]}["lstm/linear"]["w"].shape
      (11, 32)
    """
    parts = assembly.take_apart("to_haiku", "Haiku", rnn, params)
    return assembly.unwrap([[_write(part) for part in row] for row in parts])


def _is_whole(modules: Any) -> bool:
    """Tell whether this is a mapping of modules, not one module's mapping of arrays."""
    inside = list(modules.values()) if isinstance(modules, Mapping) else []
    return bool(inside) and all(isinstance(one, Mapping) for one in inside)


def _stack_of(params: Mapping[str, Any], prefix: str) -> list[Module]:
    """Give the modules whose names begin with the prefix, in order: they must be one stack."""
    names = [name for name in params if name.startswith(prefix)]
    stack: dict[int, Module] = {}
    stems = set()
    for name in names:
        is_gru = "w_i" in params[name]
        match = (_GRU_NAME if is_gru else _LSTM_NAME).fullmatch(name)
        # under another name an hk.LSTM looks like any module with an hk.Linear: prefix says it
        if match and (is_gru or prefix or match[1].endswith("lstm")):
            stem, number = match.groups()
            stems.add(stem)
            stack[int(number or 0)] = params[name]
    # nothing else, no number twice or missing: then no order is guessed, nothing left out
    is_one = len(stems) == 1 and len(stack) == len(names)
    if not is_one or sorted(stack) != list(range(len(names))):
        raise ValueError(
            "from_haiku: modules must be one stack of hk.LSTM or hk.GRU, named lstm/linear, "
            f"lstm_1/linear, ... or gru, gru_1, ..., got {sorted(names or params)}; give "
            "prefix=..., how the names of the stack begin, or a list of its modules' mappings in "
            "the order in which x passes them"
        )
    return [stack[number] for number in sorted(stack)]


def _read(module: Module) -> Part:
    """Give the cell of one Haiku module and its parameters."""
    arrays: dict[str, Values] = {}
    if isinstance(module, Mapping):
        arrays = {n: np.asarray(a) for n, a in module.items() if hasattr(a, "shape")}
    shapes = {name: array.shape for name, array in arrays.items()}
    if set(arrays) == {"w", "b"} and _are_lstm(**shapes):
        w, b = (assembly.reorder_gates(arrays[name], _SWAP_GF) for name in ("w", "b"))
        size = b.size // 4
        w_x, w_h, b = w[:-size], w[-size:], b + _one_for_f(b)
        return Part(lstm(size), LSTMParams(w_x, w_h, b, w_p=None, peepholes=None))
    if set(arrays) == {"w_i", "w_h", "b"} and _are_gru(**shapes):
        ours = [assembly.reorder_gates(arrays[name], _SWAP_RZ) for name in ("w_i", "w_h", "b")]
        w_x, w_h, b = map(_negate_z, ours)
        cell = gru(b.size // 3, reset_after=False)
        return Part(cell, GRUParams(w_x, w_h, b, b_hn=None))
    raise ValueError(
        "from_haiku: a module must have w [I+H, 4*H] and b [4*H] (hk.LSTM's linear), or w_i, "
        f"w_h and b [3*H] (hk.GRU), got {shapes}; give one module's own mapping, as "
        "params['lstm/linear']"
    )


def _are_lstm(w: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Tell whether these are shapes of an hk.LSTM's linear."""
    size = b[0] // 4 if len(b) == 1 else 0
    return size > 0 and b == (4 * size,) and len(w) == 2 and w[0] > size and w[1] == 4 * size


def _are_gru(w_i: tuple[int, ...], w_h: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Tell whether these are shapes of an hk.GRU."""
    size = b[0] // 3 if len(b) == 1 else 0
    is_state = size > 0 and b == (3 * size,) and w_h == (size, 3 * size)
    return is_state and len(w_i) == 2 and w_i[1] == 3 * size


def _write(part: Part) -> dict[str, Values]:
    """Give Haiku's arrays of one layer in one direction."""
    _check_cell(part.cell)
    w_x, w_h, b = part.params.w_x, part.params.w_h, part.params.b
    if b is None:
        b = np.zeros_like(w_x[0])
    if part.cell.name == "gru":
        w_x, w_h, b = (assembly.reorder_gates(_negate_z(w), _SWAP_RZ) for w in (w_x, w_h, b))
        return {"w_i": w_x, "w_h": w_h, "b": b}
    w, b = np.concatenate([w_x, w_h]), b - _one_for_f(b)
    return {name: assembly.reorder_gates(a, _SWAP_GF) for name, a in [("w", w), ("b", b)]}


def _check_cell(cell: Cell) -> None:
    """Raise ValueError unless Haiku has the cell."""
    if cell.name == "elman":
        raise ValueError(
            "to_haiku: cell must be lstm or gru, got elman, which is not converted; copy its w_x, "
            "w_h and b into hk.VanillaRNN by hand"
        )
    assembly.require_plain_gates("to_haiku", "Haiku", cell, reset_after=False)


def _one_for_f(b: Values) -> Values:
    """Give what Haiku adds to the sums of b's gates i, f, g, o: 1 to f."""
    return np.repeat(np.array([0, 1, 0, 0], b.dtype), b.size // 4)


def _negate_z(w: Values) -> Values:
    """Give w `[..., 3*H]`, gates r, z, n, with the sign of z changed."""
    r, z, n = np.split(w, 3, axis=-1)
    return np.concatenate([r, -z, n], axis=-1)

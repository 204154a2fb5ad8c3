"""Networks from and to torch: nn.RNN, nn.LSTM, nn.GRU, their single-step cells and state dicts.

torch keeps each matrix transposed, `weight_ih [G*H, I]`, in the gate order of this
library, i, f, g, o and r, z, n. It has two biases where one does: b_ih + b_hh is
our b. Only the GRU's candidate needs both: b_hn is inside the reset gate's product.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.cells.elman import ElmanParams, elman
from deeprnn_jax.cells.gru import GRUParams, gru
from deeprnn_jax.cells.lstm import LSTMParams, lstm
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.interop import activations, assembly
from deeprnn_jax.interop.assembly import Part, Values
from deeprnn_jax.interop.torch_weights import Source, read_source, suffixes_of
from deeprnn_jax.layers.layer import concatenate
from deeprnn_jax.parameters import DeepParams
from deeprnn_jax.types import Cell, Params


def from_torch(
    module: Any,
    *,
    prefix: str | None = None,
    nonlinearity: str | None = None,
    dropout: float | None = None,
) -> tuple[DeepRNN, DeepParams]:
    """Make a network and its parameters of a recurrent torch module, or of its state dict.

    The module is only read, by the names of its attributes, so torch itself is not
    imported. The network is time-major, `[T, *B, I]`, whatever the module's
    `batch_first`; `apply(..., lengths=n)` does what a packed sequence does.

    Args:
      module: an `nn.RNN` (tanh or relu), `nn.LSTM` or `nn.GRU` of any depth and either
        direction, with or without bias, projection and dropout; or an `nn.RNNCell`,
        `nn.LSTMCell` or `nn.GRUCell`, which makes a network of one layer. It may be
        compiled, scripted, or in `DataParallel`. Or a state dict, of it or of a model that
        it is in: names to tensors or arrays, as from a checkpoint or a safetensors file. A
        traced layer is read as its state dict.
      prefix: of a state dict with several recurrent layers, what stands before the names of
        this one: `"encoder.lstm."`.
      nonlinearity: of a state dict of an `nn.RNN`, which does not say it: "tanh" or "relu".
      dropout: of a state dict, which does not say it; 0 unless given.

    Returns:
      The network and its parameters, in the module's dtype. Dropout is carried over,
      but not that of one layer, which drops nothing; it is on only where `apply` gets a
      key. The network's `init` draws as this library's cells do, not as torch.

    Raises:
      ValueError: if it is no recurrent layer, its weights are on the meta device, or float64
        without JAX's x64 mode; if a state dict has several and no prefix is given.

    Example:
      >>> import numpy as np
      >>> shapes = {"weight_ih_l0": (32, 3), "weight_hh_l0": (32, 8)}     # 4 * 8 rows: an LSTM
      >>> state_dict = {f"lstm.{name}": np.zeros(shape, "f") for name, shape in shapes.items()}
      >>> rnn, params = from_torch(state_dict)
      >>> params.layers[0].cell.w_x.shape
      (3, 32)
      >>> import torch, jax.numpy as jnp                         # doctest: +SKIP
      >>> from deeprnn_jax import interop                        # doctest: +SKIP
      >>> module = torch.nn.LSTM(64, 256, num_layers=2)          # doctest: +SKIP
      >>> rnn, params = interop.from_torch(module)               # doctest: +SKIP
      >>> state, y = rnn.apply(params, jnp.ones((100, 32, 64)))  # doctest: +SKIP

    References:
      The equations on the pages of `torch.nn.RNN`, `LSTM` and `GRU`.
    """
    source = read_source(module, prefix, nonlinearity, dropout)
    cell = _make_cell(source)
    parts = [
        [Part(cell, _read(source, cell, suffix)) for suffix in row]
        for row in suffixes_of(source.weights)
    ]
    return assembly.assemble("from_torch", parts, dropout=source.dropout)


def to_torch(rnn: DeepRNN, params: DeepParams, *, batch_first: bool = False) -> Any:
    """Make a torch module of a network.

    Args:
      rnn: a network of equal `elman` (tanh or relu), `lstm` or `gru` (reset after the
        product) layers, without readout and skips; two directions by concatenation.
      params: its parameters.
      batch_first: the module's option for its inputs.

    Returns:
      An `nn.RNN`, `nn.LSTM` or `nn.GRU`, in the parameters' dtype and in training mode,
      as torch's own constructors give it: call `eval()` to turn dropout off. It computes
      in that dtype too, whatever the network's `compute_dtype`. b is in b_ih, and b_hh
      is zero but for the GRU's b_hn.

    Raises:
      ValueError: if torch has no such module.
      ImportError: if torch is not installed.

    Example:
      >>> import jax, deeprnn_jax as drnn                        # doctest: +SKIP
      >>> from deeprnn_jax import interop                        # doctest: +SKIP
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2)         # doctest: +SKIP
      >>> params = rnn.init(jax.random.key(0), input_size=3)     # doctest: +SKIP
      >>> interop.to_torch(rnn, params)                          # doctest: +SKIP
      GRU(3, 8, num_layers=2)
    """
    parts = assembly.take_apart("to_torch", "torch", rnn, params)
    kind, options = _module_options(rnn)
    torch = assembly.import_library("to_torch", "torch")
    w_x = parts[0][0].params.w_x
    # made without values: the caller's torch random numbers stay as they were
    module = getattr(torch.nn, kind)(
        input_size=len(w_x),
        batch_first=batch_first,
        dtype=getattr(torch, str(w_x.dtype)),
        device="meta",
        **options,
    ).to_empty(device="cpu")
    weights = {}
    for index, directions in enumerate(parts):
        for part, direction in zip(directions, ["", "_reverse"], strict=False):
            for name, value in _write(part.params).items():
                tensor = torch.from_numpy(np.array(value, np.float64))
                weights[f"{name}_l{index}{direction}"] = tensor
    module.load_state_dict(weights)
    return module


def _make_cell(source: Source) -> Cell:
    """Give the cell that a torch module repeats: its sizes are those of the first layer."""
    weights = source.weights
    first = suffixes_of(weights)[0][0]
    use_bias = any(name.startswith("bias") for name in weights)
    projection = None
    rows, size = _weight(weights, f"weight_hh{first}").shape
    if any(name.startswith("weight_hr") for name in weights):
        projection, size = _weight(weights, f"weight_hr{first}").shape
    if rows in (3 * size, 4 * size) and source.nonlinearity is not None:
        raise ValueError(
            "from_torch: nonlinearity must be None for an LSTM or a GRU, which has its own, got "
            f"{source.nonlinearity!r}; it is of an nn.RNN's state dict alone"
        )
    if rows == 4 * size:
        return lstm(size, projection_size=projection, use_bias=use_bias)
    if rows == 3 * size:
        return gru(size, use_bias=use_bias)
    if rows != size:
        raise ValueError(
            f"from_torch: weight_hh{first} must be [G*H, H] with G 1, 3 or 4, got {(rows, size)}; "
            "is it of another layer?"
        )
    if source.nonlinearity not in ("tanh", "relu"):
        raise ValueError(
            "from_torch: nonlinearity must be 'tanh' or 'relu', as torch's RNN has them, got "
            f"{source.nonlinearity!r}; a state dict does not say it"
        )
    activation = activations.NAMED[source.nonlinearity]
    return elman(size, activation, use_bias=use_bias)


def _weight(weights: Mapping[str, Any], name: str) -> Any:
    """Give the tensor or array of that name."""
    if name not in weights:
        raise ValueError(
            f"from_torch: module must have {name}, got {sorted(weights)}; is it "
            "another library's? Of weight_norm and the like give the module, not its state dict"
        )
    if getattr(weights[name], "is_meta", False):
        raise ValueError(
            f"from_torch: {name} must hold values, got a tensor on the meta device; load the "
            "weights first, as in load_state_dict(..., assign=True)"
        )
    if name.startswith("weight") and len(weights[name].shape) != 2:
        raise ValueError(
            f"from_torch: {name} must be a matrix, got shape {tuple(weights[name].shape)}; is it "
            "another library's?"
        )
    return weights[name]


def _read(source: Source, cell: Cell, suffix: str) -> Params:
    """Give the parameters of one layer in one direction."""

    def weight(name: str) -> Values:
        return _to_numpy(_weight(source.weights, f"{name}{suffix}"))

    settings = cell.settings
    w_x, w_h = weight("weight_ih").T, weight("weight_hh").T
    b = b_hn = w_p = None
    if settings["use_bias"]:
        b_ih, b_hh = weight("bias_ih"), weight("bias_hh")
        if cell.name == "gru":
            size = cell.output_size
            b_hn = b_hh[2 * size :].copy()
            b_hh[2 * size :] = 0
        b = b_ih + b_hh
    if settings.get("projection_size"):
        w_p = weight("weight_hr").T
    params = {
        "elman": ElmanParams(w_x, w_h, b),
        "gru": GRUParams(w_x, w_h, b, b_hn),
        "lstm": LSTMParams(w_x, w_h, b, w_p, peepholes=None),
    }[cell.name]
    # b was summed in float64 and is rounded once, here
    return jax.tree.map(lambda leaf: leaf.astype(jnp.dtype(source.dtype)), params)


def _write(params: Params) -> dict[str, Values]:
    """Give torch's weights of one layer in one direction, without their suffix."""
    weights = {"weight_ih": params.w_x.T, "weight_hh": params.w_h.T}
    if params.b is not None:
        weights |= {"bias_ih": params.b, "bias_hh": np.zeros_like(params.b)}
    if getattr(params, "b_hn", None) is not None:
        weights["bias_hh"] = np.pad(params.b_hn, (2 * params.b_hn.size, 0))
    if getattr(params, "w_p", None) is not None:
        weights["weight_hr"] = params.w_p.T
    return weights


def _module_options(rnn: DeepRNN) -> tuple[str, dict[str, Any]]:
    """Give the torch class of a network and its options, or raise ValueError."""
    plan = rnn.plan
    every = [_layer_options(cell) for cell in plan.cells]
    if any(one != every[0] for one in every):
        raise ValueError(
            f"to_torch: all layers must be alike, got {every}; convert them one at a time"
        )
    if plan.merge not in (None, concatenate):
        raise ValueError(
            f"to_torch: merge must be 'concat', got {plan.merge!r}, which torch does not have"
        )
    kind, options = every[0]
    depth = len(plan.cells)
    options = options | {
        "num_layers": depth,
        "dropout": plan.layers[0].dropout if depth > 1 else 0.0,  # one layer drops nothing
        "bidirectional": plan.merge is not None,
    }
    return kind, options


def _layer_options(cell: Cell) -> tuple[str, dict[str, Any]]:
    """Give the torch class of a cell and its options, or raise ValueError."""
    settings = assembly.settings_of("to_torch", "torch", cell)
    options = {"hidden_size": settings["hidden_size"], "bias": settings["use_bias"]}
    if cell.name == "elman":
        name = activations.name_of(settings["activation"])
        if name not in ("tanh", "relu"):
            raise ValueError(
                "to_torch: elman must have activation tanh or relu, got "
                f"{settings['activation']!r}, which torch's RNN does not have"
            )
        return "RNN", options | {"nonlinearity": name}
    check = partial(assembly.require, "to_torch", "torch", cell)
    check_activation = partial(assembly.require_activation, "to_torch", "torch", cell)
    check_activation("gate_activation", "sigmoid")
    if cell.name == "gru":
        check_activation("activation", "tanh")
        check(reset_after=True)
        return "GRU", options
    check_activation("cell_activation", "tanh")
    check(peepholes=False, coupled=False)
    projection = settings["projection_size"] or 0
    if projection >= settings["hidden_size"]:
        raise ValueError(
            f"to_torch: lstm must have projection_size < hidden_size={settings['hidden_size']}, "
            f"got {projection}, which torch does not have"
        )
    return "LSTM", options | {"proj_size": projection}


def _to_numpy(tensor: Any) -> Values:
    """Give a tensor's or an array's values as a new float64 array."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu().double().numpy()
    return np.array(tensor, np.float64)

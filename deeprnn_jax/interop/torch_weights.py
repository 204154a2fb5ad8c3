"""What `from_torch` reads: the weights of a recurrent layer by torch's names.

A module and a state dict become the same thing, so that one reader serves both. A state
dict does not hold a module's options, but names and shapes tell nearly all of them.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from deeprnn_jax import checks

_KINDS = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
_FAMILIES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
_NAME = re.compile(rf"(.*\.)?((?:{'|'.join(_FAMILIES)})(?:_l\d+)?(?:_reverse)?)")


class Source(NamedTuple):
    """One recurrent layer of torch's, of any depth."""

    weights: dict[str, Any]  # tensors or arrays by name: weight_ih_l0 ...
    dtype: str  # of all of them
    nonlinearity: str | None  # of an RNN
    dropout: float


def read_source(
    module: Any, prefix: str | None, nonlinearity: str | None, dropout: float | None
) -> Source:
    """Give what a module or a state dict holds; the arguments are those of `from_torch`."""
    module = _unwrap(module)
    if isinstance(module, Mapping):
        rate = 0.0 if dropout is None else dropout
        checks.check_rate("from_torch", "dropout", rate)
        weights = _find(module, prefix)
        return Source(weights, _dtype_of(weights), nonlinearity, rate)
    weights = _weights_of(module)
    given = {"prefix": prefix, "nonlinearity": nonlinearity, "dropout": dropout}
    for argument, value in given.items():
        if value is not None:
            raise ValueError(
                f"from_torch: {argument} must be None for a module, which has its own, got "
                f"{value!r}; give it with a state dict, module.state_dict()"
            )
    has_own = _class_of(module).startswith("RNN")
    nonlinearity = getattr(module, "nonlinearity", None) if has_own else None
    rate = getattr(module, "dropout", 0.0)
    return Source(weights, _dtype_of(weights), nonlinearity, rate)


def suffixes_of(weights: Mapping[str, Any]) -> list[list[str]]:
    """Give what stands behind the names, one list a layer: one suffix a direction."""
    numbers = [int(number) for name in weights for number in re.findall(r"_l(\d+)", name)]
    if not numbers:
        return [[""]]  # a single-step cell
    directions = ["", "_reverse"] if any("_reverse" in name for name in weights) else [""]
    return [[f"_l{layer}{d}" for d in directions] for layer in range(max(numbers) + 1)]


def _unwrap(module: Any) -> Any:
    """Give what `torch.compile` and DataParallel wrap, and of a traced layer the state dict."""
    while True:
        if hasattr(module, "_orig_mod"):
            module = module._orig_mod
        elif type(module).__name__ in ("DataParallel", "DistributedDataParallel"):
            module = module.module
        else:
            break
    # tracing drops the options
    is_traced = hasattr(module, "original_name") and not hasattr(module, "hidden_size")
    return module.state_dict() if is_traced and _class_of(module) in _KINDS else module


def _class_of(module: Any) -> str:
    """Give the name of torch's class that a module is of, or else of its own."""
    # a scripted module is of another class, and says what it was
    names = [getattr(module, "original_name", ""), *(one.__name__ for one in type(module).__mro__)]
    return next((name for name in names if name in _KINDS), names[0] or names[1])


def _weights_of(module: Any) -> dict[str, Any]:
    """Give the weights of a recurrent module, or raise ValueError."""
    kind = _class_of(module)
    needed = ["hidden_size", "bias"]
    if not kind.endswith("Cell"):
        needed += ["num_layers", "bidirectional", "dropout"]
    if kind not in _KINDS or not all(hasattr(module, name) for name in needed):
        raise ValueError(
            f"from_torch: module must be one of torch.nn's {', '.join(_KINDS)}, or a state dict, "
            f"got {kind}; give the recurrent layer itself, or the state dict of what it is in"
        )
    suffixes = [""]
    if not kind.endswith("Cell"):
        directions = ["", "_reverse"] if module.bidirectional else [""]
        suffixes = [f"_l{layer}{d}" for layer in range(module.num_layers) for d in directions]
    names = [family + suffix for suffix in suffixes for family in _FAMILIES]
    found = {name: getattr(module, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _dtype_of(weights: Mapping[str, Any]) -> str:
    """Give the one dtype of all weights, or raise ValueError."""
    dtypes = {str(getattr(v, "dtype", None)).removeprefix("torch.") for v in weights.values()}
    if len(dtypes) != 1 or "None" in dtypes:
        raise ValueError(
            f"from_torch: all weights must have one dtype, got {sorted(dtypes)} in "
            f"{sorted(weights)}; cast the module first, or turn a quantised one back"
        )
    return dtypes.pop()


def _find(state_dict: Mapping[str, Any], prefix: str | None) -> dict[str, Any]:
    """Give the weights of the one recurrent layer in a state dict, or of that with the prefix."""
    layers: dict[str, dict[str, Any]] = {}
    for whole, value in state_dict.items():
        match = _NAME.fullmatch(str(whole))
        if match:
            before, name = match.groups()
            layers.setdefault(before or "", {})[name] = value
    if not layers:
        raise ValueError(
            "from_torch: a state dict must have a recurrent layer's weights, weight_ih_l0 and "
            f"the like, got {list(state_dict)[:6]}; of a checkpoint give the entry that is the "
            "state dict, as checkpoint['state_dict']"
        )
    if prefix is not None and not isinstance(prefix, str):
        raise ValueError(
            f"from_torch: prefix must be a str or None, got {prefix!r}; give what stands before "
            "the names of one layer, as 'encoder.lstm.'"
        )
    if prefix is None and len(layers) == 1:
        return next(iter(layers.values()))
    wanted = f"{prefix}." if prefix and not prefix.endswith(".") else prefix
    if wanted not in layers:
        raise ValueError(
            f"from_torch: prefix must be one of {sorted(layers)}, the recurrent layers in the "
            f"state dict, got {prefix!r}; convert them one at a time"
        )
    return layers[wanted]

"""ONNX's activation functions, by name and constants, and the functions of JAX that they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deeprnn_jax.checks import Activation
from deeprnn_jax.interop import activations
from deeprnn_jax.types import Array

_FUNCTIONS: dict[str, Any] = {
    "Affine": lambda x, alpha, beta: alpha * x + beta,
    "Elu": lambda x, alpha: jax.nn.elu(x, alpha),
    "HardSigmoid": lambda x, alpha, beta: jnp.clip(alpha * x + beta, 0, 1),
    "LeakyRelu": lambda x, alpha: jnp.where(x >= 0, x, alpha * x),
    "ScaledTanh": lambda x, alpha, beta: alpha * jnp.tanh(beta * x),
    "ThresholdedRelu": lambda x, alpha: jnp.where(x >= alpha, x, jnp.zeros_like(x)),
}
# alpha and beta where a node does not give them; None: it has to, since there is no default,
# or, for ThresholdedRelu, ONNX's is 1 and onnxruntime's 0
_DEFAULTS: dict[str, tuple[float | None, ...]] = {
    "Affine": (None, None),
    "Elu": (1.0,),
    "HardSigmoid": (0.2, 0.5),
    "LeakyRelu": (0.01,),
    "ScaledTanh": (None, None),
    "ThresholdedRelu": (None,),
}


@dataclass(frozen=True)
class OnnxActivation:
    """An activation function of ONNX that has constants; equal to another with the same."""

    name: str
    constants: tuple[float, ...]  # alpha, or alpha and beta

    def __call__(self, x: Array) -> Array:
        """Give the function's value, elementwise."""
        return _FUNCTIONS[self.name](x, *self.constants)


def _short(value: float) -> float:
    """Give the shortest number that a float32 attribute may have been written as."""
    return float(str(np.float32(value)))


# those that JAX has: a network then says so, and other libraries can have it
_OF_JAX: dict[tuple[str, tuple[float, ...]], Activation] = {
    ("Relu", ()): jax.nn.relu,
    ("Sigmoid", ()): jax.nn.sigmoid,
    ("Softplus", ()): jax.nn.softplus,
    ("Softsign", ()): jax.nn.soft_sign,
    ("Tanh", ()): jnp.tanh,
    ("Affine", (1.0, 0.0)): activations.linear,
    ("Elu", (1.0,)): jax.nn.elu,
    ("HardSigmoid", (_short(1 / 6), 0.5)): jax.nn.hard_sigmoid,
    ("LeakyRelu", (0.01,)): jax.nn.leaky_relu,
}
_OF_ONNX = {function: name for name, function in _OF_JAX.items()}
NAMES = sorted({name for name, _ in _OF_JAX} | set(_FUNCTIONS))


def read(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[Activation]:
    """Give the functions of a node's attributes.

    Args:
      names: `activations`.
      alphas: `activation_alpha`, one for each function that has an alpha, in their order.
      betas: `activation_beta`, likewise.

    Raises:
      ValueError: if a name is unknown, or a constant is missing or left over.
    """
    given = iter(alphas), iter(betas)
    found = [_read_one(name, given) for name in names]
    left = [list(one) for one in given]
    if any(left):
        raise ValueError(
            f"from_onnx: activation_alpha and activation_beta must have one value for each of "
            f"{list(names)} that has one, got {left} more; remove them"
        )
    return found


def _read_one(name: str, given: tuple[Iterator[float], Iterator[float]]) -> Activation:
    if name not in NAMES:
        raise ValueError(
            f"from_onnx: activations must be of {', '.join(NAMES)}, got {name!r}; write the "
            "cell with drnn.lstm(..., cell_activation=...) and the like"
        )
    defaults = _DEFAULTS.get(name, ())
    values = [next(one, default) for one, default in zip(given, defaults, strict=False)]
    if None in values:
        raise ValueError(
            f"from_onnx: {name} must have its activation_alpha, and activation_beta where it has "
            "one, got none: there is no default that all agree on; set them in the node"
        )
    constants = tuple(_short(value) for value in values if value is not None)
    return _OF_JAX.get((name, constants)) or OnnxActivation(name, constants)


def write(argument: str, activation: Activation) -> tuple[str, tuple[float, ...]]:
    """Give a function's name in ONNX and its constants, or raise ValueError."""
    if isinstance(activation, OnnxActivation):
        return activation.name, activation.constants
    known = activations.NAMED.get(activations.name_of(activation) or "", activation)
    try:
        return _OF_ONNX[known]
    except (KeyError, TypeError):  # TypeError: not hashable
        raise ValueError(
            f"to_onnx: {argument} must be one that ONNX has, {', '.join(NAMES)}, got "
            f"{activation!r}; it is part of what the network learnt and cannot be converted"
        ) from None

"""Initialisers of recurrent weights, drawn gate by gate and in float32.

An initialiser is a function `(key, shape, dtype) -> array`, as in
`jax.nn.initializers`, whose members all fit. A cell calls it once a gate, with
`[rows, H]` for a matrix and `[H]` for a vector, and lays the gates side by
side: a matrix `[H, 4H]` drawn whole as orthogonal would be so in none of its
gates.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.checks import Initializer, is_number
from deeprnn_jax.made import made_function
from deeprnn_jax.orthonormal import orthogonal as orthogonal
from deeprnn_jax.types import Array

zeros = jax.nn.initializers.zeros


@made_function
def glorot_uniform() -> Initializer:
    """Draw from U(±√(6 / (rows + columns))): `jax.nn.initializers.glorot_uniform`.

    Returns:
      An initialiser of matrices.

    References:
      Glorot and Bengio 2010, eq. 16.
    """
    return jax.nn.initializers.glorot_uniform()


@made_function
def uniform(bound: float | None = None) -> Initializer:
    """Draw from U(-bound, bound); the bound is 1/√H unless given.

    Args:
      bound: half the interval's width. None: 1/√(last axis), what torch gives
        every weight and bias of its recurrent layers.

    Returns:
      An initialiser.

    Raises:
      ValueError: if the bound is not above 0.
    """
    if bound is not None and not (is_number(bound) and bound > 0):
        raise ValueError(f"uniform: bound must be a number above 0, got {bound!r}")

    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        limit = 1.0 / math.sqrt(shape[-1]) if bound is None else bound
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


@made_function
def identity(scale: float = 1.0) -> Initializer:
    """Give `scale` times the identity matrix: the IRNN's recurrent weights.

    Args:
      scale: the diagonal's value.

    Returns:
      An initialiser for square matrices, and for vectors (a constant). It raises
      ValueError for a matrix that is not square.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.elman(8, jax.nn.relu, w_h_init=drnn.initializers.identity())

    References:
      Le, Jaitly and Hinton 2015, "A simple way to initialize recurrent networks
      of rectified linear units", section 3.
    """

    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        del key
        if len(shape) == 1:
            return jnp.full(shape, scale, dtype)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(
                f"identity: needs a square matrix, got shape {shape}; use it as "
                "w_h_init of a cell without a projection"
            )
        return scale * jnp.eye(shape[0], dtype=dtype)

    return init


@made_function
def chrono(t_max: float) -> Initializer:
    """Draw gate biases for memories of 1 to `t_max` steps, b = log U(1, t_max - 1).

    As the bias of a gate f that keeps the state, h_t ≈ f·h_{t-1}, it spreads the
    units' time constants 1 / (1 - f) over the range that the task needs.

    Args:
      t_max: the longest dependency expected, in steps; above 2.

    Returns:
      An initialiser of bias vectors. `lstm(forget_bias=chrono(t))` also gives the
      input gate the opposite bias, as the paper does.

    Raises:
      ValueError: if `t_max` is not above 2.

    References:
      Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", eq. 16.
    """
    if not (is_number(t_max) and t_max > 2):
        raise ValueError(f"chrono: t_max must be above 2 steps, got {t_max!r}")

    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jnp.log(jax.random.uniform(key, shape, dtype, 1.0, t_max - 1.0))

    return init


def constant_or(bias: float | Initializer) -> Initializer:
    """Make an initialiser of a constant; leave an initialiser as it is."""
    return bias if callable(bias) else jax.nn.initializers.constant(bias)


def per_gate(init: Initializer, key: Array, num_gates: int, shape: tuple[int, ...]) -> Array:
    """Draw each gate on its own and join them on the last axis.

    Args:
      init: the initialiser of one gate.
      key: a random key.
      num_gates: how many gates, G.
      shape: the shape of one gate, `[rows, H]` or `[H]`.

    Returns:
      float32 `[rows, G*H]` or `[G*H]`.
    """
    keys = jax.random.split(key, num_gates)
    # in a loop: one draw is compiled, in half the time of one of all gates by vmap
    gates = lax.map(lambda k: init(k, shape, jnp.float32), keys)
    gates = jnp.moveaxis(gates, 0, -2)
    return gates.reshape(*shape[:-1], num_gates * shape[-1])

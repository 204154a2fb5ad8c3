"""Layer normalisation of a cell's two projections."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.cells.units import GatedProjection, scale_units, standardize
from deeprnn_jax.checks import CellArgument
from deeprnn_jax.factories import factory
from deeprnn_jax.modifiers.lift import lift_params
from deeprnn_jax.precision import cast_floating
from deeprnn_jax.recurrence.jaxprs import trace
from deeprnn_jax.types import Array, Cell, Params, Projection, State, exported, read_input


@exported
class LayerNormParams(NamedTuple):
    """Parameters of `layer_norm`: the cell's, and a gain a unit of each projection."""

    cell: Params
    gain_x: Any  # [G*H], or a tree of such
    gain_h: Any


@factory
def layer_norm(cell: CellArgument, *, epsilon: float = 1e-5) -> Cell:
    """Normalise what a cell gets from its input and from its state.

        x_proj = LN(W_x x_t; α_x) + b          LN(z; α) = α ⊙ (z - mean z) / √(var z + ε)
        h_proj = LN(W_h h_{t-1}; α_h)

    Mean and variance are over all of the projection's units, [G*H]; of an image, at each pixel.

    Args:
      cell: a cell with the split, whose `project_input` is a product and a bias.
      epsilon: ε, added to the variance.

    Returns:
      The cell; parameters `LayerNormParams(cell, gain_x, gain_h)`.

    Raises:
      ValueError: if the cell has no `project_state`; from `init`, if its `project_input` is
        not affine in x.

    Example:
      >>> import jax, deeprnn_jax as drnn
      >>> cell = drnn.layer_norm(drnn.lstm(8))
      >>> cell.init(jax.random.key(0), 3).gain_h.shape
      (32,)

    References:
      Ba et al. 2016, eq. 20-22 and 29-31. Deviations: no β, since b already shifts the
      sum; c_t is not normalised on its way to h_t, which no modifier sees; the GRU's
      three gates are normalised together, with b_hn, where it has one, inside; the
      second product of a cell that resets before it is left as it is.
    """
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not epsilon > 0:
        raise ValueError(f"layer_norm: epsilon must be a number above 0, got {epsilon!r}")
    project_state = cell.project_state
    if project_state is None:
        raise ValueError(
            f"layer_norm: cell {cell.name!r} has no project_state to normalise; "
            "make it with split_cell"
        )

    def normalise(z: Array, gain: Array) -> Array:
        return scale_units(gain, standardize(z, epsilon))

    def init(key: Array, input_size: int) -> LayerNormParams:
        params = cast_floating(cell.init(key, input_size), jnp.float32)
        state = cast_floating(cell.initial_state(params, ()), jnp.float32)
        shape = (*cell.image_shape, input_size)
        _check_affine(cell, params, shape)
        x_proj = cell.project_input(params, jnp.zeros(shape, jnp.float32))
        h_proj = _products(project_state(params, state))
        gain_x, gain_h = jax.tree.map(
            lambda z: jnp.ones_like(z, shape=z.shape[-1:]), (x_proj, h_proj)
        )
        return LayerNormParams(params, gain_x, gain_h)

    def project_input(params: LayerNormParams, x: Array) -> Projection:
        # The bias is what no input gives: so it is found in any cell.
        shape = x.shape[x.ndim - 1 - len(cell.image_shape) :]
        bias = cell.project_input(params.cell, jnp.zeros_like(x, shape=shape))
        whole = cell.project_input(params.cell, x)
        bias = jax.tree.map(lambda z, b: lax.broadcast_to_rank(b, z.ndim), whole, bias)
        return jax.tree.map(
            lambda z, b, gain: normalise(z - b, gain) + b, whole, bias, params.gain_x
        )

    def project_state_normalised(params: LayerNormParams, state: State) -> Projection:
        h_proj = project_state(params.cell, state)
        normalised = jax.tree.map(normalise, _products(h_proj), params.gain_h)
        if isinstance(h_proj, GatedProjection):
            return h_proj._replace(gates=normalised)
        return normalised

    lifted = lift_params(cell)
    # not state_map: the mean is over all units
    return lifted._replace(
        init=init,
        project_input=project_input,
        project_state=project_state_normalised,
        output=cell.output,
    )


def _products(h_proj: Projection) -> Projection:
    """Leave out the state that a projection may carry along."""
    return h_proj.gates if isinstance(h_proj, GatedProjection) else h_proj


def _check_affine(cell: Cell, params: Params, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the derivative of `project_input` is the same at every x."""

    def push(x: Array, dx: Array) -> list[Array]:
        found = jax.jvp(lambda x: cell.project_input(params, x), (x,), (dx,))
        return jax.tree.leaves(found[1])

    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    consts: list[Array] = []
    jaxpr = trace(push, [x, x], consts)
    x_var = jaxpr.invars[len(consts)]
    if any(x_var in eqn.invars for eqn in jaxpr.eqns) or cell.project_input is read_input:
        raise ValueError(
            f"layer_norm: project_input of cell {cell.name!r} must be a product of x and a bias, "
            "which are told apart to normalise the first alone, but it is not affine in x; do in "
            "`update` what is not"
        )

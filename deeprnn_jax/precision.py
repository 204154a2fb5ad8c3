"""Where numbers are narrow and where they are wide.

Products take operands in `compute_dtype`; sums, gates and (unless asked otherwise)
states are float32, or wider where the operands are. The casts are at the products
themselves, so the gradient of a float32 weight is summed over time in float32 whatever
the products use.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.checks import check_initial_state
from deeprnn_jax.internals import JaxprEqn, conv_general_dilated_p, convolutions_may_widen
from deeprnn_jax.meshes import may_merge_axes
from deeprnn_jax.recurrence.jaxprs import Env, accumulation_dtype, dtype_of, evaluate
from deeprnn_jax.types import Array, Cell, Noise, Params, Projection, State

_PRODUCTS = ("dot_general", "conv_general_dilated")


class Precision(NamedTuple):
    """The dtypes of a network."""

    param: Any  # parameters as stored
    compute: Any  # operands of products, and y without a readout
    accumulate: Any  # sums, gates, and y with a readout
    state: Any  # the state between steps
    products: str | None  # how exactly an accelerator multiplies; None: as JAX is told to


def multiplying(products: str | None) -> AbstractContextManager[Any]:
    """Trace what is inside with products of this precision, but for those with their own."""
    return nullcontext() if products is None else jax.default_matmul_precision(products)


def cast_floating(tree: Any, dtype: Any) -> Any:
    """Cast the floating-point leaves; leave integers and flags as they are."""

    def cast(leaf: Array) -> Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)


def multiply(x: Array, w: Array, dtype: Any) -> Array:
    """Multiply x [..., K] by w [K, N], operands in `dtype`, summed in at least float32."""
    x, w, wide = x.astype(dtype), w.astype(dtype), accumulation_dtype(dtype)
    if x.ndim < 3 or not may_merge_axes():
        return jnp.matmul(x, w, preferred_element_type=wide)
    # XLA on CPU turns over what stands in a sum over two axes: a network with a readout of
    # 10,000 features has its gradient in 0.75 of the time so.
    found = jnp.matmul(lax.collapse(x, 0, -1), w, preferred_element_type=wide)
    return found.reshape(*x.shape[:-1], w.shape[-1])


def with_precision(cell: Cell, precision: Precision) -> Cell:
    """Give a cell whose products and states are of a network's dtypes.

    Args:
      cell: any cell. Products within a loop or a branch of its own, and those of a
        `jax.custom_jvp`, stay as they are.
      precision: the network's.

    Returns:
      The cell, for parameters in `precision.accumulate`.
    """
    wide = precision.accumulate

    def initial_state(params: Params, batch_shape: tuple[int, ...]) -> State:
        state = cell.initial_state(params, batch_shape)
        check_initial_state(cell, state, batch_shape)
        return cast_floating(jax.tree.map(jnp.asarray, state), precision.state)

    facts = {"output": cell.output, "state_map": cell.state_map}
    if precision.compute == precision.state == wide:
        return cell._replace(initial_state=initial_state, **facts)

    def narrow(function: Callable[..., Any] | None) -> Any:
        return function and _with_narrow_products(function, precision.compute)

    cell_project, cell_update = narrow(cell.project_input), narrow(cell.update)
    cell_project_state, cell_gates = narrow(cell.project_state), narrow(cell.gates)

    def project_input(params: Params, x: Array) -> Projection:
        return cell_project(params, x.astype(wide))

    def project_state(params: Params, state: State) -> Projection:
        return cell_project_state(params, cast_floating(state, wide))

    def update(
        params: Params, state: State, x_proj: Projection, h_proj: Projection, *noise: Noise
    ) -> tuple[State, Array]:
        state, y = cell_update(params, cast_floating(state, wide), x_proj, h_proj, *noise)
        return cast_floating(state, precision.state), y

    def gates(params: Params, state: State, x_proj: Projection, h_proj: Projection) -> Any:
        return cell_gates(params, cast_floating(state, wide), x_proj, h_proj)

    return cell._replace(
        initial_state=initial_state,
        project_input=project_input,
        project_state=cell.project_state and project_state,
        update=update,
        gates=cell.gates and gates,
        **facts,
    )


def _with_narrow_products(function: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """Cast the operands of a function's products to `dtype`; its sums keep their own."""

    def do(env: Env, eqn: JaxprEqn) -> None:
        if eqn.primitive.name not in _PRODUCTS:
            env.do(eqn)
            return
        operands, wide = cast_floating(env.read(eqn.invars), dtype), dtype_of(eqn.outvars[0])
        if eqn.primitive is conv_general_dilated_p and not convolutions_may_widen():
            operands = cast_floating(operands, wide)  # rounded all the same
        params = eqn.params | {"preferred_element_type": wide}
        env.assign(eqn.outvars, [eqn.primitive.bind(*operands, **params)])

    def run(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        found = evaluate(closed, jax.tree.leaves(args), do)
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return run

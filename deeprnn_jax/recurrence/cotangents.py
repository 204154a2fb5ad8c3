"""What comes after the backward loop: cotangents of what it read, pulled on to the inputs."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.internals import JaxprEqn, Var
from deeprnn_jax.recurrence.backward import Tangent, Transposed
from deeprnn_jax.recurrence.jaxprs import Env, as_function, dtype_of, operands_of, shape_of
from deeprnn_jax.recurrence.products import as_product, matrix_gradient, pull_rows
from deeprnn_jax.types import Array


class Cotangents(dict):
    """Cotangents by variable, added up."""

    def add(self, var: Var, value: Array) -> None:
        """Add to a variable's cotangent."""
        self[var] = jnp.add(self[var], value) if var in self else value


def collect(
    plan: Transposed,
    d_carry: dict[Var, Array],
    sums: Sequence[Array],
    stacks: Sequence[Array],
    d_ys: Sequence[Array],
) -> Cotangents:
    """Give the cotangents of what the loop read: of consts, and of all steps."""
    found = Cotangents(d_carry)

    def reduce(var: Var, total: Array) -> None:
        for eqn in plan.reductions[var]:
            (total,) = as_function(eqn)(total)
        found.add(var, total)

    for var, total in zip(plan.summed, sums, strict=True):
        reduce(var, total)
    for var, place in plan.places.items():
        if var in plan.tangent.invariant:
            reduce(var, jnp.sum(stacks[place], 0))
        else:
            found.add(var, stacks[place])
    for index, var in plan.direct.items():
        is_const = var in plan.tangent.invariant
        found.add(var, jnp.sum(d_ys[index], 0) if is_const else d_ys[index])
    return found


def pull_back(ops: Tangent, env: Env, cotangents: Cotangents) -> None:
    """Pull cotangents back through what was hoisted, and what depends on consts alone.

    Args:
      ops: the operations.
      env: the values of consts, and stacked ones of residuals, of `before` and of `after`.
      cotangents: of what the loop read; those of the step's inputs are added.
    """
    cast_from = {
        eqn.outvars[0]: eqn.invars[0]
        for eqn in ops.linear_fixed
        if eqn.primitive.name == "convert_element_type" and _is_wider(*eqn.invars, *eqn.outvars)
    }
    for eqn in reversed(ops.hoisted):
        if not any(var in cotangents for var in eqn.outvars):
            continue
        product = as_product(eqn, ops.invariant)
        if product is None:
            _pull_operation(eqn, ops, env, cotangents)
        elif product.matrix_var in ops.linear:
            # as wide as the matrix was before it was cast down for the product
            matrix: Any = cast_from.get(product.matrix_var, product.matrix_var)
            (rows,) = env.read([product.rows_var])
            found = matrix_gradient(product, rows, cotangents[eqn.outvars[0]], dtype_of(matrix))
            cotangents.add(matrix, found)
        else:
            (matrix,) = env.read([product.matrix_var])
            cotangents.add(product.rows_var, pull_rows(product, matrix, cotangents[eqn.outvars[0]]))
    for eqn in reversed(ops.linear_fixed):
        if any(var in cotangents for var in eqn.outvars):
            _pull_operation(eqn, ops, env, cotangents)


def _is_wider(before: Any, after: Any) -> bool:
    """Tell whether a real number was cast down."""
    are_real = all(jnp.issubdtype(dtype_of(var), jnp.floating) for var in (before, after))
    return are_real and dtype_of(before).itemsize >= dtype_of(after).itemsize


def _pull_operation(eqn: JaxprEqn, ops: Tangent, env: Env, cotangents: Cotangents) -> None:
    """Pull cotangents back through one operation, done for all steps at once or only once."""
    variables = operands_of(eqn)
    targets = [var for var in variables if var in ops.linear]
    axes = [None if var in ops.invariant else 0 for var in variables]
    one = next(var for var in eqn.outvars if var in cotangents)
    length = None if one in ops.invariant else cotangents[one].shape[0]

    def shape(var: Var) -> jax.ShapeDtypeStruct:
        front = () if var in ops.invariant else (length,)
        return jax.ShapeDtypeStruct((*front, *shape_of(var)), dtype_of(var))

    def push(*tangents: Array) -> list[Array]:
        given = dict(zip(targets, tangents, strict=True))
        operands = [given[var] if var in given else env[var] for var in variables]
        do = as_function(eqn)
        return (do if length is None else jax.vmap(do, axes, axis_size=length))(*operands)

    given = [
        cotangents[var] if var in cotangents else jnp.zeros(shape(var).shape, dtype_of(var))
        for var in eqn.outvars
    ]
    found: Iterable[Array] = jax.linear_transpose(push, *map(shape, targets))(given)
    for var, value in zip(targets, found, strict=True):
        cotangents.add(var, value)

"""Products with a matrix that does not change, and their derivatives.

Every one of them is written so that the operands lie as the machine wants them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn, Var
from jax.extend.core.primitives import dot_general_p

from deeprnn_jax.schedules.operations import bind, dtype_of, is_floating, shape_of
from deeprnn_jax.types import Array


class Product(NamedTuple):
    """A product of something varying with a fixed matrix."""

    eqn: JaxprEqn
    fixed: int  # which operand is the matrix, 0 or 1
    matrix: Var  # the matrix, before it was cast down for the product


def as_product(eqn: JaxprEqn, fixed: set[Var], eqns: Sequence[JaxprEqn]) -> Product | None:
    """Give a product with a fixed matrix, or None if this is none."""
    if eqn.primitive is not dot_general_p:
        return None
    sides = [side for side, var in enumerate(eqn.invars) if var in fixed]
    if len(sides) != 1:
        return None
    matrix: Any = eqn.invars[sides[0]]
    for maker in reversed(eqns):
        (operand,) = maker.invars if len(maker.invars) == 1 else (None,)
        if maker.primitive.name == "convert_element_type" and maker.outvars[0] is matrix:
            # its gradient is summed and kept as wide as the matrix itself
            if isinstance(operand, Var) and is_floating(operand):
                matrix = operand
            break
    return Product(eqn, sides[0], matrix)


def is_plain(product: Product) -> bool:
    """Tell whether this is rows `[B, K]` times a matrix `[K, N]`."""
    plain = (((1,), (0,)), ((), ()))
    ranks = [len(shape_of(var)) for var in product.eqn.invars]
    dimensions = product.eqn.params["dimension_numbers"]
    return product.fixed == 1 and ranks == [2, 2] and dimensions == plain


def varying_operand(product: Product) -> Any:
    """Give the operand that is not the matrix."""
    return product.eqn.invars[1 - product.fixed]


def precision_of(product: Product) -> Any:
    """Give what the cell's author asked of the product, which its derivatives keep to."""
    return product.eqn.params["precision"]


def cast_down(product: Product, matrix: Array) -> Array:
    """Give the matrix in the dtype in which it is multiplied."""
    return matrix.astype(dtype_of(product.eqn.invars[product.fixed]))


def multiply(env: dict, product: Product, matrix: Array) -> Array:
    """Do the product of one step."""
    matrix_var = product.eqn.invars[product.fixed]
    return bind(product.eqn, {**env, matrix_var: cast_down(product, matrix)})[0]


def multiply_stacked(product: Product, lefts: Array, matrix: Array) -> Array:
    """Multiply for all steps at once."""
    cast = cast_down(product, matrix)
    (contract_left, contract), (batch, _) = product.eqn.params["dimension_numbers"]
    if batch or product.fixed == 0:
        env = {product.eqn.invars[product.fixed]: cast}
        var = varying_operand(product)
        return jax.vmap(lambda left: bind(product.eqn, {**env, var: left})[0])(lefts)
    return lax.dot_general(
        lefts,
        cast,
        ((tuple(1 + a for a in contract_left), contract), ((), ())),
        precision=precision_of(product),
        preferred_element_type=dtype_of(product.eqn.outvars[0]),
    )


def multiply_stacked_for_vjp(product: Product, lefts: Array, matrix: Array) -> Array:
    """Do the same, with a derivative whose products lie well."""

    @jax.custom_vjp
    def multiply(lefts: Array, matrix: Array) -> Array:
        return multiply_stacked(product, lefts, matrix)

    def forward(lefts: Array, matrix: Array) -> tuple[Array, tuple]:
        return multiply_stacked(product, lefts, matrix), (lefts, matrix)

    def backward(residuals: tuple, cotangents: Array) -> tuple[Array, Array]:
        lefts, matrix = residuals
        transposed = transpose_matrix(product, matrix)
        rows = jax.vmap(lambda left, ct: pull_left(product, transposed, ct, left))
        return rows(lefts, cotangents), matrix_gradient(product, lefts, cotangents)

    multiply.defvjp(forward, backward)
    return multiply(lefts, matrix)


def transpose_matrix(product: Product, matrix: Array) -> Array:
    """Give the matrix as a cotangent is multiplied by it: batch, free, contracted axes."""
    batch, contract, free = _axes_of_matrix(product)
    return jnp.transpose(cast_down(product, matrix), (*batch, *free, *contract))


def pull_left(product: Product, transposed: Array, cotangent: Array, left: Array) -> Array:
    """Pull a result's cotangent back to the varying operand: one product."""
    batch, _, free = _axes_of_matrix(product)
    batch_left, contract_left, free_left = _axes_of_left(product)
    cotangent = jnp.transpose(cotangent, _result_axes(product))
    num_batch, num_left = len(batch), len(free_left)
    found = lax.dot_general(
        cotangent.astype(transposed.dtype),
        transposed,
        (
            (
                tuple(range(num_batch + num_left, cotangent.ndim)),
                tuple(range(num_batch, num_batch + len(free))),
            ),
            (tuple(range(num_batch)), tuple(range(num_batch))),
        ),
        precision=precision_of(product),
        preferred_element_type=dtype_of(product.eqn.outvars[0]),
    )
    # found: batch, free axes of the operand, contracted axes as they are paired
    axes = [*batch_left, *free_left, *contract_left]
    return jnp.transpose(found, sorted(range(len(axes)), key=axes.__getitem__)).astype(left.dtype)


def matrix_gradient(product: Product, lefts: Array, cotangents: Array) -> Array:
    """Give a matrix's gradient as one product over all steps.

    Args:
      product: the product.
      lefts: its varying operands, stacked `[T, ...]`.
      cotangents: of its results, stacked `[T, ...]`.
    """
    batch, contract, free = _axes_of_matrix(product)
    batch_left, contract_left, free_left = _axes_of_left(product)
    num_batch, num_left = len(batch), len(free_left)
    cotangents = jnp.transpose(cotangents, (0, *(1 + a for a in _result_axes(product))))
    # The operand goes first: XLA on CPU is two to five times slower the other way round,
    # which is what the derivative of a product would give.
    found = lax.dot_general(
        lefts,
        cotangents.astype(lefts.dtype),
        (
            (
                (0, *(1 + a for a in free_left)),
                (0, *range(1 + num_batch, 1 + num_batch + num_left)),
            ),
            (tuple(1 + a for a in batch_left), tuple(range(1, 1 + num_batch))),
        ),
        precision=precision_of(product),
        preferred_element_type=dtype_of(product.matrix),
    )
    # found: batch, contracted in the operand's order, free
    order = sorted(range(len(contract)), key=lambda position: contract_left[position])
    axes = [*batch, *(contract[position] for position in order), *free]
    return jnp.transpose(found, sorted(range(len(axes)), key=axes.__getitem__))


def _axes_of_matrix(product: Product) -> tuple[tuple[int, ...], ...]:
    """Give the matrix's batch, contracted and free axes; contracted ones as paired."""
    return _axes(product, product.fixed)


def _axes_of_left(product: Product) -> tuple[tuple[int, ...], ...]:
    """Give the same of the varying operand."""
    return _axes(product, 1 - product.fixed)


def _axes(product: Product, side: int) -> tuple[tuple[int, ...], ...]:
    contract, batch = product.eqn.params["dimension_numbers"]
    ndim = len(shape_of(product.eqn.invars[side]))
    taken = {*contract[side], *batch[side]}
    free = tuple(axis for axis in range(ndim) if axis not in taken)
    return tuple(batch[side]), tuple(contract[side]), free


def _result_axes(product: Product) -> tuple[int, ...]:
    """Give the order of the result's axes as batch, the operand's, the matrix's."""
    num_batch = len(_axes_of_matrix(product)[0])
    ndim = len(shape_of(product.eqn.outvars[0]))
    if product.fixed == 1:
        return tuple(range(ndim))
    num_free = len(_axes_of_matrix(product)[2])
    return (
        *range(num_batch),
        *range(num_batch + num_free, ndim),
        *range(num_batch, num_batch + num_free),
    )

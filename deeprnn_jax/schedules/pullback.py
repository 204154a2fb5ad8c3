"""The backward pass of one step: from its outputs' cotangents to those of all it read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.extend.core import JaxprEqn, Var

from deeprnn_jax.schedules.choices import FROM_RESULT
from deeprnn_jax.schedules.evaluation import Fixed, add_fixed, operation_of, start
from deeprnn_jax.schedules.matrices import Product, pull_left, transpose_matrix, varying_operand
from deeprnn_jax.schedules.operations import (
    as_function,
    bind,
    dtype_of,
    is_floating,
    operands_of,
    read_values,
    shape_of,
    zeros_of,
)
from deeprnn_jax.schedules.program import Program
from deeprnn_jax.types import Array


class Pulled(NamedTuple):
    """The cotangents that one step of the backward pass gives."""

    varying: list[Array]  # of the carry and of what was read, where floating
    shared: list[Array]  # of those of `Fixed.shared` that have a gradient
    products: list[Array]  # of the products' results
    sums: list[Array]  # of the additions' results


def pull_step(
    program: Program,
    fixed: Fixed,
    transposed: Sequence[Array],
    varying: Sequence[Array],
    made: Sequence[Array],
    cotangents: Sequence[Array],
) -> Pulled:
    """Pull the outputs' cotangents back through one step.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      transposed: from `transpose_matrices`.
      varying: carry and inputs; an input that is not in `program.kept` may hold anything.
      made: the values of `program.made` at this step.
      cotangents: of the step's outputs.
    """
    floating = [is_floating(var) for var in program.varying]

    def rerun(
        wanted: list[Array], gradients: list[Array], products: list[Array], sums: list[Array]
    ) -> list[Array]:
        again = fixed._replace(shared=_fill(fixed.shared, program.has_gradient, gradients))
        values = _fill(varying, floating, wanted)
        return _rerun(program, again, transposed, values, made, products, sums)

    wanted = [value for value, is_wanted in zip(varying, floating, strict=True) if is_wanted]
    shared = zip(fixed.shared, program.has_gradient, strict=True)
    gradients = [value for value, has in shared if has]
    products = [zeros_of(product.eqn.outvars[0]) for product in program.products]
    sums = [zeros_of(eqn.outvars[0]) for eqn, _ in program.additions]
    _, pull = jax.vjp(rerun, wanted, gradients, products, sums)
    return Pulled(*pull(list(cotangents)))


def _fill(values: Sequence[Array], places: Sequence[bool], new: Sequence[Array]) -> list[Array]:
    """Put new values in the places that are marked."""
    rest = iter(new)
    return [next(rest) if here else value for value, here in zip(values, places, strict=True)]


def left_operands(
    program: Program, fixed: Fixed, varying: Sequence[Array], made: Sequence[Array]
) -> list[Array]:
    """Give the varying operand of every product, from what the backward pass has."""
    given = dict(zip(program.made, made, strict=True))
    env = start(program, fixed, varying)
    do = operation_of(program, fixed)
    products = {id(product.eqn) for product in program.products}
    for eqn in program.varying_eqns:
        if id(eqn) in products or any(var in given for var in eqn.outvars):
            # what is not kept here, nobody reads
            found = [given[var] if var in given else zeros_of(var) for var in eqn.outvars]
        else:
            found = do(eqn, env)
        env.update(zip(eqn.outvars, found, strict=True))
    return read_values(env, [varying_operand(product) for product in program.products])


def transpose_matrices(program: Program, fixed: Fixed) -> list[Array]:
    """Give the products' matrices as the backward loop multiplies by them.

    XLA on CPU multiplies by Wᵀ up to twice as fast where it lies there transposed:
    47 GF/s against 26 at (B, H) = (4, 64), 169 against 147 at (64, 512).
    """
    pairs = zip(program.products, fixed.matrices, strict=True)
    return [transpose_matrix(product, matrix) for product, matrix in pairs]


def addend_gradient(addend: Var, cotangents: Array) -> Array:
    """Give the gradient of a fixed value that was added at every step."""
    summed = cotangents.sum(axis=0)
    shape = shape_of(addend)
    summed = summed.sum(axis=tuple(range(summed.ndim - len(shape))))
    ones = tuple(a for a, size in enumerate(shape) if size == 1 and summed.shape[a] != 1)
    return summed.sum(axis=ones, keepdims=True).astype(dtype_of(addend))


def _rerun(
    program: Program,
    fixed: Fixed,
    transposed: Sequence[Array],
    varying: Sequence[Array],
    made: Sequence[Array],
    products: Sequence[Array],
    sums: Sequence[Array],
) -> list[Array]:
    """Run the step from what was kept.

    `products` and `sums` are zeros: what is pulled back to them is the cotangent of a
    product's, or an addition's, result.
    """
    given = dict(zip(program.made, made, strict=True))
    env = start(program, fixed, varying)
    indices = {id(product.eqn): index for index, product in enumerate(program.products)}
    additions = {id(eqn): index for index, (eqn, _) in enumerate(program.additions)}
    for eqn in program.varying_eqns:
        values = [given.get(var) for var in eqn.outvars]
        if id(eqn) in indices:
            index = indices[id(eqn)]
            product = program.products[index]
            left = read_values(env, [varying_operand(product)])[0]
            # not kept: then something further on is, and nobody reads this
            known = zeros_of(eqn.outvars[0]) if values[0] is None else values[0]
            found = [_multiplied(product, left, products[index], known, transposed[index])]
        elif id(eqn) in additions:
            index = additions[id(eqn)]
            total = add_fixed(env, program.additions[index], fixed.addends[index])
            known = lax.stop_gradient(total) if values[0] is None else values[0]
            found = [_added(total, sums[index], known)]
        elif any(value is not None for value in values):
            known = [
                zeros_of(var) if value is None else value
                for var, value in zip(eqn.outvars, values, strict=True)
            ]
            found = _replaced(eqn, read_values(env, operands_of(eqn)), known)
        else:
            found = bind(eqn, env)
        env.update(zip(eqn.outvars, found, strict=True))
    return read_values(env, program.jaxpr.outvars)


def _multiplied(
    product: Product, left: Array, probe: Array, known: Array, transposed: Array
) -> Array:
    """Give a product's known result, with the derivative of the product."""

    @jax.custom_vjp
    def multiply(left: Array, probe: Array, known: Array, transposed: Array) -> Array:
        return known

    def backward(residuals: tuple, cotangent: Array) -> tuple:
        left, transposed = residuals
        return pull_left(product, transposed, cotangent, left), cotangent, None, None

    multiply.defvjp(lambda left, probe, known, transposed: (known, (left, transposed)), backward)
    return multiply(left, probe, known, transposed)


@jax.custom_vjp
def _added(total: Array, probe: Array, known: Array) -> Array:
    """Give a known sum, whose cotangent goes to its varying term and to the probe."""
    return known


_added.defvjp(
    lambda total, probe, known: (known, None),
    lambda _, cotangent: (cotangent, cotangent, None),
)


def _replaced(eqn: JaxprEqn, operands: Sequence[Any], known: Sequence[Array]) -> list[Array]:
    """Give an operation's known results, with the operation's derivative."""

    @jax.custom_vjp
    def operation(operands: list[Array], known: list[Array]) -> list[Array]:
        return known

    def backward(residuals: tuple, cotangents: list[Array]) -> tuple:
        operands, known = residuals
        if eqn.primitive.name in FROM_RESULT:
            return [cotangents[0] * FROM_RESULT[eqn.primitive.name](known[0])], None
        _, pull = jax.vjp(as_function(eqn), *operands)
        return list(pull(cotangents)), None

    operation.defvjp(lambda operands, known: (known, (operands, known)), backward)
    return operation(list(operands), list(known))

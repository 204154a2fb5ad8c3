"""Running a program: what is fixed, what goes before the loop, and one step of it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn, Var

from deeprnn_jax.schedules.matrices import (
    cast_down,
    multiply,
    multiply_stacked,
    multiply_stacked_for_vjp,
    precision_of,
    varying_operand,
)
from deeprnn_jax.schedules.operations import bind, dtype_of, operands_of, read_values
from deeprnn_jax.schedules.program import Program
from deeprnn_jax.types import Array


class Fixed(NamedTuple):
    """What is computed once, before the loop."""

    shared: list[Array]
    matrices: list[Array]  # of the products, as wide as the parameters
    addends: list[Array]  # of the additions
    hoisted_shared: list[Array]
    hoisted_matrices: list[Array]


def compute_fixed(program: Program, params: Sequence[Array]) -> Fixed:
    """Compute all that depends on the parameters alone.

    Args:
      program: the step.
      params: the values of `program.params`.
    """
    env = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    env.update(zip(program.params, params, strict=True))
    for eqn in program.fixed_eqns:
        env.update(zip(eqn.outvars, bind(eqn, env), strict=True))
    return Fixed(
        shared=[env[var] for var in program.shared],
        matrices=[env[product.matrix] for product in program.products],
        addends=[env[var] for _, var in program.additions],
        hoisted_shared=[env[var] for var in program.hoisted_shared],
        hoisted_matrices=[env[product.matrix] for product in program.hoisted_products],
    )


def hoist(
    program: Program, fixed: Fixed, inputs: Sequence[Array], *, for_vjp: bool = False
) -> list[Array]:
    """Compute what does not need the carry, for all steps at once.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      inputs: stacked `[T, ...]`.
      for_vjp: whether this is called inside `jax.vjp`; the products then have a reverse
        derivative of their own, and no forward one.

    Returns:
      The values of `program.reads`, stacked `[T, ...]`.
    """
    env = dict(zip(program.inputs, inputs, strict=True))
    shared = dict(zip(program.hoisted_shared, fixed.hoisted_shared, strict=True))
    indices = {id(product.eqn): index for index, product in enumerate(program.hoisted_products)}
    for eqn in program.hoisted_eqns:
        if id(eqn) in indices:
            index = indices[id(eqn)]
            product = program.hoisted_products[index]
            left = env[varying_operand(product)]
            multiply_all = multiply_stacked_for_vjp if for_vjp else multiply_stacked
            found = [multiply_all(product, left, fixed.hoisted_matrices[index])]
        else:
            stacked = [var for var in operands_of(eqn) if var in env]

            def one(*values: Array, eqn: JaxprEqn = eqn, stacked: list[Var] = stacked) -> list:
                return bind(eqn, {**shared, **dict(zip(stacked, values, strict=True))})

            found = jax.vmap(one)(*read_values(env, stacked))
        env.update(zip(eqn.outvars, found, strict=True))
    return read_values(env, program.reads)


def run_step(
    program: Program, fixed: Fixed, varying: Sequence[Array]
) -> tuple[list[Array], Callable[[Sequence[Any]], list[Array]]]:
    """Run the step on what was hoisted.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      varying: the values of `program.varying`.

    Returns:
      The step's outputs, and a function that gives the values of any variables of it.
    """
    env = start(program, fixed, varying)
    do = operation_of(program, fixed)
    for eqn in program.varying_eqns:
        env.update(zip(eqn.outvars, do(eqn, env), strict=True))
    return read_values(env, program.jaxpr.outvars), partial(read_values, env)


def run_whole_step(program: Program, fixed: Fixed, varying: Sequence[Array]) -> list[Array]:
    """Run the step with nothing computed before it but what is fixed; give its outputs.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      varying: the carry, and the step's inputs.
    """
    env = dict(zip(program.shared, fixed.shared, strict=True))
    env.update(zip(program.hoisted_shared, fixed.hoisted_shared, strict=True))
    env.update(zip([*program.carry, *program.inputs], varying, strict=True))
    addends = {
        id(eqn): addend for (eqn, _), addend in zip(program.additions, fixed.addends, strict=True)
    }
    do = operation_of(program, fixed)
    skipped, totals = set(), {}
    for merge in program.merges:
        skipped.add(id(program.hoisted_products[merge.hoisted].eqn))
        skipped.add(id(program.products[merge.product].eqn))
        if merge.bias is not None:
            skipped.add(id(merge.bias))
        totals[id(merge.total)] = merge
    for eqn in (*program.hoisted_eqns, *program.varying_eqns):
        if id(eqn) in skipped:
            continue
        if id(eqn) in totals:
            merge = totals[id(eqn)]
            x_product = program.hoisted_products[merge.hoisted]
            h_product = program.products[merge.product]
            lefts = read_values(env, [varying_operand(x_product), varying_operand(h_product)])
            rights = [
                cast_down(x_product, fixed.hoisted_matrices[merge.hoisted]),
                cast_down(h_product, fixed.matrices[merge.product]),
            ]
            found = lax.dot_general(
                jnp.concatenate(lefts, axis=-1),
                jnp.concatenate(rights, axis=0),  # does not change: XLA takes it out of the loop
                (((1,), (0,)), ((), ())),
                precision=precision_of(h_product),
                preferred_element_type=dtype_of(h_product.eqn.outvars[0]),
            )
            found = [found if merge.bias is None else found + addends[id(merge.bias)]]
        else:
            found = do(eqn, env)
        env.update(zip(eqn.outvars, found, strict=True))
    return read_values(env, program.jaxpr.outvars)


def start(program: Program, fixed: Fixed, varying: Sequence[Array]) -> dict[Var, Array]:
    """Give the values that the loop's operations begin with."""
    env = dict(zip(program.shared, fixed.shared, strict=True))
    env.update(zip(program.varying, varying, strict=True))
    return env


def operation_of(
    program: Program, fixed: Fixed
) -> Callable[[JaxprEqn, dict[Var, Array]], list[Array]]:
    """Give a function `(operation, values) -> results` for a step's operations.

    Products and additions take their matrix or addend from `fixed`.
    """
    products = {
        id(product.eqn): (product, matrix)
        for product, matrix in (
            *zip(program.hoisted_products, fixed.hoisted_matrices, strict=True),
            *zip(program.products, fixed.matrices, strict=True),
        )
    }
    additions = {
        id(addition[0]): (addition, addend)
        for addition, addend in zip(program.additions, fixed.addends, strict=True)
    }

    def do(eqn: JaxprEqn, env: dict[Var, Array]) -> list[Array]:
        if id(eqn) in products:
            return [multiply(env, *products[id(eqn)])]
        if id(eqn) in additions:
            return [add_fixed(env, *additions[id(eqn)])]
        return bind(eqn, env)

    return do


def add_fixed(env: dict, addition: tuple[JaxprEqn, Var], addend: Array) -> Array:
    """Do an addition of a fixed value."""
    eqn, var = addition
    return bind(eqn, {**env, var: addend})[0]

"""Running a recurrence: what is fixed, what is hoisted, and the loop."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.internals import ClosedJaxpr, Jaxpr, JaxprEqn, Var, opened
from deeprnn_jax.recurrence.analysis import among, part, sort_operations
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    as_function,
    dtype_of,
    is_number,
    is_var,
    num_bytes,
    operands_of,
    shape_of,
)
from deeprnn_jax.recurrence.loop import lax_scan, run_loop
from deeprnn_jax.recurrence.products import as_product, lay_out, multiply
from deeprnn_jax.recurrence.rules import Rules
from deeprnn_jax.types import Array


def run_plainly(
    jaxpr: Jaxpr,
    operands: Sequence[Array],
    *,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> list[Array]:
    """Run a step's jaxpr by `lax.scan`, as it is."""
    consts, init, xs = part(operands, num_consts, num_carry)

    def step(carry: list, x_t: list) -> tuple[list, list]:
        env = Env(zip(jaxpr.invars, [*consts, *carry, *x_t], strict=True))
        env.do(*jaxpr.eqns)
        found = env.read(jaxpr.outvars)
        return found[:num_carry], found[num_carry:]

    final, ys = lax_scan(step, init, xs, length, reverse, unroll)
    return [*final, *ys]


def run(
    *operands: Array,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
    overwrite: Sequence[bool],
    shown: int,
    derived: bool,
    at_once: bool,
    rules: Rules,
) -> list[Array]:
    """Run a step's jaxpr with all that can be done before the loop done there.

    Args:
      *operands: consts, the first carry, and xs `[T, ...]`.
      jaxpr: the step, of consts, carry, x_t.
      num_consts: of the operands.
      num_carry: of the operands.
      length: T, 1 or more.
      reverse: whether to go from the last step to the first.
      unroll: as in `lax.scan`; not in place.
      overwrite: which of xs nobody reads after.
      shown: how many of the outputs, the first ones, are read by others than a backward pass.
      derived: whether this is a part of a derivative, which keeps stacks in any case.
      at_once: whether all that needs no carry is hoisted, whatever its size.
      rules: the platform's.

    Returns:
      The last carry, and outputs `[T, ...]`.
    """
    step = opened(jaxpr)
    ops = sort_operations(step, num_consts, num_carry, at_once)
    hoisted_bytes = sum(map(num_bytes, ops.hoisted_vars))
    is_large = hoisted_bytes > rules.small_slices
    fits = hoisted_bytes * length <= rules.large_stacks
    if not (derived or at_once or (is_large and fits)):
        counts = {"num_consts": num_consts, "num_carry": num_carry, "length": length}
        return run_plainly(step, operands, reverse=reverse, unroll=unroll, **counts)
    _, carry_vars, x_vars = part(step.invars, num_consts, num_carry)
    env = Env(zip(step.invars, operands, strict=True))
    env.do(*ops.fixed)
    hoist(ops.hoisted, env, ops.invariant)

    # what the loop reads, and what it stacks
    ends, ys = step.outvars[:num_carry], step.outvars[num_carry:]
    reads = among({*x_vars, *ops.hoisted_vars}, *(eqn.invars for eqn in ops.loop), ends)
    by_loop = {var for eqn in ops.loop for var in eqn.outvars} | set(carry_vars)
    stacked = among(by_loop, ys)
    do = step_of(ops.loop, ends, env, ops.invariant)

    def body(carry: Sequence[Array], x_t: Sequence[Array]) -> tuple[list, list]:
        step_env = do([*carry_vars, *reads], [*carry, *x_t])
        return step_env.read(ends), step_env.read(stacked)

    init, xs = env.read(carry_vars), env.read(reads)
    if not ends and not stacked:
        final, stacks = [], []
    elif rules.in_place and all(map(is_number, stacked)):
        is_large = sum(map(num_bytes, reads)) > rules.small_slices
        overwritable = {var for var, one in zip(x_vars, overwrite, strict=True) if one}
        overwritable |= ops.hoisted_vars
        final, stacks = run_loop(
            body,
            init,
            xs,
            [var.aval for var in stacked],
            length=length,
            reverse=reverse,
            # not in a backward pass: 6.4 ms in place of 5.6, LSTM at (B, T, H) = (4, 512, 64)
            prefetch=is_large and shown > 0,
            overwrite=[is_large and var in overwritable and var not in ys for var in reads],
            # an output that others read as well: XLA would copy where it is read again
            may_overwrite=[var not in ys[:shown] for var in stacked],
            latest=_latest([*x_vars, *(v for v in reads if v in ops.hoisted_vars)], env),
        )
    else:
        final, stacks = lax_scan(body, init, xs, length, reverse, unroll)
    env.assign(stacked, stacks)

    def over_time(operand: Any) -> Array:
        if not is_var(operand) or operand in ops.invariant:
            (value,) = env.read([operand])
            return jnp.broadcast_to(value, (length, *shape_of(operand)))
        return env[operand]

    return [*final, *map(over_time, ys)]


def _latest(variables: Sequence[Var], env: Env) -> Array | None:
    """Give the last floating value: hoisted ones come after x_t, cotangents after residuals."""
    found = [var for var in variables if jnp.issubdtype(dtype_of(var), jnp.floating)]
    return env[found[-1]] if found else None


def hoist(eqns: Sequence[JaxprEqn], env: Env, invariant: set[Var]) -> None:
    """Do operations for all steps at once, on stacked values and on invariant ones."""
    for eqn in eqns:
        product = as_product(eqn, invariant)
        if product is not None:
            rows, matrix = env.read([product.rows_var, product.matrix_var])
            found = [multiply(product, rows, lay_out(product, matrix), over_time=True)]
        else:
            variables = operands_of(eqn)
            axes = [None if var in invariant else 0 for var in variables]
            found = jax.vmap(as_function(eqn), axes)(*env.read(variables))
        env.assign(eqn.outvars, found)


def step_of(
    eqns: Sequence[JaxprEqn], wanted: Sequence[Any], env: Env, invariant: set[Var]
) -> Callable[[Sequence[Var], Sequence[Array]], Env]:
    """Give the loop's operations as a function of varying variables and their values.

    Matrices are laid out for the products here, before the loop.
    """
    products = {id(eqn): as_product(eqn, invariant) for eqn in eqns}
    laid_out = {
        key: lay_out(product, env[product.matrix_var])
        for key, product in products.items()
        if product is not None
    }
    fixed = among(invariant, *(eqn.invars for eqn in eqns), wanted)
    start = dict(zip(fixed, env.read(fixed), strict=True))

    def do(variables: Sequence[Var], values: Sequence[Array]) -> Env:
        step_env = Env(start)
        step_env.assign(variables, values)
        for eqn in eqns:
            product = products[id(eqn)]
            if product is None:
                step_env.do(eqn)
            else:
                (rows,) = step_env.read([product.rows_var])
                step_env[eqn.outvars[0]] = multiply(product, rows, laid_out[id(eqn)])
        return step_env

    return do

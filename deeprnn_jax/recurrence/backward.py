"""The tangent of a recurrence, transposed: the backward pass.

A tangent step is linear in the tangents of consts, carry and x_t:

    δh_t = A_t δh_{t-1} + Σ (terms that need no δh)        for an RNN, δz_t = δh_{t-1} W_h
                                                            + h_{t-1} δW_h + x_t δW_x + δx_t W_x

Its terms that need no δh are computed for all steps at once, u = hoist(δparams, δx), and
then read by the loop. Transposed, the order turns round:

    loop    δh_{t-1} = A_tᵀ δh_t, and the cotangent of each u_t, stacked
    after   δW_h = Σ_t h_{t-1}ᵀ δu_t,    δW_x = Σ_t x_tᵀ δu_t,    δx_t = δu_t W_xᵀ

each a product over all steps. So the backward loop carries the carry's cotangent and, of
what is not a product with a parameter (a gain, a bias), its sum. It reads residuals and
multiplies by matrices; nothing that `forward` has multiplied is multiplied again.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Var

from deeprnn_jax.recurrence.analysis import (
    among,
    choose_hoisted,
    inputs_of,
    is_among,
)
from deeprnn_jax.recurrence.forward import hoist
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    as_function,
    close,
    dtype_of,
    is_inexact,
    live,
    num_bytes,
    operands_of,
    reached,
    shape_of,
    trace,
    variables_of,
)
from deeprnn_jax.recurrence.products import as_product, matrix_gradient, pull_rows
from deeprnn_jax.types import Array


class Backward(NamedTuple):
    """A tangent step, transposed."""

    fixed: list[JaxprEqn]  # of the step's values, once
    linear_fixed: list[JaxprEqn]  # of consts' tangents alone
    again: list[JaxprEqn]  # values of all steps that the hoisted terms multiply by
    hoisted: list[JaxprEqn]  # linear terms that need no δcarry
    invariant: set[Var]  # consts and what is made of them alone, linear ones too
    linear: set[Var]  # the inputs that the step is linear in, and what is made of them
    loop_consts: list[Var]
    loop_xs: list[Var]  # values [T, ...] that the loop reads
    direct: list[tuple[int, Var]]  # outputs that are hoisted terms, which no loop makes
    loop_ys: list[int]  # the others
    step: ClosedJaxpr  # (*loop_consts, δcarry, sums, loop_xs, δys) -> (δcarry, sums, stacked)
    place: dict[Var, int]  # of the cotangents of what the loop reads, among those stacked
    then: dict[Var, list[JaxprEqn]]  # of a const's: what makes it of the one that is stacked
    summed: list[Var]  # linear consts whose cotangents are summed in the loop
    overwrite: tuple[bool, ...]  # which of loop_xs are not read again after the loop


@lru_cache(maxsize=256)
def transpose_step(
    jaxpr: ClosedJaxpr, num_consts: int, num_carry: int, linear: tuple[bool, ...]
) -> Backward:
    """Transpose a step that is linear in its carry and in the inputs marked.

    Args:
      jaxpr: the step, of consts, carry, x_t.
      num_consts: of its inputs.
      num_carry: of its inputs.
      linear: which inputs it is linear in; of the carry, it is in all.
    """
    opened = jaxpr.jaxpr
    consts, rest = opened.invars[:num_consts], opened.invars[num_consts:]
    carry, x_vars = rest[:num_carry], rest[num_carry:]
    linear_in = [v for v, one in zip(opened.invars, linear, strict=True) if one or v in carry]
    linear_vars = reached(opened.eqns, linear_in)
    of_values = [eqn for eqn in opened.eqns if not is_among(linear_vars, eqn)]
    of_tangents = [eqn for eqn in opened.eqns if is_among(linear_vars, eqn)]

    varying = reached(opened.eqns, [*carry, *x_vars])
    fixed = [eqn for eqn in of_values if not is_among(varying, eqn)]
    step_eqns = [eqn for eqn in of_values if is_among(varying, eqn)]
    linear_fixed = [eqn for eqn in of_tangents if not is_among(varying, eqn)]
    invariant = {*consts, *(v for eqn in (*fixed, *linear_fixed) for v in eqn.outvars)}

    with_carry = reached(opened.eqns, carry)
    free = [
        eqn for eqn in of_tangents if is_among(varying, eqn) and not is_among(with_carry, eqn)
    ]
    # What would have to be computed again for all steps at once, and is larger than all that
    # is kept of a step, stays in the loop, and its product with it.
    kept = sum(num_bytes(var) for var in x_vars if var not in linear_vars)
    large = {v for eqn in step_eqns for v in eqn.outvars if num_bytes(v) > kept}
    free = [eqn for eqn in free if not is_among(large, eqn)]
    hoisted = choose_hoisted(free, invariant, with_results=False)
    chosen = {id(eqn) for eqn in hoisted}
    in_loop = [
        eqn for eqn in of_tangents if is_among(varying, eqn) and id(eqn) not in chosen
    ]
    before = {var for var in linear_in if var not in carry}
    before |= {var for eqn in (*hoisted, *linear_fixed) for var in eqn.outvars}

    ends, ys = opened.outvars[:num_carry], opened.outvars[num_carry:]
    direct = [(i, var) for i, var in enumerate(ys) if variables_of([var]) and var in before]
    direct_places = {index for index, _ in direct}
    loop_ys = [index for index in range(len(ys)) if index not in direct_places]
    outputs = [*ends, *(ys[index] for index in loop_ys)]
    reads = among(before, *(eqn.invars for eqn in in_loop), outputs)
    linear_reads = [*carry, *reads]

    # what the loop needs of the step's values
    values = [
        var for var in inputs_of(in_loop, outputs) if var not in linear_vars
    ]
    again_in_loop = live(step_eqns, values)
    loop_values = inputs_of(again_in_loop, values)
    loop_consts = [var for var in loop_values if var in invariant]
    loop_xs = [var for var in loop_values if var not in invariant]

    def pull(*operands: Array) -> list[Array]:
        """Give the cotangents of the carry and of all linear values read, at one step."""
        env = Env(zip([*loop_consts, *loop_xs], operands, strict=False))
        env.do(*again_in_loop)
        cotangents = operands[len(env_inputs) :]

        def push(*tangents: Array) -> list[Array]:
            step_env = Env(env)
            step_env.assign(linear_reads, tangents)
            step_env.do(*in_loop)
            return step_env.read(outputs)

        shapes = [jax.ShapeDtypeStruct(shape_of(v), dtype_of(v)) for v in linear_reads]
        return list(jax.linear_transpose(push, *shapes)(list(cotangents)))

    env_inputs = [*loop_consts, *loop_xs]
    pulled, pulled_consts = trace(pull, [v.aval for v in (*env_inputs, *outputs)])

    # Equal cotangents are one array. A const's is summed after the loop where it is made of
    # one that is stacked in any case, as a bias's is, and in the loop where it is not.
    cotangents = dict(zip(reads, pulled.outvars[num_carry:], strict=True))
    stacked = {cotangents[v]: None for v in reads if v not in invariant}
    places = list(stacked)
    place = {v: places.index(cotangents[v]) for v in reads if v not in invariant}
    made_by = {var: eqn for eqn in pulled.eqns for var in eqn.outvars}
    then: dict[Var, list[JaxprEqn]] = {}
    for var in reads:
        if var in invariant:
            origin, chain = _origin(cotangents[var], made_by, stacked)
            if origin is not None:
                place[var], then[var] = places.index(origin), chain
    summed = [var for var in reads if var not in place]
    num_consts_back, num_sums = len(loop_consts), len(summed)

    def step(*operands: Array) -> list[Array]:
        given = operands[:num_consts_back]
        d_carry = operands[num_consts_back : num_consts_back + num_carry]
        sums = operands[num_consts_back + num_carry : num_consts_back + num_carry + num_sums]
        rest = operands[num_consts_back + num_carry + num_sums :]
        xs, d_ys = rest[: len(loop_xs)], rest[len(loop_xs) :]
        env = Env(zip(pulled.constvars, pulled_consts, strict=True))
        env.assign(pulled.invars, [*given, *xs, *d_carry, *d_ys])
        env.do(*pulled.eqns)
        more = env.read(cotangents[var] for var in summed)
        return [
            *env.read(pulled.outvars[:num_carry]),
            *map(jnp.add, sums, more),
            *env.read(places),
        ]

    shapes = [
        *(v.aval for v in (*loop_consts, *ends, *summed, *loop_xs)),
        *(ys[index].aval for index in loop_ys),
    ]
    traced, traced_consts = trace(step, shapes)
    assert not traced_consts
    after = live(step_eqns, [v for eqn in hoisted for v in eqn.invars if v not in linear_vars])
    read_after = set(
        inputs_of(after, [v for eqn in hoisted for v in operands_of(eqn) if v not in linear_vars])
    )
    return Backward(
        fixed=fixed,
        linear_fixed=linear_fixed,
        again=after,
        hoisted=hoisted,
        invariant=invariant,
        linear=linear_vars,
        loop_consts=loop_consts,
        loop_xs=loop_xs,
        direct=direct,
        loop_ys=loop_ys,
        step=close(traced),
        place=place,
        then=then,
        summed=summed,
        overwrite=tuple(var not in read_after for var in loop_xs),
    )


# Linear in their one operand, with no other, so that a sum over time can come first.
_REDUCTIONS = frozenset({"reduce_sum", "reshape", "squeeze", "transpose", "neg", "copy"})


def _origin(
    cotangent: Any, made_by: dict[Var, JaxprEqn], stacked: Iterable[Var]
) -> tuple[Var | None, list[JaxprEqn]]:
    """Give the stacked cotangent that another one is made of, and by which operations."""
    chain: list[JaxprEqn] = []
    while variables_of([cotangent]):
        if cotangent in stacked:
            return cotangent, chain[::-1]
        eqn = made_by.get(cotangent)
        if eqn is None or eqn.primitive.name not in _REDUCTIONS:
            break
        chain.append(eqn)
        (cotangent,) = eqn.invars
    return None, []


def sum_stack(stack: Array, then: Sequence[JaxprEqn]) -> Array:
    """Sum over time, and do what makes a const's cotangent of it."""
    total = jnp.sum(stack, 0)
    for eqn in then:
        (total,) = as_function(eqn)(total)
    return total


class Cotangents(dict):
    """Cotangents by variable, added up."""

    def add(self, var: Var, value: Array) -> None:
        """Add to a variable's cotangent."""
        self[var] = jnp.add(self[var], value) if var in self else value


def sum_over_time(
    plan: Backward, env: Env, cotangents: Cotangents, linear_in: Sequence[Var]
) -> None:
    """Pull cotangents back through what was hoisted, and what depends on consts alone.

    Args:
      plan: the step.
      env: the values of its consts and of x_t, stacked.
      cotangents: of what the loop read, stacked but for consts; added to.
      linear_in: the variables whose cotangents are asked for.
    """
    hoist(plan.again, env, plan.invariant)
    linear = {*linear_in}
    linear |= {var for eqn in (*plan.linear_fixed, *plan.hoisted) for var in eqn.outvars}
    cast_from = {
        eqn.outvars[0]: eqn.invars[0]
        for eqn in plan.linear_fixed
        if eqn.primitive.name == "convert_element_type" and is_inexact(eqn.invars[0])
    }
    for eqn in reversed(plan.hoisted):
        if not any(var in cotangents for var in eqn.outvars):
            continue
        product = as_product(eqn, plan.invariant)
        if product is not None and product.matrix_var in linear:
            # as wide as the matrix was before it was cast down for the product
            matrix = cast_from.get(product.matrix_var, product.matrix_var)
            (rows,) = env.read([product.rows_var])
            found = matrix_gradient(product, rows, cotangents[eqn.outvars[0]], dtype_of(matrix))
            cotangents.add(matrix, found)
        elif product is not None:
            (matrix,) = env.read([product.matrix_var])
            found = pull_rows(product, matrix, cotangents[eqn.outvars[0]])
            cotangents.add(product.rows_var, found)
        else:
            _pull_over_time(eqn, env, cotangents, linear, plan.invariant)
    _pull_fixed(plan.linear_fixed, env, cotangents, linear_in)


def _pull_over_time(
    eqn: JaxprEqn, env: Env, cotangents: Cotangents, linear: set[Var], invariant: set[Var]
) -> None:
    """Pull stacked cotangents back through one operation, done for all steps at once."""
    variables = operands_of(eqn)
    targets = [var for var in variables if var in linear]
    length = next(cotangents[var].shape[0] for var in eqn.outvars if var in cotangents)

    def push(*tangents: Array) -> list[Array]:
        given = dict(zip(targets, tangents, strict=True))
        axes = [None if var in invariant else 0 for var in variables]
        operands = [given[var] if var in given else env[var] for var in variables]
        return jax.vmap(as_function(eqn), axes, axis_size=length)(*operands)

    def shape(var: Var) -> jax.ShapeDtypeStruct:
        front = () if var in invariant else (length,)
        return jax.ShapeDtypeStruct((*front, *shape_of(var)), dtype_of(var))

    given = [
        cotangents[var] if var in cotangents else jnp.zeros((length, *shape_of(var)), dtype_of(var))
        for var in eqn.outvars
    ]
    found = jax.linear_transpose(push, *map(shape, targets))(given)
    for var, value in zip(targets, found, strict=True):
        cotangents.add(var, value)


def _pull_fixed(
    eqns: Sequence[JaxprEqn], env: Env, cotangents: Cotangents, linear_in: Sequence[Var]
) -> None:
    """Pull cotangents back through what depends on consts alone."""
    made = [var for eqn in eqns for var in eqn.outvars if var in cotangents]
    if not made:
        return
    eqns = live(eqns, made)
    targets = [var for var in inputs_of(eqns, made) if var in linear_in]

    def push(*tangents: Array) -> list[Array]:
        fixed_env = Env(env)
        fixed_env.assign(targets, tangents)
        fixed_env.do(*eqns)
        return fixed_env.read(made)

    shapes = [jax.ShapeDtypeStruct(shape_of(var), dtype_of(var)) for var in targets]
    found = jax.linear_transpose(push, *shapes)([cotangents[var] for var in made])
    for var, value in zip(targets, found, strict=True):
        cotangents.add(var, value)

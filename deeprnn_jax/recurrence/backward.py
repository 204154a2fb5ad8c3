"""The tangent of a recurrence, transposed: the backward pass.

A tangent step is linear in the tangents of consts, carry and x_t. For an RNN,
h_t = tanh(x_t W_x + h_{t-1} W_h + b), it is

    δh_t = (1 - h_t²) ⊙ (δh_{t-1} W_h + u_t),    u_t = h_{t-1} δW_h + x_t δW_x + δx_t W_x + δb

The terms of u_t need no δh: their products are done for all steps at once, and the loop
reads them. Transposed, the order turns round:

    loop     δz_t = (1 - h_t²) ⊙ δh_t,    δh_{t-1} = δz_t W_hᵀ,    δu_t = δz_t stacked
    after    δW_h = Σ_t h_{t-1}ᵀ δu_t,    δW_x = Σ_t x_tᵀ δu_t,    δx_t = δu_t W_xᵀ,
             δb = Σ_t δu_t

each one product over all steps, or one sum. So the backward loop carries the carry's
cotangent, and beside it only sums of what is neither a product's nor a bias's: a gain's.
Cotangents that are equal, as those of the terms of a sum are, are one array. The loop reads
residuals and multiplies by matrices; what `forward` has multiplied, it does not.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.internals import ClosedJaxpr, Jaxpr, JaxprEqn, Var, close, opened
from deeprnn_jax.recurrence.analysis import (
    among,
    choose_hoisted,
    inputs_of,
    is_among,
    part,
    part_eqns,
)
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    dtype_of,
    has_body,
    is_var,
    live,
    num_bytes,
    operands_of,
    reached,
    shape_of,
    trace,
)
from deeprnn_jax.types import Array

# Linear in their one operand, with no other, so that a sum over time can come first.
_REDUCTIONS = frozenset({"reduce_sum", "reshape", "squeeze", "transpose", "neg", "copy"})


class Tangent(NamedTuple):
    """A tangent step's operations, sorted."""

    fixed: list[JaxprEqn]  # of values that no step changes
    values: list[JaxprEqn]  # of residuals and x_t: what the step computes again
    linear_fixed: list[JaxprEqn]  # of consts' tangents alone
    hoisted: list[JaxprEqn]  # of u_t, for all steps at once
    loop: list[JaxprEqn]  # the rest of what is linear
    invariant: set[Var]  # consts and what is made of them alone, linear ones too
    linear: set[Var]  # what the step is linear in, and what is made of it


class Transposed(NamedTuple):
    """A tangent step and its transpose."""

    tangent: Tangent
    before: list[JaxprEqn]  # of `values`: what the loop and `hoisted` both read
    after: list[JaxprEqn]  # of `values`: what only `hoisted` read
    direct: dict[int, Var]  # outputs that no loop makes, but `hoisted` or nothing at all
    loop_ys: list[int]  # the others
    consts: list[Var]  # what the backward loop reads: values that no step changes
    xs: list[Var]  # and residuals
    summed: dict[Var, Any]  # consts whose cotangents, or what they come of, the loop sums
    step: ClosedJaxpr  # (*consts, δcarry, sums, *xs, δys) -> (δcarry, sums, *stacked)
    places: dict[Var, int]  # where among those stacked the cotangent of a linear value is
    reductions: dict[Var, list[JaxprEqn]]  # of consts: what is to be done with the sum
    overwrite: list[bool]  # which of xs are not read again after the loop


@lru_cache(maxsize=256)
def transpose(
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    linear: tuple[bool, ...],
    at_once: bool = False,
) -> Transposed:
    """Transpose a step that is linear in its carry and in the inputs marked.

    Args:
      jaxpr: the step, of consts, carry, x_t.
      num_consts: of its inputs.
      num_carry: of its inputs.
      linear: which inputs it is linear in, besides the carry.
      at_once: whether all that needs no carry is hoisted.
    """
    step = opened(jaxpr)
    _, carry, xs = part(step.invars, num_consts, num_carry)
    ops = _sort(step, num_consts, num_carry, linear, at_once)
    ends, ys = step.outvars[:num_carry], step.outvars[num_carry:]
    hoisted = {var for eqn in (*ops.hoisted, *ops.linear_fixed) for var in eqn.outvars}
    before = hoisted | (set(step.invars) & ops.linear) - set(carry)
    direct = {index: var for index, var in enumerate(ys) if is_var(var) and var in before}
    loop_ys = [index for index in range(len(ys)) if index not in direct]
    outputs = [*ends, *(ys[index] for index in loop_ys)]
    reads = among(before, *(eqn.invars for eqn in ops.loop), outputs)

    values = [var for var in inputs_of(ops.loop, outputs) if var not in ops.linear]
    # What hoisted products multiply by is computed for all steps at once; where the loop
    # needs it too, that is done before it, and the loop reads it.
    factors = [v for eqn in ops.hoisted for v in operands_of(eqn) if v not in ops.linear]
    by_loop = {var for eqn in live(ops.values, values) for var in eqn.outvars}
    both = [var for var in factors if var in by_loop]
    before_loop = live(ops.values, both)
    rest = [eqn for eqn in ops.values if set(both).isdisjoint(eqn.outvars)]
    again = live(rest, values)
    inputs = inputs_of(again, values)
    consts = [var for var in inputs if var in ops.invariant]
    residuals = [var for var in inputs if var not in ops.invariant]
    pulled = _pull(ops.loop, again, [*consts, *residuals], [*carry, *reads], outputs)
    d_carry, cotangents = pulled.outvars[:num_carry], pulled.outvars[num_carry:]
    stacked, places, summed, reductions = _choose_stacks(
        pulled, dict(zip(reads, cotangents, strict=True)), ops.invariant
    )

    def pull_and_sum(*operands: Array) -> list[Array]:
        given, carries, rest = part(operands, len(consts), num_carry + len(summed))
        env = Env()
        env.assign(pulled.invars, [*given, *rest[: len(residuals)], *carries[:num_carry],
                                   *rest[len(residuals) :]])  # fmt: skip
        env.do(*pulled.eqns)
        sums = map(jnp.add, carries[num_carry:], env.read(summed.values()))
        return [*env.read(d_carry), *sums, *env.read(stacked)]

    read = [*consts, *ends, *summed.values(), *residuals, *(ys[index] for index in loop_ys)]
    done = {id(eqn) for eqn in before_loop}
    after = [eqn for eqn in live(rest, factors) if id(eqn) not in done]
    read_after = set(inputs_of(after, factors))
    return Transposed(
        tangent=ops,
        before=before_loop,
        after=after,
        direct=direct,
        loop_ys=loop_ys,
        consts=consts,
        xs=residuals,
        summed=summed,
        step=close(trace(pull_and_sum, [var.aval for var in read])),
        places=places,
        reductions=reductions,
        overwrite=[var in xs and var not in read_after for var in residuals],
    )


def _sort(
    step: Jaxpr, num_consts: int, num_carry: int, linear: Sequence[bool], at_once: bool
) -> Tangent:
    """Sort the operations of a tangent step."""
    consts, carry, xs = part(step.invars, num_consts, num_carry)
    linear_vars = reached(step.eqns, [*compress(step.invars, linear), *carry])
    varying = reached(step.eqns, [*carry, *xs])
    with_carry = reached(step.eqns, carry)
    of_tangents, of_values = part_eqns(step.eqns, linear_vars)
    values, fixed = part_eqns(of_values, varying)
    rest, linear_fixed = part_eqns(of_tangents, varying)
    invariant = {*consts, *(var for eqn in (*fixed, *linear_fixed) for var in eqn.outvars)}
    # What would have to be computed again for all steps at once, and is larger than all that
    # is kept of a step, stays in the loop, and its product with it.
    kept = sum(num_bytes(var) for var in xs if var not in linear_vars)
    large = {var for eqn in values for var in eqn.outvars if num_bytes(var) > kept}
    # A user's own derivative has no batches, nor has what it may be inside of.
    own = [eqn for eqn in rest if eqn.primitive.name == "custom_lin" or has_body(eqn)]
    by_step = with_carry | reached(rest, (var for eqn in own for var in eqn.outvars))
    free = [eqn for eqn in rest if by_step.isdisjoint(eqn.outvars)]
    small = [eqn for eqn in free if not is_among(large, eqn)]
    hoisted = free if at_once else choose_hoisted(small, invariant, with_results=False)
    chosen = {id(eqn) for eqn in hoisted}
    return Tangent(
        fixed=fixed,
        values=values,
        linear_fixed=linear_fixed,
        hoisted=hoisted,
        loop=[eqn for eqn in rest if id(eqn) not in chosen],
        invariant=invariant,
        linear=linear_vars,
    )


def _pull(
    eqns: Sequence[JaxprEqn],
    again: Sequence[JaxprEqn],
    inputs: Sequence[Var],
    linear: Sequence[Var],
    outputs: Sequence[Any],
) -> Jaxpr:
    """Transpose linear operations at one step.

    Args:
      eqns: the operations.
      again: those that give the values they multiply by.
      inputs: what these are computed of.
      linear: what the operations are linear in.
      outputs: what they give.

    Returns:
      A jaxpr `(*inputs, *cotangents of outputs) -> cotangents of linear`.
    """

    def pull(*operands: Array) -> list[Array]:
        env = Env(zip(inputs, operands, strict=False))
        env.do(*again)

        def push(*tangents: Array) -> list[Array]:
            step_env = Env(env)
            step_env.assign(linear, tangents)
            step_env.do(*eqns)
            return step_env.read(outputs)

        shapes = [jax.ShapeDtypeStruct(shape_of(var), dtype_of(var)) for var in linear]
        return list(jax.linear_transpose(push, *shapes)(list(operands[len(inputs) :])))

    return trace(pull, [var.aval for var in (*inputs, *outputs)])


def _choose_stacks(
    pulled: Jaxpr, cotangents: dict[Var, Any], invariant: set[Var]
) -> tuple[list[Any], dict[Var, int], dict[Var, Any], dict[Var, list[JaxprEqn]]]:
    """Choose which cotangents the loop stacks, each once, and which it sums.

    A const's is summed after the loop where it is made of one that is stacked in any case,
    as a bias's is, and in the loop where it is not. There the sum over rows is left for
    after the loop too, for which XLA on CPU calls a library at every step, except of what is
    larger than all that is stacked.

    Args:
      pulled: the step that gives the cotangents.
      cotangents: by the linear value that they are of.
      invariant: the values among these that no step changes.

    Returns:
      The cotangents that are stacked; for linear values, which of them is theirs; and for
      consts what the loop sums, and the operations that make their own of the sum.
    """
    stacked: list[Any] = []
    places: dict[Var, int] = {}

    def place_of(operand: Any) -> int | None:
        return next((place for place, one in enumerate(stacked) if one is operand), None)

    for var, cotangent in cotangents.items():
        if var not in invariant:
            place = place_of(cotangent)
            if place is None:
                place = len(stacked)
                stacked.append(cotangent)
            places[var] = place
    made_by: dict[Any, JaxprEqn] = {v: eqn for eqn in pulled.eqns for v in eqn.outvars}
    largest = sum(map(num_bytes, stacked))
    summed: dict[Var, Any] = {}
    reductions: dict[Var, list[JaxprEqn]] = {}
    for var, cotangent in cotangents.items():
        if var not in invariant:
            continue
        origin, chain = cotangent, []
        while is_var(origin) and place_of(origin) is None:
            eqn = made_by.get(origin)
            if eqn is None or eqn.primitive.name not in _REDUCTIONS:
                break
            chain.append(eqn)
            (origin,) = eqn.invars
        place = place_of(origin) if is_var(origin) else None
        if place is not None:
            places[var], reductions[var] = place, chain[::-1]
        elif is_var(origin) and num_bytes(origin) <= largest:
            summed[var], reductions[var] = origin, chain[::-1]
        else:
            summed[var], reductions[var] = cotangent, []
    return stacked, places, summed, reductions

"""The recurrence as an operation of JAX's: its derivative, its transpose, its batches.

`recurrence_p` takes and gives what `lax.scan`'s own operation does, flat. JAX's
transformations meet it through the rules below, in any order and any number of times:

    derivative    two recurrences, the step with residuals and the tangent (`linearize`)
    transpose     a recurrence that goes the other way, and products over time (`backward`)
    batch         as `lax.scan` is batched, then a recurrence again
    lowering      by platform: in place on CPU, hoisted elsewhere (`forward`)
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from deeprnn_jax.recurrence.backward import (
    Cotangents,
    sum_over_time,
    sum_stack,
    transpose_step,
)
from deeprnn_jax.recurrence.forward import run, run_plainly
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    num_consts_and_carry,
    reached,
    step_of_scan,
    variables_of,
)
from deeprnn_jax.recurrence.linearize import linearize
from deeprnn_jax.recurrence.loop import shift
from deeprnn_jax.types import Array

recurrence_p = Primitive("recurrence")
recurrence_p.multiple_results = True


def bind(operands: Sequence[Array], **params: Any) -> list[Array]:
    """Give the recurrence's outputs.

    Args:
      operands: consts, the first carry, and xs `[T, ...]`.
      **params: `jaxpr`, the step, closed, of consts, carry, x_t; `num_consts`, `num_carry`;
        `length`, T; `reverse`, `unroll`; `overwrite`, which of xs nobody reads after;
        `derived`, whether this is a part of a derivative.
    """
    return recurrence_p.bind(*operands, **params)


def _plain(*operands: Array, jaxpr: Any, overwrite: Any, derived: bool, **params: Any) -> list:
    del overwrite, derived
    return run_plainly(jaxpr.jaxpr, operands, **params)


def _abstract(*avals: Any, jaxpr: Any, num_carry: int, length: int, **params: Any) -> list[Any]:
    del avals, params
    ends, ys = jaxpr.out_avals[:num_carry], jaxpr.out_avals[num_carry:]
    return [*ends, *(aval.update(shape=(length, *aval.shape)) for aval in ys)]


recurrence_p.def_abstract_eval(_abstract)


@partial(jax.jit, static_argnames="params")
def _jitted(params: tuple, operands: list[Array]) -> list[Array]:
    return bind(operands, **dict(params))


@recurrence_p.def_impl
def _impl(*operands: Array, **params: Any) -> list[Array]:
    return _jitted(tuple(params.items()), list(operands))


def _lower(in_place: bool) -> Any:
    return mlir.lower_fun(partial(run, in_place=in_place), multiple_results=True)


mlir.register_lowering(recurrence_p, _lower(in_place=False))
mlir.register_lowering(recurrence_p, _lower(in_place=True), platform="cpu")


def _jvp(
    primals: Sequence[Array],
    tangents: Sequence[Any],
    *,
    jaxpr: Any,
    num_consts: int,
    num_carry: int,
    overwrite: tuple[bool, ...],
    **params: Any,
) -> tuple[list[Array], list[Any]]:
    """Run the step with its residuals; then its tangent, from them."""
    active = tuple(not isinstance(tangent, ad.Zero) for tangent in tangents)
    split = linearize(jaxpr, num_consts, num_carry, active)
    params["derived"] = True
    num_ys = len(split.active_ys)
    found = bind(
        [*split.consts, *primals],
        jaxpr=split.forward,
        num_consts=len(split.consts) + num_consts,
        num_carry=num_carry,
        overwrite=overwrite,
        **params,
    )
    carry, xs = primals[num_consts : num_consts + num_carry], primals[num_consts + num_carry :]
    ys = found[num_carry:]

    def stack(residual: Any) -> Array:
        if residual.kind == "x":
            return xs[residual.index]
        if residual.kind == "y":
            return ys[residual.index]
        return shift(carry[residual.carry], ys[residual.index], reverse=params["reverse"])

    env = Env(zip(split.fixed_inputs, [*split.consts, *primals[:num_consts]], strict=True))
    env.do(*split.fixed)
    flags = (*active[:num_consts], *split.active_carry, *active[num_consts + num_carry :])
    given = [
        ad.instantiate_zeros(tangent)
        for tangent, one in zip(tangents, flags, strict=True)
        if one and _has_tangent(tangent)
    ]
    num_tangents = sum(
        one and _has_tangent(t)
        for one, t in zip(flags[: num_consts + num_carry], tangents, strict=False)
    )
    pushed = bind(
        [
            *env.read(split.invariant),
            *given[:num_tangents],
            *map(stack, split.residuals),
            *given[num_tangents:],
        ],
        jaxpr=split.tangent,
        num_consts=len(split.invariant) + sum(flags[:num_consts]),
        num_carry=sum(split.active_carry),
        overwrite=(
            *(one.kind == "y" and one.index >= num_ys for one in split.residuals),
            *(False for _ in given[num_tangents:]),
        ),
        **params,
    )
    pushed = iter(pushed)
    has_tangent = (*split.active_carry, *split.active_ys)
    found = found[: num_carry + num_ys]
    return found, [
        next(pushed) if one else ad.Zero.from_primal_value(value)
        for one, value in zip(has_tangent, found, strict=True)
    ]


def _has_tangent(tangent: Any) -> bool:
    """Tell an inexact value's tangent from those of integers and keys, which are none."""
    aval = tangent.aval if isinstance(tangent, ad.Zero) else tangent
    return jnp.issubdtype(aval.dtype, jnp.inexact)


ad.primitive_jvps[recurrence_p] = _jvp


def _transpose(
    cotangents: Sequence[Any],
    *operands: Any,
    jaxpr: Any,
    num_consts: int,
    num_carry: int,
    reverse: bool,
    overwrite: tuple[bool, ...],
    **params: Any,
) -> list[Array | None]:
    linear = tuple(map(ad.is_undefined_primal, operands))
    plan = transpose_step(jaxpr, num_consts, num_carry, linear)
    variables = jaxpr.jaxpr.invars
    carry = variables[num_consts : num_consts + num_carry]
    env = Env(
        (var, operand)
        for var, operand, is_linear in zip(variables, operands, linear, strict=True)
        if not is_linear and var not in carry
    )
    env.do(*plan.fixed)
    d_out = [ad.instantiate_zeros(one) for one in cotangents]
    d_ys = d_out[num_carry:]
    may = dict(zip(variables[num_consts + num_carry :], overwrite, strict=True))
    found = bind(
        [
            *env.read(plan.loop_consts),
            *d_out[:num_carry],
            *(jnp.zeros(var.aval.shape, var.aval.dtype) for var in plan.summed),
            *env.read(plan.loop_xs),
            *(d_ys[index] for index in plan.loop_ys),
        ],
        jaxpr=plan.step,
        num_consts=len(plan.loop_consts),
        num_carry=num_carry + len(plan.summed),
        reverse=not reverse,
        overwrite=(
            *(
                one and may.get(var, False)
                for one, var in zip(plan.overwrite, plan.loop_xs, strict=True)
            ),
            *(False for _ in plan.loop_ys),
        ),
        **params,
    )
    d_carry, found = found[:num_carry], found[num_carry:]
    sums, stacks = found[: len(plan.summed)], found[len(plan.summed) :]
    by_var = Cotangents(zip(plan.summed, sums, strict=True))
    for var, place in plan.place.items():
        stack = stacks[place]
        by_var.add(var, sum_stack(stack, plan.then[var]) if var in plan.then else stack)
    for index, var in plan.direct:
        d_y = d_ys[index]
        by_var.add(var, jnp.sum(d_y, 0) if var in plan.invariant else d_y)
    linear_in = [var for var, one in zip(variables, linear, strict=True) if one]
    sum_over_time(plan, env, by_var, [var for var in linear_in if var not in carry])
    by_var |= zip(carry, d_carry, strict=True)

    def result(var: Any, operand: Any) -> Any:
        if not ad.is_undefined_primal(operand):
            return None
        return by_var[var] if var in by_var else ad.Zero(operand.aval)

    return list(map(result, variables, operands))


ad.primitive_transposes[recurrence_p] = _transpose


def _batch(axis: Any, operands: Sequence[Array], dims: Sequence[Any], **params: Any) -> Any:
    """Let JAX batch the `lax.scan`, and take the step of what comes of it."""
    batched = _batched_outputs(
        params["jaxpr"].jaxpr,
        params["num_consts"],
        params["num_carry"],
        tuple(dim is not None for dim in dims),
    )
    # a carry's new axis stands first; that of outputs after time
    out_dims = [
        (0 if place < params["num_carry"] else 1) if one else None
        for place, one in enumerate(batched)
    ]
    vmapped = jax.vmap(
        partial(_plain, **params),
        in_axes=tuple(dims),
        out_axes=out_dims,
        axis_size=axis.size,
        axis_name=axis.name,
        spmd_axis_name=axis.spmd_name,
    )
    closed = jax.make_jaxpr(vmapped)(*operands)
    kept = {name: params[name] for name in ("overwrite", "derived")}
    return swap_scans(closed, operands, **kept), out_dims


def _batched_outputs(
    jaxpr: Any, num_consts: int, num_carry: int, batched: tuple[bool, ...]
) -> list[bool]:
    """Tell which outputs depend on a batched input, round by the carry too."""
    flags = list(batched)
    while True:
        found = reached(jaxpr.eqns, (v for v, one in zip(jaxpr.invars, flags, strict=True) if one))
        out = [bool(variables_of([var])) and var in found for var in jaxpr.outvars]
        carry = slice(num_consts, num_consts + num_carry)
        joined = [a or b for a, b in zip(flags[carry], out[:num_carry], strict=True)]
        if joined == flags[carry]:
            return [*joined, *out[num_carry:]]
        flags[carry] = joined


batching.fancy_primitive_batchers[recurrence_p] = _batch


def swap_scans(closed: Any, operands: Sequence[Array], **params: Any) -> list[Array]:
    """Evaluate a jaxpr, with a recurrence in the place of each `lax.scan` that can be one."""
    env = Env(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    env.assign(closed.jaxpr.invars, operands)
    for eqn in closed.jaxpr.eqns:
        if eqn.primitive.name == "scan" and explain_refusal(eqn) is None:
            env.assign(eqn.outvars, bind_scan(eqn, env.read(eqn.invars), **params))
        else:
            env.do(eqn)
    return env.read(closed.jaxpr.outvars)


def explain_refusal(eqn: Any) -> str | None:
    """Say why a `lax.scan` is left as it is, or None if a recurrence can take its place."""
    length, unroll = eqn.params["length"], eqn.params["unroll"]
    if eqn.effects:
        return f"its step has effects: {', '.join(sorted(map(str, eqn.effects)))}"
    if length < 2:
        return "it has less than two steps"
    if unroll == 0 or unroll >= length:
        return "it is unrolled whole"
    return None


def bind_scan(eqn: Any, operands: Sequence[Array], **params: Any) -> list[Array]:
    """Run a `lax.scan`'s operation as a recurrence."""
    num_consts, num_carry = num_consts_and_carry(eqn)
    jaxpr, consts = step_of_scan(eqn.params["jaxpr"])
    given = {"overwrite": (False,) * (len(operands) - num_consts - num_carry), "derived": False}
    return bind(
        [*consts, *operands],
        jaxpr=jaxpr,
        num_consts=len(consts) + num_consts,
        num_carry=num_carry,
        length=eqn.params["length"],
        reverse=eqn.params["reverse"],
        unroll=eqn.params["unroll"],
        **(given | params),
    )

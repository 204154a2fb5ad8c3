"""The recurrence as an operation of JAX's: its derivative, its transpose, its batches.

`recurrence_p` takes and gives what `lax.scan`'s own operation does, flat. JAX's
transformations meet it through the rules below, in any order and any number of times:

    derivative    two recurrences, the step with residuals and the tangent (`linearize`)
    transpose     a recurrence that goes the other way, and products over time (`backward`)
    batch         as `lax.scan` is batched, then a recurrence again (`swap`)
    lowering      by platform: in place on CPU, hoisted elsewhere (`forward`)
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.internals import (
    ClosedJaxpr,
    Primitive,
    Tracer,
    ad,
    mlir,
    opened,
)
from deeprnn_jax.meshes import in_context
from deeprnn_jax.recurrence.analysis import part
from deeprnn_jax.recurrence.backward import transpose
from deeprnn_jax.recurrence.cotangents import collect, pull_back
from deeprnn_jax.recurrence.forward import hoist, run, run_plainly
from deeprnn_jax.recurrence.jaxprs import Env, dtype_of, shape_of
from deeprnn_jax.recurrence.linearize import Residual, linearize
from deeprnn_jax.recurrence.loop import shift
from deeprnn_jax.recurrence.parts import Part, Parts, cut, run_in_parts
from deeprnn_jax.recurrence.rules import CPU, Rules
from deeprnn_jax.types import Array

recurrence_p = Primitive("recurrence")
recurrence_p.multiple_results = True

# Parameters of `bind` that a `lax.scan` has not.
OWN = ("overwrite", "shown", "derived", "at_once", "whole")


def bind(operands: Sequence[Array], **params: Any) -> list[Array]:
    """Give the recurrence's outputs.

    Args:
      operands: consts, the first carry, and xs `[T, ...]`.
      **params: `jaxpr`, the step, closed, of consts, carry, x_t; `num_consts`, `num_carry`;
        `length`, T; `reverse`, `unroll`; `overwrite`, which of xs nobody reads after;
        `shown`, how many of the outputs, the first, are read by others than a backward pass;
        `derived`, whether this is a part of a derivative; `at_once`, whether all that needs no
        carry is done for all steps at once; `whole`, whether it is never cut in parts.
    """
    return recurrence_p.bind(*operands, **params)


def plain(*operands: Array, jaxpr: Any, **params: Any) -> list[Array]:
    """Run the `lax.scan` that a recurrence stands for."""
    for name in OWN:
        del params[name]
    return run_plainly(opened(jaxpr), operands, **params)


def _abstract(*avals: Any, jaxpr: Any, num_carry: int, length: int, **params: Any) -> list[Any]:
    del avals, params
    ends, ys = jaxpr.out_avals[:num_carry], jaxpr.out_avals[num_carry:]
    return [*ends, *(aval.update(shape=(length, *aval.shape)) for aval in ys)]


recurrence_p.def_abstract_eval(_abstract)


@partial(jax.jit, static_argnames="params")
def _jitted(params: tuple, operands: list[Array]) -> list[Array]:
    if not any(isinstance(operand, Tracer) for operand in operands):
        return plain(*operands, **dict(params))  # JAX looks for a NaN, operation by operation
    return bind(operands, **dict(params))


@recurrence_p.def_impl
def _impl(*operands: Array, **params: Any) -> list[Array]:
    return _jitted(tuple(params.items()), list(operands))


def bind_part(one: Part, operands: Sequence[Array], params: dict[str, Any]) -> list[Array]:
    """Give the outputs of a part of a recurrence.

    Args:
      one: the part.
      operands: of its step.
      params: of the whole.
    """
    own = {
        "jaxpr": one.step,
        "num_consts": len(one.consts),
        "num_carry": len(one.carry),
        "overwrite": (False,) * (len(operands) - len(one.consts) - len(one.carry)),
        "shown": len(one.stacked),
        "at_once": not one.carry,
    }
    return bind(operands, **params | own)


def bind_parts(
    parts: Parts,
    operands: Sequence[Array],
    params: dict[str, Any],
    bind_one: Callable[..., list[Array]] = bind_part,
) -> list[Array]:
    """Give the outputs of a recurrence from those of its parts.

    Args:
      parts: of `cut`.
      operands: of the whole.
      params: of the whole.
      bind_one: gives the outputs of a part, as `bind_part` does.
    """
    names = ("jaxpr", "num_consts", "num_carry", "length", "reverse")
    settings = {name: params[name] for name in names}
    return run_in_parts(parts, partial(bind_one, params=params), *operands, **settings)


def parts_of(params: dict[str, Any]) -> Parts | None:
    """Cut a recurrence, but not one that is to stay whole, or a part of a derivative."""
    if params["derived"] or params["whole"] or not params["num_carry"]:
        return None
    return cut(params["jaxpr"], params["num_consts"], params["num_carry"])


def run_by_rules(*operands: Array, rules: Rules, **params: Any) -> list[Array]:
    """Give the recurrence's outputs, part by part unless what is stacked for that is large."""
    parts = parts_of(params)
    if parts is not None and parts.num_bytes * params["length"] <= rules.large_stacks:
        return bind_parts(parts, operands, params)
    del params["whole"]
    return run(*operands, rules=rules, **params)


def _lower(rules: Rules) -> Any:
    return mlir.lower_fun(partial(run_by_rules, rules=rules), multiple_results=True)


mlir.register_lowering(recurrence_p, _lower(Rules()))
mlir.register_lowering(recurrence_p, _lower(CPU), platform="cpu")


def _jvp(
    primals: Sequence[Array], tangents: Sequence[Any], **params: Any
) -> tuple[list[Array], list[Any]]:
    """Give the derivative of the parts, each by its own rule, or of the whole."""
    parts = parts_of(params)
    if parts is None:
        return _jvp_of_one(primals, tangents, **params)
    active = [not isinstance(tangent, ad.Zero) for tangent in tangents]

    def push(*given: Array) -> list[Array]:
        rest = iter(given)
        operands = [next(rest) if one else p for one, p in zip(active, primals, strict=True)]
        return bind_parts(parts, operands, params)

    given = tuple(compress(primals, active)), tuple(compress(tangents, active))
    found, pushed = jax.jvp(push, *given)
    return found, [
        ad.Zero(jax.typeof(value).to_tangent_aval()) if one.dtype == jax.dtypes.float0 else one
        for value, one in zip(found, pushed, strict=True)
    ]


def _jvp_of_one(
    primals: Sequence[Array],
    tangents: Sequence[Any],
    *,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    overwrite: tuple[bool, ...],
    **params: Any,
) -> tuple[list[Array], list[Any]]:
    """Run the step with its residuals, then its tangent on them."""
    active = tuple(not isinstance(tangent, ad.Zero) for tangent in tangents)
    split = linearize(jaxpr, num_consts, num_carry, active)
    params["derived"], params["shown"] = True, len(split.active_ys)
    consts, carry, xs = part(primals, num_consts, num_carry)
    found = bind(
        [*split.new_consts, *primals],
        jaxpr=split.forward,
        num_consts=len(split.new_consts) + num_consts,
        num_carry=num_carry,
        overwrite=overwrite,
        **params,
    )
    ends, ys, joined = part(found, num_carry, len(split.active_ys))

    def stack(residual: Residual) -> Array:
        if residual.kind == "x":
            return xs[residual.place]
        after = [*ys, *joined][residual.place]
        if residual.kind == "y":
            return after
        return shift(carry[residual.carry], after, reverse=params["reverse"])

    env = Env(zip(split.consts, [*split.new_consts, *consts], strict=True))
    env.do(*split.fixed)
    d_consts, d_carry, d_xs = part(tangents, num_consts, num_carry)
    d_consts, d_xs = (_with_tangents(some) for some in (d_consts, d_xs))
    pushed = bind(
        [
            *env.read(split.invariant),
            *d_consts,
            *map(ad.instantiate_zeros, compress(d_carry, split.active_carry)),
            *map(stack, split.residuals),
            *d_xs,
        ],
        jaxpr=split.tangent,
        num_consts=len(split.invariant) + len(d_consts),
        num_carry=sum(split.active_carry),
        # nobody else reads a residual that is no input and no output
        overwrite=(
            *(False for _ in split.there),
            *(True for _ in split.joined),
            *(False for _ in d_xs),
        ),
        **params | {"shown": sum(split.active_ys)},
    )
    pushed = iter(pushed)
    flags = (*split.active_carry, *split.active_ys)
    return [*ends, *ys], [
        next(pushed) if one else ad.Zero(jax.typeof(value).to_tangent_aval())
        for one, value in zip(flags, [*ends, *ys], strict=True)
    ]


def _with_tangents(tangents: Sequence[Any]) -> list[Array]:
    """Leave out what has no tangent: zeros, and those of integers and keys."""
    given = [one for one in tangents if not isinstance(one, ad.Zero)]
    return [one for one in given if jnp.issubdtype(jax.typeof(one).dtype, jnp.inexact)]


ad.primitive_jvps[recurrence_p] = _jvp


def _transpose(
    cotangents: Sequence[Any],
    *operands: Any,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    reverse: bool,
    overwrite: tuple[bool, ...],
    **params: Any,
) -> list[Any]:
    """Run the transposed step the other way, then pull back what was hoisted."""
    linear = tuple(map(ad.is_undefined_primal, operands))
    _, carry_is_linear, _ = part(linear, num_consts, num_carry)
    if not params["derived"] and not all(carry_is_linear):
        # not a tangent of ours, which is linear in all of its carry
        params |= {"num_consts": num_consts, "num_carry": num_carry}
        params |= {"reverse": reverse, "overwrite": overwrite}
        return _transpose_plainly(cotangents, operands, partial(plain, jaxpr=jaxpr, **params))
    operands = tuple(one if ad.is_undefined_primal(one) else in_context(one) for one in operands)
    cotangents = [one if isinstance(one, ad.Zero) else in_context(one) for one in cotangents]
    plan = transpose(jaxpr, num_consts, num_carry, linear, params["at_once"])
    variables = opened(jaxpr).invars
    _, carry, xs = part(variables, num_consts, num_carry)
    env = Env(
        (var, operand)
        for var, operand, is_linear in zip(variables, operands, linear, strict=True)
        if not is_linear
    )
    env.do(*plan.tangent.fixed)
    hoist(plan.before, env, plan.tangent.invariant)
    d_ends, d_ys, _ = part(list(map(ad.instantiate_zeros, cotangents)), num_carry, len(cotangents))
    may_overwrite = dict(zip(xs, overwrite, strict=True))
    found = bind(
        [
            *env.read(plan.consts),
            *d_ends,
            *(jnp.zeros(shape_of(one), dtype_of(one)) for one in plan.summed.values()),
            *env.read(plan.xs),
            *(d_ys[index] for index in plan.loop_ys),
        ],
        jaxpr=plan.step,
        num_consts=len(plan.consts),
        num_carry=num_carry + len(plan.summed),
        reverse=not reverse,
        overwrite=(
            *(one and may_overwrite[v] for one, v in zip(plan.overwrite, plan.xs, strict=True)),
            *(False for _ in plan.loop_ys),
        ),
        **params | {"shown": 0},
    )
    d_carry, sums, stacks = part(found, num_carry, len(plan.summed))
    by_var = collect(plan, dict(zip(carry, d_carry, strict=True)), sums, stacks, d_ys)
    hoist(plan.after, env, plan.tangent.invariant)
    pull_back(plan.tangent, env, by_var)
    return [
        by_var.get(var, ad.Zero(operand.aval)) if is_linear else None
        for var, operand, is_linear in zip(variables, operands, linear, strict=True)
    ]


ad.primitive_transposes[recurrence_p] = _transpose


def _transpose_plainly(
    cotangents: Sequence[Any], operands: Sequence[Any], function: Callable[..., list[Array]]
) -> list[Any]:
    """Transpose what runs a `lax.scan`."""
    linear = [operand for operand in operands if ad.is_undefined_primal(operand)]

    def push(*tangents: Array) -> list[Array]:
        rest = iter(tangents)
        found = function(*(next(rest) if ad.is_undefined_primal(one) else one for one in operands))
        return [one for one, d in zip(found, cotangents, strict=True) if not isinstance(d, ad.Zero)]

    shapes = [jax.ShapeDtypeStruct(one.aval.shape, one.aval.dtype) for one in linear]
    given = [one for one in cotangents if not isinstance(one, ad.Zero)]
    found = iter(jax.linear_transpose(push, *shapes)(given))
    return [next(found) if ad.is_undefined_primal(one) else None for one in operands]

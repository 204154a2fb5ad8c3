"""Recurrences in the place of `lax.scan`s: those that JAX has traced, or batched."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax

from deeprnn_jax.internals import batching, num_consts_and_carry, opened
from deeprnn_jax.recurrence.analysis import spread
from deeprnn_jax.recurrence.jaxprs import Env, is_placed
from deeprnn_jax.recurrence.orientation import step_of_scan
from deeprnn_jax.recurrence.primitive import OWN, bind, plain, recurrence_p
from deeprnn_jax.types import Array


def swap_scans(
    closed: Any,
    operands: Sequence[Array],
    run: Callable[..., list[Array]] = bind,
    **params: Any,
) -> list[Array]:
    """Evaluate a jaxpr, with a recurrence in the place of each `lax.scan` that can be one.

    Args:
      closed: the jaxpr.
      operands: of it.
      run: what runs a recurrence, as `bind`.
      **params: of `bind`, in place of those that a `lax.scan` has.
    """
    env = Env(zip(opened(closed).constvars, closed.consts, strict=True))
    env.assign(opened(closed).invars, operands)
    for eqn in opened(closed).eqns:
        if eqn.primitive.name == "scan" and explain_refusal(eqn) is None:
            consts, own = recurrence_of(eqn)
            env.assign(eqn.outvars, run([*consts, *env.read(eqn.invars)], **own | params))
        else:
            env.do(eqn)
    return env.read(opened(closed).outvars)


def explain_refusal(eqn: Any) -> str | None:
    """Say why a `lax.scan` is left as it is, or None if a recurrence can take its place."""
    length, unroll = eqn.params["length"], eqn.params["unroll"]
    if eqn.effects:
        return f"its step has effects: {', '.join(sorted(map(str, eqn.effects)))}"
    if not isinstance(length, int):
        return "how many steps it has is a symbol"
    if length < 2:
        return "it has less than two steps"
    if any(is_placed(var) for var in (*eqn.invars, *eqn.outvars)):
        return "its arrays lie on a mesh with explicit axes, or vary over manual ones"
    if unroll == 0 or unroll >= length:
        return "it is unrolled whole"
    return None


def recurrence_of(eqn: Any) -> tuple[list[Any], dict[str, Any]]:
    """Give a `lax.scan`'s operation as a recurrence.

    Returns:
      Arrays that come before its operands, and the parameters of `bind`.
    """
    num_consts, num_carry = num_consts_and_carry(eqn)
    jaxpr, consts = step_of_scan(eqn.params["jaxpr"], num_consts)
    return consts, {
        "jaxpr": jaxpr,
        "num_consts": len(consts) + num_consts,
        "num_carry": num_carry,
        "length": eqn.params["length"],
        "reverse": eqn.params["reverse"],
        "unroll": eqn.params["unroll"],
        "overwrite": (False,) * (len(eqn.invars) - num_consts - num_carry),
        "shown": len(eqn.outvars) - num_carry,
        "derived": False,
        "at_once": False,
        "whole": False,
    }


def _batch(axis: Any, operands: Sequence[Array], dims: Sequence[Any], **params: Any) -> Any:
    """Let JAX batch the `lax.scan`, and take the step of what comes of it."""
    counts = params["num_consts"], params["num_carry"]
    _, batched = spread(opened(params["jaxpr"]), *counts, [dim is not None for dim in dims])
    # a carry's new axis stands first; that of outputs after time
    out_dims = [
        (0 if place < params["num_carry"] else 1) if one else None
        for place, one in enumerate(batched)
    ]
    fixed = tuple(params.items())
    avals = tuple(map(jax.typeof, operands))
    names = (axis.size, axis.name, axis.spmd_name)
    closed = _trace_batched(fixed, tuple(dims), tuple(out_dims), avals, names)
    kept = {name: params[name] for name in OWN}
    return swap_scans(closed, operands, **kept), out_dims


@lru_cache(maxsize=256)
def _trace_batched(
    params: tuple, dims: tuple, out_dims: tuple, avals: tuple, axis: tuple[int, Any, Any]
) -> Any:
    """Trace the `lax.scan` of a recurrence, batched."""
    size, name, spmd_name = axis
    vmapped = jax.vmap(
        partial(plain, **dict(params)),
        in_axes=dims,
        out_axes=list(out_dims),
        axis_size=size,
        axis_name=name,
        spmd_axis_name=spmd_name,
    )
    return jax.make_jaxpr(vmapped)(*avals)


batching.fancy_primitive_batchers[recurrence_p] = _batch

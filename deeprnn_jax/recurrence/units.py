"""A step that moves each unit of its carry on from that unit alone: its derivative, unit by unit.

Whether it is such a step is read off its operations: on the way from the carry to its next
value each must be elementwise, so that nobody has to be believed.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.internals import ClosedJaxpr, JaxprEqn, close, opened
from deeprnn_jax.recurrence.analysis import part
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    as_function,
    bodies_of,
    is_var,
    operands_of,
    reached,
    shape_of,
    trace,
    variables_of,
)
from deeprnn_jax.recurrence.residuals import CHEAP
from deeprnn_jax.types import Array

# Of the operations that are cheap, those that may bring one unit's value to another's place.
_MOVING = frozenset(
    {
        *("broadcast_in_dim", "concatenate", "expand_dims", "iota", "pad", "reshape", "rev"),
        *("slice", "split", "squeeze", "transpose"),
    }
)
# Operations that stand for what is inside, as `jax.nn.relu` is one.
_CALLS = frozenset({"custom_jvp_call", "custom_vjp_call", "jit", "pjit"})


class Slopes(NamedTuple):
    """The derivative of a part's step by its carry, and, where it is affine, its value at 0."""

    step: Any  # (*consts, *carry, *reads) -> K x K slopes, row by row, and K values if affine
    is_same: list[bool]  # which of these no step changes
    is_affine: bool  # whether the carry is in none of them
    mixing: str | None  # an operation that mixes units


@lru_cache(maxsize=256)
def slopes_of(step: ClosedJaxpr, num_consts: int, num_carry: int) -> Slopes:
    """Find the derivative of a part's step by its carry, unit by unit."""
    jaxpr = opened(step)
    _, carry, _ = part(jaxpr.invars, num_consts, num_carry)
    mixing = _mixing(jaxpr.eqns, carry, jaxpr.outvars[:num_carry])
    if mixing is not None:
        return Slopes(None, [], False, mixing)

    def coefficients(*values: Array) -> list[Array]:
        given, states, rest = part(values, num_consts, num_carry)

        def ends(*states: Array) -> list[Array]:
            env = Env(zip(jaxpr.invars, [*given, *states, *rest], strict=True))
            env.do(*jaxpr.eqns)
            return env.read(jaxpr.outvars[:num_carry])

        columns = []
        for index in range(num_carry):
            push = [jnp.full_like(h, float(place == index)) for place, h in enumerate(states)]
            columns.append(jax.jvp(ends, tuple(states), tuple(push))[1])
        return [column[row] for row in range(num_carry) for column in columns]

    def both(*values: Array) -> list[Array]:
        given, _, rest = part(values, num_consts, num_carry)
        return [*coefficients(*values), *_at_zero(jaxpr, given, rest)]

    avals = [var.aval for var in jaxpr.invars]
    found = trace(coefficients, avals)
    of_states = reached(found.eqns, found.invars[num_consts : num_consts + num_carry])
    is_affine = not any(is_var(var) and var in of_states for var in found.outvars)
    if is_affine:
        found = trace(both, avals)
    varying = reached(found.eqns, found.invars[num_consts:])
    is_same = [not (is_var(var) and var in varying) for var in found.outvars]
    size = num_carry * num_carry
    return Slopes(
        close(found), is_same[:size] + [False] * (num_carry if is_affine else 0), is_affine, None
    )


class _Zero(NamedTuple):
    """What is known to be zero."""

    aval: Any


# What gives zero of zero, whatever the other operand is.
_KEEPS_ZERO = frozenset(
    {
        *("mul", "neg", "convert_element_type", "copy", "copy_p", "split", "slice", "reshape"),
        *("squeeze", "expand_dims", "broadcast_in_dim", "transpose"),
    }
)


def _at_zero(jaxpr: Any, consts: Sequence[Array], reads: Sequence[Array]) -> list[Array]:
    """Give the carry after a step that begins with zeros; nothing is multiplied by them.

    Args:
      jaxpr: of consts, carry, x_t; it gives the carry first.
      consts: their values.
      reads: x_t.
    """
    num_carry = len(jaxpr.invars) - len(consts) - len(reads)
    _, carry, _ = part(jaxpr.invars, len(consts), num_carry)
    env: dict[Any, Any] = Env()
    env.update({var: _Zero(var.aval) for var in carry})
    rest = [var for var in jaxpr.invars if var not in env]
    env.update(zip(rest, [*consts, *reads], strict=True))

    def value(operand: Any) -> Any:
        found = env[operand] if is_var(operand) else None
        if isinstance(found, _Zero):
            return jnp.zeros(found.aval.shape, found.aval.dtype)
        return Env(env).read([operand])[0] if found is None else found

    for eqn in jaxpr.eqns:
        is_zero = [is_var(v) and isinstance(env[v], _Zero) for v in eqn.invars]
        name = eqn.primitive.name
        if any(is_zero) and (name in _KEEPS_ZERO or (name == "div" and is_zero[0])):
            env.update({var: _Zero(var.aval) for var in eqn.outvars})
        elif (
            any(is_zero)
            and name in ("add", "add_any", "sub")
            and not (name == "sub" and is_zero[0])
        ):
            other = eqn.invars[0 if all(is_zero) else is_zero.index(False)]
            (out,) = eqn.outvars
            env[out] = jnp.broadcast_to(value(other), shape_of(out))
        else:
            values = [value(v) for v in operands_of(eqn)]
            env.update(zip(eqn.outvars, as_function(eqn)(*values), strict=True))
    return [value(var) for var in jaxpr.outvars[:num_carry]]


def _mixing(eqns: Sequence[JaxprEqn], carry: Sequence[Any], ends: Sequence[Any]) -> str | None:
    """Name an operation on the way from a carry to its ends that may mix units, if there is one."""
    shapes = {shape_of(var) for var in carry}
    if len(shapes) > 1:
        return f"a carry of several shapes, {sorted(shapes)},"
    (shape,) = shapes
    needed = _leading_to(eqns, ends)
    of_carry = set(carry)
    for eqn in eqns:
        if not any(var in of_carry for var in variables_of(eqn.invars)):
            continue
        of_carry.update(eqn.outvars)
        if not any(var in needed for var in eqn.outvars):
            continue
        name = eqn.primitive.name
        bodies = list(bodies_of(eqn)) if name in _CALLS else []
        in_place = (name in CHEAP and name not in _MOVING) or bodies or _by_blocks(eqn, shape)
        if not in_place or any(not _is_blocks(shape_of(var), shape) for var in eqn.outvars):
            return f"{name!r}"
        for body in bodies:
            inside = _mixing(
                body.eqns,
                [
                    inner
                    for inner, outer in zip(body.invars, eqn.invars, strict=True)
                    if is_var(outer) and outer in of_carry
                ],
                body.outvars,
            )
            if inside is not None:
                return inside
    return None


def _is_blocks(whole: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Tell whether an array is one of units, or several side by side on its last axis."""
    return whole == shape or bool(
        shape and whole and whole[:-1] == shape[:-1] and shape[-1] and whole[-1] % shape[-1] == 0
    )


def _by_blocks(eqn: JaxprEqn, shape: tuple[int, ...]) -> bool:
    """Tell whether an operation cuts an array of such blocks between them, or joins it of them."""
    if not all(_is_blocks(shape_of(var), shape) for var in (*eqn.invars, *eqn.outvars)):
        return False
    last = len(shape) - 1
    if eqn.primitive.name == "concatenate":
        return eqn.params["dimension"] == last
    if eqn.primitive.name == "split":
        return eqn.params["axis"] == last
    if eqn.primitive.name == "slice" and eqn.params["strides"] is None:
        start = eqn.params["start_indices"]
        return not any(start[:last]) and start[last] % shape[last] == 0
    return False


def _leading_to(eqns: Sequence[JaxprEqn], wanted: Sequence[Any]) -> set[Any]:
    """Give the variables that the wanted ones are made of."""
    needed = set(variables_of(wanted))
    for eqn in reversed(eqns):
        if any(var in needed for var in eqn.outvars):
            needed.update(variables_of(eqn.invars))
    return needed

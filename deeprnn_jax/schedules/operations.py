"""A traced step's operations, to be looked at and done one at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from deeprnn_jax.types import Array

_EMPTY = jax.make_jaxpr(lambda: ())().jaxpr
_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call"})


def trace_inlined(fun: Callable, args: Sequence[Any]) -> tuple[Jaxpr, Sequence[Any]]:
    """Trace a function with the calls inside it opened, for what is in them counts too."""

    def evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Array]:
        env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in _CALLS:
                inner: Any = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
                found = evaluate(inner.jaxpr, inner.consts, read_values(env, eqn.invars))
            else:
                found = bind(eqn, env)
            env.update(zip(eqn.outvars, found, strict=True))
        return read_values(env, jaxpr.outvars)

    shapes = [jax.ShapeDtypeStruct(jnp.shape(arg), arg.dtype) for arg in args]
    closed = jax.make_jaxpr(fun)(*shapes)
    opened = jax.make_jaxpr(lambda *args: evaluate(closed.jaxpr, closed.consts, args))(*shapes)
    return opened.jaxpr, opened.consts


def operands_of(eqn: JaxprEqn) -> list[Var]:
    """Give the variables that an operation reads, each once."""
    return list(dict.fromkeys(variables_of(eqn.invars)))


def bind(eqn: JaxprEqn, env: dict) -> list[Array]:
    """Do one operation on the values of its variables."""
    return as_function(eqn)(*read_values(env, operands_of(eqn)))


def as_function(eqn: JaxprEqn) -> Callable[..., list[Array]]:
    """Give an operation as a function of its variables."""
    jaxpr = _EMPTY.replace(
        invars=operands_of(eqn), outvars=list(eqn.outvars), eqns=[eqn], effects=eqn.effects
    )
    return jaxpr_as_fun(ClosedJaxpr(jaxpr, []))


def read_values(env: dict, operands: Sequence[Any]) -> list[Any]:
    """Give the values of operands, of which some are literals."""
    return [var.val if isinstance(var, Literal) else env[var] for var in operands]


def variables_of(operands: Sequence[Any]) -> list[Var]:
    """Leave out the literals."""
    return [var for var in operands if not isinstance(var, Literal)]


def count_uses(eqns: Sequence[JaxprEqn], outvars: Sequence[Any]) -> dict[Var, int]:
    """Tell how often each variable is read, outputs included."""
    uses: dict[Var, int] = {}
    for operands in (*(eqn.invars for eqn in eqns), outvars):
        for var in variables_of(operands):
            uses[var] = uses.get(var, 0) + 1
    return uses


def shape_of(var: Any) -> tuple[int, ...]:
    """Give a variable's shape."""
    return tuple(var.aval.shape)


def dtype_of(var: Any) -> Any:
    """Give a variable's dtype."""
    return var.aval.dtype


def is_floating(value: Any) -> bool:
    """Tell whether a variable, or an array, has a floating dtype."""
    return jnp.issubdtype(getattr(value, "aval", value).dtype, jnp.floating)


def first_floating(tree: Any) -> Array:
    """Give the first array of a tree that has a floating dtype."""
    return next(leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf))


def num_bytes(var: Any) -> int:
    """Give the size of a variable's value."""
    return var.aval.size * var.aval.dtype.itemsize


def zeros_of(var: Any) -> Array:
    """Give zeros in place of a variable's value."""
    return jnp.zeros(shape_of(var), dtype_of(var))

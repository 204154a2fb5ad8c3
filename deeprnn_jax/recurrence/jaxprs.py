"""Jaxprs: traced, inlined, cut and evaluated. All that depends on JAX's own data stands here.

A step is held as a jaxpr without constants whose inputs are consts, carry and x_t, in that
order, flat. Nested calls (`jit`) are opened, so that what is in them can be sorted too.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from deeprnn_jax.types import Array

_EMPTY = jax.make_jaxpr(lambda: ())().jaxpr
_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call"})


def trace(fun: Callable[..., Sequence[Any]], shapes: Sequence[Any]) -> tuple[Jaxpr, list[Any]]:
    """Trace a function of flat arrays, open the calls in it, and drop what no output needs.

    Args:
      fun: `(*arrays) -> arrays`.
      shapes: of each array, anything with a shape and a dtype.

    Returns:
      The jaxpr, and the values of its constvars.
    """
    closed = jax.make_jaxpr(fun)(*map(shape_struct, shapes))
    return open_calls(closed)


def open_calls(closed: Any) -> tuple[Jaxpr, list[Any]]:
    """Open the calls of a closed jaxpr; give the jaxpr and its constants."""
    while any(eqn.primitive.name in _CALLS for eqn in closed.jaxpr.eqns):
        shapes = [shape_struct(var.aval) for var in closed.jaxpr.invars]
        closed = jax.make_jaxpr(lambda *args, c=closed: _evaluate_opened(c, args))(*shapes)
    return prune(closed.jaxpr), list(closed.consts)


def _evaluate_opened(closed: Any, args: Sequence[Any]) -> list[Array]:
    env = Env(zip([*closed.jaxpr.constvars, *closed.jaxpr.invars], [*closed.consts, *args]))
    for eqn in closed.jaxpr.eqns:
        if eqn.primitive.name in _CALLS:
            inner: Any = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            env.assign(eqn.outvars, _evaluate_opened(inner, env.read(eqn.invars)))
        else:
            env.do(eqn)
    return env.read(closed.jaxpr.outvars)


class Env(dict):
    """The values of variables."""

    def read(self, operands: Iterable[Any]) -> list[Any]:
        """Give the values of operands, of which some are literals."""
        return [
            jnp.asarray(one.val, dtype_of(one)) if isinstance(one, Literal) else self[one]
            for one in operands
        ]

    def assign(self, variables: Iterable[Any], values: Iterable[Any]) -> None:
        """Set the values of variables."""
        self.update(zip(variables, values, strict=True))

    def do(self, *eqns: JaxprEqn) -> None:
        """Do operations one after the other."""
        for eqn in eqns:
            self.assign(eqn.outvars, as_function(eqn)(*self.read(operands_of(eqn))))


def as_function(eqn: JaxprEqn) -> Callable[..., list[Array]]:
    """Give an operation as a function of its variables, each once."""
    return jaxpr_as_fun(close(make_jaxpr(operands_of(eqn), [eqn], eqn.outvars)))


def make_jaxpr(invars: Sequence[Var], eqns: Sequence[JaxprEqn], outvars: Sequence[Any]) -> Jaxpr:
    """Put operations together."""
    effects = frozenset().union(*(eqn.effects for eqn in eqns))
    return _EMPTY.replace(
        invars=list(invars), eqns=list(eqns), outvars=list(outvars), effects=effects
    )


def close(jaxpr: Jaxpr) -> ClosedJaxpr:
    """Give a jaxpr without constants as JAX's other functions want it."""
    return ClosedJaxpr(jaxpr, [])


def prune(jaxpr: Jaxpr) -> Jaxpr:
    """Drop the operations that no output needs and that have no effect."""
    return jaxpr.replace(eqns=live(jaxpr.eqns, jaxpr.outvars))


def live(eqns: Sequence[JaxprEqn], wanted: Iterable[Any]) -> list[JaxprEqn]:
    """Give those of the operations that the wanted variables need."""
    needed, found = set(variables_of(wanted)), []
    for eqn in reversed(eqns):
        if eqn.effects or any(var in needed for var in eqn.outvars):
            needed.update(variables_of(eqn.invars))
            found.append(eqn)
    return found[::-1]


def reached(eqns: Iterable[JaxprEqn], start: Iterable[Var]) -> set[Var]:
    """Give the variables that depend on any of those given, which are among them."""
    found = set(start)
    for eqn in eqns:
        if any(var in found for var in variables_of(eqn.invars)):
            found.update(eqn.outvars)
    return found


def variables_of(operands: Iterable[Any]) -> list[Var]:
    """Leave out the literals."""
    return [var for var in operands if not isinstance(var, Literal)]


def operands_of(eqn: JaxprEqn) -> list[Var]:
    """Give the variables that an operation reads, each once."""
    return list(dict.fromkeys(variables_of(eqn.invars)))


def shape_of(var: Any) -> tuple[int, ...]:
    """Give a variable's shape."""
    return tuple(var.aval.shape)


def dtype_of(var: Any) -> Any:
    """Give a variable's dtype."""
    return var.aval.dtype


def shape_struct(value: Any) -> jax.ShapeDtypeStruct:
    """Give the shape and dtype of an array, a variable's aval, or the like."""
    weak = bool(getattr(value, "weak_type", False))
    return jax.ShapeDtypeStruct(jnp.shape(value), value.dtype, weak_type=weak)


def is_inexact(var: Any) -> bool:
    """Tell whether a variable has a tangent of its own dtype: floating or complex."""
    return jnp.issubdtype(dtype_of(var), jnp.inexact)


def is_number(var: Any) -> bool:
    """Tell numbers and flags from typed random keys and the like."""
    return jnp.issubdtype(dtype_of(var), jnp.number) or dtype_of(var) == bool


def num_bytes(var: Any) -> int:
    """Give the size of a variable's value."""
    return var.aval.size * var.aval.dtype.itemsize


def num_consts_and_carry(eqn: JaxprEqn) -> tuple[int, int]:
    """Give how many of a `lax.scan`'s operands are consts, and how many the carry."""
    if "num_consts" in eqn.params:
        return eqn.params["num_consts"], eqn.params["num_carry"]
    consts, carry, _ = eqn.params["ft_in"].unpack()  # jax 0.12
    return len(consts), len(carry)



@lru_cache(maxsize=256)
def step_of_scan(closed: Any) -> tuple[ClosedJaxpr, list[Any]]:
    """Give a `lax.scan`'s step with calls opened and constants as first consts, and these."""
    jaxpr, consts = open_calls(closed)
    return close(jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars])), consts

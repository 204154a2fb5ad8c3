"""Jaxprs: traced, with their calls opened, cut and evaluated.

A step is held as a jaxpr without constants whose inputs are consts, carry and x_t, in that
order, flat. Nested calls (`jit`) are opened, so that what is in them can be sorted too.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.internals import (
    Jaxpr,
    JaxprEqn,
    Literal,
    Var,
    close,
    jaxpr_as_fun,
    opened,
    varying_axes,
)
from deeprnn_jax.meshes import mesh_of
from deeprnn_jax.types import Array

_EMPTY = opened(jax.make_jaxpr(lambda: ())())
_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call"})


def trace(
    fun: Callable[..., Sequence[Any]], avals: Sequence[Any], new_consts: list[Any] | None = None
) -> Jaxpr:
    """Trace a function of flat arrays, open the calls in it, and drop what no output needs.

    Args:
      fun: `(*arrays) -> arrays`.
      avals: of each array.
      new_consts: takes the arrays that the function brings with it, which are inputs of the
        jaxpr, before all others. None: there are none.

    Returns:
      The jaxpr, without constants.
    """
    jaxpr, consts = open_calls(jax.make_jaxpr(fun)(*map(_shape_struct, avals)))
    if new_consts is None:
        if consts:
            raise RuntimeError("a step taken apart has brought constants; please report it")
    else:
        new_consts.extend(consts)
    return jaxpr


def open_calls(closed: Any) -> tuple[Jaxpr, list[Any]]:
    """Open the calls of a jaxpr; its constants become its first inputs, and are given too."""
    while any(eqn.primitive.name in _CALLS for eqn in opened(closed).eqns):
        shapes = [_shape_struct(var.aval) for var in opened(closed).invars]
        closed = jax.make_jaxpr(lambda *args, c=closed: evaluate(c, args))(*shapes)
    jaxpr = opened(closed)
    invars = [*jaxpr.constvars, *jaxpr.invars]
    return make_jaxpr(invars, live(jaxpr.eqns, jaxpr.outvars), jaxpr.outvars), list(closed.consts)


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


def evaluate(
    closed: Any, args: Sequence[Any], do: Callable[[Env, JaxprEqn], None] = Env.do
) -> list[Array]:
    """Evaluate a jaxpr, the calls in it opened.

    Args:
      closed: the jaxpr, with its constants.
      args: flat.
      do: does an operation that is no call.
    """
    env = Env()
    env.assign([*opened(closed).constvars, *opened(closed).invars], [*closed.consts, *args])
    for eqn in opened(closed).eqns:
        if eqn.primitive.name in _CALLS:
            inner: Any = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            env.assign(eqn.outvars, evaluate(inner, env.read(eqn.invars), do))
        else:
            do(env, eqn)
    return env.read(opened(closed).outvars)


def as_function(eqn: JaxprEqn) -> Callable[..., list[Array]]:
    """Give an operation as a function of its variables, each once."""
    return jaxpr_as_fun(close(make_jaxpr(operands_of(eqn), [eqn], eqn.outvars)))


def make_jaxpr(invars: Sequence[Var], eqns: Sequence[JaxprEqn], outvars: Sequence[Any]) -> Jaxpr:
    """Put operations together."""
    effects = frozenset().union(*(eqn.effects for eqn in eqns))
    return _EMPTY.replace(
        invars=list(invars), eqns=list(eqns), outvars=list(outvars), effects=effects
    )


def live(eqns: Sequence[JaxprEqn], wanted: Iterable[Any]) -> list[JaxprEqn]:
    """Give those of the operations that the wanted variables need."""
    needed, found = set(variables_of(wanted)), []
    for eqn in reversed(eqns):
        if eqn.effects or any(var in needed for var in eqn.outvars):
            needed.update(variables_of(eqn.invars))
            found.append(eqn)
    return found[::-1]


def reached(
    eqns: Iterable[JaxprEqn], start: Iterable[Var], through: Callable[[Var], bool] | None = None
) -> set[Var]:
    """Give the variables that depend on any of those given, which are among them.

    Args:
      eqns: the operations, in order.
      start: the variables to begin with.
      through: which results count; None: all.
    """
    found = set(start)
    for eqn in eqns:
        if any(var in found for var in variables_of(eqn.invars)):
            found.update(var for var in eqn.outvars if through is None or through(var))
    return found


def has_body(eqn: JaxprEqn) -> bool:
    """Tell whether an operation has operations inside."""
    return any(True for _ in bodies_of(eqn))


def is_random(eqn: JaxprEqn) -> bool:
    """Tell whether an operation, or one inside it, draws random bits."""
    if eqn.primitive.name.startswith(("random_bits", "rng_")):
        return True
    return any(is_random(inner) for body in bodies_of(eqn) for inner in body.eqns)


def bodies_of(eqn: JaxprEqn) -> Iterator[Any]:
    """Give the jaxprs inside an operation."""
    for value in eqn.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            body = opened(one)
            if hasattr(body, "eqns"):
                yield body


def is_var(operand: Any) -> bool:
    """Tell a variable from a literal."""
    return not isinstance(operand, Literal)


def variables_of(operands: Iterable[Any]) -> list[Var]:
    """Leave out the literals."""
    return [var for var in operands if is_var(var)]


def operands_of(eqn: JaxprEqn) -> list[Var]:
    """Give the variables that an operation reads, each once."""
    return list(dict.fromkeys(variables_of(eqn.invars)))


def shape_of(var: Any) -> tuple[int, ...]:
    """Give a variable's shape."""
    return tuple(var.aval.shape)


def dtype_of(var: Any) -> Any:
    """Give a variable's dtype."""
    return var.aval.dtype


def _shape_struct(value: Any) -> jax.ShapeDtypeStruct:
    """Give the shape and dtype of an array, a variable's aval, or the like."""
    weak = bool(getattr(value, "weak_type", False))
    return jax.ShapeDtypeStruct(jnp.shape(value), value.dtype, weak_type=weak)


def is_inexact(var: Any) -> bool:
    """Tell whether a variable has a tangent of its own dtype: floating or complex."""
    return jnp.issubdtype(dtype_of(var), jnp.inexact)


def accumulation_dtype(dtype: Any) -> Any:
    """Give the dtype that sums are kept in: float32, or wider if `dtype` is."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)


def is_number(var: Any) -> bool:
    """Tell numbers and flags from typed random keys and the like."""
    return jnp.issubdtype(dtype_of(var), jnp.number) or dtype_of(var) == jnp.bool_


def is_placed(var: Any) -> bool:
    """Tell whether a variable's type says where on a mesh it lies, or over which axes it varies."""
    return bool(varying_axes(var.aval)) or mesh_of(var.aval) is not None


def as_number(dimension: Any) -> int:
    """Give a dimension, for a choice by size: a symbolic one, of `jax.export`, is taken for 64."""
    return dimension if isinstance(dimension, int) else 64


def num_bytes(var: Any) -> int:
    """Give the size of a variable's value."""
    return math.prod(map(as_number, var.aval.shape)) * var.aval.dtype.itemsize

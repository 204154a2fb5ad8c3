"""A step's products, written rows first.

A cell for one row multiplies W x. Under `jax.vmap`, JAX writes that as W Xᵀ, [4H, B] where
everything else is [B, 4H], and turns the result over, or each part that it is cut into: in a
loop, at every step, and again in its derivative. Here such a product is X Wᵀ, and what is
done with it before it is turned over is done with the other orientation.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from deeprnn_jax.internals import ClosedJaxpr, JaxprEqn, close, dot_general_p, opened
from deeprnn_jax.recurrence.analysis import part
from deeprnn_jax.recurrence.jaxprs import Env, is_var, open_calls, reached, shape_of, trace
from deeprnn_jax.recurrence.products import Product, as_product, lay_out, multiply
from deeprnn_jax.types import Array


@lru_cache(maxsize=256)
def step_of_scan(closed: Any, num_consts: int) -> tuple[ClosedJaxpr, list[Any]]:
    """Give a `lax.scan`'s step with its calls opened and its products rows first.

    Args:
      closed: the step, of consts, carry, x_t.
      num_consts: of its inputs.

    Returns:
      The step, and the arrays that come before its other consts.
    """
    jaxpr, consts = open_calls(closed)
    return put_rows_first(close(jaxpr), len(consts) + num_consts), consts


def put_rows_first(step: ClosedJaxpr, num_consts: int) -> ClosedJaxpr:
    """Write a step's products with what no step changes rows first.

    Args:
      step: of consts, carry, x_t.
      num_consts: of its inputs.
    """
    jaxpr = opened(step)
    varying = reached(jaxpr.eqns, jaxpr.invars[num_consts:])
    invariant = {*jaxpr.invars, *(v for eqn in jaxpr.eqns for v in eqn.outvars)} - varying
    products = {id(eqn): as_product(eqn, invariant) for eqn in jaxpr.eqns}
    others = {key: one for key, one in products.items() if one is not None and one.side == 0}
    if not others:
        return step

    def turned(*values: Array) -> list[Array]:
        env = Env(zip(jaxpr.invars, values, strict=True))
        for eqn in jaxpr.eqns:
            if id(eqn) in others:
                product = others[id(eqn)]
                rows, matrix = (_plain(env[v]) for v in (product.rows_var, product.matrix_var))
                found = [_multiply(product, rows, matrix)]
            else:
                found = _do_turned(eqn, [env[v] if is_var(v) else None for v in eqn.invars])
            if found is not None:
                env.assign(eqn.outvars, found)
                continue
            env.update({var: _plain(env[var]) for var in eqn.invars if is_var(var)})
            env.do(eqn)
        env.update({var: _plain(env[var]) for var in jaxpr.outvars if is_var(var)})
        return env.read(jaxpr.outvars)

    return close(trace(turned, [var.aval for var in jaxpr.invars]))


def _multiply(product: Product, rows: Array, matrix: Array) -> "Array | Turned":
    """Give the product with its batch axes first, then those of rows, then the matrix's."""
    of_result = product.of_result
    axes = (*of_result.batch, *of_result.rows, *of_result.matrix)
    order = tuple(range(len(axes)))
    parts = part(order, len(of_result.batch), len(of_result.rows))
    batch, of_rows, of_matrix = map(tuple, parts)
    first = product._replace(
        side=1, of_result=of_result._replace(batch=batch, rows=of_rows, matrix=of_matrix)
    )
    found = multiply(first, rows, lay_out(first, matrix))
    turned = tuple(sorted(order, key=axes.__getitem__))
    return found if turned == order else Turned(found, turned)


class Turned(NamedTuple):
    """An array that is `jnp.transpose(value, axes)`."""

    value: Array
    axes: tuple[int, ...]


def _plain(value: Any) -> Any:
    return jnp.transpose(value.value, value.axes) if isinstance(value, Turned) else value


def _do_turned(eqn: JaxprEqn, operands: Sequence[Any]) -> list[Any] | None:
    """Do an operation on an array that is turned over, or give None if that is not known."""
    if not operands or not isinstance(operands[0], Turned) or eqn.primitive is dot_general_p:
        return None
    (first, *others) = operands
    name, ndim = eqn.primitive.name, len(first.axes)
    if name == "transpose":
        axes = tuple(first.axes[axis] for axis in eqn.params["permutation"])
        is_plain = axes == tuple(range(ndim))
        return [first.value if is_plain else Turned(first.value, axes)]
    if name == "split":
        parts = lax.split(first.value, eqn.params["sizes"], first.axes[eqn.params["axis"]])
        return [Turned(one, first.axes) for one in parts]
    if name == "add" and others[0] is not None and not isinstance(others[0], Turned):
        # a bias [4H, 1], which is turned over once, before the loop
        shape = tuple(first.value.shape[axis] for axis in first.axes)
        if others[0].ndim == ndim and shape_of(eqn.outvars[0]) == shape:
            back = sorted(range(ndim), key=first.axes.__getitem__)
            return [Turned(first.value + jnp.transpose(others[0], back), first.axes)]
    return None

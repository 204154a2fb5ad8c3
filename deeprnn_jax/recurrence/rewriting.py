"""A step's products in the form that the engine does best.

Rows first. A cell for one row multiplies W x. Under `jax.vmap`, JAX writes that as W Xᵀ,
[4H, B] where everything else is [B, 4H], and turns the result over, or each part that it is
cut into: in a loop, at every step, and again in its derivative. Here such a product is
X Wᵀ, and what is done with it before it is turned over is done with the other orientation.

Apart. Where [x_t, h] is multiplied, x_t W_x + h W_h is: the first can be hoisted, and the
rows of the second need not be put together again for W's gradient.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Var
from jax.extend.core.primitives import dot_general_p

from deeprnn_jax.recurrence import rules
from deeprnn_jax.recurrence.analysis import part
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    close,
    dtype_of,
    is_var,
    num_bytes,
    open_calls,
    reached,
    shape_of,
    trace,
)
from deeprnn_jax.recurrence.products import Product, as_product, lay_out, multiply
from deeprnn_jax.types import Array


@lru_cache(maxsize=256)
def step_of_scan(closed: Any, num_consts: int, num_carry: int) -> tuple[ClosedJaxpr, list[Any]]:
    """Give a `lax.scan`'s step with its calls opened and its products rewritten.

    Args:
      closed: the step, of consts, carry, x_t.
      num_consts: of its inputs.
      num_carry: of its inputs.

    Returns:
      The step, and the arrays that come before its other consts.
    """
    jaxpr, consts = open_calls(closed)
    return rewrite(close(jaxpr), len(consts) + num_consts, num_carry), consts


def rewrite(step: ClosedJaxpr, num_consts: int, num_carry: int) -> ClosedJaxpr:
    """Rewrite a step's products with what no step changes; the same step otherwise.

    Args:
      step: of consts, carry, x_t.
      num_consts: of its inputs.
      num_carry: of its inputs.
    """
    jaxpr = step.jaxpr
    _, carry, xs = part(jaxpr.invars, num_consts, num_carry)
    varying = reached(jaxpr.eqns, [*carry, *xs])
    invariant = {*jaxpr.invars, *(v for eqn in jaxpr.eqns for v in eqn.outvars)} - varying
    with_carry = reached(jaxpr.eqns, carry)
    made_by = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}
    products: dict[int, tuple[Product, list[list[int]]]] = {}
    for eqn in jaxpr.eqns:
        product = as_product(eqn, invariant)
        if product is not None:
            groups = _parts_of_rows(product, made_by, with_carry)
            if product.side == 0 or groups:
                products[id(eqn)] = (product, groups)
    if not products:
        return step

    def rewritten(*values: Array) -> list[Array]:
        env = Env(zip(jaxpr.invars, values, strict=True))
        for eqn in jaxpr.eqns:
            if id(eqn) in products:
                product, groups = products[id(eqn)]
                found = [_multiply(product, groups, made_by, env)]
            else:
                found = _do_turned(eqn, [env[v] if is_var(v) else None for v in eqn.invars])
            if found is not None:
                env.assign(eqn.outvars, found)
                continue
            env.update({var: _plain(env[var]) for var in eqn.invars if is_var(var)})
            env.do(eqn)
        env.update({var: _plain(env[var]) for var in jaxpr.outvars if is_var(var)})
        return env.read(jaxpr.outvars)

    return close(trace(rewritten, [var.aval for var in jaxpr.invars]))


def _parts_of_rows(
    product: Product, made_by: dict[Any, JaxprEqn], with_carry: set[Var]
) -> list[list[int]]:
    """Give which parts of the rows need no carry, and which do; [] if they stay together."""
    eqn = made_by.get(product.rows_var)
    result = product.eqn.outvars[0]
    is_cut = (
        eqn is not None
        and eqn.primitive.name == "concatenate"
        and product.of_rows.contract == (eqn.params["dimension"],)
        # not where a sum of two would be rounded twice, nor where nothing is hoisted
        and dtype_of(result).itemsize >= 4
        and num_bytes(result) > rules.SMALL_SLICES
    )
    if eqn is None or not is_cut:
        return []
    needs = [is_var(operand) and operand in with_carry for operand in eqn.invars]
    groups = [[i for i, one in enumerate(needs) if one == which] for which in (False, True)]
    return groups if all(groups) else []


def _multiply(
    product: Product, groups: list[list[int]], made_by: dict[Any, JaxprEqn], env: Env
) -> "Array | Turned":
    """Give a product rows first, of its parts where there are any."""
    of_result = product.of_result
    axes = (*of_result.batch, *of_result.rows, *of_result.matrix)
    order = tuple(range(len(axes)))
    batch, rows, matrix = part(order, len(of_result.batch), len(of_result.rows))
    first = product._replace(
        side=1,
        of_result=of_result._replace(batch=tuple(batch), rows=tuple(rows), matrix=tuple(matrix)),
    )
    whole = _plain(env[product.matrix_var])
    if groups:
        eqn = made_by[product.rows_var]
        (axis,), (cut,) = product.of_rows.contract, product.of_matrix.contract
        widths = [shape_of(operand)[axis] for operand in eqn.invars]
        starts = [sum(widths[:index]) for index in range(len(widths))]
        values = [_plain(value) for value in env.read(eqn.invars)]

        def joined(arrays: list[Array], group: list[int], along: int) -> Array:
            some = [arrays[index] for index in group]
            return jnp.concatenate(some, axis=along) if len(some) > 1 else some[0]

        pieces = [
            lax.slice_in_dim(whole, a, a + width, axis=cut)
            for a, width in zip(starts, widths, strict=True)
        ]
        x_part, h_part = (
            multiply(first, joined(values, g, axis), lay_out(first, joined(pieces, g, cut)))
            for g in groups
        )
        found = x_part + h_part
    else:
        found = multiply(first, _plain(env[product.rows_var]), lay_out(first, whole))
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

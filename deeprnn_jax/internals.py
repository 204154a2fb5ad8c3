"""What is taken from JAX beyond its public interface, and what differs between its versions.

Whatever may change without notice is imported from here alone. The tests have passed with
the versions in the table; CONTRIBUTING.md says what to do when a new one comes.

    what                                  0.7.2        0.10.2           0.12.0
    ClosedJaxpr                           a class      a class          a name for Jaxpr
    its `.jaxpr`, its constructor         there        there            to be removed
    operands of `scan`: how many consts   num_consts   num_consts       ft_in
    axes of `shard_map` in a type         vma          mat.varying      mat.varying
    saying that an array varies           lax.pvary    lax.pcast        lax.pcast
    derivative of a convolution whose
    result is wider than its operands     none         there            there
    tracing rules: ad, batching, mlir     the same in all of them
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.extend import core
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Primitive, Var, jaxpr_as_fun
from jax.extend.core.primitives import conv_general_dilated_p, dot_general_p
from jax.interpreters import ad, batching, mlir

__all__ = [
    "ClosedJaxpr",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Primitive",
    "Tracer",
    "Var",
    "ad",
    "as_varying",
    "batching",
    "close",
    "conv_general_dilated_p",
    "convolutions_may_widen",
    "dot_general_p",
    "jaxpr_as_fun",
    "mlir",
    "num_consts_and_carry",
    "opened",
    "varying_axes",
]

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr
else:
    ClosedJaxpr = getattr(core, "ClosedJaxpr", Jaxpr)


def opened(closed: Any) -> Jaxpr:
    """Give the jaxpr of a closed one, without its constants' values."""
    return getattr(closed, "jaxpr", closed)


def close(jaxpr: Jaxpr) -> Any:
    """Give a jaxpr without constants as JAX's own functions want it."""
    return jaxpr if ClosedJaxpr is Jaxpr else ClosedJaxpr(jaxpr, [])


def num_consts_and_carry(eqn: JaxprEqn) -> tuple[int, int]:
    """Give how many of a `lax.scan`'s operands are consts, and how many the carry."""
    if "num_consts" in eqn.params:
        return eqn.params["num_consts"], eqn.params["num_carry"]
    consts, carry, _ = eqn.params["ft_in"].unpack()
    return len(consts), len(carry)


def varying_axes(aval: Any) -> frozenset[str]:
    """Give the axes of a `shard_map` over which an array's type says that it varies."""
    varying = getattr(getattr(aval, "mat", aval), "varying", None)
    return frozenset(varying or getattr(aval, "vma", None) or ())


def as_varying(array: Any, axes: tuple[str, ...]) -> Any:
    """Say of an array that it varies over axes of a `shard_map`."""
    if hasattr(lax, "pcast"):
        return lax.pcast(array, axes, to="varying")
    return getattr(lax, "pvary")(array, axes)  # noqa: B009


@cache
def convolutions_may_widen() -> bool:
    """Tell whether a convolution of bfloat16 with a float32 result has a derivative."""

    def convolve(x: Any, w: Any) -> Any:
        found = lax.conv_general_dilated(x, w, (1,), "VALID", preferred_element_type=jnp.float32)
        return found[0, 0, 0]

    one = jax.ShapeDtypeStruct((1, 1, 1), jnp.bfloat16)
    try:
        jax.eval_shape(jax.grad(convolve, (0, 1)), one, one)
    except TypeError:
        return False
    return True

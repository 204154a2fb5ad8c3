"""h_t = a_t ⊙ h_{t-1} + b_t, the recurrence that can be run in any order. See `linear_scan`.

It is an operation of JAX's own, with a rule for each transformation. All that is kept for the
gradient is a and h, and the gradient is the same operation the other way round:

    z_t = δh_t + a_{t+1} z_{t+1},    δb_t = z_t,    δa_t = z_t h_{t-1},    δh_0 = a_1 z_1

but that a is the one of the step before, in the order that it goes: `late`. On CPU it is one
loop. `lax.associative_scan`, of log₂ T levels, moves the stacks through memory several times
over, and gains only where there are thousands of cores for it.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from deeprnn_jax.checks import check_flags
from deeprnn_jax.recurrence.jaxprs import accumulation_dtype
from deeprnn_jax.recurrence.linear_primitive import bind
from deeprnn_jax.recurrence.loop import shift
from deeprnn_jax.types import Array

METHODS = ("loop", "associative")


def linear_scan(
    a: Any,
    b: Any,
    h0: Any = None,
    *,
    reverse: bool = False,
    resets: Array | None = None,
    method: str | None = None,
    axis_name: str | None = None,
) -> Any:
    """Scan h_t = a_t ⊙ h_{t-1} + b_t over the leading axis, and give every h_t.

    Sums are float32, or wider where a or b are. Where a_t is 0, h_t is b_t whatever h_{t-1} was,
    NaN included.

    Args:
      a: `[T, *B]`, or what broadcasts to the shape of b, as `[1, H]` for the same at every
        step, which is never repeated. With b a tuple of K arrays, a K x K tuple of tuples:
        h_i = Σ_j a_ij ⊙ h_j + b_i. A complex a = re + i im is `((re, -im), (im, re))`.
      b: `[T, *B]`, or a tuple of K such arrays.
      h0: before the first step, `[*B]` or a tuple of K; None: zeros.
      reverse: whether to go from the last step to the first.
      resets: bool, `[T]` or with more of the leading axes of b; True = h_{t-1} is h0 at step t.
      method: "loop", a loop over time; "associative", `lax.associative_scan`; None: the first on
        CPU, the second elsewhere (where it was not measured yet). The same numbers, but for
        rounding; where |a| > 1 over long stretches "associative" may overflow to NaN where the
        loop does not.
      axis_name: of a `jax.shard_map` over whose devices time is cut, in order; T is then that of
        one device, and h0 the same on all. Each scans its own from zeros, what that ends with
        and the products of a are gathered (K + K² arrays `[*B]` a device), and each scans again
        from what the devices before it end with. The same numbers, but for rounding.

    Returns:
      h `[T, *B]`, or a tuple of K.

    Raises:
      ValueError: if shapes do not fit, or something is not floating.

    Example:
      >>> import jax.numpy as jnp, deeprnn_jax as drnn
      >>> drnn.linear_scan(jnp.full((4, 1), 0.5), jnp.ones((4, 2)))[:, 0]
      Array([1.   , 1.5  , 1.75 , 1.875], dtype=float32)

    References:
      Martin and Cundy 2018, "Parallelizing linear recurrent neural nets over sequence length".
    """
    several = isinstance(b, tuple | list)
    bs = list(b) if several else [b]
    rows = [list(row) for row in a] if several else [[a]]
    starts: list[Any] = [None] * len(bs) if h0 is None else list(h0) if several else [h0]
    bs, rows, starts = _checked(bs, rows, starts)
    if method not in (None, *METHODS):
        raise ValueError(f"linear_scan: method must be one of {METHODS} or None, got {method!r}")
    if resets is not None:
        shape = bs[0].shape[: max(np.ndim(resets), 1)]
        check_flags("linear_scan", "resets", resets, shape, "True = h_{t-1} is h0 at step t")
        rows, bs = _with_resets(rows, bs, starts, jnp.asarray(resets))
    run = partial(_over_devices, axis_name) if axis_name is not None else bind
    found = run([one for row in rows for one in row], bs, starts, reverse=reverse, method=method)
    return tuple(found) if several else found[0]


def _over_devices(
    axis: str, a: list[Array], b: list[Array], h0: list[Array], *, reverse: bool, method: str | None
) -> list[Array]:
    """Run it where time is cut over the devices of a mesh's axis."""
    run, last = partial(bind, reverse=reverse, method=method), 0 if reverse else -1
    nothing, none = [jnp.zeros_like(one) for one in b], [jnp.zeros_like(one) for one in h0]
    ends = [one[last] for one in run(a, b, none)]
    # What each of h0's fields comes to be at the end, if it was 1: a column of the devices' own a.
    units = [[*none[:k], jnp.ones_like(h0[k]), *none[k + 1 :]] for k in range(len(b))]
    columns = [[one[last] for one in run(a, nothing, unit)] for unit in units]
    rows = [one for row in zip(*columns, strict=True) for one in row]
    # A device is a step. Each begins with what the one before it ends with.
    after = run(lax.all_gather(rows, axis), lax.all_gather(ends, axis), h0)
    here = lax.axis_index(axis)
    before = [shift(h, one, reverse=reverse)[here] for h, one in zip(h0, after, strict=True)]
    return run(a, b, before)


def _checked(
    b: list[Any], rows: list[list[Any]], h0: list[Any]
) -> tuple[list[Array], list[list[Array]], list[Array]]:
    """Give the arguments in one shape and dtype, or raise ValueError."""
    size = len(b)
    if len(h0) != size or len(rows) != size or any(len(row) != size for row in rows):
        raise ValueError(
            f"linear_scan: with b a tuple of {size} arrays, a must be {size} x {size} arrays and "
            f"h0 {size}, got rows of {[len(row) for row in rows]} and {len(h0)}"
        )
    given = [*b, *(one for row in rows for one in row), *(one for one in h0 if one is not None)]
    # a number of Python's own takes the dtype of the rest
    dtypes = [jnp.result_type(one) for one in given if not isinstance(one, int | float)]
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(
            f"linear_scan: a, b and h0 must be floating, got {sorted(set(map(str, dtypes)))}; a "
            "complex recurrence is one of two real fields, a = ((re, -im), (im, re))"
        )
    dtype = accumulation_dtype(max(dtypes, key=lambda one: jnp.finfo(one).bits))
    b = [jnp.asarray(one, dtype) for one in b]
    shape = b[0].shape
    if not shape or any(one.shape != shape for one in b):
        raise ValueError(
            f"linear_scan: b must be [T, *B], each of one shape, got {[one.shape for one in b]}"
        )

    def broadcast(one: Any) -> Array:
        one = jnp.asarray(one, dtype)
        fits = one.ndim <= len(shape) and all(
            n in (1, m) for n, m in zip(one.shape[::-1], shape[::-1], strict=False)
        )
        if not fits:
            raise ValueError(f"linear_scan: a must broadcast to b {shape}, got {one.shape}")
        return lax.broadcast_to_rank(one, len(shape))

    def start(one: Any) -> Array:
        if one is None:
            return jnp.zeros_like(b[0], shape=shape[1:])
        if jnp.shape(one) != shape[1:]:
            raise ValueError(f"linear_scan: h0 must be {shape[1:]} as b is, got {jnp.shape(one)}")
        return jnp.asarray(one, dtype)

    return b, [[broadcast(one) for one in row] for row in rows], [start(one) for one in h0]


def _with_resets(
    rows: list[list[Array]], b: list[Array], h0: list[Array], resets: Array
) -> tuple[list[list[Array]], list[Array]]:
    """Put the resets into a and b: there a is 0, and b has what comes of h0."""
    flags = resets.reshape(resets.shape + (1,) * (b[0].ndim - resets.ndim))
    full = [
        [jnp.broadcast_to(one, (*b[0].shape[:1], *one.shape[1:])) for one in row] for row in rows
    ]
    fresh = [
        one
        + sum((a * start[None] for a, start in zip(row, h0, strict=True)), jnp.zeros_like(one[:1]))
        for row, one in zip(rows, b, strict=True)
    ]
    cut = [[jnp.where(flags, jnp.zeros_like(one), one) for one in row] for row in full]
    return cut, [jnp.where(flags, new, one) for new, one in zip(fresh, b, strict=True)]

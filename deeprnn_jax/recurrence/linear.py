"""h_t = a_t ⊙ h_{t-1} + b_t, the recurrence that can be run in any order. See `linear_scan`.

It is an operation of JAX's own, with a rule for each transformation. All that is kept for the
gradient is a and h, and the gradient is the same operation the other way round:

    z_t = δh_t + a_{t+1} z_{t+1},    δb_t = z_t,    δa_t = z_t h_{t-1},    δh_0 = a_1 z_1

but that a is the one of the step before, in the order that it goes: `late`. On CPU it is one
loop. `lax.associative_scan`, of log₂ T levels, moves the stacks through memory several times
over, and gains only where there are thousands of cores for it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.checks import check_flags
from deeprnn_jax.internals import Primitive, Tracer, ad, batching, mlir
from deeprnn_jax.meshes import vary_as
from deeprnn_jax.recurrence.jaxprs import accumulation_dtype
from deeprnn_jax.recurrence.loop import lax_scan, shift
from deeprnn_jax.types import Array

METHODS = ("loop", "associative")

linear_scan_p = Primitive("linear_scan")
linear_scan_p.multiple_results = True


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
        one device, and h0 the same on all. Each scans its own from zeros, what the devices
        before it end with is gathered (K + K² arrays `[*B]` a device), and comes in by the
        products of a. The same numbers, but for rounding.

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
        shape = bs[0].shape[: max(jnp.ndim(resets), 1)]
        check_flags("linear_scan", "resets", resets, shape, "True = h_{t-1} is h0 at step t")
        rows, bs = _with_resets(rows, bs, starts, jnp.asarray(resets))
    run = partial(_over_devices, axis_name) if axis_name is not None else bind
    found = run([one for row in rows for one in row], bs, starts, reverse=reverse, method=method)
    return tuple(found) if several else found[0]


def _over_devices(
    axis: str, a: list[Array], b: list[Array], h0: list[Array], *, reverse: bool, method: str | None
) -> list[Array]:
    """Run it where time is cut over the devices of a mesh's axis."""
    size, last = len(b), 0 if reverse else -1
    nothing, none = [jnp.zeros_like(one) for one in b], [jnp.zeros_like(one) for one in h0]
    run = partial(bind, a, reverse=reverse, method=method)
    own = run(b, none)
    # what each of h0's fields comes to be at every step, if it was 1
    units = [[*none[:k], jnp.ones_like(h0[k]), *none[k + 1 :]] for k in range(size)]
    grown = list(zip(*(run(nothing, unit) for unit in units), strict=True))
    ends = lax.all_gather([one[last] for one in own], axis)
    growth = lax.all_gather([[one[last] for one in row] for row in grown], axis)
    number = ends[0].shape[0]
    order = range(number)[::-1] if reverse else range(number)
    begin: list[Any] = [None] * number
    state = h0
    for device in order:
        begin[device] = state
        state = [
            _combine([one[device] for one in row], state, end[device])
            for row, end in zip(growth, ends, strict=True)
        ]
    here = lax.axis_index(axis)
    mine = [jnp.stack(each)[here] for each in zip(*begin, strict=True)]
    return [_combine(row, mine, one) for row, one in zip(grown, own, strict=True)]


def bind(
    a: Sequence[Array],
    b: Sequence[Array],
    h0: Sequence[Array],
    *,
    reverse: bool,
    method: str | None,
    late: bool = False,
) -> list[Array]:
    """Give the operation's results.

    Args:
      a: K x K arrays, row by row, each of b's number of axes, an axis of 1 where it is the same.
      b: K arrays `[T, *B]` of one shape and dtype.
      h0: K arrays `[*B]`.
      reverse: as in `linear_scan`.
      method: likewise.
      late: h_t = p + b_t with p = h0 at the first step, then a h of the step before.
    """
    if b[0].shape[0] == 0:
        return list(b)
    a, b, h0 = vary_as((list(a), list(b), list(h0)), (list(a), list(b), list(h0)))
    return linear_scan_p.bind(*a, *b, *h0, reverse=reverse, method=method, late=late)


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
    dtypes = [jnp.result_type(one) for one in given]
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
        one + sum((a * start for a, start in zip(row, h0, strict=True)), jnp.zeros_like(one[:1]))
        for row, one in zip(rows, b, strict=True)
    ]
    cut = [[jnp.where(flags, jnp.zeros_like(one), one) for one in row] for row in full]
    return cut, [jnp.where(flags, new, one) for new, one in zip(fresh, b, strict=True)]


def _combine(row: Sequence[Array], h: Sequence[Array], b: Array) -> Array:
    """Give Σ_j a_j h_j + b; where all a are 0, b, whatever h is."""
    total, cut = b, None
    for a, one in zip(row, h, strict=True):
        total = a * one + total
        cut = a == 0 if cut is None else cut & (a == 0)
    assert cut is not None
    return jnp.where(cut, b, total)


def _run(*operands: Array, reverse: bool, method: str, late: bool) -> list[Array]:
    """Run it by a method."""
    _, rows, b, h0 = _parted(operands)
    if method == "associative" and b[0].shape[0] > 1:
        return _associative(rows, b, h0, reverse, late)
    nothing = [jnp.zeros_like(one) for one in h0]
    varying = [[one.shape[0] > 1 or b[0].shape[0] == 1 for one in row] for row in rows]

    def step(h: list[Array], inputs: tuple[list[Array], list[Array]]) -> tuple[list, list]:
        in_turn = iter(inputs[0])
        now = [
            [next(in_turn) if varies else one[0] for one, varies in zip(*pair, strict=True)]
            for pair in zip(rows, varying, strict=True)
        ]
        if late:
            found = [p + one for p, one in zip(h, inputs[1], strict=True)]
            return [_combine(row, found, one) for row, one in zip(now, nothing, strict=True)], found
        found = [_combine(row, h, one) for row, one in zip(now, inputs[1], strict=True)]
        return found, found

    read = [
        one
        for pair in zip(rows, varying, strict=True)
        for one, varies in zip(*pair, strict=True)
        if varies
    ]
    return lax_scan(step, h0, (read, b), reverse=reverse)[1]


def _associative(
    rows: list[list[Array]], b: list[Array], h0: list[Array], reverse: bool, late: bool
) -> list[Array]:
    """Run it by `lax.associative_scan`, the first step taken in beforehand."""
    first = -1 if reverse else 0
    length = b[0].shape[0]
    full = [[jnp.broadcast_to(one, (length, *one.shape[1:])) for one in row] for row in rows]
    if late:
        starts = [h + each[first] for h, each in zip(h0, b, strict=True)]
        full = [[shift(one[first], one, reverse=reverse) for one in row] for row in full]
    else:
        starts = [
            _combine([one[first] for one in row], h0, each[first])
            for row, each in zip(full, b, strict=True)
        ]
    b = [one.at[first].set(start) for one, start in zip(b, starts, strict=True)]
    full = [[jnp.broadcast_to(one, b[0].shape) for one in row] for row in full]

    def join(early: Any, late: Any) -> Any:
        (a_1, b_1), (a_2, b_2) = early, late
        columns = list(zip(*a_1, strict=True))
        a = [[_combine(row, column, jnp.zeros_like(row[0])) for column in columns] for row in a_2]
        return a, [_combine(row, b_1, one) for row, one in zip(a_2, b_2, strict=True)]

    return lax.associative_scan(join, (full, b), reverse=reverse)[1]


def _parted(
    operands: Sequence[Any],
) -> tuple[int, list[list[Any]], list[Any], list[Any]]:
    """Part the operands: K, the rows of a, b, h0."""
    size = next(k for k in range(1, len(operands)) if k * k + 2 * k == len(operands))
    rows = [list(operands[i * size : (i + 1) * size]) for i in range(size)]
    rest = operands[size * size :]
    return size, rows, list(rest[:size]), list(rest[size:])


@linear_scan_p.def_abstract_eval
def _abstract(*avals: Any, **how: Any) -> list[Any]:
    del how
    return _parted(avals)[2]


@partial(jax.jit, static_argnames=("reverse", "method", "late"))
def _jitted(operands: list[Array], **how: Any) -> list[Array]:
    if not any(isinstance(operand, Tracer) for operand in operands):
        return _run(*operands, **how | {"method": how["method"] or "loop"})
    return linear_scan_p.bind(*operands, **how)


@linear_scan_p.def_impl
def _impl(*operands: Array, **how: Any) -> list[Array]:
    return _jitted(list(operands), **how)


def _lower(platform: str) -> Any:
    def run(*operands: Array, method: str | None, **how: Any) -> list[Array]:
        return _run(*operands, method=method or platform, **how)

    return mlir.lower_fun(run, multiple_results=True)


mlir.register_lowering(linear_scan_p, _lower("associative"))
mlir.register_lowering(linear_scan_p, _lower("loop"), platform="cpu")


def _jvp(primals: Sequence[Array], tangents: Sequence[Any], **how: Any) -> tuple[list, list]:
    """Give δh_t = a_t δh_{t-1} + (δa_t h_{t-1} + δb_t)."""
    found = linear_scan_p.bind(*primals, **how)
    size, rows, _, h0 = _parted(primals)
    _, d_rows, d_b, d_h0 = _parted(tangents)
    before = found
    if not how["late"]:
        before = [shift(one, h, reverse=how["reverse"]) for one, h in zip(h0, found, strict=True)]
    pushed = []
    for i in range(size):
        pairs = zip(d_rows[i], before, strict=True)
        terms = [d_a * h for d_a, h in pairs if not isinstance(d_a, ad.Zero)]
        if how["late"]:  # they come with the step after
            terms = [shift(jnp.zeros_like(h0[i]), one, reverse=how["reverse"]) for one in terms]
        pushed.append(sum(terms, ad.instantiate_zeros(d_b[i])))
    a = [one for row in rows for one in row]
    return found, bind(a, pushed, list(map(ad.instantiate_zeros, d_h0)), **how)


ad.primitive_jvps[linear_scan_p] = _jvp


def _transpose(
    cotangents: Sequence[Any], *operands: Any, reverse: bool, late: bool, **how: Any
) -> list[Any]:
    """Run it the other way round, by aᵀ of the step that comes after."""
    size, rows, b, h0 = _parted(operands)
    d_h = list(map(ad.instantiate_zeros, cotangents))
    columns = [list(column) for column in zip(*rows, strict=True)]
    first = -1 if reverse else 0
    zeros = [jnp.zeros_like(one[0]) for one in d_h]
    a = [one for column in columns for one in column]
    z = bind(a, d_h, zeros, reverse=not reverse, late=not late, **how)
    d_h0 = [one[first] for one in z]
    if not late:
        coming = d_h0
        d_h0 = [
            _combine([one[first] for one in column], coming, zero)
            for column, zero in zip(columns, zeros, strict=True)
        ]
    return [
        *(None for _ in range(size * size)),
        *(one if ad.is_undefined_primal(old) else None for old, one in zip(b, z, strict=True)),
        *(one if ad.is_undefined_primal(old) else None for old, one in zip(h0, d_h0, strict=True)),
    ]


ad.primitive_transposes[linear_scan_p] = _transpose


def _batch(axis: Any, operands: Sequence[Any], dims: Sequence[Any], **how: Any) -> Any:
    """Put the new axis behind time."""
    size, rows, b, h0 = _parted(list(zip(operands, dims, strict=True)))

    def move(pair: tuple[Any, Any], place: int, full: bool) -> Array:
        operand, dim = pair
        if dim is not None:
            return jnp.moveaxis(operand, dim, place)
        operand = jnp.expand_dims(operand, place)
        shape = (*operand.shape[:place], axis.size, *operand.shape[place + 1 :])
        return jnp.broadcast_to(operand, shape) if full else operand

    given = [move(one, 1, False) for row in rows for one in row]
    found = bind(
        given, [move(one, 1, True) for one in b], [move(one, 0, True) for one in h0], **how
    )
    return found, [1] * size


batching.fancy_primitive_batchers[linear_scan_p] = _batch

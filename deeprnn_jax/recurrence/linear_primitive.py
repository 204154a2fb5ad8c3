"""The operation of `linear_scan`: how it is run, and its rule for each transformation of JAX's."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.internals import Primitive, Tracer, ad, batching, mlir
from deeprnn_jax.meshes import vary_as
from deeprnn_jax.recurrence.loop import lax_scan, shift
from deeprnn_jax.types import Array

linear_scan_p = Primitive("linear_scan")
linear_scan_p.multiple_results = True


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


def _combine(row: Sequence[Array], h: Sequence[Array], b: Array) -> Array:
    """Give Σ_j a_j h_j + b; where all a are 0, b, whatever h is."""
    total, cut = b, None
    for a, one in zip(row, h, strict=True):
        total = a * one + total
        cut = a == 0 if cut is None else cut & (a == 0)
    assert cut is not None
    return jnp.where(cut, b, total)


def _after(
    rows: Sequence[Sequence[Array]], h: Sequence[Array], b: Sequence[Array], late: bool
) -> list[Array]:
    """Give h_t of one step, from what is carried to it."""
    if late:
        return [p + one for p, one in zip(h, b, strict=True)]
    return [_combine(row, h, one) for row, one in zip(rows, b, strict=True)]


def _run(*operands: Array, reverse: bool, method: str, late: bool) -> list[Array]:
    """Run it by a method."""
    _, rows, b, h0 = _parted(operands)
    if b[0].shape[0] == 1:
        first = [[one[0] for one in row] for row in rows]
        return [one[None] for one in _after(first, h0, [one[0] for one in b], late)]
    if method == "associative":
        return _associative(rows, b, h0, reverse, late)
    nothing = [jnp.zeros_like(one) for one in h0]
    varying = [[one.shape[0] == b[0].shape[0] for one in row] for row in rows]

    def step(h: list[Array], inputs: tuple[list[Array], list[Array]]) -> tuple[list, list]:
        in_turn = iter(inputs[0])
        now = [
            [next(in_turn) if varies else one[0] for one, varies in zip(*pair, strict=True)]
            for pair in zip(rows, varying, strict=True)
        ]
        found = _after(now, h, inputs[1], late)
        return _after(now, found, nothing, False) if late else found, found

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
    at_first = [[one[first] for one in row] for row in full]
    starts = _after(at_first, h0, [one[first] for one in b], late)
    if late:
        full = [[shift(one[first], one, reverse=reverse) for one in row] for row in full]
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


@partial(jax.jit, static_argnums=(1, 2, 3))
def _jitted(operands: list[Array], reverse: bool, method: str | None, late: bool) -> list[Array]:
    if not any(isinstance(operand, Tracer) for operand in operands):
        return _run(*operands, reverse=reverse, method=method or "loop", late=late)
    return linear_scan_p.bind(*operands, reverse=reverse, method=method, late=late)


@linear_scan_p.def_impl
def _impl(*operands: Array, **how: Any) -> list[Array]:
    return _jitted(list(operands), how["reverse"], how["method"], how["late"])


def _lower(platform: str) -> Any:
    def run(*operands: Array, method: str | None, **how: Any) -> list[Array]:
        return _run(*operands, method=method or platform, **how)

    return mlir.lower_fun(run, multiple_results=True)


mlir.register_lowering(linear_scan_p, _lower("associative"))
mlir.register_lowering(linear_scan_p, _lower("loop"), platform="cpu")


def _read(row: Sequence[Array], before: Sequence[Array]) -> list[Array]:
    """Give what a step reads: of a state that is no number and is forgotten, nothing."""
    return [
        jnp.where((a == 0) & ~jnp.isfinite(h), jnp.zeros_like(h), h)
        for a, h in zip(row, before, strict=True)
    ]


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
        pairs = zip(d_rows[i], _read(rows[i], before), strict=True)
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
        # by the operation itself, whose slope by a is right where a is 0, too
        ends = slice(-1, None) if reverse else slice(1)
        at_first = [one[ends] for one in a]
        nothing = [zero[None] for zero in zeros]
        d_h0 = [one[0] for one in bind(at_first, nothing, d_h0, reverse=reverse, **how)]
    return [
        *(None for _ in range(size * size)),
        *(one if ad.is_undefined_primal(old) else None for old, one in zip(b, z, strict=True)),
        *(one if ad.is_undefined_primal(old) else None for old, one in zip(h0, d_h0, strict=True)),
    ]


ad.primitive_transposes[linear_scan_p] = _transpose


def _batch(axis: Any, operands: Sequence[Any], dims: Sequence[Any], **how: Any) -> Any:
    """Put the new axis behind time."""
    if all(dim is None for dim in dims):  # JAX asks of that too
        found = linear_scan_p.bind(*operands, **how)
        return found, [None] * len(found)
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

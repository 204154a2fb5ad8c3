"""`linear_scan`, h_t = a_t ⊙ h_{t-1} + b_t, against a loop in NumPy and against `lax.scan`."""

from functools import partial
from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

import deeprnn_jax as drnn
from deeprnn_jax.recurrence.linear import METHODS
from tests.comparing import assert_close, assert_same
from tests.compiling import compile_as_users_do
from tests.jaxprs import eqns_of
from tests.recurrence.scans import Scan, draw_weights
from tests.registry import seed_of


class Case(NamedTuple):
    """What is scanned."""

    length: int
    batch: tuple[int, ...] = (2, 3)
    a: tuple[int, ...] | None = None  # shape of every a; None: that of b
    size: int = 1  # K
    reverse: bool = False
    resets: int | None = None  # how many axes they have
    h0: bool = True

    @property
    def options(self):
        """What is given by name, but for the method."""
        resets = None
        if self.resets is not None:
            rng = seed_of(f"resets of {self}")
            resets = rng.random((self.length, *self.batch)[: self.resets]) < 0.4
        return {"reverse": self.reverse, "resets": resets}


CASES = {
    "no step": Case(0, (3,)),
    "no step, no first state": Case(0, (3,), size=2, h0=False),
    "one step": Case(1, (3,), resets=1),
    "one step of a pair": Case(1, (3,), size=2, reverse=True),
    "two steps": Case(2, (3,)),
    "two steps, reverse": Case(2, (3,), reverse=True),
    "no batch": Case(5, (), resets=1),
    "an odd length": Case(9, h0=False),
    "a prime length": Case(13, (3,), reverse=True, h0=False),
    "a number": Case(5, a=()),
    "an a of units": Case(5, a=(3,), reverse=True),
    "one a for all steps": Case(5, a=(1, 2, 3)),
    "one a for all units": Case(5, a=(5, 1, 1), h0=False),
    "one a and one step": Case(1, a=(1, 3)),
    "resets of all": Case(6, resets=1),
    "resets of rows": Case(6, resets=2, reverse=True),
    "resets of units": Case(6, resets=3, h0=False),
    "resets, one a for all steps": Case(6, a=(1, 1, 3), resets=2),
    "a pair": Case(5, size=2),
    "a pair, resets": Case(6, size=2, reverse=True, resets=2),
    "a pair, one a for all steps": Case(5, a=(3,), size=2, resets=1, h0=False),
    "three": Case(4, (3,), size=3),
}


def operands_of(case, dtype=np.float64):
    """Draw (a, b) or (a, b, h0) as tuples; some a are 0, and some above 1."""
    rng = seed_of(f"{case}")
    full = (case.length, *case.batch)
    a_shape = full if case.a is None else case.a
    drawn = rng.normal(size=(case.size, case.size, *a_shape)) * (
        rng.random((case.size, case.size, *a_shape)) > 0.2
    )
    a = tuple(tuple(one.astype(dtype) for one in row) for row in drawn)
    b = tuple(rng.normal(size=(case.size, *full)).astype(dtype))
    h0 = tuple(rng.normal(size=(case.size, *case.batch)).astype(dtype))
    return (a, b, h0) if case.h0 else (a, b)


def full_of(a, b, h0):
    """Give a as large as b, and an h0."""
    a = [[jnp.broadcast_to(one, b[0].shape) for one in row] for row in a]
    return a, [jnp.zeros_like(b[0], shape=b[0].shape[1:]) for _ in b] if h0 is None else h0


def by_numpy(a, b, h0=None, *, reverse=False, resets=None):
    """Go step by step, in float64."""
    a, h0 = jax.tree.map(partial(np.asarray, dtype=np.float64), full_of(a, b, h0))
    found, h = [np.zeros(one.shape) for one in b], h0
    for t in range(len(b[0]))[:: -1 if reverse else 1]:
        if resets is not None:
            flags = resets[t].reshape(resets[t].shape + (1,) * (h0[0].ndim - resets[t].ndim))
            h = [np.where(flags, start, one) for start, one in zip(h0, h, strict=True)]
        h = [sum(r[t] * one for r, one in zip(row, h, strict=True)) for row in a]
        h = [one + each[t] for one, each in zip(h, b, strict=True)]
        for stack, one in zip(found, h, strict=True):
            stack[t] = one
    return tuple(found)


def by_lax(a, b, h0=None, *, reverse=False, resets=None):
    """Do the same by `lax.scan`, which JAX derives."""
    a, h0 = full_of(a, b, h0)
    none = np.zeros(b[0].shape[:1], bool) if resets is None else resets
    flags = jnp.reshape(none, none.shape + (1,) * (b[0].ndim - none.ndim))
    flags = jnp.broadcast_to(flags, b[0].shape)

    def step(h, given):
        rows, each, flag = given
        h = [jnp.where(flag, start, one) for start, one in zip(h0, h, strict=True)]
        h = [sum(a * one for a, one in zip(row, h, strict=True)) for row in rows]
        h = [one + new for one, new in zip(h, each, strict=True)]
        return h, tuple(h)

    return lax.scan(step, list(h0), (a, b, flags), reverse=reverse)[1]


def scan_of(case, method):
    """Give the scan of a case as a function of tuples; where K is 1, of its arrays."""

    def run(a, b, h0=None):
        if case.size > 1:
            return drnn.linear_scan(a, b, h0, **case.options, method=method)
        h0 = None if h0 is None else h0[0]
        return (drnn.linear_scan(a[0][0], b[0], h0, **case.options, method=method),)

    return run


def drawn_for(name):
    """Give a case with its operands, a direction and the weights of a loss."""
    case, rng = CASES[name], seed_of(f"direction of {name}")
    operands = operands_of(case)
    direction = jax.tree.map(lambda one: np.asarray(rng.normal(size=one.shape)), operands)
    return case, operands, direction, draw_weights(rng, scan_of(case, None), *operands)


# Numbers and their derivatives


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", [*CASES])
def test_numbers_and_gradient(name):
    case, operands, _, weights = drawn_for(name)
    plain = Scan(partial(by_lax, **case.options), weights, apart=False)
    outputs, grads = jax.jit(plain.first_order)(operands)
    assert_close(outputs, by_numpy(*operands, **case.options))
    for method in METHODS:
        mine = Scan(scan_of(case, method), weights, apart=False)
        assert_close(jax.jit(mine.first_order)(operands), (outputs, grads))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name",
    [
        "two steps",
        *["an a of units", "a pair, resets"],
    ],
)
def test_forward_mode(name):
    """Outputs, the gradient, and the derivatives of both along a direction."""
    case, operands, direction, weights = drawn_for(name)
    plain = Scan(partial(by_lax, **case.options), weights, apart=False)
    expected = jax.jit(plain.forward_mode)(operands, direction)
    for method in METHODS:
        mine = Scan(scan_of(case, method), weights, apart=False)
        assert_close(jax.jit(mine.forward_mode)(operands, direction), expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["one a for all steps", "a pair, resets"])
def test_gradient_of_a_gradient(name):
    case, operands, direction, weights = drawn_for(name)
    plain = Scan(partial(by_lax, **case.options), weights)
    expected = jax.jit(plain.reverse_over_reverse)(operands, direction)
    for method in METHODS:
        mine = Scan(scan_of(case, method), weights)
        assert_close(jax.jit(mine.reverse_over_reverse)(operands, direction), expected)


@pytest.mark.usefixtures("x64")
def test_a_jacobian():
    """By `vmap` of forward mode, where the operands are the same for all directions."""
    a, b, h0 = np.array([0.0, 0.5, 2.0]), np.ones(3), np.float64(0.5)

    def jacobians(run):
        def loss(a):
            return jnp.sum(jnp.sin(run(((a,),), (b,), (h0,))[0]))

        return jax.jit(lambda a: (jax.jacfwd(loss)(a), jax.hessian(loss)(a)))(a)

    assert_close(jacobians(scan_of(Case(3, ()), None)), jacobians(by_lax))


@pytest.mark.usefixtures("x64")
def test_a_third_derivative():
    """Each order turns the recurrence round again."""

    def third(run):
        def along(a):
            return jnp.sum(run(((a * jnp.linspace(0.5, 1.0, 4),),), (jnp.ones(4),))[0])

        return jax.jit(jax.grad(jax.grad(jax.grad(along))))(0.9)

    assert_close(third(scan_of(Case(4, ()), None)), third(by_lax))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mapped", ["a", "a, b, h0"])
@pytest.mark.parametrize("name", ["one a for all steps", "a pair"])
def test_a_batch_of_gradients(name, mapped, method):
    """What is not mapped has a gradient for each, too."""
    case, operands, _, weights = drawn_for(name)
    axes = tuple(0 if place in mapped.split(", ") else None for place in ("a", "b", "h0"))
    many = tuple(
        operand if axis is None else jax.tree.map(lambda one: np.stack([one, one - 1]), operand)
        for operand, axis in zip(operands, axes, strict=True)
    )

    def gradients(run):
        gradient = jax.grad(Scan(run, weights).loss)
        return jax.jit(jax.vmap(lambda *operands: gradient(operands), axes))(*many)

    expected = gradients(partial(by_lax, **case.options))
    assert_close(gradients(scan_of(case, method)), expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_pair_is_a_complex_number(reverse, method):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 3)) + 1j * rng.normal(size=(2, 6, 3))
    h = rng.normal(size=3) + 1j * rng.normal(size=3)
    rows = ((a.real, -a.imag), (a.imag, a.real))
    fields = (b.real, b.imag), (h.real, h.imag)
    got = drnn.linear_scan(rows, *fields, reverse=reverse, method=method)
    expected = np.zeros_like(b)
    for t in range(6)[:: -1 if reverse else 1]:
        h = a[t] * h + b[t]
        expected[t] = h
    assert_close(got, (jnp.asarray(expected.real), jnp.asarray(expected.imag)))


def test_golden_values():
    a, b = jnp.array([2.0, 0.5, 0.0, 3.0]), jnp.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(drnn.linear_scan(a, b), [1.0, 2.5, 3.0, 13.0])
    np.testing.assert_array_equal(drnn.linear_scan(a, b, jnp.float32(10.0))[:2], [21.0, 12.5])
    np.testing.assert_array_equal(drnn.linear_scan(a, b, reverse=True), [8.0, 3.5, 3.0, 4.0])
    resets = np.array([False, True, False, True])
    got = drnn.linear_scan(a, b, jnp.float32(10.0), resets=resets)
    np.testing.assert_array_equal(got, [21.0, 7.0, 3.0, 34.0])


# NaN, infinity and very small numbers


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["a", "b", "h0"])
@pytest.mark.parametrize("method", METHODS)
def test_no_nan_passes_a_reset(where, bad, method):
    """Values and gradients after the reset are those of a sequence that begins there."""
    length, begin = 7, 3
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, length, 2, 4)).astype(np.float32)
    h0 = rng.normal(size=(2, 4)).astype(np.float32)
    resets = np.zeros((length, 2), bool)
    resets[begin] = [True, False]

    def run(a, b, h0, resets):
        def loss(a, b, h0):
            h = drnn.linear_scan(a, b, h0, resets=resets, method=method)
            return jnp.sum(jnp.sin(h[-(length - begin) :, 0])), h

        return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(a, b, h0)

    late = np.zeros(length - begin, bool)
    expected, h = jax.jit(run)(a[begin:], b[begin:], h0, np.stack([late, late], 1))
    if where == "h0":  # h0 itself would come back at the reset: a NaN that it makes, then
        a[0] = bad
    else:
        {"a": a, "b": b}[where][1] = bad
    got, all_h = jax.jit(run)(a, b, h0, resets)
    assert not np.isfinite(all_h[begin - 1, 0]).any()
    assert_close(all_h[begin:, 0], h[:, 0], 1e-6)
    assert not np.isfinite(all_h[begin:, 1]).any()  # the row that goes on
    assert_close(got[0][begin:, 0], expected[0][:, 0], 1e-6)
    assert_close(got[1][begin:, 0], expected[1][:, 0], 1e-6)
    if where == "b":  # 0 · NaN is in no sum
        assert not np.asarray(got[1][:begin, 0]).any()
        assert_close(got[2][0], expected[2][0], 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_no_nan_passes_a_zero(method):
    """Nor does its cotangent, the other way round."""
    a = jnp.array([1.0, 1.0, 0.0, 1.0])
    b = jnp.array([1.0, jnp.nan, 1.0, 1.0])
    h = drnn.linear_scan(a, b, method=method)
    np.testing.assert_array_equal(h, [1.0, np.nan, 1.0, 2.0])
    d_b = jax.grad(lambda b: drnn.linear_scan(a, b, method=method)[-1])(b)
    np.testing.assert_array_equal(d_b, [0.0, 0.0, 1.0, 1.0])
    _, pull = jax.vjp(lambda b: drnn.linear_scan(a, b, method=method), jnp.ones(4))
    (d_b,) = pull(jnp.array([1.0, 1.0, jnp.inf, 1.0]))
    np.testing.assert_array_equal(d_b, [2.0, 1.0, np.inf, 1.0])
    rows = ((a, a), (a, 2 * a))  # of a pair where all of a row is 0
    h, _ = drnn.linear_scan(rows, (b, b), method=method)
    np.testing.assert_array_equal(np.isnan(h), [False, True, False, False])


@pytest.mark.parametrize("method", METHODS)
def test_very_small_a(method):
    """Products of them are 0 in float32."""
    rng = np.random.default_rng(2)
    a = np.float32(1e-30) * rng.normal(size=(40, 3)).astype(np.float32)
    b = rng.normal(size=(40, 3)).astype(np.float32)
    b[7:30] = 0
    run = jax.jit(lambda a, b: drnn.linear_scan(a, b, jnp.ones(3), method=method))
    assert_close(run(a, b), by_numpy([[a]], [b], [np.ones(3)])[0].astype(np.float32), 1e-6)
    d_a, d_b = jax.jit(jax.grad(lambda *ab: jnp.sum(run(*ab)), (0, 1)))(a, b)
    assert_close(d_b, jnp.ones((40, 3)), 1e-6)
    assert_close(d_a, np.concatenate([np.ones((1, 3), np.float32), run(a, b)[:-1]]), 1e-6)


def test_the_loop_grows_where_it_must():
    """Products of a that are infinite meet no 0."""
    h = drnn.linear_scan(jnp.full(4, 1e30), jnp.array([0.0, 0.0, 0.0, 1.0]), method="loop")
    np.testing.assert_array_equal(h, [0.0, 0.0, 0.0, 1.0])


# Long sequences, dtypes, and what it takes


def in_float64(a, b):
    """Scan one unit by Python's own numbers."""
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    return np.array(list(accumulate(pairs, lambda h, ab: ab[0] * h + ab[1], initial=0.0))[1:])


@pytest.mark.parametrize("method", METHODS)
def test_a_long_sequence_in_float32(method):
    """Errors are at most those of rounding each product and each sum, carried on."""
    length = 100_000
    rng = np.random.default_rng(3)
    a = (1 - 10.0 ** rng.uniform(-4, -1, length)).astype(np.float32)
    b = rng.normal(size=length).astype(np.float32)

    def run(a, b):
        h, pull = jax.vjp(lambda b: drnn.linear_scan(a, b, method=method), b)
        return h, pull(jnp.ones_like(h))[0]

    h, d_b = jax.jit(run)(a, b)
    late = np.append(a[1:], 0)[::-1]  # a_{t+1}
    for got, a, b in ((h, a, b), (d_b[::-1], late, np.ones(length))):  # noqa: B020
        expected = in_float64(a, b)
        products = a * np.append(0, expected[:-1])
        bound = in_float64(a, 2.0**-24 * (np.abs(expected) + np.abs(products)))
        assert np.all(np.abs(got - expected) <= 1.001 * bound)


@pytest.mark.parametrize("dtypes", [("bfloat16",) * 3, ("bfloat16", "float32", "float16")])
def test_sums_are_float32(dtypes):
    given = [one[0] for one in operands_of(CASES["an a of units"], np.float32)]
    given = [jnp.asarray(one, dtype) for one, dtype in zip(given, dtypes, strict=True)]
    a, b, h0 = given[0][0], given[1], given[2]
    wide = [one.astype(jnp.float32) for one in (a, b, h0)]
    run = jax.jit(drnn.linear_scan)
    assert_same(run(a, b, h0), run(*wide))
    grads = jax.eval_shape(jax.grad(lambda *abh: jnp.sum(run(*abh)), (0, 1, 2)), a, b, h0)
    assert [one.dtype for one in grads] == [jnp.dtype(one) for one in dtypes]


@pytest.mark.usefixtures("x64")
def test_sums_are_as_wide_as_the_widest():
    a, b = jnp.ones((3, 2), jnp.float64), jnp.ones((3, 2), jnp.float32)
    assert drnn.linear_scan(a, b).dtype == jnp.float64
    assert drnn.linear_scan(b, b).dtype == jnp.float32
    assert drnn.linear_scan(b, b, a[0]).dtype == jnp.float64


@pytest.mark.parametrize("name", ["resets of rows", "a pair"])
def test_with_jit_and_without(name):
    case = CASES[name]
    operands = operands_of(case, np.float32)
    run = scan_of(case, None)
    expected = run(*operands)
    assert_same(jax.jit(run)(*operands), expected)
    with jax.disable_jit():
        assert_close(run(*operands), expected, 1e-6)
    with jax.debug_nans(True):
        assert_close(run(*operands), expected, 1e-6)


def test_one_a_is_not_repeated():
    """Neither in the program, nor in that of the gradient by b."""
    a, b = jnp.full((1, 4), 0.9), jnp.ones((50, 3, 4))
    run = jax.jit(jax.grad(lambda b: jnp.sum(jnp.sin(drnn.linear_scan(a, b)))))
    eqns = eqns_of(jax.make_jaxpr(run)(b).jaxpr)
    sizes = [eqn.invars[0].aval.shape[0] for eqn in eqns if eqn.primitive.name == "linear_scan"]
    assert len(sizes) >= 2
    assert set(sizes) == {1}


def memory_of(length):
    """Give the bytes that a gradient by a, b and h0 takes, as stacks of b's size."""

    def loss(a, b, h0):
        return jnp.sum(jnp.sin(drnn.linear_scan(a, b, h0)))

    b = jax.ShapeDtypeStruct((length, 4, 16), np.float32)
    h0 = jax.ShapeDtypeStruct((4, 16), np.float32)
    compiled = compile_as_users_do(jax.jit(jax.grad(loss, (0, 1, 2))).lower(b, b, h0))
    return compiled.memory_analysis().temp_size_in_bytes / (length * 4 * 16 * 4)


def test_what_a_gradient_keeps():
    assert memory_of(4096) <= 3


@pytest.mark.parametrize("name", ["resets of rows", "a pair, one a for all steps"])
def test_export(name):
    """By a loop for CPU, by none elsewhere; what is for all platforms runs here."""
    case, operands = CASES[name], operands_of(CASES[name], np.float32)

    def loss(operands):
        return sum(jnp.sum(jnp.sin(h)) for h in scan_of(case, None)(*operands))

    run = jax.jit(jax.value_and_grad(loss))
    for platform in ("cpu", "cuda", "tpu"):
        text = export.export(jax.jit(loss), platforms=[platform])(operands).mlir_module()
        assert ("stablehlo.while" in text) == (platform == "cpu")
    everywhere = export.export(run, platforms=["cpu", "cuda", "tpu"])(operands)
    assert_close(everywhere.call(operands), run(operands), 1e-6)

"""`scan` is `lax.scan` to the letter: its call, its results, its errors and its effects.

Each test does one thing twice, by `lax.scan` and by `scan`, and compares all that comes of
it, weak types among it.
"""

import logging
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import io_callback
from jax.sharding import Mesh, PartitionSpec

from deeprnn_jax.recurrence import scan
from tests.comparing import assert_close
from tests.versions import enable_x64

T, B, H = 5, 2, 3
KEY = jax.random.key(0)


def draw(*shape, seed=0, dtype=np.float64):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape), dtype)


def seen(tree):
    """Give what is compared: numbers, of keys too, and which of them are weakly typed."""
    leaves, structure = jax.tree.flatten(tree)
    is_key = [jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key) for leaf in leaves]
    numbers = [
        jax.random.key_data(leaf) if one else leaf for leaf, one in zip(leaves, is_key, strict=True)
    ]
    weak = [jnp.asarray(getattr(leaf, "weak_type", False)) for leaf in leaves]
    return jax.tree.unflatten(structure, numbers), weak


def assert_alike(do, *operands, tolerance=1e-10):
    """Do something of a scan and of operands by both, and compare."""
    got, expected = (seen(do(one, *operands)) for one in (scan, lax.scan))
    assert_close(got, expected, tolerance)


def rnn(scan, w, h, x, **options):
    """Scan a plain RNN with two outputs, of which one is no state."""

    def step(h, x_t):
        h = jnp.tanh(h @ w + x_t)
        return h, (h, h * x_t)

    return scan(step, h, x, **options)


def loss(scan, *operands, **options):
    """Give a number that depends on all that the RNN gives."""
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(rnn(scan, *operands, **options)))


def operands(dtype=np.float64):
    """Give weights, the first state and inputs."""
    return draw(H, H, dtype=dtype), draw(B, H, dtype=dtype), draw(T, B, H, dtype=dtype)


gradient = partial(jax.grad, argnums=(0, 1, 2))


# Trees and leaves of every kind


def noise(key, x):
    return jax.random.normal(key, jnp.shape(x))


X = np.linspace(-1.0, 1.0, T, dtype=np.float32)
TREES = {
    "trees": lambda scan, w: scan(
        lambda c, x: ({"a": c["b"] * w, "b": (c["a"] + x[0],)[0]}, (x[1], [c["a"], None])),
        {"a": w, "b": jnp.ones(())},
        (X, X[::-1]),
    ),
    "no carry": lambda scan, w: scan(lambda c, x: (c, w * x), None, X),
    "no output": lambda scan, w: scan(lambda c, x: (c * w + x, None), w, X),
    "an output that no step changes": lambda scan, w: scan(lambda c, x: (c * w, (w, 1.0)), w, X),
    "outputs that are inputs": lambda scan, w: scan(lambda c, x: (c * w, (x, x, c)), w, X),
    "a carry that is let go": lambda scan, w: scan(lambda c, x: ((0.0, c[0]), ()), (w, 0.0), X),
    "no xs": lambda scan, w: scan(lambda c, _: (c * w, c), w, None, T),
    "no xs, by name": lambda scan, w: scan(lambda c, _: (c * w, c), w, length=T),
    "xs and length": lambda scan, w: scan(lambda c, x: (c * w, x), w, X, T),
    "all by name": lambda scan, w: scan(
        f=lambda c, x: (c * w + x, c), init=w, xs=X, length=T, reverse=True, unroll=1
    ),
    "a counter": lambda scan, w: scan(
        lambda c, x: ((c[0] + 1, c[1] * w + c[0].astype(x.dtype)), c), (jnp.int32(0), w), X
    ),
    "flags": lambda scan, w: scan(
        lambda c, x: ((c[0] ^ x[1], jnp.where(c[0], c[1] * w, x[0])), c), (True, w), (X, X > 0)
    ),
    "small integers": lambda scan, w: scan(
        lambda c, x: (c + x, (c * x, w)), jnp.uint8(250), np.arange(T, dtype=np.uint8)
    ),
    "complex": lambda scan, w: scan(
        lambda c, x: (c * lax.complex(w, x), jnp.abs(c)), jnp.complex64(1), X
    ),
    "a key": lambda scan, w: scan(
        lambda c, x: ((jax.random.split(c[0])[0], c[1] * w + noise(c[0], x)), c), (KEY, w), X
    ),
    "a raw key": lambda scan, w: scan(
        lambda c, x: ((jax.random.split(c[0])[0], c[1] * w + noise(c[0], x)), c),
        (jax.random.PRNGKey(0), w),
        X,
    ),
    "keys": lambda scan, w: scan(
        lambda c, key: (c * w + noise(key, c), jax.random.fold_in(key, 1)),
        w,
        jax.random.split(KEY, T),
    ),
    "a key closed over": lambda scan, w: scan(
        lambda c, t: (c * w + noise(jax.random.fold_in(KEY, t), c), c), w, jnp.arange(T)
    ),
    "one step": lambda scan, w: scan(lambda c, x: (c * w + x, c), w, X[:1]),
    "no step": lambda scan, w: scan(lambda c, x: (c * w + x, c), w, X[:0]),
    "empty arrays": lambda scan, w: scan(lambda c, x: (c * w + x, c), w * X[:0], X[:, None][:, :0]),
    **{
        f"unroll={unroll}": partial(
            lambda unroll, scan, w: scan(lambda c, x: (c * w + x, c), w, X, unroll=unroll), unroll
        )
        for unroll in (2, T, T + 1, True, False, 0)
    },
    "reverse": lambda scan, w: scan(lambda c, x: (c * w + x, c), w, X, reverse=True),
    "reverse, unroll=2": lambda scan, w: scan(
        lambda c, x: (c * w + x, c), w, X, reverse=True, unroll=2
    ),
}


@pytest.mark.parametrize("do", TREES.values(), ids=TREES)
def test_trees_and_leaves(do):
    """Results and a derivative."""

    def inexact(scan, w):
        leaves = jax.tree.leaves(do(scan, w))
        inexact = [one for one in leaves if jnp.issubdtype(one.dtype, jnp.inexact)]
        return sum(jnp.sum(jnp.sin(jnp.abs(one))) for one in inexact)

    def run(scan, w):
        return do(scan, w), jax.grad(partial(inexact, scan))(w)

    assert_alike(lambda scan, w: jax.jit(partial(run, scan))(w), jnp.float32(0.7), tolerance=1e-5)


WEAK = {
    "an integer": (lambda c, x: (c * 2, c), 1, X),
    "a float": (lambda c, x: (c * 2, x), 1.0, X),
    "a flag": (lambda c, x: (~c, c), True, X),
    "promoted to the input": (lambda c, x: (c + x, c), 0.0, X),
    "promoted to bfloat16": (lambda c, x: (c + x, c), 0.0, X.astype(jnp.bfloat16)),
    "an integer promoted to a float": (lambda c, x: (c + x, c), 0, X),
    "one of two promoted": (lambda c, x: ((c[0] + x, c[1] * 2), c), (0, 1), X),
    "an output": (lambda c, x: (c, 1.0), 0.0, X),
    "NumPy's": (lambda c, x: (c + x, c), np.float32(0), X),
}


@pytest.mark.parametrize("wide", [False, True], ids=["", "x64"])
@pytest.mark.parametrize("name", WEAK)
def test_weak_types(name, wide):
    """Python's scalars as carry, run at once: what is weak stays so, and promotes alike."""
    with enable_x64(wide), jax.numpy_dtype_promotion("standard"):
        assert_alike(lambda scan: scan(*WEAK[name]))


# Errors


class NotAnArray:
    def __repr__(self):
        return "NotAnArray()"


ERRORS = {
    "f is no function": lambda scan: scan(3, 0.0, X),
    "lengths differ": lambda scan: scan(lambda c, x: (c, x), 0.0, (X, X[:2])),
    "length differs": lambda scan: scan(lambda c, x: (c, x), 0.0, X, length=T + 1),
    "no length": lambda scan: scan(lambda c, x: (c, x), 0.0, None),
    "length is text": lambda scan: scan(lambda c, x: (c, x), 0.0, None, length="five"),
    "length is traced": lambda scan: jax.jit(
        lambda length: scan(lambda c, x: (c, x), 0.0, None, length=length)
    )(5),
    "a scalar as xs": lambda scan: scan(lambda c, x: (c, x), 0.0, 1.0),
    "a list of scalars as xs": lambda scan: scan(lambda c, x: (c, x), 0.0, [1.0, 2.0]),
    "text as xs": lambda scan: scan(lambda c, x: (c, x), 0.0, "text"),
    "text as carry": lambda scan: scan(lambda c, x: (c, x), "text", X),
    "an object as carry": lambda scan: scan(lambda c, x: (c, x), NotAnArray(), X),
    "text as output": lambda scan: scan(lambda c, x: (c, "text"), 0.0, X),
    "the carry's shape changes": lambda scan: scan(lambda c, x: (jnp.zeros(3), x), 0.0, X),
    "the carry's dtype changes": lambda scan: scan(lambda c, x: (c.astype(int), x), 0.0, X),
    "the carry's tree changes": lambda scan: scan(lambda c, x: ((c, c), x), 0.0, X),
    "one leaf of many changes": lambda scan: scan(
        lambda c, x: ({"a": c["a"], "b": c["b"][None]}, x), {"a": 0.0, "b": 0.0}, X
    ),
    "no pair": lambda scan: scan(lambda c, x: c, 0.0, X),
    "three": lambda scan: scan(lambda c, x: (c, x, x), 0.0, X),
    "nothing": lambda scan: scan(lambda c, x: None, 0.0, X),
    "one argument": lambda scan: scan(lambda c: (c, c), 0.0, X),
    "unroll is negative": lambda scan: scan(lambda c, x: (c, x), 0.0, X, unroll=-1),
    "unroll is text": lambda scan: scan(lambda c, x: (c, x), 0.0, X, unroll="two"),
    "reverse is traced": lambda scan: jax.jit(
        lambda reverse: scan(lambda c, x: (c, x), 0.0, X, reverse=reverse)
    )(True),
    "the user's own": lambda scan: scan(lambda c, x: 1 / 0, 0.0, X),
    "a branch on a traced value": lambda scan: scan(lambda c, x: (c, 1 if c > 0 else 2), 0.0, X),
    "forward mode of a reverse rule": lambda scan: jax.jvp(
        lambda x: scan(lambda c, x: (reverse_only(c) + x, c), 0.0, x), (X,), (X,)
    ),
}


@jax.custom_vjp
def reverse_only(x):
    return jnp.sin(x)


reverse_only.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


@pytest.mark.parametrize("do", ERRORS.values(), ids=ERRORS)
def test_errors(do):
    """Of the same type and in the same words."""

    def error_of(scan):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            do(scan)
        return caught.type, str(caught.value)

    assert error_of(scan) == error_of(lax.scan)


def test_an_error_under_debug_nans():
    """A NaN that a step makes is found."""

    def divide(scan):
        return scan(lambda c, x: (c / x, c), 0.0, np.zeros(3, np.float32))

    for one in (lax.scan, scan):
        with jax.debug_nans(True), pytest.raises(FloatingPointError):
            divide(one)


# Within JAX's transformations

# Each alone, those that make the carry one of a batch without being one, and all.
MASKS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_vmap_over_any_of_consts_carry_and_xs(mask):
    """Results, a batch of gradients, and the gradient of a batch."""
    axes = [0 if one else None for one in mask]
    batched = [
        jnp.stack([array, -array, array / 2]) if one else array
        for array, one in zip(operands(), mask, strict=True)
    ]

    def run(scan, *operands):
        of_one = partial(loss, scan)
        return (
            jax.vmap(partial(rnn, scan), axes)(*operands),
            jax.vmap(gradient(of_one), axes)(*operands),
            gradient(lambda *many: jnp.sum(jax.vmap(of_one, axes)(*many)))(*operands),
        )

    assert_alike(lambda scan, *given: jax.jit(partial(run, scan))(*given), *batched)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("in_axes", "out_axes"), [((2, 1, -1), (1, (2, -1))), ((-1, 2, 1), -1)])
def test_vmap_over_other_axes(in_axes, out_axes):
    """The axis of a batch may stand anywhere."""
    batched = [
        jnp.stack([array, -array], axis) for array, axis in zip(operands(), in_axes, strict=True)
    ]
    assert_alike(
        lambda scan, *given: jax.vmap(partial(rnn, scan), in_axes, out_axes)(*given), *batched
    )


def in_itself(scan, w, h, x):
    def outer(h, x):
        h, ys = rnn(scan, w, h, x)
        return h, ys[0]

    return jnp.sum(jnp.sin(scan(outer, h, jnp.stack([x, x / 2, -x]))[1]))


def by_cond(scan, w, h, x):
    return lax.cond(jnp.sum(h) > 0, partial(loss, scan), lambda w, h, x: jnp.sum(w), w, h, x)


def by_switch(scan, w, h, x):
    return lax.switch(2, [lambda *_: 0.0, lambda *_: 1.0, partial(loss, scan)], w, h, x)


def in_fori_loop(scan, w, h, x):
    return jnp.sum(lax.fori_loop(0, 3, lambda i, h: rnn(scan, w, h, x)[0], h))


def in_shard_map(scan, w, h, x):
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
    rows = PartitionSpec("data")
    run = jax.shard_map(
        lambda w, h, x: lax.psum(loss(scan, w, h, x), "data"),
        mesh=mesh,
        in_specs=(PartitionSpec(), rows, PartitionSpec(None, "data")),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    return run(w, h, x)


def vmapped_cond(scan, w, h, x):
    flags = jnp.array([True, False])
    return jnp.sum(
        jax.vmap(lambda flag, h: lax.cond(flag, partial(loss, scan), lambda w, *_: 0.0, w, h, x))(
            flags, jnp.stack([h, -h])
        )
    )


WITHIN = {
    "jit": lambda scan, w, h, x: jax.jit(partial(loss, scan))(w, h, x),
    "a scan": in_itself,
    "checkpoint": lambda scan, *given: jax.checkpoint(partial(loss, scan))(*given),
    "checkpoint, products kept": lambda scan, *given: jax.checkpoint(
        partial(loss, scan), policy=jax.checkpoint_policies.dots_saveable
    )(*given),
    "cond": by_cond,
    "cond in vmap": vmapped_cond,
    "switch": by_switch,
    "fori_loop": in_fori_loop,
    "shard_map": in_shard_map,
    "vmap of vmap": lambda scan, w, h, x: jnp.sum(
        jax.vmap(jax.vmap(partial(loss, scan), (0, None, None)), (None, 0, 0))(
            jnp.stack([w, -w]), jnp.stack([h, -h]), jnp.stack([x, -x])
        )
    ),
    "reverse, unroll=2": lambda scan, *given: loss(scan, *given, reverse=True, unroll=2),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("do", WITHIN.values(), ids=WITHIN)
def test_within(do):
    """The gradient of a scan within something else, and its own derivative."""

    def run(scan, *operands):
        first = gradient(partial(do, scan))
        return jax.jvp(first, operands, operands)

    assert_alike(lambda scan, *given: jax.jit(partial(run, scan))(*given), *operands())


DERIVATIVES = {
    "hessian": lambda loss, w: jax.hessian(loss)(w),
    "reverse over reverse": lambda loss, w: jax.jacrev(jax.jacrev(loss))(w),
    "reverse over forward": lambda loss, w: jax.jacrev(jax.jacfwd(loss))(w),
    "third": lambda loss, w: jax.grad(
        lambda w: jnp.sum(jax.jvp(jax.grad(loss), (w,), (w,))[1] * w**2)
    )(w),
    "linearized": lambda loss, w: jax.linearize(loss, w)[1](w),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("of", DERIVATIVES.values(), ids=DERIVATIVES)
def test_derivatives(of):
    """Of any order and by any route."""
    w, h, x = operands()

    def run(scan, w):
        return of(lambda w: loss(scan, w, h, x), w)

    assert_alike(lambda scan, w: jax.jit(partial(run, scan))(w), w)


@pytest.mark.usefixtures("x64")
def test_linear_transpose():
    """Of a step that is linear in carry and input."""
    w, h, x = operands()

    def run(by):
        def linear(h, x):
            return scan(lambda h, x_t: (h @ w + x_t, 2 * h), h, x)

        return jax.linear_transpose(linear, h, x)((h, x))

    assert_alike(run)


def test_scalars_of_python_as_primals_and_tangents():
    """Which JAX hands on as they are."""

    def run(scan, w):
        return scan(lambda c, x: (c * w + x, c), w, X)

    assert_alike(lambda scan: jax.jvp(partial(run, scan), (0.5,), (1.0,)), tolerance=1e-5)
    assert_alike(lambda scan: jax.vjp(partial(run, scan), 0.5)[1]((1.0, X)), tolerance=1e-5)


@pytest.mark.usefixtures("x64")
def test_while_loop():
    """Which has forward mode alone."""
    w, h, x = operands()

    def run(scan, w):
        def body(carry):
            return carry[0] + 1, rnn(scan, w, carry[1], x)[0]

        return lax.while_loop(lambda carry: carry[0] < 3, body, (0, h))[1]

    assert_alike(lambda scan: jax.jvp(partial(run, scan), (w,), (w,)))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float32, 1e-4), (np.float16, 2e-2), (jnp.bfloat16, 2e-1)], ids=str
)
def test_dtypes(dtype, tolerance):
    """Narrow numbers stay so, in results and gradients."""

    def run(scan, *operands):
        return rnn(scan, *operands), gradient(partial(loss, scan))(*operands)

    given = operands(dtype)
    assert_alike(lambda scan: jax.jit(partial(run, scan))(*given), tolerance=tolerance)


def test_dtypes_cast_in_the_step():
    """Float32 outside, bfloat16 in the products."""

    def run(scan, w, h, x):
        def step(h, x_t):
            product = h.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)
            h = jnp.tanh(product.astype(jnp.float32) + x_t)
            return h, h

        return scan(step, h, x)[1]

    given = operands(np.float32)
    assert_alike(
        lambda scan: jax.grad(lambda *at: jnp.sum(run(scan, *at)), (0, 1, 2))(*given),
        tolerance=5e-2,
    )


@pytest.mark.usefixtures("x64")
def test_disable_jit():
    """Every step sees its own numbers, and runs once."""
    w, h, x = operands()
    calls = []

    def step(h, x_t):
        calls.append(float(h[0, 0]))
        return jnp.tanh(h @ w + x_t), h

    with jax.disable_jit():
        scan(step, h, x)
        assert len(calls) == T
        assert_alike(lambda scan: gradient(partial(loss, scan))(w, h, x))


def test_nothing_leaks():
    """No tracer outlives its trace."""
    given = operands(np.float32)
    with jax.checking_leaks():
        jax.jit(partial(rnn, scan))(*given)
        gradient(partial(loss, scan))(*given)
        jax.vmap(partial(rnn, scan), (None, 0, 1))(*given)


# Effects


PRINTING = {
    "at once": lambda run, x: run(x),
    "jit": lambda run, x: jax.jit(run)(x),
    "grad": lambda run, x: jax.grad(run)(x),
    "jit of grad": lambda run, x: jax.jit(jax.grad(run))(x),
    "vmap": lambda run, x: jax.vmap(run)(jnp.stack([x, x])),
}


# JAX refuses ordered effects in a vmap
EITHER = [(name, ordered) for name in PRINTING for ordered in (False, True)][:-1]


@pytest.mark.parametrize(("name", "ordered"), EITHER)
def test_debug_print(name, ordered, capsys):
    """As many lines as of `lax.scan`, and the same."""

    def lines(scan):
        def step(c, x_t):
            jax.debug.print("c={c} x={x}", c=c, x=x_t, ordered=ordered)
            return jnp.sin(c) + x_t, c

        jax.block_until_ready(PRINTING[name](lambda x: scan(step, 0.0, x)[0], jnp.asarray(X)))
        jax.effects_barrier()
        return sorted(capsys.readouterr().out.splitlines())

    expected = lines(lax.scan)
    assert len(expected) >= T
    assert lines(scan) == expected


@pytest.mark.parametrize("ordered", [False, True], ids=["", "ordered"])
def test_io_callback(ordered):
    """Every step calls out once, in order where that is asked for."""

    def calls(scan):
        log = []

        def note(c):
            log.append(float(c))
            return np.float32(c + 1)

        def step(c, x_t):
            c = io_callback(note, jax.ShapeDtypeStruct((), np.float32), c, ordered=ordered)
            return c, x_t * c

        found = jax.jit(lambda x: scan(step, jnp.float32(0), x))(X)
        jax.block_until_ready(found)
        jax.effects_barrier()
        return log, [np.asarray(one).tolist() for one in found]

    assert calls(scan) == calls(lax.scan)


def test_pure_callback():
    """A function of NumPy's within a step."""

    def run(by):
        shape = jax.ShapeDtypeStruct((), np.float32)
        return scan(lambda c, x: (jax.pure_callback(np.sinh, shape, c) + x, c), jnp.float32(0), X)

    assert_alike(run)


# Collectives


def shifted(array):
    return lax.ppermute(array, "rows", [(0, 1), (1, 2), (2, 0)])


COLLECTIVES = {
    "psum": lambda array: lax.psum(array, "rows"),
    "pmean": lambda array: lax.pmean(array, "rows"),
    "ppermute": shifted,
    "all_gather": lambda array: jnp.sum(jnp.sin(lax.all_gather(array, "rows")), axis=0),
    "axis_index": lambda array: array * lax.axis_index("rows").astype(array.dtype),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives_over_a_vmap(name):
    """Results, gradients within the vmap, and the gradient of it."""
    w, h, x = operands()
    h, x = (jnp.stack([array, -array, array / 2]) for array in (h, x))

    def run(scan, w, h, x):
        def step(h, x_t):
            h = jnp.tanh(COLLECTIVES[name](h @ w + x_t))
            return h, h

        return jnp.sum(jnp.sin(scan(step, h, x)[1]))

    def all_of(scan, w, h, x):
        over = partial(jax.vmap, in_axes=(None, 0, 0), axis_name="rows")
        one = partial(run, scan)
        return (
            over(jax.value_and_grad(one, argnums=(0, 1, 2)))(w, h, x),
            gradient(lambda *given: jnp.sum(over(one)(*given)))(w, h, x),
        )

    assert_alike(lambda scan, *given: jax.jit(partial(all_of, scan))(*given), w, h, x)


# In a process of its own


def run_apart(program):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


ON_TWO_DEVICES = """
import jax, jax.numpy as jnp, numpy as np
from functools import partial
from jax import lax
from jax.sharding import Mesh, PartitionSpec as P
from deeprnn_jax.recurrence import scan

mesh = Mesh(np.array(jax.devices()), ("data",))
w, h, x = 0.3 * jnp.ones((3, 3)), jnp.ones((4, 3)), jnp.sin(jnp.arange(60.0)).reshape(5, 4, 3)

def train(scan, collective):
    def run(w, h, x):
        def step(h, x_t):
            h = h @ w + x_t
            mean = lax.pmean(jnp.mean(h, 0), "data") if collective else 0.0
            h = jnp.tanh(h - mean)
            return h, h
        return lax.psum(jnp.sum(jnp.sin(scan(step, h, x)[1])), "data")
    def sharded(w, h, x):
        return jax.shard_map(
            run, mesh=mesh, in_specs=(P(), P("data"), P(None, "data")), out_specs=P(),
            check_vma=False,
        )(w, h, x)
    return jax.jit(jax.value_and_grad(sharded, argnums=(0, 1, 2)))(w, h, x)

for collective in (False, True):
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        train(scan, collective), train(lax.scan, collective),
    )
"""

PATCHED = """
import jax, jax.numpy as jnp, numpy as np
from jax import lax
original = lax.scan
from deeprnn_jax.recurrence import primitive, scan

calls = []
def counted(*args, **kwargs):
    calls.append(args)
    return scan(*args, **kwargs)
jax.lax.scan = counted

import deeprnn_jax as drnn
from flax import linen

x = jnp.sin(jnp.arange(60.0)).reshape(5, 4, 3)
def loss(scan, w):
    def step(h, x_t):
        h = jnp.tanh(h @ w + x_t)
        return h, h
    return jnp.sum(scan(step, x[0], x)[1])
w = 0.3 * jnp.ones((3, 3))
found = jax.jit(jax.grad(lambda w: loss(lax.scan, w)))(w)
assert len(calls) == 1, len(calls)
np.testing.assert_allclose(found, jax.jit(jax.grad(lambda w: loss(original, w)))(w), rtol=1e-5)
assert "recurrence" in str(jax.make_jaxpr(lambda w: loss(lax.scan, w))(w))

layer = linen.RNN(linen.GRUCell(3), time_major=True)
params = jax.jit(layer.init)(jax.random.key(0), x)
def trained(params):
    def loss(p):
        return jnp.sum(jnp.sin(layer.apply(p, x)))
    return jax.jit(jax.value_and_grad(loss))(params)  # traced anew by each call
calls.clear()
found = trained(params)
assert calls
jax.lax.scan = original
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found,
             trained(params))
"""


@pytest.mark.parametrize("program", [ON_TWO_DEVICES, PATCHED], ids=["two devices", "patched"])
def test_in_a_process_of_its_own(program):
    """Rows spread over two devices, with a collective too; and in `lax.scan`'s own place."""
    run_apart(program)


# Compiling


def module_level_step(h, x_t):
    h = jnp.tanh(h + x_t)
    return h, h


EAGER = {
    "results": lambda scan, x: scan(module_level_step, x[0], x),
    "gradient": lambda scan, x: jax.grad(lambda x: jnp.sum(scan(module_level_step, x[0], x)[1]))(x),
    "vmap": lambda scan, x: jax.vmap(lambda x: scan(module_level_step, x[0], x))(x[None]),
}


@pytest.mark.parametrize("name", EAGER)
def test_eager_calls_compile_once(name, caplog):
    """In a loop of Python's, without `jit`: from the second call on nothing compiles."""
    x = draw(T, H, dtype=np.float32)

    def compiled(scan):
        for _ in range(2):
            EAGER[name](scan, x)
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            for _ in range(3):
                EAGER[name](scan, x)
        return [one.message for one in caplog.records if "XLA compilation" in one.message]

    assert len(compiled(scan)) <= len(compiled(lax.scan)), compiled(scan)


def test_a_step_is_traced_once():
    """Under `jit`, whatever is done with it after."""

    def traces(scan):
        count = 0

        def step(c, x_t):
            nonlocal count
            count += 1
            return jnp.sin(c) + x_t, c

        run = jax.jit(jax.grad(lambda x: scan(step, 0.0, x)[0]))
        for _ in range(3):
            run(jnp.asarray(X))
        return count

    assert traces(scan) == traces(lax.scan)


@pytest.mark.parametrize("second_order", [False, True], ids=["", "second order"])
def test_exports(second_order):
    """A gradient lowers for other machines, alone and together, and runs where it may."""
    given = operands(np.float32)
    run = gradient(partial(loss, scan))
    if second_order:
        first = run
        run = gradient(lambda *at: sum(map(jnp.sum, first(*at))))
    run = jax.jit(run)
    for platforms in (["cuda"], ["tpu"], ["cpu", "cuda", "rocm", "tpu"]):
        exported = jax.export.export(run, platforms=platforms)(*given)
        assert exported.platforms == tuple(platforms)
        assert "stablehlo.while" in exported.mlir_module()
    assert_close(jax.jit(exported.call)(*given), run(*given), 1e-5)


@pytest.mark.parametrize("manual", [False, True])
def test_on_a_mesh_with_explicit_axes_and_varying_over_manual_ones(manual):
    """There it is `lax.scan`, and its numbers."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    rows, whole = PartitionSpec(None, "data"), PartitionSpec()
    w, x = (
        jax.device_put(value, jax.NamedSharding(mesh, spec))
        for value, spec in ((jnp.eye(4), whole), (jnp.ones((6, 2, 4)), rows))
    )

    def gradient(by, w, x):
        def step(h, x_t):
            h = jnp.tanh(h @ w + x_t @ w)
            return h, h

        return jnp.sum(by(step, x[0] * 0, x)[1] ** 2)

    def run(by):
        def of_w(w, x):
            return jax.grad(lambda w: gradient(by, w, x))(w)

        if manual:

            def summed(w, x):
                return jax.lax.psum(of_w(jax.lax.pcast(w, "data", to="varying"), x), "data")

            of_w_everywhere = jax.shard_map(
                summed, mesh=mesh, in_specs=(whole, rows), out_specs=whole
            )
            return jax.jit(of_w_everywhere)(w, x)
        with jax.set_mesh(mesh):
            return jax.jit(of_w)(w, x)

    np.testing.assert_allclose(run(scan), run(lax.scan), rtol=1e-5)

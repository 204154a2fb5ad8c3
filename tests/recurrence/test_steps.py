"""`scan` of small steps of every kind: what `lax.scan` gives, and all its derivatives.

A cell of a user may be any function of its parameters, its state and its input; the
library's own cells are few and much alike.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from deeprnn_jax.recurrence import scan
from tests import registry
from tests.comparing import assert_close
from tests.programs import as_if_large
from tests.recurrence.scans import Scan, draw_weights

pytestmark = pytest.mark.usefixtures("x64")
T, B, H = 5, 3, 4
ROWS = (B, H)  # what a state, or an input, is where nothing else is said


class Step(NamedTuple):
    """A step, and the shapes of what it is given."""

    step: Any  # (p, h, x, flag) -> h, or (h, y)
    params: tuple
    h: tuple
    x: tuple
    flags: Any  # [T, ...] or None
    begin: Any  # h -> the first carry


def steps():
    """Give steps `(p, h, x, flag) -> h` or `(h, y)`, each with its shapes."""
    square, vector = (H, H), (H,)

    def case(step, *params, h=ROWS, x=ROWS, flags=None, begin=None):
        return Step(step, params, h, x, flags, begin or (lambda h: h))

    return {
        # where the products stand
        "w on the right": case(lambda p, h, x, _: jnp.tanh(x @ p[0] + h @ p[1]), (2, H), square,
                               x=(B, 2)),
        "w on the left": case(lambda p, h, x, _: jnp.tanh(p[0] @ x + p[1] @ h), (H, 2), square,
                              h=(H, B), x=(2, B)),
        "one row": case(lambda p, h, x, _: jnp.tanh(p[0] @ x + h @ p[1]), (H, 2), square,
                        h=(H,), x=(2,)),
        "batched products": case(
            lambda p, h, x, _: jnp.tanh(jnp.einsum("lbh,lhk->lbk", h, p[0]) + x),
            (2, H, H), h=(2, *ROWS), x=(2, *ROWS),
        ),
        "batch axis in the middle": case(
            lambda p, h, x, _: jnp.tanh(
                jnp.einsum("blh,lhk->blk", h, p[0]) + jnp.einsum("bli,kli->blk", x, p[1])
            ),
            (2, H, H), (H, 2, 2), h=(B, 2, H), x=(B, 2, 2),
        ),
        "batched, w on the left": case(
            lambda p, h, x, _: jnp.tanh(jnp.einsum("lkh,blh->blk", p[0], h) + x),
            (2, H, H), h=(B, 2, H), x=(B, 2, H),
        ),
        "vmapped": case(
            lambda p, h, x, _: jax.vmap(lambda p, h, x: jnp.tanh(x @ p[0] + h @ p[1] + p[2]))(
                p, h, x
            ),
            (2, 2, H), (2, H, H), (2, H), h=(2, *ROWS), x=(2, B, 2),
        ),
        "two axes contracted": case(
            lambda p, h, x, _: jnp.tanh(
                lax.dot_general(h, p[0], (((2, 1), (1, 0)), ((), ()))).reshape(h.shape) + x
            ),
            (2, 2, H), h=(B, 2, 2), x=(B, 2, 2),
        ),
        "two axes contracted crosswise": case(
            lambda p, h, x, _: jnp.tanh(
                lax.dot_general(h, p[0], (((1, 2), (1, 0)), ((), ()))).reshape(h.shape) + x
            ),
            (2, 2, H), h=(B, 2, 2), x=(B, 2, 2),
        ),
        "a middle axis contracted": case(
            lambda p, h, x, _: jnp.tanh(
                lax.dot_general(x, p[0], (((1,), (0,)), ((), ())))
                + lax.dot_general(h, p[1], (((1,), (0,)), ((), ())))
            ),
            (2, H), square, h=(B, H, H), x=(B, 2, H),
        ),
        "no product": case(lambda p, h, x, _: jnp.tanh(p[0] * h + x), vector),
        "no parameter": case(lambda p, h, x, _: jnp.tanh(h + x)),
        "of the state with itself": case(
            lambda p, h, x, _: jnp.tanh((h @ h.T) @ x @ p[0]), square
        ),
        "a convolution": case(
            lambda p, h, x, _: jnp.tanh(
                lax.conv_general_dilated(h, p[0], (1,), "SAME")
                + lax.conv_general_dilated(x, p[1], (1,), "SAME")
            ),
            (2, 2, 3), (2, 2, 3), h=(B, 2, 5), x=(B, 2, 5),
        ),
        # products on products
        "product of a product": case(
            lambda p, h, x, _: jnp.tanh((h @ p[0] + x @ p[1]) @ p[2]), (H, 6), (H, 6), (6, H)
        ),
        "product of tanh of a product": case(
            lambda p, h, x, _: jnp.tanh(h @ p[0] + x @ p[1]) @ p[2], (H, 6), (H, 6), (6, H)
        ),
        "a chain on the input": case(
            lambda p, h, x, _: jnp.tanh((jnp.tanh(x @ p[0] + p[1]) @ p[2]) + h @ p[3]),
            (H, 6), (6,), (6, H), square,
        ),
        "a linear chain on the input": case(
            lambda p, h, x, _: jnp.tanh((x @ p[0] + p[1]) @ p[2] + h @ p[3]),
            (H, 6), (6,), (6, H), square,
        ),
        # one value used more than once
        "tied": case(lambda p, h, x, _: jnp.tanh(jnp.tanh(h @ p[0] + x) @ p[0]), square),
        "one matrix for x and h": case(lambda p, h, x, _: jnp.tanh(x @ p[0] + h @ p[0]), square),
        "tied, transposed": case(lambda p, h, x, _: jnp.tanh(x @ p[0] + h @ p[0].T), square),
        "a matrix elementwise too": case(
            lambda p, h, x, _: jnp.tanh(h @ p[0] + x + p[0][:B]), square
        ),
        "a matrix made of parameters": case(
            lambda p, h, x, _: jnp.tanh(h @ (p[0] * p[1]) + x @ (2 * p[0])), square, vector
        ),
        "x W used twice": case(
            lambda p, h, x, _: (lambda a: jnp.tanh(a + h @ p[1]) + jnp.tanh(a) * h)(x @ p[0]),
            square, square,
        ),
        "x W shown": case(
            lambda p, h, x, _: (lambda a: (jnp.tanh(a + h @ p[1]), a))(x @ p[0]), square, square
        ),
        "x W + b shown": case(
            lambda p, h, x, _: (lambda a: (jnp.tanh(a + h @ p[1]), a))(x @ p[0] + p[2]),
            square, square, vector,
        ),
        "h W used twice": case(
            lambda p, h, x, _: (lambda z: (jnp.tanh(z), z * z))(h @ p[0] + x), square
        ),
        "a sum with itself": case(
            lambda p, h, x, _: (lambda z: jnp.tanh(z + z))(h @ p[0] + x), square
        ),
        "exp used twice": case(
            lambda p, h, x, _: (lambda e: (jnp.tanh(e), e))(jnp.exp(h @ p[0] + x)), square
        ),
        # sums
        "bias on x W": case(
            lambda p, h, x, _: jnp.tanh((x @ p[0] + p[2]) + h @ p[1]), square, square, vector
        ),
        "bias on h W": case(
            lambda p, h, x, _: jnp.tanh((h @ p[1] + p[2]) + x @ p[0]), square, square, vector
        ),
        "bias on the sum": case(
            lambda p, h, x, _: jnp.tanh((h @ p[1] + x @ p[0]) + p[2]), square, square, vector
        ),
        "two biases": case(
            lambda p, h, x, _: jnp.tanh(((x @ p[0] + p[2]) + p[3]) + h @ p[1]),
            square, square, vector, vector,
        ),
        "a scalar bias": case(
            lambda p, h, x, _: (lambda z: (jnp.tanh(z + p[1]), z))(h @ p[0] + x), square, ()
        ),
        "a bias that spreads": case(
            lambda p, h, x, _: jnp.tanh((h @ p[0])[:, None] + p[1]).sum(1) + x, square, (5, H)
        ),
        "differences": case(
            lambda p, h, x, _: jnp.tanh(x @ p[0] - h @ p[1] - p[2]), square, square, vector
        ),
        "two sums of x and h": case(
            lambda p, h, x, _: jnp.tanh(h @ p[0] + x @ p[1]) * jnp.tanh(x @ p[2] + h @ p[3]),
            square, square, square, square,
        ),
        # what is added after the nonlinearity
        "h + tanh": case(lambda p, h, x, _: h + jnp.tanh(h @ p[0] + x), square),
        "x + tanh": case(lambda p, h, x, _: jnp.tanh(h @ p[0]) + x, square),
        "b + tanh": case(lambda p, h, x, _: jnp.tanh(h @ p[0] + x) + p[1], square, vector),
        "-sigmoid": case(lambda p, h, x, _: -jax.nn.sigmoid(h @ p[0] + x), square),
        "1 - sigmoid": case(lambda p, h, x, _: 1 - jax.nn.sigmoid(h @ p[0] + x), square),
        "tanh + tanh": case(
            lambda p, h, x, _: jnp.tanh(h @ p[0]) + jnp.tanh(h @ p[1] + x), square, square
        ),
        "tanh, cut": case(
            lambda p, h, x, _: jnp.tanh(h @ p[0])[:, :H] + x, (H, 3 * H)
        ),
        "tanh of a cut": case(
            lambda p, h, x, _: jnp.tanh((h @ p[0])[:, :H]) + x, (H, 3 * H)
        ),
        "tanh, side by side": case(
            lambda p, h, x, _: jnp.concatenate([jnp.tanh(h @ p[0]), x[:, :2]], axis=1), (H, 2)
        ),
        "gates of which one is not used": case(
            lambda p, h, x, _: (lambda z: jnp.tanh(z[0]) * z[2] + x)(
                jnp.split(h @ p[0], 3, axis=-1)
            ),
            (H, 3 * H),
        ),
        # values at which what is not kept, and taken as zero, has no derivative
        "log": case(
            lambda p, h, x, _: jnp.tanh(jnp.log(5 + h @ p[0] + x)), square
        ),
        "reciprocal": case(lambda p, h, x, _: jnp.tanh(1 / (5 + h @ p[0] + p[1] + x)),
                           square, vector),
        # what the outputs are
        "y is constant": case(lambda p, h, x, _: (jnp.tanh(h @ p[0] + x), 3.0), square),
        "y is a parameter": case(lambda p, h, x, _: (jnp.tanh(h @ p[0] + x), p[0]), square),
        "y is x": case(lambda p, h, x, _: (jnp.tanh(h @ p[0] + x), x), square),
        "y is the state before": case(lambda p, h, x, _: (jnp.tanh(h @ p[0] + x), h), square),
        "y without the state": case(
            lambda p, h, x, _: (jnp.tanh(h @ p[0] + x), jnp.tanh(x @ p[1])), square, square
        ),
        "the state is x": case(lambda p, h, x, _: (x, h @ p[0]), square),
        "the state is a parameter": case(lambda p, h, x, _: (p[0][:B], h @ p[0] + x), square),
        "without x": case(lambda p, h, x, _: jnp.tanh(h @ p[0]), square),
        # operations with operations inside
        "a loop inside": case(
            lambda p, h, x, _: lax.fori_loop(0, 3, lambda _, h: jnp.tanh(h @ p[0] + x), h), square
        ),
        "a branch": case(
            lambda p, h, x, flag: lax.cond(
                flag > 0, lambda: jnp.tanh(h @ p[0]), lambda: h * p[0][0]
            )
            + x,
            square, flags=np.array([0, 1, 2, 0, 1]),
        ),
        "rematerialised": case(
            lambda p, h, x, _: jax.checkpoint(lambda h, w: jnp.tanh(h @ w + x))(h, p[0]), square
        ),
        "a derivative of its own": case(
            lambda p, h, x, _: doubled_tanh(h @ p[0] + x), square
        ),
        "stopped": case(
            lambda p, h, x, _: jnp.tanh(lax.stop_gradient(h) @ p[0] + x)
            * lax.stop_gradient(p[0][0]),
            square,
        ),
        "relu": case(lambda p, h, x, _: jax.nn.relu(h @ p[0] + x), square),
        "softmax": case(lambda p, h, x, _: jax.nn.softmax(h @ p[0] + x), square),
        "normalised": case(
            lambda p, h, x, _: jax.nn.standardize(h @ p[0] + x, epsilon=1e-5), square
        ),
        # flags
        "masked": case(
            lambda p, h, x, flag: jnp.where(flag[:, None], jnp.tanh(h @ p[0] + x @ p[1]), h),
            square, square, flags=np.arange(T * B).reshape(T, B) % 3 > 0,
        ),
        "looked up": case(
            lambda p, h, x, flag: jnp.tanh(h @ p[0] + x + jnp.take(p[1], flag, axis=0)),
            square, (7, H), flags=np.arange(T * B).reshape(T, B) % 7,
        ),
        "scaled": case(
            lambda p, h, x, flag: flag * jnp.tanh(h @ p[0] + x), square, flags=np.linspace(1, 2, T)
        ),
        # a parameter added to what depends on the carry, and what is nonlinear in both
        "sin of a sum": case(lambda p, h, x, _: jnp.sin(h + p[0]) + x, vector),
        "sin of a sum, no x": case(lambda p, h, x, _: jnp.sin(h + p[0]), vector),
        "h (h + p)": case(lambda p, h, x, _: h * (h + p[0]) + x, vector),
        "sin of h and b, inside": case(
            lambda p, h, x, _: jnp.tanh(x @ p[0] + h @ p[1] + jnp.sin(h + p[2])),
            square, square, vector,
        ),
        "sin of tanh and b": case(
            lambda p, h, x, _: jnp.sin(jnp.tanh(x @ p[0] + h @ p[1]) + p[2]),
            square, square, vector,
        ),
        "a gate of h + b": case(
            lambda p, h, x, _: (lambda g: g * h + (1 - g) * jnp.tanh(x @ p[0] + h @ p[1]))(
                jax.nn.sigmoid(h + p[2])
            ),
            square, square, vector,
        ),
        "normalised, scaled and shifted": case(
            lambda p, h, x, _: jnp.tanh(
                jax.nn.standardize(h @ p[0] + x, epsilon=1e-5) * p[1] + p[2]
            ),
            square, vector, vector,
        ),
        "one vector in three places": case(
            lambda p, h, x, _: jnp.tanh(h * p[0] + x + p[0]) * jax.nn.sigmoid(h + p[0]), vector
        ),
        # carries of other kinds
        "scalars": case(lambda p, h, x, _: jnp.sin(p[0] * h + p[1] + x), (), (), h=(), x=()),
        "one by one": case(
            lambda p, h, x, _: jnp.tanh(h @ p[0] + x @ p[1] + p[2]),
            (1, 1), (1, 1), (1,), h=(1, 1), x=(1, 1),
        ),
        "a complex carry": case(
            lambda p, h, x, _: (lambda h: (h, jnp.real(h * jnp.conj(h))))(
                jnp.sin(h @ lax.complex(p[0], p[1]) + lax.complex(x, p[2] + x))
            ),
            square, square, vector, begin=lambda h: lax.complex(h, 0.5 * h),
        ),
        "an integer carry beside": case(
            lambda p, h, x, flag: (
                (jnp.tanh(h[0] @ p[0] + x + p[1][h[1] % 3]), h[1] + flag),
                (h[0] * p[1][0], h[1]),
            ),
            square, (3, H), flags=np.array([1, 0, 2, 1, 1]), begin=lambda h: (h, jnp.array(1)),
        ),
        "a carry that turns active": case(
            lambda p, h, x, _: ((h[1], h[2], jnp.tanh(h[0] @ p[0] + x)), h[0]),
            square, begin=lambda h: (jnp.ones(ROWS), jnp.zeros(ROWS), h),
        ),
        "two carries, both shown": case(
            lambda p, h, x, _: (lambda a, b: ((a, b), (b, a)))(
                jnp.tanh(h[0] @ p[0] + x), jnp.tanh(h[1] @ p[1] + h[0])
            ),
            square, square, begin=lambda h: (h, 2 * h),
        ),
        "carries that change places": case(
            lambda p, h, x, _: ((h[1], jnp.tanh(h[0] @ p[0] + x * h[1])), h[0] + h[1]),
            square, begin=lambda h: (h, 2 * h),
        ),
    }  # fmt: skip


@jax.custom_vjp
def doubled_tanh(z):
    """A tanh with twice the derivative: what a user says a derivative is, it is."""
    return jnp.tanh(z)


doubled_tanh.defvjp(
    lambda z: (jnp.tanh(z), z), lambda z, cotangent: (2 * cotangent / jnp.cosh(z) ** 2,)
)
STEPS = steps()


def scan_of(case, scan, **options):
    """Give the scan of a step as a function of parameters, h and x."""

    def run(p, h, x):
        def step(h, xs):
            with jax.numpy_rank_promotion("allow"):  # a user's step is as it is
                found = case.step(p, h, *xs)
            return found if isinstance(found, tuple) else (found, found)

        return scan(step, case.begin(h), (x, case.flags), **options)

    return run


def draw(name):
    """Give a point and a direction, of parameters, h and x; and weights of the outputs."""
    case, rng = STEPS[name], registry.seed_of(f"step {name}")
    shapes = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, np.float64),
        (case.params, case.h, (T, *case.x)),
        is_leaf=lambda node: isinstance(node, tuple) and all(isinstance(n, int) for n in node),
    )
    point, direction = registry.fill(rng, shapes), registry.fill(rng, shapes, scale=1.0)
    return point, direction, draw_weights(rng, scan_of(case, lax.scan), *point)


each_step = pytest.mark.parametrize("name", STEPS)
REVERSE_ONLY = ("a derivative of its own",)


# The derivative of a gradient is one more scan, whose step is made by rules that know each
# operation and what it reads: one step of each way to read a carry, a parameter and an input,
# and of each thing that is kept for a gradient. Where a product's axes stand they do not ask.
SECOND_ORDER = (
    *("w on the right", "no product", "no parameter", "of the state with itself"),
    *("product of a product", "product of tanh of a product", "a chain on the input", "tied"),
    *("a matrix elementwise too", "x W used twice", "h W used twice", "bias on the sum"),
    *("b + tanh", "gates of which one is not used", "y is constant", "y is a parameter"),
    *("y is the state before", "the state is x", "the state is a parameter", "without x"),
    *("a loop inside", "a branch", "a derivative of its own", "stopped", "masked", "looked up"),
    *("sin of a sum", "h (h + p)", "normalised, scaled and shifted", "a complex carry"),
    *("an integer carry beside", "a carry that turns active"),
)


@each_step
def test_any_step_is_what_a_scan_of_it_is(name):
    """Outputs, their slopes and the gradient; as if the arrays were large."""
    point, direction, weights = draw(name)
    got = Scan(scan_of(STEPS[name], scan), weights)
    expected = Scan(scan_of(STEPS[name], lax.scan), weights, apart=False)

    @jax.jit
    def run(point, direction):
        values, wanted = (one.first_order(point) for one in (got, expected))
        if name in REVERSE_ONLY:
            return values, wanted
        slopes, wanted_slopes = (one.slopes(point, direction) for one in (got, expected))
        return (values, slopes), (wanted, wanted_slopes)

    found, wanted = jax.jit(as_if_large(run))(point, direction)
    assert_close(found, wanted)


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_second_derivatives_are_those_of_a_scan(name):
    """H·d by both routes; as if the arrays were large."""
    point, direction, weights = draw(name)
    got, expected = (
        Scan(scan_of(STEPS[name], one), weights, apart=False) for one in (scan, lax.scan)
    )

    @jax.jit
    def run(point, direction):
        by_reverse = got.reverse_over_reverse(point, direction)
        if name in REVERSE_ONLY:
            return by_reverse, expected.reverse_over_reverse(point, direction)
        by_forward, wanted = (one.forward_mode(point, direction) for one in (got, expected))
        return (by_forward, by_reverse), (wanted, wanted[1][1])

    found, wanted = jax.jit(as_if_large(run))(point, direction)
    assert_close(found, wanted)


# One of each kind of stack that a loop reads or writes: which way it goes through them, and
# in which pieces, does not look at what else is in a step.
STACKED = (
    *("product of tanh of a product", "tied", "x W + b shown", "h W used twice", "b + tanh"),
    *("y is constant", "y is a parameter", "y is the state before", "the state is x"),
    *("without x", "a derivative of its own", "masked", "looked up", "an integer carry beside"),
    "carries that change places",
)


@pytest.mark.parametrize("name", STACKED)
def test_any_step_backwards_and_by_chunks(name):
    """Outputs and gradient, of chunks of two steps and one left over."""
    point, _, weights = draw(name)
    got, expected = (
        Scan(scan_of(STEPS[name], one, reverse=True), weights, apart=one is not lax.scan)
        for one in (partial(scan, checkpoint_every=2), lax.scan)
    )
    found, wanted = jax.jit(lambda at: (got.first_order(at), expected.first_order(at)))(point)
    assert_close(found, wanted)


@pytest.mark.parametrize("name", REVERSE_ONLY)
@pytest.mark.parametrize("scan", [lax.scan, scan])
def test_a_reverse_rule_of_the_users_own_has_no_forward_mode(name, scan):
    """What JAX says, it says of either scan."""
    point, direction, weights = draw(name)
    with pytest.raises(TypeError, match=r"forward-mode autodiff \(jvp\) to a custom_vjp"):
        Scan(scan_of(STEPS[name], scan), weights).forward_mode(point, direction)

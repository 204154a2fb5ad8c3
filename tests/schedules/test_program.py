"""A step taken apart, on small steps of every kind: equal to JAX's own scan of it.

A cell of a user may be any function of its parameters, its state and its input; the
library's own cells are few and much alike.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from deeprnn_jax.schedules.recurrence import run_recurrence
from tests import registry
from tests.comparing import assert_close
from tests.programs import as_if_large

pytestmark = pytest.mark.usefixtures("x64")
T, B, H = 5, 3, 4
ROWS = (B, H)  # what a state, or an input, is where nothing else is said


def steps():
    """Give steps `(p, h, x, flag) -> h` or `(h, y)`, each with its shapes."""
    square, vector = (H, H), (H,)

    def case(step, *params, h=ROWS, x=ROWS, flags=None):
        return step, params, h, x, flags

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
                lax.dot_general(h, p[0], (((1, 2), (0, 1)), ((), ()))).reshape(h.shape) + x
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
    }  # fmt: skip


@jax.custom_vjp
def doubled_tanh(z):
    """A tanh with twice the derivative: what a user says a derivative is, it is."""
    return jnp.tanh(z)


doubled_tanh.defvjp(
    lambda z: (jnp.tanh(z), z), lambda z, cotangent: (2 * cotangent / jnp.cosh(z) ** 2,)
)
STEPS = steps()


def as_pair(step):
    """Make the step one that gives the carry and an output."""

    def run(p, h, x, flag):
        found = step(p, h, x, flag)
        return found if isinstance(found, tuple) else (found, found)

    return run


@pytest.mark.parametrize("name", STEPS)
def test_any_step_is_what_a_scan_of_it_is(name):
    """Outputs and gradients: forwards, whole and as if large; backwards and by chunks."""
    step, *shapes, flags = STEPS[name]
    step = as_pair(step)
    rng = registry.seed_of(f"step {name}")
    params, h, x = (
        tuple(0.5 * rng.normal(size=shape) for shape in shapes[0]),
        0.5 * rng.normal(size=shapes[1]),
        0.5 * rng.normal(size=(T, *shapes[2])),
    )

    def plain(reverse, *operands):
        p, h, x = operands
        return lax.scan(lambda h, xs: step(p, h, *xs), h, (x, flags), reverse=reverse)

    def taken_apart(reverse, every, *operands):
        return run_recurrence(step, *operands, flags, reverse=reverse, checkpoint_every=every)

    outputs = jax.eval_shape(lambda *operands: plain(False, *operands), params, h, x)
    weights = registry.fill(rng, outputs, scale=1.0)

    def with_gradients(run, *operands):
        def loss(*operands):
            return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, weights, run(*operands))))

        return run(*operands), jax.grad(loss, argnums=(0, 1, 2))(*operands)

    @jax.jit
    def run_both(*operands):
        with as_if_large():
            whole = with_gradients(partial(taken_apart, False, None), *operands)
        by_chunks = with_gradients(partial(taken_apart, True, 2), *operands)
        return [
            (whole, with_gradients(partial(plain, False), *operands)),
            (by_chunks, with_gradients(partial(plain, True), *operands)),
        ]

    for got, expected in run_both(params, h, x):
        assert_close(got, expected)


@pytest.mark.parametrize("num_steps", [1, 3, 4, 9])  # blocks of four, and what is left over
@pytest.mark.parametrize("reverse", [False, True])
def test_blocks_of_steps_are_the_steps(num_steps, reverse):
    rng = registry.seed_of(f"blocks {num_steps} {reverse}")
    w_x, w_h, x = (rng.normal(size=size) for size in ((2, H), (H, H), (num_steps, B, 2)))

    def step(p, h, x, flag):
        h = jnp.where(flag, jnp.tanh(x @ p[0] + h @ p[1]), h)
        return h, (h, 2 * x)

    flags = rng.random(num_steps) < 0.7
    with as_if_large():
        got = run_recurrence(step, (w_x, w_h), np.ones((B, H)), x, flags, reverse=reverse)
    expected = lax.scan(
        lambda h, xs: step((w_x, w_h), h, *xs), np.ones((B, H)), (x, flags), reverse=reverse
    )
    assert_close(got, expected)

"""Products of odd dtypes, random bits and derivatives of a user's own, before the loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from deeprnn_jax.recurrence import scan
from tests import registry
from tests.programs import as_if_large

pytestmark = pytest.mark.usefixtures("x64")
T, B, H = 6, 3, 4
RNG = registry.seed_of("dtypes")
W, U = (0.4 * RNG.normal(size=(H, H)) for _ in range(2))
H_0, XS = RNG.normal(size=(B, H)), RNG.normal(size=(T, B, H))


@jax.custom_vjp
def bend(x):
    return jnp.sin(x)


bend.defvjp(lambda x: (jnp.sin(x), x), lambda x, cotangent: (2 * cotangent * jnp.cos(x),))
product = partial(lax.dot_general, dimension_numbers=(((1,), (0,)), ((), ())))


def of_integers(w, x):
    return 0.01 * product(x, (10 * w).astype(jnp.int8))


def cast_down(w, x):
    return product(x, w.astype(jnp.bfloat16), preferred_element_type=jnp.float64)


def times_a_number(w, x):
    return jnp.einsum(",bh->bh", 2.0, x) @ w


def by_a_derivative_of_ones_own(w, x):
    return bend(x) @ w


def the_same_computed_again(w, x):
    return jax.checkpoint(bend)(x) @ w


def as_precise_on_either_side(w, x):
    return jax.vmap(lambda x: jnp.dot(w, x, precision=("highest", "default")))(x)


STEPS = (
    of_integers,
    cast_down,
    times_a_number,
    by_a_derivative_of_ones_own,
    the_same_computed_again,
    as_precise_on_either_side,
)


def compare(gradient, rtol):
    found = jax.jit(as_if_large(partial(gradient, scan)))()
    for got, expected in zip(found, jax.jit(partial(gradient, lax.scan))(), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * scale)


@pytest.mark.parametrize("project", STEPS, ids=lambda step: step.__name__)
def test_what_is_before_the_loop_is_what_it_is_in_it(project):
    """And of the carry; by a matrix that is cast down, to the cast's own rounding."""

    def gradient(by):
        def loss(w, xs):
            def step(h, x):
                h = jnp.tanh(project(w, x) + project(w, h) @ U)
                return h, h

            return jnp.sum(jnp.sin(by(step, jnp.asarray(H_0), xs)[1]))

        return jax.grad(loss, (0, 1))(jnp.asarray(W), jnp.asarray(XS))

    compare(gradient, 1e-2 if project is cast_down else 1e-10)


def test_a_real_matrix_in_a_complex_step():
    def gradient(by):
        def loss(w, xs):
            def step(h, x):
                h = 0.3 * jnp.sin(x @ w.astype(complex) + h @ w.astype(complex))
                return h, h

            return jnp.sum(jnp.abs(by(step, H_0 + 1j * H_0, xs)[1]) ** 2)

        return jax.grad(loss, (0, 1))(jnp.asarray(W), XS + 0.5j * XS)

    compare(gradient, 1e-10)


def test_bits_are_drawn_from_each_steps_own_key():
    """For "rbg", what is drawn of many keys at once is not what each would give."""
    keys = jax.random.split(jax.random.key(0, impl="rbg"), T)

    def gradient(by):
        def loss(w):
            def step(h, inputs):
                x, key = inputs
                kept = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0.0)
                h = jnp.tanh(kept @ w + h @ U)
                return h, h

            return jnp.sum(by(step, jnp.asarray(H_0), (jnp.asarray(XS), keys))[1] ** 2)

        return loss(W), jax.grad(loss)(jnp.asarray(W))

    compare(gradient, 1e-10)


def test_a_scan_that_is_linear_in_xs_is_transposed_with_a_counter_in_its_carry():
    def gradient(by):
        def total(xs):
            def step(carry, x):
                index, total = carry
                return (index + 1, total + x), 2.0 * x + total

            return by(step, (0, jnp.zeros((B, H))), xs)[1]

        return jax.linear_transpose(total, jnp.asarray(XS))(jnp.asarray(XS))

    compare(gradient, 1e-10)


@pytest.mark.parametrize(
    ("xs", "length"),
    [(np.ones(12), 10), ((np.ones(10), np.ones(12)), None), (None, None)],
)
def test_lengths_are_checked_before_a_scan_is_cut(xs, length):
    with pytest.raises(ValueError, match="scan got") as expected:
        lax.scan(lambda c, _: (c, c), 0.0, xs, length)
    with pytest.raises(ValueError, match="scan got") as found:
        scan(lambda c, _: (c, c), 0.0, xs, length, checkpoint_every=5)
    assert str(found.value) == str(expected.value)

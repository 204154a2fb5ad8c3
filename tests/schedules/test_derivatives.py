"""Derivatives beyond the gradient: forward mode, second order, JAX's own checks."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_close
from tests.registry import IN

pytestmark = pytest.mark.usefixtures("x64")
STEPS, ROWS = 4, 3
# Small: a second derivative is four times the program. One cell of each kind of split:
# plain, with parameters in `update`, with a second product there, without the split.
NETWORKS = {
    "elman": registry.stack_of("elman", depth=3, size=2),
    "lstm_all": registry.stack_of("lstm_all", depth=1, size=2),
    "gru_before-both": registry.stack_of("gru_before", depth=1, size=2, bidirectional=True),
    "leaky": registry.stack_of("leaky", "layer_norm", depth=1, size=2),
    "deep_transition": registry.stack_of("deep_transition", depth=1, size=2),
    "noisy": registry.stack_of("gru", "all", depth=1, size=2),
}
each_network = pytest.mark.parametrize("name", NETWORKS)
SMALLEST = {
    "one elman": registry.stack_of("elman", depth=1, size=2),
    "one gru": registry.stack_of("gru_before", depth=1, size=2),
}


@cache
def loss_of(name):
    """Give (loss(point, schedule), a point, a direction) of a network with every flag."""
    network = (NETWORKS | SMALLEST)[name]
    rnn = network.build()
    rng = registry.seed_of(f"derivatives of {name}")
    params, state = registry.shapes_of(rnn, batch_shape=(ROWS,))
    x = jax.ShapeDtypeStruct((STEPS, ROWS, IN), np.float64)
    point, direction = (
        registry.fill(rng, (params, x, state)),
        registry.fill(rng, (params, x, state)),
    )
    lengths, resets = np.array([4, 2, 0]), rng.random((STEPS, ROWS)) < 0.3
    key = jax.random.key(5) if network.is_stochastic else None

    def loss(point, schedule):
        params, x, state = point
        state, y = rnn.apply(
            params, x, state, lengths=lengths, resets=resets, key=key, schedule=schedule
        )
        return jnp.sum(jnp.sin(y)) + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state))

    return loss, point, direction


def along(tree, direction):
    """Give the inner product of two trees."""
    return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, tree, direction)))


@each_network
def test_forward_mode_is_the_gradient_along_the_direction(name):
    loss, point, direction = loss_of(name)

    @jax.jit
    def run(point, direction):
        value, slope = jax.jvp(lambda p: loss(p, "reference"), (point,), (direction,))
        return value, slope, along(jax.grad(loss)(point, "reference"), direction)

    _, forward, reverse = run(point, direction)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10)


def test_forward_mode_needs_the_reference_schedule():
    """And says so, rather than giving a wrong number."""
    loss, point, direction = loss_of("elman")
    for schedule in ("layerwise", "wavefront", "auto"):
        says = pytest.raises(TypeError, match=r"forward-mode.*use schedule='reference'")
        of_schedule = partial(loss, schedule=schedule)
        with says:
            jax.jvp(of_schedule, (point,), (direction,))
        with says:
            jax.jacfwd(of_schedule)(point)


def test_forward_mode_of_a_cells_own_reverse_rule_is_jaxs_error():
    """The reference schedule is no remedy there, and is not named as one."""

    @jax.custom_vjp
    def bend(z):
        return jnp.tanh(z)

    bend.defvjp(lambda z: (bend(z), z), lambda z, cotangent: (cotangent / jnp.cosh(z) ** 2,))
    rnn = drnn.deep_rnn(drnn.elman(2, bend))
    params = rnn.init(jax.random.key(0), 2)

    def run(x):
        return rnn.apply(params, x, schedule="reference")[1]

    with pytest.raises(TypeError, match="forward-mode") as caught:
        jax.jvp(run, (jnp.ones((3, 2)),), (jnp.ones((3, 2)),))
    assert "schedule" not in str(caught.value)


@each_network
def test_second_order_by_every_route(name):
    """H·d: forward over reverse and reverse over reverse, whatever the schedule."""
    loss, point, direction = loss_of(name)

    def forward_over_reverse(point, direction, schedule):
        return jax.jvp(lambda p: jax.grad(loss)(p, schedule), (point,), (direction,))[1]

    def reverse_over_reverse(point, direction, schedule):
        return jax.grad(lambda p: along(jax.grad(loss)(p, schedule), direction))(point)

    @jax.jit
    def run(point, direction):
        return (
            forward_over_reverse(point, direction, "reference"),
            forward_over_reverse(point, direction, "layerwise"),
            reverse_over_reverse(point, direction, "layerwise"),
        )

    expected, *found = run(point, direction)
    assert_close(found[0], expected, 1e-9)
    assert_close(found[1], expected, 1e-9)


def test_second_order_on_diagonals():
    """Both routes through "wavefront", over equal layers above one of its own."""
    loss, point, direction = loss_of("elman")

    @jax.jit
    def run(point, direction):
        def gradient(p, schedule="wavefront"):
            return jax.grad(loss)(p, schedule)

        return (
            jax.jvp(partial(gradient, schedule="reference"), (point,), (direction,))[1],
            jax.jvp(gradient, (point,), (direction,))[1],
            jax.grad(lambda p: along(gradient(p), direction))(point),
        )

    expected, *found = run(point, direction)
    assert_close(found[0], expected, 1e-9)
    assert_close(found[1], expected, 1e-9)


def test_hessian_and_jacobians_of_the_reference():
    """Forward, reverse and both, over the input."""
    loss, (params, x, state), _ = loss_of("elman")

    @jax.jit
    def run(x):
        def of_x(x):
            return loss((params, x, state), "reference")

        def output(x):
            return jnp.tanh(x[:, 0]) * of_x(x)

        return (
            jax.hessian(of_x)(x),
            jax.jacrev(jax.jacrev(of_x))(x),
            jax.jacfwd(output)(x),
            jax.jacrev(output)(x),
        )

    hessian, reverse_twice, forward, reverse = run(x)
    np.testing.assert_allclose(hessian, reverse_twice, atol=1e-10)
    np.testing.assert_allclose(forward, reverse, atol=1e-10)
    flat = np.asarray(hessian).reshape(x.size, x.size)
    np.testing.assert_allclose(flat, flat.T, atol=1e-10)
    assert np.abs(flat).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "schedule", "order", "modes"),
    [
        ("one elman", "reference", 1, ("fwd", "rev")),
        ("one elman", "reference", 2, ("rev",)),
        ("one elman", "layerwise", 2, ("rev",)),
        ("one gru", "layerwise", 1, ("rev",)),
    ],
)
def test_jaxs_own_check(name, schedule, order, modes):
    loss, point, _ = loss_of(name)
    check_grads(jax.jit(lambda *p: loss(p, schedule)), point, order, modes, rtol=1e-5)


def test_gradients_cross_the_library_inside_other_transformations():
    """The gradient of gradient steps in a rematerialised scan."""
    loss, (params, x, state), _ = loss_of("one elman")

    def trained(params, schedule):
        @jax.checkpoint
        def update(params, x):
            grads = jax.grad(lambda p: loss((p, x, state), schedule))(params)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), None

        params, _ = jax.lax.scan(update, params, jnp.stack([x, 2 * x]))
        return jnp.sum(jnp.square(params.layers[0].cell.w_h))

    run = jax.jit(lambda p: [jax.grad(trained)(p, s) for s in ("layerwise", "reference")])
    assert_close(*run(params), 1e-9)

"""Derivatives beyond the gradient: forward mode, second order, JAX's own checks.

A second derivative is four times the program, so networks are small, and what differs in
cells and modifiers alone stands in towers.
"""

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
STEPS, ROWS, SIZE = 4, 3, 3
SCHEDULES = [name for name in registry.ANY_CELL if name != "reference"]


def tower(*layers):
    """Give a network of one layer of each (cell, modifier)."""
    return registry.Network(tuple((cell, SIZE, modifier) for cell, modifier in layers))


# Every cell alone, of an LSTM's options all and none. All modifiers at once are on few, with
# one field of state and with two, with a split and without: they wrap a cell's functions, and
# know no cell.
MODIFIED = ("elman", "lstm_all", "gru_before", "deep_transition")
TOWERS = {
    cell: tower((cell, "none"), *[(cell, registry.all_on(cell))] * (cell in MODIFIED))
    for cell in (*registry.SHORT, "rg_lru", "slstm", "gated_delta")
    if cell not in {*registry.LSTM_OPTIONS, "elman_relu"}
}
# Equal layers, what is between layers, and two directions. Layer norm's gain and bias, and
# `independent`'s weights, meet what depends on the carry elementwise.
NETWORKS = TOWERS | {
    "one elman": registry.stack_of("elman", depth=1, size=2),
    "one gru": registry.stack_of("gru_before", depth=1, size=2),
    "three elman": registry.stack_of("elman", depth=3, size=2),
    "layer_norm(gru)": registry.stack_of(
        "gru", "layer_norm", depth=2, size=SIZE, skip="residual", dropout=0.3
    ),
    "highway of independent": registry.stack_of(
        "independent", depth=2, size=SIZE, skip="highway", layer_norm=True, output_size=2
    ),
    "dense": registry.stack_of("gru", depth=2, size=2, skip="dense"),
    "gru_before-both": registry.stack_of("gru_before", depth=1, size=2, bidirectional=True),
}
ROUTES = ("forward over reverse", "reverse over reverse")


def cases():
    """Give networks with how they are run, and the routes to a second derivative.

    How a layer is run and how its step is derived know nothing of each other: every tower
    has one schedule and one route, and each pair of these has towers.
    """
    found = [
        (name, SCHEDULES[index % len(SCHEDULES)], None, (ROUTES[index // len(SCHEDULES) % 2],))
        for index, name in enumerate(TOWERS)
    ]
    found += [
        ("layer_norm(gru)", "wavefront", None, ROUTES[:1]),
        ("highway of independent", "layerwise", None, ROUTES[:1]),
        ("highway of independent", "wavefront", None, ROUTES[1:]),
        ("three elman", "layerwise", None, ROUTES),
        ("three elman", "wavefront", None, ROUTES),
        ("three elman", "reference", 3, ROUTES[:1]),
        ("three elman", "wavefront", 3, ROUTES[1:]),
        ("gru_before-both", "layerwise", 3, ROUTES[1:]),
    ]
    return [
        pytest.param(*case, marks=pytest.mark.xdist_group(case[0]), id="-".join(map(str, case[:3])))
        for case in found
    ]


@cache
def loss_of(name):
    """Give (loss(point, schedule, every), a point, a direction) of a network with every flag."""
    network = NETWORKS[name]
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

    def loss(point, schedule, every=None):
        params, x, state = point
        state, y = rnn.apply(
            params,
            x,
            state,
            lengths=lengths,
            resets=resets,
            key=key,
            schedule=schedule,
            checkpoint_every=every,
        )
        return jnp.sum(jnp.sin(y)) + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state))

    return loss, point, direction


def along(tree, direction):
    """Give the inner product of two trees."""
    return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, tree, direction)))


def forward_over_reverse(loss, point, direction):
    """Give loss and gradient, and the derivatives of both: the slope, and H·d."""
    return jax.jvp(jax.value_and_grad(loss), (point,), (direction,))


def reverse_over_reverse(loss, point, direction):
    """Give H·d."""
    return jax.grad(lambda at: along(jax.grad(loss)(at), direction))(point)


@cache
def of_the_reference(name):
    """Give what `forward_over_reverse` gives of `lax.scan`."""
    loss, point, direction = loss_of(name)
    run = jax.jit(partial(forward_over_reverse, partial(loss, schedule="reference")))
    return run(point, direction)


@pytest.mark.parametrize(("name", "schedule", "every", "routes"), cases())
def test_derivatives_are_the_references(name, schedule, every, routes):
    """Loss, gradient, slope, and H·d."""
    loss, point, direction = loss_of(name)
    loss = partial(loss, schedule=schedule, every=every)

    @jax.jit
    def run(point, direction):
        found = {}
        if "forward over reverse" in routes:
            found["by forward"] = forward_over_reverse(loss, point, direction)
        if "reverse over reverse" in routes:
            found["slope"] = jax.jvp(loss, (point,), (direction,))[1]
            found["H·d"] = reverse_over_reverse(loss, point, direction)
        return found

    values, slopes = of_the_reference(name)
    expected = {"slope": slopes[0], "by forward": (values, slopes), "H·d": slopes[1]}
    found = run(point, direction)
    assert_close(found, {kind: expected[kind] for kind in found}, 1e-9)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes[1])) > 1e-2


@pytest.mark.parametrize("name", ["three elman", "highway of independent"])
def test_forward_mode_is_the_gradient_along_the_direction(name):
    (_, grads), (slope, _) = of_the_reference(name)
    np.testing.assert_allclose(slope, along(grads, loss_of(name)[2]), rtol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_hessian_and_jacobians(schedule):
    """Forward, reverse and both, over the input."""
    loss, (params, x, state), _ = loss_of("three elman" if schedule == "wavefront" else "one elman")

    @jax.jit
    def run(x):
        def of_x(x):
            return loss((params, x, state), schedule)

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


@pytest.mark.parametrize("schedule", ["reference", *SCHEDULES])
def test_forward_mode_of_a_cells_own_reverse_rule_is_jaxs_error(schedule):
    """No schedule is a remedy there, and none is named as one."""

    @jax.custom_vjp
    def bend(z):
        return jnp.tanh(z)

    bend.defvjp(lambda z: (bend(z), z), lambda z, cotangent: (cotangent / jnp.cosh(z) ** 2,))
    rnn = drnn.deep_rnn(drnn.elman(2, bend))
    params = rnn.init(jax.random.key(0), 2)

    def run(x):
        return rnn.apply(params, x, schedule=schedule)[1]

    with pytest.raises(TypeError, match="forward-mode") as caught:
        jax.jvp(run, (jnp.ones((3, 2)),), (jnp.ones((3, 2)),))
    assert "schedule" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "schedule", "order", "modes"),
    [
        ("one elman", "reference", 1, ("fwd", "rev")),
        ("one elman", "reference", 2, ("rev",)),
        ("one elman", "layerwise", 2, ("fwd", "rev")),
        ("one gru", "layerwise", 1, ("fwd", "rev")),
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

"""Products written rows first: the same numbers, and nothing turned over in the loop."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import deeprnn_jax as drnn
from deeprnn_jax.recurrence.primitive import recurrence_p
from tests import registry
from tests.comparing import assert_close
from tests.programs import as_if_large

pytestmark = pytest.mark.usefixtures("x64")
T, B, H, IN = 5, 3, 4, 2


def one_row(w, h, x):
    """Do a cell's step for one row, as Equinox writes it."""
    r_h, n_h = jnp.split(w["h"] @ h, 2)
    r_x, n_x = jnp.split(w["x"] @ x + w["b"], 2)
    return jnp.tanh(n_x + jax.nn.sigmoid(r_x + r_h) * n_h)


def vmapped_inside(w, h, x):
    return jax.vmap(one_row, (None, 0, 0))(w, h, x)


def side_by_side(w, h, x):
    z = jnp.concatenate([h, x, jnp.sin(h)], axis=-1) @ w["side"]
    return jnp.tanh(z[:, :H]) * jax.nn.sigmoid(z[:, H:])


def side_by_side_from_the_left(w, h, x):
    z = w["side"].T @ jnp.concatenate([h.T, x.T, jnp.sin(h.T)], axis=0)
    return jnp.tanh(z.T[:, :H]) * jax.nn.sigmoid(z.T[:, H:])


def shown_before_it_is_turned(w, h, x):
    z = w["h"] @ h.T
    return jnp.tanh(z[:H].T + x @ w["x"][:H].T) * jnp.cos(jnp.sum(z * z))


STEPS = {
    f.__name__: f
    for f in (
        vmapped_inside,
        side_by_side,
        side_by_side_from_the_left,
        shown_before_it_is_turned,
    )
}


def operands():
    rng = registry.seed_of("rewriting")
    shapes = {"h": (2 * H, H), "x": (2 * H, IN), "b": (2 * H,), "side": (2 * H + IN, 2 * H)}
    w = {name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
    return w, rng.normal(size=(B, H)), rng.normal(size=(T, B, IN))


def loss(scan, step, w, h, x):
    h, y = scan(lambda h, x: (step(w, h, x),) * 2, h, x)
    return jnp.sum(jnp.sin(y)) + jnp.sum(h)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_numbers_are_those_of_lax_scan(step):
    def both(scan, *operands):
        gradient = jax.grad(lambda *a: loss(scan, step, *a), (0, 1, 2))
        again = jax.grad(lambda *a: sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient(*a))))
        return loss(scan, step, *operands), gradient(*operands), again(*operands)

    found = jax.jit(as_if_large(lambda *a: both(drnn.scan, *a)))(*operands())
    assert_close(found, jax.jit(lambda *a: both(lax.scan, *a))(*operands()))


def steps_in(function, *operands):
    """Give the operations of the steps of all recurrences."""
    eqns = jax.make_jaxpr(function)(*operands).jaxpr.eqns
    return [
        inner
        for eqn in eqns
        if eqn.primitive is recurrence_p
        for inner in eqn.params["jaxpr"].jaxpr.eqns
    ]


@pytest.mark.parametrize("outside", [False, True])
def test_a_vmapped_cell_turns_nothing_over(outside):
    """Neither where the step is vmapped, nor where the scan is; nor in the gradient."""
    w, h, x = operands()

    def gradient(w, h, x):
        if outside:

            def one(h, x):
                return loss(drnn.scan, one_row, w, h, x)

            return jax.grad(lambda h: jnp.sum(jax.vmap(one, (0, 1))(h, x)))(h)
        return jax.grad(lambda h: loss(drnn.scan, vmapped_inside, w, h, x))(h)

    eqns = steps_in(gradient, w, h, x)
    turned = [
        eqn for eqn in eqns if eqn.primitive.name == "transpose" and B in eqn.invars[0].aval.shape
    ]
    assert eqns
    assert not turned

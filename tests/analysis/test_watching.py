"""Where the gradient is seen: at each state, with what goes up from it and what goes on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax import analysis
from deeprnn_jax.analysis.watching import norm_of, with_changed_state
from tests import registry
from tests.comparing import assert_close
from tests.registry import CELLS, IN, B, H, T

pytestmark = pytest.mark.usefixtures("x64")
# The reset gate of one, and the window of the other, go up as they were before the step.
READS_THE_OLD_STATE = {"sru", "qrnn"}


@pytest.mark.parametrize("name", sorted(CELLS.keys() - READS_THE_OLD_STATE))
def test_the_output_is_read_off_the_changed_state(name):
    """By the chain rule: ∂y_t/∂s_{t-1} = ∂y_t/∂s_t ∂s_t/∂s_{t-1}."""
    cell, rng = CELLS[name].make(H), registry.seed_of(name)
    shapes = jax.eval_shape(lambda key: cell.init(key, IN), registry.KEY)
    params = registry.fill(rng, shapes)
    state = registry.fill(rng, jax.eval_shape(lambda p: cell.initial_state(p, (2,)), params))
    x_proj = cell.project_input(params, rng.normal(size=(2, IN)))
    tangent = registry.fill(rng, state)

    def changed(state, by):
        h_proj = None if cell.project_state is None else cell.project_state(params, state)
        add = lambda after: jax.tree.map(jnp.add, after, by)  # noqa: E731
        return with_changed_state(cell.update, add, params, state, x_proj, h_proj)

    @jax.jit
    def run(state, tangent):
        none = jax.tree.map(jnp.zeros_like, state)
        (_, y), (moved, dy) = jax.jvp(lambda s: changed(s, none), (state,), (tangent,))
        (_, same), (_, by_change) = jax.jvp(lambda b: changed(state, b), (none,), (moved,))
        return y, same, cell.step(params, state, x_proj)[1], dy, by_change

    y, same, plain, dy, by_change = run(state, tangent)
    assert_close([y, same], [plain, plain], 1e-12)
    assert_close(by_change, dy, 1e-10)
    assert np.abs(dy).max() > 1e-6


# Of fields that are all the output, of some that are not, of none that is.
DEEP = registry.Network(
    (("gru_before", 4, "none"), ("lstm_projection", 4, "none"), ("lru", 3, "none")), skip="dense"
)


def by_hand(params, x, bumps, real, resets):
    """Run DEEP step by step, with something added to each state as it is made."""
    rnn = DEEP.build()
    initial = state = rnn.initial_state(params, (B,))
    ys = []
    for t in range(T):
        below, after = [x[t]], []
        for layer, cell in enumerate(rnn.plan.cells):
            own = params.layers[layer].cell
            before = jax.tree.map(
                lambda a, b, t=t: jnp.where(resets[t][:, None], a, b), initial[layer], state[layer]
            )
            read = jnp.concatenate(below, axis=-1)
            found, y = cell.step(own, before, cell.project_input(own, read))
            bump = jax.tree.map(lambda leaf, t=t: leaf[t], bumps[layer])
            found = jax.tree.map(jnp.add, found, bump)
            # of an LRU y = Re(C h) + D x
            y = found.h if layer < 2 else y + jnp.concatenate([bump.re, -bump.im], -1) @ own.w_y
            keep = real[t][:, None]
            after.append(jax.tree.map(lambda a, b, k=keep: jnp.where(k, a, b), found, before))
            below.append(jnp.where(keep, y, 0))
        state = after
        ys.append(below[-1])
    return jnp.stack(ys)


def test_norms_are_those_of_bumps_added_by_hand():
    data, rnn = registry.data_for(DEEP), DEEP.build()
    lengths, mask, resets = registry.every_edge()
    real = mask & (np.arange(T)[:, None] < lengths)
    new = resets & real
    weights = registry.seed_of("weights").normal(size=(T, B, 3))
    bumps = jax.tree.map(lambda leaf: np.zeros((T, *leaf.shape)), data.state)

    def loss(y):
        return jnp.sum(jnp.tanh(y) * weights)

    @jax.jit
    def run(params, x, bumps):
        got = analysis.gradient_flow(
            rnn, params, x, loss, lengths=lengths, mask=mask, resets=resets, checkpoint_every=2
        )
        slopes = jax.grad(lambda b: loss(by_hand(params, x, b, real, new)))(bumps)
        return got, jnp.stack([norm_of(one, 2) for one in slopes])

    got, expected = run(data.params, data.x, bumps)
    assert got.shape == (3, T, B)
    assert_close(got, expected, 1e-10)
    assert np.all((np.asarray(got)[:, ~real]) == 0)

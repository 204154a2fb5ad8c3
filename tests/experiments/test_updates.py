"""One training step, of losses that are small enough to follow by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.optimizers import adamw_of
from experiments.common.settings import TrainingSettings
from experiments.common.updates import evaluated_params, initial_train_state, make_train_step

EMA_DECAY = 0.5


def test_the_running_mean_is_that_of_the_parameters():
    """Against the sum by hand, without bias; the first step's learning rate is zero."""
    schedule = optax.linear_schedule(0.0, 0.1, 2)
    tx = optax.sgd(schedule)
    state = initial_train_state(
        jax.random.key(0), lambda key: {"w": jnp.ones(3)}, tx, ema_decay=EMA_DECAY
    )
    train_step = make_train_step(
        lambda params, batch, carry, key: (jnp.sum(batch * params["w"] ** 2), carry),
        tx,
        schedule,
        ema_decay=EMA_DECAY,
    )
    mean, weight, seen = 0.0, 0.0, []
    for _ in range(4):
        state, _ = train_step(state, jnp.array([1.0, 2.0, -3.0]))
        seen.append(np.asarray(state.params["w"]))
        mean = EMA_DECAY * mean + (1.0 - EMA_DECAY) * seen[-1]
        weight = EMA_DECAY * weight + (1.0 - EMA_DECAY)
    np.testing.assert_array_equal(seen[0], np.ones(3))
    assert not np.allclose(seen[0], seen[-1])
    np.testing.assert_allclose(evaluated_params(state, EMA_DECAY)["w"], mean / weight, rtol=1e-5)
    assert evaluated_params(state._replace(ema=None), 0.0) is state.params


def test_each_step_draws_anew_and_reads_what_the_last_one_handed_on():
    """A loss that is noise, and a carry that counts."""
    tx = optax.sgd(0.0)

    def loss_fn(params, batch, carry, key):
        return params["w"] + jax.random.normal(key), carry + batch

    state = initial_train_state(
        jax.random.key(0),
        lambda key: {"w": jnp.zeros(())},
        tx,
        carry_of=lambda params: jnp.ones(()),
    )
    step, losses, carries = make_train_step(loss_fn, tx, lambda step: 0.0), [], []
    for batch in (1.0, 2.0, 4.0):
        state, report = step(state, jnp.asarray(batch))
        losses.append(float(report.loss))
        carries.append(float(state.carry))
    assert len(set(losses)) == 3
    assert carries == [2.0, 4.0, 8.0]


def test_matrices_alone_decay_and_a_long_gradient_is_cut():
    """Without a gradient what is left of AdamW is the decay; two directions add an axis to b."""
    settings = TrainingSettings(data="none", learning_rate=0.1, weight_decay=0.5, steps=9)
    tx, schedule = adamw_of(settings)
    cell = {"w_x": jnp.ones((2, 3)), "b": jnp.ones((2, 3))}
    state = initial_train_state(jax.random.key(0), lambda key: {"cell": cell}, tx)
    step = make_train_step(lambda params, batch, carry, key: (0.0 * batch, carry), tx, schedule)
    state, report = step(state, jnp.asarray(1.0))
    np.testing.assert_allclose(state.params["cell"]["w_x"], 1 - 0.1 * 0.5)
    np.testing.assert_array_equal(state.params["cell"]["b"], 1.0)
    assert report.learning_rate == np.float32(0.1)

    gradient = {"w": jnp.array([3.0, 4.0])}
    moments = tx.update(gradient, tx.init(gradient), gradient)[1]
    mu = next(leaf for leaf in jax.tree.leaves(moments) if leaf.shape == (2,))
    np.testing.assert_allclose(mu, 0.1 * np.array([0.6, 0.8]), rtol=1e-6)

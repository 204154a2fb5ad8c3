"""optax by the names of parameters: those of docs/recipes.md, and what they do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import deeprnn_jax as drnn

IN = 3


@pytest.fixture(autouse=True)
def standard_promotion(strict_promotion):
    """Let optax take a float to the power of an int."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def by_name(rnn, rule):
    """Give a rule of an array's name as a function of parameters: a mask, or labels."""
    return lambda params: jax.tree.unflatten(
        jax.tree.structure(params), [rule(name) for name in rnn.to_dict(params)]
    )


def decays(name):
    """Tell whether an array is no bias and of no normalisation."""
    return not name.split("/")[-1].startswith(("b", "scale", "shift"))


def network(**options):
    return drnn.deep_rnn(drnn.lstm(4), 3, output_size=2, normalize_inputs=True, **options)


def ones_of(rnn):
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), IN))
    return jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)


def after_one_step(optimizer, params, grads):
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return optax.apply_updates(params, updates)


@pytest.mark.parametrize("options", [{}, {"stack_layers": True}, {"bidirectional": True}])
def test_biases_and_normalisation_do_not_decay(options):
    """By name and not by the number of axes: stacked, or of two directions, a bias has two."""
    rnn = network(**options)
    params = ones_of(rnn)
    optimizer = optax.adamw(0.1, weight_decay=0.5, mask=by_name(rnn, decays))
    found = rnn.to_dict(after_one_step(optimizer, params, jax.tree.map(jnp.zeros_like, params)))
    for name, array in found.items():  # of zero gradients decay alone is left
        expected = 0.95 if name.endswith(("/w_x", "/w_h", "/w")) else 1.0
        np.testing.assert_allclose(array, expected, rtol=1e-6, err_msg=name)
    kept = {name.split("/")[-1] for name, array in found.items() if np.all(array == 1)}
    assert kept == {"b", "scale", "shift"}


def test_learning_rates_by_label():
    def label(name):
        return "recurrent" if name.endswith("w_h") else "rest"

    rnn = network()
    params = ones_of(rnn)
    optimizer = optax.multi_transform(
        {"recurrent": optax.sgd(0.01), "rest": optax.sgd(0.1)}, by_name(rnn, label)
    )
    found = rnn.to_dict(after_one_step(optimizer, params, jax.tree.map(jnp.ones_like, params)))
    for name, array in found.items():
        rate = 0.01 if name.endswith("w_h") else 0.1
        np.testing.assert_allclose(array, 1 - rate, rtol=1e-6, err_msg=name)
    assert sum(name.endswith("w_h") for name in found) == 3


def test_frozen_layers():
    """As when a network from another library is trained on: its first layer stays."""
    rnn = network()
    params = ones_of(rnn)
    labels = by_name(rnn, lambda name: "frozen" if name.startswith("layer_0/") else "trained")
    optimizer = optax.multi_transform(
        {"frozen": optax.set_to_zero(), "trained": optax.adam(0.1)}, labels
    )
    after = after_one_step(optimizer, params, jax.tree.map(jnp.ones_like, params))
    assert all(np.all(leaf == 1) for leaf in jax.tree.leaves(after.layers[0]))
    assert all(np.all(leaf < 1) for leaf in jax.tree.leaves((after.layers[1:], after.readout)))


def test_masks_train_under_jit():
    rnn = network()
    params = rnn.init(jax.random.key(0), IN)
    optimizer = optax.adamw(1e-2, mask=by_name(rnn, decays))

    @jax.jit
    def train(params, opt_state, x):
        value, grads = jax.value_and_grad(lambda p: jnp.mean(rnn.apply(p, x)[1] ** 2))(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    opt_state, values = optimizer.init(params), []
    for _ in range(5):
        params, opt_state, value = train(params, opt_state, jnp.ones((4, 2, IN)))
        values.append(float(value))
    assert values[-1] < values[0]
    assert train._cache_size() == 1

"""What is said of a step, and of a network."""

import jax
import jax.numpy as jnp
import pytest

import deeprnn_jax as drnn

W_X, W_H = jnp.ones((5, 8)), jnp.ones((8, 8))
H, X = jnp.ones((3, 8)), jnp.ones((6, 3, 5))


def elman(h, x):
    h = jnp.tanh(x @ W_X + h @ W_H)
    return h, h


def test_a_step_in_words():
    text = drnn.explain(elman, H, X)
    assert text.splitlines() == [
        "6 steps, carry float32[3,8]",
        "  for all steps at once",
        "    [3,5] · [5,8]",
        "  each step",
        "    [3,8] · [8,8]",
        "    add, tanh",
        "  kept for the gradient: 0 bytes a step",
        "    there anyway: float32[3,5], x_t",
        "    there anyway: float32[3,8], outputs",
        "    there anyway: float32[3,8], carry, from the outputs that end it",
        "  backward, each step",
        "    [3,8] · [8,8]",
        "    2 add_any, 2 mul, sub",
        "  after the backward loop, for all steps at once",
        "    cotangents [3,5]: [3,5] · [5,8]",
        "    gradient [5,8]: [3,5] · [5,8]",
        "    gradient [8,8]: [3,8] · [8,8]",
    ]


def test_a_value_that_is_summed_in_the_loop():
    gain = jnp.ones((1, 8))

    def step(h, x):
        h = jnp.tanh(x @ W_X + h @ W_H) * gain
        return h, h

    assert "summed: float32[3,8]" in drnn.explain(step, H, X)


@pytest.mark.parametrize(
    ("reason", "step", "length"),
    [
        ("effects", lambda h, x: (jax.debug.print("{}", h[0, 0]) or h, x), 6),
        ("less than two steps", elman, 1),
    ],
)
def test_why_a_scan_is_left_as_it_is(reason, step, length):
    text = drnn.explain(step, H, X[:length])
    assert text.startswith("Run by lax.scan:")
    assert reason in text


def test_a_network_in_words():
    """Two directions in one loop; equal layers are said once."""
    rnn = drnn.deep_rnn(drnn.gru(8), 3)
    params = jax.eval_shape(lambda: rnn.init(jax.random.key(0), 8))
    x = jax.ShapeDtypeStruct((6, 3, 8), jnp.float32)
    text = rnn.explain(params, x, schedule="layerwise")
    assert text.startswith("3 x 6 steps, carry float32[3,8]")
    assert text.count("steps") == 3  # of one recurrence: its own, hoisted, after the loop
    assert rnn.explain(params, x, schedule="wavefront").startswith("1 x 8 steps")
    assert rnn.explain(params, x, schedule="reference").startswith("No recurrence")

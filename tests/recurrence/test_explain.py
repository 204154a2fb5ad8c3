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
        "    there anyway: float32[3,5], inputs",
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


def read_out(h, x):
    h = W_X[:1] * h + x @ W_X
    return h, h @ W_H


def test_a_step_in_two_parts():
    text = drnn.explain(read_out, H, X)
    assert text.splitlines() == [
        "6 steps, carry float32[3,8], in 2 parts",
        "  once, before all parts",
        "    slice",
        "  stacked for other parts: 96 bytes a step",
        "  part 1, carry float32[3,8]",
        "    for all steps at once",
        "      [3,5] · [5,8]",
        "    each step",
        "      add, mul",
        "    kept for the gradient: 0 bytes a step",
        "      there anyway: float32[3,5], inputs",
        "      there anyway: float32[3,8], carry, from the outputs that end it",
        "    backward, each step",
        "      add, add_any, 2 mul",
        "      summed: float32[3,8]",
        "    after the backward loop, for all steps at once",
        "      cotangents [3,5]: [3,5] · [5,8]",
        "      gradient [5,8]: [3,5] · [5,8]",
        "  part 2, no carry",
        "    for all steps at once",
        "      [3,8] · [8,8]",
        "    kept for the gradient: 0 bytes a step",
        "      there anyway: float32[3,8], inputs",
        "    backward, for all steps at once",
        "      cotangents [3,8]: [3,8] · [8,8]",
        "      gradient [8,8]: [3,8] · [8,8]",
    ]


def test_a_carry_that_is_only_handed_on():
    """Inputs of before, whose sum the loop reads."""

    def step(carry, x):
        (one, two), h = carry
        h, y = elman(h, x + one + two)
        return ((x, one), h), y

    lines = drnn.explain(step, ((X[0], X[0]), H), X).splitlines()
    assert lines[0] == "6 steps, carry 2 float32[3,5], float32[3,8], in 4 parts"
    assert [line.strip() for line in lines if line.startswith("  part")] == [
        "part 1, carry float32[3,5], only handed on",
        "part 2, carry float32[3,5], only handed on",
        "part 3, no carry",
        "part 4, carry float32[3,8]",
    ]


def two_layers(states, x):
    low, _ = elman(states[0], x)
    high = jnp.tanh(low @ W_H + states[1] @ W_H)
    return (low, high), high @ W_H


def lstm(h, x):
    h = jnp.tanh(x @ W_X + h @ W_H) * jax.nn.sigmoid(h)
    return h, jnp.tanh(h)


@pytest.mark.parametrize(
    ("step", "init", "loops"),
    [(elman, H, 1), (lstm, H, 1), (read_out, H, 1), (two_layers, (H, H), 2)],
)
def test_as_many_loops_as_there_are(step, init, loops):
    """Of a train step: each loop forward, and each backward, is one of the program."""
    text = drnn.explain(step, init, X)
    assert text.count("  each step") == text.count("  backward, each step") == loops

    def loss(init, x):
        return jnp.sum(drnn.scan(step, init, x)[1])

    program = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(init, X).as_text()
    assert program.count("stablehlo.while") == 2 * loops


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


def test_a_network_whose_steps_are_done_at_once():
    """What has no carry, and the linear recurrence between; of Newton's method, the loop too."""
    x = jax.ShapeDtypeStruct((6, 3, 8), jnp.float32)

    def parts_of(cell, schedule):
        rnn = drnn.deep_rnn(cell, 2)
        params = jax.eval_shape(lambda: rnn.init(jax.random.key(0), 8))
        return rnn.explain(params, x, schedule=schedule).split("\n\n")

    affine = parts_of(drnn.lru(8, state_size=4), "parallel")
    assert "2 x 6 steps, carry 2 float32[3,4], by linear_scan" in affine
    assert [text.splitlines()[0] for text in affine if "linear_scan" not in text] == [
        "2 x 6 steps, no carry"
    ] * (len(affine) - 1)
    assert not any("each step" in text or "before the loop" in text for text in affine)
    assert affine[-1].splitlines()[1:4] == [
        "  for all steps at once",
        "    [3,4] · [4,8]",
        "    [3,4] · [4,8]",
    ]
    newton = parts_of(drnn.independent(8), drnn.schedules.parallel(max_passes=5))
    assert "2 x 6 steps, carry float32[3,8], by linear_scan" in newton
    assert any(text.startswith("2 x 6 steps, carry float32[3,8]\n") for text in newton)  # the loop

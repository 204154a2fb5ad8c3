"""How often a gradient multiplies: what the forward pass has multiplied is not repeated.

A product a = b·W has two derivatives, by b and by W, each a product of the same size. So
a gradient by everything costs three products for each of the forward pass, and four where
`jax.checkpoint` asks for the forward pass once more.
"""

import re
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import deeprnn_jax as drnn
from deeprnn_jax.recurrence import scan
from tests.compiling import compile_as_users_do

T, B, I, H = 7, 4, 24, 32  # no two alike: a matrix is known by its shape  # noqa: E741


def multiplications(run, *operands):
    """Count a program's multiplications of matrices, those of a loop once a step.

    XLA makes products of some sums too, of a vector with ones: these are not counted.
    """
    compiled = compile_as_users_do(jax.jit(run).lower(*operands)).as_text()
    computations = dict(re.findall(r"\n(?:ENTRY )?%?([\w.-]+) \(.*?{\n(.*?)\n}", compiled, re.S))
    entry = re.search(r"\nENTRY %?([\w.-]+)", compiled)[1]

    def count(name):
        body = computations[name]
        shapes = dict(re.findall(r"%?([\w.-]+) = \w+\[([\d,]*)\]", body))
        total = 0
        for line in body.splitlines():
            if product := re.search(r"= \w+\[([\d,]*)\]\S* dot\((.*?)\)", line):
                lhs = re.findall(r"%([\w.-]+)", product[2])[0]
                axes = re.search(r"lhs_contracting_dims={([\d,]*)}", line)[1]
                sizes = [int(size) for size in shapes[lhs].split(",")]
                contracted = prod(sizes[int(axis)] for axis in axes.split(","))
                shape = [int(size) for size in product[1].split(",") if size]
                if min(shape) > 1:
                    total += contracted * prod(shape)
            called = re.findall(r"(?:calls|to_apply|body)=%?([\w.-]+)", line)
            times = T if " while(" in line else 1
            total += sum(times * count(one) for one in called)
        return total

    return count(entry)


def lstm_step(params, state, x_t):
    h, c = state
    gates = x_t @ params["w_x"] + h @ params["w_h"] + params["b"][None]
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def lstm(scan):
    """Give a user's own LSTM."""
    params = {
        "w_x": jax.ShapeDtypeStruct((I, 4 * H), np.float32),
        "w_h": jax.ShapeDtypeStruct((H, 4 * H), np.float32),
        "b": jax.ShapeDtypeStruct((4 * H,), np.float32),
    }

    def run(params, x):
        zeros = jnp.zeros((B, H))
        return scan(lambda state, x_t: lstm_step(params, state, x_t), (zeros, zeros), x)[1]

    return run, params


def network(cell, num_layers=2):
    """Give layers of one of the library's cells."""
    rnn = drnn.deep_rnn(cell, num_layers)
    params = jax.eval_shape(lambda key: rnn.init(key, input_size=I), jax.random.key(0))
    return lambda params, x: rnn.apply(params, x, schedule="layerwise")[1], params


RUNS = {
    "a user's LSTM": lambda: lstm(scan),
    "layer_norm(lstm)": lambda: network(drnn.layer_norm(drnn.lstm(H)), num_layers=1),
    "gru": lambda: network(drnn.gru(H)),
}


def gradient(run):
    return jax.grad(lambda params, x: jnp.sum(jnp.sin(run(params, x))), argnums=(0, 1))


@pytest.mark.parametrize("name", RUNS)
def test_no_product_is_repeated(name):
    run, params = RUNS[name]()
    x = jax.ShapeDtypeStruct((T, B, I), np.float32)
    once = multiplications(run, params, x)
    assert once > T * B * H * 3 * H  # the counter counts
    assert multiplications(gradient(run), params, x) == 3 * once
    # XLA may see that x is multiplied twice, and then does it once
    assert 3 * once < multiplications(gradient(jax.checkpoint(run)), params, x) <= 4 * once


def test_what_is_counted():
    """The same of `lax.scan`, which adds up a matrix's gradient in the loop: as many."""
    run, params = lstm(lax.scan)
    x = jax.ShapeDtypeStruct((T, B, I), np.float32)
    assert multiplications(run, params, x) == T * B * (I + H) * 4 * H
    assert multiplications(gradient(run), params, x) == 3 * T * B * (I + H) * 4 * H

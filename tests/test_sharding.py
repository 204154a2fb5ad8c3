"""A batch spread over devices: what XLA's partitioner makes of the schedules and searches."""

import os
import subprocess
import sys

START = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import deeprnn_jax as drnn

assert jax.device_count() == 2
mesh = Mesh(np.array(jax.devices()), ("data",))
def spread(array, spec):
    return jax.device_put(array, NamedSharding(mesh, spec))
"""

TRAINING = """
rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=3)
params = rnn.init(jax.random.key(0), input_size=8)
x = jax.random.normal(jax.random.key(1), (6, 4, 8))
lengths = jnp.array([6, 3, 0, 5])

def train(params, x, lengths, schedule):
    def loss(params, x):
        y = rnn.apply(params, x, lengths=lengths, schedule=schedule)[1]
        return jnp.sum(jnp.sin(y)), y
    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, x)

expected = train(params, x, lengths, "reference")
for schedule in ("layerwise", "wavefront"):
    (d_params, d_x), y = train(
        jax.tree.map(lambda leaf: spread(leaf, P()), params),
        spread(x, P(None, "data")),
        spread(lengths, P("data")),
        schedule,
    )
    for array in (d_x, y):
        assert array.sharding.shard_shape(array.shape) == (6, 2, 8), (schedule, array.sharding)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ((d_params, d_x), y), expected
    )
"""

DECODING = """
from deeprnn_jax.decoding import beam_search, ctc_prefix_beam

rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2, output_size=5)
params = rnn.init(jax.random.key(0), input_size=5)
start = jnp.array([0, 2, 3, 4])
logits = 3 * jax.random.normal(jax.random.key(1), (9, 4, 5))
lengths = jnp.array([9, 4, 0, 7])

@jax.jit
def search(params, start):
    def step(state, tokens):
        return rnn.step(params, state, jax.nn.one_hot(tokens, 5))
    state = rnn.initial_state(params, start.shape)
    return beam_search(step, state, start, end_token=1, beam_size=3, max_steps=6)

@jax.jit
def decode(logits, lengths):
    return ctc_prefix_beam(logits, lengths, beam_size=3)

expected = search(params, start), decode(logits, lengths)
got = (
    search(jax.tree.map(lambda leaf: spread(leaf, P()), params), spread(start, P("data"))),
    decode(spread(logits, P(None, "data")), spread(lengths, P("data"))),
)
for array, alone in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    assert array.sharding.shard_shape(array.shape) == (2, *array.shape[1:]), array.sharding
    np.testing.assert_allclose(array, alone, rtol=1e-5)
"""


def run_on_two_devices(program):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    run = [sys.executable, "-c", START + program]
    found = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_a_batch_over_two_devices():
    """Each device trains on its own rows by either schedule, and finds what one device finds."""
    run_on_two_devices(TRAINING)


def test_a_search_over_two_devices():
    """Each device searches its own rows, and finds what one device finds."""
    run_on_two_devices(DECODING)

"""A batch spread over devices: what XLA's partitioner makes of the schedules."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import deeprnn_jax as drnn

assert jax.device_count() == 2
rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=3)
params = rnn.init(jax.random.key(0), input_size=8)
x = jax.random.normal(jax.random.key(1), (6, 4, 8))
lengths = jnp.array([6, 3, 0, 5])

def train(params, x, lengths):
    def loss(params, x):
        y = rnn.apply(params, x, lengths=lengths, schedule=sys.argv[1])[1]
        return jnp.sum(jnp.sin(y)), y
    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, x)

expected = train(params, x, lengths)
mesh = Mesh(np.array(jax.devices()), ("data",))
def spread(array, spec):
    return jax.device_put(array, NamedSharding(mesh, spec))
(d_params, d_x), y = train(
    jax.tree.map(lambda leaf: spread(leaf, P()), params),
    spread(x, P(None, "data")),
    spread(lengths, P("data")),
)
for array in (d_x, y):
    assert array.sharding.shard_shape(array.shape) == (6, 2, 8), array.sharding
jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ((d_params, d_x), y), expected
)
"""


@pytest.mark.parametrize("schedule", ["layerwise", "wavefront"])
def test_a_batch_over_two_devices(schedule):
    flags = "--xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    run = [sys.executable, "-c", PROGRAM, schedule]
    found = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr

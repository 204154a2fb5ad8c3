"""`checkpoint_every`: the same numbers from less memory."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import registry
from tests.comparing import assert_close
from tests.compiling import compile_as_users_do
from tests.programs import plain
from tests.registry import IN

ROWS = 3
# Noise and dropout are cut into chunks with the rest.
CAUSAL = registry.stack_of("elman", "zoneout", depth=2, size=2, dropout=0.3)
BOTH = registry.stack_of("elman", depth=1, size=2, bidirectional=True)
SCHEDULED = registry.scheduled(CAUSAL, BOTH)
# Chunks of 1, 2 and 3, with one step left over or none.
CASES = [(name, 7, 2) for name in SCHEDULED] + [
    ("layerwise", 7, "sqrt"),
    ("wavefront", 7, 1),
    ("layerwise", 6, 2),
    ("wavefront", 7, 7),  # of its 8 diagonals, one is left over
]


@cache
def case(name, num_steps):
    """Give run(every, *operands) with its gradient, jitted, and the operands."""
    network = SCHEDULED[name]
    rnn = network.build()
    rng = registry.seed_of(f"checkpoints of {network} {num_steps}")
    params, state = registry.shapes_of(rnn, batch_shape=(ROWS,))
    x = jax.ShapeDtypeStruct((num_steps, ROWS, IN), np.float64)
    operands = registry.fill(rng, (params, x, state))
    lengths = np.array([num_steps, num_steps - 2, 0])
    resets = rng.random((num_steps, ROWS)) < 0.3

    def run(every, *operands):
        def loss(params, x, state):
            found = rnn.inspect(
                params,
                x,
                state,
                lengths=lengths,
                resets=resets,
                key=jax.random.key(3),
                schedule=name.removesuffix("-both"),
                checkpoint_every=every,
            )
            outputs = plain(*found)
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(outputs)), outputs

        return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(*operands)

    return jax.jit(run, static_argnums=0), operands


@cache
def expected(name, num_steps):
    run, operands = case(name, num_steps)
    return run(None, *operands)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("name", "num_steps", "every"), CASES)
def test_numbers_are_the_same(name, num_steps, every):
    run, operands = case(name, num_steps)
    # one for all schedules, which agree without chunks: `test_contract`
    usual = "layerwise-both" if name.endswith("-both") else "layerwise"
    assert_close(run(every, *operands), expected(usual, num_steps))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["layerwise-both", "wavefront"])
def test_equal_chunks_are_equal_programs(name):
    """√7 is 3 here, √8 a divisor of 8; chunks of all steps, or of more, are no chunks."""
    run, operands = case(name, 7)

    def programs(*many):
        return {run.lower(every, *operands).as_text() for every in many}

    assert len(programs(2 if name == "wavefront" else 3, "sqrt")) == 1
    whole = (8, 12) if name == "wavefront" else (7, 8, 12)
    assert len(programs(None, *whole)) == 1
    assert len(programs(2, 3, None)) == 3


def memory_of(schedule, every):
    """Give the bytes that a train step of 4096 steps takes beside what it is given."""
    rnn = registry.stack_of("lstm", depth=1, size=8).build(param_dtype=jnp.float32)
    params, state = registry.shapes_of(rnn, batch_shape=(2,))

    @jax.jit
    def train(params, x, state):
        def loss(params):
            _, y = rnn.apply(params, x, state, schedule=schedule, checkpoint_every=every)
            return jnp.mean(y**2)

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    x = jax.ShapeDtypeStruct((4096, 2, IN), np.float32)
    compiled = compile_as_users_do(train.lower(params, x, state))
    return compiled.memory_analysis().temp_size_in_bytes


def test_a_train_step_keeps_its_outputs_and_their_cotangents():
    """Two arrays [T, B, H], and a quarter of one for a chunk and the carries between."""
    assert memory_of("layerwise", "sqrt") < 2.25 * (4096 * 2 * 8 * 4)
    assert memory_of("layerwise", None) > 8 * (4096 * 2 * 8 * 4)


def test_a_train_step_on_diagonals_takes_less_memory():
    assert memory_of("wavefront", "sqrt") < memory_of("wavefront", None) / 4

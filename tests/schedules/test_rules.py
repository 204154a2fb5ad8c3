"""What "auto" stands for, on which platform, and with which shapes."""

import jax
import jax.numpy as jnp
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.parameters import largest_field
from deeprnn_jax.schedules import choose
from deeprnn_jax.schedules.rules import CPU, Rules, rules_of


def no_field():
    raise AssertionError("a state's size is asked for where it does not count")


@pytest.mark.parametrize(
    ("expected", "num_layers", "shape"),
    [
        ("wavefront", 16, (256, 4, 32)),
        ("wavefront", 16, (256, 2, 2, 32)),
        ("layerwise", 15, (256, 4, 32)),
        ("layerwise", 16, (256, 1, 32)),  # a forward pass would be slower
        ("layerwise", 16, (256, 8, 32)),
        ("layerwise", 16, (100, 4, 32)),  # 15 diagonals more would count
        ("layerwise", 16, (1, 4, 32)),
    ],
)
def test_auto(expected, num_layers, shape):
    plan = drnn.deep_rnn(drnn.gru(32), num_layers).plan
    assert choose("apply", plan, "auto", shape, CPU, no_field).name == expected
    assert (
        choose("apply", plan, "auto", shape, Rules(), no_field).name == "layerwise"
    )  # not measured there


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"skip": "dense"}])
def test_auto_goes_layer_by_layer_where_it_must(options):
    plan = drnn.deep_rnn(drnn.gru(32), 16, **options).plan
    assert choose("apply", plan, "auto", (256, 4, 32), CPU, no_field).name == "layerwise"


@pytest.mark.parametrize(
    ("expected", "cell", "shape", "options"),
    [
        ("parallel", drnn.min_gru(64), (32, 1, 64), {}),
        ("parallel", drnn.lru(32, state_size=64), (256, 2, 32), {}),
        ("parallel", drnn.zoneout(drnn.min_gru(64), 0.1), (32, 64), {"bidirectional": True}),
        ("layerwise", drnn.min_gru(64), (31, 1, 64), {}),
        ("layerwise", drnn.min_gru(64), (256, 3, 64), {}),
        ("layerwise", drnn.lru(32, state_size=256), (256, 1, 32), {}),
        ("layerwise", drnn.linear_attention(64, 4), (256, 1, 64), {}),  # 4 x 16 x 16 numbers
        ("layerwise", drnn.independent(64), (256, 1, 64), {}),
        ("layerwise", [drnn.gru(64), drnn.min_gru(64)], (256, 1, 64), {}),
        ("layerwise", drnn.min_gru(64), (256, 1, 64), {"state_dtype": "bfloat16"}),
    ],
)
def test_auto_of_affine_cells(expected, cell, shape, options):
    rnn = drnn.deep_rnn(cell, None if isinstance(cell, list) else 2, **options)
    params = jax.eval_shape(lambda: rnn.init(jax.random.key(0), shape[-1]))
    chosen = choose("apply", rnn.plan, "auto", shape, CPU, lambda: largest_field(rnn.plan, params))
    assert chosen.name == expected
    never = choose("apply", rnn.plan, "auto", shape, Rules(), no_field)
    assert never.name == "layerwise"  # not measured there


def test_auto_goes_layer_by_layer_where_it_cannot_know():
    """Of symbolic dimensions nothing is asked."""
    plan = drnn.deep_rnn(drnn.gru(32), 16).plan
    t, b = jax.export.symbolic_shape("t, b")
    for shape in ((256, b, 32), (t, 4, 32), (t, b, 32)):
        assert choose("apply", plan, "auto", shape, CPU, no_field).name == "layerwise"


def test_rules_follow_the_arrays_and_else_jaxs_default():
    cpu = jax.devices("cpu")[0]
    assert rules_of(jax.device_put(jnp.ones(3), cpu)) == CPU
    with jax.default_device(cpu):
        assert rules_of(3.0) == CPU
    seen = []
    jax.make_jaxpr(lambda x: seen.append(rules_of(x)) or x)(1.0)
    assert seen == [CPU if jax.default_backend() == "cpu" else Rules()]

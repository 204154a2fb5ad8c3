"""What "auto" stands for."""

import pytest

import deeprnn_jax as drnn
from deeprnn_jax.execution import choose_schedule


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
def test_auto_on_cpu(expected, num_layers, shape, monkeypatch):
    plan = drnn.deep_rnn(drnn.gru(32), num_layers).plan
    monkeypatch.setattr("jax.default_backend", lambda: "cpu")
    assert choose_schedule(plan, "auto", shape) == expected
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert choose_schedule(plan, "auto", shape) == "layerwise"


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"skip": "dense"}])
def test_auto_goes_layer_by_layer_where_it_must(options):
    plan = drnn.deep_rnn(drnn.gru(32), 16, **options).plan
    assert choose_schedule(plan, "auto", (256, 4, 32)) == "layerwise"

"""The networks that settings describe."""

import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.common.networks import make_network
from experiments.common.settings import NetworkSettings


def test_a_single_layer_has_no_dropout_between_layers():
    settings = NetworkSettings(cell="gru", hidden_size=4, num_layers=1, dropout=0.3)
    # with the rate it would warn, which fails a test
    float32 = jnp.dtype("float32")
    assert make_network(settings) == drnn.deep_rnn(drnn.gru(4), compute_dtype=float32)


def test_every_setting_has_its_part():
    settings = NetworkSettings(
        cell="elman",
        hidden_size=4,
        num_layers=3,
        dropout=0.3,
        skip="dense",
        normalize_inputs=True,
        weight_drop=0.2,
        compute_dtype="bfloat16",
    )
    assert make_network(settings, bidirectional=True) == drnn.deep_rnn(
        drnn.weight_drop(drnn.elman(4), 0.2),
        3,
        dropout=0.3,
        skip="dense",
        normalize_inputs=True,
        compute_dtype=jnp.dtype("bfloat16"),
        bidirectional=True,
    )

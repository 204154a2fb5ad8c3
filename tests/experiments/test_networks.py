"""The networks that settings describe."""

import deeprnn_jax as drnn
from experiments.common.networks import make_network


def test_a_single_layer_has_no_dropout_between_layers():
    cell = drnn.gru(4)
    # with the rate it would warn, which fails a test
    assert make_network(cell, 1, dropout=0.3) == drnn.deep_rnn(cell)
    assert make_network(cell, 2, dropout=0.3) == drnn.deep_rnn(cell, 2, dropout=0.3)


def test_a_skip_is_named_as_on_the_command_line():
    cell = drnn.gru(4)
    assert make_network(cell, 2, dropout=0.0, skip="none") == drnn.deep_rnn(cell, 2)
    dense = make_network(cell, 2, dropout=0.0, skip="dense", normalize_inputs=True)
    assert dense == drnn.deep_rnn(cell, 2, skip="dense", normalize_inputs=True)

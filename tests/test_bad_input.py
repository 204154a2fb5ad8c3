"""Every public argument given wrongly: a ValueError with function, argument and remedy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.schedules import SCHEDULES
from tests import registry
from tests.registry import IN, B, T
from tests.user_cells import deep_transition

cell = drnn.elman(4)
parallel = drnn.schedules.parallel


def network(made=cell, num_layers=2, input_size=IN, **options):
    """Make a network with its parameters and state; nothing is compiled."""
    rnn = drnn.deep_rnn(made, num_layers, **options)
    rng = np.random.default_rng(0)
    shapes = registry.shapes_of(rnn, input_size)
    params, state = registry.fill(rng, shapes, dtype=np.float32)
    return rnn, params, state


RNN, PARAMS, STATE = network()
X = np.ones((T, B, IN), np.float32)
KEY = np.array([0, 1], np.uint32)


def refuses(message):
    """Expect a ValueError whose text has all the parts that `...` joins."""
    return pytest.raises(ValueError, match=".*".join(map(re.escape, message.split("..."))))


FACTORIES = {
    "elman: hidden_size must be an int of 1 or more, got 0": lambda: drnn.elman(0),
    "elman: hidden_size must be an int of 1 or more, got 2.0": lambda: drnn.elman(2.0),
    "elman: hidden_size must be an int of 1 or more, got True": lambda: drnn.elman(True),
    "elman: activation must be a function, got 'relu'...jnp.tanh": lambda: drnn.elman(4, "relu"),
    "elman: use_bias must be True or False": lambda: drnn.elman(4, use_bias="no"),
    "elman: w_h_init must be a function, got 'orthogonal'...initializers": lambda: drnn.elman(
        4, w_h_init="orthogonal"
    ),
    "lstm: hidden_size": lambda: drnn.lstm(-1),
    "lstm: projection_size": lambda: drnn.lstm(4, projection_size=0),
    "lstm: gate_activation": lambda: drnn.lstm(4, gate_activation=1.0),
    "lstm: cell_activation": lambda: drnn.lstm(4, cell_activation=None),
    "lstm: forget_bias must be a number or an initialiser": lambda: drnn.lstm(4, forget_bias="one"),
    "lstm: peepholes must be True or False, got 3": lambda: drnn.lstm(4, peepholes=3),
    "lstm: coupled": lambda: drnn.lstm(4, coupled="yes"),
    "lstm: b_init": lambda: drnn.lstm(4, b_init=0.0),
    "gru: hidden_size": lambda: drnn.gru("4"),
    "gru: reset_after must be True or False, got None": lambda: drnn.gru(4, reset_after=None),
    "gru: update_bias": lambda: drnn.gru(4, update_bias=[1.0]),
    "gru: gate_activation": lambda: drnn.gru(4, gate_activation="sigmoid"),
    "gru: activation": lambda: drnn.gru(4, activation="tanh"),
    "gru: w_x_init": lambda: drnn.gru(4, w_x_init=jnp.ones((3, 4))),
    "minimal_gated: hidden_size": lambda: drnn.minimal_gated(0),
    "minimal_gated: b_init": lambda: drnn.minimal_gated(4, b_init=0),
    "independent: hidden_size": lambda: drnn.independent(0),
    "independent: activation": lambda: drnn.independent(4, activation="relu"),
    "independent: w_h_init": lambda: drnn.independent(4, w_h_init=1.0),
    "zoneout: rate must be a probability in [0, 1), got 1": lambda: drnn.zoneout(cell, 1),
    "zoneout: rate...got -0.1": lambda: drnn.zoneout(cell, -0.1),
    "zoneout: rate['c']...got 2.0": lambda: drnn.zoneout(drnn.lstm(4), {"h": 0.1, "c": 2.0}),
    "zoneout: cell must be a cell, got float": lambda: drnn.zoneout(0.1, cell),
    "variational_dropout: rate": lambda: drnn.variational_dropout(cell, 1.0),
    "variational_dropout: rate...nan": lambda: drnn.variational_dropout(cell, float("nan")),
    "variational_dropout: cell must be a cell": lambda: drnn.variational_dropout("lstm", 0.1),
    "weight_drop: rate...got '0.5'": lambda: drnn.weight_drop(cell, "0.5"),
    "weight_drop: weights must be a tuple of names, got 'w_h'": lambda: drnn.weight_drop(
        cell, 0.5, weights="w_h"
    ),
    "weight_drop: cell must be a cell, got DeepRNN": lambda: drnn.weight_drop(RNN, 0.5),
    "layer_norm: cell must be a cell": lambda: drnn.layer_norm(4),
    "layer_norm: epsilon must be a number above 0": lambda: drnn.layer_norm(cell, epsilon=0.0),
    "layer_norm: cell 'deep_transition' has no project_state...split_cell": lambda: drnn.layer_norm(
        deep_transition(4)
    ),
    "learned_initial_state: cell must be a cell": lambda: drnn.learned_initial_state(None),
    "uniform: bound": lambda: drnn.initializers.uniform(-1.0),
    "chrono: t_max must be above 2 steps, got 2": lambda: drnn.initializers.chrono(2),
    "chrono: t_max": lambda: drnn.initializers.chrono("100"),
    "identity: needs a square matrix, got shape (3, 4)...w_h_init": lambda: (
        drnn.initializers.identity()(jax.random.key(0), (3, 4))
    ),
    "parallel: max_passes must be an int of...got -1": lambda: parallel(max_passes=-1),
    "parallel: max_passes...got 2.0": lambda: parallel(max_passes=2.0),
    "parallel: max_passes...got '20'": lambda: parallel(max_passes="20"),
    "parallel: max_passes...got True": lambda: parallel(max_passes=True),
    "parallel: max_passes...got False": lambda: parallel(max_passes=False),
    "parallel: tolerance must be a number above 0, got 0": lambda: parallel(tolerance=0),
    "parallel: tolerance...got -1.0": lambda: parallel(tolerance=-1.0),
    "parallel: tolerance...got nan": lambda: parallel(tolerance=float("nan")),
    "parallel: tolerance...got '1e-3'": lambda: parallel(tolerance="1e-3"),
    "parallel: report must be a function, got True; for example print": lambda: parallel(
        report=True
    ),
}

NETWORKS = {
    "deep_rnn: cell must be a cell or a list of cells, got 4...drnn.lstm": lambda: drnn.deep_rnn(4),
    "deep_rnn: cell must be...got []": lambda: drnn.deep_rnn([]),
    "deep_rnn: cell must be a cell or a list of cells": lambda: drnn.deep_rnn([cell, 4]),
    "deep_rnn: cell...": lambda: drnn.deep_rnn(RNN),
    "deep_rnn: num_layers must be an int of 1 or more, got 0": lambda: drnn.deep_rnn(cell, 0),
    "deep_rnn: num_layers": lambda: drnn.deep_rnn(cell, 2.0),
    "deep_rnn: got 2 cells and num_layers=3...leave num_layers out": lambda: drnn.deep_rnn(
        [cell, cell], 3
    ),
    "deep_rnn: output_size": lambda: drnn.deep_rnn(cell, output_size=0),
    "deep_rnn: bidirectional must be True or False": lambda: drnn.deep_rnn(
        cell, bidirectional="no"
    ),
    "deep_rnn: stack_layers must be True or False": lambda: drnn.deep_rnn(cell, stack_layers=0),
    "deep_rnn: normalize_inputs must be True or False": lambda: drnn.deep_rnn(
        cell, normalize_inputs=1
    ),
    "deep_rnn: locked_dropout must be True or False": lambda: drnn.deep_rnn(
        cell, locked_dropout=None
    ),
    "deep_rnn: merge must be 'concat', 'sum' or a function...'mean'": lambda: drnn.deep_rnn(
        cell, merge="mean"
    ),
    "deep_rnn: merge must give one array [..., width]": lambda: drnn.deep_rnn(
        cell, bidirectional=True, merge=lambda a, b: jnp.sum(a * b)
    ),
    "deep_rnn: merge must give one array": lambda: drnn.deep_rnn(
        cell, bidirectional=True, merge=lambda a, b: (a, b)
    ),
    "deep_rnn: skip must be one of...'residual'...got 'resnet'": lambda: drnn.deep_rnn(
        cell, skip="resnet"
    ),
    "deep_rnn: skip='residual' needs equal sizes, but layer 1 reads 4 units and gives 5": lambda: (
        drnn.deep_rnn([cell, drnn.elman(5)], skip="residual")
    ),
    "deep_rnn: skip='highway' needs equal sizes...skip='dense'": lambda: drnn.deep_rnn(
        [cell, drnn.lstm(4, projection_size=2)], skip="highway"
    ),
    "deep_rnn: dropout must be a probability in [0, 1), got 1.0": lambda: drnn.deep_rnn(
        cell, dropout=1.0
    ),
    "deep_rnn: dropout...got -0.5": lambda: drnn.deep_rnn(cell, dropout=-0.5),
    "deep_rnn: param_dtype must be a floating-point dtype...int32": lambda: drnn.deep_rnn(
        cell, param_dtype=jnp.int32
    ),
    "deep_rnn: param_dtype...None": lambda: drnn.deep_rnn(cell, param_dtype=None),
    "deep_rnn: compute_dtype...'bf16'": lambda: drnn.deep_rnn(cell, compute_dtype="bf16"),
    "deep_rnn: state_dtype": lambda: drnn.deep_rnn(cell, state_dtype=bool),
    "zoneout: rate names ['c'], but the state of 'elman' has the fields ['h']": lambda: network(
        drnn.zoneout(cell, {"c": 0.1})
    ),
    "weight_drop: cell 'elman' has no parameter named w_r": lambda: network(
        drnn.weight_drop(cell, 0.1, weights=("w_r",))
    ),
    "init: key must be one random key, got 0; use jax.random.key(seed)": lambda: RNN.init(0, 3),
    "init: key...(2,)": lambda: RNN.init(jax.random.split(jax.random.key(0)), 3),
    "init: input_size must be an int of 1 or more, got 0": lambda: RNN.init(KEY, 0),
    "init: input_size": lambda: RNN.init(KEY, X),
    "initial_state: batch_shape must be an int or a tuple of ints, got -1": lambda: (
        RNN.initial_state(PARAMS, -1)
    ),
    "initial_state: batch_shape...(2.0,)": lambda: RNN.initial_state(PARAMS, (2.0,)),
    "initial_state: params are not of this network: params.layers...2...got 3": lambda: (
        RNN.initial_state(network(num_layers=3)[1], 2)
    ),
    "initial_state: params": lambda: RNN.initial_state(None, 2),
    "stack: needs one entry for each of the 2 layers, got 1": lambda: RNN.stack([PARAMS]),
}


@pytest.mark.parametrize("message", [*FACTORIES, *NETWORKS])
def test_factories_refuse(message):
    with refuses(message):
        (FACTORIES | NETWORKS)[message]()


# message -> what is wrong in apply(params, x, state, ...)
CALLS = {
    "x must end in I=3 features, as the parameters were initialised for, got 5; is it batch": (
        {"x": X.transpose(0, 2, 1)}
    ),
    "x must be floating point, got int32; embed or one-hot": {"x": X.astype(np.int32)},
    "x must be floating point, got bool": {"x": X > 0},
    "x must be an array, got list; use jnp.asarray": {"x": X.tolist()},
    "x must be [T, *B, I], got shape (3,); use step for one step": {"x": X[0, 0]},
    "x has no steps, got shape (0, 5, 3); T must be 1 or more": {"x": X[:0]},
    "params are not of this network...params.layers[0].cell must be a ElmanParams, got a LSTM": {
        "params": network(drnn.lstm(4))[1]
    },
    "params are not of this network...use this network's init": {
        "params": network(drnn.elman(2))[1]
    },
    "params are not of this network: params.layers must be a tuple of 2...got 3 entries": {
        "params": network(num_layers=3)[1]
    },
    "params are not of this network: params.readout must be None, got": {
        "params": network(output_size=2)[1]
    },
    "params are not of this network: params.layers[1].norm must be None": {
        "params": network(normalize_inputs=True)[1]
    },
    "params are": {"params": None},
    "every array of params must be floating point, got int32": {
        "params": jax.tree.map(lambda a: a.astype(np.int32), PARAMS)
    },
    "state is not of this network and batch: state[0] must be a ElmanState, got a LSTMState; use": {
        "state": network(drnn.lstm(4))[2]
    },
    "state is not of this network and batch: state[0].h must be of shape (5, 4), got (2, 4)": {
        "state": jax.tree.map(lambda a: a[:2], STATE)
    },
    "state is not of this network and batch: state must have [0], [1], got [0], [1], [2]": {
        "state": network(num_layers=3)[2]
    },
    "state is not of this network and batch: state must be a tuple, got an array": {
        "state": np.zeros((B, 4), np.float32)
    },
    "state is not of this network and batch: state must be a tuple, got a list": {
        "state": list(STATE)
    },
    "state is not of this network...state[0].h must be float32, got int32...initial_state": {
        "state": jax.tree.map(lambda a: a.astype(np.int32), STATE)
    },
    "state is not of this network...state[0].h must be float32, got bfloat16...use initial_state": {
        "state": jax.tree.map(lambda a: a.astype(jnp.bfloat16), STATE)
    },
    "lengths must be an integer array, got float32": {"lengths": np.ones(B, np.float32)},
    "lengths must be an integer array, got list": {"lengths": [1] * B},
    "lengths must be an integer array, got bool": {"lengths": np.ones(B, bool)},
    "lengths must be [*B] = (5,), the batch axes of x, got (6,)": {"lengths": np.full(T, 2)},
    "lengths must be [*B] = (5,), the batch axes of x, got ()": {"lengths": np.array(2)},
    "lengths must be in [0, T=6], got values from -1 to 2": {"lengths": np.array([-1, 0, 1, 2, 2])},
    "lengths must be in [0, T=6], got values from 0 to 7": {"lengths": np.array([7, 0, 1, 2, 2])},
    "mask must be boolean, True = a real step, got float32...mask != 0": {
        "mask": np.ones((T, B), np.float32)
    },
    "mask must be boolean, True = a real step, got int32": {"mask": np.ones((T, B), np.int32)},
    "mask must be [T, *B] = (6, 5), got (5, 6); is it batch-major?": {
        "mask": np.ones((B, T), bool)
    },
    "mask must be [T, *B] = (6, 5), got (6, 5, 1)": {"mask": np.ones((T, B, 1), bool)},
    "resets must be boolean, True = a new sequence starts here, got float32": {
        "resets": np.ones((T, B), np.float32)
    },
    "resets must be [T, *B] = (6, 5), got (6,)": {"resets": np.ones(T, bool)},
    "key must be one random key, got 0; use jax.random.key(seed)": {"key": 0},
    "key must be one random key, got float32 of shape (2,)": {"key": np.zeros(2, np.float32)},
    "key must be one random key, got an array of keys of shape (3,)": {
        "key": jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 3))
    },
    "train must be True, False or None, got 'yes'": {"train": "yes"},
    f"schedule must be 'auto', one of {list(SCHEDULES)}, or of schedules.pipeline or "
    "schedules.parallel, got 'fast'": {"schedule": "fast"},
    "schedule must be...None": {"schedule": None},
    "schedule must be...got ['reference']": {"schedule": ["reference"]},
}

CHECKPOINTS = {
    "checkpoint_every must be an int of 1 or more, 'sqrt' or None, got 0": 0,
    "checkpoint_every...got -1": -1,
    "checkpoint_every...got True": True,
    "checkpoint_every...got 2.5": 2.5,
    "checkpoint_every...got 'root'": "root",
    "checkpoint_every...got [2]": [2],
    "checkpoint_every...got array(2)": np.array(2),
}


@pytest.mark.parametrize("message", CALLS)
def test_apply_refuses(message):
    wrong = {"params": PARAMS, "x": X} | CALLS[message]
    with refuses(f"apply: {message}"):
        RNN.apply(**wrong)


@pytest.mark.parametrize("message", CHECKPOINTS)
@pytest.mark.parametrize("schedule", ["auto", "layerwise", "wavefront", "reference"])
def test_apply_refuses_a_distance_between_checkpoints(schedule, message):
    every = CHECKPOINTS[message]
    with refuses(f"apply: {message}"):
        RNN.apply(PARAMS, X, schedule=schedule, checkpoint_every=every)
    with refuses(f"apply: {message}"):  # of one step too, where there is nothing to keep
        RNN.apply(PARAMS, X[:1], schedule=schedule, checkpoint_every=every)


@pytest.mark.parametrize(
    ("reason", "options"),
    [
        ("a bidirectional layer reads a sequence from both ends", {"bidirectional": True}),
        ("skip='dense' a layer reads all layers below", {"skip": "dense"}),
        ("a bidirectional layer", {"bidirectional": True, "skip": "dense", "num_layers": 3}),
    ],
)
def test_what_cannot_go_by_diagonals_says_why(reason, options):
    rnn, params, _ = network(**options)
    with refuses(f"apply: schedule='wavefront' cannot...{reason}...use schedule='layerwise'"):
        rnn.apply(params, X, schedule="wavefront")
    with refuses(f"{reason}...use schedule='layerwise'"):
        jax.jit(lambda x: rnn.apply(params, x, schedule="wavefront")).trace(X)


def test_what_reads_its_other_units_is_not_run_at_once():
    rnn, params, _ = network([drnn.min_gru(4), cell], None)
    with refuses("apply: schedule='parallel' cannot...layer 1, cell 'elman'...'layerwise'"):
        rnn.apply(params, X, schedule="parallel")
    with refuses("layer 0, cell 'lstm'...'layerwise'"):
        network(drnn.lstm(4))[0].apply(network(drnn.lstm(4))[1], X, schedule=parallel())


@pytest.mark.parametrize("message", [m for m in CALLS if not m.startswith(("key", "params"))])
def test_truncated_refuses(message):
    wrong = {"params": PARAMS, "x": X} | CALLS[message]
    with refuses(f": {message}"):
        drnn.truncated(RNN, **wrong, chunk_size=2)


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("x must end in I=3 features", {"x": X[..., :2]}),
        ("x must be floating point", {"x": X.astype(np.int32)}),
        ("lengths must be [*B] = (5,)", {"lengths": np.full(T, 2)}),
        ("lengths must be an integer array", {"lengths": np.ones(B, np.float32)}),
        ("mask must be boolean", {"mask": np.ones((T, B), np.float32)}),
        ("resets must be [T, *B]", {"resets": np.ones((B, T), bool)}),
        ("state is not of this network", {"state": network(drnn.lstm(4))[2]}),
        ("params are not of this network", {"params": network(drnn.gru(4))[1]}),
    ],
)
def test_what_is_static_is_refused_while_tracing(message, wrong):
    """Inside jit, before anything runs; lengths closed over are static too."""
    arrays = {"params": PARAMS, "x": X} | wrong
    with refuses(f"apply: {message}"):
        jax.jit(lambda arrays: RNN.apply(**arrays)).trace(arrays)
    with refuses("lengths must be in [0, T=6]"):
        jax.jit(lambda x: RNN.apply(PARAMS, x, lengths=np.full(B, T + 1))).trace(X)


# message -> what is wrong in linear_scan(a, b, ...)
S = np.ones((T, B, IN), np.float32)
SCANS = {
    "method must be one of ('loop', 'associative') or None, got 'tree'": {"method": "tree"},
    "a, b and h0 must be floating, got ['float32', 'int32']": {"a": S.astype(np.int32)},
    "a, b and h0 must be floating, got ['bool', 'float32']": {"b": S > 0},
    "a, b and h0 must be floating...complex64...((re, -im), (im, re))": {
        "a": S.astype(np.complex64)
    },
    "a, b and h0 must be floating...int32": {"h0": np.zeros((B, IN), np.int32)},
    "b must be [T, *B], each of one shape, got [()]": {"b": np.float32(1.0)},
    "b must be [T, *B], each of one shape, got [(6, 5, 3), (6, 5)]": {
        "a": ((S, S), (S, S)),
        "b": (S, S[..., 0]),
    },
    "a must broadcast to b (6, 5, 3), got (5, 6, 3)": {"a": S.swapaxes(0, 1)},
    "a must broadcast to b (6, 5, 3), got (6,)": {"a": S[:, 0, 0]},
    "a must broadcast to b (6, 5), got (6, 5, 3)": {"b": S[..., 0]},
    "h0 must be (5, 3) as b is, got (3,)": {"h0": S[0, 0]},
    "h0 must be (5, 3) as b is, got (6, 5, 3)": {"h0": S},
    "with b a tuple of 2 arrays, a must be 2 x 2 arrays and h0 2, got rows of [2] and 2": {
        "a": ((S, S),),
        "b": (S, S),
    },
    "with b a tuple of 2 arrays, a must be 2 x 2 arrays and h0 2, got rows of [2, 1] and 2": {
        "a": ((S, S), (S,)),
        "b": (S, S),
    },
    "with b a tuple of 1 arrays...and h0 1, got rows of [1] and 2": {
        "a": ((S,),),
        "b": (S,),
        "h0": (S[0], S[0]),
    },
    "resets must be boolean, True = h_{t-1} is h0 at step t, got float32": {"resets": S[..., 0]},
    "resets must be [T, *B] = (6,), got (5,)": {"resets": np.ones(B, bool)},
    "resets must be [T, *B] = (6, 5), got (5, 6); is it batch-major?": {
        "resets": np.ones((B, T), bool)
    },
    "resets must be [T, *B] = (6, 5, 3), got (6, 5, 3, 1)": {"resets": S[..., None] > 0},
}


@pytest.mark.parametrize("message", SCANS)
def test_linear_scan_refuses(message):
    with refuses(f"linear_scan: {message}"):
        drnn.linear_scan(**({"a": S, "b": S} | SCANS[message]))


def test_linear_scan_refuses_a_list_of_resets():
    with refuses("linear_scan: resets must be boolean...got list"):
        drnn.linear_scan(S, S, resets=[True] * T)


STEPS = {
    "x_t must be floating point, got int32": {"x_t": np.ones((B, IN), np.int32)},
    "x_t must be an array, got tuple": {"x_t": STATE, "state": X[0]},
    "x_t must be [*B, I], got a scalar": {"x_t": np.float32(1.0) * np.ones((), np.float32)},
    "x must end in I=3 features": {"x_t": X[0, :, :2]},
    "params are not of this network": {"params": network(drnn.gru(4))[1]},
    "state is not of this network and batch": {"x_t": X[0, :2]},
    "state is not of this network and batch...": {"x_t": X},
    "state must be what initial_state gives, got None": {"state": None},
    "key must be one random key, got 0": {"key": 0},
}


@pytest.mark.parametrize("message", STEPS)
def test_step_refuses(message):
    with refuses(f"step: {message}"):
        RNN.step(**({"params": PARAMS, "state": STATE, "x_t": X[0]} | STEPS[message]))


def test_bidirectional_networks_have_no_step_and_no_chunks():
    rnn, params, state = network(bidirectional=True)
    with refuses("step: a bidirectional network reads the whole sequence first...use apply"):
        rnn.step(params, state, X[0])
    with refuses("truncated: a bidirectional network...use apply"):
        drnn.truncated(rnn, params, X, chunk_size=2)


@pytest.mark.parametrize("size", [0, -1, 2.0, None, True])
def test_truncated_refuses_a_chunk_size(size):
    with refuses("truncated: chunk_size must be an int of 1 or more"):
        drnn.truncated(RNN, PARAMS, X, chunk_size=size)


def test_truncated_refuses_what_is_no_network():
    with refuses("truncated: rnn must be a network, got Cell; make one with deep_rnn"):
        drnn.truncated(cell, PARAMS, X, chunk_size=2)


@pytest.mark.parametrize(
    "made",
    [
        lambda: network(dropout=0.1),
        lambda: network(drnn.zoneout(cell, 0.1), 1),
        lambda: network(drnn.variational_dropout(cell, 0.1), 1),
        lambda: network(drnn.weight_drop(cell, 0.1), 1),
    ],
)
def test_training_what_is_random_needs_a_key(made):
    rnn, params, _ = made()
    for run in (rnn.apply, lambda *args, **kw: drnn.truncated(rnn, *args, chunk_size=2, **kw)):
        with refuses("train=True needs a key...key=jax.random.key(seed)"):
            run(params, X, train=True)


def test_training_what_is_not_random_needs_none():
    rnn, params, _ = network()
    jax.eval_shape(lambda: rnn.apply(params, X, train=True))


def test_the_message_for_batch_major_input_is_the_documented_one():
    rnn, params, _ = network(input_size=64)
    with refuses("apply: x must end in I=64 features...got 32; is it batch-major"):
        rnn.apply(params, np.ones((8, 100, 32), np.float32))


def test_dropout_after_the_only_layer_is_warned_of():
    """Nothing would be dropped, with no word: torch warns likewise."""
    with pytest.warns(UserWarning, match="dropout=0.5 is between layers, and there is one"):
        drnn.deep_rnn(cell, dropout=0.5)

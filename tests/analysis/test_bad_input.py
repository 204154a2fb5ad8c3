"""Every argument given wrongly: a ValueError with function, argument and remedy."""

import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import analysis
from tests import registry
from tests.registry import IN, B, T
from tests.test_bad_input import KEY, network, refuses

RNN, PARAMS, STATE = network(drnn.gru(4))
BOTH, BOTH_PARAMS, _ = network(drnn.gru(4), bidirectional=True)
WIDE, WIDE_PARAMS, WIDE_STATE = network(drnn.gru(5))
X = np.ones((T, B, IN), np.float32)
FEATURES, LABELS = np.ones((10, 3), np.float32), np.zeros(10, int)
START = jnp.ones(3)


def counting():
    """Make a network whose state counts its steps."""

    def step(params, state, x):
        return {"h": jnp.tanh(x @ params), "n": state["n"] + 1}, jnp.tanh(x @ params)

    def initial_state(params, batch):
        return {"h": jnp.zeros((*batch, 4)), "n": jnp.zeros(batch, jnp.int32)}

    cell = drnn.step_cell(lambda key, size: jnp.ones((size, 4)), initial_state, step, 4)
    rnn = drnn.deep_rnn(cell)
    return rnn, registry.fill(np.random.default_rng(0), registry.shapes_of(rnn)[0], 1, np.float32)


COUNTING, COUNTING_PARAMS = counting()


def flow(*args, loss=jnp.sum, **options):
    return analysis.gradient_flow(*args, loss, **options)


def memory(*args, loss=jnp.sum, **options):
    return analysis.memory_horizon(*args, loss, **options)


def spectrum(**options):
    return analysis.lyapunov_spectrum(RNN, PARAMS, X, **options)


def spectrum_of(step=jnp.sin, start=START, inputs=None, num_steps=5, **options):
    return analysis.lyapunov_spectrum_of(step, start, inputs, num_steps=num_steps, **options)


def points(x_t=X[0, 0], states=STATE, **options):
    return analysis.fixed_points(RNN, PARAMS, states, x_t, **options)


def probe(features=FEATURES, labels=LABELS, classes=2, key=KEY, **options):
    return analysis.probe(features, labels, classes, key, **options)


MISTAKES = {
    "gradient_flow: rnn must be a network, got Cell": lambda: flow(drnn.gru(4), PARAMS, X),
    "gradient_flow: x must end in I=3 features...got 2; is it": lambda: flow(
        RNN, PARAMS, X[..., :2]
    ),
    "gradient_flow: params are not of this network...use this network's init": lambda: flow(
        RNN, WIDE_PARAMS, X
    ),
    "gradient_flow: state is not of this network and batch...initial_state": lambda: flow(
        RNN, PARAMS, X, loss=jnp.sum, state=WIDE_STATE
    ),
    "gradient_flow: x must be [T, *B, I], got shape (3,); use step": lambda: flow(
        RNN, PARAMS, X[0, 0]
    ),
    "gradient_flow: loss must be a function, got 3; for example": lambda: flow(
        RNN, PARAMS, X, loss=3
    ),
    "gradient_flow: loss must give one number, got shape (6, 5, 4); sum": lambda: flow(
        RNN, PARAMS, X, loss=jnp.tanh
    ),
    "memory_horizon: rnn must be of one direction, got two...use gradient_flow": lambda: memory(
        BOTH, BOTH_PARAMS, X
    ),
    "memory_horizon: fraction must be in (0, 1), got 1": lambda: memory(RNN, PARAMS, X, fraction=1),
    "memory_horizon: lengths must be an integer array, got list": lambda: memory(
        RNN, PARAMS, X, lengths=[1]
    ),
    "memory_horizon: loss must give one number, got shape (5, 4)": lambda: memory(
        RNN, PARAMS, X, loss=jnp.tanh
    ),
    "jacobian: rnn must be of one direction, got two": lambda: analysis.jacobian(
        BOTH, BOTH_PARAMS, STATE, X[0]
    ),
    "jacobian: state must be what initial_state gives, got None": lambda: analysis.jacobian(
        RNN, PARAMS, None, X[0]
    ),
    "jacobian: state is not of this network and batch": lambda: analysis.jacobian(
        RNN, PARAMS, STATE, X[0, 0]
    ),
    "jacobian: layer must be None or an int in [0, L=2), got 2": lambda: analysis.jacobian(
        RNN, PARAMS, STATE, X[0], layer=2
    ),
    "jacobians: layer must be None or an int in [0, L=2), got -1": lambda: analysis.jacobians(
        RNN, PARAMS, X, layer=-1
    ),
    "jacobians: resets must be boolean...got int": lambda: analysis.jacobians(
        RNN, PARAMS, X, resets=np.ones((T, B), int)
    ),
    "to_vector: all of the state must be floating point...got int32 for state[0]['n']": lambda: (
        analysis.jacobians(COUNTING, COUNTING_PARAMS, X)
    ),
    "to_state: vector must be [*B, N=8]...got shape (3, 7)": lambda: analysis.to_state(
        RNN, PARAMS, jnp.ones((3, 7))
    ),
    "singular_values: every must be an int from 1 to T=6, got 7": lambda: analysis.singular_values(
        RNN, PARAMS, X, every=7
    ),
    "lyapunov_spectrum: num_exponents must be an int from 1 to N=8...got 9": lambda: spectrum(
        num_exponents=9
    ),
    "lyapunov_spectrum: transient must be an int in [0, T=6), got 6": lambda: spectrum(transient=6),
    "lyapunov_spectrum: every must be an int of 1 or more, got 0": lambda: spectrum(every=0),
    "lyapunov_spectrum: free_steps must be an int of 1 or more, got 1.5": lambda: spectrum(
        free_steps=1.5
    ),
    "lyapunov_spectrum: with free_steps y must be as wide as x, I=3...got 4; make": (
        lambda: spectrum(free_steps=5)
    ),
    "lyapunov_spectrum_of: step must be a function, got None": lambda: spectrum_of(None),
    "lyapunov_spectrum_of: start must be floating point, got int32": lambda: spectrum_of(
        start=jnp.ones(3, jnp.int32)
    ),
    "lyapunov_spectrum_of: num_steps must be given with inputs=None, and only then": lambda: (
        spectrum_of(num_steps=None)
    ),
    "fixed_points: x_t must be [I], one constant input, got shape (5, 3); leave": lambda: points(
        X[0]
    ),
    "fixed_points: x must end in I=3": lambda: points(X[0, 0, :2]),
    "fixed_points: tolerance must be a number above 0, got 0": lambda: points(tolerance=0),
    "fixed_points: max_points must be an int of 1 or more, got 0": lambda: points(max_points=0),
    "fixed_points: state is not of this network": lambda: points(states=WIDE_STATE),
    "probe: features must be floating point, got int": lambda: probe(LABELS),
    "probe: features must be [*N, H], got shape (10,)": lambda: probe(FEATURES[:, 0]),
    "probe: labels must be an integer array, got float32": lambda: probe(labels=FEATURES[:, 0]),
    "probe: labels must be [*N] = (10,), one a row of features, got (9,)": lambda: probe(
        labels=LABELS[1:]
    ),
    "probe: num_classes must be an int of 1 or more, got 0": lambda: probe(classes=0),
    "probe: num_folds must be an int of 2 or more, got 1": lambda: probe(num_folds=1),
    "probe: folds must be an integer array, got bool": lambda: probe(folds=np.ones(10, bool)),
    "probe: mask must be boolean": lambda: probe(mask=LABELS),
    "probe: l2 must be a number above 0, got 0": lambda: probe(l2=0),
    "probe: key must be one random key": lambda: probe(key=3),
    "similarity: b must be [*N, K] of the rows of a, *N = (10,), got (9, 3)": lambda: (
        analysis.similarity(FEATURES, FEATURES[1:])
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message):
    with refuses(message):
        MISTAKES[message]()


@pytest.mark.parametrize("name", analysis.__all__)
def test_public_names_are_documented(name):
    assert getattr(analysis, name).__doc__

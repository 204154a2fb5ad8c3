"""What every network must do under every schedule, over the registry.

One compiled program a network and schedule gives outputs, states, gates and gradients;
the tests differ in the data that they give it.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax.schedules import SCHEDULES
from tests import oracle, programs, registry
from tests.comparing import assert_close, assert_same
from tests.registry import NETWORKS, T

pytestmark = pytest.mark.usefixtures("x64")
# All others are compared with "layerwise", which is compared with the oracle: "reference" in
# each thing that it does, others on deep networks that they do not refuse.
USUAL = "layerwise"
REFERENCE = (
    *("elman", "gru_before-both", "unequal", "dense"),
    *("residual-sum-both", "highway-concat-both"),
)
OTHERS = [name for name in SCHEDULES if name not in ("reference", USUAL)]


def shown_by_others():
    """Give networks that show nothing that another one does not.

    A cell is alone in one direction or in both. Modifiers wrap a cell's functions and know no
    cell: all of them are on four. What is nothing in evaluation is not evaluated in both
    directions, and of a GRU's one field of state no rate is named.
    """
    found = {"all(elman)", "all(lstm)", "zoneout_h(gru_before)-both"}
    found |= {"all(gru)-both", "all(minimal_gated)-both", "all(leaky)-both", "all(independent)"}
    found |= {f"{name}(gru_before)-both" for name in ("variational_dropout", "weight_drop")}
    for index, cell in enumerate(registry.SHORT):
        if index % 2:
            found.add(f"{cell}-both")
        elif cell not in registry.DEEP:
            found.add(cell)
    assert found <= NETWORKS.keys()
    return found


EVALUATED = [name for name in NETWORKS if name not in shown_by_others()]
# What modifiers draw does not depend on the cell: each alone on one, all on few; and what is
# between layers once, in both directions.
TRAINED = (
    *(f"{name}(lstm)" for name in ("zoneout", "zoneout_h", "variational_dropout", "weight_drop")),
    *("all(lstm)-deep", "all(elman_relu)-both", "all_but_norm(deep_transition)"),
    "residual-sum-both",
)

# The deep networks of the registry, and two towers in which other cells and each modifier
# are on two equal layers, which go through a step on diagonals as one.
DEEP = [
    (name, other)
    for name in EVALUATED
    if len(NETWORKS[name].layers) >= 3
    and name not in ("all(lstm)-deep", "gru_before")  # "unequal" has these, and a tower
    for other in OTHERS
    if other != "pipeline" or name in ("residual", "unequal")  # "wavefront", but for its blocks
    if SCHEDULES[other].refuse(NETWORKS[name].build(param_dtype=jnp.float32).plan) is None
]
SINGLE = sorted(registry.MODIFIERS.keys() - {"none"} - registry.TOGETHER)
TOWERS = {
    "other cells": registry.Network(
        tuple(
            (cell, registry.H, "none")
            for cell in ("lstm_all", "gru_before", "independent")
            for _ in range(2)
        )
    ),
    "every modifier": registry.Network(
        tuple(("elman", registry.H, one) for one in SINGLE for _ in range(2)),
        dropout=0.3,
    ),
}


CORE = ("unequal", "wavefront"), ("residual", "pipeline")


def in_one_worker(name, *more, core=False):
    """Give a case whose tests share a compiled program."""
    return pytest.param(
        name, *more, marks=[pytest.mark.xdist_group(name), *[pytest.mark.core] * core]
    )


def usual_of(name):
    """Give the schedule whose outputs are compared with the oracle's: of some the parallel one."""
    parallel = SCHEDULES["parallel"].refuse(NETWORKS[name].build(param_dtype=jnp.float32).plan)
    return "parallel" if name.endswith(", long") and parallel is None else USUAL


each_network_and_schedule = pytest.mark.parametrize(
    ("name", "schedule"),
    [in_one_worker(name, usual_of(name), core=name == "lru, long") for name in EVALUATED]
    + [in_one_worker(name, "reference") for name in REFERENCE],
)


@cache
def case(name):
    """Give a network's data, the oracle's outputs and random cotangents for them."""
    network = NETWORKS[name]
    data = registry.data_for(network)
    expected = oracle.run(network.oracle(), *data)
    rng = registry.seed_of(f"weights of {name}")
    weights = jax.tree.map(lambda a: np.where(np.isnan(a), 0, rng.normal(size=a.shape)), expected)
    return network, data, expected, weights


@cache
def usual(name, schedule):
    """Give the result of a network on its usual data."""
    network, data, _, weights = case(name)
    return programs.run(network, data, weights, schedule)


@each_network_and_schedule
def test_outputs_states_and_gates_are_the_oracles(name, schedule):
    assert_close(usual(name, schedule).outputs, case(name)[2])


@each_network_and_schedule
def test_gradient_is_the_oracles_slope(name, schedule):
    """Along a random direction of parameters, input and initial state at once."""
    network, data, _, weights = case(name)
    rng = registry.seed_of(f"direction of {name}")
    point = (data.params, data.x, data.state)
    direction = registry.fill(rng, point, scale=1.0)

    def loss(step):
        moved = jax.tree.map(lambda a, d: a + step * d, point, direction)
        params, x, state = moved
        outputs = oracle.run(network.oracle(), params, x, state, *data[3:])
        terms = jax.tree.map(lambda w, a: np.vdot(w, np.nan_to_num(a)), weights, outputs)
        return sum(jax.tree.leaves(terms))

    epsilon = 1e-5
    # five points: the error is of the fourth order
    slope = (8 * (loss(epsilon) - loss(-epsilon)) - loss(2 * epsilon) + loss(-2 * epsilon)) / (
        12 * epsilon
    )
    grads = usual(name, schedule).grads
    along = sum(jax.tree.leaves(jax.tree.map(np.vdot, grads, direction)))
    np.testing.assert_allclose(along, slope, rtol=1e-7)


@pytest.mark.parametrize("name", [in_one_worker(name) for name in REFERENCE])
def test_schedules_agree(name):
    assert_close(usual(name, USUAL), usual(name, "reference"))


@pytest.mark.parametrize(
    "name", [in_one_worker(name, core=name == "residual-sum-both") for name in TRAINED]
)
def test_schedules_agree_and_draw_alike_in_training(name):
    network, data, _, weights = case(name)
    results = [
        programs.run(network, data, weights, schedule, jax.random.key(1))
        for schedule in ("reference", USUAL)
    ]
    assert_close(results[1], results[0])
    evaluation = usual(name, USUAL).outputs
    assert np.abs(results[0].outputs.y - evaluation.y).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "other"), [in_one_worker(*case, core=case in CORE) for case in DEEP]
)
def test_other_schedules_agree(name, other):
    """In evaluation, and in training with the same draws; whatever is in the padding."""
    network, data, _, weights = case(name)
    expected = usual(name, USUAL)
    real = data.mask & (np.arange(T)[:, None] < data.lengths)
    for junk in (0.0, np.nan):
        x = np.where(real[..., None], data.x, junk)
        found = programs.run(network, data._replace(x=x), weights, other)
        assert_close(found, expected)
    if network.is_stochastic:
        key = jax.random.key(1)
        expected, found = (
            programs.run(network, data, weights, schedule, key) for schedule in (USUAL, other)
        )
        assert_close(found, expected)


@pytest.mark.parametrize(
    ("name", "other"), [(name, "wavefront") for name in TOWERS] + [("every modifier", "pipeline")]
)
def test_other_schedules_of_towers_agree(name, other):
    network = TOWERS[name]
    data = registry.data_for(network)
    key = jax.random.key(1) if network.is_stochastic else None
    rnn = network.build()

    def shapes(params, x, state):
        return programs.plain(*rnn.inspect(params, x, state))

    outputs = jax.eval_shape(shapes, *data[:3])
    weights = registry.fill(registry.seed_of(f"weights of {name}"), outputs, scale=1.0)
    expected, found = (
        programs.run(network, data, weights, schedule, key) for schedule in (USUAL, other)
    )
    assert_close(found, expected)


@each_network_and_schedule
def test_padding_is_never_seen(name, schedule):
    """NaN and infinity in the padding reach no output and no gradient."""
    network, data, _, weights = case(name)
    real = data.mask & (np.arange(T)[:, None] < data.lengths)
    result = usual(name, schedule)
    assert not np.any(result.outputs.y[~real])
    assert not np.any(result.grads[1][~real])
    for junk in (np.nan, np.inf, -1e300):
        x = np.where(real[..., None], data.x, junk)
        assert_same(programs.run(network, data._replace(x=x), weights, schedule), result)


@each_network_and_schedule
def test_rows_are_independent(name, schedule):
    """Nothing of a row changes when the others do."""
    network, data, _, weights = case(name)
    rng = registry.seed_of(f"rows of {name}")
    x = data.x.copy()
    x[:, 1:] = rng.normal(size=x[:, 1:].shape)
    resets, lengths = data.resets.copy(), data.lengths.copy()
    resets[:, 1:] = rng.random(resets[:, 1:].shape) < 0.5
    lengths[1:] = rng.integers(0, T + 1, size=len(lengths) - 1)
    result = programs.run(
        network, data._replace(x=x, resets=resets, lengths=lengths), weights, schedule
    )
    expected = usual(name, schedule)
    np.testing.assert_array_equal(result.outputs.y[:, 0], expected.outputs.y[:, 0])
    np.testing.assert_array_equal(result.grads[1][:, 0], expected.grads[1][:, 0])
    assert np.any(result.outputs.y[:, 2] != expected.outputs.y[:, 2])


@each_network_and_schedule
def test_the_past_does_not_see_the_future(name, schedule):
    """In one direction; in two, a reset is a wall that nothing crosses either way."""
    network, data, _, weights = case(name)
    both, wall = network.bidirectional, 3
    resets = np.zeros_like(data.resets)
    resets[wall] = both
    lengths = np.full_like(data.lengths, T)
    data = data._replace(lengths=lengths, mask=np.ones_like(data.mask), resets=resets)
    weights = jax.tree.map(np.zeros_like, weights)
    weights.y[:wall] = 1.0
    result = programs.run(network, data, weights, schedule)
    x = data.x.copy()
    x[wall:] += 1.0
    changed = programs.run(network, data._replace(x=x), weights, schedule)
    np.testing.assert_array_equal(changed.outputs.y[:wall], result.outputs.y[:wall])
    assert np.any(changed.outputs.y[wall:] != result.outputs.y[wall:])
    assert not np.any(result.grads[1][wall:])
    assert np.any(result.grads[1][:wall])


@each_network_and_schedule
def test_a_row_of_no_steps_ends_where_it_began(name, schedule):
    """And hands the cotangent of its final state on as it is."""
    network, data, _, weights = case(name)
    data = data._replace(lengths=np.zeros_like(data.lengths))
    # gates at masked steps mean nothing, and those of the oracle are not there
    weights = weights._replace(gates=jax.tree.map(np.zeros_like, weights.gates))
    result = programs.run(network, data, weights, schedule)
    assert not np.any(result.outputs.y)
    began = [one._asdict() for one in data.state]
    assert_same(result.outputs.finals, began)
    d_began = [one._asdict() for one in result.grads[2]]
    directions = 1 if network.bidirectional else 0
    expected = jax.tree.map(
        lambda final, trace: final + trace.sum(axis=directions), weights.finals, weights.states
    )
    assert_close(d_began, expected)

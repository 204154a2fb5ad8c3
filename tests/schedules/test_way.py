"""From `apply` to a cell's `update`: the lists of docs/engine.md, and how often things compile."""

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.recurrence.explain import explain_all
from tests.registry import ANY_CELL, IN, B, T

ROOT = Path(drnn.__file__).parent
X = np.ones((T, B, IN), np.float32)


def ways_to_update(schedule):
    """Give the functions of ours that are called in one another, each time `update` is."""
    ways = []

    def update(params, state, x_proj, h_proj):
        way, frame = [], sys._getframe(1)
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT):
                way.append(f"{path.relative_to(ROOT)}:{frame.f_code.co_name}")
            frame = frame.f_back
        ways.append(way[::-1])
        return cell.update(params, state, x_proj, h_proj)

    cell = drnn.lstm(4)
    rnn = drnn.deep_rnn(cell._replace(update=update), 2)
    params = rnn.init(jax.random.key(0), IN)
    rnn.apply(params, X, schedule=schedule)
    return ways


def documented(schedule):
    """Give the list of a schedule in docs/engine.md."""
    text = (ROOT.parent / "docs/engine.md").read_text()
    column = {"reference": 2, "layerwise": 3}[schedule]
    names = []
    for row in re.findall(r"^\| \d \|.*\|$", text, re.MULTILINE):
        cells = [one.strip() for one in row.split("|")]
        one = cells[2] if cells[column] == "the same" else cells[column]
        if one:
            names.append(one.split("`")[1].split(".")[-1])
    return names


@pytest.mark.parametrize(("schedule", "most"), [("reference", 5), ("layerwise", 8)])
def test_the_way_of_x_is_short_and_as_documented(schedule, most):
    ways = ways_to_update(schedule)
    assert ways
    for way in ways:
        assert len(way) <= most
        assert [name.split(":")[1] for name in way] == documented(schedule)


def counting(traces):
    def tanh(z):
        traces.append(z.shape)
        return jnp.tanh(z)

    return tanh


@pytest.mark.parametrize("schedule", ANY_CELL)
def test_a_network_made_again_alike_compiles_nothing(schedule):
    """Sequence, step, state and chunks; of a bare call as well."""
    traces = []
    tanh = counting(traces)

    def use():
        rnn = drnn.deep_rnn([drnn.zoneout(drnn.elman(4, tanh), 0.1) for _ in range(3)], dropout=0.1)
        params = rnn.init(jax.random.key(0), IN)
        state = rnn.initial_state(params, B)
        key = jax.random.key(1)
        rnn.apply(params, X, state, key=key, schedule=schedule)
        rnn.inspect(params, X, state, schedule=schedule)
        rnn.step(params, state, X[0])
        drnn.truncated(rnn, params, X, chunk_size=2, key=key, schedule=schedule)

    use()
    count = len(traces)
    assert count > 0
    use()
    assert len(traces) == count


def test_inside_a_trace_there_is_no_second_jit():
    rnn = drnn.deep_rnn(drnn.gru(4), 2, output_size=2)
    params = rnn.init(jax.random.key(0), IN)
    state = rnn.initial_state(params, B)

    def names(function, *args):
        eqns = jax.make_jaxpr(function)(*args).jaxpr.eqns
        return {
            str(eqn.params.get("name")) for eqn in eqns if eqn.primitive.name in ("jit", "pjit")
        }

    ours = {"run", "init_params", "initial_state", "_run_chunks"}
    assert not ours & names(rnn.apply, params, X)
    assert not ours & names(rnn.step, params, state, X[0])
    assert not ours & names(lambda key: rnn.init(key, IN), jax.random.key(0))
    assert not ours & names(lambda p: rnn.initial_state(p, B), params)
    assert not ours & names(lambda p: drnn.truncated(rnn, p, X, chunk_size=2), params)
    # nothing that is given is a tracer
    assert not ours & names(lambda: rnn.apply(params, X))


def test_a_bare_gradient_compiles_once():
    """And so does vmap, outside of any jit: what they call is found again."""
    traces = []
    rnn = drnn.deep_rnn(drnn.elman(4, counting(traces)), 2)
    params = rnn.init(jax.random.key(0), IN)

    def loss(params):
        return jnp.sum(rnn.apply(params, X)[1] ** 2)

    def use():
        jax.grad(loss)(params)
        jax.vmap(lambda x: rnn.apply(params, x[:, None])[1], in_axes=1)(jnp.asarray(X))
        jax.vmap(lambda key: rnn.init(key, IN))(jax.random.split(jax.random.key(0), 3))

    use()
    count = len(traces)
    assert count > 0
    use()
    assert len(traces) == count


def test_the_layers_of_a_wavefront_run_side_by_side():
    # two cells: the carries do not need each other, and the engine would run them in turn
    rnn = drnn.deep_rnn([drnn.lstm(8), drnn.gru(8)])
    params = rnn.init(jax.random.key(0), IN)
    closed = jax.make_jaxpr(lambda params: rnn.apply(params, X, schedule="wavefront"))(params)
    text = explain_all(closed)
    assert f"{T + 1} steps" in text
    assert "parts" not in text


@pytest.mark.parametrize("schedule", ANY_CELL)
@pytest.mark.parametrize("cell", [drnn.lstm(8), drnn.gru(8), drnn.gru(8, reset_after=False)])
def test_gates_are_looked_at_without_a_product_more(schedule, cell):
    rnn = drnn.deep_rnn(cell, 2)
    params = jax.eval_shape(lambda: rnn.init(jax.random.key(0), IN))
    x = jax.ShapeDtypeStruct(X.shape, X.dtype)

    def products(function):
        lowered = jax.jit(lambda p, x: function(p, x, schedule=schedule)).lower(params, x)
        return len(re.findall(r" (?:dot|custom-call)\(", lowered.compile().as_text()))

    assert products(rnn.inspect) == products(rnn.apply) > 0


def test_each_function_of_a_network_has_its_documentation():
    rnn = drnn.deep_rnn(drnn.lstm(4))
    for name in ("init", "initial_state", "apply", "inspect", "step"):
        text = getattr(rnn, name).__doc__
        for part in ("Args:", "Returns:", "Raises:", "Example:"):
            assert part in text, (name, part)

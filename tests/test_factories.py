"""Cells declared once: what is replaced is what runs; equal, hashed and pickled by settings."""

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.checks import Flag, Size
from deeprnn_jax.initializers import chrono, identity, orthogonal, uniform
from deeprnn_jax.types import Cell
from tests import registry
from tests.jaxprs import eqns_of
from tests.registry import CELLS, IN, MODIFIERS, B, T
from tests.user_cells import LeakyState, deep_transition, leaky

SINGLE = sorted(MODIFIERS.keys() - {"none"} - registry.TOGETHER)


def make(cell, modifier="none", size=4):
    return MODIFIERS[modifier].make(CELLS[cell].make(size))


def cases():
    """Give every cell alone, some under all modifiers, and an LSTM under each."""
    for cell in CELLS:
        yield cell, "none"
    for cell in ("lstm_all", "gru_before", "leaky", "deep_transition", "qrnn", "mlstm"):
        yield cell, registry.all_on(cell)
    for modifier in SINGLE:
        yield "lstm", modifier


each_case = pytest.mark.parametrize(("cell", "modifier"), list(cases()))


@each_case
def test_cells_made_alike_are_equal(cell, modifier):
    a, b, other = make(cell, modifier), make(cell, modifier), make(cell, modifier, size=5)
    assert a == b
    assert hash(a) == hash(b)
    assert a != other
    assert len({a, b, other}) == 2


@each_case
def test_cells_and_networks_pickle(cell, modifier):
    one = make(cell, modifier)
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert (again.name, again.settings) == (one.name, one.settings)
    rnn = drnn.deep_rnn(one, 2, skip="dense", normalize_inputs=True)
    loaded = pickle.loads(pickle.dumps(rnn))
    assert loaded == rnn
    assert hash(loaded) == hash(rnn)


def test_functions_of_jax_and_initialisers_are_arguments_like_others():
    one, two = (
        drnn.lstm(
            4,
            forget_bias=chrono(10),
            w_h_init=orthogonal(2.0),
            w_x_init=uniform(),
            cell_activation=jax.nn.relu,
            gate_activation=jax.nn.hard_sigmoid,
        )
        for _ in range(2)
    )
    assert one == two == pickle.loads(pickle.dumps(one))
    assert identity(1.0) == identity() != identity(2.0)
    assert repr(orthogonal(scale=2.0)) == "orthogonal(scale=2.0)"
    assert drnn.lstm(4, w_x_init=drnn.initializers.glorot_uniform()) == drnn.lstm(4)
    assert drnn.zoneout(drnn.lstm(4), {"h": 0.1}) == drnn.zoneout(drnn.lstm(4), {"h": 0.1})
    assert drnn.zoneout(drnn.lstm(4), {"h": 0.1}) != drnn.zoneout(drnn.lstm(4), {"h": 0.2})


def test_equal_layers_are_found_however_they_are_written():
    """`[cell] * 16`, a number, and sixteen calls: one network."""
    networks = [
        drnn.deep_rnn(drnn.lstm(4, w_h_init=orthogonal()), 16),
        drnn.deep_rnn([drnn.lstm(4, w_h_init=orthogonal())] * 16),
        drnn.deep_rnn([drnn.lstm(4, w_h_init=orthogonal()) for _ in range(16)]),
    ]
    assert len(set(networks)) == 1
    assert [group.size for group in networks[2].plan.groups] == [1, 15]


def user_cell(bend, name="mine"):
    """Make a cell with no factory."""
    return drnn.step_cell(
        lambda key, input_size: jax.random.normal(key, (input_size, 4)),
        lambda params, batch_shape: LeakyState(jnp.zeros((*batch_shape, 4))),
        lambda params, state, x: (LeakyState(bend(x @ params)), bend(x @ params)),
        output_size=4,
        name=name,
        output="h",
    )


def test_a_cell_of_unknown_functions_is_equal_to_itself_alone():
    """Grouped by a name, the second layer would run the first one's functions."""
    a, b = user_cell(jnp.tanh), user_cell(jax.nn.relu)
    assert a == a._replace(output=a.output)
    assert a != b
    assert a != user_cell(jnp.tanh)
    rnn = drnn.deep_rnn([drnn.elman(4), a, b])
    assert [group.size for group in rnn.plan.groups] == [1, 1, 1]
    params = rnn.init(jax.random.key(0), IN)
    _, y = rnn.apply(params, jnp.ones((T, B, IN)))
    assert (y >= 0).all()
    assert (np.asarray(rnn.apply(params, -jnp.ones((T, B, IN)))[1]) >= 0).all()


def test_a_factory_of_an_array_makes_a_cell_that_is_its_own():
    @drnn.factory
    def scaled(size, scale):
        return user_cell(lambda z: scale * z)

    one = scaled(4, jnp.ones(4))
    assert one != scaled(4, jnp.ones(4))
    assert (one.name, one.settings) == ("scaled", {})


def test_a_factory_makes_cells():
    @drnn.factory
    def mistaken(size):
        return size

    with pytest.raises(ValueError, match="factory: mistaken must give a cell, got int"):
        mistaken(3)


@each_case
def test_what_is_replaced_is_what_runs_and_what_is_shown(cell, modifier):
    """`_replace` of either part of the split, of any cell under any modifiers."""
    one = make(cell, modifier)
    calls = []

    def spy(part, function):
        def run(*args):
            calls.append(part)
            return function(*args)

        return run

    parts = {"update": one.update, "project_input": one.project_input}
    if one.project_state is not None:
        parts["project_state"] = one.project_state
    replaced = one._replace(**{name: spy(name, part) for name, part in parts.items()})
    assert isinstance(replaced, Cell)
    assert replaced != one
    assert (replaced.made, replaced.output, replaced.state_map) == (None, None, None)
    rnn = drnn.deep_rnn(replaced)
    params, state = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, B, IN), jnp.float32)
    calls.clear()
    jax.eval_shape(rnn.inspect, params, x, state)
    assert set(calls) == set(parts)
    # once a step and trace: no second copy for the gates
    assert all(calls.count(name) == calls.count("update") for name in parts)


def test_a_replaced_projection_changes_the_output():
    cell = drnn.elman(4)
    deaf = cell._replace(project_state=lambda params, state: jnp.zeros_like(state.h))
    params = drnn.deep_rnn(cell).init(jax.random.key(0), IN)
    x = jax.random.normal(jax.random.key(1), (T, B, IN))
    _, y = drnn.deep_rnn(deaf).apply(params, x)
    expected = jnp.tanh(x @ params.layers[0].cell.w_x)
    np.testing.assert_allclose(y, expected, atol=1e-6)


def jitted_leaky(size, output):
    """Make a cell whose y is another array than h, of the same numbers."""
    cell = leaky(size)

    @jax.jit
    def update(params, state, x_proj, h_proj):
        state, y = cell.update(params, state, x_proj, h_proj)
        return state, y + 0

    return cell._replace(update=update, output=output)


def test_the_output_under_zoneout_is_the_declared_field():
    """Not the array that `y is h` finds: a jitted update gives another."""
    params = drnn.deep_rnn(leaky(4)).init(jax.random.key(0), IN)
    x = jax.random.normal(jax.random.key(1), (T, B, IN))

    def y_of(cell, **options):
        state, y = drnn.deep_rnn(drnn.zoneout(cell, 0.7)).apply(params, x, **options)
        return np.asarray(y), np.asarray(state[0].h)

    for options in ({}, {"key": jax.random.key(2)}):
        y, h = y_of(jitted_leaky(4, "h"), **options)
        np.testing.assert_array_equal(y[-1], h)
        np.testing.assert_allclose(y, y_of(leaky(4), **options)[0], atol=1e-6)
    y, h = y_of(jitted_leaky(4, False))
    assert np.abs(y[-1] - h).max() > 1e-2
    with pytest.raises(ValueError, match=r"zoneout: cell 'cell' must say which field.*output='h'"):
        drnn.zoneout(user_cell(jnp.tanh, "cell")._replace(), 0.1)


@pytest.mark.parametrize(
    ("cell", "modifier"),
    [*((cell, "none") for cell in CELLS), *(("lstm", modifier) for modifier in (*SINGLE, "all"))],
)
def test_a_declared_output_is_true(cell, modifier):
    """In evaluation and in training; of a wrong one zoneout would make another output."""
    one = make(cell, modifier)
    rnn = drnn.deep_rnn(one)
    params, _ = registry.shapes_of(rnn)
    params = registry.fill(registry.seed_of(cell), params, dtype=np.float32)
    x = registry.seed_of("x").normal(size=(2, B, IN)).astype(np.float32)
    keys = (None, jax.random.key(0)) if one.draw else (None,)
    run = jax.jit(lambda params, x: [rnn.apply(params, x, key=key) for key in keys])
    for state, y in run(params, x):
        if one.output:
            np.testing.assert_array_equal(getattr(state[0], one.output), y[-1])
        else:
            assert one.output is False


def test_values_of_other_types_make_other_cells():
    """1, 1.0 and True are equal to Python, and may make different functions."""

    @drnn.factory
    def power(size, p):
        bend = jax.nn.relu if p is True else jnp.tanh if isinstance(p, int) else jnp.sin
        return user_cell(bend)

    cells = [power(4, p) for p in (1, 1.0, True, 0.0, -0.0)]
    assert len(set(cells)) == 5
    params = drnn.deep_rnn(cells[0]).init(jax.random.key(0), IN)
    x = jax.random.normal(jax.random.key(1), (T, B, IN))
    ys = [np.asarray(drnn.deep_rnn(cell).apply(params, x)[1]) for cell in cells[:3]]
    for a, b in itertools.combinations(ys, 2):
        assert np.abs(a - b).max() > 1e-2


def test_factories_take_any_signature():
    @drnn.factory
    def many(*sizes: Size, **more: Flag):
        return user_cell(jnp.tanh)

    assert many(1, 2, a=True) == many(1, 2, a=True) != many(1, 3, a=True)
    assert many(1).made == many(1).made

    @drnn.factory
    def mixed(table):
        return user_cell(jnp.tanh)

    assert mixed({1: 2, "a": [3]}) == mixed({"a": [3], 1: 2}) != mixed({1: 2, "a": [4]})


# -- declared facts, held to the truth ---------------------------------------------------------


def with_identity(size):
    return drnn.independent(size, lambda z: z)._replace(state_map="affine", output="h")


DECLARED = {name: make(name) for name in CELLS}
DECLARED |= {f"{modifier}(independent)": make("independent", modifier) for modifier in SINGLE}
DECLARED |= {f"zoneout({cell})": make(cell, "zoneout") for cell in ("lru", "diagonal_lstm")}
DECLARED = {name: cell for name, cell in DECLARED.items() if cell.state_map is not None}
DECLARED |= {
    "affine": with_identity(4),
    "zoneout(affine)": drnn.zoneout(with_identity(4), 0.3),
}


def slopes(step, state, v):
    """Give d next / d before along v, of each field by each, at a state of one row or more.

    Left out are fields that do not depend on the others, which do on them: windows of x.
    """
    names = state._fields

    def along(field):
        change = jax.tree.map(np.zeros_like, state)._replace(**{field: getattr(v, field)})
        return jax.jvp(step, (state,), (change,))[1]

    found = {field: along(field) for field in names}

    def enters(a, b):
        return any(np.any(leaf) for leaf in jax.tree.leaves(getattr(found[a], b)))

    windows = [
        w
        for w in names
        if any(enters(w, f) for f in names if f != w)
        and not any(enters(f, w) for f in names if f != w)
    ]
    kept = [f for f in names if f not in windows]
    return {(a, b): np.asarray(getattr(found[a], b)) for a in kept for b in kept}, windows


def check_state_map(cell, declared):
    """Compare derivatives of a step by each field: along v, and along ones times v; elsewhere."""
    rng = registry.seed_of(cell.name)
    params = registry.fill(
        rng, jax.eval_shape(lambda: cell.init(jax.random.key(0), IN)), dtype=np.float32
    )
    noise = None
    if cell.draw is not None:
        params, noise = cell.draw(params, jax.random.key(1), (1, B))
        noise = jax.tree.map(lambda leaf: leaf[0], noise)
    x = rng.normal(size=(B, IN)).astype(np.float32)
    state, v, other = (
        registry.fill(
            rng, jax.eval_shape(lambda: cell.initial_state(params, (B,))), 1.0, np.float32
        )
        for _ in range(3)
    )

    @jax.jit
    def f(state):
        return cell.step(params, state, cell.project_input(params, x), noise)[0]

    along, windows = slopes(f, state, v)
    unit, _ = slopes(f, state, jax.tree.map(np.ones_like, v))
    is_elementwise = all(
        np.allclose(along[a, b], unit[a, b] * getattr(v, a), atol=1e-5)
        if along[a, b].shape == np.shape(getattr(v, a))
        else not np.any(along[a, b])
        for a, b in along
    )
    other = other._replace(**{w: getattr(state, w) for w in windows})
    elsewhere, _ = slopes(f, other, v)
    is_affine = is_elementwise and all(
        np.allclose(along[pair], elsewhere[pair], atol=1e-5) for pair in along
    )
    return is_affine if declared == "affine" else is_elementwise


@pytest.mark.parametrize("name", DECLARED)
def test_a_declared_state_map_is_true(name):
    cell = DECLARED[name]
    assert check_state_map(cell, cell.state_map)


def test_false_declarations_are_found():
    assert not check_state_map(drnn.elman(4), "elementwise")
    assert not check_state_map(drnn.independent(4, jnp.tanh), "affine")
    assert not check_state_map(drnn.layer_norm(drnn.independent(4)), "elementwise")


def test_who_keeps_a_state_map_and_who_clears_it():
    cell = drnn.independent(4)
    assert cell.state_map == "elementwise"
    kept = {name: make("independent", name).state_map for name in SINGLE}
    assert kept.pop("layer_norm") is None
    assert set(kept.values()) == {"elementwise"}
    assert cell._replace(update=cell.update).state_map is None
    assert drnn.lstm(4).state_map is None


# -- modifiers ---------------------------------------------------------------------------------


def bent(size):
    """Make a cell whose `project_input` is not affine."""
    cell = leaky(size)
    return cell._replace(project_input=lambda params, x: jnp.tanh(x @ params.w_x))


def test_layer_norm_refuses_what_is_not_affine():
    """A bias that no input gives is found in a product and a bias alone."""
    with pytest.raises(ValueError, match=r"layer_norm: project_input of cell .* not affine in x"):
        drnn.deep_rnn(drnn.layer_norm(bent(4))).init(jax.random.key(0), IN)
    whole = deep_transition(4)._replace(project_state=lambda params, state: state.h @ params.w_h)
    with pytest.raises(ValueError, match="layer_norm: project_input"):
        drnn.deep_rnn(drnn.layer_norm(whole)).init(jax.random.key(0), IN)
    jax.eval_shape(lambda: drnn.deep_rnn(drnn.layer_norm(leaky(4))).init(jax.random.key(0), IN))


def test_compute_dtype_casts_what_is_multiplied_and_nothing_else():
    """A gain of rank 2 stays wide, a kernel of rank 1 in a product is narrow, and `@` will do."""
    seen = {}

    def update(params, state, x_proj, h_proj):
        gain = jax.nn.sigmoid(params["gain"])  # [2, H]
        seen["gain"] = gain.dtype
        h = gain[0] * jnp.tanh(x_proj) + gain[1] * h_proj
        return LeakyState(h), h

    def init(key, input_size):
        return {
            "w_x": jax.random.normal(key, (input_size, 4)),
            "w_h": jnp.eye(4),
            "gain": jnp.zeros((2, 4)),
        }

    cell = drnn.split_cell(
        init,
        lambda params, batch_shape: LeakyState(jnp.zeros((*batch_shape, 4))),
        lambda params, x: x @ params["w_x"],
        lambda params, state: state.h @ params["w_h"],
        update,
        output_size=4,
    )
    rnn = drnn.deep_rnn(cell, compute_dtype=jnp.bfloat16)
    params, _ = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, IN), jnp.float32)
    with jax.numpy_rank_promotion("allow"):
        one = jax.eval_shape(lambda p: rnn.initial_state(p), params)
        jaxpr = jax.make_jaxpr(lambda *args: rnn.apply(*args, schedule="reference"))(params, x, one)
    assert seen["gain"] == jnp.float32
    products = [eqn for eqn in eqns_of(jaxpr.jaxpr) if eqn.primitive.name == "dot_general"]
    dtypes = [[var.aval.dtype for var in (*eqn.invars, *eqn.outvars)] for eqn in products]
    assert dtypes == [[jnp.bfloat16, jnp.bfloat16, jnp.float32]] * 2

"""What modifiers draw, and when they are the cell itself.

A linear cell that copies its state shows each drawn mask as numbers.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_close, assert_same
from tests.registry import IN, B, T

RATE = 0.3
KEY = 7


def linear(z):
    return z


def with_weights(rnn, **weights):
    """Give parameters of zeros but for the named weights of every cell."""
    shapes = registry.shapes_of(rnn)[0]

    def value(path, shape):
        given = weights.get(getattr(path[-1], "name", None), 0.0)
        return np.broadcast_to(np.asarray(given, shape.dtype), shape.shape)

    return jax.tree_util.tree_map_with_path(value, shapes)


def run(rnn, params, x, **options):
    return jax.tree.map(np.asarray, jax.jit(lambda p, x: rnn.apply(p, x, **options))(params, x))


def inspect(rnn, params, x, **options):
    return jax.tree.map(np.asarray, jax.jit(lambda p, x: rnn.inspect(p, x, **options))(params, x))


def assert_frequency(drawn, probability, independent=None):
    """Compare a share of True with its probability, to five standard errors."""
    count = drawn.size if independent is None else independent
    error = np.sqrt(probability * (1 - probability) / count)
    assert abs(drawn.mean() - probability) < 5 * error


def test_variational_dropout_keeps_one_mask_for_all_steps():
    """h_t = m / (1 - rate) ⊙ h_{t-1}, from h_0 = 1 on."""
    rows, size = 40, 50
    rnn = drnn.deep_rnn(drnn.variational_dropout(drnn.elman(size, linear), RATE))
    params = with_weights(rnn, w_h=np.eye(size))
    state = jax.tree.map(
        np.ones_like, registry.fill(registry.seed_of(""), rnn.initial_state(params, rows))
    )
    state = jax.tree.map(lambda a: a.astype(np.float32), state)
    x = np.zeros((T, rows, IN), np.float32)
    _, y = run(rnn, params, x, state=state, key=jax.random.key(KEY))
    kept = y[0] > 0
    for t in range(T):
        np.testing.assert_allclose(y[t], kept / (1 - RATE) ** (t + 1), rtol=1e-5)
    assert_frequency(kept, 1 - RATE)
    assert len(np.unique(kept, axis=0)) == rows  # each row has its own


def test_variational_dropout_leaves_c_and_the_leak_of_a_gru_whole():
    """Only the recurrent product sees the mask."""
    size = 50
    for make in (drnn.lstm, drnn.gru):
        cell = make(size, gate_activation=jnp.ones_like)
        rnn = drnn.deep_rnn(drnn.variational_dropout(cell, 0.5))
        params = with_weights(rnn)
        shapes = registry.shapes_of(rnn)[1]
        state = jax.tree.map(lambda s: np.ones(s.shape, np.float32), shapes)
        final, _ = run(
            rnn, params, np.zeros((T, B, IN), np.float32), state=state, key=jax.random.key(0)
        )
        kept = final[0].c if hasattr(final[0], "c") else final[0].h
        np.testing.assert_array_equal(kept, np.ones_like(kept))


def test_weight_drop_keeps_one_mask_for_all_steps_and_rows():
    """From h_0 = the unit vectors, step t shows the t-th power of the dropped matrix."""
    size = 40
    rnn = drnn.deep_rnn(drnn.weight_drop(drnn.elman(size, linear), RATE))
    weights = np.random.default_rng(0).normal(size=(size, size)) / size
    params = with_weights(rnn, w_h=weights)
    state = jax.tree.map(
        lambda s: np.eye(size, dtype=np.float32),
        registry.shapes_of(rnn, batch_shape=(size,))[1],
    )
    x = np.zeros((3, size, IN), np.float32)
    _, y = run(rnn, params, x, state=state, key=jax.random.key(KEY))
    dropped = y[0]  # row r of the batch is row r of the dropped matrix
    kept = dropped != 0
    np.testing.assert_allclose(dropped, np.where(kept, weights / (1 - RATE), 0), rtol=1e-5)
    assert_frequency(kept, 1 - RATE)
    np.testing.assert_allclose(y[1], dropped @ dropped, atol=1e-6)
    np.testing.assert_allclose(y[2], dropped @ dropped @ dropped, atol=1e-6)


def test_weight_drop_of_two_weights_draws_two_masks():
    size = 30
    cell = drnn.weight_drop(drnn.elman(size), 0.5, weights=("w_x", "w_h"))
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), size))
    params = jax.tree.map(lambda s: jnp.ones(s.shape), params)
    dropped, noise = cell.draw(params, jax.random.key(0), (3,))
    assert noise is None
    w_x, w_h = (np.asarray(w) > 0 for w in (dropped.w_x, dropped.w_h))
    np.testing.assert_array_equal(dropped.b, params.b)
    assert_frequency(w_x == w_h, 0.5)


def test_zoneout_chooses_each_unit_and_step_anew():
    """With s̃_t = t, a unit that keeps its value lags behind."""
    rows, size, steps = 20, 30, 8
    cell = drnn.zoneout(drnn.elman(size, linear), RATE)
    rnn = drnn.deep_rnn(cell)
    params = with_weights(rnn, w_x=1.0)
    x = np.zeros((steps, rows, IN), np.float32)
    x[..., 0] = np.arange(1, steps + 1)[:, None]
    _, y = run(rnn, params, x, key=jax.random.key(KEY))
    previous = np.concatenate([np.zeros_like(y[:1]), y[:-1]])
    kept = y == previous
    np.testing.assert_array_equal(y[~kept], np.broadcast_to(x[..., :1], y.shape)[~kept])
    assert_frequency(kept, RATE)
    # no two steps alike, and what one step chose does not tell the next
    assert_frequency(kept[1:] & kept[:-1], RATE**2, independent=kept[1:].size / 2)


def test_zoneout_draws_each_field_on_its_own_and_only_the_named():
    size, rows = 40, 20
    cell = drnn.lstm(size, gate_activation=jnp.ones_like, cell_activation=linear)
    x = np.ones((1, rows, IN), np.float32)

    def kept(rate):
        rnn = drnn.deep_rnn(drnn.zoneout(cell, rate))
        params = with_weights(rnn, w_x=1.0)
        final, y = run(rnn, params, x, key=jax.random.key(KEY))
        np.testing.assert_array_equal(y[0], final[0].h)
        return final[0].h == 0, final[0].c == 0

    h, c = kept(0.5)
    assert_frequency(h == c, 0.5)
    h, c = kept({"c": 0.5})
    assert not np.any(h)
    assert_frequency(c, 0.5)
    h, c = kept({"h": 0.2, "c": 0.7})
    assert_frequency(h, 0.2)
    assert_frequency(c, 0.7)


def test_zoneout_without_a_key_is_the_expectation():
    """The mean of many draws of one step."""
    size, rows = 6, 20000
    rnn = drnn.deep_rnn(drnn.zoneout(drnn.elman(size), {"h": RATE}))
    rng = registry.seed_of("expectation")
    params, _ = registry.shapes_of(rnn)
    params = registry.fill(rng, params, dtype=np.float32)
    state = jax.tree.map(
        lambda s: np.broadcast_to(rng.normal(size=size), s.shape).astype(np.float32),
        registry.shapes_of(rnn, batch_shape=(rows,))[1],
    )
    x = np.broadcast_to(rng.normal(size=IN), (1, rows, IN)).astype(np.float32)
    _, drawn = run(rnn, params, x, state=state, key=jax.random.key(KEY))
    _, expected = run(rnn, params, x, state=state)
    assert np.ptp(expected, axis=1).max() == 0
    np.testing.assert_allclose(drawn.mean(axis=1), expected.mean(axis=1), atol=0.03)


def test_dropout_between_layers_is_drawn_at_every_step_but_not_after_the_last():
    """Layers that copy their input: y is the product of the masks of all but the last."""
    size, rows, steps = 30, 10, 10
    cell = drnn.elman(size, linear)
    rnn = drnn.deep_rnn(cell, 3, dropout=RATE)
    params = with_weights(rnn)
    first, *rest = params.layers
    first = first._replace(cell=first.cell._replace(w_x=np.ones_like(first.cell.w_x) / IN))
    copying = [
        one._replace(cell=one.cell._replace(w_x=np.eye(size, dtype=np.float32))) for one in rest
    ]
    params = params._replace(layers=(first, *copying))
    x = np.ones((steps, rows, IN), np.float32)
    key = jax.random.key(KEY)
    _, y, layers = inspect(rnn, params, x, key=key)
    np.testing.assert_allclose(layers[0].state.h, 1, rtol=1e-6)
    masks = layers[1].state.h > 0, y > 0
    np.testing.assert_allclose(layers[1].state.h, masks[0] / (1 - RATE), rtol=1e-5)
    np.testing.assert_allclose(y, masks[1] / (1 - RATE) ** 2, rtol=1e-5)
    assert_frequency(masks[0], 1 - RATE)
    assert_frequency(masks[1], (1 - RATE) ** 2)
    assert_frequency(masks[1][masks[0]], 1 - RATE)  # the second mask is not the first
    flat = masks[0].reshape(steps * rows, size)
    assert len(np.unique(flat, axis=0)) == steps * rows  # each step and row has its own
    _, y = run(rnn, params, x, key=key, train=False)
    np.testing.assert_allclose(y, 1, rtol=1e-6)


NOTHING_RANDOM = {
    "variational_dropout": lambda cell: drnn.variational_dropout(cell, 0.5),
    "weight_drop": lambda cell: drnn.weight_drop(cell, 0.5),
    "no rates": lambda cell: drnn.zoneout(
        drnn.weight_drop(drnn.variational_dropout(cell, 0.0), 0.0), 0.0
    ),
    "learned_initial_state": drnn.learned_initial_state,
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("cell", "name"),
    [
        *itertools.product(["lstm_peepholes", "deep_transition"], NOTHING_RANDOM),
        ("gru_before", "variational_dropout"),  # which reads its state outside the product too
    ],
)
def test_modified_cells_without_a_key_are_the_cell_itself(name, cell):
    """Bit by bit; with rates of 0 in training too."""
    plain = registry.CELLS[cell].make(4)
    rnns = [
        drnn.deep_rnn(made, param_dtype=jnp.float64)
        for made in (plain, NOTHING_RANDOM[name](plain))
    ]
    rng = registry.seed_of(name)
    params = registry.fill(rng, registry.shapes_of(rnns[0])[0])
    params_of = [params, params]
    if name == "learned_initial_state":
        rest = registry.shapes_of(rnns[1])[0].layers[0].cell.initial
        zeros = jax.tree.map(lambda s: np.zeros(s.shape), rest)
        layer = params.layers[0]
        wrapped = type(registry.shapes_of(rnns[1])[0].layers[0].cell)(layer.cell, zeros)
        params_of[1] = params._replace(layers=(layer._replace(cell=wrapped),))
    x = rng.normal(size=(T, B, IN))
    keys = (None, jax.random.key(0)) if name in ("no rates", "learned_initial_state") else (None,)
    expected = run(rnns[0], params_of[0], x)
    for key in keys:
        got = run(rnns[1], params_of[1], x, key=key)
        if key is None:
            assert_same(got, expected)
        else:
            assert_close(got, expected, 1e-14)
    got = run(rnns[1], params_of[1], x, key=jax.random.key(0), train=False)
    assert_same(got, expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("both", "schedule"), [(False, "reference"), (True, "layerwise")])
def test_learned_state_gets_its_gradient_from_the_start_and_from_resets(schedule, both):
    """The slope of a loss that sees the learned state three times."""
    cell = drnn.learned_initial_state(drnn.gru(4))
    rnn = drnn.deep_rnn(cell, param_dtype=jnp.float64, bidirectional=both)
    rng = registry.seed_of("learned")
    params = registry.fill(rng, registry.shapes_of(rnn)[0])
    x = rng.normal(size=(T, 1, IN))
    resets = np.zeros((T, 1), bool)
    resets[[2, 4]] = True

    @jax.jit
    def loss_and_grad(params, resets):
        def loss(params):
            return jnp.sum(jnp.sin(rnn.apply(params, x, resets=resets, schedule=schedule)[1]))

        return jax.value_and_grad(loss)(params)

    def initial_of(tree):
        return tree.layers[0].cell.initial.h

    def moved(by):
        cell = params.layers[0].cell
        cell = cell._replace(initial=cell.initial._replace(h=cell.initial.h + by))
        return params._replace(layers=(params.layers[0]._replace(cell=cell),))

    direction = rng.normal(size=initial_of(params).shape)
    found = []
    for flags in (resets, np.zeros_like(resets)):
        along = np.vdot(initial_of(loss_and_grad(params, flags)[1]), direction)
        values = [loss_and_grad(moved(e * direction), flags)[0] for e in (1e-5, -1e-5)]
        np.testing.assert_allclose(along, (values[0] - values[1]) / 2e-5, rtol=1e-6)
        found.append(along)
    assert abs(found[0] - found[1]) > 1e-3


@pytest.mark.usefixtures("x64")
def test_a_given_state_takes_the_learned_ones_place_but_not_after_a_reset():
    cell = drnn.learned_initial_state(drnn.elman(4))
    rnn = drnn.deep_rnn(cell, param_dtype=jnp.float64)
    rng = registry.seed_of("given")
    params = registry.fill(rng, registry.shapes_of(rnn)[0])
    x = rng.normal(size=(T, B, IN))
    resets = np.zeros((T, B), bool)
    resets[3] = True
    learned = rnn.initial_state(params, B)
    np.testing.assert_array_equal(
        learned[0].h, np.broadcast_to(params.layers[0].cell.initial.h, (B, 4))
    )
    given = jax.tree.map(lambda a: np.asarray(a) + 1.0, learned)
    _, y = run(rnn, params, x, resets=resets)
    _, y_given = run(rnn, params, x, state=given, resets=resets)
    assert np.all(np.any(y[:3] != y_given[:3], axis=-1))
    np.testing.assert_array_equal(y[3:], y_given[3:])


@pytest.mark.usefixtures("x64")
def test_modifiers_of_one_rate_do_not_share_their_draws():
    """Two layers, two directions and two modifiers, each with randomness of its own."""
    size, rows = 50, 30
    cell = drnn.variational_dropout(drnn.elman(size, linear), 0.5)
    rnn = drnn.deep_rnn(cell, 2, bidirectional=True, merge="sum", param_dtype=jnp.float64)
    params = with_weights(rnn, w_h=np.eye(size))
    _, state = registry.shapes_of(rnn, batch_shape=(rows,))
    state = jax.tree.map(lambda s: np.ones(s.shape), state)
    x = np.zeros((1, rows, IN))
    final, _ = run(rnn, params, x, state=state, key=jax.random.key(KEY))
    masks = [np.asarray(final[layer].h[d]) > 0 for layer in (0, 1) for d in (0, 1)]
    for a in range(4):
        for b in range(a):
            assert_frequency(masks[a] == masks[b], 0.5)


def test_names_of_modified_cells_tell_what_they_are():
    cell = drnn.zoneout(drnn.layer_norm(drnn.lstm(4)), 0.1)
    assert cell.name == "zoneout(layer_norm(lstm))"


def test_equal_modified_cells_are_known_to_be_equal():
    """Made twice alike they are stacked; with another setting they are not."""
    made = [registry.MODIFIERS["all"].make(drnn.lstm(4)) for _ in range(3)]
    assert len(drnn.deep_rnn(made).plan.groups) == 2
    for other in (
        registry.MODIFIERS["all"].make(drnn.lstm(4, coupled=True)),
        drnn.zoneout(drnn.lstm(4), 0.3),
    ):
        assert made[0] != other
    a, b, c = (drnn.zoneout(drnn.lstm(4), rate) for rate in ({"h": 0.1}, {"h": 0.1}, {"h": 0.2}))
    assert a == b
    assert a != c
    assert drnn.layer_norm(a) != drnn.layer_norm(a, epsilon=1e-3)

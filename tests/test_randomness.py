"""Keys: no two draws from the same bits, any implementation, one mask a sequence."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_close, assert_same
from tests.registry import ANY_CELL, IN, B, T

SIZE = 16
normal = jax.nn.initializers.normal()


def all_normal(make, **options):
    """Make a cell whose every weight is a normal draw."""
    return make(SIZE, w_x_init=normal, w_h_init=normal, b_init=normal, **options)


DRAWN = {
    "highway": (all_normal(drnn.elman), {"skip": "highway"}),
    "highway of lstm": (
        all_normal(drnn.lstm, peepholes=True, projection_size=SIZE),
        {"skip": "highway", "output_size": SIZE},
    ),
    "highway both": (
        all_normal(drnn.gru),
        {"skip": "highway", "bidirectional": True, "merge": "sum", "output_size": SIZE},
    ),
    "dense both": (
        all_normal(drnn.gru, reset_after=False),
        {"skip": "dense", "bidirectional": True},
    ),
    "minimal gated": (all_normal(drnn.minimal_gated), {"output_size": SIZE}),
}


@partial(jax.jit, static_argnums=(0, 2))
def init(rnn, key, input_size):
    """Draw parameters, all in one program."""
    return rnn.init(key, input_size)


def ranks(values):
    return np.argsort(np.argsort(values))


@pytest.mark.parametrize(
    ("name", "impl"), [*((name, "threefry2x32") for name in DRAWN), ("highway both", "rbg")]
)
def test_no_two_weights_are_drawn_from_the_same_bits(name, impl):
    """Rank correlation: a uniform and a normal of the same bits have 1.0."""
    cell, options = DRAWN[name]
    params = init(drnn.deep_rnn(cell, 3, **options), jax.random.key(0, impl=impl), SIZE)
    drawn = [np.asarray(leaf) for leaf in jax.tree.leaves(params) if np.ptp(leaf) > 0]
    # rows of one matrix as well: gates, and directions
    rows = [ranks(row[:SIZE]) for leaf in drawn for row in leaf.reshape(-1, leaf.shape[-1])]
    rows += [
        ranks(row[SIZE * gate : SIZE * (gate + 1)])
        for leaf in drawn
        for row in leaf.reshape(-1, leaf.shape[-1])
        for gate in range(1, leaf.shape[-1] // SIZE)
    ]
    correlation = np.abs(np.corrcoef(np.stack([row for row in rows if len(row) == SIZE])))
    np.fill_diagonal(correlation, 0)
    assert correlation.max() < 0.97


DRAWING = {
    "dropout": drnn.deep_rnn(drnn.elman(SIZE), 3, dropout=0.5),
    "modifiers": drnn.deep_rnn(
        drnn.zoneout(drnn.weight_drop(drnn.variational_dropout(drnn.elman(4), 0.3), 0.3), 0.3), 3
    ),
    "locked": drnn.deep_rnn(drnn.elman(SIZE), 3, dropout=0.5, locked_dropout=True),
}


@pytest.mark.parametrize(
    ("name", "impl"),
    [("modifiers", "rbg"), ("dropout", "unsafe_rbg"), ("locked", "rbg")],
)
def test_keys_of_any_implementation_draw_the_same_in_all_schedules(name, impl):
    """A vmapped draw of "rbg" keys would use the first key alone."""
    rnn = DRAWING[name]
    params = rnn.init(jax.random.key(0), IN)
    x = jax.random.normal(jax.random.key(1), (T, B, IN))
    key = jax.random.key(2, impl=impl)
    found = [
        jax.jit(lambda p, x, k, s=schedule: rnn.apply(p, x, key=k, schedule=s)[1])(params, x, key)
        for schedule in ANY_CELL
    ]
    for one in found[1:]:
        assert_close(one, found[0], 1e-5)
    assert np.abs(found[0] - rnn.apply(params, x)[1]).max() > 1e-2


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_a_layer_is_drawn_by_its_own_key_however_layers_are_held(impl):
    key = jax.random.key(3, impl=impl)
    apart = drnn.deep_rnn(drnn.lstm(4), 4)
    together = drnn.deep_rnn(drnn.lstm(4), 4, stack_layers=True)
    mixed = drnn.deep_rnn([drnn.lstm(4), drnn.lstm(4), *[drnn.lstm(4, forget_bias=2.0)] * 2])
    expected = init(apart, key, IN).layers
    assert_close(together.unstack(init(together, key, IN).layers), expected, 1e-6)
    for one, other in zip(init(mixed, key, IN).layers, expected, strict=True):
        np.testing.assert_allclose(one.cell.w_h, other.cell.w_h, atol=1e-6)


def test_locked_dropout_is_one_mask_a_sequence_and_row():
    """Layers that copy their input: y is the product of the masks of all but the last."""
    rnn = drnn.deep_rnn(drnn.elman(30, lambda z: z), 3, dropout=0.3, locked_dropout=True)
    params = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), registry.shapes_of(rnn)[0])
    layers = [
        one._replace(cell=one.cell._replace(w_x=np.eye(*one.cell.w_x.shape, dtype=np.float32)))
        for one in params.layers
    ]
    layers[0].cell.w_x[:] = 1 / IN
    params = params._replace(layers=tuple(layers))
    x = np.ones((8, 10, IN), np.float32)
    key = jax.random.key(0)
    state, y, inside = rnn.inspect(params, x, key=key)
    del state
    masks = [np.asarray(inside[1].state.h) > 0, np.asarray(y) > 0]
    np.testing.assert_allclose(inside[1].state.h, masks[0] / 0.7, rtol=1e-5)
    for mask in masks:
        np.testing.assert_array_equal(mask, np.broadcast_to(mask[:1], mask.shape))
        assert len(np.unique(mask[0], axis=0)) == 10
    assert 0.6 < masks[0].mean() < 0.8
    assert np.any(masks[0][0] & ~masks[1][0])


def test_the_noise_of_a_cell_may_have_a_gradient():
    """A learned deviation: the same gradient in all schedules, and not zero."""

    def draw(params, key, shape):
        return params, params["sigma"] * jax.random.normal(key, (*shape, 3))

    def update(params, state, x, h_proj, noise=0.0):
        del h_proj
        h = jnp.tanh(x @ params["w"] + 0.5 * state[0] + noise)
        return (h,), h

    cell = drnn.step_cell(
        lambda key, size: {"w": jax.random.normal(key, (size, 3)), "sigma": jnp.full(3, 0.3)},
        lambda params, batch: (jnp.zeros((*batch, 3)),),
        lambda params, state, x: None,
        output_size=3,
    )._replace(update=update, draw=draw)
    rnn = drnn.deep_rnn(cell, 2)
    params = rnn.init(jax.random.key(0), IN)
    x = jax.random.normal(jax.random.key(1), (T, B, IN))

    def grads(schedule):
        def loss(params):
            return jnp.sum(rnn.apply(params, x, key=jax.random.key(2), schedule=schedule)[1] ** 2)

        with jax.numpy_rank_promotion("allow"):
            return jax.jit(jax.grad(loss))(params)

    found = [grads(schedule) for schedule in ANY_CELL]
    for one in found[1:]:
        assert_close(one, found[0], 1e-5)
    assert np.abs(found[0].layers[1].cell["sigma"]).max() > 1e-2


def test_one_direction_alone_draws_as_it_does_beside_another():
    """The keys of a layer do not depend on how many directions it has."""
    x = jax.random.normal(jax.random.key(1), (T, B, IN))
    cell = drnn.zoneout(drnn.gru(4), 0.5)
    both, one = drnn.deep_rnn(cell, bidirectional=True), drnn.deep_rnn(cell)
    params = both.init(jax.random.key(0), IN)
    forward = jax.tree.map(lambda leaf: leaf[0], params.layers[0].cell)
    alone = params._replace(layers=(params.layers[0]._replace(cell=forward),))
    key = jax.random.key(5)
    _, y = both.apply(params, x, key=key)
    assert_same(np.asarray(y[..., :4]), np.asarray(one.apply(alone, x, key=key)[1]))


def test_draws_of_two_calls_differ():
    rnn = DRAWING["dropout"]
    params = rnn.init(jax.random.key(0), IN)
    x = jnp.ones((T, B, IN))
    ys = [rnn.apply(params, x, key=jax.random.key(seed))[1] for seed in range(3)]
    for a, b in itertools.combinations(ys, 2):
        assert np.abs(a - b).max() > 1e-3

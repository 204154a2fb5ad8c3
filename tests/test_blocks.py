"""Causal convolutions and residual blocks: against NumPy, over every edge, in every schedule."""

import pickle
import re
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.modifiers.causal_conv import CausalConvState, causal_conv
from deeprnn_jax.modifiers.residual_block import residual_block
from experiments import blocks
from tests import oracle, oracle_blocks, registry
from tests.comparing import assert_close, assert_same
from tests.oracle import sigmoid
from tests.oracle_blocks import gelu, silu
from tests.registry import IN, B, OracleNetwork, T

D = 4  # the width of the stream of x


def flat(state):
    """Give a state as the oracle's dictionary."""
    if isinstance(state, CausalConvState):
        return {f"before_{j}": x for j, x in enumerate(state.window, 1)} | flat(state.cell)
    return state._asdict()


def mean(a, b):
    """Merge two directions so that x is in the sum once."""
    return (a + b) / 2


# -- cases: name -> (the library's layer, the oracle's, I, both directions) --------------------

CASES = {
    "conv, 4": (
        causal_conv(drnn.lstm(3), activation=jax.nn.silu),
        oracle_blocks.causal_conv(oracle.lstm(), 4, silu),
        IN,
        False,
    ),
    "conv, longer than T, both": (
        causal_conv(drnn.independent(3), 9),
        oracle_blocks.causal_conv(oracle.independent(), 9),
        IN,
        True,
    ),
    "conv of a conv": (
        causal_conv(causal_conv(drnn.elman(3), 1), 3, jnp.tanh),
        oracle_blocks.causal_conv(oracle_blocks.causal_conv(oracle.elman(), 1), 3, np.tanh),
        IN,
        False,
    ),
    "glu": (
        residual_block(drnn.lstm(3), D),
        oracle_blocks.residual_block(oracle.lstm()),
        IN,
        False,
    ),
    "mlp, layer norm, I = D": (
        residual_block(drnn.gru(3), D, feed_forward="mlp", norm="layer", activation=jnp.tanh),
        oracle_blocks.residual_block(oracle.gru(), "layer", activation=np.tanh),
        D,
        False,
    ),
    "no feed-forward, gate": (
        residual_block(
            drnn.learned_initial_state(drnn.zoneout(drnn.gru(3, reset_after=False), 0.3)),
            D,
            feed_forward=None,
            gate=jax.nn.sigmoid,
        ),
        oracle_blocks.residual_block(
            oracle.learned_initial_state(oracle.zoneout(oracle.gru(reset_after=False), 0.3)),
            gate=sigmoid,
        ),
        IN,
        False,
    ),
    "all": (
        residual_block(
            causal_conv(drnn.lstm(3, projection_size=2), 3, jax.nn.silu),
            D,
            inner_size=5,
            gate=jax.nn.gelu,
            feed_forward_size=6,
        ),
        oracle_blocks.residual_block(oracle_blocks.causal_conv(oracle.lstm(), 3, silu), gate=gelu),
        IN,
        True,
    ),
}


def network(name):
    layer, _, _, both = CASES[name]
    merge = {"bidirectional": True, "merge": mean} if both else {}
    return drnn.deep_rnn(layer, param_dtype=jnp.float64, **merge)


def draw(rnn, name, input_size=IN):
    """Draw parameters, an input and a state: no bias, scale or window is zero or one by chance."""
    rng = registry.seed_of(name)
    params, state = registry.shapes_of(rnn, input_size)
    x = rng.normal(size=(T, B, input_size))
    return registry.fill(rng, params), x, registry.fill(rng, state)


def flags():
    return dict(zip(("lengths", "mask", "resets"), registry.every_edge(), strict=True))


def ran(name, schedule):
    """Give outputs, states and gates, and the gradients of a random sum of the first two."""
    rnn = network(name)
    point = draw(rnn, name, CASES[name][2])

    def loss(params, x, state):
        final, y, layers = rnn.inspect(params, x, state, **flags(), schedule=schedule)
        weigh = registry.seed_of("weights")
        terms = [jnp.vdot(weigh.normal(size=a.shape), a) for a in jax.tree.leaves((final, y))]
        return sum(terms), (final, y, layers)

    found = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*point)
    return jax.tree.map(np.asarray, found)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.core] * (name == "all")) for name in CASES]
)
def test_outputs_states_and_gates_are_the_oracles(name):
    _, expected, input_size, both = CASES[name]
    rnn = network(name)
    params, x, state = draw(rnn, name, input_size)
    plain = OracleNetwork([expected], both, mean, None, False)
    flattened = [SimpleNamespace(_asdict=lambda one=one: flat(one)) for one in state]
    want = oracle.run(plain, params, x, flattened, *registry.every_edge())
    final, y, layers = jax.jit(partial(rnn.inspect, **flags()))(params, x, state)
    got = (y, flat(final[0]), flat(layers[0].state))
    assert_close(got, (want.y, want.finals[0], want.states[0]), 1e-11)
    gates = {} if layers[0].gates is None else layers[0].gates._asdict()
    assert_close(gates, want.gates[0], 1e-11)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["conv of a conv", "mlp, layer norm, I = D", "all"])
def test_gradients_are_the_references(name):
    assert_close(ran(name, "layerwise"), ran(name, "reference"))


# -- the window --------------------------------------------------------------------------------


def copying(width, **options):
    """Give a network that shows its convolution, y = u, and float64 parameters for it."""
    cell = causal_conv(drnn.elman(IN, lambda z: z, use_bias=False), width, **options)
    rnn = drnn.deep_rnn(cell, param_dtype=jnp.float64)
    rng = registry.seed_of(f"copying {width}")
    params = registry.fill(rng, registry.shapes_of(rnn)[0])
    own = params.layers[0].cell
    own = own._replace(cell=own.cell._replace(w_x=np.eye(IN), w_h=np.zeros((IN, IN))))
    return rnn, params._replace(layers=(params.layers[0]._replace(cell=own),)), own


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_convolution_is_numpys(width):
    rnn, params, own = copying(width)
    x = registry.seed_of("x").normal(size=(7, B, IN))
    expected = np.stack(
        [[np.convolve(x[:, b, i], own.w[:, i])[:7] + own.b[i] for i in range(IN)] for b in range(B)]
    )
    assert_close(np.asarray(rnn.apply(params, x)[1]), np.moveaxis(expected, 2, 0))


@pytest.mark.usefixtures("x64")
def test_the_window_holds_the_last_real_inputs():
    """Masked steps, of NaN, are not among them: as if they had been cut out."""
    rnn, params, _ = copying(4)
    x = registry.seed_of("holes").normal(size=(7, 1, IN))
    mask = np.array([True, False, True, True, False, True, False])[:, None]
    holed = np.where(mask[..., None], x, np.nan)
    final, y = rnn.apply(params, holed, mask=mask)
    kept = x[mask[:, 0]]
    expected, y_kept = rnn.apply(params, kept)
    assert_same(final, expected)
    assert_same(y[mask[:, 0]], y_kept)
    np.testing.assert_array_equal(np.stack(final[0].window), kept[:0:-1])
    assert not np.any(y[~mask[:, 0]])


@pytest.mark.usefixtures("x64")
def test_a_reset_empties_the_window():
    """Steps after it are a sequence of their own, whatever came before: NaN, for one."""
    rnn, params, _ = copying(4)
    x = registry.seed_of("reset").normal(size=(7, 2, IN))
    x[:3, 0] = np.nan
    resets = np.zeros((7, 2), bool)
    resets[3] = True

    def loss(x):
        return jnp.sum(jnp.sin(rnn.apply(params, x, resets=resets)[1][3:]))

    np.testing.assert_array_equal(
        rnn.apply(params, x, resets=resets)[1][3:], rnn.apply(params, x[3:])[1]
    )
    slope = np.asarray(jax.grad(loss)(x))
    assert np.all(np.isfinite(slope))
    assert not np.any(slope[:3])
    assert np.all(slope[3:])


def test_a_window_worked_out_by_hand():
    """u_t = 2 x_t - x_{t-1} + 1, of 1, 2, 4, and h_t = h_{t-1} + u_t."""
    rnn = drnn.deep_rnn(causal_conv(drnn.elman(1, lambda z: z, use_bias=False), 2))
    params = jax.tree.map(np.float32, draw(rnn, "by hand", 1)[0])
    one = np.ones((1, 1), np.float32)
    own = params.layers[0].cell
    cell = own.cell._replace(w_x=one, w_h=one)
    own = own._replace(w=np.float32([[2], [-1]]), b=one[0], cell=cell)
    params = params._replace(layers=(params.layers[0]._replace(cell=own),))
    final, y = rnn.apply(params, np.float32([[1], [2], [4]]))
    np.testing.assert_array_equal(y[:, 0], [3, 7, 14])
    np.testing.assert_array_equal(final[0].window[0], [4])


# -- networks of blocks ------------------------------------------------------------------------


def block(**options):
    cell = causal_conv(drnn.variational_dropout(drnn.elman(3), 0.3), 3, jax.nn.silu)
    options = {"feed_forward": "mlp", "dropout": 0.3, "num_blocks": 3} | options
    return residual_block(cell, D, **options)


def deep_ran(schedule, checkpoint_every=None, **options):
    """Run three blocks with gradients; give the parameters' and the state of layers apart."""
    apart = drnn.deep_rnn(block(), 3, param_dtype=jnp.float64)
    params, x, state = draw(apart, "deep")
    rnn = drnn.deep_rnn(block(), 3, param_dtype=jnp.float64, **options)
    is_stacked = rnn.plan.stack_layers

    def loss(params, x, state):
        if is_stacked:
            params = params._replace(layers=rnn.stack(params.layers))
            state = rnn.stack(state)
        final, y = rnn.apply(
            params,
            x,
            state,
            **flags(),
            key=jax.random.key(1),
            schedule=schedule,
            checkpoint_every=checkpoint_every,
        )
        final = rnn.unstack(final) if is_stacked else final
        return sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves((final, y))), (final, y)

    found = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(params, x, state)
    return jax.tree.map(np.asarray, found)


@pytest.mark.usefixtures("x64")
def test_three_blocks_are_the_same_on_diagonals_in_training():
    """Held stacked, and in chunks."""
    found = deep_ran("wavefront", stack_layers=True, checkpoint_every=2)
    assert_close(found, deep_ran("layerwise"))


@pytest.mark.usefixtures("x64")
def test_chunks_and_steps_are_the_whole():
    """Cut within the window, across holes and resets; the first row has none."""
    rnn = drnn.deep_rnn(block(), 2, param_dtype=jnp.float64)
    params, x, state = draw(rnn, "chunks")
    _, mask, resets = registry.every_edge()
    run = jax.jit(rnn.apply)
    final, y = run(params, x, state, mask=mask, resets=resets)
    after, parts = state, []
    for cut in (slice(0, 2), slice(2, 4), slice(4, 6)):
        after, part = run(params, x[cut], after, mask=mask[cut], resets=resets[cut])
        parts.append(part)
    assert_close((after, jnp.concatenate(parts)), (final, y), 1e-13)
    after, step = state, jax.jit(rnn.step)
    for t in range(T):
        after, y_t = step(params, after, x[t])
        assert_close(y_t[0], y[t, 0], 1e-13)
    assert_close(*(jax.tree.map(lambda leaf: leaf[0], one) for one in (after, final)), 1e-13)


@pytest.mark.usefixtures("x64")
def test_dropout_acts_on_each_branch_at_each_step():
    """y - x is nothing, or the branch over 1 - rate; the cell's state does not see it."""
    rate, size = 0.25, 40
    cell = residual_block(drnn.elman(8), size, feed_forward=None, dropout=rate)
    rnn = drnn.deep_rnn(cell, param_dtype=jnp.float64)
    params, x, state = draw(rnn, "dropout", size)
    plain, y = rnn.apply(params, x, state)
    dropped, y_dropped = rnn.apply(params, x, state, key=jax.random.key(3))
    assert_close(dropped, plain, 1e-13)
    branch = np.asarray(y_dropped - x)
    kept = np.abs(branch) > 1e-12
    np.testing.assert_allclose(branch[kept], np.asarray(y - x)[kept] / (1 - rate), rtol=1e-6)
    error = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * error
    flat_steps = kept.reshape(T * B, size)
    assert len(np.unique(flat_steps, axis=0)) == T * B
    both = residual_block(drnn.gru(8), size, dropout=rate)
    _, noise = both.draw(None, jax.random.key(0), (T, B))
    assert noise.cell is None
    first, second = (np.asarray(keep) for keep in noise.keep)
    same = (1 - rate) ** 2 + rate**2
    assert abs((first == second).mean() - same) < 5 * np.sqrt(same * (1 - same) / first.size)


@pytest.mark.usefixtures("x64")
def test_what_the_cell_draws_is_drawn_in_a_block_without_dropout():
    assert residual_block(drnn.gru(3), D).draw is None
    assert causal_conv(drnn.gru(3)).draw is None
    rnn = drnn.deep_rnn(block(dropout=0.0), param_dtype=jnp.float64)
    params, x, state = draw(rnn, "inner noise")
    y = rnn.apply(params, x, state)[1]
    trained = [rnn.apply(params, x, state, key=jax.random.key(seed))[1] for seed in (0, 0, 1)]
    assert_same(trained[0], trained[1])
    assert np.abs(trained[0] - y).max() > 1e-3
    assert np.abs(trained[0] - trained[2]).max() > 1e-3


@pytest.mark.usefixtures("x64")
def test_both_directions_by_their_mean_keep_x_once():
    """With branches of nothing, x goes through; by "sum" it would double in each layer."""
    for merge, factor in ((mean, 1), ("sum", 4)):
        cell = residual_block(drnn.elman(3), D, feed_forward=None)
        rnn = drnn.deep_rnn(cell, 2, bidirectional=True, merge=merge, param_dtype=jnp.float64)
        params, x, _ = draw(rnn, "both", D)
        zeros = jax.tree.map(np.zeros_like, params)
        assert_close(rnn.apply(zeros, x)[1], jnp.asarray(factor * x))
    wide = drnn.deep_rnn(residual_block(drnn.gru(3), D), 2, bidirectional=True)
    assert registry.shapes_of(wide, D)[0].layers[1].cell.w_x.shape == (2, 2 * D, D)


def test_a_block_worked_out_by_hand():
    """x = (1, 7), root mean square 5; h = the gate = u; W_o = 10, then an MLP of relu."""
    cell = drnn.elman(2, lambda z: z)
    made = residual_block(
        cell, 2, gate=lambda z: z, feed_forward="mlp", feed_forward_size=1, activation=jax.nn.relu
    )
    rnn = drnn.deep_rnn(made)
    whole = jax.tree.map(np.zeros_like, jax.tree.map(np.float32, draw(rnn, "by hand", 2)[0]))
    params, eye = whole.layers[0].cell, np.eye(2, dtype=np.float32)
    behind = params.feed_forward._replace(
        w_1=np.float32([[1], [-1]]), w_d=np.float32([[1, 1]]), norm=np.float32([50, 0])
    )
    inner = params.cell._replace(w_x=eye)
    ones = np.ones(2, np.float32)
    params = params._replace(cell=inner, norm=ones, w_g=eye, w_o=10 * eye, feed_forward=behind)
    whole = whole._replace(layers=(whole.layers[0]._replace(cell=params),))
    final, y = rnn.apply(whole, np.float32([[1, 7]]))
    np.testing.assert_allclose(final[0].h, [0.2, 1.4], rtol=1e-5)
    # x + 10 u² = (1.4, 26.6), of root mean square 18.8351
    np.testing.assert_allclose(y[0], np.array([1.4, 26.6]) + 50 * 1.4 / 18.8351, rtol=1e-5)


# -- numbers -----------------------------------------------------------------------------------


def test_a_bfloat16_network_keeps_its_state_in_float32():
    rnns = [drnn.deep_rnn(block(), 3, compute_dtype=dtype) for dtype in (jnp.float32, jnp.bfloat16)]
    params, x, _ = jax.tree.map(np.float32, draw(rnns[0], "bf16"))
    (_, y), (final, y_narrow) = (rnn.apply(params, x) for rnn in rnns)
    assert {leaf.dtype for leaf in jax.tree.leaves(final)} == {jnp.dtype(jnp.float32)}
    assert y_narrow.dtype == jnp.bfloat16
    error = np.abs(y_narrow.astype(jnp.float32) - y).max()
    assert 0 < error < 0.03 * np.abs(y).max()


def test_no_input_has_a_finite_gradient():
    cell = drnn.elman(3, use_bias=False)
    rnn = drnn.deep_rnn([residual_block(cell, D, norm=norm) for norm in ("rms", "layer")])
    params = jax.tree.map(np.float32, draw(rnn, "no input")[0])

    def loss(params, x):
        return jnp.sum(jnp.exp(rnn.apply(params, x)[1]))

    grads = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, jnp.zeros((T, IN)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))


def test_weights_are_drawn_as_said():
    width, hidden, depth = 200, 150, 8
    cell = causal_conv(drnn.independent(hidden), 4)
    made = residual_block(
        cell, width, inner_size=hidden, gate=jax.nn.silu, num_blocks=depth, norm="layer"
    )
    params = jax.jit(made.init, static_argnums=1)(jax.random.key(0), 50)
    behind = params.feed_forward
    spread = {
        "w_x": (params.w_x, 50, 1),
        "w_v": (params.w_v, width, 1),
        "w_g": (params.w_g, width, 1),
        "w_o": (params.w_o, hidden, 2 * depth),
        "w_1": (behind.w_1, width, 1),
        "w_2": (behind.w_2, width, 1),
        "w_d": (behind.w_d, 3 * width, 2 * depth),
    }
    for name, (w, rows, branches) in spread.items():
        assert w.shape[0] == rows, name
        np.testing.assert_allclose(w.var() * rows * branches, 1, rtol=0.05, err_msg=name)
    correlation = np.corrcoef(behind.w_1.ravel(), behind.w_2.ravel())[0, 1]
    assert abs(correlation) < 0.02
    for scale in (params.norm, behind.norm):
        np.testing.assert_array_equal(scale, np.ones(width))
    conv = params.cell
    assert conv.w.shape == (4, hidden)
    assert 0.48 < np.abs(conv.w).max() <= 0.5
    assert not np.any(conv.b)
    alone = residual_block(cell, width, feed_forward=None, num_blocks=depth)
    w_o = jax.jit(alone.init, static_argnums=1)(jax.random.key(0), width).w_o
    np.testing.assert_allclose(w_o.var() * hidden * depth, 1, rtol=0.05)


def test_the_stream_does_not_grow_with_depth():
    """At initialisation the last of 12 blocks gives hardly more than x is; unscaled, twice."""
    size, depth = 32, 12
    x = registry.seed_of("stream").normal(size=(20, 8, size)).astype(np.float32)
    cell = causal_conv(drnn.independent(size, jnp.tanh))
    rnn = drnn.deep_rnn(residual_block(cell, size, num_blocks=depth), depth, stack_layers=True)
    y = jax.jit(lambda key: rnn.apply(rnn.init(key, size), x)[1])(jax.random.key(0))
    assert 1 <= jnp.std(y) < 1.5


# -- published blocks --------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("make", "count"),
    [
        # norms, W_v, conv, gates (2 heads of 4) and p, W_g, W_o, GLU
        (blocks.griffin, 2 * 8 + 64 + 40 + 2 * 4 * 8 + 16 + 8 + 64 + 64 + 9 * 64),
        # norm, W_v and W_g, conv, q k v o i f and norm, W_o
        (blocks.xlstm_matrix, 8 + 2 * 128 + 80 + 16 * 68 + 68 + 16 + 128),
        # norms, conv, gates and R, W_o, GLU of 11
        (blocks.xlstm_scalar, 16 + 40 + 8 * 32 + 32 + 2 * 4 * 16 + 64 + 3 * 88),
    ],
)
def test_published_blocks_have_their_sizes_and_ignore_what_a_reset_ends(make, count):
    rnn = drnn.deep_rnn(make(8, num_heads=2, num_blocks=1), param_dtype=jnp.float64)
    params, x, _ = draw(rnn, make.__name__, 8)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    resets = np.zeros((T, B), bool)
    resets[3] = True
    run = jax.jit(rnn.apply)
    x[:3] = np.nan
    y = run(params, x, resets=resets)[1]
    again = run(params, np.roll(x, -3, axis=0), resets=np.roll(resets, -3, axis=0))[1]
    assert np.all(np.isfinite(y[3:]))
    assert_close(y[3:], again[:3], 1e-13)


# -- what is declared --------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["conv", "block"])
def test_the_declared_state_map_is_true(name):
    """The window is the inputs; the rest is elementwise, given it."""
    cell = causal_conv(drnn.independent(3), 3)
    if name == "block":
        cell = residual_block(cell, D, inner_size=2, gate=jax.nn.silu)
    assert cell.state_map == "elementwise"
    assert residual_block(drnn.lstm(3), D).state_map is None
    rng = registry.seed_of("state map")
    params = registry.fill(rng, jax.eval_shape(lambda: cell.init(jax.random.key(0), IN)))
    shapes = jax.eval_shape(lambda: cell.initial_state(params, (B,)))
    state, along = registry.fill(rng, shapes), registry.fill(rng, shapes)
    x = rng.normal(size=(B, IN))

    def after(inner):
        before = state._replace(cell=inner)
        return cell.step(params, before, cell.project_input(params, x))[0]

    def push(v):
        return jax.jvp(after, (state.cell,), (v,))[1]

    ones = jax.tree.map(np.ones_like, along.cell)
    got, unit = push(along.cell), push(ones)
    assert np.any(got.cell.h)
    assert_close(got.cell, jax.tree.map(lambda a, b: jnp.asarray(a * b), unit.cell, along.cell))
    assert not any(np.any(leaf) for leaf in got.window)


def test_blocks_made_alike_are_equal_and_pickle():
    made = [block() for _ in range(3)]
    assert made[0] == made[1]
    assert hash(made[0]) == hash(made[1])
    assert pickle.loads(pickle.dumps(made[0])) == made[0]
    assert made[0] != block(gate=jax.nn.silu)
    assert len(drnn.deep_rnn(made).plan.groups) == 2
    assert made[0].name == "residual_block(causal_conv(variational_dropout(elman)))"


def test_parameters_have_names_and_places():
    rnn = drnn.deep_rnn(block(), 3, stack_layers=True)
    params = jax.tree.map(np.float32, draw(rnn, "names")[0])
    arrays = rnn.to_dict(params)
    assert arrays["layer_0/cell/w_x"].shape == (1, IN, D)
    assert "layers_1_to_2/cell/w_x" not in arrays  # there I is D
    assert arrays["layers_1_to_2/cell/cell/w"].shape == (2, 3, D)
    assert arrays["layers_1_to_2/cell/feed_forward/w_d"].shape == (2, 4 * D, D)
    assert_same(rnn.from_dict(arrays, IN), params)
    spec = jax.sharding.PartitionSpec
    specs = drnn.partition_specs(rnn, params, layers="stage", batch="data")
    assert specs.state[1].window == (spec("stage", "data", None),) * 2


# -- mistakes ----------------------------------------------------------------------------------

MISTAKES = {
    "causal_conv: width must be an int of 1 or more, got 0": lambda: causal_conv(drnn.gru(3), 0),
    "causal_conv: width must be an int of 1 or more, got 2.0": lambda: causal_conv(
        drnn.gru(3), 2.0
    ),
    "causal_conv: cell must be a cell, got int": lambda: causal_conv(4),
    "causal_conv: activation must be a function": lambda: causal_conv(drnn.gru(3), 4, "silu"),
    "causal_conv: w_init must be a function": lambda: causal_conv(drnn.gru(3), w_init=0.1),
    "residual_block: cell must be a cell": lambda: residual_block(4, drnn.gru(3)),
    "residual_block: size must be an int of 1 or more, got 0": lambda: residual_block(
        drnn.gru(3), 0
    ),
    "residual_block: inner_size must be": lambda: residual_block(drnn.gru(3), D, inner_size=-1),
    "residual_block: gate must be a function, got True": lambda: residual_block(
        drnn.gru(3), D, gate=True
    ),
    "residual_block: feed_forward must be 'glu', 'mlp' or None, got 'swiglu'": lambda: (
        residual_block(drnn.gru(3), D, feed_forward="swiglu")
    ),
    "residual_block: feed_forward must be 'glu', 'mlp' or None, got True": lambda: residual_block(
        drnn.gru(3), D, feed_forward=True
    ),
    "residual_block: feed_forward_size must be None...got 8; choose": lambda: residual_block(
        drnn.gru(3), D, feed_forward=None, feed_forward_size=8
    ),
    "residual_block: feed_forward_size must be an int": lambda: residual_block(
        drnn.gru(3), D, feed_forward_size=1.5
    ),
    "residual_block: norm must be 'rms' or 'layer', got None": lambda: residual_block(
        drnn.gru(3), D, norm=None
    ),
    "residual_block: dropout must be a probability in [0, 1)": lambda: residual_block(
        drnn.gru(3), D, dropout=1.0
    ),
    "residual_block: num_blocks must be": lambda: residual_block(drnn.gru(3), D, num_blocks=0),
    "zoneout: each field...must be an array, got tuple for window": lambda: drnn.zoneout(
        causal_conv(drnn.gru(3)), 0.1
    ).init(jax.random.key(0), IN),
}


def refuses(message):
    return pytest.raises(ValueError, match=".*".join(map(re.escape, message.split("..."))))


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_refused_in_words(message):
    with refuses(message):
        MISTAKES[message]()


def test_x_of_one_feature_is_not_spread_over_all():
    """Where broadcasting would make numbers of it."""
    for made in (causal_conv(drnn.gru(3), 1), residual_block(drnn.gru(3), D)):
        rnn = drnn.deep_rnn(made)
        params = jax.tree.map(np.float32, draw(rnn, "one feature", D)[0])
        with pytest.raises(ValueError, match=r"^apply: "):
            rnn.apply(params, jnp.ones((T, B, 1)))
        own = params.layers[0].cell
        with refuses(f"x must end in I={D} features...got (5, 1)"):
            made.step(own, made.initial_state(own, (B,)), jnp.ones((B, 1)))

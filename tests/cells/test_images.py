"""Recurrences over images: against NumPy loops, other libraries, and the plain cells."""

import os
import pickle
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import deeprnn_jax as drnn
from deeprnn_jax.cells.conv_gru import conv_gru
from deeprnn_jax.cells.conv_lstm import conv_lstm
from tests import oracle, registry
from tests.comparing import assert_close
from tests.oracle import bias, sigmoid
from tests.registry import B, T
from tests.user_cells import LeakyState

os.environ.setdefault("KERAS_BACKEND", "jax")
IMAGE, IN, C = (3, 4), 2, 3
x64 = pytest.mark.usefixtures("x64")


def convolve(x, w):
    """Convolve an image, pixel by pixel: what lies outside is zero."""
    *kernel, _, size = w.shape
    found = np.zeros((*x.shape[:-1], size))
    for pixel in np.ndindex(*x.shape[:-1]):
        for place in np.ndindex(*kernel):
            at = tuple(p + q - k // 2 for p, q, k in zip(pixel, place, kernel, strict=True))
            if all(0 <= a < n for a, n in zip(at, x.shape[:-1], strict=True)):
                found[pixel] += x[at] @ w[place]
    return found


def split(z, names):
    return dict(zip(names, np.split(z, len(names), axis=-1), strict=True))


def oracle_lstm(gate=sigmoid, act=np.tanh):
    def step(p, s, x):
        z = split(convolve(x, p.w_x) + convolve(s["h"], p.w_h) + bias(p.b), "ifgo")
        peep = {"i": 0.0, "f": 0.0, "o": 0.0} if p.peepholes is None else p.peepholes._asdict()
        i, f = (gate(z[k] + peep[k] * s["c"]) for k in "if")
        g = act(z["g"])
        c = f * s["c"] + i * g
        o = gate(z["o"] + peep["o"] * c)
        h = o * act(c)
        return {"h": h, "c": c}, h, {"i": i, "f": f, "g": g, "o": o}

    return oracle.OracleCell(step, oracle.zeros)


def oracle_gru(gate=sigmoid, act=np.tanh):
    def step(p, s, x):
        h, size = s["h"], s["h"].shape[-1]
        zx = split(convolve(x, p.w_x) + bias(p.b), "rzn")
        zh = split(convolve(h, p.w_h[..., : 2 * size]), "rz")
        r, z = gate(zx["r"] + zh["r"]), gate(zx["z"] + zh["z"])
        n = act(zx["n"] + convolve(r * h, p.w_h[..., 2 * size :]))
        h = (1 - z) * n + z * h
        return {"h": h}, h, {"r": r, "z": z, "n": n}

    return oracle.OracleCell(step, oracle.zeros)


def softsign(z):
    return z / (1 + abs(z))


def hard_sigmoid(z):
    return (jnp if isinstance(z, jax.Array) else np).clip(z / 6 + 0.5, 0, 1)


MADE = {"conv_lstm": (conv_lstm, oracle_lstm), "conv_gru": (conv_gru, oracle_gru)}
each_cell = pytest.mark.parametrize("name", MADE)
CASES = {}
for name, (make, expected) in MADE.items():
    other = "activation" if make is conv_gru else "cell_activation"
    given = {"gate_activation": hard_sigmoid, other: softsign}
    CASES |= {
        f"{name}, 1-d": (make(C, (5,)), expected()),
        f"{name}, 2-d": (make(C, IMAGE), expected()),
        f"{name}, sizes": (make(C, IMAGE, (5, 1), state_kernel_size=(1, 3)), expected()),
        f"{name}, larger than the image": (make(C, (2, 1), 5, state_kernel_size=3), expected()),
        f"{name}, no bias": (make(C, IMAGE, use_bias=False), expected()),
        f"{name}, activations": (make(C, IMAGE, **given), expected(hard_sigmoid, softsign)),
    }
CASES["conv_gru, 3-d"] = conv_gru(C, (2, 3, 2)), oracle_gru()
CASES["conv_lstm, peepholes"] = conv_lstm(C, IMAGE, peepholes=True), oracle_lstm()


def shapes_of(cell, batch_shape=()):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), IN))
    return params, jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)


@x64
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.core] * name.endswith(", 2-d")) for name in CASES],
)
def test_one_step(name):
    """State, output and gates, with no batch axis and with two."""
    cell, expected = CASES[name]
    rng = registry.seed_of(name)
    params, state = registry.fill(rng, shapes_of(cell, (2, 1)))
    x = rng.normal(size=(2, 1, *cell.image_shape, IN))

    @jax.jit
    def run(params, state, x):
        x_proj, h_proj = cell.project_input(params, x), cell.project_state(params, state)
        gates = cell.gates(params, state, x_proj, h_proj)
        end, y = cell.step(params, state, x_proj)
        return end._asdict(), y, gates._asdict()

    rows = [
        expected.step(params, jax.tree.map(lambda leaf, r=r: leaf[r, 0], state)._asdict(), x[r, 0])
        for r in range(2)
    ]
    together = jax.tree.map(lambda *leaves: np.stack(leaves)[:, None], *rows)
    assert_close(run(params, state, x), together, 1e-13)
    alone = jax.tree.map(lambda leaf: leaf[0, 0], (state, x))
    assert_close(run(params, *alone), rows[0], 1e-13)


def network(name, image_shape=IMAGE, num_layers=2, **options):
    make = partial(conv_lstm, peepholes=True) if name == "conv_lstm" else conv_gru
    cell = make(C, image_shape, state_kernel_size=(1,) * len(image_shape))
    return drnn.deep_rnn(cell, num_layers, param_dtype=jnp.float64, **options)


def params_of(rnn, seed="params"):
    """Give parameters in float32, with none zero and nothing compiled."""
    return registry.fill(registry.seed_of(seed), registry.shapes_of(rnn, IN)[0], dtype=np.float32)


def draw_x(*shape):
    return registry.seed_of("x").normal(size=shape).astype(np.float32)


def data_for(rnn, seed, batch_shape=(B,), num_steps=T):
    rng = registry.seed_of(seed)
    params, state = registry.fill(rng, registry.shapes_of(rnn, IN, batch_shape))
    return params, rng.normal(size=(num_steps, *batch_shape, *rnn.plan.image_shape, IN)), state


def run_oracle(rnn, name, params, x, state, lengths, mask, resets):
    """Run the rows' real steps one by one; y, and the last states."""
    cells = [MADE[name][1]()] * len(rnn.plan.layers)
    both = rnn.plan.merge is not None
    made = registry.OracleNetwork(cells, both, lambda *ys: np.concatenate(ys, axis=-1), None, False)
    directions = oracle.directions_of(made)
    y = np.zeros((T, B, *IMAGE, rnn.plan.output_size))
    finals = jax.tree.map(np.copy, state)
    for b in range(B):
        starts = [
            [{k: v[(*d, b)] for k, v in layer._asdict().items()} for d in directions]
            for layer in state
        ]
        real = [t for t in range(T) if t < lengths[b] and mask[t, b]]
        walls = [resets[t, b] for t in real]
        row = oracle.run_row(made, params, [x[t, b] for t in real], starts, walls)
        for t, one in zip(real, row.y, strict=True):
            y[t, b] = one
        for layer, found in zip(finals, row.finals, strict=True):
            for d, one in zip(directions, found, strict=True):
                for field, value in one.items():
                    getattr(layer, field)[(*d, b)] = value
    return finals, y


EDGES = [
    ("conv_lstm", 2, ("layerwise", "wavefront")),
    ("conv_gru", 1, ("layerwise",)),
]


@x64
@pytest.mark.parametrize(("name", "num_layers", "others"), EDGES)
def test_lengths_masks_and_resets(name, num_layers, others):
    """Every edge: numbers against the oracle, gradients against the plain scan."""
    rnn = network(name, num_layers=num_layers, bidirectional=num_layers == 1, output_size=2)
    params, x, state = data_for(rnn, f"edges {name} {num_layers}")
    lengths, mask, resets = registry.every_edge()
    weights = registry.seed_of("weights").normal(size=(T, B, *IMAGE, 2))
    x[1, 1], x[0, 4] = np.nan, np.nan  # masked: it is never looked at

    def loss(params, x, state, schedule):
        flags = {"lengths": lengths, "mask": mask, "resets": resets}
        state, y = rnn.apply(params, x, state, schedule=schedule, **flags)
        total = jnp.sum(y * weights)
        return total + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state)), (state, y)

    def run(schedule):
        made = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
        return jax.jit(made, static_argnums=3)(params, x, state, schedule)

    gradients, found = run("reference")
    assert_close(found, run_oracle(rnn, name, params, x, state, lengths, mask, resets), 1e-12)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))
    for schedule in others:
        assert_close(run(schedule), (gradients, found), 1e-10)


@x64
@pytest.mark.parametrize(("name", "batch_shape"), [("conv_lstm", ()), ("conv_gru", (2, 1))])
def test_steps_and_chunks_are_the_whole(name, batch_shape):
    rnn = network(name, (3,), num_layers=1)
    params, x, state = data_for(rnn, name, batch_shape)
    whole = rnn.apply(params, x, state)
    now, ys = state, []
    for x_t in x:
        now, y_t = rnn.step(params, now, x_t)
        ys.append(y_t)
    assert_close((now, jnp.stack(ys)), whole, 1e-12)
    assert_close(drnn.truncated(rnn, params, x, state, chunk_size=4), whole, 1e-12)
    assert_close(rnn.apply(params, x, state, checkpoint_every=2), whole, 1e-12)
    begun = rnn.apply(params, x)
    assert_close(drnn.truncated(rnn, params, x, chunk_size=4), begun, 1e-12)
    assert_close(rnn.apply(params, x, rnn.initial_state(params, batch_shape)), begun, 1e-12)


def lifted(cell):
    return drnn.learned_initial_state(drnn.zoneout(drnn.layer_norm(cell), 0.3))


LSTMS = drnn.lstm(C), conv_lstm(C, IMAGE, 1)
GRUS = drnn.gru(C, reset_after=False), conv_gru(C, IMAGE, 1)
AROUND = {
    "modifiers": (*map(lifted, LSTMS), {}),
    "residual": (*LSTMS, {"skip": "residual", "normalize_inputs": True, "output_size": 2}),
    "highway-both": (*GRUS, {"skip": "highway", "bidirectional": True}),
    "dense": (*GRUS, {"skip": "dense"}),
}


@x64
@pytest.mark.parametrize("name", AROUND)
def test_of_one_pixel_a_kernel_is_a_matrix(name):
    """Kernels of size 1: the plain cell, with the image's axes as batch axes."""
    plain, images, options = AROUND[name]
    options = {"param_dtype": jnp.float64, **options}
    rnn, of_images = (drnn.deep_rnn(cell, 2, **options) for cell in (plain, images))
    params, state = registry.fill(registry.seed_of(name), registry.shapes_of(rnn, IN, (2, *IMAGE)))
    shapes = registry.shapes_of(of_images, IN, (2,))
    assert jax.tree.map(np.shape, shapes[1]) == jax.tree.map(np.shape, state)

    def over_pixels(shape, leaf):  # kernels get axes of size 1, a learned state the image's
        axes = (1,) * (len(shape.shape) - leaf.ndim)
        return np.broadcast_to(leaf.reshape(*leaf.shape[:-2], *axes, *leaf.shape[-2:]), shape.shape)

    spread = jax.tree.map(over_pixels, shapes[0], params)
    x = registry.seed_of("x").normal(size=(T, 2, *IMAGE, IN))
    resets = np.zeros((T, 2), bool)
    resets[3, 1] = True
    everywhere = np.broadcast_to(resets[:, :, None, None], (T, 2, *IMAGE))
    expected = rnn.apply(params, x, state, resets=everywhere)
    assert_close(of_images.apply(spread, x, state, resets=resets), expected, 1e-12)


@x64
def test_what_is_drawn_is_the_same_in_every_schedule():
    """Dropout of pixels and channels, and all that modifiers draw."""
    cell = drnn.variational_dropout(drnn.weight_drop(lifted(conv_gru(C, IMAGE)), 0.3), 0.3)
    assert cell.image_shape == IMAGE
    rnn = drnn.deep_rnn(cell, 2, dropout=0.4, param_dtype=jnp.float64)
    params, x, state = data_for(rnn, "drawn", (2,))

    @partial(jax.jit, static_argnames="schedule")
    def run(key, schedule):
        return rnn.apply(params, x, state, key=key, schedule=schedule)

    keys = jax.random.split(jax.random.key(1))
    expected, other = (run(key, "layerwise") for key in keys)
    assert_close(run(keys[0], "wavefront"), expected, 1e-10)
    assert np.max(abs(expected[1] - other[1])) > 1e-3


@pytest.mark.parametrize("locked", [False, True])
def test_dropout_drops_single_values_of_pixels(locked):
    copy = conv_lstm(C, IMAGE)._replace(
        update=lambda params, state, x_proj, h_proj: (state, jnp.ones_like(state.h))
    )
    read = conv_lstm(C, IMAGE, 1)._replace(
        project_input=lambda params, x: x,
        update=lambda params, state, x_proj, h_proj: (state, x_proj),
    )
    rnn = drnn.deep_rnn([copy, read], dropout=0.5, locked_dropout=locked)
    params = params_of(rnn)
    x = jnp.zeros((8, 50, *IMAGE, IN))
    y = np.asarray(rnn.apply(params, x, key=jax.random.key(0), schedule="layerwise")[1])
    assert set(np.unique(y)) == {0, 2}
    assert np.all(abs(y[0].mean(0) - 1) < 0.5)  # each pixel and channel by itself
    assert np.all(np.ptp(y, axis=0) == 0) if locked else np.all(np.ptp(y, axis=(0, 1)) == 2)


def test_the_convolution_of_the_input_and_each_gradient_are_outside_the_loop():
    rnn = drnn.deep_rnn(conv_lstm(C, IMAGE, 3, state_kernel_size=5))
    params = params_of(rnn)
    text = rnn.explain(params, jnp.ones((T, B, *IMAGE, IN)))
    before, rest = text.split("  each step\n", 1)
    loop, rest = rest.split("  kept", 1)
    backward, after = rest.split("  backward, each step\n")[1].split("  after the backward loop", 1)
    assert [part.count(" * ") for part in (before, loop, backward, after)] == [1, 1, 1, 3]
    of_x, of_h = "[5,3,4,2] * [3,3,2,12]", "[5,3,4,3] * [5,5,3,12]"
    assert f"for all steps at once\n    {of_x}" in before
    assert of_h in loop
    assert f"cotangents [5,3,4,2]: {of_x}" in after
    assert f"gradient [3,3,2,12]: {of_x}" in after
    assert f"gradient [5,5,3,12]: {of_h}" in after


@pytest.fixture
def keras():
    """Give Keras on JAX, or skip."""
    module = pytest.importorskip("keras")
    if module.backend.backend() != "jax":
        pytest.skip("Keras runs on another backend")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield module


@pytest.mark.parametrize("image_shape", [(5,), IMAGE])
def test_keras(keras, image_shape):
    """Its layers of one and two dimensions, their weights as they are."""
    kind = getattr(keras.layers, f"ConvLSTM{len(image_shape)}D")
    layer = kind(C, 3, padding="same", return_sequences=True, return_state=True)
    x = registry.seed_of("keras").normal(size=(2, T, *image_shape, IN)).astype(np.float32)
    layer.build(x.shape)
    weights = [registry.seed_of(w.path).normal(size=w.shape) / 2 for w in layer.weights]
    weights = [w.astype(np.float32) for w in weights]
    layer.set_weights(weights)
    y, h, c = layer(x)
    rnn = drnn.deep_rnn(conv_lstm(C, image_shape))
    params, (w_x, w_h, b) = params_of(rnn), weights
    cell = params.layers[0].cell._replace(w_x=w_x, w_h=w_h, b=b)
    params = params._replace(layers=(params.layers[0]._replace(cell=cell),))
    state, found = rnn.apply(params, x.swapaxes(0, 1))
    for ours, theirs in ((state[0].h, h), (state[0].c, c), (found.swapaxes(0, 1), y)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_flax():
    """`ConvLSTMCell`, which adds 1 to b_f itself, two steps."""
    nn = pytest.importorskip("flax.linen")
    theirs, x = nn.ConvLSTMCell(C, (3, 3)), draw_x(2, 2, *IMAGE, IN)
    carry = (np.zeros((2, *IMAGE, C), np.float32),) * 2
    shapes = jax.eval_shape(theirs.init, jax.random.key(0), carry, x[0])
    variables = registry.fill(registry.seed_of("flax"), shapes, dtype=np.float32)
    ih, hh = variables["params"]["ih"], variables["params"]["hh"]
    b = ih["bias"] + hh["bias"] + np.repeat(np.float32([0, 0, 1, 0]), C)
    # their gates are i, g, f, o
    order = np.arange(4 * C).reshape(4, C)[[0, 2, 1, 3]].reshape(-1)
    ours = conv_lstm(C, IMAGE)
    params, state = registry.fill(registry.seed_of("ours"), shapes_of(ours, (2,)), 0.0, np.float32)
    w_x, w_h, b = (w[..., order] for w in (ih["kernel"], hh["kernel"], b))
    params = params._replace(w_x=w_x, w_h=w_h, b=b)
    for x_t in x:
        carry, theirs_y = theirs.apply(variables, carry, x_t)
        state, y = ours.step(params, state, ours.project_input(params, x_t))
    np.testing.assert_allclose(y, theirs_y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.c, carry[0], rtol=1e-5, atol=1e-6)


def test_what_init_gives():
    """Orthonormal columns a gate, Glorot's bound with the kernel's pixels counted, b_f = 1."""
    cell = conv_lstm(4, (9, 9), (3, 5), state_kernel_size=3, peepholes=True)
    params = jax.jit(cell.init, static_argnums=1)(jax.random.key(0), IN)
    assert (params.w_x.shape, params.w_h.shape) == ((3, 5, IN, 16), (3, 3, 4, 16))
    for w in np.split(np.asarray(params.w_h).reshape(36, 16), 4, axis=-1):
        np.testing.assert_allclose(w.T @ w, np.eye(4), atol=1e-5)
    bound = np.sqrt(6 / (15 * (IN + 4)))
    assert 0.9 * bound < abs(params.w_x).max() <= bound
    np.testing.assert_array_equal(params.b, np.repeat([0, 1, 0, 0], 4))
    assert params.peepholes.o.shape == (9, 9, 4)
    assert 0.45 < abs(params.peepholes.o).max() <= 0.5
    made = conv_gru(4, (9,), update_bias=2.0, w_x_init=jax.nn.initializers.ones)
    params = jax.jit(made.init, static_argnums=1)(jax.random.key(0), IN)
    np.testing.assert_array_equal(params.b, np.repeat([0, 2, 0], 4))
    np.testing.assert_array_equal(params.w_x, np.ones((3, IN, 12)))
    assert shapes_of(conv_gru(4, (9,), use_bias=False))[0].b is None


def zeros_of(shapes):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def test_gru_by_hand():
    """z closed, r open: n_t reads both neighbours, and zero beyond the ends."""
    cell = conv_gru(1, (3,))
    params = zeros_of(jax.eval_shape(lambda: cell.init(jax.random.key(0), 1)))
    params = params._replace(
        w_h=params.w_h.at[:, 0, 2].set(jnp.array([1.0, 10.0, 100.0]) / 1000),
        b=jnp.array([100.0, -100.0, 0.0]),
    )
    state = cell.initial_state(params, ())._replace(h=jnp.array([[1.0], [2.0], [3.0]]))
    _, y = cell.step(params, state, cell.project_input(params, jnp.zeros((3, 1))))
    np.testing.assert_allclose(y[:, 0], np.tanh([0.210, 0.321, 0.032]), rtol=1e-6)


def test_lstm_by_hand():
    """Gates at 1/2 but f at σ(1); one pixel of x reaches its neighbours' g."""
    cell = conv_lstm(1, (3,))
    params = zeros_of(jax.eval_shape(lambda: cell.init(jax.random.key(0), 1)))
    params = params._replace(
        w_x=params.w_x.at[:, 0, 2].set(jnp.array([1.0, 2.0, 3.0])),
        b=jnp.array([0.0, 1.0, 0.0, 0.0]),
    )
    state = cell.initial_state(params, ())._replace(c=jnp.full((3, 1), 3.0))
    x = jnp.array([[0.0], [0.5], [0.0]])
    end, y = cell.step(params, state, cell.project_input(params, x))
    c = 3 / (1 + np.exp(-1)) + np.tanh([1.5, 1.0, 0.5]) / 2
    np.testing.assert_allclose(end.c[:, 0], c, rtol=1e-6)
    np.testing.assert_allclose(y[:, 0], np.tanh(c) / 2, rtol=1e-6)


def test_narrow_products():
    """bfloat16 operands: sums and states stay float32, and errors those of rounding."""
    cell = conv_gru(C, IMAGE)
    rnn, narrow = drnn.deep_rnn(cell, 2), drnn.deep_rnn(cell, 2, compute_dtype=jnp.bfloat16)
    params, x = params_of(rnn), draw_x(20, 2, *IMAGE, IN)

    def loss(params, rnn):
        state_after, y = rnn.apply(params, x)
        return jnp.mean(y.astype(jnp.float32) ** 2), (state_after, y)

    run = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    (exact, (_, y)), (found, (after, y_narrow)) = run(params, rnn), run(params, narrow)
    assert y_narrow.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((after, found))} == {jnp.dtype(jnp.float32)}
    assert np.linalg.norm(y_narrow.astype(jnp.float32) - y) < 0.03 * np.linalg.norm(y)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        assert np.linalg.norm(a - b) < 0.05 * np.linalg.norm(b)


@each_cell
def test_nothing_of_an_old_episode_gets_through_a_reset(name):
    """NaN in x before it, or in the first state: none after it, nor in the gradients."""
    rnn = drnn.deep_rnn(MADE[name][0](C, IMAGE))
    params, x = params_of(rnn), np.ones((T, 2, *IMAGE, IN), np.float32)
    state = registry.fill(registry.seed_of(name), registry.shapes_of(rnn, IN, (2,))[1], np.nan)
    resets = np.zeros((T, 2), bool)
    resets[[0, 3]] = True

    @partial(jax.grad, argnums=(0, 1), has_aux=True)
    def run(params, x):
        y = rnn.apply(params, x, jax.tree.map(jnp.float32, state), resets=resets)[1]
        return jnp.sum(y[3:]), y

    (d_params, d_x), y = run(params, x)
    for leaf in jax.tree.leaves((d_params, d_x[3:], y)):
        assert np.all(np.isfinite(leaf))
        assert np.any(leaf)
    assert not np.any(d_x[:3])
    x[:3, 1] = np.nan
    (_, again), y_again = run(params, x)
    assert np.all(np.isnan(y_again[:3, 1]))
    np.testing.assert_array_equal(y_again[3:], y[3:])
    np.testing.assert_array_equal(again[3:], d_x[3:])


@each_cell
def test_ten_thousand_steps(name):
    rnn = drnn.deep_rnn(MADE[name][0](2, (2,)))
    params, x = params_of(rnn), draw_x(10_000, 1, 2, IN)
    run = jax.jit(jax.value_and_grad(lambda p: jnp.mean(rnn.apply(p, x)[1] ** 2)))
    for leaf in jax.tree.leaves(run(params)):
        assert np.all(np.isfinite(leaf))
        assert np.any(leaf)


@each_cell
def test_cells_made_alike_are_equal_and_pickle(name):
    make = MADE[name][0]
    assert make(C, IMAGE) == make(C, IMAGE) != make(C, (4, 3))
    rnn = drnn.deep_rnn(make(C, IMAGE), 2)
    assert pickle.loads(pickle.dumps(rnn)) == rnn
    params = params_of(rnn)
    again = rnn.from_dict(rnn.to_dict(params), IN)
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_export_for_any_length_and_batch():
    rnn = drnn.deep_rnn(conv_lstm(C, IMAGE))
    params = params_of(rnn)
    t, b = export.symbolic_shape("t, b")
    shape = jax.ShapeDtypeStruct((t, b, *IMAGE, IN), jnp.float32)
    program = export.export(jax.jit(rnn.apply))(params, shape)
    x = draw_x(T, B, *IMAGE, IN)
    assert_close(program.call(params, x), rnn.apply(params, x), 1e-5)


def test_layers_held_stacked():
    cell = conv_lstm(C, (3,))
    apart, stacked = (drnn.deep_rnn(cell, 3, stack_layers=held) for held in (False, True))
    params, x = params_of(apart), draw_x(T, 2, 3, IN)
    expected = apart.apply(params, x)
    held = params._replace(layers=stacked.stack(params.layers))
    state, y = stacked.apply(held, x, schedule="pipeline")
    assert_close((stacked.unstack(state), y), expected, 1e-5)


def test_explicit_mesh():
    """What comes out lies along the batch axis as x does; of an image's axes, along none."""
    rnn = drnn.deep_rnn(conv_lstm(C, IMAGE))
    params, x = params_of(rnn), draw_x(T, B, *IMAGE, IN)
    lengths, mask, resets = registry.every_edge()
    expected = rnn.apply(params, x, lengths=lengths, mask=mask, resets=resets)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    spec = drnn.partition_specs(rnn, params, batch="data", mesh=mesh).x
    assert len(spec) == x.ndim
    with jax.set_mesh(mesh):
        placed = jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
        flags = {"mask": mask & (np.arange(T)[:, None] < lengths), "resets": resets}
        flags = {name: jax.device_put(one, jax.P(None, "data")) for name, one in flags.items()}
        state, y = jax.jit(rnn.apply)(params, placed, **flags)
        chunks = drnn.truncated(rnn, params, placed, chunk_size=4, **flags)
    for found in ((state, y), chunks):
        assert tuple(jax.typeof(found[1]).sharding.spec)[:2] == (None, "data")
        assert_close(jax.tree.map(np.asarray, found), jax.tree.map(np.asarray, expected), 1e-5)


def test_in_flax_modules():
    """Batch-major images, lengths, the reverse direction; and an agent's rollout."""
    unflatten_dict = pytest.importorskip("flax.traverse_util").unflatten_dict
    from deeprnn_jax.interop import linen

    rnn = drnn.deep_rnn(conv_gru(C, IMAGE))
    params, x = params_of(rnn), draw_x(B, T, *IMAGE, IN)
    model = linen.DeepRNN(rnn)
    variables = {"params": {"network": unflatten_dict(rnn.to_dict(params), sep="/")}}
    lengths, mask, resets = registry.every_edge()
    flags = {"mask": mask.T, "resets": resets.T}
    y = model.apply(variables, x, seq_lengths=lengths, **flags)
    expected = rnn.apply(params, x.swapaxes(0, 1), lengths=lengths, mask=mask, resets=resets)[1]
    np.testing.assert_allclose(y.swapaxes(0, 1), expected, atol=1e-6)
    turned = model.apply(variables, x[:, ::-1], reverse=True, keep_order=True)
    np.testing.assert_allclose(
        turned[:, ::-1].swapaxes(0, 1), rnn.apply(params, x.swapaxes(0, 1))[1], atol=1e-6
    )
    carry = model.initialize_carry(jax.random.key(0), (B, *IMAGE, IN))
    carry, _ = model.apply(variables, carry, x[:, 0], method="step")
    assert carry[0].h.shape == (B, *IMAGE, C)
    with pytest.raises(ValueError, match=r"input_shape must be \(\*B, 3, 4, F\), got \(5, 2\)"):
        model.initialize_carry(jax.random.key(0), (B, IN))
    agent = linen.ScannedRNN(rnn)
    carry = agent.initialize_carry(B, C)
    _, seen = agent.apply(variables, carry, (x.swapaxes(0, 1), resets))
    np.testing.assert_allclose(
        seen, rnn.apply(params, x.swapaxes(0, 1), resets=resets)[1], atol=1e-6
    )


def test_other_cells_take_axes_for_batch_axes_as_before():
    rnn = drnn.deep_rnn(drnn.lstm(C))
    params = params_of(rnn)
    state, y = rnn.apply(params, jnp.ones((T, B, *IMAGE, IN)), lengths=jnp.full((B, *IMAGE), 2))
    assert (y.shape, state[0].h.shape) == ((T, B, *IMAGE, C), (B, *IMAGE, C))
    assert rnn.plan.image_shape == ()


def test_a_cell_of_ones_own():
    """`step_cell` with an image_shape; without one, its axes would be the batch's."""
    cell = drnn.step_cell(
        lambda key, input_size: jnp.ones((input_size,)),
        lambda w, batch_shape: LeakyState(jnp.zeros((*batch_shape, *IMAGE, IN))),
        lambda w, state, x: (LeakyState(h := (state.h + x) / 2), h),
        IN,
        output="h",
        image_shape=IMAGE,
    )
    rnn = drnn.deep_rnn(cell, 2)
    y = rnn.apply(rnn.init(jax.random.key(0), IN), jnp.ones((T, B, *IMAGE, IN)))[1]
    np.testing.assert_allclose(y[0], 0.25)


RNN = drnn.deep_rnn(conv_lstm(C, IMAGE), 2)
X = np.ones((T, B, *IMAGE, IN), np.float32)
REFUSED = {
    "conv_lstm: channels must be an int": lambda p: conv_lstm(0, IMAGE),
    "conv_lstm: image_shape must be a tuple of 1 to 3 ints of 1 or more, got [3, 4]; for example "
    "(height, width)": lambda p: conv_lstm(C, [3, 4]),
    "conv_gru: image_shape must be a tuple of 1 to 3 ints of 1 or more, got 8": lambda p: conv_gru(
        C, 8
    ),
    "conv_gru: image_shape must be a tuple of 1 to 3 ints of 1 or more, got ()": lambda p: conv_gru(
        C, ()
    ),
    "image_shape must be a tuple of 1 to 3 ints of 1 or more, got (3, 0)": lambda p: conv_gru(
        C, (3, 0)
    ),
    "conv_lstm: kernel_size must be an odd int of 1 or more, or a tuple of them, got 4; an even "
    "kernel has no middle": lambda p: conv_lstm(C, IMAGE, 4),
    "conv_lstm: state_kernel_size must be an odd int of 1 or more, or a tuple of them, got (3, "
    "2)": lambda p: conv_lstm(C, IMAGE, state_kernel_size=(3, 2)),
    "conv_gru: kernel_size must have one size for each axis of image_shape=(3, 4), got (3,); one "
    "int is for all": lambda p: conv_gru(C, IMAGE, (3,)),
    "conv_gru: state_kernel_size must have one size for each axis": lambda p: conv_gru(
        C, IMAGE, state_kernel_size=(3, 3, 3)
    ),
    "deep_rnn: all cells must be of one image_shape, for they read what those below give, got "
    "[(3, 4), (4, 3)]; use a network for each": lambda p: drnn.deep_rnn(
        [conv_lstm(C, (3, 4)), conv_lstm(C, (4, 3))]
    ),
    "deep_rnn: all cells must be of one image_shape, for they read what those below give, got "
    "[(3, 4), ()]": lambda p: drnn.deep_rnn([conv_lstm(C, IMAGE), drnn.lstm(C)]),
    "apply: x must be [T, *B, 3, 4, I], got shape (6, 5, 4, 3, 2)": lambda p: RNN.apply(
        p, X.swapaxes(2, 3)
    ),
    "apply: x must be [T, *B, 3, 4, I], got shape (3, 4, 2); use step": lambda p: RNN.apply(
        p, X[0, 0]
    ),
    "inspect: x must be [T, *B, 3, 4, I], got shape (6, 5, 2)": lambda p: RNN.inspect(
        p, X[:, :, 0, 0]
    ),
    "truncated: x must be [T, *B, 3, 4, I], got shape (6, 5, 2)": lambda p: drnn.truncated(
        RNN, p, X[:, :, 0, 0], chunk_size=2
    ),
    "step: x_t must be [*B, 3, 4, I], got shape (5, 2)": lambda p: RNN.step(
        p, RNN.initial_state(p, B), X[0, :, 0, 0]
    ),
    "apply: lengths must be [*B] = (5,), the batch axes of x, got (5, 3, 4)": lambda p: RNN.apply(
        p, X, lengths=np.ones((B, *IMAGE), int)
    ),
    "apply: mask must be [T, *B] = (6, 5), got (6, 5, 3, 4)": lambda p: RNN.apply(
        p, X, mask=np.ones(X.shape[:-1], bool)
    ),
    "apply: resets must be [T, *B] = (6, 5), got (5, 6)": lambda p: RNN.apply(
        p, X, resets=np.ones((B, T), bool)
    ),
    "apply: state is not of this network and batch: state[0].h must be of shape (5, 3, 4, 3), got "
    "(1, 3, 4, 3)": lambda p: RNN.apply(p, X, RNN.initial_state(p, 1)),
    "apply: x must end in I=2 features": lambda p: RNN.apply(p, np.ones((T, B, *IMAGE, 5), "f4")),
    "y must be [*B, *image_shape, output_size] = (5, 3, 4, 3), got (5, 3, 4, 12)": lambda p: (
        drnn.deep_rnn(
            conv_lstm(C, IMAGE)._replace(update=lambda p, s, x_proj, h_proj: (s, x_proj)), 2
        ).apply(p, X)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_input(message):
    params = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), registry.shapes_of(RNN, IN)[0]
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        REFUSED[message](params)

"""What people write with `lax.scan`, whole: results and derivatives as those of `lax.scan`."""

from functools import partial
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax
from jax.scipy.linalg import expm

from deeprnn_jax.recurrence import scan
from tests import registry
from tests.comparing import assert_close
from tests.recurrence.scans import Scan, draw_weights

pytestmark = pytest.mark.usefixtures("x64")
T, B, I, H = 4, 2, 3, 4  # noqa: E741
KEY = jax.random.key(7)

# Each function takes a scan, parameters and inputs; the shapes of both stand beside it.
IDIOMS = {}


def idiom(params, x=(T, B, I)):
    """Note a function down, by its name, with its shapes."""

    def noted(run):
        IDIOMS[run.__name__.replace("_", " ")] = run, (params, x)
        return run

    return noted


def lstm_step(p, state, x):
    h, c = state
    i, f, g, o = jnp.split(x @ p["x"] + h @ p["h"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru_step(p, h, x):
    r, z = jnp.split(jax.nn.sigmoid(x @ p["x"] + h @ p["h"]), 2, axis=-1)
    n = jnp.tanh(x @ p["n"] + (r * h) @ p["m"])
    return (1 - z) * n + z * h


LSTM = {"x": (I, 4 * H), "h": (H, 4 * H)}
GRU = {"x": (I, 2 * H), "h": (H, 2 * H), "n": (I, H), "m": (H, H)}
ATTENTION = {
    "layers": [{"x": (I + H, 4 * H), "h": (H, 4 * H)}, {"x": (H, 4 * H), "h": (H, 4 * H)}],
    "keys": (H, H),
    "query": (H, H),
    "score": (H,),
    "out": (2 * H, H),
}
MEMORY = ((T, B, I), (B, 5, H))


def decode(scan, p, inputs, score):
    """Decode by two LSTM layers that attend to a memory, and are fed what they attended to."""
    x, memory = inputs
    keys = memory @ p["keys"]
    zeros = jnp.zeros((B, H))

    def step(carry, x_t):
        states, context = carry
        below, new = jnp.concatenate([x_t, context], -1), []
        for layer, state in zip(p["layers"], states, strict=True):
            new.append(lstm_step(layer, state, below))
            below = new[-1][0]
        weights = jax.nn.softmax(score(p, below, keys))
        context = jnp.einsum("bs,bsh->bh", weights, memory)
        context = jnp.tanh(jnp.concatenate([below, context], -1) @ p["out"])
        return (new, context), (context, weights)

    return scan(step, ([(zeros, zeros)] * 2, zeros), x)


@idiom(ATTENTION, MEMORY)
def attention_of_luong(scan, p, x):
    return decode(scan, p, x, lambda p, h, keys: jnp.einsum("bh,bsh->bs", h @ p["query"], keys))


@idiom(ATTENTION, MEMORY)
def attention_of_bahdanau(scan, p, x):
    def score(p, h, keys):
        return jnp.tanh(keys + (h @ p["query"])[:, None]) @ p["score"]

    return decode(scan, p, x, score)


@idiom({"gru": GRU, "policy": (H, I), "world": (I, I)}, (B, I))
def agent(scan, p, x):
    """Sample actions, count steps and take the world with it."""

    def step(carry, _):
        key, count, h, x = carry
        key, now = jax.random.split(key)
        h = gru_step(p["gru"], h, x)
        logits = h @ p["policy"]
        action = jax.random.categorical(now, logits)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)
        x = jnp.tanh(x @ p["world"]) + jax.nn.one_hot(action, I, dtype=x.dtype)
        x = jnp.where(count % 2 == 0, x, -x)
        return (key, count + 1, h, x), (action, chosen, x)

    (key, *rest), ys = scan(step, (KEY, jnp.int32(0), jnp.zeros((B, H)), x), None, T)
    return jax.random.key_data(key), rest, ys


@idiom(GRU)
def gru_with_resets(scan, p, x):
    resets = jnp.array([[False, True], [False, False], [True, False], [False, True]])

    def step(h, inputs):
        x_t, reset = inputs
        h = gru_step(p, jnp.where(reset[:, None], 0.0, h), x_t)
        return h, h

    return scan(step, jnp.zeros((B, H)), (x, resets))


@idiom({"x": (3, H, H), "h": (3, H, H)}, (T, B, H))
def chunks_within_layers(scan, p, x):
    """Scan over layers, in each over chunks, in each over steps."""

    def layer(x, w):
        def step(h, x_t):
            h = jnp.tanh(x_t @ w["x"] + h @ w["h"])
            return h, h

        def chunk(h, x):
            return scan(step, h, x)

        h, y = scan(jax.checkpoint(chunk), jnp.zeros((B, H)), x.reshape(2, T // 2, B, H))
        return y.reshape(T, B, H), h

    return scan(layer, x, p)


@idiom({"x": (3, 3, I, 4 * H), "h": (3, 3, H, 4 * H)}, (T, B, 4, 4, I))
def convolutional_lstm(scan, p, x):
    def convolve(x, w):
        return lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def step(state, x_t):
        h, c = state
        gates = convolve(x_t, p["x"]) + convolve(h, p["h"])
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((*x.shape[1:-1], H))
    return scan(step, (zeros, zeros), x)


def surrogate(v):
    return 1 / (1 + 5 * jnp.abs(v)) ** 2


@jax.custom_vjp
def spike_vjp(v):
    return (v > 0).astype(v.dtype)


spike_vjp.defvjp(lambda v: (spike_vjp(v), v), lambda v, g: (g * surrogate(v),))


@jax.custom_jvp
def spike_jvp(v):
    return (v > 0).astype(v.dtype)


spike_jvp.defjvp(lambda primals, tangents: (spike_jvp(*primals), surrogate(*primals) * tangents[0]))


def leaky_integrate_and_fire(spike, scan, p, x):
    def step(carry, x_t):
        v, s = carry
        v = jax.nn.sigmoid(p["decay"])[None] * v * (1 - s) + x_t @ p["x"] + s @ p["h"]
        s = spike(v - 0.1)
        return (v, s), (s, v)

    return scan(step, (jnp.zeros((B, H)), jnp.zeros((B, H))), x)


@idiom({"x": (I, H), "h": (H, H), "decay": (H,)})
def spikes_by_custom_vjp(scan, p, x):
    return leaky_integrate_and_fire(spike_vjp, scan, p, x)


@idiom({"x": (I, H), "h": (H, H), "decay": (H,)})
def spikes_by_custom_jvp(scan, p, x):
    return leaky_integrate_and_fire(spike_jvp, scan, p, x)


@idiom({"a": (2, 2), "b": (2, 2)}, (T, B, 2))
def matrix_exponential(scan, p, x):
    def step(h, x_t):
        h = jnp.tanh(h @ expm(p["a"] * jnp.mean(x_t)) + x_t @ p["b"])
        return h, h

    return scan(step, jnp.zeros((B, 2)), x)


@idiom({"x": (I, H), "h": (H, H), "other": (H, H)})
def cond_within(scan, p, x):
    def step(h, inputs):
        t, x_t = inputs
        h = lax.cond(
            t % 2 == 0,
            lambda h: jnp.tanh(x_t @ p["x"] + h @ p["h"]),
            lambda h: h * jnp.cos(h @ p["other"]),
            h,
        )
        return h, h

    return scan(step, jnp.zeros((B, H)), (jnp.arange(T), x))


@idiom({"a": (I, I), "c": (2, I), "q": (I, I), "r": (2, 2)}, (T, 2))
def kalman_filter(scan, p, x):
    """Give means and log-likelihoods, by a Cholesky decomposition a step."""
    q = p["q"] @ p["q"].T + jnp.eye(I)
    r = p["r"] @ p["r"].T + jnp.eye(2)

    def step(carry, y):
        mean, cov = carry
        mean, cov = p["a"] @ mean, p["a"] @ cov @ p["a"].T + q
        innovation = y - p["c"] @ mean
        s = p["c"] @ cov @ p["c"].T + r
        gain = jnp.linalg.solve(s, p["c"] @ cov).T
        lower = jnp.linalg.cholesky(s)
        white = jax.scipy.linalg.solve_triangular(lower, innovation, lower=True)
        likelihood = -0.5 * white @ white - jnp.sum(jnp.log(jnp.diag(lower)))
        mean, cov = mean + gain @ innovation, cov - gain @ p["c"] @ cov
        return (mean, cov), (mean, likelihood)

    return scan(step, (jnp.zeros(I), jnp.eye(I)), x)


@idiom({"x": (I, H), "in": (H, H), "out": (H, H)})
def neural_ode(scan, p, x):
    """Take a step of Runge and Kutta's for each of x."""

    def slope(h, x_t):
        return jnp.tanh(h @ p["in"] + x_t @ p["x"]) @ p["out"]

    def step(h, x_t):
        a = slope(h, x_t)
        b = slope(h + 0.05 * a, x_t)
        c = slope(h + 0.05 * b, x_t)
        d = slope(h + 0.1 * c, x_t)
        h = h + 0.1 / 6 * (a + 2 * b + 2 * c + d)
        return h, h

    return scan(step, jnp.zeros((B, H)), x)


@idiom({"embed": (I, H), "gru": GRU | {"x": (H, 2 * H), "n": (H, H)}, "out": (H, I)}, (B, I))
def sampling_decoder(scan, p, x):
    """Feed back what was drawn with Gumbel noise, softly, so that it has a gradient."""

    def step(carry, key):
        h, token = carry
        h = gru_step(p["gru"], h, token @ p["embed"])
        logits = h @ p["out"] + jax.random.gumbel(key, (B, I), x.dtype)
        return (h, jax.nn.softmax(logits)), (jnp.argmax(logits, -1), logits)

    return scan(step, (jnp.zeros((B, H)), jax.nn.softmax(x)), jax.random.split(KEY, T))


@idiom({"x": (I, H), "h": (H, H)})
def fast_weights(scan, p, x):
    """Carry a matrix that each step adds an outer product to."""

    def step(carry, x_t):
        h, a = carry
        a = 0.9 * a + 0.5 * jnp.einsum("bh,bk->bhk", h, h)
        h = jnp.tanh(x_t @ p["x"] + h @ p["h"] + jnp.einsum("bh,bhk->bk", h, a))
        return (h, a), h

    return scan(step, (jnp.zeros((B, H)), jnp.zeros((B, H, H))), x)


@idiom({"x": (I, H), "h": (H, H), "write": (H, H)})
def memory_of_slots(scan, p, x):
    """Write to a slot by index and read by attention."""

    def step(carry, inputs):
        h, memory = carry
        t, x_t = inputs
        memory = memory.at[t % 3].set(h @ p["write"])
        weights = jax.nn.softmax(jnp.einsum("bh,sbh->bs", h, memory))
        read = jnp.einsum("bs,sbh->bh", weights, memory)
        h = jnp.tanh(x_t @ p["x"] + read @ p["h"])
        return (h, memory), h

    return scan(step, (jnp.ones((B, H)), jnp.zeros((3, B, H))), (jnp.arange(T), x))


def loop(f, init, xs):
    """Do what a scan does, in Python."""
    carry, ys = init, []
    for t in range(T):
        carry, y = f(carry, jax.tree.map(lambda leaf, t=t: leaf[t], xs))
        ys.append(y)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *ys)


# The second derivative by `lax.scan` lacks the rule of a `custom_jvp` function where the first
# one reads the function's result (jax 0.10.2); the same steps in a loop of Python's have it.
NOT_OF_LAX = ("spikes by custom jvp",)


# Here and there the second derivative is all of JAX's own: of a solver, of a sampler, and of
# an attention that differs from the other in its scores.
OF_FIRST_ORDER = ("matrix exponential", "kalman filter", "agent", "attention of luong")


def is_shape(node):
    return isinstance(node, tuple) and all(isinstance(size, int) for size in node)


def draw(name):
    """Give an idiom's operands, a direction, and weights of its outputs."""
    run, shapes = IDIOMS[name]
    rng = registry.seed_of(f"idiom {name}")
    shapes = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, np.float64), shapes, is_leaf=is_shape
    )
    point, direction = registry.fill(rng, shapes), registry.fill(rng, shapes, scale=1.0)
    return point, direction, draw_weights(rng, partial(run, lax.scan), *point)


@pytest.mark.parametrize("name", IDIOMS)
def test_idiom(name):
    """Outputs, gradient, and of most H·d by reverse over reverse."""
    point, direction, weights = draw(name)

    def by(one):
        given = Scan(partial(IDIOMS[name][0], one), weights, apart=one is scan)

        def run(point, direction):
            if name in OF_FIRST_ORDER:
                return given.first_order(point)
            return given.first_order(point), given.reverse_over_reverse(point, direction)

        return jax.jit(run)(point, direction)

    assert_close(by(scan), by(loop if name in NOT_OF_LAX else lax.scan))


@pytest.mark.parametrize("mode", ["forward", "jvp", "jvp, vmapped"])
def test_while_loop_within(mode):
    """Iterate to a fixed point at each step; it has no reverse mode, in either scan."""
    rng = registry.seed_of("while")
    w, x = rng.normal(size=(H, H)) / 4, rng.normal(size=(T, B, H))

    def run(scan, w, x):
        def step(h, x_t):
            def body(carry):
                return carry[0] + 1, jnp.tanh(carry[1] @ w + x_t)

            count, h = lax.while_loop(
                lambda c: (c[0] < 9) & (jnp.sum(c[1] ** 2) < 2.0), body, (0, h)
            )
            return h, (count, h)

        return scan(step, jnp.zeros((B, H)), x)

    def by(scan):
        one = partial(run, scan)
        if mode == "forward":
            return jax.jit(one)(w, x)
        if mode == "jvp":
            return jax.jit(lambda w, x: jax.jvp(one, (w, x), (w, x))[1][1][1])(w, x)
        many = jnp.stack([x, x / 2])
        return jax.vmap(lambda x: jax.jvp(lambda w: one(w, x), (w,), (w,))[1][0])(many)

    assert_close(by(scan), by(lax.scan))
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(lambda w: jnp.sum(run(scan, w, x)[0]))(w)


def test_equinox_under_vmap():
    """A cell of one row, a batch by vmap, and the module's gradient."""
    eqx = pytest.importorskip("equinox", reason="equinox is not installed")
    cell = eqx.nn.GRUCell(I, H, key=KEY, dtype=jnp.float64)
    x = jnp.asarray(registry.seed_of("equinox").normal(size=(B, T, I)))

    def by(scan):
        def run(cell, x):
            def step(h, x_t):
                h = cell(x_t, h)
                return h, h

            return scan(step, jnp.zeros(H), x)[1]

        @eqx.filter_jit
        @eqx.filter_value_and_grad
        def loss(cell, x):
            return jnp.sum(jnp.sin(jax.vmap(run, (None, 0))(cell, x)))

        value, grads = loss(cell, x)
        return value, jax.tree.leaves(grads)

    assert_close(by(scan), by(lax.scan))


# Two of each library: interop's tests have all cells, by the same loop.
@pytest.mark.parametrize("cell", [linen.OptimizedLSTMCell, linen.MGUCell])
def test_flax_linen(cell):
    """`linen.RNN` with `lax.scan` patched, backwards and with lengths."""
    x = jnp.asarray(registry.seed_of("linen").normal(size=(B, T, I)))
    layer = linen.RNN(
        cell(H, dtype=jnp.float64, param_dtype=jnp.float64), reverse=True, keep_order=True
    )
    lengths = jnp.array([T, 2])

    def by(scan):
        with mock.patch.object(jax.lax, "scan", scan):

            def loss(params):
                return jnp.sum(jnp.sin(layer.apply(params, x, seq_lengths=lengths)))

            @jax.jit
            def run():
                return jax.value_and_grad(loss)(layer.init(jax.random.key(0), x))

            return run()

    assert_close(by(scan), by(lax.scan))


@pytest.mark.parametrize("cell", [nnx.LSTMCell, nnx.GRUCell])
def test_flax_nnx(cell):
    """`nnx.RNN` with `lax.scan` patched."""
    x = jnp.asarray(registry.seed_of("nnx").normal(size=(B, T, I)))

    def by(scan):
        with mock.patch.object(jax.lax, "scan", scan):
            layer = nnx.RNN(
                cell(I, H, dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
            )
            train = nnx.jit(nnx.value_and_grad(lambda layer: jnp.sum(jnp.sin(layer(x)))))
            return jax.tree.leaves(train(layer))

    assert_close(by(scan), by(lax.scan))

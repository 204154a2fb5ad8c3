"""The diagonal linear cells in a network: equations, flags, chunks, precision, traps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.cells.lru import lru
from deeprnn_jax.cells.rg_lru import rg_lru
from deeprnn_jax.cells.s5 import s5
from tests import oracle, oracle_linear, registry
from tests.comparing import assert_close
from tests.registry import IN, B, H, T

x64 = pytest.mark.usefixtures("x64")

# cell, oracle, width of x
CASES = {
    "lru": (lru(H), oracle_linear.lru(), IN),
    "lru, wide state, D of units": (lru(H, state_size=6), oracle_linear.lru(), H),
    "s5": (s5(H, state_size=6), oracle_linear.s5(), IN),
    "s5, blocks, D of units": (s5(H, state_size=8, blocks=2), oracle_linear.s5(), H),
    "s5, not clipped": (s5(H, clip=False), oracle_linear.s5(clip=False), IN),
    "rg_lru": (rg_lru(H), oracle_linear.rg_lru(), IN),
    "rg_lru, heads, no W_x": (rg_lru(H, 2), oracle_linear.rg_lru(), H),
}
ONE_EACH = ("lru", "s5", "rg_lru, heads, no W_x")


def shapes_of(cell, input_size, batch_shape=()):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    return params, jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)


def draw(name, batch_shape=(), dtype=np.float64):
    """Draw the parameters of a case's cell, a state and an input."""
    cell, _, input_size = CASES[name]
    rng = registry.seed_of(name)
    params, state = registry.fill(rng, shapes_of(cell, input_size, batch_shape), dtype=dtype)
    return params, state, rng.normal(size=(*batch_shape, input_size)).astype(dtype)


def network(name, time_steps=T, dtype=jnp.float64, batch_shape=(B,), **options):
    """Make a one-layer network of a case, with its parameters, an input and a state."""
    cell, _, input_size = CASES[name]
    rnn = drnn.deep_rnn(cell, param_dtype=dtype, **options)
    rng = registry.seed_of(f"{name}{options}")
    params, state = registry.fill(
        rng, registry.shapes_of(rnn, input_size, batch_shape), dtype=np.dtype(dtype)
    )
    return rnn, params, rng.normal(size=(time_steps, *batch_shape, input_size)).astype(dtype), state


@x64
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.core] * (name in ONE_EACH)) for name in CASES]
)
def test_one_step(name):
    cell, expected, _ = CASES[name]
    params, state, x = draw(name)

    @jax.jit
    def run(params, state, x):
        gates = {} if cell.gates is None else cell.gates(params, state, x, None)._asdict()
        after, y = cell.step(params, state, x)
        return after._asdict(), y, gates

    assert_close(run(params, state, x), expected.step(params, state._asdict(), x), 1e-13)


@x64
@pytest.mark.parametrize("name", CASES)
def test_begins_with_zeros(name):
    cell = CASES[name][0]
    params, state, _ = draw(name)
    start = cell.initial_state(params, (2, 3))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(start))
    assert jax.tree.map(np.shape, start) == jax.tree.map(lambda leaf: (2, 3, *leaf.shape), state)


@x64
@pytest.mark.parametrize("name", ["lru", "rg_lru, heads, no W_x"])
def test_schedules_agree_under_every_flag(name):
    """With the oracle, and with each other: values and all gradients."""
    rnn, params, x, state = network(name)
    lengths, mask, resets = registry.every_edge()
    flags = {"lengths": lengths, "mask": mask, "resets": resets}
    rng = registry.seed_of("weights")

    def run(schedule):
        def loss(params, x, state):
            end, y = rnn.apply(params, x, state, schedule=schedule, **flags)
            leaves = jax.tree.leaves((end, y))
            drawn = registry.fill(rng, leaves, 1.0)
            return sum(map(jnp.vdot, drawn, leaves)), (end, y)

        rng.bit_generator.state = start
        grads, found = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(params, x, state)
        return found, grads

    start = rng.bit_generator.state
    reference = run("reference")
    assert_close(run("layerwise"), reference)
    plain = registry.OracleNetwork([CASES[name][1]], False, registry.MERGES["concat"], None, False)
    expected = oracle.run(plain, params, x, state, lengths, mask, resets)
    (end, y), _ = reference
    assert_close((y, [one._asdict() for one in end]), (expected.y, expected.finals), 1e-12)


@x64
def test_steps_and_chunks_are_the_whole():
    rnn, params, x, state = network("lru")
    resets = registry.every_edge()[2]
    run = jax.jit(lambda x, state, resets: rnn.apply(params, x, state, resets=resets))
    whole = run(x, state, resets)
    middle, first = run(x[: T // 2], state, resets[: T // 2])
    end, second = run(x[T // 2 :], middle, resets[T // 2 :])
    assert_close((end, jnp.concatenate([first, second])), whole, 1e-12)
    end, ys = state, []
    step = jax.jit(lambda state, x: rnn.step(params, state, x))
    for x_t in x:
        end, y = step(end, x_t)
        ys.append(y)
    assert_close((end, jnp.stack(ys)), run(x, state, np.zeros_like(resets)), 1e-12)


@x64
@pytest.mark.parametrize("name", [*ONE_EACH, "zoneout(lru)"])
def test_declared_affine_is_affine(name):
    """F(S) = F(0) + A S, with A the coupling of the fields of one unit, and no other."""
    inner = name.removeprefix("zoneout(").removesuffix(")")
    cell, params, state, x = CASES[inner][0], *draw(inner, (B,))
    cell = cell if name == inner else drnn.zoneout(cell, {"re": 0.3, "im": 0.1})
    assert cell.state_map == "affine"

    def f(state):
        return cell.step(params, state, x)[0]

    @jax.jit
    def both(state):
        zeros = jax.tree.map(jnp.zeros_like, state)
        total = f(zeros)
        for field in state._fields:
            ones = zeros._replace(**{field: jnp.ones_like(getattr(state, field))})
            column = jax.jvp(f, (zeros,), (ones,))[1]
            total = jax.tree.map(
                lambda total, a, s=getattr(state, field): total + a * s, total, column
            )
        return f(state), total

    assert_close(*both(state), 1e-12)


def test_gates_and_inputs_are_multiplied_before_the_loop():
    """A block-diagonal product too; nothing but the read-out needs the state."""
    for name in ONE_EACH:
        cell, _, input_size = CASES[name]
        rnn = drnn.deep_rnn(cell)
        params, _ = registry.shapes_of(rnn, input_size)
        said = rnn.explain(params, jnp.ones((T, B, input_size)), schedule="layerwise")
        before = said.split("for all steps at once")[1].split("each step")[0]
        size = f"[{B},{input_size}] · [{input_size},"
        if name.startswith("rg_lru"):
            heads = params.layers[0].cell.w_g.shape[0]
            size = f"[{B},{heads},{H // heads}] · [{heads},{H // heads},{2 * H // heads}]"
            loop = said.split("each step")[1].split("kept")[0]
            assert "·" not in loop, said
        assert size in before, said


@pytest.mark.parametrize("name", ONE_EACH)
def test_narrow_products_keep_a_wide_state(name):
    """Eigenvalues, gates and sums in float32; bfloat16's 2^-9 on the products alone."""
    rnn, params, x, state = network(name, 64, jnp.float32)
    narrow, *_ = network(name, 64, jnp.float32, compute_dtype=jnp.bfloat16)
    _, wanted = rnn.apply(params, x, state)
    end, y = narrow.apply(params, x, state)
    assert {leaf.dtype for leaf in jax.tree.leaves(end)} == {jnp.dtype(jnp.float32)}
    assert y.dtype == jnp.bfloat16
    error = np.linalg.norm(y.astype(jnp.float32) - wanted) / np.linalg.norm(wanted)
    assert 0 < error < 0.01


# A memory of about 5,000 steps; the clip of s5 is beyond it.
LONG = {
    "lru": (lru(H, r_min=0.9997, r_max=0.9999, max_phase=0.5), oracle_linear.lru()),
    "s5": (s5(H, dt_min=2e-4, dt_max=4e-4), oracle_linear.s5()),
    "rg_lru": (rg_lru(H, 2, r_min=0.99993, r_max=0.99996), oracle_linear.rg_lru()),
}


@pytest.mark.parametrize("name", LONG)
def test_ten_thousand_steps_in_float32(name):
    cell, expected = LONG[name]
    rnn = drnn.deep_rnn(cell)
    params = rnn.init(jax.random.key(0), IN)
    x = registry.seed_of(name).normal(size=(10_000, IN)).astype(np.float32)
    _, y = jax.jit(lambda x: rnn.apply(params, x))(x)
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params.layers[0].cell)
    state = expected.initial(wide, cell.initial_state(params.layers[0].cell, ())._asdict())
    wanted = []
    for x_t in x.astype(np.float64):
        state, y_t, _ = expected.step(wide, state, x_t)
        wanted.append(y_t)
    error = np.abs(y - np.array(wanted)).max() / np.abs(wanted).max()
    assert error < 1e-3, error


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        *(("lru", "layerwise"), ("s5", "reference"), ("rg_lru, heads, no W_x", "layerwise")),
        *((name, "parallel") for name in ("lru", "s5", "rg_lru, heads, no W_x")),
    ],
)
def test_a_state_that_is_no_number_ends_at_a_reset(name, schedule):
    """Forward, and in every gradient: no 0 times NaN."""
    rnn, params, x, state = network(name, dtype=jnp.float32)
    resets = np.zeros((T, B), bool)
    resets[0] = True

    def loss(params, x, state):
        end, y = rnn.apply(params, x, state, resets=resets, schedule=schedule)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves((end, y)))

    grad = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), state)
    assert_close(grad(params, x, broken), grad(params, x, state), 1e-6)


def test_gates_of_rg_lru_at_both_ends():
    """At r = 0 all is kept and nothing enters, at r = 1 the most is forgotten; finite slopes."""
    cell = rg_lru(2)
    params = cell.init(jax.random.key(0), 2)
    state, x = cell.initial_state(params, ())._replace(h=jnp.array([0.5, -2.0])), jnp.ones(2)

    def after(params, state, x, i, r):
        bias = jnp.stack([i, i, r, r])[None]
        params = params._replace(w_g=0 * params.w_g, b_g=bias)
        return cell.step(params, state, x)[1]

    slopes, run = jax.jit(jax.jacobian(after, (0, 1, 2, 3, 4))), jax.jit(after)
    for i in np.float32([-200, 200]):
        for r in np.float32([-200, -20, 200]):
            h = run(params, state, x, i, r)
            if r == -200.0:
                np.testing.assert_array_equal(h, state.h)
            # 1 - a² of float32's a is 0 from r = 1e-9 on
            log_a = -8 / (1 + math.exp(-r)) * np.log1p(np.exp(params.p, dtype=np.float64))
            wanted = np.exp(log_a) * state.h + (i > 0) * np.sqrt(-np.expm1(2 * log_a))
            np.testing.assert_allclose(h, wanted, 3e-7, 3e-7)
            for leaf in jax.tree.leaves(slopes(params, state, x, i, r)):
                assert np.isfinite(leaf).all()

"""The diagonal linear cells' initial values, special cases, values by hand, and bad input."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import deeprnn_jax as drnn
from deeprnn_jax.cells.lru import LRUParams, LRUState, lru
from deeprnn_jax.cells.rg_lru import RGLRUParams, RGLRUState, rg_lru
from deeprnn_jax.cells.s5 import S5Params, S5State, s5
from tests import registry
from tests.comparing import assert_close
from tests.oracle_linear import joined
from tests.registry import IN, H, T

x64 = pytest.mark.usefixtures("x64")


def run(cell, params, x, state=None):
    """Give y of every step."""
    state = cell.initial_state(params, ()) if state is None else state
    return jax.lax.scan(lambda state, x: cell.step(params, state, x), state, x)[1]


def begin(cell, seed, input_size):
    """Draw a cell's parameters, compiled as one program."""
    return jax.jit(lambda key: cell.init(key, input_size))(jax.random.key(seed))


# -- initial values ----------------------------------------------------------------------------


def assert_uniform(values, low, high):
    """Look at the range and the quartiles of 4,000 draws."""
    values = np.asarray(values, np.float64)
    assert low <= values.min()
    assert values.max() <= high
    quartiles = np.quantile(values, [0.25, 0.5, 0.75])
    expected = low + (high - low) * np.array([0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, expected, atol=0.03 * (high - low))


def test_lru_begins_in_its_ring():
    cell = lru(5, state_size=4000, r_min=0.9, r_max=0.999, max_phase=0.3)
    params = begin(cell, 1, 8)
    modulus = np.exp(-np.exp(params.nu, dtype=np.float64))
    assert_uniform(modulus**2, 0.81 - 1e-6, 0.999**2 + 1e-6)
    assert_uniform(np.exp(params.theta), 0, 0.3)
    np.testing.assert_allclose(np.exp(2 * params.gamma), 1 - modulus**2, 1e-3)
    np.testing.assert_allclose(np.std(params.w_x), 1 / math.sqrt(2 * 8), rtol=0.02)
    np.testing.assert_allclose(np.std(params.w_y), 1 / math.sqrt(4000), rtol=0.02)
    assert params.d.shape == (8, 5)
    assert jax.eval_shape(lambda: lru(8).init(jax.random.key(1), 8)).d.shape == (8,)


@pytest.mark.parametrize("radii", [(0, 1), (0.9999, 1), (0, 0.5), (0, 1e-3), (0.999999, 1)])
def test_no_radius_begins_at_an_end(radii):
    """At 0 or 1 a logarithm would be infinite, and the unit's gradient zero or NaN."""
    r_min, r_max = radii
    for cell in (
        lru(4, state_size=4000, r_min=r_min, r_max=r_max),
        rg_lru(4000, 1000, r_min=r_min, r_max=r_max),
    ):
        params = begin(cell, 2, 4)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_rg_lru_begins_in_its_ring_with_gates_in_blocks():
    params = begin(rg_lru(4000, 200), 1, 4000)
    root = 1 / (1 + np.exp(params.p, dtype=np.float64))  # exp(-softplus(p))
    assert_uniform(root**2, 0.81 - 1e-6, 0.999**2 + 1e-6)
    assert params.w_x is None
    assert params.w_g.shape == (200, 20, 40)
    np.testing.assert_allclose(np.std(params.w_g), 1 / math.sqrt(20), rtol=0.02)
    drawn = [params.w_g[0, :, :20], params.w_g[0, :, 20:], params.w_g[1, :, :20]]
    assert all(np.any(a != b) for a, b in itertools.pairwise(drawn))
    assert not params.b_g.any()


def hippo(size):
    """Write HiPPO-LegS's matrix and its rank-1 correction entry by entry."""
    a = np.zeros((size, size))
    for n in range(size):
        for k in range(n):
            a[n, k] = -math.sqrt((2 * n + 1) * (2 * k + 1))
        a[n, n] = -(n + 1)
    p = np.sqrt(np.arange(size) + 0.5)
    return a + np.outer(p, p)


@x64
@pytest.mark.parametrize("blocks", [1, 3])
def test_s5_is_the_real_system_that_it_halves(blocks):
    """dh/dt = A h + B x with A dense and real, held over Δ by a matrix exponential."""
    cell = s5(H, state_size=12, blocks=blocks, dt_min=0.02, dt_max=0.02)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), begin(cell, 3, IN))
    a = scipy.linalg.block_diag(*[hippo(12 // blocks)] * blocks)
    values, vectors = scipy.linalg.eig(hippo(12 // blocks))
    order = np.argsort(values.imag)[: 6 // blocks]  # of each pair, the one below
    np.testing.assert_allclose(
        joined(np.r_[params.lambda_re, params.lambda_im]), np.tile(values[order], blocks), atol=2e-5
    )
    params = params._replace(
        lambda_re=np.full(6, -0.5), lambda_im=np.tile(values[order].imag, blocks)
    )
    v = scipy.linalg.block_diag(*[vectors[:, order]] * blocks)
    b = 2 * np.real(v @ joined(params.w_x).T)
    c = 2 * np.real(joined(params.w_y.T) @ v.conj().T)
    delta = math.exp(params.log_step[0])
    kept = scipy.linalg.expm(a * delta)
    entered = np.linalg.solve(a, kept - np.eye(12)) @ b
    x = registry.seed_of("s5").normal(size=(T, IN))
    h, expected = np.zeros(12), []
    for x_t in x:
        h = kept @ h + entered @ x_t
        expected.append(c @ h + x_t @ params.d)
    assert_close(run(cell, params, x), np.array(expected), 1e-11)


def test_s5_draws_real_matrices_and_log_uniform_steps():
    params = begin(s5(200, state_size=80, blocks=4), 1, 100)
    draw = jax.vmap(lambda key: s5(4, state_size=80).init(key, 4).log_step)
    steps = jax.jit(draw)(jax.random.split(jax.random.key(1), 100))
    assert_uniform(steps, math.log(0.001) - 1e-6, math.log(0.1) + 1e-6)
    _, vectors = np.linalg.eigh(-1j * (hippo(20) + 0.5 * np.eye(20)))
    vectors = vectors * np.exp(-1j * np.angle(vectors[0]))
    v = scipy.linalg.block_diag(*[vectors[:, :10]] * 4)
    b = 2 * np.real(v @ joined(np.asarray(params.w_x)).T)
    np.testing.assert_allclose(np.std(b), 1 / math.sqrt(100), rtol=0.04)
    # truncated at two deviations, by block: a wrong rotation would spread it
    assert np.abs(b).max() < 2.4 / math.sqrt(100)
    np.testing.assert_allclose(np.std(params.w_y), 1 / math.sqrt(80), rtol=0.04)


# -- s5 where its formula is 0 / 0 -------------------------------------------------------------


def series(z, derivative=False):
    """Give (e^z - 1) / z = Σ z^k / (k+1)!, or its derivative."""
    if derivative:
        return sum(k * z ** (k - 1) / math.factorial(k + 1) for k in range(1, 40))
    return sum(z**k / math.factorial(k + 1) for k in range(40))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_input_gain_of_s5_at_all_sizes(dtype, x64):
    """Value and slope, from 0 over where the series ends to where it would not do."""
    angles = np.exp(1j * np.pi * np.linspace(0.5, 1, 5))
    z = np.outer([0, 1e-30, 1e-12, 1e-4, 0.01, 0.0199, 0.0201, 0.5, 2.0], angles).ravel()
    n = len(z)
    cell = s5(1, state_size=2 * n, clip=False)
    ones, zeros = np.ones((1, n), dtype), np.zeros((1, n), dtype)

    def gain(lambda_re, lambda_im):
        params = S5Params(
            lambda_re,
            lambda_im,
            log_step=zeros[0],
            w_x=np.concatenate([ones, zeros], axis=1),
            w_y=np.zeros((2 * n, 1), dtype),
            d=np.zeros(1, dtype),
        )
        return cell.step(params, S5State(zeros[0], zeros[0]), np.ones(1, dtype))[0]

    parts = z.real.astype(dtype), z.imag.astype(dtype)
    value = jax.jit(gain)(*parts)
    # backward, where an untaken branch's 0 / 0 would be seen
    by_real = [
        jax.jit(jax.grad(lambda *parts, n=n: gain(*parts)[n].sum()))(*parts) for n in range(2)
    ]
    exact = np.array([series(one) for one in z]), np.array([series(one, True) for one in z])
    for got, expected in zip((value, S5State(*by_real)), exact, strict=True):
        assert got.re.dtype == dtype
        error = np.abs(np.asarray(got.re) + 1j * np.asarray(got.im) - expected)
        assert error.max() < 100 * np.finfo(dtype).eps, error.max()


def test_s5_clips_what_would_grow():
    params = begin(s5(1, state_size=2), 0, 1)
    params = params._replace(lambda_re=jnp.ones(1), log_step=jnp.zeros(1))
    start = S5State(jnp.ones(1), jnp.zeros(1))
    x = jnp.zeros(1)
    for clip, modulus in ((True, math.exp(-1e-4)), (False, math.e)):
        end, _ = jax.jit(s5(1, state_size=2, clip=clip).step)(params, start, x)
        np.testing.assert_allclose(np.hypot(end.re, end.im), modulus, rtol=1e-6)


# -- special cases and values by hand ----------------------------------------------------------


@x64
def test_lru_without_phase_is_a_linear_independent_network():
    rng = registry.seed_of("lru")
    w_h, w_x, gain = rng.uniform(0.1, 0.9, H), rng.normal(size=(IN, H)), rng.uniform(1, 2, H)
    params = LRUParams(
        nu=np.log(-np.log(w_h)),
        theta=np.full(H, -np.inf),
        gamma=np.log(gain),
        w_x=np.concatenate([w_x, np.zeros((IN, H))], axis=1),
        w_y=np.concatenate([np.eye(H), np.ones((H, H))]),
        d=np.zeros((IN, H)),
    )
    plain = drnn.independent(H, lambda z: z, use_bias=False)
    x = rng.normal(size=(T, IN))
    own = plain.init(jax.random.key(0), IN)._replace(w_h=w_h, w_x=gain * w_x)
    state = plain.initial_state(own, ())
    _, expected = jax.lax.scan(
        lambda s, x: plain.step(own, s, plain.project_input(own, x)), state, x
    )
    assert_close(run(lru(H), params, x), expected, 1e-13)


@x64
def test_s5_is_an_lru_with_its_step_worked_in():
    rng = registry.seed_of("s5 and lru")
    cell = s5(H, state_size=6)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), IN))
    params = registry.fill(rng, shapes)
    params = params._replace(lambda_re=-np.exp(params.lambda_re))
    eigenvalue = params.lambda_re + 1j * np.exp(params.lambda_im)
    params = params._replace(lambda_im=eigenvalue.imag)
    step = np.exp(params.log_step)
    b = np.expm1(eigenvalue * step) / eigenvalue * joined(params.w_x)
    same = LRUParams(
        nu=np.log(-eigenvalue.real * step),
        theta=np.log(eigenvalue.imag * step),
        gamma=np.zeros(3),
        w_x=np.concatenate([b.real, b.imag], axis=1),
        w_y=2 * params.w_y,
        d=params.d,
    )
    x = rng.normal(size=(T, IN))
    assert_close(run(cell, params, x), run(lru(H, state_size=3), same, x), 1e-13)


@x64
def test_rg_lru_with_constant_gates_is_a_linear_independent_network():
    rng = registry.seed_of("rg_lru")
    p = rng.normal(size=H)
    w_x = rng.normal(size=(IN, H))
    params = RGLRUParams(p, w_x, np.zeros((2, H // 2, H)), np.zeros((2, H)))
    a = (1 + np.exp(p)) ** -4.0  # both gates at 1/2
    plain = drnn.independent(H, lambda z: z, use_bias=False)
    own = plain.init(jax.random.key(0), IN)._replace(w_h=a, w_x=0.5 * np.sqrt(1 - a**2) * w_x)
    x = rng.normal(size=(T, IN))
    _, expected = jax.lax.scan(
        lambda s, x: plain.step(own, s, plain.project_input(own, x)),
        plain.initial_state(own, ()),
        x,
    )
    assert_close(run(rg_lru(H, 2), params, x), expected, 1e-13)


@x64
def test_lru_by_hand():
    """λ = i/2, B = 2, C = 1 + i, D = 10: an impulse turns by a quarter and halves each step."""
    params = LRUParams(
        nu=np.log(np.log([2.0])),
        theta=np.log([np.pi / 2]),
        gamma=np.zeros(1),
        w_x=np.array([[2.0, 0.0]]),
        w_y=np.array([[1.0], [1.0]]),
        d=np.array([10.0]),
    )
    y = run(lru(1), params, np.array([[1.0], [0.0], [0.0], [0.0]]))
    np.testing.assert_allclose(y, [[12.0], [-1.0], [-0.5], [0.25]], rtol=1e-14)
    y = run(lru(1), params, np.zeros((1, 1)), LRUState(np.ones(1), np.full(1, -2.0)))
    np.testing.assert_allclose(y, [[0.5]], rtol=1e-14)  # (i/2)(1 - 2i) = 1 + i/2


@x64
def test_rg_lru_by_hand():
    """softplus(p) = log(2)/4 and r = 1/2 make a = 1/2; i = 1/4, u = 6."""
    params = RGLRUParams(
        p=np.log([2**0.25 - 1]),
        w_x=np.array([[2.0]]),
        w_g=np.array([[[0.0, 0.0]]]),
        b_g=np.array([[-np.log(3.0), 0.0]]),
    )
    # of another width than 1 x is multiplied; here W_x is given all the same
    end, y = rg_lru(1).step(params, RGLRUState(np.array([4.0])), np.array([3.0]))
    np.testing.assert_allclose(y, [2 + math.sqrt(0.75) * 1.5], rtol=1e-14)
    assert_close(end.h, y)


# -- bad input ---------------------------------------------------------------------------------

MISTAKES = {
    "lru: hidden_size must be an int of 1 or more, got 0": lambda: lru(0),
    "lru: state_size must be an int of 1 or more, got 2.5": lambda: lru(4, state_size=2.5),
    "lru: r_min and r_max must be radii...got 0.9 and 1.1": lambda: lru(4, r_min=0.9, r_max=1.1),
    "lru: r_min and r_max...got 0.9 and 0.9...0.999": lambda: lru(4, r_min=0.9, r_max=0.9),
    "lru: r_min and r_max...got -0.1": lambda: lru(4, r_min=-0.1),
    "lru: r_min and r_max...got nan": lambda: lru(4, r_min=math.nan),
    "lru: max_phase must be in (0, 2π] radians, got 0": lambda: lru(4, max_phase=0),
    "lru: max_phase must be...got 360": lambda: lru(4, max_phase=360),
    "s5: state_size must be a multiple of 2 * blocks = 2, got 5; it is hidden_size": lambda: s5(5),
    "s5: state_size must be a multiple of 2 * blocks = 6, got 8": lambda: s5(8, blocks=3),
    "s5: blocks must be an int of 1 or more, got 0": lambda: s5(8, blocks=0),
    "s5: state_size must be an int": lambda: s5(8, state_size="8"),
    "s5: dt_min and dt_max...0 < dt_min <= dt_max, got 0 and 0.1": lambda: s5(8, dt_min=0),
    "s5: dt_min and dt_max...got 0.2 and 0.1; for example": lambda: s5(8, dt_min=0.2),
    "s5: clip must be True or False, got 1": lambda: s5(8, clip=1),
    "rg_lru: num_heads must divide hidden_size=8, got 3; each head": lambda: rg_lru(8, 3),
    "rg_lru: num_heads must be an int of 1 or more, got 0": lambda: rg_lru(8, 0),
    "rg_lru: r_min and r_max must be radii": lambda: rg_lru(8, r_max=2),
    "rg_lru: w_g_init must be a function": lambda: rg_lru(8, w_g_init=0.1),
    "weight_drop: cell 'lru' has no parameter named w_h": lambda: drnn.weight_drop(
        lru(4), 0.5
    ).init(jax.random.key(0), 3),
    "layer_norm: cell 's5' has no project_state": lambda: drnn.layer_norm(s5(4)),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_refuses(message):
    with pytest.raises(ValueError, match=".*".join(map(re.escape, message.split("...")))):
        MISTAKES[message]()

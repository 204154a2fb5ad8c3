"""Lyapunov spectra that are known: of linear maps, of the Lorenz system, of determinants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import analysis
from tests import registry
from tests.comparing import assert_close

pytestmark = pytest.mark.usefixtures("x64")


def network(cell, input_size=2, **options):
    rnn = drnn.deep_rnn(cell, param_dtype=jnp.float64, **options)
    return rnn, registry.fill(registry.seed_of("net"), registry.shapes_of(rnn, input_size)[0], 0.4)


def test_a_linear_network_has_its_eigenvalues_and_rows_have_their_own_lengths():
    rnn, params = network(drnn.elman(5, lambda z: z))
    x = registry.seed_of("x").normal(size=(600, 2, 2))
    lengths = np.array([600, 400])
    expected = -np.sort(-np.log(np.abs(np.linalg.eigvals(params.layers[0].cell.w_h))))

    @jax.jit
    def run(x):
        options = {"transient": 100, "num_blocks": 4}
        all_of_it = analysis.lyapunov_spectrum(rnn, params, x, lengths=lengths, **options)
        few = analysis.lyapunov_spectrum(
            rnn, params, x, num_exponents=2, every=7, lengths=lengths, **options
        )
        short = analysis.lyapunov_spectrum(rnn, params, x[:400, 1], **options)
        return all_of_it, few, short

    found, few, short = run(x)
    np.testing.assert_allclose(found.exponents, np.stack([expected] * 2), atol=0.02)
    np.testing.assert_allclose(few.exponents, np.stack([expected[:2]] * 2), atol=0.02)
    assert_close(short.exponents, found.exponents[1], 1e-12)
    assert np.all(found.errors < 0.02)


def test_all_exponents_sum_to_the_mean_log_determinant():
    """Steps at resets and masked ones too; those of the transient are left out."""
    rnn, params = network([drnn.gru(3), drnn.lstm(2)])
    rng = registry.seed_of("x")
    x, resets = rng.normal(size=(60, 3, 2)), rng.random((60, 3)) < 0.1
    mask = rng.random((60, 3)) < 0.8

    @jax.jit
    def run(x):
        flags = {"mask": mask, "resets": resets}
        spectrum = analysis.lyapunov_spectrum(rnn, params, x, transient=7, every=2, **flags)
        return spectrum, analysis.jacobians(rnn, params, x, **flags).state

    spectrum, steps = run(x)
    logs = np.linalg.slogdet(np.asarray(steps[7:]))[1]
    assert_close(jnp.sum(spectrum.exponents, -1), logs.sum(0) / mask[7:].sum(0), 1e-9)
    assert np.all(np.diff(spectrum.exponents, axis=-1) <= 0)


def lorenz(s, _):
    """Go on by 0.01 with the classical Runge-Kutta method."""

    def flow(s):
        x, y, z = s
        return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    k1 = flow(s)
    k2 = flow(s + 0.005 * k1)
    k3 = flow(s + 0.005 * k2)
    return s + 0.01 / 6 * (k1 + 2 * k2 + 2 * k3 + flow(s + 0.01 * k3))


def test_lorenz():
    """0.9056, 0, -14.5723 (Sprott 2003, Chaos and Time-Series Analysis), which sum to -13.6667."""

    @jax.jit
    def run(start):
        return analysis.lyapunov_spectrum_of(
            lorenz, start, None, num_steps=60_000, transient=2000, every=5
        )

    exponents, errors = (np.asarray(one) / 0.01 for one in run(jnp.array([1.0, 2.0, 20.0])))
    assert abs(exponents[0] / 0.9056 - 1) < 0.02
    assert abs(exponents[1]) < 0.01
    assert abs(exponents[2] / -14.5723 - 1) < 0.005
    assert abs(exponents.sum() + 41 / 3) < 1e-3
    assert 0.002 < errors[0] < 0.03


def test_standard_errors_are_those_of_independent_steps():
    """A product of independent numbers: their mean, and its standard error."""
    logs = registry.seed_of("logs").normal(size=(4096, 50)) * 0.3 - 0.1

    def step(s, log):
        return s * jnp.exp(log)[:, None]

    found = jax.jit(
        lambda x: analysis.lyapunov_spectrum_of(step, jnp.ones((50, 1)), x, num_blocks=32)
    )(logs)
    assert_close(found.exponents[:, 0], logs.mean(0), 1e-10)
    assert abs(np.sqrt(np.mean(found.errors**2)) / (0.3 / np.sqrt(4096)) - 1) < 0.1
    assert_close(  # fewer decompositions see the same growth
        analysis.lyapunov_spectrum_of(step, jnp.ones((50, 1)), logs, num_blocks=32, every=8),
        found,
        1e-10,
    )
    one = analysis.lyapunov_spectrum_of(step, jnp.ones((50, 1)), logs[:5], num_blocks=1)
    assert np.all(np.isnan(one.errors))


@pytest.mark.parametrize(("num_steps", "every", "transient"), [(60, 7, 0), (400, 10, 25)])
def test_what_grows_evenly_has_no_error(num_steps, every, transient):
    found = analysis.lyapunov_spectrum_of(
        lambda s, _: jnp.exp(0.1) * s, jnp.ones(1), None, num_steps=num_steps, every=every,
        transient=transient,
    )  # fmt: skip
    assert_close(found.exponents, np.array([0.1]), 1e-10)
    assert found.errors < 1e-10


def test_a_network_that_reads_its_own_output():
    """h_t = W h_{t-1} + U y_{t-1}, y = V h: the eigenvalues of W + U V."""
    rnn, params = network(drnn.elman(4, lambda z: z, use_bias=False), output_size=2)
    own, readout = params.layers[0].cell, params.readout
    closed = own.w_h + readout.w @ own.w_x
    assert np.abs(np.linalg.eigvals(own.w_h)).max() < 2
    expected = -np.sort(-np.log(np.abs(np.linalg.eigvals(closed))))
    x = registry.seed_of("x").normal(size=(10, 2))

    @jax.jit
    def run(x):
        found = analysis.lyapunov_spectrum(rnn, params, x, free_steps=400, transient=100)
        return found, analysis.lyapunov_spectrum(rnn, params, x, transient=5)

    free, driven = run(x)
    np.testing.assert_allclose(free.exponents, expected, atol=0.02)
    assert np.abs(free.exponents - driven.exponents).max() > 0.05


def test_the_trajectory_of_a_free_network_is_its_own():
    """Nonlinear, so that the exponents depend on where it goes: against a loop of steps."""
    rnn, params = network(drnn.gru(3), output_size=2)
    x = registry.seed_of("x").normal(size=(6, 3, 2))
    lengths = np.array([6, 4, 1])

    @jax.jit
    def run(x):
        found = analysis.lyapunov_spectrum(
            rnn, params, x, free_steps=8, num_exponents=3, lengths=lengths
        )
        state, y = rnn.apply(params, x, lengths=lengths)
        x_t = jnp.stack([y[5, 0], y[3, 1], y[0, 2]])
        inputs = []
        for _ in range(8):
            inputs.append(x_t)
            state, x_t = rnn.step(params, state, x_t)
        return found, jnp.stack(inputs), state

    found, inputs, _ = run(x)
    # the same tangent vectors, by Jacobians of the map from (h, x) to (h, y)
    drawn = jax.random.normal(jax.random.key(0), (5, 3), jnp.float64)
    for row in range(3):
        state = rnn.apply(params, x[: lengths[row], row])[0]
        q, logs = np.linalg.qr(drawn)[0], np.zeros(3)
        for t in range(8):
            j = analysis.jacobian(rnn, params, state, inputs[t, row])
            state, _ = rnn.step(params, state, inputs[t, row])
            top = np.concatenate([j.state, j.input], axis=1)
            q, r = np.linalg.qr(np.concatenate([top, params.readout.w.T @ top]) @ q)
            logs += np.log(np.abs(np.diag(r))) / 8
        assert_close(found.exponents[row], -np.sort(-logs), 1e-9)

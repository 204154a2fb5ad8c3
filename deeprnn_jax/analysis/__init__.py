"""Looking inside: how far gradients reach, how states move, what layers know.

Pure functions over any cell and any layer, under `jax.jit`, with any number of batch axes, in
float32 and float64. `gradient_flow` and `memory_horizon` take networks of two directions, the
others of one; the number of states that are held does not grow with T, or as √T for gradients.

    gradient_flow(rnn, params, x, loss)              ‖dL/ds_t^l‖, [L, T, *B]
    memory_horizon(rnn, params, x, loss)             the same by lag, and how far it reaches
    jacobian(rnn, params, state, x_t)                ∂s_t/∂s_{t-1} [*B, N, N], ∂s_t/∂x_t [*B, N, I]
    jacobians(rnn, params, x)                        those of a sequence, [T, *B, ...]
    singular_values(rnn, params, x)                  of their products, log, [T, *B, N]
    lyapunov_spectrum(rnn, params, x)                exponents and errors [*B, K]
    lyapunov_spectrum_of(step, start, inputs)        of any map
    fixed_points(rnn, params, states, x_t)           points [P, N], eigenvalues, stability
    to_vector, to_state                              a state [*B, ...] as one vector [*B, N]
    probe(features, labels, num_classes, key)        cross-validated accuracy, and a baseline
    similarity(a, b)                                 linear CKA of two layers
    online_gradients(rnn, params, x, targets, loss)  exact, forward in time: RTRL, one layer
    plot_memory, plot_gradient_flow, plot_spectrum, plot_singular_values, plot_fixed_points,
    plot_probe                                       of what these give, a matplotlib figure

Wrap calls in `jax.jit`, with the parameters as arguments: bare ones trace again each time.

    >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
    >>> rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=3)
    >>> params = rnn.init(jax.random.key(0), input_size=4)
    >>> x = jax.random.normal(jax.random.key(1), (100, 16, 4))
    >>> memory = jax.jit(lambda p, x: drnn.analysis.memory_horizon(rnn, p, x, jnp.sum))(params, x)
    >>> memory.by_lag.shape, memory.horizon.shape      # the last output's gradient, by layer
    ((3, 100, 16), (3, 16))
    >>> _, _, layers = rnn.inspect(params, x)
    >>> features = jnp.stack([layer.state.h for layer in layers])             # [L, T, B, H]
    >>> labels = (x[:, :, 0] > 0).astype(int)
    >>> key = jax.random.key(2)
    >>> found = jax.vmap(lambda h: drnn.analysis.probe(h, labels, 2, key))(features)
    >>> bool(found.accuracy[0] > found.accuracy[2] > found.baseline[2])
    True
"""

from deeprnn_jax.analysis.fixed_points import FixedPoints, fixed_points
from deeprnn_jax.analysis.gradients import Memory, gradient_flow, memory_horizon
from deeprnn_jax.analysis.jacobians import Jacobian, jacobian, jacobians
from deeprnn_jax.analysis.lyapunov import Spectrum, lyapunov_spectrum, lyapunov_spectrum_of
from deeprnn_jax.analysis.online import online_gradients
from deeprnn_jax.analysis.plots import (
    plot_fixed_points,
    plot_gradient_flow,
    plot_memory,
    plot_probe,
    plot_singular_values,
    plot_spectrum,
)
from deeprnn_jax.analysis.probes import Probe, probe, similarity
from deeprnn_jax.analysis.products import singular_values
from deeprnn_jax.analysis.vectors import to_state, to_vector

__all__ = [
    "FixedPoints",
    "Jacobian",
    "Memory",
    "Probe",
    "Spectrum",
    "fixed_points",
    "gradient_flow",
    "jacobian",
    "jacobians",
    "lyapunov_spectrum",
    "lyapunov_spectrum_of",
    "memory_horizon",
    "online_gradients",
    "plot_fixed_points",
    "plot_gradient_flow",
    "plot_memory",
    "plot_probe",
    "plot_singular_values",
    "plot_spectrum",
    "probe",
    "similarity",
    "singular_values",
    "to_state",
    "to_vector",
]

"""A two-layer tanh network on four words, every number shown.

Command:   python -m experiments.worked_example
Expected:  the hidden states below, to 1e-6
Time:      a few seconds

The sentence "I love deep learning." has one input vector a word, and each layer a
hidden state after each word. The states are given; the weights are solved for. A
unit with weights w and bias b reaches its four states if

    w_x · x_t + w_h · h_{t-1} + b = arctanh(h_t)        t = 1 ... 4

which are 4 equations for 6 unknowns in the first layer (3 inputs, 2 states, a bias)
and for 5 in the second: of all solutions, the one of least norm is taken.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

import deeprnn_jax as drnn
from deeprnn_jax.cells.elman import ElmanParams
from deeprnn_jax.layers.layer import LayerParams

WORDS = ("I", "love", "deep", "learning.")
X = np.array([[0.5, 0.1, 0.3], [0.7, 0.2, 0.8], [0.3, 0.9, 0.5], [0.4, 0.7, 0.6]])
STATES = (
    np.array([[0.2, 0.3], [0.4, 0.5], [0.1, 0.8], [0.6, 0.4]]),
    np.array([[0.3, 0.6], [0.5, 0.7], [0.2, 0.9], [0.7, 0.5]]),
)
TOLERANCE = 1e-6


def solve_layer(x: np.ndarray, h: np.ndarray) -> ElmanParams:
    """Find the weights of least norm with which a tanh layer turns x into h.

    Args:
      x: float64 `[T, I]`, the layer's inputs.
      h: float64 `[T, H]`, its states after each step, in (-1, 1); zeros before.

    Returns:
      Weights `[I, H]`, `[H, H]` and bias `[H]`, float32.

    Raises:
      ValueError: if no weights give these states.
    """
    h_prev = np.concatenate([np.zeros_like(h[:1]), h[:-1]])
    seen = np.concatenate([x, h_prev, np.ones((len(x), 1))], axis=1)
    weights = np.linalg.lstsq(seen, np.arctanh(h), rcond=None)[0]
    error = np.abs(np.tanh(seen @ weights) - h).max()
    if error > TOLERANCE:
        raise ValueError(
            f"solve_layer: no weights give these states, the nearest miss by {error:.1e}; "
            f"{len(x)} equations a unit need that many independent inputs and states"
        )
    split = np.split(weights, [x.shape[1], x.shape[1] + h.shape[1]])
    w_x, w_h, b = (jnp.asarray(part, jnp.float32) for part in split)
    return ElmanParams(w_x, w_h, b[0])


def solve_network() -> tuple[drnn.DeepRNN, drnn.DeepParams]:
    """Make the network and the parameters that give the states above."""
    rnn = drnn.deep_rnn(drnn.elman(2, activation=jnp.tanh), num_layers=2)
    inputs = (X, *STATES[:-1])
    layers = [LayerParams(solve_layer(x, h)) for x, h in zip(inputs, STATES, strict=True)]
    return rnn, drnn.DeepParams(tuple(layers))


def hidden_states(rnn: drnn.DeepRNN, params: drnn.DeepParams) -> list[np.ndarray]:
    """Run the sentence through the network and give each layer's states `[T, H]`."""
    _, _, layers = rnn.inspect(params, jnp.asarray(X, jnp.float32))
    return [np.asarray(layer.state.h) for layer in layers]


def vector(values: ArrayLike) -> str:
    """Write a vector in brackets."""
    return "[" + ", ".join(f"{value:7.4f}" for value in np.asarray(values)) + "]"


def print_layer(index: int, params: ElmanParams, x: np.ndarray, h: np.ndarray) -> None:
    """Print a layer's weights, and its equation with numbers at every step."""
    below = "x_t" if index == 1 else f"h_t^{index - 1}"
    print(f"\nLayer {index}:  h_t^{index} = tanh(W_x {below} + W_h h_(t-1)^{index} + b)")
    assert params.b is not None
    for unit in range(h.shape[1]):
        print(
            f"  unit {unit + 1}:  w_x = {vector(params.w_x[:, unit])}"
            f"   w_h = {vector(params.w_h[:, unit])}   b = {params.b[unit]:7.4f}"
        )
    print(
        f"  {'t':>3} {'word':<10}{'W_x ' + below:>20}{'W_h h_(t-1)':>21}{'sum + b':>21}{'h_t':>21}"
    )
    h_prev = np.zeros_like(h[0])
    for t, word in enumerate(WORDS):
        from_input, from_state = x[t] @ params.w_x, h_prev @ params.w_h
        total = from_input + from_state + params.b
        row = "".join(f"{vector(v):>21}" for v in (from_input, from_state, total, h[t]))
        print(f"  {t + 1:>3} {word:<9}{row}")
        h_prev = h[t]


def main() -> None:
    """Solve, run, print, and check the states."""
    rnn, params = solve_network()
    found = hidden_states(rnn, params)
    print('"I love deep learning." through two tanh layers of two units')
    for t, word in enumerate(WORDS):
        print(f"  x_{t + 1} = {vector(X[t])}   {word}")
    x = X.astype(np.float32)
    for index, layer in enumerate(params.layers):
        print_layer(index + 1, layer.cell, x, found[index])
        x = found[index]
    error = max(float(np.abs(h - given).max()) for h, given in zip(found, STATES, strict=True))
    assert error < TOLERANCE, f"the states are off by {error:.1e}"
    print(f"\nAll {sum(h.size for h in found)} hidden states are as given, to {error:.1e}.")


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    main()

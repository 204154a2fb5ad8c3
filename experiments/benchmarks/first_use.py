"""How long a newcomer waits: the first gradient of three LSTM layers in a fresh process.

Command:   python -m experiments.benchmarks.first_use
Expected:  ours / Flax's about 1 or below
Hardware:  any; nothing else should run on it
Time:      about a minute on 2 CPU cores

Each sample is a process of its own, in turns. Imports, parameters and inputs are made
before the clock starts; what is timed is one call of a jitted gradient, which traces,
compiles and runs it.
"""

import statistics
import subprocess
import sys

ROUNDS = 7
LAYERS, BATCH, STEPS, SIZE = 3, 32, 64, 256

_TIMED = f"""
import time
import jax, jax.numpy as jnp, numpy as np
LAYERS, BATCH, STEPS, SIZE = {LAYERS}, {BATCH}, {STEPS}, {SIZE}
jax.jit(lambda x: x + 1)(0.0).block_until_ready()
{{body}}
params = jax.tree.map(lambda s: np.full(s.shape, 0.01, s.dtype), shapes)
start = time.perf_counter()
jax.block_until_ready(jax.jit(jax.grad(loss))(params, x))
print(time.perf_counter() - start)
"""
_OURS = """
import deeprnn_jax as drnn
rnn = drnn.deep_rnn(drnn.lstm(SIZE), LAYERS)
x = np.ones((STEPS, BATCH, SIZE), np.float32)
shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), SIZE))
def loss(params, x):
    return jnp.mean(rnn.apply(params, x)[1] ** 2)
"""
_LINEN = """
import flax.linen as nn
model = nn.Sequential([nn.RNN(nn.OptimizedLSTMCell(SIZE)) for _ in range(LAYERS)])
x = np.ones((BATCH, STEPS, SIZE), np.float32)
shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x))
def loss(params, x):
    return jnp.mean(model.apply(params, x) ** 2)
"""


def first_gradient(body: str) -> float:
    """Return the seconds of a first gradient, in a process of its own."""
    command = [sys.executable, "-c", _TIMED.format(body=body)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the medians, and that of the ratios of each round."""
    first_gradient(_OURS)  # files are read for the first time
    pairs = [(first_gradient(_OURS), first_gradient(_LINEN)) for _ in range(ROUNDS)]
    ours, linen = (statistics.median(some) for some in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"first gradient, s: ours {ours:.2f}, Flax linen {linen:.2f}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()

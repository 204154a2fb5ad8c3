"""How long a newcomer waits: three LSTM layers, for the first time in a fresh process.

Command:   python -m experiments.benchmarks.first_use
Expected:  ours / Flax's about 1 or below, each
Hardware:  any; nothing else should run on it
Time:      about three minutes on 2 CPU cores

Each sample is a process of its own, in turns. Imports and inputs are made before the clock
starts. Timed are, one after the other: `init`; one call of `apply`; and one of a jitted
gradient, each with all that is traced and compiled for it; "first use" is their sum. "First
gradient" is the gradient alone, in a process that has done nothing before.
"""

import json
import statistics
import subprocess
import sys

ROUNDS = 7
LAYERS, BATCH, STEPS, SIZE = 3, 32, 64, 256
MEASURES = ("init", "apply", "gradient", "first use", "first gradient")

_TIMED = f"""
import json, sys, time
import jax, jax.numpy as jnp, numpy as np
LAYERS, BATCH, STEPS, SIZE = {LAYERS}, {BATCH}, {STEPS}, {SIZE}
jax.jit(lambda x: x + 1)(0.0).block_until_ready()
{{body}}

def seconds(function, *args):
    start = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return time.perf_counter() - start, result

if {{alone}}:
    shapes = jax.eval_shape(init, jax.random.key(0))
    params = jax.tree.map(lambda s: np.full(s.shape, 0.01, s.dtype), shapes)
    print(json.dumps([seconds(jax.jit(jax.grad(loss)), params, x)[0]]))
else:
    init_s, params = seconds(init, jax.random.key(0))
    apply_s, _ = seconds(jax.jit(apply), params, x)
    grad_s, _ = seconds(jax.jit(jax.grad(loss)), params, x)
    print(json.dumps([init_s, apply_s, grad_s, init_s + apply_s + grad_s]))
"""
_OURS = """
import deeprnn_jax as drnn
rnn = drnn.deep_rnn(drnn.lstm(SIZE), LAYERS)
x = np.ones((STEPS, BATCH, SIZE), np.float32)
def init(key):
    return rnn.init(key, SIZE)
def apply(params, x):
    return rnn.apply(params, x)[1]
def loss(params, x):
    return jnp.mean(apply(params, x) ** 2)
"""
_LINEN = """
import flax.linen as nn
model = nn.Sequential([nn.RNN(nn.OptimizedLSTMCell(SIZE)) for _ in range(LAYERS)])
x = np.ones((BATCH, STEPS, SIZE), np.float32)
def init(key):
    return model.init(key, x)
def apply(params, x):
    return model.apply(params, x)
def loss(params, x):
    return jnp.mean(apply(params, x) ** 2)
"""


def seconds_of(body: str) -> list[float]:
    """Return the seconds of each measure, of two fresh processes."""
    found: list[float] = []
    for alone in (False, True):
        program = _TIMED.format(body=body, alone=alone)
        command = [sys.executable, "-c", program]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found += json.loads(run.stdout)
    return found


def main() -> None:
    """Print the medians, and that of the ratios of each round."""
    seconds_of(_OURS)  # files are read for the first time
    pairs = [(seconds_of(_OURS), seconds_of(_LINEN)) for _ in range(ROUNDS)]
    for place, measure in enumerate(MEASURES):
        values = [(ours[place], linen[place]) for ours, linen in pairs]
        ours, linen = (statistics.median(some) for some in zip(*values, strict=True))
        ratio = statistics.median(a / b for a, b in values)
        print(f"{measure}, s: ours {ours:.2f}, Flax linen {linen:.2f}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()

"""Causal convolutions and residual blocks once more, in NumPy float64: see `tests.oracle`."""

import numpy as np

from tests.oracle import OracleCell, sigmoid


def silu(z):
    return z * sigmoid(z)


def gelu(z):
    """The tanh form, which `jax.nn.gelu` has by default."""
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def causal_conv(cell, width, activation=lambda z: z):
    """States are flat dictionaries: `before_1`, `before_2`, ... are the earlier inputs."""
    names = [f"before_{j}" for j in range(1, width)]

    def inside(s):
        return {k: v for k, v in s.items() if k not in names}

    def step(p, s, x, *_):
        taps = [x, *(s[name] for name in names)]
        u = p.b.copy()
        for j in range(width):
            u = u + p.w[j] * taps[j]
        after, y, gates = cell.step(p.cell, inside(s), activation(u))
        return after | dict(zip(names, taps[:-1], strict=True)), y, gates

    def initial(p, like):
        first = {name: np.zeros_like(like[name]) for name in names}
        return cell.initial(p.cell, inside(like)) | first

    return OracleCell(step, initial)


def residual_block(cell, norm="rms", gate=None, activation=gelu):
    def normalise(z, scale):
        centred = z - z.mean() if norm == "layer" else z
        return scale * centred / np.sqrt(np.mean(centred**2) + 1e-5)

    def step(p, s, x, *_):
        x = x if p.w_x is None else x @ p.w_x
        u = normalise(x, p.norm)
        s, h, gates = cell.step(p.cell, s, u if p.w_v is None else u @ p.w_v)
        if gate is not None:
            h = h * gate(u @ p.w_g)
        x = x + h @ p.w_o
        f = p.feed_forward
        if f is not None:
            v = normalise(x, f.norm)
            z = activation(v @ f.w_1)
            x = x + (z if f.w_2 is None else z * (v @ f.w_2)) @ f.w_d
        return s, x, gates

    return OracleCell(step, lambda p, like: cell.initial(p.cell, like))

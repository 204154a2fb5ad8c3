"""The gated elementwise cells once more, in NumPy float64; see `tests.oracle`."""

import jax
import numpy as np

from tests.oracle import OracleCell, bias, gates_of, same, sigmoid


def identity(z):
    return z


def zeros(params, like):
    return jax.tree.map(np.zeros_like, like)


def min_gru(activation=identity):
    def step(p, s, x, norm_x=same, norm_h=same):
        u = gates_of(norm_x(x @ p.w_x) + bias(p.b), "zn")
        z, n = sigmoid(u["z"]), activation(u["n"])
        h = n + z * (s["h"] - n)
        return {"h": h}, h, {"z": z, "n": n}

    return OracleCell(step, zeros)


def min_lstm(activation=identity):
    def step(p, s, x, norm_x=same, norm_h=same):
        u = gates_of(norm_x(x @ p.w_x) + bias(p.b), "ifg")
        i, f, g = sigmoid(u["i"]), sigmoid(u["f"]), activation(u["g"])
        h = (f * s["h"] + i * g) / (f + i)
        return {"h": h}, h, {"i": i / (f + i), "f": f / (f + i), "g": g}

    return OracleCell(step, zeros)


def qrnn(pooling="fo", activation=np.tanh):
    """By the sums that the state holds: `convolved_qrnn` has the same by a convolution."""

    def step(p, s, x, norm_x=same, norm_h=same):
        width = 1 + len(s["window"])
        now, *later = [x @ w for w in np.split(p.w_x, width)]
        if width > 1:
            now = now + s["window"][0]
            later = [a + b for a, b in zip(later, [*s["window"][1:], 0.0], strict=True)]
        u = gates_of(now + bias(p.b), {"f": "fg", "fo": "fgo", "ifo": "ifgo"}[pooling])
        f, g = sigmoid(u["f"]), activation(u["g"])
        i = sigmoid(u["i"]) if "i" in u else 1 - f
        o = sigmoid(u["o"]) if "o" in u else np.ones_like(f)
        c = f * s["c"] + i * g
        return {"c": c, "window": tuple(later)}, o * c, {"i": i, "f": f, "g": g, "o": o}

    return OracleCell(step, zeros)


def convolved_qrnn(p, x, c, width, pooling):
    """Run over x [T, I] as the paper has it: the whole convolution, then the pooling."""
    padded = np.concatenate([np.zeros((width - 1, x.shape[1])), x])
    ys = []
    for t in range(len(x)):
        window = padded[t : t + width][::-1].reshape(-1)  # x_t first
        u = np.split(window @ p.w_x + bias(p.b), {"f": 2, "fo": 3, "ifo": 4}[pooling])
        f, z = (u[1], u[2]) if pooling == "ifo" else (u[0], u[1])
        i = sigmoid(u[0]) if pooling == "ifo" else 1 - sigmoid(f)
        c = sigmoid(f) * c + i * np.tanh(z)
        ys.append(c if pooling == "f" else sigmoid(u[-1]) * c)
    return np.array(ys)


def sru(activation=identity, highway_bias=0.0):
    def step(p, s, x, norm_x=same, norm_h=same):
        c_prev = s["c"]
        u = np.split(x @ p.w_x, p.w_x.shape[1] // len(c_prev))
        skip = u[3] if len(u) == 4 else np.sqrt(1 + 2 * np.exp(highway_bias)) * x
        (w_f, w_r), (b_f, b_r) = np.split(p.w_c, 2), np.split(p.b, 2)
        f = sigmoid(u[0] + w_f * c_prev + b_f)
        r = sigmoid(u[2] + w_r * c_prev + b_r)
        c = u[1] + f * (c_prev - u[1])
        return {"c": c}, skip + r * (activation(c) - skip), {"f": f, "r": r}

    return OracleCell(step, zeros)


def diagonal_gru(activation=np.tanh):
    def step(p, s, x, norm_x=same, norm_h=same):
        h_prev = s["h"]
        zx = gates_of(norm_x(x @ p.w_x) + bias(p.b), "rzn")
        zh = gates_of(norm_h(p.w_h * np.concatenate([h_prev] * 3)), "rzn")
        r, z = sigmoid(zx["r"] + zh["r"]), sigmoid(zx["z"] + zh["z"])
        n = activation(zx["n"] + r * zh["n"])
        h = n + z * (h_prev - n)
        return {"h": h}, h, {"r": r, "z": z, "n": n}

    return OracleCell(step, zeros)


def diagonal_lstm(activation=np.tanh):
    def step(p, s, x, norm_x=same, norm_h=same):
        w_f, w_o = np.split(p.w_c, 2)
        recurrent = norm_h(p.w_h * np.concatenate([s["h"]] * 3))
        u = gates_of(norm_x(x @ p.w_x) + bias(p.b) + recurrent, "fgo")
        f, g = sigmoid(u["f"] + w_f * s["c"]), activation(u["g"])
        c = g + f * (s["c"] - g)
        o = sigmoid(u["o"] + w_o * c)
        h = o * activation(c)
        return {"h": h, "c": c}, h, {"i": 1 - f, "f": f, "g": g, "o": o}

    return OracleCell(step, zeros)


def run_row(cell, params, state, inputs, walls):
    """Run a cell over one row that has nothing but real steps; give the last state and ys."""
    ys = []
    for x, wall in zip(inputs, walls, strict=True):
        before = cell.initial(params, state) if wall else state
        state, y, _ = cell.step(params, before, x)
        ys.append(y)
    return state, ys

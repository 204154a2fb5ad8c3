"""The cells with heads once more, in NumPy float64: head by head, one row."""

import numpy as np

from tests.oracle import OracleCell, same, sigmoid, zeros


def cut(z, *widths):
    """Cut a vector into parts of these widths, the whole of it."""
    assert sum(widths) == len(z)
    return np.split(z, np.cumsum(widths)[:-1])


def log_sigmoid(z):
    return -np.logaddexp(0, -z)


def silu(z):
    return z * sigmoid(z)


def norm_of(name, y):
    """Normalise the output of one head."""
    if name == "layer":
        y = y - y.mean()
    return y if name is None else y / np.sqrt(np.mean(y**2) + 1e-5)


def normalize(name, gain, heads):
    joined = np.concatenate([norm_of(name, y) for y in heads])
    return joined if name is None else gain * joined


def slstm(num_heads=1, forget_gate="sigmoid"):
    def recurrent(w_h, h):
        """Give R h in the order of the gates, by one whole matrix for each gate."""
        size = len(h) // num_heads
        blocks = w_h.reshape(num_heads, size, 4, size)
        found = []
        for gate in range(4):
            whole = np.zeros((len(h), len(h)))
            for head in range(num_heads):
                units = slice(head * size, (head + 1) * size)
                whole[units, units] = blocks[head, :, gate]
            found.append(h @ whole)
        return np.concatenate(found)

    def unit(z_i, z_f, z_g, z_o, c, n, m):
        """Do a step of one unit."""
        log_f = (log_sigmoid(z_f) if forget_gate == "sigmoid" else z_f) + m
        m = max(log_f, z_i) if n > 0 else z_i
        i, f, g, o = np.exp(z_i - m), np.exp(min(log_f - m, 0)), np.tanh(z_g), sigmoid(z_o)
        c, n = f * c + i * g, f * max(n, 0) + i
        return o * c / n, c, n, m, i, f, g, o

    def step(p, s, x, norm_x=same, norm_h=same):
        z = norm_x(x @ p.w_x) + norm_h(recurrent(p.w_h, s["h"])) + p.b
        found = [unit(*of_unit) for of_unit in zip(*np.split(z, 4), *cnm(s), strict=True)]
        values = dict(zip(["h", "c", "n", "m", "i", "f", "g", "o"], np.array(found).T, strict=True))
        state = {name: values[name] for name in "hcnm"}
        return state, state["h"], {name: values[name] for name in "ifgo"}

    def cnm(s):
        return s["c"], s["n"], s["m"]

    return OracleCell(step, zeros)


def mlstm(num_heads=1, key_size=None, input_gate="exp", output_norm=None):
    def head(q, k, v, z_i, z_f, c, n, m):
        if input_gate == "exp":
            log_f = log_sigmoid(z_f)
            m, old = max(log_f + m, z_i), m
            i, f = np.exp(z_i - m), np.exp(log_f + old - m)
        else:
            i, f = sigmoid(z_i), sigmoid(z_f)
        k = k / np.sqrt(len(k))
        c, n = f * c + i * np.outer(k, v), f * n + i * k
        return c.T @ q / (max(abs(n @ q), np.exp(-m)) + 1e-6), c, n, m, i, f

    def step(p, s, x, norm_x=same, norm_h=same):
        del norm_x, norm_h
        units = s["c"].shape[0] * s["c"].shape[2]
        keys = num_heads * (key_size or units // num_heads)
        q, k, v, o, z_i, z_f = cut(x @ p.w_x + p.b, keys, keys, units, units, num_heads, num_heads)
        q, k, v = (np.split(one, num_heads) for one in (q, k, v))
        m = s.get("m", np.zeros(num_heads))
        found = zip(
            *map(head, q, k, v, z_i, z_f, s["c"], s["n"], m),
            strict=True,
        )
        y, c, n, m, i, f = map(np.array, found)
        o = sigmoid(o)
        after = {"c": c, "n": n, "m": m} if input_gate == "exp" else {"c": c, "n": n}
        return after, o * normalize(output_norm, p.gain, y), {"i": i, "f": f, "o": o}

    return OracleCell(step, zeros)


def decay_of(decay, z):
    return np.exp(-np.exp(decay.a_log) * np.logaddexp(0, z + decay.dt_bias))


def gated_delta(
    num_heads=1, key_size=None, decay=True, negative_eigenvalues=False, output_norm=None
):
    def unit(z):
        return z / np.sqrt(z @ z + 1e-6)

    def head(q, k, v, b, a, s):
        q, k = unit(silu(q)), unit(silu(k))
        householder = np.eye(len(k)) - b * np.outer(k, k)
        s = a * householder @ s + b * np.outer(k, silu(v))
        return s.T @ q / np.sqrt(len(k)), s

    def step(p, state, x, norm_x=same, norm_h=same):
        del norm_x, norm_h
        s = state["s"]
        units = s.shape[0] * s.shape[2]
        keys = num_heads * (key_size or units // num_heads)
        q, k, v, b, *z_a = cut(x @ p.w_x, keys, keys, units, *[num_heads] * (1 + decay))
        b = sigmoid(b) * (2 if negative_eigenvalues else 1)
        a = decay_of(p.decay, z_a[0]) if decay else np.ones(num_heads)
        q, k, v = (np.split(one, num_heads) for one in (q, k, v))
        y, s = map(np.array, zip(*map(head, q, k, v, b, a, s), strict=True))
        gates = {"b": b, "a": a if decay else None}
        return {"s": s}, normalize(output_norm, p.gain, y), gates

    return OracleCell(step, zeros)


def linear_attention(num_heads=1, key_size=None, decay=None, normalizer=True, output_norm=None):
    def positive(u):
        return np.where(u > 0, u + 1, np.exp(np.minimum(u, 0)))

    def head(q, k, v, a, s, z):
        if normalizer:
            q, k = positive(q), positive(k)
        s, z = np.diag(a) @ s + np.outer(k, v), a * z + k
        return s.T @ q / (max(z @ q, 1e-6) if normalizer else np.sqrt(len(k))), s, z

    def step(p, state, x, norm_x=same, norm_h=same):
        del norm_x, norm_h
        s = state["s"]
        _, size, values = s.shape
        assert size == (key_size or values)
        keys, units = num_heads * size, num_heads * values
        more = {None: [], "head": [num_heads], "key": [keys]}[decay]
        q, k, v, *z_a = cut(x @ p.w_x, keys, keys, units, *more)
        a = np.ones((num_heads, size))
        if decay == "head":
            a = decay_of(p.decay, z_a[0])[:, None]
        elif decay == "key":
            a = sigmoid(z_a[0] + p.decay).reshape(num_heads, size) ** (1 / 16)
        q, k, v = (np.split(one, num_heads) for one in (q, k, v))
        rows = np.broadcast_to(a, (num_heads, size))
        z = state.get("z", np.zeros((num_heads, size)))
        y, s, z = map(np.array, zip(*map(head, q, k, v, rows, s, z), strict=True))
        after = {"s": s, "z": z} if normalizer else {"s": s}
        return after, normalize(output_norm, p.gain, y), {} if decay is None else {"a": a}

    return OracleCell(step, zeros)

"""One step of the diagonal linear cells in NumPy's complex numbers, as `tests.oracle` has others.

They have no recurrent product that a modifier reaches into, so the norms are left alone.
"""

import numpy as np

from tests.oracle import OracleCell, same, sigmoid, zeros


def joined(parts):
    """Give the complex numbers of an array [..., 2*N], real parts first."""
    re, im = np.split(parts, 2, axis=-1)
    return re + 1j * im


def through(d, x):
    return d * x if d.ndim == 1 else x @ d


def lru():
    def step(p, s, x, norm_x=same, norm_h=same):
        eigenvalue = np.exp(-np.exp(p.nu) + 1j * np.exp(p.theta))
        u = np.exp(p.gamma) * (x @ joined(p.w_x))
        h = eigenvalue * (s["re"] + 1j * s["im"]) + u
        y = np.real(h @ joined(p.w_y.T).T) + through(p.d, x)
        return {"re": h.real, "im": h.imag}, y, {}

    return OracleCell(step, zeros)


def s5(clip=True):
    def step(p, s, x, norm_x=same, norm_h=same):
        real = np.minimum(p.lambda_re, -1e-4) if clip else p.lambda_re
        eigenvalue, delta = real + 1j * p.lambda_im, np.exp(p.log_step)
        u = np.expm1(eigenvalue * delta) / eigenvalue * (x @ joined(p.w_x))
        h = np.exp(eigenvalue * delta) * (s["re"] + 1j * s["im"]) + u
        y = 2 * np.real(h @ joined(p.w_y.T).T) + through(p.d, x)
        return {"re": h.real, "im": h.imag}, y, {}

    return OracleCell(step, zeros)


def rg_lru():
    def step(p, s, x, norm_x=same, norm_h=same):
        u = x if p.w_x is None else x @ p.w_x
        heads, width, _ = p.w_g.shape
        i, r = [], []
        for n in range(heads):
            part = u[n * width : (n + 1) * width]
            i.extend(sigmoid(part @ p.w_g[n, :, :width] + p.b_g[n, :width]))
            r.extend(sigmoid(part @ p.w_g[n, :, width:] + p.b_g[n, width:]))
        i, r = np.array(i), np.array(r)
        a = np.exp(-8 * r * np.log1p(np.exp(p.p)))
        h = a * s["h"] + np.sqrt(1 - a**2) * i * u
        return {"h": h}, h, {"i": i, "r": r}

    return OracleCell(step, zeros)

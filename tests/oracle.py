"""The library's meaning once more, in NumPy float64 and plain loops.

Written to share nothing with the library but the layout of the parameters. Each row
of a batch is cut to its real steps and run on its own; a reset is a wall between two
steps; the reverse direction reads the cut row backwards. What is random in training
is not here: modifiers are as they are at evaluation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np


class Outputs(NamedTuple):
    """What a network gives, as plain dictionaries, one a layer."""

    y: Any  # [T, *B, O]
    finals: list  # field -> [(D,) *B, size]
    states: list  # field -> [(D,) T, *B, size]
    gates: list  # gate -> [(D,) T, *B, size]; {} where the cell shows none


class Row(NamedTuple):
    """The same of one row, over its real steps alone; one entry a layer and direction."""

    y: list
    finals: list
    states: list
    gates: list


class OracleCell(NamedTuple):
    """A cell: the next step, and the state that a sequence begins with."""

    step: Callable  # (params, state, x, norm_x, norm_h) -> (state, y, gates)
    initial: Callable  # (params, state of any step) -> state


def same(z):
    return z


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def bias(b):
    return 0.0 if b is None else b


def gates_of(z, names):
    """Cut one vector into gates."""
    return dict(zip(names, np.split(z, len(names)), strict=True))


def zeros(params, like):
    return jax.tree.map(np.zeros_like, like)


def elman(activation=np.tanh):
    def step(p, s, x, norm_x=same, norm_h=same):
        h = activation(norm_x(x @ p.w_x) + norm_h(s["h"] @ p.w_h) + bias(p.b))
        return {"h": h}, h, {}

    return OracleCell(step, zeros)


def independent(activation=lambda z: np.maximum(z, 0)):
    def step(p, s, x, norm_x=same, norm_h=same):
        recurrent = np.array([w * h for w, h in zip(p.w_h, s["h"], strict=True)])
        h = activation(norm_x(x @ p.w_x) + norm_h(recurrent) + bias(p.b))
        return {"h": h}, h, {}

    return OracleCell(step, zeros)


def lstm(coupled=False, gate_activation=sigmoid, cell_activation=np.tanh):
    def step(p, s, x, norm_x=same, norm_h=same):
        z = norm_x(x @ p.w_x) + norm_h(s["h"] @ p.w_h) + bias(p.b)
        z = gates_of(z, "fgo" if coupled else "ifgo")
        c_prev = s["c"]
        if p.peepholes is not None:
            z["f"] = z["f"] + p.peepholes.f * c_prev
            if not coupled:
                z["i"] = z["i"] + p.peepholes.i * c_prev
        f = gate_activation(z["f"])
        i = 1 - f if coupled else gate_activation(z["i"])
        g = cell_activation(z["g"])
        c = f * c_prev + i * g
        o = gate_activation(z["o"] + (0.0 if p.peepholes is None else p.peepholes.o * c))
        h = o * cell_activation(c)
        if p.w_p is not None:
            h = h @ p.w_p
        return {"h": h, "c": c}, h, {"i": i, "f": f, "g": g, "o": o}

    return OracleCell(step, zeros)


def gru(reset_after=True, gate_activation=sigmoid, activation=np.tanh):
    def step(p, s, x, norm_x=same, norm_h=same):
        h_prev, size = s["h"], len(s["h"])
        zx = gates_of(norm_x(x @ p.w_x) + bias(p.b), "rzn")
        if reset_after:
            b_h = np.concatenate([np.zeros(2 * size), bias(p.b_hn) * np.ones(size)])
            zh = gates_of(norm_h(h_prev @ p.w_h + b_h), "rzn")
        else:
            zh = gates_of(norm_h(h_prev @ p.w_h[:, : 2 * size]), "rz")
        r, z = gate_activation(zx["r"] + zh["r"]), gate_activation(zx["z"] + zh["z"])
        zh_n = r * zh["n"] if reset_after else (r * h_prev) @ p.w_h[:, 2 * size :]
        n = activation(zx["n"] + zh_n)
        h = (1 - z) * n + z * h_prev
        return {"h": h}, h, {"r": r, "z": z, "n": n}

    return OracleCell(step, zeros)


def minimal_gated():
    def step(p, s, x, norm_x=same, norm_h=same):
        h_prev, size = s["h"], len(s["h"])
        zx = gates_of(norm_x(x @ p.w_x) + bias(p.b), "fn")
        f = sigmoid(zx["f"] + norm_h(h_prev @ p.w_h[:, :size]))
        n = np.tanh(zx["n"] + (f * h_prev) @ p.w_h[:, size:])
        h = (1 - f) * h_prev + f * n
        return {"h": h}, h, {"f": f, "n": n}

    return OracleCell(step, zeros)


def standardise(z, epsilon=1e-5):
    return (z - z.mean()) / np.sqrt(((z - z.mean()) ** 2).mean() + epsilon)


def layer_norm(cell):
    def step(p, s, x, norm_x=same, norm_h=same):
        return cell.step(
            p.cell,
            s,
            x,
            lambda z: norm_x(p.gain_x * standardise(z)),
            lambda z: norm_h(p.gain_h * standardise(z)),
        )

    return OracleCell(step, lambda p, like: cell.initial(p.cell, like))


def zoneout(cell, rate):
    """Mix old and new state; y follows h where the cell hands out its h."""

    def step(p, s, x, norm_x=same, norm_h=same):
        new, y, gates = cell.step(p, s, x, norm_x, norm_h)
        rates = rate if isinstance(rate, dict) else dict.fromkeys(new, rate)
        mixed = {k: rates.get(k, 0.0) * s[k] + (1 - rates.get(k, 0.0)) * new[k] for k in new}
        return mixed, next((mixed[k] for k in new if y is new[k]), y), gates

    return OracleCell(step, cell.initial)


def learned_initial_state(cell):
    def step(p, s, x, norm_x=same, norm_h=same):
        return cell.step(p.cell, s, x, norm_x, norm_h)

    return OracleCell(step, lambda p, like: dict(p.initial._asdict()))


def sweep(cell, p, inputs, state, walls, backwards):
    """Run one direction over the real steps; its outputs stay in the order of time."""
    count = len(inputs)
    ys, states, gates = [None] * count, [None] * count, [None] * count
    for k in reversed(range(count)) if backwards else range(count):
        crossed = (k + 1 < count and walls[k + 1]) if backwards else walls[k]
        before = cell.initial(p, state) if crossed else state
        state, ys[k], gates[k] = cell.step(p, before, inputs[k])
        states[k] = state
    return state, ys, states, gates


def run_row(network, params, inputs, starts, walls):
    """Run all layers over one row that has nothing but real steps.

    Args:
      network: cells, and the options of `deep_rnn`.
      params: `DeepParams` of NumPy arrays.
      inputs: a list of vectors [I], one a step.
      starts: a list with one list a layer: the state of each direction, a dictionary.
      walls: a list of bool, True = a new sequence starts at this step.
    """
    row = Row([], [], [], [])
    below, current = [inputs], inputs
    each = zip(network.cells, params.layers, starts, strict=True)
    for index, (cell, p, start) in enumerate(each):
        read = current
        if network.skip == "dense":
            read = [np.concatenate(parts) for parts in zip(*below, strict=True)]
        seen = read
        if network.layer_norm and index > 0:
            seen = [p.norm.scale * standardise(v) + p.norm.shift for v in read]
        found = []
        for d, state in enumerate(start):
            cell_params = p.cell
            if network.bidirectional:
                cell_params = jax.tree.map(lambda leaf, d=d: leaf[d], p.cell)
            found.append(sweep(cell, cell_params, seen, state, walls, bool(d)))
        finals, ys, states, gates = zip(*found, strict=True)
        current = ys[0]
        if network.bidirectional:
            current = [network.merge(a, b) for a, b in zip(*ys, strict=True)]
        if index > 0 and network.skip == "residual":
            current = [u + v for u, v in zip(read, current, strict=True)]
        if index > 0 and network.skip == "highway":
            doors = [sigmoid(u @ p.highway.w + p.highway.b) for u in read]
            current = [t * v + (1 - t) * u for t, u, v in zip(doors, read, current, strict=True)]
        below.append(current)
        row.finals.append(finals)
        row.states.append(states)
        row.gates.append(gates)
    if params.readout is not None:
        current = [v @ params.readout.w + params.readout.b for v in current]
    row.y.extend(current)
    return row


def run(network, params, x, state, lengths=None, mask=None, resets=None):
    """Run a network over x [T, *B, I], row by row.

    Args:
      network: an object with `cells` (an `OracleCell` a layer), `bidirectional`, `merge`
        (a function), `skip` and `layer_norm`.
      params: `DeepParams`, leaves NumPy float64.
      x: [T, *B, I].
      state: the library's state, leaves [(D,) *B, size].
      lengths: int [*B] or None.
      mask: bool [T, *B] or None.
      resets: bool [T, *B] or None.

    Returns:
      `Outputs`. States at masked steps are what the last real step left; gates there
      are NaN: they mean nothing.
    """
    num_steps, *batch = x.shape[:-1]
    real = np.ones((num_steps, *batch), bool) if mask is None else mask.copy()
    walls = np.zeros_like(real) if resets is None else resets
    if lengths is not None:
        for t in range(num_steps):
            real[t] &= t < lengths
    layer_states = [one._asdict() for one in state]
    result = None
    for b in np.ndindex(*batch):
        starts = [
            [jax.tree.map(lambda v, d=d, b=b: v[(*d, *b)], one) for d in directions_of(network)]
            for one in layer_states
        ]
        if result is None:
            probe = run_row(network, params, [np.zeros(x.shape[-1])], starts, [False])
            result = allocate(network, probe, num_steps, batch)
        steps = [t for t in range(num_steps) if real[(t, *b)]]
        inputs = [x[(t, *b)] for t in steps]
        row = run_row(network, params, inputs, starts, [walls[(t, *b)] for t in steps])
        write_row(network, result, row, steps, starts, b)
    return result


def directions_of(network):
    """Give the index of each direction on the axis D; none where there is no such axis."""
    return [(0,), (1,)] if network.bidirectional else [()]


def allocate(network, probe, num_steps, batch):
    """Make the arrays that rows are written into, sized as one step's results are."""
    axes = (2,) if network.bidirectional else ()

    def fill(found, value, *time):
        return jax.tree.map(lambda v: np.full((*axes, *time, *batch, *np.shape(v)), value), found)

    return Outputs(
        y=np.zeros((num_steps, *batch, len(probe.y[0]))),
        finals=[fill(layer[0], np.nan) for layer in probe.finals],
        states=[fill(layer[0][0], np.nan, num_steps) for layer in probe.states],
        gates=[fill(layer[0][0], np.nan, num_steps) for layer in probe.gates],
    )


def put(tree, index, values):
    """Write values into arrays; a field of a state may be a tuple of arrays."""
    for into, value in zip(jax.tree.leaves(tree), jax.tree.leaves(values), strict=True):
        into[index] = value


def write_row(network, result, row, steps, starts, b):
    """Put a cut row back to where its steps were."""
    num_steps = len(result.y)
    for k, t in enumerate(steps):
        result.y[(t, *b)] = row.y[k]
    for layer, start in enumerate(starts):
        for j, d in enumerate(directions_of(network)):
            put(result.finals[layer], (*d, *b), row.finals[layer][j])
            for k, t in enumerate(steps):
                put(result.gates[layer], (*d, t, *b), row.gates[layer][j][k])
            for t in range(num_steps):
                # the last step done by then, in the direction's own order
                done = [k for k, s in enumerate(steps) if (s >= t if j else s <= t)]
                nearest = (min(done) if j else max(done)) if done else None
                after = start[j] if nearest is None else row.states[layer][j][nearest]
                put(result.states[layer], (*d, t, *b), after)

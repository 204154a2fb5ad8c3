"""Cells that torch does not have, as its user would write them: a loop over the steps.

The input's product is one over the whole sequence, before the loop.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks.workload import DROPOUT_RATE, Workload, dropout_masks

Run = Callable[[Any], Any]  # x [T, B, I] -> y [T, B, H]


def make_loop(workload: Workload, device: str, dtype: Any) -> tuple[Run, list[Any]]:
    """Return a function of x, and its weights, of lstm_norm or lstm_dropout."""
    import torch
    from torch.nn import functional

    size = workload.row.hidden_size
    norm = workload.row.cell == "lstm_norm"
    masks = [None] * workload.row.num_layers if norm else dropout_masks(workload)

    def tensor(value: Any) -> Any:
        return torch.tensor(np.asarray(value), device=device, dtype=dtype)

    layers = []
    for layer in workload.params.layers:
        cell = layer.cell.cell if norm else layer.cell
        values = [cell.w_x.T, cell.w_h.T, cell.b]
        values += [layer.cell.gain_x, layer.cell.gain_h] if norm else []
        layers.append([tensor(value).requires_grad_() for value in values])
    scales = [None if mask is None else tensor(mask / (1 - DROPOUT_RATE)) for mask in masks]

    def run_layer(x: Any, weights: list[Any], scale: Any) -> Any:
        w_x, w_h, b = weights[:3]
        x_proj = functional.linear(x, w_x)
        if norm:
            x_proj = functional.layer_norm(x_proj, (4 * size,), weights[3])
        h = c = x.new_zeros(x.shape[1], size)
        outputs = []
        for x_t in (x_proj + b).unbind():
            h_proj = functional.linear(h if norm else h * scale, w_h)
            if norm:
                h_proj = functional.layer_norm(h_proj, (4 * size,), weights[4])
            i, f, g, o = (x_t + h_proj).chunk(4, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs)

    def run(x: Any) -> Any:
        for weights, scale in zip(layers, scales, strict=True):
            x = run_layer(x, weights, scale)
        return x

    return run, [weight for weights in layers for weight in weights]

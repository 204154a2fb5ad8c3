"""PyTorch: `nn.RNN`, `nn.LSTM`, `nn.GRU`, time-major, on all cores or the GPU."""

import os
from typing import Any

import jax
import numpy as np

from deeprnn_jax import interop
from experiments.benchmarks.peers.contract import NotRunError, Program
from experiments.benchmarks.workload import Workload


def build(workload: Workload) -> Program:
    """Make the program of torch's own recurrent module."""
    try:
        import torch
    except ModuleNotFoundError:
        raise NotRunError("torch is not installed") from None
    row = workload.row
    if row.cell not in ("rnn", "lstm", "gru"):
        raise NotRunError(f"torch has no {row.cell}")
    device = _device(torch)
    torch.set_num_threads(os.cpu_count() or 1)
    dtype = getattr(torch, workload.dtype)
    module = interop.to_torch(workload.rnn, workload.params).to(device, dtype)
    module.flatten_parameters()
    weights = list(module.parameters())
    x = torch.tensor(workload.x, device=device, dtype=dtype)
    x_leaf = x.clone().requires_grad_()

    def forward() -> Any:
        with torch.inference_mode():
            return module(x)[0]

    def train() -> Any:
        loss = module(x_leaf)[0].float().square().mean()
        dx, *d_weights = torch.autograd.grad(loss, [x_leaf, *weights])
        return loss, dx, d_weights

    def step(state: Any, x_t: Any) -> tuple[Any, Any]:
        with torch.inference_mode():
            y, state = module(x_t, state)
            return state, y

    return Program(
        forward=forward,
        train=train,
        wait=_waiter(torch, device),
        to_numpy=lambda y: np.asarray(y.detach().float().cpu().numpy()),
        stream=None if row.bidirectional else step,
        stream_inputs=list(x[:, None]),
    )


def _device(torch: Any) -> str:
    """Return the device like JAX's, or raise NotRunError."""
    backend = jax.default_backend()
    if backend == "cpu":
        return "cpu"
    if backend == "gpu" and torch.cuda.is_available():
        return "cuda"
    raise NotRunError(f"this torch has no {backend}")


def _waiter(torch: Any, device: str) -> Any:
    def wait(value: Any) -> Any:
        if device == "cuda":
            torch.cuda.synchronize()
        return value

    return wait

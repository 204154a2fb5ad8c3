"""PyTorch: `nn.RNN`, `nn.LSTM`, `nn.GRU`, time-major, on all cores or the GPU."""

import os
from functools import partial
from typing import Any

import jax
import numpy as np

from deeprnn_jax import interop
from experiments.benchmarks.peers.contract import NotRunError, Program, Stream
from experiments.benchmarks.peers.torch_loop import make_loop
from experiments.benchmarks.workload import Workload


def build(workload: Workload, threads: int | None = None) -> Program:
    """Make the program of torch's own recurrent module.

    Args:
      workload: the row.
      threads: that it may use; None: as many as there are cores.

    Raises:
      NotRunError: if torch is not there, or has not the cell or the device.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise NotRunError("torch is not installed") from None
    row = workload.row
    if row.cell == "gru_before":
        raise NotRunError("torch has no gru_before")
    device, dtype = _device(torch), getattr(torch, workload.dtype)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    x = torch.tensor(workload.x, device=device, dtype=dtype)
    x_leaf = x.clone().requires_grad_()
    note, module = "", None
    if row.cell in ("lstm_norm", "lstm_dropout"):
        run, weights = make_loop(workload, device, dtype)
        note = "a Python loop over the steps: torch has no such module"
    else:
        module = interop.to_torch(workload.rnn, workload.params).to(device, dtype)
        module.flatten_parameters()
        run, weights = partial(_outputs, module), list(module.parameters())

    def forward() -> Any:
        with torch.inference_mode():
            return run(x)

    def train() -> Any:
        loss = run(x_leaf).float().square().mean()
        dx, *d_weights = torch.autograd.grad(loss, [x_leaf, *weights])
        return loss, dx, d_weights

    def step(state: Any, x_t: Any) -> tuple[Any, Any]:
        assert module is not None
        with torch.inference_mode():
            y, state = module(x_t, state)
            return state, y[0]

    is_streamed = module is not None and not row.bidirectional
    return Program(
        forward=forward,
        train=train,
        wait=_waiter(torch, device),
        to_numpy=lambda y: np.asarray(y.detach().float().cpu().numpy()),
        make_stream=(lambda: Stream(step, None, list(x[:, None]))) if is_streamed else None,
        note=note,
    )


def _outputs(module: Any, x: Any) -> Any:
    return module(x)[0]


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

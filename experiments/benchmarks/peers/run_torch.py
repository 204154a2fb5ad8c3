"""PyTorch: `nn.RNN`, `nn.LSTM`, `nn.GRU`, time-major, on its best threads or the GPU."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from deeprnn_jax import interop
from experiments.benchmarks.peers.contract import NotRunError, Program, Stream, library
from experiments.benchmarks.peers.torch_loop import make_loop
from experiments.benchmarks.workload import Workload


def build(workload: Workload, threads: int | None = None) -> Program:
    """Make the program of torch's own recurrent module.

    Args:
      workload: the row.
      threads: that it may use; None: all cores or one, whichever is the faster for the
        forward pass, for the train step and for a streaming step. On small rows that is
        often one: its threads' barriers cost more than the arithmetic.

    Raises:
      NotRunError: if torch is not there, or has not the cell or the device.
    """
    torch = library("torch")
    row = workload.row
    if row.cell == "gru_before":
        raise NotRunError("torch has no gru_before")
    device, dtype = _device(torch), getattr(torch, workload.dtype)
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

    counts = [1, os.cpu_count() or 1] if threads is None else [threads]
    if device != "cpu":
        counts = counts[-1:]
    on_forward = _fastest(torch, forward, counts)
    on_train = _fastest(torch, train, counts)
    inputs = list(x[:, None]) if module is not None else []
    is_streamed, stream_note = module is not None and not row.bidirectional, ""
    if is_streamed:
        on_step = _fastest(torch, lambda: step(None, inputs[0]), counts)
        step, stream_note = _with_threads(torch, step, on_step), f"threads: {on_step}"
    note = "; ".join(filter(None, [note, f"threads: forward {on_forward}, train {on_train}"]))
    return Program(
        forward=_with_threads(torch, forward, on_forward),
        train=_with_threads(torch, train, on_train),
        wait=_waiter(torch, device),
        to_numpy=lambda y: np.asarray(y.detach().float().cpu().numpy()),
        make_stream=(lambda: Stream(step, None, inputs)) if is_streamed else None,
        note=note,
        stream_note=stream_note,
    )


def _fastest(torch: Any, call: Callable[[], Any], counts: Sequence[int]) -> int:
    """Return with how many threads a call is the fastest, by the best of a few."""
    if len(counts) == 1:
        return counts[0]
    seconds = {}
    for count in counts:
        torch.set_num_threads(count)
        call()  # the first is not like the others
        samples = []
        for _ in range(5):
            start = time.perf_counter()
            call()
            samples.append(time.perf_counter() - start)
        seconds[count] = min(samples)
    return min(seconds, key=seconds.__getitem__)


def _with_threads(torch: Any, call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Return the call on so many threads."""

    def on_threads(*operands: Any) -> Any:
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)
        return call(*operands)

    return on_threads


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

"""What the benchmark asks of a library: programs that run one and the same network."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from experiments.benchmarks.workload import Workload


class NotRunError(Exception):
    """Say why a library has no part in a row: it lacks the cell, or is not installed."""


class Program(NamedTuple):
    """A network in one library, with the workload's weights and inputs, ready to run.

    What `forward`, `train` and `step` return may still be under way; `wait` waits for it.
    """

    forward: Callable[[], Any]  # -> y, in the library's own layout
    train: Callable[[], Any]  # -> (loss, gradient of x, gradients of all parameters)
    wait: Callable[[Any], Any]
    to_numpy: Callable[[Any], np.ndarray]  # y or the gradient of x -> [T, B, size]
    lower: Callable[[], Any] | None = None  # traces the train step anew; None: no compiler
    stream: Callable[[Any, Any], tuple[Any, Any]] | None = None  # (state, x_t) -> (state, y_t)
    stream_state: Any = None  # the state before the first step
    stream_inputs: Any = None  # x_t, one after the other, as the library takes them
    note: str = ""  # what the reader of a row should know


class BuildFn(Protocol):
    """Makes a library's program of a workload, or raises NotRunError."""

    def __call__(self, workload: Workload) -> Program: ...

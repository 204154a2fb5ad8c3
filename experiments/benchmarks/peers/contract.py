"""What the benchmark asks of a library: programs that run one and the same network."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np

from experiments.benchmarks.workload import Workload


class NotRunError(Exception):
    """Say why an entry has no part in a row: it lacks the cell, or is not installed."""


def library(module: str, package: str | None = None) -> Any:
    """Import a library.

    Args:
      module: its module.
      package: what it is installed by, if that has another name.

    Raises:
      NotRunError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise NotRunError(f"{package or module} is not installed") from None


class Stream(NamedTuple):
    """A network that is fed one step after the other."""

    step: Callable[[Any, Any], tuple[Any, Any]]  # (state, x_t) -> (state, y_t [B, H])
    state: Any  # before the first step
    inputs: list[Any]  # x_t, as the library takes it


class Program(NamedTuple):
    """A network in one library, with the workload's weights and inputs, ready to run.

    What `forward`, `train` and `stream` give may still be under way; `wait` waits for it.
    """

    forward: Callable[[], Any]  # -> y
    train: Callable[[], Any]  # -> (loss, gradient of x, gradients of all parameters)
    wait: Callable[[Any], Any]
    to_numpy: Callable[[Any], np.ndarray]  # any of the arrays
    batch_major: bool = False  # y and the gradient of x are [B, T, size], not [T, B, size]
    lower: Callable[[], Any] | None = None  # traces the train step anew; None: no compiler
    train_arguments: tuple[Any, ...] = ()  # those of the compiled train step
    make_stream: Callable[[], Stream] | None = None  # None: not for this row
    note: str = ""  # what the reader of a row should know
    stream_note: str = ""  # likewise, of its single steps


class BuildFn(Protocol):
    """Makes a library's program of a workload, or raises NotRunError."""

    def __call__(self, workload: Workload) -> Program: ...

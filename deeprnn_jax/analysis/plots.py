"""Pictures of what the instruments give: each one call, a matplotlib figure, readable in grey.

`figure.savefig("memory.pdf")` writes it. Needs matplotlib, as `deeprnn_jax[experiments]` has it.
"""

from typing import Any

import numpy as np

from deeprnn_jax.analysis.fixed_points import FixedPoints
from deeprnn_jax.analysis.gradients import Memory
from deeprnn_jax.analysis.lyapunov import Spectrum
from deeprnn_jax.analysis.probes import Probe
from deeprnn_jax.types import Array

_LINES = ("-", "--", "-.", ":")


def plot_memory(memory: Memory) -> Any:
    """Draw the gradient's norm by lag, a line a layer, and the horizon as a mark on it.

    Args:
      memory: of `memory_horizon`; of several rows the geometric mean is drawn, and the median of
        their horizons.

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: if matplotlib is not installed; from all that follow likewise.
    """
    figure, axes = _figure("plot_memory")
    by_lag, horizon = np.asarray(memory.by_lag), np.asarray(memory.horizon)
    num_layers, num_lags = by_lag.shape[:2]
    rows, marked = by_lag.reshape(num_layers, num_lags, -1), False
    for layer, row in enumerate(rows):
        line = _geometric_mean(row)
        style = _style(layer, num_layers)
        axes.plot(np.arange(num_lags), line, label=f"layer {layer + 1}", **style)
        at = int(np.median(horizon.reshape(num_layers, -1)[layer]))
        if 0 < at < num_lags:
            axes.plot(at, line[at], "o", color=style["color"], label=None if marked else "horizon")
            marked = True
    axes.set(xlabel="lag (steps before the last)", ylabel="gradient norm ‖dL/ds‖", yscale="log")
    return _finished(figure, axes)


def plot_gradient_flow(norms: Array) -> Any:
    """Draw the gradient's norm at every step, a line a layer and direction.

    Args:
      norms: of `gradient_flow`, `[L, T, *B]`; of two directions those of one, `norms[:, 0]`. The
        geometric mean over rows is drawn.

    Returns:
      A matplotlib `Figure`.
    """
    figure, axes = _figure("plot_gradient_flow")
    found = np.asarray(norms)
    for layer, row in enumerate(found.reshape(*found.shape[:2], -1)):
        axes.plot(_geometric_mean(row), label=f"layer {layer + 1}", **_style(layer, len(found)))
    axes.set(xlabel="step t", ylabel="gradient norm ‖dL/ds_t‖", yscale="log")
    return _finished(figure, axes)


def plot_singular_values(logs: Array, every: int = 1) -> Any:
    """Draw the singular values of the product of Jacobians over time, per step.

    Args:
      logs: of `singular_values`, `[T // every, N]`, of one row.
      every: as given there.

    Returns:
      A matplotlib `Figure`: log σ_k / t, which go to the Lyapunov exponents.
    """
    figure, axes = _figure("plot_singular_values")
    found = np.asarray(logs)
    if found.ndim != 2:
        raise ValueError(
            f"plot_singular_values: logs must be of one row, [T, N], got shape {found.shape}; give "
            "logs[:, 0], say"
        )
    steps = every * (1 + np.arange(len(found)))
    for k, line in enumerate(found.T):
        axes.plot(steps, line / steps, color=str(0.75 * k / len(found.T)), linewidth=0.9)
    axes.axhline(0, color="0.6", linewidth=0.6)
    axes.set(xlabel="step t", ylabel="log σ_k / t (nats a step)")
    return _finished(figure, axes, legend=False)


def plot_spectrum(spectrum: Spectrum, time_step: float = 1.0, unit: str = "step") -> Any:
    """Draw Lyapunov exponents with their standard errors.

    Args:
      spectrum: of `lyapunov_spectrum`; of several rows, the mean, and the error of it.
      time_step: how long a step is, in the unit.
      unit: of time, for the axis.

    Returns:
      A matplotlib `Figure`.
    """
    figure, axes = _figure("plot_spectrum")
    values, errors = (
        np.asarray(one).reshape(-1, np.shape(one)[-1]) / time_step for one in spectrum
    )
    mean, error = values.mean(0), np.sqrt((errors**2).sum(0)) / len(errors)
    index = 1 + np.arange(len(mean))
    axes.errorbar(index, mean, yerr=error, fmt="o", color="0", markersize=4, capsize=3)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set(xlabel="index k", ylabel=f"Lyapunov exponent λ_k (nats a {unit})")
    return _finished(figure, axes, legend=False)


def plot_fixed_points(found: FixedPoints, trajectories: Array) -> Any:
    """Draw fixed points in the plane of the trajectories' first two principal components.

    Args:
      found: of `fixed_points`.
      trajectories: states as vectors, `[T, M, N]`: see `to_vector`.

    Returns:
      A matplotlib `Figure`: trajectories thin, stable points full, the others empty.
    """
    figure, axes = _figure("plot_fixed_points")
    paths = np.asarray(trajectories)
    if paths.ndim != 3 or paths.shape[-1] != found.points.shape[-1]:
        raise ValueError(
            f"plot_fixed_points: trajectories must be [T, M, N={found.points.shape[-1]}], got "
            f"shape {paths.shape}"
        )
    visited = paths.reshape(-1, paths.shape[-1])
    mean = visited.mean(0)
    _, sizes, directions = np.linalg.svd(visited - mean, full_matrices=False)
    plane, shares = directions[:2].T, sizes**2 / np.sum(sizes**2)
    for path in np.moveaxis((paths - mean) @ plane, 1, 0):
        axes.plot(path[:, 0], path[:, 1], color="0.75", linewidth=0.6, zorder=1)
    points, is_fixed = (np.asarray(found.points) - mean) @ plane, np.asarray(found.is_fixed)
    is_stable = np.asarray(found.is_stable)
    for name, chosen, face in (("stable", is_stable, "0"), ("unstable", ~is_stable, "1")):
        at = points[is_fixed & chosen]
        axes.scatter(
            at[:, 0], at[:, 1], s=36, facecolors=face, edgecolors="0", label=name, zorder=2
        )
    axes.set(
        xlabel=f"first principal component ({shares[0]:.0%} of variance)",
        ylabel=f"second ({shares[1]:.0%})",
    )
    return _finished(figure, axes)


def plot_probe(found: Probe, names: list[str] | None = None) -> Any:
    """Draw the accuracy of probes by layer, and that with shuffled labels.

    Args:
      found: of `probe` under `jax.vmap`, leaves `[L]`; or `[L, F]`, of several features.
      names: of the features.

    Returns:
      A matplotlib `Figure`, with standard errors.
    """
    figure, axes = _figure("plot_probe")
    columns = [np.asarray(one).reshape(len(one), -1) for one in found]
    count = columns[0].shape[1]
    layers = 1 + np.arange(len(columns[0]))
    labels = ["probe"] if names is None and count == 1 else names or range(1, count + 1)
    for k, name in zip(range(count), labels, strict=True):
        style = _style(k, count) | {"capsize": 3, "marker": "o", "markersize": 4}
        accuracy, error, baseline, baseline_error = (100 * one[:, k] for one in columns)
        axes.errorbar(layers, accuracy, yerr=error, label=str(name), **style)
        shuffled = {"marker": "x", "linewidth": 0.7, "label": "shuffled labels" if not k else None}
        axes.errorbar(layers, baseline, yerr=baseline_error, **style | shuffled)
    axes.set(xlabel="layer", ylabel="accuracy (% of held-out rows)", xticks=layers)
    return _finished(figure, axes)


def _figure(function: str) -> tuple[Any, Any]:
    """Give a figure, made without pyplot, which would keep it alive, and its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            f"{function}: matplotlib must be installed, it is not; "
            "pip install 'deeprnn_jax[experiments]'"
        ) from error
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    return figure, figure.subplots()


def _finished(figure: Any, axes: Any, legend: bool = True) -> Any:
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False, fontsize="small")
    return figure


def _style(index: int, count: int) -> dict[str, Any]:
    """Give a line a grey and dashes of its own."""
    return {"color": str(0.65 * index / max(count, 1)), "linestyle": _LINES[index % len(_LINES)]}


def _geometric_mean(rows: np.ndarray) -> np.ndarray:
    """Average `[T, M]` over the rows that are there and not zero; NaN where none is."""
    is_there = rows > 0
    count = is_there.sum(-1)
    logs = np.log(np.where(is_there, rows, 1)).sum(-1)
    return np.where(count > 0, np.exp(logs / np.maximum(count, 1)), np.nan)

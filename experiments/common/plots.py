"""Pictures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def learning_curve(
    path: Path,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    levels: Mapping[str, float],
    ylabel: str,
    title: str,
) -> None:
    """Draw curves over the training steps and levels to compare them with.

    Args:
      path: the PNG file to write.
      curves: for each curve its `(step, value)` points.
      levels: for each baseline its value, drawn as a horizontal line.
      ylabel: what the values are, with their unit.
      title: the picture's title.
    """
    # No pyplot: its global state would pick a window system and keep figures alive.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, points in curves.items():
        if points:
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, label=name, marker="." if len(points) < 40 else "")
    for i, (name, value) in enumerate(levels.items()):
        axes.axhline(value, label=name, color="0.4", linestyle=("--", "-.", ":")[i % 3])
    axes.set_xlabel("training step")
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)

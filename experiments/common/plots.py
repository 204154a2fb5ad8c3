"""Pictures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.common.metrics import curve_of, read_metrics

_LINES, _MARKERS = ("-", "--", "-.", ":"), ("o", "^", "s", "x", "d")


def style(i: int) -> dict[str, Any]:
    """Return colour, dashes and marker of the line number i: twenty can be told apart in grey."""
    return {
        "color": f"C{i % 10}",
        "linestyle": _LINES[i % 4],
        "marker": _MARKERS[i % 5],
        "markersize": 4,
        "markevery": 0.1,
    }


def figure(
    columns: int = 1, rows: int = 1, size: tuple[float, float] = (7.0, 4.5), **options: Any
) -> tuple[Figure, Any]:
    """Return a picture and its axes: one, a row or column of them, or `[rows, columns]`.

    Without pyplot, whose global state would pick a window system and keep figures alive.

    Args:
      columns: axes from left to right.
      rows: axes from top to bottom.
      size: width and height that each is given, in inches.
      **options: further ones of `Figure.subplots`.
    """
    made = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return made, made.subplots(rows, columns, **options)


def draw_run(
    folder: Path,
    name: str,
    levels: Mapping[str, float],
    ylabel: str,
    title: str,
    *,
    from_evaluation: bool = False,
) -> None:
    """Draw a run's learning curve, of training and validation, as `learning_curve.png`.

    Args:
      folder: the run's folder.
      name: of the scalars `train_<name>` and `validation_<name>`.
      levels: see `learning_curve`.
      ylabel: what the values are, with their unit.
      title: the picture's title.
      from_evaluation: leave out what was before the first evaluation.
    """
    records = read_metrics(folder)
    if from_evaluation:
        first = next(i for i, record in enumerate(records) if f"validation_{name}" in record)
        records = records[first:]
    curves = {split: curve_of(records, f"{split}_{name}") for split in ("train", "validation")}
    learning_curve(folder / "learning_curve.png", curves, levels, ylabel, title)


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
    picture, axes = figure()
    for name, points in curves.items():
        if points:
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, label=name, marker="." if len(points) < 40 else "")
    for i, (name, value) in enumerate(levels.items()):
        axes.axhline(value, label=name, color="0.4", linestyle=("--", "-.", ":")[i % 3])
    axes.set(xlabel="training step", ylabel=ylabel, title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    picture.savefig(path, dpi=120)

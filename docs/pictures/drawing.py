"""What the pictures share: sizes that read well on a phone, greys, boxes and arrows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

DARK, MIDDLE, LIGHT, PALE = "#1f3b57", "#5b86ad", "#b9cfe3", "#eef3f8"
INK, HINT = "#1a1a1a", "#555555"
# At this width and size of font a phone's 390 points still show letters of 9.
WIDTH, FONT = 6.4, 13


@contextmanager
def picture(path: Path, height: float) -> Iterator[Figure]:
    """Give an empty picture, and write it as PNG when it is done."""
    settings: Any = {"font.size": FONT, "font.family": "DejaVu Sans"}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure
        # No software's version, which would change the file with each release.
        figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})


def bare(figure: Figure, width: float, height: float) -> Axes:
    """Give axes without frame, of so many units, the origin at the lower left."""
    axes = figure.add_subplot()
    axes.set_xlim(-0.05, width + 0.05)
    axes.set_ylim(-0.05, height + 0.05)
    axes.set_axis_off()
    return axes


def box(
    axes: Axes,
    at: tuple[float, float],
    size: tuple[float, float],
    text: str,
    *,
    fill: str = PALE,
    font: float = FONT,
    **options: Any,
) -> None:
    """Draw a box with its lower left corner `at`, and a text in it."""
    (x, y), (width, height) = at, size
    settings = {"facecolor": fill, "edgecolor": INK, "linewidth": 1.2} | options
    axes.add_patch(Rectangle(at, width, height, **settings))
    color = "white" if fill in (DARK, MIDDLE) else INK
    middle = x + width / 2, y + height / 2
    words(axes, middle, text, color=color, fontsize=font, linespacing=1.35)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **options: Any) -> None:
    """Draw an arrow."""
    settings: dict[str, Any] = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.4}
    axes.annotate("", end, start, arrowprops=settings | options)


def words(axes: Axes, at: tuple[float, float], text: str, **options: Any) -> None:
    """Write a text, in the middle of `at` unless told otherwise."""
    settings: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": FONT, "color": INK}
    axes.text(*at, text, **settings | options)

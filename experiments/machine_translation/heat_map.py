"""A picture of attention: where the decoder looked while it wrote each piece."""

import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.machine_translation.trained import Alignment


def draw_attention(path: Path, alignment: Alignment, title: str) -> None:
    """Draw weights as a grey map, the source from left to right.

    Args:
      path: the PNG file to write.
      alignment: pieces of both sides and weights.
      title: the picture's title.
    """
    rows, columns = alignment.weights.shape
    # No pyplot: its global state would pick a window system and keep figures alive.
    width, height = 2.0 + 0.32 * columns, 1.6 + 0.28 * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(alignment.weights, cmap="gray_r", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(columns), [_plain(p) for p in alignment.source], rotation=90)
    axes.set_yticks(range(rows), [_plain(p) for p in alignment.target])
    axes.set_xlabel("source, ▁ for a space")
    axes.set_title(_plain(title), fontsize=9)
    with warnings.catch_warnings():
        # An empty box says as much about a sign that the picture's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(path, dpi=120)


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # not the begin of a formula

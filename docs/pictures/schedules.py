"""The schedules: when each layer does each time step."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from docs.pictures.drawing import DARK, FONT, LIGHT, MIDDLE, PALE, picture

LAYERS, STEPS, BLOCK = 4, 8, 2


def layerwise(layer: int, time: int) -> int:
    """Each layer's loop follows the one below."""
    return layer * STEPS + time


def wavefront(layer: int, time: int) -> int:
    """All layers in one loop, each a step behind the one below."""
    return time + layer


def pipeline(layer: int, time: int) -> int:
    """The diagonals of blocks; in a block, one step after the other."""
    return (time // BLOCK + layer) * BLOCK + time % BLOCK


def parallel(layer: int, time: int) -> int:
    """All steps of a layer at once."""
    del time
    return layer


def _draw_one(axes: Axes, title: str, when: Callable[[int, int], int]) -> None:
    last = when(LAYERS - 1, STEPS - 1)
    fills = (PALE, LIGHT, MIDDLE, DARK)
    for layer in range(LAYERS):
        for time in range(STEPS):
            turn = when(layer, time)
            fill = fills[min(3, 4 * turn // (last + 1))]
            square = Rectangle(
                (time, layer), 1, 1, facecolor=fill, edgecolor="white", linewidth=1.5
            )
            axes.add_patch(square)
            color = "white" if fill in (MIDDLE, DARK) else "#1a1a1a"
            text = {"ha": "center", "va": "center", "fontsize": FONT - 2, "color": color}
            axes.text(time + 0.5, layer + 0.5, str(turn + 1), **text)
    axes.set_xlim(0, STEPS)
    axes.set_ylim(0, LAYERS)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([layer + 0.5 for layer in range(LAYERS)], [str(n + 1) for n in range(LAYERS)])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(f"{title}: {last + 1} turns", fontsize=FONT)


def draw(path: Path) -> None:
    """Draw four grids; a number says at which turn, a darker square comes later."""
    titles = {
        '"layerwise"': layerwise,
        '"wavefront"': wavefront,
        f'"pipeline", K = {BLOCK}': pipeline,
        '"parallel"': parallel,
    }
    with picture(path, 4.0) as figure:
        grids = figure.subplots(2, 2)
        for axes, (title, when) in zip(grids.flat, titles.items(), strict=True):
            _draw_one(axes, title, when)
        for axes in grids[:, 0]:
            axes.set_ylabel("layer")
        for axes in grids[1]:
            axes.set_xlabel("time →")

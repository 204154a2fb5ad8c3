"""A cell: what each of its functions reads and gives, in one step."""

from pathlib import Path

from docs.pictures.drawing import LIGHT, arrow, bare, box, picture, words


def draw(path: Path) -> None:
    """Draw one step."""
    with picture(path, 3.4) as figure:
        axes = bare(figure, 12, 7)
        box(axes, (0.1, 4.6), (2.6, 1.6), "state$_{t-1}$\nh, c", fill=LIGHT)
        box(axes, (0.1, 0.8), (2.6, 1.6), "input\n$x_t$", fill=LIGHT)
        box(axes, (3.9, 4.6), (3.2, 1.6), "project_state\n$h_{t-1} W_h$")
        box(axes, (3.9, 0.8), (3.2, 1.6), "project_input\n$x_t W_x$")
        box(axes, (8.2, 2.5), (1.75, 2.0), "update\ngates")
        box(axes, (10.75, 4.6), (1.2, 1.6), "state$_t$", fill=LIGHT)
        box(axes, (10.75, 0.8), (1.2, 1.6), "$y_t$", fill=LIGHT)
        arrow(axes, (2.7, 5.4), (3.9, 5.4))
        arrow(axes, (2.7, 1.6), (3.9, 1.6))
        arrow(axes, (7.1, 5.2), (8.2, 4.0))
        arrow(axes, (7.1, 1.8), (8.2, 3.0))
        axes.plot([1.4, 1.4, 8.7], [6.2, 6.65, 6.65], color="#1a1a1a", linewidth=1.4)
        arrow(axes, (8.7, 6.65), (8.7, 4.5))
        arrow(axes, (9.95, 4.0), (10.75, 5.0))
        arrow(axes, (9.95, 3.0), (10.75, 2.0))
        words(axes, (5.5, 0.3), "needs no state: all steps at once")
        words(axes, (5.5, 4.1), "in the loop")

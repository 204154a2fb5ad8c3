"""The engine: what runs before, in and after a loop, forward and backward."""

from pathlib import Path

from docs.pictures.drawing import DARK, FONT, LIGHT, arrow, bare, box, picture, words


def draw(path: Path) -> None:
    """Draw both passes."""
    size, font = (3.6, 1.9), FONT - 1
    with picture(path, 4.3) as figure:
        axes = bare(figure, 12.4, 8.4)
        for x, name in ((1.8, "once, all steps"), (6.2, "step by step"), (10.6, "once, all steps")):
            words(axes, (x, 8.0), name, weight="bold")
        words(axes, (0, 7.2), "forward", ha="left")
        box(axes, (0, 4.9), size, "reads x alone:\n$X W_x$", fill=LIGHT, font=font)
        box(axes, (4.4, 4.9), size, "reads the carry:\n$h W_h$, gates", fill=DARK, font=font)
        box(axes, (8.8, 4.9), size, "no carry needs it:\nread-out", fill=LIGHT, font=font)
        arrow(axes, (3.6, 5.85), (4.4, 5.85))
        arrow(axes, (8.0, 5.85), (8.8, 5.85))
        arrow(axes, (6.2, 4.9), (6.2, 3.4), linestyle="--")
        words(
            axes, (6.4, 4.15), "kept: as few bytes as no product\nneed be repeated for", ha="left"
        )
        words(axes, (0, 3.5), "backward", ha="left")
        box(axes, (0, 1.2), size, "gradient of each\nweight: one product", fill=LIGHT, font=font)
        box(axes, (4.4, 1.2), size, "gradients of the\nstate alone", fill=DARK, font=font)
        box(axes, (8.8, 1.2), size, "gradients of\nthe read-out", fill=LIGHT, font=font)
        arrow(axes, (8.8, 2.15), (8.0, 2.15))
        arrow(axes, (4.4, 2.15), (3.6, 2.15))
        words(axes, (6.2, 0.5), "(here time goes from right to left)")

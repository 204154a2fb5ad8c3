"""What lengths, masks, resets and chunks do to the state, on two rows of a batch."""

from pathlib import Path

from docs.pictures.drawing import FONT, INK, LIGHT, PALE, bare, box, picture, words

STEPS, CHUNK, LENGTH, RESET, MASKED = 10, 5, 7, 6, 2


def states(row: int) -> list[tuple[str, bool, bool]]:
    """Return of each step: the state after it, whether the step is real, whether it resets."""
    found, before, sequence = [], 0, "a" if row == 0 else "b"
    for time in range(STEPS):
        real = time < LENGTH if row == 0 else time != MASKED
        reset = row == 1 and time == RESET
        if reset:
            sequence, before = "c", 0
        before += real
        found.append((f"{sequence}{before}", real, reset))
    return found


def draw(path: Path) -> None:
    """Draw both rows, the chunks' boundary between them."""
    with picture(path, 4.2) as figure:
        axes = bare(figure, STEPS + 1.0, 8.2)
        names = ("row 1: lengths = 7", "row 2: masked at step 2, reset at step 6")
        for row, name in enumerate(names):
            base = 4.6 - 4.0 * row
            words(axes, (1.0, base + 2.55), name, ha="left")
            for y, label in ((base + 1.5, "h"), (base + 0.5, "y")):
                words(axes, (0.5, y), label)
            for time, (state, real, reset) in enumerate(states(row)):
                at = 1.0 + time
                fill, hatch = (LIGHT, None) if real else ("white", "////")
                options = {"edgecolor": "#777777", "linewidth": 0.8}
                box(axes, (at, base + 1), (1, 1), "", fill=fill, hatch=hatch, **options)
                words(
                    axes,
                    (at + 0.5, base + 1.5),
                    state,
                    bbox=None if real else {"facecolor": "white", "edgecolor": "none", "pad": 1},
                )
                box(axes, (at, base), (1, 1), "y" if real else "0", fill=PALE, **options)
                if reset:
                    axes.plot([at, at], [base - 0.1, base + 2.2], color=INK, linewidth=3.5)
        middle = 1.0 + CHUNK
        axes.plot([middle, middle], [0.1, 7.5], color=INK, linewidth=1.6, linestyle=(0, (4, 3)))
        words(axes, (middle, 7.85), "chunk 1 | chunk 2: the state is handed on", fontsize=FONT)
        for time in range(STEPS):
            words(axes, (1.5 + time, 0.25), str(time), fontsize=FONT - 2)
        words(axes, (0.5, 0.25), "t", fontsize=FONT - 2)

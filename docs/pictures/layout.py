"""How parameters and states are held: one entry a layer, or one a group of equal layers."""

from pathlib import Path

from docs.pictures.drawing import FONT, LIGHT, MIDDLE, PALE, bare, box, picture, words


def draw(path: Path) -> None:
    """Draw four layers held apart and held stacked, beside their states."""
    font = FONT - 1
    with picture(path, 4.8) as figure:
        axes = bare(figure, 12.4, 9.7)
        for x, name in ((0, "held apart (the default)"), (6.3, "stack_layers=True")):
            words(axes, (x + 2.95, 9.4), name, weight="bold")
            words(axes, (x + 1.75, 6.85), "params.layers")
            words(axes, (x + 4.75, 6.85), "state")
        for layer in range(4):
            y = 0.1 + 1.6 * layer
            width = "I" if layer == 0 else "H"
            label = f"[{layer}].cell.w_x\n[{width}, G·H]"
            box(axes, (0, y), (3.5, 1.4), label, fill=PALE, font=font)
            box(axes, (3.7, y), (2.1, 1.4), f"[{layer}].h\n[*B, H]", fill=LIGHT, font=font)
        box(axes, (6.3, 0.1), (3.5, 1.4), "[0].cell.w_x\n[1, I, G·H]", fill=PALE, font=font)
        box(axes, (10.0, 0.1), (2.1, 1.4), "[0].h\n[1, *B, H]", fill=LIGHT, font=font)
        for shift in (0.3, 0.15, 0.0):
            back = shift > 0
            at = 6.3 + shift, 1.7 + shift
            label = "" if back else "[1].cell.w_x\n[3, H, G·H]\nlayers 1 to 3"
            box(axes, at, (3.2, 4.2), label, fill=PALE, font=font)
            at = 10.0 + shift, 1.7 + shift
            label = "" if back else "[1].h\n[3, *B, H]"
            box(axes, at, (1.8, 4.2), label, fill=LIGHT, font=font)
        for x in (0, 6.3):
            box(axes, (x, 7.4), (3.5, 1.4), "params.readout.w\n[H, O]", fill=MIDDLE, font=font)

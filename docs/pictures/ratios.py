"""Time of drnn.scan over that of lax.scan, of public kinds of code."""

from pathlib import Path

from docs.pictures import drawing, figures

# By the row's name before "/": what it is, in README's words.
CODE = {
    "attention-decoder": "decoder with attention",
    "flax-lstm": "Flax OptimizedLSTMCell",
    "flax-gru": "Flax GRUCell",
    "flax-simple": "Flax SimpleCell",
    "haiku-deep": "Haiku DeepRNN",
    "rl-gru": "agent's GRU, resets",
    "equinox-gru": "Equinox GRUCell, vmap",
    "ppo": "PPO, whole update",
    "convlstm": "ConvLSTM",
    "kalman": "Kalman filter",
    "spiking": "spiking units",
}

NAMES = {"train": "train step", "forward": "forward pass"}


def draw(path: Path) -> None:
    """Draw bars of the train step and the forward pass, with quartiles."""
    found = {measure: figures.scan_ratios(measure) for measure in figures.MEASURES}
    order = sorted(found["train"], key=lambda row: found["train"][row].median)
    fills = {"train": drawing.DARK, "forward": drawing.LIGHT}
    with drawing.picture(path, 5.2) as figure:
        axes = figure.add_subplot()
        for index, (measure, rows) in enumerate(found.items()):
            places = [place + 0.4 * (index - 0.5) for place in range(len(order))]
            medians = [rows[row].median for row in order]
            low = [rows[row].median - rows[row].low for row in order]
            high = [rows[row].high - rows[row].median for row in order]
            axes.barh(
                places,
                medians,
                0.38,
                xerr=(low, high),
                color=fills[measure],
                edgecolor=drawing.INK,
                linewidth=0.6,
                label=NAMES[measure],
                error_kw={"linewidth": 1.0, "ecolor": "#777777"},
            )
        axes.axvline(1.0, color=drawing.INK, linewidth=1.5)
        axes.set_yticks(range(len(order)), [CODE[row.partition("/")[0]] for row in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(0, 1.15)
        axes.set_xlabel("time with drnn.scan / with lax.scan", loc="right")
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.35, 1.0), ncols=2, frameon=False, borderpad=0.1
        )
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)

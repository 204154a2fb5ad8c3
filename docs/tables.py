"""Fill in the tables of docs/benchmarks.md from the committed records.

Command:   python -m docs.tables              fill them in
           python -m docs.tables --check      exit status 1 if they are not what records give
Time:      seconds; nothing is measured
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.pictures.figures import SCAN, fill
from experiments.benchmarks import figures
from experiments.benchmarks.scans import bars
from experiments.benchmarks.statistics import spread
from experiments.common.records import read_json
from experiments.common.sweep import markdown

PAGE = Path(__file__).parent / "benchmarks.md"
GRID = SCAN.parents[1] / "cpu-float32" / "results.json"
LONG = SCAN.parents[1] / "long_sequences.json"

# By the row's name before "/": what it is.
CODE = {
    "attention-decoder": "two LSTM layers that attend to a memory, a translator's decoder",
    "flax-lstm": "Flax's `OptimizedLSTMCell`",
    "flax-gru": "Flax's `GRUCell`",
    "flax-simple": "Flax's `SimpleCell`",
    "haiku-deep": "Haiku's `DeepRNN([LSTM, relu, LSTM])`",
    "rl-gru": "an agent's GRU with resets",
    "equinox-gru": "Equinox's `GRUCell` under `vmap`",
    "ppo": "recurrent PPO on CartPole, a whole update",
    "convlstm": "ConvLSTM",
    "kalman": "a Kalman filter's likelihood",
    "spiking": "spikes with a surrogate gradient",
}
PEERS = {
    "linen": "Flax linen",
    "nnx": "Flax nnx",
    "haiku": "Haiku",
    "equinox": "Equinox",
    "keras": "Keras on JAX",
    "torch": "torch",
    "torch, LSTM rows": "torch's LSTM alone",
}
MEASURES = {
    "train": "train step",
    "forward": "forward",
    "stream-b1": "one step, batch 1",
    "stream-b32": "one step, batch 32",
}
MEMORY = {"memory-xla": "by XLA's count", "memory-resident": "resident"}
WAYS = ("ours", "scan", "associative")


def machine_of(record: Mapping[str, Any]) -> str:
    """Say what a record was measured on."""
    machine = record["machine"]
    packages = machine["packages"]
    return f"{machine['cores']} cores of an {machine['processor']}, jax {packages['jax']}"


def scan_table() -> str:
    """Return our scan / `lax.scan`, a row for each code."""
    record = read_json(SCAN)
    rows = record["groups"]["scan"]
    lines = []
    for name, row in rows.items():
        code, _, sizes = name.partition("/")
        found = bars.scan_ratios(row)
        ratios = (f"{spread(found[column]).median:.2f}" for column in bars.COLUMNS)
        lines.append([CODE[code], sizes, *ratios])
    means = bars.scan_means(rows)
    lines.append(["geometric mean", "", *(f"{means[column]:.2f}" for column in bars.COLUMNS)])
    table = markdown(["code", "sizes", "train step", *list(bars.COLUMNS)[1:]], *lines)
    return f"{table}\n\n{machine_of(record)}, float32."


def means_table(measures: Mapping[str, str]) -> str:
    """Return ours / theirs over the rows of the grid: geometric mean, worst row."""
    record = read_json(GRID)
    found = {(measure, other): mean for measure, other, mean in figures.means(record)}
    lines = []
    for peer, words in PEERS.items():
        cells = []
        for measure in measures:
            mean = found.get((measure, peer))
            cells.append(f"{mean.geometric_mean:.2f}, {mean.worst:.2f}" if mean else "-")
        if any(cell != "-" for cell in cells):
            lines.append([words, *cells])
    table = markdown(["ours / theirs", *measures.values()], *lines)
    torch = record["machine"]["packages"]["torch"].partition("+")[0]
    return f"{table}\n\n{machine_of(record)}, torch {torch}, float32."


def linear_scan_table() -> str:
    """Return `linear_scan` beside `lax.scan` and `lax.associative_scan`."""
    record = read_json(LONG)["scan"]
    head = ["T, units", "forward, ms", "gradient, ms", "compile, s", "temporary MiB"]
    keys = {"forward_ms": ".3g", "gradient_ms": ".3g", "compile_s": ".2f", "temporary_bytes": ".0f"}
    lines = []
    for row in record["rows"]:
        cells = []
        for key, form in keys.items():
            scale = 2**20 if key == "temporary_bytes" else 1
            values = (row[key].get(way) for way in WAYS)
            cells.append(
                " / ".join("-" if v is None else f"{_round(v / scale, form)}" for v in values)
            )
        lines.append([f"{row['T']:,}, {row['width']:,}", *cells])
    return f"{markdown(head, *lines)}\n\n{machine_of(record)}."


def _round(value: float, form: str) -> str:
    """Write a number, without an exponent where it is large."""
    return f"{value:.0f}" if value >= 100 else f"{value:{form}}"


def matrix_table() -> str:
    """Return the train step of cells with a matrix for a state, beside a plain `lax.scan`."""
    record = read_json(LONG)["matrix"]
    lines = []
    for row in record["rows"]:
        ours, plain = (row["train_step_ms"][way] for way in ("layerwise", "reference"))
        sizes = f"{row['T']}, {row['B']}, {row['H']}"
        lines.append(
            [f"`{row['cell']}`", sizes, f"{ours:.1f}", f"{plain:.1f}", f"{ours / plain:.2f}"]
        )
    head = ["cell", "T, B, H", "layerwise, ms", "plain `lax.scan`, ms", "ratio"]
    return f"{markdown(head, *lines)}\n\n{machine_of(record)}."


def rules_table() -> str:
    """Return "parallel" / "layerwise" of affine cells."""
    record = read_json(LONG)["rules"]
    cells = list(dict.fromkeys(row["cell"] for row in record["rows"]))
    sizes: dict[str, dict[str, str]] = {}
    for row in record["rows"]:
        ratios = f"{row['train_step_ratio']:.2f}, {row['forward_ratio']:.2f}"
        sizes.setdefault(f"{row['T']}, {row['B']}, {row['H']}", {})[row["cell"]] = ratios
    lines = [[size, *(found.get(cell, "-") for cell in cells)] for size, found in sizes.items()]
    table = markdown(["T, B, H", *(f"`{cell}`" for cell in cells)], *lines)
    return f"{table}\n\n{machine_of(record)}."


TABLES = {
    "scan": scan_table,
    "grid": lambda: means_table(MEASURES),
    "memory": lambda: means_table(MEMORY),
    "linear_scan": linear_scan_table,
    "matrix": matrix_table,
    "rules": rules_table,
}


def main(args: Sequence[str]) -> int:
    """Fill in all tables, or say whether they are filled in right."""
    before = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / PAGE.name
        page.write_text(before, encoding="utf-8")
        for name, table in TABLES.items():
            fill(page, name, table())
        after = page.read_text(encoding="utf-8")
    if "--check" not in args:
        PAGE.write_text(after, encoding="utf-8")
    elif after != before:
        print(f"{PAGE.name}: not what the records give; run `python -m docs.tables`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

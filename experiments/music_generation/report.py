"""What a run says: its pieces, its records, and the summary at the end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.music_generation.data import Corpus

# Test NLL of Bai et al. 2018, table 1.
PUBLISHED = {
    "jsb": {"RNN": 8.91, "LSTM": 8.45, "GRU": 8.43},
    "nottingham": {"RNN": 4.05, "LSTM": 3.29, "GRU": 3.46},
}
ORACLE = "one who knows the rules"


def describe(corpus: Corpus) -> str:
    """Return what is learned from, its licence, and what was left out."""
    sizes = [
        f"{len(pieces):,} {name} pieces ({sum(map(len, pieces)):,} frames)"
        for name, pieces in (
            ("training", corpus.train),
            ("validation", corpus.valid),
            ("test", corpus.test),
        )
    ]
    learned = (
        f"corpus {corpus.name}: {', '.join(sizes)}; a frame is {corpus.frame_beats:g} quarter "
        f"notes; licence: {corpus.licence}"
    )
    return "\n".join((learned, *corpus.notes))


def show(record: Mapping[str, float]) -> str:
    """Return a record in a few words."""
    words = f"train {record['train_nll']:.3f}"
    if "validation_nll" in record:
        words += f"   validation {record['validation_nll']:.3f} nats a frame"
    return words


def plot(workdir: Path, result: Mapping[str, Any]) -> Path:
    """Draw the learning curve, from the first evaluation on, and return the picture's path."""
    records = read_metrics(workdir)
    # The first steps' losses, of up to 88 ln 2, would press all that matters into one line.
    first = next(i for i, record in enumerate(records) if "validation_nll" in record)
    curves = {split: curve_of(records[first:], f"{split}_nll") for split in ("train", "validation")}
    levels = dict(result["validation_baselines"])
    if result["test_oracle_nll"] is not None:
        levels[f"{ORACLE} (test)"] = result["test_oracle_nll"]
    seeds = len(result["seeds"])
    of_seeds = f", mean of {seeds} seeds" if seeds > 1 else ""
    path = workdir / "learning_curve.png"
    learning_curve(
        path,
        curves,
        levels,
        ylabel="nats a frame",
        title=f"music generation: {Path(result['data']).name}{of_seeds}",
    )
    return path


def summary(result: Mapping[str, Any], workdir: Path) -> str:
    """Return the text that ends a run.

    Args:
      result: what `train` returns.
      workdir: where the files are.
    """
    lines = ["", "nats a frame (88 keys together, frames 2 to T), test split:"]
    nll = result["test_nll"]
    seeds = len(result["seeds"])
    spread = f" ± {result['test_nll_deviation']:.3f} over {seeds} seeds" if seeds > 1 else ""
    lines.append(f"  {'this network':26}{nll:8.3f}{spread}")
    for name, baseline in result["test_baselines"].items():
        verdict = "passed" if nll < baseline else "not passed"
        lines.append(f"  {name:26}{baseline:8.3f}   {verdict}")
    if result["test_oracle_nll"] is not None:
        lines.append(f"  {ORACLE:26}{result['test_oracle_nll']:8.3f}")
    for name, published in PUBLISHED.get(result["data"], {}).items():
        lines.append(f"  {f'Bai et al. 2018, {name}':26}{published:8.2f}")
    lines += [
        f"the mean over pieces, each weighing the same: {result['test_nll_by_pieces']:.3f}",
        f"validation {result['validation_nll']:.3f}, best at step {result['best_step']:,}",
        "",
        f"{result['seconds']:.0f} s of training, {seeds} x {result['parameters']:,} parameters",
        f"files: {workdir}/ (sample.mid, sample.png, learning_curve.png, result.json,",
        "       metrics.jsonl, checkpoints, tensorboard)",
        "go on from your own music with: python -m experiments.music_generation --generate "
        "--seed-midi FILE",
    ]
    return "\n".join(lines)

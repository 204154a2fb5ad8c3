"""What a run says and draws."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.common.experiment import Trained
from experiments.common.plots import draw_run
from experiments.music_generation.data import Data
from experiments.music_generation.use import write_piece

# Test NLL of Bai et al. 2018, table 1.
BAI_2018 = {
    "jsb": {"RNN": 8.91, "LSTM": 8.45, "GRU": 8.43},
    "nottingham": {"RNN": 4.05, "LSTM": 3.29, "GRU": 3.46},
}
ORACLE = "one who knows the rules"


def describe(data: Data) -> str:
    """Return what is learned from, its licence, and what was left out."""
    splits = {"training": data.train, "validation": data.valid, "test": data.test}
    sizes = [
        f"{len(pieces):,} {name} pieces ({sum(map(len, pieces)):,} frames)"
        for name, pieces in splits.items()
    ]
    learned = (
        f"corpus {data.name}: {', '.join(sizes)}; a frame is {data.frame_beats:g} quarter "
        f"notes; licence: {data.licence}"
    )
    return "\n".join((learned, *data.notes))


def report(trained: Trained, data: Data, result: Mapping[str, Any], _: None) -> str:
    """Write learning curve and sample, and return the text that ends a run."""
    levels = dict(result["validation_baselines"])
    if result["test_oracle_nll"] is not None:
        levels[f"{ORACLE} (test)"] = result["test_oracle_nll"]
    seeds = len(result["seeds"])
    of_seeds = f", mean of {seeds} seeds" if seeds > 1 else ""
    draw_run(
        trained.folder,
        "nll",
        levels,
        ylabel="nats a frame",
        title=f"music generation: {Path(result['data']).name}{of_seeds}",
        # The first steps' losses, of up to 88 ln 2, would press all that matters into one line.
        from_evaluation=True,
    )
    write_piece(trained, trained.folder / "sample.mid")
    return summary(result, trained.folder)


def summary(result: Mapping[str, Any], workdir: Path) -> str:
    """Return the text that ends a run."""
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
    for name, published in BAI_2018.get(result["data"], {}).items():
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

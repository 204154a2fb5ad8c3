"""What the reports of days and of hours share: cells of a table, verdicts, the last lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def verdict(what: str, found: Mapping[str, Any]) -> str:
    """Return in one plain sentence whether the network beats the best baseline."""
    ends = found["days"]
    interval = "no interval" if ends is None else f"over days [{ends[0]:+.4f}, {ends[1]:+.4f}]"
    says = {
        "better": "the network beats the best baseline",
        "worse": "the network is worse than the best baseline",
    }.get(found["verdict"], "the network does NOT beat the best baseline")
    return f"{what}: {says}, {found['baseline']}: difference {found['difference']:+.4f}, {interval}"


def cell(figure: Mapping[str, Any] | None, *, scale: float = 1.0, digits: int = 3) -> str:
    """Return a figure with its intervals: ± over seeds, [ ] over days."""
    if figure is None:
        return "-"
    text = f"{scale * figure['value']:.{digits}f}"
    if figure.get("seeds"):
        half = (figure["seeds"][1] - figure["seeds"][0]) / 2
        text += f" ±{scale * half:.{digits}f}"
    if figure["days"]:
        low, high = (scale * end for end in figure["days"])
        text += f" [{low:.{digits}f}, {high:.{digits}f}]"
    return text


def table_row(name: str, cells: Sequence[str]) -> str:
    """Return one line of a table of figures with their intervals."""
    return f"{name:24}" + "".join(f"{one:>32}" for one in cells)


def ending(result: Mapping[str, Any], folder: Path, pictures: str, series: str) -> list[str]:
    """Return the last lines of a run, of its result, with times in seconds, and its folder.

    `pictures` names those of this kind of series, and `series` the kind: "prices" or "hours".
    """
    return [
        "",
        "intervals are of 95 %: ± Student's t over seeds, [ ] block bootstrap over days",
        f"{result['seconds']:.0f} s of training, {result['wall_seconds']:.0f} s in all",
        f"files: {folder}/ (checkpoints, metrics.jsonl, tensorboard, learning_curve.png,",
        f"       {pictures}, result.json)",
        f"forecast your own {series}: python -m experiments.stock_prediction --predict FILE.csv",
    ]

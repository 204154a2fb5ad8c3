"""What a run says before it and at its end."""

from collections.abc import Mapping
from typing import Any

from experiments.common import intervals
from experiments.common.experiment import Trained
from experiments.common.plots import draw_run
from experiments.long_memory.data import Data


def describe(data: Data) -> str:
    """Return what is chosen by and measured on."""
    (steps, valid), (longest, test) = data.valid.x.shape[:2], data.test.x.shape[:2]
    return (
        f"{valid:,} sequences of {steps:,} steps to choose by, {test:,} of {longest:,} to be "
        "measured on"
    )


def shown(name: str, figure: Mapping[str, Any]) -> str:
    """Return the figure of a name with the standard deviation of its seeds."""
    if name == "mse":
        return intervals.shown(figure, spread="deviation", notation="e")
    digits, scale = (3, 1) if name == "nats" else (1, 100)
    return intervals.shown(figure, digits, scale, spread="deviation")


def report(trained: Trained, data: Data, result: Mapping[str, Any], found: Any) -> str:
    """Draw the learning curve, and return the figures, a line each."""
    config = trained.config
    title = f"{config.task}, {config.cell}"
    draw_run(trained.folder, "loss", {}, ylabel="loss, mean over seeds", title=title)
    test = ", ".join(f"{name} {shown(name, figure)}" for name, figure in result["test"].items())
    return (
        f"{title} of {result['hidden_size']} units, {result['parameters']:,} parameters: {test}; "
        f"{result['seconds']:.0f} s of training"
    )

"""The command line: parse, then train or write."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.own_data import located
from experiments.common.run_folder import read_run
from experiments.common.settings import differing_fields
from experiments.text_generation.config import CORPORA, Config
from experiments.text_generation.configs import PRESETS
from experiments.text_generation.generate import load_writer, stream_text
from experiments.text_generation.train import train

RUNS = Path("runs/text_generation")
# What a trained model can be asked for anew; all else is the run's own.
SAMPLING = frozenset({"seed", "sample_length", "temperature", "top_k", "top_p"})


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    preset: Literal[
        "default", "ten-minutes", "tinyshakespeare", "ptb-small", "ptb-medium", "ptb-tied"
    ] = "default"
    """Settings to start from; the other options change them one by one."""
    generate: str | None = None
    """Write on from this text with a trained model, instead of training."""

    @property
    def needs_run(self) -> bool:
        """Whether there must be a run already."""
        return self.resume or self.generate is not None


def parse(arguments: Sequence[str]) -> tuple[Task, Config]:
    """Return what is asked for; see `common.command.parse`."""
    return command.parse(
        arguments,
        name="text_generation",
        about="Train a recurrent language model on text, or write with a trained one.",
        task=Task,
        presets=PRESETS,
        runs=RUNS,
        data_field="corpus",
        located=partial(located, corpora=CORPORA),
    )


def write(workdir: Path, prompt: str, config: Config) -> None:
    """Print a prompt and what the model writes after it, as it is written.

    Raises:
      InputError: a setting was given that a trained model does not take.
    """
    names = differing_fields(config, read_run(workdir)["config"], SAMPLING)
    if names:
        options = ", ".join("--" + name.replace("_", "-") for name in names)
        raise InputError(
            f"write: the model in {workdir} is trained, so that {options} would have no "
            "effect on --generate; leave them away, or train a model with them"
        )
    writer = load_writer(workdir, warn=lambda line: print(line, file=sys.stderr))
    pieces = stream_text(writer, prompt, config.sample_length, config.sampling, config.seed)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with command.plain_errors(after_stop=None):
        task, config = parse(arguments)
        if task.generate is not None and task.workdir is not None:
            write(task.workdir, task.generate, config)
            return
        name = f"{Path(config.corpus).stem}-{config.cell}"
        with command.plain_errors(), command.run_folder_for(task.workdir, RUNS, name) as workdir:
            train(config, workdir, resume=task.resume)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The command line: parse, then train or write."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.common.errors import InputError
from experiments.common.records import RUN_FILE, new_run, newest_run, read_json
from experiments.text_generation.config import Config, config_from_dict
from experiments.text_generation.configs import PRESETS
from experiments.text_generation.generate import load_writer, stream_text
from experiments.text_generation.train import train

RUNS = Path("runs/text_generation")


@dataclasses.dataclass(frozen=True)
class Command:
    """Train a recurrent language model on text, or write with a trained one."""

    preset: Literal["default", "ten-minutes", "tinyshakespeare"] = "default"
    """Settings to start from; the other options change them one by one."""
    workdir: Path | None = None
    """The run's folder; else a new one, or with --resume and --generate the newest one."""
    resume: bool = False
    """Go on with a run that was interrupted, with its own settings."""
    generate: str | None = None
    """Write on from this text with a trained model, instead of training."""
    config: Annotated[Config, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Config)


def parse(arguments: Sequence[str]) -> Command:
    """Return the command, with its workdir and the defaults that it asks for.

    A preset, or the run to go on with, moves the defaults; options that are given
    always win. So the line is read once to learn which, and once more with those.

    Raises:
      InputError: a value out of range, or no run where one is needed.
      SystemExit: an unknown option, a malformed value, or --help.
    """
    options = {"prog": "python -m experiments.text_generation", "args": arguments}
    command = tyro.cli(Command, **options)
    if not (command.resume or command.generate is not None):
        default = Command(config=PRESETS[command.preset])
        return tyro.cli(Command, default=default, **options)
    workdir = command.workdir or newest_run(RUNS)
    if workdir is None or not workdir.is_dir():
        raise InputError(
            f"text_generation: no run in {workdir or RUNS}; train one first, or give "
            "its folder as --workdir"
        )
    default = Command(workdir=workdir, config=PRESETS[command.preset])
    if (workdir / RUN_FILE).is_file():
        stored = read_json(workdir / RUN_FILE)["config"]
        default = dataclasses.replace(default, config=config_from_dict(stored))
    return tyro.cli(Command, default=default, **options)


def write(workdir: Path, prompt: str, config: Config) -> None:
    """Print a prompt and what the model writes after it, as it is written."""
    writer = load_writer(workdir, warn=lambda line: print(line, file=sys.stderr))
    pieces = stream_text(writer, prompt, config.sample_length, config.sampling, config.seed)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    try:
        command = parse(arguments)
        if command.generate is not None:
            assert command.workdir is not None  # parse has found one
            write(command.workdir, command.generate, command.config)
            return
        config = command.config
        name = f"{Path(config.corpus).stem}-{config.cell}"
        workdir = command.workdir or new_run(RUNS, name)
        train(config, workdir, resume=command.resume)
    except (InputError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; go on with --resume") from None


if __name__ == "__main__":
    main(sys.argv[1:])

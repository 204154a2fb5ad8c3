"""The command line: parse, then train or transcribe."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from experiments.common import command
from experiments.common.errors import InputError
from experiments.common.own_data import located
from experiments.speech_recognition.config import CORPORA, Config
from experiments.speech_recognition.configs import PRESETS
from experiments.speech_recognition.recognizer import load_recognizer
from experiments.speech_recognition.train import train
from experiments.speech_recognition.transcribe import Decoder, make_transcriber

RUNS = Path("runs/speech_recognition")


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    preset: Literal["default", "an4", "fsdd"] = "default"
    """Settings to start from; the other options change them one by one. Without it, --data
    with a corpus that has settings of its own starts from those."""
    transcribe: tuple[Path, ...] = ()
    """Write down these recordings with a trained model, instead of training."""
    decoder: Decoder = "ngram"
    """How to: the best path (greedy), a prefix beam, or that with the n-gram model."""

    @property
    def needs_run(self) -> bool:
        """Whether there must be a run already."""
        return self.resume or bool(self.transcribe)


def parse(arguments: Sequence[str]) -> tuple[Task, Config]:
    """Return what is asked for; see `common.command.parse`.

    Raises:
      InputError: see there, or a wish to transcribe nothing.
    """
    task, config = command.parse(
        arguments,
        name="speech_recognition",
        about="Train a speech recogniser, or write down recordings with a trained one.",
        task=Task,
        presets=PRESETS,
        runs=RUNS,
        located=partial(located, corpora=CORPORA),
    )
    if "--transcribe" in arguments and not task.transcribe:  # which would train
        raise InputError("speech_recognition: --transcribe names no recording; give one or more")
    return task, config


def write_down(workdir: Path, files: Sequence[Path], decoder: Decoder, config: Config) -> None:
    """Print each recording's text on a line, with its name where there are several.

    Raises:
      SystemExit: with status 1, after all others were written down, if some cannot be.
    """

    def note(line: str) -> None:
        print(line, file=sys.stderr)

    recognizer = load_recognizer(workdir, note, config=config)
    note(f"it knows {recognizer.alphabet.characters!r}")
    text_of, failed = make_transcriber(recognizer, decoder, note), False
    for path in files:
        try:
            text = text_of(path)
        except InputError as error:  # one of a hundred should not cost the others
            note(f"error: {error}")
            failed = True
        else:
            print(f"{path}: {text}" if len(files) > 1 else text, flush=True)
    if failed:
        raise SystemExit(1)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with command.plain_errors():
        task, config = parse(arguments)
        if task.transcribe and task.workdir is not None:
            write_down(task.workdir, task.transcribe, task.decoder, config)
            return
        name = f"{config.corpus_name}-{config.cell}"
        with command.run_folder_for(task.workdir, RUNS, name) as workdir:
            train(config, workdir, resume=task.resume)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The command line: parse, then train or compose."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from experiments.common.command import Task, parse, plain_errors, run_folder_for
from experiments.common.errors import InputError
from experiments.common.own_data import located
from experiments.common.settings import as_stored, differing_fields
from experiments.music_generation.config import CORPORA, FREE_ON_RESUME, Config
from experiments.music_generation.configs import PRESETS
from experiments.music_generation.generate import load_composer, read_seed, write_piece
from experiments.music_generation.midi import MIDI_SUFFIXES
from experiments.music_generation.train import train

RUNS = Path("runs/music_generation")


@dataclasses.dataclass(frozen=True)
class MusicTask(Task):
    """What to do, apart from a run's settings."""

    preset: Literal["default", "jsb", "nottingham"] = "default"
    """Settings to start from; the other options change them one by one."""
    generate: bool = False
    """Compose with a trained model, instead of training."""
    seed_midi: Path | None = None
    """A MIDI file to go on from; --generate without it begins from nothing."""
    seed_frames: int | None = None
    """Read so many frames of that file, else all of them."""
    output: Path | None = None
    """The .mid file to write, with a .png beside it; else composed.mid in the run's folder."""

    @property
    def needs_run(self) -> bool:
        """Whether there must be a run already."""
        return self.resume or self.generate


def compose(task: MusicTask, config: Config, workdir: Path) -> None:
    """Write a piece with a run's best model, and say where.

    Raises:
      InputError: a MIDI file or a run that cannot be used, settings that are not the
        run's, or no place to write to.
    """
    output = task.output or workdir / "composed.mid"
    if output.suffix.lower() not in MIDI_SUFFIXES:
        raise InputError(f"generate: --output must end in .mid, got {output}")
    if task.seed_midi is not None and output.resolve() == task.seed_midi.resolve():
        raise InputError(f"generate: --output {output} would overwrite --seed-midi; name another")
    composer = load_composer(workdir, warn=lambda line: print(line, file=sys.stderr))
    others = differing_fields(config, as_stored(composer.config), FREE_ON_RESUME)
    if others:
        names = ", ".join("--" + name.replace("_", "-") for name in others)
        raise InputError(
            f"generate: {workdir} was trained with another {names}; leave that away, or name "
            "the folder of the run you mean as --workdir"
        )
    score = None
    if task.seed_midi is not None:
        score = read_seed(task.seed_midi, config, task.seed_frames)
        for what in score.left_out:
            print(f"left out of {task.seed_midi}: {what}", file=sys.stderr)
        print(f"{task.seed_midi}: {len(score.roll):,} frames", flush=True)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        roll = write_piece(composer._replace(config=config), output, score)
    except OSError as error:
        raise InputError(f"generate: cannot write {output}: {error}") from error
    given = len(roll) - config.sample_frames
    print(f"{given:,} frames given and {config.sample_frames:,} composed: {output}")
    print(f"as a picture: {output.with_suffix('.png')}")


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with plain_errors():
        task, config = parse(
            arguments,
            name="music_generation",
            about="Train recurrent networks on piano rolls, or compose with a trained one.",
            task=MusicTask,
            presets=PRESETS,
            runs=RUNS,
            located=partial(located, corpora=CORPORA),
        )
        if not task.generate and (task.seed_midi or task.seed_frames or task.output):
            raise InputError(
                "music_generation: --seed-midi, --seed-frames and --output belong to --generate; "
                "add it, or leave them away"
            )
        if task.generate and task.workdir is not None:
            compose(task, config, task.workdir)
            return
        name = f"{Path(config.data).name}-{config.cell}"
        with run_folder_for(task.workdir, RUNS, name) as workdir:
            train(config, workdir, resume=task.resume)


if __name__ == "__main__":
    main(sys.argv[1:])

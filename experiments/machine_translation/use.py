"""What a user asks a trained run for: translations of lines, and the figure of a test set."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar

from experiments.common import command
from experiments.common.command import to_stderr
from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.machine_translation.evaluate import LABELS, score_lines, score_of
from experiments.machine_translation.lines import lines_of, normalise, read_pairs
from experiments.machine_translation.report import draw_attention
from experiments.machine_translation.subwords import vocabularies_of
from experiments.machine_translation.translate import Alignment, align_line, translate_lines

MOST_PICTURES = 10  # of one command


@dataclasses.dataclass(frozen=True)
class Task(command.Task):
    """What to do, apart from a run's settings."""

    translate: tuple[str, ...] | None = None
    """Translate these sentences with a trained model; "-": the lines of the standard input."""
    evaluate: tuple[Path, Path] | None = None
    """Translate the lines of one file and compare with those of another; .gz will do, too."""

    WISHES: ClassVar[tuple[str, ...]] = ("translate", "evaluate")

    def __post_init__(self) -> None:
        """Refuse to translate nothing.

        Raises:
          InputError: says what to give.
        """
        super().__post_init__()
        if self.translate == ():
            raise InputError(
                'Task: --translate has nothing to translate; give sentences, or "-" and lines on '
                "the standard input"
            )


def use(task: Task, trained: Trained, pictures: int = MOST_PICTURES) -> None:
    """Translate sentences, with so many pictures at most, or a test set.

    Raises:
      InputError: see `translate_aloud` and `evaluate_files`.
    """
    if task.evaluate is not None:
        evaluate_files(trained, *task.evaluate)
    elif task.translate == ("-",):
        translate_aloud(trained, lines_of(sys.stdin.buffer.read(), "the standard input"), pictures)
    else:
        translate_aloud(trained, task.translate or (), pictures)


def translate_aloud(trained: Trained, lines: Sequence[str], pictures: int = MOST_PICTURES) -> None:
    """Print the translation of each line, and draw what was attended to.

    Translations alone go to the standard output, one a line, an empty line for an empty
    one; all else goes to the standard error. The pictures are `attention-1.png`, ... in the run's
    folder, of the first lines that are neither empty nor longer than a picture: `pictures` at most.

    Raises:
      InputError: a line is no UTF-8 text, or see `translate_lines`.
    """
    for line in lines:
        if not line.isascii() and any("\ud800" <= sign <= "\udfff" for sign in line):
            raise InputError(f"translate_aloud: {line!r} is not UTF-8 text; correct it")
    _tell_unseen(trained, lines)
    translations = translate_lines(trained, lines)
    for line in translations:
        print(line, flush=True)
    paths = []
    for title, alignment in islice(readable(trained, lines, translations), pictures):
        paths.append(trained.folder / f"attention-{len(paths) + 1}.png")
        draw_attention(paths[-1], alignment, title)
    if paths:
        to_stderr(f"attention: {', '.join(map(str, paths))}")


def readable(
    trained: Trained, lines: Sequence[str], translations: Iterable[str], most_pieces: int = 150
) -> Iterator[tuple[str, Alignment]]:
    """Yield title and attention of each line that is not empty and has a readable picture.

    That is one of at most `most_pieces` on either side.
    """
    for line, translation in zip(lines, translations, strict=True):
        alignment = align_line(trained, line, translation)
        if alignment is not None and max(alignment.weights.shape) <= most_pieces:
            yield f"{normalise(line)}\n{translation}", alignment


def evaluate_files(trained: Trained, source: Path, reference: Path) -> None:
    """Translate a file's lines and print how they compare with another file's.

    Both are UTF-8, plain or compressed by gzip, a sentence a line. The translations are written
    to `<name of the source file>.translations.txt` in the run's folder.

    Raises:
      InputError: a file cannot be read, the two have different numbers of lines, or see
        `translate_lines`.
    """
    pairs, config = read_pairs(source, reference), trained.config
    _tell_unseen(trained, pairs.sources)
    empty = sum(not normalise(line) for line in pairs.sources)
    if empty:
        to_stderr(
            f"{empty:,} of {len(pairs):,} lines of {source} are empty: so is their translation"
        )
    lines = translate_lines(trained, pairs.sources)
    path = trained.folder / f"{source.name}.translations.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    score = score_lines(config.data, lines, pairs.targets)
    print(f"{LABELS[score_of(config.data)]} {score.value:.2f}   {len(pairs):,} lines of {source}")
    if score.details:
        print(f"matching n-grams of 1 to 4, %: {score.details}")
    print(f"({score.signature}; beam of {config.beam_size})")
    print(f"translations: {path}")


def _tell_unseen(trained: Trained, lines: Sequence[str]) -> None:
    """Tell the characters that the model cannot read, and in how many lines they are."""
    subwords = vocabularies_of(trained.facts).source
    unseen = [subwords.unseen(line) for line in lines]
    pieces = list(dict.fromkeys(piece for found in unseen for piece in found))
    if pieces:
        names = " ".join(map(repr, pieces[:20])) + (" ..." if len(pieces) > 20 else "")
        number = f"{sum(map(bool, unseen)):,} of {len(lines):,} lines"
        to_stderr(f"never seen in training, read as unknown: {names} ({number})")

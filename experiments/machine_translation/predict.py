"""What a user asks a trained run for: translations of lines, and the figure of a test set."""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.common.errors import InputError
from experiments.machine_translation.config import Config
from experiments.machine_translation.evaluate import LABELS, Score, score_lines, score_of
from experiments.machine_translation.heat_map import draw_attention
from experiments.machine_translation.lines import normalise, read_pairs
from experiments.machine_translation.trained import (
    Trained,
    align_line,
    load_trained,
    translate_lines,
)
from experiments.machine_translation.translate import search_of

_MOST_PICTURES = 10  # of one command
_MOST_IN_A_PICTURE = 150  # pieces of either side: more cannot be read


def translate_aloud(workdir: Path, lines: Sequence[str], config: Config) -> list[str]:
    """Print the translation of each line, and draw what was attended to.

    Translations alone go to the standard output, one a line, an empty line for an empty
    one; all else goes to the standard error. The pictures are `attention-1.png`, ... in the
    run's folder, of the first lines that are neither empty nor longer than a picture.

    Args:
      workdir: the run's folder.
      lines: what to translate.
      config: the run's settings; the search's may be others than it was trained with.

    Returns:
      The translations.

    Raises:
      InputError: no lines, or see `load_trained` and `translate_lines`.
    """
    if not lines:
        raise InputError(
            'translate_aloud: nothing to translate; give sentences, or "-" and lines on the '
            "standard input"
        )
    for line in lines:
        if not line.isascii() and any("\ud800" <= sign <= "\udfff" for sign in line):
            raise InputError(f"translate_aloud: {line!r} is not UTF-8 text; correct it")
    trained = load_trained(workdir, _warn)
    _warn_of_unseen(trained, lines)
    translations = translate_lines(trained, lines, search_of(config))
    for line in translations:
        print(line, flush=True)
    pictures = _draw(trained, workdir, lines, translations)
    if pictures:
        _warn(f"attention: {', '.join(map(str, pictures))}")
    return translations


def _warn_of_unseen(trained: Trained, lines: Sequence[str]) -> None:
    """Tell the characters that the model cannot read, and in how many lines they are."""
    unseen = [trained.vocabularies.source.unseen(line) for line in lines]
    pieces = list(dict.fromkeys(piece for found in unseen for piece in found))
    if pieces:
        names = " ".join(map(repr, pieces[:20])) + (" ..." if len(pieces) > 20 else "")
        number = f"{sum(map(bool, unseen)):,} of {len(lines):,} lines"
        _warn(f"never seen in training, read as unknown: {names} ({number})")


def _draw(
    trained: Trained, workdir: Path, lines: Sequence[str], translations: Sequence[str]
) -> list[Path]:
    """Draw the attention of the first lines and return the pictures' paths."""
    paths = []
    for line, translation in zip(lines, translations, strict=True):
        if len(paths) == _MOST_PICTURES:
            break
        alignment = align_line(trained, line, translation)
        if alignment is not None and max(alignment.weights.shape) <= _MOST_IN_A_PICTURE:
            paths.append(workdir / f"attention-{len(paths) + 1}.png")
            draw_attention(paths[-1], alignment, f"{normalise(line)}\n{translation}")
    return paths


def evaluate_files(workdir: Path, source: Path, reference: Path, config: Config) -> Score:
    """Translate a file's lines and print how they compare with another file's.

    The translations are written to `<name of the source file>.translations.txt` in the
    run's folder.

    Args:
      workdir: the run's folder.
      source: a UTF-8 file, plain or compressed by gzip, a sentence a line.
      reference: one translation of each line.
      config: the run's settings; the search's may be others than it was trained with.

    Raises:
      InputError: a file cannot be read, the two have different numbers of lines, or see
        `load_trained`.
    """
    pairs = read_pairs(source, reference)
    trained = load_trained(workdir, _warn)
    _warn_of_unseen(trained, pairs.sources)
    empty = sum(not normalise(line) for line in pairs.sources)
    if empty:
        _warn(f"{empty:,} of {len(pairs):,} lines of {source} are empty: so is their translation")
    lines = translate_lines(trained, pairs.sources, search_of(config))
    path = workdir / f"{source.name}.translations.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    corpus = trained.config.data
    score = score_lines(corpus, lines, pairs.targets)
    print(f"{LABELS[score_of(corpus)]} {score.value:.2f}   {len(pairs):,} lines of {source}")
    if score.details:
        print(f"matching n-grams of 1 to 4, %: {score.details}")
    print(f"({score.signature}; beam of {config.beam_size})")
    print(f"translations: {path}")
    return score


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

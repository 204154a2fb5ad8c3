"""Digits as sequences of pixels, and characters: the tasks that need files."""

import gzip
import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.corpora import DATA_DIR_VARIABLE, data_dir_or_default, fetch
from experiments.common.errors import InputError
from experiments.long_memory.config import Config
from experiments.long_memory.tasks import Examples
from experiments.text_generation.corpora import SOURCES, read_text

DrawFn = Callable[[np.random.Generator, int], Examples]


class Corpus(NamedTuple):
    """A task on files."""

    draw: DrawFn  # of N rows, to learn from
    valid: Examples
    test: Examples
    num_symbols: int | None
    num_answers: int
    chance: float  # without any input: accuracy, or nats of the symbols' frequencies


# The SHA-256 of what is inside: the files are compressed in more than one way.
_DIGITS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_NUM_VALID = 5000  # of the 60,000 to learn from, the last ones


def read_digits(data_dir: str | None = None) -> list[NDArray[np.uint8]]:
    """Return MNIST's images `[N, 784]` and labels `[N]`, 60,000 and 10,000.

    Raises:
      InputError: there is no data folder, a file is missing, or it is another one.
    """
    folder = data_dir_or_default(data_dir)
    if folder is None:
        raise InputError(
            "read_digits: mnist is not downloaded; put its four files at DIR/mnist and give "
            f"--data-dir DIR or set {DATA_DIR_VARIABLE}=DIR"
        )
    arrays = []
    for name, expected in _DIGITS.items():
        path = folder / "mnist" / f"{name}.gz"
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as error:
            raise InputError(
                f"read_digits: cannot read {path}: {error}; put MNIST's file there"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise InputError(
                f"read_digits: what is in {path} has SHA-256 {found}, expected {expected}; "
                "replace it with MNIST's file"
            )
        images = name.endswith("idx3-ubyte")
        values = np.frombuffer(content, np.uint8, offset=16 if images else 8)
        arrays.append(values.reshape(-1, 784) if images else values)
    return arrays


def digits(config: Config) -> Corpus:
    """Return digits read pixel by pixel, row after row, or in one fixed order of chance."""
    x, labels, test_x, test_labels = read_digits(config.data_dir)
    order = np.arange(784)
    if config.task == "psmnist":
        order = np.random.default_rng(0).permutation(784)

    def examples(images: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> Examples:
        pixels = images[:, order].T[..., None].astype(np.float32) / np.float32(255)
        return Examples(pixels, kinds[None].astype(np.int32))

    split = len(x) - _NUM_VALID

    def draw(rng: np.random.Generator, rows: int) -> Examples:
        chosen = rng.integers(split, size=rows)
        return examples(x[chosen], labels[chosen])

    return Corpus(
        draw,
        valid=examples(x[split:], labels[split:]),
        test=examples(test_x, test_labels),
        num_symbols=None,
        num_answers=10,
        chance=float(np.bincount(test_labels).max() / len(test_labels)),
    )


def characters(config: Config) -> Corpus:
    """Return windows of a text's characters, each to be predicted from those before it.

    As in all figures that are published with this split, the last tenth is what is chosen by
    and measured on. There each character is predicted from `length` others at least, the first
    ones of the tenth from the end of the training text.
    """
    text = read_text(fetch(SOURCES[config.data], config.data_dir))
    symbols, ids = np.unique(np.array(list(text)), return_inverse=True)
    ids, length = ids.astype(np.int32), config.length
    split = int(0.9 * len(ids))
    if split < 2 * length or len(ids) - split < length:
        raise InputError(f"characters: the text is too short for length={length}; give a lower one")

    def draw(rng: np.random.Generator, rows: int) -> Examples:
        window = ids[rng.integers(split - length, size=rows) + np.arange(length + 1)[:, None]]
        return Examples(window[:-1], window[1:])

    number = (len(ids) - split) // length
    starts = split - length + length * np.arange(number)
    window = ids[starts + np.arange(2 * length)[:, None] - 1]
    held_out = Examples(window, ids[starts + np.arange(length, 2 * length)[:, None]])
    frequency = np.bincount(ids[:split], minlength=len(symbols)) + 1.0
    nats = -np.log(frequency / frequency.sum())[held_out.answers].mean()
    return Corpus(draw, held_out, held_out, len(symbols), len(symbols), float(nats))

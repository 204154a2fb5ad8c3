"""Labels of each character of a text, from the text alone: what probes are asked for.

| feature | what is labelled | needs |
|---|---|---|
| `kind` | letter, white space or another sign | the character |
| `place` | its place in the word, 1 to 8 and beyond | the word so far |
| `capital` | whether the word began with a capital, from its second letter on | the word so far |
| `indent` | the column at which the line's text began: 0, 1 to 4, beyond | the line so far |
| `quoted` | whether a quotation mark is open | the paragraph so far |
| `bracket` | how many brackets are open: 0, 1, more | the paragraph so far |
| `before` | the last whole word, of the 50 most frequent | the word before |
| `word` | which of the 50 most frequent words is being written | the word, its end too |
| `third` | which third of the word, of three letters or more | the word, its end too |
| `next`, `next 3`, `next 6` | the character 1, 3, 6 places on | what comes |
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
_MOST_WORDS, _MOST_PLACES = 50, 8
_WORD = re.compile(r"[^\W\d_]+")
_OPEN, _CLOSE = "([{", ")]}"


class Labels(NamedTuple):
    """A class for each character of a text."""

    classes: Ints  # [N]
    num_classes: int
    counted: NDArray[np.bool_]  # [N], False where there is no label


def _words(text: str) -> list[tuple[int, int]]:
    """Return where words, runs of letters, begin and end."""
    return [match.span() for match in _WORD.finditer(text)]


def _all(classes: Any, num_classes: int) -> Labels:
    classes = np.asarray(classes, np.int32)
    return Labels(classes, num_classes, np.ones(len(classes), bool))


def _in_words(text: str, class_at: Callable[[int, int, int], int | None], number: int) -> Labels:
    """Label letters by `(start, stop, place) -> class`, None where it is not counted."""
    classes, counted = np.zeros(len(text), np.int32), np.zeros(len(text), bool)
    for start, stop in _words(text):
        for at in range(start, stop):
            found = class_at(start, stop, at - start)
            if found is not None:
                classes[at], counted[at] = found, True
    return Labels(classes, number, counted)


def kind(text: str) -> Labels:
    """Label each character as letter 0, white space 1, or another sign 2."""
    return _all([0 if c.isalpha() else 1 if c.isspace() else 2 for c in text], 3)


def place(text: str) -> Labels:
    """Label a letter by its place in the word."""
    return _in_words(text, lambda start, stop, at: min(at, _MOST_PLACES), _MOST_PLACES + 1)


def third(text: str) -> Labels:
    """Label a letter by its third of the word: known only to who guesses how long that is."""

    def which(start: int, stop: int, at: int) -> int | None:
        return None if stop - start < 3 else 3 * at // (stop - start)

    return _in_words(text, which, 3)


def capital(text: str) -> Labels:
    """Label a word's letters but the first by whether that was a capital."""

    def began(start: int, stop: int, at: int) -> int | None:
        return None if at == 0 else int(text[start].isupper())

    return _in_words(text, began, 2)


def indent(text: str) -> Labels:
    """Label each character of a line's text by the spaces before it."""
    classes, counted, begun = [], [], 0
    for line in text.splitlines(keepends=True):
        begun = len(line) - len(line.lstrip(" "))
        classes += [0 if begun == 0 else 1 if begun <= 4 else 2] * len(line)
        counted += [at >= begun for at in range(len(line))]
    return Labels(np.array(classes, np.int32), 3, np.array(counted))


def _scan(text: str, change: Callable[[int, str], int]) -> list[int]:
    """Return a count after each character; an empty line sets it to zero."""
    counts, count, last = [], 0, ""
    for c in text:
        count = 0 if c == last == "\n" else change(count, c)
        counts.append(count)
        last = c
    return counts


def quoted(text: str) -> Labels:
    """Label each character by whether a quotation mark is open after it."""

    def change(count: int, c: str) -> int:
        return {"“": 1, "”": 0, '"': 1 - count}.get(c, count)

    return _all(_scan(text, change), 2)


def bracket(text: str) -> Labels:
    """Label each character by how many brackets are open after it."""

    def change(count: int, c: str) -> int:
        return max(count + (c in _OPEN) - (c in _CLOSE), 0)

    return _all(np.minimum(_scan(text, change), 2), 3)


def _frequent(text: str) -> dict[str, int]:
    counts = Counter(text[start:stop].lower() for start, stop in _words(text))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: index for index, word in enumerate(ordered[:_MOST_WORDS])}


def word(text: str) -> Labels:
    """Label the letters of the most frequent words by the word."""
    known = _frequent(text)
    return _in_words(text, lambda start, stop, at: known.get(text[start:stop].lower()), _MOST_WORDS)


def before(text: str) -> Labels:
    """Label each character up to the next word's end by the last whole word, if frequent."""
    known = _frequent(text)
    classes, counted = np.zeros(len(text), np.int32), np.zeros(len(text), bool)
    for (start, stop), (_, end) in itertools.pairwise(_words(text)):
        found = known.get(text[start:stop].lower())
        if found is not None:
            classes[stop:end], counted[stop:end] = found, True
    return Labels(classes, _MOST_WORDS, counted)


def _later(places: int) -> Callable[[str], Labels]:
    def label(text: str) -> Labels:
        index = {c: i for i, c in enumerate(sorted(set(text)))}
        ids = np.array([index[c] for c in text], np.int32)
        return Labels(np.roll(ids, -places), len(index), np.arange(len(ids)) < len(ids) - places)

    return label


FEATURES: Mapping[str, Callable[[str], Labels]] = {
    "kind": kind,
    "place": place,
    "capital": capital,
    "indent": indent,
    "quoted": quoted,
    "bracket": bracket,
    "before": before,
    "word": word,
    "third": third,
    "next": _later(1),
    "next 3": _later(3),
    "next 6": _later(6),
}
_LEAST_SHARE = 0.01  # where nearly all are of one class there is nothing to predict


def labels_of(text: str, names: tuple[str, ...] = tuple(FEATURES)) -> dict[str, Labels]:
    """Return the labels of a text's characters, of the features that it has something of."""
    found = {name: FEATURES[name](text) for name in names}
    return {name: labels for name, labels in found.items() if _varies(labels)}


def _varies(labels: Labels) -> bool:
    counts = np.bincount(labels.classes[labels.counted], minlength=labels.num_classes)
    return counts.sum() > 0 and counts.max() <= (1 - _LEAST_SHARE) * counts.sum()

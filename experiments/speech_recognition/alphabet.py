"""Characters and their labels."""

import dataclasses
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]

BLANK = 0


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """Characters by their label; label 0 is CTC's blank.

    Attributes:
      characters: that of label 1, 2, ..., all different.
    """

    characters: str

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> "Alphabet":
        """Return the alphabet of some texts, in the order of code points."""
        return cls("".join(sorted(set().union(*texts))))

    @property
    def size(self) -> int:
        """Return V, the blank counted in."""
        return 1 + len(self.characters)

    def encode(self, text: str) -> Labels:
        """Return the labels `[N]` of a text; characters that there are not are left out."""
        places = (self.characters.find(character) for character in text)
        return np.array([1 + place for place in places if place >= 0], np.int32)

    def decode(self, labels: Sequence[int] | NDArray[np.integer]) -> str:
        """Return the text of labels, blanks left out, words one space apart."""
        text = "".join(self.characters[label - 1] for label in labels if label != BLANK)
        return " ".join(text.split())


def normalize_transcript(text: str) -> str:
    """Return a transcript as those of AN4 are: capitals, no punctuation, words one space apart.

    What stays is letters with their marks, numbers, and apostrophes inside words, of any
    script (as NFC). Characters without width go; all others are spaces.

    Example:
      >>> normalize_transcript("“Don’t”, she said – 'twice'...")
      "DON'T SHE SAID TWICE"
    """
    text = unicodedata.normalize("NFC", text.upper()).replace(
        "\N{RIGHT SINGLE QUOTATION MARK}", "'"
    )
    kinds = [(character, unicodedata.category(character)) for character in text]
    kept = [c if c == "'" or kind[0] in "LMN" else " " for c, kind in kinds if kind != "Cf"]
    words = (word.strip("'") for word in "".join(kept).split())
    return " ".join(word for word in words if word)


def steps_needed(labels: Labels) -> int:
    """Return the fewest steps in which CTC can give labels `[N]`."""
    return len(labels) + int((labels[1:] == labels[:-1]).sum())

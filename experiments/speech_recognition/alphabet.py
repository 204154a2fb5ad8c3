"""Characters and their labels."""

import dataclasses
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

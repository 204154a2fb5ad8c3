"""Pairs of sentences, as a user would have them in a folder."""

import itertools
from pathlib import Path

WHO = ("a man:ein mann", "a dog:ein hund", "a child:ein kind", "a girl:ein mädchen")
DOES = ("runs:läuft", "sleeps:schläft", "eats:isst", "laughs:lacht", "sits:sitzt")
WHERE = ("here:hier", "outside:draußen", "in the snow:im schnee", "at home:daheim")
SENTENCES = [
    tuple(" ".join(side) for side in zip(*(part.split(":") for part in parts), strict=True))
    for parts in itertools.product(WHO, DOES, WHERE)
]  # 80 pairs


def write(folder: Path, split: str, pairs, languages=("en", "de")) -> Path:
    """Write a split's two files and return their folder."""
    folder.mkdir(exist_ok=True)
    for i, language in enumerate(languages):
        lines = "".join(f"{pair[i]}\n" for pair in pairs)
        (folder / f"{split}.{language}").write_text(lines, encoding="utf-8")
    return folder

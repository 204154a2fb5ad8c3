"""Subwords by sentencepiece: learned from the training split, kept in the run's file.

Byte-pair encoding (Sennrich et al. 2016): from characters on, the most frequent
neighbours become one piece, until there are as many pieces as wanted. Learning draws
nothing at random, so that equal lines give equal pieces.
"""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.machine_translation.config import CORPORA, Config
from experiments.machine_translation.lines import Pairs, normalise

Ids = NDArray[np.int32]


class Encoded(NamedTuple):
    """Pairs as ids, without START and END."""

    sources: list[Ids]
    targets: list[Ids]


PAD, UNKNOWN, START, END = 0, 1, 2, 3


@dataclasses.dataclass(frozen=True)
class Subwords:
    """A trained sentencepiece model."""

    proto: bytes  # its serialised form, what a `.model` file holds

    @cached_property
    def processor(self) -> sentencepiece.SentencePieceProcessor:
        """Return sentencepiece's own object."""
        return sentencepiece.SentencePieceProcessor(model_proto=self.proto)

    def __len__(self) -> int:
        return self.processor.get_piece_size()

    def encode(self, text: str) -> Ids:
        """Return the ids `[N]` of a line, normalised; `UNKNOWN` for a character never seen."""
        return np.array(self.processor.encode(normalise(text)), np.int32)

    def decode(self, ids: Ids) -> str:
        """Return the line of ids; what stands for no text, as `END`, is left out."""
        return self.processor.decode(ids.tolist())

    def pieces(self, ids: Ids) -> list[str]:
        """Return each id's piece of text, `▁` for the space before a word."""
        return [self.processor.id_to_piece(i) for i in ids.tolist()]

    def unseen(self, text: str) -> list[str]:
        """Return the pieces of a line that the model never saw, each once, in order."""
        pieces = dict.fromkeys(self.processor.encode(normalise(text), out_type=str))
        return [piece for piece in pieces if self.processor.piece_to_id(piece) == UNKNOWN]


def train_subwords(lines: Sequence[str], size: int, *, at_most: bool = False) -> Subwords:
    """Learn `size` subwords of a text, the four special ones counted in; 0: its characters.

    With `at_most` there may be fewer, where the text has no so many.

    Raises:
      InputError: the text has no so many pieces, or more characters than that.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=map(normalise, lines),
            model_writer=model,
            model_type="bpe" if size else "char",
            vocab_size=size or 100_000,
            hard_vocab_limit=bool(size) and not at_most,
            character_coverage=1.0,
            split_digits=True,  # a number is read digit by digit
            num_threads=1,
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=START,
            eos_id=END,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(
            f"train_subwords: no {size} pieces can be made of {len(lines):,} lines: "
            f"{str(error).rpartition(']')[2].strip()}; change --source-pieces or "
            "--target-pieces, or set it to 0 for characters"
        ) from error
    return Subwords(model.getvalue())


@dataclasses.dataclass(frozen=True)
class Vocabularies:
    """The subwords of both sides; one and the same where they are shared."""

    source: Subwords
    target: Subwords

    @property
    def facts(self) -> dict[str, str]:
        """Return both as JSON, for `vocabularies_of`."""
        sides = {"source_model": self.source, "target_model": self.target}
        return {name: base64.b64encode(side.proto).decode() for name, side in sides.items()}

    def encode(self, pairs: Pairs, reverse_source: bool) -> Encoded:
        """Return pairs as ids, the sources from their end to their start if asked for."""
        order = slice(None, None, -1 if reverse_source else 1)
        return Encoded(
            [self.source.encode(line)[order] for line in pairs.sources],
            [self.target.encode(line) for line in pairs.targets],
        )


def learn_vocabularies(train: Pairs, config: Config) -> Vocabularies:
    """Learn the subwords of a config from the training split.

    Of a user's own pairs, whose size nobody has tuned the settings to, there may be fewer.

    Raises:
      InputError: see `train_subwords`.
    """
    learned = partial(train_subwords, at_most=config.data not in CORPORA)
    if config.shared_pieces:
        both = learned([*train.sources, *train.targets], config.source_pieces)
        return Vocabularies(both, both)
    return Vocabularies(
        learned(train.sources, config.source_pieces), learned(train.targets, config.target_pieces)
    )


def vocabularies_of(facts: Mapping[str, Any]) -> Vocabularies:
    """Return the subwords of a run from what its file holds."""
    source, target = (base64.b64decode(facts[f"{side}_model"]) for side in ("source", "target"))
    return Vocabularies(Subwords(source), Subwords(target))

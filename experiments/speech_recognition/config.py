"""Every option of the speech-recognition experiment, with the default run's values.

Command:   python -m experiments.speech_recognition
Expected:  test CER 2.50 %, where the nearest mean spectrum has 78.75 % (jax 0.10.2; with 17
           test strings, 95 % of resampled test parts lie between 0 and 6.0 %)
Hardware:  2 CPU cores
Time:      65 s in all on an AMD EPYC without AVX-512

The runs on recorded speech are in `configs/`, one file each, by the name for `--preset`.
"""

import dataclasses
import os
from pathlib import Path
from typing import ClassVar, Literal

from experiments.common.own_data import located
from experiments.common.settings import Schedule, Skip, check_settings, require
from experiments.speech_recognition.augment import SpecAugment
from experiments.speech_recognition.features import Normalization

CORPORA = ("formants", "an4", "fsdd")
CORPUS_OR_FOLDER = f"{', '.join(CORPORA)}, or a folder of your own recordings"

# What may change when a run goes on: nothing here has a part in the parameters.
FREE_ON_RESUME = frozenset(
    {
        "data_dir",
        "log_interval",
        "checkpoint_interval",
        "keep_checkpoints",
        "beam_size",
        "ngram",
        "ngram_order",
    }
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: str = "formants"
    """formants (digit strings, made here), an4, fsdd (digit strings of recorded clips), or your
    own recordings: a folder with metadata.csv and wavs/ as LJSpeech has them, or with NAME.txt
    beside each NAME.wav. The preset an4 was made for 40 minutes of speech."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""

    num_bands: int = 40
    """Bands of the log-mel spectrogram."""
    normalization: Normalization = "utterance"
    """Whose mean and deviation is taken out of each band: the utterance's, those of all that
    its speaker says, or the training part's (global)."""
    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which utterances are heard in training, one of them drawn each time."""
    band_masks: int = 2
    """SpecAugment: masks over bands."""
    max_bands: int = 6
    """SpecAugment: the most bands that a mask takes."""
    time_masks: int = 2
    """SpecAugment: masks over time."""
    max_frames: int = 15
    """SpecAugment: the most frames of 10 ms that a mask takes; at most a fifth of them all."""
    stack: int = 3
    """Frames of 10 ms that the network reads in one step."""

    cell: Literal["lstm", "gru", "elman"] = "gru"
    """The recurrent cell."""
    num_layers: int = 2
    """How many recurrent layers."""
    hidden_size: int = 64
    """Units of each layer and direction."""
    bidirectional: bool = True
    """Whether each layer also reads from the end."""
    layer_norm: bool = False
    """Normalise between layers."""
    skip: Skip = "none"
    """What goes around each layer from the second on; see `deeprnn_jax.deep_rnn`."""
    dropout: float = 0.1
    """Rate of dropout between the layers and before the readout."""
    weight_drop: float = 0.0
    """Rate of dropped entries in the recurrent matrices, drawn once a step."""
    schedule: Schedule = "auto"
    """In which order the network is run: the same numbers, up to rounding."""

    seed: int = 0
    """Seed of initial parameters, dropout, masks, batches and held out speakers."""
    steps: int = 400
    """Training steps."""
    batch_size: int = 16
    """Utterances a step."""
    num_lengths: int = 2
    """Lengths that batches are padded to; for each the step is compiled by itself."""
    learning_rate: float = 5e-3
    """AdamW's highest learning rate, after the warm-up; it falls to zero as a cosine."""
    warmup_steps: int = 40
    """Steps in which the learning rate rises from zero."""
    adam_b2: ClassVar[float] = 0.999  # decay of its second moment; no option
    weight_decay: float = 0.0
    """AdamW's weight decay; on matrices only, not on biases."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; a longer one is scaled down."""
    ema_decay: float = 0.0
    """Decay of the mean of the parameters that is evaluated and decoded with; 0: no mean."""

    beam_size: int = 16
    """Prefixes that the beam search keeps."""
    ngram: Literal["character", "word"] = "character"
    """What the language model of the training transcripts is one of; words not for formants
    and fsdd, for a string of digits is one word."""
    ngram_order: int = 6
    """The characters that a character model looks at, the next one counted in."""

    log_interval: int = 20
    """Steps between records, and between looks for numbers that are not finite."""
    eval_interval: int = 50
    """Steps between evaluations of the whole validation part."""
    checkpoint_interval: int = 200
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints to keep: that many of the last, and the one of the best validation."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
          InputError: names the option, what it may be and what it is.
        """
        check_settings(
            self,
            at_least_one=_AT_LEAST_ONE,
            not_negative=_NOT_NEGATIVE,
            rates=_RATES,
            positive=("learning_rate", "clip_norm"),
        )
        object.__setattr__(self, "data", located(self.data, CORPORA))
        # A trained model is used without its data, so that a full path may lead nowhere here.
        folder = os.path.isabs(self.data) and not os.path.isfile(self.data)
        require(self.data in CORPORA or folder, self, "data", CORPUS_OR_FOLDER)
        # The one before is what a damaged last checkpoint falls back on.
        require(self.keep_checkpoints >= 2, self, "keep_checkpoints", ">= 2")
        require(self.warmup_steps < self.steps, self, "warmup_steps", f"below steps={self.steps}")
        require(self.max_bands <= self.num_bands, self, "max_bands", "at most --num-bands")
        both = self.bidirectional and self.schedule == "wavefront"
        require(not both, self, "schedule", "another one where layers are bidirectional")
        words = self.ngram == "word" and self.data in ("formants", "fsdd")
        require(not words, self, "ngram", "character for strings of digits, each one word")
        speeds = self.speeds
        ordinary = len(speeds) > 0 and all(0.5 <= speed <= 2.0 for speed in speeds)
        require(ordinary and len(set(speeds)) == len(speeds), self, "speeds", "different, 0.5 to 2")
        # What is global is measured on speech as it was spoken.
        require(1.0 in speeds, self, "speeds", "with 1.0 among them")

    @property
    def corpus_name(self) -> str:
        """Return what to call the data in a title or a folder's name."""
        return Path(self.data).name or "own"

    @property
    def spec_augment(self) -> SpecAugment:
        """Return the masks."""
        return SpecAugment(self.band_masks, self.max_bands, self.time_masks, self.max_frames)


_AT_LEAST_ONE = (
    "num_bands",
    "stack",
    "num_layers",
    "hidden_size",
    "steps",
    "batch_size",
    "num_lengths",
    "beam_size",
    "ngram_order",
    "log_interval",
    "eval_interval",
    "checkpoint_interval",
)
_NOT_NEGATIVE = (
    "seed",
    "band_masks",
    "max_bands",
    "time_masks",
    "max_frames",
    "warmup_steps",
    "weight_decay",
)
_RATES = ("dropout", "weight_drop", "ema_decay")

"""Every option of the speech-recognition experiment, with the default run's values.

Command:   python -m experiments.speech_recognition
Expected:  test CER 2.50 %, where the nearest mean spectrum has 78.75 % (jax 0.10.2; with 17
           test strings, 95 % of resampled test parts lie between 0 and 6.0 %)
Hardware:  2 CPU cores
Time:      65 s in all on an AMD EPYC without AVX-512

The runs on recorded speech are in `configs/`, one file each, by the name for `--preset`.
"""

import dataclasses
from typing import Annotated, Literal

from experiments.common.settings import (
    FREE,
    CellName,
    Count,
    NetworkSettings,
    TrainingSettings,
    Whole,
    require,
)
from experiments.speech_recognition.features import Normalization

CORPORA = ("formants", "an4", "fsdd")


@dataclasses.dataclass(frozen=True)
class Config(NetworkSettings, TrainingSettings):
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: str = "formants"
    """formants (digit strings, made here), an4, fsdd (digit strings of recorded clips), or your
    own recordings: a folder with metadata.csv and wavs/ as LJSpeech has them, or with NAME.txt
    beside each NAME.wav. The preset an4 was made for 40 minutes of speech."""
    voices: tuple[int, int, int] = (24, 6, 8)
    """formants: how many voices speak the training, the validation and the test part."""
    takes: Count = 3
    """formants: how often a training voice says each digit; the others say it once."""

    num_bands: Count = 40
    """Bands of the log-mel spectrogram."""
    normalization: Normalization = "utterance"
    """Whose mean and deviation is taken out of each band: the utterance's, those of all that
    its speaker says, or the training part's (global)."""
    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which utterances are heard in training, one of them drawn each time."""
    band_masks: Whole = 2
    """SpecAugment: masks over bands."""
    max_bands: Whole = 6
    """SpecAugment: the most bands that a mask takes."""
    time_masks: Whole = 2
    """SpecAugment: masks over time."""
    max_frames: Whole = 15
    """SpecAugment: the most frames of 10 ms that a mask takes; at most a fifth of them all."""
    stack: Count = 3
    """Frames of 10 ms that the network reads in one step."""

    cell: CellName = "gru"
    hidden_size: int = 64
    bidirectional: bool = True
    """Whether each layer also reads from the end."""
    dropout: float = 0.1

    steps: int = 400
    batch_size: int = 16
    """Utterances a step."""
    num_lengths: Count = 2
    """Lengths that batches are padded to; for each the step is compiled by itself."""
    learning_rate: float = 5e-3
    warmup_steps: int = 40
    adam_b2: float = 0.999
    eval_interval: int = 50
    checkpoint_interval: int = 200

    beam_size: Annotated[Count, FREE] = 16
    """Prefixes that the beam search keeps."""
    ngram: Annotated[Literal["character", "word"], FREE] = "character"
    """What the language model of the training transcripts is one of; words not for formants
    and fsdd, for a string of digits is one word."""
    ngram_order: Annotated[Count, FREE] = 6
    """The characters that a character model looks at, the next one counted in."""
    ngram_entries: Annotated[Count, FREE] = 10**8
    """The most entries of the language model's tables: near 3 GB while it is made."""
    fusion_weights: Annotated[tuple[float, ...], FREE] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """The language model's weights in the beam search that the validation part chooses from."""
    fusion_bonuses: Annotated[tuple[float, ...], FREE] = (0.0, 0.5, 1.0, 1.5)
    """What each character may add there, for a language model prefers short texts."""
    decode_batch: Annotated[Count, FREE] = 64
    """Utterances that are decoded side by side."""

    def __post_init__(self) -> None:
        """Refuse values out of range, with InputError: see `require`."""
        super().__post_init__()
        require(min(self.voices) >= 1, self, "voices", "three numbers >= 1")
        require(self.max_bands <= self.num_bands, self, "max_bands", "at most --num-bands")
        words = self.ngram == "word" and self.data in ("formants", "fsdd")
        require(not words, self, "ngram", "character for strings of digits, each one word")
        speeds = self.speeds
        ordinary = len(speeds) > 0 and all(0.5 <= speed <= 2.0 for speed in speeds)
        require(ordinary and len(set(speeds)) == len(speeds), self, "speeds", "different, 0.5 to 2")
        # What is global is measured on speech as it was spoken.
        require(1.0 in speeds, self, "speeds", "with 1.0 among them")
        for name in ("fusion_weights", "fusion_bonuses"):
            require(len(getattr(self, name)) > 0, self, name, "one number or more")

"""Every option of the speech-recognition experiment, with the default run's values.

Command:   python -m experiments.speech_recognition
Expected:  to be measured
Hardware:  2 CPU cores
Time:      under 90 s in all

The runs on recorded speech are in `configs/`, one file each, by the name for `--preset`.
"""

import dataclasses
from typing import Literal

from experiments.speech_recognition.augment import SpecAugment
from experiments.speech_recognition.features import Normalization

FREE_ON_RESUME = frozenset(
    {"data_dir", "log_interval", "eval_interval", "checkpoint_interval", "keep_checkpoints"}
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: Literal["formants", "an4", "fsdd"] = "formants"
    """formants (digit strings, made here), an4 or fsdd (digit strings of recorded clips)."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""

    num_bands: int = 40
    """Bands of the log-mel spectrogram."""
    normalization: Normalization = "utterance"
    """Whose mean and deviation is taken out of each band: of the utterance, of all that its
    speaker says, or of the training part."""
    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which an utterance is heard in training, one drawn each time."""
    band_masks: int = 2
    """SpecAugment: masks over bands."""
    max_bands: int = 6
    """SpecAugment: the most bands that a mask takes."""
    time_masks: int = 2
    """SpecAugment: masks over time."""
    max_frames: int = 20
    """SpecAugment: the most frames of 10 ms that a mask takes."""
    stack: int = 3
    """Frames of 10 ms that the network reads in one step."""

    cell: Literal["lstm", "gru", "elman"] = "lstm"
    """The recurrent cell."""
    num_layers: int = 2
    """How many recurrent layers."""
    hidden_size: int = 64
    """Units of each layer and direction."""
    bidirectional: bool = True
    """Whether each layer also reads from the end."""
    layer_norm: bool = False
    """Normalise between layers."""
    dropout: float = 0.0
    """Rate of dropout between the layers and before the readout."""
    weight_drop: float = 0.0
    """Rate of dropped entries in the recurrent matrices, drawn once a step."""
    schedule: str = "auto"
    """auto, reference, layerwise: the same numbers, up to rounding, in another order."""

    seed: int = 0
    """Seed of initial parameters, dropout, masks, batches and held out speakers."""
    steps: int = 400
    """Training steps."""
    batch_size: int = 16
    """Utterances a step."""
    num_lengths: int = 2
    """Lengths that batches are padded to; each is compiled by itself."""
    learning_rate: float = 4e-3
    """AdamW's highest learning rate, after the warm-up; it falls to zero as a cosine."""
    warmup_steps: int = 50
    """Steps in which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """AdamW's weight decay; on matrices only, not on biases."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; a longer one is scaled down."""
    ema_decay: float = 0.0
    """Decay of the mean of the parameters that is evaluated and decoded with; 0: no mean."""

    @property
    def spec_augment(self) -> SpecAugment:
        """Return the masks."""
        return SpecAugment(self.band_masks, self.max_bands, self.time_masks, self.max_frames)

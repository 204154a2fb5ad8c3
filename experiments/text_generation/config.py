"""Every option of the text-generation experiment, with the default run's values.

Command:   python -m experiments.text_generation
Expected:  validation 1.76 to 1.79 bits per character on CPython's pydoc topics, by how the
           first weights are rounded (3.11.7, jax 0.10.2; 1.771 when last measured); passes
           the Witten-Bell models of orders 3 (2.47), 4 (2.03) and 5 (1.90)
Hardware:  2 CPU cores
Time:      53 s in all on an AMD EPYC without AVX-512
Paper:     none has numbers on this text; the Witten-Bell models are those of Witten &
           Bell (1991), as in Chen & Goodman (1999)

The longer, tuned runs are in `configs/`, one file each, by the name for `--preset`.
"""

import dataclasses
from typing import Annotated, Literal

from deeprnn_jax.decoding import Sampling
from experiments.common.errors import InputError
from experiments.common.settings import (
    FREE,
    Count,
    NetworkSettings,
    Positive,
    PositiveOrNone,
    Rate,
    TrainingSettings,
    Whole,
    require,
)
from experiments.text_generation.corpora import SOURCES

CORPORA = ("pydoc", *SOURCES)


@dataclasses.dataclass(frozen=True)
class Config(NetworkSettings, TrainingSettings):
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: str = "pydoc"
    """pydoc (comes with Python), tinyshakespeare, warandpeace, ptb (words) or a UTF-8 file."""
    level: Literal["character", "word"] = "character"
    """What a symbol of a text is; ptb is words in any case."""
    min_count: Count = 2
    """level=word: words that the training split has less often become <unk>."""

    embedding_size: Count = 128
    """Size of the vector that stands for a symbol."""
    embedding_scale: PositiveOrNone = None
    """Deviation of the embedding's first values; else 1, or tied 1/sqrt(embedding_size)."""
    init_scale: PositiveOrNone = None
    """Draw every parameter uniformly from -this to this, in place of each part's own way."""
    tied_embeddings: bool = False
    """Read the logits out with the embedding's own matrix; helps with many words."""
    embedding_dropout: Rate = 0.0
    """Rate of dropout on the embedded symbols."""

    seed: int = 0
    """Seed of initial parameters, dropout and the offsets of the epochs in the text."""
    steps: int = 3000
    batch_size: int = 16
    """Streams of text that are read side by side."""
    chunk_length: Count = 20
    """Symbols each stream is read on by in a step: how far gradients reach back."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or gradient descent without momentum."""
    learning_rate: float = 8e-3
    """The highest learning rate."""
    rate_schedule: Literal["cosine", "steps"] = "cosine"
    """A warm-up and a cosine to zero; or constant at first and then smaller step by step."""
    warmup_steps: int = 100
    """cosine: steps in which the learning rate rises from zero."""
    constant_steps: Whole = 0
    """steps: how many keep the first learning rate."""
    decay_interval: Count = 1000
    """steps: after those, how many steps lie between two decays."""
    decay_factor: Positive = 0.5
    """steps: what the learning rate is multiplied by each time."""

    eval_interval: int = 500
    eval_streams: Count = 32
    """Streams the validation split is cut into to be read side by side."""
    eval_context: Whole = 128
    """Symbols of preceding text that each of those streams reads first, uncounted."""
    log_interval: int = 50
    checkpoint_interval: int = 500
    keep_checkpoints: int = 3

    sample_prompt: Annotated[str | None, FREE] = None
    """What the sample after training starts from; else the text's first symbol."""
    sample_length: Annotated[Whole, FREE] = 600
    """Symbols to write, for the sample and for --generate."""
    sample_seed: Annotated[Whole, FREE] = 0
    """Seed of what is written."""
    temperature: Annotated[float, FREE] = 0.7
    """Divides the logits: 0 takes the most probable symbol, 1 the model as it is."""
    top_k: Annotated[int | None, FREE] = None
    """Draw from the k most probable symbols only."""
    top_p: Annotated[float, FREE] = 1.0
    """Draw from the fewest symbols that have this probability together."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and what was given but has no effect.

        Raises:
          InputError: names the option, what it may be and what it is.
        """
        super().__post_init__()
        require(self.sample_prompt != "", self, "sample_prompt", "one symbol or more")
        _ = self.sampling  # which checks its own
        default = {field.name: field.default for field in dataclasses.fields(self)}
        for other, value, names in _WITHOUT_EFFECT:
            if getattr(self, other) != value:
                continue
            for name in names:
                # No warm-up is none, in so many words.
                idle = (default[name], 0) if name == "warmup_steps" else (default[name],)
                expected = f"left out with {other}={value}, where it has no effect"
                require(getattr(self, name) in idle, self, name, expected)
        both = self.init_scale is not None and self.embedding_scale is not None
        expected = "left out with init_scale, which is of every parameter"
        require(not both, self, "embedding_scale", expected)

    def check_rate(self) -> None:
        """Refuse a warm-up that takes the whole training, where there is one."""
        if self.rate_schedule == "cosine":
            super().check_rate()

    @property
    def sampling(self) -> Sampling:
        """Return how the sample is drawn.

        Raises:
          InputError: a value out of range.
        """
        try:
            return Sampling(self.temperature, self.top_k, self.top_p)
        except ValueError as error:
            raise InputError(str(error)) from error


# With this setting at this value, these must be as they are by default.
_WITHOUT_EFFECT = (
    ("optimizer", "sgd", ("weight_decay", "adam_b2")),
    ("rate_schedule", "steps", ("warmup_steps",)),
    ("rate_schedule", "cosine", ("constant_steps", "decay_interval", "decay_factor")),
    ("data", "ptb", ("min_count",)),
    ("level", "character", ("min_count",)),
)

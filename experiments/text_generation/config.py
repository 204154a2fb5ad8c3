"""Every option of the text-generation experiment, with the default run's values.

Command:   python -m experiments.text_generation
Expected:  validation 1.76 to 1.79 bits per character on CPython's pydoc topics, by how the
           first weights are rounded (3.11.7, jax 0.10.2; 1.769 when last measured); passes
           the Witten-Bell models of orders 3 (2.47), 4 (2.03) and 5 (1.90)
Hardware:  2 CPU cores
Time:      62 s in all on an AMD EPYC without AVX-512
Paper:     none has numbers on this text; the Witten-Bell models are those of Witten &
           Bell (1991), as in Chen & Goodman (1999)

The longer, tuned runs are in `configs/`, one file each, by the name for `--preset`.
"""

import dataclasses
from typing import Annotated, Literal

import jax.numpy as jnp
import tyro

from deeprnn_jax.decoding import Sampling
from experiments.common.errors import InputError
from experiments.common.own_data import located
from experiments.common.settings import Schedule, Skip, check_settings, require
from experiments.text_generation.corpora import SOURCES

CORPORA = ("pydoc", *SOURCES)
# What may change when a run goes on: nothing here has a part in the parameters.
FREE_ON_RESUME = frozenset(
    {
        "data_dir",
        "log_interval",
        "checkpoint_interval",
        "keep_checkpoints",
        "sample_prompt",
        "sample_length",
        "temperature",
        "top_k",
        "top_p",
    }
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a run. The same settings give the same parameters on one machine."""

    corpus: Annotated[str, tyro.conf.arg(aliases=("--data",))] = "pydoc"
    """pydoc (comes with Python), tinyshakespeare, warandpeace, ptb (words) or a UTF-8 file."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""
    level: Literal["character", "word"] = "character"
    """What a symbol of a text is; ptb is words in any case."""
    min_count: int = 2
    """level=word: words that the training split has less often become <unk>."""

    cell: Literal["elman", "lstm", "gru", "minimal_gated", "independent"] = "lstm"
    """The recurrent cell."""
    num_layers: int = 2
    """How many recurrent layers."""
    hidden_size: int = 128
    """Units of each recurrent layer."""
    embedding_size: int = 128
    """Size of the vector that stands for a symbol."""
    embedding_scale: float | None = None
    """Deviation of the embedding's first values; else 1, or tied 1/sqrt(embedding_size)."""
    init_scale: float | None = None
    """Draw every parameter uniformly from -this to this, in place of each part's own way."""
    tied_embeddings: bool = False
    """Read the logits out with the embedding's own matrix; helps with many words."""
    skip: Skip = "none"
    """Connections that go around a layer."""
    layer_norm: bool = False
    """Normalise between layers."""
    dropout: float = 0.0
    """Rate of dropout between the layers and before the readout."""
    embedding_dropout: float = 0.0
    """Rate of dropout on the embedded symbols."""
    weight_drop: float = 0.0
    """Rate of dropped entries in the recurrent matrices, drawn once a step."""
    schedule: Schedule = "auto"
    """The order of the network's work: the same numbers, up to rounding."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the products; parameters, state and loss stay float32."""

    seed: int = 0
    """Seed of initial parameters, dropout, data offsets and the sample."""
    steps: int = 3000
    """Training steps."""
    batch_size: int = 16
    """Streams of text that are read side by side."""
    chunk_length: int = 20
    """Symbols each stream is read on by in a step: how far gradients reach back."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or gradient descent without momentum."""
    learning_rate: float = 8e-3
    """The highest learning rate."""
    rate_schedule: Literal["cosine", "steps"] = "cosine"
    """A warm-up and a cosine to zero; or constant at first and then smaller step by step."""
    warmup_steps: int = 100
    """cosine: steps in which the learning rate rises from zero."""
    constant_steps: int = 0
    """steps: how many keep the first learning rate."""
    decay_interval: int = 1000
    """steps: after those, how many steps lie between two decays."""
    decay_factor: float = 0.5
    """steps: what the learning rate is multiplied by each time."""
    adam_b2: float = 0.99
    """Decay of AdamW's second moment."""
    weight_decay: float = 0.0
    """AdamW's weight decay; on matrices only, not on biases."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; a longer one is scaled down."""
    ema_decay: float = 0.0
    """Decay of the mean of the parameters that is evaluated and written with; 0: no mean."""

    eval_interval: int = 500
    """Steps between evaluations of the whole validation split."""
    eval_streams: int = 32
    """Streams the validation split is cut into to be read side by side."""
    eval_context: int = 128
    """Symbols of preceding text that each of those streams reads first, uncounted."""
    log_interval: int = 50
    """Steps between records, and between looks for numbers that are not finite."""
    checkpoint_interval: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 3
    """Checkpoints to keep: that many of the last, and the one of the best validation."""

    sample_prompt: str | None = None
    """What the sample after training starts from; else the text's first symbol."""
    sample_length: int = 600
    """Symbols to write, for the sample and for --generate."""
    temperature: float = 0.7
    """Divides the logits: 0 takes the most probable symbol, 1 the model as it is."""
    top_k: int | None = None
    """Draw from the k most probable symbols only."""
    top_p: float = 1.0
    """Draw from the fewest symbols that have this probability together."""

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
            positive=("learning_rate", "clip_norm", "decay_factor"),
        )
        object.__setattr__(self, "corpus", located(self.corpus, CORPORA))
        for name in ("embedding_scale", "init_scale"):
            scale = getattr(self, name)
            require(scale is None or 0.0 < scale < float("inf"), self, name, "> 0")
        # The one before is what a damaged last checkpoint falls back on.
        require(self.keep_checkpoints >= 2, self, "keep_checkpoints", ">= 2")
        if self.rate_schedule == "cosine":
            steps = f"below steps={self.steps}"
            require(self.warmup_steps < self.steps, self, "warmup_steps", steps)
        require(self.sample_prompt != "", self, "sample_prompt", "one symbol or more")
        _ = self.sampling  # which checks its own
        self._refuse_what_has_no_effect()

    def _refuse_what_has_no_effect(self) -> None:
        """Refuse what was given but plays no part under the other settings."""
        default = {field.name: field.default for field in dataclasses.fields(self)}
        for other, value, names in _WITHOUT_EFFECT:
            if getattr(self, other) != value:
                continue
            for name in names:
                # No warm-up is none, in so many words.
                idle = (default[name], 0) if name == "warmup_steps" else (default[name],)
                expected = f"left away with {other}={value}, where it has no effect"
                require(getattr(self, name) in idle, self, name, expected)
        require(
            self.init_scale is None or self.embedding_scale is None,
            self,
            "embedding_scale",
            "left away with init_scale, which is of every parameter",
        )

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

    @property
    def dtype(self) -> jnp.dtype:
        """Return the precision of the products."""
        return jnp.dtype(self.compute_dtype)


# With this setting at this value, these must be as they are by default.
_WITHOUT_EFFECT = (
    ("optimizer", "sgd", ("weight_decay", "adam_b2")),
    ("rate_schedule", "steps", ("warmup_steps",)),
    ("rate_schedule", "cosine", ("constant_steps", "decay_interval", "decay_factor")),
    ("corpus", "ptb", ("min_count",)),
    ("level", "character", ("min_count",)),
)
_AT_LEAST_ONE = (
    "min_count",
    "num_layers",
    "hidden_size",
    "embedding_size",
    "steps",
    "batch_size",
    "chunk_length",
    "eval_interval",
    "eval_streams",
    "log_interval",
    "checkpoint_interval",
    "decay_interval",
)
_NOT_NEGATIVE = (
    "seed",
    "warmup_steps",
    "constant_steps",
    "weight_decay",
    "eval_context",
    "sample_length",
)
_RATES = ("dropout", "embedding_dropout", "weight_drop", "adam_b2", "ema_decay")

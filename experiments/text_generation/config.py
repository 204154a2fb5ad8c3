"""Every option of the text-generation experiment, with the default run's values.

Command:   python -m experiments.text_generation
Expected:  validation 1.775 bits per character on CPython's pydoc topics
           (3.11.7, jax 0.10.2); passes the Witten-Bell models of orders 3 (2.47),
           4 (2.03) and 5 (1.90)
Hardware:  2 CPU cores
Time:      under 90 s in all

The longer, tuned runs are in `configs/`, one file each, by the name for `--preset`.
"""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from deeprnn_jax.decoding import Sampling
from experiments.common.errors import InputError

# What may change when a run goes on: nothing here has a part in the parameters.
FREE_ON_RESUME = frozenset(
    {
        "data_dir",
        "log_interval",
        "eval_interval",
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

    corpus: str = "pydoc"
    """pydoc (comes with Python), tinyshakespeare, warandpeace, ptb (words) or a UTF-8 file."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""

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
    tied_embeddings: bool = False
    """Read the logits out with the embedding's own matrix; helps with many words."""
    skip: Literal["none", "residual", "highway", "dense"] = "none"
    """Connections that go around a layer."""
    layer_norm: bool = False
    """Normalise between layers."""
    dropout: float = 0.0
    """Rate of dropout between the layers and before the readout."""
    embedding_dropout: float = 0.0
    """Rate of dropout on the embedded symbols."""
    weight_drop: float = 0.0
    """Rate of dropped entries in the recurrent matrices, drawn once a step."""
    schedule: str = "auto"
    """auto, reference or layerwise: the same numbers, up to rounding, in another order."""
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
    learning_rate: float = 8e-3
    """AdamW's highest learning rate, after the warm-up; it falls to zero as a cosine."""
    warmup_steps: int = 100
    """Steps in which the learning rate rises from zero."""
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
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise InputError(_message(name, ">= 1", getattr(self, name)))
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(_message(name, ">= 0", getattr(self, name)))
        for name in _RATES:
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(_message(name, "in [0, 1)", getattr(self, name)))
        for name in ("learning_rate", "clip_norm"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise InputError(_message(name, "> 0 and finite", getattr(self, name)))
        if self.embedding_scale is not None and not 0.0 < self.embedding_scale < float("inf"):
            raise InputError(_message("embedding_scale", "> 0", self.embedding_scale))
        if self.keep_checkpoints < 2:
            # The one before is what a damaged last checkpoint falls back on.
            raise InputError(_message("keep_checkpoints", ">= 2", self.keep_checkpoints))
        if self.warmup_steps >= self.steps:
            raise InputError(
                _message("warmup_steps", f"below steps={self.steps}", self.warmup_steps)
            )
        if self.sample_prompt == "":
            raise InputError(_message("sample_prompt", "one symbol or more", "none"))
        _ = self.sampling  # which checks its own

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


_AT_LEAST_ONE = (
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
)
_NOT_NEGATIVE = ("seed", "warmup_steps", "weight_decay", "eval_context", "sample_length")
_RATES = ("dropout", "embedding_dropout", "weight_drop", "adam_b2", "ema_decay")


def _message(name: str, expected: str, got: Any) -> str:
    option = "--" + name.replace("_", "-")
    return f"Config: {option} must be {expected}, got {got}"


def differing_fields(config: Config, other: dict[str, Any]) -> list[str]:
    """Return the names of the fields that shape the parameters and are not equal.

    Args:
      config: a config.
      other: another one as a dictionary, as a run's file holds it.
    """
    mine = dataclasses.asdict(config)
    return [
        name
        for name, value in mine.items()
        if name not in FREE_ON_RESUME and other.get(name) != value
    ]


def config_from_dict(values: dict[str, Any]) -> Config:
    """Return the config that a run's file holds.

    Raises:
      InputError: the file has fields that there are no more, or lacks some.
    """
    known = {field.name for field in dataclasses.fields(Config)}
    odd = sorted(known.symmetric_difference(values))
    if odd:
        raise InputError(
            f"config_from_dict: the run was made by another version: {', '.join(odd)}; "
            "check that version out or start a new run"
        )
    return Config(**values)

"""Every option of the machine-translation experiment, with the default run's values.

Command:   python -m experiments.machine_translation
Expected:  100 % of the test's dates right, greedy and by beam search; python-dateutil reads
           79.8 % of them (jax 0.10.2)
Hardware:  2 CPU cores
Time:      77 s in all on an AMD EPYC without AVX-512

References: Bahdanau et al. 2015, "Neural Machine Translation by Jointly Learning to Align and
           Translate"; Luong et al. 2015, "Effective Approaches to Attention-based Neural
           Machine Translation"; Sutskever et al. 2014, "Sequence to Sequence Learning with
           Neural Networks"

Multi30k, English to German, is `--preset multi30k`; see `configs/`.
"""

import dataclasses
from typing import Literal

from experiments.common.settings import check_settings, require
from experiments.machine_translation.own_pairs import located

# What may change when a run goes on: nothing here has a part in the parameters.
FREE_ON_RESUME = frozenset(
    {
        "data_dir",
        "log_interval",
        "eval_buckets",
        "eval_batch_size",
        "checkpoint_interval",
        "keep_checkpoints",
        "beam_size",
        "length_penalty",
        "examples",
    }
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: str = "dates"
    """dates (made, offline), multi30k (English to German), or your own pairs, FOLDER:SRC-TGT: with
    FOLDER:en-de a folder's train.en is translated to its train.de, a sentence a line, plain or
    .gz; if they are train.src and train.tgt, FOLDER alone will do. Its valid.* and test.* are
    taken if there are any, else a 20th of the pairs is held out for each. The settings are small
    ones: for 10,000 pairs and more --preset multi30k is the better start."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""
    train_pairs: int = 0
    """Take only so many training pairs, the first ones; 0: all."""
    reverse_source: bool = False
    """Read the source from its end to its start (Sutskever et al. 2014)."""
    source_pieces: int = 200
    """Subwords of the source, four special ones counted in; 0: characters."""
    target_pieces: int = 0
    """Subwords of the target; 0: characters."""
    shared_pieces: bool = False
    """Learn one set of source_pieces subwords from both sides."""

    cell: Literal["elman", "lstm", "gru"] = "gru"
    """The recurrent cell, of encoder and decoder."""
    encoder_layers: int = 2
    """Recurrent layers of the encoder."""
    encoder_size: int = 64
    """Units of each of them, in each direction."""
    bidirectional: bool = True
    """Read the source in both directions."""
    decoder_layers: int = 2
    """Recurrent layers of the decoder."""
    decoder_size: int = 128
    """Units of each of them."""
    attention: Literal["luong", "bahdanau", "none"] = "bahdanau"
    """How the decoder reads the source; none: the encoder's last state is all it has."""
    context_size: int = 128
    """Size of the context that the attention gives."""
    input_feeding: bool = True
    """Let the decoder read the context of the step before."""
    embedding_size: int = 64
    """Size of the vectors that stand for subwords, and of the readout's last layer."""
    dropout: float = 0.1
    """Rate of dropout between recurrent layers and on the encoder's outputs."""
    embedding_dropout: float = 0.0
    """Rate of dropout on the embedded subwords."""
    readout_dropout: float = 0.0
    """Rate of dropout before the logits."""

    seed: int = 0
    """Seed of initial parameters, dropout and the order of the data."""
    steps: int = 400
    """Training steps."""
    batch_size: int = 64
    """Pairs a step."""
    buckets: int = 1
    """How many shapes of batches there are, at most; each is compiled once."""
    learning_rate: float = 4e-3
    """AdamW's highest learning rate, after the warm-up; it falls to zero as a cosine."""
    warmup_steps: int = 50
    """Steps in which the learning rate rises from zero."""
    adam_b2: float = 0.99
    """Decay of AdamW's second moment."""
    weight_decay: float = 0.0
    """AdamW's weight decay; on matrices only, not on biases."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; a longer one is scaled down."""
    ema_decay: float = 0.0
    """Decay of the mean of the parameters that is evaluated and translated with; 0: no mean."""
    label_smoothing: float = 0.0
    """How much of each label's probability is spread over all subwords."""

    eval_interval: int = 200
    """Steps between evaluations of the validation split."""
    eval_buckets: int = 1
    """How many shapes of batches there are in evaluations, at most."""
    eval_batch_size: int = 125
    """Sentences that are translated side by side."""
    selection: Literal["nats", "score"] = "nats"
    """What the best checkpoint is chosen by: nats a token, or BLEU (dates: exact matches)."""
    log_interval: int = 50
    """Steps between records, and between looks for numbers that are not finite."""
    checkpoint_interval: int = 200
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints to keep: that many of the last, and the one of the best validation."""

    beam_size: int = 5
    """Hypotheses a sentence has in the search; 1 is greedy, and has no length penalty."""
    length_penalty: float = 0.6
    """How far scores are divided by ((5 + length) / 6): its exponent (GNMT's alpha)."""
    examples: int = 6
    """Translations to show at the end."""

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
        require(self.data != "", self, "data", "a name or a folder")
        object.__setattr__(self, "data", located(self.data))
        # The one before is what a damaged last checkpoint falls back on.
        require(self.keep_checkpoints >= 2, self, "keep_checkpoints", ">= 2")
        require(self.warmup_steps < self.steps, self, "warmup_steps", f"below steps={self.steps}")


_AT_LEAST_ONE = (
    "encoder_layers",
    "encoder_size",
    "decoder_layers",
    "decoder_size",
    "context_size",
    "embedding_size",
    "steps",
    "batch_size",
    "buckets",
    "eval_interval",
    "eval_buckets",
    "eval_batch_size",
    "log_interval",
    "checkpoint_interval",
    "beam_size",
)
_NOT_NEGATIVE = (
    "seed",
    "train_pairs",
    "source_pieces",
    "target_pieces",
    "warmup_steps",
    "weight_decay",
    "length_penalty",
    "examples",
)
_RATES = (
    "dropout",
    "embedding_dropout",
    "readout_dropout",
    "adam_b2",
    "ema_decay",
    "label_smoothing",
)

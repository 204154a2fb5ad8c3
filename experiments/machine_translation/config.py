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
from typing import Annotated, Literal

from experiments.common.settings import (
    FREE,
    Count,
    NotNegative,
    Positive,
    Rate,
    TrainingSettings,
    Whole,
)

CORPORA = ("dates", "multi30k")  # the names that are no folders


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of a run. The same settings give the same parameters on one machine."""

    data: str = "dates"
    """dates (made, offline), multi30k (English to German), or your own pairs, FOLDER:SRC-TGT: with
    FOLDER:en-de a folder's train.en is translated to its train.de, a sentence a line, plain or
    .gz; if they are train.src and train.tgt, FOLDER alone will do. Its valid.* and test.* are
    taken if there are any, else a 20th of the pairs is held out for each. The settings are small
    ones: for 10,000 pairs and more --preset multi30k is the better start."""
    train_pairs: Whole = 0
    """Take only so many training pairs, the first ones; 0: all."""
    reverse_source: bool = False
    """Read the source from its end to its start (Sutskever et al. 2014)."""
    source_pieces: Whole = 200
    """Subwords of the source, four special ones counted in; 0: characters."""
    target_pieces: Whole = 0
    """Subwords of the target; 0: characters."""
    shared_pieces: bool = False
    """Learn one set of source_pieces subwords from both sides."""

    cell: Literal["elman", "lstm", "gru"] = "gru"
    """The recurrent cell, of encoder and decoder."""
    encoder_layers: Count = 2
    """Recurrent layers of the encoder."""
    encoder_size: Count = 64
    """Units of each of them, in each direction."""
    bidirectional: bool = True
    """Read the source in both directions."""
    decoder_layers: Count = 2
    """Recurrent layers of the decoder."""
    decoder_size: Count = 128
    """Units of each of them."""
    attention: Literal["luong", "bahdanau", "none"] = "bahdanau"
    """How the decoder reads the source; none: the encoder's last state is all it has."""
    context_size: Count = 128
    """Size of the context that the attention gives."""
    input_feeding: bool = True
    """Let the decoder read the context of the step before."""
    embedding_size: Count = 64
    """Size of the vectors that stand for subwords, and of the readout's last layer."""
    dropout: Rate = 0.1
    """Rate of dropout between recurrent layers and on the encoder's outputs."""
    embedding_dropout: Rate = 0.0
    """Rate of dropout on the embedded subwords."""
    readout_dropout: Rate = 0.0
    """Rate of dropout before the logits."""

    steps: Count = 400
    batch_size: Count = 64
    buckets: Count = 1
    """How many shapes of batches there are, at most; each is compiled once."""
    learning_rate: Positive = 4e-3
    warmup_steps: Whole = 50
    label_smoothing: Rate = 0.0
    """How much of each label's probability is spread over all subwords."""

    eval_interval: Count = 200
    eval_buckets: Annotated[Count, FREE] = 1
    """How many shapes of batches there are in evaluations, at most."""
    eval_batch_size: Annotated[Count, FREE] = 125
    """Sentences that are translated side by side."""
    eval_padding: Annotated[Count, FREE] = 16
    """Sources to translate are padded to a multiple of so many pieces: few shapes to compile."""
    selection: Literal["nats", "score"] = "nats"
    """What the best checkpoint is chosen by: nats a token, or BLEU (dates: exact matches)."""
    log_interval: Annotated[Count, FREE] = 50
    checkpoint_interval: Annotated[Count, FREE] = 200

    beam_size: Annotated[Count, FREE] = 5
    """Hypotheses a sentence has in the search; 1 is greedy, and has no length penalty."""
    length_penalty: Annotated[NotNegative, FREE] = 0.6
    """How far scores are divided by ((5 + length) / 6): its exponent (GNMT's alpha)."""
    examples: Annotated[Whole, FREE] = 6
    """Translations to show at the end."""

"""Multi30k, English to German.

Command:   python -m experiments.machine_translation --preset multi30k
Expected:  test2016 BLEU 38.10 by beam, 37.65 greedy (sacrebleu, lower-cased, 13a); validation
           38.01 and 37.48, at step 6,500; one seed
Target:    test BLEU of at least 36
Hardware:  one of 2 CPU cores, the other busy
Time:      124 min
References: Caglayan et al. 2017 (LIUM), text only: 39.00 on lower-cased, tokenised text,
           a bidirectional GRU encoder, attention, embeddings of 128, 256 units
"""

from experiments.machine_translation.config import Config

CONFIG = Config(
    data="multi30k",
    source_pieces=5000,
    target_pieces=5000,
    encoder_size=256,
    decoder_size=256,
    context_size=256,
    attention="bahdanau",
    embedding_size=160,
    dropout=0.25,
    embedding_dropout=0.3,
    readout_dropout=0.3,
    steps=7_000,  # 15 epochs
    buckets=8,
    learning_rate=2e-3,
    warmup_steps=300,
    weight_decay=0.01,
    ema_decay=0.999,
    label_smoothing=0.1,
    eval_interval=500,
    eval_buckets=3,
    eval_batch_size=64,
    selection="score",
    checkpoint_interval=250,
)

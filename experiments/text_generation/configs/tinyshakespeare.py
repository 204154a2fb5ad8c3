"""A two-layer LSTM on tiny-shakespeare, to at most 1.50 nats a character.

Command:   python -m experiments.text_generation --preset tinyshakespeare
Expected:  validation 1.435 nats a character (2.070 bits) on the last tenth; Witten-Bell
           order 5 has 1.669
Target:    at most 1.50 nats
Hardware:  2 CPU cores
Time:      115 minutes on cores that much else ran on; 0.44 s a step where nothing did
Paper:     Feng et al. (2024), Were RNNs all we needed?: minGRU 1.548 on this split; a
           six-layer transformer has 1.470 (nanoGPT's README)
"""

from experiments.text_generation.config import Config

CONFIG = Config(
    data="tinyshakespeare",
    hidden_size=384,
    embedding_size=128,
    embedding_scale=128**-0.5,  # flax's own; the committed result was trained so
    dropout=0.3,
    batch_size=64,
    chunk_length=64,
    learning_rate=3e-3,
    warmup_steps=200,
    steps=2450,
    weight_decay=0.01,
    ema_decay=0.995,
    eval_interval=245,
    checkpoint_interval=245,
    log_interval=20,
    eval_context=256,
)

"""A larger LSTM on CPython's pydoc topics, regularised.

Command:   python -m experiments.text_generation --preset ten-minutes
Expected:  validation 1.631 bits per character on CPython 3.11 (Witten-Bell order 5: 1.90,
           passed by step 2,000)
Hardware:  2 CPU cores
Time:      7 minutes: 406 s, 688 s of processor time
Paper:     none has numbers on this text; see config.py for the Witten-Bell models
"""

from experiments.text_generation.config import Config

CONFIG = Config(
    hidden_size=256,
    embedding_size=256,
    dropout=0.3,
    embedding_dropout=0.1,
    weight_drop=0.2,
    steps=12_000,
    learning_rate=4e-3,
    warmup_steps=300,
    weight_decay=0.01,
    ema_decay=0.998,
    eval_interval=1000,
    checkpoint_interval=1000,
)

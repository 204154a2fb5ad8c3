"""ETTh1."""

from experiments.stock_prediction.config import Config

CONFIG = Config(
    data="etth1",
    hidden_size=64,
    schedule="reference",
    steps=500,
    batch_size=32,
    learning_rate=1e-2,
    warmup_steps=50,
    eval_interval=50,
)

"""ETTh1."""

from experiments.stock_prediction.config import Config

CONFIG = Config(
    data="etth1",
    hidden_size=64,
    schedule="reference",
    steps=1000,
    batch_size=32,
    learning_rate=2e-3,
    warmup_steps=50,
    eval_interval=100,
)

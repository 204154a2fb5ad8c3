"""ACL18."""

from experiments.stock_prediction.config import Config

CONFIG = Config(
    data="acl18",
    num_layers=2,
    hidden_size=32,
    num_seeds=10,
    steps=240,
    batch_size=64,
    learning_rate=1e-3,
    warmup_steps=20,
    eval_interval=20,
)

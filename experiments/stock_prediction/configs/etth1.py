"""ETTh1."""

from experiments.stock_prediction.config import Config

CONFIG = Config(
    data="etth1", cell="gru", hidden_size=64, num_seeds=5, batch_size=32, schedule="reference"
)

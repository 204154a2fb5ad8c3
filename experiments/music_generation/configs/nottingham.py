"""x."""

from experiments.music_generation.config import Config

CONFIG = Config(
    data="nottingham", cell="gru", num_layers=1, hidden_size=400, num_seeds=1, steps=1000
)

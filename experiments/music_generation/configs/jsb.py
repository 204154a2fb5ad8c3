"""x."""

from experiments.music_generation.config import Config

CONFIG = Config(data="jsb", cell="lstm", hidden_size=200, num_seeds=5, steps=2000, dropout=0.3)

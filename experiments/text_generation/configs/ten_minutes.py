"""TODO."""

from experiments.text_generation.config import Config

CONFIG = Config(corpus="pydoc")

"""A GRU on folk tunes, to at most 3.29 nats a frame."""

from experiments.music_generation.config import Config

CONFIG = Config(
    data="nottingham",
    num_layers=1,
    hidden_size=400,
    dropout=0.3,
    num_seeds=1,
    steps=1000,
    crop_frames=256,
    num_buckets=2,
    transpose=5,
    transpose_share=0.0,
    learning_rate=6e-3,
    weight_decay=0.02,
    ema_decay=0.995,
    max_notes=8,
    sample_frames=128,
)

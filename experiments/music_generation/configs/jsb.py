"""A GRU on Bach's chorales, to at most 8.43 nats a frame.

Command:   python -m experiments.music_generation --preset jsb
Expected:  test at most 8.43 nats a frame, the mean of five seeds; the run's own figures
           are in experiments/results/
Hardware:  2 CPU cores
Time:      about 10 minutes on an idle machine
What helps: the readout sees the last frame, too; dropout on the keys that are read and
           before the readout; AdamW with decay; a mean of the parameters. Half of the
           windows are transposed: with all of them as they are, in C, the network
           overfits, and with all of them moved it learns about keys that it is never
           asked for.
References: Bai et al. 2018: RNN 8.91, LSTM 8.45, GRU 8.43
"""

from experiments.music_generation.config import Config

CONFIG = Config(
    data="jsb",
    num_layers=1,
    hidden_size=300,
    dropout=0.3,
    input_dropout=0.1,
    num_seeds=5,
    steps=2500,
    num_buckets=3,
    transpose=5,
    transpose_share=0.5,
    learning_rate=5e-3,
    weight_decay=0.05,
    ema_decay=0.995,
    eval_interval=250,
    checkpoint_interval=125,
)

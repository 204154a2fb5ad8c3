"""Settings by name: each task's, its learning rates, and the default run's.

Command:   python -m experiments.long_memory --preset NAME
Expected:  the table in this folder's README
Hardware:  2 CPU cores

Every cell is trained at each of the learning rates, and the one of the best validation, at the
length of training, is kept. All else is the same for all cells: parameters, sequences, steps.
But what says how long a state is kept in `lru` and `s5` learns at a quarter of the rate.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from experiments.long_memory.config import Config


class Preset(NamedTuple):
    """What a command trains: each of the cells on each of the configs, at each of the rates."""

    configs: tuple[Config, ...]
    learning_rates: tuple[float, ...]
    cells: tuple[str, ...] = ()  # none: all


# Beck et al. 2024 (xLSTM) train at 3 to 40 steps, two blocks of 64, and test at up to 256.
_STATES = Config(
    task="parity",
    length=40,
    test_lengths=(256, 2048),
    architecture="block",
    steps=2000,
    batch_size=32,
)
_RECALL = Config(
    task="copy",
    length=256,
    num_items=10,
    num_kinds=8,
    architecture="block",
    conv_width=4,
    num_seeds=2,
    steps=2000,
    batch_size=32,
)
_DIGITS = Config(
    data="mnist",
    task="smnist",
    length=784,
    architecture="block",
    parameters=32_000,
    mean_output=True,
    dropout=0.1,
    num_seeds=2,
    steps=6000,
    batch_size=50,
    warmup_steps=300,
    eval_interval=600,
)
# What takes longest is not trained for all cells unless they are named.
_SOME = ("gru", "lstm", "slstm", "independent", "min_gru", "lru", "s5", "rg_lru", "mlstm")
_RECALL_CELLS = ("gru", "lstm", "min_gru", "lru", "rg_lru", "linear_attention", "gla", "mlstm")
_RECALL_CELLS += ("gated_delta",)
_DIGIT_CELLS = ("irnn", "gru", "lstm_chrono", "independent", "min_gru", "lru", "s5", "rg_lru")
_OFFLINE = Config(
    length=20,
    test_lengths=(256,),
    num_layers=1,
    parameters=4_000,
    num_seeds=2,
    steps=400,
    batch_size=32,
    learning_rate=1e-2,
    warmup_steps=40,
    eval_interval=100,
)

PRESETS: Mapping[str, Preset] = {
    "default": Preset(
        (
            _OFFLINE,
            dataclasses.replace(_OFFLINE, task="copy", test_lengths=(), num_items=4, length=40),
        ),
        learning_rates=(1e-2,),
        cells=("gru", "lru", "min_gru"),
    ),
    "parity": Preset((_STATES,), (1e-2, 3e-3)),
    "s3": Preset((dataclasses.replace(_STATES, task="s3"),), (1e-2, 3e-3)),
    "a5": Preset(
        (dataclasses.replace(_STATES, task="a5", parameters=40_000, steps=3000),), (1e-2, 3e-3)
    ),
    # Bai et al. 2018: ten of eight symbols; GRU and LSTM learn next to nothing in 1,000 steps.
    "copy": Preset((_RECALL,), (1e-2, 3e-3)),
    # Gu and Dao 2023: 16 of 16 symbols, in 4,096 steps.
    "selective_copy": Preset(
        (dataclasses.replace(_RECALL, task="selective_copy", num_items=16, num_kinds=16),),
        (1e-2, 3e-3),
    ),
    # Arora et al. 2023: two layers of 64 and more, a vocabulary of 8,192.
    "mqar": Preset(
        (
            dataclasses.replace(
                _RECALL,
                task="mqar",
                length=64,
                num_items=4,
                num_kinds=8192,
                parameters=32_000,
                embedding_size=64,
                tied_embeddings=True,
                batch_size=64,
                steps=3000,
                eval_interval=300,
            ),
        ),
        (1e-2, 3e-3),
        _RECALL_CELLS,
    ),
    # Bai et al. 2018: squared error of the GRU 5.3e-5, of the LSTM 0.164.
    "adding": Preset(
        (dataclasses.replace(_RECALL, task="adding", length=600, conv_width=1),),
        (1e-2, 3e-3),
        _SOME,
    ),
    # Bai et al. 2018: one GRU layer of 130, 96.2 %; Smith et al. 2023: S5, 99.65 %.
    "smnist": Preset((_DIGITS,), (3e-3,), _DIGIT_CELLS),
    # The same: 87.3 %, and 98.67 %.
    "psmnist": Preset((dataclasses.replace(_DIGITS, task="psmnist"),), (3e-3,), _DIGIT_CELLS),
    # Feng et al. 2024: minGRU 1.548 nats, of far more parameters.
    "characters": Preset(
        (
            Config(
                data="tinyshakespeare",
                task="characters",
                length=256,
                architecture="block",
                conv_width=4,
                parameters=200_000,
                embedding_size=128,
                dropout=0.1,
                num_seeds=2,
                steps=3000,
                batch_size=32,
                warmup_steps=200,
                eval_interval=300,
            ),
        ),
        (3e-3,),
        _SOME,
    ),
}

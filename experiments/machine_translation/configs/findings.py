"""Short runs that `findings.py` compares, one a corpus; see there.

Command:   python -m experiments.machine_translation.findings --data multi30k
"""

import dataclasses
from collections.abc import Mapping

from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import multi30k

SHORT: Mapping[str, Config] = {
    "dates": Config(),
    "multi30k": dataclasses.replace(
        multi30k.CONFIG,
        source_pieces=3000,
        target_pieces=3000,
        encoder_size=128,
        decoder_size=128,
        context_size=128,
        embedding_size=128,
        dropout=0.1,
        embedding_dropout=0.2,
        readout_dropout=0.2,
        steps=2700,  # 6 epochs
        buckets=4,
        learning_rate=3e-3,
        warmup_steps=100,
        ema_decay=0.99,
        eval_interval=900,
        checkpoint_interval=900,
        selection="nats",
        beam_size=5,
    ),
}

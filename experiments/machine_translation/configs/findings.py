"""Short runs that `findings.py` compares, one a corpus; see there.

Command:   python -m experiments.machine_translation.findings --data multi30k
Expected:  test BLEU, one seed: Luong's attention 30.37, without input feeding 31.42,
           Bahdanau's 32.34, none 7.77; without attention and in one direction 7.70, with the
           source reversed 8.82
Hardware:  one of 2 CPU cores, shared with other programs
Time:      14 to 52 minutes a row so
References: Bahdanau et al. 2015; Luong et al. 2015, table 1; Sutskever et al. 2014, section 3.3
"""

import dataclasses
from collections.abc import Mapping

from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import multi30k

SHORT: Mapping[str, Config] = {
    # Bahdanau's attention learns them in half the steps: these are as many as Luong's needs.
    "dates": dataclasses.replace(Config(), attention="luong", steps=700),
    "multi30k": dataclasses.replace(
        multi30k.CONFIG,
        source_pieces=3000,
        target_pieces=3000,
        attention="luong",
        encoder_size=128,
        decoder_size=128,
        context_size=128,
        embedding_size=128,
        dropout=0.1,
        embedding_dropout=0.2,
        readout_dropout=0.2,
        steps=1800,  # 4 epochs
        buckets=3,
        learning_rate=3e-3,
        warmup_steps=100,
        ema_decay=0.99,
        eval_interval=900,
        checkpoint_interval=900,
        selection="nats",
        beam_size=5,
    ),
}

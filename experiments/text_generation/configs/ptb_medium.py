"""Zaremba et al.'s medium LSTM on the words of the Penn Treebank; ready, not trained here.

Command:   python -m experiments.text_generation --preset ptb-medium
Expected:  not measured
Target:    test perplexity at most 82.7
Hardware:  a GPU
Time:      not measured
Paper:     Zaremba, Sutskever, Vinyals (2014), Recurrent neural network regularization,
           table 1, "medium regularized LSTM": validation 86.2, test 82.7

Theirs: 2 x 650, dropout 0.5 on all but the recurrent connections, 20 streams read 35
words a step, gradient descent at a rate of 1 for six epochs and then divided by 1.2 at
each of the 33 that follow, gradients clipped at 5, parameters drawn from -0.05 to 0.05.
Their loss is the sum over the 35 words and ours the mean: hence the factors of 35.
Every epoch starts at an offset of its own, drawn from the seed; theirs all start at the
first word.
"""

import dataclasses

from experiments.text_generation.configs.ptb_small import CONFIG as SMALL

STEPS_PER_EPOCH = 1327  # (929,589 - 35) // 20 // 35

CONFIG = dataclasses.replace(
    SMALL,
    hidden_size=650,
    embedding_size=650,
    init_scale=0.05,
    dropout=0.5,
    embedding_dropout=0.5,
    chunk_length=35,
    learning_rate=35.0,
    clip_norm=5.0 / 35.0,
    constant_steps=6 * STEPS_PER_EPOCH,
    decay_interval=STEPS_PER_EPOCH,
    decay_factor=1.0 / 1.2,
    steps=39 * STEPS_PER_EPOCH,
    eval_interval=STEPS_PER_EPOCH,
    checkpoint_interval=STEPS_PER_EPOCH,
)

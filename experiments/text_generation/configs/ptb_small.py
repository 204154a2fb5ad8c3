"""Zaremba et al.'s small LSTM on the words of the Penn Treebank.

Command:   python -m experiments.text_generation --preset ptb-small
Expected:  test perplexity 113.59, validation 117.77, of the sixth epoch's parameters, the best
           in validation (the last epoch's validation: 118.57); Witten-Bell order 3: 188.7
Target:    test perplexity at most 114.5
Hardware:  2 CPU cores
Time:      3 h 32 min beside other programs; about 70 min on idle cores, at 7.0 to 7.6 steps a
           second
Paper:     Zaremba, Sutskever, Vinyals (2014), Recurrent neural network regularization,
           table 1, "non-regularized LSTM": validation 120.7, test 114.5

Theirs: 2 x 200, no dropout, 20 streams read 20 words a step, gradient descent at a rate
of 1 for four epochs and half as much at each of the nine that follow, gradients clipped
at 5, every parameter drawn from -0.1 to 0.1. Their loss is the sum over the 20 words and
ours the mean, so that the rate is 20 times theirs and the clipping a twentieth.
Every epoch starts at an offset of its own, drawn from the seed; theirs all start at the
first word.
"""

from experiments.text_generation.config import Config

STEPS_PER_EPOCH = 2323  # (929,589 - 20) // 20 // 20

CONFIG = Config(
    data="ptb",
    hidden_size=200,
    embedding_size=200,
    init_scale=0.1,
    batch_size=20,
    chunk_length=20,
    optimizer="sgd",
    learning_rate=20.0,
    clip_norm=0.25,
    rate_schedule="steps",
    constant_steps=4 * STEPS_PER_EPOCH,
    decay_interval=STEPS_PER_EPOCH,
    decay_factor=0.5,
    warmup_steps=0,
    steps=13 * STEPS_PER_EPOCH,
    eval_interval=STEPS_PER_EPOCH,
    checkpoint_interval=STEPS_PER_EPOCH,
    log_interval=200,
    eval_streams=20,
    eval_context=128,
    sample_length=120,
    temperature=1.0,
)

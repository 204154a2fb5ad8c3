"""A 2 x 650 LSTM with tied embeddings on Penn Treebank words; ready, not trained here.

Command:   python -m experiments.text_generation --preset ptb-tied
Expected:  not measured
Target:    test perplexity at most 75.96
Hardware:  a GPU
Time:      not measured
Paper:     none; PyTorch's word language model example, `--emsize 650 --nhid 650
           --dropout 0.5 --epochs 40 --tied`: test 75.96. Tying is that of Press & Wolf
           (2017), Inan, Khosravi, Socher (2017)

Other than in the example:
- It divides its rate by four whenever the validation stalls; here the rate is held for
  20 epochs and then divided by four every fifth one, which needs no validation and so
  keeps every step a function of its number.
- It draws the embedding from -0.1 to 0.1 and the LSTM from -1/sqrt(650) to 1/sqrt(650),
  about 0.039; here everything is drawn from -0.1 to 0.1.
- Its readout has a bias, at first zero; here a tied readout has none. Its LSTM adds two
  biases, here one.
- Every epoch starts at an offset of its own; there all start at the first word.
"""

import dataclasses

from experiments.text_generation.configs.ptb_medium import CONFIG as MEDIUM
from experiments.text_generation.configs.ptb_medium import STEPS_PER_EPOCH

CONFIG = dataclasses.replace(
    MEDIUM,
    tied_embeddings=True,
    init_scale=0.1,
    learning_rate=20.0,
    clip_norm=0.25,
    constant_steps=20 * STEPS_PER_EPOCH,
    decay_interval=5 * STEPS_PER_EPOCH,
    decay_factor=0.25,
    steps=40 * STEPS_PER_EPOCH,
)

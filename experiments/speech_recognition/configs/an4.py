"""AN4: a deep bidirectional LSTM with CTC on 40 minutes of speech.

Command:   python -m experiments.speech_recognition --preset an4
Expected:  test CER 5.54 % (95 % interval over utterances: 3.9 to 7.3), WER 12.42 %, best path;
           a prefix beam of 16: 5.34, 12.16; with the 6-gram of the training transcripts'
           characters: 5.22 (3.6 to 7.0), 11.13. Validation CER 7.54 % at step 2,756; one seed
Target:    test CER at most 12.6 % (ESPnet, CTC alone)
Hardware:  2 CPU cores
Time:      90 min on cores that much else was running on
References: deepspeech.pytorch has CER 4.78 %, WER 10.52 % on this test part (5 x 800
           GRU, 97 epochs); Kaldi's monophones WER 10.61 %, with a language model
"""

from experiments.speech_recognition.config import Config

STEPS_PER_EPOCH = 53  # 844 utterances, 16 a step

CONFIG = Config(
    data="an4",
    speeds=(0.9, 1.0, 1.1),
    band_masks=2,
    max_bands=8,
    time_masks=2,
    max_frames=15,
    cell="lstm",
    num_layers=3,
    hidden_size=256,
    dropout=0.25,
    num_lengths=6,
    learning_rate=2e-3,
    warmup_steps=3 * STEPS_PER_EPOCH,
    weight_decay=0.01,
    clip_norm=2.0,
    ema_decay=0.99,
    steps=60 * STEPS_PER_EPOCH,
    log_interval=STEPS_PER_EPOCH,
    eval_interval=2 * STEPS_PER_EPOCH,
    checkpoint_interval=2 * STEPS_PER_EPOCH,
)

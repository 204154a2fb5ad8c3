"""ETTh1: the next 96 hours of an electricity transformer from its last 336.

Command:   python -m experiments.stock_prediction --data etth1
Expected:  test MSE 0.3646 ± 0.0016, MAE 0.3966 ± 0.0009 (± over 5 seeds, 95 %); the mean of
           their forecasts 0.3601 and 0.3930. Far better than persistence (1.2944, 0.7132) and
           the last day again (0.5122, 0.4333); no difference beyond chance to one linear
           map (0.3696, 0.3913)
Hardware:  2 CPU cores
Time:      53 s in all, 54 CPU-seconds, on an AMD EPYC without AVX-512
References: Zhou et al. 2021 (the data), Zeng et al. 2023 (that a linear map is hard to beat),
           Lin et al. 2023 (segments of hours as the steps of a recurrent network)
"""

from experiments.stock_prediction.config import Config

CONFIG = Config(
    data="etth1",
    hidden_size=64,
    steps=500,
    batch_size=32,
    learning_rate=1e-2,
    warmup_steps=50,
    eval_interval=50,
)

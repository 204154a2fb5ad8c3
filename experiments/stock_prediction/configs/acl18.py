"""ACL18: up or down tomorrow, 88 US shares of StockNet, with the published split and labels.

Command:   python -m experiments.stock_prediction --data acl18
Expected:  nothing beyond chance of the direction: test accuracy 51.70 ± 0.65 %, MCC
           0.032 ± 0.013 (± over 10 seeds, 95 %; over days 48.5 to 54.9 % and -0.03 to 0.09),
           where always up has 51.29 % and 0. The 20 months after the test, which nobody
           publishes: 50.75 % against 53.34 of always up. Volatility: QLIKE -7.420 against
           HAR's -7.391, a difference within chance; in the later months -7.829 against
           -7.805, beyond chance
Hardware:  2 CPU cores
Time:      102 CPU-seconds in all; 402 s on cores that much else was running on
References: Feng et al. 2019, "Enhancing stock movement prediction with adversarial training":
           LSTM 53.18 %, MCC 0.067. Xu and Cohen 2018, "Stock movement prediction from tweets
           and historical prices": the data, the split and what counts as a move
"""

from experiments.stock_prediction.config import Config

CONFIG = Config(
    data="acl18",
    num_layers=2,
    hidden_size=32,
    num_seeds=10,
    steps=240,
    batch_size=64,
    learning_rate=1e-3,
    warmup_steps=20,
    eval_interval=20,
)

"""Made-up prices for the tests of stock prediction."""

import numpy as np

from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily.files import PriceSeries

# Small enough for two seconds, and one shape for all tests: compiled once.
SMALL = Config(
    cell="elman",
    hidden_size=4,
    dropout=0.1,
    num_folds=2,
    test_days=60,
    valid_days=40,
    chunk_length=24,
    burn_in=4,
    num_seeds=2,
    steps=4,
    batch_size=3,
    warmup_steps=1,
    eval_interval=2,
    log_interval=2,
    bootstrap_draws=100,
)


def weekdays(count, start="2001-01-01"):
    return np.busday_offset(np.datetime64(start, "D"), np.arange(count), roll="forward")


def random_walk(count, seed, name="walk"):
    r = np.random.default_rng(seed).standard_t(5, count) * 0.01
    return PriceSeries(name, weekdays(count), 50.0 * np.exp(np.cumsum(r)))


def momentum(count, seed, name="momentum"):
    """Each day's sign is, nine times in ten, that of the day before."""
    random = np.random.default_rng(seed)
    sign = np.cumprod(np.where(random.random(count) < 0.9, 1.0, -1.0))
    r = sign * 0.01 * (0.5 + random.random(count))
    return PriceSeries(name, weekdays(count), 50.0 * np.exp(np.cumsum(r)))


def write_csv(path, series):
    rows = [f"{d},{p!r}" for d, p in zip(series.dates, series.prices.tolist(), strict=True)]
    path.write_text("Date,Close\n" + "\n".join(rows) + "\n")
    return path

"""The next day of a user's own prices, beside what needs no network.

What the models would have said on the file's past days is measured too, but only on days
after those that the models have learned from and were chosen by. Even the prices of another
stock would flatter them there: markets move together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.common.experiment import Trained
from experiments.stock_prediction.daily import baselines
from experiments.stock_prediction.daily.features import WARM_UP, Days, days_of
from experiments.stock_prediction.daily.files import MAX_GAP_DAYS, read_prices
from experiments.stock_prediction.daily.metrics import Forecasts, day_sums, metrics_of
from experiments.stock_prediction.daily.panel import ANY_MOVE, Moves, Panel, Scaling, make_panel
from experiments.stock_prediction.daily.problem import answers_of
from experiments.stock_prediction.measure import ENSEMBLE
from experiments.stock_prediction.tables import write_table

YEAR = 252  # trading days


class Spoken(NamedTuple):
    """A user's series of T days, and what is said at the close of each of the day after."""

    name: str
    dates: NDArray[np.datetime64]  # [T]
    panel: Panel  # of this series alone
    moves: Moves
    p_up: NDArray[np.floating]  # [S, T], of each seed
    variance: NDArray[np.floating]  # [S, T]
    said: Mapping[str, Forecasts]  # [T], of the seeds' mean and of the baselines
    seen_until: np.datetime64  # from this day on nothing had a part in the training


def forecast(trained: Trained, file: Path, output: Path | None) -> str:
    """Return the forecast of a file as text, and write all days' if a file is given.

    Raises:
      InputError: see `files`; or the prices since the last gap are too few.
    """
    pieces, notes = read_prices(file)
    if len(pieces[-1].prices) <= WARM_UP:
        since = "" if len(pieces) == 1 else f" since the last gap of {MAX_GAP_DAYS} days"
        raise InputError(
            f"predict: {file} has {len(pieces[-1].prices)} daily prices{since}; at least "
            f"{WARM_UP + 1} are needed, a month to look back on"
        )
    spoken = _speak(trained, days_of(pieces[-1]))
    lines = [*(f"note: {note}" for note in notes), *_next_day(spoken), "", *_past(spoken)]
    if output is not None:
        _write(output, spoken)
        lines.append(f"the forecasts of all {len(spoken.dates):,} days are in {output}")
    return "\n".join(lines)


def _speak(trained: Trained, days: Days) -> Spoken:
    facts = trained.facts
    moves = Moves(*facts["moves"])
    panel = make_panel([days], moves)
    x = Scaling(*map(np.array, facts["scaling"]))(panel.features)
    # The last fold's models have learned from the most, and the latest, days.
    last = jax.tree.map(lambda leaf: leaf[-trained.config.num_seeds :], trained.params)
    out = np.asarray(jax.jit(jax.vmap(trained.model.apply, in_axes=(0, None)))(last, x))
    out = out[:, :, 0].astype(np.float64)  # [S, T, 2]
    p_up = 1.0 / (1.0 + np.exp(-out[..., 0]))
    variance = panel.variance[:, 0] * np.exp(out[..., 1])
    fitted = baselines.Fitted(**facts["baselines"])
    said = {ENSEMBLE: Forecasts(p_up.mean(axis=0), variance.mean(axis=0))}
    said |= baselines.forecast(fitted, panel, np.ones(panel.up.shape, bool), moves)
    seen_until = np.datetime64(facts["valid"][1], "D")
    return Spoken(days.name, days.dates, panel, moves, p_up, variance, said, seen_until)


def _next_day(spoken: Spoken) -> list[str]:
    """Return the lines on the day after the last one."""
    p, volatility = spoken.p_up[:, -1], np.sqrt(spoken.variance[:, -1])
    above, below = (100 * move for move in spoken.moves)
    condition = f", given a move above {above:+.2f} % or to {below:+.2f} % or below"
    lines = [
        f"{spoken.name}: the trading day after {spoken.dates[-1]}"
        + ("" if spoken.moves == ANY_MOVE else condition),
        f"{'':28}{'P(up)':>10}{'volatility a day':>20}{'a year':>10}",
    ]
    for name in (ENSEMBLE, "share of ups", "AR(5)", *baselines.VOLATILITY):
        said = spoken.said[name]
        shown = f"network, mean of {len(p)} seeds" if name == ENSEMBLE else name
        line = f"{shown:28}" + (" " * 10 if said.p_up is None else f"{100 * said.p_up[-1]:8.1f} %")
        if said.variance is not None:
            daily = 100 * np.sqrt(said.variance[-1])
            line += f"{daily:18.2f} %{daily * np.sqrt(YEAR):8.1f} %"
        lines.append(line)
        if name == ENSEMBLE:
            lines.append(
                f"{'  from seed to seed':28}{100 * p.min():.1f} to {100 * p.max():.1f} %"
                f"{100 * volatility.min():13.2f} to {100 * volatility.max():.2f} %"
            )
    return lines


def _past(spoken: Spoken) -> list[str]:
    """Return how the forecasts did on those past days that are a fair test."""
    asked, seen_until = spoken.panel.asked, spoken.seen_until
    fair = asked & (spoken.panel.next_dates >= seen_until)
    if not asked.any():
        return ["no figures on past days: there is no day yet whose morrow is known"]
    if not fair.any():
        return [
            f"no figures on past days: all {asked.sum():,} lie before {seen_until}, in "
            "the years that the models have learned from or were chosen by"
        ]
    answers, dates = answers_of(spoken.panel, fair)
    lines = [
        f"on the {fair.sum():,} past days from {seen_until} on, which had no part in the "
        f"training ({(asked & ~fair).sum():,} earlier days are left out), "
        f"{answers.moved.sum():,} of them moves:",
        f"{'':28}{'accuracy':>10}{'MCC':>10}{'nats':>10}{'QLIKE':>10}",
    ]
    for name, said in spoken.said.items():
        found = metrics_of(day_sums(answers, said.of(fair[:, 0]), len(dates)).sum(axis=0))
        cells = [f"{100 * found['accuracy']:.2f} %"]
        cells += [f"{found[metric]:.3f}" for metric in ("mcc", "nats", "qlike")]
        lines.append(f"{name:28}" + "".join(f"{'-' if 'nan' in one else one:>10}" for one in cells))
    moves = max(int(answers.moved.sum()), 1)
    lines.append(
        f"of {moves:,} coin tosses, {100 * 1.96 * np.sqrt(0.25 / moves):.1f} points to either "
        "side of 50 % would be chance"
    )
    return lines


def _write(output: Path, spoken: Spoken) -> None:
    """Write a line a day: what was forecast at its close for the day after."""
    columns = {
        "p_up": spoken.said[ENSEMBLE].p_up,
        "p_up_lowest_seed": spoken.p_up.min(axis=0),
        "p_up_highest_seed": spoken.p_up.max(axis=0),
        "volatility": np.sqrt(spoken.said[ENSEMBLE].variance),
        "ewma": np.sqrt(spoken.said["EWMA"].variance),
        "har": np.sqrt(spoken.said["HAR"].variance),
    }
    seen = spoken.panel.next_dates[:, 0] < spoken.seen_until
    rows = (
        [date, *(f"{v:.6f}" for v in row), int(before)]
        for date, before, *row in zip(spoken.dates, seen, *columns.values(), strict=True)
    )
    write_table(output, ["date", *columns, "in_training_years"], rows)

"""Pictures are drawn."""

from contextlib import closing

import pytest
from matplotlib.image import imread

from experiments.common import plots
from experiments.common.metrics import MetricsLog


def test_the_curve_is_drawn(tmp_path):
    path = tmp_path / "curve.png"
    curves = {"train": [(0, 4.0), (10, 2.0)], "validation": []}
    plots.learning_curve(path, curves, {"order 3": 2.47}, ylabel="bits", title="a run")
    picture = imread(path)
    assert picture.ndim == 3
    assert picture.std() > 0.01  # not blank


@pytest.mark.parametrize(("from_evaluation", "first"), [(False, 1), (True, 2)])
def test_a_runs_curves(tmp_path, monkeypatch, from_evaluation, first):
    with closing(MetricsLog(tmp_path)) as log:
        log.write(1, {"train_loss": 9.0})
        log.write(2, {"train_loss": 2.0, "validation_loss": 3.0})
        log.write(3, {"train_loss": 1.0})
    drawn = []
    monkeypatch.setattr(plots, "learning_curve", lambda *all_of_it: drawn.append(all_of_it))
    plots.draw_run(tmp_path, "loss", {}, "nats", "a run", from_evaluation=from_evaluation)
    train = [(1, 9.0), (2, 2.0), (3, 1.0)][first - 1 :]
    curves = {"train": train, "validation": [(2, 3.0)]}
    assert drawn == [(tmp_path / "learning_curve.png", curves, {}, "nats", "a run")]


def test_axes_are_side_by_side():
    picture, axes = plots.figure(3, 2, size=(2.0, 1.0))
    assert axes.shape == (2, 3)
    assert picture.get_size_inches().tolist() == [6.0, 2.0]
    assert plots.figure(2)[1].shape == (2,)
    assert plots.figure()[1].figure.get_size_inches().tolist() == [7.0, 4.5]

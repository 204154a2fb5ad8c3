"""Pictures are drawn."""

from matplotlib.image import imread

from experiments.common.plots import learning_curve


def test_the_curve_is_drawn(tmp_path):
    path = tmp_path / "curve.png"
    curves = {"train": [(0, 4.0), (10, 2.0)], "validation": []}
    learning_curve(path, curves, {"order 3": 2.47}, ylabel="bits", title="a run")
    picture = imread(path)
    assert picture.ndim == 3
    assert picture.std() > 0.01  # not blank

"""Pictures: what is drawn is what was found, with axes that say what they are."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax import analysis
from deeprnn_jax.analysis import FixedPoints, Memory, Probe, Spectrum
from tests.registry import seed_of

figures = pytest.importorskip("matplotlib.figure")
RNG = seed_of("plots")
BY_LAG = np.exp(-np.arange(20) / np.array([[3.0], [6.0]]))[..., None] * np.ones(3)
FOUND = FixedPoints(
    points=RNG.normal(size=(4, 5)),
    speed=np.zeros(4),
    jacobian=np.zeros((4, 5, 5)),
    eigenvalues=np.zeros((4, 5)),
    is_stable=np.array([True, False, True, False]),
    is_fixed=np.array([True, True, True, False]),
)
PATHS = RNG.normal(size=(6, 3, 5)) * [3, 2, 0.1, 0.1, 0.1]
PICTURES = {
    "memory": lambda: analysis.plot_memory(Memory(BY_LAG, np.full((2, 3), [[14], [20]]))),
    "gradient_flow": lambda: analysis.plot_gradient_flow(BY_LAG),
    "singular_values": lambda: analysis.plot_singular_values(-np.arange(12.0).reshape(4, 3)),
    "spectrum": lambda: analysis.plot_spectrum(Spectrum(np.ones((2, 4)), np.ones((2, 4)))),
    "fixed_points": lambda: analysis.plot_fixed_points(FOUND, PATHS),
    "probe": lambda: analysis.plot_probe(Probe(*np.full((4, 3, 2), 0.5)), ["words", "depth"]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_figure_with_axes_that_say_what_they_are(name, tmp_path):
    figure = PICTURES[name]()
    assert isinstance(figure, figures.Figure)
    (axes,) = figure.axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize("name", PICTURES)
def test_readable_in_grey(name):
    """All lines are grey, and lines with a name differ in grey or dashes."""
    (axes,) = PICTURES[name]().axes
    to_rgb = pytest.importorskip("matplotlib.colors").to_rgb
    lines = axes.get_lines()
    assert all(len(set(to_rgb(line.get_color()))) == 1 for line in lines)
    named = [line for line in lines if not line.get_label().startswith("_")]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in named}
    assert len(looks) == len(named)


def test_memory_draws_the_mean_over_rows_and_marks_the_horizon():
    rows = BY_LAG * np.array([1.0, 4.0, 2.0])
    rows[0, 10:, 1:] = np.nan
    (axes,) = analysis.plot_memory(Memory(rows, np.full((2, 3), [[14], [20]]))).axes
    first, mark, second = axes.get_lines()
    np.testing.assert_allclose(
        first.get_ydata(), BY_LAG[0, :, 0] * np.where(np.arange(20) < 10, 2, 1)
    )
    np.testing.assert_allclose(second.get_ydata(), 2 * BY_LAG[1, :, 0])
    assert mark.get_xdata().tolist() == [14]  # that of 20 is all of the row: no mark


def test_the_plane_is_that_of_most_variance():
    (axes,) = analysis.plot_fixed_points(FOUND, PATHS).axes
    centred = PATHS.reshape(-1, 5) - PATHS.reshape(-1, 5).mean(0)
    sizes = np.linalg.svd(centred, compute_uv=False) ** 2
    drawn = np.concatenate([line.get_xydata() for line in axes.get_lines()])
    np.testing.assert_allclose(np.sum(drawn**2, axis=0), sizes[:2])
    stable, unstable = axes.collections
    assert len(stable.get_offsets()) == 2
    assert len(unstable.get_offsets()) == 1


def test_spectrum_in_units_of_time():
    errors = np.array([[0.3, 0.4], [0.4, 0.3]])
    figure = analysis.plot_spectrum(Spectrum(np.array([[1.0, 0], [3.0, 0]]), errors), 0.5, "second")
    (axes,) = figure.axes
    line = axes.get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), [4, 0])
    (bars,) = (one for one in axes.collections if hasattr(one, "get_segments"))
    np.testing.assert_allclose(np.ptp(bars.get_segments()[0][:, 1]), 2 * 0.5)
    assert "second" in axes.get_ylabel()


def test_without_matplotlib_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r"plot_gradient_flow: matplotlib must be .*pip install"):
        analysis.plot_gradient_flow(jnp.ones((2, 3)))


def test_what_the_pictures_refuse():
    with pytest.raises(ValueError, match=r"plot_singular_values: logs must be .*got shape \(2, 3"):
        analysis.plot_singular_values(jnp.ones((2, 3, 4)))
    with pytest.raises(ValueError, match=r"plot_fixed_points: trajectories must be .*N=5"):
        analysis.plot_fixed_points(jax.tree.map(jnp.asarray, FOUND), jnp.ones((2, 3, 4)))

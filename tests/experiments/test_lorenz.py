"""A network that learns the Lorenz system: its system, its record, its picture."""

import json

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from experiments import lorenz
from experiments.common.records import read_json


def test_the_system_is_that_of_an_adaptive_solver():
    start = np.array([1.0, 2.0, 20.0])

    def rate(_, s):
        x, y, z = s
        return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]

    found = solve_ivp(rate, (0, 0.5), start, rtol=1e-10, atol=1e-10).y[:, -1]
    s = jnp.asarray(start, jnp.float32)
    for _ in range(10):
        s = lorenz.advance(s, 0.05)
    np.testing.assert_allclose(s, found, rtol=1e-3)


def test_a_short_run_leaves_its_record_and_picture(tmp_path, capsys):
    options = "--hidden-size 8 --num-seeds 2 --trajectories 4 --trajectory-length 300 --steps 20"
    lorenz.main([*options.split(), "--free-steps", "100", "--workdir", str(tmp_path)])
    record = read_json(tmp_path / "lorenz.json")
    assert len(record["exponents"][0]["each"]) == 2
    assert np.isfinite(record["error_of_a_step"]["mean"])
    assert "workdir" not in record["settings"]
    assert (tmp_path / "lorenz.png").stat().st_size > 1000
    assert "nats a unit of time" in capsys.readouterr().out


def test_the_committed_record_is_within_two_percent():
    record = json.loads((lorenz.RESULTS / "lorenz.json").read_text())
    assert abs(record["exponents"][0]["mean"] / 0.9056 - 1) < 0.02
    assert abs(record["exponents"][1]["mean"]) < 0.01

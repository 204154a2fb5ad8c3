import numpy as np
import pytest

from experiments import worked_example


def test_network_gives_the_hidden_states_of_the_example():
    found = worked_example.hidden_states(*worked_example.solve_network())
    layer_1 = [[0.2, 0.3], [0.4, 0.5], [0.1, 0.8], [0.6, 0.4]]
    layer_2 = [[0.3, 0.6], [0.5, 0.7], [0.2, 0.9], [0.7, 0.5]]
    np.testing.assert_allclose(found[0], layer_1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[1], layer_2, rtol=0, atol=1e-6)


def test_weights_are_those_of_least_norm():
    # of all w with A w = z, the shortest lies in the span of A's rows
    _, params = worked_example.solve_network()
    cell = params.layers[0].cell
    h = worked_example.STATES[0]
    seen = np.concatenate([worked_example.X, np.vstack([[0, 0], h[:-1]]), np.ones((4, 1))], axis=1)
    weights = np.concatenate([cell.w_x, cell.w_h, cell.b[None]])
    within, *_ = np.linalg.lstsq(seen.T, weights, rcond=None)
    np.testing.assert_allclose(seen.T @ within, weights, rtol=0, atol=1e-5)


def test_tables_and_equations_are_printed(capsys):
    worked_example.main()
    printed = capsys.readouterr().out
    assert "h_t^2 = tanh(W_x h_t^1 + W_h h_(t-1)^2 + b)" in printed
    assert "[ 0.7000,  0.5000]" in printed
    assert "All 16 hidden states are as given" in printed


def test_states_that_no_weights_give_are_refused():
    x = np.zeros((4, 1))
    h = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [-0.5, 0.5]])
    with pytest.raises(ValueError, match="no weights give these states"):
        worked_example.solve_layer(x, h)

"""Parameters by name: there and back, and what is refused."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests.comparing import assert_close, assert_same
from tests.test_bad_input import refuses

I, H = 3, 4  # noqa: E741
GRU = drnn.gru(H)


def nested(init_params):
    """Give a cell whose parameters are of a form of its own."""
    return drnn.step_cell(
        lambda key, input_size: init_params(jnp.zeros((input_size, H))),
        lambda params, batch: (jnp.zeros((*batch, H)),),
        lambda params, state, x: (state, state[0]),
        H,
    )


NETWORKS = {
    "one": drnn.deep_rnn(GRU),
    "deep": drnn.deep_rnn(GRU, 3),
    "stacked": drnn.deep_rnn(GRU, 4, stack_layers=True),
    "stacked_apart": drnn.deep_rnn([GRU, drnn.lstm(H)], stack_layers=True),
    "directions": drnn.deep_rnn(GRU, 2, bidirectional=True),
    "norm": drnn.deep_rnn(GRU, 2, normalize_inputs=True),
    "highway": drnn.deep_rnn(GRU, 2, skip="highway"),
    "readout": drnn.deep_rnn(GRU, 2, output_size=5),
    "layer_norm": drnn.deep_rnn(drnn.layer_norm(GRU)),
    "learned": drnn.deep_rnn(drnn.learned_initial_state(drnn.lstm(H))),
    "bfloat16": drnn.deep_rnn(GRU, param_dtype=jnp.bfloat16),
    "own": drnn.deep_rnn(nested(lambda w: ({"w": w, "b": [w]}, w))),
    "bare": drnn.deep_rnn(nested(lambda w: w)),
}


def params_of(rnn):
    """Give parameters that differ in every number."""
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), I))
    leaves, form = jax.tree.flatten(shapes)
    return form.unflatten(
        [
            jnp.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape) + number
            for number, leaf in enumerate(leaves)
        ]
    )


each = pytest.mark.parametrize("name", NETWORKS)


@each
def test_there_and_back(name):
    """In any order, from NumPy's arrays, and of other trees of that form."""
    rnn = NETWORKS[name]
    params = params_of(rnn)
    arrays = rnn.to_dict(params)
    assert list(map(id, arrays.values())) == list(map(id, jax.tree.leaves(params)))
    turned = {name: np.asarray(arrays[name]) for name in reversed(arrays)}
    for given in (arrays, turned):
        found = rnn.from_dict(given, I)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
        assert_same(found, params)
    shapes = jax.eval_shape(lambda: params)
    assert list(rnn.to_dict(shapes)) == list(arrays)
    assert rnn.from_dict(rnn.to_dict(shapes), I) == shapes


def test_names():
    names = {name: list(rnn.to_dict(params_of(rnn))) for name, rnn in NETWORKS.items()}
    gru = ["w_x", "w_h", "b", "b_hn"]
    assert names["one"] == [f"layer_0/cell/{name}" for name in gru]
    groups = ["layer_0", "layers_1_to_3"]
    assert names["stacked"] == [f"{group}/cell/{name}" for group in groups for name in gru]
    assert names["directions"] == names["deep"][:8]
    assert names["norm"] == [*names["deep"][:8], "layer_1/norm/scale", "layer_1/norm/shift"]
    assert names["highway"] == [*names["deep"][:8], "layer_1/highway/w", "layer_1/highway/b"]
    assert names["readout"] == [*names["deep"][:8], "readout/w", "readout/b"]
    assert "layer_0/cell/initial/c" in names["learned"]
    assert names["own"] == ["layer_0/cell/0/b/0", "layer_0/cell/0/w", "layer_0/cell/1"]
    assert names["bare"] == ["layer_0/cell"]


@each
def test_arrays_of_another_network_are_refused(name):
    """No two of these networks have arrays of the same names, shapes and dtypes."""
    arrays = NETWORKS[name].to_dict(params_of(NETWORKS[name]))
    for other, rnn in NETWORKS.items():
        if other != name:
            with pytest.raises(ValueError, match=r"^from_dict: arrays"):
                rnn.from_dict(arrays, I)


def test_it_stays_where_it_is_placed():
    """An array is taken as it is, one that is traced as well."""
    rnn = NETWORKS["readout"]
    arrays = rnn.to_dict(params_of(rnn))
    found = rnn.from_dict(arrays, I)
    assert found.readout.w is arrays["readout/w"]
    x = jnp.ones((2, 1, I))

    def loss(arrays):
        return rnn.apply(rnn.from_dict(arrays, I), x)[1].sum()

    grads = jax.jit(jax.grad(loss))(arrays)
    expected = jax.jit(jax.grad(lambda params: rnn.apply(params, x)[1].sum()))(params_of(rnn))
    assert_close(grads, rnn.to_dict(expected), 1e-6)


def test_in_a_file(tmp_path):
    rnn = NETWORKS["stacked"]
    params = params_of(rnn)
    np.savez(tmp_path / "params.npz", **rnn.to_dict(params))
    with np.load(tmp_path / "params.npz") as arrays:
        found = rnn.from_dict(arrays, I)
    assert_same(found, params)


def test_bad_arrays():
    rnn = NETWORKS["readout"]
    arrays = rnn.to_dict(params_of(rnn))
    with refuses(
        "from_dict: arrays must have the names that to_dict gives, got nothing missing"
        " and head/w and 1 more too much; are they of another network?"
    ):
        rnn.from_dict(arrays | {"head/w": 1, "head/x": 2}, I)
    less = {name: arrays[name] for name in arrays if name.endswith("b_hn")}
    with refuses("got layer_0/cell/b and 7 more missing and nothing too much"):
        rnn.from_dict(less, I)
    with refuses(
        "from_dict: arrays['layer_0/cell/w_x'] must be of shape (5, 12), got (3, 12); use"
        "...input_size of then, not 5"
    ):
        rnn.from_dict(arrays, 5)
    b = arrays["readout/b"]
    with refuses("from_dict: arrays['readout/b'] must be float32, got bfloat16"):
        rnn.from_dict(arrays | {"readout/b": b.astype(ml_dtypes.bfloat16)}, I)
    with refuses("from_dict: arrays['readout/b'] must be float32, got int32"):
        rnn.from_dict(arrays | {"readout/b": np.arange(5)}, I)
    with refuses("from_dict: arrays['readout/b'] must be an array [5], got a list"):
        rnn.from_dict(arrays | {"readout/b": [0.0] * 5}, I)
    with refuses("from_dict: arrays must be a dictionary by name, got DeepParams"):
        rnn.from_dict(params_of(rnn), I)
    with refuses("from_dict: input_size must be an int of 1 or more, got 0"):
        rnn.from_dict(arrays, 0)


def test_bad_parameters():
    with refuses("to_dict: params are not of this network: params.layers must be a tuple of 3"):
        NETWORKS["deep"].to_dict(params_of(NETWORKS["one"]))
    rnn = drnn.deep_rnn(nested(lambda w: {"a/b": w}))
    with refuses("to_dict: names of a cell's parameters must be without '/', got 'a/b'"):
        rnn.to_dict(params_of(rnn))

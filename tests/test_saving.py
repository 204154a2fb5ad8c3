"""Parameters written to files and read again: the same tree, the same bits."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_same

IN = 3
NETWORKS = {
    "apart": lambda dtype: drnn.deep_rnn(
        [drnn.lstm(4, peepholes=True), drnn.lstm(4, projection_size=4)],
        bidirectional=True,
        merge="sum",
        skip="highway",
        normalize_inputs=True,
        output_size=2,
        param_dtype=dtype,
    ),
    "stacked": lambda dtype: drnn.deep_rnn(
        drnn.learned_initial_state(drnn.layer_norm(drnn.gru(4))),
        3,
        param_dtype=dtype,
        stack_layers=True,
    ),
}


@pytest.fixture(params=[("apart", "float32"), ("stacked", "bfloat16")], ids=str)
def saved(request):
    """Give a network, random parameters and the shapes of parameters, in this dtype."""
    name, dtype = request.param
    rnn = NETWORKS[name](jnp.dtype(dtype))
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), IN))
    rng = registry.seed_of("saving")
    draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)  # noqa: E731
    return rnn, jax.tree.map(draw, shapes), shapes


@pytest.fixture
def checkpointer():
    orbax = pytest.importorskip("orbax.checkpoint")
    with orbax.StandardCheckpointer() as one:
        yield one


def as_saved(shapes):
    """Give the shapes as orbax wants a target, with the device that each array goes to."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda one: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=device), shapes
    )


def assert_read(got, params):
    """Compare trees, dtypes and bits."""
    assert_same(got, params)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(params), strict=True):
        assert one.dtype == other.dtype


def test_orbax_with_a_target(saved, checkpointer, tmp_path):
    _, params, shapes = saved
    checkpointer.save(tmp_path / "params", params)
    checkpointer.wait_until_finished()
    assert_read(checkpointer.restore(tmp_path / "params", as_saved(shapes)), params)


def test_orbax_by_names_without_a_target(saved, checkpointer, tmp_path):
    """Without one orbax gives dictionaries and lists for our trees, but names as they were."""
    rnn, params, _ = saved
    checkpointer.save(tmp_path / "params", rnn.to_dict(params))
    checkpointer.wait_until_finished()
    assert_read(rnn.from_dict(checkpointer.restore(tmp_path / "params"), IN), params)


def test_flax_serialization(saved, tmp_path):
    rnn, params, shapes = saved
    (tmp_path / "params").write_bytes(serialization.to_bytes(params))
    assert_read(serialization.from_bytes(shapes, (tmp_path / "params").read_bytes()), params)
    state_dict = serialization.to_state_dict(params)
    assert_read(serialization.from_state_dict(shapes, state_dict), params)
    written = serialization.msgpack_serialize(rnn.to_dict(params))
    assert_read(rnn.from_dict(serialization.msgpack_restore(written), IN), params)


@pytest.mark.parametrize("library", ["numpy", "flax"])
def test_safetensors(saved, tmp_path, library):
    pytest.importorskip("safetensors")
    files = importlib.import_module(f"safetensors.{library}")
    rnn, params, _ = saved
    arrays = rnn.to_dict(params)
    if library == "numpy":
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
    files.save_file(arrays, tmp_path / "params")
    assert_read(rnn.from_dict(files.load_file(tmp_path / "params"), IN), params)


def test_npz(saved, tmp_path):
    """NumPy writes bfloat16's bits and forgets what they are: the network knows."""
    rnn, params, shapes = saved
    np.savez(tmp_path / "params.npz", **rnn.to_dict(params))
    dtype = jax.tree.leaves(shapes)[0].dtype
    with np.load(tmp_path / "params.npz") as arrays:
        if dtype == jnp.bfloat16:
            assert {array.dtype for array in arrays.values()} == {np.dtype("V2")}
        assert_read(rnn.from_dict(arrays, IN), params)


def test_what_is_read_gives_the_same_numbers(tmp_path):
    rnn = NETWORKS["apart"](jnp.float32)
    params = rnn.init(jax.random.key(0), IN)
    np.savez(tmp_path / "params.npz", **rnn.to_dict(params))
    with np.load(tmp_path / "params.npz") as arrays:
        again = rnn.from_dict(arrays, IN)
    x = jnp.ones((5, 2, IN))
    assert_same(rnn.apply(again, x), rnn.apply(params, x))

"""Which array lies where on a mesh, and what is said of meshes that do not fit."""

import pickle

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

import deeprnn_jax as drnn
from tests.comparing import assert_close

STACKED = drnn.deep_rnn(drnn.lstm(8), 5, stack_layers=True, output_size=3, skip="highway")
PLAIN = drnn.deep_rnn(drnn.lstm(8), 2)
BOTH = drnn.deep_rnn(drnn.gru(8), 2, bidirectional=True)


def shapes_of(rnn):
    return jax.eval_shape(lambda: rnn.init(jax.random.key(0), 4))


def specs_of(rnn, **axes):
    return drnn.partition_specs(rnn, shapes_of(rnn), **axes)


def test_specs_of_stacked_layers():
    specs = specs_of(STACKED, layers="stage", batch="data", hidden="model")
    first, others = specs.params.layers
    assert first.cell.w_x == PartitionSpec(None, None, "model")
    assert others.cell.w_x == PartitionSpec("stage", None, "model")
    assert others.cell.b == PartitionSpec("stage", "model")
    assert others.highway.w == PartitionSpec("stage", None, "model")
    assert specs.params.readout == (PartitionSpec("model", None), PartitionSpec(None))
    assert specs.state[1].c == PartitionSpec("stage", "data", "model")
    assert specs.x == PartitionSpec(None, "data", None)


def test_specs_of_two_directions():
    specs = specs_of(BOTH, batch=("hosts", "data"), hidden="model")
    assert specs.params.layers[1].cell.w_h == PartitionSpec(None, None, "model")
    assert specs.params.layers[1].cell.b == PartitionSpec(None, "model")
    assert specs.state[0].h == PartitionSpec(None, ("hosts", "data"), "model")


@pytest.mark.parametrize("rnn", [STACKED, BOTH])
def test_specs_have_the_form_of_what_they_are_for(rnn):
    shapes, specs = shapes_of(rnn), specs_of(rnn)
    assert jax.tree.structure(specs.params) == jax.tree.structure(shapes)
    state = jax.eval_shape(lambda params: rnn.initial_state(params, 2), shapes)
    assert jax.tree.structure(specs.state) == jax.tree.structure(state)
    for shape, spec in zip(jax.tree.leaves(state), jax.tree.leaves(specs.state), strict=True):
        assert len(spec) == len(shape.shape)


@pytest.mark.parametrize(
    ("rnn", "axes", "message"),
    [
        (STACKED, {"layers": "a", "batch": "a"}, "an axis can be for one thing"),
        (BOTH, {"layers": "a"}, "layers='a' needs layers that are stacked"),
        (STACKED, {"layers": "a", "mesh": (3, "a")}, "the 3 devices along 'a' must divide 4, of"),
        (STACKED, {"hidden": "a", "mesh": (3, "a")}, "the 3 devices along 'a' must divide 32, of"),
        (STACKED, {"batch": "b", "mesh": (2, "a")}, "batch must be one of the mesh's axes"),
        (PLAIN, {"hidden": "a", "mesh": (16, "a")}, r"the 16 devices .* of state\[0\]\.\w"),
        (STACKED, {"hidden": 0}, "hidden must be an axis's name"),
    ],
)
def test_specs_that_do_not_fit(rnn, axes, message):
    if "mesh" in axes:
        size, name = axes["mesh"]
        axes = axes | {"mesh": AbstractMesh((size,), (name,))}
    with pytest.raises(ValueError, match=f"^partition_specs: {message}"):
        specs_of(rnn, **axes)


def test_specs_for_another_network():
    with pytest.raises(ValueError, match=r"^partition_specs: params are not of this network"):
        drnn.partition_specs(BOTH, shapes_of(STACKED))


@pytest.mark.parametrize(
    ("layers", "stack", "mesh", "message"),
    [
        (5, True, None, "axis must be one of the mesh's, \\[\\], got 'stage'"),
        (5, True, "other", "axis must be one of the mesh's, \\['other'\\], got 'stage'"),
        (5, False, "stage", "rnn must have layers that are stacked, got none"),
        (1, True, "stage", "rnn must have layers that are stacked, got none"),
    ],
)
def test_pipelines_that_do_not_fit(layers, stack, mesh, message):
    rnn = drnn.deep_rnn(drnn.gru(4), layers, stack_layers=stack)
    params = rnn.init(jax.random.key(0), 3)
    mesh = mesh and jax.make_mesh((1,), (mesh,))
    schedule = drnn.schedules.pipeline(axis="stage", mesh=mesh)
    with pytest.raises(ValueError, match=f"^pipeline: {message}"):
        rnn.apply(params, jnp.ones((6, 2, 3)), schedule=schedule)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, [1]])
def test_blocks_without_steps(size):
    with pytest.raises(ValueError, match=r"^pipeline: block_size must be"):
        drnn.schedules.pipeline(size)


@pytest.mark.parametrize("rnn", [BOTH, drnn.deep_rnn(drnn.gru(4), 3, skip="dense")])
def test_networks_that_no_diagonal_runs(rnn):
    params = rnn.init(jax.random.key(0), 4)
    with pytest.raises(ValueError, match=r"^apply: schedule='pipeline' cannot run this network"):
        rnn.apply(params, jnp.ones((6, 2, 4)), schedule=drnn.schedules.pipeline())


def test_any_block_gives_the_same_numbers():
    """Blocks that divide T and that do not, as long as T and longer, by steps and by layers."""
    rnn = drnn.deep_rnn(drnn.gru(4), 4, stack_layers=True)
    params = jax.jit(rnn.init, static_argnums=1)(jax.random.key(0), 4)
    x = jax.random.normal(jax.random.key(1), (6, 3, 4))
    lengths = jnp.array([6, 0, 5])

    def run(schedule):
        def loss(params, x):
            state, y, layers = rnn.inspect(params, x, lengths=lengths, schedule=schedule)
            return jnp.sum(jnp.sin(y)), (state, y, [one.state for one in layers])

        return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, x)

    expected = run("layerwise")
    for size in (1, 3, 4, 99):
        assert_close(run(drnn.schedules.pipeline(size)), expected, 1e-5)


def test_pipelines_made_alike_are_equal():
    mesh = jax.make_mesh((1,), ("stage",))
    one, other = (drnn.schedules.pipeline(20, axis="stage", mesh=mesh) for _ in range(2))
    assert one == other
    assert hash(one) == hash(drnn.schedules.pipeline(block_size=20, axis="stage", mesh=mesh))
    assert one != drnn.schedules.pipeline(10, axis="stage", mesh=mesh)
    again = pickle.loads(pickle.dumps(drnn.schedules.pipeline(20, axis="stage")))
    assert again == drnn.schedules.pipeline(20, axis="stage")


def test_a_pipeline_of_no_rows():
    params = STACKED.init(jax.random.key(0), 4)
    y = STACKED.apply(params, jnp.ones((6, 0, 4)), schedule=drnn.schedules.pipeline(2))[1]
    assert y.shape == (6, 0, 3)

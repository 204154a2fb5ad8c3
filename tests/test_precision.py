"""Which numbers are narrow and which are wide, and that narrow ones stay close."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.layers import layer as layers
from deeprnn_jax.types import Cell
from tests import registry
from tests.registry import ANY_CELL, IN, B, T

BF16, F16, F32 = jnp.bfloat16, jnp.float16, jnp.float32

# options -> dtypes of parameters, state, y without a readout, y with one
DECLARED = {
    "float32": ({}, F32, F32, F32, F32),
    "bf16 products": ({"compute_dtype": BF16}, F32, F32, BF16, F32),
    "bf16 parameters": ({"param_dtype": BF16}, BF16, F32, BF16, F32),
    "bf16 state": ({"compute_dtype": BF16, "state_dtype": BF16}, F32, BF16, BF16, F32),
    "bf16 all": ({"param_dtype": BF16, "state_dtype": BF16}, BF16, BF16, BF16, F32),
    "bf16 stored alone": ({"param_dtype": BF16, "compute_dtype": F32}, BF16, F32, F32, F32),
    "float16 products": ({"compute_dtype": F16}, F32, F32, F16, F32),
}


def dtypes_of(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


def check_dtypes(network, declared, schedule):
    """Trace a network forward and backward, and compare every dtype with the declared."""
    options, param, state, y_plain, y_readout = DECLARED[declared]
    rnn = network.build(**({"param_dtype": F32} | options))
    params, start = registry.shapes_of(rnn)
    assert dtypes_of(params) == {jnp.dtype(param)}
    assert dtypes_of(start) == {jnp.dtype(state)}
    lengths, mask, resets = registry.every_edge()

    def loss(params, x, start, key):
        flags = {"lengths": lengths, "mask": mask, "resets": resets}
        end, y, layers = rnn.inspect(params, x, start, **flags, key=key, schedule=schedule)
        return jnp.sum(y.astype(F32)), (end, y, [one.state for one in layers])

    inputs = params, jax.ShapeDtypeStruct((T, B, IN), F32), start
    grad = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    grads, (end, y, states) = jax.eval_shape(grad, *inputs, jax.random.key(0))
    y_dtype = y_plain if network.output_size is None else y_readout
    assert y.dtype == y_dtype
    assert jax.tree.map(lambda a: a.dtype, grads) == jax.tree.map(lambda a: a.dtype, inputs)
    assert dtypes_of((end, states)) == {jnp.dtype(state)}
    if not network.bidirectional:
        end, y = jax.eval_shape(rnn.step, params, start, jax.ShapeDtypeStruct((B, IN), F32))
        assert (y.dtype, dtypes_of(end)) == (y_dtype, {jnp.dtype(state)})


# Of cells that differ in an option the one with the most; of those for long sequences one with
# a window, one of complex numbers, one with a matrix.
CELLS = (
    *("elman", "lstm_all", "gru", "gru_before", "minimal_gated", "independent", "leaky"),
    *("deep_transition", "qrnn", "lru", "mlstm"),
)


@pytest.mark.parametrize(
    ("cell", "declared", "schedule"),
    [
        *((cell, "bf16 all", "layerwise") for cell in CELLS),
        *((cell, "bf16 products", "reference") for cell in ("lstm_all", "gru_before", "mlstm")),
    ],
)
def test_every_dtype_of_a_cell_is_the_declared_one(cell, declared, schedule):
    """All modifiers with it; outputs, states, steps and gradients; strict promotion."""
    modifier = registry.all_on(cell)
    check_dtypes(registry.stack_of(cell, modifier, depth=1), declared, schedule)


@pytest.mark.parametrize("declared", DECLARED)
def test_every_dtype_of_a_network_is_the_declared_one(declared):
    """All that is around the cells with it."""
    options = {"depth": 2, "layer_norm": True, "dropout": 0.3, "skip": "highway"}
    check_dtypes(registry.stack_of("elman", **options), declared, "layerwise")
    both = registry.stack_of("gru", **options, bidirectional=True, merge="sum", output_size=2)
    check_dtypes(both, declared, "reference")


def long_gradients(cell, schedule, **options):
    """Give gradients by the parameters of a loss over 2,000 steps of one sign."""
    rnn = drnn.deep_rnn(registry.CELLS[cell].make(4), output_size=2, **options)
    rng = registry.seed_of("long")
    x = np.abs(rng.normal(size=(2000, 1, IN))).astype(np.float32)
    params = registry.fill(rng, registry.shapes_of(rnn)[0], scale=0.3, dtype=BF16)
    params = jax.tree.map(lambda a, s: a.astype(s.dtype), params, registry.shapes_of(rnn)[0])

    def loss(params):
        return jnp.sum(rnn.apply(params, x, schedule=schedule)[1][..., 0].astype(F32))

    return jax.jit(jax.grad(loss))(params)


@pytest.mark.parametrize("cell", ["gru", "lstm_all"])
def test_narrow_gradients_do_not_stop_growing(cell):
    """Sums over 2,000 steps, where bfloat16's would stop near 256 times one term."""
    expected = long_gradients(cell, "reference")
    for schedule, narrow in (
        ("reference", "compute_dtype"),
        ("layerwise", "compute_dtype"),
        ("layerwise", "param_dtype"),
    ):
        grads = long_gradients(cell, schedule, **{narrow: BF16})
        for (path, got), want in zip(
            jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(expected), strict=True
        ):
            error = np.linalg.norm(got.astype(F32) - want) / np.linalg.norm(want)
            assert error < 0.02, (schedule, narrow, jax.tree_util.keystr(path), error)
            if narrow == "compute_dtype" and path[0].name == "layers":  # nor is a sum rounded
                assert np.any(got != got.astype(BF16).astype(F32)), (schedule, path)


def test_state_is_summed_wide_and_narrow_only_if_asked():
    """c grows by 0.001 a step; in bfloat16 it stops at 0.5, half of the next step away."""
    cell = drnn.lstm(1, gate_activation=jnp.ones_like, cell_activation=lambda z: z)
    x = np.full((2000, 1), 0.001, np.float32)

    def final_c(**options):
        rnn = drnn.deep_rnn(cell, **options)
        params = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), registry.shapes_of(rnn, 1)[0])
        w_x = params.layers[0].cell.w_x
        w_x[..., 2] = 1  # the candidate is x
        return float(rnn.apply(params, x)[0][0].c[0])

    assert final_c() == pytest.approx(2.0, rel=1e-4)
    assert final_c(compute_dtype=BF16) == pytest.approx(2.0, rel=4e-3)
    assert final_c(compute_dtype=BF16, state_dtype=BF16) < 0.6


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("highway-concat-both", "layerwise"), ("all(gru_before)", "reference")],
)
def test_bf16_is_close_to_float32(name, schedule):
    """Outputs and gradients, to a few units in bfloat16's last place."""
    network = registry.NETWORKS[name]
    rng = registry.seed_of(f"bf16 {name}")
    lengths, mask, resets = registry.every_edge()
    params, start = registry.shapes_of(network.build(param_dtype=F32))
    inputs = registry.fill(
        rng, (params, jax.ShapeDtypeStruct((T, B, IN), F32), start), dtype=np.float32
    )

    def run(schedule, **options):
        rnn = network.build(param_dtype=F32, **options)

        def loss(params, x, start):
            flags = {"lengths": lengths, "mask": mask, "resets": resets}
            y = rnn.apply(params, x, start, **flags, schedule=schedule)[1].astype(F32)
            return jnp.sum(jnp.sin(y)), y

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*inputs)

    expected = run("reference")
    scale = jax.tree.map(lambda a: float(jnp.max(jnp.abs(a))), expected)
    got = run(schedule, compute_dtype=BF16)
    errors = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), got, expected)
    for (path, error), size in zip(
        jax.tree_util.tree_leaves_with_path(errors), jax.tree.leaves(scale), strict=True
    ):
        assert error <= 0.05 * max(size, 0.05), jax.tree_util.keystr(path)


def far_from_zero():
    """Rows of mean 1000 and deviation 1, and what layer norm makes of them in float64."""
    z = np.random.default_rng(0).normal(1000.0, 1.0, (3, 64)).astype(np.float32)
    centred = z.astype(np.float64) - z.mean(axis=-1, keepdims=True, dtype=np.float64)
    return z, centred / np.sqrt(centred.var(axis=-1, keepdims=True) + 1e-5)


def test_layer_norm_between_layers_is_right_far_from_zero():
    """E[x²] - E[x]² would lose the deviation in float32."""
    z, expected = far_from_zero()
    layer = drnn.deep_rnn(drnn.elman(64), 2, normalize_inputs=True).plan.layers[-1]
    norm = layers.NormParams(jnp.ones(64), jnp.zeros(64))
    found = layers.enter(layer, layers.LayerParams(None, norm, None), jnp.asarray(z))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_layer_norm_of_gates_is_right_far_from_zero():
    z, expected = far_from_zero()
    cell = drnn.layer_norm(drnn.elman(64))
    params = cell.init(jax.random.key(0), 64)
    params = params._replace(cell=params.cell._replace(w_x=jnp.eye(64)))
    np.testing.assert_allclose(cell.project_input(params, z), expected, atol=1e-3)


def precisions_of(rnn, **how):
    """Give the precision of every product of a train step, once each."""
    params = rnn.init(jax.random.key(0), 3)
    x = jnp.ones((5, 2, 3))

    def loss(params, x):
        return jnp.sum(rnn.apply(params, x, **how)[1])

    text = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(params, x).as_text()
    return set(re.findall(r"dot_general.*precision = \[(.*?)\]", text))


@pytest.mark.default_products
@pytest.mark.parametrize("schedule", ANY_CELL)
def test_precision_is_of_all_products_and_their_derivatives(schedule):
    def make(precision):
        return drnn.deep_rnn(drnn.gru(4), 2, skip="highway", output_size=2, precision=precision)

    assert precisions_of(make("highest"), schedule=schedule) == {"HIGHEST, HIGHEST"}
    if schedule != "layerwise":
        return
    assert precisions_of(make(jax.lax.Precision.HIGH)) == {"HIGH, HIGH"}
    assert precisions_of(make(None)) == {"DEFAULT, DEFAULT"}
    with jax.default_matmul_precision("highest"):
        assert precisions_of(make(None)) == {"HIGHEST, HIGHEST"}


def test_precision_of_a_cell_that_says_its_own():
    def update(params, state, x_proj, h_proj):
        del h_proj
        h = jnp.tanh(jnp.matmul(state["h"], params["w"], precision="high") + x_proj @ params["w"])
        return {"h": h}, h

    cell = Cell(
        name="own",
        output_size=3,
        init=lambda key, input_size: {"w": jnp.eye(3)},
        initial_state=lambda params, batch_shape: {"h": jnp.zeros((*batch_shape, 3))},
        update=update,
    )
    rnn = drnn.deep_rnn(cell, precision="highest")
    assert precisions_of(rnn) == {"HIGH, HIGH", "HIGHEST, HIGHEST"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", 1, True, jnp.float32])
def test_precision_without_meaning(precision):
    with pytest.raises(ValueError, match=r"^deep_rnn: precision must be None, 'default', 'high'"):
        drnn.deep_rnn(drnn.gru(4), precision=precision)


@pytest.mark.default_products
def test_schedules_agree_as_products_do():
    """Whatever the device makes of float32: to 8 bits on a TPU, to 10 on a GPU, to all on a CPU."""
    rnn = drnn.deep_rnn(drnn.lstm(64), 3)
    params = rnn.init(jax.random.key(0), 32)
    x = jax.random.normal(jax.random.key(1), (20, 8, 32))
    with jax.default_matmul_precision("highest"):
        exact = rnn.apply(params, x, schedule="reference")[1]
    tolerance = 1e-5 if jax.default_backend() == "cpu" else 2e-2
    for schedule in ANY_CELL:
        y = jax.jit(partial(rnn.apply, schedule=schedule))(params, x)[1]
        np.testing.assert_allclose(y, exact, atol=tolerance, err_msg=schedule)

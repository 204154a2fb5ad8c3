"""Flax's cells and ours: the same outputs, carries and gradients, both ways."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import deeprnn_jax as drnn
from deeprnn_jax import interop
from tests.interop.recorded import Recorded, assert_agrees, assert_close, random_like

T, B, I, H = 5, 3, 3, 4  # noqa: E741
LINEN = {
    "simple": nn.SimpleCell(H, activation_fn=nn.relu),
    "residual": nn.SimpleCell(H, residual=True),
    "lstm": nn.LSTMCell(H),
    "optimized_lstm": nn.OptimizedLSTMCell(H, gate_fn=nn.hard_sigmoid),
    "gru": nn.GRUCell(H, activation_fn=nn.softplus),
}
NNX = {
    "simple": partial(nnx.SimpleCell, activation_fn=nnx.relu),
    "residual": partial(nnx.SimpleCell, residual=True),
    "lstm": nnx.LSTMCell,
    "optimized_lstm": nnx.OptimizedLSTMCell,
    "gru": nnx.GRUCell,
}


def record(apply, is_lstm: bool) -> Recorded:
    """Run a Flax RNN over a ragged batch, with gradients.

    Args:
      apply: (x [B, T, I], carry, lengths) -> (carry, y [B, T, H]).
      is_lstm: whether the carry is a pair.
    """
    rng = np.random.default_rng(7)
    lengths = np.array([5, 2, 3])

    def run(x, carry):
        carry, y = apply(jnp.swapaxes(x, 0, 1), carry, lengths)
        y = jnp.swapaxes(y, 0, 1)
        inside = jnp.arange(T)[:, None, None] < lengths[None, :, None]
        return jnp.where(inside, y, 0.0), carry  # Flax computes on past the end

    @jax.jit
    def with_gradients(x, carry, w_y, w_final):
        (y, final), vjp = jax.vjp(run, x, carry)
        return y, final, vjp((w_y, w_final))

    x, h, c, w_y, w_h, w_c = (
        rng.normal(size=shape).astype("float32")
        for shape in [(T, B, I), (B, H), (B, H), (T, B, H), (B, H), (B, H)]
    )
    carry, w_final = ((c, h), (w_c, w_h)) if is_lstm else (h, w_h)
    y, final, (dx, dcarry) = with_gradients(x, carry, w_y, w_final)
    return Recorded({}, x, lengths, carry, w_y, w_final, y, final, dx, dcarry)


def linen_params(cell):
    """Give random parameters of a cell, no bias zero."""
    carry = cell.initialize_carry(jax.random.key(0), (B, I))
    shapes = jax.eval_shape(cell.init, jax.random.key(0), carry, jnp.zeros((B, I)))["params"]
    return jax.tree.map(jnp.asarray, random_like(np.random.default_rng(0), shapes))


def simple_params(input_size, size):
    """Give parameters of a SimpleCell."""
    w_x, w_h, b = (np.ones(shape, "float32") for shape in [(input_size, size), (size, size), size])
    return {"i": {"kernel": w_x, "bias": b}, "h": {"kernel": w_h}}


def nnx_cell(name):
    """Give a cell with random parameters, no bias zero."""
    cell = nnx.eval_shape(lambda: NNX[name](I, H, rngs=nnx.Rngs(0)))
    values = random_like(np.random.default_rng(0), nnx.state(cell, nnx.Param))
    nnx.update(cell, jax.tree.map(jnp.asarray, values))
    return cell


def state_of(rnn):
    """Give the function that reads one layer's carry."""
    return lambda carry: interop.state_from_flax(rnn, [carry])


@pytest.mark.parametrize("name", LINEN)
def test_from_linen(name):
    cell, params = LINEN[name], linen_params(LINEN[name])
    layer = nn.RNN(cell, return_carry=True)

    def apply(x, carry, lengths):
        variables = {"params": {"cell": params}}
        return layer.apply(variables, x, initial_carry=carry, seq_lengths=lengths)

    rnn, ours = interop.from_linen(cell, params)
    assert_agrees(rnn, ours, record(apply, "lstm" in name), state_of(rnn))


@pytest.mark.parametrize("name", NNX)
def test_from_nnx(name):
    cell = nnx_cell(name)

    def apply(x, carry, lengths):
        # nnx wants variables made in the trace that uses them
        layer = nnx.RNN(nnx.clone(cell), return_carry=True)
        return layer(x, initial_carry=carry, seq_lengths=lengths)

    rnn, ours = interop.from_nnx(cell)
    assert_agrees(rnn, ours, record(apply, "lstm" in name), state_of(rnn))


@pytest.mark.parametrize("name", LINEN)
def test_to_linen(name):
    cell, params = LINEN[name], linen_params(LINEN[name])
    rnn, ours = interop.from_linen(cell, params)
    (back,), (tree,) = interop.to_linen(rnn, ours)
    assert back.apply({"params": tree}, *one_step(name))[1].shape == (B, H)
    expected = cell.apply({"params": params}, *one_step(name))
    assert_close(back.apply({"params": tree}, *one_step(name)), expected, 1e-6)


@pytest.mark.parametrize("name", NNX)
def test_to_nnx(name):
    cell = nnx_cell(name)
    (back,) = interop.to_nnx(*interop.from_nnx(cell))
    assert_close(back(*one_step(name)), cell(*one_step(name)), 1e-6)


def one_step(name):
    """Give a carry and an input."""
    h, c, x = random_like(
        np.random.default_rng(1), [jnp.zeros(s) for s in [(B, H), (B, H), (B, I)]]
    )
    return ((c, h) if "lstm" in name else h), x


def test_stacks_in_two_directions():
    rnn = drnn.deep_rnn([drnn.lstm(3), drnn.gru(2)], bidirectional=True, merge="sum")
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), I))
    params = random_like(np.random.default_rng(0), shapes)
    cells, trees = interop.to_linen(rnn, params)
    assert [[type(one).__name__ for one in pair] for pair in cells] == [
        ["OptimizedLSTMCell"] * 2,
        ["GRUCell"] * 2,
    ]
    again, back = interop.from_linen(cells, trees, merge="sum")
    assert again == rnn
    assert_close(back, jax.tree.map(jnp.asarray, params), 0)


def test_carries_there_and_back():
    rnn = drnn.deep_rnn([drnn.lstm(3), drnn.gru(2)], bidirectional=True)
    like = [jax.ShapeDtypeStruct((B, 3), jnp.float32), jax.ShapeDtypeStruct((B, 2), jnp.float32)]
    rng = np.random.default_rng(0)
    c, h, c_reverse, h_reverse = (random_like(rng, like[0]) for _ in range(4))
    carries = [((c, h), (c_reverse, h_reverse)), (h[:, :2], c[:, :2])]
    state = interop.state_from_flax(rnn, carries)
    np.testing.assert_array_equal(state[0].c, [c, c_reverse])
    assert_close(interop.state_to_flax(rnn, state), jax.tree.map(jnp.asarray, carries), 0)


def test_dtypes_are_carried_over():
    cell = nn.GRUCell(H, dtype=jnp.bfloat16)
    rnn, params = interop.from_linen(cell, linen_params(LINEN["gru"]))
    assert params.layers[0].cell.w_x.dtype == jnp.float32
    assert rnn.plan.precision.compute == jnp.bfloat16
    (back,), _ = interop.to_linen(rnn, params)
    assert (back.dtype, back.param_dtype) == (jnp.bfloat16, jnp.float32)


def test_partitioned_parameters_are_unboxed():
    params = linen_params(LINEN["gru"])
    boxed = jax.tree.map(lambda leaf: nn.Partitioned(leaf, (None,) * leaf.ndim), params)
    expected = interop.from_linen(LINEN["gru"], params)[1]
    assert_close(interop.from_linen(LINEN["gru"], boxed)[1], expected, 0)


@pytest.mark.parametrize(
    ("cell", "params", "message"),
    [
        (nn.MGUCell(H), {}, "cell must be.*got MGUCell"),
        (nn.LSTMCell(H, carry_init=nn.initializers.ones_init()), {}, "a carry of zeros"),
        (nn.LSTMCell(H), {"i": {}}, r"params must be those of LSTMCell, got \['i'\]"),
        ([nn.GRUCell(H)] * 2, [{}], "in the form of cells, 2 layers, got 1"),
        (
            (nn.SimpleCell(2),) * 2,
            (simple_params(3, 2), simple_params(4, 2)),
            r"layer 0 must be alike: reverse.w_x must be of shape \(3, 2\), got \(4, 2\)",
        ),
        (
            [nn.SimpleCell(2), nn.SimpleCell(3)],
            [simple_params(3, 2), simple_params(3, 3)],
            r"do not fit .* params.layers\[1\].*w_x must be of shape \(2, 3\), got \(3, 3\)",
        ),
    ],
)
def test_from_linen_refuses(cell, params, message):
    with pytest.raises(ValueError, match=f"^from_linen: .*{message}"):
        interop.from_linen(cell, params)


def test_from_nnx_refuses():
    with pytest.raises(ValueError, match=r"^from_nnx: cell must be one of.*got Linear"):
        interop.from_nnx(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("to_flax", [interop.to_linen, interop.to_nnx])
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (drnn.gru(2, reset_after=False), "reset_after=True, got False"),
        (drnn.lstm(2, projection_size=1), "projection_size=None, got 1"),
        (drnn.minimal_gated(2), "elman, lstm or gru"),
    ],
)
def test_to_flax_refuses(to_flax, cell, message):
    rnn = drnn.deep_rnn(cell)
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), 3))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    with pytest.raises(ValueError, match=rf"^{to_flax.__name__}: .*{message}"):
        to_flax(rnn, params)


def test_to_nnx_refuses_a_bias_that_its_gru_lacks():
    rnn = drnn.deep_rnn(drnn.gru(2))
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), 3))
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    with pytest.raises(ValueError, match=r"^to_nnx: gru must have b_hn = 0"):
        interop.to_nnx(rnn, params)

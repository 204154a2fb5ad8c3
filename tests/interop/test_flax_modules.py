"""DeepRNN in Flax: called as Flax's own RNN, with the same numbers."""

import pickle
from functools import partial

import flax.core
import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

import deeprnn_jax as drnn
from deeprnn_jax import interop
from deeprnn_jax.interop.nnx_cells import set_value
from tests.interop.recorded import assert_close, random_like

T, B, I, H = 5, 3, 3, 4  # noqa: E741
LENGTHS = np.array([5, 2, 3])
LSTM = drnn.deep_rnn(drnn.lstm(H))
DROPS = drnn.deep_rnn(drnn.gru(H), 2, dropout=0.5, output_size=2)
STACKED = drnn.deep_rnn(drnn.gru(H), 4, stack_layers=True)
DEEP = drnn.deep_rnn(drnn.gru(H), 3, bidirectional=True, skip="highway", normalize_inputs=True)


def params_of(rnn, input_size=I):
    """Give random parameters, no bias zero, without drawing them as init does."""
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), input_size))
    return jax.tree.map(jnp.asarray, random_like(np.random.default_rng(0), shapes))


def named(rnn, params):
    """Give parameters as a Flax module holds them."""
    return unflatten_dict(rnn.to_dict(params), sep="/")


def inputs(*shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


class Linen:
    """How a test makes and runs linen modules."""

    @staticmethod
    def ours(rnn, params, **options):
        """Give a function of (params, x, **call) for a network."""
        module = interop.linen.DeepRNN(rnn, **options)

        def run(params, x, **call):
            return module.apply({"params": {"network": named(rnn, params)}}, x, **call)

        return run

    @staticmethod
    def theirs(rnn, params, **options):
        """Give the same of Flax's RNN and cell."""
        (cell,), _ = interop.to_linen(rnn, params)
        module = nn.RNN(cell, **options)
        tree = _linen_tree(rnn)

        def run(params, x, **call):
            return module.apply({"params": {"cell": tree(params)}}, x, **call)

        return run


def _linen_tree(rnn):
    """Give `to_linen`'s parameters as a function that can be differentiated."""

    def tree(params):
        layer = params.layers[0].cell
        split = [jnp.split(leaf, 4, axis=-1) for leaf in (layer.w_x, layer.w_h, layer.b)]
        cells = {}
        for gate, w_x, w_h, b in zip("ifgo", *split, strict=True):
            cells |= {f"i{gate}": {"kernel": w_x}, f"h{gate}": {"kernel": w_h, "bias": b}}
        return cells

    return tree


class Nnx:
    """How a test makes and runs nnx modules."""

    @staticmethod
    def ours(rnn, params, **options):
        def run(params, x, **call):
            return interop.nnx.DeepRNN(rnn, x.shape[-1], params=params, **options)(x, **call)

        return run

    @staticmethod
    def theirs(rnn, params, **options):
        (cell,) = interop.to_nnx(rnn, params)

        def run(params, x, **call):
            layer = params.layers[0].cell
            fresh = nnx.clone(cell)
            set_value(fresh.dense_i.kernel, layer.w_x)
            set_value(fresh.dense_h.kernel, layer.w_h)
            set_value(fresh.dense_h.bias, layer.b)
            return nnx.RNN(fresh, **options)(x, **call)

        return run


FLAX = pytest.mark.parametrize("api", [Linen, Nnx], ids=["linen", "nnx"])


# Either module hands its options on to one function: between them they have all.
@pytest.mark.parametrize(
    ("api", "options", "lengths"),
    [
        (Nnx, {"keep_order": True}, None),  # of a forward run: nothing to do
        (Linen, {}, LENGTHS),
        (Nnx, {"reverse": True}, LENGTHS),
        (Linen, {"reverse": True, "keep_order": True}, LENGTHS),
        (Linen, {"reverse": True, "time_major": True}, None),
        (Nnx, {"reverse": True, "keep_order": True, "time_major": True}, None),
    ],
)
def test_one_line_is_swapped(api, options, lengths):
    """One layer is Flax's RNN: outputs, carry, and gradients of parameters and inputs."""
    params = params_of(LSTM)
    is_time_major = options.get("time_major", False)
    x = inputs(T, B, I) if is_time_major else inputs(B, T, I)
    carry = (inputs(B, H), -inputs(B, H))
    inside = jnp.ones((B, T)) if lengths is None else jnp.arange(T)[None] < lengths[:, None]
    inside = (inside.T if is_time_major else inside)[..., None]
    w_y, w_c, w_h = inputs(*x.shape[:2], H), inputs(B, H), 2 * inputs(B, H)

    def run(make, initial, to_flax):
        apply = make(LSTM, params, return_carry=True, **options)

        def loss(params, x):
            carry, y = apply(params, x, initial_carry=initial, seq_lengths=lengths)
            (c, h), y = to_flax(carry), jnp.where(inside, y, 0.0)  # Flax's are no zeros there
            return jnp.vdot(w_y, y) + jnp.vdot(w_c, c) + jnp.vdot(w_h, h), (c, h, y)

        grads, outputs = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)
        return outputs, grads

    state = interop.state_from_flax(LSTM, [carry])
    ours = run(api.ours, state, lambda state: interop.state_to_flax(LSTM, state)[0])
    assert_close(ours, run(api.theirs, carry, lambda carry: carry))


@FLAX
def test_options_can_be_overridden_in_the_call(api):
    params, x = params_of(LSTM), inputs(B, T, I)
    plain = jax.jit(lambda p, x: api.ours(LSTM, p)(p, x, seq_lengths=LENGTHS))(params, x)
    given = {"time_major": False, "return_carry": False, "reverse": False, "keep_order": False}
    contrary = dict.fromkeys(given, True)
    module = api.ours(LSTM, params, **contrary)
    y = jax.jit(lambda p, x: module(p, x, seq_lengths=LENGTHS, **given))(params, x)
    np.testing.assert_array_equal(y, plain)
    assert not np.any(y[1, 2:])  # zeros past the end of row 1
    assert np.all(y[1, :2] != 0)


@pytest.mark.core
@FLAX
def test_whole_network_is_run(api):
    """Two directions, skips, layer norms; two batch axes; a row without steps."""
    params, x = params_of(DEEP), inputs(2, B, T, I)
    lengths = np.array([[5, 2, 3], [1, 0, 5]])
    state, y = jax.jit(DEEP.apply)(params, jnp.moveaxis(x, 2, 0), lengths=lengths)
    call = {"seq_lengths": lengths, "return_carry": True}
    got = jax.jit(lambda p, x: api.ours(DEEP, p)(p, x, **call))(params, x)
    assert_close(got, (state, jnp.moveaxis(y, 0, 2)), 1e-6)
    assert not np.any(jax.tree.leaves(state)[0][..., 1, 1, :])


def test_linen_bidirectional_takes_it():
    params, x = params_of(LSTM), inputs(B, T, I)
    tree = {"network": named(LSTM, params)}
    variables = {"params": {"forward_rnn": tree, "backward_rnn": tree}}
    module = nn.Bidirectional(interop.linen.DeepRNN(LSTM), interop.linen.DeepRNN(LSTM))
    y = jax.jit(lambda v, x: module.apply(v, x, seq_lengths=LENGTHS))(variables, x)
    both = drnn.deep_rnn(drnn.lstm(H), bidirectional=True)
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    expected = jax.jit(both.apply)(twice, jnp.swapaxes(x, 0, 1), lengths=LENGTHS)[1]
    assert_close(y, jnp.swapaxes(expected, 0, 1), 1e-6)


def test_linen_names_and_shapes():
    module = interop.linen.DeepRNN(DEEP)
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.ones((B, T, I)))
    network = variables["params"]["network"]
    assert {name: sorted(layer) for name, layer in network.items()} == {
        "layer_0": ["cell"],
        "layer_1": ["cell", "highway", "norm"],
        "layer_2": ["cell", "highway", "norm"],
    }
    assert network["layer_1"]["cell"]["w_x"].shape == (2, 2 * H, 3 * H)
    tree = named(STACKED, params_of(STACKED))
    assert list(tree) == ["layer_0", "layers_1_to_3"]
    assert tree["layers_1_to_3"]["cell"]["w_x"].shape == (3, H, 3 * H)
    readout = named(DROPS, params_of(DROPS))["readout"]
    assert {name: leaf.shape for name, leaf in readout.items()} == {"w": (H, 2), "b": (2,)}


@pytest.mark.core
def test_linen_init_is_the_networks():
    module = interop.linen.DeepRNN(LSTM)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.ones((B, T, I)))
    cell = variables["params"]["network"]["layer_0"]["cell"]
    np.testing.assert_array_equal(cell["b"], [0] * H + [1] * H + [0] * 2 * H)
    gate = cell["w_h"][:, :H]
    np.testing.assert_allclose(gate @ gate.T, np.eye(H), atol=1e-5)  # orthogonal


@pytest.mark.core
def test_linen_under_vmap():
    """Two members with parameters of their own, in one module."""
    stacked = nn.vmap(
        interop.linen.DeepRNN, variable_axes={"params": 0}, split_rngs={"params": True}
    )(LSTM)
    both = [params_of(LSTM), jax.tree.map(jnp.negative, params_of(LSTM))]
    trees = [named(LSTM, params) for params in both]
    x = inputs(2, B, T, I)
    tree = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    y = jax.jit(lambda v, x: stacked.apply(v, x))({"params": {"network": tree}}, x)
    for index, params in enumerate(both):
        expected = jax.jit(LSTM.apply)(params, jnp.swapaxes(x[index], 0, 1))[1]
        assert_close(y[index], jnp.swapaxes(expected, 0, 1), 1e-6)


def test_linen_dropout():
    params, x = params_of(DROPS), inputs(B, T, I)
    key, other = jax.random.split(jax.random.key(0))

    variables = {"params": {"network": named(DROPS, params)}}

    def program(**options):
        module = interop.linen.DeepRNN(DROPS, **options)
        return jax.jit(lambda key: module.apply(variables, x, rngs={"dropout": key}))

    still = jax.jit(interop.linen.DeepRNN(DROPS).apply)(variables, x)
    np.testing.assert_allclose(program(deterministic=True)(key), still, atol=1e-6)
    drops = program()
    assert not np.allclose(drops(key), still)
    assert not np.allclose(drops(key), drops(other))
    np.testing.assert_array_equal(drops(key), program(deterministic=False)(key))
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        interop.linen.DeepRNN(DROPS, deterministic=False).apply(variables, x)


def test_nnx_dropout_follows_train_and_eval():
    x = inputs(B, T, I)
    model = interop.nnx.DeepRNN(DROPS, I, params=params_of(DROPS), rngs=nnx.Rngs(0))
    assert not np.allclose(model(x), model(x))
    model.eval()
    still = model(x)
    np.testing.assert_array_equal(still, model(x))
    if hasattr(nnx, "view"):  # from flax 0.12
        np.testing.assert_array_equal(nnx.view(model, deterministic=True)(x), still)
    keyed = [model(x, deterministic=False, rngs=nnx.Rngs(dropout=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(keyed[0], keyed[1])
    assert not np.allclose(keyed[0], keyed[2])
    without = interop.nnx.DeepRNN(DROPS, I, params=params_of(DROPS))
    with pytest.raises(ValueError, match=r"^DeepRNN: rngs must be given for dropout"):
        without(x)
    without.eval()
    np.testing.assert_array_equal(without(x), still)


def test_nnx_rngs_that_are_none():
    message = r"^DeepRNN: rngs must be nnx.Rngs or one of its streams, got 3"
    with pytest.raises(ValueError, match=message):
        interop.nnx.DeepRNN(DROPS, I, params=params_of(DROPS), rngs=3)
    model = interop.nnx.DeepRNN(DROPS, I, params=params_of(DROPS))
    with pytest.raises(ValueError, match=message):
        model(inputs(B, T, I), rngs=3)


@pytest.mark.core
def test_nnx_split_merge_and_grad():
    params, x = params_of(LSTM), inputs(B, T, I)
    model = interop.nnx.DeepRNN(LSTM, I, params=params)
    graph, values = nnx.split(model)
    paths = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(values)}
    assert paths == {f"network.layer_0.cell.{name}" for name in ("w_x", "w_h", "b")}
    grads = nnx.jit(nnx.grad(lambda model: jnp.sum(model(x) ** 2)))(nnx.merge(graph, values))

    def loss(params):
        return jnp.sum(LSTM.apply(params, jnp.swapaxes(x, 0, 1))[1] ** 2)

    expected = named(LSTM, jax.jit(jax.grad(loss))(params))
    assert_close(nnx.to_pure_dict(grads)["network"], expected)


def test_nnx_draws_its_parameters():
    model = nnx.eval_shape(lambda: interop.nnx.DeepRNN(LSTM, I, rngs=nnx.Rngs(0)))
    assert model.network["layer_0"]["cell"]["w_x"].shape == (I, 4 * H)


@FLAX
def test_refusals(api):
    params, x = params_of(LSTM), inputs(B, T, I)
    run = api.ours(LSTM, params)
    with pytest.raises(ValueError, match=r"inputs must be \[\*B, T, F\], got shape \(3,\)"):
        run(params, x[0, 0])
    with pytest.raises(ValueError, match=r"lengths must be in \[0, T=5\], got values from 2 to 6"):
        run(params, x, seq_lengths=LENGTHS + (LENGTHS == 5))
    with pytest.raises(ValueError, match="floating point, got int32"):
        run(params, jnp.ones((B, T, I), jnp.int32))
    with pytest.raises(ValueError, match="state is not of this network"):
        run(params, x, initial_carry=(x[:, 0], x[:, 0]))


def test_module_of_no_network_is_refused():
    message = r"^DeepRNN: rnn must be a network, got Cell"
    with pytest.raises(ValueError, match=message):
        interop.nnx.DeepRNN(drnn.lstm(H), I, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=message):
        interop.linen.DeepRNN(drnn.lstm(H)).init(jax.random.key(0), inputs(B, T, I))
    with pytest.raises(ValueError, match=r"^DeepRNN: rngs must be nnx.Rngs, or params"):
        interop.nnx.DeepRNN(LSTM, I)


def bare_cell(inits):
    """Give a cell whose parameters are a tuple and a dictionary, which counts calls of init."""

    def init(key, input_size):
        inits.append(input_size)
        return jax.random.normal(key, (input_size, H)), {"w_h": [jnp.eye(H)]}

    def step(params, state, x):
        w_x, rest = params
        h = jnp.tanh(x @ w_x + state[0] @ rest["w_h"][0])
        return (h,), h

    return drnn.step_cell(init, lambda params, batch: (jnp.zeros((*batch, H)),), step, H)


def test_parameters_have_the_names_of_to_dict():
    """Frozen or not, of cells with types of their own; those of another network are refused."""
    others = [drnn.learned_initial_state(drnn.lstm(2)), bare_cell([])]
    x = inputs(B, T, I)
    for rnn in (DEEP, DROPS, STACKED, *map(drnn.deep_rnn, others)):
        params = params_of(rnn)
        tree = flax.core.freeze(named(rnn, params))
        assert_close(rnn.from_dict(flatten_dict(tree, sep="/"), I), params, 0)
        module = interop.linen.DeepRNN(rnn, time_major=True)
        shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]["network"]
        assert flatten_dict(shapes, sep="/").keys() == flatten_dict(tree, sep="/").keys()
    with pytest.raises(
        ValueError, match=r"^DeepRNN: arrays .* got layer_0/cell/b_hn and 16 more missing"
    ):
        interop.linen.DeepRNN(DEEP).apply(
            {"params": {"network": named(LSTM, params_of(LSTM)) | {"readout": {}}}}, x
        )


@FLAX
def test_given_parameters_are_not_drawn_again(api):
    """Only linen looks at init, which alone knows of which types they are, and at most once."""
    inits = []
    rnn = drnn.deep_rnn(bare_cell(inits))
    params, x = params_of(rnn), inputs(B, T, I)
    run = api.ours(rnn, params)
    drawn = len(inits)
    y = jax.jit(rnn.apply)(params, jnp.swapaxes(x, 0, 1))[1]
    for _ in range(2):
        assert_close(run(params, x), jnp.swapaxes(y, 0, 1), 1e-6)
    assert len(inits) - drawn <= (api is Linen)


@FLAX
def test_parameters_for_other_inputs_are_refused(api):
    with pytest.raises(ValueError, match=r"x must end in I=3 features, .* got 4"):
        api.ours(LSTM, params_of(LSTM))(params_of(LSTM), inputs(B, T, I + 1))


def test_nnx_modules_of_equal_networks_are_one_program():
    def make(scale):
        rnn = drnn.deep_rnn(drnn.lstm(H), 2)  # anew: equal, not the same
        params = jax.tree.map(lambda leaf: scale * leaf, params_of(rnn))
        return interop.nnx.DeepRNN(rnn, I, params=params)

    one, other = make(1), make(2)
    graphs = [nnx.graphdef(model) for model in (one, other)]
    assert graphs[0] == graphs[1]
    assert hash(graphs[0]) == hash(graphs[1])
    assert graphs[0] != nnx.graphdef(interop.nnx.DeepRNN(LSTM, I, params=params_of(LSTM)))
    assert pickle.loads(pickle.dumps(graphs[0])) == graphs[0]
    traced = []

    @nnx.jit
    def run(model, x):
        traced.append(x)
        return model(x)

    x = inputs(B, T, I)
    assert not np.allclose(run(one, x), run(other, x))
    assert len(traced) == 1


class Tagger(nn.Module):
    """A user's model that holds a network."""

    rnn: drnn.DeepRNN
    num_tags: int = 2

    def setup(self):
        self.encoder = interop.linen.DeepRNN(self.rnn)
        self.head = nn.Dense(self.num_tags)

    def __call__(self, x):
        return self.head(self.encoder(x))


def test_linen_modules_of_equal_networks_are_one_program():
    one, other = (Tagger(drnn.deep_rnn(drnn.gru(H), 2)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Tagger(LSTM)
    assert one.clone() == one
    traced = []

    @partial(jax.jit, static_argnums=0)
    def run(model, key, x):
        traced.append(x)
        return model.init_with_output(key, x)

    x = inputs(B, T, I)
    y, variables = run(one, jax.random.key(0), x)
    assert y.shape == (B, T, 2)
    assert sorted(variables["params"]["encoder"]["network"]) == ["layer_0", "layer_1"]
    np.testing.assert_array_equal(run(other, jax.random.key(0), x)[0], y)
    assert len(traced) == 1

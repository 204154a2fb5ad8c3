"""torch's modules and ours: the same outputs, states and gradients, both ways."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax import interop
from tests.interop import torch_cases
from tests.interop.recorded import GOLDEN, assert_agrees, assert_close, load, random_like

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")


@pytest.fixture
def torch():
    """Give torch, or skip: the stored vectors are compared everywhere."""
    return pytest.importorskip("torch")


def random_params(rnn, input_size, seed=0):
    """Give parameters without drawing them as init does, and with no bias zero."""
    shapes = jax.eval_shape(lambda: rnn.init(jax.random.key(0), input_size))
    return jax.tree.map(jnp.asarray, random_like(np.random.default_rng(seed), shapes))


def state_of(rnn):
    """Give the function that reads torch's states for this network."""
    return lambda arrays: interop.state_from_torch(rnn, arrays)


@pytest.mark.parametrize("name", torch_cases.STORED)
def test_stored_vectors(name):
    run = load(GOLDEN / "torch.npz", name)
    rnn, params = interop.from_torch(torch_cases.stand_in(name, run.weights))
    assert_agrees(rnn, params, run, state_of(rnn))


@pytest.mark.parametrize("name", torch_cases.CASES)
def test_from_torch(torch, name):
    module = torch_cases.build(name)
    rnn, params = interop.from_torch(module)
    assert_agrees(rnn, params, torch_cases.record(module), state_of(rnn))


@pytest.mark.parametrize("name", ["lstm_projected", "gru"])
def test_from_torch_in_float64(torch, x64, name):
    module = torch_cases.build(name, "float64")
    rnn, params = interop.from_torch(module)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float64")}
    assert_agrees(rnn, params, torch_cases.record(module), state_of(rnn), tolerance=1e-12)


@pytest.mark.parametrize("name", torch_cases.CASES)
def test_to_torch(torch, name):
    module = torch_cases.build(name)
    rnn, params = interop.from_torch(module)
    back = interop.to_torch(rnn, params)
    assert type(back) is type(module)
    assert_close(interop.from_torch(back)[1], params, tolerance=0)
    ours, theirs = torch_cases.record(back), torch_cases.record(module)
    for field in ("y", "final", "dx", "dstate"):
        assert_close(getattr(ours, field), getattr(theirs, field), 1e-6)


def test_states_there_and_back(torch):
    rnn = drnn.deep_rnn(drnn.lstm(5, projection_size=2), 3, bidirectional=True)
    params = random_params(rnn, 4)
    state = random_like(np.random.default_rng(0), rnn.initial_state(params, (2, 3)))
    h, c = interop.state_to_torch(rnn, state)
    assert h.shape == (6, 2, 3, 2)
    assert c.shape == (6, 2, 3, 5)
    np.testing.assert_array_equal(h[3], state[1].h[1])  # layer 1 of 3, reverse
    assert_close(interop.state_from_torch(rnn, (h, c)), jax.tree.map(jnp.asarray, state), 0)


def test_stacked_layers_make_the_same_module_and_states(torch):
    apart, stacked = (
        drnn.deep_rnn(drnn.gru(4), 3, bidirectional=True, stack_layers=flag)
        for flag in (False, True)
    )
    params = random_params(apart, 4)
    state = apart.initial_state(params, 2)
    state = jax.tree.map(jnp.asarray, random_like(np.random.default_rng(0), state))
    held = params._replace(layers=stacked.stack(params.layers)), stacked.stack(state)
    modules = interop.to_torch(apart, params), interop.to_torch(stacked, held[0])
    assert_close(*(interop.from_torch(module)[1] for module in modules), 0)
    h_n = interop.state_to_torch(stacked, held[1])
    assert torch.equal(h_n, interop.state_to_torch(apart, state))
    assert_close(interop.state_from_torch(stacked, h_n), held[1], 0)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_single_step_cells(torch, kind):
    rng = np.random.default_rng(0)
    cell = getattr(torch.nn, kind)(3, 4)
    x, h, c = (rng.normal(size=(2, size)).astype("float32") for size in (3, 4, 4))
    state = (torch.tensor(h), torch.tensor(c)) if kind == "LSTMCell" else torch.tensor(h)
    after = cell(torch.tensor(x), state)
    rnn, params = interop.from_torch(cell)
    lift = jax.tree.map(lambda leaf: leaf[None], state if kind == "LSTMCell" else (state,))
    got, y = rnn.step(params, interop.state_from_torch(rnn, lift), x)
    after = after if kind == "LSTMCell" else (after,)
    assert_close(got, interop.state_from_torch(rnn, [one[None] for one in after]))
    np.testing.assert_allclose(y, after[0].detach(), atol=1e-5)


def test_what_else_is_carried_over(torch):
    module = torch_cases.build("lstm", dropout=0.25, batch_first=True)
    rnn, params = interop.from_torch(module)
    assert {layer.dropout for layer in rnn.plan.layers} == {0.25}
    assert_close(params, interop.from_torch(torch_cases.build("lstm"))[1], 0)
    drawn = torch.random.get_rng_state()
    back = interop.to_torch(rnn, params, batch_first=True)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert (back.dropout, back.batch_first, back.training) == (0.25, True, True)


def test_dropout_of_one_layer_is_none(torch):
    """Both libraries warn of it where it is asked for; converting warns no second time."""
    with pytest.warns(UserWarning, match="deep_rnn: dropout=0.5 is between layers"):
        ours = drnn.deep_rnn(drnn.gru(2), dropout=0.5)
    assert interop.to_torch(ours, random_params(ours, 3)).dropout == 0.0
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        theirs = torch.nn.GRU(3, 2, dropout=0.5)
    assert interop.from_torch(theirs)[0] == drnn.deep_rnn(drnn.gru(2))


def test_half_precision_is_kept(torch):
    module = torch_cases.build("gru").to(torch.bfloat16)
    rnn, params = interop.from_torch(module)
    assert params.layers[0].cell.w_x.dtype == jnp.bfloat16
    back = interop.to_torch(rnn, params)
    assert torch.equal(back.weight_hh_l1, module.weight_hh_l1)


def test_wrapped_weights_are_read(torch):
    module = torch_cases.build("gru")
    expected = interop.from_torch(module)[1]
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l1")
    assert_close(interop.from_torch(module)[1], expected, 1e-6)


NAMED = {"rnn_tanh": {"nonlinearity": "tanh"}, "rnn_relu": {"nonlinearity": "relu"}}


@pytest.mark.parametrize("name", torch_cases.STORED)
def test_state_dicts_of_arrays(name):
    """As from a safetensors file, where there is no torch."""
    weights = load(GOLDEN / "torch.npz", name).weights
    expected = interop.from_torch(torch_cases.stand_in(name, weights))
    for prefix in ("", "module.", "_orig_mod.encoder."):
        state_dict = {f"{prefix}{one}": array for one, array in weights.items()}
        found = interop.from_torch(state_dict | {"head.weight": 0}, **NAMED.get(name, {}))
        assert found[0] == expected[0]
        assert_close(found[1], expected[1], 0)


@pytest.mark.parametrize("name", torch_cases.CASES)
def test_state_dicts_compiled_scripted_and_traced_modules(torch, name, tmp_path):
    module = torch_cases.build(name)
    expected = interop.from_torch(module)
    options = NAMED.get(name, {})
    with warnings.catch_warnings(action="ignore"):  # torch.jit is deprecated; compile uses it
        scripted = torch.jit.script(module)
        traced = torch.jit.trace(module, torch.zeros(2, 1, 3))
        torch.jit.save(traced, tmp_path / "traced.pt")
        loaded = torch.jit.load(tmp_path / "traced.pt")
        compiled = torch.compile(module)
    for source, said in [
        (module.state_dict(), options),
        (compiled.state_dict(), options),
        (compiled, {}),
        (torch.nn.DataParallel(compiled), {}),
        (scripted, {}),
        (traced, options),
        (loaded, options),
    ]:
        rnn, params = interop.from_torch(source, **said)
        assert rnn == expected[0]
        assert_close(params, expected[1], 0)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_state_dicts_of_single_step_cells(torch, kind):
    cell = getattr(torch.nn, kind)(3, 4)
    options = {"nonlinearity": "tanh"} if kind == "RNNCell" else {}
    found, expected = interop.from_torch(cell.state_dict(), **options), interop.from_torch(cell)
    assert found[0] == expected[0]
    assert_close(found[1], expected[1], 0)


def test_one_of_several_layers_by_its_prefix(torch):
    model = torch.nn.ModuleDict(
        {"embed": torch.nn.Embedding(5, 3), "encoder": torch_cases.build("gru")}
    )
    model["decoder"] = torch.nn.Sequential(torch_cases.build("lstm"), torch.nn.Linear(4, 5))
    state_dict = model.state_dict()
    for prefix in ("decoder.0.", "decoder.0"):
        rnn, params = interop.from_torch(state_dict, prefix=prefix, dropout=0.25)
        assert {layer.dropout for layer in rnn.plan.layers} == {0.25}
        assert_close(params, interop.from_torch(model["decoder"][0])[1], 0)
    for prefix in (None, "decoder"):
        with pytest.raises(
            ValueError,
            match=r"^from_torch: prefix must be one of \['decoder.0.', 'encoder.'\].*, got "
            f"{prefix!r}; ",
        ):
            interop.from_torch(state_dict, prefix=prefix)


def test_a_checkpoint_file(torch, tmp_path):
    module = torch_cases.build("lstm_projected").to(torch.bfloat16)
    torch.save({"state_dict": module.state_dict()}, tmp_path / "model.pt")
    checkpoint = torch.load(tmp_path / "model.pt")
    assert_close(interop.from_torch(checkpoint["state_dict"])[1], interop.from_torch(module)[1], 0)
    with pytest.raises(ValueError, match=r"got \['state_dict'\]; of a checkpoint give the entry"):
        interop.from_torch(checkpoint)


@pytest.mark.parametrize("library", ["numpy", "flax", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_safetensors_file(torch, tmp_path, library, dtype):
    files = pytest.importorskip(f"safetensors.{library}")
    module = torch_cases.build("gru").to(getattr(torch, dtype))
    pytest.importorskip("safetensors.torch").save_file(module.state_dict(), tmp_path / "model")
    found = interop.from_torch(files.load_file(tmp_path / "model"))
    assert_close(found[1], interop.from_torch(module)[1], 0)


def quantised(module):
    """Stand for one of torch's quantised modules, which have the options but not the weights."""
    options = {name: getattr(module, name) for name in module.__constants__}
    return type("LSTM", (), options | {"hidden_size": 3})()


def zeros(**shapes):
    return {f"{name}_l0": np.zeros(shape, "f") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("state_dict", "options", "message"),
    [
        ({"head.weight": np.zeros((2, 3))}, {}, "a recurrent layer's weights"),
        (zeros(weight_ih=(2, 3), weight_hh=(2, 2)), {}, "'tanh' or 'relu'.* does not say it"),
        (zeros(weight_ih=(4, 3), weight_hh=(4, 2)), {}, r"must be \[G\*H, H\].* got \(4, 2\)"),
        (zeros(weight_ih=(8, 3)), {}, r"must have weight_hh_l0, got \['weight_ih_l0'\]"),
        (
            zeros(weight_ih=(8, 3)) | {"weight_hh_l0": np.zeros((8, 2), "e")},
            {},
            r"one dtype, got \['float16', 'float32'\] in .*; cast",
        ),
        (
            zeros(weight_ih=(8, 3), weight_hh=(8, 2), bias_ih=8),
            {},
            "must have bias_hh_l0, got",
        ),
        (
            zeros(weight_ih=(8, 3), weight_hh=(8, 2)) | {"weight_ih_l2": np.zeros((8, 2), "f")},
            {},
            "must have weight_ih_l1, got",
        ),
        (
            zeros(weight_ih=(8, 3), weight_hh=(8, 2)),
            {"prefix": "lstm."},
            r"prefix must be one of \[''\].*got 'lstm.'",
        ),
        (
            zeros(weight_ih=(8, 3), weight_hh=(8, 2)),
            {"dropout": 1.5},
            r"dropout must be a probability in \[0, 1\), got 1.5",
        ),
    ],
)
def test_from_torch_refuses_state_dicts(state_dict, options, message):
    with pytest.raises(ValueError, match=rf"^from_torch: .*{message}"):
        interop.from_torch(state_dict, **options)


def test_what_a_module_says_itself_is_not_given(torch):
    for option in ({"prefix": "lstm."}, {"dropout": 0.5}, {"nonlinearity": "tanh"}):
        with pytest.raises(ValueError, match="must be None for a module, which has its own, got"):
            interop.from_torch(torch.nn.GRU(3, 2), **option)


def test_the_meta_device_is_refused(torch):
    module = torch.nn.LSTM(3, 2, device="meta")
    for source in (module, module.state_dict()):
        with pytest.raises(ValueError, match=r"weight_hh_l0 must hold values, got .* meta device"):
            interop.from_torch(source)


def test_a_parametrised_state_dict_is_refused(torch):
    module = torch_cases.build("gru")
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l1")
    with pytest.raises(ValueError, match=r"must have weight_hh_l1, got .*weight_norm"):
        interop.from_torch(module.state_dict())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda nn: nn.Linear(2, 3), "module must be one of.*got Linear"),
        (lambda nn: nn.Sequential(nn.LSTM(2, 3)), "give the recurrent layer itself"),
        (lambda nn: quantised(nn.LSTM(2, 3)), r"one dtype, got \[\] in \[\]; .*quantised"),
        (lambda nn: nn.LSTM(2, 3).double(), "float64.*jax_enable_x64"),
        (lambda nn: nn.LSTM(2, 3).state_dict().values(), "or a state dict, got odict_values"),
    ],
)
def test_from_torch_refuses(torch, module, message):
    with pytest.raises(ValueError, match=rf"^from_torch: .*{message}"):
        interop.from_torch(module(torch.nn))


REFUSED = {
    "peepholes": (drnn.deep_rnn(drnn.lstm(2, peepholes=True)), "peepholes=False, got True"),
    "coupled": (drnn.deep_rnn(drnn.lstm(2, coupled=True)), "coupled=False, got True"),
    "activation": (drnn.deep_rnn(drnn.elman(2, jnp.sin)), "activation tanh or relu, got"),
    "gate": (drnn.deep_rnn(drnn.lstm(2, gate_activation=jax.nn.relu)), "gate_activation sigmoid"),
    "candidate": (drnn.deep_rnn(drnn.gru(2, activation=jax.nn.relu)), "activation tanh, got"),
    "reset": (drnn.deep_rnn(drnn.gru(2, reset_after=False)), "reset_after=True, got False"),
    "projection": (drnn.deep_rnn(drnn.lstm(2, projection_size=2)), "projection_size < hidden"),
    "modifier": (drnn.deep_rnn(drnn.zoneout(drnn.lstm(2), 0.1)), "without a modifier, got 'zone"),
    "other": (drnn.deep_rnn(drnn.independent(2)), "elman, lstm or gru"),
    "readout": (drnn.deep_rnn(drnn.lstm(2), output_size=3), "got output_size=3"),
    "skip": (drnn.deep_rnn(drnn.lstm(2), 2, skip="residual"), "got skip='residual'"),
    "norm": (drnn.deep_rnn(drnn.lstm(2), 2, normalize_inputs=True), "got normalize_inputs=True"),
    "locked": (
        drnn.deep_rnn(drnn.lstm(2), 2, dropout=0.1, locked_dropout=True),
        "got locked_dropout=True",
    ),
    "dense": (drnn.deep_rnn(drnn.lstm(2), 2, skip="dense"), "got skip='dense'"),
    "merge": (drnn.deep_rnn(drnn.lstm(2), bidirectional=True, merge="sum"), "merge must be"),
    "sizes": (drnn.deep_rnn([drnn.lstm(2), drnn.lstm(3)]), "all layers must be alike"),
    "kinds": (drnn.deep_rnn([drnn.lstm(2), drnn.gru(2)]), "all layers must be alike"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_to_torch_refuses(reason):
    rnn, message = REFUSED[reason]
    with pytest.raises(ValueError, match=rf"^to_torch: .*{message}"):
        interop.to_torch(rnn, random_params(rnn, 3))


def test_to_torch_refuses_other_parameters():
    rnn = drnn.deep_rnn(drnn.gru(4), 2)
    with pytest.raises(
        ValueError,
        match=r"^to_torch: params are not of this network: .*a GRUParams, got a LSTMParams",
    ):
        interop.to_torch(rnn, random_params(drnn.deep_rnn(drnn.lstm(4), 2), 3))
    with pytest.raises(ValueError, match=r"^to_torch: params are not .* got a dict; use"):
        interop.to_torch(rnn, {"w": 1})


def test_state_from_torch_refuses():
    rnn = drnn.deep_rnn(drnn.lstm(2), 2)
    with pytest.raises(ValueError, match=r"must be h, c with 2 rows.*got shapes \[\(2, 3, 2\)\]"):
        interop.state_from_torch(rnn, np.zeros((2, 3, 2)))
    with pytest.raises(ValueError, match="with 2 rows"):
        interop.state_from_torch(rnn, (np.zeros((3, 3, 2)), np.zeros((3, 3, 2))))
    mixed = drnn.deep_rnn([drnn.lstm(2), drnn.gru(2)])
    with pytest.raises(ValueError, match=r"must repeat one cell.*\['gru', 'lstm'\]"):
        interop.state_from_torch(mixed, np.zeros((2, 3, 2)))


MATRICES = {"weight_ih_l0": np.zeros((8, 3), "f"), "weight_hh_l0": np.zeros((8, 2), "f")}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"weight_hh_l0": np.zeros(8, "f")},
            {},
            r"weight_hh_l0 must be a matrix, got shape \(8,\)",
        ),
        (
            {"weight_ih_l0": np.zeros(8, "f")},
            {},
            r"weight_ih_l0 must be a matrix, got shape \(8,\)",
        ),
        ({}, {"nonlinearity": "relu"}, "nonlinearity must be None for an LSTM or a GRU.*'relu'"),
        ({}, {"prefix": 3}, "prefix must be a str or None, got 3"),
    ],
)
def test_what_is_no_lstm_or_does_not_belong_to_one(changes, options, message):
    interop.from_torch(MATRICES)
    with pytest.raises(ValueError, match=f"^from_torch: {message}"):
        interop.from_torch(MATRICES | changes, **options)


@pytest.mark.parametrize("name", ["to_torch", "to_haiku", "to_keras", "to_equinox", "to_onnx"])
def test_what_is_no_network_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name}: rnn must be a network, got int; for example"):
        getattr(interop, name)(3, None)

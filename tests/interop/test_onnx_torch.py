"""torch's own exports to ONNX, read: whole models and parts of them."""

import io
import warnings

import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.interop.onnx import from_onnx
from tests.interop.onnx_cases import B, H, I, T, refuses

onnx = pytest.importorskip("onnx")

TORCH = {
    "lstm": ("LSTM", {}),
    "lstm_deep": ("LSTM", {"num_layers": 2, "bidirectional": True, "dropout": 0.5}),
    "lstm_batch_first": ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    "gru": ("GRU", {"num_layers": 3}),
    "gru_no_bias": ("GRU", {"bidirectional": True, "bias": False, "batch_first": True}),
    "rnn": ("RNN", {"num_layers": 2, "nonlinearity": "relu"}),
}


def export(module, *args, dynamic=True):
    """Give a torch module as an ONNX model."""
    torch = pytest.importorskip("torch")
    options = {"input_names": ["x"], "dynamic_axes": {"x": {0: "d0", 1: "d1"}}} if dynamic else {}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of this exporter, and of batches of one length
        torch.onnx.export(module.eval(), args, file, dynamo=False, **options)
    return onnx.load_from_string(file.getvalue())


def torch_y(module, x):
    return module(x)[0].detach().numpy()


@pytest.mark.parametrize(
    ("name", "dynamic"),
    [*((name, True) for name in TORCH), ("lstm_deep", False), ("gru_no_bias", False)],
)
def test_torch_exports(name, dynamic):
    torch = pytest.importorskip("torch")
    kind, options = TORCH[name]
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(I, H, **options)
    x = torch.randn(T, B, I)
    rnn, params = from_onnx(export(module, x, dynamic=dynamic))
    axis = 1 if module.batch_first else 0
    y = rnn.apply(params, np.moveaxis(x.numpy(), axis, 0))[1]
    np.testing.assert_allclose(np.moveaxis(y, 0, axis), torch_y(module, x), atol=1e-5)
    assert len(rnn.plan.cells) == module.num_layers


def test_torch_export_without_a_batch_axis():
    torch = pytest.importorskip("torch")
    module, x = torch.nn.GRU(I, H), torch.randn(T, I)
    rnn, params = from_onnx(export(module, x, dynamic=False))
    np.testing.assert_allclose(rnn.apply(params, x.numpy())[1], torch_y(module, x), atol=1e-5)


def tagger(torch, *, embed=False, between=None, after=None):
    """Make a module of two kinds of layers, with other things around them."""

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(7, I)
            self.lower, self.upper = torch.nn.LSTM(I, H, 2), torch.nn.GRU(H, 3)
            self.readout = torch.nn.Linear(3, 6)
            self.h = torch.nn.Parameter(torch.randn(2, 1, H))

        def forward(self, x):
            x = self.embedding(x) if embed else x
            h = self.h.expand(-1, x.shape[1], -1).contiguous()
            y, _ = self.lower(x, (h, torch.zeros_like(h)))
            y, _ = self.upper(y if between is None else between(y))
            y = self.readout(y)
            return y if after is None else after(y)

    torch.manual_seed(0)
    return Tagger()


@pytest.mark.parametrize("dynamic", [True, False])
def test_torch_model_with_readout_and_learned_state(dynamic):
    torch = pytest.importorskip("torch")
    module, x = tagger(torch), torch.randn(T, B, I)
    rnn, params = from_onnx(export(module, x, dynamic=dynamic))
    y = rnn.apply(params, x.numpy())[1]
    np.testing.assert_allclose(y, module(x).detach(), atol=1e-5)
    names = [cell.name for cell in rnn.plan.cells]
    assert names == ["learned_initial_state(lstm)"] * 2 + ["gru"]
    np.testing.assert_array_equal(params.layers[1].cell.initial.h, module.h[1, 0].detach())


def test_named_nodes_of_a_bigger_model():
    torch = pytest.importorskip("torch")
    module, x = tagger(torch, embed=True, after=torch.sigmoid), torch.randint(0, 7, (T, B))
    model = export(module, x)
    with refuses(r"'/lower/LSTM' must read the model's input, got 'x' .*Gather.*nodes=\[...\]"):
        from_onnx(model)
    rnn, params = from_onnx(model, nodes=["/lower/LSTM", "/lower/LSTM_1", "/upper/GRU"])
    y = rnn.apply(params, module.embedding(x).detach().numpy())[1]
    logits = module.readout(torch.from_numpy(np.array(y)))
    np.testing.assert_allclose(torch.sigmoid(logits).detach(), module(x).detach(), atol=1e-5)
    upper, _ = from_onnx(model, nodes=["/upper/GRU"])
    assert upper == drnn.deep_rnn(drnn.gru(3))
    with refuses("otherwise from LSTM '/lower/LSTM' to GRU '/upper/GRU'"):
        from_onnx(model, nodes=["/lower/LSTM", "/upper/GRU"])
    for wrong in (["/upper/LSTM"], "/upper/GRU", []):
        with refuses("nodes must be a list of names out of .*'/upper/GRU'"):
            from_onnx(model, nodes=wrong)


BETWEEN = {
    "relu": (lambda y: y.relu(), "'/lower/LSTM_1' to GRU"),
    "transposed": (lambda y: y.transpose(0, 1), "from LSTM"),  # time and batch
}
AFTER = {
    "sigmoid": (lambda y: y.sigmoid(), "Sigmoid"),
    "reversed": (lambda y: y.flip(0), "Slice"),
    "every other": (lambda y: y[::2], "Slice"),
    "permuted": (lambda y: y[..., [1, 0, 2, 3, 4, 5]], "Gather"),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("where", [*BETWEEN, *AFTER])
def test_what_is_between_and_after_is_refused(where, dtype):
    torch = pytest.importorskip("torch")
    message, options = "each layer must read what the one before gives.*", {}
    if where in BETWEEN:
        options["between"], said = BETWEEN[where]
    else:
        message = "outputs must be what the last layer gives.*"
        options["after"], said = AFTER[where]
    module, x = tagger(torch, **options), torch.randn(T, B, I)
    model = export(module.to(getattr(torch, dtype)), x.to(getattr(torch, dtype)))
    with refuses(message + said):
        from_onnx(model)


@pytest.mark.parametrize("steps", ["last", "some", "batch_first"])
def test_readouts_of_some_steps(steps):
    """The readout of steps is the steps of the readout."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    lstm, linear = torch.nn.LSTM(I, H, batch_first=steps == "batch_first"), torch.nn.Linear(H, H)

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.linear = lstm, linear

        def forward(self, x):
            y = self.lstm(x)[0]
            return self.linear({"last": y[-1], "some": y[1:3], "batch_first": y[:, -1]}[steps])

    module, x = Classifier(), torch.randn(T, B, I)
    rnn, params = from_onnx(export(module, x))
    assert rnn == drnn.deep_rnn(drnn.lstm(H), output_size=H)
    x = x.transpose(0, 1) if steps == "batch_first" else x
    y = rnn.apply(params, x.numpy())[1]
    expected = module(x.transpose(0, 1) if steps == "batch_first" else x).detach()
    np.testing.assert_allclose(y[1:3] if steps == "some" else y[-1], expected, atol=1e-5)

"""torch modules with random weights and biases, run on packed sequences."""

from typing import Any

import numpy as np

from tests.interop.recorded import Recorded

T, B, I = 6, 3, 3  # noqa: E741
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_tanh": ("RNN", {"hidden_size": 4, "num_layers": 2, "bidirectional": True}),
    "rnn_relu": ("RNN", {"hidden_size": 5, "nonlinearity": "relu", "bias": False}),
    "lstm": ("LSTM", {"hidden_size": 4, "num_layers": 3}),
    "lstm_projected": (
        "LSTM",
        {"hidden_size": 5, "num_layers": 2, "bidirectional": True, "proj_size": 3},
    ),
    "lstm_no_bias": ("LSTM", {"hidden_size": 4, "bias": False, "proj_size": 2}),
    "gru": ("GRU", {"hidden_size": 4, "num_layers": 2, "bidirectional": True}),
    "gru_no_bias": ("GRU", {"hidden_size": 5, "num_layers": 3, "bias": False}),
}
STORED = ("rnn_tanh", "lstm_projected", "gru")


def build(name: str, dtype: str = "float32", **options: Any) -> Any:
    """Give a module with weights drawn by NumPy, no bias zero."""
    import torch

    kind, settings = CASES[name]
    dtype_of_torch = getattr(torch, dtype)
    module = getattr(torch.nn, kind)(I, **settings, **options, dtype=dtype_of_torch)
    rng = np.random.default_rng(list(name.encode()))
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.from_numpy(rng.normal(size=weight.shape) * 0.5))
    return module


def record(module: Any, lengths=(6, 2, 4)) -> Recorded:
    """Run a module on a packed batch, with gradients."""
    import torch

    rng = np.random.default_rng(7)
    dtype = next(module.parameters()).dtype
    rows = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or module.hidden_size]
    if module.mode == "LSTM":
        sizes.append(module.hidden_size)

    def draw(*shape):
        return torch.from_numpy(rng.normal(size=shape)).to(dtype)

    x = draw(T, B, I).requires_grad_()
    state = tuple(draw(rows, B, size).requires_grad_() for size in sizes)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, list(lengths), enforce_sorted=False)
    packed, final = module(packed, state if len(state) == 2 else state[0])
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, total_length=T)
    final = final if isinstance(final, tuple) else (final,)
    w_y, w_final = draw(*y.shape), tuple(draw(*f.shape) for f in final)
    (w_y * y).sum().add(sum((w * f).sum() for w, f in zip(w_final, final, strict=True))).backward()

    def arrays(tensors):
        return tuple(tensor.detach().numpy() for tensor in tensors)

    return Recorded(
        weights={name: p.detach().numpy() for name, p in module.named_parameters()},
        x=x.detach().numpy(),
        lengths=np.array(lengths),
        state=arrays(state),
        w_y=w_y.numpy(),
        w_final=arrays(w_final),
        y=y.detach().numpy(),
        final=arrays(final),
        dx=x.grad.numpy(),
        dstate=arrays(one.grad for one in state),
    )


def stand_in(name: str, weights: dict[str, np.ndarray]) -> Any:
    """Give an object that reads as the module did, where there is no torch."""
    kind, settings = CASES[name]
    defaults = {"num_layers": 1, "bias": True, "bidirectional": False, "proj_size": 0}
    attributes = defaults | {"dropout": 0.0, "nonlinearity": "tanh"} | settings | weights
    return type(kind, (), attributes)()

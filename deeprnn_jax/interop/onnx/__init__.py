"""Networks from and to ONNX models: RNN, LSTM and GRU nodes, one after the other."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax.deep import DeepRNN, deep_rnn
from deeprnn_jax.interop import assembly
from deeprnn_jax.interop.onnx.cells import NUM_GATES
from deeprnn_jax.interop.onnx.chain import Chain, find_chain
from deeprnn_jax.interop.onnx.graph import Graph, operator_of
from deeprnn_jax.interop.onnx.nodes import initial_state, name_of, read_node, with_forward
from deeprnn_jax.interop.onnx.writing import MERGES, reverse_only, write_model
from deeprnn_jax.modifiers.learned_state import LearnedStateParams, learned_initial_state
from deeprnn_jax.parameters import DeepParams, Readout

__all__ = ["from_onnx", "reverse_only", "to_onnx"]


def from_onnx(model: Any, *, nodes: Sequence[str] | None = None) -> tuple[DeepRNN, DeepParams]:
    """Make a network and its parameters of the recurrent nodes of an ONNX model.

    What stands between the nodes may be anything that hands on what a node gives, its
    directions side by side or summed, with or without what it read added: it is evaluated
    on random numbers. So are the outputs: each must be what the last layer gives, as y, y[t] or
    y[a:b] along time, or a matrix product and a sum of that, which are the network's readout, or
    final states. The network is time-major, `[T, *B, I]`, whatever the model's layout, and gives
    every step: of a classifier of the last one, y[-1] are the logits. A product of a final state
    is refused: read the nodes alone, by `nodes`, and multiply `state` by its weights.

    What the model takes as `sequence_lens`, the same for all nodes, is `apply(..., lengths=n)`,
    and initial states that it takes are `apply(params, x, state)`; those that it holds become
    parameters, by `learned_initial_state`. A lone reverse node becomes a network of two
    directions, joined by `interop.onnx.reverse_only`, whose forward one has zeros for weights: so
    lengths mean what they do in the model.

    Args:
      model: an `onnx.ModelProto`, or a file's path; of opset 7 or newer.
      nodes: the names of the recurrent nodes to read (of an unnamed one, that of its Y), the
        model's other nodes being left out but for those between them; None: the model is
        recurrent nodes and a readout at most.

    Returns:
      The network and its parameters, in the model's dtype.

    Raises:
      ValueError: if the model does what a network does not: `clip`, an operator that is
        not ONNX's own, another activation function, weights, states or lengths that it computes
        of its input, outputs of a lower layer.
      ImportError: if onnx is not installed.

    Example:
      >>> import torch, jax.numpy as jnp                         # doctest: +SKIP
      >>> from deeprnn_jax import interop                        # doctest: +SKIP
      >>> module = torch.nn.LSTM(64, 256, num_layers=2)          # doctest: +SKIP
      >>> x = torch.zeros(100, 32, 64)                           # doctest: +SKIP
      >>> torch.onnx.export(module, x, "lstm.onnx", dynamo=False)  # doctest: +SKIP
      >>> rnn, params = interop.from_onnx("lstm.onnx")           # doctest: +SKIP
      >>> state, y = rnn.apply(params, jnp.ones((100, 32, 64)))  # doctest: +SKIP

    References:
      RNN, LSTM and GRU in "ONNX Operators"; `input_forget`, which that does not define, as
      onnxruntime has it, f = 1 - i.
    """
    graph = Graph(model)
    whole = nodes is None
    read = [read_node(graph, node, whole=whole) for node in _choose(graph, nodes)]
    chain = find_chain(graph, read, whole=whole)
    chain = chain._replace(layers=[with_forward(row) for row in chain.layers])
    rows = [[part for node in row for part in node.parts] for row in chain.layers]
    rnn, params = assembly.assemble("from_onnx", rows, merge=MERGES[chain.merge])
    return _complete(rnn, params, chain)


def to_onnx(rnn: DeepRNN, params: DeepParams, *, lengths: bool = False, state: bool = False) -> Any:
    """Make an ONNX model of a network.

    Args:
      rnn: a network of `elman`, `lstm` or `gru` layers, with or without a readout, residual
        skips and `learned_initial_state`; two directions by "concat" or "sum".
      params: its parameters, float32 or float16; float64 for other runtimes than onnxruntime.
      lengths: whether the model has the input `lengths` int32 `[B]`, in [0, T]; y is zero
        from there on.
      state: whether it has an input for each array of the state before the first step.

    Returns:
      An `onnx.ModelProto` of opset 17, to be written with `onnx.save`. It reads x
      `[T, B, I]`, any T and B (in onnxruntime of 1 or more), and with `state` the arrays of a
      state in the order of `jax.tree.leaves`, `initial_h_0`, `initial_c_0`, `initial_h_1` and so
      on; it gives y `[T, B, O]` and the arrays of the last state, `final_h_0` and so on. It
      computes in the parameters' dtype, whatever the network's `compute_dtype`, and drops nothing.

    Raises:
      ValueError: if ONNX has no such nodes.
      ImportError: if onnx is not installed.

    Example:
      >>> import jax, numpy as np, onnxruntime, deeprnn_jax as drnn  # doctest: +SKIP
      >>> from deeprnn_jax import interop                        # doctest: +SKIP
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2)         # doctest: +SKIP
      >>> params = rnn.init(jax.random.key(0), input_size=3)     # doctest: +SKIP
      >>> model = interop.to_onnx(rnn, params)                   # doctest: +SKIP
      >>> session = onnxruntime.InferenceSession(model.SerializeToString())  # doctest: +SKIP
      >>> session.run(["y"], {"x": np.ones((100, 32, 3), "f")})[0].shape     # doctest: +SKIP
      (100, 32, 8)
    """
    return write_model(rnn, params, lengths=lengths, state=state)


def _choose(graph: Graph, names: Sequence[str] | None) -> list[Any]:
    """Give the recurrent nodes to read, in the order in which x passes them."""
    recurrent = [node for node in graph.nodes if operator_of(node) in NUM_GATES]
    known = [name_of(node) for node in recurrent]
    if not recurrent:
        raise ValueError(
            "from_onnx: model must have nodes RNN, LSTM or GRU of ONNX itself, got "
            f"{sorted(set(map(operator_of, graph.nodes)))}; export it without quantising, fusing "
            "and unrolling"
        )
    if names is None:
        return recurrent
    is_list = isinstance(names, list | tuple) and len(names) > 0
    if not is_list or any(name not in known for name in names):
        raise ValueError(
            f"from_onnx: nodes must be a list of names out of {known}, got {names!r}; see "
            "model.graph.node"
        )
    return [node for node, name in zip(recurrent, known, strict=True) if name in names]


def _complete(rnn: DeepRNN, params: DeepParams, chain: Chain) -> tuple[DeepRNN, DeepParams]:
    """Put around a network's layers what a chain has around them."""
    dtype = rnn.plan.precision.param
    readout = chain.readout
    if readout is not None:
        readout = Readout(*(jnp.asarray(w, dtype) for w in readout))
    cells, layers = [], []
    for cell, layer, row in zip(rnn.plan.cells, params.layers, chain.layers, strict=True):
        initial = initial_state(row)
        if initial is not None:
            initial = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), initial)
            cell = learned_initial_state(cell)
            layer = layer._replace(cell=LearnedStateParams(layer.cell, initial))
        cells.append(cell)
        layers.append(layer)
    network = deep_rnn(
        cells,
        bidirectional=rnn.plan.merge is not None,
        merge=rnn.plan.merge or "concat",
        skip=chain.skip,
        output_size=None if readout is None else readout.b.size,
        param_dtype=dtype,
    )
    return network, DeepParams(tuple(layers), readout)

"""Flax's RNN and ours over any cell: the same numbers, by another loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from deeprnn_jax import interop
from tests.interop.recorded import assert_close, random_like

T, B, I, H = 5, 3, 3, 4  # noqa: E741
LENGTHS = np.array([5, 2, 3])
PLAIN = {"return_carry": True}
# Options are read by Flax itself, in either of its libraries: each meets each option once.
OPTIONS = [
    ("linen_gru", {}, None),
    ("linen_gru", {"return_carry": True, "unroll": 2, "time_major": True}, None),
    ("linen_gru", {"return_carry": True, "reverse": True, "keep_order": True}, LENGTHS),
    ("nnx_gru", {"return_carry": True, "unroll": 2}, LENGTHS),
    ("nnx_gru", {"reverse": True, "keep_order": True, "time_major": True}, None),
]


class Leaky(nn.RNNCellBase):
    """A linen cell as a user writes it, with dropout and a variable a step."""

    rate: float = 0.0

    @nn.compact
    def __call__(self, carry, x):
        h = nn.Dropout(self.rate)(nn.tanh(nn.Dense(H)(x) + nn.Dense(H)(carry)), self.rate == 0)
        seen = self.variable("statistics", "seen", lambda: jnp.zeros(()))
        if self.is_mutable_collection("statistics"):
            seen.value = h.mean()
        return 0.5 * carry + 0.5 * h, h

    def initialize_carry(self, rng, input_shape):
        del rng
        return jnp.zeros((*input_shape[:-1], H))

    @property
    def num_feature_axes(self):
        return 1


class NnxLeaky(nnx.nn.recurrent.RNNCellBase):
    """The same of nnx, which counts its steps."""

    def __init__(self, *, rate=0.0, rngs):
        self.read, self.loop = (nnx.Linear(n, H, rngs=rngs) for n in (I, H))
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.seen = nnx.BatchStat(jnp.zeros((), jnp.int32))

    def __call__(self, carry, x):
        self.seen[...] += 1
        h = self.dropout(nnx.tanh(self.read(x) + self.loop(carry)))
        return 0.5 * carry + 0.5 * h, h

    def initialize_carry(self, input_shape, rngs):
        del rngs
        return jnp.zeros((*input_shape[:-1], H))

    @property
    def num_feature_axes(self):
        return 1


CELLS = {
    "linen_optimized_lstm": nn.OptimizedLSTMCell(H),
    "linen_lstm": nn.LSTMCell(H),
    "linen_gru": nn.GRUCell(H),
    "linen_mgu": nn.MGUCell(H),
    "linen_simple": nn.SimpleCell(H, residual=True),
    "linen_conv_lstm": nn.ConvLSTMCell(2, (3,)),
    "linen_user": Leaky(),
    "nnx_optimized_lstm": nnx.OptimizedLSTMCell(I, H, rngs=nnx.Rngs(0)),
    "nnx_lstm": nnx.LSTMCell(I, H, rngs=nnx.Rngs(0)),
    "nnx_gru": nnx.GRUCell(I, H, rngs=nnx.Rngs(0)),
    "nnx_simple": nnx.SimpleCell(I, H, rngs=nnx.Rngs(0)),
    "nnx_user": NnxLeaky(rngs=nnx.Rngs(0)),
}
LIBRARIES = {"theirs": (nn.RNN, nnx.RNN), "ours": (interop.linen.RNN, interop.nnx.RNN)}
FLAX = pytest.mark.parametrize("name", ["linen_gru", "nnx_gru"])


def inputs(*shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


def inputs_of(name, **options):
    """Give inputs that a cell reads: a ConvLSTM's have an axis of places."""
    front = (T, B) if options.get("time_major") else (B, T)
    return inputs(*front, *((6, 2) if name == "linen_conv_lstm" else (I,)))


def make(library, name, **options):
    """Give a module's parameters, no bias zero, and the function `(params, x, **call)`."""
    linen, graph = LIBRARIES[library]
    if name.startswith("linen"):
        if name == "linen_user":
            options |= {"variable_axes": {"statistics": 0}}
        module = linen(CELLS[name], **options)
        shapes = jax.eval_shape(module.init, jax.random.key(0), inputs_of(name, **options))
        rest = {n: jax.tree.map(jnp.zeros_like, v) for n, v in shapes.items() if n != "params"}

        def run(params, x, **call):
            return module.apply({"params": params, **rest}, x, **call)

        return random_like(np.random.default_rng(2), shapes["params"]), run
    definition, params, rest = nnx.split(graph(CELLS[name], **options), nnx.Param, ...)

    def run_graph(params, x, **call):
        return nnx.merge(definition, params, rest, copy=True)(x, **call)

    return random_like(np.random.default_rng(2), params), run_graph


def assert_same_derivatives(name, lengths, **options):
    """Compare outputs and gradients of both libraries."""
    x = inputs_of(name, **options)
    (params, ours), (_, theirs) = (make(library, name, **options) for library in ("ours", "theirs"))
    both = jax.jit(lambda *at: [differentiate(run, lengths)(*at) for run in (ours, theirs)])
    assert_close(*both(params, x))


def differentiate(run, lengths):
    """Give the function of (params, x): outputs, and gradients of all that can have them."""

    def loss(params, x):
        found = run(params, x, seq_lengths=lengths)
        terms = [jnp.vdot(leaf, inputs(*leaf.shape)) for leaf in jax.tree.leaves(found)]
        return sum(terms), found

    return jax.grad(loss, (0, 1), has_aux=True)


@pytest.mark.parametrize("name", CELLS)
def test_any_cell(name):
    assert_same_derivatives(name, LENGTHS, **PLAIN)


@pytest.mark.parametrize(("name", "options", "lengths"), OPTIONS)
def test_options(name, options, lengths):
    assert_same_derivatives(name, lengths, **options)


@FLAX
def test_arguments_of_the_call(name):
    x, carry = inputs(T, B, I), inputs(B, H)
    call = {
        "initial_carry": carry,
        "time_major": True,
        "return_carry": True,
        "reverse": True,
        "keep_order": True,
    }
    (params, ours), (_, theirs) = (make(library, name) for library in ("ours", "theirs"))
    got, expected = (jax.jit(lambda p, x, f=f: f(p, x, **call))(params, x) for f in (ours, theirs))
    assert_close(got, expected)


@FLAX
def test_vmap(name):
    """Two members with parameters and inputs of their own, and their gradients."""
    params, run = make("ours", name, **PLAIN)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), params)
    runs = run, make("theirs", name, **PLAIN)[1]
    both = jax.jit(lambda *at: [jax.vmap(differentiate(one, LENGTHS))(*at) for one in runs])
    assert_close(*both(many, inputs(2, B, T, I)))


@pytest.mark.parametrize("name", CELLS)
def test_the_loop_is_a_recurrence(name):
    """One, whose carry holds no parameters."""
    params, run = make("ours", name)
    jaxpr = jax.make_jaxpr(run)(params, inputs_of(name)).jaxpr
    (loop,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name in ("recurrence", "scan")]
    assert loop.primitive.name == "recurrence"
    assert loop.params["num_carry"] <= 2


def test_linen_initial_parameters_are_theirs():
    x = inputs(B, T, I)
    ours, theirs = (linen(nn.GRUCell(H)) for linen, _ in LIBRARIES.values())
    variables = jax.jit(ours.init)(jax.random.key(0), x)
    assert_close(variables, jax.jit(theirs.init)(jax.random.key(0), x), 0)


def test_linen_variables_and_keys():
    """Dropout anew at each step, and a variable that it sets."""
    x, keys = inputs(B, T, I), {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    options = {
        "variable_axes": {"statistics": 0},
        "split_rngs": {"params": False, "dropout": True},
    }

    def run(linen):
        model = nn.Sequential([linen(Leaky(0.5), **options), linen(Leaky(0.5), **options)])
        variables = model.init(keys, x)
        return variables, model.apply(variables, x, rngs=keys, mutable=["statistics"])

    theirs, ours = jax.jit(lambda: [run(linen) for linen, _ in LIBRARIES.values()])()
    assert_close(ours, theirs, 1e-6)
    assert np.any(ours[0]["statistics"]["layers_0"]["cell"]["seen"])


def test_linen_bidirectional_takes_it():
    x = inputs(B, T, I)

    def run(linen):
        module = nn.Bidirectional(linen(nn.GRUCell(H)), linen(nn.GRUCell(H)))
        return module.init_with_output(jax.random.key(0), x, seq_lengths=LENGTHS)

    theirs, ours = jax.jit(lambda: [run(linen) for linen, _ in LIBRARIES.values()])()
    assert_close(ours, theirs)


def test_nnx_state_is_changed():
    """Counts, and keys: of dropout within the cell, and of the carry."""
    x = inputs(B, T, I)

    def run(graph):
        model = graph(NnxLeaky(rate=0.5, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
        rngs = nnx.Rngs(2)
        found = [model(x), nnx.jit(lambda model, x: model(x))(model, x), model(x, rngs=rngs)]
        assert int(model.cell.seen[...]) == 3 * T
        return found, nnx.to_pure_dict(nnx.state((model, rngs), nnx.Not(nnx.RngKey)))

    theirs, ours = (run(graph) for _, graph in LIBRARIES.values())
    assert not np.allclose(ours[0][0], ours[0][1])
    assert_close(ours, theirs, 1e-6)


def test_nnx_grad_and_bidirectional():
    x = inputs(B, T, I)

    def run(graph):
        rngs = nnx.Rngs(0)
        model = nnx.Bidirectional(*(graph(nnx.GRUCell(I, H, rngs=rngs)) for _ in range(2)))
        return nnx.to_pure_dict(nnx.jit(nnx.grad(lambda model: jnp.sum(model(x) ** 2)))(model))

    theirs, ours = (run(graph) for _, graph in LIBRARIES.values())
    assert_close(ours, theirs)

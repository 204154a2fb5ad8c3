"""`jax.export`: symbolic batches and lengths, and trees of ours written and read."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_close
from tests.exporting import called_in_a_fresh_process, written_and_read
from tests.registry import IN, B, T


# Every schedule in this test or in the next one.
@pytest.mark.parametrize("schedule", ["auto", "reference", "layerwise"])
def test_a_symbolic_batch(schedule):
    """Of a deep network, too, whose rule for "auto" asks how many rows there are."""
    depth = 16 if schedule == "auto" else 3
    rnn = drnn.deep_rnn(drnn.lstm(4), depth, output_size=2, skip="residual")
    params, _ = registry.shapes_of(rnn)
    (b,) = export.symbolic_shape("b")
    x = jax.ShapeDtypeStruct((T, b, IN), jnp.float32)
    lengths = jax.ShapeDtypeStruct((b,), jnp.int32)

    def run(params, x, lengths):
        return rnn.apply(params, x, lengths=lengths, schedule=schedule)

    run = jax.jit(run)
    again = written_and_read(export.export(run)(params, x, lengths))
    rng = registry.seed_of("export")
    params = registry.fill(rng, params, dtype=np.float32)
    for rows in (1, 6):
        x = rng.normal(size=(T, rows, IN)).astype(np.float32)
        lengths = np.full(rows, 3, np.int32)
        assert_close(again.call(params, x, lengths), run(params, x, lengths), 1e-6)


@pytest.mark.parametrize(
    ("schedule", "options", "sizes"),
    [
        ("auto", {"bidirectional": True}, (1, 7)),
        ("wavefront", {"dropout": 0.5}, (5,)),
        ("pipeline", {"dropout": 0.5}, (5,)),
    ],
)
def test_a_symbolic_length(schedule, options, sizes):
    """With all that a sequence can have beside it, and the gradient."""
    rnn = drnn.deep_rnn(drnn.gru(4), 2, **options)
    params, _ = registry.shapes_of(rnn)
    t, b = export.symbolic_shape("t, b")
    x = jax.ShapeDtypeStruct((t, b, IN), jnp.float32)
    lengths = jax.ShapeDtypeStruct((b,), jnp.int32)
    resets = jax.ShapeDtypeStruct((t, b), bool)
    seed = jax.ShapeDtypeStruct((2,), jnp.uint32)

    def run(params, x, lengths, resets, seed):
        state = rnn.initial_state(params, x.shape[1:-1])
        flags = {"lengths": lengths, "resets": resets}
        if not options.get("bidirectional"):
            flags["key"] = jax.random.wrap_key_data(seed)
        return rnn.apply(params, x, state, schedule=schedule, **flags)

    @jax.jit
    def both(params, *rest):
        def loss(params):
            found = run(params, *rest)
            return jnp.sum(found[1] ** 2), found

        return jax.grad(loss, has_aux=True)(params)

    again = written_and_read(export.export(both)(params, x, lengths, resets, seed))
    rng = registry.seed_of("export")
    values = registry.fill(rng, params, dtype=np.float32)
    for steps in sizes:
        args = (
            values,
            rng.normal(size=(steps, 3, IN)).astype(np.float32),
            np.array([steps, 0, 1], np.int32),
            rng.random((steps, 3)) < 0.3,
            np.array([1, 2], np.uint32),
        )
        assert_close(again.call(*args), both(*args), 1e-5)


def test_the_gradient_of_what_was_read():
    """`vjp_order=1` writes the backward pass, too."""
    rnn = drnn.deep_rnn(drnn.lstm(4), 2)
    params, _ = registry.shapes_of(rnn)
    t, b = export.symbolic_shape("t, b")
    x = jax.ShapeDtypeStruct((t, b, IN), jnp.float32)
    again = written_and_read(export.export(jax.jit(rnn.apply))(params, x), vjp_order=1)
    rng = registry.seed_of("export")
    values = registry.fill(rng, params, dtype=np.float32)
    x = rng.normal(size=(5, 3, IN)).astype(np.float32)

    def gradient(apply):
        return jax.grad(lambda params: jnp.sum(apply(params, x)[1] ** 2))(values)

    assert_close(gradient(again.call), gradient(rnn.apply), 1e-5)


def test_apply_step_and_a_train_step_in_a_fresh_process(tmp_path):
    """optax's states are no trees that `jax.export` writes: their leaves go in and out."""
    rnn = drnn.deep_rnn(drnn.lstm(4), 2, output_size=2, dropout=0.5)
    shapes, _ = registry.shapes_of(rnn)
    rng = registry.seed_of("export")
    params = registry.fill(rng, shapes, dtype=np.float32)
    optimizer = optax.adamw(1e-2)
    opt_state = optimizer.init(params)
    leaves, tree = jax.tree.flatten((params, opt_state))

    def train(leaves, x, y, seed):
        params, opt_state = jax.tree.unflatten(tree, leaves)
        key = jax.random.wrap_key_data(seed)

        def loss(params):
            return jnp.mean((rnn.apply(params, x, key=key)[1] - y) ** 2)

        value, grads = jax.value_and_grad(loss)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax has a float to the power of an int
            updates, opt_state = optimizer.update(grads, opt_state, params)
        return value, jax.tree.leaves((optax.apply_updates(params, updates), opt_state))

    x = rng.normal(size=(5, 3, IN)).astype(np.float32)
    state = jax.tree.map(np.asarray, rnn.apply(params, x)[0])
    seed = np.array([1, 2], np.uint32)
    t, b = export.symbolic_shape("t, b")
    symbolic = jax.ShapeDtypeStruct((t, b, IN), jnp.float32)
    row = jax.ShapeDtypeStruct((b, IN), jnp.float32)
    states = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((b, *leaf.shape[1:]), leaf.dtype), state
    )
    target = jax.ShapeDtypeStruct((t, b, 2), jnp.float32)
    programs = {
        "apply": (rnn.apply, (shapes, symbolic), (params, x)),
        "step": (rnn.step, (shapes, states, row), (params, state, x[0])),
        "train": (train, (leaves, symbolic, target, seed), (leaves, x, x[..., :2], seed)),
    }
    found = called_in_a_fresh_process(
        tmp_path,
        {
            name: (export.export(jax.jit(function))(*specs), args)
            for name, (function, specs, args) in programs.items()
        },
    )
    for name, (function, _, args) in programs.items():
        assert_close(found[name], jax.jit(function)(*args), 1e-6)


def test_first_states_of_a_symbolic_batch():
    """The size alone, as an int would be, not a tuple of it."""
    rnn = drnn.deep_rnn(drnn.lstm(4), 2)
    params, state = registry.shapes_of(rnn)
    t, b = export.symbolic_shape("t, b")
    x = jax.ShapeDtypeStruct((t, b, IN), jnp.float32)
    run = jax.jit(lambda params, x: rnn.initial_state(params, x.shape[1]))
    found = export.export(run)(params, x).out_avals
    assert [leaf.shape for leaf in found] == [(b, 4)] * len(jax.tree.leaves(state))


OWN = [
    name
    for name, one in registry.CELLS.items()
    if one.make(4).made.factory.__module__.startswith("deeprnn_jax")
]


@pytest.mark.parametrize("cell", OWN)
def test_parameters_states_and_gates_are_written_and_read(cell):
    """Their trees alone, of a function that does nothing."""
    made = registry.CELLS[cell].make(4)
    modified = registry.MODIFIERS[registry.all_on(cell)].make(made)
    x = jax.ShapeDtypeStruct((T, B, IN), jnp.float32)
    for one in (made, modified):
        options = {"skip": "highway", "normalize_inputs": True} if one.output_size == 4 else {}
        rnn = drnn.deep_rnn(one, 2, output_size=2, **options)
        params, state = registry.shapes_of(rnn)
        trees = params, state, jax.eval_shape(rnn.inspect, params, x, state)
        again = written_and_read(export.export(jax.jit(lambda *trees: trees))(*trees))
        assert again.in_tree == jax.tree.structure((trees, {}))
        assert again.out_tree == jax.tree.structure(trees)


@pytest.mark.parametrize("cell", ["gru", "qrnn", "mlstm"])
def test_programs_of_inspect_are_written_and_read(cell):
    rnn = drnn.deep_rnn(registry.CELLS[cell].make(4), 2, output_size=2)
    params, state = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, B, IN), jnp.float32)
    again = written_and_read(export.export(jax.jit(rnn.inspect))(params, x, state))
    found = jax.tree.unflatten(again.out_tree, again.out_avals)
    assert [type(one) for one in found[0]] == [type(one) for one in state]


@pytest.mark.parametrize("every", ["sqrt", 4])
def test_checkpoints_need_a_number_of_steps(every):
    rnn = drnn.deep_rnn(drnn.gru(4))
    params, _ = registry.shapes_of(rnn)
    t, b = export.symbolic_shape("t, b")
    x = jax.ShapeDtypeStruct((t, b, IN), jnp.float32)
    said = f"checkpoint_every must be None .* t, got {every!r}"
    run = jax.jit(lambda params, x: rnn.apply(params, x, checkpoint_every=every))
    with pytest.raises(ValueError, match=f"^apply: {said}"):
        export.export(run)(params, x)
    scan = jax.jit(lambda x: drnn.scan(lambda c, x: (c, x), 0.0, x, checkpoint_every=every))
    with pytest.raises(ValueError, match=f"^scan: {said}"):
        export.export(scan)(x)

"""Deep networks as values: chunks, steps, batch axes, transformations, depth."""

import itertools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests import oracle, programs, registry
from tests.comparing import assert_close
from tests.registry import ANY_CELL, IN, NETWORKS, B, T

each_schedule = pytest.mark.parametrize("schedule", ["reference", "layerwise"])
CAUSAL = [
    name
    for name, network in NETWORKS.items()
    if not network.bidirectional and ("(" not in name or name == "all(lstm)-deep")
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.core] * (name == "unequal")) for name in CAUSAL]
)
def test_chunks_and_steps_give_what_the_whole_gives(name):
    """Cut in two with the state handed on, and one step at a time: outputs and state."""
    network = NETWORKS[name]
    rnn = network.build()
    params, x, state, *_ = registry.data_for(network)

    @jax.jit
    def run(params, x, state):
        half, y_before = rnn.apply(params, x[:2], state, schedule="layerwise")
        cut, y_after = rnn.apply(params, x[2:], half, schedule="reference")
        stepped, y_steps = jax.lax.scan(lambda s, x_t: rnn.step(params, s, x_t), state, x)
        return (cut, jnp.concatenate([y_before, y_after])), (stepped, y_steps)

    expected = oracle.run(network.oracle(), params, x, state)
    for end, y in run(params, x, state):
        finals = [one._asdict() for one in end]
        assert_close((y, finals), (expected.y, expected.finals))


@pytest.mark.core
@pytest.mark.usefixtures("x64")
def test_batch_axes_of_any_rank():
    """Of rank 0, 2 and 3 as of rank 1: all flags, forward and backward, two directions."""
    rnn = NETWORKS["gru-both"].build()
    rng = registry.seed_of("rank")

    @jax.jit
    def run(params, x, state, flags):
        def loss(params, x, state):
            end, y = rnn.apply(params, x, state, **flags, schedule="layerwise")
            return jnp.sum(jnp.sin(y)), (end, y)

        grads, outputs = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(params, x, state)
        return *grads, *outputs

    for batch_shape in ((), (2, 3), (3, 1, 2)):
        count, rank = int(np.prod(batch_shape)), len(batch_shape)
        params, state = registry.fill(rng, registry.shapes_of(rnn, batch_shape=batch_shape))
        x = rng.normal(size=(T, *batch_shape, IN))
        flags = {
            "lengths": np.asarray(rng.integers(0, T + 1, size=batch_shape)),
            "mask": rng.random((T, *batch_shape)) < 0.8,
            "resets": rng.random((T, *batch_shape)) < 0.3,
        }

        def flat(tree, at, count=count, rank=rank):
            """Join the batch axes, which begin at axis `at`."""
            return jax.tree.map(
                lambda a: np.reshape(a, (*a.shape[:at], count, *a.shape[at + rank :])), tree
            )

        flat_flags = {k: flat(flag, 0 if k == "lengths" else 1) for k, flag in flags.items()}
        expected = run(params, flat(x, 1), flat(state, 1), flat_flags)
        d_params, dx, d_state, end, y = run(params, x, state, flags)
        assert y.shape == (T, *batch_shape, 2)
        assert_close((d_params, flat(dx, 1), flat(d_state, 1), flat(end, 1), flat(y, 1)), expected)
        start = jax.eval_shape(lambda p, shape=batch_shape: rnn.initial_state(p, shape), params)
        assert jax.tree.map(jnp.shape, start) == jax.tree.map(np.shape, state)


@pytest.mark.core
@pytest.mark.parametrize("batch_shape", [(), (2, 3)])
def test_noise_is_drawn_for_batch_axes_of_any_rank(batch_shape):
    network = NETWORKS["all(lstm)-deep"]
    rnn = network.build(param_dtype=jnp.float32)
    params, _ = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, *batch_shape, IN), jnp.float32)
    for schedule in ("reference", "layerwise"):
        end, y = jax.eval_shape(
            lambda p, x, schedule=schedule: rnn.apply(
                p, x, key=jax.random.key(0), schedule=schedule
            ),
            params,
            x,
        )
        assert y.shape == (T, *batch_shape, 4)
        assert {leaf.shape[:-1] for leaf in jax.tree.leaves(end)} == {batch_shape}


@pytest.mark.core
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "schedule"), [("all(gru_before)", "layerwise"), ("residual", "reference")]
)
def test_vmap_over_three_seeds_is_three_runs(name, schedule):
    """Of parameters, keys and inputs; forward and gradient."""
    network = NETWORKS[name]
    rnn = network.build()
    rng = registry.seed_of(f"seeds of {name}")
    shapes, _ = registry.shapes_of(rnn)
    params = [registry.fill(rng, shapes) for _ in range(3)]
    x = rng.normal(size=(3, T, B, IN))
    keys = jax.random.split(jax.random.key(1), 3)
    lengths, _, resets = registry.every_edge()

    def value_and_grad(params, x, key):
        def loss(params):
            flags = {"lengths": lengths, "resets": resets, "key": key}
            _, y = rnn.apply(params, x, **flags, schedule=schedule)
            return jnp.sum(jnp.sin(y)), y

        return jax.grad(loss, has_aux=True)(params)

    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
    together = jax.jit(jax.vmap(value_and_grad))(stacked, x, keys)
    alone = jax.jit(value_and_grad)
    for seed in range(3):
        expected = alone(params[seed], x[seed], keys[seed])
        assert_close(jax.tree.map(lambda a, seed=seed: a[seed], together), expected)


def test_init_and_state_go_through_vmap():
    rnn = drnn.deep_rnn(drnn.elman(4), 2)
    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.eval_shape(jax.vmap(lambda key: rnn.init(key, IN)), keys)
    state = jax.eval_shape(jax.vmap(lambda p: rnn.initial_state(p, B)), params)
    assert params.layers[1].cell.w_h.shape == (3, 4, 4)
    assert state[1].h.shape == (3, B, 4)


@pytest.mark.core
@pytest.mark.usefixtures("x64")
def test_apply_inside_scan_and_vmap_is_apply():
    """A loop over a document's pieces, over a batch axis that vmap takes away."""
    network = NETWORKS["gru"]
    rnn = network.build()
    params, x, state, *_ = registry.data_for(network)

    @jax.jit
    def run(params, x, state):
        def one_row(x, state):
            pieces = x.reshape(3, 2, IN)
            return jax.lax.scan(lambda s, piece: rnn.apply(params, piece, s), state, pieces)

        end, y = jax.vmap(one_row, in_axes=(1, 0), out_axes=(0, 2))(x, state)
        return (end, y.reshape(T, B, -1)), rnn.apply(params, x, state)

    assert_close(*run(params, x, state), 1e-12)


@pytest.mark.core
@each_schedule
def test_one_trace_under_jit(schedule):
    """New values, keys and flags of the same shapes trace nothing again."""
    traces = []

    def counting_tanh(z):
        traces.append(z.shape)
        return jnp.tanh(z)

    rnn = drnn.deep_rnn(drnn.zoneout(drnn.elman(3, counting_tanh), 0.2))
    params, state = registry.fill(
        registry.seed_of("trace"), registry.shapes_of(rnn), dtype=np.float32
    )
    lengths, _, resets = registry.every_edge()

    @jax.jit
    def grad(params, x, state, lengths, resets, key):
        def loss(params):
            flags = {"lengths": lengths, "resets": resets, "key": key}
            return jnp.sum(rnn.apply(params, x, state, **flags, schedule=schedule)[1])

        return jax.grad(loss)(params)

    def call(seed):
        x = np.random.default_rng(seed).normal(size=(T, B, IN)).astype(np.float32)
        grad(
            params, x, state, lengths - (lengths > seed), resets ^ (seed > 0), jax.random.key(seed)
        )
        rnn.apply(params, x, lengths=lengths, schedule=schedule)
        rnn.apply(params, x, lengths=lengths, schedule=schedule)
        rnn.step(params, state, x[0])

    call(0)
    count = len(traces)
    assert count > 0
    for seed in (1, 2):
        call(seed)
    assert len(traces) == count


@each_schedule
@pytest.mark.parametrize("with_gradient", [False, True])
def test_programs_do_not_grow_with_depth(schedule, with_gradient):
    """Equal layers are one loop: 9 and 20 of them, held stacked, make programs of one size."""

    def size_at(depth):
        cell = drnn.lstm(4)
        rnn = drnn.deep_rnn(
            cell, depth, dropout=0.1, skip="residual", output_size=2, stack_layers=True
        )
        params, _ = registry.shapes_of(rnn)
        assert len(params.layers) == 2
        assert params.layers[1].cell.w_h.shape == (depth - 1, 4, 16)

        def loss(params, x, key):
            return jnp.sum(rnn.apply(params, x, key=key, schedule=schedule)[1])

        x = jax.ShapeDtypeStruct((T, B, IN), jnp.float32)
        run = jax.grad(loss) if with_gradient else loss
        lowered = jax.jit(run).lower(params, x, jax.random.key(0))
        return lowered.as_text().count("\n")  # an operation a line

    assert size_at(9) == size_at(20)


def test_equal_layers_are_a_group_and_others_are_not():
    """Groups of neighbours that are equal; the first layer, which reads x, stands alone."""
    a, b = drnn.lstm(4), drnn.gru(4)

    def groups(*args, **options):
        return [group.size for group in drnn.deep_rnn(*args, **options).plan.groups]

    assert groups(a, 1) == [1]
    assert groups(a, 4) == [1, 3]
    assert groups([a, a, b, b, b, a]) == [1, 1, 3, 1]
    assert groups([drnn.lstm(4), drnn.lstm(4), drnn.lstm(4)]) == [1, 2]
    assert groups([drnn.lstm(4), drnn.lstm(4, forget_bias=2.0)]) == [1, 1]
    assert groups([drnn.lstm(5), drnn.lstm(4), drnn.lstm(4)]) == [1, 1, 1]
    assert groups(a, 4, skip="dense") == [1, 1, 1, 1]
    assert groups(a, 4, bidirectional=True, skip="residual") == [1, 3]


def test_unstack_and_stack_are_inverse():
    network = registry.stack_of("lstm_peepholes", depth=4)
    rnn = network.build(param_dtype=jnp.float32)
    params, state = registry.fill(
        registry.seed_of("stack"), registry.shapes_of(rnn), dtype=np.float32
    )
    for entries in (params.layers, state):
        together = rnn.stack(entries)
        assert [jax.tree.leaves(one)[0].shape[0] for one in together] == [1, 3]
        again = rnn.unstack(together)
        assert jax.tree.structure(again) == jax.tree.structure(entries)
        jax.tree.map(np.testing.assert_array_equal, again, entries)
    with pytest.raises(ValueError, match="needs one entry a group of equal layers"):
        rnn.unstack(((),))
    with pytest.raises(ValueError, match="needs one entry for each of the 4 layers, got 2"):
        rnn.stack(together)


@pytest.mark.core
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "schedule",  # written out; as a loop "reference" is the same but for the scan
    [name for name in sorted(ANY_CELL) if name != "reference"],
)
def test_layers_held_stacked_are_the_network(schedule):
    """Outputs, states, gradients and draws; and what init gives."""
    depth = 3
    network = registry.stack_of("lstm", "zoneout", depth=depth, size=3, dropout=0.3, output_size=2)
    apart, together = network.build(), network.build(stack_layers=True)
    params, x, state, lengths, _, resets = registry.data_for(network)
    flags = {"lengths": lengths, "resets": resets, "key": jax.random.key(5), "schedule": schedule}
    assert jax.tree.leaves(
        together.initial_state(params._replace(layers=apart.stack(params.layers)), 2)
    )[-1].shape == (depth - 1, 2, 3)

    @jax.jit
    def run(params, x, state):
        def loss(rnn, params, x, state):
            if rnn is together:
                params = params._replace(layers=apart.stack(params.layers))
                state = apart.stack(state)
            state, y = rnn.apply(params, x, state, **flags)
            if rnn is together:
                state = apart.unstack(state)
            return jnp.sum(jnp.sin(y)), (state, y)

        return [
            jax.grad(partial(loss, rnn), argnums=(0, 1, 2), has_aux=True)(params, x, state)
            for rnn in (apart, together)
        ]

    assert_close(*run(params, x, state), 1e-12)
    key = jax.random.key(0)
    found = together.init(key, 2)
    assert_close(together.unstack(found.layers), apart.init(key, 2).layers, 1e-14)
    assert_close(found.readout, apart.init(key, 2).readout, 0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("both", [False, True])
def test_layers_taken_apart_are_the_network(both):
    """One-layer networks one after the other, with the network's own parameters."""
    network = registry.stack_of("gru", depth=3, bidirectional=both)
    rnn = network.build()
    params, x, state, lengths, _, resets = registry.data_for(network)
    flags = {"lengths": lengths, "resets": resets}
    one = registry.stack_of("gru", depth=1, bidirectional=both).build()

    @jax.jit
    def run(params, x, state):
        y, ends = x, []
        for layer, start in zip(params.layers, state, strict=True):
            end, y = one.apply(drnn.DeepParams((layer,)), y, (start,), **flags)
            ends += end
        return (tuple(ends), y), rnn.apply(params, x, state, **flags)

    assert_close(*run(params, x, state), 1e-12)


@pytest.mark.usefixtures("x64")
def test_residual_of_a_cell_that_gives_zero_is_the_identity():
    """And a highway whose gate is shut, and one that is open."""

    def y_of(depth, skip, gate=None):
        rnn = registry.stack_of("elman", depth=depth, skip=skip).build()
        plain = registry.stack_of("elman", depth=depth).build()
        params = registry.fill(registry.seed_of("skip"), registry.shapes_of(plain)[0])
        first, *rest = params.layers
        if skip == "highway":
            gates = registry.fill(registry.seed_of("gates"), registry.shapes_of(rnn)[0]).layers
            rest = [
                one._replace(highway=two.highway) for one, two in zip(rest, gates[1:], strict=True)
            ]
        if gate is None:
            rest = [one._replace(cell=jax.tree.map(np.zeros_like, one.cell)) for one in rest]
        elif skip == "highway":
            rest = [
                one._replace(highway=one.highway._replace(b=0 * one.highway.b + gate))
                for one in rest
            ]
        params = params._replace(layers=(first, *rest))
        x = registry.seed_of("x").normal(size=(T, B, IN))
        return np.asarray(jax.jit(lambda p, x: rnn.apply(p, x)[1])(params, x))

    below = y_of(1, None)
    np.testing.assert_array_equal(y_of(3, "residual"), below)
    np.testing.assert_allclose(y_of(3, "highway", gate=-50.0), below, rtol=1e-12)
    np.testing.assert_allclose(y_of(3, "highway", gate=50.0), y_of(3, None, gate=0.0), rtol=1e-12)
    assert np.abs(y_of(3, None, gate=0.0) - below).max() > 0.1


@pytest.mark.usefixtures("x64")
@each_schedule
def test_a_network_of_one_direction_is_half_of_one_in_two(schedule):
    """The forward half is the network alone; the reverse half that of the turned rows."""
    network = registry.stack_of("gru", depth=1, bidirectional=True)
    params, x, *_ = registry.data_for(network)
    half = registry.stack_of("gru", depth=1)

    def direction(d):
        cell = jax.tree.map(lambda leaf: leaf[d], params.layers[0].cell)
        return params._replace(layers=(params.layers[0]._replace(cell=cell),))

    y = programs.forward(network, schedule, params, x).y
    forward = programs.forward(half, schedule, direction(0), x).y
    reverse = programs.forward(half, schedule, direction(1), x[::-1]).y[::-1]
    np.testing.assert_allclose(y, np.concatenate([forward, reverse], axis=-1), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_auto_is_layerwise_and_a_key_alone_means_training():
    network = NETWORKS["residual"]
    rnn = network.build()
    params, x, *_ = registry.data_for(network)
    key = jax.random.key(3)

    @jax.jit
    def run(params, x):
        return [
            rnn.apply(params, x, key=key)[1],
            rnn.apply(params, x, key=key, train=True, schedule="layerwise")[1],
            rnn.apply(params, x, key=key, train=False)[1],
            rnn.apply(params, x, train=False, schedule="layerwise")[1],
            rnn.apply(params, x)[1],
            rnn.apply(params, x, key=jax.random.key(4))[1],
        ]

    by_key, trained, *evaluated, other = (np.asarray(y) for y in run(params, x))
    np.testing.assert_array_equal(by_key, trained)
    for y in evaluated[1:]:
        np.testing.assert_array_equal(y, evaluated[0])
    assert np.abs(by_key - evaluated[0]).max() > 1e-3
    assert np.abs(by_key - other).max() > 1e-3


def test_raw_keys_are_keys():
    network = NETWORKS["residual"]
    rnn = network.build(param_dtype=jnp.float32)
    params, _ = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, B, IN), jnp.float32)
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    jax.eval_shape(lambda p, x, key: rnn.apply(p, x, key=key), params, x, key)


def test_empty_batches_are_empty():
    rnn = drnn.deep_rnn(drnn.gru(4), 2, bidirectional=True)
    params, _ = registry.shapes_of(rnn)
    end, y = jax.eval_shape(
        lambda p, x: rnn.apply(p, x), params, jax.ShapeDtypeStruct((T, 0, IN), jnp.float32)
    )
    assert y.shape == (T, 0, 8)
    assert end[0].h.shape == (2, 0, 4)


@pytest.mark.parametrize("schedule", ["layerwise", "wavefront"])
def test_the_gradient_of_an_empty_batch_is_zero(schedule):
    rnn = registry.stack_of("gru", depth=2).build(param_dtype=jnp.float32)
    params = registry.fill(registry.seed_of("empty"), registry.shapes_of(rnn)[0], dtype=np.float32)

    def loss(params):
        return jnp.sum(rnn.apply(params, jnp.zeros((T, 0, IN)), schedule=schedule)[1])

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(params)):
        assert not gradient.any()


@pytest.mark.parametrize(
    ("options", "input_size", "lengths"),
    [
        ({}, 3, [11]),  # the first reads x, and stands apart
        ({}, 5, [11]),
        ({"bidirectional": True}, 3, [11]),
        ({"skip": "residual"}, 3, [11]),
        ({"normalize_inputs": True}, 3, [11]),
        ({"stack_layers": True}, 3, [11]),
    ],
    ids=str,
)
def test_many_equal_layers_are_one_loop(options, input_size, lengths):
    rnn = drnn.deep_rnn(drnn.gru(3), 12, **options)
    params = jax.eval_shape(partial(rnn.init, input_size=input_size), jax.random.key(0))
    eqns = jax.make_jaxpr(rnn.apply)(params, jnp.zeros((5, 2, input_size))).eqns
    loops = [
        eqn.params["length"]
        for eqn in eqns
        if eqn.primitive.name == "scan" and eqn.params["length"] > 5
    ]
    assert loops == lengths


def test_many_equal_layers_give_the_numbers_of_their_steps():
    rnn = drnn.deep_rnn(drnn.gru(3), 12)
    params = rnn.init(jax.random.key(0), input_size=3)
    x = jax.random.normal(jax.random.key(1), (2, 4, 3))
    state, y = jax.jit(rnn.apply)(params, x)
    stepped, step = rnn.initial_state(params, 4), jax.jit(rnn.step)
    for t in range(2):
        stepped, y_t = step(params, stepped, x[t])
        np.testing.assert_allclose(y[t], y_t, atol=1e-6)
    chex.assert_trees_all_close(state, stepped, atol=1e-6)


def test_a_step_with_a_key_is_a_sequence_of_one_with_that_key():
    """As a decoder needs it that attends between two steps; without one nothing is drawn."""
    cell = drnn.variational_dropout(drnn.weight_drop(drnn.zoneout(drnn.lstm(8), 0.3), 0.4), 0.3)
    rnn = drnn.deep_rnn(cell, 2, dropout=0.5)
    params = rnn.init(jax.random.key(0), input_size=2)
    x_t = jax.random.normal(jax.random.key(1), (4, 2))
    step, apply = jax.jit(rnn.step), jax.jit(rnn.apply)
    state, _ = step(params, rnn.initial_state(params, 4), x_t)
    expected = {key: apply(params, x_t[None], state, key=jax.random.key(key)) for key in (2, 3)}
    for key, (end, y) in expected.items():
        found = step(params, state, x_t, key=jax.random.key(key))
        chex.assert_trees_all_close(found, (end, y[0]), atol=1e-6)
    plain = step(params, state, x_t)[1]
    outputs = [plain, *(y[0] for _, y in expected.values())]
    for one, other in itertools.combinations(outputs, 2):
        assert np.abs(one - other).max() > 1e-3


def test_what_has_more_than_one_axis_is_a_matrix():
    """The usual rule for weight decay: biases, gains and peepholes have one axis, alone."""
    cell = drnn.learned_initial_state(drnn.layer_norm(drnn.lstm(4, peepholes=True)))
    rnn = drnn.deep_rnn(cell, 4, skip="highway", normalize_inputs=True, output_size=2)
    params, _ = registry.shapes_of(rnn)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = path[-1].name
        assert (leaf.ndim > 1) == name.startswith("w"), (jax.tree_util.keystr(path), leaf.shape)
    assert len(params.layers) == 4

"""Mistakes in a user's cell: a ValueError at first use that says the remedy, or it works."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from tests.comparing import assert_close
from tests.registry import ANY_CELL, IN, B, T

SIZE = 4
each_schedule = pytest.mark.parametrize("schedule", sorted(ANY_CELL))


class State(NamedTuple):
    h: jax.Array


class Counting(NamedTuple):
    h: jax.Array
    count: jax.Array


def init(key, input_size):
    return jax.random.normal(key, (input_size, SIZE))


def zeros(params, batch_shape):
    return State(jnp.zeros((*batch_shape, SIZE)))


def step(params, state, x):
    h = jnp.tanh(x @ params + 0.5 * state.h)
    return State(h), h


make = partial(drnn.step_cell, init, zeros, step, SIZE, name="mine", output="h")


def first_use(cell, schedule="layerwise", num_layers=1, **options):
    rnn = drnn.deep_rnn(cell, num_layers, **options)
    params = rnn.init(jax.random.key(0), IN)
    return rnn.apply(params, jnp.ones((T, B, IN)), schedule=schedule)


def refuses(*parts):
    return pytest.raises(ValueError, match=".*".join(parts))


WRONG = {
    "another shape": (
        lambda p, s, x: (State(s.h[..., :2]), step(p, s, x)[1]),
        ("'mine'", r"state.h must be of shape \(5, 4\), got \(5, 2\)"),
    ),
    "another dtype": (
        lambda p, s, x: (State(s.h.astype(jnp.bfloat16)), step(p, s, x)[1]),
        ("'mine'", "state.h must be float32, got bfloat16"),
    ),
    "another structure": (
        lambda p, s, x: ((s.h,), step(p, s, x)[1]),
        ("'mine'", "state must be a State, got a tuple"),
    ),
    "y before the state": (
        lambda p, s, x: step(p, s, x)[::-1],
        ("'mine'", "state must be a State, got an array", "is y before the state"),
    ),
    "no pair": (
        lambda p, s, x: step(p, s, x)[0],
        ("'mine'", r"must give \(state, y\), got State"),
    ),
    "three": (
        lambda p, s, x: (*step(p, s, x), 0),
        ("'mine'", r"must give \(state, y\), got a tuple of 3"),
    ),
    "y of another width": (
        lambda p, s, x: (step(p, s, x)[0], x),
        ("'mine'", r"y must be \[\*B, output_size\] = \(5, 4\), got \(5, 3\)"),
    ),
}


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        *((name, "layerwise") for name in WRONG),
        *(("another shape", schedule) for schedule in ANY_CELL if schedule != "layerwise"),
    ],
)
def test_a_wrong_step_is_refused_in_words(name, schedule):
    wrong, parts = WRONG[name]
    cell = drnn.step_cell(init, zeros, wrong, SIZE, name="mine")
    with refuses("step of cell", *parts):
        first_use(cell, schedule)
    with refuses("step of cell", *parts):  # and while somebody traces
        jax.eval_shape(lambda: first_use(cell, schedule))


def test_the_update_of_a_split_cell_is_named():
    cell = drnn.elman(SIZE)
    wrong = cell._replace(name="mine", update=lambda p, s, x, h: (x + h, s))
    with refuses("update of cell 'mine'", "state must be a ElmanState, got an array", "before"):
        first_use(wrong)


@each_schedule
def test_a_state_without_the_batch_axes_is_refused(schedule):
    cell = drnn.step_cell(init, lambda p, b: State(jnp.zeros(SIZE)), step, SIZE, name="mine")
    with refuses("initial_state of cell 'mine'", r"batch_shape=\(5,\)", r"got \(4,\)", "state.h"):
        first_use(cell, schedule)


def test_a_declared_output_that_is_no_such_field_is_refused():
    with refuses("step of cell 'mine'", "output='c' says that y is that field"):
        first_use(drnn.step_cell(init, zeros, step, SIZE, name="mine", output="c"))


def array_cell(**options):
    """Make a cell whose state is an array."""

    def array_step(params, state, x):
        h = jnp.tanh(x @ params + 0.5 * state)
        return h, h

    def array_zeros(params, batch_shape):
        return jnp.zeros((*batch_shape, SIZE))

    return drnn.step_cell(init, array_zeros, array_step, SIZE, name="mine", **options)


@cache
def plain_cell():
    """Give what a cell with a NamedTuple comes to."""
    return first_use(make(), num_layers=3)


@each_schedule
def test_an_array_as_state_works(schedule):
    state, y = first_use(array_cell(), schedule, 3)
    expected = plain_cell()
    assert_close((tuple(map(State, state)), y), expected, 1e-6)
    np.testing.assert_array_equal(y[-1], state[-1])


def test_an_array_as_state_is_learned():
    state, _ = first_use(drnn.learned_initial_state(array_cell()))
    assert state[0].shape == (B, SIZE)


@pytest.mark.parametrize(
    ("modify", "parts"),
    [
        (
            lambda cell: drnn.zoneout(cell, 0.1),
            ("zoneout: the state of cell 'mine' must be a NamedTuple",),
        ),
        (
            lambda cell: drnn.variational_dropout(cell, 0.1),
            ("variational_dropout: the state of cell 'mine'", "field h"),
        ),
    ],
)
def test_an_array_as_state_under_what_needs_fields_is_refused(modify, parts):
    rnn = drnn.deep_rnn(modify(array_cell(output=False)))
    with refuses(*parts):
        params = rnn.init(jax.random.key(0), IN)
        rnn.apply(params, jnp.ones((T, B, IN)), key=jax.random.key(1))


def counting():
    """Make a cell that counts its steps, in whole numbers."""

    def count_zeros(params, batch_shape):
        return Counting(*zeros(params, batch_shape), jnp.zeros(batch_shape, jnp.int32))

    def count_step(params, state, x):
        h = jnp.tanh(x @ params + 0.5 * state.h)
        return Counting(h, state.count + 1), h

    return drnn.step_cell(init, count_zeros, count_step, SIZE, name="counting", output="h")


@pytest.mark.parametrize(("schedule", "zoned"), [(name, name != "layerwise") for name in ANY_CELL])
def test_an_integer_in_the_state_works(schedule, zoned):
    """Counted are the real steps since the last reset; the gradient passes by."""
    cell = drnn.zoneout(counting(), 0.2) if zoned else counting()
    rnn = drnn.deep_rnn(cell, 3)
    params = rnn.init(jax.random.key(0), IN)
    x = jax.random.normal(jax.random.key(1), (T, B, IN))
    resets = np.zeros((T, B), bool)
    resets[3, 1] = True
    flags = {"lengths": np.array([T, T, 2, 0, 1]), "resets": resets, "schedule": schedule}

    def loss(params):
        state, y = rnn.apply(params, x, key=jax.random.key(2), **flags)
        return jnp.sum(y**2), state

    @jax.jit
    def run(params, state):
        state, _ = rnn.apply(params, x, state, **flags)
        return state, *jax.grad(loss, has_aux=True)(params)

    state, grads, drawn = run(params, rnn.initial_state(params, B))
    again, *_ = run(params, state)
    for one in (*state, *drawn):
        np.testing.assert_array_equal(one.count, [T, T - 3, 2, 0, 1])
    np.testing.assert_array_equal(again[0].count, [2 * T, T - 3, 4, 0, 2])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_an_integer_is_not_learned():
    with refuses("learned_initial_state: all of the state must be floating", "int32", ".count"):
        drnn.deep_rnn(drnn.learned_initial_state(counting())).init(jax.random.key(0), IN)


def picky(size):
    """Make a cell that asserts on its input's size."""

    def picky_init(key, input_size):
        assert input_size % 3 == 0
        return init(key, input_size)

    return drnn.step_cell(picky_init, zeros, step, size, name="picky", output="h")


def test_init_is_not_called_for_parameters_that_are_there():
    """They may come from a file: neither for the state nor for a sequence or a step."""
    calls = []

    def counting_init(key, input_size):
        calls.append(input_size)
        return init(key, input_size)

    rnn = drnn.deep_rnn(drnn.step_cell(counting_init, zeros, step, SIZE, name="mine"), 2)
    params = jax.tree.map(np.asarray, rnn.init(jax.random.key(0), IN))
    assert calls
    calls.clear()
    state = rnn.initial_state(params, B)
    x = np.ones((T, B, IN), np.float32)
    rnn.apply(params, x, state)
    rnn.inspect(params, x)
    rnn.step(params, state, x[0])
    drnn.truncated(rnn, params, x, chunk_size=2)
    jax.grad(lambda p: jnp.sum(rnn.apply(p, x)[1]))(params)
    assert not calls
    rnn = drnn.deep_rnn(picky(SIZE))
    assert rnn.initial_state(rnn.init(jax.random.key(0), IN), 2)[0].h.shape == (2, SIZE)


def test_a_state_of_another_dtype_is_refused_and_a_scan_over_chunks_runs():
    rnn = drnn.deep_rnn(drnn.lstm(SIZE), 2)
    params = rnn.init(jax.random.key(0), IN)
    x = jnp.ones((4, 3, B, IN))
    state = rnn.initial_state(params, B)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), state)
    for run in (
        lambda: rnn.apply(params, x[0], narrow),
        lambda: rnn.step(params, narrow, x[0, 0]),
        lambda: jax.lax.scan(lambda s, x: rnn.apply(params, x, s), narrow, x),
    ):
        with refuses(r"state\[0\].h must be float32, got bfloat16", "initial_state"):
            run()
    jax.lax.scan(lambda s, x: rnn.apply(params, x, s), state, x)
    kept = drnn.deep_rnn(drnn.lstm(SIZE), 2, state_dtype=jnp.bfloat16)
    jax.lax.scan(lambda s, x: kept.apply(params, x, s), narrow, x)


class Other(NamedTuple):
    h: jax.Array


Other.__name__ = Other.__qualname__ = "ElmanState"


def test_what_differs_is_named_where_the_texts_would_read_the_same():
    """A list for a tuple, another class of the same name and fields, one of many arrays."""
    rnn = drnn.deep_rnn(drnn.elman(SIZE), 9)
    params = rnn.init(jax.random.key(0), IN)
    state = rnn.initial_state(params, B)
    x = jnp.ones((T, B, IN))
    with refuses("apply: state .* state must be a tuple, got a list"):
        rnn.apply(params, x, list(state))
    with refuses(r"state\[0\] must be a deeprnn_jax.cells.elman.ElmanState, got a .*ElmanState"):
        rnn.apply(params, x, tuple(Other(*one) for one in state))
    wrong = (*state[:7], drnn.elman(5).initial_state(params.layers[0].cell, (B,)), state[8])
    with refuses(r"state\[7\].h must be of shape \(5, 4\), got \(5, 5\)"):
        rnn.apply(params, x, wrong)
    layers = list(params.layers)
    layers[6] = layers[6]._replace(cell=layers[6].cell._replace(w_h=jnp.ones((SIZE, 5))))
    with refuses(r"params.layers\[6\].cell.w_h must be of shape \(4, 4\), got \(4, 5\)"):
        rnn.apply(params._replace(layers=tuple(layers)), x)


def test_lengths_on_a_device_are_not_waited_for():
    """Their values are not looked at; those of NumPy are."""
    rnn = drnn.deep_rnn(drnn.elman(SIZE))
    params = rnn.init(jax.random.key(0), IN)
    x = jnp.ones((T, B, IN))
    with refuses("lengths must be in"):
        rnn.apply(params, x, lengths=np.full(B, T + 1))
    lengths = jnp.full(B, T)
    with jax.transfer_guard_device_to_host("disallow"):
        rnn.apply(params, x, lengths=lengths)
    _, y = rnn.apply(params, x, lengths=jnp.full(B, T + 1))  # as under jit: not checked
    assert y.shape == (T, B, SIZE)


def test_numbers_of_64_bits_in_a_state_are_those_that_jax_makes_of_them():
    """A cell's NumPy zeros, fed back; and a Python number is no array."""

    def numpy_zeros(params, batch_shape):
        return Counting(np.zeros((*batch_shape, SIZE)), np.zeros(batch_shape, int))

    def count(params, state, x):
        h = jnp.tanh(x @ params + 0.5 * state.h)
        return Counting(h, state.count + 1), h

    rnn = drnn.deep_rnn(drnn.step_cell(init, numpy_zeros, count, SIZE, output="h"))
    params = rnn.init(jax.random.key(0), IN)
    x = jnp.ones((T, B, IN))
    state, _ = rnn.apply(params, x, rnn.initial_state(params, B))
    wide = jax.tree.map(
        lambda leaf: np.asarray(leaf).astype(np.asarray(leaf).dtype.kind + "8"), state
    )
    for run in (rnn.apply, jax.jit(rnn.apply)):
        assert run(params, x, wide)[0][0].count[0] == 2 * T
    wrong = drnn.step_cell(init, lambda p, b: Counting(jnp.zeros((*b, SIZE)), 0), count, SIZE)
    with refuses("initial_state of cell 'cell'", r"got \(\) for state.count"):
        first_use(wrong)


def test_what_is_drawn_is_checked():
    cell = drnn.elman(SIZE)
    once = cell._replace(
        name="mine", draw=lambda p, key, shape: (p, jax.random.normal(key, (SIZE,)))
    )
    bare = cell._replace(name="mine", draw=lambda p, key, shape: p.w_h)
    x = jnp.ones((T, B, IN))
    for wrong, part in (
        (once, r"begin with shape=\(6, 5\)"),
        (bare, r"must give \(params, noise\)"),
    ):
        rnn = drnn.deep_rnn(wrong)
        params = rnn.init(jax.random.key(0), IN)
        with refuses("draw of cell", part):
            rnn.apply(params, x, key=jax.random.key(1))


def test_the_users_own_error_is_not_lost():
    """Where `init` refuses the width that x has, and where the step itself raises."""
    rnn = drnn.deep_rnn(picky(SIZE))
    params = rnn.init(jax.random.key(0), IN)
    with pytest.raises(TypeError, match="dot_general"):
        rnn.apply(params, jnp.ones((T, B, 4)))

    def raising(params, state, x):
        raise ValueError("mine alone")

    cell = drnn.step_cell(init, zeros, raising, SIZE)
    with pytest.raises(ValueError, match="mine alone"):
        first_use(cell)


def test_parameters_by_name_in_a_dictionary():
    def named_step(params, state, x):
        h = jnp.tanh(x @ params["w_x"] + state.h @ params["w_h"])
        return State(h), h

    def named_init(key, input_size):
        return {"w_x": init(key, input_size), "w_h": jnp.eye(SIZE)}

    cell = drnn.weight_drop(drnn.step_cell(named_init, zeros, named_step, SIZE, output="h"), 0.5)
    rnn = drnn.deep_rnn(cell)
    params = rnn.init(jax.random.key(0), IN)
    x = jax.random.normal(jax.random.key(1), (T, B, IN))
    assert (
        np.abs(rnn.apply(params, x, key=jax.random.key(2))[1] - rnn.apply(params, x)[1]).max() > 0
    )


def test_a_function_that_cannot_be_hashed_does_not_join_directions():
    class Join:
        __hash__ = None

        def __call__(self, a, b):
            return a + b

    with refuses("deep_rnn: merge must be hashable"):
        drnn.deep_rnn(make(), bidirectional=True, merge=Join())

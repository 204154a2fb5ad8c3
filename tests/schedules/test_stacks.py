"""What a train step keeps, and where: read off the step, and off the compiled program."""

import re

import jax
import jax.numpy as jnp
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.schedules.program import trace
from deeprnn_jax.schedules.stacks import choose_stacks
from tests.compiling import compile_as_users_do
from tests.programs import as_if_large

B, H = 2, 8


def stacks_of(cell):
    """Give what is chosen for one step of a cell, and how many values a carry has."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), H))
    state = jax.eval_shape(lambda p: cell.initial_state(p, (B,)), params)
    leaves, structure = jax.tree.flatten((params, state))

    def step(*operands):
        params, state = jax.tree.unflatten(structure, operands[:-1])
        return jax.tree.leaves(cell.step(params, state, cell.project_input(params, operands[-1])))

    num_params = len(jax.tree.leaves(params))
    x = jax.ShapeDtypeStruct((B, H), jnp.float32)
    program = trace(step, leaves[:num_params], leaves[num_params:], [x])
    return choose_stacks(program, keep=True)


def widths(variables):
    return [var.aval.shape[-1] for var in variables]


@pytest.mark.parametrize(
    ("cell", "plain", "packs"),
    [
        # h; c as each step began; the gates
        (drnn.lstm(H), [H, H], [[H, H, H, H]]),
        (drnn.lstm(H, coupled=True), [H, H], [[H, H, H]]),
        # h; r, z and n, and what r is multiplied with
        (drnn.gru(H), [H], [[H, H, H], [H]]),
        # h, which tells all
        (drnn.elman(H), [H], []),
    ],
    ids=["lstm", "lstm coupled", "gru", "elman"],
)
def test_what_is_kept_of_a_step(cell, plain, packs):
    with as_if_large():
        stacks = stacks_of(cell)
    assert widths(stacks.plain) == plain
    assert [widths(pack) for pack in stacks.packs] == packs
    # a pack takes the place of the gates' projections
    assert widths(stacks.spent) == [sum(pack) for pack in packs if len(pack) > 1]


def test_small_arrays_are_not_packed():
    stacks = stacks_of(drnn.lstm(H))
    assert [widths(pack) for pack in stacks.packs] == [[H]] * 4
    assert not stacks.spent


def train_step(cell, num_steps, num_rows):
    """Compile the gradient of one layer by all that it is given."""
    rnn = drnn.deep_rnn(cell)
    params = jax.eval_shape(lambda key: rnn.init(key, cell.output_size), jax.random.key(0))
    x = jax.ShapeDtypeStruct((num_steps, num_rows, cell.output_size), jnp.float32)

    def loss(params, x):
        return jnp.mean(rnn.apply(params, x, schedule="layerwise")[1] ** 2)

    return compile_as_users_do(jax.jit(jax.grad(loss, argnums=(0, 1))).lower(params, x))


# Arrays [T, B, H]. LSTM: four gates, h, c, the cotangent of h, and what is copied to shift h.
# GRU: r, z, n, h_n, h, its cotangent, its shift, and 3 of the recurrent product's cotangent.
@pytest.mark.parametrize(
    ("cell", "num_arrays"), [(drnn.lstm(64), 8), (drnn.gru(64), 10)], ids=["lstm", "gru"]
)
def test_no_stack_is_copied_in_a_loop_and_none_is_superfluous(cell, num_arrays):
    num_steps, num_rows = 256, 4
    compiled = train_step(cell, num_steps, num_rows)
    copies = [
        line.strip()
        for body in re.findall(r"\n%(?:wide\.)?region.*?\n}", compiled.as_text(), flags=re.DOTALL)
        for line in body.splitlines()
        if re.search(rf"= f32\[{num_steps},\S* copy\(", line)
    ]
    assert not copies
    taken = compiled.memory_analysis().temp_size_in_bytes
    assert taken < (num_arrays + 0.25) * num_steps * num_rows * 64 * 4  # and the weights

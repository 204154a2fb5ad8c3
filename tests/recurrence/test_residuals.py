"""What is kept of a step for its gradient, and where: in words, in bytes, in the program."""

import re

import jax
import jax.numpy as jnp
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.recurrence.jaxprs import close
from deeprnn_jax.recurrence.linearize import linearize
from deeprnn_jax.recurrence.residuals import choose_residuals
from tests.compiling import compile_as_users_do

B, H = 2, 8


def residuals_of(step, *operands):
    """Give the widths of what is kept of a step `(*consts, carry..., x) -> (carry, y)`."""
    carry, x = operands
    leaves, structure = jax.tree.flatten((carry, x))

    def flat(*leaves):
        return jax.tree.leaves(step(*jax.tree.unflatten(structure, leaves)))

    closed = jax.make_jaxpr(flat)(*leaves)
    jaxpr = closed.jaxpr
    num_consts, num_carry = len(jaxpr.constvars), len(jax.tree.leaves(carry))
    jaxpr = jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars])
    split = linearize(close(jaxpr), num_consts, num_carry, (True,) * len(jaxpr.invars))
    widths = [[var.aval.shape[-1] for var in pack] for pack in split.joined]
    return widths, [one.kind for one in split.residuals if one.kind != "y"]


def step_of(cell):
    """Give a step of a cell, its carry and its input."""
    params = jax.tree.map(
        lambda shape: jnp.ones(shape.shape),
        jax.eval_shape(lambda: cell.init(jax.random.key(0), H)),
    )

    def step(state, x):
        return cell.step(params, state, cell.project_input(params, x))

    return step, cell.initial_state(params, (B,)), jnp.ones((B, H))


@pytest.mark.core  # jax 0.12 writes the derivative of tanh by an operation of its own
@pytest.mark.parametrize(
    ("cell", "packs"),
    [
        # the gates; c as each step began
        (drnn.lstm(H), [[H, H, H, H], [H]]),
        (drnn.lstm(H, coupled=True), [[H, H, H], [H]]),
        # r, z and n, and what r is multiplied with
        (drnn.gru(H), [[H, H, H], [H]]),
        # h tells all
        (drnn.elman(H), []),
    ],
    ids=["lstm", "lstm coupled", "gru", "elman"],
)
def test_what_is_kept_of_a_step(cell, packs):
    found, there = residuals_of(*step_of(cell))
    assert found == packs
    assert there == ["before", "x"] or there == ["x", "before"]


def test_a_large_value_is_computed_again_from_a_small_one():
    """Bahdanau's scores: tanh(keys + q) is 16 times q, and q gives it."""
    keys, w, v = jnp.ones((B, 16, H)), jnp.ones((H, H)), jnp.ones(H)

    def step(h, x):
        scores = jnp.tanh(keys + (h @ w)[:, None]) @ v
        h = h + jnp.einsum("bs,bsh->bh", jax.nn.softmax(scores), keys) + x
        return h, h

    packs, _ = residuals_of(step, jnp.ones((B, H)), jnp.ones((B, H)))
    assert all(width <= 16 for (width,) in packs)
    assert [H] in packs  # q


def test_a_result_of_which_the_derivative_is_known_is_kept_in_place_of_its_operand():
    def step(h, x):
        h = jnp.exp(jnp.tanh(h * x))
        return h, h

    closed = jax.make_jaxpr(lambda h, x: step(h, x)[0])(jnp.ones(3), jnp.ones(3)).jaxpr
    product, tanh, _ = (eqn.outvars[0] for eqn in closed.eqns)
    # tanh needs its result alone; of h * x, nothing
    kept = choose_residuals(
        closed.eqns, [tanh], {*closed.invars, product, tanh}, free={closed.invars[1]}
    )
    assert kept == [tanh]


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

"""What the schedules compile to: on which machines, in how many loops, in how many products.

Nothing is run. A machine without an accelerator lowers for one just as well.
"""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.recurrence.primitive import recurrence_p, run_by_rules
from tests import registry
from tests.jaxprs import eqns_of, jaxprs_in
from tests.programs import AS_IF_LARGE, as_if_large
from tests.registry import IN
from tests.user_cells import leaky

pytestmark = pytest.mark.core

# T + L - 1 = 13 is neither's own
STEPS, ROWS, LAYERS = 11, 2, 3
CAUSAL = registry.stack_of("lstm", "zoneout", depth=LAYERS, output_size=2, dropout=0.3)
BOTH = registry.stack_of("gru_before", "layer_norm", depth=2, bidirectional=True, dropout=0.3)
PRECISIONS = {
    "float32": {},
    "bfloat16": {"compute_dtype": jnp.bfloat16},
}
SCHEDULED = registry.scheduled(CAUSAL, BOTH)


def shapes_for(rnn):
    """Give the shapes of parameters, input and state."""
    params, state = registry.shapes_of(rnn, batch_shape=(ROWS,))
    return params, jax.ShapeDtypeStruct((STEPS, ROWS, IN), np.float32), state


def total(tree):
    return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(tree))


def with_gradient(run):
    """Give a function's gradient by all that it is given but the flags."""
    return jax.grad(lambda *args: total(run(*args)), argnums=(0, 1, 2))


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        *(("float32", name) for name in SCHEDULED if name != "layerwise-both"),
        ("bfloat16", "layerwise-both"),
        ("bfloat16", "wavefront"),
    ],
)
def test_lowers_for_accelerators(precision, name):
    """Forward and gradient, with every flag; in bfloat16 in chunks of two steps."""
    rnn = SCHEDULED[name].build(param_dtype=jnp.float32, **PRECISIONS[precision])

    def forward(params, x, state, lengths, resets, key):
        return rnn.apply(
            params,
            x,
            state,
            lengths=lengths,
            resets=resets,
            key=key,
            schedule=name.removesuffix("-both"),
            checkpoint_every=2 if precision == "bfloat16" else None,
        )

    flags = (
        jax.ShapeDtypeStruct((ROWS,), np.int32),
        jax.ShapeDtypeStruct((STEPS, ROWS), np.bool_),
        jax.eval_shape(lambda: jax.random.key(0)),
    )
    args = (*shapes_for(rnn), *flags)
    for function in (forward, with_gradient(forward)):
        exported = jax.export.export(jax.jit(function), platforms=["cuda", "tpu"])(*args)
        assert set(exported.platforms) == {"cuda", "tpu"}
        assert "stablehlo.while" in exported.mlir_module()


def causal(schedule, depth):
    """Give a plain network's gradient and the shapes of what it is given."""
    rnn = registry.stack_of("lstm", depth=depth).build(param_dtype=jnp.float32)
    return with_gradient(partial(rnn.apply, schedule=schedule)), shapes_for(rnn)


def loops_of(compiled):
    """Give the direction and the number of turns of each loop of a compiled gradient."""
    found = []
    for line in compiled.as_text().splitlines():
        if re.search(r"= .* while\(", line):
            (turns,) = re.findall(r'"known_trip_count":\{"n":"(\d+)"', line)
            (name,) = re.findall(r'op_name="([^"]*)"', line)
            found.append(("backward" if "transpose" in name else "forward", int(turns)))
    return sorted(found)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("wavefront", [("backward", STEPS + LAYERS - 1), ("forward", STEPS + LAYERS - 1)]),
        ("layerwise", [("backward", STEPS)] * LAYERS + [("forward", STEPS)] * LAYERS),
    ],
)
def test_loops_of_a_gradient(schedule, expected):
    function, shapes = causal(schedule, LAYERS)
    assert loops_of(jax.jit(function).lower(*shapes).compile()) == expected


def products_in_loops(function, shapes):
    """Give the shapes of the operands of all products in each loop, as on CPU."""
    recurrences = [
        eqn
        for eqn in eqns_of(jax.make_jaxpr(function)(*shapes).jaxpr)
        if eqn.primitive is recurrence_p
    ]
    lowered = [
        jax.make_jaxpr(partial(run_by_rules, rules=AS_IF_LARGE, **eqn.params))(
            *(jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in eqn.invars)
        ).jaxpr
        for eqn in recurrences
    ]
    loops = [
        eqn
        for jaxpr in lowered
        for eqn in eqns_of(jaxpr)
        if eqn.primitive.name in ("while", "scan")
    ]
    return [
        [
            tuple(var.aval.shape for var in eqn.invars)
            for body in jaxprs_in([loop.params.get("body_jaxpr", loop.params.get("jaxpr"))])
            for eqn in eqns_of(body)
            if eqn.primitive.name == "dot_general"
        ]
        for loop in loops
    ]


@pytest.mark.parametrize("schedule", ["layerwise", "wavefront"])
def test_products_are_as_precise_as_their_author_asks(schedule):
    """Else an accelerator rounds those that the schedule writes, and no others."""
    cell = leaky(3)
    precise = cell._replace(
        project_input=lambda params, x: jnp.dot(x, params.w_x, precision="highest"),
        project_state=lambda params, state: jnp.dot(state.h, params.w_h, precision="highest"),
    )
    rnn = drnn.deep_rnn(precise, 3)
    params, state = registry.shapes_of(rnn, IN, (ROWS,))
    shapes = (params, jax.ShapeDtypeStruct((STEPS, ROWS, IN), np.float32), state)
    forward = partial(rnn.apply, schedule=schedule)
    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    for function in (forward, with_gradient(forward)):
        for one in (function, as_if_large(function)):
            jaxpr = jax.make_jaxpr(one)(*shapes).jaxpr
            products = [eqn for eqn in eqns_of(jaxpr) if eqn.primitive.name == "dot_general"]
            assert products
            assert {eqn.params["precision"] for eqn in products} == {highest}


def test_equal_layers_are_one_product_on_a_diagonal():
    """The first layer reads x and stands alone; one product does for the three above."""
    depth, size = 4, registry.H
    alone, above = (ROWS, size), (depth - 1, ROWS, size)
    gates, above_gates = (ROWS, 4 * size), (depth - 1, ROWS, 4 * size)
    w_h, above_w = (size, 4 * size), (depth - 1, size, 4 * size)
    back, above_back = w_h[::-1], (depth - 1, 4 * size, size)

    forward, backward = products_in_loops(*causal("wavefront", depth))
    # of what is below, and of the state
    assert sorted(forward) == sorted([(alone, w_h), (above, above_w), (above, above_w)])
    assert sorted(backward) == sorted(
        [(gates, back), (above_gates, above_back), (above_gates, above_back)]
    )


def test_a_forward_pass_is_one_loop_on_diagonals():
    rnn = registry.stack_of("lstm", depth=LAYERS).build(param_dtype=jnp.float32)
    forward = partial(rnn.apply, schedule="wavefront")
    (products,) = products_in_loops(forward, shapes_for(rnn))
    batched = [shapes for shapes in products if len(shapes[0]) == 3]
    assert len(batched) == 2
    assert len(products) == 3  # x is multiplied before

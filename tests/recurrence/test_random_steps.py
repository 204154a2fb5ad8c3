"""`scan` of random steps: what `lax.scan` gives, with all derivatives, and in batches.

An example is a step and how it is run. More of them: pytest --hypothesis-profile thorough.
"""

from typing import NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

from deeprnn_jax.recurrence import scan
from tests import registry
from tests.programs import as_if_large
from tests.recurrence.scans import Scan, draw_weights
from tests.recurrence.steps import B, RandomStep, random_steps, scan_of

pytestmark = pytest.mark.usefixtures("x64")
# Each is compiled: 10 by default.
enough = settings(max_examples=settings.default.max_examples * 2 // 3)
N = 2  # of a batch


class Way(NamedTuple):
    """How a step is run."""

    length: int
    reverse: bool
    unroll: int
    checkpoint_every: int | None
    large: bool  # whether the arrays are taken for large ones


ways = st.builds(
    Way,
    length=st.sampled_from([4, 2, 5, 1]),
    reverse=st.booleans(),
    unroll=st.sampled_from([1, 1, 2]),
    checkpoint_every=st.sampled_from([None, None, None, 1, 2, 3]),
    large=st.booleans(),
)


def draw(step: RandomStep, way: Way):
    """Give the operands, a direction and the flags."""
    rng = registry.seed_of(f"{step}")
    shapes = (
        [*step.params],
        [*step.carry],
        [(way.length, *shape) for shape in step.xs],
    )
    point, direction = (
        [[scale * rng.normal(size=shape) for shape in part] for part in shapes]
        for scale in (0.5, 1.0)
    )
    flags = rng.integers(0, 3, size=way.length), rng.random((way.length, B)) < 0.6
    return tuple(point), tuple(direction), flags


def both_scans(step, way, flags, *point):
    """Give JAX's scan, and the library's."""
    options = {"reverse": way.reverse, "unroll": way.unroll}
    expected = scan_of(step, lax.scan, flags, **options)
    weights = draw_weights(registry.seed_of(f"weights of {step}"), expected, *point)
    got = scan_of(step, scan, flags, **options, checkpoint_every=way.checkpoint_every)
    return Scan(got, weights), Scan(expected, weights, apart=False)


def assert_agree(way, found, expected):
    """Compare trees by kinds; all numbers of a kind have one scale, its largest."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for kind, wanted in expected.items():
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(wanted)]
        scale = max([np.abs(leaf).max() for leaf in leaves], default=0.0)
        assume(scale < 1e6)  # what explodes, rounds as it explodes
        for got, leaf in zip(jax.tree.leaves(found[kind]), leaves, strict=True):
            got = np.asarray(got)
            assert (got.dtype, got.shape) == (leaf.dtype, leaf.shape), kind
            np.testing.assert_allclose(
                got, leaf, rtol=0, atol=1e-10 * max(1.0, scale), err_msg=kind
            )


@enough
@given(random_steps(), ways)
def test_derivatives_of_random_steps(step, way):
    """Outputs, gradient, jvp, and H·d by both routes."""
    point, direction, flags = draw(step, way)
    got, expected = both_scans(step, way, flags, *point)

    @jax.jit
    def run(point, direction):
        def kinds(one, is_expected):
            (outputs, grads), (slopes, hessian) = one.forward_mode(point, direction)
            return {
                "outputs": (outputs, outputs if is_expected else one.run(*point)),
                "jvp": slopes,
                "gradient": grads,
                "forward over reverse": hessian,
                "reverse over reverse": hessian
                if is_expected
                else one.reverse_over_reverse(point, direction),
            }

        return kinds(got, False), kinds(expected, True)

    run = jax.jit(as_if_large(run)) if way.large else run
    found, wanted = run(point, direction)
    assert_agree(way, found, wanted)


@enough
@given(random_steps(), ways, st.data())
def test_batches_of_random_steps(step, way, data):
    """`vmap` over some of the operands: of a scan and its gradient, and the gradient of that."""
    point, _, flags = draw(step, way)
    got, expected = both_scans(step, way, flags, *point)
    leaves, structure = jax.tree.flatten(point)
    chosen = data.draw(
        st.lists(st.booleans(), min_size=len(leaves), max_size=len(leaves)).filter(any), "batched"
    )
    axes = [data.draw(st.integers(0, leaf.ndim), "axis") if one else None
            for leaf, one in zip(leaves, chosen, strict=True)]  # fmt: skip
    rng = registry.seed_of(f"batch of {step}")
    leaves = [
        leaf if axis is None else 0.5 * rng.normal(size=(*leaf.shape[:axis], N, *leaf.shape[axis:]))
        for leaf, axis in zip(leaves, axes, strict=True)
    ]
    batched, axes = structure.unflatten(leaves), structure.unflatten(axes)

    @jax.jit
    def run(*operands):
        def kinds(one):
            outputs, grads = jax.vmap(lambda *at: one.first_order(at), in_axes=axes)(*operands)
            whole = Scan(jax.vmap(one.run, in_axes=axes), repeated)
            return {
                "outputs": outputs,
                "gradients": grads,
                "gradient of the batch": whole.first_order(operands),
            }

        repeated = [np.stack([w] * N) for w in one_weight]
        return kinds(got), kinds(expected)

    one_weight = expected.weights
    run = jax.jit(as_if_large(run)) if way.large else run
    found, wanted = run(*batched)
    assert_agree(way, found, wanted)

"""What holds for any lengths, masks and resets, looked for by hypothesis.

The shapes, and so the compiled programs, are those of the contract tests.
"""

from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import oracle, programs, registry
from tests.comparing import assert_close
from tests.registry import NETWORKS, B, T

pytestmark = pytest.mark.usefixtures("x64")
NAMES = ["lstm", "gru_before-both", "all(elman)", "dense-product-both", "deep_transition-both"]
each_network = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NAMES]
)
each_schedule = pytest.mark.parametrize("schedule", ["reference", "layerwise"])

lengths_of_rows = hnp.arrays(np.int64, B, elements=st.integers(0, T))
flags_of_steps = hnp.arrays(bool, (T, B))


@cache
def case(name):
    """Give a network, its data and cotangents for all but the gates."""
    network = NETWORKS[name]
    data = registry.data_for(network, "properties")
    rng = registry.seed_of(f"properties of {name}")
    shapes = oracle.run(network.oracle(), *data)
    weights = jax.tree.map(lambda a: rng.normal(size=a.shape), shapes)
    weights = weights._replace(gates=jax.tree.map(np.zeros_like, weights.gates))
    return network, data, weights


def run(name, schedule, **changes):
    network, data, weights = case(name)
    return programs.run(network, data._replace(**changes), weights, schedule)


@each_network
@each_schedule
@given(lengths=lengths_of_rows, mask=flags_of_steps, resets=flags_of_steps)
def test_any_flags_mean_what_the_oracle_says(name, schedule, lengths, mask, resets):
    network, data, _ = case(name)
    flags = {"lengths": lengths, "mask": mask, "resets": resets}
    expected = oracle.run(network.oracle(), *data[:3], **flags)
    assert_close(run(name, schedule, **flags).outputs, expected)


@each_network
@given(lengths=lengths_of_rows, mask=flags_of_steps, resets=flags_of_steps)
def test_schedules_agree_on_any_flags(name, lengths, mask, resets):
    """In every gradient too."""
    flags = {"lengths": lengths, "mask": mask, "resets": resets}
    assert_close(run(name, "layerwise", **flags), run(name, "reference", **flags))


@each_network
@each_schedule
@given(mask=flags_of_steps, resets=flags_of_steps, junk=st.sampled_from([np.nan, -np.inf, 1e300]))
def test_what_masked_steps_hold_is_never_seen(name, schedule, mask, resets, junk):
    """Their x, their resets: outputs and gradients are bit by bit the same."""
    full = np.full(B, T)
    expected = run(name, schedule, lengths=full, mask=mask, resets=resets & mask)
    x = np.where(mask[..., None], case(name)[1].x, junk)
    got = run(name, schedule, lengths=full, mask=mask, resets=resets | ~mask, x=x)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert not np.any(got.grads[1][~mask])


@each_network
@each_schedule
@given(order=st.permutations(range(B)), lengths=lengths_of_rows, resets=flags_of_steps)
def test_rows_in_another_order_give_the_same_rows(name, schedule, order, lengths, resets):
    data = case(name)[1]
    order, mask = list(order), np.ones((T, B), bool)
    result = run(name, schedule, lengths=lengths, mask=mask, resets=resets)
    turned = run(
        name,
        schedule,
        x=data.x[:, order],
        state=jax.tree.map(lambda a: a[..., order, :], data.state),
        lengths=lengths[order],
        mask=mask,
        resets=resets[:, order],
    )
    np.testing.assert_allclose(turned.outputs.y, result.outputs.y[:, order], rtol=1e-12)


@each_network
@each_schedule
@given(mask=flags_of_steps, resets=flags_of_steps, to=st.sampled_from(["left", "right"]))
def test_where_the_padding_lies_does_not_count(name, schedule, mask, resets, to):
    """Real steps moved to one side: the same outputs in their order, the same state."""
    data = case(name)[1]
    keys = mask if to == "left" else ~mask
    order = np.argsort(keys, axis=0, kind="stable")  # real steps last, or first

    def moved(a):
        where = order.reshape(order.shape + (1,) * (a.ndim - 2))
        return np.take_along_axis(a, where, axis=0)

    full = np.full(B, T)
    apart = run(name, schedule, lengths=full, mask=mask, resets=resets)
    packed = run(
        name, schedule, lengths=full, mask=moved(mask), resets=moved(resets), x=moved(data.x)
    )
    np.testing.assert_allclose(packed.outputs.y, moved(apart.outputs.y), rtol=1e-12, atol=1e-14)
    assert_close(packed.outputs.finals, apart.outputs.finals, 1e-12)


@each_network
@each_schedule
@given(resets=flags_of_steps, scale=st.sampled_from([1e-3, 1.0, 30.0]), seed=st.integers(0, 3))
def test_any_values_agree_with_the_oracle(name, schedule, resets, scale, seed):
    """Small inputs, and ones at which every gate is shut."""
    network, data, _ = case(name)
    x = scale * np.random.default_rng(seed).normal(size=data.x.shape)
    flags = {"lengths": np.full(B, T), "mask": np.ones((T, B), bool), "resets": resets}
    expected = oracle.run(network.oracle(), data.params, x, data.state, **flags)
    assert_close(run(name, schedule, x=x, **flags).outputs, expected, 1e-9)

"""Lengths to pad to: those of the least padding."""

import itertools

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.common.padding import best_bounds


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 10), st.integers(1, 4))
@example([1, 1, 2, 4, 4, 4, 5, 7, 7, 9, 12], 3, 2)
def test_bounds_of_least_padding_against_all_there_are(lengths, number, batch_size):
    def cost(bounds):
        rows = np.bincount(np.searchsorted(bounds, lengths), minlength=len(bounds))
        batches = -(-rows // batch_size)
        return sum(batches * batch_size * bounds)

    present = sorted(set(lengths))
    all_bounds = [
        (*chosen, present[-1])
        for k in range(number)
        for chosen in itertools.combinations(present[:-1], k)
    ]
    least = min(map(cost, all_bounds))
    # Of equal ones that of the smallest bounds: they decide what a step reads.
    expected = min(bounds for bounds in all_bounds if cost(bounds) == least)
    assert best_bounds(np.array(lengths), number, batch_size) == expected

"""Comparing trees of arrays."""

import jax
import numpy as np


def assert_close(got, expected, tolerance=1e-10):
    """Compare two trees in structure, dtype and value; an expected NaN allows anything."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(expected), strict=True
    ):
        a, b, where = np.asarray(a), np.asarray(b), jax.tree_util.keystr(path)
        assert a.dtype == b.dtype, where
        assert a.shape == b.shape, where
        a = np.where(np.isnan(b), b, a)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=where)


def assert_same(got, expected):
    """Compare two trees bit by bit."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, got, expected)

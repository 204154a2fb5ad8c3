"""Temperature, top-k and top-p at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax.decoding import Sampling, restrict_logits, sample_logits

P = np.array([0.1, 0.5, 0.15, 0.25], np.float32)
LOGITS = jnp.log(P)


def kept(logits, **settings):
    return np.flatnonzero(np.isfinite(restrict_logits(logits, Sampling(**settings)))).tolist()


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [(1, [1]), (2, [1, 3]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (99, [0, 1, 2, 3])],
)
def test_top_k(top_k, expected):
    assert kept(LOGITS, top_k=top_k) == expected


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1e-9, [1]),  # never empty
        (1e-50, [1]),  # not even where float32 has 0
        (0.49, [1]),
        (0.51, [1, 3]),
        (0.74, [1, 3]),
        (0.76, [1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p(top_p, expected):
    assert kept(LOGITS, top_p=top_p) == expected


def test_top_p_is_of_what_top_k_left():
    # Of {1, 3} alone, 1 has 2/3: enough for 0.6, where of all four it has 1/2.
    assert kept(LOGITS, top_p=0.6) == [1, 3]
    assert kept(LOGITS, top_k=2, top_p=0.6) == [1]


def test_equal_logits_leave_exactly_k():
    assert kept(jnp.zeros(5), top_k=3) == [0, 1, 2]


def test_restrict_leaves_what_it_keeps_and_works_row_by_row():
    rows = jnp.stack([LOGITS, LOGITS[::-1]])
    out = restrict_logits(rows, Sampling(top_k=2))
    assert out.dtype == rows.dtype
    np.testing.assert_array_equal(out[0], jnp.where(P >= 0.25, LOGITS, -jnp.inf))
    np.testing.assert_array_equal(out[1], out[0][::-1])


def test_restrict_keeps_bfloat16_and_sums_in_float32():
    # In bfloat16 a sum of 300 probabilities of 1/300 stops growing long before 0.9.
    out = restrict_logits(jnp.zeros(300, jnp.bfloat16), Sampling(top_p=0.9))
    assert out.dtype == jnp.bfloat16
    assert abs(int(jnp.isfinite(out).sum()) - 270) <= 1
    assert kept(jnp.asarray(LOGITS, jnp.bfloat16), top_k=2, top_p=0.6) == [1]


def test_restrict_under_jit_and_vmap_takes_settings_as_they_are():
    rows = jnp.stack([LOGITS, LOGITS[::-1]])
    settings = Sampling(top_k=3, top_p=0.8)
    expected = restrict_logits(rows, settings)
    np.testing.assert_array_equal(jax.jit(restrict_logits)(rows, settings), expected)
    np.testing.assert_array_equal(
        jax.vmap(lambda row: restrict_logits(row, settings))(rows), expected
    )


def test_temperature_zero_is_greedy_and_needs_no_key():
    drawn = sample_logits(jax.random.key(0), jnp.stack([LOGITS] * 8), Sampling(0.0, None, 1.0))
    assert drawn.tolist() == [1] * 8
    assert drawn.dtype == jnp.int32


def test_a_tiny_temperature_is_nearly_greedy_and_finite():
    drawn = sample_logits(jax.random.key(0), jnp.stack([LOGITS] * 64), Sampling(1e-30))
    assert set(drawn.tolist()) == {1}


@pytest.mark.parametrize("settings", [Sampling(0.0), Sampling(), Sampling(0.5, 3, 0.9)])
def test_a_row_without_a_distribution_gives_index_0(settings):
    rows = np.stack([LOGITS] * 4)
    rows[0, 1], rows[1, 3], rows[2], rows[3, 2] = np.nan, np.inf, -np.inf, -np.inf
    keys = jax.random.split(jax.random.key(0), 64)
    drawn = jax.vmap(lambda key: sample_logits(key, jnp.asarray(rows), settings))(keys)
    assert (drawn[:, :3] == 0).all()
    assert (drawn[:, 3] != 2).all()  # one impossible index leaves the others
    assert (drawn[:, 3] == 1).any()


def test_a_temperature_a_row():
    """As documented: the logits divided, and 1 in the settings."""
    temperatures = np.array([0.5, 2.0], np.float32)
    rows = np.stack([LOGITS] * 2)
    key, settings = jax.random.key(3), Sampling(top_k=3)
    draw = jax.jit(lambda t: sample_logits(key, rows / t[..., None], settings))
    for row, temperature in enumerate(temperatures.tolist()):
        expected = sample_logits(key, rows, Sampling(temperature, top_k=3))
        assert draw(temperatures)[row] == expected[row]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature):
    n = 20_000
    drawn = sample_logits(
        jax.random.key(1), jnp.broadcast_to(LOGITS, (n, 4)), Sampling(temperature)
    )
    found = np.bincount(drawn, minlength=4) / n
    expected = P ** (1 / temperature)
    # Four standard deviations of a share of n draws, at most 0.5 / sqrt(n) each.
    np.testing.assert_allclose(found, expected / expected.sum(), atol=2 / n**0.5)


def test_draws_stay_within_the_restriction():
    logits = jnp.broadcast_to(LOGITS, (500, 4))
    drawn = sample_logits(jax.random.key(2), logits, Sampling(5.0, top_k=3, top_p=0.9))
    assert set(drawn.tolist()) <= {1, 2, 3}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ((-0.1, None, 1.0), "temperature"),
        ((float("nan"), None, 1.0), "temperature"),
        ((float("inf"), None, 1.0), "temperature"),
        (("1", None, 1.0), "temperature"),
        ((1.0, 0, 1.0), "top_k"),
        ((1.0, -3, 1.0), "top_k"),
        ((1.0, 2.0, 1.0), "top_k"),
        ((1.0, True, 1.0), "top_k"),
        ((1.0, None, 0.0), "top_p"),
        ((1.0, None, 1.1), "top_p"),
        ((1.0, None, float("nan")), "top_p"),
    ],
)
def test_refuses_settings_out_of_range(settings, named):
    with pytest.raises(ValueError, match=f"Sampling: {named} must be"):
        Sampling(*settings)


def test_accepts_the_edges():
    assert Sampling(0, 1, 1) == Sampling(0.0, 1, 1.0)


def test_refuses_what_is_no_logits_and_no_key():
    with pytest.raises(ValueError, match="restrict_logits: logits must be floating point, got int"):
        restrict_logits(jnp.zeros(3, int), Sampling())
    with pytest.raises(ValueError, match=r"sample_logits: logits must be \[\*B, V\]"):
        sample_logits(jax.random.key(0), jnp.float32(1.0))
    with pytest.raises(ValueError, match="sample_logits: key must be one random key, got 0"):
        sample_logits(0, LOGITS)

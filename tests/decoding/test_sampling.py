"""Temperature, top-k and top-p at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deeprnn_jax.decoding import Sampling, restrict_logits, sample_logits

P = np.array([0.1, 0.5, 0.15, 0.25], np.float32)
LOGITS = jnp.log(P)
KEY = jax.random.key(3)


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
    out = jax.jit(restrict_logits)(jnp.zeros(300, jnp.bfloat16), Sampling(top_p=0.9))
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


@pytest.mark.parametrize(
    "settings", [Sampling(0.0), Sampling(np.array(0.0)), Sampling(), Sampling(0.5, 3, 0.9)]
)
def test_a_row_without_a_distribution_gives_index_0(settings):
    rows = np.stack([LOGITS] * 4)
    rows[0, 1], rows[1, 3], rows[2], rows[3, 2] = np.nan, np.inf, -np.inf, -np.inf
    keys = jax.random.split(jax.random.key(0), 64)
    draw = jax.vmap(lambda key: sample_logits(key, jnp.asarray(rows), settings))
    drawn = jax.jit(draw)(keys)
    assert (drawn[:, :3] == 0).all()
    assert (drawn[:, 3] != 2).all()  # one impossible index leaves the others
    assert (drawn[:, 3] == 1).any()


ROWS = jnp.asarray(np.random.default_rng(0).normal(size=(200, 6)), jnp.float32)
TEMPERATURES = [0.0, 1e-30, 0.3, 0.7, 1.0, 2.5]


def test_a_traced_temperature_draws_as_the_same_number():
    def draw(temperature):
        settings = Sampling(temperature, top_k=4, top_p=0.9)
        return jax.jit(lambda: sample_logits(KEY, ROWS, settings))()

    expected = np.stack(jax.jit(lambda: [draw(temperature) for temperature in TEMPERATURES])())
    temperatures = jnp.array(TEMPERATURES)
    np.testing.assert_array_equal(jax.jit(jax.vmap(draw))(temperatures), expected)
    np.testing.assert_array_equal(draw(temperatures[2]), expected[2])  # closed over
    draw_one = jax.jit(draw)
    np.testing.assert_array_equal([draw_one(t) for t in temperatures], expected)
    np.testing.assert_array_equal(expected[0], jnp.argmax(ROWS, axis=-1))
    assert len(np.unique(expected[1:], axis=0)) > 2


@pytest.mark.parametrize("temperature", [-1.0, np.nan])
def test_a_traced_temperature_that_is_none_is_taken_for_0(temperature):
    draw = jax.jit(lambda t: sample_logits(KEY, ROWS, Sampling(t)))
    np.testing.assert_array_equal(draw(temperature), jnp.argmax(ROWS, axis=-1))


@pytest.mark.parametrize("top_k", [None, 4])
def test_a_traced_top_p_keeps_as_the_same_number(top_k):
    """Also where the most probable has 1 by rounding: 1 still keeps all."""
    rows = ROWS.at[0].set(jnp.array([30.0, 0, 0, 0, 0, 0]))

    def restricted(top_p):
        return restrict_logits(rows, Sampling(top_k=top_k, top_p=top_p))

    top_ps = [1e-9, 0.3, 0.8, 1.0]
    expected = np.stack(jax.jit(lambda: [restricted(top_p) for top_p in top_ps])())
    traced = jax.jit(jax.vmap(restricted))(jnp.array(top_ps))
    np.testing.assert_array_equal(traced, expected)
    assert np.isfinite(expected[-1]).sum(axis=-1).tolist() == [top_k or 6] * 200


def test_a_temperature_and_a_top_p_a_row():
    temperatures, top_ps = np.array([0.5, 0.0, 2.0]), np.array([0.9, 1.0, 0.5])
    rows = ROWS[:3]
    settings = [Sampling(temperatures, top_p=top_ps)]
    pairs = zip(temperatures.tolist(), top_ps.tolist(), strict=True)
    settings += [Sampling(temperature, None, top_p) for temperature, top_p in pairs]
    drawn, *alone = jax.jit(lambda: [sample_logits(KEY, rows, one) for one in settings])()
    for row in range(3):
        assert drawn[row] == alone[row][row]


def test_settings_are_a_pytree_of_their_arrays():
    """A number stays static in an argument: no array comes of it, and nothing is sorted."""
    assert jax.tree.leaves(Sampling(0.5, 3, 0.9)) == []
    settings = Sampling(jnp.array([0.5, 2.0]), top_k=3)
    assert jax.tree.map(lambda t: 2 * t, settings).temperature.tolist() == [1.0, 4.0]
    draw = jax.jit(lambda settings: sample_logits(KEY, ROWS, settings))
    for row, temperature in enumerate([0.5, 2.0]):
        np.testing.assert_array_equal(
            jax.vmap(draw)(settings)[row], draw(Sampling(temperature, top_k=3))
        )
    assert " sort" not in str(jax.make_jaxpr(draw)(Sampling(0.5)))
    assert hash(Sampling(0.5)) == hash(Sampling(0.5))


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
    draw = jax.jit(lambda key: sample_logits(key, logits, Sampling(5.0, top_k=3, top_p=0.9)))
    assert set(draw(jax.random.key(2)).tolist()) <= {1, 2, 3}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ((-0.1, None, 1.0), "temperature"),
        ((float("nan"), None, 1.0), "temperature"),
        ((float("inf"), None, 1.0), "temperature"),
        (("1", None, 1.0), "temperature"),
        ((True, None, 1.0), "temperature"),
        ((np.array([0.5, -0.1]), None, 1.0), "temperature"),
        ((jnp.array(True), None, 1.0), "temperature"),
        ((1.0, 0, 1.0), "top_k"),
        ((1.0, -3, 1.0), "top_k"),
        ((1.0, 2.0, 1.0), "top_k"),
        ((1.0, True, 1.0), "top_k"),
        ((1.0, None, 0.0), "top_p"),
        ((1.0, None, 1.1), "top_p"),
        ((1.0, None, float("nan")), "top_p"),
        ((1.0, None, jnp.array([0.5, 0.0])), "top_p"),
    ],
)
def test_refuses_settings_out_of_range(settings, named):
    with pytest.raises(ValueError, match=f"Sampling: {named} must be"):
        Sampling(*settings)


def test_refuses_a_traced_top_k_and_arrays_that_fit_no_rows():
    with pytest.raises(ValueError, match=r"Sampling: top_k must be an int of 1 or more, got .*Tra"):
        jax.jit(lambda k: restrict_logits(LOGITS, Sampling(top_k=k)))(2)
    with pytest.raises(ValueError, match=r"sample_logits: temperature must be .* \(200,\), one a"):
        sample_logits(KEY, ROWS, Sampling(jnp.ones(3)))
    with pytest.raises(ValueError, match=r"restrict_logits: top_p must be .* \(200,\), one a row"):
        sample_logits(KEY, ROWS, Sampling(top_p=jnp.ones(3)))


def test_accepts_the_edges():
    assert Sampling(0, 1, 1) == Sampling(0.0, 1, 1.0)


def test_refuses_what_is_no_logits_and_no_key():
    with pytest.raises(ValueError, match="restrict_logits: logits must be floating point, got int"):
        restrict_logits(jnp.zeros(3, int), Sampling())
    with pytest.raises(ValueError, match=r"sample_logits: logits must be \[\*B, V\]"):
        sample_logits(jax.random.key(0), jnp.float32(1.0))
    with pytest.raises(ValueError, match="sample_logits: key must be one random key, got 0"):
        sample_logits(0, LOGITS)

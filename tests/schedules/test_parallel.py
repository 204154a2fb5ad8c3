"""Schedule "parallel": all steps of a layer at once, with the numbers of "reference"."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from deeprnn_jax.recurrence.primitive import recurrence_p
from tests import registry
from tests.comparing import assert_close
from tests.jaxprs import eqns_of
from tests.recurrence.scans import Scan, draw_weights
from tests.registry import IN, B, T

SIZE = 3
ON_CPU = jax.default_backend() == "cpu"
parallel = drnn.schedules.parallel
deep = partial(drnn.deep_rnn, param_dtype=jnp.float64)

AFFINE = {
    "min_gru": lambda: deep(
        drnn.learned_initial_state(drnn.zoneout(drnn.min_gru(SIZE), 0.3)), 2, dropout=0.3
    ),
    "qrnn": lambda: deep(drnn.qrnn(SIZE, width=3)),
    "lru-both": lambda: deep(drnn.lru(SIZE), bidirectional=True, output_size=2),
}
ELEMENTWISE = {
    "independent": lambda: deep(drnn.zoneout(drnn.independent(SIZE, jnp.tanh), 0.3)),
    "diagonal_lstm": lambda: deep(drnn.diagonal_lstm(SIZE)),
}
NETWORKS = AFFINE | ELEMENTWISE
NEWTON = parallel(max_passes=50)
CASES = [(name, "parallel") for name in NETWORKS] + [("independent", NEWTON)]


@cache
def drawn_for(name):
    """Give a network, its params, x and state, and the weights of a loss."""
    rnn, rng = NETWORKS[name](), registry.seed_of(f"parallel {name}")
    shapes = registry.shapes_of(rnn)
    operands = *registry.fill(rng, shapes), rng.normal(size=(T, B, IN))
    params, state, x = operands
    weights = draw_weights(rng, run_of(rnn, "reference"), params, x, state)
    return rnn, (params, x, state), weights


def run_of(rnn, schedule, **options):
    """Give the run of every edge as a function of params, x and state."""
    lengths, mask, resets = registry.every_edge()
    flags = {"lengths": lengths, "mask": mask, "resets": resets}

    def run(params, x, state):
        key = jax.random.key(2)
        return rnn.apply(params, x, state, **flags, key=key, schedule=schedule, **options)

    return run


def scan_of(name, schedule, **options):
    """Give the run with its derivatives."""
    rnn, _, weights = drawn_for(name)
    return Scan(run_of(rnn, schedule, **options), weights, apart=False)


@cache
def reference(name):
    """Give outputs and the gradient, step by step."""
    return jax.jit(scan_of(name, "reference").first_order)(drawn_for(name)[1])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("name", "schedule"), CASES)
def test_numbers_and_gradient(name, schedule):
    """With lengths, a mask, resets, a state, dropout and zoneout."""
    got = jax.jit(scan_of(name, schedule).first_order)(drawn_for(name)[1])
    assert_close(got, reference(name))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("name", "schedule"), [("qrnn", "parallel"), ("independent", NEWTON)])
def test_chunks_that_are_computed_again(name, schedule):
    """Of 4 steps and of the 2 that are left."""
    run = scan_of(name, schedule, checkpoint_every=4)
    assert_close(jax.jit(run.first_order)(drawn_for(name)[1]), reference(name))


SMALL = {"min_gru": drnn.min_gru(2), "independent": drnn.independent(2, jnp.tanh)}


def small(name, num_steps=4):
    """Give a layer with its params and x."""
    rnn, rng = deep(SMALL[name]), registry.seed_of(f"small {name}")
    params, _ = registry.shapes_of(rnn)
    return rnn, registry.fill(rng, params), rng.normal(size=(num_steps, 2, IN))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("name", "schedule"), [("min_gru", "parallel"), ("independent", NEWTON)])
def test_second_order(name, schedule):
    rnn, *point = small(name)
    rng = registry.seed_of("direction")
    direction, weights = registry.fill(rng, point), [rng.normal(size=(4, 2, 2))]

    def hessian_along(schedule):
        scan = Scan(lambda *point: rnn.apply(*point, schedule=schedule)[1], weights)
        return jax.jit(scan.reverse_over_reverse)(point, direction)

    assert_close(hessian_along(schedule), hessian_along("reference"))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SMALL)
def test_one_step(name):
    rnn, params, x = small(name, num_steps=1)
    assert_close(rnn.apply(params, x, schedule=NEWTON), rnn.apply(params, x, schedule="reference"))


@pytest.mark.usefixtures("x64")
def test_a_state_is_handed_on():
    """One sequence in two pieces, of a window and of a layer in Newton's method."""
    rnn = deep([drnn.qrnn(2, width=3), drnn.independent(2, jnp.tanh)])
    params, _ = registry.shapes_of(rnn)
    params = registry.fill(registry.seed_of("pieces"), params)
    x = np.random.default_rng(0).normal(size=(7, 2, IN))
    run = jax.jit(partial(rnn.apply, schedule=NEWTON))
    state, y = run(params, x)
    half, early = run(params, x[:2])
    last, late = run(params, x[2:], half)
    assert_close((last, jnp.concatenate([early, late])), (state, y))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SMALL)
def test_many_networks(name):
    """Gradients of a batch of parameters; Newton's method waits for the slowest."""
    rnn, params, x = small(name)
    many = jax.tree.map(lambda leaf: np.stack([leaf, 0 * leaf, -2 * leaf]), params)

    def gradients(schedule):
        def loss(params):
            return jnp.sum(jnp.sin(rnn.apply(params, x, schedule=schedule)[1]))

        return jax.jit(jax.vmap(jax.value_and_grad(loss)))(many)

    assert_close(gradients(NEWTON), gradients("reference"))


@pytest.mark.parametrize("name", SMALL)
def test_ten_thousand_steps_in_float32(name):
    rnn = drnn.deep_rnn(SMALL[name])
    params = rnn.init(jax.random.key(0), IN)
    x = np.random.default_rng(0).normal(size=(10_000, 2, IN)).astype(np.float32)
    got, expected = (
        jax.jit(partial(rnn.apply, schedule=schedule))(params, x)
        for schedule in (NEWTON, "layerwise")
    )
    assert_close(got, expected, 2e-5)


@pytest.mark.parametrize("name", SMALL)
def test_states_of_bfloat16(name):
    """They are solved in float32, and rounded afterwards."""
    rnn = drnn.deep_rnn(SMALL[name], state_dtype=jnp.bfloat16)
    params = rnn.init(jax.random.key(0), IN)
    x = np.random.default_rng(0).normal(size=(20, 2, IN)).astype(np.float32)
    got, expected = (rnn.apply(params, x, schedule=schedule) for schedule in (NEWTON, "reference"))
    wide = partial(jax.tree.map, lambda leaf: np.asarray(leaf, np.float32))
    assert jax.tree.map(jnp.result_type, got) == jax.tree.map(jnp.result_type, expected)
    assert_close(wide(got), wide(expected), 3e-2)


# What is done


def loops_in(name, schedule, of_gradient=False):
    """Count the loops of a layer that have a carry, and its linear scans."""
    rnn, params, x = small(name)

    def run(params):
        return jnp.sum(rnn.apply(params, x, schedule=schedule)[1])

    eqns = list(eqns_of(jax.make_jaxpr(jax.grad(run) if of_gradient else run)(params).jaxpr))
    loops = [eqn for eqn in eqns if eqn.primitive is recurrence_p and eqn.params["num_carry"]]
    scans = [eqn for eqn in eqns if eqn.primitive.name == "linear_scan"]
    return len(loops), sum(eqn.outvars[0].aval.shape[0] > 1 for eqn in scans)


@pytest.mark.usefixtures("x64")
def test_what_is_affine_is_linear_scans_alone():
    assert loops_in("min_gru", "parallel") == (0, 1)
    assert loops_in("min_gru", "parallel", of_gradient=True) == (0, 2)


@pytest.mark.usefixtures("x64")
@pytest.mark.skipif(not ON_CPU, reason="a rule of CPU's")
def test_on_cpu_the_loop_is_run_and_its_gradient_is_a_linear_scan():
    assert loops_in("independent", "parallel") == (1, 0)
    assert loops_in("independent", "parallel", of_gradient=True) == (1, 1)
    seen = reported("independent", None)
    assert [(int(one.number), float(one.residual)) for one in seen] == [(0, 0.0)]


def reported(name, max_passes, rnn=None, params=None, x=None, **options):
    """Run a layer, and give what was reported."""
    seen = []
    if rnn is None:
        rnn, params, x = small(name)
    schedule = parallel(max_passes=max_passes, report=seen.append, **options)
    jax.block_until_ready(jax.jit(partial(rnn.apply, schedule=schedule))(params, x))
    jax.effects_barrier()
    return seen


@pytest.mark.usefixtures("x64")
def test_a_report_of_newtons_passes():
    """Each pass squares the error: many are not needed, and fewer for a larger tolerance."""
    (exact,) = reported("independent", 50)
    (rough,) = reported("independent", 50, tolerance=0.01)
    assert 1 <= rough.number < exact.number <= 8
    assert exact.residual <= 16 * np.finfo(np.float64).eps < rough.residual <= 0.01
    assert reported("min_gru", 50) == []


def with_w_h(params, w_h):
    """Give the parameters of one layer of `independent` with other recurrent weights."""
    (layer,) = params.layers
    return params._replace(layers=(layer._replace(cell=layer.cell._replace(w_h=w_h)),))


# h ↦ sin(4 h + x) takes near points apart, h ↦ (4 h + x)² leaves all numbers behind.
EXPANDING = {"sin": jnp.sin, "square": jnp.square}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", EXPANDING)
def test_what_does_not_contract_is_run_by_the_loop(name):
    """Never a wrong number."""
    rnn = deep(drnn.independent(2, EXPANDING[name]))
    params = registry.fill(registry.seed_of("expanding"), registry.shapes_of(rnn)[0])
    params = with_w_h(params, np.full(2, 4.0))
    x = np.random.default_rng(0).normal(size=(6, 2, IN))
    (passes,) = reported(None, 2, rnn, params, x)
    assert passes.number == 2
    assert not passes.residual < 1e-3

    def gradient(schedule):
        def loss(params, x):
            y = rnn.apply(params, x, schedule=schedule)[1]
            return jnp.sum(jnp.log(2 + y)), y

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(params, x)

    assert_close(gradient(parallel(max_passes=2)), gradient("reference"), 1e-8)


@pytest.mark.parametrize("large", ["unit", "row"])
def test_one_that_grows_does_not_make_the_others_rough(large):
    rnn = drnn.deep_rnn(drnn.independent(2, jax.nn.softplus))
    w_h = jnp.array([1.4 if large == "unit" else -3.0, -3.0])
    params = with_w_h(rnn.init(jax.random.key(0), IN), w_h)
    x = 2 * jax.random.normal(jax.random.key(1), (60, 2, IN))
    x = x.at[:, 0].mul(1e6 if large == "row" else 1.0)
    y, expected = (
        rnn.apply(params, x, schedule=schedule)[1][:, 1, 1]
        for schedule in (parallel(max_passes=100), "reference")
    )
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-5)


# What is refused


@pytest.mark.parametrize("cell", [drnn.elman(3), drnn.lstm(3), drnn.gru(3), drnn.slstm(4, 2)])
def test_a_dense_cell_is_refused_by_name(cell):
    rnn = drnn.deep_rnn([drnn.min_gru(3), cell])
    params, _ = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, B, IN), jnp.float32)
    said = f"^apply: schedule='parallel' cannot .* layer 1, cell '{cell.name}'.*'layerwise'"
    with pytest.raises(ValueError, match=said):
        jax.eval_shape(partial(rnn.apply, schedule="parallel"), params, x)


MIXING = {
    "dot_general": lambda z: z @ jnp.eye(z.shape[-1], dtype=z.dtype),
    "cumsum": lambda z: jnp.cumsum(z, -1),
    "rev": lambda z: z[..., ::-1],
    "reduce_max": jax.nn.softmax,
    "reduce_sum": lambda z: z - jnp.mean(z, -1, keepdims=True),
    "sort": jnp.sort,
    "slice": lambda z: jnp.roll(z, 1, -1),
    "gather": lambda z: z[..., jnp.array([1, 0, 3, 2])],
    "transpose": lambda z: jnp.swapaxes(z, 0, 1),
}


@pytest.mark.parametrize("name", MIXING)
def test_a_wrong_state_map_is_refused_with_what_mixes(name):
    rnn = drnn.deep_rnn(drnn.independent(4, MIXING[name]))
    params, _ = registry.shapes_of(rnn)
    x = jax.ShapeDtypeStruct((T, 4, IN), jnp.float32)
    said = f"^apply: schedule='parallel' needs .*, but '{name}' mixes them; use .*'layerwise'"
    with pytest.raises(ValueError, match=said):
        jax.eval_shape(partial(rnn.apply, schedule="parallel"), params, x)


def test_equal_schedules_are_equal():
    assert parallel(max_passes=3) == parallel(max_passes=3)
    assert parallel(max_passes=3) != parallel()
    assert parallel() == drnn.schedules.PARALLEL
    assert len({parallel(tolerance=0.1), parallel(tolerance=0.1)}) == 1

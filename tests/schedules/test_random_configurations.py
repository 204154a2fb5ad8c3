"""Networks drawn at random, all that they can be asked for mixed: schedules must agree.

A configuration is drawn from its index alone. 37 and the like are repeated by
`--configurations 37:38`; more than the usual 9 are tried by `--configurations 2000`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import deeprnn_jax as drnn
from deeprnn_jax.schedules import SCHEDULES
from tests import registry
from tests.comparing import assert_close
from tests.programs import as_if_large
from tests.user_cells import deep_transition, leaky
from tests.versions import enable_x64

# Of the first 400, nine that are soon compiled and have between them every cell and option,
# and all modifiers but two.
USUAL = (13, 53, 64, 164, 187, 238, 307, 317, 344)
PER_TEST = 5
OTHERS = [name for name in SCHEDULES if name not in ("reference", "layerwise")]
# A cell by its name and the width of its output.
CELLS = {
    "elman": drnn.elman,
    "elman_relu": lambda width: drnn.elman(width, jax.nn.relu),
    "lstm": drnn.lstm,
    "lstm_peepholes": lambda width: drnn.lstm(width, peepholes=True),
    "lstm_projection": lambda width: drnn.lstm(width + 2, projection_size=width),
    "lstm_coupled": lambda width: drnn.lstm(width, coupled=True),
    "gru": drnn.gru,
    "gru_before": lambda width: drnn.gru(width, reset_after=False),
    "minimal_gated": drnn.minimal_gated,
    "independent": drnn.independent,
    "leaky": leaky,
    "deep_transition": deep_transition,
}
# Largest difference allowed, relative to the largest number of its kind (see `check`).
TOLERANCE = {
    "float64": 1e-10,
    # Sums of some ten terms in another order, one unit of 6e-8 each, through at most 7
    # layers and 9 steps, and a layer norm of few units enlarges what it is given.
    "float32": 1e-5,
    # Numbers that differ in float32's last place may round to neighbours in bfloat16, 0.4%
    # to 0.8% apart, and each layer and step may add one more.
    "bfloat16": 0.05,
}


class Configuration(NamedTuple):
    """All that is drawn, but for the numbers."""

    precision: str
    layers: tuple  # (cell, width, modifier) names, one a layer
    options: dict  # of deep_rnn
    input_size: int
    num_steps: int
    batch_shape: tuple
    flags: tuple  # which of lengths, mask, resets are given
    flags_known: bool  # while tracing
    junk: bool  # NaN in x at masked steps
    train: bool
    given_state: bool
    checkpoint_every: Any
    inspected: bool  # states and gates as well
    states_in_loss: bool
    schedule: str  # where the network refuses it, "layerwise"
    vmapped: str | None  # "params", or "all": with x
    grad_of_vmap: bool  # or vmap of the gradient
    as_if_large: bool  # whether the rules take the sizes for large


def precision_of(index: int) -> str:
    """Give float32 to every fourth, bfloat16 to every eighth."""
    return "float32" if index % 4 == 1 else "bfloat16" if index % 8 == 3 else "float64"


def draw(index: int) -> Configuration:
    """Draw a configuration."""
    rng = np.random.default_rng([7, index])

    def choose(*options):
        return options[rng.integers(len(options))]

    def chance(probability):
        return bool(rng.random() < probability)

    both = chance(0.25)
    merge = choose("concat", "sum") if both else "concat"
    skip = choose(None, None, None, "residual", "highway", "dense")
    width = int(rng.integers(1, 6))

    def draw_layer(among=tuple(CELLS)):
        cell = choose(*among)
        modifier = choose(*registry.MODIFIERS) if chance(0.25) else "none"
        if cell == "deep_transition" and modifier in ("layer_norm", "all"):
            modifier = "all_but_norm"
        equal = skip in ("residual", "highway") or chance(0.3)
        return cell, width if equal else int(rng.integers(1, 6)), modifier

    if chance(0.25):
        # with a skip all layers are of one width, and a deep transition's is its own
        has_width = [name for name in CELLS if not (skip and name == "deep_transition")]
        layers = tuple(draw_layer(has_width) for _ in range(choose(2, 2, 2, 3)))
    else:
        # Dense layers are never stacked: each is compiled.
        depth = choose(1, 2, 2, 3) if skip == "dense" else choose(1, 1, 2, 3, 5, 6, 7, 16)
        layers = (draw_layer(),) * depth
    num_steps = int(rng.integers(1, 10))
    flags = tuple(name for name in ("lengths", "mask", "resets") if chance(0.4))
    inspected = chance(0.3)
    return Configuration(
        precision=precision_of(index),
        layers=layers,
        options={
            "bidirectional": both,
            "merge": merge,
            "skip": skip,
            "normalize_inputs": chance(0.25),
            "output_size": choose(None, 1, 3),
            "dropout": choose(0.0, 0.3) if len(layers) > 1 else 0.0,
            "locked_dropout": chance(0.3),
            "stack_layers": chance(0.3),
        },
        input_size=layers[0][1] if chance(0.3) else int(rng.integers(1, 6)),
        num_steps=num_steps,
        batch_shape=tuple(int(n) for n in rng.integers(1, 4, size=choose(0, 1, 1, 2))),
        flags=flags,
        flags_known=chance(0.3),
        junk=chance(0.3),
        train=chance(0.5),
        given_state=chance(0.6),
        checkpoint_every=choose(None, None, 1, 2, 3, "sqrt", num_steps, num_steps + 5),
        inspected=inspected,
        states_in_loss=inspected and chance(0.5),
        schedule=choose("layerwise", "layerwise", "auto", *OTHERS * 3),
        vmapped=choose(None, None, None, None, "params", "all"),
        grad_of_vmap=chance(0.5),
        as_if_large=chance(0.5),
    )


def build(chosen: Configuration) -> drnn.DeepRNN:
    """Make the network."""
    made = {
        layer: registry.MODIFIERS[layer[2]].make(CELLS[layer[0]](layer[1]))
        for layer in chosen.layers
    }
    dtypes = {"param_dtype": jnp.float64 if chosen.precision == "float64" else jnp.float32}
    if chosen.precision == "bfloat16":
        dtypes["compute_dtype"] = jnp.bfloat16
    return drnn.deep_rnn([made[layer] for layer in chosen.layers], **chosen.options, **dtypes)


def schedules_of(chosen: Configuration) -> list[str]:
    """Name what is compared with the reference: one schedule, a third less to compile."""
    if chosen.schedule == "auto" or SCHEDULES[chosen.schedule].refuse(build(chosen).plan) is None:
        return [chosen.schedule]
    return ["layerwise"]


def draw_flags(rng, chosen: Configuration) -> tuple[dict, np.ndarray]:
    """Draw lengths, mask and resets, those that are given, and say which steps are real."""
    steps = (chosen.num_steps, *chosen.batch_shape)
    flags = {
        "lengths": rng.integers(0, chosen.num_steps + 1, size=chosen.batch_shape),
        "mask": rng.random(steps) < 0.7,
        "resets": rng.random(steps) < 0.3,
    }
    flags["lengths"] = np.asarray(flags["lengths"], np.int32)
    flags = {name: flags[name] for name in chosen.flags}
    times = np.arange(chosen.num_steps).reshape(-1, *[1] * len(chosen.batch_shape))
    real = flags.get("mask", True) & (times < flags.get("lengths", chosen.num_steps))
    return flags, np.broadcast_to(real, steps)


def run(index: int, chosen: Configuration) -> dict[str, Any]:
    """Give outputs and gradients of every schedule, from one program."""
    rng = np.random.default_rng([8, index])
    rnn = build(chosen)
    dtype = np.float64 if chosen.precision == "float64" else np.float32
    flags, real = draw_flags(rng, chosen)
    x_shape = jax.ShapeDtypeStruct((*real.shape, chosen.input_size), dtype)
    params, start = registry.shapes_of(rnn, chosen.input_size, chosen.batch_shape)
    params, start = (
        jax.tree.map(
            lambda s: jax.ShapeDtypeStruct((2, *s.shape), s.dtype) if chosen.vmapped else s,
            tree,
        )
        for tree in (params, start if chosen.given_state else None)
    )
    if chosen.vmapped == "all":
        x_shape = jax.ShapeDtypeStruct((2, *x_shape.shape), dtype)
    params, start = registry.fill(rng, (params, start), dtype=dtype)
    x = registry.fill(rng, x_shape, scale=1.0, dtype=dtype)
    if chosen.junk:
        x = np.where(real[..., None], x, dtype(np.nan))

    known = flags if chosen.flags_known else {}
    flags = {} if chosen.flags_known else flags
    axes = (0, 0 if chosen.vmapped == "all" else None, 0)

    def program(params, x, start, flags, key):
        def apply(schedule, params, x, start):
            every = None if schedule == "reference" else chosen.checkpoint_every
            run = rnn.inspect if chosen.inspected else rnn.apply
            state, y, *layers = run(
                params,
                x,
                start,
                **flags,
                **known,
                key=key if chosen.train else None,
                schedule=schedule,
                checkpoint_every=every,
            )
            outputs = {"y": y, "state": state, "layers": layers}
            seen = jax.tree.leaves(outputs if chosen.states_in_loss else (y, state))
            rng = np.random.default_rng([9, index])  # the same functional each time
            weights = registry.fill(rng, seen, scale=1.0, dtype=dtype)
            terms = jax.tree.map(lambda w, a: jnp.vdot(w, a.astype(dtype)), weights, seen)
            return sum(terms), outputs

        def differentiate(schedule):
            loss = partial(apply, schedule)
            if chosen.vmapped and chosen.grad_of_vmap:

                def total(*point):
                    losses, outputs = jax.vmap(loss, in_axes=axes)(*point)
                    return jnp.sum(losses), outputs

                return jax.grad(total, argnums=(0, 1, 2), has_aux=True)
            grad = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
            return jax.vmap(grad, in_axes=axes) if chosen.vmapped else grad

        def run_forward(schedule):
            """Give the outputs where no gradient is asked for: a program of its own."""

            def run(*point):
                return apply(schedule, *point)[1]

            return jax.vmap(run, in_axes=axes) if chosen.vmapped else run

        results = {}
        for schedule in ("reference", *schedules_of(chosen)):
            grads, outputs = differentiate(schedule)(params, x, start)
            named = dict(zip(("d params", "d x", "d state"), grads, strict=True))
            alone = outputs if schedule == "reference" else run_forward(schedule)(params, x, start)
            named |= {f"{kind} alone": values for kind, values in alone.items()}
            results[schedule] = outputs | named
        return results

    program = as_if_large(program) if chosen.as_if_large else program
    found = jax.jit(program)(params, x, start, flags, jax.random.key(index))
    return jax.tree.map(np.asarray, found)


def check(chosen: Configuration, results: dict[str, Any]) -> list[str]:
    """Say where a schedule differs from the reference.

    Outputs have a scale for each kind, y, the final states and so on: its largest number.
    All gradients have one: they are sums of the same cotangents, and what reaches x through
    layer norms may be a small difference of what reaches the weights.
    """
    found = []
    expected = results["reference"]
    for schedule in schedules_of(chosen):
        got = results[schedule]
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        for kind, wanted in expected.items():
            gradients = {name: one for name, one in expected.items() if name.startswith("d ")}
            alike = gradients if kind in gradients else wanted
            leaves = [leaf.astype(np.float64) for leaf in jax.tree.leaves(alike)]
            scale = max([np.abs(leaf).max() for leaf in leaves], default=0.0)
            assert np.isfinite(scale), f"{kind} of the reference is not finite"
            limit = TOLERANCE[chosen.precision] * scale
            for (path, a), b in zip(
                jax.tree_util.tree_leaves_with_path(got[kind]), jax.tree.leaves(wanted), strict=True
            ):
                where = f"{schedule}: {kind}{jax.tree_util.keystr(path)}"
                if (a.dtype, a.shape) != (b.dtype, b.shape):
                    found.append(f"{where} is {a.dtype}{a.shape}, not {b.dtype}{b.shape}")
                    continue
                error = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
                if not error <= limit:
                    found.append(f"{where} differs by {error:.3g} at a scale of {scale:.3g}")
    return found


def pytest_generate_tests(metafunc):
    """Make a test of every few configurations."""
    if "indices" not in metafunc.fixturenames:
        return
    given = metafunc.config.getoption("--configurations")
    if given is None:
        metafunc.parametrize("indices", [(index,) for index in USUAL], ids=map(str, USUAL))
        return
    first, _, last = given.rpartition(":")
    first, last = int(first or 0), int(last)
    starts = range(first, last, PER_TEST)
    groups = [range(start, min(start + PER_TEST, last)) for start in starts]
    metafunc.parametrize("indices", groups, ids=[f"{g[0]}-{g[-1]}" for g in groups])


def test_schedules_agree_on_random_configurations(indices):
    found = {}
    for index in indices:
        chosen = draw(index)
        with enable_x64(chosen.precision == "float64"):
            try:
                differences = check(chosen, run(index, chosen))
            except Exception as error:
                error.add_note(f"configuration {index}: {chosen}")
                raise
        if differences:
            found[index] = (chosen, differences)
    text = [
        "\n  ".join([f"configuration {index}: {chosen}", *differences])
        for index, (chosen, differences) in found.items()
    ]
    assert not found, "\n".join(text)


def test_gradient_of_a_batched_network_is_the_references():
    """As many steps as networks: mistaken for each other, they raise nothing."""
    rnn = drnn.deep_rnn(drnn.elman(3))
    params = jax.vmap(lambda key: rnn.init(key, 2))(jax.random.split(jax.random.key(0)))
    x, weights = (
        jax.random.normal(jax.random.key(k), (2, 2, size)) for k, size in ((1, 2), (2, 3))
    )

    def gradient(schedule):
        def loss(params):
            y = jax.vmap(lambda params: rnn.apply(params, x, schedule=schedule)[1])(params)
            return jnp.sum(weights[:, :, None] * y)

        return jax.jit(jax.grad(loss))(params)

    assert_close(gradient("layerwise"), gradient("reference"), 1e-5)

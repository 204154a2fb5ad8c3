"""What `test_meshes.py` runs in a process of its own, which has eight devices.

    python -m tests.on_eight_devices      a line a case, as JSON: its name, and what went wrong

Every case runs a network, forward and gradient, on a mesh, and compares with one device.
"""

import contextlib
import gc
import json
import math
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import deeprnn_jax as drnn
from deeprnn_jax import decoding
from deeprnn_jax.schedules import pipeline
from experiments.pipeline import collectives, in_loops
from tests.registry import ANY_CELL

T, B, I, H = 6, 8, 4, 8  # noqa: E741
KEY = jax.random.key(3)
NETWORKS = {
    "all": drnn.deep_rnn(
        drnn.zoneout(drnn.lstm(H), 0.2), 3, dropout=0.3, skip="highway", normalize_inputs=True,
        output_size=2,
    ),
    "stacked": drnn.deep_rnn(drnn.gru(H), 3, skip="residual", stack_layers=True),
    "deep": drnn.deep_rnn(
        drnn.zoneout(drnn.lstm(H), 0.2), 5, dropout=0.3, skip="highway", normalize_inputs=True,
        output_size=2, stack_layers=True,
    ),
    "three kinds": drnn.deep_rnn(
        [drnn.gru(H), *[drnn.lstm(H)] * 2, *[drnn.elman(H)] * 4, drnn.gru(H)], stack_layers=True
    ),
    "narrow": drnn.deep_rnn(drnn.gru(H), 5, compute_dtype=jnp.bfloat16, stack_layers=True),
    "both": drnn.deep_rnn(drnn.gru(H, reset_after=False), 2, bidirectional=True),
}  # fmt: skip
BATCH = P(None, "data")  # of x [T, B, I]
# How arrays come to lie on a mesh: the kind of its axes, and whether `jax.set_mesh` is on.
WAYS = {
    "automatic": (AxisType.Auto, False),
    "automatic, set": (AxisType.Auto, True),
    "explicit": (AxisType.Explicit, False),
    "explicit, set": (AxisType.Explicit, True),
}
CASES: dict[str, Callable[[], None]] = {}


def mesh_of(axis_type: AxisType, *sizes: tuple[str, int]) -> Mesh:
    names, numbers = zip(*sizes, strict=True)
    devices = jax.devices()[: math.prod(numbers)]
    return jax.make_mesh(numbers, names, axis_types=(axis_type,) * len(names), devices=devices)


@cache
def data(name: str) -> tuple[Any, ...]:
    """Give parameters, x, lengths, mask and resets, of which some row has no steps."""
    rng = np.random.default_rng(0)
    params = NETWORKS[name].init(jax.random.key(0), I)
    x = rng.normal(size=(T, B, I)).astype(np.float32)
    lengths = np.array([6, 0, 3, 5, 6, 2, 1, 4], np.int32)
    mask, resets = rng.random((T, B)) < 0.8, rng.random((T, B)) < 0.2
    return params, x, lengths, mask, resets


def loss(rnn: Any, how: dict[str, Any], params: Any, x: Any, *flags: Any) -> Any:
    """Give a number of all that comes out, and that."""
    flags = dict(zip(("lengths", "mask", "resets"), flags, strict=True))
    state, y = rnn.apply(params, x, **flags, **how)
    return jnp.sum(jnp.sin(y)) + sum(jnp.sum(s**2) for s in jax.tree.leaves(state)), (state, y)


def gradient(name: str, **how: Any) -> Any:
    """Give the compiled function: gradient by parameters and x, state and y."""
    return jax.jit(jax.grad(partial(loss, NETWORKS[name], how), argnums=(0, 1), has_aux=True))


@cache
def expected(name: str, *, draws: bool = True) -> Any:
    """Give what one device comes to."""
    key = KEY if draws else None
    return jax.device_get(gradient(name, schedule="reference", key=key)(*data(name)))


TOLERANCES = {"narrow": 0.05}  # bfloat16 has 8 bits


def assert_close(found: Any, wanted: Any, tolerance: float = 2e-5) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, atol=tolerance), jax.device_get(found), wanted)


def put(mesh: Mesh, arrays: Any, specs: Any) -> Any:
    if isinstance(specs, P):
        return jax.tree.map(lambda leaf: jax.device_put(leaf, NamedSharding(mesh, specs)), arrays)
    return tuple(put(mesh, *pair) for pair in zip(arrays, specs, strict=True))


def case(name: str) -> Callable[[Callable[[], None]], None]:
    """Note a case down."""

    def noted(run: Callable[[], None]) -> None:
        CASES[name] = run

    return noted


def set_if(mesh: Mesh, is_set: bool) -> Any:
    return jax.set_mesh(mesh) if is_set else contextlib.nullcontext()


def over_batch(way: str, name: str, **how: Any) -> None:
    """Rows over devices: the same numbers, and each device keeps its rows."""
    axis_type, is_set = WAYS[way]
    mesh = mesh_of(axis_type, ("data", 8))
    operands = put(mesh, data(name), (P(), BATCH, P("data"), BATCH, BATCH))
    with set_if(mesh, is_set):
        found = gradient(name, key=KEY, **how)(*operands)
    assert_close(found, expected(name))
    (_, d_x), (state, y) = found
    for array in (d_x, y):
        assert array.sharding.shard_shape(array.shape)[1] == 1, array.sharding
    for leaf in jax.tree.leaves(state):
        assert leaf.sharding.shard_shape(leaf.shape)[-2] == 1, leaf.sharding


def over_hidden(way: str, schedule: str) -> None:
    """Rows over four, units over two: the columns of the matrices lie apart, so the state's."""
    axis_type, is_set = WAYS[way]
    mesh = mesh_of(axis_type, ("data", 4), ("model", 2))
    params, *others = data("all")
    specs = drnn.partition_specs(NETWORKS["all"], params, batch="data", hidden="model", mesh=mesh)
    params = jax.tree.map(partial(put, mesh), params, specs.params)
    operands = put(mesh, others, (BATCH, P("data"), BATCH, BATCH))
    with set_if(mesh, is_set):
        found = gradient("all", key=KEY, schedule=schedule)(params, *operands)
    assert_close(found, expected("all"))


def over_stages(way: str, name: str, num_stages: int, **how: Any) -> None:
    """Layers over devices, rows over the others: each device has its own of both."""
    axis_type, is_set = WAYS[way]
    mesh = mesh_of(axis_type, ("stage", num_stages), ("data", 8 // num_stages))
    schedule = pipeline(axis="stage", mesh=None if is_set else mesh, **how)
    params, *others = data(name)
    specs = drnn.partition_specs(NETWORKS[name], params, layers="stage", batch="data", mesh=mesh)
    params = jax.tree.map(partial(put, mesh), params, specs.params)
    others = put(mesh, others, (specs.x, P("data"), P(None, "data"), P(None, "data")))
    with set_if(mesh, is_set):
        found = gradient(name, key=KEY, schedule=schedule)(params, *others)
    assert_close(found, expected(name), TOLERANCES.get(name, 2e-5))
    d_params = found[0][0]
    for leaf in jax.tree.leaves(d_params.layers[1]):
        assert leaf.sharding.shard_shape(leaf.shape)[0] * num_stages == len(leaf), leaf.sharding


def in_shard_map(name: str, schedule: str) -> None:
    """By hand, with JAX's check of what varies: the gradient is summed over devices."""
    mesh = mesh_of(AxisType.Auto, ("data", 8))
    how = {"schedule": schedule}

    def on_each(params: Any, *rows: Any) -> Any:
        return jax.grad(partial(loss, NETWORKS[name], how), argnums=(0, 1), has_aux=True)(
            params, *rows
        )

    state = P("data") if name == "all" else P(None, "data")
    run = jax.shard_map(
        on_each,
        mesh=mesh,
        in_specs=(P(), BATCH, P("data"), BATCH, BATCH),
        out_specs=((P(), BATCH), (state, BATCH)),
    )
    compiled = jax.jit(run).lower(*data(name)).compile()
    assert_close(compiled(*data(name)), expected(name, draws=False), TOLERANCES.get(name, 2e-5))
    found = in_loops(compiled.as_text())
    assert not found, found


# Every schedule in every way: two of them with one network, two with the other.
APART, CROSSED = ("automatic", "explicit, set"), ("automatic, set", "explicit")
for _schedule in ANY_CELL:
    for _way in WAYS:
        _name = "all" if _way in APART and _schedule != "pipeline" else "stacked"
        CASES[f"batch, {_way}, {_schedule}, {_name}"] = partial(
            over_batch, _way, _name, schedule=_schedule
        )
    if _schedule != "pipeline":
        CASES[f"hidden, explicit, set, {_schedule}"] = partial(
            over_hidden, "explicit, set", _schedule
        )
CASES["hidden, automatic, set"] = partial(over_hidden, "automatic, set", "layerwise")
for _way in APART:
    CASES[f"batch, {_way}, both"] = partial(over_batch, _way, "both", schedule="layerwise")
    CASES[f"batch, {_way}, chunks"] = partial(
        over_batch, _way, "all", schedule="wavefront", checkpoint_every=2
    )
for _way in ("explicit", "explicit, set"):
    CASES[f"stages, {_way}, deep"] = partial(over_stages, _way, "deep", 4)
CASES["stages, three kinds over 2"] = partial(over_stages, "automatic, set", "three kinds", 2)
CASES["stages, narrow"] = partial(over_stages, "automatic", "narrow", 4)
CASES["shard_map, layerwise, narrow"] = partial(in_shard_map, "narrow", "layerwise")
for _schedule in ANY_CELL:
    CASES[f"shard_map, {_schedule}, stacked"] = partial(in_shard_map, "stacked", _schedule)
CASES["shard_map, layerwise, all"] = partial(in_shard_map, "all", "layerwise")
CASES["shard_map, layerwise, both"] = partial(in_shard_map, "both", "layerwise")


@case("scan, all ways")
def scan_on_meshes() -> None:
    """A loop of one's own, over the batch, forward and gradient."""
    params, x = data("both")[0].layers[0].cell, data("both")[1]
    w = params.w_h[0]

    def run(w: Any, x: Any) -> Any:
        def step(h: Any, x_t: Any) -> Any:
            h = jnp.tanh(x_t @ jnp.ones((I, H)) + h @ w[:, :H])
            return h, h

        start = 0 * x[0, :, :1] @ jnp.ones((1, H))  # lies as x does
        return drnn.scan(step, start, x)

    def loss(w: Any, x: Any) -> Any:
        h, y = run(w, x)
        return jnp.sum(jnp.sin(y)) + jnp.sum(h**2), y

    train = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    wanted = jax.device_get(train(w, x))
    for axis_type, is_set in WAYS.values():
        mesh = mesh_of(axis_type, ("data", 8))
        with set_if(mesh, is_set):
            assert_close(train(*put(mesh, (w, x), (P(), BATCH))), wanted)
    mesh = mesh_of(AxisType.Auto, ("data", 8))
    specs = {"in_specs": (P(), BATCH), "out_specs": ((P(), BATCH), BATCH)}
    assert_close(jax.jit(jax.shard_map(train, mesh=mesh, **specs))(w, x), wanted)


@case("collectives")
def collectives_of_a_pipeline() -> None:
    """One block a diagonal from device to device, and as many for the gradient; none else."""
    mesh, rnn = mesh_of(AxisType.Auto, ("stage", 4)), NETWORKS["deep"]
    specs = drnn.partition_specs(rnn, data("deep")[0], layers="stage", mesh=mesh)
    params = jax.tree.map(partial(put, mesh), data("deep")[0], specs.params)
    x = put(mesh, data("deep")[1], specs.x)

    def forward(params: Any, x: Any) -> Any:
        return rnn.apply(params, x, schedule=pipeline(2, axis="stage", mesh=mesh))[1]

    def train(params: Any, x: Any) -> Any:
        return jax.grad(lambda params: jnp.sum(jnp.sin(forward(params, x))))(params)

    block = f"f32[2,{B},{H}]"  # K, B, H
    for function, number in ((forward, 1), (train, 2)):
        text = jax.jit(function).lower(params, x).compile().as_text()
        assert in_loops(text) == {("collective-permute", block): number}, in_loops(text)


@case("collectives, batch")
def collectives_of_a_batch() -> None:
    """Rows over devices: the forward pass has no collective at all, the gradient one in the end."""
    mesh = mesh_of(AxisType.Auto, ("data", 8))
    for name in ("all", "both"):
        params, x, *flags = put(mesh, data(name), (P(), BATCH, P("data"), BATCH, BATCH))

        def forward(params: Any, x: Any, name: str = name, flags: Any = flags) -> Any:
            how = dict(zip(("lengths", "mask", "resets"), flags, strict=True))
            return NETWORKS[name].apply(params, x, **how)[1]

        def train(params: Any, x: Any, forward: Any = forward) -> Any:
            return jax.grad(lambda params: jnp.sum(jnp.sin(forward(params, x))))(params)

        text = jax.jit(forward).lower(params, x).compile().as_text()
        assert not collectives(text), collectives(text)
        text = jax.jit(train).lower(params, x).compile().as_text()
        assert {kind for kind, *_ in collectives(text)} == {"all-reduce"}, collectives(text)
        assert not in_loops(text), in_loops(text)


@case("truncated, explicit, set")
def truncated_on_an_explicit_mesh() -> None:
    mesh = mesh_of(AxisType.Explicit, ("data", 8))
    rnn, (params, x, lengths, *_) = NETWORKS["all"], data("all")

    def run(params: Any, x: Any, lengths: Any) -> Any:
        def of_chunks(params: Any) -> Any:
            state, y = drnn.truncated(rnn, params, x, chunk_size=4, lengths=lengths)
            return jnp.sum(jnp.sin(y)), (state, y)

        return jax.grad(of_chunks, has_aux=True)(params)

    wanted = jax.device_get(jax.jit(run)(params, x, lengths))
    with jax.set_mesh(mesh):
        operands = put(mesh, (params, x, lengths), (P(), BATCH, P("data")))
        assert_close(jax.jit(run)(*operands), wanted)


@case("inspect, explicit, set")
def inspect_on_an_explicit_mesh() -> None:
    mesh = mesh_of(AxisType.Explicit, ("data", 8))
    rnn, (params, x, *_) = NETWORKS["both"], data("both")
    wanted = jax.device_get(jax.jit(rnn.inspect)(params, x))
    with jax.set_mesh(mesh):
        assert_close(jax.jit(rnn.inspect)(put(mesh, params, P()), put(mesh, x, BATCH)), wanted)


@case("shard_map, a state that does not vary")
def shard_map_with_a_state_of_all_rows() -> None:
    """One state that every device begins with, in every schedule."""
    mesh, rnn = mesh_of(AxisType.Auto, ("data", 8)), NETWORKS["stacked"]
    params, x, *_ = data("stacked")
    state = jax.tree.map(jnp.ones_like, rnn.initial_state(params, 1))
    everywhere = jax.tree.map(lambda leaf: jnp.ones_like(leaf, shape=(len(leaf), B, H)), state)
    wanted = jax.device_get(rnn.apply(params, x, everywhere, schedule="reference")[1])
    for schedule in ANY_CELL:

        def on_each(params: Any, x: Any, state: Any, schedule: str = schedule) -> Any:
            return rnn.apply(params, x, state, schedule=schedule)[1]

        run = jax.shard_map(on_each, mesh=mesh, in_specs=(P(), BATCH, P()), out_specs=BATCH)
        assert_close(jax.jit(run)(params, x, state), wanted)


@case("explain, explicit, set")
def explain_on_an_explicit_mesh() -> None:
    mesh, rnn, (params, x, *_) = (
        mesh_of(AxisType.Explicit, ("data", 8)),
        NETWORKS["all"],
        data("all"),
    )
    with jax.set_mesh(mesh):
        said = rnn.explain(put(mesh, params, P()), put(mesh, x, BATCH))
    for part in (f"{T} steps", "for all steps at once", "kept for the gradient", "backward"):
        assert part in said, said


@case("shard_map, part of an explicit mesh")
def shard_map_over_part_of_a_mesh() -> None:
    mesh, rnn = mesh_of(AxisType.Explicit, ("data", 4), ("model", 2)), NETWORKS["stacked"]
    params, x, *_ = data("stacked")
    wanted = jax.device_get(rnn.apply(params, x)[1])
    run = jax.shard_map(
        lambda params, x: rnn.apply(params, x)[1],
        in_specs=(P(), BATCH), out_specs=BATCH, axis_names={"data"},
    )  # fmt: skip
    with jax.set_mesh(mesh):
        assert_close(jax.jit(run)(put(mesh, params, P()), put(mesh, x, P())), wanted)


@case("decoding")
def decoding_on_meshes() -> None:
    """Searches are written for automatic axes, which the caller can make of explicit ones."""
    rnn = drnn.deep_rnn(drnn.gru(H), 2, output_size=5)
    params, start = rnn.init(jax.random.key(0), 5), jnp.arange(B) % 4
    logits = 3 * jax.random.normal(jax.random.key(1), (T, B, 5))

    def search(params: Any, start: Any, logits: Any, lengths: Any) -> Any:
        def step(state: Any, tokens: Any) -> Any:
            return rnn.step(params, state, jax.nn.one_hot(tokens, 5))

        state = rnn.initial_state(params, len(start))
        found = decoding.beam_search(step, state, start, end_token=4, beam_size=3, max_steps=6)
        return found, decoding.ctc_prefix_beam(logits, lengths, beam_size=3)

    arrays = params, start, logits, data("all")[2]
    wanted = jax.device_get(jax.jit(search)(*arrays))
    for way in ("automatic", "explicit", "explicit, set"):
        axis_type, is_set = WAYS[way]
        mesh = mesh_of(axis_type, ("data", 8))
        rows = NamedSharding(mesh, P("data"))
        operands = put(mesh, arrays, (P(), P("data"), BATCH, P("data")))
        run = search if way == "automatic" else jax.sharding.auto_axes(search, out_sharding=rows)
        with set_if(mesh, is_set):
            found = jax.jit(run)(*operands)
        assert_close(found, wanted)
        for leaf in jax.tree.leaves(found):
            assert leaf.sharding.shard_shape(leaf.shape)[0] == 1, leaf.sharding


@case("time over devices")
def linear_scan_over_devices() -> None:
    """Time is cut over eight devices: values and gradients are those of one."""
    mesh = mesh_of(AxisType.Auto, ("time", 8))
    k_a, k_b, k_h = jax.random.split(jax.random.key(0), 3)
    # a zero, behind which h depends on what came before by its slope alone
    a = jax.random.uniform(k_a, (16, 3), minval=-1.0).at[5].set(0.0)
    b, h0 = jax.random.normal(k_b, (16, 3)), jax.random.normal(k_h, (3,))
    resets = jnp.arange(16) % 5 == 2

    def scan(how: dict[str, Any], a: Any, b: Any, h0: Any, resets: Any) -> Any:
        one = drnn.linear_scan(a, b, h0, resets=resets, **how)
        turned = a / 2
        pair = ((turned, -turned), (turned, turned))
        return one, drnn.linear_scan(pair, (b, a), (h0, h0), **how)

    def loss(run: Callable[..., Any], a: Any, b: Any, h0: Any) -> Any:
        found = run(a, b, h0, resets)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(found)), found

    for reverse in (False, True):
        how = {"reverse": reverse}
        over = jax.shard_map(
            partial(scan, how | {"axis_name": "time"}),
            mesh=mesh,
            in_specs=(P("time"), P("time"), P(), P("time")),
            out_specs=P("time"),
        )
        grads = [
            jax.jit(jax.grad(partial(loss, run), argnums=(0, 1, 2), has_aux=True))(a, b, h0)
            for run in (partial(scan, how), over)
        ]
        assert_close(jax.device_get(grads[1]), jax.device_get(grads[0]))


@case("step, explicit, set")
def step_on_an_explicit_mesh() -> None:
    mesh = mesh_of(AxisType.Explicit, ("data", 8))
    rnn, (params, x, *_) = NETWORKS["all"], data("all")
    wanted, y = rnn.step(params, rnn.initial_state(params, B), x[0])
    with jax.set_mesh(mesh):
        on_mesh, x_0 = put(mesh, params, P()), put(mesh, x[0], P("data"))
        found = jax.jit(rnn.step)(on_mesh, rnn.initial_state(on_mesh, B), x_0)
    assert_close(found, jax.device_get((wanted, y)))


def run(words: list[str]) -> Iterator[tuple[str, str | None]]:
    """Run the cases that have all of the words in their name."""
    for name, one in CASES.items():
        if all(word in name for word in words):
            try:
                one()
            except Exception:
                yield name, traceback.format_exc()
            else:
                yield name, None


if __name__ == "__main__":
    gc.set_threshold(100_000, 50, 100)  # as conftest.py says
    for result in run(sys.argv[1:]):
        print(json.dumps(result), flush=True)

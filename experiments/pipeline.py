"""Layers over devices: the collectives of the compiled program, and what they come to.

Command:   python -m experiments.pipeline
Expected:  one collective permutation of a block a diagonal, forward, and one more in the
           backward loop, whatever the number of devices and K; by steps of one layer, 8 devices
           do 17 layers of 1,024 steps forward 4.8 times as fast as one at K = 8 if handing a block
           on costs as much as a step, 3.6 times if it costs ten
Time:      about a minute on 2 CPU cores, which stand for 8 devices
Note:      the times are arithmetic over the counts, in steps of one layer, not measured: two
           cores are no eight devices. Beside the loops, y goes from the last device to all,
           and the gradients of x and of the first layer are summed
"""

import os
import re
import subprocess
import sys
from collections import Counter

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding

import deeprnn_jax as drnn

NUM_DEVICES = 8
NUM_LAYERS, NUM_STEPS = 17, 1024
BLOCKS = (1, 8, 64)


def collectives(text: str) -> list[tuple[str, str, str]]:
    """Give each collective of a compiled program: its kind, its shape, and whose it is."""
    found, whose = [], ""
    kinds = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
    for line in text.splitlines():
        head = re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line)
        whose = head[1] if head else whose
        one = re.search(rf"= (.+?)(?:\{{[\d,]*\}})? ({kinds})(?:-start)?\(", line)
        if one:
            found.append((one[2], one[1], whose))
    return found


def in_loops(text: str) -> dict[tuple[str, str], int]:
    """Count a compiled program's collectives within loops, by kind and shape."""
    bodies = set(re.findall(r"body=%?([\w.\-]+)", text))
    found = collectives(text)
    return dict(Counter((kind, shape) for kind, shape, whose in found if whose in bodies))


def count(num_devices: int, block_size: int) -> tuple[dict[tuple[str, str], int], ...]:
    """Give the collectives in the loops of a forward pass, and of a train step."""
    devices = jax.devices()[:num_devices]
    mesh = jax.make_mesh((num_devices,), ("stage",), (AxisType.Auto,), devices=devices)
    rnn = drnn.deep_rnn(drnn.gru(32), NUM_LAYERS, skip="residual", stack_layers=True)
    params = rnn.init(jax.random.key(0), input_size=32)
    specs = drnn.partition_specs(rnn, params, layers="stage", mesh=mesh)
    shapes = jax.tree.map(
        lambda leaf, spec: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec)
        ),
        params,
        specs.params,
    )
    x = jax.ShapeDtypeStruct((256, 4, 32), jnp.float32, sharding=NamedSharding(mesh, specs.x))
    schedule = drnn.schedules.pipeline(block_size, axis="stage", mesh=mesh)

    def forward(params: drnn.DeepParams, x: jax.Array) -> jax.Array:
        return rnn.apply(params, x, schedule=schedule)[1]

    def train(params: drnn.DeepParams, x: jax.Array) -> drnn.DeepParams:
        return jax.grad(lambda params: jnp.sum(forward(params, x) ** 2))(params)

    compiled = (jax.jit(one).lower(shapes, x).compile() for one in (forward, train))
    return tuple(in_loops(one.as_text() or "") for one in compiled)


def time_of(num_devices: int, block_size: int, latency: float) -> float:
    """Give the time of a forward pass, in steps of one layer.

    Each of T/K + L - 1 diagonals is a block of K steps of a device's own layers and of the
    first one, which all devices run, and the handing on of the block.

    Args:
      num_devices: over which L - 1 layers lie.
      block_size: K.
      latency: of handing a block on, in steps of one layer.
    """
    diagonals = -(-NUM_STEPS // block_size) + NUM_LAYERS - 1
    own = 1 + (NUM_LAYERS - 1) / num_devices
    return diagonals * (block_size * own + latency)


def show() -> None:
    """Print what was counted, and what it comes to."""
    print(f"collectives in the loops, {NUM_LAYERS} layers of GRU:")
    for num_devices in (2, 4, 8):
        for block_size in BLOCKS:
            forward, train = count(num_devices, block_size)
            print(f"  {num_devices} devices, K = {block_size}: forward {forward}, train {train}")
    print(f"\n{NUM_STEPS} steps of {NUM_LAYERS} layers, times as fast as one device layer by layer")
    print(f"{'devices':>8}{'K':>5}" + "".join(f"{f'latency {d}':>14}" for d in (0, 1, 10, 100)))
    for num_devices in (2, 4, 8):
        for block_size in BLOCKS:
            times = (time_of(num_devices, block_size, latency) for latency in (0, 1, 10, 100))
            row = "".join(f"{NUM_STEPS * NUM_LAYERS / time:>14.2f}" for time in times)
            print(f"{num_devices:>8}{block_size:>5}{row}")


def main() -> None:
    """Do it in a process that has eight devices."""
    if jax.device_count() >= NUM_DEVICES:
        show()
        return
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-m", "experiments.pipeline"], env=environment, check=True)


if __name__ == "__main__":
    main()

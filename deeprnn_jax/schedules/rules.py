"""What is chosen by platform and shape, with the figures that it was chosen by."""

from typing import Any, NamedTuple

import jax

from deeprnn_jax.internals import Tracer


class Rules(NamedTuple):
    """The choices of a platform; as they stand here, those of one not measured yet.

    There nothing goes by diagonals; how many layers are written out is a matter of the host's
    time to compile, and the same.
    """

    # Equal layers written out instead of run by a loop over them. Train step of an LSTM,
    # written out / by a loop, 2 cores, jax 0.10.2: 0.79 / 1.03 of a loop over stacked layers
    # at (L, B, T, H) = (4, 32, 64, 128), 0.96 / 1.01 at (8, 32, 64, 128), 0.99 / 0.99 at
    # (16, 32, 64, 128); compile time 1.2 / 1.5, 1.8 / 1.4, 2.9 / 1.8 s. Of these L one stands
    # apart. Again with `python -m experiments.benchmarks.held_layers`.
    layers_written_out: int = 7
    # A single step has no loop over time to compile, and the copies weigh more.
    layers_written_out_of_a_step: int = 32
    # From how many layers on "auto" may go by diagonals; None: never.
    wavefront_layers: int | None = None
    # How often "parallel" tries Newton's method, where it is not told. Not measured there.
    newton_passes: int = 50

    def unrolled_layers(self, num_steps: int) -> int:
        """Give how many equal layers are written out, for a sequence of T."""
        if num_steps == 1:
            return self.layers_written_out_of_a_step
        return self.layers_written_out

    def prefer_wavefront(self, num_layers: int, num_rows: Any, width: int, num_steps: Any) -> bool:
        """Tell whether "auto" goes by diagonals where the network can.

        Only where both a train step and a forward pass gain: where a step is so small that its
        loop costs more than its arithmetic, there are many layers to share it, and few
        diagonals beside the steps. wavefront / layerwise, train step and forward pass, T = 256:

            (L, B, H)        LSTM          GRU           Elman
            (4, 1, 32)       1.25  1.47    0.93  1.35    1.65  1.28
            (4, 8, 64)       1.47  1.14    1.22  1.05    1.35  1.01
            (4, 32, 128)     1.24  1.32    1.15  1.01    1.16  0.98
            (8, 1, 32)       0.64  1.20    0.55  1.09    1.60  1.08
            (8, 4, 32)       0.85  0.98    0.60  0.68    0.96  0.75
            (16, 1, 32)      0.73  1.05    0.63  1.05    1.26  0.95
            (16, 4, 32)      0.71  0.86    0.70  0.70    0.89  0.66
            (16, 4, 64)      1.11  0.96    1.58  0.83    1.01  0.76
            (32, 2, 16)      0.57  1.05    0.78  0.71    0.74  0.65

        2 cores, jax 0.10.2; again with
        `python -m experiments.benchmarks --rows rules --schedules --peers`.
        Not measured on an accelerator yet, where it stays with "layerwise".

        Args:
          num_layers: L.
          num_rows: B, all batch axes together; without those that `jax.vmap` adds. It and T
            may be symbolic: then the network stays layer by layer.
          width: the widest layer's output.
          num_steps: T.
        """
        if self.wavefront_layers is None or num_layers < self.wavefront_layers:
            return False
        if not isinstance(num_rows, int) or not isinstance(num_steps, int):
            return False
        return num_rows >= 4 and num_rows * width <= 128 and num_steps >= 8 * num_layers


CPU = Rules(wavefront_layers=16, newton_passes=0)


def rules_of(*arrays: Any) -> Rules:
    """Give the rules of the platform where arrays are, or where JAX would put them."""
    for array in arrays:
        if isinstance(array, jax.Array) and not isinstance(array, Tracer):
            platforms = {device.platform for device in array.devices()}
            return CPU if platforms == {"cpu"} else Rules()
    config: Any = jax.config
    device = config.jax_default_device
    platform = getattr(device, "platform", device) or jax.default_backend()
    return CPU if platform == "cpu" else Rules()

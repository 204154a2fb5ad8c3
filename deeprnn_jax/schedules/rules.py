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
    # Up to how many units a step, of all rows, "auto" may do all steps at once; 0: never.
    parallel_units: int = 0
    # How often "parallel" tries Newton's method, where it is not told. Not measured there.
    newton_passes: int = 50

    def unrolled_layers(self, num_steps: int) -> int:
        """Give how many equal layers are written out, for a sequence of T."""
        if num_steps == 1:
            return self.layers_written_out_of_a_step
        return self.layers_written_out

    def prefer_wavefront(self, num_layers: int, num_rows: int, width: int, num_steps: int) -> bool:
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
          num_rows: B, all batch axes together; without those that `jax.vmap` adds.
          width: the widest layer's output.
          num_steps: T.
        """
        if self.wavefront_layers is None or num_layers < self.wavefront_layers:
            return False
        return num_rows >= 4 and num_rows * width <= 128 and num_steps >= 8 * num_layers

    def prefer_parallel(self, num_rows: int, width: int, num_steps: int) -> bool:
        """Tell whether "auto" does all steps at once where all cells are affine.

        Where a step is so small that its loop costs more than its arithmetic. parallel /
        layerwise, train step and forward pass of two layers:

            (T, B, H)         min_gru       LRU           RG-LRU
            (32, 1, 64)       0.97  1.00    0.86  0.66    0.81  0.91
            (256, 1, 64)      0.70  1.11    0.84  0.60    1.03  1.05
            (2048, 1, 64)     0.63  0.95    0.75  0.49    0.51  1.11
            (64, 4, 32)       0.79  1.03    0.79  0.60    0.87  0.92
            (1024, 2, 64)     0.64  1.01    0.71  0.40    0.46  0.85
            (2048, 1, 128)    0.59  0.98    1.02  0.54    0.64  0.97
            (2048, 4, 64)     0.76  0.59    0.81  0.52    1.68  0.38
            (1024, 16, 64)    1.09  0.85    1.33  1.02    1.09  0.20
            (128, 32, 128)    0.76  0.88    1.16  1.33    1.87  0.84

        2 cores, jax 0.10.2; again with `python -m experiments.benchmarks.long_sequences rules`.
        Not measured on an accelerator yet, where it stays with "layerwise".

        Args:
          num_rows: B, as in `prefer_wavefront`.
          width: how many numbers a field of the state has for a row. With a matrix for a state
            they are many, and each is stacked: a train step takes 3 to 5 times as long.
          num_steps: T.
        """
        return 0 < num_rows * width <= self.parallel_units and num_steps >= 32


CPU = Rules(wavefront_layers=16, parallel_units=128, newton_passes=0)


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

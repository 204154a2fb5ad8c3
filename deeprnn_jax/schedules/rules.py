"""What is chosen by backend and shape, with the figures that it was chosen by."""

import jax

# Layers written out instead of run by a loop over them. Train step, written out / by a
# loop, 2 cores, jax 0.10.2: LSTM 0.92 at (L, B, T, H) = (4, 32, 64, 128), 0.96 at
# (4, 64, 64, 512); Elman 0.81 at (4, 8, 256, 64). Compile time 0.94 at 4 layers, 1.5 at 8.
UNROLLED_LAYERS = 4
# A single step has no loop over time to compile, and the copies weigh more.
UNROLLED_LAYERS_OF_A_STEP = 32


def prefer_wavefront(num_layers: int, num_rows: int, width: int, num_steps: int) -> bool:
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
    on_cpu = jax.default_backend() == "cpu"
    is_small = num_rows >= 4 and num_rows * width <= 128
    return on_cpu and num_layers >= 16 and is_small and num_steps >= 8 * num_layers

"""What is chosen by backend and shape, with the figures that it was chosen by."""

import jax

# Layers written out instead of run by a loop over them. Train step, written out / by a
# loop, 2 cores, jax 0.10.2: LSTM 0.92 at (L, B, T, H) = (4, 32, 64, 128), 0.96 at
# (4, 64, 64, 512); Elman 0.81 at (4, 8, 256, 64). Compile time 0.94 at 4 layers, 1.5 at 8.
UNROLLED_LAYERS = 4
# A single step has no loop over time to compile, and the copies weigh more.
UNROLLED_LAYERS_OF_A_STEP = 32

# Below so many bytes a step XLA compiles the whole loop as one kernel, and there is
# nothing to gain. LSTM forward pass, ms, read ahead / not, 2 cores, jax 0.10.2:
# (B, T, H) = (1, 1024, 32), 512 bytes: 0.88 / 0.79; (4, 512, 64), 4 KiB: 2.16 / 3.24.
SMALL_SLICES = 1024


def reads_ahead(num_bytes: int) -> bool:
    """Tell whether a loop that reads so many bytes a step reads them one step ahead."""
    return num_bytes > SMALL_SLICES


# Above so many bytes W_x and W_h are larger than a core's cache, and a forward pass without
# gradients takes this many steps at once: one product of their inputs, and the steps
# written out. LSTM forward pass, by 4 steps / [x, h] in one product a step / x and h each in
# its own, 2 cores, jax 0.10.2: (B, T, H) = (32, 128, 256) 0.78 / 1 / 0.85; (64, 64, 512)
# 0.91 / 1 / 0.97; (16, 256, 128), half as many bytes as here, 1.09 / 1 / 1.09. Blocks of 8
# are no faster.
LARGE_MATRICES = 2**20
BLOCK = 4

# Above so many layers, and with so many steps [T, *B], the first layer runs in the loop of
# the others where it is equal to them: one layer is compiled in place of two, for a copy of
# all layers' parameters at every call. Trace and compile time of 16 layers of 64 units:
# 1.34 of one layer of Flax in place of 1.87. Train step, so / apart, 2 cores, jax 0.10.2:
# LSTM (L, B, T, H) = (16, 32, 128, 64) and (16, 8, 512, 64) 1.00; (12, 16, 256, 128) 1.04;
# GRU (12, 16, 128, 128) 1.06; LSTM (16, 1, 32, 256), too few steps, 1.66.
FIRST_LAYER_APART = 8
STEPS_FOR_A_COPY = 1024


def joins_first_layer(num_layers: int, num_steps: int) -> bool:
    """Tell whether the first layer runs in the loop of the others where it can.

    Args:
      num_layers: L.
      num_steps: T, times all batch axes but those that `jax.vmap` adds.
    """
    return num_layers > FIRST_LAYER_APART and num_steps >= STEPS_FOR_A_COPY


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


def project_in_loop() -> bool:
    """Tell whether a forward pass without gradients multiplies x inside the loop.

    One product [x, h] [W_x; W_h] a step then takes the place of two, and no projected
    input goes through memory. LSTM forward pass, ms, 2 cores, jax 0.10.2, projection
    before the loop / in it:

        (B, T, H)     (1, 1024, 32)  (4, 512, 64)  (16, 256, 128)  (64, 64, 512)
                       0.88 / 0.52    2.16 / 1.88    11.3 / 8.8      109 / 97
    """
    return jax.default_backend() == "cpu"


def steps_in_a_block(num_bytes: int) -> int:
    """Tell how many steps a forward pass without gradients takes at once.

    Args:
      num_bytes: of all matrices, the input's and the recurrent.
    """
    return BLOCK if num_bytes > LARGE_MATRICES else 1

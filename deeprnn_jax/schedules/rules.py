"""What is chosen by backend and shape, with the figures that it was chosen by."""

import jax

# Layers written out instead of run by a loop over them. Train step, written out / by a
# loop, 2 cores, jax 0.10.2: LSTM 0.92 at (L, B, T, H) = (4, 32, 64, 128), 0.96 at
# (4, 64, 64, 512); Elman 0.81 at (4, 8, 256, 64). Compile time 0.94 at 4 layers, 1.5 at 8.
UNROLLED_LAYERS = 4
# A single step has no loop over time to compile, and the copies weigh more.
UNROLLED_LAYERS_OF_A_STEP = 32


def project_in_loop() -> bool:
    """Tell whether a forward pass without gradients multiplies x inside the loop.

    One product [x, h] [W_x; W_h] a step then takes the place of two, and no projected
    input goes through memory. LSTM forward pass, ms, 2 cores, jax 0.10.2, projection
    before the loop / in it:

        (B, T, H)     (1, 1024, 32)  (4, 512, 64)  (16, 256, 128)  (64, 64, 512)
                       0.88 / 0.52    2.16 / 1.88    11.3 / 8.8      109 / 97
    """
    return jax.default_backend() == "cpu"

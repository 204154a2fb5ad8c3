"""What is chosen by platform and size, with the figures that it was chosen by."""

from typing import NamedTuple


class Rules(NamedTuple):
    """The choices of a platform; as they stand here, those of one not measured yet."""

    # Whether by `loop.run_loop`, which is written for XLA on CPU, else by `lax.scan`.
    in_place: bool = False
    # Up to so many hoisted bytes a step nothing is hoisted, and slices are not prefetched.
    small_slices: int = 0
    # Without a derivative `lax.scan` keeps nothing but its outputs, and what is hoisted is kept
    # as well: from so many bytes on x_t is multiplied in the loop. A long sequence may not fit.
    large_stacks: int = 2**26


CPU = Rules(
    in_place=True,
    # Below, XLA compiles the whole loop as one kernel, and there is nothing to gain. LSTM
    # forward pass, ms, prefetched / not, 2 cores, jax 0.10.2: (B, T, H) = (1, 1024, 32), 512
    # bytes: 0.88 / 0.79; (4, 512, 64), 4 KiB: 2.16 / 3.24.
    small_slices=1024,
    # The gain is small there: 0.96 to 0.97 of the time, 4 layers, (B, T, H) = (64, 64, 512).
    large_stacks=2**26,
)

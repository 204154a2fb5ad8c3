"""What is chosen by size, with the figures that it was chosen by."""

# Below so many bytes a step XLA on CPU compiles the whole loop as one kernel, and there is
# nothing to gain. LSTM forward pass, ms, prefetched / not, 2 cores, jax 0.10.2:
# (B, T, H) = (1, 1024, 32), 512 bytes: 0.88 / 0.79; (4, 512, 64), 4 KiB: 2.16 / 3.24.
SMALL_SLICES = 1024

# Without a derivative `lax.scan` keeps nothing but its outputs, and what is hoisted is kept
# as well. From so many bytes on x_t is multiplied in the loop: the gain is small there
# (0.96 to 0.97 of the time, 4 layers, (B, T, H) = (64, 64, 512)), and a long sequence may not fit.
LARGE_STACKS = 2**26

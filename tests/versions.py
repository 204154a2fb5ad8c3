"""What tests write differently for the oldest jax that the library runs on."""

import jax
import jax.experimental

# jax.enable_x64 is new in 0.8.
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

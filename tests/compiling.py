"""How tests compile: sooner than users do, except where what is compiled is looked at."""

import os
import subprocess
import sys
from typing import Any

# Options of XLA on CPU, for tests and by default. An LSTM of three layers with its gradient
# compiles in 0.9 s in place of 2.7 s (jax 0.10.2; 0.12 knows two of them, and takes half the
# time). The arithmetic is the same but for the order within a fused kernel.
OPTIONS = {
    "xla_backend_optimization_level": (0, 3),
    "xla_cpu_use_fusion_emitters": (False, True),
    "xla_cpu_parallel_codegen_split_count": (1, 32),
}


def compile_sooner() -> None:
    """Set the options for this process and all that it starts, where XLA knows them.

    XLA reads its flags once, before it compiles anything. One that it does not know ends
    the process, so another process tries them first.
    """
    given = os.environ.get("XLA_FLAGS", "")
    new = [f"--{name}={quick}".lower() for name, (quick, _) in OPTIONS.items() if name not in given]
    if not new:
        return
    tried = subprocess.run(
        [sys.executable, "-c", "import jax; jax.jit(lambda x: x + 1)(0.0)"],
        env=os.environ | {"XLA_FLAGS": " ".join([given, *new]), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:  # "Unknown flags in XLA_FLAGS: --this=1 --that=2"
        new = [flag for flag in new if "Unknown flag" in tried.stderr and flag not in tried.stderr]
    os.environ["XLA_FLAGS"] = " ".join([given, *new]).strip()


def compile_as_users_do(lowered: Any) -> Any:
    """Compile what was lowered with the defaults, to look at what comes of it."""
    flags = os.environ.get("XLA_FLAGS", "")
    options = {name: usual for name, (_, usual) in OPTIONS.items() if name in flags}
    return lowered.compile(compiler_options=options)

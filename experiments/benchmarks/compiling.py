"""Measures in seconds before the first step: trace, and compile."""

import contextlib
import time
from collections.abc import Iterator, Mapping

import jax
from jax.experimental.compilation_cache import compilation_cache

from experiments.benchmarks.peers.contract import Program
from experiments.benchmarks.steps import Timing
from experiments.benchmarks.timing import describe, no_garbage_collection

_OPTION = "jax_enable_compilation_cache"


@contextlib.contextmanager
def no_persistent_cache() -> Iterator[None]:
    """Compile, and do not read back what was compiled before."""
    before = getattr(jax.config, _OPTION)
    jax.config.update(_OPTION, False)
    compilation_cache.reset_cache()  # jax looks at the option once
    try:
        yield
    finally:
        jax.config.update(_OPTION, before)
        compilation_cache.reset_cache()


def time_compiling(programs: Mapping[str, Program], rounds: int) -> dict[str, Timing]:
    """Time tracing and compiling of the train step, as in a process that is new to it.

    Args:
      programs: by entry; jitted functions lose what they have compiled.
      rounds: samples of each.

    Returns:
      The measures "trace", which includes lowering, and "compile".
    """
    trace: dict[str, list[float]] = {}
    compile_: dict[str, list[float]] = {}
    errors: dict[str, str] = {}
    jitted = {entry: p.lower for entry, p in programs.items() if p.lower is not None}
    with no_persistent_cache(), no_garbage_collection():
        for _ in range(rounds):
            for entry, lower in jitted.items():
                if entry in errors:
                    continue
                jax.clear_caches()
                try:
                    start = time.perf_counter()
                    lowered = lower()
                    traced = time.perf_counter()
                    lowered.compile()
                    compiled = time.perf_counter()
                except Exception as error:  # written down; the others go on
                    errors[entry] = describe(error)
                    continue
                trace.setdefault(entry, []).append(traced - start)
                compile_.setdefault(entry, []).append(compiled - traced)
    return {
        measure: {"unit": "s", "samples": samples, "errors": errors}
        for measure, samples in {"trace": trace, "compile": compile_}.items()
    }

"""A plain `lax.scan` a layer: the definition that every other schedule must equal.

Everything, the input's projection too, happens inside the loop, and derivatives
are whatever JAX makes of it.
"""

from functools import partial
from typing import Any

import jax

from deeprnn_jax.recurrence.chunks import scan_in_chunks
from deeprnn_jax.recurrence.loop import lax_scan
from deeprnn_jax.schedules.layer_by_layer import ScanFn, run_layers
from deeprnn_jax.schedules.schedule import Schedule, num_steps, refuse_none


def _scan_of(checkpoint_every: int | None) -> ScanFn:
    if checkpoint_every is None:
        return lax_scan

    def scan(f: Any, init: Any, xs: Any) -> tuple[Any, Any]:
        length = jax.tree.leaves(xs)[0].shape[0]
        return scan_in_chunks(lax_scan, f, init, xs, length, False, 1, checkpoint_every)

    return scan


REFERENCE = Schedule("reference", partial(run_layers, _scan_of), refuse_none, num_steps)
